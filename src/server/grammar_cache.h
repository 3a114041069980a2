/* grammar_cache.h - compiled grammars by the text that they were made of.  Any thread. */
#ifndef SERVER_GRAMMAR_CACHE_H
#define SERVER_GRAMMAR_CACHE_H

#include "grammar/grammar.h"

struct grammar_cache;
struct grammar_entry;

enum status grammar_cache_open(struct grammar_cache **out, struct error *err);
void grammar_cache_close(struct grammar_cache *c);
/* Compile, or find: an entry to be given back, behind all generations that use it. */
enum status grammar_cache_get(struct grammar_cache *c, const struct grammar_source *src,
                              struct grammar_entry **out, struct error *err);
void grammar_cache_put(struct grammar_cache *c, struct grammar_entry *e);
const struct grammar *grammar_entry_grammar(const struct grammar_entry *e);

#endif
