/* kernels_avx512vnni_keys.c - packed codes of keys for AVX-512 with VNNI and
 * VBMI: expanded to int8 levels in memory for many queries, or used from registers,
 * without a store, for few.
 *
 * Each kernel walks over the rows of a tile and hands the levels to a sink, which stores
 * them or multiplies them; which one is a constant where it is inlined. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include "codec/ahead_avx512.h"
#include "codec/avx512.h"
#include "codec/levels_avx512vnni.h"
#include "cpu/byte_products.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

enum { TOKENS = TQ_PAGE_TOKENS, ROWS = 8 };

/* What happens to vectors of 16 keys x 4 dimensions. */
struct key_sink {
    uint8_t *out;            // of a tile, if n is 0
    int n;                   // rows of queries, a constant
    const int8_t *row[ROWS]; // of d bytes
    __m512i acc[ROWS][2];    // of even and odd vectors: shorter chains
    struct tq_ask ahead;     // if n is not 0
};

/* `count` vectors from dimension 4 * at on. */
CPU_INLINE void put_keys(struct key_sink *sink, const __m512i *v, int count, int at,
                         int n)
{
    TQ_UNROLL
    for (int f = 0; f < count; f++) {
        if (n == 0)
            _mm512_storeu_si512(sink->out + 64 * (at + f), v[f]);
        TQ_UNROLL
        for (int i = 0; i < n; i++)
            sink->acc[i][f % 2] = cpu_dpbusd_512_four(sink->acc[i][f % 2], v[f],
                                                      sink->row[i] + 4 * (at + f));
    }
}

/* Row r of a tile whose only array has fields of b = 2 or 4 bits. */
CPU_INLINE void put_key_row(struct key_sink *sink, struct tq_key_walk *walk,
                            __m512i after, int b, int r, __m512i table, int n)
{
    __m512i x, v[4];
    const __m512i z1 = tq_key_walk_row(walk, after, &x);
    if (b == 4) {
        tq_levels4(v, x, z1, table);
        put_keys(sink, v, 2, 2 * r, n);
    } else {
        tq_levels2(v, x, z1, table);
        put_keys(sink, v, 4, 4 * r, n);
    }
}

CPU_INLINE void walk_keys(struct key_sink *sink, const uint8_t *tile, int b, int d,
                          __m512i table, int n)
{
    const int rows = d * b / 32;
    struct tq_key_walk walk;
    tq_key_walk_start(&walk, tile, rows, b);
    int r = 0;
    for (; r + 4 <= rows; r += 2) {
        const uint8_t *at = tile + 64 * r;
        tq_ask_ahead(at, sink->ahead, n);
        put_key_row(sink, &walk, _mm512_loadu_si512(at + 128), b, r, table, n);
        put_key_row(sink, &walk, _mm512_loadu_si512(at + 192), b, r + 1, table, n);
    }
    if (rows % 2) {
        put_key_row(sink, &walk, _mm512_loadu_si512(tile + 64 * (r + 2)), b, r, table, n);
        r++;
    }
    tq_ask_ahead(tile + 64 * r, sink->ahead, n);
    put_key_row(sink, &walk, walk.wrapped[0], b, r, table, n);
    put_key_row(sink, &walk, walk.wrapped[1], b, r + 1, table, n);
}

/* Rows r and r + rows of w of turbo3 with v in dwords: bit 2g + e of v row r goes with
 * field g of w row r + e * rows. */
CPU_INLINE void put_key_rows3(struct key_sink *sink, struct tq_key_walk *walk,
                              __m512i after, const uint8_t *tile, int rows, int r,
                              __m512i table, int n)
{
    const __m512i even_bits = tq_byte_mask(0x55);
    __m512i x, v[4];
    const __m512i z1 = tq_key_walk_row(walk, after, &x);
    if (r % 2 == 0) {
        tq_ask_ahead(tile + 64 * r, sink->ahead, n);
        tq_ask_ahead(tile + 64 * (r + rows), sink->ahead, n);
        tq_ask_ahead(tile + 64 * (r + 2 * rows), sink->ahead, n);
    }
    tq_levels3(v, _mm512_loadu_si512(tile + 64 * r),
               tq_choose(even_bits, x, _mm512_slli_epi16(z1, 1)), table);
    put_keys(sink, v, 4, 4 * r, n);
    tq_levels3(v, _mm512_loadu_si512(tile + 64 * (r + rows)),
               tq_choose(even_bits, _mm512_srli_epi16(x, 1), z1), table);
    put_keys(sink, v, 4, 4 * (r + rows), n);
}

CPU_INLINE void walk_keys3(struct key_sink *sink, const uint8_t *tile, int d,
                           __m512i table, int n)
{
    const int rows = d / 32;
    const uint8_t *v = tile + 4 * d;
    struct tq_key_walk walk;
    tq_key_walk_start(&walk, v, rows, 1);
    for (int r = 0; r < rows - 2; r++)
        put_key_rows3(sink, &walk, _mm512_loadu_si512(v + 64 * (r + 2)), tile, rows, r,
                      table, n);
    put_key_rows3(sink, &walk, walk.wrapped[0], tile, rows, rows - 2, table, n);
    put_key_rows3(sink, &walk, walk.wrapped[1], tile, rows, rows - 1, table, n);
}

/* turbo3 with v in 16-bit words, d = 80 and 112. */
CPU_INLINE void walk_keys3_words(struct key_sink *sink, const uint8_t *tile, int d,
                                 __m512i table, int n)
{
    struct tq_key_words words;
    tq_key_words_load(&words, tile + 4 * d, d / 16);
    for (int r = 0; r < d / 16; r++) {
        __m512i v[4];
        if (r % 2 == 0)
            tq_ask_ahead(tile + 64 * r, sink->ahead, n);
        if (r % 4 == 0)
            tq_ask_ahead(tile + 4 * d + 32 * r, sink->ahead, n);
        tq_key_words_row(v, &words, _mm512_loadu_si512(tile + 64 * r), r, table);
        put_keys(sink, v, 4, 4 * r, n);
    }
}

CPU_INLINE void walk_bytes(struct key_sink *sink, const uint8_t *tile, int d, int n)
{
    for (int r = 0; r < d / 4; r += 2) {
        __m512i v[2];
        TQ_UNROLL
        for (int f = 0; f < 2; f++) {
            v[f] = _mm512_xor_si512(_mm512_loadu_si512(tile + 64 * (r + f)),
                                    tq_byte_mask(0x80));
        }
        tq_ask_ahead(tile + 64 * r, sink->ahead, n);
        put_keys(sink, v, 2, r, n);
    }
}

/* All levels + 128 of a tile. */
CPU_INLINE void walk_tile(struct key_sink *sink, const uint8_t *tile, int bits, int d,
                          __m512i table, int n)
{
    if (bits == 8)
        walk_bytes(sink, tile, d, n);
    else if (bits == 4)
        walk_keys(sink, tile, 4, d, table, n);
    else if (bits == 2)
        walk_keys(sink, tile, 2, d, table, n);
    else if (tq_v_word_bits(d) == 32)
        walk_keys3(sink, tile, d, table, n);
    else
        walk_keys3_words(sink, tile, d, table, n);
}

CPU_INLINE __m512i key_table(int bits)
{
    return bits == 8 ? tq_byte_mask(0) : tq_level_table(bits, 128);
}

void tq_expand_k_avx512vnni(uint8_t *out, const uint8_t *code, int bits, int d, int tile0,
                            int tile1)
{
    const __m512i table = key_table(bits);
    for (int t = tile0; t < tile1; t++) {
        struct key_sink sink = {.out = out + t * 16 * d};
        walk_tile(&sink, code + t * 2 * bits * d, bits, d, table, 0);
    }
}

/* n rows, which are nq queries with one limb or two, against the tiles. */
CPU_INLINE void score_rows(float *s, const uint8_t *code, int bits,
                           const uint16_t *kscale, const struct tq_code_queries *q,
                           int i0, int d, int nq, int limbs, int tile0, int tile1,
                           struct tq_places next)
{
    const __m512i table = key_table(bits);
    const int n = nq * limbs;
    struct tq_score_terms terms[4];
    TQ_UNROLL
    for (int i = 0; i < nq; i++)
        terms[i] = tq_score_terms(q, i0 + i);
    for (int t = tile0; t < tile1; t++) {
        struct key_sink sink = {.ahead = {code, next}};
        TQ_UNROLL
        for (int i = 0; i < n; i++) {
            sink.row[i] = (i < nq ? q->hi : q->lo) + (i0 + i % nq) * d;
            sink.acc[i][0] = i < n - nq ? _mm512_setzero_si512() : terms[i % nq].start;
            sink.acc[i][1] = _mm512_setzero_si512();
        }
        walk_tile(&sink, code + t * 2 * bits * d, bits, d, table, n);
        const __m512 scale = tq_load_scales(kscale + 16 * t);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            __m512i dot = _mm512_add_epi32(sink.acc[i][0], sink.acc[i][1]);
            if (limbs == 2)
                dot = _mm512_add_epi32(
                    _mm512_slli_epi32(dot, 7),
                    _mm512_add_epi32(sink.acc[nq + i][0], sink.acc[nq + i][1]));
            tq_store_scores(s + (i0 + i) * TOKENS + 16 * t, dot, &terms[i], scale,
                            q->bias);
        }
    }
}

CPU_INLINE void score_all(float *s, const uint8_t *code, int bits, const uint16_t *kscale,
                          const struct tq_code_queries *q, int d, int n, int tile0,
                          int tile1, struct tq_places next)
{
    const int limbs = bits == 8 ? 2 : 1;
    int i = 0;
    for (; i + 4 <= n; i += 4)
        score_rows(s, code, bits, kscale, q, i, d, 4, limbs, tile0, tile1, next);
    if (n - i == 3) {
        score_rows(s, code, bits, kscale, q, i, d, 3, limbs, tile0, tile1, next);
        return;
    }
    for (; i + 2 <= n; i += 2)
        score_rows(s, code, bits, kscale, q, i, d, 2, limbs, tile0, tile1, next);
    if (i < n)
        score_rows(s, code, bits, kscale, q, i, d, 1, limbs, tile0, tile1, next);
}

/* Heads of common sizes have constant addresses, which leaves registers for the rest. */
CPU_INLINE void score_sizes(float *s, const uint8_t *code, int bits,
                            const uint16_t *kscale, const struct tq_code_queries *q,
                            int d, int n, int tile0, int tile1, struct tq_places next)
{
    if (bits < 8 && d == 64)
        score_all(s, code, bits, kscale, q, 64, n, tile0, tile1, next);
    else if (bits < 8 && d == 128)
        score_all(s, code, bits, kscale, q, 128, n, tile0, tile1, next);
    else if (bits < 8 && d == 256)
        score_all(s, code, bits, kscale, q, 256, n, tile0, tile1, next);
    else
        score_all(s, code, bits, kscale, q, d, n, tile0, tile1, next);
}

/* One function for each code: compilers take long over one of all. */
#define SCORE(bits)                                                                 \
    static TQ_APART void score##bits(float *s, const uint8_t *code,                 \
                                     const uint16_t *kscale,                        \
                                     const struct tq_code_queries *q, int d, int n, \
                                     int tile0, int tile1, struct tq_places next)   \
    {                                                                               \
        score_sizes(s, code, bits, kscale, q, d, n, tile0, tile1, next);            \
    }
SCORE(8)
SCORE(4)
SCORE(3)
SCORE(2)

void tq_score_packed_avx512vnni(float *s, const uint8_t *code, int bits,
                                const uint16_t *kscale, const struct tq_code_queries *q,
                                int d, int n, int tile0, int tile1, struct tq_places next)
{
    if (bits == 8)
        score8(s, code, kscale, q, d, n, tile0, tile1, next);
    else if (bits == 4)
        score4(s, code, kscale, q, d, n, tile0, tile1, next);
    else if (bits == 3)
        score3(s, code, kscale, q, d, n, tile0, tile1, next);
    else
        score2(s, code, kscale, q, d, n, tile0, tile1, next);
}

CPU_TARGET_END

#endif
