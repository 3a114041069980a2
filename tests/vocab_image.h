/* vocab_image.h - small vocabularies as GGUF images in memory, for tests and fuzzing. */
#ifndef TESTS_VOCAB_IMAGE_H
#define TESTS_VOCAB_IMAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"

static inline void image_u32(struct buf *b, uint32_t v)
{
    buf_append(b, &v, sizeof v);
}

static inline void image_u64(struct buf *b, uint64_t v)
{
    buf_append(b, &v, sizeof v);
}

static inline void image_strn(struct buf *b, const char *s, size_t n)
{
    image_u64(b, n);
    buf_append(b, s, n);
}

static inline void image_str(struct buf *b, const char *s)
{
    image_strn(b, s, strlen(s));
}

/* A file is the head, then n_kv entries; image_kv_* append entries. */
static inline void image_head(struct buf *b, uint64_t n_kv)
{
    buf_append(b, "GGUF", 4);
    image_u32(b, 3);
    image_u64(b, 0);
    image_u64(b, n_kv);
}

static inline void image_kv_str(struct buf *b, const char *key, const char *value)
{
    image_str(b, key);
    image_u32(b, 8);
    image_str(b, value);
}

static inline void image_kv_u32(struct buf *b, const char *key, uint32_t value)
{
    image_str(b, key);
    image_u32(b, 4);
    image_u32(b, value);
}

static inline void image_kv_bool(struct buf *b, const char *key, bool value)
{
    const uint8_t byte = value;
    image_str(b, key);
    image_u32(b, 7);
    buf_append(b, &byte, 1);
}

/* The elements follow. */
static inline void image_kv_array(struct buf *b, const char *key, uint32_t type,
                                  uint64_t n)
{
    image_str(b, key);
    image_u32(b, 9);
    image_u32(b, type);
    image_u64(b, n);
}

/* What one vocabulary is made of.  A byte-level one has the 256 bytes as tokens 0..255,
 * a SentencePiece one <unk> <s> </s> and 256 byte tokens as 0..258; `tokens` come next.
 */
struct image_token {
    const char *text;
    int type;
    float score;
};

struct image_vocab {
    const char *model, *pre;          // pre may be NULL
    const struct image_token *tokens; // until NULL
    const char *const *merges;        // until NULL; may be NULL
};

static inline size_t image_byte_char(char *dst, int byte)
{
    static const int other_first[] = {0, 127, 173};
    int c = byte;
    if (byte <= 32)
        c = 256 + byte - other_first[0];
    else if (byte >= 127 && byte <= 160)
        c = 256 + 33 + byte - other_first[1];
    else if (byte == 173)
        c = 256 + 67;
    if (c < 128) {
        dst[0] = (char)c;
        return 1;
    }
    dst[0] = (char)(0xc0 | c >> 6);
    dst[1] = (char)(0x80 | (c & 0x3f));
    return 2;
}

static inline void image_tokens(struct buf *b, const struct image_vocab *v, bool bpe)
{
    static const char *const first[] = {"<unk>", "<s>", "</s>"};
    for (int i = 0; !bpe && i < 3; i++)
        image_str(b, first[i]);
    for (int i = 0; i < 256; i++) {
        char text[8];
        if (bpe) {
            image_strn(b, text, image_byte_char(text, i));
        } else {
            const char *hex = "0123456789ABCDEF";
            const char token[] = {'<', '0', 'x', hex[i / 16], hex[i % 16], '>'};
            image_strn(b, token, sizeof token);
        }
    }
    for (const struct image_token *t = v->tokens; t->text; t++)
        image_str(b, t->text);
}

static inline void image_types(struct buf *b, const struct image_vocab *v, bool bpe)
{
    static const uint32_t first[] = {2, 3, 3};
    for (int i = 0; !bpe && i < 3; i++)
        image_u32(b, first[i]);
    for (int i = 0; i < 256; i++)
        image_u32(b, bpe ? 1 : 6);
    for (const struct image_token *t = v->tokens; t->text; t++)
        image_u32(b, (uint32_t)t->type);
}

/* Entries that are added to a vocabulary, until a NULL key. */
struct image_kv {
    const char *key;
    bool is_bool;
    uint32_t value;
};

/* Append the image of v with these entries (NULL for none) and return the number of its
 * tokens. */
static inline int image_vocab_with(struct buf *b, const struct image_vocab *v,
                                   const struct image_kv *more)
{
    const bool bpe = !strcmp(v->model, "gpt2");
    const float zero = 0;
    uint64_t n = bpe ? 256 : 259, n_merge = 0, n_more = 0;
    for (const struct image_token *t = v->tokens; t->text; t++)
        n++;
    while (v->merges && v->merges[n_merge])
        n_merge++;
    while (more && more[n_more].key)
        n_more++;
    image_head(b, 3u + (v->pre != NULL) + (v->merges != NULL) + !bpe + n_more);
    for (uint64_t i = 0; i < n_more; i++)
        if (more[i].is_bool)
            image_kv_bool(b, more[i].key, more[i].value);
        else
            image_kv_u32(b, more[i].key, more[i].value);
    image_kv_str(b, "tokenizer.ggml.model", v->model);
    if (v->pre)
        image_kv_str(b, "tokenizer.ggml.pre", v->pre);
    image_kv_array(b, "tokenizer.ggml.tokens", 8, n);
    image_tokens(b, v, bpe);
    image_kv_array(b, "tokenizer.ggml.token_type", 5, n);
    image_types(b, v, bpe);
    if (v->merges) {
        image_kv_array(b, "tokenizer.ggml.merges", 8, n_merge);
        for (uint64_t i = 0; i < n_merge; i++)
            image_str(b, v->merges[i]);
    }
    if (!bpe) {
        image_kv_array(b, "tokenizer.ggml.scores", 6, n);
        for (int i = 0; i < 259; i++)
            buf_append(b, &zero, sizeof zero);
        for (const struct image_token *t = v->tokens; t->text; t++)
            buf_append(b, &t->score, sizeof t->score);
    }
    return (int)n;
}

static inline int image_vocab(struct buf *b, const struct image_vocab *v)
{
    return image_vocab_with(b, v, NULL);
}

#endif
