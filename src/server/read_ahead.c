/* read_ahead.c - what the next prompt of a chat begins with, read while nobody is served.
 *
 * A client sends the answer back, and the template prints it: trimmed, without reasoning,
 * and in the tokenizer's own tokens, which are not always those that were sampled.  From
 * where that differs the next prompt would have to be read again. */
#include <string.h>

#include "server/internal.h"

/* The answer as this client's next request has it: Anthropic's send reasoning back. */
static json_t *answer_message(const struct call *c, const struct choice *ch)
{
    json_t *m = json_pack("{s:s,s:s%}", "role", "assistant", "content",
                          ch->content.data ? ch->content.data : "", ch->content.len);
    if (ch->calls)
        json_object_set(m, "tool_calls", ch->calls);
    if (ch->thought.len && c->dialect == &dialect_anthropic && !c->req.hide_thinking)
        json_object_set_new(m, "reasoning_content",
                            json_stringn(ch->thought.data, ch->thought.len));
    return m;
}

/* What follows it: results of its calls, or a user's text. */
static bool add_next(json_t *messages, const json_t *calls, const char *text)
{
    size_t i;
    json_t *call;
    if (!json_array_size(calls))
        return !json_array_append_new(
            messages, json_pack("{s:s,s:s}", "role", "user", "content", text));
    json_array_foreach(calls, i, call)
    {
        const json_t *name = json_object_get(json_object_get(call, "function"), "name");
        json_t *m = json_pack("{s:s,s:s,s:O,s:O}", "role", "tool", "content", text,
                              "tool_call_id", json_object_get(call, "id"), "name", name);
        if (json_array_append_new(messages, m))
            return false;
    }
    return true;
}

static bool render_next(const struct call *c, const struct choice *ch, const char *text,
                        struct tokens *out)
{
    json_t *messages = json_copy(c->messages);
    struct chat_prompt_result result;
    const struct chat_turn turn = {
        .messages = messages,
        .tools = c->tools,
        .vars = c->req.template_vars,
        .think = c->req.think == API_THINK_DEFAULT ? -1 : c->req.think == API_THINK_ON,
        .think_effort = c->req.think_effort,
        .replay = c->model->replay,
    };
    const bool ok = !json_array_append_new(messages, answer_message(c, ch)) &&
                    add_next(messages, ch->calls, text) &&
                    !chat_prompt_tokens(c->model->engine, &turn, out, &result, NULL);
    json_decref(messages);
    return ok;
}

void read_ahead(const struct call *c)
{
    const struct choice *ch = &c->choice[0];
    struct tokens one, other;
    size_t n = 0;
    if (!c->messages || c->n_choice != 1 || !ch->parser || ch->content.failed ||
        ch->thought.failed)
        return;
    tokens_init(&one);
    tokens_init(&other);
    /* Up to where two different texts would begin. */
    if (render_next(c, ch, "0", &one) && render_next(c, ch, "1", &other))
        while (n < one.n && n < other.n && one.id[n] == other.id[n])
            n++;
    if (n && n < (size_t)prompt_limit(c))
        scheduler_read_ahead(c->model->scheduler, one.id, n);
    tokens_release(&one);
    tokens_release(&other);
}
