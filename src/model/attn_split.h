/* attn_split.h - how attention to the runs of a step is cut into items of work.
 *
 * An item is a piece of one run for one kv head: a block of its queries, or, if the run
 * is a single token with many keys, a part of the leaves that it reads.  No cut changes a
 * bit of the result (docs/numerics.md, 1.1), so they depend on what is in the step and on
 * the number of threads. */
#ifndef MODEL_ATTN_SPLIT_H
#define MODEL_ATTN_SPLIT_H

#include "model/attn_cache.h"
#include "model/model_impl.h"

/* A run in one layer. */
struct attn_run {
    const struct run *run;
    struct attn_place place; // where its pages are
    int n_block;             // blocks of queries
    int n_part;              // of the leaves of its only query; 1: they stay together
    int item0;               // its first item; it has n_block * n_part * n_head_kv
    int part0;               // its first part among those of all runs, head by head
};

struct attn_split {
    struct attn_run *runs; // [n_run], memory of the caller, `run` and `place` are set
    int n_run, n_head_kv;
    bool whole; // the leaves of a query are few: they stay together
    int block;  // tokens of a query block, which starts at a multiple of it
    int n_item, n_part;
};

/* Most parts that attn_split_init makes, for runs of at most n_ctx tokens. */
int attn_split_parts_max(int n_thread, int n_head_kv, int n_run, int n_ctx);

/* Cut: everything but runs, n_run, n_head_kv, whole and block is set. */
void attn_split_init(struct attn_split *s, int n_thread);

/* One item. */
struct attn_piece {
    const struct attn_run *r;
    int head;
    int from, n;        // tokens of the run
    int leaf, leaf_end; // of r->n_part > 1
    int part;           // among those of all runs
};

struct attn_piece attn_split_piece(const struct attn_split *s, int item);

#endif
