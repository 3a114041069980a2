/* policy_route.c - which lane, which of its backends, and what else if there is none. */
#include <limits.h>
#include <string.h>

#include "router/policy_impl.h"

enum {
    NEAR_PART = 4, // an estimate this part off is no surprise (token_estimate.c)
    RETRY_LEAST_US = 1000000,
    RETRY_MOST_US = 30000000,
};

bool policy_parse_model(char *name, enum policy_lane *lane, const char *asked)
{
    static const char *const suffixes[] = {"@auto", "@short", "@long"};
    const size_t n = strlen(asked);
    *lane = POLICY_AUTO;
    if (n >= POLICY_NAME_MAX)
        return false;
    memcpy(name, asked, n + 1);
    for (int i = 0; i < 3; i++) {
        const size_t k = strlen(suffixes[i]);
        if (n > k && !strcmp(asked + n - k, suffixes[i])) {
            name[n - k] = 0;
            *lane = (enum policy_lane)i;
        }
    }
    return true;
}

/* ---- lane ---- */

/* Where the conversation was so far; POLICY_AUTO if it is new. */
static enum policy_lane lane_so_far(struct policy *p, const struct policy_request *r,
                                    uint64_t now_us)
{
    if (r->session) {
        const int e =
            policy_table_find(&p->sessions, r->session, p->o.session_us, now_us);
        if (e >= 0)
            return p->session[e].lane;
    }
    for (int i = r->n_prefix - 1; i > 0; i--) {
        const int e =
            policy_table_find(&p->prefixes, r->prefix[i], p->o.prefix_us, now_us);
        if (e >= 0)
            return p->prefix[e].lane;
    }
    return POLICY_AUTO;
}

static bool is_near(int n, int limit)
{
    const int64_t off = (int64_t)n - limit;
    return (off < 0 ? -off : off) * NEAR_PART < limit;
}

static void choose_lane(struct policy *p, struct policy_ask *a, uint64_t now_us)
{
    const struct policy_request *r = &a->r;
    const int threshold = p->layout.names[a->name].threshold;
    const int back = (int)((int64_t)threshold * p->o.return_percent / 100);
    a->near = false;
    if (r->lane != POLICY_AUTO || r->side) {
        a->lane = r->lane != POLICY_AUTO ? r->lane : POLICY_SHORT;
        a->lane_why = r->lane != POLICY_AUTO ? POLICY_LANE_ASKED : POLICY_LANE_SIDE;
        return;
    }
    const enum policy_lane was = lane_so_far(p, r, now_us);
    const int limit = was == POLICY_LONG ? back : threshold;
    a->lane = r->n_prompt > limit ? POLICY_LONG : POLICY_SHORT;
    a->near = !r->exact && is_near(r->n_prompt, limit);
    const bool stays =
        a->lane == was && (was == POLICY_SHORT || r->n_prompt <= threshold);
    a->lane_why = stays ? POLICY_LANE_STAYS : POLICY_LANE_TOKENS;
}

/* ---- backend ---- */

struct policy_pool *policy_pool_of(struct policy *p, const struct policy_ask *a,
                                   enum policy_lane lane)
{
    return &p->layout.pools[p->layout.names[a->name].pool[lane == POLICY_LONG]];
}

bool policy_is_long(const struct policy *p, const struct policy_ask *a)
{
    return a->r.n_prompt > p->layout.names[a->name].threshold;
}

/* Tokens that a context must hold: with room for an answer, or for one token of it. */
int policy_need(const struct policy *p, const struct policy_request *r, bool room)
{
    int answer = p->o.answer_reserve;
    if (r->max_tokens >= 0 && r->max_tokens < answer)
        answer = r->max_tokens;
    if (!room || answer < 1)
        answer = 1;
    return r->n_prompt > INT_MAX - answer ? INT_MAX : r->n_prompt + answer;
}

static void remember(struct policy *p, const struct policy_ask *a, int slot,
                     uint64_t now_us)
{
    const struct policy_request *r = &a->r;
    const policy_place place = policy_place_of(p, slot);
    int fresh;
    if (r->session && !r->side) {
        struct policy_session *s =
            &p->session[policy_table_put(&p->sessions, r->session, now_us, &fresh)];
        p->count.n_moved += !fresh && s->place != place;
        *s = (struct policy_session){place, a->lane};
    }
    for (int i = 0; i < r->n_prefix; i++) {
        struct policy_prefix *x =
            &p->prefix[policy_table_put(&p->prefixes, r->prefix[i], now_us, &fresh)];
        int k = 0;
        if (fresh)
            x->n = 0;
        while (k < x->n && x->place[k] != place)
            k++;
        if (k == x->n && x->n < POLICY_REPLICAS)
            x->n++;
        if (k == POLICY_REPLICAS)
            k--;
        memmove(x->place + 1, x->place, (size_t)k * sizeof x->place[0]);
        x->place[0] = place;
        x->lane = a->lane;
    }
}

void policy_send(struct policy *p, const struct policy_ask *a,
                 const struct policy_search *q, enum policy_fallback fallback,
                 struct policy_decision *out)
{
    struct policy_slot *s = &p->slots[q->slot];
    const bool trial = s->health == POLICY_HEALTH_TRIAL;
    if (policy_take_flight(p, q->slot, a, trial ? s->n_trial : 0, q->now_us,
                           &out->flight) < 0) {
        policy_refuse(p, POLICY_REFUSED_QUEUE, out);
        return;
    }
    if (a->r.attempt > 0 && fallback == POLICY_FALLBACK_NONE)
        fallback = POLICY_FALLBACK_RETRY;
    out->verdict = POLICY_SEND;
    out->backend = q->slot;
    out->model = policy_served_name(p, s, a->name);
    out->pick = q->pick;
    out->fallback = fallback;
    out->trial = trial;
    out->near = out->near || (!a->r.exact && s->n_ctx && is_near(q->need, s->n_ctx));
    s->trying = trial;
    s->in_flight++;
    policy_roll_window(p, s);
    s->n_window++;
    s->seen_us = q->now_us;
    s->stats.n_sent++;
    s->stats.n_picked[q->pick]++;
    s->stats.n_fallback += fallback != POLICY_FALLBACK_NONE;
    p->count.n_sent++;
    p->count.n_pick[q->pick]++;
    p->count.n_lane[a->lane_why]++;
    p->count.n_fallback[fallback]++;
    p->count.n_over += q->over;
    policy_refresh(p, s, q->now_us);
    remember(p, a, q->slot, q->now_us);
}

/* A lazy backend of the pool that is stopped and would do. */
static int startable(const struct policy *p, const struct policy_search *q)
{
    for (int i = 0; i < q->pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[q->pool->member[i]];
        if (s->lazy && s->health == POLICY_HEALTH_STOPPED && !s->drained &&
            policy_suits(p, s, q))
            return q->pool->member[i];
    }
    return POLICY_NONE;
}

/* SEND or WAIT in one lane, else why not. */
static enum policy_found try_lane(struct policy *p, struct policy_search *q,
                                  struct policy_wait *wait, struct policy_decision *out)
{
    q->pool = policy_pool_of(p, q->ask, wait->in);
    q->as_fallback = wait->fallback != POLICY_FALLBACK_NONE && policy_is_long(p, q->ask);
    enum policy_found f = policy_pick_backend(p, q);
    wait->home = POLICY_NONE;
    wait->start = POLICY_NONE;
    if (f == POLICY_FOUND) {
        policy_send(p, q->ask, q, wait->fallback, out);
    } else if (f == POLICY_FULL) {
        out->verdict = POLICY_WAIT;
        wait->home = q->home;
    } else {
        wait->start = startable(p, q);
        if (wait->start >= 0) {
            out->verdict = POLICY_WAIT;
            f = POLICY_FULL;
        }
    }
    return f;
}

/* A backend that would do went down a moment ago, and may only be restarting. */
static bool just_down(const struct policy *p, const struct policy_search *q)
{
    for (int i = 0; i < q->pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[q->pool->member[i]];
        if (s->health == POLICY_HEALTH_DOWN && !s->drained &&
            q->now_us - s->down_us < p->o.grace_us && policy_suits(p, s, q))
            return true;
    }
    return false;
}

/* The largest known context of a pool, of those that are well or of all. */
static int largest_context(const struct policy *p, const struct policy_pool *pool,
                           bool well)
{
    int n_ctx = 0;
    for (int i = 0; i < pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[pool->member[i]];
        if ((!well || policy_is_well(s)) && s->n_ctx > n_ctx)
            n_ctx = s->n_ctx;
    }
    return n_ctx;
}

static uint64_t next_probe_us(const struct policy *p, const struct policy_pool *pool,
                              uint64_t now_us)
{
    uint64_t least = RETRY_MOST_US;
    for (int i = 0; i < pool->n_member; i++) {
        const struct policy_slot *s = &p->slots[pool->member[i]];
        const uint64_t at =
            s->health == POLICY_HEALTH_EJECTED ? s->until_us : s->probe_us;
        if (at < now_us + least)
            least = at > now_us ? at - now_us : 0;
    }
    return least > RETRY_LEAST_US ? least : RETRY_LEAST_US;
}

void policy_refuse(struct policy *p, enum policy_refusal why, struct policy_decision *out)
{
    out->verdict = POLICY_REFUSE;
    out->refusal = why;
    if (why == POLICY_REFUSED_QUEUE || why == POLICY_REFUSED_DEADLINE)
        out->retry_us = policy_retry_us(p);
    p->count.n_refused[why]++;
}

/* Neither lane has a backend: say what the client can do about it. */
static void refuse_ask(struct policy *p, const struct policy_ask *a,
                       const enum policy_found why[2], uint64_t now_us,
                       struct policy_decision *out)
{
    const struct policy_pool *pools[2] = {
        policy_pool_of(p, a, a->lane),
        policy_pool_of(p, a, a->lane == POLICY_LONG ? POLICY_SHORT : POLICY_LONG)};
    const bool small = why[0] == POLICY_SMALL || why[1] == POLICY_SMALL;
    const bool tried = why[0] == POLICY_TRIED || why[1] == POLICY_TRIED;
    int n_ctx = 0;
    for (int i = 0; i < 2; i++) {
        const int n = largest_context(p, pools[i], small);
        n_ctx = n > n_ctx ? n : n_ctx;
    }
    const bool unknown = pools[0]->unknown_ctx || pools[1]->unknown_ctx;
    const bool longer = n_ctx > 0 && a->r.n_prompt >= n_ctx;
    if (longer && (small || (!tried && !unknown))) {
        out->n_prompt = a->r.n_prompt;
        out->n_ctx = n_ctx < a->r.n_prompt ? n_ctx : a->r.n_prompt - 1;
        out->near = !a->r.exact && is_near(a->r.n_prompt, n_ctx);
        policy_refuse(p, POLICY_REFUSED_CONTEXT, out);
    } else if (tried) {
        policy_refuse(p, POLICY_REFUSED_TRIED, out);
    } else {
        const uint64_t us[2] = {next_probe_us(p, pools[0], now_us),
                                next_probe_us(p, pools[1], now_us)};
        out->retry_us = us[0] < us[1] ? us[0] : us[1];
        policy_refuse(p, POLICY_REFUSED_DOWN, out);
    }
}

static enum policy_fallback fallback_for(const struct policy_pool *pool,
                                         enum policy_found why)
{
    if (!pool->n_member)
        return POLICY_FALLBACK_NONE; // there is no such lane
    return why == POLICY_SMALL   ? POLICY_FALLBACK_CONTEXT
           : why == POLICY_TRIED ? POLICY_FALLBACK_RETRY
                                 : POLICY_FALLBACK_DOWN;
}

void policy_decide(struct policy *p, const struct policy_ask *a, bool from_queue,
                   bool wait_home, uint64_t now_us, uint64_t random,
                   struct policy_wait *wait, struct policy_decision *out)
{
    struct policy_search q = {.ask = a,
                              .from_queue = from_queue,
                              .wait_home = wait_home,
                              .now_us = now_us,
                              .random = random};
    const enum policy_lane lanes[2] = {a->lane, a->lane == POLICY_LONG ? POLICY_SHORT
                                                                       : POLICY_LONG};
    enum policy_found why[2] = {POLICY_DEAD, POLICY_DEAD};
    bool grace = false;
    for (int room = 1; room >= 0; room--) {
        *wait = (struct policy_wait){.room = room};
        q.need = policy_need(p, &a->r, room);
        for (int i = 0; i < 2; i++) {
            const struct policy_pool *own = policy_pool_of(p, a, a->lane);
            if (i && own == policy_pool_of(p, a, lanes[1])) {
                why[1] = why[0];
                continue;
            }
            wait->in = lanes[i];
            wait->fallback = i ? fallback_for(own, why[0]) : POLICY_FALLBACK_NONE;
            why[i] = try_lane(p, &q, wait, out);
            if (why[i] == POLICY_FOUND || why[i] == POLICY_FULL)
                return;
            grace = grace || (!i && just_down(p, &q));
        }
    }
    if (grace) {
        *wait = (struct policy_wait){
            .in = a->lane, .home = POLICY_NONE, .start = POLICY_NONE};
        out->verdict = POLICY_WAIT;
        return;
    }
    refuse_ask(p, a, why, now_us, out);
}

/* ---- retries ---- */

/* A part of the requests and some every second, no more than two windows bring. */
static void fill_budget(struct policy *p, bool request, uint64_t now_us)
{
    const int64_t a_request = POLICY_RETRY * p->o.retry_percent / 100;
    const uint64_t us = now_us - p->budget_us, most_us = 2 * p->o.window_us;
    p->budget += (int64_t)(us < most_us ? us : most_us) * p->o.retry_least;
    p->budget_us = now_us;
    if (request)
        p->budget += a_request;
    const int64_t most = (int64_t)most_us * p->o.retry_least +
                         a_request * (p->n_recent[0] + p->n_recent[1]);
    if (p->budget > most)
        p->budget = most;
}

void policy_route(struct policy *p, const struct policy_request *r, uint64_t now_us,
                  uint64_t random, struct policy_decision *out)
{
    struct policy_ask a = {.r = *r, .name = policy_find_name(p, r->model)};
    struct policy_wait wait;
    policy_advance(p, now_us);
    *out = (struct policy_decision){.backend = POLICY_NONE, .start = POLICY_NONE};
    if (r->attempt == 0) {
        p->count.n_request++;
        p->n_recent[0]++;
    }
    fill_budget(p, r->attempt == 0, now_us);
    if (a.name < 0) {
        policy_refuse(p, POLICY_REFUSED_MODEL, out);
        return;
    }
    choose_lane(p, &a, now_us);
    out->lane = a.lane;
    out->lane_why = a.lane_why;
    out->near = a.near;
    if (r->attempt > 0 && p->budget < POLICY_RETRY) {
        policy_refuse(p, POLICY_REFUSED_BUDGET, out);
        return;
    }
    policy_decide(p, &a, false, true, now_us, random, &wait, out);
    if (out->verdict == POLICY_WAIT)
        policy_enqueue(p, &a, &wait, now_us, out);
    if (r->attempt > 0 && out->verdict != POLICY_REFUSE) {
        p->budget -= POLICY_RETRY;
        p->count.n_retry++;
    }
}
