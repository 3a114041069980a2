/* program.h - a compiled grammar: an automaton over bytes with a stack.
 *
 * Nodes are built from the end to the start: whoever makes a node already has the one
 * behind it.  Equal nodes are one node, so common ends are shared.  Node 0 returns from
 * the rule in work.  Counted repetition is a counter on the stack: PUSH puts it there,
 * STEP counts, TEST lets pass what is in a range, POP takes it away; so a count of
 * 100,000 takes no more nodes than one of 2. */
#ifndef GRAMMAR_PROGRAM_H
#define GRAMMAR_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"

enum {
    GRAMMAR_SOURCE_BYTES = 1 << 20,
    GRAMMAR_DEPTH = 64,            // of nesting in a source
    GRAMMAR_NODES = 1 << 20,       // of a program; edges twice as many
    GRAMMAR_RULES = 1 << 16,       //
    GRAMMAR_WORK = 1 << 23,        // steps of compilation
    GRAMMAR_REPEAT = 1000000,      // largest count
    GRAMMAR_ARENA_BYTES = 96 << 20 // of what compilation needs for itself
};

#define GRAMMAR_NONE UINT32_MAX
#define GRAMMAR_FOREVER UINT32_MAX // no upper bound of a count

enum node_op {
    NODE_RETURN,
    NODE_BYTES, // edges[a .. a + n), which do not overlap
    NODE_SPLIT, // outs[a .. a + n)
    NODE_CALL,  // rule a, then next
    NODE_PUSH,  // counter a at 0
    NODE_STEP,  // counter a one up
    NODE_TEST,  // test a
    NODE_POP,
    NODE_CHARS, // sets[a], in programs over characters (chars.h) only
};

struct node {
    enum node_op op;
    uint32_t a, n, next;
};

struct edge {
    uint32_t next;
    uint8_t lo, hi;
};

struct count_test {
    uint32_t counter, lo, hi; // lo <= count <= hi
};

/* Verdicts of all tests are the same from one turn to before the next; counts stop at the
 * last one. */
struct counter {
    uint32_t first, n; // of turns[], rising
};

struct rule {
    const char *name; // as in a source, or the path of a schema
    uint32_t entry;   // GRAMMAR_NONE: not defined
};

struct program {
    struct node *nodes;
    struct edge *edges;
    uint32_t *outs;
    struct rule *rules;
    struct count_test *tests;
    struct counter *counters;
    uint32_t *turns;
    uint32_t n_node, n_edge, n_out, n_rule, n_test, n_counter, n_turn;
    uint32_t root; // rule
    uint8_t byte_class[256];
    uint8_t class_byte[256]; // one byte of each class
    int n_class;
};

void program_release(struct program *p);

/* What a program is built with.  The first failure stays: nodes made behind it are
 * nonsense, and whoever builds asks for the status at the end. */
struct builder {
    struct program *p;
    struct arena *arena; // for names and whatever compilation needs
    struct error *err;
    enum status status;
    char where[320]; // what messages begin with
    uint32_t *slots; // hash of nodes
    uint32_t node_cap, edge_cap, out_cap, rule_cap, test_cap, counter_cap, slot_cap;
    uint32_t work;
};

void builder_init(struct builder *b, struct program *p, struct arena *arena,
                  struct error *err);
void builder_release(struct builder *b);

/* The first call decides what builder_init's err says.  Returns b->status. */
enum status builder_fail(struct builder *b, enum status s, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Count n steps; false when there were too many, or after a failure. */
bool builder_work(struct builder *b, uint32_t n);
/* n zeroed elements of the arena; NULL is a failure. */
void *builder_array(struct builder *b, size_t n, size_t size);

/* edges [n] rising and disjoint. */
uint32_t build_bytes(struct builder *b, const struct edge *edges, uint32_t n);
uint32_t build_byte(struct builder *b, uint8_t lo, uint8_t hi, uint32_t next);
uint32_t build_text(struct builder *b, const char *s, size_t n, uint32_t next);
/* to [n], n >= 1; GRAMMAR_NONE is left out. */
uint32_t build_split(struct builder *b, const uint32_t *to, uint32_t n);
uint32_t build_either(struct builder *b, uint32_t x, uint32_t y);
uint32_t build_call(struct builder *b, uint32_t rule, uint32_t next);
uint32_t build_chars(struct builder *b, uint32_t set, uint32_t next);

/* A node to jump back to; closed once, by the nodes that it stands for. */
uint32_t build_loop(struct builder *b);
void build_loop_close(struct builder *b, uint32_t loop, const uint32_t *to, uint32_t n);

uint32_t build_counter(struct builder *b);
uint32_t build_push(struct builder *b, uint32_t counter, uint32_t next);
uint32_t build_step(struct builder *b, uint32_t counter, uint32_t next);
uint32_t build_test(struct builder *b, uint32_t counter, uint32_t lo, uint32_t hi,
                    uint32_t next);
uint32_t build_pop(struct builder *b, uint32_t counter, uint32_t next);

/* A rule without an entry; name [n] is copied. */
uint32_t build_rule(struct builder *b, const char *name, size_t n);

/* After the last node: that all rules are defined, can end and do not begin with
 * themselves; then what the matcher needs (program_check.c). */
enum status program_finish(struct builder *b);

#endif
