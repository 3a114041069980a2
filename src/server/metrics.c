/* metrics.c - llama.cpp's names where it has one, so that dashboards go on to work, and
 * turbine: for the rest. */
#include "server/metrics.h"

#include <stddef.h>
#include <string.h>

/* Seconds; the last is the wait that clients take for an error. */
static const double bounds[METRICS_BUCKETS] = {
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600};

enum status metrics_open(struct metrics *m, struct error *err)
{
    *m = (struct metrics){0};
    if (pthread_mutex_init(&m->lock, NULL))
        return fail(err, STATUS_NO_MEMORY, "cannot make a lock");
    return STATUS_OK;
}

void metrics_close(struct metrics *m)
{
    pthread_mutex_destroy(&m->lock);
}

void metrics_request(struct metrics *m, const char *dialect, int status)
{
    int i = 0;
    pthread_mutex_lock(&m->lock);
    while (i < m->n_requests && (m->requests[i].dialect != dialect || // a static string
                                 m->requests[i].status != status))
        i++;
    if (i == m->n_requests && i < METRICS_STATUSES) {
        m->requests[i].dialect = dialect;
        m->requests[i].status = status;
        m->n_requests++;
    }
    if (i < m->n_requests)
        m->requests[i].n++;
    pthread_mutex_unlock(&m->lock);
}

void metrics_rejected(struct metrics *m, enum api_error_kind kind)
{
    metrics_add(m, &m->rejected[kind], 1);
}

void metrics_add(struct metrics *m, uint64_t *counter, uint64_t n)
{
    pthread_mutex_lock(&m->lock);
    *counter += n;
    pthread_mutex_unlock(&m->lock);
}

static void observe(struct metrics *m, struct histogram *h, double seconds, uint64_t n)
{
    int i = 0;
    while (i < METRICS_BUCKETS && seconds > bounds[i])
        i++;
    pthread_mutex_lock(&m->lock);
    h->count[i] += n;
    h->sum += seconds * (double)n;
    pthread_mutex_unlock(&m->lock);
}

void metrics_first(struct metrics *m, double seconds)
{
    observe(m, &m->first, seconds, 1);
}

void metrics_next(struct metrics *m, double seconds, int n)
{
    observe(m, &m->next, seconds / n, (uint64_t)n);
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void number(struct buf *out, const char *name, const char *type, const char *help,
                   double v)
{
    head(out, name, type, help);
    buf_printf(out, "%s %.17g\n", name, v);
}

static void print_histogram(struct buf *out, const struct histogram *h, const char *name,
                            const char *help)
{
    uint64_t n = 0;
    head(out, name, "histogram", help);
    for (int i = 0; i < METRICS_BUCKETS; i++) {
        n += h->count[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i],
                   (unsigned long long)n);
    }
    n += h->count[METRICS_BUCKETS];
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
               (unsigned long long)n, name, h->sum, name, (unsigned long long)n);
}

static double per(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* Source of the names: tools/server/README.md of llama.cpp. */
static void print_llamacpp(struct buf *out, const struct scheduler_stats *s)
{
    const double read = (double)s->prompt_tokens;
    const double prefill = (double)s->prefill_us / 1e6;
    const double decode = (double)s->decode_us / 1e6;
    number(out, "llamacpp:prompt_tokens_total", "counter", "Prompt tokens computed.",
           read);
    number(out, "llamacpp:prompt_seconds_total", "counter", "Time of reading prompts.",
           prefill);
    number(out, "llamacpp:prompt_tokens_seconds", "gauge", "Prompt tokens a second.",
           per(read, prefill));
    number(out, "llamacpp:tokens_predicted_total", "counter", "Tokens of answers.",
           (double)s->decoded_tokens);
    number(out, "llamacpp:tokens_predicted_seconds_total", "counter",
           "Time of steps without prompts.", decode);
    number(out, "llamacpp:predicted_tokens_seconds", "gauge",
           "Tokens of answers a second.", per((double)s->decoded_tokens, decode));
    number(out, "llamacpp:requests_processing", "gauge", "Answers that are computed.",
           s->n_running);
    number(out, "llamacpp:requests_deferred", "gauge", "Answers that wait.",
           s->n_waiting);
    number(out, "llamacpp:n_decode_total", "counter", "Steps of the model.",
           (double)s->steps);
    number(out, "llamacpp:n_busy_slots_per_decode", "gauge", "Answers in a step.",
           s->steps ? (double)s->runs / (double)s->steps : 0);
    number(out, "llamacpp:n_tokens_max", "gauge", "Most tokens of prompt and answer.",
           s->n_tokens_max);
}

/* ---- models ---- */

void metrics_add_counters(struct scheduler_stats *a, const struct scheduler_stats *b)
{
    a->prompt_tokens += b->prompt_tokens;
    a->cached_tokens += b->cached_tokens;
    a->ahead_tokens += b->ahead_tokens;
    a->decoded_tokens += b->decoded_tokens;
    a->steps += b->steps;
    a->parked += b->parked;
    a->runs += b->runs;
    a->accepted += b->accepted;
    a->refused_full += b->refused_full;
    a->refused_long += b->refused_long;
    a->expired += b->expired;
    a->cancelled += b->cancelled;
    a->failed += b->failed;
    a->prefill_us += b->prefill_us;
    a->decode_us += b->decode_us;
    a->n_tokens_max = a->n_tokens_max > b->n_tokens_max ? a->n_tokens_max
                                                        : b->n_tokens_max;
}

/* Of all models, loaded or not any more. */
static struct scheduler_stats sum_stats(const struct metrics_gauges *g)
{
    struct scheduler_stats all = g->past;
    for (int i = 0; i < g->n_model; i++) {
        const struct scheduler_stats *s = &g->models[i].stats;
        metrics_add_counters(&all, s);
        all.n_running += s->n_running;
        all.n_waiting += s->n_waiting;
        all.n_parked += s->n_parked;
        all.n_slot += s->n_slot;
        all.n_page += s->n_page;
        all.n_page_used += s->n_page_used;
        all.n_page_cached += s->n_page_cached;
        all.n_tokens += s->n_tokens;
    }
    return all;
}

static bool is_first_of_type(const struct metrics_gauges *g, int i)
{
    for (int j = 0; j < i; j++)
        if (!strcmp(g->models[j].kv_name, g->models[i].kv_name))
            return false;
    return true;
}

/* Caches of the same type together. */
static void print_caches(struct buf *out, const struct metrics_gauges *g)
{
    head(out, "turbine:kv_bytes", "gauge", "Bytes that the cache reserved, by what.");
    for (int i = 0; i < g->n_model; i++) {
        size_t pages = 0, exact = 0;
        const char *type = g->models[i].kv_name;
        if (!is_first_of_type(g, i))
            continue;
        for (int j = i; j < g->n_model; j++)
            if (!strcmp(g->models[j].kv_name, type)) {
                pages += g->models[j].kv_bytes;
                exact += g->models[j].exact_bytes;
            }
        buf_printf(out,
                   "turbine:kv_bytes{type=\"%s\",part=\"pages\"} %zu\n"
                   "turbine:kv_bytes{type=\"%s\",part=\"exact\"} %zu\n",
                   type, pages, type, exact);
    }
}

/* A value of each model: offset is that of a size_t in struct metrics_model. */
static void print_of_models(struct buf *out, const struct metrics_gauges *g,
                            const char *name, const char *help, size_t offset)
{
    if (!g->n_model)
        return;
    head(out, name, "gauge", help);
    for (int i = 0; i < g->n_model; i++) {
        const struct metrics_model *m = &g->models[i];
        buf_printf(out, "%s{model=\"", name);
        for (const char *at = m->name; *at; at++)
            if (!strchr("\"\\{}", *at) && (unsigned char)*at >= ' ')
                buf_append(out, at, 1);
        const size_t v = *(const size_t *)(const void *)((const char *)m + offset);
        buf_printf(out, "\"} %zu\n", v);
    }
}

static void print_models(struct buf *out, const struct metrics_gauges *g)
{
    number(out, "turbine:models_loaded", "gauge", "Models in memory.", g->n_model);
    number(out, "turbine:models_loading", "gauge", "Models that requests wait for.",
           g->n_loading);
    number(out, "turbine:model_loads_total", "counter", "Times that a model was loaded.",
           (double)g->n_load);
    number(out, "turbine:model_load_failures_total", "counter",
           "Times that loading failed.", (double)g->n_load_failed);
    number(out, "turbine:model_unloads_total", "counter",
           "Times that a model was unloaded.", (double)g->n_unload);
    print_of_models(out, g, "turbine_model_weight_bytes", "Weights, by model.",
                    offsetof(struct metrics_model, weight_bytes));
    print_of_models(out, g, "turbine_model_kv_bytes", "Pages of the cache, by model.",
                    offsetof(struct metrics_model, kv_bytes));
    print_of_models(out, g, "turbine_model_exact_bytes",
                    "Exact part of the cache, by model.",
                    offsetof(struct metrics_model, exact_bytes));
    print_of_models(out, g, "turbine_model_scratch_bytes", "Scratch of a step, by model.",
                    offsetof(struct metrics_model, scratch_bytes));
}

static void print_memory(struct buf *out, const struct metrics_gauges *g,
                         const struct scheduler_stats *s)
{
    size_t weights = 0, scratch = 0;
    for (int i = 0; i < g->n_model; i++) {
        weights += g->models[i].weight_bytes;
        scratch += g->models[i].scratch_bytes;
    }
    print_caches(out, g);
    head(out, "turbine:kv_pages", "gauge", "Pages of 64 tokens, by state.");
    buf_printf(out,
               "turbine:kv_pages{state=\"used\"} %d\n"
               "turbine:kv_pages{state=\"cached\"} %d\n"
               "turbine:kv_pages{state=\"free\"} %d\n",
               s->n_page_used, s->n_page_cached,
               s->n_page - s->n_page_used - s->n_page_cached);
    number(out, "turbine:weight_bytes", "gauge", "Bytes of weights.", (double)weights);
    number(out, "turbine:scratch_bytes", "gauge", "Bytes of a step.", (double)scratch);
    number(out, "process_resident_memory_bytes", "gauge", "Resident set.",
           (double)g->resident);
}

static void print_scheduler(struct buf *out, const struct metrics_gauges *g,
                            const struct scheduler_stats *s)
{
    number(out, "turbine:slots", "gauge", "Places for answers.", s->n_slot);
    number(out, "turbine:requests_parked", "gauge", "Answers parked for memory.",
           s->n_parked);
    number(out, "turbine:parked_total", "counter", "Times that answers were parked.",
           (double)s->parked);
    number(out, "turbine:prompt_tokens_total", "counter", "Prompt tokens asked for.",
           (double)(s->prompt_tokens + s->cached_tokens));
    number(out, "turbine:cached_tokens_total", "counter",
           "Prompt tokens that were there already.", (double)s->cached_tokens);
    number(out, "turbine:kv_tokens", "gauge", "Tokens of running answers.", s->n_tokens);
    head(out, "turbine:generations_total", "counter", "Generations, by outcome.");
    buf_printf(out,
               "turbine:generations_total{outcome=\"accepted\"} %llu\n"
               "turbine:generations_total{outcome=\"cancelled\"} %llu\n"
               "turbine:generations_total{outcome=\"failed\"} %llu\n"
               "turbine:generations_total{outcome=\"expired\"} %llu\n"
               "turbine:generations_total{outcome=\"refused_full\"} %llu\n"
               "turbine:generations_total{outcome=\"refused_long\"} %llu\n",
               (unsigned long long)s->accepted, (unsigned long long)s->cancelled,
               (unsigned long long)s->failed, (unsigned long long)s->expired,
               (unsigned long long)s->refused_full, (unsigned long long)s->refused_long);
    number(out, "turbine:connections", "gauge", "Open connections.", g->n_connection);
    number(out, "turbine:exchanges", "gauge", "Requests whose replies are not all sent.",
           g->n_active);
    number(out, "turbine:uptime_seconds", "gauge", "Since the start.", g->uptime);
    number(out, "turbine:draining", "gauge", "1 while the server ends.", g->draining);
}

void metrics_print(struct metrics *m, const struct metrics_gauges *g, struct buf *out)
{
    static const char *const kinds[] = {
#define X(id, http) [API_ERROR_##id] = #id,
        API_ERROR_MAP(X)
#undef X
    };
    const struct scheduler_stats all = sum_stats(g);
    print_llamacpp(out, &all);
    print_memory(out, g, &all);
    print_models(out, g);
    print_scheduler(out, g, &all);
    pthread_mutex_lock(&m->lock);
    head(out, "turbine:requests_total", "counter", "Requests, by dialect and status.");
    for (int i = 0; i < m->n_requests; i++)
        buf_printf(out, "turbine:requests_total{dialect=\"%s\",status=\"%d\"} %llu\n",
                   m->requests[i].dialect, m->requests[i].status,
                   (unsigned long long)m->requests[i].n);
    head(out, "turbine:rejected_total", "counter", "Errors of requests, by kind.");
    for (int i = 0; i <= API_ERROR_INTERNAL; i++)
        buf_printf(out, "turbine:rejected_total{reason=\"%s\"} %llu\n", kinds[i],
                   (unsigned long long)m->rejected[i]);
    number(out, "turbine:clients_gone_total", "counter",
           "Requests whose client did not wait for the end.", (double)m->gone);
    number(out, "turbine:truncated_messages_total", "counter",
           "Messages dropped because a client asked to truncate.", (double)m->truncated);
    number(out, "turbine:replayed_messages_total", "counter",
           "Messages whose bytes were put back.", (double)m->replayed);
    print_histogram(out, &m->first, "turbine:time_to_first_token_seconds",
                    "From the request to its first token.");
    print_histogram(out, &m->next, "turbine:inter_token_seconds",
                    "Between tokens of an answer.");
    pthread_mutex_unlock(&m->lock);
}
