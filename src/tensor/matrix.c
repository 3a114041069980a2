#include "tensor/matrix.h"

#include <assert.h>
#include <string.h>

#include "tensor/kernels.h"
#include "tensor/tile.h"

static int n_tile_of(const struct matrix *m)
{
    return (m->n_out + TILE_ROWS - 1) / TILE_ROWS;
}

static size_t row_bytes(enum dtype t, int n_in)
{
    const struct dtype_traits *traits = dtype_find(t);
    return (size_t)(n_in / traits->block_elems) * (size_t)traits->block_bytes;
}

bool matrix_supported(enum dtype t, int n_in)
{
    const struct dtype_traits *traits = dtype_find(t);
    return traits && traits->dequant && n_in > 0 && n_in % traits->block_elems == 0;
}

bool matrix_takes_floats(enum dtype t)
{
    return dtype_find(t)->block_elems == 1 || t == DTYPE_TQ3_1S || t == DTYPE_TQ4_1S;
}

size_t matrix_bytes(enum dtype t, int n_out, int n_in)
{
    const size_t n_tile = ((size_t)n_out + TILE_ROWS - 1) / TILE_ROWS;
    return n_tile * TILE_ROWS * row_bytes(t, n_in);
}

int matrix_tiles(const struct matrix *m)
{
    return n_tile_of(m);
}

size_t matrix_tile_bytes(const struct matrix *m)
{
    return TILE_ROWS * row_bytes(m->dtype, m->n_in);
}

void matrix_pack_tile(const struct matrix *m, const uint8_t *src, int tile)
{
    const size_t bytes = row_bytes(m->dtype, m->n_in);
    const size_t block_bytes = (size_t)dtype_find(m->dtype)->block_bytes;
    const int row0 = tile * TILE_ROWS, n_row = m->n_out - row0;
    uint8_t *dst = m->tiles + (size_t)row0 * bytes;
    src += (size_t)row0 * bytes;
    if (n_row >= TILE_ROWS) {
        tile_pack(m->dtype, dst, src, bytes);
        return;
    }
    memset(dst, 0, TILE_ROWS * bytes);
    for (size_t at = 0; at < bytes; at += block_bytes)
        for (int r = 0; r < n_row; r++)
            tile_put(m->dtype, dst + at * TILE_ROWS, src + (size_t)r * bytes + at, r);
}

struct pack_job {
    const struct matrix *m;
    const uint8_t *src;
};

static void pack_item(void *ctx, int tile, int thread)
{
    const struct pack_job *job = ctx;
    (void)thread;
    matrix_pack_tile(job->m, job->src, tile);
}

void matrix_pack(const struct matrix *m, const uint8_t *src, struct pool *pool)
{
    struct pack_job job = {m, src};
    pool_run(pool, n_tile_of(m), pack_item, &job);
}

void matrix_row(const struct matrix *m, float *dst, int row)
{
    enum { BLOCK_BYTES_MAX = 256 };
    uint8_t block[BLOCK_BYTES_MAX];
    const struct dtype_traits *traits = dtype_find(m->dtype);
    const size_t block_bytes = (size_t)traits->block_bytes;
    const size_t bytes = row_bytes(m->dtype, m->n_in);
    const uint8_t *tile = m->tiles + (size_t)(row / TILE_ROWS) * TILE_ROWS * bytes;
    assert(block_bytes <= sizeof block);
    for (size_t at = 0; at < bytes; at += block_bytes, dst += traits->block_elems) {
        tile_get(m->dtype, block, tile + at * TILE_ROWS, row % TILE_ROWS);
        traits->dequant(dst, block, 1);
    }
}

static dot_fn *dot_of(const struct tensor_kernels *k, enum dtype t)
{
    switch (t) {
#define K(name, ret, args)
#define DOT(name, TYPE) \
    case DTYPE_##TYPE:  \
        return k->dot_##name;
#include "tensor/kernels.def"
#undef K
    default:
        return NULL;
    }
}

/* Items are (range of tiles) x (range of tokens). */
struct matmul_job {
    float *dst;
    size_t ld;
    const struct matrix *m;
    const struct act *a;
    dot_fn *dot;
    int n_range;     // ranges of tiles
    int n_tok_range; // ranges of tokens
};

static void matmul_item(void *ctx, int item, int thread)
{
    const struct matmul_job *job = ctx;
    const struct matrix *m = job->m;
    const size_t tile_bytes = TILE_ROWS * row_bytes(m->dtype, m->n_in);
    const int64_t n_tile = n_tile_of(m);
    const int64_t n_group = (job->a->n_tok + ACT_GROUP - 1) / ACT_GROUP;
    const int range = item % job->n_range, tok_range = item / job->n_range;
    const int tile0 = (int)(n_tile * range / job->n_range);
    const int tile1 = (int)(n_tile * (range + 1) / job->n_range);
    const int group0 = (int)(n_group * tok_range / job->n_tok_range);
    const int group1 = (int)(n_group * (tok_range + 1) / job->n_tok_range);
    (void)thread;
    for (int g = group0; g < group1; g++) {
        const int tok = g * ACT_GROUP, rest = job->a->n_tok - tok;
        const int n_tok = rest < ACT_GROUP ? rest : ACT_GROUP;
        for (int i = tile0; i < tile1; i++) {
            const int row = i * TILE_ROWS;
            const int n_row = m->n_out - row < TILE_ROWS ? m->n_out - row : TILE_ROWS;
            job->dot(job->dst + (size_t)tok * job->ld + row, job->ld, n_row,
                     m->tiles + (size_t)i * tile_bytes, job->a, tok, n_tok);
        }
    }
}

/* With few tokens the weights stream from memory once: long contiguous ranges, as
 * measured (256 KiB and more run at full bandwidth, 16 KiB at half), but some for each
 * thread.  With many, a range stays in L2 while all tokens pass over it. */
static void matmul_split(struct matmul_job *job, int n_thread)
{
    enum { STREAM_BYTES = 256 << 10, STREAM_MIN = 64 << 10, CACHED_BYTES = 192 << 10 };
    const struct matrix *m = job->m;
    const size_t bytes = matrix_bytes(m->dtype, m->n_out, m->n_in);
    const size_t n_tile = (size_t)n_tile_of(m), threads = (size_t)n_thread;
    const size_t n_group = ((size_t)job->a->n_tok + ACT_GROUP - 1) / ACT_GROUP;
    size_t n_range, n_tok_range = 1;
    if (n_group == 1) {
        n_range = bytes / STREAM_BYTES;
        if (n_range < 4 * threads)
            n_range = bytes / STREAM_MIN < 4 * threads ? bytes / STREAM_MIN : 4 * threads;
    } else {
        n_range = bytes / CACHED_BYTES;
        if (n_range < 4 * threads)
            n_range = 4 * threads;
    }
    n_range = (n_range + threads - 1) / threads * threads;
    if (n_range > n_tile)
        n_range = n_tile;
    if (n_range < 4 * threads && n_group > 1) {
        n_tok_range = 4 * threads / n_range;
        if (n_tok_range > n_group)
            n_tok_range = n_group;
    }
    if (n_range == 0)
        n_range = 1;
    job->n_range = (int)n_range;
    job->n_tok_range = (int)n_tok_range;
}

void matmul(float *dst, size_t ld, const struct matrix *m, const struct act *a,
            const struct tensor_kernels *k, struct pool *pool)
{
    assert(m->n_in == a->n_in);
    if (a->n_tok == 0 || m->n_out == 0)
        return;
    struct matmul_job job = {
        .dst = dst, .ld = ld, .m = m, .a = a, .dot = dot_of(k, m->dtype)};
    matmul_split(&job, pool_threads(pool));
    pool_run(pool, job.n_range * job.n_tok_range, matmul_item, &job);
}
