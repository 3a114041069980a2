/* kernels_avx512_linear.c - kernels of linear.h for AVX-512; the delta rule as in
 * kernels_avx2_linear.c, with eight rows at a time. */
#include "tensor/kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <math.h>

#include "cpu/target.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

#include "tensor/floats_avx512.h"

enum { ROWS = 8 };

struct delta {
    const float *q, *k, *decay;
    float beta, kq; // kq = k . q
    size_t d_k;
};

/* Columns c .. c + 15, those of m, of both sums of each row. */
INLINE void add_dots(__m512 sum_k[ROWS], __m512 sum_q[ROWS], const float *state,
                     const struct delta *d, size_t c, int n_row, int by_channel,
                     __mmask16 m)
{
    const __m512 k = _mm512_maskz_loadu_ps(m, d->k + c);
    const __m512 q = _mm512_maskz_loadu_ps(m, d->q + c);
    const __m512 decay =
        by_channel ? _mm512_maskz_loadu_ps(m, d->decay + c) : _mm512_setzero_ps();
#pragma GCC unroll 8
    for (int r = 0; r < n_row; r++) {
        __m512 s = _mm512_maskz_loadu_ps(m, state + (size_t)r * d->d_k + c);
        if (by_channel)
            s = _mm512_mul_ps(s, decay);
        sum_k[r] = _mm512_fmadd_ps(s, k, sum_k[r]);
        sum_q[r] = _mm512_fmadd_ps(s, q, sum_q[r]);
    }
}

INLINE void update(float *state, const struct delta *d, size_t c, const float delta[ROWS],
                   int n_row, int by_channel, __mmask16 m)
{
    const __m512 k = _mm512_maskz_loadu_ps(m, d->k + c);
    const __m512 decay =
        by_channel ? _mm512_maskz_loadu_ps(m, d->decay + c) : _mm512_set1_ps(*d->decay);
#pragma GCC unroll 8
    for (int r = 0; r < n_row; r++) {
        float *at = state + (size_t)r * d->d_k + c;
        const __m512 s = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, at), decay);
        _mm512_mask_storeu_ps(at, m, _mm512_fmadd_ps(_mm512_set1_ps(delta[r]), k, s));
    }
}

/* Lane r <- the sum of x[r]: the sums of lanes that are equal modulo 2, then both, in
 * each quarter, then quarters as (0 + 2) + (1 + 3). */
INLINE __m128 sums4(const __m512 x[4])
{
    const __m512 a =
        _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    const __m512 b =
        _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    const __m512d c = _mm512_castps_pd(a), d = _mm512_castps_pd(b);
    const __m512 all = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(c, d)),
                                     _mm512_castpd_ps(_mm512_unpackhi_pd(c, d)));
    const __m256 half =
        _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

/* Lanes of rows r .. r + 3: sums to delta and out. */
INLINE void finish4(float delta[4], float *out, const float *v, const struct delta *d,
                    const __m512 sum_k[4], const __m512 sum_q[4], __mmask8 rows,
                    int by_channel)
{
    __m128 dot_k = sums4(sum_k), dot_q = sums4(sum_q);
    if (!by_channel) {
        dot_k = _mm_mul_ps(dot_k, _mm_set1_ps(*d->decay));
        dot_q = _mm_mul_ps(dot_q, _mm_set1_ps(*d->decay));
    }
    const __m128 value = _mm_maskz_loadu_ps(rows, v);
    const __m128 by = _mm_mul_ps(_mm_set1_ps(d->beta), _mm_sub_ps(value, dot_k));
    _mm_mask_storeu_ps(out, rows, _mm_fmadd_ps(by, _mm_set1_ps(d->kq), dot_q));
    _mm_storeu_ps(delta, by);
}

INLINE void delta_rows(float *state, float *out, const float *v, const struct delta *d,
                       const int n_row, const int by_channel)
{
    const __mmask16 tail = lanes_below(d->d_k % 16);
    __m512 sum_k[ROWS], sum_q[ROWS];
    float delta[ROWS];
    size_t c = 0;
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
        sum_k[r] = sum_q[r] = _mm512_setzero_ps();
    for (; c + 16 <= d->d_k; c += 16)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, 0xffff);
    if (c < d->d_k)
        add_dots(sum_k, sum_q, state, d, c, n_row, by_channel, tail);
    finish4(delta, out, v, d, sum_k, sum_q, n_row < 4 ? 1 : 15, by_channel);
    if (n_row == ROWS)
        finish4(delta + 4, out + 4, v + 4, d, sum_k + 4, sum_q + 4, 15, by_channel);
    for (c = 0; c + 16 <= d->d_k; c += 16)
        update(state, d, c, delta, n_row, by_channel, 0xffff);
    if (c < d->d_k)
        update(state, d, c, delta, n_row, by_channel, tail);
}

INLINE float dot(const float *x, const float *y, size_t n)
{
    __m512 sum = _mm512_setzero_ps();
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, x + i),
                              _mm512_maskz_loadu_ps(m, y + i), sum);
    }
    return _mm512_reduce_add_ps(sum);
}

INLINE void delta_any(float *state, float *out, const float *v, const struct delta *d,
                      int d_v, const int by_channel)
{
    int r = 0;
    for (; r + ROWS <= d_v; r += ROWS, state += ROWS * d->d_k)
        delta_rows(state, out + r, v + r, d, ROWS, by_channel);
    for (; r < d_v; r++, state += d->d_k)
        delta_rows(state, out + r, v + r, d, 1, by_channel);
}

void delta_step_avx512(float *state, float *out, const float *q, const float *k,
                       const float *v, const float *decay, int n_decay, float beta,
                       int d_k, int d_v)
{
    const size_t n = (size_t)d_k;
    const struct delta d = {q, k, decay, beta, dot(k, q, n), n};
    if (n_decay == 1)
        delta_any(state, out, v, &d, d_v, 0);
    else
        delta_any(state, out, v, &d, d_v, 1);
}

void conv_silu_avx512(float *dst, const float *window, size_t stride, const float *weight,
                      int n_tap, int n)
{
    const size_t n_channel = (size_t)n;
    for (size_t c = 0; c < n_channel; c += 16) {
        const __mmask16 m = lanes_below(n_channel - c);
        __m512 sum = _mm512_setzero_ps();
        for (size_t t = 0; t < (size_t)n_tap; t++)
            sum = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, weight + t * n_channel + c),
                                  _mm512_maskz_loadu_ps(m, window + t * stride + c), sum);
        _mm512_mask_storeu_ps(dst + c, m, silu16(sum));
    }
}

void l2_norm_avx512(float *dst, const float *x, int n, float eps, float scale)
{
    const float by = (float)((double)scale / sqrt(squares(x, n) + (double)eps));
    for (int i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below((size_t)(n - i));
        _mm512_mask_storeu_ps(
            dst + i, m,
            _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_set1_ps(by)));
    }
}

void sigmoid_mul_avx512(float *dst, const float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        const __m512 g = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 e = exp_held16(_mm512_sub_ps(_mm512_setzero_ps(), g));
        _mm512_mask_storeu_ps(dst + i, m,
                              sigmoid_times16(_mm512_maskz_loadu_ps(m, x + i), e));
    }
}

/* Eight of exp(-2 u) as rest and power, in double: see kernels_avx2_linear.c. */
INLINE __m256 gelu_rest(__m256i *n, __m256 x)
{
    const __m512d y = _mm512_cvtps_pd(x);
    const __m512d by = _mm512_fmadd_pd(_mm512_mul_pd(y, y),
                                       _mm512_set1_pd(-KERNEL_GELU * KERNEL_GELU_CUBE),
                                       _mm512_set1_pd(-KERNEL_GELU));
    __m512d z = _mm512_mul_pd(y, by);
    z = _mm512_max_pd(_mm512_set1_pd((double)-KERNEL_EXP_MAX), z);
    z = _mm512_min_pd(_mm512_set1_pd((double)KERNEL_EXP_MAX), z);
    *n = _mm512_cvtpd_epi32(_mm512_mul_pd(z, _mm512_set1_pd(KERNEL_LOG2E_DOUBLE)));
    return _mm512_cvtpd_ps(
        _mm512_fnmadd_pd(_mm512_cvtepi32_pd(*n), _mm512_set1_pd(KERNEL_LN2_DOUBLE), z));
}

void gelu_mul_avx512(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 m = lanes_below(n - i);
        const __m512 x = _mm512_maskz_loadu_ps(m, gate + i);
        const __m512 u = _mm512_maskz_loadu_ps(m, up + i);
        __m256i power[2];
        const __m256 lo = gelu_rest(power, _mm512_castps512_ps256(x));
        const __m256 hi = gelu_rest(power + 1, _mm512_extractf32x8_ps(x, 1));
        const __m512 rest = _mm512_insertf32x8(_mm512_castps256_ps512(lo), hi, 1);
        const __m512i powers =
            _mm512_inserti64x4(_mm512_castsi256_si512(power[0]), power[1], 1);
        const __m512 e = times_power16(exp_rest16(rest), powers);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_mul_ps(sigmoid_times16(x, e), u));
    }
}

CPU_TARGET_END

#endif
