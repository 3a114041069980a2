/* router.c - opening, admission of requests, reloading, ending. */
#include "router/router.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "json/parse.h"
#include "base/mem.h"
#include "router/internal.h"

enum { ROUTER_GRACE_US = 5000000, ROUTER_WORKERS = 4, ROUTER_DRAIN_US = 30000000 };

/* ---- admission: the I/O thread, before the body ---- */

static bool asks_before(const struct http_exchange *x)
{
    return !strcmp(http_method(x), "OPTIONS") && http_header(x, "origin") &&
           http_header(x, "access-control-request-method");
}

static void answer_before(struct relay *c)
{
    const char *headers = http_header(c->x, "access-control-request-headers");
    http_add_header(c->x, "Access-Control-Allow-Methods", "GET, POST, HEAD");
    if (headers)
        http_add_header(c->x, "Access-Control-Allow-Headers", headers);
    http_add_header(c->x, "Access-Control-Max-Age", "600");
    relay_reply(c, 204, NULL, NULL);
}

/* All keys are compared, whichever it is. */
static bool has_key(struct relay *c)
{
    struct router *r = c->router;
    const char *authorization = http_header(c->x, "authorization");
    const char *x_api_key = http_header(c->x, "x-api-key");
    const int n = r->ref->c.n_key;
    bool ok = r->guard.has_key ? guard_key(&r->guard, authorization, x_api_key) : !n;
    for (int i = 0; i < n; i++)
        if (guard_key(&r->keys[i], authorization, x_api_key)) {
            ok = true;
            snprintf(c->client, sizeof c->client, "%s", r->ref->c.keys[i].name);
        }
    return ok;
}

static bool may_call(struct relay *c, bool public)
{
    const struct guard *g = &c->router->guard;
    const char *host = http_header(c->x, "host");
    if (!guard_host(g, host, http_local(c->x)))
        relay_fail(c, API_ERROR_FORBIDDEN,
                   "this Host is not served here; the router's --allow-host can add it");
    else if (!guard_origin(g, http_header(c->x, "origin"), host))
        relay_fail(
            c, API_ERROR_FORBIDDEN,
            "pages of this Origin may not call; the router's --origins can add it");
    else if (asks_before(c->x)) // browsers send it without a key
        answer_before(c);
    else if (!public && !has_key(c))
        relay_fail(c, API_ERROR_UNAUTHORIZED,
                   "an API key is needed: Authorization: Bearer KEY, or x-api-key: KEY");
    else
        return true;
    return false;
}

static void refuse_unread(void *ctx, struct http_exchange *x, enum http_no_room why)
{
    struct router *r = ctx;
    http_add_header(x, "Connection", "close");
    if (why == HTTP_BODY_TOO_LARGE)
        relay_fail(http_data(x), API_ERROR_TOO_LARGE, "the body is larger than %zu bytes",
                   r->o.limits.body_bytes);
    else if (why == HTTP_BODIES_TOO_MANY)
        relay_fail(http_data(x), API_ERROR_BUSY,
                   "the requests that are being read are too large together");
    else
        relay_fail(http_data(x), API_ERROR_INTERNAL, "out of memory");
}

static bool admit_request(void *ctx, struct http_exchange *x)
{
    static const char no_memory[] = "out of memory\n";
    struct router *r = ctx;
    char allow[64];
    struct relay *c = relay_open(r, x);
    if (!c) {
        http_reply_static(x, 500, "text/plain", no_memory, sizeof no_memory - 1);
        return false;
    }
    c->route = router_route_find(http_method(x), c->path, allow);
    if (!may_call(c, c->route && c->route->public))
        return false;
    if (!c->route && *allow) {
        http_add_header(x, "Allow", allow);
        relay_fail(c, API_ERROR_METHOD, "%.200s takes %s, not %.20s", c->path, allow,
                   http_method(x));
    } else if (!c->route) {
        relay_fail(c, API_ERROR_NO_ROUTE, "nothing is routed at %.200s", c->path);
    } else if (atomic_load(&r->draining) && !c->route->drains) {
        const struct api_error e = {.kind = API_ERROR_DRAINING,
                                    .message = "the router is about to end",
                                    .retry_after_s = 5};
        relay_error(c, &e);
    } else if (http_content_length(x) > r->o.limits.body_bytes) {
        refuse_unread(r, x, HTTP_BODY_TOO_LARGE);
    } else {
        return true;
    }
    return false;
}

static void step_request(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    relay_step(http_data(x));
}

static void release_request(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    relay_release(http_data(x));
}

/* ---- configurations ---- */

static void close_keys(struct guard *keys, int n)
{
    for (int i = 0; keys && i < n; i++)
        guard_close(&keys[i]);
    mem_free(keys);
}

static enum status open_client_keys(const struct config *c, struct guard **out,
                                    struct error *err)
{
    struct guard *keys = mem_array((size_t)c->n_key + 1, sizeof *keys);
    enum status s = keys ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory for keys");
    for (int i = 0; !s && i < c->n_key; i++)
        s = guard_open(&keys[i], c->keys[i].key, "localhost", NULL, NULL, err);
    if (s) {
        close_keys(keys, c->n_key);
        keys = NULL;
    }
    *out = keys;
    return s;
}

static struct policy_options options_of(const struct config *c)
{
    struct policy_options o = policy_options_default;
    if (c->threshold)
        o.threshold = c->threshold;
    o.n_queue = c->n_queue;
    o.queue_us = (uint64_t)c->queue_s * 1000000;
    o.retry_percent = c->retry_percent;
    o.health_us = (uint64_t)c->health_s * 1000000;
    return o;
}

/* Options and backends, or neither; with the lock. */
static enum status load_policy(struct router *r, struct config_ref *ref,
                               struct error *err)
{
    struct error again;
    const struct policy_options o = options_of(&ref->c);
    enum status s = policy_change(r->policy, &o, clock_us(), err);
    if (s || !(s = fleet_load(r, ref, err)) || !r->ref)
        return s;
    const struct policy_options old = options_of(&r->ref->c);
    (void)!policy_change(r->policy, &old, clock_us(), &again);
    return s;
}

/* c is taken over. */
static enum status take_config(struct router *r, struct config *c, struct error *err)
{
    struct guard *keys = NULL;
    struct config_ref *ref = mem_array(1, sizeof *ref);
    if (!ref) {
        config_release(c);
        return fail(err, STATUS_NO_MEMORY, "no memory for a configuration");
    }
    ref->c = *c;
    ref->n_ref = 1;
    const int n_old = r->ref ? r->ref->c.n_key : 0;
    enum status s = open_client_keys(&ref->c, &keys, err);
    pthread_mutex_lock(&r->lock);
    if (!s)
        s = load_policy(r, ref, err);
    fleet_drop_ref(ref);
    pthread_mutex_unlock(&r->lock);
    fleet_close_gone(r);
    if (s) {
        close_keys(keys, keys ? c->n_key : 0);
        return s;
    }
    close_keys(r->keys, n_old);
    r->keys = keys;
    return STATUS_OK;
}

/* Other machines are served with a key, or because somebody said so.  With configuration
 * c: a reload must not open what was closed. */
static enum status check_access(const struct router *r, const struct config *c,
                                struct error *err)
{
    if (guard_is_loopback(http_server_address(r->http)) || r->o.api_key || c->n_key ||
        r->o.insecure)
        return STATUS_OK;
    return fail(err, STATUS_BAD_ARG,
                "%s can be reached from other machines: give an API key "
                "(--api-key-file, or client-key in the file), or say "
                "--insecure-no-auth",
                r->o.host);
}

static void reload(struct router *r)
{
    struct config c;
    struct error err;
    if (!r->o.config_path) {
        router_log(r, "reload", "there is no file to read again");
        return;
    }
    config_init(&c);
    enum status s = config_read_file(&c, r->o.config_path, r->o.lookup, &err);
    if (!s)
        s = check_access(r, &c, &err);
    if (r->o.threshold)
        c.threshold = r->o.threshold;
    if (s)
        config_release(&c);
    else
        s = take_config(r, &c, &err);
    pthread_mutex_lock(&r->lock);
    *(s ? &r->n_reload_failed : &r->n_reload) += 1;
    pthread_mutex_unlock(&r->lock);
    if (s)
        router_log(r, "reload", "%s; the old configuration stays", err.text);
    else
        router_log(r, "reload", "%s is in force", r->o.config_path);
    fleet_wake(r);
}

/* ---- time ---- */

static void end_slowly(struct router *r)
{
    const uint64_t now = clock_us();
    if (!atomic_exchange(&r->draining, true)) {
        r->drain_start_us = now;
        http_server_quiesce(r->http);
        router_log(r, "drain", "no new requests; answers that run may end");
    }
    const uint64_t waited = now - r->drain_start_us;
    if (!http_server_active(r->http) || waited > r->o.drain_us + ROUTER_GRACE_US)
        http_server_stop(r->http);
    else if (waited > r->o.drain_us && !atomic_exchange(&r->ended, true))
        http_server_wake_all(r->http);
}

static void tick_router(void *ctx)
{
    struct router *r = ctx;
    if (atomic_exchange(&r->asked_to_reload, false))
        reload(r);
    probe_tick(r);
    load_tick(r);
    need_tick(r);
    process_tick(r);
    fleet_wake(r);
    if (atomic_load(&r->asked_to_end))
        end_slowly(r);
}

void router_shutdown(struct router *r)
{
    atomic_store(&r->asked_to_end, true);
    http_server_poke(r->http);
}

void router_reload(struct router *r)
{
    atomic_store(&r->asked_to_reload, true);
    http_server_poke(r->http);
}

void router_run(struct router *r)
{
    http_server_run(r->http);
    router_log(r, "end", "%s",
               http_server_active(r->http) ? "answers were cut off"
                                           : "all answers are out");
}

/* ---- opening ---- */

static int turn_transfers(void *ctx)
{
    struct router *r = ctx;
    return http_transfers_turn(r->transfers);
}

static enum status open_front(struct router *r, struct error *err)
{
    const struct http_options o = {
        .host = r->o.host,
        .port = r->o.port,
        .n_worker = r->o.n_worker,
        .limits = r->o.limits,
        .admit = admit_request,
        .no_room = refuse_unread,
        .step = step_request,
        .release = release_request,
        .tick = tick_router,
        .turn = turn_transfers,
        .turn_fd = http_transfers_fd(r->transfers),
        .ctx = r,
    };
    const enum status s = http_server_open(&r->http, &o, err);
    if (s)
        return s;
    const char *address = http_server_address(r->http);
    const bool v6 = strchr(address, ':');
    snprintf(r->url, sizeof r->url, "http://%s%s%s:%d", v6 ? "[" : "", address,
             v6 ? "]" : "", http_server_port(r->http));
    return check_access(r, &r->ref->c, err);
}

static enum status open_router(struct router *r, struct config *c, struct error *err)
{
    const struct policy_options p = options_of(c);
    enum status s = policy_open(&r->policy, &p, err);
    if (!s)
        s = guard_open(&r->guard, r->o.api_key, r->o.host, r->o.allow_host, r->o.origins,
                       err);
    if (!s)
        s = http_transfers_open(&r->transfers, err);
    if (s) {
        config_release(c);
        return s;
    }
    s = take_config(r, c, err);
    return s ? s : open_front(r, err);
}

enum status router_open(struct router **out, const struct router_options *o,
                        struct config *c, struct error *err)
{
    struct router *r = mem_array(1, sizeof *r);
    *out = NULL;
    if (!r) {
        config_release(c);
        return fail(err, STATUS_NO_MEMORY, "no memory for a router");
    }
    json_use_memory();
    r->o = *o;
    r->o.n_worker = o->n_worker ? o->n_worker : ROUTER_WORKERS;
    r->o.drain_us = o->drain_us ? o->drain_us : ROUTER_DRAIN_US;
    if (!o->limits.n_connection)
        r->o.limits = http_limits_default;
    r->start_us = clock_us();
    token_estimate_init(&r->estimate);
    pthread_mutex_init(&r->lock, NULL);
    const enum status s = open_router(r, c, err);
    if (s)
        router_close(r);
    else
        *out = r;
    return s;
}

void router_close(struct router *r)
{
    if (!r)
        return;
    fleet_close_probes(r); // their news go to the server
    http_server_close(r->http);
    process_close(r);
    close_keys(r->keys, r->ref ? r->ref->c.n_key : 0);
    fleet_close(r);
    http_transfers_close(r->transfers);
    policy_close(r->policy);
    guard_close(&r->guard);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

const char *router_url(const struct router *r)
{
    return r->url;
}
