/* gbnf.h - GBNF source to the rules of a program. */
#ifndef GRAMMAR_GBNF_H
#define GRAMMAR_GBNF_H

#include "grammar/program.h"

/* text [n].  Rules 0 .. n_schema - 1 of the program are schema-N and are defined
 * elsewhere; sets b->p->root.  Language: docs/grammar.md. */
enum status gbnf_compile(struct builder *b, const char *text, size_t n,
                         uint32_t n_schema);

#endif
