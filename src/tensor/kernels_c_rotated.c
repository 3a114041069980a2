/* kernels_c_rotated.c - products with the weights of dequant_rotated.c, for every level:
 * such files are rare.  A row of weights is w = S H c / sqrt(32), with levels c, signs S
 * and a symmetric H, so w x = c (H S x / sqrt(32)): a block of activations is rotated
 * once for the 16 rows of a tile.  It stays f32, as the levels are no integers times a
 * scale. */
#include <string.h>

#include "tensor/kernels.h"
#include "tensor/levels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

enum { N_COLUMN = 32 };

/* y [32] <- H S x / sqrt(32) */
static void rotate(float *restrict y, const float *restrict x)
{
    for (int i = 0; i < N_COLUMN; i++)
        y[i] = x[i] * (LEVELS_TQ_MINUS >> i & 1 ? -0x1.6a09e6p-3f : 0x1.6a09e6p-3f);
    for (int step = 1; step < N_COLUMN; step *= 2)
        for (int i = 0; i < N_COLUMN; i += 2 * step)
            for (int k = i; k < i + step; k++) {
                const float a = y[k], b = y[k + step];
                y[k] = a + b;
                y[k + step] = a - b;
            }
}

/* Levels of a tile block, [column][row], times the scale of their half. */
typedef void levels_fn(float c[N_COLUMN][TILE_ROWS], const uint8_t *block);

static void scale_levels(float c[N_COLUMN][TILE_ROWS], const uint8_t *block)
{
    float d[2][TILE_ROWS];
    for (int h = 0; h < 2; h++)
        tile_load_halves(d[h], block + TILE_HALF * h);
    for (int j = 0; j < N_COLUMN; j++)
        for (int r = 0; r < TILE_ROWS; r++)
            c[j][r] *= d[j / 16][r];
}

static void levels_tq4_1s(float c[N_COLUMN][TILE_ROWS], const uint8_t *block)
{
    static const float upper[8] = {LEVELS_TQ4_UPPER};
    float level[16];
    for (int q = 0; q < 8; q++) {
        level[8 + q] = upper[q];
        level[7 - q] = -upper[q];
    }
    for (int v = 0; v < 4; v++)
        for (int r = 0; r < TILE_ROWS; r++) {
            const uint8_t *four = block + 2 * TILE_HALF + TILE_WORD * v + 4 * r;
            for (int i = 0; i < 4; i++) {
                c[8 * v + 2 * i][r] = level[four[i] & 15];
                c[8 * v + 2 * i + 1][r] = level[four[i] >> 4];
            }
        }
    scale_levels(c, block);
}

static void levels_tq3_1s(float c[N_COLUMN][TILE_ROWS], const uint8_t *block)
{
    static const float level[8] = {LEVELS_TQ3};
    for (int r = 0; r < TILE_ROWS; r++) {
        uint8_t bytes[12];
        for (int v = 0; v < 3; v++)
            memcpy(bytes + 4 * v, block + 2 * TILE_HALF + TILE_WORD * v + 4 * r, 4);
        for (int g = 0; g < 4; g++) {
            const uint8_t *three = bytes + 3 * g;
            const int bits = three[0] | three[1] << 8 | three[2] << 16;
            for (int i = 0; i < 8; i++)
                c[8 * g + i][r] = level[bits >> 3 * i & 7];
        }
    }
    scale_levels(c, block);
}

static void dot_rotated(levels_fn *levels, size_t tile_block_bytes, float *dst, size_t ld,
                        int n_row, const uint8_t *tile, const struct act *a, int tok,
                        int n_tok)
{
    const size_t n_in = (size_t)a->n_in;
    float acc[ACT_GROUP][TILE_ROWS] = {{0}}, c[N_COLUMN][TILE_ROWS], y[N_COLUMN];
    for (size_t at = 0; at < n_in; at += N_COLUMN, tile += tile_block_bytes) {
        levels(c, tile);
        for (int t = 0; t < n_tok; t++) {
            rotate(y, a->x + (size_t)(tok + t) * n_in + at);
            for (int j = 0; j < N_COLUMN; j++)
                for (int r = 0; r < TILE_ROWS; r++)
                    acc[t][r] += c[j][r] * y[j];
        }
    }
    for (int t = 0; t < n_tok; t++)
        memcpy(dst + (size_t)t * ld, acc[t], (size_t)n_row * sizeof *dst);
}

#define DOT(name, bytes)                                                              \
    static void dot_##name##_c(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                               const struct act *a, int tok, int n_tok)               \
    {                                                                                 \
        dot_rotated(levels_##name, TILE_ROWS *bytes, dst, ld, n_row, tile, a, tok,    \
                    n_tok);                                                           \
    }
DOT(tq3_1s, 16)
DOT(tq4_1s, 20)
#undef DOT

void tensor_kernels_init_c_rotated(struct tensor_kernels *k)
{
    k->dot_tq3_1s = dot_tq3_1s_c;
    k->dot_tq4_1s = dot_tq4_1s_c;
}
