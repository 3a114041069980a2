/* test_policy_place.c - where prefixes go: the same place each time, few moves when the
 * fleet changes, and no more than the bound in one place.  And the table that remembers.
 */
#include "policy_fleet.h"

#include "router/policy_table.h"

enum { KEYS = 500, FLEET = 20 };

/* The table against a list in order of use. */
static void test_table(void **state)
{
    (void)state;
    enum { CAP = 50, ALL = 80 };
    struct policy_table t;
    uint64_t list[ALL], used[ALL]; // the newest first
    int n = 0, fresh;
    assert_int_equal(policy_table_open(&t, CAP, NULL), STATUS_OK);
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t key = rng_at(1, i) % ALL + 1, life = 100;
        int at = 0;
        while (at < n && list[at] != key)
            at++;
        const int entry = policy_table_find(&t, key, life, i);
        const bool expired = at < n && i - used[at] > life;
        assert_int_equal(entry >= 0, at < n && !expired);
        if (expired || (entry >= 0 && rng_at(2, i) % 5 == 0)) {
            if (!expired)
                policy_table_forget(&t, entry);
            memmove(list + at, list + at + 1, (size_t)(n - at - 1) * sizeof list[0]);
            memmove(used + at, used + at + 1, (size_t)(n - at - 1) * sizeof used[0]);
            at = --n;
        } else if (rng_at(3, i) % 2) {
            const int put = policy_table_put(&t, key, i, &fresh);
            assert_int_equal(fresh, entry < 0);
            assert_true(put >= 0 && put < CAP && (entry < 0 || put == entry));
            if (at == n)
                at = n < CAP ? n++ : CAP - 1;
            memmove(list + 1, list, (size_t)at * sizeof list[0]);
            memmove(used + 1, used, (size_t)at * sizeof used[0]);
            list[0] = key, used[0] = i;
        }
        assert_int_equal(t.n, n);
    }
    policy_table_close(&t);
}

/* Where each key goes in a calm fleet that remembers nothing. */
static void place_all(struct policy *p, int *to, uint64_t *now)
{
    for (int k = 0; k < KEYS; k++) {
        struct policy_request r = ask(100);
        struct policy_decision d;
        r.n_prefix = 1;
        r.prefix[0] = rng_at(8, (uint64_t)k);
        *now += 10 * SECOND;
        policy_route(p, &r, *now, (uint64_t)k, &d);
        assert_int_equal(d.verdict, POLICY_SEND);
        assert_int_equal(d.pick, POLICY_PICK_HASH);
        policy_finished(p, d.flight, NULL, *now);
        to[k] = d.backend;
    }
}

static void test_ring(void **state)
{
    (void)state;
    struct policy_backend b[FLEET];
    struct policy_options o = policy_options_default;
    int first[KEYS], again[KEYS], without[KEYS], n[FLEET] = {0};
    uint64_t now = SECOND;
    o.prefix_us = 0;
    for (int i = 0; i < FLEET; i++)
        b[i] = backend(rng_at(9, (uint64_t)i), POLICY_CLASS_ANY, 0, 0);
    struct policy *p = open_policy(&o, b, FLEET, now);
    place_all(p, first, &now);
    place_all(p, again, &now);
    assert_memory_equal(first, again, sizeof first);
    load_fleet(p, b, FLEET - 1, now);
    place_all(p, without, &now);
    for (int k = 0; k < KEYS; k++) {
        n[first[k]]++;
        if (first[k] != FLEET - 1)
            assert_int_equal(without[k], first[k]);
        else
            assert_int_not_equal(without[k], FLEET - 1);
    }
    for (int i = 0; i < FLEET; i++)
        assert_in_range(n[i], KEYS / FLEET / 3, KEYS / FLEET * 2);
    /* It comes back, and another way: drained. */
    load_fleet(p, b, FLEET, now);
    place_all(p, again, &now);
    assert_memory_equal(first, again, sizeof first);
    policy_drain(p, FLEET - 1, true, now);
    place_all(p, again, &now);
    for (int k = 0; k < KEYS; k++)
        assert_int_equal(again[k] == first[k], first[k] != FLEET - 1);
    policy_close(p);
}

/* All requests of a window have one prefix, or one session: largest over mean at most
 * 1.25 of what the weights say, once the mean is 16. */
static void test_bound(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        enum { N = 10 };
        struct policy_backend b[N];
        int n[N] = {0}, weights = 0;
        for (int i = 0; i < N; i++) {
            b[i] = backend(rng_at(9, (uint64_t)i), POLICY_CLASS_ANY, 0, 0);
            b[i].weight = kind % 2 ? 1 : 1 + i % 3;
            weights += b[i].weight;
        }
        struct policy *p = open_policy(NULL, b, N, SECOND);
        for (int k = 0; k < 16 * N * 5; k++) {
            struct policy_request r = ask(100);
            struct policy_decision d;
            r.session = kind < 2 ? 0 : 4;
            r.n_prefix = kind < 2 ? 2 : 0;
            r.prefix[0] = 11, r.prefix[1] = 12;
            policy_route(p, &r, 20 * SECOND + (uint64_t)k * 1000, (uint64_t)k, &d);
            assert_int_equal(d.verdict, POLICY_SEND);
            policy_finished(p, d.flight, NULL, 20 * SECOND + (uint64_t)k * 1000);
            n[d.backend]++;
            for (int i = 0; k >= 16 * N && i < N; i++)
                assert_true(n[i] <= 1.25 * (k + 1) * b[i].weight / weights);
        }
        policy_close(p);
    }
}

/* With little to do nobody is sent away from a home. */
static void test_no_bound_when_calm(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 0),
                                       backend(2, POLICY_CLASS_ANY, 0, 0)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    int home = POLICY_NONE;
    for (uint64_t k = 0; k < 200; k++) {
        struct policy_request r = ask(100);
        struct policy_decision d;
        r.session = 4;
        /* Two a second: 20 in a window, a mean of 10. */
        policy_route(p, &r, 20 * SECOND + k * SECOND / 2, k, &d);
        policy_finished(p, d.flight, NULL, 20 * SECOND + k * SECOND / 2);
        home = home < 0 ? d.backend : home;
        assert_int_equal(d.backend, home);
    }
    policy_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_no_bound_when_calm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
