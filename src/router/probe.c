/* probe.c - is a backend well, and what is it: models, dialects, context, attention.
 *
 * Health is GET of the list of models, which all servers have and which says what they
 * answer to.  The first time, and whenever a backend was down, the rest is asked too. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "json/parse.h"
#include "base/mem.h"
#include "json/print.h"
#include "router/internal.h"

enum {
    PROBE_BYTES = 8 << 20,
    PROBE_US = 5000000,
    PROBE_WHOLE_US = 10000000, // of one answer, however it drips
    PROBE_URL = 4096,
};

enum probe_stage { PROBE_MODELS, PROBE_VERSION, PROBE_PROPS, PROBE_SHOW, PROBE_N };

struct probe {
    struct http_transfer *transfer;
    enum probe_stage stage;
    uint64_t asked_us;
    struct buf body;
    struct buf request;
    /* Found out so far. */
    unsigned dialects;
    char software[24];
    enum upstream_counter counter;
    int n_ctx;
    enum backend_arch arch;
};

static void on_probe_news(void *ctx)
{
    http_server_poke(ctx);
}

/* ---- asking ---- */

struct http_transfer *probe_ask(struct router *r, const struct backend *b,
                                const struct probe_question *q)
{
    const uint64_t us = q->us ? q->us : PROBE_US;
    const struct config_backend *c = b->c;
    char url[PROBE_URL], key[3][640];
    const char *lines[4];
    int n_line = 0;
    backend_url(url, sizeof url, c, q->path, "");
    lines[n_line++] = "Content-Type: application/json";
    if (c->key) {
        snprintf(key[0], sizeof key[0], "Authorization: Bearer %s", c->key);
        snprintf(key[1], sizeof key[1], "x-api-key: %s", c->key);
        const bool anthropic = b->dialects == DIALECT_ANTHROPIC;
        lines[n_line++] = key[anthropic];
    }
    if (b->dialects == DIALECT_ANTHROPIC)
        lines[n_line++] = "anthropic-version: 2023-06-01";
    const struct http_transfer_options o = {
        .method = q->method,
        .url = url,
        .headers = lines,
        .n_header = n_line,
        .body = q->body ? q->body->data : NULL,
        .n_body = q->body ? q->body->len : 0,
        .proxy = c->proxy,
        .ca_file = c->ca_file,
        .connect_us = us,
        .first_us = us,
        .idle_us = us,
        .notify = q->notify ? q->notify : on_probe_news,
        .ctx = q->notify ? q->ctx : r->http,
    };
    return http_transfer_start(r->transfers, &o);
}

static bool ask_backend(struct router *r, struct backend *b, const char *method,
                        const char *path)
{
    struct probe *p = b->probe;
    buf_clear(&p->body);
    p->asked_us = clock_us();
    const struct probe_question q = {.method = method, .path = path, .body = &p->request};
    p->transfer = probe_ask(r, b, &q);
    return p->transfer;
}

/* ---- reading ---- */

static bool keep_models(struct backend *b, const struct upstream_models *m)
{
    bool same = b->n_listed == (m->n < ROUTER_LISTED_MAX ? m->n : ROUTER_LISTED_MAX);
    for (int i = 0; same && i < b->n_listed; i++)
        same = !strcmp(b->listed[i].name, m->models[i].id);
    if (same)
        return false;
    for (int i = 0; i < b->n_listed; i++)
        mem_free((char *)b->listed[i].name);
    b->n_listed = 0;
    for (int i = 0; i < m->n && i < ROUTER_LISTED_MAX; i++) {
        const char *id = m->models[i].id;
        char *name = *id && strlen(id) < POLICY_NAME_MAX ? mem_strdup(id) : NULL;
        if (name)
            b->listed[b->n_listed++] = (struct policy_model){name, NULL};
    }
    return true;
}

/* The list of models: true if it is one. */
static bool read_list(struct router *r, struct backend *b, const char *text, size_t n)
{
    struct upstream_models m;
    struct api_error e;
    struct probe *p = b->probe;
    const bool anthropic = b->dialects == DIALECT_ANTHROPIC;
    if (upstream_read_models(&upstreams[anthropic ? UPSTREAM_ANTHROPIC : UPSTREAM_OPENAI],
                             &m, text, n, &e))
        return false;
    const json_t *first = m.n ? m.models[0].entry : NULL;
    const char *owner = json_string_value(json_object_get(first, "owned_by"));
    if (m.n && m.models[0].n_ctx > 0)
        p->n_ctx = m.models[0].n_ctx;
    if (owner && !strcmp(owner, "vllm")) {
        p->counter = UPSTREAM_COUNT_VLLM;
        snprintf(p->software, sizeof p->software, "vllm");
    }
    pthread_mutex_lock(&r->lock);
    if (keep_models(b, &m))
        fleet_apply(r);
    pthread_mutex_unlock(&r->lock);
    upstream_models_release(&m);
    return true;
}

static void read_version(struct probe *p, const json_t *v)
{
    const char *version = json_string_value(json_object_get(v, "version"));
    int major = 0, minor = 0;
    if (!version)
        return;
    if (json_object_get(v, "turbine")) {
        snprintf(p->software, sizeof p->software, "turbine");
        p->dialects = DIALECT_ALL;
        p->counter = UPSTREAM_COUNT_ANTHROPIC;
        return;
    }
    snprintf(p->software, sizeof p->software, "ollama");
    sscanf(version, "%d.%d", &major, &minor);
    // From 0.14 on it speaks Anthropic's API too.
    p->dialects = major || minor >= 14 ? DIALECT_ALL : DIALECT_OPENAI | DIALECT_OLLAMA;
}

static void read_props(struct probe *p, const json_t *v)
{
    const json_t *n =
        json_object_get(json_object_get(v, "default_generation_settings"), "n_ctx");
    if (json_is_integer(n) && json_integer_value(n) > 0 &&
        json_integer_value(n) < 1 << 30)
        p->n_ctx = (int)json_integer_value(n);
    if (json_object_get(v, "kv_type")) {
        snprintf(p->software, sizeof p->software, "turbine");
        p->dialects = DIALECT_ALL;
        p->counter = UPSTREAM_COUNT_ANTHROPIC;
    }
    if (*p->software || !n)
        return;
    snprintf(p->software, sizeof p->software, "llama-server");
    p->dialects = DIALECT_OPENAI | DIALECT_ANTHROPIC;
    p->counter = UPSTREAM_COUNT_LLAMA;
}

/* A model of which some layers have a recurrent state says so in its metadata. */
static void read_show(struct probe *p, const json_t *v)
{
    const json_t *info = json_object_get(v, "model_info");
    const char *name;
    json_t *m;
    if (!json_object_size(info))
        return;
    p->arch = ARCH_SOFTMAX;
    json_object_foreach((json_t *)info, name, m)
    {
        if (strstr(name, ".ssm.") || strstr(name, ".full_attention_interval") ||
            strstr(name, ".kda."))
            p->arch = ARCH_HYBRID;
    }
}

static void read_stage(struct probe *p, const char *text, size_t n)
{
    json_t *v = json_parse(text, n, 0, NULL);
    if (p->stage == PROBE_VERSION)
        read_version(p, v);
    else if (p->stage == PROBE_PROPS)
        read_props(p, v);
    else if (p->stage == PROBE_SHOW)
        read_show(p, v);
    json_decref(v);
}

/* ---- stages ---- */

static void end_probe(struct router *r, struct backend *b, bool well)
{
    struct probe *p = b->probe;
    bool changed = false;
    pthread_mutex_lock(&r->lock);
    if (well && !b->known) {
        b->known = changed = true;
        if (!b->c->dialects)
            b->dialects = p->dialects ? p->dialects : DIALECT_OPENAI;
        b->counter = p->counter;
        if (!b->counter && b->dialects == DIALECT_ANTHROPIC) // a hosted API
            b->counter = UPSTREAM_COUNT_ANTHROPIC;
        b->n_ctx = p->n_ctx;
        b->arch = p->arch;
        snprintf(b->software, sizeof b->software, "%s", p->software);
    } else if (!well) {
        b->known = false; // it may come back as another
        load_forget(b);
    }
    if (changed)
        fleet_apply(r);
    // One that is being started has its time.
    if (b->index != POLICY_NONE && (well || !b->starting))
        policy_probed(r->policy, b->index, well, clock_us());
    pthread_mutex_unlock(&r->lock);
    if (changed)
        router_log(r, "backend", "%s: %s, %d models, context %d%s", b->shown,
                   *b->software ? b->software : "a server of OpenAI's API", b->n_listed,
                   b->n_ctx, b->arch == ARCH_HYBRID ? ", hybrid" : "");
    probe_close(b);
    fleet_wake(r);
}

static bool start_stage(struct router *r, struct backend *b)
{
    struct probe *p = b->probe;
    json_t *v;
    switch (p->stage) {
    case PROBE_MODELS:
        return ask_backend(r, b, "GET", "/v1/models");
    case PROBE_VERSION:
        return ask_backend(r, b, "GET", "/api/version");
    case PROBE_PROPS:
        return ask_backend(r, b, "GET", "/props");
    case PROBE_SHOW:
        v = json_pack("{s:s}", "model", fleet_first_model(b));
        if (v)
            json_print_value(&p->request, v);
        json_decref(v);
        return ask_backend(r, b, "POST", "/api/show");
    default:
        return false;
    }
}

static void next_stage(struct router *r, struct backend *b)
{
    struct probe *p = b->probe;
    const bool known = b->known;
    p->stage++;
    // Only Ollama and Turbine show, and a hosted API has nothing of all that.
    if (p->stage == PROBE_SHOW && !(p->dialects & DIALECT_OLLAMA))
        p->stage++;
    if (known || p->stage == PROBE_N || !start_stage(r, b))
        end_probe(r, b, true);
}

static void take_probe(struct router *r, struct backend *b)
{
    struct probe *p = b->probe;
    struct http_transfer_state s;
    const bool over = http_transfer_collect(p->transfer, &p->body, &s);
    if (!over && clock_us() - p->asked_us <= PROBE_WHOLE_US)
        return;
    http_transfer_close(p->transfer);
    p->transfer = NULL;
    const bool ok = s.end == HTTP_TRANSFER_DONE && s.status == 200 && !p->body.failed;
    const char *text = p->body.data ? p->body.data : "";
    if (p->stage == PROBE_MODELS) {
        if (!ok || !read_list(r, b, text, p->body.len)) {
            end_probe(r, b, false);
            return;
        }
    } else if (ok) {
        read_stage(p, text, p->body.len);
    }
    next_stage(r, b);
}

void probe_begin(struct router *r, struct backend *b)
{
    if (b->probe)
        return;
    b->probe = mem_array(1, sizeof *b->probe);
    if (!b->probe)
        return;
    buf_init(&b->probe->body, PROBE_BYTES);
    buf_init(&b->probe->request, PROBE_BYTES);
    if (!start_stage(r, b))
        end_probe(r, b, false);
}

void probe_tick(struct router *r)
{
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i] && r->backends[i]->probe && r->backends[i]->probe->transfer)
            take_probe(r, r->backends[i]);
    for (int k = 0; k < POLICY_BACKENDS_MAX; k++) {
        pthread_mutex_lock(&r->lock);
        const int i = policy_probe(r->policy, clock_us());
        pthread_mutex_unlock(&r->lock);
        if (i == POLICY_NONE)
            break;
        if (r->backends[i])
            probe_begin(r, r->backends[i]);
    }
}

void probe_close(struct backend *b)
{
    if (!b->probe)
        return;
    http_transfer_close(b->probe->transfer);
    buf_release(&b->probe->body);
    buf_release(&b->probe->request);
    mem_free(b->probe);
    b->probe = NULL;
}
