/* formats.c - rows of scalar codes: Lloyd-Max (mse, mix, the base of prod) and the blocks
 * of llama.cpp (q8_0, q4_0).
 * Sources: TurboQuant, arXiv 2504.19874, algorithm 1 and section 4.3; ggml block types.
 */
#include "codec/formats.h"

#include <math.h>
#include <string.h>

#include "codec/f16.h"
#include "codec/parts.h"
#include "codec/tables.h"
#include "codec/tables_scalar.h"

enum { TOKENS = TQ_PAGE_TOKENS, BLOCK = 32 };

const float *tq_codebook_for(int d, int bits)
{
    int k = 0;
    while (k < TQ_CODEBOOKS - 1 && tq_codebook_dim[k] != d)
        k++;
    return tq_codebook[k] + (1 << (bits - 1)) - 1;
}

/* ---- codes as a string of bits: code i at bits b i .. b i + b - 1 ---- */

/* n b must be a multiple of 8. */
static void put_codes(uint8_t *out, const uint8_t *code, int n, int b)
{
    uint32_t word = 0;
    int held = 0;
    for (int i = 0; i < n; i++) {
        word |= (uint32_t)code[i] << held;
        for (held += b; held >= 8; held -= 8, word >>= 8)
            *out++ = (uint8_t)word;
    }
}

static void get_codes(uint8_t *code, const uint8_t *in, int n, int b)
{
    uint32_t word = 0;
    int held = 0;
    for (int i = 0; i < n; i++, word >>= b, held -= b) {
        if (held < b) {
            word |= (uint32_t)*in++ << held;
            held += 8;
        }
        code[i] = (uint8_t)(word & ((1u << b) - 1));
    }
}

/* ---- Lloyd-Max ---- */

/* Codes of n values and their root mean square, which is the norm of the paper over
 * sqrt(n).  Code 2^(b-1) is the least positive level. */
static uint16_t encode_lloyd(uint8_t *out, const float *x, int n, int b)
{
    const float *level = tq_codebook_for(n, b);
    const int half = 1 << (b - 1);
    float sum = 0.0f, edge[8];
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    for (int k = 1; k < half; k++)
        edge[k] = (level[k - 1] + level[k]) * 0.5f;
    const uint16_t scale = tq_f32_to_f16(sqrtf(sum / (float)n));
    const float inverse = scale ? 1.0f / tq_f16_to_f32(scale) : 0.0f;
    uint8_t code[TQ_PART_MAX];
    for (int i = 0; i < n; i++) {
        const float a = fabsf(x[i]) * inverse;
        int k = 0;
        for (int e = 1; e < half; e++)
            k += a > edge[e];
        code[i] = (uint8_t)(x[i] < 0.0f ? half - 1 - k : half + k);
    }
    put_codes(out, code, n, b);
    return scale;
}

static void decode_lloyd(float *x, const uint8_t *in, uint16_t scale, int n, int b)
{
    const float *level = tq_codebook_for(n, b);
    const int half = 1 << (b - 1);
    float value[16];
    for (int k = 0; k < half; k++) {
        value[half + k] = tq_scale_to_f32(scale) * level[k];
        value[half - 1 - k] = -value[half + k];
    }
    uint8_t code[TQ_PART_MAX];
    get_codes(code, in, n, b);
    for (int i = 0; i < n; i++)
        x[i] = value[code[i]];
}

/* ---- blocks of 32 ---- */

static void put_half(uint8_t *at, uint16_t h)
{
    memcpy(at, &h, sizeof h);
}

static uint16_t get_half(const uint8_t *at)
{
    uint16_t h;
    memcpy(&h, at, sizeof h);
    return h;
}

/* {f16 scale, int8 [32]} */
static void encode_q8_0(uint8_t *out, const float *x, int d)
{
    for (int at = 0; at < d; at += BLOCK, out += 2 + BLOCK, x += BLOCK) {
        float top = 0.0f;
        for (int i = 0; i < BLOCK; i++)
            top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        const float scale = top / 127.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        put_half(out, tq_f32_to_f16(scale));
        for (int i = 0; i < BLOCK; i++)
            out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
    }
}

/* {f16 scale, 16 bytes}: byte i holds value i in its low half, value i + 16 in the high
 * one.  The value of largest magnitude gets code 0, level -8. */
static void encode_q4_0(uint8_t *out, const float *x, int d)
{
    for (int at = 0; at < d; at += BLOCK, out += 2 + BLOCK / 2, x += BLOCK) {
        float top = 0.0f;
        for (int i = 0; i < BLOCK; i++)
            top = fabsf(x[i]) > fabsf(top) ? x[i] : top;
        const float scale = top / -8.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
        put_half(out, tq_f32_to_f16(scale));
        uint8_t code[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            const int q = (int)(x[i] * inverse + 8.5f);
            code[i] = (uint8_t)(q < 15 ? q : 15);
        }
        for (int i = 0; i < BLOCK / 2; i++)
            out[2 + i] = (uint8_t)(code[i] | code[i + BLOCK / 2] << 4);
    }
}

/* The scale of a q4_0 block may be negative. */
static float block_scale(const uint8_t *block)
{
    const uint16_t h = get_half(block);
    return (h & 0x7fff) < 0x7c00 ? tq_f16_to_f32(h) : 0.0f;
}

static void decode_q8_0(float *x, const uint8_t *in, int d)
{
    for (int at = 0; at < d; at += BLOCK, in += 2 + BLOCK)
        for (int i = 0; i < BLOCK; i++)
            x[at + i] = block_scale(in) * (float)(int8_t)in[2 + i];
}

static void decode_q4_0(float *x, const uint8_t *in, int d)
{
    for (int at = 0; at < d; at += BLOCK, in += 2 + BLOCK / 2)
        for (int i = 0; i < BLOCK / 2; i++) {
            x[at + i] = block_scale(in) * (float)((in[2 + i] & 15) - 8);
            x[at + i + BLOCK / 2] = block_scale(in) * (float)((in[2 + i] >> 4) - 8);
        }
}

/* ---- rows ---- */

/* Bits of the Lloyd-Max code; of the first half of a mix type. */
static int lloyd_bits(enum tq_type t)
{
    switch (t) {
    case TQ_MSE4:
    case TQ_MIX3_5:
        return 4;
    case TQ_MSE3:
    case TQ_PROD4:
    case TQ_MIX2_5:
        return 3;
    case TQ_PROD2:
        return 1;
    default:
        return 2;
    }
}

/* Arrays of 64 f16 come first; rows of equal length follow. */
static size_t header_halves(enum tq_type t)
{
    if (tq_type_blocks(t))
        return 0;
    return tq_type_prod(t) || tq_type_mix(t) ? 2 : 1;
}

static size_t row_offset(const struct tq_codec *c, int slot)
{
    const size_t header = 2 * header_halves(c->type);
    return header * TOKENS + (size_t)slot * (tq_row_bytes(c->type, c->d) - header);
}

void tq_row_encode(const struct tq_codec *c, uint8_t *page, int slot, const float *x)
{
    uint8_t *row = page + row_offset(c, slot), *scale = page + 2 * slot;
    const int d = c->d, b = lloyd_bits(c->type);
    if (c->type == TQ_Q8_0) {
        encode_q8_0(row, x, d);
    } else if (c->type == TQ_Q4_0) {
        encode_q4_0(row, x, d);
    } else if (tq_type_mix(c->type)) {
        const int n = d / 2;
        put_half(scale, encode_lloyd(row, x, n, b));
        put_half(scale + 2 * TOKENS, encode_lloyd(row + n * b / 8, x + n, n, b - 1));
    } else {
        put_half(scale, encode_lloyd(row, x, d, b));
    }
}

void tq_row_decode(const struct tq_codec *c, float *x, const uint8_t *page, int slot)
{
    const uint8_t *row = page + row_offset(c, slot), *scale = page + 2 * slot;
    const int d = c->d, b = lloyd_bits(c->type);
    if (c->type == TQ_Q8_0) {
        decode_q8_0(x, row, d);
    } else if (c->type == TQ_Q4_0) {
        decode_q4_0(x, row, d);
    } else if (tq_type_mix(c->type)) {
        const int n = d / 2;
        decode_lloyd(x, row, get_half(scale), n, b);
        decode_lloyd(x + n, row + n * b / 8, get_half(scale + 2 * TOKENS), n, b - 1);
    } else {
        decode_lloyd(x, row, get_half(scale), d, b);
    }
}

/* ---- the rotation of mix types ---- */

/* The channel at position i of a part of n channels from `first` on. */
static int mix_channel(const struct tq_codec *c, int first, int n, int i)
{
    return c->order ? c->order[first + i] : first + (i + n / 2) % n;
}

static float mix_sign(float v, int i)
{
    return tq_sign[i / 64] >> (i % 64) & 1 ? -v : v;
}

/* Position i takes channel order[i]; each half is rotated by itself, so that the energy
 * of the chosen channels stays in the half of the higher rate. */
static void mix_rotate_part(const struct tq_codec *c, float *y, const float *x, int first,
                            int n)
{
    for (int i = 0; i < n; i++)
        y[i] = mix_sign(x[mix_channel(c, first, n, i)], i);
    tq_hadamard(y, n / 2);
    tq_hadamard(y + n / 2, n / 2);
}

static void mix_unrotate_part(const struct tq_codec *c, float *x, float *y, int first,
                              int n)
{
    tq_hadamard(y, n / 2);
    tq_hadamard(y + n / 2, n / 2);
    for (int i = 0; i < n; i++)
        x[mix_channel(c, first, n, i)] = mix_sign(y[i], i);
}

void tq_mix_rotate(const struct tq_codec *c, float *x, int n)
{
    const int d = c->d;
    for (int row = 0; row < n; row++, x += d) {
        float y[TQ_DIM_MAX];
        for (int p = 0; p < tq_parts(d); p++)
            mix_rotate_part(c, y + tq_part_at(p), x, tq_part_at(p), tq_part_dim(d, p));
        memcpy(x, y, (size_t)d * sizeof *x);
    }
}

void tq_mix_unrotate(const struct tq_codec *c, float *x, int n)
{
    const int d = c->d;
    for (int row = 0; row < n; row++, x += d) {
        float y[TQ_DIM_MAX];
        memcpy(y, x, (size_t)d * sizeof *x);
        for (int p = 0; p < tq_parts(d); p++)
            mix_unrotate_part(c, x, y + tq_part_at(p), tq_part_at(p), tq_part_dim(d, p));
    }
}
