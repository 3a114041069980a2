/* upstream_openai.c - requests to a backend that speaks OpenAI's API. */
#include <math.h>
#include <string.h>

#include "json/print.h"
#include "dialect/upstream_parts.h"

static void print_member_value(struct buf *out, const char *name, const json_t *v)
{
    upstream_member(out, name);
    json_print_value(out, v);
}

/* ---- messages ---- */

static void print_image_part(struct buf *out, const json_t *image)
{
    const char *url = json_string_value(json_object_get(image, "url"));
    buf_puts(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (url) {
        json_print_string(out, url);
    } else {
        buf_puts(out, "\"data:");
        const char *type = json_string_value(json_object_get(image, "media_type"));
        const json_t *data = json_object_get(image, "data");
        json_print_escaped(out, type, strlen(type));
        buf_puts(out, ";base64,");
        json_print_escaped(out, json_string_value(data), json_string_length(data));
        buf_puts(out, "\"");
    }
    buf_puts(out, "}}");
}

/* Arguments are JSON in a string. */
static void print_call_openai(struct buf *out, const json_t *call)
{
    const json_t *f = json_object_get(call, "function");
    struct buf arguments;
    buf_init(&arguments, (size_t)1 << 30);
    json_print_value(&arguments, json_object_get(f, "arguments"));
    buf_puts(out, "{\"id\":");
    json_print_value(out, json_object_get(call, "id"));
    buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
    json_print_value(out, json_object_get(f, "name"));
    buf_puts(out, ",\"arguments\":");
    json_print_text(out, arguments.data ? arguments.data : "", arguments.len);
    buf_puts(out, "}}");
    out->failed |= arguments.failed;
    buf_release(&arguments);
}

static void print_openai_message(struct upstream_print *p, const json_t *m)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    buf_puts(p->out, "{\"role\":");
    json_print_value(p->out, json_object_get(m, "role"));
    buf_puts(p->out, ",\"content\":");
    upstream_print_content(p->out, m, print_image_part);
    if (reasoning && p->ask->strict)
        upstream_drop(p, "reasoning_content");
    else if (reasoning)
        print_member_value(p->out, "reasoning_content", reasoning);
    if (json_object_get(m, "tool_call_id"))
        print_member_value(p->out, "tool_call_id", json_object_get(m, "tool_call_id"));
    for (size_t i = 0; i < json_array_size(calls); i++) {
        buf_puts(p->out, i > 0 ? "," : ",\"tool_calls\":[");
        print_call_openai(p->out, json_array_get(calls, i));
    }
    buf_puts(p->out, json_array_size(calls) > 0 ? "]}" : "}");
}

void upstream_print_openai_messages(struct upstream_print *p)
{
    upstream_member(p->out, "messages");
    buf_puts(p->out, "[");
    for (size_t i = 0; i < json_array_size(p->turns); i++) {
        buf_puts(p->out, i > 0 ? "," : "");
        print_openai_message(p, json_array_get(p->turns, i));
    }
    buf_puts(p->out, "]");
}

void upstream_print_openai_tools(struct upstream_print *p)
{
    if (p->r->tools)
        print_member_value(p->out, "tools", p->r->tools);
}

/* ---- what else there is ---- */

static void print_choice_of_tools(struct upstream_print *p)
{
    static const char *const modes[] = {
        [API_TOOLS_NONE] = "none", [API_TOOLS_REQUIRED] = "required"};
    const struct api_request *r = p->r;
    if (!r->tools)
        return;
    if (!r->parallel_tool_calls)
        buf_puts(p->out, ",\"parallel_tool_calls\":false");
    if (r->tool_choice == API_TOOLS_AUTO)
        return;
    upstream_member(p->out, "tool_choice");
    if (r->tool_choice == API_TOOLS_NAMED) {
        buf_puts(p->out, "{\"type\":\"function\",\"function\":{\"name\":");
        json_print_string(p->out, r->tool_name);
        buf_puts(p->out, "}}");
    } else {
        json_print_string(p->out, modes[r->tool_choice]);
    }
}

/* Levels that all servers know. */
static const char *level_of(const char *effort)
{
    if (strcmp(effort, "xhigh") == 0 || strcmp(effort, "max") == 0)
        return "high";
    return strcmp(effort, "minimal") == 0 ? "low" : effort;
}

/* A model's template says whether it thinks; OpenAI's own models know levels alone. */
static void print_thinking(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    const bool known = r->think != API_THINK_DEFAULT && !p->ask->no_thinking;
    const bool vars = r->template_vars || known;
    if (p->ask->no_thinking && (r->think == API_THINK_ON || r->think_effort)) {
        upstream_drop(p, "thinking");
    } else if (r->think_effort && r->think != API_THINK_OFF) {
        upstream_member(p->out, "reasoning_effort");
        json_print_string(p->out, level_of(r->think_effort));
    }
    if (!vars)
        return;
    if (p->ask->strict) {
        upstream_drop(p, r->template_vars ? "chat_template_kwargs" : "thinking");
        return;
    }
    json_t *all = r->template_vars ? json_copy(r->template_vars) : json_object();
    if (known)
        p->out->failed |=
            json_object_set_new(all, "enable_thinking",
                                json_boolean(r->think == API_THINK_ON)) != 0;
    if (all)
        print_member_value(p->out, "chat_template_kwargs", all);
    json_decref(all);
}

static enum status print_answer_form(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    switch (r->format) {
    case API_FORMAT_TEXT:
        break;
    case API_FORMAT_JSON:
        buf_puts(p->out, ",\"response_format\":{\"type\":\"json_object\"}");
        break;
    case API_FORMAT_SCHEMA:
        buf_puts(p->out, ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":"
                         "{\"name\":\"answer\",\"strict\":true,\"schema\":");
        json_print_value(p->out, r->schema);
        buf_puts(p->out, "}}");
        break;
    case API_FORMAT_GRAMMAR:
        if (p->ask->strict)
            return upstream_refuse(p, "grammar");
        upstream_member(p->out, "grammar");
        json_print_string(p->out, r->grammar);
        break;
    }
    return STATUS_OK;
}

static void print_biases(struct upstream_print *p)
{
    for (int i = 0; i < p->r->n_bias; i++) {
        buf_printf(p->out, "%s\"%d\":", i > 0 ? "," : ",\"logit_bias\":{",
                   (int)p->r->bias[i].id);
        upstream_print_float(p->out, p->r->bias[i].bias);
    }
    buf_puts(p->out, p->r->n_bias > 0 ? "}" : "");
}

static void print_begin(struct upstream_print *p, const char *path)
{
    p->call->path = path;
    buf_puts(p->out, "{\"model\":");
    json_print_string(p->out, p->ask->model);
}

/* What chat and completions share: length, stream, number, sampling. */
static enum status print_generation(struct upstream_print *p)
{
    const int max_tokens = upstream_max_tokens(p);
    if (max_tokens >= 0) {
        upstream_member(p->out, p->ask->strict && p->r->task == API_CHAT
                                    ? "max_completion_tokens"
                                    : "max_tokens");
        buf_printf(p->out, "%d", max_tokens);
    }
    buf_puts(p->out, p->ask->stream
                         ? ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"
                         : ",\"stream\":false");
    if (p->r->n > 1)
        buf_printf(p->out, ",\"n\":%d", p->r->n);
    upstream_print_stops(p, "stop");
    print_biases(p);
    return upstream_print_sampling(p);
}

enum status upstream_print_openai_chat(struct upstream_print *p)
{
    print_begin(p, "/v1/chat/completions");
    upstream_print_openai_messages(p);
    upstream_print_openai_tools(p);
    print_choice_of_tools(p);
    print_thinking(p);
    enum status s = print_answer_form(p);
    if (s == STATUS_OK)
        s = print_generation(p);
    if (p->r->n_logprobs >= 0)
        buf_printf(p->out, ",\"logprobs\":true,\"top_logprobs\":%d", p->r->n_logprobs);
    buf_puts(p->out, "}");
    return s;
}

enum status upstream_print_openai_text(struct upstream_print *p)
{
    const json_t *prompts = p->r->prompts;
    if (p->r->n_logprobs >= 0)
        return upstream_refuse(p, "logprobs");
    if (p->r->format != API_FORMAT_TEXT)
        return upstream_refuse(p, "format");
    print_begin(p, "/v1/completions");
    upstream_member(p->out, "prompt");
    json_print_value(p->out, json_array_size(prompts) == 1 ? json_array_get(prompts, 0)
                                                           : prompts);
    const enum status s = print_generation(p);
    buf_puts(p->out, "}");
    return s;
}

enum status upstream_print_openai_embed(struct upstream_print *p)
{
    print_begin(p, "/v1/embeddings");
    print_member_value(p->out, "input", p->r->prompts);
    buf_puts(p->out, ",\"encoding_format\":\"float\"");
    if (p->r->dimensions > 0)
        buf_printf(p->out, ",\"dimensions\":%d", p->r->dimensions);
    buf_puts(p->out, "}");
    return STATUS_OK;
}
