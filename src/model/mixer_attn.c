/* mixer_attn.c - grouped-query softmax attention over a paged, possibly compressed cache.
 *
 * A query at position p reads token j exactly (f16) iff j < SINKS or
 * page(j) >= page(max(0, p - tail)), else compressed: a pure function of (j, p), so that
 * prefill in any chunks and decode give the same bits.  The codec merges leaves of pages
 * in a tree over their positions, so a sequence may be cut between leaves for threads. */
#include <string.h>

#include "base/mem.h"
#include "model/attn_cache.h"
#include "model/attn_split.h"
#include "model/model_impl.h"
#include "tensor/ops.h"

struct attn_weights {
    struct matrix q, k, v, o;
    float *q_bias, *k_bias, *v_bias, *o_bias; // NULL if the model has none
};

/* ---- weights ---- */

static enum status bind_qkv(struct attn_weights *a, const struct hparams *hp, int layer,
                            struct weights *w, struct error *err)
{
    const int n_q = hp->n_head * hp->head_dim, n_k = hp->n_head_kv * hp->head_dim;
    const int n_v = hp->n_head_kv * hp->head_dim_v, n = hp->n_embd;
    const struct tensor_name fused = tensor_name(layer, "attn_qkv.weight");
    enum status s;
    if (weights_has(w, fused.text)) {
        const int rows = n_q + n_k + n_v;
        if ((s = weights_rows(&a->q, w, fused.text, rows, 0, n_q, n, err)) ||
            (s = weights_rows(&a->k, w, fused.text, rows, n_q, n_k, n, err)))
            return s;
        return weights_rows(&a->v, w, fused.text, rows, n_q + n_k, n_v, n, err);
    }
    if ((s = weights_matrix(&a->q, w, tensor_name(layer, "attn_q.weight").text, n_q, n,
                            err)) ||
        (s = weights_matrix(&a->k, w, tensor_name(layer, "attn_k.weight").text, n_k, n,
                            err)))
        return s;
    return weights_matrix(&a->v, w, tensor_name(layer, "attn_v.weight").text, n_v, n,
                          err);
}

static enum status attn_bind(struct model *m, int layer, struct weights *w,
                             struct error *err)
{
    const struct hparams *hp = &m->hp;
    struct attn_weights *a = mem_array(1, sizeof *a);
    if (!a)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    m->layers[layer].mixer_weights = a;
    enum status s;
    if ((s = bind_qkv(a, hp, layer, w, err)) ||
        (s = weights_matrix(&a->o, w, tensor_name(layer, "attn_output.weight").text,
                            hp->n_embd, hp->n_head * hp->head_dim_v, err)) ||
        (s = weights_vector(&a->q_bias, w, tensor_name(layer, "attn_q.bias").text,
                            hp->n_head * hp->head_dim, true, err)) ||
        (s = weights_vector(&a->k_bias, w, tensor_name(layer, "attn_k.bias").text,
                            hp->n_head_kv * hp->head_dim, true, err)) ||
        (s = weights_vector(&a->v_bias, w, tensor_name(layer, "attn_v.bias").text,
                            hp->n_head_kv * hp->head_dim_v, true, err)) ||
        (s = weights_vector(&a->o_bias, w, tensor_name(layer, "attn_output.bias").text,
                            hp->n_embd, true, err)))
        return s;
    return STATUS_OK;
}

/* ---- memory ---- */

static enum status attn_need(struct state_need *out, const struct model *m, int layer,
                             const struct kv_types *types, struct error *err)
{
    (void)layer;
    struct attn_cache cache;
    const enum status s = attn_cache_init(&cache, m, types, err);
    if (s)
        return s;
    out->token_bytes = (size_t)m->hp.n_head_kv * cache.head_bytes / KV_PAGE_TOKENS;
    out->seq_bytes = (size_t)m->hp.n_head_kv * cache.head_state_bytes;
    return STATUS_OK;
}

static void attn_work(struct token_work *sum, const struct model *m, int layer,
                      const struct kv_types *types, int pos)
{
    const struct hparams *hp = &m->hp;
    const struct attn_weights *a = m->layers[layer].mixer_weights;
    struct attn_cache cache;
    work_add_matrix(sum, &a->q);
    work_add_matrix(sum, &a->k);
    work_add_matrix(sum, &a->v);
    work_add_matrix(sum, &a->o);
    /* Each query head meets the key and the value of every token up to its own. */
    sum->macs += ((uint64_t)pos + 1) * (uint64_t)hp->n_head *
                 (uint64_t)(hp->head_dim + hp->head_dim_v);
    if (!attn_cache_init(&cache, m, types, NULL))
        sum->cache_bytes += (uint64_t)hp->n_head_kv * attn_cache_read_bytes(&cache, pos);
}

/* Most query rows in one call of the codec: bounds the scratch of a thread, while a page
 * is still expanded for many rows at once. */
enum { QUERY_ROWS = 128 };

static int block_tokens(const struct hparams *hp)
{
    const int group = hp->n_head / hp->n_head_kv;
    int n = KV_PAGE_TOKENS;
    while (n > 1 && n * group > QUERY_ROWS)
        n /= 2;
    return n;
}

struct thread_scratch {
    void *query;
    void *attention, *encode;
    float *rows;                     // [rows][head_dim_v]
    int32_t *seen;                   // [rows], tokens that each query row sees
    const void **exact_k, **exact_v; // [tail_pages + 1]
};

/* The scratch of one layer at work. */
struct attn_scratch {
    float *q, *k, *v;          // [n_tok][heads][head_dim]
    float *q_heads;            // [n_head_kv][n_tok][group][head_dim]
    float *mixed;              // [n_tok][n_head][head_dim_v]
    uint8_t *fresh;            // exact pages behind the first page of each run
    struct attn_run *runs;     // [n_run]
    void *part;                // [n_part] memory of trees of `group` rows
    struct tq_tree *part_tree; // [n_part]
    size_t part_bytes;
    struct thread_scratch *thread;
};

static size_t carve_attn(struct attn_scratch *a, uint8_t *base, const struct context *c,
                         const struct attn_cache *cache)
{
    const struct hparams *hp = &c->m->hp;
    const size_t n_tok = (size_t)c->n_batch, d = (size_t)hp->head_dim;
    const size_t dv = (size_t)hp->head_dim_v, n_head = (size_t)hp->n_head;
    const size_t n_kv = (size_t)hp->n_head_kv, group = n_head / n_kv;
    const size_t rows = group * (size_t)block_tokens(hp);
    const int n_thread = pool_threads(c->m->pool);
    const size_t n_part =
        (size_t)attn_split_parts_max(n_thread, hp->n_head_kv, c->n_run, c->n_ctx);
    const size_t n_exact = (size_t)cache->tail_pages + 1;
    const int d_max = hp->head_dim > hp->head_dim_v ? hp->head_dim : hp->head_dim_v;
    struct carve v = {base, 0};
    a->q = carve_take(&v, n_tok * n_head * d, sizeof(float));
    a->k = carve_take(&v, n_tok * n_kv * d, sizeof(float));
    a->v = carve_take(&v, n_tok * n_kv * dv, sizeof(float));
    a->q_heads = carve_take(&v, n_tok * n_head * d, sizeof(float));
    a->mixed = carve_take(&v, n_tok * n_head * dv, sizeof(float));
    a->fresh = carve_take(&v, attn_cache_fresh_bytes(cache, c->n_batch, c->n_run), n_kv);
    a->runs = carve_take(&v, (size_t)c->n_run, sizeof *a->runs);
    a->part_bytes =
        tq_tree_bytes((int)group, hp->head_dim_v, 1, tq_count_leaves(c->n_ctx));
    a->part = carve_take(&v, n_part, a->part_bytes);
    a->part_tree = carve_take(&v, n_part, sizeof *a->part_tree);
    a->thread = carve_take(&v, (size_t)n_thread, sizeof *a->thread);
    for (int t = 0; t < n_thread; t++) {
        struct thread_scratch ts;
        ts.query = carve_take(&v, tq_query_bytes(hp->head_dim, (int)rows), 1);
        ts.attention =
            carve_take(&v, tq_attention_scratch_bytes(d_max, (int)rows, c->n_ctx), 1);
        ts.encode = carve_take(&v, tq_encode_scratch_bytes(d_max), 1);
        ts.rows = carve_take(&v, rows * dv, sizeof(float));
        ts.seen = carve_take(&v, rows, sizeof *ts.seen);
        ts.exact_k = carve_take(&v, n_exact, sizeof *ts.exact_k);
        ts.exact_v = carve_take(&v, n_exact, sizeof *ts.exact_v);
        if (base)
            a->thread[t] = ts;
    }
    return v.used;
}

static size_t attn_scratch_bytes(const struct model *m, const struct context *c)
{
    struct attn_cache cache;
    struct attn_scratch a;
    if (attn_cache_init(&cache, m, &c->kv, NULL))
        return 0; // `need` has refused it already
    return carve_attn(&a, NULL, c, &cache);
}

/* ---- one step ---- */

struct attn_job {
    struct context *c;
    const struct step *s;
    const struct attn_weights *w;
    struct attn_cache cache;
    struct attn_scratch a;
    struct attn_split split;
    int layer;
    int item_tokens; // of prepare_item
};

static void add_bias(float *x, const float *bias, size_t n)
{
    if (bias)
        op_add(x, bias, n);
}

static void rope_heads(const struct attn_job *j, float *x, int n_head, const float *cs)
{
    const struct hparams *hp = &j->c->m->hp;
    const int n_pair = hp->rope.n_rot / 2;
    for (int h = 0; h < n_head; h++, x += hp->head_dim)
        if (hp->rope.pairing == ROPE_NEOX)
            op_rope_neox(x, cs, n_pair);
        else
            op_rope_norm(x, cs, n_pair);
}

/* The means that the cache leaves out, of one layer from kv head `head` on.  There are no
 * scales, so queries stay as they are. */
static struct tq_affine layer_means(const struct attn_job *j, enum tq_role role, int head)
{
    const struct hparams *hp = &j->c->m->hp;
    const float *means = role == TQ_KEY ? j->c->k_mean : j->c->v_mean;
    const int d = role == TQ_KEY ? hp->head_dim : hp->head_dim_v;
    const size_t row = (size_t)j->layer * (size_t)hp->n_head_kv + (size_t)head;
    return (struct tq_affine){.mean = means ? means + row * (size_t)d : NULL};
}

/* Bias, RoPE, rotation and mean removal of one token's rows; its query rows go to
 * q_heads. */
static void prepare_token(const struct attn_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    const struct attn_scratch *a = &j->a;
    const size_t d = (size_t)hp->head_dim, n_tok = (size_t)j->s->n_tok;
    const size_t n_q = (size_t)hp->n_head * d, n_k = (size_t)hp->n_head_kv * d;
    const size_t n_v = (size_t)hp->n_head_kv * (size_t)hp->head_dim_v;
    float *q = a->q + (size_t)i * n_q, *k = a->k + (size_t)i * n_k,
          *v = a->v + (size_t)i * n_v;
    const float *cs = j->s->rope + (size_t)i * (size_t)hp->rope.n_rot;
    add_bias(q, j->w->q_bias, n_q);
    add_bias(k, j->w->k_bias, n_k);
    add_bias(v, j->w->v_bias, n_v);
    rope_heads(j, q, hp->n_head, cs);
    rope_heads(j, k, hp->n_head_kv, cs);
    if (tq_type_compressed(j->cache.k.type)) {
        tq_rotate(&j->cache.k, q, hp->n_head);
        tq_rotate(&j->cache.k, k, hp->n_head_kv);
    }
    if (tq_type_compressed(j->cache.v.type))
        tq_rotate(&j->cache.v, v, hp->n_head_kv);
    const struct tq_affine k_all = layer_means(j, TQ_KEY, 0),
                           v_all = layer_means(j, TQ_VALUE, 0);
    tq_affine_rows(&k_all, k, 1, (int)n_k); // all heads as one long row
    tq_affine_rows(&v_all, v, 1, (int)n_v);
    const size_t group_bytes = n_q / (size_t)hp->n_head_kv * sizeof(float);
    for (int h = 0; h < hp->n_head_kv; h++)
        memcpy((uint8_t *)a->q_heads + ((size_t)h * n_tok + (size_t)i) * group_bytes,
               (uint8_t *)q + (size_t)h * group_bytes, group_bytes);
}

static void prepare_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct attn_job *j = ctx;
    const int end = (item + 1) * j->item_tokens;
    for (int i = item * j->item_tokens; i < end && i < j->s->n_tok; i++)
        prepare_token(j, i);
}

static void prepare_tokens(struct attn_job *j)
{
    enum { TOKENS_PER_ITEM = 8 };
    const struct model *m = j->c->m;
    const int n = j->s->n_tok, share = n / pool_threads(m->pool);
    j->item_tokens = share < 1 ? 1 : share < TOKENS_PER_ITEM ? share : TOKENS_PER_ITEM;
    pool_run(m->pool, (n + j->item_tokens - 1) / j->item_tokens, prepare_item, j);
}

/* Store the keys and values of one head. */
static void store_item(void *ctx, int head, int thread)
{
    (void)thread;
    const struct attn_job *j = ctx;
    const struct hparams *hp = &j->c->m->hp;
    const size_t d = (size_t)hp->head_dim, dv = (size_t)hp->head_dim_v;
    const size_t n_kv = (size_t)hp->n_head_kv;
    for (int i = 0; i < j->split.n_run; i++) {
        const struct attn_run *r = &j->split.runs[i];
        for (int t = 0; t < r->run->n; t++) {
            const size_t row = (size_t)(r->run->row + t) * n_kv + (size_t)head;
            attn_cache_put(&j->cache, &r->place, head, r->run->pos + t, j->a.k + row * d,
                           j->a.v + row * dv);
        }
    }
}

static void store_tokens(struct attn_job *j)
{
    enum { FEW_TOKENS = 4 }; // take less time than waking threads
    const struct model *m = j->c->m;
    if (j->s->n_tok > FEW_TOKENS)
        pool_run(m->pool, m->hp.n_head_kv, store_item, j);
    else
        for (int h = 0; h < m->hp.n_head_kv; h++)
            store_item(j, h, 0);
}

struct encode_job {
    const struct attn_job *j;
    const struct attn_run *r;
};

/* Encode one full page of one head. */
static void encode_item(void *ctx, int item, int thread)
{
    const struct encode_job *e = ctx;
    const struct attn_job *j = e->j;
    const int n_kv = j->c->m->hp.n_head_kv;
    attn_cache_encode(&j->cache, &e->r->place, item % n_kv,
                      e->r->place.first_page + item / n_kv, j->a.thread[thread].encode);
}

static void encode_pages(const struct attn_job *j)
{
    for (int i = 0; j->cache.compressed && i < j->split.n_run; i++) {
        struct encode_job e = {j, &j->split.runs[i]};
        const int n = attn_cache_full_pages(&e.r->place, e.r->run);
        pool_run(j->c->m->pool, n * j->c->m->hp.n_head_kv, encode_item, &e);
    }
}

static void load_query(const struct attn_job *j, struct tq_query *q,
                       const struct thread_scratch *ts, int head, int row, int n)
{
    const struct hparams *hp = &j->c->m->hp;
    const int group = hp->n_head / hp->n_head_kv;
    const size_t d = (size_t)hp->head_dim;
    const size_t at =
        ((size_t)head * (size_t)j->s->n_tok + (size_t)row) * (size_t)group * d;
    tq_query_init(q, ts->query, hp->head_dim, group * j->split.block);
    tq_query_load(&j->cache.k, q, j->a.q_heads + at, d, n * group, hp->attn_scale);
}

/* mixed rows of n tokens of one kv head <- ts->rows, what attention gave. */
static void finish_block(const struct attn_job *j, const struct thread_scratch *ts,
                         int head, int row, int n)
{
    const struct hparams *hp = &j->c->m->hp;
    const size_t group = (size_t)(hp->n_head / hp->n_head_kv),
                 dv = (size_t)hp->head_dim_v;
    const struct tq_affine means = layer_means(j, TQ_VALUE, head);
    tq_affine_output(&means, ts->rows, n * (int)group, hp->head_dim_v);
    if (tq_type_compressed(j->cache.v.type))
        tq_unrotate(&j->cache.v, ts->rows, n * (int)group);
    for (int i = 0; i < n; i++)
        memcpy(j->a.mixed +
                   ((size_t)(row + i) * (size_t)hp->n_head + (size_t)head * group) * dv,
               ts->rows + (size_t)i * group * dv, group * dv * sizeof(float));
}

static void cache_view(struct tq_cache *out, const struct attn_job *j,
                       const struct thread_scratch *ts, const struct attn_run *r,
                       int head, int pos)
{
    attn_cache_view(out, &j->cache, &r->place, head, pos / KV_PAGE_TOKENS, ts->exact_k,
                    ts->exact_v);
}

/* One (query block, kv head). */
static void attend_block(const struct attn_job *j, const struct attn_piece *p,
                         struct thread_scratch *ts)
{
    const struct hparams *hp = &j->c->m->hp;
    const int row = p->r->run->row + p->from, pos = p->r->run->pos + p->from;
    const int group = hp->n_head / hp->n_head_kv;
    struct tq_query q;
    struct tq_cache cache;
    load_query(j, &q, ts, p->head, row, p->n);
    cache_view(&cache, j, ts, p->r, p->head, pos);
    for (int i = 0; i < q.n; i++)
        ts->seen[i] = pos + i / group + 1;
    tq_attention_prefill(&cache, ts->rows, (size_t)hp->head_dim_v, NULL, &q, ts->seen,
                         ts->attention);
    finish_block(j, ts, p->head, row, p->n);
}

/* One part of the leaves of one kv head, for a single token. */
static void attend_part(const struct attn_job *j, const struct attn_piece *p,
                        struct thread_scratch *ts)
{
    const struct run *r = p->r->run;
    const int n_token = r->pos + 1;
    struct tq_tree *t = &j->a.part_tree[p->part];
    struct tq_query q;
    struct tq_cache cache;
    load_query(j, &q, ts, p->head, r->row, 1);
    cache_view(&cache, j, ts, p->r, p->head, r->pos);
    tq_tree_init(t, (uint8_t *)j->a.part + (size_t)p->part * j->a.part_bytes, q.n,
                 j->c->m->hp.head_dim_v, p->leaf, tq_count_leaves(n_token));
    tq_attend_leaves(t, &cache, &q, n_token, NULL, p->leaf_end, ts->attention);
}

static void attend_item(void *ctx, int item, int thread)
{
    const struct attn_job *j = ctx;
    const struct attn_piece p = attn_split_piece(&j->split, item);
    if (p.r->n_part > 1)
        attend_part(j, &p, &j->a.thread[thread]);
    else
        attend_block(j, &p, &j->a.thread[thread]);
}

/* The parts of one (run, kv head). */
static void merge_item(void *ctx, int item, int thread)
{
    const struct attn_job *j = ctx;
    const struct hparams *hp = &j->c->m->hp;
    const struct attn_run *r = &j->split.runs[item / hp->n_head_kv];
    struct thread_scratch *ts = &j->a.thread[thread];
    const int head = item % hp->n_head_kv;
    if (r->n_part == 1)
        return;
    struct tq_tree *t = &j->a.part_tree[r->part0 + head * r->n_part];
    for (int i = 1; i < r->n_part; i++)
        tq_tree_append(t, t + i);
    tq_tree_finish(t, ts->rows, (size_t)hp->head_dim_v, NULL);
    finish_block(j, ts, head, r->run->row, 1);
}

static void attend_runs(struct attn_job *j)
{
    const struct model *m = j->c->m;
    pool_run(m->pool, j->split.n_item, attend_item, j);
    if (j->split.n_part)
        pool_run(m->pool, j->split.n_run * m->hp.n_head_kv, merge_item, j);
    for (int i = 0; i < j->split.n_run; i++) {
        const struct attn_run *r = &j->split.runs[i];
        attn_cache_keep_tail(&j->cache, &r->place, r->run, m->hp.n_head_kv);
    }
}

static void split_step(struct attn_job *j)
{
    const struct model *m = j->c->m;
    uint8_t *fresh = j->a.fresh;
    j->split = (struct attn_split){
        .runs = j->a.runs,
        .n_run = j->s->n_run,
        .n_head_kv = m->hp.n_head_kv,
        .block = block_tokens(&m->hp),
    };
    for (int i = 0; i < j->split.n_run; i++) {
        const struct run *r = &j->s->runs[i];
        j->a.runs[i] = (struct attn_run){
            .run = r,
            .place = attn_cache_place(&j->cache, j->c, r, j->layer, &fresh),
        };
    }
    attn_split_init(&j->split, pool_threads(m->pool));
}

static void attn_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct hparams *hp = &m->hp;
    struct attn_job j = {
        .c = c, .s = s, .w = m->layers[layer].mixer_weights, .layer = layer};
    if (attn_cache_init(&j.cache, m, &c->kv, NULL))
        return; // cannot be: `need` accepted these types at open
    carve_attn(&j.a, c->layer_scratch, c, &j.cache);
    split_step(&j);

    matmul(j.a.q, (size_t)(hp->n_head * hp->head_dim), &j.w->q, &s->act, m->kernels,
           m->pool);
    matmul(j.a.k, (size_t)(hp->n_head_kv * hp->head_dim), &j.w->k, &s->act, m->kernels,
           m->pool);
    matmul(j.a.v, (size_t)(hp->n_head_kv * hp->head_dim_v), &j.w->v, &s->act, m->kernels,
           m->pool);
    prepare_tokens(&j);
    store_tokens(&j);
    encode_pages(&j);
    attend_runs(&j);

    act_load(&s->act, m->kernels, m->pool, j.a.mixed, s->n_tok,
             hp->n_head * hp->head_dim_v);
    matmul(out, (size_t)hp->n_embd, &j.w->o, &s->act, m->kernels, m->pool);
    for (int i = 0; j.w->o_bias && i < s->n_tok; i++)
        op_add(out + (size_t)i * (size_t)hp->n_embd, j.w->o_bias, (size_t)hp->n_embd);
}

const struct mixer mixer_attn = {
    .name = "attention",
    .bind = attn_bind,
    .need = attn_need,
    .scratch_bytes = attn_scratch_bytes,
    .work = attn_work,
    .forward = attn_forward,
};
