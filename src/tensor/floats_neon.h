/* floats_neon.h - steps that float kernels for NEON share. */
#ifndef TENSOR_FLOATS_NEON_H
#define TENSOR_FLOATS_NEON_H

#include <arm_neon.h>

#include "cpu/target.h"
#include "tensor/kernels.h"

/* exp(r), |r| <= ln 2 / 2; see kernels.h. */
CPU_INLINE float32x4_t exp_rest4(float32x4_t r)
{
    float32x4_t p = vdupq_n_f32(1.0f / 5040);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 720), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 120), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 24), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f / 6), p, r);
    p = vfmaq_f32(vdupq_n_f32(0.5f), p, r);
    p = vfmaq_f32(vdupq_n_f32(1.0f), p, r);
    return vfmaq_f32(vdupq_n_f32(1.0f), p, r);
}

/* x 2^n; the low bits of n are the integer. */
CPU_INLINE float32x4_t times_power4(float32x4_t x, int32x4_t n)
{
    const int32x4_t exponent = vaddq_s32(n, vdupq_n_s32(127));
    return vmulq_f32(x, vreinterpretq_f32_s32(vshlq_n_s32(exponent, 23)));
}

/* See kernels.h.  NaN stays. */
CPU_INLINE float32x4_t exp_held4(float32x4_t x)
{
    x = vmaxq_f32(x, vdupq_n_f32(-KERNEL_EXP_MAX));
    x = vminq_f32(x, vdupq_n_f32(KERNEL_EXP_MAX));
    const float32x4_t round = vdupq_n_f32(KERNEL_ROUND);
    const float32x4_t shifted = vfmaq_n_f32(round, x, KERNEL_LOG2E);
    const float32x4_t n = vsubq_f32(shifted, round);
    float32x4_t r = vfmsq_n_f32(x, n, KERNEL_LN2_HI);
    r = vfmsq_n_f32(r, n, KERNEL_LN2_LO);
    return times_power4(exp_rest4(r), vreinterpretq_s32_f32(shifted));
}

/* x sigmoid(g), e = exp(-g) */
CPU_INLINE float32x4_t sigmoid_times4(float32x4_t x, float32x4_t e)
{
    return vdivq_f32(x, vaddq_f32(vdupq_n_f32(1.0f), e));
}

CPU_INLINE float32x4_t silu4(float32x4_t x)
{
    return sigmoid_times4(x, exp_held4(vnegq_f32(x)));
}

/* Sum of squares, in double. */
CPU_INLINE double squares(const float *x, int n)
{
    float64x2_t part[4];
    double sum = 0;
    int i = 0;
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        part[k] = vdupq_n_f64(0.0);
    for (; i + 8 <= n; i += 8) {
#pragma GCC unroll 2
        for (int k = 0; k < 2; k++) {
            const float32x4_t v = vld1q_f32(x + i + 4 * k);
            const float64x2_t low = vcvt_f64_f32(vget_low_f32(v));
            const float64x2_t high = vcvt_high_f64_f32(v);
            part[2 * k] = vfmaq_f64(part[2 * k], low, low);
            part[2 * k + 1] = vfmaq_f64(part[2 * k + 1], high, high);
        }
    }
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum + vaddvq_f64(
                     vaddq_f64(vaddq_f64(part[0], part[1]), vaddq_f64(part[2], part[3])));
}

#endif
