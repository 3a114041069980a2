/* kernels_avx2_attend.c - scores, softmax and sums for AVX2.
 *
 * Integer dot products: vpmaddubsw adds two products of bytes in 16 bits, where
 * 255 * 64 + 255 * 64 and 128 * 127 + 128 * 127 fit; the table's query_most and
 * weight_most are for it.  Two limbs, and queries that another table loaded, become
 * 16-bit words and go through vpmaddwd, exact for any bytes.  A word has room for both
 * limbs: two cost as much as one.
 *
 * Each kernel is a block of a fixed number of queries, and a loop that covers n queries
 * with the largest blocks.  What is computed for a query does not depend on its block. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "codec/avx2.h"
#include "codec/exp.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

enum { TOKENS = TQ_PAGE_TOKENS, TILES = 4, VECTORS = TOKENS / 8, BLOCK = 4, SUMS = 8 };

CPU_INLINE float highest_lane(__m256 v)
{
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

CPU_INLINE uint32_t highest_integer(__m256i v)
{
    __m128i x = _mm_max_epu32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_max_epu32(x, _mm_shuffle_epi32(x, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epu32(x, _mm_shuffle_epi32(x, 0xB1)));
}

/* ---- queries ---- */

/* The first n of eight small integers. */
CPU_INLINE void store_bytes(int8_t *out, __m256i v, int n)
{
    __m128i x =
        _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    x = _mm_packs_epi16(x, x);
    int8_t bytes[8];
    _mm_storel_epi64((void *)bytes, x);
    if (n >= 8)
        memcpy(out, bytes, 8);
    else
        memcpy(out, bytes, (size_t)n);
}

void tq_load_query_avx2(float *x, int8_t *hi, int8_t *lo, float *step, int32_t *sum_hi,
                        int32_t *sum_lo, const float *in, float scale, int d, int most)
{
    __m256i top = _mm256_setzero_si256();
    for (int i = 0; i < d; i += 8) {
        const __m256i m = tq_first_lanes(d - i);
        const __m256 v =
            _mm256_mul_ps(_mm256_maskload_ps(in + i, m), _mm256_set1_ps(scale));
        _mm256_maskstore_ps(x + i, m, v);
        const __m256i magnitude =
            _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(INT32_MAX));
        top = _mm256_max_epu32(top, magnitude);
    }
    const uint32_t bits = highest_integer(top);
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
    const __m256i any = _mm256_set1_epi32(inverse != 0.0f ? -1 : 0);
    __m256i total_hi = _mm256_setzero_si256(), total_lo = total_hi;
    for (int i = 0; i < d; i += 8) {
        const __m256i m = _mm256_and_si256(any, tq_first_lanes(d - i));
        const __m256 v =
            _mm256_mul_ps(_mm256_maskload_ps(x + i, m), _mm256_set1_ps(inverse));
        const __m256i coarse = _mm256_cvtps_epi32(v);
        const __m256 rest = _mm256_sub_ps(v, _mm256_cvtepi32_ps(coarse));
        const __m256i fine =
            _mm256_cvtps_epi32(_mm256_mul_ps(rest, _mm256_set1_ps(128.0f)));
        store_bytes(hi + i, coarse, d - i);
        store_bytes(lo + i, fine, d - i);
        total_hi = _mm256_add_epi32(total_hi, coarse);
        total_lo = _mm256_add_epi32(total_lo, fine);
    }
    *sum_hi = tq_sum_integers(total_hi);
    *sum_lo = tq_sum_integers(total_lo);
}

/* ---- scores ---- */

/* Four bytes of each of four keys or dimensions, as words. */
CPU_INLINE __m256i load_words(const void *bytes, bool with_sign)
{
    const __m128i x = _mm_loadu_si128(bytes);
    return with_sign ? _mm256_cvtepi8_epi16(x) : _mm256_cvtepu8_epi16(x);
}

CPU_INLINE __m256i four_words(const int16_t *p)
{
    int64_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi64x(v);
}

/* acc + x in the register of acc.  Written out because GCC 12 moves sums through others,
 * runs out of them, and makes chains of additions through memory. */
CPU_INLINE __m256i add_to(__m256i acc, __m256i x)
{
    __asm__("vpaddd %1, %0, %0" : "+x"(acc) : "x"(x));
    return acc;
}

/* acc [nq][nv] += products of nv vectors of four times four words with four words of each
 * of nq queries, as two sums for each four. */
CPU_INLINE void add_dots(__m256i *acc, const __m256i *x, const int16_t *words, int stride,
                         int nq, int nv)
{
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        const __m256i by = four_words(words + i * stride);
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            acc[i * nv + h] = add_to(acc[i * nv + h], _mm256_madd_epi16(x[h], by));
    }
}

/* acc + sums of four products of unsigned and signed bytes; one is all 16-bit ones. */
CPU_INLINE __m256i add_bytes(__m256i acc, __m256i u, __m256i s, __m256i one)
{
    return add_to(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), one));
}

/* The eight sums of two accumulators, in order. */
CPU_INLINE __m256i add_pairs(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_hadd_epi32(a, b), 0xD8);
}

/* out [BLOCK][TQ_DIM_MAX] <- hi, or 128 * hi + lo. */
CPU_INLINE void query_words(int16_t *out, const struct tq_code_queries *q, int i0, int d,
                            int nq)
{
    for (int i = 0; i < nq; i++)
        for (int k = 0; k < d; k += 16) {
            const int at = (i0 + i) * d + k;
            __m256i w = load_words(q->hi + at, true);
            if (q->lo)
                w = _mm256_add_epi16(_mm256_slli_epi16(w, 7),
                                     load_words(q->lo + at, true));
            _mm256_store_si256((void *)(out + i * TQ_DIM_MAX + k), w);
        }
}

/* nq queries from i0 on against 4 nv keys of a tile [d/4][16][4]; nq * nv is at most
 * SUMS: with more some would live in memory, and chains of additions through memory are
 * what would limit the loop. */
CPU_INLINE void score_words_block(float *s, const uint8_t *k, const uint16_t *kscale,
                                  const struct tq_code_queries *q, const int16_t *words,
                                  int i0, int d, int nq, int nv)
{
    __m256i acc[SUMS];
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        acc[i] = _mm256_setzero_si256();
    for (int r = 0; r < d / 4; r++) {
        __m256i x[4];
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            x[h] = load_words(k + 64 * r + 16 * h, false);
        add_dots(acc, x, words + 4 * r, TQ_DIM_MAX, nq, nv);
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < nv; h += 2)
            tq_store_scores(s + (i0 + i) * TOKENS + 4 * h,
                            add_pairs(acc[nv * i + h], acc[nv * i + h + 1]), q, i0 + i,
                            kscale + 4 * h);
    }
}

CPU_INLINE void score_words(float *s, const uint8_t *k, const uint16_t *kscale,
                            const struct tq_code_queries *q, int i0, int d, int nq,
                            int tile0, int tile1)
{
    _Alignas(32) int16_t words[BLOCK * TQ_DIM_MAX];
    query_words(words, q, i0, d, nq);
    const int nv = nq <= 2 ? 4 : 2;
    for (int t = tile0; t < tile1; t++)
        for (int h = 0; h < 4; h += nv)
            score_words_block(s + 16 * t + 4 * h, k + 16 * d * t + 16 * h,
                              kscale + 16 * t + 4 * h, q, words, i0, d, nq, nv);
}

/* nq queries of one limb from i0 on against nv halves of tiles. */
CPU_INLINE void score_bytes_block(float *s, const uint8_t *k, const uint16_t *kscale,
                                  const struct tq_code_queries *q, int i0, int d, int nq,
                                  int nv)
{
    const __m256i one = _mm256_set1_epi16(1);
    const int8_t *by = q->hi + i0 * d;
    __m256i acc[SUMS];
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        acc[i] = _mm256_setzero_si256();
    for (int r = 0; r < d / 4; r++) {
        __m256i x[4];
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            x[h] = _mm256_loadu_si256(
                (const void *)(k + h / 2 * 16 * d + 64 * r + 32 * (h % 2)));
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            const __m256i four = tq_four_bytes(by + i * d + 4 * r);
            TQ_UNROLL
            for (int h = 0; h < nv; h++)
                acc[i * nv + h] = add_bytes(acc[i * nv + h], x[h], four, one);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            tq_store_scores(s + (i0 + i) * TOKENS + 8 * h, acc[nv * i + h], q, i0 + i,
                            kscale + 8 * h);
    }
}

CPU_INLINE void score_bytes(float *s, const uint8_t *k, const uint16_t *kscale,
                            const struct tq_code_queries *q, int i0, int d, int nq,
                            int tile0, int tile1)
{
    int t = tile0;
    for (; nq <= 2 && t + 2 <= tile1; t += 2)
        score_bytes_block(s + 16 * t, k + 16 * d * t, kscale + 16 * t, q, i0, d, nq, 4);
    for (; t < tile1; t++)
        score_bytes_block(s + 16 * t, k + 16 * d * t, kscale + 16 * t, q, i0, d, nq, 2);
}

CPU_INLINE void score_some(float *s, const uint8_t *k, const uint16_t *kscale,
                           const struct tq_code_queries *q, int i0, int d, int nq,
                           int tile0, int tile1)
{
    if (!q->lo && q->most <= 64)
        score_bytes(s, k, kscale, q, i0, d, nq, tile0, tile1);
    else
        score_words(s, k, kscale, q, i0, d, nq, tile0, tile1);
}

void tq_score_codes_avx2(float *s, const uint8_t *k, const uint16_t *kscale,
                         const struct tq_code_queries *q, int d, int n, int tile0,
                         int tile1)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        score_some(s, k, kscale, q, i, d, 4, tile0, tile1);
    for (; i + 2 <= n; i += 2)
        score_some(s, k, kscale, q, i, d, 2, tile0, tile1);
    if (i < n)
        score_some(s, k, kscale, q, i, d, 1, tile0, tile1);
}

/* Elements of an exact page from index i on; n of them if n < 8. */
CPU_INLINE __m256 load_exact(const void *page, int i, bool half, int n)
{
    const char *at = (const char *)page + (half ? 2 : 4) * (ptrdiff_t)i;
    if (!half)
        return n >= 8 ? _mm256_loadu_ps((const void *)at)
                      : _mm256_maskload_ps((const void *)at, tq_first_lanes(n));
    if (n >= 8)
        return _mm256_cvtph_ps(_mm_loadu_si128((const void *)at));
    uint16_t h[8] = {0};
    memcpy(h, at, (size_t)n * 2);
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)h));
}

/* nq queries from q on against nt tiles; nq * nt is at most BLOCK. */
CPU_INLINE void exact_score_block(float *s, const void *k, const float *q, int d,
                                  bool half, int nq, int nt, int tile)
{
    __m256 acc[2 * BLOCK];
    TQ_UNROLL
    for (int i = 0; i < 2 * nq * nt; i++)
        acc[i] = _mm256_setzero_ps();
    for (int c = 0; c < d; c++) {
        __m256 v[BLOCK];
        TQ_UNROLL
        for (int i = 0; i < nq; i++)
            v[i] = _mm256_broadcast_ss(q + i * d + c);
        TQ_UNROLL
        for (int h = 0; h < 2 * nt; h++) {
            const __m256 row =
                load_exact(k, ((tile + h / 2) * d + c) * 16 + 8 * (h % 2), half, 8);
            TQ_UNROLL
            for (int i = 0; i < nq; i++)
                acc[2 * nt * i + h] = _mm256_fmadd_ps(v[i], row, acc[2 * nt * i + h]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < 2 * nt; h++)
            _mm256_storeu_ps(s + i * TOKENS + 16 * tile + 8 * h,
                             tq_clamp_scores(acc[2 * nt * i + h]));
    }
}

CPU_INLINE void exact_score_queries(float *s, const void *k, const float *q, int d,
                                    bool half, int nq, int tile0, int tile1)
{
    int t = tile0;
    for (; t + BLOCK / nq <= tile1; t += BLOCK / nq)
        exact_score_block(s, k, q, d, half, nq, BLOCK / nq, t);
    for (; t < tile1; t++)
        exact_score_block(s, k, q, d, half, nq, 1, t);
}

CPU_INLINE void exact_scores(float *s, const void *k, const float *q, int d, int n,
                             bool half, int tile0, int tile1)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        exact_score_queries(s + i * TOKENS, k, q + i * d, d, half, 4, tile0, tile1);
    for (; i + 2 <= n; i += 2)
        exact_score_queries(s + i * TOKENS, k, q + i * d, d, half, 2, tile0, tile1);
    if (i < n)
        exact_score_queries(s + i * TOKENS, k, q + i * d, d, half, 1, tile0, tile1);
}

void tq_score_f16_avx2(float *s, const uint16_t *k, const float *q, int d, int n,
                       int tile0, int tile1)
{
    exact_scores(s, k, q, d, n, true, tile0, tile1);
}

void tq_score_f32_avx2(float *s, const void *k, const float *q, int d, int n, int tile0,
                       int tile1)
{
    exact_scores(s, k, q, d, n, false, tile0, tile1);
}

/* ---- softmax ---- */

/* tq_exp of 8 lanes. */
CPU_INLINE __m256 exp8(__m256 x)
{
    const __m256 keep = _mm256_cmp_ps(x, _mm256_set1_ps(TQ_EXP_MIN), _CMP_NLT_UQ);
    const __m256i n = _mm256_cvtps_epi32(_mm256_mul_ps(x, _mm256_set1_ps(TQ_EXP_LOG2E)));
    const __m256 f = _mm256_cvtepi32_ps(n);
    __m256 r = _mm256_sub_ps(x, _mm256_mul_ps(f, _mm256_set1_ps(TQ_EXP_LN2_HI)));
    r = _mm256_sub_ps(r, _mm256_mul_ps(f, _mm256_set1_ps(TQ_EXP_LN2_LO)));
    __m256 p = _mm256_set1_ps(TQ_EXP_P4);
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(TQ_EXP_P3));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(TQ_EXP_P2));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(TQ_EXP_P1));
    p = _mm256_add_ps(_mm256_mul_ps(p, r), _mm256_set1_ps(TQ_EXP_P0));
    const __m256 y = _mm256_add_ps(
        _mm256_set1_ps(1.0f), _mm256_add_ps(r, _mm256_mul_ps(_mm256_mul_ps(r, r), p)));
    const __m256i bits =
        _mm256_add_epi32(_mm256_castps_si256(y), _mm256_slli_epi32(n, 23));
    return _mm256_and_ps(_mm256_castsi256_ps(bits), keep);
}

/* Lanes 8 t .. 8 t + 7 that are in [lo, hi). */
CPU_INLINE __m256 tokens_in(int t, int lo, int hi)
{
    return _mm256_castsi256_ps(
        _mm256_andnot_si256(tq_first_lanes(lo - 8 * t), tq_first_lanes(hi - 8 * t)));
}

/* One query; whole: lo = 0 and hi = 64, where no lane needs a mask. */
CPU_INLINE void softmax_row(float *s, float *m, float *l, float *c, int lo, int hi,
                            bool whole)
{
    const __m256 none = _mm256_set1_ps(-INFINITY);
    __m256 v[VECTORS], highest = none;
    TQ_UNROLL
    for (int t = 0; t < VECTORS; t++) {
        const __m256 x = _mm256_loadu_ps(s + 8 * t);
        highest = _mm256_max_ps(
            whole ? x : _mm256_blendv_ps(none, x, tokens_in(t, lo, hi)), highest);
    }
    float top = highest_lane(highest);
    top = top > *m ? top : *m;
    *c = top == *m ? 1.0f : tq_exp(*m - top);
    TQ_UNROLL
    for (int t = 0; t < VECTORS; t++) {
        v[t] = exp8(_mm256_sub_ps(_mm256_loadu_ps(s + 8 * t), _mm256_set1_ps(top)));
        if (!whole)
            v[t] = _mm256_and_ps(v[t], tokens_in(t, lo, hi));
        _mm256_storeu_ps(s + 8 * t, v[t]);
    }
    *m = top;
    *l =
        *l * *c +
        tq_sum_lanes(_mm256_add_ps(_mm256_add_ps(v[0], v[2]), _mm256_add_ps(v[4], v[6])),
                     _mm256_add_ps(_mm256_add_ps(v[1], v[3]), _mm256_add_ps(v[5], v[7])));
}

void tq_softmax_avx2(float *s, float *m, float *l, float *c, int lo, const uint8_t *hi,
                     int n)
{
    for (int i = 0; i < n; i++, s += TOKENS)
        if (lo == 0 && hi[i] == TOKENS)
            softmax_row(s, m + i, l + i, c + i, 0, TOKENS, true);
        else
            softmax_row(s, m + i, l + i, c + i, lo, hi[i], false);
}

/* 32 integers below 256 to bytes, in order. */
CPU_INLINE __m256i narrow(const __m256i u[4])
{
    const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(u[0], u[1]),
                                              _mm256_packus_epi32(u[2], u[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Weights of one query, given the scales of the page's values. */
CPU_INLINE void weigh_row(uint8_t *w, float *g, const float *p, const float *scale,
                          int limbs, float steps)
{
    __m256 v[VECTORS], highest = _mm256_setzero_ps();
    TQ_UNROLL
    for (int t = 0; t < VECTORS; t++) {
        v[t] = _mm256_max_ps(
            _mm256_mul_ps(_mm256_loadu_ps(p + 8 * t), _mm256_loadu_ps(scale + 8 * t)),
            _mm256_setzero_ps());
        highest = _mm256_max_ps(v[t], highest);
    }
    const float top = highest_lane(highest);
    const bool any = top >= TQ_WEIGHT_MIN;
    *g = any ? top / steps : 0.0f;
    const __m256 inverse = _mm256_set1_ps(any ? steps / top : 0.0f);
    TQ_UNROLL
    for (int t = 0; t < VECTORS; t += 4) {
        __m256i low[4], high[4];
        TQ_UNROLL
        for (int k = 0; k < 4; k++) {
            low[k] = _mm256_cvtps_epi32(_mm256_mul_ps(v[t + k], inverse));
            if (limbs == 2) {
                high[k] = _mm256_srli_epi32(low[k], 8);
                low[k] = _mm256_and_si256(low[k], _mm256_set1_epi32(255));
            }
        }
        if (limbs == 2)
            _mm256_storeu_si256((void *)(w + 8 * t), narrow(high));
        _mm256_storeu_si256((void *)(w + (limbs - 1) * TOKENS + 8 * t), narrow(low));
    }
}

void tq_weigh_avx2(uint8_t *w, float *g, const float *p, const uint16_t *vscale,
                   int limbs, int n, int most)
{
    float scale[TOKENS];
    for (int t = 0; t < TOKENS; t += 8)
        _mm256_storeu_ps(scale + t, tq_load_scales(vscale + t));
    for (int i = 0; i < n; i++)
        if (limbs == 2)
            weigh_row(w + 2 * i * TOKENS, g + i, p + i * TOKENS, scale, 2, 65535.0f);
        else
            weigh_row(w + i * TOKENS, g + i, p + i * TOKENS, scale, 1, (float)most);
}

/* ---- values ---- */

/* out [nq][64] <- weights of two limbs - 32768. */
CPU_INLINE void weight_words(int16_t *out, const uint8_t *w, int nq)
{
    for (int i = 0; i < nq; i++, w += 2 * TOKENS)
        for (int j = 0; j < TOKENS; j += 16) {
            const __m256i x =
                _mm256_or_si256(_mm256_slli_epi16(load_words(w + j, false), 8),
                                load_words(w + TOKENS + j, false));
            _mm256_store_si256((void *)(out + i * TOKENS + j),
                               _mm256_xor_si256(x, _mm256_set1_epi16(INT16_MIN)));
        }
}

/* 4 nv dimensions, from v on, of groups g0 .. g1 - 1, for nq queries of two limbs.  32768
 * times the sum of levels, which the weights lack, is added.  Sums wrap on the way, not
 * in the end. */
CPU_INLINE void sum_words_block(float *o, const int8_t *v, const int16_t *words,
                                const float *g, const float *c, int d, int g0, int g1,
                                int nq, int nv)
{
    __m256i acc[SUMS], plain[4];
    const __m256i one = _mm256_set1_epi16(1);
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        acc[i] = _mm256_setzero_si256();
    TQ_UNROLL
    for (int h = 0; h < nv; h++)
        plain[h] = _mm256_setzero_si256();
    for (int group = g0; group < g1; group++) {
        __m256i x[4];
        TQ_UNROLL
        for (int h = 0; h < nv; h++) {
            x[h] = load_words(v + 4 * (ptrdiff_t)d * group + 16 * h, true);
            plain[h] = _mm256_add_epi32(plain[h], _mm256_madd_epi16(x[h], one));
        }
        add_dots(acc, x, words + 4 * group, TOKENS, nq, nv);
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < nv; h += 2) {
            const __m256i all = _mm256_slli_epi32(add_pairs(plain[h], plain[h + 1]), 15);
            const __m256i total = add_pairs(acc[i * nv + h], acc[i * nv + h + 1]);
            tq_add_total(o + i * d + 4 * h, _mm256_add_epi32(total, all), g[i], c[i]);
        }
    }
}

CPU_INLINE void sum_words(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int d, int g0, int g1, int nq)
{
    _Alignas(32) int16_t words[BLOCK * TOKENS];
    weight_words(words, w, nq);
    const int nv = nq == 1 ? 4 : 2;
    for (int at = 0; at < d; at += 4 * nv)
        sum_words_block(o + at, v + 4 * at, words, g, c, d, g0, g1, nq, nv);
}

/* 8 nv dimensions, from v on, of groups g0 .. g1 - 1, for nq queries of one limb. */
CPU_INLINE void sum_bytes_block(float *o, const int8_t *v, const uint8_t *w,
                                const float *g, const float *c, int d, int g0, int g1,
                                int nq, int nv)
{
    const __m256i one = _mm256_set1_epi16(1);
    __m256i acc[SUMS];
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        acc[i] = _mm256_setzero_si256();
    for (int group = g0; group < g1; group++) {
        __m256i x[4];
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            x[h] =
                _mm256_loadu_si256((const void *)(v + 4 * (ptrdiff_t)d * group + 32 * h));
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            const __m256i four = tq_four_bytes(w + i * TOKENS + 4 * group);
            TQ_UNROLL
            for (int h = 0; h < nv; h++)
                acc[i * nv + h] = add_bytes(acc[i * nv + h], four, x[h], one);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < nv; h++)
            tq_add_total(o + i * d + 8 * h, acc[i * nv + h], g[i], c[i]);
    }
}

CPU_INLINE void sum_bytes(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int d, int g0, int g1, int nq)
{
    int at = 0;
    for (; nq <= 2 && at + 32 <= d; at += 32)
        sum_bytes_block(o + at, v + 4 * at, w, g, c, d, g0, g1, nq, 4);
    for (; at < d; at += 16)
        sum_bytes_block(o + at, v + 4 * at, w, g, c, d, g0, g1, nq, 2);
}

CPU_INLINE void sum_queries(float *o, const int8_t *v, const uint8_t *w, const float *g,
                            const float *c, int limbs, int d, int g0, int g1, int nq)
{
    if (limbs == 2)
        sum_words(o, v, w, g, c, d, g0, g1, nq);
    else
        sum_bytes(o, v, w, g, c, d, g0, g1, nq);
}

void tq_sum_codes_avx2(float *o, const int8_t *v, const uint8_t *w, const float *g,
                       const float *c, int limbs, int d, int n, int tile0, int tile1)
{
    const int g0 = 4 * tile0, g1 = 4 * tile1;
    int i = 0;
    for (; i + 4 <= n; i += 4)
        sum_queries(o + i * d, v, w + limbs * i * TOKENS, g + i, c + i, limbs, d, g0, g1,
                    4);
    for (; i + 2 <= n; i += 2)
        sum_queries(o + i * d, v, w + limbs * i * TOKENS, g + i, c + i, limbs, d, g0, g1,
                    2);
    if (i < n)
        sum_queries(o + i * d, v, w + limbs * i * TOKENS, g + i, c + i, limbs, d, g0, g1,
                    1);
}

/* nr vectors of 8 dimensions from index `at` of a row on; the last has `n` if n < 8. */
CPU_INLINE void exact_sum_block(float *o, const void *v, const float *p, const float *c,
                                int d, bool half, int at, int lo, int hi, int nq, int nr,
                                int n)
{
    __m256 acc[2 * BLOCK];
    const __m256i m = tq_first_lanes(n);
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            acc[i * nr + r] = _mm256_mul_ps(_mm256_maskload_ps(o + i * d + at + 8 * r, m),
                                            _mm256_set1_ps(c[i]));
    }
    for (int j = lo; j < hi; j++) {
        __m256 weight[BLOCK];
        TQ_UNROLL
        for (int i = 0; i < nq; i++)
            weight[i] = _mm256_broadcast_ss(p + i * TOKENS + j);
        TQ_UNROLL
        for (int r = 0; r < nr; r++) {
            const __m256 row = load_exact(v, j * d + at + 8 * r, half, n);
            TQ_UNROLL
            for (int i = 0; i < nq; i++)
                acc[i * nr + r] = _mm256_fmadd_ps(weight[i], row, acc[i * nr + r]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            _mm256_maskstore_ps(o + i * d + at + 8 * r, m, acc[i * nr + r]);
    }
}

CPU_INLINE void exact_sum_queries(float *o, const void *v, const float *p, const float *c,
                                  int d, bool half, int lo, int hi, int nq)
{
    const int nr = 2 * BLOCK / nq;
    int at = 0;
    for (; at + 8 * nr <= d; at += 8 * nr)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, nr, 8);
    for (; at + 8 <= d; at += 8)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 1, 8);
    if (at < d)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 1, d - at);
}

CPU_INLINE void exact_sums(float *o, const void *v, const float *p, const float *c, int d,
                           int n, bool half, int lo, int hi)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 4);
    for (; i + 2 <= n; i += 2)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 2);
    if (i < n)
        exact_sum_queries(o + i * d, v, p + i * TOKENS, c + i, d, half, lo, hi, 1);
}

void tq_sum_f16_avx2(float *o, const uint16_t *v, const float *p, const float *c, int d,
                     int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, true, lo, hi);
}

void tq_sum_f32_avx2(float *o, const void *v, const float *p, const float *c, int d,
                     int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, false, lo, hi);
}

CPU_TARGET_END

#endif
