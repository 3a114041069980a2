/* ffn_swiglu.c - down(silu(gate x) * up x).  Source: GLU variants, arXiv 2002.05202. */
#include "model/model_impl.h"

#include "base/mem.h"
#include "tensor/ops.h"

struct swiglu_weights {
    struct matrix gate, up, down;
};

static enum status swiglu_bind(struct model *m, int layer, struct weights *w,
                               struct error *err)
{
    struct swiglu_weights *f = mem_array(1, sizeof *f);
    if (!f)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    m->layers[layer].ffn_weights = f;
    const int n = m->hp.n_embd, n_ff = m->hp.n_ff;
    enum status s;
    if ((s = weights_matrix(&f->gate, w, tensor_name(layer, "ffn_gate.weight").text, n_ff,
                            n, err)) ||
        (s = weights_matrix(&f->up, w, tensor_name(layer, "ffn_up.weight").text, n_ff, n,
                            err)) ||
        (s = weights_matrix(&f->down, w, tensor_name(layer, "ffn_down.weight").text, n,
                            n_ff, err)))
        return s;
    return STATUS_OK;
}

static size_t swiglu_scratch_bytes(const struct model *m, const struct context *c)
{
    return 2 * sizeof(float) * (size_t)c->n_batch * (size_t)m->hp.n_ff;
}

static void swiglu_work(struct token_work *sum, const struct model *m, int layer)
{
    const struct swiglu_weights *f = m->layers[layer].ffn_weights;
    work_add_matrix(sum, &f->gate);
    work_add_matrix(sum, &f->up);
    work_add_matrix(sum, &f->down);
}

struct swiglu_job {
    const struct model *m;
    float *gate;
    const float *up;
    size_t n, chunk;
};

static void swiglu_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct swiglu_job *j = ctx;
    const size_t from = (size_t)item * j->chunk;
    const size_t n = j->n - from < j->chunk ? j->n - from : j->chunk;
    op_swiglu(j->m->kernels, j->gate + from, j->gate + from, j->up + from, n);
}

static void swiglu_forward(struct context *c, struct step *s, int layer, float *out)
{
    const struct model *m = c->m;
    const struct swiglu_weights *f = m->layers[layer].ffn_weights;
    const size_t n_ff = (size_t)m->hp.n_ff, n_tok = (size_t)s->n_tok;
    float *gate = (float *)c->layer_scratch, *up = gate + n_tok * n_ff;
    matmul(gate, n_ff, &f->gate, &s->act, m->kernels, m->pool);
    matmul(up, n_ff, &f->up, &s->act, m->kernels, m->pool);
    struct swiglu_job job = {m, gate, up, n_tok * n_ff, 1 << 14};
    pool_run(m->pool, (int)((job.n + job.chunk - 1) / job.chunk), swiglu_item, &job);
    act_load(&s->act, m->kernels, m->pool, gate, s->n_tok, m->hp.n_ff);
    matmul(out, (size_t)m->hp.n_embd, &f->down, &s->act, m->kernels, m->pool);
}

const struct ffn ffn_swiglu = {
    .name = "swiglu",
    .bind = swiglu_bind,
    .scratch_bytes = swiglu_scratch_bytes,
    .work = swiglu_work,
    .forward = swiglu_forward,
};
