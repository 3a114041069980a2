/* policy_queue.c - those that wait, first come first served.
 *
 * A backend that gets room is ready: it takes the first that suits it.  What time changes
 * (deadlines, lanes that died, homes that stay full) is looked at every 100 ms. */
#include "router/policy_impl.h"

enum {
    TICKET_INDEX = (1 << POLICY_HANDLE) - 1,
    RETRY_SHORTEST_US = 1000000,
    RETRY_LONGEST_US = 60000000,
};

static uint32_t ticket_of(const struct policy *p, int i)
{
    return (uint32_t)i | p->waiting[i].round << POLICY_HANDLE;
}

static void leave(struct policy *p, int i)
{
    struct policy_waiting *w = &p->waiting[i];
    if (p->pass == i)
        p->pass = w->newer;
    *(w->older < 0 ? &p->oldest : &p->waiting[w->older].newer) = w->newer;
    *(w->newer < 0 ? &p->newest : &p->waiting[w->newer].older) = w->older;
    w->round++;
    w->next = p->unused_ticket;
    p->unused_ticket = i;
    p->n_waiting--;
}

void policy_leave_queue(struct policy *p, uint32_t ticket)
{
    const int i = (int)(ticket & TICKET_INDEX);
    if (i < p->n_place && p->waiting[i].next == -2 && ticket_of(p, i) == ticket)
        leave(p, i);
}

void policy_make_ready(struct policy *p, struct policy_slot *s)
{
    if (!s->ready) {
        s->ready = true;
        p->ready[p->n_ready++] = (int)(s - p->slots);
    }
}

uint64_t policy_retry_us(const struct policy *p)
{
    const uint64_t n_done = (uint64_t)(p->n_done[0] + p->n_done[1]);
    const uint64_t us =
        n_done ? (uint64_t)p->n_waiting * 2 * p->o.window_us / n_done : RETRY_LONGEST_US;
    return us < RETRY_SHORTEST_US  ? RETRY_SHORTEST_US
           : us > RETRY_LONGEST_US ? RETRY_LONGEST_US
                                   : us;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return b && b < a ? b : a;
}

void policy_enqueue(struct policy *p, const struct policy_ask *a,
                    const struct policy_wait *wait, uint64_t now_us,
                    struct policy_decision *out)
{
    const int i = p->unused_ticket;
    if (i < 0 || p->n_waiting >= p->o.n_queue) {
        policy_refuse(p, POLICY_REFUSED_QUEUE, out);
        return;
    }
    struct policy_waiting *w = &p->waiting[i];
    const uint64_t us = wait->start >= 0 ? p->o.start_us : p->o.queue_us;
    p->unused_ticket = w->next;
    w->next = -2;
    w->ask = *a;
    w->wait = *wait;
    w->home_us = now_us + policy_home_wait(p, &a->r);
    w->deadline_us = earlier(now_us + us, a->r.deadline_us);
    w->older = p->newest;
    w->newer = -1;
    *(p->newest < 0 ? &p->oldest : &p->waiting[p->newest].newer) = i;
    p->newest = i;
    p->n_waiting++;
    p->count.n_waited++;
    out->ticket = ticket_of(p, i);
    out->start = wait->start;
    out->deadline_us = w->deadline_us;
}

static void begin_decision(const struct policy *p, int i, struct policy_decision *out)
{
    const struct policy_ask *a = &p->waiting[i].ask;
    *out = (struct policy_decision){.backend = POLICY_NONE,
                                    .start = POLICY_NONE,
                                    .ticket = ticket_of(p, i),
                                    .lane = a->lane,
                                    .lane_why = a->lane_why,
                                    .near = a->near};
}

/* w may go to s now. */
static bool suits_waiting(struct policy *p, const struct policy_waiting *w,
                          const struct policy_slot *s, uint64_t now_us,
                          struct policy_search *q)
{
    if (now_us >= w->deadline_us || w->ask.name < 0 || w->wait.old)
        return false;
    if (w->wait.home >= 0 && &p->slots[w->wait.home] != s && now_us < w->home_us)
        return false;
    if (!policy_serves(p, s, w->ask.name, w->wait.in))
        return false;
    q->ask = &w->ask;
    q->pool = policy_pool_of(p, &w->ask, w->wait.in);
    q->need = policy_need(p, &w->ask.r, w->wait.room);
    q->as_fallback =
        w->wait.fallback != POLICY_FALLBACK_NONE && policy_is_long(p, &w->ask);
    q->over = !policy_under_bound(p, q->pool, s);
    return policy_suits(p, s, q) && !(q->over && q->pool->n_open > 1);
}

/* The first that may go to s. */
static bool wake_for(struct policy *p, struct policy_slot *s, uint64_t now_us,
                     struct policy_decision *out)
{
    struct policy_search q = {.now_us = now_us, .from_queue = true};
    for (int i = p->oldest; i >= 0; i = p->waiting[i].newer) {
        const struct policy_waiting *w = &p->waiting[i];
        if (!suits_waiting(p, w, s, now_us, &q))
            continue;
        q.slot = (int)(s - p->slots);
        q.pick = w->wait.home != q.slot ? POLICY_PICK_QUEUE
                 : w->ask.r.session     ? POLICY_PICK_SESSION
                                        : POLICY_PICK_PREFIX;
        begin_decision(p, i, out);
        policy_send(p, &w->ask, &q, w->wait.fallback, out);
        leave(p, i);
        return true;
    }
    return false;
}

/* Whether time may have changed what becomes of w. */
static bool is_due(struct policy *p, const struct policy_waiting *w, uint64_t now_us)
{
    if (now_us >= w->deadline_us || w->ask.name < 0 || w->wait.old)
        return true;
    const struct policy_pool *pool = policy_pool_of(p, &w->ask, w->wait.in);
    return pool->n_open || !pool->n_well || w->wait.start >= 0 || w->wait.fallback ||
           (w->wait.home >= 0 && !policy_is_well(&p->slots[w->wait.home]));
}

static bool wake_due(struct policy *p, int i, uint64_t now_us, uint64_t random,
                     struct policy_decision *out)
{
    struct policy_waiting *w = &p->waiting[i];
    begin_decision(p, i, out);
    if (w->ask.name < 0) {
        policy_refuse(p, POLICY_REFUSED_MODEL, out);
    } else if (now_us >= w->deadline_us) {
        policy_refuse(p, POLICY_REFUSED_DEADLINE, out);
    } else {
        struct policy_wait wait;
        const bool home = now_us < w->home_us;
        policy_decide(p, &w->ask, true, home, now_us, random, &wait, out);
        if (out->verdict == POLICY_WAIT) {
            w->wait = wait;
            return false;
        }
    }
    leave(p, i);
    return true;
}

bool policy_wake(struct policy *p, uint64_t now_us, uint64_t random,
                 struct policy_decision *out)
{
    policy_advance(p, now_us);
    while (p->n_ready) {
        struct policy_slot *s = &p->slots[p->ready[p->n_ready - 1]];
        if (s->sum_open && wake_for(p, s, now_us, out))
            return true;
        s->ready = false;
        p->n_ready--;
    }
    if (p->pass < 0) {
        if (now_us < p->pass_us)
            return false;
        p->pass = p->oldest;
        p->pass_us = now_us + POLICY_PASS_US;
    }
    while (p->pass >= 0) {
        const int i = p->pass;
        p->pass = p->waiting[i].newer;
        if (is_due(p, &p->waiting[i], now_us) &&
            wake_due(p, i, now_us, rng_at(random, (uint64_t)i), out))
            return true;
    }
    return false;
}
