#include "tensor/random.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/levels.h"

static void store_f16(uint8_t *p, double x)
{
    const uint16_t h = dtype_f32_to_f16((float)x);
    p[0] = (uint8_t)h;
    p[1] = (uint8_t)(h >> 8);
}

/* Scales for codes that are uniform over n values.  With a fixed offset of n / 2 their
 * mean is -1/2, which a random sign of the scale cancels: the mean square of a code is
 * (n^2 - 1) / 12 + 1/4.  With a min it is cancelled exactly. */
static double code_rms(int n, int has_min)
{
    return sqrt((n * (double)n - 1) / 12 + (has_min ? 0 : 0.25));
}

/* Sub-scales of Q4_K and Q5_K: six bits in [32, 64), the min's equal to the scale's. */
static void random_scales_k(uint8_t *s, uint64_t bits)
{
    int scale[8];
    for (int j = 0; j < 8; j++)
        scale[j] = 32 + (int)(bits >> 5 * j & 31);
    for (int j = 0; j < 4; j++) {
        s[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        s[j + 4] = s[j];
        s[j + 8] = (uint8_t)((scale[j + 4] & 15) | (scale[j + 4] & 15) << 4);
    }
}

static void random_float(enum dtype t, uint8_t *dst, uint64_t bits, double sigma)
{
    /* uniform on +-sqrt(3) sigma */
    const double u = (double)(bits >> 11) * 0x1p-53;
    const float x = (float)((2 * u - 1) * sqrt(3.0) * sigma);
    uint32_t word;
    memcpy(&word, &x, sizeof word);
    if (t == DTYPE_F32)
        memcpy(dst, &x, sizeof x);
    else if (t == DTYPE_F16)
        store_f16(dst, (double)x);
    else
        memcpy(dst, (uint16_t[]){(uint16_t)(word >> 16)}, 2);
}

static double levels_rms(const int8_t *level)
{
    double sum = 0;
    for (int i = 0; i < 16; i++)
        sum += (double)(level[i] * level[i]);
    return sqrt(sum / 16);
}

/* Scales that can be powers of two only: one of the two neighbours of s, of which the
 * larger is so likely that the mean square is s^2. */
static int random_exponent(double s, uint64_t bits)
{
    const int k = ilogb(s);
    const double u = (double)(bits >> 11) * 0x1p-53, above = s * s / ldexp(1, 2 * k) - 1;
    return u < above / 3 ? k + 1 : k;
}

/* The same for UE4M3, whose positive codes are in the order of their values. */
static uint8_t random_ue4m3(double s, uint64_t bits)
{
    const double u = (double)(bits >> 11) * 0x1p-53;
    uint8_t x = 0;
    while (x < 0x7d && 2 * (double)level_ue4m3_half((uint8_t)(x + 1)) <= s)
        x++;
    const double a = 2 * (double)level_ue4m3_half(x);
    const double b = 2 * (double)level_ue4m3_half((uint8_t)(x + 1));
    return (uint8_t)(u < (s * s - a * a) / (b * b - a * a) ? x + 1 : x);
}

/* Codes of two bits from 0 to 3 with a mean of 1, and a mean square about it of 1: the
 * high bits of uniform ones are set in a quarter of them. */
static void random_two_bits(uint8_t *qs, int n, uint64_t bits)
{
    for (int i = 0; i < n; i++)
        qs[i] &= (uint8_t)(0x55 | rng_at(bits, (uint64_t)i) >> 56);
}

/* Sub-scales of Q2_K: 8 .. 15, the min's equal to the scale's. */
static void random_scales_q2(uint8_t *s, uint64_t bits)
{
    for (int i = 0; i < 16; i++, bits >>= 3)
        s[i] = (uint8_t)((8 + (bits & 7)) * 17);
}

/* Sub-scales of Q3_K: six bits, 32 + or - [16, 32). */
static void random_scales_q3(uint8_t *s, uint64_t bits)
{
    memset(s, 0, 12);
    for (int k = 0; k < 16; k++) {
        const uint64_t b = rng_at(bits, (uint64_t)k);
        const int magnitude = 16 + (int)(b >> 60);
        const int scale = b & 1 ? 32 + magnitude : 32 - magnitude;
        s[k % 8] |= (uint8_t)((scale & 15) << 4 * (k / 8));
        s[8 + k % 4] |= (uint8_t)(scale >> 4 << 2 * (k / 4));
    }
}

/* Sub-scales of IQ4_XS: six bits, 32 + or - [16, 32). */
static void random_scales_xs(uint8_t *block, uint64_t bits)
{
    for (int j = 0; j < 8; j++, bits >>= 5) {
        const int magnitude = 16 + (int)(bits & 15);
        const int scale = bits >> 4 & 1 ? 32 + magnitude : 32 - magnitude;
        uint8_t *low = block + 4 + j / 2, *high = block + 2 + j / 4;
        *low = (uint8_t)(j % 2 ? (*low & 15) | (scale & 15) << 4 : scale & 15);
        *high = (uint8_t)((j % 4 ? *high : 0) | scale >> 4 << 2 * (j % 4));
    }
}

/* Codes are random bytes already; set the scales. */
static void random_scales(enum dtype t, uint8_t *block, uint64_t bits, double sigma)
{
    const double sign = bits >> 63 ? -1 : 1;
    static const int8_t iq4[16] = {LEVELS_IQ4}, e2m1[16] = {LEVELS_E2M1};
    /* root mean square of the integers 8..15, 16..31, 32..63 and 64..127 */
    const double rms4 = sqrt(11.5 * 11.5 + 63.0 / 12);
    const double rms5 = sqrt(23.5 * 23.5 + 255.0 / 12);
    const double rms6 = sqrt(47.5 * 47.5 + 1023.0 / 12);
    const double rms8 = sqrt(95.5 * 95.5 + 4095.0 / 12);
    double d;
    switch (t) {
    case DTYPE_Q4_0:
        store_f16(block, sign * sigma / code_rms(16, 0));
        break;
    case DTYPE_Q5_0:
        store_f16(block, sign * sigma / code_rms(32, 0));
        break;
    case DTYPE_Q8_0:
        store_f16(block, sign * sigma / code_rms(256, 0));
        break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
        d = sigma / code_rms(t == DTYPE_Q4_1 ? 16 : 32, 1);
        store_f16(block, d);
        store_f16(block + 2, -d * (t == DTYPE_Q4_1 ? 7.5 : 15.5));
        break;
    case DTYPE_Q2_K:
        d = sigma / (code_rms(4, 1) * rms4);
        store_f16(block + 80, d);
        store_f16(block + 82, d * 1.5);
        random_scales_q2(block, bits);
        break;
    case DTYPE_Q3_K:
        store_f16(block + 108, sigma / (code_rms(8, 0) * rms5));
        random_scales_q3(block + 96, bits);
        break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        d = sigma / (code_rms(t == DTYPE_Q4_K ? 16 : 32, 1) * rms6);
        store_f16(block, d);
        store_f16(block + 2, d * (t == DTYPE_Q4_K ? 7.5 : 15.5));
        random_scales_k(block + 4, bits);
        break;
    case DTYPE_Q6_K:
        store_f16(block + 208, sigma / (code_rms(64, 0) * rms8));
        for (int i = 0; i < 16; i++) {
            const int scale = 64 + (int)(rng_mix(bits + (uint64_t)i) >> 58);
            block[192 + i] = (uint8_t)(bits >> i & 1 ? scale : -scale);
        }
        break;
    case DTYPE_IQ4_NL:
        store_f16(block, sign * sigma / levels_rms(iq4));
        break;
    case DTYPE_IQ4_XS:
        store_f16(block, sigma / (levels_rms(iq4) * rms5));
        random_scales_xs(block, bits);
        break;
    case DTYPE_MXFP4:
        block[0] = (uint8_t)(128 + random_exponent(sigma / levels_rms(e2m1), bits));
        break;
    case DTYPE_NVFP4:
        for (int i = 0; i < 4; i++)
            block[i] =
                random_ue4m3(2 * sigma / levels_rms(e2m1), rng_at(bits, (uint64_t)i));
        break;
    case DTYPE_TQ1_0: // digits 0, 1, 2 are as likely
        store_f16(block + 52, sign * sigma / sqrt(2.0 / 3));
        break;
    case DTYPE_TQ2_0:
        random_two_bits(block, 64, bits);
        store_f16(block + 64, sign * sigma);
        break;
    case DTYPE_TQ3_1S:
    case DTYPE_TQ4_1S: // the mean square of the levels; the rotation keeps it
        store_f16(block, sign * sigma / (t == DTYPE_TQ3_1S ? 1.246526 : 1.476079));
        memcpy(block + 2, block, 2);
        break;
    case DTYPE_Q1_0:
        store_f16(block, sign * sigma);
        break;
    case DTYPE_Q2_0:
        random_two_bits(block + 2, 16, bits);
        store_f16(block, sign * sigma);
        break;
    default:
        break;
    }
}

void dtype_random(enum dtype t, uint8_t *dst, int64_t n_block, uint64_t seed, float sigma)
{
    const struct dtype_traits *traits = dtype_find(t);
    const size_t bytes = (size_t)traits->block_bytes;
    for (int64_t b = 0; b < n_block; b++, dst += bytes) {
        const uint64_t key = rng_at(seed, (uint64_t)b);
        if (traits->block_elems == 1) {
            random_float(t, dst, key, (double)sigma);
            continue;
        }
        for (size_t i = 0; i < bytes; i += 8) {
            const uint64_t bits = rng_mix(key + i + 1);
            memcpy(dst + i, &bits, bytes - i < 8 ? bytes - i : 8);
        }
        random_scales(t, dst, key, (double)sigma);
    }
}
