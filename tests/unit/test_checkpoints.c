/* test_checkpoints.c - going back to a checkpoint and on again gives the bits of a
 * sequence that never went away: plain, sliding-window and hybrid models; and which
 * checkpoints are kept. */
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "gguf/gguf.h"
#include "kv/checkpoints.h"
#include "model/model.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- the list ---- */

static void take(struct kv_checkpoints *c, int pos)
{
    const int32_t state = pos * 3;
    kv_checkpoints_take(c, pos, &state);
}

static int restore(struct kv_checkpoints *c, int pos)
{
    int32_t state = -1;
    const int at = kv_checkpoints_restore(c, pos, &state);
    assert_int_equal(state, at < 0 ? -1 : at * 3);
    return at;
}

static void test_newest_at_or_before(void **state)
{
    (void)state;
    int32_t mem[4];
    struct kv_checkpoints c;
    kv_checkpoints_init(&c, mem, sizeof *mem, 4);
    assert_int_equal(restore(&c, 100), -1);
    take(&c, 10);
    take(&c, 20);
    take(&c, 20);
    assert_int_equal(c.n, 2);
    take(&c, 35);
    assert_int_equal(restore(&c, 1000), 35);
    assert_int_equal(restore(&c, 35), 35);
    assert_int_equal(restore(&c, 34), 20);
    assert_int_equal(restore(&c, 1000), 20); // 35 is behind: forgotten
    assert_int_equal(restore(&c, 19), 10);
    assert_int_equal(restore(&c, 9), -1);
    assert_int_equal(c.n, 0);
    take(&c, 7);
    kv_checkpoints_cut(&c, -1);
    assert_int_equal(restore(&c, 7), -1);
}

/* However many are taken, one is at most a fixed share of the way back from any place. */
static void test_places_are_spread(void **state)
{
    (void)state;
    enum { CAP = 8, STEP = 100, N = 2000 };
    int32_t mem[CAP];
    struct kv_checkpoints c;
    kv_checkpoints_init(&c, mem, sizeof *mem, CAP);
    for (int i = 1; i <= N; i++) {
        take(&c, i * STEP);
        assert_int_equal(c.at[c.n - 1].pos, i * STEP); // the newest is there
        assert_true(c.n <= CAP);
        for (int j = 1; j < c.n; j++)
            assert_true(c.at[j].pos > c.at[j - 1].pos);
        for (int j = 0; j < c.n; j++)
            for (int k = j + 1; k < c.n; k++)
                assert_int_not_equal(c.at[j].slot, c.at[k].slot);
        /* A gap is at most five times as long as the way from its end to the newest. */
        for (int j = 0; i > CAP && j + 1 < c.n; j++) {
            const int before = j ? c.at[j - 1].pos : 0;
            const int rest = i * STEP - c.at[j].pos;
            assert_true(c.at[j].pos - before <= 5 * rest + 5 * STEP);
        }
    }
    while (c.n) { // every state is that of its position
        const int pos = c.at[c.n - 1].pos;
        assert_int_equal(restore(&c, pos), pos);
        kv_checkpoints_cut(&c, pos - 1);
    }
}

/* ---- models ---- */

enum { CTX = 448 };

static struct pool *pool;
static struct model *model;
static int32_t tokens[2 * CTX];

static void open_model(const char *name)
{
    char path[128];
    struct error err;
    struct gguf *g;
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    assert_int_equal(gguf_open(&g, path, &err), STATUS_OK);
    assert_int_equal(model_open(&model, g, pool, CPU_ISA_COUNT - 1, &err), STATUS_OK);
    gguf_close(g);
    for (int i = 0; i < 2 * CTX; i++)
        tokens[i] =
            (int32_t)(rng_at(12, (uint64_t)i) % (uint64_t)model_hparams(model)->n_vocab);
}

static struct context *open_context(const char *kv, int n_batch)
{
    struct context_options o = {.n_ctx = CTX, .n_batch = n_batch, .n_mark = 4};
    struct context *c = NULL;
    struct error err;
    assert_int_equal(kv_types_parse(&o.kv, kv, &err), STATUS_OK);
    assert_int_equal(context_open(&c, model, &o, &err), STATUS_OK);
    return c;
}

static const float *append(struct context *c, const int32_t *t, int n)
{
    struct error err;
    const float *logits;
    assert_int_equal(context_eval(c, t, n, 1, &logits, &err), STATUS_OK);
    return logits;
}

/* The logits behind tokens[0..n) of c equal those of a context that only saw these. */
static void assert_like_cold(struct context *c, const char *kv, int n)
{
    struct context *cold = open_context(kv, 64);
    append(cold, tokens, n - 1);
    const float *want = append(cold, tokens + n - 1, 1);
    const float *got = append(c, tokens + context_pos(c), n - context_pos(c));
    assert_memory_equal(got, want, sizeof(float) * (size_t)model_hparams(model)->n_vocab);
    context_close(cold);
}

static void try_model(const char *name, const char *kv)
{
    open_model(name);
    struct context *c = open_context(kv, 100);
    append(c, tokens, 70);
    context_mark(c);
    append(c, tokens + 70, 131);
    context_mark(c); // at 201
    append(c, tokens + 201, 60);
    context_mark(c); // at 261
    append(c, tokens + CTX, 150);
    assert_int_equal(context_rewind(c, 411), 411);
    assert_int_equal(context_rewind(c, 263), 261);
    assert_like_cold(c, kv, 400);
    assert_int_equal(context_rewind(c, 260), 201); // no checkpoint: an earlier one
    append(c, tokens + CTX, 100);                  // another way, and back again
    assert_int_equal(context_rewind(c, 201), 201);
    assert_like_cold(c, kv, 330);
    assert_int_equal(context_rewind(c, 200), 70);
    assert_like_cold(c, kv, 215);
    assert_int_equal(context_rewind(c, 69), 0);
    assert_like_cold(c, kv, 100);
    context_reset(c);
    assert_like_cold(c, kv, 90);
    context_close(c);
    model_close(model);
}

static void test_models_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *name, *kv[4];
    } cases[] = {
        {"qwen35", {"f32", "turbo4", "turbo3:uniform", "turbo8/turbo2"}}, // head size 64
        {"qwen35-mtp", {"f16", "turbo4", "turbo2"}},                      // 128
        {"gemma3", {"f16", "turbo4", "turbo2:uniform"}},
        {"gemma3-hd128", {"turbo4", "turbo3"}},
        {"qwen3-hd64", {"turbo4", "turbo3", "turbo2:uniform"}},
        {"qwen3", {"turbo4", "turbo8/turbo4"}},
        {"kimi-linear-576", {"f16", "turbo4"}},
        {"qwen3next", {"f16", "turbo4"}},
        {"gpt-oss-hd96", {"turbo4"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < 4 && cases[i].kv[k]; k++)
            try_model(cases[i].name, cases[i].kv[k]);
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    return (int)pool_open(&pool, 2, &err);
}

static int teardown(void **state)
{
    (void)state;
    pool_close(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_newest_at_or_before),
        cmocka_unit_test(test_places_are_spread),
        cmocka_unit_test(test_models_come_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
