/* smollm2_tokenizer.h - the tokenizer of SmolLM2, opened once for a group of tests. */
#ifndef TESTS_UNIT_SMOLLM2_TOKENIZER_H
#define TESTS_UNIT_SMOLLM2_TOKENIZER_H

#include "gguf/gguf.h"
#include "text/tokenizer.h"

static struct tokenizer *tokenizer; // <|im_start|> is 1, <|im_end|> is 2

static int open_tokenizer(void **state)
{
    (void)state;
    struct gguf *g = NULL;
    if (gguf_open(&g, "tests/data/smollm2_vocab.gguf", NULL))
        return 1;
    const int failed = tokenizer_open(&tokenizer, g, NULL) != STATUS_OK;
    gguf_close(g);
    return failed;
}

static int close_tokenizer(void **state)
{
    (void)state;
    tokenizer_close(tokenizer);
    return 0;
}

#endif
