/* kernels_c_means.c - portable kernels for the mean of a page of keys. */
#include "codec/f16.h"
#include "codec/kernels.h"
#include "codec/layout.h"

enum { TOKENS = TQ_PAGE_TOKENS };

void tq_weighted_mean_c(float *mean, const uint16_t *x, const float *weight, int d)
{
    for (int c = 0; c < d; c++, x += TOKENS) {
        float p[TOKENS], v[16];
        for (int j = 0; j < TOKENS; j++)
            p[j] = tq_f16_to_f32(x[j]) * weight[j];
        for (int i = 0; i < 16; i++)
            v[i] = (p[i] + p[16 + i]) + (p[32 + i] + p[48 + i]);
        for (int half = 8; half; half /= 2)
            for (int i = 0; i < half; i++)
                v[i] += v[i + half];
        mean[c] = v[0];
    }
}

void tq_subtract_c(uint16_t *x, const float *mean, int d)
{
    for (int c = 0; c < d; c++, x += TOKENS)
        for (int j = 0; j < TOKENS; j++)
            x[j] = tq_f32_to_f16(tq_f16_to_f32(x[j]) - mean[c]);
}

void tq_key_means_c(float *bias, uint16_t *scale, const uint16_t *stored,
                    const struct tq_code_queries *q, int d, int n)
{
    for (int j = 0; j < TOKENS; j++)
        scale[j] = stored[j] & TQ_SCALE_MASK;
    const float unit = tq_scale_to_f32(tq_mean_scale(stored));
    for (int i = 0; i < n; i++) {
        int32_t dot = 0;
        for (int c = 0; c < d; c++)
            dot += q->hi[i * d + c] * tq_mean_level(stored, d, c);
        bias[i] = tq_clamp_score((float)dot * q->step[i] * unit);
    }
}
