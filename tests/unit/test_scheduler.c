/* test_scheduler.c - many requests at once in too little memory: every answer is that of
 * a session of its own that never saw another request. */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/rng.h"
#include "engine/scheduler.h"
#include "engine/session.h"
#include "tiny_engine.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

enum { CTX = 320, BATCH = 48, REQUESTS_MAX = 2000, CLIENTS = 12, TEXT = 2 * CTX + 16 };

static struct engine engine;
static uint64_t counter;

static int roll(int n)
{
    return (int)(rng_at(11, counter++) % (uint64_t)n);
}

static int setup(void **state)
{
    (void)state;
    struct error err;
    return pool_open(&engine.pool, 2, &err) || tiny_open_tokenizer(&engine, &err);
}

static int teardown(void **state)
{
    (void)state;
    engine_close(&engine);
    return 0;
}

/* ---- the allocator, counted ---- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTED 1
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n);
void *calloc(size_t n, size_t size);
void *realloc(void *p, size_t n);

static atomic_int n_alloc;

void *malloc(size_t n)
{
    atomic_fetch_add(&n_alloc, 1);
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    atomic_fetch_add(&n_alloc, 1);
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    atomic_fetch_add(&n_alloc, 1);
    return __libc_realloc(p, n);
}
#endif

/* ---- requests and what their answers are ---- */

struct asked {
    int32_t prompt[CTX];
    size_t n, stable;
    int max_tokens;
    uint64_t seed;
    int cancel_at; // tokens of the answer before it is given up; 0: it is not
    char text[TEXT];
    size_t n_text;
    enum generation_end end;
};

static struct asked requests[REQUESTS_MAX];

static bool take_text(void *ctx, const char *text, size_t n)
{
    struct asked *a = ctx;
    memcpy(a->text + a->n_text, text, n);
    a->n_text += n;
    return true;
}

static void expect(struct asked *a, const struct context_options *o)
{
    struct session *s;
    struct session_stats stats;
    struct context_options alone = *o;
    alone.n_seq = alone.n_page = 0;
    const struct tokens prompt = {.id = a->prompt, .n = a->n};
    struct session_request r = {.prompt = &prompt,
                                .max_tokens = a->max_tokens,
                                .sampling = sampler_defaults,
                                .emit = take_text,
                                .ctx = a};
    r.sampling.seed = a->seed;
    assert_int_equal(session_open(&s, &engine, &alone, NULL), STATUS_OK);
    assert_int_equal(session_generate(s, &r, &stats, NULL), STATUS_OK);
    session_close(s);
    a->end = stats.end == SESSION_EOG      ? GENERATION_EOG
             : stats.end == SESSION_LENGTH ? GENERATION_LENGTH
                                           : GENERATION_CONTEXT;
}

/* Conversations branch off a few beginnings. */
static void make_requests(int n, const struct context_options *o)
{
    int32_t starts[3][CTX];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < CTX; k++)
            starts[i][k] = TINY_FIRST + roll(TINY_VOCAB - TINY_FIRST);
    for (int i = 0; i < n; i++) {
        struct asked *a = &requests[i];
        memset(a, 0, sizeof *a);
        a->n = (size_t)(1 + roll(roll(3) ? 120 : CTX - 1));
        const size_t same = (size_t)roll((int)a->n + 1);
        memcpy(a->prompt, starts[roll(3)], same * sizeof *a->prompt);
        for (size_t k = same; k < a->n; k++)
            a->prompt[k] = TINY_FIRST + roll(TINY_VOCAB - TINY_FIRST);
        a->stable = roll(2) ? same : 0;
        a->max_tokens = roll(4) ? 1 + roll(60) : 1 + roll(CTX);
        a->seed = (uint64_t)roll(1000);
        a->cancel_at = roll(6) ? 0 : 1 + roll(10);
        expect(a, o);
    }
}

/* ---- clients ---- */

struct crowd {
    struct scheduler *s;
    int n, next; // of requests
    pthread_mutex_t lock;
    int n_full, n_expired, n_parked, n_cached;
};

static void post(void *ctx)
{
    sem_post(ctx);
}

static struct generation *submit(struct crowd *c, const struct asked *a, sem_t *events,
                                 enum status *rc)
{
    struct generation *g = NULL;
    struct generation_request r = {.prompt = a->prompt,
                                   .n_prompt = a->n,
                                   .stable = {a->stable},
                                   .n_stable = a->stable > 0,
                                   .max_tokens = a->max_tokens,
                                   .sampling = sampler_defaults,
                                   .n_logprobs = -1,
                                   .wake = post,
                                   .wake_ctx = events};
    r.sampling.seed = a->seed;
    *rc = scheduler_submit(c->s, &r, &g, NULL, NULL);
    return g;
}

/* What went wrong, as a text: cmocka's assertions belong to one thread. */
static const char *follow(struct crowd *c, const struct asked *a)
{
    sem_t events;
    struct generation_event e;
    enum status rc;
    char text[TEXT];
    size_t n = 0;
    int n_token = 0;
    sem_init(&events, 0, 0);
    struct generation *g = submit(c, a, &events, &rc);
    if (!g) {
        sem_destroy(&events);
        c->n_full += rc == STATUS_FULL;
        return rc == STATUS_FULL ? NULL : "refused";
    }
    const char *wrong = NULL;
    for (bool over = false; !over && !wrong;) {
        sem_wait(&events);
        while (!over && generation_next(g, &e)) {
            n_token += e.kind == GENERATION_TOKEN;
            over = e.kind == GENERATION_END;
            const size_t more =
                e.special ? 0 : e.n; // a session leaves control tokens out
            if (n + more > sizeof text)
                wrong = "too much text";
            else if (more)
                memcpy(text + n, e.text, more);
            n += more;
            if (a->cancel_at && n_token == a->cancel_at && e.kind == GENERATION_TOKEN)
                generation_cancel(g);
        }
    }
    generation_close(g);
    sem_destroy(&events);
    if (wrong)
        return wrong;
    if (n > a->n_text || memcmp(text, a->text, n))
        return "another text";
    if (e.end == GENERATION_EXPIRED) {
        c->n_expired++;
        return n ? "text of a request that did not begin" : NULL;
    }
    pthread_mutex_lock(&c->lock);
    c->n_parked += e.stats.n_parked;
    c->n_cached += e.stats.n_cached;
    pthread_mutex_unlock(&c->lock);
    if (a->cancel_at && e.end == GENERATION_CANCELLED)
        return NULL;
    if (e.end != a->end)
        return "another end";
    return n == a->n_text ? NULL : "text is missing";
}

static void *client(void *ctx)
{
    struct crowd *c = ctx;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        const int i = c->next < c->n ? c->next++ : -1;
        pthread_mutex_unlock(&c->lock);
        if (i < 0)
            return NULL;
        /* What may come changes nothing for what does. */
        const struct asked *likely = &requests[(i + 5) % c->n];
        scheduler_read_ahead(c->s, likely->prompt, likely->n);
        const char *wrong = follow(c, &requests[i]);
        if (wrong) {
            fprintf(stderr, "request %d: %s\n", i, wrong);
            return (void *)wrong;
        }
    }
}

static void try_crowd(const char *model, const char *kv, int n, int n_page)
{
    struct error err;
    struct scheduler_options o = {
        .context = {.n_ctx = CTX, .n_batch = BATCH, .n_seq = 6, .n_page = n_page},
        .n_queue = CLIENTS,
        .n_reserve = 16,
    };
    assert_int_equal(tiny_open_model(&engine, model, &err), STATUS_OK);
    assert_int_equal(kv_types_parse(&o.context.kv, kv, &err), STATUS_OK);
    make_requests(n, &o.context);
    struct crowd c = {.n = n};
    pthread_mutex_init(&c.lock, NULL);
    assert_int_equal(scheduler_open(&c.s, &engine, &o, &err), STATUS_OK);
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, client, &c), 0);
    for (int i = 0; i < CLIENTS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    struct scheduler_stats stats;
    const uint64_t end = clock_us() + 10000000;
    do // it may read ahead
        scheduler_stats(c.s, &stats);
    while (stats.n_page_used && clock_us() < end);
    assert_int_equal(stats.n_running + stats.n_waiting + stats.n_parked, 0);
    assert_int_equal(stats.n_page_used, 0);
    assert_int_equal(c.n_full + c.n_expired, 0);
    assert_true(c.n_cached > 0);
    print_message("%s %s: %d requests, %llu steps, parked %d times, %d tokens cached\n",
                  model, kv, n, (unsigned long long)stats.steps, c.n_parked, c.n_cached);
    assert_true(c.n_parked > 0);
    scheduler_close(c.s);
    model_close(engine.model);
    engine.model = NULL;
}

/* make check-crowd runs 2,000 of each. */
static int n_requests;

static void test_crowds(void **state)
{
    (void)state;
    const int n = n_requests;
    try_crowd("llama", "turbo4", n, 8);
    try_crowd("llama", "f16", n, 8);
    try_crowd("qwen3", "turbo8/turbo3", n, 8);
    try_crowd("gemma3", "turbo4", n, 8);
    try_crowd("qwen3next", "turbo4", n, 8);
    try_crowd("kimi-linear-576", "turbo4", n, 8);
}

/* ---- one at a time ---- */

static struct scheduler *open_scheduler(const char *model, int n_seq, int n_queue,
                                        uint64_t queue_us)
{
    struct error err;
    struct scheduler *s = NULL;
    struct scheduler_options o = {
        .context = {.n_ctx = CTX, .n_batch = BATCH, .n_seq = n_seq, .n_page = 12},
        .n_queue = n_queue,
        .queue_us = queue_us,
    };
    assert_int_equal(tiny_open_model(&engine, model, &err), STATUS_OK);
    assert_int_equal(kv_types_parse(&o.context.kv, "turbo4", &err), STATUS_OK);
    assert_int_equal(scheduler_open(&s, &engine, &o, &err), STATUS_OK);
    return s;
}

static void close_scheduler(struct scheduler *s)
{
    scheduler_close(s);
    model_close(engine.model);
    engine.model = NULL;
}

static struct generation_request request_of(const int32_t *prompt, size_t n,
                                            sem_t *events)
{
    sem_init(events, 0, 0);
    return (struct generation_request){.prompt = prompt,
                                       .n_prompt = n,
                                       .max_tokens = 20,
                                       .sampling = sampler_defaults,
                                       .n_logprobs = -1,
                                       .wake = post,
                                       .wake_ctx = events};
}

/* Events up to the end; text and tokens are collected. */
struct outcome {
    char text[TEXT];
    size_t n;
    struct generation_event tokens[CTX];
    int n_token;
    float embedding[512];
    bool embedded;
    struct generation_event end;
};

static void collect(struct outcome *o, struct generation *g, sem_t *events)
{
    const int n_embd = model_hparams(engine.model)->n_embd;
    struct generation_event e;
    *o = (struct outcome){0};
    do {
        sem_wait(events);
        while (generation_next(g, &e)) {
            if (e.kind == GENERATION_TOKEN && e.id >= 0)
                o->tokens[o->n_token++] = e;
            if (e.kind == GENERATION_EMBEDDING) {
                memcpy(o->embedding, e.embedding, (size_t)n_embd * sizeof(float));
                o->embedded = true;
            }
            memcpy(o->text + o->n, e.text, e.special ? 0 : e.n);
            o->n += e.special ? 0 : e.n;
            o->end = e;
        }
    } while (o->end.kind != GENERATION_END);
    generation_close(g);
}

static void run_request(struct outcome *o, struct scheduler *s,
                        const struct generation_request *r, sem_t *events)
{
    struct generation *g;
    assert_int_equal(scheduler_submit(s, r, &g, NULL, NULL), STATUS_OK);
    collect(o, g, events);
    sem_destroy(events);
}

static const int32_t prompt[] = {5,  9,  30, 31, 32, 7,  8,  60,
                                 61, 12, 13, 40, 41, 50, 51, 6};
enum { PROMPT = sizeof prompt / sizeof *prompt };

/* Control tokens, and those without a text, would part the text: none of them. */
static struct sampler_bias only_text[512];

static void want_only_text(struct generation_request *r)
{
    int n = 0;
    for (int id = 0; id < model_hparams(engine.model)->n_vocab; id++)
        if (id < TINY_FIRST || id >= TINY_VOCAB)
            only_text[n++] = (struct sampler_bias){id, -INFINITY};
    r->sampling.bias = only_text;
    r->sampling.n_bias = n;
}

/* The text ends before a stop string, wherever tokens are cut, and says which it was. */
static void test_stop_strings(void **state)
{
    (void)state;
    static struct outcome all, cut;
    sem_t events;
    struct scheduler *s = open_scheduler("llama", 2, 4, 0);
    struct generation_request r = request_of(prompt, PROMPT, &events);
    want_only_text(&r);
    run_request(&all, s, &r, &events);
    assert_int_equal(all.n, 40);
    for (size_t at = 1; at + 5 < all.n; at += 2) {
        char stop[6] = {0};
        memcpy(stop, all.text + at, 5); // begins and ends inside of tokens
        const size_t first =
            (size_t)((char *)memmem(all.text, all.n, stop, 5) - all.text);
        r = request_of(prompt, PROMPT, &events);
        want_only_text(&r);
        r.stop[0] = "never, never";
        r.stop[1] = stop;
        r.n_stop = 2;
        run_request(&cut, s, &r, &events);
        assert_int_equal(cut.end.end, GENERATION_STOP);
        assert_int_equal(cut.end.stop, 1);
        assert_int_equal(cut.n, first);
        assert_memory_equal(cut.text, all.text, first);
    }
    close_scheduler(s);
}

/* Logprobs are those of softmax over the logits that the model gives for the same tokens.
 */
static void test_logprobs(void **state)
{
    (void)state;
    static struct outcome o;
    sem_t events;
    struct scheduler *s = open_scheduler("llama", 2, 4, 0);
    struct generation_request r = request_of(prompt, PROMPT, &events);
    r.n_logprobs = 5;
    run_request(&o, s, &r, &events);
    const int n_vocab = model_hparams(engine.model)->n_vocab;
    struct context_options alone = {.n_ctx = CTX, .n_logits = 1};
    struct context *c;
    const float *logits;
    kv_types_parse(&alone.kv, "turbo4", NULL);
    assert_int_equal(context_open(&c, engine.model, &alone, NULL), STATUS_OK);
    assert_int_equal(context_eval(c, prompt, PROMPT, 1, &logits, NULL), STATUS_OK);
    for (int i = 0; i < o.n_token; i++) {
        const struct generation_event *t = &o.tokens[i];
        double sum = 0;
        int above = 0;
        for (int k = 0; k < n_vocab; k++) {
            sum += exp((double)logits[k]);
            above += logits[k] > logits[t->top[4].id];
        }
        assert_int_equal(t->n_top, 5);
        assert_int_equal(above, 4);
        assert_float_equal(t->logprob, logits[t->id] - (float)log(sum), 1e-5);
        for (int k = 0; k < 5; k++)
            assert_float_equal(t->top[k].logprob, logits[t->top[k].id] - (float)log(sum),
                               1e-5);
        assert_int_equal(context_eval(c, &t->id, 1, 1, &logits, NULL), STATUS_OK);
    }
    context_close(c);
    close_scheduler(s);
}

/* Pooled as nothing says how: what the output head reads of the last token, of length 1.
 */
static void test_embedding(void **state)
{
    (void)state;
    static struct outcome o;
    sem_t events;
    int32_t ids[150];
    for (int i = 0; i < 150; i++)
        ids[i] = TINY_FIRST + i % 50;
    struct scheduler *s = open_scheduler("llama", 2, 4, 0);
    struct generation_request r = request_of(ids, 150, &events);
    r.embed = true;
    run_request(&o, s, &r, &events);
    assert_true(o.embedded);
    assert_int_equal(o.n_token, 0);
    const int n_embd = model_hparams(engine.model)->n_embd;
    static float hidden[150 * 512];
    struct context_options alone = {.n_ctx = CTX, .n_seq = 1};
    struct context *c;
    struct sequence *seq;
    kv_types_parse(&alone.kv, "turbo4", NULL);
    assert_int_equal(context_open(&c, engine.model, &alone, NULL), STATUS_OK);
    assert_int_equal(sequence_open(&seq, c, CTX, NULL), STATUS_OK);
    struct batch_run run = {.seq = seq, .tokens = ids, .n = 150, .hidden = hidden};
    assert_int_equal(context_eval_batch(c, &run, 1, NULL), STATUS_OK);
    const float *last = hidden + 149 * (size_t)n_embd;
    double sum = 0;
    for (int k = 0; k < n_embd; k++)
        sum += (double)last[k] * (double)last[k];
    for (int k = 0; k < n_embd; k++)
        assert_float_equal(o.embedding[k], last[k] / (float)sqrt(sum), 1e-6);
    context_close(c);
    close_scheduler(s);
}

/* One that is parked while it reads begins again, and its mean counts no token twice. */
static void test_parked_embedding(void **state)
{
    (void)state;
    static struct outcome alone, beside, answer;
    sem_t events, others;
    int32_t ids[250];
    for (int i = 0; i < 250; i++)
        ids[i] = TINY_FIRST + i * i % 50;
    struct error err;
    struct scheduler *s = NULL;
    const struct scheduler_options o = {
        .context = {.n_ctx = CTX, .n_batch = BATCH, .n_seq = 2, .n_page = 5},
        .n_queue = 4,
        .n_reserve = 1,
    };
    assert_int_equal(tiny_open_model(&engine, "llama", &err), STATUS_OK);
    ((struct hparams *)model_hparams(engine.model))->pooling = POOLING_MEAN;
    assert_int_equal(scheduler_open(&s, &engine, &o, &err), STATUS_OK);
    struct generation_request embed = request_of(ids, 250, &events);
    embed.embed = true;
    run_request(&alone, s, &embed, &events);
    beside.end.stats.n_parked = 0;
    for (int i = 0; i < 100 && !beside.end.stats.n_parked; i++) {
        struct generation *g, *e;
        /* It wants a second page while the other reads with the rest of them. */
        struct generation_request r = request_of(ids, 63, &others);
        r.ignore_end = true;
        embed = request_of(ids, 250, &events);
        embed.embed = true;
        assert_int_equal(scheduler_submit(s, &r, &g, NULL, NULL), STATUS_OK);
        assert_int_equal(scheduler_submit(s, &embed, &e, NULL, NULL), STATUS_OK);
        collect(&beside, e, &events);
        collect(&answer, g, &others);
        sem_destroy(&events);
        sem_destroy(&others);
    }
    assert_true(beside.end.stats.n_parked > 0);
    assert_true(alone.embedded && beside.embedded);
    for (int k = 0; k < model_hparams(engine.model)->n_embd; k++)
        assert_float_equal(beside.embedding[k], alone.embedding[k], 1e-6);
    close_scheduler(s);
}

/* Refused at once: too long, no such token, nothing; and a queue that is full. */
static void test_refusals(void **state)
{
    (void)state;
    static int32_t long_prompt[CTX + 1];
    struct generation *g[4];
    struct error err;
    sem_t events;
    int n_fit = 0;
    struct scheduler *s = open_scheduler("llama", 1, 2, 0);
    struct generation_request r = request_of(long_prompt, CTX + 1, &events);
    assert_int_equal(scheduler_submit(s, &r, &g[0], &n_fit, &err), STATUS_LIMIT);
    assert_int_equal(n_fit, CTX);
    r.n_prompt = 100;
    r.n_ctx = 50;
    assert_int_equal(scheduler_submit(s, &r, &g[0], &n_fit, &err), STATUS_LIMIT);
    assert_int_equal(n_fit, 50);
    r.n_prompt = 0;
    assert_int_equal(scheduler_submit(s, &r, &g[0], NULL, &err), STATUS_BAD_ARG);
    const int32_t bad = model_hparams(engine.model)->n_vocab;
    r.prompt = &bad;
    r.n_prompt = 1;
    assert_int_equal(scheduler_submit(s, &r, &g[0], NULL, &err), STATUS_BAD_ARG);
    r = request_of(prompt, PROMPT, &events);
    r.max_tokens = -1;
    r.ignore_end = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(scheduler_submit(s, &r, &g[i], NULL, &err), STATUS_OK);
    assert_int_equal(scheduler_submit(s, &r, &g[3], NULL, &err), STATUS_FULL);
    for (int i = 2; i >= 0; i--)
        generation_close(g[i]);
    struct scheduler_stats stats;
    scheduler_stats(s, &stats);
    assert_int_equal(stats.n_running + stats.n_waiting, 0);
    assert_int_equal(stats.refused_full, 1);
    assert_int_equal(stats.refused_long, 2);
    close_scheduler(s);
}

/* Who waits too long is told so; who runs is not. */
static void test_deadline(void **state)
{
    (void)state;
    static struct outcome o;
    struct generation *g[2];
    sem_t events[2];
    struct scheduler *s = open_scheduler("llama", 1, 2, 20000);
    for (int i = 0; i < 2; i++) {
        /* The first one's events are not taken: it waits for its consumer. */
        struct generation_request r = request_of(prompt, PROMPT, &events[i]);
        r.max_tokens = 300;
        r.ignore_end = true;
        r.n_logprobs = 20;
        assert_int_equal(scheduler_submit(s, &r, &g[i], NULL, NULL), STATUS_OK);
    }
    collect(&o, g[1], &events[1]);
    assert_int_equal(o.end.end, GENERATION_EXPIRED);
    assert_int_equal(o.n_token, 0);
    collect(&o, g[0], &events[0]);
    assert_int_equal(o.end.end, GENERATION_LENGTH);
    assert_int_equal(o.n_token, 300);
    close_scheduler(s);
}

/* A conversation that goes on reads what is new: at most 2 % of what it had is run again.
 */
static void test_turns_are_read_once(void **state)
{
    (void)state;
    const char *models[] = {"llama", "gemma3", "qwen3next"};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++) {
        static struct outcome o;
        sem_t events;
        int32_t ids[CTX];
        size_t n = 0;
        int again = 0, seen = 0;
        struct scheduler *s = open_scheduler(models[m], 2, 4, 0);
        for (int turn = 0; turn < 6; turn++) {
            for (int i = 0; i < 20; i++, n++)
                ids[n] = TINY_FIRST + (int)(n * 7 + (size_t)turn) % 50;
            struct generation_request r = request_of(ids, n, &events);
            r.ignore_end = true;
            run_request(&o, s, &r, &events);
            assert_int_equal(o.end.stats.n_cached, turn ? n - 21 : 0);
            again += o.end.stats.n_again;
            seen += (int)n;
            for (int i = 0; i < o.n_token; i++)
                ids[n++] = o.tokens[i].id;
        }
        assert_true(again * 50 <= seen);
        close_scheduler(s);
    }
}

/* A prompt that was read ahead is there; one that others interrupt is there in part. */
static void test_reading_ahead(void **state)
{
    (void)state;
    static struct outcome o;
    sem_t events;
    int32_t ids[CTX];
    struct scheduler_stats stats;
    struct scheduler *s = open_scheduler("qwen3next", 2, 4, 0);
    for (int i = 0; i < 250; i++)
        ids[i] = TINY_FIRST + i * i % 53;
    scheduler_read_ahead(s, ids, 200);
    do // nobody waits for it, so nobody is told
        scheduler_stats(s, &stats);
    while (stats.ahead_tokens < 200);
    assert_int_equal(stats.n_running, 0);
    struct generation_request r = request_of(ids, 250, &events);
    run_request(&o, s, &r, &events);
    assert_int_equal(o.end.stats.n_cached, 200);
    scheduler_stats(s, &stats);
    assert_int_equal(stats.prompt_tokens, 50);
    for (int i = 0; i < 20; i++) { // more than are kept, and while requests run
        ids[0] = TINY_FIRST + i;
        scheduler_read_ahead(s, ids, 250);
        r = request_of(prompt, PROMPT, &events);
        run_request(&o, s, &r, &events);
        assert_int_equal(o.end.end, GENERATION_LENGTH);
    }
    scheduler_read_ahead(s, ids, CTX + 1); // what does not fit is left alone
    close_scheduler(s);
}

/* Steps allocate nothing: three answers with penalties, top-p, typical-p and logprobs,
 * from the moment that all of them decode to the end of the first one. */
static void test_steps_do_not_allocate(void **state)
{
    (void)state;
#ifdef COUNTED
    struct generation *g[3];
    struct generation_event e;
    sem_t events;
    struct scheduler *s = open_scheduler("llama", 3, 4, 0);
    int n_token[3] = {0}, first = 0, last = 0, n_end = 0;
    sem_init(&events, 0, 0);
    for (int i = 0; i < 3; i++) {
        struct generation_request r = {.prompt = prompt,
                                       .n_prompt = PROMPT,
                                       .max_tokens = 150,
                                       .sampling = sampler_defaults,
                                       .n_logprobs = 3,
                                       .stop = {"never"},
                                       .n_stop = 1,
                                       .ignore_end = true,
                                       .wake = post,
                                       .wake_ctx = &events};
        r.sampling.seed = (uint64_t)i;
        r.sampling.typical_p = 0.9f;
        r.sampling.repeat_penalty = 1.1f;
        r.sampling.presence_penalty = 0.1f;
        assert_int_equal(scheduler_submit(s, &r, &g[i], NULL, NULL), STATUS_OK);
    }
    while (n_end < 3) {
        sem_wait(&events);
        for (int i = 0; i < 3; i++)
            while (generation_next(g[i], &e)) {
                n_token[i] += e.kind == GENERATION_TOKEN && e.id >= 0;
                n_end += e.kind == GENERATION_END;
            }
        if (!first && n_token[0] > 2 && n_token[1] > 2 && n_token[2] > 2)
            first = atomic_load(&n_alloc);
        if (n_token[0] < 140)
            last = atomic_load(&n_alloc);
    }
    assert_true(first > 0);
    assert_int_equal(last - first, 0);
    for (int i = 0; i < 3; i++)
        generation_close(g[i]);
    close_scheduler(s);
#else
    skip();
#endif
}

int main(int argc, char **argv)
{
    n_requests = argc > 1 ? atoi(argv[1]) : 60;
    n_requests = n_requests < REQUESTS_MAX ? n_requests : REQUESTS_MAX;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crowds),
        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_embedding),
        cmocka_unit_test(test_parked_embedding),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_turns_are_read_once),
        cmocka_unit_test(test_reading_ahead),
        cmocka_unit_test(test_steps_do_not_allocate),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
