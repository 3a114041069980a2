/* mixer_attn.c - grouped-query softmax attention: projections, norms of heads, RoPE,
 * gates and sinks around attn_core.  Sources: GQA, arXiv 2305.13245; RoPE, arXiv
 * 2104.09864; gated attention, arXiv 2505.06708; sinks, arXiv 2309.17453 and 2508.10925.
 */
#include <string.h>

#include "base/mem.h"
#include "model/attn_core.h"
#include "model/model_impl.h"
#include "tensor/linear.h"
#include "tensor/ops.h"

struct attn_weights {
    struct matrix q, k, v, o;
    float *q_bias, *k_bias, *v_bias, *o_bias; // NULL if the model has none
    float *q_norm, *k_norm;                   // [head_dim], of ATTN_QK_NORM
    float *sinks;                             // [n_head], of ATTN_SINK_LOGITS
};

static bool has(const struct model *m, enum attn_trait trait)
{
    return m->arch->attn & (unsigned)trait;
}

/* Rows of the query projection: a gated head has as many again. */
static int query_rows(const struct model *m)
{
    return m->hp.n_head * m->hp.head_dim * (has(m, ATTN_GATE) ? 2 : 1);
}

static struct attn_shape shape_of(const struct model *m, int layer)
{
    const struct hparams *hp = &m->hp;
    return (struct attn_shape){
        .n_head = hp->n_head,
        .n_head_kv = hp->n_head_kv,
        .d = hp->head_dim,
        .d_v = hp->head_dim_v,
        .scale = hp->attn_scale,
        .softcap = hp->attn_softcap,
        .window = hp->layer[layer] == LAYER_WINDOW ? hp->window : 0,
    };
}

/* ---- weights ---- */

static enum status bind_qkv(struct attn_weights *a, const struct model *m, int layer,
                            struct weights *w, struct error *err)
{
    const struct hparams *hp = &m->hp;
    const int n_q = query_rows(m), n_k = hp->n_head_kv * hp->head_dim;
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

/* The biases of a fused projection: queries, keys, values. */
static enum status bind_fused_bias(struct attn_weights *a, const struct model *m,
                                   int layer, struct weights *w, struct error *err)
{
    const struct hparams *hp = &m->hp;
    const int n_q = query_rows(m), n_k = hp->n_head_kv * hp->head_dim;
    const enum status s =
        weights_vector(&a->q_bias, w, tensor_name(layer, "attn_qkv.bias").text,
                       n_q + n_k + hp->n_head_kv * hp->head_dim_v, true, err);
    if (!s && a->q_bias) {
        a->k_bias = a->q_bias + n_q;
        a->v_bias = a->k_bias + n_k;
    }
    return s;
}

static enum status bind_vectors(struct attn_weights *a, const struct model *m, int layer,
                                struct weights *w, struct error *err)
{
    const struct hparams *hp = &m->hp;
    const bool apart = !a->q_bias;
    const struct {
        float **to;
        const char *name;
        int n;
        bool wanted, optional;
    } vectors[] = {
        {&a->q_bias, "attn_q.bias", query_rows(m), apart, true},
        {&a->k_bias, "attn_k.bias", hp->n_head_kv * hp->head_dim, apart, true},
        {&a->v_bias, "attn_v.bias", hp->n_head_kv * hp->head_dim_v, apart, true},
        {&a->o_bias, "attn_output.bias", hp->n_embd, true, true},
        {&a->q_norm, "attn_q_norm.weight", hp->head_dim, has(m, ATTN_QK_NORM), false},
        {&a->k_norm, "attn_k_norm.weight", hp->head_dim, has(m, ATTN_QK_NORM), false},
        {&a->sinks, "attn_sinks.weight", hp->n_head, has(m, ATTN_SINK_LOGITS), false},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        if (!vectors[i].wanted)
            continue;
        const enum status s =
            weights_vector(vectors[i].to, w, tensor_name(layer, vectors[i].name).text,
                           vectors[i].n, vectors[i].optional, err);
        if (s)
            return s;
    }
    return STATUS_OK;
}

static enum status attn_bind(struct model *m, int layer, struct weights *w,
                             struct error *err)
{
    const struct hparams *hp = &m->hp;
    struct attn_weights *a = mem_array(1, sizeof *a);
    if (!a)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    m->layers[layer].mixer_weights = a;
    if (has(m, ATTN_GATE) && hp->head_dim != hp->head_dim_v)
        return fail(err, STATUS_BAD_FILE,
                    "%s: gates for %d values of a head cannot go with values of %d",
                    m->arch->name, hp->head_dim, hp->head_dim_v);
    enum status s;
    if ((s = bind_qkv(a, m, layer, w, err)) ||
        (s = weights_matrix(&a->o, w, tensor_name(layer, "attn_output.weight").text,
                            hp->n_embd, hp->n_head * hp->head_dim_v, err)) ||
        (s = bind_fused_bias(a, m, layer, w, err)))
        return s;
    return bind_vectors(a, m, layer, w, err);
}

/* ---- memory and work ---- */

static enum kv_store attn_store(const struct model *m, int layer)
{
    return m->hp.layer[layer] == LAYER_WINDOW ? KV_RING : KV_PAGED;
}

static enum status attn_need(struct state_need *out, const struct model *m, int layer,
                             const struct kv_types *types, int n_ctx, struct error *err)
{
    const struct attn_shape shape = shape_of(m, layer);
    return attn_core_need(out, m, &shape, types, n_ctx, err);
}

static void attn_work(struct token_work *sum, const struct model *m, int layer,
                      const struct kv_types *types, int pos)
{
    const struct attn_weights *a = m->layers[layer].mixer_weights;
    const struct attn_shape shape = shape_of(m, layer);
    work_add_matrix(sum, &a->q);
    work_add_matrix(sum, &a->k);
    work_add_matrix(sum, &a->v);
    work_add_matrix(sum, &a->o);
    attn_core_work(sum, m, &shape, types, pos);
}

static int attn_widest(const struct model *m)
{
    return m->hp.n_head * m->hp.head_dim_v;
}

/* Scratch of a layer: queries with gates, if it has them, then the core. */
static size_t gated_bytes(const struct context *c)
{
    struct carve v = {0};
    if (has(c->m, ATTN_GATE))
        carve_take(&v, (size_t)c->n_batch * (size_t)query_rows(c->m), sizeof(float));
    return v.used;
}

static size_t attn_scratch_bytes(const struct context *c, int layer)
{
    const struct attn_shape shape = shape_of(c->m, layer);
    return gated_bytes(c) + attn_core_bytes(c, &shape, &c->layer_kv[layer]);
}

/* ---- one step ---- */

struct attn_job {
    const struct model *m;
    const struct attn_weights *w;
    struct attn_core core;
    float *gated; // [n_tok][n_head][query, gate], or NULL
    float *out;   // [n_tok][n_embd]
};

static void add_bias(float *x, const float *bias, size_t n)
{
    if (bias)
        op_add(x, bias, n);
}

/* Norm and RoPE of the heads of one token. */
static void turn_heads(const struct attn_job *j, float *x, int n_head, const float *norm,
                       const float *cs)
{
    const struct hparams *hp = &j->m->hp;
    const int n_pair = hp->rope.n_rot / 2;
    for (int h = 0; h < n_head; h++, x += hp->head_dim) {
        if (norm)
            op_rms_norm(j->m->kernels, x, x, norm, hp->head_dim, hp->rms_eps);
        if (hp->rope.pairing == ROPE_NEOX)
            op_rope_neox(x, cs, n_pair);
        else
            op_rope_norm(x, cs, n_pair);
    }
}

/* Queries out of rows that also hold gates, which stay there. */
static void take_queries(const struct attn_job *j, float *q, int i)
{
    const struct hparams *hp = &j->m->hp;
    const size_t d = (size_t)hp->head_dim;
    float *row = j->gated + (size_t)i * (size_t)query_rows(j->m);
    add_bias(row, j->w->q_bias, (size_t)query_rows(j->m));
    for (int h = 0; h < hp->n_head; h++)
        memcpy(q + (size_t)h * d, row + 2 * (size_t)h * d, d * sizeof *q);
}

static void prepare_token(void *ctx, int i)
{
    const struct attn_job *j = ctx;
    const struct hparams *hp = &j->m->hp;
    const struct attn_core *a = &j->core;
    const size_t d = (size_t)hp->head_dim;
    const size_t n_q = (size_t)hp->n_head * d, n_k = (size_t)hp->n_head_kv * d;
    const size_t n_v = (size_t)hp->n_head_kv * (size_t)hp->head_dim_v;
    float *q = a->q + (size_t)i * n_q, *k = a->k + (size_t)i * n_k,
          *v = a->v + (size_t)i * n_v;
    const float *cs =
        a->s->rope[hp->layer[a->layer]] + (size_t)i * (size_t)hp->rope.n_rot;
    if (j->gated)
        take_queries(j, q, i);
    else
        add_bias(q, j->w->q_bias, n_q);
    add_bias(k, j->w->k_bias, n_k);
    add_bias(v, j->w->v_bias, n_v);
    turn_heads(j, q, hp->n_head, j->w->q_norm, cs);
    turn_heads(j, k, hp->n_head_kv, j->w->k_norm, cs);
    attn_core_put(a, i);
}

static void gate_token(void *ctx, int i)
{
    const struct attn_job *j = ctx;
    const size_t d = (size_t)j->m->hp.head_dim, n_head = (size_t)j->m->hp.n_head;
    float *x = j->core.mixed + (size_t)i * n_head * d;
    const float *gate = j->gated + (size_t)i * (size_t)query_rows(j->m) + d;
    for (size_t h = 0; h < n_head; h++, x += d, gate += 2 * d)
        op_sigmoid_mul(j->m->kernels, x, x, gate, d);
}

static void bias_output(void *ctx, int i)
{
    const struct attn_job *j = ctx;
    const size_t n = (size_t)j->m->hp.n_embd;
    op_add(j->out + (size_t)i * n, j->w->o_bias, n);
}

static void attn_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct hparams *hp = &m->hp;
    const struct attn_shape shape = shape_of(m, layer);
    struct attn_job j = {.m = m, .w = m->layers[layer].mixer_weights};
    attn_core_open(&j.core, c, s, layer, &shape, c->layer_scratch + gated_bytes(c));
    if (has(m, ATTN_GATE))
        j.gated = (float *)(void *)c->layer_scratch;

    const size_t n_v = (size_t)(hp->n_head_kv * hp->head_dim_v);
    const size_t n_k = (size_t)(hp->n_head_kv * hp->head_dim);
    float *q = j.gated ? j.gated : j.core.q;
    struct matmul_part qkv[] = {matmul_part(q, (size_t)query_rows(m), &j.w->q, &s->act),
                                matmul_part(j.core.k, n_k, &j.w->k, &s->act),
                                matmul_part(j.core.v, n_v, &j.w->v, &s->act)};
    matmul_many(qkv, 3, m->kernels, m->pool);
    attn_core_rows(&j.core, prepare_token, &j);
    j.core.sinks = j.w->sinks;
    attn_core_run(&j.core);
    if (j.gated)
        attn_core_rows(&j.core, gate_token, &j);

    act_load(&s->act, m->kernels, m->pool, j.core.mixed, s->n_tok,
             hp->n_head * hp->head_dim_v);
    matmul(out, (size_t)hp->n_embd, &j.w->o, &s->act, m->kernels, m->pool);
    j.out = out;
    if (j.w->o_bias)
        attn_core_rows(&j.core, bias_output, &j);
}

const struct mixer mixer_attn = {
    .name = "attention",
    .bind = attn_bind,
    .release = mem_free,
    .store = attn_store,
    .need = attn_need,
    .widest = attn_widest,
    .scratch_bytes = attn_scratch_bytes,
    .work = attn_work,
    .forward = attn_forward,
};
