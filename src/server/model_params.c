#include "server/model_params.h"

#include <stdio.h>
#include <string.h>

#include "text/go_template.h"
#include "text/template.h"

struct shown_name {
    char text[MODEL_NAME_BYTES];
};

static struct shown_name shown(const struct stored_model *m)
{
    struct shown_name n = {""};
    model_name_print(n.text, &m->entry.name);
    return n;
}

static enum status check_template(const struct modelfile_command *k, struct error *err)
{
    struct template *t = NULL;
    struct error why;
    const size_t n = strlen(k->value);
    const enum stored_template kind = stored_template_kind(k->value, n);
    if (kind == STORED_TEMPLATE_NONE)
        return STATUS_OK;
    if (kind == STORED_TEMPLATE_GO)
        return go_template_check(k->value, n, &why)
                   ? fail(err, STATUS_BAD_INPUT,
                          "(line %d): TEMPLATE: template error: %s", k->line, why.text)
                   : STATUS_OK;
    const enum status s = template_compile(&t, k->value, n, &why);
    template_close(t);
    return s ? fail(err, STATUS_BAD_INPUT, "(line %d): TEMPLATE: %s", k->line, why.text)
             : s;
}

enum status model_param_check(const struct modelfile *f, struct error *err)
{
    struct kv_types types;
    struct error why;
    enum status s = STATUS_OK;
    int n_stop = 0;
    for (int i = 0; !s && i < f->n; i++) {
        const struct modelfile_command *k = &f->commands[i];
        const char *name = k->keyword == MODELFILE_PARAMETER ? k->name : "";
        if (k->keyword == MODELFILE_TEMPLATE)
            s = check_template(k, err);
        else if (!strcmp(name, "stop") && ++n_stop > MODEL_STOPS_MAX)
            s = fail(err, STATUS_BAD_INPUT, "(line %d): more than %d stops", k->line,
                     MODEL_STOPS_MAX);
        else if (!strcmp(name, "kv_cache_type") && kv_types_parse(&types, k->value, &why))
            s = fail(err, STATUS_BAD_INPUT, "(line %d): parameter kv_cache_type: %s",
                     k->line, why.text);
    }
    return s;
}

enum status model_param_number(const struct stored_model *m, const char *name, double min,
                               double max, double *out, struct error *err)
{
    const json_t *v = json_object_get(m->params, name);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_number(v))
        return fail(err, STATUS_BAD_FILE, "model '%s': parameter %s is no number",
                    shown(m).text, name);
    const double x = json_number_value(v);
    if (!(x >= min && x <= max))
        return fail(err, STATUS_BAD_FILE,
                    "model '%s': parameter %s is %.10g, not between %.10g and %.10g",
                    shown(m).text, name, x, min, max);
    *out = x;
    return STATUS_OK;
}

enum status model_param_text(const struct stored_model *m, const char *name,
                             const char **out, struct error *err)
{
    const json_t *v = json_object_get(m->params, name);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_string(v))
        return fail(err, STATUS_BAD_FILE, "model '%s': parameter %s is no text",
                    shown(m).text, name);
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

enum status model_param_kv(const struct stored_model *m, const char *kv, int tail,
                           const struct model_param_defaults *d, struct kv_types *out,
                           struct error *err)
{
    const char *own = NULL;
    double own_tail = -1;
    enum status s;
    if ((s = model_param_text(m, "kv_cache_type", &own, err)) ||
        (s = model_param_number(m, "kv_tail", 0, KV_TAIL_MAX, &own_tail, err)))
        return s;
    if (kv)
        s = parse_cache_types(out, kv, "", "", err);
    else if (own)
        s = parse_cache_types(out, own, shown(m).text,
                              ": PARAMETER kv_cache_type: ", err);
    else if (d->kv)
        s = parse_cache_types(out, d->kv, d->kv_source, ": ", err);
    else
        s = parse_cache_types(out, MODEL_PARAM_KV, "", "", err);
    if (s)
        return s;
    /* A tail that stands behind the types of the option is an option, too. */
    if (own_tail >= 0 && !(kv && strstr(kv, ":tail=")))
        kv_types_tail(out, (int)own_tail);
    if (tail >= 0)
        kv_types_tail(out, tail);
    return STATUS_OK;
}

enum status model_param_ctx(const struct stored_model *m, int ctx,
                            const struct model_param_defaults *d, int *out,
                            struct error *err)
{
    double own = 0;
    const enum status s = model_param_number(m, "num_ctx", 0, 1 << 24, &own, err);
    if (!s)
        *out = ctx ? ctx : own > 0 ? (int)own : d->n_ctx;
    return s;
}

enum status model_param_stops(const struct stored_model *m,
                              const char *out[MODEL_STOPS_MAX], int *n, struct error *err)
{
    const json_t *v = json_object_get(m->params, "stop");
    size_t i;
    json_t *one;
    *n = 0;
    if (json_is_string(v)) {
        if (json_string_length(v))
            out[(*n)++] = json_string_value(v);
        return STATUS_OK;
    }
    if (json_array_size(v) > MODEL_STOPS_MAX)
        return fail(err, STATUS_LIMIT, "model '%s': %zu stops are more than %d",
                    shown(m).text, json_array_size(v), MODEL_STOPS_MAX);
    json_array_foreach(v, i, one)
    {
        if (!json_is_string(one))
            return fail(err, STATUS_BAD_FILE, "model '%s': a stop is no text",
                        shown(m).text);
        if (json_string_length(one))
            out[(*n)++] = json_string_value(one);
    }
    return STATUS_OK;
}

enum status model_param_sampling(const struct stored_model *m, struct sampler_params *out,
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
            model_param_number(m, taken[i].name, taken[i].min, taken[i].max, &v, err);
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

enum status model_param_template(const struct stored_model *m, struct engine *e,
                                 char note[MODEL_NOTE_BYTES], struct error *err)
{
    struct error why;
    *note = 0;
    if (m->params && m->template_kind == STORED_TEMPLATE_NONE && e->no_template) {
        snprintf(note, MODEL_NOTE_BYTES,
                 "%s has no chat template: " STORED_TEMPLATE_PLAIN_WORDS, shown(m).text);
        engine_try_go_template(e, STORED_TEMPLATE_PLAIN, strlen(STORED_TEMPLATE_PLAIN),
                               true, &why);
    }
    if (m->template_kind == STORED_TEMPLATE_GO) {
        if (engine_try_go_template(e, m->template.data, m->template.len, m->template_own,
                                   &why))
            snprintf(note, MODEL_NOTE_BYTES, "the TEMPLATE of %s, which is Go's, is used",
                     shown(m).text);
        else if (e->template)
            snprintf(
                note, MODEL_NOTE_BYTES,
                "the chat template of the GGUF of %s is used, not its TEMPLATE, which "
                "is Go's: %.200s",
                shown(m).text, why.text);
    }
    if (m->template_kind != STORED_TEMPLATE_JINJA)
        return STATUS_OK;
    const enum status s = engine_set_template(e, m->template.data, m->template.len, &why);
    return s ? fail(err, s, "TEMPLATE of %s: %s", shown(m).text, why.text) : s;
}
