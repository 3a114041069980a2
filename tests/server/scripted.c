#define _GNU_SOURCE // memmem
#include "scripted.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

enum { EVENTS_AHEAD = 32, PROMPTS_KEPT = 16, TEXT_MAX = 64 << 20, PROGRESS_STEPS = 4 };

struct say {
    int32_t id;
    char *text;
    size_t n;
    bool special;
};

enum state { WAITING, READING, SAYING, ENDED };

struct generation {
    struct scheduler *s;
    struct generation *next;
    struct tokens prompt;
    struct say *say; // what will be said
    int n_say, n_planned;
    enum generation_end end; // behind it
    int stop;
    char fail[200];
    uint64_t delay_us, prefill_us;
    bool embed;
    int n_logprobs, n_vocab;
    void (*wake)(void *);
    void *wake_ctx;

    enum state state;
    uint64_t submit_us, start_us, due_us, first_us;
    int n_cached, n_progress, n_ready, n_taken, n_told; // said, given, progress given
    bool cancelled, end_taken, embedded;
    struct generation_event out;
    float *vector;
};

struct scheduler {
    struct engine *engine;
    struct context *context;
    json_t *script;
    int n_slot, n_queue, n_ctx;
    uint64_t queue_us;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool has_thread, ending;
    struct generation *list; // oldest first
    struct tokens kept[PROMPTS_KEPT];
    int n_kept;
    struct scheduler_stats stats;
};

/* ---- the script ---- */

static int number(const json_t *o, const char *name, int standard)
{
    const json_t *v = json_object_get(o, name);
    return json_is_integer(v) ? (int)json_integer_value(v) : standard;
}

static void prompt_text(struct buf *out, const struct engine *e, const int32_t *ids,
                        size_t n)
{
    buf_init(out, TEXT_MAX);
    buf_puts(out, "");
    for (size_t i = 0; i < n; i++) {
        size_t bytes;
        const char *p = tokenizer_piece(e->tokenizer, ids[i], true, &bytes);
        buf_append(out, p, bytes);
    }
}

static const char *last_of(const struct buf *text, const char *what)
{
    const size_t n = strlen(what);
    const char *found = NULL, *at = text->data;
    for (const char *p; (p = memmem(at, (size_t)(text->data + text->len - at), what, n));
         at = p + 1)
        found = p + n;
    return found;
}

static json_t *find_rule(struct scheduler *s, const struct buf *text)
{
    size_t i;
    json_t *r, *best = NULL;
    const char *where = text->data - 1;
    json_array_foreach(json_object_get(s->script, "rules"), i, r)
    {
        const char *match = json_string_value(json_object_get(r, "match"));
        const char *at = match ? last_of(text, match) : text->data - 1;
        if (at && (!best || at > where)) {
            best = r;
            where = at;
        }
    }
    return best;
}

/* The text of a rule; of an array, the one whose turn it is. */
static const char *rule_text(json_t *rule)
{
    json_t *t = json_object_get(rule, "text");
    if (!json_is_array(t))
        return json_is_string(t) ? json_string_value(t) : "";
    const int turn = number(rule, "turn", 0);
    const size_t n = json_array_size(t);
    json_object_set_new(rule, "turn", json_integer(turn + 1));
    return json_string_value(json_array_get(t, n ? (size_t)turn % n : 0));
}

/* ---- what will be said ---- */

/* Bytes at the end of s[0..n) that are the beginning of a character. */
static size_t unfinished(const char *s, size_t n)
{
    for (size_t k = 1; k <= 3 && k <= n; k++) {
        const unsigned char c = (unsigned char)s[n - k];
        if (c >= 0xc0)
            return c >= 0xf0 || (c >= 0xe0 && k < 3) || k < 2 ? k : 0;
        if (c < 0x80)
            return 0;
    }
    return 0;
}

/* Bytes at the end of s[0..n) that may still become a stop string. */
static size_t held_back(const struct generation_request *r, const char *s, size_t n)
{
    size_t most = unfinished(s, n);
    for (int i = 0; i < r->n_stop; i++) {
        const size_t len = strlen(r->stop[i]);
        for (size_t k = len - 1 < n ? len - 1 : n; k > most; k--)
            if (!memcmp(s + n - k, r->stop[i], k))
                most = k;
    }
    return most;
}

static const char *find_stop(const struct generation_request *r, const struct buf *b,
                             int *which)
{
    const char *first = NULL;
    for (int i = 0; i < r->n_stop; i++) {
        const char *p = memmem(b->data, b->len, r->stop[i], strlen(r->stop[i]));
        if (p && (!first || p < first)) {
            first = p;
            *which = i;
        }
    }
    return first;
}

static void say_text(struct say *y, const char *text, size_t n)
{
    char *p = mem_array(y->n + n + 1, 1);
    if (!p)
        return;
    if (y->n)
        memcpy(p, y->text, y->n);
    if (n)
        memcpy(p + y->n, text, n);
    mem_free(y->text);
    y->text = p;
    y->n += n;
}

/* The tokens of the text with what each makes certain. */
static void plan_answer(struct generation *g, const struct generation_request *r,
                        const struct tokens *t)
{
    const struct tokenizer *tok = g->s->engine->tokenizer;
    struct buf held;
    buf_init(&held, TEXT_MAX);
    buf_append(&held, "", 0);
    g->say = mem_array(t->n + 1, sizeof *g->say);
    for (size_t i = 0; g->say && i < t->n; i++) {
        size_t n, all;
        const char *p = tokenizer_piece(tok, t->id[i], false, &n);
        const char *special = tokenizer_piece(tok, t->id[i], true, &all);
        struct say *y = &g->say[g->n_say];
        *y = (struct say){.id = t->id[i], .special = !n && all};
        if (tokenizer_is_eog(tok, t->id[i])) {
            g->end = GENERATION_EOG;
            break;
        }
        g->n_say++;
        if (y->special) {
            if (g->n_say > 1)
                say_text(y - 1, held.data, held.len);
            buf_clear(&held);
            say_text(y, special, all);
            continue;
        }
        buf_append(&held, p, n);
        const char *stop = find_stop(r, &held, &g->stop);
        if (stop) {
            say_text(y, held.data, (size_t)(stop - held.data));
            g->end = GENERATION_STOP;
            buf_clear(&held);
            break;
        }
        const size_t keep = held_back(r, held.data, held.len);
        say_text(y, held.data, held.len - keep);
        memmove(held.data, held.data + held.len - keep, keep);
        held.len = keep;
    }
    if (g->n_say)
        say_text(&g->say[g->n_say - 1], held.data,
                 held.len - unfinished(held.data, held.len));
    buf_release(&held);
}

static enum status plan(struct generation *g, const struct generation_request *r,
                        struct error *err)
{
    struct scheduler *s = g->s;
    struct tokens said;
    struct buf text, answer;
    prompt_text(&text, s->engine, r->prompt, r->n_prompt);
    json_t *rule = find_rule(s, &text);
    tokens_init(&said);
    buf_init(&answer, TEXT_MAX);
    const char *words = rule_text(rule);
    for (int i = number(rule, "repeat", 1); i > 0; i--)
        buf_puts(&answer, words);
    g->delay_us = (uint64_t)number(rule, "delay_ms", 0) * 1000;
    g->prefill_us = (uint64_t)number(rule, "prefill_ms", 0) * 1000;
    const enum status st =
        tokenizer_encode(s->engine->tokenizer, &said, answer.data ? answer.data : "",
                         answer.len, NULL, TOKENIZER_SPECIAL, err);
    g->end = GENERATION_EOG;
    if (!st)
        plan_answer(g, r, &said);
    g->n_planned = g->n_say;
    const int n_ctx = r->n_ctx > 0 && r->n_ctx < s->n_ctx ? r->n_ctx : s->n_ctx;
    int most = n_ctx - (int)r->n_prompt;
    enum generation_end why = GENERATION_CONTEXT;
    if (r->max_tokens >= 0 && r->max_tokens < most) {
        most = r->max_tokens;
        why = GENERATION_LENGTH;
    }
    const char *fail_text = json_string_value(json_object_get(rule, "fail"));
    const int fail_after = number(rule, "fail_after", 0);
    if (fail_text && fail_after < most) {
        most = fail_after;
        why = GENERATION_FAILED;
        snprintf(g->fail, sizeof g->fail, "%s", fail_text);
    }
    if (g->embed)
        g->n_say = 0;
    else if (g->n_say > most || (fail_text && g->n_say >= most)) {
        g->n_say = most < g->n_say ? most : g->n_say;
        g->end = why;
    }
    if (g->embed)
        g->end = GENERATION_EOG;
    buf_release(&text);
    buf_release(&answer);
    tokens_release(&said);
    return st;
}

/* ---- running ---- */

static int cached_of(struct scheduler *s, const int32_t *ids, size_t n)
{
    size_t best = 0;
    for (int i = 0; i < s->n_kept; i++) {
        size_t k = 0;
        while (k < n - 1 && k < s->kept[i].n && s->kept[i].id[k] == ids[k])
            k++;
        best = k > best ? k : best;
    }
    return (int)best;
}

static void keep_prompt(struct scheduler *s, const struct generation *g)
{
    const int at =
        s->n_kept < PROMPTS_KEPT ? s->n_kept++ : (int)(s->stats.accepted % PROMPTS_KEPT);
    struct tokens *t = &s->kept[at];
    t->n = 0;
    for (size_t i = 0; i < g->prompt.n; i++)
        tokens_push(t, g->prompt.id[i]);
}

static void end_generation(struct generation *g, enum generation_end end)
{
    struct scheduler_stats *st = &g->s->stats;
    g->end = end;
    g->state = ENDED;
    st->cancelled += end == GENERATION_CANCELLED;
    st->failed += end == GENERATION_FAILED;
    st->expired += end == GENERATION_EXPIRED;
}

static void begin_generation(struct generation *g, uint64_t now)
{
    struct scheduler *s = g->s;
    g->state = READING;
    g->start_us = now;
    g->n_cached = cached_of(s, g->prompt.id, g->prompt.n);
    keep_prompt(s, g);
    g->due_us = now + g->prefill_us / PROGRESS_STEPS;
    s->stats.prompt_tokens += g->prompt.n - (size_t)g->n_cached;
    s->stats.cached_tokens += (uint64_t)g->n_cached;
}

/* Whatever is due; returns whether something happened, and lowers *next to when the next
 * thing will. */
static bool advance(struct generation *g, uint64_t now, uint64_t *next)
{
    struct scheduler *s = g->s;
    if (g->state == ENDED)
        return false;
    if (g->cancelled) {
        end_generation(g, GENERATION_CANCELLED);
        return true;
    }
    if (g->state == WAITING) {
        if (s->queue_us && now > g->submit_us + s->queue_us) {
            end_generation(g, GENERATION_EXPIRED);
            return true;
        }
        if (s->queue_us && g->submit_us + s->queue_us + 1 < *next)
            *next = g->submit_us + s->queue_us + 1;
        return false;
    }
    if (g->state == SAYING && g->n_ready - g->n_taken >= EVENTS_AHEAD)
        return false; // nobody takes them
    if (now < g->due_us) {
        *next = g->due_us < *next ? g->due_us : *next;
        return false;
    }
    if (g->state == READING) {
        if (++g->n_progress < PROGRESS_STEPS) {
            g->due_us += g->prefill_us / PROGRESS_STEPS;
        } else {
            g->state = SAYING;
            g->first_us = now;
            g->due_us = now + g->delay_us;
            s->stats.prefill_us += now - g->start_us;
        }
    } else if (g->embed || g->n_ready == g->n_say) {
        end_generation(g, g->end);
    } else {
        g->n_ready++;
        s->stats.decoded_tokens++;
        s->stats.decode_us += g->delay_us;
        g->due_us = now + g->delay_us;
    }
    s->stats.steps++;
    return true;
}

static int count_state(const struct scheduler *s, bool waiting)
{
    int n = 0;
    for (const struct generation *g = s->list; g; g = g->next)
        n += waiting ? g->state == WAITING : g->state == READING || g->state == SAYING;
    return n;
}

static bool step(struct scheduler *s, uint64_t now, uint64_t *next)
{
    bool any = false;
    int running = count_state(s, false);
    for (struct generation *g = s->list; g; g = g->next) {
        if (g->state == WAITING && running < s->n_slot && !g->cancelled) {
            begin_generation(g, now);
            running++;
            any = true;
        }
        if (advance(g, now, next)) {
            any = true;
            g->wake(g->wake_ctx);
        }
    }
    return any;
}

static void *run(void *ctx)
{
    struct scheduler *s = ctx;
    pthread_mutex_lock(&s->lock);
    while (!s->ending) {
        const uint64_t now = clock_us();
        uint64_t next = now + 1000000;
        if (step(s, now, &next))
            continue;
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        const uint64_t wait = next > now ? next - now : 1;
        t.tv_nsec += (long)(wait % 1000000) * 1000;
        t.tv_sec += (time_t)(wait / 1000000) + t.tv_nsec / 1000000000;
        t.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&s->changed, &s->lock, &t);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- scheduler.h ---- */

/* The server has the one model that it is given. */
enum status scheduler_open(struct scheduler **out, struct engine *e,
                           const struct scheduler_options *o, struct error *err)
{
    (void)out, (void)e, (void)o;
    return fail(err, STATUS_UNSUPPORTED, "a script loads no models");
}

enum status scheduler_plan(struct scheduler_memory *out, const struct model *m,
                           const struct context_options *o, struct error *err)
{
    (void)out, (void)m, (void)o;
    return fail(err, STATUS_UNSUPPORTED, "a script loads no models");
}


enum status scripted_open(struct scheduler **out, struct engine *e, json_t *script,
                          struct error *err)
{
    struct context_options o = {.n_seq = 1};
    if (!json_is_array(json_object_get(script, "rules")))
        return fail(err, STATUS_BAD_INPUT, "the script has no array of rules");
    struct scheduler *s = mem_array(1, sizeof *s);
    if (!s)
        return fail(err, STATUS_NO_MEMORY, "no memory");
    s->engine = e;
    s->script = json_incref(script);
    s->n_slot = number(script, "slots", 4);
    s->n_queue = number(script, "queue", 64);
    s->queue_us = (uint64_t)number(script, "queue_ms", 60000) * 1000;
    s->n_ctx = o.n_ctx = number(script, "ctx", 4096);
    for (int i = 0; i < PROMPTS_KEPT; i++)
        tokens_init(&s->kept[i]);
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, &a);
    enum status st = kv_types_parse(&o.kv, "turbo4:plain", err);
    if (!st)
        st = context_open(&s->context, e->model, &o, err);
    if (!st && pthread_create(&s->thread, NULL, run, s))
        st = fail(err, STATUS_NO_MEMORY, "no thread");
    s->has_thread = !st;
    if (st)
        scheduler_close(s);
    else
        *out = s;
    return st;
}

void scheduler_close(struct scheduler *s)
{
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->has_thread)
        pthread_join(s->thread, NULL);
    for (int i = 0; i < PROMPTS_KEPT; i++)
        tokens_release(&s->kept[i]);
    context_close(s->context);
    json_decref(s->script);
    mem_free(s);
}

const struct context *scheduler_context(const struct scheduler *s)
{
    return s->context;
}

static void release(struct generation *g)
{
    for (int i = 0; g->say && i < g->n_planned; i++)
        mem_free(g->say[i].text);
    tokens_release(&g->prompt);
    mem_free(g->say);
    mem_free(g->vector);
    mem_free(g);
}

enum status scheduler_submit(struct scheduler *s, const struct generation_request *r,
                             struct generation **out, int *n_fit, struct error *err)
{
    const int n_ctx = r->n_ctx > 0 && r->n_ctx < s->n_ctx ? r->n_ctx : s->n_ctx;
    if (n_fit)
        *n_fit = n_ctx - 1;
    if (!r->n_prompt)
        return fail(err, STATUS_BAD_ARG, "the prompt is empty");
    if (r->n_prompt >= (size_t)n_ctx + r->embed) {
        s->stats.refused_long++;
        return fail(err, STATUS_LIMIT, "%zu tokens do not fit into %d", r->n_prompt,
                    n_ctx);
    }
    struct generation *g = mem_array(1, sizeof *g);
    if (!g)
        return fail(err, STATUS_NO_MEMORY, "no memory");
    g->s = s;
    g->embed = r->embed;
    g->n_logprobs = r->n_logprobs;
    g->n_vocab = tokenizer_n_vocab(s->engine->tokenizer);
    g->wake = r->wake;
    g->wake_ctx = r->wake_ctx;
    g->submit_us = clock_us();
    tokens_init(&g->prompt);
    for (size_t i = 0; i < r->n_prompt; i++)
        tokens_push(&g->prompt, r->prompt[i]);
    pthread_mutex_lock(&s->lock);
    enum status st = plan(g, r, err);
    if (!st && count_state(s, false) + count_state(s, true) >= s->n_slot + s->n_queue) {
        s->stats.refused_full++;
        st = fail(err, STATUS_FULL, "the queue is full");
    }
    if (!st) {
        struct generation **at = &s->list;
        while (*at)
            at = &(*at)->next;
        *at = g;
        s->stats.accepted++;
        pthread_cond_signal(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    if (st)
        release(g);
    else
        *out = g;
    return st;
}

static void give_token(struct generation *g, const struct say *y)
{
    g->out = (struct generation_event){.kind = GENERATION_TOKEN,
                                       .id = y->id,
                                       .text = y->text ? y->text : "",
                                       .n = y->n,
                                       .special = y->special,
                                       .logprob = -0.5f,
                                       .n_top = g->n_logprobs > 0 ? g->n_logprobs : 0};
    for (int i = 0; i < g->out.n_top; i++)
        g->out.top[i] =
            (struct generation_logprob){(y->id + i) % g->n_vocab, -0.5f - (float)i};
}

/* Made of the prompt alone, of unit length. */
static void give_vector(struct generation *g)
{
    const int n = model_hparams(g->s->engine->model)->n_embd;
    double sum = 0;
    uint64_t seed = g->prompt.n;
    g->vector = mem_array((size_t)n, sizeof(float));
    for (size_t i = 0; i < g->prompt.n; i++)
        seed = rng_mix(seed ^ (uint64_t)g->prompt.id[i]);
    for (int i = 0; i < n; i++) {
        g->vector[i] = (float)(rng_uniform(seed, (uint64_t)i) - 0.5);
        sum += (double)g->vector[i] * (double)g->vector[i];
    }
    for (int i = 0; i < n; i++)
        g->vector[i] = (float)((double)g->vector[i] / sqrt(sum));
    g->out =
        (struct generation_event){.kind = GENERATION_EMBEDDING, .embedding = g->vector};
}

static void give_end(struct generation *g)
{
    const uint64_t now = clock_us();
    const uint64_t start = g->start_us ? g->start_us : now;
    g->out = (struct generation_event){
        .kind = GENERATION_END,
        .text = "",
        .end = g->end,
        .stop = g->stop,
        .stats = {.n_prompt = (int)g->prompt.n,
                  .n_cached = g->n_cached,
                  .n_decoded = g->n_ready,
                  .queue_us = start - g->submit_us,
                  .prefill_us = g->first_us ? g->first_us - start : 0,
                  .decode_us = g->first_us ? now - g->first_us : 0}};
    if (g->end == GENERATION_FAILED)
        (void)!fail(&g->out.error, STATUS_NUMERIC, "%s", g->fail);
}

bool generation_next(struct generation *g, struct generation_event *out)
{
    struct scheduler *s = g->s;
    bool any = true;
    pthread_mutex_lock(&s->lock);
    if (g->n_told < g->n_progress) {
        g->n_told++;
        g->out = (struct generation_event){
            .kind = GENERATION_PROGRESS,
            .n_done = (int)g->prompt.n * g->n_told / PROGRESS_STEPS,
            .stats = {.n_prompt = (int)g->prompt.n, .n_cached = g->n_cached}};
    } else if (!g->embed && g->n_taken < g->n_ready) {
        if (g->n_ready - g->n_taken++ == EVENTS_AHEAD)
            pthread_cond_signal(&s->changed);
        give_token(g, &g->say[g->n_taken - 1]);
    } else if (g->embed && g->state == ENDED && !g->embedded &&
               g->end == GENERATION_EOG) {
        g->embedded = true;
        give_vector(g);
    } else if (g->state == ENDED && !g->end_taken) {
        g->end_taken = true;
        give_end(g);
    } else {
        any = false;
    }
    if (any)
        *out = g->out;
    pthread_mutex_unlock(&s->lock);
    return any;
}

void generation_cancel(struct generation *g)
{
    pthread_mutex_lock(&g->s->lock);
    g->cancelled = true;
    pthread_cond_signal(&g->s->changed);
    pthread_mutex_unlock(&g->s->lock);
}

void generation_close(struct generation *g)
{
    struct scheduler *s = g->s;
    pthread_mutex_lock(&s->lock);
    s->stats.cancelled += g->state != ENDED;
    struct generation **at = &s->list;
    while (*at != g)
        at = &(*at)->next;
    *at = g->next;
    pthread_cond_signal(&s->changed); // its place is free
    pthread_mutex_unlock(&s->lock);
    release(g);
}

void scheduler_read_ahead(struct scheduler *s, const int32_t *prompt, size_t n_prompt)
{
    (void)s, (void)prompt, (void)n_prompt;
}

void scheduler_stats(struct scheduler *s, struct scheduler_stats *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->stats;
    out->n_running = count_state(s, false);
    out->n_waiting = count_state(s, true);
    out->n_slot = s->n_slot;
    const struct context_memory m = context_memory(s->context);
    out->page_bytes = m.page_bytes;
    out->state_bytes = m.exact + m.mark;
    out->n_page = s->n_slot * ((s->n_ctx + 63) / 64);
    for (const struct generation *g = s->list; g; g = g->next)
        if (g->state == READING || g->state == SAYING) {
            const int n = (int)g->prompt.n + g->n_ready;
            out->n_tokens += n;
            out->n_page_used += (n + 63) / 64;
        }
    out->retry_after_s = 2;
    pthread_mutex_unlock(&s->lock);
}

int scheduler_slots(struct scheduler *s, struct scheduler_slot *slots, int cap)
{
    int n = 0;
    pthread_mutex_lock(&s->lock);
    for (const struct generation *g = s->list; g && n < s->n_slot; g = g->next)
        if ((g->state == READING || g->state == SAYING) && n < cap) {
            slots[n] = (struct scheduler_slot){.id = n,
                                               .busy = true,
                                               .reading = g->state == READING,
                                               .n_prompt = (int)g->prompt.n,
                                               .n_decoded = g->n_ready,
                                               .n_ctx = s->n_ctx};
            slots[n].n_done = slots[n].n_prompt * g->n_progress / PROGRESS_STEPS;
            n++;
        }
    for (; n < s->n_slot && n < cap; n++)
        slots[n] = (struct scheduler_slot){.id = n, .n_ctx = s->n_ctx};
    pthread_mutex_unlock(&s->lock);
    return s->n_slot;
}
