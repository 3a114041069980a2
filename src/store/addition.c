/* addition.c - adding a model: blobs under a claim, then the manifest. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/blob_writer.h"
#include "store/internal.h"

enum { COPY_BYTES = 1 << 20 };

struct addition {
    struct store *store;
    int incoming, claim; // folder .turbine; the claim file, locked
    char claim_name[FILE_WRITER_TEMP_BYTES + 8];
    bool was_there; // the newest blob that came as bytes
};

/* ---- the claim ---- */

enum status addition_open(struct addition **out, struct store *s, struct error *err)
{
    struct store_lock l;
    struct addition *a = mem_array(1, sizeof *a);
    *out = NULL;
    if (!a)
        return fail(err, STATUS_NO_MEMORY, "no memory to change the store");
    a->store = s;
    a->incoming = a->claim = -1;
    enum status st = store_lock(&l, s, err);
    if (!st) {
        a->incoming = fcntl(l.incoming, F_DUPFD_CLOEXEC, 0);
        for (int i = 0; a->incoming >= 0 && a->claim < 0 && i < 1 << 16; i++) {
            snprintf(a->claim_name, sizeof a->claim_name, STORE_CLAIM_PREFIX "%x-%x",
                     (unsigned)getpid(), (unsigned)i);
            a->claim = openat(a->incoming, a->claim_name,
                              O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_APPEND, 0644);
            if (a->claim < 0 && errno != EEXIST)
                break;
        }
        if (a->claim < 0 || flock(a->claim, LOCK_EX | LOCK_NB))
            st = fail(err, STATUS_IO, "%s: cannot claim blobs: %s", l.folder,
                      strerror(errno));
        store_unlock(&l);
    }
    if (st) {
        addition_close(a);
        return st;
    }
    *out = a;
    return STATUS_OK;
}

void addition_close(struct addition *a)
{
    if (!a)
        return;
    if (a->claim >= 0) {
        unlinkat(a->incoming, a->claim_name, 0);
        close(a->claim);
    }
    if (a->incoming >= 0)
        close(a->incoming);
    mem_free(a);
}

bool addition_was_there(const struct addition *a)
{
    return a->was_there;
}

int addition_folder(const struct addition *a)
{
    return a->incoming;
}

/* With the lock, so that a sweep has seen it or comes later. */
static enum status write_claim(struct addition *a, const struct digest *d,
                               struct error *err)
{
    char line[DIGEST_TEXT_BYTES];
    digest_print(line, d);
    line[DIGEST_TEXT_BYTES - 1] = '\n';
    if (write(a->claim, line, sizeof line) == (ssize_t)sizeof line)
        return STATUS_OK;
    return fail(err, STATUS_IO, "%s: cannot claim blobs: %s", a->store->folder[0],
                strerror(errno));
}

static bool blob_there(const struct store_lock *l, const struct digest *d, uint64_t size)
{
    char name[DIGEST_TEXT_BYTES];
    struct stat st;
    digest_file_name(name, d);
    return !fstatat(l->blobs, name, &st, 0) && S_ISREG(st.st_mode) &&
           (!size || (uint64_t)st.st_size == size);
}

enum status addition_claim(struct addition *a, const struct digest *d, uint64_t size,
                           bool *present, struct error *err)
{
    struct store_lock l;
    enum status s = store_lock(&l, a->store, err);
    if (s)
        return s;
    s = write_claim(a, d, err);
    *present = !s && blob_there(&l, d, size);
    store_unlock(&l);
    return s;
}

/* ---- blobs ---- */

enum status blob_writer_open(struct blob_writer *w, struct addition *a, uint64_t size,
                             struct error *err)
{
    struct store_lock l;
    *w = (struct blob_writer){.addition = a, .file = {.fd = -1}};
    enum status s = store_lock(&l, a->store, err); // prune would take it for a leftover
    if (s)
        return s;
    s = file_writer_open(&w->file, a->incoming, FILE_SIZE_UNKNOWN, err);
    store_unlock(&l);
    if (!s && (s = file_writer_reserve(&w->file, size, err)))
        file_writer_close(&w->file);
    return s;
}

enum status blob_writer_write(struct blob_writer *w, const void *p, size_t n,
                              struct error *err)
{
    return file_writer_write(&w->file, p, n, err);
}

/* Claim d and give the file its name, under one lock. */
static enum status name_blob(struct blob_writer *w, const struct digest *d,
                             struct error *err)
{
    char name[DIGEST_TEXT_BYTES];
    struct store_lock l;
    enum status s = store_lock(&l, w->addition->store, err);
    if (s)
        return s;
    digest_file_name(name, d);
    w->addition->was_there = blob_there(&l, d, 0);
    if (!(s = write_claim(w->addition, d, err)))
        s = file_writer_rename(&w->file, l.blobs, name, err);
    store_unlock(&l);
    return s;
}

static enum status digest_differs(const struct digest *want, const struct digest *is,
                                  struct error *err)
{
    char a[DIGEST_TEXT_BYTES], b[DIGEST_TEXT_BYTES];
    digest_print(a, want);
    digest_print(b, is);
    return fail(err, STATUS_BAD_INPUT, "digest mismatch: expected %s, the bytes have %s",
                a, b);
}

enum status blob_writer_commit(struct blob_writer *w, const struct digest *expected,
                               struct digest *digest, struct error *err)
{
    struct digest d;
    enum status s = file_writer_sync(&w->file, &d, err);
    if (!s && expected && !digest_equal(expected, &d))
        s = digest_differs(expected, &d, err);
    if (!s)
        s = name_blob(w, &d, err);
    if (!s && digest)
        *digest = d;
    file_writer_close(&w->file);
    return s;
}

void blob_writer_close(struct blob_writer *w)
{
    if (w->addition)
        file_writer_close(&w->file);
    w->addition = NULL;
}

enum status addition_bytes(struct addition *a, const void *p, size_t n,
                           struct digest *digest, struct error *err)
{
    struct blob_writer w;
    enum status s = blob_writer_open(&w, a, n, err);
    if (!s && !(s = blob_writer_write(&w, p, n, err)))
        s = blob_writer_commit(&w, NULL, digest, err);
    blob_writer_close(&w);
    return s;
}

/* ---- files ---- */

/* The bytes of fd into w: shared with it where the file system can, else copied. */
static enum status copy_file(struct blob_writer *w, int fd, const char *path,
                             struct error *err)
{
    const bool shared = !ioctl(w->file.fd, FICLONE, fd);
    char *block = mem_array(COPY_BYTES, 1);
    enum status s =
        block ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory to read %s", path);
    while (!s) {
        const ssize_t n = read(shared ? w->file.fd : fd, block, COPY_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            s = fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
        if (n <= 0)
            break;
        if (!shared) {
            s = blob_writer_write(w, block, (size_t)n, err);
        } else if (!(s = sha256_update(&w->file.hash, block, (size_t)n, err))) {
            w->file.written += (uint64_t)n;
        }
    }
    mem_free(block);
    return s;
}

/* path as a blob; expected may be NULL. */
static enum status add_file(struct addition *a, const char *path,
                            const struct digest *expected, struct digest *digest,
                            uint64_t *size, struct error *err)
{
    struct blob_writer w = {0};
    struct stat before, after;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                    strerror(errno));
    enum status s = STATUS_OK;
    if (fstat(fd, &before) || !S_ISREG(before.st_mode))
        s = fail(err, STATUS_BAD_FILE, "%s: no regular file", path);
    if (!s && !(s = blob_writer_open(&w, a, (uint64_t)before.st_size, err)))
        s = copy_file(&w, fd, path, err);
    if (!s && (fstat(fd, &after) || after.st_size != before.st_size ||
               w.file.written != (uint64_t)before.st_size ||
               after.st_mtim.tv_sec != before.st_mtim.tv_sec ||
               after.st_mtim.tv_nsec != before.st_mtim.tv_nsec))
        s = fail(err, STATUS_BAD_FILE, "%s: changed while it was read", path);
    if (!s)
        s = blob_writer_commit(&w, expected, digest, err);
    if (!s && size)
        *size = (uint64_t)before.st_size;
    blob_writer_close(&w);
    close(fd);
    return s;
}

enum status addition_file(struct addition *a, const char *path, struct digest *digest,
                          uint64_t *size, struct error *err)
{
    return add_file(a, path, NULL, digest, size, err);
}

/* A hard link to a blob of another store: blobs do not change, if only we can write to
 * this one.  STATUS_UNSUPPORTED: copy it. */
static enum status link_blob(struct addition *a, const char *path, const struct digest *d,
                             struct error *err)
{
    char name[DIGEST_TEXT_BYTES];
    struct digest is;
    struct stat st, there;
    struct store_lock l;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    enum status s = STATUS_OK;
    if (fstat(fd, &st) || st.st_uid != geteuid() || (st.st_mode & 022))
        s = STATUS_UNSUPPORTED;
    if (!s && !(s = digest_of_file(&is, NULL, fd, path, err)) && !digest_equal(&is, d))
        s = digest_differs(d, &is, err);
    if (!s)
        s = file_sync(fd, path, err); // its writer may not have
    if (!s && !(s = store_lock(&l, a->store, err))) {
        digest_file_name(name, d);
        s = write_claim(a, d, err);
        if (!s && linkat(AT_FDCWD, path, l.blobs, name, 0) &&
            (errno != EEXIST || fstatat(l.blobs, name, &there, 0) ||
             there.st_size != st.st_size)) // a copy takes the place of a damaged one
            s = STATUS_UNSUPPORTED;
        if (!s)
            s = file_sync(l.blobs, name, err);
        store_unlock(&l);
    }
    close(fd);
    return s;
}

enum status addition_blob(struct addition *a, const struct digest *d, uint64_t size,
                          struct error *err)
{
    char path[STORE_PATH_BYTES];
    bool present;
    enum status s = addition_claim(a, d, size, &present, err);
    if (s || present)
        return s;
    if ((s = store_blob_path(a->store, d, size, path, err)))
        return s;
    s = link_blob(a, path, d, err);
    return s == STATUS_UNSUPPORTED ? add_file(a, path, d, NULL, NULL, err) : s;
}

enum status addition_adopt(struct addition *a, const char *name, const struct digest *d,
                           struct error *err)
{
    char blob[DIGEST_TEXT_BYTES];
    struct digest is;
    struct store_lock l;
    const int fd = openat(a->incoming, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", name, strerror(errno));
    enum status s = digest_of_file(&is, NULL, fd, name, err);
    if (!s && !digest_equal(&is, d))
        s = digest_differs(d, &is, err);
    if (!s && fchmod(fd, 0644))
        s = fail(err, STATUS_IO, "%s: %s", name, strerror(errno));
    if (!s && (s = file_sync(fd, name, err)))
        unlinkat(a->incoming, name, 0); // the kernel may have dropped what it held
    if (!s && !(s = store_lock(&l, a->store, err))) {
        digest_file_name(blob, d);
        s = write_claim(a, d, err);
        if (!s && renameat(a->incoming, name, l.blobs, blob))
            s = fail(err, STATUS_IO, "%s: %s", blob, strerror(errno));
        if (!s)
            s = file_sync(l.blobs, blob, err);
        store_unlock(&l);
    }
    close(fd);
    return s;
}

/* ---- the manifest ---- */

static enum status check_blobs(const struct store_lock *l, const struct manifest *m,
                               struct error *err)
{
    for (int i = m->has_config ? -1 : 0; i < m->n_layer; i++) {
        const struct layer *layer = i < 0 ? &m->config : &m->layers[i];
        char name[DIGEST_TEXT_BYTES];
        if (blob_there(l, &layer->digest, layer->size))
            continue;
        digest_print(name, &layer->digest);
        return fail(err, STATUS_NOT_FOUND,
                    "blob %s of %" PRIu64 " bytes is not in the store", name,
                    layer->size);
    }
    return STATUS_OK;
}

static enum status write_manifest(const struct store_lock *l, const char *path,
                                  const char *json, size_t n, struct error *err)
{
    struct file_writer w;
    struct digest d;
    char folder[STORE_PATH_BYTES];
    const size_t at = (size_t)(strrchr(path, '/') - path);
    memcpy(folder, path, at);
    folder[at] = 0;
    enum status s = store_make_folder(folder, 0755, err);
    if (s)
        return s;
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail(err, STATUS_IO, "%s: %s", folder, strerror(errno));
    if (!(s = file_writer_open(&w, l->incoming, n, err))) {
        if (!(s = file_writer_write(&w, json, n, err)) &&
            !(s = file_writer_sync(&w, &d, err)))
            s = file_writer_rename(&w, fd, path + at + 1, err);
        file_writer_close(&w);
    }
    close(fd);
    return s;
}

enum status addition_put(struct addition *a, const struct model_name *name,
                         const char *json, size_t n, struct error *err)
{
    char path[STORE_PATH_BYTES];
    struct manifest m;
    struct store_lock l;
    struct model_name spelled = *name;
    struct digest_set old = {0};
    struct store_pruned pruned = {0};
    bool removed;
    enum status s = manifest_parse(&m, json, n, err);
    if (!s && !(s = store_lock(&l, a->store, err))) {
        store_spelling(l.folder, &spelled);
        if (!(s = check_blobs(&l, &m, err)) &&
            !store_manifest_path(path, l.folder, store_roots[1], &spelled))
            s = fail(err, STATUS_LIMIT, "%.200s...: too long a path", l.folder);
        if (!s) {
            store_note_blobs(&old, path);
            s = write_manifest(&l, path, json, n, err);
        }
        if (!s)
            s = store_remove_link(&l, &spelled, &old, &removed, err);
        if (!s && old.n)
            s = store_sweep(&l, &old, 0, &pruned, err);
        store_unlock(&l);
    }
    digest_set_release(&old);
    manifest_release(&m);
    return s;
}
