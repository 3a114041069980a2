#include "http/client.h"

#include <curl/curl.h>
#include <stdio.h>

#include "http/client_url.h"

enum { STOP_POLL_MS = 100, CONNECT_MS = 10000 };

struct transfer {
    const struct http_call *call;
    CURL *curl;
    struct buf *body;
    bool refused; // by take
};

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    struct transfer *t = ctx;
    long code = 0;
    n *= size;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    if (!t->call->take || code != 200)
        return buf_append(t->body, data, n) ? n : 0;
    t->refused = !t->call->take(t->call->ctx, data, n);
    return t->refused ? 0 : n;
}

static void set_options(struct transfer *t, char why[CURL_ERROR_SIZE],
                        struct curl_slist *headers)
{
    const struct http_call *c = t->call;
    struct http_url url;
    curl_easy_setopt(t->curl, CURLOPT_URL, c->url);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS,
                     (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (!http_url_parse(&url, c->url, NULL) && http_url_is_loopback(&url))
        curl_easy_setopt(t->curl, CURLOPT_PROXY, "");
    if (c->json) {
        curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, c->json);
        curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, headers);
    }
    curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, c->method);
    curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(t->curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
    if (c->key) {
        curl_easy_setopt(t->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(t->curl, CURLOPT_XOAUTH2_BEARER, c->key);
    }
}

/* libcurl's own loop asks its callbacks once a second while a server is silent: too
 * seldom for a person who wants it to stop. */
static CURLcode transfer(struct transfer *t, CURLM *multi, bool *stopped)
{
    int n_running = 1, n_left;
    CURLMcode rc = curl_multi_add_handle(multi, t->curl);
    while (!rc && n_running && !*stopped) {
        rc = curl_multi_perform(multi, &n_running);
        if (!rc && n_running)
            rc = curl_multi_poll(multi, NULL, 0, STOP_POLL_MS, NULL);
        *stopped = t->call->stopped && t->call->stopped(t->call->ctx);
    }
    const CURLMsg *m = rc ? NULL : curl_multi_info_read(multi, &n_left);
    const CURLcode code = m && m->msg == CURLMSG_DONE ? m->data.result
                          : rc                        ? CURLE_FAILED_INIT
                                                      : CURLE_ABORTED_BY_CALLBACK;
    curl_multi_remove_handle(multi, t->curl);
    return code;
}

static enum status perform(struct transfer *t, CURLM *multi, int *http_status,
                           struct curl_slist *headers, struct error *err)
{
    const struct http_call *c = t->call;
    char why[CURL_ERROR_SIZE] = "";
    bool stopped = false;
    long code = 0;
    set_options(t, why, headers);
    const CURLcode rc = transfer(t, multi, &stopped);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
    *http_status = (int)code;
    if (t->body->failed)
        return fail(err, STATUS_LIMIT, "%s: the answer has more than %zu bytes", c->url,
                    t->body->max);
    if (stopped || t->refused)
        return fail(err, STATUS_IO, "%s: stopped", c->url);
    if (rc != CURLE_OK)
        return fail(err, STATUS_IO, "%s: %s", c->url,
                    why[0] ? why : curl_easy_strerror(rc));
    return STATUS_OK;
}

enum status http_call(const struct http_call *c, int *http_status, struct buf *body,
                      struct error *err)
{
    struct transfer t = {.call = c, .curl = curl_easy_init(), .body = body};
    CURLM *multi = curl_multi_init();
    struct curl_slist *headers = NULL;
    enum status s;
    *http_status = 0;
    if (c->json)
        headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!t.curl || !multi || (c->json && !headers))
        s = fail(err, STATUS_NO_MEMORY, "no memory for a request");
    else
        s = perform(&t, multi, http_status, headers, err);
    curl_easy_cleanup(t.curl);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    return s;
}
