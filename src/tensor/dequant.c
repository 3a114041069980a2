#include "tensor/dequant.h"

#include <string.h>

#include "tensor/dtype.h"
#include "tensor/levels.h"

static const int8_t iq4[16] = {LEVELS_IQ4}, e2m1[16] = {LEVELS_E2M1};

static uint32_t load_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static float load_f16(const uint8_t *p)
{
    return dtype_f16_to_f32((uint16_t)(p[0] | p[1] << 8));
}

/* Element i of a block of 32: the low nibble of byte i, then the high nibbles. */
static int nibble(const uint8_t *qs, int i)
{
    return i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
}

void dequant_f32(float *dst, const uint8_t *src, int64_t n_block)
{
    memcpy(dst, src, (size_t)n_block * sizeof *dst);
}

void dequant_f16(float *dst, const uint8_t *src, int64_t n_block)
{
    for (int64_t i = 0; i < n_block; i++)
        dst[i] = load_f16(src + 2 * i);
}

void dequant_bf16(float *dst, const uint8_t *src, int64_t n_block)
{
    for (int64_t i = 0; i < n_block; i++) {
        const uint32_t bits = (uint32_t)src[2 * i] << 16 | (uint32_t)src[2 * i + 1] << 24;
        memcpy(dst + i, &bits, sizeof bits);
    }
}

/* d f16, qs[16] */
void dequant_q4_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 18, dst += 32) {
        const float d = load_f16(src);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)(nibble(src + 2, i) - 8);
    }
}

/* d f16, m f16, qs[16] */
void dequant_q4_1(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 20, dst += 32) {
        const float d = load_f16(src), m = load_f16(src + 2);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)nibble(src + 4, i) + m;
    }
}

/* d f16, qh u32 (bit i belongs to element i), qs[16] */
void dequant_q5_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 22, dst += 32) {
        const float d = load_f16(src);
        const uint32_t qh = load_u32(src + 2);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)(nibble(src + 6, i) + (int)(qh >> i & 1) * 16 - 16);
    }
}

/* d f16, m f16, qh u32, qs[16] */
void dequant_q5_1(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 24, dst += 32) {
        const float d = load_f16(src), m = load_f16(src + 2);
        const uint32_t qh = load_u32(src + 4);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)(nibble(src + 8, i) + (int)(qh >> i & 1) * 16) + m;
    }
}

/* d f16, qs i8[32] */
void dequant_q8_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 34, dst += 32) {
        const float d = load_f16(src);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)(int8_t)src[2 + i];
    }
}

/* Scale and min of sub-block j of 8, six bits each in s[12]. */
static void scale_min(int *scale, int *min, const uint8_t *s, int j)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *min = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *min = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* d f16, dmin f16, scales[12], qs[128]; byte l of qs + 32p holds element l of sub-blocks
 * 2p (low nibble) and 2p + 1. */
void dequant_q4_k(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 144, dst += 256) {
        const float d = load_f16(src), dmin = load_f16(src + 2);
        for (int i = 0; i < 256; i++) {
            const int j = i / 32, l = i % 32;
            int scale, min;
            scale_min(&scale, &min, src + 4, j);
            const int q = src[16 + j / 2 * 32 + l] >> (j & 1) * 4 & 15;
            dst[i] = d * (float)scale * (float)q - dmin * (float)min;
        }
    }
}

/* As Q4_K, with qh[32] before qs: bit j of qh[l] belongs to element l of sub-block j. */
void dequant_q5_k(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 176, dst += 256) {
        const float d = load_f16(src), dmin = load_f16(src + 2);
        for (int i = 0; i < 256; i++) {
            const int j = i / 32, l = i % 32;
            int scale, min;
            scale_min(&scale, &min, src + 4, j);
            const int low = src[48 + j / 2 * 32 + l] >> (j & 1) * 4 & 15;
            const int q = low + (src[16 + l] >> j & 1) * 16;
            dst[i] = d * (float)scale * (float)q - dmin * (float)min;
        }
    }
}

/* ql[128], qh[64], scales i8[16], d f16.  Half n of the block: sub-block k of 32 takes
 * its low bits from the nibble k / 2 of ql + 64n + 32 (k % 2), its high bits from bits
 * 2k of qh + 32n. */
void dequant_q6_k(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 210, dst += 256) {
        const float d = load_f16(src + 208);
        for (int i = 0; i < 256; i++) {
            const int n = i / 128, k = i / 32 % 4, l = i % 32;
            const int low = src[64 * n + 32 * (k & 1) + l] >> (k / 2) * 4 & 15;
            const int high = src[128 + 32 * n + l] >> 2 * k & 3;
            const float scale = (float)(int8_t)src[192 + i / 16];
            dst[i] = d * scale * (float)((low | high << 4) - 32);
        }
    }
}

/* Element i of qs[64], two bits each: four times 32 elements share the bytes of a half.
 */
static int two_bits(const uint8_t *qs, int i)
{
    return qs[i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
}

/* scales[16] (low nibble scale, high nibble min), qs[64], d f16, dmin f16 */
void dequant_q2_k(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 84, dst += 256) {
        const float d = load_f16(src + 80), dmin = load_f16(src + 82);
        for (int i = 0; i < 256; i++) {
            const float scale = (float)(src[i / 16] & 15),
                        min = (float)(src[i / 16] >> 4);
            dst[i] = d * scale * (float)two_bits(src + 16, i) - dmin * min;
        }
    }
}

/* hmask[32], qs[64], scales[12], d f16; a scale has its low bits in a nibble of
 * scales[0..7] and its high ones in two bits of scales[8..11].  Bit j of hmask[l] belongs
 * to element l of 32 in sub-block j. */
void dequant_q3_k(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 110, dst += 256) {
        const uint8_t *scales = src + 96;
        const float d = load_f16(src + 108);
        for (int i = 0; i < 256; i++) {
            const int k = i / 16, high = scales[8 + k % 4] >> 2 * (k / 4) & 3;
            const int scale = (scales[k % 8] >> 4 * (k / 8) & 15) | high << 4;
            const int top = src[i % 32] >> i / 32 & 1;
            const int q = two_bits(src + 32, i) + 4 * top - 4;
            dst[i] = d * (float)(scale - 32) * (float)q;
        }
    }
}

/* d f16, qs[16]: codes of levels */
void dequant_iq4_nl(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 18, dst += 32) {
        const float d = load_f16(src);
        for (int i = 0; i < 32; i++)
            dst[i] = d * (float)iq4[nibble(src + 2, i)];
    }
}

/* d f16, scales_h u16, scales_l[4], qs[128]: eight times 32 elements as in IQ4_NL; a
 * scale has its low bits in a nibble of scales_l and its high ones in bits 2j of
 * scales_h. */
void dequant_iq4_xs(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 136, dst += 256) {
        const float d = load_f16(src);
        const int high = src[2] | src[3] << 8;
        for (int i = 0; i < 256; i++) {
            const int j = i / 32, low = src[4 + j / 2] >> 4 * (j % 2) & 15;
            const float scale = (float)((low | (high >> 2 * j & 3) << 4) - 32);
            dst[i] = d * scale * (float)iq4[nibble(src + 8 + 16 * j, i % 32)];
        }
    }
}

/* e u8, qs[16]: values are 2^(e - 127) times floats of four bits */
void dequant_mxfp4(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 17, dst += 32) {
        const float half = level_e8m0_half(src[0]);
        for (int i = 0; i < 32; i++)
            dst[i] = half * (float)e2m1[nibble(src + 1, i)];
    }
}

/* d[4], each UE4M3 and for 16 elements, qs[32]: byte l of qs + 8s holds elements l (low
 * nibble) and l + 8 of the 16.  The scale of a whole tensor is not in the block. */
void dequant_nvfp4(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 36, dst += 64)
        for (int i = 0; i < 64; i++) {
            const int s = i / 16, q = src[4 + 8 * s + i % 8] >> i / 8 % 2 * 4 & 15;
            dst[i] = level_ue4m3_half(src[s]) * (float)e2m1[q];
        }
}

/* qs[48], qh[4], d f16: digits of base 3, five in a byte of qs and four in one of qh;
 * equal digits of 32 (qs[0..31]), 16 or 4 bytes are elements in a row. */
void dequant_tq1_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 54, dst += 256) {
        const float d = load_f16(src + 52);
        for (int i = 0; i < 256; i++) {
            const int trit = i < 160   ? level_trit(src[i % 32], i / 32)
                             : i < 240 ? level_trit(src[32 + i % 16], (i - 160) / 16)
                                       : level_trit(src[48 + i % 4], (i - 240) / 4);
            dst[i] = d * (float)(trit - 1);
        }
    }
}

/* qs[64], d f16 */
void dequant_tq2_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 66, dst += 256) {
        const float d = load_f16(src + 64);
        for (int i = 0; i < 256; i++)
            dst[i] = d * (float)(two_bits(src, i) - 1);
    }
}

/* d f16, qs[16]: bit i is the sign of element i */
void dequant_q1_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 18, dst += 128) {
        const float d = load_f16(src);
        for (int i = 0; i < 128; i++)
            dst[i] = src[2 + i / 8] >> i % 8 & 1 ? d : -d;
    }
}

/* d f16, qs[16]: two bits an element, in their order */
void dequant_q2_0(float *dst, const uint8_t *src, int64_t n_block)
{
    for (; n_block-- > 0; src += 18, dst += 64) {
        const float d = load_f16(src);
        for (int i = 0; i < 64; i++)
            dst[i] = d * (float)((src[2 + i / 4] >> i % 4 * 2 & 3) - 1);
    }
}
