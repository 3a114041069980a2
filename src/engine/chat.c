#include "engine/chat.h"

#include <string.h>

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

enum status chat_prompt(const struct chat *c, struct tokens *out,
                        struct chat_stable *stable, struct error *err)
{
    const struct chat_turn turn = {.messages = c->messages, .think = -1};
    struct chat_prompt_result result;
    const enum status s = chat_prompt_tokens(c->e, &turn, out, &result, err);
    *stable = result.stable;
    return s;
}
