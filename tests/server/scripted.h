/* scripted.h - a scheduler without a model: what answers say comes from a JSON file.
 *
 *   {"slots": 2, "queue": 4, "queue_ms": 60000, "ctx": 2048,
 *    "rules": [{"match": "weather", "text": "<tool_call>...", "delay_ms": 5,
 *               "prefill_ms": 100, "fail": "why", "fail_after": 3, "length": 1000}, ...]}
 *
 * The rule is the one whose match ends last in the text of the prompt, so that a
 * conversation goes on from rule to rule; one without match is for the rest.  Its text is
 * tokenised with control tokens and comes a token at a time, delay_ms apart, behind
 * prefill_ms.  "repeat": N says the text N times; "text" may be an array, whose members
 * are said in turn by the requests that the rule meets.  fail ends the answer behind
 * fail_after tokens.  Stop strings, max_tokens, contexts, queues and cancelling are those
 * of the real one; logprobs are made up: that of the token is -0.5, those of the next
 * ids less.  A prompt that begins like one of the last 16 has its start "cached". */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include <jansson.h>

#include "engine/scheduler.h"

enum status scripted_open(struct scheduler **out, struct engine *e, json_t *script,
                          struct error *err);

#endif
