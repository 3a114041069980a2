#include "tensor/tile.h"

#include <string.h>

/* Halves in front of the words and behind them; the other bytes are words. */
static void tile_halves(enum dtype t, int *front, int *back)
{
    *front = *back = 0;
    switch (t) {
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_Q4_0:
    case DTYPE_Q5_0:
    case DTYPE_Q8_0:
        *front = 1; // the value, or d
        break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        *front = 2; // d, m
        break;
    case DTYPE_Q6_K:
        *back = 1; // d
        break;
    default:
        break;
    }
}

void tile_put(enum dtype t, uint8_t *tile_block, const uint8_t *block, int r)
{
    int front, back;
    tile_halves(t, &front, &back);
    const int n_word = (dtype_find(t)->block_bytes - 2 * (front + back)) / 4;
    for (; front-- > 0; tile_block += TILE_HALF, block += 2)
        memcpy(tile_block + 2 * r, block, 2);
    for (int i = 0; i < n_word; i++, tile_block += TILE_WORD, block += 4)
        memcpy(tile_block + 4 * r, block, 4);
    if (back)
        memcpy(tile_block + 2 * r, block, 2);
}

void tile_get(enum dtype t, uint8_t *block, const uint8_t *tile_block, int r)
{
    int front, back;
    tile_halves(t, &front, &back);
    const int n_word = (dtype_find(t)->block_bytes - 2 * (front + back)) / 4;
    for (; front-- > 0; tile_block += TILE_HALF, block += 2)
        memcpy(block, tile_block + 2 * r, 2);
    for (int i = 0; i < n_word; i++, tile_block += TILE_WORD, block += 4)
        memcpy(block, tile_block + 4 * r, 4);
    if (back)
        memcpy(block, tile_block + 2 * r, 2);
}
