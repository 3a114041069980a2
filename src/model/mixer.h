/* mixer.h - how a layer mixes tokens: attention, later others.  One file each.
 *
 * A mixer binds its weights, says how much memory it keeps, and computes its output for
 * the tokens of a step.  It adds nothing to the residual stream itself. */
#ifndef MODEL_MIXER_H
#define MODEL_MIXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "turboquant.h"

struct model;
struct weights;
struct context;
struct step;

/* Which types keys and values are stored in, and how long the exact tail is. */
struct kv_types {
    enum tq_type k, v;
    int tail;     // tokens that stay f16 behind the current page; a multiple of a page
    bool plain;   // store rows as they are, whatever calibration there is
    bool uniform; // no layer gets a better type than the others
};

/* How a layer keeps what its tokens leave. */
enum kv_store {
    KV_PAGED,  // keys and values in pages, of the types that were asked for
    KV_RING,   // those of a sliding window, uncompressed
    KV_LATENT, // a latent in pages
    KV_STATE,  // a state that does not grow
};

/* Bytes of cache that a layer keeps: for each token (paged) and for each sequence. */
struct state_need {
    size_t token_bytes, seq_bytes;
};

/* The least that one token costs: bytes read from memory, each once, and
 * multiply-accumulates of matrices and attention. */
struct token_work {
    uint64_t weight_bytes, cache_bytes, macs;
};

struct mixer {
    const char *name;
    enum status (*bind)(struct model *m, int layer, struct weights *w, struct error *err);
    void (*release)(void *weights); // frees what bind attached to the layer; not NULL
    enum kv_store (*store)(const struct model *m, int layer);
    /* For sequences of at most n_ctx tokens; types are those of the layer (kv_policy).
     * STATUS_UNSUPPORTED if they do not go with its shapes. */
    enum status (*need)(struct state_need *out, const struct model *m, int layer,
                        const struct kv_types *types, int n_ctx, struct error *err);
    int (*widest)(const struct model *m); // rows that it loads as activations
    /* Bytes of scratch that one step needs: shared by the layers of a step. */
    size_t (*scratch_bytes)(const struct context *c, int layer);
    /* Add the work of the token at position pos, that is with pos others before it;
     * `need` has accepted the types. */
    void (*work)(struct token_work *sum, const struct model *m, int layer,
                 const struct kv_types *types, int pos);
    /* out [n_tok][n_embd] <- mixed tokens; the normed input is in s->act. */
    void (*forward)(struct context *c, struct step *s, int layer, float *out);
};

extern const struct mixer mixer_attn, mixer_delta, mixer_kda, mixer_mla;

#endif
