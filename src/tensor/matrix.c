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
    for (int i = 0; m->scaled && i < m->n_in; i++)
        dst[i - m->n_in] *= m->scale; // dst is behind the row
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

/* x [n_tok][n], row stride ld, times a factor. */
static void scale_rows(float *x, size_t ld, int n, int n_tok, float scale)
{
    for (int t = 0; t < n_tok; t++)
        for (int i = 0; i < n; i++)
            x[(size_t)t * ld + (size_t)i] *= scale;
}

/* A range of the tiles of a product, for token groups [group0, group1). */
static void matmul_tiles(const struct matmul_part *p, dot_fn *dot, int tile0, int tile1,
                         int group0, int group1)
{
    const struct matrix *m = p->m;
    const size_t tile_bytes = TILE_ROWS * row_bytes(m->dtype, m->n_in);
    for (int g = group0; g < group1; g++) {
        const int tok = g * ACT_GROUP, rest = p->a->n_tok - tok;
        const int n_tok = rest < ACT_GROUP ? rest : ACT_GROUP;
        for (int i = tile0; i < tile1; i++) {
            const int row = i * TILE_ROWS;
            const int n_row = m->n_out - row < TILE_ROWS ? m->n_out - row : TILE_ROWS;
            dot(p->dst + (size_t)tok * p->ld + row, p->ld, n_row,
                m->tiles + (size_t)i * tile_bytes, p->a, tok, n_tok);
            if (m->scaled)
                scale_rows(p->dst + (size_t)tok * p->ld + row, p->ld, n_row, n_tok,
                           m->scale);
        }
    }
}

static int count_groups(const struct act *a)
{
    return (a->n_tok + ACT_GROUP - 1) / ACT_GROUP;
}

/* Items are (range of tiles) x (range of tokens). */
struct matmul_job {
    struct matmul_part part;
    dot_fn *dot;
    int n_range;     // ranges of tiles
    int n_tok_range; // ranges of tokens
};

static void matmul_item(void *ctx, int item, int thread)
{
    const struct matmul_job *job = ctx;
    const int64_t n_tile = n_tile_of(job->part.m), n_group = count_groups(job->part.a);
    const int range = item % job->n_range, tok_range = item / job->n_range;
    (void)thread;
    matmul_tiles(&job->part, job->dot, (int)(n_tile * range / job->n_range),
                 (int)(n_tile * (range + 1) / job->n_range),
                 (int)(n_group * tok_range / job->n_tok_range),
                 (int)(n_group * (tok_range + 1) / job->n_tok_range));
}

/* With few tokens the weights stream from memory once: long contiguous ranges, as
 * measured (256 KiB and more run at full bandwidth, 16 KiB at half), but some for each
 * thread.  With many, a range stays in L2 while all tokens pass over it. */
enum { STREAM_BYTES = 256 << 10, STREAM_MIN = 64 << 10, CACHED_BYTES = 192 << 10 };

static void matmul_split(struct matmul_job *job, int n_thread)
{
    const struct matrix *m = job->part.m;
    const size_t bytes = matrix_bytes(m->dtype, m->n_out, m->n_in);
    const size_t n_tile = (size_t)n_tile_of(m), threads = (size_t)n_thread;
    const size_t n_group = (size_t)count_groups(job->part.a);
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
    struct matmul_job job = {.part = {dst, ld, m, a}, .dot = dot_of(k, m->dtype)};
    matmul_split(&job, pool_threads(pool));
    pool_run(pool, job.n_range * job.n_tok_range, matmul_item, &job);
}

/* Each product is cut into as many ranges of tiles. */
struct many_job {
    const struct matmul_part *parts;
    const struct tensor_kernels *k;
    int n_range;
};

static void many_item(void *ctx, int item, int thread)
{
    const struct many_job *job = ctx;
    const struct matmul_part *p = &job->parts[item / job->n_range];
    const int64_t n_tile = n_tile_of(p->m);
    const int range = item % job->n_range;
    (void)thread;
    if (p->a->n_tok)
        matmul_tiles(p, dot_of(job->k, p->m->dtype), (int)(n_tile * range / job->n_range),
                     (int)(n_tile * (range + 1) / job->n_range), 0, count_groups(p->a));
}

void matmul_many(const struct matmul_part *parts, int n, const struct tensor_kernels *k,
                 struct pool *pool)
{
    size_t most = 0;
    for (int i = 0; i < n; i++) {
        const struct matrix *m = parts[i].m;
        const size_t bytes = matrix_bytes(m->dtype, m->n_out, m->n_in);
        most = bytes > most ? bytes : most;
        assert(m->n_in == parts[i].a->n_in);
    }
    /* Ranges are no shorter than memory likes, but there are some for each thread. */
    const int want = (4 * pool_threads(pool) + n - 1) / (n ? n : 1);
    int n_range = (int)(most / STREAM_BYTES);
    if (n_range < want)
        n_range = most / STREAM_MIN < (size_t)want ? (int)(most / STREAM_MIN) : want;
    struct many_job job = {parts, k, n_range > 1 ? n_range : 1};
    pool_run(pool, n * job.n_range, many_item, &job);
}
