/* lock.c - who may change a folder, what is in use, and removing the rest. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/internal.h"

/* ---- folders and the lock ---- */

static enum status sync_folder(const char *path, struct error *err)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    const enum status s = file_sync(fd, path, err);
    close(fd);
    return s;
}

/* path[0..n): made, and its parent synced, if it was not there. */
static enum status make_one(char *path, size_t n, unsigned mode, struct error *err)
{
    const char c = path[n];
    enum status s = STATUS_OK;
    path[n] = 0;
    if (!mkdir(path, mode)) {
        size_t up = n;
        while (up > 0 && path[up - 1] != '/')
            up--;
        char parent[STORE_PATH_BYTES];
        memcpy(parent, up ? path : ".", up ? up : 1);
        parent[up ? up : 1] = 0;
        s = sync_folder(parent, err);
    } else if (errno != EEXIST) {
        s = fail(err, STATUS_IO, "%s: cannot make the folder: %s", path, strerror(errno));
    }
    path[n] = c;
    return s;
}

enum status store_make_folder(const char *path, unsigned mode, struct error *err)
{
    char p[STORE_PATH_BYTES];
    struct stat st;
    const size_t n = strlen(path);
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return STATUS_OK;
    if (n == 0 || n >= sizeof p)
        return fail(err, STATUS_LIMIT, "'%.100s': no path of a folder", path);
    memcpy(p, path, n + 1);
    enum status s = STATUS_OK;
    for (size_t i = 1; !s && i < n; i++)
        if (p[i] == '/' && p[i - 1] != '/') {
            p[i] = 0;
            const bool there = !stat(p, &st) && S_ISDIR(st.st_mode);
            p[i] = '/';
            if (!there)
                s = make_one(p, i, mode, err);
        }
    return s ? s : make_one(p, n, mode, err);
}

static enum status open_folder(int *fd, const char *folder, const char *name,
                               unsigned mode, struct error *err)
{
    char path[STORE_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return fail(err, STATUS_LIMIT, "%.200s...: too long a path", folder);
    const enum status s = store_make_folder(path, mode, err);
    if (!s && (*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    return s;
}

enum status store_lock(struct store_lock *l, const struct store *s, struct error *err)
{
    *l = (struct store_lock){.fd = -1, .incoming = -1, .blobs = -1};
    l->folder = s->folder[0];
    if (!*l->folder)
        return fail(err, STATUS_BAD_ARG,
                    "there is no folder for models; TURBINE_MODELS names one");
    enum status st = store_make_folder(l->folder, 0755, err);
    if (!st)
        st = open_folder(&l->blobs, l->folder, "blobs", 0755, err);
    if (!st)
        st = open_folder(&l->incoming, l->folder, ".turbine", 0755, err);
    if (!st) {
        l->fd = openat(l->incoming, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        int rc = -1;
        while (l->fd >= 0 && (rc = flock(l->fd, LOCK_EX)) && errno == EINTR)
            ;
        if (rc)
            st = fail(err, STATUS_IO, "%s: cannot lock the store: %s", l->folder,
                      strerror(errno));
    }
    if (st)
        store_unlock(l);
    return st;
}

void store_unlock(struct store_lock *l)
{
    if (!l->folder)
        return;
    if (l->fd >= 0)
        close(l->fd);
    if (l->incoming >= 0)
        close(l->incoming);
    if (l->blobs >= 0)
        close(l->blobs);
    *l = (struct store_lock){0};
}

/* ---- sets of digests ---- */

bool digest_set_add(struct digest_set *s, const struct digest *d)
{
    if (s->n == s->cap) {
        const size_t cap = s->cap ? s->cap * 2 : 64;
        struct digest *p = mem_resize(s->d, cap, sizeof *p);
        if (!p)
            return false;
        s->d = p;
        s->cap = cap;
    }
    s->d[s->n++] = *d;
    return true;
}

static int order_digests(const void *a, const void *b)
{
    return digest_compare(a, b);
}

void digest_set_sort(struct digest_set *s)
{
    if (s->n)
        qsort(s->d, s->n, sizeof *s->d, order_digests);
}

bool digest_set_has(const struct digest_set *s, const struct digest *d)
{
    return s->n && bsearch(d, s->d, s->n, sizeof *s->d, order_digests);
}

void digest_set_release(struct digest_set *s)
{
    mem_free(s->d);
    *s = (struct digest_set){0};
}

/* ---- what is in use ---- */

struct use {
    struct digest_set *set;
    int n_damaged;
};

static enum status use_manifest(void *ctx, const struct model_name *n, const char *path,
                                struct error *err)
{
    struct use *u = ctx;
    struct manifest m = {0};
    struct buf text;
    (void)n;
    buf_init(&text, MANIFEST_BYTES);
    enum status s = store_read_manifest(&text, NULL, path, NULL);
    if (!s)
        s = manifest_parse(&m, text.data, text.len, NULL);
    if (s == STATUS_NO_MEMORY) {
        s = fail(err, s, "no memory for the blobs in use");
    } else if (s) {
        u->n_damaged++;
        s = STATUS_OK;
    } else {
        bool ok = digest_set_add(u->set, &m.digest); // Ollama's manifests-v2 link to it
        if (ok && m.has_config)
            ok = digest_set_add(u->set, &m.config.digest);
        for (int i = 0; ok && i < m.n_layer; i++)
            ok = digest_set_add(u->set, &m.layers[i].digest);
        if (!ok)
            s = fail(err, STATUS_NO_MEMORY, "no memory for the blobs in use");
    }
    manifest_release(&m);
    buf_release(&text);
    return s;
}

/* One claim file: digests, one a line.  Nobody holds it: it counts for nothing. */
static enum status use_claim(struct digest_set *set, int incoming, const char *name,
                             struct error *err)
{
    char line[DIGEST_TEXT_BYTES];
    struct digest d;
    enum status s = STATUS_OK;
    const int fd = openat(incoming, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return STATUS_OK;
    if (flock(fd, LOCK_SH | LOCK_NB)) // its owner lives
        while (!s && read(fd, line, sizeof line) == (ssize_t)sizeof line)
            if (digest_parse(&d, line, sizeof line - 1) && !digest_set_add(set, &d))
                s = fail(err, STATUS_NO_MEMORY, "no memory for the blobs in use");
    close(fd);
    return s;
}

/* A folder of its own position, for reading its names; NULL if that fails. */
static DIR *names_of(int folder)
{
    const int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d && fd >= 0)
        close(fd);
    return d;
}

static bool starts_with(const char *s, const char *prefix)
{
    return !strncmp(s, prefix, strlen(prefix));
}

enum status store_used(struct digest_set *used, int *n_damaged,
                       const struct store_lock *l, struct error *err)
{
    struct use u = {used, 0};
    const struct store_walk w = {use_manifest, &u};
    enum status s = store_walk(l->folder, &w, err);
    DIR *dir = s ? NULL : names_of(l->incoming);
    if (!s && !dir)
        s = fail(err, STATUS_IO, "%s/.turbine: %s", l->folder, strerror(errno));
    for (struct dirent *e; !s && (e = readdir(dir));)
        if (starts_with(e->d_name, STORE_CLAIM_PREFIX))
            s = use_claim(used, l->incoming, e->d_name, err);
    if (dir)
        closedir(dir);
    digest_set_sort(used);
    *n_damaged = u.n_damaged;
    return s;
}

/* ---- removing ---- */

static void remove_blob(const struct store_lock *l, const char *name, int64_t before_s,
                        struct store_pruned *out)
{
    struct stat st;
    if (fstatat(l->blobs, name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode) ||
        st.st_mtime > before_s || unlinkat(l->blobs, name, 0))
        return;
    out->n_blob++;
    out->bytes += (uint64_t)st.st_size;
}

static enum status sweep_all(const struct store_lock *l, const struct digest_set *used,
                             int keep_s, struct store_pruned *out, struct error *err)
{
    DIR *dir = names_of(l->blobs);
    struct digest d;
    if (!dir)
        return fail(err, STATUS_IO, "%s/blobs: %s", l->folder, strerror(errno));
    const int64_t before = keep_s ? (int64_t)time(NULL) - keep_s : INT64_MAX;
    for (struct dirent *e; (e = readdir(dir));)
        if (digest_parse(&d, e->d_name, strlen(e->d_name)) && e->d_name[6] == '-' &&
            !digest_set_has(used, &d))
            remove_blob(l, e->d_name, before, out);
    closedir(dir);
    return STATUS_OK;
}

enum status store_sweep(const struct store_lock *l, const struct digest_set *from,
                        int keep_s, struct store_pruned *out, struct error *err)
{
    struct digest_set used = {0};
    enum status s = store_used(&used, &out->n_damaged, l, err);
    if (!s && !out->n_damaged && !from)
        s = sweep_all(l, &used, keep_s, out, err);
    for (size_t i = 0; !s && !out->n_damaged && from && i < from->n; i++) {
        char name[DIGEST_TEXT_BYTES];
        digest_file_name(name, &from->d[i]);
        if (!digest_set_has(&used, &from->d[i]))
            remove_blob(l, name, INT64_MAX, out);
    }
    digest_set_release(&used);
    return s;
}

/* ---- leftovers of .turbine ---- */

static bool is_suffix(const char *s, size_t n, const char *suffix)
{
    const size_t len = strlen(suffix);
    return n >= len && !memcmp(s + n - len, suffix, len);
}

/* Nobody holds the file's lock. */
static bool is_abandoned(int folder, const char *name)
{
    const int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT;
    const bool free_now = !flock(fd, LOCK_EX | LOCK_NB);
    close(fd);
    return free_now;
}

static bool is_leftover(int folder, const char *name)
{
    char part[256];
    struct stat st;
    size_t n = strlen(name);
    if (starts_with(name, FILE_WRITER_PREFIX) || starts_with(name, STORE_CLAIM_PREFIX))
        return is_abandoned(folder, name);
    if (is_suffix(name, n, ".map"))
        n -= 4; // goes when its part does
    if (!is_suffix(name, n, ".part") || n >= sizeof part)
        return false;
    memcpy(part, name, n);
    part[n] = 0;
    if (!fstatat(folder, part, &st, AT_SYMLINK_NOFOLLOW) &&
        st.st_mtime > time(NULL) - STORE_PART_KEEP_S)
        return false;
    return is_abandoned(folder, part);
}

enum status store_prune(struct store *s, int keep_s, struct store_pruned *out,
                        struct error *err)
{
    struct store_lock l;
    struct stat st;
    *out = (struct store_pruned){0};
    if (!*s->folder[0] || stat(s->folder[0], &st))
        return STATUS_OK; // nothing was ever written
    enum status status = store_lock(&l, s, err);
    if (status)
        return status;
    status = store_sweep(&l, NULL, keep_s, out, err);
    DIR *dir = status ? NULL : names_of(l.incoming);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (is_leftover(l.incoming, e->d_name) &&
            !fstatat(l.incoming, e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
            !unlinkat(l.incoming, e->d_name, 0)) {
            out->n_file++;
            out->bytes += (uint64_t)st.st_size;
        }
    if (dir)
        closedir(dir);
    store_unlock(&l);
    return status;
}
