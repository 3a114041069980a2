/* upstream_ollama.c - requests to a backend that speaks Ollama's API. */
#include <string.h>

#include "json/print.h"
#include "dialect/upstream_parts.h"

/* The API has images of a message beside its text, as base64 alone. */
static enum status print_ollama_images(struct upstream_print *p, const json_t *images)
{
    for (size_t i = 0; i < json_array_size(images); i++) {
        const json_t *data = json_object_get(json_array_get(images, i), "data");
        if (!data)
            return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "messages",
                            "images must be sent as base64 for the backend of this "
                            "model (ollama), not as addresses");
        buf_puts(p->out, i > 0 ? "," : ",\"images\":[");
        json_print_value(p->out, data);
    }
    buf_puts(p->out, json_array_size(images) > 0 ? "]" : "");
    return STATUS_OK;
}

/* Arguments are an object.  Older versions know no ids: there, results are told apart by
 * name and order. */
static void print_ollama_calls(struct buf *out, const json_t *calls)
{
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *f = json_object_get(call, "function");
        buf_puts(out, i > 0 ? "," : ",\"tool_calls\":[");
        buf_puts(out, "{\"id\":");
        json_print_value(out, json_object_get(call, "id"));
        buf_printf(out, ",\"function\":{\"index\":%zu,\"name\":", i);
        json_print_value(out, json_object_get(f, "name"));
        buf_puts(out, ",\"arguments\":");
        json_print_value(out, json_object_get(f, "arguments"));
        buf_puts(out, "}}");
    }
    buf_puts(out, json_array_size(calls) > 0 ? "]" : "");
}

static enum status print_ollama_message(struct upstream_print *p, const json_t *m)
{
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    const json_t *name = json_object_get(m, "name");
    const json_t *id = json_object_get(m, "tool_call_id");
    buf_puts(p->out, "{\"role\":");
    json_print_value(p->out, json_object_get(m, "role"));
    buf_puts(p->out, ",\"content\":");
    json_print_value(p->out, json_object_get(m, "content"));
    if (reasoning) {
        upstream_member(p->out, "thinking");
        json_print_value(p->out, reasoning);
    }
    print_ollama_calls(p->out, json_object_get(m, "tool_calls"));
    if (json_string_length(name) > 0) {
        upstream_member(p->out, "tool_name");
        json_print_value(p->out, name);
    }
    if (json_string_length(id) > 0) {
        upstream_member(p->out, "tool_call_id");
        json_print_value(p->out, id);
    }
    const enum status s = print_ollama_images(p, json_object_get(m, "images"));
    buf_puts(p->out, "}");
    return s;
}

static void print_ollama_think(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    const char *effort = r->think_effort;
    if (p->ask->no_thinking) {
        if (r->think == API_THINK_ON || effort)
            upstream_drop(p, "think");
    } else if (r->think == API_THINK_OFF) {
        buf_puts(p->out, ",\"think\":false");
    } else if (effort) {
        const char *level = strcmp(effort, "minimal") == 0 ? "low"
                            : strcmp(effort, "xhigh") == 0 ? "high"
                            : strcmp(effort, "max") == 0   ? "high"
                                                           : effort;
        upstream_member(p->out, "think");
        json_print_string(p->out, level);
    } else if (r->think == API_THINK_ON) {
        buf_puts(p->out, ",\"think\":true");
    }
}

static enum status print_ollama_format(struct upstream_print *p)
{
    if (p->r->format == API_FORMAT_GRAMMAR)
        return upstream_refuse(p, "grammar");
    if (p->r->format == API_FORMAT_JSON)
        buf_puts(p->out, ",\"format\":\"json\"");
    if (p->r->format == API_FORMAT_SCHEMA) {
        upstream_member(p->out, "format");
        json_print_value(p->out, p->r->schema);
    }
    return STATUS_OK;
}

/* Turbine's own; Ollama passes over them. */
static void print_cache_type(const struct upstream_print *p, struct buf *options)
{
    if (p->r->kv_type) {
        buf_puts(options, ",\"kv_cache_type\":");
        json_print_string(options, p->r->kv_type);
    }
    if (p->r->kv_tail >= 0)
        buf_printf(options, ",\"kv_tail\":%d", p->r->kv_tail);
}

static enum status print_ollama_options(struct upstream_print *p)
{
    const int n_ctx = p->r->n_ctx > 0 ? p->r->n_ctx : p->ask->n_ctx;
    const int max_tokens = upstream_max_tokens(p);
    struct buf options, *const out = p->out;
    buf_init(&options, (size_t)1 << 20);
    p->out = &options;
    if (n_ctx > 0)
        buf_printf(&options, ",\"num_ctx\":%d", n_ctx);
    if (max_tokens >= 0)
        buf_printf(&options, ",\"num_predict\":%d", max_tokens);
    else if (p->r->unlimited)
        buf_puts(&options, ",\"num_predict\":-1");
    print_cache_type(p, &options);
    upstream_print_stops(p, "stop");
    const enum status s = upstream_print_sampling(p);
    p->out = out;
    if (options.len > 0) {
        upstream_member(out, "options");
        buf_puts(out, "{");
        buf_puts(out, options.data + 1); // without its first comma
        buf_puts(out, "}");
    }
    out->failed |= options.failed;
    buf_release(&options);
    return s;
}

static enum status refuse_for_ollama(struct upstream_print *p)
{
    if (p->r->n > 1)
        return upstream_refuse(p, "n");
    if (p->r->n_bias > 0)
        return upstream_refuse(p, "logit_bias");
    if (p->r->template_vars)
        upstream_drop(p, "chat_template_kwargs");
    return STATUS_OK;
}

static void print_keep_alive(struct upstream_print *p)
{
    if (p->r->keep_alive) {
        upstream_member(p->out, "keep_alive");
        buf_puts(p->out, p->r->keep_alive); // is JSON
    }
}

/* What chat and generate share.  Neither may drop messages, nor go on by dropping them:
 * the answer would be to another question than was asked. */
static enum status print_ollama_rest(struct upstream_print *p)
{
    buf_printf(p->out, ",\"stream\":%s,\"truncate\":%s,\"shift\":false",
               p->ask->stream ? "true" : "false", p->r->truncate ? "true" : "false");
    print_ollama_think(p);
    if (p->r->n_logprobs >= 0)
        buf_printf(p->out, ",\"logprobs\":true,\"top_logprobs\":%d", p->r->n_logprobs);
    print_keep_alive(p);
    const enum status s = print_ollama_format(p);
    return s == STATUS_OK ? print_ollama_options(p) : s;
}

static void print_ollama_begin(struct upstream_print *p, const char *path)
{
    p->call->path = path;
    buf_puts(p->out, "{\"model\":");
    json_print_string(p->out, p->ask->model);
}

enum status upstream_print_ollama_chat(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    enum status s = refuse_for_ollama(p);
    if (s == STATUS_OK && r->tools &&
        (r->tool_choice == API_TOOLS_REQUIRED || r->tool_choice == API_TOOLS_NAMED))
        s = upstream_refuse(p, "tool_choice");
    print_ollama_begin(p, "/api/chat");
    upstream_member(p->out, "messages");
    buf_puts(p->out, "[");
    for (size_t i = 0; i < json_array_size(p->turns) && s == STATUS_OK; i++) {
        buf_puts(p->out, i > 0 ? "," : "");
        s = print_ollama_message(p, json_array_get(p->turns, i));
    }
    buf_puts(p->out, "]");
    if (r->tools && r->tool_choice != API_TOOLS_NONE) {
        upstream_member(p->out, "tools");
        json_print_value(p->out, r->tools);
    }
    if (s == STATUS_OK)
        s = print_ollama_rest(p);
    buf_puts(p->out, "}");
    return s;
}

/* The text of a prompt, with how the gap begins behind it (infill). */
static enum status print_one_prompt(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    const json_t *prompt = json_array_get(r->prompts, 0);
    const size_t n = json_array_size(r->prompts);
    if (!json_is_string(prompt))
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "prompt",
                        "prompt must be text, not token ids, for the backend of this "
                        "model (ollama)");
    if (r->task == API_INFILL && n > 2)
        return upstream_refuse(p, "input_extra");
    if (r->task == API_COMPLETION && n > 1)
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "prompt",
                        "prompt must be one text for the backend of this model (ollama)");
    const json_t *begun = r->task == API_INFILL ? json_array_get(r->prompts, 1) : NULL;
    upstream_member(p->out, "prompt");
    buf_puts(p->out, "\"");
    json_print_escaped(p->out, json_string_value(prompt), json_string_length(prompt));
    if (begun)
        json_print_escaped(p->out, json_string_value(begun), json_string_length(begun));
    buf_puts(p->out, "\"");
    return STATUS_OK;
}

enum status upstream_print_ollama_generate(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    enum status s = refuse_for_ollama(p);
    print_ollama_begin(p, "/api/generate");
    if (s == STATUS_OK)
        s = print_one_prompt(p);
    if (r->task == API_INFILL) {
        upstream_member(p->out, "suffix");
        json_print_string(p->out, r->suffix ? r->suffix : "");
    } else if (r->raw) {
        buf_puts(p->out, ",\"raw\":true");
    }
    if (r->system && *r->system) {
        upstream_member(p->out, "system");
        json_print_string(p->out, r->system);
    }
    if (s == STATUS_OK)
        s = print_ollama_rest(p);
    buf_puts(p->out, "}");
    return s;
}

enum status upstream_print_ollama_embed(struct upstream_print *p)
{
    print_ollama_begin(p, "/api/embed");
    for (size_t i = 0; i < json_array_size(p->r->prompts); i++)
        if (!json_is_string(json_array_get(p->r->prompts, i)))
            return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "input",
                            "input must be text, not token ids, for the backend of this "
                            "model (ollama)");
    upstream_member(p->out, "input");
    json_print_value(p->out, p->r->prompts);
    buf_printf(p->out, ",\"truncate\":%s", p->r->truncate ? "true" : "false");
    if (p->r->dimensions > 0)
        buf_printf(p->out, ",\"dimensions\":%d", p->r->dimensions);
    print_keep_alive(p);
    buf_puts(p->out, "}");
    return STATUS_OK;
}
