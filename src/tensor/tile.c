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

/* n units of 16 rows: rows next to each other at dst, row_bytes apart at src. */
static void pack_halves(uint8_t *dst, const uint8_t *src, size_t row_bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, dst += TILE_HALF, src += 2)
        for (size_t r = 0; r < TILE_ROWS; r++)
            memcpy(dst + 2 * r, src + r * row_bytes, 2);
}

static void pack_words(uint8_t *dst, const uint8_t *src, size_t row_bytes, size_t n)
{
    for (; n >= 2; n -= 2, dst += 2 * TILE_WORD, src += 8)
        for (size_t r = 0; r < TILE_ROWS; r++) {
            uint32_t pair[2];
            memcpy(pair, src + r * row_bytes, 8);
            memcpy(dst + 4 * r, &pair[0], 4);
            memcpy(dst + 4 * r + TILE_WORD, &pair[1], 4);
        }
    for (size_t r = 0; n && r < TILE_ROWS; r++)
        memcpy(dst + 4 * r, src + r * row_bytes, 4);
}

void tile_pack(enum dtype t, uint8_t *tile, const uint8_t *src, size_t row_bytes)
{
    const size_t block_bytes = (size_t)dtype_find(t)->block_bytes;
    int front, back;
    tile_halves(t, &front, &back);
    const size_t front_bytes = 2 * (size_t)front, back_bytes = 2 * (size_t)back;
    const size_t word_bytes = block_bytes - front_bytes - back_bytes;
    if (block_bytes == front_bytes) { // the row is nothing but halves
        pack_halves(tile, src, row_bytes, row_bytes / 2);
        return;
    }
    if (block_bytes == 4) { // or words
        pack_words(tile, src, row_bytes, row_bytes / 4);
        return;
    }
    for (size_t at = 0; at < row_bytes; at += block_bytes) {
        const uint8_t *block = src + at;
        uint8_t *dst = tile + at * TILE_ROWS;
        pack_halves(dst, block, row_bytes, (size_t)front);
        pack_words(dst + front_bytes * TILE_ROWS, block + front_bytes, row_bytes,
                   word_bytes / 4);
        pack_halves(dst + (front_bytes + word_bytes) * TILE_ROWS,
                    block + front_bytes + word_bytes, row_bytes, (size_t)back);
    }
}
