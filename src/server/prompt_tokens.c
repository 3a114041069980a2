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

bool prompt_too_long(struct call *c, size_t n)
{
    const int limit = prompt_limit(c);
    /* A prompt as long as the context leaves no room for an answer. */
    struct api_error e = {.kind = API_ERROR_TOO_LONG,
                          .n_prompt = (int)n,
                          .n_ctx = n > (size_t)limit ? limit : limit - 1};
    const char *param = c->route->op == &openai_responses ? "input"
                        : c->req.task == API_CHAT         ? "messages"
                                                          : "prompt";
    snprintf(e.param, sizeof e.param, "%s", param);
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

/* Drop the oldest message, and results of tools whose call went with it. */
static bool drop_oldest(struct call *c)
{
    const int i = oldest(c->messages);
    if (i < 0)
        return false;
    do {
        json_array_remove(c->messages, (size_t)i);
        c->n_dropped++;
    } while (has_role(c->messages, i, "tool") &&
             (size_t)i + 1 < json_array_size(c->messages));
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

static bool make_chat(struct call *c)
{
    struct tokens *out = &c->prompt[0];
    c->n_prompts = 1;
    if (!json_array_size(c->messages)) {
        call_fail(c, API_ERROR_INVALID, "there are no messages");
        return false;
    }
    if (!render_chat(c, out))
        return false;
    while (c->req.truncate && !prompt_fits(c, out->n) && drop_oldest(c))
        if (!render_chat(c, out))
            return false;
    struct metrics *m = &c->server->metrics;
    if (c->n_dropped)
        metrics_add(m, &m->truncated, (uint64_t)c->n_dropped);
    if (c->chat.n_replayed)
        metrics_add(m, &m->replayed, (uint64_t)c->chat.n_replayed);
    return true;
}

/* What the model's Modelfile puts in front of a chat: its SYSTEM where the client has
 * none, then its MESSAGEs. */
static void add_model_messages(const struct call *c, json_t *messages)
{
    const struct server_options *o = &c->server->o;
    if (!json_array_size(messages))
        return;
    const bool has_system = has_role(messages, 0, "system");
    for (size_t i = json_array_size(o->messages); i-- > 0;)
        json_array_insert(messages, has_system, json_array_get(o->messages, i));
    if (o->system && !has_system)
        json_array_insert_new(
            messages, 0, json_pack("{s:s,s:s}", "role", "system", "content", o->system));
}

/* A prompt that is not raw is what a user said. */
static bool messages_of_prompt(struct call *c)
{
    const json_t *prompt = json_array_get(c->req.prompts, 0);
    c->messages = json_array();
    const char *system = c->req.system ? c->req.system : c->server->o.system;
    if (system)
        json_array_append_new(
            c->messages, json_pack("{s:s,s:s}", "role", "system", "content", system));
    json_array_append_new(c->messages,
                          json_pack("{s:s,s:O}", "role", "user", "content", prompt));
    if (json_is_string(prompt) && json_array_size(c->messages) == (system ? 2u : 1u))
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
        add_model_messages(c, c->messages);
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
