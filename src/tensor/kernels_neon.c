/* kernels_neon.c - every kernel for the NEON of all 64-bit Arm processors.  Products of
 * bytes have 16 bits: sums of a few stay in range (n_add of struct format) before they
 * widen to 32. */
#include "tensor/kernels.h"

#if defined(__aarch64__)

#include <math.h>

#include "tensor/floats_neon.h"
#include "tensor/neon_blocks.h"

CPU_INLINE int8x16_t four_bytes(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* Words v0 .. v1 - 1 of a sub times their activations. */
CPU_INLINE int32x4_t sum_words(const struct format f, const struct sub *s,
                               const int8_t *q, int v0, int v1)
{
    int32x4_t low = vdupq_n_s32(0), high = low; // pairs of columns: rows 0, 1 and 2, 3
#pragma GCC unroll 8
    for (int v = v0; v < v1; v += f.n_add) {
        const int8x16_t x = four_bytes(q + 4 * v);
        int16x8_t a = vmull_s8(vget_low_s8(s->w[v]), vget_low_s8(x));
        int16x8_t b = vmull_high_s8(s->w[v], x);
#pragma GCC unroll 8
        for (int u = v + 1; u < v + f.n_add; u++) {
            const int8x16_t y = four_bytes(q + 4 * u);
            a = vmlal_s8(a, vget_low_s8(s->w[u]), vget_low_s8(y));
            b = vmlal_high_s8(b, s->w[u], y);
        }
        low = vpadalq_s16(low, a);
        high = vpadalq_s16(high, b);
    }
    return vpaddq_s32(low, high);
}

CPU_INLINE void sums_neon(const struct format f, int32x4_t sum[2], const struct sub *s,
                          const int8_t *q)
{
    if (f.n_scale == 2) {
        sum[0] = sum_words(f, s, q, 0, 4);
        sum[1] = sum_words(f, s, q, 4, 8);
    } else {
        sum[0] = sum_words(f, s, q, 0, 8);
    }
}

#define DOT(...) NEON_DOT(neon, sums_neon, __VA_ARGS__)
NEON_BLOCK_TYPES(DOT)
#undef DOT

/* ---- float types ---- */

CPU_INLINE float32x4_t column_f32(const uint8_t *tile, size_t i, int h)
{
    return vreinterpretq_f32_u8(word(tile + TILE_WORD * i, h));
}

CPU_INLINE float32x4_t column_f16(const uint8_t *tile, size_t i, int h)
{
    return halves(tile + TILE_HALF * i, h);
}

CPU_INLINE float32x4_t column_bf16(const uint8_t *tile, size_t i, int h)
{
    const uint16x4_t x = vreinterpret_u16_u8(vld1_u8(tile + TILE_HALF * i + 8 * h));
    return vreinterpretq_f32_u32(vshll_n_u16(x, 16));
}

typedef float32x4_t column_fn(const uint8_t *tile, size_t i, int h);

/* Column i, i % 4 = c, into quarters h0 .. h0 + n_h - 1 of the partial sums. */
CPU_INLINE void add_column(column_fn *column, float32x4_t acc[2][4][4],
                           const uint8_t *tile, size_t i, size_t c, int h0, int n_h,
                           const float *x, size_t n_in, int n_tok)
{
#pragma GCC unroll 4
    for (int h = 0; h < n_h; h++) {
        const float32x4_t w = column(tile, i, h0 + h);
#pragma GCC unroll 2
        for (int t = 0; t < n_tok; t++)
            acc[t][c][h] = vfmaq_n_f32(acc[t][c][h], w, x[(size_t)t * n_in + i]);
    }
}

/* Four partial sums, by column modulo 4: one token takes a whole tile at a time, two
 * take half of it, so that the sums stay in 16 registers. */
CPU_INLINE void dot_quarters(column_fn *column, float dst[2][TILE_ROWS],
                             const uint8_t *tile, const float *x, size_t n_in, int h0,
                             int n_h, int n_tok)
{
    float32x4_t acc[2][4][4];
    size_t i = 0;
#pragma GCC unroll 32
    for (int k = 0; k < 16 * n_tok; k++)
        acc[k / 16][k / 4 % 4][k % 4] = vdupq_n_f32(0.0f);
    for (; i + 4 <= n_in; i += 4) {
#pragma GCC unroll 4
        for (size_t c = 0; c < 4; c++)
            add_column(column, acc, tile, i + c, c, h0, n_h, x, n_in, n_tok);
    }
#pragma GCC unroll 3
    for (size_t c = 0; c < 3; c++)
        if (i + c < n_in)
            add_column(column, acc, tile, i + c, c, h0, n_h, x, n_in, n_tok);
#pragma GCC unroll 2
    for (int t = 0; t < n_tok; t++) {
#pragma GCC unroll 4
        for (int h = 0; h < n_h; h++)
            vst1q_f32(dst[t] + 4 * (h0 + h),
                      vaddq_f32(vaddq_f32(acc[t][0][h], acc[t][1][h]),
                                vaddq_f32(acc[t][2][h], acc[t][3][h])));
    }
}

CPU_INLINE void dot_columns(column_fn *column, float *dst, size_t ld, int n_row,
                            const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    const size_t n_in = (size_t)a->n_in, row_bytes = (size_t)n_row * sizeof *dst;
    const float *x = a->x + (size_t)tok * n_in;
    float all[2][TILE_ROWS];
    for (; n_tok >= 2; n_tok -= 2, dst += 2 * ld, x += 2 * n_in) {
        dot_quarters(column, all, tile, x, n_in, 0, 2, 2);
        dot_quarters(column, all, tile, x, n_in, 2, 2, 2);
        memcpy(dst, all[0], row_bytes);
        memcpy(dst + ld, all[1], row_bytes);
    }
    if (n_tok) {
        dot_quarters(column, all, tile, x, n_in, 0, 4, 1);
        memcpy(dst, all[0], row_bytes);
    }
}

#define DOT(name)                                                                        \
    static void dot_##name##_neon(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                                  const struct act *a, int tok, int n_tok)               \
    {                                                                                    \
        dot_columns(column_##name, dst, ld, n_row, tile, a, tok, n_tok);                 \
    }
DOT(f32)
DOT(f16)
DOT(bf16)
#undef DOT

/* ---- the others ---- */

static void rms_norm_neon(float *dst, const float *x, const float *w, int n, float eps)
{
    const float scale = (float)(1.0 / sqrt(squares(x, n) / n + (double)eps));
    int i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i,
                  vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), scale), vld1q_f32(w + i)));
    for (; i < n; i++)
        dst[i] = x[i] * scale * w[i];
}

CPU_INLINE float32x4_t swiglu4(float32x4_t g, float32x4_t u)
{
    return vmulq_f32(silu4(g), u);
}

static void swiglu_neon(float *dst, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(dst + i, swiglu4(vld1q_f32(gate + i), vld1q_f32(up + i)));
    if (i < n) {
        float g[4] = {0}, u[4] = {0};
        memcpy(g, gate + i, (n - i) * sizeof *g);
        memcpy(u, up + i, (n - i) * sizeof *u);
        vst1q_f32(g, swiglu4(vld1q_f32(g), vld1q_f32(u)));
        memcpy(dst + i, g, (n - i) * sizeof *g);
    }
}

/* 16 codes, and their sum. */
CPU_INLINE int32_t quantize16(int8_t *q, const float *x, float inverse)
{
    int32x4_t v[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        v[k] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * k), inverse));
    const int16x8_t a = vcombine_s16(vmovn_s32(v[0]), vmovn_s32(v[1]));
    const int16x8_t b = vcombine_s16(vmovn_s32(v[2]), vmovn_s32(v[3]));
    vst1q_s8(q, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
    return vaddvq_s32(vaddq_s32(vaddq_s32(v[0], v[1]), vaddq_s32(v[2], v[3])));
}

static void quantize_neon(const struct act *a, int tok)
{
    const float *x = a->x + (size_t)tok * (size_t)a->n_in, *end = x + a->n_in;
    const size_t step = (size_t)act_group(a, tok);
    for (struct act_block *dst = act_at(a, tok, 0); x < end; x += 32, dst += step) {
        uint32x4_t top = vdupq_n_u32(0);
#pragma GCC unroll 8
        for (int k = 0; k < 8; k++)
            top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + 4 * k))));
        const uint32_t max_bits = vmaxvq_u32(top);
        float max;
        memcpy(&max, &max_bits, sizeof max);
        if (max_bits < 0x7f800000 && max >= 0x1p-120f) {
            dst->scale = max / 127.0f;
            dst->sum[0] = quantize16(dst->q, x, 127.0f / max);
            dst->sum[1] = quantize16(dst->q + 16, x + 16, 127.0f / max);
            dst->sum32 = dst->sum[0] + dst->sum[1];
            dst->mass = dst->scale * (float)dst->sum32;
        } else {
            *dst = (struct act_block){.scale = max_bits < 0x7f800000 ? 0.0f : NAN};
            dst->mass = dst->scale;
        }
    }
}

void tensor_kernels_init_neon(struct tensor_kernels *k)
{
    k->dot_f32 = dot_f32_neon;
    k->dot_f16 = dot_f16_neon;
    k->dot_bf16 = dot_bf16_neon;
#define DOT(name, ...) k->dot_##name = dot_##name##_neon;
    NEON_BLOCK_TYPES(DOT)
#undef DOT
    k->quantize = quantize_neon;
    k->rms_norm = rms_norm_neon;
    k->swiglu = swiglu_neon;
#define K(name, ret, args)
#define LINEAR(name, ret, args) k->name = name##_neon;
#include "tensor/kernels.def"
#undef K
}

#endif
