/* rope.h - the frequencies of rotary position embedding. */
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "model/hparams.h"

/* freq [n_rot / 2] <- angle per position of each pair; *mscale <- what cosines and sines
 * are multiplied with.  divisor [n_rot / 2] (rope_freqs.weight) may be NULL.
 * Source: YaRN, arXiv 2309.00071; rope_freqs: Llama 3.1 model card. */
void rope_frequencies(double *freq, float *mscale, const struct rope_params *r,
                      const float *divisor);

#endif
