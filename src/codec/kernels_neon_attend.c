/* kernels_neon_attend.c - queries, softmax and exact pages for NEON, and the integer dot
 * products (neon_dot.h) by multiplication. */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <math.h>

#include "codec/exp.h"
#include "codec/neon.h"
#include "codec/neon_dot.h"

/* ---- queries ---- */

/* n = 1 .. 4 floats, zero behind them. */
CPU_INLINE float32x4_t load_some(const float *x, int n)
{
    if (n >= 4)
        return vld1q_f32(x);
    float v[4] = {0};
    memcpy(v, x, (size_t)n * sizeof *x);
    return vld1q_f32(v);
}

CPU_INLINE void store_some(float *x, float32x4_t v, int n)
{
    float all[4];
    vst1q_f32(all, v);
    memcpy(x, all, (n >= 4 ? 4 : (size_t)n) * sizeof *x);
}

/* The low bytes of n <= 4 lanes. */
CPU_INLINE void store_bytes(int8_t *out, int32x4_t v, int n)
{
    const int16x4_t words = vmovn_s32(v);
    int8_t all[8];
    vst1_s8(all, vmovn_s16(vcombine_s16(words, words)));
    memcpy(out, all, n >= 4 ? 4 : (size_t)n);
}

void tq_load_query_neon(float *x, int8_t *hi, int8_t *lo, float *step, int32_t *sum_hi,
                        int32_t *sum_lo, const float *in, float scale, int d, int most)
{
    uint32x4_t top = vdupq_n_u32(0);
    for (int i = 0; i < d; i += 4) {
        const float32x4_t v = vmulq_n_f32(load_some(in + i, d - i), scale);
        store_some(x + i, v, d - i);
        top = vmaxq_u32(top, vreinterpretq_u32_f32(vabsq_f32(v)));
    }
    const uint32_t bits = vmaxvq_u32(top);
    const float absmax = tq_from_bits(bits);
    float inverse = 0.0f;
    *step = 0.0f;
    if (bits >= 0x7f800000u) {
        *step = tq_from_bits(0x7fc00000u);
        for (int i = 0; i < d; i++)
            x[i] = *step;
    } else if (absmax >= 0x1p-100f) {
        *step = absmax / (float)most;
        inverse = (float)most / absmax;
    }
    int32x4_t total_hi = vdupq_n_s32(0), total_lo = total_hi;
    for (int i = 0; i < d; i += 4) {
        float32x4_t v = vdupq_n_f32(0.0f);
        if (inverse != 0.0f)
            v = vmulq_n_f32(load_some(x + i, d - i), inverse);
        const int32x4_t coarse = vcvtnq_s32_f32(v);
        const float32x4_t rest = vsubq_f32(v, vcvtq_f32_s32(coarse));
        const int32x4_t fine = vcvtnq_s32_f32(vmulq_n_f32(rest, 128.0f));
        store_bytes(hi + i, coarse, d - i);
        store_bytes(lo + i, fine, d - i);
        total_hi = vaddq_s32(total_hi, coarse);
        total_lo = vaddq_s32(total_lo, fine);
    }
    *sum_hi = vaddvq_s32(total_hi);
    *sum_lo = vaddvq_s32(total_lo);
}

/* ---- integer dot products ---- */

/* Two products of a byte of at most 128 with one of at most 127 fit 16 bits. */
CPU_INLINE void dot_rows(int32x4_t dot[][4], const uint8_t *k, const int8_t *const *q,
                         int d, int n)
{
    const uint8x16_t sign = vdupq_n_u8(0x80);
    int32x4_t acc[2][8];
    TQ_UNROLL
    for (int i = 0; i < 8 * n; i++)
        acc[i / 8][i % 8] = vdupq_n_s32(0);
    for (int r = 0; r < d / 4; r += 2) {
        int8x16_t row[2][4];
        TQ_UNROLL
        for (int c = 0; c < 8; c++)
            row[c / 4][c % 4] = vreinterpretq_s8_u8(
                veorq_u8(vld1q_u8(k + 64 * (r + c / 4) + c % 4 * 16), sign));
        TQ_UNROLL
        for (int i = 0; i < n; i++) {
            const int8x16_t a = tq_four_bytes(q[i] + 4 * r);
            const int8x16_t b = tq_four_bytes(q[i] + 4 * r + 4);
            TQ_UNROLL
            for (int c = 0; c < 4; c++) {
                int16x8_t low = vmull_s8(vget_low_s8(row[0][c]), vget_low_s8(a));
                int16x8_t high = vmull_high_s8(row[0][c], a);
                low = vmlal_s8(low, vget_low_s8(row[1][c]), vget_low_s8(b));
                high = vmlal_high_s8(high, row[1][c], b);
                acc[i][2 * c] = vpadalq_s16(acc[i][2 * c], low);
                acc[i][2 * c + 1] = vpadalq_s16(acc[i][2 * c + 1], high);
            }
        }
    }
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        dot[i / 4][i % 4] = vpaddq_s32(acc[i / 4][i % 4 * 2], acc[i / 4][i % 4 * 2 + 1]);
}

void tq_score_codes_neon(float *s, const uint8_t *k, const uint16_t *kscale,
                         const struct tq_code_queries *q, int d, int n, int tile0,
                         int tile1)
{
    tq_score_by_rows(dot_rows, 2, s, k, kscale, q, d, n, tile0, tile1);
}

/* A product of two unsigned bytes fills 16 bits, so each is widened by itself. */
CPU_INLINE void sum_rows(uint32x4_t sum[][4], const int8_t *v, const uint8_t *const *w,
                         int d, int g0, int g1, int n)
{
    const uint8x16_t sign = vdupq_n_u8(0x80);
    uint32x4_t acc[2][8];
    TQ_UNROLL
    for (int i = 0; i < 8 * n; i++)
        acc[i / 8][i % 8] = vdupq_n_u32(0);
    for (int g = g0; g < g1; g++) {
        uint8x16_t weight[2];
        TQ_UNROLL
        for (int i = 0; i < n; i++)
            weight[i] = vreinterpretq_u8_s8(tq_four_bytes(w[i] + 4 * g));
        TQ_UNROLL
        for (int c = 0; c < 4; c++) {
            const uint8_t *at = (const uint8_t *)v + 4 * d * g + 16 * c;
            const uint8x16_t row = veorq_u8(vld1q_u8(at), sign);
            TQ_UNROLL
            for (int i = 0; i < n; i++) {
                acc[i][2 * c] = vpadalq_u16(
                    acc[i][2 * c], vmull_u8(vget_low_u8(row), vget_low_u8(weight[i])));
                acc[i][2 * c + 1] =
                    vpadalq_u16(acc[i][2 * c + 1], vmull_high_u8(row, weight[i]));
            }
        }
    }
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        sum[i / 4][i % 4] = vpaddq_u32(acc[i / 4][i % 4 * 2], acc[i / 4][i % 4 * 2 + 1]);
}

void tq_sum_codes_neon(float *o, const int8_t *v, const uint8_t *w, const float *g,
                       const float *c, int limbs, int d, int n, int tile0, int tile1)
{
    tq_sum_by_rows(sum_rows, 2, o, v, w, g, c, limbs, d, n, 4 * tile0, 4 * tile1);
}

/* ---- scores of exact keys ---- */

/* 4 elements of an exact page from index i on. */
CPU_INLINE float32x4_t load_exact(const void *page, int i, bool half)
{
    if (half)
        return tq_load_half((const uint16_t *)page + i);
    return tq_load_float((const char *)page + 4 * (ptrdiff_t)i);
}

/* nq queries against a tile. */
CPU_INLINE void exact_score_block(float *s, const void *k, const float *q, int d,
                                  bool half, int nq, int tile)
{
    float32x4_t acc[4][4];
    TQ_UNROLL
    for (int i = 0; i < 4 * nq; i++)
        acc[i / 4][i % 4] = vdupq_n_f32(0.0f);
    for (int c = 0; c < d; c++) {
        float32x4_t row[4];
        TQ_UNROLL
        for (int t = 0; t < 4; t++)
            row[t] = load_exact(k, (tile * d + c) * 16 + 4 * t, half);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            TQ_UNROLL
            for (int t = 0; t < 4; t++)
                acc[i][t] = vfmaq_n_f32(acc[i][t], row[t], q[i * d + c]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int t = 0; t < 4; t++)
            vst1q_f32(s + i * TQ_PAGE_TOKENS + 16 * tile + 4 * t,
                      tq_clamp_scores(acc[i][t]));
    }
}

CPU_INLINE void exact_scores(float *s, const void *k, const float *q, int d, int n,
                             bool half, int tile0, int tile1)
{
    for (int t = tile0; t < tile1; t++) {
        int i = 0;
        for (; i + 4 <= n; i += 4)
            exact_score_block(s + i * TQ_PAGE_TOKENS, k, q + i * d, d, half, 4, t);
        for (; i + 2 <= n; i += 2)
            exact_score_block(s + i * TQ_PAGE_TOKENS, k, q + i * d, d, half, 2, t);
        if (i < n)
            exact_score_block(s + i * TQ_PAGE_TOKENS, k, q + i * d, d, half, 1, t);
    }
}

void tq_score_f16_neon(float *s, const uint16_t *k, const float *q, int d, int n,
                       int tile0, int tile1)
{
    exact_scores(s, k, q, d, n, true, tile0, tile1);
}

void tq_score_f32_neon(float *s, const void *k, const float *q, int d, int n, int tile0,
                       int tile1)
{
    exact_scores(s, k, q, d, n, false, tile0, tile1);
}

/* ---- softmax ---- */

/* tq_exp of 4 lanes. */
CPU_INLINE float32x4_t exp4(float32x4_t x)
{
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(TQ_EXP_MIN));
    const int32x4_t n = vcvtnq_s32_f32(vmulq_n_f32(x, TQ_EXP_LOG2E));
    const float32x4_t f = vcvtq_f32_s32(n);
    float32x4_t r = vsubq_f32(x, vmulq_n_f32(f, TQ_EXP_LN2_HI));
    r = vsubq_f32(r, vmulq_n_f32(f, TQ_EXP_LN2_LO));
    float32x4_t p = vdupq_n_f32(TQ_EXP_P4);
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(TQ_EXP_P3));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(TQ_EXP_P2));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(TQ_EXP_P1));
    p = vaddq_f32(vmulq_f32(p, r), vdupq_n_f32(TQ_EXP_P0));
    const float32x4_t y =
        vaddq_f32(vdupq_n_f32(1.0f), vaddq_f32(r, vmulq_f32(vmulq_f32(r, r), p)));
    const int32x4_t bits = vaddq_s32(vreinterpretq_s32_f32(y), vshlq_n_s32(n, 23));
    return vreinterpretq_f32_s32(vbicq_s32(bits, vreinterpretq_s32_u32(below)));
}

/* Lanes of vector i of a page that are in [lo, hi). */
CPU_INLINE uint32x4_t in_range(int i, int lo, int hi)
{
    static const int32_t lane[4] = {0, 1, 2, 3};
    const int32x4_t j = vaddq_s32(vld1q_s32(lane), vdupq_n_s32(4 * i));
    return vandq_u32(vcgeq_s32(j, vdupq_n_s32(lo)), vcltq_s32(j, vdupq_n_s32(hi)));
}

/* The sum of 64 in the order of docs/numerics.md, 1.4. */
CPU_INLINE float tree_sum(const float32x4_t v[16])
{
    float32x4_t a[4];
    TQ_UNROLL
    for (int i = 0; i < 4; i++)
        a[i] = vaddq_f32(vaddq_f32(v[i], v[4 + i]), vaddq_f32(v[8 + i], v[12 + i]));
    const float32x4_t b = vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3]));
    const float32x2_t c = vadd_f32(vget_low_f32(b), vget_high_f32(b));
    return vget_lane_f32(c, 0) + vget_lane_f32(c, 1);
}

void tq_softmax_neon(float *s, float *m, float *l, float *c, int lo, const uint8_t *hi,
                     int n)
{
    const float32x4_t least = vdupq_n_f32(-INFINITY);
    for (int i = 0; i < n; i++, s += TQ_PAGE_TOKENS) {
        float32x4_t v[16], highest = least;
        TQ_UNROLL
        for (int t = 0; t < 16; t++) {
            v[t] = vld1q_f32(s + 4 * t);
            const float32x4_t seen = vbslq_f32(in_range(t, lo, hi[i]), v[t], least);
            highest = vmaxnmq_f32(highest, seen);
        }
        float top = vmaxnmvq_f32(highest);
        top = top > m[i] ? top : m[i];
        c[i] = top == m[i] ? 1.0f : tq_exp(m[i] - top);
        TQ_UNROLL
        for (int t = 0; t < 16; t++) {
            const float32x4_t p = exp4(vsubq_f32(v[t], vdupq_n_f32(top)));
            v[t] = vreinterpretq_f32_u32(
                vandq_u32(vreinterpretq_u32_f32(p), in_range(t, lo, hi[i])));
            vst1q_f32(s + 4 * t, v[t]);
        }
        m[i] = top;
        l[i] = l[i] * c[i] + tree_sum(v);
    }
}

/* The low bytes of 16 lanes. */
CPU_INLINE void store_weights(uint8_t *w, const uint32x4_t u[4])
{
    const uint16x8_t a =
        vuzp1q_u16(vreinterpretq_u16_u32(u[0]), vreinterpretq_u16_u32(u[1]));
    const uint16x8_t b =
        vuzp1q_u16(vreinterpretq_u16_u32(u[2]), vreinterpretq_u16_u32(u[3]));
    vst1q_u8(w, vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b)));
}

void tq_weigh_neon(uint8_t *w, float *g, const float *p, const uint16_t *vscale,
                   int limbs, int n, int most)
{
    const float steps = limbs == 2 ? 65535.0f : (float)most;
    for (int i = 0; i < n; i++, p += TQ_PAGE_TOKENS, w += limbs * TQ_PAGE_TOKENS) {
        float32x4_t v[16], highest = vdupq_n_f32(0.0f);
        TQ_UNROLL
        for (int t = 0; t < 16; t++) {
            v[t] = vmulq_f32(vld1q_f32(p + 4 * t), tq_load_scales(vscale + 4 * t));
            v[t] = vmaxnmq_f32(v[t], vdupq_n_f32(0.0f));
            highest = vmaxnmq_f32(v[t], highest);
        }
        const float top = vmaxnmvq_f32(highest);
        const bool any = top >= TQ_WEIGHT_MIN;
        g[i] = any ? top / steps : 0.0f;
        const float inverse = any ? steps / top : 0.0f;
        for (int t = 0; t < 4; t++) {
            uint32x4_t u[4], high[4];
            TQ_UNROLL
            for (int k = 0; k < 4; k++) {
                u[k] = vcvtnq_u32_f32(vmulq_n_f32(v[4 * t + k], inverse));
                high[k] = vshrq_n_u32(u[k], 8);
            }
            if (limbs == 2)
                store_weights(w + 16 * t, high);
            store_weights(w + (limbs - 1) * TQ_PAGE_TOKENS + 16 * t, u);
        }
    }
}

/* ---- sums of exact values ---- */

/* n < 4 elements of an exact page from index i on, zero behind them. */
CPU_INLINE float32x4_t load_exact_some(const void *page, int i, bool half, int n)
{
    uint16_t h[4] = {0};
    float f[4] = {0};
    if (half) {
        memcpy(h, (const uint16_t *)page + i, (size_t)n * sizeof *h);
        return tq_load_half(h);
    }
    memcpy(f, (const char *)page + 4 * (ptrdiff_t)i, (size_t)n * sizeof *f);
    return vld1q_f32(f);
}

/* nr vectors of 4 dimensions from index `at` of a row on, or one of `some` dimensions. */
CPU_INLINE void exact_sum_block(float *o, const void *v, const float *p, const float *c,
                                int d, bool half, int at, int lo, int hi, int nq, int nr,
                                int some)
{
    float32x4_t acc[4][4];
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            acc[i][r] = vmulq_n_f32(load_some(o + i * d + at + 4 * r, some), c[i]);
    }
    for (int j = lo; j < hi; j++) {
        float32x4_t row[4];
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            row[r] = some == 4 ? load_exact(v, j * d + at + 4 * r, half)
                               : load_exact_some(v, j * d + at, half, some);
        TQ_UNROLL
        for (int i = 0; i < nq; i++) {
            TQ_UNROLL
            for (int r = 0; r < nr; r++)
                acc[i][r] = vfmaq_n_f32(acc[i][r], row[r], p[i * TQ_PAGE_TOKENS + j]);
        }
    }
    TQ_UNROLL
    for (int i = 0; i < nq; i++) {
        TQ_UNROLL
        for (int r = 0; r < nr; r++)
            store_some(o + i * d + at + 4 * r, acc[i][r], some);
    }
}

CPU_INLINE void exact_sum_queries(float *o, const void *v, const float *p, const float *c,
                                  int d, bool half, int lo, int hi, int nq)
{
    int at = 0;
    for (; at + 16 <= d; at += 16)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 4, 4);
    for (; at + 4 <= d; at += 4)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 1, 4);
    if (at < d)
        exact_sum_block(o, v, p, c, d, half, at, lo, hi, nq, 1, d - at);
}

CPU_INLINE void exact_sums(float *o, const void *v, const float *p, const float *c, int d,
                           int n, bool half, int lo, int hi)
{
    int i = 0;
    for (; i + 4 <= n; i += 4)
        exact_sum_queries(o + i * d, v, p + i * TQ_PAGE_TOKENS, c + i, d, half, lo, hi,
                          4);
    for (; i < n; i++)
        exact_sum_queries(o + i * d, v, p + i * TQ_PAGE_TOKENS, c + i, d, half, lo, hi,
                          1);
}

void tq_sum_f16_neon(float *o, const uint16_t *v, const float *p, const float *c, int d,
                     int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, true, lo, hi);
}

void tq_sum_f32_neon(float *o, const void *v, const float *p, const float *c, int d,
                     int n, int lo, int hi)
{
    exact_sums(o, v, p, c, d, n, false, lo, hi);
}

#endif
