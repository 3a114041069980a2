/* cmd_plan.c - turbine plan: what a model takes in memory, before it is loaded or even
 * fetched.  All sizes come from the code that reserves them. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/measure.h"
#include "cli/plan.h"
#include "cli/run.h"
#include "cli/svg.h"
#include "kv/checkpoints.h"
#include "model/kv_policy.h"

static struct {
    const char *kv, *plot;
    size_t memory;
    int ctx, checkpoints, threads;
    bool json;
} plan_args;

static const struct cli_option plan_options[] = {
    {"--memory", CLI_BYTES, &plan_args.memory, 0, 0,
     "SIZE  to fit into, as 16G, 24GiB or 8000M (default: what is available now)"},
    {"--ctx", CLI_INT, &plan_args.ctx, 1, PLAN_CTX_LARGEST,
     "N  tokens of context (default: 8192, 32768, 131072 and 262144)"},
    {"--kv", CLI_STRING, &plan_args.kv, 0, 0,
     "LIST  of KV types, keys[/values] (default: f16, the presets, turbo3, turbo2)"},
    {"--checkpoints", CLI_INT, &plan_args.checkpoints, 1, KV_CHECKPOINTS_MAX,
     "N  places to go back to (default: 8, as in a chat; fewer, down to 2, above 256 "
     "MiB)"},
    {"--threads", CLI_INT, &plan_args.threads, 1, 256,
     "N  that compute, each with some scratch (default: physical cores)"},
    {"--plot", CLI_STRING, &plan_args.plot, 0, 0,
     "FILE.svg  draw memory against context for each KV type"},
    {"--json", CLI_FLAG, &plan_args.json, 0, 0, "one JSON object"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command plan_command = {
    "plan",
    "MODEL",
    "memory that a model needs, by context and KV type, and the largest context that "
    "fits.\n" PLANNED_HELP "\n"
    "Counted are weights, cache, checkpoints of what pages of the cache do not hold, "
    "and "
    "scratch, for one\nsequence; the program and its vocabulary come to it, some 10 MiB.",
    plan_options,
    1,
    1,
};

/* A type that does not go with the model is refused in its row. */
static enum status plan_row(struct plan_row *r, const struct plan *p, struct error *err)
{
    enum status s = plan_context(&r->least, p, &r->types, 1, &r->refused);
    if (s == STATUS_UNSUPPORTED)
        return STATUS_OK;
    r->refused.status = STATUS_OK;
    if (s)
        *err = r->refused;
    if (!s)
        s = plan_context(&r->most, p, &r->types, PLAN_CTX_LARGEST, err);
    for (int i = 0; !s && i < p->n_ctx; i++)
        s = plan_context(&r->cells[i], p, &r->types, p->ctx[i], err);
    return s ? s : plan_largest(&r->largest, p, &r->types, err);
}

static enum status sum_state(struct plan *p, struct error *err)
{
    const struct kv_types exact = {TQ_F16, TQ_F16, 0, false, false};
    for (int i = 0; i < model_hparams(p->p.model)->n_layer; i++) {
        struct kv_layer l;
        const enum status s = kv_policy_layer(
            &l, p->p.model, i, &exact, model_hparams(p->p.model)->n_ctx_train, err);
        if (s)
            return s;
        if (l.store == KV_STATE)
            p->state_bytes += l.seq_bytes;
    }
    return STATUS_OK;
}

static enum status name_types(struct plan *p, const char *list, struct error *err)
{
    struct kv_types types[PLAN_TYPES_MAX];
    const enum status s = measure_kv_list(types, &p->n_row, PLAN_TYPES_MAX, list, err);
    for (int i = 0; !s && i < p->n_row; i++) {
        const size_t n = strcspn(list, ",");
        snprintf(p->rows[i].name, sizeof p->rows[i].name, "%.*s", (int)n, list);
        p->rows[i].types = types[i];
        list += n + 1;
    }
    return s;
}

static void choose_contexts(struct plan *p)
{
    static const int usual[] = {8192, 32768, 131072, 262144};
    if (plan_args.ctx) {
        p->ctx[p->n_ctx++] = plan_args.ctx;
        return;
    }
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
        p->ctx[p->n_ctx++] = usual[i];
}

static enum status choose_memory(struct plan *p, struct error *err)
{
    p->memory_given = plan_args.memory;
    p->memory = plan_args.memory ? plan_args.memory : mem_available();
    return p->memory ? STATUS_OK
                     : fail(err, STATUS_UNSUPPORTED,
                            "the system does not say how much memory is available: give "
                            "--memory");
}

static enum status run_plan(struct plan *p, struct error *err)
{
    enum status s;
    if (plan_args.plot && (s = svg_check(plan_args.plot, err)))
        return s;
    choose_contexts(p);
    p->n_mark = plan_args.checkpoints;
    if ((s = choose_memory(p, err)) || (s = name_types(p, plan_args.kv, err)) ||
        (s = planned_open(&p->p, p->name, plan_args.threads, err)) ||
        (s = sum_state(p, err)))
        return s;
    for (int i = 0; i < p->n_row; i++)
        if ((s = plan_row(&p->rows[i], p, err)))
            return s;
    if (!plan_args.json)
        plan_print(p);
    else if ((s = plan_print_json(p, err)))
        return s;
    return plan_args.plot ? plan_plot(p, plan_args.plot, err) : STATUS_OK;
}

int cmd_plan(int argc, char **argv)
{
    static struct plan p;
    plan_args.checkpoints = RUN_CHAT_MARKS;
    plan_args.kv = "f16,near-lossless,balanced,small,tiny,turbo3,turbo2";
    const int rc = cli_parse(&plan_command, argc, argv, &p.name);
    if (rc >= 0)
        return rc;
    struct error err;
    const enum status s = run_plan(&p, &err);
    planned_close(&p.p);
    return s ? cli_fail(&plan_command, &err) : CLI_OK;
}
