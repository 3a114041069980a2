/* expr.c - trees of expressions, built from their ends. */
#include "grammar/expr.h"

#include <string.h>

#include "base/mem.h"

/* Repetitions of at most so many nodes are written out. */
enum { EXPR_INLINE = 64, EXPR_INLINE_NULLABLE = 16 };

static struct expr *expr_new(struct builder *b, enum expr_kind kind, uint32_t size)
{
    struct expr *e = builder_array(b, 1, sizeof *e);
    if (e)
        *e = (struct expr){.kind = kind, .nullable = -1, .size = size};
    return e;
}

static uint32_t size_add(uint32_t x, uint32_t y)
{
    return x > UINT32_MAX - y ? UINT32_MAX : x + y;
}

static struct expr *expr_list(struct builder *b, enum expr_kind kind,
                              struct expr *const *kids, uint32_t n)
{
    if (n == 1)
        return kids[0];
    struct expr *e = expr_new(b, kind, 1);
    if (!e || !(e->kids = builder_array(b, n, sizeof *e->kids)))
        return NULL;
    if (n)
        memcpy(e->kids, kids, n * sizeof *kids);
    e->n = n;
    for (uint32_t i = 0; i < n; i++)
        e->size = size_add(e->size, kids[i]->size);
    return e;
}

struct expr *expr_seq(struct builder *b, struct expr *const *kids, uint32_t n)
{
    return expr_list(b, EXPR_SEQ, kids, n);
}

struct expr *expr_alt(struct builder *b, struct expr *const *kids, uint32_t n)
{
    return expr_list(b, EXPR_ALT, kids, n);
}

struct expr *expr_set(struct builder *b, struct charset set)
{
    struct expr *e = expr_new(b, EXPR_SET, size_add(1, 2 * set.n));
    if (e)
        e->set = set, e->nullable = 0;
    return e;
}

struct expr *expr_text(struct builder *b, const char *text, uint32_t n)
{
    struct expr *e = expr_new(b, EXPR_TEXT, n);
    if (e)
        e->text = text, e->n = n, e->nullable = n == 0;
    return e;
}

static uint32_t copies_of(uint32_t min, uint32_t max)
{
    return max == GRAMMAR_FOREVER ? min + 1 : max;
}

/* Whether all copies are written out. */
static bool repeat_inline(const struct expr *kid, uint32_t min, uint32_t max)
{
    return max == 1 || (max == GRAMMAR_FOREVER && min <= 1) ||
           (uint64_t)kid->size * copies_of(min, max) <= EXPR_INLINE;
}

struct expr *expr_repeat(struct builder *b, struct expr *kid, uint32_t min, uint32_t max)
{
    struct expr *e = expr_new(b, EXPR_REPEAT, 0);
    if (!e || !kid || !(e->kids = builder_array(b, 1, sizeof *e->kids)))
        return NULL;
    e->kids[0] = kid;
    e->n = 1;
    e->min = min, e->max = max;
    const uint64_t size =
        repeat_inline(kid, min, max)
            ? ((uint64_t)kid->size + 1) * (max == GRAMMAR_FOREVER ? 1 : max)
            : (uint64_t)kid->size + 4;
    e->size = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
    return e;
}

struct expr *expr_rule(struct builder *b, uint32_t rule)
{
    struct expr *e = expr_new(b, EXPR_RULE, 1);
    if (e)
        e->rule = rule;
    return e;
}

struct expr *expr_leaf(struct builder *b, enum expr_kind kind)
{
    struct expr *e = expr_new(b, kind, kind == EXPR_JSON_CHAR ? 24 : 0);
    if (e)
        e->nullable = kind != EXPR_JSON_CHAR;
    return e;
}

void expr_stack_release(struct expr_stack *s)
{
    mem_free(s->e);
    *s = (struct expr_stack){0};
}

bool expr_push(struct builder *b, struct expr_stack *s, struct expr *e)
{
    if (!e || b->status)
        return false;
    if (s->n == s->cap) {
        const uint32_t cap = s->cap ? 2 * s->cap : 64;
        struct expr **more = mem_resize(s->e, cap, sizeof *more);
        if (!more) {
            builder_fail(b, STATUS_NO_MEMORY, "no memory for the grammar");
            return false;
        }
        s->e = more;
        s->cap = cap;
    }
    s->e[s->n++] = e;
    return true;
}

static bool expr_work(const struct expr_target *t, uint32_t n)
{
    if (n > GRAMMAR_WORK - *t->work)
        builder_fail(t->b, STATUS_LIMIT, "the grammar is too intricate to compile");
    else
        *t->work += n;
    return !t->b->status;
}

bool expr_nullable(const struct expr_target *t, struct expr *e)
{
    if (e->kind == EXPR_RULE)
        return t->rule_nullable && t->rule_nullable[e->rule];
    if (e->nullable >= 0)
        return e->nullable;
    if (!expr_work(t, 1 + e->n))
        return false;
    bool all = true, any = false;
    for (uint32_t i = 0; i < e->n; i++) {
        const bool one = expr_nullable(t, e->kids[i]);
        all = all && one;
        any = any || one;
    }
    return e->kind == EXPR_REPEAT ? any || e->min == 0 : e->kind == EXPR_ALT ? any : all;
}

static uint32_t set_build(const struct expr_target *t, struct charset set, uint32_t next)
{
    struct builder *b = t->b;
    uint32_t node = GRAMMAR_NONE;
    if (t->alphabet == EXPR_CHARS) {
        struct expr_sets *sets = t->sets;
        if (sets->n == sets->cap) {
            struct charset *more =
                builder_array(b, 2 * (size_t)sets->cap + 64, sizeof *more);
            if (!more)
                return 0;
            if (sets->n)
                memcpy(more, sets->set, sets->n * sizeof *more);
            sets->set = more;
            sets->cap = 2 * sets->cap + 64;
        }
        sets->set[sets->n] = set;
        return build_chars(b, sets->n++, next);
    }
    if (expr_work(t, set.n))
        node = t->alphabet == EXPR_UTF8 ? build_charset(b, set, next)
                                        : build_json_charset(b, set, next);
    if (node == GRAMMAR_NONE)
        builder_fail(b, STATUS_BAD_INPUT,
                     "a set of characters has none that can be written");
    return node;
}

/* kid{min,max} as copies: the first min must come, each further one is behind the one
 * before, so that there is only one way to have k of them. */
static uint32_t copies_build(const struct expr_target *t, struct expr *kid, uint32_t min,
                             uint32_t max, uint32_t next)
{
    struct builder *b = t->b;
    uint32_t node = next;
    if (max == GRAMMAR_FOREVER) {
        const uint32_t loop = build_loop(b);
        const uint32_t body = expr_build(t, kid, loop);
        build_loop_close(b, loop, (const uint32_t[]){body, next}, 2);
        node = loop;
        if (min)
            node = body, min--;
        max = min;
    }
    for (uint32_t i = max; i > 0 && !b->status; i--) {
        node = expr_build(t, kid, node);
        if (i > min)
            node = build_either(b, node, next);
    }
    return node;
}

static uint32_t counted_build(const struct expr_target *t, struct expr *kid, uint32_t min,
                              uint32_t max, uint32_t next)
{
    struct builder *b = t->b;
    const uint32_t counter = build_counter(b), loop = build_loop(b);
    const uint32_t leave =
        build_test(b, counter, min, GRAMMAR_FOREVER, build_pop(b, counter, next));
    uint32_t enter = expr_build(t, kid, build_step(b, counter, loop));
    if (max != GRAMMAR_FOREVER)
        enter = build_test(b, counter, 0, max - 1, enter);
    build_loop_close(b, loop, (const uint32_t[]){enter, leave}, 2);
    return build_push(b, counter, loop);
}

static uint32_t repeat_build(const struct expr_target *t, struct expr *e, uint32_t next)
{
    struct expr *kid = e->kids[0];
    uint32_t min = e->min, max = e->max;
    if (max == 0)
        return next;
    // Copies of what may be empty would be counted without a byte.
    const bool empty = expr_nullable(t, kid);
    if (empty)
        min = 0;
    if (repeat_inline(kid, min, max) || t->alphabet == EXPR_CHARS ||
        (empty && max <= EXPR_INLINE_NULLABLE))
        return copies_build(t, kid, min, max, next);
    if (empty && max != GRAMMAR_FOREVER) {
        builder_fail(t->b, STATUS_UNSUPPORTED,
                     "what may be empty is repeated up to %u times; at most %d are "
                     "followed",
                     (unsigned)max, EXPR_INLINE_NULLABLE);
        return 0;
    }
    return counted_build(t, kid, min, max, next);
}

uint32_t expr_build(const struct expr_target *t, struct expr *e, uint32_t next)
{
    struct builder *b = t->b;
    if (!e || !expr_work(t, 1))
        return 0;
    switch (e->kind) {
    case EXPR_SEQ:
        for (uint32_t i = e->n; i > 0; i--)
            next = expr_build(t, e->kids[i - 1], next);
        return next;
    case EXPR_ALT: {
        uint32_t *nodes = builder_array(b, e->n, sizeof *nodes);
        for (uint32_t i = 0; nodes && i < e->n; i++)
            nodes[i] = expr_build(t, e->kids[i], next);
        return nodes ? build_split(b, nodes, e->n) : 0;
    }
    case EXPR_SET:
        return set_build(t, e->set, next);
    case EXPR_TEXT:
        return expr_work(t, e->n) ? build_text(b, e->text, e->n, next) : 0;
    case EXPR_REPEAT:
        return repeat_build(t, e, next);
    case EXPR_RULE:
        return build_call(b, e->rule, next);
    case EXPR_JSON_CHAR:
        return build_json_char(b, next);
    case EXPR_BEGIN:
    case EXPR_END:
        break;
    }
    return next;
}
