#include "cli/inspect_kv.h"

#include <stdio.h>

#include <jansson.h>

#include "base/mem.h"
#include "cli/measure.h"
#include "cli/planned.h"
#include "model/kv_policy.h"

enum { LONGEST_CTX = 1 << 24 }; // windows are there in full

struct layer_table {
    const char *name;
    const struct model *m;
    struct kv_types types;
    int n_layer, n_paged;
    struct kv_layer *layers; // [n_layer]
    struct context_memory all;
};

static const char *store_name(enum kv_store s)
{
    static const char *const names[] = {[KV_PAGED] = "paged",
                                        [KV_RING] = "ring",
                                        [KV_LATENT] = "latent",
                                        [KV_STATE] = "state"};
    return names[s];
}

static enum status fill_table(struct layer_table *t, struct error *err)
{
    const struct context_options o = {.kv = t->types, .n_ctx = LONGEST_CTX};
    enum status s = context_plan(&t->all, t->m, &o, err);
    t->n_layer = model_hparams(t->m)->n_layer;
    t->layers = mem_array((size_t)t->n_layer, sizeof *t->layers);
    if (!s && !t->layers)
        s = fail(err, STATUS_NO_MEMORY, "no memory for %d layers", t->n_layer);
    for (int i = 0; !s && i < t->n_layer; i++) {
        s = kv_policy_layer(&t->layers[i], t->m, i, &t->types, LONGEST_CTX, err);
        t->n_paged += t->layers[i].store == KV_PAGED;
    }
    return s;
}

static void print_layers(const struct layer_table *t)
{
    char kv[KV_NAME_BYTES];
    int paged = 0;
    printf("%s: %s, %d layers; kv %s\n", t->name, model_arch(t->m), t->n_layer,
           kv_types_name(kv, &t->types));
    printf("%5s  %-20s  %-6s  %5s  %-8s  %-8s  %11s  %14s\n", "layer", "mixer", "store",
           "paged", "keys", "values", "bytes/token", "bytes/sequence");
    for (int i = 0; i < t->n_layer; i++) {
        const struct kv_layer *l = &t->layers[i];
        const bool state = l->store == KV_STATE;
        char ordinal[16] = "-";
        if (l->store == KV_PAGED)
            snprintf(ordinal, sizeof ordinal, "%d", paged++);
        printf("%5d  %-20s  %-6s  %5s  %-8s  %-8s  %11zu  %14zu\n", i, l->mixer,
               store_name(l->store), ordinal, state ? "f32" : tq_type_name(l->types.k),
               state                   ? "-"
               : l->store == KV_LATENT ? "(keys)"
                                       : tq_type_name(l->types.v),
               l->token_bytes, l->seq_bytes);
    }
    printf("%5s  %-20s  %-6s  %5d  %-8s  %-8s  %11zu  %14zu\n", "all", "", "", t->n_paged,
           "", "", t->all.page_bytes / TQ_PAGE_TOKENS, t->all.exact);
}

static json_t *json_layer(const struct kv_layer *l, int layer, int paged)
{
    const bool state = l->store == KV_STATE, latent = l->store == KV_LATENT;
    return json_pack(
        "{s:i, s:s, s:s, s:o, s:o, s:o, s:I, s:I}", "layer", layer, "mixer", l->mixer,
        "store", store_name(l->store), "paged",
        l->store == KV_PAGED ? json_integer(paged) : json_null(), "k",
        state ? json_null() : json_string(tq_type_name(l->types.k)), "v",
        state || latent ? json_null() : json_string(tq_type_name(l->types.v)),
        "token_bytes", (json_int_t)l->token_bytes, "seq_bytes", (json_int_t)l->seq_bytes);
}

static enum status print_layers_json(const struct layer_table *t, struct error *err)
{
    char kv[KV_NAME_BYTES];
    json_t *layers = json_array();
    int paged = 0;
    for (int i = 0; i < t->n_layer; i++) {
        json_array_append_new(layers, json_layer(&t->layers[i], i, paged));
        paged += t->layers[i].store == KV_PAGED;
    }
    return measure_print_json(json_pack("{s:s, s:s, s:s, s:o, s:i, s:I, s:I}", "model",
                                        t->name, "arch", model_arch(t->m), "kv",
                                        kv_types_name(kv, &t->types), "layers", layers,
                                        "n_paged", t->n_paged, "token_bytes",
                                        (json_int_t)(t->all.page_bytes / TQ_PAGE_TOKENS),
                                        "seq_bytes", (json_int_t)t->all.exact),
                              err);
}

enum status inspect_kv(const char *name, const char *kv, bool json, struct error *err)
{
    struct layer_table t = {.name = name};
    struct planned p;
    enum status s;
    if ((s = kv_types_parse(&t.types, kv, err)) || (s = planned_open(&p, name, 1, err)))
        return s;
    t.m = p.model;
    s = fill_table(&t, err);
    if (!s && json)
        s = print_layers_json(&t, err);
    else if (!s)
        print_layers(&t);
    mem_free(t.layers);
    planned_close(&p);
    return s;
}
