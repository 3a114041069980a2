/* model.c - loads a model from a GGUF. */
#include "model/model.h"

#include "base/mem.h"
#include "model/kv_policy.h"
#include "model/model_impl.h"
#include "model/rope.h"

static enum status bind_norm(float **out, struct weights *w, int layer, const char *name,
                             const struct hparams *hp, struct error *err)
{
    return weights_vector(out, w, tensor_name(layer, name).text, hp->n_embd, false, err);
}

/* What the layers are made of, from the numbers alone. */
static enum status choose_parts(struct model *m, struct error *err)
{
    static const char *const kinds[] = {"full attention", "a sliding window",
                                        "a recurrent state"};
    const struct hparams *hp = &m->hp;
    m->layers = mem_array((size_t)hp->n_layer, sizeof *m->layers);
    if (!m->layers)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d layers", hp->n_layer);
    for (int i = 0; i < hp->n_layer; i++) {
        struct layer *l = &m->layers[i];
        l->mixer = m->arch->mixer[hp->layer[i]];
        l->ffn = hp->moe.n_expert && i >= hp->moe.n_dense ? &ffn_moe : m->arch->ffn;
        m->recurrent = m->recurrent || hp->layer[i] == LAYER_RECURRENT;
        if (!l->mixer)
            return fail(err, STATUS_UNSUPPORTED,
                        "layer %d has %s, which architecture '%s' does not have as this "
                        "build knows it",
                        i, kinds[hp->layer[i]], m->arch->name);
        if (l->ffn != &ffn_moe && !hp->n_ff)
            return fail(err, STATUS_BAD_FILE, "%s.feed_forward_length is missing",
                        m->arch->name);
    }
    return STATUS_OK;
}

static enum status bind_layer(struct model *m, int i, struct weights *w,
                              struct error *err)
{
    const struct hparams *hp = &m->hp;
    struct layer *l = &m->layers[i];
    const char *ffn_norm = m->arch->ffn_norm ? m->arch->ffn_norm : "ffn_norm.weight";
    enum status s;
    if ((s = bind_norm(&l->attn_norm, w, i, "attn_norm.weight", hp, err)) ||
        (s = bind_norm(&l->ffn_norm, w, i, ffn_norm, hp, err)))
        return s;
    if (m->arch->post_norms &&
        ((s = bind_norm(&l->post_attn_norm, w, i, "post_attention_norm.weight", hp,
                        err)) ||
         (s = bind_norm(&l->post_ffn_norm, w, i, "post_ffw_norm.weight", hp, err))))
        return s;
    if ((s = l->mixer->bind(m, i, w, err)) || (s = l->ffn->bind(m, i, w, err)))
        return s;
    return STATUS_OK;
}

/* Frequencies divided by a tensor, if there is one of that name. */
static enum status bind_rope(struct rope *rope, const struct rope_params *r,
                             const char *name, struct weights *w, struct error *err)
{
    const int n_pair = r->n_rot / 2;
    float *divisor;
    const enum status s = weights_vector(&divisor, w, name, n_pair, true, err);
    if (s)
        return s;
    for (int i = 0; divisor && i < n_pair; i++)
        if (divisor[i] <= 0)
            return fail(err, STATUS_BAD_FILE, "%s: value %d is not positive", name, i);
    rope->freq = mem_array((size_t)n_pair, sizeof *rope->freq);
    if (!rope->freq)
        return fail(err, STATUS_NO_MEMORY, "no memory for rope frequencies");
    rope_frequencies(rope->freq, &rope->mscale, r, divisor);
    return STATUS_OK;
}

static enum status bind_ropes(struct model *m, struct weights *w, struct error *err)
{
    static const char shared[] = "rope_freqs.weight";
    static const char longer[] = "rope_factors_long.weight";
    static const char shorter[] = "rope_factors_short.weight";
    const struct hparams *hp = &m->hp;
    const bool two = weights_has(w, longer) && weights_has(w, shorter);
    enum status s;
    if ((s = bind_rope(&m->rope, &hp->rope, two ? shorter : shared, w, err)))
        return s;
    if (two && (s = bind_rope(&m->rope_long, &hp->rope, longer, w, err)))
        return s;
    return hp->window ? bind_rope(&m->rope_window, &hp->rope_window, shared, w, err)
                      : STATUS_OK;
}

static enum status bind_all(struct model *m, struct weights *w, struct error *err)
{
    const struct hparams *hp = &m->hp;
    enum status s;
    if ((s = choose_parts(m, err)) ||
        (s = weights_matrix(&m->token_embd, w, "token_embd.weight", hp->n_vocab,
                            hp->n_embd, err)) ||
        (s = weights_vector(&m->output_norm, w, "output_norm.weight", hp->n_embd, false,
                            err)) ||
        (s = bind_ropes(m, w, err)))
        return s;
    m->output = m->token_embd;
    if (weights_has(w, "output.weight") &&
        (s = weights_matrix(&m->output, w, "output.weight", hp->n_vocab, hp->n_embd,
                            err)))
        return s;
    for (int i = 0; i < hp->n_layer; i++)
        if ((s = bind_layer(m, i, w, err)))
            return s;
    for (int i = 0; i < hp->n_nextn; i++)
        weights_ignore_layer(w, hp->n_layer + i);
    return weights_finish(w, m->arch->name, err);
}

struct open_job {
    struct model *m;
    const struct gguf *g;
    bool planned;
    const struct weights_shape *shape;
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
    if (m->arch->hparams && (s = m->arch->hparams(&m->hp, job->g, err)))
        return s;
    m->hp.rope.pairing = m->hp.rope_window.pairing = m->arch->rope_pairing;
    s = job->planned ? weights_plan(&m->weights, job->g, job->shape, err)
                     : weights_open(&m->weights, job->g, m->pool, err);
    if (s)
        return s;
    return bind_all(m, &m->weights, err);
}

static enum status make_model(struct model **out, struct gguf *g, struct open_job *job,
                              struct pool *pool, enum cpu_isa isa, struct error *err)
{
    struct model *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for a model");
    m->pool = pool;
    m->isa = cpu_best(isa);
    m->kernels = tensor_kernels_for(isa);
    job->m = m;
    job->g = g;
    const enum status s = gguf_guard(g, open_guarded, job, err);
    if (s)
        model_close(m);
    else
        *out = m;
    return s;
}

enum status model_open(struct model **out, struct gguf *g, struct pool *pool,
                       enum cpu_isa isa, struct error *err)
{
    struct open_job job = {0};
    return make_model(out, g, &job, pool, isa, err);
}

enum status model_plan(struct model **out, struct gguf *g,
                       const struct weights_shape *shape, struct pool *pool,
                       enum cpu_isa isa, struct error *err)
{
    struct open_job job = {.planned = true, .shape = shape};
    return make_model(out, g, &job, pool, isa, err);
}

void model_close(struct model *m)
{
    if (!m)
        return;
    for (int i = 0; m->layers && i < m->hp.n_layer; i++) {
        const struct layer *l = &m->layers[i];
        if (l->mixer)
            l->mixer->release(l->mixer_weights);
        if (l->ffn)
            l->ffn->release(l->ffn_weights);
    }
    weights_release(&m->weights);
    mem_free(m->layers);
    mem_free(m->rope.freq);
    mem_free(m->rope_long.freq);
    mem_free(m->rope_window.freq);
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

uint64_t model_params(const struct model *m)
{
    return m->weights.n_param;
}

bool model_is_recurrent(const struct model *m)
{
    return m->recurrent;
}

bool model_is_planned(const struct model *m)
{
    return m->weights.planned;
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
    struct kv_types layer_kv[HPARAMS_LAYER_MAX];
    kv_policy(layer_kv, m, types);
    for (int i = 0; i < m->hp.n_layer; i++) {
        m->layers[i].mixer->work(&sum, m, i, &layer_kv[i], pos);
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
