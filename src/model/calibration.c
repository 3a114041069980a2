#include "model/calibration.h"

#include <string.h>

#include "base/mem.h"
#include "model/attn_cache.h"
#include "model/model_impl.h"

static size_t count_keys(const struct calibration *cal)
{
    return (size_t)cal->n_layer * (size_t)cal->n_head_kv * (size_t)cal->head_dim;
}

size_t calibration_values(const struct calibration *cal)
{
    return count_keys(cal) +
           (size_t)cal->n_layer * (size_t)cal->n_head_kv * (size_t)cal->head_dim_v;
}

enum status calibration_alloc(struct calibration **out, const struct model *m,
                              struct error *err)
{
    const struct hparams *hp = &m->hp;
    struct calibration *cal = mem_array(1, sizeof *cal);
    if (!cal)
        return fail(err, STATUS_NO_MEMORY, "no memory for a calibration");
    *cal = (struct calibration){.n_layer = hp->n_layer,
                                .n_head_kv = hp->n_head_kv,
                                .head_dim = hp->head_dim,
                                .head_dim_v = hp->head_dim_v};
    cal->k = mem_array(calibration_values(cal), sizeof *cal->k);
    if (!cal->k) {
        calibration_close(cal);
        return fail(err, STATUS_NO_MEMORY, "no memory for a calibration");
    }
    cal->v = cal->k + count_keys(cal);
    *out = cal;
    return STATUS_OK;
}

void calibration_close(struct calibration *cal)
{
    if (!cal)
        return;
    mem_free(cal->k);
    mem_free(cal);
}

/* ---- measuring ---- */

struct measurement {
    const struct context *c;
    struct attn_cache cache;
    float rows[KV_PAGE_TOKENS * TQ_DIM_MAX];
    double sum[TQ_DIM_MAX];
};

/* mean [d] <- that of the rows of one head, added in order of position. */
static void measure_head(struct measurement *m, float *mean, int layer, int head,
                         enum tq_role role)
{
    const int n = m->c->own->pos;
    const struct attn_place place = {.seq = m->c->own->kv,
                                     .page_offset = m->c->page_offset[layer]};
    const int d = role == TQ_KEY ? m->cache.k.d : m->cache.v.d;
    memset(m->sum, 0, sizeof m->sum);
    for (int pos = 0; pos < n; pos++) {
        const int slot = pos % KV_PAGE_TOKENS;
        if (slot == 0) {
            const struct attn_part p =
                attn_cache_page(&m->cache, &place, head, pos / KV_PAGE_TOKENS, false);
            tq_decode(role == TQ_KEY ? p.k : p.v, m->rows,
                      role == TQ_KEY ? p.k_page : p.v_page);
        }
        for (int i = 0; pos >= CALIBRATION_SKIP && i < d; i++)
            m->sum[i] += (double)m->rows[slot * d + i];
    }
    for (int i = 0; i < d; i++)
        mean[i] = (float)(m->sum[i] / (n - CALIBRATION_SKIP));
}

/* Whether a layer's rows lose their means: others keep what they store as it is. */
static bool has_means(const struct model *m, int layer)
{
    return m->layers[layer].mixer->store(m, layer) == KV_PAGED;
}

bool calibration_useful(const struct model *m)
{
    for (int i = 0; i < m->hp.n_layer; i++)
        if (has_means(m, i))
            return true;
    return false;
}

static enum status measure_heads(struct calibration *cal, const struct context *c,
                                 struct error *err)
{
    const struct hparams *hp = &c->m->hp;
    const struct attn_shape shape = {.n_head = hp->n_head,
                                     .n_head_kv = hp->n_head_kv,
                                     .d = hp->head_dim,
                                     .d_v = hp->head_dim_v};
    struct measurement *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for calibrating");
    m->c = c;
    const enum status s =
        attn_cache_init(&m->cache, &shape, &c->kv, c->n_ctx, c->m->isa, err);
    const size_t n_head = (size_t)cal->n_layer * (size_t)cal->n_head_kv;
    for (size_t i = 0; !s && i < n_head; i++) {
        const int layer = (int)i / cal->n_head_kv, head = (int)i % cal->n_head_kv;
        if (!has_means(c->m, layer))
            continue;
        measure_head(m, cal->k + i * (size_t)cal->head_dim, layer, head, TQ_KEY);
        measure_head(m, cal->v + i * (size_t)cal->head_dim_v, layer, head, TQ_VALUE);
    }
    mem_free(m);
    return s;
}

enum status calibration_make(struct calibration **out, const struct model *m,
                             const int32_t *tokens, int n, struct error *err)
{
    if (n <= CALIBRATION_SKIP)
        return fail(err, STATUS_BAD_ARG, "%d tokens are too few to calibrate", n);
    const struct context_options o = {.kv = {.k = TQ_F32, .v = TQ_F32}, .n_ctx = n};
    struct context *c = NULL;
    struct calibration *cal = NULL;
    enum status s;
    if ((s = context_open(&c, m, &o, err)) ||
        (s = context_eval(c, tokens, n, 0, NULL, err)) ||
        (s = calibration_alloc(&cal, m, err)) || (s = measure_heads(cal, c, err))) {
        calibration_close(cal);
        cal = NULL;
    }
    context_close(c);
    *out = cal;
    return s;
}

/* ---- applying ---- */

/* A copy of means in the basis of the cache; *out stays NULL if no layer's is compressed.
 */
static enum status rotate_means(float **out, const struct context *c,
                                const struct calibration *cal, enum tq_role role,
                                struct error *err)
{
    const bool key = role == TQ_KEY;
    const int d = key ? cal->head_dim : cal->head_dim_v;
    const size_t row = (size_t)cal->n_head_kv * (size_t)d;
    const size_t n = (size_t)cal->n_layer * row;
    if (!tq_type_compressed(key ? c->kv.k : c->kv.v))
        return STATUS_OK;
    *out = mem_array(n, sizeof **out);
    if (!*out)
        return fail(err, STATUS_NO_MEMORY, "no memory for the means of a cache");
    memcpy(*out, key ? cal->k : cal->v, n * sizeof **out);
    for (int i = 0; i < cal->n_layer; i++) {
        const enum tq_type t = key ? c->layer_kv[i].k : c->layer_kv[i].v;
        struct tq_codec codec;
        if (!has_means(c->m, i))
            continue;
        if (!tq_codec_init(&codec, t, role, d, (enum tq_isa)c->m->isa))
            return fail(err, STATUS_UNSUPPORTED, "%s cannot hold rows of %d values",
                        tq_type_name(t), d);
        tq_rotate(&codec, *out + (size_t)i * row, cal->n_head_kv);
    }
    return STATUS_OK;
}

enum status calibration_apply(struct context *c, const struct calibration *cal,
                              struct error *err)
{
    const struct hparams *hp = &c->m->hp;
    if (cal->n_layer != hp->n_layer || cal->n_head_kv != hp->n_head_kv ||
        cal->head_dim != hp->head_dim || cal->head_dim_v != hp->head_dim_v)
        return fail(err, STATUS_BAD_ARG, "the calibration is that of another model");
    const enum status s = rotate_means(&c->k_mean, c, cal, TQ_KEY, err);
    return s ? s : rotate_means(&c->v_mean, c, cal, TQ_VALUE, err);
}
