/* matmul.c - products of matrices and activations, cut into items for the threads. */
#include "tensor/matrix.h"

#include <assert.h>

#include "tensor/kernels.h"
#include "tensor/tile.h"

/* The products of a type. */
struct products {
    dot_fn *dot;
    dot_fn *gemm; // or NULL
};

static struct products products_of(const struct tensor_kernels *k, enum dtype t)
{
    switch (t) {
#define K(name, ret, args)
#define DOT(name, TYPE) \
    case DTYPE_##TYPE:  \
        return (struct products){k->dot_##name, k->gemm_##name};
#include "tensor/kernels.def"
#undef K
    default:
        return (struct products){0};
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
static void multiply_tiles(const struct matmul_part *p, struct products fn, int tile0,
                           int tile1, int group0, int group1)
{
    const struct matrix *m = p->m;
    const size_t tile_bytes = matrix_tile_bytes(m);
    int whole = p->a->n_tok / ACT_GROUP; // groups in front of the last, smaller one
    if (group1 < whole)
        whole = group1;
    if (fn.gemm && whole - group0 >= GEMM_GROUPS) {
        const int tok = group0 * ACT_GROUP, n_tok = (whole - group0) * ACT_GROUP;
        const int row = tile0 * TILE_ROWS, end = tile1 * TILE_ROWS;
        const int n_row = (end < m->n_out ? end : m->n_out) - row;
        float *dst = p->dst + (size_t)tok * p->ld + row;
        fn.gemm(dst, p->ld, n_row, m->tiles + (size_t)tile0 * tile_bytes, p->a, tok,
                n_tok);
        if (m->scaled)
            scale_rows(dst, p->ld, n_row, n_tok, m->scale);
        group0 = whole;
    }
    for (int g = group0; g < group1; g++) {
        const int tok = g * ACT_GROUP, n_tok = act_group(p->a, tok);
        for (int i = tile0; i < tile1; i++) {
            const int row = i * TILE_ROWS;
            const int n_row = m->n_out - row < TILE_ROWS ? m->n_out - row : TILE_ROWS;
            fn.dot(p->dst + (size_t)tok * p->ld + row, p->ld, n_row,
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

static int count_units(const struct matmul_part *p)
{
    return (matrix_tiles(p->m) + p->unit - 1) / p->unit;
}

/* The first tile of a range. */
static int start_of(const struct matmul_part *p, int range)
{
    const int tile = (int)((int64_t)count_units(p) * range / p->n_range) * p->unit;
    return tile < matrix_tiles(p->m) ? tile : matrix_tiles(p->m);
}

/* With few tokens the weights stream from memory once: long contiguous ranges, as
 * measured (256 KiB and more run at full bandwidth, 16 KiB at half), but some for each
 * thread.  With many, a range stays in L2 while all tokens pass over it; processors with
 * tiles have a larger one. */
enum {
    STREAM_BYTES = 256 << 10,
    STREAM_MIN = 64 << 10,
    CACHED_BYTES = 192 << 10,
    CACHED_BYTES_GEMM = 384 << 10
};

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Cut a product into n_range ranges of tiles, of whole steps where gemm is taken,
 * and those into n_tok_range ranges of token groups: `want` items or more, if it is large
 * enough. */
static void cut(struct matmul_part *p, const struct tensor_kernels *k, size_t want,
                size_t n_thread)
{
    const size_t bytes = matrix_bytes(p->m->dtype, p->m->n_out, p->m->n_in);
    const bool gemm = products_of(k, p->m->dtype).gemm && act_has_panels(p->a, k);
    p->unit = gemm ? GEMM_TILES : 1;
    const size_t n_unit = (size_t)count_units(p), n_group = (size_t)count_groups(p->a);
    const bool few = n_group <= 1;
    const size_t cached = gemm ? CACHED_BYTES_GEMM : CACHED_BYTES;
    size_t n = bytes / (few ? STREAM_BYTES : cached);
    if (n < want)
        n = few ? at_most(bytes / STREAM_MIN, want) : want;
    if (n > 1)
        n = (n + n_thread - 1) / n_thread * n_thread;
    n = at_most(n > 0 ? n : 1, n_unit);
    p->n_range = n_group ? (int)n : 0;
    const size_t most = gemm ? n_group / GEMM_GROUPS : n_group;
    p->n_tok_range = few || n == 0 || n >= want ? 1 : (int)at_most(want / n, most);
}

struct matmul_job {
    const struct matmul_part *parts;
    int n;
    const struct tensor_kernels *k;
};

/* The product that the item is of: the last of those that start at it or before. */
static const struct matmul_part *find_part(const struct matmul_job *job, int item)
{
    int lo = 0, hi = job->n;
    while (hi - lo > 1) {
        const int mid = (lo + hi) / 2;
        if (job->parts[mid].first_item <= item)
            lo = mid;
        else
            hi = mid;
    }
    return &job->parts[lo];
}

static void matmul_item(void *ctx, int item, int thread)
{
    const struct matmul_job *job = ctx;
    const struct matmul_part *p = find_part(job, item);
    const int64_t n_group = count_groups(p->a);
    const int in = item - p->first_item;
    const int range = in % p->n_range, tok_range = in / p->n_range;
    (void)thread;
    multiply_tiles(p, products_of(job->k, p->m->dtype), start_of(p, range),
                   start_of(p, range + 1), (int)(n_group * tok_range / p->n_tok_range),
                   (int)(n_group * (tok_range + 1) / p->n_tok_range));
}

void matmul_many(struct matmul_part *parts, int n, const struct tensor_kernels *k,
                 struct pool *pool)
{
    const size_t n_thread = (size_t)pool_threads(pool);
    const size_t want = n ? (4 * n_thread + (size_t)n - 1) / (size_t)n : 0;
    int n_item = 0;
    for (int i = 0; i < n; i++) {
        assert(parts[i].m->n_in == parts[i].a->n_in);
        cut(&parts[i], k, want, n_thread);
        parts[i].first_item = n_item;
        n_item += parts[i].n_range * parts[i].n_tok_range;
    }
    struct matmul_job job = {parts, n, k};
    pool_run(pool, n_item, matmul_item, &job);
}

void matmul(float *dst, size_t ld, const struct matrix *m, const struct act *a,
            const struct tensor_kernels *k, struct pool *pool)
{
    struct matmul_part part = matmul_part(dst, ld, m, a);
    matmul_many(&part, 1, k, pool);
}
