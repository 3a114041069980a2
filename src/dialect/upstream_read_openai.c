/* upstream_read_openai.c - replies of OpenAI's API: chunks and documents, of chat and of
 * completions, in the forms that OpenAI, vLLM and llama.cpp's server give them. */
#include <string.h>

#include "dialect/upstream_parts.h"

static bool is_there(const json_t *v)
{
    return v && !json_is_null(v);
}

static uint64_t us_of_ms(const json_t *object, const char *name)
{
    const double ms = json_number_value(json_object_get(object, name));
    return ms > 0 && ms < 1e12 ? (uint64_t)(ms * 1e3) : 0;
}

static void read_openai_usage(struct upstream_reader *r, const json_t *v)
{
    const json_t *usage = json_object_get(v, "usage");
    const json_t *timings = json_object_get(v, "timings"); // llama.cpp
    struct answer_usage *u = &r->usage;
    if (json_is_object(usage)) {
        r->has_usage = true;
        u->n_prompt = upstream_count(usage, "prompt_tokens");
        u->n_decoded = upstream_count(usage, "completion_tokens");
        u->n_cached = upstream_count(json_object_get(usage, "prompt_tokens_details"),
                                     "cached_tokens");
        u->n_reasoning = upstream_count(
            json_object_get(usage, "completion_tokens_details"), "reasoning_tokens");
    }
    if (json_is_object(timings)) {
        if (!r->has_usage) {
            u->n_cached = upstream_count(timings, "cache_n");
            u->n_prompt = u->n_cached + upstream_count(timings, "prompt_n");
            u->n_decoded = upstream_count(timings, "predicted_n");
        }
        u->prefill_us = us_of_ms(timings, "prompt_ms");
        u->decode_us = us_of_ms(timings, "predicted_ms");
    }
    if (u->n_cached > u->n_prompt)
        u->n_cached = u->n_prompt;
}

/* The call that a delta goes on with, NULL if it begins one.  It is named by its index;
 * some backends say no index, some say 0 for each call, with another id. */
static struct reply_call *find_call(struct upstream_reader *r, int choice, int64_t key,
                                    const char *id, const char *name)
{
    for (int i = r->n_call; i-- > 0;) {
        struct reply_call *c = &r->calls[i];
        const bool same_id = id && c->sent_id && strcmp(id, c->sent_id) == 0;
        if (c->choice != choice)
            continue;
        if (key >= 0 ? c->key == key : !id || same_id)
            return id && c->sent_id && !same_id ? NULL
                   : key < 0 && !id && name     ? NULL
                                                : c;
    }
    return NULL;
}

static void read_call_delta(struct upstream_reader *r, int choice, const json_t *delta)
{
    const json_t *index = json_object_get(delta, "index");
    const json_t *f = json_object_get(delta, "function");
    const json_t *arguments = json_object_get(f, "arguments");
    const char *id = upstream_string(delta, "id"), *name = upstream_string(f, "name");
    if (!json_is_object(delta) || (is_there(f) && !json_is_object(f))) {
        reply_wrong(r, "a call", "an object with an object `function`");
        return;
    }
    const int64_t key = json_is_integer(index) ? json_integer_value(index) : -1;
    struct reply_call *c = find_call(r, choice, key, id, name);
    if (!c)
        c = reply_call_begin(r, choice, key, id, name);
    else if (name)
        reply_call_name(r, c, name);
    if (!c || r->state != UPSTREAM_OPEN)
        return;
    if (json_is_object(arguments))
        reply_call_object(r, c, arguments);
    else if (json_is_string(arguments))
        reply_call_args(r, c, json_string_value(arguments),
                        json_string_length(arguments));
    else if (is_there(arguments))
        reply_wrong(r, "arguments", "a string of JSON");
}

/* What a delta or a message has to say. */
static void read_delta_message(struct upstream_reader *r, int choice, const json_t *m)
{
    const json_t *reasoning = json_object_get(m, "reasoning_content");
    const json_t *calls = json_object_get(m, "tool_calls");
    const json_t *old = json_object_get(m, "function_call");
    if (!is_there(reasoning))
        reasoning = json_object_get(m, "reasoning"); // vLLM, Ollama
    reply_prose(r, choice, ANSWER_REASONING, reasoning, "reasoning_content");
    reply_prose(r, choice, ANSWER_TEXT, json_object_get(m, "content"), "content");
    reply_prose(r, choice, ANSWER_TEXT, json_object_get(m, "refusal"), "refusal");
    if (is_there(calls) && !json_is_array(calls)) {
        reply_wrong(r, "tool_calls", "an array");
        return;
    }
    for (size_t i = 0; i < json_array_size(calls) && r->state == UPSTREAM_OPEN; i++)
        read_call_delta(r, choice, json_array_get(calls, i));
    if (json_is_object(old)) {
        json_t *call = json_pack("{s:i, s:O}", "index", 0, "function", old);
        read_call_delta(r, choice, call);
        json_decref(call);
    }
}

/* The reason, NULL if it did not come yet. */
static const char *reason_of(struct upstream_reader *r, const json_t *choice)
{
    const json_t *v = json_object_get(choice, "finish_reason");
    if (is_there(v) && !json_is_string(v))
        reply_wrong(r, "finish_reason", "a string");
    return upstream_string(choice, "finish_reason");
}

static void read_choice_of(struct upstream_reader *r, const json_t *v, const char *body)
{
    const json_t *m = json_object_get(v, body);
    const int choice = upstream_count(v, "index");
    if (!json_is_object(v) || (is_there(m) && !json_is_object(m))) {
        reply_wrong(r, "a choice", "an object with an object of its message");
        return;
    }
    const json_t *logprobs = json_object_get(v, "logprobs");
    reply_logprobs(r, choice, json_object_get(logprobs, "content"));
    if (json_is_object(m))
        read_delta_message(r, choice, m);
    reply_prose(r, choice, ANSWER_TEXT, json_object_get(v, "text"), "text");
    const char *reason = reason_of(r, v);
    const bool again = choice < r->n_choice && r->choices[choice].ended;
    if (reason && !again && r->state == UPSTREAM_OPEN)
        reply_finish(r, choice, reason, upstream_string(v, "stop_reason")); // vLLM
}

static bool read_openai_error(struct upstream_reader *r, const json_t *v)
{
    const char *object = upstream_string(v, "object");
    struct api_error e;
    if (!is_there(json_object_get(v, "error")) && strcmp(r->event, "error") != 0 &&
        !(object && strcmp(object, "error") == 0))
        return false;
    upstream_error_value(&e, v, 0);
    reply_fail_with(r, &e);
    return true;
}

static void read_choices(struct upstream_reader *r, const json_t *v, const char *body)
{
    const json_t *choices = json_object_get(v, "choices");
    if (read_openai_error(r, v))
        return;
    if (is_there(choices) && !json_is_array(choices)) {
        reply_wrong(r, "choices", "an array");
        return;
    }
    for (size_t i = 0; i < json_array_size(choices) && r->state == UPSTREAM_OPEN; i++)
        read_choice_of(r, json_array_get(choices, i), body);
    read_openai_usage(r, v);
}

void upstream_openai_event(struct upstream_reader *r, const json_t *v)
{
    read_choices(r, v, "delta");
}

void upstream_openai_document(struct upstream_reader *r, const json_t *v)
{
    read_choices(r, v, "message");
    if (r->state == UPSTREAM_OPEN)
        reply_end(r);
}
