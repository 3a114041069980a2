/* checkpoints.h - copies of the state of a sequence at chosen positions.
 *
 * Pages can be cut at any token; the state of a sequence (recurrent layers, rings of
 * exact rows) is that of its newest token only.  So a sequence goes back to a checkpoint,
 * and the tokens between it and the position that was wanted are run again. */
#ifndef KV_CHECKPOINTS_H
#define KV_CHECKPOINTS_H

#include <stddef.h>
#include <stdint.h>

enum { KV_CHECKPOINTS_MAX = 32 };

struct kv_checkpoints {
    uint8_t *mem; // [cap][bytes], the caller's
    size_t bytes; // of a state
    int cap, n;
    /* Those that there are, by rising position. */
    struct {
        int pos, slot;
    } at[KV_CHECKPOINTS_MAX];
};

/* 1 <= cap <= KV_CHECKPOINTS_MAX */
void kv_checkpoints_init(struct kv_checkpoints *c, void *mem, size_t bytes, int cap);

/* Copy the state [bytes] of a sequence that holds pos tokens, at least as many as at the
 * newest checkpoint.  If all places are taken the one goes whose neighbours can stand in
 * for it at the least cost: places stay dense near the end and sparse far from it. */
void kv_checkpoints_take(struct kv_checkpoints *c, int pos, const void *state);

/* The state of the newest checkpoint at or before pos; returns its position, or -1 and
 * leaves state alone if there is none.  Those behind it are forgotten. */
int kv_checkpoints_restore(struct kv_checkpoints *c, int pos, void *state);

/* Forget those behind pos; -1: all. */
void kv_checkpoints_cut(struct kv_checkpoints *c, int pos);

#endif
