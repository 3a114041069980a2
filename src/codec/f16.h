/* f16.h - half precision in portable C, and rounding to integers. */
#ifndef CODEC_F16_H
#define CODEC_F16_H

#include <stdint.h>
#include <string.h>

static inline float tq_from_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static inline uint32_t tq_to_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float tq_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fffu;
    if (rest >= 0x7c00)
        return tq_from_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    /* Exact for subnormal halves too: the product is a normal float. */
    return tq_from_bits(sign | tq_to_bits(tq_from_bits(rest << 13) * 0x1p112f));
}

/* Nearest, ties to even; finite values saturate at 65504. */
static inline uint16_t tq_f32_to_f16(float f)
{
    const uint32_t u = tq_to_bits(f), sign = u >> 16 & 0x8000u;
    uint32_t a = u & 0x7fffffffu;
    if (a >= 0x7f800000u)
        return (uint16_t)(sign | (a > 0x7f800000u ? 0x7e00u : 0x7c00u) |
                          (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u)
        return (uint16_t)(sign | 0x7bffu);
    if (a < 0x38800000u) /* subnormal: one ulp of 0.5f is one ulp of the half */
        return (uint16_t)(sign | (tq_to_bits(tq_from_bits(a) + 0.5f) - 0x3f000000u));
    a += 0xfffu + (a >> 13 & 1u) - 0x38000000u;
    return (uint16_t)(sign | a >> 13);
}

/* A stored scale: a finite f16 without sign.  Other bits, which no encoder writes, are
 * read as zero so that every page decodes to finite values. */
static inline float tq_scale_to_f32(uint16_t h)
{
    return h < 0x7c00 ? tq_f16_to_f32(h) : 0.0f;
}

/* Nearest integer, ties to even, for |x| <= 2^22. */
static inline float tq_round(float x)
{
    const float magic = 0x1.8p23f;
    return (x + magic) - magic;
}

#endif
