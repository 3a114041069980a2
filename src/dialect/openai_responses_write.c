/* openai_responses_write.c - POST /v1/responses: answers.
 *
 * An answer is a list of items: reasoning, messages, calls.  One is open at a time; what
 * is finished is kept as JSON for the response at the end.  Without a stream the same
 * events are made and dropped. */
#include <string.h>

#include "base/mem.h"
#include "json/print.h"
#include "dialect/openai.h"

enum item_kind { ITEM_NONE, ITEM_REASONING, ITEM_MESSAGE, ITEM_CALL };

struct responses_writer {
    struct answer_writer head;
    struct openai_totals totals;
    bool over;
    int n_event; // sequence_number of the next one
    enum item_kind open;
    int n_item;          // finished, so the index of the open one
    struct buf items;    // JSON of those that are finished
    struct buf text;     // of the open item; of a call its arguments
    struct buf logprobs; // entries of the open message
    struct buf pending;  // entries that no delta had yet
    struct buf call;     // "call_id":...,"name":... of the open call
    struct buf sink;     // events that nobody gets
};

/* ---- pieces ---- */

static void print_item_id(const struct responses_writer *w, struct buf *out)
{
    static const char *const prefix[] = {
        [ITEM_REASONING] = "rs", [ITEM_MESSAGE] = "msg", [ITEM_CALL] = "fc"};
    const char *id = w->head.head.id;
    buf_printf(out, "\"%s_", prefix[w->open]);
    json_print_escaped(out, id, strlen(id));
    buf_printf(out, "_%d\"", w->n_item);
}

static void begin_event(struct responses_writer *w, struct buf *out, const char *type)
{
    buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%d", type,
               type, w->n_event++);
}

/* The same for an event of the open item: item_id, output_index; content_index of its
 * only part, which calls do not have. */
static void begin_item_event(struct responses_writer *w, struct buf *out,
                             const char *type)
{
    begin_event(w, out, type);
    buf_puts(out, ",\"item_id\":");
    print_item_id(w, out);
    buf_printf(out, ",\"output_index\":%d%s", w->n_item,
               w->open == ITEM_CALL ? "" : ",\"content_index\":0");
}

static void end_event(struct buf *out)
{
    buf_puts(out, "}\n\n");
}

static void print_held(const struct responses_writer *w, struct buf *out)
{
    json_print_text(out, w->text.data ? w->text.data : "", w->text.len);
}

/* The part of a message or of reasoning with the text so far. */
static void print_part(const struct responses_writer *w, struct buf *out)
{
    buf_printf(out, "{\"type\":\"%s\",\"text\":",
               w->open == ITEM_MESSAGE ? "output_text" : "reasoning_text");
    print_held(w, out);
    if (w->open == ITEM_MESSAGE) {
        buf_puts(out, ",\"annotations\":[],\"logprobs\":[");
        buf_append(out, w->logprobs.data, w->logprobs.len);
        buf_puts(out, "]");
    }
    buf_puts(out, "}");
}

/* The open item; parts: whether it has any yet. */
static void print_item(const struct responses_writer *w, struct buf *out,
                       const char *status, bool parts)
{
    static const char *const members[] = {
        [ITEM_REASONING] = "reasoning\",\"summary\":[],\"content\":[",
        [ITEM_MESSAGE] = "message\",\"role\":\"assistant\",\"content\":[",
        [ITEM_CALL] = "function_call\",",
    };
    buf_puts(out, "{\"id\":");
    print_item_id(w, out);
    buf_printf(out, ",\"status\":\"%s\",\"type\":\"%s", status, members[w->open]);
    if (w->open == ITEM_CALL) {
        buf_append(out, w->call.data, w->call.len);
        buf_puts(out, ",\"arguments\":");
        print_held(w, out);
        buf_puts(out, "}");
        return;
    }
    if (parts)
        print_part(w, out);
    buf_puts(out, "]}");
}

/* ---- the response ---- */

static void print_member(struct buf *out, const json_t *body, const char *name,
                         const char *absent)
{
    const json_t *v = json_object_get(body, name);
    buf_printf(out, ",\"%s\":", name);
    if (v && !json_is_null(v))
        json_print_value(out, v);
    else
        buf_puts(out, absent);
}

static void print_tools(struct buf *out, const json_t *tools)
{
    buf_puts(out, ",\"tools\":[");
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *f = json_object_get(json_array_get(tools, i), "function");
        buf_printf(out, "%s{\"type\":\"function\",\"name\":", i > 0 ? "," : "");
        json_print_value(out, json_object_get(f, "name"));
        buf_puts(out, ",\"description\":");
        json_print_value(out, json_object_get(f, "description"));
        buf_puts(out, ",\"parameters\":");
        json_print_value(out, json_object_get(f, "parameters"));
        buf_puts(out, ",\"strict\":false}");
    }
    buf_puts(out, "]");
}

static void print_response_usage(struct buf *out, const struct openai_totals *t)
{
    buf_printf(out,
               ",\"usage\":{\"input_tokens\":%d,\"input_tokens_details\":"
               "{\"cached_tokens\":%d,\"cache_write_tokens\":0},\"output_tokens\":%d,"
               "\"output_tokens_details\":{\"reasoning_tokens\":%d},\"total_tokens\":%d}",
               t->n_prompt, t->n_cached, t->n_decoded, t->n_reasoning,
               t->n_prompt + t->n_decoded);
}

/* status: "in_progress", "completed", "incomplete" or "failed" (error). */
static void print_response(const struct responses_writer *w, struct buf *out,
                           const char *status, const struct api_error *error)
{
    const json_t *body = w->head.request->body;
    const json_t *text = json_object_get(body, "text");
    const json_t *reasoning = json_object_get(body, "reasoning");
    buf_puts(out, "{\"id\":\"resp_");
    json_print_escaped(out, w->head.head.id, strlen(w->head.head.id));
    buf_printf(out, "\",\"object\":\"response\",\"created_at\":%lld,\"status\":\"%s\",",
               (long long)(w->head.head.created_us / 1000000), status);
    buf_puts(out, "\"background\":false,\"error\":");
    if (error) {
        buf_puts(out, "{\"code\":\"server_error\",\"message\":");
        json_print_string(out, error->message);
        buf_puts(out, "}");
    } else {
        buf_puts(out, "null");
    }
    buf_printf(out, ",\"incomplete_details\":%s,\"model\":",
               strcmp(status, "incomplete") == 0 ? "{\"reason\":\"max_output_tokens\"}"
                                                 : "null");
    json_print_string(out, w->head.head.model);
    buf_puts(out, ",\"output\":[");
    if (!w->items.failed)
        buf_append(out, w->items.data, w->items.len);
    buf_puts(out, "]");
    print_member(out, body, "instructions", "null");
    print_member(out, body, "max_output_tokens", "null");
    print_member(out, body, "metadata", "{}");
    print_member(out, body, "parallel_tool_calls", "true");
    buf_puts(out, ",\"previous_response_id\":null,\"store\":false,\"reasoning\":{"
                  "\"summary\":null");
    print_member(out, reasoning, "effort", "null");
    buf_puts(out, "}");
    print_member(out, body, "temperature", "null");
    print_member(out, body, "top_p", "null");
    print_member(out, body, "tool_choice", "\"auto\"");
    print_tools(out, w->head.request->tools);
    buf_puts(out, ",\"text\":{\"verbosity\":null");
    print_member(out, text, "format", "{\"type\":\"text\"}");
    buf_puts(out, "}");
    print_member(out, body, "top_logprobs", "0");
    print_member(out, body, "truncation", "\"disabled\"");
    if (strcmp(status, "in_progress") == 0 || error)
        buf_puts(out, ",\"usage\":null}");
    else {
        print_response_usage(out, &w->totals);
        buf_puts(out, ",\"timings\":");
        openai_print_timings(out, &w->totals);
        buf_puts(out, "}");
    }
}

static void response_event(struct responses_writer *w, struct buf *out, const char *type,
                           const char *status, const struct api_error *error)
{
    begin_event(w, out, type);
    buf_puts(out, ",\"response\":");
    print_response(w, out, status, error);
    end_event(out);
}

/* ---- items ---- */

static void close_item(struct responses_writer *w, struct buf *out, const char *status)
{
    static const char *const done[] = {
        [ITEM_REASONING] = "response.reasoning_text.done",
        [ITEM_MESSAGE] = "response.output_text.done",
        [ITEM_CALL] = "response.function_call_arguments.done",
    };
    if (w->open == ITEM_NONE)
        return;
    begin_item_event(w, out, done[w->open]);
    buf_puts(out, w->open == ITEM_CALL ? ",\"arguments\":" : ",\"text\":");
    print_held(w, out);
    if (w->open == ITEM_CALL) {
        buf_puts(out, ",");
        buf_append(out, w->call.data, w->call.len);
    } else if (w->open == ITEM_MESSAGE) {
        buf_puts(out, ",\"logprobs\":[");
        buf_append(out, w->logprobs.data, w->logprobs.len);
        buf_puts(out, "]");
    }
    end_event(out);
    if (w->open != ITEM_CALL) {
        begin_item_event(w, out, "response.content_part.done");
        buf_puts(out, ",\"part\":");
        print_part(w, out);
        end_event(out);
    }
    begin_event(w, out, "response.output_item.done");
    buf_printf(out, ",\"output_index\":%d,\"item\":", w->n_item);
    print_item(w, out, status, true);
    end_event(out);
    buf_puts(&w->items, w->n_item > 0 ? "," : "");
    print_item(w, &w->items, status, true);
    w->items.failed |= w->text.failed | w->logprobs.failed | w->call.failed;
    buf_clear(&w->text);
    buf_clear(&w->logprobs);
    buf_clear(&w->call);
    w->open = ITEM_NONE;
    w->n_item++;
}

/* Another item than the one that is open, if that is not of this kind. */
static void open_item(struct responses_writer *w, struct buf *out, enum item_kind kind)
{
    if (w->open == kind && kind != ITEM_CALL)
        return;
    close_item(w, out, "completed");
    w->open = kind;
}

static void announce_item(struct responses_writer *w, struct buf *out)
{
    begin_event(w, out, "response.output_item.added");
    buf_printf(out, ",\"output_index\":%d,\"item\":", w->n_item);
    print_item(w, out, "in_progress", false);
    end_event(out);
    if (w->open == ITEM_CALL)
        return;
    begin_item_event(w, out, "response.content_part.added");
    buf_puts(out, ",\"part\":");
    print_part(w, out);
    end_event(out);
}

static void add_piece(struct responses_writer *w, struct buf *out,
                      const struct answer_event *e, enum item_kind kind)
{
    static const char *const delta[] = {
        [ITEM_REASONING] = "response.reasoning_text.delta",
        [ITEM_MESSAGE] = "response.output_text.delta",
        [ITEM_CALL] = "response.function_call_arguments.delta",
    };
    if (kind != ITEM_CALL && w->open != kind) {
        open_item(w, out, kind);
        announce_item(w, out);
    }
    begin_item_event(w, out, delta[kind]);
    buf_puts(out, ",\"delta\":");
    json_print_text(out, e->text, e->n);
    if (kind == ITEM_MESSAGE) {
        buf_puts(out, ",\"logprobs\":[");
        buf_append(out, w->pending.data, w->pending.len);
        buf_puts(out, "]");
        buf_puts(&w->logprobs, w->logprobs.len > 0 && w->pending.len > 0 ? "," : "");
        buf_append(&w->logprobs, w->pending.data, w->pending.len);
    }
    buf_clear(&w->pending); // those of thoughts and calls are nobody's
    end_event(out);
    buf_append(&w->text, e->text, e->n);
}

static void begin_call(struct responses_writer *w, struct buf *out,
                       const struct answer_event *e)
{
    open_item(w, out, ITEM_CALL);
    buf_puts(&w->call, "\"call_id\":");
    json_print_string(&w->call, e->id);
    buf_puts(&w->call, ",\"name\":");
    json_print_string(&w->call, e->name);
    announce_item(w, out);
}

/* ---- the writer ---- */

static void responses_begin(struct answer_writer *head, struct buf *out)
{
    struct responses_writer *w = (struct responses_writer *)head;
    if (!head->request->stream)
        return;
    response_event(w, out, "response.created", "in_progress", NULL);
    response_event(w, out, "response.in_progress", "in_progress", NULL);
}

static void responses_end(struct responses_writer *w, const struct answer_event *e,
                          struct buf *events, struct buf *out)
{
    const char *status = e->finish == ANSWER_LENGTH ? "incomplete" : "completed";
    openai_totals_add(&w->totals, w->head.request, e);
    /* Log-probabilities behind the last text are of the message that it was in. */
    if (w->open == ITEM_MESSAGE && w->pending.len > 0) {
        buf_puts(&w->logprobs, w->logprobs.len > 0 ? "," : "");
        buf_append(&w->logprobs, w->pending.data, w->pending.len);
    }
    close_item(w, events, status);
    if (w->head.request->stream)
        response_event(w, out,
                       e->finish == ANSWER_LENGTH ? "response.incomplete"
                                                  : "response.completed",
                       status, NULL);
    else
        print_response(w, out, status, NULL);
    out->failed |= w->items.failed | w->pending.failed;
    w->over = true;
}

static void responses_failed(struct responses_writer *w, const struct answer_event *e,
                             struct buf *events, struct buf *out)
{
    int http_status;
    w->over = true;
    if (!w->head.request->stream) {
        openai_print_error(out, &http_status, e->error, w->head.head.request_id);
        return;
    }
    /* What memory was missing for is no item. */
    w->items.failed |= w->text.failed | w->logprobs.failed | w->call.failed;
    if (!w->items.failed)
        close_item(w, events, "incomplete");
    response_event(w, out, "response.failed", "failed", e->error);
}

static void responses_event(struct answer_writer *head, const struct answer_event *e,
                            struct buf *out)
{
    struct responses_writer *w = (struct responses_writer *)head;
    struct buf *events = head->request->stream ? out : &w->sink;
    /* An end that could not be printed is followed by the error that says so. */
    if (w->over && e->kind != ANSWER_ERROR)
        return;
    switch (e->kind) {
    case ANSWER_REASONING:
        add_piece(w, events, e, ITEM_REASONING);
        break;
    case ANSWER_TEXT:
        add_piece(w, events, e, ITEM_MESSAGE);
        break;
    case ANSWER_TOOL_BEGIN:
        begin_call(w, events, e);
        break;
    case ANSWER_TOOL_ARGS:
        add_piece(w, events, e, ITEM_CALL);
        break;
    case ANSWER_TOOL_END:
        close_item(w, events, "completed");
        break;
    case ANSWER_LOGPROB:
        openai_print_logprob(&w->pending, e);
        break;
    case ANSWER_PROGRESS:
        break;
    case ANSWER_PING:
        buf_puts(events, ": ping\n\n");
        break;
    case ANSWER_END:
        responses_end(w, e, events, out);
        break;
    case ANSWER_ERROR:
        responses_failed(w, e, events, out);
        break;
    }
    buf_clear(&w->sink);
}

static void responses_close(struct answer_writer *head)
{
    struct responses_writer *w = (struct responses_writer *)head;
    buf_release(&w->items);
    buf_release(&w->text);
    buf_release(&w->logprobs);
    buf_release(&w->pending);
    buf_release(&w->call);
    buf_release(&w->sink);
    mem_free(w);
}

static const struct answer_writer_ops responses_ops = {responses_begin, responses_event,
                                                       responses_close};

struct answer_writer *openai_open_responses(const struct api_request *r,
                                            const struct answer_head *head)
{
    struct responses_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    openai_writer_init(&w->head, &responses_ops, r, head);
    buf_init(&w->items, OPENAI_HOLD_MAX);
    buf_init(&w->text, OPENAI_HOLD_MAX);
    buf_init(&w->logprobs, OPENAI_HOLD_MAX);
    buf_init(&w->pending, OPENAI_HOLD_MAX);
    buf_init(&w->call, OPENAI_HOLD_MAX);
    buf_init(&w->sink, 4 * OPENAI_HOLD_MAX);
    return &w->head;
}
