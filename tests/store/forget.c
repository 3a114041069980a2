/* forget.c - a disk that keeps only what was synced, for LD_PRELOAD.
 *
 *   FORGET_SHADOW   folder on the same file system, which gets the lasting state
 *                   (empty: nothing lasts):
 *                     file-<inode>  bytes of a file at its last fsync
 *                     dir-<inode>   "d|f <inode> <name>" lines of a folder at its last
 *                     pin-<inode>   a link to the file, so that its number stays its own
 *   FORGET_KILL_AT  kill -9 instead of this call (from 1) that changes the disk
 *   FORGET_FAIL_AT  fail that call: no space for a write, else an error of the disk
 *
 * fsync copies and does not sync: the tests never cut the power. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static long at(const char *name)
{
    const char *v = getenv(name);
    return v ? atol(v) : 0;
}

/* Count a change; true if it is to fail. */
static int change(int error)
{
    static atomic_long count;
    const long now = atomic_fetch_add(&count, 1) + 1;
    if (now == at("FORGET_KILL_AT"))
        syscall(SYS_kill, getpid(), SIGKILL);
    if (now != at("FORGET_FAIL_AT"))
        return 0;
    errno = error;
    return 1;
}

static const char *shadow_path(char out[4200], const char *kind, unsigned long ino)
{
    snprintf(out, 4200, "%s/%s-%lu", getenv("FORGET_SHADOW"), kind, ino);
    return out;
}

static void put(int fd, const void *p, size_t n)
{
    while (n > 0) {
        const ssize_t done = syscall(SYS_write, fd, p, n);
        if (done <= 0)
            abort();
        p = (const char *)p + done;
        n -= (size_t)done;
    }
}

static int begin_shadow(char temp[4200])
{
    snprintf(temp, 4200, "%s/temp", getenv("FORGET_SHADOW"));
    return (int)syscall(SYS_openat, AT_FDCWD, temp, O_WRONLY | O_CREAT | O_TRUNC, 0600);
}

static void end_shadow(int fd, const char *temp, const char *kind, unsigned long ino)
{
    char path[4200];
    close(fd);
    syscall(SYS_renameat2, AT_FDCWD, temp, AT_FDCWD, shadow_path(path, kind, ino), 0);
}

static void keep_file(int fd, unsigned long ino)
{
    char link[64], temp[4200], path[4200], block[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    syscall(SYS_linkat, AT_FDCWD, link, AT_FDCWD, shadow_path(path, "pin", ino),
            AT_SYMLINK_FOLLOW);
    const int from = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY, 0);
    const int to = begin_shadow(temp);
    for (ssize_t n; (n = read(from, block, sizeof block)) > 0;)
        put(to, block, (size_t)n);
    close(from);
    end_shadow(to, temp, "file", ino);
}

static void keep_folder(int fd, unsigned long ino)
{
    char temp[4200], line[512], path[4200];
    const int own = (int)syscall(SYS_openat, fd, ".", O_RDONLY | O_DIRECTORY, 0);
    DIR *dir = fdopendir(own);
    const int to = begin_shadow(temp);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (e->d_type != DT_DIR)
            syscall(SYS_linkat, fd, e->d_name, AT_FDCWD,
                    shadow_path(path, "pin", e->d_ino), 0);
        snprintf(line, sizeof line, "%c %lu %s\n", e->d_type == DT_DIR ? 'd' : 'f',
                 (unsigned long)e->d_ino, e->d_name);
        put(to, line, strlen(line));
    }
    end_shadow(to, temp, "dir", ino);
    if (dup(own) < 0) // its number stays its own
        abort();
    closedir(dir);
}

int fsync(int fd)
{
    struct stat st;
    if (change(EIO))
        return -1;
    const char *shadow = getenv("FORGET_SHADOW");
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    if (!shadow || !*shadow || fstat(fd, &st))
        return 0;
    pthread_mutex_lock(&lock);
    if (S_ISDIR(st.st_mode))
        keep_folder(fd, st.st_ino);
    else
        keep_file(fd, st.st_ino);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

ssize_t write(int fd, const void *p, size_t n)
{
    struct stat st;
    if (!fstat(fd, &st) && S_ISREG(st.st_mode) && change(ENOSPC))
        return -1;
    return syscall(SYS_write, fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t where)
{
    return change(ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, p, n, where);
}

int posix_fallocate(int fd, off_t from, off_t n)
{
    if (change(ENOSPC))
        return ENOSPC;
    return syscall(SYS_fallocate, fd, 0, from, n) ? errno : 0;
}

int ftruncate(int fd, off_t n)
{
    return change(EIO) ? -1 : (int)syscall(SYS_ftruncate, fd, n);
}

int renameat(int from, const char *a, int to, const char *b)
{
    return change(EIO) ? -1 : (int)syscall(SYS_renameat2, from, a, to, b, 0);
}

int rename(const char *a, const char *b)
{
    return renameat(AT_FDCWD, a, AT_FDCWD, b);
}

int unlinkat(int folder, const char *name, int flags)
{
    return change(EIO) ? -1 : (int)syscall(SYS_unlinkat, folder, name, flags);
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int linkat(int from, const char *a, int to, const char *b, int flags)
{
    return change(EIO) ? -1 : (int)syscall(SYS_linkat, from, a, to, b, flags);
}

int mkdir(const char *path, mode_t mode)
{
    return change(EIO) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

static int open_any(int folder, const char *path, int flags, mode_t mode)
{
    if ((flags & O_CREAT) && change(EIO))
        return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    const mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return open_any(folder, path, flags, mode);
}
