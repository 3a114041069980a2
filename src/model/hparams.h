/* hparams.h - the numbers of a model, validated.
 *
 * hparams_load reads the keys that all architectures share; an architecture's own
 * function adds its parts.  After loading every field is in range and consistent with
 * the others, so that nothing behind this point checks again. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "gguf/gguf.h"

enum { HPARAMS_LAYER_MAX = 1024, MOE_EXPERT_MAX = 4096 };

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
    double log_multiplier; // of yarn; 0: none
};

/* What a layer keeps of the tokens before. */
enum layer_kind {
    LAYER_FULL,      // keys and values of all
    LAYER_WINDOW,    // of the last `window`
    LAYER_RECURRENT, // a state of constant size
};

/* How a router turns its outputs into weights of experts. */
enum expert_gating {
    GATING_SOFTMAX,      // over all experts
    GATING_SIGMOID,      // of each
    GATING_SOFTMAX_USED, // over those that were chosen, by their outputs
};

struct moe_params {
    int n_expert; // 0: the model has none
    int n_used;   // of them, for each token
    int n_ff;     // hidden values of an expert
    int n_ff_shared;
    int n_dense; // layers before the first with experts
    enum expert_gating gating;
    bool normalize; // weights of the chosen sum to 1
    float scale;    // of the weights
};

/* Linear attention: a state [n_value_head][d_v][d_k] and a causal convolution. */
struct linear_params {
    int n_tap; // of the convolution, with the current token
    int n_key_head, n_value_head;
    int d_k, d_v;
};

/* Multi-head latent attention. */
struct mla_params {
    int rank;     // of the latent, which is what values are made of
    int d_rope;   // positional values behind it
    int d_k, d_v; // of a head, before keys and values are absorbed
};

/* How the vectors of a text's tokens become one; numbers of the file format. */
enum pooling { POOLING_NONE, POOLING_MEAN, POOLING_FIRST, POOLING_LAST, POOLING_RANK };

struct hparams {
    int n_layer, n_embd, n_vocab;
    int n_ff;    // of layers without experts; 0: the file does not say
    int n_nextn; // blocks behind the layers, which are not used
    int n_head, n_head_kv;
    int head_dim;   // of queries and keys
    int head_dim_v; // of values
    int n_ctx_train;
    enum pooling pooling; // of embeddings
    float rms_eps;
    float attn_scale;    // multiplies q.k
    float attn_softcap;  // c tanh(score / c); 0: none
    float embd_scale;    // multiplies embeddings
    float logit_softcap; // c tanh(logit / c); 0: none
    int window;          // tokens that a LAYER_WINDOW sees, its own included
    struct rope_params rope;
    struct rope_params rope_window; // of LAYER_WINDOW
    struct moe_params moe;
    struct linear_params linear;
    struct mla_params mla;
    uint8_t layer[HPARAMS_LAYER_MAX]; // enum layer_kind
};

/* arch is the prefix of the keys ("llama"). */
enum status hparams_load(struct hparams *hp, const struct gguf *g, const char *arch,
                         struct error *err);

/* ---- for the functions of architectures ---- */

struct hparams_key {
    char text[160];
};
struct hparams_key hparams_key(const char *arch, const char *suffix);

/* An int in [min, max]; def < 0 means that the key must be there. */
enum status hparams_int(int *out, const struct gguf *g, const char *arch,
                        const char *suffix, int min, int max, int def, struct error *err);
enum status hparams_double(double *out, const struct gguf *g, const char *arch,
                           const char *suffix, double min, double max, double def,
                           struct error *err);

/* What multiplies q.k: attention.scale, or def. */
enum status hparams_attn_scale(struct hparams *hp, const struct gguf *g, const char *arch,
                               double def, struct error *err);

/* Experts: expert_count and what goes with it.  No key, or 0: there are none.  The caller
 * has set what its keys do not say (gating, normalize). */
enum status hparams_moe(struct hparams *hp, const struct gguf *g, const char *arch,
                        struct error *err);

/* Layers i with i % period < period - 1 see a window: attention.sliding_window; the
 * pattern of the file (a period, or a flag for each layer) goes before `period`.
 * rope_window is rope with the base rope.freq_base_swa, or `theta`, unscaled. */
enum status hparams_window(struct hparams *hp, const struct gguf *g, const char *arch,
                           int period, double theta, struct error *err);

/* Gated delta nets: ssm.* and which layers have full attention. */
enum status hparams_delta(struct hparams *hp, const struct gguf *g, const char *arch,
                          struct error *err);

/* The last nextn_predict_layers blocks, which predict further tokens, are not layers. */
enum status hparams_drop_nextn(struct hparams *hp, const struct gguf *g, const char *arch,
                               struct error *err);

#endif
