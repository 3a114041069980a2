/* exp.h - exp of x <= 0, the same bits in C and in SIMD. */
#ifndef CODEC_EXP_H
#define CODEC_EXP_H

#include "codec/f16.h"

/* exp(x) = 2^n * (1 + r + r^2 P(r)), n = round(x / ln 2), |r| <= ln(2) / 2. TQ_EXP_LN2_HI
 * has 10 significant bits, so n * TQ_EXP_LN2_HI is exact.  P is a least-maximum fit of
 * degree 4; relative error of the whole at most 2e-7 (docs/numerics.md). */
#define TQ_EXP_LOG2E 0x1.715476p+0f
#define TQ_EXP_LN2_HI 0.693359375f
#define TQ_EXP_LN2_LO -2.12194440e-4f
#define TQ_EXP_P0 0x1.000000p-1f
#define TQ_EXP_P1 0x1.55548ep-3f
#define TQ_EXP_P2 0x1.55545ep-5f
#define TQ_EXP_P3 0x1.123b48p-7f
#define TQ_EXP_P4 0x1.6db418p-10f
#define TQ_EXP_MIN -87.0f // below this the result is 0

static inline float tq_exp(float x)
{
    if (!(x >= TQ_EXP_MIN))
        return x < TQ_EXP_MIN ? 0.0f : x;
    const float n = tq_round(x * TQ_EXP_LOG2E);
    const float r = (x - n * TQ_EXP_LN2_HI) - n * TQ_EXP_LN2_LO;
    float p = TQ_EXP_P4;
    p = p * r + TQ_EXP_P3;
    p = p * r + TQ_EXP_P2;
    p = p * r + TQ_EXP_P1;
    p = p * r + TQ_EXP_P0;
    const float y = 1.0f + (r + r * r * p);
    return tq_from_bits(tq_to_bits(y) + ((uint32_t)(int32_t)n << 23));
}

#endif
