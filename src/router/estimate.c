/* estimate.c - the text of a request's prompt, in whatever shape its API has it. */
#include <string.h>

#include "router/internal.h"

enum { TEXT_DEPTH = 64 };

static void count_marks(struct estimate_text *t, const char *marks)
{
    token_estimate_count(t, marks, strlen(marks));
}

/* As templates print it: what is no text of its own, tools and their arguments, has its
 * quotes and braces in the prompt. */
static void count_json(struct estimate_text *t, const json_t *v, int depth)
{
    const char *name;
    json_t *m;
    size_t i;
    if (depth > TEXT_DEPTH)
        return;
    switch (json_typeof(v)) {
    case JSON_STRING:
        count_marks(t, "\"");
        token_estimate_count(t, json_string_value(v), json_string_length(v));
        count_marks(t, "\",");
        return;
    case JSON_OBJECT:
        count_marks(t, "{");
        json_object_foreach((json_t *)v, name, m)
        {
            if (!strcmp(name, "cache_control"))
                continue;
            count_marks(t, "\"");
            token_estimate_count(t, name, strlen(name));
            count_marks(t, "\":");
            count_json(t, m, depth + 1);
        }
        count_marks(t, "},");
        return;
    case JSON_ARRAY:
        count_marks(t, "[");
        json_array_foreach(v, i, m)
        {
            count_json(t, m, depth + 1);
        }
        count_marks(t, "],");
        return;
    default:
        count_marks(t, "1,");
    }
}

static void count_text(struct estimate_text *t, const json_t *v, int depth)
{
    const char *name;
    json_t *m;
    size_t i;
    if (depth > TEXT_DEPTH)
        return;
    switch (json_typeof(v)) {
    case JSON_STRING:
        token_estimate_count(t, json_string_value(v), json_string_length(v));
        return;
    case JSON_OBJECT:
        json_object_foreach((json_t *)v, name, m)
        {
            // Images and the like are not read as text.
            if (!strcmp(name, "data") || !strcmp(name, "image_url") ||
                !strcmp(name, "images") || !strcmp(name, "cache_control"))
                continue;
            token_estimate_count(t, name, strlen(name));
            if (!strcmp(name, "input") || !strcmp(name, "arguments"))
                count_json(t, m, depth + 1);
            else
                count_text(t, m, depth + 1);
        }
        return;
    case JSON_ARRAY:
        json_array_foreach(v, i, m)
        {
            count_text(t, m, depth + 1);
        }
        return;
    default:
        token_estimate_count(t, "1", 1);
    }
}

void estimate_body(struct estimate_text *t, const json_t *body)
{
    static const char *const parts[] = {"messages",     "system",  "tools",
                                        "prompt",       "suffix",  "input",
                                        "instructions", "content", "functions"};
    *t = (struct estimate_text){0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const json_t *v = json_object_get(body, parts[i]);
        if (!v)
            continue;
        if (!strcmp(parts[i], "tools") || !strcmp(parts[i], "functions"))
            count_json(t, v, 0);
        else
            count_text(t, v, 0);
        t->n_message += json_is_array(v) ? json_array_size(v) : 1;
    }
}
