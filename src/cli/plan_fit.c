/* plan_fit.c - what a context takes, and the largest that fits. */
#include "base/mem.h"
#include "cli/models.h"
#include "cli/plan.h"
#include "cli/run.h"

enum status plan_context(struct plan_cell *out, const struct plan *p,
                         const struct kv_types *types, int n_ctx, struct error *err)
{
    const struct context_options o = {.kv = *types, .n_ctx = n_ctx, .n_mark = p->n_mark};
    struct context_memory m;
    const enum status s = context_plan(&m, p->p.model, &o, err);
    if (s)
        return s;
    const size_t total = model_bytes(p->p.model) + m.pages + m.exact + m.mark + m.scratch;
    *out = (struct plan_cell){n_ctx, m, total, total <= p->memory};
    return STATUS_OK;
}

/* More tokens never take less, so the largest context is found by halving. */
enum status plan_largest(struct plan_cell *out, const struct plan *p,
                         const struct kv_types *types, struct error *err)
{
    int low = 0, high = PLAN_CTX_LARGEST + 1; // low fits, high does not
    *out = (struct plan_cell){0};
    while (high - low > 1) {
        struct plan_cell c;
        const int middle = low + (high - low) / 2;
        const enum status s = plan_context(&c, p, types, middle, err);
        if (s)
            return s;
        if (c.fits) {
            low = middle;
            *out = c;
        } else {
            high = middle;
        }
    }
    return STATUS_OK;
}

static enum status read_model_parameters(struct plan_fit *out, struct kv_types *types,
                                         const char *model, const char *kv,
                                         struct error *err)
{
    struct model_choice m;
    const char *type = kv ? kv : "turbo4";
    double n_ctx = 0;
    enum status s = models_choose(&m, model, err);
    if (!s)
        s = models_number(&m, "num_ctx", 0, 1 << 24, &n_ctx, err);
    if (!s)
        s = models_text(&m, "kv_cache_type", &type, err);
    if (!s)
        s = kv_types_parse(types, type, err);
    out->n_param = (int)n_ctx;
    models_close(&m);
    return s;
}

enum status plan_fit(struct plan_fit *out, const char *model, const char *kv,
                     size_t memory, struct error *err)
{
    struct plan *p = mem_array(1, sizeof *p);
    struct kv_types types;
    struct plan_cell largest;
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for a plan");
    *out = (struct plan_fit){0};
    p->memory = memory;
    p->n_mark = RUN_CHAT_MARKS;
    enum status s = read_model_parameters(out, &types, model, kv, err);
    if (!s)
        s = planned_open(&p->p, model, 0, err);
    if (!s && !(s = plan_largest(&largest, p, &types, err))) {
        out->largest = largest.n_ctx;
        out->n_train = model_hparams(p->p.model)->n_ctx_train;
    }
    planned_close(&p->p);
    mem_free(p);
    return s;
}
