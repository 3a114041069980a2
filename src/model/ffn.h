/* ffn.h - the feed-forward part of a layer. */
#ifndef MODEL_FFN_H
#define MODEL_FFN_H

#include <stddef.h>

#include "base/status.h"

struct model;
struct weights;
struct context;
struct step;
struct token_work; // model/mixer.h

struct ffn {
    const char *name;
    enum status (*bind)(struct model *m, int layer, struct weights *w, struct error *err);
    void (*release)(void *weights); // frees what bind attached to the layer; not NULL
    int (*widest)(const struct model *m); // rows that it loads as activations
    size_t (*scratch_bytes)(const struct model *m, const struct context *c);
    /* Add the work of one token. */
    void (*work)(struct token_work *sum, const struct model *m, int layer);
    /* out [n_tok][n_embd]; the normed input is in s->act, which it may reload. */
    void (*forward)(struct context *c, struct step *s, int layer, float *out);
};

extern const struct ffn ffn_dense, ffn_moe;

#endif
