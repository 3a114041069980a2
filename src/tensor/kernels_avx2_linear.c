/* kernels_avx2_linear.c - kernels of linear.h for AVX2. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

#include "tensor/floats_avx2.h"

/* ---- the delta rule ----
 *
 * With the decayed row D of the state, the new one is S = D + delta k, so that both sums
 * can be had from D in one pass:
 *
 *   delta = beta (v - D . k),  S . q = D . q + delta (k . q)
 *
 * and a second pass writes S.  Four rows at a time stay in the first-level cache between
 * the two, share the loads of q, k and decay, and keep eight sums in flight, which the
 * latency of an addition needs.  A row's sums have the same order whatever its
 * neighbours. */

struct delta {
    const float *q, *k, *decay;
    float beta, kq; // kq = k . q
    size_t d_k;
};

INLINE __m256 load_lanes(const float *p, int whole, __m256i mask)
{
    return whole ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, mask);
}

/* Columns c .. c + 7, fewer if not whole, of both sums of each row. */
INLINE void add_dots(__m256 sum_k[4], __m256 sum_q[4], const float *state,
                     const struct delta *d, size_t c, int n_row, int by_channel,
                     int whole, __m256i mask)
{
    const __m256 k = load_lanes(d->k + c, whole, mask);
    const __m256 q = load_lanes(d->q + c, whole, mask);
    const __m256 decay =
        by_channel ? load_lanes(d->decay + c, whole, mask) : _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        __m256 s = load_lanes(state + (size_t)r * d->d_k + c, whole, mask);
        if (by_channel)
            s = _mm256_mul_ps(s, decay);
        sum_k[r] = _mm256_fmadd_ps(s, k, sum_k[r]);
        sum_q[r] = _mm256_fmadd_ps(s, q, sum_q[r]);
    }
}

INLINE void update(float *state, const struct delta *d, size_t c, const __m256 delta[4],
                   __m256 one_decay, int n_row, int by_channel, int whole, __m256i mask)
{
    const __m256 k = load_lanes(d->k + c, whole, mask);
    const __m256 decay = by_channel ? load_lanes(d->decay + c, whole, mask) : one_decay;
#pragma GCC unroll 4
    for (int r = 0; r < n_row; r++) {
        float *at = state + (size_t)r * d->d_k + c;
        const __m256 s = _mm256_fmadd_ps(
            delta[r], k, _mm256_mul_ps(load_lanes(at, whole, mask), decay));
        if (whole)
            _mm256_storeu_ps(at, s);
        else
            _mm256_maskstore_ps(at, mask, s);
    }
}

/* Lane r <- the sum of x[r], each as ((0 + 2) + (1 + 3)) + ((4 + 6) + (5 + 7)). */
INLINE __m128 sums4(const __m256 x[4])
{
    const __m256 a =
        _mm256_add_ps(_mm256_unpacklo_ps(x[0], x[1]), _mm256_unpackhi_ps(x[0], x[1]));
    const __m256 b =
        _mm256_add_ps(_mm256_unpacklo_ps(x[2], x[3]), _mm256_unpackhi_ps(x[2], x[3]));
    const __m256d c = _mm256_castps_pd(a), d = _mm256_castps_pd(b);
    const __m256 all = _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(c, d)),
                                     _mm256_castpd_ps(_mm256_unpackhi_pd(c, d)));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

INLINE void delta_rows(float *state, float *out, const float *v, const struct delta *d,
                       const int n_row, const int by_channel)
{
    const __m256i mask = first_lanes(d->d_k % 8);
    const __m256 one_decay = _mm256_broadcast_ss(d->decay);
    __m256 sum_k[4], sum_q[4], delta[4];
    size_t c = 0;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_k[r] = sum_q[r] = _mm256_setzero_ps();
    for (; c + 8 <= d->d_k; c += 8)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, 1, mask);
    if (c < d->d_k)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, 0, mask);
    __m128 dot_k = sums4(sum_k), dot_q = sums4(sum_q);
    if (!by_channel) {
        dot_k = _mm_mul_ps(dot_k, _mm256_castps256_ps128(one_decay));
        dot_q = _mm_mul_ps(dot_q, _mm256_castps256_ps128(one_decay));
    }
    const __m128 value = n_row == 4 ? _mm_loadu_ps(v) : _mm_load_ss(v);
    const __m128 by = _mm_mul_ps(_mm_set1_ps(d->beta), _mm_sub_ps(value, dot_k));
    const __m128 result = _mm_fmadd_ps(by, _mm_set1_ps(d->kq), dot_q);
    if (n_row == 4)
        _mm_storeu_ps(out, result);
    else
        _mm_store_ss(out, result);
    delta[0] = _mm256_broadcastss_ps(by);
    delta[1] = _mm256_broadcastss_ps(_mm_permute_ps(by, 0x55));
    delta[2] = _mm256_broadcastss_ps(_mm_permute_ps(by, 0xaa));
    delta[3] = _mm256_broadcastss_ps(_mm_permute_ps(by, 0xff));
    for (c = 0; c + 8 <= d->d_k; c += 8)
        update(state, d, c, delta, one_decay, n_row, by_channel, 1, mask);
    if (c < d->d_k)
        update(state, d, c, delta, one_decay, n_row, by_channel, 0, mask);
}

INLINE float dot(const float *x, const float *y, size_t n)
{
    const __m256i mask = first_lanes(n % 8);
    __m256 sum[4];
    size_t i = 0;
    sum[0] = _mm256_setzero_ps();
    for (; i + 8 <= n; i += 8)
        sum[0] = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), sum[0]);
    if (i < n)
        sum[0] = _mm256_fmadd_ps(_mm256_maskload_ps(x + i, mask),
                                 _mm256_maskload_ps(y + i, mask), sum[0]);
    sum[1] = sum[2] = sum[3] = sum[0];
    return _mm_cvtss_f32(sums4(sum));
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

void delta_step_avx2(float *state, float *out, const float *q, const float *k,
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

void conv_silu_avx2(float *dst, const float *window, size_t stride, const float *weight,
                    int n_tap, int n)
{
    const size_t n_channel = (size_t)n;
    for (size_t c = 0; c < n_channel; c += 8) {
        const int whole = n_channel - c >= 8;
        const __m256i mask = first_lanes(whole ? 8 : n_channel - c);
        __m256 sum = _mm256_setzero_ps();
        for (size_t t = 0; t < (size_t)n_tap; t++)
            sum = _mm256_fmadd_ps(load_lanes(weight + t * n_channel + c, whole, mask),
                                  load_lanes(window + t * stride + c, whole, mask), sum);
        if (whole)
            _mm256_storeu_ps(dst + c, silu8(sum));
        else
            _mm256_maskstore_ps(dst + c, mask, silu8(sum));
    }
}

void l2_norm_avx2(float *dst, const float *x, int n, float eps, float scale)
{
    const float by = (float)((double)scale / sqrt(squares(x, n) + (double)eps));
    int i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i,
                         _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(by)));
    for (; i < n; i++)
        dst[i] = x[i] * by;
}

INLINE __m256 sigmoid_mul8(__m256 x, __m256 gate)
{
    return sigmoid_times8(x, exp_held8(_mm256_sub_ps(_mm256_setzero_ps(), gate)));
}

/* Four of exp(-2 u) as rest and power.  The product of an error of 2 u with itself counts
 * in full, and 2 u is up to 87: f32 is not enough. */
INLINE __m128 gelu_rest(__m128i *n, __m128 x)
{
    const __m256d y = _mm256_cvtps_pd(x);
    const __m256d by = _mm256_fmadd_pd(_mm256_mul_pd(y, y),
                                       _mm256_set1_pd(-KERNEL_GELU * KERNEL_GELU_CUBE),
                                       _mm256_set1_pd(-KERNEL_GELU));
    __m256d z = _mm256_mul_pd(y, by);
    z = _mm256_max_pd(_mm256_set1_pd((double)-KERNEL_EXP_MAX), z);
    z = _mm256_min_pd(_mm256_set1_pd((double)KERNEL_EXP_MAX), z);
    *n = _mm256_cvtpd_epi32(_mm256_mul_pd(z, _mm256_set1_pd(KERNEL_LOG2E_DOUBLE)));
    return _mm256_cvtpd_ps(
        _mm256_fnmadd_pd(_mm256_cvtepi32_pd(*n), _mm256_set1_pd(KERNEL_LN2_DOUBLE), z));
}

INLINE __m256 gelu_mul8(__m256 x, __m256 up)
{
    __m128i n[2];
    const __m128 lo = gelu_rest(n, _mm256_castps256_ps128(x));
    const __m128 hi = gelu_rest(n + 1, _mm256_extractf128_ps(x, 1));
    const __m256 e =
        times_power8(exp_rest8(_mm256_set_m128(hi, lo)), _mm256_set_m128i(n[1], n[0]));
    return _mm256_mul_ps(sigmoid_times8(x, e), up);
}

typedef __m256 pair_fn(__m256 a, __m256 b);

INLINE void for_pairs(pair_fn *fn, float *dst, const float *a, const float *b, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, fn(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
    if (i < n) {
        const __m256i mask = first_lanes(n - i);
        _mm256_maskstore_ps(
            dst + i, mask,
            fn(_mm256_maskload_ps(a + i, mask), _mm256_maskload_ps(b + i, mask)));
    }
}

void sigmoid_mul_avx2(float *dst, const float *x, const float *gate, size_t n)
{
    for_pairs(sigmoid_mul8, dst, x, gate, n);
}

void gelu_mul_avx2(float *dst, const float *gate, const float *up, size_t n)
{
    for_pairs(gelu_mul8, dst, gate, up, n);
}

CPU_TARGET_END

#endif
