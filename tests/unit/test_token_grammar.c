/* Control tokens of the syntax of calls and reasoning in a grammar. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include "engine/token_grammar.h"
#include "gguf/gguf.h"
#include "gguf_image.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { CONTROL = 3, NORMAL = 1, CALLS = 2, OTHER = 3, LETTER = 4, N_VOCAB = 6 };

static struct tokenizer *open_tokenizer(void)
{
    static const char *const texts[N_VOCAB] = {"<s>",     "</s>", "[TOOL_CALLS]",
                                               "[OTHER]", "x",    "[TOOL"};
    static struct image m;
    struct gguf *g;
    struct tokenizer *t;
    im_head(&m, 3, 0, 5);
    im_key(&m, "tokenizer.ggml.model", T_STR), im_text(&m, "llama");
    im_arr(&m, "tokenizer.ggml.tokens", T_STR, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++)
        im_text(&m, texts[i]);
    im_arr(&m, "tokenizer.ggml.scores", T_F32, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++)
        im_f32(&m, 0);
    im_arr(&m, "tokenizer.ggml.token_type", T_I32, N_VOCAB);
    for (int i = 0; i < N_VOCAB; i++)
        im_le(&m, i < LETTER ? CONTROL : NORMAL, 4);
    im_int(&m, "tokenizer.ggml.eos_token_id", T_U32, 1, 4);
    im_pad(&m, 32);
    assert_int_equal(gguf_open_memory(&g, m.b, m.n, NULL), STATUS_OK);
    assert_int_equal(tokenizer_open(&t, g, NULL), STATUS_OK);
    gguf_close(g);
    return t;
}

static bool is_allowed(struct grammar_matcher *m, int32_t id)
{
    uint32_t bits[1];
    assert_int_equal(grammar_matcher_mask(m, bits, NULL), STATUS_OK);
    return bits[0] >> id & 1;
}

static struct grammar *grammar_of(const char *gbnf, const char *const *trigger)
{
    struct grammar *g;
    const struct grammar_source src = {.gbnf = gbnf,
                                       .n = strlen(gbnf),
                                       .triggers = trigger,
                                       .n_trigger = trigger ? 1 : 0};
    assert_int_equal(grammar_open(&g, &src, NULL), STATUS_OK);
    return g;
}

static void test_marks_are_text(void **state)
{
    (void)state;
    static const char template[] = "tools [TOOL_CALLS] [ARGS]";
    static const char *const trigger[] = {"[TOOL_CALLS]"};
    struct tokenizer *t = open_tokenizer();
    const struct output_format *mistral =
        output_format_find(template, sizeof template - 1, NULL);
    assert_true(output_format_knows(mistral, trigger[0], strlen(trigger[0])));
    struct grammar *calls = grammar_of("root ::= \"[TOOL_CALLS]x\"", NULL);
    struct grammar *lazy = grammar_of("root ::= \"x\"", trigger);
    for (int known = 0; known < 2; known++) {
        struct grammar_vocab *v;
        struct grammar_matcher *m;
        assert_int_equal(
            token_grammar_vocab(&v, t, N_VOCAB, known ? mistral : NULL, NULL), STATUS_OK);
        /* It is where the answer begins; others stay hidden. */
        assert_int_equal(grammar_matcher_open(&m, calls, v, NULL), STATUS_OK);
        assert_int_equal(is_allowed(m, CALLS), known);
        assert_false(is_allowed(m, OTHER) || is_allowed(m, 0) || is_allowed(m, 1));
        if (known) {
            assert_int_equal(grammar_matcher_accept(m, CALLS, NULL), STATUS_OK);
            assert_true(is_allowed(m, LETTER) && !is_allowed(m, CALLS));
        }
        grammar_matcher_close(m);
        /* It fires. */
        assert_int_equal(grammar_matcher_open(&m, lazy, v, NULL), STATUS_OK);
        assert_int_equal(grammar_matcher_accept(m, CALLS, NULL), STATUS_OK);
        assert_int_equal(grammar_matcher_is_open(m), !known);
        grammar_matcher_close(m);
        grammar_vocab_close(v);
    }
    grammar_close(calls);
    grammar_close(lazy);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_are_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
