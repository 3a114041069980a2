/* grammar.h - which tokens may come next: GBNF and JSON Schema as masks over a
 * vocabulary.
 *
 * A grammar is compiled once and immutable.  A matcher follows one answer.  Everything is
 * bounded: source, rules, nesting, states; what is too large or not understood is an
 * error of compilation (never "anything goes"). */
#ifndef GRAMMAR_GRAMMAR_H
#define GRAMMAR_GRAMMAR_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct grammar;

/* GBNF (llama.cpp's grammars/README.md) whose start is the rule "root".  A rule that is
 * named schema-N (N = 0 .. n_schema - 1) is not defined in the text: it stands for the
 * JSON texts that are valid by schemas[N] (draft 2020-12: type, properties, required,
 * additionalProperties, enum, const, items, prefixItems, minItems, maxItems, pattern,
 * minLength, maxLength, format, minimum ..., anyOf, oneOf, allOf, $ref, $defs; others
 * that only comment are ignored, others that restrict are an error by name).  Members
 * come in the order of `properties`. */
struct grammar_source {
    const char *gbnf; // [n]; NULL: root ::= schema-0
    size_t n;
    json_t *const *schemas; // borrowed during the call
    int n_schema;
    /* Text is free until one of these strings was produced; behind it root must follow,
     * and then text is free again.  n_trigger 0: the answer is one root and then ends. */
    const char *const *triggers;
    int n_trigger;
    bool once; // with triggers: behind the first root the answer ends
};

enum status grammar_open(struct grammar **out, const struct grammar_source *src,
                         struct error *err);
void grammar_close(struct grammar *g);

/* The vocabulary as a trie, made once for a model and shared by all its matchers. */
struct grammar_vocab;

struct grammar_piece {
    const char *text; // the bytes that the token adds to an answer
    size_t n;
    bool end;    // ends the answer: allowed where the grammar may end
    bool hidden; // control tokens: never allowed while a grammar constrains
};

/* pieces [n_vocab], borrowed during the call.  Tokens of no bytes are never allowed,
 * those with `end` apart. */
enum status grammar_vocab_open(struct grammar_vocab **out,
                               const struct grammar_piece *pieces, int n_vocab,
                               struct error *err);
void grammar_vocab_close(struct grammar_vocab *v);

struct grammar_matcher;

/* g and v outlive the matcher, which reserves all its memory here: the calls below never
 * allocate. */
enum status grammar_matcher_open(struct grammar_matcher **out, const struct grammar *g,
                                 const struct grammar_vocab *v, struct error *err);
void grammar_matcher_close(struct grammar_matcher *m);

/* Whether any token may come next (before a trigger): then no mask is needed. */
bool grammar_matcher_is_open(const struct grammar_matcher *m);

/* bits [(n_vocab + 31) / 32] <- 1 for each token that may come next; at least one is set.
 * STATUS_LIMIT: the text reached a state that is too large to follow; the answer must end
 * with an error. */
enum status grammar_matcher_mask(struct grammar_matcher *m, uint32_t *bits,
                                 struct error *err);

/* Follow a token that was allowed (or any, where text is free). */
enum status grammar_matcher_accept(struct grammar_matcher *m, int32_t id,
                                   struct error *err);

/* Back to the beginning. */
void grammar_matcher_reset(struct grammar_matcher *m);

#endif
