/* attn_core.c - softmax attention over a paged, possibly compressed cache.
 *
 * A query at position p reads token j exactly (f16) iff j < SINKS or
 * page(j) >= page(max(0, p - tail)), else compressed: a pure function of (j, p), so that
 * prefill in any chunks and decode give the same bits.  The codec merges leaves of pages
 * in a tree over their positions, so a sequence may be cut between leaves for threads. */
#include "model/attn_core.h"

#include <math.h>
#include <string.h>

/* ---- memory ---- */

enum status attn_core_need(struct state_need *out, const struct model *m,
                           const struct attn_shape *shape, const struct kv_types *types,
                           int n_ctx, struct error *err)
{
    struct attn_cache cache;
    const enum status s = attn_cache_init(&cache, shape, types, n_ctx, m->isa, err);
    if (s)
        return s;
    out->token_bytes = (size_t)shape->n_head_kv * cache.head_bytes / KV_PAGE_TOKENS;
    out->seq_bytes = (size_t)shape->n_head_kv * cache.head_state_bytes;
    return STATUS_OK;
}

void attn_core_work(struct token_work *sum, const struct model *m,
                    const struct attn_shape *shape, const struct kv_types *types, int pos)
{
    struct attn_cache cache;
    const int n_seen = shape->window && pos >= shape->window ? shape->window : pos + 1;
    /* Each query head meets the key and the value of every token that it sees. */
    sum->macs +=
        (uint64_t)n_seen * (uint64_t)shape->n_head * (uint64_t)(shape->d + shape->d_v);
    if (!attn_cache_init(&cache, shape, types, pos + 1, m->isa, NULL))
        sum->cache_bytes +=
            (uint64_t)shape->n_head_kv * attn_cache_read_bytes(&cache, pos);
}

/* Most query rows in one call of the codec: bounds the scratch of a thread, while a page
 * is still expanded for many rows at once. */
enum { QUERY_ROWS = 128 };

static int group_of(const struct attn_shape *shape)
{
    return shape->n_head / shape->n_head_kv;
}

static int block_tokens(const struct attn_shape *shape)
{
    int n = KV_PAGE_TOKENS;
    while (n > 1 && n * group_of(shape) > QUERY_ROWS)
        n /= 2;
    return n;
}

struct attn_thread {
    void *query;
    void *attention, *encode;
    float *rows;                     // [rows][d_v]
    float *lse;                      // [rows]
    float *shift;                    // [rows], what means take from scores
    int32_t *seen;                   // [rows], tokens that each query row sees
    const void **exact_k, **exact_v; // [tail_pages + 1]
};

static size_t carve_core(struct attn_core *a, uint8_t *base, const struct context *c,
                         const struct attn_shape *shape, const struct attn_cache *cache)
{
    const size_t n_tok = (size_t)c->n_batch, d = (size_t)shape->d;
    const size_t dv = (size_t)shape->d_v, n_head = (size_t)shape->n_head;
    const size_t n_kv = (size_t)shape->n_head_kv, group = n_head / n_kv;
    const size_t rows = group * (size_t)block_tokens(shape);
    const int n_thread = pool_threads(c->m->pool);
    const size_t n_part =
        (size_t)attn_split_parts_max(n_thread, shape->n_head_kv, c->n_run, c->n_ctx);
    const size_t n_exact = (size_t)cache->tail_pages + 1;
    const int d_max = shape->d > shape->d_v ? shape->d : shape->d_v;
    struct carve v = {base, 0};
    a->q = carve_take(&v, n_tok * n_head * d, sizeof(float));
    a->k = carve_take(&v, n_tok * n_kv * d, sizeof(float));
    a->v = carve_take(&v, shape->latent ? 0 : n_tok * n_kv * dv, sizeof(float));
    a->q_heads = carve_take(&v, n_tok * n_head * d, sizeof(float));
    a->mixed = carve_take(&v, n_tok * n_head * dv, sizeof(float));
    a->fresh = carve_take(&v, attn_cache_fresh_bytes(cache, c->n_batch, c->n_run), n_kv);
    a->runs = carve_take(&v, (size_t)c->n_run, sizeof *a->runs);
    a->part_bytes = tq_tree_bytes((int)group, shape->d_v, 1, tq_count_leaves(c->n_ctx));
    a->part = carve_take(&v, n_part, a->part_bytes);
    a->part_tree = carve_take(&v, n_part, sizeof *a->part_tree);
    a->thread = carve_take(&v, (size_t)n_thread, sizeof *a->thread);
    for (int t = 0; t < n_thread; t++) {
        struct attn_thread ts;
        ts.query = carve_take(&v, tq_query_bytes(shape->d, (int)rows), 1);
        ts.attention =
            carve_take(&v, tq_attention_scratch_bytes(d_max, (int)rows, c->n_ctx), 1);
        ts.encode = carve_take(&v, tq_encode_scratch_bytes(d_max), 1);
        ts.rows = carve_take(&v, rows * dv, sizeof(float));
        ts.lse = carve_take(&v, rows, sizeof(float));
        ts.shift = carve_take(&v, rows, sizeof(float));
        ts.seen = carve_take(&v, rows, sizeof *ts.seen);
        ts.exact_k = carve_take(&v, n_exact, sizeof *ts.exact_k);
        ts.exact_v = carve_take(&v, n_exact, sizeof *ts.exact_v);
        if (base)
            a->thread[t] = ts;
    }
    return v.used;
}

size_t attn_core_bytes(const struct context *c, const struct attn_shape *shape,
                       const struct kv_types *types)
{
    struct attn_cache cache;
    struct attn_core a;
    if (attn_cache_init(&cache, shape, types, c->n_ctx, c->m->isa, NULL))
        return 0; // `need` has refused it already
    return carve_core(&a, NULL, c, shape, &cache);
}

/* Means of a layer, which only layers in pages have. */
static const float *means_of(const float *all, const struct attn_shape *shape, int layer,
                             int d)
{
    return all && !shape->window && !shape->latent
               ? all + (size_t)layer * (size_t)shape->n_head_kv * (size_t)d
               : NULL;
}

void attn_core_open(struct attn_core *a, struct context *c, const struct step *s,
                    int layer, const struct attn_shape *shape, void *mem)
{
    *a = (struct attn_core){.c = c, .s = s, .shape = *shape, .layer = layer};
    if (attn_cache_init(&a->cache, shape, &c->layer_kv[layer], c->n_ctx, c->m->isa, NULL))
        return; // cannot be: `need` accepted these types at open
    carve_core(a, mem, c, shape, &a->cache);
    a->k_mean = means_of(c->k_mean, shape, layer, shape->d);
    a->v_mean = means_of(c->v_mean, shape, layer, shape->d_v);
    uint8_t *fresh = a->fresh;
    a->split = (struct attn_split){
        .runs = a->runs,
        .n_run = s->n_run,
        .n_head_kv = shape->n_head_kv,
        .block = block_tokens(shape),
        .whole = shape->window > 0,
    };
    for (int i = 0; i < s->n_run; i++)
        a->runs[i] = (struct attn_run){
            .run = &s->runs[i],
            .place = attn_cache_place(&a->cache, c, &s->runs[i], layer, &fresh),
        };
    attn_split_init(&a->split, pool_threads(c->m->pool));
}

/* ---- rows ---- */

/* The means that the cache leaves out, from kv head `head` on.  There are no scales, so
 * queries stay as they are. */
static struct tq_affine means_from(const float *means, int head, int d)
{
    return (struct tq_affine){.mean = means ? means + head * d : NULL};
}

void attn_core_put(const struct attn_core *a, int i)
{
    const struct attn_shape *shape = &a->shape;
    const size_t n_tok = (size_t)a->s->n_tok, d = (size_t)shape->d;
    const size_t n_q = (size_t)shape->n_head * d, n_k = (size_t)shape->n_head_kv * d;
    const size_t n_v = (size_t)shape->n_head_kv * (size_t)shape->d_v;
    float *q = a->q + (size_t)i * n_q, *k = a->k + (size_t)i * n_k;
    if (tq_type_compressed(a->cache.k.type)) {
        tq_rotate(&a->cache.k, q, shape->n_head);
        tq_rotate(&a->cache.k, k, shape->n_head_kv);
    }
    const struct tq_affine k_all = means_from(a->k_mean, 0, 0),
                           v_all = means_from(a->v_mean, 0, 0);
    tq_affine_rows(&k_all, k, 1, (int)n_k); // all heads as one long row
    if (!shape->latent) {
        float *v = a->v + (size_t)i * n_v;
        if (tq_type_compressed(a->cache.v.type))
            tq_rotate(&a->cache.v, v, shape->n_head_kv);
        tq_affine_rows(&v_all, v, 1, (int)n_v);
    }
    const size_t group_bytes = (size_t)group_of(shape) * d * sizeof(float);
    for (int h = 0; h < shape->n_head_kv; h++)
        memcpy((uint8_t *)a->q_heads + ((size_t)h * n_tok + (size_t)i) * group_bytes,
               (uint8_t *)q + (size_t)h * group_bytes, group_bytes);
}

struct rows_item {
    void (*row)(void *ctx, int i);
    void *ctx;
    int n, item_rows;
};

static void run_rows_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct rows_item *j = ctx;
    const int end = (item + 1) * j->item_rows;
    for (int i = item * j->item_rows; i < end && i < j->n; i++)
        j->row(j->ctx, i);
}

void attn_core_rows(const struct attn_core *a, void (*row)(void *ctx, int i), void *ctx)
{
    enum { ROWS_PER_ITEM = 8 };
    struct pool *pool = a->c->m->pool;
    const int n = a->s->n_tok, share = n / pool_threads(pool);
    struct rows_item j = {row, ctx, n, share < 1 ? 1 : share};
    if (j.item_rows > ROWS_PER_ITEM)
        j.item_rows = ROWS_PER_ITEM;
    pool_run(pool, (n + j.item_rows - 1) / j.item_rows, run_rows_item, &j);
}

/* ---- the cache ---- */

/* Store the keys and values of one head. */
static void store_item(void *ctx, int head, int thread)
{
    (void)thread;
    const struct attn_core *a = ctx;
    const struct attn_shape *shape = &a->shape;
    const size_t d = (size_t)shape->d, dv = (size_t)shape->d_v;
    const size_t n_kv = (size_t)shape->n_head_kv;
    for (int i = 0; i < a->split.n_run; i++) {
        const struct attn_run *r = &a->split.runs[i];
        for (int t = 0; t < r->run->n; t++) {
            const size_t row = (size_t)(r->run->row + t) * n_kv + (size_t)head;
            attn_cache_put(&a->cache, &r->place, head, r->run->pos + t, a->k + row * d,
                           shape->latent ? NULL : a->v + row * dv);
        }
    }
}

static void store_tokens(struct attn_core *a)
{
    enum { FEW_TOKENS = 4 }; // take less time than waking threads
    const struct model *m = a->c->m;
    if (a->s->n_tok > FEW_TOKENS)
        pool_run(m->pool, a->shape.n_head_kv, store_item, a);
    else
        for (int h = 0; h < a->shape.n_head_kv; h++)
            store_item(a, h, 0);
}

struct encode_job {
    const struct attn_core *a;
    const struct attn_run *r;
};

/* Encode one full page of one head. */
static void encode_item(void *ctx, int item, int thread)
{
    const struct encode_job *e = ctx;
    const struct attn_core *a = e->a;
    const int n_kv = a->shape.n_head_kv;
    attn_cache_encode(&a->cache, &e->r->place, item % n_kv,
                      e->r->place.first_page + item / n_kv, a->thread[thread].encode);
}

static void encode_pages(const struct attn_core *a)
{
    for (int i = 0; a->cache.compressed && i < a->split.n_run; i++) {
        struct encode_job e = {a, &a->split.runs[i]};
        const int n = attn_cache_full_pages(&e.r->place, e.r->run);
        pool_run(a->c->m->pool, n * a->shape.n_head_kv, encode_item, &e);
    }
}

/* Query rows of one kv head from that of token `row` on. */
static const float *queries_of(const struct attn_core *a, int head, int row)
{
    return a->q_heads + ((size_t)head * (size_t)a->s->n_tok + (size_t)row) *
                            (size_t)(group_of(&a->shape) * a->shape.d);
}

/* What the cache's means take from the scores of n tokens, where it matters. */
static void load_shifts(const struct attn_core *a, const struct attn_thread *ts, int head,
                        int row, int n)
{
    const struct attn_shape *shape = &a->shape;
    const struct tq_affine means = means_from(a->k_mean, head, shape->d);
    const float *x = queries_of(a, head, row);
    if (!a->sinks && shape->softcap <= 0)
        return;
    for (int i = 0; i < n * group_of(shape); i++, x += shape->d)
        ts->shift[i] = shape->scale * tq_affine_shift(&means, x, shape->d);
}

static void load_query(const struct attn_core *a, struct tq_query *q,
                       const struct attn_thread *ts, int head, int row, int n)
{
    const struct attn_shape *shape = &a->shape;
    const int group = group_of(shape);
    tq_query_init(q, ts->query, shape->d, group * a->split.block);
    tq_query_load(&a->cache.k, q, queries_of(a, head, row), (size_t)shape->d, n * group,
                  shape->scale);
    load_shifts(a, ts, head, row, n);
}

/* What is left for values when a sink takes weight too: rows of n tokens shrink. */
static void apply_sinks(const struct attn_core *a, const struct attn_thread *ts, int head,
                        int n)
{
    const struct attn_shape *shape = &a->shape;
    const int group = group_of(shape);
    for (int i = 0; i < n * group; i++) {
        /* Scores are less by the means, unless they were capped. */
        const float lse = ts->lse[i] + (shape->softcap > 0 ? 0.0f : ts->shift[i]);
        const float left = 1.0f / (1.0f + expf(a->sinks[head * group + i % group] - lse));
        float *out = ts->rows + (size_t)i * (size_t)shape->d_v;
        for (int k = 0; k < shape->d_v; k++)
            out[k] *= left;
    }
}

/* mixed rows of n tokens of one kv head <- ts->rows, what attention gave. */
static void finish_block(const struct attn_core *a, const struct attn_thread *ts,
                         int head, int row, int n)
{
    const struct attn_shape *shape = &a->shape;
    const size_t group = (size_t)group_of(shape), dv = (size_t)shape->d_v;
    const struct tq_affine means = means_from(a->v_mean, head, shape->d_v);
    tq_affine_output(&means, ts->rows, n * (int)group, shape->d_v);
    if (a->sinks)
        apply_sinks(a, ts, head, n);
    if (tq_type_compressed(a->cache.v.type))
        tq_unrotate(&a->cache.v, ts->rows, n * (int)group);
    for (int i = 0; i < n; i++)
        memcpy(a->mixed +
                   ((size_t)(row + i) * (size_t)shape->n_head + (size_t)head * group) *
                       dv,
               ts->rows + (size_t)i * group * dv, group * dv * sizeof(float));
}

static void cache_view(struct tq_cache *out, const struct attn_core *a,
                       const struct attn_thread *ts, const struct attn_run *r, int head,
                       int pos)
{
    attn_cache_view(out, &a->cache, &r->place, head, pos / KV_PAGE_TOKENS, ts->exact_k,
                    ts->exact_v);
    out->softcap = a->shape.softcap;
    out->shift = ts->shift;
}

/* One (query block, kv head). */
static void attend_block(const struct attn_core *a, const struct attn_piece *p,
                         struct attn_thread *ts)
{
    const struct attn_shape *shape = &a->shape;
    const int row = p->r->run->row + p->from, pos = p->r->run->pos + p->from;
    const int group = group_of(shape);
    struct tq_query q;
    struct tq_cache cache;
    load_query(a, &q, ts, p->head, row, p->n);
    cache_view(&cache, a, ts, p->r, p->head, pos);
    for (int i = 0; i < q.n; i++)
        ts->seen[i] = pos + i / group + 1;
    tq_attention_prefill(&cache, ts->rows, (size_t)shape->d_v, ts->lse, &q, ts->seen,
                         ts->attention);
    finish_block(a, ts, p->head, row, p->n);
}

/* One part of the leaves of one kv head, for a single token. */
static void attend_part(const struct attn_core *a, const struct attn_piece *p,
                        struct attn_thread *ts)
{
    const struct run *r = p->r->run;
    const int n_token = r->pos + 1;
    struct tq_tree *t = &a->part_tree[p->part];
    struct tq_query q;
    struct tq_cache cache;
    load_query(a, &q, ts, p->head, r->row, 1);
    cache_view(&cache, a, ts, p->r, p->head, r->pos);
    tq_tree_init(t, (uint8_t *)a->part + (size_t)p->part * a->part_bytes, q.n,
                 a->shape.d_v, p->leaf, tq_count_leaves(n_token));
    tq_attend_leaves(t, &cache, &q, n_token, NULL, p->leaf_end, ts->attention);
}

static void attend_item(void *ctx, int item, int thread)
{
    const struct attn_core *a = ctx;
    const struct attn_piece p = attn_split_piece(&a->split, item);
    if (p.r->n_part > 1)
        attend_part(a, &p, &a->thread[thread]);
    else
        attend_block(a, &p, &a->thread[thread]);
}

/* The parts of one (run, kv head). */
static void merge_item(void *ctx, int item, int thread)
{
    const struct attn_core *a = ctx;
    const struct attn_shape *shape = &a->shape;
    const struct attn_run *r = &a->split.runs[item / shape->n_head_kv];
    struct attn_thread *ts = &a->thread[thread];
    const int head = item % shape->n_head_kv;
    if (r->n_part == 1)
        return;
    struct tq_tree *t = &a->part_tree[r->part0 + head * r->n_part];
    for (int i = 1; i < r->n_part; i++)
        tq_tree_append(t, t + i);
    tq_tree_finish(t, ts->rows, (size_t)shape->d_v, ts->lse);
    load_shifts(a, ts, head, r->run->row, 1);
    finish_block(a, ts, head, r->run->row, 1);
}

void attn_core_run(struct attn_core *a)
{
    struct pool *pool = a->c->m->pool;
    const int n_kv = a->shape.n_head_kv;
    store_tokens(a);
    encode_pages(a);
    pool_run(pool, a->split.n_item, attend_item, a);
    if (a->split.n_part)
        pool_run(pool, a->split.n_run * n_kv, merge_item, a);
    for (int i = 0; i < a->split.n_run; i++) {
        const struct attn_run *r = &a->split.runs[i];
        attn_cache_keep_tail(&a->cache, &r->place, r->run);
    }
}
