/* test_anthropic.c - requests to canonical conversations, events to bodies.  What is
 * expected was written by hand from Anthropic's documentation of the Messages API. */
#include <math.h>
#include <stdio.h>

#include "dialect_run.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

static void assert_json(const json_t *v, const char *expected)
{
    json_t *e = json_loads(expected, JSON_DECODE_ANY, NULL);
    assert_non_null(e);
    if (!v || !json_equal(v, e)) {
        char *s = v ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
        fail_msg("expected %s\n     got %s", expected, s ? s : "nothing");
    }
    json_decref(e);
}

/* The messages of a request are these. */
static void assert_messages(const char *members, const char *expected)
{
    struct api_request r;
    struct api_error err;
    char text[8192];
    snprintf(text, sizeof text, "{\"max_tokens\": 9, %s}", members);
    if (!run_parse(&anthropic_messages, &r, text, &err))
        fail_msg("%s: %s", members, err.message);
    assert_json(r.messages, expected);
    api_request_release(&r);
}

#define USER(content) "\"messages\": [{\"role\": \"user\", \"content\": " content "}]"

static void test_shapes_are_equal(void **state)
{
    (void)state;
    static const char one[] = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    assert_messages(USER("\"hi\""), one);
    assert_messages(USER("[{\"type\": \"text\", \"text\": \"hi\"}]"), one);
    assert_messages(USER("[{\"type\": \"text\", \"text\": \"hi\", \"cache_control\": "
                         "{\"type\": \"ephemeral\"}}]"),
                    one);
    assert_messages(USER("[{\"type\": \"document\", \"source\": {\"type\": \"text\", "
                         "\"media_type\": \"text/plain\", \"data\": \"hi\"}}]"),
                    one);

    static const char two[] = "[{\"role\": \"user\", \"content\": \"a\\nb\"}]";
    assert_messages(USER("[{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", "
                         "\"text\": \"b\"}]"),
                    two);
    /* Turns in sequence are one turn. */
    assert_messages("\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, "
                    "{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
                    "\"b\"}]}]",
                    two);

    static const char system[] = "[{\"role\": \"system\", \"content\": \"be brief\"},"
                                 " {\"role\": \"user\", \"content\": \"hi\"}]";
    assert_messages("\"system\": \"be brief\", " USER("\"hi\""), system);
    assert_messages("\"system\": [{\"type\": \"text\", \"text\": \"be brief\", "
                    "\"cache_control\": {\"type\": \"ephemeral\"}}], " USER("\"hi\""),
                    system);
    assert_messages("\"system\": \"\", " USER("\"hi\""), one);
    assert_messages("\"system\": null, " USER("\"hi\""), one);
}

static void test_system_in_place(void **state)
{
    (void)state;
    static const char expected[] =
        "[{\"role\": \"system\", \"content\": \"top\"},"
        " {\"role\": \"user\", \"content\": \"a\"},"
        " {\"role\": \"system\", \"content\": \"env\\nagents\"},"
        " {\"role\": \"assistant\", \"content\": \"b\"},"
        " {\"role\": \"system\", \"content\": \"9000 tokens left\"},"
        " {\"role\": \"user\", \"content\": \"c\"}]";
    assert_messages(
        "\"system\": \"top\", \"messages\": [{\"role\": \"user\", \"content\": \"a\"},"
        "{\"role\": \"system\", \"content\": [{\"type\": \"text\", \"text\": \"env\"}, "
        "{\"type\": \"text\", \"text\": \"agents\"}]},"
        "{\"role\": \"assistant\", \"content\": \"b\"},"
        "{\"role\": \"system\", \"content\": \"9000 tokens left\"},"
        "{\"role\": \"user\", \"content\": \"c\"}]",
        expected);
}

#define BILLING "x-anthropic-billing-header: cc_version=2.1.330.abc; cc_entrypoint=cli;"

static void test_billing_line(void **state)
{
    (void)state;
    static const char kept[] = "[{\"role\": \"system\", \"content\": \"You are\"},"
                               " {\"role\": \"user\", \"content\": \"hi\"}]";
    static const char gone[] = "[{\"role\": \"user\", \"content\": \"hi\"}]";
    assert_messages("\"system\": [{\"type\": \"text\", \"text\": \"" BILLING "\"}, "
                    "{\"type\": \"text\", \"text\": \"You are\"}], " USER("\"hi\""),
                    kept);
    assert_messages("\"system\": [{\"type\": \"text\", \"text\": \"You are\"}, "
                    "{\"type\": \"text\", \"text\": \"" BILLING "\"}], " USER("\"hi\""),
                    kept);
    assert_messages("\"system\": \"" BILLING "\\nYou are\", " USER("\"hi\""), kept);
    assert_messages("\"system\": \"" BILLING "\\n\\nYou are\", " USER("\"hi\""), kept);
    assert_messages("\"system\": \"" BILLING "\", " USER("\"hi\""), gone);
    assert_messages("\"messages\": [{\"role\": \"system\", \"content\": [{\"type\": "
                    "\"text\", \"text\": \"" BILLING "\"}]}, {\"role\": \"system\", "
                    "\"content\": \"" BILLING "\\n\"}, {\"role\": \"user\", "
                    "\"content\": \"hi\"}]",
                    gone);
    /* What a user says is nobody's to change. */
    assert_messages(USER("\"" BILLING "\""),
                    "[{\"role\": \"user\", \"content\": \"" BILLING "\"}]");
    assert_messages("\"system\": \"Not x-anthropic-billing-header:\", " USER("\"hi\""),
                    "[{\"role\": \"system\", \"content\": \"Not "
                    "x-anthropic-billing-header:\"},"
                    " {\"role\": \"user\", \"content\": \"hi\"}]");
}

#define CALLS                                                                   \
    "{\"role\": \"assistant\", \"content\": [{\"type\": \"thinking\", "         \
    "\"thinking\": \"two cities\", \"signature\": \"\"}, {\"type\": \"text\", " \
    "\"text\": \"I look.\"}, {\"type\": \"tool_use\", \"id\": \"toolu_1\", "    \
    "\"name\": \"weather\", \"input\": {\"z\": 1, \"a\": [true]}}, "            \
    "{\"type\": \"tool_use\", \"id\": \"toolu_2\", \"name\": \"time\", "        \
    "\"input\": {}}]}"
#define CANONICAL_CALLS                                                           \
    "{\"role\": \"assistant\", \"content\": \"I look.\", \"reasoning_content\": " \
    "\"two cities\", \"tool_calls\": [{\"id\": \"toolu_1\", \"type\": "           \
    "\"function\", \"function\": {\"name\": \"weather\", \"arguments\": {\"z\": " \
    "1, \"a\": [true]}}}, {\"id\": \"toolu_2\", \"type\": \"function\", "         \
    "\"function\": {\"name\": \"time\", \"arguments\": {}}}]}"
#define ASK "{\"role\": \"user\", \"content\": \"go\"}"

static void test_tool_results_keep_their_order(void **state)
{
    (void)state;
    assert_messages(
        "\"messages\": [" ASK ", " CALLS ", {\"role\": \"user\", \"content\": ["
        "{\"type\": \"text\", \"text\": \"first\"},"
        "{\"type\": \"tool_result\", \"tool_use_id\": \"toolu_2\", \"content\": "
        "\"noon\"},"
        "{\"type\": \"text\", \"text\": \"between\"},"
        "{\"type\": \"text\", \"text\": \"them\"},"
        "{\"type\": \"tool_result\", \"tool_use_id\": \"toolu_1\", \"is_error\": true, "
        "\"content\": [{\"type\": \"text\", \"text\": \"no\"}, {\"type\": \"text\", "
        "\"text\": \"city\"}]},"
        "{\"type\": \"text\", \"text\": \"last\"}]}]",
        "[" ASK ", " CANONICAL_CALLS ","
        "{\"role\": \"user\", \"content\": \"first\"},"
        "{\"role\": \"tool\", \"content\": \"noon\", \"tool_call_id\": \"toolu_2\", "
        "\"name\": \"time\"},"
        "{\"role\": \"user\", \"content\": \"between\\nthem\"},"
        "{\"role\": \"tool\", \"content\": \"Error: no\\ncity\", \"tool_call_id\": "
        "\"toolu_1\", \"name\": \"weather\"},"
        "{\"role\": \"user\", \"content\": \"last\"}]");
    /* A result without content; results alone are no user's turn. */
    assert_messages("\"messages\": [" ASK ", " CALLS ", {\"role\": \"user\", "
                    "\"content\": [{\"type\": \"tool_result\", \"tool_use_id\": "
                    "\"toolu_1\"}, {\"type\": \"tool_result\", \"tool_use_id\": "
                    "\"toolu_2\", \"content\": [], \"is_error\": false}]}]",
                    "[" ASK ", " CANONICAL_CALLS ","
                    "{\"role\": \"tool\", \"content\": \"\", \"tool_call_id\": "
                    "\"toolu_1\", \"name\": \"weather\"},"
                    "{\"role\": \"tool\", \"content\": \"\", \"tool_call_id\": "
                    "\"toolu_2\", \"name\": \"time\"}]");
}

static void test_images_of_tools(void **state)
{
    (void)state;
    assert_messages("\"messages\": [" ASK ", " CALLS ", {\"role\": \"user\", "
                    "\"content\": [{\"type\": \"tool_result\", \"tool_use_id\": "
                    "\"toolu_2\", \"content\": [{\"type\": \"text\", \"text\": "
                    "\"a.png\"}, {\"type\": \"image\", \"source\": {}}]}]}]",
                    "[" ASK ", " CANONICAL_CALLS ", {\"role\": \"tool\", "
                    "\"content\": \"a.png\\n[An image, which this model cannot "
                    "see.]\", \"tool_call_id\": \"toolu_2\", \"name\": \"time\"}]");
}

static void test_key_order_of_arguments(void **state)
{
    (void)state;
    struct api_request r;
    struct api_error err;
    assert_true(run_parse(&anthropic_messages, &r,
                          "{\"messages\": [" ASK ", " CALLS ", " ASK "]}", &err));
    json_t *calls = json_object_get(json_array_get(r.messages, 1), "tool_calls");
    char *s = json_dumps(json_array_get(calls, 0), JSON_COMPACT);
    assert_non_null(strstr(s, "{\"z\":1,\"a\":[true]}"));
    free(s);
    api_request_release(&r);
}

static void test_assistant_turns(void **state)
{
    (void)state;
    /* The same in one message and in three, as some clients keep them. */
    static const char expected[] =
        "[" ASK ", {\"role\": \"assistant\", \"content\": \"a\\nb\", \"tool_calls\": "
        "[{\"id\": \"t\", \"type\": \"function\", \"function\": {\"name\": \"f\", "
        "\"arguments\": {}}}]}, {\"role\": \"tool\", \"content\": \"x\", "
        "\"tool_call_id\": \"t\", \"name\": \"f\"}]";
#define RESULT                                                                         \
    "{\"role\": \"user\", \"content\": [{\"type\": \"tool_result\", \"tool_use_id\": " \
    "\"t\", \"content\": \"x\"}]}"
#define USE "{\"type\": \"tool_use\", \"id\": \"t\", \"name\": \"f\", \"input\": {}}"
    assert_messages("\"messages\": [" ASK ", {\"role\": \"assistant\", \"content\": "
                    "[{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"text\", "
                    "\"text\": \"b\"}, " USE "]}, " RESULT "]",
                    expected);
    assert_messages("\"messages\": [" ASK ", {\"role\": \"assistant\", \"content\": "
                    "\"a\"}, {\"role\": \"assistant\", \"content\": [{\"type\": "
                    "\"redacted_thinking\", \"data\": \"xx\"}, {\"type\": \"text\", "
                    "\"text\": \"b\"}]}, {\"role\": \"assistant\", \"content\": [" USE
                    "]}, " RESULT "]",
                    expected);
    /* Thinking that was not shown came back empty. */
    assert_messages("\"messages\": [" ASK ", {\"role\": \"assistant\", \"content\": "
                    "[{\"type\": \"thinking\", \"thinking\": \"\", \"signature\": "
                    "\"dHVyYmluZQ==\"}, {\"type\": \"text\", \"text\": \"a\"}]}, " ASK
                    "]",
                    "[" ASK ", {\"role\": \"assistant\", \"content\": \"a\"}, " ASK "]");
}

static void test_documents_and_search_results(void **state)
{
    (void)state;
    assert_messages(
        USER("[{\"type\": \"document\", \"title\": \"Notes\", \"context\": \"of May\", "
             "\"source\": {\"type\": \"content\", \"content\": [{\"type\": \"text\", "
             "\"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}},"
             "{\"type\": \"search_result\", \"source\": \"x.org\", \"title\": \"X\", "
             "\"content\": [{\"type\": \"text\", \"text\": \"found\"}]}]"),
        "[{\"role\": \"user\", \"content\": \"Notes\\nof May\\na\\nb\\nX\\nx.org\\n"
        "found\"}]");
}

static void test_scalars(void **state)
{
    (void)state;
    struct api_request r;
    struct api_error err;
    assert_true(run_parse(
        &anthropic_messages, &r,
        "{\"model\": \"m\", \"max_tokens\": 32000, \"stream\": true, \"temperature\": "
        "0.5, \"top_p\": 0.25, \"top_k\": 7, \"stop_sequences\": [\"END\", \"x\"], "
        "\"metadata\": {\"user_id\": \"{\\\"session\\\":1}\"}, \"thinking\": {\"type\": "
        "\"adaptive\", \"display\": \"omitted\"}, \"output_config\": {\"effort\": "
        "\"high\", \"format\": {\"type\": \"json_schema\", \"schema\": {\"type\": "
        "\"object\"}}}, \"context_management\": {\"edits\": []}, \"betas\": [\"x\"], "
        "\"service_tier\": \"auto\", \"container\": null, \"unknown\": 1, " USER(
            "\"hi\"") "}",
        &err));
    assert_int_equal(r.task, API_CHAT);
    assert_string_equal(r.model, "m");
    assert_int_equal(r.max_tokens, 32000);
    assert_true(r.stream);
    assert_true(r.sampling.temperature == 0.5f && r.sampling.top_p == 0.25f);
    assert_int_equal(r.sampling.top_k, 7);
    assert_int_equal(r.n_stop, 2);
    assert_string_equal(r.stop[0], "END");
    assert_string_equal(r.session, "{\"session\":1}");
    assert_int_equal(r.think, API_THINK_ON);
    assert_true(r.hide_thinking);
    assert_string_equal(r.think_effort, "high");
    assert_int_equal(r.format, API_FORMAT_SCHEMA);
    assert_json(r.schema, "{\"type\": \"object\"}");
    api_request_release(&r);

    assert_true(run_parse(&anthropic_messages, &r, "{" USER("\"hi\"") "}", &err));
    assert_string_equal(r.model, "");
    assert_int_equal(r.max_tokens, -1);
    assert_false(r.stream || r.hide_thinking);
    assert_true(isnan(r.sampling.temperature));
    assert_int_equal(r.think, API_THINK_OFF); // thinking is off unless asked for
    assert_null(r.tools);
    assert_null(r.think_effort);
    assert_int_equal(r.format, API_FORMAT_TEXT);
    api_request_release(&r);

    assert_true(run_parse(&anthropic_count, &r, "{" USER("\"hi\"") "}", &err));
    assert_int_equal(r.task, API_COUNT);
    api_request_release(&r);
}

static void test_thinking(void **state)
{
    (void)state;
    static const struct {
        const char *thinking;
        enum api_think think;
        bool hide;
    } cases[] = {
        {"{\"type\": \"enabled\", \"budget_tokens\": 1024}", API_THINK_ON, false},
        {"{\"type\": \"adaptive\", \"display\": \"summarized\"}", API_THINK_ON, false},
        {"{\"type\": \"adaptive\", \"display\": \"updates\"}", API_THINK_ON, false},
        {"{\"type\": \"adaptive\", \"display\": null}", API_THINK_ON, false},
        {"{\"type\": \"between_tools\"}", API_THINK_ON, false},
        {"{\"type\": \"disabled\"}", API_THINK_OFF, false},
        {"null", API_THINK_OFF, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_request r;
        struct api_error err;
        char text[512];
        snprintf(text, sizeof text, "{\"thinking\": %s, %s}", cases[i].thinking,
                 USER("\"hi\""));
        assert_true(run_parse(&anthropic_messages, &r, text, &err));
        assert_int_equal(r.think, cases[i].think);
        assert_int_equal(r.hide_thinking, cases[i].hide);
        api_request_release(&r);
    }
}

#define TOOL(name, more) \
    "{\"name\": \"" name "\", \"input_schema\": {\"type\": \"object\"}" more "}"
#define CANONICAL(name, description)                                        \
    "{\"type\": \"function\", \"function\": {\"name\": \"" name             \
    "\", \"description\": \"" description "\", \"parameters\": {\"type\": " \
    "\"object\"}}}"
#define DEFER ", \"defer_loading\": true"

static void assert_tools(const char *members, const char *expected)
{
    struct api_request r;
    struct api_error err;
    char text[8192];
    snprintf(text, sizeof text, "{%s}", members);
    if (!run_parse(&anthropic_messages, &r, text, &err))
        fail_msg("%s: %s", members, err.message);
    if (expected)
        assert_json(r.tools, expected);
    else
        assert_null(r.tools);
    api_request_release(&r);
}

static void test_tools(void **state)
{
    (void)state;
    assert_tools(
        "\"tools\": [" TOOL(
            "b",
            ", \"description\": \"does b\", "
            "\"cache_control\": {\"type\": "
            "\"ephemeral\"}, \"type\": \"custom\"") ", " TOOL("a",
                                                              "") "], " USER("\"hi\""),
        "[" CANONICAL("b", "does b") ", " CANONICAL("a", "") "]");
    assert_tools("\"tools\": [], " USER("\"hi\""), NULL);
    /* Deferred tools are not in the prompt ... */
    assert_tools("\"tools\": [" TOOL("d", DEFER) ", " TOOL("a", "") "], " USER("\"hi\""),
                 "[" CANONICAL("a", "") "]");
    assert_tools("\"tools\": [" TOOL("d", DEFER) "], " USER("\"hi\""), NULL);
    /* ... until they were found, in the order in which they were found. */
    assert_tools(
        "\"tools\": [" TOOL("d", DEFER) ", " TOOL("a", "") ", " TOOL(
            "e",
            DEFER) ", " TOOL("f",
                             DEFER) "], \"messages\": [" ASK
                                    ", {\"role\": \"assistant\", \"content\": [" USE
                                    "]}, {\"role\": \"user\", \"content\": [{\"type\": "
                                    "\"tool_result\", \"tool_use_id\": \"t\", "
                                    "\"content\": "
                                    "[{\"type\": \"tool_reference\", \"tool_name\": "
                                    "\"f\"}, "
                                    "{\"type\": \"tool_reference\", \"tool_name\": "
                                    "\"d\"}, "
                                    "{\"type\": \"tool_reference\", \"tool_name\": "
                                    "\"none\"}]}]}]",
        "[" CANONICAL("a", "") ", " CANONICAL("f", "") ", " CANONICAL("d", "") "]");
    /* With a search that this server has not, all are there. */
    assert_tools("\"tools\": [{\"type\": \"tool_search_tool_regex_20251119\", \"name\": "
                 "\"s\"}, " TOOL("d", DEFER) ", " TOOL("a", "") "], " USER("\"hi\""),
                 "[" CANONICAL("a", "") ", " CANONICAL("d", "") "]");
}

static void test_tool_choice(void **state)
{
    (void)state;
    static const struct {
        const char *choice;
        enum api_tool_choice mode;
        const char *name;
        bool parallel;
    } cases[] = {
        {"null", API_TOOLS_AUTO, NULL, true},
        {"{\"type\": \"auto\"}", API_TOOLS_AUTO, NULL, true},
        {"{\"type\": \"auto\", \"disable_parallel_tool_use\": true}", API_TOOLS_AUTO,
         NULL, false},
        {"{\"type\": \"any\"}", API_TOOLS_REQUIRED, NULL, true},
        {"{\"type\": \"none\"}", API_TOOLS_NONE, NULL, true},
        {"{\"type\": \"tool\", \"name\": \"a\"}", API_TOOLS_NAMED, "a", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_request r;
        struct api_error err;
        char text[512];
        snprintf(text, sizeof text, "{\"tool_choice\": %s, \"tools\": [%s], %s}",
                 cases[i].choice, TOOL("a", ""), USER("\"hi\""));
        assert_true(run_parse(&anthropic_messages, &r, text, &err));
        assert_int_equal(r.tool_choice, cases[i].mode);
        assert_int_equal(r.parallel_tool_calls, cases[i].parallel);
        if (cases[i].name)
            assert_string_equal(r.tool_name, cases[i].name);
        else
            assert_null(r.tool_name);
        api_request_release(&r);
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        enum api_error_kind kind;
        const char *param, *words;
    } cases[] = {
        {"\"x\": 1", API_ERROR_INVALID, "messages", "messages is missing"},
        {"\"messages\": []", API_ERROR_INVALID, "messages", "at least one"},
        {"\"messages\": \"hi\"", API_ERROR_INVALID, "messages", "an array"},
        {"\"messages\": [1]", API_ERROR_INVALID, "messages[0]", "an object"},
        {"\"messages\": [{\"role\": \"tool\", \"content\": \"x\"}]", API_ERROR_INVALID,
         "messages[0].role", "user, assistant or system"},
        {"\"messages\": [{\"content\": \"x\"}]", API_ERROR_INVALID, "messages[0].role",
         "missing"},
        {USER("5"), API_ERROR_INVALID, "messages[0].content", "blocks"},
        {USER("null"), API_ERROR_INVALID, "messages[0].content", "blocks"},
        {USER("[\"x\"]"), API_ERROR_INVALID, "messages[0].content[0]", "a block"},
        {USER("[{\"text\": \"x\"}]"), API_ERROR_INVALID, "messages[0].content[0].type",
         "missing"},
        {USER("[{\"type\": \"text\"}]"), API_ERROR_INVALID, "messages[0].content[0].text",
         "a string"},
        {USER("[{\"type\": \"image\", \"source\": {}}]"), API_ERROR_UNSUPPORTED,
         "messages[0].content[0]", "images are not supported"},
        {USER("[{\"type\": \"document\", \"source\": {\"type\": \"base64\", "
              "\"media_type\": \"application/pdf\", \"data\": \"\"}}]"),
         API_ERROR_UNSUPPORTED, "messages[0].content[0].source", "plain text only"},
        {USER("[{\"type\": \"tool_use\", \"id\": \"a\", \"name\": \"b\", \"input\": "
              "{}}]"),
         API_ERROR_INVALID, "messages[0].content[0]", "tool_use"},
        {USER("[{\"type\": \"thinking\", \"thinking\": \"x\"}]"), API_ERROR_INVALID,
         "messages[0].content[0]", "thinking"},
        {USER("[{\"type\": \"tool_result\", \"tool_use_id\": \"nope\"}]"),
         API_ERROR_INVALID, "messages[0].content[0]", "unexpected `tool_use_id`"},
        {USER("[{\"type\": \"tool_result\"}]"), API_ERROR_INVALID,
         "messages[0].content[0].tool_use_id", "missing"},
        {"\"messages\": [{\"role\": \"assistant\", \"content\": [{\"type\": "
         "\"tool_use\", \"id\": \"a\", \"name\": \"b\", \"input\": \"{}\"}]}]",
         API_ERROR_INVALID, "messages[0].content[0].input", "an object"},
        {"\"messages\": [{\"role\": \"assistant\", \"content\": [{\"type\": "
         "\"server_tool_use\", \"id\": \"a\", \"name\": \"b\", \"input\": {}}]}]",
         API_ERROR_INVALID, "messages[0].content[0]", "server_tool_use"},
        {"\"messages\": [" ASK ", {\"role\": \"assistant\", \"content\": \"The best\"}]",
         API_ERROR_UNSUPPORTED, "messages", "prefill"},
        {"\"system\": 5, " USER("\"a\""), API_ERROR_INVALID, "system", "blocks"},
        {"\"system\": [{\"type\": \"image\"}], " USER("\"a\""), API_ERROR_UNSUPPORTED,
         "system[0]", "images"},
        {"\"max_tokens\": 0, " USER("\"a\""), API_ERROR_INVALID, "max_tokens",
         "at least 1"},
        {"\"max_tokens\": \"9\", " USER("\"a\""), API_ERROR_INVALID, "max_tokens",
         "an integer"},
        {"\"temperature\": 2.5, " USER("\"a\""), API_ERROR_INVALID, "temperature",
         "from 0 to 2"},
        {"\"stream\": 1, " USER("\"a\""), API_ERROR_INVALID, "stream", "true or false"},
        {"\"stop_sequences\": [1], " USER("\"a\""), API_ERROR_INVALID, "stop_sequences",
         "strings"},
        {"\"metadata\": [], " USER("\"a\""), API_ERROR_INVALID, "metadata", "an object"},
        {"\"metadata\": {\"user_id\": 5}, " USER("\"a\""), API_ERROR_INVALID,
         "metadata.user_id", "a string"},
        {"\"thinking\": true, " USER("\"a\""), API_ERROR_INVALID, "thinking",
         "an object"},
        {"\"thinking\": {}, " USER("\"a\""), API_ERROR_INVALID, "thinking.type",
         "missing"},
        {"\"thinking\": {\"type\": \"on\"}, " USER("\"a\""), API_ERROR_INVALID,
         "thinking.type", "disabled|enabled"},
        {"\"output_config\": {\"effort\": \"huge\"}, " USER("\"a\""), API_ERROR_INVALID,
         "output_config.effort", "low|medium"},
        {"\"output_config\": {\"format\": {\"type\": \"text\"}}, " USER("\"a\""),
         API_ERROR_INVALID, "output_config.format.type", "json_schema"},
        {"\"output_format\": {\"type\": \"json_schema\"}, " USER("\"a\""),
         API_ERROR_INVALID, "output_format.schema", "missing"},
        {"\"container\": \"c\", " USER("\"a\""), API_ERROR_UNSUPPORTED, "container",
         "containers"},
        {"\"mcp_servers\": [{}], " USER("\"a\""), API_ERROR_UNSUPPORTED, "mcp_servers",
         "servers"},
        {"\"tools\": {}, " USER("\"a\""), API_ERROR_INVALID, "tools", "an array"},
        {"\"tools\": [5], " USER("\"a\""), API_ERROR_INVALID, "tools[0]", "an object"},
        {"\"tools\": [{\"name\": \"a\"}], " USER("\"a\""), API_ERROR_INVALID,
         "tools[0].input_schema", "missing"},
        {"\"tools\": [" TOOL("a b", "") "], " USER("\"a\""), API_ERROR_INVALID,
         "tools[0].name", "letters"},
        {"\"tools\": [" TOOL("a", "") ", " TOOL("a", "") "], " USER("\"a\""),
         API_ERROR_INVALID, "tools[1].name", "another tool"},
        {"\"tools\": [{\"type\": \"web_search_20250305\", \"name\": "
         "\"web_search\"}], " USER("\"a\""),
         API_ERROR_UNSUPPORTED, "tools[0]", "web_search_20250305"},
        {"\"tool_choice\": {\"type\": \"any\"}, " USER("\"a\""), API_ERROR_INVALID,
         "tool_choice", "no tools"},
        {"\"tool_choice\": {\"type\": \"tool\", \"name\": \"b\"}, \"tools\": [" TOOL(
             "a", "") "], " USER("\"a\""),
         API_ERROR_INVALID, "tool_choice.name", "'b'"},
        {"\"tool_choice\": {\"type\": \"required\"}, " USER("\"a\""), API_ERROR_INVALID,
         "tool_choice.type", "auto|none|any|tool"},
        {"\"tool_choice\": {}, " USER("\"a\""), API_ERROR_INVALID, "tool_choice.type",
         "missing"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_request r;
        struct api_error err;
        char text[1024];
        snprintf(text, sizeof text, "{%s}", cases[i].members);
        if (run_parse(&anthropic_messages, &r, text, &err))
            fail_msg("%s is accepted", text);
        api_request_release(&r);
        if (err.kind != cases[i].kind || strcmp(err.param, cases[i].param) != 0 ||
            !strstr(err.message, cases[i].words))
            fail_msg("%s: kind %d, param '%s': %s", text, (int)err.kind, err.param,
                     err.message);
    }
}

static void test_count_is_lenient(void **state)
{
    (void)state;
    struct api_request r;
    struct api_error err;
    /* Clients count pieces of conversations. */
    assert_true(run_parse(&anthropic_count, &r,
                          "{\"messages\": [{\"role\": \"assistant\", \"content\": "
                          "\"a\"}]}",
                          &err));
    api_request_release(&r);
    assert_true(run_parse(&anthropic_count, &r,
                          "{" USER("[{\"type\": \"tool_result\", \"tool_use_id\": "
                                   "\"x\", \"content\": \"y\"}]") "}",
                          &err));
    assert_json(r.messages, "[{\"role\": \"tool\", \"content\": \"y\", "
                            "\"tool_call_id\": \"x\", \"name\": \"\"}]");
    api_request_release(&r);
    struct buf out;
    buf_init(&out, 100);
    anthropic_count.print_count(&out, 14);
    assert_string_equal(out.data, "{\"input_tokens\":14}");
    buf_release(&out);
}

#define STREAM "{\"stream\": true, " USER("\"hi\"") "}"
#define DOCUMENT "{" USER("\"hi\"") "}"

/* An event of a stream: its name is its type. */
#define E(type, members) "event: " type "\ndata: {\"type\":\"" type "\"" members "}\n\n"
#define START                                                                         \
    E("message_start",                                                                \
      ",\"message\":{\"id\":\"msg_abc\",\"type\":\"message\",\"role\":\"assistant\"," \
      "\"model\":\"tiny\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":"     \
      "null,\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":0,"        \
      "\"cache_read_input_tokens\":0,\"output_tokens\":0,\"output_tokens_details\":"  \
      "{\"thinking_tokens\":0}}}")
#define USAGE                                                           \
    "\"usage\":{\"input_tokens\":20,\"cache_creation_input_tokens\":0," \
    "\"cache_read_input_tokens\":5,\"output_tokens\":15,"               \
    "\"output_tokens_details\":{\"thinking_tokens\":4}}"
#define STOP(reason, sequence)                                      \
    E("message_delta", ",\"delta\":{\"stop_reason\":\"" reason      \
                       "\",\"stop_sequence\":" sequence "}," USAGE) \
    E("message_stop", "")
#define BLOCK(i, block) \
    E("content_block_start", ",\"index\":" i ",\"content_block\":{" block "}")
#define DELTA(i, delta) E("content_block_delta", ",\"index\":" i ",\"delta\":{" delta "}")
#define BLOCK_STOP(i) E("content_block_stop", ",\"index\":" i)

static void test_stream(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(anthropic_messages, STREAM, &out, PING, TEXT("Hello"), TEXT(""),
                    TEXT(" \"you\"\n"), END(ANSWER_STOP)));
    assert_string_equal(
        out.data,
        START E("ping", "") BLOCK("0", "\"type\":\"text\",\"text\":\"\"")
            DELTA("0", "\"type\":\"text_delta\",\"text\":\"Hello\"")
                DELTA("0", "\"type\":\"text_delta\",\"text\":\" \\\"you\\\"\\n\"")
                    BLOCK_STOP("0") STOP("end_turn", "null"));
    buf_release(&out);
}

static void test_stream_of_calls(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(anthropic_messages, STREAM, &out, REASONING("Look"), REASONING(" up"),
                    TEXT("One moment"), CALL("toolu_1", "weather"),
                    ARGS("{\"city\": \"Pa"), ARGS(""), ARGS("ris\"}"), CALL_END,
                    CALL("toolu_2", "time"), CALL_END, END(ANSWER_TOOL_CALLS)));
    assert_string_equal(
        out.data,
        START BLOCK("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
            DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\"Look\"")
                DELTA("0", "\"type\":\"thinking_delta\",\"thinking\":\" up\"") DELTA(
                    "0", "\"type\":\"signature_delta\",\"signature\":\"dHVyYmluZQ==\"")
                    BLOCK_STOP("0") BLOCK("1", "\"type\":\"text\",\"text\":\"\"")
                        DELTA("1", "\"type\":\"text_delta\",\"text\":\"One moment\"")
                            BLOCK_STOP("1") BLOCK("2", "\"type\":\"tool_use\",\"id\":"
                                                       "\"toolu_1\",\"name\":\"weather\","
                                                       "\"input\":{}")
                                DELTA("2", "\"type\":\"input_json_delta\",\"partial_"
                                           "json\":\"{\\\"city\\\": "
                                           "\\\"Pa\"")
                                    DELTA("2", "\"type\":\"input_json_delta\",\"partial_"
                                               "json\":\"ris\\\"}\"") BLOCK_STOP("2")
                                        BLOCK("3", "\"type\":\"tool_use\",\"id\":\"toolu_"
                                                   "2\",\"name\":\"time\","
                                                   "\"input\":{}") BLOCK_STOP("3")
                                            STOP("tool_use", "null"));
    buf_release(&out);
}

#define HIDDEN "\"thinking\": {\"type\": \"adaptive\", \"display\": \"omitted\"}, "

static void test_hidden_thinking(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(anthropic_messages, "{\"stream\": true, " HIDDEN USER("\"hi\"") "}",
                    &out, REASONING("secret"), TEXT("Yes"), END(ANSWER_LENGTH)));
    assert_string_equal(
        out.data,
        START BLOCK("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"")
            DELTA("0", "\"type\":\"signature_delta\",\"signature\":\"dHVyYmluZQ==\"")
                BLOCK_STOP("0") BLOCK("1", "\"type\":\"text\",\"text\":\"\"")
                    DELTA("1", "\"type\":\"text_delta\",\"text\":\"Yes\"") BLOCK_STOP("1")
                        STOP("max_tokens", "null"));
    buf_release(&out);
    assert_true(RUN(anthropic_messages, "{" HIDDEN USER("\"hi\"") "}", &out,
                    REASONING("secret"), TEXT("Yes"), END(ANSWER_STOP)));
    assert_null(strstr(out.data, "secret"));
    assert_non_null(strstr(out.data, "{\"type\":\"thinking\",\"thinking\":\"\","
                                     "\"signature\":\"dHVyYmluZQ==\"}"));
    buf_release(&out);
}

#define MESSAGE(content, reason, sequence)                                       \
    "{\"id\":\"msg_abc\",\"type\":\"message\",\"role\":\"assistant\",\"model\":" \
    "\"tiny\",\"content\":[" content "],\"stop_reason\":\"" reason               \
    "\",\"stop_sequence\":" sequence "," USAGE "}"

static void test_document(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(anthropic_messages, DOCUMENT, &out, PING, REASONING("Look"),
                    REASONING("\tup"), TEXT("One "), TEXT("moment"),
                    CALL("toolu_1", "weather"), ARGS("{\"city\":"), ARGS(" \"Paris\"}"),
                    CALL_END, CALL("toolu_2", "time"), CALL_END, END(ANSWER_TOOL_CALLS)));
    assert_string_equal(
        out.data,
        MESSAGE("{\"type\":\"thinking\",\"thinking\":\"Look\\tup\",\"signature\":"
                "\"dHVyYmluZQ==\"},{\"type\":\"text\",\"text\":\"One moment\"},"
                "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"weather\","
                "\"input\":{\"city\": \"Paris\"}},{\"type\":\"tool_use\",\"id\":"
                "\"toolu_2\",\"name\":\"time\",\"input\":{}}",
                "tool_use", "null"));
    buf_release(&out);

    const struct answer_event stop = {
        .kind = ANSWER_END,
        .finish = ANSWER_STOP_STRING,
        .stop_string = "\n\"X",
        .usage = {.n_prompt = 25, .n_cached = 5, .n_decoded = 15, .n_reasoning = 4}};
    const struct answer_event events[] = {TEXT("a"), stop};
    assert_true(run_events(&anthropic_messages, DOCUMENT, events, 2, &out));
    assert_string_equal(out.data, MESSAGE("{\"type\":\"text\",\"text\":\"a\"}",
                                          "stop_sequence", "\"\\n\\\"X\""));
    buf_release(&out);
    assert_true(RUN(anthropic_messages, DOCUMENT, &out, END(ANSWER_STOP)));
    assert_string_equal(out.data, MESSAGE("", "end_turn", "null"));
    buf_release(&out);
}

static void test_errors(void **state)
{
    (void)state;
    static const struct {
        struct api_error e;
        int http;
        const char *type, *message;
    } cases[] = {
        {{.kind = API_ERROR_INVALID, .message = "bad \"x\""},
         400,
         "invalid_request_error",
         "bad \\\"x\\\""},
        {{.kind = API_ERROR_TOO_LONG, .n_prompt = 209601, .n_ctx = 200000},
         400,
         "invalid_request_error",
         "prompt is too long: 209601 tokens > 200000 maximum"},
        {{.kind = API_ERROR_UNAUTHORIZED, .message = "m"},
         401,
         "authentication_error",
         "m"},
        {{.kind = API_ERROR_FORBIDDEN, .message = "m"}, 403, "permission_error", "m"},
        {{.kind = API_ERROR_NO_MODEL, .message = "m"}, 404, "not_found_error", "m"},
        {{.kind = API_ERROR_NO_ROUTE, .message = "m"}, 404, "not_found_error", "m"},
        {{.kind = API_ERROR_METHOD, .message = "m"}, 405, "invalid_request_error", "m"},
        {{.kind = API_ERROR_TOO_LARGE, .message = "m"}, 413, "request_too_large", "m"},
        {{.kind = API_ERROR_UNSUPPORTED, .message = "m"},
         400,
         "invalid_request_error",
         "m"},
        {{.kind = API_ERROR_BUSY, .message = "m"}, 529, "overloaded_error", "m"},
        {{.kind = API_ERROR_DRAINING, .message = "m"}, 503, "overloaded_error", "m"},
        {{.kind = API_ERROR_CANCELLED, .message = "m"}, 499, "api_error", "m"},
        {{.kind = API_ERROR_INTERNAL, .message = "m"}, 500, "api_error", "m"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out;
        char expected[512];
        int http;
        buf_init(&out, 1000);
        snprintf(expected, sizeof expected,
                 "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"%s\"},"
                 "\"request_id\":\"req_1\"}",
                 cases[i].type, cases[i].message);
        dialect_anthropic.print_error(&out, &http, &cases[i].e, "req_1");
        assert_string_equal(out.data, expected);
        assert_int_equal(http, cases[i].http);
        buf_release(&out);
        /* In a stream that has begun. */
        const struct answer_event e = {.kind = ANSWER_ERROR, .error = &cases[i].e};
        assert_true(RUN(anthropic_messages, STREAM, &out, e));
        char event[2048];
        snprintf(event, sizeof event, START "event: error\ndata: %s\n\n", expected);
        assert_string_equal(out.data, event);
        buf_release(&out);
    }
}

static void test_short_of_memory(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "{\"system\": [{\"type\": \"text\", \"text\": \"s\"}], \"messages\": [" ASK
        ", " CALLS ", {\"role\": \"user\", \"content\": [{\"type\": \"tool_result\", "
        "\"tool_use_id\": \"toolu_1\", \"content\": [{\"type\": \"text\", \"text\": "
        "\"r\"}, {\"type\": \"tool_reference\", \"tool_name\": \"b\"}]}, {\"type\": "
        "\"document\", \"source\": {\"type\": \"content\", \"content\": \"d\"}}]}], "
        "\"tools\": [" TOOL("a", "") ", " TOOL(
            "b", DEFER) "], \"output_format\": "
                        "{\"type\": \"json_schema\", \"schema\": {}}}",
        "{\"messages\": [" ASK ", {\"role\": \"system\", \"content\": \"s\"}]}",
    };
    for (size_t i = 0; i < 4; i++) {
        const char *wrong =
            run_short_of_memory(&anthropic_messages, requests[i / 2], i % 2);
        if (wrong)
            fail_msg("%s: %s", requests[i / 2], wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes_are_equal),
        cmocka_unit_test(test_system_in_place),
        cmocka_unit_test(test_billing_line),
        cmocka_unit_test(test_tool_results_keep_their_order),
        cmocka_unit_test(test_images_of_tools),
        cmocka_unit_test(test_key_order_of_arguments),
        cmocka_unit_test(test_assistant_turns),
        cmocka_unit_test(test_documents_and_search_results),
        cmocka_unit_test(test_scalars),
        cmocka_unit_test(test_thinking),
        cmocka_unit_test(test_tools),
        cmocka_unit_test(test_tool_choice),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_count_is_lenient),
        cmocka_unit_test(test_stream),
        cmocka_unit_test(test_stream_of_calls),
        cmocka_unit_test(test_hidden_thinking),
        cmocka_unit_test(test_document),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
