/* test_context.c - a cache that was cut back gives the bits of one that never held more.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gguf/gguf.h"
#include "model/calibration.h"
#include "model/model.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { CTX = 448 };

static struct pool *pool;
static struct model *model;
static struct calibration *calibration; // of compressed kinds that are not plain
static int32_t tokens[2 * CTX];

static int open_model(const char *path)
{
    struct error err;
    struct gguf *g;
    if (gguf_open(&g, path, &err) ||
        model_open(&model, g, pool, CPU_ISA_COUNT - 1, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    gguf_close(g);
    for (int i = 0; i < 2 * CTX; i++)
        tokens[i] =
            (int32_t)(rng_at(11, (uint64_t)i) % (uint64_t)model_hparams(model)->n_vocab);
    if (calibration_make(&calibration, model, tokens, 256, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    return pool_open(&pool, 2, &err) || open_model("tests/golden/llama.gguf");
}

static int teardown(void **state)
{
    (void)state;
    calibration_close(calibration);
    model_close(model);
    pool_close(pool);
    return 0;
}

static struct context *open_context(const char *kv)
{
    struct context_options o = {.calibration = calibration, .n_ctx = CTX, .n_batch = 100};
    struct context *c = NULL;
    struct error err;
    assert_int_equal(kv_types_parse(&o.kv, kv, &err), STATUS_OK);
    assert_int_equal(context_open(&c, model, &o, &err), STATUS_OK);
    return c;
}

static void append(struct context *c, const int32_t *t, int n)
{
    struct error err;
    const float *logits;
    assert_int_equal(context_eval(c, t, n, 1, &logits, &err), STATUS_OK);
}

/* The next logits of c equal those of a context that only ever saw all[0..n). */
static void assert_same_next(struct context *c, const char *kv, const int32_t *all, int n)
{
    struct error err;
    const float *warm, *cold;
    struct context *fresh = open_context(kv);
    assert_int_equal(context_pos(c), n);
    assert_int_equal(context_eval(fresh, all, n, 1, &cold, &err), STATUS_OK);
    assert_int_equal(context_eval(fresh, tokens, 1, 1, &cold, &err), STATUS_OK);
    assert_int_equal(context_eval(c, tokens, 1, 1, &warm, &err), STATUS_OK);
    assert_memory_equal(warm, cold,
                        sizeof(float) * (size_t)model_hparams(model)->n_vocab);
    context_close(fresh);
}

static const char *const kinds[] = {
    "f32",    "f16",        "turbo8",     "turbo4",       "turbo3",
    "turbo2", "f16/turbo3", "turbo4/f16", "turbo4:plain", "mix3.5/turbo2"};
enum { N_KIND = sizeof kinds / sizeof *kinds };

static void test_rewind_within_the_page(void **state)
{
    (void)state;
    for (int i = 0; i < N_KIND; i++) {
        struct context *c = open_context(kinds[i]);
        append(c, tokens, 310);
        assert_int_equal(context_rewind(c, 300), 300);
        assert_same_next(c, kinds[i], tokens, 300);
        context_close(c);
    }
}

static void test_rewind_to_a_mark(void **state)
{
    (void)state;
    for (int i = 0; i < N_KIND; i++) {
        const bool exact = i < 2;
        struct context *c = open_context(kinds[i]);
        append(c, tokens, 210);
        context_mark(c);
        append(c, tokens + CTX, 200); // another continuation, across pages
        assert_int_equal(context_rewind(c, 250), exact ? 250 : 210);
        if (exact)
            assert_int_equal(context_rewind(c, 210), 210);
        append(c, tokens + 210, 130);
        assert_same_next(c, kinds[i], tokens, 340);
        context_close(c);
    }
}

static void test_rewind_without_a_mark_starts_over(void **state)
{
    (void)state;
    struct context *c = open_context("turbo4");
    append(c, tokens, 300);
    assert_int_equal(context_rewind(c, 100), 0);
    assert_int_equal(context_pos(c), 0);
    append(c, tokens, 70);
    assert_same_next(c, "turbo4", tokens, 70);
    context_close(c);
}

static void test_bad_calls_change_nothing(void **state)
{
    (void)state;
    struct error err;
    struct context *c = open_context("turbo4");
    append(c, tokens, 200);
    const int32_t bad[] = {1, 2, model_hparams(model)->n_vocab}, negative[] = {-1};
    assert_int_equal(context_eval(c, bad, 3, 0, NULL, &err), STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, "token 2"));
    assert_int_equal(context_eval(c, negative, 1, 0, NULL, &err), STATUS_BAD_ARG);
    assert_int_equal(context_eval(c, tokens, CTX - 199, 0, NULL, &err), STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, "--ctx"));
    assert_int_equal(context_eval(c, tokens, 0, 0, NULL, &err), STATUS_BAD_ARG);
    assert_same_next(c, "turbo4", tokens, 200);
    append(c, tokens, CTX - 201); // exactly full
    context_close(c);
}

static void test_memory_is_what_the_types_need(void **state)
{
    (void)state;
    const struct hparams *hp = model_hparams(model);
    const size_t rows = (size_t)hp->n_layer * (size_t)hp->n_head_kv;
    const size_t d = (size_t)hp->head_dim, pages = CTX / 64;
    for (int i = 0; i < N_KIND; i++) {
        struct context_options o = {.n_ctx = CTX};
        struct context_memory plan;
        struct error err;
        struct context *c = open_context(kinds[i]);
        assert_int_equal(kv_types_parse(&o.kv, kinds[i], &err), STATUS_OK);
        assert_int_equal(context_plan(&plan, model, &o, &err), STATUS_OK);
        const struct context_memory m = context_memory(c);
        const size_t row = tq_row_bytes(o.kv.k, (int)d) + tq_row_bytes(o.kv.v, (int)d);
        assert_int_equal(m.pages, pages * 64 * rows * row);
        assert_int_equal(plan.pages, m.pages);
        assert_int_equal(plan.exact, m.exact);
        /* 192 rows of tail and open page; sinks: a tile of 16 keys, 4 values. */
        const size_t k = tq_type_compressed(o.kv.k) ? (192 + 16) * 2 * d : 0;
        const size_t v = tq_type_compressed(o.kv.v) ? (192 + 4) * 2 * d : 0;
        assert_in_range(m.exact, rows * (k + v),
                        rows * (k + v) + 64 * (size_t)hp->n_layer);
        context_close(c);
    }
}

/* The logits behind 400 tokens, in steps of `step`, with the cache `kv`. */
static void last_logits(float *out, const char *kv, int step)
{
    struct context *c = open_context(kv);
    struct error err;
    const float *logits = NULL;
    for (int i = 0; i < 400; i += step)
        assert_int_equal(context_eval(c, tokens + i, step, 1, &logits, &err), STATUS_OK);
    memcpy(out, logits, sizeof *out * (size_t)model_hparams(model)->n_vocab);
    context_close(c);
}

static double largest_difference(const float *a, const float *b)
{
    double most = 0;
    for (int i = 0; i < model_hparams(model)->n_vocab; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

static void try_any_means(void)
{
    static float exact[4096], plain[4096], centred[4096], one_by_one[4096];
    static const char *const pairs[][2] = {{"turbo8:plain", "turbo8"},
                                           {"f32/turbo8:plain", "f32/turbo8"},
                                           {"turbo8/f32:plain", "turbo8/f32"}};
    assert_in_range(model_hparams(model)->n_vocab, 1, 4096);
    struct calibration *measured = calibration;
    struct calibration shifted = *measured;
    const size_t n = calibration_values(measured);
    shifted.k = mem_array(n, sizeof *shifted.k);
    shifted.v = shifted.k + (measured->v - measured->k);
    for (size_t i = 0; i < n; i++)
        shifted.k[i] = measured->k[i] + (float)(rng_at(8, i) % 1000) * .004f - 2;
    last_logits(exact, "f32", 400);
    for (int i = 0; i < 3; i++) {
        calibration = &shifted;
        last_logits(plain, pairs[i][0], 400);
        last_logits(centred, pairs[i][1], 400);
        last_logits(one_by_one, pairs[i][1], 1);
        calibration = measured;
        print_message("%s: off by %.2e, centred %.2e\n", pairs[i][1],
                      largest_difference(plain, exact),
                      largest_difference(centred, exact));
        assert_true(largest_difference(centred, plain) > 0);
        assert_true(largest_difference(centred, exact) <=
                    3 * largest_difference(plain, exact));
        assert_memory_equal(centred, one_by_one,
                            sizeof *exact * (size_t)model_hparams(model)->n_vocab);
    }
    mem_free(shifted.k);
    /* Exact types have nothing removed. */
    last_logits(centred, "f32", 400);
    assert_memory_equal(centred, exact,
                        sizeof *exact * (size_t)model_hparams(model)->n_vocab);
}

/* Whatever the means are, removing them changes nothing but rounding: of plain attention,
 * capped scores, sinks. */
static void test_any_means_are_exact(void **state)
{
    (void)state;
    static const char *const paths[] = {"tests/golden/gemma2.gguf",
                                        "tests/golden/gpt-oss-hd96.gguf"};
    try_any_means();
    struct model *first = model;
    struct calibration *first_calibration = calibration;
    static int32_t first_tokens[2 * CTX];
    memcpy(first_tokens, tokens, sizeof tokens);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_model(paths[i]), 0);
        try_any_means();
        calibration_close(calibration);
        model_close(model);
    }
    model = first;
    calibration = first_calibration;
    memcpy(tokens, first_tokens, sizeof tokens);
}

/* Each layer has its own means: some in one layer only make a difference. */
static void test_means_of_one_layer(void **state)
{
    (void)state;
    static float plain[4096], centred[4096];
    struct calibration *measured = calibration, one = *measured;
    const size_t n_k = (size_t)(measured->v - measured->k), n_layer = (size_t)one.n_layer;
    last_logits(plain, "turbo4:plain", 400);
    for (size_t i = 0; i < 2 * n_layer; i++) {
        one.k = mem_array(calibration_values(measured), sizeof *one.k);
        one.v = one.k + n_k;
        const size_t layer = i / 2;
        float *part = i % 2 ? one.v + layer * (calibration_values(&one) - n_k) / n_layer
                            : one.k + layer * n_k / n_layer;
        part[0] = 1;
        calibration = &one;
        last_logits(centred, "turbo4", 400);
        calibration = measured;
        assert_true(largest_difference(plain, centred) > 0);
        mem_free(one.k);
    }
}

static void test_calibration_of_another_model(void **state)
{
    (void)state;
    struct calibration other = *calibration;
    struct context_options o = {.calibration = &other, .n_ctx = 64};
    struct context *c = NULL;
    struct error err;
    other.n_head_kv++;
    assert_int_equal(kv_types_parse(&o.kv, "turbo4", &err), STATUS_OK);
    assert_int_equal(context_open(&c, model, &o, &err), STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, "another model"));
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rewind_within_the_page),
        cmocka_unit_test(test_rewind_to_a_mark),
        cmocka_unit_test(test_rewind_without_a_mark_starts_over),
        cmocka_unit_test(test_bad_calls_change_nothing),
        cmocka_unit_test(test_memory_is_what_the_types_need),
        cmocka_unit_test(test_any_means_are_exact),
        cmocka_unit_test(test_means_of_one_layer),
        cmocka_unit_test(test_calibration_of_another_model),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
