/* kernels_dotprod.c - integer dot products with the instructions of Armv8.2. */
#include "codec/kernels.h"

#include "cpu/target.h"

#if defined(CPU_BUILD_DOTPROD)

#include "codec/neon.h"
#include "codec/neon_dot.h"

CPU_TARGET_BEGIN(CPU_TARGET_DOTPROD)

CPU_INLINE int32x4_t dot_lane(int32x4_t acc, int8x16_t a, int8x16_t b, int lane)
{
    switch (lane) { // the instruction's lane is a constant
    case 0:
        return vdotq_laneq_s32(acc, a, b, 0);
    case 1:
        return vdotq_laneq_s32(acc, a, b, 1);
    case 2:
        return vdotq_laneq_s32(acc, a, b, 2);
    default:
        return vdotq_laneq_s32(acc, a, b, 3);
    }
}

CPU_INLINE uint32x4_t unsigned_dot_lane(uint32x4_t acc, uint8x16_t a, uint8x16_t b,
                                        int lane)
{
    switch (lane) {
    case 0:
        return vdotq_laneq_u32(acc, a, b, 0);
    case 1:
        return vdotq_laneq_u32(acc, a, b, 1);
    case 2:
        return vdotq_laneq_u32(acc, a, b, 2);
    default:
        return vdotq_laneq_u32(acc, a, b, 3);
    }
}

CPU_INLINE void dot_rows(int32x4_t dot[][4], const uint8_t *k, const int8_t *const *q,
                         int d, int n)
{
    const uint8x16_t sign = vdupq_n_u8(0x80);
    int32x4_t acc[TQ_DOT_ROWS][4];
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        acc[i / 4][i % 4] = vdupq_n_s32(0);
    for (int r = 0; r < d / 4; r += 4) {
        int8x16_t by[TQ_DOT_ROWS];
        TQ_UNROLL
        for (int i = 0; i < n; i++)
            by[i] = vld1q_s8(q[i] + 4 * r);
        TQ_UNROLL
        for (int lane = 0; lane < 4; lane++) {
            TQ_UNROLL
            for (int c = 0; c < 4; c++) {
                const int8x16_t row = vreinterpretq_s8_u8(
                    veorq_u8(vld1q_u8(k + 64 * (r + lane) + 16 * c), sign));
                TQ_UNROLL
                for (int i = 0; i < n; i++)
                    acc[i][c] = dot_lane(acc[i][c], row, by[i], lane);
            }
        }
    }
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        dot[i / 4][i % 4] = acc[i / 4][i % 4];
}

void tq_score_codes_dotprod(float *s, const uint8_t *k, const uint16_t *kscale,
                            const struct tq_code_queries *q, int d, int n, int tile0,
                            int tile1)
{
    tq_score_by_rows(dot_rows, 4, s, k, kscale, q, d, n, tile0, tile1);
}

/* 16 weights are a tile: four groups of tokens. */
CPU_INLINE void sum_rows(uint32x4_t sum[][4], const int8_t *v, const uint8_t *const *w,
                         int d, int g0, int g1, int n)
{
    const uint8x16_t sign = vdupq_n_u8(0x80);
    uint32x4_t acc[TQ_DOT_ROWS][4];
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        acc[i / 4][i % 4] = vdupq_n_u32(0);
    for (int g = g0; g < g1; g += 4) {
        uint8x16_t weight[TQ_DOT_ROWS];
        TQ_UNROLL
        for (int i = 0; i < n; i++)
            weight[i] = vld1q_u8(w[i] + 4 * g);
        TQ_UNROLL
        for (int lane = 0; lane < 4; lane++) {
            TQ_UNROLL
            for (int c = 0; c < 4; c++) {
                const uint8_t *at = (const uint8_t *)v + 4 * d * (g + lane) + 16 * c;
                const uint8x16_t row = veorq_u8(vld1q_u8(at), sign);
                TQ_UNROLL
                for (int i = 0; i < n; i++)
                    acc[i][c] = unsigned_dot_lane(acc[i][c], row, weight[i], lane);
            }
        }
    }
    TQ_UNROLL
    for (int i = 0; i < 4 * n; i++)
        sum[i / 4][i % 4] = acc[i / 4][i % 4];
}

void tq_sum_codes_dotprod(float *o, const int8_t *v, const uint8_t *w, const float *g,
                          const float *c, int limbs, int d, int n, int tile0, int tile1)
{
    tq_sum_by_rows(sum_rows, 4, o, v, w, g, c, limbs, d, n, 4 * tile0, 4 * tile1);
}

CPU_TARGET_END

#endif
