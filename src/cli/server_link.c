#include "cli/server_link.h"

#include <stdio.h>
#include <string.h>

#include "json/parse.h"
#include "cli/environment.h"
#include "json/print.h"
#include "http/client.h"

enum {
    ANSWER_BYTES = 64 << 20,
    LINE_BYTES = 16 << 20,
    REQUEST_BYTES = 256 << 20,
    PROBE_MS = 2000,
    CALL_MS = 600000, // a model may be loaded first
    ADDRESS_BYTES = SERVER_LINK_URL_BYTES + 64,
};

/* ---- where ---- */

/* Addresses for listening are those of this machine. */
static const char *reachable(const char *host)
{
    return !strcmp(host, "0.0.0.0") ? "127.0.0.1" : !strcmp(host, "::") ? "::1" : host;
}

bool server_link_url(char *url, size_t n, const char *host)
{
    struct environment_host h;
    const char *said = host && *host ? host : environment_text("HOST");
    const enum status s = host && *host ? environment_host_parse(&h, host, NULL)
                                        : environment_host(&h, NULL);
    const char *name = s ? "" : reachable(h.host);
    const char *open = strchr(name, ':') ? "[" : "", *close = *open ? "]" : "";
    const int written =
        s ? snprintf(url, n, "%s", said ? said : "")
          : snprintf(url, n, "%s://%s%s%s:%d%s", h.https ? "https" : "http", open, name,
                     close, h.port, h.path);
    return !s && written >= 0 && (size_t)written < n;
}

/* ---- calls ---- */

/* What is wrong in the words of the server: {"error": TEXT or {"message": TEXT}}. */
static enum status server_error(const char *address, int status, const struct buf *body,
                                struct error *err)
{
    json_t *root = json_parse(body->data ? body->data : "", body->len, 0, NULL);
    const json_t *e = json_object_get(root, "error");
    const char *text =
        json_string_value(json_is_object(e) ? json_object_get(e, "message") : e);
    enum status s = status == 404 ? STATUS_NOT_FOUND : STATUS_IO;
    if (status == 401)
        s = fail(err, s, "%s: the server wants its key; TURBINE_API_KEY is sent",
                 address);
    else if (text)
        s = fail(err, s, "%s", text);
    else
        s = fail(err, s, "%s: HTTP status %d", address, status);
    json_decref(root);
    return s;
}

static enum status call_server(const struct http_call *c, int *http_status,
                               struct buf *body, struct error *err)
{
    struct error why;
    const enum status s = http_call(c, http_status, body, &why);
    if (s == STATUS_IO && !*http_status)
        return fail(err, s, "%s; 'turbine serve' starts a server", why.text);
    if (s && err)
        *err = why;
    if (s || *http_status == 200)
        return s;
    return server_error(c->url, *http_status, body, err);
}

/* text is initialised, and released by the caller whatever comes back. */
static enum status print_request(struct buf *text, const json_t *body, struct error *err)
{
    buf_init(text, REQUEST_BYTES);
    if (body)
        json_print_value(text, body);
    return text->failed ? fail(err, STATUS_LIMIT, "a request of more than %d MiB",
                               REQUEST_BYTES >> 20)
                        : STATUS_OK;
}

static enum status timed_call(const char *url, const char *method, const char *path,
                              const json_t *body, json_t **answer, int *http_status,
                              int timeout_ms, struct error *err)
{
    char address[ADDRESS_BYTES];
    struct buf text, got;
    int status = 0;
    json_error_t why;
    enum status s = print_request(&text, body, err);
    snprintf(address, sizeof address, "%s%s", url, path);
    const struct http_call c = {.method = method,
                                .url = address,
                                .key = environment_text("API_KEY"),
                                .timeout_ms = timeout_ms,
                                .json = text.data};
    buf_init(&got, ANSWER_BYTES);
    if (!s)
        s = call_server(&c, &status, &got, err);
    if (!s && answer) {
        *answer =
            got.len ? json_parse(got.data, got.len, JSON_DECODE_ANY, &why) : json_null();
        if (!*answer)
            s = fail(err, STATUS_BAD_INPUT, "%s: the answer is no JSON: %s", address,
                     why.text);
    }
    if (http_status)
        *http_status = status;
    buf_release(&got);
    buf_release(&text);
    return s;
}

enum status server_link_call(const char *url, const char *method, const char *path,
                             const json_t *body, json_t **answer, int *http_status,
                             struct error *err)
{
    return timed_call(url, method, path, body, answer, http_status, CALL_MS, err);
}

/* ---- whose it is ---- */

enum server_link_kind server_link_kind(const char *url, char *why)
{
    char unused[SERVER_LINK_TEXT_BYTES];
    struct error err = {0};
    json_t *answer = NULL;
    int status = 0;
    enum server_link_kind kind = SERVER_LINK_OTHER;
    why = why ? why : unused;
    const enum status s =
        timed_call(url, "GET", "/api/version", NULL, &answer, &status, PROBE_MS, &err);
    const char *version = json_string_value(json_object_get(answer, "version"));
    const char *turbine = json_string_value(json_object_get(answer, "turbine"));
    if (s && !status) {
        kind = SERVER_LINK_NONE;
        snprintf(why, SERVER_LINK_TEXT_BYTES, "no server answers there: %.200s",
                 err.text);
    } else if (status == 401) {
        snprintf(why, SERVER_LINK_TEXT_BYTES,
                 "the server there wants its key, which is read from TURBINE_API_KEY");
    } else if (!s && turbine) {
        kind = SERVER_LINK_TURBINE;
        snprintf(why, SERVER_LINK_TEXT_BYTES, "Turbine %.60s answers there", turbine);
    } else if (!s && version) {
        snprintf(why, SERVER_LINK_TEXT_BYTES, "Ollama %.60s answers there", version);
    } else {
        snprintf(why, SERVER_LINK_TEXT_BYTES,
                 "what answers there is no server of Turbine");
    }
    json_decref(answer);
    return kind;
}

/* ---- lines ---- */

struct line_reader {
    const struct server_link_stream *to;
    const char *address;
    struct buf line;
    struct error *err;
    enum status status; // of what went wrong with a line
};

static bool take_stream_line(struct line_reader *r, const char *text, size_t n)
{
    json_error_t why;
    if (strspn(text, " \t\r") == n)
        return true;
    json_t *object = json_parse(text, n, 0, &why);
    const json_t *e = json_object_get(object, "error");
    const char *message = json_string_value(e);
    bool more = true;
    if (!object)
        r->status = fail(r->err, STATUS_BAD_INPUT,
                         "%s: a line of the answer is no JSON: %s", r->address, why.text);
    else if (e)
        r->status = fail(r->err, STATUS_IO, "%s",
                         message ? message : "the server ended the answer with an error");
    else
        more = r->to->line(r->to->ctx, object);
    json_decref(object);
    return more && !r->status;
}

static bool take_stream_lines(void *ctx, const char *data, size_t n)
{
    struct line_reader *r = ctx;
    for (const char *end; (end = memchr(data, '\n', n));) {
        const size_t len = (size_t)(end - data);
        if (!buf_append(&r->line, data, len))
            break;
        if (r->line.len && !take_stream_line(r, r->line.data, r->line.len))
            return false;
        buf_clear(&r->line);
        data += len + 1;
        n -= len + 1;
    }
    buf_append(&r->line, data, n);
    if (r->line.failed)
        r->status =
            fail(r->err, STATUS_LIMIT, "%s: a line of the answer has more than %d MiB",
                 r->address, LINE_BYTES >> 20);
    return !r->line.failed;
}

static bool stream_stopped(void *ctx)
{
    const struct line_reader *r = ctx;
    return r->to->stopped && r->to->stopped(r->to->ctx);
}

enum status server_link_stream(const char *url, const char *path, const json_t *body,
                               const struct server_link_stream *to, int *http_status,
                               struct error *err)
{
    char address[ADDRESS_BYTES];
    struct buf text, refused;
    int status = 0;
    enum status s = print_request(&text, body, err);
    snprintf(address, sizeof address, "%s%s", url, path);
    struct error why;
    struct line_reader r = {.to = to, .address = address, .err = &why};
    const struct http_call c = {.method = "POST",
                                .url = address,
                                .key = environment_text("API_KEY"),
                                .json = text.data,
                                .take = take_stream_lines,
                                .stopped = stream_stopped,
                                .ctx = &r};
    buf_init(&r.line, LINE_BYTES);
    buf_init(&refused, ANSWER_BYTES);
    if (!s)
        s = call_server(&c, &status, &refused, err);
    if (!s && r.line.len) // the last line may lack its end
        take_stream_line(&r, r.line.data, r.line.len);
    if (r.status) {
        s = r.status;
        if (err)
            *err = why;
    }
    if (http_status)
        *http_status = status;
    buf_release(&r.line);
    buf_release(&refused);
    buf_release(&text);
    return s;
}
