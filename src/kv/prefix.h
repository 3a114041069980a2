/* prefix.h - pages and states of earlier sequences, found by the tokens that they hold.
 *
 * A radix tree whose nodes are pages: the path from the root to a node spells the tokens
 * of its page and of all before it.  The tree holds its pages like a sequence does.  What
 * is not in pages (exact tails, windows, recurrent states) is kept at some positions, as
 * copies that are called checkpoints: a sequence goes on at one of them, shares the full
 * pages before it and copies the one that it is inside of.
 *
 * When a page is wanted the least recently used leaf goes; when a place for a state is
 * wanted the checkpoint whose loss costs the fewest tokens, weighed by its age.  All
 * memory is reserved at open.  One thread at a time. */
#ifndef KV_PREFIX_H
#define KV_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "kv/kv.h"

struct kv_prefix;

struct kv_prefix_options {
    struct kv_pool *pool; // outlives the tree
    size_t state_bytes;   // of a sequence; 0: pages are all that there is
    int n_state;          // checkpoints, at least 1 if states have bytes
    bool recurrent;       // a state serves its own position alone, else its page
};

enum status kv_prefix_open(struct kv_prefix **out, const struct kv_prefix_options *o,
                           struct error *err);
void kv_prefix_close(struct kv_prefix *t);
size_t kv_prefix_bytes(const struct kv_prefix *t); // of states and of the tree itself

struct kv_hit {
    int pos;    // tokens that need not be run; 0: nothing is known
    int common; // tokens that some node has too; pos or more
    int node;   // internal
    int state;  // internal
};

/* The farthest place in tokens [n] where a sequence can go on, at most `limit`.  Holds
 * until the next call that changes the tree. */
struct kv_hit kv_prefix_find(struct kv_prefix *t, const int32_t *tokens, int n,
                             int limit);

/* s <- what the hit has, with pages for n_token tokens, at least hit.pos; s holds nothing
 * before.  Pages that are wanted are taken from the tree, never from the hit's own path.
 * STATUS_FULL: there are not enough, and s holds nothing. */
enum status kv_prefix_load(struct kv_prefix *t, const struct kv_hit *hit,
                           struct kv_seq *s, int n_token, struct error *err);

/* Let s hold pages for n_token tokens, as above. */
enum status kv_prefix_reserve(struct kv_prefix *t, struct kv_seq *s, int n_token,
                              struct error *err);

/* Put what s holds of tokens [n] into the tree: its full pages, and with `state` the rest
 * and its state as a checkpoint.  Pages that the tree has already are given up for those
 * of the tree.  What there is no place for is left out. */
void kv_prefix_put(struct kv_prefix *t, const int32_t *tokens, int n, struct kv_seq *s,
                   bool state);

/* Pages that the tree alone holds: those that could be taken. */
int kv_prefix_spare(const struct kv_prefix *t);

/* Forget everything. */
void kv_prefix_clear(struct kv_prefix *t);

#endif
