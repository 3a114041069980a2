/* answer_text.h - bytes of tokens to the text of an answer: whole characters, and nothing
 * of a stop string. */
#ifndef ENGINE_ANSWER_TEXT_H
#define ENGINE_ANSWER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"
#include "text/utf8_stream.h"

struct answer_text {
    struct utf8_stream utf8;
    char *stops;        // all stop strings, one behind the other
    size_t stop_at[17]; // [n_stop + 1] where each begins
    int n_stop;
    char *pending; // [pending_cap] of which the last n_pending are not certain
    size_t n_pending, cap;
    size_t n_sure; // of pending: what answer_text_take gives
    int stopped;   // the stop string that came, or -1
};

/* stop [n_stop] strings of 1 to max bytes, copied; n_stop at most 16.  piece_bytes: the
 * largest piece. */
enum status answer_text_open(struct answer_text *a, const char *const *stop, int n_stop,
                             size_t piece_bytes, struct error *err);
void answer_text_close(struct answer_text *a);

/* The bytes of the next token.  Returns the text [*n] that became certain, which holds
 * until the next call.  When a stop string is complete a->stopped says which, the text
 * ends before it, and nothing may follow. */
const char *answer_text_put(struct answer_text *a, const char *bytes, size_t n_bytes,
                            size_t *n);
/* The rest: the answer is over, or a control token comes. */
const char *answer_text_flush(struct answer_text *a, size_t *n);

/* The stop string that is equal to text [n], or -1. */
int answer_text_is_stop(const struct answer_text *a, const char *text, size_t n);

#endif
