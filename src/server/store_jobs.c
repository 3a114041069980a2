#include "server/store_jobs.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"

enum {
    SLOW_BYTES = 64 << 10,  // that wait for a client: passing lines are dropped
    WATCH_BYTES = 16 << 20, // of all lines for one client
    THREADS_MAX = 16,
};

/* Uploads wait for their clients most of the time; more than these find no place. */
static const struct {
    int n_thread, n_wait;
} places[STORE_WORKS] = {
    [STORE_UPLOAD] = {THREADS_MAX, 0},
    [STORE_PULL] = {4, 32},
    [STORE_CHANGE] = {4, 64},
};

struct store_watch {
    struct store_job *job;
    struct store_watch *next; // of the job
    struct http_exchange *x;
    struct buf lines;
};

/* All but `stop` under the lock of the jobs. */
struct store_job {
    struct store_jobs *jobs;
    struct store_job *next; // of the live ones of its kind, in the order they came
    struct store_task task;
    char *key;
    struct store_watch *watches;
    bool running, over, poked;
    atomic_bool stop;
    pthread_cond_t poke;
    struct error err;
};

struct works {
    struct store_jobs *jobs;
    struct store_job *live;
    int n_live;
    pthread_t threads[THREADS_MAX];
    int n_thread, n_idle;
    bool stopping;
    pthread_cond_t more;
};

struct store_jobs {
    pthread_mutex_t lock;
    struct works works[STORE_WORKS];
    bool ending;
};

/* Nobody knows it any more. */
static void job_free(struct store_job *j)
{
    j->task.release(j->task.data);
    pthread_cond_destroy(&j->poke);
    mem_free(j->key);
    mem_free(j);
}

static void unlink_job(struct works *w, struct store_job *j)
{
    struct store_job **at = &w->live;
    while (*at && *at != j)
        at = &(*at)->next;
    if (*at) {
        *at = j->next;
        w->n_live--;
    }
}

static void stop_job(struct store_job *j)
{
    atomic_store(&j->stop, true);
    pthread_cond_signal(&j->poke);
}

/* ---- threads ---- */

static struct store_job *next_job(struct works *w)
{
    struct store_job *j = w->live;
    while (j && j->running)
        j = j->next;
    return j;
}

static void run_job(struct works *w, struct store_job *j)
{
    struct store_jobs *s = w->jobs;
    struct error err = {.status = STATUS_OK};
    j->running = true;
    pthread_mutex_unlock(&s->lock);
    enum status st = STATUS_OK;
    if (store_job_stopped(j))
        st = fail(&err, STATUS_IO, "stopped");
    else
        st = j->task.run(j, j->task.data, &err);
    err.status = st;
    pthread_mutex_lock(&s->lock);
    j->err = err;
    j->over = true;
    unlink_job(w, j);
    for (struct store_watch *v = j->watches; v; v = v->next)
        http_wake(v->x);
    if (!j->watches)
        job_free(j);
}

static void *run_works(void *ctx)
{
    struct works *w = ctx;
    struct store_jobs *s = w->jobs;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        struct store_job *j = next_job(w);
        if (j) {
            run_job(w, j);
        } else if (s->ending) {
            break;
        } else {
            w->n_idle++;
            pthread_cond_wait(&w->more, &s->lock);
            w->n_idle--;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int n_waiting(const struct works *w)
{
    int n = 0;
    for (const struct store_job *j = w->live; j; j = j->next)
        n += !j->running;
    return n;
}

/* A thread for the jobs that wait, if there is none for them. */
static enum status add_thread(struct works *w, enum store_work work_kind,
                              struct error *err)
{
    if (n_waiting(w) <= w->n_idle || w->n_thread == places[work_kind].n_thread)
        return STATUS_OK;
    if (!pthread_create(&w->threads[w->n_thread], NULL, run_works, w))
        w->n_thread++;
    else if (!w->n_thread)
        return fail(err, STATUS_NO_MEMORY, "cannot start a thread for the store");
    return STATUS_OK;
}

/* ---- opening, ending ---- */

enum status store_jobs_open(struct store_jobs **out, struct error *err)
{
    struct store_jobs *s = mem_array(1, sizeof *s);
    *out = s;
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < STORE_WORKS; i++) {
        s->works[i].jobs = s;
        pthread_cond_init(&s->works[i].more, NULL);
    }
    return STATUS_OK;
}

void store_jobs_stop(struct store_jobs *s, enum store_work kind)
{
    struct works *w = &s->works[kind];
    pthread_mutex_lock(&s->lock);
    w->stopping = true;
    for (struct store_job *j = w->live; j; j = j->next)
        stop_job(j);
    pthread_mutex_unlock(&s->lock);
}

void store_jobs_end(struct store_jobs *s)
{
    if (!s)
        return;
    for (int i = 0; i < STORE_WORKS; i++)
        store_jobs_stop(s, (enum store_work)i);
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    for (int i = 0; i < STORE_WORKS; i++)
        pthread_cond_broadcast(&s->works[i].more);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < STORE_WORKS; i++) {
        for (int k = 0; k < s->works[i].n_thread; k++)
            pthread_join(s->works[i].threads[k], NULL);
        s->works[i].n_thread = 0;
    }
}

void store_jobs_close(struct store_jobs *s)
{
    if (!s)
        return;
    for (int i = 0; i < STORE_WORKS; i++)
        pthread_cond_destroy(&s->works[i].more);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static bool has_no_place(const struct works *w, enum store_work kind)
{
    return w->n_live >= places[kind].n_thread + places[kind].n_wait;
}

bool store_jobs_full(struct store_jobs *s, enum store_work kind)
{
    pthread_mutex_lock(&s->lock);
    const bool full = has_no_place(&s->works[kind], kind);
    pthread_mutex_unlock(&s->lock);
    return full;
}

/* ---- starting, watching ---- */

static struct store_job *find_job(struct works *w, const char *key)
{
    struct store_job *j = key ? w->live : NULL;
    while (j && (!j->key || strcmp(j->key, key) || atomic_load(&j->stop)))
        j = j->next;
    return j;
}

static struct store_job *job_open(struct store_jobs *s, const struct store_task *t)
{
    struct store_job *j = mem_array(1, sizeof *j);
    if (!j)
        return NULL;
    j->jobs = s;
    j->task = *t;
    j->key = t->key ? mem_strdup(t->key) : NULL;
    if (t->key && !j->key) {
        mem_free(j);
        return NULL;
    }
    pthread_cond_init(&j->poke, NULL);
    return j;
}

/* With the lock: the last of the live ones. */
static enum status enter_job(struct store_jobs *s, struct store_job *j, struct error *err)
{
    struct works *w = &s->works[j->task.work];
    struct store_job **at = &w->live;
    if (w->stopping || s->ending)
        return fail(err, STATUS_FULL, "the server is about to end");
    if (has_no_place(w, j->task.work))
        return fail(err, STATUS_FULL, "too many wait for the store");
    while (*at)
        at = &(*at)->next;
    *at = j;
    w->n_live++;
    const enum status st = add_thread(w, j->task.work, err);
    if (st)
        unlink_job(w, j);
    else
        pthread_cond_signal(&w->more);
    return st;
}

enum status store_jobs_start(struct store_jobs *s, struct store_watch **out,
                             const struct store_task *t, struct http_exchange *x,
                             struct error *err)
{
    struct store_watch *w = mem_array(1, sizeof *w);
    struct store_job *j = NULL;
    enum status st = STATUS_OK;
    *out = NULL;
    if (w)
        buf_init(&w->lines, WATCH_BYTES);
    pthread_mutex_lock(&s->lock);
    if (w)
        j = find_job(&s->works[t->work], t->key);
    const bool shared = j;
    if (w && !shared && (j = job_open(s, t)) && (st = enter_job(s, j, err))) {
        pthread_cond_destroy(&j->poke);
        mem_free(j->key);
        mem_free(j);
        j = NULL;
    }
    if (j) {
        *w =
            (struct store_watch){.job = j, .next = j->watches, .x = x, .lines = w->lines};
        j->watches = w;
    }
    pthread_mutex_unlock(&s->lock);
    if (!j || shared)
        t->release(t->data);
    if (!j) {
        mem_free(w);
        return st ? st : fail(err, STATUS_NO_MEMORY, "no memory for the store's work");
    }
    *out = w;
    return STATUS_OK;
}

bool store_watch_take(struct store_watch *w, struct buf *lines, struct error *err)
{
    struct store_jobs *s = w->job->jobs;
    pthread_mutex_lock(&s->lock);
    if (w->lines.len)
        buf_append(lines, w->lines.data, w->lines.len);
    buf_clear(&w->lines);
    const bool over = w->job->over;
    if (over)
        *err = w->job->err;
    pthread_mutex_unlock(&s->lock);
    return over;
}

void store_watch_poke(struct store_watch *w)
{
    struct store_jobs *s = w->job->jobs;
    pthread_mutex_lock(&s->lock);
    w->job->poked = true;
    pthread_cond_signal(&w->job->poke);
    pthread_mutex_unlock(&s->lock);
}

void store_watch_stop(struct store_watch *w)
{
    struct store_jobs *s = w->job->jobs;
    pthread_mutex_lock(&s->lock);
    stop_job(w->job);
    pthread_mutex_unlock(&s->lock);
}

void store_watch_close(struct store_watch *w)
{
    if (!w)
        return;
    struct store_job *j = w->job;
    struct store_jobs *s = j->jobs;
    bool unused = false;
    pthread_mutex_lock(&s->lock);
    struct store_watch **at = &j->watches;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    if (!j->watches) {
        stop_job(j);
        if (!j->running) // nobody will begin it
            unlink_job(&s->works[j->task.work], j);
        unused = j->over || !j->running;
    }
    pthread_mutex_unlock(&s->lock);
    buf_release(&w->lines);
    mem_free(w);
    if (unused)
        job_free(j);
}

/* ---- for the job itself ---- */

void store_job_say(struct store_job *j, const struct buf *line, bool passing)
{
    pthread_mutex_lock(&j->jobs->lock);
    for (struct store_watch *w = j->watches; w; w = w->next) {
        if (passing && w->lines.len > SLOW_BYTES)
            continue;
        buf_append(&w->lines, line->data, line->len);
        buf_append(&w->lines, "\n", 1);
        http_wake(w->x);
    }
    pthread_mutex_unlock(&j->jobs->lock);
}

bool store_job_stopped(const struct store_job *j)
{
    return atomic_load(&j->stop);
}

void store_job_wait(struct store_job *j)
{
    pthread_mutex_lock(&j->jobs->lock);
    while (!j->poked && !store_job_stopped(j))
        pthread_cond_wait(&j->poke, &j->jobs->lock);
    j->poked = false;
    pthread_mutex_unlock(&j->jobs->lock);
}
