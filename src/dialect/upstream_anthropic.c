/* upstream_anthropic.c - requests to a backend that speaks Anthropic's API. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "json/print.h"
#include "dialect/upstream_parts.h"

/* Ids are letters, digits, _ and - there; others become one that depends on them alone,
 * so that a call and its result keep the same in every turn. */
static void print_tool_id(struct buf *out, const char *id)
{
    static const char known[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const size_t n = id ? strlen(id) : 0; // a count is not checked
    if (n >= 1 && n <= 128 && strspn(id, known) == n) {
        json_print_text(out, id, n);
        return;
    }
    const XXH128_hash_t h = XXH3_128bits(id ? id : "", n);
    buf_printf(out, "\"toolu_%016llx%016llx\"", (unsigned long long)h.high64,
               (unsigned long long)h.low64);
}

/* ---- messages ---- */

/* Turns of the API alternate: results of tools and what the user says are one. */
struct anthropic_turn {
    struct buf *out;
    bool user, assistant; // which of them is open
    bool any_turn, any_block;
};

static void close_turn(struct anthropic_turn *t)
{
    if (t->user || t->assistant)
        buf_puts(t->out, "]}");
    t->user = t->assistant = false;
}

/* The comma in front of a block; opens the turn if it is not. */
static void begin_block(struct anthropic_turn *t, bool assistant)
{
    if (!(assistant ? t->assistant : t->user)) {
        close_turn(t);
        buf_printf(t->out, "%s{\"role\":\"%s\",\"content\":[", t->any_turn ? "," : "",
                   assistant ? "assistant" : "user");
        t->assistant = assistant;
        t->user = !assistant;
        t->any_turn = true;
    } else {
        buf_puts(t->out, ",");
    }
}

/* The API refuses blocks without text. */
static void add_text_of(struct anthropic_turn *t, bool assistant, const char *s, size_t n)
{
    if (n == 0)
        return;
    begin_block(t, assistant);
    buf_puts(t->out, "{\"type\":\"text\",\"text\":");
    json_print_text(t->out, s, n);
    buf_puts(t->out, "}");
}

static void print_image(struct buf *out, const json_t *image)
{
    const json_t *url = json_object_get(image, "url");
    buf_puts(out, "{\"type\":\"image\",\"source\":{\"type\":");
    if (url) {
        buf_puts(out, "\"url\",\"url\":");
        json_print_value(out, url);
    } else {
        buf_puts(out, "\"base64\",\"media_type\":");
        json_print_value(out, json_object_get(image, "media_type"));
        buf_puts(out, ",\"data\":");
        json_print_value(out, json_object_get(image, "data"));
    }
    buf_puts(out, "}}");
}

static void add_user(struct anthropic_turn *t, const json_t *m)
{
    const json_t *images = json_object_get(m, "images");
    const size_t n_image = json_array_size(images);
    for (size_t i = 0; i <= n_image; i++) {
        const char *s;
        size_t n;
        upstream_piece(m, i, &s, &n);
        add_text_of(t, false, s, n);
        if (i == n_image)
            break;
        begin_block(t, false);
        print_image(t->out, json_array_get(images, i));
    }
}

static void add_tool_uses(struct anthropic_turn *t, const json_t *m)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *f = json_object_get(call, "function");
        begin_block(t, true);
        buf_puts(t->out, "{\"type\":\"tool_use\",\"id\":");
        print_tool_id(t->out, json_string_value(json_object_get(call, "id")));
        buf_puts(t->out, ",\"name\":");
        json_print_value(t->out, json_object_get(f, "name"));
        buf_puts(t->out, ",\"input\":");
        json_print_value(t->out, json_object_get(f, "arguments"));
        buf_puts(t->out, "}");
    }
}

static void add_result_of_tool(struct anthropic_turn *t, const json_t *m)
{
    begin_block(t, false);
    buf_puts(t->out, "{\"type\":\"tool_result\",\"tool_use_id\":");
    print_tool_id(t->out, json_string_value(json_object_get(m, "tool_call_id")));
    buf_puts(t->out, ",\"content\":");
    upstream_print_content(t->out, m, print_image);
    buf_puts(t->out, "}");
}

/* A system message that stands in its place: ask->late_system. */
static void add_late_system(struct anthropic_turn *t, const json_t *m)
{
    close_turn(t);
    buf_puts(t->out, t->any_turn ? "," : "");
    buf_puts(t->out, "{\"role\":\"system\",\"content\":");
    json_print_value(t->out, json_object_get(m, "content"));
    buf_puts(t->out, "}");
    t->any_turn = true;
}

static void print_turns(struct upstream_print *p, size_t first)
{
    struct anthropic_turn t = {.out = p->out};
    upstream_member(p->out, "messages");
    buf_puts(p->out, "[");
    for (size_t i = first; i < json_array_size(p->turns); i++) {
        const json_t *m = json_array_get(p->turns, i);
        const json_t *text = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        if (strcmp(role, "system") == 0) {
            add_late_system(&t, m);
        } else if (strcmp(role, "tool") == 0) {
            add_result_of_tool(&t, m);
        } else if (strcmp(role, "user") == 0) {
            add_user(&t, m);
        } else {
            /* Its thinking is not signed by the backend, which refuses it then. */
            if (json_object_get(m, "reasoning_content"))
                upstream_drop(p, "reasoning_content");
            add_text_of(&t, true, json_string_value(text), json_string_length(text));
            add_tool_uses(&t, m);
        }
    }
    close_turn(&t);
    buf_puts(p->out, "]");
}

/* ---- tools, thinking, form ---- */

static void print_anthropic_tools(struct upstream_print *p)
{
    for (size_t i = 0; i < json_array_size(p->r->tools); i++) {
        const json_t *f = json_object_get(json_array_get(p->r->tools, i), "function");
        buf_puts(p->out, i > 0 ? "," : ",\"tools\":[");
        buf_puts(p->out, "{\"name\":");
        json_print_value(p->out, json_object_get(f, "name"));
        buf_puts(p->out, ",\"description\":");
        json_print_value(p->out, json_object_get(f, "description"));
        buf_puts(p->out, ",\"input_schema\":");
        json_print_value(p->out, json_object_get(f, "parameters"));
        buf_puts(p->out, "}");
    }
    buf_puts(p->out, json_array_size(p->r->tools) > 0 ? "]" : "");
}

static void print_which_tool(struct upstream_print *p)
{
    static const char *const types[] = {[API_TOOLS_AUTO] = "auto",
                                        [API_TOOLS_NONE] = "none",
                                        [API_TOOLS_REQUIRED] = "any",
                                        [API_TOOLS_NAMED] = "tool"};
    const struct api_request *r = p->r;
    if (!r->tools || (r->tool_choice == API_TOOLS_AUTO && r->parallel_tool_calls))
        return;
    buf_printf(p->out, ",\"tool_choice\":{\"type\":\"%s\"", types[r->tool_choice]);
    if (r->tool_choice == API_TOOLS_NAMED) {
        buf_puts(p->out, ",\"name\":");
        json_print_string(p->out, r->tool_name);
    }
    if (!r->parallel_tool_calls && r->tool_choice != API_TOOLS_NONE)
        buf_puts(p->out, ",\"disable_parallel_tool_use\":true");
    buf_puts(p->out, "}");
}

/* Whether the turn that is to be answered goes on behind a call, whose thinking the API
 * would have to see, signed. */
static bool in_tool_loop(const struct upstream_print *p)
{
    const size_t n = json_array_size(p->turns);
    const json_t *role = json_object_get(json_array_get(p->turns, n - 1), "role");
    return n > 0 && strcmp(json_string_value(role), "tool") == 0;
}

/* Tokens of thinking for a level: the API's least number, and shares of what an answer
 * may have. */
static int budget_of(const char *effort, int max_tokens)
{
    enum { LEAST = 1024 };
    const char *level = effort ? effort : "medium";
    const int share = strcmp(level, "low") == 0 || strcmp(level, "minimal") == 0 ? 8
                      : strcmp(level, "medium") == 0                             ? 4
                                                                                 : 2;
    const int budget = max_tokens / share;
    return budget < LEAST ? LEAST : budget;
}

static enum status print_thought(struct upstream_print *p, int max_tokens)
{
    const struct api_request *r = p->r;
    const bool forced =
        r->tool_choice == API_TOOLS_REQUIRED || r->tool_choice == API_TOOLS_NAMED;
    const bool asked =
        r->think == API_THINK_ON || (r->think == API_THINK_DEFAULT && r->think_effort &&
                                     strcmp(r->think_effort, "minimal") != 0);
    if (!asked)
        return STATUS_OK;
    if (p->ask->no_thinking || in_tool_loop(p) || (r->tools && forced)) {
        upstream_drop(p, "thinking");
        return STATUS_OK;
    }
    if (p->ask->adaptive_thinking) {
        buf_puts(p->out, ",\"thinking\":{\"type\":\"adaptive\"}");
        return STATUS_OK;
    }
    const int budget = budget_of(r->think_effort, max_tokens);
    if (budget >= max_tokens)
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "max_tokens",
                        "max_tokens must be more than %d for the backend of this model "
                        "to think; ask for more, or for no thinking",
                        budget);
    buf_printf(p->out, ",\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":%d}",
               budget);
    return STATUS_OK;
}

static enum status print_output_config(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    const bool effort = p->ask->adaptive_thinking && !p->ask->no_thinking &&
                        r->think_effort && strcmp(r->think_effort, "minimal") != 0;
    if (r->format == API_FORMAT_JSON)
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED,
                        "response_format",
                        "response_format: the backend of this model (anthropic) needs a "
                        "JSON schema, it has no JSON without one");
    if (r->format == API_FORMAT_GRAMMAR)
        return upstream_refuse(p, "grammar");
    if (!effort && r->format != API_FORMAT_SCHEMA)
        return STATUS_OK;
    upstream_member(p->out, "output_config");
    if (effort) {
        buf_puts(p->out, "{\"effort\":");
        json_print_string(p->out, r->think_effort);
    }
    if (r->format == API_FORMAT_SCHEMA) {
        buf_puts(p->out, effort ? "," : "{");
        buf_puts(p->out, "\"format\":{\"type\":\"json_schema\",\"schema\":");
        json_print_value(p->out, r->schema);
        buf_puts(p->out, "}");
    }
    buf_puts(p->out, "}");
    return STATUS_OK;
}

enum status upstream_print_anthropic_prompt(struct upstream_print *p)
{
    const json_t *first = json_array_get(p->turns, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    const bool system = role && strcmp(role, "system") == 0;
    const json_t *text = json_object_get(first, "content");
    if (system && json_string_length(text) > 0) {
        upstream_member(p->out, "system");
        json_print_value(p->out, text);
    }
    print_turns(p, system ? 1 : 0);
    print_anthropic_tools(p);
    return STATUS_OK;
}

enum status upstream_print_anthropic(struct upstream_print *p)
{
    const struct api_request *r = p->r;
    const int max_tokens = upstream_max_tokens(p);
    if (r->n > 1)
        return upstream_refuse(p, "n");
    if (r->n_logprobs >= 0)
        return upstream_refuse(p, "logprobs");
    if (r->n_bias > 0)
        return upstream_refuse(p, "logit_bias");
    if (r->template_vars)
        upstream_drop(p, "chat_template_kwargs");
    p->call->path = "/v1/messages";
    buf_puts(p->out, "{\"model\":");
    json_print_string(p->out, p->ask->model);
    buf_printf(p->out, ",\"max_tokens\":%d,\"stream\":%s", max_tokens,
               p->ask->stream ? "true" : "false");
    enum status s = upstream_print_anthropic_prompt(p);
    print_which_tool(p);
    upstream_print_stops(p, "stop_sequences");
    if (s == STATUS_OK)
        s = print_thought(p, max_tokens);
    if (s == STATUS_OK)
        s = print_output_config(p);
    if (s == STATUS_OK)
        s = upstream_print_sampling(p);
    buf_puts(p->out, "}");
    return s;
}
