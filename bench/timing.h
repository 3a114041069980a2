/* timing.h - the time of a call, measured again and again: the least is the figure, the
 * others say how far the machine strays from it.  Included once, by the program. */
#ifndef BENCH_TIMING_H
#define BENCH_TIMING_H

#include <stdio.h>

#include "base/clock.h"

enum { REPEATS = 25 };

typedef void work_fn(void *ctx);

/* Least, median and largest ns of a call, over `per`, and the least of its cycles. */
struct timing {
    double least, median, most, cycles;
};

static double seconds(void)
{
    return (double)clock_us() * 1e-6;
}

/* GHz, by additions that wait for each other: the best of a few short times, as others
 * may take the core from this program. */
static double core_clock(void)
{
    enum { TRIES = 10, ROUNDS = 2000, ADDITIONS = 10 };
    unsigned long sum = 1, addend = 3;
    double best = 0;
    __asm__ volatile("" : "+r"(addend)); // a constant can be added at no cost
#define ADD        \
    sum += addend; \
    __asm__ volatile("" : "+r"(sum));
    for (int t = 0; t < TRIES; t++) {
        const double start = seconds();
        for (int i = 0; i < ROUNDS; i++) {
            ADD ADD ADD ADD ADD ADD ADD ADD ADD ADD
        }
        const double took = (seconds() - start) * 1e9;
        best = took > 0 && ROUNDS * ADDITIONS / took > best ? ROUNDS * ADDITIONS / took
                                                            : best;
    }
#undef ADD
    return best;
}

/* Put t[n] where it belongs in the ascending t[0 .. n - 1]. */
static void insert_sorted(double *t, int n)
{
    for (int i = n; i && t[i] < t[i - 1]; i--) {
        const double swap = t[i];
        t[i] = t[i - 1], t[i - 1] = swap;
    }
}

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
    return (struct timing){t[0], t[REPEATS / 2], t[REPEATS - 1], cycles[0]};
}

static inline void print_timing(struct timing t)
{
    printf(" %7.2f (%.2f, %.2f)", t.least, t.median, t.most);
}

#endif
