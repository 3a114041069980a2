/* upstream_read_ollama.c - replies of Ollama's API: lines of chat and of generate.  A
 * document is a line that is the last one, too. */
#include "dialect/upstream_parts.h"

static uint64_t us_of_ns(const json_t *v, const char *name)
{
    const json_t *ns = json_object_get(v, name);
    return json_is_integer(ns) && json_integer_value(ns) > 0
               ? (uint64_t)json_integer_value(ns) / 1000
               : 0;
}

/* The prompt's count is absent where all of it was in the cache (older versions). */
static void read_ollama_usage(struct upstream_reader *r, const json_t *v)
{
    r->has_usage = json_object_get(v, "eval_count") != NULL ||
                   json_object_get(v, "prompt_eval_count") != NULL;
    r->usage = (struct answer_usage){
        .n_prompt = upstream_count(v, "prompt_eval_count"),
        .n_decoded = upstream_count(v, "eval_count"),
        .prefill_us = us_of_ns(v, "prompt_eval_duration"),
        .decode_us = us_of_ns(v, "eval_duration"),
        .total_us = us_of_ns(v, "total_duration"),
        .load_us = us_of_ns(v, "load_duration"),
    };
}

/* Calls come whole.  Older versions give no ids. */
static void read_ollama_call(struct upstream_reader *r, const json_t *call)
{
    const json_t *f = json_object_get(call, "function");
    const json_t *arguments = json_object_get(f, "arguments");
    const char *name = upstream_string(f, "name");
    if (!name || (arguments && !json_is_object(arguments) && !json_is_null(arguments))) {
        reply_wrong(r, "a call", "a function with a name and an object of arguments");
        return;
    }
    struct reply_call *c = reply_call_begin(r, 0, -1, upstream_string(call, "id"), name);
    if (!c)
        return;
    json_t *none = json_object();
    reply_call_object(r, c, json_is_object(arguments) ? arguments : none);
    json_decref(none);
}

/* m: message, or the line itself (generate), whose text has another name. */
static void read_ollama_message(struct upstream_reader *r, const json_t *m,
                                const char *text)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    reply_prose(r, 0, ANSWER_REASONING, json_object_get(m, "thinking"), "thinking");
    reply_prose(r, 0, ANSWER_TEXT, json_object_get(m, text), text);
    if (calls && !json_is_null(calls) && !json_is_array(calls)) {
        reply_wrong(r, "tool_calls", "an array");
        return;
    }
    for (size_t i = 0; i < json_array_size(calls) && r->state == UPSTREAM_OPEN; i++)
        read_ollama_call(r, json_array_get(calls, i));
}

void upstream_ollama_event(struct upstream_reader *r, const json_t *v)
{
    const json_t *message = json_object_get(v, "message");
    const json_t *error = json_object_get(v, "error");
    const json_t *done = json_object_get(v, "done");
    struct api_error e;
    if (error && !json_is_null(error)) {
        upstream_error_value(&e, v, 0);
        reply_fail_with(r, &e);
        return;
    }
    if ((message && !json_is_object(message)) || (done && !json_is_boolean(done)) ||
        (!message && !json_object_get(v, "response") && !json_is_true(done))) {
        reply_wrong(r, "a line", "one of an answer");
        return;
    }
    reply_logprobs(r, 0, json_object_get(v, "logprobs"));
    if (message)
        read_ollama_message(r, message, "content");
    else
        read_ollama_message(r, v, "response");
    if (r->state != UPSTREAM_OPEN || !json_is_true(done))
        return;
    const char *reason = upstream_string(v, "done_reason");
    read_ollama_usage(r, v);
    reply_finish(r, 0, reason ? reason : "stop", NULL);
    if (r->state == UPSTREAM_OPEN)
        reply_end(r);
}
