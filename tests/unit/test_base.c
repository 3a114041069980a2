/* test_base.c - buffers, arenas, checked arithmetic, the thread pool. */
#include <stdatomic.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_buf_keeps_its_maximum(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_puts(&b, "12345"));
    assert_true(buf_printf(&b, "%d", 67890));
    assert_string_equal(b.data, "1234567890");
    assert_false(buf_append(&b, "x", 1));
    assert_true(b.failed);
    assert_int_equal(b.len, 10);
    assert_false(buf_append(&b, "", 0)); // sticky
    buf_clear(&b);
    assert_true(buf_puts(&b, "again"));
    buf_release(&b);
}

static void test_arena_limits_and_alignment(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 1 << 20);
    for (size_t n = 1; n < 200; n++) {
        uint8_t *p = arena_array(&a, n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
    }
    assert_non_null(arena_array(&a, 500000, 1)); // larger than a chunk
    assert_null(arena_array(&a, 600000, 1));     // past the maximum
    assert_null(arena_array(&a, SIZE_MAX, 2));
    assert_null(arena_array(&a, SIZE_MAX, 1));
    assert_string_equal(arena_strndup(&a, "turbine", 4), "turb");
    arena_release(&a);
}

static void test_checked_arithmetic(void **state)
{
    (void)state;
    size_t r = 7;
    assert_true(mem_mul(&r, 1u << 20, 1u << 20));
    assert_int_equal(r, (size_t)1 << 40);
    assert_false(mem_mul(&r, SIZE_MAX / 2, 3));
    assert_false(mem_add(&r, SIZE_MAX, 1));
    assert_int_equal(r, (size_t)1 << 40);
    assert_null(mem_array(SIZE_MAX / 2, 4));
    assert_null(mem_pages(SIZE_MAX - 5));
}

static void test_rng_matches_splitmix64(void **state)
{
    (void)state;
    /* splitmix64 seeded with 0 starts with this number (reference implementation by
     * Vigna); our stream for (seed, counter) is the mix of the mixed seed. */
    assert_true(rng_mix(0x9e3779b97f4a7c15u) == 0xe220a8397b1dcdafu);
    assert_true(rng_at(1, 0) != rng_at(1, 1));
    assert_true(rng_at(1, 0) != rng_at(2, 0));
    for (uint64_t i = 0; i < 1000; i++) {
        const double u = rng_uniform(3, i);
        assert_true(u >= 0 && u < 1);
    }
}

enum { ITEMS = 1000 };

struct count_job {
    atomic_int runs[ITEMS];
    atomic_int bad_thread;
    int n_thread;
};

static void count_item(void *ctx, int item, int thread)
{
    struct count_job *j = ctx;
    atomic_fetch_add(&j->runs[item], 1);
    if (thread < 0 || thread >= j->n_thread)
        atomic_store(&j->bad_thread, 1);
}

static void test_pool_runs_every_item_once(void **state)
{
    (void)state;
    for (int n_thread = 1; n_thread <= 5; n_thread++) {
        struct pool *p;
        struct error err;
        assert_int_equal(pool_open(&p, n_thread, &err), STATUS_OK);
        for (int n = 0; n <= ITEMS; n = n * 2 + 1) {
            struct count_job j = {.n_thread = n_thread};
            for (int round = 1; round <= 20; round++) {
                pool_run(p, n, count_item, &j);
                for (int i = 0; i < ITEMS; i++)
                    assert_int_equal(atomic_load(&j.runs[i]), i < n ? round : 0);
            }
            assert_int_equal(atomic_load(&j.bad_thread), 0);
        }
        pool_close(p);
    }
}

struct sum_job {
    _Atomic int64_t n, sum;
};

static void sum_item(void *ctx, int item, int thread)
{
    (void)thread;
    struct sum_job *j = ctx;
    atomic_fetch_add(&j->n, 1);
    atomic_fetch_add(&j->sum, item);
}

/* More than a counter of items holds. */
static void test_pool_runs_millions_of_items(void **state)
{
    (void)state;
    static const int counts[] = {(1 << 20) - 1024, (1 << 20) - 1023, 1 << 20, 2500000};
    struct pool *p;
    struct error err;
    assert_int_equal(pool_open(&p, 3, &err), STATUS_OK);
    for (int i = 0; i < 4; i++) {
        const int64_t n = counts[i];
        struct sum_job j = {0};
        pool_run(p, counts[i], sum_item, &j);
        assert_int_equal(j.n, n);
        assert_int_equal(j.sum, n * (n - 1) / 2);
    }
    pool_close(p);
}

static void test_pool_refuses_bad_counts(void **state)
{
    (void)state;
    struct pool *p;
    struct error err;
    assert_int_equal(pool_open(&p, 0, &err), STATUS_BAD_ARG);
    assert_int_equal(pool_open(&p, 100000, &err), STATUS_BAD_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_keeps_its_maximum),
        cmocka_unit_test(test_arena_limits_and_alignment),
        cmocka_unit_test(test_checked_arithmetic),
        cmocka_unit_test(test_rng_matches_splitmix64),
        cmocka_unit_test(test_pool_runs_every_item_once),
        cmocka_unit_test(test_pool_runs_millions_of_items),
        cmocka_unit_test(test_pool_refuses_bad_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
