/* chat_messages.h - canonical messages to those that a template prints in their places.
 */
#ifndef ENGINE_CHAT_MESSAGES_H
#define ENGINE_CHAT_MESSAGES_H

#include <jansson.h>

#include "base/buf.h"
#include "engine/chat_caps.h"

/* A new array; NULL without memory.  messages and tools (NULL: none) are canonical
 * (dialect/request.h).  Where a template knows no tools they are described in front of
 * the first message. */
json_t *chat_messages(const struct chat_caps *c, json_t *messages, json_t *tools);

/* Append JSON as templates print it: ", " and ": " between values, no escapes but the
 * necessary, members in their order. */
bool chat_json(struct buf *out, const json_t *v);

#endif
