/* pattern_chars.c - automata over characters: what patterns, and a pattern and bounds of
 * length, have in common. */
#include <string.h>

#include "base/mem.h"
#include "grammar/pattern.h"

enum {
    CHARS_STATES = 1 << 15,
    CHARS_EDGES = 1 << 18,
    CHARS_UNROLLED = 1 << 14,   // states when length becomes a part of them
    CHARS_LENGTHS = 1 << 26,    // states times lengths
    CHARS_LENGTH_WORK = 1 << 28 // edges times lengths
};

/* An automaton while it grows. */
struct chars_maker {
    struct builder *b;
    struct chars out;
    uint32_t state_cap, edge_cap;
};

static void *chars_table(struct builder *b, void *old, uint32_t n, uint32_t *cap,
                         uint32_t max, size_t size)
{
    if (n < *cap)
        return old;
    if (n >= max) {
        builder_fail(b, STATUS_LIMIT,
                     "a pattern is too large to be combined with lengths or other "
                     "patterns");
        return NULL;
    }
    void *more = builder_array(b, 2 * (size_t)*cap + 64, size);
    if (more && n)
        memcpy(more, old, n * size);
    if (more)
        *cap = 2 * *cap + 64;
    return more;
}

static uint32_t chars_state(struct chars_maker *m)
{
    void *p = chars_table(m->b, m->out.states, m->out.n_state, &m->state_cap,
                          CHARS_STATES, sizeof *m->out.states);
    if (!p)
        return 0;
    m->out.states = p;
    m->out.states[m->out.n_state] = (struct chars_state){0};
    return m->out.n_state++;
}

/* Of the state that was last given its first edge. */
static void chars_edge(struct chars_maker *m, uint32_t from, struct charset set,
                       uint32_t to)
{
    void *p = chars_table(m->b, m->out.edges, m->out.n_edge, &m->edge_cap, CHARS_EDGES,
                          sizeof *m->out.edges);
    if (!p)
        return;
    m->out.edges = p;
    m->out.edges[m->out.n_edge++] = (struct chars_edge){set, to};
    m->out.states[from].n++;
}

/* Number of states for keys that are met: state_of[key] - 1. */
static uint32_t chars_meet(struct chars_maker *m, uint32_t *state_of, uint32_t *keys,
                           uint32_t key)
{
    if (!state_of[key]) {
        const uint32_t s = chars_state(m);
        if (m->b->status)
            return 0;
        keys[s] = key;
        state_of[key] = s + 1;
    }
    return state_of[key] - 1;
}

/* Edges of one state: what node reaches without a character. */
static void chars_reach(struct chars_maker *m, const struct program *p,
                        const struct charset *sets, uint32_t state, uint32_t *state_of,
                        uint32_t *keys, uint32_t *seen, uint32_t *stack)
{
    uint32_t n = 0;
    stack[n++] = keys[state];
    seen[keys[state]] = state + 1;
    m->out.states[state].first = m->out.n_edge;
    while (n && builder_work(m->b, 1)) {
        const struct node *v = &p->nodes[stack[--n]];
        if (v->op == NODE_RETURN)
            m->out.states[state].accept = true;
        if (v->op == NODE_CHARS)
            chars_edge(m, state, sets[v->a], chars_meet(m, state_of, keys, v->next));
        for (uint32_t i = 0; v->op == NODE_SPLIT && i < v->n; i++) {
            const uint32_t to = p->outs[v->a + i];
            if (seen[to] != state + 1)
                seen[to] = state + 1, stack[n++] = to;
        }
    }
}

struct chars chars_of_expr(struct builder *b, struct expr *e, uint32_t *work)
{
    struct program p;
    struct builder inner;
    struct expr_sets sets = {0};
    struct chars_maker m = {.b = b};
    builder_init(&inner, &p, b->arena, b->err);
    memcpy(inner.where, b->where, sizeof inner.where);
    const struct expr_target t = {
        .b = &inner, .alphabet = EXPR_CHARS, .sets = &sets, .work = work};
    const uint32_t start = expr_build(&t, e, 0);
    if (inner.status)
        b->status = b->status ? b->status : inner.status;
    const uint32_t n = b->status ? 0 : p.n_node;
    uint32_t *tables = b->status ? NULL : builder_array(b, 4 * (size_t)n, sizeof *tables);
    if (tables) {
        uint32_t *state_of = tables, *keys = tables + n, *seen = keys + n,
                 *stack = seen + n;
        chars_meet(&m, state_of, keys, start);
        for (uint32_t s = 0; s < m.out.n_state && !b->status; s++)
            chars_reach(&m, &p, sets.set, s, state_of, keys, seen, stack);
    }
    builder_release(&inner);
    program_release(&p);
    return m.out;
}

/* Drop edges to states from which no end is reached; all states, if the start is one. */
static struct chars chars_trim(struct builder *b, struct chars x)
{
    uint8_t *live = builder_array(b, x.n_state, 1);
    for (bool more = live != NULL; more && builder_work(b, x.n_edge + x.n_state);) {
        more = false;
        for (uint32_t s = x.n_state; s-- > 0;) {
            bool one = x.states[s].accept;
            for (uint32_t i = 0; !one && i < x.states[s].n; i++)
                one = live[x.edges[x.states[s].first + i].to];
            if (one && !live[s])
                live[s] = 1, more = true;
        }
    }
    for (uint32_t s = 0; live && s < x.n_state; s++) {
        struct chars_state *q = &x.states[s];
        uint32_t n = 0;
        for (uint32_t i = 0; i < q->n; i++)
            if (live[x.edges[q->first + i].to])
                x.edges[q->first + n++] = x.edges[q->first + i];
        q->n = n;
    }
    if (b->status || !live || !x.n_state || !live[0])
        x.n_state = 0;
    return x;
}

struct chars chars_and(struct builder *b, const struct chars *x, const struct chars *y)
{
    struct chars_maker m = {.b = b};
    const uint64_t n_pair = (uint64_t)x->n_state * y->n_state;
    if (n_pair > 1 << 22)
        builder_fail(b, STATUS_LIMIT, "patterns are too large to be combined");
    if (b->status || !n_pair)
        return m.out;
    uint32_t *state_of = builder_array(b, n_pair, sizeof *state_of);
    uint32_t *keys = builder_array(b, CHARS_STATES, sizeof *keys);
    if (!state_of || !keys)
        return m.out;
    chars_meet(&m, state_of, keys, 0);
    for (uint32_t s = 0; s < m.out.n_state && !b->status; s++) {
        const struct chars_state *p = &x->states[keys[s] / y->n_state],
                                 *q = &y->states[keys[s] % y->n_state];
        m.out.states[s].first = m.out.n_edge;
        m.out.states[s].accept = p->accept && q->accept;
        for (uint32_t i = 0; i < p->n * q->n && builder_work(b, 1); i++) {
            const struct chars_edge *e = &x->edges[p->first + i / q->n],
                                    *f = &y->edges[q->first + i % q->n];
            const struct charset both = charset_and(b, e->set, f->set);
            if (both.n)
                chars_edge(&m, s, both,
                           chars_meet(&m, state_of, keys, e->to * y->n_state + f->to));
        }
    }
    return chars_trim(b, m.out);
}

/* texts[from .. to) are equal in their first `at` bytes.  State 1 is where all texts are
 * left behind; returns the state of the common beginning. */
static uint32_t except_state(struct chars_maker *m, const char *const *texts,
                             uint32_t from, uint32_t to, size_t at)
{
    struct builder *b = m->b;
    const uint32_t state = chars_state(m);
    const bool is_text = !texts[from][at];
    const uint32_t first = from + is_text;
    struct char_range *r = builder_array(b, to - first, sizeof *r);
    uint32_t *next = builder_array(b, to - first, sizeof *next), n = 0;
    for (uint32_t i = first; r && next && i < to && !b->status; n++) {
        uint32_t c = 0, end = i;
        const size_t len = utf8_read(texts[i] + at, strlen(texts[i] + at), &c);
        while (end < to && !strncmp(texts[end] + at, texts[i] + at, len))
            end++;
        r[n] = (struct char_range){c, c};
        next[n] = except_state(m, texts, i, end, at + (len ? len : 1));
        i = end;
    }
    if (b->status)
        return 0;
    m->out.states[state].accept = !is_text;
    m->out.states[state].first = m->out.n_edge;
    for (uint32_t i = 0; i < n; i++)
        chars_edge(m, state, charset_make(b, &r[i], 1), next[i]);
    chars_edge(m, state, charset_not(b, charset_make(b, r, n)), 1);
    return state;
}

struct chars chars_except(struct builder *b, const char *const *texts, uint32_t n)
{
    struct chars_maker m = {.b = b};
    const struct charset all = charset_not(b, (struct charset){0});
    for (uint32_t i = 0; i < n; i++)
        if (strlen(texts[i]) > 4096) { // a level of the recursion for each character
            builder_fail(b, STATUS_LIMIT, "a name of more than 4096 bytes");
            return m.out;
        }
    const uint32_t start = chars_state(&m), rest = chars_state(&m);
    if (b->status)
        return m.out;
    m.out.states[rest] = (struct chars_state){.first = 0, .accept = true};
    chars_edge(&m, rest, all, rest);
    const uint32_t top = n ? except_state(&m, texts, 0, n, 0) : rest;
    if (!b->status)
        m.out.states[start] = m.out.states[top];
    return m.out;
}

/* Which lengths a state can be met with, and with which an end can still be reached. */
struct lengths {
    const struct chars *x;
    uint32_t min, max, top; // top: the largest count; above it all are alike, without max
    uint8_t *met, *good;    // [n_state][top + 1]
};

static size_t length_at(const struct lengths *l, uint32_t state, uint32_t k)
{
    return (size_t)state * (l->top + 1) + k;
}

static void find_good(const struct lengths *l)
{
    const struct chars *x = l->x;
    const bool forever = l->max == GRAMMAR_FOREVER;
    for (uint32_t k = l->top + 1; k-- > 0;)
        for (uint32_t s = 0; s < x->n_state; s++) {
            const struct chars_state *q = &x->states[s];
            bool good = (q->accept && k >= l->min) || (forever && k == l->top);
            for (uint32_t i = 0; !good && k < l->top && i < q->n; i++)
                good = l->good[length_at(l, x->edges[q->first + i].to, k + 1)];
            l->good[length_at(l, s, k)] = good;
        }
}

static void find_met(const struct lengths *l)
{
    const struct chars *x = l->x;
    l->met[length_at(l, 0, 0)] = 1;
    for (uint32_t k = 0; k < l->top; k++)
        for (uint32_t s = 0; s < x->n_state; s++) {
            const struct chars_state *q = &x->states[s];
            for (uint32_t i = 0; l->met[length_at(l, s, k)] && i < q->n; i++)
                l->met[length_at(l, x->edges[q->first + i].to, k + 1)] = 1;
        }
    for (uint32_t s = 0; l->max == GRAMMAR_FOREVER && s < x->n_state; s++)
        l->met[length_at(l, s, l->top)] = 1;
}

/* The counts *lo .. *hi with which a state may be entered; 0 if it is none, -1 if it is
 * not one range. */
static int length_range(const struct lengths *l, uint32_t state, uint32_t *lo,
                        uint32_t *hi)
{
    *lo = GRAMMAR_NONE;
    *hi = 0;
    for (uint32_t k = 0; k <= l->top; k++)
        if (l->met[length_at(l, state, k)] && l->good[length_at(l, state, k)]) {
            *lo = *lo == GRAMMAR_NONE ? k : *lo;
            *hi = k;
        }
    for (uint32_t k = *lo; *lo != GRAMMAR_NONE && k <= *hi; k++)
        if (l->met[length_at(l, state, k)] && !l->good[length_at(l, state, k)])
            return -1;
    if (l->max == GRAMMAR_FOREVER && *hi == l->top)
        *hi = GRAMMAR_FOREVER;
    return *lo != GRAMMAR_NONE;
}

/* A state for each state and count. */
static struct chars chars_unroll(struct builder *b, const struct lengths *l)
{
    struct chars_maker m = {.b = b};
    const struct chars *x = l->x;
    const uint64_t n = (uint64_t)x->n_state * (l->top + 1);
    if (n > CHARS_UNROLLED) {
        builder_fail(b, STATUS_UNSUPPORTED,
                     "pattern and lengths together are too intricate");
        return m.out;
    }
    uint32_t *state_of = builder_array(b, n, sizeof *state_of);
    uint32_t *keys = builder_array(b, n, sizeof *keys);
    if (!state_of || !keys || !l->good[0])
        return m.out;
    chars_meet(&m, state_of, keys, 0);
    for (uint32_t s = 0; s < m.out.n_state && !b->status; s++) {
        const uint32_t k = keys[s] % (l->top + 1);
        const struct chars_state *q = &x->states[keys[s] / (l->top + 1)];
        m.out.states[s].first = m.out.n_edge;
        m.out.states[s].accept = q->accept && k >= l->min;
        const bool last = k == l->top && l->max != GRAMMAR_FOREVER;
        for (uint32_t i = 0; !last && i < q->n && builder_work(b, 1); i++) {
            const struct chars_edge *e = &x->edges[q->first + i];
            const size_t to = length_at(l, e->to, k < l->top ? k + 1 : k);
            if (l->good[to])
                chars_edge(&m, s, e->set, chars_meet(&m, state_of, keys, (uint32_t)to));
        }
    }
    return m.out;
}

static uint32_t chars_build_free(struct builder *b, const struct chars *x, uint32_t next)
{
    uint32_t *node = builder_array(b, x->n_state, sizeof *node), most = 0;
    for (uint32_t s = 0; node && s < x->n_state; s++) {
        node[s] = build_loop(b);
        most = most > x->states[s].n ? most : x->states[s].n;
    }
    uint32_t *to = builder_array(b, (size_t)most + 1, sizeof *to);
    if (!x->n_state || !node || !to)
        return GRAMMAR_NONE;
    for (uint32_t s = 0; s < x->n_state && !b->status; s++) {
        const struct chars_state *q = &x->states[s];
        for (uint32_t i = 0; i < q->n; i++)
            to[i] = build_json_charset(b, x->edges[q->first + i].set,
                                       node[x->edges[q->first + i].to]);
        to[q->n] = q->accept ? next : GRAMMAR_NONE;
        build_loop_close(b, node[s], to, q->n + 1);
    }
    return node[0];
}

/* With a counter, and a test in front of each edge that it leads where an end can still
 * be reached; lo, hi [n_state] are the counts of each state. */
static uint32_t chars_build_counted(struct builder *b, const struct lengths *l,
                                    const uint32_t *lo, const uint32_t *hi, uint32_t next)
{
    const struct chars *x = l->x;
    const uint32_t counter = build_counter(b);
    uint32_t *node = builder_array(b, x->n_state, sizeof *node), most = 0;
    for (uint32_t s = 0; node && s < x->n_state; s++) {
        node[s] = build_loop(b);
        most = most > x->states[s].n ? most : x->states[s].n;
    }
    uint32_t *to = builder_array(b, (size_t)most + 1, sizeof *to);
    for (uint32_t s = 0; node && to && s < x->n_state && !b->status; s++) {
        const struct chars_state *q = &x->states[s];
        for (uint32_t i = 0; i < q->n; i++) {
            const struct chars_edge *e = &x->edges[q->first + i];
            to[i] = GRAMMAR_NONE;
            if (lo[e->to] == GRAMMAR_NONE || hi[e->to] == 0)
                continue;
            const uint32_t set =
                build_json_charset(b, e->set, build_step(b, counter, node[e->to]));
            if (set != GRAMMAR_NONE)
                to[i] = build_test(
                    b, counter, lo[e->to] ? lo[e->to] - 1 : 0,
                    hi[e->to] == GRAMMAR_FOREVER ? GRAMMAR_FOREVER : hi[e->to] - 1, set);
        }
        to[q->n] = q->accept ? build_test(b, counter, l->min, GRAMMAR_FOREVER,
                                          build_pop(b, counter, next))
                             : GRAMMAR_NONE;
        build_loop_close(b, node[s], to, q->n + 1);
    }
    return node && !b->status ? build_push(b, counter, node[0]) : GRAMMAR_NONE;
}

static uint32_t chars_build_lengths(struct builder *b, const struct lengths *l,
                                    uint32_t next)
{
    const struct chars *x = l->x;
    uint32_t *lo = builder_array(b, 2 * (size_t)x->n_state, sizeof *lo);
    if (!lo)
        return GRAMMAR_NONE;
    uint32_t *hi = lo + x->n_state;
    find_good(l);
    find_met(l);
    if (!l->good[length_at(l, 0, 0)])
        return GRAMMAR_NONE;
    for (uint32_t s = 0; s < x->n_state; s++)
        if (length_range(l, s, &lo[s], &hi[s]) < 0) {
            const struct chars all = chars_unroll(b, l);
            return chars_build_free(b, &all, next);
        }
    return chars_build_counted(b, l, lo, hi, next);
}

/* Edges whose characters cannot stand in a JSON string lead nowhere. */
static struct chars chars_writable(struct builder *b, const struct chars *x)
{
    struct chars out = *x;
    struct char_range range = {1, CHAR_MAX};
    size_t n = 0; // states may share edges
    for (uint32_t s = 0; s < x->n_state; s++)
        n += x->states[s].n;
    out.edges = builder_array(b, n, sizeof *out.edges);
    out.states = builder_array(b, x->n_state, sizeof *out.states);
    if (!out.edges || !out.states)
        return (struct chars){0};
    if (x->n_state)
        memcpy(out.states, x->states, x->n_state * sizeof *out.states);
    out.n_edge = 0;
    for (uint32_t s = 0; s < x->n_state; s++) {
        const uint32_t first = out.n_edge;
        for (uint32_t i = 0; i < x->states[s].n; i++) {
            struct chars_edge e = x->edges[x->states[s].first + i];
            e.set = charset_and(b, e.set, (struct charset){&range, 1});
            if (e.set.n && (e.set.r[0].lo < 0xd800 || e.set.r[e.set.n - 1].hi > 0xdfff))
                out.edges[out.n_edge++] = e;
        }
        out.states[s].first = first;
        out.states[s].n = out.n_edge - first;
    }
    return chars_trim(b, out);
}

uint32_t chars_build(struct builder *b, const struct chars *x, uint32_t min, uint32_t max,
                     uint32_t next)
{
    const struct chars w = chars_writable(b, x);
    if (b->status || !w.n_state || min > max)
        return GRAMMAR_NONE;
    if (min == 0 && max == GRAMMAR_FOREVER)
        return chars_build_free(b, &w, next);
    struct lengths l = {
        .x = &w, .min = min, .max = max, .top = max == GRAMMAR_FOREVER ? min : max};
    const uint64_t n = (uint64_t)w.n_state * ((uint64_t)l.top + 1);
    if (n > CHARS_LENGTHS || (uint64_t)w.n_edge * l.top > CHARS_LENGTH_WORK) {
        builder_fail(b, STATUS_LIMIT, "a pattern with lengths up to %u is too large",
                     (unsigned)l.top);
        return GRAMMAR_NONE;
    }
    l.met = mem_array(n, 1);
    l.good = mem_array(n, 1);
    uint32_t node = GRAMMAR_NONE;
    if (!l.met || !l.good)
        builder_fail(b, STATUS_NO_MEMORY, "no memory for a pattern");
    else
        node = chars_build_lengths(b, &l, next);
    mem_free(l.met);
    mem_free(l.good);
    return node;
}
