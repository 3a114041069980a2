/* jinja_access.c - members, items, slices, length and iteration. */
#include <string.h>

#include "text/jinja.h"

static bool access_method(struct render *r, struct jinja_value *out,
                          const struct jinja_value *o, const struct jinja_func *first)
{
    const struct jinja_func *f = first ? jinja_method_for(first, o) : NULL;
    if (!f)
        return false;
    struct jinja_bound *bound = jinja_alloc(r, 1, sizeof *bound);
    if (bound) {
        *bound = (struct jinja_bound){f, *o};
        *out = (struct jinja_value){.type = J_METHOD, .bound = bound};
    }
    return true;
}

bool jinja_getattr(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                   const struct jinja_str *name, const struct jinja_func *first)
{
    const struct jinja_value object = *o, key = {.type = J_STR, .s = name};
    if (object.type == J_UNDEF)
        return jinja_undefined(r, &object);
    if (access_method(r, out, &object, first))
        return r->status == STATUS_OK;
    if (object.type == J_DICT || object.type == J_NAMESPACE) {
        const struct jinja_value *v = jinja_dict_get(r, object.d, &key);
        if (r->status != STATUS_OK)
            return false;
        if (v) {
            *out = *v;
            return true;
        }
    }
    if (object.type == J_LOOP)
        return jinja_loop_attr(r, out, object.loop, name);
    if (object.type == J_MACRO && name->n == 4 && !memcmp(name->s, "name", 4)) {
        *out = (struct jinja_value){.type = J_STR, .s = object.macro->node->name};
        return true;
    }
    return jinja_undef_member(r, out, &object, &key);
}

static bool access_index(int64_t i, size_t n, size_t *out)
{
    if (i < 0)
        i += (int64_t)n;
    *out = (size_t)i;
    return i >= 0 && (uint64_t)i < n;
}

bool jinja_getitem(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                   const struct jinja_value *key)
{
    const struct jinja_value object = *o, k = *key;
    size_t at;
    int64_t i;
    if (object.type == J_UNDEF)
        return jinja_undefined(r, &object);
    if (object.type == J_DICT) {
        const struct jinja_value *v = jinja_dict_get(r, object.d, &k);
        if (r->status != STATUS_OK)
            return false;
        if (v) {
            *out = *v;
            return true;
        }
    } else if (jinja_as_int(&k, &i)) {
        if (object.type == J_LIST && object.l->kind <= JL_TUPLE &&
            access_index(i, object.l->n, &at)) {
            *out = object.l->v[at];
            return true;
        }
        if (object.type == J_RANGE && access_index(i, object.range->n, &at)) {
            *out = jinja_int(object.range->start + object.range->step * (int64_t)at);
            return true;
        }
        if (object.type == J_STR) {
            const struct jinja_str *s = object.s;
            if (!jinja_charge(r, s->n / 32))
                return false;
            if (access_index(i, jinja_utf8_len(s->s, s->n), &at)) {
                const size_t from = jinja_utf8_offset(s->s, s->n, at);
                const size_t len = jinja_utf8_offset(s->s + from, s->n - from, 1);
                return jinja_sub(r, out, s, from, from + len);
            }
        }
    }
    if (k.type == J_STR && object.type != J_DICT)
        return jinja_getattr(r, out, &object, k.s, jinja_method_find(k.s->s, k.s->n));
    if (k.type == J_STR &&
        access_method(r, out, &object, jinja_method_find(k.s->s, k.s->n)))
        return r->status == STATUS_OK;
    return jinja_undef_member(r, out, &object, &k);
}

/* One bound of a slice; a missing one is def. */
static bool slice_bound(struct render *r, const struct jinja_value *v, int64_t def,
                        int64_t *out)
{
    *out = def;
    if (!v || v->type == J_NONE || jinja_as_int(v, out))
        return true;
    return jinja_fail(
        r, "slice indices must be integers or None or have an __index__ method");
}

static int64_t slice_clamp(int64_t i, int64_t n, int64_t low, int64_t high)
{
    if (i < 0)
        i += n;
    return i < low ? low : i > high ? high : i;
}

struct slice {
    int64_t start, step;
    size_t n;
};

/* Python's rules for x[start:stop:step] over n items. */
static bool slice_resolve(struct render *r, struct slice *out, size_t count,
                          const struct jinja_value *start, const struct jinja_value *stop,
                          const struct jinja_value *step)
{
    const int64_t n = (int64_t)count;
    int64_t by, from, to;
    if (!slice_bound(r, step, 1, &by))
        return false;
    if (by == 0)
        return jinja_fail(r, "slice step cannot be zero");
    const bool down = by < 0;
    const bool no_from = !start || start->type == J_NONE;
    const bool no_to = !stop || stop->type == J_NONE;
    if (!slice_bound(r, start, 0, &from) || !slice_bound(r, stop, 0, &to))
        return false;
    const int64_t low = down ? -1 : 0, high = down ? n - 1 : n;
    from = no_from ? (down ? high : low) : slice_clamp(from, n, low, high);
    to = no_to ? (down ? low : high) : slice_clamp(to, n, low, high);
    const uint64_t gap = down ? (uint64_t)(from > to ? from - to : 0)
                              : (uint64_t)(to > from ? to - from : 0);
    const uint64_t stride = down ? 0 - (uint64_t)by : (uint64_t)by;
    *out = (struct slice){from, by, gap ? (size_t)((gap - 1) / stride + 1) : 0};
    return true;
}

static bool slice_str(struct render *r, struct jinja_value *out,
                      const struct jinja_str *s, const struct slice *sl)
{
    const size_t at = jinja_utf8_offset(s->s, s->n, (size_t)sl->start);
    if (!sl->n)
        return jinja_cstr(r, out, "");
    if (sl->step == 1)
        return jinja_sub(r, out, s, at,
                         at + jinja_utf8_offset(s->s + at, s->n - at, sl->n));
    struct jinja_list *chars = jinja_list_new(r, JL_LIST, 0);
    struct jinja_value whole = {.type = J_STR, .s = s};
    struct jinja_sink o;
    chars = chars ? jinja_to_list(r, &whole, JL_LIST) : NULL;
    if (!chars)
        return false;
    jinja_sink_init(r, &o);
    bool ok = true;
    for (size_t k = 0; ok && k < sl->n; k++)
        ok = jinja_put_str(r, &o, chars->v[sl->start + sl->step * (int64_t)k].s);
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

static bool slice_range(struct render *r, struct jinja_value *out,
                        const struct jinja_range *g, const struct slice *sl)
{
    struct jinja_range *o = jinja_alloc(r, 1, sizeof *o);
    if (!o)
        return false;
    *o = (struct jinja_range){.n = sl->n};
    int64_t first, span, step;
    if (__builtin_mul_overflow(g->step, sl->start, &first) ||
        __builtin_add_overflow(g->start, first, &o->start) ||
        __builtin_mul_overflow(g->step, sl->step, &step) ||
        __builtin_mul_overflow(step, (int64_t)sl->n, &span) ||
        __builtin_add_overflow(o->start, span, &o->stop))
        return jinja_fail(r, "an integer needs more than 64 bits");
    o->step = step;
    *out = (struct jinja_value){.type = J_RANGE, .range = o};
    return true;
}

bool jinja_slice(struct render *r, struct jinja_value *out, const struct jinja_value *o,
                 const struct jinja_value *start, const struct jinja_value *stop,
                 const struct jinja_value *step)
{
    const struct jinja_value object = *o;
    struct slice sl = {0};
    size_t n;
    if (object.type == J_UNDEF)
        return jinja_undefined(r, &object);
    if (object.type == J_DICT)
        return jinja_fail(r, "unhashable type: 'slice'");
    if (object.type != J_STR && object.type != J_RANGE &&
        !(object.type == J_LIST && object.l->kind <= JL_TUPLE))
        return jinja_fail(r, "'%s' object is not subscriptable",
                          jinja_type_name(&object));
    if (!jinja_length(r, &object, &n) || !slice_resolve(r, &sl, n, start, stop, step))
        return false;
    if (object.type == J_STR)
        return slice_str(r, out, object.s, &sl);
    if (object.type == J_RANGE)
        return slice_range(r, out, object.range, &sl);
    struct jinja_list *l =
        jinja_charge(r, sl.n / 16) ? jinja_list_new(r, object.l->kind, sl.n) : NULL;
    if (!l)
        return false;
    for (; l->n < sl.n; l->n++)
        l->v[l->n] = object.l->v[sl.start + sl.step * (int64_t)l->n];
    *out = jinja_listv(l);
    return true;
}

bool jinja_length(struct render *r, const struct jinja_value *v, size_t *out)
{
    *out = 0;
    switch (v->type) {
    case J_UNDEF:
        return true;
    case J_STR:
        *out = jinja_utf8_len(v->s->s, v->s->n);
        return jinja_charge(r, v->s->n / 64);
    case J_DICT:
        *out = v->d->n;
        return true;
    case J_RANGE:
        *out = v->range->n;
        return true;
    case J_LOOP:
        *out = v->loop->n;
        return true;
    case J_LIST:
        *out = v->l->n;
        if (v->l->kind != JL_GENERATOR)
            return true;
        break;
    default:
        break;
    }
    return jinja_fail(r, "object of type '%s' has no len()", jinja_type_name(v));
}

static bool iterate_str(struct render *r, struct jinja_iter *it,
                        const struct jinja_str *s)
{
    const size_t n = jinja_utf8_len(s->s, s->n);
    size_t len;
    if (!jinja_charge(r, n / 8) || !(it->l = jinja_list_new(r, JL_LIST, n)))
        return false;
    for (size_t i = 0; i < s->n && it->l->n < n; i += len) {
        len = 1;
        while (i + len < s->n && (s->s[i + len] & 0xc0) == 0x80)
            len++;
        if (!jinja_sub(r, &it->l->v[it->l->n++], s, i, i + len))
            return false;
    }
    return true;
}

bool jinja_iterate(struct render *r, struct jinja_iter *it, const struct jinja_value *v)
{
    *it = (struct jinja_iter){0};
    switch (v->type) {
    case J_UNDEF:
        it->l = jinja_list_new(r, JL_LIST, 0);
        return it->l;
    case J_STR:
        return iterate_str(r, it, v->s);
    case J_RANGE:
        it->range = v->range;
        return true;
    case J_DICT:
        if (!jinja_charge(r, v->d->n / 16) ||
            !(it->l = jinja_list_new(r, JL_LIST, v->d->n)))
            return false;
        for (; it->l->n < v->d->n; it->l->n++)
            it->l->v[it->l->n] = v->d->p[it->l->n].key;
        return true;
    case J_LIST:
        it->l = v->l;
        if (v->l->kind != JL_GENERATOR)
            return true;
        it->l = jinja_list_new(r, JL_LIST, 0);
        if (!it->l)
            return false;
        it->l->v = v->l->v;
        it->l->n = it->l->cap = v->l->n;
        v->l->n = 0;
        return true;
    default:
        return jinja_fail(r, "'%s' object is not iterable", jinja_type_name(v));
    }
}

size_t jinja_iter_n(const struct jinja_iter *it)
{
    return it->range ? it->range->n : it->l->n;
}

struct jinja_value jinja_iter_at(const struct jinja_iter *it, size_t i)
{
    if (it->range)
        return jinja_int(it->range->start + it->range->step * (int64_t)i);
    return it->l->v[i];
}

struct jinja_list *jinja_to_list(struct render *r, const struct jinja_value *v,
                                 enum jinja_list_kind kind)
{
    struct jinja_iter it;
    if (!jinja_iterate(r, &it, v))
        return NULL;
    const size_t n = jinja_iter_n(&it);
    struct jinja_list *l = jinja_charge(r, n / 16) ? jinja_list_new(r, kind, n) : NULL;
    if (!l)
        return NULL;
    for (; l->n < n; l->n++)
        l->v[l->n] = jinja_iter_at(&it, l->n);
    return l;
}
