/* reply.c - a call of a client from its headers to its account, and ways to answer it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/print.h"
#include "router/internal.h"

struct relay *relay_open(struct router *r, struct http_exchange *x)
{
    struct relay *c = mem_array(1, sizeof *c);
    if (!c)
        return NULL;
    const char *path = http_path(x);
    c->router = r;
    c->x = x;
    c->path = !strncmp(path, "/v1/v1/", 7) ? path + 3 : path;
    c->dialect = router_route_dialect(c->path, http_header(x, "anthropic-version"));
    id_make(c->request_id, "req_");
    id_make(c->id, "");
    api_request_init(&c->req);
    buf_init(&c->sent, ROUTER_ANSWER_MAX);
    buf_init(&c->in, ROUTER_ANSWER_MAX);
    buf_init(&c->out, ROUTER_ANSWER_MAX);
    buf_init(&c->last_body, ROUTER_ERROR_MAX);
    http_set_data(x, c);
    return c;
}

void relay_release(struct relay *c)
{
    if (!c)
        return;
    relay_abandon(c);
    gather_close(c);
    if (!c->logged) // its client went before there was a reply
        relay_account(c, 499);
    api_request_release(&c->req);
    buf_release(&c->sent);
    buf_release(&c->in);
    buf_release(&c->out);
    buf_release(&c->last_body);
    mem_free(c->query);
    mem_free(c);
}

void relay_account(struct relay *c, int status)
{
    struct router *r = c->router;
    int i = 0;
    c->logged = true;
    c->status = status;
    pthread_mutex_lock(&r->lock);
    while (i < r->n_count && (r->counts[i].dialect != c->dialect->name || // static
                              r->counts[i].status != status))
        i++;
    if (i == r->n_count && i < ROUTER_STATUSES) {
        r->counts[i] = (struct router_counts){c->dialect->name, status, 0};
        r->n_count++;
    }
    if (i < r->n_count)
        r->counts[i].n++;
    r->n_gone += status == 499;
    pthread_mutex_unlock(&r->lock);
    router_log_call(c, clock_us() - http_start_us(c->x));
}

void relay_add_headers(struct relay *c)
{
    const char *origin = http_header(c->x, "origin");
    http_add_header(c->x, "x-request-id", c->request_id);
    http_add_header(c->x, "request-id", c->request_id);
    http_add_header(c->x, "X-Content-Type-Options", "nosniff");
    if (origin && guard_origin(&c->router->guard, origin, http_header(c->x, "host"))) {
        http_add_header(c->x, "Access-Control-Allow-Origin", origin);
        http_add_header(c->x, "Vary", "Origin");
    }
    if (c->backend)
        http_add_header(c->x, "X-Turbine-Backend", c->backend->shown);
    if (*c->fallback)
        http_add_header(c->x, "X-Turbine-Fallback", c->fallback);
    if (*c->dropped)
        http_add_header(c->x, "X-Turbine-Dropped", c->dropped);
    if (atomic_load(&c->router->draining))
        http_add_header(c->x, "Connection", "close");
}

void relay_reply(struct relay *c, int status, const char *content_type, struct buf *body)
{
    static const char no_memory[] = "out of memory\n";
    relay_add_headers(c);
    if (body && body->failed) {
        relay_account(c, 500);
        http_reply_static(c->x, 500, "text/plain", no_memory, sizeof no_memory - 1);
        return;
    }
    relay_account(c, status);
    http_reply(c->x, status, content_type, body);
}

void relay_reply_json(struct relay *c, int status, json_t *value)
{
    struct buf b;
    buf_init(&b, ROUTER_ANSWER_MAX);
    if (value)
        json_print_value(&b, value);
    else
        b.failed = true;
    json_decref(value);
    relay_reply(c, status, "application/json", &b);
    buf_release(&b);
}

void relay_reply_text(struct relay *c, int status, const char *text)
{
    struct buf b;
    buf_init(&b, ROUTER_ANSWER_MAX);
    buf_puts(&b, text);
    relay_reply(c, status, "text/plain; charset=utf-8", &b);
    buf_release(&b);
}

void relay_error(struct relay *c, const struct api_error *e)
{
    struct buf b;
    char seconds[16];
    int status = api_error_http(e->kind);
    buf_init(&b, ROUTER_ANSWER_MAX);
    c->dialect->print_error(&b, &status, e, c->request_id);
    snprintf(seconds, sizeof seconds, "%d", api_error_retry_s(e));
    if (api_error_retry_s(e))
        http_add_header(c->x, "Retry-After", seconds);
    if (e->kind == API_ERROR_UNAUTHORIZED)
        http_add_header(c->x, "WWW-Authenticate", "Bearer");
    http_add_header(c->x, "x-should-retry", api_error_may_retry(e) ? "true" : "false");
    relay_reply(c, status, "application/json", &b);
    buf_release(&b);
}

void relay_fail(struct relay *c, enum api_error_kind kind, const char *fmt, ...)
{
    struct api_error e = {.kind = kind};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e.message, sizeof e.message, fmt, ap);
    va_end(ap);
    relay_error(c, &e);
}
