/* store.c - the folders of a store, and reading them. */
#include "store/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/internal.h"

const char *const store_roots[2] = {"manifests-v2", "manifests"};

/* ---- folders ---- */

/* May its manifests be read?  A service's folder is often closed to others: then it is as
 * if it were not there. */
static bool is_readable(const char *folder)
{
    char path[STORE_PATH_BYTES];
    for (int i = 0; i < 2; i++) {
        const int n = snprintf(path, sizeof path, "%s/%s", folder, store_roots[i]);
        if (n >= (int)sizeof path || (access(path, R_OK | X_OK) && errno == EACCES))
            return false;
    }
    return true;
}

enum status store_open(struct store **out, const struct store_folders *f,
                       struct error *err)
{
    struct store *s = mem_array(1, sizeof *s);
    *out = NULL;
    if (!s || !(s->folder[0] = mem_strdup(f->own ? f->own : "")))
        goto no_memory;
    s->n_folder = 1;
    for (int i = 0; i < f->n_other && s->n_folder < STORE_FOLDERS_MAX; i++) {
        struct stat own, st;
        if (stat(f->others[i], &st) || !S_ISDIR(st.st_mode) ||
            !is_readable(f->others[i]) ||
            (!stat(s->folder[0], &own) && own.st_dev == st.st_dev &&
             own.st_ino == st.st_ino))
            continue;
        if (!(s->folder[s->n_folder] = mem_strdup(f->others[i])))
            goto no_memory;
        s->n_folder++;
    }
    for (int i = 0; i < s->n_folder; i++)
        for (size_t n = strlen(s->folder[i]); n > 1 && s->folder[i][n - 1] == '/'; n--)
            s->folder[i][n - 1] = 0;
    *out = s;
    return STATUS_OK;
no_memory:
    store_close(s);
    return fail(err, STATUS_NO_MEMORY, "no memory for a store");
}

void store_close(struct store *s)
{
    for (int i = 0; s && i < s->n_folder; i++)
        mem_free(s->folder[i]);
    mem_free(s);
}

int store_n_folder(const struct store *s)
{
    return s->n_folder;
}

const char *store_folder(const struct store *s, int i)
{
    return s->folder[i];
}

/* ---- paths ---- */

bool store_manifest_path(char path[STORE_PATH_BYTES], const char *folder,
                         const char *root, const struct model_name *n)
{
    return snprintf(path, STORE_PATH_BYTES, "%s/%s/%s/%s/%s/%s", folder, root, n->host,
                    n->space, n->model, n->tag) < STORE_PATH_BYTES;
}

bool store_blob_file(char path[STORE_PATH_BYTES], const char *folder,
                     const struct digest *d)
{
    char name[DIGEST_TEXT_BYTES];
    digest_file_name(name, d);
    return snprintf(path, STORE_PATH_BYTES, "%s/blobs/%s", folder, name) <
           STORE_PATH_BYTES;
}

/* ---- manifests ---- */

static enum status read_to_end(struct buf *out, int fd, const char *path,
                               struct error *err)
{
    char block[8192];
    ssize_t n;
    while ((n = read(fd, block, sizeof block)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
        if (!buf_append(out, block, (size_t)n))
            return fail(err, STATUS_LIMIT, "%s: more than %zu bytes", path, out->max);
    }
    return STATUS_OK;
}

enum status store_read_manifest(struct buf *out, int64_t *modified_s, const char *path,
                                struct error *err)
{
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err,
                    errno == ENOENT || errno == ENOTDIR ? STATUS_NOT_FOUND : STATUS_IO,
                    "%s: %s", path, strerror(errno));
    enum status s = STATUS_OK;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        s = fail(err, STATUS_BAD_FILE, "%s: no regular file", path);
    else
        s = read_to_end(out, fd, path, err);
    if (!s && modified_s)
        *modified_s = st.st_mtime;
    close(fd);
    return s;
}

/* Names of a folder, level by level: path holds the folder, part[0..depth) the names. */
struct walk {
    const struct store_walk *to;
    bool v2;
    char path[STORE_PATH_BYTES];
    char part[4][256];
};

static enum status walk_level(struct walk *w, int depth, struct error *err)
{
    const size_t at = strlen(w->path);
    struct model_name n;
    enum status s = STATUS_OK;
    DIR *dir = opendir(w->path);
    if (!dir) // a file where a folder is meant, or gone meanwhile
        return errno == ENOENT || errno == ENOTDIR
                   ? STATUS_OK
                   : fail(err, STATUS_IO, "%s: %s", w->path, strerror(errno));
    for (struct dirent *e; !s && (e = readdir(dir));) {
        const size_t len = strlen(e->d_name);
        if (e->d_name[0] == '.' || len >= sizeof w->part[0] ||
            at + 1 + len >= sizeof w->path)
            continue;
        memcpy(w->part[depth], e->d_name, len + 1);
        w->path[at] = '/';
        memcpy(w->path + at + 1, e->d_name, len + 1);
        const char *host = w->part[0];
        if (w->v2 && !strcasecmp(host, "ollama.com"))
            host = MODEL_NAME_HOST;
        if (depth < 3)
            s = walk_level(w, depth + 1, err);
        else if (model_name_from_parts(&n, host, w->part[1], w->part[2], w->part[3]))
            s = w->to->fn(w->to->ctx, &n, w->path, err);
        w->path[at] = 0;
    }
    closedir(dir);
    return s;
}

enum status store_walk(const char *folder, const struct store_walk *to, struct error *err)
{
    enum status s = STATUS_OK;
    struct walk w = {.to = to};
    for (int i = 0; !s && i < 2 && *folder; i++) {
        w.v2 = i == 0;
        if (snprintf(w.path, sizeof w.path, "%s/%s", folder, store_roots[i]) >=
            (int)sizeof w.path)
            return fail(err, STATUS_LIMIT, "%.200s...: too long a path", folder);
        s = walk_level(&w, 0, err);
    }
    return s;
}

struct spelling {
    struct model_name *n;
    bool found;
};

static enum status match_spelling(void *ctx, const struct model_name *n, const char *path,
                                  struct error *err)
{
    struct spelling *m = ctx;
    (void)path, (void)err;
    if (!m->found && model_name_equal(n, m->n)) {
        *m->n = *n;
        m->found = true;
    }
    return STATUS_OK;
}

bool store_spelling(const char *folder, struct model_name *n)
{
    struct spelling m = {n, false};
    const struct store_walk w = {match_spelling, &m};
    return !store_walk(folder, &w, NULL) && m.found;
}

/* ---- list and find ---- */

struct listing {
    struct store_entry *entry;
    int n, cap, folder;
};

static enum status list_one(void *ctx, const struct model_name *n, const char *path,
                            struct error *err)
{
    struct listing *l = ctx;
    struct manifest m = {0};
    struct buf text;
    for (int i = 0; i < l->n; i++)
        if (model_name_equal(&l->entry[i].name, n))
            return STATUS_OK;
    if (l->n == l->cap) {
        const int cap = l->cap ? l->cap * 2 : 16;
        struct store_entry *p = mem_resize(l->entry, (size_t)cap, sizeof *p);
        if (!p)
            return fail(err, STATUS_NO_MEMORY, "no memory for a list of models");
        l->entry = p;
        l->cap = cap;
    }
    struct store_entry e = {.name = *n, .folder = l->folder};
    buf_init(&text, MANIFEST_BYTES);
    enum status s = store_read_manifest(&text, &e.modified_s, path, NULL);
    if (!s)
        s = manifest_parse(&m, text.data, text.len, NULL);
    e.damaged = s != STATUS_OK;
    if (!s) {
        e.digest = m.digest;
        e.bytes = manifest_bytes(&m);
    }
    if (s != STATUS_NOT_FOUND) // removed meanwhile
        l->entry[l->n++] = e;
    manifest_release(&m);
    buf_release(&text);
    return STATUS_OK;
}

static int newest_first(const void *a, const void *b)
{
    const struct store_entry *x = a, *y = b;
    if (x->modified_s != y->modified_s)
        return x->modified_s < y->modified_s ? 1 : -1;
    const int c = strcasecmp(x->name.model, y->name.model);
    return c ? c : strcasecmp(x->name.tag, y->name.tag);
}

enum status store_list(const struct store *s, struct store_entry **out, int *n,
                       struct error *err)
{
    struct listing l = {0};
    const struct store_walk w = {list_one, &l};
    enum status st = STATUS_OK;
    *out = NULL;
    *n = 0;
    for (l.folder = 0; !st && l.folder < s->n_folder; l.folder++)
        st = store_walk(s->folder[l.folder], &w, err);
    if (st) {
        mem_free(l.entry);
        return st;
    }
    if (l.n)
        qsort(l.entry, (size_t)l.n, sizeof *l.entry, newest_first);
    *out = l.entry;
    *n = l.n;
    return STATUS_OK;
}

/* The manifest of exactly this name in a folder. */
static enum status find_in(const char *folder, const struct model_name *name,
                           struct buf *text, int64_t *modified_s, struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct model_name n = *name;
    enum status s = STATUS_NOT_FOUND;
    for (int i = 0; s == STATUS_NOT_FOUND && *folder && i < 2; i++) {
        buf_clear(text);
        if (i == 0 && !strcasecmp(n.host, MODEL_NAME_HOST)) {
            struct model_name v2 = n;
            snprintf(v2.host, sizeof v2.host, "ollama.com");
            if (store_manifest_path(path, folder, store_roots[0], &v2))
                s = store_read_manifest(text, modified_s, path, err);
        }
        if (s == STATUS_NOT_FOUND &&
            store_manifest_path(path, folder, store_roots[i], &n))
            s = store_read_manifest(text, modified_s, path, err);
    }
    return s;
}

enum status store_find_text(const struct store *s, const struct model_name *name,
                            struct manifest *m, struct store_entry *entry,
                            struct buf *text, struct error *err)
{
    struct store_entry e = {.name = *name};
    enum status st = STATUS_NOT_FOUND;
    *m = (struct manifest){0};
    for (int i = 0; i < s->n_folder && st == STATUS_NOT_FOUND; i++) {
        e.folder = i;
        e.name = *name;
        st = find_in(s->folder[i], &e.name, text, &e.modified_s, err);
        if (st == STATUS_NOT_FOUND && store_spelling(s->folder[i], &e.name))
            st = find_in(s->folder[i], &e.name, text, &e.modified_s, err);
    }
    char shown[MODEL_NAME_BYTES];
    model_name_print(shown, name);
    if (st == STATUS_NOT_FOUND)
        st = fail(err, st, "model '%s' not found", shown);
    struct error why;
    if (!st && (st = manifest_parse(m, text->data, text->len, &why)))
        st = fail(err, st, "%s: %s", shown, why.text);
    if (!st) {
        e.digest = m->digest;
        e.bytes = manifest_bytes(m);
        if (entry)
            *entry = e;
    }
    return st;
}

enum status store_find(const struct store *s, const struct model_name *name,
                       struct manifest *m, struct store_entry *entry, struct error *err)
{
    struct buf text;
    buf_init(&text, MANIFEST_BYTES);
    const enum status st = store_find_text(s, name, m, entry, &text, err);
    buf_release(&text);
    return st;
}

/* ---- blobs ---- */

enum status store_blob_path(const struct store *s, const struct digest *d, uint64_t size,
                            char path[STORE_PATH_BYTES], struct error *err)
{
    char name[DIGEST_TEXT_BYTES];
    struct stat st;
    bool wrong_size = false;
    int closed = -1;
    digest_print(name, d);
    for (int i = 0; i < s->n_folder; i++) {
        if (!*s->folder[i] || !store_blob_file(path, s->folder[i], d))
            continue;
        if (stat(path, &st)) {
            closed = errno == EACCES ? i : closed;
            continue;
        }
        if (!S_ISREG(st.st_mode))
            continue;
        if (!size || (uint64_t)st.st_size == size)
            return STATUS_OK;
        wrong_size = true;
    }
    if (wrong_size)
        return fail(err, STATUS_BAD_FILE,
                    "blob %s has another size than the %" PRIu64
                    " bytes of its manifest; get the model again",
                    name, size);
    if (closed >= 0)
        return fail(err, STATUS_IO, "blob %s: %s/blobs: %s", name, s->folder[closed],
                    strerror(EACCES));
    return fail(err, STATUS_NOT_FOUND, "blob %s is missing; get the model again", name);
}

enum status store_read_layer(const struct store *s, const struct layer *l, size_t max,
                             struct buf *out, struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct digest d;
    const size_t at = out->len;
    if (l->size > max)
        return fail(err, STATUS_LIMIT, "a layer of %" PRIu64 " bytes: at most %zu",
                    l->size, max);
    enum status st = store_blob_path(s, &l->digest, l->size, path, err);
    if (st)
        return st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    st = read_to_end(out, fd, path, err);
    close(fd);
    if (!st &&
        !(st = digest_of(&d, out->len > at ? out->data + at : "", out->len - at, err)) &&
        !digest_equal(&d, &l->digest))
        st = fail(err, STATUS_BAD_FILE, "%s: its bytes have another digest", path);
    return st;
}
