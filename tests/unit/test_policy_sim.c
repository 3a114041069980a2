/* test_policy_sim.c - the policy in small simulated fleets, against bounds that do not
 * come from it: those of docs/router-policy.md, and what plain policies reach in the same
 * run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../../bench/route_sim.h"

#include <cmocka.h>

static struct sim_result result(enum sim_policy policy, enum sim_scenario scenario, int n)
{
    const struct sim_options o = {.policy = policy,
                                  .scenario = scenario,
                                  .n_backend = n,
                                  .n_request = 300 * n,
                                  .seed = 1};
    struct sim_result r;
    assert_true(sim_run(&o, &r));
    /* Every turn that was begun has ended, or was under way at the end: the policy holds
     * no more at a backend than its limit of 12. */
    assert_true(r.n_answered + r.n_broken <= r.n_turn);
    if (policy == SIM_TURBINE)
        assert_true(r.n_turn - r.n_answered - r.n_broken - r.n_failed <= 12 * n);
    assert_true(r.n_window > 5);
    return r;
}

static void test_scenarios(void **state)
{
    (void)state;
    for (int n = 10; n <= 60; n += 50)
        for (int i = 0; i < SIM_SCENARIOS; i++) {
            const struct sim_result r = result(SIM_TURBINE, (enum sim_scenario)i, n),
                                    plain = result(SIM_RANDOM, (enum sim_scenario)i, n);
            /* Of requests in 10 s windows with a mean of 16, largest over mean. */
            if (r.peak > 1.25 || r.peak <= 0)
                fail_msg("%s, %d: peak %.3f", sim_scenario_name((enum sim_scenario)i), n,
                         r.peak);
            assert_true(r.hit > 2 * plain.hit);
            assert_true(r.first_p50 < plain.first_p50);
            assert_true(r.wait_p99 <= plain.wait_p99);
        }
}

/* A third of the backends vanishes, and comes back: 30 s each. */
static void test_zone_loss(void **state)
{
    (void)state;
    for (int n = 12; n <= 60; n += 48) {
        const struct sim_result r = result(SIM_TURBINE, SIM_ZONE, n);
        assert_true(r.recovery >= 0 && r.recovery <= 30);
        assert_true(r.return_s >= 0 && r.return_s <= 30);
        /* Only what had begun to answer is lost. */
        assert_int_equal(r.n_failed, 0);
        const struct sim_result plain = result(SIM_ROUND_ROBIN, SIM_ZONE, n);
        assert_true(plain.n_failed > 10);
    }
}

/* 30 % of the backends fail, clients try again and again: no avalanche, few errors. */
static void test_storm(void **state)
{
    (void)state;
    const struct sim_result r = result(SIM_TURBINE, SIM_STORM, 60),
                            plain = result(SIM_RANDOM, SIM_STORM, 60);
    assert_true(r.amplified < 1.2);
    assert_true(r.recovery >= 0 && r.recovery <= 30);
    assert_true(5 * r.n_failed < plain.n_failed);
}

static void test_same_seed_same_result(void **state)
{
    (void)state;
    struct sim_result a = result(SIM_TURBINE, SIM_ZONE, 12),
                      b = result(SIM_TURBINE, SIM_ZONE, 12);
    a.decision_us = b.decision_us = 0;
    assert_memory_equal(&a, &b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scenarios),
        cmocka_unit_test(test_zone_loss),
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_same_seed_same_result),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
