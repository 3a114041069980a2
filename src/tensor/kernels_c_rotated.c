/* kernels_c_rotated.c - products with the weights of dequant_rotated.c, for every level:
 * such files are rare.  A block is dequantised for all tokens of a call, and activations
 * stay f32: the levels of a rotated block are not integers times a scale. */
#include <string.h>

#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/tile.h"

enum { N_COLUMN = 32, BLOCK_BYTES_MAX = 20 };

static void block_columns(float w[N_COLUMN][TILE_ROWS], enum dtype t,
                          const uint8_t *tile_block)
{
    for (int r = 0; r < TILE_ROWS; r++) {
        uint8_t block[BLOCK_BYTES_MAX];
        float row[N_COLUMN];
        tile_get(t, block, tile_block, r);
        dtype_find(t)->dequant(row, block, 1);
        for (int i = 0; i < N_COLUMN; i++)
            w[i][r] = row[i];
    }
}

static void dot_rotated(enum dtype t, float *dst, size_t ld, int n_row,
                        const uint8_t *tile, const struct act *a, int tok, int n_tok)
{
    const size_t block_bytes = (size_t)dtype_find(t)->block_bytes;
    const size_t n_in = (size_t)a->n_in;
    float acc[ACT_GROUP][TILE_ROWS] = {{0}}, w[N_COLUMN][TILE_ROWS];
    for (size_t at = 0; at < n_in; at += N_COLUMN) {
        block_columns(w, t, tile + at / N_COLUMN * TILE_ROWS * block_bytes);
        for (int k = 0; k < n_tok; k++) {
            const float *x = a->x + (size_t)(tok + k) * n_in + at;
            for (int i = 0; i < N_COLUMN; i++)
                for (int r = 0; r < TILE_ROWS; r++)
                    acc[k][r] += w[i][r] * x[i];
        }
    }
    for (int k = 0; k < n_tok; k++)
        memcpy(dst + (size_t)k * ld, acc[k], (size_t)n_row * sizeof *dst);
}

#define DOT(name, TYPE)                                                               \
    static void dot_##name##_c(float *dst, size_t ld, int n_row, const uint8_t *tile, \
                               const struct act *a, int tok, int n_tok)               \
    {                                                                                 \
        dot_rotated(DTYPE_##TYPE, dst, ld, n_row, tile, a, tok, n_tok);               \
    }
DOT(tq3_1s, TQ3_1S)
DOT(tq4_1s, TQ4_1S)
#undef DOT

void tensor_kernels_init_c_rotated(struct tensor_kernels *k)
{
    k->dot_tq3_1s = dot_tq3_1s_c;
    k->dot_tq4_1s = dot_tq4_1s_c;
}
