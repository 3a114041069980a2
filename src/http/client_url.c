#include "http/client_url.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* out <- a part of the URL; false where it is missing or too long. */
static bool copy_part(CURLU *h, char *out, size_t n, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    if (curl_url_get(h, part, &text, flags) != CURLUE_OK)
        return false;
    const bool fits = strlen(text) < n;
    if (fits)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return fits;
}

static bool has_part(CURLU *h, CURLUPart part)
{
    char *text = NULL;
    const bool has = curl_url_get(h, part, &text, 0) == CURLUE_OK;
    curl_free(text);
    return has;
}

/* What libcurl understood becomes ours. */
static enum status take_url(struct http_url *u, CURLU *h, const char *text,
                            struct error *err)
{
    char scheme[16], port[16];
    if (!copy_part(h, scheme, sizeof scheme, CURLUPART_SCHEME, 0) ||
        (strcasecmp(scheme, "http") && strcasecmp(scheme, "https")))
        return fail(err, STATUS_BAD_INPUT, "%.200s: neither http:// nor https://", text);
    if (has_part(h, CURLUPART_USER) || has_part(h, CURLUPART_PASSWORD))
        return fail(err, STATUS_BAD_INPUT,
                    "a URL with a user name or password in it is not followed");
    if (curl_url_set(h, CURLUPART_FRAGMENT, NULL, 0) ||
        !copy_part(h, u->host, sizeof u->host, CURLUPART_HOST, 0) || !*u->host ||
        !copy_part(h, port, sizeof port, CURLUPART_PORT, CURLU_DEFAULT_PORT) ||
        !copy_part(h, u->text, sizeof u->text, CURLUPART_URL, 0))
        return fail(err, STATUS_BAD_INPUT, "%.200s: no URL, or one that is too long",
                    text);
    for (char *p = u->host; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    u->tls = !strcasecmp(scheme, "https");
    u->port = atoi(port);
    return STATUS_OK;
}

/* Spaces, controls and bytes that a header cannot have. */
static bool is_clean(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return false;
    return true;
}

static enum status read_url(struct http_url *u, const char *base, const char *text,
                            struct error *err)
{
    CURLU *h = curl_url();
    if (!h)
        return fail(err, STATUS_NO_MEMORY, "no memory for a URL");
    enum status s = STATUS_OK;
    if (!is_clean(text))
        s = fail(err, STATUS_BAD_INPUT, "a URL has a space or control character in it");
    else if ((base && curl_url_set(h, CURLUPART_URL, base, 0)) ||
             curl_url_set(h, CURLUPART_URL, text, 0))
        s = fail(err, STATUS_BAD_INPUT, "%.200s: no URL", text);
    else
        s = take_url(u, h, text, err);
    curl_url_cleanup(h);
    return s;
}

enum status http_url_parse(struct http_url *u, const char *text, struct error *err)
{
    return read_url(u, NULL, text, err);
}

bool http_url_is_loopback(const struct http_url *u)
{
    int a, b, c, d, end = 0;
    if (!strcmp(u->host, "localhost") || !strcmp(u->host, "[::1]"))
        return true;
    return sscanf(u->host, "%3d.%3d.%3d.%3d%n", &a, &b, &c, &d, &end) == 4 &&
           !u->host[end] && a == 127;
}

bool http_url_same_origin(const struct http_url *a, const struct http_url *b)
{
    return a->tls == b->tls && a->port == b->port && !strcmp(a->host, b->host);
}

void http_url_origin(char *out, size_t n, const struct http_url *u)
{
    char port[16] = "";
    if (u->port != (u->tls ? 443 : 80))
        snprintf(port, sizeof port, ":%d", u->port);
    snprintf(out, n, "%s://%s%s", u->tls ? "https" : "http", u->host, port);
}

int http_url_shown(const char *text)
{
    const size_t n = strcspn(text, "?");
    return n < 300 ? (int)n : 300;
}

enum status http_url_check(const struct http_url *u, bool insecure, struct error *err)
{
    if (u->tls || insecure || http_url_is_loopback(u))
        return STATUS_OK;
    return fail(err, STATUS_BAD_ARG,
                "http://%s would be asked without encryption: use https, or --insecure",
                u->host);
}

enum status http_url_redirect(struct http_url *to, const struct http_url *from,
                              const char *location, bool insecure, struct error *err)
{
    const enum status s = read_url(to, from->text, location, err);
    if (s)
        return s;
    const bool local = http_url_is_loopback(from);
    if (from->tls && !to->tls && !(local && http_url_is_loopback(to)))
        return fail(err, STATUS_BAD_INPUT,
                    "https://%s redirects to http://%s: refused, it is not encrypted",
                    from->host, to->host);
    if (!local && http_url_is_loopback(to))
        return fail(err, STATUS_BAD_INPUT, "%s redirects to this machine (%s): refused",
                    from->host, to->host);
    return http_url_check(to, insecure, err);
}

bool http_url_add(struct http_url *u, const char *name, const char *value)
{
    static const char kept[] = "-._~";
    size_t n = strlen(u->text);
    const int head = snprintf(u->text + n, sizeof u->text - n,
                              "%c%s=", strchr(u->text, '?') ? '&' : '?', name);
    n += (size_t)head;
    for (; *value && n + 4 < sizeof u->text; value++) {
        const unsigned char c = (unsigned char)*value;
        if (isalnum(c) || strchr(kept, c))
            u->text[n++] = (char)c;
        else
            n += (size_t)snprintf(u->text + n, 4, "%%%02X", c);
    }
    if (n >= sizeof u->text)
        return false;
    u->text[n] = 0;
    return !*value;
}
