/* count.c - the exact length of a prompt, from a backend that counts, where an estimate
 * leaves open which lane it is for. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "router/internal.h"

enum {
    COUNT_US = 5000000,
    COUNT_BYTES = 64 << 10,
    COUNT_URL = 4096,
    ESTIMATE_OFF_MOST = 8, // times too large; a smaller count is nonsense
};

/* What b calls the model that was asked for, NULL if it has none such. */
static const char *name_there(const struct backend *b, const char *model)
{
    const struct policy_model *m = b->c->n_model ? b->c->models : b->listed;
    const int n = b->c->n_model ? b->c->n_model : b->n_listed;
    const struct policy_model *any = NULL;
    for (int i = 0; i < n; i++)
        if (!strcmp(m[i].name, model))
            return m[i].served ? m[i].served : m[i].name;
        else if (!strcmp(m[i].name, "*"))
            any = &m[i];
    if (any)
        return any->served ? any->served : model;
    return n == 1 && !m[0].served ? m[0].name : NULL;
}

/* Who is asked: whoever can.  With the lock. */
static struct backend *counting_backend(struct relay *c)
{
    const struct router *r = c->router;
    struct policy_view v;
    for (int i = 0; i < r->n_backend; i++) {
        struct backend *b = r->backends[i];
        const char *name = b && b->known ? name_there(b, c->model) : NULL;
        if (name && b->counter != UPSTREAM_COUNT_NONE &&
            policy_see(r->policy, i, clock_us(), &v) && v.health == POLICY_HEALTH_UP) {
            snprintf(c->served, sizeof c->served, "%s", name);
            return b;
        }
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
    backend_url(url, sizeof url, b, call.path, "");
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

/* An eighth to either side. */
static bool near_threshold(struct relay *c)
{
    pthread_mutex_lock(&c->router->lock);
    const int limit = policy_threshold_of(c->router->policy, c->model);
    pthread_mutex_unlock(&c->router->lock);
    return c->ask.n_prompt > limit - limit / 8 && c->ask.n_prompt < limit + limit / 8;
}

/* An estimate alone refuses no prompt that might fit: it can be off by the factor that
 * was learned, and by what the prior is off. */
static bool refusal_may_be_wrong(const struct policy_decision *d)
{
    return d->near || (d->refusal == POLICY_REFUSED_CONTEXT &&
                       d->n_prompt / ESTIMATE_OFF_MOST <= d->n_ctx);
}

bool count_begin(struct relay *c, bool refused)
{
    struct router *r = c->router;
    if (c->counted || c->route->kind != ROUTE_GENERATE || c->ask.exact)
        return false;
    // A decision that sends is remembered: it is asked for when the length is known.
    if (refused ? !refusal_may_be_wrong(&c->decision)
                : c->ask.lane != POLICY_AUTO || c->ask.side || !near_threshold(c))
        return false;
    c->counted = true;
    pthread_mutex_lock(&r->lock);
    const struct backend *b = counting_backend(c);
    c->ref = b ? b->ref : NULL;
    const struct config_backend *conf = b ? b->c : NULL;
    const enum upstream_counter counter = b ? b->counter : UPSTREAM_COUNT_NONE;
    c->counting_id = b ? b->id : 0;
    c->counting = counter;
    if (c->ref)
        c->ref->n_ref++;
    pthread_mutex_unlock(&r->lock);
    if (conf && send_count(c, conf, counter)) {
        c->counting_until_us = clock_us() + COUNT_US;
        http_wake_at(c->x, c->counting_until_us + 1000);
        c->phase = RELAY_COUNTING;
        return true;
    }
    relay_close_attempt(c);
    return false;
}

/* Nothing is at the path.  What speaks of a model says that the model is not there. */
static bool lacks_counter(const struct relay *c, int status)
{
    const bool of_model = c->in.len && strstr(c->in.data, "model");
    return (status == 404 && !of_model) || status == 405 || status == 501;
}

/* It has no such path: from now on it is asked at the next one that its software may
 * have, or not at all. */
static void count_elsewhere(struct relay *c)
{
    struct router *r = c->router;
    const enum upstream_counter next = c->counting == UPSTREAM_COUNT_LLAMA
                                           ? UPSTREAM_COUNT_ANTHROPIC
                                           : UPSTREAM_COUNT_NONE;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_backend; i++) {
        struct backend *b = r->backends[i];
        if (b && b->id == c->counting_id && b->counter == c->counting)
            b->counter = next;
    }
    pthread_mutex_unlock(&r->lock);
    c->counted = next == UPSTREAM_COUNT_NONE;
}

bool count_step(struct relay *c)
{
    struct http_transfer_state s;
    char text[ROUTER_PIECE];
    size_t n;
    while (c->in.len < COUNT_BYTES &&
           (n = http_transfer_read(c->transfer, text, sizeof text)))
        buf_append(&c->in, text, n);
    http_transfer_see(c->transfer, &s);
    const bool over = c->in.len >= COUNT_BYTES || clock_us() > c->counting_until_us;
    if (!over && (!s.ended || s.n_waiting))
        return false;
    const int counted = s.status == 200 && s.end == HTTP_TRANSFER_DONE && c->in.data
                            ? upstream_read_count(c->in.data, c->in.len)
                            : -1;
    if (counted > 0 && counted >= c->ask.n_prompt / ESTIMATE_OFF_MOST) {
        c->ask.n_prompt = counted;
        c->ask.exact = true;
    }
    if (!over && lacks_counter(c, s.status))
        count_elsewhere(c);
    c->phase = RELAY_NEW;
    relay_close_attempt(c);
    return true;
}
