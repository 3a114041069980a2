/* anthropic_parts.h - what the files of the Anthropic dialect share.
 *
 * Source: Anthropic's Messages API, as its clients use it. */
#ifndef DIALECT_ANTHROPIC_PARTS_H
#define DIALECT_ANTHROPIC_PARTS_H

#include "dialect/dialect.h"
#include "dialect/fields.h"

/* Fields of the body and of the objects in it. */
extern const struct field_table anthropic_fields, anthropic_thinking_fields,
    anthropic_output_fields, anthropic_tool_choice_fields, anthropic_metadata_fields;

/* r->body to everything else of r; r->task is set. */
enum status anthropic_read_request(struct api_request *r, struct api_error *err);

/* system and messages of r->body to r->messages.  In *loaded (new, an object whose
 * members are names) are the deferred tools that a tool search of the client found.
 *
 *  - All blocks of text of a turn are joined by a newline; turns of one role in sequence
 *    are one turn.  System messages stay in their places.
 *  - Results of tools become messages of their own, in the order that was sent.
 *  - A first line of system text that is Claude Code's billing line, which differs from
 *    one session to the next, is dropped. */
enum status anthropic_read_messages(struct api_request *r, json_t **loaded,
                                    struct api_error *err);

/* tools of r->body to r->tools.  Those with defer_loading follow behind the others, in
 * the order of loaded and only if they are in it, or all of them if the request counts on
 * a search of Anthropic's. */
enum status anthropic_read_tools(struct api_request *r, json_t *loaded,
                                 struct api_error *err);

/* The object of an error, without HTTP. */
void anthropic_print_error_body(struct buf *out, const struct api_error *e,
                                const char *request_id);

struct answer_writer *anthropic_open_writer(const struct api_request *r,
                                            const struct answer_head *head);

#endif
