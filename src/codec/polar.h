/* polar.h - the recursive polar transform of PolarQuant, for comparison: no cache type.
 *
 * Sixteen values become a radius and 15 angles: pairs (x, y) become radius and angle of 4
 * bits, the radii are paired again, with 2 bits, until one is left, kept as f16:
 * 16 + 8 * 4 + (4 + 2 + 1) * 2 = 62 bits for 16 values, 3.875 a value.
 * Source: PolarQuant, arXiv 2502.02617. */
#ifndef CODEC_POLAR_H
#define CODEC_POLAR_H

#include <stdint.h>

enum { TQ_POLAR_VALUES = 16, TQ_POLAR_BITS = 62 }; // of a block

/* radius[d / 16], angle[d / 16][15] <- a rotated row x[d], d % 16 == 0.  A block with NaN
 * or infinity is stored as zero. */
void tq_polar_encode(uint16_t *radius, uint8_t *angle, const float *x, int d);
void tq_polar_decode(float *x, const uint16_t *radius, const uint8_t *angle, int d);

#endif
