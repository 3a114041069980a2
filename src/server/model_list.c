/* model_list.c - lists of models in the shapes of three APIs, and what runs. */
#include <stdio.h>
#include <string.h>

#include "dialect/ollama_models.h"
#include "dialect/openai.h"
#include "kv/kv.h"
#include "server/internal.h"

/* The version of Ollama's API that is followed: clients compare it. */
#define OLLAMA_API "0.33.0"

/* ---- OpenAI and Anthropic ---- */

/* Ids that mean the model; the last is for Claude Code, which drops those without its own
 * name. */
static int list_names(const struct model_card *m, const char **out)
{
    int n = 0;
    out[n++] = m->name;
    for (int i = 0; i < m->n_alias; i++)
        out[n++] = m->aliases[i];
    out[n++] = m->claude;
    return n;
}

static const char *display_name(const struct model_card *m)
{
    return *m->general ? m->general : m->name;
}

static json_t *more_of_model(const struct server *s)
{
    const struct model_card *m = &s->card;
    return json_pack("{s:s,s:i,s:{s:i,s:i,s:I,s:I}}", "display_name", display_name(m),
                     "max_model_len", s->n_ctx, "meta", "n_ctx", s->n_ctx, "n_embd",
                     s->n_embd, "n_params", (json_int_t)m->n_param, "size",
                     (json_int_t)s->engine->file_bytes);
}

/* all: a list of them, else names[0] alone. */
static void reply_openai_models(struct call *c, const char *const *names, int n, bool all)
{
    struct openai_model models[SERVER_NAMES_MAX];
    json_t *more = more_of_model(c->server);
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    for (int i = 0; i < n; i++)
        models[i] =
            (struct openai_model){names[i], c->server->card.created * 1000000, more};
    if (all)
        openai_print_models(&b, models, n);
    else
        openai_print_model(&b, models);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
    json_decref(more);
}

static json_t *anthropic_model(const struct server *s, const char *id)
{
    const struct model_card *m = &s->card;
    return json_pack("{s:s,s:s,s:s,s:s,s:i}", "type", "model", "id", id, "display_name",
                     display_name(m), "created_at", m->modified, "max_input_tokens",
                     s->n_ctx);
}

void handle_models(struct call *c)
{
    const char *ids[SERVER_NAMES_MAX];
    const int n = list_names(&c->server->card, ids);
    if (c->dialect != &dialect_anthropic) {
        reply_openai_models(c, ids, n, true);
        return;
    }
    json_t *data = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(data, anthropic_model(c->server, ids[i]));
    call_reply_json(c, 200,
                    json_pack("{s:o,s:b,s:s,s:s}", "data", data, "has_more", 0,
                              "first_id", ids[0], "last_id", ids[n - 1]));
}

void handle_model(struct call *c)
{
    const char *id = c->path + strcspn(c->path + 1, "/") + 1; // behind /v1 or /models
    id += strncmp(id, "/models/", 8) ? 1 : 8;
    if (!model_card_has(c->server, id))
        call_fail(c, API_ERROR_NO_MODEL, "model '%.200s' not found", id);
    else if (c->dialect == &dialect_anthropic)
        call_reply_json(c, 200, anthropic_model(c->server, id));
    else
        reply_openai_models(c, &id, 1, false);
}

/* ---- Ollama ---- */

enum { CAPABILITIES_MAX = 5 };

static struct ollama_model ollama_model(const struct server *s, const char *name,
                                        const char *capabilities[CAPABILITIES_MAX])
{
    const struct model_card *m = &s->card;
    int n = 0;
    capabilities[n++] = "completion";
    capabilities[n++] = "embedding";
    if (m->can_call)
        capabilities[n++] = "tools";
    if (m->can_insert)
        capabilities[n++] = "insert";
    if (m->can_think)
        capabilities[n++] = "thinking";
    return (struct ollama_model){
        .name = name,
        .digest = m->digest,
        .size = s->engine->file_bytes,
        .modified_us = m->created * 1000000,
        .parent = "",
        .format = "gguf",
        .family = model_arch(s->engine->model),
        .parameter_size = m->size_label,
        .quantization = m->quant,
        .context_length = model_hparams(s->engine->model)->n_ctx_train,
        .embedding_length = s->n_embd,
        .capabilities = capabilities,
        .n_capability = n,
    };
}

void handle_tags(struct call *c)
{
    const struct server *s = c->server;
    const char *names[SERVER_NAMES_MAX], *capabilities[CAPABILITIES_MAX];
    struct ollama_model models[SERVER_NAMES_MAX];
    struct buf b;
    const int n = list_names(&s->card, names) - 1; // Claude Code does not look here
    buf_init(&b, SERVER_JSON_MAX);
    for (int i = 0; i < n; i++)
        models[i] = ollama_model(s, names[i], capabilities);
    ollama_print_tags(&b, models, n);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

void handle_ps(struct call *c)
{
    const struct server *s = c->server;
    const char *capabilities[CAPABILITIES_MAX];
    const struct ollama_model model = ollama_model(s, s->card.name, capabilities);
    const struct context_memory m = context_memory(scheduler_context(s->scheduler));
    struct scheduler_stats st;
    struct buf b;
    scheduler_stats(s->scheduler, &st);
    const size_t held = (size_t)(st.n_page_used + st.n_page_cached);
    const struct ollama_running r = {
        .model = &model,
        .size = model_bytes(s->engine->model) + m.pages + st.state_bytes + m.scratch,
        .expires_us = INT64_MAX,
        .n_ctx = s->n_ctx,
        .kv = {.type_k = s->kv_key,
               .type_v = s->kv_value,
               .bytes = held * m.page_bytes,
               .bytes_reserved = m.pages + st.state_bytes,
               .bytes_f16 = held * s->f16_page_bytes,
               .tokens_used = (uint64_t)held * KV_PAGE_TOKENS,
               .tokens_max = (uint64_t)st.n_page * KV_PAGE_TOKENS}};
    buf_init(&b, SERVER_JSON_MAX);
    ollama_print_ps(&b, &r, 1);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

static void print_parameters(struct buf *b, const struct server *s)
{
    const struct sampler_params d = pipeline_sampling(s, &dialect_ollama);
    char v[32];
    snprintf(v, sizeof v, "%d", s->n_ctx);
    ollama_print_parameter(b, "num_ctx", v);
    snprintf(v, sizeof v, "%g", (double)d.temp);
    ollama_print_parameter(b, "temperature", v);
    snprintf(v, sizeof v, "%d", d.top_k);
    ollama_print_parameter(b, "top_k", v);
    snprintf(v, sizeof v, "%g", (double)d.top_p);
    ollama_print_parameter(b, "top_p", v);
    snprintf(v, sizeof v, "%g", (double)d.min_p);
    ollama_print_parameter(b, "min_p", v);
}

static void reply_show(struct call *c)
{
    const struct server *s = c->server;
    const struct model_card *m = &s->card;
    const char *capabilities[CAPABILITIES_MAX];
    struct ollama_model model = ollama_model(s, m->name, capabilities);
    struct buf b, parameters, file;
    buf_init(&b, SERVER_JSON_MAX);
    buf_init(&parameters, 4096);
    buf_init(&file, 8192);
    print_parameters(&parameters, s);
    buf_printf(&file, "# %s\nFROM %s\n", m->name, m->name);
    model.parameters = parameters.data;
    model.modelfile = file.data;
    model.model_info = m->info;
    model.template = m->template;
    /* Continue looks for .Suffix to know whether it may ask to fill in. */
    if (m->can_insert)
        model.template = "{{ .Prompt }}{{ .Suffix }}";
    ollama_print_show(&b, &model);
    call_reply(c, 200, "application/json", &b);
    buf_release(&file);
    buf_release(&parameters);
    buf_release(&b);
}

void handle_show(struct call *c)
{
    json_t *body;
    if (!call_read_json(c, &body))
        return;
    const char *name = json_string_value(json_object_get(body, "model"));
    if (!name || !*name)
        name = json_string_value(json_object_get(body, "name"));
    if (!name || !*name)
        call_fail(c, API_ERROR_INVALID, "model is required");
    else if (!model_card_has(c->server, name))
        call_fail(c, API_ERROR_NO_MODEL, "model '%.200s' not found", name);
    else
        reply_show(c);
    json_decref(body);
}

void handle_version(struct call *c)
{
    struct buf b;
    buf_init(&b, 256);
    ollama_print_version(&b, OLLAMA_API);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

void handle_cloud_status(struct call *c)
{
    call_reply_json(
        c, 200, json_pack("{s:{s:b,s:s}}", "cloud", "disabled", 1, "source", "server"));
}
