/* test_probe.c - the kernels that measure the machine compute what they claim to. */
#include <string.h>

#include "base/pool.h"
#include "base/rng.h"
#include "tensor/probe.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* The sum of the header, term by term. */
static uint32_t expected(const uint8_t *w, const int8_t a[PROBE_TOKENS * PROBE_PERIOD],
                         int n)
{
    int64_t sum = 0;
    for (int t = 0; t < PROBE_TOKENS; t++)
        for (int i = 0; i < PROBE_WEIGHTS; i++)
            sum += w[i] * a[t * PROBE_PERIOD + i % PROBE_PERIOD];
    return (uint32_t)(uint64_t)(n * sum);
}

static void check_all(const uint8_t *w, const int8_t a[PROBE_TOKENS * PROBE_PERIOD])
{
    for (int isa = 0; isa <= (int)cpu_detect(); isa++)
        for (int n = 0; n <= 1000; n = 3 * n + 1) {
            probe_fn *tiles = probe_tile_kernel((enum cpu_isa)isa);
            assert_int_equal(probe_kernel((enum cpu_isa)isa)(w, a, n), expected(w, a, n));
            if (tiles)
                assert_int_equal(tiles(w, a, n), expected(w, a, n));
        }
}

static void test_every_level(void **state)
{
    (void)state;
    uint8_t w[PROBE_WEIGHTS];
    int8_t a[PROBE_TOKENS * PROBE_PERIOD];
    for (int i = 0; i < PROBE_WEIGHTS; i++)
        w[i] = rng_at(3, (uint64_t)i) & 15;
    for (int i = 0; i < PROBE_TOKENS * PROBE_PERIOD; i++)
        a[i] = (int8_t)(rng_at(4, (uint64_t)i) & 255);
    check_all(w, a);
}

static void test_largest_values(void **state)
{
    (void)state;
    static const int8_t ends[] = {-128, 127};
    uint8_t w[PROBE_WEIGHTS];
    int8_t a[PROBE_TOKENS * PROBE_PERIOD];
    memset(w, 15, sizeof w);
    for (int i = 0; i < 2; i++) {
        memset(a, ends[i], sizeof a);
        check_all(w, a);
    }
}

static void test_best_and_median(void **state)
{
    (void)state;
    struct probe p = {0};
    assert_true(probe_best(&p) == 0 && probe_median(&p) == 0);
    p = (struct probe){.n = 4, .rate = {3, 1, 8, 4}};
    assert_true(probe_best(&p) == 8 && probe_median(&p) == 3.5);
    p.n = 3;
    assert_true(probe_best(&p) == 8 && probe_median(&p) == 3);
}

/* A round of integers takes more than a clock for 1,024 products, and less than one for
 * each; rounds beyond the most that are kept push the oldest out. */
static void test_rates(void **state)
{
    (void)state;
    struct pool *pool;
    struct probe p = {0};
    assert_int_equal(pool_open(&pool, 2, NULL), STATUS_OK);
    for (int i = 0; i < 6; i++)
        probe_int8(&p, pool, cpu_detect());
    pool_close(pool);
    assert_int_equal(p.n, PROBE_ROUNDS_MAX);
    assert_true(probe_best(&p) > 1e8 && probe_best(&p) < 2 * 1024 * 6e9);
    assert_true(probe_median(&p) > 0 && probe_median(&p) <= probe_best(&p));
}

/* The kernels of the float probes do what is counted. */
static void test_float_kernels(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)cpu_detect(); isa++) {
        const struct probe_float kernels = probe_float_kernels((enum cpu_isa)isa);
        float x[192 + 1];
        for (int i = 0; i <= 192; i++)
            x[i] = (float)i;
        kernels.update(x, 192);
        for (int i = 0; i < 192; i++)
            assert_true(x[i] == (float)-i);
        assert_true(x[192] == 192);
        /* 8 -> 8/2 + 1 = 5 -> 3.5 -> 2.75 */
        assert_true(kernels.f32(8, 0.5f, 1, 3) == 2.75f * PROBE_F32_WORK);
        assert_true(kernels.f32(8, 0.5f, 1, 0) == 8.0f * PROBE_F32_WORK);
    }
}

static void test_float_rates(void **state)
{
    (void)state;
    struct pool *pool;
    struct probe f32 = {0}, update = {0};
    struct error err;
    assert_int_equal(pool_open(&pool, 2, NULL), STATUS_OK);
    probe_f32(&f32, pool, cpu_detect());
    assert_int_equal(
        probe_update(&update, pool, 2 * PROBE_UPDATE_BLOCK, cpu_detect(), &err),
        STATUS_OK);
    pool_close(pool);
    assert_true(probe_best(&f32) > 1e8 && probe_best(&f32) < 2 * 64 * 6e9);
    assert_true(probe_best(&update) > 1e8 && probe_best(&update) < 2 * 256 * 6e9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_level),     cmocka_unit_test(test_largest_values),
        cmocka_unit_test(test_best_and_median), cmocka_unit_test(test_rates),
        cmocka_unit_test(test_float_kernels),   cmocka_unit_test(test_float_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
