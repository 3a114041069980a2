/* policy_flight.c - requests that are under way, from SEND to their end. */
#include "router/policy_impl.h"

enum { FLIGHT_INDEX = (1 << POLICY_HANDLE) - 1 };

int policy_take_flight(struct policy *p, int slot, const struct policy_ask *a,
                       uint32_t trial, uint64_t now_us, uint32_t *flight)
{
    const int i = p->unused_flight;
    if (i < 0)
        return POLICY_NONE;
    struct policy_flight *f = &p->flights[i];
    p->unused_flight = f->next;
    *f = (struct policy_flight){.round = f->round,
                                .next = -2,
                                .slot = slot,
                                .start_us = now_us,
                                .session = a->r.side ? 0 : a->r.session,
                                .n_prompt = a->r.n_prompt,
                                .trial = trial};
    *flight = (uint32_t)i | f->round << POLICY_HANDLE;
    return i;
}

static struct policy_flight *flight_at(struct policy *p, uint32_t flight)
{
    const uint32_t i = flight & FLIGHT_INDEX;
    if (i >= (uint32_t)p->o.n_flight)
        return NULL;
    struct policy_flight *f = &p->flights[i];
    const bool same = (i | f->round << POLICY_HANDLE) == flight;
    return same && f->next == -2 ? f : NULL;
}

/* It is the trial of now, not one of before s went down again. */
static bool on_trial(const struct policy_flight *f, const struct policy_slot *s)
{
    return f->trial && f->trial == s->n_trial && s->health == POLICY_HEALTH_TRIAL;
}

static void end_flight(struct policy *p, struct policy_flight *f, struct policy_slot *s,
                       uint64_t now_us)
{
    s->in_flight--;
    s->seen_us = now_us;
    if (on_trial(f, s))
        s->trying = false;
    p->n_done[0]++;
    f->round++;
    f->next = p->unused_flight;
    p->unused_flight = (int)(f - p->flights);
    policy_refresh(p, s, now_us);
}

static void note_begin(struct policy *p, struct policy_flight *f, struct policy_slot *s,
                       uint64_t now_us)
{
    if (f->began)
        return;
    f->began = true;
    policy_succeed(p, s, now_us);
}

static void note_first(struct policy *p, struct policy_flight *f, struct policy_slot *s,
                       uint64_t now_us)
{
    note_begin(p, f, s, now_us);
    if (f->first)
        return;
    f->first = true;
    policy_first_pace(s, f->n_prompt, now_us - f->start_us);
}

void policy_began(struct policy *p, uint32_t flight, uint64_t now_us)
{
    policy_advance(p, now_us);
    struct policy_flight *f = flight_at(p, flight);
    if (!f)
        return;
    note_begin(p, f, &p->slots[f->slot], now_us);
    policy_refresh(p, &p->slots[f->slot], now_us);
}

void policy_first_byte(struct policy *p, uint32_t flight, uint64_t now_us)
{
    policy_advance(p, now_us);
    struct policy_flight *f = flight_at(p, flight);
    if (!f)
        return;
    note_first(p, f, &p->slots[f->slot], now_us);
    policy_refresh(p, &p->slots[f->slot], now_us);
}

static void add_tokens(uint64_t *sum, int n)
{
    *sum += n > 0 ? (uint64_t)n : 0;
}

void policy_finished(struct policy *p, uint32_t flight, const struct policy_usage *u,
                     uint64_t now_us)
{
    policy_advance(p, now_us);
    struct policy_flight *f = flight_at(p, flight);
    if (!f)
        return;
    struct policy_slot *s = &p->slots[f->slot];
    note_first(p, f, s, now_us);
    s->stats.n_finished++;
    if (u) {
        add_tokens(&s->stats.n_prompt, u->n_prompt);
        add_tokens(&s->stats.n_cached, u->n_cached);
        add_tokens(&s->stats.n_answer, u->n_answer);
    }
    end_flight(p, f, s, now_us);
}

void policy_failed(struct policy *p, uint32_t flight, enum policy_failure why,
                   uint64_t busy_us, uint64_t now_us)
{
    policy_advance(p, now_us);
    struct policy_flight *f = flight_at(p, flight);
    if (!f)
        return;
    struct policy_slot *s = &p->slots[f->slot];
    s->stats.n_failed[why]++;
    if (why == POLICY_FAILURE_BUSY) {
        const uint64_t us = busy_us ? busy_us : p->o.probe_us;
        s->busy_us = now_us + (us < p->o.health_us ? us : p->o.health_us);
    } else if (why != POLICY_FAILURE_CLIENT) {
        policy_fail(p, s, why, on_trial(f, s), now_us);
        /* Its cache holds nothing of this turn: the next one is free to go elsewhere. */
        const int e =
            f->session && !f->first
                ? policy_table_find(&p->sessions, f->session, UINT64_MAX, now_us)
                : -1;
        if (e >= 0 && policy_slot_at(p, p->session[e].place) == f->slot)
            p->session[e].place = UINT32_MAX;
    }
    end_flight(p, f, s, now_us);
}
