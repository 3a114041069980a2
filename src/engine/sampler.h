/* sampler.h - the next token from logits.
 *
 * A pick is a pure function of the logits, the parameters, the tokens before it and
 * (seed, position): there is no state that a pause or a batch could disturb. */
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct sampler_bias {
    int32_t id;
    float bias; // added to the logit; -INFINITY: never
};

struct sampler_params {
    float temp;           // 0: the most likely token
    int top_k;            // 0: all
    float top_p, min_p;   // 1 and 0: off
    float typical_p;      // 1: off
    float repeat_penalty; // 1: off
    int repeat_last_n;    // tokens that the penalties look back; -1: all
    float presence_penalty, frequency_penalty; // 0: off; they count the answer's tokens
    uint64_t seed;
    const struct sampler_bias *bias; // [n_bias] ids of the vocabulary, each once
    int n_bias;
};

extern const struct sampler_params sampler_defaults;

struct sampler {
    int n_vocab;
    struct candidate *candidates; // [n_vocab]
};

enum status sampler_open(struct sampler *s, int n_vocab, struct error *err);
void sampler_close(struct sampler *s);

/* logits [n_vocab]; history [n] are the tokens so far, whose count is the position; the
 * last n_answer of them are the answer's.  mask (may be NULL) has a bit for each token
 * that may be picked, at least one. */
int32_t sampler_pick(struct sampler *s, const struct sampler_params *p,
                     const float *logits, const int32_t *history, size_t n,
                     size_t n_answer, const uint32_t *mask);

#endif
