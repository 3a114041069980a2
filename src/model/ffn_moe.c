/* ffn_moe.c - mixture of experts: a router chooses a few of many gated linear units for
 * each token, and a shared one may run for all.
 *
 * Tokens are sorted by expert, so that the weights of an expert are read once a step.
 * What the experts of a token give is added in the order of their numbers: the sum does
 * not depend on the other tokens of the step.  Source: Mixtral, arXiv 2401.04088;
 * DeepSeek-V3, arXiv 2412.19437, for sigmoid gating and the bias of the choice. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/glu.h"
#include "tensor/ops.h"

/* (token, expert) pairs of one pass: bounds the scratch. */
enum { PASS_PAIRS = 1024, PAIRS_PER_ITEM = 8, COLUMNS_PER_ITEM = 64 };

struct moe_weights {
    struct matrix router;
    float *router_bias;              // [n_expert] or NULL
    float *choice_bias;              // [n_expert] or NULL, added for the choice only
    struct matrix *gate, *up, *down; // [n_expert]
    float *gate_bias, *up_bias;      // [n_expert][n_ff] or NULL
    float *down_bias;                // [n_expert][n_embd] or NULL
    float *shared_gate;              // [n_embd] or NULL: the shared unit counts in full
    struct glu shared;               // if n_ff_shared
};

static enum status bind_experts(struct moe_weights *f, const struct hparams *hp,
                                int layer, struct weights *w, struct error *err)
{
    const int n = hp->moe.n_expert, n_ff = hp->moe.n_ff, n_embd = hp->n_embd;
    const struct tensor_name fused = tensor_name(layer, "ffn_gate_up_exps.weight");
    enum status s;
    if (weights_has(w, fused.text)) {
        if ((s = weights_experts(f->gate, w, fused.text, n, 2 * n_ff, 0, n_ff, n_embd,
                                 err)) ||
            (s = weights_experts(f->up, w, fused.text, n, 2 * n_ff, n_ff, n_ff, n_embd,
                                 err)))
            return s;
    } else if ((s = weights_experts(f->gate, w,
                                    tensor_name(layer, "ffn_gate_exps.weight").text, n,
                                    n_ff, 0, n_ff, n_embd, err)) ||
               (s = weights_experts(f->up, w,
                                    tensor_name(layer, "ffn_up_exps.weight").text, n,
                                    n_ff, 0, n_ff, n_embd, err))) {
        return s;
    }
    if ((s = weights_experts(f->down, w, tensor_name(layer, "ffn_down_exps.weight").text,
                             n, n_embd, 0, n_embd, n_ff, err)) ||
        (s = weights_table(&f->gate_bias, w,
                           tensor_name(layer, "ffn_gate_exps.bias").text, n, n_ff, true,
                           err)) ||
        (s = weights_table(&f->up_bias, w, tensor_name(layer, "ffn_up_exps.bias").text, n,
                           n_ff, true, err)))
        return s;
    return weights_table(&f->down_bias, w, tensor_name(layer, "ffn_down_exps.bias").text,
                         n, n_embd, true, err);
}

static enum status bind_shared(struct moe_weights *f, const struct hparams *hp, int layer,
                               struct weights *w, struct error *err)
{
    if (!hp->moe.n_ff_shared)
        return STATUS_OK;
    const enum status s = weights_vector(
        &f->shared_gate, w, tensor_name(layer, "ffn_gate_inp_shexp.weight").text,
        hp->n_embd, true, err);
    return s ? s
             : glu_bind(&f->shared, w, layer, "_shexp", hp->n_embd, hp->moe.n_ff_shared,
                        err);
}

static enum status moe_bind(struct model *m, int layer, struct weights *w,
                            struct error *err)
{
    const struct hparams *hp = &m->hp;
    const int n = hp->moe.n_expert;
    struct moe_weights *f = mem_array(1, sizeof *f);
    m->layers[layer].ffn_weights = f;
    if (f)
        f->gate = mem_array(3 * (size_t)n, sizeof *f->gate);
    if (!f || !f->gate)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    f->up = f->gate + n;
    f->down = f->up + n;
    enum status s;
    if ((s = weights_matrix(&f->router, w, tensor_name(layer, "ffn_gate_inp.weight").text,
                            n, hp->n_embd, err)) ||
        (s = weights_vector(&f->router_bias, w,
                            tensor_name(layer, "ffn_gate_inp.bias").text, n, true,
                            err)) ||
        (s = weights_vector(&f->choice_bias, w,
                            tensor_name(layer, "exp_probs_b.bias").text, n, true, err)) ||
        (s = bind_experts(f, hp, layer, w, err)))
        return s;
    return bind_shared(f, hp, layer, w, err);
}

static void moe_release(void *weights)
{
    struct moe_weights *f = weights;
    if (f)
        mem_free(f->gate);
    mem_free(f);
}

static void moe_work(struct token_work *sum, const struct model *m, int layer)
{
    const struct moe_weights *f = m->layers[layer].ffn_weights;
    work_add_matrix(sum, &f->router);
    for (int i = 0; i < m->hp.moe.n_used; i++) {
        work_add_matrix(sum, &f->gate[i]);
        work_add_matrix(sum, &f->up[i]);
        work_add_matrix(sum, &f->down[i]);
    }
    if (m->hp.moe.n_ff_shared)
        glu_work(sum, &f->shared);
}

/* ---- scratch ---- */

struct choice {
    int32_t expert;
    float weight;
};

/* Pairs are sorted by expert, then by token. */
struct moe_scratch {
    float *router;         // [n_tok][n_expert]
    struct choice *choice; // [n_tok][n_used], by expert
    int32_t *start;        // [n_expert + 1], first pair of each expert
    int32_t *tok, *expert; // [n_pair]
    float *weight;         // [n_pair]
    /* of a pass */
    int32_t *segment;          // [PASS_PAIRS] of each pair
    int32_t *first;            // [PASS_PAIRS + 1] pair of each segment
    struct act *in, *hidden;   // [PASS_PAIRS], of each segment
    struct matmul_part *parts; // [2 * PASS_PAIRS]
    uint8_t *in_blocks, *hidden_blocks;
    float *x;         // [PASS_PAIRS][n_embd]
    float *gate, *up; // [PASS_PAIRS][n_ff]
    float *down;      // [PASS_PAIRS][n_embd]
    uint8_t *shared;
    float *shared_out;   // [n_tok][n_embd]
    float *shared_scale; // [n_tok]
};

static size_t carve_moe(struct moe_scratch *a, uint8_t *base, const struct model *m,
                        int n_tok)
{
    const struct hparams *hp = &m->hp;
    const size_t n = (size_t)n_tok, n_expert = (size_t)hp->moe.n_expert;
    const size_t n_pair = n * (size_t)hp->moe.n_used, n_embd = (size_t)hp->n_embd;
    const size_t n_ff = (size_t)hp->moe.n_ff;
    const size_t pass = n_pair < PASS_PAIRS ? n_pair : PASS_PAIRS;
    struct carve v = {base, 0};
    a->router = carve_take(&v, n * n_expert, sizeof(float));
    a->choice = carve_take(&v, n_pair, sizeof *a->choice);
    a->start = carve_take(&v, n_expert + 1, sizeof *a->start);
    a->tok = carve_take(&v, n_pair, sizeof *a->tok);
    a->expert = carve_take(&v, n_pair, sizeof *a->expert);
    a->weight = carve_take(&v, n_pair, sizeof *a->weight);
    a->segment = carve_take(&v, pass, sizeof *a->segment);
    a->first = carve_take(&v, pass + 1, sizeof *a->first);
    a->in = carve_take(&v, pass, sizeof *a->in);
    a->hidden = carve_take(&v, pass, sizeof *a->hidden);
    a->parts = carve_take(&v, 2 * pass, sizeof *a->parts);
    a->in_blocks = carve_take(&v, pass, act_row_bytes(hp->n_embd));
    a->hidden_blocks = carve_take(&v, pass, act_row_bytes(hp->moe.n_ff));
    a->x = carve_take(&v, pass * n_embd, sizeof(float));
    a->gate = carve_take(&v, pass * n_ff, sizeof(float));
    a->up = carve_take(&v, pass * n_ff, sizeof(float));
    a->down = carve_take(&v, pass * n_embd, sizeof(float));
    if (hp->moe.n_ff_shared) {
        a->shared = carve_take(&v, glu_scratch_bytes(n_tok, hp->moe.n_ff_shared), 1);
        a->shared_out = carve_take(&v, n * n_embd, sizeof(float));
        a->shared_scale = carve_take(&v, n, sizeof(float));
    }
    return v.used;
}

static int moe_widest(const struct model *m)
{
    return m->hp.moe.n_ff_shared; // those of experts have memory of their own
}

static size_t moe_scratch_bytes(const struct model *m, const struct context *c)
{
    struct moe_scratch a;
    return carve_moe(&a, NULL, m, c->n_batch);
}

struct moe_job {
    const struct model *m;
    struct step *s;
    const struct moe_weights *w;
    struct moe_scratch a;
    float *out;
    int pair0, pair1; // of the pass
    int n_segment;
};

/* ---- the router ---- */

/* p [n] <- exp(p - max), divided by the sum. */
static void softmax_in_place(float *p, int n)
{
    double sum = 0;
    float max = p[0];
    for (int i = 1; i < n; i++)
        max = p[i] > max ? p[i] : max;
    for (int i = 0; i < n; i++) {
        p[i] = expf(p[i] - max);
        sum += (double)p[i];
    }
    for (int i = 0; i < n; i++)
        p[i] = (float)((double)p[i] / sum);
}

/* Gates of one token from its router outputs, in place. */
static void gate_experts(const struct moe_params *moe, float *p)
{
    if (moe->gating == GATING_SOFTMAX)
        softmax_in_place(p, moe->n_expert);
    else if (moe->gating == GATING_SIGMOID)
        for (int i = 0; i < moe->n_expert; i++)
            p[i] = 1.0f / (1.0f + expf(-p[i]));
}

/* The n_used experts with the largest gate + bias; of equal ones the first.  NaN counts
 * as the largest, so that it reaches the result. */
static void choose(const struct moe_params *moe, struct choice *c, const float *p,
                   const float *bias)
{
    float score[MOE_EXPERT_MAX];
    for (int e = 0; e < moe->n_expert; e++)
        score[e] = p[e] + (bias ? bias[e] : 0.0f);
    for (int i = 0; i < moe->n_used; i++) {
        int best = 0;
        for (int e = 1; e < moe->n_expert; e++)
            if (score[e] > score[best] || isnan(score[e]))
                best = e;
        c[i] = (struct choice){best, p[best]};
        score[best] = -INFINITY;
    }
}

static void weigh_choice(const struct moe_params *moe, struct choice *c)
{
    static const float least_sum = 6.103515625e-5f; // the smallest normal f16
    float used[MOE_EXPERT_MAX];
    double sum = 0;
    for (int i = 0; i < moe->n_used; i++)
        used[i] = c[i].weight;
    if (moe->gating == GATING_SOFTMAX_USED)
        softmax_in_place(used, moe->n_used);
    for (int i = 0; i < moe->n_used; i++)
        sum += (double)used[i];
    const float all = sum < (double)least_sum ? least_sum : (float)sum;
    for (int i = 0; i < moe->n_used; i++)
        c[i].weight = (moe->normalize ? used[i] / all : used[i]) * moe->scale;
}

static void sort_by_expert(struct choice *c, int n)
{
    for (int i = 1; i < n; i++)
        for (int j = i; j > 0 && c[j].expert < c[j - 1].expert; j--) {
            const struct choice swap = c[j];
            c[j] = c[j - 1];
            c[j - 1] = swap;
        }
}

static void route_item(void *ctx, int tok, int thread)
{
    (void)thread;
    const struct moe_job *j = ctx;
    const struct hparams *hp = &j->m->hp;
    const struct moe_params *moe = &hp->moe;
    float *p = j->a.router + (size_t)tok * (size_t)moe->n_expert;
    struct choice *c = j->a.choice + (size_t)tok * (size_t)moe->n_used;
    if (j->w->router_bias)
        op_add(p, j->w->router_bias, (size_t)moe->n_expert);
    gate_experts(moe, p);
    choose(moe, c, p, j->w->choice_bias);
    weigh_choice(moe, c);
    sort_by_expert(c, moe->n_used);
    if (j->w->shared_gate) {
        const float *x = j->s->act.x + (size_t)tok * (size_t)hp->n_embd;
        double dot = 0;
        for (int i = 0; i < hp->n_embd; i++)
            dot += (double)x[i] * (double)j->w->shared_gate[i];
        j->a.shared_scale[tok] = (float)(1.0 / (1.0 + exp(-dot)));
    }
}

static void sort_pairs(const struct moe_job *j)
{
    const struct moe_params *moe = &j->m->hp.moe;
    const int n_pair = j->s->n_tok * moe->n_used;
    int32_t *start = j->a.start;
    memset(start, 0, ((size_t)moe->n_expert + 1) * sizeof *start);
    for (int i = 0; i < n_pair; i++)
        start[j->a.choice[i].expert + 1]++;
    for (int e = 0; e < moe->n_expert; e++)
        start[e + 1] += start[e];
    for (int i = 0; i < n_pair; i++) { // moves start[e] to the end of e
        const struct choice c = j->a.choice[i];
        const int at = start[c.expert]++;
        j->a.tok[at] = i / moe->n_used;
        j->a.expert[at] = c.expert;
        j->a.weight[at] = c.weight;
    }
}

/* ---- a pass ---- */

static struct act segment_act(uint8_t *blocks, int pair, int n_in, int n_tok,
                              const float *x)
{
    return (struct act){
        .n_tok = n_tok,
        .n_in = n_in,
        .x = x,
        .blocks =
            (struct act_block *)(void *)(blocks + (size_t)pair * act_row_bytes(n_in)),
    };
}

static void cut_segments(struct moe_job *j)
{
    const int n_embd = j->m->hp.n_embd, n_ff = j->m->hp.moe.n_ff;
    struct moe_scratch *a = &j->a;
    const int n = j->pair1 - j->pair0;
    j->n_segment = 0;
    for (int i = 0; i < n; i++) {
        if (i == 0 || a->expert[j->pair0 + i] != a->expert[j->pair0 + i - 1])
            a->first[j->n_segment++] = i;
        a->segment[i] = j->n_segment - 1;
    }
    a->first[j->n_segment] = n;
    for (int i = 0; i < j->n_segment; i++) {
        const int at = a->first[i], n_tok = a->first[i + 1] - at;
        a->in[i] = segment_act(a->in_blocks, at, n_embd, n_tok, NULL);
        a->hidden[i] = segment_act(a->hidden_blocks, at, n_ff, n_tok,
                                   a->gate + (size_t)at * (size_t)n_ff);
    }
}

static void gather_item(void *ctx, int i, int thread)
{
    (void)thread;
    struct moe_job *j = ctx;
    const int at = j->a.first[i];
    act_gather(&j->a.in[i], j->m->kernels, j->a.x + (size_t)at * (size_t)j->m->hp.n_embd,
               &j->s->act, j->a.tok + j->pair0 + at, j->a.first[i + 1] - at);
}

static void activate_pairs(void *ctx, int item, int thread)
{
    (void)thread;
    const struct moe_job *j = ctx;
    const struct moe_scratch *a = &j->a;
    const size_t n_ff = (size_t)j->m->hp.moe.n_ff;
    const int end = (item + 1) * PAIRS_PER_ITEM, n = j->pair1 - j->pair0;
    for (int i = item * PAIRS_PER_ITEM; i < end && i < n; i++) {
        const size_t expert = (size_t)a->expert[j->pair0 + i];
        float *gate = a->gate + (size_t)i * n_ff, *up = a->up + (size_t)i * n_ff;
        if (j->w->gate_bias)
            op_add(gate, j->w->gate_bias + expert * n_ff, n_ff);
        if (j->w->up_bias)
            op_add(up, j->w->up_bias + expert * n_ff, n_ff);
        glu_activate(j->m, gate, up, n_ff);
        if (n_ff % 32 == 0)
            act_load_token(&a->hidden[a->segment[i]], j->m->kernels,
                           i - a->first[a->segment[i]]);
    }
}

/* Some columns of out <- out + weight * (what the expert gave + its bias). */
static void combine_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct moe_job *j = ctx;
    const int n_embd = j->m->hp.n_embd, from = item * COLUMNS_PER_ITEM;
    const int end = from + COLUMNS_PER_ITEM < n_embd ? from + COLUMNS_PER_ITEM : n_embd;
    for (int i = 0; i < j->pair1 - j->pair0; i++) {
        const int pair = j->pair0 + i;
        const float weight = j->a.weight[pair];
        const float *x = j->a.down + (size_t)i * (size_t)n_embd;
        const float *bias = j->w->down_bias;
        float *out = j->out + (size_t)j->a.tok[pair] * (size_t)n_embd;
        if (bias)
            bias += (size_t)j->a.expert[pair] * (size_t)n_embd;
        for (int c = from; c < end; c++)
            out[c] += weight * (bias ? x[c] + bias[c] : x[c]);
    }
}

static void run_pass(struct moe_job *j)
{
    const struct model *m = j->m;
    const size_t n_ff = (size_t)m->hp.moe.n_ff, n_embd = (size_t)m->hp.n_embd;
    struct moe_scratch *a = &j->a;
    const int n = j->pair1 - j->pair0;
    cut_segments(j);
    pool_run(m->pool, j->n_segment, gather_item, j);
    for (int i = 0; i < j->n_segment; i++) {
        const size_t at = (size_t)a->first[i] * n_ff;
        const int expert = a->expert[j->pair0 + a->first[i]];
        a->parts[2 * i] = matmul_part(a->gate + at, n_ff, &j->w->gate[expert], &a->in[i]);
        a->parts[2 * i + 1] = matmul_part(a->up + at, n_ff, &j->w->up[expert], &a->in[i]);
    }
    matmul_many(a->parts, 2 * j->n_segment, m->kernels, m->pool);
    pool_run(m->pool, (n + PAIRS_PER_ITEM - 1) / PAIRS_PER_ITEM, activate_pairs, j);
    for (int i = 0; i < j->n_segment; i++) {
        const int expert = a->expert[j->pair0 + a->first[i]];
        a->parts[i] = matmul_part(a->down + (size_t)a->first[i] * n_embd, n_embd,
                                  &j->w->down[expert], &a->hidden[i]);
    }
    matmul_many(a->parts, j->n_segment, m->kernels, m->pool);
    pool_run(m->pool, (m->hp.n_embd + COLUMNS_PER_ITEM - 1) / COLUMNS_PER_ITEM,
             combine_item, j);
}

static void add_shared_item(void *ctx, int tok, int thread)
{
    (void)thread;
    const struct moe_job *j = ctx;
    const size_t n_embd = (size_t)j->m->hp.n_embd;
    float *x = j->a.shared_out + (size_t)tok * n_embd;
    for (size_t i = 0; j->w->shared_gate && i < n_embd; i++)
        x[i] *= j->a.shared_scale[tok];
    op_add(j->out + (size_t)tok * n_embd, x, n_embd);
}

static void add_shared(struct moe_job *j)
{
    glu_forward(j->m, j->s, &j->w->shared, j->a.shared, j->a.shared_out);
    pool_run(j->m->pool, j->s->n_tok, add_shared_item, j);
}

static void moe_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const int n_pair = s->n_tok * m->hp.moe.n_used;
    struct moe_job j = {.m = m, .s = s, .w = m->layers[layer].ffn_weights, .out = out};
    carve_moe(&j.a, c->layer_scratch, m, c->n_batch);
    matmul(j.a.router, (size_t)m->hp.moe.n_expert, &j.w->router, &s->act, m->kernels,
           m->pool);
    pool_run(m->pool, s->n_tok, route_item, &j);
    sort_pairs(&j);
    memset(out, 0, (size_t)s->n_tok * (size_t)m->hp.n_embd * sizeof *out);
    for (j.pair0 = 0; j.pair0 < n_pair; j.pair0 = j.pair1) {
        j.pair1 = n_pair - j.pair0 < PASS_PAIRS ? n_pair : j.pair0 + PASS_PAIRS;
        run_pass(&j);
    }
    if (m->hp.moe.n_ff_shared)
        add_shared(&j);
}

const struct ffn ffn_moe = {
    .name = "experts",
    .bind = moe_bind,
    .release = moe_release,
    .widest = moe_widest,
    .scratch_bytes = moe_scratch_bytes,
    .work = moe_work,
    .forward = moe_forward,
};
