/* prefetch.h - weights on their way from memory, for kernels that read them once.
 * Included inside a target. */
#ifndef TENSOR_PREFETCH_H
#define TENSOR_PREFETCH_H

#include <stddef.h>
#include <stdint.h>

/* Ask for as many bytes behind p as are about to be read from it: the hardware's own
 * prefetch stops short of them when blocks need many instructions (Q4_K on Zen 5, one
 * token: 12.5 GB/s without these, 36 with).  The lines of 8 KB are asked for in turn from
 * both halves: hardware that reads ahead within 4 KB then does so in two places at a time
 * (docs/performance.md, 4).  Reading ahead of the matrix is harmless. */
CPU_INLINE void prefetch(const uint8_t *p, size_t bytes)
{
    enum { LINE = 64, HALF = 4096 };
#pragma GCC unroll 16
    for (size_t i = 0; i < bytes; i += LINE) {
        const uintptr_t at = (uintptr_t)p + i, in = at % (2 * HALF);
        const uintptr_t to = in / LINE % 2 * HALF + in / (2 * LINE) * LINE;
        __builtin_prefetch((const char *)(at - in + 2 * HALF + to));
    }
}

#endif
