/* kernels_neon_linear.c - kernels of linear.h for NEON. */
#include "tensor/kernels.h"

#if defined(__aarch64__)

#include <string.h>

#include "tensor/floats_neon.h"

typedef float32x4_t vec;
enum { LANES = 4, ROWS = 4 };

CPU_INLINE vec load(const float *p)
{
    return vld1q_f32(p);
}

CPU_INLINE void store(float *p, vec x)
{
    vst1q_f32(p, x);
}

CPU_INLINE vec load_first(const float *p, size_t n)
{
    float x[LANES] = {0};
    memcpy(x, p, n * sizeof *x);
    return vld1q_f32(x);
}

CPU_INLINE void store_first(float *p, vec v, size_t n)
{
    float x[LANES];
    vst1q_f32(x, v);
    memcpy(p, x, n * sizeof *x);
}

CPU_INLINE vec all(float x)
{
    return vdupq_n_f32(x);
}

CPU_INLINE vec mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

CPU_INLINE vec mul_add(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

/* Each as (0 + 1) + (2 + 3). */
CPU_INLINE void lane_sums(float sum[ROWS], const vec x[ROWS])
{
    vst1q_f32(sum, vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3])));
}

CPU_INLINE vec silu(vec x)
{
    return silu4(x);
}

CPU_INLINE vec sigmoid_mul(vec x, vec gate)
{
    return sigmoid_times4(x, exp_held4(vnegq_f32(gate)));
}

/* exp(-2 u) of two values as rest and power, in double: see kernels_avx2_linear.c. */
CPU_INLINE float32x2_t gelu_rest(int32x2_t *n, float32x2_t x)
{
    const float64x2_t y = vcvt_f64_f32(x);
    const float64x2_t by = vfmaq_n_f64(vdupq_n_f64(-KERNEL_GELU), vmulq_f64(y, y),
                                       -KERNEL_GELU * KERNEL_GELU_CUBE);
    float64x2_t z = vmulq_f64(y, by);
    z = vmaxq_f64(z, vdupq_n_f64((double)-KERNEL_EXP_MAX));
    z = vminq_f64(z, vdupq_n_f64((double)KERNEL_EXP_MAX));
    const int64x2_t whole = vcvtnq_s64_f64(vmulq_n_f64(z, KERNEL_LOG2E_DOUBLE));
    *n = vmovn_s64(whole);
    return vcvt_f32_f64(vfmsq_n_f64(z, vcvtq_f64_s64(whole), KERNEL_LN2_DOUBLE));
}

CPU_INLINE vec gelu_mul(vec x, vec up)
{
    int32x2_t n[2];
    const float32x2_t lo = gelu_rest(n, vget_low_f32(x));
    const float32x2_t hi = gelu_rest(n + 1, vget_high_f32(x));
    const vec e = times_power4(exp_rest4(vcombine_f32(lo, hi)), vcombine_s32(n[0], n[1]));
    return mul(sigmoid_times4(x, e), up);
}

#define LEVEL(name) name##_neon
#include "tensor/kernels_linear.h"

#endif
