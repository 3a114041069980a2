/* latent.h - values that are the first channels of the keys, read from key pages. */
#ifndef CODEC_LATENT_H
#define CODEC_LATENT_H

#include <stdint.h>

/* Levels of expanded keys as those of values: v [16][d][4 keys] of expand_v from
 * k [4][d/4][16 keys][4] of expand_k, tiles tile0 <= i < tile1. */
void tq_latent_levels(int8_t *v, const uint8_t *k, int d, int tile0, int tile1);

/* rows [64][dv] <- the first dv channels of a page of exact keys [4][dk][16], elements of
 * 2 or 4 bytes, of the same tiles.  The page may lie at any even address. */
void tq_latent_rows(void *rows, const void *page, int element_bytes, int dk, int dv,
                    int tile0, int tile1);

#endif
