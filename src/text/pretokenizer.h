/* pretokenizer.h - cuts a text into the words inside which BPE merges.
 *
 * A pre-tokenizer is a list of regular expressions from pretokenizers.def, applied one
 * after the other: each cuts the pieces that the one before has left into its matches and
 * the text between them. */
#ifndef TEXT_PRETOKENIZER_H
#define TEXT_PRETOKENIZER_H

#include <stddef.h>

#include "base/status.h"

struct pretokenizer;

enum {
    PRE_IGNORE_MERGES = 1, // a word that is a token as a whole is not merged
    PRE_ADD_BOS = 2,       // unless the file says otherwise
    PRE_RANK_BY_ID = 4,    // a file without merges ranks pairs by the id they give
};

enum status pretokenizer_open(struct pretokenizer **out, const char *name, size_t n,
                              struct error *err);
void pretokenizer_close(struct pretokenizer *p);
unsigned pretokenizer_flags(const struct pretokenizer *p);

/* What one thread needs for matching. */
struct pretokenizer_scratch;
struct pretokenizer_scratch *pretokenizer_scratch_open(void); // NULL without memory
void pretokenizer_scratch_close(struct pretokenizer_scratch *w);

typedef enum status pretokenizer_word(void *ctx, const char *s, size_t n);

/* Call word(ctx, ...) for the words of s[0..n), valid UTF-8, in order; they are adjacent
 * and none is empty.  Stops at the first failure. */
enum status pretokenizer_split(const struct pretokenizer *p,
                               struct pretokenizer_scratch *w, const char *s, size_t n,
                               pretokenizer_word *word, void *ctx, struct error *err);

#endif
