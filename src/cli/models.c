#include "cli/models.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/environment.h"

/* ---- the folders ---- */

static bool in_folder(char out[STORE_PATH_BYTES], const char *name, const char *rest)
{
    const char *v = environment_folder(name);
    return v && snprintf(out, STORE_PATH_BYTES, "%s/%s", v, rest) < STORE_PATH_BYTES;
}

enum status models_open(struct store **out, struct error *err)
{
    char own[STORE_PATH_BYTES], home[STORE_PATH_BYTES];
    const char *others[3];
    int n = 0;
    const char *set = environment_text("MODELS"), *ollama = environment_twin("MODELS");
    if (set && snprintf(own, sizeof own, "%s", set) >= (int)sizeof own)
        return fail(err, STATUS_LIMIT, "%s: too long a path",
                    environment_source("MODELS"));
    if (!set && !in_folder(own, "XDG_DATA_HOME", "turbine/models") &&
        !in_folder(own, "HOME", ".local/share/turbine/models"))
        *own = 0;
    if (ollama && strcmp(ollama, set) != 0)
        others[n++] = ollama;
    if (in_folder(home, "HOME", ".ollama/models"))
        others[n++] = home;
    others[n++] = "/usr/share/ollama/.ollama/models"; // of its service
    const struct store_folders f = {*own ? own : NULL, others, n};
    return store_open(out, &f, err);
}

/* ---- choosing ---- */

enum status models_name(struct model_name *out, const char *arg, struct error *err)
{
    return model_name_parse(out, arg, strlen(arg), err);
}

bool models_is_path(const char *arg)
{
    struct stat st;
    const size_t n = strlen(arg);
    return n == 0 || strchr("/.~", arg[0]) || (n >= 5 && !strcmp(arg + n - 5, ".gguf")) ||
           (!stat(arg, &st) && S_ISREG(st.st_mode));
}

enum status models_choose(struct model_choice *out, const char *arg, struct error *err)
{
    struct model_name name;
    struct store *s = NULL;
    *out = (struct model_choice){0};
    if (models_is_path(arg)) {
        if (snprintf(out->path, sizeof out->path, "%s", arg) >= (int)sizeof out->path)
            return fail(err, STATUS_LIMIT, "%.100s...: too long a path", arg);
        return STATUS_OK;
    }
    enum status st = models_name(&name, arg, err);
    if (!st)
        st = models_open(&s, err);
    if (!st)
        st = stored_model_load(&out->m, s, &name, err);
    store_close(s);
    if (st == STATUS_NOT_FOUND && !out->m.params) // not one of its blobs
        return fail(err, st,
                    "'%.200s' is no file and no model of the store; 'turbine list' shows "
                    "those that are there",
                    arg);
    if (st)
        return st;
    memcpy(out->path, out->m.path, sizeof out->path);
    model_name_print(out->name, &out->m.entry.name);
    out->stored = true;
    return STATUS_OK;
}

void models_close(struct model_choice *c)
{
    stored_model_release(&c->m);
    *c = (struct model_choice){0};
}

enum status models_path(char path[STORE_PATH_BYTES], const char *arg, struct error *err)
{
    struct model_choice c;
    const enum status s = models_choose(&c, arg, err);
    if (!s)
        memcpy(path, c.path, sizeof c.path);
    models_close(&c);
    return s;
}

/* ---- parameters ---- */

enum status models_number(const struct model_choice *c, const char *name, double min,
                          double max, double *out, struct error *err)
{
    const json_t *v = json_object_get(c->m.params, name);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_number(v))
        return fail(err, STATUS_BAD_FILE, "model '%s': parameter %s is no number",
                    c->name, name);
    const double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return fail(err, STATUS_BAD_FILE,
                    "model '%s': parameter %s is %.10g, not between %.10g and %.10g",
                    c->name, name, x, min, max);
    *out = x;
    return STATUS_OK;
}

enum status models_text(const struct model_choice *c, const char *name, const char **out,
                        struct error *err)
{
    const json_t *v = json_object_get(c->m.params, name);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_string(v))
        return fail(err, STATUS_BAD_FILE, "model '%s': parameter %s is no text", c->name,
                    name);
    *out = json_string_value(v);
    return STATUS_OK;
}

/* The text that says the types, and who says it. */
static enum status parse_cache_types(struct kv_types *out, const char *text,
                                     const char *who, const char *name, struct error *err)
{
    struct error why;
    const enum status s = kv_types_parse(out, text, &why);
    return s ? fail(err, s, "%s%s%s", who, name, why.text) : s;
}

enum status models_kv(const struct model_choice *c, const char *kv, int tail,
                      struct kv_types *out, struct error *err)
{
    const char *set = environment_text("KV_CACHE_TYPE"), *own = NULL;
    double own_tail = -1;
    enum status s;
    if ((s = models_text(c, "kv_cache_type", &own, err)) ||
        (s = models_number(c, "kv_tail", 0, KV_TAIL_MAX, &own_tail, err)))
        return s;
    s = kv    ? parse_cache_types(out, kv, "", "", err)
        : own ? parse_cache_types(out, own, c->name, ": PARAMETER kv_cache_type: ", err)
        : set
            ? parse_cache_types(out, set, environment_source("KV_CACHE_TYPE"), ": ", err)
            : parse_cache_types(out, MODELS_KV, "", "", err);
    if (s)
        return s;
    /* A tail that stands behind the types of the option is an option, too. */
    if (own_tail >= 0 && !(kv && strstr(kv, ":tail=")))
        kv_types_tail(out, (int)own_tail);
    if (tail >= 0)
        kv_types_tail(out, tail);
    return STATUS_OK;
}

enum status models_ctx(const struct model_choice *c, int ctx, int *out, struct error *err)
{
    int set = 0;
    environment_count("CONTEXT_LENGTH", &set);
    double own = 0;
    const enum status s = models_number(c, "num_ctx", 0, 1 << 24, &own, err);
    if (!s)
        *out = ctx ? ctx : own > 0 ? (int)own : set;
    return s;
}

enum status models_stops(const struct model_choice *c, const char *out[MODELS_STOP_MAX],
                         int *n, struct error *err)
{
    const json_t *v = json_object_get(c->m.params, "stop");
    size_t i;
    json_t *one;
    *n = 0;
    if (json_is_string(v)) {
        out[(*n)++] = json_string_value(v);
        return STATUS_OK;
    }
    if (json_array_size(v) > MODELS_STOP_MAX)
        return fail(err, STATUS_LIMIT, "model '%s': %zu stops are more than %d", c->name,
                    json_array_size(v), MODELS_STOP_MAX);
    json_array_foreach(v, i, one)
    {
        if (!json_is_string(one))
            return fail(err, STATUS_BAD_FILE, "model '%s': a stop is no text", c->name);
        if (json_string_length(one))
            out[(*n)++] = json_string_value(one);
    }
    return STATUS_OK;
}

enum status models_sampling(const struct model_choice *c, struct sampler_params *out,
                            struct error *err)
{
    struct sampler_params p = *out;
    const struct {
        const char *name;
        double min, max;
        float *real;
        int *whole;
    } taken[] = {
        {"temperature", 0, 100, &p.temp, NULL},
        {"top_k", 0, 1 << 24, NULL, &p.top_k},
        {"top_p", 0, 1, &p.top_p, NULL},
        {"min_p", 0, 1, &p.min_p, NULL},
        {"typical_p", 0, 1, &p.typical_p, NULL},
        {"repeat_penalty", 0.01, 100, &p.repeat_penalty, NULL},
        {"repeat_last_n", -1, 1 << 24, NULL, &p.repeat_last_n},
        {"presence_penalty", -100, 100, &p.presence_penalty, NULL},
        {"frequency_penalty", -100, 100, &p.frequency_penalty, NULL},
    };
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        double v = taken[i].real ? (double)*taken[i].real : *taken[i].whole;
        const enum status s =
            models_number(c, taken[i].name, taken[i].min, taken[i].max, &v, err);
        if (s)
            return s;
        if (taken[i].real)
            *taken[i].real = (float)v;
        else
            *taken[i].whole = (int)v;
    }
    *out = p;
    return STATUS_OK;
}

enum status models_template(const struct model_choice *c, const char *command,
                            struct engine *e, struct error *err)
{
    struct error why;
    if (c->m.template_kind == STORED_TEMPLATE_GO)
        fprintf(stderr,
                "turbine %s: note: the TEMPLATE of %s is Go's; the chat template of its "
                "GGUF is used\n",
                command, c->name);
    if (c->m.template_kind != STORED_TEMPLATE_JINJA)
        return STATUS_OK;
    const enum status s =
        engine_set_template(e, c->m.template.data, c->m.template.len, &why);
    return s ? fail(err, s, "TEMPLATE of %s: %s", c->name, why.text) : s;
}
