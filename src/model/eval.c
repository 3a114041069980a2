/* eval.c - from runs of tokens to steps, and from steps to logits. */
#include "model/model_impl.h"

static enum status check_run(const struct context *c, const struct batch_run *r,
                             struct error *err)
{
    const struct sequence *seq = r->seq;
    if (!seq || seq->c != c)
        return fail(err, STATUS_BAD_ARG, "the sequence is not open in this context");
    if (seq->failed)
        return fail(err, STATUS_BAD_ARG,
                    "the sequence had a value that is not finite: it must be reset");
    if (r->n < 1 || r->n_logits < 0 || r->n_logits > r->n || r->n_logits > c->n_logits)
        return fail(err, STATUS_BAD_ARG, "%d tokens with %d rows of logits", r->n,
                    r->n_logits);
    if (r->n > seq->n_ctx - seq->pos)
        return fail(
            err, STATUS_BAD_ARG,
            "%d tokens do not fit behind the %d of a context of %d: use a larger --ctx",
            r->n, seq->pos, seq->n_ctx);
    if (kv_pages_for(seq->pos + r->n) > kv_seq_pages(seq->kv))
        return fail(err, STATUS_FULL, "%d tokens behind %d, but pages for %d", r->n,
                    seq->pos, kv_seq_pages(seq->kv) * KV_PAGE_TOKENS);
    for (int i = 0; i < r->n; i++)
        if (r->tokens[i] < 0 || r->tokens[i] >= c->m->hp.n_vocab)
            return fail(err, STATUS_BAD_ARG,
                        "token %d: id %d is not in the vocabulary of %d", i, r->tokens[i],
                        c->m->hp.n_vocab);
    return STATUS_OK;
}

static void add_run(struct step *s, struct batch_run *r)
{
    const struct run run = {.caller = r,
                            .seq = r->seq,
                            .pos = r->seq->pos,
                            .n = r->n,
                            .row = s->n_tok,
                            .out = s->n_out};
    for (int i = 0; i < r->n; i++) {
        s->tokens[s->n_tok] = r->tokens[i];
        s->pos[s->n_tok++] = run.pos + i;
    }
    for (int i = 0; i < r->n_logits; i++)
        s->out_row[s->n_out++] = s->n_tok - r->n_logits + i;
    s->runs[s->n_run++] = run;
}

/* Items of work are taken in the order of runs, so the large ones come first. */
static void load_step(struct step *s, struct batch_run *runs, int n_run)
{
    s->n_tok = s->n_run = s->n_out = 0;
    for (int i = 0; i < n_run; i++)
        if (runs[i].n > 1)
            add_run(s, &runs[i]);
    for (int i = 0; i < n_run; i++)
        if (runs[i].n == 1)
            add_run(s, &runs[i]);
}

static bool all_finite(const float *x, size_t n)
{
    /* A sum of |x| * 0 is 0, unless one of them is not finite. */
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero += x[i] * 0.0f;
    return zero == 0.0f;
}

/* Rows of a step do not meet those of other sequences: what is not finite stays in its
 * own. */
static enum status finish_run(const struct context *c, const struct run *r,
                              const float *logits, struct error *err)
{
    const size_t n_embd = (size_t)c->m->hp.n_embd, n_vocab = (size_t)c->m->hp.n_vocab;
    struct batch_run *caller = r->caller;
    const float *x = c->x + (size_t)r->row * n_embd;
    const float *out = logits + (size_t)r->out * n_vocab;
    if (!all_finite(x, (size_t)r->n * n_embd) ||
        !all_finite(out, (size_t)caller->n_logits * n_vocab)) {
        r->seq->failed = true;
        caller->status = STATUS_NUMERIC;
        return fail(err, STATUS_NUMERIC,
                    "the model computed a value that is not finite at positions %d to "
                    "%d: its weights may be damaged",
                    r->pos, r->pos + r->n - 1);
    }
    if (caller->hidden)
        forward_hidden(c, caller->hidden, r->row, r->n);
    r->seq->pos += r->n;
    caller->logits = caller->n_logits ? out : NULL;
    return STATUS_OK;
}

/* One step of runs that were checked; its logits are the rows of c->logits from row0. */
static enum status eval_step(struct context *c, struct batch_run *runs, int n_run,
                             int row0, struct error *err)
{
    const struct step *step = &c->step;
    float *logits = c->logits + (size_t)row0 * (size_t)c->m->hp.n_vocab;
    enum status first = STATUS_OK;
    load_step(&c->step, runs, n_run);
    forward_layers(c);
    if (step->n_out)
        forward_output(c, logits);
    for (int i = 0; i < step->n_run; i++) {
        const enum status s = finish_run(c, &step->runs[i], logits, first ? NULL : err);
        if (!first)
            first = s;
    }
    return first;
}

static enum status check_twice(const struct batch_run *runs, int i, struct error *err)
{
    for (int j = 0; j < i; j++)
        if (runs[j].seq == runs[i].seq)
            return fail(err, STATUS_BAD_ARG,
                        "runs %d and %d of a step are of the same sequence", j, i);
    return STATUS_OK;
}

enum status context_eval_batch(struct context *c, struct batch_run *runs, int n_run,
                               struct error *err)
{
    int64_t n_tok = 0, n_logits = 0;
    for (int i = 0; i < n_run; i++) {
        runs[i].status = STATUS_OK;
        runs[i].logits = NULL;
    }
    for (int i = 0; i < n_run; i++) {
        if ((runs[i].status = check_run(c, &runs[i], err)) ||
            (runs[i].status = check_twice(runs, i, err)))
            return runs[i].status;
        n_tok += runs[i].n;
        n_logits += runs[i].n_logits;
    }
    if (n_tok < 1 || n_tok > c->n_batch || n_logits > c->n_logits)
        return fail(err, STATUS_BAD_ARG,
                    "a step of %.0f tokens with %.0f rows of logits: at least 1 and at "
                    "most %d tokens and %d rows",
                    (double)n_tok, (double)n_logits, c->n_batch, c->n_logits);
    return eval_step(c, runs, n_run, 0, err);
}

enum status context_eval(struct context *c, const int32_t *tokens, int n, int n_logits,
                         const float **logits, struct error *err)
{
    const struct batch_run all = {
        .seq = c->own, .tokens = tokens, .n = n, .n_logits = n_logits};
    enum status s = check_run(c, &all, err);
    for (int done = 0; !s && done < n;) {
        const int n_tok = n - done < c->n_batch ? n - done : c->n_batch;
        /* Rows of this step that are among the last n_logits of the call. */
        const int skip = n - n_logits - done;
        const int rows = skip <= 0 ? n_tok : skip < n_tok ? n_tok - skip : 0;
        const int row0 = done + n_tok - rows - (n - n_logits);
        struct batch_run run = {
            .seq = c->own, .tokens = tokens + done, .n = n_tok, .n_logits = rows};
        s = eval_step(c, &run, 1, rows ? row0 : 0, err);
        done += n_tok;
    }
    if (!s && logits)
        *logits = c->logits;
    return s;
}
