/* plan_print.c - the table and the JSON of `turbine plan`. */
#include <stdio.h>

#include <jansson.h>

#include "cli/measure.h"
#include "cli/plan.h"

const char *plan_size(char *buf, size_t bytes)
{
    const double mib = (double)bytes / 0x1p20, gib = (double)bytes / 0x1p30;
    if (gib >= 1)
        snprintf(buf, PLAN_SIZE_BYTES, "%.*f GiB", gib < 100 ? 2 : 1, gib);
    else
        snprintf(buf, PLAN_SIZE_BYTES, "%.*f MiB", mib < 100 ? 1 : 0, mib);
    return buf;
}

const char *plan_count(char *buf, uint64_t n)
{
    static const char *const units[] = {"", " thousand", " million", " billion"};
    double v = (double)n;
    int i = 0;
    for (; i < 3 && v >= 999.5; i++)
        v /= 1000;
    snprintf(buf, PLAN_SIZE_BYTES, "%.*f%s",
             i == 0 || v >= 100 ? 0
             : v >= 10          ? 1
                                : 2,
             v, units[i]);
    return buf;
}

static size_t token_bytes(const struct plan_row *r)
{
    return r->least.memory.page_bytes / TQ_PAGE_TOKENS;
}

/* ---- the table ---- */

static void print_cell(const struct plan_cell *c, const char *note)
{
    char cache[PLAN_SIZE_BYTES], mark[PLAN_SIZE_BYTES], scratch[PLAN_SIZE_BYTES],
        total[PLAN_SIZE_BYTES];
    const struct context_memory *m = &c->memory;
    printf("  %9d  %10s  %11s  %10s  %10s%s\n", c->n_ctx,
           plan_size(cache, m->pages + m->exact), plan_size(mark, m->mark),
           plan_size(scratch, m->scratch), plan_size(total, c->total), note);
}

static void print_row(const struct plan *p, const struct plan_row *r)
{
    char kv[KV_NAME_BYTES], least[PLAN_SIZE_BYTES];
    kv_types_name(kv, &r->types);
    if (r->refused.status) {
        printf("%-13s  %-13s  %s\n", r->name, kv, r->refused.text);
        return;
    }
    for (int i = 0; i < p->n_ctx; i++) {
        if (i == 0)
            printf("%-13s  %-13s  %8zu", r->name, kv, token_bytes(r));
        else
            printf("%38s", "");
        print_cell(&r->cells[i], r->cells[i].fits ? "" : "  does not fit");
    }
    printf("%38s", "");
    if (!r->largest.n_ctx)
        printf("  no context fits: 1 token takes %s in all\n",
               plan_size(least, r->least.total));
    else
        print_cell(&r->largest, r->largest.n_ctx == PLAN_CTX_LARGEST
                                    ? "  fits, and no larger one is possible"
                                    : "  is the largest that fits");
}

void plan_print(const struct plan *p)
{
    const struct model *m = p->p.model;
    const struct hparams *hp = model_hparams(m);
    char weights[PLAN_SIZE_BYTES], state[PLAN_SIZE_BYTES], memory[PLAN_SIZE_BYTES];
    char params[PLAN_SIZE_BYTES];
    printf("%s: %s, %d layers, %s parameters, trained for %d tokens\n", p->name,
           model_arch(m), hp->n_layer, plan_count(params, model_params(m)),
           hp->n_ctx_train);
    printf("weights %s, recurrent state %s, memory %s%s\n",
           plan_size(weights, model_bytes(m)),
           p->state_bytes ? plan_size(state, p->state_bytes) : "none",
           plan_size(memory, p->memory), p->memory_given ? "" : " available now");
    if (model_bytes(m) > p->memory)
        printf("The model does not fit, even without a context: its weights take %s, "
               "there are %s.\n",
               weights, memory);
    printf("\n%-13s  %-13s  %8s  %9s  %10s  %11s  %10s  %10s\n", "kv", "keys/values",
           "B/token", "context", "cache", "checkpoints", "scratch", "total");
    for (int i = 0; i < p->n_row; i++)
        print_row(p, &p->rows[i]);
}

/* ---- JSON ---- */

static json_t *json_cell(const struct plan_cell *c)
{
    const struct context_memory *m = &c->memory;
    if (!c->n_ctx)
        return json_null();
    return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:b}", "ctx", c->n_ctx, "page_bytes",
                     (json_int_t)m->pages, "exact_bytes", (json_int_t)m->exact,
                     "checkpoint_bytes", (json_int_t)m->mark, "scratch_bytes",
                     (json_int_t)m->scratch, "total_bytes", (json_int_t)c->total, "fits",
                     c->fits);
}

static json_t *json_row(const struct plan *p, const struct plan_row *r)
{
    char kv[KV_NAME_BYTES];
    kv_types_name(kv, &r->types);
    if (r->refused.status)
        return json_pack("{s:s, s:s, s:s}", "kv", r->name, "types", kv, "refused",
                         r->refused.text);
    json_t *contexts = json_array();
    for (int i = 0; i < p->n_ctx; i++)
        json_array_append_new(contexts, json_cell(&r->cells[i]));
    return json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "kv", r->name, "types", kv,
                     "token_bytes", (json_int_t)token_bytes(r), "seq_bytes",
                     (json_int_t)r->most.memory.exact, "contexts", contexts, "largest",
                     json_cell(&r->largest));
}

enum status plan_print_json(const struct plan *p, struct error *err)
{
    const struct model *m = p->p.model;
    const struct hparams *hp = model_hparams(m);
    json_t *rows = json_array();
    for (int i = 0; i < p->n_row; i++)
        json_array_append_new(rows, json_row(p, &p->rows[i]));
    return measure_print_json(
        json_pack("{s:s, s:s, s:i, s:I, s:i, s:i, s:I, s:I, s:I, s:b, s:o}", "model",
                  p->name, "arch", model_arch(m), "n_layer", hp->n_layer, "n_params",
                  (json_int_t)model_params(m), "n_ctx_train", hp->n_ctx_train, "threads",
                  pool_threads(p->p.pool), "weight_bytes", (json_int_t)model_bytes(m),
                  "state_bytes", (json_int_t)p->state_bytes, "memory_bytes",
                  (json_int_t)p->memory, "weights_fit", model_bytes(m) <= p->memory,
                  "results", rows),
        err);
}
