/* test_policy_health.c - who is taken out, who comes back and how, and what retries may
 * cost. */
#include "policy_fleet.h"

static struct policy *fleet_of(int n, int limit)
{
    struct policy_backend b[64];
    for (int i = 0; i < n; i++)
        b[i] = backend((uint64_t)i + 1, POLICY_CLASS_ANY, 0, limit);
    return open_policy(NULL, b, n, SECOND);
}

/* A request that only one backend may take. */
static struct policy_decision to(struct policy *p, int only, uint64_t now)
{
    struct policy_request r = ask(10);
    struct policy_decision d;
    for (int i = 0; i < policy_n_backend(p) && r.n_tried < POLICY_TRIED_MAX; i++)
        if (i != only)
            r.tried[r.n_tried++] = i;
    policy_route(p, &r, now, 99, &d);
    return d;
}

static void fails(struct policy *p, int only, enum policy_failure why, uint64_t now)
{
    const struct policy_decision d = to(p, only, now);
    assert_int_equal(d.verdict, POLICY_SEND);
    assert_int_equal(d.backend, only);
    policy_failed(p, d.flight, why, 0, now);
}

static void works(struct policy *p, int only, uint64_t now)
{
    const struct policy_decision d = to(p, only, now);
    assert_int_equal(d.verdict, POLICY_SEND);
    assert_int_equal(d.backend, only);
    policy_finished(p, d.flight, NULL, now);
}

static enum policy_health health(struct policy *p, int b, uint64_t now)
{
    struct policy_view v;
    assert_false(policy_wake(p, now, 1, &(struct policy_decision){0}));
    assert_true(policy_see(p, b, now, &v));
    return v.health;
}

/* Five failures in a row; what the client does wrong, or leaves, is none of them. */
static void test_ejection(void **state)
{
    (void)state;
    struct policy *p = fleet_of(4, 0);
    const uint64_t t = 2 * SECOND;
    for (int i = 0; i < 4; i++)
        fails(p, 0, i % 2 ? POLICY_FAILURE_STATUS : POLICY_FAILURE_GARBAGE, t);
    works(p, 0, t);
    for (int i = 0; i < 4; i++)
        fails(p, 0, POLICY_FAILURE_CUT, t);
    for (int i = 0; i < 10; i++)
        fails(p, 0, POLICY_FAILURE_CLIENT, t);
    assert_int_equal(health(p, 0, t), POLICY_HEALTH_UP);
    fails(p, 0, POLICY_FAILURE_STATUS, t);
    assert_int_equal(health(p, 0, t), POLICY_HEALTH_EJECTED);
    assert_int_equal(to(p, 0, t).refusal, POLICY_REFUSED_TRIED);
    /* 30 s later one request may try; it fails, and the next pause is twice as long. */
    assert_int_equal(health(p, 0, 31 * SECOND), POLICY_HEALTH_EJECTED);
    assert_int_equal(health(p, 0, 33 * SECOND), POLICY_HEALTH_TRIAL);
    const struct policy_decision d = to(p, 0, 33 * SECOND);
    assert_true(d.trial);
    const struct policy_decision second = to(p, 0, 33 * SECOND);
    assert_int_equal(second.verdict, POLICY_WAIT);
    policy_leave_queue(p, second.ticket);
    policy_failed(p, d.flight, POLICY_FAILURE_STATUS, 0, 34 * SECOND);
    assert_int_equal(health(p, 0, 93 * SECOND), POLICY_HEALTH_EJECTED);
    assert_int_equal(health(p, 0, 95 * SECOND), POLICY_HEALTH_TRIAL);
    works(p, 0, 95 * SECOND);
    assert_int_equal(health(p, 0, 96 * SECOND), POLICY_HEALTH_SLOW_START);
    assert_int_equal(health(p, 0, 106 * SECOND), POLICY_HEALTH_UP);
    policy_close(p);
}

/* Every other request fails: never five in a row, but ejected all the same. */
static void test_failing_half(void **state)
{
    (void)state;
    struct policy *p = fleet_of(4, 0);
    int n = 0;
    for (; n < 100 && health(p, 0, 2 * SECOND) == POLICY_HEALTH_UP; n++) {
        fails(p, 0, POLICY_FAILURE_STATUS, 2 * SECOND);
        if (health(p, 0, 2 * SECOND) == POLICY_HEALTH_UP && n % 3 == 0)
            works(p, 0, 2 * SECOND);
    }
    assert_in_range(n, 5, 40);
    policy_close(p);
}

/* At most half of a small fleet, and never the last that could do the work. */
static void test_never_all(void **state)
{
    (void)state;
    for (int n = 1; n <= 6; n++) {
        struct policy *p = fleet_of(n, 0);
        for (int b = 0; b < n; b++)
            for (int i = 0; i < 8 && health(p, b, 2 * SECOND) == POLICY_HEALTH_UP; i++)
                fails(p, b, POLICY_FAILURE_STATUS, 2 * SECOND);
        int n_ejected = 0;
        for (int b = 0; b < n; b++)
            n_ejected += health(p, b, 2 * SECOND) == POLICY_HEALTH_EJECTED;
        assert_int_equal(n_ejected, n / 2);
        policy_close(p);
    }
    /* The long one is not spared for a short one that is well. */
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_SHORT, 8192, 0),
                                       backend(2, POLICY_CLASS_LONG, 65536, 0)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 8 && health(p, k, 2 * SECOND) == POLICY_HEALTH_UP; i++)
            fails(p, k, POLICY_FAILURE_STATUS, 2 * SECOND);
    assert_int_equal(health(p, 1, 2 * SECOND), POLICY_HEALTH_UP);
    policy_close(p);
}

static void drain_probes(struct policy *p, uint64_t now)
{
    for (int b; (b = policy_probe(p, now)) >= 0;)
        policy_probed(p, b, true, now);
}

/* Nobody listens: down at once.  Probes come after 1, 2, 4, 8, 10, 10 ... s. */
static void test_down_and_probes(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 0);
    drain_probes(p, 2 * SECOND);
    fails(p, 0, POLICY_FAILURE_CONNECT, 2 * SECOND);
    assert_int_equal(health(p, 0, 2 * SECOND), POLICY_HEALTH_DOWN);
    static const uint64_t pauses[] = {1, 2, 4, 8, 10, 10};
    uint64_t t = 2 * SECOND;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(policy_probe(p, t + pauses[i] * SECOND - 1), POLICY_NONE);
        t += pauses[i] * SECOND;
        assert_int_equal(policy_probe(p, t), 0);
        assert_int_equal(policy_probe(p, t), POLICY_NONE); // one at a time
        policy_probed(p, 0, i == 5, t);
        works(p, 1, t); // the other needs no probe
    }
    assert_int_equal(health(p, 0, t), POLICY_HEALTH_TRIAL);
    works(p, 0, t);
    assert_int_equal(health(p, 0, t), POLICY_HEALTH_SLOW_START);
    policy_close(p);
}

/* Answers are as good as probes for 30 s.  Two failed probes take down, one after a
 * timeout does. */
static void test_active_health(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 0);
    drain_probes(p, SECOND);
    works(p, 0, 20 * SECOND);
    assert_int_equal(policy_probe(p, 31 * SECOND), 1);
    assert_int_equal(policy_probe(p, 31 * SECOND), POLICY_NONE);
    policy_probed(p, 1, false, 31 * SECOND);
    assert_int_equal(health(p, 1, 31 * SECOND), POLICY_HEALTH_UP);
    assert_int_equal(policy_probe(p, 32 * SECOND), 1);
    policy_probed(p, 1, false, 32 * SECOND);
    assert_int_equal(health(p, 1, 32 * SECOND), POLICY_HEALTH_DOWN);
    fails(p, 0, POLICY_FAILURE_TIMEOUT, 32 * SECOND);
    assert_int_equal(health(p, 0, 32 * SECOND), POLICY_HEALTH_UP);
    assert_int_equal(policy_probe(p, 32 * SECOND), 0);
    policy_probed(p, 0, false, 33 * SECOND);
    assert_int_equal(health(p, 0, 33 * SECOND), POLICY_HEALTH_DOWN);
    policy_close(p);
}

/* A trial with a long prompt may take minutes: if the backend answers probes meanwhile,
 * it is well.  One that was ejected answered probes all the time. */
static void test_long_trial(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 0);
    drain_probes(p, SECOND);
    fails(p, 0, POLICY_FAILURE_CONNECT, 2 * SECOND);
    for (int i = 0; i < 5; i++)
        fails(p, 1, POLICY_FAILURE_CUT, 2 * SECOND);
    assert_int_equal(health(p, 1, 2 * SECOND), POLICY_HEALTH_UP); // the last
    assert_int_equal(policy_probe(p, 3 * SECOND), 0);
    policy_probed(p, 0, true, 3 * SECOND);
    assert_true(to(p, 0, 3 * SECOND).trial);
    assert_int_equal(policy_probe(p, 12 * SECOND), POLICY_NONE);
    assert_int_equal(health(p, 0, 12 * SECOND), POLICY_HEALTH_TRIAL);
    assert_int_equal(policy_probe(p, 13 * SECOND), 0);
    policy_probed(p, 0, true, 13 * SECOND);
    assert_int_equal(health(p, 0, 13 * SECOND), POLICY_HEALTH_SLOW_START);
    fails(p, 1, POLICY_FAILURE_CUT, 14 * SECOND);
    assert_int_equal(health(p, 1, 14 * SECOND), POLICY_HEALTH_EJECTED);
    assert_int_equal(health(p, 1, 45 * SECOND), POLICY_HEALTH_TRIAL);
    assert_true(to(p, 1, 45 * SECOND).trial);
    drain_probes(p, 60 * SECOND);
    drain_probes(p, 80 * SECOND);
    assert_int_equal(health(p, 1, 80 * SECOND), POLICY_HEALTH_TRIAL);
    policy_close(p);
}

/* The trial of before it went down again says nothing of the one that is under way. */
static void test_trial_of_before(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        struct policy *p = fleet_of(3, 0);
        drain_probes(p, SECOND);
        fails(p, 0, POLICY_FAILURE_CONNECT, 2 * SECOND);
        assert_int_equal(policy_probe(p, 3 * SECOND), 0);
        policy_probed(p, 0, true, 3 * SECOND);
        const struct policy_decision first = to(p, 0, 3 * SECOND);
        assert_true(first.trial);
        assert_int_equal(policy_probe(p, 13 * SECOND), 0);
        policy_probed(p, 0, false, 13 * SECOND);
        assert_int_equal(health(p, 0, 13 * SECOND), POLICY_HEALTH_DOWN);
        assert_int_equal(policy_probe(p, 20 * SECOND), 0);
        policy_probed(p, 0, true, 20 * SECOND);
        const struct policy_decision second = to(p, 0, 20 * SECOND);
        assert_true(second.trial);
        if (how)
            policy_failed(p, first.flight,
                          how == 1 ? POLICY_FAILURE_CLIENT : POLICY_FAILURE_CUT, 0,
                          21 * SECOND);
        assert_int_equal(health(p, 0, 21 * SECOND), POLICY_HEALTH_TRIAL);
        assert_int_equal(to(p, 0, 21 * SECOND).verdict, POLICY_WAIT);
        policy_close(p);
    }
}

/* Requests at once while it starts: a quarter of its limit, then more. */
static void test_slow_start(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 8);
    fails(p, 0, POLICY_FAILURE_CONNECT, 2 * SECOND);
    assert_int_equal(policy_probe(p, 3 * SECOND) >= 0, true);
    policy_probed(p, 0, true, 3 * SECOND);
    works(p, 0, 3 * SECOND);
    static const int most[] = {2, 2, 2, 2, 4, 4, 4, 6, 6, 6, 8, 8};
    for (int s = 0; s < 12; s++) {
        const uint64_t t = (3 + (uint64_t)s) * SECOND + SECOND / 10;
        struct policy_decision d[16];
        int n = 0;
        while (n < 16 && (d[n] = to(p, 0, t)).verdict == POLICY_SEND)
            n++;
        policy_leave_queue(p, d[n].ticket);
        if (n != most[s])
            fail_msg("%d s: %d at once", s, n);
        for (int i = 0; i < n; i++)
            policy_finished(p, d[i].flight, NULL, t);
    }
    policy_close(p);
}

/* One that takes 10 times as long as the others is taken out; twice as long is not. */
static void test_slow_backend(void **state)
{
    (void)state;
    for (int times = 2; times <= 10; times += 8) {
        struct policy *p = fleet_of(6, 0);
        uint64_t t = 2 * SECOND;
        for (int i = 0; i < 20; i++)
            for (int b = 0; b < 6; b++) {
                const struct policy_decision d = to(p, b, t);
                if (d.verdict != POLICY_SEND)
                    continue;
                policy_first_byte(p, d.flight,
                                  t + (b ? 100000 : 100000 * (uint64_t)times));
                policy_finished(p, d.flight, NULL, t + SECOND);
                t += SECOND;
            }
        assert_int_equal(health(p, 0, t) == POLICY_HEALTH_UP, times == 2);
        for (int b = 1; b < 6; b++)
            assert_int_equal(health(p, b, t), POLICY_HEALTH_UP);
        policy_close(p);
    }
}

/* Too busy is no fault: it gets nothing for as long as it says. */
static void test_busy(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 0);
    for (int i = 0; i < 20; i++) {
        const uint64_t t = (2 + 6 * (uint64_t)i) * SECOND;
        const struct policy_decision d = to(p, 0, t);
        assert_int_equal(d.verdict, POLICY_SEND);
        policy_failed(p, d.flight, POLICY_FAILURE_BUSY, 5 * SECOND, t);
        const struct policy_decision wait = to(p, 0, t + 4 * SECOND);
        assert_int_equal(wait.verdict, POLICY_WAIT);
        policy_leave_queue(p, wait.ticket);
        assert_int_equal(health(p, 0, t + 5 * SECOND), POLICY_HEALTH_UP);
    }
    policy_close(p);
}

/* 15 of 100 requests and 3 a second, whatever happens. */
static void test_retry_budget(void **state)
{
    (void)state;
    struct policy *p = fleet_of(2, 0);
    struct policy_request r = ask(10);
    struct policy_decision d;
    int n_retry = 0, n_denied = 0;
    for (int i = 0; i < 10000; i++) { // 100 a second, 100 s
        const uint64_t t = 100 * SECOND + (uint64_t)i * 10000;
        r.attempt = 0;
        policy_route(p, &r, t, (uint64_t)i, &d);
        policy_finished(p, d.flight, NULL, t);
        r.attempt = 1;
        policy_route(p, &r, t, (uint64_t)i, &d);
        n_retry += d.verdict == POLICY_SEND;
        n_denied += d.refusal == POLICY_REFUSED_BUDGET;
        if (d.verdict == POLICY_SEND)
            policy_finished(p, d.flight, NULL, t);
    }
    assert_int_equal(n_retry + n_denied, 10000);
    /* 1,500 and 300, and the 60 that were saved before. */
    assert_in_range(n_retry, 1700, 1861);
    policy_close(p);
}

/* A role that comes at once says that a backend is alive, not how fast it is. */
static void test_begun_is_not_first(void **state)
{
    (void)state;
    struct policy *p = fleet_of(1, 0);
    struct policy_view v;
    for (uint64_t i = 0; i < 40; i++) {
        struct policy_request r = ask(10);
        struct policy_decision d;
        policy_route(p, &r, (2 + i) * SECOND, i, &d);
        policy_began(p, d.flight, (2 + i) * SECOND + 1000);
        policy_began(p, d.flight, (2 + i) * SECOND + 2000);
        policy_first_byte(p, d.flight, (2 + i) * SECOND + 500000);
        policy_finished(p, d.flight, NULL, (2 + i) * SECOND + 600000);
    }
    assert_true(policy_see(p, 0, 60 * SECOND, &v));
    assert_in_range(v.first_byte_us, 499000, 501000);
    policy_close(p);
}

/* Its sessions come back to a backend, if nothing moved them meanwhile. */
static void test_session_after_failure(void **state)
{
    (void)state;
    struct policy *p = fleet_of(3, 0);
    struct policy_request r = ask(4000);
    struct policy_decision d;
    r.session = 9;
    policy_route(p, &r, 2 * SECOND, 5, &d);
    const int home = d.backend;
    policy_first_byte(p, d.flight, 2 * SECOND);
    policy_finished(p, d.flight, NULL, 2 * SECOND);
    for (uint64_t i = 0; i < 20; i++) {
        policy_route(p, &r, (3 + i) * SECOND, rng_mix(i), &d);
        assert_int_equal(d.backend, home);
        assert_int_equal(d.pick, POLICY_PICK_SESSION);
        policy_finished(p, d.flight, NULL, (3 + i) * SECOND);
    }
    policy_route(p, &r, 30 * SECOND, 5, &d);
    policy_failed(p, d.flight, POLICY_FAILURE_CONNECT, 0, 30 * SECOND);
    r.attempt = 1, r.tried[0] = home, r.n_tried = 1;
    policy_route(p, &r, 30 * SECOND, 5, &d);
    const int next = d.backend;
    assert_int_not_equal(next, home);
    policy_finished(p, d.flight, NULL, 31 * SECOND);
    /* The old home is well again, but has nothing of it any more. */
    policy_probed(p, home, true, 32 * SECOND);
    works(p, home, 32 * SECOND);
    r.attempt = r.n_tried = 0;
    policy_route(p, &r, 50 * SECOND, 5, &d);
    assert_int_equal(d.backend, next);
    policy_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ejection),
        cmocka_unit_test(test_failing_half),
        cmocka_unit_test(test_never_all),
        cmocka_unit_test(test_down_and_probes),
        cmocka_unit_test(test_active_health),
        cmocka_unit_test(test_long_trial),
        cmocka_unit_test(test_trial_of_before),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_slow_backend),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_retry_budget),
        cmocka_unit_test(test_begun_is_not_first),
        cmocka_unit_test(test_session_after_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
