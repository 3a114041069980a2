/* tiny_engine.h - an engine for tests: a model of tests/golden with a vocabulary of two
 * letters a token. */
#ifndef TESTS_TINY_ENGINE_H
#define TESTS_TINY_ENGINE_H

#include <stdio.h>

#include "engine/engine.h"
#include "gguf/gguf.h"
#include "gguf_image.h"

enum { TINY_VOCAB = 64, TINY_FIRST = 3 }; // the first token that is not a control token

/* Tokens of two letters; 0 to 2 are control tokens, and 2 ends an answer. */
static inline enum status tiny_open_tokenizer(struct engine *e, struct error *err)
{
    static struct image m;
    struct gguf *g;
    im_head(&m, 3, 0, 5);
    im_key(&m, "tokenizer.ggml.model", T_STR), im_text(&m, "llama");
    im_arr(&m, "tokenizer.ggml.tokens", T_STR, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) {
        const char text[] = {(char)('A' + i / 26), (char)('a' + i % 26), 0};
        im_text(&m, text);
    }
    im_arr(&m, "tokenizer.ggml.scores", T_F32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        im_f32(&m, 0);
    im_arr(&m, "tokenizer.ggml.token_type", T_I32, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++)
        im_le(&m, i < TINY_FIRST ? 3 : 1, 4);
    im_int(&m, "tokenizer.ggml.eos_token_id", T_U32, 2, 4);
    im_pad(&m, 32);
    enum status s = gguf_open_memory(&g, m.b, m.n, err);
    if (!s)
        s = tokenizer_open(&e->tokenizer, g, err);
    gguf_close(g);
    return s;
}

/* name: of tests/golden; n_vocab of all is at least TINY_VOCAB. */
static inline enum status tiny_open_model(struct engine *e, const char *name,
                                          struct error *err)
{
    char path[128];
    struct gguf *g;
    snprintf(path, sizeof path, "tests/golden/%s.gguf", name);
    enum status s = gguf_open(&g, path, err);
    if (!s)
        s = model_open(&e->model, g, e->pool, CPU_ISA_COUNT - 1, err);
    gguf_close(g);
    return s;
}

#endif
