/* matrix.h - weight matrices and their product with activations.
 *
 * A matrix is repacked once at load into tiles of 16 rows, so that vector lanes are
 * output rows: no horizontal sums, and an output element is computed in one order
 * whatever the number of tokens.  Tiles take the bytes of the file's blocks (rows are
 * padded to a multiple of 16).  Activations are quantised to int8 in blocks of 32 for
 * integer types and stay f32 for float types and those of dequant_rotated.c.
 *
 * For a fixed machine and build an element of the product is a pure function of its
 * weight row and its activation row: batch size, threads and chunking do not change a
 * bit of it. */
#ifndef TENSOR_MATRIX_H
#define TENSOR_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/status.h"
#include "tensor/dtype.h"

struct tensor_kernels; // tensor/kernels.h

struct matrix {
    enum dtype dtype;
    int n_out, n_in;
    uint8_t *tiles; // matrix_bytes, 64-byte aligned, the caller's
    bool scaled;    // all values are multiplied by scale
    float scale;
};

/* false for a type that cannot be computed with, or n_in not a multiple of its block. */
bool matrix_supported(enum dtype t, int n_in);
/* Whether products take activations in f32 instead of their int8 blocks. */
bool matrix_takes_floats(enum dtype t);
size_t matrix_bytes(enum dtype t, int n_out, int n_in);

/* Repack rows [n_out][n_in] of GGUF blocks at src into m->tiles (set by the caller, as
 * are dtype, n_out and n_in), in parallel. */
void matrix_pack(const struct matrix *m, const uint8_t *src, struct pool *pool);

/* The same in pieces, one tile a call: tiles [0, matrix_tiles), each matrix_tile_bytes of
 * m->tiles and MATRIX_TILE_ROWS rows of src (the last may have fewer). */
enum { MATRIX_TILE_ROWS = 16 };
int matrix_tiles(const struct matrix *m);
size_t matrix_tile_bytes(const struct matrix *m);
void matrix_pack_tile(const struct matrix *m, const uint8_t *src, int tile);

/* dst [n_in] <- dequantised row. */
void matrix_row(const struct matrix *m, float *dst, int row);

/* 32 activations of a token: one cache line. */
struct act_block {
    int8_t q[32];
    float scale;    // largest magnitude / 127
    float mass;     // scale * sum32
    int32_t sum32;  // of q
    int32_t sum[2]; // of q[0..15] and q[16..31]
    int32_t unused[3];
};

/* Tokens are kept in groups of ACT_GROUP, the last group may be smaller.  A group is
 * [n_in / 32][tokens of the group] blocks, so that a kernel walks all its tokens with one
 * pointer. */
enum { ACT_GROUP = 16 };

/* A block of all tokens of a whole group once more, close together: what gemm reads again
 * and again (tensor/kernels.def). */
struct act_panel {
    int8_t q[ACT_GROUP][32];
    float scale[ACT_GROUP], mass[ACT_GROUP];
};

/* Activations x [n_tok][n_in] prepared for products.  Memory is the caller's. */
struct act {
    int n_tok, n_in;
    const float *x;           // [n_tok][n_in], as given
    struct act_block *blocks; // of all tokens; panels follow (act_panel_at)
};

/* Tokens in the group of tok. */
static inline int act_group(const struct act *a, int tok)
{
    const int rest = a->n_tok - tok / ACT_GROUP * ACT_GROUP;
    return rest < ACT_GROUP ? rest : ACT_GROUP;
}

/* Block b of a token; the next one is act_group(a, tok) further. */
static inline struct act_block *act_at(const struct act *a, int tok, int b)
{
    const int first = tok / ACT_GROUP * ACT_GROUP;
    return a->blocks + (size_t)first * (size_t)(a->n_in / 32) +
           (size_t)b * (size_t)act_group(a, tok) + (tok - first);
}

/* Block b of the whole group that tok is in; that of b + 1 follows.  Panels exist if
 * act_has_panels. */
static inline struct act_panel *act_panel_at(const struct act *a, int tok, int b)
{
    const size_t n_block = (size_t)(a->n_in / 32);
    struct act_panel *first = (void *)(a->blocks + (size_t)a->n_tok * n_block);
    return first + (size_t)(tok / ACT_GROUP) * n_block + b;
}

/* Where products take them: on a level with gemm, of tokens that are enough for it. */
bool act_has_panels(const struct act *a, const struct tensor_kernels *k);

/* Bytes of one token, blocks and panels. */
size_t act_row_bytes(int n_in);
/* Bytes for act_init; n_in is rounded up to a multiple of 32. */
size_t act_bytes(int n_tok, int n_in);
void act_init(struct act *a, void *mem, int n_tok_cap, int n_in_cap);

/* Quantise n_tok rows of n_in (row stride n_in); a keeps a pointer to x.  A block with a
 * value that is not finite gets a NaN scale, which reaches every product.  If n_in is
 * not a multiple of 32 only float matrices can follow and nothing is quantised. */
void act_load(struct act *a, const struct tensor_kernels *k, struct pool *pool,
              const float *x, int n_tok, int n_in);

/* Token tok of a, whose n_tok, n_in, x and blocks are set, by itself; n_in % 32 == 0. */
void act_load_token(const struct act *a, const struct tensor_kernels *k, int tok);

/* dst, of memory for n tokens of src->n_in values, <- tokens tok [n] of src, as loaded;
 * x [n][n_in] gets their rows and must live as long as dst. */
void act_gather(struct act *dst, const struct tensor_kernels *k, float *x,
                const struct act *src, const int32_t *tok, int n);

/* One product: dst [a->n_tok][m->n_out] (row stride ld) <- W x. */
struct matmul_part {
    float *dst;
    size_t ld;
    const struct matrix *m;
    const struct act *a;
    int first_item, unit, n_range, n_tok_range; // how it is cut; set by matmul_many
};

static inline struct matmul_part matmul_part(float *dst, size_t ld,
                                             const struct matrix *m, const struct act *a)
{
    return (struct matmul_part){.dst = dst, .ld = ld, .m = m, .a = a};
}

/* n products at once, which share nothing but their threads: one start and one end for
 * all, and no thread waits between them. */
void matmul_many(struct matmul_part *parts, int n, const struct tensor_kernels *k,
                 struct pool *pool);
/* One of them. */
void matmul(float *dst, size_t ld, const struct matrix *m, const struct act *a,
            const struct tensor_kernels *k, struct pool *pool);

#endif
