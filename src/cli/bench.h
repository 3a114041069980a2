/* bench.h - the measurements of `turbine bench`: made by cmd_bench.c, held against the
 * machine by bench_limit.c, shown by bench_print.c and bench_plot.c. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include <stdbool.h>

#include "cli/bench_batch.h"
#include "engine/engine.h"
#include "tensor/probe.h"

enum { BENCH_TYPES_MAX = 16, BENCH_DEPTHS_MAX = 16 };

struct bench_timing {
    double best, median, worst; // seconds
};

/* The most tokens a second that the machine allows. */
struct bench_limit {
    double rate; // 0: unknown
    bool int8;   // what binds: integer products, else reading memory
};

struct bench_row {
    struct kv_types type;
    int depth;
    int n_batch;        // most tokens of a step
    size_t cache_bytes; // of the context, all depths and runs
    struct bench_timing prefill, decode;
    struct bench_limit prefill_limit, decode_limit;
    struct bench_timing batch[BENCH_BATCH_MAX]; // decode of several sequences
};

struct bench {
    const char *path;                // as the person named it
    enum cpu_isa isa;                // that is used
    int n_prefill, n_decode, repeat; // tokens, tokens, runs
    struct engine engine;
    struct probe read, int8; // limits come from these
    struct probe tiles;      // not used for limits: docs/design.md, 8
    size_t peak_bytes;       // resident, without what the probes held; 0 if unknown
    int n_type, n_depth, n_row;
    struct kv_types types[BENCH_TYPES_MAX];
    int depths[BENCH_DEPTHS_MAX]; // ascending
    struct bench_batch batch;
    int32_t *ids; // [n_ctx]
    int n_ctx;
    struct bench_row *rows; // [n_type * n_depth], by type, then by depth
};

/* Add a look at what the machine can do; it may change, so before and after the rows. */
void bench_probe(struct bench *b);
/* Set the limits of all rows.  The model's matrices count once for each step, the cache
 * of a step's last token once, the output head for each row of logits. */
void bench_limits(struct bench *b);

/* Tokens a second, 0 if nothing was measured. */
double bench_rate(int n, double seconds);

void bench_print(const struct bench *b);
enum status bench_print_json(const struct bench *b, struct error *err);

/* Draw speed against depth as an SVG. */
enum status bench_plot(const struct bench *b, const char *path, struct error *err);

#endif
