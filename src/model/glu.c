#include "model/glu.h"

#include <stdio.h>

#include "tensor/linear.h"
#include "tensor/ops.h"

static struct tensor_name glu_name(int layer, const char *part, const char *suffix,
                                   const char *kind)
{
    char text[64];
    snprintf(text, sizeof text, "ffn_%s%s.%s", part, suffix, kind);
    return tensor_name(layer, text);
}

/* fused: of the gate and of up, one behind the other. */
static enum status bind_biases(struct glu *f, struct weights *w, int layer,
                               const char *suffix, bool fused, int n_embd, int n_ff,
                               struct error *err)
{
    const struct tensor_name gate = glu_name(layer, "gate", suffix, "bias"),
                             up = glu_name(layer, "up", suffix, "bias"),
                             down = glu_name(layer, "down", suffix, "bias");
    enum status s = weights_vector(&f->down_bias, w, down.text, n_embd, true, err);
    if (s)
        return s;
    if (!fused) {
        s = weights_vector(&f->gate_bias, w, gate.text, n_ff, true, err);
        return s ? s : weights_vector(&f->up_bias, w, up.text, n_ff, true, err);
    }
    s = weights_vector(&f->gate_bias, w, up.text, 2 * n_ff, true, err);
    if (!s && f->gate_bias)
        f->up_bias = f->gate_bias + n_ff;
    return s;
}

enum status glu_bind(struct glu *f, struct weights *w, int layer, const char *suffix,
                     int n_embd, int n_ff, struct error *err)
{
    const struct tensor_name gate = glu_name(layer, "gate", suffix, "weight"),
                             up = glu_name(layer, "up", suffix, "weight"),
                             down = glu_name(layer, "down", suffix, "weight");
    const struct gguf_tensor *t = gguf_tensor_find(w->g, up.text);
    enum status s;
    /* An up with its own rows only lacks its gate, which is to be said. */
    const bool fused = !weights_has(w, gate.text) && !(t && t->ne[1] == n_ff);
    if (!fused) {
        if ((s = weights_matrix(&f->gate, w, gate.text, n_ff, n_embd, err)) ||
            (s = weights_matrix(&f->up, w, up.text, n_ff, n_embd, err)))
            return s;
    } else if ((s = weights_rows(&f->gate, w, up.text, 2 * n_ff, 0, n_ff, n_embd, err)) ||
               (s = weights_rows(&f->up, w, up.text, 2 * n_ff, n_ff, n_ff, n_embd,
                                 err))) {
        return s;
    }
    if ((s = weights_matrix(&f->down, w, down.text, n_embd, n_ff, err)))
        return s;
    return bind_biases(f, w, layer, suffix, fused, n_embd, n_ff, err);
}

void glu_work(struct token_work *sum, const struct glu *f)
{
    work_add_matrix(sum, &f->gate);
    work_add_matrix(sum, &f->up);
    work_add_matrix(sum, &f->down);
}

/* With x = min(gate, 7) and y = clamp(up, -7, 7): x sigmoid(a x) (y + 1), as
 * silu(a x) (y + 1) / a. */
static void activate_clamped(const struct tensor_kernels *k, float *gate, float *up,
                             size_t n)
{
    static const float limit = 7.0f, a = 1.702f;
    for (size_t i = 0; i < n; i++) {
        const float x = gate[i] > limit ? limit : gate[i];
        const float y = up[i] > limit ? limit : up[i] < -limit ? -limit : up[i];
        gate[i] = a * x;
        up[i] = (y + 1.0f) / a;
    }
    op_swiglu(k, gate, gate, up, n);
}

void glu_activate(const struct model *m, float *gate, float *up, size_t n)
{
    switch (m->arch->activation) {
    case ACTIVATION_SILU:
        op_swiglu(m->kernels, gate, gate, up, n);
        break;
    case ACTIVATION_GELU:
        op_gelu_mul(m->kernels, gate, gate, up, n);
        break;
    case ACTIVATION_SILU_CLAMPED:
        activate_clamped(m->kernels, gate, up, n);
        break;
    }
}

struct activate_job {
    const struct model *m;
    const struct glu *f;
    float *gate, *up;
    size_t n, chunk;
};

/* x: n elements from the given one on, of rows of n_row. */
static void add_rows_bias(float *x, const float *bias, size_t from, size_t n,
                          size_t n_row)
{
    if (!bias)
        return;
    for (size_t i = 0, run; i < n; i += run) {
        const size_t at = (from + i) % n_row;
        run = n - i < n_row - at ? n - i : n_row - at;
        op_add(x + i, bias + at, run);
    }
}

static void activate_item(void *ctx, int item, int thread)
{
    (void)thread;
    const struct activate_job *j = ctx;
    const size_t from = (size_t)item * j->chunk;
    const size_t n = j->n - from < j->chunk ? j->n - from : j->chunk;
    const size_t n_ff = (size_t)j->f->gate.n_out;
    add_rows_bias(j->gate + from, j->f->gate_bias, from, n, n_ff);
    add_rows_bias(j->up + from, j->f->up_bias, from, n, n_ff);
    glu_activate(j->m, j->gate + from, j->up + from, n);
}

size_t glu_scratch_bytes(int n_tok, int n_ff)
{
    return 2 * sizeof(float) * (size_t)n_tok * (size_t)n_ff;
}

void glu_forward(const struct model *m, struct step *s, const struct glu *f,
                 uint8_t *scratch, float *out)
{
    const size_t n_ff = (size_t)f->gate.n_out, n_tok = (size_t)s->n_tok;
    float *gate = (float *)(void *)scratch, *up = gate + n_tok * n_ff;
    struct matmul_part in[] = {matmul_part(gate, n_ff, &f->gate, &s->act),
                               matmul_part(up, n_ff, &f->up, &s->act)};
    matmul_many(in, 2, m->kernels, m->pool);
    struct activate_job job = {m, f, gate, up, n_tok * n_ff, 1 << 14};
    pool_run(m->pool, (int)((job.n + job.chunk - 1) / job.chunk), activate_item, &job);
    act_load(&s->act, m->kernels, m->pool, gate, s->n_tok, f->gate.n_out);
    matmul(out, (size_t)m->hp.n_embd, &f->down, &s->act, m->kernels, m->pool);
    const size_t n_embd = (size_t)m->hp.n_embd;
    add_rows_bias(out, f->down_bias, 0, n_tok * n_embd, n_embd);
}
