/* store_call.c - a call that waits for its job: lines, the reply, errors. */
#include "server/store_call.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "dialect/ollama_parts.h"
#include "dialect/ollama_store.h"

/* An error that comes soon behind the first line has a status of its own. */
enum { HOLD_US = 1000000, LINES_BYTES = 16 << 20 };

struct store_call *store_call_open(struct call *c)
{
    struct store_call *w = mem_array(1, sizeof *w);
    if (!w) {
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return NULL;
    }
    buf_init(&w->lines, LINES_BYTES);
    buf_init(&w->piece, LINES_BYTES);
    w->hold_us = clock_us() + HOLD_US;
    c->store = w;
    return w;
}

void store_call_release(struct call *c)
{
    struct store_call *w = c->store;
    if (!w)
        return;
    store_watch_close(w->watch);
    buf_release(&w->lines);
    buf_release(&w->piece);
    mem_free(w);
    c->store = NULL;
}

void store_say(struct store_job *j, const char *text)
{
    struct buf line;
    buf_init(&line, 4096);
    ollama_print_status(&line, text);
    if (!line.failed)
        store_job_say(j, &line, false);
    buf_release(&line);
}

/* ---- errors ---- */

static enum api_error_kind kind_of_failure(enum status s)
{
    switch (s) {
    case STATUS_NOT_FOUND:
        return API_ERROR_NO_MODEL;
    case STATUS_BAD_ARG: // not this store's to change
        return API_ERROR_FORBIDDEN;
    case STATUS_BAD_INPUT:
    case STATUS_BAD_FILE:
    case STATUS_LIMIT:
        return API_ERROR_INVALID;
    case STATUS_UNSUPPORTED:
        return API_ERROR_UNSUPPORTED;
    case STATUS_FULL:
        return API_ERROR_BUSY;
    default:
        return API_ERROR_INTERNAL;
    }
}

/* Where the store lies is nobody's business who asks from outside. */
static void hide_folders(char *text, const struct store *s)
{
    for (int i = 0; s && i < store_n_folder(s); i++) {
        const char *folder = store_folder(s, i);
        const size_t n = strlen(folder);
        for (char *at = text; n > 1 && (at = strstr(at, folder));) {
            char *rest = at + n + (at[n] == '/');
            if (at[n] != '/') // the folder itself
                for (int dot = 0; dot < 3 && at < rest; dot++)
                    *at++ = '.';
            memmove(at, rest, strlen(rest) + 1);
        }
    }
}

void store_call_api_error(struct api_error *e, const struct server *s,
                          const struct error *err)
{
    static const char line[] = "(line 0): "; // there was no Modelfile
    char text[sizeof err->text];
    memcpy(text, err->text, sizeof text);
    hide_folders(text, s->o.store);
    const char *at = strncmp(text, line, sizeof line - 1) ? text : text + sizeof line - 1;
    *e = (struct api_error){.kind = kind_of_failure(err->status)};
    (void)!api_fail(e, err->status, e->kind, NULL, "%s", at);
    if (atomic_load(&s->draining) && err->status == STATUS_IO)
        (void)!api_fail(e, err->status, API_ERROR_DRAINING, NULL,
                        "the server is about to end; what came is kept");
}

void store_call_fail(struct call *c, const struct error *err)
{
    struct api_error e;
    store_call_api_error(&e, c->server, err);
    call_error(c, &e);
}

/* ---- the job ---- */

bool store_call_start(struct call *c, const struct store_task *t)
{
    struct error err;
    if (!store_jobs_start(c->server->jobs, &c->store->watch, t, c->x, &err))
        return true;
    store_call_fail(c, &err);
    return false;
}

static void end_watch(struct call *c)
{
    store_watch_close(c->store->watch); // before the exchange may go
    c->store->watch = NULL;
}

static void begin_lines(struct call *c)
{
    c->began = true;
    call_add_headers(c);
    http_add_header(c->x, "Cache-Control", "no-cache");
    http_add_header(c->x, "X-Accel-Buffering", "no");
    http_stream_begin(c->x, 200, "application/x-ndjson");
}

static void flush_lines(struct call *c)
{
    http_stream_write(c->x, c->store->lines.data, c->store->lines.len);
    buf_clear(&c->store->lines);
}

static void end_with_error(struct call *c, const struct api_error *e)
{
    struct buf *lines = &c->store->lines;
    end_watch(c);
    if (!c->began) {
        call_error(c, e);
        return;
    }
    ollama_print_error_body(lines, e);
    buf_puts(lines, "\n");
    flush_lines(c);
    metrics_rejected(&c->server->metrics, e->kind);
    call_account(c, e->kind == API_ERROR_CANCELLED ? api_error_http(e->kind) : 200);
    http_stream_end(c->x);
}

static void end_well(struct call *c)
{
    struct store_call *w = c->store;
    end_watch(c);
    if (!w->stream) {
        struct buf last;
        buf_init(&last, LINES_BYTES);
        if (w->has_lines)
            ollama_print_status(&last, "success");
        call_reply(c, 200, w->has_lines ? "application/json" : NULL, &last);
        buf_release(&last);
        return;
    }
    if (!c->began)
        begin_lines(c);
    flush_lines(c);
    call_account(c, 200);
    http_stream_end(c->x);
}

static bool has_two_lines(const struct buf *lines)
{
    const char *end = lines->len ? memchr(lines->data, '\n', lines->len) : NULL;
    return end && end + 1 < lines->data + lines->len;
}

/* The server's time is up, or nobody listens. */
static bool end_early(struct call *c)
{
    struct api_error e;
    const bool gone = http_is_gone(c->x);
    if (!gone && !atomic_load(&c->server->ended))
        return false;
    if (gone)
        (void)!api_fail(&e, STATUS_IO, API_ERROR_CANCELLED, NULL, "the client is gone");
    else
        (void)!api_fail(&e, STATUS_IO, API_ERROR_DRAINING, NULL,
                        "the server is about to end");
    end_with_error(c, &e);
    return true;
}

void store_call_step(struct call *c)
{
    struct store_call *w = c->store;
    struct error err;
    struct api_error e;
    if (end_early(c))
        return;
    if (c->began && !http_stream_has_room(c->x))
        return;
    const bool over = store_watch_take(w->watch, &w->lines, &err);
    if (!w->stream)
        buf_clear(&w->lines);
    if (over && err.status) {
        store_call_api_error(&e, c->server, &err);
        end_with_error(c, &e);
        return;
    }
    if (over) {
        end_well(c);
        return;
    }
    if (!w->stream || !w->lines.len)
        return;
    if (!c->began && !has_two_lines(&w->lines) && clock_us() < w->hold_us) {
        http_wake_at(c->x, w->hold_us);
        return;
    }
    if (!c->began)
        begin_lines(c);
    flush_lines(c);
}
