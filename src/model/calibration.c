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

static enum status measure_heads(struct calibration *cal, const struct context *c,
                                 struct error *err)
{
    struct measurement *m = mem_array(1, sizeof *m);
    if (!m)
        return fail(err, STATUS_NO_MEMORY, "no memory for calibrating");
    m->c = c;
    const enum status s = attn_cache_init(&m->cache, c->m, &c->kv, err);
    const size_t n_head = (size_t)cal->n_layer * (size_t)cal->n_head_kv;
    for (size_t i = 0; !s && i < n_head; i++) {
        const int layer = (int)i / cal->n_head_kv, head = (int)i % cal->n_head_kv;
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

/* A copy of means in the basis of a codec; *out stays NULL if its type is exact. */
static enum status rotate_means(float **out, const struct tq_codec *codec,
                                const float *means, int n_row, struct error *err)
{
    if (!tq_type_compressed(codec->type))
        return STATUS_OK;
    const size_t n = (size_t)n_row * (size_t)codec->d;
    *out = mem_array(n, sizeof **out);
    if (!*out)
        return fail(err, STATUS_NO_MEMORY, "no memory for the means of a cache");
    memcpy(*out, means, n * sizeof **out);
    tq_rotate(codec, *out, n_row);
    return STATUS_OK;
}

enum status calibration_apply(struct context *c, const struct calibration *cal,
                              struct error *err)
{
    const struct hparams *hp = &c->m->hp;
    if (cal->n_layer != hp->n_layer || cal->n_head_kv != hp->n_head_kv ||
        cal->head_dim != hp->head_dim || cal->head_dim_v != hp->head_dim_v)
        return fail(err, STATUS_BAD_ARG, "the calibration is that of another model");
    struct attn_cache cache;
    const int n_row = cal->n_layer * cal->n_head_kv;
    enum status s;
    if ((s = attn_cache_init(&cache, c->m, &c->kv, err)) ||
        (s = rotate_means(&c->k_mean, &cache.k, cal->k, n_row, err)))
        return s;
    return rotate_means(&c->v_mean, &cache.v, cal->v, n_row, err);
}
