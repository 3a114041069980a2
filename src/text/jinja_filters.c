/* jinja_filters.c - "x | FILTER" for single values, and the table of filters. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/parse.h"
#include "text/jinja.h"
#include "text/jinja_seqfilters.h"

static bool filter_length(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    size_t n;
    (void)arg;
    if (!jinja_length(r, self, &n))
        return false;
    *out = jinja_int((int64_t)n);
    return true;
}

static bool filter_string(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    (void)arg;
    return jinja_to_str(r, out, self);
}

/* Nothing is escaped here, so everything is safe. */
static bool filter_safe(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg)
{
    (void)arg;
    return jinja_to_str(r, out, self);
}

static bool filter_default(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self,
                           const struct jinja_value *const *arg)
{
    const bool boolean = arg[1] && jinja_truth(arg[1]);
    *out = *self;
    if (self->type != J_UNDEF && !(boolean && !jinja_truth(self)))
        return true;
    if (arg[0])
        *out = *arg[0];
    return arg[0] || jinja_cstr(r, out, "");
}

static bool json_style(struct render *r, struct jinja_json_style *style,
                       const struct jinja_value *const *arg)
{
    const struct jinja_value *indent = arg[1], *sep = arg[2];
    int64_t n;
    *style = (struct jinja_json_style){.item_sep = {", ", 2, NULL},
                                       .key_sep = {": ", 2, NULL}};
    style->ascii = arg[0] && jinja_truth(arg[0]);
    style->sort = arg[3] && jinja_truth(arg[3]);
    if (indent && indent->type != J_NONE) {
        style->pretty = true;
        style->item_sep.n = 1;
        if (indent->type == J_STR) {
            style->indent = *indent->s;
        } else if (!jinja_as_int(indent, &n)) {
            return jinja_fail(r, "tojson: indent must be a number or a string");
        } else if (n > 0) {
            static const char spaces[] = "                                ";
            if (n > (int64_t)sizeof spaces - 1)
                return jinja_fail(r, "tojson: indent is more than %zu",
                                  sizeof spaces - 1);
            style->indent = (struct jinja_str){spaces, (size_t)n, NULL};
        }
    }
    if (!sep || sep->type == J_NONE)
        return true;
    if (sep->type != J_LIST || sep->l->n != 2 || sep->l->v[0].type != J_STR ||
        sep->l->v[1].type != J_STR)
        return jinja_fail(r, "tojson: separators must be two strings");
    style->item_sep = *sep->l->v[0].s;
    style->key_sep = *sep->l->v[1].s;
    return true;
}

static bool filter_tojson(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    struct jinja_json_style style;
    struct jinja_sink o;
    if (!json_style(r, &style, arg))
        return false;
    jinja_sink_init(r, &o);
    const bool ok = jinja_json(r, &o, self, &style) && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

static bool filter_from_json(struct render *r, struct jinja_value *out,
                             const struct jinja_value *self,
                             const struct jinja_value *const *arg)
{
    json_error_t error;
    (void)arg;
    if (self->type != J_STR)
        return jinja_fail(r, "from_json needs a string, not %s", jinja_type_name(self));
    const struct jinja_str *s = self->s;
    if (!jinja_charge(r, s->n / 16))
        return false;
    json_t *j = json_parse(s->s, s->n, JSON_DECODE_ANY, &error);
    if (!j)
        return jinja_fail(r, "from_json: %.120s", error.text);
    const bool ok =
        jinja_from_json(r, out, j, jinja_is_input(s) ? jinja_input : NULL, true);
    json_decref(j);
    return ok;
}

/* indent(width=4, first=False, blank=False) */
static bool filter_indent(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    struct jinja_value by = jinja_int(4), text, newline, spaces;
    const bool first = arg[1] && jinja_truth(arg[1]),
               blank = arg[2] && jinja_truth(arg[2]);
    struct jinja_sink o;
    bool ok = true;
    if (arg[0])
        by = *arg[0];
    if (by.type != J_STR &&
        (!jinja_cstr(r, &spaces, " ") || !jinja_binary(r, JO_MUL, &by, &spaces, &by)))
        return false;
    /* A newline more, so that the lines end with an empty one if the text ends so. */
    if (!jinja_to_str(r, &text, self) || !jinja_cstr(r, &newline, "\n") ||
        !jinja_concat(r, &text, text.s, newline.s))
        return false;
    const struct jinja_list *l = jinja_split_lines(r, text.s, false);
    if (!l)
        return false;
    jinja_sink_init(r, &o);
    for (size_t i = 0; ok && i < l->n; i++) {
        const struct jinja_str *line = l->v[i].s;
        if (i)
            ok = jinja_puts(r, &o, "\n");
        if (i ? line->n || blank : first)
            ok = ok && jinja_put_str(r, &o, by.s);
        ok = ok && jinja_put_str(r, &o, line);
    }
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

/* ---- numbers ---- */

/* Python's int(text, base): white space, sign, prefix, digits with single underscores. */
static bool int_from_text(const struct jinja_str *s, int64_t base, int64_t *out,
                          bool *overflow)
{
    size_t i = 0, to = s->n;
    int64_t v = 0;
    jinja_strip(s, NULL, true, true, &i, &to);
    const bool minus = i < to && s->s[i] == '-';
    i += i < to && (minus || s->s[i] == '+');
    const char mark = to - i > 2 && s->s[i] == '0' ? (char)(s->s[i + 1] | 32) : 0;
    const int prefix = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (prefix && (base == prefix || base == 0)) {
        base = prefix;
        i += 2;
        i += s->s[i] == '_';
    } else if (base == 0) {
        base = 10;
    }
    if (i == to || base < 2 || base > 36)
        return false;
    for (bool digit = false; i < to; i++) {
        const char c = s->s[i], low = (char)(c | 32);
        const int d = c >= '0' && c <= '9'       ? c - '0'
                      : low >= 'a' && low <= 'z' ? low - 'a' + 10
                                                 : 99;
        if (c == '_' && digit && i + 1 < to) {
            digit = false;
            continue;
        }
        if (d >= base)
            return false;
        digit = true;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_sub_overflow(v, d, &v))
            *overflow = true;
    }
    *overflow |= !minus && v == INT64_MIN;
    *out = minus || *overflow ? v : -v;
    return true;
}

/* Python's float(text): like strtod, without hexadecimal, "nan(...)" or a rest. */
static bool float_from_text(const struct jinja_str *s, double *out)
{
    char text[400];
    size_t from = 0, to = s->n, k = 0;
    jinja_strip(s, NULL, true, true, &from, &to);
    if (from == to || to - from >= sizeof text)
        return false;
    for (size_t i = from; i < to; i++) {
        const bool inner = i > from && i + 1 < to;
        if (s->s[i] == '_' && inner && s->s[i - 1] >= '0' && s->s[i - 1] <= '9' &&
            s->s[i + 1] >= '0' && s->s[i + 1] <= '9')
            continue;
        if (!s->s[i] || strchr("xX(_", s->s[i]) || jinja_is_space((unsigned char)s->s[i]))
            return false;
        text[k++] = s->s[i];
    }
    text[k] = 0;
    char *end;
    *out = strtod(text, &end);
    return *end == 0;
}

static bool int_from_float(struct render *r, struct jinja_value *out, double f,
                           const struct jinja_value *def)
{
    *out = *def;
    if (!isfinite(f))
        return true;
    if (f >= 0x1p63 || f < -0x1p63)
        return jinja_fail(r, "an integer needs more than 64 bits");
    *out = jinja_int((int64_t)f);
    return true;
}

/* int(default=0, base=10) */
static bool filter_int(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    const struct jinja_value def = arg[0] ? *arg[0] : jinja_int(0);
    int64_t base = 10, i;
    double f;
    bool overflow = false;
    if (arg[1] && !jinja_as_int(arg[1], &base))
        return jinja_fail(r, "int: the base must be an integer");
    *out = def;
    if (self->type == J_UNDEF)
        return jinja_undefined(r, self);
    if (jinja_as_int(self, &i)) {
        *out = jinja_int(i);
        return true;
    }
    if (self->type == J_FLOAT)
        return int_from_float(r, out, self->f, &def);
    if (self->type != J_STR || !jinja_charge(r, self->s->n / 16))
        return r->status == STATUS_OK;
    if (int_from_text(self->s, base, &i, &overflow)) {
        if (overflow)
            return jinja_fail(r, "an integer needs more than 64 bits");
        *out = jinja_int(i);
        return true;
    }
    return !float_from_text(self->s, &f) || int_from_float(r, out, f, &def);
}

static bool filter_float(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    double f;
    *out = arg[0] ? *arg[0] : jinja_float(0);
    if (self->type == J_UNDEF)
        return jinja_undefined(r, self);
    if (jinja_number(self, &f) || (self->type == J_STR && float_from_text(self->s, &f)))
        *out = jinja_float(f);
    return true;
}

static bool filter_abs(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    double f;
    int64_t i = 0;
    (void)arg;
    if (self->type == J_UNDEF)
        return jinja_undefined(r, self);
    if (!jinja_number(self, &f))
        return jinja_fail(r, "bad operand type for abs(): '%s'", jinja_type_name(self));
    if (self->type == J_FLOAT) {
        *out = jinja_float(fabs(f));
        return true;
    }
    jinja_as_int(self, &i);
    *out = jinja_int(i);
    return i >= 0 || jinja_negate(r, out, self);
}

/* round(precision=0, method='common') */
static bool filter_round(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    int64_t digits = 0;
    double f;
    char text[400];
    struct jinja_value method;
    if (!(arg[1] ? jinja_to_str(r, &method, arg[1]) : jinja_cstr(r, &method, "common")))
        return false;
    const bool up = method.s->n == 4 && !memcmp(method.s->s, "ceil", 4);
    const bool down = method.s->n == 5 && !memcmp(method.s->s, "floor", 5);
    if (!up && !down && !(method.s->n == 6 && !memcmp(method.s->s, "common", 6)))
        return jinja_fail(r, "method must be common, ceil or floor");
    if (self->type == J_UNDEF)
        return jinja_undefined(r, self);
    if (!jinja_number(self, &f))
        return jinja_fail(r, "type %s doesn't define __round__ method",
                          jinja_type_name(self));
    if (arg[0] && !jinja_as_int(arg[0], &digits))
        return jinja_fail(r, "round: the precision must be an integer");
    if (digits < -20 || digits > 30)
        return jinja_fail(r, "round: the precision is not between -20 and 30");
    if (up || down) {
        const double scale = pow(10, (double)digits);
        *out = jinja_float((up ? ceil(f * scale) : floor(f * scale)) / scale);
        return true;
    }
    if (self->type != J_FLOAT) {
        if (digits < 0)
            return jinja_fail(r, "round: an integer with a negative precision");
        int64_t i = 0;
        jinja_as_int(self, &i);
        *out = jinja_int(i);
        return true;
    }
    if (!isfinite(f) || digits < 0) {
        const double scale = pow(10, (double)-digits);
        *out = jinja_float(isfinite(f) ? nearbyint(f / scale) * scale : f);
        return true;
    }
    /* The decimal of so many digits is the exact value rounded half to even. */
    snprintf(text, sizeof text, "%.*f", (int)digits, f);
    *out = jinja_float(strtod(text, NULL));
    return true;
}

static const struct jinja_func filters[] = {
    {"length", "", filter_length, NULL, 0},
    {"count", "", filter_length, NULL, 0},
    {"string", "", filter_string, NULL, 0},
    {"safe", "", filter_safe, NULL, 0},
    {"default", ";default_value,boolean", filter_default, NULL, 0},
    {"d", ";default_value,boolean", filter_default, NULL, 0},
    {"tojson", ";ensure_ascii,indent,separators,sort_keys", filter_tojson, NULL, 0},
    {"from_json", "", filter_from_json, NULL, 0},
    {"indent", ";width,first,blank", filter_indent, NULL, 0},
    {"int", ";default,base", filter_int, NULL, 0},
    {"float", ";default", filter_float, NULL, 0},
    {"abs", "", filter_abs, NULL, 0},
    {"round", ";precision,method", filter_round, NULL, 0},
    {"trim", ";chars", jinja_str_strip, NULL, 0},
    {"upper", "", jinja_str_upper, NULL, 0},
    {"lower", "", jinja_str_lower, NULL, 0},
    {"capitalize", "", jinja_str_capitalize, NULL, 0},
    {"title", "", jinja_str_title_filter, NULL, 0},
    {"replace", "old,new;count", jinja_str_replace, NULL, 0},
    {"items", "", jinja_f_items, NULL, 0},
    {"list", "", jinja_f_list, NULL, 0},
    {"join", ";d,attribute", jinja_f_join, NULL, 0},
    {"first", "", jinja_f_first, NULL, 0},
    {"last", "", jinja_f_last, NULL, 0},
    {"reverse", "", jinja_f_reverse, NULL, 0},
    {"batch", "linecount;fill_with", jinja_f_batch, NULL, 0},
    {"unique", ";case_sensitive,attribute", jinja_f_unique, NULL, 0},
    {"sort", ";reverse,case_sensitive,attribute", jinja_f_sort, NULL, 0},
    {"dictsort", ";case_sensitive,by,reverse", jinja_f_dictsort, NULL, 0},
    {"min", ";case_sensitive,attribute", jinja_f_min, NULL, 0},
    {"max", ";case_sensitive,attribute", jinja_f_max, NULL, 0},
    {"sum", ";attribute,start", jinja_f_sum, NULL, 0},
    {"attr", "name", jinja_f_attr, NULL, 0},
    {"map", NULL, NULL, jinja_f_map, 0},
    {"select", NULL, NULL, jinja_f_select, 0},
    {"reject", NULL, NULL, jinja_f_reject, 0},
    {"selectattr", NULL, NULL, jinja_f_selectattr, 0},
    {"rejectattr", NULL, NULL, jinja_f_rejectattr, 0},
};

const struct jinja_func *jinja_filter_find(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (strlen(filters[i].name) == n && !memcmp(filters[i].name, name, n))
            return &filters[i];
    return NULL;
}
