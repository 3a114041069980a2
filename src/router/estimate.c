/* estimate.c - the text of a request's prompt, in whatever shape its API has it. */
#include <string.h>

#include "router/internal.h"

enum { TEXT_DEPTH = 64 };

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
        count_text(t, v, 0);
        t->n_message += json_is_array(v) ? json_array_size(v) : 1;
    }
}
