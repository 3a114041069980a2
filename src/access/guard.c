#include "access/guard.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

enum status guard_list(char ***out, int *n, const char *text, struct error *err)
{
    *out = mem_array(GUARD_LIST_MAX, sizeof **out);
    *n = 0;
    if (!*out)
        return fail(err, STATUS_NO_MEMORY, "no memory for a list");
    for (const char *at = text ? text : ""; *at;) {
        at += strspn(at, ", ");
        const size_t bytes = strcspn(at, ", ");
        if (!bytes)
            break;
        if (*n == GUARD_LIST_MAX)
            return fail(err, STATUS_LIMIT, "a list has more than %d entries", *n);
        char *s = mem_array(bytes + 1, 1);
        if (!s)
            return fail(err, STATUS_NO_MEMORY, "no memory for a list");
        memcpy(s, at, bytes);
        (*out)[(*n)++] = s;
        at += bytes;
    }
    return STATUS_OK;
}

void guard_list_free(char **list, int n)
{
    for (int i = 0; i < n; i++)
        mem_free(list[i]);
    mem_free(list);
}

static void hash_key(uint8_t out[32], const char *key, size_t n)
{
    SHA256((const unsigned char *)key, n, out);
}

/* As browsers write one; others would never match. */
static bool can_be_origin(const char *text)
{
    const char *host = strstr(text, "://");
    return !strcmp(text, "null") ||
           (host && host > text && host[3] && !strchr(host + 3, '/'));
}

enum status guard_open(struct guard *g, const char *key, const char *bound,
                       const char *hosts, const char *origins, struct error *err)
{
    char all[4096];
    *g = (struct guard){.has_key = key};
    if (key) {
        if (!*key)
            return fail(err, STATUS_BAD_ARG, "the API key is empty");
        hash_key(g->key, key, strlen(key));
    }
    const int len = snprintf(all, sizeof all, "localhost,127.0.0.1,::1,%s,%s", bound,
                             hosts ? hosts : "");
    if (len >= (int)sizeof all)
        return fail(err, STATUS_LIMIT, "the list of hosts is too long");
    enum status s = guard_list(&g->hosts, &g->n_host, all, err);
    if (!s)
        s = guard_list(&g->origins, &g->n_origin, origins, err);
    for (int i = 0; !s && i < g->n_origin; i++) {
        const char *star = strchr(g->origins[i], '*');
        g->any_origin |= !strcmp(g->origins[i], "*");
        if (star && strchr(star + 1, '*'))
            s = fail(err, STATUS_BAD_ARG, "origin '%.200s': one * at most",
                     g->origins[i]);
        else if (!star && !can_be_origin(g->origins[i]))
            s = fail(
                err, STATUS_BAD_ARG,
                "origin '%.200s': it takes SCHEME://HOST[:PORT] without a path, or * "
                "in place of a part",
                g->origins[i]);
    }
    return s;
}

void guard_close(struct guard *g)
{
    guard_list_free(g->hosts, g->n_host);
    guard_list_free(g->origins, g->n_origin);
    *g = (struct guard){0};
}

static bool key_is(const struct guard *g, const char *key)
{
    uint8_t hash[32];
    hash_key(hash, key, strlen(key));
    return !CRYPTO_memcmp(hash, g->key, sizeof hash);
}

bool guard_key(const struct guard *g, const char *authorization, const char *x_api_key)
{
    static const char bearer[] = "Bearer ";
    if (!g->has_key)
        return true;
    bool ok = false;
    if (authorization && !strncasecmp(authorization, bearer, sizeof bearer - 1)) {
        const char *key = authorization + sizeof bearer - 1;
        ok |= key_is(g, key + strspn(key, " "));
    }
    if (x_api_key)
        ok |= key_is(g, x_api_key);
    return ok;
}

/* [begin, n) of a Host without port and brackets; false if it has another form. */
static bool host_name(const char *host, const char **begin, size_t *n)
{
    const char *rest;
    if (*host == '[') {
        const char *end = strchr(host, ']');
        if (!end)
            return false;
        *begin = host + 1;
        *n = (size_t)(end - host - 1);
        rest = end + 1;
    } else {
        *begin = host;
        *n = strcspn(host, ":");
        rest = host + *n;
    }
    if (*rest == ':') {
        const size_t digits = strspn(rest + 1, "0123456789");
        rest += 1 + digits;
        if (digits > 5)
            return false;
    }
    return *n && !*rest;
}

static bool same_name(const char *s, size_t n, const char *name)
{
    const size_t len = strlen(name);
    if (len > 2 && name[0] == '[' && name[len - 1] == ']')
        return n == len - 2 && !strncasecmp(s, name + 1, n);
    return n == len && !strncasecmp(s, name, n);
}

bool guard_host(const struct guard *g, const char *host, const char *local)
{
    const char *name;
    size_t n;
    if (!host || !host_name(host, &name, &n))
        return false;
    if (*local && same_name(name, n, local))
        return true;
    for (int i = 0; i < g->n_host; i++)
        if (same_name(name, n, g->hosts[i]))
            return true;
    return false;
}

/* Pages of other programs on this machine: of localhost at any port, and of desktop
 * programs, which no web site can be.  Source: Ollama, envconfig/config.go. */
static bool is_local_page(const char *origin)
{
    static const char *const schemes[] = {"app://", "file://", "tauri://",
                                          "vscode-webview://", "vscode-file://"};
    static const char *const names[] = {"localhost", "127.0.0.1", "0.0.0.0", "[::1]"};
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (!strncasecmp(origin, schemes[i], strlen(schemes[i])))
            return true;
    const size_t scheme = !strncasecmp(origin, "http://", 7)    ? 7
                          : !strncasecmp(origin, "https://", 8) ? 8
                                                                : 0;
    for (size_t i = 0; scheme && i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i]);
        const char *port = origin + scheme + n;
        if (!strncasecmp(origin + scheme, names[i], n) &&
            (!*port ||
             (*port == ':' && port[1] && !port[1 + strspn(port + 1, "0123456789")])))
            return true;
    }
    return false;
}

/* One * of the pattern stands for anything. */
static bool origin_matches(const char *origin, const char *pattern)
{
    const char *star = strchr(pattern, '*');
    if (!star)
        return !strcasecmp(origin, pattern);
    const size_t n = strlen(origin), head = (size_t)(star - pattern);
    const size_t rest = strlen(star + 1);
    return n >= head + rest && !strncasecmp(origin, pattern, head) &&
           !strcasecmp(origin + n - rest, star + 1);
}

bool guard_origin(const struct guard *g, const char *origin, const char *host)
{
    static const char http[] = "http://";
    if (!origin || g->any_origin)
        return true;
    if (host && !strncmp(origin, http, sizeof http - 1) &&
        !strcasecmp(origin + sizeof http - 1, host))
        return true;
    for (int i = 0; i < g->n_origin; i++)
        if (origin_matches(origin, g->origins[i]))
            return true;
    return is_local_page(origin);
}

bool guard_is_loopback(const char *address)
{
    return !strncmp(address, "127.", 4) || !strcmp(address, "::1");
}
