#define _DEFAULT_SOURCE
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

bool mem_mul(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

bool mem_add(size_t *out, size_t a, size_t b)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static _Thread_local unsigned failures;

unsigned mem_failures(void)
{
    return failures;
}

static void *counted(void *p)
{
    failures += !p;
    return p;
}

void *mem_array(size_t n, size_t size)
{
    size_t bytes;
    if (!mem_mul(&bytes, n, size))
        return counted(NULL);
    return counted(calloc(1, bytes ? bytes : 1));
}

void *mem_resize(void *p, size_t n, size_t size)
{
    size_t bytes;
    if (!mem_mul(&bytes, n, size))
        return counted(NULL);
    return counted(realloc(p, bytes ? bytes : 1));
}

void mem_free(void *p)
{
    free(p);
}

char *mem_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *p = mem_array(n, 1);
    return p ? memcpy(p, s, n) : NULL;
}

enum { HUGE_PAGE = 2 << 20 };

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

void *mem_pages(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    /* Over-allocate by one huge page, then give the unaligned ends back. */
    const size_t want = round_up(bytes ? bytes : 1, (size_t)sysconf(_SC_PAGESIZE));
    const size_t total = want + HUGE_PAGE;
    uint8_t *base =
        mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        return NULL;
    const size_t skip = round_up((uintptr_t)base, HUGE_PAGE) - (uintptr_t)base;
    if (skip)
        munmap(base, skip);
    if (total - skip > want)
        munmap(base + skip + want, total - skip - want);
    if (want >= HUGE_PAGE)
        madvise(base + skip, want, MADV_HUGEPAGE);
    return base + skip;
}

void mem_pages_free(void *p, size_t bytes)
{
    if (p)
        munmap(p, round_up(bytes ? bytes : 1, (size_t)sysconf(_SC_PAGESIZE)));
}

/* The number after `key` in a file of "key value" lines, or the file's first number if
 * key is NULL; SIZE_MAX if there is none. */
static size_t read_number(const char *path, const char *key)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return SIZE_MAX;
    char line[256];
    size_t found = SIZE_MAX;
    while (fgets(line, sizeof line, f)) {
        unsigned long long v;
        const char *at = key ? strstr(line, key) : line;
        if (at && sscanf(key ? at + strlen(key) : at, "%llu", &v) == 1) {
            found = (size_t)v;
            break;
        }
    }
    fclose(f);
    return found;
}

/* What is left in a cgroup (Linux, cgroup-v2.rst); SIZE_MAX: it has no limit.  What its
 * files have in memory and nobody used lately counts as free. */
static size_t left_in_group(const char *group)
{
    char path[512];
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    const size_t limit = read_number(path, NULL);
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", group);
    const size_t used = read_number(path, NULL);
    snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.stat", group);
    const size_t files = read_number(path, "inactive_file");
    if (limit == SIZE_MAX || used == SIZE_MAX)
        return SIZE_MAX;
    const size_t held = files != SIZE_MAX && files < used ? used - files : used;
    return limit > held ? limit - held : 0;
}

/* The least of this process's cgroup and those around it. */
static size_t left_in_groups(void)
{
    char line[400] = "";
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f) && strncmp(line, "0::/", 4) != 0)
        *line = 0;
    if (f)
        fclose(f);
    line[strcspn(line, "\n")] = 0;
    char *group = *line ? line + strlen("0::") : line;
    size_t least = SIZE_MAX;
    for (char *end = group + strlen(group);; end = strrchr(group, '/')) {
        if (end)
            *end = 0;
        const size_t left = left_in_group(group);
        least = left < least ? left : least;
        if (!end || !*group)
            return least;
    }
}

size_t mem_available(void)
{
    const size_t kib = read_number("/proc/meminfo", "MemAvailable:");
    const size_t free_bytes = kib == SIZE_MAX ? 0 : kib * 1024, left = left_in_groups();
    if (left == SIZE_MAX)
        return free_bytes;
    return free_bytes && free_bytes < left ? free_bytes : left;
}

static size_t own_status(const char *key)
{
    const size_t kib = read_number("/proc/self/status", key);
    return kib == SIZE_MAX ? 0 : kib * 1024;
}

size_t mem_resident(void)
{
    return own_status("VmRSS:");
}

size_t mem_peak(void)
{
    return own_status("VmHWM:");
}

bool mem_peak_forget(void)
{
    FILE *f = fopen("/proc/self/clear_refs", "w");
    const bool written = f && fputs("5\n", f) >= 0; // proc(5)
    return f && fclose(f) == 0 && written;
}
