/* environment_host.c - addresses of servers, as OLLAMA_HOST has them. */
#include <string.h>
#include <strings.h>

#include "cli/environment.h"

enum { PORT_DEFAULT = 11434, PORT_HTTP = 80, PORT_HTTPS = 443 };

static enum status not_an_address(struct error *err)
{
    return fail(err, STATUS_BAD_INPUT,
                "HOST, HOST:PORT, :PORT or http://HOST:PORT, with a port up to 65535 and "
                "an IPv6 address in brackets");
}

static bool has_scheme(const char **text, const char *scheme)
{
    const size_t n = strlen(scheme);
    if (strncasecmp(*text, scheme, n))
        return false;
    *text += n;
    return true;
}

/* A decimal number of at most 65535 and nothing else. */
static bool read_port(const char *s, size_t n, int *out)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9' || (v = v * 10 + (s[i] - '0')) > 65535)
            return false;
    }
    *out = v;
    return n > 0;
}

/* What may stand in a name or an address; digits alone would be a port without ':'. */
static bool is_host(const char *s, size_t n, bool ipv6)
{
    static const char name[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789.-_";
    size_t digits = 0;
    for (size_t i = 0; i < n; i++) {
        digits += s[i] >= '0' && s[i] <= '9';
        if (!strchr(name, s[i]) && !(ipv6 && strchr(":%", s[i])))
            return false;
    }
    return n > 0 && digits < n;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT, an IPv6 address or :PORT in s[0..n). */
static bool read_place(struct environment_host *out, const char *s, size_t n)
{
    const char *colon = memchr(s, ':', n), *rest = s + n;
    const char *host = s;
    size_t len = n;
    bool ipv6 = false;
    if (n && *s == '[') {
        const char *end = memchr(s, ']', n);
        if (!end)
            return false;
        host = s + 1;
        len = (size_t)(end - host);
        rest = end + 1;
        ipv6 = true;
    } else if (colon && memchr(colon + 1, ':', n - (size_t)(colon + 1 - s))) {
        ipv6 = true; // two colons: an address without a port
    } else if (colon) {
        len = (size_t)(colon - s);
        rest = colon;
    }
    if (rest < s + n &&
        (*rest != ':' || !read_port(rest + 1, (size_t)(s + n - rest - 1), &out->port)))
        return false;
    if (!len && !ipv6 && rest < s + n) {
        out->any = true;
        memcpy(out->host, "0.0.0.0", sizeof "0.0.0.0");
        return true;
    }
    if (len >= sizeof out->host || !is_host(host, len, ipv6))
        return false;
    memcpy(out->host, host, len);
    out->host[len] = 0;
    return true;
}

static bool is_path(const char *s)
{
    for (; *s; s++)
        if (*s <= ' ' || *s >= 0x7f || strchr("?#\"\\", *s))
            return false;
    return true;
}

enum status environment_host_parse(struct environment_host *out, const char *text,
                                   struct error *err)
{
    *out = (struct environment_host){.port = PORT_DEFAULT};
    if (has_scheme(&text, "https://")) {
        out->https = true;
        out->port = PORT_HTTPS;
    } else if (has_scheme(&text, "http://")) {
        out->port = PORT_HTTP;
    }
    const size_t n = strcspn(text, "/");
    size_t path = strlen(text + n);
    while (path > 0 && text[n + path - 1] == '/')
        path--;
    if (!read_place(out, text, n) || path >= sizeof out->path || !is_path(text + n))
        return not_an_address(err);
    memcpy(out->path, text + n, path);
    out->path[path] = 0;
    return STATUS_OK;
}

enum status environment_host(struct environment_host *out, struct error *err)
{
    const char *text = environment_text("HOST");
    struct error why;
    const enum status s = environment_host_parse(out, text ? text : "127.0.0.1", &why);
    return s ? fail(err, s, "%s is '%.80s'; it takes %s", environment_source("HOST"),
                    text, why.text)
             : s;
}
