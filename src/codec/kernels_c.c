/* kernels_c.c - portable kernels: rotation and the unpacking of codes.  These are the
 * definition that other versions are checked against: written to be read. */
#include "codec/kernels.h"

#include <math.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/formats.h"
#include "codec/layout.h"
#include "codec/tables.h"

/* ---- rotation ---- */

static void flip_signs(float *x, int d)
{
    for (int i = 0; i < d; i++)
        if (tq_sign[i / 64] >> (i % 64) & 1)
            x[i] = -x[i];
}

/* x viewed as [order][inner]: multiply the first axis by the symmetric matrix. */
static void base_transform(float *x, const uint32_t *row, int order, int inner)
{
    for (int b = 0; b < inner; b++) {
        float y[28];
        for (int i = 0; i < order; i++) {
            y[i] = 0.0f;
            for (int j = 0; j < order; j++) {
                const float v = x[j * inner + b];
                y[i] += row[i] >> j & 1 ? -v : v;
            }
        }
        for (int i = 0; i < order; i++)
            x[i * inner + b] = y[i];
    }
}

/* Sylvester butterflies in the last axis, then the base matrix, which has the odd prime
 * of d in its order. */
void tq_hadamard(float *x, int d)
{
    const uint32_t *row = NULL;
    int order = 1;
    if (d % 3 == 0)
        row = tq_hadamard12, order = 12;
    else if (d % 5 == 0)
        row = tq_hadamard20, order = 20;
    else if (d % 7 == 0)
        row = tq_hadamard28, order = 28;
    const int inner = d / order;
    for (int half = 1; half < inner; half *= 2)
        for (int i = 0; i < d; i += 2 * half)
            for (int j = i; j < i + half; j++) {
                const float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
    if (row)
        base_transform(x, row, order, inner);
    const float norm = 1.0f / sqrtf((float)d);
    for (int i = 0; i < d; i++)
        x[i] *= norm;
}

void tq_rotate_c(float *x, int d, int n)
{
    for (int i = 0; i < n; i++, x += d) {
        flip_signs(x, d);
        tq_hadamard(x, d);
    }
}

void tq_unrotate_c(float *x, int d, int n)
{
    for (int i = 0; i < n; i++, x += d) {
        tq_hadamard(x, d);
        flip_signs(x, d);
    }
}

/* ---- conversion ---- */

void tq_to_f16_c(uint16_t *out, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        out[i] = tq_f32_to_f16(x[i]);
}

void tq_transpose_c(uint16_t *out, const uint16_t *rows, int d)
{
    for (int i = 0; i < d; i++)
        for (int j = 0; j < TQ_PAGE_TOKENS; j++)
            out[i * TQ_PAGE_TOKENS + j] = rows[j * d + i];
}

/* ---- codes to levels ---- */

/* Levels of one token in time order from its codes w << 1 | v. */
static void trellis_levels(int8_t *level, const uint8_t *code, int bits, int d)
{
    for (int t = 0; t < d; t++) {
        const int z0 = code[t] & 1;
        const int z1 =
            (code[(t + 2) % d] ^ code[(t + 1) % d] ^ code[(t + d - 1) % d]) & 1;
        level[t] = tq_level[bits - 2][(code[t] >> 1) * 4 + 2 * z1 + z0];
    }
}

/* Field p of dword or 16-bit word j in row n of an array over 16 keys. */
static int key_field(const uint8_t *array, int word_bits, int b, int n, int j, int p)
{
    uint32_t word = 0;
    const int bytes = word_bits / 8;
    memcpy(&word, array + (n * 16 + j) * bytes, (size_t)bytes);
    return (int)(word >> (b * p) & ((1u << b) - 1));
}

/* The codes of key j of a tile in time order. */
static void key_codes(uint8_t *code, const uint8_t *tile, int bits, int d, int j)
{
    const int b = bits == 3 ? 2 : bits, rows = d * b / 32;
    for (int t = 0; t < d; t++)
        code[t] = (uint8_t)key_field(tile, 32, b, t % rows, j, t / rows);
    if (bits != 3)
        return;
    const int word = tq_v_word_bits(d), vrows = d / word;
    for (int t = 0; t < d; t++)
        code[t] = (uint8_t)(code[t] << 1 |
                            key_field(tile + 4 * d, word, 1, t % vrows, j, t / vrows));
}

void tq_expand_k_c(uint8_t *out, const uint8_t *code, int bits, int d, int tile0,
                   int tile1)
{
    for (int i = tile0; i < tile1; i++) {
        const uint8_t *tile = code + i * 2 * d * bits;
        uint8_t *to = out + i * 16 * d;
        if (bits == 8) {
            for (int k = 0; k < 16 * d; k++)
                to[k] = tile[k] ^ 0x80;
            continue;
        }
        for (int j = 0; j < 16; j++) {
            uint8_t codes[TQ_DIM_MAX] = {0};
            int8_t level[TQ_DIM_MAX];
            key_codes(codes, tile, bits, d, j);
            trellis_levels(level, codes, bits, d);
            for (int t = 0; t < d; t++) {
                const int dim = tq_dim_of_time(TQ_KEY, bits, d, t);
                to[dim / 4 * 64 + 4 * j + dim % 4] = (uint8_t)(level[t] + 128);
            }
        }
    }
}

/* Field of key j in an array of value blocks with b-bit fields, at time t. */
static int value_field(const uint8_t *array, int b, int d, int j, int t)
{
    const int rows = d / 16, per_block = 32 / b, k = j % per_block;
    const uint8_t byte =
        array[(j / per_block * rows + t % rows) * 64 + t / rows * 4 + k % 4];
    return byte >> (b * (k / 4)) & ((1 << b) - 1);
}

/* The codes of the value of token j in time order. */
static void value_codes(uint8_t *code, const uint8_t *page, int bits, int d, int j)
{
    if (bits != 3) {
        for (int t = 0; t < d; t++)
            code[t] = (uint8_t)value_field(page, bits, d, j, t);
        return;
    }
    const uint8_t *group = page + j / 32 * 12 * d;
    for (int t = 0; t < d; t++)
        code[t] = (uint8_t)(value_field(group, 2, d, j % 32, t) << 1 |
                            value_field(group + 8 * d, 1, d, j % 32, t));
}

void tq_expand_v_c(int8_t *out, const uint8_t *code, int bits, int d, int tile0,
                   int tile1)
{
    if (bits == 8) {
        memcpy(out + tile0 * 16 * d, code + tile0 * 16 * d,
               (size_t)(tile1 - tile0) * 16 * (size_t)d);
        return;
    }
    for (int j = 16 * tile0; j < 16 * tile1; j++) {
        uint8_t codes[TQ_DIM_MAX] = {0};
        int8_t level[TQ_DIM_MAX];
        value_codes(codes, code, bits, d, j);
        trellis_levels(level, codes, bits, d);
        for (int t = 0; t < d; t++) {
            const int dim = tq_dim_of_time(TQ_VALUE, bits, d, t);
            out[(j / 4 * d + dim) * 4 + j % 4] = level[t];
        }
    }
}

void tq_turn_levels_c(int8_t *out, const uint8_t *in, int d, int tile0, int tile1)
{
    for (int j = 16 * tile0; j < 16 * tile1; j++)
        for (int i = 0; i < d; i++) {
            const int key = in[(j / 16 * (d / 4) + i / 4) * 64 + j % 16 * 4 + i % 4];
            out[(j / 4 * d + i) * 4 + j % 4] = (int8_t)(key - 128);
        }
}
