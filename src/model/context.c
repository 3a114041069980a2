/* context.c - memory of a context. */
#include <limits.h>
#include <string.h>

#include "base/mem.h"
#include "model/calibration.h"
#include "model/kv_policy.h"
#include "model/model_impl.h"

enum { BATCH_DEFAULT = 512 };

void *carve_take(struct carve *c, size_t n, size_t size)
{
    uint8_t *p = c->base ? c->base + c->used : NULL;
    c->used += (n * size + 63) / 64 * 64;
    return p;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

/* Lay out the scratch of a step at base, or measure it if base is NULL. */
static size_t carve_scratch(struct context *c, uint8_t *base)
{
    const struct hparams *hp = &c->m->hp;
    const size_t n_tok = (size_t)c->n_batch, n_embd = (size_t)hp->n_embd;
    struct carve v = {base, 0};
    int widest = hp->n_embd;
    for (int i = 0; i < hp->n_layer; i++)
        widest = max_int(widest, max_int(c->m->layers[i].mixer->widest(c->m),
                                         c->m->layers[i].ffn->widest(c->m)));
    c->x = carve_take(&v, n_tok * n_embd, sizeof(float));
    c->norm = carve_take(&v, n_tok * n_embd, sizeof(float));
    c->out = carve_take(&v, n_tok * n_embd, sizeof(float));
    c->logits = carve_take(&v, (size_t)c->n_logits * (size_t)hp->n_vocab, sizeof(float));
    c->step.runs = carve_take(&v, (size_t)c->n_run, sizeof *c->step.runs);
    c->step.tokens = carve_take(&v, n_tok, sizeof *c->step.tokens);
    c->step.pos = carve_take(&v, n_tok, sizeof *c->step.pos);
    c->step.out_row = carve_take(&v, n_tok, sizeof *c->step.out_row);
    c->step.rope[LAYER_FULL] =
        carve_take(&v, n_tok * (size_t)hp->rope.n_rot, sizeof(float));
    if (hp->window)
        c->step.rope[LAYER_WINDOW] =
            carve_take(&v, n_tok * (size_t)hp->rope_window.n_rot, sizeof(float));
    void *act = carve_take(&v, act_bytes(c->n_batch, widest), 1);
    if (base)
        act_init(&c->step.act, act, c->n_batch, widest);
    size_t layer = 0;
    for (int i = 0; i < hp->n_layer; i++) {
        const struct layer *l = &c->m->layers[i];
        layer = max_size(layer, l->mixer->scratch_bytes(c, i));
        layer = max_size(layer, l->ffn->scratch_bytes(c->m, c));
    }
    c->layer_scratch = carve_take(&v, layer, 1);
    return v.used;
}

/* Where each layer's part of a page and of the sequence state is. */
static enum status layout_cache(struct context *c, struct error *err)
{
    size_t page = 0, state = 0;
    for (int i = 0; i < c->m->hp.n_layer; i++) {
        struct state_need need;
        const enum status s =
            c->m->layers[i].mixer->need(&need, c->m, i, &c->layer_kv[i], c->n_ctx, err);
        if (s)
            return s;
        if (c->page_offset) {
            c->page_offset[i] = page;
            c->state_offset[i] = state;
        }
        page += need.token_bytes * KV_PAGE_TOKENS;
        state += (need.seq_bytes + 63) / 64 * 64;
    }
    c->page_bytes = page;
    c->state_bytes = state;
    /* Large states get fewer checkpoints. */
    while (c->n_mark > 2 && state * (size_t)c->n_mark > CONTEXT_MARK_BYTES)
        c->n_mark--;
    return STATUS_OK;
}

/* Everything of *c that follows from the options. */
static enum status context_setup(struct context *c, const struct model *m,
                                 const struct context_options *o, struct error *err)
{
    *c = (struct context){.m = m, .kv = o->kv, .n_ctx = o->n_ctx};
    c->n_seq = o->n_seq ? o->n_seq : 1;
    if (c->n_seq < 1 || c->n_seq > CONTEXT_SEQUENCES_MAX)
        return fail(err, STATUS_BAD_ARG, "%d sequences: a context holds 1 to %d",
                    c->n_seq, CONTEXT_SEQUENCES_MAX);
    const int64_t n_page = (int64_t)c->n_seq * kv_pages_for(o->n_ctx);
    if (!o->n_page && n_page > INT_MAX)
        return fail(err, STATUS_NO_MEMORY, "%d sequences of %d tokens do not fit",
                    c->n_seq, o->n_ctx);
    c->n_page = o->n_page ? o->n_page : (int)n_page;
    c->n_batch = o->n_batch ? o->n_batch : BATCH_DEFAULT;
    if (c->n_batch > (int64_t)c->n_seq * o->n_ctx)
        c->n_batch = c->n_seq * o->n_ctx;
    c->n_logits = o->n_logits ? o->n_logits : c->n_seq;
    c->n_run = c->n_seq < c->n_batch ? c->n_seq : c->n_batch;
    c->n_mark = o->n_mark == -1 ? 0 : o->n_mark ? o->n_mark : 1;
    if (c->n_mark < 0 || c->n_mark > KV_CHECKPOINTS_MAX)
        return fail(err, STATUS_BAD_ARG, "%d checkpoints: a sequence holds 1 to %d",
                    c->n_mark, KV_CHECKPOINTS_MAX);
    return STATUS_OK;
}

struct context_memory context_memory(const struct context *c)
{
    return (struct context_memory){
        .pages = c->page_bytes * (size_t)c->n_page,
        .exact = c->state_bytes * (size_t)c->n_seq,
        .mark = c->state_bytes * (size_t)c->n_seq * (size_t)c->n_mark,
        .scratch = c->scratch_bytes,
        .page_bytes = c->page_bytes,
    };
}

enum status context_plan(struct context_memory *out, const struct model *m,
                         const struct context_options *o, struct error *err)
{
    struct context c;
    struct kv_types layer_kv[HPARAMS_LAYER_MAX];
    enum status s;
    if ((s = context_setup(&c, m, o, err)))
        return s;
    c.layer_kv = layer_kv;
    kv_policy(layer_kv, m, &o->kv);
    if ((s = layout_cache(&c, err)))
        return s;
    c.scratch_bytes = carve_scratch(&c, NULL);
    *out = context_memory(&c);
    return STATUS_OK;
}

/* Everything that opening will touch, before it touches anything. */
static enum status check_memory(const struct context *c, struct error *err)
{
    const struct context_memory m = context_memory(c);
    const double need =
        (double)m.pages + (double)m.exact + (double)m.mark + (double)m.scratch;
    const double available = (double)mem_available();
    if (available <= 0 || need <= available)
        return STATUS_OK;
    const double paged = (double)c->n_page * KV_PAGE_TOKENS;
    const double usable = (double)c->n_seq * c->n_ctx;
    return fail(
        err, STATUS_NO_MEMORY,
        "a context of %.0f tokens needs %.0f MiB (KV cache %.0f, scratch %.0f) but "
        "%.0f MiB are available: use a smaller --ctx or a smaller --kv type",
        paged < usable ? paged : usable, need / 0x1p20,
        (need - (double)m.scratch) / 0x1p20, (double)m.scratch / 0x1p20,
        available / 0x1p20);
}

enum status context_open(struct context **out, const struct model *m,
                         const struct context_options *o, struct error *err)
{
    const size_t n_layer = (size_t)m->hp.n_layer;
    if (model_is_planned(m))
        return fail(err, STATUS_BAD_ARG,
                    "a planned model has no weights: a context of it cannot be opened");
    struct context *c = mem_array(1, sizeof *c);
    if (!c)
        return fail(err, STATUS_NO_MEMORY, "no memory for a context");
    enum status s = context_setup(c, m, o, err);
    if (s)
        goto out;
    c->layer_kv = mem_array(n_layer, sizeof *c->layer_kv);
    c->page_offset = mem_array(n_layer, sizeof *c->page_offset);
    c->state_offset = mem_array(n_layer, sizeof *c->state_offset);
    c->sequences = mem_array((size_t)c->n_seq, sizeof *c->sequences);
    if (!c->layer_kv || !c->page_offset || !c->state_offset || !c->sequences) {
        s = fail(err, STATUS_NO_MEMORY, "no memory for a context");
        goto out;
    }
    kv_policy(c->layer_kv, m, &o->kv);
    if ((s = layout_cache(c, err)))
        goto out;
    if (o->calibration && !o->kv.plain && (s = calibration_apply(c, o->calibration, err)))
        goto out;
    c->scratch_bytes = carve_scratch(c, NULL);
    if ((s = check_memory(c, err)) ||
        (s = kv_pool_open(&c->pool, c->page_bytes, c->n_page, c->state_bytes, c->n_seq,
                          err)))
        goto out;
    const size_t mark_bytes = context_memory(c).mark;
    c->scratch = mem_pages(c->scratch_bytes);
    c->mark_state = mem_pages(mark_bytes ? mark_bytes : 1);
    if (!c->scratch || !c->mark_state) {
        s = fail(err, STATUS_NO_MEMORY, "no memory for %.0f MiB of scratch",
                 (double)(c->scratch_bytes + mark_bytes) / 0x1p20);
        goto out;
    }
    /* Touched now, like the pool. */
    memset(c->scratch, 0, c->scratch_bytes);
    memset(c->mark_state, 0, mark_bytes);
    carve_scratch(c, c->scratch);
    if (!o->n_seq && (s = sequence_open(&c->own, c, c->n_ctx, err)))
        goto out;
    *out = c;
    return STATUS_OK;
out:
    context_close(c);
    return s;
}

void context_close(struct context *c)
{
    if (!c)
        return;
    kv_pool_close(c->pool);
    mem_pages_free(c->scratch, c->scratch_bytes);
    const size_t mark_bytes = context_memory(c).mark;
    mem_pages_free(c->mark_state, mark_bytes ? mark_bytes : 1);
    mem_free(c->sequences);
    mem_free(c->layer_kv);
    mem_free(c->page_offset);
    mem_free(c->state_offset);
    mem_free(c->k_mean);
    mem_free(c->v_mean);
    mem_free(c);
}

struct kv_pool *context_kv(const struct context *c)
{
    return c->pool;
}

size_t context_state_bytes(const struct context *c)
{
    return c->state_bytes;
}

int context_n_ctx(const struct context *c)
{
    return c->n_ctx;
}

int context_n_batch(const struct context *c)
{
    return c->n_batch;
}
