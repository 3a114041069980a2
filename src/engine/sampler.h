/* sampler.h - the next token from logits.
 *
 * A pick is a pure function of the logits, the parameters, the tokens before it and
 * (seed, position): there is no state that a pause or a batch could disturb. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sampler_params {
    float temp;           // 0: the most likely token
    int top_k;            // 0: all
    float top_p, min_p;   // 1 and 0: off
    float repeat_penalty; // 1: off
    int repeat_last_n;    // tokens that the penalty looks back
    uint64_t seed;
};

extern const struct sampler_params sampler_defaults;

struct sampler {
    int n_vocab;
    struct candidate *candidates; // [n_vocab]
};

enum status sampler_open(struct sampler *s, int n_vocab, struct error *err);
void sampler_close(struct sampler *s);

/* logits [n_vocab]; history [n] are the tokens so far, whose count is the position. */
int32_t sampler_pick(struct sampler *s, const struct sampler_params *p,
                     const float *logits, const int32_t *history, size_t n);

#endif
