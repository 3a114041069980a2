/* machine.h - what a text may be so far, as numbered states.
 *
 * A text can be read in several ways; each is a configuration: a node of the program and
 * a stack.  All of them together are a state.  States get numbers when they are met, and
 * moves between them are kept in a table, so that what was seen before costs a look-up.
 * Memory is reserved at open; when it is full, all but the states in use are forgotten.
 */
#ifndef GRAMMAR_MACHINE_H
#define GRAMMAR_MACHINE_H

#include "grammar/grammar_impl.h"

enum {
    MACHINE_FRAMES = 1 << 14,
    MACHINE_STATES = 1 << 12,
    MACHINE_CONFIGS = 1 << 16,
    MACHINE_WAYS = 1 << 13, // configurations of one state, and what leads to them
    MACHINE_DEPTH = 256,    // frames of a stack: what is deeper is not allowed
    MACHINE_DEAD = 0,       // the state of a text that cannot be
    MACHINE_FAULT = 0xffff, // no state
    /* Ways that are followed for a token at most, some 20 ms: grammars that are harmless
     * need a hundredth, and others must not stop the answers of other people. */
    MACHINE_EFFORT = 1 << 20,
};

/* A stack is its topmost frame; 0 is the empty one.  Equal stacks are one. */
struct frame {
    uint32_t tag;   // node to return to, or FRAME_COUNTER | counter
    uint32_t value; // of the counter; with FRAME_FROZEN, it does not count
    uint32_t parent;
    uint32_t frozen; // the same stack with counters frozen; 0: not known
    uint32_t slack;  // bytes that can be read before a counter's verdict may change
    uint32_t depth;
};

struct config {
    uint32_t node, stack; // NODE_FREE: stack is the state of the triggers
};

struct machine_state {
    uint32_t first, n; // of configs
    uint32_t slack;
    uint64_t leads, known; // groups of bytes that lead to `usual`, of which it is known
    uint16_t frozen;       // the state with counters frozen; 0: not known
    uint16_t usual;        // see matcher.c; MACHINE_FAULT: not known
    uint16_t slot;         // of a mask + 1
    bool accept;           // the text may end
    bool free;             // any text may come
    int8_t open;           // whether every token may come: -1: not known
};

enum machine_fault { FAULT_NONE, FAULT_FULL, FAULT_LARGE };

struct visited {
    struct config c;
    uint32_t epoch;
};

struct machine {
    const struct grammar *g;
    struct frame *frames;
    struct machine_state *states;
    struct config *configs;
    uint16_t *moves; // [MACHINE_STATES][n_class]; MACHINE_FAULT: not known
    uint32_t *frame_slots;
    uint16_t *state_slots;
    struct visited *visited;
    struct config *work, *set; // [MACHINE_WAYS]
    uint32_t *map;             // [MACHINE_FRAMES]
    uint32_t n_frame, n_state, n_config, n_work, n_set, n_visited, epoch;
    uint32_t effort; // ways followed since the matcher set it to 0
    bool accept;     // of the state in work
    enum machine_fault fault;
};

enum status machine_open(struct machine *m, const struct grammar *g, struct error *err);
void machine_close(struct machine *m);

/* Forget all states. */
void machine_clear(struct machine *m);

/* The functions below return a state, or MACHINE_FAULT with m->fault set: FAULT_FULL can
 * be tried again after machine_keep, FAULT_LARGE cannot be followed, or not with the
 * effort that is left. */
uint16_t machine_start(struct machine *m);
uint16_t machine_step_slow(struct machine *m, uint16_t state, uint8_t byte);
/* The same state with its counters frozen: for texts of at most its slack bytes. */
uint16_t machine_frozen(struct machine *m, uint16_t state);

static inline uint16_t machine_step(struct machine *m, uint16_t state, uint8_t byte)
{
    const struct program *p = &m->g->program;
    const uint16_t to =
        m->moves[(size_t)state * (size_t)p->n_class + p->byte_class[byte]];
    return to != MACHINE_FAULT ? to : machine_step_slow(m, state, byte);
}

/* Forget all states but states [n], whose numbers change. */
void machine_keep(struct machine *m, uint16_t *states, uint32_t n);

#endif
