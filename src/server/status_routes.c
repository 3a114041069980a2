/* status_routes.c - how the server is. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/internal.h"

void handle_livez(struct call *c)
{
    call_reply_text(c, 200, "ok\n");
}

/* Ready: it would take a request now. */
void handle_readyz(struct call *c)
{
    const struct server *s = c->server;
    struct scheduler_stats st;
    scheduler_stats(s->scheduler, &st);
    if (atomic_load(&s->draining))
        call_reply_text(c, 503, "draining\n");
    else if (s->o.n_queue && st.n_waiting >= s->o.n_queue)
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

void handle_metrics(struct call *c)
{
    struct server *s = c->server;
    struct scheduler_stats st;
    struct buf b;
    const struct context_memory m = context_memory(scheduler_context(s->scheduler));
    scheduler_stats(s->scheduler, &st);
    const struct metrics_gauges g = {
        .stats = &st,
        .kv_name = s->o.kv_name,
        .kv_bytes = m.pages,
        .exact_bytes = st.state_bytes,
        .scratch_bytes = m.scratch,
        .weight_bytes = model_bytes(s->engine->model),
        .resident = mem_resident(),
        .n_connection = http_server_connections(s->http),
        .n_active = http_server_active(s->http),
        .uptime = (double)(clock_us() - s->start_us) / 1e6,
        .draining = atomic_load(&s->draining),
    };
    buf_init(&b, SERVER_JSON_MAX);
    metrics_print(&s->metrics, &g, &b);
    call_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
    buf_release(&b);
}

void handle_slots(struct call *c)
{
    struct scheduler_slot slots[CONTEXT_SEQUENCES_MAX];
    const struct server *s = c->server;
    const int n = scheduler_slots(s->scheduler, slots, CONTEXT_SEQUENCES_MAX);
    json_t *a = json_array();
    for (int i = 0; i < n && i < CONTEXT_SEQUENCES_MAX; i++) {
        const struct scheduler_slot *t = &slots[i];
        json_array_append_new(
            a, json_pack("{s:i,s:b,s:b,s:i,s:i,s:i,s:i}", "id", t->id, "is_processing",
                         t->busy, "is_reading", t->reading, "n_ctx", t->n_ctx,
                         "n_prompt_tokens", t->n_prompt, "n_prompt_tokens_processed",
                         t->n_done, "n_decoded", t->n_decoded));
    }
    call_reply_json(c, 200, a);
}

/* The text of a token that a vocabulary may not have. */
static json_t *token_text(const struct server *s, int32_t id)
{
    size_t n = 0;
    const char *text = id < 0 ? "" : tokenizer_text(s->engine->tokenizer, id, &n);
    json_t *v = json_stringn(text, n);
    return v ? v : json_string("");
}

/* The model's path is its file's name: folders of the server are nobody's business. */
static void add_model_props(const struct server *s, json_t *props)
{
    const char *slash = strrchr(s->o.model_path, '/');
    const struct tokenizer *t = s->engine->tokenizer;
    json_object_set_new(props, "model_path",
                        json_string(slash ? slash + 1 : s->o.model_path));
    json_object_set_new(props, "modalities",
                        json_pack("{s:b,s:b}", "vision", 0, "audio", 0));
    json_object_set_new(props, "bos_token", token_text(s, tokenizer_bos(t)));
    json_object_set_new(props, "eos_token", token_text(s, tokenizer_eos(t)));
    json_object_set_new(props, "is_sleeping", json_false());
}

void handle_props(struct call *c)
{
    const struct server *s = c->server;
    const struct sampler_params d = pipeline_sampling(s, &dialect_openai);
    struct scheduler_stats st;
    scheduler_stats(s->scheduler, &st);
    json_t *props =
        json_pack("{s:{s:i,s:{s:f,s:i,s:f,s:f,s:f}},s:i,s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:b}",
                  "default_generation_settings", "n_ctx", s->n_ctx, "params",
                  "temperature", (double)d.temp, "top_k", d.top_k, "top_p",
                  (double)d.top_p, "min_p", (double)d.min_p, "repeat_penalty",
                  (double)d.repeat_penalty, "total_slots", st.n_slot, "model_alias",
                  s->card.name, "chat_template", s->card.template ? s->card.template : "",
                  "chat_format", output_format_name(s->format), "kv_type", s->o.kv_name,
                  "build_info", s->fingerprint, "can_call_tools", s->card.can_call,
                  "can_think", s->card.can_think, "can_infill", s->card.can_insert);
    if (props)
        add_model_props(s, props);
    call_reply_json(c, 200, props);
}
