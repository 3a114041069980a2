/* openai_request.h - requests of OpenAI's dialect in tests, read from short text. */
#ifndef OPENAI_REQUEST_H
#define OPENAI_REQUEST_H

#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

#define HI "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"
#define TOOL                                                             \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\"" \
    ":{\"type\":\"object\"}}}"

#define TOOL_G                                                                   \
    "{\"type\":\"function\",\"function\":{\"name\":\"g\",\"description\":\"G\"," \
    "\"parameters\":{\"type\":\"object\"}}}"

static struct api_request r;
static struct api_error err;

/* JSON is written here with ' for " and ` for \". */
static const char *quoted(const char *text)
{
    static char json[1 << 16];
    size_t n = 0;
    for (; *text && n < sizeof json - 2; text++) {
        if (*text == '`')
            json[n++] = '\\';
        json[n++] = *text == '\'' || *text == '`' ? '"' : *text;
    }
    json[n] = 0;
    return json;
}

static enum status parse(const struct api_operation *op, const char *text)
{
    json_error_t e;
    json_t *body = json_loads(quoted(text), 0, &e);
    if (!body)
        fail_msg("%s: %s", e.text, text);
    api_request_init(&r);
    err = (struct api_error){0};
    const enum status s = op->parse(&r, body, &err);
    if (s != STATUS_OK) {
        assert_null(r.body);
        assert_null(r.messages);
        assert_true(err.message[0]);
        json_decref(body);
    } else {
        assert_ptr_equal(r.body, body);
    }
    return s;
}

static void parse_good(const struct api_operation *op, const char *text)
{
    if (parse(op, text) != STATUS_OK)
        fail_msg("%s: %s", err.message, text);
}

#endif
