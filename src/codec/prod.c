/* prod.c - the residual bit of TurboQuant_prod: sign(S r) and |r|, which give an unbiased
 * estimate sqrt(pi/2) / d |r| S' sign(S r) of r over draws of S.
 * Sources: TurboQuant, arXiv 2504.19874, algorithm 2; QJL, arXiv 2406.03482. */
#include <math.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/parts.h"

enum { TOKENS = TQ_PAGE_TOKENS, LANES = 16 };

/* ---- the sign matrix ---- */

/* Natural logarithm for normal x > 0, from IEEE operations alone so that every machine
 * has the same matrix: x = m 2^e with m in [.707, 1.414), log m = 2 atanh(s). */
static double log_of(double x)
{
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    const double s = (m - 1) / (m + 1), z = s * s;
    double sum = 0;
    for (int k = 15; k >= 1; k -= 2)
        sum = sum * z + 1.0 / k;
    return e * 0.69314718055994531 + 2 * s * sum;
}

static double polynomial(const double *a, int n, double x)
{
    double sum = a[n - 1];
    for (int i = n - 2; i >= 0; i--)
        sum = sum * x + a[i];
    return sum;
}

/* The standard normal number below which lies probability p, 2^-33 <= p <= 1 - 2^-33;
 * relative error 1e-7.  Source: Wichura, algorithm AS 241 (PPND7), 1988. */
static double normal_quantile(double p)
{
    static const double a[] = {3.3871327179e0, 5.0434271938e1, 1.5929113202e2,
                               5.9109374720e1};
    static const double b[] = {1.0, 1.7895169469e1, 7.8757757664e1, 6.7187563600e1};
    static const double c[] = {1.4234372777e0, 2.7568153900e0, 1.3067284816e0,
                               1.7023821103e-1};
    static const double d[] = {1.0, 7.3700164250e-1, 1.2021132975e-1};
    const double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        const double r = 0.180625 - q * q;
        return q * polynomial(a, 4, r) / polynomial(b, 4, r);
    }
    const double r = sqrt(-log_of(q < 0 ? p : 1 - p)) - 1.6;
    const double x = polynomial(c, 4, r) / polynomial(d, 3, r);
    return q < 0 ? -x : x;
}

void tq_sign_row(float *row, uint64_t seed, int d, int i, int k0, int n)
{
    const int row_numbers = d > 256 ? d : 256;
    for (int k = 0; k < n; k++) {
        const uint64_t counter = (uint64_t)(row_numbers * i + k0 + k + 1);
        uint64_t z = seed + 0x9e3779b97f4a7c15u * counter;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        z ^= z >> 31;
        row[k] = (float)normal_quantile(((double)(z >> 32) + 0.5) * 0x1p-32);
    }
}

/* ---- pages ---- */

/* Signs of token j: bit i % 8 of byte i / 8 is set where (S r)[i] is negative. */
static size_t signs_offset(const struct tq_codec *c, int slot)
{
    const size_t row = tq_row_bytes(c->type, c->d) - 4;
    return 4 * TOKENS + (size_t)slot * row + row - (size_t)c->d / 8;
}

/* sqrt(pi/2) / d |r|: the stored number is |r| / sqrt(d). */
static float residual_unit(const struct tq_codec *c, const uint8_t *page, int slot)
{
    uint16_t h;
    memcpy(&h, page + 2 * TOKENS + 2 * slot, sizeof h);
    return sqrtf(1.57079633f / (float)c->d) * tq_scale_to_f32(h);
}

void tq_prod_encode(const struct tq_codec *c, uint8_t *page, const float *residual)
{
    const int d = c->d;
    float row[TQ_PART_MAX], dot[TOKENS], energy[TOKENS] = {0};
    for (int k = 0; k < d; k++)
        for (int j = 0; j < TOKENS; j++)
            energy[j] += residual[k * TOKENS + j] * residual[k * TOKENS + j];
    for (int j = 0; j < TOKENS; j++) {
        const uint16_t h = tq_f32_to_f16(sqrtf(energy[j] / (float)d));
        memcpy(page + 2 * TOKENS + 2 * j, &h, sizeof h);
        memset(page + signs_offset(c, j), 0, (size_t)d / 8);
    }
    for (int i = 0; i < d; i++) {
        tq_sign_row(row, c->seed, d, i, 0, d);
        memset(dot, 0, sizeof dot);
        for (int k = 0; k < d; k++)
            for (int j = 0; j < TOKENS; j++)
                dot[j] += row[k] * residual[k * TOKENS + j];
        for (int j = 0; j < TOKENS; j++)
            if (dot[j] < 0.0f)
                page[signs_offset(c, j) + (size_t)i / 8] |= (uint8_t)(1 << i % 8);
    }
}

/* v with its sign flipped where bit i of the signs is set. */
static float with_sign(float v, const uint8_t *signs, int i)
{
    const uint32_t bit = (uint32_t)signs[i / 8] >> (i % 8) & 1u;
    return tq_from_bits(tq_to_bits(v) ^ bit << 31);
}

void tq_prod_decode(const struct tq_codec *c, float *x, int stride, const uint8_t *page)
{
    const int d = c->d;
    for (int k0 = 0; k0 < d; k0 += LANES) { // a slice of the columns of S at a time
        float s[TQ_PART_MAX][LANES];
        for (int i = 0; i < d; i++)
            tq_sign_row(s[i], c->seed, d, i, k0, LANES);
        for (int j = 0; j < TOKENS; j++) {
            const uint8_t *signs = page + signs_offset(c, j);
            const float unit = residual_unit(c, page, j);
            float sum[LANES] = {0};
            for (int i = 0; i < d; i++)
                for (int l = 0; l < LANES; l++)
                    sum[l] += with_sign(s[i][l], signs, i);
            for (int l = 0; l < LANES; l++)
                x[j * stride + k0 + l] += unit * sum[l];
        }
    }
}

/* ---- queries ---- */

/* Larger queries than this have clamped scores; sums of 512 products stay finite.  NaN
 * stays. */
static float clamp_query(float x)
{
    return x > TQ_SCORE_MAX ? TQ_SCORE_MAX : x < -TQ_SCORE_MAX ? -TQ_SCORE_MAX : x;
}

/* Sum of LANES numbers: lanes i + (i + 8), 4, 2, 1. */
static float sum_lanes(float *v)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

void tq_prod_query(const struct tq_codec *c, float *sx, const float *x, int stride, int n)
{
    const int d = c->d;
    for (int i = 0; i < d; i++) {
        float row[TQ_PART_MAX];
        tq_sign_row(row, c->seed, d, i, 0, d);
        for (int q = 0; q < n; q++) {
            float sum[LANES] = {0};
            for (int k = 0; k < d; k += LANES)
                for (int l = 0; l < LANES; l++)
                    sum[l] += row[k + l] * clamp_query(x[q * stride + k + l]);
            sx[q * d + i] = sum_lanes(sum);
        }
    }
}

void tq_prod_score(const struct tq_codec *c, float *s, const uint8_t *page,
                   const float *sx, int n, int tile0, int tile1)
{
    const int d = c->d;
    for (int j = 16 * tile0; j < 16 * tile1; j++) {
        const float unit = residual_unit(c, page, j);
        uint32_t flip[TQ_PART_MAX];
        for (int i = 0; i < d; i++)
            flip[i] = (uint32_t)page[signs_offset(c, j) + (size_t)i / 8] >> i % 8 << 31;
        for (int q = 0; q < n; q++) {
            float sum[LANES] = {0};
            for (int i = 0; i < d; i += LANES)
                for (int l = 0; l < LANES; l++)
                    sum[l] += tq_from_bits(tq_to_bits(sx[q * d + i + l]) ^ flip[i + l]);
            const float v = s[q * TOKENS + j] + unit * sum_lanes(sum);
            s[q * TOKENS + j] = v > TQ_SCORE_MAX    ? TQ_SCORE_MAX
                                : v < -TQ_SCORE_MAX ? -TQ_SCORE_MAX
                                                    : v;
        }
    }
}
