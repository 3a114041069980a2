/* model.c - loads a model from a GGUF. */
#include "model/model.h"

#include "base/mem.h"
#include "model/model_impl.h"
#include "model/rope.h"

static enum status bind_layer(struct model *m, int i, struct weights *w,
                              struct error *err)
{
    struct layer *l = &m->layers[i];
    enum status s;
    l->mixer = m->arch->mixer(&m->hp, i);
    l->ffn = m->arch->ffn(&m->hp, i);
    if ((s = weights_vector(&l->attn_norm, w, tensor_name(i, "attn_norm.weight").text,
                            m->hp.n_embd, false, err)) ||
        (s = weights_vector(&l->ffn_norm, w, tensor_name(i, "ffn_norm.weight").text,
                            m->hp.n_embd, false, err)) ||
        (s = l->mixer->bind(m, i, w, err)) || (s = l->ffn->bind(m, i, w, err)))
        return s;
    return STATUS_OK;
}

static enum status bind_rope(struct model *m, struct weights *w, struct error *err)
{
    const int n_pair = m->hp.rope.n_rot / 2;
    float *divisor;
    const enum status s =
        weights_vector(&divisor, w, "rope_freqs.weight", n_pair, true, err);
    if (s)
        return s;
    for (int i = 0; divisor && i < n_pair; i++)
        if (divisor[i] <= 0)
            return fail(err, STATUS_BAD_FILE,
                        "rope_freqs.weight: value %d is not positive", i);
    m->rope_freq = mem_array((size_t)n_pair, sizeof *m->rope_freq);
    if (!m->rope_freq)
        return fail(err, STATUS_NO_MEMORY, "no memory for rope frequencies");
    rope_frequencies(m->rope_freq, &m->rope_mscale, &m->hp.rope, divisor);
    return STATUS_OK;
}

static enum status bind_all(struct model *m, struct weights *w, struct error *err)
{
    const struct hparams *hp = &m->hp;
    enum status s;
    m->layers = mem_array((size_t)hp->n_layer, sizeof *m->layers);
    if (!m->layers)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d layers", hp->n_layer);
    if ((s = weights_matrix(&m->token_embd, w, "token_embd.weight", hp->n_vocab,
                            hp->n_embd, err)) ||
        (s = weights_vector(&m->output_norm, w, "output_norm.weight", hp->n_embd, false,
                            err)) ||
        (s = bind_rope(m, w, err)))
        return s;
    m->output = m->token_embd;
    if (weights_has(w, "output.weight") &&
        (s = weights_matrix(&m->output, w, "output.weight", hp->n_vocab, hp->n_embd,
                            err)))
        return s;
    for (int i = 0; i < hp->n_layer; i++)
        if ((s = bind_layer(m, i, w, err)))
            return s;
    return weights_finish(w, m->arch->name, err);
}

struct open_job {
    struct model *m;
    const struct gguf *g;
};

/* Reads the mapping, so it runs guarded. */
static enum status open_guarded(void *ctx, struct error *err)
{
    struct open_job *job = ctx;
    struct model *m = job->m;
    enum status s;
    if ((s = arch_of(&m->arch, job->g, err)) ||
        (s = hparams_load(&m->hp, job->g, m->arch->name, err)))
        return s;
    m->hp.rope.pairing = m->arch->rope_pairing;
    if (m->arch->hparams && (s = m->arch->hparams(&m->hp, job->g, err)))
        return s;
    if ((s = weights_open(&m->weights, job->g, m->pool, err)))
        return s;
    return bind_all(m, &m->weights, err);
}

enum status model_open(struct model **out, struct gguf *g, struct pool *pool,
                       enum cpu_isa isa, struct error *err)
{
    struct model *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for a model");
    m->pool = pool;
    m->isa = cpu_best(isa);
    m->kernels = tensor_kernels_for(isa);
    struct open_job job = {m, g};
    const enum status s = gguf_guard(g, open_guarded, &job, err);
    if (s)
        model_close(m);
    else
        *out = m;
    return s;
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (int i = 0; m->layers && i < m->hp.n_layer; i++) {
        mem_free(m->layers[i].mixer_weights);
        mem_free(m->layers[i].ffn_weights);
    }
    weights_release(&m->weights);
    mem_free(m->layers);
    mem_free(m->rope_freq);
    mem_free(m);
}

const struct hparams *model_hparams(const struct model *m)
{
    return &m->hp;
}

const char *model_arch(const struct model *m)
{
    return m->arch->name;
}

size_t model_bytes(const struct model *m)
{
    return m->weights.used;
}

uint64_t model_digest(const struct model *m)
{
    return m->weights.digest;
}

enum cpu_isa model_isa(const struct model *m)
{
    return m->isa;
}

void work_add_matrix(struct token_work *sum, const struct matrix *m)
{
    sum->weight_bytes += matrix_bytes(m->dtype, m->n_out, m->n_in);
    sum->macs += (uint64_t)m->n_out * (uint64_t)m->n_in;
}

struct token_work model_token_work(const struct model *m, const struct kv_types *types,
                                   int pos)
{
    struct token_work sum = {0};
    for (int i = 0; i < m->hp.n_layer; i++) {
        m->layers[i].mixer->work(&sum, m, i, types, pos);
        m->layers[i].ffn->work(&sum, m, i);
    }
    return sum;
}

struct token_work model_logits_work(const struct model *m)
{
    struct token_work sum = {0};
    work_add_matrix(&sum, &m->output);
    return sum;
}
