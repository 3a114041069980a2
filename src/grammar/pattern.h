/* pattern.h - regular expressions of JSON Schema, and automata over characters that
 * several of them and bounds of length make together. */
#ifndef GRAMMAR_PATTERN_H
#define GRAMMAR_PATTERN_H

#include "grammar/expr.h"

/* The strings in which the pattern text [n] (ECMA 262, without look-around, references,
 * word boundaries and properties) matches somewhere, as an expression of whole strings.
 */
struct expr *pattern_parse(struct builder *b, const char *text, size_t n);

struct chars_edge {
    struct charset set;
    uint32_t to;
};

/* Without empty moves; state 0 is the start.  No states: no string at all. */
struct chars {
    struct chars_state {
        uint32_t first, n; // of edges
        bool accept;
    } * states;
    struct chars_edge *edges;
    uint32_t n_state, n_edge;
};

/* All tables are the arena's. */
struct chars chars_of_expr(struct builder *b, struct expr *e, uint32_t *work);
/* Strings that both accept. */
struct chars chars_and(struct builder *b, const struct chars *x, const struct chars *y);
/* All strings but texts [n], which are rising in the order of their bytes. */
struct chars chars_except(struct builder *b, const char *const *texts, uint32_t n);

/* The inside of a JSON string of min .. max characters (GRAMMAR_FOREVER: no bound) that x
 * accepts.  GRAMMAR_NONE: there is none. */
uint32_t chars_build(struct builder *b, const struct chars *x, uint32_t min, uint32_t max,
                     uint32_t next);

#endif
