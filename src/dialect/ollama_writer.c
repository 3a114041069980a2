#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "json/print.h"
#include "dialect/ollama_keep_alive.h"
#include "dialect/ollama_parts.h"

#define HOLD_MAX ((size_t)64 << 20) // bytes that are held until a call or the answer ends

/* A stream has a line for each piece; calls come whole, in one line each, as their
 * arguments are no string but JSON. */
struct ollama_writer {
    struct answer_writer head;
    bool chat; // message, not response
    int n_call;
    struct buf calls;          // entries of tool_calls that are not sent yet
    struct buf logprobs;       // entries of logprobs that are not sent yet
    struct buf text, thinking; // of an answer that is not streamed
    size_t args_at;            // where the arguments of the call begin in calls
};

static struct ollama_writer *ollama_of(struct answer_writer *w)
{
    return (struct ollama_writer *)w;
}

static void print_string_member(struct buf *out, const char *name, const struct buf *text)
{
    buf_printf(out, ",\"%s\":", name);
    json_print_text(out, text->data ? text->data : "", text->len);
}

static void print_list_member(struct buf *out, const char *name, struct buf *entries)
{
    if (entries->len > 0) {
        buf_printf(out, ",\"%s\":[", name);
        buf_append(out, entries->data, entries->len);
        buf_puts(out, "]");
    }
    out->failed |= entries->failed;
    buf_clear(entries);
}

/* What a line is about; each may be empty. */
struct pieces {
    struct buf text, thinking; // borrowed
    struct buf *calls;         // NULL: none; is cleared
};

/* The beginning of a line: who answers, and these pieces of the answer. */
static void print_line(struct ollama_writer *w, const struct pieces *p, struct buf *out)
{
    buf_puts(out, "{\"model\":");
    json_print_string(out, w->head.head.model);
    buf_puts(out, ",\"created_at\":");
    ollama_print_time(out, w->head.head.created_us);
    if (w->chat)
        buf_puts(out, ",\"message\":{\"role\":\"assistant\"");
    print_string_member(out, w->chat ? "content" : "response", &p->text);
    if (p->thinking.len > 0)
        print_string_member(out, "thinking", &p->thinking);
    if (p->calls)
        print_list_member(out, "tool_calls", p->calls);
    buf_puts(out, w->chat ? "}" : "");
    out->failed |= p->text.failed || p->thinking.failed;
}

static void send_pieces(struct ollama_writer *w, const struct pieces *p, struct buf *out)
{
    print_line(w, p, out);
    buf_puts(out, ",\"done\":false");
    print_list_member(out, "logprobs", &w->logprobs);
    buf_puts(out, "}\n");
}

static void add_ollama_text(struct ollama_writer *w, const struct answer_event *e,
                            struct buf *out)
{
    const bool is_text = e->kind == ANSWER_TEXT;
    if (!w->head.request->stream) {
        buf_append(is_text ? &w->text : &w->thinking, e->text, e->n);
    } else if (e->n > 0) {
        const struct buf piece = {.data = (char *)e->text, .len = e->n};
        struct pieces p = {0};
        *(is_text ? &p.text : &p.thinking) = piece;
        send_pieces(w, &p, out);
    }
}

static void hold_call_head(struct ollama_writer *w, const struct answer_event *e)
{
    buf_puts(&w->calls, w->calls.len > 0 ? ",{\"id\":" : "{\"id\":");
    json_print_string(&w->calls, e->id);
    buf_printf(&w->calls, ",\"function\":{\"index\":%d,\"name\":", w->n_call++);
    json_print_string(&w->calls, e->name);
    buf_puts(&w->calls, ",\"arguments\":");
    w->args_at = w->calls.len;
}

/* JSON has control characters only between its tokens; a line must not have them. */
static void hold_call_args(struct ollama_writer *w, const char *s, size_t n)
{
    const size_t at = w->calls.len;
    if (!buf_append(&w->calls, s, n))
        return;
    for (char *p = w->calls.data + at; p < w->calls.data + at + n; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
}

static void end_call(struct ollama_writer *w, struct buf *out)
{
    buf_puts(&w->calls, w->calls.len == w->args_at ? "{}}}" : "}}");
    if (w->head.request->stream)
        send_pieces(w, &(struct pieces){.calls = &w->calls}, out);
}

static void print_sampled_token(struct buf *out, const struct answer_token *t)
{
    buf_puts(out, "{\"token\":");
    json_print_text(out, t->text, t->n);
    buf_puts(out, ",\"logprob\":");
    json_print_number(out, fmax((double)t->logprob, -9999), 9); // JSON has no infinity
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < t->n; i++)
        buf_printf(out, i > 0 ? ",%d" : "%d", (unsigned char)t->text[i]);
    buf_puts(out, "]");
}

static void add_token_logprob(struct ollama_writer *w, const struct answer_event *e)
{
    struct buf *out = &w->logprobs;
    buf_puts(out, out->len > 0 ? "," : "");
    print_sampled_token(out, &e->token);
    for (int i = 0; i < e->n_top; i++) {
        buf_puts(out, i > 0 ? "," : ",\"top_logprobs\":[");
        print_sampled_token(out, &e->top[i]);
        buf_puts(out, "}");
    }
    buf_puts(out, e->n_top > 0 ? "]}" : "}");
}

static const char *done_reason(const struct api_request *r, const struct answer_event *e)
{
    int64_t us;
    if (!ollama_loads_only(r))
        return e->finish == ANSWER_LENGTH ? "length" : "stop";
    return r->keep_alive && ollama_keep_alive_text(r->keep_alive, &us) && us == 0
               ? "unload"
               : "load";
}

static void print_durations(struct buf *out, const struct answer_usage *u)
{
    buf_printf(out,
               ",\"total_duration\":%llu,\"load_duration\":%llu,"
               "\"prompt_eval_count\":%d,\"prompt_eval_duration\":%llu,"
               "\"eval_count\":%d,\"eval_duration\":%llu",
               (unsigned long long)u->total_us * 1000,
               (unsigned long long)u->load_us * 1000, u->n_prompt,
               (unsigned long long)u->prefill_us * 1000, u->n_decoded,
               (unsigned long long)u->decode_us * 1000);
}

static void end_answer(struct ollama_writer *w, const struct answer_event *e,
                       struct buf *out)
{
    const struct api_request *r = w->head.request;
    const struct pieces held = {w->text, w->thinking, &w->calls};
    print_line(w, &held, out);
    buf_printf(out, ",\"done\":true,\"done_reason\":\"%s\"", done_reason(r, e));
    print_list_member(out, "logprobs", &w->logprobs);
    if (!ollama_loads_only(r))
        print_durations(out, &e->usage);
    buf_puts(out, r->stream ? "}\n" : "}");
}

static void ollama_event(struct answer_writer *base, const struct answer_event *e,
                         struct buf *out)
{
    struct ollama_writer *w = ollama_of(base);
    switch (e->kind) {
    case ANSWER_REASONING:
    case ANSWER_TEXT:
        add_ollama_text(w, e, out);
        break;
    case ANSWER_TOOL_BEGIN:
        hold_call_head(w, e);
        break;
    case ANSWER_TOOL_ARGS:
        hold_call_args(w, e->text, e->n);
        break;
    case ANSWER_TOOL_END:
        end_call(w, out);
        break;
    case ANSWER_LOGPROB:
        add_token_logprob(w, e);
        break;
    case ANSWER_PROGRESS:
        break;
    case ANSWER_PING:
        /* Lines have no comments; a piece of nothing is what all clients take. */
        if (base->request->stream)
            send_pieces(w, &(struct pieces){.calls = NULL}, out);
        break;
    case ANSWER_END:
        end_answer(w, e, out);
        break;
    case ANSWER_ERROR:
        ollama_print_error_body(out, e->error);
        buf_puts(out, base->request->stream ? "\n" : "");
        break;
    }
}

static void ollama_begin(struct answer_writer *w, struct buf *out)
{
    (void)w;
    (void)out;
}

static void ollama_close(struct answer_writer *base)
{
    struct ollama_writer *w = ollama_of(base);
    buf_release(&w->calls);
    buf_release(&w->logprobs);
    buf_release(&w->text);
    buf_release(&w->thinking);
    mem_free(w);
}

static struct answer_writer *ollama_open(const struct api_request *r,
                                         const struct answer_head *head, bool chat)
{
    static const struct answer_writer_ops ops = {ollama_begin, ollama_event,
                                                 ollama_close};
    struct ollama_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    w->head = (struct answer_writer){
        .ops = &ops,
        .content_type =
            r->stream ? "application/x-ndjson" : "application/json; charset=utf-8",
        .request = r,
        .head = *head,
    };
    w->chat = chat;
    buf_init(&w->calls, HOLD_MAX);
    buf_init(&w->logprobs, HOLD_MAX);
    buf_init(&w->text, HOLD_MAX);
    buf_init(&w->thinking, HOLD_MAX);
    return &w->head;
}

struct answer_writer *ollama_open_chat(const struct api_request *r,
                                       const struct answer_head *head)
{
    return ollama_open(r, head, true);
}

struct answer_writer *ollama_open_generate(const struct api_request *r,
                                           const struct answer_head *head)
{
    return ollama_open(r, head, false);
}
