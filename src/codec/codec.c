/* codec.c - types, pages, encoding and decoding. */
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

static const struct {
    const char *name;
    int bits;  // of a value; mix: of the half with the higher rate
    int extra; // bytes of a part of a row besides d * bits / 8
} types[TQ_TYPE_COUNT] = {
    [TQ_F32] = {"f32", 32, 0},      [TQ_F16] = {"f16", 16, 0},
    [TQ_TURBO8] = {"turbo8", 8, 2}, [TQ_TURBO4] = {"turbo4", 4, 2},
    [TQ_TURBO3] = {"turbo3", 3, 2}, [TQ_TURBO2] = {"turbo2", 2, 2},
    [TQ_MSE4] = {"mse4", 4, 2},     [TQ_MSE3] = {"mse3", 3, 2},
    [TQ_MSE2] = {"mse2", 2, 2},     [TQ_PROD4] = {"prod4", 4, 4},
    [TQ_PROD3] = {"prod3", 3, 4},   [TQ_PROD2] = {"prod2", 2, 4},
    [TQ_MIX3_5] = {"mix3.5", 4, 4}, [TQ_MIX2_5] = {"mix2.5", 3, 4},
    [TQ_Q8_0] = {"q8_0", 8, 0},     [TQ_Q4_0] = {"q4_0", 4, 0},
};

enum { BLOCK = 32 }; // of q8_0 and q4_0, each with an f16 scale

/* The default seed of the sign matrix. */
#define SIGN_SEED 0

/* What other projects call types of these rates. */
static const struct {
    const char *name;
    enum tq_type type;
} aliases[] = {
    {"fp32", TQ_F32},
    {"fp16", TQ_F16},
    {"tbq4", TQ_TURBO4},
    {"tbq3", TQ_TURBO3},
    {"tbq2", TQ_TURBO2},
    {"tbq4_0", TQ_TURBO4},
    {"tbq3_0", TQ_TURBO3},
    {"tbq2_0", TQ_TURBO2},
    {"tq8_0", TQ_TURBO8},
    {"tq4_0", TQ_TURBO4},
    {"tq3_0", TQ_TURBO3},
    {"tq2_0", TQ_TURBO2},
    {"tq4", TQ_TURBO4},
    {"tq3", TQ_TURBO3},
    {"tq2", TQ_TURBO2},
    {"turbo8_0", TQ_TURBO8},
    {"turbo4_0", TQ_TURBO4},
    {"turbo3_0", TQ_TURBO3},
    {"turbo2_0", TQ_TURBO2},
    {"turbo4_tcq", TQ_TURBO4},
    {"turbo3_tcq", TQ_TURBO3},
    {"turbo2_tcq", TQ_TURBO2},
    {"turboquant_mse4", TQ_MSE4},
    {"lm4", TQ_MSE4},
    {"lm3", TQ_MSE3},
    {"lm2", TQ_MSE2},
    {"tbqp4", TQ_PROD4},
    {"tbqp3", TQ_PROD3},
    {"mix3_5", TQ_MIX3_5},
    {"mix2_5", TQ_MIX2_5},
    {"q8", TQ_Q8_0},
    {"q4", TQ_Q4_0},
};

const char *tq_type_name(enum tq_type t)
{
    return types[t].name;
}

bool tq_type_parse(enum tq_type *out, const char *name)
{
    for (int i = 0; i < TQ_TYPE_COUNT; i++)
        if (!strcmp(name, types[i].name)) {
            *out = (enum tq_type)i;
            return true;
        }
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (!strcmp(name, aliases[i].name)) {
            *out = aliases[i].type;
            return true;
        }
    return false;
}

bool tq_type_compressed(enum tq_type t)
{
    return t != TQ_F32 && t != TQ_F16;
}

bool tq_dim_supported(int d)
{
    static const int dims[] = {64, 80, 96, 112, 128, 192, 256, 512, 576};
    for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
        if (d == dims[i])
            return true;
    return false;
}

bool tq_type_supported(enum tq_type t, enum tq_role role, int d)
{
    if (!tq_type_compressed(t))
        return d >= 1 && d <= TQ_DIM_MAX;
    if (tq_type_prod(t) && role != TQ_KEY)
        return false;
    if (tq_type_blocks(t) && d % BLOCK)
        return false;
    return tq_dim_supported(d);
}

size_t tq_row_bytes(enum tq_type t, int d)
{
    const size_t n = (size_t)d, codes = n * (size_t)types[t].bits / 8;
    const size_t extra = (size_t)(types[t].extra * tq_parts(d));
    if (tq_type_mix(t))
        return codes - n / 16 + extra;
    if (tq_type_blocks(t))
        return codes + 2 * n / BLOCK;
    return codes + extra;
}

size_t tq_page_bytes(enum tq_type t, int d)
{
    return TQ_PAGE_TOKENS * tq_row_bytes(t, d);
}

bool tq_codec_init(struct tq_codec *c, enum tq_type t, enum tq_role role, int d,
                   enum tq_isa limit)
{
    if (!tq_type_supported(t, role, d))
        return false;
    *c = (struct tq_codec){.type = t,
                           .role = role,
                           .d = d,
                           .kernels = tq_kernels_for(limit),
                           .seed = SIGN_SEED};
    return true;
}

static int part_of(int d, int channel)
{
    return tq_parts(d) > 1 && channel >= tq_part_at(1);
}

bool tq_codec_set_order(struct tq_codec *c, const uint16_t *order)
{
    uint8_t seen[TQ_DIM_MAX] = {0};
    if (!tq_type_mix(c->type))
        return false;
    for (int i = 0; i < c->d; i++) {
        if (order[i] >= c->d || seen[order[i]] ||
            part_of(c->d, order[i]) != part_of(c->d, i))
            return false;
        seen[order[i]] = 1;
    }
    c->order = order;
    return true;
}

/* Insertion sort: d is at most 576 and this runs once a calibration. */
void tq_order_by_energy(uint16_t *order, const float *energy, int d)
{
    for (int i = 0; i < d; i++) {
        const float e = energy[i] > 0.0f ? energy[i] : 0.0f;
        const int first = tq_part_at(part_of(d, i));
        int k = i;
        for (; k > first; k--) {
            const float before = energy[order[k - 1]];
            if ((before > 0.0f ? before : 0.0f) >= e)
                break;
            order[k] = order[k - 1];
        }
        order[k] = (uint16_t)i;
    }
}

static void turn_rows(void (*turn)(float *, int, int), float *x, int d, int n)
{
    const int parts = tq_parts(d);
    if (parts == 1) {
        turn(x, d, n);
        return;
    }
    for (int row = 0; row < n; row++, x += d)
        for (int i = 0; i < parts; i++)
            turn(x + tq_part_at(i), tq_part_dim(d, i), 1);
}

void tq_rotate(const struct tq_codec *c, float *x, int n)
{
    if (tq_type_mix(c->type))
        tq_mix_rotate(c, x, n);
    else
        turn_rows(c->kernels->rotate, x, c->d, n);
}

void tq_unrotate(const struct tq_codec *c, float *x, int n)
{
    if (tq_type_mix(c->type))
        tq_mix_unrotate(c, x, n);
    else
        turn_rows(c->kernels->unrotate, x, c->d, n);
}

/* Element index of coordinate i of a token in an exact page. */
static size_t exact_index(const struct tq_codec *c, int slot, int i)
{
    if (c->role == TQ_VALUE)
        return (size_t)slot * (size_t)c->d + (size_t)i;
    return (size_t)(slot / 16 * 16 * c->d + i * 16 + slot % 16);
}

void tq_put(const struct tq_codec *c, void *page, int slot, const float *x)
{
    if (c->type == TQ_F32) {
        for (int i = 0; i < c->d; i++)
            memcpy((char *)page + 4 * exact_index(c, slot, i), &x[i], 4);
        return;
    }
    uint16_t *to = page;
    if (c->role == TQ_VALUE) {
        c->kernels->to_f16(to + exact_index(c, slot, 0), x, c->d);
        return;
    }
    uint16_t row[TQ_DIM_MAX];
    c->kernels->to_f16(row, x, c->d);
    to += exact_index(c, slot, 0);
    for (int i = 0; i < c->d; i++)
        to[16 * i] = row[i];
}

/* ---- encoding ---- */

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
    e->order = (void *)(mem + at), at += (2 * n + 63) / 64 * 64;
    e->energy = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->chosen = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(int32_t);
    e->distortion = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->gain = (void *)(mem + at), at += TQ_PAGE_TOKENS * sizeof(float);
    e->residual = (void *)(mem + at), at += n * TQ_PAGE_TOKENS * sizeof(float);
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

/* Codes and energies of the columns that `better` (0 or 255) marks, eight at a time. */
static void take_columns(uint8_t *code, int32_t *chosen, const uint8_t *new_code,
                         const int32_t *new_chosen, const uint8_t *better, int d)
{
    for (int j = 0; j < TQ_LANES; j += 8) {
        uint64_t mask;
        memcpy(&mask, better + j, sizeof mask);
        for (int t = 0; mask && t < d; t++) {
            uint64_t a, b;
            memcpy(&a, code + t * TQ_PAGE_TOKENS + j, sizeof a);
            memcpy(&b, new_code + t * TQ_LANES + j, sizeof b);
            a ^= (a ^ b) & mask;
            memcpy(code + t * TQ_PAGE_TOKENS + j, &a, sizeof a);
        }
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
    for (int g = 0; g < TQ_GAINS; g++) {
        const float gain = tq_gain[bits - 2][g], unit = 1.0f / (gain * gain);
        int32_t chosen[TQ_LANES], cost[TQ_LANES];
        uint8_t better[TQ_LANES];
        c->kernels->normalise(e->x, e->energy + j, e->rows + j, d, gain);
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

/* Trellis codes and scales.  Keys get the scale that makes the norm of the reconstruction
 * that of the row ("matched norm"); values the one that makes it unbiased, <x, y> =
 * |x|^2: an output is a mean over many values, in which noise averages out and a common
 * factor does not. */
static void encode_trellis(const struct tq_codec *c, struct encoder *e, uint16_t *scale)
{
    const int bits = types[c->type].bits, d = c->d;
    for (int t = 0; t < d; t++)
        e->order[t] = (uint16_t)tq_dim_of_time(c->role, bits, d, t);
    for (int j = 0; j < TQ_PAGE_TOKENS; j += TQ_LANES)
        search_gains(c, e, bits, j);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        scale[j] = 0;
        if (!(e->energy[j] > 0.0f && e->energy[j] <= FLT_MAX))
            continue;
        const float matched = sqrtf(e->energy[j] / (float)e->chosen[j]);
        const float factor = c->role == TQ_VALUE ? inverse_cosine(e, bits, d, j) : 1.0f;
        scale[j] = tq_f32_to_f16(matched * factor);
    }
}

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
        c->kernels->pack_k(page + TQ_SCALES_BYTES, e->code, types[c->type].bits, c->d);
    else
        c->kernels->pack_v(page + TQ_SCALES_BYTES, e->code, types[c->type].bits, c->d);
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

/* ---- decoding ---- */

static void decode_exact(const struct tq_codec *c, float *x, const void *page)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        for (int i = 0; i < c->d; i++) {
            const size_t k = exact_index(c, j, i);
            if (c->type == TQ_F32)
                memcpy(&x[j * c->d + i], (const char *)page + 4 * k, 4);
            else
                x[j * c->d + i] = tq_f16_to_f32(((const uint16_t *)page)[k]);
        }
}

static void decode_by_row(const struct tq_codec *c, float *x, int stride,
                          const uint8_t *page)
{
    for (int j = 0; j < TQ_PAGE_TOKENS; j++)
        tq_row_decode(c, x + j * stride, page, j);
    if (tq_type_prod(c->type))
        tq_prod_decode(c, x, stride, page);
}

static void decode_tiles(const struct tq_codec *c, float *x, int stride,
                         const uint8_t *page)
{
    _Alignas(64) uint8_t level[TQ_PAGE_TOKENS * TQ_PART_MAX];
    const uint16_t *scale = (const void *)page;
    const uint8_t *codes = page + TQ_SCALES_BYTES;
    const int bits = types[c->type].bits, d = c->d;
    if (c->role == TQ_KEY)
        c->kernels->expand_k(level, codes, bits, d, 0, 4);
    else
        c->kernels->expand_v((int8_t *)level, codes, bits, d, 0, 4);
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        const float s = tq_scale_to_f32(scale[j]);
        for (int i = 0; i < d; i++) {
            const int key =
                level[(j / 16 * (d / 4) + i / 4) * 64 + j % 16 * 4 + i % 4] - 128;
            const int value = (int8_t)level[(j / 4 * d + i) * 4 + j % 4];
            x[j * stride + i] = s * (float)(c->role == TQ_KEY ? key : value);
        }
    }
}

void tq_decode(const struct tq_codec *c, float *x, const void *page)
{
    if (!tq_type_compressed(c->type)) {
        decode_exact(c, x, page);
        return;
    }
    for (int i = 0; i < tq_parts(c->d); i++) {
        const struct tq_codec part = tq_part_codec(c, i);
        const uint8_t *from = (const uint8_t *)page + tq_part_offset(c->type, i);
        if (tq_type_by_row(c->type))
            decode_by_row(&part, x + tq_part_at(i), c->d, from);
        else
            decode_tiles(&part, x + tq_part_at(i), c->d, from);
    }
}
