#include "engine/chat.h"

#include <string.h>
#include <time.h>

#include "text/prompt.h"

enum status chat_open(struct chat *c, const struct engine *e, struct error *err)
{
    *c = (struct chat){.e = e};
    if (!e->template) {
        if (err)
            *err = e->template_error;
        return e->template_error.status;
    }
    c->messages = json_array();
    if (!c->messages)
        return fail(err, STATUS_NO_MEMORY, "no memory for a conversation");
    return STATUS_OK;
}

void chat_close(struct chat *c)
{
    json_decref(c->messages);
    *c = (struct chat){0};
}

void chat_clear(struct chat *c)
{
    const char *role =
        json_string_value(json_object_get(json_array_get(c->messages, 0), "role"));
    const size_t keep = role && !strcmp(role, "system");
    while (json_array_size(c->messages) > keep)
        chat_drop_last(c);
}

enum status chat_add(struct chat *c, const char *role, const char *content, size_t n,
                     struct error *err)
{
    json_t *text = json_stringn(content, n);
    if (!text)
        return fail(err, STATUS_BAD_INPUT, "the text of the %s is not valid UTF-8", role);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", text);
    if (!message || json_array_append_new(c->messages, message))
        return fail(err, STATUS_NO_MEMORY, "no memory for a message");
    return STATUS_OK;
}

void chat_drop_last(struct chat *c)
{
    if (json_array_size(c->messages))
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
}

/* The text of a vocabulary entry as JSON, "" for none. */
static json_t *token_json(const struct tokenizer *t, int32_t id)
{
    size_t n = 0;
    const char *s = id >= 0 ? tokenizer_text(t, id, &n) : "";
    json_t *v = json_stringn(s, n);
    return v ? v : json_string("");
}

static enum status render(const struct chat *c, json_t *messages, bool generation,
                          struct tokens *out, struct error *err)
{
    const struct tokenizer *t = c->e->tokenizer;
    /* Templates are written for transformers, which passes absent lists as none. */
    json_t *vars = json_pack("{s:O, s:b, s:o, s:o, s:n, s:n}", "messages", messages,
                             "add_generation_prompt", generation, "bos_token",
                             token_json(t, tokenizer_bos(t)), "eos_token",
                             token_json(t, tokenizer_eos(t)), "tools", "documents");
    struct template_output text = {0};
    enum status s;
    if (!vars) {
        s = fail(err, STATUS_NO_MEMORY, "no memory for the template's variables");
        goto out;
    }
    s = template_render(c->e->template, vars, time(NULL), &template_limits_default, &text,
                        err);
    if (!s)
        s = prompt_encode(t, out, &text, err);
out:
    template_output_release(&text);
    json_decref(vars);
    return s;
}

/* Tokens at the start of prompt that another rendering has too; 0 if the template refuses
 * it, as some do without a generation prompt. */
static size_t common_start(const struct chat *c, json_t *messages,
                           const struct tokens *prompt)
{
    struct tokens other;
    size_t n = 0;
    tokens_init(&other);
    if (messages && !render(c, messages, false, &other, NULL))
        while (n < other.n && n < prompt->n && other.id[n] == prompt->id[n])
            n++;
    tokens_release(&other);
    return n;
}

static const char *role_of(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role ? role : "";
}

/* The messages up to number `user`, which says something else there. */
static json_t *other_ending(const json_t *messages, size_t user)
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

static void add_stable(struct chat_stable *s, size_t n)
{
    if (n && (!s->n || n > s->at[s->n - 1]))
        s->at[s->n++] = n;
}

static size_t start_of_user(const struct chat *c, size_t user,
                            const struct tokens *prompt)
{
    json_t *other = other_ending(c->messages, user);
    const size_t n = common_start(c, other, prompt);
    json_decref(other);
    return n;
}

enum status chat_prompt(const struct chat *c, struct tokens *out,
                        struct chat_stable *stable, struct error *err)
{
    const size_t n_message = json_array_size(c->messages);
    size_t first = n_message, last = n_message;
    out->n = 0;
    *stable = (struct chat_stable){0};
    const enum status s = render(c, c->messages, true, out, err);
    if (s)
        return s;
    for (size_t i = 0; i < n_message; i++)
        if (!strcmp(role_of(json_array_get(c->messages, i)), "user")) {
            first = first == n_message ? i : first;
            last = i;
        }
    if (first < n_message)
        add_stable(stable, start_of_user(c, first, out));
    if (last > first)
        add_stable(stable, start_of_user(c, last, out));
    add_stable(stable, common_start(c, c->messages, out));
    return STATUS_OK;
}
