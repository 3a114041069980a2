/* timing.h - the time of a call, measured again and again: the least is the figure, the
 * others say how far the machine strays from it.  Included once, by the program. */
#ifndef BENCH_TIMING_H
#define BENCH_TIMING_H

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

enum { REPEATS = 25, TRIES_MAX = 4000 };

typedef void work_fn(void *ctx);

/* Least, median and largest ns of a call, over `per`, and the least of its cycles.
 * alone: in all of these runs the core was. */
struct timing {
    double least, median, most, cycles;
    bool alone;
};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* GHz, by additions that wait for each other: the best of a few short times, as others
 * may take the core from this program. */
static double core_clock(void)
{
    enum { TRIES = 10, ROUNDS = 500, ADDITIONS = 10 };
    unsigned long sum = 1, addend = 3;
    double best = 0;
    __asm__ volatile("" : "+r"(addend)); // a constant can be added at no cost
#define ADD_TO(sum) \
    sum += addend;  \
    __asm__ volatile("" : "+r"(sum));
#define ADD ADD_TO(sum)
    for (int t = 0; t < TRIES; t++) {
        const double start = seconds();
        for (int i = 0; i < ROUNDS; i++) {
            ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
        }
        const double took = (seconds() - start) * 1e9;
        best = took > 0 && ROUNDS * ADDITIONS / took > best ? ROUNDS * ADDITIONS / took
                                                            : best;
    }
    return best;
}

/* Whether nobody uses the other hardware thread of this core, which takes half of its
 * width: four chains of additions then take as long as one.  Where a core has fewer than
 * four adders it never seems alone. */
static bool core_is_alone(void)
{
    enum { ROUNDS = 200 };
    unsigned long sum = 1, a = 1, b = 1, c = 1, addend = 3;
    __asm__ volatile("" : "+r"(addend));
    const double start = seconds();
    for (int i = 0; i < ROUNDS; i++) {
        ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
    }
    const double middle = seconds();
#define ADD_FOUR ADD ADD_TO(a) ADD_TO(b) ADD_TO(c)
    for (int i = 0; i < ROUNDS; i++) {
        ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR ADD_FOUR
            ADD_FOUR
    }
    return seconds() - middle < 1.2 * (middle - start);
}
#undef ADD_FOUR
#undef ADD
#undef ADD_TO

/* Put t[n] where it belongs in the ascending t[0 .. n - 1]. */
static void insert_sorted(double *t, int n)
{
    for (int i = n; i && t[i] < t[i - 1]; i--) {
        const double swap = t[i];
        t[i] = t[i - 1], t[i - 1] = swap;
    }
}

/* Runs of at least least_s. */
static struct timing measure(work_fn *work, void *ctx, double per, double least_s)
{
    double t[REPEATS], cycles[REPEATS], took = 0;
    int inner = 1;
    work(ctx); // page faults
    for (; took < least_s; inner = took < least_s ? 2 * inner : inner) {
        const double start = seconds();
        for (int i = 0; i < inner; i++)
            work(ctx);
        took = seconds() - start;
    }
    for (int r = 0; r < REPEATS; r++) {
        const double start = seconds();
        for (int i = 0; i < inner; i++)
            work(ctx);
        t[r] = (seconds() - start) * 1e9 / inner / per;
        cycles[r] = t[r] * core_clock();
        insert_sorted(t, r);
        insert_sorted(cycles, r);
    }
    return (struct timing){t[0], t[REPEATS / 2], t[REPEATS - 1], cycles[0], false};
}

/* A core's own speed: runs of few calls, of microseconds each, and of these the first
 * REPEATS during which the core was alone.  Where it is too seldom, measure(). */
static inline struct timing measure_alone(work_fn *work, void *ctx, double per)
{
    enum { CALLS = 4 };
    double t[REPEATS], cycles[REPEATS];
    int n = 0;
    for (int tries = 0; tries < TRIES_MAX && n < REPEATS; tries++) {
        work(ctx); // caches and predictions
        if (!core_is_alone())
            continue;
        const double start = seconds();
        for (int i = 0; i < CALLS; i++)
            work(ctx);
        t[n] = (seconds() - start) * 1e9 / CALLS / per;
        if (!core_is_alone())
            continue;
        cycles[n] = t[n] * core_clock();
        insert_sorted(t, n);
        insert_sorted(cycles, n++);
    }
    if (n < REPEATS)
        return measure(work, ctx, per, 1e-3);
    return (struct timing){t[0], t[REPEATS / 2], t[REPEATS - 1], cycles[0], true};
}

static inline void print_timing(struct timing t)
{
    printf(" %7.2f (%.2f, %.2f)", t.least, t.median, t.most);
}

#endif
