/* scheduler.h - many requests, one model: continuous batching with admission by memory.
 *
 * A thread of its own owns the context and runs steps; any thread submits requests and
 * takes their events.  A generation is one answer.  Once it was admitted it never fails
 * for memory: when pages are short the youngest is parked and run again later, bit for
 * bit.  What an answer is depends on its request alone. */
#ifndef ENGINE_SCHEDULER_H
#define ENGINE_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/engine.h"
#include "engine/sampler.h"
#include "grammar/grammar.h"

enum {
    SCHEDULER_LOGPROBS_MAX = 20,
    SCHEDULER_STOP_MAX = 16,
    SCHEDULER_STOP_BYTES = 256, // of a stop string
    SCHEDULER_STABLE_MAX = 8,
};

struct scheduler;
struct generation;

struct scheduler_options {
    struct context_options context; // n_seq: most that run together; n_page: the pool
    int n_queue;                    // most that wait; more are refused
    uint64_t queue_us;              // how long they wait at most; 0: for ever
    int n_reserve; // tokens of an answer that pages are reserved for at a time; 0: 1,024
    uint64_t step_us; // most time of a step that reads prompts; 0: 60 ms
};

/* What a scheduler reserves. */
struct scheduler_memory {
    size_t pages;
    size_t states; // f16 sinks and tails, windows, recurrent states; and checkpoints
    size_t scratch;
};
enum status scheduler_plan(struct scheduler_memory *out, const struct model *m,
                           const struct context_options *o, struct error *err);

enum status scheduler_open(struct scheduler **out, struct engine *e,
                           const struct scheduler_options *o, struct error *err);
/* Ends all generations (GENERATION_CANCELLED); they are closed by their owners, before.
 */
void scheduler_close(struct scheduler *s);
const struct context *scheduler_context(const struct scheduler *s);

struct generation_request {
    const int32_t *prompt; // [n_prompt], copied
    size_t n_prompt;
    /* Rising numbers of tokens that later prompts may start with: checkpoints. */
    size_t stable[SCHEDULER_STABLE_MAX];
    int n_stable;
    int max_tokens; // -1: until the context is full; more than fit is clamped
    int n_ctx;      // this request's own limit of prompt and answer; 0: the context's
    struct sampler_params sampling;       // logit biases are copied
    int n_logprobs;                       // -1: none; else alternatives of each token
    const char *stop[SCHEDULER_STOP_MAX]; // copied
    int n_stop;
    const struct grammar *grammar; // NULL: any text; stays open as long as the generation
    /* No answer: the vector of the prompt, pooled as the model file says, else of its
     * last token; of unit length. */
    bool embed;
    bool ignore_end; // tokens that end an answer do not
    /* Called by the engine's thread when events can be taken, and by nobody after
     * generation_close; also within generation_cancel.  Must not block, and must not call
     * the scheduler. */
    void (*wake)(void *ctx);
    void *wake_ctx;
};

/* STATUS_LIMIT: the prompt can never fit (*n_fit, if not NULL, is set to what would);
 * STATUS_FULL: the queue is full; STATUS_BAD_ARG: an id is not in the vocabulary, or the
 * prompt is empty. */
enum status scheduler_submit(struct scheduler *s, const struct generation_request *r,
                             struct generation **out, int *n_fit, struct error *err);

/* Read a prompt that may come, while nobody else is served: what was read of it is there
 * when it does.  Given up for every request, and for newer ones of its kind; forgotten
 * silently where there is no memory or it does not fit. */
void scheduler_read_ahead(struct scheduler *s, const int32_t *prompt, size_t n_prompt);

enum generation_event_kind {
    GENERATION_PROGRESS, // n_done tokens of the prompt are read
    GENERATION_TOKEN,
    GENERATION_EMBEDDING,
    GENERATION_END, // the last one
};

enum generation_end {
    GENERATION_EOG,     // the model ended its answer
    GENERATION_STOP,    // a stop string, which is not part of the text
    GENERATION_LENGTH,  // max_tokens
    GENERATION_CONTEXT, // the context is full
    GENERATION_CANCELLED,
    GENERATION_EXPIRED, // the queue's deadline, before it began
    GENERATION_FAILED,  // error
};

struct generation_logprob {
    int32_t id;
    float logprob; // of the model's own distribution, before penalties and temperature
};

struct generation_stats {
    int n_prompt, n_cached; // tokens of the prompt, and how many of them were there
    int n_again; // tokens computed that had been computed for it or others before
    int n_decoded;
    uint64_t queue_us, prefill_us, decode_us;
    int n_parked; // times that it was parked
};

struct generation_event {
    enum generation_event_kind kind;
    /* PROGRESS: so many tokens are read; stats.n_prompt, n_cached and prefill_us so far
     */
    int n_done;
    /* TOKEN.  text [n] is what became certain with it: whole characters of UTF-8, without
     * what may still become a stop string; often empty.  Control tokens come alone and
     * with `special`. */
    int32_t id; // -1: held-back text without a token, in front of a control token
    const char *text;
    size_t n;
    bool special;
    float logprob;
    int n_top;                                             // at most n_logprobs
    struct generation_logprob top[SCHEDULER_LOGPROBS_MAX]; // most likely first
    const float *embedding;                                // EMBEDDING: [n_embd]
    /* END; text [n] may hold what was held back. */
    enum generation_end end;
    int stop; // GENERATION_STOP: which string
    struct generation_stats stats;
    struct error error; // GENERATION_FAILED
};

/* The next event, whose pointers hold until the next call; false if there is none now.
 * By one thread at a time.  An answer whose events are not taken waits. */
bool generation_next(struct generation *g, struct generation_event *out);
/* End it within a step; GENERATION_END follows.  Any thread. */
void generation_cancel(struct generation *g);
/* Cancel if it runs, wait for the end of its step, and forget it. */
void generation_close(struct generation *g);

struct scheduler_stats {
    int n_running, n_waiting, n_parked, n_slot;
    int n_page, n_page_used, n_page_cached; // used: by running; cached: for later prompts
    size_t page_bytes, state_bytes;         // bytes of a page; as in scheduler_memory
    int n_tokens;                           // held by running sequences
    uint64_t prompt_tokens, cached_tokens;  // of prompts: computed, and not
    uint64_t ahead_tokens;                  // of prompts that did not come yet
    uint64_t decoded_tokens, steps, parked;
    uint64_t runs;    // sequences of all steps, each in each of its steps
    int n_tokens_max; // most of a prompt and its answer so far
    uint64_t accepted, refused_full, refused_long, expired, cancelled, failed;
    uint64_t prefill_us, decode_us; // of steps with prompts, of steps without
    /* Seconds until a place is free, guessed from what was measured: for Retry-After. */
    int retry_after_s;
};

struct scheduler_slot {
    int id;
    bool busy;
    bool reading; // its prompt
    int n_prompt, n_done, n_decoded, n_ctx;
};

/* Any thread. */
void scheduler_stats(struct scheduler *s, struct scheduler_stats *out);
/* slots [cap] <- the state of each place; returns how many there are. */
int scheduler_slots(struct scheduler *s, struct scheduler_slot *slots, int cap);

#endif
