/* scheduler_generation.c - memory of a generation, and the queue of its events. */
#include "engine/scheduler_generation.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

enum { QUEUE_BYTES = 16 << 10 };

/* An event in the queue: this head, n_top alternatives, n bytes of text. */
struct record {
    int32_t id;
    float logprob;
    uint32_t n;
    uint16_t n_top;
    bool special;
};

static enum status copy_request(struct generation *g, const struct generation_request *r,
                                int n_vocab, int n_embd, struct error *err)
{
    g->n_prompt = g->n_history = (int)r->n_prompt;
    g->history = mem_array((size_t)g->n_limit + 1, sizeof *g->history);
    g->bias = mem_array((size_t)r->sampling.n_bias, sizeof *g->bias);
    if (r->embed)
        g->embedding = mem_array((size_t)n_embd, sizeof *g->embedding);
    if (r->grammar)
        g->mask = mem_array(((size_t)n_vocab + 31) / 32, sizeof *g->mask);
    if (!g->history || !g->bias || (r->embed && !g->embedding) ||
        (r->grammar && !g->mask))
        return fail(err, STATUS_NO_MEMORY, "no memory for a request of %zu tokens",
                    r->n_prompt);
    memcpy(g->history, r->prompt, r->n_prompt * sizeof *g->history);
    g->sampling = r->sampling;
    if (r->sampling.n_bias)
        memcpy(g->bias, r->sampling.bias, (size_t)r->sampling.n_bias * sizeof *g->bias);
    g->sampling.bias = g->bias;
    memcpy(g->stable, r->stable, sizeof g->stable);
    g->n_stable = r->n_stable;
    g->n_logprobs = r->n_logprobs;
    g->embed = r->embed;
    g->ignore_end = r->ignore_end;
    g->wake = r->wake;
    g->wake_ctx = r->wake_ctx;
    return STATUS_OK;
}

enum status generation_open(struct generation **out, const struct generation_request *r,
                            int n_limit, size_t piece_bytes, int n_vocab, int n_embd,
                            struct error *err)
{
    struct generation *g = mem_array(1, sizeof *g);
    if (!g)
        return fail(err, STATUS_NO_MEMORY, "no memory for a request");
    pthread_mutex_init(&g->lock, NULL);
    g->n_limit = n_limit;
    enum status s = copy_request(g, r, n_vocab, n_embd, err);
    if (!s)
        s = answer_text_open(&g->text, r->stop, r->n_stop, piece_bytes, err);
    if (!s) {
        g->record_max = sizeof(struct record) + sizeof g->top + g->text.cap;
        g->queue_cap = QUEUE_BYTES + 4 * g->record_max;
        g->queue = mem_array(g->queue_cap, 1);
        g->taken = mem_array(g->record_max, 1);
        if (!g->queue || !g->taken)
            s = fail(err, STATUS_NO_MEMORY, "no memory for the events of a request");
    }
    if (s)
        generation_release(g);
    else
        *out = g;
    return s;
}

void generation_release(struct generation *g)
{
    if (!g)
        return;
    grammar_matcher_close(g->matcher);
    answer_text_close(&g->text);
    mem_free(g->history);
    mem_free(g->bias);
    mem_free(g->embedding);
    mem_free(g->mask);
    mem_free(g->queue);
    mem_free(g->taken);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

/* ---- the engine's side ---- */

bool generation_has_room(struct generation *g)
{
    pthread_mutex_lock(&g->lock);
    const bool room = g->queue_cap - g->n_queue >= 3 * g->record_max;
    pthread_mutex_unlock(&g->lock);
    return room;
}

static void wake_consumer(struct generation *g)
{
    if (g->wake && !g->detached)
        g->wake(g->wake_ctx);
}

static void append_record(struct generation *g, const struct record *head,
                          const struct generation_logprob *top, const char *text)
{
    if (g->queue_at && g->queue_at + g->n_queue + g->record_max > g->queue_cap) {
        memmove(g->queue, g->queue + g->queue_at, g->n_queue);
        g->queue_at = 0;
    }
    uint8_t *to = g->queue + g->queue_at + g->n_queue;
    const size_t n_top = head->n_top * sizeof *top;
    memcpy(to, head, sizeof *head);
    memcpy(to + sizeof *head, top, n_top);
    if (head->n)
        memcpy(to + sizeof *head + n_top, text, head->n);
    g->n_queue += sizeof *head + n_top + head->n;
}

void generation_push_progress(struct generation *g, int n_done)
{
    const uint64_t now = clock_us();
    pthread_mutex_lock(&g->lock);
    g->progress = n_done;
    g->progress_stats = g->stats;
    g->progress_stats.n_prompt = g->n_prompt;
    g->progress_stats.prefill_us = g->start_us ? now - g->start_us : 0;
    wake_consumer(g);
    pthread_mutex_unlock(&g->lock);
}

void generation_push_token(struct generation *g, int32_t id, const char *text, size_t n,
                           bool special)
{
    const struct record head = {.id = id,
                                .logprob = g->picked_logprob,
                                .n = (uint32_t)n,
                                .n_top = (uint16_t)g->n_top,
                                .special = special};
    pthread_mutex_lock(&g->lock);
    append_record(g, &head, g->top, text);
    wake_consumer(g);
    pthread_mutex_unlock(&g->lock);
}

void generation_push_embedding(struct generation *g)
{
    pthread_mutex_lock(&g->lock);
    g->has_embedding = true;
    pthread_mutex_unlock(&g->lock);
}

void generation_push_end(struct generation *g, enum generation_end end, int stop,
                         const struct error *error)
{
    pthread_mutex_lock(&g->lock);
    g->ended = true;
    g->end = end;
    g->stop = stop;
    if (error)
        g->error = *error;
    wake_consumer(g);
    pthread_mutex_unlock(&g->lock);
}

/* ---- the consumer's side ---- */

static void take_record(struct generation *g, struct generation_event *out)
{
    struct record head;
    const uint8_t *from = g->queue + g->queue_at;
    memcpy(&head, from, sizeof head);
    const size_t n_top = head.n_top * sizeof *g->top;
    const size_t bytes = sizeof head + n_top + head.n;
    memcpy(g->taken, from, bytes);
    g->queue_at += bytes;
    g->n_queue -= bytes;
    if (!g->n_queue)
        g->queue_at = 0;
    *out = (struct generation_event){
        .kind = GENERATION_TOKEN,
        .id = head.id,
        .text = (const char *)g->taken + sizeof head + n_top,
        .n = head.n,
        .special = head.special,
        .logprob = head.logprob,
        .n_top = head.n_top,
    };
    memcpy(out->top, g->taken + sizeof head, n_top);
}

static void make_end_event(struct generation *g, struct generation_event *out)
{
    *out = (struct generation_event){.kind = GENERATION_END,
                                     .text = "",
                                     .end = g->end,
                                     .stop = g->stop,
                                     .stats = g->stats,
                                     .error = g->error};
    if (g->end == GENERATION_EOG || g->end == GENERATION_LENGTH ||
        g->end == GENERATION_CONTEXT)
        out->text = answer_text_flush(&g->text, &out->n);
}

bool generation_next(struct generation *g, struct generation_event *out)
{
    bool found = true;
    pthread_mutex_lock(&g->lock);
    if (g->progress) {
        *out = (struct generation_event){.kind = GENERATION_PROGRESS,
                                         .n_done = g->progress,
                                         .stats = g->progress_stats,
                                         .text = ""};
        g->progress = 0;
    } else if (g->n_queue) {
        take_record(g, out);
    } else if (g->has_embedding) {
        *out = (struct generation_event){
            .kind = GENERATION_EMBEDDING, .embedding = g->embedding, .text = ""};
        g->has_embedding = false;
    } else if (g->ended && !g->end_taken) {
        make_end_event(g, out);
        g->end_taken = true;
    } else {
        found = false;
    }
    pthread_mutex_unlock(&g->lock);
    return found;
}
