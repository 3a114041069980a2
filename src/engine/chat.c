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

static enum status render(const struct chat *c, bool generation, struct tokens *out,
                          struct error *err)
{
    const struct tokenizer *t = c->e->tokenizer;
    /* Templates are written for transformers, which passes absent lists as none. */
    json_t *vars = json_pack("{s:O, s:b, s:o, s:o, s:n, s:n}", "messages", c->messages,
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

enum status chat_prompt(const struct chat *c, struct tokens *out, size_t *n_stable,
                        struct error *err)
{
    struct tokens stable;
    tokens_init(&stable);
    out->n = 0;
    *n_stable = 0;
    const enum status s = render(c, true, out, err);
    /* Some templates refuse to render without a generation prompt: nothing is stable
     * then. */
    if (!s && !render(c, false, &stable, NULL))
        while (*n_stable < stable.n && *n_stable < out->n &&
               stable.id[*n_stable] == out->id[*n_stable])
            ++*n_stable;
    tokens_release(&stable);
    return s;
}
