/* forward.c - the transformer loop: x += mixer(norm x); x += ffn(norm x); logits. */
#include <math.h>
#include <string.h>

#include "model/model_impl.h"
#include "tensor/ops.h"

enum { ROWS_PER_ITEM = 16 };

/* Work over rows of the step, a few rows an item. */
struct rows_job {
    const struct context *c;
    int n_tok;
    const int32_t *tokens;
    const float *in, *weight;
    float *out;
    void (*row)(const struct rows_job *j, int i);
};

static void rows_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct rows_job *j = ctx;
    const int end = (item + 1) * ROWS_PER_ITEM;
    for (int i = item * ROWS_PER_ITEM; i < end && i < j->n_tok; i++)
        j->row(j, i);
}

static void run_rows(struct rows_job *j)
{
    pool_run(j->c->m->pool, (j->n_tok + ROWS_PER_ITEM - 1) / ROWS_PER_ITEM, rows_item, j);
}

static void embed_row(const struct rows_job *j, int i)
{
    const struct model *m = j->c->m;
    matrix_row(&m->token_embd, j->out + (size_t)i * (size_t)m->hp.n_embd, j->tokens[i]);
}

static void rope_row(const struct rows_job *j, int i)
{
    const struct model *m = j->c->m;
    const int n_pair = m->hp.rope.n_rot / 2;
    op_rope_table(j->out + (size_t)i * 2 * (size_t)n_pair, m->rope_freq, n_pair,
                  j->c->step.run.pos + i, m->rope_mscale);
}

static void norm_row(const struct rows_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    const size_t at = (size_t)i * (size_t)hp->n_embd;
    op_rms_norm(j->c->m->kernels, j->out + at, j->in + at, j->weight, hp->n_embd,
                hp->rms_eps);
}

static void add_row(const struct rows_job *j, int i)
{
    const size_t n = (size_t)j->c->m->hp.n_embd, at = (size_t)i * n;
    op_add(j->out + at, j->in + at, n);
}

/* s->act <- norm(x), rows [row, row + n). */
static void load_normed(struct context *c, const float *weight, int row, int n)
{
    const size_t at = (size_t)row * (size_t)c->m->hp.n_embd;
    struct rows_job norm = {.c = c,
                            .n_tok = n,
                            .in = c->x + at,
                            .weight = weight,
                            .out = c->norm,
                            .row = norm_row};
    run_rows(&norm);
    act_load(&c->step.act, c->m->kernels, c->m->pool, c->norm, n, c->m->hp.n_embd);
}

static void run_layers(struct context *c, const int32_t *tokens)
{
    const struct model *m = c->m;
    struct step *s = &c->step;
    struct rows_job embed = {
        .c = c, .n_tok = s->n_tok, .tokens = tokens, .out = c->x, .row = embed_row};
    struct rows_job rope = {.c = c, .n_tok = s->n_tok, .out = s->rope, .row = rope_row};
    struct rows_job add = {
        .c = c, .n_tok = s->n_tok, .in = c->out, .out = c->x, .row = add_row};
    run_rows(&embed);
    run_rows(&rope);
    for (int i = 0; i < m->hp.n_layer; i++) {
        const struct layer *l = &m->layers[i];
        load_normed(c, l->attn_norm, 0, s->n_tok);
        l->mixer->forward(c, s, i, c->out);
        run_rows(&add);
        load_normed(c, l->ffn_norm, 0, s->n_tok);
        l->ffn->forward(c, s, i, c->out);
        run_rows(&add);
    }
}

static bool all_finite(const float *x, size_t n)
{
    /* A sum of |x| * 0 is 0, unless one of them is not finite. */
    float zero = 0;
    for (size_t i = 0; i < n; i++)
        zero += x[i] * 0.0f;
    return zero == 0.0f;
}

static enum status check_finite(const struct context *c, const float *x, size_t n,
                                struct error *err)
{
    if (all_finite(x, n))
        return STATUS_OK;
    return fail(err, STATUS_NUMERIC,
                "the model computed a value that is not finite at positions %d to %d: "
                "its weights may be damaged",
                c->pos, c->pos + c->step.n_tok - 1);
}

/* Logits of the last n rows of the step go to rows [row, row + n) of c->logits. */
static enum status run_output(struct context *c, int n, int row, struct error *err)
{
    const struct model *m = c->m;
    const size_t n_vocab = (size_t)m->hp.n_vocab;
    float *logits = c->logits + (size_t)row * n_vocab;
    load_normed(c, m->output_norm, c->step.n_tok - n, n);
    matmul(logits, n_vocab, &m->output, &c->step.act, m->kernels, m->pool);
    return check_finite(c, logits, (size_t)n * n_vocab, err);
}

static enum status check_tokens(const struct context *c, const int32_t *tokens, int n,
                                int n_logits, struct error *err)
{
    if (n < 1 || n_logits < 0 || n_logits > n || n_logits > c->n_logits)
        return fail(err, STATUS_BAD_ARG, "%d tokens with %d rows of logits", n, n_logits);
    if (n > c->n_ctx - c->pos)
        return fail(
            err, STATUS_BAD_ARG,
            "%d tokens do not fit behind the %d of a context of %d: use a larger --ctx",
            n, c->pos, c->n_ctx);
    for (int i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= c->m->hp.n_vocab)
            return fail(err, STATUS_BAD_ARG,
                        "token %d: id %d is not in the vocabulary of %d", i, tokens[i],
                        c->m->hp.n_vocab);
    return STATUS_OK;
}

enum status context_eval(struct context *c, const int32_t *tokens, int n, int n_logits,
                         const float **logits, struct error *err)
{
    enum status s;
    if ((s = check_tokens(c, tokens, n, n_logits, err)) ||
        (s = kv_seq_reserve(c->seq, c->pos + n, err)))
        return s;
    for (int done = 0; done < n;) {
        const int n_tok = n - done < c->n_batch ? n - done : c->n_batch;
        c->step.n_tok = n_tok;
        c->step.run = (struct run){.seq = c->seq, .pos = c->pos, .n = n_tok};
        run_layers(c, tokens + done);
        if ((s = check_finite(c, c->x, (size_t)n_tok * (size_t)c->m->hp.n_embd, err)))
            return s;
        /* Rows of this step that are among the last n_logits of the call. */
        const int skip = n - n_logits - done;
        const int rows = skip <= 0 ? n_tok : n_tok - skip;
        if (rows > 0 &&
            (s = run_output(c, rows, done + n_tok - rows - (n - n_logits), err)))
            return s;
        c->pos += n_tok;
        done += n_tok;
    }
    if (logits)
        *logits = c->logits;
    return STATUS_OK;
}
