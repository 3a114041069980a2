/* launch_env.c - the environment of a program that is launched. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/environment.h"
#include "cli/launch.h"

/* The value of a variable; NULL for one that has none.  number is the caller's. */
static const char *value_of(const struct launch *l, const struct launch_variable *v,
                            char number[16])
{
    const char *key;
    switch (v->value) {
    case LAUNCH_TEXT:
        return v->text;
    case LAUNCH_URL:
        return l->url;
    case LAUNCH_TOKEN:
        key = environment_text("API_KEY");
        return key ? key : v->text;
    case LAUNCH_MODEL:
        return l->model;
    case LAUNCH_SMALL:
        return l->small;
    case LAUNCH_CONTEXT:
        snprintf(number, 16, "%d", l->n_ctx);
        return number;
    case LAUNCH_OUTPUT:
        snprintf(number, 16, "%d", l->n_ctx / 8);
        return number;
    case LAUNCH_UNSET:
    case LAUNCH_DEAD:
        break;
    }
    return NULL;
}

/* Whether a launch leaves a variable as it is. */
static bool is_left(const struct launch *l, const struct launch_variable *v)
{
    return v->value == LAUNCH_DEAD ||
           (v->value == LAUNCH_OUTPUT && l->n_ctx >= AGENT_CTX_GOOD);
}

/* What the person has set and will miss. */
static void note_replaced(const struct launch *l)
{
    char names[400] = "", number[16];
    size_t n = 0;
    for (const struct launch_variable *v = l->program->variables; v->name; v++) {
        const char *was = environment_foreign(v->name), *value = value_of(l, v, number);
        if (!was || !*was || (value && !strcmp(was, value)))
            continue;
        if (v->value == LAUNCH_DEAD)
            launch_note(l, "%s, which is set, does nothing", v->name);
        else if (!is_left(l, v) && n < sizeof names)
            n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "",
                                  v->name);
    }
    if (n)
        launch_note(l, "not used, as other values are needed: %s of your environment",
                    names);
}

enum status launch_set_environment(const struct launch *l, struct error *err)
{
    char number[16];
    note_replaced(l);
    for (const struct launch_variable *v = l->program->variables; v->name; v++) {
        const char *value = value_of(l, v, number);
        if (is_left(l, v))
            continue;
        if (value ? setenv(v->name, value, 1) : unsetenv(v->name))
            return fail(err, STATUS_NO_MEMORY, "cannot set %s", v->name);
    }
    return STATUS_OK;
}

void launch_quote(struct buf *out, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_./:@%+,";
    if (*text && strspn(text, plain) == strlen(text)) {
        buf_puts(out, text);
        return;
    }
    buf_puts(out, "'");
    for (const char *at = text; *at;) {
        const size_t n = strcspn(at, "'");
        buf_append(out, at, n);
        if (at[n])
            buf_puts(out, "'\\''");
        at += n + (at[n] == '\'');
    }
    buf_puts(out, "'");
}

/* ---- shown ---- */

static bool is_key(const struct launch_variable *v)
{
    return v->value == LAUNCH_TOKEN && environment_text("API_KEY");
}

static void print_sh(const struct launch_variable *v, const char *value, struct buf *out)
{
    if (!value) {
        buf_printf(out, "unset %s\n", v->name);
    } else if (is_key(v)) {
        buf_printf(out, "export %s=\"$TURBINE_API_KEY\"\n", v->name);
    } else {
        buf_printf(out, "export %s=", v->name);
        launch_quote(out, value);
        buf_puts(out, "\n");
    }
}

static json_t *as_json(const struct launch_variable *v, const char *value)
{
    if (is_key(v))
        return json_pack("{s:s,s:s}", "name", v->name, "value_of", "TURBINE_API_KEY");
    return json_pack("{s:s,s:s?}", "name", v->name, "value", value);
}

enum status launch_print_environment(const struct launch *l, bool json, struct error *err)
{
    char number[16];
    struct buf out;
    json_t *list = json_array();
    enum status s = STATUS_OK;
    note_replaced(l);
    buf_init(&out, 1 << 20);
    for (const struct launch_variable *v = l->program->variables; !s && v->name; v++) {
        const char *value = value_of(l, v, number);
        if (is_left(l, v))
            continue;
        if (!json)
            print_sh(v, value, &out);
        else if (json_array_append_new(list, as_json(v, value)))
            s = fail(err, STATUS_BAD_INPUT, "%s: a value that is no UTF-8", v->name);
    }
    if (!s && out.failed)
        s = fail(err, STATUS_LIMIT, "no memory for the environment");
    if (!s && json && (json_dumpf(list, stdout, JSON_INDENT(2)) || puts("") < 0))
        s = fail(err, STATUS_IO, "cannot write to standard output");
    else if (!s && !json)
        fputs(out.data ? out.data : "", stdout);
    json_decref(list);
    buf_release(&out);
    return s;
}
