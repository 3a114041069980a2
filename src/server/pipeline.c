/* pipeline.c - a request of an API: checked, rendered, submitted, followed. */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "dialect/ollama.h"
#include "dialect/ollama_keep_alive.h"
#include "server/internal.h"

static bool parse_request(struct call *c)
{
    struct api_error e = {0};
    json_t *body;
    if (!call_read_json(c, &body))
        return false;
    if (c->route->op->parse(&c->req, body, &e)) {
        json_decref(body);
        call_error(c, &e);
        return false;
    }
    return true;
}

static bool check_think(struct call *c)
{
    /* As Ollama does: its clients ask /api/show for what a model can. */
    if (c->dialect == &dialect_ollama && c->req.think == API_THINK_ON &&
        !c->model->card->can_think) {
        call_fail(c, API_ERROR_UNSUPPORTED, "\"%.200s\" does not support thinking",
                  c->req.model);
        return false;
    }
    return true;
}

static float given(float v, float standard)
{
    return isnan(v) ? standard : v;
}

/* Over the defaults what the dialect says, over that what the model's file does. */
struct sampler_params pipeline_sampling(const struct loaded_model *model,
                                        const struct dialect *dialect)
{
    struct sampler_params d = sampler_defaults;
    const struct api_sampling *s = dialect->sampling;
    const struct sampler_params *m = model ? &model->sampling : NULL;
    if (s) {
        d.temp = given(s->temperature, d.temp);
        d.top_k = s->top_k >= 0 ? s->top_k : d.top_k;
        d.top_p = given(s->top_p, d.top_p);
        d.min_p = given(s->min_p, d.min_p);
        d.typical_p = given(s->typical_p, d.typical_p);
        d.repeat_penalty = given(s->repeat_penalty, d.repeat_penalty);
        d.repeat_last_n = s->repeat_last_n >= 0 ? s->repeat_last_n : d.repeat_last_n;
    }
    if (m) {
        d.temp = given(m->temp, d.temp);
        d.top_k = m->top_k >= 0 ? m->top_k : d.top_k;
        d.top_p = given(m->top_p, d.top_p);
        d.min_p = given(m->min_p, d.min_p);
        d.typical_p = given(m->typical_p, d.typical_p);
        d.repeat_penalty = given(m->repeat_penalty, d.repeat_penalty);
        d.repeat_last_n = m->repeat_last_n >= -1 ? m->repeat_last_n : d.repeat_last_n;
        d.presence_penalty = given(m->presence_penalty, d.presence_penalty);
        d.frequency_penalty = given(m->frequency_penalty, d.frequency_penalty);
    }
    return d;
}

static void set_sampling(struct sampler_params *out, const struct call *c, uint64_t seed,
                         struct sampler_bias bias[API_BIAS_MAX])
{
    const struct api_request *r = &c->req;
    const struct api_sampling *s = &r->sampling;
    const struct sampler_params d = pipeline_sampling(c->model, c->dialect);
    *out = (struct sampler_params){
        .temp = given(s->temperature, d.temp),
        .top_k = s->top_k >= 0 ? s->top_k : d.top_k,
        .top_p = given(s->top_p, d.top_p),
        .min_p = given(s->min_p, d.min_p),
        .typical_p = given(s->typical_p, d.typical_p),
        .repeat_penalty = given(s->repeat_penalty, d.repeat_penalty),
        .repeat_last_n = s->repeat_last_n >= 0 ? s->repeat_last_n : d.repeat_last_n,
        .presence_penalty = given(s->presence_penalty, d.presence_penalty),
        .frequency_penalty = given(s->frequency_penalty, d.frequency_penalty),
        .seed = seed,
        .bias = bias,
        .n_bias = r->n_bias,
    };
    for (int i = 0; i < r->n_bias; i++)
        bias[i] = (struct sampler_bias){
            r->bias[i].id, r->bias[i].bias <= -100 ? -INFINITY : r->bias[i].bias};
}

static bool check_bias(struct call *c)
{
    const int n_vocab = tokenizer_n_vocab(c->model->engine->tokenizer);
    for (int i = 0; i < c->req.n_bias; i++) {
        bool twice = false;
        const int32_t id = c->req.bias[i].id;
        for (int j = 0; j < i; j++)
            twice |= c->req.bias[j].id == id;
        if (id < 0 || id >= n_vocab || twice) {
            call_fail(
                c, API_ERROR_INVALID,
                "logit_bias: %d is there twice, or not an id of the vocabulary, 0 to "
                "%d",
                (int)id, n_vocab - 1);
            return false;
        }
    }
    return true;
}

static void wake(void *ctx)
{
    http_wake(ctx);
}

static bool refuse_submit(struct call *c, const struct error *err, size_t n_prompt)
{
    struct scheduler_stats stats;
    if (err->status == STATUS_LIMIT)
        return prompt_too_long(c, n_prompt);
    if (err->status != STATUS_FULL) {
        call_engine_error(c, err);
        return false;
    }
    scheduler_stats(c->model->scheduler, &stats);
    const struct api_error e = {
        .kind = API_ERROR_BUSY,
        .message = "server busy, please try again.  maximum pending requests exceeded",
        .retry_after_s = stats.retry_after_s};
    call_error(c, &e);
    return false;
}

static bool submit(struct call *c, struct choice *ch, uint64_t seed)
{
    struct sampler_bias bias[API_BIAS_MAX];
    struct error err;
    const struct loaded_model *m = c->model;
    const char *const *stop = c->req.n_stop ? c->req.stop : m->stop;
    const struct tokens *prompt = &c->prompt[ch->index / c->req.n];
    struct generation_request g = {
        .prompt = prompt->id,
        .n_prompt = prompt->n,
        .n_stable = c->chat.stable.n,
        .max_tokens = c->req.max_tokens >= 0 || c->req.unlimited ? c->req.max_tokens
                                                                 : m->max_tokens,
        .n_ctx = c->req.n_ctx,
        .n_logprobs = c->req.n_logprobs,
        .n_stop = c->req.n_stop ? c->req.n_stop : m->n_stop,
        .grammar = grammar_entry_grammar(c->grammar),
        .wake = wake,
        .wake_ctx = c->x,
    };
    for (int i = 0; i < c->chat.stable.n; i++)
        g.stable[i] = c->chat.stable.at[i];
    for (int i = 0; i < g.n_stop; i++)
        g.stop[i] = stop[i];
    set_sampling(&g.sampling, c, seed + (uint64_t)(ch->index % c->req.n), bias);
    return !scheduler_submit(c->model->scheduler, &g, &ch->g, NULL, &err) ||
           refuse_submit(c, &err, prompt->n);
}

static void fill_head(struct call *c)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    c->head = (struct answer_head){
        .request_id = c->request_id,
        .id = c->id,
        .model = *c->req.model || !c->model ? c->req.model : c->model->name,
        .fingerprint = c->model ? c->model->fingerprint : "",
        .created_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
    };
    for (int i = 0; i < c->n_prompts; i++)
        c->head.n_prompt += (int)c->prompt[i].n;
}

static void count_tokens(struct call *c)
{
    struct buf b;
    buf_init(&b, SERVER_JSON_MAX);
    c->route->op->print_count(&b, (int)c->prompt[0].n);
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

/* Nothing but that the model go: one that is not there need not come for it. */
static bool unloads_only(const struct call *c)
{
    int64_t us;
    return c->dialect == &dialect_ollama && c->req.task != API_EMBED &&
           ollama_loads_only(&c->req) && c->req.keep_alive &&
           ollama_keep_alive_text(c->req.keep_alive, &us) && us == 0;
}

static void unload(struct call *c)
{
    struct model_ref ref;
    struct api_error e;
    if (models_find(c->server->models, c->req.model, &ref, &e)) {
        call_error(c, &e);
        return;
    }
    models_unload(c->server->models, &ref);
    c->n_choice = 1;
    fill_head(c);
    answer_nothing(c);
}

/* false: answered. */
static bool begin(struct call *c)
{
    if (!check_think(c) || !cache_type_is_model(c))
        return false;
    if (c->req.task == API_EMBED)
        return embed_begin(c);
    if (c->dialect == &dialect_ollama && ollama_loads_only(&c->req)) {
        c->n_choice = 1;
        fill_head(c);
        answer_nothing(c);
        return false;
    }
    if (!check_bias(c) || !prompt_make(c))
        return false;
    if (c->req.task == API_COUNT) {
        count_tokens(c);
        return false;
    }
    fill_head(c);
    if (!constraint_make(c))
        return false;
    c->n_choice = c->n_prompts * c->req.n;
    if (!answer_open(c))
        return false;
    const bool own = c->model->has_seed && !c->req.sampling.any_seed;
    const uint64_t seed = c->req.sampling.has_seed ? c->req.sampling.seed
                          : own                    ? c->model->seed
                                                   : id_random();
    for (int i = 0; i < c->n_choice; i++)
        if (!submit(c, &c->choice[i], seed))
            return false;
    c->next_ping_us = clock_us() + c->server->o.ping_us;
    http_wake_at(c->x, c->next_ping_us);
    return true;
}

enum first_step { FIRST_GOES_ON, FIRST_WAITS, FIRST_ANSWERED };

/* Up to what needs the model. */
static enum first_step first_step(struct call *c)
{
    if (!c->has_req) {
        if (!parse_request(c))
            return FIRST_ANSWERED;
        c->has_req = true;
        if (!cache_type_is_known(c))
            return FIRST_ANSWERED;
        if (unloads_only(c)) {
            unload(c);
            return FIRST_ANSWERED;
        }
    }
    const enum model_wait w = models_acquire(c, c->req.model);
    if (w == MODEL_READY) {
        c->started = true;
        return begin(c) ? FIRST_GOES_ON : FIRST_ANSWERED;
    }
    return w == MODEL_WAITS ? FIRST_WAITS : FIRST_ANSWERED;
}

void pipeline_step(struct call *c)
{
    bool goes_on = true;
    if (!c->started) {
        const enum first_step first = first_step(c);
        goes_on = first == FIRST_GOES_ON;
        if (first != FIRST_ANSWERED && call_lacks_memory(c)) {
            call_fail(c, API_ERROR_INTERNAL, "out of memory");
            goes_on = false;
        } else if (first == FIRST_WAITS) {
            return;
        }
    }
    if (goes_on)
        goes_on = c->req.task == API_EMBED ? embed_step(c) : answer_step(c);
    if (!goes_on)
        call_close(c);
}

void pipeline_close(struct call *c)
{
    answer_close(c);
    if (c->grammar)
        grammar_cache_put(c->model->grammars, c->grammar);
    c->grammar = NULL;
}
