/* kernels_neon_encode.c - the encoder for NEON: 32 rows, the trellis in 16-bit lanes. */
#include "codec/kernels.h"

#if defined(__aarch64__)

#include <float.h>

#include "codec/neon.h"
#include "codec/tables.h"

enum { ROW = TQ_PAGE_TOKENS };
/* As in kernels_c_encode.c. */
enum { BRANCH_MAX = 9362, HANDICAP = 3 * BRANCH_MAX + 1 };

CPU_INLINE uint32x4_t usable_lanes(float32x4_t energy)
{
    return vandq_u32(vcgtq_f32(energy, vdupq_n_f32(0.0f)),
                     vcleq_f32(energy, vdupq_n_f32(FLT_MAX)));
}

CPU_INLINE float32x4_t keep_lanes(uint32x4_t mask, float32x4_t x)
{
    return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(x)));
}

/* x * factor in the lanes of mask, held to +-most, to the nearest integer; else 0. */
CPU_INLINE int32x4_t quantise(const uint16_t *x, float32x4_t factor, uint32x4_t mask,
                              float32x4_t most)
{
    const float32x4_t v = keep_lanes(mask, vmulq_f32(tq_load_half(x), factor));
    return vcvtnq_s32_f32(vmaxnmq_f32(vminnmq_f32(v, most), vnegq_f32(most)));
}

void tq_energies_neon(float *energy, const uint16_t *x, int d)
{
    for (int j = 0; j < TQ_LANES; j += 8) {
        float32x4_t sum[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
        for (int i = 0; i < d; i++) {
            TQ_UNROLL
            for (int k = 0; k < 2; k++) {
                const float32x4_t v = tq_load_half(x + i * ROW + j + 4 * k);
                sum[k] = vaddq_f32(sum[k], vmulq_f32(v, v));
            }
        }
        vst1q_f32(energy + j, sum[0]);
        vst1q_f32(energy + j + 4, sum[1]);
    }
}

void tq_normalise_neon(int16_t *out, const uint16_t *x, const float *energy, int d,
                       float gain)
{
    const float32x4_t most = vdupq_n_f32(32767.0f);
    for (int j = 0; j < TQ_LANES; j += 8) {
        float32x4_t factor[2];
        uint32x4_t ok[2];
        TQ_UNROLL
        for (int k = 0; k < 2; k++) {
            const float32x4_t sum = vld1q_f32(energy + j + 4 * k);
            ok[k] = usable_lanes(sum);
            const float32x4_t mean = vdivq_f32(sum, vdupq_n_f32((float)d));
            factor[k] = vdivq_f32(vdupq_n_f32(gain), vsqrtq_f32(mean));
        }
        for (int i = 0; i < d; i++) {
            const uint16_t *from = x + i * ROW + j;
            const int32x4_t a = quantise(from, factor[0], ok[0], most);
            const int32x4_t b = quantise(from + 4, factor[1], ok[1], most);
            vst1q_s16(out + i * TQ_LANES + j, vcombine_s16(vmovn_s32(a), vmovn_s32(b)));
        }
    }
}

/* ---- Viterbi ---- */

/* For a subset of levels: the nearest w of 64 cells, and the 8 levels of each w, low
 * bytes first. */
struct subset_table {
    uint8x16x4_t nearest;
    uint8x16_t level;
};

static struct subset_table subset_levels(int bits, int z)
{
    struct subset_table t;
    uint8_t bytes[16];
    for (int w = 0; w < 8; w++) {
        const int level = w < 1 << (bits - 1) ? tq_level_fixed[bits - 2][4 * w + z] : 0;
        bytes[w] = (uint8_t)(level & 255);
        bytes[8 + w] = (uint8_t)(level >> 8 & 255);
    }
    for (int i = 0; i < 4; i++)
        t.nearest.val[i] = vld1q_u8(tq_nearest[bits - 2][z] + 16 * i);
    t.level = vld1q_u8(bytes);
    return t;
}

/* x >> 10 & 63 of 16 lanes. */
CPU_INLINE uint8x16_t cells(int16x8_t a, int16x8_t b)
{
    return vshrq_n_u8(vuzp2q_u8(vreinterpretq_u8_s16(a), vreinterpretq_u8_s16(b)), 2);
}

/* Saturation at +-32767 keeps squares below 2^15. */
CPU_INLINE uint16x8_t branch_cost(int16x8_t x, uint8x16_t level, int bits)
{
    const int16x8_t least = vdupq_n_s16(-32767);
    const int16x8_t e = vmaxq_s16(vqsubq_s16(x, vreinterpretq_s16_u8(level)), least);
    const int16x8_t other = bits == 4 ? vmaxq_s16(vqaddq_s16(e, e), least) : e;
    return vreinterpretq_u16_s16(
        vminq_s16(vqrdmulhq_s16(e, other), vdupq_n_s16(BRANCH_MAX)));
}

enum { STEPS = 4 }; // between normalisations

/* cost [STEPS][4][32] of the samples at times t0 .. t0 + 3 modulo d. */
CPU_INLINE void branch_costs(uint16_t *cost, const struct subset_table table[4],
                             const int16_t *x, const uint16_t *order, int bits, int d,
                             int t0)
{
    for (int i = 0; i < STEPS; i++) {
        const int t = t0 + i >= d ? t0 + i - d : t0 + i;
        const int16_t *row = x + order[t] * TQ_LANES;
        for (int j = 0; j < TQ_LANES; j += 16) {
            const int16x8_t a = vld1q_s16(row + j), b = vld1q_s16(row + j + 8);
            const uint8x16_t cell = cells(a, b);
            TQ_UNROLL
            for (int z = 0; z < 4; z++) {
                const uint8x16_t w = vqtbl4q_u8(table[z].nearest, cell);
                const uint8x16_t low = vqtbl1q_u8(table[z].level, w);
                const uint8x16_t high =
                    vqtbl1q_u8(table[z].level, vaddq_u8(w, vdupq_n_u8(8)));
                uint16_t *to = cost + (4 * i + z) * TQ_LANES + j;
                vst1q_u16(to, branch_cost(a, vzip1q_u8(low, high), bits));
                vst1q_u16(to + 8, branch_cost(b, vzip2q_u8(low, high), bits));
            }
        }
    }
}

CPU_INLINE int subset_of(int to, int high)
{
    const int reg = to | high << 3;
    return ((reg ^ reg >> 1 ^ reg >> 3) & 1) << 1 | (reg >> 2 & 1);
}

/* One step of 8 lanes; returns the decisions, bit s of a lane for state s. */
CPU_INLINE uint8x8_t step(uint16x8_t metric[8], const uint16_t *cost)
{
    uint16x8_t next[8], c[4], decision = vdupq_n_u16(0);
    TQ_UNROLL
    for (int z = 0; z < 4; z++)
        c[z] = vld1q_u16(cost + z * TQ_LANES);
    TQ_UNROLL
    for (int s = 7; s >= 0; s--) {
        const uint16x8_t a = vaddq_u16(metric[s >> 1], c[subset_of(s, 0)]);
        const uint16x8_t b = vaddq_u16(metric[s >> 1 | 4], c[subset_of(s, 1)]);
        next[s] = vminq_u16(a, b);
        decision = vsliq_n_u16(vcltq_u16(b, a), decision, 1);
    }
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        metric[s] = next[s];
    return vmovn_u16(decision);
}

/* STEPS steps of 8 lanes; metric [8][32], path [STEPS][32].  The least metrics go to
 * total [8]. */
CPU_INLINE void run_lanes(uint16_t *metric, int32_t *total, uint8_t *path,
                          const uint16_t *cost)
{
    uint16x8_t m[8];
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        m[s] = vld1q_u16(metric + s * TQ_LANES);
    TQ_UNROLL
    for (int i = 0; i < STEPS; i++)
        vst1_u8(path + i * TQ_LANES, step(m, cost + 4 * i * TQ_LANES));
    uint16x8_t least = m[0];
    TQ_UNROLL
    for (int s = 1; s < 8; s++)
        least = vminq_u16(least, m[s]);
    TQ_UNROLL
    for (int s = 0; s < 8; s++)
        vst1q_u16(metric + s * TQ_LANES, vsubq_u16(m[s], least));
    const uint32x4_t a = vreinterpretq_u32_s32(vld1q_s32(total)),
                     b = vreinterpretq_u32_s32(vld1q_s32(total + 4));
    vst1q_s32(total, vreinterpretq_s32_u32(vaddw_u16(a, vget_low_u16(least))));
    vst1q_s32(total + 4, vreinterpretq_s32_u32(vaddw_high_u16(b, least)));
}

/* n steps, a multiple of STEPS, over times t0 + i modulo d. */
CPU_INLINE void run(uint16_t *metric, int32_t *total, uint8_t *path,
                    const struct subset_table table[4], const int16_t *x,
                    const uint16_t *order, int bits, int d, int t0, int n)
{
    for (int i = 0; i < n; i += STEPS) {
        uint16_t cost[STEPS * 4 * TQ_LANES];
        const int t = t0 + i >= d ? t0 + i - d : t0 + i;
        branch_costs(cost, table, x, order, bits, d, t);
        for (int j = 0; j < TQ_LANES; j += 8)
            run_lanes(metric + j, total + j, path + i * TQ_LANES + j, cost + j);
    }
}

CPU_INLINE uint8x16_t low_bit(uint8x16_t x)
{
    return vandq_u8(x, vdupq_n_u8(1));
}

CPU_INLINE uint8x16_t bit_of(uint8x16_t decision, uint8x16_t state)
{
    return low_bit(vshlq_u8(decision, vnegq_s8(vreinterpretq_s8_u8(state))));
}

CPU_INLINE uint8x16_t came_from(uint8x16_t state, uint8x16_t high)
{
    return vorrq_u8(vshrq_n_u8(state, 1), vshlq_n_u8(high, 2));
}

/* start [32] <- the state at time 0 of the best path through the last 32 and the first
 * 32 samples. */
CPU_INLINE void find_start(uint8_t *start, uint8_t *path,
                           const struct subset_table table[4], const int16_t *x,
                           const uint16_t *order, int bits, int d)
{
    uint16_t metric[8 * TQ_LANES] = {0};
    int32_t total[TQ_LANES] = {0};
    run(metric, total, path, table, x, order, bits, d, d - TQ_WARMUP / 2, TQ_WARMUP);
    for (int j = 0; j < TQ_LANES; j += 16) {
        uint8x8_t best[2];
        TQ_UNROLL
        for (int k = 0; k < 2; k++) {
            uint16x8_t least = vld1q_u16(metric + j + 8 * k), state = vdupq_n_u16(0);
            TQ_UNROLL
            for (int s = 1; s < 8; s++) {
                const uint16x8_t m = vld1q_u16(metric + s * TQ_LANES + j + 8 * k);
                state = vbslq_u16(vcltq_u16(m, least), vdupq_n_u16((uint16_t)s), state);
                least = vminq_u16(m, least);
            }
            best[k] = vmovn_u16(state);
        }
        uint8x16_t state = vcombine_u8(best[0], best[1]);
        for (int i = TQ_WARMUP - 1; i >= TQ_WARMUP / 2; i--)
            state = came_from(state, bit_of(vld1q_u8(path + i * TQ_LANES + j), state));
        vst1q_u8(start + j, state);
    }
}

/* tq_nearest[z][cell]: each table answers the 64 indices of its subset. */
CPU_INLINE uint8x16_t nearest_w(const struct subset_table table[4], uint8x16_t cell,
                                uint8x16_t z)
{
    const uint8x16_t step64 = vdupq_n_u8(64);
    uint8x16_t index = vorrq_u8(cell, vshlq_n_u8(z, 6));
    uint8x16_t w = vqtbl4q_u8(table[0].nearest, index);
    TQ_UNROLL
    for (int i = 1; i < 4; i++) {
        index = vsubq_u8(index, step64);
        w = vqtbx4q_u8(w, table[i].nearest, index);
    }
    return w;
}

/* Codes and energies of 16 lanes. */
static void trace_back(uint8_t *code, int32_t *energy, const uint8_t *path,
                       const struct subset_table table[4], const int16_t *x,
                       const uint16_t *order, int bits, int d, uint8x16_t state)
{
    int8x16x2_t levels;
    levels.val[0] = vld1q_s8(tq_level[bits - 2]);
    levels.val[1] = vld1q_s8(tq_level[bits - 2] + 16);
    int32x4_t sum[4];
    TQ_UNROLL
    for (int k = 0; k < 4; k++)
        sum[k] = vdupq_n_s32(0);
    for (int t = d - 1; t >= 0; t--) {
        const uint8x16_t high = bit_of(vld1q_u8(path + t * TQ_LANES), state);
        const uint8x16_t z0 = low_bit(vshrq_n_u8(state, 2));
        const uint8x16_t z1 =
            low_bit(veorq_u8(veorq_u8(state, vshrq_n_u8(state, 1)), high));
        const uint8x16_t z = vorrq_u8(vshlq_n_u8(z1, 1), z0);
        const int16_t *row = x + order[t] * TQ_LANES;
        const uint8x16_t w =
            nearest_w(table, cells(vld1q_s16(row), vld1q_s16(row + 8)), z);
        vst1q_u8(code + t * TQ_LANES, vorrq_u8(vshlq_n_u8(w, 1), z0));
        const int8x16_t l = vqtbl2q_s8(levels, vorrq_u8(vshlq_n_u8(w, 2), z));
        const int16x8_t low = vmull_s8(vget_low_s8(l), vget_low_s8(l));
        const int16x8_t upper = vmull_high_s8(l, l);
        sum[0] = vaddw_s16(sum[0], vget_low_s16(low));
        sum[1] = vaddw_high_s16(sum[1], low);
        sum[2] = vaddw_s16(sum[2], vget_low_s16(upper));
        sum[3] = vaddw_high_s16(sum[3], upper);
        state = came_from(state, high);
    }
    TQ_UNROLL
    for (int k = 0; k < 4; k++)
        vst1q_s32(energy + 4 * k, sum[k]);
}

CPU_INLINE void viterbi(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                        const uint16_t *order, int bits, int d, uint8_t *path)
{
    struct subset_table table[4];
    for (int z = 0; z < 4; z++)
        table[z] = subset_levels(bits, z);
    uint8_t start[TQ_LANES];
    find_start(start, path, table, x, order, bits, d);
    uint16_t metric[8 * TQ_LANES];
    for (int s = 0; s < 8; s++)
        for (int j = 0; j < TQ_LANES; j++)
            metric[s * TQ_LANES + j] = start[j] == s ? 0 : HANDICAP;
    memset(cost, 0, TQ_LANES * sizeof *cost);
    run(metric, cost, path, table, x, order, bits, d, 0, d);
    for (int j = 0; j < TQ_LANES; j++)
        cost[j] += metric[start[j] * TQ_LANES + j];
    for (int j = 0; j < TQ_LANES; j += 16)
        trace_back(code + j, energy + j, path + j, table, x + j, order, bits, d,
                   vld1q_u8(start + j));
}

/* Decisions take a byte a lane: half of path. */
void tq_viterbi_neon(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                     const uint16_t *order, int bits, int d, uint16_t *path)
{
    if (bits == 4)
        viterbi(code, energy, cost, x, order, 4, d, (uint8_t *)path);
    else
        viterbi(code, energy, cost, x, order, bits, d, (uint8_t *)path);
}

/* ---- turbo8 ---- */

void tq_quantise8_neon(int8_t *code, uint16_t *scale, float *energy, const uint16_t *x,
                       int d)
{
    const float32x4_t most = vdupq_n_f32(127.0f);
    for (int j = 0; j < ROW; j += 8) {
        float32x4_t sum[2] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)}, factor[2];
        float32x4_t top[2] = {sum[0], sum[0]};
        uint32x4_t any[2];
        for (int i = 0; i < d; i++) {
            TQ_UNROLL
            for (int k = 0; k < 2; k++) {
                const float32x4_t v = tq_load_half(x + i * ROW + j + 4 * k);
                sum[k] = vaddq_f32(sum[k], vmulq_f32(v, v));
                top[k] = vmaxnmq_f32(vabsq_f32(v), top[k]);
            }
        }
        TQ_UNROLL
        for (int k = 0; k < 2; k++) {
            vst1q_f32(energy + j + 4 * k, sum[k]);
            const float32x4_t unit =
                keep_lanes(usable_lanes(sum[k]), vdivq_f32(top[k], most));
            const float16x4_t half = vcvt_f16_f32(unit);
            vst1_u16(scale + j + 4 * k, vreinterpret_u16_f16(half));
            const float32x4_t stored = vcvt_f32_f16(half);
            any[k] = vcgtq_f32(stored, vdupq_n_f32(0.0f));
            factor[k] = vdivq_f32(vdupq_n_f32(1.0f), stored);
        }
        for (int i = 0; i < d; i++) {
            const uint16_t *from = x + i * ROW + j;
            const int16x4_t a = vmovn_s32(quantise(from, factor[0], any[0], most));
            const int16x4_t b = vmovn_s32(quantise(from + 4, factor[1], any[1], most));
            vst1_s8(code + i * ROW + j, vmovn_s16(vcombine_s16(a, b)));
        }
    }
}

#endif
