/* neon_dot.h - scores and sums of codes, around an integer dot product that each level
 * has in its own way.
 *
 * Signs: a level + 128 of a key becomes the level by flipping the top bit.  Value levels
 * become unsigned that way, and 128 times the sum of the weights is subtracted. */
#ifndef CODEC_NEON_DOT_H
#define CODEC_NEON_DOT_H

#include "codec/kernels.h"
#include "codec/neon.h"

/* Rows of weights or of query limbs in a block. */
enum { TQ_DOT_ROWS = 4 };

/* dot [n][16 keys as 4 vectors] <- n rows of d bytes times a tile [d/4][16][4]. */
typedef void tq_dot_rows_fn(int32x4_t dot[][4], const uint8_t *k, const int8_t *const *q,
                            int d, int n);
/* sum [n][16 dimensions as 4 vectors] <- n rows of weights times level + 128 over the
 * groups of 4 tokens g0 <= g < g1. */
typedef void tq_sum_rows_fn(uint32x4_t sum[][4], const int8_t *v, const uint8_t *const *w,
                            int d, int g0, int g1, int n);

CPU_INLINE int8x16_t tq_four_bytes(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vreinterpretq_s8_s32(vdupq_n_s32(v));
}

/* NaN stays. */
CPU_INLINE float32x4_t tq_clamp_scores(float32x4_t s)
{
    s = vminq_f32(s, vdupq_n_f32(TQ_SCORE_MAX));
    return vmaxq_f32(s, vdupq_n_f32(-TQ_SCORE_MAX));
}

/* Queries i0 and on of `limbs` rows each, as many as n rows hold, against a tile. */
CPU_INLINE void tq_score_block(tq_dot_rows_fn *dot_rows, int n, float *s,
                               const uint8_t *k, const uint16_t *kscale,
                               const struct tq_code_queries *q, int i0, int d, int limbs)
{
    const int n_query = n / limbs;
    const int8_t *rows[TQ_DOT_ROWS];
    int32x4_t dot[TQ_DOT_ROWS][4];
    TQ_UNROLL
    for (int i = 0; i < n; i++)
        rows[i] = (i % limbs ? q->lo : q->hi) + (i0 + i / limbs) * d;
    dot_rows(dot, k, rows, d, n);
    TQ_UNROLL
    for (int i = 0; i < n_query; i++) {
        TQ_UNROLL
        for (int c = 0; c < 4; c++) {
            int32x4_t total = dot[i * limbs][c];
            float unit = q->step[i0 + i];
            if (limbs == 2) {
                total = vaddq_s32(vshlq_n_s32(total, 7), dot[i * limbs + 1][c]);
                unit *= 0x1p-7f;
            }
            const float32x4_t scale = tq_load_scales(kscale + 4 * c);
            const float32x4_t v = vmulq_n_f32(vcvtq_f32_s32(total), unit);
            float32x4_t score = tq_clamp_scores(vmulq_f32(v, scale));
            if (q->bias) {
                const uint32x4_t any = vcgtq_f32(scale, vdupq_n_f32(0.0f));
                const float32x4_t bias = vdupq_n_f32(q->bias[i0 + i]);
                score = vaddq_f32(score, vreinterpretq_f32_u32(vandq_u32(
                                             any, vreinterpretq_u32_f32(bias))));
            }
            vst1q_f32(s + (i0 + i) * TQ_PAGE_TOKENS + 4 * c, score);
        }
    }
}

/* score_codes; `most` rows go into a block. */
CPU_INLINE void tq_score_by_rows(tq_dot_rows_fn *dot_rows, int most, float *s,
                                 const uint8_t *k, const uint16_t *kscale,
                                 const struct tq_code_queries *q, int d, int n, int tile0,
                                 int tile1)
{
    for (int t = tile0; t < tile1; t++) {
        const uint8_t *tile = k + t * 16 * d;
        const uint16_t *scale = kscale + 16 * t;
        float *to = s + 16 * t;
        int i = 0;
        if (q->lo) {
            for (; i + most / 2 <= n; i += most / 2)
                tq_score_block(dot_rows, most, to, tile, scale, q, i, d, 2);
            for (; i < n; i++)
                tq_score_block(dot_rows, 2, to, tile, scale, q, i, d, 2);
            continue;
        }
        for (; i + most <= n; i += most)
            tq_score_block(dot_rows, most, to, tile, scale, q, i, d, 1);
        for (; i + 2 <= n; i += 2)
            tq_score_block(dot_rows, 2, to, tile, scale, q, i, d, 1);
        if (i < n)
            tq_score_block(dot_rows, 1, to, tile, scale, q, i, d, 1);
    }
}

/* n rows of weights over all dimensions. */
CPU_INLINE void tq_sum_block(tq_sum_rows_fn *sum_rows, int n, float *o, const int8_t *v,
                             const uint8_t *w, const float *g, const float *c, int limbs,
                             int d, int g0, int g1)
{
    const int n_query = n / limbs;
    const uint8_t *rows[TQ_DOT_ROWS];
    uint32_t bias[TQ_DOT_ROWS]; // 128 times the sum of a row
    TQ_UNROLL
    for (int i = 0; i < n; i++) {
        rows[i] = w + i * TQ_PAGE_TOKENS;
        bias[i] = 0;
        for (int j = 4 * g0; j < 4 * g1; j += 16)
            bias[i] += 128u * vaddlvq_u8(vld1q_u8(rows[i] + j));
    }
    for (int at = 0; at < d; at += 16) {
        uint32x4_t sum[TQ_DOT_ROWS][4];
        sum_rows(sum, v + 4 * at, rows, d, g0, g1, n);
        TQ_UNROLL
        for (int i = 0; i < n_query; i++) {
            TQ_UNROLL
            for (int k = 0; k < 4; k++) {
                uint32x4_t total =
                    vsubq_u32(sum[i * limbs][k], vdupq_n_u32(bias[i * limbs]));
                if (limbs == 2)
                    total = vaddq_u32(vshlq_n_u32(total, 8),
                                      vsubq_u32(sum[i * limbs + 1][k],
                                                vdupq_n_u32(bias[i * limbs + 1])));
                float *to = o + i * d + at + 4 * k;
                const float32x4_t f = vcvtq_f32_s32(vreinterpretq_s32_u32(total));
                vst1q_f32(to, vaddq_f32(vmulq_n_f32(vld1q_f32(to), c[i]),
                                        vmulq_n_f32(f, g[i])));
            }
        }
    }
}

/* sum_codes; `most` rows go into a block. */
CPU_INLINE void tq_sum_by_rows(tq_sum_rows_fn *sum_rows, int most, float *o,
                               const int8_t *v, const uint8_t *w, const float *g,
                               const float *c, int limbs, int d, int n, int g0, int g1)
{
    int i = 0;
    if (limbs == 2) {
        for (; i + most / 2 <= n; i += most / 2)
            tq_sum_block(sum_rows, most, o + i * d, v, w + 2 * i * TQ_PAGE_TOKENS, g + i,
                         c + i, 2, d, g0, g1);
        for (; i < n; i++)
            tq_sum_block(sum_rows, 2, o + i * d, v, w + 2 * i * TQ_PAGE_TOKENS, g + i,
                         c + i, 2, d, g0, g1);
        return;
    }
    for (; i + most <= n; i += most)
        tq_sum_block(sum_rows, most, o + i * d, v, w + i * TQ_PAGE_TOKENS, g + i, c + i,
                     1, d, g0, g1);
    for (; i + 2 <= n; i += 2)
        tq_sum_block(sum_rows, 2, o + i * d, v, w + i * TQ_PAGE_TOKENS, g + i, c + i, 1,
                     d, g0, g1);
    if (i < n)
        tq_sum_block(sum_rows, 1, o + i * d, v, w + i * TQ_PAGE_TOKENS, g + i, c + i, 1,
                     d, g0, g1);
}

#endif
