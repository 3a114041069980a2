/* upstream_reader.c - the bytes of a reply cut into events: SSE, lines of JSON, or one
 * document.
 *
 * Source: the HTML standard, 9.2.6, for the event stream. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/upstream_parts.h"

static const char bom[] = "\xef\xbb\xbf";

/* Ids that calls have in the request, so that no new one is among them. */
static bool remember_ids(struct upstream_reader *r)
{
    const json_t *messages = r->setup.request->messages;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        for (size_t k = 0; k < json_array_size(calls); k++) {
            const char *id = upstream_string(json_array_get(calls, k), "id");
            if (id && json_object_set_new(r->ids, id, json_true()))
                return false;
        }
    }
    return true;
}

struct upstream_reader *upstream_reader_open(const struct upstream_reader_setup *s)
{
    struct upstream_reader *r = mem_array(1, sizeof *r);
    if (!r)
        return NULL;
    r->setup = *s;
    if (r->setup.max_bytes == 0)
        r->setup.max_bytes = UPSTREAM_REPLY_MAX;
    const struct api_request *q = s->request;
    const size_t n_prompt = q->task == API_COMPLETION ? json_array_size(q->prompts) : 1;
    const size_t n = n_prompt * (size_t)q->n;
    r->n_choice = n < 1 ? 1 : n > REPLY_CHOICES_MAX ? REPLY_CHOICES_MAX : (int)n;
    r->block = -1;
    buf_init(&r->line, UPSTREAM_EVENT_MAX);
    buf_init(&r->data, s->stream ? UPSTREAM_EVENT_MAX : r->setup.max_bytes);
    for (int i = 0; i < r->n_choice; i++)
        buf_init(&r->choices[i].late, UPSTREAM_EVENT_MAX);
    r->ids = json_object();
    if (!r->ids || !remember_ids(r)) {
        upstream_reader_close(r);
        return NULL;
    }
    return r;
}

void upstream_reader_close(struct upstream_reader *r)
{
    if (!r)
        return;
    for (int i = 0; i < r->n_call; i++) {
        mem_free(r->calls[i].sent_id);
        mem_free(r->calls[i].id);
        mem_free(r->calls[i].name);
        buf_release(&r->calls[i].args);
    }
    for (int i = 0; i < r->n_choice; i++) {
        mem_free(r->choices[i].stop_string);
        buf_release(&r->choices[i].late);
    }
    buf_release(&r->line);
    buf_release(&r->data);
    json_decref(r->ids);
    mem_free(r);
}

bool upstream_reader_usage(const struct upstream_reader *r, struct answer_usage *out)
{
    *out = r->usage;
    return r->has_usage;
}

/* ---- one event ---- */

static void read_value(struct upstream_reader *r, const json_t *v)
{
    const bool stream = r->setup.stream;
    switch (r->setup.upstream->kind) {
    case UPSTREAM_OPENAI:
        (stream ? upstream_openai_event : upstream_openai_document)(r, v);
        break;
    case UPSTREAM_ANTHROPIC:
        (stream ? upstream_anthropic_event : upstream_anthropic_document)(r, v);
        break;
    case UPSTREAM_OLLAMA:
    case UPSTREAM_KINDS:
        upstream_ollama_event(r, v);
        break;
    }
}

/* A few bytes of something that is not understood, harmless to show. */
static void excerpt_of(char out[48], const char *s, size_t n)
{
    size_t i = 0;
    for (; i < n && i < 40; i++)
        out[i] = s[i] >= 0x20 && s[i] < 0x7f ? s[i] : '?';
    snprintf(out + i, 48 - i, "%s", n > 40 ? "..." : "");
}

/* at_end: the body ended here, perhaps within this. */
static void read_json(struct upstream_reader *r, const char *s, size_t n, bool at_end)
{
    char why[200], shown[48];
    json_t *v;
    r->n_event++;
    const enum status status = upstream_load_json(&v, s, n, why);
    if (status == STATUS_NO_MEMORY) {
        reply_fail(r, API_ERROR_INTERNAL, "out of memory");
        return;
    }
    if (status == STATUS_OK && json_is_object(v)) {
        read_value(r, v);
    } else if (at_end) {
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's reply broke off within its event %llu, at byte %llu",
                   (unsigned long long)r->n_event, (unsigned long long)r->n_bytes);
    } else {
        excerpt_of(shown, s, n);
        reply_fail(
            r, API_ERROR_BACKEND,
            "event %llu of the backend's reply, before byte %llu, is no JSON object "
            "(%s): '%s'",
            (unsigned long long)r->n_event, (unsigned long long)r->n_bytes,
            status == STATUS_OK ? "it is another value" : why, shown);
    }
    json_decref(v);
}

static void dispatch_event(struct upstream_reader *r, bool at_end)
{
    static const char done[] = "[DONE]";
    const char *s = r->data.data ? r->data.data : "";
    size_t n = r->data.len;
    if (!r->has_data) {
        r->event[0] = 0;
        return;
    }
    while (n > 0 && s[n - 1] == ' ')
        n--;
    if (r->setup.upstream->kind == UPSTREAM_OPENAI && n == sizeof done - 1 &&
        memcmp(s, done, n) == 0)
        reply_end(r);
    else
        read_json(r, s, n, at_end);
    r->has_data = false;
    r->event[0] = 0;
    buf_clear(&r->data);
}

/* ---- lines ---- */

static void add_data(struct upstream_reader *r, const char *s, size_t n)
{
    if (r->has_data)
        buf_puts(&r->data, "\n");
    buf_append(&r->data, s, n);
    r->has_data = true;
    if (r->data.failed)
        reply_fail(r, API_ERROR_BACKEND,
                   "an event of the backend's reply is longer than %zu bytes",
                   r->data.max);
}

/* "NAME: VALUE" */
static void read_sse_field(struct upstream_reader *r, const char *s, size_t n)
{
    const char *colon = memchr(s, ':', n);
    const size_t n_name = colon ? (size_t)(colon - s) : n;
    const char *value = colon ? colon + 1 : s + n;
    size_t n_value = (size_t)(s + n - value);
    if (n_value > 0 && *value == ' ')
        value++, n_value--;
    if (n_name == 4 && memcmp(s, "data", 4) == 0) {
        add_data(r, value, n_value);
    } else if (n_name == 5 && memcmp(s, "event", 5) == 0) {
        const size_t len = n_value < sizeof r->event ? n_value : sizeof r->event - 1;
        memcpy(r->event, value, len);
        r->event[len] = 0;
    } else if (n_name == 5 && memcmp(s, "error", 5) == 0) {
        memcpy(r->event, s, 5); // llama.cpp, before 2025
        r->event[5] = 0;
        add_data(r, value, n_value);
    } else if (n_name > 0 && (*s == '{' || *s == '<' || !colon)) {
        char shown[48];
        excerpt_of(shown, s, n);
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's stream has a line, before byte %llu, that is no event: "
                   "'%s'",
                   (unsigned long long)r->n_bytes, shown);
    }
}

static void read_reply_line(struct upstream_reader *r, const char *s, size_t n,
                            bool at_end)
{
    if (!r->past_bom && n >= 3 && memcmp(s, bom, 3) == 0)
        s += 3, n -= 3;
    r->past_bom = true;
    if (r->setup.upstream->kind == UPSTREAM_OLLAMA) {
        while (n > 0 && (s[n - 1] == '\r' || s[n - 1] == ' '))
            n--;
        if (n > 0)
            read_json(r, s, n, at_end);
    } else if (n == 0) {
        dispatch_event(r, at_end);
    } else if (*s == ':') {
        reply_ping(r);
    } else {
        read_sse_field(r, s, n);
    }
}

/* Bytes up to the end of the line, n if it is not there. */
static size_t line_bytes(const struct upstream_reader *r, const char *s, size_t n)
{
    const char *lf = memchr(s, '\n', n);
    const size_t to = lf ? (size_t)(lf - s) : n;
    const char *cr =
        r->setup.upstream->kind == UPSTREAM_OLLAMA ? NULL : memchr(s, '\r', to);
    return cr ? (size_t)(cr - s) : to;
}

static void feed_lines(struct upstream_reader *r, const char *s, size_t n)
{
    while (n > 0 && r->state == UPSTREAM_OPEN) {
        if (r->after_cr && *s == '\n') {
            r->after_cr = false;
            r->n_bytes++;
            s++, n--;
            continue;
        }
        r->after_cr = false;
        const size_t len = line_bytes(r, s, n);
        const bool whole = len < n;
        r->n_bytes += len + whole;
        if (whole && r->line.len == 0) {
            read_reply_line(r, s, len, false);
        } else if (!buf_append(&r->line, s, len)) {
            reply_fail(r, API_ERROR_BACKEND,
                       "a line of the backend's reply is longer than %zu bytes",
                       r->line.max);
        } else if (whole) {
            read_reply_line(r, r->line.data, r->line.len, false);
            buf_clear(&r->line);
        }
        r->after_cr = whole && s[len] == '\r';
        s += len + whole;
        n -= len + whole;
    }
}

enum upstream_state upstream_reader_feed(struct upstream_reader *r, const char *bytes,
                                         size_t n)
{
    if (r->state != UPSTREAM_OPEN || n == 0)
        return r->state;
    if (n > r->setup.max_bytes - (size_t)r->n_bytes) {
        reply_fail(r, API_ERROR_BACKEND, "the backend's reply is longer than %zu bytes",
                   r->setup.max_bytes);
    } else if (r->setup.stream) {
        feed_lines(r, bytes, n);
    } else {
        r->n_bytes += n;
        if (!buf_append(&r->data, bytes, n))
            reply_fail(r, API_ERROR_INTERNAL, "out of memory");
    }
    return r->state;
}

static void finish_document(struct upstream_reader *r)
{
    const char *s = r->data.data ? r->data.data : "";
    size_t n = r->data.len;
    if (n >= 3 && memcmp(s, bom, 3) == 0)
        s += 3, n -= 3;
    if (n == 0)
        reply_fail(r, API_ERROR_BACKEND, "the backend's reply is empty");
    else
        read_json(r, s, n, false);
}

enum upstream_state upstream_reader_finish(struct upstream_reader *r, const char *why)
{
    if (r->state != UPSTREAM_OPEN)
        return r->state;
    if (r->setup.stream) {
        /* The end mark may stand there whole, without the line's end behind it. */
        if (r->line.len > 0)
            read_reply_line(r, r->line.data, r->line.len, true);
        if (r->state == UPSTREAM_OPEN)
            dispatch_event(r, true);
    } else if (!why) {
        finish_document(r);
    }
    if (r->state == UPSTREAM_OPEN)
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's reply ended before its answer did, at byte %llu%s%s",
                   (unsigned long long)r->n_bytes, why ? ": " : "", why ? why : "");
    return r->state;
}
