/* tables.h - constants of the format.  The first index of the trellis tables is bits - 2.
 */
#ifndef CODEC_TABLES_H
#define CODEC_TABLES_H

#include <stdint.h>

/* Reconstruction levels in ascending order, 2^(bits + 1) of them. */
extern const int8_t tq_level[3][32];

/* The same levels in the encoder's fixed point: 60, 136 and 175 to a level of 2, 3 and 4
 * bits. */
extern const int16_t tq_level_fixed[3][32];

static inline int tq_level_unit(int bits)
{
    return bits == 4 ? 175 : bits == 3 ? 136 : 60;
}

/* [subset z][x >> 10 & 63], x in that fixed point: which w makes level 4 * w + z nearest
 * to the middle of the cell of x. */
extern const uint8_t tq_nearest[3][4][64];

/* Root mean squares in that fixed point to which rows are brought, in turn: how much of
 * the range of levels suits a row depends on its largest values. */
enum { TQ_GAINS = 4 };
extern const float tq_gain[3][TQ_GAINS];

/* Bit i of the 512: coordinate i is negated before the Hadamard transform. */
extern const uint64_t tq_sign[8];

/* Symmetric Hadamard matrices: bit j of word i is set where row i, column j is -1. */
extern const uint32_t tq_hadamard12[12];
extern const uint32_t tq_hadamard20[20];
extern const uint32_t tq_hadamard28[28];

#endif
