/* blocks_avx512.h - how each block type is decoded for AVX-512 with VNNI and VBMI, and
 * how sums of its codes are added: lanes are the 16 rows of a tile.  Included inside a
 * target. */
#ifndef TENSOR_BLOCKS_AVX512_H
#define TENSOR_BLOCKS_AVX512_H

#include <immintrin.h>

#include "cpu/target.h"
#include "tensor/levels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

/* 32 columns: code of column 4v + c of row r in byte 4r + c of w[v]. */
struct sub {
    __m512i w[8];
    __m512 scale[2], min[2];
};

/* As struct format of kernels_c_blocks.c; a constant wherever it is used. */
struct format {
    int n_sub, n_scale, offset_log2, n_min; // offset_log2 < 0: no offset
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j);
};

CPU_INLINE __m512 halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

CPU_INLINE __m512i word(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

CPU_INLINE void nibbles(struct sub *s, const uint8_t *qs)
{
    const __m512i low = _mm512_set1_epi8(15);
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        const __m512i x = word(qs + TILE_WORD * v);
        s->w[v] = _mm512_and_si512(x, low);
        s->w[v + 4] = _mm512_and_si512(_mm512_srli_epi16(x, 4), low);
    }
}

/* a | (b & c) */
CPU_INLINE __m512i or_and(__m512i a, __m512i b, __m512i c)
{
    return _mm512_ternarylogic_epi64(a, b, c, 0xf8);
}

/* Bit 4v + c of a row's dword goes to bit 4 of byte c: take the 8 bits that start 4 below
 * it.  Offsets are within a qword of two rows, modulo 64. */
CPU_INLINE void fifth_bits(struct sub *s, const uint8_t *qh)
{
    const __m512i x = word(qh), bit4 = _mm512_set1_epi8(16);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m512i from =
            _mm512_set1_epi64(0x1f1e1d1c3f3e3d3c + v * 0x0404040404040404);
        s->w[v] = or_and(s->w[v], _mm512_multishift_epi64_epi8(from, x), bit4);
    }
}

CPU_INLINE void decode_q4_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
    nibbles(s, block + TILE_HALF);
}

CPU_INLINE void decode_q4_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
    s->min[0] = halves(block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF);
}

CPU_INLINE void decode_q5_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
    nibbles(s, block + TILE_HALF + TILE_WORD);
    fifth_bits(s, block + TILE_HALF);
}

CPU_INLINE void decode_q5_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
    s->min[0] = halves(block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF + TILE_WORD);
    fifth_bits(s, block + 2 * TILE_HALF);
}

CPU_INLINE void decode_q8_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm512_xor_si512(word(block + TILE_HALF + TILE_WORD * v),
                                   _mm512_set1_epi8(-128));
}

/* (x >> shift) & mask in each row's dword */
CPU_INLINE __m512i field(__m512i x, int shift, int mask)
{
    return _mm512_and_si512(_mm512_srlv_epi32(x, _mm512_set1_epi32(shift)),
                            _mm512_set1_epi32(mask));
}

CPU_INLINE void scales_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const __m512i low = word(words), mid = word(words + TILE_WORD);
    const int shift = 8 * (j & 3);
    __m512i scale, min;
    if (j < 4) {
        scale = field(low, shift, 63);
        min = field(mid, shift, 63);
    } else {
        const __m512i both = word(words + 2 * TILE_WORD);
        const __m512i top = _mm512_set1_epi32(48);
        scale = or_and(field(both, shift, 15), field(low, shift + 2, 63), top);
        min = or_and(field(both, shift + 4, 15), field(mid, shift + 2, 63), top);
    }
    s->scale[0] = _mm512_mul_ps(halves(block), _mm512_cvtepi32_ps(scale));
    s->min[0] =
        _mm512_mul_ps(halves(block + TILE_HALF),
                      _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_setzero_si512(), min)));
}

CPU_INLINE void nibbles_k(struct sub *s, const uint8_t *qs, int j)
{
    const __m512i low = _mm512_set1_epi8(15), shift = _mm512_set1_epi32(4 * (j & 1));
    qs += 8 * TILE_WORD * (j >> 1);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] =
            _mm512_and_si512(_mm512_srlv_epi32(word(qs + TILE_WORD * v), shift), low);
}

CPU_INLINE void decode_q4_k(struct sub *s, const uint8_t *block, int j)
{
    scales_k(s, block, j);
    nibbles_k(s, block + 2 * TILE_HALF + 3 * TILE_WORD, j);
}

CPU_INLINE void decode_q5_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *qh = block + 2 * TILE_HALF + 3 * TILE_WORD;
    const __m512i to_bit4 = _mm512_set1_epi32((j - 4) & 31), bit4 = _mm512_set1_epi8(16);
    scales_k(s, block, j);
    nibbles_k(s, qh + 8 * TILE_WORD, j);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] =
            or_and(s->w[v], _mm512_rorv_epi32(word(qh + TILE_WORD * v), to_bit4), bit4);
}

CPU_INLINE void decode_q6_k(struct sub *s, const uint8_t *block, int j)
{
    const int n = j >> 2, k = j & 3;
    const uint8_t *ql = block + TILE_WORD * (16 * n + 8 * (k & 1));
    const uint8_t *qh = block + TILE_WORD * (32 + 8 * n);
    const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8(48);
    const __m512i nibble = _mm512_set1_epi32(4 * (k >> 1));
    const __m512i to_bit4 = _mm512_set1_epi32((2 * k - 4) & 31);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m512i lo = _mm512_srlv_epi32(word(ql + TILE_WORD * v), nibble);
        const __m512i hi = _mm512_rorv_epi32(word(qh + TILE_WORD * v), to_bit4);
        s->w[v] = or_and(_mm512_and_si512(lo, low), hi, high);
    }
    const __m512 d = halves(block + TILE_WORD * 52);
    const __m512i scales = word(block + TILE_WORD * (48 + (j >> 1)));
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) { // byte 2j + h, sign extended
        const __m512i up = _mm512_set1_epi32(24 - 8 * ((2 * j + h) & 3));
        const __m512i scale = _mm512_srai_epi32(_mm512_sllv_epi32(scales, up), 24);
        s->scale[h] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(scale));
    }
}

/* Codes of two bits: four subs share 8 words. */
CPU_INLINE void two_bits(struct sub *s, const uint8_t *qs, int j)
{
    const __m512i low = _mm512_set1_epi8(3), shift = _mm512_set1_epi32(2 * (j & 3));
    qs += 8 * TILE_WORD * (j >> 2);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] =
            _mm512_and_si512(_mm512_srlv_epi32(word(qs + TILE_WORD * v), shift), low);
}

CPU_INLINE void decode_q2_k(struct sub *s, const uint8_t *block, int j)
{
    const __m512i both = word(block + TILE_WORD * (j >> 1));
    const __m512 d = halves(block + TILE_WORD * 20);
    const __m512 dmin = halves(block + TILE_WORD * 20 + TILE_HALF);
    const __m512 minus = _mm512_sub_ps(_mm512_setzero_ps(), dmin);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int at = 8 * ((2 * j + i) & 3);
        s->scale[i] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(field(both, at, 15)));
        s->min[i] = _mm512_mul_ps(minus, _mm512_cvtepi32_ps(field(both, at + 4, 15)));
    }
    two_bits(s, block + TILE_WORD * 4, j);
}

CPU_INLINE void decode_q3_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *scales = block + TILE_WORD * 24;
    const __m512i lows = word(scales + TILE_WORD * ((j >> 1) & 1));
    const __m512i highs = word(scales + TILE_WORD * 2);
    const __m512 d = halves(block + TILE_WORD * 27);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int byte = 8 * ((2 * j + i) & 3);
        const __m512i low = field(lows, byte + 4 * (j >> 2), 15);
        const __m512i high = field(highs, byte + 2 * (j >> 1), 3);
        const __m512i scale = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
        const __m512i centred = _mm512_sub_epi32(scale, _mm512_set1_epi32(32));
        s->scale[i] = _mm512_mul_ps(d, _mm512_cvtepi32_ps(centred));
    }
    two_bits(s, block + TILE_WORD * 8, j);
    const __m512i to_bit2 = _mm512_set1_epi32((j - 2) & 31), bit2 = _mm512_set1_epi8(4);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = or_and(s->w[v], _mm512_rorv_epi32(word(block + TILE_WORD * v), to_bit2),
                         bit2);
}

/* Codes that stand for levels become bytes of `level`. */
CPU_INLINE void look_up(struct sub *s, __m512i level)
{
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm512_shuffle_epi8(level, s->w[v]);
}

CPU_INLINE __m512i levels_iq4(void)
{
    const __m128i x = _mm_setr_epi8(LEVELS_IQ4);
    return _mm512_broadcast_i32x4(_mm_add_epi8(x, _mm_set1_epi8(-128)));
}

CPU_INLINE void decode_iq4_nl(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = halves(block);
    nibbles(s, block + TILE_HALF);
    look_up(s, levels_iq4());
}

CPU_INLINE void decode_iq4_xs(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const __m256i halves_h =
        _mm256_loadu_si256((const __m256i *)(const void *)(block + TILE_HALF));
    const __m512i low = field(word(words), 4 * j, 15);
    const __m512i high = field(_mm512_cvtepu16_epi32(halves_h), 2 * j, 3);
    const __m512i scale = _mm512_or_si512(low, _mm512_slli_epi32(high, 4));
    const __m512i centre = _mm512_set1_epi32(32);
    s->scale[0] =
        _mm512_mul_ps(halves(block), _mm512_cvtepi32_ps(_mm512_sub_epi32(scale, centre)));
    nibbles(s, words + TILE_WORD * (1 + 4 * j));
    look_up(s, levels_iq4());
}

/* level_e8m0_half: the larger of (e - 1) << 23 and (e + 1) << 21, which wins for the
 * subnormals of e = 0 and 1. */
CPU_INLINE __m512 scales_e8m0(const uint8_t *p)
{
    const __m512i e =
        _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    const __m512i normal =
        _mm512_sub_epi32(_mm512_slli_epi32(e, 23), _mm512_set1_epi32(1 << 23));
    const __m512i least =
        _mm512_add_epi32(_mm512_slli_epi32(e, 21), _mm512_set1_epi32(1 << 21));
    return _mm512_castsi512_ps(_mm512_max_epi32(normal, least));
}

CPU_INLINE __m512i levels_e2m1(void)
{
    const __m128i x = _mm_setr_epi8(LEVELS_E2M1);
    return _mm512_broadcast_i32x4(_mm_add_epi8(x, _mm_set1_epi8(16)));
}

CPU_INLINE void decode_mxfp4(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    s->scale[0] = scales_e8m0(block);
    nibbles(s, block + TILE_BYTE);
    look_up(s, levels_e2m1());
}

CPU_INLINE void decode_nvfp4(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *qs = block + TILE_WORD * (1 + 4 * j);
    const __m512i d = word(block), low = _mm512_set1_epi8(15);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { // level_ue4m3_half of byte 2j + i
        const __m512i x = field(d, 8 * (2 * j + i), 255);
        const __mmask16 number = _mm512_cmpneq_epi32_mask(x, _mm512_set1_epi32(0x7f));
        const __m512i low7 = _mm512_and_si512(x, _mm512_set1_epi32(0x7f));
        /* As f16, whose subnormals cost no more than other numbers. */
        const __m512i half = _mm512_maskz_slli_epi32(number, low7, 7);
        s->scale[i] = _mm512_mul_ps(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(half)),
                                    _mm512_set1_ps(0x1p7f));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) { // columns 4v .. 4v + 3 of a half and those 8 further
        const __m512i x = word(qs + TILE_WORD * v);
        const int to = v / 2 * 4 + v % 2;
        s->w[to] = _mm512_and_si512(x, low);
        s->w[to + 2] = _mm512_and_si512(_mm512_srli_epi16(x, 4), low);
    }
    look_up(s, levels_e2m1());
}

CPU_INLINE void decode_tq2_0(struct sub *s, const uint8_t *block, int j)
{
    s->scale[0] = halves(block + TILE_WORD * 16);
    two_bits(s, block, j);
}

CPU_INLINE __m512 floats(int32_t x)
{
    return _mm512_cvtepi32_ps(_mm512_set1_epi32(x));
}

/* acc <- acc + scale * sums, and mins if there are; lo has all 32 columns, or with two
 * scales the first 16 and hi the others.  scale, mass and sum are those of a token's
 * act_block; what the format has no use for is not read. */
CPU_INLINE __m512 add_sub(__m512 acc, __m512i lo, __m512i hi, const struct format f,
                          const struct sub *s, const float *scale, const float *mass,
                          const int32_t *sum)
{
    const __m512 by = _mm512_set1_ps(*scale);
    if (f.n_scale == 2) {
        __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(lo), s->scale[0]);
        y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(hi), s->scale[1], y);
        if (f.n_min == 2) {
            y = _mm512_fmadd_ps(s->min[0], floats(sum[0]), y);
            y = _mm512_fmadd_ps(s->min[1], floats(sum[1]), y);
        }
        return _mm512_fmadd_ps(y, by, acc);
    }
    acc = _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(lo), s->scale[0]), by, acc);
    if (f.n_min == 1)
        acc = _mm512_fmadd_ps(s->min[0], _mm512_set1_ps(*mass), acc);
    return acc;
}

/* X(name, bytes of a file block, n_sub, n_scale, offset_log2, n_min) */
#define BLOCK_TYPES(X)         \
    X(q4_0, 18, 1, 1, 3, 0)    \
    X(q4_1, 20, 1, 1, -1, 1)   \
    X(q5_0, 22, 1, 1, 4, 0)    \
    X(q5_1, 24, 1, 1, -1, 1)   \
    X(q8_0, 34, 1, 1, 7, 0)    \
    X(q2_k, 84, 8, 2, -1, 2)   \
    X(q3_k, 110, 8, 2, 2, 0)   \
    X(q4_k, 144, 8, 1, -1, 1)  \
    X(q5_k, 176, 8, 1, -1, 1)  \
    X(q6_k, 210, 8, 2, 5, 0)   \
    X(iq4_nl, 18, 1, 1, 7, 0)  \
    X(iq4_xs, 136, 8, 1, 7, 0) \
    X(mxfp4, 17, 1, 1, 4, 0)   \
    X(nvfp4, 36, 2, 2, 4, 0)   \
    X(tq2_0, 66, 8, 1, 0, 0)

#endif
