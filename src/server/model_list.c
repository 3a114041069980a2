/* model_list.c - lists of models in the shapes of OpenAI and Anthropic. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/openai.h"
#include "server/catalog.h"
#include "server/internal.h"

/* A name that a client may use: list[0..n_plain) are models and more names of the first,
 * behind them one for each model that Claude Code shows, which drops those without its
 * own name. */
struct listed {
    char id[MODEL_NAME_BYTES + 16];
    const struct catalog_model *model;
};

static const char *display_name(const struct catalog_model *m)
{
    return *m->card->general ? m->card->general : m->name;
}

static struct listed *add_listed(struct listed *l, const struct catalog_model *m,
                                 const char *prefix, const char *name)
{
    snprintf(l->id, sizeof l->id, "%s%s", prefix, name);
    l->model = m;
    return l + 1;
}

/* Freed by mem_free; NULL without memory. */
static struct listed *list_ids(const struct server *s, const struct catalog_model *list,
                               int n, int *n_listed)
{
    const struct model_start *t = models_start_model(s->models);
    struct listed *all = mem_array((size_t)(2 * n + t->n_alias + 1), sizeof *all);
    struct listed *l = all;
    for (int i = 0; all && i < n; i++) {
        l = add_listed(l, &list[i], "", list[i].name);
        for (int k = 0; list[i].ref.start && k < t->n_alias; k++)
            l = add_listed(l, &list[i], "", t->aliases[k]);
    }
    for (int i = 0; all && i < n; i++)
        l = add_listed(l, &list[i], MODELS_CLAUDE_PREFIX, list[i].name);
    *n_listed = (int)(l - all);
    return all;
}

/* The context that it has, or would get. */
static int n_ctx_of(struct server *s, const struct catalog_model *m)
{
    struct model_slot *x = models_hold_one(s->models, &m->ref);
    if (!x)
        return catalog_n_ctx(s, m->card);
    const int n = model_slot_model(x)->n_ctx;
    models_let_go(s->models, &x, 1);
    return n;
}

static json_t *more_of_model(struct server *s, const struct catalog_model *m)
{
    const int n_ctx = n_ctx_of(s, m);
    return json_pack("{s:s,s:i,s:{s:i,s:i,s:I,s:I}}", "display_name", display_name(m),
                     "max_model_len", n_ctx, "meta", "n_ctx", n_ctx, "n_embd",
                     m->card->n_embd, "n_params", (json_int_t)m->card->n_param, "size",
                     (json_int_t)m->card->file_bytes);
}

static void reply_openai_models(struct call *c, const struct listed *ids, int n)
{
    struct openai_model *models = mem_array((size_t)n + 1, sizeof *models);
    json_t **more = mem_array((size_t)n + 1, sizeof *more);
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    for (int i = 0; models && more && i < n; i++) {
        more[i] = more_of_model(c->server, ids[i].model);
        models[i] = (struct openai_model){ids[i].id, ids[i].model->card->created * 1000000,
                                          more[i]};
    }
    if (models && more)
        openai_print_models(&b, models, n);
    else
        b.failed = true;
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
    for (int i = 0; more && i < n; i++)
        json_decref(more[i]);
    mem_free(more);
    mem_free(models);
}

static json_t *anthropic_model(struct server *s, const struct catalog_model *m,
                               const char *id)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:i}", "type", "model", "id", id, "display_name",
                     display_name(m), "created_at", m->card->modified, "max_input_tokens",
                     n_ctx_of(s, m));
}

static void reply_anthropic_models(struct call *c, const struct listed *ids, int n)
{
    json_t *data = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(data, anthropic_model(c->server, ids[i].model, ids[i].id));
    call_reply_json(c, 200,
                    json_pack("{s:o,s:b,s:s*,s:s*}", "data", data, "has_more", 0,
                              "first_id", n ? ids[0].id : NULL, "last_id",
                              n ? ids[n - 1].id : NULL));
}

void handle_models(struct call *c)
{
    struct catalog_model *list;
    struct error err;
    int n, n_id = 0;
    if (catalog_list(c->server, &list, &n, &err)) {
        call_engine_error(c, &err);
        return;
    }
    struct listed *ids = list_ids(c->server, list, n, &n_id);
    if (!ids)
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
    else if (c->dialect == &dialect_anthropic)
        reply_anthropic_models(c, ids, n_id);
    else
        reply_openai_models(c, ids, n_id);
    mem_free(ids);
    catalog_free(list, n);
}

static void reply_model(struct call *c, const struct catalog_model *m, const char *id)
{
    struct buf b;
    if (c->dialect == &dialect_anthropic) {
        call_reply_json(c, 200, anthropic_model(c->server, m, id));
        return;
    }
    json_t *more = more_of_model(c->server, m);
    const struct openai_model model = {id, m->card->created * 1000000, more};
    buf_init(&b, SERVER_JSON_MAX);
    openai_print_model(&b, &model);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
    json_decref(more);
}

void handle_model(struct call *c)
{
    const char *id = c->path + strcspn(c->path + 1, "/") + 1; // behind /v1 or /models
    id += strncmp(id, "/models/", 8) ? 1 : 8;
    struct model_ref ref;
    struct catalog_model m;
    struct api_error e;
    struct error err;
    if (models_find(c->server->models, id, &ref, &e)) {
        call_error(c, &e);
        return;
    }
    if (catalog_find(c->server, &ref, &m, &err)) {
        call_engine_error(c, &err);
        return;
    }
    reply_model(c, &m, id);
    model_card_drop(m.card);
}
