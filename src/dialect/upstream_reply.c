/* upstream_reply.c - what a backend says as the events of an answer, in their order.
 *
 * Calls of one choice may come piece by piece in turns; events may not.  The first call
 * is sent as it comes, the pieces of others wait until its arguments are whole. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dialect/content.h"
#include "json/print.h"
#include "dialect/upstream_parts.h"

static void send_event(struct upstream_reader *r, const struct answer_event *e)
{
    if (r->state == UPSTREAM_OPEN)
        r->setup.sink(r->setup.ctx, e);
}

void reply_fail_with(struct upstream_reader *r, const struct api_error *e)
{
    send_event(r, &(struct answer_event){.kind = ANSWER_ERROR, .error = e});
    if (r->state == UPSTREAM_OPEN)
        r->state = UPSTREAM_FAILED;
}

void reply_fail(struct upstream_reader *r, enum api_error_kind kind, const char *fmt, ...)
{
    struct api_error e = {.kind = kind};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    reply_fail_with(r, &e);
}

void reply_wrong(struct upstream_reader *r, const char *name, const char *expected)
{
    reply_fail(r, API_ERROR_BACKEND,
               "event %llu of the backend's reply, before byte %llu: %s must be %s",
               (unsigned long long)r->n_event, (unsigned long long)r->n_bytes, name,
               expected);
}

void reply_ping(struct upstream_reader *r)
{
    send_event(r, &(struct answer_event){.kind = ANSWER_PING});
}

static bool choice_is_open(struct upstream_reader *r, int choice)
{
    if (choice < 0 || choice >= r->n_choice) {
        reply_wrong(r, "index", "that of a choice that was asked for");
        return false;
    }
    if (r->choices[choice].ended) {
        reply_wrong(r, "the choice", "at its end, where its finish reason was");
        return false;
    }
    return r->state == UPSTREAM_OPEN;
}

/* ---- calls ---- */

static struct reply_call *open_call(struct upstream_reader *r, int choice)
{
    for (int i = 0; i < r->n_call; i++)
        if (r->calls[i].choice == choice && r->calls[i].state == CALL_OPEN)
            return &r->calls[i];
    return NULL;
}

static void send_text(struct upstream_reader *r, int choice, enum answer_kind kind,
                      const char *s, size_t n)
{
    if (n > 0)
        send_event(
            r, &(struct answer_event){.kind = kind, .choice = choice, .text = s, .n = n});
}

/* What is new of the arguments.  The first that is no blank shows whether they are an
 * object: before it, nothing is sent. */
static void send_arguments(struct upstream_reader *r, struct reply_call *c)
{
    const char *s = c->args.data ? c->args.data : "";
    size_t at = 0;
    while (at < c->args.len && strchr(" \t\r\n", s[at]))
        at++;
    if (at == c->args.len || s[at] == 'n') // null, perhaps
        return;
    if (s[at] != '{') {
        reply_fail(r, API_ERROR_BACKEND,
                   "the arguments of the backend's call of '%.100s' are no JSON object",
                   c->name);
        return;
    }
    send_text(r, c->choice, ANSWER_TOOL_ARGS, s + c->n_sent, c->args.len - c->n_sent);
    c->n_sent = c->args.len;
}

static bool arguments_are_none(const struct reply_call *c)
{
    const char *s = c->args.data ? c->args.data : "";
    size_t n = c->args.len, at = 0;
    while (at < n && strchr(" \t\r\n", s[at]))
        at++;
    while (n > at && strchr(" \t\r\n", s[n - 1]))
        n--;
    return n == at || (n - at == 4 && memcmp(s + at, "null", 4) == 0);
}

static void close_call(struct upstream_reader *r, struct reply_call *c)
{
    char why[200];
    json_t *v = NULL;
    if (!arguments_are_none(c)) {
        const enum status s = upstream_load_json(&v, c->args.data, c->args.len, why);
        if (s != STATUS_OK || !json_is_object(v)) {
            reply_fail(r, API_ERROR_BACKEND,
                       "the arguments of the backend's call of '%.100s' are no JSON "
                       "object: %s",
                       c->name, s == STATUS_OK ? "they are another value" : why);
            json_decref(v);
            return;
        }
        json_decref(v);
    } else { // clients read them as JSON
        send_text(r, c->choice, ANSWER_TOOL_ARGS, "{}", 2);
    }
    c->state = CALL_CLOSED;
    send_event(r, &(struct answer_event){.kind = ANSWER_TOOL_END, .choice = c->choice});
}

static void start_call(struct upstream_reader *r, struct reply_call *c)
{
    c->state = CALL_OPEN;
    send_event(r, &(struct answer_event){.kind = ANSWER_TOOL_BEGIN,
                                         .choice = c->choice,
                                         .id = c->id,
                                         .name = c->name});
    send_arguments(r, c);
}

/* Whether another call waits behind this one. */
static struct reply_call *next_call(struct upstream_reader *r, int choice)
{
    for (int i = 0; i < r->n_call; i++)
        if (r->calls[i].choice == choice && r->calls[i].state == CALL_HELD)
            return &r->calls[i];
    return NULL;
}

/* Send what can be sent.  all: nothing else will come for this choice. */
static void advance_calls(struct upstream_reader *r, int choice, bool all)
{
    while (r->state == UPSTREAM_OPEN) {
        struct reply_call *c = open_call(r, choice);
        struct reply_call *next = next_call(r, choice);
        if (c) {
            send_arguments(r, c);
            if (r->state == UPSTREAM_OPEN && (all || (next && c->scan.closed)))
                close_call(r, c);
            else
                return;
        } else if (next && next->name) {
            start_call(r, next);
        } else {
            if (next && all)
                reply_fail(r, API_ERROR_BACKEND, "a call of the backend has no name");
            return;
        }
    }
}

static bool id_is_plain(const char *id)
{
    for (const char *p = id; *p; p++)
        if ((unsigned char)*p < 0x21 || *p == '"' || *p == '\\' || *p == 0x7f)
            return false;
    return *id && strlen(id) <= 256;
}

/* The id that the client gets: the backend's, or one that nobody has. */
static char *new_call_id(struct upstream_reader *r, const char *sent)
{
    char made[96];
    const char *id = sent && id_is_plain(sent) ? sent : NULL;
    for (int i = 0; !id || json_object_get(r->ids, id); i++) {
        snprintf(made, sizeof made, i > 0 ? "call_%.64s_%d_%d" : "call_%.64s_%d",
                 r->setup.id, r->n_call, i);
        id = made;
    }
    if (json_object_set_new(r->ids, id, json_true()))
        return NULL;
    return mem_strdup(id);
}

/* A call that waits still may be one whose id never came. */
struct reply_call *reply_call_begin(struct upstream_reader *r, int choice, int64_t key,
                                    const char *id, const char *name)
{
    if (!choice_is_open(r, choice))
        return NULL;
    if (r->n_call == UPSTREAM_CALLS_MAX) {
        reply_fail(r, API_ERROR_BACKEND, "the backend's answer has more than %d calls",
                   UPSTREAM_CALLS_MAX);
        return NULL;
    }
    struct reply_call *c = &r->calls[r->n_call];
    *c = (struct reply_call){.choice = choice, .key = key};
    buf_init(&c->args, UPSTREAM_ARGS_MAX);
    c->sent_id = id ? mem_strdup(id) : NULL;
    c->id = new_call_id(r, id);
    if (!c->id || (id && !c->sent_id))
        reply_fail(r, API_ERROR_INTERNAL, "out of memory");
    /* The client wants one call at most. */
    if (!r->setup.request->parallel_tool_calls && r->choices[choice].n_call > 0)
        c->state = CALL_DROPPED;
    r->n_call++;
    r->choices[choice].n_call++;
    if (name)
        reply_call_name(r, c, name);
    return r->state == UPSTREAM_OPEN ? c : NULL;
}

void reply_call_name(struct upstream_reader *r, struct reply_call *c, const char *name)
{
    if (c->name)
        return; // said again
    if (strlen(name) > 256 || !(c->name = mem_strdup(name))) {
        reply_fail(r, API_ERROR_BACKEND, "a call of the backend has a name of %zu bytes",
                   strlen(name));
        return;
    }
    advance_calls(r, c->choice, false);
}

void reply_call_args(struct upstream_reader *r, struct reply_call *c, const char *s,
                     size_t n)
{
    if (!choice_is_open(r, c->choice) || n == 0 || c->state == CALL_DROPPED)
        return;
    r->args_bytes += n;
    if (r->args_bytes > UPSTREAM_ARGS_MAX || !buf_append(&c->args, s, n)) {
        reply_fail(r, API_ERROR_BACKEND,
                   "the arguments of the backend's calls are longer than %zu bytes",
                   UPSTREAM_ARGS_MAX);
        return;
    }
    const bool blank = strspn(s, " \t\r\n") >= n;
    if (!json_scan_feed(&c->scan, s, n) || c->scan.deepest > UPSTREAM_DEPTH_MAX ||
        (c->state == CALL_CLOSED && !blank)) {
        reply_fail(r, API_ERROR_BACKEND,
                   "the arguments of the backend's call of '%.100s' are no JSON object, "
                   "or are nested deeper than %d",
                   c->name ? c->name : "", UPSTREAM_DEPTH_MAX);
        return;
    }
    advance_calls(r, c->choice, false);
}

void reply_call_object(struct upstream_reader *r, struct reply_call *c, const json_t *v)
{
    struct buf text;
    buf_init(&text, UPSTREAM_ARGS_MAX);
    json_print_value(&text, v);
    if (text.failed)
        reply_fail(r, API_ERROR_INTERNAL, "out of memory");
    else
        reply_call_args(r, c, text.data, text.len);
    if (r->state == UPSTREAM_OPEN && c->state == CALL_OPEN)
        close_call(r, c);
    buf_release(&text);
}

/* ---- text ---- */

void reply_prose(struct upstream_reader *r, int choice, enum answer_kind kind,
                 const json_t *text, const char *name)
{
    const size_t n = json_string_length(text);
    if (!text || json_is_null(text) || (json_is_string(text) && n == 0))
        return;
    if (!json_is_string(text)) {
        reply_wrong(r, name, "a string");
        return;
    }
    if (!choice_is_open(r, choice))
        return;
    struct reply_call *c = open_call(r, choice);
    struct buf *late = &r->choices[choice].late;
    /* What has no arguments yet may get some behind text, never behind thoughts. */
    if (c && (c->scan.closed || (kind == ANSWER_REASONING && arguments_are_none(c))))
        close_call(r, c);
    if (!open_call(r, choice)) {
        send_text(r, choice, ANSWER_TEXT, late->data, late->len);
        buf_clear(late);
        send_text(r, choice, kind, json_string_value(text), n);
        return;
    }
    if (kind == ANSWER_REASONING) {
        reply_wrong(r, name, "outside the arguments of a call");
        return;
    }
    /* It goes behind the call, whose pieces still come. */
    if (!buf_append(late, json_string_value(text), n))
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's answer has too much text between its calls");
}

/* Bytes of a token: the list, where it is one, else those of its text. */
static void read_token_bytes(struct buf *out, const json_t *entry)
{
    const json_t *bytes = json_object_get(entry, "bytes");
    const json_t *text = json_object_get(entry, "token");
    if (!json_is_array(bytes))
        buf_append(out, json_string_value(text), json_string_length(text));
    for (size_t i = 0; i < json_array_size(bytes); i++) {
        const char byte = (char)json_integer_value(json_array_get(bytes, i));
        buf_append(out, &byte, 1);
    }
}

static void reply_logprob(struct upstream_reader *r, int choice, const json_t *entry)
{
    const json_t *others = json_object_get(entry, "top_logprobs");
    struct answer_token top[API_LOGPROBS_MAX + 1];
    size_t at[API_LOGPROBS_MAX + 2] = {0}, n = 0;
    struct buf text;
    buf_init(&text, (size_t)1 << 20);
    read_token_bytes(&text, entry);
    at[1] = text.len;
    for (; n < json_array_size(others) && n < API_LOGPROBS_MAX; n++) {
        read_token_bytes(&text, json_array_get(others, n));
        at[n + 2] = text.len;
    }
    for (size_t i = 0; i <= n && !text.failed; i++) {
        const json_t *of = i > 0 ? json_array_get(others, i - 1) : entry;
        const double log = json_number_value(json_object_get(of, "logprob"));
        top[i] = (struct answer_token){.id = -1,
                                       .logprob = log <= -9999 ? -INFINITY : (float)log,
                                       .text = (text.data ? text.data : "") + at[i],
                                       .n = at[i + 1] - at[i]};
    }
    if (text.failed)
        reply_wrong(r, "logprobs", "tokens of at most 1 MiB");
    else
        send_event(r, &(struct answer_event){.kind = ANSWER_LOGPROB,
                                             .choice = choice,
                                             .token = top[0],
                                             .top = top + 1,
                                             .n_top = (int)n});
    buf_release(&text);
}

void reply_logprobs(struct upstream_reader *r, int choice, const json_t *entries)
{
    if (r->setup.request->n_logprobs < 0 || json_array_size(entries) == 0 ||
        !choice_is_open(r, choice))
        return;
    for (size_t i = 0; i < json_array_size(entries) && r->state == UPSTREAM_OPEN; i++) {
        const json_t *entry = json_array_get(entries, i);
        if (json_is_object(entry))
            reply_logprob(r, choice, entry);
        else
            reply_wrong(r, "logprobs", "an array of objects");
    }
}

/* ---- the end ---- */

/* Why answers end, in the words of all APIs.  failed: the answer is none, as a filter,
 * the backend or the model itself stopped it. */
static const struct reason {
    const char *word;
    enum answer_finish finish;
    const char *failed;
    enum api_error_kind kind;
} reasons[] = {
    {"stop", ANSWER_STOP, NULL, 0},
    {"end_turn", ANSWER_STOP, NULL, 0},
    {"eos", ANSWER_STOP, NULL, 0},
    {"load", ANSWER_STOP, NULL, 0},
    {"unload", ANSWER_STOP, NULL, 0},
    {"stop_sequence", ANSWER_STOP_STRING, NULL, 0},
    {"length", ANSWER_LENGTH, NULL, 0},
    {"max_tokens", ANSWER_LENGTH, NULL, 0},
    {"model_length", ANSWER_LENGTH, NULL, 0},
    {"model_context_window_exceeded", ANSWER_LENGTH, NULL, 0},
    {"tool_calls", ANSWER_TOOL_CALLS, NULL, 0},
    {"tool_use", ANSWER_TOOL_CALLS, NULL, 0},
    {"function_call", ANSWER_TOOL_CALLS, NULL, 0},
    {"content_filter", 0, "a filter of the backend stopped the answer",
     API_ERROR_UNSUPPORTED},
    {"refusal", 0, "the model refused to answer", API_ERROR_UNSUPPORTED},
    {"pause_turn", 0, "the backend paused the answer", API_ERROR_BACKEND},
    {"abort", 0, "the backend aborted the answer", API_ERROR_BACKEND},
    {"error", 0, "the backend failed within the answer", API_ERROR_BACKEND},
    {"insufficient_system_resource", 0, "the backend has no room for the answer",
     API_ERROR_BUSY},
};

void reply_finish(struct upstream_reader *r, int choice, const char *reason,
                  const char *stop_string)
{
    const size_t n = sizeof reasons / sizeof *reasons;
    size_t i = 0;
    while (i < n && strcmp(reasons[i].word, reason) != 0)
        i++;
    if (!choice_is_open(r, choice))
        return;
    if (i == n) {
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's answer ended for a reason that is not known: '%.60s'",
                   reason);
        return;
    }
    if (reasons[i].failed) {
        reply_fail(r, reasons[i].kind, "%s (%s)", reasons[i].failed, reason);
        return;
    }
    struct reply_choice *c = &r->choices[choice];
    advance_calls(r, choice, true);
    send_text(r, choice, ANSWER_TEXT, c->late.data, c->late.len);
    c->ended = true;
    c->finish = reasons[i].finish;
    if (stop_string && !(c->stop_string = mem_strdup(stop_string)))
        reply_fail(r, API_ERROR_INTERNAL, "out of memory");
    if (c->finish == ANSWER_STOP && stop_string)
        c->finish = ANSWER_STOP_STRING;
    /* Some backends say stop behind calls; some say calls of which there are none. */
    if (c->n_call > 0 && c->finish != ANSWER_LENGTH)
        c->finish = ANSWER_TOOL_CALLS;
    else if (c->finish == ANSWER_TOOL_CALLS)
        c->finish = ANSWER_STOP;
}

void reply_end(struct upstream_reader *r)
{
    for (int i = 0; i < r->n_choice; i++)
        if (!r->choices[i].ended) {
            reply_fail(r, API_ERROR_BACKEND,
                       "the backend's reply ended without a finish reason, at byte %llu",
                       (unsigned long long)r->n_bytes);
            return;
        }
    for (int i = 0; i < r->n_choice; i++) {
        const struct reply_choice *c = &r->choices[i];
        struct answer_event e = {.kind = ANSWER_END,
                                 .choice = i,
                                 .finish = c->finish,
                                 .stop_string = c->stop_string};
        if (i == 0)
            e.usage = r->usage;
        send_event(r, &e);
    }
    if (r->state == UPSTREAM_OPEN)
        r->state = UPSTREAM_DONE;
}
