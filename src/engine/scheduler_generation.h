/* scheduler_generation.h - inside of a generation, for the files of the scheduler.
 *
 * The engine's thread writes it while it waits or runs; what the consumer reads goes
 * through a queue of bytes under its own lock. */
#ifndef ENGINE_SCHEDULER_GENERATION_H
#define ENGINE_SCHEDULER_GENERATION_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/answer_text.h"
#include "engine/scheduler.h"

enum generation_state { GENERATION_WAITING, GENERATION_RUNNING, GENERATION_ENDED };

struct generation {
    struct scheduler *scheduler;
    struct generation *next, *prev; // in the list of its state
    uint64_t number;                // of arrival
    atomic_bool cancelled;

    /* ---- of the engine's thread, under the scheduler's lock ---- */
    enum generation_state state;
    bool ahead;           // nobody asked for it: it is the scheduler's own
    bool admitted;        // it ran before: it may be parked, but not refused
    struct sequence *seq; // NULL unless it runs
    int32_t *history;     // [n_history] prompt and answer; room for n_limit
    int n_prompt, n_history, n_limit;
    int n_done;  // tokens that seq holds
    int n_known; // most of the history's tokens that were ever run
    int max_tokens;
    size_t stable[SCHEDULER_STABLE_MAX];
    int n_stable;
    struct sampler_params sampling;
    struct sampler_bias *bias; // owned
    int n_logprobs;
    bool embed, ignore_end;
    float *embedding; // [n_embd] sum so far, then the result
    struct answer_text text;
    struct grammar_matcher *matcher; // NULL: any token
    uint32_t *mask;                  // of the next token
    uint64_t submit_us, start_us, first_us;
    struct generation_stats stats;
    struct batch_run *run; // of the step at work, or NULL

    /* ---- what the next token is, set by a thread of the pool ---- */
    int32_t picked;
    float picked_logprob;
    int n_top;
    struct generation_logprob top[SCHEDULER_LOGPROBS_MAX];
    enum status pick_status;
    struct error pick_error;

    /* ---- events, under lock ---- */
    pthread_mutex_t lock;
    uint8_t *queue; // [queue_cap] records, [n_queue] bytes from queue_at on
    size_t queue_cap, queue_at, n_queue;
    size_t record_max;
    int progress; // n_done to tell, 0: none
    struct generation_stats progress_stats;
    bool has_embedding;
    bool ended, end_taken; // `end` and what follows is set
    bool detached;         // nobody is woken any more
    enum generation_end end;
    int stop;
    struct error error;
    void (*wake)(void *ctx);
    void *wake_ctx;

    /* ---- of the consumer ---- */
    uint8_t *taken; // [record_max] the record of the last event
};

/* Memory of everything; n_limit and max_tokens are set. */
enum status generation_open(struct generation **out, const struct generation_request *r,
                            int n_limit, size_t piece_bytes, int n_vocab, int n_embd,
                            struct error *err);
void generation_release(struct generation *g);

/* Whether two more events have a place: else the consumer is behind. */
bool generation_has_room(struct generation *g);
/* By the engine's thread. */
void generation_push_progress(struct generation *g, int n_done);
void generation_push_token(struct generation *g, int32_t id, const char *text, size_t n,
                           bool special);
void generation_push_embedding(struct generation *g);
/* Text that was held back goes out before the end. */
void generation_push_end(struct generation *g, enum generation_end end, int stop,
                         const struct error *error);

#endif
