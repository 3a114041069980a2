#include <string.h>

#include "base/mem.h"
#include "dialect/anthropic_parts.h"
#include "json/print.h"

#define DOCUMENT_MAX ((size_t)64 << 20) // bytes of an answer that is not streamed

enum block { BLOCK_NONE, BLOCK_TEXT, BLOCK_THINKING, BLOCK_TOOL };

/* A stream has an event for each piece; a document collects the pieces of a block in
 * `piece` and its finished blocks in `content`. */
struct anthropic_writer {
    struct answer_writer head;
    enum block open;
    int n_block; // that were opened
    struct buf content, piece;
};

/* Thinking is not signed here, and not checked when it comes back.  Clients that keep
 * only signed thinking keep it all the same; always one value, so that equal
 * conversations stay equal. */
static const char signature[] = "dHVyYmluZQ==";

static struct anthropic_writer *anthropic_of(struct answer_writer *w)
{
    return (struct anthropic_writer *)w;
}

static void print_message_usage(struct buf *out, int n_prompt, int n_cached,
                                int n_decoded, int n_reasoning)
{
    buf_printf(out,
               "{\"input_tokens\":%d,\"cache_creation_input_tokens\":0,"
               "\"cache_read_input_tokens\":%d,\"output_tokens\":%d,"
               "\"output_tokens_details\":{\"thinking_tokens\":%d}}",
               n_prompt - n_cached, n_cached, n_decoded, n_reasoning);
}

/* The members of a message up to its content. */
static void print_message_head(struct buf *out, const struct answer_head *h)
{
    buf_puts(out, "{\"id\":\"msg_");
    json_print_escaped(out, h->id, strlen(h->id));
    buf_puts(out, "\",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    json_print_string(out, h->model);
    buf_puts(out, ",\"content\":[");
}

static void anthropic_begin(struct answer_writer *base, struct buf *out)
{
    if (!base->request->stream)
        return;
    buf_puts(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    print_message_head(out, &base->head);
    buf_puts(out, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    print_message_usage(out, base->head.n_prompt, 0, 0, 0);
    buf_puts(out, "}}\n\n");
}

/* The block as it begins, without its closing brace. */
static void print_block_head(struct buf *out, enum block block,
                             const struct answer_event *e)
{
    if (block == BLOCK_TEXT) {
        buf_puts(out, "{\"type\":\"text\",\"text\":");
    } else if (block == BLOCK_THINKING) {
        buf_puts(out, "{\"type\":\"thinking\",\"thinking\":");
    } else {
        buf_puts(out, "{\"type\":\"tool_use\",\"id\":");
        json_print_string(out, e->id);
        buf_puts(out, ",\"name\":");
        json_print_string(out, e->name);
        buf_puts(out, ",\"input\":");
    }
}

static void open_block(struct anthropic_writer *w, enum block block,
                       const struct answer_event *e, struct buf *out)
{
    if (!w->head.request->stream) {
        buf_puts(&w->content, w->n_block > 0 ? "," : "");
        print_block_head(&w->content, block, e);
    } else {
        buf_printf(out,
                   "event: content_block_start\n"
                   "data: {\"type\":\"content_block_start\",\"index\":%d,"
                   "\"content_block\":",
                   w->n_block);
        print_block_head(out, block, e);
        buf_puts(out, block == BLOCK_TEXT       ? "\"\""
                      : block == BLOCK_THINKING ? "\"\",\"signature\":\"\""
                                                : "{}");
        buf_puts(out, "}}\n\n");
    }
    w->n_block++;
    w->open = block;
}

static void print_delta(const struct anthropic_writer *w, const char *type,
                        const char *member, const char *s, size_t n, struct buf *out)
{
    buf_printf(out,
               "event: content_block_delta\n"
               "data: {\"type\":\"content_block_delta\",\"index\":%d,"
               "\"delta\":{\"type\":\"%s\",\"%s\":",
               w->n_block - 1, type, member);
    json_print_text(out, s, n);
    buf_puts(out, "}}\n\n");
}

static void add_block_piece(struct anthropic_writer *w, const char *s, size_t n,
                            struct buf *out)
{
    if (!w->head.request->stream)
        buf_append(&w->piece, s, n);
    else if (w->open == BLOCK_TEXT)
        print_delta(w, "text_delta", "text", s, n, out);
    else if (w->open == BLOCK_THINKING)
        print_delta(w, "thinking_delta", "thinking", s, n, out);
    else
        print_delta(w, "input_json_delta", "partial_json", s, n, out);
}

/* What the pieces of a block of a document were collected for. */
static void finish_content_block(struct anthropic_writer *w)
{
    struct buf *piece = &w->piece;
    const char *s = piece->data ? piece->data : "";
    if (w->open == BLOCK_TOOL)
        buf_puts(&w->content, piece->len > 0 ? s : "{}");
    else
        json_print_text(&w->content, s, piece->len);
    if (w->open == BLOCK_THINKING)
        buf_printf(&w->content, ",\"signature\":\"%s\"", signature);
    buf_puts(&w->content, "}");
    w->content.failed |= piece->failed;
    buf_clear(piece);
}

static void close_block(struct anthropic_writer *w, struct buf *out)
{
    if (w->open == BLOCK_NONE)
        return;
    if (!w->head.request->stream) {
        finish_content_block(w);
    } else {
        if (w->open == BLOCK_THINKING)
            print_delta(w, "signature_delta", "signature", signature, strlen(signature),
                        out);
        buf_printf(out,
                   "event: content_block_stop\n"
                   "data: {\"type\":\"content_block_stop\",\"index\":%d}\n\n",
                   w->n_block - 1);
    }
    w->open = BLOCK_NONE;
}

/* A piece of text or thinking, in the block that is open or a new one. */
static void add_prose(struct anthropic_writer *w, enum block block,
                      const struct answer_event *e, struct buf *out)
{
    if (e->n == 0)
        return;
    if (w->open != block) {
        close_block(w, out);
        open_block(w, block, e, out);
    }
    if (block == BLOCK_TEXT || !w->head.request->hide_thinking)
        add_block_piece(w, e->text, e->n, out);
}

static void print_stop(struct buf *out, const struct answer_event *e)
{
    static const char *const reasons[] = {
        [ANSWER_STOP] = "end_turn",
        [ANSWER_STOP_STRING] = "stop_sequence",
        [ANSWER_LENGTH] = "max_tokens",
        [ANSWER_TOOL_CALLS] = "tool_use",
    };
    buf_printf(out, "\"stop_reason\":\"%s\",\"stop_sequence\":", reasons[e->finish]);
    if (e->finish == ANSWER_STOP_STRING && e->stop_string)
        json_print_string(out, e->stop_string);
    else
        buf_puts(out, "null");
}

static void end_stream(const struct answer_event *e, struct buf *out)
{
    const struct answer_usage *u = &e->usage;
    buf_puts(out, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    print_stop(out, e);
    buf_puts(out, "},\"usage\":");
    print_message_usage(out, u->n_prompt, u->n_cached, u->n_decoded, u->n_reasoning);
    buf_puts(out, "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

static void end_document(struct anthropic_writer *w, const struct answer_event *e,
                         struct buf *out)
{
    const struct answer_usage *u = &e->usage;
    print_message_head(out, &w->head.head);
    buf_append(out, w->content.data, w->content.len);
    buf_puts(out, "],");
    print_stop(out, e);
    buf_puts(out, ",\"usage\":");
    print_message_usage(out, u->n_prompt, u->n_cached, u->n_decoded, u->n_reasoning);
    buf_puts(out, "}");
    out->failed |= w->content.failed;
}

static void print_stream_error(struct anthropic_writer *w, const struct api_error *e,
                               struct buf *out)
{
    if (w->head.request->stream)
        buf_puts(out, "event: error\ndata: ");
    anthropic_print_error_body(out, e, w->head.head.request_id);
    if (w->head.request->stream)
        buf_puts(out, "\n\n");
}

static void anthropic_event(struct answer_writer *base, const struct answer_event *e,
                            struct buf *out)
{
    struct anthropic_writer *w = anthropic_of(base);
    switch (e->kind) {
    case ANSWER_REASONING:
        add_prose(w, BLOCK_THINKING, e, out);
        break;
    case ANSWER_TEXT:
        add_prose(w, BLOCK_TEXT, e, out);
        break;
    case ANSWER_TOOL_BEGIN:
        close_block(w, out);
        open_block(w, BLOCK_TOOL, e, out);
        break;
    case ANSWER_TOOL_ARGS:
        if (e->n > 0)
            add_block_piece(w, e->text, e->n, out);
        break;
    case ANSWER_TOOL_END:
        close_block(w, out);
        break;
    case ANSWER_LOGPROB: // this API has none
        break;
    case ANSWER_PROGRESS:
        break;
    case ANSWER_PING:
        if (base->request->stream)
            buf_puts(out, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
        break;
    case ANSWER_END:
        close_block(w, out);
        if (base->request->stream)
            end_stream(e, out);
        else
            end_document(w, e, out);
        break;
    case ANSWER_ERROR:
        print_stream_error(w, e->error, out);
        break;
    }
}

static void anthropic_close(struct answer_writer *base)
{
    struct anthropic_writer *w = anthropic_of(base);
    buf_release(&w->content);
    buf_release(&w->piece);
    mem_free(w);
}

struct answer_writer *anthropic_open_writer(const struct api_request *r,
                                            const struct answer_head *head)
{
    static const struct answer_writer_ops ops = {anthropic_begin, anthropic_event,
                                                 anthropic_close};
    struct anthropic_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    w->head = (struct answer_writer){
        .ops = &ops,
        .content_type = r->stream ? "text/event-stream" : "application/json",
        .request = r,
        .head = *head,
    };
    buf_init(&w->content, DOCUMENT_MAX);
    buf_init(&w->piece, DOCUMENT_MAX);
    return &w->head;
}
