/* dialect_transcript - what a dialect makes of one request and a list of events.
 *
 * stdin: {"operation": "openai_chat", "request": {...}, "events": [{"kind": "text",
 * "choice": 0, "text": "..."}, ...]}; for embeddings "vectors": [[...], ...] in the place
 * of events.  stdout: the body of the answer; with status 3 that of an error.
 *
 * A token is {"id", "logprob", "bytes": [...]}; an end {"finish": "stop" | "stop_string"
 * | "length" | "tool_calls", "usage": {"n_prompt": ...}}; an error {"error": "BUSY",
 * "message": "..."}. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

static const struct {
    const char *name;
    const struct api_operation *operation;
} operations[] = {
    {"openai_chat", &openai_chat},           {"openai_completions", &openai_completions},
    {"openai_responses", &openai_responses}, {"openai_embeddings", &openai_embeddings},
    {"openai_infill", &openai_infill},       {"anthropic_messages", &anthropic_messages},
    {"ollama_chat", &ollama_chat},           {"ollama_generate", &ollama_generate},
    {"ollama_embed", &ollama_embed},         {"ollama_embeddings", &ollama_embeddings},
};

static const char *const kinds[] = {
    [ANSWER_REASONING] = "reasoning",
    [ANSWER_TEXT] = "text",
    [ANSWER_TOOL_BEGIN] = "tool_begin",
    [ANSWER_TOOL_ARGS] = "tool_args",
    [ANSWER_TOOL_END] = "tool_end",
    [ANSWER_LOGPROB] = "logprob",
    [ANSWER_PING] = "ping",
    [ANSWER_END] = "end",
    [ANSWER_ERROR] = "error",
};

static const char *const finishes[] = {
    [ANSWER_STOP] = "stop",
    [ANSWER_STOP_STRING] = "stop_string",
    [ANSWER_LENGTH] = "length",
    [ANSWER_TOOL_CALLS] = "tool_calls",
};

static const char *const error_names[] = {
#define X(id, http) [API_ERROR_##id] = #id,
    API_ERROR_MAP(X)
#undef X
};

static void die(const char *what)
{
    fprintf(stderr, "dialect_transcript: %s\n", what);
    exit(2);
}

static int word_index(const char *const *words, size_t n, const json_t *word)
{
    for (size_t i = 0; i < n; i++)
        if (json_is_string(word) && strcmp(words[i], json_string_value(word)) == 0)
            return (int)i;
    die("a word that is not known");
    return 0;
}
#define WORD(words, object, member) \
    word_index(words, sizeof words / sizeof *words, json_object_get(object, member))

static int number(const json_t *object, const char *member)
{
    return (int)json_integer_value(json_object_get(object, member));
}

struct token_bytes {
    char bytes[64];
};

static struct answer_token token_of(const json_t *v, struct token_bytes *hold)
{
    const json_t *bytes = json_object_get(v, "bytes");
    const size_t n = json_array_size(bytes);
    if (n > sizeof hold->bytes)
        die("a token is too long");
    for (size_t i = 0; i < n; i++)
        hold->bytes[i] = (char)json_integer_value(json_array_get(bytes, i));
    return (struct answer_token){
        .id = number(v, "id"),
        .logprob = (float)json_number_value(json_object_get(v, "logprob")),
        .text = hold->bytes,
        .n = n};
}

static struct answer_usage usage_of(const json_t *v)
{
    return (struct answer_usage){
        .n_prompt = number(v, "n_prompt"),
        .n_cached = number(v, "n_cached"),
        .n_decoded = number(v, "n_decoded"),
        .n_reasoning = number(v, "n_reasoning"),
        .queue_us = (uint64_t)number(v, "queue_us"),
        .prefill_us = (uint64_t)number(v, "prefill_us"),
        .decode_us = (uint64_t)number(v, "decode_us"),
        .total_us = (uint64_t)number(v, "total_us"),
        .load_us = (uint64_t)number(v, "load_us"),
    };
}

static void send_event(struct answer_writer *w, const json_t *v, struct buf *out)
{
    static struct token_bytes hold[API_LOGPROBS_MAX + 1];
    struct answer_token top[API_LOGPROBS_MAX];
    struct api_error error = {0};
    const json_t *tops = json_object_get(v, "top");
    const char *message = json_string_value(json_object_get(v, "message"));
    struct answer_event e = {
        .kind = (enum answer_kind)WORD(kinds, v, "kind"),
        .choice = number(v, "choice"),
        .text = json_string_value(json_object_get(v, "text")),
        .n = json_string_length(json_object_get(v, "text")),
        .id = json_string_value(json_object_get(v, "id")),
        .name = json_string_value(json_object_get(v, "name")),
        .stop_string = json_string_value(json_object_get(v, "stop_string")),
        .usage = usage_of(json_object_get(v, "usage")),
        .top = top,
        .n_top = (int)json_array_size(tops),
        .error = &error,
    };
    if (e.n_top > API_LOGPROBS_MAX)
        die("too many alternatives");
    e.token = token_of(json_object_get(v, "token"), &hold[API_LOGPROBS_MAX]);
    for (int i = 0; i < e.n_top; i++)
        top[i] = token_of(json_array_get(tops, (size_t)i), &hold[i]);
    if (e.kind == ANSWER_END)
        e.finish = (enum answer_finish)WORD(finishes, v, "finish");
    if (e.kind == ANSWER_ERROR) {
        error.kind = (enum api_error_kind)WORD(error_names, v, "error");
        snprintf(error.message, sizeof error.message, "%s", message ? message : "");
    }
    w->ops->event(w, &e, out);
}

static void print_vectors(const struct api_operation *op, const struct api_request *r,
                          const struct answer_head *head, const json_t *vectors,
                          struct buf *out)
{
    static float x[4096];
    struct api_embeddings e = {.vectors = x, .n = (int)json_array_size(vectors)};
    int at = 0;
    for (int i = 0; i < e.n; i++) {
        const json_t *row = json_array_get(vectors, (size_t)i);
        e.n_embd = (int)json_array_size(row);
        for (int k = 0; k < e.n_embd && at < 4096; k++)
            x[at++] = (float)json_number_value(json_array_get(row, (size_t)k));
    }
    e.n_prompt = 7;
    op->print_embeddings(out, r, head, &e);
}

int main(void)
{
    json_error_t json_error;
    json_t *script = json_loadf(stdin, 0, &json_error);
    if (!script)
        die(json_error.text);
    const struct api_operation *op = NULL;
    const char *name = json_string_value(json_object_get(script, "operation"));
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
        if (name && strcmp(operations[i].name, name) == 0)
            op = operations[i].operation;
    if (!op)
        die("no such operation");

    struct buf out;
    buf_init(&out, (size_t)1 << 28);
    struct api_request r;
    struct api_error err = {0};
    api_request_init(&r);
    json_t *body = json_incref(json_object_get(script, "request"));
    const struct answer_head head = {.request_id = "req_1",
                                     .id = "abc",
                                     .model = "tiny",
                                     .fingerprint = "fp_1",
                                     .created_us = 1700000000000000,
                                     .n_prompt = 10};
    int rc = 0;
    if (op->parse(&r, body, &err) != STATUS_OK) {
        int http;
        op->dialect->print_error(&out, &http, &err, head.request_id);
        json_decref(body);
        rc = 3;
    } else if (op->print_embeddings) {
        print_vectors(op, &r, &head, json_object_get(script, "vectors"), &out);
    } else {
        struct answer_writer *w = op->open_writer(&r, &head);
        const json_t *events = json_object_get(script, "events");
        if (!w)
            die("out of memory");
        w->ops->begin(w, &out);
        for (size_t i = 0; i < json_array_size(events); i++)
            send_event(w, json_array_get(events, i), &out);
        w->ops->close(w);
    }
    fwrite(out.data, 1, out.len, stdout);
    rc = out.failed ? 2 : rc;
    buf_release(&out);
    api_request_release(&r);
    json_decref(script);
    return rc;
}
