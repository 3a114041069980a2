/* openai_text_write.c - POST /v1/completions: answers. */
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "json/print.h"
#include "dialect/openai.h"

/* Lists of the old form of log-probabilities, without their brackets. */
struct text_logprobs {
    struct buf tokens, logs, tops, offsets;
    size_t at; // characters of all tokens so far
};

struct text_choice {
    struct buf text; // not of streams
    struct text_logprobs logprobs;
    const char *finish;
};

struct text_writer {
    struct answer_writer head;
    struct openai_totals totals;
    int n_choice, n_ended;
    bool failed;
    struct text_choice *choices; // [n_choice]
};

/* A token's text; one that is not whole characters is written as its bytes, as the keys
 * of an object must differ: "bytes:\xe2\x80". */
static void print_token_name(struct buf *out, const struct answer_token *t)
{
    if (utf8_valid_bytes(t->text, t->n) == t->n) {
        json_print_text(out, t->text, t->n);
        return;
    }
    buf_puts(out, "\"bytes:");
    for (size_t i = 0; i < t->n; i++)
        buf_printf(out, "\\\\x%02x", (unsigned)(unsigned char)t->text[i]);
    buf_puts(out, "\"");
}

/* Bytes that begin a character: a character that tokens share counts once. */
static size_t count_characters(const char *s, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static void add_text_logprob(struct text_logprobs *l, const struct answer_event *e)
{
    const char *comma = l->tokens.len > 0 ? "," : "";
    buf_puts(&l->tokens, comma);
    print_token_name(&l->tokens, &e->token);
    buf_puts(&l->logs, comma);
    openai_print_log(&l->logs, e->token.logprob);
    buf_printf(&l->offsets, "%s%zu", comma, l->at);
    l->at += count_characters(e->token.text, e->token.n);
    buf_printf(&l->tops, "%s{", comma);
    for (int i = 0; i < e->n_top; i++) {
        buf_puts(&l->tops, i > 0 ? "," : "");
        print_token_name(&l->tops, &e->top[i]);
        buf_puts(&l->tops, ":");
        openai_print_log(&l->tops, e->top[i].logprob);
    }
    buf_puts(&l->tops, "}");
}

static void print_text_logprobs(const struct text_writer *w, struct buf *out,
                                struct text_logprobs *l)
{
    struct buf *const lists[] = {&l->tokens, &l->logs, &l->tops, &l->offsets};
    static const char *const names[] = {"tokens", "token_logprobs", "top_logprobs",
                                        "text_offset"};
    if (w->head.request->n_logprobs < 0 || (w->head.request->stream && !l->tokens.len)) {
        buf_puts(out, "null");
        return;
    }
    for (int i = 0; i < 4; i++) {
        buf_printf(out, "%s\"%s\":[", i > 0 ? "," : "{", names[i]);
        buf_append(out, lists[i]->data, lists[i]->len);
        buf_puts(out, "]");
        out->failed |= lists[i]->failed;
        buf_clear(lists[i]);
    }
    buf_puts(out, "}");
}

static void print_choice(struct text_writer *w, struct buf *out, int i, const char *text,
                         size_t n)
{
    struct text_choice *c = &w->choices[i];
    buf_puts(out, "{\"text\":");
    json_print_text(out, text, n);
    buf_printf(out, ",\"index\":%d,\"logprobs\":", i);
    print_text_logprobs(w, out, &c->logprobs);
    if (c->finish)
        buf_printf(out, ",\"finish_reason\":\"%s\"}", c->finish);
    else
        buf_puts(out, ",\"finish_reason\":null}");
}

static void print_totals(const struct text_writer *w, struct buf *out)
{
    buf_puts(out, ",\"usage\":");
    openai_print_usage(out, &w->totals);
    buf_puts(out, ",\"timings\":");
    openai_print_timings(out, &w->totals);
}

static void text_chunk(struct text_writer *w, struct buf *out,
                       const struct answer_event *e)
{
    const bool usage = w->head.request->stream_usage;
    buf_puts(out, "data: ");
    openai_print_head(out, &w->head, "cmpl-", "text_completion");
    buf_puts(out, ",\"choices\":[");
    print_choice(w, out, e->choice, e->kind == ANSWER_END ? "" : e->text,
                 e->kind == ANSWER_END ? 0 : e->n);
    buf_puts(out, usage ? "],\"usage\":null" : "]");
    if (w->n_ended == w->n_choice && !usage) {
        buf_puts(out, ",\"timings\":");
        openai_print_timings(out, &w->totals);
    }
    buf_puts(out, "}\n\n");
    if (w->n_ended < w->n_choice)
        return;
    if (usage) {
        buf_puts(out, "data: ");
        openai_print_head(out, &w->head, "cmpl-", "text_completion");
        buf_puts(out, ",\"choices\":[]");
        print_totals(w, out);
        buf_puts(out, "}\n\n");
    }
    buf_puts(out, "data: [DONE]\n\n");
}

static void text_document(struct text_writer *w, struct buf *out)
{
    openai_print_head(out, &w->head, "cmpl-", "text_completion");
    buf_puts(out, ",\"choices\":[");
    for (int i = 0; i < w->n_choice; i++) {
        const struct buf *text = &w->choices[i].text;
        buf_puts(out, i > 0 ? "," : "");
        print_choice(w, out, i, text->data ? text->data : "", text->len);
        out->failed |= text->failed;
    }
    buf_puts(out, "]");
    print_totals(w, out);
    buf_puts(out, "}");
}

static void text_failed(struct text_writer *w, const struct answer_event *e,
                        struct buf *out)
{
    struct api_error error = *e->error;
    int http_status;
    if (error.kind == API_ERROR_TOO_LONG && !error.param[0])
        memcpy(error.param, "prompt", sizeof "prompt");
    if (w->head.request->stream)
        openai_print_stream_error(out, &error);
    else
        openai_print_error(out, &http_status, &error, w->head.head.request_id);
    w->failed = true;
}

static void text_begin(struct answer_writer *head, struct buf *out)
{
    (void)head;
    (void)out;
}

/* Raw text has no reasoning or calls; if events say otherwise, it is text all the same.
 */
static void text_event(struct answer_writer *head, const struct answer_event *e,
                       struct buf *out)
{
    struct text_writer *w = (struct text_writer *)head;
    struct text_choice *c = &w->choices[e->choice];
    const bool stream = head->request->stream;
    if (w->failed)
        return;
    switch (e->kind) {
    case ANSWER_REASONING:
    case ANSWER_TEXT:
    case ANSWER_TOOL_ARGS:
        if (stream)
            text_chunk(w, out, e);
        else
            buf_append(&c->text, e->text, e->n);
        break;
    case ANSWER_LOGPROB:
        add_text_logprob(&c->logprobs, e);
        break;
    case ANSWER_PROGRESS:
        break;
    case ANSWER_PING:
        if (stream)
            buf_puts(out, ": ping\n\n");
        break;
    case ANSWER_END:
        c->finish = e->finish == ANSWER_LENGTH ? "length" : "stop";
        w->n_ended++;
        openai_totals_add(&w->totals, head->request, e);
        if (stream)
            text_chunk(w, out, e);
        else if (w->n_ended == w->n_choice)
            text_document(w, out);
        break;
    case ANSWER_ERROR:
        text_failed(w, e, out);
        break;
    case ANSWER_TOOL_BEGIN:
    case ANSWER_TOOL_END:
        break;
    }
}

static void text_close(struct answer_writer *head)
{
    struct text_writer *w = (struct text_writer *)head;
    for (int i = 0; i < w->n_choice; i++) {
        buf_release(&w->choices[i].text);
        buf_release(&w->choices[i].logprobs.tokens);
        buf_release(&w->choices[i].logprobs.logs);
        buf_release(&w->choices[i].logprobs.tops);
        buf_release(&w->choices[i].logprobs.offsets);
    }
    mem_free(w->choices);
    mem_free(w);
}

static const struct answer_writer_ops text_ops = {text_begin, text_event, text_close};

struct answer_writer *openai_open_text(const struct api_request *r,
                                       const struct answer_head *head)
{
    struct text_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    openai_writer_init(&w->head, &text_ops, r, head);
    w->n_choice = openai_choices(r);
    w->choices = mem_array((size_t)w->n_choice, sizeof *w->choices);
    if (!w->choices) {
        mem_free(w);
        return NULL;
    }
    for (int i = 0; i < w->n_choice; i++) {
        buf_init(&w->choices[i].text, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].logprobs.tokens, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].logprobs.logs, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].logprobs.tops, OPENAI_HOLD_MAX);
        buf_init(&w->choices[i].logprobs.offsets, OPENAI_HOLD_MAX);
    }
    return &w->head;
}
