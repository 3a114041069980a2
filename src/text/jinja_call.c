/* jinja_call.c - calling values, and the global functions. */
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"

/* Where the name stands in "a,b;c", -1 if it does not. */
static int param_find(const char *params, const struct jinja_str *name)
{
    for (int i = 0; *params; i++) {
        const size_t n = strcspn(params, ",;");
        if (n && n == name->n && !memcmp(params, name->s, n))
            return i;
        params += n;
        if (*params == ';' && !n)
            i--;
        params += *params != 0;
    }
    return -1;
}

static int param_count(const char *params, int *required)
{
    int n = 0;
    *required = -1;
    while (*params) {
        const size_t len = strcspn(params, ",;");
        n += len > 0;
        if (params[len] == ';')
            *required = n;
        params += len + (params[len] != 0);
    }
    if (*required < 0)
        *required = n;
    return n;
}

bool jinja_invoke(struct render *r, struct jinja_value *out, const struct jinja_func *f,
                  const struct jinja_value *self, const struct jinja_args *args)
{
    const struct jinja_value *arg[JINJA_ARGS_MAX] = {NULL};
    const struct jinja_value me = self ? *self : jinja_none(); // out may be self
    int required;
    if (f->raw)
        return f->raw(r, out, &me, args);
    const int n = param_count(f->params, &required);
    if (args->n_pos > n)
        return jinja_fail(r, "%s() takes at most %d argument%s, got %d", f->name, n,
                          n == 1 ? "" : "s", args->n_pos);
    for (int i = 0; i < args->n_pos; i++)
        arg[i] = &args->pos[i];
    for (int i = 0; i < args->n_kw; i++) {
        const int at = param_find(f->params, args->name[i]);
        const int len = args->name[i]->n > 60 ? 60 : (int)args->name[i]->n;
        if (at < 0 || arg[at])
            return jinja_fail(r, "%s() got %s argument '%.*s'", f->name,
                              at < 0 ? "an unexpected keyword" : "multiple values for",
                              len, args->name[i]->s);
        arg[at] = &args->kw[i];
    }
    for (int i = 0; i < required; i++)
        if (!arg[i])
            return jinja_fail(r, "%s() misses argument %d", f->name, i + 1);
    return f->fn(r, out, &me, arg);
}

static bool call_joiner(struct render *r, struct jinja_value *out, struct jinja_joiner *j)
{
    const bool first = !j->used;
    j->used = true;
    *out = j->sep;
    return !first || jinja_cstr(r, out, "");
}

bool jinja_call(struct render *r, struct jinja_value *out, const struct jinja_value *f,
                const struct jinja_args *args)
{
    switch (f->type) {
    case J_UNDEF:
        return jinja_undefined(r, f);
    case J_MACRO:
        return jinja_call_macro(r, out, f->macro, args);
    case J_FUNC:
        return jinja_invoke(r, out, f->func, NULL, args);
    case J_METHOD:
        return jinja_invoke(r, out, f->bound->func, &f->bound->self, args);
    case J_JOINER:
        return call_joiner(r, out, f->joiner);
    default:
        return jinja_fail(r, "'%s' object is not callable", jinja_type_name(f));
    }
}

/* ---- globals ---- */

static bool global_raise(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    (void)self;
    return jinja_to_str(r, out, arg[0]) && jinja_raise(r, out->s);
}

/* What Python's datetime takes over before strftime: no microseconds, no zone. */
static bool strftime_format(char *to, size_t cap, const struct jinja_str *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        const char c = i + 1 < s->n && s->s[i] == '%' ? s->s[i + 1] : 0;
        const char *put = c == 'f' ? "000000" : c == 'z' || c == 'Z' ? "" : NULL;
        const size_t len = put ? strlen(put) : c ? 2 : 1;
        if (n + len + 2 > cap || !s->s[i])
            return false;
        memcpy(to + n, put ? put : s->s + i, len);
        n += len;
        i += c != 0;
    }
    to[n] = 0;
    return true;
}

static bool global_strftime(struct render *r, struct jinja_value *out,
                            const struct jinja_value *self,
                            const struct jinja_value *const *arg)
{
    char format[400], text[2000];
    struct tm tm;
    (void)self;
    if (arg[0]->type != J_STR)
        return jinja_fail(r, "strftime_now() needs a format string");
    if (!strftime_format(format, sizeof format, arg[0]->s) || !gmtime_r(&r->now, &tm))
        return jinja_fail(r, "strftime_now() cannot use this format");
    /* A leading byte tells an empty result from one that does not fit. */
    char marked[402];
    snprintf(marked, sizeof marked, "x%s", format);
    const size_t n = strftime(text, sizeof text, marked, &tm);
    if (!n)
        return jinja_fail(r, "strftime_now() makes too long a text");
    char *s = jinja_alloc(r, n, 1);
    if (!s)
        return false;
    memcpy(s, text + 1, n - 1);
    return jinja_str_view(r, out, s, n - 1,
                          jinja_is_input(arg[0]->s) ? jinja_input : NULL);
}

static bool global_range(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    int64_t v[3] = {0, 0, 1};
    (void)self;
    for (int i = 0; i < 3; i++)
        if (arg[i] && !jinja_as_int(arg[i], &v[i])) {
            if (arg[i]->type == J_UNDEF)
                return jinja_undefined(r, arg[i]);
            return jinja_fail(r, "'%s' object cannot be interpreted as an integer",
                              jinja_type_name(arg[i]));
        }
    const int64_t start = arg[1] ? v[0] : 0, stop = arg[1] ? v[1] : v[0], step = v[2];
    if (!step)
        return jinja_fail(r, "range() arg 3 must not be zero");
    const bool any = step > 0 ? stop > start : stop < start;
    const uint64_t gap =
        step > 0 ? (uint64_t)stop - (uint64_t)start : (uint64_t)start - (uint64_t)stop;
    const uint64_t by = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;
    const uint64_t n = any ? (gap - 1) / by + 1 : 0;
    if (n > JINJA_RANGE_MAX)
        return jinja_fail(r,
                          "Range too big. The sandbox blocks ranges larger than "
                          "MAX_RANGE (%d).",
                          JINJA_RANGE_MAX);
    struct jinja_range *g = jinja_alloc(r, 1, sizeof *g);
    if (!g)
        return false;
    *g = (struct jinja_range){start, stop, step, (size_t)n};
    *out = (struct jinja_value){.type = J_RANGE, .range = g};
    return true;
}

/* dict(mapping or pairs, **kwargs) */
static struct jinja_dict *dict_from_args(struct render *r, const struct jinja_args *args)
{
    struct jinja_dict *d = jinja_dict_new(r, 0);
    if (!d)
        return NULL;
    if (args->n_pos > 1) {
        jinja_fail(r, "dict expected at most 1 argument, got %d", args->n_pos);
        return NULL;
    }
    if (args->n_pos &&
        (args->pos[0].type == J_DICT || args->pos[0].type == J_NAMESPACE)) {
        const struct jinja_dict *from = args->pos[0].d;
        for (size_t i = 0; i < from->n; i++)
            if (!jinja_dict_set(r, d, &from->p[i].key, &from->p[i].value))
                return NULL;
    } else if (args->n_pos) {
        const struct jinja_list *l = jinja_to_list(r, &args->pos[0], JL_LIST);
        for (size_t i = 0; l && i < l->n; i++) {
            const struct jinja_list *pair = jinja_to_list(r, &l->v[i], JL_LIST);
            if (!pair)
                return NULL;
            if (pair->n != 2) {
                jinja_fail(r,
                           "dictionary update sequence element #%zu has length %zu; 2 "
                           "is required",
                           i, pair->n);
                return NULL;
            }
            if (!jinja_hashable(r, &pair->v[0]) ||
                !jinja_dict_set(r, d, &pair->v[0], &pair->v[1]))
                return NULL;
        }
    }
    for (int i = 0; r->status == STATUS_OK && i < args->n_kw; i++) {
        const struct jinja_value key = {.type = J_STR, .s = args->name[i]};
        jinja_dict_set(r, d, &key, &args->kw[i]);
    }
    return r->status == STATUS_OK ? d : NULL;
}

static bool global_dict(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self, const struct jinja_args *args)
{
    (void)self;
    struct jinja_dict *d = dict_from_args(r, args);
    *out = (struct jinja_value){.type = J_DICT, .d = d};
    return d;
}

static bool global_namespace(struct render *r, struct jinja_value *out,
                             const struct jinja_value *self,
                             const struct jinja_args *args)
{
    (void)self;
    struct jinja_dict *d = dict_from_args(r, args);
    *out = (struct jinja_value){.type = J_NAMESPACE, .d = d};
    return d;
}

static bool global_joiner(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    (void)self;
    struct jinja_joiner *j = jinja_alloc(r, 1, sizeof *j);
    if (!j || !jinja_cstr(r, &j->sep, ", "))
        return false;
    if (arg[0])
        j->sep = *arg[0];
    *out = (struct jinja_value){.type = J_JOINER, .joiner = j};
    return true;
}

static const struct jinja_func globals[] = {
    {"raise_exception", "message", global_raise, NULL, 0},
    {"strftime_now", "format", global_strftime, NULL, 0},
    {"range", "start;stop,step", global_range, NULL, 0},
    {"dict", NULL, NULL, global_dict, 0},
    {"namespace", NULL, NULL, global_namespace, 0},
    {"joiner", ";sep", global_joiner, NULL, 0},
};

const struct jinja_func *jinja_global_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (strlen(globals[i].name) == n && !memcmp(globals[i].name, name, n))
            return &globals[i];
    return NULL;
}
