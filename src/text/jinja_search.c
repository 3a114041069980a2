/* jinja_search.c - methods of str that look for text, split and join. */
#include <string.h>

#include "text/jinja.h"

bool jinja_find(struct render *r, const struct jinja_str *hay,
                const struct jinja_str *needle, size_t from, size_t *at)
{
    size_t work = 0;
    const size_t begin = from;
    *at = SIZE_MAX;
    if (needle->n > hay->n || from > hay->n - needle->n)
        return true;
    if (!needle->n) {
        *at = from;
        return true;
    }
    while (from + needle->n <= hay->n) {
        const char *p =
            memchr(hay->s + from, needle->s[0], hay->n - needle->n - from + 1);
        if (!p) {
            from = hay->n;
            break;
        }
        from = (size_t)(p - hay->s);
        if (!memcmp(p, needle->s, needle->n)) {
            *at = from;
            break;
        }
        from++;
        /* A needle that almost matches everywhere costs its length each time. */
        work += needle->n;
        if (work > 4096) {
            if (!jinja_charge(r, work / 64))
                return false;
            work = 0;
        }
    }
    return jinja_charge(r, (work + from - begin) / 64);
}

/* Last place before byte end. */
static bool find_last(struct render *r, const struct jinja_str *hay,
                      const struct jinja_str *needle, size_t end, size_t *at)
{
    *at = SIZE_MAX;
    if (needle->n > end)
        return true;
    if (!jinja_charge(r, end / 64))
        return false;
    for (size_t i = end - needle->n + 1; i-- > 0;)
        if (!memcmp(hay->s + i, needle->s, needle->n)) {
            *at = i;
            return true;
        } else if (i % 64 == 0 && !jinja_charge(r, needle->n / 4)) {
            return false;
        }
    return true;
}

static bool need_str(struct render *r, const struct jinja_value *v)
{
    if (v->type == J_STR)
        return true;
    return jinja_fail(r, "must be str, not %s", jinja_type_name(v));
}

static bool affix_hits(const struct jinja_str *s, const struct jinja_str *affix, bool end)
{
    return affix->n <= s->n &&
           (!affix->n || !memcmp(s->s + (end ? s->n - affix->n : 0), affix->s, affix->n));
}

static bool affix_test(struct render *r, struct jinja_value *out,
                       const struct jinja_str *s, const struct jinja_value *affix,
                       bool end)
{
    const bool tuple = affix->type == J_LIST && affix->l->kind == JL_TUPLE;
    if (!tuple && affix->type != J_STR)
        return jinja_fail(r, "%s first arg must be str or a tuple of str, not %s",
                          end ? "endswith" : "startswith", jinja_type_name(affix));
    bool hit = !tuple && affix_hits(s, affix->s, end);
    for (size_t i = 0; tuple && !hit && i < affix->l->n; i++) {
        if (!need_str(r, &affix->l->v[i]))
            return false;
        hit = affix_hits(s, affix->l->v[i].s, end);
    }
    *out = jinja_bool(hit);
    return true;
}

bool jinja_str_startswith(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    return affix_test(r, out, self->s, arg[0], false);
}

bool jinja_str_endswith(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self,
                        const struct jinja_value *const *arg)
{
    return affix_test(r, out, self->s, arg[0], true);
}

static bool affix_remove(struct render *r, struct jinja_value *out,
                         const struct jinja_str *s, const struct jinja_value *affix,
                         bool end)
{
    if (!need_str(r, affix))
        return false;
    const size_t n = affix_hits(s, affix->s, end) ? affix->s->n : 0;
    return jinja_sub(r, out, s, end ? 0 : n, end ? s->n - n : s->n);
}

bool jinja_str_removeprefix(struct render *r, struct jinja_value *out,
                            const struct jinja_value *self,
                            const struct jinja_value *const *arg)
{
    return affix_remove(r, out, self->s, arg[0], false);
}

bool jinja_str_removesuffix(struct render *r, struct jinja_value *out,
                            const struct jinja_value *self,
                            const struct jinja_value *const *arg)
{
    return affix_remove(r, out, self->s, arg[0], true);
}

/* A byte offset as an index of code points; -1 for none. */
static struct jinja_value find_index(const struct jinja_str *s, size_t at)
{
    return jinja_int(at == SIZE_MAX ? -1 : (int64_t)jinja_utf8_len(s->s, at));
}

bool jinja_str_find(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, const struct jinja_value *const *arg)
{
    size_t at;
    if (!need_str(r, arg[0]) || !jinja_find(r, self->s, arg[0]->s, 0, &at))
        return false;
    *out = find_index(self->s, at);
    return true;
}

bool jinja_str_rfind(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    size_t at;
    if (!need_str(r, arg[0]) || !find_last(r, self->s, arg[0]->s, self->s->n, &at))
        return false;
    *out = find_index(self->s, at);
    return true;
}

bool jinja_str_index(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    if (!jinja_str_find(r, out, self, arg))
        return false;
    return out->i >= 0 || jinja_fail(r, "substring not found");
}

bool jinja_str_count(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_str *s = self->s;
    int64_t n = 0;
    size_t at = 0;
    if (!need_str(r, arg[0]))
        return false;
    if (!arg[0]->s->n) {
        *out = jinja_int((int64_t)jinja_utf8_len(s->s, s->n) + 1);
        return true;
    }
    for (size_t from = 0;; from = at + arg[0]->s->n, n++) {
        if (!jinja_find(r, s, arg[0]->s, from, &at) || !jinja_charge(r, n % 16 == 0))
            return false;
        if (at == SIZE_MAX)
            break;
    }
    *out = jinja_int(n);
    return true;
}

/* ---- split ---- */

static bool split_push(struct render *r, struct jinja_list *l, const struct jinja_str *s,
                       size_t from, size_t to)
{
    struct jinja_value v;
    return jinja_charge(r, 1) && jinja_sub(r, &v, s, from, to) &&
           jinja_list_push(r, l, &v);
}

static void list_reverse(struct jinja_list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        const struct jinja_value v = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = v;
    }
}

static bool split_by(struct render *r, struct jinja_list *l, const struct jinja_str *s,
                     const struct jinja_str *sep, int64_t max, bool right)
{
    size_t from = 0, to = s->n, at;
    for (; max != 0; max--) {
        if (!(right ? find_last(r, s, sep, to, &at) : jinja_find(r, s, sep, from, &at)))
            return false;
        if (at == SIZE_MAX)
            break;
        if (!split_push(r, l, s, right ? at + sep->n : from, right ? to : at))
            return false;
        if (right)
            to = at;
        else
            from = at + sep->n;
    }
    return split_push(r, l, s, from, to);
}

/* Start of the character before byte at > from. */
static size_t split_char_before(const struct jinja_str *s, size_t from, size_t at)
{
    do
        at--;
    while (at > from && (s->s[at] & 0xc0) == 0x80);
    return at;
}

/* Words between white space; what is left after max of them is one piece, stripped on
 * the near side only. */
static bool split_words(struct render *r, struct jinja_list *l, const struct jinja_str *s,
                        int64_t max, bool right)
{
    size_t from = 0, to = s->n, len;
    for (;; max--) {
        jinja_strip(s, NULL, !right, right, &from, &to);
        if (from >= to)
            return true;
        if (max == 0)
            return split_push(r, l, s, from, to);
        size_t at = right ? to : from;
        while (right ? at > from : at < to) {
            const size_t c = right ? split_char_before(s, from, at) : at;
            if (jinja_is_space(jinja_utf8_get(s->s + c, to - c, &len)))
                break;
            at = right ? c : c + len;
        }
        if (!split_push(r, l, s, right ? at : from, right ? to : at))
            return false;
        if (right)
            to = at;
        else
            from = at;
    }
}

static bool split_apply(struct render *r, struct jinja_value *out,
                        const struct jinja_str *s, const struct jinja_value *const *arg,
                        bool right)
{
    const struct jinja_value *sep = arg[0] && arg[0]->type != J_NONE ? arg[0] : NULL;
    struct jinja_list *l = jinja_list_new(r, JL_LIST, 0);
    int64_t max = -1;
    if (!l || !jinja_charge(r, s->n / 32))
        return false;
    if (sep && !need_str(r, sep))
        return false;
    if (sep && !sep->s->n)
        return jinja_fail(r, "empty separator");
    if (arg[1] && !jinja_as_int(arg[1], &max))
        return jinja_fail(r, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(arg[1]));
    if (!(sep ? split_by(r, l, s, sep->s, max, right) : split_words(r, l, s, max, right)))
        return false;
    if (right)
        list_reverse(l);
    *out = jinja_listv(l);
    return true;
}

bool jinja_str_split(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    return split_apply(r, out, self->s, arg, false);
}

bool jinja_str_rsplit(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    return split_apply(r, out, self->s, arg, true);
}

static bool is_line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct jinja_list *jinja_split_lines(struct render *r, const struct jinja_str *s,
                                     bool keep_ends)
{
    struct jinja_list *l = jinja_list_new(r, JL_LIST, 0);
    size_t from = 0, len;
    if (!l || !jinja_charge(r, s->n / 32))
        return NULL;
    for (size_t i = 0; i < s->n; i += len) {
        const uint32_t c = jinja_utf8_get(s->s + i, s->n - i, &len);
        if (!is_line_end(c))
            continue;
        if (c == '\r' && i + 1 < s->n && s->s[i + 1] == '\n')
            len = 2;
        if (!split_push(r, l, s, from, keep_ends ? i + len : i))
            return NULL;
        from = i + len;
    }
    return from == s->n || split_push(r, l, s, from, s->n) ? l : NULL;
}

bool jinja_str_splitlines(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    struct jinja_list *l = jinja_split_lines(r, self->s, arg[0] && jinja_truth(arg[0]));
    if (l)
        *out = jinja_listv(l);
    return l;
}

/* (before, sep, after), where sep is [at, at + n); all of s before or after if none. */
static bool partition(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self, const struct jinja_value *sep,
                      bool last)
{
    const struct jinja_str *s = self->s;
    struct jinja_list *l = jinja_list_new(r, JL_TUPLE, 3);
    size_t at, n;
    if (!l || !need_str(r, sep))
        return false;
    if (!sep->s->n)
        return jinja_fail(r, "empty separator");
    if (!(last ? find_last(r, s, sep->s, s->n, &at) : jinja_find(r, s, sep->s, 0, &at)))
        return false;
    n = at == SIZE_MAX ? 0 : sep->s->n;
    if (at == SIZE_MAX)
        at = last ? 0 : s->n;
    *out = jinja_listv(l);
    return split_push(r, l, s, 0, at) && split_push(r, l, s, at, at + n) &&
           split_push(r, l, s, at + n, s->n);
}

bool jinja_str_partition(struct render *r, struct jinja_value *out,
                         const struct jinja_value *self,
                         const struct jinja_value *const *arg)
{
    return partition(r, out, self, arg[0], false);
}

bool jinja_str_rpartition(struct render *r, struct jinja_value *out,
                          const struct jinja_value *self,
                          const struct jinja_value *const *arg)
{
    return partition(r, out, self, arg[0], true);
}

bool jinja_join(struct render *r, struct jinja_value *out, const struct jinja_str *sep,
                const struct jinja_list *l, bool strict)
{
    struct jinja_sink o;
    bool ok = true;
    jinja_sink_init(r, &o);
    for (size_t i = 0; ok && i < l->n; i++) {
        if (strict && l->v[i].type != J_STR)
            ok = jinja_fail(r, "sequence item %zu: expected str instance, %s found", i,
                            jinja_type_name(&l->v[i]));
        ok = ok && jinja_charge(r, 1) && (!i || jinja_put_str(r, &o, sep)) &&
             jinja_put_value(r, &o, &l->v[i]);
    }
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

bool jinja_str_join(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, const struct jinja_value *const *arg)
{
    const struct jinja_list *l = jinja_to_list(r, arg[0], JL_LIST);
    return l && jinja_join(r, out, self->s, l, true);
}
