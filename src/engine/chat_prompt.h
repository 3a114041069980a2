/* chat_prompt.h - messages and tools of a request to the tokens of its prompt.
 *
 * Pure but for the replay store; any thread. */
#ifndef ENGINE_CHAT_PROMPT_H
#define ENGINE_CHAT_PROMPT_H

#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "engine/engine.h"
#include "engine/replay.h"
#include "text/tokenizer.h"

/* Numbers of tokens that a later prompt is likely to start with, rising: up to the first
 * user's text (system and tools), up to the last user's text, and up to the generation
 * prompt; those that are equal once. */
struct chat_stable {
    size_t at[3];
    int n;
};

struct chat_turn {
    json_t *messages;         // canonical (dialect/request.h), borrowed like the others
    json_t *tools;            // canonical, NULL for none
    json_t *vars;             // more variables of the template, NULL for none
    int think;                // -1: as the template does, 0: off, 1: on
    const char *think_effort; // "low" ..., NULL: as the template does
    struct replay *replay;    // NULL: none
};

struct chat_prompt_result {
    struct chat_stable stable;
    bool reasoning; // the prompt ends inside of reasoning
    int n_replayed; // messages whose bytes were put back
};

/* out <- the tokens, ready for the assistant's answer.  System messages stay where they
 * are; for a template that refuses them there they become marked text of a user's turn.
 * Tools are written by the template if it knows them, else a description and the syntax
 * that the generic format reads are put in front of the system text.
 * STATUS_BAD_INPUT: the template refused the messages, with its reason, or vars has a
 * member that is not a request's to set. */
enum status chat_prompt_tokens(const struct engine *e, const struct chat_turn *t,
                               struct tokens *out, struct chat_prompt_result *result,
                               struct error *err);

/* Whether the model reasons, or can be told to. */
bool chat_prompt_can_think(const struct engine *e);
/* Whether the template itself writes tools and calls. */
bool chat_prompt_has_tools(const struct engine *e);

/* The text alone, as /apply-template shows it. */
enum status chat_prompt_text(const struct engine *e, const struct chat_turn *t,
                             struct buf *out, struct error *err);

#endif
