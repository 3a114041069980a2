/* answer.h - an answer as events: what every dialect prints.
 *
 * For each choice the events come in this order: any number of reasoning, text and tool
 * calls in any order (a call is TOOL_BEGIN, TOOL_ARGS ..., TOOL_END, never nested), and
 * END, once.  Choices interleave.  ERROR may come at any time and is the last one. */
#ifndef DIALECT_ANSWER_H
#define DIALECT_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dialect/error.h"
#include "dialect/request.h"

enum answer_kind {
    ANSWER_REASONING,  // text
    ANSWER_TEXT,       // text
    ANSWER_TOOL_BEGIN, // id, name
    ANSWER_TOOL_ARGS,  // text: a piece of the arguments, which together are a JSON object
    ANSWER_TOOL_END,
    ANSWER_LOGPROB,  // of one token, before or behind the text that it made
    ANSWER_PING,     // nothing new: something that keeps the connection alive
    ANSWER_END,      // finish; usage and timings of this choice
    ANSWER_ERROR,    // error
    ANSWER_PROGRESS, // n_done tokens of the prompt are read; if the request asked
};

enum answer_finish {
    ANSWER_STOP,        // the model ended
    ANSWER_STOP_STRING, // stop_string
    ANSWER_LENGTH,      // max_tokens, or the context is full
    ANSWER_TOOL_CALLS,  // it ended with at least one call
};

/* The bytes of a token are those of its text: not always whole characters. */
struct answer_token {
    int32_t id;
    float logprob;
    const char *text;
    size_t n;
};

struct answer_usage {
    int n_prompt,
        n_cached; // tokens of the prompt, and how many of them were not computed
    int n_decoded, n_reasoning;
    uint64_t queue_us, prefill_us, decode_us, total_us, load_us;
};

struct answer_event {
    enum answer_kind kind;
    int choice;       // 0 .. n - 1; of a completion prompt * n + choice
    const char *text; // [n] valid UTF-8 in whole characters
    size_t n;
    const char *id, *name;          // TOOL_BEGIN; id is unique, and what the client gets
    struct answer_token token;      // LOGPROB
    const struct answer_token *top; // LOGPROB: [n_top] alternatives, best first
    int n_top;
    int n_done;                    // PROGRESS: usage has n_prompt, n_cached, prefill_us
    enum answer_finish finish;     // END
    const char *stop_string;       // END, ANSWER_STOP_STRING
    struct answer_usage usage;     // END
    const struct api_error *error; // ERROR
};

/* What is known before the first event. */
struct answer_head {
    const char *request_id;  // "req_..."; unique
    const char *id;          // bare unique id: a dialect puts its own prefix in front
    const char *model;       // as the client named it
    const char *fingerprint; // of build, model and types
    int64_t created_us;      // since 1970
    int n_prompt;            // tokens
};

#endif
