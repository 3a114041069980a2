/* upstream_json.c - JSON from a backend: bounded before it is read. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "json/parse.h"
#include "dialect/upstream_parts.h"

bool json_scan_feed(struct json_scan *j, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char c = s[i];
        if (j->in_string) {
            if (j->escape)
                j->escape = false;
            else if (c == '\\')
                j->escape = true;
            else if (c == '"')
                j->in_string = false;
            continue;
        }
        if (c == '"') {
            j->in_string = true;
        } else if (c == '{' || c == '[') {
            j->depth++;
            j->deepest = j->depth > j->deepest ? j->depth : j->deepest;
        } else if (c == '}' || c == ']') {
            if (--j->depth < 0)
                return false;
            j->closed |= j->depth == 0;
        }
        j->begun |= c != ' ' && c != '\t' && c != '\r' && c != '\n';
    }
    return true;
}

enum status upstream_load_json(json_t **out, const char *s, size_t n, char why[200])
{
    struct json_scan scan = {0};
    json_error_t e;
    *out = NULL;
    if (!json_scan_feed(&scan, s, n) || scan.deepest <= UPSTREAM_DEPTH_MAX) {
        *out = json_parse(s, n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &e);
        if (*out)
            return STATUS_OK;
        snprintf(why, 200, "%.150s at byte %d", e.text, e.position);
        return json_error_code(&e) == json_error_out_of_memory ? STATUS_NO_MEMORY
                                                               : STATUS_BAD_INPUT;
    }
    snprintf(why, 200, "it is nested deeper than %d", UPSTREAM_DEPTH_MAX);
    return STATUS_LIMIT;
}

int upstream_count(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    const double d = json_number_value(v);
    if (!json_is_number(v) || !(d >= 0) || d > UPSTREAM_COUNT_MAX)
        return 0;
    return (int)d;
}

const char *upstream_string(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);
    const char *s = json_string_value(v);
    return s && *s && strlen(s) == json_string_length(v) ? s : NULL;
}
