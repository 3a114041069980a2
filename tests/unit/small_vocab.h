/* small_vocab.h - a vocabulary of all bytes and some longer tokens, for tests. */
#ifndef TESTS_SMALL_VOCAB_H
#define TESTS_SMALL_VOCAB_H

#include <stddef.h>
#include <string.h>

#include "grammar/grammar.h"

enum { SMALL_MAX = 600 };

/* Tokens 0 .. 255 are the bytes; then the longer ones; the last one ends an answer. */
struct small_vocab {
    char bytes[256];
    struct grammar_piece pieces[SMALL_MAX];
    int n, end;
};

static inline void small_vocab_add(struct small_vocab *v, const char *text)
{
    if (v->n < SMALL_MAX - 1)
        v->pieces[v->n++] = (struct grammar_piece){.text = text, .n = strlen(text)};
}

static inline void small_vocab_make(struct small_vocab *v)
{
    static const char *const longer[] = {"\", \"",
                                         "\":",
                                         "\": \"",
                                         "\"}",
                                         "{\"",
                                         "[{\"",
                                         "\"]",
                                         "},",
                                         "}, {\"",
                                         "true",
                                         "false",
                                         "null",
                                         "ab",
                                         "abc",
                                         "name",
                                         "the",
                                         " the",
                                         " a",
                                         "  ",
                                         "\n    ",
                                         "00",
                                         "12",
                                         "123",
                                         "-1",
                                         ".5",
                                         "1.",
                                         "e1",
                                         "\\\"",
                                         "\\n",
                                         "\\u",
                                         "00e9",
                                         "\xc3\xa9",
                                         "\xe4\xb8",
                                         "\xad",
                                         "\xe4\xb8\xad\xe6\x96\x87",
                                         "\xf0\x9f\x98\x80",
                                         "\xf0\x9f",
                                         "\xa9\"",
                                         "a\"",
                                         "<tool",
                                         "_call>",
                                         "<tool_call>",
                                         "call>{\"",
                                         "call>x",
                                         "call>{",
                                         "</tool_call>",
                                         ">\n",
                                         "foo",
                                         "bar",
                                         "baz",
                                         "foobar",
                                         "root",
                                         "1\", \"",
                                         "\"a\"",
                                         "\"a\": ",
                                         "[1, 2",
                                         "]]",
                                         "[[",
                                         "2024-",
                                         "-02-",
                                         "::",
                                         "@ex",
                                         ".com",
                                         "0.0",
                                         "\xe4\xb8\xad\"",
                                         "aaaaaaaaaaaaaaaa",
                                         "aaaa",
                                         "x\", \"x"};
    memset(v, 0, sizeof *v);
    for (int i = 0; i < 256; i++) {
        v->bytes[i] = (char)i;
        v->pieces[v->n++] = (struct grammar_piece){.text = &v->bytes[i], .n = 1};
    }
    for (size_t i = 0; i < sizeof longer / sizeof longer[0]; i++)
        small_vocab_add(v, longer[i]);
    v->pieces[v->n++] = (struct grammar_piece){.text = "<ctl>", .n = 5, .hidden = true};
    v->pieces[v->n++] = (struct grammar_piece){.text = "", .n = 0};
    v->end = v->n;
    v->pieces[v->n++] = (struct grammar_piece){.text = "<end>", .n = 5, .end = true};
}

static inline bool small_bit(const uint32_t *bits, int id)
{
    return bits[id / 32] >> (id % 32) & 1;
}

#endif
