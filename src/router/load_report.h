/* load_report.h - what a server says of its own load: pure functions of bytes.
 *
 * Sources: llama.cpp, tools/server/README.md (GET /metrics, GET /slots); vLLM,
 * docs/design/metrics.md; the text format of Prometheus, version 0.0.4. */
#ifndef ROUTER_LOAD_REPORT_H
#define ROUTER_LOAD_REPORT_H

#include <stddef.h>

enum {
    LOAD_MOST = 1000000, // requests; a report of more is wrong
    LOAD_SLOTS_MAX = 4096,
};

struct load_report {
    int n_running, n_waiting; // requests, whoever sent them
};

enum load_found {
    LOAD_FOUND,
    LOAD_ABSENT, // it says nothing of its load
    LOAD_WRONG,  // it says what cannot be
};

/* *out <- the sums over all labels of llamacpp:requests_processing and
 * vllm:num_requests_running, and of llamacpp:requests_deferred and
 * vllm:num_requests_waiting.  why (of LOAD_WRONG): a constant text. */
enum load_found load_report_metrics(struct load_report *out, const char *text, size_t n,
                                    const char **why);
/* *out <- how many slots of the array are at work; those who wait are not told. */
enum load_found load_report_slots(struct load_report *out, const char *text, size_t n,
                                  const char **why);

#endif
