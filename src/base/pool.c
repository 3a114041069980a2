#define _GNU_SOURCE
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"

/* Some 100 us of pauses on a 3 GHz core: longer than the gap between two operators of
 * a layer, short enough that an idle engine or a busy machine gets the CPU back. */
enum { SPIN_MAX = 4000, THREAD_MAX = 256 };

struct pool {
    int n_thread;
    pool_fn *fn;
    void *ctx;
    int n_item;
    bool stop;
    alignas(64) atomic_int next;     // next item to take
    alignas(64) atomic_int working;  // helpers that have not finished this run
    alignas(64) atomic_uint round;   // number of runs started
    alignas(64) atomic_int sleepers; // threads in pthread_cond_wait
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    pthread_t thread[THREAD_MAX];
    struct worker {
        struct pool *pool;
        int index;
    } worker[THREAD_MAX];
};

static void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void take_items(struct pool *p, int thread)
{
    for (;;) {
        const int item = atomic_fetch_add_explicit(&p->next, 1, memory_order_relaxed);
        if (item >= p->n_item)
            return;
        p->fn(p->ctx, item, thread);
    }
}

static void wait_round(struct pool *p, unsigned seen)
{
    for (int i = 0; i < SPIN_MAX; i++) {
        if (atomic_load_explicit(&p->round, memory_order_acquire) != seen)
            return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (atomic_load(&p->round) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct pool *p = w->pool;
    for (unsigned seen = 0;; seen++) {
        wait_round(p, seen);
        if (p->stop)
            return NULL;
        take_items(p, w->index);
        if (atomic_fetch_sub_explicit(&p->working, 1, memory_order_acq_rel) == 1) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void start_round(struct pool *p)
{
    atomic_store(&p->working, p->n_thread - 1);
    atomic_fetch_add(&p->round, 1);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

static void wait_helpers(struct pool *p)
{
    for (int i = 0; i < SPIN_MAX; i++) {
        if (atomic_load_explicit(&p->working, memory_order_acquire) == 0)
            return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&p->working) > 0)
        pthread_cond_wait(&p->done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, int n_item, pool_fn *fn, void *ctx)
{
    if (p->n_thread == 1 || n_item == 1) {
        for (int i = 0; i < n_item; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    p->n_item = n_item;
    atomic_store(&p->next, 0);
    start_round(p);
    take_items(p, 0);
    wait_helpers(p);
}

enum status pool_open(struct pool **out, int n_thread, struct error *err)
{
    if (n_thread < 1 || n_thread > THREAD_MAX)
        return fail(err, STATUS_BAD_ARG, "threads: %d is not between 1 and %d", n_thread,
                    THREAD_MAX);
    /* Cache-line members: allocated as pages, which are aligned enough. */
    struct pool *p = mem_pages(sizeof *p);
    if (!p)
        return fail(err, STATUS_NO_MEMORY, "no memory for a thread pool");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->done, NULL);
    p->n_thread = 1;
    for (int i = 1; i < n_thread; i++) {
        p->worker[i] = (struct worker){p, i};
        if (pthread_create(&p->thread[i], NULL, worker_main, &p->worker[i])) {
            pool_close(p);
            return fail(err, STATUS_NO_MEMORY, "cannot start thread %d of %d", i + 1,
                        n_thread);
        }
        p->n_thread = i + 1;
    }
    *out = p;
    return STATUS_OK;
}

void pool_close(struct pool *p)
{
    if (!p)
        return;
    p->stop = true;
    start_round(p);
    for (int i = 1; i < p->n_thread; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    mem_pages_free(p, sizeof *p);
}

int pool_threads(const struct pool *p)
{
    return p->n_thread;
}

int pool_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    return CPU_COUNT(&set);
}
