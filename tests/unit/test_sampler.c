/* test_sampler.c - picks against probabilities computed here in double. */
#include <math.h>

#include "engine/sampler.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

enum { VOCAB = 50, DRAWS = 40000 };

static const struct sampler_params plain = {.temp = 1,
                                            .top_p = 1,
                                            .typical_p = 1,
                                            .repeat_penalty = 1,
                                            .repeat_last_n = 64,
                                            .seed = 5};

static float logits[VOCAB];
static struct sampler sampler;

static int setup(void **state)
{
    (void)state;
    struct error err;
    for (int i = 0; i < VOCAB; i++)
        logits[i] = 3.0f * sinf(1.7f * (float)i);
    return sampler_open(&sampler, VOCAB, &err) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    sampler_close(&sampler);
    return 0;
}

static int argmax(const float *x)
{
    int best = 0;
    for (int i = 1; i < VOCAB; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

/* Share of each id over many positions (the RNG is keyed by position). */
static void draw(double *share, const struct sampler_params *p)
{
    static int32_t history[DRAWS];
    for (int i = 0; i < VOCAB; i++)
        share[i] = 0;
    for (size_t n = 0; n < DRAWS; n++)
        share[sampler_pick(&sampler, p, logits, history, n, 0, NULL)] += 1.0 / DRAWS;
}

/* Expected shares of softmax(logits / temp) over the ids that `keep` allows. */
static void expect(double *p, double temp, const int *keep)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++) {
        p[i] = keep[i] ? exp((double)logits[i] / temp) : 0;
        sum += p[i];
    }
    for (int i = 0; i < VOCAB; i++)
        p[i] /= sum;
}

/* Bernstein's inequality: a share of n draws is farther off than this with probability
 * below 1e-8 (t = 19.5). */
static void assert_shares(const double *share, const double *p)
{
    for (int i = 0; i < VOCAB; i++) {
        if (p[i] == 0)
            assert_true(share[i] == 0);
        const double t = 19.5 / DRAWS;
        assert_true(fabs(share[i] - p[i]) <= sqrt(2 * p[i] * (1 - p[i]) * t) + t / 3);
    }
}

static void rank_of(int *rank)
{
    for (int i = 0; i < VOCAB; i++) {
        rank[i] = 0;
        for (int j = 0; j < VOCAB; j++)
            rank[i] += logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
    }
}

static void test_greedy(void **state)
{
    (void)state;
    struct sampler_params p = plain;
    p.temp = 0;
    assert_int_equal(sampler_pick(&sampler, &p, logits, NULL, 0, 0, NULL),
                     argmax(logits));
}

static void test_temperature_follows_softmax(void **state)
{
    (void)state;
    double share[VOCAB], want[VOCAB];
    int keep[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        keep[i] = 1;
    for (double temp = 0.5; temp <= 2; temp *= 2) {
        struct sampler_params p = plain;
        p.temp = (float)temp;
        draw(share, &p);
        expect(want, temp, keep);
        assert_shares(share, want);
    }
}

static void test_top_k(void **state)
{
    (void)state;
    double share[VOCAB], want[VOCAB];
    int keep[VOCAB], rank[VOCAB];
    rank_of(rank);
    struct sampler_params p = plain;
    p.top_k = 7;
    for (int i = 0; i < VOCAB; i++)
        keep[i] = rank[i] < 7;
    draw(share, &p);
    expect(want, 1, keep);
    assert_shares(share, want);
}

static void test_top_p_and_min_p(void **state)
{
    (void)state;
    double share[VOCAB], want[VOCAB], all[VOCAB];
    int keep[VOCAB], rank[VOCAB], ones[VOCAB];
    rank_of(rank);
    for (int i = 0; i < VOCAB; i++)
        ones[i] = 1;
    expect(all, 1, ones);
    for (int i = 0; i < VOCAB; i++) {
        double above = 0; // mass of the likelier ids
        for (int j = 0; j < VOCAB; j++)
            above += rank[j] < rank[i] ? all[j] : 0;
        keep[i] = above < 0.6;
    }
    struct sampler_params p = plain;
    p.top_p = 0.6f;
    draw(share, &p);
    expect(want, 1, keep);
    assert_shares(share, want);

    p = plain;
    p.min_p = 0.3f;
    for (int i = 0; i < VOCAB; i++)
        keep[i] = all[i] >= 0.3 * all[argmax(logits)];
    draw(share, &p);
    expect(want, 1, keep);
    assert_shares(share, want);
}

static void test_repeat_penalty(void **state)
{
    (void)state;
    struct sampler_params p = plain;
    p.temp = 0;
    p.repeat_penalty = 100;
    const int best = argmax(logits);
    const int32_t history[] = {(int32_t)best, (int32_t)best};
    const int next = sampler_pick(&sampler, &p, logits, history, 2, 0, NULL);
    assert_int_not_equal(next, best);
    p.repeat_last_n = 0;
    assert_int_equal(sampler_pick(&sampler, &p, logits, history, 2, 0, NULL), best);
}

static void test_seed_and_position_decide(void **state)
{
    (void)state;
    static const int32_t history[100];
    struct sampler_params p = plain;
    int same = 0;
    for (size_t n = 0; n < 100; n++) {
        p.seed = 1;
        const int a = sampler_pick(&sampler, &p, logits, history, n, 0, NULL);
        assert_int_equal(a, sampler_pick(&sampler, &p, logits, history, n, 0, NULL));
        p.seed = 2;
        same += a == sampler_pick(&sampler, &p, logits, history, n, 0, NULL);
    }
    assert_in_range(same, 0, 60);
}

/* Greedy picks with a hand-made order: what biases, masks and penalties change. */
static void test_bias_mask_and_answer(void **state)
{
    (void)state;
    struct sampler_params p = plain;
    p.temp = 0;
    const float x[VOCAB] = {[3] = 2.0f, [4] = 1.5f, [5] = 1.0f};
    const struct sampler_bias bias[2] = {{5, 5.0f}, {3, -INFINITY}};
    p.bias = bias;
    p.n_bias = 1;
    assert_int_equal(sampler_pick(&sampler, &p, x, NULL, 0, 0, NULL), 5);
    p.bias = bias + 1;
    assert_int_equal(sampler_pick(&sampler, &p, x, NULL, 0, 0, NULL), 4);
    p.n_bias = 0;
    const uint32_t mask[2] = {1u << 5 | 1u << 7, 0};
    assert_int_equal(sampler_pick(&sampler, &p, x, NULL, 0, 0, mask), 5);
    /* Only what the answer has counts: 3 stands in the prompt. */
    const int32_t history[4] = {3, 3, 3, 4};
    p.presence_penalty = 0.7f;
    assert_int_equal(sampler_pick(&sampler, &p, x, history, 3, 0, NULL), 3);
    assert_int_equal(sampler_pick(&sampler, &p, x, history, 3, 1, NULL), 4); // 1.3
    p.presence_penalty = 0;
    p.frequency_penalty = 0.4f;
    assert_int_equal(sampler_pick(&sampler, &p, x, history, 3, 1, NULL), 3); // 1.6
    assert_int_equal(sampler_pick(&sampler, &p, x, history, 3, 2, NULL), 4); // 1.2
    assert_int_equal(sampler_pick(&sampler, &p, x, history, 3, 3, NULL), 4); // .8
}

/* Probabilities .5, .3, .1, .05, .05: entropy 1.24 nats; surprises .69, 1.20, 2.30, 3.00,
 * 3.00; so the second is the most typical one, then the first, then the third. */
static void test_typical(void **state)
{
    (void)state;
    struct sampler_params p = plain;
    const float prob[5] = {0.5f, 0.3f, 0.1f, 0.05f, 0.05f};
    const float limits[3] = {0.25f, 0.7f, 0.85f};
    const int most[3] = {1, 2, 3}, least[3] = {1, 0, 0};
    float x[VOCAB];
    for (int i = 0; i < VOCAB; i++)
        x[i] = i < 5 ? logf(prob[i]) : -1e9f;
    for (int t = 0; t < 3; t++) {
        bool seen[VOCAB] = {false};
        p.typical_p = limits[t];
        for (size_t n = 0; n < 2000; n++) {
            static const int32_t none[2000];
            seen[sampler_pick(&sampler, &p, x, none, n, 0, NULL)] = true;
        }
        int count = 0, first = -1;
        for (int i = 0; i < VOCAB; i++) {
            count += seen[i];
            first = seen[i] && first < 0 ? i : first;
        }
        assert_int_equal(count, most[t]);
        assert_int_equal(first, least[t]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_greedy),
        cmocka_unit_test(test_temperature_follows_softmax),
        cmocka_unit_test(test_top_k),
        cmocka_unit_test(test_top_p_and_min_p),
        cmocka_unit_test(test_repeat_penalty),
        cmocka_unit_test(test_seed_and_position_decide),
        cmocka_unit_test(test_bias_mask_and_answer),
        cmocka_unit_test(test_typical),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
