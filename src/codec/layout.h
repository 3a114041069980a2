/* layout.h - where things are in a page of a compressed type; docs/format.md. */
#ifndef CODEC_LAYOUT_H
#define CODEC_LAYOUT_H

#include "turboquant.h"

enum { TQ_SCALES_BYTES = 2 * TQ_PAGE_TOKENS };

/* The dimension that trellis time t codes. */
static inline int tq_dim_of_time(enum tq_role role, int bits, int d, int t)
{
    if (role == TQ_VALUE)
        return 16 * (t % (d / 16)) + t / (d / 16);
    const int fields = bits == 4 ? 2 : 4; // fields of the main array in a byte
    const int rows = d / (4 * fields);
    const int n = t % rows, p = t / rows;
    return 4 * (fields * n + p % fields) + p / fields;
}

/* Parts of scratch start at whole cache lines. */
static inline size_t tq_round_up_64(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Width of the words that hold the v bits of turbo3 keys. */
static inline int tq_v_word_bits(int d)
{
    return d % 32 == 0 ? 32 : 16;
}

#endif
