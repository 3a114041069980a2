/* policy_fleet.c - backends and models to slots, pools and rings. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/policy_impl.h"

enum {
    POINTS = 40, // of a ring, for a backend of mean weight
};

/* A name of a model as it was given, and where it is put. */
struct named {
    const char *name;
    int slot, order;
    const char *served;
};

static int named_order(const void *x, const void *y)
{
    const struct named *a = x, *b = y;
    const int by_name = strcmp(a->name, b->name);
    return by_name              ? by_name
           : a->slot != b->slot ? a->slot - b->slot
                                : a->order - b->order;
}

static int point_order(const void *x, const void *y)
{
    const struct policy_point *a = x, *b = y;
    return a->hash != b->hash ? (a->hash > b->hash) - (a->hash < b->hash)
                              : a->slot - b->slot;
}

void policy_release_layout(struct policy_layout *l)
{
    arena_release(&l->arena);
    *l = (struct policy_layout){.any = POLICY_NONE};
}

/* The first name that is not before name[0..n), if it is that one. */
static int name_at(const struct policy_layout *l, const char *name, size_t n)
{
    int low = 0, high = l->n_name;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (strncmp(l->names[mid].name, name, n) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    const bool found = low < l->n_name && !strncmp(l->names[low].name, name, n) &&
                       !l->names[low].name[n];
    return found ? low : POLICY_NONE;
}

/* Names are kept without ":latest", which is the same as no tag. */
static size_t bare_length(const char *name)
{
    static const char latest[] = ":latest";
    const size_t n = strlen(name), k = sizeof latest - 1;
    return n > k && !strcmp(name + n - k, latest) ? n - k : n;
}

int policy_find_name(const struct policy *p, const char *name)
{
    const int i = name_at(&p->layout, name, bare_length(name));
    return i >= 0 ? i : p->layout.any;
}

static const struct policy_served *served_by(const struct policy *p,
                                             const struct policy_slot *s, int name)
{
    const struct policy_served *of = p->layout.served + s->first_model;
    const struct policy_served *any = NULL;
    for (int i = 0; i < s->n_model; i++) {
        if (of[i].name == name)
            return of + i;
        if (of[i].name == p->layout.any)
            any = of + i;
    }
    return any;
}

bool policy_serves(const struct policy *p, const struct policy_slot *s, int name,
                   enum policy_lane lane)
{
    const enum policy_class other =
        lane == POLICY_LONG ? POLICY_CLASS_SHORT : POLICY_CLASS_LONG;
    return s->class != other && !s->off && !s->gone && served_by(p, s, name);
}

const char *policy_served_name(const struct policy *p, const struct policy_slot *s,
                               int name)
{
    const struct policy_served *of = served_by(p, s, name);
    return of ? of->served : NULL;
}

enum status policy_no_memory(struct error *err)
{
    return fail(err, STATUS_NO_MEMORY, "no memory for the fleet's tables");
}

/* ---- pools ---- */

static bool same_members(const struct policy_pool *a, const int32_t *member, int n)
{
    return a->n_member == n && !memcmp(a->member, member, (size_t)n * sizeof *member);
}

static enum status make_ring(const struct policy_slot *slots, struct policy_layout *l,
                             struct policy_pool *pool, struct error *err)
{
    int64_t weights = 0;
    for (int i = 0; i < pool->n_member; i++)
        weights += slots[pool->member[i]].weight;
    const double unit = weights ? POINTS * (double)pool->n_member / (double)weights : 0;
    pool->ring = arena_array(&l->arena, (size_t)pool->n_member * (POINTS + 4) + 1,
                             sizeof *pool->ring);
    while ((1 << pool->bits) < pool->n_member * POINTS / 4)
        pool->bits++;
    pool->starts = arena_array(&l->arena, (size_t)1 << pool->bits, sizeof *pool->starts);
    if (!pool->ring || !pool->starts)
        return policy_no_memory(err);
    for (int i = 0; i < pool->n_member; i++) {
        const struct policy_slot *s = &slots[pool->member[i]];
        const int n = 1 + (int)(unit * s->weight);
        for (int k = 0; k < n; k++)
            pool->ring[pool->n_point++] = (struct policy_point){
                rng_at(s->id, (uint64_t)k), (int32_t)pool->member[i]};
    }
    qsort(pool->ring, (size_t)pool->n_point, sizeof *pool->ring, point_order);
    int at = 0;
    for (uint32_t b = 0; b < 1u << pool->bits; b++) {
        const uint64_t from = pool->bits ? (uint64_t)b << (64 - pool->bits) : 0;
        while (at < pool->n_point && pool->ring[at].hash < from)
            at++;
        pool->starts[b] = (uint32_t)at;
    }
    return STATUS_OK;
}

/* The pool with these members: names of the same backends share one. */
static enum status find_pool(const struct policy_slot *slots, struct policy_layout *l,
                             int *out, const int32_t *member, int n, struct error *err)
{
    for (int i = l->n_pool - 1; i >= 0; i--)
        if (same_members(&l->pools[i], member, n)) {
            *out = i;
            return STATUS_OK;
        }
    struct policy_pool *pool = &l->pools[l->n_pool];
    *pool = (struct policy_pool){.n_member = n, .min_ctx = INT_MAX};
    pool->member = arena_array(&l->arena, (size_t)n + 1, sizeof *pool->member);
    if (!pool->member)
        return policy_no_memory(err);
    for (int i = 0; i < n; i++) {
        const int n_ctx = slots[member[i]].n_ctx;
        pool->member[i] = member[i];
        if (n_ctx == 0)
            pool->unknown_ctx = true;
        else if (n_ctx < pool->min_ctx)
            pool->min_ctx = n_ctx;
    }
    *out = l->n_pool++;
    return make_ring(slots, l, pool, err);
}

/* Both pools of a name: those of `listed` [n], ascending by slot, and of `any`. */
static enum status pools_of(const struct policy_slot *slots, struct policy_layout *l,
                            struct policy_name *name, const struct named *listed, int n,
                            const struct named *any, int n_any, int32_t *scratch,
                            struct error *err)
{
    for (int lane = 0; lane < 2; lane++) {
        const enum policy_class other = lane ? POLICY_CLASS_SHORT : POLICY_CLASS_LONG;
        int k = 0;
        for (int i = 0, j = 0; i < n || j < n_any;) {
            const bool first = j >= n_any || (i < n && listed[i].slot <= any[j].slot);
            const int slot = first ? listed[i++].slot : any[j++].slot;
            const struct policy_slot *s = &slots[slot];
            if (s->class != other && !s->off && (!k || scratch[k - 1] != slot))
                scratch[k++] = slot;
        }
        const enum status st = find_pool(slots, l, &name->pool[lane], scratch, k, err);
        if (st)
            return st;
    }
    return STATUS_OK;
}

/* Which pools a backend is in, for all backends. */
static enum status list_memberships(struct policy_slot *slots, int n_slot,
                                    struct policy_layout *l, struct error *err)
{
    size_t total = 0;
    for (int i = 0; i < n_slot; i++)
        slots[i].n_pool = 0;
    for (int i = 0; i < l->n_pool; i++)
        for (int k = 0; k < l->pools[i].n_member; k++, total++)
            slots[l->pools[i].member[k]].n_pool++;
    l->memberships = arena_array(&l->arena, total + 1, sizeof *l->memberships);
    if (!l->memberships)
        return policy_no_memory(err);
    int at = 0;
    for (int i = 0; i < n_slot; i++) {
        slots[i].first_pool = at;
        at += slots[i].n_pool;
        slots[i].n_pool = 0;
    }
    for (int i = 0; i < l->n_pool; i++)
        for (int k = 0; k < l->pools[i].n_member; k++) {
            struct policy_slot *s = &slots[l->pools[i].member[k]];
            l->memberships[s->first_pool + s->n_pool++] = i;
        }
    return STATUS_OK;
}

/* ---- names ---- */

static int threshold_for(const struct policy *p, const struct policy_fleet *f,
                         const char *name)
{
    for (int i = 0; i < f->n_threshold; i++) {
        const size_t n = bare_length(f->thresholds[i].model);
        if (!strncmp(f->thresholds[i].model, name, n) && !name[n])
            return f->thresholds[i].tokens;
    }
    return p->o.threshold;
}

/* All names of the fleet with their slots, sorted; NULL without memory. */
static struct named *sort_names(struct policy_layout *l, const struct policy_fleet *f,
                                const int *index, int *n)
{
    size_t total = 0;
    for (int i = 0; i < f->n_backend; i++)
        total += (size_t)f->backends[i].n_model;
    struct named *all = mem_array(total + 1, sizeof *all);
    *n = 0;
    for (int i = 0; all && i < f->n_backend; i++)
        for (int k = 0; k < f->backends[i].n_model; k++) {
            const struct policy_model *m = &f->backends[i].models[k];
            const char *name = arena_strndup(&l->arena, m->name, bare_length(m->name));
            const char *served =
                m->served ? arena_strndup(&l->arena, m->served, strlen(m->served)) : NULL;
            if (!name || (m->served && !served)) {
                mem_free(all);
                return NULL;
            }
            all[(*n)++] = (struct named){name, index[i], k, served};
        }
    if (all)
        qsort(all, (size_t)*n, sizeof *all, named_order);
    return all;
}

/* The names that each slot serves. */
static void list_served(struct policy_slot *slots, int n_slot, struct policy_layout *l,
                        const struct named *all, int n)
{
    for (int i = 0; i < n; i++)
        slots[all[i].slot].n_model++;
    int at = 0;
    for (int i = 0; i < n_slot; i++) {
        slots[i].first_model = at;
        at += slots[i].n_model;
        slots[i].n_model = 0;
    }
    for (int i = 0, name = -1; i < n; i++) {
        struct policy_slot *s = &slots[all[i].slot];
        name += i == 0 || strcmp(all[i].name, all[i - 1].name) != 0;
        l->served[s->first_model + s->n_model++] =
            (struct policy_served){name, all[i].served};
    }
}

enum status policy_make_layout(const struct policy *p, struct policy_layout *l,
                               struct policy_slot *slots, int n_slot,
                               const struct policy_fleet *f, const int *index,
                               struct error *err)
{
    int n = 0, n_name = 0, any_at = 0, n_any = 0;
    enum status st = STATUS_OK;
    struct named *all = sort_names(l, f, index, &n);
    int32_t *scratch = mem_array((size_t)n_slot + 1, sizeof *scratch);
    for (int i = 0; all && i < n; i++) {
        n_name += i == 0 || strcmp(all[i].name, all[i - 1].name) != 0;
        if (!strcmp(all[i].name, "*")) {
            any_at = n_any ? any_at : i;
            n_any++;
        }
    }
    l->names = arena_array(&l->arena, (size_t)n_name + 1, sizeof *l->names);
    l->pools = arena_array(&l->arena, 2 * (size_t)n_name + 1, sizeof *l->pools);
    l->served = arena_array(&l->arena, (size_t)n + 1, sizeof *l->served);
    if (!all || !scratch || !l->names || !l->pools || !l->served)
        st = policy_no_memory(err);
    else if (n_name > POLICY_MODELS_MAX)
        st = fail(err, STATUS_LIMIT, "%d models in a fleet; at most %d", n_name,
                  POLICY_MODELS_MAX);
    for (int i = 0; !st && i < n;) {
        int end = i;
        while (end < n && !strcmp(all[end].name, all[i].name))
            end++;
        struct policy_name *name = &l->names[l->n_name];
        name->name = all[i].name;
        name->threshold = threshold_for(p, f, name->name);
        if (n_any && i == any_at)
            l->any = l->n_name;
        l->n_name++;
        st = pools_of(slots, l, name, all + i, end - i, all + any_at,
                      i == any_at ? 0 : n_any, scratch, err);
        i = end;
    }
    if (!st)
        list_served(slots, n_slot, l, all, n);
    if (!st)
        st = list_memberships(slots, n_slot, l, err);
    mem_free(scratch);
    mem_free(all);
    return st;
}
