#include "tensor/probe.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

/* The most recent rounds replace the oldest. */
static void add_rate(struct probe *p, double work, uint64_t us)
{
    if (p->n == PROBE_ROUNDS_MAX)
        memmove(p->rate, p->rate + 1, (size_t)--p->n * sizeof *p->rate);
    p->rate[p->n++] = work / ((double)(us ? us : 1) * 1e-6);
}

static int order_rates(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double probe_best(const struct probe *p)
{
    double best = 0;
    for (int i = 0; i < p->n; i++)
        best = p->rate[i] > best ? p->rate[i] : best;
    return best;
}

double probe_median(const struct probe *p)
{
    double sorted[PROBE_ROUNDS_MAX];
    if (p->n == 0)
        return 0;
    memcpy(sorted, p->rate, (size_t)p->n * sizeof *sorted);
    qsort(sorted, (size_t)p->n, sizeof *sorted, order_rates);
    return (sorted[(p->n - 1) / 2] + sorted[p->n / 2]) / 2;
}

/* What is computed must be used, or the compiler leaves it out. */
static uint64_t keep(uint64_t x)
{
    __asm__ volatile("" : "+r"(x));
    return x;
}

/* ---- memory ---- */

enum { READ_ITEM_BYTES = 8 << 20, READ_ITEMS = PROBE_READ_BYTES / READ_ITEM_BYTES };

static void touch_item(void *ctx, int item, int thread)
{
    (void)thread;
    memset((uint8_t *)ctx + (size_t)item * READ_ITEM_BYTES, item + 1, READ_ITEM_BYTES);
}

struct read_job {
    const uint8_t *mem;
    size_t bytes;
};

/* A part of an item in vectors of 16 bytes, eight in flight: more than memory delivers.
 */
typedef uint64_t read_vec __attribute__((vector_size(16)));

static size_t item_vectors(const struct read_job *job, int item, const read_vec **p)
{
    const size_t from = (size_t)item * READ_ITEM_BYTES, rest = job->bytes - from;
    *p = (const read_vec *)(const void *)(job->mem + from);
    return (rest < READ_ITEM_BYTES ? rest : READ_ITEM_BYTES) / sizeof **p;
}

static void read_item(void *ctx, int item, int thread)
{
    const read_vec *p;
    const size_t n = item_vectors(ctx, item, &p);
    read_vec a = {0}, b = a, c = a, d = a;
    (void)thread;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        a += p[i] ^ p[i + 4];
        b += p[i + 1] ^ p[i + 5];
        c += p[i + 2] ^ p[i + 6];
        d += p[i + 3] ^ p[i + 7];
    }
    a += b + c + d;
    keep(a[0] + a[1]);
}

/* The same from four places in turn: some processors read ahead within few pages of each
 * stream, so that one stream does not use all that memory has. */
static void read_item_in_turn(void *ctx, int item, int thread)
{
    enum { LINE = 4 };
    const read_vec *p;
    const size_t n = item_vectors(ctx, item, &p) / 4;
    read_vec a = {0}, b = a, c = a, d = a;
    (void)thread;
    for (size_t i = 0; i + LINE <= n; i += LINE) {
        a += p[i] ^ p[i + 1] ^ p[i + 2] ^ p[i + 3];
        b += p[n + i] ^ p[n + i + 1] ^ p[n + i + 2] ^ p[n + i + 3];
        c += p[2 * n + i] ^ p[2 * n + i + 1] ^ p[2 * n + i + 2] ^ p[2 * n + i + 3];
        d += p[3 * n + i] ^ p[3 * n + i + 1] ^ p[3 * n + i + 2] ^ p[3 * n + i + 3];
    }
    a += b + c + d;
    keep(a[0] + a[1]);
}

static uint64_t time_read(struct read_job *job, struct pool *pool, pool_fn *fn)
{
    const uint64_t start = clock_us();
    pool_run(pool, (int)((job->bytes + READ_ITEM_BYTES - 1) / READ_ITEM_BYTES), fn, job);
    return clock_us() - start;
}

void probe_read_memory(struct probe *p, struct pool *pool, const void *mem, size_t bytes)
{
    struct read_job job = {mem, bytes};
    const uint64_t one = time_read(&job, pool, read_item);
    const uint64_t four = time_read(&job, pool, read_item_in_turn);
    add_rate(p, (double)bytes, one < four ? one : four);
}

enum status probe_read(struct probe *p, struct pool *pool, struct error *err)
{
    const size_t available = mem_available();
    uint8_t *mem = !available || available > 2 * (size_t)PROBE_READ_BYTES
                       ? mem_pages(PROBE_READ_BYTES)
                       : NULL;
    if (!mem)
        return fail(err, STATUS_NO_MEMORY, "no %d MiB to measure memory with",
                    PROBE_READ_BYTES >> 20);
    pool_run(pool, READ_ITEMS, touch_item, mem);
    for (int i = 0; i < PROBE_ROUNDS; i++)
        probe_read_memory(p, pool, mem, PROBE_READ_BYTES);
    mem_pages_free(mem, PROBE_READ_BYTES);
    return STATUS_OK;
}

/* ---- integers ---- */

struct int8_job {
    probe_fn *fn;
    uint8_t w[PROBE_WEIGHTS];
    int8_t a[PROBE_TOKENS * PROBE_PERIOD];
    int n; // rounds of the kernel an item
};

static void int8_item(void *ctx, int item, int thread)
{
    struct int8_job *j = ctx;
    (void)item, (void)thread;
    keep(j->fn(j->w, j->a, j->n));
}

static uint64_t time_int8(struct int8_job *j, struct pool *pool, int n_item)
{
    const uint64_t start = clock_us();
    pool_run(pool, n_item, int8_item, j);
    return clock_us() - start;
}

static void probe_products(struct probe *p, struct pool *pool, probe_fn *fn)
{
    /* Long against starting a run, short against what else the machine may do. */
    enum { ITEM_US = 1000, ITEMS_PER_THREAD = 8, N_MAX = 1 << 24 };
    struct int8_job j = {.fn = fn, .n = 64};
    for (int i = 0; i < PROBE_WEIGHTS; i++)
        j.w[i] = rng_at(1, (uint64_t)i) & 15;
    for (int i = 0; i < PROBE_TOKENS * PROBE_PERIOD; i++)
        j.a[i] = (int8_t)(rng_at(2, (uint64_t)i) & 255);
    while (j.n < N_MAX && time_int8(&j, pool, 1) < ITEM_US)
        j.n *= 2;
    const int n_item = ITEMS_PER_THREAD * pool_threads(pool);
    const double work = (double)n_item * j.n * PROBE_WEIGHTS * PROBE_TOKENS;
    for (int i = 0; i < PROBE_ROUNDS; i++)
        add_rate(p, work, time_int8(&j, pool, n_item));
}

void probe_int8(struct probe *p, struct pool *pool, enum cpu_isa limit)
{
    probe_products(p, pool, probe_kernel(limit));
}

void probe_tiles(struct probe *p, struct pool *pool, enum cpu_isa limit)
{
    probe_fn *fn = probe_tile_kernel(limit);
    if (fn)
        probe_products(p, pool, fn);
}

/* ---- floats ---- */

struct update_job {
    probe_update_fn *fn;
    float *mem;
    size_t bytes; // of a thread
    int n;        // sweeps an item
};

static void update_item(void *ctx, int item, int thread)
{
    const struct update_job *j = ctx;
    char *from = (char *)j->mem + (size_t)item * j->bytes;
    (void)thread;
    for (int i = 0; i < j->n; i++)
        for (size_t at = 0; at < j->bytes; at += PROBE_UPDATE_BLOCK)
            j->fn((float *)(void *)(from + at), PROBE_UPDATE_BLOCK / sizeof(float));
}

enum status probe_update(struct probe *p, struct pool *pool, size_t bytes,
                         enum cpu_isa limit, struct error *err)
{
    /* What each thread sweeps in a round at least; and a huge page, since scattered small
     * ones share lines of the second-level cache. */
    enum { SWEPT = 64 << 20, HUGE_BYTES = 2 << 20 };
    const int n_thread = pool_threads(pool);
    const size_t all = (size_t)n_thread * bytes;
    const size_t reserved = all > HUGE_BYTES ? all : HUGE_BYTES;
    struct update_job j = {
        .fn = probe_float_kernels(limit).update,
        .mem = mem_pages(reserved),
        .bytes = bytes,
        .n = bytes < SWEPT ? (int)(SWEPT / bytes) : 1,
    };
    if (!j.mem)
        return fail(err, STATUS_NO_MEMORY, "no %zu MiB to measure memory with",
                    all >> 20);
    pool_run(pool, n_thread, update_item, &j);
    for (int i = 0; i < PROBE_ROUNDS; i++) {
        const uint64_t start = clock_us();
        pool_run(pool, n_thread, update_item, &j);
        add_rate(p, 2.0 * j.n * (double)all, clock_us() - start);
    }
    mem_pages_free(j.mem, reserved);
    return STATUS_OK;
}

struct f32_job {
    probe_f32_fn *fn;
    int n;
};

static void f32_item(void *ctx, int item, int thread)
{
    const struct f32_job *j = ctx;
    (void)thread;
    const float sum = j->fn((float)item, 0.5f, 1.0f, j->n);
    keep((uint64_t)sum);
}

void probe_f32(struct probe *p, struct pool *pool, enum cpu_isa limit)
{
    enum { ITEMS_PER_THREAD = 8 };
    struct f32_job j = {probe_float_kernels(limit).f32, 1 << 16};
    const int n_item = ITEMS_PER_THREAD * pool_threads(pool);
    const double work = (double)n_item * j.n * PROBE_F32_WORK;
    for (int i = 0; i < PROBE_ROUNDS; i++) {
        const uint64_t start = clock_us();
        pool_run(pool, n_item, f32_item, &j);
        add_rate(p, work, clock_us() - start);
    }
}
