/* levels.h - values of block types that are neither a linear code nor an IEEE float. */
#ifndef TENSOR_LEVELS_H
#define TENSOR_LEVELS_H

#include <stdint.h>
#include <string.h>

/* Levels of the 16 codes of IQ4_NL and IQ4_XS. */
#define LEVELS_IQ4 \
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113

/* Those of E2M1, the 4-bit float of MXFP4 and NVFP4, doubled: their scale is halved. */
#define LEVELS_E2M1 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

/* Those of the 8 codes of TQ3_1S and, below zero mirrored, the upper 8 of TQ4_1S; and the
 * signs that follow their Walsh-Hadamard transform: bit i, element i is negative. */
#define LEVELS_TQ3                                                                   \
    -1.996684f, -1.291398f, -0.740341f, -0.247508f, 0.230106f, 0.725222f, 1.277503f, \
        1.988943f
#define LEVELS_TQ4_UPPER \
    0.128395f, 0.388048f, 0.656759f, 0.942340f, 1.256231f, 1.618046f, 2.069017f, 2.732590f
#define LEVELS_TQ_MINUS 0x696b4b4au

/* 2^(e - 128), half of E8M0, the scale of MXFP4.  The halves of the two least are
 * subnormal; that of the largest, which the OCP calls NaN, is finite, so that a zero code
 * is zero whatever the scale. */
static inline float level_e8m0_half(uint8_t e)
{
    const uint32_t bits = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Half of UE4M3, the scale of NVFP4: exponent of 4 bits with bias 7, mantissa of 3.  The
 * code of NaN, 0x7f, counts as zero; bit 7 is unused.  As bits of a float, exponent and
 * mantissa are 2^-120 times the value, subnormals too. */
static inline float level_ue4m3_half(uint8_t x)
{
    const uint32_t bits = x == 0x7f ? 0 : (uint32_t)(x & 0x7f) << 20;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f * 0x1p119f;
}

/* Digit n, 0..2, of a byte of TQ1_0, a fixed-point fraction in base 3. */
static inline int level_trit(uint8_t b, int n)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    return (uint8_t)(b * power[n]) * 3 >> 8;
}

#endif
