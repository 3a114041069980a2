/* encode.c - pages of compressed types from exact ones. */
#include "turboquant.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/layout.h"
#include "codec/parts.h"
#include "codec/tables.h"

/* Scratch of tq_encode, in this order; every array is a multiple of 64 bytes.  d is that
 * of the head, and of a part while that is encoded. */
struct encoder {
    uint16_t *rows;           // [d][64], the page with tokens as columns
    int16_t *x;               // [d][32]
    uint16_t *path;           // [d + 64][32]
    uint8_t *code;            // [d][64]
    uint8_t *trial;           // [d][32]
    uint16_t *order;          // [d]
    float *energy;            // [64], of rows
    int32_t *chosen;          // [64], of chosen levels
    float *distortion, *gain; // [64], of rows: cost over gain^2, and the gain
    float *residual;          // [d][64], of prod types
    float *mean;              // [d], of key pages
    uint16_t *spare;          // [64], bits of scales that hold the mean
    uint8_t *empty;           // [64], whether rows are zero or broken
    uint8_t *broken;          // [64], whether rows are not finite
};

static size_t encoder_layout(struct encoder *e, char *mem, int d)
{
    const size_t n = (size_t)d;
    size_t at = 0;
    e->rows = (void *)(mem + at), at += n * TQ_PAGE_TOKENS * 2;
    e->x = (void *)(mem + at), at += n * TQ_LANES * 2;
    e->path = (void *)(mem + at), at += (n + TQ_WARMUP) * TQ_LANES * 2;
    e->code = (void *)(mem + at), at += n * TQ_PAGE_TOKENS;
    e->trial = (void *)(mem + at), at += n * TQ_LANES;
    e->order = (void *)(mem + at), at += tq_round_up_64(2 * n);
    e->energy = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->chosen = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(int32_t);
    e->distortion = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->gain = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->residual = (void *)(mem + at), at += n * TQ_PAGE_TOKENS * sizeof(float);
    e->mean = (void *)(mem + at), at += tq_round_up_64(n * sizeof(float));
    e->spare = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(uint16_t);
    e->empty = (void *)(mem + at), at += TQ_PAGE_TOKENS;
    e->broken = (void *)(mem + at), at += TQ_PAGE_TOKENS;
    return at;
}

size_t tq_encode_scratch_bytes(int d)
{
    char dummy;
    struct encoder e;
    return encoder_layout(&e, &dummy, d) + 64;
}

/* Fill e->rows from an exact f16 page. */
static void gather_rows(const struct tq_codec *c, struct encoder *e,
                        const uint16_t *exact)
{
    if (c->role == TQ_VALUE) {
        c->kernels->transpose(e->rows, exact, c->d);
        return;
    }
    for (int tile = 0; tile < 4; tile++)
        for (int i = 0; i < c->d; i++)
            memcpy(e->rows + i * TQ_PAGE_TOKENS + 16 * tile,
                   exact + (tile * c->d + i) * 16, 32);
}

/* Codes of the columns that `better` (0 or 255) marks, and their energies. */
static void take_columns(uint8_t *code, int32_t *chosen, const uint8_t *new_code,
                         const int32_t *new_chosen, const uint8_t *better, int d)
{
    for (int t = 0; t < d; t++) {
        /* A row by itself, which compilers then see as vectors. */
        uint8_t row[TQ_LANES];
        memcpy(row, code + t * TQ_PAGE_TOKENS, sizeof row);
        for (int j = 0; j < TQ_LANES; j++)
            row[j] ^= (uint8_t)((row[j] ^ new_code[t * TQ_LANES + j]) & better[j]);
        memcpy(code + t * TQ_PAGE_TOKENS, row, sizeof row);
    }
    for (int j = 0; j < TQ_LANES; j++)
        chosen[j] = better[j] ? new_chosen[j] : chosen[j];
}

/* Codes of columns j .. j + 31: each is coded at every gain and keeps the codes of least
 * distortion, of the first gain where that is equal.  A cost is a distortion in units of
 * the squared gain. */
static void search_gains(const struct tq_codec *c, struct encoder *e, int bits, int j)
{
    const int d = c->d;
    float *least = e->distortion + j;
    c->kernels->energies(e->energy + j, e->rows + j, d);
    for (int g = 0; g < TQ_GAINS; g++) {
        const float gain = tq_gain[bits - 2][g], unit = 1.0f / (gain * gain);
        int32_t chosen[TQ_LANES], cost[TQ_LANES];
        uint8_t better[TQ_LANES];
        c->kernels->normalise(e->x, e->rows + j, e->energy + j, d, gain);
        c->kernels->viterbi(e->trial, chosen, cost, e->x, e->order, bits, d, e->path);
        for (int k = 0; k < TQ_LANES; k++) {
            const float distortion = (float)cost[k] * unit;
            better[k] = g == 0 || distortion < least[k] ? 255 : 0;
            least[k] = better[k] ? distortion : least[k];
            e->gain[j + k] = better[k] ? gain : e->gain[j + k];
        }
        take_columns(e->code + j, e->chosen + j, e->trial, chosen, better, d);
    }
}

/* 1 / cos of the angle between a row and its levels, from the cost of its path: with the
 * row at gain g and a level of u units, d g^2 + u^2 |L|^2 - 2 u <X, L> is the squared
 * distance, 2^15 (4 bits: 2^14) times the cost.  Costs are clamped, so the cosine can
 * come out too large; of a row that no level fits it has no meaning. */
static float inverse_cosine(const struct encoder *e, int bits, int d, int j)
{
    const float gain = e->gain[j], u = (float)tq_level_unit(bits);
    const float levels = u * sqrtf((float)e->chosen[j]), row = gain * sqrtf((float)d);
    const float distance =
        e->distortion[j] * (gain * gain) * (bits == 4 ? 0x1p14f : 0x1p15f);
    const float cosine = (row * row + levels * levels - distance) / (2.0f * row * levels);
    const float most = 1.25f;
    if (!(cosine > 1.0f / most))
        return most;
    return cosine < 1.0f ? 1.0f / cosine : 1.0f;
}

/* ---- the mean of a page of keys ---- */

/* Largest magnitudes of the rows, as bits of an f16. */
static void row_tops(uint16_t top[TQ_PAGE_TOKENS], const uint16_t *rows, int d)
{
    memset(top, 0, TQ_PAGE_TOKENS * sizeof *top);
    for (int i = 0; i < d; i++)
        for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
            const uint16_t a = rows[i * TQ_PAGE_TOKENS + j] & 0x7fff;
            top[j] = a > top[j] ? a : top[j];
        }
}

static void clear_rows(uint16_t *rows, const uint8_t *which, int d)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        for (int i = 0; which[j] && i < d; i++)
            rows[i * TQ_PAGE_TOKENS + j] = 0;
}

/* The value that n / 2 of n are not above, or 0 of none: bit by bit, the largest that no
 * more than n / 2 are below.  What is behind the n is UINT16_MAX. */
static uint16_t median(const uint16_t x[TQ_PAGE_TOKENS], int n)
{
    unsigned least = 0;
    for (unsigned bit = 1u << 15; n && bit; bit >>= 1) {
        const uint16_t trial = (uint16_t)(least | bit);
        uint16_t below = 0;
        for (int i = 0; i < TQ_PAGE_TOKENS; i++)
            below = (uint16_t)(below + (x[i] < trial));
        least |= below <= n / 2 ? bit : 0;
    }
    return (uint16_t)least;
}

/* Weights of the rows in the mean of a page: equal for those that have anything, except
 * that a row of more than twice the usual size, which would be most of the mean, has
 * none. Marks the empty rows and the broken ones, which are not finite. */
static void weigh_rows(struct encoder *e, float weight[TQ_PAGE_TOKENS], int d)
{
    uint16_t top[TQ_PAGE_TOKENS], used[TQ_PAGE_TOKENS];
    int n = 0, n_used = 0;
    memset(used, 0xff, sizeof used);
    row_tops(top, e->rows, d);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        e->broken[j] = top[j] >= 0x7c00;
        e->empty[j] = e->broken[j] || top[j] == 0;
        if (!e->empty[j])
            used[n++] = top[j];
    }
    const float most = 2.0f * tq_f16_to_f32(median(used, n));
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        weight[j] = !e->empty[j] && tq_f16_to_f32(top[j]) <= most ? 1.0f : 0.0f;
        n_used += weight[j] != 0.0f;
    }
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        weight[j] = weight[j] != 0.0f ? 1.0f / (float)n_used : 0.0f;
}

/* The level of x in the given unit: +-1 and +-3 for b = 2 bits, +-1 for one. */
static int mean_level(float x, float unit, int b)
{
    const int magnitude = b == 2 && fabsf(x) >= 2.0f * unit ? 3 : 1;
    return x >= 0.0f ? magnitude : -magnitude;
}

/* The unit that fits levels of the unit `from` best, <x, level> / <level, level>. */
static float fit_unit(const float *x, int d, float from, int b)
{
    float dot = 0.0f, square = 0.0f;
    for (int i = 0; i < d; i++) {
        const float level = (float)mean_level(x[i], from, b);
        dot += x[i] * level;
        square += level * level;
    }
    return dot / square;
}

/* Codes e->mean [d] into the spare bits; mean <- what they decode to.  The first unit
 * suits Gaussian means of their deviation. */
static void code_mean(struct encoder *e, int d)
{
    const int b = tq_mean_bits(d), top = (1 << b) - 1;
    float sum = 0.0f;
    for (int i = 0; i < d; i++)
        sum += e->mean[i] * e->mean[i];
    const float gaussian = 0.498f * sqrtf(sum / (float)d);
    const uint16_t h = tq_f32_to_f16(fit_unit(e->mean, d, gaussian, b));
    const float unit = tq_scale_to_f32(h);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        e->spare[j] = (uint16_t)(j < 16 ? (h >> j & 1) << 15 : 0);
    for (int i = 0; i < d; i++) {
        const int level = mean_level(e->mean[i], unit, b);
        e->spare[i % 64] |= (uint16_t)((level + top) / 2 << (b * (i / 64)));
        e->mean[i] = unit * (float)level;
    }
}

/* Takes the mean from the rows that have anything; the others become zero. */
static void remove_mean(const struct tq_codec *c, struct encoder *e)
{
    float weight[TQ_PAGE_TOKENS];
    weigh_rows(e, weight, c->d);
    clear_rows(e->rows, e->broken, c->d);
    c->kernels->weighted_mean(e->mean, e->rows, weight, c->d);
    code_mean(e, c->d);
    c->kernels->subtract(e->rows, e->mean, c->d);
    clear_rows(e->rows, e->empty, c->d);
}

/* The scale with spare bits for the mean.  It says that there is a row, so it is not zero
 * if there is one that has the mean. */
static uint16_t scale_with_spare(const struct encoder *e, uint16_t scale, int j)
{
    enum { LEAST = TQ_SCALE_MASK & -TQ_SCALE_MASK, MOST = 0x7bf0 };
    int kept = (scale + LEAST / 2) & TQ_SCALE_MASK;
    kept = kept > MOST ? MOST : kept;
    if (kept == 0 && !e->empty[j] && e->mean[0] != 0.0f)
        kept = LEAST;
    return (uint16_t)((e->empty[j] ? 0 : kept) | e->spare[j]);
}

/* ---- trellis codes ---- */

/* Codes and scales.  Keys get the scale that makes the norm of the reconstruction
 * that of the row ("matched norm"); values the one that makes it unbiased, <x, y> =
 * |x|^2: an output is a mean over many values, in which noise averages out and a common
 * factor does not. */
static void encode_trellis(const struct tq_codec *c, struct encoder *e, uint16_t *scale)
{
    const int bits = tq_tile_bits(c->type), d = c->d;
    const bool mean = tq_has_mean(c);
    if (mean)
        remove_mean(c, e);
    for (int t = 0; t < d; t++)
        e->order[t] = (uint16_t)tq_dim_of_time(c->role, bits, d, t);
    for (int j = 0; j < TQ_PAGE_TOKENS; j += TQ_LANES)
        search_gains(c, e, bits, j);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        scale[j] = 0;
        if (e->energy[j] > 0.0f && e->energy[j] <= FLT_MAX) {
            const float matched = sqrtf(e->energy[j] / (float)e->chosen[j]);
            const float factor =
                c->role == TQ_VALUE ? inverse_cosine(e, bits, d, j) : 1.0f;
            scale[j] = tq_f32_to_f16(matched * factor);
        }
        if (mean)
            scale[j] = scale_with_spare(e, scale[j], j);
        if (mean && e->broken[j])
            e->energy[j] = INFINITY;
    }
}

/* ---- pages ---- */

/* Types that are coded in tiles. */
static void encode_tiles(const struct tq_codec *c, struct encoder *e, uint8_t *page)
{
    uint16_t scale[TQ_PAGE_TOKENS];
    if (c->type == TQ_TURBO8)
        c->kernels->quantise8((int8_t *)e->code, scale, e->energy, e->rows, c->d);
    else
        encode_trellis(c, e, scale);
    memcpy(page, scale, sizeof scale);
    if (c->role == TQ_KEY)
        c->kernels->pack_k(page + TQ_SCALES_BYTES, e->code, tq_tile_bits(c->type), c->d);
    else
        c->kernels->pack_v(page + TQ_SCALES_BYTES, e->code, tq_tile_bits(c->type), c->d);
}

/* Types that are coded row by row. */
static void encode_by_row(const struct tq_codec *c, struct encoder *e, uint8_t *page)
{
    float x[TQ_DIM_MAX], decoded[TQ_DIM_MAX];
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        float sum = 0.0f;
        for (int i = 0; i < c->d; i++) {
            x[i] = tq_f16_to_f32(e->rows[i * TQ_PAGE_TOKENS + j]);
            sum += x[i] * x[i];
        }
        e->energy[j] = sum;
        if (!(sum <= FLT_MAX))
            memset(x, 0, sizeof x);
        tq_row_encode(c, page, j, x);
        if (!tq_type_prod(c->type))
            continue;
        tq_row_decode(c, decoded, page, j);
        for (int i = 0; i < c->d; i++)
            e->residual[i * TQ_PAGE_TOKENS + j] = x[i] - decoded[i];
    }
    if (tq_type_prod(c->type))
        tq_prod_encode(c, page, e->residual);
}

/* A row that is not finite in one part is made so in all: it is stored as zero whole. */
static void spread_broken(struct encoder *e, int d)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        bool broken = false;
        for (int i = 0; i < d; i++)
            broken = broken || (e->rows[i * TQ_PAGE_TOKENS + j] & 0x7c00) == 0x7c00;
        for (int i = 0; broken && i < tq_parts(d); i++)
            e->rows[tq_part_at(i) * TQ_PAGE_TOKENS + j] = 0x7e00;
    }
}

int tq_encode(const struct tq_codec *c, void *page, const void *exact, void *scratch)
{
    struct encoder e;
    char *aligned = (char *)(((uintptr_t)scratch + 63) / 64 * 64);
    encoder_layout(&e, aligned, c->d);
    gather_rows(c, &e, exact);
    if (tq_parts(c->d) > 1)
        spread_broken(&e, c->d);
    uint16_t *rows = e.rows;
    for (int i = 0; i < tq_parts(c->d); i++) {
        const struct tq_codec part = tq_part_codec(c, i);
        uint8_t *to = (uint8_t *)page + tq_part_offset(c->type, i);
        e.rows = rows + tq_part_at(i) * TQ_PAGE_TOKENS;
        if (tq_type_by_row(c->type))
            encode_by_row(&part, &e, to);
        else
            encode_tiles(&part, &e, to);
    }
    int bad = 0;
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        bad += !(e.energy[j] <= FLT_MAX);
    return bad;
}
