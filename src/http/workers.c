/* workers.c - threads that run the steps of exchanges. */
#include "http/internal.h"

#include <poll.h>

#include "base/mem.h"

void http_workers_push(struct http_exchange *x)
{
    struct http_server *s = x->server;
    x->step = STEP_QUEUED;
    x->queue_next = NULL;
    if (s->queue_tail)
        s->queue_tail->queue_next = x;
    else
        s->queue_head = x;
    s->queue_tail = x;
    pthread_cond_signal(&s->work);
}

static void wake_locked(struct http_exchange *x)
{
    if (x->step == STEP_IDLE)
        http_workers_push(x);
    else if (x->step == STEP_RUNNING)
        x->step = STEP_AGAIN;
}

void http_wake(struct http_exchange *x)
{
    pthread_mutex_lock(&x->server->lock);
    wake_locked(x);
    pthread_mutex_unlock(&x->server->lock);
}

void http_wake_at(struct http_exchange *x, uint64_t at_us)
{
    atomic_store(&x->wake_us, at_us);
}

void http_server_wake_all(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    for (struct http_exchange *x = s->exchanges; x; x = x->next)
        wake_locked(x);
    pthread_mutex_unlock(&s->lock);
}

static struct http_exchange *take_work(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    while (!s->queue_head && !s->ending)
        pthread_cond_wait(&s->work, &s->lock);
    struct http_exchange *x = s->queue_head;
    if (x) {
        s->queue_head = x->queue_next;
        if (!s->queue_head)
            s->queue_tail = NULL;
        x->step = STEP_RUNNING;
    }
    pthread_mutex_unlock(&s->lock);
    return x;
}

static void run_step(struct http_server *s, struct http_exchange *x)
{
    s->o.step(s->o.ctx, x);
    pthread_mutex_lock(&x->lock);
    const bool answered = x->answered;
    pthread_mutex_unlock(&x->lock);
    pthread_mutex_lock(&s->lock);
    if (answered)
        x->step = STEP_DONE;
    else if (x->step == STEP_AGAIN)
        http_workers_push(x);
    else
        x->step = STEP_IDLE;
    pthread_mutex_unlock(&s->lock);
    if (answered)
        http_exchange_drop(x);
}

static void *work(void *ctx)
{
    struct http_server *s = ctx;
    for (struct http_exchange *x; (x = take_work(s));)
        run_step(s, x);
    pthread_mutex_lock(&s->lock);
    s->n_alive--;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void http_step_here(struct http_exchange *x)
{
    struct http_server *s = x->server;
    pthread_mutex_lock(&s->lock);
    const bool here = x->step == STEP_IDLE && !s->ending;
    if (here)
        x->step = STEP_RUNNING;
    else if (x->step == STEP_RUNNING)
        x->step = STEP_AGAIN;
    pthread_mutex_unlock(&s->lock);
    if (here)
        run_step(s, x);
}

enum status http_workers_open(struct http_server *s, struct error *err)
{
    s->workers = mem_array((size_t)s->o.n_worker, sizeof *s->workers);
    if (!s->workers)
        return fail(err, STATUS_NO_MEMORY, "no memory for %d workers", s->o.n_worker);
    for (; s->n_worker < s->o.n_worker; s->n_worker++, s->n_alive++)
        if (pthread_create(&s->workers[s->n_worker], NULL, work, s))
            return fail(err, STATUS_NO_MEMORY, "cannot start worker %d", s->n_worker);
    return STATUS_OK;
}

void http_workers_close(struct http_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_broadcast(&s->work);
    while (s->n_alive && s->o.turn) { // they may wait for what it does
        pthread_mutex_unlock(&s->lock);
        s->o.turn(s->o.ctx);
        poll(NULL, 0, 1);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->n_worker; i++)
        pthread_join(s->workers[i], NULL);
    mem_free(s->workers);
    s->workers = NULL;
    s->n_worker = 0;
}
