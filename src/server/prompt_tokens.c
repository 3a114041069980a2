/* prompt_tokens.c - what a request asks the model to read. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "server/internal.h"

int prompt_limit(const struct call *c)
{
    const int n_ctx = c->model->n_ctx;
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
    if (!tokenizer_encode(c->model->engine->tokenizer, out, text, n, NULL, flags, &err))
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
    const int n_vocab = tokenizer_n_vocab(c->model->engine->tokenizer);
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
        if (bytes > (size_t)prompt_limit(c) * c->model->piece_bytes)
            return prompt_too_long(c, bytes / c->model->piece_bytes);
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

static bool has_role(const json_t *messages, size_t i, const char *role)
{
    const json_t *m = json_array_get(messages, i);
    const char *r = json_string_value(json_object_get(m, "role"));
    return r && !strcmp(r, role);
}

/* An answer that calls nothing. */
static bool is_plain_answer(const json_t *messages, size_t i)
{
    const json_t *m = json_array_get(messages, i);
    return has_role(messages, i, "assistant") &&
           !json_array_size(json_object_get(m, "tool_calls"));
}

static size_t content_bytes(const json_t *messages)
{
    size_t i, n = 0;
    json_t *m;
    json_array_foreach(messages, i, m) n +=
        json_string_length(json_object_get(m, "content"));
    return n;
}

/* No prompt of more bytes has few enough tokens: none of the vocabulary is longer. */
static size_t prompt_bytes_max(const struct call *c)
{
    return (size_t)prompt_limit(c) * c->model->piece_bytes;
}

static enum status render_chat(struct call *c, struct tokens *out, struct error *err)
{
    const struct chat_turn turn = {
        .messages = c->messages,
        .tools = c->tools,
        .vars = c->req.template_vars,
        .think = c->req.think == API_THINK_DEFAULT ? -1 : c->req.think == API_THINK_ON,
        .think_effort = c->req.think_effort,
        .replay = c->model->replay,
    };
    out->n = 0;
    return chat_prompt_tokens(c->model->engine, &turn, out, &c->chat, err);
}

/* ---- chats that are too long ---- */

/* cuts [] <- rising positions where what is left of a chat may begin, when messages are
 * dropped from the oldest on, and with them what means nothing without them: results of
 * tools whose call went, the answer to a question that did.  Their number. */
static size_t find_cuts(const json_t *messages, size_t *cuts)
{
    const size_t n = json_array_size(messages);
    size_t n_cut = 0;
    for (size_t at = 0; at + 1 < n;) {
        const bool asked = has_role(messages, at, "user");
        if (has_role(messages, at++, "system"))
            continue;
        while (at + 1 < n && has_role(messages, at, "tool"))
            at++;
        at += asked && at + 1 < n && is_plain_answer(messages, at);
        cuts[n_cut++] = at;
    }
    return n_cut;
}

/* c->messages <- the chat from `cut` on, and system messages before it. */
static enum status render_cut(struct call *c, const json_t *all, size_t cut,
                              struct tokens *out, struct error *err)
{
    const size_t n = json_array_size(all);
    json_decref(c->messages);
    c->messages = json_array();
    c->n_dropped = 0;
    for (size_t i = 0; i < n; i++) {
        if (i < cut && !has_role(all, i, "system"))
            c->n_dropped++;
        else if (json_array_append(c->messages, json_array_get(all, i)))
            return fail(err, STATUS_NO_MEMORY, "out of memory");
    }
    return render_chat(c, out, err);
}

enum cut_fit { CUT_FITS, CUT_LONG, CUT_REFUSED };

static enum cut_fit try_cut(struct call *c, const json_t *all, size_t cut,
                            struct tokens *out)
{
    if (render_cut(c, all, cut, out, NULL))
        return CUT_REFUSED;
    return prompt_fits(c, out->n) ? CUT_FITS : CUT_LONG;
}

/* The first of cuts [n] whose rest fits, or the last.  From the end, so that nothing is
 * rendered that is much longer than what fits, and a few times only.  Templates may
 * refuse that somebody begins: then the cut beside it is tried. */
static size_t choose_cut(struct call *c, const json_t *all, const size_t *cuts, size_t n,
                         struct tokens *out)
{
    size_t low = 0, high = n - 1;
    for (size_t step = 1; low < high && !http_is_gone(c->x);) {
        const size_t gap = high - low;
        size_t at = step && step < gap ? high - step : low + gap / 2;
        enum cut_fit fit = try_cut(c, all, cuts[at], out);
        if (fit == CUT_REFUSED && at + 1 < high)
            fit = try_cut(c, all, cuts[++at], out);
        else if (fit == CUT_REFUSED && at > low)
            fit = try_cut(c, all, cuts[--at], out);
        if (fit == CUT_FITS) {
            high = at;
            step *= 2;
        } else {
            low = at + 1;
            step = 0;
        }
    }
    return cuts[high];
}

static enum status truncate_chat(struct call *c, struct tokens *out, struct error *err)
{
    enum status s = STATUS_OK;
    json_t *all = json_incref(c->messages);
    size_t *cuts = mem_array(json_array_size(all), sizeof *cuts);
    const size_t n = cuts ? find_cuts(all, cuts) : 0;
    if (!cuts)
        s = fail(err, STATUS_NO_MEMORY, "out of memory");
    else if (n)
        s = render_cut(c, all, choose_cut(c, all, cuts, n, out), out, err);
    else
        s = render_chat(c, out, err);
    mem_free(cuts);
    json_decref(all);
    return s;
}

static bool make_chat(struct call *c)
{
    struct tokens *out = &c->prompt[0];
    c->n_prompts = 1;
    if (!json_array_size(c->messages)) {
        call_fail(c, API_ERROR_INVALID, "there are no messages");
        return false;
    }
    const size_t bytes = content_bytes(c->messages);
    const bool hopeless = c->req.task != API_COUNT && bytes > prompt_bytes_max(c);
    /* Before work that would be for nothing: the number is the least that it can be. */
    if (hopeless && !c->req.truncate)
        return prompt_too_long(c, bytes / c->model->piece_bytes);
    struct error err;
    enum status s = hopeless ? STATUS_OK : render_chat(c, out, &err);
    if (!s && c->req.truncate && (hopeless || !prompt_fits(c, out->n)))
        s = truncate_chat(c, out, &err);
    if (s) {
        call_engine_error(c, &err);
        return false;
    }
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
    const struct loaded_model *o = c->model;
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
    /* Ollama's clients send "" where there is none. */
    const char *system =
        c->req.system && *c->req.system ? c->req.system : c->model->system;
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

void prompt_take_messages(struct call *c)
{
    /* Truncation changes the list, not what the client sent. */
    c->messages = json_copy(c->req.messages);
    add_model_messages(c, c->messages);
    c->tools = c->req.tool_choice == API_TOOLS_NONE ? NULL : c->req.tools;
}

bool prompt_make(struct call *c)
{
    const struct api_request *r = &c->req;
    if (r->task == API_CHAT || r->task == API_COUNT) {
        prompt_take_messages(c);
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
