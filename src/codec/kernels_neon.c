/* kernels_neon.c - rotation, conversion and packing for NEON. */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <math.h>

#include "codec/f16.h"
#include "codec/layout.h"
#include "codec/neon.h"
#include "codec/tables.h"

/* ---- rotation ---- */

/* Bit k of `bits`, k = 0 .. 3, moved to the sign of lane k. */
CPU_INLINE uint32x4_t sign_bits(uint32_t bits)
{
    static const int32_t up[4] = {31, 30, 29, 28};
    return vandq_u32(vshlq_u32(vdupq_n_u32(bits), vld1q_s32(up)),
                     vdupq_n_u32(0x80000000u));
}

CPU_INLINE float32x4_t flip_lanes(float32x4_t x, uint32x4_t signs)
{
    return vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(x), signs));
}

static void flip_row(float *x, int d)
{
    for (int i = 0; i < d; i += 4) {
        const uint32_t bits = (uint32_t)(tq_sign[i / 64] >> (i % 64));
        vst1q_f32(x + i, flip_lanes(vld1q_f32(x + i), sign_bits(bits)));
    }
}

CPU_INLINE float32x4_t low_pair(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(
        vtrn1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

CPU_INLINE float32x4_t high_pair(float32x4_t a, float32x4_t b)
{
    return vreinterpretq_f32_f64(
        vtrn2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

/* Butterflies at distances 1 and 2, and 4 if there is more than one vector in `inner`. */
static void butterflies_in_lanes(float *x, int d, int inner)
{
    for (int i = 0; i < d; i += 8) {
        float32x4_t a = vld1q_f32(x + i), b = vld1q_f32(x + i + 4);
        float32x4_t p = vtrn1q_f32(a, b), q = vtrn2q_f32(a, b);
        float32x4_t sum = vaddq_f32(p, q), difference = vsubq_f32(p, q);
        a = vtrn1q_f32(sum, difference);
        b = vtrn2q_f32(sum, difference);
        p = low_pair(a, b);
        q = high_pair(a, b);
        sum = vaddq_f32(p, q);
        difference = vsubq_f32(p, q);
        a = low_pair(sum, difference);
        b = high_pair(sum, difference);
        vst1q_f32(x + i, inner > 4 ? vaddq_f32(a, b) : a);
        vst1q_f32(x + i + 4, inner > 4 ? vsubq_f32(a, b) : b);
    }
}

/* Butterflies at distances half and 2 * half. */
static void two_stages(float *x, int d, int half)
{
    for (int i = 0; i < d; i += 4 * half)
        for (float *p = x + i; p < x + i + half; p += 4) {
            const float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + half);
            const float32x4_t c = vld1q_f32(p + 2 * half), e = vld1q_f32(p + 3 * half);
            const float32x4_t ab = vaddq_f32(a, b), a_b = vsubq_f32(a, b);
            const float32x4_t ce = vaddq_f32(c, e), c_e = vsubq_f32(c, e);
            vst1q_f32(p, vaddq_f32(ab, ce));
            vst1q_f32(p + half, vaddq_f32(a_b, c_e));
            vst1q_f32(p + 2 * half, vsubq_f32(ab, ce));
            vst1q_f32(p + 3 * half, vsubq_f32(a_b, c_e));
        }
}

static void one_stage(float *x, int d, int half)
{
    for (int i = 0; i < d; i += 2 * half)
        for (float *p = x + i; p < x + i + half; p += 4) {
            const float32x4_t a = vld1q_f32(p), b = vld1q_f32(p + half);
            vst1q_f32(p, vaddq_f32(a, b));
            vst1q_f32(p + half, vsubq_f32(a, b));
        }
}

/* out <- the base matrix times x viewed as [order][inner], four rows at a time. */
static void base_transform(float *out, const float *x, const uint32_t *row, int order,
                           int inner)
{
    const uint32x4_t top = vdupq_n_u32(0x80000000u);
    for (int b = 0; b < inner; b += 4)
        for (int i = 0; i < order; i += 4) {
            float32x4_t sum[4];
            TQ_UNROLL
            for (int k = 0; k < 4; k++)
                sum[k] = vdupq_n_f32(0.0f);
            for (int j = 0; j < order; j++) {
                const float32x4_t v = vld1q_f32(x + j * inner + b);
                TQ_UNROLL
                for (int k = 0; k < 4; k++) {
                    const uint32x4_t bits = vdupq_n_u32(row[i + k] << (31 - j));
                    sum[k] = vaddq_f32(sum[k], flip_lanes(v, vandq_u32(bits, top)));
                }
            }
            TQ_UNROLL
            for (int k = 0; k < 4; k++)
                vst1q_f32(out + (i + k) * inner + b, sum[k]);
        }
}

static void hadamard(float *x, int d)
{
    const uint32_t *row = NULL;
    int order = 1;
    if (d == 96 || d == 192)
        row = tq_hadamard12, order = 12;
    else if (d == 80)
        row = tq_hadamard20, order = 20;
    else if (d == 112)
        row = tq_hadamard28, order = 28;
    const int inner = d / order;
    butterflies_in_lanes(x, d, inner);
    int half = 8;
    for (; 2 * half < inner; half *= 4)
        two_stages(x, d, half);
    if (half < inner)
        one_stage(x, d, half);
    float t[TQ_DIM_MAX];
    const float *from = x;
    if (row) {
        base_transform(t, x, row, order, inner);
        from = t;
    }
    const float norm = 1.0f / sqrtf((float)d);
    for (int i = 0; i < d; i += 4)
        vst1q_f32(x + i, vmulq_n_f32(vld1q_f32(from + i), norm));
}

void tq_rotate_neon(float *x, int d, int n)
{
    for (int i = 0; i < n; i++, x += d) {
        flip_row(x, d);
        hadamard(x, d);
    }
}

void tq_unrotate_neon(float *x, int d, int n)
{
    for (int i = 0; i < n; i++, x += d) {
        hadamard(x, d);
        flip_row(x, d);
    }
}

/* ---- conversion ---- */

void tq_to_f16_neon(uint16_t *out, const float *x, int n)
{
    const float32x4_t most = vdupq_n_f32(65504.0f);
    const uint32x4_t infinity = vdupq_n_u32(0x7f800000u);
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        const float32x4_t v = vld1q_f32(x + i);
        const uint32x4_t special =
            vcgeq_u32(vreinterpretq_u32_f32(vabsq_f32(v)), infinity);
        const float32x4_t held = vmaxq_f32(vminq_f32(v, most), vnegq_f32(most));
        const float16x4_t h = vcvt_f16_f32(vbslq_f32(special, v, held));
        vst1_u16(out + i, vreinterpret_u16_f16(h));
    }
    for (; i < n; i++)
        out[i] = tq_f32_to_f16(x[i]);
}

/* Exchange rows and columns of 8 vectors of 8: blocks of 1, 2, then 4. */
CPU_INLINE void transpose8(uint16x8_t v[8])
{
    TQ_UNROLL
    for (int i = 0; i < 8; i += 2) {
        const uint16x8_t a = v[i], b = v[i + 1];
        v[i] = vtrn1q_u16(a, b);
        v[i + 1] = vtrn2q_u16(a, b);
    }
    TQ_UNROLL
    for (int i = 0; i < 8; i++) {
        if (i & 2)
            continue;
        const uint32x4_t a = vreinterpretq_u32_u16(v[i]),
                         b = vreinterpretq_u32_u16(v[i + 2]);
        v[i] = vreinterpretq_u16_u32(vtrn1q_u32(a, b));
        v[i + 2] = vreinterpretq_u16_u32(vtrn2q_u32(a, b));
    }
    TQ_UNROLL
    for (int i = 0; i < 4; i++) {
        const uint64x2_t a = vreinterpretq_u64_u16(v[i]),
                         b = vreinterpretq_u64_u16(v[i + 4]);
        v[i] = vreinterpretq_u16_u64(vtrn1q_u64(a, b));
        v[i + 4] = vreinterpretq_u16_u64(vtrn2q_u64(a, b));
    }
}

void tq_transpose_neon(uint16_t *out, const uint16_t *rows, int d)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j += 8)
        for (int i = 0; i < d; i += 8) {
            uint16x8_t v[8];
            TQ_UNROLL
            for (int k = 0; k < 8; k++)
                v[k] = vld1q_u16(rows + (j + k) * d + i);
            transpose8(v);
            TQ_UNROLL
            for (int k = 0; k < 8; k++)
                vst1q_u16(out + (i + k) * TQ_PAGE_TOKENS + j, v[k]);
        }
}

/* ---- codes to pages ---- */

/* Byte c of the words of row n of an array over 16 keys: 8 / b fields, code >> shift. */
CPU_INLINE uint8x16_t key_bytes(const uint8_t *code, int rows, int n, int c, int b,
                                int shift)
{
    const uint8x16_t mask = vdupq_n_u8((uint8_t)((1 << b) - 1));
    const int per_byte = 8 / b;
    uint8x16_t y = vdupq_n_u8(0);
    TQ_UNROLL
    for (int f = 0; f < per_byte; f++) {
        const int t = rows * (per_byte * c + f) + n;
        uint8x16_t x = vld1q_u8(code + t * TQ_PAGE_TOKENS);
        x = vandq_u8(vshlq_u8(x, vdupq_n_s8((int8_t)-shift)), mask);
        y = vorrq_u8(y, vshlq_u8(x, vdupq_n_s8((int8_t)(b * f))));
    }
    return y;
}

/* Words of 32 or 16 bits are bytes of 16 keys interleaved. */
CPU_INLINE void pack_array(uint8_t *out, const uint8_t *code, int word, int b, int shift,
                           int d)
{
    const int rows = d * b / word;
    for (int n = 0; n < rows; n++) {
        if (word == 32) {
            uint8x16x4_t y;
            TQ_UNROLL
            for (int c = 0; c < 4; c++)
                y.val[c] = key_bytes(code, rows, n, c, b, shift);
            vst4q_u8(out + 64 * n, y);
        } else {
            uint8x16x2_t y;
            TQ_UNROLL
            for (int c = 0; c < 2; c++)
                y.val[c] = key_bytes(code, rows, n, c, b, shift);
            vst2q_u8(out + 32 * n, y);
        }
    }
}

static void pack_bytes(uint8_t *out, const uint8_t *code, int d)
{
    for (int n = 0; n < d / 4; n++) {
        uint8x16x4_t y;
        TQ_UNROLL
        for (int c = 0; c < 4; c++)
            y.val[c] = vld1q_u8(code + (4 * n + c) * TQ_PAGE_TOKENS);
        vst4q_u8(out + 64 * n, y);
    }
}

void tq_pack_k_neon(uint8_t *out, const uint8_t *code, int bits, int d)
{
    for (int tile = 0; tile < 4; tile++, code += 16, out += 2 * bits * d) {
        if (bits == 8)
            pack_bytes(out, code, d);
        else if (bits == 4)
            pack_array(out, code, 32, 4, 0, d);
        else if (bits == 2)
            pack_array(out, code, 32, 2, 0, d);
        else {
            pack_array(out, code, 32, 2, 1, d);
            if (tq_v_word_bits(d) == 32)
                pack_array(out + 4 * d, code, 32, 1, 0, d);
            else
                pack_array(out + 4 * d, code, 16, 1, 0, d);
        }
    }
}

/* The portable version moves four tokens at a time already. */
void tq_pack_v_neon(uint8_t *out, const uint8_t *code, int bits, int d)
{
    tq_pack_v_c(out, code, bits, d);
}

#endif
