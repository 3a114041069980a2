/* exchange.c - a request, and the reply that workers write and the I/O thread sends. */
#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

struct http_exchange *http_exchange_open(struct http_conn *c, const char *method,
                                         const char *path)
{
    struct http_server *s = c->server;
    struct http_exchange *x = mem_array(1, sizeof *x);
    if (!x)
        return NULL;
    x->method = mem_strdup(method);
    x->path = mem_strdup(path);
    if (!x->method || !x->path || pthread_mutex_init(&x->lock, NULL)) {
        mem_free(x->method);
        mem_free(x->path);
        mem_free(x);
        return NULL;
    }
    x->server = s;
    x->mhd = c->mhd;
    x->conn = c;
    x->start_us = clock_us();
    x->refs = 1;
    memcpy(x->local, c->local, sizeof x->local);
    memcpy(x->peer, c->peer, sizeof x->peer);
    buf_init(&x->body, s->o.limits.body_bytes);
    buf_init(&x->out, HTTP_STREAM_MAX);
    atomic_init(&x->gone, c->closed);
    pthread_mutex_lock(&s->lock);
    x->next = s->exchanges;
    if (x->next)
        x->next->prev = x;
    s->exchanges = x;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->n_active, 1);
    return x;
}

static void free_fields(struct http_added *list, int n)
{
    for (int i = 0; i < n; i++) {
        mem_free(list[i].name);
        mem_free(list[i].value);
    }
}

static void exchange_free(struct http_exchange *x)
{
    atomic_fetch_sub(&x->server->n_body, x->n_held);
    free_fields(x->added, x->n_added);
    free_fields(x->headers, x->n_headers);
    mem_free(x->headers);
    pthread_mutex_destroy(&x->lock);
    buf_release(&x->body);
    buf_release(&x->out);
    mem_free(x->method);
    mem_free(x->path);
    mem_free(x);
}

void http_exchange_drop(struct http_exchange *x)
{
    struct http_server *s = x->server;
    pthread_mutex_lock(&s->lock);
    const bool last = --x->refs == 0;
    if (last) {
        if (x->next)
            x->next->prev = x->prev;
        if (x->prev)
            x->prev->next = x->next;
        else
            s->exchanges = x->next;
    }
    pthread_mutex_unlock(&s->lock);
    if (!last)
        return;
    s->o.release(s->o.ctx, x);
    exchange_free(x);
    atomic_fetch_sub(&s->n_active, 1);
}

void http_exchange_ready(struct http_exchange *x)
{
    struct http_server *s = x->server;
    pthread_mutex_lock(&s->lock);
    const bool push = !x->in_ready;
    if (push) {
        x->in_ready = true;
        x->refs++;
        x->ready_next = s->ready;
        s->ready = x;
    }
    pthread_mutex_unlock(&s->lock);
    if (push)
        http_server_signal(s);
}

void http_exchange_gone(struct http_exchange *x)
{
    if (!atomic_exchange(&x->gone, true))
        http_wake(x);
}

void http_exchange_suspend(struct http_exchange *x)
{
    x->suspended = true;
    x->suspended_us = clock_us();
    MHD_suspend_connection(x->mhd);
}

void http_exchange_resume(struct http_exchange *x)
{
    if (!x->suspended || !x->conn)
        return;
    x->suspended = false;
    x->conn->progress_us = clock_us();
    if (x->conn->state == CONN_BODY) // it was not the client who was slow
        x->conn->since_us += x->conn->progress_us - x->suspended_us;
    MHD_resume_connection(x->mhd);
}

/* ---- the request ---- */

const char *http_method(const struct http_exchange *x)
{
    return x->method;
}

const char *http_path(const struct http_exchange *x)
{
    return x->path;
}

const char *http_header(const struct http_exchange *x, const char *name)
{
    if (!x->body_streams)
        return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
    for (int i = 0; i < x->n_headers; i++)
        if (x->headers[i].name && !strcasecmp(x->headers[i].name, name))
            return x->headers[i].value;
    return NULL;
}

const char *http_query(const struct http_exchange *x, const char *name)
{
    return x->body_streams
               ? NULL
               : MHD_lookup_connection_value(x->mhd, MHD_GET_ARGUMENT_KIND, name);
}

char *http_body(struct http_exchange *x, size_t *n)
{
    *n = x->body.len;
    return x->body.data;
}

static enum MHD_Result copy_header(void *ctx, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    struct http_exchange *x = ctx;
    (void)kind;
    x->headers[x->n_headers++] =
        (struct http_added){mem_strdup(name), mem_strdup(value ? value : "")};
    return MHD_YES;
}

bool http_body_stream(struct http_exchange *x)
{
    const int n = MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, NULL, NULL);
    x->headers = mem_array((size_t)n + 1, sizeof *x->headers);
    if (!x->headers)
        return false;
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, copy_header, x);
    x->body_streams = true;
    return true;
}

enum http_body http_body_read(struct http_exchange *x, struct buf *piece)
{
    enum http_body state = HTTP_BODY_WAIT;
    bool ready = false;
    buf_clear(piece);
    pthread_mutex_lock(&x->lock);
    if (atomic_load(&x->gone)) {
        state = HTTP_BODY_CUT;
    } else if (x->body.len) {
        const struct buf taken = x->body;
        x->body = *piece;
        x->body.max = taken.max;
        *piece = taken;
        state = HTTP_BODY_PIECE;
    } else if (x->body_end) {
        state = HTTP_BODY_END;
    }
    ready = !x->body_wanted || (x->body_full && state == HTTP_BODY_PIECE);
    x->body_wanted = true;
    if (state == HTTP_BODY_PIECE)
        x->body_full = false;
    pthread_mutex_unlock(&x->lock);
    if (ready)
        http_exchange_ready(x);
    return state;
}

const char *http_local(const struct http_exchange *x)
{
    return x->local;
}

const char *http_peer(const struct http_exchange *x)
{
    return x->peer;
}

uint64_t http_start_us(const struct http_exchange *x)
{
    return x->start_us;
}

uint64_t http_content_length(const struct http_exchange *x)
{
    const char *text = http_header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return text ? strtoull(text, NULL, 10) : 0;
}

void http_set_data(struct http_exchange *x, void *data)
{
    x->data = data;
}

void *http_data(const struct http_exchange *x)
{
    return x->data;
}

bool http_is_gone(const struct http_exchange *x)
{
    return atomic_load(&x->gone);
}

/* ---- the reply ---- */

void http_add_header(struct http_exchange *x, const char *name, const char *value)
{
    pthread_mutex_lock(&x->lock);
    struct http_added *a = &x->added[x->n_added];
    if (x->n_added < HTTP_HEADERS_MAX && !x->begun) {
        *a = (struct http_added){mem_strdup(name), mem_strdup(value)};
        x->n_added++;
    }
    pthread_mutex_unlock(&x->lock);
}

static void begin_reply(struct http_exchange *x, int status, const char *content_type)
{
    x->begun = true;
    x->status = status;
    snprintf(x->content_type, sizeof x->content_type, "%s",
             content_type ? content_type : "");
}

void http_reply(struct http_exchange *x, int status, const char *content_type,
                struct buf *body)
{
    pthread_mutex_lock(&x->lock);
    begin_reply(x, status, content_type);
    if (body) {
        buf_release(&x->out);
        x->out = *body;
        buf_init(body, body->max);
    }
    x->answered = x->ended = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

void http_reply_static(struct http_exchange *x, int status, const char *content_type,
                       const void *body, size_t n)
{
    pthread_mutex_lock(&x->lock);
    begin_reply(x, status, content_type);
    x->fixed = body;
    x->fixed_bytes = n;
    x->answered = x->ended = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

void http_stream_begin(struct http_exchange *x, int status, const char *content_type)
{
    pthread_mutex_lock(&x->lock);
    begin_reply(x, status, content_type);
    x->streams = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

bool http_stream_has_room(struct http_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    const bool room = x->out.len - x->out_sent < HTTP_STREAM_ROOM;
    x->wants_room = !room;
    pthread_mutex_unlock(&x->lock);
    return room;
}

void http_stream_write(struct http_exchange *x, const void *p, size_t n)
{
    if (!n)
        return;
    pthread_mutex_lock(&x->lock);
    if (x->out_sent == x->out.len) {
        buf_clear(&x->out);
        x->out_sent = 0;
    } else if (x->out_sent > HTTP_STREAM_ROOM) {
        memmove(x->out.data, x->out.data + x->out_sent, x->out.len - x->out_sent);
        x->out.len -= x->out_sent;
        x->out_sent = 0;
    }
    if (!buf_append(&x->out, p, n))
        x->broken = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

void http_stream_end(struct http_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->answered = x->ended = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

void http_stream_break(struct http_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    x->broken = x->answered = x->ended = true;
    pthread_mutex_unlock(&x->lock);
    http_exchange_ready(x);
}

/* libmicrohttpd asks for bytes: it has sent all that it got before. */
static ssize_t read_reply(void *ctx, uint64_t pos, char *dst, size_t max)
{
    struct http_exchange *x = ctx;
    bool wake = false;
    ssize_t n;
    (void)pos;
    pthread_mutex_lock(&x->lock);
    const char *all = x->fixed ? x->fixed : x->out.data;
    const size_t left = (x->fixed ? x->fixed_bytes : x->out.len) - x->out_sent;
    if (x->broken || (atomic_load(&x->gone) && x->streams)) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left) {
        const size_t take = left < max ? left : max;
        memcpy(dst, all + x->out_sent, take);
        x->out_sent += take;
        n = (ssize_t)take;
        wake = x->wants_room && left - take < HTTP_STREAM_ROOM / 2;
        if (wake)
            x->wants_room = false;
    } else if (x->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        n = 0;
    }
    pthread_mutex_unlock(&x->lock);
    if (x->conn)
        x->conn->progress_us = clock_us();
    if (n == 0 && x->conn)
        http_exchange_suspend(x);
    if (wake)
        http_wake(x);
    return n;
}

enum MHD_Result http_exchange_send(struct http_exchange *x)
{
    const uint64_t size = x->streams ? MHD_SIZE_UNKNOWN
                          : x->fixed ? x->fixed_bytes
                                     : x->out.len;
    struct MHD_Response *r =
        MHD_create_response_from_callback(size, HTTP_BLOCK_BYTES, read_reply, x, NULL);
    if (!r)
        return MHD_NO;
    enum MHD_Result ok = MHD_YES;
    if (atomic_load(&x->server->n_conn) > x->server->o.limits.n_keep)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
    if (*x->content_type && ok == MHD_YES)
        ok = MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, x->content_type);
    for (int i = 0; i < x->n_added && ok == MHD_YES; i++)
        if (x->added[i].name && x->added[i].value)
            ok = MHD_add_response_header(r, x->added[i].name, x->added[i].value);
    if (ok == MHD_YES)
        ok = MHD_queue_response(x->mhd, (unsigned)x->status, r);
    MHD_destroy_response(r);
    x->queued = ok == MHD_YES;
    http_conn_enter(x->conn, CONN_WRITE);
    return ok;
}
