#include "model/attn_cache.h"

#include <string.h>

static size_t exact_bytes(const struct tq_codec *stored, const struct tq_codec *exact)
{
    return tq_type_compressed(stored->type) ? tq_page_bytes(exact->type, exact->d) : 0;
}

static bool init_role(struct tq_codec *stored, struct tq_codec *exact, enum tq_type t,
                      enum tq_role role, int d, enum cpu_isa isa)
{
    const enum tq_type x = tq_type_compressed(t) ? TQ_F16 : t;
    return tq_codec_init(stored, t, role, d, (enum tq_isa)isa) &&
           tq_codec_init(exact, x, role, d, (enum tq_isa)isa);
}

#define WHAT_HELPS "use --kv f16, or PARAMETER kv_cache_type f16 of a Modelfile"

static enum status refuse(struct error *err, const char *what, int d, enum tq_type t)
{
    if (d > TQ_DIM_MAX)
        return fail(err, STATUS_UNSUPPORTED,
                    "%s of head size %d are not supported by this build: at most %d",
                    what, d, TQ_DIM_MAX);
    return fail(err, STATUS_UNSUPPORTED,
                "%s of head size %d cannot be stored as %s: " WHAT_HELPS, what, d,
                tq_type_name(t));
}

/* Bytes of a head in the pool and in the sequence state. */
static void lay_out(struct attn_cache *a, int n_ctx)
{
    const int most = kv_pages_for(n_ctx) - 1; // pages behind the last
    const size_t k = tq_page_bytes(a->k.type, a->k.d);
    const size_t v = a->latent ? 0 : tq_page_bytes(a->v.type, a->v.d);
    a->ring = a->compressed || a->window;
    if (a->window) { // the first of the window is that many pages back, at most
        const int before = kv_pages_for(a->window - 1);
        a->tail_pages = before < most ? before : most;
        a->kx_bytes = k;
        a->vx_bytes = v;
    } else {
        a->tail_pages = a->tail_pages < most ? a->tail_pages : most;
        a->k_bytes = k;
        a->v_bytes = v;
        a->kx_bytes = exact_bytes(&a->k, &a->kx);
        a->vx_bytes = a->latent ? 0 : exact_bytes(&a->v, &a->vx);
        /* The sinks are the start of an exact page: a tile of keys, rows of values. */
        a->sink_k_bytes = a->kx_bytes / KV_PAGE_TOKENS * TQ_TILE_TOKENS;
        a->sink_v_bytes = a->vx_bytes / KV_PAGE_TOKENS * ATTN_SINKS;
    }
    a->head_bytes = a->k_bytes + a->v_bytes;
    if (a->ring)
        a->head_state_bytes = (size_t)(a->tail_pages + 1) * (a->kx_bytes + a->vx_bytes) +
                              a->sink_k_bytes + a->sink_v_bytes;
}

enum status attn_cache_init(struct attn_cache *a, const struct attn_shape *shape,
                            const struct kv_types *types, int n_ctx, enum cpu_isa isa,
                            struct error *err)
{
    *a = (struct attn_cache){
        .n_head = shape->n_head_kv,
        .window = shape->window,
        .latent = shape->latent,
        .tail_pages = types->tail / KV_PAGE_TOKENS,
    };
    if (!init_role(&a->k, &a->kx, types->k, TQ_KEY, shape->d, isa))
        return refuse(err, "keys", shape->d, types->k);
    if (!init_role(&a->v, &a->vx, types->v, TQ_VALUE, shape->d_v, isa))
        return refuse(err, "values", shape->d_v, types->v);
    if (shape->latent && !tq_latent_supported(types->k, shape->d, shape->d_v))
        return fail(
            err, STATUS_UNSUPPORTED,
            "a latent of %d values with keys of %d cannot be stored as %s: " WHAT_HELPS,
            shape->d_v, shape->d, tq_type_name(types->k));
    a->compressed = tq_type_compressed(types->k) || tq_type_compressed(types->v);
    lay_out(a, n_ctx);
    return STATUS_OK;
}

/* The first page that a query in page `own` reads exactly. */
static int first_exact_page(const struct attn_cache *a, int own)
{
    return own > a->tail_pages ? own - a->tail_pages : 0;
}

uint64_t attn_cache_read_bytes(const struct attn_cache *a, int pos)
{
    const uint64_t n_token = (uint64_t)pos + 1, page = a->k_bytes + a->v_bytes;
    if (a->window)
        return (n_token < (uint64_t)a->window ? n_token : (uint64_t)a->window) *
               (a->kx_bytes + a->vx_bytes) / KV_PAGE_TOKENS;
    if (!a->compressed)
        return n_token * page / KV_PAGE_TOKENS;
    const uint64_t stored =
        (uint64_t)first_exact_page(a, pos / KV_PAGE_TOKENS) * KV_PAGE_TOKENS;
    const uint64_t sinks = stored < ATTN_SINKS ? stored : ATTN_SINKS;
    /* A role that is stored exactly has no copies: its pages are read for all tokens. */
    const uint64_t exact = (a->kx_bytes ? a->kx_bytes : a->k_bytes) +
                           (a->vx_bytes ? a->vx_bytes : a->v_bytes);
    return ((stored - sinks) * page + (n_token - stored + sinks) * exact) /
           KV_PAGE_TOKENS;
}

size_t attn_cache_fresh_bytes(const struct attn_cache *a, int n_tok, int n_run)
{
    /* A run of n tokens begins at most (n + 62) / 64 pages: its second token may. */
    const size_t most =
        ((size_t)n_tok + (size_t)n_run * (KV_PAGE_TOKENS - 2)) / KV_PAGE_TOKENS;
    return most * (a->kx_bytes + a->vx_bytes);
}

struct attn_place attn_cache_place(const struct attn_cache *a, const struct context *c,
                                   const struct run *r, int layer, uint8_t **fresh)
{
    const struct attn_place p = {
        .seq = r->seq->kv,
        .page_offset = c->page_offset[layer],
        .state = kv_seq_state(r->seq->kv) + c->state_offset[layer],
        .fresh = *fresh,
        .n_fresh = (r->pos + r->n - 1) / KV_PAGE_TOKENS - r->pos / KV_PAGE_TOKENS,
        .first_page = r->pos / KV_PAGE_TOKENS,
    };
    *fresh += (size_t)p.n_fresh * (size_t)a->n_head * (a->kx_bytes + a->vx_bytes);
    return p;
}

/* Exact copies of a page of one head: keys, then values. */
static uint8_t *exact_copy(const struct attn_cache *a, const struct attn_place *p,
                           int head, int page)
{
    const size_t copy = a->kx_bytes + a->vx_bytes;
    if (page > p->first_page)
        return p->fresh +
               ((size_t)head * (size_t)p->n_fresh + (size_t)(page - p->first_page - 1)) *
                   copy;
    return p->state + (size_t)head * a->head_state_bytes +
           (size_t)(page % (a->tail_pages + 1)) * copy;
}

struct attn_part attn_cache_page(const struct attn_cache *a, const struct attn_place *p,
                                 int head, int page, bool exact)
{
    uint8_t *stored =
        kv_seq_page(p->seq, page) + p->page_offset + (size_t)head * a->head_bytes;
    struct attn_part part = {&a->k, &a->v, stored, stored + a->k_bytes};
    if (a->latent)
        part.v_page = part.k_page;
    if (!exact || !a->ring)
        return part;
    uint8_t *copy = exact_copy(a, p, head, page);
    if (a->kx_bytes) {
        part.k = &a->kx;
        part.k_page = copy;
    }
    if (a->latent && a->kx_bytes) {
        part.v = &a->vx;
        part.v_page = copy;
    }
    if (a->vx_bytes) {
        part.v = &a->vx;
        part.v_page = copy + a->kx_bytes;
    }
    return part;
}

struct attn_part attn_cache_sinks(const struct attn_cache *a, const struct attn_place *p,
                                  int head)
{
    struct attn_part part = attn_cache_page(a, p, head, 0, false);
    uint8_t *sinks = p->state + (size_t)head * a->head_state_bytes +
                     (size_t)(a->tail_pages + 1) * (a->kx_bytes + a->vx_bytes);
    if (a->kx_bytes) {
        part.k = &a->kx;
        part.k_page = sinks;
    }
    if (a->vx_bytes || (a->latent && a->kx_bytes)) {
        part.v = &a->vx;
        part.v_page = sinks + a->sink_k_bytes;
    }
    if (a->latent)
        part.v_page = part.k_page;
    return part;
}

void attn_cache_view(struct tq_cache *out, const struct attn_cache *a,
                     const struct attn_place *p, int head, int own, const void **exact_k,
                     const void **exact_v)
{
    const struct kv_view pages = kv_seq_view(p->seq);
    const size_t at = p->page_offset + (size_t)head * a->head_bytes;
    *out = (struct tq_cache){
        .k = &a->k,
        .v = &a->v,
        .base = pages.base,
        .stride = pages.stride,
        .table = pages.table,
        .k_offset = at,
        .v_offset = a->latent ? at : at + a->k_bytes,
        .window = a->window,
        .latent = a->latent,
    };
    if (!a->ring)
        return;
    out->exact_page = first_exact_page(a, own);
    out->exact_kpages = exact_k;
    out->exact_vpages = exact_v;
    for (int page = out->exact_page; page <= own; page++) {
        const struct attn_part x = attn_cache_page(a, p, head, page, true);
        out->exact_k = x.k;
        out->exact_v = x.v;
        *exact_k++ = x.k_page;
        *exact_v++ = x.v_page;
    }
    if (a->window)
        return;
    const struct attn_part sinks = attn_cache_sinks(a, p, head);
    out->n_sink = ATTN_SINKS;
    out->sink_k = sinks.k_page;
    out->sink_v = sinks.v_page;
}

void attn_cache_put(const struct attn_cache *a, const struct attn_place *p, int head,
                    int pos, const float *k, const float *v)
{
    const int slot = pos % KV_PAGE_TOKENS;
    const struct attn_part part = attn_cache_page(a, p, head, pos / KV_PAGE_TOKENS, true);
    tq_put(part.k, part.k_page, slot, k);
    if (!a->latent)
        tq_put(part.v, part.v_page, slot, v);
    if (pos >= ATTN_SINKS || !a->compressed)
        return;
    const struct attn_part sinks = attn_cache_sinks(a, p, head);
    if (a->kx_bytes)
        tq_put(sinks.k, sinks.k_page, slot, k);
    if (a->vx_bytes)
        tq_put(sinks.v, sinks.v_page, slot, v);
}

int attn_cache_full_pages(const struct attn_place *p, const struct run *r)
{
    return (r->pos + r->n) / KV_PAGE_TOKENS - p->first_page;
}

void attn_cache_encode(const struct attn_cache *a, const struct attn_place *p, int head,
                       int page, void *scratch)
{
    const struct attn_part from = attn_cache_page(a, p, head, page, true);
    const struct attn_part to = attn_cache_page(a, p, head, page, false);
    if (a->kx_bytes)
        tq_encode(to.k, to.k_page, from.k_page, scratch);
    if (a->vx_bytes)
        tq_encode(to.v, to.v_page, from.v_page, scratch);
}

void attn_cache_keep_tail(const struct attn_cache *a, const struct attn_place *p,
                          const struct run *r)
{
    const size_t copy = a->kx_bytes + a->vx_bytes;
    const int last = (r->pos + r->n - 1) / KV_PAGE_TOKENS;
    int page = last - a->tail_pages;
    page = page > p->first_page ? page : p->first_page + 1;
    for (; a->ring && page <= last; page++)
        for (int head = 0; head < a->n_head; head++)
            memcpy(p->state + (size_t)head * a->head_state_bytes +
                       (size_t)(page % (a->tail_pages + 1)) * copy,
                   exact_copy(a, p, head, page), copy);
}
