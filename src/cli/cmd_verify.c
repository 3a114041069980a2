/* cmd_verify.c - turbine verify: is everything in the store as its names say? */
#include <stdio.h>
#include <unistd.h>

#include "cli/models.h"
#include "cli/words.h"

static void report_problem(void *ctx, const struct store_problem *p)
{
    (void)ctx;
    printf("%s: %s\n", p->what, p->text);
}

static void report_progress(void *ctx, uint64_t bytes)
{
    char size[24];
    (void)ctx;
    words_bytes(size, bytes);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%s hashed\033[K", size);
}

static enum status prune_store(struct store *s, struct error *err)
{
    struct store_pruned p;
    char size[24];
    const enum status st = store_prune(s, STORE_BLOB_KEEP_S, &p, err);
    if (st)
        return st;
    words_bytes(size, p.bytes);
    printf("removed %d unused blobs and %d leftovers, %s\n", p.n_blob, p.n_file, size);
    if (p.n_damaged)
        printf("%d manifests cannot be read: no blob was removed\n", p.n_damaged);
    return STATUS_OK;
}

static int verify(const struct cli_command *c, const char *name, bool prune)
{
    static const struct store_watch watch = {report_problem, report_progress, NULL};
    struct model_name n;
    struct store *s = NULL;
    struct store_verified v = {0};
    struct error err;
    char size[24];
    enum status st = name ? models_name(&n, name, &err) : STATUS_OK;
    if (!st)
        st = models_open(&s, &err);
    if (!st && prune)
        st = prune_store(s, &err);
    if (!st)
        st = store_verify(s, name ? &n : NULL, &watch, &v, &err);
    if (v.n_blob && isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    store_close(s);
    if (st)
        return cli_fail(c, &err);
    words_bytes(size, v.bytes);
    printf("%d models, %d blobs, %s: ", v.n_manifest, v.n_blob, size);
    if (v.n_problem)
        printf("%d problems\n", v.n_problem);
    else
        puts("ok");
    if (v.n_unused)
        printf("%d blobs belong to no model; --prune removes those older than an hour\n",
               v.n_unused);
    return v.n_problem ? CLI_FAILED : CLI_OK;
}

int cmd_verify(int argc, char **argv)
{
    bool prune = false;
    const struct cli_option options[] = {
        {"--prune", CLI_FLAG, &prune, 0, 0,
         "first remove blobs that no model uses, and what broken downloads left"},
        {0},
    };
    const struct cli_command c = {
        "verify",
        "[MODEL]",
        "Hash the files of the store, or of one model, and compare them with their "
        "names.",
        options,
        0,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    return rc >= 0 ? rc : verify(&c, arg[0], prune);
}
