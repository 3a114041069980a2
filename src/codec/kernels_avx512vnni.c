/* kernels_avx512vnni.c - integer dot products of levels for AVX-512 with VNNI; the other
 * kernels of AVX-512 do not need it.
 *
 * Each kernel is a block of a fixed number of queries, and a loop that covers n queries
 * with the largest blocks.  What is computed for a query does not depend on its block. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <stddef.h>

#include "codec/avx512.h"
#include "cpu/byte_products.h"
#include "codec/f16.h"
#include "codec/layout.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

enum { TOKENS = TQ_PAGE_TOKENS, TILES = 4 };

/* ---- means of keys ---- */

/* The bits `bits` of each of 64 scales from bit `at` on, as bytes. */
CPU_INLINE __m512i spare_bytes(__m512i lo, __m512i hi, int at, int bits)
{
    const __m128i shift = _mm_cvtsi32_si128(at);
    const __m512i keep = _mm512_set1_epi16((short)((1 << bits) - 1));
    const __m256i a =
        _mm512_cvtepi16_epi8(_mm512_and_si512(_mm512_srl_epi16(lo, shift), keep));
    const __m256i b =
        _mm512_cvtepi16_epi8(_mm512_and_si512(_mm512_srl_epi16(hi, shift), keep));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

CPU_INLINE __m128i sum_quarters(__m512i v)
{
    const __m256i a =
        _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
}

/* <hi, 2 code - top> = 2 <hi, code> - top sum of hi, of `most` queries, a constant up to
 * four, of which the last may be missing. */
CPU_INLINE void means_of(float *bias, __m512i lo, __m512i hi, float unit,
                         const struct tq_code_queries *q, int d, int i, int n, int most)
{
    const int b = tq_mean_bits(d), top = (1 << b) - 1;
    __m512i dot[4];
    TQ_UNROLL
    for (int k = 0; k < 4; k++)
        dot[k] = _mm512_setzero_si512();
    for (int c = 0; c < d; c += TOKENS) {
        const __m512i code = spare_bytes(lo, hi, c / TOKENS * b, b);
        const __mmask64 in =
            d - c < TOKENS ? ~(uint64_t)0 >> (TOKENS - d + c) : ~(uint64_t)0;
        TQ_UNROLL
        for (int k = 0; k < most; k++) {
            const int8_t *row = q->hi + (i + k < n ? i + k : i) * d + c;
            dot[k] = cpu_dpbusd_512(dot[k], code, _mm512_maskz_loadu_epi8(in, row));
        }
    }
    const __m128i sum =
        _mm_hadd_epi32(_mm_hadd_epi32(sum_quarters(dot[0]), sum_quarters(dot[1])),
                       _mm_hadd_epi32(sum_quarters(dot[2]), sum_quarters(dot[3])));
    const __mmask8 rows = (__mmask8)(n - i < 4 ? (1 << (n - i)) - 1 : 15);
    const __m128i all =
        _mm_mullo_epi32(_mm_set1_epi32(top), _mm_maskz_loadu_epi32(rows, q->sum_hi + i));
    __m128 s = _mm_cvtepi32_ps(_mm_sub_epi32(_mm_slli_epi32(sum, 1), all));
    s = _mm_mul_ps(_mm_mul_ps(s, _mm_maskz_loadu_ps(rows, q->step + i)),
                   _mm_set1_ps(unit));
    /* The second operand is returned if one is NaN. */
    s = _mm_min_ps(_mm_set1_ps(TQ_SCORE_MAX), s);
    s = _mm_max_ps(_mm_set1_ps(-TQ_SCORE_MAX), s);
    _mm_mask_storeu_ps(bias + i, rows, s);
}

void tq_key_means_avx512vnni(float *bias, uint16_t *scale, const uint16_t *stored,
                             const struct tq_code_queries *q, int d, int n)
{
    const __m512i lo = _mm512_loadu_si512(stored), hi = _mm512_loadu_si512(stored + 32);
    const __m512i bits = _mm512_set1_epi16(TQ_SCALE_MASK);
    _mm512_storeu_si512(scale, _mm512_and_si512(lo, bits));
    _mm512_storeu_si512(scale + 32, _mm512_and_si512(hi, bits));
    const float unit = tq_scale_to_f32((uint16_t)_mm512_movepi16_mask(lo));
    for (int i = 0; i < n; i += 4)
        if (n - i == 1)
            means_of(bias, lo, hi, unit, q, d, i, n, 1);
        else if (n - i == 2)
            means_of(bias, lo, hi, unit, q, d, i, n, 2);
        else
            means_of(bias, lo, hi, unit, q, d, i, n, 4);
}

/* ---- scores ---- */

/* Dot products of nq queries with nt tiles [d/4][16][4] of levels + 128, from terms or
 * zero (NULL) on. */
CPU_INLINE void dot_block(__m512i *dot, const uint8_t *k, const int8_t *q,
                          const struct tq_score_terms *terms, int d, int nq, int nt)
{
    __m512i acc[16];
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++)
        acc[i] = terms ? terms[i / nt].start : _mm512_setzero_si512();
    for (int r = 0; r < d / 4; r++) {
        __m512i row[TILES];
        TQ_UNROLL
        for (int t = 0; t < nt; t++)
            row[t] = _mm512_loadu_si512(k + t * 16 * d + 64 * r);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            const __m512i v = tq_four_bytes(q + i * d + 4 * r);
            TQ_UNROLL
            for (int t = 0; t < nt; t++)
                acc[i * nt + t] = cpu_dpbusd_512(acc[i * nt + t], row[t], v);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++)
        dot[i] = acc[i];
}

/* Queries i0 .. i0 + nq - 1 against nt tiles. */
CPU_INLINE void score_block(float *s, const uint8_t *k, const __m512 *scale,
                            const struct tq_code_queries *q, int i0, int d, int nq,
                            int nt, bool two_limbs)
{
    struct tq_score_terms terms[4];
    __m512i hi[16], lo[16];
    TQ_UNROLL
    for (int i = 0; i < nq; i++)
        terms[i] = tq_score_terms(q, i0 + i);
    dot_block(hi, k, q->hi + i0 * d, two_limbs ? NULL : terms, d, nq, nt);
    if (two_limbs)
        dot_block(lo, k, q->lo + i0 * d, terms, d, nq, nt);
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++) {
        __m512i dot = hi[i];
        if (two_limbs)
            dot = _mm512_add_epi32(_mm512_slli_epi32(dot, 7), lo[i]);
        tq_store_scores(s + (i0 + i / nt) * TOKENS + 16 * (i % nt), dot, &terms[i / nt],
                        scale[i % nt], q->bias);
    }
}

CPU_INLINE void score_queries(float *s, const uint8_t *k, const uint16_t *kscale,
                              const struct tq_code_queries *q, int d, int n, int nt,
                              bool two_limbs)
{
    __m512 scale[TILES];
    int i = 0;
    TQ_UNROLL
    for (int t = 0; t < nt; t++)
        scale[t] = tq_load_scales(kscale + 16 * t);
    for (; i + 4 <= n; i += 4)
        score_block(s, k, scale, q, i, d, 4, nt, two_limbs);
    if (n - i == 3) {
        score_block(s, k, scale, q, i, d, 3, nt, two_limbs);
        return;
    }
    for (; i + 2 <= n; i += 2)
        score_block(s, k, scale, q, i, d, 2, nt, two_limbs);
    if (i < n)
        score_block(s, k, scale, q, i, d, 1, nt, two_limbs);
}

static void score_tiles(float *s, const uint8_t *k, const uint16_t *kscale,
                        const struct tq_code_queries *q, int d, int n, int nt)
{
    if (nt == TILES) {
        if (q->lo)
            score_queries(s, k, kscale, q, d, n, TILES, true);
        else
            score_queries(s, k, kscale, q, d, n, TILES, false);
        return;
    }
    for (int t = 0; t < nt; t++, s += 16, k += 16 * d, kscale += 16)
        if (q->lo)
            score_queries(s, k, kscale, q, d, n, 1, true);
        else
            score_queries(s, k, kscale, q, d, n, 1, false);
}

void tq_score_codes_avx512vnni(float *s, const uint8_t *k, const uint16_t *kscale,
                               const struct tq_code_queries *q, int d, int n, int tile0,
                               int tile1)
{
    score_tiles(s + 16 * tile0, k + 16 * d * tile0, kscale + 16 * tile0, q, d, n,
                tile1 - tile0);
}

/* ---- values ---- */

/* nr vectors of 16 dimensions, from v on, for nq queries of `limbs` rows of weights. */
CPU_INLINE void sum_block(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int d, int g0, int g1, int nq, int limbs,
                          int nr)
{
    __m512i acc[16];
    TQ_UNROLL
    for (int i = 0; i < nq * limbs * nr; i++)
        acc[i] = _mm512_setzero_si512();
    for (int group = g0; group < g1; group++) {
        __m512i row[8];
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            row[r] = _mm512_loadu_si512(v + 4 * (ptrdiff_t)d * group + 64 * r);
        TQ_UNROLL
        for (int i = 0; i < nq * limbs; i++) {
            const __m512i weights = tq_four_bytes(w + i * TOKENS + 4 * group);
            TQ_UNROLL
            for (int r = 0; r < nr; r++)
                acc[i * nr + r] = cpu_dpbusd_512(acc[i * nr + r], weights, row[r]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++) {
            __m512i total = acc[i * limbs * nr + r];
            if (limbs == 2)
                total = _mm512_add_epi32(_mm512_slli_epi32(total, 8),
                                         acc[(i * limbs + 1) * nr + r]);
            tq_add_total(o + i * d + 16 * r, total, g[i], c[i]);
        }
    }
}

/* nq * limbs is at most 4. */
CPU_INLINE void sum_queries(float *o, const int8_t *v, const uint8_t *w, const float *g,
                            const float *c, int d, int g0, int g1, int nq, int limbs)
{
    int r = 0;
    if (nq * limbs <= 2)
        for (; r + 8 <= d / 16; r += 8)
            sum_block(o + 16 * r, v + 64 * r, w, g, c, d, g0, g1, nq, limbs, 8);
    for (; r + 4 <= d / 16; r += 4)
        sum_block(o + 16 * r, v + 64 * r, w, g, c, d, g0, g1, nq, limbs, 4);
    for (; r + 2 <= d / 16; r += 2)
        sum_block(o + 16 * r, v + 64 * r, w, g, c, d, g0, g1, nq, limbs, 2);
    if (r < d / 16)
        sum_block(o + 16 * r, v + 64 * r, w, g, c, d, g0, g1, nq, limbs, 1);
}

void tq_sum_codes_avx512vnni(float *o, const int8_t *v, const uint8_t *w, const float *g,
                             const float *c, int limbs, int d, int n, int tile0,
                             int tile1)
{
    const int g0 = 4 * tile0, g1 = 4 * tile1;
    int i = 0;
    if (limbs == 2) {
        for (; i + 2 <= n; i += 2)
            sum_queries(o + i * d, v, w + 2 * i * TOKENS, g + i, c + i, d, g0, g1, 2, 2);
        if (i < n)
            sum_queries(o + i * d, v, w + 2 * i * TOKENS, g + i, c + i, d, g0, g1, 1, 2);
        return;
    }
    for (; i + 4 <= n; i += 4)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 4, 1);
    if (n - i == 3) {
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 3, 1);
        return;
    }
    for (; i + 2 <= n; i += 2)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 2, 1);
    if (i < n)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 1, 1);
}

CPU_TARGET_END

#endif
