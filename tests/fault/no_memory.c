/* no_memory.c - malloc that fails now and then, for LD_PRELOAD.
 *
 * NO_MEMORY names a file of 8 bytes, in the machine's order: n of its first four bytes
 * means that about one allocation of n fails, 0 none.  Which ones is the same for the
 * same order of allocations. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static _Atomic(atomic_uint *) shared;

static __attribute__((constructor)) void open_file(void)
{
    const char *path = getenv("NO_MEMORY");
    const int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        atomic_store(&shared, p);
}

static int fails(void)
{
    atomic_uint *p = atomic_load(&shared);
    const unsigned n = p ? atomic_load(p) : 0;
    if (!n)
        return 0;
    uint32_t x = atomic_fetch_add(p + 1, 1) * 2654435761u; // spread by a hash
    x = (x ^ x >> 15) * 2246822519u;
    if ((x ^ x >> 13) % n)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t n)
{
    return fails() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    return fails() ? NULL : __libc_realloc(p, n);
}
