/* transfer.c - one transfer: options of libcurl, what it calls, what a reader takes. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "http/client_impl.h"
#include "http/transfer_impl.h"

enum {
    HEADER_BYTES = 64 << 10,
    BUFFER_BYTES = 64 << 10,
    KEPT_BYTES = 8 << 10,
    KEPT_S = 4,
    PIECE_BYTES = 16 << 10,
};

/* ---- what libcurl calls ---- */

static void add_news(struct http_transfer *t)
{
    // Once, until the reader looks: a burst wakes it once.
    if (!t->notify || t->told)
        return;
    t->told = true;
    if (t->has_news)
        return;
    t->has_news = true;
    t->news_next = t->owner->news;
    t->owner->news = t;
}

static size_t take_header(char *data, size_t size, size_t n, void *ctx)
{
    struct http_transfer *t = ctx;
    const size_t taken = n *= size;
    if (t->state.status) // a trailer
        return taken;
    t->progress_us = clock_us();
    if (n >= 5 && !memcmp(data, "HTTP/", 5))
        buf_clear(&t->fields); // behind a 100, or a proxy's own
    while (n && (data[n - 1] == '\n' || data[n - 1] == '\r'))
        n--;
    if (memchr(data, 0, n))
        return 0;
    if (n)
        return buf_append(&t->fields, data, n) && buf_append(&t->fields, "\n", 1) ? taken
                                                                                  : 0;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return taken;
    pthread_mutex_lock(&t->lock);
    t->state.status = (int)status;
    add_news(t);
    pthread_mutex_unlock(&t->lock);
    return taken;
}

static size_t take_piece(char *data, size_t size, size_t n, void *ctx)
{
    struct http_transfer *t = ctx;
    n *= size;
    pthread_mutex_lock(&t->lock);
    const size_t waiting = t->in.len - t->taken;
    if (waiting && waiting + n > t->max) {
        t->paused = true;
        pthread_mutex_unlock(&t->lock);
        return CURL_WRITEFUNC_PAUSE;
    }
    if (t->taken) {
        memmove(t->in.data, t->in.data + t->taken, waiting);
        t->in.len = waiting;
        t->taken = 0;
    }
    const bool ok = buf_append(&t->in, data, n);
    t->progress_us = clock_us();
    t->begun = true;
    add_news(t);
    pthread_mutex_unlock(&t->lock);
    return ok ? n : 0;
}

/* Before a request is sent.  libcurl sends it again, by itself, where a connection that
 * was kept closes unanswered: what has been sent may have been worked on, so whether that
 * is tried again is for who asked. */
static int may_send(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
    struct http_transfer *t = ctx;
    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    return t->sent++ && t->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

/* ---- the beginning ---- */

static bool add_field(struct http_transfer *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (more)
        t->headers = more;
    return more;
}

static void set_body(struct http_transfer *t, const struct http_transfer_options *o)
{
    if (!strcmp(o->method, "GET")) {
        curl_easy_setopt(t->curl, CURLOPT_HTTPGET, 1L);
        return;
    }
    t->once = true;
    curl_easy_setopt(t->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->n_body);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, o->body ? o->body : "");
    curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, o->method);
}

static bool set_transfer_options(struct http_transfer *t,
                                 const struct http_transfer_options *o)
{
    CURL *c = t->curl;
    bool ok = true;
    for (int i = 0; i < o->n_header; i++)
        ok &= add_field(t, o->headers[i]);
    ok &= add_field(t, "Expect:");                   // no waiting for 100
    ok &= add_field(t, "Accept-Encoding: identity"); // without, any would be right
    ok &= curl_easy_setopt(c, CURLOPT_URL, o->url) == CURLE_OK;
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    set_body(t, o);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    // "" and not NULL: variables of the environment do not apply.
    curl_easy_setopt(c, CURLOPT_PROXY, o->proxy ? o->proxy : "");
    if (o->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, o->ca_file);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_us / 1000));
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->why);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_piece);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, http_open_socket);
    curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, may_send);
    curl_easy_setopt(c, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)KEPT_S);
    return ok;
}

struct http_transfer *http_transfer_start(struct http_transfers *ts,
                                          const struct http_transfer_options *o)
{
    struct http_transfer *t = mem_array(1, sizeof *t);
    if (!t)
        return NULL;
    t->curl = curl_easy_init();
    t->max = o->buffer ? o->buffer : BUFFER_BYTES;
    t->first_us = o->first_us;
    t->idle_us = o->idle_us;
    t->notify = o->notify;
    t->ctx = o->ctx;
    t->owner = ts;
    t->start_us = t->progress_us = clock_us();
    buf_init(&t->fields, o->max_header ? o->max_header : HEADER_BYTES);
    buf_init(&t->in, t->max + CURL_MAX_WRITE_SIZE);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->told_it, NULL);
    if (!t->curl || !set_transfer_options(t, o)) {
        http_transfer_free(t);
        return NULL;
    }
    atomic_fetch_add(&ts->n_active, 1);
    http_transfer_ask(t, HTTP_ASK_START);
    return t;
}

void http_transfer_free(struct http_transfer *t)
{
    if (t->curl)
        curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->headers);
    buf_release(&t->fields);
    buf_release(&t->in);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->told_it);
    mem_free(t);
}

/* ---- the end ---- */

enum http_transfer_end http_transfer_classify(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_TRANSFER_DONE;
    case CURLE_URL_MALFORMAT:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT: // connect_us: the other times are ours
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_PROXY:
        return HTTP_TRANSFER_CONNECT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_ABORTED_BY_CALLBACK: // may_send
        return HTTP_TRANSFER_CUT;
    case CURLE_UNSUPPORTED_PROTOCOL: // an answer without a header
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
    case CURLE_WRITE_ERROR: // a header that is too large, or has a 0 in it
        return HTTP_TRANSFER_GARBAGE;
    default:
        return HTTP_TRANSFER_FAILED;
    }
}

void http_transfer_finish(struct http_transfer *t, enum http_transfer_end end,
                          const char *why)
{
    pthread_mutex_lock(&t->lock);
    if (!*t->why && why)
        snprintf(t->why, sizeof t->why, "%s", why);
    t->state.end = end;
    t->state.ended = true;
    add_news(t);
    pthread_mutex_unlock(&t->lock);
}

void http_transfer_close(struct http_transfer *t)
{
    if (!t)
        return;
    const bool own = http_transfers_is_host(t->owner);
    atomic_fetch_sub(&t->owner->n_active, 1);
    pthread_mutex_lock(&t->lock);
    t->notify = NULL;
    while (t->telling && !own)
        pthread_cond_wait(&t->told_it, &t->lock);
    const bool ended = t->state.ended;
    pthread_mutex_unlock(&t->lock);
    if (own)
        http_transfer_stop(t);
    http_transfer_ask(t, ended || own ? HTTP_ASK_FREE : HTTP_ASK_END);
}

/* ---- the reader ---- */

void http_transfer_see(struct http_transfer *t, struct http_transfer_state *out)
{
    pthread_mutex_lock(&t->lock);
    t->told = false;
    *out = t->state;
    out->n_waiting = t->in.len - t->taken;
    pthread_mutex_unlock(&t->lock);
}

size_t http_transfer_read(struct http_transfer *t, void *dst, size_t max)
{
    pthread_mutex_lock(&t->lock);
    const size_t waiting = t->in.len - t->taken;
    const size_t n = waiting < max ? waiting : max;
    if (n)
        memcpy(dst, t->in.data + t->taken, n);
    t->taken += n;
    if (n == waiting) {
        // What a burst needed is not kept for a stream that is quiet now.
        if (t->in.cap > KEPT_BYTES) {
            const size_t most = t->in.max;
            buf_release(&t->in);
            buf_init(&t->in, most);
        }
        buf_clear(&t->in);
        t->taken = 0;
    }
    const bool resume = t->paused && waiting - n < t->max / 2;
    if (resume)
        t->paused = false;
    pthread_mutex_unlock(&t->lock);
    if (resume)
        http_transfer_ask(t, HTTP_ASK_RESUME);
    return n;
}

bool http_transfer_collect(struct http_transfer *t, struct buf *body,
                           struct http_transfer_state *out)
{
    char piece[PIECE_BYTES];
    size_t n;
    // What a body does not take may come for ever.
    while (!body->failed && (n = http_transfer_read(t, piece, sizeof piece)))
        buf_append(body, piece, n);
    http_transfer_see(t, out);
    return body->failed || (out->ended && !out->n_waiting);
}

const char *http_transfer_fields(const struct http_transfer *t)
{
    return t->fields.data ? t->fields.data : "";
}

const char *http_transfer_why(const struct http_transfer *t)
{
    return t->why;
}
