/* program.c - the tables of a program and how they grow. */
#include "grammar/program.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

void program_release(struct program *p)
{
    mem_free(p->nodes);
    mem_free(p->edges);
    mem_free(p->outs);
    mem_free(p->rules);
    mem_free(p->tests);
    mem_free(p->counters);
    mem_free(p->turns);
    *p = (struct program){0};
}

enum status builder_fail(struct builder *b, enum status s, const char *fmt, ...)
{
    if (b->status)
        return b->status;
    b->status = s;
    if (b->err) {
        va_list ap;
        const int n = snprintf(b->err->text, sizeof b->err->text, "%s%s", b->where,
                               b->where[0] ? ": " : "");
        va_start(ap, fmt);
        vsnprintf(b->err->text + n, sizeof b->err->text - (size_t)n, fmt, ap);
        va_end(ap);
        b->err->status = s;
    }
    return s;
}

static void builder_no_memory(struct builder *b)
{
    builder_fail(b, STATUS_NO_MEMORY, "no memory for the grammar");
}

bool builder_work(struct builder *b, uint32_t n)
{
    if (n > GRAMMAR_WORK - b->work)
        builder_fail(b, STATUS_LIMIT, "the grammar is too large to compile");
    else
        b->work += n;
    return !b->status;
}

void *builder_array(struct builder *b, size_t n, size_t size)
{
    void *p = arena_array(b->arena, n ? n : 1, size);
    if (!p)
        builder_fail(b, STATUS_LIMIT,
                     "the grammar is too large: it takes more than %d MB",
                     GRAMMAR_ARENA_BYTES >> 20);
    return p;
}

/* Room for `more` elements behind n in *p; false is a failure. */
static bool table_room(struct builder *b, void *table, uint32_t *cap, uint32_t n,
                       uint32_t more, uint32_t max, size_t size)
{
    if (b->status)
        return false;
    if (more > max || n > max - more) {
        builder_fail(b, STATUS_LIMIT, "the grammar is too large: more than %u nodes",
                     (unsigned)GRAMMAR_NODES);
        return false;
    }
    if (n + more <= *cap)
        return true;
    uint32_t want = *cap ? 2 * *cap : 256;
    while (want < n + more)
        want *= 2;
    void *old, *p;
    memcpy(&old, table, sizeof old);
    p = mem_resize(old, want, size);
    if (!p) {
        builder_no_memory(b);
        return false;
    }
    memcpy(table, &p, sizeof p);
    *cap = want;
    return true;
}

void builder_init(struct builder *b, struct program *p, struct arena *arena,
                  struct error *err)
{
    *b = (struct builder){.p = p, .arena = arena, .err = err};
    *p = (struct program){0};
    if (table_room(b, &p->nodes, &b->node_cap, 0, 1, GRAMMAR_NODES, sizeof *p->nodes))
        p->nodes[p->n_node++] = (struct node){.op = NODE_RETURN};
}

void builder_release(struct builder *b)
{
    mem_free(b->slots);
    b->slots = NULL;
}

static uint64_t node_hash(const struct program *p, const struct node *v)
{
    uint64_t h = rng_mix((uint64_t)v->op << 32 | v->n);
    h = rng_mix(h ^ ((uint64_t)v->next << 32));
    if (v->op == NODE_BYTES)
        for (uint32_t i = 0; i < v->n; i++) {
            const struct edge *e = &p->edges[v->a + i];
            h = rng_mix(h ^ ((uint64_t)e->next << 16 | (uint64_t)e->lo << 8 | e->hi));
        }
    else if (v->op == NODE_SPLIT)
        for (uint32_t i = 0; i < v->n; i++)
            h = rng_mix(h ^ p->outs[v->a + i]);
    else
        h = rng_mix(h ^ v->a);
    return h;
}

static bool node_equal(const struct program *p, const struct node *x,
                       const struct node *y)
{
    if (x->op != y->op || x->n != y->n || x->next != y->next)
        return false;
    if (x->op == NODE_SPLIT)
        return !memcmp(p->outs + x->a, p->outs + y->a, x->n * sizeof *p->outs);
    if (x->op != NODE_BYTES)
        return x->a == y->a;
    for (uint32_t i = 0; i < x->n; i++) {
        const struct edge *e = &p->edges[x->a + i], *f = &p->edges[y->a + i];
        if (e->next != f->next || e->lo != f->lo || e->hi != f->hi)
            return false;
    }
    return true;
}

/* The slot of a node equal to v, or the empty one where it belongs. */
static uint32_t *node_slot(struct builder *b, const struct node *v)
{
    uint32_t i = (uint32_t)node_hash(b->p, v) & (b->slot_cap - 1);
    while (b->slots[i] && !node_equal(b->p, &b->p->nodes[b->slots[i]], v))
        i = (i + 1) & (b->slot_cap - 1);
    return &b->slots[i];
}

static bool node_slots_grow(struct builder *b)
{
    uint32_t *old = b->slots;
    const uint32_t n_old = b->slot_cap;
    b->slots = mem_array(n_old ? 2 * n_old : 1024, sizeof *b->slots);
    if (!b->slots) {
        b->slots = old;
        builder_no_memory(b);
        return false;
    }
    b->slot_cap = n_old ? 2 * n_old : 1024;
    for (uint32_t i = 0; i < n_old; i++)
        if (old[i])
            *node_slot(b, &b->p->nodes[old[i]]) = old[i];
    mem_free(old);
    return true;
}

/* v, or the node that is equal to it. */
static uint32_t node_add(struct builder *b, struct node v)
{
    struct program *p = b->p;
    if (!builder_work(b, 1 + v.n))
        return 0;
    if (2 * (p->n_node + 1) > b->slot_cap && !node_slots_grow(b))
        return 0;
    uint32_t *slot = node_slot(b, &v);
    if (*slot)
        return *slot;
    if (!table_room(b, &p->nodes, &b->node_cap, p->n_node, 1, GRAMMAR_NODES,
                    sizeof *p->nodes))
        return 0;
    p->nodes[p->n_node] = v;
    return *slot = p->n_node++;
}

uint32_t build_bytes(struct builder *b, const struct edge *edges, uint32_t n)
{
    struct program *p = b->p;
    if (!table_room(b, &p->edges, &b->edge_cap, p->n_edge, n, 2 * GRAMMAR_NODES,
                    sizeof *p->edges))
        return 0;
    const uint32_t first = p->n_edge;
    uint32_t end = first;
    for (uint32_t i = 0; i < n; i++) {
        struct edge *last = end > first ? &p->edges[end - 1] : NULL;
        if (last && last->next == edges[i].next && last->hi + 1 == edges[i].lo)
            last->hi = edges[i].hi;
        else
            p->edges[end++] = edges[i];
    }
    const uint32_t before = p->n_node;
    const uint32_t node =
        node_add(b, (struct node){.op = NODE_BYTES, .a = first, .n = end - first});
    if (p->n_node != before)
        p->n_edge = end;
    return node;
}

uint32_t build_byte(struct builder *b, uint8_t lo, uint8_t hi, uint32_t next)
{
    const struct edge e = {next, lo, hi};
    return build_bytes(b, &e, 1);
}

uint32_t build_text(struct builder *b, const char *s, size_t n, uint32_t next)
{
    while (n-- && !b->status)
        next = build_byte(b, (uint8_t)s[n], (uint8_t)s[n], next);
    return next;
}

/* Append to[], each node once; returns how many. */
static uint32_t outs_add(struct builder *b, const uint32_t *to, uint32_t n)
{
    struct program *p = b->p;
    if (!table_room(b, &p->outs, &b->out_cap, p->n_out, n, 2 * GRAMMAR_NODES,
                    sizeof *p->outs))
        return 0;
    uint32_t *outs = p->outs + p->n_out, count = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool seen = to[i] == GRAMMAR_NONE;
        for (uint32_t k = 0; !seen && n <= 64 && k < count; k++)
            seen = outs[k] == to[i];
        if (!seen)
            outs[count++] = to[i];
    }
    return count;
}

uint32_t build_split(struct builder *b, const uint32_t *to, uint32_t n)
{
    struct program *p = b->p;
    const uint32_t count = outs_add(b, to, n);
    if (count <= 1)
        return count ? p->outs[p->n_out] : GRAMMAR_NONE;
    const uint32_t before = p->n_node;
    const uint32_t node =
        node_add(b, (struct node){.op = NODE_SPLIT, .a = p->n_out, .n = count});
    if (p->n_node != before)
        p->n_out += count;
    return node;
}

uint32_t build_either(struct builder *b, uint32_t x, uint32_t y)
{
    return build_split(b, (const uint32_t[]){x, y}, 2);
}

uint32_t build_call(struct builder *b, uint32_t rule, uint32_t next)
{
    return node_add(b, (struct node){.op = NODE_CALL, .a = rule, .next = next});
}

uint32_t build_chars(struct builder *b, uint32_t set, uint32_t next)
{
    return node_add(b, (struct node){.op = NODE_CHARS, .a = set, .next = next});
}

uint32_t build_loop(struct builder *b)
{
    struct program *p = b->p;
    if (!builder_work(b, 1) || !table_room(b, &p->nodes, &b->node_cap, p->n_node, 1,
                                           GRAMMAR_NODES, sizeof *p->nodes))
        return 0;
    p->nodes[p->n_node] = (struct node){.op = NODE_SPLIT};
    return p->n_node++;
}

void build_loop_close(struct builder *b, uint32_t loop, const uint32_t *to, uint32_t n)
{
    const uint32_t count = outs_add(b, to, n);
    if (b->status)
        return;
    b->p->nodes[loop].a = b->p->n_out;
    b->p->nodes[loop].n = count;
    b->p->n_out += count;
}

uint32_t build_counter(struct builder *b)
{
    struct program *p = b->p;
    if (!table_room(b, &p->counters, &b->counter_cap, p->n_counter, 1, GRAMMAR_NODES,
                    sizeof *p->counters))
        return 0;
    p->counters[p->n_counter] = (struct counter){0};
    return p->n_counter++;
}

uint32_t build_push(struct builder *b, uint32_t counter, uint32_t next)
{
    return node_add(b, (struct node){.op = NODE_PUSH, .a = counter, .next = next});
}

uint32_t build_step(struct builder *b, uint32_t counter, uint32_t next)
{
    return node_add(b, (struct node){.op = NODE_STEP, .a = counter, .next = next});
}

uint32_t build_pop(struct builder *b, uint32_t counter, uint32_t next)
{
    return node_add(b, (struct node){.op = NODE_POP, .a = counter, .next = next});
}

uint32_t build_test(struct builder *b, uint32_t counter, uint32_t lo, uint32_t hi,
                    uint32_t next)
{
    struct program *p = b->p;
    if (lo == 0 && hi == GRAMMAR_FOREVER)
        return next;
    if (!table_room(b, &p->tests, &b->test_cap, p->n_test, 1, GRAMMAR_NODES,
                    sizeof *p->tests))
        return 0;
    p->tests[p->n_test] = (struct count_test){counter, lo, hi};
    return node_add(b, (struct node){.op = NODE_TEST, .a = p->n_test++, .next = next});
}

uint32_t build_rule(struct builder *b, const char *name, size_t n)
{
    struct program *p = b->p;
    if (p->n_rule >= GRAMMAR_RULES) {
        builder_fail(b, STATUS_LIMIT, "the grammar has more than %d rules",
                     GRAMMAR_RULES);
        return 0;
    }
    if (!table_room(b, &p->rules, &b->rule_cap, p->n_rule, 1, GRAMMAR_RULES,
                    sizeof *p->rules))
        return 0;
    const char *copy = arena_strndup(b->arena, name, n);
    if (!copy) {
        builder_no_memory(b);
        return 0;
    }
    p->rules[p->n_rule] = (struct rule){copy, GRAMMAR_NONE};
    return p->n_rule++;
}
