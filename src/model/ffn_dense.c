/* ffn_dense.c - one gated linear unit for all tokens. */
#include "base/mem.h"
#include "model/glu.h"

static enum status dense_bind(struct model *m, int layer, struct weights *w,
                              struct error *err)
{
    struct glu *f = mem_array(1, sizeof *f);
    if (!f)
        return fail(err, STATUS_NO_MEMORY, "no memory for layer %d", layer);
    m->layers[layer].ffn_weights = f;
    return glu_bind(f, w, layer, "", m->hp.n_embd, m->hp.n_ff, err);
}

static int dense_widest(const struct model *m)
{
    return m->hp.n_ff;
}

static size_t dense_scratch_bytes(const struct model *m, const struct context *c)
{
    return glu_scratch_bytes(c->n_batch, m->hp.n_ff);
}

static void dense_work(struct token_work *sum, const struct model *m, int layer)
{
    glu_work(sum, m->layers[layer].ffn_weights);
}

static void dense_forward(struct context *c, struct step *s, int layer, float *out)
{
    glu_forward(c->m, s, c->m->layers[layer].ffn_weights, c->layer_scratch, out);
}

const struct ffn ffn_dense = {
    .name = "dense",
    .bind = dense_bind,
    .release = mem_free,
    .widest = dense_widest,
    .scratch_bytes = dense_scratch_bytes,
    .work = dense_work,
    .forward = dense_forward,
};
