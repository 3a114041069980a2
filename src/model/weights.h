/* weights.h - binds tensors of a GGUF to the matrices and vectors of a model.
 *
 * All weights live in one reservation.  Matrices are repacked into it by weights_finish
 * (before that their tiles are zero) and the file's pages dropped, so that the model is
 * resident once.  Every tensor of the file must be
 * bound: one that nothing uses means that the mathematics would be wrong.
 *
 * Planned weights are bound in the same way and only counted: no tensor data are read,
 * matrices have no tiles and vectors stay NULL. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "gguf/gguf.h"
#include "model/weights_pack.h"
#include "tensor/matrix.h"

/* The tensors of a model without a file. */
struct weights_shape {
    const void *ctx;
    /* Whether an optional tensor, or one of several forms of the same, is there. */
    bool (*has)(const void *ctx, const char *name);
    /* The type of a tensor of matrices with rows of n_in. */
    enum dtype (*type)(const void *ctx, const char *name, int n_in);
};

struct weights {
    const struct gguf *g;
    struct pool *pool;
    bool planned;
    const struct weights_shape *shape; // planned, of a model without a file; or NULL
    struct gguf_tensor shaped;         // its last one
    uint8_t *mem;                      // [cap], NULL if planned
    size_t used, cap;
    uint64_t n_param; // values of all that was bound
    bool *bound;      // [gguf_n_tensors]
    uint64_t *hash;   // [gguf_n_tensors], of the data of bound tensors
    struct pack_list pack;
    uint64_t digest; // of the metadata and all tensors, after weights_finish
};

enum status weights_open(struct weights *w, const struct gguf *g, struct pool *pool,
                         struct error *err);
/* Planned weights: of the tensors of g, or of a shape that lives until weights_finish. */
enum status weights_plan(struct weights *w, const struct gguf *g,
                         const struct weights_shape *shape, struct error *err);
/* Fails if a tensor was not bound; fills the matrices; releases what only loading needs,
 * not mem. */
enum status weights_finish(struct weights *w, const char *arch, struct error *err);
void weights_release(struct weights *w);

bool weights_has(const struct weights *w, const char *name);

/* name must be [n_out][n_in] of a type that can be computed with. */
enum status weights_matrix(struct matrix *m, struct weights *w, const char *name,
                           int n_out, int n_in, struct error *err);
/* Rows [row, row + n_out) of a tensor [n_rows][n_in]. */
enum status weights_rows(struct matrix *m, struct weights *w, const char *name,
                         int n_rows, int row, int n_out, int n_in, struct error *err);
/* Rows [row, row + n_out) of each of n_expert parts of a tensor [n_expert][n_rows][n_in].
 */
enum status weights_experts(struct matrix *m, struct weights *w, const char *name,
                            int n_expert, int n_rows, int row, int n_out, int n_in,
                            struct error *err);
/* name must be [n], F32 or F16 or BF16, and finite; *out stays NULL if it is optional and
 * missing. */
enum status weights_vector(float **out, struct weights *w, const char *name, int n,
                           bool optional, struct error *err);
/* The same of a small tensor [n_row][n], with any dimensions of 1. */
enum status weights_table(float **out, struct weights *w, const char *name, int n_row,
                          int n, bool optional, struct error *err);
/* Tensors of block `layer` are not used. */
void weights_ignore_layer(struct weights *w, int layer);

/* "blk.<layer>.<suffix>" */
struct tensor_name {
    char text[96];
};
struct tensor_name tensor_name(int layer, const char *suffix);

#endif
