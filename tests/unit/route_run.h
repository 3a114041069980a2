/* route_run.h - a reply of a backend through a reader, and on to a client's writer. */
#ifndef TESTS_ROUTE_RUN_H
#define TESTS_ROUTE_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "dialect/upstream.h"

static const struct answer_head route_head = {.request_id = "req_1",
                                              .id = "abc",
                                              .model = "m",
                                              .fingerprint = "fp",
                                              .created_us = 1700000000123456,
                                              .n_prompt = 25};

static inline const struct api_operation *route_client(const char *name)
{
    static const struct {
        const char *name;
        const struct api_operation *op;
    } clients[] = {{"openai_chat", &openai_chat},
                   {"openai_responses", &openai_responses},
                   {"openai_completions", &openai_completions},
                   {"openai_embeddings", &openai_embeddings},
                   {"openai_infill", &openai_infill},
                   {"anthropic_messages", &anthropic_messages},
                   {"anthropic_count", &anthropic_count},
                   {"ollama_chat", &ollama_chat},
                   {"ollama_generate", &ollama_generate},
                   {"ollama_embed", &ollama_embed}};
    for (size_t i = 0; i < sizeof clients / sizeof *clients; i++)
        if (strcmp(clients[i].name, name) == 0)
            return clients[i].op;
    return NULL;
}

enum { ROUTE_CALLS_MAX = 200, ROUTE_LOGS_MAX = 8 };

/* What came out of a reply, pieces joined. */
struct route_answer {
    struct answer_writer *writer;
    struct buf out; // what the writer printed
    struct buf text, reasoning;
    struct route_call {
        char id[128], name[64];
        struct buf args;
        bool ended;
    } calls[ROUTE_CALLS_MAX];
    int n_call, n_end, n_error, n_ping, n_log;
    char log_text[ROUTE_LOGS_MAX][16];
    float logs[ROUTE_LOGS_MAX];
    bool in_call, disorder; // an event where answer.h has none
    enum answer_finish finish;
    char stop_string[32];
    struct answer_usage usage;
    struct api_error error;
};

static inline void route_call_event(struct route_answer *a, const struct answer_event *e)
{
    struct route_call *c = &a->calls[a->n_call > 0 ? a->n_call - 1 : 0];
    if (e->kind == ANSWER_TOOL_BEGIN) {
        a->disorder |= a->in_call || a->n_call == ROUTE_CALLS_MAX || !e->id || !e->name;
        if (a->disorder)
            return;
        c = &a->calls[a->n_call++];
        snprintf(c->id, sizeof c->id, "%s", e->id);
        snprintf(c->name, sizeof c->name, "%s", e->name);
        buf_init(&c->args, 1 << 26);
        a->in_call = true;
        return;
    }
    a->disorder |= !a->in_call;
    if (a->disorder)
        return;
    if (e->kind == ANSWER_TOOL_ARGS)
        buf_append(&c->args, e->text, e->n);
    else
        c->ended = true;
    a->in_call = e->kind == ANSWER_TOOL_ARGS;
}

static inline void route_log_event(struct route_answer *a, const struct answer_event *e)
{
    if (a->n_log == ROUTE_LOGS_MAX)
        return;
    snprintf(a->log_text[a->n_log], 16, "%.*s", (int)e->token.n, e->token.text);
    a->logs[a->n_log++] = e->token.logprob;
}

static inline void route_take(void *ctx, const struct answer_event *e)
{
    struct route_answer *a = ctx;
    if (a->writer)
        a->writer->ops->event(a->writer, e, &a->out);
    a->disorder |= a->n_error > 0; // nothing comes behind an error
    switch (e->kind) {
    case ANSWER_REASONING:
    case ANSWER_TEXT:
        a->disorder |= e->n == 0 || (a->in_call && e->choice == 0);
        buf_append(e->kind == ANSWER_TEXT ? &a->text : &a->reasoning, e->text, e->n);
        break;
    case ANSWER_TOOL_BEGIN:
    case ANSWER_TOOL_ARGS:
    case ANSWER_TOOL_END:
        route_call_event(a, e);
        break;
    case ANSWER_LOGPROB:
        route_log_event(a, e);
        break;
    case ANSWER_PING:
    case ANSWER_PROGRESS:
        a->n_ping++;
        break;
    case ANSWER_END:
        a->disorder |= a->in_call;
        if (a->n_end++ == 0) {
            a->finish = e->finish;
            a->usage = e->usage;
            snprintf(a->stop_string, sizeof a->stop_string, "%s",
                     e->stop_string ? e->stop_string : "");
        }
        break;
    case ANSWER_ERROR:
        a->n_error++;
        a->error = *e->error;
        break;
    }
}

/* op NULL: without a writer. */
static inline void route_begin(struct route_answer *a, const struct api_operation *op,
                               const struct api_request *r)
{
    *a = (struct route_answer){0};
    buf_init(&a->out, 1 << 26);
    buf_init(&a->text, 1 << 26);
    buf_init(&a->reasoning, 1 << 26);
    if (op && (a->writer = op->open_writer(r, &route_head)))
        a->writer->ops->begin(a->writer, &a->out);
}

static inline void route_release(struct route_answer *a)
{
    if (a->writer)
        a->writer->ops->close(a->writer);
    for (int i = 0; i < a->n_call; i++)
        buf_release(&a->calls[i].args);
    buf_release(&a->out);
    buf_release(&a->text);
    buf_release(&a->reasoning);
}

/* Bytes s[0..n) in pieces: the first of `cut` bytes, then pieces of `step` (0: the rest
 * at once), then the end. */
static inline enum upstream_state route_feed(const struct upstream_reader_setup *setup,
                                             const char *s, size_t n, size_t cut,
                                             size_t step)
{
    struct upstream_reader *r = upstream_reader_open(setup);
    size_t at = cut < n ? cut : n;
    upstream_reader_feed(r, s, at);
    while (at < n) {
        const size_t len = step > 0 && step < n - at ? step : n - at;
        upstream_reader_feed(r, s + at, len);
        at += len;
    }
    const enum upstream_state state = upstream_reader_finish(r, NULL);
    upstream_reader_close(r);
    return state;
}

#endif
