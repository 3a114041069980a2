/* expr.h - expressions of GBNF and of patterns, as trees of at most GRAMMAR_DEPTH levels,
 * and what they are built to. */
#ifndef GRAMMAR_EXPR_H
#define GRAMMAR_EXPR_H

#include "grammar/charset.h"
#include "grammar/program.h"

enum expr_kind {
    EXPR_SEQ, // kids, one behind the other; none: the empty text
    EXPR_ALT, // one of kids
    EXPR_SET,
    EXPR_TEXT, // text [n], UTF-8
    EXPR_REPEAT,
    EXPR_RULE,
    EXPR_JSON_CHAR, // one character of a JSON string, in all spellings
    EXPR_BEGIN,     // ^ and $ of patterns, which pattern_parse resolves
    EXPR_END,
};

struct expr {
    enum expr_kind kind;
    int8_t nullable; // may be empty; -1: not known yet
    uint32_t n;      // kids, bytes
    uint32_t min, max;
    uint32_t rule;
    uint32_t size; // nodes that it will take, about; at most UINT32_MAX
    union {
        struct expr **kids;
        const char *text;
        struct charset set;
    };
};

/* All of the builder's arena; NULL after a failure, which every function passes on. */
struct expr *expr_seq(struct builder *b, struct expr *const *kids, uint32_t n);
struct expr *expr_alt(struct builder *b, struct expr *const *kids, uint32_t n);
struct expr *expr_set(struct builder *b, struct charset set);
struct expr *expr_text(struct builder *b, const char *text, uint32_t n); // borrowed
struct expr *expr_repeat(struct builder *b, struct expr *kid, uint32_t min, uint32_t max);
struct expr *expr_rule(struct builder *b, uint32_t rule);
struct expr *expr_leaf(struct builder *b, enum expr_kind kind);

/* Expressions that wait for the one that they are parts of. */
struct expr_stack {
    struct expr **e;
    uint32_t n, cap;
};
void expr_stack_release(struct expr_stack *s);
bool expr_push(struct builder *b, struct expr_stack *s, struct expr *e);

enum expr_alphabet {
    EXPR_UTF8,
    EXPR_JSON,  // inside of a JSON string
    EXPR_CHARS, // NODE_CHARS, whose sets are put in *sets; without counters
};

struct expr_sets {
    struct charset *set; // [n] of the arena
    uint32_t n, cap;
};

struct expr_target {
    struct builder *b;
    enum expr_alphabet alphabet;
    const uint8_t *rule_nullable; // [rules]; NULL without rules
    struct expr_sets *sets;       // EXPR_CHARS
    uint32_t *work;               // of all builds, bounded by GRAMMAR_WORK
};

bool expr_nullable(const struct expr_target *t, struct expr *e);
/* The node that reads e and then goes to next. */
uint32_t expr_build(const struct expr_target *t, struct expr *e, uint32_t next);

#endif
