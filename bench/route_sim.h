/* route_sim.h - a fleet that is not there: the policy of `turbine route`, or a plain one,
 * in front of backends with caches, by discrete events.
 *
 * Users hold conversations: a turn, an answer, a pause.  A conversation begins with the
 * prefix of its application (system, tools), whose popularity follows Zipf's law, and
 * grows with every turn.  A backend serves some requests at once; tokens it has not
 * cached are read first.  The same options give the same result on every machine. */
#ifndef BENCH_ROUTE_SIM_H
#define BENCH_ROUTE_SIM_H

#include <stdint.h>

#include "router/policy.h"

enum sim_policy { SIM_TURBINE, SIM_RANDOM, SIM_ROUND_ROBIN };

enum sim_scenario {
    SIM_STEADY,
    SIM_ZONE,  // a third of the backends vanishes, and comes back
    SIM_HOT,   // 30 % of the requests have the same prefix
    SIM_STORM, // 30 % of the backends answer 500, and clients try again and again
    SIM_SLOW,  // one backend in a hundred becomes ten times as slow
    SIM_SCENARIOS
};

struct sim_options {
    enum sim_policy policy;
    enum sim_scenario scenario;
    int n_backend;
    int64_t n_request; // turns that users begin
    uint64_t seed;
};

struct sim_result {
    double seconds;              // simulated
    int64_t n_turn;              // that were begun
    int64_t n_answered;          // whole answers
    int64_t n_failed;            // errors that a client saw, before the first byte
    int64_t n_broken;            // answers that ended in the middle
    int64_t n_refused;           // by the policy (of those above)
    int64_t n_sent;              // requests to backends
    double wait_p50, wait_p99;   // s until a backend began with it
    double first_p50, first_p99; // s until the first byte
    double hit;                  // part of prompt tokens that were cached
    double peak;      // largest over mean of requests a backend, in 10 s windows with a
                      // mean of 16, all backends being well
    double peak_any;  // likewise, in all windows and of the backends that were there
    int n_window;     // with that mean
    double recovery;  // s from a loss until waits and errors are as before; -1: never
    double return_s;  // s from the return until those that were gone do their part
    double amplified; // requests to backends for each that a client sent (in a storm, or
                      // while a zone is gone)
    double moved;     // conversations that changed backends, of all turns
    int64_t n_over;   // sent beyond the bound of loads
    double decision_us; // of processor time for each turn: policy and simulation
};

/* False without memory. */
bool sim_run(const struct sim_options *o, struct sim_result *out);

const char *sim_scenario_name(enum sim_scenario s);
const char *sim_policy_name(enum sim_policy p);

#endif
