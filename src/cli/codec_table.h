/* codec_table.h - formats of the cache against theory, on Gaussian vectors. */
#ifndef CLI_CODEC_TABLE_H
#define CLI_CODEC_TABLE_H

#include "base/status.h"
#include "turboquant.h"

enum {
    CODEC_ROWS_MAX = 24,
    CODEC_KLS = 3,
    CODEC_SETS = 8, // of keys and queries
    CODEC_KEYS = 2048,
};

/* Deviations of the logits of the softmax KL. */
extern const double codec_deviation[CODEC_KLS];

struct codec_row {
    const char *name;
    double bits;     // stored for each value, scales included
    double nmse;     // mean of |x - x'|^2 / |x|^2
    double gap_db;   // nmse over the Shannon bound 4^-bits
    double ip_bias;  // slope of <y, x'> against <y, x>, less 1
    double ip_error; // mean of <y, x' - x>^2 / |y|^2 |x|^2, times d
    double kl[CODEC_KLS];
    double encode_ns, score_ns;     // for 128 values; 0 if there is no fast path
    double paper_nmse, paper_error; // bounds of the papers; 0 if they have none
};

struct codec_table {
    int d, n;
    struct codec_row rows[CODEC_ROWS_MAX]; // by bits, descending
};

/* Measure every type that can store keys of d dimensions, and the polar transform: the
 * same random vectors each time.  d must be tq_dim_supported. */
enum status codec_measure(struct codec_table *t, int d, enum tq_isa isa,
                          struct error *err);

/* Write distortion against rate as an SVG. */
enum status codec_plot(const struct codec_table *t, const char *path, struct error *err);

#endif
