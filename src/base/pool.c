#include "base/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cores.h"
#include "base/mem.h"

/* Some 100 us of pauses on a 3 GHz core: longer than the gap between two operators of
 * a layer, short enough that an idle engine or a busy machine gets the CPU back. */
enum { SPIN_MAX = 4000, THREAD_MAX = 256, ITEM_BITS = 20 };

/* Threads that find no item left still count up, so some numbers stay free. */
enum { ROUND_ITEMS_MAX = (1 << ITEM_BITS) - 1024 };

/* The state of a run is one word: its number, how many items it has and the next one to
 * take.  A thread that takes an item therefore knows which run it belongs to, and that
 * run cannot end before the item is done.  A helper that the system does not schedule is
 * not waited for unless it holds an item. */
static uint64_t run_word(uint64_t round, int n_item)
{
    return round << (2 * ITEM_BITS) | (uint64_t)n_item << ITEM_BITS;
}

static uint64_t word_round(uint64_t w)
{
    return w >> (2 * ITEM_BITS);
}

static int word_items(uint64_t w)
{
    return (int)(w >> ITEM_BITS & ((1 << ITEM_BITS) - 1));
}

static int word_next(uint64_t w)
{
    return (int)(w & ((1 << ITEM_BITS) - 1));
}

struct pool {
    int n_thread;
    pool_fn *fn;
    void *ctx;
    int first; // item of the round
    uint64_t round;
    atomic_bool stop;
    alignas(64) atomic_ullong work;  // run_word + items taken
    alignas(64) atomic_int n_done;   // items of this run that are done
    alignas(64) atomic_int sleepers; // helpers in pthread_cond_wait
    atomic_bool caller_sleeps;
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

/* Take and run items until none is left. */
static void take_items(struct pool *p, int thread)
{
    for (;;) {
        /* Look first, so that idle threads do not push the counter into other bits. */
        uint64_t w = atomic_load_explicit(&p->work, memory_order_acquire);
        if (word_next(w) >= word_items(w))
            return;
        w = atomic_fetch_add_explicit(&p->work, 1, memory_order_acq_rel);
        if (word_next(w) >= word_items(w))
            return;
        p->fn(p->ctx, p->first + word_next(w), thread);
        const int n = atomic_fetch_add(&p->n_done, 1) + 1;
        if (n == word_items(w) && atomic_load(&p->caller_sleeps)) {
            pthread_mutex_lock(&p->lock);
            pthread_cond_signal(&p->done);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void wait_round(struct pool *p, uint64_t seen)
{
    for (int i = 0; i < SPIN_MAX; i++) {
        if (word_round(atomic_load_explicit(&p->work, memory_order_acquire)) != seen)
            return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleepers, 1);
    while (word_round(atomic_load(&p->work)) == seen)
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *worker_main(void *arg)
{
    const struct worker *w = arg;
    struct pool *p = w->pool;
    for (uint64_t seen = 0;;) {
        wait_round(p, seen);
        seen = word_round(atomic_load(&p->work));
        if (atomic_load(&p->stop))
            return NULL;
        take_items(p, w->index);
    }
}

static void start_round(struct pool *p, int n_item)
{
    /* 24 bits of round numbers: a helper would have to sleep through all of them. */
    p->round = (p->round + 1) & 0xffffff;
    atomic_store(&p->n_done, 0);
    atomic_store(&p->work, run_word(p->round, n_item));
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

static void wait_items(struct pool *p, int n_item)
{
    for (int i = 0; i < SPIN_MAX; i++) {
        if (atomic_load_explicit(&p->n_done, memory_order_acquire) == n_item)
            return;
        cpu_relax();
    }
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->caller_sleeps, true);
    while (atomic_load(&p->n_done) < n_item)
        pthread_cond_wait(&p->done, &p->lock);
    atomic_store(&p->caller_sleeps, false);
    pthread_mutex_unlock(&p->lock);
}

void pool_run(struct pool *p, int n_item, pool_fn *fn, void *ctx)
{
    assert(n_item >= 0);
    if (p->n_thread == 1 || n_item <= 1) {
        for (int i = 0; i < n_item; i++)
            fn(ctx, i, 0);
        return;
    }
    p->fn = fn;
    p->ctx = ctx;
    for (p->first = 0; p->first < n_item; p->first += ROUND_ITEMS_MAX) {
        const int left = n_item - p->first;
        const int n = left < ROUND_ITEMS_MAX ? left : ROUND_ITEMS_MAX;
        start_round(p, n);
        take_items(p, 0);
        wait_items(p, n);
        if (n == left)
            return;
    }
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
    atomic_store(&p->stop, true);
    start_round(p, 0);
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

int pool_cores(void)
{
    const int n = cores_available();
    return n < THREAD_MAX ? n : THREAD_MAX;
}
