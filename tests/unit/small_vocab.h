/* small_vocab.h - a vocabulary of all bytes and some longer tokens, for tests. */
#ifndef TESTS_SMALL_VOCAB_H
#define TESTS_SMALL_VOCAB_H

#include <stddef.h>
#include <string.h>

#include "base/rng.h"
#include "grammar/grammar.h"

enum { SMALL_MAX = 600, SMALL_RANDOM = 200, SMALL_RANDOM_BYTES = 24 };

/* Tokens 0 .. 255 are the bytes; then the longer ones; the last one ends an answer. */
struct small_vocab {
    char bytes[256];
    char random[SMALL_RANDOM][SMALL_RANDOM_BYTES];
    struct grammar_piece pieces[SMALL_MAX];
    int n, end;
};

static inline void small_vocab_add(struct small_vocab *v, const char *text)
{
    if (v->n < SMALL_MAX - 1)
        v->pieces[v->n++] = (struct grammar_piece){.text = text, .n = strlen(text)};
}

/* Tokens of a few letters and what is next to them in texts, some of them cut inside of a
 * character. */
static inline void small_vocab_random(struct small_vocab *v)
{
    static const char *const parts[] = {
        "a",  "b", "c",    "x",    "foo",      "\"",
        "\\", ",", " ",    "\n",   "\xc3\xa9", "\xe4\xb8\xad",
        "1",  "0", "\xe4", "\xb8", "}",        ":"};
    for (uint64_t i = 0; i < SMALL_RANDOM; i++) {
        char *text = v->random[i];
        const uint64_t n = 2 + rng_at(1, i) % 5, most = rng_at(2, i) % 2 ? 5 : 18;
        for (uint64_t k = 0; k < n; k++)
            strcat(text, parts[rng_at(3 + i, k) % most]);
        small_vocab_add(v, text);
    }
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
    small_vocab_random(v);
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
