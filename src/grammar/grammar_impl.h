/* grammar_impl.h - what grammar.h hides: compiled grammars and vocabularies. */
#ifndef GRAMMAR_IMPL_H
#define GRAMMAR_IMPL_H

#include "grammar/grammar.h"
#include "grammar/program.h"

enum {
    TRIGGER_MAX = 16,
    TRIGGER_BYTES = 2048, // of all triggers together
};

/* Triggers are found as by Aho and Corasick, with all moves written out. */
struct triggers {
    uint16_t (*go)[256]; // [n]
    bool *done;          // [n]: behind a trigger
    int n;               // 0: no triggers
};

struct grammar {
    struct program program;
    struct triggers triggers;
    bool once;
};

/* The tokens as a tree of their bytes, in the order of a walk in depth: the nodes below
 * node i are i + 1 .. end - 1, and their tokens ids[nodes[i + 1].token ..
 * nodes[end].token). Those of node i itself come before them. */
struct vocab_node {
    uint64_t below; // groups of the bytes of all nodes below (vocab_group)
    uint32_t end;
    uint32_t token;
    uint16_t depth; // bytes from the root
    uint16_t deep;  // bytes of the longest way below it
    uint16_t chars; // characters from the root (bytes that do not go on with one)
    uint8_t byte;
};

enum {
    VOCAB_TOKEN_BYTES = 4096, // longer tokens are never allowed
    VOCAB_GROUPS = 62,        // of ASCII bytes
    VOCAB_CHARS = 62,         // the group of whole characters of several bytes
    VOCAB_BROKEN = 63,        // of tokens that are not whole characters
};

struct grammar_vocab {
    int n_vocab;
    struct vocab_node *nodes; // [n_node + 1]; node 0 is the root
    uint32_t n_node;
    int32_t *ids;    // [n_id] tokens of the tree
    uint16_t *chars; // [n_id] their characters
    uint32_t n_id;
    int32_t *ends, *hidden; // [n_end], [n_hidden]; hidden ones that do not end
    int n_end, n_hidden;
    char *text;         // of all tokens
    uint32_t *offset;   // [n_vocab + 1]
    uint8_t *kind;      // [n_vocab]
    int deep;           // bytes of the longest token of the tree
    uint8_t group[128]; // of ASCII bytes
};

enum vocab_kind { VOCAB_EMPTY, VOCAB_TEXT, VOCAB_END, VOCAB_HIDDEN };

/* ASCII bytes that are alike to most grammars are of one group. */
int vocab_group(uint8_t byte);

#endif
