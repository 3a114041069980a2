/* delta_core.h - linear attention of one layer by the delta rule: a short convolution
 * over queries, keys and values, then a state for each head that forgets, corrects itself
 * and answers, token by token.  The mixers around it differ in their projections and
 * gates.
 *
 * The recurrent form is the definition, in prefill too: a chunk boundary is nothing, and
 * the state after n tokens is a function of these tokens.
 * Sources: Gated Delta Networks, arXiv 2412.06464; Kimi Linear, arXiv 2510.26692. */
#ifndef MODEL_DELTA_CORE_H
#define MODEL_DELTA_CORE_H

#include "model/model_impl.h"

/* Which key head goes with value head h, of r for each. */
enum head_map {
    HEADS_GROUPED, // h / r
    HEADS_TILED,   // h % n_key_head
};

struct delta_core {
    struct context *c;
    const struct step *s;
    int layer;
    enum head_map map;
    int n_channel;     // of the convolution: queries, keys, values
    int n_decay;       // factors of a head: 1, or one for each key channel
    const float *conv; // of delta_transpose

    float *u;      // [n_tok][n_channel], filled by the mixer
    float *decay;  // [n_tok][n_value_head][n_decay], filled by the mixer
    float *beta;   // [n_tok][n_value_head], filled by the mixer
    float *y;      // [n_tok][n_channel], convolved
    float *out;    // [n_tok][n_value_head][d_v], the result
    float *window; // [n_thread], inputs of an item
};

int delta_channels(const struct hparams *hp);
/* Bytes of state of a sequence: the last inputs of the convolution, then the heads. */
size_t delta_state_bytes(const struct hparams *hp);
/* For the tables of the mixers. */
enum kv_store delta_store(const struct model *m, int layer);
enum status delta_need(struct state_need *out, const struct model *m, int layer,
                       const struct kv_types *types, int n_ctx, struct error *err);
size_t delta_core_bytes(const struct context *c, int n_decay);
void delta_core_open(struct delta_core *d, struct context *c, const struct step *s,
                     int layer, int n_decay, void *mem);
/* u, decay and beta are there: convolve, step through the tokens, leave out. */
void delta_core_run(struct delta_core *d);
/* Add what one token costs besides matrices. */
void delta_work(struct token_work *sum, const struct hparams *hp);

/* Channels [from, from + n) of the weights of the convolution, as the core reads them, <-
 * a tensor [n][n_tap] of the file, or nothing if it is NULL (planned weights).  weight
 * [n_tap * n_channel] holds the taps of a range of channels together, one range after the
 * other. */
void delta_transpose(float *weight, int n_channel, int from, const float *tensor, int n,
                     int n_tap);

#endif
