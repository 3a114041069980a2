#include "model/weights_pack.h"

#include <limits.h>

#include <xxhash.h>

#include "base/mem.h"

/* Two threads that meet in a new huge page both clear one, and one is thrown away. */
enum { HUGE_PAGE_BYTES = 2 << 20 };

/* The first tile behind `tile` that begins in another huge page. */
static int next_cut(const struct matrix *m, int tile, int n_tile)
{
    const size_t bytes = matrix_tile_bytes(m);
    const uintptr_t at = (uintptr_t)m->tiles + (size_t)tile * bytes;
    const size_t left = HUGE_PAGE_BYTES - at % HUGE_PAGE_BYTES;
    const size_t n = (left + bytes - 1) / bytes;
    return n < (size_t)(n_tile - tile) ? tile + (int)n : n_tile;
}

static bool push_item(struct pack_list *l, const struct pack_item *item)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? 2 * l->cap : 256;
        struct pack_item *more = mem_resize(l->items, cap, sizeof *more);
        if (!more)
            return false;
        l->items = more;
        l->cap = cap;
    }
    l->items[l->n++] = *item;
    return true;
}

bool pack_add(struct pack_list *l, const struct matrix *m, const uint8_t *src, int tensor,
              int tensor_row)
{
    const int n_tile = matrix_tiles(m);
    struct pack_item item = {
        .m = *m, .src = src, .tensor = tensor, .tensor_row = tensor_row};
    for (; item.tile0 < n_tile; item.tile0 = item.tile1) {
        item.tile1 = next_cut(m, item.tile0, n_tile);
        if (l->n == INT_MAX || !push_item(l, &item))
            return false;
    }
    return true;
}

struct pack_job {
    struct pack_item *items;
    const struct gguf *g;
};

static void run_item(void *ctx, int i, int thread)
{
    const struct pack_job *job = ctx;
    struct pack_item *item = &job->items[i];
    const size_t tile_bytes = matrix_tile_bytes(&item->m);
    const size_t row_bytes = tile_bytes / MATRIX_TILE_ROWS;
    const size_t all = row_bytes * (size_t)item->m.n_out;
    const size_t from = (size_t)item->tile0 * tile_bytes;
    size_t to = (size_t)item->tile1 * tile_bytes;
    to = to < all ? to : all; // rows behind the last are not in the file
    (void)thread;
    for (int tile = item->tile0; tile < item->tile1; tile++) {
        const size_t at = (size_t)tile * tile_bytes;
        const uint64_t row =
            (uint64_t)item->tensor_row + (uint64_t)tile * MATRIX_TILE_ROWS;
        item->hash_sum += XXH3_64bits_withSeed(
            item->src + at, to - at < tile_bytes ? to - at : tile_bytes, row);
        matrix_pack_tile(&item->m, item->src, tile);
    }
    gguf_drop(job->g, item->src + from, to - from);
}

void pack_run(struct pack_list *l, uint64_t *hash, const struct gguf *g,
              struct pool *pool)
{
    struct pack_job job = {l->items, g};
    pool_run(pool, (int)l->n, run_item, &job);
    for (size_t i = 0; i < l->n; i++)
        hash[l->items[i].tensor] += l->items[i].hash_sum;
}

void pack_release(struct pack_list *l)
{
    mem_free(l->items);
    *l = (struct pack_list){0};
}
