/* pump.c - what comes from a backend, to the client. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "json/parse.h"
#include "http/client_fields.h"
#include "router/internal.h"

enum { END_GRACE_US = 2000000, FIELD_BYTES = 512, WHY_BYTES = 512 };

/* ---- what went wrong ---- */

static void fail_as(struct relay *c, enum policy_failure why, const char *text)
{
    struct api_error e;
    upstream_no_reply(&e, text);
    relay_attempt_failed(c, why, &e, 0);
}

/* The transfer ended, and not well. */
static void fail_transfer(struct relay *c, enum http_transfer_end end)
{
    static const enum policy_failure failures[] = {
        [HTTP_TRANSFER_RUNS] = POLICY_FAILURE_CUT,
        [HTTP_TRANSFER_DONE] = POLICY_FAILURE_CUT,
        [HTTP_TRANSFER_CONNECT] = POLICY_FAILURE_CONNECT,
        [HTTP_TRANSFER_TIMEOUT] = POLICY_FAILURE_TIMEOUT,
        [HTTP_TRANSFER_CUT] = POLICY_FAILURE_CUT,
        [HTTP_TRANSFER_GARBAGE] = POLICY_FAILURE_GARBAGE,
        [HTTP_TRANSFER_FAILED] = POLICY_FAILURE_CUT,
    };
    char why[WHY_BYTES];
    snprintf(why, sizeof why, "%s", http_transfer_why(c->transfer));
    fail_as(c, failures[end], *why ? why : "the answer ended too early");
}

/* What a backend says in place of an answer. */
static void fail_with(struct relay *c, const struct api_error *e)
{
    if (e->kind == API_ERROR_TOO_LONG)
        relay_try_elsewhere(c, e);
    else
        relay_attempt_failed(c, POLICY_FAILURE_STATUS, e, 0);
}

/* ---- errors of backends ---- */

static bool is_text(const json_t *v, const char *member)
{
    return json_is_string(json_object_get(v, member));
}

/* An error in the shape that the client's dialect gives them. */
static bool is_own_error(const struct relay *c, const char *text, size_t n)
{
    json_t *v = json_parse(text, n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *e = json_object_get(v, "error");
    bool ok = false;
    if (c->route->dialect == DIALECT_OPENAI)
        ok = is_text(e, "message");
    else if (c->route->dialect == DIALECT_ANTHROPIC)
        ok = is_text(v, "type") && is_text(e, "message") && is_text(e, "type");
    else
        ok = json_is_string(e);
    json_decref(v);
    return ok;
}

/* Errors of the client pass as they are, where they are of its dialect. */
static void keep_error(struct relay *c, int status)
{
    buf_clear(&c->last_body);
    c->last_status = status;
    if (!c->translates && status < 500 && c->in.len < ROUTER_ERROR_MAX &&
        is_own_error(c, c->in.data, c->in.len))
        buf_append(&c->last_body, c->in.data, c->in.len);
}

static void answer_error(struct relay *c, const struct api_error *e)
{
    c->last_error = *e;
    c->has_error = true;
    relay_attempt_done(c);
    relay_answer_error(c);
}

static void on_bad_status(struct relay *c, int status)
{
    char later[FIELD_BYTES] = "";
    struct api_error e;
    const bool says = http_field(later, sizeof later, http_transfer_fields(c->transfer),
                                 "Retry-After", 0);
    upstream_read_error(&e, status, says ? later : NULL, c->in.data ? c->in.data : "",
                        c->in.len);
    keep_error(c, status);
    const uint64_t busy_us = (uint64_t)e.retry_after_s * 1000000;
    if (status < 400) {
        buf_clear(&c->last_body);
        fail_as(c, POLICY_FAILURE_GARBAGE, "it redirects, which is not followed");
    } else if (status == 401 || status == 403 || status == 407) {
        buf_clear(&c->last_body); // of our key, not the client's
        fail_as(c, POLICY_FAILURE_STATUS, "it does not take the router's key");
    } else if (status == 429 || (status == 503 && says) || status == 529) {
        relay_attempt_failed(c, POLICY_FAILURE_BUSY, &e, busy_us);
    } else if (status >= 500 || status == 408) {
        relay_attempt_failed(c, POLICY_FAILURE_STATUS, &e, 0);
    } else if (status == 404 || e.kind == API_ERROR_TOO_LONG) {
        relay_try_elsewhere(c, &e);
    } else {
        answer_error(c, &e);
    }
}

/* ---- documents ---- */

/* JSON alone is no answer: {}, or no choices. */
static bool has_answer(struct relay *c)
{
    if (!c->route->answer)
        return true;
    json_t *v = json_parse(c->in.data, c->in.len, 0, NULL);
    const json_t *a = json_object_get(v, c->route->answer);
    // What jansson does not read, as half a surrogate pair, may be whole nevertheless.
    const bool has =
        !v || (a && !json_is_null(a) &&
               (strcmp(c->route->answer, "choices") || json_array_size(a) > 0));
    json_decref(v);
    return has;
}

static bool is_whole(struct relay *c)
{
    if (!c->route->op) {
        json_t *v = json_parse(c->in.data ? c->in.data : "", c->in.len, 0, NULL);
        json_decref(v);
        return v;
    }
    stream_watch_init(&c->watch, c->route->op, false);
    stream_watch_feed(&c->watch, c->in.data ? c->in.data : "", c->in.len);
    c->usage = c->watch.usage;
    c->has_usage = c->watch.has_usage;
    return c->watch.ended && has_answer(c);
}

/* Some report errors with status 200. */
static void fail_document(struct relay *c)
{
    struct api_error e;
    if (!c->route->op || !c->watch.failed) {
        fail_as(c, POLICY_FAILURE_GARBAGE,
                c->route->op && c->watch.ended ? "there is no answer in its answer"
                                               : "its answer is not whole JSON");
        return;
    }
    upstream_read_error(&e, 502, NULL, c->in.data, c->in.len);
    fail_with(c, &e);
}

static void pass_document(struct relay *c)
{
    char type[FIELD_BYTES];
    struct buf body;
    if (!is_whole(c)) {
        fail_document(c);
        return;
    }
    if (!http_field(type, sizeof type, http_transfer_fields(c->transfer), "Content-Type",
                    0))
        snprintf(type, sizeof type, "application/json");
    body = c->in;
    buf_init(&c->in, ROUTER_ANSWER_MAX);
    relay_attempt_done(c);
    c->done = true;
    relay_reply(c, 200, type, &body);
    buf_release(&body);
}

/* ---- streams ---- */

static void open_stream(struct relay *c)
{
    char type[FIELD_BYTES];
    if (c->phase == RELAY_STREAM)
        return;
    c->phase = RELAY_STREAM;
    atomic_store(&c->streams, true);
    relay_add_headers(c);
    http_add_header(c->x, "Cache-Control", "no-cache");
    if (c->translates)
        snprintf(type, sizeof type, "%s", c->writer->content_type);
    else if (!http_field(type, sizeof type, http_transfer_fields(c->transfer),
                         "Content-Type", 0))
        *type = 0;
    http_stream_begin(c->x, 200, type);
}

static void write_held(struct relay *c)
{
    http_stream_write(c->x, c->in.data, c->in.len);
    buf_clear(&c->in);
}

/* Only whole events are sent on, so that an error can follow whenever the backend dies.
 */
static void pass_piece(struct relay *c, const char *p, size_t n)
{
    const size_t whole = stream_watch_feed(&c->watch, p, n);
    if (c->watch.failed && c->phase != RELAY_STREAM) {
        buf_append(&c->in, p, n); // not sent, tried elsewhere
        return;
    }
    if (whole) {
        open_stream(c);
        write_held(c);
        http_stream_write(c->x, p, whole);
        c->held_over = false;
    }
    buf_append(&c->in, p + whole, n - whole);
    if (c->in.len > ROUTER_HELD_MAX) {
        open_stream(c);
        write_held(c);
        c->held_over = true;
    }
}

static void finish_stream(struct relay *c)
{
    open_stream(c);
    // All is said, but a backend that was cut behind its last word left the line open.
    if (c->watch.ended && !c->watch.at_boundary && c->in.len)
        buf_puts(&c->in, c->watch.form == STREAM_LINES       ? "\n"
                         : c->in.data[c->in.len - 1] == '\n' ? "\n"
                                                             : "\n\n");
    write_held(c);
    c->usage = c->watch.usage;
    c->has_usage = c->watch.has_usage;
    relay_attempt_done(c);
    c->done = true;
    relay_account(c, 200);
    http_stream_end(c->x);
}

bool relay_finish_said(struct relay *c)
{
    if (c->phase != RELAY_STREAM || c->translates || !c->watch.ended)
        return false;
    finish_stream(c);
    return true;
}

/* The first event of a stream is an error: what the last line that has an object says. */
static void fail_by_event(struct relay *c)
{
    struct api_error e;
    const char *at = NULL;
    size_t n = 0;
    for (size_t i = 0, len; i < c->in.len; i += len + 1) {
        const char *line = c->in.data + i;
        const char *end = memchr(line, '\n', c->in.len - i);
        len = end ? (size_t)(end - line) : c->in.len - i;
        const char *open = memchr(line, '{', len);
        if (open) {
            at = open;
            n = len - (size_t)(open - line);
        }
    }
    upstream_read_error(&e, 502, NULL, at ? at : "", n);
    fail_with(c, &e);
}

/* true: the call is over, or it goes on elsewhere. */
static bool check_stream(struct relay *c, const struct http_transfer_state *s, bool empty)
{
    if (c->watch.failed && c->phase != RELAY_STREAM) {
        fail_by_event(c);
        return true;
    }
    if (c->watch.failed && empty && s->ended) { // the client has seen its words
        c->held_over = false;
        finish_stream(c);
        return true;
    }
    if (c->watch.ended && empty && (s->ended || clock_us() > c->end_us)) {
        finish_stream(c);
        return true;
    }
    if (empty && s->ended) {
        if (s->end == HTTP_TRANSFER_DONE)
            fail_as(c, POLICY_FAILURE_CUT, "the stream ended without its end mark");
        else
            fail_transfer(c, s->end);
        return true;
    }
    if (c->watch.ended && !c->end_set) { // it should close now
        c->end_set = true;
        c->end_us = clock_us() + END_GRACE_US;
        http_wake_at(c->x, c->end_us + 1000);
    }
    return false;
}

/* ---- translated answers ---- */

static void pass_translated(struct relay *c)
{
    if (!c->req.stream || !c->out.len)
        return;
    open_stream(c);
    http_stream_write(c->x, c->out.data, c->out.len);
    buf_clear(&c->out);
}

/* A backend's answer that is none, by what it says: only some is the backend's fault. */
static void fail_translated(struct relay *c, const struct http_transfer_state *s)
{
    const struct api_error e = c->reader_error;
    const bool early = c->phase != RELAY_STREAM;
    enum policy_failure why = POLICY_FAILURE_GARBAGE;
    if (s->ended && s->end != HTTP_TRANSFER_DONE)
        why = POLICY_FAILURE_CUT;
    else if (e.kind == API_ERROR_BUSY || e.kind == API_ERROR_RATE_LIMIT)
        why = POLICY_FAILURE_BUSY;
    else if (e.kind == API_ERROR_UNSUPPORTED || e.kind == API_ERROR_INVALID)
        why = POLICY_FAILURE_CLIENT;
    if (early && e.kind == API_ERROR_TOO_LONG)
        relay_try_elsewhere(c, &e);
    else if (early && why == POLICY_FAILURE_CLIENT)
        answer_error(c, &e);
    else
        relay_attempt_failed(c, why, &e, (uint64_t)e.retry_after_s * 1000000);
}

static bool check_translated(struct relay *c, const struct http_transfer_state *s,
                             bool empty)
{
    struct buf body;
    if (empty && s->ended && c->reader_state == UPSTREAM_OPEN)
        translate_finish(
            c, s->end == HTTP_TRANSFER_DONE ? NULL : http_transfer_why(c->transfer));
    pass_translated(c);
    if (c->reader_state == UPSTREAM_OPEN)
        return false;
    if (c->reader_state == UPSTREAM_FAILED) {
        c->held_over = false;
        fail_translated(c, s);
        return true;
    }
    body = c->out;
    buf_init(&c->out, ROUTER_ANSWER_MAX);
    const char *type = c->writer ? c->writer->content_type : "application/json";
    relay_attempt_done(c);
    c->done = true;
    if (c->phase == RELAY_STREAM) {
        relay_account(c, 200);
        http_stream_end(c->x);
    } else {
        relay_reply(c, 200, type, &body);
    }
    buf_release(&body);
    return true;
}

/* ---- all of it ---- */

/* Nothing of it can be read or passed on: the client may not know such a coding. */
static bool is_coded(const struct relay *c)
{
    char coding[FIELD_BYTES];
    return http_field(coding, sizeof coding, http_transfer_fields(c->transfer),
                      "Content-Encoding", 0) &&
           *coding && strcasecmp(coding, "identity");
}

/* The header is there.  false: the attempt is over. */
static bool on_header(struct relay *c, int status)
{
    char type[FIELD_BYTES];
    const bool has = http_field(type, sizeof type, http_transfer_fields(c->transfer),
                                "Content-Type", 0);
    c->backend_status = status;
    c->coded = is_coded(c);
    if (status >= 300)
        return true;
    if (c->coded) {
        fail_as(c, POLICY_FAILURE_GARBAGE, "its answer is compressed, unasked");
        return false;
    }
    c->is_stream = c->stream && has && upstream_is_stream(type);
    if (c->translates) {
        c->is_stream = has && upstream_is_stream(type);
        return translate_open(c);
    }
    if (c->is_stream)
        stream_watch_init(&c->watch, c->route->op, true);
    return true;
}

static void on_first_byte(struct relay *c)
{
    if (c->first_byte)
        return;
    c->first_byte = true;
    if (c->backend_status >= 300)
        return;
    pthread_mutex_lock(&c->router->lock);
    policy_began(c->router->policy, c->decision.flight, clock_us());
    pthread_mutex_unlock(&c->router->lock);
}

/* Behind the role and the like, which some send before they have read the prompt. */
static void on_first_text(struct relay *c)
{
    if (c->first_text || c->backend_status >= 300 ||
        (c->is_stream && !(c->translates ? c->has_text : c->watch.has_text)))
        return;
    c->first_text = true;
    c->first_us = clock_us();
    pthread_mutex_lock(&c->router->lock);
    policy_first_byte(c->router->policy, c->decision.flight, c->first_us);
    pthread_mutex_unlock(&c->router->lock);
}

static void take_piece_of_answer(struct relay *c, const char *p, size_t n)
{
    on_first_byte(c);
    if (c->backend_status >= 300) {
        const size_t room = ROUTER_ERROR_MAX - c->in.len;
        buf_append(&c->in, p, c->coded ? 0 : n < room ? n : room);
    } else if (c->translates) {
        translate_feed(c, p, n);
    } else if (c->is_stream) {
        pass_piece(c, p, n);
    } else {
        buf_append(&c->in, p, n);
    }
    on_first_text(c);
}

/* true: over, or elsewhere. */
static bool check_end(struct relay *c, const struct http_transfer_state *s, bool empty)
{
    if (c->backend_status >= 300) {
        if (empty && s->ended)
            on_bad_status(c, c->backend_status);
        return empty && s->ended;
    }
    if (c->in.failed) {
        fail_as(c, POLICY_FAILURE_GARBAGE, "its answer is too large");
        return true;
    }
    if (c->translates)
        return check_translated(c, s, empty);
    if (c->is_stream)
        return check_stream(c, s, empty);
    if (!empty || !s->ended)
        return false;
    if (s->end == HTTP_TRANSFER_DONE)
        pass_document(c);
    else
        fail_transfer(c, s->end);
    return true;
}

void relay_pump(struct relay *c)
{
    char piece[ROUTER_PIECE];
    struct http_transfer *t = c->transfer;
    while (t && t == c->transfer && !c->done) {
        struct http_transfer_state s;
        // What the client does not take is not read.
        if (c->phase == RELAY_STREAM && !http_stream_has_room(c->x))
            return;
        http_transfer_see(t, &s);
        if (!s.status) {
            if (s.ended)
                fail_transfer(c, s.end);
            return;
        }
        if (!c->backend_status && !on_header(c, s.status))
            return;
        const size_t n = http_transfer_read(t, piece, sizeof piece);
        if (n)
            take_piece_of_answer(c, piece, n);
        if (check_end(c, &s, n == 0 && !s.n_waiting))
            return;
        if (!n)
            return;
    }
}
