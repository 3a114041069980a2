/* blocks_avx2.h - how each block type is decoded for dot_avx2.h.  Included inside a
 * target, behind it. */
#ifndef TENSOR_BLOCKS_AVX2_H
#define TENSOR_BLOCKS_AVX2_H

#include "tensor/dot_avx2.h"
#include "tensor/levels.h"

/* Shifts of each dword.  As operators: GCC moves these to where their result is used, so
 * that few registers are busy, but not intrinsics. */
typedef uint32_t dwords __attribute__((vector_size(32)));

CPU_INLINE __m256i shift_right(__m256i x, int n)
{
    return (__m256i)((dwords)x >> n);
}

CPU_INLINE __m256i shift_left(__m256i x, int n)
{
    return (__m256i)((dwords)x << n);
}

CPU_INLINE void nibbles(struct sub *s, const uint8_t *qs, int h)
{
    const __m256i low = _mm256_set1_epi8(15);
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        const __m256i x = word(qs + TILE_WORD * v, h);
        s->w[v] = _mm256_and_si256(x, low);
        s->w[v + 4] = _mm256_and_si256(shift_right(x, 4), low);
    }
}

/* All bits of byte c <- bit 4v + c of a row's dword: copy its byte v / 2 four times and
 * test one bit in each. */
CPU_INLINE __m256i bits_set(__m256i x, int v)
{
    const __m256i spread =
        _mm256_add_epi8(_mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0,
                                         0x0c0c0c0c, 0x08080808, 0x04040404, 0),
                        _mm256_set1_epi8((char)(v / 2)));
    const __m256i bit = _mm256_set1_epi32(v % 2 ? (int)0x80402010 : 0x08040201);
    const __m256i four = _mm256_shuffle_epi8(x, spread);
    return _mm256_cmpeq_epi8(_mm256_and_si256(four, bit), bit);
}

/* Those bits go to bit 4 of the codes. */
CPU_INLINE void fifth_bits(struct sub *s, const uint8_t *qh, int h)
{
    const __m256i x = word(qh, h), bit4 = _mm256_set1_epi8(16);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm256_or_si256(s->w[v], _mm256_and_si256(bits_set(x, v), bit4));
}

CPU_INLINE void decode_q4_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF, h);
}

CPU_INLINE void decode_q4_1(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    s->min[0] = halves(block + TILE_HALF, h);
    nibbles(s, block + 2 * TILE_HALF, h);
}

CPU_INLINE void decode_q5_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF + TILE_WORD, h);
    fifth_bits(s, block + TILE_HALF, h);
}

CPU_INLINE void decode_q5_1(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    s->min[0] = halves(block + TILE_HALF, h);
    nibbles(s, block + 2 * TILE_HALF + TILE_WORD, h);
    fifth_bits(s, block + 2 * TILE_HALF, h);
}

CPU_INLINE void decode_q8_0(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = word(block + TILE_HALF + TILE_WORD * v, h);
}

/* (x >> shift) & mask in each row's dword */
CPU_INLINE __m256i field(__m256i x, int shift, int mask)
{
    return _mm256_and_si256(shift_right(x, shift), _mm256_set1_epi32(mask));
}

CPU_INLINE void scales_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const __m256i low = word(words, h), mid = word(words + TILE_WORD, h);
    const int shift = 8 * (j & 3);
    __m256i scale, min;
    if (j < 4) {
        scale = field(low, shift, 63);
        min = field(mid, shift, 63);
    } else {
        const __m256i both = word(words + 2 * TILE_WORD, h);
        scale = _mm256_or_si256(field(both, shift, 15), field(low, shift + 2, 48));
        min = _mm256_or_si256(field(both, shift + 4, 15), field(mid, shift + 2, 48));
    }
    s->scale[0] = _mm256_mul_ps(halves(block, h), _mm256_cvtepi32_ps(scale));
    s->min[0] =
        _mm256_mul_ps(halves(block + TILE_HALF, h),
                      _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_setzero_si256(), min)));
}

CPU_INLINE void nibbles_k(struct sub *s, const uint8_t *qs, int j, int h)
{
    const __m256i low = _mm256_set1_epi8(15);
    const int shift = 4 * (j & 1);
    qs += 8 * TILE_WORD * (j >> 1);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm256_and_si256(shift_right(word(qs + TILE_WORD * v, h), shift), low);
}

CPU_INLINE void decode_q4_k(struct sub *s, const uint8_t *block, int j, int h)
{
    scales_k(s, block, j, h);
    nibbles_k(s, block + 2 * TILE_HALF + 3 * TILE_WORD, j, h);
}

CPU_INLINE void decode_q5_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *qh = block + 2 * TILE_HALF + 3 * TILE_WORD;
    const __m256i one = _mm256_set1_epi8(1);
    scales_k(s, block, j, h);
    nibbles_k(s, qh + 8 * TILE_WORD, j, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i bit =
            _mm256_and_si256(shift_right(word(qh + TILE_WORD * v, h), j), one);
        s->w[v] = _mm256_or_si256(s->w[v], shift_left(bit, 4));
    }
}

CPU_INLINE void decode_q6_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const int n = j >> 2, k = j & 3;
    const uint8_t *ql = block + TILE_WORD * (16 * n + 8 * (k & 1));
    const uint8_t *qh = block + TILE_WORD * (32 + 8 * n);
    const __m256i low = _mm256_set1_epi8(15), two = _mm256_set1_epi8(3);
    const int nibble = 4 * (k >> 1), two_bit = 2 * k;
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i lo = shift_right(word(ql + TILE_WORD * v, h), nibble);
        const __m256i hi = shift_right(word(qh + TILE_WORD * v, h), two_bit);
        s->w[v] = _mm256_or_si256(_mm256_and_si256(lo, low),
                                  shift_left(_mm256_and_si256(hi, two), 4));
    }
    const __m256 d = halves(block + TILE_WORD * 52, h);
    const __m256i scales = word(block + TILE_WORD * (48 + (j >> 1)), h);
    const __m256i pair = shift_left(scales, 16 - 16 * (j & 1)); // to bytes 2 and 3
    const __m256i first = _mm256_srai_epi32(shift_left(pair, 8), 24);
    const __m256i second = _mm256_srai_epi32(pair, 24);
    s->scale[0] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(first));
    s->scale[1] = _mm256_mul_ps(d, _mm256_cvtepi32_ps(second));
}

/* Codes of two bits: four subs share 8 words. */
CPU_INLINE void two_bits(struct sub *s, const uint8_t *qs, int j, int h)
{
    const __m256i low = _mm256_set1_epi8(3);
    const int shift = 2 * (j & 3);
    qs += 8 * TILE_WORD * (j >> 2);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm256_and_si256(shift_right(word(qs + TILE_WORD * v, h), shift), low);
}

/* Bytes 0 and 1 of each dword become its halves. */
CPU_INLINE __m256i byte_pair(__m256i x)
{
    const __m128i at =
        _mm_set_epi32((int)0xff0dff0c, (int)0xff09ff08, (int)0xff05ff04, (int)0xff01ff00);
    return _mm256_shuffle_epi8(x, _mm256_broadcastsi128_si256(at));
}

CPU_INLINE void decode_q2_k(struct sub *s, const uint8_t *block, int j, int h)
{
    /* bytes 2j and 2j + 1 */
    const __m256i both = shift_right(word(block + TILE_WORD * (j >> 1), h), 16 * (j & 1));
    const __m256 dmin = halves(block + TILE_WORD * 20 + TILE_HALF, h);
    s->scale[0] = halves(block + TILE_WORD * 20, h);
    s->min[0] = _mm256_sub_ps(_mm256_setzero_ps(), dmin);
    s->factor = byte_pair(_mm256_and_si256(both, _mm256_set1_epi8(15)));
    s->min_factor = byte_pair(field(both, 4, 0x0f0f));
    two_bits(s, block + TILE_WORD * 4, j, h);
}

CPU_INLINE void decode_q3_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *scales = block + TILE_WORD * 24;
    const __m256i lows = word(scales + TILE_WORD * ((j >> 1) & 1), h);
    const __m256i highs = word(scales + TILE_WORD * 2, h);
    const int pair = 16 * (j & 1); // scales 2j and 2j + 1: two bytes
    const __m256i low = field(lows, pair + 4 * (j >> 2), 0x0f0f);
    const __m256i high = field(highs, pair + 2 * (j >> 1), 0x0303);
    const __m256i both = _mm256_or_si256(low, shift_left(high, 4));
    s->scale[0] = halves(block + TILE_WORD * 27, h);
    s->factor = _mm256_sub_epi16(byte_pair(both), _mm256_set1_epi16(32));
    two_bits(s, block + TILE_WORD * 8, j, h);
    const __m256i bit = _mm256_set1_epi8((char)(1 << j)), bit2 = _mm256_set1_epi8(4);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const __m256i top = _mm256_and_si256(word(block + TILE_WORD * v, h), bit);
        const __m256i set = _mm256_cmpeq_epi8(top, bit);
        s->w[v] = _mm256_or_si256(s->w[v], _mm256_and_si256(set, bit2));
    }
}

CPU_INLINE __m256i levels_iq4(void)
{
    const __m128i x = _mm_setr_epi8(LEVELS_IQ4);
    return _mm256_broadcastsi128_si256(x);
}

CPU_INLINE void decode_iq4_nl(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF, h);
    s->level = levels_iq4();
}

/* 8 unsigned halves */
CPU_INLINE __m256i wide_halves(const uint8_t *p, int h)
{
    return _mm256_cvtepu16_epi32(
        _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * h)));
}

CPU_INLINE void decode_iq4_xs(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const __m256i low = field(word(words, h), 4 * j, 15);
    const __m256i high = field(wide_halves(block + TILE_HALF, h), 2 * j, 3);
    const __m256i scale = _mm256_or_si256(low, _mm256_slli_epi32(high, 4));
    const __m256i centre = _mm256_set1_epi32(32);
    s->scale[0] = _mm256_mul_ps(halves(block, h),
                                _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, centre)));
    nibbles(s, words + TILE_WORD * (1 + 4 * j), h);
    s->level = levels_iq4();
}

/* level_e8m0_half: the larger of (e - 1) << 23 and (e + 1) << 21, which wins for the
 * subnormals of e = 0 and 1. */
CPU_INLINE __m256 scales_e8m0(const uint8_t *p, int h)
{
    const __m256i e =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p + 8 * h)));
    const __m256i normal =
        _mm256_sub_epi32(_mm256_slli_epi32(e, 23), _mm256_set1_epi32(1 << 23));
    const __m256i least =
        _mm256_add_epi32(_mm256_slli_epi32(e, 21), _mm256_set1_epi32(1 << 21));
    return _mm256_castsi256_ps(_mm256_max_epi32(normal, least));
}

CPU_INLINE __m256i levels_e2m1(void)
{
    const __m128i x = _mm_setr_epi8(LEVELS_E2M1);
    return _mm256_broadcastsi128_si256(_mm_add_epi8(x, _mm_set1_epi8(12)));
}

CPU_INLINE void decode_mxfp4(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = scales_e8m0(block, h);
    nibbles(s, block + TILE_BYTE, h);
    s->level = levels_e2m1();
}

CPU_INLINE void decode_nvfp4(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *qs = block + TILE_WORD * (1 + 4 * j);
    const __m256i d = word(block, h), low = _mm256_set1_epi8(15);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { // level_ue4m3_half of byte 2j + i
        const __m256i x = field(d, 8 * (2 * j + i), 255);
        const __m256i nan = _mm256_cmpeq_epi32(x, _mm256_set1_epi32(0x7f));
        const __m256i low7 = _mm256_and_si256(x, _mm256_set1_epi32(0x7f));
        /* As f16, whose subnormals cost no more than other numbers. */
        const __m256i half = _mm256_andnot_si256(nan, _mm256_slli_epi32(low7, 7));
        const __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(half),
                                                _mm256_extracti128_si256(half, 1));
        s->scale[i] = _mm256_mul_ps(_mm256_cvtph_ps(packed), _mm256_set1_ps(0x1p7f));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) { // columns 4v .. 4v + 3 of a half and those 8 further
        const __m256i x = word(qs + TILE_WORD * v, h);
        const int to = v / 2 * 4 + v % 2;
        s->w[to] = _mm256_and_si256(x, low);
        s->w[to + 2] = _mm256_and_si256(shift_right(x, 4), low);
    }
    s->level = levels_e2m1();
}

/* level_trit of bytes.  There is no product of bytes: odd and even ones go through 16
 * bits.  Of 3 x in units of 256, 1 begins at x = 86 and 2 at 171. */
CPU_INLINE __m256i trits(__m256i x, int power)
{
    const __m256i by = _mm256_set1_epi16((short)power);
    const __m256i even =
        _mm256_and_si256(_mm256_mullo_epi16(x, by), _mm256_set1_epi16(0xff));
    const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(x, 8), by);
    const __m256i y = _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
    const __m256i one = _mm256_cmpeq_epi8(_mm256_max_epu8(y, _mm256_set1_epi8(86)), y);
    const __m256i two =
        _mm256_cmpeq_epi8(_mm256_max_epu8(y, _mm256_set1_epi8((char)171)), y);
    return _mm256_sub_epi8(_mm256_setzero_si256(), _mm256_add_epi8(one, two));
}

CPU_INLINE void decode_tq1_0(struct sub *s, const uint8_t *block, int j, int h)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    s->scale[0] = halves(block + TILE_WORD * 13, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) { // as in kernels_c_blocks.c
        const int last = j == 7 && v >= 4;
        const int from = j < 5 ? v : last ? 12 : 8 + v % 4;
        const int digit = j < 5 ? j : last ? v - 4 : 2 * (j - 5) + v / 4;
        s->w[v] = trits(word(block + TILE_WORD * from, h), power[digit]);
    }
}

CPU_INLINE void decode_tq2_0(struct sub *s, const uint8_t *block, int j, int h)
{
    s->scale[0] = halves(block + TILE_WORD * 16, h);
    two_bits(s, block, j, h);
}

CPU_INLINE void decode_q1_0(struct sub *s, const uint8_t *block, int j, int h)
{
    const __m256i x = word(block + TILE_HALF + TILE_WORD * j, h);
    s->scale[0] = halves(block, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = _mm256_and_si256(bits_set(x, v), _mm256_set1_epi8(2));
}

CPU_INLINE void decode_q2_0(struct sub *s, const uint8_t *block, int j, int h)
{
    s->scale[0] = halves(block, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) { // byte v: pairs of bits to bytes
        const __m256i x = word(block + TILE_HALF + TILE_WORD * (2 * j + v / 4), h);
        const __m256i b = field(x, 8 * (v % 4), 255);
        const __m256i two = _mm256_or_si256(b, _mm256_slli_epi32(b, 6));
        const __m256i four = _mm256_or_si256(two, _mm256_slli_epi32(two, 12));
        s->w[v] = _mm256_and_si256(four, _mm256_set1_epi8(3));
    }
}

/* X(name, bytes of a file block, n_sub, n_scale, offset, n_min, n_add, signs, levels,
 * factors) */
#define DOT_FORMATS(X)                     \
    X(q4_0, 18, 1, 1, 8, 0, 8, 0, 0, 0)    \
    X(q4_1, 20, 1, 1, 0, 1, 8, 0, 0, 0)    \
    X(q5_0, 22, 1, 1, 16, 0, 4, 0, 0, 0)   \
    X(q5_1, 24, 1, 1, 0, 1, 4, 0, 0, 0)    \
    X(q8_0, 34, 1, 1, 0, 0, 1, 1, 0, 0)    \
    X(q2_k, 84, 8, 2, 0, 2, 4, 0, 0, 1)    \
    X(q3_k, 110, 8, 2, 4, 0, 4, 0, 0, 1)   \
    X(q4_k, 144, 8, 1, 0, 1, 8, 0, 0, 0)   \
    X(q5_k, 176, 8, 1, 0, 1, 4, 0, 0, 0)   \
    X(q6_k, 210, 8, 2, 32, 0, 2, 0, 0, 0)  \
    X(iq4_nl, 18, 1, 1, 0, 0, 1, 1, 1, 0)  \
    X(iq4_xs, 136, 8, 1, 0, 0, 1, 1, 1, 0) \
    X(mxfp4, 17, 1, 1, 12, 0, 4, 0, 1, 0)  \
    X(nvfp4, 36, 2, 2, 12, 0, 4, 0, 1, 0)  \
    X(tq1_0, 54, 8, 1, 1, 0, 8, 0, 0, 0)   \
    X(tq2_0, 66, 8, 1, 1, 0, 8, 0, 0, 0)   \
    X(q1_0, 18, 4, 1, 1, 0, 8, 0, 0, 0)    \
    X(q2_0, 18, 2, 1, 1, 0, 8, 0, 0, 0)

#endif
