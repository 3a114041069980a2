/* bench_matvec.c - products of a matrix with one token, the work of a decode step, from
 * memory: their speed against the read bandwidth of the same run.
 *
 *   bench_matvec [--cpu=ISA] [--threads=N] [--mb=M] [--type=Q4_K] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "tensor/dtype.h"
#include "tensor/kernels.h"
#include "tensor/matrix.h"
#include "tensor/probe.h"
#include "tensor/random.h"

/* Rows of part of a matrix, which is repeated: random weights take long to make. */
enum { N_IN = 4096, PART_ROWS = 2048, REPEATS = PROBE_ROUNDS_MAX };

static const enum dtype types[] = {
    DTYPE_Q8_0,   DTYPE_Q6_K,   DTYPE_Q5_K, DTYPE_Q4_K, DTYPE_MXFP4,
    DTYPE_IQ4_XS, DTYPE_IQ4_NL, DTYPE_Q3_K, DTYPE_Q2_K,
};
enum { N_TYPE = sizeof types / sizeof *types };

struct bench {
    struct pool *pool;
    const struct tensor_kernels *kernels;
    uint8_t *mem;
    size_t mem_bytes;
    struct act act;
    float *dst;
};

/* Reading the weights and multiplying with them take turns, so that both meet the same
 * machine. */
struct timing {
    size_t bytes;
    double s[REPEATS]; // of products, ascending
    struct probe read;
};

static void *need(size_t bytes)
{
    void *p = mem_pages(bytes);
    if (!p) {
        fprintf(stderr, "no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static struct matrix fill(const struct bench *b, enum dtype t)
{
    const size_t part_bytes = matrix_bytes(t, PART_ROWS, N_IN);
    const int n_part = (int)(b->mem_bytes / part_bytes);
    const int64_t n_block = (int64_t)PART_ROWS * (N_IN / dtype_find(t)->block_elems);
    struct matrix m = {.dtype = t, .n_out = PART_ROWS, .n_in = N_IN, .tiles = b->mem};
    uint8_t *rows = need(part_bytes);
    dtype_random(t, rows, n_block, 1, 0.02f);
    matrix_pack(&m, rows, b->pool);
    mem_pages_free(rows, part_bytes);
    for (int i = 1; i < n_part; i++)
        memcpy(b->mem + (size_t)i * part_bytes, b->mem, part_bytes);
    m.n_out *= n_part;
    return m;
}

static void measure(struct timing *t, struct bench *b, enum dtype type)
{
    const struct matrix m = fill(b, type);
    t->bytes = matrix_bytes(type, m.n_out, N_IN);
    for (int r = -1; r < REPEATS; r++) { // once before they count
        const uint64_t start = clock_us();
        matmul(b->dst, (size_t)m.n_out, &m, &b->act, b->kernels, b->pool);
        const double s = (double)(clock_us() - start) * 1e-6;
        if (r < 0)
            continue;
        int i = r;
        for (; i > 0 && t->s[i - 1] > s; i--)
            t->s[i] = t->s[i - 1];
        t->s[i] = s;
        probe_read_memory(&t->read, b->pool, m.tiles, t->bytes);
    }
}

/* `limit`: the best rate of reading in the whole run. */
static void print_timing(enum dtype type, const struct timing *t, double limit)
{
    const struct dtype_traits *traits = dtype_find(type);
    const double bytes = (double)t->bytes, best = bytes / t->s[0];
    const double median = bytes / t->s[REPEATS / 2], reading = probe_median(&t->read);
    printf("%-7s %6.4g %8.2f (%.2f, %.2f) %8.1f (%.1f) %8.1f (%.1f) %8.0f %% (%.0f %%)\n",
           traits->name, 8.0 * traits->block_bytes / traits->block_elems, t->s[0] * 1e3,
           t->s[REPEATS / 2] * 1e3, t->s[REPEATS - 1] * 1e3, best * 1e-9, median * 1e-9,
           probe_best(&t->read) * 1e-9, reading * 1e-9, 100 * best / limit,
           100 * median / reading);
}

static void open_act(struct bench *b)
{
    float *x = need(N_IN * sizeof *x);
    for (int i = 0; i < N_IN; i++)
        x[i] = (float)(2 * rng_uniform(1, (uint64_t)i) - 1);
    act_init(&b->act, need(act_bytes(1, N_IN)), 1, N_IN);
    act_load(&b->act, b->kernels, b->pool, x, 1, N_IN);
}

static int run(enum cpu_isa limit, int n_thread, size_t mb, const char *only)
{
    static struct timing timing[N_TYPE];
    struct error err;
    struct bench b = {.kernels = tensor_kernels_for(limit), .mem_bytes = mb << 20};
    if (pool_open(&b.pool, n_thread, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    b.mem = need(b.mem_bytes);
    /* No type has less than two bits. */
    b.dst = need(b.mem_bytes / (N_IN / 4) * sizeof *b.dst);
    open_act(&b);
    for (int i = 0; i < N_TYPE; i++)
        if (!only || !strcmp(only, dtype_find(types[i])->name))
            measure(&timing[i], &b, types[i]);
    double reading = 0;
    for (int i = 0; i < N_TYPE; i++)
        if (probe_best(&timing[i].read) > reading)
            reading = probe_best(&timing[i].read);
    printf(
        "%s: one token, %d threads, rows of %d, at most %zu MiB of weights: best of %d "
        "(median, worst)\n%-7s %6s %24s %15s %15s %20s\n",
        cpu_isa_name(cpu_best(limit)), n_thread, N_IN, mb, REPEATS, "type", "bits", "ms",
        "GB/s", "reading GB/s", "of reading");
    for (int i = 0; i < N_TYPE; i++)
        if (timing[i].bytes)
            print_timing(types[i], &timing[i], reading);
    pool_close(b.pool);
    return 0;
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = CPU_ISA_COUNT - 1;
    const char *only = NULL;
    int n_thread = pool_cores();
    long mb = 256;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--threads=", 10))
            n_thread = atoi(argv[i] + 10);
        else if (!strncmp(argv[i], "--mb=", 5))
            mb = atol(argv[i] + 5);
        else if (!strncmp(argv[i], "--type=", 7))
            only = argv[i] + 7;
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6))
            n_thread = 0;
    }
    if (n_thread < 1 || mb < 16 || mb > 1 << 20) {
        fprintf(stderr, "usage: %s [--cpu=%s] [--threads=N] [--mb=M] [--type=Q4_K]\n",
                argv[0], cpu_isa_names());
        return 2;
    }
    return run(limit, n_thread, (size_t)mb, only);
}
