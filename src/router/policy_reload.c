/* policy_reload.c - a fleet takes the place of another: who keeps which index. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/policy_impl.h"

enum {
    SERVED_MAX = 1 << 20,     // names of all backends together
    LAYOUT_BYTES = 512 << 20, // of everything that a fleet needs
};

/* An id and its index. */
struct known_id {
    uint64_t id;
    int at;
};

static int known_order(const void *x, const void *y)
{
    const struct known_id *a = x, *b = y;
    return (a->id > b->id) - (a->id < b->id);
}

static enum status check_fleet(const struct policy_fleet *f, struct error *err)
{
    int64_t n_model = 0;
    if (f->n_backend < 0 || f->n_backend > POLICY_BACKENDS_MAX)
        return fail(err, STATUS_LIMIT, "%d backends; at most %d", f->n_backend,
                    POLICY_BACKENDS_MAX);
    for (int i = 0; i < f->n_backend; i++) {
        const struct policy_backend *b = &f->backends[i];
        if (!b->id || b->weight < 1 || b->weight > 100 || b->limit < 0 || b->n_ctx < 0)
            return fail(err, STATUS_BAD_ARG,
                        "backend %d: weight %d (1 to 100), limit %d and context %d (0 or "
                        "more)",
                        i + 1, b->weight, b->limit, b->n_ctx);
        for (int k = 0; k < b->n_model; k++) {
            const size_t n = strlen(b->models[k].name);
            if (!n || n >= POLICY_NAME_MAX)
                return fail(err, STATUS_BAD_ARG,
                            "backend %d: a model's name of %zu bytes", i + 1, n);
        }
        n_model += b->n_model;
    }
    if (n_model > SERVED_MAX)
        return fail(err, STATUS_LIMIT, "%lld names of models in a fleet; at most %d",
                    (long long)n_model, SERVED_MAX);
    return STATUS_OK;
}

static enum status check_ids(const struct policy_fleet *f, struct known_id *ids,
                             struct error *err)
{
    for (int i = 0; i < f->n_backend; i++)
        ids[i] = (struct known_id){f->backends[i].id, i};
    qsort(ids, (size_t)f->n_backend, sizeof *ids, known_order);
    for (int i = 1; i < f->n_backend; i++)
        if (ids[i].id == ids[i - 1].id)
            return fail(err, STATUS_BAD_ARG, "backends %d and %d are the same",
                        ids[i - 1].at + 1, ids[i].at + 1);
    return STATUS_OK;
}

/* Which slot each backend gets: that of its id, else one that nothing is left of, else a
 * new one.  known [n_slot] and taken [n_slot] are scratch. */
static int choose_slots(const struct policy *p, const struct policy_fleet *f, int *index,
                        struct known_id *known, bool *taken)
{
    int n_known = 0, n_slot = p->n_slot, vacant = 0;
    for (int i = 0; i < p->n_slot; i++)
        known[n_known++] = (struct known_id){p->slots[i].id, i};
    qsort(known, (size_t)n_known, sizeof *known, known_order);
    for (int i = 0; i < f->n_backend; i++) {
        const struct known_id key = {f->backends[i].id, 0};
        const struct known_id *k =
            bsearch(&key, known, (size_t)n_known, sizeof *known, known_order);
        index[i] = k ? k->at : POLICY_NONE;
        if (k)
            taken[k->at] = true;
    }
    for (int i = 0; i < f->n_backend; i++) {
        if (index[i] >= 0)
            continue;
        while (vacant < p->n_slot &&
               (taken[vacant] || !p->slots[vacant].gone || p->slots[vacant].in_flight))
            vacant++;
        index[i] = vacant < p->n_slot ? vacant++ : n_slot++;
    }
    return n_slot;
}

/* back: it was dropped before, and what was asked of it then never ends. */
static void fill_slot(struct policy_slot *s, const struct policy_backend *b, bool back,
                      uint64_t now_us)
{
    if (back && s->id == b->id) {
        s->probing = s->trying = false;
        s->probe_us = b->lazy ? POLICY_NEVER : now_us;
        if (b->lazy)
            s->health = POLICY_HEALTH_STOPPED;
    }
    if (s->id != b->id) {
        const uint32_t birth = s->birth + 1;
        *s = (struct policy_slot){.id = b->id, .birth = birth};
        s->health = b->lazy ? POLICY_HEALTH_STOPPED : POLICY_HEALTH_UP;
        s->probe_us = b->lazy ? POLICY_NEVER : now_us;
        s->seen_us = now_us;
    }
    if (!b->lazy && s->health == POLICY_HEALTH_STOPPED) { // somebody else starts it now
        s->health = POLICY_HEALTH_UP;
        s->probing = false;
        s->probe_us = now_us;
    }
    s->gone = false;
    s->class = b->class;
    s->dialects = b->dialects ? b->dialects : ~0u;
    s->n_ctx = b->n_ctx, s->weight = b->weight, s->limit = b->limit;
    s->off = b->off, s->lazy = b->lazy;
}

/* The slots as they will be: in no pool yet, and those not in f gone. */
static void fill_slots(struct policy_slot *slots, int n_slot, const struct policy *p,
                       const struct policy_fleet *f, const int *index, uint64_t now_us)
{
    if (p->n_slot)
        memcpy(slots, p->slots, (size_t)p->n_slot * sizeof *slots);
    for (int i = 0; i < n_slot; i++) {
        slots[i].gone = true;
        slots[i].ready = false;
        slots[i].n_model = slots[i].first_model = 0;
        slots[i].sum_share = slots[i].sum_load = slots[i].sum_window = 0;
        slots[i].sum_well = slots[i].sum_open = slots[i].sum_trial = false;
    }
    for (int i = 0; i < f->n_backend; i++)
        fill_slot(&slots[index[i]], &f->backends[i],
                  index[i] < p->n_slot && p->slots[index[i]].gone, now_us);
}

/* What a new fleet needs of memory; taken over, or freed. */
struct reload {
    struct policy_slot *slots;
    double *medians;
    int *ready, *index;
    struct known_id *ids, *known;
    bool *taken;
    struct policy_layout layout;
};

static enum status open_reload(struct reload *n, const struct policy *p,
                               const struct policy_fleet *f, struct error *err)
{
    const size_t n_backend = (size_t)f->n_backend + 1, n_old = (size_t)p->n_slot + 1;
    const size_t n_slot = n_backend + n_old; // at most
    n->layout.any = POLICY_NONE;
    arena_init(&n->layout.arena, LAYOUT_BYTES);
    n->slots = mem_array(n_slot, sizeof *n->slots);
    n->medians = mem_array(n_slot, sizeof *n->medians);
    n->ready = mem_array(n_slot, sizeof *n->ready);
    n->index = mem_array(n_backend, sizeof *n->index);
    n->ids = mem_array(n_backend, sizeof *n->ids);
    n->known = mem_array(n_old, sizeof *n->known);
    n->taken = mem_array(n_old, sizeof *n->taken);
    if (!n->slots || !n->medians || !n->ready || !n->index || !n->ids || !n->known ||
        !n->taken)
        return policy_no_memory(err);
    return STATUS_OK;
}

static void close_reload(struct reload *n)
{
    mem_free(n->slots);
    mem_free(n->medians);
    mem_free(n->ready);
    mem_free(n->index);
    mem_free(n->ids);
    mem_free(n->known);
    mem_free(n->taken);
    policy_release_layout(&n->layout);
}

/* p takes over what n has; n gets what p had. */
static void swap_fleet(struct policy *p, struct reload *n)
{
    const struct reload last = {
        .slots = p->slots, .medians = p->medians, .ready = p->ready, .layout = p->layout};
    p->slots = n->slots, p->medians = n->medians;
    p->ready = n->ready, p->layout = n->layout;
    n->slots = last.slots, n->medians = last.medians;
    n->ready = last.ready, n->layout = last.layout;
}

enum status policy_reload(struct policy *p, const struct policy_fleet *f, uint64_t now_us,
                          int *index, struct error *err)
{
    struct reload n = {0};
    enum status st = check_fleet(f, err);
    if (!st)
        st = open_reload(&n, p, f, err);
    if (!st)
        st = check_ids(f, n.ids, err);
    if (!st) {
        const int n_slot = choose_slots(p, f, n.index, n.known, n.taken);
        if (n_slot > POLICY_BACKENDS_MAX)
            st = fail(err, STATUS_LIMIT,
                      "%d backends, with those that still answer; at "
                      "most %d",
                      n_slot, POLICY_BACKENDS_MAX);
        if (!st) {
            fill_slots(n.slots, n_slot, p, f, n.index, now_us);
            st = policy_make_layout(p, &n.layout, n.slots, n_slot, f, n.index, err);
        }
        if (!st) {
            swap_fleet(p, &n);
            p->n_slot = n_slot;
            p->n_ready = 0;
            for (int i = p->oldest; i >= 0; i = p->waiting[i].newer) {
                struct policy_ask *a = &p->waiting[i].ask;
                a->name = policy_find_name(p, a->r.model);
                p->waiting[i].wait.old = true;
            }
            p->pass_us = p->change_us = 0;
            policy_advance(p, now_us);
            for (int i = 0; i < f->n_backend && index; i++)
                index[i] = n.index[i];
        }
    }
    close_reload(&n);
    return st;
}
