/* codec.c - types, sizes, rotation, exact pages and decoding. */
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
    const int bits = tq_tile_bits(c->type), d = c->d;
    if (c->role == TQ_KEY)
        c->kernels->expand_k(level, codes, bits, d, 0, 4);
    else
        c->kernels->expand_v((int8_t *)level, codes, bits, d, 0, 4);
    const bool mean = tq_has_mean(c);
    const float unit = mean ? tq_scale_to_f32(tq_mean_scale(scale)) : 0.0f;
    for (int j = 0; j < TQ_PAGE_TOKENS; j++) {
        const uint16_t h = (uint16_t)(mean ? scale[j] & TQ_SCALE_MASK : scale[j]);
        const float s = tq_scale_to_f32(h);
        for (int i = 0; i < d; i++) {
            const int key =
                level[(j / 16 * (d / 4) + i / 4) * 64 + j % 16 * 4 + i % 4] - 128;
            const int value = (int8_t)level[(j / 4 * d + i) * 4 + j % 4];
            x[j * stride + i] = s * (float)(c->role == TQ_KEY ? key : value);
            if (mean && s != 0.0f)
                x[j * stride + i] += unit * (float)tq_mean_level(scale, d, i);
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
