/* call.c - a call from its headers to its account, and the ways to answer it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/print.h"
#include "server/internal.h"

struct call *call_open(struct server *s, struct http_exchange *x)
{
    struct call *c = mem_array(1, sizeof *c);
    if (!c)
        return NULL;
    c->server = s;
    c->x = x;
    c->path = route_path(http_path(x));
    c->dialect = route_dialect(c->path, http_header(x, "anthropic-version") != NULL);
    id_make(c->request_id, "req_");
    id_make(c->id, "");
    api_request_init(&c->req);
    buf_init(&c->out, SERVER_ANSWER_MAX);
    for (int i = 0; i < API_N_MAX; i++)
        tokens_init(&c->prompt[i]);
    http_set_data(x, c);
    call_mark_memory(c);
    return c;
}

void call_mark_memory(struct call *c)
{
    c->mem_mark = mem_failures();
}

bool call_lacks_memory(const struct call *c)
{
    return c->mem_mark != mem_failures();
}

void call_release(struct call *c)
{
    if (!c)
        return;
    if (!c->logged) // its client went before there was a reply
        call_account(c, 499);
    call_close(c); // the server ended before it was answered
    if (c->writer)
        c->writer->ops->close(c->writer);
    api_request_release(&c->req);
    json_decref(c->messages);
    json_decref(c->body);
    for (int i = 0; i < API_N_MAX; i++)
        tokens_release(&c->prompt[i]);
    buf_release(&c->out);
    mem_free(c);
}

void call_close(struct call *c)
{
    pipeline_close(c);
    embed_close(c);
    store_call_release(c);
    models_release(c);
}

void call_account(struct call *c, int status)
{
    struct metrics *m = &c->server->metrics;
    c->logged = true;
    c->status = status;
    metrics_request(m, c->dialect->name, status);
    if (http_is_gone(c->x))
        metrics_add(m, &m->gone, 1);
    log_call(c, clock_us() - http_start_us(c->x));
}

static void add_count(struct call *c, const char *name, int count)
{
    char n[16];
    if (!count)
        return;
    snprintf(n, sizeof n, "%d", count);
    http_add_header(c->x, name, n);
}

void call_add_headers(struct call *c)
{
    const char *origin = http_header(c->x, "origin");
    http_add_header(c->x, "x-request-id", c->request_id);
    http_add_header(c->x, "request-id", c->request_id);
    http_add_header(c->x, "X-Content-Type-Options", "nosniff");
    if (origin && guard_origin(&c->server->guard, origin, http_header(c->x, "host"))) {
        http_add_header(c->x, "Access-Control-Allow-Origin", origin);
        http_add_header(c->x, "Vary", "Origin");
    }
    add_count(c, "X-Truncated-Messages", c->n_dropped);
    add_count(c, "X-Truncated-Inputs", c->embed.n_cut);
    if (atomic_load(&c->server->draining))
        http_add_header(c->x, "Connection", "close");
}

void call_reply(struct call *c, int status, const char *content_type, struct buf *body)
{
    if ((body && body->failed) || call_lacks_memory(c)) {
        static const char text[] = "out of memory\n";
        call_add_headers(c);
        call_account(c, 500);
        http_reply_static(c->x, 500, "text/plain", text, sizeof text - 1);
        return;
    }
    call_add_headers(c);
    call_account(c, status);
    http_reply(c->x, status, content_type, body);
}

void call_reply_json(struct call *c, int status, json_t *value)
{
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    if (value)
        json_print_value(&b, value);
    else
        b.failed = true;
    json_decref(value);
    call_reply(c, status, "application/json", &b);
    buf_release(&b);
}

void call_reply_text(struct call *c, int status, const char *text)
{
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    buf_puts(&b, text);
    call_reply(c, status, "text/plain; charset=utf-8", &b);
    buf_release(&b);
}

void call_error(struct call *c, const struct api_error *e)
{
    struct buf b;
    char seconds[16];
    int status = api_error_http(e->kind);
    buf_init(&b, SERVER_JSON_MAX);
    c->dialect->print_error(&b, &status, e, c->request_id);
    metrics_rejected(&c->server->metrics, e->kind);
    snprintf(seconds, sizeof seconds, "%d", api_error_retry_s(e));
    if (api_error_retry_s(e))
        http_add_header(c->x, "Retry-After", seconds);
    if (e->kind == API_ERROR_UNAUTHORIZED)
        http_add_header(c->x, "WWW-Authenticate", "Bearer");
    http_add_header(c->x, "x-should-retry", api_error_may_retry(e) ? "true" : "false");
    call_reply(c, status, "application/json", &b);
    buf_release(&b);
}

void call_fail(struct call *c, enum api_error_kind kind, const char *fmt, ...)
{
    struct api_error e = {.kind = kind};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    call_error(c, &e);
}

void call_engine_error(struct call *c, const struct error *err)
{
    const bool theirs = err->status == STATUS_BAD_INPUT ||
                        err->status == STATUS_BAD_ARG || err->status == STATUS_LIMIT;
    call_fail(c,
              theirs                              ? API_ERROR_INVALID
              : err->status == STATUS_UNSUPPORTED ? API_ERROR_UNSUPPORTED
                                                  : API_ERROR_INTERNAL,
              "%s", err->text);
}

bool call_read_json(struct call *c, json_t **out)
{
    struct api_error e;
    size_t n;
    char *text = http_body(c->x, &n);
    *out = body_parse(text, n, &e);
    if (!*out)
        call_error(c, &e);
    return *out;
}

bool call_take_body(struct call *c)
{
    return c->body || call_read_json(c, &c->body);
}

bool call_wants_model(struct call *c, const char *name)
{
    return models_acquire(c, name ? name : "") == MODEL_READY;
}
