/* count.c - the exact length of a prompt, from a backend that counts, where an estimate
 * leaves open which lane it is for. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "router/internal.h"

enum { COUNT_US = 5000000, COUNT_BYTES = 64 << 10, COUNT_URL = 4096, COUNT_LINES = 6 };

/* Who is asked: the chosen one, or another that can.  With the lock. */
static struct backend *counting_backend(const struct relay *c)
{
    const struct router *r = c->router;
    struct policy_view v;
    if (c->chosen && c->chosen->counter != UPSTREAM_COUNT_NONE)
        return c->chosen;
    for (int i = 0; i < r->n_backend; i++) {
        struct backend *b = r->backends[i];
        if (b && b->known && b->counter != UPSTREAM_COUNT_NONE &&
            policy_see(r->policy, i, clock_us(), &v) && v.health == POLICY_HEALTH_UP)
            return b;
    }
    return NULL;
}

static void on_count_news(void *ctx)
{
    http_wake(ctx);
}

static bool send_count(struct relay *c, const struct config_backend *b,
                       enum upstream_counter counter)
{
    const struct upstream_ask ask = {.model = *c->served ? c->served : c->model};
    struct upstream_header h[UPSTREAM_HEADERS_MAX];
    struct upstream_call call;
    struct api_error e;
    char url[COUNT_URL], lines[UPSTREAM_HEADERS_MAX][1024];
    const char *line[UPSTREAM_HEADERS_MAX];
    if (translate_parse(c, &e) ||
        upstream_print_count(counter, &c->sent, &call, &c->req, &ask, &e))
        return false;
    const unsigned dialect =
        counter == UPSTREAM_COUNT_ANTHROPIC ? DIALECT_ANTHROPIC : DIALECT_OPENAI;
    const int n = upstream_headers(h, translate_upstream(dialect), b->key);
    for (int i = 0; i < n; i++) {
        snprintf(lines[i], sizeof lines[i], "%s: %s%s", h[i].name, h[i].before,
                 h[i].value);
        line[i] = lines[i];
    }
    snprintf(url, sizeof url, "%s%s", b->url, call.path);
    const struct http_transfer_options o = {
        .method = call.method,
        .url = url,
        .headers = line,
        .n_header = n,
        .body = c->sent.data,
        .n_body = c->sent.len,
        .proxy = b->proxy,
        .ca_file = b->ca_file,
        .connect_us = COUNT_US,
        .first_us = COUNT_US,
        .idle_us = COUNT_US,
        .notify = on_count_news,
        .ctx = c->x,
    };
    c->transfer = http_transfer_start(c->router->transfers, &o);
    return c->transfer;
}

bool count_begin(struct relay *c)
{
    struct router *r = c->router;
    if (c->counted || c->route->kind != ROUTE_GENERATE || !c->decision.near ||
        c->decision.verdict == POLICY_WAIT)
        return false;
    c->counted = true;
    pthread_mutex_lock(&r->lock);
    const struct backend *b = counting_backend(c);
    struct config_ref *ref = b ? b->ref : NULL;
    const struct config_backend *conf = b ? b->c : NULL;
    const enum upstream_counter counter = b ? b->counter : UPSTREAM_COUNT_NONE;
    if (ref)
        ref->n_ref++;
    pthread_mutex_unlock(&r->lock);
    const bool ok = conf && send_count(c, conf, counter);
    pthread_mutex_lock(&r->lock);
    // The place that was taken is given back, as another may be right.
    if (ok && c->has_flight)
        policy_failed(r->policy, c->decision.flight, POLICY_FAILURE_CLIENT, 0,
                      clock_us());
    if (ok) {
        c->has_flight = false;
        if (c->ref)
            fleet_drop_ref(c->ref);
        c->ref = ref;
    } else if (ref) {
        fleet_drop_ref(ref);
    }
    pthread_mutex_unlock(&r->lock);
    if (ok)
        c->phase = RELAY_COUNTING;
    else
        buf_clear(&c->sent);
    return ok;
}

bool count_step(struct relay *c)
{
    struct http_transfer_state s;
    char text[ROUTER_PIECE];
    size_t n;
    while ((n = http_transfer_read(c->transfer, text, sizeof text)))
        if (c->in.len < COUNT_BYTES)
            buf_append(&c->in, text, n);
    http_transfer_see(c->transfer, &s);
    if (!s.ended || s.n_waiting)
        return false;
    const int counted = s.status == 200 && s.end == HTTP_TRANSFER_DONE && c->in.data
                            ? upstream_read_count(c->in.data, c->in.len)
                            : -1;
    if (counted > 0) {
        c->ask.n_prompt = counted;
        c->ask.exact = true;
    }
    c->phase = RELAY_NEW;
    relay_close_attempt(c);
    return true;
}
