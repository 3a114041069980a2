/* modelfile_params.c - PARAMETER commands as typed values. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "store/modelfile.h"

enum param_type { PARAM_INT, PARAM_FLOAT, PARAM_BOOL, PARAM_TEXT, PARAM_TEXTS };

/* Ranges are those of requests, docs/api.md. */
static const struct param {
    const char *name;
    enum param_type type;
    double min, max;
    const char *without_effect; // why; NULL: it has one
    const char *help;           // of those that have one
} params[] = {
    {"num_ctx", PARAM_INT, 0, 1 << 24, NULL, "tokens of context"},
    {"num_predict", PARAM_INT, -2, 1 << 30, NULL,
     "longest answer in tokens; -1: what fits"},
    {"num_keep", PARAM_INT, -1, 1 << 30, "an answer that fills the context ends", NULL},
    {"num_thread", PARAM_INT, 0, 256, NULL, "compute threads"},
    {"num_parallel", PARAM_INT, 0, 1024, NULL, "answers at a time"},
    {"num_batch", PARAM_INT, 0, 1 << 24, "batches have a size of their own", NULL},
    {"num_gpu", PARAM_INT, -1, 1 << 24, "this engine runs on the processor", NULL},
    {"main_gpu", PARAM_INT, -1, 1 << 24, "this engine runs on the processor", NULL},
    {"use_mmap", PARAM_BOOL, 0, 0, "weights are always mapped", NULL},
    {"draft_num_predict", PARAM_INT, 0, 1 << 20, "there are no draft models", NULL},
    {"seed", PARAM_INT, -9007199254740992.0, 9007199254740992.0, NULL,
     "makes sampling repeatable"},
    {"temperature", PARAM_FLOAT, 0, 100, NULL,
     "0: the likeliest token; higher: more varied"},
    {"top_k", PARAM_INT, 0, 1 << 24, NULL, "sample from the likeliest so many; 0: all"},
    {"top_p", PARAM_FLOAT, 0, 1, NULL, "sample from this much probability"},
    {"min_p", PARAM_FLOAT, 0, 1, NULL, "drop tokens below this part of the likeliest"},
    {"typical_p", PARAM_FLOAT, 0, 1, NULL,
     "sample from what is about as surprising as expected"},
    {"repeat_penalty", PARAM_FLOAT, 0.01, 100, NULL,
     "for tokens that were there before; 1: none"},
    {"repeat_last_n", PARAM_INT, -1, 1 << 24, NULL,
     "so many tokens back; -1: all of the context"},
    {"presence_penalty", PARAM_FLOAT, -100, 100, NULL, "for every token that was there"},
    {"frequency_penalty", PARAM_FLOAT, -100, 100, NULL, "the same, for each time"},
    {"stop", PARAM_TEXTS, 0, 0, NULL, "ends an answer; several may"},
    {"kv_cache_type", PARAM_TEXT, 0, 0, NULL,
     "of the cache: turbo4, turbo8/turbo4, f16 ..."},
    {"kv_tail", PARAM_INT, 0, 1 << 20, NULL, "newest tokens that the cache keeps exact"},
    {"penalize_newline", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"low_vram", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"f16_kv", PARAM_TEXT, 0, 0, "deprecated; kv_cache_type says it", NULL},
    {"logits_all", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"vocab_only", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"use_mlock", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"mirostat", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"mirostat_tau", PARAM_TEXT, 0, 0, "deprecated", NULL},
    {"mirostat_eta", PARAM_TEXT, 0, 0, "deprecated", NULL},
};

static const struct param *find_param(const char *name)
{
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (!strcmp(params[i].name, name))
            return &params[i];
    return NULL;
}

static enum status not_a_value(const struct modelfile_command *c, const char *expected,
                               struct error *err)
{
    return fail(err, STATUS_BAD_INPUT, "(line %d): parameter %s: '%.60s' is not %s",
                c->line, c->name, c->value, expected);
}

static enum status number_of(double *out, const struct param *p,
                             const struct modelfile_command *c, struct error *err)
{
    char *end;
    errno = 0;
    const double v = strtod(c->value, &end);
    const bool whole = p->type == PARAM_INT;
    if (end == c->value || *end || errno || !isfinite(v) || (whole && v != trunc(v)) ||
        strpbrk(c->value, "xX"))
        return not_a_value(c, whole ? "a whole number" : "a number", err);
    if (v < p->min || v > p->max)
        return fail(err, STATUS_BAD_INPUT,
                    "(line %d): parameter %s: %s is not between %.10g and %.10g", c->line,
                    c->name, c->value, p->min, p->max);
    *out = v;
    return STATUS_OK;
}

static enum status bool_of(bool *out, const struct modelfile_command *c,
                           struct error *err)
{
    *out = !strcasecmp(c->value, "true") || !strcmp(c->value, "1");
    if (*out || !strcasecmp(c->value, "false") || !strcmp(c->value, "0"))
        return STATUS_OK;
    return not_a_value(c, "true or false", err);
}

static enum status add_param(json_t *o, const struct param *p,
                             const struct modelfile_command *c, struct error *err)
{
    double v = 0;
    bool yes = false;
    json_t *value = NULL;
    enum status s = STATUS_OK;
    switch (p->type) {
    case PARAM_INT:
        if (!(s = number_of(&v, p, c, err)))
            value = json_integer((json_int_t)v);
        break;
    case PARAM_FLOAT:
        if (!(s = number_of(&v, p, c, err)))
            value = v == trunc(v) ? json_integer((json_int_t)v) : json_real(v);
        break;
    case PARAM_BOOL:
        if (!(s = bool_of(&yes, c, err)))
            value = json_boolean(yes);
        break;
    case PARAM_TEXT:
        value = json_string(c->value);
        break;
    case PARAM_TEXTS: {
        json_t *list = json_object_get(o, p->name);
        value = list ? json_incref(list) : json_array();
        json_array_append_new(value, json_string(c->value));
        break;
    }
    }
    if (!s && (!value || json_object_set_new(o, p->name, value)))
        s = fail(err, STATUS_NO_MEMORY, "no memory for parameters");
    return s;
}

enum status modelfile_params(json_t **out, const struct modelfile *f, struct buf *notes,
                             struct error *err)
{
    json_t *o = json_object();
    enum status s = o ? STATUS_OK : fail(err, STATUS_NO_MEMORY, "no memory");
    for (int i = 0; !s && i < f->n; i++) {
        const struct modelfile_command *c = &f->commands[i];
        if (c->keyword != MODELFILE_PARAMETER)
            continue;
        const struct param *p = find_param(c->name);
        if (!p) {
            s = fail(err, STATUS_BAD_INPUT, "(line %d): unknown parameter '%.60s'",
                     c->line, c->name);
            continue;
        }
        if (p->without_effect && notes)
            buf_printf(notes, "parameter %s has no effect: %s\n", p->name,
                       p->without_effect);
        const bool kept = !p->without_effect || strncmp(p->without_effect, "deprec", 6);
        if (kept)
            s = add_param(o, p, c, err);
    }
    if (s) {
        json_decref(o);
        o = NULL;
    }
    *out = o;
    return s;
}

bool modelfile_param_help(int i, struct modelfile_param_help *out)
{
    static const char *const types[] = {[PARAM_INT] = "int",
                                        [PARAM_FLOAT] = "float",
                                        [PARAM_BOOL] = "bool",
                                        [PARAM_TEXT] = "string",
                                        [PARAM_TEXTS] = "string ..."};
    for (size_t k = 0; k < sizeof params / sizeof *params; k++) {
        if (params[k].without_effect || i--)
            continue;
        *out = (struct modelfile_param_help){params[k].name, types[params[k].type],
                                             params[k].help};
        return true;
    }
    return false;
}
