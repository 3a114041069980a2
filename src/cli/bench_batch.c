#include "cli/bench_batch.h"

#include <stdlib.h>

#include "base/clock.h"

enum status bench_batch_parse(struct bench_batch *b, const char *list, struct error *err)
{
    b->n = 0;
    for (const char *at = list;; at++) {
        char *end;
        const long v = strtol(at, &end, 10);
        if (end == at || v < 1 || v > BENCH_BATCH_SEQUENCES_MAX || (*end && *end != ','))
            return fail(err, STATUS_BAD_ARG,
                        "--sequences takes numbers from 1 to %d with commas between, not "
                        "'%.40s'",
                        BENCH_BATCH_SEQUENCES_MAX, list);
        if (b->n == BENCH_BATCH_MAX)
            return fail(err, STATUS_BAD_ARG, "more than %d numbers of sequences",
                        BENCH_BATCH_MAX);
        b->n_seq[b->n++] = (int)v;
        at = end;
        if (!*at)
            return STATUS_OK;
    }
}

struct batch_job {
    struct context *c;
    const int32_t *ids;
    int n_seq; // that are open
    struct sequence *seq[BENCH_BATCH_SEQUENCES_MAX];
};

static enum status fill_sequence(const struct batch_job *j, struct sequence *seq,
                                 int depth, struct error *err)
{
    const int batch = context_n_batch(j->c);
    enum status s = STATUS_OK;
    while (!s && sequence_pos(seq) < depth) {
        const int pos = sequence_pos(seq), rest = depth - pos;
        struct batch_run run = {
            .seq = seq, .tokens = j->ids + pos, .n = rest < batch ? rest : batch};
        s = context_eval_batch(j->c, &run, 1, err);
    }
    sequence_mark(seq);
    return s;
}

static enum status time_decode(const struct batch_job *j, int n_seq, int n_decode,
                               double *seconds, struct error *err)
{
    struct batch_run runs[BENCH_BATCH_SEQUENCES_MAX];
    const int depth = sequence_pos(j->seq[0]);
    enum status s = STATUS_OK;
    const uint64_t start = clock_us();
    for (int i = 0; !s && i < n_decode; i++) {
        for (int k = 0; k < n_seq; k++)
            runs[k] = (struct batch_run){
                .seq = j->seq[k], .tokens = j->ids + depth + i, .n = 1, .n_logits = 1};
        s = context_eval_batch(j->c, runs, n_seq, err);
    }
    *seconds = (double)(clock_us() - start) * 1e-6;
    for (int k = 0; k < n_seq; k++)
        sequence_rewind(j->seq[k], depth);
    return s;
}

static enum status measure_depths(struct batch_job *j, double *seconds,
                                  const struct bench_batch *b, const int *depths,
                                  int n_depth, int n_decode, int repeat,
                                  struct error *err)
{
    enum status s = STATUS_OK;
    for (int d = 0; d < n_depth; d++) {
        for (int k = 0; !s && k < j->n_seq; k++)
            s = fill_sequence(j, j->seq[k], depths[d], err);
        for (int i = 0; !s && i < b->n * repeat; i++)
            s = time_decode(j, b->n_seq[i / repeat], n_decode, seconds++, err);
    }
    return s;
}

enum status bench_batch_measure(double *seconds, const struct bench_batch *b,
                                const struct model *m, const struct context_options *o,
                                const int32_t *ids, const int *depths, int n_depth,
                                int n_decode, int repeat, struct error *err)
{
    struct context_options batch = {.kv = o->kv,
                                    .calibration = o->calibration,
                                    .n_ctx = depths[n_depth - 1] + n_decode};
    struct batch_job j = {.ids = ids};
    for (int i = 0; i < b->n; i++)
        if (b->n_seq[i] > batch.n_seq)
            batch.n_seq = b->n_seq[i];
    enum status s = context_open(&j.c, m, &batch, err);
    while (!s && j.n_seq < batch.n_seq)
        if (!(s = sequence_open(&j.seq[j.n_seq], j.c, batch.n_ctx, err)))
            j.n_seq++;
    if (!s)
        s = measure_depths(&j, seconds, b, depths, n_depth, n_decode, repeat, err);
    context_close(j.c);
    return s;
}
