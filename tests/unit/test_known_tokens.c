/* What a tokenizer knows about tokens by their texts: ends of generation, control tokens
 * that a file calls user-defined, white space that Phi-3's special tokens swallow; and
 * what Gemma's vocabularies need.  Ids of Phi-3 are those of the `tokenizers` package
 * (ref/make_phi3_vectors.py). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "../vocab_image.h"
#include "text/tokenizer.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { B = 256, S = 259 }; // first token behind the bytes

static const char *const no_merges[] = {NULL};

static struct tokenizer *open_tokens(const char *model, const char *pre,
                                     const struct image_token *tokens,
                                     const struct image_kv *more)
{
    const struct image_vocab v = {model, pre, tokens, pre ? no_merges : NULL};
    struct buf image;
    struct gguf *g = NULL;
    struct tokenizer *t = NULL;
    struct error err = {0};
    buf_init(&image, 1 << 20);
    image_vocab_with(&image, &v, more);
    if (gguf_open_memory(&g, image.data, image.len, &err) || tokenizer_open(&t, g, &err))
        fail_msg("%s", err.text);
    gguf_close(g);
    buf_release(&image);
    return t;
}

static void expect_n(const struct tokenizer *t, const char *s, size_t n,
                     const uint8_t *mark, const int *want)
{
    struct tokens ids;
    tokens_init(&ids);
    assert_int_equal(tokenizer_encode(t, &ids, s, n, mark, TOKENIZER_SPECIAL, NULL),
                     STATUS_OK);
    size_t i = 0;
    for (; i < ids.n && want[i] >= 0; i++)
        if (ids.id[i] != want[i])
            fail_msg("'%s': token %zu is %d, expected %d", s, i, (int)ids.id[i], want[i]);
    assert_int_equal(i, ids.n);
    assert_int_equal(want[i], -1);
    tokens_release(&ids);
}

#define EXPECT(t, s, ...) \
    expect_n(t, s, sizeof(s) - 1, NULL, (const int[]){__VA_ARGS__, -1})

/* The text of user input gives its bytes, one token each. */
static void expect_bytes(const struct tokenizer *t, const char *s)
{
    int want[64];
    uint8_t mark[64];
    const size_t n = strlen(s);
    assert_true(n < 64);
    for (size_t i = 0; i < n; i++)
        want[i] = (unsigned char)s[i];
    want[n] = -1;
    memset(mark, 1, sizeof mark);
    expect_n(t, s, n, mark, want);
}

static bool is_shown(const struct tokenizer *t, int id)
{
    size_t n;
    tokenizer_piece(t, id, false, &n);
    return n > 0;
}

/* ---- ends of generation ---- */

static void test_ends_by_text(void **state)
{
    (void)state;
    static const char *const ends[] = {
        "<|eot_id|>", "<|im_end|>",  "<|end|>",         "<|return|>",
        "<|flush|>",  "<|calls|>",   "<end_of_turn>",   "<|endoftext|>",
        "</s>",       "<|eom_id|>",  "<EOT>",           "_<EOT>",
        "[EOT]",      "[EOS]",       "<|end_of_text|>", "<eos>",
        "<turn|>",    "<|fim_pad|>", "<|repo_name|>",   "<|file_sep|>",
        "<fim_pad>",  "<reponame>",  "<file_sep>",      "<end_of_utterance>",
    };
    enum { N = sizeof ends / sizeof *ends };
    struct image_token tokens[N + 3] = {{NULL, 0, 0}};
    for (int type = 1; type <= 4; type++) { // normal, unknown, control, user-defined
        for (int i = 0; i < N; i++)
            tokens[i] = (struct image_token){ends[i], type, 0};
        tokens[N] = (struct image_token){"<|im_start|>", 3, 0};
        tokens[N + 1] = (struct image_token){"</s", 1, 0};
        struct tokenizer *t = open_tokens("gpt2", "qwen2", tokens, NULL);
        for (int i = 0; i < N; i++) {
            if (!tokenizer_is_eog(t, B + i))
                fail_msg("%s does not end generation", ends[i]);
            expect_n(t, ends[i], strlen(ends[i]), NULL, (const int[]){B + i, -1});
            expect_bytes(t, ends[i]);
        }
        assert_false(tokenizer_is_eog(t, B + N) || tokenizer_is_eog(t, B + N + 1));
        tokenizer_close(t);
    }
}

static void test_ends_by_key(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"<stop>", 1, 0}, {"<over>", 4, 0},  {"end", 1, 0},
        {"<mid>", 4, 0},  {"<first>", 1, 0}, {NULL, 0, 0},
    };
    static const struct image_kv keys[] = {
        {"tokenizer.ggml.bos_token_id", false, B + 4},
        {"tokenizer.ggml.eos_token_id", false, B},
        {"tokenizer.ggml.eot_token_id", false, B + 1},
        {"tokenizer.ggml.eom_token_id", false, B + 2},
        {NULL, false, 0},
    };
    struct tokenizer *t = open_tokens("gpt2", "qwen2", tokens, keys);
    assert_int_equal(tokenizer_eos(t), B);
    assert_true(tokenizer_is_eog(t, B) && tokenizer_is_eog(t, B + 1) &&
                tokenizer_is_eog(t, B + 2) && !tokenizer_is_eog(t, B + 3));
    EXPECT(t, "<first><stop><over>", B + 4, B, B + 1);
    expect_bytes(t, "<first><stop><over>");
    assert_int_equal(tokenizer_bos(t), B + 4);
    assert_false(tokenizer_is_eog(t, B + 4));
    /* A user-defined token is one wherever it stands. */
    expect_n(t, "<mid>", 5, (const uint8_t[]){1, 1, 1, 1, 1}, (const int[]){B + 3, -1});
    tokenizer_close(t);
}

static void test_harmony(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"<|return|>", 3, 0},    {"<|call|>", 3, 0},      {"<|end|>", 3, 0},
        {"<|channel|>", 4, 0},   {"<|message|>", 3, 0},   {"<|start|>", 3, 0},
        {"<|constrain|>", 1, 0}, {"<|endoftext|>", 3, 0}, {NULL, 0, 0},
    };
    /* Even a file that names <|end|> as an end does not make it one. */
    static const struct image_kv keys[] = {
        {"tokenizer.ggml.eos_token_id", false, B},
        {"tokenizer.ggml.eot_token_id", false, B + 2},
        {NULL, false, 0},
    };
    struct tokenizer *t = open_tokens("gpt2", "gpt-4o", tokens, keys);
    for (int i = 0; i < 8; i++) {
        size_t n;
        const char *s = tokenizer_text(t, B + i, &n);
        const bool part = i >= 2 && i < 7;
        assert_int_equal(tokenizer_is_eog(t, B + i), !part);
        assert_int_equal(is_shown(t, B + i), part);
        expect_n(t, s, n, NULL, (const int[]){B + i, -1});
        expect_bytes(t, tokens[i].text);
    }
    tokenizer_close(t);
    /* Without <|call|> it is another format, in which <|end|> does end the turn. */
    static const struct image_token other[] = {
        {"<|return|>", 3, 0}, {"<|end|>", 3, 0}, {"<|channel|>", 3, 0}, {NULL, 0, 0}};
    t = open_tokens("gpt2", "gpt-4o", other, NULL);
    assert_true(tokenizer_is_eog(t, B + 1));
    assert_false(is_shown(t, B + 2));
    tokenizer_close(t);
}

static void test_tool_response(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"<|tool_response>", 3, 0}, {"<turn|>", 3, 0}, {NULL, 0, 0}};
    struct tokenizer *t = open_tokens("llama", NULL, tokens, NULL);
    assert_true(tokenizer_is_eog(t, S) && tokenizer_is_eog(t, S + 1));
    assert_false(tokenizer_is_eog(t, 2)); // </s>, the default eos too
    tokenizer_close(t);
    t = open_tokens("llama", NULL, tokens + 1, NULL);
    assert_true(tokenizer_is_eog(t, 2));
    tokenizer_close(t);
}

/* ---- user-defined tokens ---- */

/* The skeleton of a conversation is made of control tokens whatever the file says; what a
 * model writes of it is shown. */
static void test_skeleton(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "<|tool_call_begin|>",
        "<\xef\xbd\x9cUser\xef\xbd\x9c>",
        "<start_of_turn>",
        "[INST]",
        "<|turn>",
    };
    enum { N = sizeof texts / sizeof *texts };
    static const int types[] = {1, 4};
    for (int k = 0; k < 2; k++) {
        struct image_token tokens[N + 1] = {{NULL, 0, 0}};
        for (int i = 0; i < N; i++)
            tokens[i] = (struct image_token){texts[i], types[k], 0};
        struct tokenizer *t = open_tokens("gpt2", "kimi-k2", tokens, NULL);
        for (int i = 0; i < N; i++) {
            expect_n(t, texts[i], strlen(texts[i]), NULL, (const int[]){B + i, -1});
            expect_bytes(t, texts[i]);
            assert_true(is_shown(t, B + i) && !tokenizer_is_eog(t, B + i));
        }
        tokenizer_close(t);
    }
}

/* Other user-defined tokens are text. */
static void test_user_defined(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"<think>", 4, 0}, {"<||>", 4, 0}, {"  ", 4, 0}, {NULL, 0, 0}};
    static const uint8_t marks[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    struct tokenizer *t = open_tokens("gpt2", "kimi-k2", tokens, NULL);
    for (int i = 0; i < 3; i++) {
        const char *s = tokens[i].text;
        expect_n(t, s, strlen(s), NULL, (const int[]){B + i, -1});
        expect_n(t, s, strlen(s), marks, (const int[]){B + i, -1});
        assert_true(is_shown(t, B + i));
    }
    tokenizer_close(t);
}

/* ---- Phi-3 ---- */

static const struct image_token phi3_tokens[] = {
    {"<|endoftext|>", 3, 0},
    {"<|assistant|>", 3, 0},
    {"<|placeholder1|>", 3, 0},
    {"<|end|>", 3, 0},
    {"<|user|>", 3, 0},
    {"\xe2\x96\x81", 1, -1},
    {"\xe2\x96\x81"
     "a",
     1, -2},
    {"a", 1, -3},
    {NULL, 0, 0},
};

static void test_phi3(void **state)
{
    (void)state;
    enum { SPACE = S + 5, WORD = S + 6, A = S + 7, BYTE = 3 };
    struct tokenizer *t = open_tokens("llama", NULL, phi3_tokens, NULL);
    json_t *all = json_load_file("tests/data/phi3_tokens.json", 0, NULL), *item;
    size_t i, j;
    assert_true(json_array_size(all) >= 18);
    json_array_foreach(all, i, item)
    {
        json_t *text = json_object_get(item, "text"), *ids = json_object_get(item, "ids"),
               *id;
        int want[64];
        assert_true(json_array_size(ids) < 64);
        json_array_foreach(ids, j, id) want[j] = (int)json_integer_value(id);
        want[json_array_size(ids)] = -1;
        expect_n(t, json_string_value(text), json_string_length(text), NULL, want);
    }
    json_decref(all);
    /* What is no token swallows nothing. */
    static const char text[] = "<|end|>\na";
    uint8_t mark[sizeof text];
    memset(mark, 1, sizeof mark);
    expect_n(t, text, sizeof text - 1, mark,
             (const int[]){SPACE, BYTE + '<', BYTE + '|', BYTE + 'e', BYTE + 'n',
                           BYTE + 'd', BYTE + '|', BYTE + '>', BYTE + '\n', A, -1});
    tokenizer_close(t);
    /* Other vocabularies with such tokens keep the white space. */
    struct image_token other[9];
    memcpy(other, phi3_tokens, sizeof other);
    other[2].text = "<|spare|>";
    t = open_tokens("llama", NULL, other, NULL);
    EXPECT(t, "<|user|>\na", S + 4, SPACE, BYTE + '\n', A);
    tokenizer_close(t);
}

/* ---- Gemma ---- */

/* No space in front; runs of spaces and of line ends are user-defined tokens, the longest
 * first; everything else falls back to bytes. */
static void test_gemma(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"\n", 4, 0},
        {"\n\n", 4, 0},
        {"\n\n\n", 4, 0},
        {"  ", 4, 0},
        {"   ", 4, 0},
        {"\xe2\x96\x81", 1, -1},
        {"a", 1, -2},
        {"\xe2\x96\x81"
         "a",
         1, -3},
        {"<start_of_turn>", 3, 0},
        {"<end_of_turn>", 4, 0},
        {"</table>", 4, 0},
        {NULL, 0, 0},
    };
    static const struct image_kv keys[] = {
        {"tokenizer.ggml.add_space_prefix", true, false}, {NULL, false, 0}};
    enum { SPACE = S + 5, A = S + 6, WORD = S + 7, BYTE = 3 };
    struct tokenizer *t = open_tokens("llama", NULL, tokens, keys);
    EXPECT(t, "a a", A, WORD);
    EXPECT(t, " a", WORD);
    EXPECT(t, "<start_of_turn>a\n<end_of_turn>\na", S + 8, A, S, S + 9, S, A);
    EXPECT(t, "a\n\n\n\n\na", A, S + 2, S + 1, A);
    EXPECT(t, "a   a  a", A, S + 4, A, S + 3, A);
    EXPECT(t, "a     ", A, S + 4, S + 3);
    EXPECT(t, "</table>", S + 10);
    EXPECT(t, "\xc3\xa9\xe2\x82\xac", BYTE + 0xc3, BYTE + 0xa9, BYTE + 0xe2, BYTE + 0x82,
           BYTE + 0xac);
    assert_true(tokenizer_is_eog(t, S + 9) && tokenizer_add_bos(t));
    size_t n;
    assert_memory_equal(tokenizer_piece(t, S + 4, false, &n), "   ", 3);
    assert_int_equal(n, 3);
    tokenizer_first_piece(t, S + 9, WORD, false, &n);
    assert_int_equal(n, 2); // no space in front, none to drop
    /* A file may also spell the runs as the training did. */
    struct image_token spelled[12];
    memcpy(spelled, tokens, sizeof tokens);
    spelled[3].text = "\xe2\x96\x81\xe2\x96\x81";
    spelled[4].text = "\xe2\x96\x81\xe2\x96\x81\xe2\x96\x81";
    tokenizer_close(t);
    t = open_tokens("llama", NULL, spelled, keys);
    EXPECT(t, "a   ", A, S + 4);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_by_text), cmocka_unit_test(test_ends_by_key),
        cmocka_unit_test(test_harmony),      cmocka_unit_test(test_tool_response),
        cmocka_unit_test(test_skeleton),     cmocka_unit_test(test_user_defined),
        cmocka_unit_test(test_phi3),         cmocka_unit_test(test_gemma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
