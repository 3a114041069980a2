/* body.c - bytes of a client to JSON, with bounds. */
#include "access/body.h"

#include <string.h>

#include "base/hex.h"
#include "json/parse.h"

enum { BODY_DEPTH_MAX = 64, BODY_VALUES_MAX = 1000000 };

/* Four digits, or -1. */
static int escape_value(const char *p, const char *end)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        const int d = p + i < end ? hex_value(p[i]) : -1;
        if (d < 0)
            return -1;
        v = v * 16 + d;
    }
    return v;
}

/* p is behind "\u"; returns how many bytes of it were looked at. */
static size_t replace_escape(char *p, const char *end)
{
    const int v = escape_value(p, end);
    if (v < 0)
        return 0; // the parser says what is wrong
    if (v >= 0xd800 && v < 0xdc00 && end - p >= 10 && p[4] == '\\' && p[5] == 'u') {
        const int low = escape_value(p + 6, end);
        if (low >= 0xdc00 && low < 0xe000)
            return 10;
    }
    if (v == 0 || (v >= 0xd800 && v < 0xe000))
        memcpy(p, "fffd", 4);
    return 4;
}

/* Behind the string that begins before p. */
static char *skip_string(char *p, char *end)
{
    while (p < end && *p != '"') {
        if (*p != '\\') {
            p++;
        } else if (end - p >= 2 && p[1] == 'u') {
            p += 2;
            p += replace_escape(p, end);
        } else {
            p += end - p >= 2 ? 2 : 1;
        }
    }
    return p < end ? p + 1 : end;
}

static enum status check_bounds(char *text, size_t n, struct api_error *err)
{
    int depth = 0;
    size_t values = 1;
    char *const end = text + n;
    for (char *p = text; p < end;) {
        const char c = *p++;
        if (c == '"')
            p = skip_string(p, end);
        else if (c == '{' || c == '[')
            depth++;
        else if (c == '}' || c == ']')
            depth--;
        values += c == ',' || c == ':' || c == '[';
        if (depth > BODY_DEPTH_MAX)
            return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, NULL,
                            "the JSON body is nested deeper than %d", BODY_DEPTH_MAX);
        if (values > BODY_VALUES_MAX)
            return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, NULL,
                            "the JSON body has more than %d values", BODY_VALUES_MAX);
    }
    return STATUS_OK;
}

json_t *body_parse(char *text, size_t n, struct api_error *err)
{
    json_error_t why;
    if (!n) {
        (void)!api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, NULL,
                        "missing request body");
        return NULL;
    }
    if (check_bounds(text, n, err))
        return NULL;
    json_t *v = json_parse(text, n, JSON_REJECT_DUPLICATES, &why);
    if (!v)
        (void)!api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, NULL,
                        "the body is not valid JSON: %s (line %d, byte %d)", why.text,
                        why.line, why.position);
    else if (!json_is_object(v))
        (void)!api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, NULL,
                        "the body must be a JSON object");
    if (v && !json_is_object(v)) {
        json_decref(v);
        return NULL;
    }
    return v;
}
