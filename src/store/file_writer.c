/* file_writer.c - temporary file, fsync, rename, fsync of the folder. */
#include "store/file_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { NAME_TRIES = 100 };

enum status file_sync(int fd, const char *name, struct error *err)
{
    if (!fsync(fd))
        return STATUS_OK;
    return fail(err, STATUS_IO, "%s: fsync: %s", name, strerror(errno));
}

/* A name that nobody else has, and its lock: prune leaves locked files alone. */
static enum status make_temp(struct file_writer *w, struct error *err)
{
    static atomic_uint count;
    for (int i = 0; i < NAME_TRIES; i++) {
        const unsigned salt = (unsigned)clock_us() * 2654435761u;
        snprintf(w->temp, sizeof w->temp, FILE_WRITER_PREFIX "%x-%x-%08x",
                 (unsigned)getpid(), atomic_fetch_add(&count, 1) & 0xffff, salt);
        w->fd = openat(w->folder, w->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (w->fd >= 0 && !flock(w->fd, LOCK_EX | LOCK_NB))
            return STATUS_OK;
        if (w->fd >= 0) { // whoever took it removes it
            close(w->fd);
            w->fd = -1;
        } else if (errno != EEXIST) {
            break;
        }
    }
    const int e = errno;
    *w->temp = 0;
    return fail(err, STATUS_IO, "cannot make a file in the store: %s", strerror(e));
}

enum status file_writer_reserve(struct file_writer *w, uint64_t size, struct error *err)
{
    w->expected = size;
    if (w->expected == FILE_SIZE_UNKNOWN || w->expected == 0)
        return STATUS_OK;
    if (w->expected > INT64_MAX)
        return fail(err, STATUS_LIMIT, "%" PRIu64 " bytes are too many", w->expected);
    const int e = posix_fallocate(w->fd, 0, (off_t)w->expected);
    if (!e || e == EOPNOTSUPP || e == EINVAL || e == ENOSYS)
        return STATUS_OK;
    return fail(err, STATUS_IO, "no room for %.1f MB in the store: %s",
                (double)w->expected / 1e6, strerror(e));
}

enum status file_writer_open(struct file_writer *w, int folder, uint64_t size,
                             struct error *err)
{
    *w = (struct file_writer){.folder = folder, .fd = -1, .expected = size};
    enum status s = make_temp(w, err);
    if (!s)
        s = file_writer_reserve(w, size, err);
    if (!s)
        s = sha256_open(&w->hash, err);
    if (s)
        file_writer_close(w);
    return s;
}

enum status file_writer_write(struct file_writer *w, const void *p, size_t n,
                              struct error *err)
{
    const char *at = p;
    if (w->expected != FILE_SIZE_UNKNOWN && n > w->expected - w->written)
        return fail(err, STATUS_BAD_INPUT, "more than the %" PRIu64 " bytes that it has",
                    w->expected);
    const enum status s = sha256_update(&w->hash, p, n, err);
    if (s)
        return s;
    while (n > 0) {
        const ssize_t done = write(w->fd, at, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return fail(err, STATUS_IO, "cannot write to the store: %s",
                        strerror(done ? errno : ENOSPC));
        at += done;
        n -= (size_t)done;
        w->written += (uint64_t)done;
    }
    return STATUS_OK;
}

enum status file_writer_sync(struct file_writer *w, struct digest *digest,
                             struct error *err)
{
    if (w->expected != FILE_SIZE_UNKNOWN && w->written != w->expected)
        return fail(err, STATUS_BAD_INPUT, "%" PRIu64 " bytes came of %" PRIu64,
                    w->written, w->expected);
    const enum status s = sha256_finish(&w->hash, digest, err);
    if (s)
        return s;
    if (fchmod(w->fd, 0644))
        return fail(err, STATUS_IO, "%s: %s", w->temp, strerror(errno));
    return file_sync(w->fd, w->temp, err);
}

enum status file_writer_rename(struct file_writer *w, int folder, const char *name,
                               struct error *err)
{
    if (renameat(w->folder, w->temp, folder, name))
        return fail(err, STATUS_IO, "cannot name a file of the store %s: %s", name,
                    errno == EXDEV ? "its folders are on different file systems"
                                   : strerror(errno));
    *w->temp = 0;
    return file_sync(folder, name, err);
}

void file_writer_close(struct file_writer *w)
{
    if (w->fd >= 0 && *w->temp)
        unlinkat(w->folder, w->temp, 0);
    if (w->fd >= 0)
        close(w->fd);
    sha256_close(&w->hash);
    w->fd = -1;
    *w->temp = 0;
}
