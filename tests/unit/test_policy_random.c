/* test_policy_random.c - random fleets, requests, failures and reloads: what must hold
 * whatever happens, by books kept apart from the policy's own. */
#include "policy_fleet.h"

enum { N = 8, FLIGHTS = 64, TICKETS = 8, SESSIONS = 6, STEPS = 400, RUNS = 300 };

struct book_flight {
    bool used, first, trial;
    uint32_t id;
    int backend, session;
};

struct book_ticket {
    bool used, plain;
    uint32_t id;
    uint64_t deadline, order;
    struct policy_request r;
    int session;
};

struct book {
    struct policy *p;
    uint64_t seed, n_draw, now, began;
    struct policy_backend fleet[N]; // index i has id i + 1
    bool in_fleet[N];
    bool drained[N];
    uint64_t busy_until[N];
    int n_window[N];
    uint64_t window;
    struct policy_view view[N]; // before the call
    struct book_flight flights[FLIGHTS];
    struct book_ticket tickets[TICKETS];
    int home[SESSIONS];
    int64_t n_request, n_retry;
    uint64_t n_order, last_plain;
    bool waking;
    uint64_t hash; // of all decisions
};

static uint64_t draw(struct book *b)
{
    return rng_at(b->seed, b->n_draw++);
}

static int roll(struct book *b, int n)
{
    return (int)(draw(b) % (uint64_t)n);
}

static bool is_up(const struct book *b, int i)
{
    const enum policy_health h = b->view[i].health;
    return h == POLICY_HEALTH_UP || h == POLICY_HEALTH_SLOW_START ||
           h == POLICY_HEALTH_TRIAL;
}

static void look(struct book *b)
{
    for (int i = 0; i < N; i++)
        if (!policy_see(b->p, i, b->now, &b->view[i]))
            b->view[i] = (struct policy_view){.health = POLICY_HEALTH_OFF};
    /* A trial is over when its backend is down again. */
    for (int k = 0; k < FLIGHTS; k++)
        if (b->flights[k].used &&
            b->view[b->flights[k].backend].health != POLICY_HEALTH_TRIAL)
            b->flights[k].trial = false;
    if (b->now / (10 * SECOND) != b->window) {
        b->window = b->now / (10 * SECOND);
        memset(b->n_window, 0, sizeof b->n_window);
    }
}

static bool was_tried(const struct policy_request *r, int i)
{
    for (int k = 0; k < r->n_tried; k++)
        if (r->tried[k] == i)
            return true;
    return false;
}

static bool in_lane(const struct policy_backend *f, enum policy_lane lane)
{
    return f->class == POLICY_CLASS_ANY ||
           f->class == (lane == POLICY_LONG ? POLICY_CLASS_LONG : POLICY_CLASS_SHORT);
}

/* Backend i may be asked, whatever its class. */
static bool may_serve(const struct book *b, const struct policy_request *r, int i)
{
    const struct policy_backend *f = &b->fleet[i];
    return b->in_fleet[i] && !f->off && is_up(b, i) && !was_tried(r, i) &&
           (!r->dialects || !f->dialects || (r->dialects & f->dialects));
}

static bool roomy(const struct policy_backend *f, const struct policy_request *r)
{
    return !f->n_ctx || r->n_prompt + 1024 <= f->n_ctx;
}

/* It has a place free, as far as one can see from outside. */
static bool has_free_place(const struct book *b, int i)
{
    const struct policy_view *v = &b->view[i];
    return v->health == POLICY_HEALTH_UP && b->now >= b->busy_until[i] &&
           (!b->fleet[i].limit || v->in_flight < b->fleet[i].limit);
}

static void check_send(struct book *b, const struct policy_request *r, int session,
                       const struct policy_decision *d)
{
    const int i = d->backend;
    assert_in_range(i, 0, N - 1);
    const struct policy_backend *f = &b->fleet[i];
    assert_true(may_serve(b, r, i));
    assert_false(b->drained[i]);
    assert_true(!f->n_ctx || r->n_prompt < f->n_ctx);
    assert_true(!f->limit || b->view[i].in_flight < f->limit);
    assert_true(b->now >= b->busy_until[i]);
    assert_int_equal(d->trial, b->view[i].health == POLICY_HEALTH_TRIAL);
    for (int k = 0; d->trial && k < FLIGHTS; k++)
        assert_false(b->flights[k].used && b->flights[k].backend == i &&
                     b->flights[k].trial);
    /* One that waited takes what is free first; its lane may be well again by then. */
    const bool other_lane = !in_lane(f, d->lane);
    for (int k = 0; other_lane && !b->waking && k < N; k++)
        if (in_lane(&b->fleet[k], d->lane) && may_serve(b, r, k) &&
            roomy(&b->fleet[k], r))
            fail_msg("backend %d of the lane could have had it", k);
    /* Where there is such a lane, an unknown context is no fallback for a long prompt. */
    bool lane = false;
    for (int k = 0; k < N; k++)
        lane = lane ||
               (b->in_fleet[k] && !b->fleet[k].off && in_lane(&b->fleet[k], d->lane));
    if (other_lane && lane && r->n_prompt > 16000)
        assert_true(f->n_ctx > r->n_prompt);
    b->n_window[i]++;
    if (session >= 0)
        b->home[session] = i;
}

/* A conversation stays where nothing is against it. */
static void check_stays(const struct book *b, const struct policy_request *r, int session,
                        const struct policy_decision *d)
{
    const int h = session >= 0 ? b->home[session] : POLICY_NONE;
    if (h < 0 || d->verdict == POLICY_REFUSE || !may_serve(b, r, h) ||
        !in_lane(&b->fleet[h], d->lane) || !roomy(&b->fleet[h], r) ||
        !has_free_place(b, h) || b->view[h].load > 4 || b->n_window[h] >= 3)
        return;
    assert_int_equal(d->verdict, POLICY_SEND);
    if (d->backend != h || d->pick != POLICY_PICK_SESSION)
        fail_msg("left %d for %d by %s", h, d->backend, policy_pick_name(d->pick));
}

static void check_wait(const struct book *b, const struct policy_request *r,
                       const struct policy_decision *d)
{
    for (int i = 0; !r->session && !r->n_prefix && i < N; i++)
        if (may_serve(b, r, i) && in_lane(&b->fleet[i], d->lane) &&
            roomy(&b->fleet[i], r) && has_free_place(b, i))
            fail_msg("it waits, but %d is free", i);
    if (d->start >= 0)
        assert_true(b->fleet[d->start].lazy &&
                    b->view[d->start].health == POLICY_HEALTH_STOPPED);
}

static void check_refusal(const struct book *b, const struct policy_request *r,
                          const struct policy_decision *d)
{
    for (int i = 0; i < N; i++) {
        const bool could =
            may_serve(b, r, i) && (b->fleet[i].n_ctx > r->n_prompt ||
                                   (!b->fleet[i].n_ctx && r->n_prompt <= 16000));
        if (could &&
            (d->refusal == POLICY_REFUSED_CONTEXT || d->refusal == POLICY_REFUSED_DOWN ||
             d->refusal == POLICY_REFUSED_TRIED))
            fail_msg("refused (%s), but %d could", policy_refusal_name(d->refusal), i);
    }
    if (d->refusal == POLICY_REFUSED_CONTEXT)
        assert_true(d->n_prompt > d->n_ctx && d->n_ctx > 0);
}

static void note_decision(struct book *b, const struct policy_request *r, int session,
                          const struct policy_decision *d, uint64_t order)
{
    const uint64_t words[] = {d->verdict, (uint64_t)d->backend, d->flight, d->ticket,
                              d->pick,    d->fallback,          d->refusal};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        b->hash = rng_mix(b->hash + words[i]);
    if (d->verdict == POLICY_SEND) {
        int k = 0;
        check_send(b, r, session, d);
        while (b->flights[k].used)
            k++;
        b->flights[k] = (struct book_flight){.used = true,
                                             .trial = d->trial,
                                             .id = d->flight,
                                             .backend = d->backend,
                                             .session = session};
    } else if (d->verdict == POLICY_WAIT) {
        int k = 0;
        while (b->tickets[k].used)
            k++;
        assert_true(k < TICKETS);
        b->tickets[k] = (struct book_ticket){true,
                                             !r->session && !r->n_prefix && !r->n_tried &&
                                                 !r->dialects && r->n_prompt == 100 &&
                                                 r->lane == POLICY_SHORT && d->start < 0,
                                             d->ticket,
                                             d->deadline_us,
                                             order,
                                             *r,
                                             session};
        assert_true(d->deadline_us <= b->now + 120 * SECOND);
    }
}

static void wake_all(struct book *b)
{
    struct policy_decision d;
    const uint64_t random = draw(b);
    for (int i = 0;; i++) {
        assert_true(i < 1000);
        look(b);
        if (!policy_wake(b->p, b->now, random, &d))
            break;
        look(b);
        int k = 0;
        while (k < TICKETS && !(b->tickets[k].used && b->tickets[k].id == d.ticket))
            k++;
        assert_true(k < TICKETS);
        struct book_ticket *t = &b->tickets[k];
        t->used = false;
        if (d.verdict == POLICY_SEND) {
            b->view[d.backend].in_flight--; // as it was before
            if (d.trial)
                b->view[d.backend].health = POLICY_HEALTH_TRIAL;
            if (t->plain) {
                for (int o = 0; o < TICKETS; o++)
                    assert_false(b->tickets[o].used && b->tickets[o].plain &&
                                 b->tickets[o].order < t->order &&
                                 b->tickets[o].deadline > b->now);
            }
        } else {
            assert_int_equal(d.verdict, POLICY_REFUSE);
        }
        b->waking = true;
        note_decision(b, &t->r, t->session, &d, t->order);
        b->waking = false;
    }
    for (int k = 0; k < TICKETS; k++)
        if (b->tickets[k].used && b->now > b->tickets[k].deadline + SECOND / 5)
            fail_msg("a request waits beyond its deadline");
}

static void op_route(struct book *b)
{
    static const int lengths[] = {0, 100, 100, 2000, 9000, 15000, 17000, 40000, 90000};
    struct policy_request r = ask(lengths[roll(b, 9)]);
    struct policy_decision d;
    int session = POLICY_NONE;
    if (roll(b, 3) == 0) {
        session = roll(b, SESSIONS);
        r.session = (uint64_t)session + 1000;
    }
    if (roll(b, 3) == 0) {
        r.n_prefix = 1 + roll(b, 3);
        for (int i = 0; i < r.n_prefix; i++)
            r.prefix[i] = (uint64_t)(1 + i * 10 + roll(b, 3));
    }
    if (roll(b, 4) == 0)
        r.lane = (enum policy_lane)roll(b, 3);
    r.side = roll(b, 10) == 0;
    r.exact = roll(b, 2);
    r.dialects = roll(b, 5) ? 0 : 1u << roll(b, 2);
    r.attempt = roll(b, 4) ? 0 : 1;
    for (int k = roll(b, 3); r.attempt && k > 0; k--)
        r.tried[r.n_tried++] = roll(b, N);
    if (roll(b, 8) == 0)
        r.deadline_us = b->now + (uint64_t)roll(b, 5) * SECOND;
    if (r.side)
        session = POLICY_NONE;
    int n_flight = 0;
    for (int k = 0; k < FLIGHTS; k++)
        n_flight += b->flights[k].used;
    if (n_flight == FLIGHTS)
        return;
    look(b);
    policy_route(b->p, &r, b->now, draw(b), &d);
    b->n_request += r.attempt == 0;
    b->n_retry += r.attempt > 0 && d.verdict != POLICY_REFUSE;
    check_stays(b, &r, session, &d);
    if (d.verdict == POLICY_WAIT)
        check_wait(b, &r, &d);
    else if (d.verdict == POLICY_REFUSE)
        check_refusal(b, &r, &d);
    note_decision(b, &r, session, &d, b->n_order++);
    const double most =
        60 + 0.15 * (double)b->n_request + 3 * (double)(b->now - b->began) / SECOND;
    assert_true((double)b->n_retry <= most + 1);
}

static void op_flight(struct book *b)
{
    const int k = roll(b, FLIGHTS);
    struct book_flight *f = &b->flights[k];
    const int how = roll(b, 12);
    if (!f->used)
        return;
    if (how < 4) {
        policy_first_byte(b->p, f->id, b->now);
        f->first = true;
        return;
    }
    if (how < 9) {
        policy_finished(b->p, f->id, NULL, b->now);
    } else {
        const enum policy_failure why = (enum policy_failure)roll(b, POLICY_FAILURE_N);
        policy_failed(b->p, f->id, why, 2 * SECOND, b->now);
        if (why == POLICY_FAILURE_BUSY)
            b->busy_until[f->backend] = b->now + 2 * SECOND;
        else if (why != POLICY_FAILURE_CLIENT && f->session >= 0)
            b->home[f->session] = POLICY_NONE;
    }
    f->used = false;
    policy_finished(b->p, f->id, NULL, b->now); // names nothing any more
    policy_first_byte(b->p, f->id, b->now);
}

static void random_backend(struct book *b, int i)
{
    static const int contexts[] = {0, 4096, 16384, 32768, 65536, 131072};
    struct policy_backend *f = &b->fleet[i];
    *f = backend((uint64_t)i + 1, (enum policy_class)roll(b, 3), contexts[roll(b, 6)],
                 roll(b, 4));
    f->weight = 1 + roll(b, 3);
    f->dialects = (unsigned)roll(b, 4);
    f->off = roll(b, 10) == 0;
    f->lazy = roll(b, 6) == 0;
}

/* All ids stay at their indexes: each is in the first fleet. */
static void op_reload(struct book *b, bool all)
{
    struct policy_backend next[N];
    int n = 0, index[N];
    for (int i = 0; i < N; i++) {
        b->in_fleet[i] = all || roll(b, 5) > 0;
        if (roll(b, 3) == 0 || all)
            random_backend(b, i);
        if (b->in_fleet[i])
            next[n++] = b->fleet[i];
    }
    const struct policy_fleet f = {.backends = next, .n_backend = n};
    assert_int_equal(policy_reload(b->p, &f, b->now, index, NULL), STATUS_OK);
    for (int k = 0; k < n; k++)
        assert_int_equal(index[k], (int)next[k].id - 1);
    for (int s = 0; s < SESSIONS; s++)
        b->home[s] = POLICY_NONE;
    for (int k = 0; k < TICKETS; k++)
        b->tickets[k].plain = false;
}

static void op_health(struct book *b)
{
    const int i = roll(b, N);
    switch (roll(b, 6)) {
    case 0:
        policy_load(b->p, i, roll(b, 5), roll(b, 5), roll(b, 5), b->now);
        break;
    case 1:
        b->drained[i] = roll(b, 2);
        policy_drain(b->p, i, b->drained[i], b->now);
        break;
    case 2:
        policy_stopped(b->p, i, b->now);
        break;
    default:
        for (int k; (k = policy_probe(b->p, b->now)) >= 0;) {
            assert_true(b->in_fleet[k]);
            policy_probed(b->p, k, roll(b, 3) > 0, b->now);
        }
        look(b);
        if (b->fleet[i].lazy)
            policy_probed(b->p, i, roll(b, 2), b->now);
    }
}

static void check_in_flight(struct book *b)
{
    int n[N] = {0};
    for (int k = 0; k < FLIGHTS; k++)
        if (b->flights[k].used)
            n[b->flights[k].backend]++;
    look(b);
    for (int i = 0; i < N; i++)
        if (b->view[i].id)
            assert_int_equal(b->view[i].in_flight, n[i]);
        else
            assert_int_equal(n[i], 0);
}

static uint64_t run(uint64_t seed)
{
    static struct book b;
    struct policy_options o = policy_options_default;
    o.n_queue = TICKETS;
    o.n_flight = FLIGHTS;
    o.n_session = SESSIONS;
    o.n_prefix = 8;
    b = (struct book){.seed = seed, .now = 100 * SECOND, .began = 100 * SECOND};
    assert_int_equal(policy_open(&b.p, &o, NULL), STATUS_OK);
    op_reload(&b, true);
    for (int i = 0; i < STEPS; i++) {
        const int op = roll(&b, 100);
        if (op < 40)
            op_route(&b);
        else if (op < 75)
            op_flight(&b);
        else if (op < 85)
            op_health(&b);
        else if (op < 87)
            op_reload(&b, false);
        else
            b.now += draw(&b) % (roll(&b, 10) ? SECOND / 5 : 40 * SECOND);
        wake_all(&b);
        check_in_flight(&b);
    }
    /* Nothing waits for ever. */
    for (int i = 0; i < 200; i++) {
        b.now += SECOND;
        wake_all(&b);
    }
    for (int k = 0; k < TICKETS; k++)
        assert_false(b.tickets[k].used);
    policy_close(b.p);
    return b.hash;
}

static void test_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= RUNS; seed++)
        run(seed);
}

static void test_equal_calls_equal_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++)
        assert_true(run(seed) == run(seed));
    assert_false(run(1) == run(2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_equal_calls_equal_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
