/* attempt.c - what is sent to a backend. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "json/parse.h"
#include "json/print.h"
#include "router/internal.h"

enum {
    LINES_MAX = 24,
    LINES_BYTES = 64 << 10,
    OWN_URL_BYTES = 4096,
    NEWS_BYTES = 4 << 10
};

/* Header lines, one behind the other in a buf that does not move any more when they are
 * handed out. */
struct lines {
    struct buf text;
    size_t at[LINES_MAX];
    const char *line[LINES_MAX];
    int n;
};

static void add_line(struct lines *l, const char *name, const char *before,
                     const char *value)
{
    if (l->n == LINES_MAX || strpbrk(value, "\r\n"))
        return;
    l->at[l->n++] = l->text.len;
    buf_printf(&l->text, "%s: %s%s", name, before, value);
    buf_append(&l->text, "", 1);
}

/* What of a client's header says something of the request itself.  Never who it is, nor
 * what is between it and us alone. */
static void add_client_lines(struct lines *l, const struct relay *c)
{
    static const char *const passed[] = {"anthropic-version", "anthropic-beta",
                                         "openai-beta",       "openai-project",
                                         "user-agent",        "x-claude-code-session-id",
                                         "x-turbine-session", "x-openwebui-chat-id",
                                         "idempotency-key",   "x-stainless-timeout"};
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        const char *value = http_header(c->x, passed[i]);
        if (value && (i > 1 || c->via == DIALECT_ANTHROPIC))
            add_line(l, passed[i], "", value);
    }
    add_line(l, "X-Request-Id", "", c->request_id);
}

static void add_own_lines(struct lines *l, const struct relay *c)
{
    struct upstream_header h[UPSTREAM_HEADERS_MAX];
    const int n = upstream_headers(h, translate_upstream(c->via), c->conf->key);
    for (int i = 0; i < n; i++)
        if (strcasecmp(h[i].name, "anthropic-version") ||
            !http_header(c->x, "anthropic-version"))
            add_line(l, h[i].name, h[i].before, h[i].value);
}

/* The client's body, with the name of the model that the backend knows. */
static bool pass_body(struct relay *c, const char **body, size_t *n)
{
    char *text = http_body(c->x, n);
    *body = text;
    if (!c->has_body || !*c->asked_model || !strcmp(c->served, c->asked_model))
        return true;
    if (!edit_member(&c->sent, text, *n, "model", c->served) &&
        !edit_member(&c->sent, text, *n, "name", c->served)) {
        // Its name is spelled with escapes.
        json_t *v = json_parse(text, *n, 0, NULL);
        const char *member = json_object_get(v, "model") ? "model" : "name";
        buf_clear(&c->sent);
        if (!v || json_object_set_new(v, member, json_string(c->served))) {
            json_decref(v);
            return false;
        }
        json_print_value(&c->sent, v);
        json_decref(v);
    }
    *body = c->sent.data;
    *n = c->sent.len;
    return !c->sent.failed;
}

/* Who speaks the client's dialect is asked in it. */
static void choose_dialect(struct relay *c)
{
    pthread_mutex_lock(&c->router->lock);
    const unsigned d = c->backend->dialects;
    pthread_mutex_unlock(&c->router->lock);
    if (!d || d & c->route->dialect)
        c->via = c->route->dialect;
    else
        c->via = d & DIALECT_OPENAI      ? DIALECT_OPENAI
                 : d & DIALECT_ANTHROPIC ? DIALECT_ANTHROPIC
                                         : DIALECT_OLLAMA;
    c->translates = c->via != c->route->dialect;
}

/* Beginnings, documents and bursts take longer than other streams should wait. */
static bool is_short(struct relay *c)
{
    struct http_transfer_state s;
    if (!atomic_load(&c->streams))
        return false;
    http_transfer_see(c->transfer, &s);
    return s.n_waiting <= NEWS_BYTES;
}

static void on_news(void *ctx)
{
    struct relay *c = ctx;
    if (is_short(c))
        http_step_here(c->x);
    else
        http_wake(c->x);
}

static bool no_attempt(struct relay *c, const struct api_error *e)
{
    relay_attempt_failed(c, POLICY_FAILURE_CLIENT, e, 0);
    return false;
}

int backend_url(char *out, size_t n, const struct config_backend *b, const char *path,
                const char *query)
{
    const size_t len = strlen(b->url);
    const bool has_v1 = len > 3 && !strcmp(b->url + len - 3, "/v1");
    return snprintf(out, n, "%.*s%s%s", (int)(has_v1 ? len - 3 : len), b->url, path,
                    query);
}

static bool send_request(struct relay *c, const char *method, const char *path,
                         const char *body, size_t n)
{
    const struct config_backend *b = c->conf;
    const struct config *k = &c->ref->c;
    struct lines l = {.n = 0};
    char url[OWN_URL_BYTES];
    struct api_error e;
    const char *query = c->query && !c->translates ? c->query : "";
    const int m = backend_url(url, sizeof url, b, path, query);
    buf_init(&l.text, LINES_BYTES);
    add_client_lines(&l, c);
    add_own_lines(&l, c);
    for (int i = 0; i < l.n; i++)
        l.line[i] = l.text.data + l.at[i];
    const struct http_transfer_options o = {
        .method = method,
        .url = url,
        .headers = l.line,
        .n_header = l.text.failed ? 0 : l.n,
        .body = body,
        .n_body = n,
        .proxy = b->proxy,
        .ca_file = b->ca_file,
        .connect_us = (uint64_t)k->connect_s * 1000000,
        .first_us = (uint64_t)k->first_s * 1000000,
        .idle_us = (uint64_t)k->idle_s * 1000000,
        .notify = on_news,
        .ctx = c,
    };
    if (m < (int)sizeof url && !l.text.failed)
        c->transfer = http_transfer_start(c->router->transfers, &o);
    buf_release(&l.text);
    if (c->transfer)
        return true;
    (void)!api_fail(&e, STATUS_NO_MEMORY, API_ERROR_INTERNAL, NULL, "out of memory");
    return no_attempt(c, &e);
}

bool relay_start(struct relay *c)
{
    const char *body, *method = "POST", *path = c->path;
    size_t n;
    struct api_error e;
    *c->dropped = 0;
    choose_dialect(c);
    if (translate_alone(c))
        return false;
    if (c->translates) {
        if (translate_request(c, &method, &path, &e)) {
            relay_try_elsewhere(c, &e);
            return false;
        }
        body = c->sent.data;
        n = c->sent.len;
    } else if (!pass_body(c, &body, &n)) {
        (void)!api_no_memory(&e);
        return no_attempt(c, &e);
    }
    return send_request(c, method, path, body, n);
}
