/* status_routes.c - how the server is. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/catalog.h"
#include "server/internal.h"

void handle_livez(struct call *c)
{
    call_reply_text(c, 200, "ok\n");
}

static bool is_full(const struct loaded_model *m)
{
    struct scheduler_stats st;
    scheduler_stats(m->scheduler, &st);
    return st.n_waiting >= m->n_queue;
}

/* Ready: it would take a request now. */
void handle_readyz(struct call *c)
{
    struct server *s = c->server;
    struct model_slot *held[MODELS_HELD_MAX];
    const int n = models_hold(s->models, held);
    bool full = n > 0;
    for (int i = 0; i < n; i++)
        full &= is_full(model_slot_model(held[i]));
    models_let_go(s->models, held, n);
    if (atomic_load(&s->draining))
        call_reply_text(c, 503, "draining\n");
    else if (full)
        call_reply_text(c, 503, "the queue is full\n");
    else
        call_reply_text(c, 200, "ok\n");
}

void handle_hello(struct call *c)
{
    call_reply_json(c, 200, json_pack("{s:s}", "message", "hello"));
}

void handle_health(struct call *c)
{
    const bool draining = atomic_load(&c->server->draining);
    if (draining)
        call_reply_json(c, 503,
                        json_pack("{s:{s:i,s:s,s:s}}", "error", "code", 503, "message",
                                  "the server is about to end", "type",
                                  "unavailable_error"));
    else
        call_reply_json(c, 200, json_pack("{s:s}", "status", "ok"));
}

static struct metrics_model measure_model(const struct loaded_model *m)
{
    const struct context_memory memory = context_memory(scheduler_context(m->scheduler));
    struct metrics_model out = {.name = m->name,
                                .kv_name = m->kv_name,
                                .kv_bytes = memory.pages,
                                .scratch_bytes = memory.scratch,
                                .weight_bytes = model_bytes(m->engine->model),
                                .n_ctx = m->n_ctx};
    scheduler_stats(m->scheduler, &out.stats);
    out.exact_bytes = out.stats.state_bytes;
    return out;
}

void handle_metrics(struct call *c)
{
    struct server *s = c->server;
    struct model_slot *held[MODELS_HELD_MAX];
    struct metrics_model models[MODELS_HELD_MAX];
    struct models_past past;
    struct buf b;
    models_past(s->models, &past);
    const int n = models_hold(s->models, held);
    for (int i = 0; i < n; i++)
        models[i] = measure_model(model_slot_model(held[i]));
    const struct metrics_gauges g = {
        .models = models,
        .n_model = n,
        .past = past.stats,
        .n_load = past.n_load,
        .n_load_failed = past.n_failed,
        .n_unload = past.n_unload,
        .n_loading = past.n_loading,
        .resident = mem_resident(),
        .n_connection = http_server_connections(s->http),
        .n_active = http_server_active(s->http),
        .uptime = (double)(clock_us() - s->start_us) / 1e6,
        .draining = atomic_load(&s->draining),
    };
    buf_init(&b, SERVER_JSON_MAX);
    metrics_print(&s->metrics, &g, &b);
    models_let_go(s->models, held, n);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
    buf_release(&b);
}

static void add_slots(json_t *list, const struct loaded_model *m)
{
    struct scheduler_slot slots[CONTEXT_SEQUENCES_MAX];
    const int n = scheduler_slots(m->scheduler, slots, CONTEXT_SEQUENCES_MAX);
    for (int i = 0; i < n && i < CONTEXT_SEQUENCES_MAX; i++) {
        const struct scheduler_slot *t = &slots[i];
        json_array_append_new(
            list, json_pack("{s:i,s:s,s:b,s:b,s:i,s:i,s:i,s:i}", "id", t->id, "model",
                            m->name, "is_processing", t->busy, "is_reading", t->reading,
                            "n_ctx", t->n_ctx, "n_prompt_tokens", t->n_prompt,
                            "n_prompt_tokens_processed", t->n_done, "n_decoded",
                            t->n_decoded));
    }
}

void handle_slots(struct call *c)
{
    struct models *p = c->server->models;
    struct model_slot *held[MODELS_HELD_MAX];
    const int n = models_hold(p, held);
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        add_slots(list, model_slot_model(held[i]));
    models_let_go(p, held, n);
    call_reply_json(c, 200, list);
}

/* ---- props ---- */

/* The text of a token that a vocabulary may not have. */
static json_t *token_text(const struct loaded_model *m, int32_t id)
{
    size_t n = 0;
    const char *text = id < 0 ? "" : tokenizer_text(m->engine->tokenizer, id, &n);
    json_t *v = json_stringn(text, n);
    return v ? v : json_string("");
}

/* A file's folders are nobody's business. */
static void add_model_props(const struct server *s, const struct loaded_model *m,
                            json_t *props)
{
    const char *path = m->is_stored || !s->o.model_path ? m->name : s->o.model_path;
    const char *slash = strrchr(path, '/');
    const struct tokenizer *t = m->engine->tokenizer;
    json_object_set_new(props, "model_path",
                        json_string(slash && !m->is_stored ? slash + 1 : path));
    json_object_set_new(props, "modalities",
                        json_pack("{s:b,s:b}", "vision", 0, "audio", 0));
    json_object_set_new(props, "bos_token", token_text(m, tokenizer_bos(t)));
    json_object_set_new(props, "eos_token", token_text(m, tokenizer_eos(t)));
    json_object_set_new(props, "is_sleeping", json_false());
}

static json_t *props_of_loaded(const struct server *s, const struct loaded_model *m)
{
    const struct sampler_params d = pipeline_sampling(m, &dialect_openai);
    struct scheduler_stats st;
    scheduler_stats(m->scheduler, &st);
    json_t *props = json_pack(
        "{s:{s:i,s:{s:f,s:i,s:f,s:f,s:f}},s:i,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:b}",
        "default_generation_settings", "n_ctx", m->n_ctx, "params", "temperature",
        (double)d.temp, "top_k", d.top_k, "top_p", (double)d.top_p, "min_p",
        (double)d.min_p, "repeat_penalty", (double)d.repeat_penalty, "total_slots",
        st.n_slot, "model_alias", m->name, "chat_template",
        m->card->template ? m->card->template : "", "chat_format",
        output_format_name(m->format), "kv_type", m->kv_name, "build_info",
        m->fingerprint, "can_call_tools", m->card->can_call, "can_think",
        m->card->can_think, "can_infill", m->card->can_insert);
    if (props)
        add_model_props(s, m, props);
    return props;
}

/* What is known without loading it. */
static json_t *props_of_card(const struct catalog_model *m, int n_ctx)
{
    return json_pack("{s:{s:i},s:i,s:s,s:b,s:b,s:b,s:b}", "default_generation_settings",
                     "n_ctx", n_ctx, "total_slots", 0, "model_alias", m->name,
                     "is_sleeping", 1, "can_call_tools", m->card->can_call, "can_think",
                     m->card->can_think, "can_infill", m->card->can_insert);
}

/* ?model=: of that one, else of the one that requests without a name get.  Looking at a
 * model does not load it. */
void handle_props(struct call *c)
{
    struct server *s = c->server;
    const char *name = http_query(c->x, "model");
    struct model_ref ref;
    struct api_error e;
    struct error err;
    struct catalog_model m;
    if (models_find(s->models, name ? name : "", &ref, &e)) {
        call_error(c, &e);
        return;
    }
    struct model_slot *x = models_hold_one(s->models, &ref);
    if (x) {
        json_t *props = props_of_loaded(s, model_slot_model(x));
        models_let_go(s->models, &x, 1);
        call_reply_json(c, 200, props);
    } else if (catalog_find(s, &ref, &m, &err)) {
        call_engine_error(c, &err);
    } else {
        call_reply_json(c, 200, props_of_card(&m, catalog_n_ctx(s, m.card)));
        model_card_drop(m.card);
    }
}
