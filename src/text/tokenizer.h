/* tokenizer.h - text to token ids and back.
 *
 * A tokenizer copies what it needs from the GGUF and is immutable and thread-safe after
 * opening. */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gguf/gguf.h"

struct tokenizer;

enum status tokenizer_open(struct tokenizer **out, const struct gguf *g,
                           struct error *err);
void tokenizer_close(struct tokenizer *t);

int tokenizer_n_vocab(const struct tokenizer *t);
int32_t tokenizer_bos(const struct tokenizer *t); // -1 if there is none
int32_t tokenizer_eos(const struct tokenizer *t);
bool tokenizer_add_bos(const struct tokenizer *t);
bool tokenizer_add_eos(const struct tokenizer *t);
/* Ends generation: eos, eot, eom and the known end texts of chat formats. */
bool tokenizer_is_eog(const struct tokenizer *t, int32_t id);
/* The text of the vocabulary entry as it stands in the file; n is set to its length. */
const char *tokenizer_text(const struct tokenizer *t, int32_t id, size_t *n);

struct tokens {
    int32_t *id; // [n]
    size_t n, cap;
};
void tokens_init(struct tokens *a);
void tokens_release(struct tokens *a);
bool tokens_push(struct tokens *a, int32_t id); // false without memory

enum {
    TOKENIZER_SPECIAL = 1, // control tokens in the text are recognised
    TOKENIZER_ADD = 2,     // bos and eos are added as the file says
};

/* Append the ids of text[0..n).  Invalid UTF-8 becomes byte tokens or U+FFFD, never an
 * error.  mark (may be NULL) has a byte for each byte of text; special tokens are not
 * recognised where any of their bytes has a mark that is not 0: that is user input. */
enum status tokenizer_encode(const struct tokenizer *t, struct tokens *out,
                             const char *text, size_t n, const uint8_t *mark,
                             unsigned flags, struct error *err);

/* The bytes that a token stands for, as they continue a text (no space is dropped).
 * Control tokens give 0 bytes unless `special`.  Returns a pointer into the tokenizer. */
const char *tokenizer_piece(const struct tokenizer *t, int32_t id, bool special,
                            size_t *n);

/* The same for the first token of an answer, which follows the token prev: if that is
 * special, the space that encoding puts in front of a text is not part of the answer. */
const char *tokenizer_first_piece(const struct tokenizer *t, int32_t prev, int32_t id,
                                  bool special, size_t *n);

#endif
