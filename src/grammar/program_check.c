/* program_check.c - what must hold of a whole program, and tables that follow from it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "grammar/program.h"

/* Which nodes have a property that spreads from ends to starts: a node that can do with
 * any of those behind it needs one, a call needs both its rule and what follows. */
struct spread {
    struct builder *b;
    uint32_t *first, *from; // nodes that look at node i: from[first[i] .. first[i + 1])
    uint32_t *queue;
    uint8_t *have; // of needed ones; SPREAD_DONE: has the property
    uint32_t n_queue;
    bool empty; // the property is to return without a byte, else to return at all
};

enum { SPREAD_DONE = 255 };

static uint32_t rule_entry(const struct program *p, uint32_t rule)
{
    return p->rules[rule].entry;
}

/* Calls visit(s, node, target) for each node that `node` looks at. */
static void each_target(struct spread *s, uint32_t node,
                        void (*visit)(struct spread *s, uint32_t node, uint32_t target))
{
    const struct program *p = s->b->p;
    const struct node *v = &p->nodes[node];
    switch (v->op) {
    case NODE_RETURN:
        break;
    case NODE_BYTES:
        for (uint32_t i = 0; !s->empty && i < v->n; i++)
            visit(s, node, p->edges[v->a + i].next);
        break;
    case NODE_SPLIT:
        for (uint32_t i = 0; i < v->n; i++)
            visit(s, node, p->outs[v->a + i]);
        break;
    case NODE_CALL:
        visit(s, node, rule_entry(p, v->a));
        visit(s, node, v->next);
        break;
    case NODE_TEST:
        // Before the first byte behind its PUSH a count is 0.
        if (!s->empty || p->tests[v->a].lo == 0)
            visit(s, node, v->next);
        break;
    default:
        visit(s, node, v->next);
    }
}

static void spread_count(struct spread *s, uint32_t node, uint32_t target)
{
    (void)node;
    s->first[target + 1]++;
}

static void spread_note(struct spread *s, uint32_t node, uint32_t target)
{
    s->from[s->first[target]++] = node;
}

static void spread_reach(struct spread *s, uint32_t node)
{
    const bool call = s->b->p->nodes[node].op == NODE_CALL;
    if (s->have[node] == SPREAD_DONE || (call && ++s->have[node] < 2))
        return;
    s->have[node] = SPREAD_DONE;
    s->queue[s->n_queue++] = node;
}

static bool spread_open(struct spread *s, struct builder *b)
{
    const size_t n = b->p->n_node;
    *s = (struct spread){.b = b,
                         .first = mem_array(n + 2, sizeof *s->first),
                         .queue = mem_array(n, sizeof *s->queue),
                         .have = mem_array(n, sizeof *s->have)};
    const size_t n_from = (size_t)b->p->n_edge + b->p->n_out + 2 * n;
    s->from = mem_array(n_from, sizeof *s->from);
    if (s->first && s->queue && s->have && s->from)
        return true;
    builder_fail(b, STATUS_NO_MEMORY, "no memory to check the grammar");
    return false;
}

static void spread_close(struct spread *s)
{
    mem_free(s->first);
    mem_free(s->from);
    mem_free(s->queue);
    mem_free(s->have);
}

static void spread_run(struct spread *s, bool empty)
{
    const uint32_t n = s->b->p->n_node;
    s->empty = empty;
    memset(s->first, 0, (n + 2) * sizeof *s->first);
    memset(s->have, 0, n);
    for (uint32_t i = 0; i < n; i++)
        each_target(s, i, spread_count);
    for (uint32_t i = 0; i < n; i++)
        s->first[i + 1] += s->first[i];
    for (uint32_t i = 0; i < n; i++)
        each_target(s, i, spread_note);
    // Noting moved each first to its end, which is the next one's begin.
    memmove(s->first + 1, s->first, (n + 1) * sizeof *s->first);
    s->first[0] = 0;
    s->n_queue = 0;
    spread_reach(s, 0);
    for (uint32_t i = 0; i < s->n_queue; i++)
        for (uint32_t k = s->first[s->queue[i]]; k < s->first[s->queue[i] + 1]; k++)
            spread_reach(s, s->from[k]);
}

/* Which rules a rule may begin with: calls that its entry reaches without a byte. */
struct begins {
    uint32_t *first, *rule; // of rule i: rule[first[i] .. first[i + 1])
    uint32_t n, cap;
};

static bool begins_push(struct builder *b, struct begins *g, uint32_t rule)
{
    if (g->n == g->cap) {
        uint32_t *more = mem_resize(g->rule, g->cap ? 2 * g->cap : 256, sizeof *more);
        if (!more) {
            builder_fail(b, STATUS_NO_MEMORY, "no memory to check the grammar");
            return false;
        }
        g->rule = more;
        g->cap = g->cap ? 2 * g->cap : 256;
    }
    g->rule[g->n++] = rule;
    return true;
}

/* seen [n_node] holds the last rule (plus 1) that visited a node. */
static bool begins_of(struct builder *b, struct begins *g, uint32_t rule,
                      const uint8_t *empty, uint32_t *seen, uint32_t *stack)
{
    const struct program *p = b->p;
    uint32_t n = 0;
    stack[n++] = rule_entry(p, rule);
    seen[stack[0]] = rule + 1;
    while (n) {
        const struct node *v = &p->nodes[stack[--n]];
        uint32_t single = v->next;
        const uint32_t *to = &single;
        uint32_t n_to = 1;
        if (v->op == NODE_BYTES || v->op == NODE_RETURN)
            n_to = 0;
        else if (v->op == NODE_SPLIT)
            to = p->outs + v->a, n_to = v->n;
        else if (v->op == NODE_TEST && p->tests[v->a].lo > 0)
            n_to = 0;
        else if (v->op == NODE_CALL) {
            if (!begins_push(b, g, v->a))
                return false;
            n_to = empty[rule_entry(p, v->a)] == SPREAD_DONE;
        }
        if (!builder_work(b, 1 + n_to))
            return false;
        for (uint32_t i = 0; i < n_to; i++)
            if (seen[to[i]] != rule + 1) {
                seen[to[i]] = rule + 1;
                stack[n++] = to[i];
            }
    }
    return true;
}

/* A walk in depth over begins; a rule on the way to itself begins with itself. */
static void find_left_recursion(struct builder *b, const struct begins *g,
                                uint32_t *stack, uint32_t *at)
{
    const uint32_t n_rule = b->p->n_rule;
    const uint32_t done = UINT32_MAX;
    // at[i]: 0 before, then 1 + how many of its begins were followed, then done.
    memset(at, 0, n_rule * sizeof *at);
    for (uint32_t r = 0; r < n_rule; r++) {
        uint32_t n = 0;
        if (!at[r])
            stack[n++] = r, at[r] = 1;
        while (n) {
            const uint32_t top = stack[n - 1];
            const uint32_t i = g->first[top] + at[top] - 1;
            if (i >= g->first[top + 1]) {
                at[top] = done;
                n--;
                continue;
            }
            at[top]++;
            const uint32_t to = g->rule[i];
            if (!at[to])
                stack[n++] = to, at[to] = 1;
            else if (at[to] != done) {
                builder_fail(b, STATUS_UNSUPPORTED,
                             "%s: begins with itself (left recursion), which cannot be "
                             "followed",
                             b->p->rules[to].name);
                return;
            }
        }
    }
}

static void check_left_recursion(struct builder *b, const uint8_t *empty)
{
    const struct program *p = b->p;
    struct begins g = {.first = mem_array((size_t)p->n_rule + 1, sizeof *g.first)};
    uint32_t *seen = mem_array(p->n_node, sizeof *seen);
    uint32_t *stack = mem_array((size_t)p->n_node + p->n_rule, sizeof *stack);
    uint32_t *at = mem_array(p->n_rule, sizeof *at);
    bool ok = g.first && seen && stack && at;
    if (!ok)
        builder_fail(b, STATUS_NO_MEMORY, "no memory to check the grammar");
    for (uint32_t r = 0; ok && r < p->n_rule; r++) {
        ok = begins_of(b, &g, r, empty, seen, stack);
        g.first[r + 1] = g.n;
    }
    if (ok)
        find_left_recursion(b, &g, stack, at);
    mem_free(g.first);
    mem_free(g.rule);
    mem_free(seen);
    mem_free(stack);
    mem_free(at);
}

static void check_rules(struct builder *b)
{
    struct spread s = {0};
    const struct program *p = b->p;
    for (uint32_t r = 0; r < p->n_rule; r++)
        if (p->rules[r].entry == GRAMMAR_NONE) {
            builder_fail(b, STATUS_BAD_INPUT, "rule \"%s\" is used but not defined",
                         p->rules[r].name);
            return;
        }
    if (spread_open(&s, b)) {
        spread_run(&s, false);
        for (uint32_t r = 0; r < p->n_rule; r++)
            if (s.have[rule_entry(p, r)] != SPREAD_DONE)
                builder_fail(b, STATUS_BAD_INPUT,
                             "%s: no text of finite length is valid, it always contains "
                             "itself",
                             p->rules[r].name);
        spread_run(&s, true);
        check_left_recursion(b, s.have);
    }
    spread_close(&s);
}

static int turn_order(const void *x, const void *y)
{
    uint64_t a, b;
    memcpy(&a, x, sizeof a);
    memcpy(&b, y, sizeof b);
    return (a > b) - (a < b);
}

/* Turns of all counters, from the tests, in order. */
static void find_turns(struct builder *b)
{
    struct program *p = b->p;
    uint64_t *all = mem_array(2 * (size_t)p->n_test + 1, sizeof *all);
    p->turns = mem_array(2 * (size_t)p->n_test + 1, sizeof *p->turns);
    if (!all || !p->turns) {
        builder_fail(b, STATUS_NO_MEMORY, "no memory for the grammar");
        mem_free(all);
        return;
    }
    size_t n = 0;
    for (uint32_t i = 0; i < p->n_test; i++) {
        const struct count_test *t = &p->tests[i];
        if (t->lo > 0)
            all[n++] = (uint64_t)t->counter << 32 | t->lo;
        if (t->hi < GRAMMAR_FOREVER)
            all[n++] = (uint64_t)t->counter << 32 | (t->hi + 1);
    }
    qsort(all, n, sizeof *all, turn_order);
    for (size_t i = 0; i < n; i++) {
        struct counter *c = &p->counters[all[i] >> 32];
        if (i && all[i] == all[i - 1])
            continue;
        if (c->n++ == 0)
            c->first = p->n_turn;
        p->turns[p->n_turn++] = (uint32_t)all[i];
    }
    mem_free(all);
}

/* Bytes that no edge tells apart. */
static void find_classes(struct program *p)
{
    bool begins[257] = {true};
    for (uint32_t i = 0; i < p->n_edge; i++)
        begins[p->edges[i].lo] = begins[p->edges[i].hi + 1] = true;
    for (int byte = 0; byte < 256; byte++) {
        if (begins[byte])
            p->class_byte[p->n_class++] = (uint8_t)byte;
        p->byte_class[byte] = (uint8_t)(p->n_class - 1);
    }
}

enum status program_finish(struct builder *b)
{
    if (!b->status)
        check_rules(b);
    if (!b->status)
        find_turns(b);
    if (!b->status)
        find_classes(b->p);
    for (uint32_t r = 0; r < b->p->n_rule; r++)
        b->p->rules[r].name = NULL; // of the builder's arena
    return b->status;
}
