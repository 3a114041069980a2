/* bench_scheduler.c - many requests on a real model: tokens a second of 1, 2, 4 and 8
 * streams, and the time to the first token of a short prompt, alone and beside a long
 * one.
 *
 *   bench_scheduler MODEL [--kv=turbo4] [--rounds=10] */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/scheduler.h"

enum { STREAMS = 8, TOKENS = 64, SHORT = 100, LONG = 4000, ROUNDS_MAX = 200 };

static struct engine engine;
static struct scheduler *scheduler;
static uint64_t unique; // no two prompts share a start

struct stream {
    struct generation *g;
    sem_t events;
    uint64_t start_us, first_us;
    struct generation_stats stats;
};

static void post(void *ctx)
{
    sem_post(ctx);
}

static int die(const struct error *err)
{
    fprintf(stderr, "bench_scheduler: %s\n", err->text);
    return 1;
}

static void submit(struct stream *s, int n_prompt, int n_token)
{
    static int32_t prompt[LONG];
    const int n_vocab = model_hparams(engine.model)->n_vocab;
    struct error err;
    unique++;
    for (int i = 0; i < n_prompt; i++)
        prompt[i] =
            (int32_t)(1000 + (unique * 7919 + (uint64_t)i * 31) % 10000) % n_vocab;
    *s = (struct stream){.start_us = clock_us()};
    sem_init(&s->events, 0, 0);
    const struct generation_request r = {.prompt = prompt,
                                         .n_prompt = (size_t)n_prompt,
                                         .max_tokens = n_token,
                                         .sampling = sampler_defaults,
                                         .n_logprobs = -1,
                                         .ignore_end = true,
                                         .wake = post,
                                         .wake_ctx = &s->events};
    if (scheduler_submit(scheduler, &r, &s->g, NULL, &err))
        exit(die(&err));
}

/* Take what there is; true at the end. */
static bool drain(struct stream *s)
{
    struct generation_event e;
    while (generation_next(s->g, &e)) {
        if (e.kind == GENERATION_TOKEN && !s->first_us)
            s->first_us = clock_us();
        if (e.kind == GENERATION_END) {
            s->stats = e.stats;
            generation_close(s->g);
            sem_destroy(&s->events);
            return true;
        }
    }
    return false;
}

static void finish(struct stream *s)
{
    do
        sem_wait(&s->events);
    while (!drain(s));
}

/* Tokens a second of n streams together: they begin and end nearly at the same time. */
static double throughput(int n)
{
    static struct stream s[STREAMS];
    double rate = 0;
    for (int i = 0; i < n; i++)
        submit(&s[i], 32, TOKENS);
    for (int i = 0; i < n; i++) {
        finish(&s[i]);
        rate += (s[i].stats.n_decoded - 1) * 1e6 / (double)s[i].stats.decode_us;
    }
    return rate;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double first_token_ms(void)
{
    struct stream s;
    submit(&s, SHORT, 1);
    finish(&s);
    return (double)(s.first_us - s.start_us) / 1e3;
}

/* Short prompts that come at different moments of a long one's reading. */
static void latency(double *alone, double *beside, int n)
{
    struct stream reader;
    for (int i = 0; i < n; i++)
        alone[i] = first_token_ms();
    submit(&reader, LONG, 1);
    for (int i = 0; i < n; i++) {
        struct scheduler_slot slot;
        if (scheduler_slots(scheduler, &slot, 1) && !slot.busy) { // it is read: the next
            finish(&reader);
            submit(&reader, LONG, 1);
        }
        beside[i] = first_token_ms();
    }
    finish(&reader);
    qsort(alone, (size_t)n, sizeof *alone, by_value);
    qsort(beside, (size_t)n, sizeof *beside, by_value);
}

static void print_streams(int rounds)
{
    printf("decode, %d tokens a stream behind 32: tokens/s of all streams, best of %d "
           "(median, worst)\n",
           TOKENS, rounds);
    double one = 0;
    for (int n = 1; n <= STREAMS; n *= 2) {
        double rate[ROUNDS_MAX];
        for (int i = 0; i < rounds; i++)
            rate[i] = throughput(n);
        qsort(rate, (size_t)rounds, sizeof *rate, by_value);
        one = n == 1 ? rate[rounds - 1] : one;
        printf("%d streams  %7.1f (%.1f, %.1f)   %.2f of one\n", n, rate[rounds - 1],
               rate[rounds / 2], rate[0], rate[rounds - 1] / one);
    }
}

static void print_latency(int rounds)
{
    double alone[ROUNDS_MAX], beside[ROUNDS_MAX];
    const int n = rounds * 4 < ROUNDS_MAX ? rounds * 4 : ROUNDS_MAX, p95 = n * 95 / 100;
    latency(alone, beside, n);
    printf("time to the first token of %d tokens, ms, %d times\n", SHORT, n);
    printf("idle                       median %6.1f   95 %% %6.1f   most %6.1f\n",
           alone[n / 2], alone[p95], alone[n - 1]);
    printf("while %d tokens are read  median %6.1f   95 %% %6.1f   most %6.1f   "
           "95 %% of idle's %.2f, of its median %.2f\n",
           LONG, beside[n / 2], beside[p95], beside[n - 1], beside[p95] / alone[p95],
           beside[p95] / alone[n / 2]);
}

int main(int argc, char **argv)
{
    const char *kv = "turbo4", *path = NULL;
    int rounds = 10;
    struct error err;
    for (int i = 1; i < argc; i++)
        if (!strncmp(argv[i], "--kv=", 5))
            kv = argv[i] + 5;
        else if (!strncmp(argv[i], "--rounds=", 9))
            rounds = atoi(argv[i] + 9);
        else
            path = argv[i];
    if (!path || rounds < 1 || rounds > ROUNDS_MAX) {
        puts("bench_scheduler: give a MODEL (script/model) to measure it");
        return 0;
    }
    struct scheduler_options o = {
        .context = {.n_ctx = 8192, .n_seq = STREAMS, .n_page = 256}, .n_queue = STREAMS};
    if (engine_open(&engine, path, ENGINE_TEXT, 0, CPU_ISA_COUNT - 1, &err) ||
        kv_types_parse(&o.context.kv, kv, &err) ||
        scheduler_open(&scheduler, &engine, &o, &err))
        return die(&err);
    print_streams(rounds);
    print_latency(rounds);
    scheduler_close(scheduler);
    engine_close(&engine);
    return 0;
}
