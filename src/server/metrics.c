/* metrics.c - llama.cpp's names where it has one, so that dashboards go on to work, and
 * turbine: for the rest. */
#include "server/metrics.h"

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

static void print_memory(struct buf *out, const struct metrics_gauges *g)
{
    head(out, "turbine:kv_bytes", "gauge", "Bytes that the cache reserved, by what.");
    buf_printf(out,
               "turbine:kv_bytes{type=\"%s\",part=\"pages\"} %zu\n"
               "turbine:kv_bytes{type=\"%s\",part=\"exact\"} %zu\n",
               g->kv_name, g->kv_bytes, g->kv_name, g->exact_bytes);
    head(out, "turbine:kv_pages", "gauge", "Pages of 64 tokens, by state.");
    const struct scheduler_stats *s = g->stats;
    buf_printf(out,
               "turbine:kv_pages{state=\"used\"} %d\n"
               "turbine:kv_pages{state=\"cached\"} %d\n"
               "turbine:kv_pages{state=\"free\"} %d\n",
               s->n_page_used, s->n_page_cached,
               s->n_page - s->n_page_used - s->n_page_cached);
    number(out, "turbine:weight_bytes", "gauge", "Bytes of weights.",
           (double)g->weight_bytes);
    number(out, "turbine:scratch_bytes", "gauge", "Bytes of a step.",
           (double)g->scratch_bytes);
    number(out, "process_resident_memory_bytes", "gauge", "Resident set.",
           (double)g->resident);
}

static void print_scheduler(struct buf *out, const struct metrics_gauges *g)
{
    const struct scheduler_stats *s = g->stats;
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
    print_llamacpp(out, g->stats);
    print_memory(out, g);
    print_scheduler(out, g);
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
