/* tables_scalar.h - Lloyd-Max codebooks, made by ref/make_codebooks.py. */
#ifndef CODEC_TABLES_SCALAR_H
#define CODEC_TABLES_SCALAR_H

#include <stdint.h>

enum { TQ_CODEBOOKS = 12 };

/* Row k: the positive levels for one coordinate of a uniform point of the sphere of
 * radius sqrt(d) in d = tq_codebook_dim[k] dimensions, ascending: one level of the 1-bit
 * code, then 2 of 2 bits, 4 of 3 bits, 8 of 4 bits. */
extern const uint16_t tq_codebook_dim[TQ_CODEBOOKS];
extern const float tq_codebook[TQ_CODEBOOKS][15];

/* Angles of levels 2, 3 and 4 of the polar transform (polar.h), ascending. */
extern const float tq_polar_angle[3][4];

#endif
