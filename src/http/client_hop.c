/* client_hop.c - one GET of a session: options of libcurl, headers, what to do about
 * failures. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "http/client_fields.h"
#include "http/client_impl.h"

enum { CONNECT_MS = 20000, SLOW_BYTES = 1024, WAIT_SLICE_MS = 100 };

/* Fields of the last header only: after 100 and from some proxies one more comes. */
static size_t take_field(char *data, size_t size, size_t n, void *ctx)
{
    struct buf *fields = ctx;
    const size_t taken = n *= size;
    if (n >= 5 && !memcmp(data, "HTTP/", 5))
        buf_clear(fields);
    while (n && (data[n - 1] == '\n' || data[n - 1] == '\r'))
        n--;
    if (memchr(data, 0, n))
        return 0;
    if (n && !(buf_append(fields, data, n) && buf_append(fields, "\n", 1)))
        return 0;
    return taken;
}

static bool add_header(struct http_hop *h, const char *name, const char *value)
{
    char line[HTTP_TOKEN_BYTES + 64];
    const int n = snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *more =
        (size_t)n < sizeof line ? curl_slist_append(h->headers, line) : NULL;
    if (more)
        h->headers = more;
    return more;
}

static bool add_headers(struct http_session *s, struct http_hop *h)
{
    bool ok = add_header(h, "Accept", h->accept ? h->accept : "*/*");
    if (h->range && h->if_range && *h->if_range)
        ok &= add_header(h, "If-Range", h->if_range);
    for (int i = 0; i < s->n_credential; i++) {
        char bearer[HTTP_TOKEN_BYTES + 16];
        if (!http_url_same_origin(&s->credentials[i].origin, h->url))
            continue;
        snprintf(bearer, sizeof bearer, "Bearer %s", s->credentials[i].token);
        ok &= add_header(h, "Authorization", bearer);
    }
    return ok;
}

enum status http_hop_prepare(struct http_session *s, CURL *curl, struct http_hop *h,
                             struct error *err)
{
    enum status checked = http_url_check(h->url, s->policy.insecure, err);
    if (!checked && s->policy.public_only && http_host_is_private(h->url->host))
        checked = http_private_fail(h->url, err);
    s->refused_address = false;
    h->headers = NULL;
    h->why[0] = 0;
    if (checked)
        return checked;
    if (!add_headers(s, h)) {
        curl_slist_free_all(h->headers);
        h->headers = NULL;
        return fail(err, STATUS_NO_MEMORY, "no memory for a request");
    }
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, h->url->text);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "turbine");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)s->policy.stall_s);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, h->why);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, h->headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_field);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, h->fields);
    curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, http_open_socket);
    if (s->policy.public_only && !s->policy.proxied) {
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, http_open_public);
        curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, s);
    }
    if (h->range)
        curl_easy_setopt(curl, CURLOPT_RANGE, h->range);
    return STATUS_OK;
}

/* A handshake that broke off, rather than one that the two do not agree on: that has an
 * error of the TLS library. */
static bool is_broken_off(const char *why)
{
    return !strstr(why, "error:") && !strstr(why, "unexpected TLS packet") &&
           !strstr(why, "alert");
}

/* What a server of plain HTTP answers to a handshake, as OpenSSL and GnuTLS say it. */
static bool is_plain(const char *why)
{
    return strstr(why, "wrong version number") || strstr(why, "unexpected TLS packet") ||
           strstr(why, "http request") || strstr(why, "packet length too long");
}

void http_hop_explain(struct http_hop *h, CURLcode rc)
{
    if (!h->why[0])
        snprintf(h->why, sizeof h->why, "%s", curl_easy_strerror(rc));
    if (rc == CURLE_SSL_CONNECT_ERROR && is_plain(h->why))
        snprintf(h->why, sizeof h->why,
                 "the server speaks no TLS; if it is one of plain HTTP, name it "
                 "http://%.60s:%d and say --insecure",
                 h->url->host, h->url->port);
}

bool http_hop_is_passing(const struct http_hop *h, CURLcode rc, long status)
{
    switch (rc) {
    case CURLE_OK:
        return status == 408 || status == 429 || (status >= 500 && status <= 599);
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return true;
    case CURLE_SSL_CONNECT_ERROR:
        return is_broken_off(h->why);
    default:
        return false;
    }
}

int http_backoff_ms(int failures, uint64_t retry_after_s)
{
    enum { FIRST = 250, MOST = 30000, ASKED_MOST_S = 60 };
    int ms = FIRST;
    for (int i = 1; i < failures && ms < MOST; i++)
        ms *= 2;
    ms = ms > MOST ? MOST : ms;
    // Clients that failed together do not come back together.
    ms += (int)(clock_us() % (uint64_t)(ms / 2 + 1)) - ms / 4;
    const uint64_t asked = retry_after_s < ASKED_MOST_S ? retry_after_s : ASKED_MOST_S;
    return asked * 1000 > (uint64_t)ms ? (int)asked * 1000 : ms;
}

uint64_t http_retry_after(const struct buf *fields)
{
    char text[32];
    uint64_t seconds;
    return fields->data &&
                   http_field(text, sizeof text, fields->data, "Retry-After", 0) &&
                   http_number_parse(&seconds, text)
               ? seconds
               : 0;
}

bool http_session_stopped(const struct http_session *s)
{
    return s->policy.stopped && s->policy.stopped(s->policy.ctx);
}

void http_session_note(const struct http_session *s, const char *fmt, ...)
{
    char text[800];
    va_list ap;
    if (!s->policy.note)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->policy.note(s->policy.ctx, text);
}

enum status http_session_wait(const struct http_session *s, int ms, struct error *err)
{
    const uint64_t end = clock_us() + (uint64_t)ms * 1000;
    const struct timespec slice = {0, WAIT_SLICE_MS * 1000000L};
    do {
        if (http_session_stopped(s))
            return fail(err, STATUS_IO, "stopped");
        nanosleep(&slice, NULL);
    } while (clock_us() < end);
    return STATUS_OK;
}
