/* metrics.h - what is counted, as Prometheus reads it.  Any thread. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include <pthread.h>
#include <stdint.h>

#include "base/buf.h"
#include "dialect/answer.h"
#include "engine/scheduler.h"

enum { METRICS_BUCKETS = 16, METRICS_STATUSES = 96 };

struct histogram {
    uint64_t count[METRICS_BUCKETS + 1]; // the last: above all bounds
    double sum;
};

struct metrics {
    pthread_mutex_t lock;
    struct {
        const char *dialect;
        int status;
        uint64_t n;
    } requests[METRICS_STATUSES];
    int n_requests;
    uint64_t rejected[API_ERROR_INTERNAL + 1]; // by kind
    uint64_t gone, truncated, replayed, failed_grammars;
    struct histogram first, next; // seconds: TTFT, between tokens
};

enum status metrics_open(struct metrics *m, struct error *err);
void metrics_close(struct metrics *m);
void metrics_request(struct metrics *m, const char *dialect, int status);
void metrics_rejected(struct metrics *m, enum api_error_kind kind);
void metrics_add(struct metrics *m, uint64_t *counter, uint64_t n);
void metrics_first(struct metrics *m, double seconds);
/* n tokens that came together, seconds after those before. */
void metrics_next(struct metrics *m, double seconds, int n);

/* a's counters, which only rise, plus those of b. */
void metrics_add_counters(struct scheduler_stats *a, const struct scheduler_stats *b);

struct metrics_model {
    const char *name, *kv_name;
    struct scheduler_stats stats;
    size_t kv_bytes, exact_bytes, scratch_bytes, weight_bytes;
    int n_ctx;
};

struct metrics_gauges {
    const struct metrics_model *models; // [n_model] that are loaded
    int n_model;
    struct scheduler_stats past; // counters of those that were
    uint64_t n_load, n_load_failed, n_unload;
    int n_loading;
    size_t resident;
    int n_connection, n_active;
    double uptime;
    bool draining;
};
void metrics_print(struct metrics *m, const struct metrics_gauges *g, struct buf *out);

#endif
