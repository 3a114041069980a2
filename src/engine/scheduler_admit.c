/* scheduler_admit.c - admission by memory: who runs, who waits, who is parked. */
#include <string.h>

#include "base/clock.h"
#include "engine/scheduler_impl.h"

enum { SHARE_TOKENS = 64 }; // of a prompt that another one is reading: worth waiting for

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

void scheduler_keep(struct scheduler *s, struct generation *g, bool state)
{
    if (!g->embed)
        kv_prefix_put(s->prefix, g->history, g->n_done, sequence_kv(g->seq), state);
}

static void release_sequence(struct generation *g)
{
    sequence_close(g->seq);
    g->seq = NULL;
    g->n_done = 0;
}

void scheduler_finish(struct scheduler *s, struct generation *g, enum generation_end end,
                      int stop, const struct error *error)
{
    const uint64_t now = clock_us();
    if (g->state == GENERATION_RUNNING) {
        const bool good = end != GENERATION_FAILED && g->n_done > 0;
        if (good)
            scheduler_keep(s, g, true);
        release_sequence(g);
        generation_list_remove(&s->running, g);
        if (g->ahead) {
            generation_release(g);
            return;
        }
        const double took = (double)(now - g->start_us);
        s->service_us = s->service_us > 0 ? 0.8 * s->service_us + 0.2 * took : took;
    } else {
        generation_list_remove(&s->waiting, g);
        s->n_new -= !g->admitted;
    }
    g->state = GENERATION_ENDED;
    s->stats.cancelled += end == GENERATION_CANCELLED;
    s->stats.expired += end == GENERATION_EXPIRED;
    s->stats.failed += end == GENERATION_FAILED;
    g->stats.n_prompt = g->n_prompt;
    g->stats.n_decoded = g->n_history - g->n_prompt;
    if (!g->start_us)
        g->start_us = now;
    if (!g->first_us)
        g->first_us = now;
    g->stats.queue_us = g->start_us - g->submit_us;
    g->stats.prefill_us = g->first_us - g->start_us;
    g->stats.decode_us = now - g->first_us;
    generation_push_end(g, end, stop, error);
    pthread_cond_broadcast(&s->done);
}

uint64_t scheduler_expire(struct scheduler *s)
{
    const uint64_t now = clock_us();
    uint64_t earliest = 0;
    struct generation *next;
    for (struct generation *g = s->running.first; g; g = next) {
        next = g->next;
        if (atomic_load(&g->cancelled))
            scheduler_finish(s, g, GENERATION_CANCELLED, -1, NULL);
    }
    for (struct generation *g = s->waiting.first; g && s->o.queue_us; g = next) {
        next = g->next;
        const uint64_t deadline = g->submit_us + s->o.queue_us;
        if (g->admitted)
            continue;
        if (deadline <= now)
            scheduler_finish(s, g, GENERATION_EXPIRED, -1, NULL);
        else if (!earliest || deadline < earliest)
            earliest = deadline;
    }
    return earliest;
}

/* ---- parking ---- */

static void park(struct scheduler *s, struct generation *g)
{
    scheduler_keep(s, g, true); // it may still be there when g comes back
    release_sequence(g);
    if (g->embedding) // it begins again
        memset(g->embedding, 0,
               (size_t)model_hparams(s->e->model)->n_embd * sizeof *g->embedding);
    generation_list_remove(&s->running, g);
    g->state = GENERATION_WAITING;
    g->stats.n_parked++;
    s->stats.parked++;
    generation_list_insert(&s->waiting, g);
}

bool scheduler_grow(struct scheduler *s, struct generation *g, int n_token)
{
    struct kv_seq *kv = sequence_kv(g->seq);
    if (kv_pages_for(n_token) <= kv_seq_pages(kv))
        return true;
    const int more = min_int(n_token + s->o.n_reserve, g->n_limit);
    for (;;) {
        if (!kv_prefix_reserve(s->prefix, kv, more, NULL) ||
            !kv_prefix_reserve(s->prefix, kv, n_token, NULL))
            return true;
        struct generation *youngest = s->running.last;
        park(s, youngest);
        if (youngest == g)
            return false;
    }
}

/* ---- admission ---- */

static int common_history(const struct generation *a, const struct generation *b)
{
    const int n = min_int(a->n_prompt, b->n_history);
    int i = 0;
    while (i < n && a->history[i] == b->history[i])
        i++;
    return i;
}

/* Whether somebody is reading what g needs, so that g can share it in a moment. */
static bool is_being_read(const struct scheduler *s, const struct generation *g,
                          int found)
{
    for (const struct generation *r = s->running.first; r; r = r->next) {
        if (r->embed || r->n_done >= r->n_prompt)
            continue;
        const int common = common_history(g, r);
        if (common > r->n_done && common >= found + SHARE_TOKENS)
            return true;
    }
    return false;
}

static enum status start(struct scheduler *s, struct generation *g,
                         const struct kv_hit *hit, int n_token)
{
    struct sequence *seq;
    enum status rc = sequence_open_empty(&seq, s->context, g->n_limit, NULL);
    if (rc)
        return rc;
    if ((rc = kv_prefix_load(s->prefix, hit, sequence_kv(seq), n_token, NULL))) {
        sequence_close(seq);
        return rc;
    }
    sequence_continue(seq, hit->pos);
    g->seq = seq;
    g->n_done = hit->pos;
    return STATUS_OK;
}

static void admitted(struct scheduler *s, struct generation *g, const struct kv_hit *hit)
{
    generation_list_remove(&s->waiting, g);
    generation_list_insert(&s->running, g);
    g->state = GENERATION_RUNNING;
    if (!g->admitted) {
        s->n_new--;
        g->admitted = true;
        g->start_us = clock_us();
        g->stats.n_cached = hit->pos;
        s->stats.cached_tokens += (uint64_t)hit->pos;
    }
    /* Known to the tree, or run before it was parked, and to be run again. */
    const int known = hit->common > g->n_known ? hit->common : g->n_known;
    if (known > hit->pos)
        g->stats.n_again += min_int(known, g->n_history) - hit->pos;
}

/* false: it must wait, and those behind it too. */
static bool try_start(struct scheduler *s, struct generation *g)
{
    const struct kv_hit none = {0};
    const struct kv_hit hit =
        g->embed ? none
                 : kv_prefix_find(s->prefix, g->history, g->n_history, g->n_history - 1);
    if (!g->embed && is_being_read(s, g, hit.pos))
        return true;
    const int most = min_int(g->n_history + s->o.n_reserve, g->n_limit);
    if (!start(s, g, &hit, most)) {
        admitted(s, g, &hit);
        return true;
    }
    if (s->running.n)
        return false;
    /* Alone it fits: nothing else holds pages but the tree. */
    kv_prefix_clear(s->prefix);
    if (!start(s, g, &none, most))
        admitted(s, g, &none);
    return true;
}

/* ---- reading ahead ---- */

enum { AHEAD_LEAST = 64 }; // tokens that are worth it

/* Prompts that may come give way to those that have. */
static void stop_ahead(struct scheduler *s)
{
    struct generation *next;
    for (struct generation *g = s->running.first; g; g = next) {
        next = g->next;
        if (g->ahead)
            scheduler_finish(s, g, GENERATION_CANCELLED, -1, NULL);
    }
}

static void start_ahead(struct scheduler *s)
{
    while (s->ahead.n && !s->running.n) {
        struct generation *g = s->ahead.last; // the newest is the likeliest
        generation_list_remove(&s->ahead, g);
        const struct kv_hit hit =
            kv_prefix_find(s->prefix, g->history, g->n_history, g->n_history - 1);
        if (g->n_history - hit.pos < AHEAD_LEAST || start(s, g, &hit, g->n_history)) {
            generation_release(g);
            continue;
        }
        generation_list_insert(&s->running, g);
        g->state = GENERATION_RUNNING;
    }
}

void scheduler_admit(struct scheduler *s)
{
    if (s->waiting.n)
        stop_ahead(s);
    struct generation *next;
    for (struct generation *g = s->waiting.first; g; g = next) {
        next = g->next;
        if (s->running.n == s->o.context.n_seq || !try_start(s, g))
            break;
    }
    if (!s->waiting.n)
        start_ahead(s);
}
