/* replay.h - what the model wrote when it called tools, to be put back where a client
 * sends the calls again: a template would print them in other bytes, and everything
 * behind would have to be read again.
 *
 * Bounded in bytes, the least recently used go first; any thread may call. */
#ifndef ENGINE_REPLAY_H
#define ENGINE_REPLAY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"

struct replay;

enum status replay_open(struct replay **out, size_t max_bytes, struct error *err);
void replay_close(struct replay *r);

/* Keep the text [n] of an answer from behind its reasoning on, whose calls have these ids
 * and arguments: calls is a canonical tool_calls array (dialect/request.h).  mark [n] is
 * 0 for bytes of control tokens, 1 for others.  Forgotten silently if there is no memory.
 */
void replay_keep(struct replay *r, const json_t *calls, const char *content,
                 const char *text, const uint8_t *mark, size_t n);

/* Append to text and mark what was kept for the message with these calls and content: if
 * ids, names, arguments and content are what the answer had.  Ids that a client left out
 * (dialect/request.h) are those of the newest answer of which all else is true: another
 * one would differ in the model's spelling alone.  false: nothing was. */
bool replay_find(struct replay *r, const json_t *calls, const char *content,
                 struct buf *text, struct buf *mark);

#endif
