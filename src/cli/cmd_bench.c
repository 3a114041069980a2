/* cmd_bench.c - prefill and decode speed at given depths.
 *
 * A depth is really there: its tokens are prefilled once for each KV type, and every
 * measurement returns to it.  The best of the repeated runs is the figure to compare;
 * median and spread say how far to trust it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "cli/calibrate.h"
#include "cli/cli.h"
#include "cli/environment.h"
#include "cli/measure.h"
#include "cli/svg.h"
#include "cli/synthetic.h"
#include "cli/models.h"

enum { REPEAT_MAX = 100 };

static struct {
    const char *depth, *kv, *sequences, *synthetic, *write, *plot;
    int prefill, decode, repeat, threads;
    enum cpu_isa isa;
    bool json;
} bench_args;

static const struct cli_option bench_options[] = {
    {"--depth", CLI_STRING, &bench_args.depth, 0, 0, "LIST  tokens before, default 0"},
    {"--kv", CLI_STRING, &bench_args.kv, 0, 0,
     "LIST  of KV types, keys[/values]; default f16,turbo4"},
    {"--prefill", CLI_INT, &bench_args.prefill, 0, 1 << 20, "N  tokens, default 512"},
    {"--decode", CLI_INT, &bench_args.decode, 0, 1 << 20, "N  tokens, default 64"},
    {"--sequences", CLI_STRING, &bench_args.sequences, 0, 0,
     "LIST  also decode in so many sequences at a time, as 1,2,4,8"},
    {"--repeat", CLI_INT, &bench_args.repeat, 0, REPEAT_MAX, "N  runs, default 3"},
    {"--threads", CLI_INT, &bench_args.threads, 1, 256, "N  default: physical cores"},
    {"--cpu", CLI_CPU, &bench_args.isa, 0, 0,
     "LEVEL  at most c, avx2, avxvnni, avx512, avx512vnni, amx"},
    {"--synthetic", CLI_STRING, &bench_args.synthetic, 0, 0,
     "SHAPE:TYPE  random weights instead of MODEL, as llama-3.2-1b:Q4_K_M"},
    {"--write", CLI_STRING, &bench_args.write, 0, 0, "FILE  keep the synthetic model"},
    {"--plot", CLI_STRING, &bench_args.plot, 0, 0,
     "FILE.svg  draw speed against depth for each KV type"},
    {"--json", CLI_FLAG, &bench_args.json, 0, 0, "one JSON object"},
    {NULL, CLI_FLAG, NULL, 0, 0, NULL},
};
static const struct cli_command bench_command = {
    "bench",       "MODEL", "prefill and decode speed, by depth and KV type",
    bench_options, 0,       1,
};

static int order_ints(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int order_seconds(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static enum status parse_depths(struct bench *b, struct error *err)
{
    for (const char *at = bench_args.depth;; at++) {
        char *end;
        const long v = strtol(at, &end, 10);
        if (end == at || v < 0 || v > 1 << 24 || (*end && *end != ','))
            return fail(err, STATUS_BAD_ARG,
                        "--depth takes numbers from 0 to %d with commas between, not "
                        "'%.40s'",
                        1 << 24, bench_args.depth);
        if (b->n_depth == BENCH_DEPTHS_MAX)
            return fail(err, STATUS_BAD_ARG, "more than %d depths", BENCH_DEPTHS_MAX);
        b->depths[b->n_depth++] = (int)v;
        at = end;
        if (!*at)
            break;
    }
    qsort(b->depths, (size_t)b->n_depth, sizeof *b->depths, order_ints);
    return STATUS_OK;
}

static struct bench_timing summarise_times(double *t, int n)
{
    qsort(t, (size_t)n, sizeof *t, order_seconds);
    return (struct bench_timing){t[0], (t[(n - 1) / 2] + t[n / 2]) / 2, t[n - 1]};
}

/* Time n tokens behind the depth, in one call or one by one. */
static enum status time_tokens(const struct bench *b, struct context *c, int n,
                               bool one_by_one, double *seconds, struct error *err)
{
    const int32_t *ids = b->ids + context_pos(c);
    const int step = one_by_one ? 1 : n;
    const float *logits;
    enum status s = STATUS_OK;
    const uint64_t start = clock_us();
    for (int i = 0; !s && i < n; i += step)
        s = context_eval(c, ids + i, step, 1, &logits, err);
    *seconds = (double)(clock_us() - start) * 1e-6;
    return s;
}

static enum status go_back(struct context *c, int depth, struct error *err)
{
    const int pos = context_rewind(c, depth);
    if (pos != depth)
        return fail(err, STATUS_LIMIT, "the cache came back to %d instead of %d", pos,
                    depth);
    return STATUS_OK;
}

static void show_bench(const char *kv, int depth, const char *what, int run)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%-14s depth %d, %s %d    ", kv, depth, what, run);
}

/* All runs at the depth where the context stands. */
static enum status bench_depth(const struct bench *b, struct context *c,
                               struct bench_row *row, struct error *err)
{
    char kv[KV_NAME_BYTES];
    double prefill[REPEAT_MAX], decode[REPEAT_MAX];
    enum status s;
    kv_types_name(kv, &row->type);
    context_mark(c);
    for (int i = 0; i < b->repeat; i++) {
        show_bench(kv, row->depth, "prefill", i);
        if (b->n_prefill &&
            ((s = time_tokens(b, c, b->n_prefill, false, &prefill[i], err)) ||
             (s = go_back(c, row->depth, err))))
            return s;
        show_bench(kv, row->depth, "decode", i);
        if (b->n_decode && ((s = time_tokens(b, c, b->n_decode, true, &decode[i], err)) ||
                            (s = go_back(c, row->depth, err))))
            return s;
    }
    if (b->n_prefill)
        row->prefill = summarise_times(prefill, b->repeat);
    if (b->n_decode)
        row->decode = summarise_times(decode, b->repeat);
    row->cache_bytes = measure_cache_bytes(c);
    row->n_batch = context_n_batch(c);
    return STATUS_OK;
}

/* The speeds of several sequences go to the last rows, those of one type. */
static enum status bench_sequences(struct bench *b, const struct context_options *o,
                                   struct error *err)
{
    const int n = b->batch.n, repeat = b->repeat;
    struct bench_row *rows = b->rows + (b->n_row - b->n_depth);
    if (!n || !b->n_decode)
        return STATUS_OK;
    double *seconds =
        mem_array((size_t)b->n_depth * (size_t)n * (size_t)repeat, sizeof *seconds);
    if (!seconds)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d times", n * repeat);
    const enum status s =
        bench_batch_measure(seconds, &b->batch, b->engine.model, o, b->ids, b->depths,
                            b->n_depth, b->n_decode, repeat, err);
    for (int i = 0; !s && i < b->n_depth * n; i++)
        rows[i / n].batch[i % n] =
            summarise_times(seconds + (size_t)i * (size_t)repeat, repeat);
    mem_free(seconds);
    return s;
}

static enum status bench_type(struct bench *b, const struct kv_types *type,
                              struct error *err)
{
    char kv[KV_NAME_BYTES];
    struct context *c = NULL;
    const struct context_options o = {
        .kv = *type, .calibration = b->engine.calibration, .n_ctx = b->n_ctx};
    enum status s = context_open(&c, b->engine.model, &o, err);
    kv_types_name(kv, type);
    for (int i = 0; !s && i < b->n_depth; i++) {
        const int depth = b->depths[i], pos = context_pos(c);
        show_bench(kv, depth, "going there from", pos);
        if (depth > pos && (s = context_eval(c, b->ids + pos, depth - pos, 0, NULL, err)))
            break;
        struct bench_row *row = &b->rows[b->n_row++];
        *row = (struct bench_row){.type = *type, .depth = depth};
        s = bench_depth(b, c, row, err);
    }
    context_close(c);
    return s ? s : bench_sequences(b, &o, err);
}

static enum status bench_run(struct bench *b, struct error *err)
{
    const int most = b->n_prefill > b->n_decode ? b->n_prefill : b->n_decode;
    b->n_ctx = b->depths[b->n_depth - 1] + (most ? most : 1);
    b->ids = mem_array((size_t)b->n_ctx, sizeof *b->ids);
    b->rows = mem_array((size_t)b->n_type * (size_t)b->n_depth, sizeof *b->rows);
    if (!b->ids || !b->rows)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d tokens", b->n_ctx);
    const uint64_t n_vocab = (uint64_t)model_hparams(b->engine.model)->n_vocab;
    for (int i = 0; i < b->n_ctx; i++)
        b->ids[i] = (int32_t)(rng_at(1, (uint64_t)i) % n_vocab);
    enum status s = cli_calibrate(&b->engine, "bench", b->types, b->n_type, err);
    if (s)
        return s;
    const size_t loaded = mem_peak();
    bench_probe(b);
    const bool forgot = mem_peak_forget();
    for (int i = 0; !s && i < b->n_type; i++)
        s = bench_type(b, &b->types[i], err);
    if (!s) {
        const size_t ran = mem_peak();
        if (forgot)
            b->peak_bytes = ran > loaded ? ran : loaded;
        bench_probe(b);
        bench_limits(b);
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r%60s\r", "");
    return s;
}

/* ---- the command ---- */

/* Write the synthetic model and open it; a file that is not to be kept is gone then. */
static enum status open_synthetic(struct bench *b, struct error *err)
{
    const char *dir = environment_folder("TMPDIR");
    char temp[1024];
    struct pool *pool = NULL;
    snprintf(temp, sizeof temp, "%s/turbine-%ld.gguf", dir ? dir : "/tmp",
             (long)getpid());
    const char *path = bench_args.write ? bench_args.write : temp;
    enum status s =
        pool_open(&pool, bench_args.threads ? bench_args.threads : pool_cores(), err);
    if (s)
        return s;
    s = synthetic_write(bench_args.synthetic, path, pool, err);
    pool_close(pool);
    if (s)
        return s;
    if (bench_args.repeat)
        s = engine_open(&b->engine, path, ENGINE_WEIGHTS, bench_args.threads,
                        bench_args.isa, err);
    if (!bench_args.write)
        unlink(path);
    return s;
}

static enum status run_bench(const char *path, struct error *err)
{
    char file[STORE_PATH_BYTES];
    struct bench b = {.path = path ? path : bench_args.synthetic,
                      .n_prefill = bench_args.prefill,
                      .n_decode = bench_args.decode,
                      .repeat = bench_args.repeat};
    enum status s;
    if (bench_args.plot && (s = svg_check(bench_args.plot, err)))
        return s;
    if ((s = measure_kv_list(b.types, &b.n_type, BENCH_TYPES_MAX, bench_args.kv, err)) ||
        (s = parse_depths(&b, err)) ||
        (bench_args.sequences &&
         (s = bench_batch_parse(&b.batch, bench_args.sequences, err))))
        return s;
    if (!path)
        s = open_synthetic(&b, err);
    else if (!(s = models_path(file, path, err)))
        s = engine_open(&b.engine, file, ENGINE_ANY, bench_args.threads, bench_args.isa,
                        err);
    if (!s && b.repeat) {
        b.isa = model_isa(b.engine.model);
        s = bench_run(&b, err);
        if (!s && bench_args.json)
            s = bench_print_json(&b, err);
        else if (!s)
            bench_print(&b);
        if (!s && bench_args.plot)
            s = bench_plot(&b, bench_args.plot, err);
    }
    mem_free(b.ids);
    mem_free(b.rows);
    engine_close(&b.engine);
    if (!s && fflush(stdout))
        s = fail(err, STATUS_IO, "cannot write to standard output");
    return s;
}

int cmd_bench(int argc, char **argv)
{
    const char *path;
    bench_args.depth = "0";
    bench_args.kv = "f16,turbo4";
    bench_args.prefill = 512;
    bench_args.decode = 64;
    bench_args.repeat = 3;
    bench_args.isa = cpu_detect();
    const int rc = cli_parse(&bench_command, argc, argv, &path);
    if (rc >= 0)
        return rc;
    if (!path == !bench_args.synthetic)
        return measure_usage(&bench_command, "give one of MODEL and --synthetic");
    if (bench_args.write && !bench_args.synthetic)
        return measure_usage(&bench_command, "--write goes with --synthetic");
    if (bench_args.plot && !bench_args.repeat)
        return measure_usage(&bench_command, "--plot needs at least one run: --repeat");
    struct error err;
    return run_bench(path, &err) ? cli_fail(&bench_command, &err) : CLI_OK;
}
