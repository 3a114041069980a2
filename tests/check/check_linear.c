/* check_linear.c - the kernels of linear.h of every instruction set against double
 * arithmetic, with inputs and outputs that end at an unmapped page; --bench times them,
 * --quick does a quarter of the rounds (for emulators). */
#define _DEFAULT_SOURCE
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "cpu/cpu.h"
#include "tensor/kernels.h"
#include "tensor/probe.h"
#include "../../bench/timing.h"
#include "harness.h"

static const struct tensor_kernels *new;

static const double eps = (double)FLT_EPSILON;

static float *guarded_random(size_t n, float by)
{
    float *x = guarded(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = uniform() * by;
    return x;
}

static float *guarded_copy(const float *from, size_t n)
{
    float *x = guarded(n * sizeof *x);
    memcpy(x, from, n * sizeof *x);
    return x;
}

/* ---- the delta rule ---- */

struct delta {
    float *state, *out, *q, *k, *v, *decay, beta;
    int n_decay, d_k, d_v;
};

static struct delta random_delta(int d_k, int d_v, int n_decay)
{
    const size_t n_k = (size_t)d_k, n_v = (size_t)d_v;
    struct delta d = {
        .state = guarded_random(n_k * n_v, 1),
        .out = guarded_random(n_v, 1),
        .q = guarded_random(n_k, 1),
        .k = guarded_random(n_k, 1),
        .v = guarded_random(n_v, 1),
        .decay = guarded((size_t)n_decay * sizeof(float)),
        .beta = fabsf(uniform()),
        .n_decay = n_decay,
        .d_k = d_k,
        .d_v = d_v,
    };
    for (int i = 0; i < n_decay; i++)
        d.decay[i] = fabsf(uniform());
    return d;
}

static void run_rows(const struct delta *d, float *state, float *out, int from, int to)
{
    new->delta_step(state + (size_t)from * (size_t)d->d_k, out + from, d->q, d->k,
                    d->v + from, d->decay, d->n_decay, d->beta, d->d_k, to - from);
}

/* Sums of n terms are off by n eps of their terms; delta's error enters each element
 * times k, and the output times k and q. */
static void compare_delta(const struct delta *d, const float *before, const float *row,
                          int r)
{
    const int n = d->d_k;
    double dot = 0, size = 0, out = 0, out_bound = 0;
    for (int c = 0; c < n; c++) {
        const double s = (double)before[c] * (double)d->decay[d->n_decay == 1 ? 0 : c];
        dot += s * (double)d->k[c];
        size += fabs(s * (double)d->k[c]);
    }
    const double v = (double)d->v[r], beta = (double)d->beta, delta = beta * (v - dot);
    const double error = beta * ((n + 2) * eps * size + 2 * eps * (fabs(v) + size));
    for (int c = 0; c < n; c++) {
        const double k = (double)d->k[c], q = (double)d->q[c];
        const double s = (double)before[c] * (double)d->decay[d->n_decay == 1 ? 0 : c];
        const double bound = error * fabs(k) + 2 * eps * (fabs(s) + fabs(delta * k));
        if (!(fabs((double)row[c] - (s + delta * k)) <= bound))
            complain("delta_step", "state out of bound", n);
        out += (s + delta * k) * q;
        out_bound += fabs(q) * (bound + (n + 3) * eps * (fabs(s) + fabs(delta * k)));
    }
    if (!(fabs((double)d->out[r] - out) <= out_bound))
        complain("delta_step", "output out of bound", n);
}

/* What is not finite in one row, or in k, is in the rows that it belongs to, and in no
 * other. */
static void check_delta_bad(const struct delta *d, const float *before, size_t n)
{
    const float bad = rnd() % 2 ? NAN : rnd() % 2 ? INFINITY : -INFINITY;
    const int r = (int)(rnd() % (uint64_t)d->d_v), c = (int)(rnd() % (uint64_t)d->d_k);
    float *state = guarded_copy(before, n), *out = guarded_copy(d->v, (size_t)d->d_v);
    state[(size_t)r * (size_t)d->d_k + (size_t)c] = bad;
    run_rows(d, state, out, 0, d->d_v);
    for (int i = 0; i < d->d_v; i++)
        if (i == r ? isfinite(out[i]) : out[i] != d->out[i])
            complain("delta_step", "a bad row", d->d_k);
    memcpy(state, before, n * sizeof *state);
    d->k[c] = NAN;
    run_rows(d, state, out, 0, d->d_v);
    for (int i = 0; i < d->d_v; i++)
        if (!isnan(out[i]) || !isnan(state[(size_t)i * (size_t)d->d_k]))
            complain("delta_step", "NaN in a key is lost", d->d_k);
}

static void check_delta_step(void)
{
    static const int widths[] = {128, 64, 16, 8, 32, 256};
    const int d_k = rnd() % 3 ? 1 + (int)(rnd() % 70) : widths[rnd() % 6];
    const int d_v = 1 + (int)(rnd() % 21), n_decay = rnd() % 2 ? d_k : 1;
    const size_t n = (size_t)d_k * (size_t)d_v;
    const struct delta d = random_delta(d_k, d_v, n_decay);
    const float *before = guarded_copy(d.state, n);
    float *state = guarded_copy(d.state, n), *out = guarded((size_t)d_v * sizeof *out);
    run_rows(&d, d.state, d.out, 0, d_v);
    for (int r = 0; r < d_v; r++)
        compare_delta(&d, before + r * d_k, d.state + r * d_k, r);
    const int cut = (int)(rnd() % (uint64_t)d_v); // in two parts
    if (cut)
        run_rows(&d, state, out, 0, cut);
    run_rows(&d, state, out, cut, d_v);
    if (memcmp(state, d.state, n * sizeof *state) ||
        memcmp(out, d.out, (size_t)d_v * sizeof *out))
        complain("delta_step", "parts differ from the whole", d_k);
    check_delta_bad(&d, before, n);
    release_all();
}

/* ---- convolution ---- */

static void check_conv_silu(void)
{
    const size_t n_tap = 1 + rnd() % 8, n = 1 + rnd() % 70, stride = n + rnd() % 3;
    float *window = guarded_random((n_tap - 1) * stride + n, 4);
    float *weight = guarded_random(n_tap * n, rnd() % 4 ? 1 : 30);
    float *dst = guarded(n * sizeof *dst), *close = guarded(n_tap * n * sizeof *dst);
    new->conv_silu(dst, window, stride, weight, (int)n_tap, (int)n);
    for (size_t c = 0; c < n; c++) {
        double sum = 0, size = 0;
        for (size_t t = 0; t < n_tap; t++) {
            sum += (double)weight[t * n + c] * (double)window[t * stride + c];
            size += fabs((double)weight[t * n + c] * (double)window[t * stride + c]);
        }
        /* silu changes at most 1.1 times as fast as its argument. */
        const double want = sum / (1 + exp(-sum));
        const double bound =
            1.1 * (double)n_tap * eps * size + 1e-6 * fabs(want) + fabs(sum) * 0x1p-125;
        if (!(fabs((double)dst[c] - want) <= bound))
            complain("conv_silu", "out of bound", (int)n);
    }
    /* Elsewhere in memory, and into the newest row. */
    for (size_t t = 0; t < n_tap; t++)
        memcpy(close + t * n, window + t * stride, n * sizeof *dst);
    float *newest = close + (n_tap - 1) * n;
    new->conv_silu(newest, close, n, weight, (int)n_tap, (int)n);
    if (memcmp(newest, dst, n * sizeof *dst))
        complain("conv_silu", "depends on the stride, or in place differs", (int)n);
    const size_t bad = rnd() % n;
    window[rnd() % n_tap * stride + bad] = rnd() % 2 ? NAN : INFINITY;
    new->conv_silu(newest, window, stride, weight, (int)n_tap, (int)n);
    for (size_t c = 0; c < n; c++)
        if (c == bad ? isfinite(newest[c]) : newest[c] != dst[c])
            complain("conv_silu", "not finite", (int)n);
    release_all();
}

/* ---- norm and gates ---- */

static void check_l2_norm(void)
{
    const size_t n = 1 + rnd() % 140;
    const float small = rnd() % 2 ? 1e-3f : 100, scale = rnd() % 2 ? 1 : 0.08838835f;
    float *x = guarded_random(n, small), *dst = guarded(n * sizeof *dst);
    double sum = 0;
    new->l2_norm(dst, x, (int)n, 1e-6f, scale);
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n; i++) { // two roundings of 2^-24
        const double want = (double)x[i] * (double)scale / sqrt(sum + (double)1e-6f);
        if (!(fabs((double)dst[i] - want) <= eps * fabs(want)))
            complain("l2_norm", "out of bound", (int)n);
    }
    new->l2_norm(x, x, (int)n, 1e-6f, scale);
    if (memcmp(x, dst, n * sizeof *x))
        complain("l2_norm", "in place differs", (int)n);
    x[rnd() % n] = NAN;
    new->l2_norm(dst, x, (int)n, 1e-6f, scale);
    for (size_t i = 0; i < n; i++)
        if (!isnan(dst[i]))
            complain("l2_norm", "NaN is lost", (int)n);
    release_all();
}

typedef void pairs_fn(float *dst, const float *a, const float *b, size_t n);

/* dst in place of either, and of what is not finite only NaN, or the other operand, may
 * come. */
static void check_pairs(const char *name, pairs_fn *fn, const float *want, float *a,
                        float *b, size_t n)
{
    float *x = guarded_copy(a, n), *y = guarded_copy(b, n);
    fn(x, x, b, n);
    fn(y, a, y, n);
    if (memcmp(x, want, n * sizeof *x) || memcmp(y, want, n * sizeof *x))
        complain(name, "in place differs", (int)n);
    const size_t bad = rnd() % n;
    for (int i = 0; i < 2; i++) {
        memcpy(x, a, n * sizeof *x);
        memcpy(y, b, n * sizeof *y);
        (i ? y : x)[bad] = NAN;
        fn(x, x, y, n);
        for (size_t j = 0; j < n; j++)
            if (j == bad ? !isnan(x[j]) : x[j] != want[j])
                complain(name, "NaN is lost, or spreads", (int)n);
    }
}

static void check_sigmoid_mul(void)
{
    const size_t n = 1 + rnd() % 100;
    float *x = guarded_random(n, 10), *g = guarded_random(n, rnd() % 2 ? 4 : 200);
    float *dst = guarded(n * sizeof *dst);
    g[rnd() % n] = 0;
    new->sigmoid_mul(dst, x, g, n);
    for (size_t i = 0; i < n; i++) {
        const double want = (double)x[i] / (1 + exp(-(double)g[i]));
        const double below = g[i] < -87 ? fabs((double)x[i]) * 0x1p-125 : 0;
        if (!(fabs((double)dst[i] - want) <= 1e-6 * fabs(want) + below))
            complain("sigmoid_mul", "out of bound", (int)n);
    }
    check_pairs("sigmoid_mul", new->sigmoid_mul, dst, x, g, n);
    release_all();
}

static void check_gelu_mul(void)
{
    static const float ranges[] = {1e-3f, 3, 10, 12, 200, 1e20f};
    const size_t n = 1 + rnd() % 100;
    float *g = guarded_random(n, ranges[rnd() % 6]), *u = guarded_random(n, 10);
    float *dst = guarded(n * sizeof *dst);
    g[rnd() % n] = 0;
    new->gelu_mul(dst, g, u, n);
    for (size_t i = 0; i < n; i++) {
        const long double x = (long double)g[i];
        const long double v = sqrtl(2 / acosl(-1)) * (x + 0.044715L * x * x * x);
        /* From -3 on the sum of the definition is exact enough. */
        const long double gelu = x > -3 ? x / 2 * (1 + tanhl(v)) : x / (1 + expl(-2 * v));
        const double want = (double)(gelu * (long double)u[i]);
        const double below =
            fabsl(gelu) > 1e-30L ? 0 : fabs((double)g[i] * (double)u[i]) * 0x1p-125;
        if (!(fabs((double)dst[i] - want) <= 1e-6 * fabs(want) + below))
            complain("gelu_mul", "out of bound", (int)n);
    }
    check_pairs("gelu_mul", new->gelu_mul, dst, g, u, n);
    release_all();
}

/* Does not compile if a kernel is added to kernels.def without a check. */
static const struct {
    const char *name;
    void (*run)(void);
} check[] = {
#define K(name, ret, args) // check_tensor.c
#define LINEAR(name, ret, args) {#name, check_##name},
#include "tensor/kernels.def"
#undef K
};

/* ---- benchmark ---- */

enum { D = 128, STATES = 4, STATE = D * D, CHANNELS = 8192, TAPS = 4 };

struct work {
    struct pool *pool;
    float *state; // [STATES][D][D], 256 KB: second-level cache
    float *x;     // [TAPS][CHANNELS] and more
    float *out;
    int n_decay;
};

static void run_delta(void *ctx)
{
    const struct work *w = ctx;
    for (size_t i = 0; i < STATES; i++)
        new->delta_step(w->state + i * STATE, w->out, w->x, w->x + D, w->x + 2 * D,
                        w->x + 3 * D, w->n_decay, 0.5f, D, D);
}

static void run_conv(void *ctx)
{
    const struct work *w = ctx;
    new->conv_silu(w->out, w->x, CHANNELS, w->x + TAPS * CHANNELS, TAPS, CHANNELS);
}

static void run_l2(void *ctx)
{
    const struct work *w = ctx;
    new->l2_norm(w->out, w->x, D, 1e-6f, 1);
}

static void run_sigmoid(void *ctx)
{
    const struct work *w = ctx;
    new->sigmoid_mul(w->out, w->x, w->x + CHANNELS, CHANNELS);
}

static void run_gelu(void *ctx)
{
    const struct work *w = ctx;
    new->gelu_mul(w->out, w->x, w->x + CHANNELS, CHANNELS);
}

/* A call for one head does 3 D^2 multiply-accumulates, and D^2 products with the decay;
 * both take the same units. */
static void bench_delta(struct work *w, enum cpu_isa limit)
{
    const double bytes = 2.0 * STATE * sizeof(float);
    for (int i = 0; i < 2; i++) {
        struct probe update = {0}, f32 = {0};
        w->n_decay = i ? D : 1;
        probe_f32(&f32, w->pool, limit);
        probe_update(&update, w->pool, STATES * STATE * sizeof(float), limit, NULL);
        const struct timing t = measure(run_delta, w, STATES, 1e-3);
        probe_update(&update, w->pool, STATES * STATE * sizeof(float), limit, NULL);
        probe_f32(&f32, w->pool, limit);
        const double s = t.least * 1e-9, cache = bytes / probe_best(&update);
        const double units = 4.0 * STATE / probe_best(&f32);
        printf("%-7s delta_step %dx%d decay %-3d %6.0f ns (median %.0f, most %.0f)  "
               "%5.1f GB/s  %5.1f GMAC/s\n        rewriting 256 KB: %.1f GB/s (median "
               "%.1f), %.0f ns, %.0f %%; products: %.1f G/s (median %.1f), %.0f ns, %.0f "
               "%%\n",
               isa_now, D, D, w->n_decay, t.least, t.median, t.most, bytes / s * 1e-9,
               3.0 * STATE / s * 1e-9, probe_best(&update) * 1e-9,
               probe_median(&update) * 1e-9, cache * 1e9, 100 * cache / s,
               probe_best(&f32) * 1e-9, probe_median(&f32) * 1e-9, units * 1e9,
               100 * units / s);
    }
}

static void bench_row(const char *name, work_fn *fn, struct work *w, int n)
{
    const struct timing t = measure(fn, w, 1, 1e-3);
    printf("%-7s %-11s n=%-5d %8.0f ns (median %.0f, most %.0f)  %.2f ns a value\n",
           isa_now, name, n, t.least, t.median, t.most, t.least / n);
}

static int bench(enum cpu_isa limit)
{
    const size_t state_bytes = 2 << 20; // a huge page, as in the probe
    struct work w = {.state = mem_pages(state_bytes),
                     .x = guarded_random(2 * TAPS * CHANNELS, 0.1f),
                     .out = guarded_random(CHANNELS, 1)};
    if (!w.state || pool_open(&w.pool, 1, NULL))
        return 1;
    bench_delta(&w, limit);
    bench_row("conv_silu", run_conv, &w, CHANNELS);
    bench_row("l2_norm", run_l2, &w, D);
    bench_row("sigmoid_mul", run_sigmoid, &w, CHANNELS);
    bench_row("gelu_mul", run_gelu, &w, CHANNELS);
    pool_close(w.pool);
    mem_pages_free(w.state, state_bytes);
    release_all();
    return 0;
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = cpu_detect();
    int timing = 0, rounds = 200;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench"))
            timing = 1;
        else if (!strcmp(argv[i], "--quick"))
            rounds = 50;
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6)) {
            fprintf(stderr, "usage: %s [--bench] [--quick] [--cpu=%s]\n", argv[0],
                    cpu_isa_names());
            return 2;
        }
    }
    if (timing) {
        new = tensor_kernels_for(limit);
        isa_now = cpu_isa_name(cpu_best(limit));
        return bench(cpu_best(limit));
    }
    for (int isa = 0; isa <= (int)limit && isa <= (int)cpu_detect(); isa++) {
        new = tensor_kernels_for((enum cpu_isa)isa);
        if (isa && new == tensor_kernels_for((enum cpu_isa)(isa - 1)))
            continue;
        isa_now = cpu_isa_name((enum cpu_isa)isa);
        for (size_t i = 0; i < sizeof check / sizeof *check; i++)
            for (int round = 0; round < rounds; round++)
                check[i].run();
    }
    printf("check_linear: %s\n", failures ? "FAILED" : "ok");
    return failures != 0;
}
