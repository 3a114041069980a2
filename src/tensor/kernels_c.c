/* kernels_c.c - portable kernels but for the products of quantised weights: the
 * definition that every other level is checked against. */
#include <math.h>
#include <string.h>

#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

static void column_f32(float *w, const uint8_t *src)
{
    memcpy(w, src, TILE_WORD);
}

static void column_f16(float *w, const uint8_t *src)
{
    tile_load_halves(w, src);
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
        .dot_f32 = dot_f32_c,
        .dot_f16 = dot_f16_c,
        .dot_bf16 = dot_bf16_c,
        .quantize = quantize_c,
        .rms_norm = rms_norm_c,
        .swiglu = swiglu_c,
    };
#define K(name, ret, args)
#define LINEAR(name, ret, args) k->name = name##_c;
#include "tensor/kernels.def"
#undef K
    tensor_kernels_init_c_blocks(k);
    tensor_kernels_init_c_rotated(k);
}
