/* neon_blocks.h - matrix kernels of the integer types for NEON, around a dot product of
 * bytes that each level has in its own way.
 *
 * Lanes are four rows, a quarter of a tile; a register of weights holds four columns of
 * each row. */
#ifndef TENSOR_NEON_BLOCKS_H
#define TENSOR_NEON_BLOCKS_H

#include <arm_neon.h>
#include <string.h>

#include "cpu/target.h"
#include "tensor/levels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

/* 32 columns of rows 4h .. 4h + 3: code of column 4v + c in byte 4r + c of w[v]. */
struct sub {
    int8x16_t w[8];
    float32x4_t scale[2], min[2];
};

/* As struct format of kernels_c_blocks.c; a constant wherever it is used.
 *
 *   n_add   most products that fit 16 bits: 127 * (largest code) * n_add < 32768
 *
 * Codes of Q8_0 and levels stay signed, so they have no offset. */
struct format {
    int n_sub, n_scale, offset, n_min, n_add;
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j, int h);
};

/* sum[0] <- columns 0..15 times activations and sum[1] <- columns 16..31; where there is
 * one scale for both, sum[0] <- all. */
typedef void sums_fn(const struct format f, int32x4_t sum[2], const struct sub *s,
                     const int8_t *q);

CPU_INLINE float32x4_t halves(const uint8_t *p, int h)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p + 8 * h)));
}

CPU_INLINE uint8x16_t word(const uint8_t *p, int h)
{
    return vld1q_u8(p + 16 * h);
}

CPU_INLINE void nibbles(struct sub *s, const uint8_t *qs, int h)
{
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) {
        const uint8x16_t x = word(qs + TILE_WORD * v, h);
        s->w[v] = vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)));
        s->w[v + 4] = vreinterpretq_s8_u8(vshrq_n_u8(x, 4));
    }
}

CPU_INLINE int8x16_t or_codes(int8x16_t w, uint8x16_t bits)
{
    return vorrq_s8(w, vreinterpretq_s8_u8(bits));
}

/* Bit 4v + c of a row's dword goes to bit 4 of byte c of w[v]: copy its byte v / 2 four
 * times and test one bit in each. */
CPU_INLINE void fifth_bits(struct sub *s, const uint8_t *qh, int h)
{
    static const uint8_t row[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    static const uint8_t bit[2][16] = {
        {1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8},
        {16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128, 16, 32, 64, 128}};
    const uint8x16_t x = word(qh, h), bit4 = vdupq_n_u8(16);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const uint8x16_t at = vaddq_u8(vld1q_u8(row), vdupq_n_u8((uint8_t)(v / 2)));
        const uint8x16_t set = vtstq_u8(vqtbl1q_u8(x, at), vld1q_u8(bit[v % 2]));
        s->w[v] = or_codes(s->w[v], vandq_u8(set, bit4));
    }
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
        s->w[v] = vreinterpretq_s8_u8(word(block + TILE_HALF + TILE_WORD * v, h));
}

/* (x >> shift) & mask in each row's dword; shift may be negative. */
CPU_INLINE uint32x4_t field(uint8x16_t x, int shift, uint32_t mask)
{
    return vandq_u32(vshlq_u32(vreinterpretq_u32_u8(x), vdupq_n_s32(-shift)),
                     vdupq_n_u32(mask));
}

CPU_INLINE void scales_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const uint8x16_t low = word(words, h), mid = word(words + TILE_WORD, h);
    const int shift = 8 * (j & 3);
    uint32x4_t scale, min;
    if (j < 4) {
        scale = field(low, shift, 63);
        min = field(mid, shift, 63);
    } else {
        const uint8x16_t both = word(words + 2 * TILE_WORD, h);
        scale = vorrq_u32(field(both, shift, 15), field(low, shift + 2, 48));
        min = vorrq_u32(field(both, shift + 4, 15), field(mid, shift + 2, 48));
    }
    s->scale[0] = vmulq_f32(halves(block, h), vcvtq_f32_u32(scale));
    s->min[0] = vmulq_f32(halves(block + TILE_HALF, h), vnegq_f32(vcvtq_f32_u32(min)));
}

CPU_INLINE void nibbles_k(struct sub *s, const uint8_t *qs, int j, int h)
{
    const int8x16_t down = vdupq_n_s8((int8_t)(-4 * (j & 1)));
    qs += 8 * TILE_WORD * (j >> 1);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = vreinterpretq_s8_u8(
            vandq_u8(vshlq_u8(word(qs + TILE_WORD * v, h), down), vdupq_n_u8(15)));
}

CPU_INLINE void decode_q4_k(struct sub *s, const uint8_t *block, int j, int h)
{
    scales_k(s, block, j, h);
    nibbles_k(s, block + 2 * TILE_HALF + 3 * TILE_WORD, j, h);
}

CPU_INLINE void decode_q5_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *qh = block + 2 * TILE_HALF + 3 * TILE_WORD;
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << j)), bit4 = vdupq_n_u8(16);
    scales_k(s, block, j, h);
    nibbles_k(s, qh + 8 * TILE_WORD, j, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const uint8x16_t set = vtstq_u8(word(qh + TILE_WORD * v, h), bit);
        s->w[v] = or_codes(s->w[v], vandq_u8(set, bit4));
    }
}

CPU_INLINE void decode_q6_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const int n = j >> 2, k = j & 3;
    const uint8_t *ql = block + TILE_WORD * (16 * n + 8 * (k & 1));
    const uint8_t *qh = block + TILE_WORD * (32 + 8 * n);
    const int8x16_t nibble = vdupq_n_s8((int8_t)(-4 * (k >> 1)));
    const int8x16_t pair = vdupq_n_s8((int8_t)(4 - 2 * k)); // to bits 4 and 5
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const uint8x16_t lo = vshlq_u8(word(ql + TILE_WORD * v, h), nibble);
        const uint8x16_t hi = vshlq_u8(word(qh + TILE_WORD * v, h), pair);
        s->w[v] = vreinterpretq_s8_u8(
            vorrq_u8(vandq_u8(lo, vdupq_n_u8(15)), vandq_u8(hi, vdupq_n_u8(48))));
    }
    const float32x4_t d = halves(block + TILE_WORD * 52, h);
    const int32x4_t scales =
        vreinterpretq_s32_u8(word(block + TILE_WORD * (48 + (j >> 1)), h));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { // byte 2j + i, sign extended
        const int32x4_t up = vdupq_n_s32(24 - 8 * ((2 * j + i) & 3));
        const int32x4_t scale = vshrq_n_s32(vshlq_s32(scales, up), 24);
        s->scale[i] = vmulq_f32(d, vcvtq_f32_s32(scale));
    }
}

/* Codes of two bits: four subs share 8 words. */
CPU_INLINE void two_bits(struct sub *s, const uint8_t *qs, int j, int h)
{
    const int8x16_t down = vdupq_n_s8((int8_t)(-2 * (j & 3)));
    qs += 8 * TILE_WORD * (j >> 2);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = vreinterpretq_s8_u8(
            vandq_u8(vshlq_u8(word(qs + TILE_WORD * v, h), down), vdupq_n_u8(3)));
}

CPU_INLINE void decode_q2_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8x16_t both = word(block + TILE_WORD * (j >> 1), h);
    const float32x4_t d = halves(block + TILE_WORD * 20, h);
    const float32x4_t minus = vnegq_f32(halves(block + TILE_WORD * 20 + TILE_HALF, h));
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int at = 8 * ((2 * j + i) & 3);
        s->scale[i] = vmulq_f32(d, vcvtq_f32_u32(field(both, at, 15)));
        s->min[i] = vmulq_f32(minus, vcvtq_f32_u32(field(both, at + 4, 15)));
    }
    two_bits(s, block + TILE_WORD * 4, j, h);
}

CPU_INLINE void decode_q3_k(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *scales = block + TILE_WORD * 24;
    const uint8x16_t lows = word(scales + TILE_WORD * ((j >> 1) & 1), h);
    const uint8x16_t highs = word(scales + TILE_WORD * 2, h);
    const float32x4_t d = halves(block + TILE_WORD * 27, h);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const int byte = 8 * ((2 * j + i) & 3);
        const uint32x4_t scale = vorrq_u32(field(lows, byte + 4 * (j >> 2), 15),
                                           field(highs, byte + 2 * (j >> 1) - 4, 48));
        const int32x4_t centred =
            vsubq_s32(vreinterpretq_s32_u32(scale), vdupq_n_s32(32));
        s->scale[i] = vmulq_f32(d, vcvtq_f32_s32(centred));
    }
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1 << j)), bit2 = vdupq_n_u8(4);
    two_bits(s, block + TILE_WORD * 8, j, h);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        const uint8x16_t set = vtstq_u8(word(block + TILE_WORD * v, h), bit);
        s->w[v] = or_codes(s->w[v], vandq_u8(set, bit2));
    }
}

/* Codes that stand for levels become those. */
CPU_INLINE void look_up(struct sub *s, const int8_t level[16])
{
    const int8x16_t table = vld1q_s8(level);
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++)
        s->w[v] = vqtbl1q_s8(table, vreinterpretq_u8_s8(s->w[v]));
}

static const int8_t iq4[16] = {LEVELS_IQ4}, e2m1[16] = {LEVELS_E2M1};

CPU_INLINE void decode_iq4_nl(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = halves(block, h);
    nibbles(s, block + TILE_HALF, h);
    look_up(s, iq4);
}

CPU_INLINE void decode_iq4_xs(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    const uint16x4_t halves_h = vreinterpret_u16_u8(vld1_u8(block + TILE_HALF + 8 * h));
    const uint8x16_t wide = vreinterpretq_u8_u32(vmovl_u16(halves_h));
    const uint32x4_t scale =
        vorrq_u32(field(word(words, h), 4 * j, 15), field(wide, 2 * j - 4, 48));
    const int32x4_t centred = vsubq_s32(vreinterpretq_s32_u32(scale), vdupq_n_s32(32));
    s->scale[0] = vmulq_f32(halves(block, h), vcvtq_f32_s32(centred));
    nibbles(s, words + TILE_WORD * (1 + 4 * j), h);
    look_up(s, iq4);
}

/* level_e8m0_half: the larger of (e - 1) << 23 and (e + 1) << 21, which wins for the
 * subnormals of e = 0 and 1. */
CPU_INLINE float32x4_t scales_e8m0(const uint8_t *p, int h)
{
    uint32_t four;
    memcpy(&four, p + 4 * h, sizeof four);
    const uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    const int32x4_t e = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)));
    const int32x4_t normal = vsubq_s32(vshlq_n_s32(e, 23), vdupq_n_s32(1 << 23));
    const int32x4_t least = vaddq_s32(vshlq_n_s32(e, 21), vdupq_n_s32(1 << 21));
    return vreinterpretq_f32_s32(vmaxq_s32(normal, least));
}

CPU_INLINE void decode_mxfp4(struct sub *s, const uint8_t *block, int j, int h)
{
    (void)j;
    s->scale[0] = scales_e8m0(block, h);
    nibbles(s, block + TILE_BYTE, h);
    look_up(s, e2m1);
}

CPU_INLINE void decode_nvfp4(struct sub *s, const uint8_t *block, int j, int h)
{
    const uint8_t *qs = block + TILE_WORD * (1 + 4 * j);
    const uint8x16_t d = word(block, h);
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) { // level_ue4m3_half of byte 2j + i
        const uint32x4_t x = field(d, 8 * (2 * j + i), 255);
        const uint32x4_t nan = vceqq_u32(x, vdupq_n_u32(0x7f));
        const uint32x4_t low7 = vandq_u32(x, vdupq_n_u32(0x7f));
        const uint32x4_t bits = vbicq_u32(vshlq_n_u32(low7, 20), nan);
        s->scale[i] = vmulq_n_f32(vreinterpretq_f32_u32(bits), 0x1p119f);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++) { // columns 4v .. 4v + 3 of a half and those 8 further
        const uint8x16_t x = word(qs + TILE_WORD * v, h);
        const int to = v / 2 * 4 + v % 2;
        s->w[to] = vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)));
        s->w[to + 2] = vreinterpretq_s8_u8(vshrq_n_u8(x, 4));
    }
    look_up(s, e2m1);
}

CPU_INLINE void decode_tq2_0(struct sub *s, const uint8_t *block, int j, int h)
{
    s->scale[0] = halves(block + TILE_WORD * 16, h);
    two_bits(s, block, j, h);
}

/* scale * (code - offset) times 32 activations, and two mins if there are. */
CPU_INLINE float32x4_t dot_sub(sums_fn *sums, const struct format f, const struct sub *s,
                               const struct act_block *x)
{
    int32x4_t sum[2];
    sums(f, sum, s, x->q);
    if (f.n_scale == 2) {
        if (f.offset) {
            sum[0] = vsubq_s32(sum[0], vdupq_n_s32(f.offset * x->sum[0]));
            sum[1] = vsubq_s32(sum[1], vdupq_n_s32(f.offset * x->sum[1]));
        }
        float32x4_t y = vmulq_f32(vcvtq_f32_s32(sum[0]), s->scale[0]);
        y = vfmaq_f32(y, vcvtq_f32_s32(sum[1]), s->scale[1]);
        if (f.n_min == 2) {
            y = vfmaq_n_f32(y, s->min[0], (float)x->sum[0]);
            y = vfmaq_n_f32(y, s->min[1], (float)x->sum[1]);
        }
        return y;
    }
    if (f.offset)
        sum[0] = vsubq_s32(sum[0], vdupq_n_s32(f.offset * x->sum32));
    return vmulq_f32(vcvtq_f32_s32(sum[0]), s->scale[0]);
}

/* Sums stay in memory: with the quarters unrolled they would fill half of the registers,
 * and the weights would spill. */
CPU_INLINE void dot_tokens(sums_fn *sums, const int n_tok, const struct format f,
                           float *dst, size_t ld, int n_row, const uint8_t *tile,
                           const struct act *a, int tok)
{
    const int n_block = a->n_in / 32;
    const size_t step = (size_t)act_group(a, tok);
    const struct act_block *x = act_at(a, tok, 0);
    float acc[4][TILE_ROWS] = {{0}};
    for (int b = 0; b < n_block; b += f.n_sub, tile += f.tile_block_bytes)
        for (int j = 0; j < f.n_sub; j++, x += step) {
#pragma GCC unroll 1
            for (int h = 0; h < 4; h++) {
                struct sub s;
                f.decode(&s, tile, j, h);
#pragma GCC unroll 4
                for (int t = 0; t < n_tok; t++) {
                    float32x4_t sum = vld1q_f32(acc[t] + 4 * h);
                    sum = vfmaq_n_f32(sum, dot_sub(sums, f, &s, x + t), x[t].scale);
                    if (f.n_min == 1)
                        sum = vfmaq_n_f32(sum, s.min[0], x[t].mass);
                    vst1q_f32(acc[t] + 4 * h, sum);
                }
            }
        }
    for (int t = 0; t < n_tok; t++)
        memcpy(dst + (size_t)t * ld, acc[t], (size_t)n_row * sizeof *dst);
}

CPU_INLINE void dot_any(sums_fn *sums, const struct format f, float *dst, size_t ld,
                        int n_row, const uint8_t *tile, const struct act *a, int tok,
                        int n_tok)
{
    for (; n_tok >= 4; n_tok -= 4, tok += 4, dst += 4 * ld)
        dot_tokens(sums, 4, f, dst, ld, n_row, tile, a, tok);
    if (n_tok & 2) {
        dot_tokens(sums, 2, f, dst, ld, n_row, tile, a, tok);
        dst += 2 * ld;
        tok += 2;
    }
    if (n_tok & 1)
        dot_tokens(sums, 1, f, dst, ld, n_row, tile, a, tok);
}

/* DOT(name, bytes of a file block, n_sub, n_scale, offset, n_min, n_add) */
#define NEON_BLOCK_TYPES(DOT)       \
    DOT(q4_0, 18, 1, 1, 8, 0, 8)    \
    DOT(q4_1, 20, 1, 1, 0, 1, 8)    \
    DOT(q5_0, 22, 1, 1, 16, 0, 8)   \
    DOT(q5_1, 24, 1, 1, 0, 1, 8)    \
    DOT(q8_0, 34, 1, 1, 0, 0, 2)    \
    DOT(q2_k, 84, 8, 2, 0, 2, 4)    \
    DOT(q3_k, 110, 8, 2, 4, 0, 4)   \
    DOT(q4_k, 144, 8, 1, 0, 1, 8)   \
    DOT(q5_k, 176, 8, 1, 0, 1, 8)   \
    DOT(q6_k, 210, 8, 2, 32, 0, 4)  \
    DOT(iq4_nl, 18, 1, 1, 0, 0, 2)  \
    DOT(iq4_xs, 136, 8, 1, 0, 0, 2) \
    DOT(mxfp4, 17, 1, 1, 0, 0, 8)   \
    DOT(nvfp4, 36, 2, 2, 0, 0, 4)   \
    DOT(tq2_0, 66, 8, 1, 1, 0, 8)

/* The kernel dot_<name>_<level> with the dot product `sums`. */
#define NEON_DOT(level, sums, name, bytes, n_sub, n_scale, offset, n_min, n_add)        \
    static void dot_##name##_##level(float *dst, size_t ld, int n_row,                  \
                                     const uint8_t *tile, const struct act *a, int tok, \
                                     int n_tok)                                         \
    {                                                                                   \
        const struct format f = {n_sub, n_scale,           offset,       n_min,         \
                                 n_add, TILE_ROWS * bytes, decode_##name};              \
        dot_any(sums, f, dst, ld, n_row, tile, a, tok, n_tok);                          \
    }

#endif
