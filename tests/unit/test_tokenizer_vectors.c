/* Token ids against other implementations: the `tokenizers` package for SmolLM2's
 * vocabulary, plain greedy merging for a SentencePiece one, the `sentencepiece` package
 * for one of Gemma's kind (all made by ref/), and the vectors that come with seven
 * well-known vocabularies, where they are at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "text/tokenizer.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

struct model {
    struct gguf *g;
    struct tokenizer *t;
};

static struct model open_model(const char *path)
{
    struct model m = {0};
    struct error err = {0};
    if (gguf_open(&m.g, path, &err) || tokenizer_open(&m.t, m.g, &err))
        fail_msg("%s: %s", path, err.text);
    return m;
}

static void close_model(struct model m)
{
    tokenizer_close(m.t);
    gguf_close(m.g);
}

/* "1 22 333" */
static void encode_line(struct buf *line, const struct tokenizer *t, const char *s,
                        size_t n)
{
    struct tokens ids;
    struct error err = {0};
    tokens_init(&ids);
    if (tokenizer_encode(t, &ids, s, n, NULL, 0, &err))
        fail_msg("%s", err.text);
    buf_clear(line);
    buf_puts(line, "");
    for (size_t i = 0; i < ids.n; i++)
        buf_printf(line, "%s%d", i ? " " : "", (int)ids.id[i]);
    tokens_release(&ids);
}

static void check_json(const char *model, const char *cases, size_t n_want)
{
    struct model m = open_model(model);
    json_error_t jerr;
    json_t *all = json_load_file(cases, JSON_ALLOW_NUL, &jerr), *item;
    if (!all)
        fail_msg("%s: %s", cases, jerr.text);
    assert_true(json_array_size(all) >= n_want);
    struct buf got, want;
    buf_init(&got, 1 << 20);
    buf_init(&want, 1 << 20);
    size_t i;
    json_array_foreach(all, i, item)
    {
        json_t *text = json_object_get(item, "text"), *ids = json_object_get(item, "ids");
        size_t j;
        json_t *id;
        buf_clear(&want);
        buf_puts(&want, "");
        json_array_foreach(ids, j, id)
            buf_printf(&want, "%s%d", j ? " " : "", (int)json_integer_value(id));
        encode_line(&got, m.t, json_string_value(text), json_string_length(text));
        if (strcmp(got.data, want.data))
            print_error("case %zu: '%s'\n", i, json_string_value(text));
        assert_string_equal(got.data, want.data);
    }
    buf_release(&got);
    buf_release(&want);
    json_decref(all);
    close_model(m);
}

static void test_smollm2(void **state)
{
    (void)state;
    check_json("tests/data/smollm2_vocab.gguf", "tests/data/smollm2_tokens.json", 200);
}

static void test_stories(void **state)
{
    (void)state;
    check_json("tests/data/stories260K.gguf", "tests/data/stories260K_tokens.json", 20);
}

static void test_gemma(void **state)
{
    (void)state;
    check_json("tests/data/gemma_vocab.gguf", "tests/data/gemma_tokens.json", 150);
}

static bool read_file(struct buf *out, const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    char block[4096];
    for (size_t n; (n = fread(block, 1, sizeof block, f)) > 0;)
        buf_append(out, block, n);
    fclose(f);
    return true;
}

/* .inp: texts with a separator between them; .out: a line of ids for each. */
static void check_vectors(const char *name)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char path[256], inp[300], out[300];
    snprintf(path, sizeof path, "../shared/data/tokenizers/ggml-vocab-%s.gguf", name);
    snprintf(inp, sizeof inp, "%s.inp", path);
    snprintf(out, sizeof out, "%s.out", path);
    struct buf texts, lines, got, want;
    buf_init(&texts, 1 << 20);
    buf_init(&lines, 1 << 20);
    buf_init(&got, 1 << 20);
    buf_init(&want, 1 << 20);
    if (!read_file(&texts, inp) || !read_file(&lines, out)) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    struct model m = open_model(path);
    int n_case = 0;
    char *text = texts.data, *line = lines.data;
    for (bool last = false; !last; n_case++) {
        char *end = strstr(text, separator), *line_end = strchr(line, '\n');
        last = !end;
        end = end ? end : text + strlen(text);
        line_end = line_end ? line_end : line + strlen(line);
        encode_line(&got, m.t, text, (size_t)(end - text));
        buf_clear(&want);
        buf_puts(&want, "");
        buf_append(&want, line, (size_t)(line_end - line));
        while (want.len && want.data[want.len - 1] == ' ')
            want.data[--want.len] = 0;
        assert_string_equal(got.data, want.data + strspn(want.data, " "));
        text = end + (last ? 0 : sizeof separator - 1);
        line = line_end + (*line_end == '\n');
    }
    assert_int_equal(n_case, 47);
    close_model(m);
    buf_release(&texts);
    buf_release(&lines);
    buf_release(&got);
    buf_release(&want);
}

#define VECTORS(id, name)               \
    static void test_##id(void **state) \
    {                                   \
        (void)state;                    \
        check_vectors(name);            \
    }
VECTORS(deepseek_llm, "deepseek-llm")
VECTORS(gpt2, "gpt-2")
VECTORS(llama_bpe, "llama-bpe")
VECTORS(llama_spm, "llama-spm")
VECTORS(phi3, "phi-3")
VECTORS(qwen2, "qwen2")
VECTORS(starcoder, "starcoder")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smollm2),      cmocka_unit_test(test_stories),
        cmocka_unit_test(test_deepseek_llm), cmocka_unit_test(test_gpt2),
        cmocka_unit_test(test_llama_bpe),    cmocka_unit_test(test_llama_spm),
        cmocka_unit_test(test_phi3),         cmocka_unit_test(test_qwen2),
        cmocka_unit_test(test_starcoder),    cmocka_unit_test(test_gemma),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
