/* dialect_run.h - requests through a parser, scripted events through a writer. */
#ifndef TESTS_DIALECT_RUN_H
#define TESTS_DIALECT_RUN_H

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

static const struct answer_head run_head = {.request_id = "req_1",
                                            .id = "abc",
                                            .model = "tiny",
                                            .fingerprint = "fp",
                                            .created_us = 1700000000123456,
                                            .n_prompt = 25};

#define REASONING(s)                                            \
    {                                                           \
        .kind = ANSWER_REASONING, .text = s, .n = sizeof(s) - 1 \
    }
#define TEXT(s)                                            \
    {                                                      \
        .kind = ANSWER_TEXT, .text = s, .n = sizeof(s) - 1 \
    }
#define CALL(i, s)                                    \
    {                                                 \
        .kind = ANSWER_TOOL_BEGIN, .id = i, .name = s \
    }
#define ARGS(s)                                                 \
    {                                                           \
        .kind = ANSWER_TOOL_ARGS, .text = s, .n = sizeof(s) - 1 \
    }
#define CALL_END                \
    {                           \
        .kind = ANSWER_TOOL_END \
    }
#define PING                \
    {                       \
        .kind = ANSWER_PING \
    }
#define END(f)                                      \
    {                                               \
        .kind = ANSWER_END, .finish = f, .usage = { \
            .n_prompt = 25,                         \
            .n_cached = 5,                          \
            .n_decoded = 15,                        \
            .n_reasoning = 4,                       \
            .prefill_us = 2000,                     \
            .decode_us = 3000,                      \
            .total_us = 6000,                       \
            .load_us = 1000                         \
        }                                           \
    }

/* Parse JSON text; false with err.  r is released by the caller, whatever happened. */
static inline bool run_parse(const struct api_operation *op, struct api_request *r,
                             const char *text, struct api_error *err)
{
    json_error_t json_error;
    json_t *body = json_loads(text, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &json_error);
    *err = (struct api_error){0};
    api_request_init(r);
    if (!body) {
        fprintf(stderr, "test: %s in %s\n", json_error.text, text);
        return false;
    }
    if (op->parse(r, body, err) == STATUS_OK)
        return true;
    json_decref(body);
    return false;
}

/* out <- the body of the answer to a request that is valid. */
static inline bool run_events(const struct api_operation *op, const char *request,
                              const struct answer_event *events, size_t n,
                              struct buf *out)
{
    struct api_request r;
    struct api_error err;
    buf_init(out, 1 << 20);
    const bool ok = run_parse(op, &r, request, &err);
    struct answer_writer *w = ok ? op->open_writer(&r, &run_head) : NULL;
    if (w) {
        w->ops->begin(w, out);
        for (size_t i = 0; i < n; i++)
            w->ops->event(w, &events[i], out);
        w->ops->close(w);
    }
    api_request_release(&r);
    return w && !out->failed;
}
#define RUN(op, request, out, ...)                                         \
    run_events(&(op), request, (const struct answer_event[]){__VA_ARGS__}, \
               sizeof((const struct answer_event[]){__VA_ARGS__}) /        \
                   sizeof(struct answer_event),                            \
               out)

/* Allocations of JSON: how many there were, how many live, and which one fails. */
static struct {
    int n, living, failing; // failing: -1 for none
    bool once, failed;      // once: those behind it do not fail
} run_memory;

static inline void *run_malloc(size_t n)
{
    const int i = run_memory.n++;
    const bool behind = i > run_memory.failing && !run_memory.once;
    if (run_memory.failing >= 0 && (i == run_memory.failing || behind)) {
        run_memory.failed = true;
        return NULL;
    }
    run_memory.living++;
    return malloc(n);
}

static inline void run_free(void *p)
{
    run_memory.living -= p != NULL;
    free(p);
}

/* Parse with each allocation failing in turn: the error says so, and nothing is lost.
 * What went wrong, NULL for nothing. */
static inline const char *run_short_of_memory(const struct api_operation *op,
                                              const char *text, bool once)
{
    const char *wrong = NULL;
    json_set_alloc_funcs(run_malloc, run_free);
    run_memory.failing = -1;
    run_memory.living = 0;
    run_memory.once = once;
    run_memory.failed = true;
    for (int n = 0; run_memory.failed && !wrong; n++) {
        struct api_request r;
        struct api_error err = {0};
        run_memory.failing = -1;
        json_t *body = json_loads(text, 0, NULL);
        api_request_init(&r);
        run_memory.n = 0;
        run_memory.failed = false;
        run_memory.failing = n;
        const enum status s = op->parse(&r, body, &err);
        run_memory.failing = -1;
        if (s != STATUS_OK)
            json_decref(body);
        api_request_release(&r);
        if (s != (run_memory.failed ? STATUS_NO_MEMORY : STATUS_OK))
            wrong = "a wrong status";
        else if (run_memory.living != 0)
            wrong = "something is lost";
        else if (n > 1000)
            wrong = "it does not end";
    }
    json_set_alloc_funcs(malloc, free);
    return wrong;
}

#endif
