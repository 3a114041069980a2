/* weights_pack.h - the one pass over the file that fills a model's matrices.
 *
 * Binding only notes which rows of the file go where.  All matrices are then packed in
 * one parallel run, so that small ones do not wait for each other; every item writes huge
 * pages that no other item writes, hashes the bytes that it reads while they are in the
 * cache, and gives the file's pages back. */
#ifndef MODEL_WEIGHTS_PACK_H
#define MODEL_WEIGHTS_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "gguf/gguf.h"
#include "tensor/matrix.h"

/* Some tiles of one matrix. */
struct pack_item {
    struct matrix m;
    const uint8_t *src; // rows [m.n_out][m.n_in] of the file
    int tile0, tile1;
    int tensor;        // of the file
    int tensor_row;    // where src begins in it
    uint64_t hash_sum; // of its tiles
};

struct pack_list {
    struct pack_item *items; // [cap]
    size_t n, cap;
};

/* Note a matrix whose tiles point to zeroed memory; false without memory for the note. */
bool pack_add(struct pack_list *l, const struct matrix *m, const uint8_t *src, int tensor,
              int tensor_row);

/* Pack everything.  hash [gguf_n_tensors] grows by a sum of XXH3 over tiles of 16 rows,
 * each seeded with its row: whatever the order and the number of threads, the same. */
void pack_run(struct pack_list *l, uint64_t *hash, const struct gguf *g,
              struct pool *pool);
void pack_release(struct pack_list *l);

#endif
