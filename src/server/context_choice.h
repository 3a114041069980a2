/* context_choice.h - how much context a model gets from the memory there is.  Pure. */
#ifndef SERVER_CONTEXT_CHOICE_H
#define SERVER_CONTEXT_CHOICE_H

#include "engine/scheduler.h"

enum {
    CONTEXT_AUTO_MAX = 131072, // more only where somebody asks for it
    CONTEXT_AUTO_MIN = 2048,   // less only where a model was trained for less
    CONTEXT_BESIDE = 8192,     // pages for each answer beside the longest
};

struct context_choice {
    size_t weights, cache; // bytes: cache is pages, states and scratch
    bool shrunk;           // smaller than it would be with more memory
};

/* Room that stays free: 5 % of what is available, at least 512 MiB. */
size_t context_reserve(size_t available);

/* o->n_ctx (0: as long as the model was trained for, at most CONTEXT_AUTO_MAX) and
 * o->n_page <- the largest with which weights and cache of m are at most `room` bytes
 * (SIZE_MAX: whatever they take); m is planned or loaded.  Pages shrink first, to those
 * of one answer, then an n_ctx that nobody asked for.  STATUS_NO_MEMORY: not even the
 * smallest fits; out says what that takes. */
enum status context_choose(struct context_choice *out, const struct model *m,
                           struct context_options *o, size_t room, struct error *err);

#endif
