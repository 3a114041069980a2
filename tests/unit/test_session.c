/* test_session.c - prompts that go on, go back and branch at any place: the answer of a
 * session is that of one that never saw another prompt. */
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "engine/session.h"
#include "tiny_engine.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum {
    CTX = 300,
    BATCH = 50,
    VOCAB = TINY_VOCAB,
    FIRST = TINY_FIRST,
    ROUNDS = 25,
    STABLE_MAX = 3
};

static struct engine engine;

static void open_model(const char *name)
{
    struct error err;
    assert_int_equal(tiny_open_model(&engine, name, &err), STATUS_OK);
    assert_true(model_hparams(engine.model)->n_vocab >= VOCAB);
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    if (pool_open(&engine.pool, 2, &err))
        return 1;
    return tiny_open_tokenizer(&engine, &err) != STATUS_OK;
}

static int teardown(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

static struct session *open_session(const char *kv, int n_mark)
{
    struct context_options o = {.n_ctx = CTX, .n_batch = BATCH, .n_mark = n_mark};
    struct session *s = NULL;
    struct error err;
    assert_int_equal(kv_types_parse(&o.kv, kv, &err), STATUS_OK);
    assert_int_equal(session_open(&s, &engine, &o, &err), STATUS_OK);
    return s;
}

/* ---- requests ---- */

struct asked {
    int32_t prompt[CTX];
    size_t n, stable[STABLE_MAX];
    int n_stable, max_tokens;
    int stop_read, stop_said; // when to stop: tokens read, or said; 0: never
};

struct answer {
    char text[2 * CTX + 1];
    size_t n;
    const struct asked *asked;
    atomic_bool stop;
    struct session_stats stats;
};

static bool take_text(void *ctx, const char *text, size_t n)
{
    struct answer *a = ctx;
    assert_true(a->n + n < sizeof a->text);
    memcpy(a->text + a->n, text, n);
    a->n += n;
    a->text[a->n] = 0;
    if (a->asked->stop_said && a->n >= 2 * (size_t)a->asked->stop_said)
        atomic_store(&a->stop, true);
    return true;
}

static void look_at_progress(void *ctx, int done, int total)
{
    struct answer *a = ctx;
    assert_true(done <= total);
    if (a->asked->stop_read && done >= a->asked->stop_read)
        atomic_store(&a->stop, true);
}

static void ask(struct answer *a, struct session *s, const struct asked *asked)
{
    int32_t ids[CTX];
    memcpy(ids, asked->prompt, sizeof ids);
    const struct tokens prompt = {.id = ids, .n = asked->n};
    struct session_request r = {.prompt = &prompt,
                                .stable = asked->stable,
                                .n_stable = asked->n_stable,
                                .max_tokens = asked->max_tokens,
                                .sampling = sampler_defaults,
                                .stop = &a->stop,
                                .emit = take_text,
                                .progress = look_at_progress,
                                .ctx = a};
    struct error err;
    *a = (struct answer){.asked = asked};
    r.sampling.temp = 0.0f;
    assert_int_equal(session_generate(s, &r, &a->stats, &err), STATUS_OK);
    assert_int_equal(a->stats.n_prompt, asked->n);
}

/* The same in a session of its own, to the end. */
static void ask_cold(struct answer *a, const char *kv, const struct asked *asked)
{
    static struct asked to_the_end;
    struct session *s = open_session(kv, 1);
    to_the_end = *asked;
    to_the_end.stop_read = to_the_end.stop_said = 0;
    ask(a, s, &to_the_end);
    assert_int_equal(a->stats.n_cached, 0);
    session_close(s);
}

/* ---- a walk over prompts ---- */

struct dice {
    uint64_t seed, n;
};

static size_t roll(struct dice *d, size_t n)
{
    return (size_t)(rng_at(d->seed, d->n++) % n);
}

/* A place to branch off: the end, near it, near pages, batches and checkpoints, any. */
static size_t choose_cut(struct dice *d, const struct asked *a, size_t end)
{
    size_t cut = end;
    switch (roll(d, 6)) {
    case 0:
        break;
    case 1:
        cut = end - roll(d, 4);
        break;
    case 2:
        cut = 64 * (1 + roll(d, 4)) + roll(d, 3) - 1;
        break;
    case 3:
        cut = BATCH * (1 + roll(d, 5)) + roll(d, 3) - 1;
        break;
    case 4:
        cut =
            a->n_stable ? a->stable[roll(d, (size_t)a->n_stable)] + roll(d, 3) - 1 : end;
        break;
    default:
        cut = 1 + roll(d, end);
    }
    return cut < end ? cut : end;
}

static void choose_request(struct dice *d, struct asked *a, const struct answer *before)
{
    size_t end = a->n;
    for (size_t i = 0; i + 1 < before->n && end < CTX; i += 2) // what was said
        a->prompt[end++] = (before->text[i] - 'A') * 26 + before->text[i + 1] - 'a';
    a->n = end ? choose_cut(d, a, end) : 0;
    static const size_t more[] = {0, 1, 2, 15, 63, 64, 65, 100, CTX};
    for (size_t n = more[roll(d, sizeof more / sizeof *more)]; n > 0 && a->n < CTX; n--)
        a->prompt[a->n++] = (int32_t)(FIRST + roll(d, VOCAB - FIRST));
    if (!a->n)
        a->prompt[a->n++] = FIRST;
    a->n_stable = 0;
    for (size_t at = 0; a->n_stable < STABLE_MAX; a->stable[a->n_stable++] = at)
        if ((at += 1 + roll(d, 100)) > a->n)
            break;
    static const int most[] = {1, 2, 7, 40, 0};
    a->max_tokens = most[roll(d, sizeof most / sizeof *most)];
    a->stop_read = roll(d, 5) == 0 ? 1 + (int)roll(d, a->n) : 0;
    a->stop_said = roll(d, 5) == 0 ? 1 + (int)roll(d, 5) : 0;
}

static void assert_answer(const struct answer *warm, const struct answer *cold)
{
    const struct session_stats *w = &warm->stats, *c = &cold->stats;
    if (w->end == SESSION_STOPPED) {
        assert_true(warm->n <= cold->n && !memcmp(warm->text, cold->text, warm->n));
        return;
    }
    assert_string_equal(warm->text, cold->text);
    assert_int_equal(w->end, c->end);
    assert_int_equal(w->n_decoded, c->n_decoded);
    assert_int_equal(w->n_cached + w->n_read, c->n_read);
    assert_true(w->n_again <= w->n_read);
}

static void walk(const char *kv, int n_mark, uint64_t seed)
{
    static struct asked asked;
    static struct answer warm, cold;
    struct dice d = {seed, 0};
    struct session *s = open_session(kv, n_mark);
    asked.n = warm.n = 0;
    for (int i = 0; i < ROUNDS; i++) {
        choose_request(&d, &asked, &warm);
        ask(&warm, s, &asked);
        ask_cold(&cold, kv, &asked);
        assert_answer(&warm, &cold);
    }
    session_close(s);
}

static void test_warm_answers_are_cold_ones(void **state)
{
    (void)state;
    static const struct {
        const char *model, *kv;
    } cases[] = {
        {"llama", "turbo4"},        {"qwen35", "f16"},       {"qwen35", "turbo4"},
        {"gemma3-hd128", "turbo4"}, {"gemma3-hd128", "f32"}, {"gpt-oss-hd96", "f16"},
        {"kimi-linear", "f16"},     {"qwen35moe", "turbo3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        open_model(cases[i].model);
        for (int n_mark = 1; n_mark <= 5; n_mark += 4)
            walk(cases[i].kv, n_mark, 100 * i + (uint64_t)n_mark);
        model_close(engine.model);
        engine.model = NULL;
    }
}

/* Going on right behind an answer costs nothing again. */
static void test_the_end_of_an_answer_is_a_checkpoint(void **state)
{
    (void)state;
    static struct asked asked = {.n = 100, .max_tokens = 20};
    static struct answer a;
    open_model("qwen35");
    struct session *s = open_session("turbo4", 1);
    for (size_t i = 0; i < asked.n; i++)
        asked.prompt[i] = FIRST + (int32_t)(i * i % (VOCAB - FIRST));
    ask(&a, s, &asked);
    assert_int_equal(a.stats.end, SESSION_LENGTH);
    for (size_t i = 0; i < a.n; i += 2)
        asked.prompt[asked.n++] = (a.text[i] - 'A') * 26 + a.text[i + 1] - 'a';
    ask(&a, s, &asked);
    assert_int_equal(a.stats.n_cached, 119); // the last token was not read
    assert_int_equal(a.stats.n_again, 0);
    session_close(s);
    model_close(engine.model);
    engine.model = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warm_answers_are_cold_ones),
        cmocka_unit_test(test_the_end_of_an_answer_is_a_checkpoint),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
