/* status.c - what an operator sees: /route/status as JSON, /metrics for Prometheus. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "json/print.h"
#include "router/internal.h"

static const char *class_name(enum policy_class class)
{
    return class == POLICY_CLASS_SHORT  ? "short"
           : class == POLICY_CLASS_LONG ? "long"
                                        : "any";
}

/* ---- /route/status ---- */

static json_t *strings_of(const struct policy_model *m, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, json_string(m[i].name));
    return a;
}

static json_t *dialects_of(unsigned dialects)
{
    json_t *a = json_array();
    if (dialects & DIALECT_OPENAI)
        json_array_append_new(a, json_string("openai"));
    if (dialects & DIALECT_ANTHROPIC)
        json_array_append_new(a, json_string("anthropic"));
    if (dialects & DIALECT_OLLAMA)
        json_array_append_new(a, json_string("ollama"));
    return a;
}

static json_t *failures_of(const struct policy_view *v)
{
    json_t *o = json_object();
    for (int i = 0; i < POLICY_FAILURE_N; i++)
        if (v->n_failed[i])
            json_object_set_new(o, policy_failure_name((enum policy_failure)i),
                                json_integer((json_int_t)v->n_failed[i]));
    return o;
}

static json_t *picks_of(const struct policy_view *v)
{
    json_t *o = json_object();
    for (int i = 0; i < POLICY_PICK_N; i++)
        json_object_set_new(o, policy_pick_name((enum policy_pick)i),
                            json_integer((json_int_t)v->n_picked[i]));
    return o;
}

static json_t *backend_status(const struct backend *b, const struct policy_view *v)
{
    json_t *o = json_pack(
        "{s:s,s:s,s:s,s:s,s:i,s:i,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:f}", "url",
        b->shown, "class", class_name(v->class), "health", policy_health_name(v->health),
        "software", b->software, "n_ctx", v->n_ctx, "weight", v->weight, "limit",
        v->limit, "in_flight", v->in_flight, "load", v->load, "sent",
        (json_int_t)v->n_sent, "finished", (json_int_t)v->n_finished, "fallbacks",
        (json_int_t)v->n_fallback, "ejected", (json_int_t)v->n_ejected, "prompt_tokens",
        (json_int_t)v->n_prompt, "cached_tokens", (json_int_t)v->n_cached, "tokens",
        (json_int_t)v->n_answer, "first_byte_ms", (double)v->first_byte_us / 1e3);
    if (!o)
        return NULL;
    json_object_set_new(o, "known", json_boolean(b->known)); // it has said what it is
    json_object_set_new(o, "others", json_integer(v->load - v->in_flight));
    json_object_set_new(o, "load_from",
                        load_path(b) ? json_string(load_path(b)) : json_null());
    json_object_set_new(o, "failed", failures_of(v));
    json_object_set_new(o, "picked", picks_of(v));
    json_object_set_new(o, "dialects", dialects_of(b->dialects));
    json_object_set_new(o, "models",
                        b->c->n_model ? strings_of(b->c->models, b->c->n_model)
                                      : strings_of(b->listed, b->n_listed));
    json_object_set_new(o, "attention",
                        b->arch == ARCH_UNKNOWN  ? json_null()
                        : b->arch == ARCH_HYBRID ? json_string("hybrid")
                                                 : json_string("softmax"));
    if (*b->off_why)
        json_object_set_new(o, "off", json_string(b->off_why));
    if (b->pid)
        json_object_set_new(o, "process", json_integer(b->pid));
    return o;
}

static json_t *counter_object(const uint64_t *n, int count, const char *(*name)(int))
{
    json_t *o = json_object();
    for (int i = 0; i < count; i++)
        json_object_set_new(o, name(i), json_integer((json_int_t)n[i]));
    return o;
}

static const char *lane_name(int i)
{
    return policy_lane_name((enum policy_lane_why)i);
}

static const char *fallback_name(int i)
{
    return policy_fallback_name((enum policy_fallback)i);
}

static const char *refusal_name(int i)
{
    return policy_refusal_name((enum policy_refusal)i);
}

static const char *pick_name(int i)
{
    return policy_pick_name((enum policy_pick)i);
}

void own_status(struct relay *c)
{
    struct router *r = c->router;
    struct policy_counters n;
    struct policy_view v;
    json_t *backends = json_array();
    pthread_mutex_lock(&r->lock);
    policy_count(r->policy, &n);
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i] && policy_see(r->policy, i, clock_us(), &v))
            json_array_append_new(backends, backend_status(r->backends[i], &v));
    const double error = r->estimate.error;
    const uint64_t stream_errors = r->n_stream_error, gone = r->n_gone,
                   reloads = r->n_reload, bad_reloads = r->n_reload_failed;
    pthread_mutex_unlock(&r->lock);
    json_t *o = json_pack(
        "{s:o,s:f,s:b,s:I,s:I,s:I,s:I,s:i,s:i,s:i,s:I,s:I,s:I,s:I,s:f,s:I}", "backends",
        backends, "uptime_s", (double)(clock_us() - r->start_us) / 1e6, "draining",
        atomic_load(&r->draining), "requests", (json_int_t)n.n_request, "sent",
        (json_int_t)n.n_sent, "retries", (json_int_t)n.n_retry, "waited",
        (json_int_t)n.n_waited, "queue", n.n_queue, "sessions", n.n_session, "active",
        http_server_active(r->http), "moved", (json_int_t)n.n_moved, "stream_errors",
        (json_int_t)stream_errors, "clients_gone", (json_int_t)gone, "reloads",
        (json_int_t)reloads, "estimate_error", error, "failed_reloads",
        (json_int_t)bad_reloads);
    if (o) {
        json_object_set_new(o, "lanes",
                            counter_object(n.n_lane, POLICY_LANE_N, lane_name));
        json_object_set_new(
            o, "fallbacks",
            counter_object(n.n_fallback, POLICY_FALLBACK_N, fallback_name));
        json_object_set_new(o, "refused",
                            counter_object(n.n_refused, POLICY_REFUSAL_N, refusal_name));
    }
    relay_reply_json(c, 200, o);
}

/* ---- /metrics ---- */

static void begin_metric(struct buf *b, const char *name, const char *type,
                         const char *help)
{
    buf_printf(b, "# HELP turbine_route:%s %s\n# TYPE turbine_route:%s %s\n", name, help,
               name, type);
}

static void print_value(struct buf *b, const char *name, const char *type,
                        const char *help, double v)
{
    begin_metric(b, name, type, help);
    buf_printf(b, "turbine_route:%s %.17g\n", name, v);
}

static void print_by(struct buf *b, const char *name, const char *label, const char *help,
                     const uint64_t *n, int count, const char *(*text)(int))
{
    begin_metric(b, name, "counter", help);
    for (int i = 0; i < count; i++)
        buf_printf(b, "turbine_route:%s{%s=\"%s\"} %llu\n", name, label, text(i),
                   (unsigned long long)n[i]);
}

/* One metric of all backends: what of a view it is. */
struct backend_metric {
    const char *name, *type, *help;
    double (*value)(const struct policy_view *v);
};

static double view_up(const struct policy_view *v)
{
    return v->health == POLICY_HEALTH_UP || v->health == POLICY_HEALTH_SLOW_START;
}
static double view_in_flight(const struct policy_view *v)
{
    return v->in_flight;
}
static double view_load(const struct policy_view *v)
{
    return v->load;
}
static double view_others(const struct policy_view *v)
{
    return v->load - v->in_flight;
}
static double view_sent(const struct policy_view *v)
{
    return (double)v->n_sent;
}
static double view_finished(const struct policy_view *v)
{
    return (double)v->n_finished;
}
static double view_fallback(const struct policy_view *v)
{
    return (double)v->n_fallback;
}
static double view_ejected(const struct policy_view *v)
{
    return (double)v->n_ejected;
}
static double view_prompt(const struct policy_view *v)
{
    return (double)v->n_prompt;
}
static double view_cached(const struct policy_view *v)
{
    return (double)v->n_cached;
}
static double view_answer(const struct policy_view *v)
{
    return (double)v->n_answer;
}
static double view_first(const struct policy_view *v)
{
    return (double)v->first_byte_us / 1e6;
}

static const struct backend_metric backend_metrics[] = {
    {"backend_up", "gauge", "1 while a backend is healthy.", view_up},
    {"backend_in_flight", "gauge", "Requests that the router has there.", view_in_flight},
    {"backend_load", "gauge", "Requests there, whoever sent them.", view_load},
    {"backend_others_load", "gauge",
     "Of them, those of others, as the backend reported late.", view_others},
    {"backend_sent_total", "counter", "Attempts.", view_sent},
    {"backend_finished_total", "counter", "Whole answers.", view_finished},
    {"backend_fallback_total", "counter", "Requests that came as a fallback.",
     view_fallback},
    {"backend_ejected_total", "counter", "Times that it was ejected.", view_ejected},
    {"backend_prompt_tokens_total", "counter", "Tokens of prompts, as it counts.",
     view_prompt},
    {"backend_cached_tokens_total", "counter", "Of them, those that it had.",
     view_cached},
    {"backend_tokens_total", "counter", "Tokens of answers.", view_answer},
    {"backend_first_byte_seconds", "gauge", "To the first byte, geometric mean of late.",
     view_first},
};

static void print_backends(struct buf *b, const struct router *r)
{
    struct policy_view v;
    for (size_t k = 0; k < sizeof backend_metrics / sizeof *backend_metrics; k++) {
        const struct backend_metric *m = &backend_metrics[k];
        begin_metric(b, m->name, m->type, m->help);
        for (int i = 0; i < r->n_backend; i++)
            if (r->backends[i] && policy_see(r->policy, i, clock_us(), &v))
                buf_printf(b, "turbine_route:%s{backend=\"%s\"} %.17g\n", m->name,
                           r->backends[i]->shown, m->value(&v));
    }
    begin_metric(b, "backend_failed_total", "counter",
                 "Attempts that failed, by reason.");
    for (int i = 0; i < r->n_backend; i++)
        for (int k = 0; r->backends[i] && policy_see(r->policy, i, clock_us(), &v) &&
                        k < POLICY_FAILURE_N;
             k++)
            buf_printf(
                b,
                "turbine_route:backend_failed_total{backend=\"%s\",reason=\"%s\"} %llu\n",
                r->backends[i]->shown, policy_failure_name((enum policy_failure)k),
                (unsigned long long)v.n_failed[k]);
}

static void print_router(struct buf *b, const struct router *r)
{
    struct policy_counters n;
    policy_count(r->policy, &n);
    begin_metric(b, "requests_total", "counter", "Requests, by dialect and status.");
    for (int i = 0; i < r->n_count; i++)
        buf_printf(b, "turbine_route:requests_total{dialect=\"%s\",status=\"%d\"} %llu\n",
                   r->counts[i].dialect, r->counts[i].status,
                   (unsigned long long)r->counts[i].n);
    print_by(b, "lanes_total", "why", "Requests, by why they are short or long.",
             n.n_lane, POLICY_LANE_N, lane_name);
    print_by(b, "picks_total", "why", "Attempts, by why that backend.", n.n_pick,
             POLICY_PICK_N, pick_name);
    print_by(b, "fallbacks_total", "reason", "Attempts elsewhere than they should be.",
             n.n_fallback, POLICY_FALLBACK_N, fallback_name);
    print_by(b, "refused_total", "reason", "Requests that were refused.", n.n_refused,
             POLICY_REFUSAL_N, refusal_name);
    print_value(b, "retries_total", "counter", "Attempts behind the first.",
                (double)n.n_retry);
    print_value(b, "waited_total", "counter", "Requests that had to wait.",
                (double)n.n_waited);
    print_value(b, "moved_total", "counter", "Conversations that changed their backend.",
                (double)n.n_moved);
    print_value(b, "queue", "gauge", "Requests that wait.", n.n_queue);
    print_value(b, "sessions", "gauge", "Conversations that are remembered.",
                n.n_session);
    print_value(b, "stream_errors_total", "counter",
                "Streams that ended with an error in the middle.",
                (double)r->n_stream_error);
    print_value(b, "clients_gone_total", "counter",
                "Requests whose client did not wait for the end.", (double)r->n_gone);
    print_value(b, "translated_total", "counter", "Attempts in another dialect.",
                (double)r->n_translated);
    print_value(b, "reloads_total", "counter", "Configurations read again.",
                (double)r->n_reload);
    print_value(b, "failed_reloads_total", "counter", "Those that were wrong.",
                (double)r->n_reload_failed);
}

void own_metrics(struct relay *c)
{
    struct router *r = c->router;
    struct buf b;
    buf_init(&b, ROUTER_ANSWER_MAX);
    pthread_mutex_lock(&r->lock);
    print_router(&b, r);
    print_backends(&b, r);
    pthread_mutex_unlock(&r->lock);
    print_value(&b, "connections", "gauge", "Open connections of clients.",
                http_server_connections(r->http));
    print_value(&b, "exchanges", "gauge", "Requests whose replies are not all sent.",
                http_server_active(r->http));
    print_value(&b, "transfers", "gauge", "Requests at backends.",
                http_transfers_active(r->transfers));
    print_value(&b, "uptime_seconds", "gauge", "Since the start.",
                (double)(clock_us() - r->start_us) / 1e6);
    print_value(&b, "draining", "gauge", "1 while the router ends.",
                atomic_load(&r->draining));
    buf_printf(&b,
               "# HELP process_resident_memory_bytes Resident set.\n"
               "# TYPE process_resident_memory_bytes gauge\n"
               "process_resident_memory_bytes %zu\n",
               mem_resident());
    relay_reply(c, 200, "text/plain; version=0.0.4; charset=utf-8", &b);
    buf_release(&b);
}
