/* kernels_avx512_attend.c - scores, softmax and sums for AVX-512.
 *
 * Each kernel is a block of a fixed number of queries, and a loop that covers n queries
 * with the largest blocks.  What is computed for a query does not depend on its block. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "codec/avx512.h"
#include "codec/exp.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

enum { TOKENS = TQ_PAGE_TOKENS, TILES = 4 };

CPU_INLINE __mmask16 lanes(int n)
{
    return (__mmask16)(n >= 16 ? 0xffffu : (1u << n) - 1);
}

CPU_INLINE float sum_lanes(__m512 v)
{
    const __m256 a =
        _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

/* ---- queries ---- */

void tq_load_query_avx512(float *x, int8_t *hi, int8_t *lo, float *step, int32_t *sum_hi,
                          int32_t *sum_lo, const float *in, float scale, int d, int most)
{
    __m512i top = _mm512_setzero_si512();
    for (int i = 0; i < d; i += 16) {
        const __mmask16 m = lanes(d - i);
        const __m512 v =
            _mm512_mul_ps(_mm512_maskz_loadu_ps(m, in + i), _mm512_set1_ps(scale));
        _mm512_mask_storeu_ps(x + i, m, v);
        const __m512i magnitude =
            _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(INT32_MAX));
        top = _mm512_mask_max_epu32(top, m, top, magnitude);
    }
    const uint32_t bits = _mm512_reduce_max_epu32(top);
    const float absmax = tq_from_bits(bits);
    float inverse = 0.0f;
    *step = 0.0f;
    if (bits >= 0x7f800000u) {
        *step = tq_from_bits(0x7fc00000u);
        for (int i = 0; i < d; i++)
            x[i] = *step;
    } else if (absmax >= 0x1p-100f) {
        *step = absmax / (float)most;
        inverse = (float)most / absmax;
    }
    const __mmask16 any = inverse != 0.0f ? 0xffff : 0;
    __m512i total_hi = _mm512_setzero_si512(), total_lo = total_hi;
    for (int i = 0; i < d; i += 16) {
        const __mmask16 m = lanes(d - i);
        const __m512 v = _mm512_maskz_mul_ps(any & m, _mm512_maskz_loadu_ps(m, x + i),
                                             _mm512_set1_ps(inverse));
        const __m512i coarse = _mm512_cvtps_epi32(v);
        const __m512 rest = _mm512_sub_ps(v, _mm512_cvtepi32_ps(coarse));
        const __m512i fine =
            _mm512_cvtps_epi32(_mm512_mul_ps(rest, _mm512_set1_ps(128.0f)));
        _mm_mask_storeu_epi8(hi + i, m, _mm512_cvtepi32_epi8(coarse));
        _mm_mask_storeu_epi8(lo + i, m, _mm512_cvtepi32_epi8(fine));
        total_hi = _mm512_add_epi32(total_hi, coarse);
        total_lo = _mm512_add_epi32(total_lo, fine);
    }
    *sum_hi = _mm512_reduce_add_epi32(total_hi);
    *sum_lo = _mm512_reduce_add_epi32(total_lo);
}

/* ---- scores ---- */

/* 16 elements of an exact page at index i. */
CPU_INLINE __m512 load_exact(const void *page, int i, bool half, __mmask16 m)
{
    if (half)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, (const uint16_t *)page + i));
    return _mm512_maskz_loadu_ps(m,
                                 (const float *)((const char *)page + 4 * (ptrdiff_t)i));
}

CPU_INLINE void exact_score_block(float *s, const void *k, const float *q, int d,
                                  bool half, int nq, int nt, int tile0)
{
    __m512 acc[24];
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++)
        acc[i] = _mm512_setzero_ps();
    for (int c = 0; c < d; c++) {
        __m512 row[TILES];
        TQ_UNROLL
        for (int t = 0; t < nt; t++)
            row[t] = load_exact(k, ((tile0 + t) * d + c) * 16, half, 0xffff);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            const __m512 v = _mm512_set1_ps(q[i * d + c]);
            TQ_UNROLL
            for (int t = 0; t < nt; t++)
                acc[i * nt + t] = _mm512_fmadd_ps(v, row[t], acc[i * nt + t]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int t = 0; t < nt; t++)
            _mm512_storeu_ps(s + i * TOKENS + 16 * (tile0 + t),
                             tq_clamp_scores(acc[i * nt + t]));
    }
}

CPU_INLINE void exact_score_queries(float *s, const void *k, const float *q, int d, int n,
                                    bool half, int nt, int tile0)
{
    int i = 0;
    /* As many as registers allow: they share what loading halves costs, two
     * instructions a vector. */
    for (; nt == TILES && i + 12 <= n; i += 12) {
        exact_score_block(s + i * TOKENS, k, q + i * d, d, half, 12, 2, 0);
        exact_score_block(s + i * TOKENS, k, q + i * d, d, half, 12, 2, 2);
    }
    for (; i + 4 <= n; i += 4)
        exact_score_block(s + i * TOKENS, k, q + i * d, d, half, 4, nt, tile0);
    for (; i + 2 <= n; i += 2)
        exact_score_block(s + i * TOKENS, k, q + i * d, d, half, 2, nt, tile0);
    if (i < n)
        exact_score_block(s + i * TOKENS, k, q + i * d, d, half, 1, nt, tile0);
}

CPU_INLINE void exact_scores(float *s, const void *k, const float *q, int d, int n,
                             bool half, int tile0, int tile1)
{
    if (tile1 - tile0 == TILES)
        exact_score_queries(s, k, q, d, n, half, TILES, 0);
    else
        for (int t = tile0; t < tile1; t++)
            exact_score_queries(s, k, q, d, n, half, 1, t);
}

void tq_score_f16_avx512(float *s, const uint16_t *k, const float *q, int d, int n,
                         int tile0, int tile1)
{
    exact_scores(s, k, q, d, n, true, tile0, tile1);
}

void tq_score_f32_avx512(float *s, const void *k, const float *q, int d, int n, int tile0,
                         int tile1)
{
    exact_scores(s, k, q, d, n, false, tile0, tile1);
}

/* ---- softmax ---- */

/* tq_exp of 16 lanes. */
CPU_INLINE __m512 exp16(__m512 x)
{
    const __mmask16 keep = _mm512_cmp_ps_mask(x, _mm512_set1_ps(TQ_EXP_MIN), _CMP_NLT_UQ);
    const __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(TQ_EXP_LOG2E)));
    const __m512 f = _mm512_cvtepi32_ps(n);
    __m512 r = _mm512_sub_ps(x, _mm512_mul_ps(f, _mm512_set1_ps(TQ_EXP_LN2_HI)));
    r = _mm512_sub_ps(r, _mm512_mul_ps(f, _mm512_set1_ps(TQ_EXP_LN2_LO)));
    __m512 p = _mm512_set1_ps(TQ_EXP_P4);
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(TQ_EXP_P3));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(TQ_EXP_P2));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(TQ_EXP_P1));
    p = _mm512_add_ps(_mm512_mul_ps(p, r), _mm512_set1_ps(TQ_EXP_P0));
    const __m512 y = _mm512_add_ps(
        _mm512_set1_ps(1.0f), _mm512_add_ps(r, _mm512_mul_ps(_mm512_mul_ps(r, r), p)));
    const __m512i bits =
        _mm512_add_epi32(_mm512_castps_si512(y), _mm512_slli_epi32(n, 23));
    return _mm512_castsi512_ps(_mm512_maskz_mov_epi32(keep, bits));
}

void tq_softmax_avx512(float *s, float *m, float *l, float *c, int lo, const uint8_t *hi,
                       int n)
{
    for (int i = 0; i < n; i++, s += TOKENS) {
        const uint64_t in = (~(uint64_t)0 >> (64 - hi[i])) & (~(uint64_t)0 << lo);
        __m512 v[TILES], highest = _mm512_set1_ps(-INFINITY);
        TQ_UNROLL
        for (int t = 0; t < TILES; t++) {
            v[t] = _mm512_loadu_ps(s + 16 * t);
            highest =
                _mm512_mask_max_ps(highest, (__mmask16)(in >> (16 * t)), v[t], highest);
        }
        float top = _mm512_reduce_max_ps(highest);
        top = top > m[i] ? top : m[i];
        c[i] = top == m[i] ? 1.0f : tq_exp(m[i] - top);
        TQ_UNROLL
        for (int t = 0; t < TILES; t++) {
            v[t] = _mm512_maskz_mov_ps((__mmask16)(in >> (16 * t)),
                                       exp16(_mm512_sub_ps(v[t], _mm512_set1_ps(top))));
            _mm512_storeu_ps(s + 16 * t, v[t]);
        }
        m[i] = top;
        l[i] = l[i] * c[i] + sum_lanes(_mm512_add_ps(_mm512_add_ps(v[0], v[1]),
                                                     _mm512_add_ps(v[2], v[3])));
    }
}

void tq_weigh_avx512(uint8_t *w, float *g, const float *p, const uint16_t *vscale,
                     int limbs, int n, int most)
{
    const float steps = limbs == 2 ? 65535.0f : (float)most;
    __m512 scale[TILES];
    TQ_UNROLL
    for (int t = 0; t < TILES; t++)
        scale[t] = tq_load_scales(vscale + 16 * t);
    for (int i = 0; i < n; i++, p += TOKENS, w += limbs * TOKENS) {
        __m512 v[TILES], highest = _mm512_setzero_ps();
        TQ_UNROLL
        for (int t = 0; t < TILES; t++) {
            v[t] = _mm512_max_ps(_mm512_mul_ps(_mm512_loadu_ps(p + 16 * t), scale[t]),
                                 _mm512_setzero_ps());
            highest = _mm512_max_ps(v[t], highest);
        }
        const float top = _mm512_reduce_max_ps(highest);
        const bool any = top >= TQ_WEIGHT_MIN;
        g[i] = any ? top / steps : 0.0f;
        const __m512 inverse = _mm512_set1_ps(any ? steps / top : 0.0f);
        TQ_UNROLL
        for (int t = 0; t < TILES; t++) {
            const __m512i u = _mm512_cvtps_epi32(_mm512_mul_ps(v[t], inverse));
            if (limbs == 2)
                _mm_storeu_si128((void *)(w + 16 * t),
                                 _mm512_cvtepi32_epi8(_mm512_srli_epi32(u, 8)));
            _mm_storeu_si128((void *)(w + (limbs - 1) * TOKENS + 16 * t),
                             _mm512_cvtepi32_epi8(u));
        }
    }
}

/* ---- values ---- */

/* nr vectors of 16 dimensions from index `at` of a row on; m masks the last. */
CPU_INLINE void exact_sum_block(float *o, const void *v, const float *p, const float *c,
                                int d, bool half, int at, int lo, int hi, int nq, int nr,
                                __mmask16 m)
{
    __m512 acc[24];
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            acc[i * nr + r] = _mm512_mul_ps(
                _mm512_maskz_loadu_ps(m, o + i * d + at + 16 * r), _mm512_set1_ps(c[i]));
    }
    for (int j = lo; j < hi; j++) {
        __m512 row[8];
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            row[r] = load_exact(v, j * d + at + 16 * r, half, m);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            const __m512 weight = _mm512_set1_ps(p[i * TOKENS + j]);
            TQ_UNROLL
            for (int r = 0; r < nr; r++)
                acc[i * nr + r] = _mm512_fmadd_ps(weight, row[r], acc[i * nr + r]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            _mm512_mask_storeu_ps(o + i * d + at + 16 * r, m, acc[i * nr + r]);
    }
}

CPU_INLINE void exact_sum_queries(float *o, const void *v, const float *p, const float *c,
                                  int d, bool half, int lo, int hi, int nq)
{
    int at = 0;
    if (nq <= 2)
        for (; at + 128 <= d; at += 128)
            exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 8, 0xffff);
    if (nq <= 4)
        for (; at + 64 <= d; at += 64)
            exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 4, 0xffff);
    for (; at + 32 <= d; at += 32)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 2, 0xffff);
    for (; at < d; at += 16)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 1, lanes(d - at));
}

CPU_INLINE void exact_sums(float *o, const void *v, const float *p, const float *c, int d,
                           int n, bool half, int lo, int hi)
{
    int i = 0;
    for (; i + 12 <= n; i += 12)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 12);
    for (; i + 4 <= n; i += 4)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 4);
    for (; i + 2 <= n; i += 2)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 2);
    if (i < n)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 1);
}

void tq_sum_f16_avx512(float *o, const uint16_t *v, const float *p, const float *c, int d,
                       int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, true, lo, hi);
}

void tq_sum_f32_avx512(float *o, const void *v, const float *p, const float *c, int d,
                       int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, false, lo, hi);
}

CPU_TARGET_END

#endif
