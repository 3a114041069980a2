/* scheduler_step.c - what runs together in a step, and what comes out of it.
 *
 * Everybody who decodes takes part in every step.  Prompts share what is left of the
 * step's time by measured speed: those with the least to read come first, but the oldest
 * always moves on. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "engine/scheduler_impl.h"

enum {
    MARK_TOKENS = 4096, // of a prompt between checkpoints that nobody asked for
    CHUNK_FIRST = 32,   // while the speed is not known
    CHUNK_MIN = 8,      // tokens of prompts in a step beside answers
    CHUNK_ALONE = 32,   // and without
};

static int least_int(int a, int b)
{
    return a < b ? a : b;
}

/* ---- choosing ---- */

/* The next position of g's history where a checkpoint belongs, or its end. */
static int next_checkpoint(const struct generation *g)
{
    /* Near the end without anybody's wish: for others with the same prompt. */
    const int last = (g->n_history - 1) / KV_PAGE_TOKENS * KV_PAGE_TOKENS;
    int stop = (g->n_done / MARK_TOKENS + 1) * MARK_TOKENS;
    if (last > g->n_done && last < stop)
        stop = last;
    for (int i = 0; i < g->n_stable; i++) {
        const int at = (int)g->stable[i];
        if (at > g->n_done && at < stop)
            stop = at;
    }
    return stop < g->n_history ? stop : g->n_history;
}

/* What a token of a prompt costs at a position, in those of the first one: attention
 * grows with what is before it. */
static double token_weight(const struct scheduler *s, int pos)
{
    const struct model *m = s->e->model;
    const struct kv_types *kv = &s->o.context.kv;
    const double first = (double)model_token_work(m, kv, 0).macs;
    return (double)model_token_work(m, kv, pos).macs / first;
}

/* What a step has left for prompts. */
struct prompt_budget {
    double us;
    int n_token; // that the step has room for
    int least;   // tokens that a prompt gets, however slow they are
};

static struct prompt_budget prompt_budget(const struct scheduler *s, int n_decode)
{
    return (struct prompt_budget){
        .us = (double)s->o.step_us - (n_decode ? s->decode_us : 0),
        .n_token = context_n_batch(s->context) - n_decode,
        .least = n_decode ? CHUNK_MIN : CHUNK_ALONE,
    };
}

static bool is_reading(const struct generation *g)
{
    return g->n_history - g->n_done > 1;
}

static void choose_run(struct scheduler *s, int *n_run, struct generation *g, int n)
{
    struct batch_run *r = &s->runs[*n_run];
    *r = (struct batch_run){.seq = g->seq, .tokens = g->history + g->n_done, .n = n};
    r->n_logits = g->n_done + n == g->n_history && !g->embed;
    s->run_of[(*n_run)++] = g;
    g->run = r;
}

/* One that was parked may read with events that nobody has taken; its last piece makes
 * another. */
static bool may_read(struct generation *g)
{
    return is_reading(g) && generation_has_room(g);
}

/* The reader with the least left, or the oldest one, that has no run yet. */
static struct generation *next_reader(const struct scheduler *s, bool oldest)
{
    struct generation *best = NULL;
    for (struct generation *g = s->running.first; g; g = g->next) {
        if (g->run || !may_read(g))
            continue;
        if (!best ||
            (!oldest && g->n_history - g->n_done < best->n_history - best->n_done))
            best = g;
    }
    return best;
}

static int n_readers(const struct scheduler *s)
{
    int n = 0;
    for (struct generation *g = s->running.first; g; g = g->next)
        n += may_read(g);
    return n;
}

/* Let g read in a part of what the budget has left. */
static void add_reader(struct scheduler *s, int *n_run, struct generation *g,
                       struct prompt_budget *b, double part)
{
    const double us = s->token_us * token_weight(s, g->n_done);
    int n = us > 0 ? (int)fmin(part * b->us / us, 1e6) : CHUNK_FIRST;
    n = n < b->least ? b->least : n;
    n = least_int(least_int(n, b->n_token), next_checkpoint(g) - g->n_done);
    choose_run(s, n_run, g, n);
    b->us -= n * us;
    b->n_token -= n;
}

/* An eighth is the oldest reader's, the rest goes to those with the least left. */
static void add_readers(struct scheduler *s, int *n_run, struct prompt_budget b)
{
    if (b.n_token > 0 && n_readers(s) > 1) {
        b.least = CHUNK_MIN;
        add_reader(s, n_run, next_reader(s, true), &b, 0.125);
    }
    for (struct generation *g; b.n_token > 0 && (g = next_reader(s, false));) {
        add_reader(s, n_run, g, &b, 1);
        if (b.us <= 0)
            break;
    }
}

int scheduler_choose(struct scheduler *s)
{
    int n_run = 0;
    /* Pages first: growing may park somebody. */
    for (struct generation *g = s->running.first, *next; g; g = next) {
        g->run = NULL;
        scheduler_grow(s, g, g->n_history);
        next = g->state == GENERATION_RUNNING ? g->next : NULL;
    }
    for (struct generation *g = s->running.first; g; g = g->next)
        if (!is_reading(g) && generation_has_room(g))
            choose_run(s, &n_run, g, 1);
    if (n_readers(s))
        add_readers(s, &n_run, prompt_budget(s, n_run));
    return n_run;
}

/* ---- running ---- */

/* ln of the model's own probability of the pick, and of the most likely tokens. */
static void find_logprobs(struct generation *g, const float *logits, int n_vocab)
{
    float most = logits[0];
    for (int i = 1; i < n_vocab; i++)
        most = logits[i] > most ? logits[i] : most;
    double sum = 0;
    for (int i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - (double)most);
    const double log_sum = (double)most + log(sum);
    g->picked_logprob = (float)((double)logits[g->picked] - log_sum);
    g->n_top = 0;
    for (int i = 0; i < n_vocab && g->n_logprobs; i++) {
        int at = g->n_top;
        while (at && logits[i] > logits[g->top[at - 1].id])
            at--;
        if (at == g->n_logprobs)
            continue;
        const int keep = g->n_top < g->n_logprobs ? g->n_top : g->n_logprobs - 1;
        memmove(&g->top[at + 1], &g->top[at], (size_t)(keep - at) * sizeof g->top[0]);
        g->top[at].id = i;
        g->n_top = keep + 1;
    }
    for (int i = 0; i < g->n_top; i++)
        g->top[i].logprob = (float)((double)logits[g->top[i].id] - log_sum);
}

static void pick_item(void *ctx, int item, int thread)
{
    struct scheduler *s = ctx;
    struct generation *g = s->run_of[item];
    const struct batch_run *r = g->run;
    if (!r->logits || r->status)
        return;
    const uint32_t *mask = NULL;
    g->pick_status = STATUS_OK;
    if (g->matcher && !grammar_matcher_is_open(g->matcher)) {
        g->pick_status = grammar_matcher_mask(g->matcher, g->mask, &g->pick_error);
        if (g->pick_status)
            return;
        mask = g->mask;
    }
    g->picked =
        sampler_pick(&s->samplers[thread], &g->sampling, r->logits, g->history,
                     (size_t)g->n_history, (size_t)(g->n_history - g->n_prompt), mask);
    if (g->matcher)
        g->pick_status = grammar_matcher_accept(g->matcher, g->picked, &g->pick_error);
    if (g->n_logprobs >= 0)
        find_logprobs(g, r->logits, model_hparams(s->e->model)->n_vocab);
}

static void smooth(double *mean, double value)
{
    *mean = *mean > 0 ? 0.5 * *mean + 0.5 * value : value;
}

/* A run that is at fault has a status; if all were refused, all have it. */
static void eval_runs(struct scheduler *s, int n_run)
{
    struct error err;
    const enum status rc = context_eval_batch(s->context, s->runs, n_run, &err);
    for (int i = 0; rc && i < n_run; i++) {
        s->run_of[i]->pick_error = err;
        if (rc != STATUS_NUMERIC)
            s->runs[i].status = rc;
    }
}

void scheduler_run(struct scheduler *s, int n_run)
{
    const uint64_t start = clock_us();
    int n_decode = 0, row = 0;
    double weight = 0; // of prompts' tokens
    for (int i = 0; i < n_run; i++) {
        struct batch_run *r = &s->runs[i];
        if (r->n > 1)
            weight += r->n * token_weight(s, s->run_of[i]->n_done);
        else
            n_decode++;
        if (s->run_of[i]->embed) {
            r->hidden =
                s->hidden + (size_t)row * (size_t)model_hparams(s->e->model)->n_embd;
            row += r->n;
        }
    }
    eval_runs(s, n_run);
    pool_run(s->e->pool, n_run, pick_item, s);
    s->step_us = clock_us() - start;
    s->step_reads = weight > 0;
    const double took = (double)s->step_us;
    if (weight <= 0)
        smooth(&s->decode_us, took);
    else if (took > (n_decode ? s->decode_us : 0))
        smooth(&s->token_us, (took - (n_decode ? s->decode_us : 0)) / weight);
}

/* ---- taking ---- */

/* Rows of an embedding: all that its pooling takes. */
static void pool_rows(const struct scheduler *s, struct generation *g,
                      const struct batch_run *r)
{
    const struct hparams *hp = model_hparams(s->e->model);
    for (int i = 0; i < r->n; i++) {
        const int pos = g->n_done + i;
        const bool wanted = hp->pooling == POOLING_MEAN    ? true
                            : hp->pooling == POOLING_FIRST ? pos == 0
                                                           : pos == g->n_prompt - 1;
        for (int k = 0; wanted && k < hp->n_embd; k++)
            g->embedding[k] += r->hidden[(size_t)i * (size_t)hp->n_embd + (size_t)k];
    }
}

static void finish_embedding(struct scheduler *s, struct generation *g)
{
    const int n_embd = model_hparams(s->e->model)->n_embd;
    double sum = 0;
    for (int k = 0; k < n_embd; k++)
        sum += (double)g->embedding[k] * (double)g->embedding[k];
    for (int k = 0; k < n_embd && sum > 0; k++)
        g->embedding[k] = (float)((double)g->embedding[k] / sqrt(sum));
    generation_push_embedding(g);
    scheduler_finish(s, g, GENERATION_EOG, -1, NULL);
}

/* The text of a token goes to the consumer; the index of a stop string, or -1. */
static int push_text(struct scheduler *s, struct generation *g, int32_t id)
{
    const struct tokenizer *t = s->e->tokenizer;
    size_t n = 0, n_text;
    const bool first = g->n_history == g->n_prompt;
    const char *piece =
        first ? tokenizer_first_piece(t, g->history[g->n_history - 1], id, false, &n)
              : tokenizer_piece(t, id, false, &n);
    if (n) {
        const char *text = answer_text_put(&g->text, piece, n, &n_text);
        generation_push_token(g, id, text, n_text, false);
        return g->text.stopped;
    }
    const char *held = answer_text_flush(&g->text, &n_text);
    const int n_top = g->n_top;
    if (n_text) {
        /* Text that came before the control token; its logprob is told with the token. */
        g->n_top = 0;
        generation_push_token(g, -1, held, n_text, false);
        g->n_top = n_top;
    }
    piece = tokenizer_piece(t, id, true, &n);
    const int stop = answer_text_is_stop(&g->text, piece, n);
    generation_push_token(g, id, piece, stop < 0 ? n : 0, true);
    return stop;
}

static void take_pick(struct scheduler *s, struct generation *g)
{
    const int32_t id = g->picked;
    if (!g->first_us)
        g->first_us = clock_us();
    s->stats.decoded_tokens++;
    if (!g->ignore_end && tokenizer_is_eog(s->e->tokenizer, id)) {
        scheduler_finish(s, g, GENERATION_EOG, -1, NULL);
        return;
    }
    const int stop = push_text(s, g, id);
    g->history[g->n_history++] = id;
    const int n_answer = g->n_history - g->n_prompt;
    if (stop >= 0)
        scheduler_finish(s, g, GENERATION_STOP, stop, NULL);
    else if (g->max_tokens >= 0 && n_answer >= g->max_tokens)
        scheduler_finish(s, g, GENERATION_LENGTH, -1, NULL);
    else if (g->n_history >= g->n_limit)
        scheduler_finish(s, g, GENERATION_CONTEXT, -1, NULL);
}

static void take_run(struct scheduler *s, struct generation *g)
{
    const struct batch_run *r = g->run;
    const int before = g->n_done;
    g->run = NULL;
    if (r->status) {
        scheduler_finish(s, g, GENERATION_FAILED, -1, &g->pick_error);
        return;
    }
    g->run = (struct batch_run *)r;
    if (g->embed)
        pool_rows(s, g, r);
    g->run = NULL;
    const bool at_checkpoint =
        r->n > 1 && before + r->n == next_checkpoint(g) && before + r->n < g->n_history;
    g->n_done += r->n;
    g->n_known = g->n_done > g->n_known ? g->n_done : g->n_known;
    if (g->ahead)
        s->stats.ahead_tokens += (uint64_t)r->n;
    else if (before < g->n_prompt)
        s->stats.prompt_tokens += (uint64_t)least_int(r->n, g->n_prompt - before);
    if (at_checkpoint || g->n_done / KV_PAGE_TOKENS > before / KV_PAGE_TOKENS)
        scheduler_keep(s, g, at_checkpoint);
    if (g->n_done < g->n_history) {
        generation_push_progress(g, g->n_done);
        return;
    }
    if (g->embed)
        finish_embedding(s, g);
    else if (g->pick_status)
        scheduler_finish(s, g, GENERATION_FAILED, -1, &g->pick_error);
    else if (!g->max_tokens)
        scheduler_finish(s, g, GENERATION_LENGTH, -1, NULL); // only the prompt was wanted
    else
        take_pick(s, g);
}

void scheduler_take(struct scheduler *s, int n_run)
{
    s->stats.steps++;
    s->stats.runs += (uint64_t)n_run;
    *(s->step_reads ? &s->stats.prefill_us : &s->stats.decode_us) += s->step_us;
    for (int i = 0; i < n_run; i++) {
        struct generation *g = s->run_of[i];
        if (g->n_history > s->stats.n_tokens_max)
            s->stats.n_tokens_max = g->n_history;
        if (g->state == GENERATION_RUNNING)
            take_run(s, g);
    }
}
