#include "http/client.h"

#include <curl/curl.h>
#include <stdio.h>

static size_t take_body(char *data, size_t size, size_t n, void *ctx)
{
    return buf_append(ctx, data, size * n) ? size * n : 0;
}

static enum status perform(CURL *curl, const struct http_call *c, int *http_status,
                           struct buf *body, struct error *err)
{
    char why[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_URL, c->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    if (c->key) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BEARER);
        curl_easy_setopt(curl, CURLOPT_XOAUTH2_BEARER, c->key);
    }
    const CURLcode rc = curl_easy_perform(curl);
    if (body->failed)
        return fail(err, STATUS_LIMIT, "%s: the answer has more than %zu bytes", c->url,
                    body->max);
    if (rc != CURLE_OK)
        return fail(err, STATUS_IO, "%s: %s", c->url,
                    why[0] ? why : curl_easy_strerror(rc));
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    *http_status = (int)code;
    return STATUS_OK;
}

enum status http_call(const struct http_call *c, int *http_status, struct buf *body,
                      struct error *err)
{
    CURL *curl = curl_easy_init();
    if (!curl)
        return fail(err, STATUS_NO_MEMORY, "no memory for a request");
    const enum status s = perform(curl, c, http_status, body, err);
    curl_easy_cleanup(curl);
    return s;
}
