/* test_kv_policy.c - the types of each layer: by the layer's place among those that have
 * a paged cache, never by its number in the model. */
#include <stdio.h>
#include <string.h>

#include "gguf/gguf.h"
#include "model/kv_policy.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static struct pool *pool;

static struct model *open_model(const char *name)
{
    char path[128];
    struct error err;
    struct gguf *g;
    struct model *m = NULL;
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    assert_int_equal(gguf_open(&g, path, &err), STATUS_OK);
    assert_int_equal(model_open(&m, g, pool, CPU_ISA_COUNT - 1, &err), STATUS_OK);
    gguf_close(g);
    return m;
}

/* "turbo8/turbo8 state ..." of all layers. */
static void describe(char *text, size_t n, const struct model *m, const char *kv)
{
    struct kv_types asked;
    struct error err;
    assert_int_equal(kv_types_parse(&asked, kv, &err), STATUS_OK);
    text[0] = 0;
    for (int i = 0; i < model_hparams(m)->n_layer; i++) {
        struct kv_layer l;
        char name[KV_NAME_BYTES];
        assert_int_equal(kv_policy_layer(&l, m, i, &asked, 1024, &err), STATUS_OK);
        l.types.plain = l.types.uniform = false;
        snprintf(text + strlen(text), n - strlen(text), "%s%s", i ? " " : "",
                 l.store == KV_STATE ? "state" : kv_types_name(name, &l.types));
    }
}

static void test_layers(void **state)
{
    (void)state;
    static const struct {
        const char *model, *kv, *layers;
    } cases[] = {
        /* plain, four layers: one at each end */
        {"qwen3", "turbo4", "turbo4 turbo4 turbo4 turbo4"},
        {"qwen3", "turbo3", "turbo8 turbo3 turbo3 turbo8"},
        {"qwen3", "turbo4/turbo2", "turbo8 turbo4/turbo2 turbo4/turbo2 turbo8"},
        {"qwen3", "turbo4/turbo3",
         "turbo4/turbo3 turbo4/turbo3 turbo4/turbo3 turbo4/turbo3"},
        {"qwen3", "turbo3:uniform", "turbo3 turbo3 turbo3 turbo3"},
        /* windows are f16 rings, or f32 */
        {"gemma3-hd128", "turbo4", "f16 turbo4 f16 turbo4"},
        {"gemma3-hd128", "f32", "f32 f32 f32 f32"},
        /* fewer than four paged layers: nothing to protect */
        {"gemma3-hd128", "turbo2", "f16 turbo2 f16 turbo2"},
        {"qwen35-mtp", "turbo2", "state state turbo2 state"},
        {"kimi-linear-576", "turbo3", "state state turbo8"},
        {"kimi-linear-576", "f16", "state state f16"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m = open_model(cases[i].model);
        char text[1024];
        describe(text, sizeof text, m, cases[i].kv);
        if (strcmp(text, cases[i].layers))
            fprintf(stderr, "%s %s\n", cases[i].model, cases[i].kv);
        assert_string_equal(text, cases[i].layers);
        model_close(m);
    }
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    return (int)pool_open(&pool, 1, &err);
}

static int teardown(void **state)
{
    (void)state;
    pool_close(pool);
    return 0;
}

/* Bytes by hand: rows of two values of 128 in 16 bits; the convolution's inputs and the
 * states of heads in 32. */
static void test_bytes_of_layers(void **state)
{
    (void)state;
    enum { PAGE = 64 * 2 * 128 * 2 };
    static const struct {
        const char *model;
        int layer, n_ctx;
        size_t token_bytes, seq_bytes;
    } cases[] = {
        /* a window of 70 reaches into the second page back, if there is one */
        {"gemma3-hd128", 0, 1024, 0, 3 * PAGE},
        {"gemma3-hd128", 0, 129, 0, 3 * PAGE},
        {"gemma3-hd128", 0, 128, 0, 2 * PAGE},
        {"gemma3-hd128", 0, 64, 0, PAGE},
        {"gemma3-hd128", 0, 1, 0, PAGE},
        {"gemma3-hd128", 1, 1024, PAGE / 64, 0},
        {"qwen35-mtp", 0, 1024, 0, 4 * (3 * (2 * 3 * 16 + 6 * 16) + 6 * 16 * 16)},
        {"kimi-linear-576", 0, 1024, 0, 4 * (3 * 3 * 2 * 32 + 2 * 32 * 32)},
        {"kimi-linear-576", 2, 1024, 576 * 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m = open_model(cases[i].model);
        struct kv_types asked;
        struct kv_layer l;
        struct error err;
        assert_int_equal(kv_types_parse(&asked, "f16", &err), STATUS_OK);
        assert_int_equal(
            kv_policy_layer(&l, m, cases[i].layer, &asked, cases[i].n_ctx, &err),
            STATUS_OK);
        assert_int_equal(l.token_bytes, cases[i].token_bytes);
        assert_int_equal(l.seq_bytes, cases[i].seq_bytes);
        model_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_bytes_of_layers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
