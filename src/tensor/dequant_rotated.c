/* dequant_rotated.c - the weight types of TheTom's fork: 32 levels for a normal
 * distribution, half of them times d0 and half times d1, which a Walsh-Hadamard transform
 * and fixed signs turn into weights. */
#include "tensor/dequant.h"

#include "tensor/dtype.h"
#include "tensor/levels.h"

/* dst [32] <- sign * H c / sqrt(32); c is overwritten.  In double, so that a value is
 * rounded once. */
static void rotate_back(float *dst, double *c)
{
    for (int step = 1; step < 32; step *= 2)
        for (int i = 0; i < 32; i += 2 * step)
            for (int k = i; k < i + step; k++) {
                const double a = c[k], b = c[k + step];
                c[k] = a + b;
                c[k + step] = a - b;
            }
    for (int i = 0; i < 32; i++) {
        const double x = c[i] * 0.17677669529663688110; // 1 / sqrt(32)
        dst[i] = (float)(LEVELS_TQ_MINUS >> i & 1 ? -x : x);
    }
}

/* d0 f16, d1 f16, then codes: the scale of element j of 32. */
static double half_scale(const uint8_t *block, int j)
{
    const uint8_t *d = block + (j < 16 ? 0 : 2);
    return (double)dtype_f16_to_f32((uint16_t)(d[0] | d[1] << 8));
}

/* qs[12]: three bits an element, in their order */
void dequant_tq3_1s(float *dst, const uint8_t *src, int64_t n_block)
{
    static const float level[8] = {LEVELS_TQ3};
    for (; n_block-- > 0; src += 16, dst += 32) {
        double c[32];
        for (int j = 0; j < 32; j++) {
            const uint8_t *three = src + 4 + j / 8 * 3;
            const int bits = three[0] | three[1] << 8 | three[2] << 16;
            c[j] = half_scale(src, j) * (double)level[bits >> j % 8 * 3 & 7];
        }
        rotate_back(dst, c);
    }
}

/* qs[16]: four bits an element, in their order */
void dequant_tq4_1s(float *dst, const uint8_t *src, int64_t n_block)
{
    static const float level[8] = {LEVELS_TQ4_UPPER};
    for (; n_block-- > 0; src += 20, dst += 32) {
        double c[32];
        for (int j = 0; j < 32; j++) {
            const int q = src[4 + j / 2] >> j % 2 * 4 & 15;
            const float l = q < 8 ? -level[7 - q] : level[q - 8];
            c[j] = half_scale(src, j) * (double)l;
        }
        rotate_back(dst, c);
    }
}
