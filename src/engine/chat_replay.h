/* chat_replay.h - answers with calls as the model wrote them, in their places. */
#ifndef ENGINE_CHAT_REPLAY_H
#define ENGINE_CHAT_REPLAY_H

#include <jansson.h>

#include "base/buf.h"
#include "engine/replay.h"
#include "text/template.h"

/* An answer is printed as a message without calls whose content is a word that comes
 * nowhere else; what the model wrote is then put in the place of the word. */
struct chat_replay {
    json_t *messages; // a new array with the words; NULL: nothing is put back
    int n;
    char word[24]; // the words without their numbers
    struct buf text, mark;
    size_t *end; // [n] of each answer in text
    size_t *at;  // [n] of each word in the rendered text, set by chat_replay_check
};

/* Look for the answers of canonical messages. */
void chat_replay_init(struct chat_replay *c, struct replay *r, json_t *messages);
void chat_replay_release(struct chat_replay *c);

/* Whether `with` (the words) and `plain` (the template's own printing of the calls) agree
 * around the answers, so that what was kept fits in. */
bool chat_replay_check(struct chat_replay *c, const struct template_output *with,
                       const struct template_output *plain);

/* Put the answers in.  false: no memory. */
bool chat_replay_splice(const struct chat_replay *c, struct template_output *text);

/* Where a position of the text with words is behind chat_replay_splice. */
size_t chat_replay_moved(const struct chat_replay *c, size_t at);

#endif
