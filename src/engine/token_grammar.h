/* token_grammar.h - the vocabulary of a tokenizer as grammars see it. */
#ifndef ENGINE_TOKEN_GRAMMAR_H
#define ENGINE_TOKEN_GRAMMAR_H

#include "grammar/grammar.h"
#include "text/output.h"
#include "text/tokenizer.h"

/* n_vocab: of the model, whose logits are masked; tokens that the tokenizer lacks are
 * never allowed.  Control tokens of the format's syntax (NULL: none) are text, others are
 * hidden.  Closed by grammar_vocab_close. */
enum status token_grammar_vocab(struct grammar_vocab **out, const struct tokenizer *t,
                                int n_vocab, const struct output_format *format,
                                struct error *err);

#endif
