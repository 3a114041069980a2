/* model_name.c - names of models, taken apart from behind. */
#include "store/model_name.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum name_part { PART_HOST, PART_SPACE, PART_MODEL, PART_TAG };

static bool name_char(enum name_part part, char c, bool first)
{
    const char lower = (char)(c | 32);
    if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_')
        return true;
    return !first && (c == '-' || (c == '.' && part != PART_SPACE) ||
                      (c == ':' && part == PART_HOST));
}

/* NULL, or what is wrong. */
static const char *part_problem(enum name_part part, const char *s, size_t n)
{
    const size_t max = part == PART_HOST ? MODEL_NAME_HOST_PART : MODEL_NAME_PART;
    if (n == 0)
        return "is empty";
    if (n > max)
        return part == PART_HOST ? "has more than 350 bytes" : "has more than 80 bytes";
    for (size_t i = 0; i < n; i++)
        if (!name_char(part, s[i], i == 0))
            return i == 0 ? "does not start with a letter, a digit or '_'"
                          : "has a character that names do not have";
    return NULL;
}

static enum status take_part(char *out, enum name_part part, const char *s, size_t n,
                             struct error *err)
{
    static const char *const names[] = {"host", "namespace", "model", "tag"};
    const char *problem = part_problem(part, s, n);
    if (problem)
        return fail(err, STATUS_BAD_INPUT, "invalid model name: the %s '%.*s' %s",
                    names[part], n > 60 ? 60 : (int)n, s, problem);
    memcpy(out, s, n);
    out[n] = 0;
    return STATUS_OK;
}

/* The last c in s[0..n), or NULL. */
static const char *last_of(const char *s, size_t n, char c)
{
    while (n > 0)
        if (s[--n] == c)
            return s + n;
    return NULL;
}

static bool cut_prefix(const char **s, size_t *n, const char *prefix)
{
    const size_t len = strlen(prefix);
    if (*n < len || strncasecmp(*s, prefix, len))
        return false;
    *s += len;
    *n -= len;
    return true;
}

enum status model_name_parse(struct model_name *out, const char *s, size_t n,
                             struct error *err)
{
    struct model_name name = {
        .host = MODEL_NAME_HOST, .space = MODEL_NAME_SPACE, .tag = MODEL_NAME_TAG};
    enum status st = STATUS_OK;
    name.plain_http = cut_prefix(&s, &n, "http://");
    const bool scheme = name.plain_http || cut_prefix(&s, &n, "https://");
    if (n >= MODEL_NAME_BYTES)
        return fail(err, STATUS_BAD_INPUT, "invalid model name: %zu bytes are too many",
                    n);
    const char *slash = last_of(s, n, '/'), *colon = last_of(s, n, ':');
    if (colon && (!slash || colon > slash)) { // else it is the port of a host
        st = take_part(name.tag, PART_TAG, colon + 1, (size_t)(s + n - colon - 1), err);
        n = (size_t)(colon - s);
    }
    const char *model = slash ? slash + 1 : s;
    if (!st)
        st = take_part(name.model, PART_MODEL, model, (size_t)(s + n - model), err);
    if (st || !slash) {
        if (!st && scheme)
            st = fail(err, STATUS_BAD_INPUT,
                      "invalid model name: a URL needs a host, a namespace and a model");
        *out = name;
        return st;
    }
    n = (size_t)(slash - s);
    slash = last_of(s, n, '/');
    const char *space = slash ? slash + 1 : s;
    st = take_part(name.space, PART_SPACE, space, (size_t)(s + n - space), err);
    if (!st && slash)
        st = take_part(name.host, PART_HOST, s, (size_t)(slash - s), err);
    else if (!st && scheme)
        st = fail(err, STATUS_BAD_INPUT,
                  "invalid model name: a URL needs a host, a namespace and a model");
    *out = name;
    return st;
}

bool model_name_from_parts(struct model_name *out, const char *host, const char *space,
                           const char *model, const char *tag)
{
    struct model_name n = {0};
    if (take_part(n.host, PART_HOST, host, strlen(host), NULL) ||
        take_part(n.space, PART_SPACE, space, strlen(space), NULL) ||
        take_part(n.model, PART_MODEL, model, strlen(model), NULL) ||
        take_part(n.tag, PART_TAG, tag, strlen(tag), NULL))
        return false;
    *out = n;
    return true;
}

void model_name_print(char out[MODEL_NAME_BYTES], const struct model_name *n)
{
    const bool host = strcasecmp(n->host, MODEL_NAME_HOST) != 0;
    const bool space = host || strcasecmp(n->space, MODEL_NAME_SPACE) != 0;
    snprintf(out, MODEL_NAME_BYTES, "%s%s%s%s%s:%s", host ? n->host : "", host ? "/" : "",
             space ? n->space : "", space ? "/" : "", n->model, n->tag);
}

void model_name_print_whole(char out[MODEL_NAME_BYTES], const struct model_name *n)
{
    snprintf(out, MODEL_NAME_BYTES, "%s/%s/%s:%s", n->host, n->space, n->model, n->tag);
}

bool model_name_equal(const struct model_name *a, const struct model_name *b)
{
    return !strcasecmp(a->host, b->host) && !strcasecmp(a->space, b->space) &&
           !strcasecmp(a->model, b->model) && !strcasecmp(a->tag, b->tag);
}
