/* bench_print.c - the table and the JSON of `turbine bench`. */
#include <stdio.h>

#include <jansson.h>

#include "cli/bench.h"
#include "cli/measure.h"

static double spread(const struct bench_timing *t)
{
    return t->best > 0 ? 100 * (t->worst / t->best - 1) : 0;
}

static const char *bound_name(const struct bench_limit *l)
{
    return l->int8 ? "int8" : "memory";
}

static double share_percent(int n, const struct bench_timing *t,
                            const struct bench_limit *l)
{
    return 100 * bench_rate(n, t->best) / l->rate;
}

/* ---- the table ---- */

static void print_speed(int n, const struct bench_timing *t, const struct bench_limit *l)
{
    if (!n) {
        printf("  %9s %9s %9s %9s %6s %-6s", "-", "-", "-", "-", "-", "");
        return;
    }
    printf("  %9.2f %9.2f %7.1f %%", bench_rate(n, t->best), bench_rate(n, t->median),
           spread(t));
    if (l->rate > 0)
        printf(" %9.2f %4.0f %% %-6s", l->rate, share_percent(n, t, l), bound_name(l));
    else
        printf(" %9s %6s %-6s", "-", "-", "");
}

static void print_machine(const struct bench *b)
{
    if (!b->read.n) {
        printf("machine: not measured, there are no %d MiB to read\n",
               PROBE_READ_BYTES >> 20);
        return;
    }
    printf("machine: reads %.1f GB/s (median %.1f), multiplies %.1f G int8/s (median "
           "%.1f)",
           probe_best(&b->read) * 1e-9, probe_median(&b->read) * 1e-9,
           probe_best(&b->int8) * 1e-9, probe_median(&b->int8) * 1e-9);
    if (b->tiles.n)
        printf(", with tiles %.0f (median %.0f)", probe_best(&b->tiles) * 1e-9,
               probe_median(&b->tiles) * 1e-9);
    putchar('\n');
}

void bench_print(const struct bench *b)
{
    char cpu[128];
    printf("%s: %s, %.1f MiB of weights, ready in %.2f s\n%s, %d threads, %s\n", b->path,
           model_arch(b->engine.model), (double)model_bytes(b->engine.model) / 0x1p20,
           (double)b->engine.load_us * 1e-6, measure_cpu_name(cpu, sizeof cpu),
           pool_threads(b->engine.pool), cpu_isa_name(b->isa));
    print_machine(b);
    if (b->peak_bytes)
        printf("memory: %.1f MiB at most\n", (double)b->peak_bytes / 0x1p20);
    else
        printf("memory: the system does not say\n");
    printf("prefill %d, decode %d tokens, best of %d; tokens/s\n", b->n_prefill,
           b->n_decode, b->repeat);
    printf("%-14s %7s %10s  %9s %9s %9s %9s %6s %-6s  %9s %9s %9s %9s %6s %-6s", "kv",
           "depth", "cache MiB", "prefill", "median", "spread", "limit", "share", "of",
           "decode", "median", "spread", "limit", "share", "of");
    for (int i = 0; i < b->batch.n; i++)
        printf("  %5d seq %9s", b->batch.n_seq[i], "spread");
    putchar('\n');
    for (int i = 0; i < b->n_row; i++) {
        const struct bench_row *r = &b->rows[i];
        char kv[KV_NAME_BYTES];
        printf("%-14s %7d %10.2f", kv_types_name(kv, &r->type), r->depth,
               (double)r->cache_bytes / 0x1p20);
        print_speed(b->n_prefill, &r->prefill, &r->prefill_limit);
        print_speed(b->n_decode, &r->decode, &r->decode_limit);
        for (int k = 0; k < b->batch.n; k++)
            printf("  %9.2f %7.1f %%",
                   bench_rate(b->batch.n_seq[k] * b->n_decode, r->batch[k].best),
                   spread(&r->batch[k]));
        putchar('\n');
    }
}

/* ---- JSON ---- */

static json_t *real_or_null(double v)
{
    return v > 0 ? json_real(v) : json_null();
}

static json_t *json_speed(int n, const struct bench_timing *t,
                          const struct bench_limit *l)
{
    if (!n)
        return json_null();
    return json_pack("{s:f, s:f, s:f, s:o, s:o, s:o}", "best", bench_rate(n, t->best),
                     "median", bench_rate(n, t->median), "spread_percent", spread(t),
                     "limit", real_or_null(l->rate), "share_percent",
                     l->rate > 0 ? json_real(share_percent(n, t, l)) : json_null(),
                     "bound", l->rate > 0 ? json_string(bound_name(l)) : json_null());
}

static json_t *json_sequences(const struct bench *b, const struct bench_row *r)
{
    json_t *all = json_array();
    for (int i = 0; i < b->batch.n; i++) {
        const int n = b->batch.n_seq[i];
        json_array_append_new(
            all, json_pack("{s:i, s:{s:f, s:f, s:f}}", "n", n, "decode", "best",
                           bench_rate(n * b->n_decode, r->batch[i].best), "median",
                           bench_rate(n * b->n_decode, r->batch[i].median),
                           "spread_percent", spread(&r->batch[i])));
    }
    return all;
}

enum status bench_print_json(const struct bench *b, struct error *err)
{
    char cpu[128];
    json_t *rows = json_array();
    for (int i = 0; i < b->n_row; i++) {
        const struct bench_row *r = &b->rows[i];
        char kv[KV_NAME_BYTES];
        json_t *row =
            json_pack("{s:s, s:i, s:I, s:o, s:o}", "kv", kv_types_name(kv, &r->type),
                      "depth", r->depth, "cache_bytes", (json_int_t)r->cache_bytes,
                      "prefill", json_speed(b->n_prefill, &r->prefill, &r->prefill_limit),
                      "decode", json_speed(b->n_decode, &r->decode, &r->decode_limit));
        if (b->batch.n)
            json_object_set_new(row, "sequences", json_sequences(b, r));
        json_array_append_new(rows, row);
    }
    json_t *o = json_pack(
        "{s:s, s:s, s:I, s:o, s:f, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:i, s:i, "
        "s:i, s:o}",
        "model", b->path, "arch", model_arch(b->engine.model), "weight_bytes",
        (json_int_t)model_bytes(b->engine.model), "peak_bytes",
        b->peak_bytes ? json_integer((json_int_t)b->peak_bytes) : json_null(),
        "load_seconds", (double)b->engine.load_us * 1e-6, "cpu",
        measure_cpu_name(cpu, sizeof cpu), "threads", pool_threads(b->engine.pool), "isa",
        cpu_isa_name(b->isa), "read_gb_s", real_or_null(probe_best(&b->read) * 1e-9),
        "read_gb_s_median", real_or_null(probe_median(&b->read) * 1e-9), "int8_gmac_s",
        real_or_null(probe_best(&b->int8) * 1e-9), "int8_gmac_s_median",
        real_or_null(probe_median(&b->int8) * 1e-9), "tile_gmac_s",
        real_or_null(probe_best(&b->tiles) * 1e-9), "n_prefill", b->n_prefill, "n_decode",
        b->n_decode, "repeat", b->repeat, "results", rows);
    return measure_print_json(o, err);
}
