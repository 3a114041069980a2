/* jinja_value.c - values, sinks and the errors and budgets of a render. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text/jinja.h"

const uint8_t jinja_input[1] = {1};

/* ---- errors and budgets ---- */

/* The text of an error may end inside a character where it was cut. */
static void error_trim(struct error *err)
{
    size_t n = err ? strlen(err->text) : 0, len;
    if (n + 1 < sizeof err->text)
        return;
    size_t at = n - 1;
    while (at > 0 && (err->text[at] & 0xc0) == 0x80)
        at--;
    if (jinja_utf8_get(err->text + at, n - at, &len) == 0xfffd && len == 1)
        err->text[at] = 0;
}

bool jinja_fail(struct render *r, const char *fmt, ...)
{
    char text[240];
    if (r->status != STATUS_OK)
        return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->status = fail(r->err, STATUS_BAD_INPUT, "line %d: %s", r->line, text);
    error_trim(r->err);
    return false;
}

bool jinja_limit(struct render *r, const char *fmt, ...)
{
    char text[200];
    if (r->status != STATUS_OK)
        return false;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    r->status = fail(r->err, STATUS_LIMIT, "line %d: %s", r->line, text);
    return false;
}

bool jinja_raise(struct render *r, const struct jinja_str *message)
{
    if (r->status != STATUS_OK)
        return false;
    const int n = message->n > 1000 ? 1000 : (int)message->n;
    r->status = fail(r->err, STATUS_BAD_INPUT, "%.*s", n, message->s);
    error_trim(r->err);
    return false;
}

bool jinja_charge(struct render *r, size_t n)
{
    r->steps += n;
    if (r->steps <= r->limits.steps)
        return true;
    return jinja_limit(r, "rendering takes more than the limit of %llu steps",
                       (unsigned long long)r->limits.steps);
}

static bool memory_limit(struct render *r)
{
    return jinja_limit(r, "values need more than the limit of %zu bytes of memory",
                       r->limits.memory_bytes);
}

void *jinja_alloc(struct render *r, size_t n, size_t size)
{
    void *p = arena_array(&r->arena, n ? n : 1, size);
    if (!p)
        memory_limit(r);
    return p;
}

bool jinja_undefined(struct render *r, const struct jinja_value *v)
{
    const struct jinja_undef *u = v->u;
    const struct jinja_str *name = u->name.type == J_STR ? u->name.s : NULL;
    const int n = !name ? 0 : name->n > 100 ? 100 : (int)name->n;
    if (u->hint)
        return jinja_fail(r, "%s", u->hint);
    if (!u->object)
        return jinja_fail(r, "'%.*s' is undefined", n, name ? name->s : "");
    if (name)
        return jinja_fail(r, "'%s' has no attribute '%.*s'", u->object, n, name->s);
    if (u->name.type == J_INT)
        return jinja_fail(r, "%s has no element %lld", u->object, (long long)u->name.i);
    return jinja_fail(r, "%s has no element of type %s", u->object,
                      jinja_type_name(&u->name));
}

/* ---- values ---- */

struct jinja_value jinja_none(void)
{
    return (struct jinja_value){.type = J_NONE};
}

struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.type = J_BOOL, .b = b};
}

struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.type = J_INT, .i = i};
}

struct jinja_value jinja_float(double f)
{
    return (struct jinja_value){.type = J_FLOAT, .f = f};
}

struct jinja_value jinja_listv(struct jinja_list *l)
{
    return (struct jinja_value){.type = J_LIST, .l = l};
}

const uint8_t *jinja_mark_at(const uint8_t *mark, size_t off)
{
    return !mark || mark == jinja_input ? mark : mark + off;
}

bool jinja_is_input(const struct jinja_str *s)
{
    if (!s->mark || s->mark == jinja_input)
        return s->mark;
    return s->n && memchr(s->mark, 1, s->n);
}

bool jinja_str_view(struct render *r, struct jinja_value *out, const char *s, size_t n,
                    const uint8_t *mark)
{
    struct jinja_str *str = jinja_alloc(r, 1, sizeof *str);
    if (!str)
        return false;
    *str = (struct jinja_str){s, n, mark};
    *out = (struct jinja_value){.type = J_STR, .s = str};
    return true;
}

bool jinja_cstr(struct render *r, struct jinja_value *out, const char *s)
{
    return jinja_str_view(r, out, s, strlen(s), NULL);
}

bool jinja_sub(struct render *r, struct jinja_value *out, const struct jinja_str *s,
               size_t from, size_t to)
{
    return jinja_str_view(r, out, s->s + from, to - from, jinja_mark_at(s->mark, from));
}

static void mark_copy(uint8_t *to, const struct jinja_str *s)
{
    if (s->mark == jinja_input)
        memset(to, 1, s->n);
    else if (s->mark && s->n)
        memcpy(to, s->mark, s->n);
}

bool jinja_concat(struct render *r, struct jinja_value *out, const struct jinja_str *a,
                  const struct jinja_str *b)
{
    const size_t n = a->n + b->n;
    char *s = jinja_charge(r, n / 64) ? jinja_alloc(r, n, 1) : NULL;
    const uint8_t *mark = a->mark;
    if (!s)
        return false;
    if (a->n)
        memcpy(s, a->s, a->n);
    if (b->n)
        memcpy(s + a->n, b->s, b->n);
    if (!a->n || (b->n && a->mark != b->mark) || (mark && mark != jinja_input)) {
        uint8_t *m = jinja_alloc(r, n, 1);
        if (!m)
            return false;
        mark_copy(m, a);
        mark_copy(m + a->n, b);
        mark = m;
    }
    return jinja_str_view(r, out, s, n, mark);
}

static bool undef_new(struct render *r, struct jinja_value *out, struct jinja_undef u)
{
    struct jinja_undef *p = jinja_alloc(r, 1, sizeof *p);
    if (!p)
        return false;
    *p = u;
    *out = (struct jinja_value){.type = J_UNDEF, .u = p};
    return true;
}

bool jinja_undef_member(struct render *r, struct jinja_value *out,
                        const struct jinja_value *object, const struct jinja_value *name)
{
    const struct jinja_value key = *name; // out may be name
    return undef_new(
        r, out, (struct jinja_undef){.object = jinja_object_name(object), .name = key});
}

bool jinja_undef_name(struct render *r, struct jinja_value *out,
                      const struct jinja_str *name)
{
    return undef_new(r, out, (struct jinja_undef){.name = {.type = J_STR, .s = name}});
}

bool jinja_undef_hint(struct render *r, struct jinja_value *out, const char *hint)
{
    return undef_new(r, out, (struct jinja_undef){.hint = hint});
}

struct jinja_list *jinja_list_new(struct render *r, enum jinja_list_kind kind, size_t cap)
{
    struct jinja_list *l = jinja_alloc(r, 1, sizeof *l);
    if (!l)
        return NULL;
    l->kind = kind;
    l->cap = cap;
    l->v = cap ? jinja_alloc(r, cap, sizeof *l->v) : NULL;
    return cap && !l->v ? NULL : l;
}

bool jinja_list_push(struct render *r, struct jinja_list *l, const struct jinja_value *v)
{
    if (l->n == l->cap) {
        const size_t cap = l->cap ? l->cap * 2 : 8;
        const struct jinja_value item = *v; // v may be in l
        struct jinja_value *p = jinja_alloc(r, cap, sizeof *p);
        if (!p)
            return false;
        if (l->n)
            memcpy(p, l->v, l->n * sizeof *p);
        l->v = p;
        l->cap = cap;
        l->v[l->n++] = item;
        return true;
    }
    l->v[l->n++] = *v;
    return true;
}

struct jinja_dict *jinja_dict_new(struct render *r, size_t cap)
{
    struct jinja_dict *d = jinja_alloc(r, 1, sizeof *d);
    if (!d)
        return NULL;
    d->cap = cap;
    d->p = cap ? jinja_alloc(r, cap, sizeof *d->p) : NULL;
    return cap && !d->p ? NULL : d;
}

struct jinja_value *jinja_dict_str(const struct jinja_dict *d, const char *s, size_t n)
{
    for (size_t i = 0; i < d->n; i++) {
        const struct jinja_value *k = &d->p[i].key;
        if (k->type == J_STR && k->s->n == n && (!n || !memcmp(k->s->s, s, n)))
            return &d->p[i].value;
    }
    return NULL;
}

struct jinja_value *jinja_dict_get(struct render *r, const struct jinja_dict *d,
                                   const struct jinja_value *key)
{
    if (!jinja_charge(r, d->n / 16))
        return NULL;
    if (key->type == J_STR)
        return jinja_dict_str(d, key->s->s, key->s->n);
    for (size_t i = 0; i < d->n; i++) {
        bool same = false;
        if (d->p[i].key.type == J_STR)
            continue;
        if (!jinja_eq(r, &d->p[i].key, key, &same))
            return NULL;
        if (same)
            return &d->p[i].value;
    }
    return NULL;
}

bool jinja_dict_set(struct render *r, struct jinja_dict *d, const struct jinja_value *key,
                    const struct jinja_value *v)
{
    struct jinja_value *at = jinja_dict_get(r, d, key);
    if (r->status != STATUS_OK)
        return false;
    if (at) {
        *at = *v;
        return true;
    }
    if (d->n == d->cap) {
        const size_t cap = d->cap ? d->cap * 2 : 8;
        struct jinja_pair *p = jinja_alloc(r, cap, sizeof *p);
        if (!p)
            return false;
        if (d->n)
            memcpy(p, d->p, d->n * sizeof *p);
        d->p = p;
        d->cap = cap;
    }
    d->p[d->n++] = (struct jinja_pair){*key, *v};
    return true;
}

bool jinja_hashable(struct render *r, const struct jinja_value *v)
{
    if (v->type == J_DICT || (v->type == J_LIST && v->l->kind == JL_LIST))
        return jinja_fail(r, "unhashable type: '%s'", jinja_type_name(v));
    return true;
}

const char *jinja_type_name(const struct jinja_value *v)
{
    static const char *const names[] = {
        [J_UNDEF] = "Undefined",
        [J_NONE] = "NoneType",
        [J_BOOL] = "bool",
        [J_INT] = "int",
        [J_FLOAT] = "float",
        [J_STR] = "str",
        [J_DICT] = "dict",
        [J_RANGE] = "range",
        [J_NAMESPACE] = "Namespace",
        [J_LOOP] = "LoopContext",
        [J_MACRO] = "Macro",
        [J_FUNC] = "function",
        [J_METHOD] = "builtin_function_or_method",
        [J_JOINER] = "Joiner",
    };
    static const char *const lists[] = {"list",        "tuple",      "dict_keys",
                                        "dict_values", "dict_items", "generator"};
    return v->type == J_LIST ? lists[v->l->kind] : names[v->type];
}

const char *jinja_object_name(const struct jinja_value *v)
{
    static const char *const names[] = {
        [J_UNDEF] = "jinja2.runtime.Undefined object",
        [J_NONE] = "None",
        [J_BOOL] = "bool object",
        [J_INT] = "int object",
        [J_FLOAT] = "float object",
        [J_STR] = "str object",
        [J_DICT] = "dict object",
        [J_RANGE] = "range object",
        [J_NAMESPACE] = "jinja2.utils.Namespace object",
        [J_LOOP] = "jinja2.runtime.LoopContext object",
        [J_MACRO] = "jinja2.runtime.Macro object",
        [J_FUNC] = "function object",
        [J_METHOD] = "builtin_function_or_method object",
        [J_JOINER] = "jinja2.utils.Joiner object",
    };
    static const char *const lists[] = {"list object",       "tuple object",
                                        "dict_keys object",  "dict_values object",
                                        "dict_items object", "generator object"};
    return v->type == J_LIST ? lists[v->l->kind] : names[v->type];
}

/* ---- sinks ---- */

void jinja_sink_init(struct render *r, struct jinja_sink *o)
{
    buf_init(&o->text, r->limits.memory_bytes);
    buf_init(&o->mark, r->limits.memory_bytes);
}

void jinja_sink_release(struct render *r, struct jinja_sink *o)
{
    r->sink_bytes -= o->text.len;
    buf_release(&o->text);
    buf_release(&o->mark);
}

static bool put_marks(struct buf *b, size_t n, const uint8_t *mark)
{
    static const uint8_t zeros[256],
        ones[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    const uint8_t *from = mark ? ones : zeros;
    const size_t step = mark ? sizeof ones : sizeof zeros;
    if (mark && mark != jinja_input)
        return buf_append(b, mark, n);
    for (size_t k; n; n -= k) {
        k = n < step ? n : step;
        if (!buf_append(b, from, k))
            return false;
    }
    return true;
}

bool jinja_put(struct render *r, struct jinja_sink *o, const char *s, size_t n,
               const uint8_t *mark)
{
    if (!n)
        return true;
    if (!jinja_charge(r, n / 64))
        return false;
    if (o == r->base) {
        if (n > o->text.max - o->text.len)
            return jinja_limit(r, "the output is longer than the limit of %zu bytes",
                               o->text.max);
    } else {
        const size_t left = r->limits.memory_bytes - r->arena.used;
        if (r->sink_bytes > left / 2 || n > left / 2 - r->sink_bytes)
            return memory_limit(r);
        r->sink_bytes += n;
    }
    if (buf_append(&o->text, s, n) && put_marks(&o->mark, n, mark))
        return true;
    if (r->status == STATUS_OK)
        r->status = fail(r->err, STATUS_NO_MEMORY, "out of memory for a rendered text");
    return false;
}

bool jinja_puts(struct render *r, struct jinja_sink *o, const char *s)
{
    return jinja_put(r, o, s, strlen(s), NULL);
}

bool jinja_put_str(struct render *r, struct jinja_sink *o, const struct jinja_str *s)
{
    return jinja_put(r, o, s->s, s->n, s->mark);
}

bool jinja_sink_str(struct render *r, struct jinja_value *out, const struct jinja_sink *o)
{
    const size_t n = o->text.len;
    if (!n)
        return jinja_str_view(r, out, "", 0, NULL);
    char *s = jinja_alloc(r, n, 1);
    if (!s)
        return false;
    memcpy(s, o->text.data, n);
    const uint8_t *mark = NULL;
    const bool zeros = !memchr(o->mark.data, 1, n), ones = !memchr(o->mark.data, 0, n);
    if (ones) {
        mark = jinja_input;
    } else if (!zeros) {
        uint8_t *m = jinja_alloc(r, n, 1);
        if (!m)
            return false;
        memcpy(m, o->mark.data, n);
        mark = m;
    }
    return jinja_str_view(r, out, s, n, mark);
}
