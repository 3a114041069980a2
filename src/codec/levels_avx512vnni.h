/* levels_avx512vnni.h - codes to int8 levels in registers, for AVX-512 with VBMI.
 *
 * Neighbours in trellis time are neighbouring rows; the row after the last is the first
 * one moved by one field (keys: a rotate of the words; values: of the lanes).  z1 of all
 * codes of a row is one exclusive or of three rows.  The 4 or 5 bits that select a level
 * are put side by side in each byte and looked up with vpermb, which reads 6 bits: the
 * tables repeat, so bits above the index do no harm. */
#ifndef CODEC_LEVELS_AVX512VNNI_H
#define CODEC_LEVELS_AVX512VNNI_H

#include "codec/avx512.h"
#include "codec/layout.h"
#include "codec/tables.h"

CPU_TARGET_BEGIN(CPU_TARGET_AVX512VNNI)

CPU_INLINE __m512i tq_byte_mask(int m)
{
    return _mm512_set1_epi8((char)m);
}

/* mask ? a : b.  The instruction overwrites its first operand: b is what callers need no
 * more, and a copy of it would cost as much as what it does. */
CPU_INLINE __m512i tq_choose(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(b, a, mask, TQ_SELECT);
}

/* a is needed no more, as above. */
CPU_INLINE __m512i tq_xor3(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi64(a, b, c, TQ_XOR3);
}

/* 0 .. 63 */
CPU_INLINE __m512i tq_byte_lanes(void)
{
    static const _Alignas(64) uint8_t lane[64] = {
        0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
        32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
        48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};
    return _mm512_load_si512(lane);
}

/* Table of levels + bias over the index that the functions below form: for 4 bits
 * v, w (3), z1 from bit 0 up; for 3 bits v, z1, w (2); for 2 bits v, w, z1. */
CPU_INLINE __m512i tq_level_table(int bits, int bias)
{
    const __m512i i = tq_byte_lanes();
    const __m512i z0 = _mm512_and_si512(i, tq_byte_mask(1));
    __m512i index; // 4 w + 2 z1 + z0
    if (bits == 4)
        index = _mm512_or_si512(
            _mm512_slli_epi16(_mm512_and_si512(i, tq_byte_mask(0x0E)), 1),
            _mm512_or_si512(_mm512_srli_epi16(_mm512_and_si512(i, tq_byte_mask(0x10)), 3),
                            z0));
    else if (bits == 3)
        index = _mm512_and_si512(i, tq_byte_mask(0x0F));
    else
        index = _mm512_or_si512(
            _mm512_slli_epi16(_mm512_and_si512(i, tq_byte_mask(2)), 1),
            _mm512_or_si512(_mm512_srli_epi16(_mm512_and_si512(i, tq_byte_mask(4)), 1),
                            z0));
    const __m512i levels =
        _mm512_castsi256_si512(_mm256_loadu_si256((const void *)tq_level[bits - 2]));
    return _mm512_add_epi8(_mm512_permutexvar_epi8(index, levels), tq_byte_mask(bias));
}

/* Two vectors of levels from a row x of 4-bit fields and its z1 in bit 0 of each. */
CPU_INLINE void tq_levels4(__m512i v[2], __m512i x, __m512i z1, __m512i table)
{
    const __m512i low = tq_byte_mask(0x0F);
    v[0] = _mm512_permutexvar_epi8(tq_choose(low, x, _mm512_slli_epi16(z1, 4)), table);
    v[1] = _mm512_permutexvar_epi8(tq_choose(low, _mm512_srli_epi16(x, 4), z1), table);
}

/* Four vectors whose indices are the nibbles of even and odd. */
CPU_INLINE void tq_four_levels(__m512i v[4], __m512i even, __m512i odd, __m512i table)
{
    v[0] = _mm512_permutexvar_epi8(even, table);
    v[1] = _mm512_permutexvar_epi8(odd, table);
    v[2] = _mm512_permutexvar_epi8(_mm512_srli_epi16(even, 4), table);
    v[3] = _mm512_permutexvar_epi8(_mm512_srli_epi16(odd, 4), table);
}

/* Four vectors from a row x of 2-bit fields and its z1 in bit 0 of each. */
CPU_INLINE void tq_levels2(__m512i v[4], __m512i x, __m512i z1, __m512i table)
{
    const __m512i low = tq_byte_mask(0x33);
    tq_four_levels(v, tq_choose(low, x, _mm512_slli_epi16(z1, 2)),
                   tq_choose(low, _mm512_srli_epi16(x, 2), z1), table);
}

/* Four vectors of turbo3 from a row w of 2-bit fields and, for the same fields, pairs
 * v | z1 << 1. */
CPU_INLINE void tq_levels3(__m512i v[4], __m512i w, __m512i pairs, __m512i table)
{
    const __m512i low = tq_byte_mask(0x33);
    tq_four_levels(v, tq_choose(low, pairs, _mm512_slli_epi16(w, 2)),
                   tq_choose(low, _mm512_srli_epi16(pairs, 2), w), table);
}

/* ---- key tiles ---- */

/* Rows n - 1 .. n + 1 of an array, from n = 0 on, and what comes behind its last row. */
struct tq_key_walk {
    __m512i before, x, next, wrapped[2];
};

/* The words one field of b bits earlier or later. */
CPU_INLINE __m512i tq_fields_up(__m512i x, int b)
{
    return b == 4   ? _mm512_rol_epi32(x, 4)
           : b == 2 ? _mm512_rol_epi32(x, 2)
                    : _mm512_rol_epi32(x, 1);
}

CPU_INLINE __m512i tq_fields_down(__m512i x, int b)
{
    return b == 4   ? _mm512_ror_epi32(x, 4)
           : b == 2 ? _mm512_ror_epi32(x, 2)
                    : _mm512_ror_epi32(x, 1);
}

CPU_INLINE void tq_key_walk_start(struct tq_key_walk *k, const uint8_t *at, int rows,
                                  int b)
{
    k->before = tq_fields_up(_mm512_loadu_si512(at + 64 * (rows - 1)), b);
    k->x = _mm512_loadu_si512(at);
    k->next = _mm512_loadu_si512(at + 64);
    k->wrapped[0] = tq_fields_down(k->x, b);
    k->wrapped[1] = tq_fields_down(k->next, b);
}

/* z1 of row n, whose codes go to *x; advances.  after is row n + 2. */
CPU_INLINE __m512i tq_key_walk_row(struct tq_key_walk *k, __m512i after, __m512i *x)
{
    const __m512i z1 = tq_xor3(k->before, k->next, after);
    *x = k->before = k->x;
    k->x = k->next;
    k->next = after;
    return z1;
}

/* v bits of turbo3 in 16-bit words, d = 80 and 112, and their z1. */
struct tq_key_words {
    __m256i v[TQ_DIM_MAX / 16], z1[TQ_DIM_MAX / 16];
};

CPU_INLINE __m256i tq_rotate_words(__m256i x, int left)
{
    return left ? _mm256_or_si256(_mm256_slli_epi16(x, 1), _mm256_srli_epi16(x, 15))
                : _mm256_or_si256(_mm256_srli_epi16(x, 1), _mm256_slli_epi16(x, 15));
}

CPU_INLINE void tq_key_words_load(struct tq_key_words *k, const uint8_t *at, int rows)
{
    for (int n = 0; n < rows; n++)
        k->v[n] = _mm256_loadu_si256((const void *)(at + 32 * n));
    for (int n = 0; n < rows; n++) {
        const __m256i before = n ? k->v[n - 1] : tq_rotate_words(k->v[rows - 1], 1);
        const __m256i next =
            n + 1 < rows ? k->v[n + 1] : tq_rotate_words(k->v[n + 1 - rows], 0);
        const __m256i after =
            n + 2 < rows ? k->v[n + 2] : tq_rotate_words(k->v[n + 2 - rows], 0);
        k->z1[n] = _mm256_xor_si256(_mm256_xor_si256(after, next), before);
    }
}

/* Byte c of each dword <- bits from 4c + f - at up of that dword. */
CPU_INLINE __m512i tq_spread(__m256i words, int f, int at)
{
    const __m512i offset = _mm512_set1_epi64(0x2C2824200C080400);
    const __m512i shift = _mm512_add_epi8(offset, _mm512_set1_epi8((char)(f - at)));
    return _mm512_multishift_epi64_epi8(shift, _mm512_cvtepu16_epi32(words));
}

/* The four vectors of row n: bit g of a word goes with field g of w. */
CPU_INLINE void tq_key_words_row(__m512i v[4], const struct tq_key_words *k, __m512i w,
                                 int n, __m512i table)
{
    const __m512i fields[4] = {_mm512_slli_epi16(w, 2), w, _mm512_srli_epi16(w, 2),
                               _mm512_srli_epi16(w, 4)};
    TQ_UNROLL
    for (int f = 0; f < 4; f++) {
        const __m512i pair = tq_choose(tq_byte_mask(0x01), tq_spread(k->v[n], f, 0),
                                       tq_spread(k->z1[n], f, 1));
        v[f] = _mm512_permutexvar_epi8(tq_choose(tq_byte_mask(0x03), pair, fields[f]),
                                       table);
    }
}

/* ---- value blocks ---- */

/* Lane l <- lane l + 1 or l - 1, modulo 16. */
CPU_INLINE __m512i tq_lanes_down(__m512i x)
{
    return _mm512_alignr_epi32(x, x, 1);
}

CPU_INLINE __m512i tq_lanes_up(__m512i x)
{
    return _mm512_alignr_epi32(x, x, 15);
}

/* Row r of a block, around its ends; -1 <= r < rows + 2. */
CPU_INLINE __m512i tq_value_row(const uint8_t *block, int r, int rows)
{
    if (r < 0)
        return tq_lanes_up(_mm512_loadu_si512(block + 64 * (rows - 1)));
    if (r >= rows)
        return tq_lanes_down(_mm512_loadu_si512(block + 64 * (r - rows)));
    return _mm512_loadu_si512(block + 64 * r);
}

/* Rows r .. r + n - 1 of a block, n a constant: start, then call `row` for i = 0 .. n - 1
 * in turn. */
struct tq_value_walk {
    const uint8_t *block;
    int r, n, rows;
    __m512i before, x, next;
};

CPU_INLINE void tq_value_walk_start(struct tq_value_walk *k, const uint8_t *block, int r,
                                    int n, int rows)
{
    k->block = block;
    k->r = r;
    k->n = n;
    k->rows = rows;
    k->before = tq_value_row(block, r - 1, rows);
    k->x = _mm512_loadu_si512(block + 64 * r);
    k->next = tq_value_row(block, r + 1, rows);
}

CPU_INLINE __m512i tq_value_walk_row(struct tq_value_walk *k, int i, __m512i *x)
{
    const int r = k->r + i + 2;
    const __m512i after = i + 2 < k->n ? _mm512_loadu_si512(k->block + 64 * r)
                                       : tq_value_row(k->block, r, k->rows);
    const __m512i z1 = tq_xor3(k->before, k->next, after);
    *x = k->before = k->x;
    k->x = k->next;
    k->next = after;
    return z1;
}

/* Pairs v | z1 << 1 of turbo3 in a row of 16 dimensions x 32 tokens: in even those of
 * fields 0 and 2 of the first 16 tokens and of the others, from bit 0 up, in odd those of
 * fields 1 and 3.  Bit 4 * half + f of a byte of v and z1 goes with field f. */
struct tq_value_pairs {
    __m512i even, odd;
};

CPU_INLINE struct tq_value_pairs tq_value_pairs(__m512i v, __m512i z1)
{
    const __m512i even_bits = tq_byte_mask(0x55);
    return (struct tq_value_pairs){tq_choose(even_bits, v, _mm512_slli_epi16(z1, 1)),
                                   tq_choose(even_bits, _mm512_srli_epi16(v, 1), z1)};
}

/* Levels by where in a byte the pair begins and where w: as look-ups leave out what else
 * is in it, most fields need not be moved. */
struct tq_value_tables {
    __m512i p0_w2, p2_w4, p4_w0, p4_w2;
};

CPU_INLINE struct tq_value_tables tq_value_tables(__m512i p0_w2)
{
    const __m512i i = tq_byte_lanes(), pair = tq_byte_mask(0x03);
    const __m512i high = _mm512_srli_epi16(i, 4);
    const __m512i p4_w0 = tq_choose(pair, high, _mm512_slli_epi16(i, 2));
    return (struct tq_value_tables){
        p0_w2, _mm512_permutexvar_epi8(_mm512_srli_epi16(i, 2), p0_w2),
        _mm512_permutexvar_epi8(p4_w0, p0_w2),
        _mm512_permutexvar_epi8(tq_choose(pair, high, i), p0_w2)};
}

/* The four vectors of 16 tokens, whose w are given. */
CPU_INLINE void tq_value_levels3(__m512i v[4], __m512i w, const struct tq_value_pairs *p,
                                 int half, const struct tq_value_tables *t)
{
    const __m512i at2 = tq_byte_mask(0x0C), at4 = tq_byte_mask(0x30);
    const __m512i down = _mm512_srli_epi16(w, 2);
    if (half) {
        const __m512i odd = _mm512_srli_epi16(p->odd, 4);
        const __m512i even = _mm512_srli_epi16(p->even, 4);
        v[0] = _mm512_permutexvar_epi8(tq_choose(at4, p->even, w), t->p4_w0);
        v[1] = _mm512_permutexvar_epi8(tq_choose(at4, p->odd, w), t->p4_w2);
        v[2] = _mm512_permutexvar_epi8(tq_choose(at2, even, w), t->p2_w4);
        v[3] = _mm512_permutexvar_epi8(tq_choose(at2, odd, down), t->p2_w4);
    } else {
        const __m512i at0 = tq_byte_mask(0x03), up = _mm512_slli_epi16(w, 2);
        v[0] = _mm512_permutexvar_epi8(tq_choose(at0, p->even, up), t->p0_w2);
        v[1] = _mm512_permutexvar_epi8(tq_choose(at0, p->odd, w), t->p0_w2);
        v[2] = _mm512_permutexvar_epi8(tq_choose(at2, p->even, w), t->p2_w4);
        v[3] = _mm512_permutexvar_epi8(tq_choose(at2, p->odd, down), t->p2_w4);
    }
}

CPU_TARGET_END

#endif
