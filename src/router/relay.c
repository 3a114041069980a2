/* relay.c - a request from its body to its answer: which backend, and what becomes of
 * attempts. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "router/internal.h"

/* ---- waiting in the policy's queue: with the lock ---- */

static void enter_waiting(struct relay *c, uint32_t ticket)
{
    struct router *r = c->router;
    c->ticket = ticket;
    c->waits = true;
    c->prev_waiting = NULL;
    c->next_waiting = r->waiting;
    if (c->next_waiting)
        c->next_waiting->prev_waiting = c;
    r->waiting = c;
}

static void leave_waiting(struct relay *c)
{
    c->waits = false;
    if (c->next_waiting)
        c->next_waiting->prev_waiting = c->prev_waiting;
    if (c->prev_waiting)
        c->prev_waiting->next_waiting = c->next_waiting;
    else
        c->router->waiting = c->next_waiting;
}

/* Strings of a decision are good until a reload. */
static void keep_decision(struct relay *c, const struct policy_decision *d)
{
    struct router *r = c->router;
    c->decision = *d;
    c->chosen = NULL;
    if (d->verdict == POLICY_SEND) {
        snprintf(c->served, sizeof c->served, "%s", d->model ? d->model : c->model);
        c->chosen = r->backends[d->backend];
        c->ref = c->chosen->ref;
        c->conf = c->chosen->c;
        c->ref->n_ref++;
        c->has_flight = true;
    } else if (d->verdict == POLICY_WAIT && d->start != POLICY_NONE &&
               r->backends[d->start]) {
        r->backends[d->start]->wants_start = true;
    }
}

void fleet_wake(struct router *r)
{
    struct policy_decision d;
    pthread_mutex_lock(&r->lock);
    while (policy_wake(r->policy, clock_us(), id_random(), &d)) {
        struct relay *c = r->waiting;
        while (c && c->ticket != d.ticket)
            c = c->next_waiting;
        if (!c)
            continue;
        leave_waiting(c);
        keep_decision(c, &d);
        c->woken = true;
        http_wake(c->x);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- deciding ---- */

static int whole_seconds(uint64_t us)
{
    return us > 3600000000u ? 3600 : (int)((us + 999999) / 1000000);
}

void relay_answer_error(struct relay *c)
{
    char seconds[16];
    c->done = true;
    if (!c->last_body.len) {
        relay_error(c, &c->last_error);
        return;
    }
    snprintf(seconds, sizeof seconds, "%d", c->last_error.retry_after_s);
    if (c->last_error.retry_after_s > 0)
        http_add_header(c->x, "Retry-After", seconds);
    relay_reply(c, c->last_status, "application/json", &c->last_body);
}

static void follow_refusal(struct relay *c)
{
    const struct policy_decision *d = &c->decision;
    struct api_error e = {.kind = API_ERROR_BUSY,
                          .retry_after_s = whole_seconds(d->retry_us)};
    if (c->has_error && d->refusal != POLICY_REFUSED_CONTEXT) {
        relay_answer_error(c); // says more than that there is nobody else
        return;
    }
    if (d->refusal == POLICY_REFUSED_CONTEXT) {
        e.kind = API_ERROR_TOO_LONG;
        e.n_prompt = d->n_prompt;
        e.n_ctx = d->n_ctx;
    } else if (d->refusal == POLICY_REFUSED_MODEL) {
        e.kind = API_ERROR_NO_MODEL;
    }
    const bool own = d->refusal == POLICY_REFUSED_TRIED && !c->n_attempt;
    if (own) // nobody was asked: they speak other APIs
        e.kind = API_ERROR_UNSUPPORTED;
    if (own)
        snprintf(e.message, sizeof e.message,
                 "%.100s is for backends that speak %s's API, and none that is well has "
                 "the model '%.200s'",
                 c->path, c->dialect->name, c->asked_model);
    else if (e.kind == API_ERROR_NO_MODEL)
        snprintf(e.message, sizeof e.message, "no backend has the model '%.200s'",
                 c->asked_model);
    else
        snprintf(e.message, sizeof e.message, "%s", policy_refusal_text(d->refusal));
    c->last_error = e;
    c->has_error = true;
    c->done = true;
    relay_error(c, &e);
}

static void name_fallback(struct relay *c)
{
    const enum policy_fallback f = c->decision.fallback;
    if (f == POLICY_FALLBACK_RETRY || (c->n_attempt && f == POLICY_FALLBACK_NONE))
        snprintf(c->fallback, sizeof c->fallback, "retry-%s",
                 policy_failure_name(c->last_failure));
    else if (f != POLICY_FALLBACK_NONE)
        snprintf(c->fallback, sizeof c->fallback, "%s", policy_fallback_name(f));
}

static void follow_decision(struct relay *c)
{
    switch (c->decision.verdict) {
    case POLICY_SEND:
        name_fallback(c);
        c->backend = c->chosen;
        c->phase = RELAY_ASKED;
        c->n_attempt++;
        buf_clear(&c->last_body); // of an earlier attempt
        relay_start(c);
        return;
    case POLICY_WAIT: // a woken request is not told to wait again
        return;
    case POLICY_REFUSE:
        follow_refusal(c);
        return;
    }
}

static void decide(struct relay *c)
{
    struct router *r = c->router;
    struct policy_decision d;
    if (count_begin(c, false))
        return;
    pthread_mutex_lock(&r->lock);
    policy_route(r->policy, &c->ask, clock_us(), id_random(), &d);
    keep_decision(c, &d);
    if (d.verdict == POLICY_WAIT) {
        // From here on fleet_wake may put another decision into c.
        c->phase = RELAY_QUEUED;
        enter_waiting(c, d.ticket);
    }
    pthread_mutex_unlock(&r->lock);
    if (d.verdict == POLICY_SEND || (d.verdict == POLICY_REFUSE && !count_begin(c, true)))
        follow_decision(c);
}

/* ---- ends of attempts ---- */

void relay_close_attempt(struct relay *c)
{
    http_transfer_close(c->transfer);
    c->transfer = NULL;
    translate_close(c);
    buf_release(&c->sent);
    buf_release(&c->in);
    buf_init(&c->sent, ROUTER_ANSWER_MAX);
    buf_init(&c->in, ROUTER_ANSWER_MAX);
    c->first_byte = c->first_text = c->is_stream = c->held_over = c->end_set = false;
    c->backend_status = 0;
    if (!c->ref)
        return;
    pthread_mutex_lock(&c->router->lock);
    fleet_drop_ref(c->ref);
    pthread_mutex_unlock(&c->router->lock);
    c->ref = NULL;
}

void relay_attempt_done(struct relay *c)
{
    struct router *r = c->router;
    const struct policy_usage u = {c->has_usage ? c->usage.n_prompt : -1,
                                   c->has_usage ? c->usage.n_cached : -1,
                                   c->has_usage ? c->usage.n_decoded : -1};
    pthread_mutex_lock(&r->lock);
    if (c->has_flight)
        policy_finished(r->policy, c->decision.flight, &u, clock_us());
    c->has_flight = false;
    if (c->has_usage && c->route->kind == ROUTE_GENERATE)
        token_estimate_learn(&r->estimate, &c->text, c->usage.n_prompt);
    pthread_mutex_unlock(&r->lock);
    relay_close_attempt(c);
    fleet_wake(r);
}

static void drop_flight(struct relay *c, enum policy_failure why, uint64_t busy_us)
{
    struct router *r = c->router;
    pthread_mutex_lock(&r->lock);
    if (c->has_flight)
        policy_failed(r->policy, c->decision.flight, why, busy_us, clock_us());
    c->has_flight = false;
    pthread_mutex_unlock(&r->lock);
}

/* A stream that has begun ends with an error in its own words. */
static void break_stream(struct relay *c, const struct api_error *e, bool at_boundary)
{
    struct buf b;
    buf_init(&b, ROUTER_ERROR_MAX);
    upstream_print_stream_error(&b, c->route->op, e, c->request_id, at_boundary);
    c->done = true;
    http_stream_write(c->x, b.data, b.len);
    buf_release(&b);
    pthread_mutex_lock(&c->router->lock);
    c->router->n_stream_error++;
    pthread_mutex_unlock(&c->router->lock);
    relay_account(c, 200);
    http_stream_end(c->x);
}

void relay_attempt_failed(struct relay *c, enum policy_failure why,
                          const struct api_error *e, uint64_t busy_us)
{
    const bool at_boundary = !c->held_over;
    const struct api_error kept = *e;
    if (c->ask.n_tried < POLICY_TRIED_MAX)
        c->ask.tried[c->ask.n_tried++] = c->decision.backend;
    c->last_error = kept;
    c->has_error = true;
    c->last_failure = why;
    drop_flight(c, why, busy_us);
    relay_close_attempt(c);
    router_log(c->router, "attempt", "%s %s: %s: %s", c->request_id, c->backend->shown,
               policy_failure_name(why), kept.message);
    if (c->phase == RELAY_STREAM) {
        break_stream(c, &kept, at_boundary);
    } else if (c->n_attempt >= ROUTER_ATTEMPTS || atomic_load(&c->router->ended)) {
        relay_answer_error(c);
    } else {
        c->ask.attempt++;
        decide(c);
    }
    fleet_wake(c->router);
}

void relay_try_elsewhere(struct relay *c, const struct api_error *e)
{
    const struct policy_usage none = {-1, -1, -1};
    struct router *r = c->router;
    if (c->ask.n_tried < POLICY_TRIED_MAX)
        c->ask.tried[c->ask.n_tried++] = c->decision.backend;
    c->last_error = *e;
    c->has_error = true;
    c->last_failure = POLICY_FAILURE_STATUS;
    pthread_mutex_lock(&r->lock);
    if (c->has_flight)
        policy_finished(r->policy, c->decision.flight, &none, clock_us());
    c->has_flight = false;
    pthread_mutex_unlock(&r->lock);
    relay_close_attempt(c);
    if (c->n_attempt >= ROUTER_ATTEMPTS) {
        relay_answer_error(c);
        return;
    }
    if (e->kind == API_ERROR_TOO_LONG && e->n_prompt > 0) {
        c->ask.n_prompt = e->n_prompt;
        c->ask.exact = true;
    }
    c->ask.attempt++;
    decide(c);
    fleet_wake(r);
}

void relay_abandon(struct relay *c)
{
    struct router *r = c->router;
    pthread_mutex_lock(&r->lock);
    if (c->waits) {
        policy_leave_queue(r->policy, c->ticket);
        leave_waiting(c);
    }
    pthread_mutex_unlock(&r->lock);
    drop_flight(c, POLICY_FAILURE_CLIENT, 0);
    relay_close_attempt(c);
}

/* ---- steps ---- */

static void end_for_gone(struct relay *c)
{
    const bool streams = c->phase == RELAY_STREAM;
    if (relay_finish_said(c)) // clients close behind the end mark
        return;
    relay_abandon(c);
    c->done = true;
    relay_account(c, 499);
    if (streams)
        http_stream_end(c->x);
    else
        http_reply_static(c->x, 499, "text/plain", "", 0);
    fleet_wake(c->router);
}

static void end_for_drain(struct relay *c)
{
    const bool streams = c->phase == RELAY_STREAM;
    const bool at_boundary = !c->held_over;
    struct api_error e;
    (void)!api_fail(&e, STATUS_FULL, API_ERROR_DRAINING, NULL,
                    "the router is about to end");
    relay_abandon(c);
    c->done = true;
    if (streams)
        break_stream(c, &e, at_boundary);
    else
        relay_error(c, &e);
}

void relay_step(struct relay *c)
{
    struct router *r = c->router;
    if (c->done)
        return;
    if (c->route->kind == ROUTE_OWN) {
        c->done = true;
        c->route->handle(c);
        return;
    }
    if (http_is_gone(c->x)) {
        end_for_gone(c);
        return;
    }
    if (atomic_load(&r->ended)) {
        end_for_drain(c);
        return;
    }
    if (c->phase == RELAY_NEW) {
        if (relay_read(c))
            decide(c);
        else
            c->done = true;
        return;
    }
    if (c->phase == RELAY_QUEUED) {
        pthread_mutex_lock(&r->lock);
        const bool woken = c->woken;
        c->woken = false;
        pthread_mutex_unlock(&r->lock);
        if (woken)
            follow_decision(c);
        return;
    }
    if (c->phase != RELAY_COUNTING)
        relay_pump(c);
    else if (count_step(c))
        decide(c);
}
