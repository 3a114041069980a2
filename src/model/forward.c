/* forward.c - the transformer loop: x += mixer(norm x); x += ffn(norm x); logits. */
#include <math.h>

#include "model/model_impl.h"
#include "tensor/ops.h"

enum { ROWS_PER_ITEM = 16 };

/* Work over rows of the step, a few rows an item. */
struct rows_job {
    const struct context *c;
    int n_tok;
    const int32_t *from; // rows of `in` to read; NULL: 0, 1, 2, ...
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
    const size_t n = (size_t)m->hp.n_embd;
    float *x = j->out + (size_t)i * n;
    matrix_row(&m->token_embd, x, j->c->step.tokens[i]);
    for (size_t k = 0; m->hp.embd_scale != 1.0f && k < n; k++)
        x[k] *= m->hp.embd_scale;
}

/* The frequencies that a context of this size uses for a kind of layer. */
static const struct rope *rope_of(const struct context *c, enum layer_kind kind)
{
    const struct model *m = c->m;
    if (kind == LAYER_WINDOW)
        return &m->rope_window;
    return m->rope_long.freq && c->n_ctx > m->hp.rope.n_ctx_orig ? &m->rope_long
                                                                 : &m->rope;
}

static void rope_row(const struct rows_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    const struct step *s = &j->c->step;
    const int n_pair[] = {hp->rope.n_rot / 2, hp->rope_window.n_rot / 2};
    for (int kind = LAYER_FULL; kind <= LAYER_WINDOW; kind++) {
        const struct rope *r = rope_of(j->c, (enum layer_kind)kind);
        if (s->rope[kind])
            op_rope_table(s->rope[kind] + (size_t)i * 2 * (size_t)n_pair[kind], r->freq,
                          n_pair[kind], s->pos[i], r->mscale);
    }
}

static void norm_row(const struct rows_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    const size_t n = (size_t)hp->n_embd, from = j->from ? (size_t)j->from[i] : (size_t)i;
    op_rms_norm(j->c->m->kernels, j->out + (size_t)i * n, j->in + from * n, j->weight,
                hp->n_embd, hp->rms_eps);
}

static void add_row(const struct rows_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    const size_t n = (size_t)hp->n_embd, at = (size_t)i * n;
    float *in = j->c->out + at;
    if (j->weight)
        op_rms_norm(j->c->m->kernels, in, in, j->weight, hp->n_embd, hp->rms_eps);
    op_add(j->out + at, in, n);
}

/* s->act <- norm(x) of n rows. */
static void load_normed(struct context *c, const float *weight, const int32_t *from,
                        int n)
{
    struct rows_job norm = {.c = c,
                            .n_tok = n,
                            .from = from,
                            .in = c->x,
                            .weight = weight,
                            .out = c->norm,
                            .row = norm_row};
    run_rows(&norm);
    act_load(&c->step.act, c->m->kernels, c->m->pool, c->norm, n, c->m->hp.n_embd);
}

void forward_layers(struct context *c)
{
    const struct model *m = c->m;
    struct step *s = &c->step;
    struct rows_job embed = {.c = c, .n_tok = s->n_tok, .out = c->x, .row = embed_row};
    struct rows_job rope = {.c = c, .n_tok = s->n_tok, .row = rope_row};
    struct rows_job add = {.c = c, .n_tok = s->n_tok, .out = c->x, .row = add_row};
    run_rows(&embed);
    run_rows(&rope);
    for (int i = 0; i < m->hp.n_layer; i++) {
        const struct layer *l = &m->layers[i];
        load_normed(c, l->attn_norm, NULL, s->n_tok);
        l->mixer->forward(c, s, i, c->out);
        add.weight = l->post_attn_norm;
        run_rows(&add);
        load_normed(c, l->ffn_norm, NULL, s->n_tok);
        l->ffn->forward(c, s, i, c->out);
        add.weight = l->post_ffn_norm;
        run_rows(&add);
    }
}

/* logit <- cap tanh(logit / cap) */
static void cap_row(const struct rows_job *j, int i)
{
    const struct hparams *hp = &j->c->m->hp;
    float *x = j->out + (size_t)i * (size_t)hp->n_vocab;
    for (int k = 0; k < hp->n_vocab; k++)
        x[k] = hp->logit_softcap * tanhf(x[k] / hp->logit_softcap);
}

void forward_hidden(const struct context *c, float *hidden, int row, int n)
{
    struct rows_job norm = {.c = c,
                            .n_tok = n,
                            .in = c->x + (size_t)row * (size_t)c->m->hp.n_embd,
                            .weight = c->m->output_norm,
                            .out = hidden,
                            .row = norm_row};
    run_rows(&norm);
}

void forward_output(struct context *c, float *logits)
{
    const struct model *m = c->m;
    load_normed(c, m->output_norm, c->step.out_row, c->step.n_out);
    matmul(logits, (size_t)m->hp.n_vocab, &m->output, &c->step.act, m->kernels, m->pool);
    struct rows_job cap = {.c = c, .n_tok = c->step.n_out, .out = logits, .row = cap_row};
    if (m->hp.logit_softcap > 0)
        run_rows(&cap);
}
