/* kernels_avx512_expand.c - codes to int8 levels for AVX-512.
 *
 * Neighbours in trellis time are neighbouring rows; the row after the last is the first
 * one moved by one field (keys: a rotate of the words; values: of the lanes).  z1 of all
 * codes of a row is one exclusive or of three rows.  The 4 or 5 bits that select a level
 * are put side by side in each byte and looked up with vpermb, which reads 6 bits: the
 * tables repeat, so bits above the index do no harm. */
#include "codec/kernels.h"

#if defined(__x86_64__)

#include <string.h>

#include "codec/avx512.h"
#include "codec/layout.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512)

TQ_INLINE __m512i byte_mask(int m)
{
    return _mm512_set1_epi8((char)m);
}

TQ_INLINE __m512i choose(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(mask, a, b, TQ_SELECT);
}

TQ_INLINE __m512i xor3(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi64(a, b, c, TQ_XOR3);
}

/* Table of levels + bias over the index that the kernels below form: for 4 bits
 * v, w (3), z1 from bit 0 up; for 3 bits v, z1, w (2); for 2 bits v, w, z1. */
static __m512i level_table(int bits, int bias)
{
    static const _Alignas(64) uint8_t lane[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
        48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    const __m512i i = _mm512_load_si512(lane);
    const __m512i z0 = _mm512_and_si512(i, byte_mask(1));
    __m512i index; // 4 w + 2 z1 + z0
    if (bits == 4)
        index = _mm512_or_si512(
            _mm512_slli_epi16(_mm512_and_si512(i, byte_mask(0x0E)), 1),
            _mm512_or_si512(_mm512_srli_epi16(_mm512_and_si512(i, byte_mask(0x10)), 3),
                            z0));
    else if (bits == 3)
        index = _mm512_and_si512(i, byte_mask(0x0F));
    else
        index = _mm512_or_si512(
            _mm512_slli_epi16(_mm512_and_si512(i, byte_mask(2)), 1),
            _mm512_or_si512(_mm512_srli_epi16(_mm512_and_si512(i, byte_mask(4)), 1), z0));
    const __m512i levels =
        _mm512_castsi256_si512(_mm256_loadu_si256((const void *)tq_level[bits - 2]));
    return _mm512_add_epi8(_mm512_permutexvar_epi8(index, levels), byte_mask(bias));
}

/* Two outputs from a row x of 4-bit fields and its z1 in bit 0 of each field. */
TQ_INLINE void levels4(__m512i out[2], __m512i x, __m512i z1, __m512i table)
{
    const __m512i low = byte_mask(0x0F);
    out[0] = _mm512_permutexvar_epi8(choose(low, x, _mm512_slli_epi16(z1, 4)), table);
    out[1] = _mm512_permutexvar_epi8(choose(low, _mm512_srli_epi16(x, 4), z1), table);
}

/* Four outputs from a row x of 2-bit fields and its z1 in bit 0 of each field. */
TQ_INLINE void levels2(__m512i out[4], __m512i x, __m512i z1, __m512i table)
{
    const __m512i low = byte_mask(0x33);
    const __m512i even = choose(low, x, _mm512_slli_epi16(z1, 2));
    const __m512i odd = choose(low, _mm512_srli_epi16(x, 2), z1);
    out[0] = _mm512_permutexvar_epi8(even, table);
    out[1] = _mm512_permutexvar_epi8(odd, table);
    out[2] = _mm512_permutexvar_epi8(_mm512_srli_epi16(even, 4), table);
    out[3] = _mm512_permutexvar_epi8(_mm512_srli_epi16(odd, 4), table);
}

/* ---- keys ---- */

TQ_INLINE void store4(uint8_t *out, int step, const __m512i v[4])
{
    TQ_UNROLL
    for (int f = 0; f < 4; f++)
        _mm512_storeu_si512(out + f * step, v[f]);
}

/* The same words one row of fields earlier or later, b = 2 or 4. */
TQ_INLINE __m512i fields_up(__m512i x, int b)
{
    return b == 4 ? _mm512_rol_epi32(x, 4) : _mm512_rol_epi32(x, 2);
}

TQ_INLINE __m512i fields_down(__m512i x, int b)
{
    return b == 4 ? _mm512_ror_epi32(x, 4) : _mm512_ror_epi32(x, 2);
}

/* A tile whose only array has fields of b = 2 or 4 bits. */
TQ_INLINE void expand_key_tile(uint8_t *out, const uint8_t *tile, int b, int d,
                               __m512i table)
{
    const int rows = d * b / 32;
    const __m512i first = _mm512_loadu_si512(tile),
                  second = _mm512_loadu_si512(tile + 64);
    const __m512i last = _mm512_loadu_si512(tile + 64 * (rows - 1));
    __m512i before = fields_up(last, b), x = first, next = second;
    for (int n = 0; n < rows; n++) {
        __m512i after;
        if (n + 2 < rows)
            after = _mm512_loadu_si512(tile + 64 * (n + 2));
        else
            after = fields_down(n + 2 == rows ? first : second, b);
        const __m512i z1 = xor3(after, next, before);
        __m512i v[4];
        if (b == 4) {
            levels4(v, x, z1, table);
            _mm512_storeu_si512(out + 128 * n, v[0]);
            _mm512_storeu_si512(out + 128 * n + 64, v[1]);
        } else {
            levels2(v, x, z1, table);
            store4(out + 256 * n, 64, v);
        }
        before = x;
        x = next;
        next = after;
    }
}

/* Four outputs of turbo3 from a row w of 2-bit fields and, for the same fields, pairs
 * v | z1 << 1. */
TQ_INLINE void levels3(__m512i out[4], __m512i w, __m512i pairs, __m512i table)
{
    const __m512i low = byte_mask(0x33);
    const __m512i even = choose(low, pairs, _mm512_slli_epi16(w, 2));
    const __m512i odd = choose(low, _mm512_srli_epi16(pairs, 2), w);
    out[0] = _mm512_permutexvar_epi8(even, table);
    out[1] = _mm512_permutexvar_epi8(odd, table);
    out[2] = _mm512_permutexvar_epi8(_mm512_srli_epi16(even, 4), table);
    out[3] = _mm512_permutexvar_epi8(_mm512_srli_epi16(odd, 4), table);
}

/* turbo3 with v in dwords: bit 2g + e of v row n goes with field g of w row n + e * rows.
 */
TQ_INLINE void expand_key_tile3(uint8_t *out, const uint8_t *tile, int d, __m512i table)
{
    const int rows = d / 32;
    const uint8_t *vrow = tile + 4 * d;
    const __m512i first = _mm512_loadu_si512(vrow),
                  second = _mm512_loadu_si512(vrow + 64);
    const __m512i last = _mm512_loadu_si512(vrow + 64 * (rows - 1));
    const __m512i even_bits = byte_mask(0x55);
    __m512i before = _mm512_rol_epi32(last, 1), x = first, next = second;
    for (int n = 0; n < rows; n++) {
        __m512i after, v[4];
        if (n + 2 < rows)
            after = _mm512_loadu_si512(vrow + 64 * (n + 2));
        else
            after = _mm512_ror_epi32(n + 2 == rows ? first : second, 1);
        const __m512i z1 = xor3(after, next, before);
        const __m512i even = choose(even_bits, x, _mm512_slli_epi16(z1, 1));
        const __m512i odd = choose(even_bits, _mm512_srli_epi16(x, 1), z1);
        levels3(v, _mm512_loadu_si512(tile + 64 * n), even, table);
        store4(out + 256 * n, 64, v);
        levels3(v, _mm512_loadu_si512(tile + 64 * (n + rows)), odd, table);
        store4(out + 256 * (n + rows), 64, v);
        before = x;
        x = next;
        next = after;
    }
}

TQ_INLINE __m256i rotate_words_right(__m256i x)
{
    return _mm256_or_si256(_mm256_srli_epi16(x, 1), _mm256_slli_epi16(x, 15));
}

/* Byte c of each dword <- bits from 4c + f - at up of that dword. */
TQ_INLINE __m512i spread(__m512i x, int f, int at)
{
    const __m512i offset = _mm512_set1_epi64(0x2C2824200C080400);
    const __m512i shift = _mm512_add_epi8(offset, _mm512_set1_epi8((char)(f - at)));
    return _mm512_multishift_epi64_epi8(shift, x);
}

/* turbo3 with v in 16-bit words, d = 80 and 112: bit g goes with field g of the same row.
 */
static void expand_key_tile3_words(uint8_t *out, const uint8_t *tile, int d,
                                   __m512i table)
{
    const int rows = d / 16;
    __m256i v[TQ_DIM_MAX / 16 + 3]; // one row before the first, two after the last
    for (int n = 0; n < rows; n++)
        v[n + 1] = _mm256_loadu_si256((const void *)(tile + 4 * d + 32 * n));
    v[0] = _mm256_or_si256(_mm256_slli_epi16(v[rows], 1), _mm256_srli_epi16(v[rows], 15));
    v[rows + 1] = rotate_words_right(v[1]);
    v[rows + 2] = rotate_words_right(v[2]);
    for (int n = 0; n < rows; n++) {
        const __m256i z = _mm256_xor_si256(_mm256_xor_si256(v[n + 3], v[n + 2]), v[n]);
        const __m512i z0 = _mm512_cvtepu16_epi32(v[n + 1]), z1 = _mm512_cvtepu16_epi32(z);
        const __m512i w = _mm512_loadu_si512(tile + 64 * n);
        const __m512i fields[4] = {_mm512_slli_epi16(w, 2), w, _mm512_srli_epi16(w, 2),
                                   _mm512_srli_epi16(w, 4)};
        for (int f = 0; f < 4; f++) {
            const __m512i pair =
                choose(byte_mask(0x01), spread(z0, f, 0), spread(z1, f, 1));
            const __m512i index = choose(byte_mask(0x03), pair, fields[f]);
            _mm512_storeu_si512(out + 256 * n + 64 * f,
                                _mm512_permutexvar_epi8(index, table));
        }
    }
}

static void expand_bytes(uint8_t *out, const uint8_t *code, int bytes)
{
    for (int i = 0; i < bytes; i += 64)
        _mm512_storeu_si512(
            out + i, _mm512_xor_si512(_mm512_loadu_si512(code + i), byte_mask(0x80)));
}

void tq_expand_k_avx512(uint8_t *out, const uint8_t *code, int bits, int d, int tile0,
                        int tile1)
{
    if (bits == 8) {
        expand_bytes(out + 16 * d * tile0, code + 16 * d * tile0,
                     16 * d * (tile1 - tile0));
        return;
    }
    const __m512i table = level_table(bits, 128);
    for (int i = tile0; i < tile1; i++) {
        const uint8_t *tile = code + i * 2 * bits * d;
        uint8_t *to = out + i * 16 * d;
        if (bits == 4)
            expand_key_tile(to, tile, 4, d, table);
        else if (bits == 2)
            expand_key_tile(to, tile, 2, d, table);
        else if (tq_v_word_bits(d) == 32)
            expand_key_tile3(to, tile, d, table);
        else
            expand_key_tile3_words(to, tile, d, table);
    }
}

/* ---- values ---- */

TQ_INLINE __m512i lanes_down(__m512i x)
{
    return _mm512_alignr_epi32(x, x, 1);
}

/* A block of 8 (b = 4) or 16 (b = 2) tokens; groups of four go to out, d * 4 bytes each.
 */
TQ_INLINE void expand_value_block(int8_t *out, const uint8_t *block, int b, int d,
                                  __m512i table)
{
    const int rows = d / 16;
    const __m512i first = _mm512_loadu_si512(block),
                  second = _mm512_loadu_si512(block + 64);
    const __m512i last = _mm512_loadu_si512(block + 64 * (rows - 1));
    __m512i before = _mm512_alignr_epi32(last, last, 15), x = first, next = second;
    for (int r = 0; r < rows; r++) {
        __m512i after;
        if (r + 2 < rows)
            after = _mm512_loadu_si512(block + 64 * (r + 2));
        else
            after = lanes_down(r + 2 == rows ? first : second);
        const __m512i z1 = xor3(after, next, before);
        __m512i v[4];
        if (b == 4) {
            levels4(v, x, z1, table);
            _mm512_storeu_si512(out + 64 * r, v[0]);
            _mm512_storeu_si512(out + 64 * r + 4 * d, v[1]);
        } else {
            levels2(v, x, z1, table);
            store4((uint8_t *)out + 64 * r, 4 * d, v);
        }
        before = x;
        x = next;
        next = after;
    }
}

/* 16 tokens of turbo3: bit 4 * half + f of a byte of v goes with field f of w. */
TQ_INLINE void expand_value_block3(int8_t *out, const uint8_t *wrow, const uint8_t *vrow,
                                   int half, int d, __m512i table)
{
    const int rows = d / 16;
    const __m512i first = _mm512_loadu_si512(vrow),
                  second = _mm512_loadu_si512(vrow + 64);
    const __m512i last = _mm512_loadu_si512(vrow + 64 * (rows - 1));
    const __m512i low = byte_mask(0x03), even_bits = byte_mask(0x55);
    const __m128i shift = _mm_cvtsi32_si128(half ? 4 : 0);
    __m512i before = _mm512_alignr_epi32(last, last, 15), x = first, next = second;
    for (int r = 0; r < rows; r++) {
        __m512i after, v[4];
        if (r + 2 < rows)
            after = _mm512_loadu_si512(vrow + 64 * (r + 2));
        else
            after = lanes_down(r + 2 == rows ? first : second);
        const __m512i z1 = _mm512_srl_epi16(xor3(after, next, before), shift);
        const __m512i z0 = _mm512_srl_epi16(x, shift);
        const __m512i w = _mm512_loadu_si512(wrow + 64 * r);
        const __m512i even = choose(even_bits, z0, _mm512_slli_epi16(z1, 1));
        const __m512i odd = choose(even_bits, _mm512_srli_epi16(z0, 1), z1);
        v[0] = choose(low, even, _mm512_slli_epi16(w, 2));
        v[1] = choose(low, odd, w);
        v[2] = choose(low, _mm512_srli_epi16(even, 2), _mm512_srli_epi16(w, 2));
        v[3] = choose(low, _mm512_srli_epi16(odd, 2), _mm512_srli_epi16(w, 4));
        TQ_UNROLL
        for (int f = 0; f < 4; f++)
            v[f] = _mm512_permutexvar_epi8(v[f], table);
        store4((uint8_t *)out + 64 * r, 4 * d, v);
        before = x;
        x = next;
        next = after;
    }
}

void tq_expand_v_avx512(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                        int tile1)
{
    if (bits == 8) {
        memcpy(out + 16 * d * tile0, code + 16 * d * tile0,
               (size_t)(16 * d * (tile1 - tile0)));
        return;
    }
    const __m512i table = level_table(bits, 0);
    for (int i = tile0; i < tile1; i++) {
        int8_t *to = out + i * 16 * d;
        if (bits == 4) {
            expand_value_block(to, code + 8 * d * i, 4, d, table);
            expand_value_block(to + 8 * d, code + 8 * d * i + 4 * d, 4, d, table);
        } else if (bits == 2) {
            expand_value_block(to, code + 4 * d * i, 2, d, table);
        } else {
            const uint8_t *group = code + i / 2 * 12 * d;
            const uint8_t *w = group + i % 2 * 4 * d;
            if (i % 2)
                expand_value_block3(to, w, group + 8 * d, 1, d, table);
            else
                expand_value_block3(to, w, group + 8 * d, 0, d, table);
        }
    }
}

CPU_TARGET_END

#endif
