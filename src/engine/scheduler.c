/* scheduler.c - opening, the engine's thread, submitting and closing. */
#include "engine/scheduler.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/scheduler_impl.h"
#include "engine/token_grammar.h"

enum {
    STEP_US = 60000,
    RESERVE_TOKENS = 1024,
    AHEAD_MAX = 4, // prompts to read when nobody is served
    BATCH = 512,
    STATES_BYTES = 512 << 20, // of checkpoints
    STATES_MIN = 4,
    STATES_MAX = 256,
};

/* ---- lists ---- */

void generation_list_insert(struct generation_list *l, struct generation *g)
{
    struct generation *after = l->last;
    while (after && after->number > g->number)
        after = after->prev;
    g->prev = after;
    g->next = after ? after->next : l->first;
    *(after ? &after->next : &l->first) = g;
    *(g->next ? &g->next->prev : &l->last) = g;
    l->n++;
}

void generation_list_remove(struct generation_list *l, struct generation *g)
{
    *(g->prev ? &g->prev->next : &l->first) = g->next;
    *(g->next ? &g->next->prev : &l->last) = g->prev;
    g->next = g->prev = NULL;
    l->n--;
}

/* ---- the engine's thread ---- */

static void wait_for_work(struct scheduler *s, uint64_t deadline)
{
    if (!deadline) {
        pthread_cond_wait(&s->work, &s->lock);
        return;
    }
    const struct timespec at = {.tv_sec = (time_t)(deadline / 1000000),
                                .tv_nsec = (long)(deadline % 1000000) * 1000};
    pthread_cond_timedwait(&s->work, &s->lock, &at);
}

static void *engine_thread(void *ctx)
{
    struct scheduler *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        const uint64_t deadline = scheduler_expire(s);
        scheduler_admit(s);
        const int n_run = scheduler_choose(s);
        if (!n_run) {
            /* Those that run wait for their consumers, who tell nobody that they took
             * something: look again soon. */
            wait_for_work(s, s->running.n ? clock_us() + 2000 : deadline);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        scheduler_run(s, n_run);
        pthread_mutex_lock(&s->lock);
        scheduler_take(s, n_run);
    }
    while (s->running.first)
        scheduler_finish(s, s->running.first, GENERATION_CANCELLED, -1, NULL);
    while (s->waiting.first)
        scheduler_finish(s, s->waiting.first, GENERATION_CANCELLED, -1, NULL);
    while (s->ahead.first) {
        struct generation *g = s->ahead.first;
        generation_list_remove(&s->ahead, g);
        generation_release(g);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- opening ---- */

static size_t largest_piece(const struct tokenizer *t)
{
    size_t most = 0;
    for (int32_t id = 0; t && id < tokenizer_n_vocab(t); id++) {
        size_t n;
        tokenizer_piece(t, id, true, &n);
        most = n > most ? n : most;
    }
    return most;
}

/* Half of what pages take: the longer prompts can be, the more places there are to go on
 * at. */
static int count_states(size_t state_bytes, size_t pages_bytes, int n_slot)
{
    const size_t budget =
        pages_bytes / 2 < (size_t)STATES_BYTES ? pages_bytes / 2 : (size_t)STATES_BYTES;
    const size_t least = (size_t)n_slot + STATES_MIN;
    size_t n = state_bytes ? budget / state_bytes : 0;
    n = n < least ? least : n > STATES_MAX ? STATES_MAX : n;
    return (int)n;
}

/* What a scheduler makes of the options of its context. */
static struct context_options complete_options(const struct context_options *o)
{
    struct context_options c = *o;
    c.n_seq = o->n_seq ? o->n_seq : 1;
    c.n_mark = -1; // checkpoints are the prefix tree's
    /* Everybody takes part in a step, and a prompt too. */
    c.n_batch = o->n_batch ? o->n_batch : BATCH;
    c.n_batch = c.n_batch > 2 * c.n_seq ? c.n_batch : 2 * c.n_seq;
    return c;
}

enum status scheduler_plan(struct scheduler_memory *out, const struct model *m,
                           const struct context_options *o, struct error *err)
{
    const struct context_options c = complete_options(o);
    struct context_memory need;
    const enum status s = context_plan(&need, m, &c, err);
    if (s)
        return s;
    const size_t state = need.exact / (size_t)c.n_seq;
    *out = (struct scheduler_memory){.pages = need.pages, .scratch = need.scratch};
    out->states = need.exact +
                  state * (size_t)(state ? count_states(state, need.pages, c.n_seq) : 0);
    return STATUS_OK;
}

static enum status open_memory(struct scheduler *s, struct error *err)
{
    const size_t n_slot = (size_t)s->o.context.n_seq;
    const int n_vocab = model_hparams(s->e->model)->n_vocab;
    const int n_thread = pool_threads(s->e->pool);
    enum status rc = context_open(&s->context, s->e->model, &s->o.context, err);
    if (rc)
        return rc;
    const size_t state_bytes = context_state_bytes(s->context);
    const struct kv_prefix_options prefix = {
        .pool = context_kv(s->context),
        .state_bytes = state_bytes,
        .n_state = count_states(state_bytes, context_memory(s->context).pages,
                                s->o.context.n_seq),
        .recurrent = model_is_recurrent(s->e->model),
    };
    if ((rc = kv_prefix_open(&s->prefix, &prefix, err)))
        return rc;
    s->runs = mem_array(n_slot, sizeof *s->runs);
    s->run_of = mem_array(n_slot, sizeof *s->run_of);
    s->samplers = mem_array((size_t)n_thread, sizeof *s->samplers);
    s->hidden = mem_array((size_t)context_n_batch(s->context) *
                              (size_t)model_hparams(s->e->model)->n_embd,
                          sizeof *s->hidden);
    if (!s->runs || !s->run_of || !s->samplers || !s->hidden)
        return fail(err, STATUS_NO_MEMORY, "no memory for a scheduler");
    for (int i = 0; !rc && i < n_thread; i++)
        rc = sampler_open(&s->samplers[i], n_vocab, err);
    return rc;
}

enum status scheduler_open(struct scheduler **out, struct engine *e,
                           const struct scheduler_options *o, struct error *err)
{
    struct scheduler *s = mem_array(1, sizeof *s);
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory for a scheduler");
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->work, &monotonic);
    pthread_cond_init(&s->done, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->grammar_lock, NULL);
    s->e = e;
    s->o = *o;
    s->o.context = complete_options(&o->context);
    s->o.step_us = o->step_us ? o->step_us : STEP_US;
    s->o.n_reserve = o->n_reserve ? o->n_reserve : RESERVE_TOKENS;
    s->piece_bytes = largest_piece(e->tokenizer);
    enum status rc = open_memory(s, err);
    if (!rc && pthread_create(&s->thread, NULL, engine_thread, s))
        rc = fail(err, STATUS_NO_MEMORY, "cannot start the engine's thread");
    if (rc) {
        scheduler_close(s);
        return rc;
    }
    s->started = true;
    *out = s;
    return STATUS_OK;
}

void scheduler_close(struct scheduler *s)
{
    if (!s)
        return;
    if (s->started) {
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_cond_signal(&s->work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    for (int i = 0; s->samplers && i < pool_threads(s->e->pool); i++)
        sampler_close(&s->samplers[i]);
    kv_prefix_close(s->prefix);
    context_close(s->context);
    grammar_vocab_close(s->grammar_vocab);
    mem_free(s->samplers);
    mem_free(s->runs);
    mem_free(s->run_of);
    mem_free(s->hidden);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->grammar_lock);
    pthread_cond_destroy(&s->work);
    pthread_cond_destroy(&s->done);
    mem_free(s);
}

const struct context *scheduler_context(const struct scheduler *s)
{
    return s->context;
}

/* ---- submitting ---- */

static enum status open_matcher(struct scheduler *s, struct generation *g,
                                const struct grammar *grammar, struct error *err)
{
    enum status rc = STATUS_OK;
    pthread_mutex_lock(&s->grammar_lock);
    if (!s->grammar_vocab)
        rc = token_grammar_vocab(&s->grammar_vocab, s->e->tokenizer,
                                 model_hparams(s->e->model)->n_vocab, s->e->chat.format,
                                 err);
    pthread_mutex_unlock(&s->grammar_lock);
    return rc ? rc : grammar_matcher_open(&g->matcher, grammar, s->grammar_vocab, err);
}

static enum status check_request(const struct scheduler *s,
                                 const struct generation_request *r, int n_limit,
                                 struct error *err)
{
    const int n_vocab = model_hparams(s->e->model)->n_vocab;
    if (!r->n_prompt)
        return fail(err, STATUS_BAD_ARG, "the prompt is empty");
    for (size_t i = 0; i < r->n_prompt; i++)
        if (r->prompt[i] < 0 || r->prompt[i] >= n_vocab)
            return fail(err, STATUS_BAD_ARG,
                        "token %zu of the prompt: id %d is not in the vocabulary of %d",
                        i, r->prompt[i], n_vocab);
    for (int i = 0; i < r->sampling.n_bias; i++)
        if (r->sampling.bias[i].id < 0 || r->sampling.bias[i].id >= n_vocab)
            return fail(err, STATUS_BAD_ARG,
                        "a bias for id %d, which is not in the vocabulary of %d",
                        r->sampling.bias[i].id, n_vocab);
    /* An answer has at least a token, which is not run if it is the last one. */
    if (r->n_prompt > (size_t)n_limit)
        return fail(err, STATUS_LIMIT, "the prompt has %zu tokens, but %d fit",
                    r->n_prompt, n_limit);
    return STATUS_OK;
}

/* Of those that run, what somebody asked for. */
static int n_asked(const struct scheduler *s)
{
    int n = 0;
    for (const struct generation *g = s->running.first; g; g = g->next)
        n += !g->ahead;
    return n;
}

/* Tokens of prompt and answer that a request may have. */
static int token_limit(const struct scheduler *s, const struct generation_request *r)
{
    int n = context_n_ctx(s->context);
    const int pages = kv_pool_pages(context_kv(s->context));
    if (pages < kv_pages_for(n))
        n = pages * KV_PAGE_TOKENS;
    return r->n_ctx > 0 && r->n_ctx < n ? r->n_ctx : n;
}

enum status scheduler_submit(struct scheduler *s, const struct generation_request *r,
                             struct generation **out, int *n_fit, struct error *err)
{
    const int n_limit = token_limit(s, r);
    struct generation *g;
    enum status rc = check_request(s, r, n_limit, err);
    if (n_fit)
        *n_fit = n_limit;
    if (rc == STATUS_LIMIT) {
        pthread_mutex_lock(&s->lock);
        s->stats.refused_long++;
        pthread_mutex_unlock(&s->lock);
    }
    if (rc)
        return rc;
    /* No more room than the answer can take. */
    const int room = n_limit - (int)r->n_prompt;
    const int more = r->max_tokens >= 0 && r->max_tokens < room ? r->max_tokens : room;
    if ((rc = generation_open(&g, r, (int)r->n_prompt + more, s->piece_bytes,
                              model_hparams(s->e->model)->n_vocab,
                              model_hparams(s->e->model)->n_embd, err)))
        return rc;
    g->scheduler = s;
    g->max_tokens = r->max_tokens;
    if (r->grammar && (rc = open_matcher(s, g, r->grammar, err))) {
        generation_release(g);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    if (s->closing || s->n_new >= s->o.n_queue + (s->o.context.n_seq - n_asked(s))) {
        s->stats.refused_full++;
        rc = fail(err, STATUS_FULL, "%d requests wait already", s->n_new);
    } else {
        g->number = ++s->n_number;
        g->submit_us = clock_us();
        generation_list_insert(&s->waiting, g);
        s->n_new++;
        s->stats.accepted++;
        pthread_cond_signal(&s->work);
        *out = g;
    }
    pthread_mutex_unlock(&s->lock);
    if (rc)
        generation_release(g);
    return rc;
}

void scheduler_read_ahead(struct scheduler *s, const int32_t *prompt, size_t n_prompt)
{
    const struct generation_request r = {.prompt = prompt,
                                         .n_prompt = n_prompt,
                                         .sampling = sampler_defaults,
                                         .n_logprobs = -1};
    struct generation *g, *old = NULL;
    const struct hparams *hp = model_hparams(s->e->model);
    if (check_request(s, &r, token_limit(s, &r), NULL) ||
        generation_open(&g, &r, (int)n_prompt, s->piece_bytes, hp->n_vocab, hp->n_embd,
                        NULL))
        return;
    g->scheduler = s;
    g->ahead = true;
    pthread_mutex_lock(&s->lock);
    if (s->ahead.n == AHEAD_MAX) {
        old = s->ahead.first;
        generation_list_remove(&s->ahead, old);
    }
    g->number = ++s->n_number;
    generation_list_insert(&s->ahead, g);
    pthread_cond_signal(&s->work);
    pthread_mutex_unlock(&s->lock);
    generation_release(old);
}

void generation_cancel(struct generation *g)
{
    struct scheduler *s = g->scheduler;
    pthread_mutex_lock(&s->lock);
    if (g->state != GENERATION_ENDED) {
        atomic_store(&g->cancelled, true);
        /* One that waits is nobody's business but ours. */
        if (g->state == GENERATION_WAITING)
            scheduler_finish(s, g, GENERATION_CANCELLED, -1, NULL);
        pthread_cond_signal(&s->work);
    }
    pthread_mutex_unlock(&s->lock);
}

void generation_close(struct generation *g)
{
    if (!g)
        return;
    struct scheduler *s = g->scheduler;
    pthread_mutex_lock(&g->lock);
    g->detached = true;
    pthread_mutex_unlock(&g->lock);
    generation_cancel(g);
    pthread_mutex_lock(&s->lock);
    while (g->state != GENERATION_ENDED)
        pthread_cond_wait(&s->done, &s->lock);
    pthread_mutex_unlock(&s->lock);
    generation_release(g);
}

/* ---- numbers ---- */

void scheduler_stats(struct scheduler *s, struct scheduler_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->n_running = n_asked(s);
    out->n_waiting = s->n_new;
    out->n_parked = s->waiting.n - s->n_new;
    out->n_slot = s->o.context.n_seq;
    /* A step leaves the pool and the tree alone, and all else holds the lock. */
    const struct kv_pool *pool = context_kv(s->context);
    out->n_page = kv_pool_pages(pool);
    out->n_page_cached = kv_prefix_spare(s->prefix);
    out->n_page_used = out->n_page - kv_pool_free(pool) - out->n_page_cached;
    const struct context_memory m = context_memory(s->context);
    out->page_bytes = m.page_bytes;
    out->state_bytes = m.exact + kv_prefix_bytes(s->prefix);
    for (const struct generation *g = s->running.first; g; g = g->next)
        out->n_tokens += g->n_done;
    const double wait = s->service_us * (s->n_new + 1) / (double)s->o.context.n_seq;
    out->retry_after_s = (int)(wait / 1e6) + 1;
    pthread_mutex_unlock(&s->lock);
}

int scheduler_slots(struct scheduler *s, struct scheduler_slot *slots, int cap)
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    const struct generation *g = n_asked(s) ? s->running.first : NULL;
    for (; n < s->o.context.n_seq && n < cap; n++) {
        slots[n] = (struct scheduler_slot){.id = n, .n_ctx = context_n_ctx(s->context)};
        if (!g)
            continue;
        slots[n].busy = true;
        slots[n].reading = g->n_done < g->n_prompt;
        slots[n].n_prompt = g->n_prompt;
        slots[n].n_done = g->n_done;
        slots[n].n_decoded = g->n_history - g->n_prompt;
        g = g->next;
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}
