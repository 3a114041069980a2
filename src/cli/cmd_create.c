/* cmd_create.c - turbine create: a model of the store from a Modelfile. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/environment.h"
#include "cli/models.h"
#include "cli/pull_view.h"
#include "server/model_params.h"
#include "store/create.h"

static enum status read_modelfile(struct buf *out, const char *path, struct error *err)
{
    char block[8192];
    size_t n;
    const bool standard = !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "rb");
    if (!f)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    while (!out->failed && (n = fread(block, 1, sizeof block, f)))
        buf_append(out, block, n);
    enum status s = STATUS_OK;
    if (ferror(f))
        s = fail(err, STATUS_IO, "%s: cannot be read", path);
    else if (out->failed)
        s = fail(err, STATUS_LIMIT, "%s: a Modelfile of more than %d MiB", path,
                 MODELFILE_BYTES >> 20);
    if (!standard)
        fclose(f);
    return s;
}

/* Steps as Ollama prints them, without a name in front. */
static void say_step(void *command, const char *text)
{
    (void)command;
    cli_step(text);
}

/* Which chat template the new model has. */
static void say_template(const struct store *store, const struct model_name *name)
{
    struct stored_model m;
    struct gguf *g = NULL;
    char words[900], text[960];
    if (!stored_model_load(&m, store, name, NULL) && !gguf_open(&g, m.path, NULL)) {
        models_template_words(words, sizeof words, &m, g);
        snprintf(text, sizeof text, "chat template: %s", words);
        cli_step(text);
    }
    gguf_close(g);
    stored_model_release(&m);
}

static enum status fetch_base(void *command, const char *model, struct error *err)
{
    return pull_view_missing(command, model, err);
}

/* Else it is the store's, or the disk's. */
static bool is_of_line(const struct error *e)
{
    return !strncmp(e->text, "(line ", 6);
}

static enum status create(const struct cli_command *c, const char *arg, const char *path,
                          struct error *err)
{
    char folder[STORE_PATH_BYTES];
    struct create_options o = {.home = environment_folder("HOME"),
                               .say = say_step,
                               .fetch = fetch_base,
                               .ctx = (void *)(uintptr_t)c};
    struct model_name name;
    struct modelfile f = {0};
    struct store *store = NULL;
    struct buf text;
    struct error why;
    const char *file = strcmp(path, "-") ? path : "standard input";
    buf_init(&text, MODELFILE_BYTES);
    enum status s = models_name(&name, arg, err);
    if (!s)
        s = read_modelfile(&text, path, err);
    if (!s && ((s = modelfile_parse(&f, text.data ? text.data : "", text.len, &why)) ||
               (s = model_param_check(&f, &why))))
        s = fail(err, s, "%s: %s", file, why.text);
    const char *slash = strrchr(path, '/');
    if (!s && slash && (size_t)(slash - path) < sizeof folder) {
        memcpy(folder, path, (size_t)(slash - path));
        folder[slash - path] = 0;
        o.folder = *folder ? folder : "/";
    }
    if (!s)
        s = models_open(&store, err);
    if (!s && (s = store_create(store, &name, &f, &o, &why)))
        s = fail(err, s, "%s%s%s", is_of_line(&why) ? file : "",
                 is_of_line(&why) ? ": " : "", why.text);
    if (!s &&
        (modelfile_last(&f, MODELFILE_TEMPLATE) ||
         modelfile_last(&f, MODELFILE_RENDERER) || modelfile_last(&f, MODELFILE_PARSER)))
        say_template(store, &name);
    store_close(store);
    modelfile_release(&f);
    buf_release(&text);
    return s;
}

int cmd_create(int argc, char **argv)
{
    const char *path = "Modelfile";
    const struct cli_option options[] = {
        {"--file", CLI_STRING, &path, 0, 0,
         "FILE  the Modelfile (default: Modelfile; -: standard input)"},
        {"-f", CLI_STRING, &path, 0, 0, "FILE  the same"},
        {0},
    };
    const struct cli_command c = {
        "create",
        "NAME [-f Modelfile]",
        "A model of the store from a Modelfile: FROM a .gguf file, which is copied, or a "
        "model of the store, whose files are used again; one that is missing is pulled.",
        options,
        1,
        1,
    };
    const char *arg[1];
    const int rc = cli_parse(&c, argc, argv, arg);
    if (rc >= 0)
        return rc;
    struct error err;
    return create(&c, arg[0], path, &err) ? cli_fail(&c, &err) : CLI_OK;
}
