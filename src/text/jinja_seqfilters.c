/* jinja_seqfilters.c - filters that work on sequences.  Those that jinja2 makes
 * generators of give one here too: it is true, has no length and is used up by reading.
 */
#include <string.h>

#include "text/jinja_seqfilters.h"

/* ---- attribute="a.b.0": one member after the other ---- */

static bool seq_member(struct render *r, struct jinja_value *out,
                       const struct jinja_value *v, const struct jinja_value *path)
{
    struct jinja_value key;
    *out = *v;
    if (!path || path->type == J_NONE)
        return true;
    if (path->type != J_STR)
        return jinja_getitem(r, out, v, path);
    const struct jinja_str *s = path->s;
    for (size_t from = 0; from <= s->n;) {
        const char *dot = memchr(s->s + from, '.', s->n - from);
        const size_t to = dot ? (size_t)(dot - s->s) : s->n;
        int64_t i = 0;
        bool number = to > from && to - from < 18;
        for (size_t k = from; number && k < to; k++) {
            number = s->s[k] >= '0' && s->s[k] <= '9';
            i = i * 10 + (s->s[k] - '0');
        }
        if (number)
            key = jinja_int(i);
        else if (!jinja_sub(r, &key, s, from, to))
            return false;
        const struct jinja_value object = *out;
        if (!jinja_charge(r, 1) || !jinja_getitem(r, out, &object, &key))
            return false;
        from = to + 1;
    }
    return true;
}

/* What values are compared by: a member, in lower case unless case counts. */
static bool seq_key(struct render *r, struct jinja_value *out,
                    const struct jinja_value *v, const struct jinja_value *path,
                    const struct jinja_value *case_sensitive)
{
    if (!seq_member(r, out, v, path))
        return false;
    const struct jinja_value key = *out;
    if (key.type != J_STR || (case_sensitive && jinja_truth(case_sensitive)))
        return true;
    return jinja_str_lower(r, out, &key, NULL);
}

bool jinja_f_attr(struct render *r, struct jinja_value *out,
                  const struct jinja_value *self, const struct jinja_value *const *arg)
{
    if (arg[0]->type != J_STR)
        return jinja_fail(r, "attr needs the name of a member");
    if (self->type == J_DICT)
        return jinja_undef_member(r, out, self, arg[0]);
    return jinja_getattr(r, out, self, arg[0]->s,
                         jinja_method_find(arg[0]->s->s, arg[0]->s->n));
}

bool jinja_f_items(struct render *r, struct jinja_value *out,
                   const struct jinja_value *self, const struct jinja_value *const *arg)
{
    static const struct jinja_str name = {"items", 5, NULL};
    const struct jinja_args none = {0};
    struct jinja_value method;
    (void)arg;
    if (self->type == J_UNDEF) {
        struct jinja_list *l = jinja_list_new(r, JL_GENERATOR, 0);
        *out = jinja_listv(l);
        return l;
    }
    if (self->type != J_DICT)
        return jinja_fail(r, "Can only get item pairs from a mapping.");
    if (!jinja_getattr(r, &method, self, &name, jinja_method_find(name.s, name.n)) ||
        !jinja_call(r, out, &method, &none))
        return false;
    out->l->kind = JL_GENERATOR;
    return true;
}

bool jinja_f_list(struct render *r, struct jinja_value *out,
                  const struct jinja_value *self, const struct jinja_value *const *arg)
{
    struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    (void)arg;
    *out = jinja_listv(l);
    return l;
}

bool jinja_f_join(struct render *r, struct jinja_value *out,
                  const struct jinja_value *self, const struct jinja_value *const *arg)
{
    struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    struct jinja_value sep;
    if (!l || !(arg[0] ? jinja_to_str(r, &sep, arg[0]) : jinja_cstr(r, &sep, "")))
        return false;
    for (size_t i = 0; arg[1] && i < l->n; i++) {
        const struct jinja_value v = l->v[i];
        if (!seq_member(r, &l->v[i], &v, arg[1]))
            return false;
    }
    return jinja_join(r, out, sep.s, l, false);
}

static bool seq_end(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, bool last)
{
    struct jinja_iter it;
    if (!jinja_iterate(r, &it, self))
        return false;
    const size_t n = jinja_iter_n(&it);
    if (!n)
        return jinja_undef_hint(r, out,
                                last ? "No last item, sequence was empty."
                                     : "No first item, sequence was empty.");
    *out = jinja_iter_at(&it, last ? n - 1 : 0);
    return true;
}

bool jinja_f_first(struct render *r, struct jinja_value *out,
                   const struct jinja_value *self, const struct jinja_value *const *arg)
{
    (void)arg;
    return seq_end(r, out, self, false);
}

bool jinja_f_last(struct render *r, struct jinja_value *out,
                  const struct jinja_value *self, const struct jinja_value *const *arg)
{
    (void)arg;
    return seq_end(r, out, self, true);
}

bool jinja_f_reverse(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_value back = jinja_int(-1);
    (void)arg;
    if (self->type == J_STR)
        return jinja_slice(r, out, self, NULL, NULL, &back);
    struct jinja_list *l = jinja_to_list(r, self, JL_GENERATOR);
    for (size_t i = 0; l && i < l->n / 2; i++) {
        const struct jinja_value v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
    *out = jinja_listv(l);
    return l;
}

/* batch(linecount, fill_with=None) */
bool jinja_f_batch(struct render *r, struct jinja_value *out,
                   const struct jinja_value *self, const struct jinja_value *const *arg)
{
    struct jinja_iter it;
    struct jinja_list *all = jinja_list_new(r, JL_GENERATOR, 0), *line = NULL;
    int64_t width;
    if (!jinja_as_int(arg[0], &width) || width < 1)
        return jinja_fail(r, "batch needs a positive number");
    if (!all || !jinja_iterate(r, &it, self))
        return false;
    for (size_t i = 0; i < jinja_iter_n(&it); i++) {
        const struct jinja_value v = jinja_iter_at(&it, i);
        if (i % (uint64_t)width == 0) {
            line = jinja_charge(r, 1) ? jinja_list_new(r, JL_LIST, 0) : NULL;
            const struct jinja_value lv = jinja_listv(line);
            if (!line || !jinja_list_push(r, all, &lv))
                return false;
        }
        if (!jinja_list_push(r, line, &v))
            return false;
    }
    while (line && arg[1] && arg[1]->type != J_NONE && (int64_t)line->n < width)
        if (!jinja_charge(r, 1) || !jinja_list_push(r, line, arg[1]))
            return false;
    *out = jinja_listv(all);
    return true;
}

/* unique(case_sensitive=False, attribute=None) */
bool jinja_f_unique(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    struct jinja_list *o = jinja_list_new(r, JL_GENERATOR, 0);
    struct jinja_dict *seen = jinja_dict_new(r, 0);
    struct jinja_value key;
    const struct jinja_value none = jinja_none();
    if (!l || !o || !seen)
        return false;
    for (size_t i = 0; i < l->n; i++) {
        if (!seq_key(r, &key, &l->v[i], arg[1], arg[0]) || !jinja_hashable(r, &key))
            return false;
        const bool known = jinja_dict_get(r, seen, &key);
        if (r->status != STATUS_OK || (!known && (!jinja_dict_set(r, seen, &key, &none) ||
                                                  !jinja_list_push(r, o, &l->v[i]))))
            return false;
    }
    *out = jinja_listv(o);
    return true;
}

static bool seq_sort(struct render *r, struct jinja_list *l,
                     const struct jinja_value *path, const struct jinja_value *cased,
                     const struct jinja_value *reverse)
{
    struct jinja_value *key = jinja_alloc(r, l->n, sizeof *key);
    if (!key)
        return false;
    for (size_t i = 0; i < l->n; i++)
        if (!seq_key(r, &key[i], &l->v[i], path, cased))
            return false;
    return jinja_sort(r, l->v, key, l->n, reverse && jinja_truth(reverse));
}

/* sort(reverse=False, case_sensitive=False, attribute=None) */
bool jinja_f_sort(struct render *r, struct jinja_value *out,
                  const struct jinja_value *self, const struct jinja_value *const *arg)
{
    struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    *out = jinja_listv(l);
    return l && seq_sort(r, l, arg[2], arg[1], arg[0]);
}

/* dictsort(case_sensitive=False, by='key', reverse=False) */
bool jinja_f_dictsort(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    struct jinja_value path = jinja_int(0);
    if (arg[1] && arg[1]->type == J_STR && arg[1]->s->n == 5 &&
        !memcmp(arg[1]->s->s, "value", 5))
        path = jinja_int(1);
    else if (arg[1] && (arg[1]->type != J_STR || arg[1]->s->n != 3 ||
                        memcmp(arg[1]->s->s, "key", 3) != 0))
        return jinja_fail(r, "You can only sort by either \"key\" or \"value\"");
    if (self->type == J_UNDEF)
        return jinja_undefined(r, self);
    if (!jinja_f_items(r, out, self, NULL))
        return false;
    out->l->kind = JL_LIST;
    return seq_sort(r, out->l, &path, arg[0], arg[2]);
}

static bool seq_extreme(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg, bool max)
{
    const struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    struct jinja_value best = jinja_none(), key;
    if (!l)
        return false;
    if (!l->n)
        return jinja_undef_hint(r, out, "No aggregated item, sequence was empty.");
    for (size_t i = 0; i < l->n; i++) {
        bool better = !i;
        if (!seq_key(r, &key, &l->v[i], arg[1], arg[0]) ||
            (i && !jinja_less(r, max ? &best : &key, max ? &key : &best, &better)))
            return false;
        if (better) {
            best = key;
            *out = l->v[i];
        }
    }
    return true;
}

bool jinja_f_min(struct render *r, struct jinja_value *out,
                 const struct jinja_value *self, const struct jinja_value *const *arg)
{
    return seq_extreme(r, out, self, arg, false);
}

bool jinja_f_max(struct render *r, struct jinja_value *out,
                 const struct jinja_value *self, const struct jinja_value *const *arg)
{
    return seq_extreme(r, out, self, arg, true);
}

/* sum(attribute=None, start=0) */
bool jinja_f_sum(struct render *r, struct jinja_value *out,
                 const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    struct jinja_value total = arg[1] ? *arg[1] : jinja_int(0), v;
    if (!l)
        return false;
    if (total.type == J_STR)
        return jinja_fail(r, "sum() can't sum strings [use ''.join(seq) instead]");
    for (size_t i = 0; i < l->n; i++)
        if (!jinja_charge(r, 1) || !seq_member(r, &v, &l->v[i], arg[0]) ||
            !jinja_binary(r, JO_ADD, out, &total, &v))
            return false;
        else
            total = *out;
    *out = total;
    return true;
}

/* ---- filters that take the name of a filter or test ---- */

static const struct jinja_value *seq_kwarg(const struct jinja_args *args,
                                           const char *name)
{
    for (int i = 0; i < args->n_kw; i++)
        if (args->name[i]->n == strlen(name) &&
            !memcmp(args->name[i]->s, name, args->name[i]->n))
            return &args->kw[i];
    return NULL;
}

static struct jinja_args seq_rest(const struct jinja_args *args, int from)
{
    struct jinja_args rest = *args;
    if (from) {
        rest.pos += from;
        rest.n_pos -= from;
    }
    return rest;
}

/* map('filter', ...) or map(attribute='a.b', default=x) */
bool jinja_f_map(struct render *r, struct jinja_value *out,
                 const struct jinja_value *self, const struct jinja_args *args)
{
    const struct jinja_value *path = seq_kwarg(args, "attribute");
    const struct jinja_value *def = seq_kwarg(args, "default");
    const struct jinja_func *f = NULL;
    struct jinja_list *l = jinja_to_list(r, self, JL_GENERATOR);
    if (!l)
        return false;
    *out = jinja_listv(l);
    if (!args->n_pos && !path)
        return jinja_fail(r, "map requires a filter argument");
    if (args->n_pos) {
        struct jinja_value name;
        if (!jinja_to_str(r, &name, &args->pos[0]))
            return false;
        f = jinja_filter_find(name.s->s, name.s->n);
        if (!f)
            return jinja_fail(r, "No filter named '%.*s'.",
                              name.s->n > 60 ? 60 : (int)name.s->n, name.s->s);
    }
    const struct jinja_args rest = seq_rest(args, args->n_pos > 0);
    for (size_t i = 0; i < l->n; i++) {
        const struct jinja_value v = l->v[i];
        if (!jinja_charge(r, 1) || !(f ? jinja_invoke(r, &l->v[i], f, &v, &rest)
                                       : seq_member(r, &l->v[i], &v, path)))
            return false;
        if (!f && def && l->v[i].type == J_UNDEF)
            l->v[i] = *def;
    }
    return true;
}

static bool seq_select(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self, const struct jinja_args *args,
                       bool attr, bool keep)
{
    const struct jinja_list *l = jinja_to_list(r, self, JL_LIST);
    struct jinja_list *o = jinja_list_new(r, JL_GENERATOR, 0);
    const struct jinja_func *f = NULL;
    if (!l || !o)
        return false;
    if (attr && !args->n_pos)
        return jinja_fail(r, "Missing parameter for attribute name");
    const struct jinja_value *path = attr ? &args->pos[0] : NULL;
    struct jinja_args rest = seq_rest(args, attr);
    if (rest.n_pos) {
        struct jinja_value name;
        if (!jinja_to_str(r, &name, &rest.pos[0]))
            return false;
        f = jinja_test_find(name.s->s, name.s->n);
        if (!f)
            return jinja_fail(r, "No test named '%.*s'.",
                              name.s->n > 60 ? 60 : (int)name.s->n, name.s->s);
        rest = seq_rest(&rest, 1);
    }
    for (size_t i = 0; i < l->n; i++) {
        struct jinja_value v, hit;
        if (!jinja_charge(r, 1) || !seq_member(r, &v, &l->v[i], path) ||
            (f && !jinja_invoke(r, &hit, f, &v, &rest)))
            return false;
        if (jinja_truth(f ? &hit : &v) == keep && !jinja_list_push(r, o, &l->v[i]))
            return false;
    }
    *out = jinja_listv(o);
    return true;
}

bool jinja_f_select(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, const struct jinja_args *args)
{
    return seq_select(r, out, self, args, false, true);
}

bool jinja_f_reject(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, const struct jinja_args *args)
{
    return seq_select(r, out, self, args, false, false);
}

bool jinja_f_selectattr(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self, const struct jinja_args *args)
{
    return seq_select(r, out, self, args, true, true);
}

bool jinja_f_rejectattr(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self, const struct jinja_args *args)
{
    return seq_select(r, out, self, args, true, false);
}
