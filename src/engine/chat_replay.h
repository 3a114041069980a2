/* chat_replay.h - answers with calls as the model wrote them, in their places.
 *
 * An answer is printed with a word that comes nowhere else, as a message without calls
 * that says it or, where calls are messages, as the name of a call.  What the model wrote
 * is then put in the place of the word or of the call. */
#ifndef ENGINE_CHAT_REPLAY_H
#define ENGINE_CHAT_REPLAY_H

#include <jansson.h>

#include "base/buf.h"
#include "engine/replay.h"
#include "text/output.h"
#include "text/template.h"

struct chat_edit {
    size_t at, n;     // bytes of the rendered text that go ...
    const char *text; // ... for these [len]
    const char *mark; // NULL: input
    size_t len;
};

struct chat_replay {
    json_t *messages; // a new array with the words; NULL: nothing is put back
    json_t *names;    // of the calls that a word stands for; NULL: it is the content
    const char *author, *end; // around a call that is a message
    int n;
    char word[24]; // the words without their numbers
    struct buf text, mark;
    size_t *kept; // [n] where each answer ends in text
    struct chat_edit *edit;
    int n_edit;
};

/* Look for the answers of canonical messages. */
void chat_replay_init(struct chat_replay *c, struct replay *r,
                      const struct output_format *f, json_t *messages);
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
