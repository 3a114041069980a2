/* kernels_c_encode.c - portable kernels of the encoder. */
#include "codec/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/layout.h"
#include "codec/tables.h"

enum { ROW = TQ_PAGE_TOKENS };

/* A branch costs at most this.  Any state reaches any other in 3 steps, so path costs
 * differ by at most 3 of it; with 4 steps between normalisations and the initial handicap
 * 3 * BRANCH_MAX + 1 the sums stay below 2^16. */
enum { BRANCH_MAX = 9362, HANDICAP = 3 * BRANCH_MAX + 1 };

static bool usable(float energy)
{
    return energy > 0.0f && energy <= FLT_MAX;
}

void tq_energies_c(float *energy, const uint16_t *x, int d)
{
    for (int j = 0; j < TQ_LANES; j++) {
        energy[j] = 0.0f;
        for (int i = 0; i < d; i++) {
            const float v = tq_f16_to_f32(x[i * ROW + j]);
            energy[j] += v * v;
        }
    }
}

void tq_normalise_c(int16_t *out, const uint16_t *x, const float *energy, int d,
                    float gain)
{
    for (int j = 0; j < TQ_LANES; j++) {
        const bool ok = usable(energy[j]);
        const float factor = ok ? gain / sqrtf(energy[j] / (float)d) : 0.0f;
        for (int i = 0; i < d; i++) {
            float v = ok ? tq_f16_to_f32(x[i * ROW + j]) * factor : 0.0f;
            v = v < 32767.0f ? v : 32767.0f;
            v = v > -32767.0f ? v : -32767.0f;
            out[i * TQ_LANES + j] = (int16_t)tq_round(v);
        }
    }
}

static int saturate16(int x)
{
    return x > 32767 ? 32767 : x < -32767 ? -32767 : x;
}

/* Cost of coding x in each of the four subsets of levels: the squared distance to the
 * nearest level over 2^15, twice that for 4 bits, where distances are smaller. */
static void branch_costs(int cost[4], int x, int bits)
{
    for (int z = 0; z < 4; z++) {
        const int w = tq_nearest[bits - 2][z][x >> 10 & 63];
        const int e = saturate16(x - tq_level_fixed[bits - 2][4 * w + z]);
        const int square = (e * (bits == 4 ? saturate16(2 * e) : e) + 0x4000) >> 15;
        cost[z] = square < BRANCH_MAX ? square : BRANCH_MAX;
    }
}

/* Subset z of the branch that enters state `to` from its predecessor to >> 1 | high << 2.
 * A state is the last three inputs u, the latest in bit 0; z0 = u[t-2] and
 * z1 = u[t] ^ u[t-1] ^ u[t-3]. */
static int branch_subset(int to, int high)
{
    const int reg = to | high << 3;
    return ((reg ^ reg >> 1 ^ reg >> 3) & 1) << 1 | (reg >> 2 & 1);
}

/* One step of one lane; returns the decisions, bit s for state s.  To normalise is to
 * move the least metric to *total. */
static unsigned viterbi_step(int metric[8], int *total, const int cost[4], bool normalise)
{
    int next[8], least = UINT16_MAX;
    unsigned decision = 0;
    for (int s = 0; s < 8; s++) {
        const int a = metric[s >> 1] + cost[branch_subset(s, 0)];
        const int b = metric[s >> 1 | 4] + cost[branch_subset(s, 1)];
        next[s] = b < a ? b : a;
        decision |= (unsigned)(b < a) << s;
        least = next[s] < least ? next[s] : least;
    }
    for (int s = 0; s < 8; s++)
        metric[s] = next[s] - (normalise ? least : 0);
    *total += normalise ? least : 0;
    return decision;
}

static int predecessor(int state, unsigned decision)
{
    return state >> 1 | (int)(decision >> state & 1) << 2;
}

/* The state at time 0 of the best path through the last 32 and the first 32 samples. */
static int start_state(const int16_t *x, const uint16_t *order, int bits, int d)
{
    int metric[8] = {0}, cost[4], total = 0;
    unsigned decision[TQ_WARMUP];
    for (int i = 0; i < TQ_WARMUP; i++) {
        const int t = (d - TQ_WARMUP / 2 + i) % d;
        branch_costs(cost, x[order[t] * TQ_LANES], bits);
        decision[i] = viterbi_step(metric, &total, cost, i % 4 == 3);
    }
    int state = 0;
    for (int s = 1; s < 8; s++)
        if (metric[s] < metric[state])
            state = s;
    for (int i = TQ_WARMUP - 1; i >= TQ_WARMUP / 2; i--)
        state = predecessor(state, decision[i]);
    return state;
}

void tq_viterbi_c(uint8_t *code, int32_t *energy, int32_t *cost, const int16_t *x,
                  const uint16_t *order, int bits, int d, uint16_t *path)
{
    for (int j = 0; j < TQ_LANES; j++, x++, code++) {
        const int start = start_state(x, order, bits, d);
        int metric[8], branch[4], total = 0;
        for (int s = 0; s < 8; s++)
            metric[s] = s == start ? 0 : HANDICAP;
        for (int t = 0; t < d; t++) {
            branch_costs(branch, x[order[t] * TQ_LANES], bits);
            path[t] = (uint16_t)viterbi_step(metric, &total, branch, t % 4 == 3);
        }
        cost[j] = total + metric[start];
        energy[j] = 0;
        int state = start;
        for (int t = d - 1; t >= 0; t--) {
            const int from = predecessor(state, path[t]);
            const int z = branch_subset(state, from >> 2);
            const int w = tq_nearest[bits - 2][z][x[order[t] * TQ_LANES] >> 10 & 63];
            const int level = tq_level[bits - 2][4 * w + z];
            code[t * TQ_LANES] = (uint8_t)(w << 1 | (z & 1));
            energy[j] += level * level;
            state = from;
        }
    }
}

void tq_quantise8_c(int8_t *code, uint16_t *scale, float *energy, const uint16_t *x,
                    int d)
{
    for (int j = 0; j < ROW; j++) {
        float sum = 0.0f, top = 0.0f;
        for (int i = 0; i < d; i++) {
            const float v = tq_f16_to_f32(x[i * ROW + j]);
            sum += v * v;
            top = fabsf(v) > top ? fabsf(v) : top;
        }
        energy[j] = sum;
        scale[j] = usable(sum) ? tq_f32_to_f16(top / 127.0f) : 0;
        const float factor = scale[j] ? 1.0f / tq_f16_to_f32(scale[j]) : 0.0f;
        for (int i = 0; i < d; i++) {
            float v = factor != 0.0f ? tq_f16_to_f32(x[i * ROW + j]) * factor : 0.0f;
            v = v < 127.0f ? v : 127.0f;
            v = v > -127.0f ? v : -127.0f;
            code[i * ROW + j] = (int8_t)tq_round(v);
        }
    }
}

/* ---- codes to pages ---- */

static void or_word(uint8_t *at, int bytes, uint32_t bits)
{
    uint32_t word = 0;
    memcpy(&word, at, (size_t)bytes);
    word |= bits;
    memcpy(at, &word, (size_t)bytes);
}

/* Add fields of b bits, code >> shift, of 16 keys as an array of words; code [d][64]. */
static void pack_key_array(uint8_t *out, const uint8_t *code, int word_bits, int b,
                           int shift, int d)
{
    const int rows = d * b / word_bits, bytes = word_bits / 8;
    memset(out, 0, (size_t)(2 * b * d));
    for (int t = 0; t < d; t++)
        for (int j = 0; j < 16; j++) {
            const uint32_t field =
                (uint32_t)(code[t * ROW + j] >> shift) & ((1u << b) - 1);
            or_word(out + (t % rows * 16 + j) * bytes, bytes, field << (b * (t / rows)));
        }
}

void tq_pack_k_c(uint8_t *out, const uint8_t *code, int bits, int d)
{
    for (int tile = 0; tile < 4; tile++, code += 16, out += 2 * bits * d) {
        if (bits == 8) {
            for (int i = 0; i < d; i++)
                for (int j = 0; j < 16; j++)
                    out[i / 4 * 64 + 4 * j + i % 4] = code[i * ROW + j];
        } else if (bits == 3) {
            pack_key_array(out, code, 32, 2, 1, d);
            pack_key_array(out + 4 * d, code, tq_v_word_bits(d), 1, 0, d);
        } else {
            pack_key_array(out, code, 32, bits, 0, d);
        }
    }
}

/* One block of 32 / b tokens. */
static void pack_value_block(uint8_t *out, const uint8_t *code, int b, int shift, int d)
{
    const uint32_t mask = 0x01010101u * ((1u << b) - 1);
    for (int t = 0; t < d; t++) {
        uint32_t word = 0;
        for (int f = 0; f < 8 / b; f++) {
            uint32_t keys; // the codes of four tokens
            memcpy(&keys, code + t * ROW + 4 * f, 4);
            word |= (keys >> shift & mask) << (b * f);
        }
        memcpy(out + t % (d / 16) * 64 + t / (d / 16) * 4, &word, 4);
    }
}

void tq_pack_v_c(uint8_t *out, const uint8_t *code, int bits, int d)
{
    if (bits == 8) {
        for (int g = 0; g < ROW / 4; g++)
            for (int i = 0; i < d; i++)
                memcpy(out + (g * d + i) * 4, code + i * ROW + 4 * g, 4);
    } else if (bits == 3) {
        for (int g = 0; g < 2; g++, code += 32, out += 12 * d) {
            pack_value_block(out, code, 2, 1, d);
            pack_value_block(out + 4 * d, code + 16, 2, 1, d);
            pack_value_block(out + 8 * d, code, 1, 0, d);
        }
    } else {
        for (int j = 0; j < ROW; j += 32 / bits, out += 4 * d)
            pack_value_block(out, code + j, bits, 0, d);
    }
}
