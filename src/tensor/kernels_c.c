/* kernels_c.c - portable kernels: the definition that every other level is checked
 * against. */
#include <math.h>
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

/* 32 columns of a tile, decoded: w[v][4r + c] is the code of row r, column 4v + c. */
struct sub {
    uint8_t w[8][TILE_WORD];
    float scale[2][TILE_ROWS]; // of columns 0..15 and 16..31
    float min[TILE_ROWS];
};

/* Values are scale * (code - offset) + min. */
struct format {
    int n_sub;   // subs of 32 columns in a block
    int n_scale; // 1: scale[0] is for all 32 columns
    int offset;
    int has_min;
    size_t tile_block_bytes;
    void (*decode)(struct sub *s, const uint8_t *block, int j);
};

static void load_halves(float *dst, const uint8_t *src)
{
    for (int r = 0; r < TILE_ROWS; r++)
        dst[r] = dtype_f16_to_f32((uint16_t)(src[2 * r] | src[2 * r + 1] << 8));
}

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
    load_halves(s->scale[0], block);
    nibbles(s, block + TILE_HALF);
}

static void decode_q4_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    load_halves(s->scale[0], block);
    load_halves(s->min, block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF);
}

static void decode_q5_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    load_halves(s->scale[0], block);
    nibbles(s, block + TILE_HALF + TILE_WORD);
    fifth_bits(s, block + TILE_HALF);
}

static void decode_q5_1(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    load_halves(s->scale[0], block);
    load_halves(s->min, block + TILE_HALF);
    nibbles(s, block + 2 * TILE_HALF + TILE_WORD);
    fifth_bits(s, block + 2 * TILE_HALF);
}

static void decode_q8_0(struct sub *s, const uint8_t *block, int j)
{
    (void)j;
    load_halves(s->scale[0], block);
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
    load_halves(s->scale[0], block);
    load_halves(s->min, block + TILE_HALF);
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
        s->min[r] *= (float)-min;
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
    load_halves(d, block + TILE_WORD * 52);
    for (int h = 0; h < 2; h++)
        for (int r = 0; r < TILE_ROWS; r++) {
            const int scale = (int8_t)scale_byte(block + TILE_WORD * 48, r, 2 * j + h);
            s->scale[h][r] = d[r] * (float)scale;
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
        acc[r] += dot * x->scale;
        if (f->has_min)
            acc[r] += s->min[r] * x->mass;
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

/* DOT(name, bytes of a file block, n_sub, n_scale, offset, has_min) */
#define DOT(name, bytes, n_sub, n_scale, offset, has_min)                             \
    static void dot_##name##_c(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                               const struct act *a, int tok, int n_tok)               \
    {                                                                                 \
        static const struct format f = {                                              \
            n_sub, n_scale, offset, has_min, TILE_ROWS * bytes, decode_##name,        \
        };                                                                            \
        dot_blocks(&f, dst, ld, n_row, tile, a, tok, n_tok);                          \
    }
DOT(q4_0, 18, 1, 1, 8, 0)
DOT(q4_1, 20, 1, 1, 0, 1)
DOT(q5_0, 22, 1, 1, 16, 0)
DOT(q5_1, 24, 1, 1, 0, 1)
DOT(q8_0, 34, 1, 1, 128, 0)
DOT(q4_k, 144, 8, 1, 0, 1)
DOT(q5_k, 176, 8, 1, 0, 1)
DOT(q6_k, 210, 8, 2, 32, 0)
#undef DOT

static void column_f32(float *w, const uint8_t *src)
{
    memcpy(w, src, TILE_WORD);
}

static void column_f16(float *w, const uint8_t *src)
{
    load_halves(w, src);
}

static void column_bf16(float *w, const uint8_t *src)
{
    for (int r = 0; r < TILE_ROWS; r++) {
        const uint32_t bits = (uint32_t)src[2 * r] << 16 | (uint32_t)src[2 * r + 1] << 24;
        memcpy(w + r, &bits, sizeof bits);
    }
}

/* Four partial sums, by column modulo 4. */
static void dot_columns(void (*column)(float *, const uint8_t *), size_t bytes,
                        float *dst, size_t ld, int n_row, const uint8_t *tile,
                        const struct act *a, int tok, int n_tok)
{
    for (int t = 0; t < n_tok; t++, dst += ld) {
        const float *x = a->x + (size_t)(tok + t) * (size_t)a->n_in;
        float acc[4][TILE_ROWS] = {{0}}, w[TILE_ROWS];
        for (int i = 0; i < a->n_in; i++) {
            column(w, tile + (size_t)i * bytes);
            for (int r = 0; r < TILE_ROWS; r++)
                acc[i % 4][r] += w[r] * x[i];
        }
        for (int r = 0; r < n_row; r++)
            dst[r] = (acc[0][r] + acc[1][r]) + (acc[2][r] + acc[3][r]);
    }
}

static void dot_f32_c(float *dst, size_t ld, int n_row, const uint8_t *tile,
                      const struct act *a, int tok, int n_tok)
{
    dot_columns(column_f32, TILE_WORD, dst, ld, n_row, tile, a, tok, n_tok);
}

static void dot_f16_c(float *dst, size_t ld, int n_row, const uint8_t *tile,
                      const struct act *a, int tok, int n_tok)
{
    dot_columns(column_f16, TILE_HALF, dst, ld, n_row, tile, a, tok, n_tok);
}

static void dot_bf16_c(float *dst, size_t ld, int n_row, const uint8_t *tile,
                       const struct act *a, int tok, int n_tok)
{
    dot_columns(column_bf16, TILE_HALF, dst, ld, n_row, tile, a, tok, n_tok);
}

static int32_t round_even(float x)
{
    const float y = x + KERNEL_ROUND;
    int32_t bits, base;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&base, &(float){KERNEL_ROUND}, sizeof base);
    return bits - base;
}

static void quantize_block(struct act_block *dst, const float *x)
{
    /* Below this a reciprocal could overflow: the block is zero. */
    static const float tiny = 0x1p-120f;
    uint32_t max_bits = 0;
    for (int i = 0; i < 32; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bits &= 0x7fffffff;
        max_bits = bits > max_bits ? bits : max_bits;
    }
    float max;
    memcpy(&max, &max_bits, sizeof max);
    const int finite = max_bits < 0x7f800000, usable = finite && max >= tiny;
    const float inverse = usable ? 127.0f / max : 0.0f;
    *dst = (struct act_block){.scale = usable ? max / 127.0f : finite ? 0.0f : NAN};
    for (int i = 0; usable && i < 32; i++) {
        const int32_t q = round_even(x[i] * inverse);
        dst->q[i] = (int8_t)q;
        dst->sum[i / 16] += q;
    }
    dst->sum32 = dst->sum[0] + dst->sum[1];
    dst->mass = dst->scale * (float)dst->sum32;
}

static void quantize_c(const struct act *a, int tok)
{
    const float *x = a->x + (size_t)tok * (size_t)a->n_in;
    for (int b = 0; b < a->n_in / 32; b++)
        quantize_block(act_at(a, tok, b), x + 32 * b);
}

static void rms_norm_c(float *dst, const float *x, const float *w, int n, float eps)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i] * x[i];
    const float scale = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (int i = 0; i < n; i++)
        dst[i] = x[i] * scale * w[i];
}

/* exp(x), x held to [-KERNEL_EXP_MAX, KERNEL_EXP_MAX]; NaN stays. */
static float exp_held(float x)
{
    x = x < -KERNEL_EXP_MAX ? -KERNEL_EXP_MAX : x > KERNEL_EXP_MAX ? KERNEL_EXP_MAX : x;
    const float shifted = x * KERNEL_LOG2E + KERNEL_ROUND, n = shifted - KERNEL_ROUND;
    const float r = (x - n * KERNEL_LN2_HI) - n * KERNEL_LN2_LO;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23; // the low bits of shifted are n
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

static void swiglu_c(float *dst, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = gate[i] / (1.0f + exp_held(-gate[i])) * up[i];
}

void tensor_kernels_init_c(struct tensor_kernels *k)
{
    *k = (struct tensor_kernels){
#define K(name, ret, args) .name = name##_c,
#include "tensor/kernels.def"
#undef K
    };
}
