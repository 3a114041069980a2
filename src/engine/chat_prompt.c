#include "engine/chat_prompt.h"

#include <string.h>

#include "engine/chat_messages.h"
#include "engine/chat_replay.h"
#include "text/prompt.h"

bool chat_prompt_can_think(const struct engine *e)
{
    return e->chat.thinks;
}

bool chat_prompt_has_tools(const struct engine *e)
{
    return e->chat.native;
}

/* ---- variables ---- */

/* Whether a request may set the variable: tokens are trusted, and the conversation is
 * the request's own. */
static bool is_free_name(const char *name)
{
    static const char *const taken[] = {"messages", "tools", "add_generation_prompt"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (!strcmp(name, taken[i]))
            return false;
    return n < 6 || strcmp(name + n - 6, "_token") != 0;
}

static enum status template_vars(json_t **out, const struct chat_caps *c,
                                 const struct chat_turn *t, struct error *err)
{
    const char *name, *effort = t->think_effort;
    json_t *v, *vars = json_object();
    *out = vars;
    if (!vars)
        return fail(err, STATUS_NO_MEMORY, "no memory for the template's variables");
    if (t->think >= 0) {
        json_object_set_new(vars, "enable_thinking", json_boolean(t->think));
        json_object_set_new(vars, "thinking", json_boolean(t->think));
    }
    if (!effort && t->think == 0 && c->effort && !c->think_switch)
        effort = "low"; // as little as the model can
    if (effort)
        json_object_set_new(vars, "reasoning_effort", json_string(effort));
    json_object_foreach(t->vars, name, v)
    {
        if (!is_free_name(name))
            return fail(err, STATUS_BAD_INPUT,
                        "the variable %.60s of the chat template cannot be set by a "
                        "request",
                        name);
        json_object_set(vars, name, v);
    }
    return STATUS_OK;
}

/* ---- the text ---- */

/* A prompt in work: the text with the words of replayed answers still in it. */
struct prompt {
    struct chat_render render;
    struct chat_replay replay;
    struct template_output text;
};

static void prompt_release(struct prompt *p)
{
    json_decref(p->render.messages);
    json_decref(p->render.vars);
    chat_replay_release(&p->replay);
    template_output_release(&p->text);
}

/* p->text with the words of what is put back; the plain text where that does not fit. */
static enum status render_replayed(struct prompt *p, const struct engine *e,
                                   const struct chat_turn *t, struct error *err)
{
    struct template_output plain = {0};
    json_t *own = p->render.messages;
    enum status s = chat_render(&p->render, &plain, err);
    if (s || !p->replay.n) {
        p->text = plain;
        return s;
    }
    p->render.messages = chat_messages(&e->chat, p->replay.messages, t->tools);
    if (p->render.messages && !chat_render(&p->render, &p->text, NULL) &&
        chat_replay_check(&p->replay, &p->text, &plain)) {
        template_output_release(&plain);
        json_decref(own);
        return STATUS_OK;
    }
    template_output_release(&p->text);
    json_decref(p->render.messages);
    chat_replay_release(&p->replay);
    p->render.messages = own;
    p->text = plain;
    return STATUS_OK;
}

static enum status prompt_render(struct prompt *p, const struct engine *e,
                                 const struct chat_turn *t, struct error *err)
{
    *p = (struct prompt){0};
    if (!e->template) {
        if (err)
            *err = e->template_error;
        return e->template_error.status;
    }
    const bool tools = json_array_size(t->tools);
    p->render = (struct chat_render){
        .template = e->template,
        .tokenizer = e->tokenizer,
        .tools = tools && e->chat.native ? t->tools : NULL,
        .empty_tools = e->chat.empty_tools,
        .generation = true,
    };
    const enum status s = template_vars(&p->render.vars, &e->chat, t, err);
    if (s)
        return s;
    chat_replay_init(&p->replay, t->replay, e->chat.format, t->messages);
    p->render.messages = chat_messages(&e->chat, t->messages, tools ? t->tools : NULL);
    if (!p->render.messages)
        return fail(err, STATUS_NO_MEMORY, "no memory for the messages of a prompt");
    return render_replayed(p, e, t, err);
}

/* ---- positions that later prompts share ---- */

static const char *role_of(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role ? role : "";
}

/* The messages up to number `user`, which says something else there. */
static json_t *other_ending(json_t *messages, size_t user)
{
    const char *text =
        json_string_value(json_object_get(json_array_get(messages, user), "content"));
    json_t *other = json_array();
    bool ok = other;
    for (size_t i = 0; ok && i < user; i++)
        ok = !json_array_append(other, json_array_get(messages, i));
    ok = ok &&
         !json_array_append_new(other, json_pack("{s:s, s:s}", "role", "user", "content",
                                                 text && text[0] == '0' ? "1" : "0"));
    if (ok)
        return other;
    json_decref(other);
    return NULL;
}

/* Bytes at the start of the text that a rendering of these messages has too; 0 if the
 * template refuses them, as some do without a generation prompt. */
static size_t common_start(const struct prompt *p, json_t *messages)
{
    struct chat_render r = p->render;
    struct template_output other;
    size_t n = 0;
    r.messages = messages;
    r.generation = false;
    if (!messages || chat_render(&r, &other, NULL))
        return 0;
    while (n < other.text.len && n < p->text.text.len &&
           other.text.data[n] == p->text.text.data[n])
        n++;
    template_output_release(&other);
    return n;
}

static size_t start_of_user(const struct prompt *p, size_t user)
{
    json_t *other = other_ending(p->render.messages, user);
    const size_t n = common_start(p, other);
    json_decref(other);
    return n;
}

/* Positions in the text, rising; 0 for none. */
static void find_stable(const struct prompt *p, size_t at[3])
{
    json_t *messages = p->render.messages;
    const size_t n_message = json_array_size(messages);
    size_t first = n_message, last = n_message;
    for (size_t i = 0; i < n_message; i++)
        if (!strcmp(role_of(json_array_get(messages, i)), "user")) {
            first = first == n_message ? i : first;
            last = i;
        }
    at[0] = first < n_message ? start_of_user(p, first) : 0;
    at[1] = last > first ? start_of_user(p, last) : 0;
    at[2] = common_start(p, messages);
}

/* The end in text of a token's bytes that begin at `at`: encoding may have put a space in
 * front, or dropped white space.  SIZE_MAX: they are not there. */
static size_t token_end(const struct buf *text, size_t at, const char *piece, size_t n)
{
    const size_t left = text->len - at;
    if (n <= left && !memcmp(text->data + at, piece, n))
        return at + n;
    if (n && piece[0] == ' ' && n - 1 <= left &&
        !memcmp(text->data + at, piece + 1, n - 1))
        return at + n - 1;
    size_t skip = 0;
    while (skip < left && strchr(" \t\r\n", text->data[at + skip]))
        skip++;
    if (skip && n <= left - skip && !memcmp(text->data + at + skip, piece, n))
        return at + skip + n;
    return SIZE_MAX;
}

/* Numbers of tokens that lie before the positions. */
static void stable_tokens(struct chat_stable *out, const struct tokenizer *t,
                          const struct tokens *tokens, const struct buf *text,
                          const size_t at[3])
{
    size_t end = 0, i = 0;
    *out = (struct chat_stable){0};
    for (int k = 0; k < 3; k++) {
        for (; i < tokens->n && end < at[k]; i++) {
            size_t n;
            const char *piece = tokenizer_piece(t, tokens->id[i], true, &n);
            size_t next = token_end(text, end, piece, n);
            if (next == SIZE_MAX && i == 0)
                next = 0; // bos, which the template did not write
            if (next == SIZE_MAX)
                return;
            if (next > at[k])
                break;
            end = next;
        }
        if (i && (!out->n || i > out->at[out->n - 1]) && at[k])
            out->at[out->n++] = i;
    }
}

/* ---- the interface ---- */

enum status chat_prompt_tokens(const struct engine *e, const struct chat_turn *t,
                               struct tokens *out, struct chat_prompt_result *result,
                               struct error *err)
{
    struct prompt p;
    size_t at[3];
    out->n = 0;
    *result = (struct chat_prompt_result){0};
    enum status s = prompt_render(&p, e, t, err);
    if (s)
        goto out;
    find_stable(&p, at);
    if (p.replay.n && !chat_replay_splice(&p.replay, &p.text)) {
        s = fail(err, STATUS_NO_MEMORY, "no memory for the text of a prompt");
        goto out;
    }
    for (int k = 0; k < 3; k++)
        at[k] = chat_replay_moved(&p.replay, at[k]);
    result->n_replayed = p.replay.n;
    result->reasoning = chat_ends_in_reasoning(e->chat.format, &p.text);
    s = prompt_encode(e->tokenizer, out, &p.text, err);
    if (!s)
        stable_tokens(&result->stable, e->tokenizer, out, &p.text.text, at);
out:
    prompt_release(&p);
    return s;
}

enum status chat_prompt_text(const struct engine *e, const struct chat_turn *t,
                             struct buf *out, struct error *err)
{
    struct prompt p;
    enum status s = prompt_render(&p, e, t, err);
    if (!s && p.replay.n && !chat_replay_splice(&p.replay, &p.text))
        s = fail(err, STATUS_NO_MEMORY, "no memory for the text of a prompt");
    if (!s && !buf_append(out, p.text.text.data, p.text.text.len))
        s = fail(err, STATUS_LIMIT, "the text of the prompt has more than %zu bytes",
                 out->max);
    prompt_release(&p);
    return s;
}
