/* test_kv.c - pages and sequences. */
#include <string.h>

#include "kv/kv.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_pages_are_distinct_and_come_back(void **state)
{
    (void)state;
    struct kv_pool *p;
    struct kv_seq *a, *b, *c;
    struct error err;
    assert_int_equal(kv_pool_open(&p, 100, 5, 10, 2, &err), STATUS_OK);
    assert_int_equal(kv_pool_bytes(p), 5 * 128 + 2 * 64);
    assert_int_equal(kv_seq_open(&a, p, &err), STATUS_OK);
    assert_int_equal(kv_seq_open(&b, p, &err), STATUS_OK);
    assert_int_equal(kv_seq_open(&c, p, &err), STATUS_FULL);
    assert_ptr_not_equal(kv_seq_state(a), kv_seq_state(b));

    assert_int_equal(kv_seq_reserve(a, 130, &err), STATUS_OK); // 3 pages
    assert_int_equal(kv_seq_reserve(a, 192, &err), STATUS_OK); // still 3
    assert_int_equal(kv_seq_reserve(b, 129, &err), STATUS_FULL);
    assert_int_equal(kv_seq_reserve(b, 128, &err), STATUS_OK);
    for (int i = 0; i < 3; i++)
        memset(kv_seq_page(a, i), 'a' + i, 128);
    for (int i = 0; i < 2; i++)
        memset(kv_seq_page(b, i), 'x' + i, 128);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 128; j++)
            assert_int_equal(kv_seq_page(a, i)[j], 'a' + i);

    kv_seq_close(a);
    assert_int_equal(kv_seq_open(&c, p, &err), STATUS_OK);
    assert_int_equal(kv_seq_reserve(c, 64, &err), STATUS_OK);
    assert_int_equal(kv_seq_reserve(b, 5 * 64, &err), STATUS_FULL);
    assert_int_equal(kv_seq_reserve(b, 4 * 64, &err), STATUS_OK);
    assert_int_equal(kv_seq_page(b, 1)[0], 'y');
    kv_pool_close(p);
}

static void test_pool_larger_than_memory_is_refused(void **state)
{
    (void)state;
    struct kv_pool *p;
    struct error err;
    assert_int_equal(kv_pool_open(&p, (size_t)1 << 40, 1 << 20, 0, 1, &err),
                     STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "--ctx"));
    assert_int_equal(kv_pool_open(&p, SIZE_MAX / 2, 1 << 20, 0, 1, &err),
                     STATUS_NO_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_are_distinct_and_come_back),
        cmocka_unit_test(test_pool_larger_than_memory_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
