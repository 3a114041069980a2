/* dialect_fuzz.h - any JSON as a request; if it is one, its canonical form is checked and
 * an answer is written whose events are made of the bytes behind the JSON. */
#ifndef TESTS_DIALECT_FUZZ_H
#define TESTS_DIALECT_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

#define REQUIRE(x)   \
    do {             \
        if (!(x))    \
            abort(); \
    } while (0)

static const struct answer_head fuzz_head = {
    .request_id = "req_1", .id = "a", .model = "m\"", .fingerprint = "f", .n_prompt = 3};

static inline void fuzz_check_call(const json_t *call)
{
    const json_t *f = json_object_get(call, "function");
    REQUIRE(json_is_string(json_object_get(call, "id")));
    REQUIRE(strcmp(json_string_value(json_object_get(call, "type")), "function") == 0);
    REQUIRE(json_is_string(json_object_get(f, "name")));
    REQUIRE(json_is_object(json_object_get(f, "arguments")));
}

static inline void fuzz_check_message(const json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    const json_t *calls = json_object_get(m, "tool_calls");
    const bool assistant = strcmp(role, "assistant") == 0;
    const bool tool = strcmp(role, "tool") == 0;
    REQUIRE(assistant || tool || strcmp(role, "user") == 0 ||
            strcmp(role, "system") == 0);
    REQUIRE(json_is_string(json_object_get(m, "content")));
    REQUIRE(assistant || (!calls && !json_object_get(m, "reasoning_content")));
    REQUIRE(!calls || json_array_size(calls) > 0);
    for (size_t i = 0; i < json_array_size(calls); i++)
        fuzz_check_call(json_array_get(calls, i));
    REQUIRE(tool == json_is_string(json_object_get(m, "tool_call_id")));
    REQUIRE(tool == json_is_string(json_object_get(m, "name")));
}

static inline void fuzz_check_request(const struct api_request *r)
{
    REQUIRE(r->body && r->model && r->session);
    REQUIRE((r->task == API_CHAT || r->task == API_COUNT) == (r->messages != NULL));
    REQUIRE(r->messages || r->prompts);
    for (size_t i = 0; i < json_array_size(r->messages); i++)
        fuzz_check_message(json_array_get(r->messages, i));
    for (size_t i = 0; i < json_array_size(r->prompts); i++)
        REQUIRE(json_is_string(json_array_get(r->prompts, i)));
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        const json_t *f = json_object_get(json_array_get(r->tools, i), "function");
        REQUIRE(json_is_string(json_object_get(f, "name")));
        REQUIRE(json_is_string(json_object_get(f, "description")));
        REQUIRE(json_is_object(json_object_get(f, "parameters")));
    }
    REQUIRE(!r->tools || json_array_size(r->tools) > 0);
    REQUIRE((r->format == API_FORMAT_SCHEMA) == json_is_object(r->schema));
    REQUIRE((r->tool_choice == API_TOOLS_NAMED) == (r->tool_name != NULL));
    REQUIRE(r->max_tokens == -1 || r->max_tokens > 0);
    REQUIRE(r->n_stop >= 0 && r->n_stop <= API_STOP_MAX);
}

static inline void fuzz_send(struct answer_writer *w, struct answer_event e,
                             const char *text, struct buf *out)
{
    e.text = text;
    e.n = text ? strlen(text) : 0;
    w->ops->event(w, &e, out);
}

/* A call whose arguments come in two pieces. */
static inline void fuzz_send_call(struct answer_writer *w, const char *args, size_t cut,
                                  struct buf *out)
{
    const size_t n = strlen(args);
    struct answer_event piece = {.kind = ANSWER_TOOL_ARGS, .text = args};
    fuzz_send(w,
              (struct answer_event){.kind = ANSWER_TOOL_BEGIN, .id = "t\"", .name = "f"},
              NULL, out);
    piece.n = cut < n ? cut : n;
    w->ops->event(w, &piece, out);
    piece.text += piece.n;
    piece.n = n - piece.n;
    w->ops->event(w, &piece, out);
    fuzz_send(w, (struct answer_event){.kind = ANSWER_TOOL_END}, NULL, out);
}

static inline void fuzz_send_logprob(struct answer_writer *w, uint8_t seed,
                                     struct buf *out)
{
    const char bytes[2] = {(char)seed, (char)(seed * 7)};
    const struct answer_token top = {.logprob = -1, .text = bytes, .n = seed % 3};
    fuzz_send(w,
              (struct answer_event){
                  .kind = ANSWER_LOGPROB, .token = top, .top = &top, .n_top = seed & 1},
              NULL, out);
}

/* out <- an answer made of these bytes, with one of the ends that there are. */
static inline void fuzz_answer(const struct api_operation *op,
                               const struct api_request *r, const uint8_t *data, size_t n,
                               struct buf *out)
{
    static const char *const texts[] = {
        "",      "a", "\"", "\\", "\n", "\x01", "\x7f", "\xc3\xa9", "\xf0\x9f\x98\x80",
        "data: "};
    const size_t n_text = sizeof texts / sizeof *texts;
    char *args = json_dumps(r->body, JSON_INDENT(1));
    struct answer_writer *w = op->open_writer(r, &fuzz_head);
    const struct api_error error = {.kind = API_ERROR_INTERNAL, .message = "m\n"};
    REQUIRE(args && w);
    w->ops->begin(w, out);
    for (size_t i = 0; i < n && i < 64; i++) {
        const char *text = texts[data[i] / 8 % n_text];
        const struct answer_event e = {.kind = (enum answer_kind)(data[i] % 8)};
        if (e.kind == ANSWER_REASONING || e.kind == ANSWER_TEXT)
            fuzz_send(w, e, text, out);
        else if (e.kind == ANSWER_PING)
            fuzz_send(w, e, NULL, out);
        else if (e.kind == ANSWER_LOGPROB)
            fuzz_send_logprob(w, data[i], out);
        else if (e.kind == ANSWER_TOOL_BEGIN)
            fuzz_send_call(w, data[i] & 8 ? args : "{}", data[i], out);
    }
    const uint8_t last = n ? data[n - 1] : 0;
    if (last == 255)
        fuzz_send(w, (struct answer_event){.kind = ANSWER_ERROR, .error = &error}, NULL,
                  out);
    else
        fuzz_send(w,
                  (struct answer_event){.kind = ANSWER_END,
                                        .finish = (enum answer_finish)(last % 4),
                                        .stop_string = "\n"},
                  NULL, out);
    w->ops->close(w);
    free(args);
    REQUIRE(!out->failed);
}

static inline void fuzz_check_json(const char *s, size_t n)
{
    json_t *v = json_loadb(s, n, 0, NULL);
    REQUIRE(json_is_object(v));
    json_decref(v);
}

/* Split the input at its first byte 0: *body <- its JSON (NULL: it is none), *script <-
 * what is behind. */
static inline json_t *fuzz_split(const uint8_t *data, size_t n, const uint8_t **script,
                                 size_t *n_script)
{
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    const size_t len = zero ? (size_t)(zero - data) : n;
    *script = zero ? zero + 1 : NULL;
    *n_script = zero ? n - len - 1 : 0;
    json_t *body = json_loadb((const char *)data, len,
                              JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(body))
        return body;
    json_decref(body);
    return NULL;
}

#endif
