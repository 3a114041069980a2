/* hparams.h - the numbers of a model, validated.
 *
 * hparams_load reads the keys that all architectures share; an architecture's own
 * function may add to them.  After loading every field is in range and consistent with
 * the others, so that nothing behind this point checks again. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include "base/status.h"
#include "gguf/gguf.h"

enum rope_pairing {
    ROPE_NORM, // pairs (2i, 2i + 1)
    ROPE_NEOX, // pairs (i, i + n_rot / 2)
};

enum rope_scaling { ROPE_SCALING_NONE, ROPE_SCALING_LINEAR, ROPE_SCALING_YARN };

struct rope_params {
    enum rope_pairing pairing;
    enum rope_scaling scaling;
    int n_rot;      // rotated values of a head, even
    int n_ctx_orig; // context before scaling
    double theta;   // frequency base
    double factor;  // stretches the context by this much
    double attn_factor, beta_fast, beta_slow;
};

struct hparams {
    int n_layer, n_embd, n_ff, n_vocab;
    int n_head, n_head_kv;
    int head_dim;   // of queries and keys
    int head_dim_v; // of values
    int n_ctx_train;
    float rms_eps;
    float attn_scale; // multiplies q.k
    struct rope_params rope;
};

/* arch is the prefix of the keys ("llama"). */
enum status hparams_load(struct hparams *hp, const struct gguf *g, const char *arch,
                         struct error *err);

#endif
