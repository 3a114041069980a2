/* kernels_c_attend.c - portable kernels of attention. */
#include "codec/kernels.h"

#include <math.h>
#include <string.h>

#include "codec/exp.h"
#include "codec/f16.h"

enum { TOKENS = TQ_PAGE_TOKENS };

void tq_load_query_c(float *x, int8_t *hi, int8_t *lo, float *step, int32_t *sum_hi,
                     int32_t *sum_lo, const float *in, float scale, int d, int most)
{
    uint32_t top = 0; // of the magnitudes, as bits: NaN is larger than every number
    for (int i = 0; i < d; i++) {
        x[i] = in[i] * scale;
        const uint32_t a = tq_to_bits(x[i]) & 0x7fffffffu;
        top = a > top ? a : top;
    }
    const float absmax = tq_from_bits(top);
    float inverse = 0.0f;
    if (top >= 0x7f800000u) {
        *step = tq_from_bits(0x7fc00000u);
        for (int i = 0; i < d; i++)
            x[i] = *step;
    } else if (absmax < 0x1p-100f)
        *step = 0.0f;
    else {
        *step = absmax / (float)most;
        inverse = (float)most / absmax;
    }
    *sum_hi = *sum_lo = 0;
    for (int i = 0; i < d; i++) {
        const float v = inverse != 0.0f ? x[i] * inverse : 0.0f;
        const float coarse = tq_round(v);
        hi[i] = (int8_t)coarse;
        lo[i] = (int8_t)tq_round((v - coarse) * 128.0f);
        *sum_hi += hi[i];
        *sum_lo += lo[i];
    }
}

/* Dot product of key j of a tile [d/4][16][4], levels + 128, with a query. */
static int32_t dot_codes(const uint8_t *tile, int j, const int8_t *q, int32_t sum, int d)
{
    int32_t dot = 0;
    for (int i = 0; i < d; i++)
        dot += tile[i / 4 * 64 + 4 * j + i % 4] * q[i];
    return dot - 128 * sum;
}

void tq_score_codes_c(float *s, const uint8_t *k, const uint16_t *kscale,
                      const struct tq_code_queries *q, int d, int n, int tile0, int tile1)
{
    for (int i = 0; i < n; i++)
        for (int j = 16 * tile0; j < 16 * tile1; j++) {
            const uint8_t *tile = k + j / 16 * 16 * d;
            int32_t dot = dot_codes(tile, j % 16, q->hi + i * d, q->sum_hi[i], d);
            float unit = q->step[i];
            if (q->lo) {
                dot = 128 * dot + dot_codes(tile, j % 16, q->lo + i * d, q->sum_lo[i], d);
                unit *= 0x1p-7f;
            }
            const float scale = tq_scale_to_f32(kscale[j]);
            s[i * TOKENS + j] = tq_clamp_score((float)dot * unit * scale);
            if (q->bias)
                s[i * TOKENS + j] += scale != 0.0f ? q->bias[i] : 0.0f;
        }
}

void tq_score_packed_c(float *s, const uint8_t *code, int bits, const uint16_t *kscale,
                       const struct tq_code_queries *q, int d, int n, int tile0,
                       int tile1, struct tq_places next)
{
    (void)next;
    uint8_t k[TOKENS * TQ_DIM_MAX];
    tq_expand_k_c(k, code, bits, d, tile0, tile1);
    tq_score_codes_c(s, k, kscale, q, d, n, tile0, tile1);
}

void tq_score_f16_c(float *s, const uint16_t *k, const float *q, int d, int n, int tile0,
                    int tile1)
{
    for (int i = 0; i < n; i++)
        for (int j = 16 * tile0; j < 16 * tile1; j++) {
            const uint16_t *key = k + j / 16 * 16 * d + j % 16;
            float sum = 0.0f;
            for (int c = 0; c < d; c++)
                sum += q[i * d + c] * tq_f16_to_f32(key[16 * c]);
            s[i * TOKENS + j] = tq_clamp_score(sum);
        }
}

/* Element i of an f32 array at any address. */
static float load_f32(const void *array, int i)
{
    float f;
    memcpy(&f, (const char *)array + 4 * i, sizeof f);
    return f;
}

void tq_score_f32_c(float *s, const void *k, const float *q, int d, int n, int tile0,
                    int tile1)
{
    for (int i = 0; i < n; i++)
        for (int j = 16 * tile0; j < 16 * tile1; j++) {
            float sum = 0.0f;
            for (int c = 0; c < d; c++)
                sum += q[i * d + c] * load_f32(k, (j / 16 * d + c) * 16 + j % 16);
            s[i * TOKENS + j] = tq_clamp_score(sum);
        }
}

/* Sum of 64: four vectors of 16 lanes pairwise, then lanes in halves. */
static float tree_sum(const float *p)
{
    float v[16];
    for (int i = 0; i < 16; i++)
        v[i] = (p[i] + p[16 + i]) + (p[32 + i] + p[48 + i]);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            v[i] += v[i + half];
    return v[0];
}

void tq_softmax_c(float *s, float *m, float *l, float *c, int lo, const uint8_t *hi,
                  int n)
{
    for (int i = 0; i < n; i++, s += TOKENS) {
        float top = -INFINITY;
        for (int j = lo; j < hi[i]; j++)
            top = s[j] > top ? s[j] : top;
        top = top > m[i] ? top : m[i];
        c[i] = top == m[i] ? 1.0f : tq_exp(m[i] - top);
        for (int j = 0; j < TOKENS; j++)
            s[j] = j >= lo && j < hi[i] ? tq_exp(s[j] - top) : 0.0f;
        m[i] = top;
        l[i] = l[i] * c[i] + tree_sum(s);
    }
}

void tq_weigh_c(uint8_t *w, float *g, const float *p, const uint16_t *vscale, int limbs,
                int n, int most)
{
    const float steps = limbs == 2 ? 65535.0f : (float)most;
    for (int i = 0; i < n; i++, p += TOKENS, w += limbs * TOKENS) {
        float v[TOKENS], top = 0.0f;
        for (int j = 0; j < TOKENS; j++) {
            v[j] = p[j] * tq_scale_to_f32(vscale[j]);
            v[j] = v[j] > 0.0f ? v[j] : 0.0f;
            top = v[j] > top ? v[j] : top;
        }
        const bool any = top >= TQ_WEIGHT_MIN;
        g[i] = any ? top / steps : 0.0f;
        const float inverse = any ? steps / top : 0.0f;
        for (int j = 0; j < TOKENS; j++) {
            const int u = (int)tq_round(v[j] * inverse);
            if (limbs == 2)
                w[j] = (uint8_t)(u >> 8);
            w[(limbs - 1) * TOKENS + j] = (uint8_t)(u & 255);
        }
    }
}

void tq_sum_codes_c(float *o, const int8_t *v, const uint8_t *w, const float *g,
                    const float *c, int limbs, int d, int n, int tile0, int tile1)
{
    for (int i = 0; i < n; i++, o += d, w += limbs * TOKENS)
        for (int k = 0; k < d; k++) {
            int32_t sum[2] = {0, 0};
            for (int limb = 0; limb < limbs; limb++)
                for (int j = 16 * tile0; j < 16 * tile1; j++)
                    sum[limb] += w[limb * TOKENS + j] * v[(j / 4 * d + k) * 4 + j % 4];
            const int32_t total = limbs == 2 ? 256 * sum[0] + sum[1] : sum[0];
            o[k] = o[k] * c[i] + g[i] * (float)total;
        }
}

void tq_sum_packed_c(float *o, const uint8_t *code, int bits, const uint8_t *w,
                     const float *g, const float *c, int d, int n, int tile0, int tile1,
                     struct tq_places next)
{
    (void)next;
    int8_t v[TOKENS * TQ_DIM_MAX];
    tq_expand_v_c(v, code, bits, d, tile0, tile1);
    tq_sum_codes_c(o, v, w, g, c, bits == 8 ? 2 : 1, d, n, tile0, tile1);
}

void tq_sum_f16_c(float *o, const uint16_t *v, const float *p, const float *c, int d,
                  int n, int lo, int hi)
{
    for (int i = 0; i < n; i++, o += d, p += TOKENS) {
        for (int k = 0; k < d; k++)
            o[k] *= c[i];
        for (int j = lo; j < hi; j++)
            for (int k = 0; k < d; k++)
                o[k] += p[j] * tq_f16_to_f32(v[j * d + k]);
    }
}

void tq_sum_f32_c(float *o, const void *v, const float *p, const float *c, int d, int n,
                  int lo, int hi)
{
    for (int i = 0; i < n; i++, o += d, p += TOKENS) {
        for (int k = 0; k < d; k++)
            o[k] *= c[i];
        for (int j = lo; j < hi; j++)
            for (int k = 0; k < d; k++)
                o[k] += p[j] * load_f32(v, j * d + k);
    }
}
