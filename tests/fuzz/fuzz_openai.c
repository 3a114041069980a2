/* Any JSON as a request of each operation of OpenAI's dialect.  A request that is taken
 * keeps the promises of request.h, and its answer is JSON.  The first byte chooses the
 * operation, the rest is the body; text of the body is what the model answers. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct api_operation *const operations[] = {
    &openai_chat, &openai_completions, &openai_responses, &openai_embeddings,
    &openai_infill};

static void want(bool ok)
{
    if (!ok)
        abort();
}

static bool in_range(float x, float min, float max)
{
    return isnan(x) || (x >= min && x <= max);
}

static void check_message(const json_t *m)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *role = json_string_value(json_object_get(m, "role"));
    bool known = false;
    want(role && json_is_string(json_object_get(m, "content")));
    for (int i = 0; i < 4; i++)
        known |= strcmp(role, roles[i]) == 0;
    want(known);
    const json_t *calls = json_object_get(m, "tool_calls");
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *f = json_object_get(call, "function");
        want(json_is_string(json_object_get(call, "id")));
        want(json_is_string(json_object_get(f, "name")));
        want(json_is_object(json_object_get(f, "arguments")));
    }
}

static void check_request(const struct api_request *r)
{
    const struct api_sampling *s = &r->sampling;
    want(r->body && r->model && r->session);
    want(in_range(s->temperature, 0, 2) && in_range(s->top_p, 0, 1));
    want(in_range(s->min_p, 0, 1) && in_range(s->typical_p, 0, 1));
    want(in_range(s->repeat_penalty, 0.1f, 10));
    want(in_range(s->presence_penalty, -2, 2) && in_range(s->frequency_penalty, -2, 2));
    want(s->top_k >= -1 && s->repeat_last_n >= -1);
    want(r->n >= 1 && r->n <= API_N_MAX && r->max_tokens >= -1 && r->n_ctx >= 0);
    want(r->n_stop >= 0 && r->n_stop <= API_STOP_MAX);
    for (int i = 0; i < r->n_stop; i++)
        want(r->stop[i][0] && strlen(r->stop[i]) <= 256);
    want(r->n_bias >= 0 && r->n_bias <= API_BIAS_MAX);
    for (int i = 0; i < r->n_bias; i++)
        want(r->bias[i].id >= 0 && fabsf(r->bias[i].bias) <= 100);
    want(r->n_logprobs >= -1 && r->n_logprobs <= API_LOGPROBS_MAX);
    want((r->format == API_FORMAT_SCHEMA) == (r->schema != NULL));
    want((r->tool_choice == API_TOOLS_NAMED) == (r->tool_name != NULL));
    want(json_array_size(r->tools) <= API_TOOLS_MAX);
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        const json_t *f = json_object_get(json_array_get(r->tools, i), "function");
        want(json_is_string(json_object_get(f, "name")));
        want(json_is_string(json_object_get(f, "description")));
        want(json_is_object(json_object_get(f, "parameters")));
    }
    for (size_t i = 0; i < json_array_size(r->messages); i++)
        check_message(json_array_get(r->messages, i));
    want((r->task == API_CHAT) == (r->messages != NULL));
    want((r->task != API_CHAT) == (r->prompts != NULL));
    for (size_t i = 0; i < json_array_size(r->prompts); i++) {
        const json_t *p = json_array_get(r->prompts, i);
        want(json_is_string(p) || json_is_array(p));
    }
}

/* Each line behind "data: " is JSON, but for the mark of the end.  (The reader of JSON
 * takes no NUL in names, so answers here have none.) */
static void check_stream(char *text)
{
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "data: ", 6) != 0 || strcmp(line, "data: [DONE]") == 0)
            continue;
        json_t *v = json_loads(line + 6, JSON_ALLOW_NUL, NULL);
        want(json_is_object(v));
        json_decref(v);
    }
}

static void check_answer(const struct api_operation *op, const struct api_request *r,
                         const char *text, size_t n)
{
    static const struct answer_head head = {
        .request_id = "req_1", .id = "a", .model = "m", .fingerprint = "fp"};
    const struct answer_token top[] = {{1, -1, text, n}, {2, -INFINITY, "\xc3", 1}};
    const struct answer_event events[] = {
        {.kind = ANSWER_REASONING, .text = text, .n = n},
        {.kind = ANSWER_LOGPROB, .token = top[0], .top = top, .n_top = 2},
        {.kind = ANSWER_TEXT, .text = text, .n = n},
        {.kind = ANSWER_TOOL_BEGIN, .id = "call_1", .name = "f"},
        {.kind = ANSWER_TOOL_ARGS, .text = text, .n = n},
        {.kind = ANSWER_TOOL_END},
    };
    struct buf out;
    buf_init(&out, (size_t)1 << 26);
    struct answer_writer *w = op->open_writer(r, &head);
    want(w);
    w->ops->begin(w, &out);
    for (size_t i = 0; i < sizeof events / sizeof *events; i++)
        w->ops->event(w, &events[i], &out);
    const size_t prompts = r->task == API_COMPLETION ? json_array_size(r->prompts) : 1;
    for (int i = 0; i < (int)prompts * r->n; i++) {
        const struct answer_event end = {.kind = ANSWER_END, .choice = i};
        w->ops->event(w, &end, &out);
    }
    want(!out.failed && out.len > 0);
    if (r->stream) {
        check_stream(out.data);
    } else {
        json_t *v = json_loadb(out.data, out.len, JSON_ALLOW_NUL, NULL);
        want(json_is_object(v));
        json_decref(v);
    }
    w->ops->close(w);
    buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n < 2)
        return 0;
    const struct api_operation *op =
        operations[(data[0] & 0x7f) % (sizeof operations / sizeof *operations)];
    const char *text = (const char *)data + 1;
    json_t *body = json_loadb(text, n - 1, data[0] & 0x80 ? JSON_ALLOW_NUL : 0, NULL);
    struct api_request r;
    struct api_error err = {0};
    api_request_init(&r);
    if (!json_is_object(body)) {
        json_decref(body);
        return 0;
    }
    if (op->parse(&r, body, &err) == STATUS_OK) {
        check_request(&r);
        if (op->open_writer)
            check_answer(op, &r, text, strnlen(text, n - 1 < 64 ? n - 1 : 64));
    } else {
        want(err.message[0] && !r.body);
        json_decref(body);
    }
    api_request_release(&r);
    return 0;
}
