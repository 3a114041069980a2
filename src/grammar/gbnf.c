/* gbnf.c - a parser of GBNF.
 * Language: llama.cpp's grammars/README.md, without its tokens (<name>, !<name>). */
#include "grammar/gbnf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "grammar/expr.h"

struct gbnf {
    struct builder *b;
    const char *s, *end;
    const char *start;
    uint32_t n_schema;
    uint32_t *slots; // hash of rule names: rule + 1
    uint32_t slot_cap;
    struct expr **bodies; // [body_cap] of rules
    uint32_t body_cap;
    uint32_t work;
    const char *rule; // in work, for messages
};

static void gbnf_fail(struct gbnf *g, const char *at, enum status s, const char *what)
{
    size_t line = 1;
    for (const char *c = g->start; c < at; c++)
        line += *c == '\n';
    builder_fail(g->b, s, "grammar, line %zu%s%s: %s", line, g->rule ? ", rule " : "",
                 g->rule ? g->rule : "", what);
}

static bool gbnf_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '_';
}

/* Spaces and comments; newlines too if `lines`. */
static void gbnf_space(struct gbnf *g, bool lines)
{
    for (; g->s < g->end; g->s++) {
        if (*g->s == '#')
            while (g->s + 1 < g->end && g->s[1] != '\n' && g->s[1] != '\r')
                g->s++;
        else if (*g->s != ' ' && *g->s != '\t' &&
                 !(lines && (*g->s == '\n' || *g->s == '\r')))
            break;
    }
}

static bool gbnf_at(const struct gbnf *g, char c)
{
    return g->s < g->end && *g->s == c;
}

static size_t gbnf_name(struct gbnf *g)
{
    const char *s = g->s;
    while (g->s < g->end && gbnf_name_char(*g->s))
        g->s++;
    return (size_t)(g->s - s);
}

static uint32_t *rule_slot(struct gbnf *g, const char *name, size_t n)
{
    uint64_t h = n;
    for (size_t i = 0; i < n; i++)
        h = rng_mix(h ^ (uint8_t)name[i]);
    uint32_t i = (uint32_t)h & (g->slot_cap - 1);
    for (; g->slots[i]; i = (i + 1) & (g->slot_cap - 1)) {
        const char *other = g->b->p->rules[g->slots[i] - 1].name;
        if (!strncmp(other, name, n) && !other[n])
            break;
    }
    return &g->slots[i];
}

/* The rule of this name, which is made if there is none yet. */
static uint32_t rule_named(struct gbnf *g, const char *name, size_t n)
{
    uint32_t *slot = rule_slot(g, name, n);
    if (*slot)
        return *slot - 1;
    const uint32_t rule = build_rule(g->b, name, n);
    if (g->b->status)
        return 0;
    *slot = rule + 1;
    return rule;
}

static int gbnf_hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* One character of a literal or a class, escapes resolved. */
static bool gbnf_char(struct gbnf *g, uint32_t *c)
{
    const char *at = g->s;
    if (g->end - g->s < 2 || *g->s != '\\') {
        const size_t n = utf8_read(g->s, (size_t)(g->end - g->s), c);
        if (!n)
            gbnf_fail(g, at, STATUS_BAD_INPUT, "bytes that are not UTF-8");
        g->s += n;
        return n > 0;
    }
    static const char known[] = "n\nr\rt\t\\\\\"\"[[]]--^^";
    const char kind = g->s[1];
    g->s += 2;
    for (const char *k = known; *k; k += 2)
        if (*k == kind)
            return *c = (uint8_t)k[1], true;
    const int digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    *c = 0;
    for (int i = 0; i < digits; i++, g->s++) {
        const int digit = g->s < g->end ? gbnf_hex(*g->s) : -1;
        if (digit < 0 || *c > CHAR_MAX) {
            *c = CHAR_MAX + 1;
            break;
        }
        *c = *c << 4 | (uint32_t)digit;
    }
    if (digits && *c <= CHAR_MAX && (*c < 0xd800 || *c > 0xdfff))
        return true;
    gbnf_fail(g, at, STATUS_BAD_INPUT, "an escape that is not known, or no character");
    return false;
}

static struct expr *gbnf_literal(struct gbnf *g)
{
    const char *at = g->s++;
    const char *close = g->s;
    while (close < g->end && *close != '"')
        close += *close == '\\' && close + 1 < g->end ? 2 : 1;
    if (close >= g->end) {
        gbnf_fail(g, at, STATUS_BAD_INPUT, "a literal without its closing quote");
        return NULL;
    }
    // An escape is at least as long as the UTF-8 that it stands for.
    char *text = builder_array(g->b, (size_t)(close - g->s) + 4, 1);
    uint32_t n = 0, c;
    while (text && g->s < close) {
        if (!gbnf_char(g, &c))
            return NULL;
        n += (uint32_t)utf8_write(text + n, c);
    }
    g->s = close + 1;
    return text ? expr_text(g->b, text, n) : NULL;
}

static struct expr *gbnf_class(struct gbnf *g)
{
    const char *at = g->s++;
    const bool negated = gbnf_at(g, '^');
    g->s += negated;
    struct char_range *r = NULL;
    uint32_t n = 0, cap = 0;
    while (g->s < g->end && *g->s != ']') {
        struct char_range one;
        if (!gbnf_char(g, &one.lo))
            return NULL;
        one.hi = one.lo;
        if (g->end - g->s >= 2 && *g->s == '-' && g->s[1] != ']') {
            g->s++;
            if (!gbnf_char(g, &one.hi))
                return NULL;
        }
        if (one.lo > one.hi)
            gbnf_fail(g, at, STATUS_BAD_INPUT, "a range of characters that is backwards");
        if (n == cap) {
            struct char_range *more = builder_array(g->b, 2 * (size_t)cap + 8, sizeof *r);
            if (!more)
                return NULL;
            if (n)
                memcpy(more, r, n * sizeof *r);
            r = more;
            cap = 2 * cap + 8;
        }
        r[n++] = one;
    }
    if (g->s >= g->end)
        gbnf_fail(g, at, STATUS_BAD_INPUT, "a class without its closing bracket");
    if (!n && !negated)
        gbnf_fail(g, at, STATUS_BAD_INPUT, "a class of no characters");
    if (g->b->status)
        return NULL;
    g->s++;
    const struct charset set = charset_make(g->b, r, n);
    return expr_set(g->b, negated ? charset_not(g->b, set) : set);
}

/* Digits to *out; false if there are none, or more than a count may be. */
static bool gbnf_count(struct gbnf *g, uint32_t *out)
{
    const char *at = g->s;
    for (*out = 0; g->s < g->end && *g->s >= '0' && *g->s <= '9'; g->s++) {
        *out = *out * 10 + (uint32_t)(*g->s - '0');
        if (*out > GRAMMAR_REPEAT) {
            gbnf_fail(g, at, STATUS_LIMIT, "a repetition of more than 1000000 times");
            return false;
        }
    }
    return g->s > at;
}

/* {m}, {m,}, {m,n}, behind the brace. */
static bool gbnf_counts(struct gbnf *g, uint32_t *min, uint32_t *max)
{
    const char *at = g->s;
    gbnf_space(g, false);
    bool ok = gbnf_count(g, min);
    *max = *min;
    gbnf_space(g, false);
    if (gbnf_at(g, ',')) {
        g->s++;
        gbnf_space(g, false);
        *max = GRAMMAR_FOREVER;
        if (ok && !gbnf_at(g, '}'))
            ok = gbnf_count(g, max);
        gbnf_space(g, false);
    }
    if (!ok || !gbnf_at(g, '}') || *min > *max)
        gbnf_fail(g, at, STATUS_BAD_INPUT, "a repetition is {m}, {m,} or {m,n}, m <= n");
    else
        g->s++;
    return !g->b->status;
}

static struct expr *gbnf_alternates(struct gbnf *g, int depth);

static struct expr *gbnf_group(struct gbnf *g, int depth)
{
    const char *at = g->s++;
    if (depth >= GRAMMAR_DEPTH) {
        gbnf_fail(g, at, STATUS_LIMIT, "parentheses are nested more than 64 deep");
        return NULL;
    }
    struct expr *e = gbnf_alternates(g, depth + 1);
    gbnf_space(g, true);
    if (e && !gbnf_at(g, ')')) {
        gbnf_fail(g, at, STATUS_BAD_INPUT, "a parenthesis that is not closed");
        return NULL;
    }
    g->s++;
    return e;
}

static struct expr *gbnf_dot(struct gbnf *g)
{
    g->s++;
    return expr_set(g->b, charset_not(g->b, (struct charset){0}));
}

/* What stands behind an item; any number of them. */
static struct expr *gbnf_repeats(struct gbnf *g, struct expr *e, int depth)
{
    for (int n = 0; e && g->s < g->end; n++) {
        uint32_t min = *g->s == '+', max = *g->s == '?' ? 1 : GRAMMAR_FOREVER;
        const char c = *g->s;
        if (c != '*' && c != '+' && c != '?' && c != '{')
            break;
        if (n + depth >= GRAMMAR_DEPTH) {
            gbnf_fail(g, g->s, STATUS_LIMIT, "repetitions are nested more than 64 deep");
            return NULL;
        }
        g->s++;
        if (c == '{' && !gbnf_counts(g, &min, &max))
            return NULL;
        e = expr_repeat(g->b, e, min, max);
        gbnf_space(g, depth > 0);
    }
    return e;
}

static struct expr *gbnf_sequence(struct gbnf *g, int depth)
{
    struct expr_stack items = {0};
    struct expr *out = NULL;
    bool ok = true;
    gbnf_space(g, depth > 0);
    while (ok && g->s < g->end && !g->b->status) {
        struct expr *e = NULL;
        const char c = *g->s;
        if (c == '"')
            e = gbnf_literal(g);
        else if (c == '[')
            e = gbnf_class(g);
        else if (c == '(')
            e = gbnf_group(g, depth);
        else if (c == '.')
            e = gbnf_dot(g);
        else if (gbnf_name_char(c)) {
            const char *name = g->s;
            const size_t n = gbnf_name(g);
            e = expr_rule(g->b, rule_named(g, name, n));
        } else {
            break;
        }
        gbnf_space(g, depth > 0);
        e = gbnf_repeats(g, e, depth);
        ok = expr_push(g->b, &items, e);
    }
    if (ok && !g->b->status)
        out = expr_seq(g->b, items.e, items.n);
    expr_stack_release(&items);
    return out;
}

/* Whether the next line goes on with the rule in work. */
static bool gbnf_continues(struct gbnf *g)
{
    const char *back = g->s;
    gbnf_space(g, true);
    if (gbnf_at(g, '|'))
        return true;
    g->s = back;
    return false;
}

static struct expr *gbnf_alternates(struct gbnf *g, int depth)
{
    struct expr_stack items = {0};
    struct expr *out = NULL;
    bool ok = expr_push(g->b, &items, gbnf_sequence(g, depth));
    while (ok && gbnf_continues(g)) {
        g->s++;
        gbnf_space(g, true);
        ok = expr_push(g->b, &items, gbnf_sequence(g, depth));
    }
    if (ok)
        out = expr_alt(g->b, items.e, items.n);
    expr_stack_release(&items);
    return out;
}

static bool bodies_room(struct gbnf *g)
{
    if (g->b->p->n_rule <= g->body_cap)
        return true;
    const uint32_t cap = 2 * g->b->p->n_rule;
    struct expr **more = mem_resize(g->bodies, cap, sizeof *more);
    if (!more) {
        builder_fail(g->b, STATUS_NO_MEMORY, "no memory for the grammar");
        return false;
    }
    memset(more + g->body_cap, 0, (cap - g->body_cap) * sizeof *more);
    g->bodies = more;
    g->body_cap = cap;
    return true;
}

static void gbnf_rule(struct gbnf *g)
{
    const char *at = g->s;
    const size_t n = gbnf_name(g);
    if (!n) {
        const bool token = g->s < g->end && (*g->s == '<' || *g->s == '!');
        gbnf_fail(g, at, token ? STATUS_UNSUPPORTED : STATUS_BAD_INPUT,
                  token ? "tokens (<name>) are not supported"
                        : "expected the name of a rule");
        return;
    }
    const uint32_t rule = rule_named(g, at, n);
    if (g->b->status || !bodies_room(g))
        return;
    g->rule = g->b->p->rules[rule].name;
    gbnf_space(g, false);
    if (g->end - g->s < 3 || memcmp(g->s, "::=", 3) != 0) {
        gbnf_fail(g, at, STATUS_BAD_INPUT, "expected ::= behind the name of a rule");
        return;
    }
    if (rule < g->n_schema || g->bodies[rule]) {
        gbnf_fail(g, at, STATUS_BAD_INPUT,
                  rule < g->n_schema ? "the rule stands for a schema"
                                     : "the rule is defined twice");
        return;
    }
    g->s += 3;
    gbnf_space(g, true);
    struct expr *body = gbnf_alternates(g, 0);
    if (!body || !bodies_room(g))
        return;
    g->bodies[rule] = body;
    if (g->s < g->end && *g->s != '\n' && *g->s != '\r') {
        const bool token = *g->s == '<' || *g->s == '!';
        gbnf_fail(g, g->s, token ? STATUS_UNSUPPORTED : STATUS_BAD_INPUT,
                  token ? "tokens (<name>) are not supported" : "expected a new line");
    }
    g->rule = NULL;
}

/* Until nothing changes: which rules may be empty. */
static void find_nullable(struct gbnf *g, const struct expr_target *t, uint8_t *nullable)
{
    for (bool more = true; more && !g->b->status;) {
        more = false;
        for (uint32_t r = g->n_schema; r < g->b->p->n_rule; r++)
            if (!nullable[r] && g->bodies[r] && expr_nullable(t, g->bodies[r]))
                nullable[r] = 1, more = true;
    }
}

static void build_bodies(struct gbnf *g)
{
    struct builder *b = g->b;
    uint8_t *nullable = builder_array(b, b->p->n_rule, 1);
    const struct expr_target t = {
        .b = b, .alphabet = EXPR_UTF8, .rule_nullable = nullable, .work = &g->work};
    if (!nullable || !bodies_room(g))
        return;
    find_nullable(g, &t, nullable);
    for (uint32_t r = g->n_schema; r < b->p->n_rule && !b->status; r++)
        if (g->bodies[r]) {
            snprintf(b->where, sizeof b->where, "grammar, rule %s", b->p->rules[r].name);
            const uint32_t entry = expr_build(&t, g->bodies[r], 0);
            if (!b->status)
                b->p->rules[r].entry = entry;
        }
    b->where[0] = 0;
}

enum status gbnf_compile(struct builder *b, const char *text, size_t n, uint32_t n_schema)
{
    struct gbnf g = {
        .b = b, .s = text, .end = text + n, .start = text, .n_schema = n_schema};
    g.slot_cap = 4 * GRAMMAR_RULES;
    g.slots = mem_array(g.slot_cap, sizeof *g.slots);
    if (!g.slots)
        return builder_fail(b, STATUS_NO_MEMORY, "no memory for the grammar");
    for (uint32_t r = 0; r < n_schema; r++)
        *rule_slot(&g, b->p->rules[r].name, strlen(b->p->rules[r].name)) = r + 1;
    for (gbnf_space(&g, true); g.s < g.end && !b->status; gbnf_space(&g, true))
        gbnf_rule(&g);
    if (!b->status) {
        const uint32_t *root = rule_slot(&g, "root", 4);
        if (!*root)
            builder_fail(b, STATUS_BAD_INPUT, "the grammar has no rule \"root\"");
        b->p->root = *root - 1;
        build_bodies(&g);
    }
    mem_free(g.slots);
    mem_free(g.bodies);
    return b->status;
}
