/* bench_route_sim.c - the routing policy against plain ones, in simulated fleets.
 *
 *   bench_route_sim [BACKENDS [REQUESTS [SCENARIO [SEED]]]]
 *
 * SCENARIO is 0 (steady) to 4 (slow backend), or -1 for all. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "route_sim.h"

static int run(const struct sim_options *o)
{
    struct sim_result r;
    if (!sim_run(o, &r)) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    printf(
        "%-12s %-11s %7.1f %7.3f %7.3f %7.3f %7.2f %5.1f %5.2f %5.2f %5.0f %5.0f %7lld "
        "%7lld %7lld %5.2f %5.1f %6lld %5.2f\n",
        sim_scenario_name(o->scenario), sim_policy_name(o->policy), r.seconds, r.wait_p50,
        r.wait_p99, r.first_p50, r.first_p99, 100 * r.hit, r.peak, r.peak_any, r.recovery,
        r.return_s, (long long)r.n_failed, (long long)r.n_refused, (long long)r.n_broken,
        r.amplified, 100 * r.moved, (long long)r.n_over, r.decision_us);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv)
{
    const int n_backend = argc > 1 ? atoi(argv[1]) : 100;
    const long long n_request = argc > 2 ? atoll(argv[2]) : 100000;
    const int only = argc > 3 ? atoi(argv[3]) : -1;
    const unsigned long long seed = argc > 4 ? strtoull(argv[4], NULL, 10) : 1;
    if (n_backend < 1 || n_backend > POLICY_BACKENDS_MAX || n_request < 1 ||
        only >= SIM_SCENARIOS) {
        fprintf(stderr,
                "usage: bench_route_sim [BACKENDS [REQUESTS [SCENARIO [SEED]]]]\n");
        return 2;
    }
    printf("%d backends, %lld turns\n", n_backend, n_request);
    printf(
        "%-12s %-11s %7s %7s %7s %7s %7s %5s %5s %5s %5s %5s %7s %7s %7s %5s %5s %5s\n",
        "", "", "time", "wait", "wait", "first", "first", "hits", "peak", "peak", "recov",
        "back", "failed", "refused", "broken", "ampl", "moved", "us");
    printf(
        "%-12s %-11s %7s %7s %7s %7s %7s %5s %5s %5s %5s %5s %7s %7s %7s %5s %5s %5s\n",
        "", "", "s", "p50 s", "p99 s", "p50 s", "p99 s", "%", "calm", "any", "s", "s", "",
        "", "", "", "%", "turn");
    for (int scenario = 0; scenario < SIM_SCENARIOS; scenario++)
        for (int policy = SIM_TURBINE; policy <= SIM_ROUND_ROBIN; policy++) {
            const struct sim_options o = {.policy = (enum sim_policy)policy,
                                          .scenario = (enum sim_scenario)scenario,
                                          .n_backend = n_backend,
                                          .n_request = n_request,
                                          .seed = seed};
            if ((only < 0 || only == scenario) && run(&o))
                return 1;
        }
    return 0;
}
