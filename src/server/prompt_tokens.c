/* prompt_tokens.c - what a request asks the model to read. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/internal.h"

int prompt_limit(const struct call *c)
{
    const int n_ctx = c->server->n_ctx;
    return c->req.n_ctx > 0 && c->req.n_ctx < n_ctx ? c->req.n_ctx : n_ctx;
}

/* At least one token of the answer must fit. */
static bool prompt_fits(const struct call *c, size_t n)
{
    return n < (size_t)prompt_limit(c);
}

/* What the prompt was sent in. */
static const char *field_of_prompt(const struct call *c)
{
    if (c->route->op == &openai_responses || c->req.task == API_EMBED)
        return "input";
    return c->req.task == API_COMPLETION || c->req.task == API_INFILL ? "prompt"
                                                                      : "messages";
}

bool prompt_too_long(struct call *c, size_t n)
{
    const int limit = prompt_limit(c);
    /* A prompt as long as the context leaves no room for an answer. */
    struct api_error e = {.kind = API_ERROR_TOO_LONG,
                          .n_prompt = (int)n,
                          .n_ctx = n > (size_t)limit ? limit : limit - 1};
    snprintf(e.param, sizeof e.param, "%s", field_of_prompt(c));
    snprintf(
        e.message, sizeof e.message,
        "the prompt has %zu tokens, and the context %d, one of which is the answer's", n,
        limit);
    call_error(c, &e);
    return false;
}

bool prompt_add_text(struct call *c, struct tokens *out, const char *text, size_t n,
                     unsigned flags)
{
    struct error err;
    if (!tokenizer_encode(c->server->engine->tokenizer, out, text, n, NULL, flags, &err))
        return true;
    call_engine_error(c, &err);
    return false;
}

static bool no_memory(struct call *c)
{
    call_fail(c, API_ERROR_INTERNAL, "out of memory");
    return false;
}

bool prompt_encode_input(struct call *c, const json_t *input, struct tokens *out)
{
    const int n_vocab = tokenizer_n_vocab(c->server->engine->tokenizer);
    size_t i;
    json_t *v;
    if (json_is_string(input))
        return prompt_add_text(c, out, json_string_value(input),
                               json_string_length(input),
                               TOKENIZER_SPECIAL | TOKENIZER_ADD);
    json_array_foreach(input, i, v)
    {
        const json_int_t id = json_integer_value(v);
        if (!json_is_integer(v) || id < 0 || id >= n_vocab) {
            call_fail(c, API_ERROR_INVALID,
                      "token %zu of the prompt is not an id of the vocabulary, 0 to %d",
                      i, n_vocab - 1);
            return false;
        }
        if (!tokens_push(out, (int32_t)id))
            return no_memory(c);
    }
    return true;
}

static bool make_texts(struct call *c)
{
    const size_t n = json_array_size(c->req.prompts);
    if (!n || n * (size_t)c->req.n > API_N_MAX) {
        call_fail(c, API_ERROR_INVALID,
                  "%zu prompts with %d answers each: 1 to %d answers", n, c->req.n,
                  API_N_MAX);
        return false;
    }
    for (size_t i = 0; i < n; i++, c->n_prompts++) {
        const size_t bytes = json_string_length(json_array_get(c->req.prompts, i));
        if (bytes > (size_t)prompt_limit(c) * c->server->piece_bytes)
            return prompt_too_long(c, bytes / c->server->piece_bytes);
        if (!prompt_encode_input(c, json_array_get(c->req.prompts, i), &c->prompt[i]))
            return false;
        if (!c->prompt[i].n) {
            call_fail(c, API_ERROR_INVALID, "the prompt is empty");
            return false;
        }
    }
    return true;
}

/* ---- chats ---- */

/* The position of the oldest message that may go: behind leading system messages, and
 * not the last one.  -1: none. */
static int oldest(const json_t *messages)
{
    const size_t n = json_array_size(messages);
    for (size_t i = 0; i + 1 < n; i++) {
        const json_t *m = json_array_get(messages, i);
        if (strcmp(json_string_value(json_object_get(m, "role")), "system"))
            return (int)i;
    }
    return -1;
}

static bool has_role(const json_t *messages, int i, const char *role)
{
    const json_t *m = json_array_get(messages, (size_t)i);
    const char *r = json_string_value(json_object_get(m, "role"));
    return r && !strcmp(r, role);
}

static size_t content_bytes(const json_t *message)
{
    return json_string_length(json_object_get(message, "content"));
}

/* No prompt of more bytes has few enough tokens: none of the vocabulary is longer. */
static size_t most_bytes(const struct call *c)
{
    return (size_t)prompt_limit(c) * c->server->piece_bytes;
}

/* The tokens of the message's text, and a guess of those that the template puts around
 * it, not too low: messages must not go that could have stayed. */
static size_t message_tokens(const struct call *c, const json_t *message)
{
    enum { AROUND = 32 };
    const json_t *text = json_object_get(message, "content");
    struct tokens t;
    tokens_init(&t);
    (void)!tokenizer_encode(c->server->engine->tokenizer, &t, json_string_value(text),
                            json_string_length(text), NULL, 0, NULL);
    const size_t n = t.n + AROUND;
    tokens_release(&t);
    return n;
}

/* An answer that calls nothing, and is not the last message. */
static bool is_plain_answer(const json_t *messages, int i)
{
    const json_t *m = json_array_get(messages, (size_t)i);
    return (size_t)i + 1 < json_array_size(messages) &&
           has_role(messages, i, "assistant") &&
           !json_array_size(json_object_get(m, "tool_calls"));
}

/* Drop the oldest message with what means nothing without it: results of tools whose
 * call went, the answer to a question that did.  *bytes loses theirs; n_token (may be
 * NULL) gets at least their tokens added. */
static bool drop_oldest(struct call *c, size_t *bytes, size_t *n_token)
{
    const int i = oldest(c->messages);
    if (i < 0)
        return false;
    const bool asked = has_role(c->messages, i, "user");
    do {
        const json_t *m = json_array_get(c->messages, (size_t)i);
        *bytes -= content_bytes(m);
        if (n_token)
            *n_token += message_tokens(c, m);
        json_array_remove(c->messages, (size_t)i);
        c->n_dropped++;
    } while (has_role(c->messages, i, "tool") &&
             (size_t)i + 1 < json_array_size(c->messages));
    if (asked && is_plain_answer(c->messages, i)) {
        json_array_remove(c->messages, (size_t)i);
        c->n_dropped++;
    }
    return true;
}

static bool render_chat(struct call *c, struct tokens *out)
{
    struct error err;
    const struct chat_turn turn = {
        .messages = c->messages,
        .tools = c->tools,
        .vars = c->req.template_vars,
        .think = c->req.think == API_THINK_DEFAULT ? -1 : c->req.think == API_THINK_ON,
        .think_effort = c->req.think_effort,
        .replay = c->server->replay,
    };
    out->n = 0;
    if (!chat_prompt_tokens(c->server->engine, &turn, out, &c->chat, &err))
        return true;
    call_engine_error(c, &err);
    return false;
}

/* Drop messages, rendering again only when enough may have gone. */
static bool truncate_chat(struct call *c, struct tokens *out, size_t *bytes)
{
    while (!prompt_fits(c, out->n)) {
        const size_t excess = out->n - (size_t)prompt_limit(c) + 1;
        size_t gone = 0;
        while (gone < excess && drop_oldest(c, bytes, &gone))
            continue;
        if (!gone)
            return true; // nothing is left to drop
        if (!render_chat(c, out))
            return false;
    }
    return true;
}

static bool make_chat(struct call *c)
{
    struct tokens *out = &c->prompt[0];
    size_t bytes = 0, i;
    json_t *m;
    c->n_prompts = 1;
    if (!json_array_size(c->messages)) {
        call_fail(c, API_ERROR_INVALID, "there are no messages");
        return false;
    }
    json_array_foreach(c->messages, i, m) bytes += content_bytes(m);
    while (c->req.truncate && bytes > most_bytes(c) && drop_oldest(c, &bytes, NULL))
        continue;
    /* Before work that would be for nothing: the number is the least that it can be. */
    if (c->req.task != API_COUNT && bytes > most_bytes(c))
        return prompt_too_long(c, bytes / c->server->piece_bytes);
    if (!render_chat(c, out) || (c->req.truncate && !truncate_chat(c, out, &bytes)))
        return false;
    struct metrics *counts = &c->server->metrics;
    if (c->n_dropped)
        metrics_add(counts, &counts->truncated, (uint64_t)c->n_dropped);
    if (c->chat.n_replayed)
        metrics_add(counts, &counts->replayed, (uint64_t)c->chat.n_replayed);
    return true;
}

/* A prompt that is not raw is what a user said. */
static bool messages_of_prompt(struct call *c)
{
    const json_t *prompt = json_array_get(c->req.prompts, 0);
    c->messages = json_array();
    if (c->req.system)
        json_array_append_new(c->messages, json_pack("{s:s,s:s}", "role", "system",
                                                     "content", c->req.system));
    json_array_append_new(c->messages,
                          json_pack("{s:s,s:O}", "role", "user", "content", prompt));
    if (json_is_string(prompt) &&
        json_array_size(c->messages) == (c->req.system ? 2u : 1u))
        return true;
    call_fail(c, API_ERROR_INVALID, "the prompt must be text");
    return false;
}

bool prompt_make(struct call *c)
{
    const struct api_request *r = &c->req;
    if (r->task == API_CHAT || r->task == API_COUNT) {
        /* Truncation changes the list, not what the client sent. */
        c->messages = json_copy(r->messages);
        c->tools = r->tool_choice == API_TOOLS_NONE ? NULL : r->tools;
        if (!make_chat(c))
            return false;
    } else if (r->suffix) {
        if (!infill_make(c))
            return false;
    } else if (r->raw || r->task == API_INFILL) {
        if (!make_texts(c))
            return false;
    } else if (!messages_of_prompt(c) || !make_chat(c)) {
        return false;
    }
    if (r->task == API_COUNT)
        return true;
    for (int i = 0; i < c->n_prompts; i++)
        if (!prompt_fits(c, c->prompt[i].n))
            return prompt_too_long(c, c->prompt[i].n);
    return true;
}
