/* kernels_avxvnni.c - the integer dot products with AVX-VNNI; its other kernels are those
 * of AVX2. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <stddef.h>

#include "codec/avx2.h"
#include "cpu/byte_products.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVXVNNI)

enum { TOKENS = TQ_PAGE_TOKENS };

/* ---- scores ---- */

/* Dot products of nq queries [d] with nv halves of tiles; nq * nv is 8. */
CPU_INLINE void dot_block(__m256i dot[8], const uint8_t *k, const int8_t *q, int d,
                          int nq, int nv)
{
    __m256i acc[8];
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        acc[i] = _mm256_setzero_si256();
    for (int r = 0; r < d / 4; r++) {
        __m256i x[4];
        TQ_UNROLL
        for (int i = 0; i < nq; i++)
            x[i] = tq_four_bytes(q + i * d + 4 * r);
        TQ_UNROLL
        for (int h = 0; h < nv; h++) {
            const __m256i row = _mm256_loadu_si256(
                (const void *)(k + h / 2 * 16 * d + 64 * r + 32 * (h % 2)));
            TQ_UNROLL
            for (int i = 0; i < nq; i++)
                acc[i * nv + h] = cpu_dpbusd_256(acc[i * nv + h], row, x[i]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq * nv; i++)
        dot[i] = acc[i];
}

CPU_INLINE void score_block(float *s, const uint8_t *k, const uint16_t *kscale,
                            const struct tq_code_queries *q, int i0, int d, int nq,
                            int nv, bool two_limbs)
{
    __m256i hi[8], lo[8];
    dot_block(hi, k, q->hi + i0 * d, d, nq, nv);
    if (two_limbs)
        dot_block(lo, k, q->lo + i0 * d, d, nq, nv);
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int h = 0; h < nv; h++) {
            __m256i dot = hi[i * nv + h];
            if (two_limbs)
                dot = _mm256_add_epi32(_mm256_slli_epi32(dot, 7), lo[i * nv + h]);
            tq_store_scores(s + (i0 + i) * TOKENS + 8 * h, dot, q, i0 + i,
                            kscale + 8 * h);
        }
    }
}

CPU_INLINE void score_queries(float *s, const uint8_t *k, const uint16_t *kscale,
                              const struct tq_code_queries *q, int i0, int d, int nq,
                              int tile0, int tile1, bool two_limbs)
{
    const int nt = 4 / nq;
    int t = tile0;
    for (; t + nt <= tile1; t += nt)
        score_block(s + 16 * t, k + 16 * d * t, kscale + 16 * t, q, i0, d, nq, 2 * nt,
                    two_limbs);
    for (; t < tile1; t++)
        score_block(s + 16 * t, k + 16 * d * t, kscale + 16 * t, q, i0, d, nq, 2,
                    two_limbs);
}

CPU_INLINE void score_all(float *s, const uint8_t *k, const uint16_t *kscale,
                          const struct tq_code_queries *q, int d, int n, int tile0,
                          int tile1, bool two_limbs)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        score_queries(s, k, kscale, q, i, d, 4, tile0, tile1, two_limbs);
    for (; i + 2 <= n; i += 2)
        score_queries(s, k, kscale, q, i, d, 2, tile0, tile1, two_limbs);
    if (i < n)
        score_queries(s, k, kscale, q, i, d, 1, tile0, tile1, two_limbs);
}

void tq_score_codes_avxvnni(float *s, const uint8_t *k, const uint16_t *kscale,
                            const struct tq_code_queries *q, int d, int n, int tile0,
                            int tile1)
{
    if (q->lo)
        score_all(s, k, kscale, q, d, n, tile0, tile1, true);
    else
        score_all(s, k, kscale, q, d, n, tile0, tile1, false);
}

/* ---- values ---- */

/* nr vectors of 8 dimensions, from v on, for nq queries of `limbs` rows of weights;
 * nq * limbs * nr is at most 8. */
CPU_INLINE void sum_block(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int d, int g0, int g1, int nq, int limbs,
                          int nr)
{
    __m256i acc[8];
    TQ_UNROLL
    for (int i = 0; i < nq * limbs * nr; i++)
        acc[i] = _mm256_setzero_si256();
    for (int group = g0; group < g1; group++) {
        __m256i weights[4];
        TQ_UNROLL
        for (int i = 0; i < nq * limbs; i++)
            weights[i] = tq_four_bytes(w + i * TOKENS + 4 * group);
        TQ_UNROLL
        for (int r = 0; r < nr; r++) {
            const __m256i row =
                _mm256_loadu_si256((const void *)(v + 4 * (ptrdiff_t)d * group + 32 * r));
            TQ_UNROLL
            for (int i = 0; i < nq * limbs; i++)
                acc[i * nr + r] = cpu_dpbusd_256(acc[i * nr + r], weights[i], row);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++) {
            __m256i total = acc[i * limbs * nr + r];
            if (limbs == 2)
                total = _mm256_add_epi32(_mm256_slli_epi32(total, 8),
                                         acc[(2 * i + 1) * nr + r]);
            tq_add_total(o + i * d + 8 * r, total, g[i], c[i]);
        }
    }
}

/* nq * limbs is at most 4. */
CPU_INLINE void sum_queries(float *o, const int8_t *v, const uint8_t *w, const float *g,
                            const float *c, int d, int g0, int g1, int nq, int limbs)
{
    const int nr = 8 / (nq * limbs);
    int r = 0;
    for (; r + nr <= d / 8; r += nr)
        sum_block(o + 8 * r, v + 32 * r, w, g, c, d, g0, g1, nq, limbs, nr);
    for (; r < d / 8; r += 2)
        sum_block(o + 8 * r, v + 32 * r, w, g, c, d, g0, g1, nq, limbs, 2);
}

void tq_sum_codes_avxvnni(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int limbs, int d, int n, int tile0, int tile1)
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
    for (; i + 2 <= n; i += 2)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 2, 1);
    if (i < n)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 1, 1);
}

CPU_TARGET_END

#endif
