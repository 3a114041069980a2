/* attn_core.h - softmax attention of one layer over its cache, for the mixers that have
 * it: they make queries, keys and values, and turn what comes back into their output. */
#ifndef MODEL_ATTN_CORE_H
#define MODEL_ATTN_CORE_H

#include "model/attn_cache.h"
#include "model/attn_split.h"
#include "model/model_impl.h"

struct attn_thread;

struct attn_core {
    struct context *c;
    const struct step *s;
    struct attn_shape shape;
    struct attn_cache cache;
    struct attn_split split;
    int layer;
    const float *sinks; // [n_head] or NULL
    /* What the cache leaves out of rows, or NULL: [n_head_kv][d], [n_head_kv][d_v]. */
    const float *k_mean, *v_mean;

    float *q;                  // [n_tok][n_head][d], filled by the mixer
    float *k;                  // [n_tok][n_head_kv][d]
    float *v;                  // [n_tok][n_head_kv][d_v]; of a latent cache unused
    float *mixed;              // [n_tok][n_head][d_v], the result
    float *q_heads;            // [n_head_kv][n_tok][group][d]
    uint8_t *fresh;            // exact pages behind the first page of each run
    struct attn_run *runs;     // [n_run]
    void *part;                // [n_part] memory of trees of `group` rows
    struct tq_tree *part_tree; // [n_part]
    size_t part_bytes;
    struct attn_thread *thread; // [n_thread]
};

/* Bytes of scratch for the largest step of c, for layers of this shape. */
size_t attn_core_bytes(const struct context *c, const struct attn_shape *shape,
                       const struct kv_types *types);

/* Lay out a in mem, of attn_core_bytes, for one layer of a step. */
void attn_core_open(struct attn_core *a, struct context *c, const struct step *s,
                    int layer, const struct attn_shape *shape, void *mem);

/* Row i of q, k and v is ready: bring it into the basis of the cache.  Rows are
 * independent. */
void attn_core_put(const struct attn_core *a, int i);

/* Call row(ctx, i) for the tokens of the step, in parallel. */
void attn_core_rows(const struct attn_core *a, void (*row)(void *ctx, int i), void *ctx);

/* All rows were put: store them, encode the pages they complete, and attend. */
void attn_core_run(struct attn_core *a);

/* Bytes of cache that the query at pos reads, and its multiply-accumulates. */
void attn_core_work(struct token_work *sum, const struct model *m,
                    const struct attn_shape *shape, const struct kv_types *types,
                    int pos);

/* Cache of a layer of this shape, for sequences of at most n_ctx tokens. */
enum status attn_core_need(struct state_need *out, const struct model *m,
                           const struct attn_shape *shape, const struct kv_types *types,
                           int n_ctx, struct error *err);

#endif
