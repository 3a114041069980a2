/* model.h - a loaded model and the contexts that run it: token ids in, logits out.
 *
 * A model is immutable after opening.  A context owns the KV pages, the sequences and the
 * scratch of a step; it is used by one thread at a time, which drives the pool.
 *
 * Everything is deterministic: the logits of a position are a pure function of the
 * tokens before it, the weights, the KV types, the build and the instruction set.  How
 * tokens are cut into calls, what other sequences are in a step and how many threads work
 * does not change a bit. */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "cpu/cpu.h"
#include "gguf/gguf.h"
#include "kv/kv.h"
#include "model/hparams.h"
#include "model/mixer.h"

struct model;
struct context;
struct weights_shape; // model/weights.h

/* g may be closed afterwards.  Everything is repacked into memory of the model. */
enum status model_open(struct model **out, struct gguf *g, struct pool *pool,
                       enum cpu_isa isa, struct error *err);
/* A model without weights, which tells what model_open would make of g, and in how much
 * memory, and reads no tensor data.  With a shape, g holds metadata alone and the tensors
 * are those of the shape.  It has bytes, parameters, work and plans of contexts, but no
 * digest and no contexts. */
enum status model_plan(struct model **out, struct gguf *g,
                       const struct weights_shape *shape, struct pool *pool,
                       enum cpu_isa isa, struct error *err);
void model_close(struct model *m);
const struct hparams *model_hparams(const struct model *m);
const char *model_arch(const struct model *m);
size_t model_bytes(const struct model *m);      // resident weights; planned: those to be
uint64_t model_params(const struct model *m);   // values of all tensors in use
bool model_is_recurrent(const struct model *m); // a layer's state is its last token's
bool model_is_planned(const struct model *m);   // opened by model_plan
/* A hash (XXH3, 64 bits) of metadata and tensors: the same for the same file. */
uint64_t model_digest(const struct model *m);
enum cpu_isa model_isa(const struct model *m); // that is used

/* What the token at position pos costs, its row of logits not included: the weights of
 * all layers, and the cache that it reads when that has these types (which context_open
 * would take). */
struct token_work model_token_work(const struct model *m, const struct kv_types *types,
                                   int pos);
/* What a row of logits costs: the output head, tied to the embedding or not. */
struct token_work model_logits_work(const struct model *m);

/* "turbo4", "turbo8/turbo4" (keys/values) or a preset: near-lossless, balanced, small,
 * tiny.  Behind a name with a compressed type, ":plain" says that means are not to be
 * removed, ":uniform" that no layer gets a better type than the others (kv_policy.h),
 * ":tail=N" how many tokens behind the current page stay exact (128 without it). */
enum status kv_types_parse(struct kv_types *out, const char *text, struct error *err);
/* "turbo4", "turbo8/turbo4" or "turbo4:plain"; buf holds KV_NAME_BYTES. */
enum { KV_NAME_BYTES = 48, KV_TAIL_MAX = 1 << 20 };
const char *kv_types_name(char *buf, const struct kv_types *t);
/* tail in [0, KV_TAIL_MAX] tokens stay exact: rounded up to whole pages. */
void kv_types_tail(struct kv_types *t, int tail);

struct calibration;

enum { CONTEXT_SEQUENCES_MAX = 1024, CONTEXT_MARK_BYTES = 256 << 20 };

struct context_options {
    struct kv_types kv;
    const struct calibration *calibration; // of this model; NULL: means stay
    int n_ctx;                             // most tokens of a sequence
    int n_seq;    // most sequences at a time; 0: one, opened with the context
    int n_page;   // KV pages of all of them; 0: n_seq sequences of n_ctx tokens
    int n_batch;  // most tokens a step; 0: 512
    int n_logits; // most rows of logits a call returns; 0: one for each sequence
    /* Checkpoints of each sequence, at most KV_CHECKPOINTS_MAX; 0: 1, -1: none.  Fewer,
     * but not fewer than two, if they would take more than CONTEXT_MARK_BYTES. */
    int n_mark;
};

/* What a context reserved, for all its sequences. */
struct context_memory {
    size_t pages;      // KV pages
    size_t exact;      // f16 sinks and tails, windows, recurrent states
    size_t mark;       // their copies at checkpoints
    size_t scratch;    // of a step
    size_t page_bytes; // of 64 tokens
};

enum status context_open(struct context **out, const struct model *m,
                         const struct context_options *o, struct error *err);
void context_close(struct context *c);
struct context_memory context_memory(const struct context *c);

/* What context_open would reserve. */
enum status context_plan(struct context_memory *out, const struct model *m,
                         const struct context_options *o, struct error *err);

struct kv_pool *context_kv(const struct context *c);
size_t context_state_bytes(const struct context *c); // of a sequence
int context_n_ctx(const struct context *c);
int context_n_batch(const struct context *c);

/* ---- sequences ---- */

/* One timeline of tokens in a context that was opened with n_seq > 0. */
struct sequence;

/* All pages for n_ctx tokens are taken now: a sequence that is open never runs out.
 * STATUS_FULL: they, or the place for a sequence, are held by others.  STATUS_LIMIT: the
 * context is too small for it, whoever closes. */
enum status sequence_open(struct sequence **out, struct context *c, int n_ctx,
                          struct error *err);
/* The same without pages: its owner reserves them (kv_seq_reserve, or a prefix tree)
 * before a step needs them. */
enum status sequence_open_empty(struct sequence **out, struct context *c, int n_ctx,
                                struct error *err);
/* Its pages and state, to share them: kv/prefix.h. */
struct kv_seq *sequence_kv(const struct sequence *s);
/* What sequence_kv holds now is pos tokens of another sequence with the same tokens, and
 * the state that it had there. */
void sequence_continue(struct sequence *s, int pos);

/* Give its pages back.  The context closes those that are left open. */
void sequence_close(struct sequence *s);
int sequence_n_ctx(const struct sequence *s);
int sequence_pos(const struct sequence *s); // tokens that it holds

/* Forget all tokens; the pages stay. */
void sequence_reset(struct sequence *s);

/* Take a checkpoint here, so that sequence_rewind can come back.  When there are too many
 * an old one goes, whose neighbours serve nearly as well. */
void sequence_mark(struct sequence *s);
/* Forget the tokens behind position n and return the position reached, which is n or
 * before it: the tokens between must be run again.  It is n if what the newest token left
 * still serves it (never with recurrent layers), else the newest checkpoint at or before
 * n, else 0.  A sequence that failed goes to 0. */
int sequence_rewind(struct sequence *s, int n);

/* Tokens of a sequence in a step, behind those that it holds. */
struct batch_run {
    struct sequence *seq;
    const int32_t *tokens; // [n]
    int n;                 // 1 in decode, a chunk of the prompt in prefill
    int n_logits;          // rows of logits wanted, of its last tokens; at most n
    float *hidden;         // [n][n_embd] <- what the output head reads; NULL: not wanted

    enum status status;  // set by the step
    const float *logits; // set: [n_logits][n_vocab] until the next call, or NULL
};

/* One step for all runs [n_run] together: each weight is read once.  They are of
 * different sequences of c, and have at most n_batch tokens and n_logits rows together.
 * The result of a run does not depend on the others.
 *
 * STATUS_BAD_ARG: nothing happened; if it is due to one run, its status says so.
 * STATUS_NUMERIC: a value in a run is not finite.  Only the runs with this status failed,
 * and take no more tokens before a reset; the others are done.  err is about one of them.
 */
enum status context_eval_batch(struct context *c, struct batch_run *runs, int n_run,
                               struct error *err);

/* ---- the one sequence of a context that was opened with n_seq 0 ---- */

int context_pos(const struct context *c);
void context_reset(struct context *c);
void context_mark(struct context *c);
int context_rewind(struct context *c, int n);

/* Append n tokens in steps of at most n_batch.  The logits of the last n_logits <= n
 * tokens (at most the context's n_logits) are at *logits [n_logits][n_vocab] until the
 * next call; logits may be NULL with n_logits 0.  STATUS_BAD_ARG for an id that is not in
 * the vocabulary or more tokens than fit: nothing happened.  STATUS_NUMERIC: a value of
 * any of the tokens is not finite; the sequence must be reset. */
enum status context_eval(struct context *c, const int32_t *tokens, int n, int n_logits,
                         const float **logits, struct error *err);

#endif
