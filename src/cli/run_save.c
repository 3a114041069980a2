/* run_save.c - /save: settings and messages as the commands of a Modelfile. */
#include "cli/run_save.h"

#include <stdio.h>
#include <string.h>

enum { SAVE_BYTES = 128 << 20 };

static enum status add_modelfile_line(struct modelfile *f, enum modelfile_keyword k,
                                      const char *name, const char *value, size_t n,
                                      struct error *err)
{
    struct modelfile_command *c = &f->commands[f->n];
    if (memchr(value, 0, n))
        return fail(err, STATUS_UNSUPPORTED,
                    "a text with U+0000 in it cannot be saved in a model");
    c->keyword = k;
    c->line = f->n + 1;
    c->name = name ? arena_strndup(&f->arena, name, strlen(name)) : NULL;
    c->value = arena_strndup(&f->arena, value, n);
    if (!c->value || (name && !c->name))
        return fail(err, STATUS_LIMIT, "more than %d MiB to save", SAVE_BYTES >> 20);
    f->n++;
    return STATUS_OK;
}

static enum status add_value(struct modelfile *f, const char *name, const json_t *v,
                             struct error *err)
{
    char text[64];
    if (json_is_string(v))
        return add_modelfile_line(f, MODELFILE_PARAMETER, name, json_string_value(v),
                                  json_string_length(v), err);
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text, sizeof text, "%.17g", json_real_value(v));
    else
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "true" : "false");
    return add_modelfile_line(f, MODELFILE_PARAMETER, name, text, strlen(text), err);
}

static size_t count_parameters(json_t *options)
{
    const char *name;
    json_t *v;
    size_t n = 0;
    json_object_foreach(options, name, v) n += json_is_array(v) ? json_array_size(v) : 1;
    return n;
}

static enum status add_values(struct modelfile *f, json_t *options, struct error *err)
{
    const char *name;
    json_t *v, *one;
    size_t i;
    enum status s = STATUS_OK;
    json_object_foreach(options, name, v)
    {
        if (!json_is_array(v) && !s)
            s = add_value(f, name, v, err);
        json_array_foreach(v, i, one) if (!s) s = add_value(f, name, one, err);
    }
    return s;
}

static enum status add_messages(struct modelfile *f, const json_t *messages,
                                struct error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; !s && i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i);
        const json_t *content = json_object_get(m, "content");
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && json_is_string(content))
            s = add_modelfile_line(f, MODELFILE_MESSAGE, role, json_string_value(content),
                                   json_string_length(content), err);
    }
    return s;
}

enum status run_modelfile(struct modelfile *out, const char *from,
                          const struct run_settings *set, const json_t *own,
                          const json_t *messages, struct error *err)
{
    const size_t n = 2 + count_parameters(set->options) + json_array_size(own) +
                     json_array_size(messages);
    *out = (struct modelfile){0};
    arena_init(&out->arena, SAVE_BYTES);
    out->commands = arena_array(&out->arena, n, sizeof *out->commands);
    if (!out->commands)
        return fail(err, STATUS_NO_MEMORY, "no memory for a Modelfile");
    enum status s =
        add_modelfile_line(out, MODELFILE_FROM, NULL, from, strlen(from), err);
    if (!s && set->system)
        s = add_modelfile_line(out, MODELFILE_SYSTEM, NULL,
                               json_string_value(set->system),
                               json_string_length(set->system), err);
    if (!s)
        s = add_values(out, set->options, err);
    /* Messages replace those of the model. */
    if (!s && json_array_size(messages))
        s = add_messages(out, own, err);
    return s ? s : add_messages(out, messages, err);
}
