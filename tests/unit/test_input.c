/* Input cannot become special tokens: the text of every one in a vocabulary, through
 * every way that a template can take it, and across the border to the template's own
 * text.  The vocabularies of well-known models take part where they are at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/prompt.h"
#include "text/tokenizer_impl.h"
#include "base/utf8.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

static const char *const vocabs[] = {
    "tests/data/smollm2_vocab.gguf",
    "tests/data/stories260K.gguf",
    "../shared/data/tokenizers/ggml-vocab-deepseek-llm.gguf",
    "../shared/data/tokenizers/ggml-vocab-gpt-2.gguf",
    "../shared/data/tokenizers/ggml-vocab-llama-bpe.gguf",
    "../shared/data/tokenizers/ggml-vocab-llama-spm.gguf",
    "../shared/data/tokenizers/ggml-vocab-phi-3.gguf",
    "../shared/data/tokenizers/ggml-vocab-qwen2.gguf",
    "../shared/data/tokenizers/ggml-vocab-starcoder.gguf",
};

/* Every line shows the input c once or more. */
static const char ways[] =
    "{% macro m(x) %}{{ x }}{% endmacro %}{% set msg = messages[0] %}{% set c = "
    "msg.content %}"
    "{{ c }} {{ 'a' ~ c ~ 'b' }} {{ 'a' + c }} {{ c ~ c }} {{ c * 2 }} {{ c | string }}\n"
    "{{ c | trim }} {{ c.strip('~') }} {{ c | upper }} {{ c | lower }} {{ c | title }}\n"
    "{{ c | replace('~', '') }} {{ 'a' | replace('a', c) }} {{ c.replace('', '~', 0) }}\n"
    "{{ c | tojson }} {{ c | tojson | from_json }} {{ {c: c} | tojson(indent=2) }}\n"
    "{{ [c] }} {{ {'k': c} }} {{ [c, c] | join }} {{ c | list | join }} {{ c | indent(2) "
    "}}\n"
    "{{ c[:3] ~ c[3:] }} {{ c[::-1][::-1] }} {{ c[0] ~ c[1:-1] ~ c[-1] }} {{ c | reverse "
    "}}\n"
    "{{ c.split('_') | join('_') }} {{ c.partition('|') | join }} {{ c.splitlines()[0] "
    "}}\n"
    "{{ c.removesuffix('~') }} {{ c | default('x') }} {{ none | default(c, true) }}\n"
    "{% for x in c %}{{ x }}{% endfor %} {{ m(c) }} {{ m(x=c) }} {{ namespace(a=c).a }}\n"
    "{% set b %}{{ c }}{% endset %}{{ b }} {% filter trim %}{{ c }}{% endfilter %}\n"
    "{% with d = c %}{{ d }}{% endwith %} {{ dict(a=c).a }} {{ strftime_now(c) }}\n"
    "{{ msg.parts | map(attribute='text') | join }} {{ msg.parts[0].text ~ "
    "msg.parts[1].text }}\n"
    "{% for p in msg.parts %}{{ p.text }}{% endfor %} {{ msg.name }} {{ msg.role }}\n"
    "{{ msg.tool_calls[0].function.name }} {{ msg.tool_calls[0].function.arguments | "
    "tojson }}\n"
    "{% for k, v in msg.tool_calls[0].function.arguments.items() %}{{ k }}={{ v }}{% "
    "endfor %}\n"
    "{{ tools | tojson }} {{ tools[0].function.description }} {{ documents[0].text }}\n"
    "{{ custom_tools[0] }} {{ model_identity }} {{ messages }} {{ msg | items | list "
    "}}\n";

static struct template *compile(const char *source)
{
    struct template *t = NULL;
    struct error err = {0};
    if (template_compile(&t, source, strlen(source), &err))
        fail_msg("%s", err.text);
    return t;
}

static void ids_of(struct tokens *out, const struct template *t,
                   const struct tokenizer *tok, json_t *vars)
{
    struct template_output text;
    struct error err = {0};
    out->n = 0;
    if (template_render(t, vars, 0, NULL, &text, &err) ||
        prompt_encode(tok, out, &text, &err))
        fail_msg("%s", err.text);
    template_output_release(&text);
    json_decref(vars);
}

static bool is_control(const struct tokenizer *t, int32_t id)
{
    return t->vocab.type[id] == TOKEN_CONTROL || t->vocab.type[id] == TOKEN_UNKNOWN;
}

/* No control token in ids, but for the bos that the encoder adds. */
static void expect_text(const struct tokenizer *t, const struct tokens *ids,
                        const char *what)
{
    const size_t from = tokenizer_add_bos(t) && tokenizer_bos(t) >= 0;
    for (size_t i = from; i < ids->n; i++)
        if (is_control(t, ids->id[i])) {
            size_t n;
            const char *s = tokenizer_text(t, ids->id[i], &n);
            fail_msg("'%s' as input became '%.*s'", what, (int)n, s);
        }
}

/* The same text in every string that a request has. */
static json_t *request(const char *s)
{
    json_t *v = json_pack(
        "{s[{ss ss ss s[{ss}{ss}] s[{s{sss{ss}}}]}] s[{s{ssss}}] s[{ss}] s[s] ss}", //
        "messages", "role", s, "content", s, "name", s, "parts", "text", s, "text", s,
        "tool_calls", "function", "name", s, "arguments", s, s, "tools", "function",
        "name", s, "description", s, "documents", "text", s, "custom_tools", s,
        "model_identity", s);
    assert_non_null(v);
    return v;
}

static void check_borders(const struct tokenizer *t, const struct template *border,
                          const char *s, size_t n, struct tokens *ids)
{
    for (size_t k = 1; k < n; k++) {
        if ((s[k] & 0xc0) == 0x80)
            continue;
        ids_of(ids, border, t,
               json_pack("{ss# s[{ss#}{ss#}] ss#}", "bos_token", s, (int)k, "messages",
                         "content", s + k, (int)(n - k), "content", s, (int)k,
                         "eos_token", s + k, (int)(n - k)));
        for (size_t i = tokenizer_add_bos(t); i < ids->n; i++) {
            size_t have;
            const char *got = tokenizer_text(t, ids->id[i], &have);
            if (is_control(t, ids->id[i]) && have == n && !memcmp(got, s, n))
                fail_msg("'%.*s' formed across byte %zu", (int)n, s, k);
        }
    }
}

static void check_token(const struct tokenizer *t, const struct template *const *tpl,
                        int32_t id)
{
    size_t n, have;
    char text[TOKEN_BYTES_MAX + 40];
    const char *s = tokenizer_text(t, id, &n);
    struct tokens ids;
    if (!n || memchr(s, 0, n) || utf8_valid_bytes(s, n) != n)
        return;
    tokens_init(&ids);
    memcpy(text, s, n);
    text[n] = 0;
    ids_of(&ids, tpl[0], t, request(text));
    expect_text(t, &ids, text);
    snprintf(text, sizeof text, "x %.*s%.*s\n%.*s", (int)n, s, (int)n, s, (int)n, s);
    ids_of(&ids, tpl[0], t, request(text));
    expect_text(t, &ids, text);
    check_borders(t, tpl[1], s, n, &ids);
    /* As the template's own text it is one. */
    ids_of(&ids, tpl[2], t, json_pack("{ss#}", "mask_token", s, (int)n));
    assert_true(ids.n >= 3);
    bool found = false;
    for (size_t i = 0; i < ids.n; i++) {
        const char *got = tokenizer_text(t, ids.id[i], &have);
        found |= have == n && !memcmp(got, s, n);
    }
    if (!found)
        fail_msg("'%.*s' is not found in a template", (int)n, s);
    tokens_release(&ids);
}

static void test_vocabularies(void **state)
{
    (void)state;
    struct template *tpl[] = {
        compile(ways),
        compile(
            "{{ bos_token ~ messages[0].content }} {{ messages[1].content ~ eos_token }} "
            "{{ bos_token }}{{ messages[0].content }} {{ messages[1].content }}"
            "{{ eos_token }}"),
        compile("a{{ mask_token }}b"),
    };
    int n_vocab = 0, n_token = 0;
    for (size_t i = 0; i < sizeof vocabs / sizeof *vocabs; i++) {
        struct gguf *g = NULL;
        struct tokenizer *t = NULL;
        struct error err = {0};
        const enum status s = gguf_open(&g, vocabs[i], &err);
        if (s == STATUS_NOT_FOUND && i >= 2) {
            print_message("skipped: %s is not there\n", vocabs[i]);
            continue;
        }
        if (s || tokenizer_open(&t, g, &err))
            fail_msg("%s: %s", vocabs[i], err.text);
        n_vocab++;
        for (int32_t id = 0; id < tokenizer_n_vocab(t); id++)
            if (is_control(t, id)) {
                check_token(t, (const struct template *const *)tpl, id);
                n_token++;
            }
        tokenizer_close(t);
        gguf_close(g);
    }
    assert_true(n_vocab >= 2 && n_token >= 15);
    print_message("%d special tokens of %d vocabularies\n", n_token, n_vocab);
    for (size_t i = 0; i < sizeof tpl / sizeof *tpl; i++)
        template_close(tpl[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vocabularies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
