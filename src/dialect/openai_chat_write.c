/* openai_chat_write.c - POST /v1/chat/completions: answers.
 *
 * A request in the old form (functions) has its one call as function_call. */
#include <string.h>

#include "base/mem.h"
#include "json/print.h"
#include "dialect/openai.h"

struct chat_choice {
    struct buf text, reasoning; // not of streams
    struct buf calls;           // JSON, without the brackets; not of streams
    struct buf logprobs;        // entries; of streams those that were not sent yet
    int n_call;
    const char *finish; // NULL: it goes on
};

struct chat_writer {
    struct answer_writer head;
    struct openai_totals totals;
    int n_choice, n_ended;
    bool old_form, failed;
    struct chat_choice *choices; // [n_choice]
};

/* ---- streams ---- */

static void begin_chunk(const struct chat_writer *w, struct buf *out, int choice)
{
    buf_puts(out, "data: ");
    openai_print_head(out, &w->head, "chatcmpl-", "chat.completion.chunk");
    buf_printf(out, ",\"choices\":[{\"index\":%d,\"delta\":{", choice);
}

static void print_logprobs(const struct chat_writer *w, struct buf *out,
                           const struct chat_choice *c)
{
    if (w->head.request->n_logprobs < 0 ||
        (w->head.request->stream && !c->logprobs.len)) {
        buf_puts(out, "\"logprobs\":null");
        return;
    }
    buf_puts(out, "\"logprobs\":{\"content\":[");
    buf_append(out, c->logprobs.data, c->logprobs.len);
    buf_puts(out, "],\"refusal\":null}");
}

/* Behind the members of delta.  finish: NULL or the reason. */
static void end_chunk(struct chat_writer *w, struct buf *out, int choice,
                      const char *finish)
{
    struct chat_choice *c = &w->choices[choice];
    buf_puts(out, "},");
    print_logprobs(w, out, c);
    buf_clear(&c->logprobs);
    if (finish)
        buf_printf(out, ",\"finish_reason\":\"%s\"}]", finish);
    else
        buf_puts(out, ",\"finish_reason\":null}]");
    if (w->head.request->stream_usage) {
        buf_puts(out, ",\"usage\":null");
    } else if (w->n_ended == w->n_choice) {
        buf_puts(out, ",\"timings\":");
        openai_print_timings(out, &w->totals);
    }
    buf_puts(out, "}\n\n");
}

static void stream_string(struct chat_writer *w, struct buf *out,
                          const struct answer_event *e, const char *before,
                          const char *after)
{
    begin_chunk(w, out, e->choice);
    buf_puts(out, before);
    json_print_text(out, e->text, e->n);
    buf_puts(out, after);
    end_chunk(w, out, e->choice, NULL);
}

static void stream_reasoning(struct chat_writer *w, struct buf *out,
                             const struct answer_event *e)
{
    begin_chunk(w, out, e->choice);
    buf_puts(out, "\"reasoning_content\":");
    json_print_text(out, e->text, e->n);
    buf_puts(out, ",\"reasoning\":");
    json_print_text(out, e->text, e->n);
    end_chunk(w, out, e->choice, NULL);
}

static void stream_call(struct chat_writer *w, struct buf *out,
                        const struct answer_event *e)
{
    begin_chunk(w, out, e->choice);
    if (w->old_form) {
        buf_puts(out, "\"function_call\":{\"name\":");
        json_print_string(out, e->name);
        buf_puts(out, ",\"arguments\":\"\"}");
    } else {
        buf_printf(out, "\"tool_calls\":[{\"index\":%d,\"id\":",
                   w->choices[e->choice].n_call - 1);
        json_print_string(out, e->id);
        buf_puts(out, ",\"type\":\"function\",\"function\":{\"name\":");
        json_print_string(out, e->name);
        buf_puts(out, ",\"arguments\":\"\"}}]");
    }
    end_chunk(w, out, e->choice, NULL);
}

static void stream_arguments(struct chat_writer *w, struct buf *out,
                             const struct answer_event *e)
{
    if (w->old_form) {
        stream_string(w, out, e, "\"function_call\":{\"arguments\":", "}");
        return;
    }
    begin_chunk(w, out, e->choice);
    buf_printf(out, "\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":",
               w->choices[e->choice].n_call - 1);
    json_print_text(out, e->text, e->n);
    buf_puts(out, "}}]");
    end_chunk(w, out, e->choice, NULL);
}

static void stream_end(struct chat_writer *w, struct buf *out,
                       const struct answer_event *e)
{
    begin_chunk(w, out, e->choice);
    end_chunk(w, out, e->choice, w->choices[e->choice].finish);
    if (w->n_ended < w->n_choice)
        return;
    if (w->head.request->stream_usage) {
        buf_puts(out, "data: ");
        openai_print_head(out, &w->head, "chatcmpl-", "chat.completion.chunk");
        buf_puts(out, ",\"choices\":[],\"usage\":");
        openai_print_usage(out, &w->totals);
        buf_puts(out, ",\"timings\":");
        openai_print_timings(out, &w->totals);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

/* A chunk of nothing but how far the prompt is, as llama.cpp's server has it. */
static void stream_progress(const struct chat_writer *w, struct buf *out,
                            const struct answer_event *e)
{
    begin_chunk(w, out, e->choice);
    buf_printf(out,
               "},\"logprobs\":null,\"finish_reason\":null}]%s,\"prompt_progress\":{"
               "\"total\":%d,\"cache\":%d,\"processed\":%d,\"time_ms\":%llu}}\n\n",
               w->head.request->stream_usage ? ",\"usage\":null" : "", e->usage.n_prompt,
               e->usage.n_cached, e->n_done,
               (unsigned long long)e->usage.prefill_us / 1000);
}

static void stream_event(struct chat_writer *w, const struct answer_event *e,
                         struct buf *out)
{
    switch (e->kind) {
    case ANSWER_REASONING:
        stream_reasoning(w, out, e);
        break;
    case ANSWER_TEXT:
        stream_string(w, out, e, "\"content\":", "");
        break;
    case ANSWER_TOOL_BEGIN:
        stream_call(w, out, e);
        break;
    case ANSWER_TOOL_ARGS:
        stream_arguments(w, out, e);
        break;
    case ANSWER_PROGRESS:
        stream_progress(w, out, e);
        break;
    case ANSWER_PING:
        buf_puts(out, ": ping\n\n");
        break;
    case ANSWER_END:
        stream_end(w, out, e);
        break;
    case ANSWER_ERROR:
        openai_print_stream_error(out, e->error);
        break;
    case ANSWER_TOOL_END:
    case ANSWER_LOGPROB:
        break;
    }
}

/* ---- one document ---- */

static void print_message(const struct chat_writer *w, struct buf *out,
                          const struct chat_choice *c)
{
    buf_puts(out, "{\"role\":\"assistant\",\"content\":");
    if (c->text.len > 0 || c->n_call == 0)
        json_print_text(out, c->text.data ? c->text.data : "", c->text.len);
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"refusal\":null");
    if (c->reasoning.len > 0) {
        buf_puts(out, ",\"reasoning_content\":");
        json_print_text(out, c->reasoning.data, c->reasoning.len);
        buf_puts(out, ",\"reasoning\":");
        json_print_text(out, c->reasoning.data, c->reasoning.len);
    }
    if (c->calls.len > 0) {
        buf_puts(out, w->old_form ? ",\"function_call\":" : ",\"tool_calls\":[");
        buf_append(out, c->calls.data, c->calls.len);
        buf_puts(out, w->old_form ? "" : "]");
    }
    buf_puts(out, "}");
}

static void print_document(const struct chat_writer *w, struct buf *out)
{
    openai_print_head(out, &w->head, "chatcmpl-", "chat.completion");
    buf_puts(out, ",\"choices\":[");
    for (int i = 0; i < w->n_choice; i++) {
        const struct chat_choice *c = &w->choices[i];
        out->failed |=
            c->text.failed | c->reasoning.failed | c->calls.failed | c->logprobs.failed;
        buf_printf(out, "%s{\"index\":%d,\"message\":", i > 0 ? "," : "", i);
        print_message(w, out, c);
        buf_puts(out, ",");
        print_logprobs(w, out, c);
        buf_printf(out, ",\"finish_reason\":\"%s\"}", c->finish);
    }
    buf_puts(out, "],\"usage\":");
    openai_print_usage(out, &w->totals);
    buf_puts(out, ",\"timings\":");
    openai_print_timings(out, &w->totals);
    buf_puts(out, "}");
}

static void hold_call(const struct chat_writer *w, struct chat_choice *c,
                      const struct answer_event *e)
{
    if (c->calls.len > 0)
        buf_puts(&c->calls, ",");
    if (!w->old_form) {
        buf_puts(&c->calls, "{\"id\":");
        json_print_string(&c->calls, e->id);
        buf_puts(&c->calls, ",\"type\":\"function\",\"function\":");
    }
    buf_puts(&c->calls, "{\"name\":");
    json_print_string(&c->calls, e->name);
    buf_puts(&c->calls, ",\"arguments\":\"");
}

static void hold_event(struct chat_writer *w, const struct answer_event *e,
                       struct buf *out)
{
    struct chat_choice *c = &w->choices[e->choice];
    switch (e->kind) {
    case ANSWER_REASONING:
        buf_append(&c->reasoning, e->text, e->n);
        break;
    case ANSWER_TEXT:
        buf_append(&c->text, e->text, e->n);
        break;
    case ANSWER_TOOL_BEGIN:
        hold_call(w, c, e);
        break;
    case ANSWER_TOOL_ARGS:
        json_print_escaped(&c->calls, e->text, e->n);
        break;
    case ANSWER_TOOL_END:
        buf_puts(&c->calls, w->old_form ? "\"}" : "\"}}");
        break;
    case ANSWER_END:
        if (w->n_ended == w->n_choice)
            print_document(w, out);
        break;
    case ANSWER_ERROR: {
        int http_status;
        openai_print_error(out, &http_status, e->error, w->head.head.request_id);
        break;
    }
    case ANSWER_LOGPROB:
    case ANSWER_PING:
    case ANSWER_PROGRESS:
        break;
    }
}

/* ---- the writer ---- */

static void chat_begin(struct answer_writer *head, struct buf *out)
{
    struct chat_writer *w = (struct chat_writer *)head;
    for (int i = 0; head->request->stream && i < w->n_choice; i++) {
        begin_chunk(w, out, i);
        buf_puts(out, "\"role\":\"assistant\",\"content\":\"\"");
        end_chunk(w, out, i, NULL);
    }
}

static bool is_call_event(enum answer_kind k)
{
    return k == ANSWER_TOOL_BEGIN || k == ANSWER_TOOL_ARGS || k == ANSWER_TOOL_END;
}

static void chat_event(struct answer_writer *head, const struct answer_event *e,
                       struct buf *out)
{
    struct chat_writer *w = (struct chat_writer *)head;
    struct chat_choice *c = &w->choices[e->choice];
    if (w->failed)
        return;
    w->failed = e->kind == ANSWER_ERROR;
    if (e->kind == ANSWER_TOOL_BEGIN)
        c->n_call++;
    if (w->old_form && c->n_call > 1 && is_call_event(e->kind))
        return; // there is no place for it
    if (e->kind == ANSWER_LOGPROB)
        openai_print_logprob(&c->logprobs, e);
    if (e->kind == ANSWER_END) {
        c->finish = w->old_form && e->finish == ANSWER_TOOL_CALLS
                        ? "function_call"
                        : openai_finish(e->finish);
        w->n_ended++;
        openai_totals_add(&w->totals, head->request, e);
    }
    if (head->request->stream)
        stream_event(w, e, out);
    else
        hold_event(w, e, out);
}

static void chat_close(struct answer_writer *head)
{
    struct chat_writer *w = (struct chat_writer *)head;
    for (int i = 0; i < w->n_choice; i++) {
        buf_release(&w->choices[i].text);
        buf_release(&w->choices[i].reasoning);
        buf_release(&w->choices[i].calls);
        buf_release(&w->choices[i].logprobs);
    }
    mem_free(w->choices);
    mem_free(w);
}

static const struct answer_writer_ops chat_ops = {chat_begin, chat_event, chat_close};

struct answer_writer *openai_open_chat(const struct api_request *r,
                                       const struct answer_head *head)
{
    struct chat_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    openai_writer_init(&w->head, &chat_ops, r, head);
    w->n_choice = openai_choices(r);
    w->old_form = json_array_size(json_object_get(r->body, "functions")) > 0 &&
                  json_array_size(json_object_get(r->body, "tools")) == 0;
    w->choices = mem_array((size_t)w->n_choice, sizeof *w->choices);
    if (!w->choices) {
        mem_free(w);
        return NULL;
    }
    for (int i = 0; i < w->n_choice; i++) {
        buf_init(&w->choices[i].text, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].reasoning, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].calls, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].logprobs, OPENAI_HOLD_MAX);
    }
    return &w->head;
}
