/* Answers with calls that are put back as the model wrote them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "engine/chat_prompt.h"
#include "gguf/gguf.h"
#include "smollm2_tokenizer.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

#define TEMPLATES "../shared/data/templates/"

static json_t *calls_of(const char *id, const char *name, const char *args)
{
    json_t *a = json_loads(args, 0, NULL);
    assert_non_null(a);
    return json_pack("[{s:s, s:s, s:{s:s, s:o}}]", "id", id, "type", "function",
                     "function", "name", name, "arguments", a);
}

static void keep(struct replay *r, const char *id, const char *args, const char *content,
                 const char *text)
{
    json_t *calls = calls_of(id, "f", args);
    uint8_t mark[256];
    const size_t n = strlen(text);
    assert_true(n < sizeof mark);
    for (size_t i = 0; i < n; i++)
        mark[i] = text[i] != '@'; // a control token
    replay_keep(r, calls, content, text, mark, n);
    json_decref(calls);
}

/* What is found, "" for nothing. */
static const char *find(struct replay *r, const char *id, const char *name,
                        const char *args, const char *content)
{
    static char found[256];
    struct buf text, mark;
    json_t *calls = calls_of(id, name, args);
    buf_init(&text, sizeof found - 1);
    buf_init(&mark, sizeof found - 1);
    found[0] = 0;
    if (replay_find(r, calls, content, &text, &mark)) {
        assert_int_equal(text.len, mark.len);
        for (size_t i = 0; i < text.len; i++)
            assert_int_equal(mark.data[i], text.data[i] != '@');
        memcpy(found, text.data, text.len);
        found[text.len] = 0;
    }
    buf_release(&text);
    buf_release(&mark);
    json_decref(calls);
    return found;
}

static void test_what_is_the_same_message(void **state)
{
    (void)state;
    struct replay *r;
    assert_int_equal(replay_open(&r, 1 << 20, NULL), STATUS_OK);
    keep(r, "c1", "{\"a\": 1.0, \"b\": [true, {\"c\": \"x\"}]}", "hi", "@{raw  text}@");
    assert_string_equal(
        find(r, "c1", "f", "{\"a\":1.0,\"b\":[true,{\"c\":\"x\"}]}", "hi"),
        "@{raw  text}@");
    /* Another order, and numbers as JavaScript writes them. */
    assert_string_equal(find(r, "c1", "f", "{\"b\":[true,{\"c\":\"x\"}],\"a\":1}", "hi"),
                        "@{raw  text}@");
    static const char same[] = "{\"a\":1,\"b\":[true,{\"c\":\"x\"}]}";
    assert_string_equal(find(r, "c2", "f", same, "hi"), "");
    assert_string_equal(find(r, "c1", "g", same, "hi"), "");
    assert_string_equal(find(r, "c1", "f", same, "ho"), "");
    assert_string_equal(find(r, "c1", "f", "{\"a\":2,\"b\":[true,{\"c\":\"x\"}]}", "hi"),
                        "");
    assert_string_equal(find(r, "c1", "f", "{\"a\":1,\"b\":[true,{\"c\":\"y\"}]}", "hi"),
                        "");
    assert_string_equal(find(r, "c1", "f", "{\"a\":1,\"b\":[true]}", "hi"), "");
    assert_string_equal(find(r, "c1", "f", "{\"a\":1}", "hi"), "");
    /* The newest answer counts. */
    keep(r, "c1", same, "hi", "again");
    assert_string_equal(find(r, "c1", "f", same, "hi"), "again");
    replay_close(r);
    replay_close(NULL);
}

static void test_ids_that_were_left_out(void **state)
{
    (void)state;
    struct replay *r;
    static const char other[] = "call_0123456789abcdefABCDEFGH";
    assert_int_equal(replay_open(&r, 1 << 20, NULL), STATUS_OK);
    keep(r, other, "{\"a\": 1.0, \"b\": {\"x\": [], \"y\": -0.0}}", "hi", "first");
    static const char same[] = "{\"b\":{\"y\":0,\"x\":[]},\"a\":1}";
    assert_string_equal(find(r, "call_0", "f", same, "hi"), "first");
    assert_string_equal(find(r, "call_4294967295", "f", same, "hi"), "first");
    /* Ids that somebody gave. */
    assert_string_equal(find(r, "call_", "f", same, "hi"), "");
    assert_string_equal(find(r, "call_1a", "f", same, "hi"), "");
    assert_string_equal(find(r, "call_012345678901", "f", same, "hi"), "");
    assert_string_equal(find(r, "0", "f", same, "hi"), "");
    /* All else must be the same. */
    assert_string_equal(find(r, "call_0", "g", same, "hi"), "");
    assert_string_equal(find(r, "call_0", "f", same, ""), "");
    assert_string_equal(find(r, "call_0", "f", "{\"a\":1}", "hi"), "");
    assert_string_equal(
        find(r, "call_0", "f", "{\"b\":{\"x\":[],\"y\":1},\"a\":1}", "hi"), "");
    /* The newest; who has ids gets their own. */
    keep(r, "call_other", same, "hi", "second");
    assert_string_equal(find(r, "call_7", "f", same, "hi"), "second");
    assert_string_equal(find(r, other, "f", same, "hi"), "first");
    assert_string_equal(find(r, "call_other", "f", same, "hi"), "second");
    replay_close(r);
}

static void test_least_recently_used_go(void **state)
{
    (void)state;
    struct replay *r;
    char id[16];
    int there = 0;
    assert_int_equal(replay_open(&r, 20000, NULL), STATUS_OK);
    for (int i = 0; i < 500; i++) {
        snprintf(id, sizeof id, "c%d", i);
        keep(r, id, "{}", "", "text of an answer");
        assert_string_equal(find(r, "c0", "f", "{}", ""), "text of an answer");
    }
    for (int i = 1; i < 500; i++) {
        snprintf(id, sizeof id, "c%d", i);
        const bool found = find(r, id, "f", "{}", "")[0];
        assert_true(found || !there); // the newer ones
        there += found;
    }
    assert_true(there > 5 && there < 200); // 100 bytes at least, 4000 at most
    replay_close(r);
    /* What is larger than all is not kept. */
    assert_int_equal(replay_open(&r, 100, NULL), STATUS_OK);
    keep(r, "c", "{}", "", "text");
    assert_string_equal(find(r, "c", "f", "{}", ""), "");
    replay_close(r);
}

static void *use_store(void *ctx)
{
    struct replay *r = ctx;
    struct buf text, mark;
    buf_init(&text, 1 << 20);
    buf_init(&mark, 1 << 20);
    static const uint8_t marks[4] = {1, 1, 1, 1};
    for (int i = 0; i < 2000; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%d", i % 40);
        json_t *calls = json_pack("[{s:s, s:{s:s, s:{s:i}}}]", "id", id, "function",
                                  "name", "f", "arguments", "a", i % 3);
        if (i % 2)
            replay_keep(r, calls, "", "text", marks, 4);
        else
            replay_find(r, calls, "", &text, &mark);
        json_decref(calls);
        buf_clear(&text);
        buf_clear(&mark);
    }
    buf_release(&text);
    buf_release(&mark);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct replay *r;
    pthread_t thread[4];
    assert_int_equal(replay_open(&r, 8000, NULL), STATUS_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, use_store, r), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    replay_close(r);
}

/* ---- in prompts ---- */

static void open_engine(struct engine *e, const char *source, size_t n)
{
    *e = (struct engine){.tokenizer = tokenizer};
    assert_int_equal(template_compile(&e->template, source, n, NULL), STATUS_OK);
    chat_caps_probe(&e->chat, e->template, source, n, tokenizer);
}

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"d\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\","
    "\"description\":\"d\"}}}}}]";
/* As no template prints it. */
static const char wrote[] = "<tool_call>{\"arguments\":{\"a\":1},\"name\":\"f\"}";

/* A prompt, what was answered, and the prompt behind it with the result: how many tokens
 * of the first one and its answer the second begins with, less all of them. */
static int missing(const struct engine *e, struct replay *r, int *n_replayed)
{
    json_t *tools = json_loads(tools_text, 0, NULL),
           *messages = json_pack("[{s:s, s:s}, {s:s, s:s}]", "role", "system", "content",
                                 "S", "role", "user", "content", "go"),
           *calls = calls_of("call_abcd", "f", "{\"a\": 1}");
    struct chat_turn t = {.messages = messages, .tools = tools, .think = -1, .replay = r};
    struct chat_prompt_result result;
    struct buf first, second;
    struct tokens tokens;
    tokens_init(&tokens);
    buf_init(&first, 1 << 20);
    buf_init(&second, 1 << 20);
    assert_int_equal(chat_prompt_text(e, &t, &first, NULL), STATUS_OK);
    buf_puts(&first, wrote);
    json_array_append_new(messages, json_pack("{s:s, s:s, s:O}", "role", "assistant",
                                              "content", "", "tool_calls", calls));
    json_array_append_new(messages, json_pack("{s:s, s:s, s:s, s:s}", "role", "tool",
                                              "tool_call_id", "call_abcd", "name", "f",
                                              "content", "qresultq"));
    assert_int_equal(chat_prompt_text(e, &t, &second, NULL), STATUS_OK);
    assert_int_equal(chat_prompt_tokens(e, &t, &tokens, &result, NULL), STATUS_OK);
    assert_non_null(strstr(second.data, "qresultq"));
    *n_replayed = result.n_replayed;
    /* Positions are those of the text that was put together. */
    for (int i = 0; i < result.stable.n; i++)
        assert_true(result.stable.at[i] <= tokens.n);
    size_t same = 0;
    while (same < first.len && same < second.len && first.data[same] == second.data[same])
        same++;
    const int left = (int)(first.len - same);
    buf_release(&first);
    buf_release(&second);
    tokens_release(&tokens);
    json_decref(calls);
    json_decref(messages);
    json_decref(tools);
    return left;
}

static void keep_answer(struct replay *r)
{
    uint8_t mark[sizeof wrote];
    json_t *calls = calls_of("call_abcd", "f", "{\"a\": 1}");
    memset(mark, 1, sizeof mark);
    replay_keep(r, calls, "", wrote, mark, sizeof wrote - 1);
    json_decref(calls);
}

static void test_templates(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool moves; // the template writes something else in front, later
    } cases[] = {
        {"Qwen-Qwen2.5-7B-Instruct.jinja", false},
        {"Qwen-Qwen3-0.6B.jinja", false},
        {"Qwen3-Coder.jinja", false},
        {"NousResearch-Hermes-3-Llama-3.1-8B-tool_use.jinja", false},
        {"Kimi-K2-Instruct.jinja", false},
        {"meta-llama-Llama-3.2-3B-Instruct.jinja", false},
        {"google-gemma-2-2b-it.jinja", false},
        {"HuggingFaceTB-SmolLM3-3B.jinja", false},
        {"mistralai-Mistral-Nemo-Instruct-2407.jinja", true},
        {"openai-gpt-oss-120b.jinja", false},
    };
    static char source[1 << 16];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[256];
        struct engine e;
        struct replay *r;
        int n;
        snprintf(path, sizeof path, TEMPLATES "%s", cases[i].name);
        FILE *f = fopen(path, "rb");
        if (!f)
            skip();
        open_engine(&e, source, fread(source, 1, sizeof source, f));
        fclose(f);
        assert_int_equal(replay_open(&r, 1 << 20, NULL), STATUS_OK);
        const int without = missing(&e, r, &n);
        assert_int_equal(n, 0);
        keep_answer(r);
        const int with = missing(&e, r, &n);
        print_message("%s: %d bytes to read again, %d with replay\n", cases[i].name,
                      without, with);
        if (n != 1 || (with && !cases[i].moves) || !without)
            fail_msg("%s: %d answers put back, %d bytes missing", cases[i].name, n, with);
        replay_close(r);
        template_close(e.template);
    }
}

/* Calls that are messages of their own, behind their reasoning; results name them. */
static void test_harmony(void **state)
{
    (void)state;
    static const char said[] = "<|start|>assistant<|channel|>commentary to=functions.f "
                               "<|constrain|>json<|message|>{\"a\":1}";
    static char source[1 << 16];
    struct engine e;
    struct replay *r;
    struct buf text, want;
    uint8_t mark[sizeof said] = {0};
    FILE *f = fopen(TEMPLATES "openai-gpt-oss-120b.jinja", "rb");
    if (!f)
        skip();
    open_engine(&e, source, fread(source, 1, sizeof source, f));
    fclose(f);
    assert_int_equal(replay_open(&r, 1 << 20, NULL), STATUS_OK);
    json_t *first = calls_of("c1", "f", "{\"a\": 1}"),
           *second = calls_of("c2", "f", "{\"a\": 1}"),
           *messages = json_pack(
               "[{s:s, s:s}, {s:s, s:s, s:s, s:O}, {s:s, s:s, s:s, s:s}, {s:s, s:s, s:s, "
               "s:O}, {s:s, s:s, s:s, s:s}]",
               "role", "user", "content", "go", "role", "assistant", "content", "",
               "reasoning_content", "one", "tool_calls", first, "role", "tool",
               "tool_call_id", "c1", "name", "f", "content", "r1", "role", "assistant",
               "content", "", "reasoning_content", "two", "tool_calls", second, "role",
               "tool", "tool_call_id", "c2", "name", "f", "content", "r2");
    const struct chat_turn t = {.messages = messages, .think = -1, .replay = r};
    replay_keep(r, first, "", said, mark, sizeof said - 1);
    replay_keep(r, second, "", said, mark, sizeof said - 1);
    buf_init(&text, 1 << 16);
    buf_init(&want, 1 << 16);
    for (int i = 1; i <= 2; i++)
        buf_printf(&want,
                   "<|start|>assistant<|channel|>analysis<|message|>%s<|end|>%s<|call|>"
                   "<|start|>functions.f to=assistant<|channel|>commentary<|message|>"
                   "\"r%d\"<|end|>",
                   i == 1 ? "one" : "two", said, i);
    buf_puts(&want, "<|start|>assistant");
    assert_int_equal(chat_prompt_text(&e, &t, &text, NULL), STATUS_OK);
    assert_true(text.len > want.len);
    assert_string_equal(text.data + text.len - want.len, want.data);
    buf_release(&text);
    buf_release(&want);
    json_decref(first);
    json_decref(second);
    json_decref(messages);
    template_close(e.template);
    replay_close(r);
}

/* Replayed control tokens are control tokens, other text is none. */
static void test_marks(void **state)
{
    (void)state;
    static const char source[] =
        "{%- if tools %}{{ tools | tojson }}{% endif %}{%- for m in messages "
        "%}<|im_start|>"
        "{{ m.content }}{% for c in m.tool_calls or [] %}{{ c.function.name }}"
        "{{ c.function.arguments | tojson }}{% endfor %}<|im_end|>{% endfor %}";
    /* The last one ends the answer; the template writes it, too. */
    static const char text[] = "<|im_start|><|im_start|><|im_end|>";
    struct engine e;
    struct replay *r;
    struct tokens tokens;
    struct chat_prompt_result result;
    uint8_t mark[34];
    json_t *calls = calls_of("c", "f", "{}"),
           *messages =
               json_pack("[{s:s, s:s}, {s:s, s:s, s:O}]", "role", "user", "content", "go",
                         "role", "assistant", "content", "", "tool_calls", calls);
    memset(mark, 0, 12);
    memset(mark + 12, 1, 12);
    memset(mark + 24, 0, 10);
    tokens_init(&tokens);
    assert_int_equal(replay_open(&r, 1 << 20, NULL), STATUS_OK);
    replay_keep(r, calls, "", text, mark, sizeof mark);
    open_engine(&e, source, sizeof source - 1);
    const struct chat_turn t = {.messages = messages, .think = -1, .replay = r};
    assert_int_equal(chat_prompt_tokens(&e, &t, &tokens, &result, NULL), STATUS_OK);
    assert_int_equal(result.n_replayed, 1);
    int start = 0, end = 0;
    for (size_t i = 0; i < tokens.n; i++) {
        start += tokens.id[i] == 1;
        end += tokens.id[i] == 2;
    }
    assert_int_equal(end, 2);
    assert_int_equal(start, 3); // two messages, and the one that the model wrote
    json_decref(calls);
    json_decref(messages);
    tokens_release(&tokens);
    template_close(e.template);
    replay_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_the_same_message),
        cmocka_unit_test(test_ids_that_were_left_out),
        cmocka_unit_test(test_least_recently_used_go),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_harmony),
        cmocka_unit_test(test_marks),
    };
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
