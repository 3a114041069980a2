/* callbacks.c - what libmicrohttpd calls: connections, headers, bodies, ends. */
#include "http/internal.h"

#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/mem.h"

static struct http_conn *conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *i =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return i ? i->socket_context : NULL;
}

static struct http_conn *conn_open(struct http_server *s, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *fd =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_conn *c = mem_array(1, sizeof *c);
    if (!c || !fd) {
        mem_free(c);
        return NULL;
    }
    c->server = s;
    c->mhd = mhd;
    c->fd = fd->connect_fd;
    struct sockaddr_storage a;
    socklen_t n = sizeof a;
    if (!getsockname(c->fd, (struct sockaddr *)&a, &n))
        http_address_text(c->local, &a);
    n = sizeof a;
    if (!getpeername(c->fd, (struct sockaddr *)&a, &n))
        http_address_text(c->peer, &a);
    /* Suspended connections are not watched by libmicrohttpd. */
    struct epoll_event e = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = c};
    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, c->fd, &e);
    http_conn_enter(c, CONN_HEADERS);
    c->next = s->conns;
    if (c->next)
        c->next->prev = c;
    s->conns = c;
    atomic_fetch_add(&s->n_conn, 1);
    return c;
}

static void conn_close(struct http_conn *c)
{
    struct http_server *s = c->server;
    epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, c->fd, NULL);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    atomic_fetch_sub(&s->n_conn, 1);
    mem_free(c);
}

void http_on_connection(void *ctx, struct MHD_Connection *mhd, void **slot,
                        enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        *slot = conn_open(ctx, mhd);
    } else if (*slot) {
        conn_close(*slot);
        *slot = NULL;
    }
}

void *http_on_url(void *ctx, const char *url, struct MHD_Connection *mhd)
{
    struct http_conn *c = conn_of(mhd);
    (void)ctx;
    if (c) {
        c->url_bytes = strlen(url);
        /* What a decoded 0 would hide, and lines that would end a header or a log. */
        c->bad_url = strstr(url, "%00") || strstr(url, "%0a") || strstr(url, "%0A") ||
                     strstr(url, "%0d") || strstr(url, "%0D");
        http_conn_enter(c, CONN_HEADERS);
    }
    return NULL;
}

struct header_count {
    size_t bytes;
    int n, n_length, n_coding, n_host;
};

static enum MHD_Result count_header(void *ctx, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct header_count *h = ctx;
    (void)kind;
    h->n++;
    h->bytes += strlen(key) + (value ? strlen(value) : 0) + 4;
    h->n_length += !strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH);
    h->n_coding += !strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    h->n_host += !strcasecmp(key, MHD_HTTP_HEADER_HOST);
    return MHD_YES;
}

static bool refuse_request(struct http_exchange *x, int status, const char *why)
{
    http_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
    http_reply_static(x, status, "text/plain; charset=utf-8", why, strlen(why));
    return false;
}

/* What is wrong with a request whatever it asks for. */
static bool check_headers(struct http_exchange *x)
{
    const struct http_limits *l = &x->server->o.limits;
    struct header_count h = {0};
    MHD_get_connection_values(x->mhd, MHD_HEADER_KIND, count_header, &h);
    if (x->conn->url_bytes > l->url_bytes)
        return refuse_request(x, MHD_HTTP_URI_TOO_LONG, "the URL is too long\n");
    if (h.n > l->n_header || h.bytes > l->header_bytes)
        return refuse_request(x, MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
                              "too many headers, or too long ones\n");
    if (x->conn->bad_url)
        return refuse_request(x, MHD_HTTP_BAD_REQUEST,
                              "a control character in the URL\n");
    if (h.n_length > 1 || (h.n_length && h.n_coding) || h.n_coding > 1)
        return refuse_request(x, MHD_HTTP_BAD_REQUEST,
                              "Content-Length or Transfer-Encoding more than once\n");
    if (h.n_host > 1)
        return refuse_request(x, MHD_HTTP_BAD_REQUEST, "more than one Host\n");
    return true;
}

/* The work begins; the connection waits for it. */
static void start_steps(struct http_exchange *x)
{
    struct http_server *s = x->server;
    http_conn_enter(x->conn, CONN_WORK);
    http_exchange_suspend(x);
    pthread_mutex_lock(&s->lock);
    x->refs++; // of the steps
    http_workers_push(x);
    pthread_mutex_unlock(&s->lock);
}

/* An answer before the body ends the connection, which costs a client that is still
 * sending the answer: small bodies are read for nothing. */
static enum MHD_Result reply_before_body(struct http_exchange *x)
{
    if (http_content_length(x) > HTTP_DISCARD_BYTES ||
        http_header(x, MHD_HTTP_HEADER_EXPECT)) {
        http_add_header(x, MHD_HTTP_HEADER_CONNECTION, "close");
        return http_exchange_send(x);
    }
    http_conn_enter(x->conn, CONN_BODY);
    return MHD_YES;
}

static enum MHD_Result request_begins(struct http_server *s, struct http_conn *c,
                                      const char *method, const char *url, void **slot)
{
    struct http_exchange *x = http_exchange_open(c, method, url);
    if (!x)
        return MHD_NO;
    *slot = c->exchange = x;
    if (!check_headers(x)) {
        x->refused = true;
        return http_exchange_send(x);
    }
    x->refused = !s->o.admit(s->o.ctx, x);
    if (x->refused)
        return reply_before_body(x);
    if (x->body_streams) {
        start_steps(x);
        return MHD_YES;
    }
    if (atomic_load(&s->n_body) + http_content_length(x) > s->o.limits.all_bodies) {
        x->refused = true;
        s->o.no_room(s->o.ctx, x, HTTP_BODIES_TOO_MANY);
        return reply_before_body(x);
    }
    http_conn_enter(c, CONN_BODY);
    return MHD_YES;
}

/* A streamed body of which nothing was read, looked at again. */
static enum MHD_Result body_begins(struct http_exchange *x, bool replied)
{
    pthread_mutex_lock(&x->lock);
    const bool wanted = x->body_wanted;
    pthread_mutex_unlock(&x->lock);
    if (replied) {
        x->refused = x->body_begun = true;
        return reply_before_body(x);
    }
    if (!wanted) { // resumed for nothing
        http_exchange_suspend(x);
        return MHD_YES;
    }
    x->body_begun = true;
    http_conn_enter(x->conn, CONN_BODY);
    return MHD_YES;
}

/* Leaves in *n what there is no room for: then the connection waits. */
static bool stream_piece(struct http_exchange *x, const char *p, size_t *n)
{
    bool ok = true;
    pthread_mutex_lock(&x->lock);
    if (x->begun) { // answered: nobody wants the rest
        *n = 0;
        pthread_mutex_unlock(&x->lock);
        return true;
    }
    const size_t room = HTTP_PIECE_BYTES - x->body.len;
    const size_t take = *n < room ? *n : room;
    ok = !take || buf_append(&x->body, p, take);
    x->body_full = take < *n;
    *n -= take;
    pthread_mutex_unlock(&x->lock);
    if (!ok)
        return false;
    x->conn->received += take;
    if (*n)
        http_exchange_suspend(x);
    http_wake(x);
    return true;
}

static bool hold_piece(struct http_exchange *x, const char *p, size_t n,
                       enum http_no_room *why)
{
    struct http_server *s = x->server;
    const size_t before = atomic_fetch_add(&s->n_body, n);
    x->n_held += n;
    *why = n > x->body.max - x->body.len         ? HTTP_BODY_TOO_LARGE
           : before + n > s->o.limits.all_bodies ? HTTP_BODIES_TOO_MANY
                                                 : HTTP_BODY_NO_MEMORY;
    return *why == HTTP_BODY_NO_MEMORY && buf_append(&x->body, p, n);
}

static enum MHD_Result body_piece(struct http_exchange *x, const char *p, size_t *n)
{
    enum http_no_room why;
    x->conn->progress_us = clock_us();
    if (x->body_streams && !x->refused)
        return stream_piece(x, p, n) ? MHD_YES : MHD_NO;
    x->conn->received += *n;
    if (x->refused) {
        x->discarded += *n;
    } else if (!hold_piece(x, p, *n, &why)) {
        /* Too large without a length: admit saw the others. */
        x->refused = true;
        buf_release(&x->body);
        atomic_fetch_sub(&x->server->n_body, x->n_held);
        x->n_held = 0;
        x->server->o.no_room(x->server->o.ctx, x, why);
    }
    if (x->discarded > HTTP_DISCARD_BYTES)
        return MHD_NO;
    *n = 0;
    return MHD_YES;
}

static enum MHD_Result request_is_there(struct http_exchange *x)
{
    x->complete = true;
    if (!x->body_streams) {
        start_steps(x);
        return MHD_YES;
    }
    http_conn_enter(x->conn, CONN_WORK);
    http_exchange_suspend(x);
    pthread_mutex_lock(&x->lock);
    x->body_end = true;
    pthread_mutex_unlock(&x->lock);
    http_wake(x);
    return MHD_YES;
}

enum MHD_Result http_on_request(void *ctx, struct MHD_Connection *mhd, const char *url,
                                const char *method, const char *version,
                                const char *upload, size_t *n_upload, void **slot)
{
    struct http_exchange *x = *slot;
    (void)version;
    if (!x) {
        struct http_conn *c = conn_of(mhd);
        return c ? request_begins(ctx, c, method, url, slot) : MHD_NO;
    }
    if (*n_upload)
        return body_piece(x, upload, n_upload);
    if (x->queued)
        return MHD_YES;
    pthread_mutex_lock(&x->lock);
    const bool begun = x->begun;
    pthread_mutex_unlock(&x->lock);
    if (x->body_streams && !x->body_begun)
        return body_begins(x, begun);
    if (begun)
        return http_exchange_send(x);
    if (x->complete) { // resumed for nothing
        http_exchange_suspend(x);
        return MHD_YES;
    }
    return request_is_there(x);
}

void http_on_completed(void *ctx, struct MHD_Connection *mhd, void **slot,
                       enum MHD_RequestTerminationCode code)
{
    struct http_exchange *x = *slot;
    (void)ctx;
    (void)mhd;
    if (!x)
        return;
    *slot = NULL;
    http_conn_enter(x->conn, CONN_IDLE);
    x->conn->exchange = NULL;
    x->conn = NULL;
    if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        http_exchange_gone(x);
    http_exchange_drop(x);
}
