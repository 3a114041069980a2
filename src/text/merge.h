/* merge.h - greedy merging of adjacent symbols of one word, best pair first.
 *
 * A symbol is named by the offset of its first byte; its id is -1 where the vocabulary
 * has no token for it.  The order is that of BPE and SentencePiece: lowest priority
 * value first, ties leftmost.  O(n log n). */
#ifndef TEXT_MERGE_H
#define TEXT_MERGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

#define MERGE_NONE UINT32_MAX

struct merge_symbol {
    uint32_t prev, next; // offsets; next of the last symbol is the word's length
    int32_t id;
    uint32_t prio;  // of joining this symbol and the next, MERGE_NONE if they do not
    int32_t merged; // the token that joining gives
};

struct merge_work {
    struct merge_symbol *sym; // [sym_cap], one place for each byte of the word
    size_t sym_cap;
    uint64_t *heap; // [heap_cap], priority << 32 | offset
    size_t n_heap, heap_cap;
};

void merge_work_release(struct merge_work *w);

/* Room for a word of n < UINT32_MAX bytes; false without memory. */
bool merge_reserve(struct merge_work *w, size_t n);

/* The priority of joining the tokens left and right, which spell s[0..n), or MERGE_NONE;
 * *merged is the token of the whole. */
typedef uint32_t merge_pair(const struct tokenizer *t, const char *s, size_t n,
                            int32_t left, int32_t right, int32_t *merged);

/* Merge the word s[0..n) whose symbols (prev, next, id) the caller has set, until no pair
 * is left.  False without memory. */
bool merge_run(struct merge_work *w, const struct tokenizer *t, merge_pair *pair,
               const char *s, size_t n);

#endif
