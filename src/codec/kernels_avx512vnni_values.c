/* kernels_avx512vnni_values.c - packed codes of values for AVX-512 with VNNI and
 * VBMI: expanded to int8 levels in memory for many queries, or used from registers,
 * without a store, for few.
 *
 * Each kernel walks over the rows of a block and hands the levels to a sink, which stores
 * them or multiplies them; which one is a constant where it is inlined. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <string.h>

#include "codec/ahead_avx512.h"
#include "codec/avx512.h"
#include "codec/levels_avx512vnni.h"
#include "cpu/byte_products.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

enum { TOKENS = TQ_PAGE_TOKENS, SUMS = 16 };

/* What happens to vectors of 16 dimensions x 4 tokens, in `nr` rows of 16 dimensions from
 * row r on.  n counts rows of weights, of which a query has one or two. */
struct value_sink {
    int8_t *out;         // of the page, [16][d][4], if n is 0
    const uint8_t *w;    // [n][64]
    __m512i acc[SUMS];   // [n][nr]
    struct tq_ask ahead; // as in struct key_sink
};

/* `count` vectors of groups of four tokens from g on, whose weights are at w. */
CPU_INLINE void put_values(struct value_sink *sink, const uint8_t *w, const __m512i *v,
                           int count, int g, int r, int i, int d, int n, int nr)
{
    TQ_UNROLL
    for (int f = 0; f < count; f++) {
        if (n == 0)
            _mm512_storeu_si512(sink->out + 4 * d * (g + f) + 64 * (r + i), v[f]);
        TQ_UNROLL
        for (int k = 0; k < n; k++)
            sink->acc[k * nr + i] = cpu_dpbusd_512(
                sink->acc[k * nr + i], tq_four_bytes(w + k * TOKENS + 4 * f), v[f]);
    }
}

/* A block of 8 (b = 4) or 16 (b = 2) tokens, of groups from g on. */
CPU_INLINE void walk_values(struct value_sink *sink, const uint8_t *block, int b, int g,
                            int d, int r, __m512i table, int n, int nr)
{
    const uint8_t *w = n ? sink->w + 4 * g : NULL;
    struct tq_value_walk walk;
    tq_value_walk_start(&walk, block, r, nr, d / 16);
    TQ_UNROLL
    for (int i = 0; i < nr; i++) {
        __m512i x, v[4];
        const __m512i z1 = tq_value_walk_row(&walk, i, &x);
        if (i % 2 == 0)
            tq_ask_ahead(block + 64 * (r + i), sink->ahead, n);
        if (b == 4) {
            tq_levels4(v, x, z1, table);
            put_values(sink, w, v, 2, g, r, i, d, n, nr);
        } else {
            tq_levels2(v, x, z1, table);
            put_values(sink, w, v, 4, g, r, i, d, n, nr);
        }
    }
}

/* 32 tokens of turbo3, two tiles, whose v share bytes, from tile t on.  Of a tile out of
 * range [tile0, tile1) nothing is stored; weights are zero. */
CPU_INLINE void walk_values3(struct value_sink *sink, const uint8_t *code, int d, int t,
                             int tile0, int tile1, int r, __m512i table, int n, int nr)
{
    static const uint8_t zero[4 * TOKENS];
    const uint8_t *block = code + t / 2 * 12 * d, *v_block = block + 8 * d;
    const uint8_t *w[2] = {zero, zero};
    if (n && t >= tile0)
        w[0] = sink->w + 16 * t;
    if (n && t + 1 < tile1)
        w[1] = sink->w + 16 * (t + 1);
    const struct tq_value_tables tables = tq_value_tables(table);
    struct tq_value_walk walk;
    tq_value_walk_start(&walk, v_block, r, nr, d / 16);
    TQ_UNROLL
    for (int i = 0; i < nr; i++) {
        __m512i x;
        const __m512i z1 = tq_value_walk_row(&walk, i, &x);
        const struct tq_value_pairs pairs = tq_value_pairs(x, z1);
        if (i % 2 == 0)
            tq_ask_ahead(v_block + 64 * (r + i), sink->ahead, n);
        TQ_UNROLL
        for (int half = 0; half < 2; half++) {
            const uint8_t *at = block + 4 * d * half + 64 * (r + i);
            __m512i v[4];
            if (n == 0 && (t + half < tile0 || t + half >= tile1))
                continue;
            if (i % 2 == 0)
                tq_ask_ahead(at, sink->ahead, n);
            tq_value_levels3(v, _mm512_loadu_si512(at), &pairs, half, &tables);
            put_values(sink, w[half], v, 4, 4 * (t + half), r, i, d, n, nr);
        }
    }
}

/* 16 tokens of turbo8, of groups from g on, whose codes are levels. */
CPU_INLINE void walk_value_bytes(struct value_sink *sink, const uint8_t *tile, int g,
                                 int d, int r, int n, int nr)
{
    for (int f = 0; f < 4; f++) {
        TQ_UNROLL
        for (int i = 0; i < nr; i++) {
            const uint8_t *at = tile + 4 * d * f + 64 * (r + i);
            const __m512i v = _mm512_loadu_si512(at);
            if (i % 2 == 0)
                tq_ask_ahead(at, sink->ahead, n);
            put_values(sink, sink->w + 4 * (g + f), &v, 1, g + f, r, i, d, n, nr);
        }
    }
}

/* nr rows of tiles [tile0, tile1). */
CPU_INLINE void walk_value_tiles(struct value_sink *sink, const uint8_t *code, int bits,
                                 int d, int tile0, int tile1, int r, __m512i table, int n,
                                 int nr)
{
    if (bits == 3) {
        for (int t = tile0 / 2 * 2; t < tile1; t += 2)
            walk_values3(sink, code, d, t, tile0, tile1, r, table, n, nr);
        return;
    }
    for (int t = tile0; t < tile1; t++) {
        const uint8_t *tile = code + 2 * bits * d * t;
        if (bits == 8) {
            walk_value_bytes(sink, tile, 4 * t, d, r, n, nr);
        } else if (bits == 2) {
            walk_values(sink, tile, 2, 4 * t, d, r, table, n, nr);
        } else {
            walk_values(sink, tile, 4, 4 * t, d, r, table, n, nr);
            walk_values(sink, tile + 4 * d, 4, 4 * t + 2, d, r, table, n, nr);
        }
    }
}

CPU_INLINE void expand_tiles(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                             int tile1)
{
    const __m512i table = tq_level_table(bits, 0);
    struct value_sink sink = {.out = out};
    int r = 0;
    for (; r + 4 <= d / 16; r += 4)
        walk_value_tiles(&sink, code, bits, d, tile0, tile1, r, table, 0, 4);
    for (; r < d / 16; r++)
        walk_value_tiles(&sink, code, bits, d, tile0, tile1, r, table, 0, 1);
}

void tq_expand_v_avx512vnni(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                            int tile1)
{
    if (bits == 8)
        memcpy(out + 16 * d * tile0, code + 16 * d * tile0,
               (size_t)(16 * d * (tile1 - tile0)));
    else if (bits == 4)
        expand_tiles(out, code, 4, d, tile0, tile1);
    else if (bits == 3)
        expand_tiles(out, code, 3, d, tile0, tile1);
    else
        expand_tiles(out, code, 2, d, tile0, tile1);
}

/* The weighted sum of nr rows for nq queries. */
CPU_INLINE void sum_rows(float *o, const uint8_t *code, int bits, const uint8_t *w,
                         const float *g, const float *c, int d, int nq, int r, int nr,
                         int tile0, int tile1, struct tq_places next)
{
    const __m512i table = bits == 8 ? tq_byte_mask(0) : tq_level_table(bits, 0);
    const int limbs = bits == 8 ? 2 : 1, n = nq * limbs;
    struct value_sink sink = {.w = w, .ahead = {code, next}};
    TQ_UNROLL
    for (int i = 0; i < n * nr; i++)
        sink.acc[i] = _mm512_setzero_si512();
    walk_value_tiles(&sink, code, bits, d, tile0, tile1, r, table, n, nr);
    TQ_UNROLL
    for (int k = 0; k < nq; k++) {
        TQ_UNROLL
        for (int i = 0; i < nr; i++) {
            __m512i total = sink.acc[k * limbs * nr + i];
            if (limbs == 2)
                total = _mm512_add_epi32(_mm512_slli_epi32(total, 8),
                                         sink.acc[(k * limbs + 1) * nr + i]);
            tq_add_total(o + k * d + 16 * (r + i), total, g[k], c[k]);
        }
    }
}

CPU_INLINE void sum_queries(float *o, const uint8_t *code, int bits, const uint8_t *w,
                            const float *g, const float *c, int d, int nq, int tile0,
                            int tile1, struct tq_places next)
{
    int r = 0;
    if (nq * (bits == 8 ? 2 : 1) <= 2)
        for (; r + 8 <= d / 16; r += 8)
            sum_rows(o, code, bits, w, g, c, d, nq, r, 8, tile0, tile1, next);
    else if (bits == 3) // its tables take registers too
        for (; r + 2 <= d / 64 * 4; r += 2)
            sum_rows(o, code, bits, w, g, c, d, nq, r, 2, tile0, tile1, next);
    for (; r + 4 <= d / 16; r += 4)
        sum_rows(o, code, bits, w, g, c, d, nq, r, 4, tile0, tile1, next);
    for (r = d / 64 * 4; r < d / 16; r++) // where r is, which GCC 12 does not see
        sum_rows(o, code, bits, w, g, c, d, nq, r, 1, tile0, tile1, next);
}

/* As with scores. */
CPU_INLINE void sum_sizes(float *o, const uint8_t *code, int bits, const uint8_t *w,
                          const float *g, const float *c, int d, int nq, int tile0,
                          int tile1, struct tq_places next)
{
    if (bits < 8 && d == 64)
        sum_queries(o, code, bits, w, g, c, 64, nq, tile0, tile1, next);
    else if (bits < 8 && d == 128)
        sum_queries(o, code, bits, w, g, c, 128, nq, tile0, tile1, next);
    else if (bits < 8 && d == 256)
        sum_queries(o, code, bits, w, g, c, 256, nq, tile0, tile1, next);
    else
        sum_queries(o, code, bits, w, g, c, d, nq, tile0, tile1, next);
}

/* Some queries of each code, apart as the scores are. */
#define SUM(bits, nq)                                                                    \
    static TQ_APART void sum##bits##_##nq(                                               \
        float *o, const uint8_t *code, const uint8_t *w, const float *g, const float *c, \
        int d, int tile0, int tile1, struct tq_places next)                              \
    {                                                                                    \
        sum_sizes(o, code, bits, w, g, c, d, nq, tile0, tile1, next);                    \
    }
#define SUMS_OF(bits) \
    SUM(bits, 4)      \
    SUM(bits, 3)      \
    SUM(bits, 2)      \
    SUM(bits, 1)
SUMS_OF(4)
SUMS_OF(3)
SUMS_OF(2)
SUM(8, 2)
SUM(8, 1)

typedef void sum_fn(float *o, const uint8_t *code, const uint8_t *w, const float *g,
                    const float *c, int d, int tile0, int tile1, struct tq_places next);

void tq_sum_packed_avx512vnni(float *o, const uint8_t *code, int bits, const uint8_t *w,
                              const float *g, const float *c, int d, int n, int tile0,
                              int tile1, struct tq_places next)
{
    static sum_fn *const sums[][4] = {{sum2_1, sum2_2, sum2_3, sum2_4},
                                      {sum3_1, sum3_2, sum3_3, sum3_4},
                                      {sum4_1, sum4_2, sum4_3, sum4_4},
                                      {sum8_1, sum8_2}};
    sum_fn *const *sum = sums[bits == 8 ? 3 : bits - 2];
    const int limbs = bits == 8 ? 2 : 1, block = 4 / limbs;
    for (int i = 0, nq; i < n; i += nq) {
        nq = n - i < block ? n - i : block;
        sum[nq - 1](o + i * d, code, w + i * limbs * TOKENS, g + i, c + i, d, tile0,
                    tile1, next);
    }
}

CPU_TARGET_END

#endif
