/* model_list.c - lists of models in the shapes of three APIs, and what runs. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "kv/kv.h"
#include "server/internal.h"

/* The version of Ollama's API that is followed, which clients compare; and our own. */
#define OLLAMA_API "0.33.0"
#define TURBINE "0.1.0"

/* ---- OpenAI and Anthropic ---- */

static json_t *openai_model(const struct server *s, const char *id)
{
    const struct model_card *m = &s->card;
    return json_pack("{s:s,s:s,s:I,s:s,s:s,s:s,s:{s:i,s:i,s:I,s:I}}", "id", id, "object",
                     "model", "created", (json_int_t)m->created, "owned_by", "turbine",
                     "display_name", *m->general ? m->general : m->name, "type", "model",
                     "meta", "n_ctx", s->n_ctx, "n_embd", s->n_embd, "n_params",
                     (json_int_t)m->n_param, "size", (json_int_t)s->engine->file_bytes);
}

static json_t *anthropic_model(const struct server *s, const char *id)
{
    const struct model_card *m = &s->card;
    return json_pack("{s:s,s:s,s:s,s:s,s:i}", "type", "model", "id", id, "display_name",
                     *m->general ? m->general : m->name, "created_at", m->modified,
                     "max_input_tokens", s->n_ctx);
}

static json_t *one_model(const struct call *c, const char *id)
{
    return c->dialect == &dialect_anthropic ? anthropic_model(c->server, id)
                                            : openai_model(c->server, id);
}

void handle_models(struct call *c)
{
    const struct model_card *m = &c->server->card;
    json_t *data = json_array();
    json_array_append_new(data, one_model(c, m->name));
    for (int i = 0; i < m->n_alias; i++)
        json_array_append_new(data, one_model(c, m->aliases[i]));
    /* Claude Code drops ids without its own name. */
    json_array_append_new(data, one_model(c, m->claude));
    if (c->dialect == &dialect_anthropic)
        call_reply_json(c, 200,
                        json_pack("{s:o,s:b,s:s,s:s}", "data", data, "has_more", 0,
                                  "first_id", m->name, "last_id", m->claude));
    else
        call_reply_json(c, 200, json_pack("{s:s,s:o}", "object", "list", "data", data));
}

void handle_model(struct call *c)
{
    const char *id = c->path + strlen("/v1/models/");
    if (model_card_has(c->server, id))
        call_reply_json(c, 200, one_model(c, id));
    else
        call_fail(c, API_ERROR_NO_MODEL, "model '%.200s' not found", id);
}

/* ---- Ollama ---- */

static json_t *details(const struct server *s)
{
    const struct model_card *m = &s->card;
    const char *family = model_arch(s->engine->model);
    return json_pack("{s:s,s:s,s:s,s:[s],s:s,s:s,s:i,s:i}", "parent_model", "", "format",
                     "gguf", "family", family, "families", family, "parameter_size",
                     m->size_label, "quantization_level", m->quant, "context_length",
                     s->n_ctx, "embedding_length", s->n_embd);
}

static json_t *capabilities(const struct server *s)
{
    json_t *a = json_pack("[s,s]", "completion", "embedding");
    if (s->card.can_call)
        json_array_append_new(a, json_string("tools"));
    if (s->card.can_insert)
        json_array_append_new(a, json_string("insert"));
    if (s->card.can_think)
        json_array_append_new(a, json_string("thinking"));
    return a;
}

static json_t *tag(const struct server *s, const char *name)
{
    const struct model_card *m = &s->card;
    return json_pack("{s:s,s:s,s:s,s:I,s:s,s:o,s:o}", "name", name, "model", name,
                     "modified_at", m->modified, "size",
                     (json_int_t)s->engine->file_bytes, "digest", m->digest, "details",
                     details(s), "capabilities", capabilities(s));
}

void handle_tags(struct call *c)
{
    const struct server *s = c->server;
    json_t *models = json_array();
    json_array_append_new(models, tag(s, s->card.name));
    for (int i = 0; i < s->card.n_alias; i++)
        json_array_append_new(models, tag(s, s->card.aliases[i]));
    call_reply_json(c, 200, json_pack("{s:o}", "models", models));
}

/* What the cache takes now, and what its tokens would in 16-bit floats: Ollama's ps has
 * no such figure. */
static json_t *kv_json(const struct server *s)
{
    struct scheduler_stats st;
    const struct context_memory m = context_memory(scheduler_context(s->scheduler));
    scheduler_stats(s->scheduler, &st);
    const size_t held = (size_t)(st.n_page_used + st.n_page_cached);
    return json_pack("{s:s,s:s,s:I,s:I,s:I,s:I,s:I,s:i,s:I}", "type_k", s->kv_key,
                     "type_v", s->kv_value, "bytes", (json_int_t)(held * m.page_bytes),
                     "bytes_f16", (json_int_t)(held * s->f16_page_bytes),
                     "bytes_reserved", (json_int_t)(m.pages + m.exact + m.mark),
                     "exact_bytes", (json_int_t)(m.exact + m.mark), "scratch_bytes",
                     (json_int_t)m.scratch, "tokens_used", st.n_tokens, "tokens_max",
                     (json_int_t)st.n_page * KV_PAGE_TOKENS);
}

void handle_ps(struct call *c)
{
    const struct server *s = c->server;
    const struct model_card *m = &s->card;
    const struct context_memory k = context_memory(scheduler_context(s->scheduler));
    const size_t bytes =
        model_bytes(s->engine->model) + k.pages + k.exact + k.mark + k.scratch;
    /* It stays as long as the server: a time that clients can read. */
    call_reply_json(
        c, 200,
        json_pack("{s:[{s:s,s:s,s:I,s:s,s:o,s:s,s:i,s:i,s:o}]}", "models", "name",
                  m->name, "model", m->name, "size", (json_int_t)bytes, "digest",
                  m->digest, "details", details(s), "expires_at", "2318-01-01T00:00:00Z",
                  "size_vram", 0, "context_length", s->n_ctx, "kv", kv_json(s)));
}

static void write_parameters(struct buf *b, const struct server *s)
{
    const struct sampler_params d = sampler_defaults;
    buf_printf(b, "%-30s %d\n", "num_ctx", s->n_ctx);
    buf_printf(b, "%-30s %g\n", "temperature", (double)d.temp);
    buf_printf(b, "%-30s %d\n", "top_k", d.top_k);
    buf_printf(b, "%-30s %g\n", "top_p", (double)d.top_p);
    buf_printf(b, "%-30s %g", "min_p", (double)d.min_p);
}

void handle_show(struct call *c)
{
    const struct server *s = c->server;
    const struct model_card *m = &s->card;
    json_t *body;
    struct buf b, file;
    if (!call_read_json(c, &body))
        return;
    const char *name = json_string_value(json_object_get(body, "model"));
    if (!name || !*name)
        name = json_string_value(json_object_get(body, "name"));
    if (!name || !*name) {
        call_fail(c, API_ERROR_INVALID, "model is required");
    } else if (!model_card_has(s, name)) {
        call_fail(c, API_ERROR_NO_MODEL, "model '%.200s' not found", name);
    } else {
        buf_init(&b, 4096);
        buf_init(&file, 8192);
        write_parameters(&b, s);
        buf_printf(&file, "# %s\nFROM %s\n", m->name, m->name);
        /* Continue looks for .Suffix to know whether it may ask to fill in. */
        const char *template = m->template ? m->template : "";
        const char *shown = m->can_insert && !strstr(template, ".Suffix")
                                ? "{{ .Prompt }}{{ .Suffix }}"
                                : template;
        call_reply_json(c, 200,
                        json_pack("{s:s,s:s,s:s,s:s,s:o,s:O,s:o,s:s}", "license", "",
                                  "modelfile", file.data, "parameters", b.data,
                                  "template", shown, "details", details(s), "model_info",
                                  m->info, "capabilities", capabilities(s), "modified_at",
                                  m->modified));
        buf_release(&b);
        buf_release(&file);
    }
    json_decref(body);
}

void handle_version(struct call *c)
{
    call_reply_json(c, 200,
                    json_pack("{s:s,s:s}", "version", OLLAMA_API, "turbine", TURBINE));
}

void handle_cloud_status(struct call *c)
{
    call_reply_json(
        c, 200, json_pack("{s:{s:b,s:s}}", "cloud", "disabled", 1, "source", "server"));
}

void handle_no_store(struct call *c)
{
    struct buf b;
    buf_init(&b, 1024);
    buf_puts(&b, "{\"error\":\"this server has the one model that it was started with: "
                 "there is no store to create, copy, pull, push or delete in\"}");
    call_reply(c, 501, "application/json", &b);
    buf_release(&b);
}
