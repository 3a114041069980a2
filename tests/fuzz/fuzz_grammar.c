/* Any grammar: GBNF, or a schema where the input begins with { or [.  What compiles is
 * followed along a random text; a mask has a token, and holds just what is accepted. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../unit/small_vocab.h"
#include "base/rng.h"
#include "grammar/grammar.h"

enum { STEPS = 24, TRIES = 12 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct small_vocab small;
static struct grammar_vocab *vocab;

static void follow(const struct grammar *g, uint64_t seed)
{
    struct grammar_matcher *m = NULL, *other = NULL;
    uint32_t bits[SMALL_MAX / 32 + 1];
    int32_t history[STEPS];
    if (grammar_matcher_open(&m, g, vocab, NULL) ||
        grammar_matcher_open(&other, g, vocab, NULL)) {
        grammar_matcher_close(m);
        return;
    }
    for (int step = 0; step < STEPS && !grammar_matcher_mask(m, bits, NULL); step++) {
        for (int i = 0; i < TRIES; i++) {
            const int id =
                (int)(rng_at(seed + 1, (uint64_t)(step * TRIES + i)) % (uint64_t)small.n);
            enum status s = STATUS_OK;
            grammar_matcher_reset(other);
            for (int k = 0; k < step && !s; k++)
                s = grammar_matcher_accept(other, history[k], NULL);
            if (!s)
                s = grammar_matcher_accept(other, id, NULL);
            // Tokens of no bytes are harmless in free text, but in no mask.
            if (small.pieces[id].n && s != STATUS_LIMIT &&
                (s == STATUS_OK) != small_bit(bits, id))
                abort();
        }
        int id = (int)(rng_at(seed, (uint64_t)step) % (uint64_t)small.n), tried = 0;
        for (; !small_bit(bits, id) && tried < small.n; tried++)
            id = (id + 1) % small.n;
        if (tried == small.n)
            abort();
        history[step] = id;
        const enum status s = grammar_matcher_accept(m, id, NULL);
        if (s == STATUS_LIMIT || id == small.end)
            break;
        if (s)
            abort();
    }
    grammar_matcher_close(m);
    grammar_matcher_close(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const triggers[] = {"<tool_call>", "foo"};
    if (!vocab) {
        small_vocab_make(&small);
        if (grammar_vocab_open(&vocab, small.pieces, small.n, NULL))
            abort();
    }
    const bool is_schema = n && (data[0] == '{' || data[0] == '[');
    json_t *schema = NULL;
    if (is_schema && !(schema = json_loadb((const char *)data, n, 0, NULL)))
        return 0;
    struct grammar_source src = {.schemas = &schema, .n_schema = is_schema};
    if (!is_schema)
        src.gbnf = (const char *)data, src.n = n;
    uint64_t seed = n;
    for (size_t i = 0; i < n; i++)
        seed = rng_mix(seed ^ data[i]);
    if (seed % 4 == 0)
        src.triggers = triggers, src.n_trigger = 2, src.once = seed % 8 == 0;
    struct grammar *g;
    struct error err = {0};
    if (!grammar_open(&g, &src, &err)) {
        follow(g, seed);
        grammar_close(g);
    } else if (!err.text[0]) {
        abort();
    }
    json_decref(schema);
    return 0;
}
