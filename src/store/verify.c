/* verify.c - is everything that manifests promise there, and unchanged? */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

struct check {
    const struct store *store;
    const struct store_watch *watch;
    struct store_verified *out;
    struct digest_set named; // by manifests of any folder
};

static void problem(struct check *c, const char *what, const char *text)
{
    const struct store_problem p = {what, text};
    c->out->n_problem++;
    c->watch->report(c->watch->ctx, &p);
}

/* One layer of a manifest: a blob of its size is there. */
static enum status check_layer(struct check *c, const struct layer *l, const char *name,
                               const char *manifest, struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct error why;
    if (!digest_set_add(&c->named, &l->digest))
        return fail(err, STATUS_NO_MEMORY, "no memory to verify the store");
    if (store_blob_path(c->store, &l->digest, l->size, path, &why) &&
        (!manifest || !access(manifest, F_OK))) // else removed meanwhile
        problem(c, name, why.text);
    return STATUS_OK;
}

static enum status check_layers(struct check *c, const struct manifest *m,
                                const char *name, const char *manifest, struct error *err)
{
    enum status s = STATUS_OK;
    if (m->has_config)
        s = check_layer(c, &m->config, name, manifest, err);
    for (int i = 0; !s && i < m->n_layer; i++)
        s = check_layer(c, &m->layers[i], name, manifest, err);
    return s;
}

static enum status check_manifest(void *ctx, const struct model_name *n, const char *path,
                                  struct error *err)
{
    struct check *c = ctx;
    char name[MODEL_NAME_BYTES];
    struct manifest m = {0};
    struct buf text;
    struct error why;
    buf_init(&text, MANIFEST_BYTES);
    model_name_print_whole(name, n);
    enum status s = store_read_manifest(&text, NULL, path, &why);
    if (!s)
        s = manifest_parse(&m, text.data, text.len, &why);
    if (s == STATUS_NOT_FOUND) { // removed meanwhile, or a link to nothing
        s = STATUS_OK;
        if (!faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW))
            problem(c, name, why.text);
    } else if (s) {
        c->out->n_manifest++;
        problem(c, name, why.text);
        s = STATUS_OK;
    } else {
        c->out->n_manifest++;
        s = check_layers(c, &m, name, path, err);
        if (!s && !digest_set_add(&c->named, &m.digest))
            s = fail(err, STATUS_NO_MEMORY, "no memory to verify the store");
    }
    manifest_release(&m);
    buf_release(&text);
    return s;
}

/* Hash one blob. */
static void check_blob(struct check *c, const char *path, const struct digest *d)
{
    char name[DIGEST_TEXT_BYTES], other[DIGEST_TEXT_BYTES], text[256];
    struct digest is;
    struct error why;
    uint64_t size = 0;
    digest_file_name(name, d);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return; // removed meanwhile
    c->out->n_blob++;
    if (fd < 0) {
        snprintf(text, sizeof text, "cannot be read: %s", strerror(errno));
        problem(c, name, text);
        return;
    }
    if (digest_of_file(&is, &size, fd, path, &why)) {
        problem(c, name, why.text);
    } else if (!digest_equal(&is, d)) {
        digest_print(other, &is);
        snprintf(text, sizeof text, "damaged: its %" PRIu64 " bytes have %s", size,
                 other);
        problem(c, name, text);
    }
    close(fd);
    c->out->bytes += size;
    if (c->watch->progress)
        c->watch->progress(c->watch->ctx, c->out->bytes);
}

static enum status check_folder(struct check *c, const char *folder, struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct digest d;
    if (!*folder || snprintf(path, sizeof path, "%s/blobs", folder) >= (int)sizeof path)
        return STATUS_OK;
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? STATUS_OK
                               : fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(dir));) {
        if (!digest_parse(&d, e->d_name, strlen(e->d_name)) || e->d_name[6] != '-' ||
            !store_blob_file(path, folder, &d))
            continue;
        c->out->n_unused += !digest_set_has(&c->named, &d);
        check_blob(c, path, &d);
    }
    closedir(dir);
    return STATUS_OK;
}

static enum status verify_one(struct check *c, const struct model_name *name,
                              struct error *err)
{
    char path[STORE_PATH_BYTES], shown[MODEL_NAME_BYTES];
    struct manifest m;
    model_name_print_whole(shown, name);
    enum status s = store_find(c->store, name, &m, NULL, err);
    if (s == STATUS_BAD_FILE) { // the answer to the question
        c->out->n_manifest = 1;
        problem(c, shown, err->text);
        s = STATUS_OK;
    } else if (!s) {
        c->out->n_manifest = 1;
        s = check_layers(c, &m, shown, NULL, err);
    }
    digest_set_sort(&c->named);
    for (size_t i = 0; !s && i < c->named.n; i++)
        if ((i == 0 || !digest_equal(&c->named.d[i], &c->named.d[i - 1])) &&
            !store_blob_path(c->store, &c->named.d[i], 0, path, NULL))
            check_blob(c, path, &c->named.d[i]);
    manifest_release(&m);
    return s;
}

enum status store_verify(const struct store *s, const struct model_name *name,
                         const struct store_watch *watch, struct store_verified *out,
                         struct error *err)
{
    struct check c = {.store = s, .watch = watch, .out = out};
    const struct store_walk w = {check_manifest, &c};
    enum status st = STATUS_OK;
    *out = (struct store_verified){0};
    if (name) {
        struct error why = {0};
        st = verify_one(&c, name, &why);
        if (st)
            st = fail(err, st, "%s", why.text);
    } else {
        for (int i = 0; !st && i < s->n_folder; i++)
            st = store_walk(s->folder[i], &w, err);
        digest_set_sort(&c.named);
        for (int i = 0; !st && i < s->n_folder; i++)
            st = check_folder(&c, s->folder[i], err);
    }
    digest_set_release(&c.named);
    return st;
}
