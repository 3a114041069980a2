/* latent.h - values that are the first channels of the keys, read from key pages. */
#ifndef CODEC_LATENT_H
#define CODEC_LATENT_H

/* rows [64][dv] <- the first dv channels of a page of exact keys [4][dk][16], elements of
 * 2 or 4 bytes, tiles
 * tile0 <= i < tile1.  The page may lie at any even address. */
void tq_latent_rows(void *rows, const void *page, int element_bytes, int dk, int dv,
                    int tile0, int tile1);

#endif
