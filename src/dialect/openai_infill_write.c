/* openai_infill_write.c - POST /infill and /completion: answers, in the shape of
 * llama.cpp's server. */
#include "base/mem.h"
#include "json/print.h"
#include "dialect/openai.h"

struct infill_writer {
    struct answer_writer head;
    bool failed;
    struct buf text; // not of streams
};

static void infill_piece(struct buf *out, const char *text, size_t n, bool stop)
{
    buf_puts(out, "{\"index\":0,\"content\":");
    json_print_text(out, text, n);
    buf_printf(out, ",\"tokens\":[],\"stop\":%s,\"id_slot\":-1", stop ? "true" : "false");
}

static void infill_end(const struct infill_writer *w, const struct answer_event *e,
                       struct buf *out)
{
    static const char *const types[] = {[ANSWER_STOP] = "eos",
                                        [ANSWER_STOP_STRING] = "word",
                                        [ANSWER_LENGTH] = "limit",
                                        [ANSWER_TOOL_CALLS] = "eos"};
    struct openai_totals totals = {0};
    openai_totals_add(&totals, w->head.request, e);
    infill_piece(out, w->text.data ? w->text.data : "", w->text.len, true);
    out->failed |= w->text.failed;
    buf_puts(out, ",\"model\":");
    json_print_string(out, w->head.head.model);
    buf_printf(out,
               ",\"tokens_predicted\":%d,\"tokens_evaluated\":%d,\"tokens_cached\":%d,"
               "\"truncated\":false,\"stop_type\":\"%s\",\"stopping_word\":",
               totals.n_decoded, totals.n_prompt, totals.n_cached, types[e->finish]);
    json_print_string(out, e->stop_string ? e->stop_string : "");
    buf_puts(out, ",\"timings\":");
    openai_print_timings(out, &totals);
    buf_puts(out, "}");
}

static void infill_begin(struct answer_writer *head, struct buf *out)
{
    (void)head;
    (void)out;
}

static void infill_event(struct answer_writer *head, const struct answer_event *e,
                         struct buf *out)
{
    struct infill_writer *w = (struct infill_writer *)head;
    const bool stream = head->request->stream;
    int http_status;
    if (w->failed)
        return;
    switch (e->kind) {
    case ANSWER_REASONING:
    case ANSWER_TEXT:
    case ANSWER_TOOL_ARGS:
        if (stream) {
            buf_puts(out, "data: ");
            infill_piece(out, e->text, e->n, false);
            buf_puts(out, "}\n\n");
        } else {
            buf_append(&w->text, e->text, e->n);
        }
        break;
    case ANSWER_PROGRESS:
        break;
    case ANSWER_PING:
        if (stream)
            buf_puts(out, ": ping\n\n");
        break;
    case ANSWER_END:
        buf_puts(out, stream ? "data: " : "");
        infill_end(w, e, out);
        buf_puts(out, stream ? "\n\n" : "");
        break;
    case ANSWER_ERROR:
        w->failed = true;
        if (stream)
            openai_print_stream_error(out, e->error);
        else
            openai_print_error(out, &http_status, e->error, head->head.request_id);
        break;
    case ANSWER_TOOL_BEGIN:
    case ANSWER_TOOL_END:
    case ANSWER_LOGPROB:
        break;
    }
}

static void infill_close(struct answer_writer *head)
{
    struct infill_writer *w = (struct infill_writer *)head;
    buf_release(&w->text);
    mem_free(w);
}

static const struct answer_writer_ops infill_ops = {infill_begin, infill_event,
                                                    infill_close};

struct answer_writer *openai_open_infill(const struct api_request *r,
                                         const struct answer_head *head)
{
    struct infill_writer *w = mem_array(1, sizeof *w);
    if (!w)
        return NULL;
    openai_writer_init(&w->head, &infill_ops, r, head);
    buf_init(&w->text, OPENAI_HOLD_MAX);
    return &w->head;
}
