/* chat.h - a list of messages and the prompt that a model's template makes of it. */
#ifndef ENGINE_CHAT_H
#define ENGINE_CHAT_H

#include <jansson.h>

#include "engine/chat_prompt.h"

struct chat {
    const struct engine *e;
    json_t *messages; // [{"role", "content"}, ...]
};

/* Fails if the model file has no chat template that this build can use. */
enum status chat_open(struct chat *c, const struct engine *e, struct error *err);
void chat_close(struct chat *c);
void chat_clear(struct chat *c); // all but the system message
enum status chat_add(struct chat *c, const char *role, const char *content, size_t n,
                     struct error *err);
/* Take back the newest message. */
void chat_drop_last(struct chat *c);

/* out <- the tokens of the conversation, ready for the assistant's answer. */
enum status chat_prompt(const struct chat *c, struct tokens *out,
                        struct chat_stable *stable, struct error *err);

#endif
