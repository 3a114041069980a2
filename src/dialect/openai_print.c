/* openai_print.c - what several answers of OpenAI's dialect have in common. */
#include <math.h>
#include <string.h>

#include "json/print.h"
#include "dialect/openai.h"

int openai_choices(const struct api_request *r)
{
    const size_t n = r->task == API_COMPLETION ? json_array_size(r->prompts) : 1;
    return (int)n * r->n;
}

void openai_totals_add(struct openai_totals *t, const struct api_request *r,
                       const struct answer_event *end)
{
    const struct answer_usage *u = &end->usage;
    if (end->choice % r->n == 0) {
        t->n_prompt += u->n_prompt;
        t->n_cached += u->n_cached;
        t->prefill_us += u->prefill_us;
    }
    t->n_decoded += u->n_decoded;
    t->n_reasoning += u->n_reasoning;
    t->decode_us += u->decode_us;
}

void openai_print_usage(struct buf *out, const struct openai_totals *t)
{
    buf_printf(out,
               "{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%d,\"audio_tokens\":0},"
               "\"completion_tokens_details\":{\"reasoning_tokens\":%d,"
               "\"audio_tokens\":0,\"accepted_prediction_tokens\":0,"
               "\"rejected_prediction_tokens\":0}}",
               t->n_prompt, t->n_decoded, t->n_prompt + t->n_decoded, t->n_cached,
               t->n_reasoning);
}

/* "NAME_n":..,"NAME_ms":..,"NAME_per_token_ms":..,"NAME_per_second":.. */
static void print_rate(struct buf *out, const char *name, int n, uint64_t us)
{
    const double ms = (double)us / 1e3;
    buf_printf(out, "\"%s_n\":%d,\"%s_ms\":", name, n, name);
    json_print_number(out, ms, 9);
    buf_printf(out, ",\"%s_per_token_ms\":", name);
    json_print_number(out, n > 0 ? ms / n : 0, 9);
    buf_printf(out, ",\"%s_per_second\":", name);
    json_print_number(out, us > 0 ? n * 1e6 / (double)us : 0, 9);
}

void openai_print_timings(struct buf *out, const struct openai_totals *t)
{
    buf_printf(out, "{\"cache_n\":%d,", t->n_cached);
    print_rate(out, "prompt", t->n_prompt - t->n_cached, t->prefill_us);
    buf_puts(out, ",");
    print_rate(out, "predicted", t->n_decoded, t->decode_us);
    buf_puts(out, "}");
}

void openai_print_log(struct buf *out, float logprob)
{
    json_print_number(out, isfinite(logprob) ? (double)logprob : -9999.0, 9);
}

static void print_token(struct buf *out, const struct answer_token *t)
{
    buf_puts(out, "{\"token\":");
    json_print_text(out, t->text, t->n);
    buf_puts(out, ",\"logprob\":");
    openai_print_log(out, t->logprob);
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < t->n; i++)
        buf_printf(out, "%s%u", i > 0 ? "," : "", (unsigned)(unsigned char)t->text[i]);
    buf_puts(out, "]");
}

void openai_print_logprob(struct buf *list, const struct answer_event *e)
{
    if (list->len > 0)
        buf_puts(list, ",");
    print_token(list, &e->token);
    buf_puts(list, ",\"top_logprobs\":[");
    for (int i = 0; i < e->n_top; i++) {
        if (i > 0)
            buf_puts(list, ",");
        print_token(list, &e->top[i]);
        buf_puts(list, "}");
    }
    buf_puts(list, "]}");
}

const char *openai_finish(enum answer_finish f)
{
    switch (f) {
    case ANSWER_STOP:
    case ANSWER_STOP_STRING:
        break;
    case ANSWER_LENGTH:
        return "length";
    case ANSWER_TOOL_CALLS:
        return "tool_calls";
    }
    return "stop";
}

void openai_print_head(struct buf *out, const struct answer_writer *w, const char *prefix,
                       const char *object)
{
    buf_printf(out, "{\"id\":\"%s", prefix);
    json_print_escaped(out, w->head.id, strlen(w->head.id));
    buf_printf(out, "\",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
               (long long)(w->head.created_us / 1000000));
    json_print_string(out, w->head.model);
    buf_puts(out, ",\"system_fingerprint\":");
    json_print_string(out, w->head.fingerprint);
}

void openai_writer_init(struct answer_writer *w, const struct answer_writer_ops *ops,
                        const struct api_request *r, const struct answer_head *head)
{
    *w = (struct answer_writer){
        .ops = ops,
        .content_type = r->stream ? "text/event-stream" : "application/json",
        .request = r,
        .head = *head,
    };
}
