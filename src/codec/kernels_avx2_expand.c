/* kernels_avx2_expand.c - codes to int8 levels for AVX2.
 *
 * The method of kernels_avx512_expand.c in half rows: eight of the 16 words or lanes.
 * Levels come from vpshufb, which reads 4 bits: turbo4 looks up both values of z1 and
 * takes one. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <string.h>

#include "codec/avx2.h"
#include "codec/layout.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX2)

enum { ROW_BYTES = 64 };

CPU_INLINE __m256i byte_mask(int m)
{
    return _mm256_set1_epi8((char)m);
}

CPU_INLINE __m256i choose(__m256i mask, __m256i a, __m256i b)
{
    return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}

CPU_INLINE __m256i xor3(__m256i a, __m256i b, __m256i c)
{
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
}

CPU_INLINE __m256i load(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

CPU_INLINE void store(uint8_t *p, __m256i x)
{
    _mm256_storeu_si256((void *)p, x);
}

/* Levels + bias over the index that the kernels below form.  4 bits: v, w (3) from bit 0
 * up, one table for each z1.  3 bits: v, z1, w (2).  2 bits: v, w, z1, any. */
struct level_tables {
    __m256i t[2];
};

static struct level_tables load_levels(int bits, int bias)
{
    const int8_t *level = tq_level[bits - 2];
    const __m128i low = _mm_loadu_si128((const void *)level),
                  high = _mm_loadu_si128((const void *)(level + 16));
    struct level_tables tables;
    for (int z1 = 0; z1 < 2; z1++) {
        __m128i t = low;
        if (bits == 4) { // 4 w + 2 z1 + v
            const __m128i at = _mm_add_epi8(_mm_set1_epi64x(0x0D0C090805040100),
                                            _mm_set1_epi8((char)(2 * z1)));
            t = _mm_unpacklo_epi64(_mm_shuffle_epi8(low, at), _mm_shuffle_epi8(high, at));
        } else if (bits == 2) {
            t = _mm_shuffle_epi8(low, _mm_set1_epi64x(0x0706030205040100));
        }
        tables.t[z1] =
            _mm256_broadcastsi128_si256(_mm_add_epi8(t, _mm_set1_epi8((char)bias)));
    }
    return tables;
}

CPU_INLINE __m256i look_up(const struct level_tables *t, __m256i index)
{
    return _mm256_shuffle_epi8(t->t[0], _mm256_and_si256(index, byte_mask(15)));
}

/* Two outputs from 4-bit fields x and their z1 in bit 0 of each field. */
CPU_INLINE void levels4(__m256i out[2], __m256i x, __m256i z1,
                        const struct level_tables *t)
{
    const __m256i lo = _mm256_and_si256(x, byte_mask(15)),
                  hi = _mm256_and_si256(_mm256_srli_epi16(x, 4), byte_mask(15));
    out[0] =
        _mm256_blendv_epi8(_mm256_shuffle_epi8(t->t[0], lo),
                           _mm256_shuffle_epi8(t->t[1], lo), _mm256_slli_epi16(z1, 7));
    out[1] =
        _mm256_blendv_epi8(_mm256_shuffle_epi8(t->t[0], hi),
                           _mm256_shuffle_epi8(t->t[1], hi), _mm256_slli_epi16(z1, 3));
}

/* Four outputs from indices in the nibbles of even and odd. */
CPU_INLINE void four_levels(__m256i out[4], __m256i even, __m256i odd,
                            const struct level_tables *t)
{
    out[0] = look_up(t, even);
    out[1] = look_up(t, odd);
    out[2] = look_up(t, _mm256_srli_epi16(even, 4));
    out[3] = look_up(t, _mm256_srli_epi16(odd, 4));
}

/* Four outputs from 2-bit fields x and their z1 in bit 0 of each field. */
CPU_INLINE void levels2(__m256i out[4], __m256i x, __m256i z1,
                        const struct level_tables *t)
{
    const __m256i low = byte_mask(0x33);
    four_levels(out, choose(low, x, _mm256_slli_epi16(z1, 2)),
                choose(low, _mm256_srli_epi16(x, 2), z1), t);
}

/* Four outputs of turbo3 from 2-bit fields w and, for the same fields, pairs
 * v | z1 << 1. */
CPU_INLINE void levels3(__m256i out[4], __m256i w, __m256i pairs,
                        const struct level_tables *t)
{
    const __m256i low = byte_mask(0x33);
    four_levels(out, choose(low, pairs, _mm256_slli_epi16(w, 2)),
                choose(low, _mm256_srli_epi16(pairs, 2), w), t);
}

/* ---- keys ---- */

CPU_INLINE void store4(uint8_t *out, int step, const __m256i v[4])
{
    TQ_UNROLL
    for (int f = 0; f < 4; f++)
        store(out + f * step, v[f]);
}

/* The same words one row of b-bit fields earlier or later. */
CPU_INLINE __m256i fields_up(__m256i x, int b)
{
    return _mm256_or_si256(_mm256_slli_epi32(x, b), _mm256_srli_epi32(x, 32 - b));
}

CPU_INLINE __m256i fields_down(__m256i x, int b)
{
    return _mm256_or_si256(_mm256_srli_epi32(x, b), _mm256_slli_epi32(x, 32 - b));
}

/* Half a tile whose only array has fields of b = 2 or 4 bits. */
CPU_INLINE void expand_key_half(uint8_t *out, const uint8_t *tile, int b, int d,
                                const struct level_tables *t)
{
    const int rows = d * b / 32;
    const __m256i first = load(tile), second = load(tile + ROW_BYTES);
    __m256i before = fields_up(load(tile + ROW_BYTES * (rows - 1)), b), x = first,
            next = second;
    for (int n = 0; n < rows; n++) {
        __m256i after;
        if (n + 2 < rows)
            after = load(tile + ROW_BYTES * (n + 2));
        else
            after = fields_down(n + 2 == rows ? first : second, b);
        const __m256i z1 = xor3(after, next, before);
        __m256i v[4];
        if (b == 4) {
            levels4(v, x, z1, t);
            store(out + 128 * n, v[0]);
            store(out + 128 * n + 64, v[1]);
        } else {
            levels2(v, x, z1, t);
            store4(out + 256 * n, 64, v);
        }
        before = x;
        x = next;
        next = after;
    }
}

/* turbo3 with v in dwords: bit 2g + e of v row n goes with field g of w row n + e * rows.
 */
CPU_INLINE void expand_key_half3(uint8_t *out, const uint8_t *tile, int d,
                                 const struct level_tables *t)
{
    const int rows = d / 32;
    const uint8_t *vrow = tile + 4 * d;
    const __m256i first = load(vrow), second = load(vrow + ROW_BYTES);
    const __m256i even_bits = byte_mask(0x55);
    __m256i before = fields_up(load(vrow + ROW_BYTES * (rows - 1)), 1), x = first,
            next = second;
    for (int n = 0; n < rows; n++) {
        __m256i after, v[4];
        if (n + 2 < rows)
            after = load(vrow + ROW_BYTES * (n + 2));
        else
            after = fields_down(n + 2 == rows ? first : second, 1);
        const __m256i z1 = xor3(after, next, before);
        const __m256i even = choose(even_bits, x, _mm256_slli_epi16(z1, 1));
        const __m256i odd = choose(even_bits, _mm256_srli_epi16(x, 1), z1);
        levels3(v, load(tile + ROW_BYTES * n), even, t);
        store4(out + 256 * n, 64, v);
        levels3(v, load(tile + ROW_BYTES * (n + rows)), odd, t);
        store4(out + 256 * (n + rows), 64, v);
        before = x;
        x = next;
        next = after;
    }
}

/* Nibble c of a 16-bit word to byte c of a dword. */
CPU_INLINE __m256i spread(__m128i words)
{
    __m256i x = _mm256_cvtepu16_epi32(words);
    x = _mm256_and_si256(_mm256_or_si256(x, _mm256_slli_epi32(x, 8)),
                         _mm256_set1_epi32(0x00ff00ff));
    return _mm256_and_si256(_mm256_or_si256(x, _mm256_slli_epi32(x, 4)), byte_mask(15));
}

/* turbo3 with v in 16-bit words, d = 80 and 112: bit g goes with field g of the same row,
 * byte g / 4. */
static void expand_key_half3_words(uint8_t *out, const uint8_t *tile, const uint8_t *vrow,
                                   int d, const struct level_tables *t)
{
    const int rows = d / 16;
    __m128i v[TQ_DIM_MAX / 16 + 3]; // one row before the first, two after the last
    for (int n = 0; n < rows; n++)
        v[n + 1] = _mm_loadu_si128((const void *)(vrow + 32 * n));
    v[0] = _mm_or_si128(_mm_slli_epi16(v[rows], 1), _mm_srli_epi16(v[rows], 15));
    for (int n = 1; n <= 2; n++)
        v[rows + n] = _mm_or_si128(_mm_srli_epi16(v[n], 1), _mm_slli_epi16(v[n], 15));
    for (int n = 0; n < rows; n++) {
        const __m256i z0 = spread(v[n + 1]);
        const __m256i z1 = spread(_mm_xor_si128(_mm_xor_si128(v[n + 3], v[n + 2]), v[n]));
        const __m256i w = load(tile + ROW_BYTES * n);
        TQ_UNROLL
        for (int f = 0; f < 4; f++) {
            const __m256i one = byte_mask(1), three = byte_mask(3);
            const __m256i bit0 = _mm256_and_si256(_mm256_srli_epi16(z0, f), one);
            const __m256i bit1 = _mm256_and_si256(_mm256_srli_epi16(z1, f), one);
            const __m256i pair = _mm256_add_epi8(bit0, _mm256_add_epi8(bit1, bit1));
            const __m256i high = _mm256_and_si256(_mm256_srli_epi16(w, 2 * f), three);
            store(out + 256 * n + 64 * f,
                  look_up(t, _mm256_or_si256(pair, _mm256_slli_epi16(high, 2))));
        }
    }
}

static void bytes_with_bias(uint8_t *out, const uint8_t *code, int bytes)
{
    for (int i = 0; i < bytes; i += 32)
        store(out + i, _mm256_xor_si256(load(code + i), byte_mask(0x80)));
}

void tq_expand_k_avx2(uint8_t *out, const uint8_t *code, int bits, int d, int tile0,
                      int tile1)
{
    if (bits == 8) {
        bytes_with_bias(out + 16 * d * tile0, code + 16 * d * tile0,
                        16 * d * (tile1 - tile0));
        return;
    }
    const struct level_tables t = load_levels(bits, 128);
    for (int i = 2 * tile0; i < 2 * tile1; i++) {
        const int half = i % 2;
        const uint8_t *tile = code + i / 2 * 2 * bits * d, *words = tile + 32 * half;
        uint8_t *to = out + i / 2 * 16 * d + 32 * half;
        if (bits == 4)
            expand_key_half(to, words, 4, d, &t);
        else if (bits == 2)
            expand_key_half(to, words, 2, d, &t);
        else if (tq_v_word_bits(d) == 32)
            expand_key_half3(to, words, d, &t);
        else
            expand_key_half3_words(to, words, tile + 4 * d + 16 * half, d, &t);
    }
}

/* ---- values ---- */

/* Half of a row whose lane l is lane l + 1 of the row, modulo 16. */
CPU_INLINE __m256i lanes_down(const uint8_t *row, int half)
{
    if (!half)
        return load(row + 4);
    const __m256i turned = _mm256_permutevar8x32_epi32(
        load(row + 32), _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
    return _mm256_blend_epi32(turned, tq_four_bytes(row), 0x80);
}

/* Lane l is lane l - 1 of the row. */
CPU_INLINE __m256i lanes_up(const uint8_t *row, int half)
{
    if (half)
        return load(row + 28);
    const __m256i turned =
        _mm256_permutevar8x32_epi32(load(row), _mm256_setr_epi32(7, 0, 1, 2, 3, 4, 5, 6));
    return _mm256_blend_epi32(turned, tq_four_bytes(row + 60), 0x01);
}

/* Half the dimensions of a block of 8 (b = 4) or 16 (b = 2) tokens; groups of four go to
 * out, d * 4 bytes each. */
CPU_INLINE void expand_value_half(uint8_t *out, const uint8_t *block, int half, int b,
                                  int d, const struct level_tables *t)
{
    const int rows = d / 16;
    const uint8_t *row = block + 32 * half;
    __m256i before = lanes_up(block + ROW_BYTES * (rows - 1), half), x = load(row),
            next = load(row + ROW_BYTES);
    out += 32 * half;
    for (int r = 0; r < rows; r++) {
        __m256i after, v[4];
        if (r + 2 < rows)
            after = load(row + ROW_BYTES * (r + 2));
        else
            after = lanes_down(block + ROW_BYTES * (r + 2 - rows), half);
        const __m256i z1 = xor3(after, next, before);
        if (b == 4) {
            levels4(v, x, z1, t);
            store(out + 64 * r, v[0]);
            store(out + 64 * r + 4 * d, v[1]);
        } else {
            levels2(v, x, z1, t);
            store4(out + 64 * r, 4 * d, v);
        }
        before = x;
        x = next;
        next = after;
    }
}

/* 16 tokens of turbo3: bit shift + f of a byte of v goes with field f of w. */
CPU_INLINE void expand_value_half3(uint8_t *out, const uint8_t *wblock,
                                   const uint8_t *vblock, int half, int shift, int d,
                                   const struct level_tables *t)
{
    const int rows = d / 16;
    const uint8_t *row = vblock + 32 * half;
    const __m256i low = byte_mask(0x03), even_bits = byte_mask(0x55);
    __m256i before = lanes_up(vblock + ROW_BYTES * (rows - 1), half), x = load(row),
            next = load(row + ROW_BYTES);
    out += 32 * half;
    for (int r = 0; r < rows; r++) {
        __m256i after, v[4];
        if (r + 2 < rows)
            after = load(row + ROW_BYTES * (r + 2));
        else
            after = lanes_down(vblock + ROW_BYTES * (r + 2 - rows), half);
        const __m256i z1 = _mm256_srli_epi16(xor3(after, next, before), shift);
        const __m256i z0 = _mm256_srli_epi16(x, shift);
        const __m256i w = load(wblock + 32 * half + ROW_BYTES * r);
        const __m256i even = choose(even_bits, z0, _mm256_slli_epi16(z1, 1));
        const __m256i odd = choose(even_bits, _mm256_srli_epi16(z0, 1), z1);
        v[0] = choose(low, even, _mm256_slli_epi16(w, 2));
        v[1] = choose(low, odd, w);
        v[2] = choose(low, _mm256_srli_epi16(even, 2), _mm256_srli_epi16(w, 2));
        v[3] = choose(low, _mm256_srli_epi16(odd, 2), _mm256_srli_epi16(w, 4));
        TQ_UNROLL
        for (int f = 0; f < 4; f++)
            v[f] = look_up(t, v[f]);
        store4(out + 64 * r, 4 * d, v);
        before = x;
        x = next;
        next = after;
    }
}

static void expand_value_tile3(uint8_t *out, const uint8_t *group, int odd, int d,
                               const struct level_tables *t)
{
    const uint8_t *w = group + odd * 4 * d, *v = group + 8 * d;
    if (odd) {
        expand_value_half3(out, w, v, 0, 4, d, t);
        expand_value_half3(out, w, v, 1, 4, d, t);
    } else {
        expand_value_half3(out, w, v, 0, 0, d, t);
        expand_value_half3(out, w, v, 1, 0, d, t);
    }
}

void tq_expand_v_avx2(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                      int tile1)
{
    if (bits == 8) {
        memcpy(out + 16 * d * tile0, code + 16 * d * tile0,
               (size_t)(16 * d * (tile1 - tile0)));
        return;
    }
    const struct level_tables t = load_levels(bits, 0);
    for (int i = tile0; i < tile1; i++) {
        uint8_t *to = (uint8_t *)out + i * 16 * d;
        if (bits == 3) {
            expand_value_tile3(to, code + i / 2 * 12 * d, i % 2, d, &t);
        } else if (bits == 2) {
            expand_value_half(to, code + 4 * d * i, 0, 2, d, &t);
            expand_value_half(to, code + 4 * d * i, 1, 2, d, &t);
        } else {
            for (int b = 0; b < 2; b++) {
                expand_value_half(to + 8 * d * b, code + 4 * d * (2 * i + b), 0, 4, d,
                                  &t);
                expand_value_half(to + 8 * d * b, code + 4 * d * (2 * i + b), 1, 4, d,
                                  &t);
            }
        }
    }
}

void tq_turn_levels_avx2(int8_t *out, const uint8_t *in, int d, int tile0, int tile1)
{
    const __m128i by_dim =
        _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m128i sign = _mm_set1_epi8(-128);
    for (int tile = tile0; tile < tile1; tile++)
        for (int i = 0; i < d; i += 4)
            for (int j = 0; j < 16; j += 4) { // 4 keys x 4 dims
                const __m128i keys =
                    _mm_loadu_si128((const void *)(in + (tile * d + i) * 16 + 4 * j));
                const __m128i dims = _mm_shuffle_epi8(_mm_xor_si128(keys, sign), by_dim);
                _mm_storeu_si128((void *)(out + (16 * tile + j) * d + 4 * i), dims);
            }
}

CPU_TARGET_END

#endif
