/* Special tokens, marks, invalid text, pieces, ends of generation, malformed files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../vocab_image.h"
#include "base/rng.h"
#include "text/tokenizer.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { B = 256, S = 259 }; // first token behind the bytes

static const struct image_token bpe_tokens[] = {
    {"he", 1, 0},
    {"ll", 1, 0},
    {"hell", 1, 0},
    {"hello", 1, 0},
    {"\xc4\xa0w", 1, 0},
    {"<|im_end|>", 3, 0},
    {"<|im", 3, 0},
    {"<tool>", 4, 0},
    {"aa", 1, 0},
    {"aaaa", 1, 0},
    {"helloo", 1, 0},
    {"[PAD]", 5, 0},
    {"raw\xe6\xbc\xa2", 1, 0},
    {"<|im_end|>", 3, 0},
    {NULL, 0, 0},
};
static const char *const bpe_merges[] = {
    "l l", "h e", "he ll", "hell o", "\xc4\xa0 w", "a a", "aa aa", "no where", NULL,
};
static const struct image_token spm_tokens[] = {
    {"\xe2\x96\x81", 1, -1},
    {"a", 1, -2},
    {"b", 1, -3},
    {"ab", 1, -4},
    {"ba", 1, -3.5f},
    {"\xe2\x96\x81"
     "a",
     1, -5},
    {"<x>", 3, 0},
    {"<u>", 4, 0},
    {"\xc3\xa9", 1, -7},
    {NULL, 0, 0},
};
static const struct image_vocab bpe = {"gpt2", "smollm", bpe_tokens, bpe_merges};
static const struct image_vocab spm = {"llama", NULL, spm_tokens, NULL};

static enum status open_image(struct tokenizer **out, const struct buf *image,
                              struct error *err)
{
    struct gguf *g = NULL;
    enum status st = gguf_open_memory(&g, image->data, image->len, err);
    if (!st)
        st = tokenizer_open(out, g, err);
    gguf_close(g);
    return st;
}

static struct tokenizer *open_vocab(const struct image_vocab *v)
{
    struct buf image;
    struct tokenizer *t = NULL;
    struct error err = {0};
    buf_init(&image, 1 << 20);
    image_vocab(&image, v);
    if (open_image(&t, &image, &err))
        fail_msg("%s", err.text);
    buf_release(&image);
    return t;
}

/* The ids of s[0..n), ended by -1, are want. */
static void expect_n(const struct tokenizer *t, const char *s, size_t n,
                     const uint8_t *mark, unsigned flags, const int *want)
{
    struct tokens ids;
    tokens_init(&ids);
    assert_int_equal(tokenizer_encode(t, &ids, s, n, mark, flags, NULL), STATUS_OK);
    size_t i = 0;
    for (; i < ids.n && want[i] >= 0; i++)
        assert_int_equal(ids.id[i], want[i]);
    assert_int_equal(i, ids.n);
    assert_int_equal(want[i], -1);
    tokens_release(&ids);
}

#define EXPECT(t, s, flags, ...) \
    expect_n(t, s, sizeof(s) - 1, NULL, flags, (const int[]){__VA_ARGS__, -1})

static void test_bpe_merges(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&bpe);
    EXPECT(t, "hello", 0, B + 3);
    EXPECT(t, "ell", 0, 'e', B + 1);
    EXPECT(t, "hello world", 0, B + 3, B + 4, 'o', 'r', 'l', 'd');
    /* leftmost first: aa aa a, then aaaa a */
    EXPECT(t, "aaaaa", 0, B + 9, 'a');
    /* no merge leads to helloo, so it is not used although it is a token */
    EXPECT(t, "helloo", 0, B + 3, 'o');
    expect_n(t, "", 0, NULL, TOKENIZER_SPECIAL | TOKENIZER_ADD, (const int[]){-1});
    tokenizer_close(t);
    const struct image_vocab whole = {"gpt2", "llama-bpe", bpe_tokens, bpe_merges};
    t = open_vocab(&whole);
    EXPECT(t, "helloo", 0, B + 10);
    assert_true(tokenizer_add_bos(t));
    assert_int_equal(tokenizer_bos(t), -1);
    tokenizer_close(t);
}

/* Old Kimi files have no merges: of two pairs the one that gives the lower id is first.
 */
static void test_rank_by_id(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"bc", 1, 0}, {"ab", 1, 0}, {"abc", 1, 0}, {"cd", 1, 0}, {NULL, 0, 0},
    };
    struct image_vocab v = {"gpt2", "kimi-k2", tokens, NULL};
    struct tokenizer *t = open_vocab(&v);
    EXPECT(t, "abcd", 0, B + 2, 'd');
    EXPECT(t, "bcd", 0, B, 'd');
    EXPECT(t, "xcd", 0, 'x', B + 3);
    tokenizer_close(t);
}

static void test_specials(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&bpe);
    EXPECT(t, "a<|im_end|>a", TOKENIZER_SPECIAL, 'a', B + 5, 'a');
    EXPECT(t, "<|im_", TOKENIZER_SPECIAL, B + 6, '_');
    EXPECT(t, "<|im", 0, '<', '|', 'i', 'm');
    EXPECT(t, "x<tool><tool>", 0, 'x', B + 7, B + 7);
    EXPECT(t, "[PAD]", TOKENIZER_SPECIAL, '[', 'P', 'A', 'D', ']');
    tokenizer_close(t);
}

static void test_marks(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&bpe);
    static const char text[] = "<|im_end|>";
    uint8_t mark[10] = {0};
    expect_n(t, text, 10, mark, TOKENIZER_SPECIAL, (const int[]){B + 5, -1});
    /* A mark on the last byte leaves the shorter token in front of it. */
    mark[9] = 1;
    expect_n(t, text, 10, mark, TOKENIZER_SPECIAL,
             (const int[]){B + 6, '_', 'e', 'n', 'd', '|', '>', -1});
    mark[0] = 1;
    expect_n(t, text, 10, mark, TOKENIZER_SPECIAL,
             (const int[]){'<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', -1});
    memset(mark, 1, sizeof mark);
    expect_n(t, "<tool>", 6, mark, TOKENIZER_SPECIAL, (const int[]){B + 7, -1});
    tokenizer_close(t);
}

static void test_spm(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&spm);
    assert_int_equal(tokenizer_bos(t), 1);
    assert_int_equal(tokenizer_eos(t), 2);
    assert_true(tokenizer_add_bos(t) && !tokenizer_add_eos(t));
    /* "ba" scores above "ab" and above " a" */
    EXPECT(t, "aba", TOKENIZER_ADD, 1, S + 5, S + 4);
    EXPECT(t, "b a", 0, S, S + 2, S + 5);
    /* every text behind a special token gets a space */
    EXPECT(t, "<u>a<x>", 0, S + 7, S + 5, 3 + '<', 3 + 'x', 3 + '>');
    EXPECT(t, "<u>a<x>b", TOKENIZER_SPECIAL, S + 7, S + 5, S + 6, S, S + 2);
    EXPECT(t, "\xc3\xa9\xe6\xff", 0, S, S + 8, 3 + 0xe6, 3 + 0xff);
    /* What spells a control or byte token is text: users cannot write them. */
    EXPECT(t, "<s>", 0, S, 3 + '<', 3 + 's', 3 + '>');
    EXPECT(t, "<0x41>", TOKENIZER_SPECIAL, S, 3 + '<', 3 + '0', 3 + 'x', 3 + '4', 3 + '1',
           3 + '>');
    tokenizer_close(t);
}

static void expect_piece(const struct tokenizer *t, int id, bool special,
                         const char *want)
{
    size_t n;
    const char *p = tokenizer_piece(t, id, special, &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(p, want, n);
}

static void test_pieces(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&bpe);
    expect_piece(t, B + 4, false, " w");
    expect_piece(t, 0xff, false, "\xff");
    expect_piece(t, B + 5, false, "");
    expect_piece(t, B + 5, true, "<|im_end|>");
    expect_piece(t, B + 7, false, "<tool>");
    expect_piece(t, B + 12, false, "raw\xe6\xbc\xa2");
    expect_piece(t, -1, true, "");
    expect_piece(t, 1 << 30, true, "");
    size_t n;
    assert_memory_equal(tokenizer_text(t, B + 4, &n), "\xc4\xa0w", 3);
    tokenizer_close(t);
    t = open_vocab(&spm);
    expect_piece(t, S + 5, false, " a");
    expect_piece(t, 3 + 0xe6, false, "\xe6");
    expect_piece(t, 2, false, "");
    tokenizer_close(t);
}

static void expect_first_piece(const struct tokenizer *t, int prev, int id,
                               const char *want)
{
    size_t n;
    const char *p = tokenizer_first_piece(t, prev, id, false, &n);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(p, want, n);
}

/* Encoding "a" behind a special token gives " a", so decoding drops that space. */
static void test_first_piece(void **state)
{
    (void)state;
    struct tokenizer *t = open_vocab(&spm);
    expect_first_piece(t, S + 6, S + 5, "a"); // behind a control token
    expect_first_piece(t, S + 7, S + 5, "a"); // a user-defined one
    expect_first_piece(t, -1, S + 5, "a");    // at the start
    expect_first_piece(t, S + 1, S + 5, " a");
    expect_first_piece(t, S + 6, S, "");
    expect_first_piece(t, S + 6, S + 1, "a");
    expect_first_piece(t, S + 6, 3 + ' ', " "); // a byte is not what encoding added
    expect_first_piece(t, S + 6, 1, "");
    expect_first_piece(t, S + 6, -1, "");
    tokenizer_close(t);
    t = open_vocab(&bpe);
    expect_first_piece(t, B + 5, B + 4, " w");
    tokenizer_close(t);
}

/* Text at random: bytes, and strings that cut special tokens and characters. */
static size_t random_text(char *s, size_t max, uint64_t seed)
{
    static const char *const part[] = {
        "<|im_end|>", "<|im",         "hello",    "  ",   "\r\n",
        "a",          "\xe6\xbc\xa2", "\xe6\xbc", "1234", "\xf0\x9f\x98\x80"};
    const size_t want = rng_at(seed, 0) % max;
    size_t n = 0;
    for (uint64_t i = 1; n + 16 < want; i++) {
        const uint64_t r = rng_at(seed, i);
        const char *p = part[r / 2 % 10];
        if (r % 2) {
            memcpy(s + n, p, strlen(p));
            n += strlen(p);
        } else {
            s[n++] = (char)(r >> 8);
        }
    }
    return n;
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const pre[] = {"smollm", "qwen2",   "llama-bpe",
                                      "tekken", "kimi-k2", "deepseek-llm"};
    char text[600], back[600];
    for (size_t v = 0; v < sizeof pre / sizeof *pre; v++) {
        const struct image_vocab image = {"gpt2", pre[v], bpe_tokens, bpe_merges};
        struct tokenizer *t = open_vocab(&image);
        for (uint64_t seed = 0; seed < 500; seed++) {
            const size_t n = random_text(text, sizeof text, seed);
            struct tokens ids;
            tokens_init(&ids);
            assert_int_equal(tokenizer_encode(t, &ids, text, n, NULL, seed % 2, NULL),
                             STATUS_OK);
            size_t at = 0, k;
            for (size_t i = 0; i < ids.n; i++, at += k) {
                const char *p = tokenizer_piece(t, ids.id[i], true, &k);
                assert_true(at + k <= n);
                memcpy(back + at, p, k);
            }
            assert_int_equal(at, n);
            assert_memory_equal(back, text, n);
            tokens_release(&ids);
        }
        tokenizer_close(t);
    }
}

static void test_end_of_generation(void **state)
{
    (void)state;
    static const struct image_token harmony[] = {
        {"<|return|>", 3, 0},  {"<|call|>", 3, 0}, {"<|end|>", 3, 0},
        {"<|channel|>", 3, 0}, {"x", 1, 0},        {NULL, 0, 0},
    };
    static const struct image_token chat[] = {
        {"<|end|>", 4, 0},
        {"</s>", 4, 0},
        {"<eos", 3, 0},
        {NULL, 0, 0},
    };
    struct image_vocab v = {"gpt2", "gpt-4o", harmony, bpe_merges};
    struct tokenizer *t = open_vocab(&v);
    assert_true(tokenizer_is_eog(t, B) && tokenizer_is_eog(t, B + 1));
    assert_false(tokenizer_is_eog(t, B + 2) || tokenizer_is_eog(t, B + 3));
    assert_false(tokenizer_is_eog(t, -1) || tokenizer_is_eog(t, 'x'));
    expect_piece(t, B + 3, false, "<|channel|>");
    /* shown, but still not for users to write */
    EXPECT(t, "<|channel|>", TOKENIZER_SPECIAL, B + 3);
    EXPECT(t, "<|c", 0, '<', '|', 'c');
    tokenizer_close(t);
    v.tokens = chat;
    t = open_vocab(&v);
    assert_true(tokenizer_is_eog(t, B) && tokenizer_is_eog(t, B + 1));
    assert_false(tokenizer_is_eog(t, B + 2));
    EXPECT(t, "</s>", 0, '<', '/', 's', '>');
    tokenizer_close(t);
}

/* White space is Unicode's property: U+180E is none, U+0085 is.  A word that is a token
 * as a whole shows where words end. */
static void test_white_space(void **state)
{
    (void)state;
    static const struct image_token tokens[] = {
        {"!\xc3\xa1\xc5\x82\xc4\xb0", 1, 0}, // "!" U+180E
        {"!\xc3\x82\xc4\xa7", 1, 0},         // "!" U+0085
        {NULL, 0, 0},
    };
    const struct image_vocab v = {"gpt2", "llama-bpe", tokens, bpe_merges};
    struct tokenizer *t = open_vocab(&v);
    EXPECT(t, "!\xe1\xa0\x8e", 0, B);
    EXPECT(t, "!\xc2\x85", 0, '!', 0xc2, 0x85);
    tokenizer_close(t);
}

/* Time must not grow with the square of a word or of a run of spaces. */
static void test_long_words(void **state)
{
    (void)state;
    enum { N = 1 << 20 };
    static char text[N + 1];
    static const char *const pre[] = {
#define PRETOKENIZER(names, flags, ...) names,
#include "text/pretokenizers.def"
#undef PRETOKENIZER
    };
    for (size_t v = 0; v < sizeof pre / sizeof *pre; v++) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(pre[v], " "), pre[v]);
        const struct image_vocab image = {"gpt2", name, bpe_tokens, bpe_merges};
        struct tokenizer *t = open_vocab(&image);
        for (int kind = 0; kind < 4; kind++) {
            const size_t n = v == 0 ? N : N / 16;
            memset(text, "a A\n"[kind], n);
            text[n - 1] = '1';
            struct tokens ids;
            tokens_init(&ids);
            const clock_t start = clock();
            assert_int_equal(tokenizer_encode(t, &ids, text, n, NULL, 0, NULL),
                             STATUS_OK);
            const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
            if (seconds > 2)
                fail_msg("%s: %zu bytes take %.1f s", name, n, seconds);
            if (kind == 0)
                assert_int_equal(ids.n, (n - 1) / 4 + (n - 1) % 4 / 2 + (n - 1) % 2 + 1);
            tokens_release(&ids);
        }
        tokenizer_close(t);
    }
}

/* ---- files that are wrong ---- */

/* A gpt2 vocabulary of two tokens; what is wrong with it follows. */
static void small_head(struct buf *b, uint64_t n_more)
{
    image_head(b, 2 + n_more);
    image_kv_str(b, "tokenizer.ggml.model", "gpt2");
    image_kv_array(b, "tokenizer.ggml.tokens", 8, 2);
    image_str(b, "a");
    image_str(b, "b");
}

static void no_merges(struct buf *b)
{
    small_head(b, 0);
}

static void wrong_merge(struct buf *b)
{
    small_head(b, 1);
    image_kv_array(b, "tokenizer.ggml.merges", 8, 2);
    image_str(b, "a b");
    image_str(b, "ab");
}

static void wrong_type(struct buf *b)
{
    small_head(b, 1);
    image_kv_array(b, "tokenizer.ggml.token_type", 5, 2);
    image_u32(b, 1);
    image_u32(b, 7);
}

static void short_types(struct buf *b)
{
    small_head(b, 1);
    image_kv_array(b, "tokenizer.ggml.token_type", 5, 1);
    image_u32(b, 1);
}

static void wrong_byte_token(struct buf *b)
{
    small_head(b, 1);
    image_kv_array(b, "tokenizer.ggml.token_type", 5, 2);
    image_u32(b, 6);
    image_u32(b, 1);
}

static void wrong_eos(struct buf *b)
{
    small_head(b, 2);
    image_kv_array(b, "tokenizer.ggml.merges", 8, 0);
    image_kv_u32(b, "tokenizer.ggml.eos_token_id", 2);
}

static void unknown_pre(struct buf *b)
{
    small_head(b, 1);
    image_kv_str(b, "tokenizer.ggml.pre", "martian");
}

static void unknown_model(struct buf *b)
{
    image_head(b, 1);
    image_kv_str(b, "tokenizer.ggml.model", "rwkv");
}

static void no_model(struct buf *b)
{
    image_head(b, 0);
}

static void no_tokens(struct buf *b)
{
    image_head(b, 2);
    image_kv_str(b, "tokenizer.ggml.model", "gpt2");
    image_kv_array(b, "tokenizer.ggml.tokens", 8, 0);
}

static void no_scores(struct buf *b)
{
    image_head(b, 3);
    image_kv_str(b, "tokenizer.ggml.model", "llama");
    image_kv_array(b, "tokenizer.ggml.tokens", 8, 1);
    image_str(b, "a");
    image_kv_array(b, "tokenizer.ggml.token_type", 5, 1);
    image_u32(b, 1);
}

static void nan_score(struct buf *b)
{
    image_head(b, 4);
    image_kv_str(b, "tokenizer.ggml.model", "llama");
    image_kv_array(b, "tokenizer.ggml.tokens", 8, 1);
    image_str(b, "a");
    image_kv_array(b, "tokenizer.ggml.token_type", 5, 1);
    image_u32(b, 1);
    image_kv_array(b, "tokenizer.ggml.scores", 6, 1);
    image_u32(b, 0x7fc00000);
}

static void long_token(struct buf *b)
{
    char text[5000];
    memset(text, 'a', sizeof text);
    image_head(b, 2);
    image_kv_str(b, "tokenizer.ggml.model", "gpt2");
    image_kv_array(b, "tokenizer.ggml.tokens", 8, 1);
    image_strn(b, text, sizeof text);
}

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        void (*make)(struct buf *b);
        enum status status;
        const char *text; // named in the message
    } cases[] = {
        {no_merges, STATUS_NOT_FOUND, "tokenizer.ggml.merges"},
        {wrong_merge, STATUS_BAD_FILE, "tokenizer.ggml.merges[1]"},
        {wrong_type, STATUS_BAD_FILE, "tokenizer.ggml.token_type[1]"},
        {short_types, STATUS_BAD_FILE, "tokenizer.ggml.token_type"},
        {wrong_byte_token, STATUS_BAD_FILE, "tokenizer.ggml.tokens[0]"},
        {wrong_eos, STATUS_BAD_FILE, "tokenizer.ggml.eos_token_id"},
        {unknown_pre, STATUS_UNSUPPORTED, "'martian'"},
        {unknown_model, STATUS_UNSUPPORTED, "'rwkv'"},
        {no_model, STATUS_NOT_FOUND, "tokenizer.ggml.model"},
        {no_tokens, STATUS_BAD_FILE, "tokenizer.ggml.tokens"},
        {no_scores, STATUS_BAD_FILE, "tokenizer.ggml.scores"},
        {nan_score, STATUS_BAD_FILE, "tokenizer.ggml.scores[0]"},
        {long_token, STATUS_BAD_FILE, "tokenizer.ggml.tokens[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf image;
        struct tokenizer *t = NULL;
        struct error err = {0};
        buf_init(&image, 1 << 20);
        cases[i].make(&image);
        const enum status st = open_image(&t, &image, &err);
        if (st != cases[i].status || !strstr(err.text, cases[i].text))
            fail_msg("case %zu: status %d, '%s'", i, (int)st, err.text);
        assert_null(t);
        buf_release(&image);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_merges),
        cmocka_unit_test(test_rank_by_id),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_spm),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_first_piece),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_end_of_generation),
        cmocka_unit_test(test_white_space),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_malformed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
