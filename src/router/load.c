/* load.c - what backends say of their load, for the choice between two of them.
 *
 * Asked is GET /metrics, else GET /slots, every 5 seconds while the router has requests.
 * What comes is a hint: an answer that is late, wrong or missing changes nothing else
 * than that the router's own count is all there is. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "router/internal.h"
#include "router/load_report.h"

enum {
    LOAD_EVERY_US = 5000000,
    LOAD_ACTIVE_US = 60000000, // behind the last request
    LOAD_LOOK_US = 250000,
    LOAD_WHOLE_US = 10000000, // of one answer, however it drips
    LOAD_BYTES = 4 << 20,
};

struct load_poll {
    struct http_transfer *transfer;
    struct buf body;
    uint64_t asked_us;
    int n_own; // of the router when it asked
};

static const char *const load_paths[] = {
    [LOAD_METRICS] = "/metrics",
    [LOAD_SLOTS] = "/slots",
};

const char *load_path(const struct backend *b)
{
    return b->reports ? load_paths[b->source] : NULL;
}

void load_forget(struct backend *b)
{
    b->source = LOAD_METRICS;
    b->reports = b->load_noted = false;
}

/* ---- asking ---- */

/* Those whose software has such a thing; with the lock. */
static bool may_report(const struct backend *b)
{
    return b->known && b->source != LOAD_NOWHERE && b->index != POLICY_NONE &&
           (!strcmp(b->software, "turbine") || !strcmp(b->software, "llama-server") ||
            !strcmp(b->software, "vllm"));
}

/* A llama-server that sleeps would be woken by it, and kept awake: it is asked only
 * while it has requests of ours anyway. */
static bool load_is_due(const struct router *r, const struct backend *b, bool active,
                        uint64_t now_us, int *n_own)
{
    struct policy_view v;
    if (b->poll || now_us < b->load_us || !may_report(b) ||
        !policy_see(r->policy, b->index, now_us, &v))
        return false;
    *n_own = v.in_flight;
    if (!strcmp(b->software, "llama-server"))
        active = v.idle_us < LOAD_ACTIVE_US;
    return active && (v.health == POLICY_HEALTH_UP || v.health == POLICY_HEALTH_TRIAL ||
                      v.health == POLICY_HEALTH_SLOW_START);
}

static void ask_load(struct router *r, struct backend *b, int n_own, uint64_t now_us)
{
    b->load_us = now_us + LOAD_EVERY_US;
    b->poll = mem_array(1, sizeof *b->poll);
    if (!b->poll)
        return;
    b->poll->asked_us = now_us;
    b->poll->n_own = n_own;
    buf_init(&b->poll->body, LOAD_BYTES);
    const struct probe_question q = {.method = "GET", .path = load_paths[b->source]};
    b->poll->transfer = probe_ask(r, b, &q);
    if (!b->poll->transfer)
        load_close(b);
}

static bool is_active(const struct router *r, uint64_t now_us)
{
    struct policy_view v;
    for (int i = 0; i < r->n_backend; i++)
        if (policy_see(r->policy, i, now_us, &v) && v.idle_us < LOAD_ACTIVE_US)
            return true;
    return false;
}

/* ---- reading ---- */

static void note_load(struct router *r, struct backend *b, const char *why)
{
    if (!b->load_noted)
        router_log(r, "load", "%s: its %s has %s; its load is what the router has there",
                   b->shown, load_paths[b->source], why);
    b->load_noted = true;
}

static void take_report(struct router *r, struct backend *b,
                        const struct load_report *report)
{
    pthread_mutex_lock(&r->lock);
    b->reports = true;
    if (b->index != POLICY_NONE)
        policy_load(r->policy, b->index, report->n_running, report->n_waiting,
                    b->poll->n_own, clock_us());
    pthread_mutex_unlock(&r->lock);
}

/* One that never said anything there is asked elsewhere. */
static void next_source(struct router *r, struct backend *b)
{
    pthread_mutex_lock(&r->lock);
    if (!b->reports) {
        b->source++;
        b->load_us = 0;
    }
    pthread_mutex_unlock(&r->lock);
}

static void read_load(struct router *r, struct backend *b, bool ok)
{
    const struct buf *body = &b->poll->body;
    const char *text = body->data ? body->data : "", *why = "";
    struct load_report report;
    const enum load_found found =
        !ok                         ? LOAD_ABSENT
        : b->source == LOAD_METRICS ? load_report_metrics(&report, text, body->len, &why)
                                    : load_report_slots(&report, text, body->len, &why);
    if (found == LOAD_FOUND) {
        take_report(r, b, &report);
        return;
    }
    if (found == LOAD_WRONG)
        note_load(r, b, why);
    next_source(r, b);
}

static void take_load(struct router *r, struct backend *b)
{
    struct http_transfer_state s;
    const bool over = http_transfer_collect(b->poll->transfer, &b->poll->body, &s);
    if (b->poll->body.failed)
        note_load(r, b, "too many bytes");
    else if (clock_us() - b->poll->asked_us > LOAD_WHOLE_US)
        note_load(r, b, "no end");
    else if (!over)
        return;
    // Nothing is learned from one that did not answer.
    if (b->poll->body.failed || s.end == HTTP_TRANSFER_DONE)
        read_load(r, b, s.status == 200 && !b->poll->body.failed);
    load_close(b);
}

void load_tick(struct router *r)
{
    const uint64_t now = clock_us();
    for (int i = 0; i < r->n_backend; i++)
        if (r->backends[i] && r->backends[i]->poll)
            take_load(r, r->backends[i]);
    if (now < r->load_look_us)
        return;
    r->load_look_us = now + LOAD_LOOK_US;
    pthread_mutex_lock(&r->lock);
    const bool active = is_active(r, now);
    pthread_mutex_unlock(&r->lock);
    for (int i = 0; i < r->n_backend; i++) {
        int n_own = 0;
        pthread_mutex_lock(&r->lock);
        const bool due =
            r->backends[i] && load_is_due(r, r->backends[i], active, now, &n_own);
        pthread_mutex_unlock(&r->lock);
        if (due)
            ask_load(r, r->backends[i], n_own, now);
    }
}

void load_close(struct backend *b)
{
    if (!b->poll)
        return;
    http_transfer_close(b->poll->transfer);
    buf_release(&b->poll->body);
    mem_free(b->poll);
    b->poll = NULL;
}
