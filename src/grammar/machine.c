/* machine.c - states of a text: sets of configurations, and how bytes move them. */
#include "grammar/machine.h"

#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

enum { VISITED_SLOTS = 2 * MACHINE_WAYS };

#define FRAME_COUNTER 0x80000000u
#define FRAME_FROZEN 0x80000000u
#define NODE_FREE (UINT32_MAX - 1)
#define SLACK_ANY UINT32_MAX

static size_t moves_count(const struct grammar *g)
{
    return (size_t)MACHINE_STATES * (size_t)g->program.n_class;
}

enum status machine_open(struct machine *m, const struct grammar *g, struct error *err)
{
    *m = (struct machine){
        .g = g,
        .frames = mem_array(MACHINE_FRAMES, sizeof *m->frames),
        .frame_slots = mem_array(2 * MACHINE_FRAMES, sizeof *m->frame_slots),
        .map = mem_array(MACHINE_FRAMES, sizeof *m->map),
        .states = mem_array(MACHINE_STATES, sizeof *m->states),
        .state_slots = mem_array(2 * MACHINE_STATES, sizeof *m->state_slots),
        .configs = mem_array(MACHINE_CONFIGS, sizeof *m->configs),
        .work = mem_array(MACHINE_WAYS, sizeof *m->work),
        .set = mem_array(MACHINE_WAYS, sizeof *m->set),
        .visited = mem_array(VISITED_SLOTS, sizeof *m->visited),
        .moves = mem_array(moves_count(g), sizeof *m->moves)};
    if (!m->frames || !m->frame_slots || !m->map || !m->states || !m->state_slots ||
        !m->configs || !m->work || !m->set || !m->visited || !m->moves)
        return fail(err, STATUS_NO_MEMORY, "no memory to follow a grammar");
    machine_clear(m);
    return STATUS_OK;
}

void machine_close(struct machine *m)
{
    mem_free(m->frames);
    mem_free(m->frame_slots);
    mem_free(m->map);
    mem_free(m->states);
    mem_free(m->state_slots);
    mem_free(m->configs);
    mem_free(m->work);
    mem_free(m->set);
    mem_free(m->visited);
    mem_free(m->moves);
    *m = (struct machine){0};
}

void machine_clear(struct machine *m)
{
    memset(m->frame_slots, 0, 2 * MACHINE_FRAMES * sizeof *m->frame_slots);
    memset(m->state_slots, 0, 2 * MACHINE_STATES * sizeof *m->state_slots);
    m->frames[0] = (struct frame){.slack = SLACK_ANY};
    m->n_frame = m->n_state = 1;
    m->n_config = 0;
    m->fault = FAULT_NONE;
}

/* Bytes until the verdict on a count of v may change. */
static uint32_t count_slack(const struct program *p, uint32_t counter, uint32_t v)
{
    const struct counter *c = &p->counters[counter];
    uint32_t lo = 0, hi = c->n;
    while (lo < hi) { // the first turn above v
        const uint32_t mid = (lo + hi) / 2;
        if (p->turns[c->first + mid] > v)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo < c->n ? p->turns[c->first + lo] - v - 1 : SLACK_ANY;
}

/* The least count with the verdicts of v. */
static uint32_t count_region(const struct program *p, uint32_t counter, uint32_t v)
{
    const struct counter *c = &p->counters[counter];
    uint32_t lo = 0, hi = c->n;
    while (lo < hi) {
        const uint32_t mid = (lo + hi) / 2;
        if (p->turns[c->first + mid] > v)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo ? p->turns[c->first + lo - 1] : 0;
}

static void set_fault(struct machine *m, enum machine_fault f)
{
    if (m->fault < f)
        m->fault = f;
}

/* The stack of a frame on a parent. */
static uint32_t frame_on(struct machine *m, uint32_t tag, uint32_t value, uint32_t parent)
{
    const uint64_t h =
        rng_mix(rng_mix((uint64_t)tag << 32 | value) ^ (uint64_t)parent << 7);
    uint32_t i = (uint32_t)h & (2 * MACHINE_FRAMES - 1);
    for (; m->frame_slots[i]; i = (i + 1) & (2 * MACHINE_FRAMES - 1)) {
        const struct frame *f = &m->frames[m->frame_slots[i]];
        if (f->tag == tag && f->value == value && f->parent == parent)
            return m->frame_slots[i];
    }
    if (m->n_frame == MACHINE_FRAMES) {
        set_fault(m, FAULT_FULL);
        return 0;
    }
    struct frame f = {.tag = tag,
                      .value = value,
                      .parent = parent,
                      .slack = m->frames[parent].slack,
                      .depth = m->frames[parent].depth + 1};
    if (tag & FRAME_COUNTER && !(value & FRAME_FROZEN)) {
        const uint32_t own = count_slack(&m->g->program, tag & ~FRAME_COUNTER, value);
        f.slack = own < f.slack ? own : f.slack;
    }
    m->frames[m->n_frame] = f;
    return m->frame_slots[i] = m->n_frame++;
}

static uint32_t stack_frozen(struct machine *m, uint32_t stack)
{
    if (!stack)
        return 0;
    const struct frame f = m->frames[stack];
    if (f.frozen)
        return f.frozen;
    uint32_t value = f.value;
    if (f.tag & FRAME_COUNTER && !(value & FRAME_FROZEN))
        value =
            FRAME_FROZEN | count_region(&m->g->program, f.tag & ~FRAME_COUNTER, f.value);
    const uint32_t parent = stack_frozen(m, f.parent);
    return m->frames[stack].frozen = m->fault ? 0 : frame_on(m, f.tag, value, parent);
}

static void way_add(struct machine *m, uint32_t node, uint32_t stack)
{
    uint32_t i = (uint32_t)rng_mix((uint64_t)node << 32 | stack) & (VISITED_SLOTS - 1);
    for (; m->visited[i].epoch == m->epoch; i = (i + 1) & (VISITED_SLOTS - 1))
        if (m->visited[i].c.node == node && m->visited[i].c.stack == stack)
            return;
    if (m->n_visited == MACHINE_WAYS) {
        set_fault(m, FAULT_LARGE);
        return;
    }
    m->n_visited++;
    m->visited[i].c = (struct config){node, stack};
    m->visited[i].epoch = m->epoch;
    m->work[m->n_work++] = (struct config){node, stack};
}

/* A frame on top, unless the stack is as deep as it may be. */
static void way_push(struct machine *m, uint32_t node, uint32_t tag, uint32_t value,
                     uint32_t parent)
{
    if (m->frames[parent].depth < MACHINE_DEPTH)
        way_add(m, node, frame_on(m, tag, value, parent));
}

static uint32_t root_entry(const struct machine *m)
{
    return m->g->program.rules[m->g->program.root].entry;
}

/* The root is complete. */
static void way_end(struct machine *m)
{
    m->accept = true;
    if (m->g->triggers.n && !m->g->once)
        way_add(m, NODE_FREE, 0);
}

static void way_count(struct machine *m, const struct node *v, const struct frame *top)
{
    const struct program *p = &m->g->program;
    const uint32_t count = top->value & ~FRAME_FROZEN;
    if (v->op == NODE_POP) {
        way_add(m, v->next, top->parent);
        return;
    }
    if (v->op == NODE_TEST) {
        const struct count_test *t = &p->tests[v->a];
        if (count >= t->lo && count <= t->hi)
            way_add(m, v->next, (uint32_t)(top - m->frames));
        return;
    }
    const struct counter *c = &p->counters[v->a];
    const uint32_t last = c->n ? p->turns[c->first + c->n - 1] : 0;
    if (top->value & FRAME_FROZEN || count >= last)
        way_add(m, v->next, (uint32_t)(top - m->frames));
    else
        way_add(m, v->next, frame_on(m, top->tag, count + 1, top->parent));
}

/* Follow all that needs no byte. */
static void follow_ways(struct machine *m)
{
    const struct program *p = &m->g->program;
    while (m->n_work && !m->fault) {
        const struct config c = m->work[--m->n_work];
        if (c.node == NODE_FREE) {
            m->set[m->n_set++] = c;
            continue;
        }
        const struct node *v = &p->nodes[c.node];
        switch (v->op) {
        case NODE_BYTES:
            m->set[m->n_set++] = c;
            break;
        case NODE_SPLIT:
            for (uint32_t i = 0; i < v->n; i++)
                way_add(m, p->outs[v->a + i], c.stack);
            break;
        case NODE_CALL:
            if (v->next == 0) // what would return returns at once
                way_add(m, p->rules[v->a].entry, c.stack);
            else
                way_push(m, p->rules[v->a].entry, v->next, 0, c.stack);
            break;
        case NODE_RETURN:
            if (c.stack)
                way_add(m, m->frames[c.stack].tag, m->frames[c.stack].parent);
            else
                way_end(m);
            break;
        case NODE_PUSH:
            way_push(m, v->next, FRAME_COUNTER | v->a, 0, c.stack);
            break;
        case NODE_STEP:
        case NODE_TEST:
        case NODE_POP:
            way_count(m, v, &m->frames[c.stack]);
            break;
        case NODE_CHARS:
            break;
        }
    }
}

static bool config_before(struct config x, struct config y)
{
    return x.node != y.node ? x.node < y.node : x.stack < y.stack;
}

/* In place and without memory: a heap. */
static void sort_configs(struct config *c, uint32_t n)
{
    for (uint32_t built = n / 2, end = n; end > 1;) {
        uint32_t at;
        if (built > 0) {
            at = --built;
        } else {
            const struct config top = c[0];
            c[0] = c[--end];
            c[end] = top;
            at = 0;
        }
        for (uint32_t kid; (kid = 2 * at + 1) < end; at = kid) {
            kid += kid + 1 < end && config_before(c[kid], c[kid + 1]);
            if (!config_before(c[at], c[kid]))
                break;
            const struct config swap = c[at];
            c[at] = c[kid];
            c[kid] = swap;
        }
    }
}

static uint16_t *state_slot(struct machine *m, const struct config *set, uint32_t n,
                            bool accept)
{
    uint64_t h = accept;
    for (uint32_t i = 0; i < n; i++)
        h = rng_mix(h ^ ((uint64_t)set[i].node << 32 | set[i].stack));
    h = rng_mix(h);
    uint32_t i = (uint32_t)h & (2 * MACHINE_STATES - 1);
    for (; m->state_slots[i]; i = (i + 1) & (2 * MACHINE_STATES - 1)) {
        const struct machine_state *s = &m->states[m->state_slots[i]];
        if (s->n == n && s->accept == accept &&
            !memcmp(m->configs + s->first, set, n * sizeof *set))
            break;
    }
    return &m->state_slots[i];
}

/* A state of configs [first .. first + n), which are in place. */
static uint16_t state_add(struct machine *m, uint16_t *slot, uint32_t first, uint32_t n,
                          bool accept)
{
    const uint16_t id = (uint16_t)m->n_state++;
    struct machine_state s = {.first = first,
                              .n = n,
                              .accept = accept,
                              .slack = SLACK_ANY,
                              .usual = MACHINE_FAULT,
                              .open = -1};
    for (uint32_t i = first; i < first + n; i++) {
        const struct config c = m->configs[i];
        if (c.node == NODE_FREE)
            s.free = true;
        else if (m->frames[c.stack].slack < s.slack)
            s.slack = m->frames[c.stack].slack;
    }
    m->states[id] = s;
    const size_t n_class = (size_t)m->g->program.n_class;
    memset(m->moves + id * n_class, 0xff, n_class * sizeof *m->moves);
    return *slot = id;
}

/* The state of what is in m->set. */
static uint16_t state_of_set(struct machine *m)
{
    if (m->fault)
        return MACHINE_FAULT;
    if (!m->n_set && !m->accept)
        return MACHINE_DEAD;
    sort_configs(m->set, m->n_set);
    uint16_t *slot = state_slot(m, m->set, m->n_set, m->accept);
    if (*slot)
        return *slot;
    if (m->n_state == MACHINE_STATES || m->n_set > MACHINE_CONFIGS - m->n_config) {
        set_fault(m, FAULT_FULL);
        return MACHINE_FAULT;
    }
    const uint32_t first = m->n_config;
    if (m->n_set)
        memcpy(m->configs + first, m->set, m->n_set * sizeof *m->set);
    m->n_config += m->n_set;
    return state_add(m, slot, first, m->n_set, m->accept);
}

static void ways_begin(struct machine *m)
{
    m->n_work = m->n_set = m->n_visited = 0;
    m->accept = false;
    m->fault = FAULT_NONE;
    if (++m->epoch == 0) {
        memset(m->visited, 0, VISITED_SLOTS * sizeof *m->visited);
        m->epoch = 1;
    }
}

uint16_t machine_start(struct machine *m)
{
    ways_begin(m);
    if (m->g->triggers.n)
        way_add(m, NODE_FREE, 0);
    else
        way_add(m, root_entry(m), 0);
    follow_ways(m);
    return state_of_set(m);
}

static const struct edge *edge_of(const struct program *p, const struct node *v,
                                  uint8_t byte)
{
    const struct edge *e = p->edges + v->a;
    uint32_t lo = 0, hi = v->n;
    while (lo < hi) { // the first edge that does not end below byte
        const uint32_t mid = (lo + hi) / 2;
        if (e[mid].hi < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < v->n && e[lo].lo <= byte ? &e[lo] : NULL;
}

uint16_t machine_step_slow(struct machine *m, uint16_t state, uint8_t byte)
{
    const struct program *p = &m->g->program;
    const struct machine_state *s = &m->states[state];
    if (state == MACHINE_DEAD)
        return MACHINE_DEAD;
    ways_begin(m);
    if (m->effort > MACHINE_EFFORT) {
        set_fault(m, FAULT_LARGE);
        return MACHINE_FAULT;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        const struct config c = m->configs[s->first + i];
        if (c.node == NODE_FREE) {
            const uint16_t to = m->g->triggers.go[c.stack][byte];
            if (m->g->triggers.done[to])
                way_add(m, root_entry(m), 0);
            else
                way_add(m, NODE_FREE, to);
        } else {
            const struct edge *e = edge_of(p, &p->nodes[c.node], byte);
            if (e)
                way_add(m, e->next, c.stack);
        }
    }
    follow_ways(m);
    m->effort += s->n + m->n_visited + 1;
    const uint16_t to = state_of_set(m);
    if (to != MACHINE_FAULT)
        m->moves[(size_t)state * (size_t)p->n_class + p->byte_class[byte]] = to;
    return to;
}

uint16_t machine_frozen(struct machine *m, uint16_t state)
{
    const struct machine_state *s = &m->states[state];
    if (s->slack == SLACK_ANY)
        return state;
    if (s->frozen)
        return s->frozen;
    ways_begin(m);
    m->accept = s->accept;
    for (uint32_t i = 0; i < s->n && !m->fault; i++) {
        struct config c = m->configs[s->first + i];
        if (c.node != NODE_FREE)
            c.stack = stack_frozen(m, c.stack);
        m->set[m->n_set++] = c;
    }
    // Stacks that differed in a count may be one now.
    sort_configs(m->set, m->n_set);
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_set; i++)
        if (!n || config_before(m->set[n - 1], m->set[i]))
            m->set[n++] = m->set[i];
    m->n_set = n;
    const uint16_t to = state_of_set(m);
    if (to != MACHINE_FAULT)
        m->states[state].frozen = to;
    return to;
}

/* Frames that the states still need keep their order, so parents stay in front. */
static void keep_frames(struct machine *m, uint32_t n_config)
{
    const uint32_t n = m->n_frame;
    memset(m->map, 0, n * sizeof *m->map);
    for (uint32_t i = 0; i < n_config; i++)
        if (m->configs[i].node != NODE_FREE)
            for (uint32_t f = m->configs[i].stack; f && !m->map[f];
                 f = m->frames[f].parent)
                m->map[f] = 1;
    memset(m->frame_slots, 0, 2 * MACHINE_FRAMES * sizeof *m->frame_slots);
    m->n_frame = 1;
    for (uint32_t f = 1; f < n; f++)
        if (m->map[f]) {
            const struct frame old = m->frames[f];
            m->map[f] = frame_on(m, old.tag, old.value, m->map[old.parent]);
        }
    for (uint32_t i = 0; i < n_config; i++)
        if (m->configs[i].node != NODE_FREE)
            m->configs[i].stack = m->map[m->configs[i].stack];
}

void machine_keep(struct machine *m, uint16_t *states, uint32_t n)
{
    // Rising numbers are rising places of configurations: they move to the front in
    // order.
    uint32_t n_config = 0, n_state = 1;
    for (uint32_t low = 0;;) {
        uint32_t id = UINT32_MAX;
        for (uint32_t i = 0; i < n; i++)
            if (states[i] > low && states[i] < id)
                id = states[i];
        if (id == UINT32_MAX)
            break;
        const struct machine_state s = m->states[id];
        memmove(m->configs + n_config, m->configs + s.first, s.n * sizeof *m->configs);
        m->states[n_state] = (struct machine_state){
            .first = n_config, .n = s.n, .accept = s.accept, .slot = (uint16_t)id};
        n_config += s.n;
        low = id;
        n_state++;
    }
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 1; k < n_state; k++)
            if (m->states[k].slot == states[i]) {
                states[i] = (uint16_t)k;
                break;
            }
    m->fault = FAULT_NONE;
    keep_frames(m, n_config);
    memset(m->state_slots, 0, 2 * MACHINE_STATES * sizeof *m->state_slots);
    m->n_config = n_config;
    m->n_state = 1;
    for (uint32_t k = 1; k < n_state; k++) {
        const struct machine_state s = m->states[k];
        sort_configs(m->configs + s.first, s.n);
        state_add(m, state_slot(m, m->configs + s.first, s.n, s.accept), s.first, s.n,
                  s.accept);
    }
}
