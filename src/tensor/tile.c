#include "tensor/tile.h"

#include <string.h>

/* The units of a file block, in their order; what is left between is words. */
struct layout {
    int bytes, front; // bytes or halves in front of the words
    int n_word;
    int back; // halves behind them
};

static struct layout tile_layout(enum dtype t)
{
    struct layout l = {0};
    switch (t) {
    case DTYPE_F16:
    case DTYPE_BF16:
    case DTYPE_Q4_0:
    case DTYPE_Q5_0:
    case DTYPE_Q8_0:
    case DTYPE_IQ4_NL:
    case DTYPE_Q1_0:
    case DTYPE_Q2_0:
        l.front = 1; // the value, or d
        break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1:
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
    case DTYPE_IQ4_XS:
    case DTYPE_TQ3_1S:
    case DTYPE_TQ4_1S:
        l.front = 2; // d, m; d, scales_h; d0, d1
        break;
    case DTYPE_MXFP4:
        l.bytes = 1; // the exponent
        break;
    case DTYPE_Q2_K:
        l.back = 2; // d, dmin
        break;
    case DTYPE_Q3_K:
    case DTYPE_Q6_K:
    case DTYPE_TQ1_0:
    case DTYPE_TQ2_0:
        l.back = 1; // d
        break;
    default:
        break;
    }
    l.n_word = (dtype_find(t)->block_bytes - l.bytes - 2 * (l.front + l.back)) / 4;
    return l;
}

/* Each copies n units of `unit` bytes and goes on behind them. */
static void put_units(uint8_t **tile_block, const uint8_t **block, int r, size_t unit,
                      int n)
{
    for (; n-- > 0; *tile_block += unit * TILE_ROWS, *block += unit)
        memcpy(*tile_block + unit * (size_t)r, *block, unit);
}

static void get_units(uint8_t **block, const uint8_t **tile_block, int r, size_t unit,
                      int n)
{
    for (; n-- > 0; *tile_block += unit * TILE_ROWS, *block += unit)
        memcpy(*block, *tile_block + unit * (size_t)r, unit);
}

void tile_put(enum dtype t, uint8_t *tile_block, const uint8_t *block, int r)
{
    const struct layout l = tile_layout(t);
    put_units(&tile_block, &block, r, 1, l.bytes);
    put_units(&tile_block, &block, r, 2, l.front);
    put_units(&tile_block, &block, r, 4, l.n_word);
    put_units(&tile_block, &block, r, 2, l.back);
}

void tile_get(enum dtype t, uint8_t *block, const uint8_t *tile_block, int r)
{
    const struct layout l = tile_layout(t);
    get_units(&block, &tile_block, r, 1, l.bytes);
    get_units(&block, &tile_block, r, 2, l.front);
    get_units(&block, &tile_block, r, 4, l.n_word);
    get_units(&block, &tile_block, r, 2, l.back);
}

void tile_load_halves(float *dst, const uint8_t *src)
{
    for (int r = 0; r < TILE_ROWS; r++)
        dst[r] = dtype_f16_to_f32((uint16_t)(src[2 * r] | src[2 * r + 1] << 8));
}

/* n units of 16 rows: rows next to each other at dst, row_bytes apart at src. */
static void pack_bytes(uint8_t *dst, const uint8_t *src, size_t row_bytes, size_t n)
{
    for (size_t i = 0; i < n; i++, dst += TILE_BYTE)
        for (size_t r = 0; r < TILE_ROWS; r++)
            dst[r] = src[r * row_bytes + i];
}

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
    const struct layout l = tile_layout(t);
    const size_t halves = (size_t)l.bytes, words = halves + 2 * (size_t)l.front;
    const size_t back = words + 4 * (size_t)l.n_word;
    if (block_bytes == words) { // the row is nothing but halves
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
        pack_bytes(dst, block, row_bytes, halves);
        pack_halves(dst + halves * TILE_ROWS, block + halves, row_bytes, (size_t)l.front);
        pack_words(dst + words * TILE_ROWS, block + words, row_bytes, (size_t)l.n_word);
        pack_halves(dst + back * TILE_ROWS, block + back, row_bytes, (size_t)l.back);
    }
}
