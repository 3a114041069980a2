/* sequence.c - sequences of a context: their places, pages and marks. */
#include <string.h>

#include "model/model_impl.h"

static struct sequence *find_closed(const struct context *c)
{
    for (int i = 0; i < c->n_seq; i++)
        if (!c->sequences[i].c)
            return &c->sequences[i];
    return NULL;
}

enum status sequence_open(struct sequence **out, struct context *c, int n_ctx,
                          struct error *err)
{
    if (n_ctx < 1)
        return fail(err, STATUS_BAD_ARG, "a sequence of %d tokens", n_ctx);
    if (n_ctx > c->n_ctx || kv_pages_for(n_ctx) > c->n_page)
        return fail(err, STATUS_LIMIT,
                    "a sequence of %d tokens needs %d KV pages, but the context holds %d "
                    "tokens each and %d pages in all: use a larger --ctx",
                    n_ctx, kv_pages_for(n_ctx), c->n_ctx, c->n_page);
    struct kv_seq *kv;
    enum status s;
    if ((s = kv_seq_open(&kv, c->pool, err)))
        return s;
    if ((s = kv_seq_reserve(kv, n_ctx, err))) {
        kv_seq_close(kv);
        return s;
    }
    struct sequence *seq =
        find_closed(c); // there is one: they are as many as in the pool
    *seq = (struct sequence){
        .c = c,
        .kv = kv,
        .n_ctx = n_ctx,
        .mark = -1,
        .mark_state = c->mark_state + (size_t)(seq - c->sequences) * c->state_bytes,
    };
    *out = seq;
    return STATUS_OK;
}

void sequence_close(struct sequence *s)
{
    if (!s)
        return;
    kv_seq_close(s->kv);
    s->c = NULL;
}

int sequence_n_ctx(const struct sequence *s)
{
    return s->n_ctx;
}

int sequence_pos(const struct sequence *s)
{
    return s->pos;
}

void sequence_reset(struct sequence *s)
{
    s->pos = 0;
    s->mark = -1;
    s->failed = false;
}

void sequence_mark(struct sequence *s)
{
    memcpy(s->mark_state, kv_seq_state(s->kv), s->c->state_bytes);
    s->mark = s->pos;
}

int sequence_rewind(struct sequence *s, int n)
{
    const bool exact = s->c->state_bytes == 0;
    if (s->failed) {
        sequence_reset(s);
        return 0;
    }
    if (n >= s->pos)
        return s->pos;
    /* The ring still holds the tail of every position in the page of the newest token. */
    const bool same_page = n > 0 && n / KV_PAGE_TOKENS == (s->pos - 1) / KV_PAGE_TOKENS;
    if (!exact && !same_page) {
        if (s->mark < 0 || s->mark > n) {
            sequence_reset(s);
            return 0;
        }
        memcpy(kv_seq_state(s->kv), s->mark_state, s->c->state_bytes);
        n = s->mark;
    }
    s->pos = n;
    if (s->mark > n)
        s->mark = -1;
    return n;
}

/* ---- the sequence of a context with one ---- */

int context_pos(const struct context *c)
{
    return sequence_pos(c->own);
}

void context_reset(struct context *c)
{
    sequence_reset(c->own);
}

void context_mark(struct context *c)
{
    sequence_mark(c->own);
}

int context_rewind(struct context *c, int n)
{
    return sequence_rewind(c->own, n);
}
