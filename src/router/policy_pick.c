/* policy_pick.c - one backend of a pool.
 *
 * Where the conversation or a prefix of the prompt is; else where its first prefix hashes
 * to, passing over those above their bound of the mean load (Mirrokni, Thorup and
 * Zadimoghaddam, arXiv 1608.01350), by jumps to other places of the ring rather than to
 * the neighbour, who would get all that spills (Chen, Coleman and Shrivastava, arXiv
 * 1908.08762); else the less loaded of two at random (Mitzenmacher, 1996).  When nothing
 * of this finds one, or most are taken, all are looked at. */
#include <limits.h>

#include "router/policy_impl.h"

enum {
    BOUND_HUNDRED = 100,
    HOME_EXTRA = 4,          // requests beyond twice the mean that go to their home
    HOME_US_PER_TOKEN = 200, // a prompt that is read elsewhere: 5,000 tokens a second
};

policy_place policy_place_of(const struct policy *p, int slot)
{
    return (policy_place)slot | p->slots[slot].birth << POLICY_SLOT;
}

int policy_slot_at(const struct policy *p, policy_place place)
{
    const int slot = (int)(place & ((1u << POLICY_SLOT) - 1));
    return slot < p->n_slot && policy_place_of(p, slot) == place ? slot : POLICY_NONE;
}

static bool was_tried(const struct policy_request *r, int slot)
{
    for (int i = 0; i < r->n_tried; i++)
        if (r->tried[i] == slot)
            return true;
    return false;
}

static bool holds(const struct policy_slot *s, const struct policy_search *q)
{
    return s->n_ctx ? q->need <= s->n_ctx : !q->as_fallback;
}

static bool may_ask(const struct policy *p, const struct policy_slot *s,
                    const struct policy_search *q)
{
    const struct policy_request *r = &q->ask->r;
    return (!r->dialects || (r->dialects & s->dialects)) &&
           !was_tried(r, (int)(s - p->slots));
}

bool policy_suits(const struct policy *p, const struct policy_slot *s,
                  const struct policy_search *q)
{
    return holds(s, q) && may_ask(p, s, q);
}

/* It can take the request now. */
static bool can_take(const struct policy *p, const struct policy_slot *s,
                     const struct policy_search *q)
{
    return s->sum_open && (q->from_queue || !p->n_waiting || !s->ready) &&
           policy_suits(p, s, q);
}

/* Requests of a window that no backend is passed over for.  Where the window before had
 * as many, they come little by little: if some took all of theirs at once, the others
 * would have to take all that comes later. */
static int64_t free_requests(const struct policy *p, const struct policy_pool *pool)
{
    const int64_t all = (int64_t)p->o.window_mean * pool->n_well;
    const bool busy = pool->window == p->window && 4 * pool->n_before >= 3 * all;
    return busy ? all * (20 + 80 * p->phase / 100) / 100 : all;
}

bool policy_under_bound(const struct policy *p, const struct policy_pool *pool,
                        const struct policy_slot *s)
{
    const int64_t least = free_requests(p, pool);
    const int64_t n = pool->window == p->window ? pool->n_window + 1 : 1;
    const int64_t mine = s->window == p->window ? s->n_window : 0;
    return (mine + 1) * pool->share * BOUND_HUNDRED <=
           p->o.bound_percent * s->sum_share * (n > least ? n : least);
}

/* Classic bounded load, of what is under way. */
static bool under_load_bound(const struct policy *p, const struct policy_pool *pool,
                             const struct policy_slot *s)
{
    return s->sum_load * pool->share * BOUND_HUNDRED <
           p->o.bound_percent * s->sum_share * (pool->load + 1);
}

static bool home_is_calm(const struct policy_pool *pool, const struct policy_slot *s)
{
    return (s->sum_load - HOME_EXTRA) * pool->share <= 2 * pool->load * s->sum_share;
}

/* a has less to do for its share than b. */
static bool less_loaded(const struct policy_slot *a, const struct policy_slot *b)
{
    return (a->sum_load + 1) * b->sum_share < (b->sum_load + 1) * a->sum_share;
}

static bool is_member(const struct policy_pool *pool, int slot)
{
    int low = 0, high = pool->n_member;
    while (low < high) {
        const int mid = (low + high) / 2;
        if (pool->member[mid] < slot)
            low = mid + 1;
        else
            high = mid;
    }
    return low < pool->n_member && pool->member[low] == slot;
}

static bool found(struct policy_search *q, int slot, enum policy_pick pick)
{
    q->slot = slot;
    q->pick = pick;
    return true;
}

/* ---- where it was before ---- */

/* The backend has what the request begins with.  If it is full, it may be worth a wait.
 */
static bool try_home(struct policy *p, struct policy_search *q, policy_place place,
                     enum policy_pick pick)
{
    const int slot = policy_slot_at(p, place);
    if (slot < 0 || !is_member(q->pool, slot))
        return false;
    struct policy_slot *s = &p->slots[slot];
    if (!policy_is_well(s) || !policy_suits(p, s, q) ||
        !policy_under_bound(p, q->pool, s))
        return false;
    if (can_take(p, s, q) && home_is_calm(q->pool, s))
        return found(q, slot, pick);
    if (!s->sum_open && q->home < 0)
        q->home = slot;
    return false;
}

static bool try_homes(struct policy *p, struct policy_search *q)
{
    const struct policy_request *r = &q->ask->r;
    if (r->session && !r->side) {
        const int e =
            policy_table_find(&p->sessions, r->session, p->o.session_us, q->now_us);
        if (e >= 0 && try_home(p, q, p->session[e].place, POLICY_PICK_SESSION))
            return true;
    }
    for (int i = r->n_prefix - 1; i > 0; i--) {
        const int e =
            policy_table_find(&p->prefixes, r->prefix[i], p->o.prefix_us, q->now_us);
        for (int k = 0; e >= 0 && k < p->prefix[e].n; k++)
            if (try_home(p, q, p->prefix[e].place[k], POLICY_PICK_PREFIX))
                return true;
    }
    return false;
}

/* What many conversations begin with: the least loaded of those that have it. */
static bool try_shared_prefix(struct policy *p, struct policy_search *q)
{
    const struct policy_request *r = &q->ask->r;
    const int e = r->n_prefix ? policy_table_find(&p->prefixes, r->prefix[0],
                                                  p->o.prefix_us, q->now_us)
                              : -1;
    int best = POLICY_NONE;
    for (int k = 0; e >= 0 && k < p->prefix[e].n; k++) {
        const int slot = policy_slot_at(p, p->prefix[e].place[k]);
        const struct policy_slot *s = slot >= 0 ? &p->slots[slot] : NULL;
        if (s && is_member(q->pool, slot) && can_take(p, s, q) &&
            under_load_bound(p, q->pool, s) && policy_under_bound(p, q->pool, s) &&
            (best < 0 || less_loaded(s, &p->slots[best])))
            best = slot;
    }
    return best >= 0 && found(q, best, POLICY_PICK_PREFIX);
}

/* ---- by hash, by chance ---- */

static int slot_on_ring(const struct policy_pool *pool, uint64_t hash)
{
    int i = (int)pool->starts[pool->bits ? hash >> (64 - pool->bits) : 0];
    while (i < pool->n_point && pool->ring[i].hash < hash)
        i++;
    return pool->ring[i < pool->n_point ? i : 0].slot;
}

static bool try_hash(struct policy *p, struct policy_search *q)
{
    const struct policy_request *r = &q->ask->r;
    const uint64_t key = r->n_prefix ? r->prefix[0] : r->side ? 0 : r->session;
    for (uint64_t jump = 0; key && jump < POLICY_JUMPS; jump++) {
        const int slot = slot_on_ring(q->pool, rng_at(key, jump));
        const struct policy_slot *s = &p->slots[slot];
        if (can_take(p, s, q) && under_load_bound(p, q->pool, s) &&
            policy_under_bound(p, q->pool, s))
            return found(q, slot, POLICY_PICK_HASH);
    }
    return false;
}

/* 0 .. n - 1 */
static int roll_die(uint64_t random, uint64_t k, int n)
{
    return (int)((rng_at(random, k) >> 32) * (uint64_t)n >> 32);
}

/* Member i, if it can take it and is not above its bound, else NULL. */
static const struct policy_slot *candidate(const struct policy *p,
                                           const struct policy_search *q, int i)
{
    const struct policy_slot *s = &p->slots[q->pool->member[i]];
    return can_take(p, s, q) && policy_under_bound(p, q->pool, s) ? s : NULL;
}

static bool try_choices(struct policy *p, struct policy_search *q)
{
    const int n = q->pool->n_member;
    for (uint64_t k = 0; n > 1 && k < POLICY_PAIRS; k++) {
        const int i = roll_die(q->random, 2 * k, n);
        const int j = (i + 1 + roll_die(q->random, 2 * k + 1, n - 1)) % n;
        const struct policy_slot *a = candidate(p, q, i), *b = candidate(p, q, j);
        /* One alone is not a choice while there may be two. */
        const bool last = n == 2 || k + 1 == POLICY_PAIRS;
        if (!(a && b) && !((a || b) && last))
            continue;
        if (!a || (b && less_loaded(b, a)))
            a = b;
        return found(q, (int)(a - p->slots), POLICY_PICK_CHOICES);
    }
    return false;
}

/* The first on trial from a random place on: nothing else would bring it requests where
 * conversations have their homes. */
static bool try_trial(struct policy *p, struct policy_search *q)
{
    const int n = q->pool->n_member;
    const int from = roll_die(q->random, UINT64_MAX, n);
    for (int i = 0; i < n; i++) {
        const int slot = q->pool->member[(from + i) % n];
        if (p->slots[slot].sum_trial && can_take(p, &p->slots[slot], q))
            return found(q, slot, POLICY_PICK_TRIAL);
    }
    return false;
}

/* ---- all ---- */

static enum policy_found look_at_all(struct policy *p, struct policy_search *q)
{
    const struct policy_slot *best = NULL, *over = NULL;
    bool full = false, small = false, tried = false;
    for (int i = 0; i < q->pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[q->pool->member[i]];
        if (!s->sum_well)
            continue;
        if (!may_ask(p, s, q)) {
            tried = true;
        } else if (!holds(s, q)) {
            small = true;
        } else if (!can_take(p, s, q)) {
            full = true;
        } else {
            const struct policy_slot **of =
                policy_under_bound(p, q->pool, s) ? &best : &over;
            if (!*of || less_loaded(s, *of))
                *of = s;
        }
    }
    if (best || over) {
        q->over = !best;
        found(q, (int)((best ? best : over) - p->slots), POLICY_PICK_LEAST);
        return POLICY_FOUND;
    }
    return full ? POLICY_FULL : small ? POLICY_SMALL : tried ? POLICY_TRIED : POLICY_DEAD;
}

/* Nothing is open: whether it is worth a wait, mostly without a look at each. */
static enum policy_found wait_or_not(struct policy *p, struct policy_search *q)
{
    const struct policy_pool *pool = q->pool;
    if (!pool->n_well)
        return POLICY_DEAD;
    if (q->need <= pool->min_ctx && !q->ask->r.n_tried && !q->ask->r.dialects &&
        !(q->as_fallback && pool->unknown_ctx))
        return POLICY_FULL;
    return look_at_all(p, q);
}

enum policy_found policy_pick_backend(struct policy *p, struct policy_search *q)
{
    q->slot = q->home = POLICY_NONE;
    q->over = false;
    if (!q->pool->n_well)
        return POLICY_DEAD;
    if (try_homes(p, q))
        return POLICY_FOUND;
    if (q->home >= 0 && q->wait_home)
        return POLICY_FULL;
    q->home = POLICY_NONE;
    if (!q->pool->n_open)
        return wait_or_not(p, q);
    if (q->pool->n_trial && try_trial(p, q))
        return POLICY_FOUND;
    if (try_shared_prefix(p, q) || try_hash(p, q) || try_choices(p, q))
        return POLICY_FOUND;
    return look_at_all(p, q);
}

uint64_t policy_home_wait(const struct policy *p, const struct policy_request *r)
{
    const uint64_t us = (uint64_t)r->n_prompt * HOME_US_PER_TOKEN;
    return us < p->o.home_us ? us : p->o.home_us;
}
