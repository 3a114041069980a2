/* harness.h - what the check programs of tensor kernels share: memory that ends at an
 * unmapped page, random numbers, complaints.  Included once, by the program. */
#ifndef CHECK_HARNESS_H
#define CHECK_HARNESS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/rng.h"

static const char *isa_now; // the level that is being checked
static int failures;

/* ---- guarded memory ---- */

enum { MAP_CAP = 64, PAGE = 4096 };
static struct {
    void *p;
    size_t bytes;
} maps[MAP_CAP];
static int n_map;

/* A buffer that ends at an unmapped page: one byte too far faults. */
static void *guarded(size_t bytes)
{
    const size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    char *p = mmap(NULL, size + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                   -1, 0);
    if (p == MAP_FAILED || n_map == MAP_CAP || mprotect(p + size, PAGE, PROT_NONE))
        abort();
    maps[n_map].p = p;
    maps[n_map++].bytes = size + PAGE;
    return p + size - bytes;
}

static void release_all(void)
{
    while (n_map > 0) {
        n_map--;
        munmap(maps[n_map].p, maps[n_map].bytes);
    }
}

static uint64_t counter;

static uint64_t rnd(void)
{
    return rng_at(1, counter++);
}

static float uniform(void) // [-1, 1)
{
    return (float)(2 * rng_uniform(2, counter++) - 1);
}

static void complain(const char *kernel, const char *what, int n)
{
    if (failures++ < 20)
        fprintf(stderr, "FAIL %s_%s n=%d: %s\n", kernel, isa_now, n, what);
}

#endif
