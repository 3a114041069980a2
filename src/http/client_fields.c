#include "http/client_fields.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct field_cursor {
    const char *p, *end;
};

static void skip_space(struct field_cursor *c, bool commas)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || (commas && *c->p == ',')))
        c->p++;
}

/* RFC 9110, 5.6.2. */
static bool is_token_char(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static size_t take_token(struct field_cursor *c, const char **name)
{
    *name = c->p;
    while (c->p < c->end && is_token_char(*c->p))
        c->p++;
    return (size_t)(c->p - *name);
}

/* A token or quoted string; out may be NULL.  false: malformed, or longer than out. */
static bool take_value(struct field_cursor *c, char *out, size_t cap)
{
    size_t n = 0;
    bool fits = true, quoted = c->p < c->end && *c->p == '"';
    c->p += quoted;
    for (; c->p < c->end && (quoted ? *c->p != '"' : is_token_char(*c->p)); c->p++) {
        if (quoted && *c->p == '\\' && ++c->p == c->end)
            return false;
        if ((unsigned char)*c->p < ' ' || *c->p == 0x7f)
            return false;
        fits &= n + 1 < cap;
        if (fits && out)
            out[n] = *c->p;
        n++;
    }
    if (quoted && c->p++ == c->end)
        return false;
    if (out && fits)
        out[n] = 0;
    return (quoted || n) && (fits || !out);
}

static bool is_name(const char *p, size_t n, const char *name)
{
    return n == strlen(name) && !strncasecmp(p, name, n);
}

/* Where a parameter of Bearer goes, NULL: nowhere. */
static char *param_of(struct http_challenge *c, const char *name, size_t n, size_t *cap)
{
    if (is_name(name, n, "realm"))
        return *cap = sizeof c->realm, c->realm;
    if (is_name(name, n, "service"))
        return *cap = sizeof c->service, c->service;
    if (is_name(name, n, "scope"))
        return *cap = sizeof c->scope, c->scope;
    return NULL;
}

/* After a scheme's name: one word of token68 (RFC 9110, 11.2), if that is what follows.
 */
static void skip_token68(struct field_cursor *c)
{
    struct field_cursor at = *c;
    while (at.p < at.end && *at.p &&
           (isalnum((unsigned char)*at.p) || strchr("-._~+/", *at.p)))
        at.p++;
    const char *word = at.p;
    while (at.p < at.end && *at.p == '=')
        at.p++;
    skip_space(&at, false);
    if (word > c->p && (at.p == at.end || *at.p == ','))
        *c = at;
}

enum status http_challenge_parse(struct http_challenge *out, const char *text, size_t n,
                                 struct error *err)
{
    struct field_cursor c = {text, text + n};
    bool bearer = false, found = false;
    memset(out, 0, sizeof *out);
    for (skip_space(&c, true); c.p < c.end; skip_space(&c, true)) {
        const char *name;
        const size_t len = take_token(&c, &name);
        if (!len)
            goto malformed;
        const bool spaced = c.p < c.end && (*c.p == ' ' || *c.p == '\t');
        skip_space(&c, false);
        if (c.p < c.end && *c.p == '=') {
            size_t cap = 0;
            char *to = bearer ? param_of(out, name, len, &cap) : NULL;
            c.p++;
            skip_space(&c, false);
            if ((to && *to) || !take_value(&c, to, cap))
                goto malformed;
            skip_space(&c, false);
            if (c.p < c.end && *c.p != ',')
                goto malformed;
            continue;
        }
        if (bearer && *out->realm)
            break; // another scheme begins; the first Bearer is complete
        if (c.p < c.end && *c.p != ',' && !spaced)
            goto malformed;
        bearer = is_name(name, len, "Bearer");
        found |= bearer;
        skip_token68(&c);
    }
    if (*out->realm)
        return STATUS_OK;
    return fail(err, STATUS_NOT_FOUND,
                found ? "the server's demand for a token names no realm"
                      : "the server asks for credentials, but not for a bearer token");
malformed:
    memset(out, 0, sizeof *out);
    return fail(err, STATUS_BAD_INPUT,
                "the server's WWW-Authenticate is malformed at byte %zu",
                (size_t)(c.p - text));
}

/* Digits at *p; false: none, or too many. */
static bool take_number(const char **p, uint64_t *v)
{
    const char *digits = *p;
    for (*v = 0; **p >= '0' && **p <= '9'; ++*p) {
        const uint64_t digit = (uint64_t)(**p - '0');
        if (*v > (INT64_MAX - digit) / 10)
            return false;
        *v = *v * 10 + digit;
    }
    return *p > digits;
}

bool http_number_parse(uint64_t *v, const char *text)
{
    return take_number(&text, v) && !*text;
}

bool http_range_parse(struct http_range *r, const char *text)
{
    if (strncasecmp(text, "bytes ", 6))
        return false;
    text += 6;
    return take_number(&text, &r->first) && *text++ == '-' &&
           take_number(&text, &r->last) && *text++ == '/' &&
           take_number(&text, &r->total) && !*text && r->first <= r->last &&
           r->last < r->total;
}

bool http_range_parse_size(uint64_t *total, const char *text)
{
    return !strncasecmp(text, "bytes */", 8) && http_number_parse(total, text + 8);
}

bool http_field(char *out, size_t n, const char *lines, const char *name, int i)
{
    const size_t len = strlen(name);
    for (const char *p = lines, *end; *p; p = end + (*end == '\n')) {
        end = p + strcspn(p, "\n");
        if (strncasecmp(p, name, len) || p[len] != ':' || i-- > 0)
            continue;
        const char *v = p + len + 1, *last = end;
        while (v < last && (*v == ' ' || *v == '\t'))
            v++;
        while (last > v && (last[-1] == ' ' || last[-1] == '\t' || last[-1] == '\r'))
            last--;
        if ((size_t)(last - v) >= n)
            return false;
        memcpy(out, v, (size_t)(last - v));
        out[last - v] = 0;
        return true;
    }
    return false;
}
