/* file.c - one file: mapping, private copy of the metadata, SIGBUS.
 *
 * Somebody may truncate a file that is mapped; touching a lost page then raises SIGBUS,
 * in whatever thread.  One process-wide handler looks for the registered mapping that
 * holds the address, replaces the rest of that mapping with zero pages, marks it, and
 * returns: the read goes on with zeros and gguf_guard reports the mark.  A SIGBUS from
 * anywhere else goes to the handler that was there before. */
#define _DEFAULT_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "gguf/internal.h"

/* Read by the handler without a lock, so a range is never freed, only used again. */
struct bus_range {
    struct bus_range *next;       // fixed once the range is in the list
    _Atomic uintptr_t start, end; // 0, 0 when not in use
    atomic_bool faulted;
};

static _Atomic(struct bus_range *) bus_ranges;
static pthread_mutex_t bus_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction bus_before;
static uintptr_t bus_page;

/* Zero pages over [from, end).  The bare system call where there is one: a signal
 * handler should not run what a sanitizer or a library wraps around mmap. */
static bool bus_zero(uintptr_t from, uintptr_t end)
{
    const int prot = PROT_READ;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
#ifdef SYS_mmap
    return syscall(SYS_mmap, from, end - from, prot, flags, -1, 0) != -1;
#else
    return mmap((void *)from, end - from, prot, flags, -1, 0) != MAP_FAILED;
#endif
}

static bool bus_repair(uintptr_t at)
{
    for (struct bus_range *r = atomic_load(&bus_ranges); r; r = r->next) {
        const uintptr_t start = atomic_load(&r->start), end = atomic_load(&r->end);
        if (at < start || at >= end || atomic_load(&r->start) != start)
            continue;
        if (!bus_zero(at & ~(bus_page - 1), end))
            return false;
        atomic_store(&r->faulted, true);
        return true;
    }
    return false;
}

static void bus_handler(int sig, siginfo_t *info, void *context)
{
    const int saved = errno;
    /* si_code > 0: raised by the kernel for an access, not sent by a process. */
    if (info->si_code > 0 && bus_repair((uintptr_t)info->si_addr)) {
        errno = saved;
        return;
    }
    if (bus_before.sa_flags & SA_SIGINFO) {
        bus_before.sa_sigaction(sig, info, context);
    } else if (bus_before.sa_handler != SIG_DFL && bus_before.sa_handler != SIG_IGN) {
        bus_before.sa_handler(sig);
    } else if (bus_before.sa_handler == SIG_DFL || info->si_code > 0) {
        /* The default action: on return the access faults again, or the signal that
         * is sent here arrives. */
        struct sigaction dfl = {.sa_handler = SIG_DFL};
        sigaction(sig, &dfl, NULL);
        if (info->si_code <= 0)
            raise(sig);
    }
    errno = saved;
}

/* Again whenever it matters, because a library may have set a handler of its own. */
void gguf_bus_ready(void)
{
    struct sigaction now,
        ours = {.sa_sigaction = bus_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    pthread_mutex_lock(&bus_lock);
    sigaction(SIGBUS, NULL, &now);
    if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != bus_handler) {
        bus_page = (uintptr_t)sysconf(_SC_PAGESIZE);
        bus_before = now;
        sigemptyset(&ours.sa_mask);
        sigaction(SIGBUS, &ours, NULL);
    }
    pthread_mutex_unlock(&bus_lock);
}

static struct bus_range *bus_watch(const void *p, size_t n)
{
    gguf_bus_ready();
    pthread_mutex_lock(&bus_lock);
    struct bus_range *r = atomic_load(&bus_ranges);
    while (r && atomic_load(&r->start))
        r = r->next;
    if (!r && (r = mem_array(1, sizeof *r))) {
        r->next = atomic_load(&bus_ranges);
        atomic_store(&bus_ranges, r);
    }
    if (r) {
        atomic_store(&r->faulted, false);
        atomic_store(&r->end, (uintptr_t)p + n);
        atomic_store(&r->start, (uintptr_t)p);
    }
    pthread_mutex_unlock(&bus_lock);
    return r;
}

static void bus_unwatch(struct bus_range *r)
{
    pthread_mutex_lock(&bus_lock);
    atomic_store(&r->end, 0);
    atomic_store(&r->start, 0);
    pthread_mutex_unlock(&bus_lock);
}

static size_t page_up(size_t n)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (n + page - 1) / page * page;
}

static enum status file_map(struct gguf_file *f, struct error *err)
{
    void *p = mmap(NULL, f->bytes, PROT_READ, MAP_PRIVATE, f->fd, 0);
    if (p == MAP_FAILED)
        return fail(err, STATUS_IO, "%s: cannot map %zu bytes: %s", f->path, f->bytes,
                    strerror(errno));
    f->range = bus_watch(p, page_up(f->bytes));
    if (!f->range) {
        munmap(p, f->bytes);
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", f->path);
    }
    f->data = p;
    const size_t cap = page_up(f->bytes < GGUF_META_MAX ? f->bytes : GGUF_META_MAX);
    p = mmap(NULL, cap, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return fail(err, STATUS_NO_MEMORY, "%s: no address space for %zu bytes", f->path,
                    cap);
    f->meta = p;
    f->meta_cap = cap;
    return STATUS_OK;
}

enum status gguf_file_open(struct gguf_file *f, const char *path, struct error *err)
{
    *f = (struct gguf_file){.fd = -1};
    if (!(f->path = mem_strdup(path)))
        return fail(err, STATUS_NO_MEMORY, "%s: out of memory", path);
    /* O_NONBLOCK: opening a FIFO must not wait. */
    f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0)
        return fail(err, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s", path,
                    strerror(errno));
    struct stat st;
    if (fstat(f->fd, &st))
        return fail(err, STATUS_IO, "%s: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(err, STATUS_IO, "%s: not a regular file", path);
    if (st.st_size == 0)
        return fail(err, STATUS_BAD_FILE, "%s: not a GGUF file: it is empty", path);
    if ((uintmax_t)st.st_size > SIZE_MAX / 2)
        return fail(err, STATUS_LIMIT, "%s: too large to map", path);
    f->bytes = (size_t)st.st_size;
    return file_map(f, err);
}

enum status gguf_file_memory(struct gguf_file *f, const void *data, size_t n,
                             struct error *err)
{
    *f = (struct gguf_file){.fd = -1, .data = data, .bytes = n};
    f->meta_ready = n;
    f->meta = (uint8_t *)(uintptr_t)data; // only read, and not freed: meta_cap is 0
    if (!(f->path = mem_strdup("memory")))
        return fail(err, STATUS_NO_MEMORY, "out of memory");
    return STATUS_OK;
}

enum status gguf_file_fill(struct gguf_file *f, size_t n, struct error *err)
{
    enum { STEP = 1 << 20 };
    while (f->meta_ready < n) {
        if (n > f->meta_cap)
            return fail(err, STATUS_LIMIT, "%s: metadata of more than %d MiB", f->path,
                        GGUF_META_MAX >> 20);
        size_t step = f->meta_cap - f->meta_ready;
        step = step < STEP ? step : STEP; // meta_ready is a multiple of the page here
        if (mprotect(f->meta + f->meta_ready, step, PROT_READ | PROT_WRITE))
            return fail(err, STATUS_NO_MEMORY, "%s: no memory for its metadata", f->path);
        const size_t end = f->meta_ready + step;
        const size_t want = (end < f->bytes ? end : f->bytes) - f->meta_ready;
        for (size_t got = 0; got < want;) {
            const ssize_t r = pread(f->fd, f->meta + f->meta_ready + got, want - got,
                                    (off_t)(f->meta_ready + got));
            if (r < 0 && errno == EINTR)
                continue;
            if (r < 0)
                return fail(err, STATUS_IO, "%s: %s", f->path, strerror(errno));
            if (r == 0)
                return fail(err, STATUS_IO, "%s: file was truncated while it was read",
                            f->path);
            got += (size_t)r;
        }
        f->meta_ready = end;
    }
    return STATUS_OK;
}

void gguf_file_trim(struct gguf_file *f, size_t n)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
    const size_t keep = page_up(n);
    if (keep && keep < f->meta_cap) {
        munmap(f->meta + keep, f->meta_cap - keep);
        f->meta_cap = keep;
    }
}

void gguf_file_close(struct gguf_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    const bool mapped = f->range;
    if (mapped)
        bus_unwatch(f->range);
    if (f->meta_cap)
        munmap(f->meta, f->meta_cap);
    if (mapped)
        munmap((void *)(uintptr_t)f->data, f->bytes);
    mem_free(f->path);
    *f = (struct gguf_file){.fd = -1};
}

bool gguf_file_faulted(const struct gguf_file *f)
{
    return f->range && atomic_load(&f->range->faulted);
}

void gguf_file_drop(const struct gguf_file *f, const uint8_t *p, size_t n)
{
    const uintptr_t start = (uintptr_t)f->data, at = (uintptr_t)p;
    if (!f->range || at < start || at - start >= f->bytes || n > f->bytes - (at - start))
        return;
    /* Inward: the pages at both ends may hold parts of other tensors. */
    const uintptr_t page = bus_page;
    const uintptr_t from = (at + page - 1) & ~(page - 1), to = (at + n) & ~(page - 1);
    if (from < to)
        madvise((void *)from, to - from, MADV_DONTNEED);
}
