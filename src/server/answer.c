/* answer.c - events of generations to bytes of a dialect. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "json/parse.h"
#include "base/mem.h"
#include "server/internal.h"

enum { ANSWER_FLUSH_BYTES = 16 << 10 };

static void print_event(struct call *c, const struct answer_event *e)
{
    c->writer->ops->event(c->writer, e, &c->out);
}

/* From here on the status is 200. */
static void begin_stream(struct call *c)
{
    if (c->began)
        return;
    c->began = true;
    call_add_headers(c);
    http_add_header(c->x, "Cache-Control", "no-cache");
    http_add_header(c->x, "X-Accel-Buffering", "no");
    http_stream_begin(c->x, 200, c->writer->content_type);
    c->writer->ops->begin(c->writer, &c->out);
}

/* Text, arguments or events may be missing from here on. */
static bool lacks_memory(struct call *c)
{
    c->out.failed = c->out.failed || call_lacks_memory(c);
    return c->out.failed;
}

static void flush_stream(struct call *c)
{
    if (!c->began || !c->out.len || lacks_memory(c))
        return;
    http_stream_write(c->x, c->out.data, c->out.len);
    buf_clear(&c->out);
    c->next_ping_us = clock_us() + c->server->o.ping_us;
    http_wake_at(c->x, c->next_ping_us);
}

/* ---- what the parser finds ---- */

static void begin_tool(struct choice *ch, const struct output_event *e)
{
    const bool anthropic = ch->call->dialect == &dialect_anthropic;
    id_make(ch->tool_id, anthropic ? "toolu_" : "call_");
    mem_free(ch->tool_name);
    ch->tool_name = mem_array(e->n + 1, 1);
    if (ch->tool_name)
        memcpy(ch->tool_name, e->text, e->n);
    buf_clear(&ch->args);
    ch->called = true;
    ch->reasoning = false;
}

static void end_tool(struct choice *ch)
{
    json_t *args = json_parse(ch->args.data ? ch->args.data : "{}",
                              ch->args.data ? ch->args.len : 2, 0, NULL);
    if (!ch->calls)
        ch->calls = json_array();
    json_array_append_new(ch->calls, json_pack("{s:s,s:s,s:{s:s,s:o}}", "id", ch->tool_id,
                                               "type", "function", "function", "name",
                                               ch->tool_name ? ch->tool_name : "",
                                               "arguments", args ? args : json_object()));
}

static void on_output(void *ctx, const struct output_event *e)
{
    struct choice *ch = ctx;
    struct answer_event out = {.choice = ch->index, .text = e->text, .n = e->n};
    switch (e->kind) {
    case OUTPUT_REASONING:
        out.kind = ANSWER_REASONING;
        ch->reasoning = true;
        buf_append(&ch->thought, e->text, e->n);
        break;
    case OUTPUT_TEXT:
        out.kind = ANSWER_TEXT;
        ch->reasoning = false;
        buf_append(&ch->content, e->text, e->n);
        break;
    case OUTPUT_TOOL_BEGIN:
        begin_tool(ch, e);
        out.kind = ANSWER_TOOL_BEGIN;
        out.id = ch->tool_id;
        out.name = ch->tool_name ? ch->tool_name : "";
        break;
    case OUTPUT_TOOL_ARGS:
        out.kind = ANSWER_TOOL_ARGS;
        buf_append(&ch->args, e->text, e->n);
        break;
    case OUTPUT_TOOL_END:
        out.kind = ANSWER_TOOL_END;
        end_tool(ch);
        break;
    }
    print_event(ch->call, &out);
}

/* ---- what the engine says ---- */

/* Completions show the text as it is; what control tokens stand for is not text. */
static void take_bytes(struct choice *ch, const char *text, size_t n, bool special)
{
    if (!n)
        return;
    if (!ch->parser) {
        const struct answer_event e = {
            .kind = ANSWER_TEXT, .choice = ch->index, .text = text, .n = n};
        if (!special)
            print_event(ch->call, &e);
        return;
    }
    buf_append(&ch->raw, text, n);
    for (size_t i = 0; i < n; i++)
        buf_append(&ch->mark, special ? "\0" : "\1", 1);
    output_parser_feed(ch->parser, text, n, special);
}

static void print_logprob(struct choice *ch, const struct generation_event *e)
{
    const struct tokenizer *t = ch->call->model->engine->tokenizer;
    struct answer_token top[SCHEDULER_LOGPROBS_MAX];
    struct answer_event out = {.kind = ANSWER_LOGPROB,
                               .choice = ch->index,
                               .token = {.id = e->id, .logprob = e->logprob},
                               .top = top,
                               .n_top = e->n_top};
    out.token.text = tokenizer_piece(t, e->id, true, &out.token.n);
    for (int i = 0; i < e->n_top; i++) {
        top[i] = (struct answer_token){.id = e->top[i].id, .logprob = e->top[i].logprob};
        top[i].text = tokenizer_piece(t, top[i].id, true, &top[i].n);
    }
    print_event(ch->call, &out);
}

static void measure_token(struct call *c)
{
    struct metrics *m = &c->server->metrics;
    const uint64_t now = clock_us();
    if (!c->first_us) {
        c->first_us = now;
        metrics_first(m, (double)(now - http_start_us(c->x)) / 1e6);
    } else {
        metrics_next(m, (double)(now - c->last_us) / 1e6, 1);
    }
    c->last_us = now;
}

static void add_token_event(struct choice *ch, const struct generation_event *e)
{
    if (e->id >= 0) {
        measure_token(ch->call);
        if (ch->call->req.n_logprobs >= 0)
            print_logprob(ch, e);
    }
    take_bytes(ch, e->text, e->n, e->special);
    ch->n_reasoning += ch->reasoning && e->id >= 0;
}

static enum answer_finish finish_of(const struct choice *ch,
                                    const struct generation_event *e)
{
    /* A stop of the model's own is its way to end; the client knows of none. */
    if (e->end == GENERATION_STOP && ch->call->req.n_stop)
        return ANSWER_STOP_STRING;
    if (e->end == GENERATION_LENGTH || e->end == GENERATION_CONTEXT)
        return ANSWER_LENGTH;
    return ch->called ? ANSWER_TOOL_CALLS : ANSWER_STOP;
}

/* What a client sends back of an answer with calls must become the same tokens. */
static void keep_calls(struct choice *ch)
{
    if (!ch->calls || ch->raw.failed || ch->mark.failed || ch->content.failed)
        return;
    const size_t from = output_parser_answer_start(ch->parser);
    replay_keep(ch->call->model->replay, ch->calls,
                ch->content.data ? ch->content.data : "", ch->raw.data + from,
                (const uint8_t *)ch->mark.data + from, ch->raw.len - from);
}

static void add_usage(struct answer_usage *sum, const struct answer_usage *u)
{
    sum->n_prompt = u->n_prompt;
    sum->n_cached = u->n_cached;
    sum->n_decoded += u->n_decoded;
    sum->n_reasoning += u->n_reasoning;
}

static void end_choice(struct choice *ch, const struct generation_event *e)
{
    static const char *const names[] = {"stop", "stop_string", "length", "tool_calls"};
    struct call *c = ch->call;
    const struct generation_stats *s = &e->stats;
    take_bytes(ch, e->text, e->n, false);
    if (ch->parser)
        output_parser_end(ch->parser);
    const struct answer_event out = {
        .kind = ANSWER_END,
        .choice = ch->index,
        .finish = finish_of(ch, e),
        .stop_string =
            e->end == GENERATION_STOP && c->req.n_stop ? c->req.stop[e->stop] : NULL,
        .usage = {.n_prompt = s->n_prompt,
                  .n_cached = s->n_cached,
                  .n_decoded = s->n_decoded,
                  .n_reasoning = ch->n_reasoning,
                  .queue_us = s->queue_us,
                  .prefill_us = s->prefill_us,
                  .decode_us = s->decode_us,
                  .load_us = c->load_us,
                  .total_us = clock_us() - http_start_us(c->x)}};
    print_event(c, &out);
    add_usage(&c->usage, &out.usage);
    c->finish = names[out.finish];
    keep_calls(ch);
    ch->done = true;
    c->n_done++;
}

static void print_progress(const struct choice *ch, const struct generation_event *g)
{
    const struct answer_event e = {.kind = ANSWER_PROGRESS,
                                   .choice = ch->index,
                                   .n_done = g->n_done,
                                   .usage = {.n_prompt = g->stats.n_prompt,
                                             .n_cached = g->stats.n_cached,
                                             .prefill_us = g->stats.prefill_us}};
    if (ch->call->req.progress && g->n_done <= g->stats.n_prompt)
        print_event(ch->call, &e);
}

/* false: the answer failed, and e says how. */
static bool take_event(struct choice *ch, const struct generation_event *g,
                       struct api_error *e)
{
    const bool failed = g->kind == GENERATION_END && g->end >= GENERATION_CANCELLED;
    if (ch->call->req.stream && !failed)
        begin_stream(ch->call);
    if (g->kind == GENERATION_PROGRESS)
        print_progress(ch, g);
    if (g->kind == GENERATION_TOKEN)
        add_token_event(ch, g);
    if (g->kind != GENERATION_END)
        return true;
    switch (g->end) {
    case GENERATION_EOG:
    case GENERATION_STOP:
    case GENERATION_LENGTH:
    case GENERATION_CONTEXT:
        end_choice(ch, g);
        return true;
    case GENERATION_EXPIRED:
        *e = (struct api_error){.kind = API_ERROR_BUSY,
                                .message = "server busy: the request waited too long",
                                .retry_after_s = 5};
        return false;
    case GENERATION_CANCELLED:
        (void)!api_fail(e, STATUS_FULL, API_ERROR_DRAINING, NULL,
                        "the server is about to end");
        return false;
    case GENERATION_FAILED:
        (void)!api_fail(e, STATUS_NUMERIC, API_ERROR_INTERNAL, NULL, "%s", g->error.text);
        return false;
    }
    return true;
}

/* The last words of a stream that goes wrong. */
static void say_error(struct call *c, const struct api_error *e)
{
    const struct answer_event out = {.kind = ANSWER_ERROR, .error = e};
    c->finish = e->kind == API_ERROR_CANCELLED ? "cancelled" : "error";
    print_event(c, &out);
    flush_stream(c);
    metrics_rejected(&c->server->metrics, e->kind);
}

static void break_or_end(struct call *c, int status)
{
    call_account(c, status);
    if (c->out.failed)
        http_stream_break(c->x);
    else
        http_stream_end(c->x);
}

static void fail_answer(struct call *c, const struct api_error *e)
{
    if (c->began) {
        say_error(c, e);
        break_or_end(c, e->kind == API_ERROR_CANCELLED ? api_error_http(e->kind) : 200);
    } else {
        c->finish = e->kind == API_ERROR_CANCELLED ? "cancelled" : "error";
        call_error(c, e);
    }
}

static bool has_room(struct call *c)
{
    if (!c->req.stream)
        return true;
    if (c->out.len > ANSWER_FLUSH_BYTES)
        flush_stream(c);
    return http_stream_has_room(c->x);
}

/* false: answered, with an error. */
static bool take_events(struct call *c)
{
    struct generation_event g;
    struct api_error e;
    for (int i = 0; i < c->n_choice; i++) {
        struct choice *ch = &c->choice[i];
        while (!ch->done && has_room(c) && generation_next(ch->g, &g))
            if (!take_event(ch, &g, &e)) {
                fail_answer(c, &e);
                return false;
            }
    }
    return true;
}

/* What could not be printed is no answer: its client is told, between events. */
static void fail_printing(struct call *c)
{
    struct api_error e;
    (void)!api_no_memory(&e);
    buf_clear(&c->out);
    call_mark_memory(c);
    fail_answer(c, &e);
}

static void finish_answer(struct call *c)
{
    if (c->began) {
        flush_stream(c);
        break_or_end(c, 200);
    } else {
        call_reply(c, 200, c->writer->content_type, &c->out);
    }
    read_ahead(c);
}

static void ping(struct call *c)
{
    const struct answer_event e = {.kind = ANSWER_PING};
    const uint64_t now = clock_us();
    if (now < c->next_ping_us)
        return;
    /* Not before it runs: who waits in the queue can still be told so by a status. */
    if (c->began)
        print_event(c, &e);
    c->next_ping_us = now + c->server->o.ping_us;
    http_wake_at(c->x, c->next_ping_us);
}

void answer_nothing(struct call *c)
{
    const struct answer_event out = {
        .kind = ANSWER_END,
        .usage = {.load_us = c->load_us, .total_us = clock_us() - http_start_us(c->x)}};
    if (!answer_open(c))
        return;
    if (c->req.stream)
        begin_stream(c);
    print_event(c, &out);
    if (lacks_memory(c))
        fail_printing(c);
    else
        finish_answer(c);
}

/* Ask all generations to end, and wait for that in steps: closing one that runs would
 * hold a worker for as long as a step of the model takes.  true: they have. */
static bool cancel_choices(struct call *c)
{
    struct generation_event g;
    bool all = true;
    for (int i = 0; i < c->n_choice; i++) {
        struct choice *ch = &c->choice[i];
        if (!c->cancelled && !ch->done)
            generation_cancel(ch->g);
        while (!ch->done && generation_next(ch->g, &g))
            ch->done = g.kind == GENERATION_END;
        all &= ch->done;
    }
    c->cancelled = true;
    return all;
}

/* What a client is told does not wait for the model's step, which may take longer than
 * the server still has. */
static bool end_with_server(struct call *c)
{
    struct api_error e;
    (void)!api_fail(&e, STATUS_FULL, API_ERROR_DRAINING, NULL,
                    "the server is about to end");
    if (c->began && !c->cancelled)
        say_error(c, &e);
    if (!cancel_choices(c))
        return true;
    if (c->began)
        break_or_end(c, 200);
    else
        fail_answer(c, &e);
    return false;
}

bool answer_step(struct call *c)
{
    struct api_error e;
    if (http_is_gone(c->x)) {
        if (!cancel_choices(c))
            return true;
        (void)!api_fail(&e, STATUS_IO, API_ERROR_CANCELLED, NULL, "the client has gone");
        fail_answer(c, &e);
        return false;
    }
    if (!c->cancelled && !take_events(c))
        return false;
    if (lacks_memory(c)) {
        fail_printing(c);
        return false;
    }
    if (c->n_done == c->n_choice) {
        finish_answer(c);
        return false;
    }
    if (atomic_load(&c->server->ended))
        return end_with_server(c);
    ping(c);
    flush_stream(c);
    return true;
}

/* ---- opening and closing ---- */

static bool open_parser(struct call *c, struct choice *ch)
{
    struct error err;
    const struct output_options o = {
        .format = c->model->format,
        .tools = c->tools,
        .reasoning = c->chat.reasoning,
        .max_bytes = SERVER_CALL_MAX,
        .emit = on_output,
        .ctx = ch,
    };
    if (!output_parser_open(&ch->parser, &o, &err))
        return true;
    call_engine_error(c, &err);
    return false;
}

static void print_echo(struct call *c, int choice)
{
    const json_t *text = json_array_get(c->req.prompts, (size_t)(choice / c->req.n));
    const struct answer_event e = {.kind = ANSWER_TEXT,
                                   .choice = choice,
                                   .text = json_string_value(text),
                                   .n = json_string_length(text)};
    if (e.text && e.n)
        print_event(c, &e);
}

bool answer_open(struct call *c)
{
    c->writer = c->route->op->open_writer(&c->req, &c->head);
    if (!c->writer) {
        call_fail(c, API_ERROR_INTERNAL, "out of memory");
        return false;
    }
    for (int i = 0; i < c->n_choice; i++) {
        struct choice *ch = &c->choice[i];
        ch->call = c;
        ch->index = i;
        ch->reasoning = c->chat.reasoning;
        buf_init(&ch->raw, SERVER_ANSWER_MAX);
        buf_init(&ch->mark, SERVER_ANSWER_MAX);
        buf_init(&ch->content, SERVER_ANSWER_MAX);
        buf_init(&ch->thought, SERVER_ANSWER_MAX);
        buf_init(&ch->args, SERVER_ANSWER_MAX);
        if (c->messages && !open_parser(c, ch)) // a chat
            return false;
    }
    if (!c->req.stream)
        c->writer->ops->begin(c->writer, &c->out);
    for (int i = 0; c->req.echo && i < c->n_choice; i++)
        print_echo(c, i);
    return true;
}

void answer_close(struct call *c)
{
    /* All at once, rather than a step of the model for each. */
    for (int i = 0; i < API_N_MAX; i++)
        if (c->choice[i].g)
            generation_cancel(c->choice[i].g);
    for (int i = 0; i < API_N_MAX; i++) {
        struct choice *ch = &c->choice[i];
        if (ch->g)
            generation_close(ch->g);
        if (ch->parser)
            output_parser_close(ch->parser);
        ch->g = NULL;
        ch->parser = NULL;
        json_decref(ch->calls);
        ch->calls = NULL;
        mem_free(ch->tool_name);
        ch->tool_name = NULL;
        buf_release(&ch->raw);
        buf_release(&ch->mark);
        buf_release(&ch->content);
        buf_release(&ch->thought);
        buf_release(&ch->args);
    }
}
