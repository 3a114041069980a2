/* translate.c - a client's request and its answer in another API than the backend's. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "access/body.h"
#include "dialect/ollama.h"
#include "router/internal.h"

const struct upstream *translate_upstream(unsigned dialect)
{
    return &upstreams[dialect == DIALECT_ANTHROPIC ? UPSTREAM_ANTHROPIC
                      : dialect == DIALECT_OLLAMA  ? UPSTREAM_OLLAMA
                                                   : UPSTREAM_OPENAI];
}

enum status translate_parse(struct relay *c, struct api_error *err)
{
    size_t n;
    if (c->has_req)
        return STATUS_OK;
    char *text = http_body(c->x, &n);
    json_t *body = body_parse(text, n, err);
    if (!body)
        return STATUS_BAD_INPUT;
    api_request_init(&c->req);
    c->req.keep_images = true; // the backend says what it cannot see
    const enum status s = c->route->op->parse(&c->req, body, err);
    if (s)
        json_decref(body);
    c->has_req = !s;
    return s;
}

static void name_answer(struct relay *c)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    c->head = (struct answer_head){
        .request_id = c->request_id,
        .id = c->id,
        .model = *c->asked_model ? c->asked_model : c->served,
        .fingerprint = "",
        .created_us = (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000,
        .n_prompt = c->ask.n_prompt,
    };
}

/* A count for who has no endpoint for it; Ollama's request to load a model, which other
 * backends do by themselves. */
bool translate_alone(struct relay *c)
{
    struct api_error e;
    if (!c->route->op)
        return false;
    pthread_mutex_lock(&c->router->lock);
    const bool counts = c->backend->counter != UPSTREAM_COUNT_NONE;
    // Ollama's Anthropic API has no such path.
    const bool knows_none = c->translates || !strcmp(c->backend->software, "ollama");
    pthread_mutex_unlock(&c->router->lock);
    const bool is_count = c->route->kind == ROUTE_COUNT && !counts && knows_none;
    if ((!is_count && !c->translates) ||
        (!is_count && c->route->dialect != DIALECT_OLLAMA) || translate_parse(c, &e) ||
        (!is_count && !ollama_loads_only(&c->req)))
        return false;
    struct buf body;
    buf_init(&body, ROUTER_ANSWER_MAX);
    if (is_count) {
        c->route->op->print_count(&body, c->ask.n_prompt);
    } else {
        const struct answer_event end = {.kind = ANSWER_END, .finish = ANSWER_STOP};
        name_answer(c);
        struct answer_writer *w = c->route->op->open_writer(&c->req, &c->head);
        body.failed = !w;
        if (w) {
            w->ops->begin(w, &body);
            w->ops->event(w, &end, &body);
            w->ops->close(w);
        }
    }
    relay_attempt_done(c);
    c->done = true;
    relay_reply(c, 200, "application/json", &body);
    buf_release(&body);
    return true;
}

/* Whether it takes the fields that llama.cpp, vLLM and Turbine add to OpenAI's API. */
static bool takes_more_fields(const struct backend *b)
{
    return !strcmp(b->software, "turbine") || !strcmp(b->software, "llama-server") ||
           !strcmp(b->software, "vllm");
}

enum status translate_request(struct relay *c, const char **method, const char **path,
                              struct api_error *err)
{
    struct upstream_call call;
    enum status s;
    if (!c->route->op)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, NULL,
                        "%s has no such operation", c->backend->shown);
    if ((s = translate_parse(c, err)))
        return s;
    pthread_mutex_lock(&c->router->lock);
    const int n_ctx = c->backend->n_ctx;
    const enum upstream_counter counter = c->backend->counter;
    const bool more_fields = takes_more_fields(c->backend);
    c->router->n_translated++;
    pthread_mutex_unlock(&c->router->lock);
    const struct upstream_ask ask = {
        .model = *c->served ? c->served : c->req.model,
        .stream = c->req.stream,
        .strict = !more_fields,
        .max_tokens_cap =
            n_ctx > c->ask.n_prompt && c->ask.n_prompt ? n_ctx - c->ask.n_prompt : 0,
    };
    if (c->req.task == API_COUNT)
        s = upstream_print_count(counter, &c->sent, &call, &c->req, &ask, err);
    else
        s = upstream_print_request(translate_upstream(c->via), &c->sent, &call, &c->req,
                                   &ask, err);
    if (s)
        return s == STATUS_NO_MEMORY ? api_no_memory(err) : s;
    snprintf(c->dropped, sizeof c->dropped, "%s", call.dropped);
    *method = call.method;
    *path = call.path;
    return STATUS_OK;
}

/* ---- the reply ---- */

static void on_event(void *ctx, const struct answer_event *e)
{
    struct relay *c = ctx;
    if (e->kind == ANSWER_ERROR) {
        c->reader_error = *e->error;
        return; // how it ends is not the writer's to say
    }
    c->has_text |= e->kind != ANSWER_PING && e->kind != ANSWER_PROGRESS;
    if (!c->writer_begun) {
        c->writer_begun = true;
        c->writer->ops->begin(c->writer, &c->out);
    }
    if (e->kind == ANSWER_END) {
        struct answer_event end = *e;
        end.usage.total_us = clock_us() - http_start_us(c->x);
        c->usage = end.usage;
        c->has_usage = true;
        c->writer->ops->event(c->writer, &end, &c->out);
        return;
    }
    c->writer->ops->event(c->writer, e, &c->out);
}

bool translate_open(struct relay *c)
{
    const struct upstream_reader_setup setup = {
        .upstream = translate_upstream(c->via),
        .request = &c->req,
        .stream = c->is_stream,
        .id = c->id,
        .sink = on_event,
        .ctx = c,
    };
    struct api_error e;
    if (c->route->kind != ROUTE_GENERATE)
        return true; // a document, read when it is whole
    name_answer(c);
    c->writer = c->route->op->open_writer(&c->req, &c->head);
    c->reader = c->writer ? upstream_reader_open(&setup) : NULL;
    c->reader_state = UPSTREAM_OPEN;
    if (c->reader)
        return true;
    (void)!api_no_memory(&e);
    relay_attempt_failed(c, POLICY_FAILURE_CLIENT, &e, 0);
    return false;
}

void translate_feed(struct relay *c, const char *p, size_t n)
{
    if (!c->reader)
        buf_append(&c->in, p, n);
    else if (c->reader_state == UPSTREAM_OPEN)
        c->reader_state = upstream_reader_feed(c->reader, p, n);
}

/* Documents of other operations than answers. */
static void read_whole(struct relay *c)
{
    struct api_embeddings v;
    const char *body = c->in.data ? c->in.data : "";
    c->reader_state = UPSTREAM_FAILED;
    if (c->req.task == API_COUNT) {
        const int n = upstream_read_count(body, c->in.len);
        if (n >= 0) {
            c->route->op->print_count(&c->out, n);
            c->reader_state = UPSTREAM_DONE;
        } else {
            upstream_no_reply(&c->reader_error, "its answer has no count of tokens");
        }
        return;
    }
    if (upstream_read_embeddings(translate_upstream(c->via), &v,
                                 (int)json_array_size(c->req.prompts), body, c->in.len,
                                 &c->reader_error))
        return;
    v.total_us = clock_us() - http_start_us(c->x);
    c->usage = (struct answer_usage){.n_prompt = v.n_prompt};
    c->has_usage = true;
    name_answer(c);
    c->route->op->print_embeddings(&c->out, &c->req, &c->head, &v);
    upstream_embeddings_release(&v);
    c->reader_state = UPSTREAM_DONE;
}

void translate_finish(struct relay *c, const char *why)
{
    if (c->reader) {
        c->reader_state = upstream_reader_finish(c->reader, why);
    } else if (why) {
        c->reader_state = UPSTREAM_FAILED;
        upstream_no_reply(&c->reader_error, why);
    } else {
        read_whole(c);
    }
}

void translate_close(struct relay *c)
{
    if (c->reader)
        upstream_reader_close(c->reader);
    if (c->writer)
        c->writer->ops->close(c->writer);
    c->reader = NULL;
    c->writer = NULL;
    c->writer_begun = c->has_text = false;
    c->reader_state = UPSTREAM_OPEN;
    buf_release(&c->out);
    buf_init(&c->out, ROUTER_ANSWER_MAX);
}
