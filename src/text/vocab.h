/* vocab.h - the vocabulary of a tokenizer: texts, types, and the table that finds a token
 * by its bytes.
 *
 * The text is what the file says; the piece is the bytes that a token stands for.  Only
 * tokens that ordinary text may become are in the table: never control tokens. */
#ifndef TEXT_VOCAB_H
#define TEXT_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gguf/gguf.h"

enum {
    VOCAB_MAX = 1 << 21,
    TOKEN_BYTES_MAX = 4096,
};

/* tokenizer.ggml.token_type */
enum token_type {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER, // matched in any text, before everything else
    TOKEN_UNUSED,
    TOKEN_BYTE,
};

/* n strings in one block. */
struct vocab_strings {
    char *data;
    uint32_t *at; // [n + 1]
};

struct vocab_slot {
    uint32_t hash;
    int32_t id; // -1 is empty
};

struct vocab {
    int n;
    bool bpe; // byte-level alphabet, else SentencePiece
    struct vocab_strings text, piece;
    uint8_t *type;    // [n], enum token_type
    uint8_t *eog;     // [n], 1 ends generation
    uint8_t *visible; // [n], 1 is shown though it is a control token
    uint8_t *rstrip;  // [n], 1 takes the white space behind it; NULL if none does
    uint32_t *prio;   // [n] SentencePiece: lower is merged first; else NULL
    struct vocab_slot *slot;
    uint32_t slot_mask;
    size_t word_bytes_max; // longest token in the table
    bool space_inside;     // a token of the table has a space behind something else
    int32_t byte_id[256];  // -1 is none
};

/* Reads tokens, types and scores, and checks them. */
enum status vocab_open(struct vocab *v, const struct gguf *g, bool bpe,
                       struct error *err);
void vocab_release(struct vocab *v);

/* A step of vocab_open, behind the types: sets eog, visible and rstrip, and makes control
 * tokens of those that user text must not become whatever the file says. */
enum status vocab_know(struct vocab *v, const struct gguf *g, struct error *err);

/* The token that is spelled by these bytes, -1 if there is none. */
int32_t vocab_find(const struct vocab *v, const char *s, size_t n);

const char *vocab_text(const struct vocab *v, int32_t id, size_t *n);
const char *vocab_piece(const struct vocab *v, int32_t id, size_t *n);

/* Bytes of a text in GPT-2's printable alphabet; dst has room for n.  *pure is false if
 * a character is outside of the alphabet and was copied. */
size_t vocab_byte_decode(char *dst, const char *s, size_t n, bool *pure);

#endif
