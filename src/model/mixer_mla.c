/* mixer_mla.c - multi-head latent attention without positions.
 *
 * A token is cached once for all heads: a normed latent and a few values behind it.  The
 * projections of keys and values are absorbed into queries and outputs, so that the heads
 * attend to the latent itself, which is key and, without its tail, value.
 * Source: DeepSeek-V2, arXiv 2405.04434; without positions: Kimi Linear, arXiv
 * 2510.26692. */
#include <string.h>

#include "base/mem.h"
#include "model/attn_core.h"
#include "model/model_impl.h"
#include "tensor/ops.h"

struct mla_weights {
    struct matrix q;          // [n_head][d_k]
    struct matrix kv_a;       // latent, tail
    float *norm;              // [rank]
    struct matrix *k_b, *v_b; // [n_head], [rank][d_nope] and [d_v][rank] each
    struct matrix out;
};

static int nope_width(const struct hparams *hp)
{
    return hp->mla.d_k - hp->mla.d_rope;
}

static struct attn_shape mla_shape(const struct model *m)
{
    const struct hparams *hp = &m->hp;
    return (struct attn_shape){
        .n_head = hp->n_head,
        .n_head_kv = 1,
        .d = hp->mla.rank + hp->mla.d_rope,
        .d_v = hp->mla.rank,
        .scale = hp->attn_scale,
        .latent = true,
    };
}

/* ---- weights ---- */

static enum status mla_bind(struct model *m, int layer, struct weights *w,
                            struct error *err)
{
    const struct hparams *hp = &m->hp;
    const struct mla_params *l = &hp->mla;
    const int n = hp->n_embd, n_head = hp->n_head, nope = nope_width(hp);
    const struct tensor_name joint = tensor_name(layer, "attn_kv_b.weight");
    struct mla_weights *a = mem_array(1, sizeof *a);
    m->layers[layer].mixer_weights = a;
    if (a)
        a->k_b = mem_array(2 * (size_t)n_head, sizeof *a->k_b);
    if (!a || !a->k_b)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    a->v_b = a->k_b + n_head;
    if (weights_has(w, joint.text))
        return fail(err, STATUS_UNSUPPORTED,
                    "%s: a file with keys and values of the latent in one tensor is not "
                    "supported; newer converters write attn_k_b and attn_v_b",
                    joint.text);
    enum status s;
    if ((s = weights_matrix(&a->q, w, tensor_name(layer, "attn_q.weight").text,
                            n_head * l->d_k, n, err)) ||
        (s = weights_matrix(&a->kv_a, w, tensor_name(layer, "attn_kv_a_mqa.weight").text,
                            l->rank + l->d_rope, n, err)) ||
        (s = weights_vector(&a->norm, w, tensor_name(layer, "attn_kv_a_norm.weight").text,
                            l->rank, false, err)) ||
        (s = weights_experts(a->k_b, w, tensor_name(layer, "attn_k_b.weight").text,
                             n_head, l->rank, 0, l->rank, nope, err)) ||
        (s = weights_experts(a->v_b, w, tensor_name(layer, "attn_v_b.weight").text,
                             n_head, l->d_v, 0, l->d_v, l->rank, err)))
        return s;
    return weights_matrix(&a->out, w, tensor_name(layer, "attn_output.weight").text, n,
                          n_head * l->d_v, err);
}

static void mla_release(void *weights)
{
    struct mla_weights *a = weights;
    if (a)
        mem_free(a->k_b);
    mem_free(a);
}

/* ---- memory and work ---- */

static enum kv_store mla_store(const struct model *m, int layer)
{
    (void)m, (void)layer;
    return KV_LATENT;
}

static enum status mla_need(struct state_need *out, const struct model *m, int layer,
                            const struct kv_types *types, int n_ctx, struct error *err)
{
    (void)layer;
    const struct attn_shape shape = mla_shape(m);
    return attn_core_need(out, m, &shape, types, n_ctx, err);
}

static void mla_work(struct token_work *sum, const struct model *m, int layer,
                     const struct kv_types *types, int pos)
{
    const struct mla_weights *a = m->layers[layer].mixer_weights;
    const struct attn_shape shape = mla_shape(m);
    work_add_matrix(sum, &a->q);
    work_add_matrix(sum, &a->kv_a);
    work_add_matrix(sum, &a->out);
    for (int h = 0; h < m->hp.n_head; h++) {
        work_add_matrix(sum, &a->k_b[h]);
        work_add_matrix(sum, &a->v_b[h]);
    }
    attn_core_work(sum, m, &shape, types, pos);
}

static int mla_widest(const struct model *m)
{
    return m->hp.n_head * m->hp.mla.d_v;
}

struct mla_job {
    const struct model *m;
    const struct mla_weights *w;
    struct attn_core core;
    float *q;                  // [n_tok][n_head][d_k]
    float *latent;             // [n_tok][rank + d_rope]
    float *rows;               // [n_head][n_tok][n_in] inputs of the products by head
    uint8_t *blocks;           // of their activations
    struct act *act;           // [n_head]
    struct matmul_part *parts; // [n_head]
    float *heads;              // [n_tok][n_head][d_v]
    int n_in;                  // of the products at work
};

static size_t carve_mla(struct mla_job *j, uint8_t *base, const struct context *c)
{
    const struct hparams *hp = &c->m->hp;
    const struct mla_params *l = &hp->mla;
    const size_t n_tok = (size_t)c->n_batch, n_head = (size_t)hp->n_head;
    const int widest = l->rank > nope_width(hp) ? l->rank : nope_width(hp);
    struct carve v = {base, 0};
    j->q = carve_take(&v, n_tok * n_head * (size_t)l->d_k, sizeof(float));
    j->latent = carve_take(&v, n_tok * (size_t)(l->rank + l->d_rope), sizeof(float));
    j->rows = carve_take(&v, n_tok * n_head * (size_t)widest, sizeof(float));
    j->blocks = carve_take(&v, n_tok * n_head, act_row_bytes(widest));
    j->act = carve_take(&v, n_head, sizeof *j->act);
    j->parts = carve_take(&v, n_head, sizeof *j->parts);
    j->heads = carve_take(&v, n_tok * n_head * (size_t)l->d_v, sizeof(float));
    return v.used;
}

static size_t mla_scratch_bytes(const struct context *c, int layer)
{
    const struct attn_shape shape = mla_shape(c->m);
    struct mla_job j;
    return carve_mla(&j, NULL, c) + attn_core_bytes(c, &shape, &c->layer_kv[layer]);
}

/* ---- one step ---- */

/* The activations of each head's product, of n_in values a token. */
static void open_heads(struct mla_job *j, int n_in)
{
    const int n_tok = j->core.s->n_tok;
    j->n_in = n_in;
    for (int h = 0; h < j->m->hp.n_head; h++) {
        const size_t row = (size_t)h * (size_t)n_tok;
        j->act[h] = (struct act){
            .n_tok = n_tok,
            .n_in = n_in,
            .x = j->rows + row * (size_t)n_in,
            .blocks = (struct act_block *)(void *)(j->blocks + row * act_row_bytes(n_in)),
        };
    }
}

/* Row h of token i <- x, and its activations. */
static void put_head(const struct mla_job *j, int i, int h, const float *x)
{
    const size_t row = (size_t)h * (size_t)j->core.s->n_tok + (size_t)i;
    memcpy(j->rows + row * (size_t)j->n_in, x, (size_t)j->n_in * sizeof *x);
    if (j->n_in % 32 == 0)
        act_load_token(&j->act[h], j->m->kernels, i);
}

/* Queries by head, their tails, and the latent as a key. */
static void split_token(void *ctx, int i)
{
    const struct mla_job *j = ctx;
    const struct hparams *hp = &j->m->hp;
    const struct mla_params *l = &hp->mla;
    const size_t d = (size_t)j->core.shape.d, rank = (size_t)l->rank;
    const size_t tail = (size_t)l->d_rope;
    const float *q = j->q + (size_t)i * (size_t)(hp->n_head * l->d_k);
    const float *latent = j->latent + (size_t)i * d;
    float *to = j->core.q + (size_t)i * (size_t)hp->n_head * d;
    float *key = j->core.k + (size_t)i * d;
    for (int h = 0; h < hp->n_head; h++, q += l->d_k, to += d) {
        put_head(j, i, h, q);
        memcpy(to + rank, q + nope_width(hp), tail * sizeof *to);
    }
    op_rms_norm(j->m->kernels, key, latent, j->w->norm, l->rank, hp->rms_eps);
    memcpy(key + rank, latent + rank, tail * sizeof *key);
}

static void put_token(void *ctx, int i)
{
    const struct mla_job *j = ctx;
    attn_core_put(&j->core, i);
}

static void collect_token(void *ctx, int i)
{
    const struct mla_job *j = ctx;
    const int n_head = j->m->hp.n_head, rank = j->m->hp.mla.rank;
    for (int h = 0; h < n_head; h++)
        put_head(j, i, h,
                 j->core.mixed + ((size_t)i * (size_t)n_head + (size_t)h) * (size_t)rank);
}

/* dst [n_tok][n_head][width], the first values of each row <- its matrix times its
 * activations. */
static void multiply_heads(struct mla_job *j, float *dst, int width,
                           const struct matrix *matrices)
{
    const struct model *m = j->m;
    const int n_head = m->hp.n_head;
    for (int h = 0; h < n_head; h++)
        j->parts[h] =
            matmul_part(dst + (size_t)h * (size_t)width, (size_t)n_head * (size_t)width,
                        &matrices[h], &j->act[h]);
    matmul_many(j->parts, n_head, m->kernels, m->pool);
}

static void mla_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct hparams *hp = &m->hp;
    const struct mla_params *l = &hp->mla;
    const struct attn_shape shape = mla_shape(m);
    struct mla_job j = {.m = m, .w = m->layers[layer].mixer_weights};
    const size_t used = carve_mla(&j, c->layer_scratch, c);
    attn_core_open(&j.core, c, s, layer, &shape, c->layer_scratch + used);
    struct matmul_part in[] = {
        matmul_part(j.q, (size_t)(hp->n_head * l->d_k), &j.w->q, &s->act),
        matmul_part(j.latent, (size_t)shape.d, &j.w->kv_a, &s->act)};
    matmul_many(in, 2, m->kernels, m->pool);
    open_heads(&j, nope_width(hp));
    attn_core_rows(&j.core, split_token, &j);
    multiply_heads(&j, j.core.q, shape.d, j.w->k_b);
    attn_core_rows(&j.core, put_token, &j);
    attn_core_run(&j.core);
    open_heads(&j, l->rank);
    attn_core_rows(&j.core, collect_token, &j);
    multiply_heads(&j, j.heads, l->d_v, j.w->v_b);
    act_load(&s->act, m->kernels, m->pool, j.heads, s->n_tok, hp->n_head * l->d_v);
    matmul(out, (size_t)hp->n_embd, &j.w->out, &s->act, m->kernels, m->pool);
}

const struct mixer mixer_mla = {
    .name = "latent attention",
    .bind = mla_bind,
    .release = mla_release,
    .store = mla_store,
    .need = mla_need,
    .widest = mla_widest,
    .scratch_bytes = mla_scratch_bytes,
    .work = mla_work,
    .forward = mla_forward,
};
