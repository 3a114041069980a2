#include "model/attn_split.h"

/* Items that parts are cut for: enough that threads end together. */
enum { ITEMS_PER_THREAD = 8 };

static int leaves_of(const struct run *r)
{
    return tq_count_leaves(r->pos + 1);
}

int attn_split_parts_max(int n_thread, int n_head_kv, int n_run, int n_ctx)
{
    /* Of a run with n leaves, ceil(n / leaves of a part): see attn_split_init. */
    return tq_count_leaves(n_ctx) > 1 ? ITEMS_PER_THREAD * n_thread + n_run * n_head_kv
                                      : 0;
}

static int count_blocks(const struct attn_split *s, const struct run *r)
{
    return (r->pos + r->n - 1) / s->block - r->pos / s->block + 1;
}

void attn_split_init(struct attn_split *s, int n_thread)
{
    const int64_t want = ITEMS_PER_THREAD * n_thread;
    int64_t n_leaf = 0;
    for (int i = 0; i < s->n_run; i++)
        if (s->runs[i].run->n == 1)
            n_leaf += (int64_t)leaves_of(s->runs[i].run) * s->n_head_kv;
    const int64_t leaves = (n_leaf + want - 1) / want; // of a part, for all heads `want`
    s->n_item = s->n_part = 0;
    for (int i = 0; i < s->n_run; i++) {
        struct attn_run *r = &s->runs[i];
        r->n_block = count_blocks(s, r->run);
        r->n_part = r->run->n > 1 || s->whole
                        ? 1
                        : (int)((leaves_of(r->run) + leaves - 1) / leaves);
        r->item0 = s->n_item;
        r->part0 = s->n_part;
        s->n_item += r->n_block * r->n_part * s->n_head_kv;
        s->n_part += r->n_part > 1 ? r->n_part * s->n_head_kv : 0;
    }
}

static const struct attn_run *find_run(const struct attn_split *s, int item)
{
    int low = 0, high = s->n_run - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (s->runs[middle].item0 <= item)
            low = middle;
        else
            high = middle - 1;
    }
    return &s->runs[low];
}

struct attn_piece attn_split_piece(const struct attn_split *s, int item)
{
    const struct attn_run *r = find_run(s, item);
    const int i = item - r->item0, pos = r->run->pos, n = r->run->n;
    if (r->n_part > 1) {
        const int n_leaf = leaves_of(r->run), part = i % r->n_part;
        return (struct attn_piece){
            .r = r,
            .head = i / r->n_part,
            .n = 1,
            .leaf = (int)((int64_t)n_leaf * part / r->n_part),
            .leaf_end = (int)((int64_t)n_leaf * (part + 1) / r->n_part),
            .part = r->part0 + i,
        };
    }
    /* The last blocks have the most keys: start with them. */
    const int block = pos / s->block + r->n_block - 1 - i / s->n_head_kv;
    int from = block * s->block - pos, end = from + s->block;
    from = from < 0 ? 0 : from;
    end = end > n ? n : end;
    return (struct attn_piece){
        .r = r, .head = i % s->n_head_kv, .from = from, .n = end - from};
}
