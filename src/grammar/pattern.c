/* pattern.c - a parser of ECMA 262's regular expressions, as far as they are regular. */
#include "grammar/pattern.h"

#include <string.h>

struct pattern {
    struct builder *b;
    const char *start, *s, *end;
};

static struct expr *pattern_fail(struct pattern *p, enum status s, const char *what)
{
    builder_fail(p->b, s, "%s at byte %zu of the pattern", what,
                 (size_t)(p->s - p->start));
    return NULL;
}

static const struct char_range digits[] = {{'0', '9'}};
static const struct char_range words[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
static const struct char_range spaces[] = {
    {9, 13},          {' ', ' '},       {0xa0, 0xa0},     {0x1680, 0x1680},
    {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f},
    {0x3000, 0x3000}, {0xfeff, 0xfeff}};
static const struct char_range line_ends[] = {
    {'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};

static struct charset charset_copy(struct builder *b, const struct char_range *r,
                                   uint32_t n, bool negated)
{
    struct char_range copy[16];
    memcpy(copy, r, n * sizeof *r);
    const struct charset s = charset_make(b, copy, n);
    return negated ? charset_not(b, s) : s;
}

/* \d \w \s and their opposites. */
static bool class_escape(struct builder *b, char c, struct charset *out)
{
    const char kind = (char)(c | 0x20);
    if (kind != 'd' && kind != 'w' && kind != 's')
        return false;
    const bool negated = c < 'a';
    *out = kind == 'd'   ? charset_copy(b, digits, 1, negated)
           : kind == 'w' ? charset_copy(b, words, 4, negated)
                         : charset_copy(b, spaces, 10, negated);
    return true;
}

static bool pattern_hex(struct pattern *p, int n, uint32_t *c)
{
    *c = 0;
    for (int i = 0; i < n; i++) {
        const char d = p->end - p->s > i ? p->s[i] : 'x';
        if (!(d >= '0' && d <= '9') && !((d | 0x20) >= 'a' && (d | 0x20) <= 'f'))
            return false;
        *c = *c << 4 | (uint32_t)(d <= '9' ? d - '0' : (d | 0x20) - 'a' + 10);
    }
    p->s += n;
    return true;
}

/* Behind \u: four digits, or braces; both halves of a pair are one character. */
static bool unicode_escape(struct pattern *p, uint32_t *c)
{
    uint32_t low;
    if (p->s < p->end && *p->s == '{') {
        const char *close = memchr(p->s, '}', (size_t)(p->end - p->s));
        const int n = close && close - p->s < 8 ? (int)(close - p->s) - 1 : 0;
        p->s++;
        if (n < 1 || !pattern_hex(p, n, c) || *c > CHAR_MAX)
            return false;
        p->s++;
        return true;
    }
    if (!pattern_hex(p, 4, c))
        return false;
    if (*c < 0xd800 || *c > 0xdbff)
        return true;
    if (p->end - p->s < 6 || p->s[0] != '\\' || p->s[1] != 'u')
        return false;
    p->s += 2;
    if (!pattern_hex(p, 4, &low) || low < 0xdc00 || low > 0xdfff)
        return false;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* The character of an escape, whose backslash is read. */
static bool char_escape(struct pattern *p, uint32_t *c)
{
    static const char letters[] = "n\nr\rt\tv\vf\f";
    const char kind = p->s < p->end ? *p->s : 0;
    for (const char *k = letters; *k; k += 2)
        if (*k == kind)
            return p->s++, *c = (uint8_t)k[1], true;
    if (kind == '0' && (p->end - p->s < 2 || p->s[1] < '0' || p->s[1] > '9'))
        return p->s++, *c = 0, true;
    if (kind == 'x' || kind == 'u') {
        p->s++;
        if (kind == 'x' ? pattern_hex(p, 2, c) : unicode_escape(p, c))
            return true;
        pattern_fail(p, STATUS_BAD_INPUT, "an escape of a character that is malformed");
        return false;
    }
    if (kind == 'c' && p->end - p->s > 1 && (p->s[1] | 0x20) >= 'a' &&
        (p->s[1] | 0x20) <= 'z') {
        *c = (uint32_t)(p->s[1] & 0x1f);
        p->s += 2;
        return true;
    }
    if (kind == 'b' || kind == 'B')
        pattern_fail(p, STATUS_UNSUPPORTED, "a word boundary, which is not supported,");
    else if (kind == 'p' || kind == 'P')
        pattern_fail(p, STATUS_UNSUPPORTED,
                     "a Unicode property, which is not supported,");
    else if ((kind >= '1' && kind <= '9') || kind == 'k')
        pattern_fail(p, STATUS_UNSUPPORTED,
                     "a reference to a group, which is not supported,");
    else if (kind > ' ' && kind < 0x7f && !(kind >= '0' && kind <= '9') &&
             !((kind | 0x20) >= 'a' && (kind | 0x20) <= 'z'))
        return p->s++, *c = (uint8_t)kind, true;
    else
        pattern_fail(p, STATUS_BAD_INPUT, "an escape that is not known");
    return false;
}

static bool plain_char(struct pattern *p, uint32_t *c)
{
    const size_t n = utf8_read(p->s, (size_t)(p->end - p->s), c);
    if (!n)
        pattern_fail(p, STATUS_BAD_INPUT, "bytes that are not UTF-8");
    p->s += n;
    return n > 0;
}

struct class_items {
    struct char_range *r;
    uint32_t n, cap;
};

static bool class_add(struct pattern *p, struct class_items *c, uint32_t lo, uint32_t hi)
{
    if (c->n == c->cap) {
        struct char_range *more =
            builder_array(p->b, 2 * (size_t)c->cap + 16, sizeof *more);
        if (!more)
            return false;
        if (c->n)
            memcpy(more, c->r, c->n * sizeof *more);
        c->r = more;
        c->cap = 2 * c->cap + 16;
    }
    c->r[c->n++] = (struct char_range){lo, hi};
    return true;
}

/* One member of a class: a character, or a set, which is added. */
static bool class_member(struct pattern *p, struct class_items *items, uint32_t *c,
                         bool *is_set)
{
    *is_set = false;
    if (*p->s != '\\')
        return plain_char(p, c);
    p->s++;
    struct charset set;
    if (p->s < p->end && class_escape(p->b, *p->s, &set)) {
        p->s++;
        *is_set = true;
        for (uint32_t i = 0; i < set.n; i++)
            if (!class_add(p, items, set.r[i].lo, set.r[i].hi))
                return false;
        return true;
    }
    if (p->s < p->end && *p->s == 'b')
        return p->s++, *c = '\b', true;
    return char_escape(p, c);
}

static struct expr *pattern_class(struct pattern *p)
{
    struct class_items items = {0};
    p->s++;
    const bool negated = p->s < p->end && *p->s == '^';
    p->s += negated;
    while (p->s < p->end && *p->s != ']') {
        uint32_t lo = 0, hi = 0;
        bool set, set_too = false;
        if (!class_member(p, &items, &lo, &set))
            return NULL;
        hi = lo;
        if (p->end - p->s >= 2 && *p->s == '-' && p->s[1] != ']') {
            p->s++;
            if (!class_member(p, &items, &hi, &set_too))
                return NULL;
            if (set || set_too)
                return pattern_fail(p, STATUS_BAD_INPUT, "a range that ends in a set");
        }
        if (lo > hi)
            return pattern_fail(p, STATUS_BAD_INPUT, "a range that is backwards");
        if (!set && !class_add(p, &items, lo, hi))
            return NULL;
    }
    if (p->s >= p->end)
        return pattern_fail(p, STATUS_BAD_INPUT, "a class that is not closed");
    p->s++;
    if (!items.n && !negated)
        return pattern_fail(p, STATUS_BAD_INPUT, "a class of no characters");
    const struct charset set = charset_make(p->b, items.r, items.n);
    return expr_set(p->b, negated ? charset_not(p->b, set) : set);
}

static struct expr *pattern_alternatives(struct pattern *p, int depth);

static struct expr *pattern_group(struct pattern *p, int depth)
{
    if (depth >= GRAMMAR_DEPTH)
        return pattern_fail(p, STATUS_LIMIT, "groups nested more than 64 deep");
    p->s++;
    if (p->s < p->end && *p->s == '?') {
        const char *s = p->s + 1;
        const size_t left = (size_t)(p->end - s);
        const bool name = left >= 2 && s[0] == '<' && s[1] != '=' && s[1] != '!';
        const char *close = name ? memchr(s, '>', left) : NULL;
        if (left >= 1 && s[0] == ':')
            p->s = s + 1;
        else if (close)
            p->s = close + 1;
        else
            return pattern_fail(p, STATUS_UNSUPPORTED,
                                "a look-around or flags, which are not supported,");
    }
    struct expr *e = pattern_alternatives(p, depth + 1);
    if (e && (p->s >= p->end || *p->s != ')'))
        return pattern_fail(p, STATUS_BAD_INPUT, "a group that is not closed");
    p->s++;
    return e;
}

/* Digits at *s; a number above the limit stays above it. */
static bool pattern_count(const char **s, const char *end, uint64_t *v)
{
    const char *first = *s;
    for (*v = 0; *s < end && **s >= '0' && **s <= '9'; ++*s)
        *v = *v > GRAMMAR_REPEAT ? *v : *v * 10 + (uint64_t)(**s - '0');
    return *s > first;
}

/* {m}, {m,} or {m,n} at p->s; anything else is the brace itself. */
static bool pattern_counts(struct pattern *p, uint32_t *min, uint32_t *max)
{
    const char *s = p->s + 1;
    uint64_t lo, hi;
    if (!pattern_count(&s, p->end, &lo))
        return false;
    hi = lo;
    if (s < p->end && *s == ',') {
        s++;
        if (!pattern_count(&s, p->end, &hi))
            hi = GRAMMAR_FOREVER;
    }
    if (s >= p->end || *s != '}')
        return false;
    p->s = s + 1;
    if (lo > GRAMMAR_REPEAT || (hi > GRAMMAR_REPEAT && hi != GRAMMAR_FOREVER))
        pattern_fail(p, STATUS_LIMIT, "a repetition of more than 1000000 times");
    else if (lo > hi)
        pattern_fail(p, STATUS_BAD_INPUT, "a repetition whose bounds are backwards");
    *min = (uint32_t)lo;
    *max = (uint32_t)hi;
    return true;
}

static struct expr *pattern_quantified(struct pattern *p, struct expr *e)
{
    if (!e || p->s >= p->end)
        return e;
    uint32_t min = *p->s == '+', max = *p->s == '?' ? 1 : GRAMMAR_FOREVER;
    if (*p->s == '*' || *p->s == '+' || *p->s == '?')
        p->s++;
    else if (*p->s != '{' || !pattern_counts(p, &min, &max))
        return e;
    if (e->kind == EXPR_BEGIN || e->kind == EXPR_END)
        return pattern_fail(p, STATUS_BAD_INPUT, "an anchor that is repeated");
    p->s += p->s < p->end && *p->s == '?'; // lazy: the same strings
    return expr_repeat(p->b, e, min, max);
}

static struct expr *pattern_item(struct pattern *p, int depth)
{
    uint32_t c;
    struct charset set;
    switch (*p->s) {
    case '^':
        return p->s++, expr_leaf(p->b, EXPR_BEGIN);
    case '$':
        return p->s++, expr_leaf(p->b, EXPR_END);
    case '.':
        return p->s++, expr_set(p->b, charset_copy(p->b, line_ends, 3, true));
    case '[':
        return pattern_class(p);
    case '(':
        return pattern_group(p, depth);
    case '*':
    case '+':
    case '?':
        return pattern_fail(p, STATUS_BAD_INPUT, "a repetition of nothing");
    case '\\':
        p->s++;
        if (p->s < p->end && class_escape(p->b, *p->s, &set))
            return p->s++, expr_set(p->b, set);
        if (!char_escape(p, &c))
            return NULL;
        break;
    default:
        if (!plain_char(p, &c))
            return NULL;
    }
    struct char_range one = {c, c};
    return expr_set(p->b, charset_make(p->b, &one, 1));
}

static struct expr *pattern_sequence(struct pattern *p, int depth)
{
    struct expr_stack items = {0};
    bool ok = !p->b->status;
    while (ok && p->s < p->end && *p->s != '|' && *p->s != ')')
        ok = expr_push(p->b, &items, pattern_quantified(p, pattern_item(p, depth)));
    struct expr *out = ok ? expr_seq(p->b, items.e, items.n) : NULL;
    expr_stack_release(&items);
    return out;
}

static struct expr *pattern_alternatives(struct pattern *p, int depth)
{
    struct expr_stack items = {0};
    bool ok = expr_push(p->b, &items, pattern_sequence(p, depth));
    while (ok && p->s < p->end && *p->s == '|') {
        p->s++;
        ok = expr_push(p->b, &items, pattern_sequence(p, depth));
    }
    struct expr *out = ok ? expr_alt(p->b, items.e, items.n) : NULL;
    expr_stack_release(&items);
    return out;
}

/* Whether e has the anchor where it stands at the end of e that it is about. */
static bool has_anchor(const struct expr *e, enum expr_kind anchor)
{
    if (e->kind == EXPR_ALT) {
        for (uint32_t i = 0; i < e->n; i++)
            if (has_anchor(e->kids[i], anchor))
                return true;
        return false;
    }
    if (e->kind == EXPR_SEQ)
        return e->n && has_anchor(e->kids[anchor == EXPR_BEGIN ? 0 : e->n - 1], anchor);
    return e->kind == anchor;
}

static struct expr *any_text(struct builder *b)
{
    struct charset all = charset_not(b, (struct charset){0});
    return expr_repeat(b, expr_set(b, all), 0, GRAMMAR_FOREVER);
}

/* e with any text in front of it (EXPR_BEGIN) or behind it (EXPR_END), except where the
 * anchor stands. */
static struct expr *unanchored(struct builder *b, struct expr *e, enum expr_kind anchor)
{
    struct expr *two[2], *out = NULL;
    struct expr_stack kids = {0};
    bool ok = e != NULL && !b->status;
    if (ok && e->kind == anchor)
        return expr_seq(b, NULL, 0);
    if (ok && (e->kind == EXPR_ALT || (e->kind == EXPR_SEQ && has_anchor(e, anchor)))) {
        const uint32_t at = anchor == EXPR_BEGIN ? 0 : e->n - 1;
        for (uint32_t i = 0; ok && i < e->n; i++) {
            struct expr *kid = e->kids[i];
            if (e->kind == EXPR_ALT || i == at)
                kid = unanchored(b, kid, anchor);
            ok = expr_push(b, &kids, kid);
        }
        if (ok)
            out = e->kind == EXPR_ALT ? expr_alt(b, kids.e, kids.n)
                                      : expr_seq(b, kids.e, kids.n);
    } else if (ok) {
        two[anchor != EXPR_BEGIN] = any_text(b);
        two[anchor == EXPR_BEGIN] = e;
        out = two[0] && two[1] ? expr_seq(b, two, 2) : NULL;
    }
    expr_stack_release(&kids);
    return out;
}

static bool has_any_anchor(const struct expr *e)
{
    if (e->kind == EXPR_BEGIN || e->kind == EXPR_END)
        return true;
    const bool kids =
        e->kind == EXPR_SEQ || e->kind == EXPR_ALT || e->kind == EXPR_REPEAT;
    for (uint32_t i = 0; kids && i < e->n; i++)
        if (has_any_anchor(e->kids[i]))
            return true;
    return false;
}

struct expr *pattern_parse(struct builder *b, const char *text, size_t n)
{
    struct pattern p = {.b = b, .start = text, .s = text, .end = text + n};
    if (n > GRAMMAR_SOURCE_BYTES)
        return pattern_fail(&p, STATUS_LIMIT, "more than 1 MiB");
    struct expr *e = pattern_alternatives(&p, 0);
    if (e && p.s < p.end)
        return pattern_fail(&p, STATUS_BAD_INPUT, "a parenthesis that was not opened");
    e = unanchored(b, unanchored(b, e, EXPR_BEGIN), EXPR_END);
    if (e && has_any_anchor(e))
        return pattern_fail(&p, STATUS_UNSUPPORTED,
                            "an anchor (^ or $) inside of the text, which is not "
                            "supported, before the end");
    return e;
}
