/* kernels_neon_means.c - the mean of a page of keys for NEON. */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include "codec/f16.h"
#include "codec/layout.h"
#include "codec/neon.h"

enum { TOKENS = TQ_PAGE_TOKENS };

/* Four tokens, weighted. */
CPU_INLINE float32x4_t load_weighted(const uint16_t *x, const float *weight, int j)
{
    return vmulq_f32(tq_load_half(x + j), vld1q_f32(weight + j));
}

void tq_weighted_mean_neon(float *mean, const uint16_t *x, const float *weight, int d)
{
    for (int c = 0; c < d; c++, x += TOKENS) {
        float32x4_t v[4];
        TQ_UNROLL
        for (int i = 0; i < 4; i++)
            v[i] = vaddq_f32(vaddq_f32(load_weighted(x, weight, 4 * i),
                                       load_weighted(x, weight, 16 + 4 * i)),
                             vaddq_f32(load_weighted(x, weight, 32 + 4 * i),
                                       load_weighted(x, weight, 48 + 4 * i)));
        const float32x4_t a = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
        const float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
        mean[c] = vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
    }
}

void tq_subtract_neon(uint16_t *x, const float *mean, int d)
{
    const float32x4_t most = vdupq_n_f32(65504.0f), least = vdupq_n_f32(-65504.0f);
    for (int c = 0; c < d; c++)
        for (int j = 0; j < TOKENS; j += 4, x += 4) {
            float32x4_t v = vsubq_f32(tq_load_half(x), vdupq_n_f32(mean[c]));
            v = vmaxq_f32(vminq_f32(v, most), least);
            vst1_u8((void *)x, vreinterpret_u8_f16(vcvt_f16_f32(v)));
        }
}

void tq_key_means_neon(float *bias, uint16_t *scale, const uint16_t *stored,
                       const struct tq_code_queries *q, int d, int n)
{
    uint8_t code[4 * TOKENS];
    const int b = tq_mean_bits(d), top = (1 << b) - 1;
    for (int j = 0; j < TOKENS; j += 8) {
        const uint16x8_t h = vreinterpretq_u16_u8(vld1q_u8((const void *)(stored + j)));
        const uint16x8_t kept = vandq_u16(h, vdupq_n_u16(TQ_SCALE_MASK));
        vst1q_u8((void *)(scale + j), vreinterpretq_u8_u16(kept));
        for (int k = 0; k < 4; k++) {
            const uint16x8_t bits = vshlq_u16(h, vdupq_n_s16((int16_t)(-b * k)));
            vst1_u8(code + TOKENS * k + j,
                    vmovn_u16(vandq_u16(bits, vdupq_n_u16((uint16_t)top))));
        }
    }
    const float unit = tq_scale_to_f32(tq_mean_scale(stored));
    for (int i = 0; i < n; i++) {
        int16x8_t sum = vdupq_n_s16(0);
        for (int c = 0; c < d; c += 8)
            sum = vmlal_s8(sum, vreinterpret_s8_u8(vld1_u8(code + c)),
                           vld1_s8(q->hi + i * d + c));
        const int32_t dot = 2 * vaddlvq_s16(sum) - top * q->sum_hi[i];
        bias[i] = tq_clamp_score((float)dot * q->step[i] * unit);
    }
}

#endif
