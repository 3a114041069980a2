/* server.c - opening, admission of requests, ending. */
#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "json/parse.h"
#include "base/mem.h"
#include "server/catalog.h"
#include "server/internal.h"
#include "server/store_jobs.h"

enum { DRAIN_GRACE_US = 5000000, REPLAY_BYTES = 64 << 20, WORKERS = 4 };

/* ---- admission: the I/O thread, before the body ---- */

static bool is_preflight(const struct http_exchange *x)
{
    return !strcmp(http_method(x), "OPTIONS") && http_header(x, "origin") &&
           http_header(x, "access-control-request-method");
}

static void answer_preflight(struct call *c)
{
    const char *headers = http_header(c->x, "access-control-request-headers");
    http_add_header(c->x, "Access-Control-Allow-Methods", "GET, POST, DELETE, HEAD");
    if (headers)
        http_add_header(c->x, "Access-Control-Allow-Headers", headers);
    http_add_header(c->x, "Access-Control-Max-Age", "600");
    call_reply(c, 204, NULL, NULL);
}

static bool check_access(struct call *c, bool public)
{
    const struct guard *g = &c->server->guard;
    const char *host = http_header(c->x, "host");
    if (!guard_host(g, host, http_local(c->x)))
        call_fail(c, API_ERROR_FORBIDDEN,
                  "this Host is not served here; the server's --allow-host can add it");
    else if (!guard_origin(g, http_header(c->x, "origin"), host))
        call_fail(c, API_ERROR_FORBIDDEN,
                  "pages of this Origin may not call; the server's --origins can add it");
    else if (is_preflight(c->x)) // browsers send it without a key
        answer_preflight(c);
    else if (!public && !guard_key(g, http_header(c->x, "authorization"),
                                   http_header(c->x, "x-api-key")))
        call_fail(c, API_ERROR_UNAUTHORIZED,
                  "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY");
    else
        return true;
    return false;
}

static void draining(struct call *c)
{
    const struct api_error e = {.kind = API_ERROR_DRAINING,
                                .message = "the server is about to end",
                                .retry_after_s = 5};
    call_error(c, &e);
}

static void on_no_room(void *ctx, struct http_exchange *x, enum http_no_room why)
{
    struct server *s = ctx;
    call_mark_memory(http_data(x));
    http_add_header(x, "Connection", "close");
    if (why == HTTP_BODY_TOO_LARGE)
        call_fail(http_data(x), API_ERROR_TOO_LARGE, "the body is larger than %zu bytes",
                  s->o.limits.body_bytes);
    else if (why == HTTP_BODIES_TOO_MANY)
        call_fail(http_data(x), API_ERROR_BUSY,
                  "the requests that are being read are too large together");
    else
        call_fail(http_data(x), API_ERROR_INTERNAL, "out of memory");
}

static bool on_admit(void *ctx, struct http_exchange *x)
{
    static const char no_memory[] = "out of memory\n";
    struct server *s = ctx;
    char allow[64];
    struct call *c = call_open(s, x);
    if (!c) {
        http_reply_static(x, 500, "text/plain", no_memory, sizeof no_memory - 1);
        return false;
    }
    const struct route *r = route_find(http_method(x), c->path, allow);
    c->route = r;
    if (!check_access(c, r && r->access == ROUTE_PUBLIC))
        return false;
    if (!r && *allow) {
        http_add_header(x, "Allow", allow);
        call_fail(c, API_ERROR_METHOD, "%s takes %s, not %.20s", c->path, allow,
                  http_method(x));
    } else if (!r) {
        call_fail(c, API_ERROR_NO_ROUTE, "nothing is served at %.200s", c->path);
    } else if (atomic_load(&s->draining) && !r->drains) {
        draining(c);
    } else if (r->handle == handle_blob) {
        if (http_body_stream(x))
            return true;
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
    } else if (http_content_length(x) > s->o.limits.body_bytes) {
        on_no_room(s, x, HTTP_BODY_TOO_LARGE);
    } else {
        return true;
    }
    return false;
}

static void on_step(void *ctx, struct http_exchange *x)
{
    struct call *c = http_data(x);
    (void)ctx;
    call_mark_memory(c);
    if (c->route->op) {
        pipeline_step(c);
        return;
    }
    c->route->handle(c);
    if (c->logged) // it was answered: the model is free
        models_release(c);
}

static void on_release(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    call_release(http_data(x));
}

/* ---- ending ---- */

static void on_tick(void *ctx)
{
    struct server *s = ctx;
    const uint64_t now = clock_us();
    if (!atomic_load(&s->asked_to_end))
        return;
    if (!atomic_exchange(&s->draining, true)) {
        s->drain_start_us = now;
        http_server_quiesce(s->http);
        store_routes_drain(s, false);
        log_event(s, "drain", "no new requests; answers that run may end");
    }
    const uint64_t waited = now - s->drain_start_us;
    if (!http_server_active(s->http) || waited > s->o.drain_us + DRAIN_GRACE_US)
        http_server_stop(s->http);
    else if (waited > s->o.drain_us && !atomic_exchange(&s->ended, true)) {
        store_routes_drain(s, true);
        http_server_wake_all(s->http);
    }
}

void server_shutdown(struct server *s)
{
    atomic_store(&s->asked_to_end, true);
    http_server_poke(s->http);
}

void server_run(struct server *s)
{
    http_server_run(s->http);
    log_event(s, "end",
              http_server_active(s->http) ? "answers were cut off"
                                          : "all answers are out");
}

/* ---- opening ---- */

static enum status open_http(struct server *s, struct error *err)
{
    const struct http_options o = {
        .host = s->o.host,
        .port = s->o.port,
        .n_worker = s->o.n_worker,
        .limits = s->o.limits,
        .admit = on_admit,
        .no_room = on_no_room,
        .step = on_step,
        .release = on_release,
        .tick = on_tick,
        .ctx = s,
    };
    const enum status st = http_server_open(&s->http, &o, err);
    if (st)
        return st;
    const char *address = http_server_address(s->http);
    const bool v6 = strchr(address, ':');
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%d", v6 ? "[" : "", address,
             v6 ? "]" : "", http_server_port(s->http));
    s->loopback = guard_is_loopback(address);
    if (!s->loopback && !s->o.api_key && !s->o.insecure)
        return fail(err, STATUS_BAD_ARG,
                    "%s can be reached from other machines: give an API key "
                    "(TURBINE_API_KEY, or --api-key-file), or say --insecure-no-auth",
                    s->o.host);
    return STATUS_OK;
}

static void set_defaults(struct server_options *o)
{
    if (!o->n_worker)
        o->n_worker = WORKERS;
    if (!o->limits.n_connection)
        o->limits = http_limits_default;
    if (!o->drain_us)
        o->drain_us = 30000000;
    if (!o->ping_us)
        o->ping_us = SERVER_PING_US;
    if (!o->replay_bytes)
        o->replay_bytes = REPLAY_BYTES;
}

static enum status open_parts(struct server *s, struct engine *e, struct scheduler *sched,
                              struct error *err)
{
    enum status st = guard_open(&s->guard, s->o.api_key, s->o.host, s->o.allow_host,
                                s->o.origins, err);
    if (!st)
        st = catalog_open(&s->catalog, err);
    if (!st)
        st = store_routes_open(s, err);
    if (!st)
        st = model_pool_open(&s->models, s, err);
    if (!st && (s->o.model_path || s->o.model_name))
        st = models_start(s->models, e, sched, err);
    return st ? st : open_http(s, err);
}

enum status server_open(struct server **out, struct engine *e, struct scheduler *sched,
                        const struct server_options *o, struct error *err)
{
    struct server *s = mem_array(1, sizeof *s);
    *out = NULL;
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory for a server");
    json_use_memory();
    s->o = *o;
    set_defaults(&s->o);
    s->start_us = clock_us();
    enum status st = metrics_open(&s->metrics, err);
    if (st) {
        mem_free(s);
        return st;
    }
    st = open_parts(s, e, sched, err);
    if (st)
        server_close(s);
    else
        *out = s;
    return st;
}

void server_close(struct server *s)
{
    if (!s)
        return;
    store_jobs_end(s->jobs); // they use exchanges, and calls their watches
    http_server_close(s->http);
    store_jobs_close(s->jobs);
    model_pool_close(s->models);
    catalog_close(s->catalog);
    guard_close(&s->guard);
    metrics_close(&s->metrics);
    mem_free(s);
}

const char *server_url(const struct server *s)
{
    return s->url;
}

const char *server_start_text(const struct server *s)
{
    return models_start_model(s->models)->text;
}

int server_start_n_ctx(const struct server *s)
{
    return models_start_model(s->models)->n_ctx;
}

const char *server_start_note(const struct server *s)
{
    return models_start_model(s->models)->note;
}
