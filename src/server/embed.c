/* embed.c - vectors of a list of inputs, a few of them at a time. */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "server/internal.h"

static void wake_embed(void *ctx)
{
    http_wake(ctx);
}

/* The tokens of all inputs; false: answered. */
static bool encode_inputs(struct call *c)
{
    struct embedding_job *j = &c->embed;
    const int limit = prompt_limit(c);
    for (int i = 0; i < j->n; i++) {
        struct tokens *t = &j->inputs[i];
        if (!prompt_encode_input(c, json_array_get(c->req.prompts, (size_t)i), t))
            return false;
        if (!t->n) {
            call_fail(c, API_ERROR_INVALID, "input %d is empty", i);
            return false;
        }
        if (t->n > (size_t)limit && c->req.truncate) {
            const struct tokenizer *tok = c->model->engine->tokenizer;
            t->n = (size_t)limit;
            j->n_cut++;
            /* What pools the last token was trained on this one. */
            if (tokenizer_add_eos(tok) && tokenizer_eos(tok) >= 0)
                t->id[t->n - 1] = tokenizer_eos(tok);
        }
        if (t->n > (size_t)limit)
            return prompt_too_long(c, t->n);
        j->n_prompt += (int)t->n;
    }
    return true;
}

bool embed_begin(struct call *c)
{
    struct embedding_job *j = &c->embed;
    const size_t n = json_array_size(c->req.prompts);
    if (n > API_PROMPTS_MAX) {
        call_fail(c, API_ERROR_INVALID, "%zu inputs: at most %d", n, API_PROMPTS_MAX);
        return false;
    }
    if (c->dialect == &dialect_openai && c->req.dimensions > c->model->n_embd) {
        call_fail(c, API_ERROR_INVALID, "dimensions must be at most %d, not %d",
                  c->model->n_embd, c->req.dimensions);
        return false;
    }
    j->inputs = mem_array(n ? n : 1, sizeof *j->inputs);
    j->vectors = mem_array(n ? n : 1, sizeof(float) * (size_t)c->model->n_embd);
    if (!j->inputs || !j->vectors) {
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return false;
    }
    j->n = (int)n;
    return encode_inputs(c);
}

/* false: answered with an error. */
static bool submit_input(struct call *c, int place, bool *full)
{
    struct embedding_job *j = &c->embed;
    struct error err;
    const struct tokens *t = &j->inputs[j->n_submitted];
    const struct generation_request g = {
        .prompt = t->id,
        .n_prompt = t->n,
        .n_ctx = c->req.n_ctx,
        .n_logprobs = -1,
        .sampling = sampler_defaults,
        .embed = true,
        .wake = wake_embed,
        .wake_ctx = c->x,
    };
    const enum status s =
        scheduler_submit(c->model->scheduler, &g, &j->active[place], NULL, &err);
    *full = s == STATUS_FULL && j->n_submitted > j->n_done;
    if (*full) // those that run make room
        return true;
    if (s == STATUS_FULL) {
        const struct api_error e = {.kind = API_ERROR_BUSY,
                                    .message = "server busy, please try again",
                                    .retry_after_s = 1};
        call_error(c, &e);
        return false;
    }
    if (s) {
        call_engine_error(c, &err);
        return false;
    }
    j->input[place] = j->n_submitted++;
    return true;
}

static bool submit_inputs(struct call *c)
{
    struct embedding_job *j = &c->embed;
    bool full = false;
    for (int i = 0; i < SERVER_EMBED_WINDOW && !full; i++)
        if (!j->active[i] && j->n_submitted < j->n && !submit_input(c, i, &full))
            return false;
    return true;
}

static bool take_vector(struct call *c, int place)
{
    struct embedding_job *j = &c->embed;
    const size_t n_embd = (size_t)c->model->n_embd;
    struct generation_event e;
    while (j->active[place] && generation_next(j->active[place], &e)) {
        if (e.kind == GENERATION_EMBEDDING)
            memcpy(j->vectors + (size_t)j->input[place] * n_embd, e.embedding,
                   n_embd * sizeof(float));
        if (e.kind != GENERATION_END)
            continue;
        if (e.end == GENERATION_FAILED || e.end == GENERATION_CANCELLED ||
            e.end == GENERATION_EXPIRED) {
            call_fail(c,
                      e.end == GENERATION_FAILED      ? API_ERROR_INTERNAL
                      : e.end == GENERATION_CANCELLED ? API_ERROR_DRAINING
                                                      : API_ERROR_BUSY,
                      "%s", e.end == GENERATION_FAILED ? e.error.text : "server busy");
            return false;
        }
        generation_close(j->active[place]);
        j->active[place] = NULL;
        j->n_done++;
    }
    return true;
}

static void print_vectors(struct call *c)
{
    struct embedding_job *j = &c->embed;
    struct buf b;
    const struct answer_head head = {.request_id = c->request_id,
                                     .id = c->id,
                                     .model =
                                         *c->req.model ? c->req.model : c->model->name,
                                     .fingerprint = c->model->fingerprint,
                                     .n_prompt = j->n_prompt};
    const struct api_embeddings e = {.vectors = j->vectors,
                                     .n = j->n,
                                     .n_embd = c->model->n_embd,
                                     .n_prompt = j->n_prompt,
                                     .total_us = clock_us() - http_start_us(c->x),
                                     .load_us = c->load_us};
    buf_init(&b, (size_t)1 << 30);
    c->route->op->print_embeddings(&b, &c->req, &head, &e);
    c->usage.n_prompt = j->n_prompt;
    call_reply(c, 200, "application/json", &b);
    buf_release(&b);
}

bool embed_step(struct call *c)
{
    struct embedding_job *j = &c->embed;
    if (http_is_gone(c->x)) {
        call_fail(c, API_ERROR_CANCELLED, "the client has gone");
        return false;
    }
    if (atomic_load(&c->server->ended)) {
        call_fail(c, API_ERROR_DRAINING, "the server is about to end");
        return false;
    }
    for (int i = 0; i < SERVER_EMBED_WINDOW; i++)
        if (!take_vector(c, i))
            return false;
    if (!submit_inputs(c))
        return false;
    if (j->n_done < j->n)
        return true;
    print_vectors(c);
    return false;
}

void embed_close(struct call *c)
{
    struct embedding_job *j = &c->embed;
    for (int i = 0; i < SERVER_EMBED_WINDOW; i++) // all at once
        if (j->active[i])
            generation_cancel(j->active[i]);
    for (int i = 0; i < SERVER_EMBED_WINDOW; i++)
        if (j->active[i])
            generation_close(j->active[i]);
    for (int i = 0; j->inputs && i < j->n; i++)
        tokens_release(&j->inputs[i]);
    mem_free(j->inputs);
    mem_free(j->vectors);
    *j = (struct embedding_job){0};
}
