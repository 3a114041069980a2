/* timing.h - the time of a call, measured again and again: the least is the figure, the
 * others say how far the machine strays from it.  Included once, by the program. */
#ifndef BENCH_TIMING_H
#define BENCH_TIMING_H

#include <stdio.h>

#include "base/clock.h"

enum { REPEATS = 25 };

typedef void work_fn(void *ctx);

/* Least, median and largest ns of a call, over `per`. */
struct timing {
    double least, median, most;
};

static double seconds(void)
{
    return (double)clock_us() * 1e-6;
}

static struct timing measure(work_fn *work, void *ctx, double per, double least_s)
{
    double t[REPEATS], took = 0;
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
        for (int i = r; i && t[i] < t[i - 1]; i--) {
            const double swap = t[i];
            t[i] = t[i - 1], t[i - 1] = swap;
        }
    }
    return (struct timing){t[0], t[REPEATS / 2], t[REPEATS - 1]};
}

static inline void print_timing(struct timing t)
{
    printf(" %7.2f (%.2f, %.2f)", t.least, t.median, t.most);
}

#endif
