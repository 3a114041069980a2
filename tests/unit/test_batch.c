/* test_batch.c - a sequence in a step with others gives the bits that it gives alone. */
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

enum { N_SEQ = 5, LENGTH = 330, DEEP = 2200, N_THREAD = 4, BATCH = 150 };
enum { TOKENS = 64, VOCAB_MAX = 80 };

/* Numbers of threads.  Under sanitizers of memory other numbers only repeat what these do
 * (each line and branch that all of them take, by gcov: two threads cut three leaves
 * before an odd one), and so does one thread besides the other models' own number. */
#ifdef __SANITIZE_ADDRESS__
static const int thread_counts[] = {2, 3};
enum { MIX_OF_ONE_THREAD = 0 };
#else
static const int thread_counts[] = {1, 2, 3, 4};
enum { MIX_OF_ONE_THREAD = 1 };
#endif
enum { N_COUNT = sizeof thread_counts / sizeof *thread_counts };

static struct pool *pools[N_THREAD + 1]; // [threads]
static struct model *models[N_THREAD + 1];
static struct calibration *calibration;
static int n_vocab;
static int32_t stream[N_SEQ][DEEP]; // what the sequences hold
static int32_t detour[DEEP];
static float *alone[N_SEQ]; // [LENGTH][n_vocab], logits of a sequence alone

static const char *const kinds[] = {"f16", "turbo4", "turbo8/turbo2", "f32/turbo3"};
enum { N_KIND = sizeof kinds / sizeof *kinds };

/* A golden model, once for each number of threads. */
static void open_models(const char *name, enum cpu_isa isa)
{
    char path[128];
    struct error err;
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    for (int t = 1; t <= N_THREAD; t++) {
        struct gguf *g;
        assert_int_equal(gguf_open(&g, path, &err), STATUS_OK);
        assert_int_equal(model_open(&models[t], g, pools[t], isa, &err), STATUS_OK);
        gguf_close(g);
    }
    n_vocab = model_hparams(models[1])->n_vocab;
    assert_in_range(n_vocab, TOKENS, VOCAB_MAX);
    assert_int_equal(calibration_make(&calibration, models[1], detour, 256, &err),
                     STATUS_OK);
}

static void close_models(void)
{
    calibration_close(calibration);
    calibration = NULL;
    for (int t = 1; t <= N_THREAD; t++) {
        model_close(models[t]);
        models[t] = NULL;
    }
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    for (int i = 0; i < DEEP; i++) {
        for (int s = 0; s < N_SEQ; s++)
            stream[s][i] = (int32_t)(rng_at(20 + (uint64_t)s, (uint64_t)i) % TOKENS);
        detour[i] = (int32_t)(rng_at(19, (uint64_t)i) % TOKENS);
    }
    for (int t = 1; t <= N_THREAD; t++)
        if (pool_open(&pools[t], t, &err))
            return 1;
    for (int s = 0; s < N_SEQ; s++)
        alone[s] = mem_array((size_t)LENGTH * VOCAB_MAX, sizeof *alone[s]);
    open_models("llama", CPU_ISA_COUNT - 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_models();
    for (int s = 0; s < N_SEQ; s++)
        mem_free(alone[s]);
    for (int t = 1; t <= N_THREAD; t++)
        pool_close(pools[t]);
    return 0;
}

static struct context *open_context(int threads, const char *kv, struct context_options o)
{
    struct context *c = NULL;
    struct error err;
    o.calibration = calibration;
    assert_int_equal(kv_types_parse(&o.kv, kv, &err), STATUS_OK);
    assert_int_equal(context_open(&c, models[threads], &o, &err), STATUS_OK);
    return c;
}

static struct sequence *open_sequence(struct context *c, int n_ctx)
{
    struct sequence *seq = NULL;
    struct error err;
    assert_int_equal(sequence_open(&seq, c, n_ctx, &err), STATUS_OK);
    assert_int_equal(sequence_n_ctx(seq), n_ctx);
    assert_int_equal(sequence_pos(seq), 0);
    return seq;
}

static void step(struct context *c, struct batch_run *runs, int n_run)
{
    struct error err;
    assert_int_equal(context_eval_batch(c, runs, n_run, &err), STATUS_OK);
}

/* The sequence s alone, in a context with one. */
static void eval_alone(const char *kv, int s)
{
    const struct context_options o = {
        .n_ctx = LENGTH, .n_batch = 64 + 7 * s, .n_logits = LENGTH};
    struct context *c = open_context(2, kv, o);
    struct error err;
    const float *logits;
    assert_int_equal(context_eval(c, stream[s], LENGTH, LENGTH, &logits, &err),
                     STATUS_OK);
    memcpy(alone[s], logits, sizeof *logits * (size_t)LENGTH * (size_t)n_vocab);
    context_close(c);
}

/* The rows of a run, the last of which is that of token end - 1, are those of s alone. */
static void assert_rows(const struct batch_run *r, int s, int end)
{
    assert_int_equal(r->status, STATUS_OK);
    assert_int_equal(sequence_pos(r->seq), end);
    if (!r->n_logits)
        assert_null(r->logits);
    else
        assert_memory_equal(r->logits,
                            alone[s] + (size_t)(end - r->n_logits) * (size_t)n_vocab,
                            sizeof(float) * (size_t)r->n_logits * (size_t)n_vocab);
}

/* ---- any mix ---- */

struct actor {
    struct sequence *seq;
    int n_done;     // times that it came to the end of its stream
    int away, mark; // steps left on a detour, and where it began
};

/* At most n_max tokens; none if it pauses. */
static struct batch_run choose_run(const struct actor *a, int s, uint64_t dice, int n_max)
{
    static const int sizes[] = {0, 1, 1, 1, 1, 2, 3, 17, 64, 90};
    const int pos = sequence_pos(a->seq);
    int n = sizes[dice % 10];
    n = n < LENGTH - pos ? n : LENGTH - pos;
    n = n < n_max ? n : n_max;
    const int rows[] = {n, n > 0, n / 2, 0};
    return (struct batch_run){.seq = a->seq,
                              .tokens = (a->away ? detour : stream[s]) + pos,
                              .n = n,
                              .n_logits = rows[dice / 10 % 4]};
}

/* Between steps: to a detour, back from it, or from the end to a new sequence. */
static void move_on(struct context *c, struct actor *a, uint64_t dice)
{
    const int pos = sequence_pos(a->seq);
    if (a->away) {
        a->away = pos == LENGTH ? 0 : a->away - 1;
        if (!a->away)
            assert_int_equal(sequence_rewind(a->seq, a->mark), a->mark);
    } else if (pos == LENGTH) {
        a->n_done++;
        sequence_close(a->seq);
        a->seq = open_sequence(c, LENGTH + (int)(dice % 40));
    } else if (dice % 9 == 0) {
        sequence_mark(a->seq);
        a->mark = pos;
        a->away = 1 + (int)(dice / 9 % 4);
    }
}

static void run_mix(const char *kv, int threads)
{
    const struct context_options o = {
        .n_ctx = LENGTH + 40, .n_seq = N_SEQ, .n_batch = BATCH, .n_logits = BATCH};
    struct context *c = open_context(threads, kv, o);
    struct actor actors[N_SEQ] = {0};
    int n_done = 0, mixed = 0;
    for (int s = 0; s < N_SEQ; s++)
        actors[s].seq = open_sequence(c, LENGTH);
    for (uint64_t i = 0; n_done < N_SEQ; i += N_SEQ) {
        struct batch_run runs[N_SEQ];
        int n_run = 0, n_tok = 0, n_single = 0, who[N_SEQ];
        for (int s = 0; s < N_SEQ; s++) {
            const uint64_t dice = rng_at((uint64_t)threads, i + (uint64_t)s);
            runs[n_run] = choose_run(&actors[s], s, dice, BATCH - n_tok);
            who[n_run] = s;
            n_tok += runs[n_run].n;
            n_single += runs[n_run].n == 1;
            n_run += runs[n_run].n > 0;
        }
        if (n_run)
            step(c, runs, n_run);
        mixed += n_single && n_single < n_run;
        for (int r = 0; r < n_run; r++)
            if (!actors[who[r]].away)
                assert_rows(&runs[r], who[r],
                            (int)(runs[r].tokens - stream[who[r]]) + runs[r].n);
        n_done = 0;
        for (int s = 0; s < N_SEQ; s++) {
            move_on(c, &actors[s], rng_at(99, i + (uint64_t)s));
            n_done += actors[s].n_done > 0;
        }
    }
    assert_true(mixed > 10);
    context_close(c);
}

/* Prefill chunks and single tokens at any positions, with detours and rewinding, with
 * sequences that end and others that take their pages. */
static void test_any_mix(void **state)
{
    (void)state;
    for (int k = 0; k < N_KIND; k++) {
        for (int s = 0; s < N_SEQ; s++)
            eval_alone(kinds[k], s);
        for (int t = 0; t < N_COUNT; t++)
            run_mix(kinds[k], thread_counts[t]);
    }
}

/* The same where layers keep windows, states and latents, and choose experts. */
static void test_any_mix_of_other_models(void **state)
{
    (void)state;
    static const struct {
        const char *model, *kv;
        enum cpu_isa isa;
        int threads;
    } cases[] = {
        {"qwen35", "turbo4", CPU_ISA_COUNT - 1, 3},
        {"qwen35", "f16", CPU_ISA_C, 2},
        {"gemma3-hd128", "turbo8/turbo2", CPU_ISA_COUNT - 1, 4},
        {"gemma3-hd128", "f32", CPU_ISA_C, 3},
        {"gpt-oss-hd96", "turbo3", CPU_ISA_COUNT - 1, 2},
        {"gpt-oss-hd96", "f16", CPU_ISA_C, 4},
        {"kimi-linear-576", "turbo4", CPU_ISA_COUNT - 1, 4},
        {"kimi-linear-576", "turbo8", CPU_ISA_C, 3},
        {"kimi-linear", "f16", CPU_ISA_COUNT - 1, 3},
        {"qwen3moe", "turbo4", CPU_ISA_COUNT - 1, 4},
        {"qwen3moe", "f32", CPU_ISA_C, 2},
        {"qwen3next-ssm-in", "turbo4", CPU_ISA_COUNT - 1, 3},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        close_models();
        open_models(cases[i].model, cases[i].isa);
        for (int s = 0; s < N_SEQ; s++)
            eval_alone(cases[i].kv, s);
        if (MIX_OF_ONE_THREAD)
            run_mix(cases[i].kv, 1);
        run_mix(cases[i].kv, cases[i].threads);
    }
    close_models();
    open_models("llama", CPU_ISA_COUNT - 1);
}

/* All sequences begin a page with the last of two tokens: the most exact pages that a
 * step of so few tokens can need. */
static void test_all_begin_a_page(void **state)
{
    (void)state;
    for (int k = 0; k < N_KIND; k++) {
        const struct context_options o = {
            .n_ctx = LENGTH, .n_seq = N_SEQ, .n_batch = 63, .n_logits = 2 * N_SEQ};
        struct context *c = open_context(3, kinds[k], o);
        struct batch_run runs[N_SEQ];
        for (int s = 0; s < N_SEQ; s++) {
            eval_alone(kinds[k], s);
            runs[s] = (struct batch_run){
                .seq = open_sequence(c, LENGTH), .tokens = stream[s], .n = 63};
            step(c, &runs[s], 1);
        }
        for (int pos = 63; pos + 2 < LENGTH; pos += 64) {
            for (int s = 0; s < N_SEQ; s++) {
                runs[s].tokens = stream[s] + pos;
                runs[s].n = runs[s].n_logits = 2;
            }
            step(c, runs, N_SEQ);
            for (int s = 0; s < N_SEQ; s++) {
                assert_rows(&runs[s], s, pos + 2);
                runs[s].tokens += 2;
                runs[s].n = pos + 64 < LENGTH ? 62 : 1;
                runs[s].n_logits = 1;
                step(c, &runs[s], 1);
                assert_rows(&runs[s], s, pos + 2 + runs[s].n);
            }
        }
        context_close(c);
    }
}

/* ---- many keys ---- */

static const int depths[] = {2100, 40, 1023, 1500};
enum { N_DEEP = 4, N_STEP = 3 };

/* Logits of N_STEP tokens behind each depth, of each sequence in a context for itself. */
static void deep_alone(float *out, const char *kv)
{
    const struct context_options o = {.n_ctx = DEEP};
    for (int s = 0; s < N_DEEP; s++) {
        struct context *c = open_context(2, kv, o);
        struct error err;
        const float *logits;
        assert_int_equal(context_eval(c, stream[s], depths[s], 0, NULL, &err), STATUS_OK);
        for (int i = 0; i < N_STEP; i++, out += n_vocab) {
            assert_int_equal(
                context_eval(c, stream[s] + depths[s] + i, 1, 1, &logits, &err),
                STATUS_OK);
            memcpy(out, logits, sizeof *out * (size_t)n_vocab);
        }
        context_close(c);
    }
}

/* Single tokens whose keys are cut in parts, next to others and to a prefill chunk. */
static void deep_together(const float *expected, const char *kv, int threads)
{
    const struct context_options o = {.n_ctx = DEEP, .n_seq = N_DEEP + 1};
    struct context *c = open_context(threads, kv, o);
    struct batch_run runs[N_DEEP + 1];
    for (int s = 0; s <= N_DEEP; s++) {
        struct sequence *seq = open_sequence(c, DEEP);
        for (int at = 0; s < N_DEEP && at < depths[s]; at += 512) {
            const int n = depths[s] - at < 512 ? depths[s] - at : 512;
            runs[s] = (struct batch_run){.seq = seq, .tokens = stream[s] + at, .n = n};
            step(c, &runs[s], 1);
        }
        runs[s] = (struct batch_run){.seq = seq, .n = 1, .n_logits = 1};
    }
    for (int i = 0; i < N_STEP; i++) {
        for (int s = 0; s < N_DEEP; s++)
            runs[s].tokens = stream[s] + depths[s] + i;
        runs[N_DEEP].tokens = detour + 150 * i;
        runs[N_DEEP].n = 150;
        step(c, runs, N_DEEP + (i != 1));
        for (int s = 0; s < N_DEEP; s++)
            assert_memory_equal(runs[s].logits,
                                expected + (size_t)(s * N_STEP + i) * (size_t)n_vocab,
                                sizeof *expected * (size_t)n_vocab);
    }
    context_close(c);
}

static void test_many_keys(void **state)
{
    (void)state;
    float *expected =
        mem_array((size_t)(N_DEEP * N_STEP) * (size_t)n_vocab, sizeof *expected);
    for (int k = 0; k < 2; k++) {
        deep_alone(expected, kinds[k]);
        for (int t = 0; t < N_COUNT; t++)
            deep_together(expected, kinds[k], thread_counts[t]);
    }
    mem_free(expected);
}

/* ---- errors ---- */

static void assert_refused(struct context *c, struct batch_run *runs, int n_run,
                           const char *why)
{
    struct error err;
    assert_int_equal(context_eval_batch(c, runs, n_run, &err), STATUS_BAD_ARG);
    assert_non_null(strstr(err.text, why));
}

static void test_bad_steps_change_nothing(void **state)
{
    (void)state;
    const struct context_options o = {
        .n_ctx = 100, .n_seq = 3, .n_batch = 80, .n_logits = 4};
    struct context *c = open_context(2, "turbo4", o), *other = open_context(2, "f16", o);
    struct sequence *a = open_sequence(c, 100), *b = open_sequence(c, 50);
    struct sequence *closed = open_sequence(c, 50), *foreign = open_sequence(other, 50);
    const int32_t bad[] = {1, n_vocab};
    const struct batch_run good = {.seq = a, .tokens = stream[0], .n = 10, .n_logits = 1};
    struct batch_run runs[] = {good, good};
    sequence_close(closed);

    assert_refused(c, runs, 0, "0 tokens");
    assert_refused(c, runs, 2, "same sequence");
    assert_int_equal(runs[0].status, STATUS_OK);
    assert_int_equal(runs[1].status, STATUS_BAD_ARG);
    runs[1].seq = closed;
    assert_refused(c, runs, 2, "not open");
    runs[1].seq = foreign;
    assert_refused(c, runs, 2, "not open");
    runs[1].seq = NULL;
    assert_refused(c, runs, 2, "not open");
    runs[1] = (struct batch_run){.seq = b, .tokens = stream[1], .n = 51};
    assert_refused(c, runs, 2, "51 tokens do not fit behind the 0 of a context of 50");
    runs[1] = (struct batch_run){.seq = b, .tokens = bad, .n = 2};
    assert_refused(c, runs, 2, "token 1");
    runs[1] = (struct batch_run){.seq = b, .tokens = stream[1], .n = 0};
    assert_refused(c, runs, 2, "0 tokens");
    runs[1] = (struct batch_run){.seq = b, .tokens = stream[1], .n = 40, .n_logits = 4};
    assert_refused(c, runs, 2, "5 rows");
    runs[0].n = 41;
    runs[1].n_logits = 1;
    assert_refused(c, runs, 2, "a step of 81 tokens");
    assert_int_equal(sequence_pos(a), 0);
    assert_int_equal(sequence_pos(b), 0);

    struct error err;
    assert_int_equal(context_eval(c, stream[0], 1, 0, NULL, &err), STATUS_BAD_ARG);
    runs[0].n = 40;
    step(c, runs, 2);
    assert_int_equal(sequence_pos(a), 40);
    assert_int_equal(sequence_pos(b), 40);
    context_close(c);
    context_close(other);
}

static void test_pages_are_taken_at_open(void **state)
{
    (void)state;
    const struct context_options o = {.n_ctx = 256, .n_seq = 3, .n_page = 6};
    struct context *c = open_context(1, "turbo4", o);
    struct sequence *a = open_sequence(c, 129), *b = open_sequence(c, 64), *d = NULL;
    struct error err;
    assert_int_equal(context_memory(c).pages, 6 * context_memory(c).page_bytes);
    assert_int_equal(sequence_open(&d, c, 129, &err), STATUS_FULL);
    assert_non_null(strstr(err.text, "129 tokens need 3 pages, 2 are free"));
    assert_int_equal(sequence_open(&d, c, 257, &err), STATUS_LIMIT);
    assert_non_null(strstr(err.text, "--ctx"));
    assert_int_equal(sequence_open(&d, c, 0, &err), STATUS_BAD_ARG);
    assert_null(d);
    d = open_sequence(c, 128);
    struct sequence *e = NULL;
    assert_int_equal(sequence_open(&e, c, 1, &err), STATUS_FULL);
    assert_non_null(strstr(err.text, "all 3 sequences"));
    sequence_close(a);
    assert_int_equal(sequence_open(&e, c, 193, &err), STATUS_FULL);
    e = open_sequence(c, 192);
    /* All of them full at the same time. */
    struct batch_run runs[] = {{.seq = b, .tokens = stream[0], .n = 64},
                               {.seq = d, .tokens = stream[1], .n = 128},
                               {.seq = e, .tokens = stream[2], .n = 192}};
    step(c, runs, 3);
    assert_refused(c, &runs[0], 1, "do not fit");
    sequence_reset(b);
    step(c, &runs[0], 1);
    context_close(c);
}

static void test_more_than_can_be_counted(void **state)
{
    (void)state;
    struct context_options o = {.kv = {.k = TQ_F16, .v = TQ_F16}, .n_ctx = 64};
    struct context *c = NULL;
    struct error err;
    o.n_seq = CONTEXT_SEQUENCES_MAX + 1;
    assert_int_equal(context_open(&c, models[1], &o, &err), STATUS_BAD_ARG);
    o.n_seq = CONTEXT_SEQUENCES_MAX;
    o.n_ctx = INT32_MAX;
    assert_int_equal(context_open(&c, models[1], &o, &err), STATUS_NO_MEMORY);
    assert_null(c);
}

/* ---- what is not finite ---- */

/* The golden model with a row of a tensor that is not finite: that of a token in
 * token_embd.weight, or that of an expert. */
static struct model *open_damaged(const char *name, const char *tensor, size_t row,
                                  uint8_t **image)
{
    char path[128];
    struct error err;
    struct gguf *g;
    struct model *m = NULL;
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    const size_t n = (size_t)ftell(f);
    rewind(f);
    *image = mem_array(n, 1);
    assert_int_equal(fread(*image, 1, n, f), n);
    fclose(f);
    assert_int_equal(gguf_open_memory(&g, *image, n, &err), STATUS_OK);
    const struct gguf_tensor *t = gguf_tensor_find(g, tensor);
    const float wrong = INFINITY;
    const uint16_t wrong_f16 = 0x7c00;
    uint8_t *data = *image + (t->data - *image);
    if (t->dtype == DTYPE_F32)
        memcpy(data + row * (size_t)t->ne[0] * sizeof wrong, &wrong, sizeof wrong);
    else
        memcpy(data + row * (size_t)t->ne[0] * sizeof wrong_f16, &wrong_f16,
               sizeof wrong_f16);
    assert_int_equal(model_open(&m, g, pools[2], CPU_ISA_COUNT - 1, &err), STATUS_OK);
    gguf_close(g);
    return m;
}

enum { WRONG = 7 };

/* One sequence of the model has the token. */
static void damage_a_sequence(const char *name, const char *const *kv, int n_kv)
{
    enum { N = 100 };
    uint8_t *image;
    struct error err;
    struct model *m = open_damaged(name, "token_embd.weight", WRONG, &image);
    const size_t bytes = sizeof(float) * (size_t)model_hparams(m)->n_vocab;
    int32_t tokens[N];
    for (int i = 0; i < N; i++)
        tokens[i] = i % 60 == WRONG ? 8 : i % 60;
    for (int k = 0; k < n_kv; k++) {
        struct context_options o = {.n_ctx = N, .n_logits = 2};
        struct context *one, *c;
        const float *expected;
        assert_int_equal(kv_types_parse(&o.kv, kv[k], &err), STATUS_OK);
        assert_int_equal(context_open(&one, m, &o, &err), STATUS_OK);
        assert_int_equal(context_eval(one, tokens, N, 1, &expected, &err), STATUS_OK);
        o.n_seq = 2;
        assert_int_equal(context_open(&c, m, &o, &err), STATUS_OK);
        const int32_t wrong[] = {1, WRONG, 2};
        struct batch_run runs[] = {
            {.seq = open_sequence(c, N), .tokens = wrong, .n = 3, .n_logits = 1},
            {.seq = open_sequence(c, N), .tokens = tokens, .n = N, .n_logits = 1}};
        assert_int_equal(context_eval_batch(c, runs, 2, &err), STATUS_NUMERIC);
        assert_non_null(strstr(err.text, "positions 0 to 2"));
        assert_int_equal(runs[0].status, STATUS_NUMERIC);
        assert_null(runs[0].logits);
        assert_int_equal(sequence_pos(runs[0].seq), 0);
        assert_int_equal(runs[1].status, STATUS_OK);
        assert_int_equal(sequence_pos(runs[1].seq), N);
        assert_memory_equal(runs[1].logits, expected, bytes);
        /* It takes no tokens before it is reset, and nothing stays behind. */
        runs[0].tokens = tokens;
        assert_refused(c, runs, 1, "must be reset");
        assert_int_equal(sequence_rewind(runs[0].seq, 0), 0);
        runs[0].n = N;
        step(c, runs, 1);
        assert_memory_equal(runs[0].logits, expected, bytes);
        context_close(c);
        context_close(one);
    }
    model_close(m);
    mem_free(image);
}

static void test_not_finite_stays_in_its_sequence(void **state)
{
    (void)state;
    static const char *const models_of_all_kinds[] = {
        "gemma3-hd128", "gpt-oss-hd96", "kimi-linear", "qwen35",
        "qwen35moe",    "qwen3moe",     "qwen3next",   "qwen3next-ssm-in"};
    damage_a_sequence("llama-hd80", kinds, N_KIND);
    for (size_t i = 0; i < sizeof models_of_all_kinds / sizeof *models_of_all_kinds; i++)
        damage_a_sequence(models_of_all_kinds[i], kinds, 1);
}

/* Only who chose the expert is harmed.  Sequences of a few tokens; what happens to them
 * alone decides what must happen to them in a step with others. */
static void damage_an_expert(const char *name, const char *tensor)
{
    enum { MANY = 24, FEW = 2 };
    uint8_t *image;
    struct error err;
    struct model *m = open_damaged(name, tensor, 0, &image);
    const size_t n = (size_t)model_hparams(m)->n_vocab;
    struct context_options o = {.n_ctx = 64, .n_seq = MANY, .n_logits = MANY};
    struct context *c;
    struct batch_run runs[MANY];
    enum status alone_status[MANY];
    float *logits = mem_array(MANY * n, sizeof *logits);
    int n_harmed = 0;
    assert_int_equal(kv_types_parse(&o.kv, "f16", &err), STATUS_OK);
    assert_int_equal(context_open(&c, m, &o, &err), STATUS_OK);
    for (int i = 0; i < MANY; i++) {
        runs[i] = (struct batch_run){.seq = open_sequence(c, 64),
                                     .tokens = detour + FEW * i,
                                     .n = FEW,
                                     .n_logits = 1};
        alone_status[i] = context_eval_batch(c, &runs[i], 1, &err);
        n_harmed += alone_status[i] == STATUS_NUMERIC;
        if (!alone_status[i])
            memcpy(logits + (size_t)i * n, runs[i].logits, n * sizeof *logits);
        sequence_reset(runs[i].seq);
    }
    assert_in_range(n_harmed, 1, MANY - 1);
    assert_int_equal(context_eval_batch(c, runs, MANY, &err), STATUS_NUMERIC);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(runs[i].status, alone_status[i]);
        if (!alone_status[i])
            assert_memory_equal(runs[i].logits, logits + (size_t)i * n,
                                n * sizeof *logits);
    }
    mem_free(logits);
    context_close(c);
    model_close(m);
    mem_free(image);
}

static void test_not_finite_stays_in_its_expert(void **state)
{
    (void)state;
    damage_an_expert("qwen3moe", "blk.0.ffn_gate_exps.weight");
    damage_an_expert("qwen35moe", "blk.1.ffn_down_exps.weight");
    damage_an_expert("kimi-linear", "blk.2.ffn_up_exps.weight");
    damage_an_expert("qwen3next-ssm-in", "blk.1.ffn_down_exps.weight");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_mix),
        cmocka_unit_test(test_any_mix_of_other_models),
        cmocka_unit_test(test_all_begin_a_page),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_bad_steps_change_nothing),
        cmocka_unit_test(test_pages_are_taken_at_open),
        cmocka_unit_test(test_more_than_can_be_counted),
        cmocka_unit_test(test_not_finite_stays_in_its_sequence),
        cmocka_unit_test(test_not_finite_stays_in_its_expert),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
