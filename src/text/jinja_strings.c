/* jinja_strings.c - methods of str that make another string of the same text. */
#include <string.h>

#include "text/jinja.h"

enum case_mode {
    CASE_UPPER,
    CASE_LOWER,
    CASE_CAPITAL,
    CASE_TITLE,
    CASE_WORDS,
    CASE_SWAP
};

/* Does a word start behind c?  Title case of str goes by letters with case, the filter
 * by spaces and opening brackets. */
static bool case_word_start(enum case_mode mode, uint32_t c)
{
    if (mode == CASE_WORDS)
        return jinja_is_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
    return jinja_upper(c) == c && jinja_lower(c) == c;
}

static uint32_t case_of(enum case_mode mode, uint32_t c, bool start)
{
    if (mode == CASE_SWAP)
        return jinja_upper(c) != c ? jinja_upper(c) : jinja_lower(c);
    return mode == CASE_UPPER || (mode != CASE_LOWER && start) ? jinja_upper(c)
                                                               : jinja_lower(c);
}

static bool case_apply(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self, enum case_mode mode)
{
    struct jinja_value v;
    struct jinja_sink o;
    size_t len;
    bool start = true, ok = true;
    if (!jinja_to_str(r, &v, self) || !jinja_charge(r, v.s->n / 8))
        return false;
    jinja_sink_init(r, &o);
    for (size_t i = 0; ok && i < v.s->n; i += len) {
        const uint32_t c = jinja_utf8_get(v.s->s + i, v.s->n - i, &len);
        char text[4];
        size_t n = jinja_utf8_put(text, case_of(mode, c, start));
        if (c == 0xdf && (mode == CASE_UPPER || mode == CASE_SWAP || start)) {
            text[0] = 'S'; // the only common letter whose upper case is two
            text[1] = mode == CASE_UPPER || mode == CASE_SWAP ? 'S' : 's';
            if (mode == CASE_LOWER)
                n = jinja_utf8_put(text, c);
        }
        const uint8_t *mark = jinja_mark_at(v.s->mark, i);
        ok = jinja_put(r, &o, text, n, mark && *mark ? jinja_input : NULL);
        start = mode >= CASE_TITLE && case_word_start(mode, c);
    }
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}

#define CASE_METHOD(name, mode)                                                          \
    bool name(struct render *r, struct jinja_value *out, const struct jinja_value *self, \
              const struct jinja_value *const *arg)                                      \
    {                                                                                    \
        (void)arg;                                                                       \
        return case_apply(r, out, self, mode);                                           \
    }
CASE_METHOD(jinja_str_upper, CASE_UPPER)
CASE_METHOD(jinja_str_lower, CASE_LOWER)
CASE_METHOD(jinja_str_capitalize, CASE_CAPITAL)
CASE_METHOD(jinja_str_title, CASE_TITLE)
CASE_METHOD(jinja_str_title_filter, CASE_WORDS)
CASE_METHOD(jinja_str_swapcase, CASE_SWAP)

/* Some letter has case, and none the other one. */
static bool case_is(struct render *r, struct jinja_value *out,
                    const struct jinja_value *self, bool upper)
{
    struct jinja_value v;
    size_t len;
    bool any = false, other = false;
    if (!jinja_to_str(r, &v, self) || !jinja_charge(r, v.s->n / 32))
        return false;
    for (size_t i = 0; i < v.s->n; i += len) {
        const uint32_t c = jinja_utf8_get(v.s->s + i, v.s->n - i, &len);
        const bool is_upper = jinja_lower(c) != c, is_lower = jinja_upper(c) != c;
        any |= upper ? is_upper : is_lower;
        other |= upper ? is_lower : is_upper;
    }
    *out = jinja_bool(any && !other);
    return true;
}

bool jinja_str_isupper(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    (void)arg;
    return case_is(r, out, self, true);
}

bool jinja_str_islower(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    (void)arg;
    return case_is(r, out, self, false);
}

static bool strip_apply(struct render *r, struct jinja_value *out,
                        const struct jinja_value *self, const struct jinja_value *set,
                        bool left, bool right)
{
    struct jinja_value v;
    const bool given = set && set->type != J_NONE;
    if (given && set->type != J_STR)
        return jinja_fail(r, "strip arg must be None or str");
    if (!jinja_to_str(r, &v, self) ||
        !jinja_charge(r, v.s->n / 64 * (given ? set->s->n / 8 + 1 : 1)))
        return false;
    size_t from = 0, to = v.s->n;
    jinja_strip(v.s, given ? set->s : NULL, left, right, &from, &to);
    return jinja_sub(r, out, v.s, from, to);
}

bool jinja_str_strip(struct render *r, struct jinja_value *out,
                     const struct jinja_value *self, const struct jinja_value *const *arg)
{
    return strip_apply(r, out, self, arg[0], true, true);
}

bool jinja_str_lstrip(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    return strip_apply(r, out, self, arg[0], true, false);
}

bool jinja_str_rstrip(struct render *r, struct jinja_value *out,
                      const struct jinja_value *self,
                      const struct jinja_value *const *arg)
{
    return strip_apply(r, out, self, arg[0], false, true);
}

/* An empty string is found before each character and at the end. */
static bool replace_between(struct render *r, struct jinja_sink *o,
                            const struct jinja_str *s, const struct jinja_str *by,
                            int64_t count)
{
    size_t len;
    for (size_t i = 0; i < s->n; i += len, count--) {
        if (count == 0)
            return jinja_put(r, o, s->s + i, s->n - i, jinja_mark_at(s->mark, i));
        jinja_utf8_get(s->s + i, s->n - i, &len);
        if (!jinja_put_str(r, o, by) ||
            !jinja_put(r, o, s->s + i, len, jinja_mark_at(s->mark, i)) ||
            !jinja_charge(r, i % 8 == 0))
            return false;
    }
    return count == 0 || jinja_put_str(r, o, by);
}

static bool replace_all(struct render *r, struct jinja_sink *o, const struct jinja_str *s,
                        const struct jinja_str *old, const struct jinja_str *by,
                        int64_t count)
{
    size_t from = 0, at;
    for (; count != 0; count--) {
        if (!jinja_find(r, s, old, from, &at) || !jinja_charge(r, count % 8 == 0))
            return false;
        if (at == SIZE_MAX)
            break;
        if (!jinja_put(r, o, s->s + from, at - from, jinja_mark_at(s->mark, from)) ||
            !jinja_put_str(r, o, by))
            return false;
        from = at + old->n;
    }
    return jinja_put(r, o, s->s + from, s->n - from, jinja_mark_at(s->mark, from));
}

/* replace(old, new, count=-1) */
bool jinja_str_replace(struct render *r, struct jinja_value *out,
                       const struct jinja_value *self,
                       const struct jinja_value *const *arg)
{
    struct jinja_value v, old, by;
    struct jinja_sink o;
    int64_t count = -1;
    if (arg[2] && arg[2]->type != J_NONE && !jinja_as_int(arg[2], &count))
        return jinja_fail(r, "'%s' object cannot be interpreted as an integer",
                          jinja_type_name(arg[2]));
    if (!jinja_to_str(r, &v, self) || !jinja_to_str(r, &old, arg[0]) ||
        !jinja_to_str(r, &by, arg[1]))
        return false;
    jinja_sink_init(r, &o);
    bool ok = old.s->n ? replace_all(r, &o, v.s, old.s, by.s, count)
                       : replace_between(r, &o, v.s, by.s, count);
    ok = ok && jinja_sink_str(r, out, &o);
    jinja_sink_release(r, &o);
    return ok;
}
