/* tile.h - weights in memory.
 *
 * A matrix is an array of tiles of 16 rows, and a tile an array of tile blocks, one for
 * each block of the file's rows.  A file block is a list of units: a byte (the scale of
 * MXFP4) or 16-bit halves (f16 scales) in front, then 32-bit words, then halves again.
 * In the tile block every unit is replaced by the 16 rows' units, so bytes become [16],
 * halves [16] f16 and words [16][4 bytes]: a vector of 16 words holds 4 consecutive bytes
 * of each of 16 rows.  Offsets in a tile
 * block are 16 times those of the file block, and the formulas of dequant.c hold with
 * bytes 4v..4v+3 of a row in word v.  Rows past the last are zero. */
#ifndef TENSOR_TILE_H
#define TENSOR_TILE_H

#include <stddef.h>
#include <stdint.h>

#include "tensor/dtype.h"

enum {
    TILE_ROWS = 16,
    TILE_BYTE = TILE_ROWS,     // bytes of a byte of all rows
    TILE_HALF = 2 * TILE_ROWS, // bytes of a half of all rows
    TILE_WORD = 4 * TILE_ROWS  // bytes of a word of all rows
};

/* A whole tile from 16 rows of row_bytes, a multiple of the type's block, that follow
 * each other at src. */
void tile_pack(enum dtype t, uint8_t *tile, const uint8_t *src, size_t row_bytes);

/* Put a file block of row r into a tile block, and take it out again. */
void tile_put(enum dtype t, uint8_t *tile_block, const uint8_t *block, int r);
void tile_get(enum dtype t, uint8_t *block, const uint8_t *tile_block, int r);

/* dst [TILE_ROWS] <- the f16 of all rows at src. */
void tile_load_halves(float *dst, const uint8_t *src);

#endif
