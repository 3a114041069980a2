/* token_estimate.h - tokens of a prompt from its text, without its tokenizer.
 *
 * What tokens are made of is counted (words, letters, digits, signs, characters of other
 * scripts), and each kind has its tokens: at first those of a common tokenizer, then more
 * and more those of the model itself, learned from replies that say how many tokens their
 * prompts had.  What was learned stays within a factor of the prior, so that a backend
 * that counts nonsense cannot lead it far astray. */
#ifndef ROUTER_TOKEN_ESTIMATE_H
#define ROUTER_TOKEN_ESTIMATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum estimate_kind {
    ESTIMATE_WORD,      // runs of ASCII letters
    ESTIMATE_LETTER,    // ASCII letters
    ESTIMATE_RARE,      // capitals, and letters behind the twelfth of a run
    ESTIMATE_DIGIT,     // ASCII digits
    ESTIMATE_MARKS,     // runs of other ASCII signs
    ESTIMATE_MARK,      // such signs
    ESTIMATE_BLANK,     // runs of blanks that are more than one space
    ESTIMATE_TWO_BYTES, // bytes of letters of two bytes: accents, Cyrillic, Arabic ...
    ESTIMATE_CJK,       // bytes of characters of three: Chinese, Japanese, Korean ...
    ESTIMATE_OTHER,     // bytes of characters of four, and what is not UTF-8
    ESTIMATE_KINDS
};

/* How many of each, and what is not text: a message costs some tokens besides. */
struct estimate_text {
    uint64_t n[ESTIMATE_KINDS];
    uint64_t n_message;
};

/* Add text[0..n): a whole string, as decoded from JSON. */
void token_estimate_count(struct estimate_text *t, const char *text, size_t n);

struct estimate_model {
    double factor[ESTIMATE_KINDS]; // of the prior, 1/3 .. 3
    double weight[ESTIMATE_KINDS]; // prompts it was learned from
    double error;                  // mean relative error of late estimates
    uint64_t n_seen;               // prompts that taught something
};

void token_estimate_init(struct estimate_model *m);

/* Tokens of t; m NULL: by the prior alone.  0 for no text; rounded up. */
int token_estimate_tokens(const struct estimate_model *m, const struct estimate_text *t);

/* A prompt like t had n_token tokens: those of the whole prompt, cached ones too. */
void token_estimate_learn(struct estimate_model *m, const struct estimate_text *t,
                          int n_token);

#endif
