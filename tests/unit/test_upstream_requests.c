/* Requests that a backend has nothing like are refused by the name of a field; how the
 * rest is said.  Whole requests are in tests/data/route. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "route_run.h"

#include <cmocka.h>

struct translated {
    enum status status;
    json_t *sent;
    struct upstream_call call;
    struct api_error err;
};

static struct translated translate(const char *client, enum upstream_kind kind,
                                   const struct upstream_ask *ask, const char *text)
{
    struct translated t = {.status = STATUS_OK};
    struct api_request r;
    struct buf body;
    const struct api_operation *op = route_client(client);
    api_request_init(&r);
    r.keep_images = true;
    json_t *v = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (!v || op->parse(&r, v, &t.err) != STATUS_OK)
        fail_msg("%s: %s", text, t.err.message);
    struct upstream_ask known = ask ? *ask : (struct upstream_ask){0};
    known.model = "q";
    buf_init(&body, 1 << 20);
    t.status =
        upstream_print_request(&upstreams[kind], &body, &t.call, &r, &known, &t.err);
    if (t.status == STATUS_OK) {
        t.sent = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
        if (!t.sent)
            fail_msg("no JSON: %s", body.data);
    }
    buf_release(&body);
    api_request_release(&r);
    return t;
}

static void refused(const char *client, enum upstream_kind kind,
                    const struct upstream_ask *ask, const char *text, const char *words)
{
    struct translated t = translate(client, kind, ask, text);
    if (t.status == STATUS_OK || !strstr(t.err.message, words))
        fail_msg("%s: '%s' is not in '%s'", text, words, t.err.message);
    assert_int_equal(api_error_http(t.err.kind), 400);
    json_decref(t.sent);
}

/* The member of what is sent, as JSON. */
static void sends(const char *client, enum upstream_kind kind,
                  const struct upstream_ask *ask, const char *text, const char *member,
                  const char *expected)
{
    struct translated t = translate(client, kind, ask, text);
    if (t.status != STATUS_OK)
        fail_msg("%s: %s", text, t.err.message);
    const json_t *got = json_object_get(t.sent, member);
    json_t *v = expected ? json_loads(expected, JSON_DECODE_ANY, NULL) : NULL;
    if (v ? !json_equal(got, v) : got != NULL) {
        char *shown = got ? json_dumps(got, JSON_ENCODE_ANY) : NULL;
        fail_msg("%s: %s is %s", text, member, shown ? shown : "absent");
    }
    json_decref(v);
    json_decref(t.sent);
}

#define CHAT(more) "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]" more "}"
#define MESSAGES(more) \
    "{\"max_tokens\":100,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]" more "}"
#define TOOL                                                                           \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{" \
    "\"type\":\"object\"}}}]"

static void test_refused_by_anthropic(void **state)
{
    (void)state;
    static const struct {
        const char *more, *words;
    } cases[] = {
        {CHAT(",\"n\":2"), "n is not supported"},
        {CHAT(",\"logprobs\":true"), "logprobs is not supported"},
        {CHAT(",\"logit_bias\":{\"5\":1}"), "logit_bias is not supported"},
        {CHAT(",\"seed\":1"), "seed is not supported"},
        {CHAT(",\"min_p\":0.1"), "min_p is not supported"},
        {CHAT(",\"typical_p\":0.5"), "typical_p is not supported"},
        {CHAT(",\"repeat_penalty\":1.1"), "repeat_penalty is not supported"},
        {CHAT(",\"presence_penalty\":1"), "presence_penalty is not supported"},
        {CHAT(",\"frequency_penalty\":1"), "frequency_penalty is not supported"},
        {CHAT(",\"temperature\":1.5"), "temperature must be from 0 to 1"},
        {CHAT(",\"grammar\":\"root ::= \\\"a\\\"\""), "grammar is not supported"},
        {CHAT(",\"response_format\":{\"type\":\"json_object\"}"), "response_format"},
        {CHAT(",\"reasoning_effort\":\"high\",\"max_tokens\":1024"), "max_tokens"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\","
         "\"tool_calls\":[{\"id\":\"\",\"type\":\"function\",\"function\":{\"name\":"
         "\"f\","
         "\"arguments\":\"{}\"}}]},{\"role\":\"function\",\"name\":\"f\",\"content\":"
         "\"y\"}]}",
         "which no call before"},
        {"{\"messages\":[{\"role\":\"tool\",\"tool_call_id\":\"x\",\"content\":\"a\"}]}",
         "the id 'x'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused("openai_chat", UPSTREAM_ANTHROPIC, NULL, cases[i].more, cases[i].words);
    refused("openai_completions", UPSTREAM_ANTHROPIC, NULL, "{\"prompt\":\"a\"}",
            "completions of raw text");
    refused("ollama_embed", UPSTREAM_ANTHROPIC, NULL, "{\"input\":\"a\"}", "embeddings");
    refused("openai_infill", UPSTREAM_ANTHROPIC, NULL, "{\"input_prefix\":\"a\"}",
            "infill");
}

static void test_refused_by_ollama(void **state)
{
    (void)state;
    static const struct {
        const char *more, *words;
    } cases[] = {
        {CHAT(",\"n\":2"), "n is not supported"},
        {CHAT(",\"logit_bias\":{\"5\":1}"), "logit_bias is not supported"},
        {CHAT(",\"grammar\":\"root ::= \\\"a\\\"\""), "grammar is not supported"},
        {CHAT(TOOL ",\"tool_choice\":\"required\""), "tool_choice is not supported"},
        {CHAT(TOOL
              ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"),
         "tool_choice is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused("openai_chat", UPSTREAM_OLLAMA, NULL, cases[i].more, cases[i].words);
    refused("openai_completions", UPSTREAM_OLLAMA, NULL, "{\"prompt\":[1,2]}",
            "token ids");
    refused("openai_completions", UPSTREAM_OLLAMA, NULL, "{\"prompt\":[\"a\",\"b\"]}",
            "one text");
    refused("openai_embeddings", UPSTREAM_OLLAMA, NULL, "{\"input\":[1,2]}", "token ids");
    refused(
        "openai_infill", UPSTREAM_OLLAMA, NULL,
        "{\"input_prefix\":\"a\",\"input_extra\":[{\"filename\":\"f\",\"text\":\"t\"}]}",
        "input_extra");
}

/* An API that takes no other fields than its reference has. */
static void test_refused_by_strict(void **state)
{
    (void)state;
    const struct upstream_ask strict = {.strict = true};
    refused("ollama_chat", UPSTREAM_OPENAI, &strict, CHAT(",\"options\":{\"top_k\":5}"),
            "top_k is not supported");
    refused("ollama_chat", UPSTREAM_OPENAI, &strict, CHAT(",\"options\":{\"min_p\":0.5}"),
            "min_p is not supported");
    sends("ollama_chat", UPSTREAM_OPENAI, &strict,
          CHAT(",\"options\":{\"min_p\":0,\"repeat_penalty\":1,\"top_k\":0}"), "min_p",
          NULL);
    sends("ollama_chat", UPSTREAM_OPENAI, &strict,
          CHAT(",\"options\":{\"num_predict\":5}"), "max_completion_tokens", "5");
    sends("anthropic_messages", UPSTREAM_OPENAI, &strict, MESSAGES(""),
          "chat_template_kwargs", NULL);
}

static void test_tool_choices(void **state)
{
    (void)state;
    static const char tools[] =
        ",\"tools\":[{\"name\":\"f\",\"input_schema\":{\"type\":\"object\"}}]";
    static const struct {
        const char *anthropic, *openai;
    } cases[] = {{"{\"type\":\"auto\"}", NULL},
                 {"{\"type\":\"any\"}", "\"required\""},
                 {"{\"type\":\"none\"}", "\"none\""},
                 {"{\"type\":\"tool\",\"name\":\"f\"}",
                  "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[600];
        snprintf(text, sizeof text, MESSAGES("%s,\"tool_choice\":%s"), tools,
                 cases[i].anthropic);
        sends("anthropic_messages", UPSTREAM_OPENAI, NULL, text, "tool_choice",
              cases[i].openai);
        if (!cases[i].openai)
            continue;
        snprintf(text, sizeof text, CHAT(TOOL ",\"tool_choice\":%s"), cases[i].openai);
        sends("openai_chat", UPSTREAM_ANTHROPIC, NULL, text, "tool_choice",
              cases[i].anthropic);
    }
    sends("openai_chat", UPSTREAM_OLLAMA, NULL, CHAT(TOOL ",\"tool_choice\":\"none\""),
          "tools", NULL);
}

static void test_thinking(void **state)
{
    (void)state;
    const struct upstream_ask adaptive = {.adaptive_thinking = true},
                              none = {.no_thinking = true};
    static const char high[] = CHAT(",\"reasoning_effort\":\"high\"");
    static const char off[] = CHAT(",\"reasoning_effort\":\"none\"");
    sends("openai_chat", UPSTREAM_ANTHROPIC, NULL, high, "thinking",
          "{\"type\":\"enabled\",\"budget_tokens\":4096}");
    sends("openai_chat", UPSTREAM_ANTHROPIC, &adaptive, high, "thinking",
          "{\"type\":\"adaptive\"}");
    sends("openai_chat", UPSTREAM_ANTHROPIC, &adaptive, high, "output_config",
          "{\"effort\":\"high\"}");
    sends("openai_chat", UPSTREAM_ANTHROPIC, &none, high, "thinking", NULL);
    sends("openai_chat", UPSTREAM_ANTHROPIC, NULL, off, "thinking", NULL);
    sends("openai_chat", UPSTREAM_OLLAMA, NULL, high, "think", "\"high\"");
    sends("openai_chat", UPSTREAM_OLLAMA, NULL, off, "think", "false");
    sends("openai_chat", UPSTREAM_OLLAMA, NULL, CHAT(""), "think", NULL);
    sends("ollama_chat", UPSTREAM_OPENAI, NULL, CHAT(",\"think\":\"low\""),
          "reasoning_effort", "\"low\"");
    sends("ollama_chat", UPSTREAM_OPENAI, NULL, CHAT(",\"think\":false"),
          "chat_template_kwargs", "{\"enable_thinking\":false}");
    /* A call of the turn is not answered yet, and its thinking is not signed. */
    sends("openai_chat", UPSTREAM_ANTHROPIC, NULL,
          "{\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"user\",\"content\":"
          "\"a\"},{\"role\":\"assistant\",\"tool_calls\":[{\"id\":\"c\",\"type\":"
          "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},{\"role\":"
          "\"tool\",\"tool_call_id\":\"c\",\"content\":\"r\"}]}",
          "thinking", NULL);
}

static void test_late_system(void **state)
{
    (void)state;
    static const char text[] =
        "{\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"system\","
        "\"content\":\"t\"},{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
        "\"assistant\","
        "\"content\":\"b\"},{\"role\":\"system\",\"content\":\"late\"},{\"role\":"
        "\"user\","
        "\"content\":\"c\"}]}";
    const struct upstream_ask takes = {.late_system = true};
    sends(
        "openai_chat", UPSTREAM_OLLAMA, NULL, text, "messages",
        "[{\"role\":\"system\",\"content\":\"s\\n\\nt\"},{\"role\":\"user\",\"content\":"
        "\"a\"},{\"role\":\"assistant\",\"content\":\"b\"},{\"role\":\"user\","
        "\"content\":\"<system-reminder>\\nlate\\n</system-reminder>\\nc\"}]");
    sends(
        "openai_chat", UPSTREAM_ANTHROPIC, &takes, text, "messages",
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},{\"role\":"
        "\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"b\"}]},{\"role\":"
        "\"system\",\"content\":\"late\"},{\"role\":\"user\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"c\"}]}]");
}

static void test_lengths(void **state)
{
    (void)state;
    const struct upstream_ask cap = {.max_tokens_cap = 50, .max_tokens = 70};
    sends("openai_chat", UPSTREAM_ANTHROPIC, NULL, CHAT(""), "max_tokens", "8192");
    sends("openai_chat", UPSTREAM_ANTHROPIC, &cap, CHAT(""), "max_tokens", "50");
    sends("anthropic_messages", UPSTREAM_OPENAI, &cap, MESSAGES(""), "max_tokens", "50");
    sends("ollama_chat", UPSTREAM_OPENAI, &cap, CHAT(""), "max_tokens", NULL);
    sends("openai_chat", UPSTREAM_OLLAMA, &cap, CHAT(",\"max_tokens\":20"), "options",
          "{\"num_predict\":20}");
    sends("ollama_chat", UPSTREAM_OLLAMA, NULL,
          CHAT(",\"options\":{\"num_predict\":-2,\"kv_cache_type\":\"f16\","
               "\"kv_tail\":64}"),
          "options", "{\"num_predict\":-1,\"kv_cache_type\":\"f16\",\"kv_tail\":64}");
}

static void test_other_operations(void **state)
{
    (void)state;
    sends("openai_completions", UPSTREAM_OLLAMA, NULL, "{\"prompt\":\"a\",\"seed\":3}",
          "raw", "true");
    sends("openai_infill", UPSTREAM_OLLAMA, NULL,
          "{\"input_prefix\":\"a\",\"prompt\":\"b\",\"input_suffix\":\"c\"}", "prompt",
          "\"ab\"");
    sends("openai_infill", UPSTREAM_OLLAMA, NULL,
          "{\"input_prefix\":\"a\",\"prompt\":\"b\",\"input_suffix\":\"c\"}", "suffix",
          "\"c\"");
    sends("openai_embeddings", UPSTREAM_OLLAMA, NULL,
          "{\"input\":[\"a\",\"b\"],\"dimensions\":8}", "input", "[\"a\",\"b\"]");
    sends("openai_embeddings", UPSTREAM_OLLAMA, NULL, "{\"input\":\"a\"}", "truncate",
          "false");
    sends("ollama_embed", UPSTREAM_OPENAI, NULL, "{\"input\":\"a\"}", "input", "[\"a\"]");
    sends("ollama_embed", UPSTREAM_OPENAI, NULL, "{\"input\":\"a\"}", "encoding_format",
          "\"float\"");
}

static void test_counted(void **state)
{
    (void)state;
    static const struct {
        enum upstream_counter counter;
        const char *path, *sent;
    } cases[] = {
        {UPSTREAM_COUNT_ANTHROPIC, "/v1/messages/count_tokens",
         "{\"model\":\"q\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"a\"}]}],\"tools\":[{\"name\":\"f\",\"description\":\"\","
         "\"input_schema\":{\"type\":\"object\"}}]}"},
        {UPSTREAM_COUNT_LLAMA, "/v1/chat/completions/input_tokens",
         "{\"model\":\"q\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
         "\"tools\":"
         "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\","
         "\"parameters\":{\"type\":\"object\"}}}]}"},
        {UPSTREAM_COUNT_VLLM, "/tokenize",
         "{\"model\":\"q\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
         "\"tools\":"
         "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"description\":\"\","
         "\"parameters\":{\"type\":\"object\"}}}],\"add_generation_prompt\":true}"},
    };
    const struct upstream_ask ask = {.model = "q"};
    struct api_request r;
    struct api_error err = {0};
    api_request_init(&r);
    json_t *v = json_loads(CHAT(TOOL ",\"seed\":1,\"n\":3"), 0, NULL);
    assert_int_equal(openai_chat.parse(&r, v, &err), STATUS_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf body;
        struct upstream_call call;
        buf_init(&body, 1 << 20);
        assert_int_equal(
            upstream_print_count(cases[i].counter, &body, &call, &r, &ask, &err),
            STATUS_OK);
        json_t *sent = json_loads(body.data, 0, NULL);
        json_t *expected = json_loads(cases[i].sent, 0, NULL);
        assert_string_equal(call.path, cases[i].path);
        if (!expected || !json_equal(sent, expected))
            fail_msg("%s", body.data);
        json_decref(expected);
        json_decref(sent);
        buf_release(&body);
    }
    api_request_release(&r);
}

#define IMAGE(url)                                                            \
    "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"," \
    "\"image_url\":{\"url\":\"" url "\"}}]}]}"

static void test_images(void **state)
{
    (void)state;
    const struct upstream_ask blind = {.no_images = true};
    refused("openai_chat", UPSTREAM_OLLAMA, NULL, IMAGE("https://example.org/a.png"),
            "base64");
    refused("openai_chat", UPSTREAM_ANTHROPIC, &blind,
            IMAGE("data:image/png;base64,iVBORw0KGgo="), "images are not supported");
    static const struct {
        const char *client, *text, *words;
    } cases[] = {
        {"openai_chat", IMAGE("data:image/tiff;base64,aaaa"), "png, jpeg, gif or webp"},
        {"openai_chat", IMAGE("data:image/png;base64,a*aa"), "base64"},
        {"openai_chat", IMAGE("data:image/png,x"), "png, jpeg"},
        {"openai_chat", IMAGE("file:///etc/passwd"), "https://"},
        {"ollama_chat",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"images\":[\"aaaa\"]}]}",
         "png, jpeg"},
        {"ollama_chat",
         "{\"messages\":[{\"role\":\"user\",\"content\":\"\",\"images\":\"x\"}]}",
         "an array"},
        {"anthropic_messages",
         "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
         "\"image\",\"source\":{\"type\":\"file\",\"file_id\":\"x\"}}]}]}",
         "'file'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int keep = 0; keep < 2; keep++) {
            struct api_request r;
            struct api_error err = {0};
            json_t *v = json_loads(cases[i].text, 0, NULL);
            api_request_init(&r);
            r.keep_images = keep;
            assert_int_not_equal(route_client(cases[i].client)->parse(&r, v, &err),
                                 STATUS_OK);
            /* Without a backend that may see them, none is looked at. */
            if (!strstr(err.message, keep ? cases[i].words : "images are not supported"))
                fail_msg("%s: %s", cases[i].text, err.message);
            json_decref(v);
        }
}

/* What a result shows stays within it, where the API has a place for that. */
static void test_images_of_results(void **state)
{
    (void)state;
    static const char text[] =
        "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":"
        "\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\","
        "\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
        "\"tool_use_id\":\"t\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
        "\"url\",\"url\":\"https://e.org/x\"}},{\"type\":\"text\",\"text\":\"x\"}]}]}]}";
    sends("anthropic_messages", UPSTREAM_ANTHROPIC, NULL, text, "messages",
          "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"}]},"
          "{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"id\":\"t\","
          "\"name\":\"f\",\"input\":{}}]},{\"role\":\"user\",\"content\":[{\"type\":"
          "\"tool_result\",\"tool_use_id\":\"t\",\"content\":[{\"type\":\"image\","
          "\"source\":{\"type\":\"url\",\"url\":\"https://e.org/x\"}},{\"type\":"
          "\"text\",\"text\":\"x\"}]}]}]");
}

static void test_headers(void **state)
{
    (void)state;
    struct upstream_header h[UPSTREAM_HEADERS_MAX];
    assert_int_equal(upstream_headers(h, upstream_find("openai"), "k"), 2);
    assert_string_equal(h[1].name, "authorization");
    assert_string_equal(h[1].before, "Bearer ");
    assert_string_equal(h[1].value, "k");
    assert_int_equal(upstream_headers(h, upstream_find("anthropic"), "k"), 3);
    assert_string_equal(h[1].name, "anthropic-version");
    assert_string_equal(h[1].value, "2023-06-01");
    assert_string_equal(h[2].name, "x-api-key");
    assert_int_equal(upstream_headers(h, upstream_find("ollama"), ""), 1);
    assert_null(upstream_find("x"));
}

static void test_too_large(void **state)
{
    (void)state;
    const struct upstream_ask ask = {.model = "q"};
    struct upstream_call call;
    struct api_request r;
    struct api_error err = {0};
    struct buf body;
    api_request_init(&r);
    assert_int_equal(openai_chat.parse(&r, json_loads(CHAT(""), 0, NULL), &err),
                     STATUS_OK);
    buf_init(&body, 20);
    assert_int_equal(upstream_print_request(&upstreams[0], &body, &call, &r, &ask, &err),
                     STATUS_NO_MEMORY);
    assert_int_equal(err.kind, API_ERROR_TOO_LARGE);
    buf_release(&body);
    api_request_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_by_anthropic),
        cmocka_unit_test(test_refused_by_ollama),
        cmocka_unit_test(test_refused_by_strict),
        cmocka_unit_test(test_tool_choices),
        cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_late_system),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_other_operations),
        cmocka_unit_test(test_counted),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_images_of_results),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
