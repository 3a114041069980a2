/* upstream_error.c - errors of backends, in any of their shapes, as errors of ours. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "dialect/upstream_parts.h"

/* How servers say that a prompt does not fit, and which of the numbers in the sentence
 * are those of the prompt and of the context. */
static const struct overflow {
    const char *words;
    bool behind;     // numbers are counted from the words on
    int prompt, ctx; // 1 is the first; 0: it is not said; -1: the sum of the first two
} overflows[] = {
    /* llama.cpp */
    {"exceeds the available context size", false, 1, 2},
    /* Anthropic */
    {"prompt is too long", true, 1, 2},
    {"exceed context limit", true, -1, 3},
    /* OpenAI and vLLM */
    {"maximum context length is", true, 2, 1},
    {"longer than the maximum model length", false, 1, 2},
    {"exceeds the context window", false, 0, 0},
    {"context_length_exceeded", false, 0, 0},
    /* Ollama */
    {"input length exceeds the context length", true, 1, 2},
    {"exceeds maximum context length", false, 0, 0},
    {"exceeds the maximum context", false, 0, 0},
    {"exceed_context_size_error", false, 0, 0},
    {"reduce the length of the messages", false, 0, 0},
};

static const char *find_phrase(const char *s, const char *words)
{
    const size_t n = strlen(words);
    for (; *s; s++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)s[i]) == words[i])
            i++;
        if (i == n)
            return s;
    }
    return NULL;
}

/* The i-th number of a text, from 1; commas may be in it.  0: there is none. */
static int number_in(const char *s, int i)
{
    for (; *s; s++) {
        if (!isdigit((unsigned char)*s))
            continue;
        long long v = 0;
        for (; isdigit((unsigned char)*s) || (*s == ',' && isdigit((unsigned char)s[1]));
             s++)
            if (*s != ',' && v <= INT_MAX)
                v = v * 10 + (*s - '0');
        if (--i == 0)
            return v <= UPSTREAM_COUNT_MAX ? (int)v : 0;
        if (!*s)
            break;
    }
    return 0;
}

/* s: what the numbers are counted in.  False: the prompt would fit, so that it is the
 * length of the answer that does not. */
static bool read_overflow(struct api_error *e, const struct overflow *o, const char *s)
{
    const int ctx = o->ctx > 0 ? number_in(s, o->ctx) : 0;
    const int prompt = o->prompt < 0   ? number_in(s, 1) + number_in(s, 2)
                       : o->prompt > 0 ? number_in(s, o->prompt)
                                       : 0;
    if (ctx > 0 && prompt > ctx) {
        e->n_prompt = prompt;
        e->n_ctx = ctx;
    }
    return ctx == 0 || prompt == 0 || prompt > ctx;
}

static bool is_overflow(struct api_error *e, const char *type, const char *code)
{
    for (size_t i = 0; i < sizeof overflows / sizeof *overflows; i++) {
        const struct overflow *o = &overflows[i];
        const char *at = find_phrase(e->message, o->words);
        if (at)
            return read_overflow(e, o, o->behind ? at : e->message);
        if ((type && strcmp(type, o->words) == 0) ||
            (code && strcmp(code, o->words) == 0))
            return true;
    }
    return false;
}

struct named_kind {
    const char *word;
    enum api_error_kind kind;
};

static bool kind_of_word(enum api_error_kind *kind, const struct named_kind *names,
                         size_t n, const char *word)
{
    for (size_t i = 0; i < n && word; i++)
        if (strcmp(names[i].word, word) == 0) {
            *kind = names[i].kind;
            return true;
        }
    return false;
}

static bool kind_of_code(enum api_error_kind *kind, const char *code)
{
    static const struct named_kind names[] = {
        {"invalid_api_key", API_ERROR_UNAUTHORIZED},
        {"model_not_found", API_ERROR_NO_MODEL},
        {"rate_limit_exceeded", API_ERROR_RATE_LIMIT},
        {"insufficient_quota", API_ERROR_RATE_LIMIT},
        {"server_overloaded", API_ERROR_BUSY},
        {"server_shutting_down", API_ERROR_DRAINING},
    };
    return kind_of_word(kind, names, sizeof names / sizeof *names, code);
}

static bool kind_of_type(enum api_error_kind *kind, const char *type)
{
    static const struct named_kind names[] = {
        {"invalid_request_error", API_ERROR_INVALID},
        {"BadRequestError", API_ERROR_INVALID},
        {"authentication_error", API_ERROR_UNAUTHORIZED},
        {"permission_error", API_ERROR_FORBIDDEN},
        {"not_found_error", API_ERROR_NO_MODEL},
        {"NotFoundError", API_ERROR_NO_MODEL},
        {"not_supported_error", API_ERROR_UNSUPPORTED},
        {"request_too_large", API_ERROR_TOO_LARGE},
        {"rate_limit_error", API_ERROR_RATE_LIMIT},
        {"requests", API_ERROR_RATE_LIMIT},
        {"tokens", API_ERROR_RATE_LIMIT},
        {"overloaded_error", API_ERROR_BUSY},
        {"unavailable_error", API_ERROR_BUSY},
        {"timeout_error", API_ERROR_BACKEND},
        {"api_error", API_ERROR_INTERNAL},
        {"server_error", API_ERROR_INTERNAL},
    };
    return kind_of_word(kind, names, sizeof names / sizeof *names, type);
}

/* Statuses that say by themselves what is wrong. */
static bool kind_of_status(enum api_error_kind *kind, int http_status,
                           const char *message)
{
    switch (http_status) {
    case 401:
        *kind = API_ERROR_UNAUTHORIZED;
        return true;
    case 403:
        *kind = API_ERROR_FORBIDDEN;
        return true;
    case 404:
        *kind = find_phrase(message, "model") ? API_ERROR_NO_MODEL : API_ERROR_NO_ROUTE;
        return true;
    case 405:
        *kind = API_ERROR_METHOD;
        return true;
    case 413:
        *kind = API_ERROR_TOO_LARGE;
        return true;
    case 429:
        *kind = API_ERROR_RATE_LIMIT;
        return true;
    case 501:
        *kind = API_ERROR_UNSUPPORTED;
        return true;
    case 503:
    case 529:
        *kind = API_ERROR_BUSY;
        return true;
    case 408:
    case 502:
    case 504:
        *kind = API_ERROR_BACKEND;
        return true;
    default:
        return false;
    }
}

static enum api_error_kind kind_of_reply(struct api_error *e, int http_status,
                                         const char *type, const char *code)
{
    enum api_error_kind kind;
    if (is_overflow(e, type, code))
        return API_ERROR_TOO_LONG;
    if (kind_of_code(&kind, code) || kind_of_status(&kind, http_status, e->message) ||
        kind_of_type(&kind, type))
        return kind;
    if (find_phrase(e->message, "server busy"))
        return API_ERROR_BUSY;
    return http_status >= 500   ? API_ERROR_INTERNAL
           : http_status >= 400 ? API_ERROR_INVALID
                                : API_ERROR_BACKEND;
}

/* e->message <- s, on one line, as far as it is UTF-8. */
static void set_message(struct api_error *e, const char *s, size_t n)
{
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        const size_t c = utf8_char_bytes(s + i, n - i);
        const size_t take = c > 0 ? c : 1;
        if (len + take + 1 > sizeof e->message)
            break;
        if (c == 0 || (c == 1 && ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)))
            e->message[len++] = ' ';
        else
            for (size_t k = 0; k < c; k++)
                e->message[len++] = s[i + k];
        i += take;
    }
    e->message[len] = 0;
}

/* FastAPI's: a sentence, or a list of what is wrong with the fields. */
static const json_t *detail_of(const json_t *v)
{
    const json_t *detail = json_object_get(v, "detail");
    if (json_is_array(detail))
        detail = json_object_get(json_array_get(detail, 0), "msg");
    return json_is_object(detail) ? json_object_get(detail, "message") : detail;
}

void upstream_error_value(struct api_error *out, const json_t *v, int http_status)
{
    const json_t *error = json_object_get(v, "error");
    const json_t *object = json_is_object(error) ? error : v;
    const json_t *message =
        json_is_string(error) ? error : json_object_get(object, "message");
    const json_t *code = json_object_get(object, "code");
    *out = (struct api_error){.kind = API_ERROR_BACKEND};
    if (!json_is_string(message))
        message = detail_of(v);
    if (json_string_length(message) > 0)
        set_message(out, json_string_value(message), json_string_length(message));
    else if (http_status > 0)
        snprintf(out->message, sizeof out->message,
                 "the backend answered with HTTP %d and no reason", http_status);
    else
        snprintf(out->message, sizeof out->message,
                 "the backend's reply is neither an answer nor an error");
    if (http_status == 0 && json_is_integer(code))
        http_status = upstream_count(object, "code");
    out->kind = kind_of_reply(out, http_status, upstream_string(object, "type"),
                              upstream_string(object, "code"));
    const char *param = upstream_string(object, "param");
    if (param && strlen(param) < sizeof out->param)
        snprintf(out->param, sizeof out->param, "%s", param);
    if (out->kind == API_ERROR_TOO_LONG && upstream_count(object, "n_ctx") > 0) {
        out->n_prompt = upstream_count(object, "n_prompt_tokens"); // llama.cpp
        out->n_ctx = upstream_count(object, "n_ctx");
    }
}

/* The title of a page, or nothing. */
static void read_page(struct api_error *e, int http_status, const char *body, size_t n)
{
    char text[256], title[160] = "";
    struct api_error shown;
    const size_t len = n < sizeof text - 1 ? n : sizeof text - 1;
    memcpy(text, body, len);
    text[len] = 0;
    const char *begin = find_phrase(text, "<title>");
    if (begin) {
        begin += strlen("<title>");
        const size_t title_len = strcspn(begin, "<");
        set_message(&shown, begin, title_len < 100 ? title_len : 100);
        snprintf(title, sizeof title, ": '%.120s'", shown.message);
    }
    snprintf(e->message, sizeof e->message, "the backend answered with HTTP %d and %s%s",
             http_status, n > 0 ? "a page that is no error of its API" : "nothing else",
             title);
}

/* Seconds; dates are not looked at. */
static int seconds_of(const char *retry_after)
{
    char *end;
    if (!retry_after || !isdigit((unsigned char)*retry_after))
        return 0;
    const long s = strtol(retry_after, &end, 10);
    return *end && *end != ' ' ? 0 : s > 3600 ? 3600 : (int)s;
}

void upstream_read_error(struct api_error *out, int http_status, const char *retry_after,
                         const char *body, size_t n)
{
    char why[200];
    json_t *v = NULL;
    *out = (struct api_error){.kind = API_ERROR_BACKEND};
    if (n > 0 && n <= ((size_t)1 << 20) &&
        upstream_load_json(&v, body, n, why) == STATUS_OK && json_is_object(v)) {
        upstream_error_value(out, v, http_status);
    } else if (n > 0 && n < 400 && !memchr(body, '<', n)) {
        set_message(out, body, n); // a line of text
        out->kind = kind_of_reply(out, http_status, NULL, NULL);
    } else {
        read_page(out, http_status, body, n);
        if (!kind_of_status(&out->kind, http_status, out->message))
            out->kind = http_status >= 400 && http_status < 500 ? API_ERROR_INVALID
                                                                : API_ERROR_BACKEND;
    }
    json_decref(v);
    if (out->kind == API_ERROR_BUSY || out->kind == API_ERROR_RATE_LIMIT)
        out->retry_after_s = seconds_of(retry_after);
}

void upstream_no_reply(struct api_error *out, const char *why)
{
    *out = (struct api_error){.kind = API_ERROR_BACKEND};
    snprintf(out->message, sizeof out->message, "the backend of this model: %s", why);
}
