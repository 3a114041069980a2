/* upstream.c - the APIs that backends speak, and what their requests have in common. */
#include "dialect/upstream.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/print.h"
#include "dialect/upstream_parts.h"

const struct upstream upstreams[UPSTREAM_KINDS] = {
    {UPSTREAM_OPENAI, "openai", &dialect_openai, "/v1/models"},
    {UPSTREAM_ANTHROPIC, "anthropic", &dialect_anthropic, "/v1/models?limit=1000"},
    {UPSTREAM_OLLAMA, "ollama", &dialect_ollama, "/api/tags"},
};

const struct upstream *upstream_find(const char *name)
{
    for (int i = 0; i < UPSTREAM_KINDS; i++)
        if (strcmp(upstreams[i].name, name) == 0)
            return &upstreams[i];
    return NULL;
}

int upstream_headers(struct upstream_header h[UPSTREAM_HEADERS_MAX],
                     const struct upstream *u, const char *key)
{
    int n = 0;
    h[n++] = (struct upstream_header){"content-type", "", "application/json"};
    if (u->kind == UPSTREAM_ANTHROPIC)
        h[n++] = (struct upstream_header){"anthropic-version", "", "2023-06-01"};
    if (key && *key)
        h[n++] = u->kind == UPSTREAM_ANTHROPIC
                     ? (struct upstream_header){"x-api-key", "", key}
                     : (struct upstream_header){"authorization", "Bearer ", key};
    return n;
}

bool upstream_is_stream(const char *content_type)
{
    static const char *const types[] = {"text/event-stream", "application/x-ndjson",
                                        "application/ndjson", "application/jsonl",
                                        "application/x-jsonlines"};
    for (size_t i = 0; content_type && i < sizeof types / sizeof *types; i++) {
        size_t n = 0;
        while (types[i][n] && tolower((unsigned char)content_type[n]) == types[i][n])
            n++;
        if (!types[i][n] && !isalnum((unsigned char)content_type[n]))
            return true;
    }
    return false;
}

void upstream_member(struct buf *out, const char *name)
{
    buf_printf(out, ",\"%s\":", name);
}

void upstream_print_float(struct buf *out, float v)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v)
            break;
    }
    buf_puts(out, text);
}

enum status upstream_refuse(const struct upstream_print *p, const char *field)
{
    return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, field,
                    "%s is not supported by the backend of this model, whose API (%s) "
                    "has nothing like it",
                    field, p->upstream->name);
}

void upstream_drop(const struct upstream_print *p, const char *field)
{
    char *s = p->call->dropped;
    const size_t n = strlen(s), size = sizeof p->call->dropped;
    const char *at = strstr(s, field);
    const size_t len = strlen(field);
    if (at && (at[len] == ',' || !at[len]))
        return;
    if (n + len + 3 <= size)
        snprintf(s + n, size - n, "%s%s", n > 0 ? ", " : "", field);
}

int upstream_max_tokens(const struct upstream_print *p)
{
    const int cap = p->ask->max_tokens_cap;
    int n = p->r->max_tokens;
    /* These end an answer early if nobody says how long it may be. */
    const bool needed = p->upstream->kind == UPSTREAM_ANTHROPIC ||
                        (p->upstream->kind == UPSTREAM_OPENAI &&
                         p->r->task == API_COMPLETION && p->r->raw);
    if (n < 0 && needed)
        n = p->ask->max_tokens > 0 ? p->ask->max_tokens : UPSTREAM_MAX_TOKENS;
    return n >= 0 && cap > 0 && n > cap ? cap : n;
}

#define EXTENSION 1 /* of OpenAI's API: llama.cpp and vLLM have it */

static const struct sampling_row {
    const char *name;
    size_t offset; // in struct api_sampling
    float neutral; // what changes nothing
    bool has[UPSTREAM_KINDS];
    int flags;
} sampling_rows[] = {
#define AT(member) offsetof(struct api_sampling, member)
    {"temperature", AT(temperature), NAN, {true, true, true}, 0},
    {"top_p", AT(top_p), 1, {true, true, true}, 0},
    {"min_p", AT(min_p), 0, {true, false, true}, EXTENSION},
    {"typical_p", AT(typical_p), 1, {true, false, true}, EXTENSION},
    {"repeat_penalty", AT(repeat_penalty), 1, {true, false, true}, EXTENSION},
    {"presence_penalty", AT(presence_penalty), 0, {true, false, true}, 0},
    {"frequency_penalty", AT(frequency_penalty), 0, {true, false, true}, 0},
#undef AT
};

/* Whether a member can be sent; if not, whether it has to be: *s. */
static bool can_send(const struct upstream_print *p, const char *name, bool has,
                     bool extension, bool neutral, enum status *s)
{
    if (has && !(extension && p->ask->strict && p->upstream->kind == UPSTREAM_OPENAI))
        return true;
    if (!neutral)
        *s = upstream_refuse(p, name);
    return false;
}

static enum status print_float_row(struct upstream_print *p,
                                   const struct sampling_row *row)
{
    float v;
    enum status s = STATUS_OK;
    memcpy(&v, (const char *)&p->r->sampling + row->offset, sizeof v);
    if (isnan(v) || !can_send(p, row->name, row->has[p->upstream->kind],
                              row->flags & EXTENSION, v == row->neutral, &s))
        return s;
    if (p->upstream->kind == UPSTREAM_ANTHROPIC && v > 1)
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, row->name,
                        "%s must be from 0 to 1 for the backend of this model (%s)",
                        row->name, p->upstream->name);
    upstream_member(p->out, row->name);
    upstream_print_float(p->out, v);
    if (p->upstream->kind == UPSTREAM_OPENAI &&
        strcmp(row->name, "repeat_penalty") == 0) {
        upstream_member(p->out, "repetition_penalty"); // vLLM's name of it
        upstream_print_float(p->out, v);
    }
    return STATUS_OK;
}

static enum status print_whole_numbers(struct upstream_print *p)
{
    const struct api_sampling *a = &p->r->sampling;
    const enum upstream_kind kind = p->upstream->kind;
    enum status s = STATUS_OK;
    /* 0 is all here, and -1 where 0 may be none. */
    if (a->top_k >= 0 && !(kind == UPSTREAM_ANTHROPIC && a->top_k == 0) &&
        can_send(p, "top_k", true, true, a->top_k == 0, &s)) {
        upstream_member(p->out, "top_k");
        buf_printf(p->out, "%d",
                   a->top_k == 0 && kind == UPSTREAM_OPENAI ? -1 : a->top_k);
    }
    const bool unused = isnan(a->repeat_penalty) || a->repeat_penalty == 1;
    if (s == STATUS_OK && a->repeat_last_n >= 0 &&
        can_send(p, "repeat_last_n", kind != UPSTREAM_ANTHROPIC, true, unused, &s)) {
        upstream_member(p->out, "repeat_last_n");
        buf_printf(p->out, "%d", a->repeat_last_n == INT_MAX ? -1 : a->repeat_last_n);
    }
    if (s == STATUS_OK && a->has_seed &&
        can_send(p, "seed", kind != UPSTREAM_ANTHROPIC, false, false, &s)) {
        upstream_member(p->out, "seed");
        buf_printf(p->out, "%lld", (long long)a->seed);
    }
    return s;
}

enum status upstream_print_sampling(struct upstream_print *p)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < sizeof sampling_rows / sizeof *sampling_rows; i++)
        if (s == STATUS_OK)
            s = print_float_row(p, &sampling_rows[i]);
    return s == STATUS_OK ? print_whole_numbers(p) : s;
}

void upstream_print_stops(struct upstream_print *p, const char *name)
{
    if (p->r->n_stop == 0)
        return;
    upstream_member(p->out, name);
    for (int i = 0; i < p->r->n_stop; i++) {
        buf_puts(p->out, i > 0 ? "," : "[");
        json_print_string(p->out, p->r->stop[i]);
    }
    buf_puts(p->out, "]");
}

static enum status print_for(struct upstream_print *p)
{
    const enum upstream_kind kind = p->upstream->kind;
    /* A completion with a template is a chat of one turn, for APIs that have only that.
     */
    const bool chat = p->r->task == API_CHAT || (p->r->task == API_COMPLETION &&
                                                 !p->r->raw && kind != UPSTREAM_OLLAMA);
    if (chat) {
        const enum status s = upstream_turns(p);
        return s != STATUS_OK               ? s
               : kind == UPSTREAM_OPENAI    ? upstream_print_openai_chat(p)
               : kind == UPSTREAM_ANTHROPIC ? upstream_print_anthropic(p)
                                            : upstream_print_ollama_chat(p);
    }
    if (p->r->task == API_EMBED && kind != UPSTREAM_ANTHROPIC)
        return kind == UPSTREAM_OPENAI ? upstream_print_openai_embed(p)
                                       : upstream_print_ollama_embed(p);
    if (p->r->task == API_COMPLETION && kind == UPSTREAM_OPENAI)
        return upstream_print_openai_text(p);
    if ((p->r->task == API_COMPLETION || p->r->task == API_INFILL) &&
        kind == UPSTREAM_OLLAMA)
        return upstream_print_ollama_generate(p);
    return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, NULL,
                    "the backend of this model, whose API is %s's, has no %s",
                    p->upstream->name,
                    p->r->task == API_EMBED    ? "embeddings"
                    : p->r->task == API_INFILL ? "infill"
                                               : "completions of raw text");
}

static enum status finish_request(struct upstream_print *p, enum status s)
{
    json_decref(p->turns);
    if (s == STATUS_OK && p->out->failed)
        return api_fail(p->err, STATUS_NO_MEMORY, API_ERROR_TOO_LARGE, NULL,
                        "the request is too large for its backend");
    return s;
}

enum status upstream_print_request(const struct upstream *u, struct buf *body,
                                   struct upstream_call *call,
                                   const struct api_request *r,
                                   const struct upstream_ask *ask, struct api_error *err)
{
    struct upstream_print p = {body, u, r, ask, call, err, NULL};
    *call = (struct upstream_call){.method = "POST"};
    if (u->kind != UPSTREAM_OLLAMA) {
        if (r->keep_alive)
            upstream_drop(&p, "keep_alive");
        if (r->n_ctx > 0)
            upstream_drop(&p, "num_ctx");
        if (r->kv_type)
            upstream_drop(&p, "kv_cache_type");
        if (r->kv_tail >= 0)
            upstream_drop(&p, "kv_tail");
        if (r->truncate)
            upstream_drop(&p, "truncate");
    }
    return finish_request(&p, print_for(&p));
}

/* ---- counts ---- */

static enum status print_count_openai(struct upstream_print *p, bool vllm)
{
    p->call->path = vllm ? "/tokenize" : "/v1/chat/completions/input_tokens";
    buf_puts(p->out, "{\"model\":");
    json_print_string(p->out, p->ask->model);
    upstream_print_openai_messages(p);
    upstream_print_openai_tools(p);
    buf_puts(p->out, vllm ? ",\"add_generation_prompt\":true}" : "}");
    return STATUS_OK;
}

static enum status print_count_anthropic(struct upstream_print *p)
{
    p->call->path = "/v1/messages/count_tokens";
    buf_puts(p->out, "{\"model\":");
    json_print_string(p->out, p->ask->model);
    const enum status s = upstream_print_anthropic_prompt(p);
    buf_puts(p->out, "}");
    return s;
}

enum status upstream_print_count(enum upstream_counter c, struct buf *body,
                                 struct upstream_call *call, const struct api_request *r,
                                 const struct upstream_ask *ask, struct api_error *err)
{
    const enum upstream_kind kind =
        c == UPSTREAM_COUNT_ANTHROPIC ? UPSTREAM_ANTHROPIC : UPSTREAM_OPENAI;
    struct upstream_print p = {body, &upstreams[kind], r, ask, call, err, NULL};
    *call = (struct upstream_call){.method = "POST"};
    if (c == UPSTREAM_COUNT_NONE)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, NULL,
                        "the backend of this model does not count tokens");
    enum status s = upstream_turns(&p);
    if (s == STATUS_OK)
        s = c == UPSTREAM_COUNT_ANTHROPIC
                ? print_count_anthropic(&p)
                : print_count_openai(&p, c == UPSTREAM_COUNT_VLLM);
    return finish_request(&p, s);
}

int upstream_read_count(const char *body, size_t n)
{
    char why[200];
    json_t *v;
    if (upstream_load_json(&v, body, n, why) != STATUS_OK)
        return -1;
    const char *const name = json_object_get(v, "count") ? "count" : "input_tokens";
    const json_t *count = json_object_get(v, name);
    const int tokens = json_is_integer(count) && json_integer_value(count) >= 0
                           ? upstream_count(v, name)
                           : -1;
    json_decref(v);
    return tokens;
}
