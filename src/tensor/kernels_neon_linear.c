/* kernels_neon_linear.c - kernels of linear.h for NEON; the delta rule as in
 * kernels_avx2_linear.c. */
#include "tensor/kernels.h"

#if defined(__aarch64__)

#include <math.h>
#include <string.h>

#include "tensor/floats_neon.h"

struct delta {
    const float *q, *k, *decay;
    float beta, kq; // kq = k . q
    size_t d_k;
};

/* The first n < 4 of p, and zeros. */
INLINE float32x4_t load_first(const float *p, size_t n)
{
    float x[4] = {0};
    memcpy(x, p, n * sizeof *x);
    return vld1q_f32(x);
}

INLINE void store_first(float *p, float32x4_t v, size_t n)
{
    float x[4];
    vst1q_f32(x, v);
    memcpy(p, x, n * sizeof *x);
}

/* n is a constant 4, or less for the last columns. */
INLINE float32x4_t load_lanes(const float *p, size_t n)
{
    return n == 4 ? vld1q_f32(p) : load_first(p, n);
}

INLINE void store_lanes(float *p, float32x4_t v, size_t n)
{
    if (n == 4)
        vst1q_f32(p, v);
    else
        store_first(p, v, n);
}

/* Columns c .. c + n - 1 of both sums of each row. */
INLINE void add_dots(float32x4_t sum_k[4], float32x4_t sum_q[4], const float *state,
                     const struct delta *d, size_t c, int n_row, int by_channel, size_t n)
{
    const float32x4_t k = load_lanes(d->k + c, n), q = load_lanes(d->q + c, n);
    const float32x4_t decay = by_channel ? load_lanes(d->decay + c, n) : vdupq_n_f32(0);
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        float32x4_t s = load_lanes(state + (size_t)r * d->d_k + c, n);
        if (by_channel)
            s = vmulq_f32(s, decay);
        sum_k[r] = vfmaq_f32(sum_k[r], s, k);
        sum_q[r] = vfmaq_f32(sum_q[r], s, q);
    }
}

INLINE void update(float *state, const struct delta *d, size_t c, const float delta[4],
                   int n_row, int by_channel, size_t n)
{
    const float32x4_t k = load_lanes(d->k + c, n);
    const float32x4_t decay =
        by_channel ? load_lanes(d->decay + c, n) : vdupq_n_f32(*d->decay);
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        float *at = state + (size_t)r * d->d_k + c;
        const float32x4_t s = vmulq_f32(load_lanes(at, n), decay);
        store_lanes(at, vfmaq_n_f32(s, k, delta[r]), n);
    }
}

/* Lane r <- the sum of x[r] as (0 + 1) + (2 + 3). */
INLINE float32x4_t sums4(const float32x4_t x[4])
{
    return vpaddq_f32(vpaddq_f32(x[0], x[1]), vpaddq_f32(x[2], x[3]));
}

INLINE void delta_rows(float *state, float *out, const float *v, const struct delta *d,
                       const int n_row, const int by_channel)
{
    float32x4_t sum_k[4], sum_q[4];
    float delta[4];
    size_t c = 0;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_k[r] = sum_q[r] = vdupq_n_f32(0);
    for (; c + 4 <= d->d_k; c += 4)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, 4);
    if (c < d->d_k)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, d->d_k - c);
    float32x4_t dot_k = sums4(sum_k), dot_q = sums4(sum_q);
    if (!by_channel) {
        dot_k = vmulq_n_f32(dot_k, *d->decay);
        dot_q = vmulq_n_f32(dot_q, *d->decay);
    }
    const float32x4_t value = load_lanes(v, (size_t)n_row);
    const float32x4_t by = vmulq_n_f32(vsubq_f32(value, dot_k), d->beta);
    store_lanes(out, vfmaq_n_f32(dot_q, by, d->kq), (size_t)n_row);
    vst1q_f32(delta, by);
    for (c = 0; c + 4 <= d->d_k; c += 4)
        update(state, d, c, delta, n_row, by_channel, 4);
    if (c < d->d_k)
        update(state, d, c, delta, n_row, by_channel, d->d_k - c);
}

INLINE float dot(const float *x, const float *y, size_t n)
{
    float32x4_t sum = vdupq_n_f32(0);
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        sum = vfmaq_f32(sum, vld1q_f32(x + i), vld1q_f32(y + i));
    if (i < n)
        sum = vfmaq_f32(sum, load_first(x + i, n - i), load_first(y + i, n - i));
    return vaddvq_f32(sum);
}

INLINE void delta_any(float *state, float *out, const float *v, const struct delta *d,
                      int d_v, const int by_channel)
{
    int r = 0;
    for (; r + 4 <= d_v; r += 4, state += 4 * d->d_k)
        delta_rows(state, out + r, v + r, d, 4, by_channel);
    for (; r < d_v; r++, state += d->d_k)
        delta_rows(state, out + r, v + r, d, 1, by_channel);
}

void delta_step_neon(float *state, float *out, const float *q, const float *k,
                     const float *v, const float *decay, int n_decay, float beta, int d_k,
                     int d_v)
{
    const size_t n = (size_t)d_k;
    const struct delta d = {q, k, decay, beta, dot(k, q, n), n};
    if (n_decay == 1)
        delta_any(state, out, v, &d, d_v, 0);
    else
        delta_any(state, out, v, &d, d_v, 1);
}

/* ---- the others ---- */

INLINE void conv_channels(float *dst, const float *window, size_t stride,
                          const float *weight, int n_tap, size_t n_channel, size_t n)
{
    float32x4_t sum = vdupq_n_f32(0);
    for (size_t t = 0; t < (size_t)n_tap; t++)
        sum = vfmaq_f32(sum, load_lanes(weight + t * n_channel, n),
                        load_lanes(window + t * stride, n));
    store_lanes(dst, silu4(sum), n);
}

void conv_silu_neon(float *dst, const float *window, size_t stride, const float *weight,
                    int n_tap, int n)
{
    const size_t n_channel = (size_t)n;
    size_t c = 0;
    for (; c + 4 <= n_channel; c += 4)
        conv_channels(dst + c, window + c, stride, weight + c, n_tap, n_channel, 4);
    if (c < n_channel)
        conv_channels(dst + c, window + c, stride, weight + c, n_tap, n_channel,
                      n_channel - c);
}

void l2_norm_neon(float *dst, const float *x, int n, float eps, float scale)
{
    const float by = (float)((double)scale / sqrt(squares(x, n) + (double)eps));
    int i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, vmulq_n_f32(vld1q_f32(x + i), by));
    for (; i < n; i++)
        dst[i] = x[i] * by;
}

INLINE float32x4_t sigmoid_mul4(float32x4_t x, float32x4_t gate)
{
    return sigmoid_times4(x, exp_held4(vnegq_f32(gate)));
}

/* Two of exp(-2 u) as rest and power, in double: see kernels_avx2_linear.c. */
INLINE float32x2_t gelu_rest(int32x2_t *n, float32x2_t x)
{
    const float64x2_t y = vcvt_f64_f32(x), one = vdupq_n_f64(-KERNEL_GELU);
    const float64x2_t by =
        vfmaq_n_f64(one, vmulq_f64(y, y), -KERNEL_GELU * KERNEL_GELU_CUBE);
    float64x2_t z = vmulq_f64(y, by);
    z = vmaxq_f64(z, vdupq_n_f64((double)-KERNEL_EXP_MAX));
    z = vminq_f64(z, vdupq_n_f64((double)KERNEL_EXP_MAX));
    const int64x2_t whole = vcvtnq_s64_f64(vmulq_n_f64(z, KERNEL_LOG2E_DOUBLE));
    *n = vmovn_s64(whole);
    return vcvt_f32_f64(vfmsq_n_f64(z, vcvtq_f64_s64(whole), KERNEL_LN2_DOUBLE));
}

INLINE float32x4_t gelu_mul4(float32x4_t x, float32x4_t up)
{
    int32x2_t n[2];
    const float32x2_t lo = gelu_rest(n, vget_low_f32(x));
    const float32x2_t hi = gelu_rest(n + 1, vget_high_f32(x));
    const float32x4_t e =
        times_power4(exp_rest4(vcombine_f32(lo, hi)), vcombine_s32(n[0], n[1]));
    return vmulq_f32(sigmoid_times4(x, e), up);
}

typedef float32x4_t pair_fn(float32x4_t a, float32x4_t b);

INLINE void for_pairs(pair_fn *fn, float *dst, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, fn(vld1q_f32(a + i), vld1q_f32(b + i)));
    if (i < n)
        store_first(dst + i, fn(load_first(a + i, n - i), load_first(b + i, n - i)),
                    n - i);
}

void sigmoid_mul_neon(float *dst, const float *x, const float *gate, size_t n)
{
    for_pairs(sigmoid_mul4, dst, x, gate, n);
}

void gelu_mul_neon(float *dst, const float *gate, const float *up, size_t n)
{
    for_pairs(gelu_mul4, dst, gate, up, n);
}

#endif
