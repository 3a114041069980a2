/* Random texts by masks: no mask is empty, and every text comes to an end.
 *
 *   test_grammar_walk                  walks over the schemas of tests/data
 *   test_grammar_walk --serve          for tests/api/test_grammar.py: lines of JSON in,
 *                                      {"schema", "gbnf", "walks", "seed", "texts"}, and
 *                                      out, {"error"} or {"walks": [...], "texts": [...]}
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/rng.h"
#include "grammar/grammar.h"
#include "small_vocab.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { WALK_TOKENS = 4000, WALK_CALM = 60 };

static struct small_vocab small;
static struct grammar_vocab *vocab;

/* A token of the mask.  After some steps those that close something are preferred, so
 * that texts end. */
static int pick(const uint32_t *bits, uint64_t seed, int step)
{
    static const char *const closing = "\"}]";
    int n = 0, ids[SMALL_MAX];
    for (int id = 0; id < small.n; id++)
        if (small_bit(bits, id))
            ids[n++] = id;
    assert_true(n > 0);
    if (step > WALK_CALM && rng_at(seed, (uint64_t)(step + WALK_TOKENS)) % 4) {
        if (small_bit(bits, small.end))
            return small.end;
        for (const char *c = closing; *c; c++)
            if (small_bit(bits, (uint8_t)*c))
                return (uint8_t)*c;
    }
    return ids[rng_at(seed, (uint64_t)step) % (uint64_t)n];
}

/* One text; false if it did not end. */
static bool walk_text(struct grammar_matcher *m, uint64_t seed, struct buf *out,
                      struct error *err)
{
    uint32_t bits[SMALL_MAX / 32 + 1];
    bool ended = false;
    grammar_matcher_reset(m);
    for (int step = 0; step < WALK_TOKENS && !ended; step++) {
        if (grammar_matcher_mask(m, bits, err))
            break;
        const int id = pick(bits, seed, step);
        if (grammar_matcher_accept(m, id, err))
            break;
        ended = id == small.end;
        if (!ended)
            buf_append(out, small.pieces[id].text, small.pieces[id].n);
        if (step == WALK_TOKENS - 1)
            snprintf(err->text, sizeof err->text, "no end: %.300s",
                     out->data ? out->data : "");
    }
    return ended;
}

/* Whether the text, byte by byte, is accepted and may end there. */
static bool takes(struct grammar_matcher *m, const char *text, size_t n)
{
    struct error err;
    bool ok = true;
    grammar_matcher_reset(m);
    for (size_t i = 0; ok && i < n; i++)
        ok = !grammar_matcher_accept(m, (uint8_t)text[i], &err);
    return ok && !grammar_matcher_accept(m, small.end, &err);
}

static json_t *serve_one(json_t *in)
{
    json_t *schema = json_object_get(in, "schema"), *gbnf = json_object_get(in, "gbnf");
    const struct grammar_source src = {.gbnf = json_string_value(gbnf),
                                       .n = json_string_length(gbnf),
                                       .schemas = &schema,
                                       .n_schema = schema != NULL};
    struct grammar *g;
    struct error err = {0};
    struct grammar_matcher *m = NULL;
    if (grammar_open(&g, &src, &err))
        return json_pack("{s:s%}", "error", err.text, strlen(err.text));
    assert_int_equal(STATUS_OK, grammar_matcher_open(&m, g, vocab, &err));
    json_t *walks = json_array(), *texts = json_array(), *v;
    const int n = (int)json_integer_value(json_object_get(in, "walks"));
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(in, "seed"));
    for (int i = 0; i < n; i++) {
        struct buf out;
        buf_init(&out, 1 << 20);
        buf_puts(&out, "");
        const bool ok = walk_text(m, seed + (uint64_t)i, &out, &err);
        json_array_append_new(walks, ok ? json_stringn(out.data, out.len)
                                        : json_pack("{s:s}", "stuck", err.text));
        buf_release(&out);
    }
    size_t i;
    json_array_foreach(json_object_get(in, "texts"), i, v)
    {
        json_array_append_new(
            texts, json_boolean(takes(m, json_string_value(v), json_string_length(v))));
    }
    grammar_matcher_close(m);
    grammar_close(g);
    return json_pack("{s:o,s:o}", "walks", walks, "texts", texts);
}

static int serve(void)
{
    json_t *in;
    while ((in = json_loadf(stdin, JSON_DISABLE_EOF_CHECK, NULL))) {
        json_t *out = serve_one(in);
        json_dumpf(out, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(out);
        json_decref(in);
    }
    return 0;
}

static void test_tools(void **state)
{
    (void)state;
    struct error err = {0};
    json_t *tools = json_load_file("tests/data/tool_schemas.json", 0, NULL), *tool;
    size_t i;
    assert_true(json_array_size(tools) >= 20);
    json_array_foreach(tools, i, tool)
    {
        json_t *schema = json_object_get(tool, "input_schema");
        const struct grammar_source src = {.schemas = &schema, .n_schema = 1};
        struct grammar *g;
        if (grammar_open(&g, &src, &err))
            fail_msg("%s: %s", json_string_value(json_object_get(tool, "name")),
                     err.text);
        struct grammar_matcher *m = NULL;
        assert_int_equal(STATUS_OK, grammar_matcher_open(&m, g, vocab, &err));
        for (uint64_t seed = 0; seed < 30; seed++) {
            struct buf out;
            buf_init(&out, 1 << 20);
            if (!walk_text(m, seed, &out, &err))
                fail_msg("%s", err.text);
            json_t *value = json_loadb(out.data, out.len, 0, NULL);
            if (!value)
                fail_msg("no JSON: %.*s", (int)out.len, out.data);
            json_decref(value);
            buf_release(&out);
        }
        grammar_matcher_close(m);
        grammar_close(g);
    }
    json_decref(tools);
}

int main(int argc, char **argv)
{
    struct error err;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tools)};
    small_vocab_make(&small);
    if (grammar_vocab_open(&vocab, small.pieces, small.n, &err))
        return 1;
    const int rc = argc > 1 && !strcmp(argv[1], "--serve")
                       ? serve()
                       : cmocka_run_group_tests(tests, NULL, NULL);
    grammar_vocab_close(vocab);
    return rc;
}
