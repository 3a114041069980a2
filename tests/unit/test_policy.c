/* test_policy.c - the rules of docs/router-policy.md, one by one. */
#include "policy_fleet.h"

enum { A, B, C };

/* A short backend with 32k, a long one with 128k. */
static struct policy *short_and_long(void)
{
    const struct policy_backend b[] = {backend(11, POLICY_CLASS_SHORT, 32768, 0),
                                       backend(12, POLICY_CLASS_LONG, 131072, 0)};
    return open_policy(NULL, b, 2, SECOND);
}

static struct policy_decision route(struct policy *p, struct policy_request r,
                                    uint64_t now)
{
    struct policy_decision d;
    policy_route(p, &r, now, 12345, &d);
    return d;
}

/* Route, and have it answered at once. */
static struct policy_decision served(struct policy *p, struct policy_request r,
                                     uint64_t now)
{
    const struct policy_decision d = route(p, r, now);
    assert_int_equal(d.verdict, POLICY_SEND);
    policy_first_byte(p, d.flight, now + 1000);
    policy_finished(p, d.flight, NULL, now + 2000);
    return d;
}

static void take_down(struct policy *p, int n, uint64_t now)
{
    struct policy_request r = ask(10);
    r.lane = n == A ? POLICY_SHORT : POLICY_LONG;
    const struct policy_decision d = route(p, r, now);
    assert_int_equal(d.verdict, POLICY_SEND);
    assert_int_equal(d.backend, n);
    policy_failed(p, d.flight, POLICY_FAILURE_CONNECT, 0, now);
}

struct lane_case {
    int n_prompt, max_tokens;
    enum policy_lane asked;
    bool side;
    int backend;
    enum policy_lane_why why;
};

/* The order: asked for, side, tokens; max_tokens does not make a prompt long. */
static void test_lanes(void **state)
{
    (void)state;
    static const struct lane_case cases[] = {
        {100, -1, POLICY_AUTO, false, A, POLICY_LANE_TOKENS},
        {16000, -1, POLICY_AUTO, false, A, POLICY_LANE_TOKENS},
        {16001, -1, POLICY_AUTO, false, B, POLICY_LANE_TOKENS},
        {100, 32000, POLICY_AUTO, false, A, POLICY_LANE_TOKENS},
        {15999, 32000, POLICY_AUTO, false, A, POLICY_LANE_TOKENS},
        {100, -1, POLICY_LONG, false, B, POLICY_LANE_ASKED},
        {20000, -1, POLICY_SHORT, false, A, POLICY_LANE_ASKED},
        {20000, -1, POLICY_AUTO, true, A, POLICY_LANE_SIDE},
        {20000, -1, POLICY_LONG, true, B, POLICY_LANE_ASKED},
        {0, -1, POLICY_AUTO, false, A, POLICY_LANE_TOKENS},
        {100000, -1, POLICY_AUTO, false, B, POLICY_LANE_TOKENS},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct lane_case *c = &cases[i];
        struct policy *p = short_and_long();
        struct policy_request r = ask(c->n_prompt);
        r.max_tokens = c->max_tokens;
        r.lane = c->asked;
        r.side = c->side;
        const struct policy_decision d = served(p, r, 2 * SECOND);
        if (d.backend != c->backend || d.lane_why != c->why || d.fallback)
            fail_msg("case %zu: backend %d, %s, fallback %s", i, d.backend,
                     policy_lane_name(d.lane_why), policy_fallback_name(d.fallback));
        policy_close(p);
    }
}

/* What was asked for does not fit: the other lane, or an error that says both numbers. */
static void test_contexts(void **state)
{
    (void)state;
    struct policy *p = short_and_long();
    struct policy_request r = ask(40000);
    r.lane = POLICY_SHORT;
    struct policy_decision d = served(p, r, 2 * SECOND);
    assert_int_equal(d.backend, B);
    assert_int_equal(d.fallback, POLICY_FALLBACK_CONTEXT);
    /* The last 500 tokens of a context are room enough if there is no other. */
    d = served(p, ask(131072 - 500), 2 * SECOND);
    assert_int_equal(d.backend, B);
    d = route(p, ask(140000), 2 * SECOND);
    assert_int_equal(d.verdict, POLICY_REFUSE);
    assert_int_equal(d.refusal, POLICY_REFUSED_CONTEXT);
    assert_int_equal(d.n_prompt, 140000);
    assert_int_equal(d.n_ctx, 131072);
    /* A prompt that fills all of it leaves no room for an answer. */
    d = route(p, ask(131072), 2 * SECOND);
    assert_int_equal(d.refusal, POLICY_REFUSED_CONTEXT);
    assert_true(d.n_prompt > d.n_ctx);
    policy_close(p);
}

/* The long backend is down: what fits goes to the short one, the rest is refused. */
static void test_no_small_fallback(void **state)
{
    (void)state;
    struct policy *p = short_and_long();
    take_down(p, B, 2 * SECOND);
    /* Within a moment it may be back: what fits nowhere else waits. */
    struct policy_decision d = route(p, ask(60000), 2 * SECOND);
    assert_int_equal(d.verdict, POLICY_WAIT);
    policy_leave_queue(p, d.ticket);
    d = served(p, ask(20000), 5 * SECOND);
    assert_int_equal(d.backend, A);
    assert_int_equal(d.lane, POLICY_LONG);
    assert_int_equal(d.fallback, POLICY_FALLBACK_DOWN);
    d = route(p, ask(60000), 5 * SECOND);
    assert_int_equal(d.verdict, POLICY_REFUSE);
    assert_int_equal(d.refusal, POLICY_REFUSED_CONTEXT);
    assert_int_equal(d.n_prompt, 60000);
    assert_int_equal(d.n_ctx, 32768);
    policy_close(p);
}

/* A context nobody knows is no fallback for a long prompt; for a short one it is. */
static void test_unknown_context(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(11, POLICY_CLASS_SHORT, 0, 0),
                                       backend(12, POLICY_CLASS_LONG, 0, 0)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    assert_int_equal(served(p, ask(1000000), 2 * SECOND).backend, B);
    take_down(p, B, 2 * SECOND);
    struct policy_decision d = route(p, ask(17000), 10 * SECOND);
    assert_int_equal(d.verdict, POLICY_REFUSE);
    assert_int_equal(d.refusal, POLICY_REFUSED_DOWN);
    struct policy_request r = ask(15000);
    r.lane = POLICY_LONG;
    d = served(p, r, 10 * SECOND);
    assert_int_equal(d.backend, A);
    policy_close(p);
    /* Alone it takes everything: it knows best. */
    p = open_policy(NULL, b, 1, SECOND);
    d = served(p, ask(1000000), 2 * SECOND);
    assert_int_equal(d.fallback, POLICY_FALLBACK_NONE);
    policy_close(p);
}

/* A conversation grows past the threshold, stays there, and comes back once compacted. */
static void test_hysteresis(void **state)
{
    (void)state;
    static const struct {
        int n_prompt, backend;
        enum policy_lane_why why;
    } turns[] = {{9000, A, POLICY_LANE_TOKENS},  {15000, A, POLICY_LANE_STAYS},
                 {16500, B, POLICY_LANE_TOKENS}, {20000, B, POLICY_LANE_TOKENS},
                 {12000, B, POLICY_LANE_STAYS},  {8001, B, POLICY_LANE_STAYS},
                 {8000, A, POLICY_LANE_TOKENS},  {12000, A, POLICY_LANE_STAYS}};
    for (int by_prefix = 0; by_prefix < 2; by_prefix++) {
        struct policy *p = short_and_long();
        for (size_t i = 0; i < sizeof turns / sizeof turns[0]; i++) {
            struct policy_request r = ask(turns[i].n_prompt);
            r.session = by_prefix ? 0 : 77;
            r.n_prefix = by_prefix ? 3 : 0;
            r.prefix[0] = 1000;
            r.prefix[1] = 2000 + i; // the prompt of the turn before
            r.prefix[2] = 2001 + i;
            const struct policy_decision d = served(p, r, (2 + i) * SECOND);
            if (d.backend != turns[i].backend || d.lane_why != turns[i].why)
                fail_msg("turn %zu: backend %d, %s", i, d.backend,
                         policy_lane_name(d.lane_why));
            /* Side requests in between change nothing. */
            r.side = true;
            r.n_prefix = 0;
            r.n_prompt = 50;
            assert_int_equal(served(p, r, (2 + i) * SECOND).backend, A);
        }
        policy_close(p);
    }
}

/* An estimate near the threshold or a limit says so, an exact number never. */
static void test_near(void **state)
{
    (void)state;
    static const struct {
        int n_prompt;
        bool near;
    } cases[] = {{11000, false}, {13000, true},  {19000, true},  {21000, false},
                 {60000, false}, {120000, true}, {140000, true}, {170000, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int exact = 0; exact < 2; exact++) {
            struct policy *p = short_and_long();
            struct policy_request r = ask(cases[i].n_prompt);
            r.exact = exact;
            const struct policy_decision d = route(p, r, 2 * SECOND);
            if (d.near != (cases[i].near && !exact))
                fail_msg("%d tokens, exact %d: near %d", r.n_prompt, exact, d.near);
            policy_close(p);
        }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *asked, *name;
        enum policy_lane lane;
    } parse[] = {{"m", "m", POLICY_AUTO},
                 {"m@short", "m", POLICY_SHORT},
                 {"a/b:7b@long", "a/b:7b", POLICY_LONG},
                 {"m@auto", "m", POLICY_AUTO},
                 {"m@2024", "m@2024", POLICY_AUTO},
                 {"m@long@short", "m@long", POLICY_SHORT},
                 {"@long", "@long", POLICY_AUTO},
                 {"", "", POLICY_AUTO}};
    char name[POLICY_NAME_MAX], large[600];
    enum policy_lane lane;
    for (size_t i = 0; i < sizeof parse / sizeof parse[0]; i++) {
        assert_true(policy_parse_model(name, &lane, parse[i].asked));
        assert_string_equal(name, parse[i].name);
        assert_int_equal(lane, parse[i].lane);
    }
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    assert_false(policy_parse_model(name, &lane, large));

    const struct policy_model of_a[] = {{"qwen:latest", NULL}, {"alias", "qwen"}};
    const struct policy_model of_b[] = {{"*", "the-one"}};
    struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 0),
                                 backend(2, POLICY_CLASS_ANY, 0, 0)};
    b[0].models = of_a, b[0].n_model = 2;
    struct policy *p = open_policy(NULL, b, 1, SECOND);
    struct policy_request r = ask(10);
    assert_int_equal(route(p, r, SECOND).refusal, POLICY_REFUSED_MODEL);
    r.model = "qwen";
    assert_null(served(p, r, SECOND).model);
    r.model = "alias:latest";
    assert_string_equal(served(p, r, SECOND).model, "qwen");
    r.model = "alias:7b";
    assert_int_equal(route(p, r, SECOND).refusal, POLICY_REFUSED_MODEL);
    b[1].models = of_b, b[1].n_model = 1;
    load_fleet(p, b, 2, SECOND);
    const struct policy_decision d = served(p, r, SECOND);
    assert_int_equal(d.backend, 1);
    assert_string_equal(d.model, "the-one");
    r.model = "qwen";
    bool seen[2] = {false, false};
    for (uint64_t i = 0; i < 40; i++) {
        struct policy_decision e;
        policy_route(p, &r, SECOND, rng_mix(i), &e);
        seen[e.backend] = true;
    }
    assert_true(seen[0] && seen[1]);
    policy_close(p);
}

/* Thresholds of models; others have the default. */
static void test_thresholds(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(11, POLICY_CLASS_SHORT, 0, 0),
                                       backend(12, POLICY_CLASS_LONG, 0, 0)};
    const struct policy_threshold t = {"m:latest", 6000};
    const struct policy_fleet f = {
        .backends = b, .n_backend = 2, .thresholds = &t, .n_threshold = 1};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    assert_int_equal(policy_threshold_of(p, "m"), 16000);
    assert_int_equal(policy_reload(p, &f, SECOND, NULL, NULL), STATUS_OK);
    assert_int_equal(policy_threshold_of(p, "m"), 6000);
    assert_int_equal(policy_threshold_of(p, "other"), 16000);
    assert_int_equal(served(p, ask(6000), SECOND).backend, A);
    assert_int_equal(served(p, ask(6001), SECOND).backend, B);
    policy_close(p);
}

/* Dialects a backend does not speak, and those that were tried. */
static void test_tried_and_dialects(void **state)
{
    (void)state;
    struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 0),
                                 backend(2, POLICY_CLASS_ANY, 0, 0)};
    b[0].dialects = 1, b[1].dialects = 2;
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    struct policy_request r = ask(10);
    for (int i = 0; i < 10; i++) {
        r.dialects = 2;
        assert_int_equal(served(p, r, SECOND).backend, B);
        r.dialects = 5;
        assert_int_equal(served(p, r, SECOND).backend, A);
    }
    r.dialects = 0;
    r.attempt = 1;
    r.tried[0] = A, r.n_tried = 1;
    struct policy_decision d = served(p, r, SECOND);
    assert_int_equal(d.backend, B);
    assert_int_equal(d.fallback, POLICY_FALLBACK_RETRY);
    r.tried[1] = B, r.n_tried = 2;
    d = route(p, r, SECOND);
    assert_int_equal(d.refusal, POLICY_REFUSED_TRIED);
    policy_close(p);
}

/* The first request starts a lazy backend; those that come meanwhile wait too. */
static void test_lazy(void **state)
{
    (void)state;
    struct policy_backend b[] = {backend(11, POLICY_CLASS_SHORT, 32768, 0),
                                 backend(12, POLICY_CLASS_LONG, 131072, 0)};
    b[1].lazy = true;
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    assert_int_equal(served(p, ask(100), SECOND).backend, A);
    const struct policy_decision d = route(p, ask(20000), SECOND);
    assert_int_equal(d.verdict, POLICY_WAIT);
    assert_int_equal(d.start, B);
    assert_true(d.deadline_us > 100 * SECOND);
    const struct policy_decision e = route(p, ask(30000), 2 * SECOND);
    assert_int_equal(e.verdict, POLICY_WAIT);
    struct policy_decision w;
    for (uint64_t t = 2; t < 60; t++)
        assert_false(policy_wake(p, t * SECOND, t, &w));
    policy_probed(p, B, true, 60 * SECOND);
    assert_true(policy_wake(p, 60 * SECOND, 1, &w));
    assert_int_equal(w.verdict, POLICY_SEND);
    assert_int_equal(w.ticket, d.ticket);
    assert_int_equal(w.backend, B);
    assert_true(policy_wake(p, 60 * SECOND, 1, &w));
    assert_int_equal(w.ticket, e.ticket);
    assert_false(policy_wake(p, 60 * SECOND, 1, &w));
    policy_stopped(p, B, 100 * SECOND);
    assert_int_equal(route(p, ask(30000), 101 * SECOND).start, B);
    /* It does not start: what fits goes to the short one, the rest is told so. */
    policy_probed(p, B, false, 105 * SECOND);
    assert_true(policy_wake(p, 108 * SECOND, 1, &w));
    assert_int_equal(w.verdict, POLICY_SEND);
    assert_int_equal(w.backend, A);
    assert_int_equal(w.fallback, POLICY_FALLBACK_DOWN);
    policy_close(p);
}

/* First come, first served; the deadline ends a wait. */
static void test_queue(void **state)
{
    (void)state;
    struct policy_options o = policy_options_default;
    o.n_queue = 3;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 1)};
    struct policy *p = open_policy(&o, b, 1, SECOND);
    struct policy_decision d = route(p, ask(10), SECOND), w;
    assert_int_equal(d.verdict, POLICY_SEND);
    struct policy_request r = ask(10);
    r.deadline_us = 5 * SECOND;
    const struct policy_decision first = route(p, ask(10), SECOND),
                                 second = route(p, r, SECOND),
                                 third = route(p, ask(10), 2 * SECOND);
    assert_int_equal(first.verdict, POLICY_WAIT);
    assert_int_equal(second.deadline_us, 5 * SECOND);
    assert_int_equal(third.deadline_us, 62 * SECOND);
    const struct policy_decision full = route(p, ask(10), 2 * SECOND);
    assert_int_equal(full.refusal, POLICY_REFUSED_QUEUE);
    assert_true(full.retry_us >= SECOND);
    assert_false(policy_wake(p, 3 * SECOND, 1, &w));
    policy_finished(p, d.flight, NULL, 3 * SECOND);
    assert_true(policy_wake(p, 3 * SECOND, 1, &w));
    assert_int_equal(w.ticket, first.ticket);
    assert_int_equal(w.verdict, POLICY_SEND);
    assert_false(policy_wake(p, 3 * SECOND, 1, &w));
    assert_true(policy_wake(p, 6 * SECOND, 1, &d));
    assert_int_equal(d.ticket, second.ticket);
    assert_int_equal(d.refusal, POLICY_REFUSED_DEADLINE);
    policy_leave_queue(p, third.ticket);
    policy_leave_queue(p, third.ticket); // named nothing any more
    policy_failed(p, w.flight, POLICY_FAILURE_CLIENT, 0, 7 * SECOND);
    assert_false(policy_wake(p, 7 * SECOND, 1, &d));
    assert_int_equal(route(p, ask(10), 7 * SECOND).verdict, POLICY_SEND);
    policy_close(p);
}

/* A place that became free is for those that wait, even if another comes before they were
 * woken. */
static void test_no_overtaking(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 1)};
    struct policy *p = open_policy(NULL, b, 1, SECOND);
    const struct policy_decision running = route(p, ask(10), SECOND),
                                 waits = route(p, ask(10), SECOND);
    struct policy_decision w;
    policy_finished(p, running.flight, NULL, 2 * SECOND);
    assert_int_equal(route(p, ask(10), 2 * SECOND).verdict, POLICY_WAIT);
    assert_true(policy_wake(p, 2 * SECOND, 1, &w));
    assert_int_equal(w.ticket, waits.ticket);
    assert_int_equal(w.verdict, POLICY_SEND);
    assert_false(policy_wake(p, 2 * SECOND, 1, &w));
    policy_close(p);
}

/* A conversation waits a moment for the backend that has it, then goes elsewhere. */
static void test_home_wait(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 1),
                                       backend(2, POLICY_CLASS_ANY, 0, 1)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    struct policy_request r = ask(5000), other = ask(10);
    struct policy_decision w;
    r.session = 5;
    for (int finish = 0; finish < 2; finish++) {
        const uint64_t t = (uint64_t)(2 + 10 * finish) * SECOND;
        const int home = served(p, r, t).backend;
        other.tried[0] = 1 - home, other.n_tried = 1;
        const struct policy_decision busy = route(p, other, t + 1);
        assert_int_equal(busy.backend, home);
        const struct policy_decision d = route(p, r, t + 2);
        assert_int_equal(d.verdict, POLICY_WAIT);
        assert_false(policy_wake(p, t + SECOND / 2, 1, &w));
        if (finish)
            policy_finished(p, busy.flight, NULL, t + SECOND / 2);
        /* 5,000 tokens are worth a second. */
        assert_true(policy_wake(p, t + SECOND / 2 + (finish ? 0 : SECOND), 1, &w));
        assert_int_equal(w.ticket, d.ticket);
        assert_int_equal(w.backend, finish ? home : 1 - home);
        policy_finished(p, w.flight, NULL, t + 3 * SECOND);
        if (!finish)
            policy_finished(p, busy.flight, NULL, t + 3 * SECOND);
    }
    struct policy_counters count;
    policy_count(p, &count);
    assert_int_equal(count.n_moved, 1);
    policy_close(p);
}

/* Loads that backends report count for ten seconds. */
static void test_reported_load(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 0),
                                       backend(2, POLICY_CLASS_ANY, 0, 0)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    policy_load(p, A, 3, 5, 0, 2 * SECOND);
    struct policy_view v;
    assert_true(policy_see(p, A, 2 * SECOND, &v));
    assert_int_equal(v.load, 8);
    int n[2] = {0, 0};
    for (uint64_t i = 0; i < 8; i++) {
        struct policy_request r = ask(10);
        struct policy_decision d;
        policy_route(p, &r, 2 * SECOND + i, rng_mix(i), &d);
        n[d.backend]++;
    }
    assert_int_equal(n[B], 8);
    /* Its 8 are ours, also those that have ended since it was asked, or came since. */
    policy_load(p, B, 8, 0, 8, 3 * SECOND);
    assert_true(policy_see(p, B, 3 * SECOND, &v));
    assert_int_equal(v.load, 8);
    policy_load(p, B, 9, 2, 3, 3 * SECOND);
    assert_true(policy_see(p, B, 3 * SECOND, &v));
    assert_int_equal(v.load, 11);
    policy_load(p, B, 9, 2, 10, 3 * SECOND);
    assert_true(policy_see(p, B, 3 * SECOND, &v));
    assert_int_equal(v.load, 9);
    assert_true(policy_see(p, A, 13 * SECOND, &v));
    assert_int_equal(v.load, n[A]);
    assert_false(policy_see(p, 2, 13 * SECOND, &v));
    policy_close(p);
}

/* Options change under those that wait: they keep place and deadline. */
static void test_change(void **state)
{
    (void)state;
    const struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 1)};
    struct policy_options o = policy_options_default;
    struct policy_request r = ask(10);
    struct policy_decision d, last;
    struct policy_counters count;
    uint32_t ticket[6];
    o.n_queue = 2;
    struct policy *p = open_policy(&o, b, 1, SECOND);
    policy_route(p, &r, 2 * SECOND, 1, &last);
    assert_int_equal(last.verdict, POLICY_SEND);
    const int sizes[] = {2, 5, 3, 6};
    int n = 0;
    for (int k = 0; k < 4; k++) {
        o.n_queue = sizes[k];
        o.queue_us = (uint64_t)(10 + k) * SECOND;
        o.n_flight = 1; // of the opening alone
        assert_int_equal(policy_change(p, &o, 2 * SECOND, NULL), STATUS_OK);
        while (n < sizes[k]) {
            policy_route(p, &r, 2 * SECOND, 1, &d);
            assert_int_equal(d.verdict, POLICY_WAIT);
            assert_int_equal(d.deadline_us, (uint64_t)(12 + k) * SECOND);
            ticket[n++] = d.ticket;
        }
        policy_route(p, &r, 2 * SECOND, 1, &d);
        assert_int_equal(d.refusal, POLICY_REFUSED_QUEUE);
    }
    o.n_queue = 1;
    assert_int_equal(policy_change(p, &o, 2 * SECOND, NULL), STATUS_OK);
    o.n_queue = 0;
    assert_int_equal(policy_change(p, &o, 2 * SECOND, NULL), STATUS_BAD_ARG);
    policy_leave_queue(p, ticket[5]);
    /* First come, first served, and none is lost. */
    for (int i = 0; i < 5; i++) {
        policy_finished(p, last.flight, NULL, 3 * SECOND);
        assert_true(policy_wake(p, 3 * SECOND, 1, &last));
        assert_int_equal(last.verdict, POLICY_SEND);
        assert_int_equal(last.ticket, ticket[i]);
        assert_false(policy_wake(p, 3 * SECOND, 1, &d));
    }
    policy_count(p, &count);
    assert_int_equal(count.n_queue, 0);
    policy_finished(p, last.flight, NULL, 3 * SECOND);
    policy_close(p);
}

/* A reload keeps index, health and flights of those that stay. */
static void test_reload(void **state)
{
    (void)state;
    struct policy_backend b[] = {backend(1, POLICY_CLASS_ANY, 0, 0),
                                 backend(2, POLICY_CLASS_ANY, 0, 0),
                                 backend(3, POLICY_CLASS_ANY, 0, 0)};
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    struct policy_request r = ask(10);
    r.tried[0] = A, r.n_tried = 1;
    const struct policy_decision on_b = route(p, r, SECOND);
    assert_int_equal(on_b.backend, B);
    r.tried[0] = B;
    const struct policy_decision on_a = route(p, r, SECOND);
    policy_failed(p, on_a.flight, POLICY_FAILURE_CONNECT, 0, SECOND);
    /* B goes, C comes, and A is first no more. */
    const struct policy_backend next[] = {b[2], b[0]};
    const struct policy_fleet f = {.backends = next, .n_backend = 2};
    int index[2];
    assert_int_equal(policy_reload(p, &f, 2 * SECOND, index, NULL), STATUS_OK);
    assert_int_equal(index[0], C);
    assert_int_equal(index[1], A);
    struct policy_view v;
    assert_true(policy_see(p, A, 2 * SECOND, &v));
    assert_int_equal(v.health, POLICY_HEALTH_DOWN);
    assert_true(policy_see(p, B, 2 * SECOND, &v));
    assert_int_equal(v.health, POLICY_HEALTH_OFF);
    assert_int_equal(v.in_flight, 1);
    assert_int_equal(served(p, ask(10), 2 * SECOND).backend, C);
    policy_finished(p, on_b.flight, NULL, 3 * SECOND);
    assert_false(policy_see(p, B, 3 * SECOND, &v));
    /* Its index is free now. */
    assert_int_equal(policy_reload(p,
                                   &(struct policy_fleet){.backends = b, .n_backend = 3},
                                   4 * SECOND, NULL, NULL),
                     STATUS_OK);
    assert_true(policy_see(p, B, 4 * SECOND, &v));
    assert_int_equal(v.id, 2);
    assert_int_equal(v.n_sent, 1); // the same backend came back
    /* What is wrong changes nothing. */
    struct error err = {0};
    b[2].id = 1;
    assert_int_equal(policy_reload(p,
                                   &(struct policy_fleet){.backends = b, .n_backend = 3},
                                   4 * SECOND, NULL, &err),
                     STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, "backends"));
    b[2].id = 3, b[2].weight = 0;
    assert_int_equal(policy_reload(p,
                                   &(struct policy_fleet){.backends = b, .n_backend = 3},
                                   4 * SECOND, NULL, &err),
                     STATUS_BAD_ARG);
    assert_int_equal(served(p, ask(10), 4 * SECOND).verdict, POLICY_SEND);
    policy_close(p);
}

/* One that is off takes nothing, and its lane is as if not there. */
static void test_off_and_drain(void **state)
{
    (void)state;
    struct policy_backend b[] = {backend(11, POLICY_CLASS_SHORT, 32768, 0),
                                 backend(12, POLICY_CLASS_LONG, 131072, 0)};
    b[1].off = true;
    struct policy *p = open_policy(NULL, b, 2, SECOND);
    struct policy_decision d = served(p, ask(20000), SECOND);
    assert_int_equal(d.backend, A);
    assert_int_equal(d.fallback, POLICY_FALLBACK_NONE);
    d = route(p, ask(40000), SECOND);
    assert_int_equal(d.refusal, POLICY_REFUSED_CONTEXT);
    assert_int_equal(d.n_ctx, 32768);
    policy_drain(p, A, true, SECOND);
    assert_int_equal(route(p, ask(10), SECOND).refusal, POLICY_REFUSED_DOWN);
    policy_drain(p, A, false, SECOND);
    assert_int_equal(served(p, ask(10), SECOND).backend, A);
    policy_close(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lanes),
        cmocka_unit_test(test_contexts),
        cmocka_unit_test(test_no_small_fallback),
        cmocka_unit_test(test_unknown_context),
        cmocka_unit_test(test_hysteresis),
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_thresholds),
        cmocka_unit_test(test_tried_and_dialects),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_no_overtaking),
        cmocka_unit_test(test_home_wait),
        cmocka_unit_test(test_reported_load),
        cmocka_unit_test(test_change),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_off_and_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
