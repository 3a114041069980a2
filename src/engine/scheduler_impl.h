/* scheduler_impl.h - inside of the scheduler, for its files.
 *
 * The lists and numbers are under `lock`.  Sequences, the prefix tree and scratch belong
 * to the engine's thread alone, which holds no lock while it runs a step. */
#ifndef ENGINE_SCHEDULER_IMPL_H
#define ENGINE_SCHEDULER_IMPL_H

#include <pthread.h>

#include "engine/scheduler_generation.h"
#include "engine/scheduler.h"
#include "kv/prefix.h"

struct generation_list {
    struct generation *first, *last;
    int n;
};

struct scheduler {
    struct engine *e;
    struct scheduler_options o;
    struct context *context;
    struct kv_prefix *prefix;
    struct grammar_vocab *grammar_vocab; // made when the first grammar comes
    pthread_mutex_t grammar_lock;
    size_t piece_bytes; // of the largest token

    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t work; // for the engine's thread: something to do
    pthread_cond_t done; // for generation_close: a generation left its list
    bool closing;
    struct generation_list waiting; // by number: parked ones are older than new ones
    struct generation_list running; // by number
    struct generation_list ahead;   // prompts that may come, by number
    int n_new;                      // of waiting: never admitted
    uint64_t n_number;
    struct scheduler_stats stats;
    double service_us; // smoothed time from admission to end

    /* ---- of the engine's thread ---- */
    struct batch_run *runs;     // [n_slot]
    struct generation **run_of; // [n_slot] whose run it is
    struct sampler *samplers;   // [pool threads]
    float *hidden;              // [n_batch][n_embd] of embeddings
    uint64_t step_us;           // of the last step
    bool step_reads;            // it had a prompt
    double token_us, decode_us; // smoothed: of a prompt's first token, of a decode step
};

/* Lists; numbers rise from first to last. */
void generation_list_insert(struct generation_list *l, struct generation *g);
void generation_list_remove(struct generation_list *l, struct generation *g);

/* ---- scheduler_admit.c: who runs; under the lock ---- */

/* Start what can start. */
void scheduler_admit(struct scheduler *s);
/* Pages for n_token tokens of g, which runs; others are parked for it if they are
 * younger. false: g itself was parked. */
bool scheduler_grow(struct scheduler *s, struct generation *g, int n_token);
/* g, waiting or running, is over. */
void scheduler_finish(struct scheduler *s, struct generation *g, enum generation_end end,
                      int stop, const struct error *error);
/* End what was cancelled or waited too long; the earliest deadline, 0 for none. */
uint64_t scheduler_expire(struct scheduler *s);
/* Keep what g's sequence holds for later prompts, and its state too. */
void scheduler_keep(struct scheduler *s, struct generation *g, bool state);

/* ---- scheduler_step.c: what runs together ---- */

/* Choose runs of a step, under the lock; their number. */
int scheduler_choose(struct scheduler *s);
/* Run them, without the lock. */
void scheduler_run(struct scheduler *s, int n_run);
/* Take what came out, under the lock. */
void scheduler_take(struct scheduler *s, int n_run);

#endif
