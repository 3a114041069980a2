/* fuzz_tokenizer.c - text to tokens with a small vocabulary of each kind.
 *
 * Input: a byte of flags (bits 0, 1: TOKENIZER_*; bit 2: marks follow; bits 3 up: which
 * vocabulary), then the text; with marks, the second half marks the first.  What
 * byte-level BPE encodes must decode to the same bytes, whatever they are, and no control
 * token may stand where a byte is marked. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../vocab_image.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const struct image_token bpe_tokens[] = {
    {"he", 1, 0},
    {"ll", 1, 0},
    {"hell", 1, 0},
    {"hello", 1, 0},
    {"\xc4\xa0w", 1, 0},
    {"aa", 1, 0},
    {"aaaa", 1, 0},
    {"\xc3\xa2\xc2\x96", 1, 0},
    {"\xc4\xa0\xc4\xa0", 1, 0},
    {"<|im_end|>", 3, 0},
    {"<|im_start|>", 3, 0},
    {"<tool>", 4, 0},
    {"  ", 4, 0},
    {"<|", 3, 0},
    {NULL, 0, 0},
};
static const char *const bpe_merges[] = {
    "h e",
    "l l",
    "he ll",
    "hell o",
    "\xc4\xa0 w",
    "a a",
    "aa aa",
    "\xc3\xa2 \xc2\x96",
    "\xc4\xa0 \xc4\xa0",
    NULL,
};
static const struct image_token spm_tokens[] = {
    {"\xe2\x96\x81", 1, -1},
    {"a", 1, -2},
    {"b", 1, -3},
    {"ab", 1, -4},
    {"aa", 1, -4},
    {"\xe2\x96\x81"
     "a",
     1, -5},
    {"abab", 1, -6},
    {"<x>", 3, 0},
    {"\xc3\xa9", 1, -7},
    {"<u>", 4, 0},
    {NULL, 0, 0},
};
static const char *const pres[] = {
    "smollm",  "llama-bpe", "qwen35", "deepseek-llm", "deepseek-v3", "gpt-4o",
    "kimi-k2", "default",   "bloom",  "falcon",       "tekken",      "deepseek-coder"};

enum { N_PRE = sizeof pres / sizeof *pres };
static struct tokenizer *vocabs[N_PRE + 1]; // the last is SentencePiece

static void open_vocab(struct tokenizer **out, const struct image_vocab *v)
{
    struct buf image;
    struct gguf *g;
    struct error err = {0};
    buf_init(&image, 1 << 20);
    image_vocab(&image, v);
    if (gguf_open_memory(&g, image.data, image.len, &err) ||
        tokenizer_open(out, g, &err)) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    gguf_close(g);
    buf_release(&image);
}

static void open_vocabs(void)
{
    for (int i = 0; i < N_PRE; i++)
        open_vocab(&vocabs[i],
                   &(struct image_vocab){"gpt2", pres[i], bpe_tokens, bpe_merges});
    open_vocab(&vocabs[N_PRE], &(struct image_vocab){"llama", NULL, spm_tokens, NULL});
}

static bool is_control(const char *s, size_t n)
{
    for (const struct image_token *t = bpe_tokens; t->text; t++)
        if (t->type == 3 && strlen(t->text) == n && !memcmp(t->text, s, n))
            return true;
    return false;
}

static bool any_marked(const uint8_t *mark, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (mark[i])
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!vocabs[0])
        open_vocabs();
    if (n == 0)
        return 0;
    const unsigned flags = data[0];
    const unsigned which = (flags >> 3) % (N_PRE + 1);
    const struct tokenizer *t = vocabs[which];
    const char *text = (const char *)data + 1;
    const size_t len = flags & 4 ? (n - 1) / 2 : n - 1;
    const uint8_t *mark = flags & 4 ? data + 1 + len : NULL;
    struct tokens ids;
    struct error err = {0};
    tokens_init(&ids);
    if (tokenizer_encode(t, &ids, text, len, mark, flags & 3, &err))
        abort();
    size_t at = 0;
    for (size_t i = 0; i < ids.n; i++) {
        size_t k;
        const char *p = tokenizer_piece(t, ids.id[i], true, &k);
        if (ids.id[i] < 0 || ids.id[i] >= tokenizer_n_vocab(t))
            abort();
        if (which < N_PRE && (k > len - at || memcmp(text + at, p, k)))
            abort();
        if (which < N_PRE && mark && is_control(p, k) && any_marked(mark + at, k))
            abort();
        at += k;
    }
    if (which < N_PRE && at != len)
        abort();
    tokens_release(&ids);
    return 0;
}
