/* mixer_delta.c - gated delta net: one decay for a head, the output normed by head and
 * gated.  Source: Gated Delta Networks, arXiv 2412.06464, as in Qwen3-Next and Qwen3.5.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/delta_core.h"
#include "tensor/linear.h"
#include "tensor/ops.h"

struct delta_weights {
    struct matrix qkv, gate; // of the convolution's channels, of the output
    struct matrix all;       // both, by key head; else n_out is 0
    struct matrix ba;        // betas and alphas, by key head; else n_out is 0
    struct matrix beta, alpha;
    struct matrix out;
    float *conv;   // [n_tap][n_channel]
    float *a, *dt; // [n_value_head], negative rates and biases
    float *norm;   // [d_v]
};

static int value_width(const struct hparams *hp)
{
    return hp->linear.n_value_head * hp->linear.d_v;
}

/* ---- weights ---- */

static enum status bind_inputs(struct delta_weights *a, const struct hparams *hp,
                               int layer, struct weights *w, struct error *err)
{
    const struct linear_params *l = &hp->linear;
    const struct tensor_name all = tensor_name(layer, "ssm_in.weight"),
                             ba = tensor_name(layer, "ssm_ba.weight");
    const int n = hp->n_embd, n_value = l->n_value_head;
    enum status s;
    if (weights_has(w, all.text)) {
        if ((s = weights_matrix(&a->all, w, all.text,
                                delta_channels(hp) + value_width(hp), n, err)))
            return s;
    } else if ((s = weights_matrix(&a->qkv, w, tensor_name(layer, "attn_qkv.weight").text,
                                   delta_channels(hp), n, err)) ||
               (s = weights_matrix(&a->gate, w,
                                   tensor_name(layer, "attn_gate.weight").text,
                                   value_width(hp), n, err))) {
        return s;
    }
    if (weights_has(w, ba.text))
        return weights_matrix(&a->ba, w, ba.text, 2 * n_value, n, err);
    s = weights_matrix(&a->beta, w, tensor_name(layer, "ssm_beta.weight").text, n_value,
                       n, err);
    return s ? s
             : weights_matrix(&a->alpha, w, tensor_name(layer, "ssm_alpha.weight").text,
                              n_value, n, err);
}

static enum status delta_bind(struct model *m, int layer, struct weights *w,
                              struct error *err)
{
    const struct hparams *hp = &m->hp;
    const int n_value = hp->linear.n_value_head, n_channel = delta_channels(hp);
    const int n_tap = hp->linear.n_tap;
    struct delta_weights *a = mem_array(1, sizeof *a);
    float *conv;
    m->layers[layer].mixer_weights = a;
    if (a)
        a->conv = mem_array((size_t)n_tap * (size_t)n_channel, sizeof *a->conv);
    if (!a || !a->conv)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    enum status s;
    if ((s = bind_inputs(a, hp, layer, w, err)) ||
        (s = weights_matrix(&a->out, w, tensor_name(layer, "ssm_out.weight").text,
                            hp->n_embd, value_width(hp), err)) ||
        (s = weights_table(&conv, w, tensor_name(layer, "ssm_conv1d.weight").text,
                           n_channel, n_tap, false, err)) ||
        (s = weights_vector(&a->a, w, tensor_name(layer, "ssm_a").text, n_value, false,
                            err)) ||
        (s = weights_vector(&a->dt, w, tensor_name(layer, "ssm_dt.bias").text, n_value,
                            false, err)) ||
        (s = weights_vector(&a->norm, w, tensor_name(layer, "ssm_norm.weight").text,
                            hp->linear.d_v, false, err)))
        return s;
    delta_transpose(a->conv, n_channel, 0, conv, n_channel, n_tap);
    return STATUS_OK;
}

static void delta_release(void *weights)
{
    struct delta_weights *a = weights;
    if (a)
        mem_free(a->conv);
    mem_free(a);
}

/* ---- memory and work ---- */

static void delta_layer_work(struct token_work *sum, const struct model *m, int layer,
                             const struct kv_types *types, int pos)
{
    (void)types, (void)pos;
    const struct delta_weights *a = m->layers[layer].mixer_weights;
    const struct matrix *const all[] = {&a->qkv,  &a->gate,  &a->all, &a->ba,
                                        &a->beta, &a->alpha, &a->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]->n_out)
            work_add_matrix(sum, all[i]);
    delta_work(sum, &m->hp);
}

static int delta_widest(const struct model *m)
{
    return value_width(&m->hp);
}

struct delta_job {
    const struct model *m;
    const struct delta_weights *w;
    struct delta_core core;
    float *gate; // [n_tok][n_value_head][d_v]
    float *ba;   // [n_tok][2 n_value_head]: betas, alphas; or by key head
    float *all;  // [n_tok][n_channel + value width] of a combined matrix
};

static size_t carve_job(struct delta_job *j, uint8_t *base, const struct context *c,
                        const struct delta_weights *w)
{
    const struct hparams *hp = &c->m->hp;
    const size_t n_tok = (size_t)c->n_batch, width = (size_t)value_width(hp);
    struct carve v = {base, 0};
    j->gate = carve_take(&v, n_tok * width, sizeof(float));
    j->ba = carve_take(&v, n_tok * 2 * (size_t)hp->linear.n_value_head, sizeof(float));
    j->all =
        carve_take(&v, w->all.n_out ? n_tok * ((size_t)delta_channels(hp) + width) : 0,
                   sizeof(float));
    return v.used;
}

static size_t delta_scratch_bytes(const struct context *c, int layer)
{
    struct delta_job j;
    return carve_job(&j, NULL, c, c->m->layers[layer].mixer_weights) +
           delta_core_bytes(c, 1);
}

/* ---- one step ---- */

/* Rows by key head [q | k | values | gates of its value heads] to those of the core. */
static void take_apart(const struct delta_job *j, int i)
{
    const struct hparams *hp = &j->m->hp;
    const struct linear_params *l = &hp->linear;
    const size_t d_k = (size_t)l->d_k, n_key = (size_t)l->n_key_head;
    const size_t group = (size_t)(l->n_value_head / l->n_key_head * l->d_v);
    const float *from = j->all + (size_t)i * (2 * n_key * d_k + 2 * n_key * group);
    float *u = j->core.u + (size_t)i * (size_t)j->core.n_channel;
    float *gate = j->gate + (size_t)i * n_key * group;
    for (size_t g = 0; g < n_key; g++, from += 2 * d_k + 2 * group) {
        memcpy(u + g * d_k, from, d_k * sizeof *u);
        memcpy(u + (n_key + g) * d_k, from + d_k, d_k * sizeof *u);
        memcpy(u + 2 * n_key * d_k + g * group, from + 2 * d_k, group * sizeof *u);
        memcpy(gate + g * group, from + 2 * d_k + group, group * sizeof *gate);
    }
}

static void gates_item(void *ctx, int i, int thread)
{
    (void)thread;
    const struct delta_job *j = ctx;
    const struct linear_params *l = &j->m->hp.linear;
    const size_t n = (size_t)l->n_value_head;
    const int r = l->n_value_head / l->n_key_head;
    const float *row = j->ba + (size_t)i * 2 * n;
    float *beta = j->core.beta + (size_t)i * n, *decay = j->core.decay + (size_t)i * n;
    if (j->w->all.n_out)
        take_apart(j, i);
    for (int h = 0; h < l->n_value_head; h++) {
        /* By key head g: r betas, r alphas. */
        const int at = j->w->ba.n_out ? h / r * 2 * r + h % r : h;
        const int alpha = at + (j->w->ba.n_out ? r : l->n_value_head);
        beta[h] = 1.0f / (1.0f + expf(-row[at]));
        decay[h] = expf(j->w->a[h] * op_softplus(row[alpha] + j->w->dt[h]));
    }
}

static void finish_item(void *ctx, int i, int thread)
{
    (void)thread;
    const struct delta_job *j = ctx;
    const struct hparams *hp = &j->m->hp;
    const size_t d = (size_t)hp->linear.d_v, n = (size_t)hp->linear.n_value_head;
    float *x = j->core.out + (size_t)i * n * d;
    for (size_t h = 0; h < n; h++)
        op_rms_norm(j->m->kernels, x + h * d, x + h * d, j->w->norm, (int)d, hp->rms_eps);
    op_swiglu(j->m->kernels, x, j->gate + (size_t)i * n * d, x, n * d);
}

static void delta_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct hparams *hp = &m->hp;
    const size_t width = (size_t)value_width(hp),
                 n_value = (size_t)hp->linear.n_value_head;
    struct delta_job j = {.m = m, .w = m->layers[layer].mixer_weights};
    const size_t used = carve_job(&j, c->layer_scratch, c, j.w);
    delta_core_open(&j.core, c, s, layer, 1, c->layer_scratch + used);
    j.core.conv = j.w->conv;
    j.core.map = m->arch->delta_heads_tiled ? HEADS_TILED : HEADS_GROUPED;
    struct matmul_part in[4];
    int n = 0;
    if (j.w->all.n_out) {
        in[n++] =
            matmul_part(j.all, (size_t)j.core.n_channel + width, &j.w->all, &s->act);
    } else {
        in[n++] = matmul_part(j.core.u, (size_t)j.core.n_channel, &j.w->qkv, &s->act);
        in[n++] = matmul_part(j.gate, width, &j.w->gate, &s->act);
    }
    if (j.w->ba.n_out) {
        in[n++] = matmul_part(j.ba, 2 * n_value, &j.w->ba, &s->act);
    } else {
        in[n++] = matmul_part(j.ba, 2 * n_value, &j.w->beta, &s->act);
        in[n++] = matmul_part(j.ba + n_value, 2 * n_value, &j.w->alpha, &s->act);
    }
    matmul_many(in, n, m->kernels, m->pool);
    pool_run(m->pool, s->n_tok, gates_item, &j);
    delta_core_run(&j.core);
    pool_run(m->pool, s->n_tok, finish_item, &j);
    act_load(&s->act, m->kernels, m->pool, j.core.out, s->n_tok, (int)width);
    matmul(out, (size_t)hp->n_embd, &j.w->out, &s->act, m->kernels, m->pool);
}

const struct mixer mixer_delta = {
    .name = "gated delta net",
    .bind = delta_bind,
    .release = delta_release,
    .store = delta_store,
    .need = delta_need,
    .widest = delta_widest,
    .scratch_bytes = delta_scratch_bytes,
    .work = delta_layer_work,
    .forward = delta_forward,
};
