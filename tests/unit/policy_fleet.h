/* policy_fleet.h - fleets and requests for the tests of the routing policy. */
#ifndef TESTS_POLICY_FLEET_H
#define TESTS_POLICY_FLEET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/rng.h"
#include "router/policy.h"

#include <cmocka.h>

#define SECOND ((uint64_t)1000000)

static const struct policy_model model_m[] = {{"m", NULL}};

static inline struct policy_backend backend(uint64_t id, enum policy_class class,
                                            int n_ctx, int limit)
{
    return (struct policy_backend){.id = id,
                                   .class = class,
                                   .models = model_m,
                                   .n_model = 1,
                                   .n_ctx = n_ctx,
                                   .weight = 1,
                                   .limit = limit};
}

static inline struct policy_request ask(int n_prompt)
{
    return (struct policy_request){
        .model = "m", .n_prompt = n_prompt, .exact = true, .max_tokens = -1};
}

static inline void load_fleet(struct policy *p, const struct policy_backend *b, int n,
                              uint64_t now)
{
    const struct policy_fleet f = {.backends = b, .n_backend = n};
    struct error err = {0};
    if (policy_reload(p, &f, now, NULL, &err))
        fail_msg("%s", err.text);
}

static inline struct policy *open_policy(const struct policy_options *o,
                                         const struct policy_backend *b, int n,
                                         uint64_t now)
{
    struct policy *p = NULL;
    struct error err = {0};
    if (policy_open(&p, o, &err))
        fail_msg("%s", err.text);
    load_fleet(p, b, n, now);
    return p;
}

#endif
