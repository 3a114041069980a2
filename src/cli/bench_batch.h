/* bench_batch.h - decode speed of several sequences that share their steps. */
#ifndef CLI_BENCH_BATCH_H
#define CLI_BENCH_BATCH_H

#include <stdint.h>

#include "model/model.h"

enum { BENCH_BATCH_MAX = 8, BENCH_BATCH_SEQUENCES_MAX = 256 };

/* Numbers of sequences that are to be measured. */
struct bench_batch {
    int n; // 0: none
    int n_seq[BENCH_BATCH_MAX];
};

/* A list like "1,2,4,8". */
enum status bench_batch_parse(struct bench_batch *b, const char *list, struct error *err);

/* Decode n_decode tokens in each of n_seq sequences, one step for a token of all of them.
 *
 *   seconds  [n_depth][b->n][repeat]            written
 *   o        kv and calibration
 *   ids      [last depth + n_decode]            tokens of every sequence
 *   depths   [n_depth], ascending               tokens before
 *
 * Each sequence has pages and tokens of its own at every depth. */
enum status bench_batch_measure(double *seconds, const struct bench_batch *b,
                                const struct model *m, const struct context_options *o,
                                const int32_t *ids, const int *depths, int n_depth,
                                int n_decode, int repeat, struct error *err);

#endif
