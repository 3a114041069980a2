#include "tensor/matrix.h"

#include <assert.h>
#include <string.h>

#include "tensor/tile.h"

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
    return (m->n_out + TILE_ROWS - 1) / TILE_ROWS;
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
    pool_run(pool, matrix_tiles(m), pack_item, &job);
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
