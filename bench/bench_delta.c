/* bench_delta.c - what the delta rule costs a model: one token through the states of all
 * layers, which come from memory, and a prefill of one layer, against what the machine
 * rewrites and multiplies in the same run.  The shape is that of Qwen3-Next: 36 layers of
 * 32 value heads and 16 key heads of 128.  Then its share of a layer of Qwen3.5-4B, whose
 * delta nets are the same: matrices in Q4_K, from memory.
 *
 *   bench_delta [--cpu=ISA] [--threads=N] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "tensor/kernels.h"
#include "tensor/linear.h"
#include "tensor/matrix.h"
#include "tensor/probe.h"
#include "tensor/random.h"
#include "timing.h"

enum { D = 128, N_LAYER = 36, N_HEAD = 32, N_HEAD_K = 16, N_TOKEN = 512 };
enum { STATE = D * D, LAYER = N_HEAD * STATE };

struct work {
    const struct tensor_kernels *kernels;
    struct pool *pool;
    float *state;      // [N_LAYER][N_HEAD][D][D]
    float *q, *k;      // [N_TOKEN][N_HEAD_K][D]
    float *v;          // [N_TOKEN][N_HEAD][D]
    float *decay;      // [N_TOKEN][N_HEAD][D], the first of each head where there is one
    float *out;        // as v
    float *layer;      // the state of the layer in work
    int n_decay, rows; // rows of a state in an item
};

static void *need(size_t n_float)
{
    void *p = mem_pages(n_float * sizeof(float));
    if (!p) {
        fprintf(stderr, "no memory for %zu floats\n", n_float);
        exit(1);
    }
    return p;
}

/* One token of rows r .. r + rows - 1 of a head. */
static void step(const struct work *w, int token, int head, int r)
{
    const size_t at = ((size_t)token * N_HEAD + (size_t)head) * D;
    const size_t at_k = ((size_t)token * N_HEAD_K + (size_t)(head % N_HEAD_K)) * D;
    op_delta_step(w->kernels, w->layer + head * STATE + r * D, w->out + at + r,
                  w->q + at_k, w->k + at_k, w->v + at + r, w->decay + at, w->n_decay,
                  0.5f, D, w->rows);
}

static void decode_item(void *ctx, int item, int thread)
{
    const struct work *w = ctx;
    const int parts = D / w->rows;
    (void)thread;
    step(w, 0, item / parts, item % parts * w->rows);
}

static void run_decode(void *ctx)
{
    struct work *w = ctx;
    for (size_t layer = 0; layer < N_LAYER; layer++) {
        w->layer = w->state + layer * LAYER;
        pool_run(w->pool, N_HEAD * D / w->rows, decode_item, w);
    }
}

static void prefill_item(void *ctx, int item, int thread)
{
    const struct work *w = ctx;
    const int parts = D / w->rows;
    (void)thread;
    for (int token = 0; token < N_TOKEN; token++)
        step(w, token, item / parts, item % parts * w->rows);
}

static void run_prefill(void *ctx)
{
    struct work *w = ctx;
    w->layer = w->state;
    pool_run(w->pool, N_HEAD * D / w->rows, prefill_item, w);
}

static void probe_rewriting(struct probe *p, struct pool *pool, size_t bytes,
                            enum cpu_isa limit)
{
    struct error err;
    for (int i = 0; i < 2; i++)
        if (probe_update(p, pool, bytes, limit, &err)) {
            fprintf(stderr, "%s\n", err.text);
            exit(1);
        }
}

static void bench_decode(struct work *w, enum cpu_isa limit)
{
    const size_t bytes = (size_t)N_LAYER * LAYER * sizeof(float);
    const size_t part = bytes / (size_t)pool_threads(w->pool) / PROBE_UPDATE_BLOCK;
    printf("\ndecode: %d threads, %d layers of %d heads, %.1f MB of states read and "
           "written for a token\n%-6s %26s %8s %30s %9s\n",
           pool_threads(w->pool), N_LAYER, N_HEAD, (double)bytes * 1e-6, "decay",
           "ms a token", "GB/s", "rewriting as much", "of it");
    for (int i = 0; i < 2; i++) {
        struct probe update = {0};
        w->n_decay = i ? D : 1;
        w->rows = D;
        probe_rewriting(&update, w->pool, part * PROBE_UPDATE_BLOCK, limit);
        const struct timing t = measure(run_decode, w, 1e6, 5e-3);
        probe_rewriting(&update, w->pool, part * PROBE_UPDATE_BLOCK, limit);
        const double rate = 2.0 * (double)bytes / t.least * 1e-6; // t is in ms
        printf("%-6d ", w->n_decay);
        print_timing(t);
        printf(" %8.1f  %5.1f GB/s (median %5.1f) %7.0f %%\n", rate,
               probe_best(&update) * 1e-9, probe_median(&update) * 1e-9,
               100 * rate / probe_best(&update) * 1e9);
    }
}

/* Products: 3 multiply-accumulates and the decay for each element of the state; int8 is
 * what the matrices of a layer are bound by. */
static void bench_prefill(struct work *w, enum cpu_isa limit)
{
    static const int rows[] = {128, 64, 32, 16};
    const double products = 4.0 * N_TOKEN * LAYER;
    printf("\nprefill: %d threads, %d tokens of a layer of %d heads, a few rows of a "
           "state through all tokens\n%-6s %5s %26s %8s %36s %9s\n",
           pool_threads(w->pool), N_TOKEN, N_HEAD, "decay", "rows", "ms", "GMAC/s",
           "f32 products (median), int8", "of f32");
    for (int i = 0; i < 2; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++) {
            struct probe f32 = {0}, int8 = {0};
            w->n_decay = i ? D : 1;
            w->rows = rows[j];
            probe_f32(&f32, w->pool, limit);
            probe_int8(&int8, w->pool, limit);
            probe_f32(&f32, w->pool, limit);
            const struct timing t = measure(run_prefill, w, 1e6, 5e-3);
            probe_f32(&f32, w->pool, limit);
            printf("%-6d %5d ", w->n_decay, w->rows);
            print_timing(t);
            printf(" %8.1f  %6.1f G/s (median %6.1f), %6.1f %7.0f %%\n",
                   0.75 * products / t.least * 1e-6, probe_best(&f32) * 1e-9,
                   probe_median(&f32) * 1e-9, probe_best(&int8) * 1e-9,
                   100 * products / t.least * 1e3 / probe_best(&f32));
        }
}

/* ---- a layer of Qwen3.5-4B ---- */

enum { N_EMBD = 2560, N_FF = 9216, N_MATRIX = 6 };

struct layer {
    struct work *w;
    struct matrix m[N_MATRIX];
    struct act in[N_MATRIX];
    float *x, *dst; // [N_TOKEN][N_FF]
    int n_tok;
};

/* Queries, keys and values; gate; output; gate, up and down of the feed-forward part. */
static void open_layer(struct layer *l, struct work *w)
{
    static const int shape[N_MATRIX][2] = {{2 * N_HEAD_K * D + N_HEAD * D, N_EMBD},
                                           {N_HEAD * D, N_EMBD},
                                           {N_EMBD, N_HEAD * D},
                                           {N_FF, N_EMBD},
                                           {N_FF, N_EMBD},
                                           {N_EMBD, N_FF}};
    *l = (struct layer){
        .w = w, .x = need((size_t)N_TOKEN * N_FF), .dst = need((size_t)N_TOKEN * N_FF)};
    for (size_t i = 0; i < (size_t)N_TOKEN * N_FF; i++)
        l->x[i] = (float)rng_uniform(5, i) - 0.5f;
    for (int i = 0; i < N_MATRIX; i++) {
        struct matrix *m = &l->m[i];
        *m = (struct matrix){
            .dtype = DTYPE_Q4_K, .n_out = shape[i][0], .n_in = shape[i][1]};
        const size_t bytes = matrix_bytes(m->dtype, m->n_out, m->n_in);
        uint8_t *rows = (uint8_t *)need(bytes / sizeof(float));
        m->tiles = (uint8_t *)need(bytes / sizeof(float));
        dtype_random(m->dtype, rows, (int64_t)m->n_out * m->n_in / 256, 1, 0.02f);
        matrix_pack(m, rows, w->pool);
        mem_pages_free(rows, bytes);
        act_init(&l->in[i], need(act_bytes(N_TOKEN, m->n_in) / sizeof(float) + 1),
                 N_TOKEN, m->n_in);
    }
}

static void run_matrices(void *ctx)
{
    struct layer *l = ctx;
    for (int i = 0; i < N_MATRIX; i++) {
        const struct matrix *m = &l->m[i];
        act_load(&l->in[i], l->w->kernels, l->w->pool, l->x, l->n_tok, m->n_in);
        matmul(l->dst, (size_t)m->n_out, m, &l->in[i], l->w->kernels, l->w->pool);
    }
}

static void bench_share(struct work *w)
{
    struct layer l;
    open_layer(&l, w);
    printf("\nshare of a layer of Qwen3.5-4B, %d threads: least (median, largest) ms\n",
           pool_threads(w->pool));
    w->n_decay = 1;
    for (int i = 0; i < 2; i++) {
        l.n_tok = i ? N_TOKEN : 1;
        w->rows = i ? 32 : D;
        const struct timing matrices = measure(run_matrices, &l, 1e6, 5e-3);
        struct timing delta = measure(i ? run_prefill : run_decode, w, 1e6, 5e-3);
        if (!i) { // of all layers
            delta.least /= N_LAYER;
            delta.median /= N_LAYER;
            delta.most /= N_LAYER;
        }
        printf("%-8s matrices ", i ? "prefill" : "decode");
        print_timing(matrices);
        printf(", delta rule ");
        print_timing(delta);
        printf(", share %.0f %%\n", 100 * delta.least / (delta.least + matrices.least));
    }
}

static void fill(struct work *w)
{
    const size_t n = (size_t)N_TOKEN * N_HEAD * D, n_k = (size_t)N_TOKEN * N_HEAD_K * D;
    for (size_t i = 0; i < n; i++) {
        w->v[i] = (float)rng_uniform(1, i) - 0.5f;
        w->decay[i] = 1 - 0.1f * (float)rng_uniform(2, i);
    }
    for (size_t i = 0; i < n_k; i++) {
        w->q[i] = (float)rng_uniform(3, i) - 0.5f;
        w->k[i] = (float)rng_uniform(4, i) - 0.5f;
    }
    for (size_t i = 0; i < n_k; i += D) {
        op_l2_norm(w->kernels, w->q + i, w->q + i, D, 1e-6f, 1 / sqrtf(D));
        op_l2_norm(w->kernels, w->k + i, w->k + i, D, 1e-6f, 1);
    }
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = CPU_ISA_COUNT - 1;
    struct error err;
    int n_thread = pool_cores();
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--threads=", 10))
            n_thread = atoi(argv[i] + 10);
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6))
            n_thread = 0;
    }
    if (n_thread < 1) {
        fprintf(stderr, "usage: %s [--cpu=%s] [--threads=N]\n", argv[0], cpu_isa_names());
        return 2;
    }
    limit = cpu_best(limit);
    struct work w = {
        .kernels = tensor_kernels_for(limit),
        .state = need((size_t)N_LAYER * LAYER),
        .q = need((size_t)N_TOKEN * N_HEAD_K * D),
        .k = need((size_t)N_TOKEN * N_HEAD_K * D),
        .v = need((size_t)N_TOKEN * N_HEAD * D),
        .decay = need((size_t)N_TOKEN * N_HEAD * D),
        .out = need((size_t)N_TOKEN * N_HEAD * D),
    };
    if (pool_open(&w.pool, n_thread, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    fill(&w);
    printf("%s, delta rule: least (median, largest) of %d runs\n", cpu_isa_name(limit),
           REPEATS);
    bench_decode(&w, limit);
    bench_prefill(&w, limit);
    bench_share(&w);
    pool_close(w.pool);
    return 0;
}
