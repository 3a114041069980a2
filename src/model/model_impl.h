/* model_impl.h - inside of a model and a context, for the files of this folder. */
#ifndef MODEL_MODEL_IMPL_H
#define MODEL_MODEL_IMPL_H

#include "kv/checkpoints.h"
#include "kv/kv.h"
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"
#include "model/model.h"
#include "model/weights.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"

/* Frequencies of rotary embedding. */
struct rope {
    double *freq; // [n_rot / 2], angle per position
    float mscale; // of cosines and sines
};

struct layer {
    const struct mixer *mixer;
    const struct ffn *ffn;
    float *attn_norm, *ffn_norm;           // [n_embd]
    float *post_attn_norm, *post_ffn_norm; // [n_embd], or NULL
    void *mixer_weights;                   // of the mixer's own type
    void *ffn_weights;
};

struct model {
    struct hparams hp;
    const struct arch *arch;
    struct pool *pool;
    enum cpu_isa isa;
    const struct tensor_kernels *kernels;
    struct weights weights;
    struct layer *layers; // [n_layer]
    bool recurrent;       // some layer keeps a state that only its newest token has
    struct matrix token_embd, output;
    float *output_norm; // [n_embd]
    struct rope rope;
    struct rope rope_long;   // of contexts above n_ctx_orig; no freq: the same
    struct rope rope_window; // of LAYER_WINDOW; no freq: there are none
};

struct sequence {
    struct context *c; // NULL while it is closed
    struct kv_seq *kv;
    int n_ctx, pos;
    bool failed; // a value was not finite
    struct kv_checkpoints marks;
};

/* A run of consecutive tokens of one sequence in a step. */
struct run {
    struct batch_run *caller;
    struct sequence *seq;
    int pos; // position of its first token
    int n;   // tokens
    int row; // of its first token in the step
    int out; // of its first row of logits in the step
};

/* One pass of tokens through the layers. */
struct step {
    int n_tok, n_run, n_out;
    struct run *runs; // [n_run], those of a single token last
    int32_t *tokens;  // [n_tok]
    int32_t *pos;     // [n_tok]
    int32_t *out_row; // [n_out] rows of tokens whose logits are wanted
    struct act act;   // the current input of matrices
    float *rope[3];   // by enum layer_kind: [n_tok][n_rot / 2][2], or NULL
};

struct context {
    const struct model *m;
    struct kv_types kv;
    struct kv_types *layer_kv; // [n_layer], by kv_policy
    int n_ctx, n_seq, n_page, n_batch, n_logits;
    int n_run;  // most runs of a step
    int n_mark; // checkpoints of a sequence
    struct kv_pool *pool;
    struct sequence *sequences; // [n_seq]
    struct sequence *own;       // that of a context with one sequence, else NULL
    uint8_t *mark_state;        // [n_seq][n_mark][state_bytes]
    size_t *page_offset;        // [n_layer] of the layer's part of a page
    size_t *state_offset;       // [n_layer] of its part of the sequence state
    size_t page_bytes, state_bytes;
    /* What is taken from rows before they are stored, in the basis of the cache:
     * [n_layer][n_head_kv][head_dim], [n_layer][n_head_kv][head_dim_v]; NULL is nothing.
     */
    float *k_mean, *v_mean;

    uint8_t *scratch; // [scratch_bytes], holds all of the following
    size_t scratch_bytes;
    float *x, *norm, *out;  // [n_batch][n_embd]
    float *logits;          // [n_logits][n_vocab]
    uint8_t *layer_scratch; // of the mixer or the ffn at work
    struct step step;
};

/* Add the weights of a matrix, as stored, and the products of one token with it. */
void work_add_matrix(struct token_work *sum, const struct matrix *m);

/* A bump allocator that first measures (base NULL) and then hands out. */
struct carve {
    uint8_t *base;
    size_t used;
};
void *carve_take(struct carve *c, size_t n, size_t size);

/* The loop over c->step: c->x [n_tok][n_embd] <- what the last layer leaves. */
void forward_layers(struct context *c);
/* hidden [n][n_embd] <- what the output head reads of n rows from `row` on. */
void forward_hidden(const struct context *c, float *hidden, int row, int n);
/* logits [n_out][n_vocab] <- those of the wanted rows of c->x. */
void forward_output(struct context *c, float *logits);

#endif
