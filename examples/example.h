/* example.h - what both examples need besides the library: memory and random numbers. */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zeroed, and aligned as the library wants its scratch. */
static inline void *reserve(size_t bytes)
{
    bytes = (bytes + 63) / 64 * 64;
    void *p = aligned_alloc(64, bytes);
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memset(p, 0, bytes);
}

/* A normal number; the same sequence in every run. */
static inline float gaussian(void)
{
    static uint64_t state = 1;
    double u[2];
    for (int i = 0; i < 2; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        u[i] = ((double)(state >> 11) + 0.5) * 0x1p-53;
    }
    return (float)(sqrt(-2 * log(u[0])) * cos(6.283185307179586 * u[1]));
}

#endif
