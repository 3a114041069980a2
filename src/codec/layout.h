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

/* Keys of trellis types have a mean for each page, in bits of the scales that the scales
 * can spare: TQ_SCALE_MASK is what they keep.  Bits of the code of a channel's mean, 0
 * for heads too large for that. */
#define TQ_SCALE_MASK 0x7ff0

static inline int tq_mean_bits(int d)
{
    return d <= 128 ? 2 : d <= 256 ? 1 : 0;
}

/* The level of channel c, in units of the page's scale of means: +-1 and +-3, or +-1. */
static inline int tq_mean_level(const uint16_t *scale, int d, int c)
{
    const int b = tq_mean_bits(d),
              code = scale[c % 64] >> (b * (c / 64)) & ((1 << b) - 1);
    return 2 * code - ((1 << b) - 1);
}

/* That scale: its bit j is the sign bit of the scale of token j. */
static inline uint16_t tq_mean_scale(const uint16_t *scale)
{
    uint16_t h = 0;
    for (int j = 0; j < 16; j++)
        h = (uint16_t)(h | (scale[j] >> 15) << j);
    return h;
}

/* Width of the words that hold the v bits of turbo3 keys. */
static inline int tq_v_word_bits(int d)
{
    return d % 32 == 0 ? 32 : 16;
}

#endif
