/* mixer_kda.c - Kimi delta attention: as a gated delta net, with a decay for each channel
 * of a key and separate projections.  Source: Kimi Linear, arXiv 2510.26692. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/delta_core.h"
#include "tensor/linear.h"
#include "tensor/ops.h"

struct kda_weights {
    struct matrix q, k, v, beta, out;
    struct matrix decay_a, decay_b, gate_a,
        gate_b;  // products of two: [d], then all heads
    float *conv; // of delta_transpose
    float *a;    // [n_head], negative rates
    float *dt;   // [n_head][d]
    float *norm; // [d]
};

static int kda_width(const struct hparams *hp)
{
    return hp->linear.n_value_head * hp->linear.d_v;
}

/* ---- weights ---- */

static enum status bind_conv(struct kda_weights *a, const struct hparams *hp, int layer,
                             struct weights *w, struct error *err)
{
    static const char *const names[] = {"ssm_conv1d_q.weight", "ssm_conv1d_k.weight",
                                        "ssm_conv1d_v.weight"};
    const int width = kda_width(hp), n_tap = hp->linear.n_tap;
    a->conv = mem_array((size_t)n_tap * (size_t)delta_channels(hp), sizeof *a->conv);
    if (!a->conv)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    for (int i = 0; i < 3; i++) {
        const struct tensor_name name = tensor_name(layer, names[i]);
        float *conv;
        const enum status s =
            weights_table(&conv, w, name.text, width, n_tap, false, err);
        if (s)
            return s;
        delta_transpose(a->conv, delta_channels(hp), i * width, conv, width, n_tap);
    }
    return STATUS_OK;
}

static enum status kda_bind(struct model *m, int layer, struct weights *w,
                            struct error *err)
{
    const struct hparams *hp = &m->hp;
    const int n = hp->n_embd, width = kda_width(hp), d = hp->linear.d_v;
    const int n_head = hp->linear.n_value_head;
    struct kda_weights *a = mem_array(1, sizeof *a);
    if (!a)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    m->layers[layer].mixer_weights = a;
    const struct {
        struct matrix *to;
        const char *name;
        int n_out, n_in;
    } matrices[] = {
        {&a->q, "attn_q.weight", width, n},
        {&a->k, "attn_k.weight", width, n},
        {&a->v, "attn_v.weight", width, n},
        {&a->beta, "ssm_beta.weight", n_head, n},
        {&a->decay_a, "ssm_f_a.weight", d, n},
        {&a->decay_b, "ssm_f_b.weight", width, d},
        {&a->gate_a, "ssm_g_a.weight", d, n},
        {&a->gate_b, "ssm_g_b.weight", width, d},
        {&a->out, "attn_output.weight", n, width},
    };
    enum status s;
    for (size_t i = 0; i < sizeof matrices / sizeof *matrices; i++)
        if ((s = weights_matrix(matrices[i].to, w,
                                tensor_name(layer, matrices[i].name).text,
                                matrices[i].n_out, matrices[i].n_in, err)))
            return s;
    if ((s = bind_conv(a, hp, layer, w, err)) ||
        (s = weights_table(&a->a, w, tensor_name(layer, "ssm_a").text, n_head, 1, false,
                           err)) ||
        (s = weights_vector(&a->dt, w, tensor_name(layer, "ssm_dt.bias").text, width,
                            false, err)))
        return s;
    return weights_vector(&a->norm, w, tensor_name(layer, "ssm_norm.weight").text, d,
                          false, err);
}

static void kda_release(void *weights)
{
    struct kda_weights *a = weights;
    if (a)
        mem_free(a->conv);
    mem_free(a);
}

/* ---- memory and work ---- */

static void kda_work(struct token_work *sum, const struct model *m, int layer,
                     const struct kv_types *types, int pos)
{
    (void)types, (void)pos;
    const struct kda_weights *a = m->layers[layer].mixer_weights;
    const struct matrix *const all[] = {&a->q,       &a->k,      &a->v,
                                        &a->beta,    &a->out,    &a->decay_a,
                                        &a->decay_b, &a->gate_a, &a->gate_b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        work_add_matrix(sum, all[i]);
    delta_work(sum, &m->hp);
}

static int kda_widest(const struct model *m)
{
    return kda_width(&m->hp);
}

struct kda_job {
    const struct model *m;
    const struct kda_weights *w;
    struct delta_core core;
    float *gate;             // [n_tok][n_head][d]
    float *decay_a, *gate_a; // [n_tok][d]
};

static size_t carve_kda(struct kda_job *j, uint8_t *base, const struct context *c)
{
    const struct hparams *hp = &c->m->hp;
    const size_t n_tok = (size_t)c->n_batch, d = (size_t)hp->linear.d_v;
    struct carve v = {base, 0};
    j->gate = carve_take(&v, n_tok * (size_t)kda_width(hp), sizeof(float));
    j->decay_a = carve_take(&v, n_tok * d, sizeof(float));
    j->gate_a = carve_take(&v, n_tok * d, sizeof(float));
    return v.used;
}

static size_t kda_scratch_bytes(const struct context *c, int layer)
{
    (void)layer;
    struct kda_job j;
    return carve_kda(&j, NULL, c) + delta_core_bytes(c, c->m->hp.linear.d_k);
}

/* ---- one step ---- */

static void decay_item(void *ctx, int i, int thread)
{
    (void)thread;
    const struct kda_job *j = ctx;
    const struct linear_params *l = &j->m->hp.linear;
    const int width = l->n_value_head * l->d_k;
    float *beta = j->core.beta + (size_t)i * (size_t)l->n_value_head;
    float *decay = j->core.decay + (size_t)i * (size_t)width;
    for (int h = 0; h < l->n_value_head; h++)
        beta[h] = 1.0f / (1.0f + expf(-beta[h]));
    for (int c = 0; c < width; c++)
        decay[c] = expf(j->w->a[c / l->d_k] * op_softplus(decay[c] + j->w->dt[c]));
}

static void kda_finish_item(void *ctx, int i, int thread)
{
    (void)thread;
    const struct kda_job *j = ctx;
    const struct hparams *hp = &j->m->hp;
    const size_t d = (size_t)hp->linear.d_v, n = (size_t)hp->linear.n_value_head;
    float *x = j->core.out + (size_t)i * n * d;
    for (size_t h = 0; h < n; h++)
        op_rms_norm(j->m->kernels, x + h * d, x + h * d, j->w->norm, (int)d, hp->rms_eps);
    op_sigmoid_mul(j->m->kernels, x, x, j->gate + (size_t)i * n * d, n * d);
}

static void kda_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct hparams *hp = &m->hp;
    const struct tensor_kernels *k = m->kernels;
    const size_t width = (size_t)kda_width(hp), n_head = (size_t)hp->linear.n_value_head;
    const size_t d = (size_t)hp->linear.d_v;
    struct kda_job j = {.m = m, .w = m->layers[layer].mixer_weights};
    const size_t used = carve_kda(&j, c->layer_scratch, c);
    delta_core_open(&j.core, c, s, layer, hp->linear.d_k, c->layer_scratch + used);
    j.core.conv = j.w->conv;
    const size_t n_channel = (size_t)j.core.n_channel;
    struct matmul_part in[] = {
        matmul_part(j.core.u, n_channel, &j.w->q, &s->act),
        matmul_part(j.core.u + width, n_channel, &j.w->k, &s->act),
        matmul_part(j.core.u + 2 * width, n_channel, &j.w->v, &s->act),
        matmul_part(j.core.beta, n_head, &j.w->beta, &s->act),
        matmul_part(j.decay_a, d, &j.w->decay_a, &s->act),
        matmul_part(j.gate_a, d, &j.w->gate_a, &s->act)};
    matmul_many(in, sizeof in / sizeof *in, k, m->pool);
    act_load(&s->act, k, m->pool, j.decay_a, s->n_tok, (int)d);
    matmul(j.core.decay, width, &j.w->decay_b, &s->act, k, m->pool);
    act_load(&s->act, k, m->pool, j.gate_a, s->n_tok, (int)d);
    matmul(j.gate, width, &j.w->gate_b, &s->act, k, m->pool);
    pool_run(m->pool, s->n_tok, decay_item, &j);
    delta_core_run(&j.core);
    pool_run(m->pool, s->n_tok, kda_finish_item, &j);
    act_load(&s->act, k, m->pool, j.core.out, s->n_tok, (int)width);
    matmul(out, (size_t)hp->n_embd, &j.w->out, &s->act, k, m->pool);
}

const struct mixer mixer_kda = {
    .name = "Kimi delta attention",
    .bind = kda_bind,
    .release = kda_release,
    .store = delta_store,
    .need = delta_need,
    .widest = kda_widest,
    .scratch_bytes = kda_scratch_bytes,
    .work = kda_work,
    .forward = kda_forward,
};
