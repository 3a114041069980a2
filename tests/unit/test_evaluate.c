/* Expected values: decimal arithmetic with 50 digits, quantiles by numpy.quantile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "engine/evaluate.h"

static void close_to(double got, double want)
{
    assert_true(fabs(got - want) <= 1e-14 * fmax(1, fabs(want)));
}

static const float p_logits[] = {0.5f, -1.25f, 2, 0, -3.75f};
static const float q_logits[] = {0.25f, -1, 1.5f, 0.75f, -4};

static void test_log_sum_exp(void **state)
{
    (void)state;
    close_to(eval_log_sum_exp(p_logits, 5), 2.3367739282600522714);
    close_to(eval_log_sum_exp(q_logits, 5), 2.1125026483107553991);
    const float wide[] = {1000, 1000.5f, -1000};
    close_to(eval_log_sum_exp(wide, 3), 1000.9740769841801067);
    close_to(eval_log_sum_exp(wide + 2, 1), -1000);
}

static void test_compare(void **state)
{
    (void)state;
    struct eval_reference r;
    double p[5];
    eval_reference_init(&r, p_logits, p, 5);
    struct eval_score s = eval_compare(&r, q_logits, 3);
    close_to(s.nll, 1.3625026483107553991);
    close_to(s.kl, 0.093763629139208212621);
    assert_true(s.same_top);

    const float shifted[] = {100.5f, 98.75f, 102, 100, 96.25f}; // the same distribution
    s = eval_compare(&r, shifted, 3);
    close_to(s.nll, 2.3367739282600522714);
    assert_true(fabs(s.kl) < 1e-13);

    const float other[] = {3, -1.25f, 2, 0, -3.75f};
    assert_false(eval_compare(&r, other, 0).same_top);

    const float copy[] = {0.5f, -1.25f, 2, 0, -3.75f};
    s = eval_compare(&r, copy, 0);
    assert_true(s.kl == 0 && s.same_top);
}

static void test_quantiles(void **state)
{
    (void)state;
    double x[] = {9, 1, 4, 16, 25, 36, 49};
    eval_sort(x, 7);
    assert_true(eval_quantile(x, 7, 0) == 1 && eval_quantile(x, 7, 1) == 49);
    close_to(eval_quantile(x, 7, 0.5), 16);
    close_to(eval_quantile(x, 7, 0.3), 8);
    close_to(eval_quantile(x, 7, 0.99), 48.22);
    close_to(eval_quantile(x, 7, 0.999), 48.922);
    assert_true(eval_quantile(x, 1, 0.999) == 1);
}

/* 0, 1/8 .. 999/8, each once, in another order. */
static void test_summary(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct eval_score score[N];
    double scratch[N];
    for (int i = 0; i < N; i++)
        score[i] = (struct eval_score){
            .nll = i % 2 ? 1.5 : 2.5, .kl = i * 7919 % N / 8.0, .same_top = i % 4 != 0};
    const struct eval_summary s = eval_summarise(score, scratch, N);
    close_to(s.ppl, 7.3890560989306502272); // e^2
    close_to(s.kl_mean, 62.4375);
    close_to(s.kl_median, 62.4375);
    close_to(s.kl_99, 123.62625);
    close_to(s.kl_999, 124.750125);
    close_to(s.same_top, 0.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_sum_exp),
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
