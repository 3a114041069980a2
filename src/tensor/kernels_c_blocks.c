/* kernels_c_blocks.c - portable products of quantised weights: the definition that every
 * other level is checked against.  A type is a way to decode 32 columns, and a line at
 * the end. */
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/levels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

/* 32 columns of a tile, decoded: w[v][4r + c] is the code of row r, column 4v + c. */
struct sub {
    uint8_t w[8][TILE_WORD];
    float scale[2][TILE_ROWS]; // of columns 0..15 and 16..31
    float min[2][TILE_ROWS];
};

/* Values are scale * (code - offset) + min. */
struct format {
    int n_sub;   // subs of 32 columns in a block
    int n_scale; // 1: scale[0] is for all 32 columns
    int offset;
    int n_min; // 0: there is none; 1: min[0] is for all 32 columns
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j);
};

/* Codes of a block of 32: words 0..3 hold columns 0..15 in their low nibbles and
 * columns 16..31 in their high ones. */
static void nibbles(struct sub *s, const uint8_t *qs)
{
    for (int v = 0; v < 4; v++)
        for (int i = 0; i < TILE_WORD; i++) {
            s->w[v][i] = qs[TILE_WORD * v + i] & 15;
            s->w[v + 4][i] = qs[TILE_WORD * v + i] >> 4;
        }
}

/* Bit 4v + c of a row's word is bit 4 of the code of column 4v + c. */
static void fifth_bits(struct sub *s, const uint8_t *qh)
{
    for (int r = 0; r < TILE_ROWS; r++)
        for (int i = 0; i < 32; i++) {
            const int bit = qh[4 * r + i / 8] >> i % 8 & 1;
            s->w[i / 4][4 * r + i % 4] |= (uint8_t)(bit << 4);
        }
}

static void decode_q4_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    nibbles(s, block + TILE_HALF);
}

static void decode_q4_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    tile_load_halves(s->min[0], block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF);
}

static void decode_q5_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    nibbles(s, block + TILE_HALF + TILE_WORD);
    fifth_bits(s, block + TILE_HALF);
}

static void decode_q5_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    tile_load_halves(s->min[0], block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF + TILE_WORD);
    fifth_bits(s, block + 2 * TILE_HALF);
}

static void decode_q8_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = block[TILE_HALF + TILE_WORD * v + i] ^ 0x80;
}

/* Byte i of the scales of row r: word i / 4, byte i % 4. */
static int scale_byte(const uint8_t *words, int r, int i)
{
    return words[TILE_WORD * (i / 4) + 4 * r + i % 4];
}

/* d, dmin and the packed scales of Q4_K and Q5_K. */
static void scales_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *words = block + 2 * TILE_HALF;
    tile_load_halves(s->scale[0], block);
    tile_load_halves(s->min[0], block + TILE_HALF);
    for (int r = 0; r < TILE_ROWS; r++) {
        int scale, min;
        if (j < 4) {
            scale = scale_byte(words, r, j) & 63;
            min = scale_byte(words, r, j + 4) & 63;
        } else {
            const int both = scale_byte(words, r, j + 4);
            scale = (both & 15) | scale_byte(words, r, j - 4) >> 6 << 4;
            min = both >> 4 | scale_byte(words, r, j) >> 6 << 4;
        }
        s->scale[0][r] *= (float)scale;
        s->min[0][r] *= (float)-min;
    }
}

static void nibbles_k(struct sub *s, const uint8_t *qs, int j)
{
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = qs[TILE_WORD * (8 * (j / 2) + v) + i] >> 4 * (j % 2) & 15;
}

static void decode_q4_k(struct sub *s, const uint8_t *block, int j)
{
    scales_k(s, block, j);
    nibbles_k(s, block + 2 * TILE_HALF + 3 * TILE_WORD, j);
}

static void decode_q5_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *qh = block + 2 * TILE_HALF + 3 * TILE_WORD;
    scales_k(s, block, j);
    nibbles_k(s, qh + 8 * TILE_WORD, j);
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] |= (uint8_t)((qh[TILE_WORD * v + i] >> j & 1) << 4);
}

static void decode_q6_k(struct sub *s, const uint8_t *block, int j)
{
    const int n = j / 4, k = j % 4;
    const uint8_t *ql = block + TILE_WORD * (16 * n + 8 * (k % 2));
    const uint8_t *qh = block + TILE_WORD * (32 + 8 * n);
    float d[TILE_ROWS];
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++) {
            const int low = ql[TILE_WORD * v + i] >> 4 * (k / 2) & 15;
            const int high = qh[TILE_WORD * v + i] >> 2 * k & 3;
            s->w[v][i] = (uint8_t)(low | high << 4);
        }
    tile_load_halves(d, block + TILE_WORD * 52);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < TILE_ROWS; r++) {
            const int scale = (int8_t)scale_byte(block + TILE_WORD * 48, r, 2 * j + h);
            s->scale[h][r] = d[r] * (float)scale;
        }
}

/* Codes of two bits: four subs share 8 words. */
static void two_bits(struct sub *s, const uint8_t *qs, int j)
{
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = qs[TILE_WORD * (8 * (j / 4) + v) + i] >> 2 * (j % 4) & 3;
}

static void decode_q2_k(struct sub *s, const uint8_t *block, int j)
{
    float d[TILE_ROWS], dmin[TILE_ROWS];
    tile_load_halves(d, block + TILE_WORD * 20);
    tile_load_halves(dmin, block + TILE_WORD * 20 + TILE_HALF);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < TILE_ROWS; r++) {
            const int both = scale_byte(block, r, 2 * j + h);
            s->scale[h][r] = d[r] * (float)(both & 15);
            s->min[h][r] = dmin[r] * (float)-(both >> 4);
        }
    two_bits(s, block + TILE_WORD * 4, j);
}

static void decode_q3_k(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *scales = block + TILE_WORD * 24;
    float d[TILE_ROWS];
    tile_load_halves(d, block + TILE_WORD * 27);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < TILE_ROWS; r++) {
            const int k = 2 * j + h,
                      low = scale_byte(scales, r, k % 8) >> 4 * (k / 8) & 15;
            const int high = scale_byte(scales, r, 8 + k % 4) >> 2 * (k / 4) & 3;
            s->scale[h][r] = d[r] * (float)((low | high << 4) - 32);
        }
    two_bits(s, block + TILE_WORD * 8, j);
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] |= (uint8_t)((block[TILE_WORD * v + i] >> j & 1) << 2);
}

/* Codes that stand for levels become level + offset. */
static void look_up(struct sub *s, const int8_t level[16], int offset)
{
    for (int v = 0; v < 8; v++)
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = (uint8_t)(level[s->w[v][i]] + offset);
}

static const int8_t iq4[16] = {LEVELS_IQ4}, e2m1[16] = {LEVELS_E2M1};

static void decode_iq4_nl(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    tile_load_halves(s->scale[0], block);
    nibbles(s, block + TILE_HALF);
    look_up(s, iq4, 128);
}

static void decode_iq4_xs(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *high = block + TILE_HALF, *low = high + TILE_HALF;
    tile_load_halves(s->scale[0], block);
    for (int r = 0; r < TILE_ROWS; r++) {
        const int top = (high[2 * r] | high[2 * r + 1] << 8) >> 2 * j & 3;
        const int scale = (scale_byte(low, r, j / 2) >> 4 * (j % 2) & 15) | top << 4;
        s->scale[0][r] *= (float)(scale - 32);
    }
    nibbles(s, low + TILE_WORD * (1 + 4 * j));
    look_up(s, iq4, 128);
}

static void decode_mxfp4(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    for (int r = 0; r < TILE_ROWS; r++)
        s->scale[0][r] = level_e8m0_half(block[r]);
    nibbles(s, block + TILE_BYTE);
    look_up(s, e2m1, 12);
}

static void decode_nvfp4(struct sub *s, const uint8_t *block, int j)
{
    const uint8_t *qs = block + TILE_WORD * (1 + 4 * j);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < TILE_ROWS; r++)
            s->scale[h][r] = level_ue4m3_half((uint8_t)scale_byte(block, r, 2 * j + h));
    for (int v = 0; v < 8; v++) // words 4h, 4h + 1: low nibbles, the next two: high ones
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = qs[TILE_WORD * (v / 4 * 2 + v % 2) + i] >> v / 2 % 2 * 4 & 15;
    look_up(s, e2m1, 12);
}

/* Subs 0..4 are digits of words 0..7; words 8..11 have five digits for 16 columns each,
 * the last word four digits for four columns each. */
static void decode_tq1_0(struct sub *s, const uint8_t *block, int j)
{
    tile_load_halves(s->scale[0], block + TILE_WORD * 13);
    for (int v = 0; v < 8; v++) {
        const int last = j == 7 && v >= 4;
        const int from = j < 5 ? v : last ? 12 : 8 + v % 4;
        const int digit = j < 5 ? j : last ? v - 4 : 2 * (j - 5) + v / 4;
        for (int i = 0; i < TILE_WORD; i++)
            s->w[v][i] = (uint8_t)level_trit(block[TILE_WORD * from + i], digit);
    }
}

static void decode_tq2_0(struct sub *s, const uint8_t *block, int j)
{
    tile_load_halves(s->scale[0], block + TILE_WORD * 16);
    two_bits(s, block, j);
}

static void decode_q1_0(struct sub *s, const uint8_t *block, int j)
{
    tile_load_halves(s->scale[0], block);
    for (int r = 0; r < TILE_ROWS; r++)
        for (int i = 0; i < 32; i++) {
            const int bit = scale_byte(block + TILE_HALF, r, 4 * j + i / 8) >> i % 8 & 1;
            s->w[i / 4][4 * r + i % 4] = (uint8_t)(2 * bit);
        }
}

static void decode_q2_0(struct sub *s, const uint8_t *block, int j)
{
    tile_load_halves(s->scale[0], block);
    for (int r = 0; r < TILE_ROWS; r++)
        for (int i = 0; i < 32; i++) {
            const int four = scale_byte(block + TILE_HALF, r, 8 * j + i / 4);
            s->w[i / 4][4 * r + i % 4] = four >> i % 4 * 2 & 3;
        }
}

/* sum[r] += four columns of row r times q[4] */
static void dot4(int32_t *sum, const uint8_t *w, const int8_t *q)
{
    for (int r = 0; r < TILE_ROWS; r++)
        sum[r] += w[4 * r] * q[0] + w[4 * r + 1] * q[1] + w[4 * r + 2] * q[2] +
                  w[4 * r + 3] * q[3];
}

/* acc [16] += a decoded sub times a block of activations */
static void add_sub(float *acc, const struct format *f, const struct sub *s,
                    const struct act_block *x)
{
    int32_t sum[2][TILE_ROWS] = {0};
    for (int v = 0; v < 8; v++)
        dot4(sum[v / 4], s->w[v], x->q + 4 * v);
    for (int r = 0; r < TILE_ROWS; r++) {
        float dot;
        if (f->n_scale == 2)
            dot = (float)(sum[0][r] - f->offset * x->sum[0]) * s->scale[0][r] +
                  (float)(sum[1][r] - f->offset * x->sum[1]) * s->scale[1][r];
        else
            dot = (float)(sum[0][r] + sum[1][r] - f->offset * x->sum32) * s->scale[0][r];
        if (f->n_min == 2)
            dot += s->min[0][r] * (float)x->sum[0] + s->min[1][r] * (float)x->sum[1];
        acc[r] += dot * x->scale;
        if (f->n_min == 1)
            acc[r] += s->min[0][r] * x->mass;
    }
}

static void dot_blocks(const struct format *f, float *dst, size_t ld, int n_row,
                       const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    float acc[ACT_GROUP][TILE_ROWS] = {{0}};
    struct sub s;
    for (int b = 0; b < a->n_in / 32; b++) {
        f->decode(&s, tile + (size_t)(b / f->n_sub) * f->tile_block_bytes, b % f->n_sub);
        for (int t = 0; t < n_tok; t++)
            add_sub(acc[t], f, &s, act_at(a, tok + t, b));
    }
    for (int t = 0; t < n_tok; t++)
        memcpy(dst + (size_t)t * ld, acc[t], (size_t)n_row * sizeof *dst);
}

/* X(name, bytes of a file block, n_sub, n_scale, offset, n_min) */
#define BLOCK_TYPES(X)           \
    X(q4_0, 18, 1, 1, 8, 0)      \
    X(q4_1, 20, 1, 1, 0, 1)      \
    X(q5_0, 22, 1, 1, 16, 0)     \
    X(q5_1, 24, 1, 1, 0, 1)      \
    X(q8_0, 34, 1, 1, 128, 0)    \
    X(q2_k, 84, 8, 2, 0, 2)      \
    X(q3_k, 110, 8, 2, 4, 0)     \
    X(q4_k, 144, 8, 1, 0, 1)     \
    X(q5_k, 176, 8, 1, 0, 1)     \
    X(q6_k, 210, 8, 2, 32, 0)    \
    X(iq4_nl, 18, 1, 1, 128, 0)  \
    X(iq4_xs, 136, 8, 1, 128, 0) \
    X(mxfp4, 17, 1, 1, 12, 0)    \
    X(nvfp4, 36, 2, 2, 12, 0)    \
    X(tq1_0, 54, 8, 1, 1, 0)     \
    X(tq2_0, 66, 8, 1, 1, 0)     \
    X(q1_0, 18, 4, 1, 1, 0)      \
    X(q2_0, 18, 2, 1, 1, 0)

#define DOT(name, bytes, n_sub, n_scale, offset, n_min)                               \
    static void dot_##name##_c(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                               const struct act *a, int tok, int n_tok)               \
    {                                                                                 \
        static const struct format f = {                                              \
            n_sub, n_scale, offset, n_min, TILE_ROWS * bytes, decode_##name,          \
        };                                                                            \
        dot_blocks(&f, dst, ld, n_row, tile, a, tok, n_tok);                          \
    }
BLOCK_TYPES(DOT)
#undef DOT

void tensor_kernels_init_c_blocks(struct tensor_kernels *k)
{
#define DOT(name, ...) k->dot_##name = dot_##name##_c;
    BLOCK_TYPES(DOT)
#undef DOT
}
