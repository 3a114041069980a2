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

enum status sequence_open_empty(struct sequence **out, struct context *c, int n_ctx,
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
    const enum status s = kv_seq_open(&kv, c->pool, err);
    if (s)
        return s;
    struct sequence *seq =
        find_closed(c); // there is one: they are as many as in the pool
    *seq = (struct sequence){.c = c, .kv = kv, .n_ctx = n_ctx};
    const size_t place = (size_t)(seq - c->sequences) * (size_t)c->n_mark;
    kv_checkpoints_init(&seq->marks, c->mark_state + place * c->state_bytes,
                        c->state_bytes, c->n_mark);
    *out = seq;
    return STATUS_OK;
}

enum status sequence_open(struct sequence **out, struct context *c, int n_ctx,
                          struct error *err)
{
    struct sequence *seq;
    enum status s = sequence_open_empty(&seq, c, n_ctx, err);
    if (s)
        return s;
    if ((s = kv_seq_reserve(seq->kv, n_ctx, err)))
        sequence_close(seq);
    else
        *out = seq;
    return s;
}

struct kv_seq *sequence_kv(const struct sequence *s)
{
    return s->kv;
}

void sequence_continue(struct sequence *s, int pos)
{
    s->pos = pos;
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
    s->failed = false;
    kv_checkpoints_cut(&s->marks, -1);
}

void sequence_mark(struct sequence *s)
{
    if (s->c->state_bytes && s->c->n_mark && s->pos && !s->failed)
        kv_checkpoints_take(&s->marks, s->pos, kv_seq_state(s->kv));
}

/* Whether the state that is there serves position n too: the rings still hold the tail of
 * every position in the page of the newest token; a recurrent state is that of the
 * newest. */
static bool state_serves(const struct sequence *s, int n)
{
    if (s->c->state_bytes == 0)
        return true;
    return !s->c->m->recurrent && n > 0 &&
           n / KV_PAGE_TOKENS == (s->pos - 1) / KV_PAGE_TOKENS;
}

int sequence_rewind(struct sequence *s, int n)
{
    if (s->failed) {
        sequence_reset(s);
        return 0;
    }
    if (n >= s->pos)
        return s->pos;
    if (state_serves(s, n)) {
        kv_checkpoints_cut(&s->marks, n);
        s->pos = n;
    } else {
        const int pos = kv_checkpoints_restore(&s->marks, n, kv_seq_state(s->kv));
        s->pos = pos < 0 ? 0 : pos;
    }
    return s->pos;
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
