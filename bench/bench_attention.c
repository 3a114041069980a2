/* bench_attention.c - what a cache type costs: scores, sums and whole attention from the
 * second-level cache, encoding, and decode from memory against the bandwidth of the same
 * run.  d = 128.
 *
 *   bench_attention [--cpu=ISA] [--threads=N] [--mb=M] */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/pool.h"
#include "codec/formats.h"
#include "codec/kernels.h"
#include "codec/layout.h"
#include "cpu/cpu.h"
#include "tensor/probe.h"
#include "timing.h"

enum { D = 128, TOKENS = TQ_PAGE_TOKENS, GROUP_MAX = 8, L2_PAGES = 16 };
enum { N_HEAD_KV = 8, GROUP = 2, N_TOKEN = 32768, N_PAGE = N_TOKEN / TOKENS };

static const enum tq_type types[] = {TQ_F16, TQ_TURBO8, TQ_TURBO4, TQ_TURBO3, TQ_TURBO2};
enum { N_TYPE = sizeof types / sizeof *types };

static enum tq_isa isa = TQ_ISA_BEST;

/* ---- data ---- */

static float gaussian(void)
{
    static uint64_t rng = 0x9e3779b97f4a7c15u;
    float sum = 0;
    for (int i = 0; i < 12; i++) {
        rng ^= rng << 13;
        rng ^= rng >> 7;
        rng ^= rng << 17;
        sum += (float)(int32_t)(rng >> 32) * 0x1p-31f;
    }
    return sum * 0.5f;
}

/* One kv head: pages of one type in a row, queries, scratch. */
struct head {
    struct tq_codec k, v, xk, xv;
    uint8_t *pages; // [L2_PAGES]: keys, then values
    size_t page_bytes;
    uint16_t *exact;
    struct tq_query q;
    struct tq_partial p;
    uint8_t hi[GROUP_MAX];
    void *scratch;
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

static void head_open(struct head *h, enum tq_type t)
{
    tq_codec_init(&h->k, t, TQ_KEY, D, isa);
    tq_codec_init(&h->v, t, TQ_VALUE, D, isa);
    tq_codec_init(&h->xk, TQ_F16, TQ_KEY, D, isa);
    tq_codec_init(&h->xv, TQ_F16, TQ_VALUE, D, isa);
    h->page_bytes = 2 * tq_page_bytes(t, D);
    h->pages = need(L2_PAGES * h->page_bytes);
    h->exact = need(tq_page_bytes(TQ_F16, D));
    h->scratch = need(tq_encode_scratch_bytes(D) + tq_attend_scratch_bytes(D, GROUP_MAX));
    for (int p = 0; p < L2_PAGES; p++) {
        uint8_t *k = h->pages + (size_t)p * h->page_bytes, *v = k + h->page_bytes / 2;
        float row[D];
        for (int j = 0; j < TOKENS; j++) {
            for (int i = 0; i < D; i++)
                row[i] = gaussian();
            tq_put(&h->xk, tq_type_compressed(t) ? (void *)h->exact : k, j, row);
            if (!tq_type_compressed(t))
                tq_put(&h->xv, v, j, row);
        }
        if (tq_type_compressed(t)) {
            tq_encode(&h->k, k, h->exact, h->scratch);
            tq_encode(&h->v, v, h->exact, h->scratch);
        }
    }
    float x[GROUP_MAX * D];
    for (int i = 0; i < GROUP_MAX * D; i++)
        x[i] = gaussian();
    tq_query_init(&h->q, need(tq_query_bytes(D, GROUP_MAX)), D, GROUP_MAX);
    tq_query_load(&h->k, &h->q, x, D, GROUP_MAX, 1.0f / sqrtf((float)D));
    float *mem = need(sizeof(float) * GROUP_MAX * (D + 32));
    h->p = (struct tq_partial){mem, mem + 16, mem + 32};
    tq_partial_reset(&h->p, GROUP_MAX, D);
    memset(h->hi, TOKENS, sizeof h->hi);
}

static void run_scores(void *ctx)
{
    struct head *h = ctx;
    float s[GROUP_MAX * TOKENS];
    for (size_t p = 0; p < L2_PAGES; p++)
        tq_score(&h->k, s, &h->q, h->pages + p * h->page_bytes, h->scratch);
}

static void run_attend(void *ctx)
{
    struct head *h = ctx;
    for (size_t p = 0; p < L2_PAGES; p++) {
        const uint8_t *k = h->pages + p * h->page_bytes;
        tq_attend(&h->k, &h->v, &h->p, &h->q, k, k + h->page_bytes / 2, 0, h->hi,
                  h->scratch);
    }
}

/* Sums of values: as tq_attend does them, with weights that are given. */
static void run_sums(void *ctx)
{
    struct head *h = ctx;
    const struct tq_kernels *kernels = h->v.kernels;
    static _Alignas(64) uint8_t w[2 * GROUP_MAX * TOKENS];
    static _Alignas(64) int8_t level[TOKENS * D];
    static float unit[GROUP_MAX], keep[GROUP_MAX];
    const int bits = tq_tile_bits(h->v.type);
    for (size_t p = 0; p < L2_PAGES; p++) {
        const uint8_t *codes =
            h->pages + p * h->page_bytes + h->page_bytes / 2 + TQ_SCALES_BYTES;
        const int limbs = bits == 8 ? 2 : 1;
        if (h->q.n <= 4 && kernels->sum_packed) {
            kernels->sum_packed(h->p.o, codes, bits, w, unit, keep, D, h->q.n, 0, 4,
                                (struct tq_places){{codes, codes}});
        } else {
            if (bits < 8)
                kernels->expand_v(level, codes, bits, D, 0, 4);
            kernels->sum_codes(h->p.o, bits < 8 ? level : (const int8_t *)codes, w, unit,
                               keep, limbs, D, h->q.n, 0, 4);
        }
    }
}

static void run_encode(void *ctx)
{
    struct head *h = ctx;
    tq_encode(&h->k, h->pages, h->exact, h->scratch);
}

static void print_with_cycles(struct timing t)
{
    print_timing(t);
    printf(" %6.1f%c", t.cycles, t.alone ? ' ' : '*');
}

static void bench_l2(void)
{
    static const int groups[] = {1, 2, 3, 4, 8};
    printf(
        "in L2, one thread, for a group of queries: least (median, largest) of %d runs, "
        "and cycles of a core (* not alone: its other thread was in use)\n%-7s %5s %30s "
        "%30s %30s\n",
        REPEATS, "type", "group", "scores, ns for 128", "values, ns for 128",
        "attention, ns a key");
    for (int i = 0; i < N_TYPE; i++) {
        static struct head h;
        head_open(&h, types[i]);
        for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
            h.q.n = groups[g];
            printf("%-7s %5d  ", tq_type_name(types[i]), groups[g]);
            print_with_cycles(measure_alone(run_scores, &h, L2_PAGES * TOKENS));
            if (tq_type_compressed(types[i]))
                print_with_cycles(measure_alone(run_sums, &h, L2_PAGES * TOKENS));
            else
                printf("%30s", "");
            print_with_cycles(measure_alone(run_attend, &h, L2_PAGES * TOKENS));
            printf("\n");
        }
    }
    printf("\nencoding, one thread: ns for 128 values, and cycles\n");
    for (int i = 1; i < N_TYPE; i++) {
        static struct head h;
        head_open(&h, types[i]);
        printf("%-7s", tq_type_name(types[i]));
        print_with_cycles(measure_alone(run_encode, &h, TOKENS));
        printf("\n");
    }
}

/* ---- from memory ---- */

struct memory {
    struct pool *pool;
    struct head *head; // [threads], of the type at hand
    uint8_t *cache;    // [n_layer][N_PAGE][N_HEAD_KV] pages of keys and values
    int n_layer;
    void **scratch; // [threads]
};

static void decode_item(void *ctx, int item, int thread)
{
    struct memory *m = ctx;
    const struct head *h = &m->head[thread];
    const size_t stride = N_HEAD_KV * h->page_bytes;
    const size_t layer = (size_t)(item / N_HEAD_KV), head = (size_t)(item % N_HEAD_KV);
    const struct tq_cache cache = {
        .k = &h->k,
        .v = &h->v,
        .base = m->cache + layer * N_PAGE * stride,
        .stride = stride,
        .k_offset = head * h->page_bytes,
        .v_offset = head * h->page_bytes + h->page_bytes / 2,
    };
    float out[GROUP * D];
    tq_attention_decode(&cache, out, D, NULL, &h->q, N_TOKEN, m->scratch[thread]);
}

static void run_decode(void *ctx)
{
    struct memory *m = ctx;
    pool_run(m->pool, m->n_layer * N_HEAD_KV, decode_item, m);
}

/* Runs, each beside a reading of as much memory, as others use it too: ascending ms a
 * layer, and how much longer reading the keys and values of a layer in f16 takes. */
struct memory_runs {
    double ms[REPEATS], gain[REPEATS];
};

static void run_beside_reading(struct memory_runs *r, struct memory *m, size_t bytes,
                               double f16_layer)
{
    run_decode(m); // page faults
    for (int i = 0; i < REPEATS; i++) {
        struct probe read = {0};
        probe_read_memory(&read, m->pool, m->cache, bytes);
        const double start = seconds();
        run_decode(m);
        const double layer_s = (seconds() - start) / m->n_layer;
        r->ms[i] = layer_s * 1e3;
        r->gain[i] = f16_layer / probe_best(&read) / layer_s;
        insert_sorted(r->ms, i);
        insert_sorted(r->gain, i);
    }
}

static void bench_memory(int n_thread, size_t mb)
{
    struct error err;
    struct memory m = {0};
    if (pool_open(&m.pool, n_thread, &err)) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    const double f16_layer = 2.0 * N_HEAD_KV * N_TOKEN * 2 * D;
    const size_t cap = (mb << 20) + 2 * (size_t)f16_layer;
    m.cache = need(cap);
    memset(m.cache, 1, cap);
    m.head = mem_array((size_t)n_thread, sizeof *m.head);
    m.scratch = mem_array((size_t)n_thread, sizeof *m.scratch);
    for (int t = 0; t < n_thread; t++)
        m.scratch[t] = need(tq_attention_scratch_bytes(D, GROUP, N_TOKEN));
    struct probe probe = {0};
    for (int i = 0; i < PROBE_ROUNDS_MAX; i++)
        probe_read_memory(&probe, m.pool, m.cache, mb << 20);
    const double read = 1e9 / probe_best(&probe); // ns a byte
    printf("\ndecode from memory: %d threads, d = %d, %d kv heads, group %d, %d tokens, "
           "at least %zu MiB\nreading: %.1f GB/s (median %.1f); f16 keys and values of a "
           "layer (%.0f MB) take %.2f ms to read\n",
           n_thread, D, N_HEAD_KV, GROUP, N_TOKEN, mb, 1 / read,
           probe_median(&probe) * 1e-9, f16_layer * 1e-6, f16_layer * read * 1e-6);
    printf("%-7s %6s %10s %26s %32s %9s %9s\n", "type", "layers", "MB a layer",
           "ms a layer", "of reading f16, median (best)", "GB/s", "roofline");
    for (int i = 0; i < N_TYPE; i++) {
        for (int t = 0; t < n_thread; t++) {
            head_open(&m.head[t], types[i]);
            m.head[t].q.n = GROUP;
        }
        const struct head *h = &m.head[0];
        const size_t layer = N_PAGE * N_HEAD_KV * h->page_bytes;
        m.n_layer = (int)(((mb << 20) + layer - 1) / layer);
        for (size_t at = 0; at < (size_t)m.n_layer * layer; at += h->page_bytes)
            memcpy(m.cache + at,
                   h->pages + at / h->page_bytes * 7 % L2_PAGES * h->page_bytes,
                   h->page_bytes);
        struct memory_runs r;
        run_beside_reading(&r, &m, mb << 20, f16_layer);
        const double mb_layer = (double)layer * 1e-6, gb_s = mb_layer / r.ms[0];
        printf("%-7s %6d %10.1f   %7.2f (%.2f, %.2f)  1/%.2f (1/%.2f; of sizes 1/%.2f) "
               "%8.1f %7.0f %%\n",
               tq_type_name(types[i]), m.n_layer, mb_layer, r.ms[0], r.ms[REPEATS / 2],
               r.ms[REPEATS - 1], r.gain[REPEATS / 2], r.gain[REPEATS - 1],
               f16_layer / (double)layer, gb_s, 100 * gb_s * read);
    }
    pool_close(m.pool);
}

int main(int argc, char **argv)
{
    enum cpu_isa limit = CPU_ISA_COUNT - 1;
    int n_thread = pool_cores();
    long mb = 512;
    for (int i = 1; i < argc; i++) {
        if (!strncmp(argv[i], "--threads=", 10))
            n_thread = atoi(argv[i] + 10);
        else if (!strncmp(argv[i], "--mb=", 5))
            mb = atol(argv[i] + 5);
        else if (strncmp(argv[i], "--cpu=", 6) || !cpu_isa_parse(&limit, argv[i] + 6))
            n_thread = 0;
    }
    if (n_thread < 1 || mb < 1) {
        fprintf(stderr, "usage: %s [--cpu=%s] [--threads=N] [--mb=M]\n", argv[0],
                cpu_isa_names());
        return 2;
    }
    limit = cpu_best(limit);
    isa = (enum tq_isa)limit;
    printf("%s\n", cpu_isa_name(limit));
    bench_l2();
    bench_memory(n_thread, (size_t)mb);
    return 0;
}
