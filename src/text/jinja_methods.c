/* jinja_methods.c - the table of methods; those of list and dict, loop and the small
 * ones of str. */
#include <string.h>

#include "text/jinja.h"

/* ---- str ---- */

static bool str_class(struct render *r, struct jinja_value *out,
                      const struct jinja_str *s, bool digit, bool alpha, bool space)
{
    size_t len;
    bool all = s->n > 0;
    if (!jinja_charge(r, s->n / 32))
        return false;
    for (size_t i = 0; all && i < s->n; i += len) {
        const uint32_t c = jinja_utf8_get(s->s + i, s->n - i, &len);
        all = (digit && c >= '0' && c <= '9') || (alpha && jinja_is_alpha(c)) ||
              (space && jinja_is_space(c));
    }
    *out = jinja_bool(all);
    return true;
}

static bool method_isdigit(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self,
                           const struct jinja_value *const *arg)
{
    (void)arg;
    return str_class(r, out, self->s, true, false, false);
}

static bool method_isalpha(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self,
                           const struct jinja_value *const *arg)
{
    (void)arg;
    return str_class(r, out, self->s, false, true, false);
}

static bool method_isalnum(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self,
                           const struct jinja_value *const *arg)
{
    (void)arg;
    return str_class(r, out, self->s, true, true, false);
}

static bool method_isspace(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self,
                           const struct jinja_value *const *arg)
{
    (void)arg;
    return str_class(r, out, self->s, false, false, true);
}

/* ---- dict ---- */

static bool method_get(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    if (!jinja_hashable(r, arg[0]))
        return false;
    const struct jinja_value *v = jinja_dict_get(r, self->d, arg[0]);
    *out = v ? *v : arg[1] ? *arg[1] : jinja_none();
    return r->status == STATUS_OK;
}

static bool dict_view(struct render *r, struct jinja_value *out,
                      const struct jinja_dict *d, enum jinja_list_kind kind)
{
    struct jinja_list *l =
        jinja_charge(r, d->n / 8) ? jinja_list_new(r, kind, d->n) : NULL;
    if (!l)
        return false;
    for (size_t i = 0; i < d->n; i++) {
        struct jinja_value v = kind == JL_KEYS ? d->p[i].key : d->p[i].value;
        if (kind == JL_ITEMS) {
            struct jinja_list *pair = jinja_list_new(r, JL_TUPLE, 2);
            if (!pair)
                return false;
            pair->v[0] = d->p[i].key;
            pair->v[1] = d->p[i].value;
            pair->n = 2;
            v = jinja_listv(pair);
        }
        l->v[l->n++] = v;
    }
    *out = jinja_listv(l);
    return true;
}

static bool method_items(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    (void)arg;
    return dict_view(r, out, self->d, JL_ITEMS);
}

static bool method_keys(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg)
{
    (void)arg;
    return dict_view(r, out, self->d, JL_KEYS);
}

static bool method_values(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    (void)arg;
    return dict_view(r, out, self->d, JL_VALUES);
}

static bool method_update(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self, const struct jinja_args *args)
{
    struct jinja_value other;
    const struct jinja_value make = {.type = J_FUNC,
                                     .func = jinja_global_find("dict", 4)};
    if (!jinja_call(r, &other, &make, args))
        return false;
    for (size_t i = 0; i < other.d->n; i++)
        if (!jinja_dict_set(r, self->d, &other.d->p[i].key, &other.d->p[i].value))
            return false;
    *out = jinja_none();
    return true;
}

static bool method_setdefault(struct render *r, struct jinja_value *out,
                              const struct jinja_value *self,
                              const struct jinja_value *const *arg)
{
    const struct jinja_value none = jinja_none(), *def = arg[1] ? arg[1] : &none;
    if (!jinja_hashable(r, arg[0]))
        return false;
    const struct jinja_value *v = jinja_dict_get(r, self->d, arg[0]);
    *out = v ? *v : *def;
    return r->status == STATUS_OK && (v || jinja_dict_set(r, self->d, arg[0], def));
}

static bool method_dict_pop(struct render *r, struct jinja_value *out,
                            const struct jinja_value *self,
                            const struct jinja_value *const *arg)
{
    struct jinja_dict *d = self->d;
    struct jinja_value *v =
        jinja_hashable(r, arg[0]) ? jinja_dict_get(r, d, arg[0]) : NULL;
    if (r->status != STATUS_OK)
        return false;
    if (!v && !arg[1])
        return jinja_fail(r, "pop(): the key is not in the dict");
    *out = v ? *v : *arg[1];
    for (size_t i = 0; v && i < d->n; i++)
        if (&d->p[i].value == v) {
            memmove(&d->p[i], &d->p[i + 1], (--d->n - i) * sizeof *d->p);
            break;
        }
    return jinja_charge(r, d->n / 8);
}

static bool method_dict_copy(struct render *r, struct jinja_value *out,
                             const struct jinja_value *self,
                             const struct jinja_value *const *arg)
{
    struct jinja_dict *d =
        jinja_charge(r, self->d->n / 8) ? jinja_dict_new(r, self->d->n) : NULL;
    (void)arg;
    if (!d)
        return false;
    if (self->d->n)
        memcpy(d->p, self->d->p, self->d->n * sizeof *d->p);
    d->n = self->d->n;
    *out = (struct jinja_value){.type = J_DICT, .d = d};
    return true;
}

/* ---- list and tuple ---- */

static bool method_append(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    *out = jinja_none();
    return jinja_list_push(r, self->l, arg[0]);
}

static bool method_extend(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    const struct jinja_list *l = jinja_to_list(r, arg[0], JL_LIST);
    for (size_t i = 0; l && i < l->n; i++)
        if (!jinja_list_push(r, self->l, &l->v[i]))
            return false;
    *out = jinja_none();
    return l;
}

static bool list_position(struct render *r, const struct jinja_value *v, int64_t *out)
{
    if (!v || jinja_as_int(v, out))
        return true;
    return jinja_fail(r, "'%s' object cannot be interpreted as an integer",
                      jinja_type_name(v));
}

static bool method_insert(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    struct jinja_list *l = self->l;
    int64_t at = 0;
    const struct jinja_value item = *arg[1];
    if (!list_position(r, arg[0], &at) || !jinja_charge(r, l->n / 8) ||
        !jinja_list_push(r, l, &item))
        return false;
    const int64_t n = (int64_t)l->n - 1;
    at = at < 0 ? at + n : at;
    at = at < 0 ? 0 : at > n ? n : at;
    memmove(&l->v[at + 1], &l->v[at], (size_t)(n - at) * sizeof *l->v);
    l->v[at] = item;
    *out = jinja_none();
    return true;
}

static bool method_list_pop(struct render *r, struct jinja_value *out,
                            const struct jinja_value *self,
                            const struct jinja_value *const *arg)
{
    struct jinja_list *l = self->l;
    int64_t at = -1;
    if (!list_position(r, arg[0], &at) || !jinja_charge(r, l->n / 8))
        return false;
    if (!l->n)
        return jinja_fail(r, "pop from empty list");
    at += at < 0 ? (int64_t)l->n : 0;
    if (at < 0 || at >= (int64_t)l->n)
        return jinja_fail(r, "pop index out of range");
    *out = l->v[at];
    l->n--;
    memmove(&l->v[at], &l->v[at + 1], (l->n - (size_t)at) * sizeof *l->v);
    return true;
}

static bool method_list_index(struct render *r, struct jinja_value *out,
                              const struct jinja_value *self,
                              const struct jinja_value *const *arg)
{
    bool same = false;
    for (size_t i = 0; i < self->l->n; i++) {
        if (!jinja_eq(r, &self->l->v[i], arg[0], &same))
            return false;
        if (same) {
            *out = jinja_int((int64_t)i);
            return true;
        }
    }
    return jinja_fail(r, "index(): the value is not in the %s", jinja_type_name(self));
}

static bool method_list_count(struct render *r, struct jinja_value *out,
                              const struct jinja_value *self,
                              const struct jinja_value *const *arg)
{
    int64_t n = 0;
    bool same = false;
    for (size_t i = 0; i < self->l->n; i++) {
        if (!jinja_eq(r, &self->l->v[i], arg[0], &same))
            return false;
        n += same;
    }
    *out = jinja_int(n);
    return true;
}

static bool method_list_copy(struct render *r, struct jinja_value *out,
                             const struct jinja_value *self,
                             const struct jinja_value *const *arg)
{
    struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    (void)arg;
    if (l)
        *out = jinja_listv(l);
    return l;
}

static bool method_list_reverse(struct render *r, struct jinja_value *out,
                                const struct jinja_value *self,
                                const struct jinja_value *const *arg)
{
    struct jinja_list *l = self->l;
    (void)arg;
    for (size_t i = 0; i < l->n / 2; i++) {
        const struct jinja_value v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
    *out = jinja_none();
    return jinja_charge(r, l->n / 8);
}

/* ---- loop ---- */

static bool method_cycle(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self, const struct jinja_args *args)
{
    if (!args->n_pos)
        return jinja_fail(r, "no items for cycling given");
    *out = args->pos[self->loop->i % (size_t)args->n_pos];
    return true;
}

static bool method_changed(struct render *r, struct jinja_value *out,
                           const struct jinja_value *self, const struct jinja_args *args)
{
    struct jinja_list *l = jinja_list_new(r, JL_TUPLE, (size_t)args->n_pos);
    struct jinja_value *last = self->loop->changed;
    bool same = false;
    for (int i = 0; l && i < args->n_pos; i++)
        if (!jinja_list_push(r, l, &args->pos[i]))
            return false;
    if (!l)
        return false;
    const struct jinja_value now = jinja_listv(l);
    if (last->type == J_LIST && !jinja_eq(r, last, &now, &same))
        return false;
    *last = now;
    *out = jinja_bool(!same);
    return true;
}

/* Namesakes stand next to each other. */
#define ON(t) (1u << (t))
static const struct jinja_func methods[] = {
    {"upper", "", jinja_str_upper, NULL, ON(J_STR)},
    {"lower", "", jinja_str_lower, NULL, ON(J_STR)},
    {"casefold", "", jinja_str_lower, NULL, ON(J_STR)},
    {"capitalize", "", jinja_str_capitalize, NULL, ON(J_STR)},
    {"title", "", jinja_str_title, NULL, ON(J_STR)},
    {"swapcase", "", jinja_str_swapcase, NULL, ON(J_STR)},
    {"strip", ";chars", jinja_str_strip, NULL, ON(J_STR)},
    {"lstrip", ";chars", jinja_str_lstrip, NULL, ON(J_STR)},
    {"rstrip", ";chars", jinja_str_rstrip, NULL, ON(J_STR)},
    {"replace", "old,new;count", jinja_str_replace, NULL, ON(J_STR)},
    {"split", ";sep,maxsplit", jinja_str_split, NULL, ON(J_STR)},
    {"rsplit", ";sep,maxsplit", jinja_str_rsplit, NULL, ON(J_STR)},
    {"splitlines", ";keepends", jinja_str_splitlines, NULL, ON(J_STR)},
    {"partition", "sep", jinja_str_partition, NULL, ON(J_STR)},
    {"rpartition", "sep", jinja_str_rpartition, NULL, ON(J_STR)},
    {"startswith", "prefix", jinja_str_startswith, NULL, ON(J_STR)},
    {"endswith", "suffix", jinja_str_endswith, NULL, ON(J_STR)},
    {"removeprefix", "prefix", jinja_str_removeprefix, NULL, ON(J_STR)},
    {"removesuffix", "suffix", jinja_str_removesuffix, NULL, ON(J_STR)},
    {"join", "iterable", jinja_str_join, NULL, ON(J_STR)},
    {"find", "sub", jinja_str_find, NULL, ON(J_STR)},
    {"rfind", "sub", jinja_str_rfind, NULL, ON(J_STR)},
    {"isdigit", "", method_isdigit, NULL, ON(J_STR)},
    {"isnumeric", "", method_isdigit, NULL, ON(J_STR)},
    {"isdecimal", "", method_isdigit, NULL, ON(J_STR)},
    {"isalpha", "", method_isalpha, NULL, ON(J_STR)},
    {"isalnum", "", method_isalnum, NULL, ON(J_STR)},
    {"isspace", "", method_isspace, NULL, ON(J_STR)},
    {"isupper", "", jinja_str_isupper, NULL, ON(J_STR)},
    {"islower", "", jinja_str_islower, NULL, ON(J_STR)},
    {"get", "key;default", method_get, NULL, ON(J_DICT)},
    {"items", "", method_items, NULL, ON(J_DICT)},
    {"keys", "", method_keys, NULL, ON(J_DICT)},
    {"values", "", method_values, NULL, ON(J_DICT)},
    {"update", NULL, NULL, method_update, ON(J_DICT)},
    {"setdefault", "key;default", method_setdefault, NULL, ON(J_DICT)},
    {"pop", "key;default", method_dict_pop, NULL, ON(J_DICT)},
    {"pop", ";index", method_list_pop, NULL, ON(J_LIST)},
    {"copy", "", method_dict_copy, NULL, ON(J_DICT)},
    {"copy", "", method_list_copy, NULL, ON(J_LIST)},
    {"append", "object", method_append, NULL, ON(J_LIST)},
    {"extend", "iterable", method_extend, NULL, ON(J_LIST)},
    {"insert", "index,object", method_insert, NULL, ON(J_LIST)},
    {"reverse", "", method_list_reverse, NULL, ON(J_LIST)},
    {"index", "sub", jinja_str_index, NULL, ON(J_STR)},
    {"index", "value", method_list_index, NULL, ON(J_LIST)},
    {"count", "sub", jinja_str_count, NULL, ON(J_STR)},
    {"count", "value", method_list_count, NULL, ON(J_LIST)},
    {"cycle", NULL, NULL, method_cycle, ON(J_LOOP)},
    {"changed", NULL, NULL, method_changed, ON(J_LOOP)},
};
enum { N_METHODS = sizeof methods / sizeof *methods };

const struct jinja_func *jinja_method_find(const char *name, size_t n)
{
    for (int i = 0; i < N_METHODS; i++)
        if (methods[i].name[0] == (n ? *name : 0) && strlen(methods[i].name) == n &&
            !memcmp(methods[i].name, name, n))
            return &methods[i];
    return NULL;
}

const struct jinja_func *jinja_method_for(const struct jinja_func *f,
                                          const struct jinja_value *v)
{
    const char *name = f->name;
    for (; f < methods + N_METHODS && !strcmp(f->name, name); f++) {
        if (!(f->types & ON(v->type)))
            continue;
        /* A tuple has but the two that do not change it, a view none. */
        if (v->type == J_LIST && v->l->kind == JL_TUPLE)
            return f->fn == method_list_index || f->fn == method_list_count ? f : NULL;
        return v->type == J_LIST && v->l->kind != JL_LIST ? NULL : f;
    }
    return NULL;
}
