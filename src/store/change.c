/* change.c - removing and copying models. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/internal.h"

void store_note_blobs(struct digest_set *set, const char *path)
{
    struct manifest m = {0};
    struct buf text;
    buf_init(&text, MANIFEST_BYTES);
    if (!store_read_manifest(&text, NULL, path, NULL) &&
        !manifest_parse(&m, text.data, text.len, NULL)) {
        digest_set_add(set, &m.digest);
        if (m.has_config)
            digest_set_add(set, &m.config.digest);
        for (int i = 0; i < m.n_layer; i++)
            digest_set_add(set, &m.layers[i].digest);
    }
    manifest_release(&m);
    buf_release(&text);
}

/* Remove a file and make that last: what it names may only go afterwards. */
static enum status remove_lasting(char *path, struct error *err)
{
    char *slash = strrchr(path, '/');
    *slash = 0;
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *slash = '/';
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    enum status s = STATUS_OK;
    if (unlinkat(fd, slash + 1, 0))
        s = fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    else
        s = file_sync(fd, path, err);
    close(fd);
    return s;
}

enum status store_remove_name(const struct store_lock *l, const char *root,
                              const struct model_name *n, struct digest_set *set,
                              bool *removed, struct error *err)
{
    char path[STORE_PATH_BYTES];
    if (!store_manifest_path(path, l->folder, root, n) || access(path, F_OK))
        return STATUS_OK;
    store_note_blobs(set, path);
    const enum status s = remove_lasting(path, err);
    if (s)
        return s;
    *removed = true;
    for (int i = 0; i < 3; i++) { // model, namespace, host: as far as they are empty
        *strrchr(path, '/') = 0;
        if (rmdir(path))
            break;
    }
    return STATUS_OK;
}

enum status store_remove_link(const struct store_lock *l, const struct model_name *n,
                              struct digest_set *set, bool *removed, struct error *err)
{
    struct model_name other = *n;
    enum status s = store_remove_name(l, store_roots[0], n, set, removed, err);
    if (s || strcasecmp(n->host, MODEL_NAME_HOST))
        return s;
    snprintf(other.host, sizeof other.host, "ollama.com");
    return store_remove_name(l, store_roots[0], &other, set, removed, err);
}

/* Why a name that our own folder does not have cannot be removed. */
static enum status not_ours(const struct store *s, const struct model_name *name,
                            struct error *err)
{
    char shown[MODEL_NAME_BYTES];
    model_name_print(shown, name);
    for (int i = 1; i < s->n_folder; i++) {
        struct model_name n = *name;
        if (store_spelling(s->folder[i], &n))
            return fail(err, STATUS_BAD_ARG,
                        "model '%s' is in %s, which is only read; remove it there", shown,
                        s->folder[i]);
    }
    return fail(err, STATUS_NOT_FOUND, "model '%s' not found", shown);
}

enum status store_delete(struct store *s, const struct model_name *name, uint64_t *freed,
                         struct error *err)
{
    struct store_lock l;
    struct digest_set blobs = {0};
    struct store_pruned pruned = {0};
    struct model_name n = *name;
    bool removed = false;
    if (!*s->folder[0] || access(s->folder[0], F_OK))
        return not_ours(s, name, err);
    enum status st = store_lock(&l, s, err);
    if (st)
        return st;
    if (!store_spelling(l.folder, &n)) {
        st = not_ours(s, name, err);
    } else {
        st = store_remove_name(&l, store_roots[1], &n, &blobs, &removed, err);
        if (!st)
            st = store_remove_link(&l, &n, &blobs, &removed, err);
        if (!st && !removed)
            st = not_ours(s, name, err);
        if (!st)
            st = store_sweep(&l, &blobs, 0, &pruned, err);
    }
    store_unlock(&l);
    digest_set_release(&blobs);
    if (!st && freed)
        *freed = pruned.bytes;
    return st;
}

enum status store_refresh_blob(struct store *s, const struct digest *d, bool *present,
                               struct error *err)
{
    char path[STORE_PATH_BYTES], name[DIGEST_TEXT_BYTES];
    struct store_lock l;
    const bool there = !store_blob_path(s, d, 0, path, NULL);
    *present = there;
    if (!there || !*s->folder[0] || access(s->folder[0], W_OK))
        return STATUS_OK;
    const enum status st = store_lock(&l, s, err);
    if (st)
        return st;
    digest_file_name(name, d);
    if (utimensat(l.blobs, name, NULL, 0)) // gone meanwhile, or another folder's
        *present = !store_blob_path(s, d, 0, path, NULL);
    store_unlock(&l);
    return STATUS_OK;
}

static enum status copy_blobs(struct addition *a, const struct manifest *m,
                              struct error *err)
{
    enum status s = STATUS_OK;
    if (m->has_config)
        s = addition_blob(a, &m->config.digest, m->config.size, err);
    for (int i = 0; !s && i < m->n_layer; i++)
        s = addition_blob(a, &m->layers[i].digest, m->layers[i].size, err);
    return s;
}

enum status store_copy(struct store *s, const struct model_name *from,
                       const struct model_name *to, struct error *err)
{
    struct manifest m;
    struct addition *a = NULL;
    struct buf json;
    buf_init(&json, MANIFEST_BYTES);
    enum status st = store_find_text(s, from, &m, NULL, &json, err);
    if (!st)
        st = addition_open(&a, s, err);
    if (!st && !(st = copy_blobs(a, &m, err)))
        st = addition_put(a, to, json.data, json.len, err);
    addition_close(a);
    manifest_release(&m);
    buf_release(&json);
    return st;
}
