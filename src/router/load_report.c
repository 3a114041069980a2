#include "router/load_report.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "json/parse.h"

enum { NUMBER_BYTES = 64 };

static const struct {
    const char *name;
    bool waits;
} load_names[] = {
    {"llamacpp:requests_processing", false},
    {"llamacpp:requests_deferred", true},
    {"vllm:num_requests_running", false},
    {"vllm:num_requests_waiting", true},
};

/* Behind the closing brace of the labels that begin at p, NULL without one. */
static const char *behind_labels(const char *p, const char *end)
{
    bool quoted = false;
    for (p++; p < end; p++) {
        if (quoted && *p == '\\')
            p++;
        else if (*p == '"')
            quoted = !quoted;
        else if (*p == '}' && !quoted)
            return p + 1;
    }
    return NULL;
}

/* A number of requests at p, -1 if there is none. */
static int number_at(const char *p, const char *end)
{
    char text[NUMBER_BYTES], *rest;
    size_t n = 0;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    while (p + n < end && p[n] != ' ' && p[n] != '\t' && p[n] != '\r' &&
           n + 1 < sizeof text)
        text[n] = p[n], n++;
    text[n] = 0;
    const double v = strtod(text, &rest);
    if (!n || n + 1 == sizeof text || *rest || !(v >= 0 && v <= LOAD_MOST))
        return -1;
    return (int)lround(v);
}

/* Which of load_names a line is of, -1: none.  *value: behind the name. */
static int name_of_line(const char *line, const char *end, const char **value)
{
    for (int i = 0; i < (int)(sizeof load_names / sizeof *load_names); i++) {
        const size_t n = strlen(load_names[i].name);
        if ((size_t)(end - line) <= n || memcmp(line, load_names[i].name, n))
            continue;
        *value = line + n;
        if (**value == '{' || **value == ' ' || **value == '\t')
            return i;
    }
    return -1;
}

enum load_found load_report_metrics(struct load_report *out, const char *text, size_t n,
                                    const char **why)
{
    const char *const end = text + n;
    bool found = false;
    *out = (struct load_report){0};
    *why = "";
    for (const char *line = text, *next; line < end; line = next) {
        const char *lf = memchr(line, '\n', (size_t)(end - line));
        const char *const to = lf ? lf : end;
        const char *value;
        next = lf ? lf + 1 : end;
        const int i = name_of_line(line, to, &value);
        if (i < 0)
            continue;
        if (*value == '{')
            value = behind_labels(value, to);
        const int v = value ? number_at(value, to) : -1;
        int *sum = load_names[i].waits ? &out->n_waiting : &out->n_running;
        if (v < 0 || v > LOAD_MOST - *sum) {
            *why = "a number of requests that cannot be";
            return LOAD_WRONG;
        }
        *sum += v;
        found = true;
    }
    return found ? LOAD_FOUND : LOAD_ABSENT;
}

static enum load_found count_slots(struct load_report *out, const json_t *v,
                                   const char **why)
{
    size_t i;
    json_t *slot;
    if (!json_is_array(v) || json_array_size(v) > LOAD_SLOTS_MAX) {
        *why = "no list of slots";
        return LOAD_WRONG;
    }
    json_array_foreach(v, i, slot)
    {
        const json_t *busy = json_object_get(slot, "is_processing");
        if (!json_is_boolean(busy)) {
            *why = "a slot that does not say whether it is at work";
            return LOAD_WRONG;
        }
        out->n_running += json_is_true(busy);
    }
    return LOAD_FOUND;
}

enum load_found load_report_slots(struct load_report *out, const char *text, size_t n,
                                  const char **why)
{
    json_t *v = json_parse(text, n, 0, NULL);
    *out = (struct load_report){0};
    *why = "";
    const enum load_found found = count_slots(out, v, why);
    json_decref(v);
    return found;
}
