/* kernels_avx512vnni.c - integer dot products of levels for AVX-512 with VNNI; the other
 * kernels of AVX-512 do not need it.
 *
 * Each kernel is a block of a fixed number of queries, and a loop that covers n queries
 * with the largest blocks.  What is computed for a query does not depend on its block. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <stdbool.h>
#include <stddef.h>

#include "codec/avx512vnni.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

enum { TOKENS = TQ_PAGE_TOKENS, TILES = 4 };

/* ---- scores ---- */

/* Dot products of nq queries with nt tiles [d/4][16][4] of levels + 128. */
TQ_INLINE void dot_block(__m512i *dot, const uint8_t *k, const int8_t *q, int d, int nq,
                         int nt)
{
    __m512i acc[16];
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++)
        acc[i] = _mm512_setzero_si512();
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
                acc[i * nt + t] = tq_dpbusd(acc[i * nt + t], row[t], v);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++)
        dot[i] = acc[i];
}

/* Queries i0 .. i0 + nq - 1 against nt tiles. */
TQ_INLINE void score_block(float *s, const uint8_t *k, const uint16_t *kscale,
                           const struct tq_code_queries *q, int i0, int d, int nq, int nt,
                           bool two_limbs)
{
    __m512i hi[16], lo[16];
    dot_block(hi, k, q->hi + i0 * d, d, nq, nt);
    if (two_limbs)
        dot_block(lo, k, q->lo + i0 * d, d, nq, nt);
    TQ_UNROLL
    for (int i = 0; i < nq * nt; i++) {
        __m512i dot = hi[i];
        if (two_limbs)
            dot = _mm512_add_epi32(_mm512_slli_epi32(dot, 7), lo[i]);
        tq_store_scores(s + (i0 + i / nt) * TOKENS + 16 * (i % nt), dot, q, i0 + i / nt,
                        kscale + 16 * (i % nt));
    }
}

TQ_INLINE void score_queries(float *s, const uint8_t *k, const uint16_t *kscale,
                             const struct tq_code_queries *q, int d, int n, int nt,
                             bool two_limbs)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        score_block(s, k, kscale, q, i, d, 4, nt, two_limbs);
    for (; i + 2 <= n; i += 2)
        score_block(s, k, kscale, q, i, d, 2, nt, two_limbs);
    if (i < n)
        score_block(s, k, kscale, q, i, d, 1, nt, two_limbs);
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
TQ_INLINE void sum_block(float *o, const int8_t *v, const uint8_t *w, const float *g,
                         const float *c, int d, int g0, int g1, int nq, int limbs, int nr)
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
                acc[i * nr + r] = tq_dpbusd(acc[i * nr + r], weights, row[r]);
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
TQ_INLINE void sum_queries(float *o, const int8_t *v, const uint8_t *w, const float *g,
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
    for (; i + 2 <= n; i += 2)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 2, 1);
    if (i < n)
        sum_queries(o + i * d, v, w + i * TOKENS, g + i, c + i, d, g0, g1, 1, 1);
}

CPU_TARGET_END

#endif
