/* upstream_read_anthropic.c - replies of Anthropic's API: events and messages. */
#include <string.h>

#include "dialect/upstream_parts.h"

/* Tokens that were read from a cache, or written to it, are not among input_tokens. */
static void read_anthropic_usage(struct upstream_reader *r, const json_t *usage)
{
    struct answer_usage *u = &r->usage;
    if (!json_is_object(usage))
        return;
    r->has_usage = true;
    if (json_object_get(usage, "input_tokens")) {
        u->n_cached = upstream_count(usage, "cache_read_input_tokens");
        u->n_prompt = upstream_count(usage, "input_tokens") + u->n_cached +
                      upstream_count(usage, "cache_creation_input_tokens");
    }
    if (json_object_get(usage, "output_tokens"))
        u->n_decoded = upstream_count(usage, "output_tokens");
    const json_t *details = json_object_get(usage, "output_tokens_details");
    if (details)
        u->n_reasoning = upstream_count(details, "thinking_tokens");
}

/* A call's input comes in pieces behind its beginning, or with it. */
static void begin_tool_use(struct upstream_reader *r, const json_t *block)
{
    const json_t *input = json_object_get(block, "input");
    const char *name = upstream_string(block, "name");
    if (!name) {
        reply_wrong(r, "name", "a string");
        return;
    }
    r->block_call = reply_call_begin(r, 0, r->block, upstream_string(block, "id"), name);
    if (r->block_call && json_object_size(input) > 0)
        reply_call_object(r, r->block_call, input);
}

static void read_block(struct upstream_reader *r, const json_t *block)
{
    const char *type = upstream_string(block, "type");
    r->block_call = NULL;
    if (!type)
        reply_wrong(r, "content_block.type", "a string");
    else if (strcmp(type, "text") == 0)
        reply_prose(r, 0, ANSWER_TEXT, json_object_get(block, "text"), "text");
    else if (strcmp(type, "thinking") == 0)
        reply_prose(r, 0, ANSWER_REASONING, json_object_get(block, "thinking"),
                    "thinking");
    else if (strcmp(type, "tool_use") == 0)
        begin_tool_use(r, block);
    else if (strcmp(type, "redacted_thinking") != 0) // which nobody can read
        reply_fail(
            r, API_ERROR_BACKEND,
            "the backend's answer has a block of type '%.60s', which was not asked "
            "for",
            type);
}

static void read_delta(struct upstream_reader *r, const json_t *delta)
{
    const json_t *json = json_object_get(delta, "partial_json");
    const char *type = upstream_string(delta, "type");
    if (!type) {
        reply_wrong(r, "delta.type", "a string");
    } else if (strcmp(type, "text_delta") == 0) {
        reply_prose(r, 0, ANSWER_TEXT, json_object_get(delta, "text"), "text");
    } else if (strcmp(type, "thinking_delta") == 0) {
        reply_prose(r, 0, ANSWER_REASONING, json_object_get(delta, "thinking"),
                    "thinking");
    } else if (strcmp(type, "input_json_delta") == 0) {
        if (!r->block_call || !json_is_string(json))
            reply_wrong(r, "partial_json", "a string, within a call");
        else
            reply_call_args(r, r->block_call, json_string_value(json),
                            json_string_length(json));
    } else if (strcmp(type, "signature_delta") != 0 &&
               strcmp(type, "citations_delta") != 0) {
        reply_fail(r, API_ERROR_BACKEND,
                   "the backend's answer has a delta of type '%.60s', which is not known",
                   type);
    }
}

/* Whether the event is about the block that is open. */
static bool of_open_block(struct upstream_reader *r, const json_t *v)
{
    const json_t *index = json_object_get(v, "index");
    if (r->block >= 0 && json_is_integer(index) && json_integer_value(index) == r->block)
        return true;
    reply_wrong(r, "index", "that of the block that is open");
    return false;
}

static void begin_content_block(struct upstream_reader *r, const json_t *v)
{
    const json_t *index = json_object_get(v, "index");
    if (!r->has_begun || r->block >= 0 || !json_is_integer(index) ||
        json_integer_value(index) < 0) {
        reply_wrong(r, "content_block_start", "within a message, outside other blocks");
        return;
    }
    r->block = json_integer_value(index);
    read_block(r, json_object_get(v, "content_block"));
}

static void read_stop(struct upstream_reader *r, const json_t *v)
{
    const char *reason = upstream_string(v, "stop_reason");
    if (reason && !r->choices[0].ended)
        reply_finish(r, 0, reason, upstream_string(v, "stop_sequence"));
}

static void read_typed(struct upstream_reader *r, const json_t *v, const char *type)
{
    struct api_error e;
    if (strcmp(type, "message_start") == 0) {
        r->has_begun = true;
        read_anthropic_usage(r, json_object_get(json_object_get(v, "message"), "usage"));
    } else if (strcmp(type, "content_block_start") == 0) {
        begin_content_block(r, v);
    } else if (strcmp(type, "content_block_delta") == 0) {
        if (of_open_block(r, v))
            read_delta(r, json_object_get(v, "delta"));
    } else if (strcmp(type, "content_block_stop") == 0) {
        if (of_open_block(r, v))
            r->block = -1;
    } else if (strcmp(type, "message_delta") == 0) {
        read_anthropic_usage(r, json_object_get(v, "usage"));
        read_stop(r, json_object_get(v, "delta"));
    } else if (strcmp(type, "message_stop") == 0) {
        if (r->block >= 0)
            reply_wrong(r, "message_stop", "behind the end of all blocks");
        else
            reply_end(r);
    } else if (strcmp(type, "ping") == 0) {
        reply_ping(r);
    } else if (strcmp(type, "error") == 0) {
        upstream_error_value(&e, v, 0);
        reply_fail_with(r, &e);
    }
    /* Others may be added to the API at any time. */
}

void upstream_anthropic_event(struct upstream_reader *r, const json_t *v)
{
    const char *type = upstream_string(v, "type");
    const json_t *error = json_object_get(v, "error");
    if (!type && error && !json_is_null(error))
        type = "error";
    else if (!type && r->event[0])
        type = r->event;
    if (type)
        read_typed(r, v, type);
    else
        reply_wrong(r, "type", "a string");
}

void upstream_anthropic_document(struct upstream_reader *r, const json_t *v)
{
    const json_t *content = json_object_get(v, "content");
    const char *type = upstream_string(v, "type");
    struct api_error e;
    if (!type || strcmp(type, "message") != 0 || !json_is_array(content)) {
        upstream_error_value(&e, v, 0);
        reply_fail_with(r, &e);
        return;
    }
    read_anthropic_usage(r, json_object_get(v, "usage"));
    for (size_t i = 0; i < json_array_size(content) && r->state == UPSTREAM_OPEN; i++) {
        r->block = (int64_t)i;
        read_block(r, json_array_get(content, i));
    }
    if (r->state == UPSTREAM_OPEN)
        read_stop(r, v);
    if (r->state == UPSTREAM_OPEN)
        reply_end(r);
}
