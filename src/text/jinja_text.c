/* jinja_text.c - values as text: Python's str and repr, and JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

/* Python's repr of a float: the shortest digits that read back the same, as a plain
 * decimal for exponents -4 .. 15. */
void jinja_float_text(char out[40], double f)
{
    if (!isfinite(f)) {
        strcpy(out, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char e[40];
    int digits = 1;
    do
        snprintf(e, sizeof e, "%.*e", digits - 1, f);
    while (strtod(e, NULL) != f && ++digits <= 17);
    const int exp = atoi(strchr(e, 'e') + 1);
    if (exp < -4 || exp >= 16) {
        char *at = strchr(e, 'e');
        snprintf(out, 40, "%.*se%c%02d", (int)(at - e), e, exp < 0 ? '-' : '+', abs(exp));
    } else {
        const int decimals = digits - 1 - exp;
        snprintf(out, 40, "%.*f", decimals > 1 ? decimals : 1, f);
    }
}

static bool text_scalar(struct render *r, struct jinja_sink *o,
                        const struct jinja_value *v)
{
    char text[40];
    if (v->type == J_INT)
        snprintf(text, sizeof text, "%lld", (long long)v->i);
    else if (v->type == J_FLOAT)
        jinja_float_text(text, v->f);
    else
        strcpy(text, v->type == J_NONE ? "None" : v->b ? "True" : "False");
    return jinja_puts(r, o, text);
}

static bool text_repr_char(struct render *r, struct jinja_sink *o, uint32_t c,
                           const char *s, size_t n, const uint8_t *mark, char quote)
{
    char text[16];
    if (c == (uint32_t)quote || c == '\\')
        snprintf(text, sizeof text, "\\%c", (char)c);
    else if (c == '\n' || c == '\r' || c == '\t')
        snprintf(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (jinja_is_printable(c))
        return jinja_put(r, o, s, n, mark);
    else
        snprintf(text, sizeof text,
                 c < 0x100     ? "\\x%02x"
                 : c < 0x10000 ? "\\u%04x"
                               : "\\U%08x",
                 (unsigned)c);
    const bool input = mark && *mark;
    return jinja_put(r, o, text, strlen(text), input ? jinja_input : NULL);
}

static bool text_repr_str(struct render *r, struct jinja_sink *o,
                          const struct jinja_str *s)
{
    const bool single = s->n && memchr(s->s, '\'', s->n);
    const char quote = single && !memchr(s->s, '"', s->n) ? '"' : '\'';
    size_t len;
    if (!jinja_charge(r, s->n / 4) || !jinja_put(r, o, &quote, 1, NULL))
        return false;
    for (size_t i = 0; i < s->n; i += len) {
        const uint32_t c = jinja_utf8_get(s->s + i, s->n - i, &len);
        if (!text_repr_char(r, o, c, s->s + i, len, jinja_mark_at(s->mark, i), quote))
            return false;
    }
    return jinja_put(r, o, &quote, 1, NULL);
}

static bool text_repr_list(struct render *r, struct jinja_sink *o,
                           const struct jinja_list *l, int depth)
{
    static const char *const open[] = {
        "[", "(", "dict_keys([", "dict_values([", "dict_items([", "<generator>"};
    static const char *const close[] = {"]", ")", "])", "])", "])", ""};
    if (!jinja_puts(r, o, open[l->kind]))
        return false;
    for (size_t i = 0; i < l->n && l->kind != JL_GENERATOR; i++)
        if ((i && !jinja_puts(r, o, ", ")) || !jinja_repr(r, o, &l->v[i], depth + 1))
            return false;
    if (l->kind == JL_TUPLE && l->n == 1 && !jinja_puts(r, o, ","))
        return false;
    return jinja_puts(r, o, close[l->kind]);
}

static bool text_repr_dict(struct render *r, struct jinja_sink *o,
                           const struct jinja_dict *d, int depth)
{
    if (!jinja_puts(r, o, "{"))
        return false;
    for (size_t i = 0; i < d->n; i++)
        if ((i && !jinja_puts(r, o, ", ")) ||
            !jinja_repr(r, o, &d->p[i].key, depth + 1) || !jinja_puts(r, o, ": ") ||
            !jinja_repr(r, o, &d->p[i].value, depth + 1))
            return false;
    return jinja_puts(r, o, "}");
}

static bool text_repr_range(struct render *r, struct jinja_sink *o,
                            const struct jinja_range *g)
{
    char text[100];
    const long long start = g->start, stop = g->stop, step = g->step;
    if (step == 1)
        snprintf(text, sizeof text, "range(%lld, %lld)", start, stop);
    else
        snprintf(text, sizeof text, "range(%lld, %lld, %lld)", start, stop, step);
    return jinja_puts(r, o, text);
}

bool jinja_repr(struct render *r, struct jinja_sink *o, const struct jinja_value *v,
                int depth)
{
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_limit(r, "a value nests deeper than %d", JINJA_VALUE_DEPTH);
    if (!jinja_charge(r, 1))
        return false;
    switch (v->type) {
    case J_UNDEF:
        return jinja_puts(r, o, "Undefined");
    case J_NONE:
    case J_BOOL:
    case J_INT:
    case J_FLOAT:
        return text_scalar(r, o, v);
    case J_STR:
        return text_repr_str(r, o, v->s);
    case J_LIST:
        return text_repr_list(r, o, v->l, depth);
    case J_DICT:
        return text_repr_dict(r, o, v->d, depth);
    case J_RANGE:
        return text_repr_range(r, o, v->range);
    case J_NAMESPACE:
        return jinja_puts(r, o, "<Namespace ") && text_repr_dict(r, o, v->d, depth) &&
               jinja_puts(r, o, ">");
    case J_MACRO:
        return jinja_puts(r, o, "<Macro '") &&
               jinja_put_str(r, o, v->macro->node->name) && jinja_puts(r, o, "'>");
    default:
        return jinja_puts(r, o, "<") && jinja_puts(r, o, jinja_type_name(v)) &&
               jinja_puts(r, o, ">");
    }
}

bool jinja_put_value(struct render *r, struct jinja_sink *o, const struct jinja_value *v)
{
    if (v->type == J_STR)
        return jinja_put_str(r, o, v->s);
    return v->type == J_UNDEF || jinja_repr(r, o, v, 0);
}

bool jinja_to_str(struct render *r, struct jinja_value *out, const struct jinja_value *v)
{
    if (v->type == J_STR) {
        *out = *v;
        return true;
    }
    struct jinja_sink o;
    jinja_sink_init(r, &o);
    const bool ok = jinja_put_value(r, &o, v) && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

/* ---- JSON ---- */

static bool json_escape(struct render *r, struct jinja_sink *o, uint32_t c,
                        const uint8_t *mark)
{
    static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
    char text[16];
    const char *simple = c && c < 0x80 ? strchr(from, (int)c) : NULL;
    if (simple)
        snprintf(text, sizeof text, "\\%c", to[simple - from]);
    else if (c < 0x10000)
        snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    else
        snprintf(text, sizeof text, "\\u%04x\\u%04x",
                 (unsigned)(0xd800 + ((c - 0x10000) >> 10)),
                 (unsigned)(0xdc00 + ((c - 0x10000) & 0x3ff)));
    return jinja_put(r, o, text, strlen(text), mark && *mark ? jinja_input : NULL);
}

static bool json_str(struct render *r, struct jinja_sink *o, const struct jinja_str *s,
                     bool ascii)
{
    size_t len, from = 0;
    if (!jinja_charge(r, s->n / 32) || !jinja_puts(r, o, "\""))
        return false;
    for (size_t i = 0; i < s->n; i += len) {
        const uint32_t c = jinja_utf8_get(s->s + i, s->n - i, &len);
        if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c >= 0x7f && c != 0x7f))
            continue;
        if (!jinja_put(r, o, s->s + from, i - from, jinja_mark_at(s->mark, from)) ||
            !json_escape(r, o, c, jinja_mark_at(s->mark, i)))
            return false;
        from = i + len;
    }
    return jinja_put(r, o, s->s + from, s->n - from, jinja_mark_at(s->mark, from)) &&
           jinja_puts(r, o, "\"");
}

static bool json_line(struct render *r, struct jinja_sink *o,
                      const struct jinja_json_style *style, int depth)
{
    if (!style->pretty)
        return true;
    if (!jinja_puts(r, o, "\n"))
        return false;
    for (int i = 0; i < depth; i++)
        if (!jinja_put_str(r, o, &style->indent))
            return false;
    return true;
}

static bool json_value(struct render *r, struct jinja_sink *o,
                       const struct jinja_value *v, const struct jinja_json_style *style,
                       int depth);

static bool json_list(struct render *r, struct jinja_sink *o, const struct jinja_list *l,
                      const struct jinja_json_style *style, int depth)
{
    if (!l->n)
        return jinja_puts(r, o, "[]");
    if (!jinja_puts(r, o, "["))
        return false;
    for (size_t i = 0; i < l->n; i++)
        if ((i && !jinja_put_str(r, o, &style->item_sep)) ||
            !json_line(r, o, style, depth + 1) ||
            !json_value(r, o, &l->v[i], style, depth + 1))
            return false;
    return json_line(r, o, style, depth) && jinja_puts(r, o, "]");
}

static bool json_number(struct render *r, struct jinja_sink *o,
                        const struct jinja_value *v)
{
    if (v->type == J_NONE)
        return jinja_puts(r, o, "null");
    if (v->type == J_BOOL)
        return jinja_puts(r, o, v->b ? "true" : "false");
    if (v->type == J_FLOAT && !isfinite(v->f))
        return jinja_puts(r, o,
                          isnan(v->f) ? "NaN"
                          : v->f < 0  ? "-Infinity"
                                      : "Infinity");
    return text_scalar(r, o, v);
}

static bool json_key(struct render *r, struct jinja_sink *o, const struct jinja_value *k,
                     const struct jinja_json_style *style)
{
    if (k->type == J_STR)
        return json_str(r, o, k->s, style->ascii);
    if (k->type != J_NONE && k->type != J_BOOL && k->type != J_INT && k->type != J_FLOAT)
        return jinja_fail(r, "keys must be str, int, float, bool or None, not %s",
                          jinja_type_name(k));
    return jinja_puts(r, o, "\"") && json_number(r, o, k) && jinja_puts(r, o, "\"");
}

/* The pairs in the order to print them. */
static const struct jinja_pair *json_order(struct render *r, const struct jinja_dict *d,
                                           bool sort)
{
    if (!sort)
        return d->p;
    struct jinja_pair *p = jinja_alloc(r, d->n, sizeof *p);
    struct jinja_value *key = jinja_alloc(r, d->n, sizeof *key);
    struct jinja_value *at = jinja_alloc(r, d->n, sizeof *at);
    if (!p || !key || !at)
        return NULL;
    for (size_t i = 0; i < d->n; i++) {
        key[i] = d->p[i].key;
        at[i] = jinja_int((int64_t)i);
    }
    if (!jinja_sort(r, at, key, d->n, false))
        return NULL;
    for (size_t i = 0; i < d->n; i++)
        p[i] = d->p[at[i].i];
    return p;
}

static bool json_dict(struct render *r, struct jinja_sink *o, const struct jinja_dict *d,
                      const struct jinja_json_style *style, int depth)
{
    if (!d->n)
        return jinja_puts(r, o, "{}");
    const struct jinja_pair *p = json_order(r, d, style->sort);
    if (!p || !jinja_puts(r, o, "{"))
        return false;
    for (size_t i = 0; i < d->n; i++)
        if ((i && !jinja_put_str(r, o, &style->item_sep)) ||
            !json_line(r, o, style, depth + 1) || !json_key(r, o, &p[i].key, style) ||
            !jinja_put_str(r, o, &style->key_sep) ||
            !json_value(r, o, &p[i].value, style, depth + 1))
            return false;
    return json_line(r, o, style, depth) && jinja_puts(r, o, "}");
}

static bool json_value(struct render *r, struct jinja_sink *o,
                       const struct jinja_value *v, const struct jinja_json_style *style,
                       int depth)
{
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_limit(r, "a value nests deeper than %d", JINJA_VALUE_DEPTH);
    if (!jinja_charge(r, 1))
        return false;
    switch (v->type) {
    case J_NONE:
    case J_BOOL:
    case J_INT:
    case J_FLOAT:
        return json_number(r, o, v);
    case J_STR:
        return json_str(r, o, v->s, style->ascii);
    case J_DICT:
        return json_dict(r, o, v->d, style, depth);
    case J_LIST:
        if (v->l->kind == JL_LIST || v->l->kind == JL_TUPLE)
            return json_list(r, o, v->l, style, depth);
        break;
    default:
        break;
    }
    return jinja_fail(r, "Object of type %s is not JSON serializable",
                      jinja_type_name(v));
}

bool jinja_json(struct render *r, struct jinja_sink *o, const struct jinja_value *v,
                const struct jinja_json_style *style)
{
    return json_value(r, o, v, style, 0);
}
