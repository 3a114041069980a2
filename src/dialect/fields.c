#include "dialect/fields.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "dialect/request.h"

/* Rows name the array alone (FIELD_STRINGS). */
_Static_assert(offsetof(struct api_request, n_stop) ==
                   offsetof(struct api_request, stop) +
                       sizeof(const char *[API_STOP_MAX]),
               "n_stop is behind stop");

struct field_place {
    const struct field *field;
    char *at; // where its value goes
    const char *path;
    struct api_error *err;
};

static const char *value_words(const json_t *v, char out[40])
{
    switch (json_typeof(v)) {
    case JSON_INTEGER:
        snprintf(out, 40, "%lld", (long long)json_integer_value(v));
        return out;
    case JSON_REAL:
        snprintf(out, 40, "%.9g", json_real_value(v));
        return out;
    case JSON_STRING:
        if (json_string_length(v) <= 30 && strlen(json_string_value(v)) > 0)
            snprintf(out, 40, "'%s'", json_string_value(v));
        else
            snprintf(out, 40, "a string of %zu bytes", json_string_length(v));
        return out;
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    case JSON_NULL:
        break;
    }
    return "null";
}

static enum status wrong_value(const struct field_place *p, const json_t *v,
                               const char *expected)
{
    char param[64], got[40];
    snprintf(param, sizeof param, "%s%s", p->path, p->field->name);
    return api_fail(p->err, STATUS_BAD_INPUT, API_ERROR_INVALID, param,
                    "%s must be %s, not %s", param, expected, value_words(v, got));
}

/* "from 0 to 2", with what a maximum of the type itself does not say left out. */
static void range_words(const struct field *f, char *out, size_t n)
{
    if (f->max >= INT_MAX)
        snprintf(out, n, "at least %.10g", f->min);
    else
        snprintf(out, n, "from %.10g to %.10g", f->min, f->max);
}

/* A number without a fraction. */
static bool whole_number(const json_t *v, double *out)
{
    *out = json_number_value(v);
    return json_is_number(v) && floor(*out) == *out;
}

static enum status read_int(const struct field_place *p, const json_t *v)
{
    double d;
    if (!whole_number(v, &d) || d < p->field->min || d > p->field->max || d > INT_MAX) {
        char range[64], expected[96];
        range_words(p->field, range, sizeof range);
        snprintf(expected, sizeof expected, "an integer %s", range);
        return wrong_value(p, v, expected);
    }
    *(int *)(void *)p->at = (int)d;
    return STATUS_OK;
}

static enum status read_float(const struct field_place *p, const json_t *v)
{
    const double d = json_number_value(v);
    if (!json_is_number(v) || !isfinite(d) || d < p->field->min || d > p->field->max) {
        char range[64], expected[96];
        range_words(p->field, range, sizeof range);
        snprintf(expected, sizeof expected, "a number %s", range);
        return wrong_value(p, v, expected);
    }
    *(float *)(void *)p->at = (float)d;
    return STATUS_OK;
}

static enum status read_seed(const struct field_place *p, const json_t *v)
{
    struct api_sampling *s = (void *)p->at;
    const double d = json_number_value(v);
    if (json_is_integer(v))
        s->seed = (uint64_t)json_integer_value(v);
    else if (json_is_real(v) && floor(d) == d && d >= -0x1p63 && d < 0x1p64)
        s->seed = d < 0 ? (uint64_t)(int64_t)d : (uint64_t)d;
    else
        return wrong_value(p, v, "an integer of at most 64 bits");
    s->any_seed = d == -1;
    s->has_seed = !s->any_seed;
    return STATUS_OK;
}

/* Of at least min and at most max bytes, none of them 0. */
static bool plain_string(const json_t *v, double min, double max)
{
    const size_t n = json_string_length(v);
    return json_is_string(v) && (double)n >= min && (double)n <= max &&
           !memchr(json_string_value(v), 0, n);
}

static enum status read_string(const struct field_place *p, const json_t *v)
{
    if (!plain_string(v, p->field->min, p->field->max)) {
        char expected[64];
        snprintf(expected, sizeof expected, "a string of at most %.0f bytes",
                 p->field->max);
        return json_is_string(v) ? wrong_value(p, v, expected)
                                 : wrong_value(p, v, "a string");
    }
    *(const char **)(void *)p->at = json_string_value(v);
    return STATUS_OK;
}

static enum status read_strings(const struct field_place *p, const json_t *v)
{
    const char **list = (void *)p->at;
    const json_t *const one = v;
    const bool is_array = json_is_array(v);
    const size_t n = is_array ? json_array_size(v) : 1;
    char expected[128];
    snprintf(expected, sizeof expected,
             "a string or an array of at most %d strings, each of 1 to %.0f bytes",
             API_STOP_MAX, p->field->max);
    if (n > API_STOP_MAX)
        return wrong_value(p, v, expected);
    for (size_t i = 0; i < n; i++) {
        const json_t *s = is_array ? json_array_get(v, i) : one;
        if (!plain_string(s, 1, p->field->max))
            return wrong_value(p, v, expected);
        list[i] = json_string_value(s);
    }
    *(int *)(void *)(list + API_STOP_MAX) = (int)n;
    return STATUS_OK;
}

/* Index of the word in "a|b|c", -1 if it is none of them. */
static int choice_index(const char *choices, const char *word, size_t n)
{
    int i = 0;
    for (const char *p = choices;; i++) {
        const size_t len = strcspn(p, "|");
        if (len == n && memcmp(p, word, n) == 0)
            return i;
        if (!p[len])
            return -1;
        p += len + 1;
    }
}

static enum status read_choice(const struct field_place *p, const json_t *v)
{
    const int i =
        json_is_string(v)
            ? choice_index(p->field->choices, json_string_value(v), json_string_length(v))
            : -1;
    if (i < 0) {
        char expected[256];
        snprintf(expected, sizeof expected, "one of %s", p->field->choices);
        return wrong_value(p, v, expected);
    }
    *(int *)(void *)p->at = i;
    return STATUS_OK;
}

static enum status read_refused(const struct field_place *p, const json_t *v)
{
    if (json_is_false(v) || (json_is_string(v) && json_string_length(v) == 0) ||
        (json_is_array(v) && json_array_size(v) == 0) ||
        (json_is_object(v) && json_object_size(v) == 0))
        return STATUS_OK;
    char param[64];
    snprintf(param, sizeof param, "%s%s", p->path, p->field->name);
    return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, param,
                    "%s is not supported: %s", param, p->field->help);
}

static enum status read_field(const struct field_place *p, const json_t *v)
{
    switch (p->field->type) {
    case FIELD_BOOL:
        if (!json_is_boolean(v))
            return wrong_value(p, v, "true or false");
        *(bool *)p->at = json_is_true(v);
        return STATUS_OK;
    case FIELD_INT:
        return read_int(p, v);
    case FIELD_SEED:
        return read_seed(p, v);
    case FIELD_FLOAT:
        return read_float(p, v);
    case FIELD_STRING:
        return read_string(p, v);
    case FIELD_STRINGS:
        return read_strings(p, v);
    case FIELD_CHOICE:
        return read_choice(p, v);
    case FIELD_REFUSED:
        return read_refused(p, v);
    case FIELD_JSON:
    case FIELD_IGNORED:
        break;
    }
    return STATUS_OK;
}

enum status fields_read(const struct field_table *t, const json_t *object, void *base,
                        const char *path, struct api_error *err)
{
    for (int i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        const json_t *v = json_object_get(object, f->name);
        if (!v || json_is_null(v))
            continue;
        const struct field_place p = {f, (char *)base + f->offset, path, err};
        const enum status s = read_field(&p, v);
        if (s != STATUS_OK)
            return s;
    }
    return STATUS_OK;
}

static void print_range(struct buf *out, const struct field *f)
{
    char range[64];
    switch (f->type) {
    case FIELD_INT:
    case FIELD_FLOAT:
        range_words(f, range, sizeof range);
        buf_puts(out, range);
        break;
    case FIELD_STRING:
        if (f->max < INT_MAX)
            buf_printf(out, "at most %.0f bytes", f->max);
        break;
    case FIELD_STRINGS:
        buf_printf(out, "at most %d, each at most %.0f bytes", API_STOP_MAX, f->max);
        break;
    case FIELD_CHOICE:
        for (const char *p = f->choices; *p; p++)
            if (*p == '|')
                buf_puts(out, ", ");
            else
                buf_append(out, p, 1);
        break;
    default:
        break;
    }
}

void fields_print(struct buf *out, const struct field_table *t)
{
    static const char *const types[] = {
        [FIELD_BOOL] = "boolean",    [FIELD_INT] = "integer",
        [FIELD_SEED] = "integer",    [FIELD_FLOAT] = "number",
        [FIELD_STRING] = "string",   [FIELD_STRINGS] = "string or array of strings",
        [FIELD_CHOICE] = "one of",   [FIELD_JSON] = "JSON",
        [FIELD_IGNORED] = "ignored", [FIELD_REFUSED] = "refused",
    };
    buf_printf(out,
               "### %s\n\n| Field | Type | Range | Default | Meaning |\n"
               "|---|---|---|---|---|\n",
               t->title);
    for (int i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        buf_printf(out, "| `%s` | %s | ", f->name, types[f->type]);
        print_range(out, f);
        buf_printf(out, " | %s | %s |\n", f->standard ? f->standard : "",
                   f->help ? f->help : "");
    }
    buf_puts(out, "\n");
}
