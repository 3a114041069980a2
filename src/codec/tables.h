/* tables.h - constants of the format.  The first index of the trellis tables is bits - 2.
 */
#ifndef CODEC_TABLES_H
#define CODEC_TABLES_H

#include <stdint.h>

/* Reconstruction levels in ascending order, 2^(bits + 1) of them. */
extern const int8_t tq_level[3][32];

/* The same levels in the encoder's fixed point: 4096 to the standard deviation of a row
 * for 2 bits, 8192 for 3 and 4. */
extern const int16_t tq_level_fixed[3][32];

/* [subset z][x >> 10 & 63], x in that fixed point: which w makes level 4 * w + z nearest
 * to the middle of the cell of x. */
extern const uint8_t tq_nearest[3][4][64];

/* Bit i of the 512: coordinate i is negated before the Hadamard transform. */
extern const uint64_t tq_sign[8];

/* Symmetric Hadamard matrices: bit j of word i is set where row i, column j is -1. */
extern const uint32_t tq_hadamard12[12];
extern const uint32_t tq_hadamard20[20];
extern const uint32_t tq_hadamard28[28];

#endif
