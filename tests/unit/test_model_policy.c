/* test_model_policy.c - which model goes and when, what room there is, and how much
 * context a model gets in it. */
#include <string.h>

#include "gguf/gguf.h"
#include "kv/kv.h"
#include "server/context_choice.h"
#include "server/model_policy.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static void test_victims(void **state)
{
    (void)state;
    const struct model_use idle = {.here = true, .used_us = 50, .keep_us = 1000};
    struct model_use list[4] = {idle, idle, idle, idle};
    list[1].used_us = 20;
    list[2].used_us = 10;
    assert_int_equal(model_policy_victim(list, 4, false), 2);
    list[2].n_call = 1; // in use
    assert_int_equal(model_policy_victim(list, 4, false), 1);
    assert_int_equal(model_policy_victim(list, 4, true), 2);
    list[1].leaving = true;
    assert_int_equal(model_policy_victim(list, 4, false), 0);
    list[0].here = false; // on its way
    assert_int_equal(model_policy_victim(list, 4, false), 3);
    list[3].n_call = 2;
    assert_int_equal(model_policy_victim(list, 4, false), -1);
    assert_int_equal(model_policy_victim(list, 4, true), 2); // used before 3
    assert_int_equal(model_policy_victim(list, 0, true), -1);
}

static void test_expiry(void **state)
{
    (void)state;
    struct model_use m = {.here = true, .used_us = 50, .keep_us = 1000};
    assert_true(model_policy_expiry_us(&m) == 1050);
    m.keep_us = 0;
    assert_true(model_policy_expiry_us(&m) == 50);
    m.n_call = 1;
    assert_true(model_policy_expiry_us(&m) == UINT64_MAX);
    m.n_call = 0;
    m.keep_us = INT64_MAX;
    assert_true(model_policy_expiry_us(&m) == UINT64_MAX);
    m.keep_us = INT64_MAX - 1;
    m.used_us = UINT64_MAX - 5;
    assert_true(model_policy_expiry_us(&m) == UINT64_MAX); // does not wrap
    m = (struct model_use){.here = true, .leaving = true};
    assert_true(model_policy_expiry_us(&m) == UINT64_MAX);
}

static void test_room(void **state)
{
    (void)state;
    assert_true(context_reserve(4 * GIB) == 512 * MIB);
    assert_true(context_reserve(100 * GIB) == 5 * GIB);
    assert_true(model_policy_room(4 * GIB, 0, 0, 0) == 4 * GIB - 512 * MIB);
    assert_true(model_policy_room(256 * MIB, 0, 0, 0) == 0);
    assert_true(model_policy_room(0, 0, 0, 0) == SIZE_MAX); // nobody knows
    /* Models have reserved 3 GiB and touched 1: 2 more are spoken for. */
    assert_true(model_policy_room(4 * GIB, GIB, 3 * GIB, 0) == 1536 * MIB);
    assert_true(model_policy_room(4 * GIB, 3 * GIB, GIB, 0) == 3584 * MIB);
    assert_true(model_policy_room(4 * GIB, GIB, GIB, 2 * GIB) == GIB);
    assert_true(model_policy_room(4 * GIB, 3 * GIB, 3 * GIB, 2 * GIB) == 0);
    assert_true(model_policy_room(0, 0, GIB, 3 * GIB) == 2 * GIB);
}

static size_t cost(const struct model *m, const struct context_options *o)
{
    struct scheduler_memory need;
    assert_int_equal(scheduler_plan(&need, m, o, NULL), STATUS_OK);
    return model_bytes(m) + need.pages + need.states + need.scratch;
}

/* What is chosen fits, and one page more of what was given up would not. */
static void test_context(void **state)
{
    (void)state;
    struct pool *pool;
    struct gguf *g;
    struct model *m;
    struct error err;
    struct context_choice c;
    assert_int_equal(pool_open(&pool, 1, &err), STATUS_OK);
    assert_int_equal(gguf_open(&g, "tests/data/stories260K.gguf", &err), STATUS_OK);
    assert_int_equal(model_plan(&m, g, NULL, pool, CPU_ISA_COUNT - 1, &err), STATUS_OK);
    struct context_options all = {.n_seq = 4};
    assert_int_equal(kv_types_parse(&all.kv, "f16", &err), STATUS_OK);
    const struct context_options given = all;
    assert_int_equal(context_choose(&c, m, &all, SIZE_MAX, &err), STATUS_OK);
    assert_int_equal(all.n_ctx, 512); // its context of training
    assert_int_equal(all.n_page, 4 * 8);
    assert_false(c.shrunk);
    assert_true(c.weights + c.cache == cost(m, &all));

    struct context_options o = given;
    assert_int_equal(context_choose(&c, m, &o, cost(m, &all), &err), STATUS_OK);
    assert_false(c.shrunk);
    o = given;
    assert_int_equal(context_choose(&c, m, &o, cost(m, &all) - 1, &err), STATUS_OK);
    assert_true(c.shrunk && o.n_ctx == 512 && o.n_page < all.n_page);
    assert_true(cost(m, &o) < cost(m, &all));

    struct context_options least = given; // one answer's pages
    least.n_ctx = 512;
    least.n_page = kv_pages_for(512);
    o = given;
    assert_int_equal(context_choose(&c, m, &o, cost(m, &least), &err), STATUS_OK);
    assert_int_equal(o.n_page, least.n_page);
    o = given;
    assert_int_equal(context_choose(&c, m, &o, cost(m, &least) - 1, &err),
                     STATUS_NO_MEMORY);
    assert_non_null(strstr(err.text, "MiB of memory are needed"));
    o = given;
    o.n_ctx = 64; // what is asked for stays
    assert_int_equal(context_choose(&c, m, &o, SIZE_MAX, &err), STATUS_OK);
    assert_int_equal(o.n_ctx, 64);
    model_close(m);
    gguf_close(g);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_victims),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
