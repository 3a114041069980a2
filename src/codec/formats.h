/* formats.h - types that are coded row by row: mse, prod, mix, q8_0 and q4_0.
 *
 * They are here to be compared with, so there is one implementation, in portable C; the
 * bytes are the same everywhere.  Attention decodes their pages to exact ones.  Bytes:
 * docs/format.md, 7. */
#ifndef CODEC_FORMATS_H
#define CODEC_FORMATS_H

#include "codec/layout.h"
#include "turboquant.h"

static inline bool tq_type_prod(enum tq_type t)
{
    return t >= TQ_PROD4 && t <= TQ_PROD2;
}

static inline bool tq_type_mix(enum tq_type t)
{
    return t == TQ_MIX3_5 || t == TQ_MIX2_5;
}

static inline bool tq_type_blocks(enum tq_type t)
{
    return t == TQ_Q8_0 || t == TQ_Q4_0;
}

/* Bits of a code of a type that is coded in tiles. */
static inline int tq_tile_bits(enum tq_type t)
{
    return t == TQ_TURBO8 ? 8 : t == TQ_TURBO4 ? 4 : t == TQ_TURBO3 ? 3 : 2;
}

/* Whether compressed pages of the codec, which has one part, hold a mean. */
static inline bool tq_has_mean(const struct tq_codec *c)
{
    return c->role == TQ_KEY && c->type >= TQ_TURBO4 && c->type <= TQ_TURBO2 &&
           tq_mean_bits(c->d);
}

static inline bool tq_type_by_row(enum tq_type t)
{
    return t >= TQ_MSE4 && t <= TQ_Q4_0;
}

/* The positive Lloyd-Max levels of 1 to 4 bits, 2^(bits-1) of them, for a coordinate of
 * a vector of norm sqrt(d): any compressed d or half of one. */
const float *tq_codebook_for(int d, int bits);

/* The functions below take the codec of a part of a head (parts.h), those that rotate mix
 * types that of the whole. */

/* Store row x[d], finite, as token `slot` of a page; of a prod type the mse part. */
void tq_row_encode(const struct tq_codec *c, uint8_t *page, int slot, const float *x);
/* Its reconstruction; of a prod type that of the mse part.  Any bytes give finite x. */
void tq_row_decode(const struct tq_codec *c, float *x, const uint8_t *page, int slot);

/* x <- H x / sqrt(d) for every compressed d and half of one (kernels_c.c). */
void tq_hadamard(float *x, int d);

/* The rotation of mix types. */
void tq_mix_rotate(const struct tq_codec *c, float *x, int n);
void tq_mix_unrotate(const struct tq_codec *c, float *x, int n);

/* ---- prod.c: one bit a value of the residual, and its norm ---- */

/* row[n] <- S[i][k0 ..] of the sign matrix of `seed` for d dimensions: independent
 * standard normals. */
void tq_sign_row(float *row, uint64_t seed, int d, int i, int k0, int n);

/* Store sign(S r) and |r| of the residuals [d][64] of a page. */
void tq_prod_encode(const struct tq_codec *c, uint8_t *page, const float *residual);
/* x [64][d] (row stride in floats) += the unbiased estimate of the residuals. */
void tq_prod_decode(const struct tq_codec *c, float *x, int stride, const uint8_t *page);
/* sx [n][d] <- S x for rows x [n][d] (row stride in floats). */
void tq_prod_query(const struct tq_codec *c, float *sx, const float *x, int stride,
                   int n);
/* s [n][64] += estimate of <x, residual> for the tokens of the tiles. */
void tq_prod_score(const struct tq_codec *c, float *s, const uint8_t *page,
                   const float *sx, int n, int tile0, int tile1);

#endif
