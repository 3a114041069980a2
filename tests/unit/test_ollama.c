/* test_ollama.c - requests to canonical conversations, events to lines, lists of models.
 * What is expected was written by hand from Ollama's docs/api.md and api/types.go. */
#include <limits.h>
#include <math.h>
#include <stdio.h>

#include "dialect/ollama.h"
#include "dialect/ollama_keep_alive.h"
#include "dialect/ollama_models.h"
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

static void parse(const struct api_operation *op, struct api_request *r, const char *text)
{
    struct api_error err;
    if (!run_parse(op, r, text, &err))
        fail_msg("%s: %s", text, err.message);
}

static void assert_messages(const char *messages, const char *expected)
{
    struct api_request r;
    char text[4096];
    snprintf(text, sizeof text, "{\"messages\": %s}", messages);
    parse(&ollama_chat, &r, text);
    assert_json(r.messages, expected);
    api_request_release(&r);
}

static void test_messages(void **state)
{
    (void)state;
    assert_messages("[{\"role\": \"System\", \"content\": \"s\"}, {\"role\": \"USER\", "
                    "\"content\": \"u\", \"images\": []}, {\"role\": \"assistant\", "
                    "\"content\": \"a\", \"thinking\": \"t\", \"tool_calls\": null}]",
                    "[{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", "
                    "\"content\": \"u\"}, {\"role\": \"assistant\", \"content\": \"a\", "
                    "\"reasoning_content\": \"t\"}]");
    assert_messages("[{\"role\": \"user\"}, {\"role\": \"assistant\", \"content\": null, "
                    "\"thinking\": \"\"}]",
                    "[{\"role\": \"user\", \"content\": \"\"}, {\"role\": \"assistant\", "
                    "\"content\": \"\"}]");
}

#define CANONICAL_CALL(id, name, args)                                              \
    "{\"id\": \"" id "\", \"type\": \"function\", \"function\": {\"name\": \"" name \
    "\", \"arguments\": " args "}}"
#define CALLED                                                                      \
    "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [{\"function\": " \
    "{\"name\": \"f\", \"arguments\": {\"z\": 1, \"a\": 2}}}, {\"function\": "      \
    "{\"index\": 1, \"name\": \"g\"}}, {\"function\": {\"name\": \"f\", "           \
    "\"arguments\": {}}}]}"
#define CANONICAL_CALLED                                                                \
    "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [" CANONICAL_CALL(    \
        "call_0", "f",                                                                  \
        "{\"z\": 1, \"a\": 2}") ", " CANONICAL_CALL("call_1", "g",                      \
                                                    "{}") ", " CANONICAL_CALL("call_2", \
                                                                              "f",      \
                                                                              "{}") "]}"
#define RESULT(text, more) "{\"role\": \"tool\", \"content\": \"" text "\"" more "}"
#define CANONICAL_RESULT(text, id, name)                                      \
    "{\"role\": \"tool\", \"content\": \"" text "\", \"tool_call_id\": \"" id \
    "\", \"name\": \"" name "\"}"

static void test_results_find_their_calls(void **state)
{
    (void)state;
    /* In the order of the calls, where nothing says whose they are. */
    assert_messages(
        "[" CALLED ", " RESULT("x", "") ", " RESULT("y", "") ", " RESULT(
            "z", "") ", " RESULT("more", "") "]",
        "[" CANONICAL_CALLED
        ", " CANONICAL_RESULT("x", "call_0", "f") ", " CANONICAL_RESULT(
            "y", "call_1",
            "g") ", " CANONICAL_RESULT("z", "call_2",
                                       "f") ", " CANONICAL_RESULT("more", "", "") "]");
    /* By name, the first that has no result. */
    assert_messages(
        "[" CALLED ", " RESULT("y", ", \"tool_name\": \"g\"") ", " RESULT(
            "x",
            ", \"tool_name\": "
            "\"f\"") ", " RESULT("z", ", \"name\": \"f\"") ", " RESULT("w",
                                                                       ", \"tool_name\": "
                                                                       "\"h\"") "]",
        "[" CANONICAL_CALLED
        ", " CANONICAL_RESULT("y", "call_1", "g") ", " CANONICAL_RESULT(
            "x", "call_0",
            "f") ", " CANONICAL_RESULT("z", "call_2",
                                       "f") ", " CANONICAL_RESULT("w", "", "h") "]");
    /* By id. */
    assert_messages(
        "[{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"one\", "
        "\"function\": {\"name\": \"f\", \"arguments\": {}}}, {\"id\": "
        "\"two\", \"function\": {\"name\": \"g\", \"arguments\": {}}}]}, " RESULT(
            "x", ", \"tool_call_id\": \"two\"") "]",
        "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": [" CANONICAL_CALL(
            "one", "f",
            "{}") ", " CANONICAL_CALL("two", "g",
                                      "{}") "]}, " CANONICAL_RESULT("x", "two", "g") "]");
    /* Ids that were made up go on counting. */
    assert_messages("[{\"role\": \"assistant\", \"tool_calls\": [{\"function\": "
                    "{\"name\": \"f\"}}]}, " RESULT(
                        "x", "") ", {\"role\": "
                                 "\"assistant\", \"tool_calls\": [{\"function\": "
                                 "{\"name\": \"f\"}}]}, " RESULT("y", "") "]",
                    "[{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": "
                    "[" CANONICAL_CALL("call_0", "f", "{}") "]}, " CANONICAL_RESULT(
                        "x", "call_0",
                        "f") ", {\"role\": \"assistant\", "
                             "\"content\": \"\", \"tool_calls\": [" CANONICAL_CALL(
                                 "call_1", "f",
                                 "{}") "]}, " CANONICAL_RESULT("y", "call_1", "f") "]");
}

static void test_chat_fields(void **state)
{
    (void)state;
    struct api_request r;
    parse(&ollama_chat, &r,
          "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"u\"}], "
          "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", "
          "\"description\": \"d\", \"parameters\": {\"type\": \"object\"}}}], "
          "\"stream\": false, \"format\": {\"type\": \"string\"}, \"think\": \"max\", "
          "\"truncate\": false, \"shift\": false, \"logprobs\": true, \"top_logprobs\": "
          "3, \"keep_alive\": \"10m\", \"options\": {\"num_ctx\": 8192, \"num_predict\": "
          "64, \"num_keep\": 4, \"seed\": 42, \"temperature\": 0.5, \"top_k\": 20, "
          "\"top_p\": 0.75, \"min_p\": 0.125, \"typical_p\": 0.5, \"repeat_last_n\": 33, "
          "\"repeat_penalty\": 1.5, \"presence_penalty\": 0.5, \"frequency_penalty\": "
          "0.25, \"stop\": [\"a\", \"b\"], \"num_thread\": 8, \"mirostat\": 2, "
          "\"whatever\": {}}}");
    assert_int_equal(r.task, API_CHAT);
    assert_string_equal(r.model, "m");
    assert_false(r.stream || r.truncate);
    assert_json(r.tools,
                "[{\"type\": \"function\", \"function\": {\"name\": \"f\", "
                "\"description\": \"d\", \"parameters\": {\"type\": \"object\"}}}]");
    assert_int_equal(r.format, API_FORMAT_SCHEMA);
    assert_json(r.schema, "{\"type\": \"string\"}");
    assert_int_equal(r.think, API_THINK_ON);
    assert_string_equal(r.think_effort, "max");
    assert_int_equal(r.n_logprobs, 3);
    assert_string_equal(r.keep_alive, "\"10m\"");
    assert_int_equal(r.n_ctx, 8192);
    assert_int_equal(r.max_tokens, 64);
    assert_true(r.sampling.has_seed && r.sampling.seed == 42);
    assert_true(r.sampling.temperature == 0.5f && r.sampling.top_p == 0.75f &&
                r.sampling.min_p == 0.125f && r.sampling.typical_p == 0.5f &&
                r.sampling.repeat_penalty == 1.5f &&
                r.sampling.presence_penalty == 0.5f &&
                r.sampling.frequency_penalty == 0.25f);
    assert_int_equal(r.sampling.top_k, 20);
    assert_int_equal(r.sampling.repeat_last_n, 33);
    assert_int_equal(r.n_stop, 2);
    assert_string_equal(r.stop[1], "b");
    api_request_release(&r);
}

static void test_defaults(void **state)
{
    (void)state;
    struct api_request r;
    parse(&ollama_chat, &r, "{}");
    assert_true(r.stream && !r.truncate);
    assert_true(ollama_loads_only(&r));
    assert_int_equal(r.think, API_THINK_DEFAULT);
    assert_int_equal(r.format, API_FORMAT_TEXT);
    assert_int_equal(r.max_tokens, -1);
    assert_false(r.unlimited);
    assert_null(r.kv_type);
    assert_int_equal(r.kv_tail, -1);
    assert_int_equal(r.n_logprobs, -1);
    assert_int_equal(r.sampling.top_k, -1);
    assert_true(isnan(r.sampling.temperature));
    assert_false(r.sampling.has_seed);
    assert_null(r.keep_alive);
    api_request_release(&r);

    /* What Ollama's values of old mean. */
    parse(&ollama_chat, &r,
          "{\"think\": false, \"format\": \"\", \"options\": {\"num_predict\": -2, "
          "\"seed\": -1, \"top_k\": -1, \"repeat_last_n\": -1, \"temperature\": null, "
          "\"num_ctx\": 4096.0}, \"keep_alive\": -1}");
    assert_int_equal(r.think, API_THINK_OFF);
    assert_int_equal(r.max_tokens, -1);
    assert_true(r.unlimited);
    assert_false(r.sampling.has_seed);
    assert_int_equal(r.sampling.top_k, 0);
    assert_int_equal(r.sampling.repeat_last_n, INT_MAX);
    assert_int_equal(r.n_ctx, 4096);
    assert_string_equal(r.keep_alive, "-1");
    api_request_release(&r);
}

static void test_generate(void **state)
{
    (void)state;
    struct api_request r;
    parse(&ollama_generate, &r,
          "{\"prompt\": \"why\", \"system\": \"s\", \"format\": \"json\", \"think\": "
          "true, \"template\": \"\", \"context\": [1, 2], \"images\": []}");
    assert_int_equal(r.task, API_COMPLETION);
    assert_json(r.prompts, "[\"why\"]");
    assert_string_equal(r.system, "s");
    assert_int_equal(r.format, API_FORMAT_JSON);
    assert_int_equal(r.think, API_THINK_ON);
    assert_null(r.think_effort);
    assert_true(r.stream && !r.raw && !r.suffix && !ollama_loads_only(&r));
    api_request_release(&r);

    parse(&ollama_generate, &r, "{\"prompt\": \"a\", \"raw\": true, \"suffix\": \"b\"}");
    assert_int_equal(r.task, API_COMPLETION);
    assert_true(r.raw && !r.suffix);
    api_request_release(&r);

    parse(&ollama_generate, &r, "{\"prompt\": \"a\", \"suffix\": \"b\"}");
    assert_int_equal(r.task, API_INFILL);
    assert_json(r.prompts, "[\"a\", \"\"]");
    assert_string_equal(r.suffix, "b");
    api_request_release(&r);

    parse(&ollama_generate, &r, "{\"suffix\": \"b\"}");
    assert_int_equal(r.task, API_INFILL);
    assert_json(r.prompts, "[\"\", \"\"]");
    api_request_release(&r);

    parse(&ollama_generate, &r, "{\"prompt\": \"\", \"suffix\": \"\"}");
    assert_true(ollama_loads_only(&r));
    api_request_release(&r);
}

static void test_embed(void **state)
{
    (void)state;
    struct api_request r;
    parse(&ollama_embed, &r, "{\"input\": [\"a\", \"\"], \"dimensions\": 64}");
    assert_int_equal(r.task, API_EMBED);
    assert_json(r.prompts, "[\"a\", \"\"]");
    assert_int_equal(r.dimensions, 64);
    assert_false(r.truncate || r.stream);
    api_request_release(&r);
    parse(&ollama_embed, &r, "{\"input\": \"a\", \"truncate\": true}");
    assert_json(r.prompts, "[\"a\"]");
    assert_true(r.truncate);
    const float x[] = {0.6f, -0.8f, 1, 0};
    const struct api_embeddings e = {
        .vectors = x, .n = 2, .n_embd = 2, .n_prompt = 7, .total_us = 5, .load_us = 1};
    struct buf out;
    buf_init(&out, 1000);
    ollama_embed.print_embeddings(&out, &r, &run_head, &e);
    assert_string_equal(out.data,
                        "{\"model\":\"tiny\",\"embeddings\":[[0.600000024,-0.800000012],"
                        "[1,0]],\"total_duration\":5000,\"load_duration\":1000,"
                        "\"prompt_eval_count\":7}");
    buf_clear(&out);
    ollama_embeddings.print_embeddings(&out, &r, &run_head, &e);
    assert_string_equal(out.data, "{\"embedding\":[0.600000024,-0.800000012]}");
    api_request_release(&r);

    parse(&ollama_embed, &r, "{\"input\": \"\"}");
    assert_true(ollama_loads_only(&r));
    buf_clear(&out);
    ollama_embed.print_embeddings(&out, &r, &run_head, &(struct api_embeddings){0});
    assert_non_null(strstr(out.data, "\"embeddings\":[],"));
    api_request_release(&r);
    parse(&ollama_embeddings, &r, "{\"prompt\": \"a\"}");
    assert_json(r.prompts, "[\"a\"]");
    buf_clear(&out);
    ollama_embeddings.print_embeddings(&out, &r, &run_head, &(struct api_embeddings){0});
    assert_string_equal(out.data, "{\"embedding\":[]}");
    api_request_release(&r);
    buf_release(&out);
}

static void test_refused_requests(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        const char *text;
        enum api_error_kind kind;
        const char *param, *words;
    } cases[] = {
        {&ollama_chat, "{\"options\": {\"num_ctx\": \"4096\"}}", API_ERROR_INVALID,
         "options.num_ctx", "option \"num_ctx\" must be of type integer"},
        {&ollama_chat, "{\"options\": {\"seed\": true}}", API_ERROR_INVALID,
         "options.seed", "option \"seed\" must be of type integer"},
        {&ollama_chat, "{\"options\": {\"temperature\": \"hot\"}}", API_ERROR_INVALID,
         "options.temperature", "option \"temperature\" must be of type float32"},
        {&ollama_chat, "{\"options\": {\"stop\": 5}}", API_ERROR_INVALID, "options.stop",
         "option \"stop\" must be of type array"},
        {&ollama_chat, "{\"options\": {\"stop\": [5]}}", API_ERROR_INVALID,
         "options.stop", "strings"},
        {&ollama_chat, "{\"options\": {\"top_k\": 40.5}}", API_ERROR_INVALID,
         "options.top_k", "an integer"},
        {&ollama_chat, "{\"options\": {\"top_p\": 1.5}}", API_ERROR_INVALID,
         "options.top_p", "from 0 to 1"},
        {&ollama_chat, "{\"options\": {\"repeat_penalty\": 0}}", API_ERROR_INVALID,
         "options.repeat_penalty", "from 0.1"},
        {&ollama_chat, "{\"options\": []}", API_ERROR_INVALID, "options", "an object"},
        {&ollama_chat, "{\"think\": \"hard\"}", API_ERROR_INVALID, "think",
         "invalid think value: \"hard\" (must be \"high\", \"medium\", \"low\", \"max\", "
         "true, or false)"},
        {&ollama_chat, "{\"format\": \"xml\"}", API_ERROR_INVALID, "format",
         "expected \"json\" or a JSON schema"},
        {&ollama_chat, "{\"keep_alive\": true}", API_ERROR_INVALID, "keep_alive",
         "seconds"},
        {&ollama_chat, "{\"keep_alive\": \"5\"}", API_ERROR_INVALID, "keep_alive",
         "duration"},
        {&ollama_chat, "{\"stream\": \"no\"}", API_ERROR_INVALID, "stream",
         "true or false"},
        {&ollama_chat, "{\"top_logprobs\": 21}", API_ERROR_INVALID, "top_logprobs",
         "from 0 to 20"},
        {&ollama_chat, "{\"messages\": {}}", API_ERROR_INVALID, "messages", "an array"},
        {&ollama_chat, "{\"messages\": [\"hi\"]}", API_ERROR_INVALID, "messages[0]",
         "an object"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"users\"}]}", API_ERROR_INVALID,
         "messages[0].role", "system, user, assistant or tool"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"use\"}]}", API_ERROR_INVALID,
         "messages[0].role", "system, user, assistant or tool"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"user\", \"content\": 5}]}",
         API_ERROR_INVALID, "messages[0].content", "a string"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"user\", \"images\": [\"x\"]}]}",
         API_ERROR_UNSUPPORTED, "messages[0].images", "images"},
        {&ollama_chat,
         "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"function\": "
         "{\"name\": \"f\", \"arguments\": \"{}\"}}]}]}",
         API_ERROR_INVALID, "messages[0].tool_calls[0].function.arguments", "an object"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [5]}]}",
         API_ERROR_INVALID, "messages[0].tool_calls[0].function", "missing"},
        {&ollama_chat, "{\"messages\": [{\"role\": \"assistant\", \"thinking\": 5}]}",
         API_ERROR_INVALID, "messages[0].thinking", "a string"},
        {&ollama_chat, "{\"tools\": [{\"type\": \"function\"}]}", API_ERROR_INVALID,
         "tools[0].function", "missing"},
        {&ollama_chat, "{\"tools\": [{\"function\": {\"name\": \"\"}}]}",
         API_ERROR_INVALID, "tools[0].function.name", "letters"},
        {&ollama_generate, "{\"prompt\": [\"a\"]}", API_ERROR_INVALID, "prompt",
         "a string"},
        {&ollama_generate, "{\"template\": \"{{ .Prompt }}\"}", API_ERROR_UNSUPPORTED,
         "template", "raw prompts"},
        {&ollama_generate, "{\"images\": [\"x\"]}", API_ERROR_UNSUPPORTED, "images",
         "text only"},
        {&ollama_generate, "{\"prompt\": \"a\", \"raw\": true, \"system\": \"s\"}",
         API_ERROR_INVALID, "system", "raw mode does not support"},
        {&ollama_embed, "{\"input\": 5}", API_ERROR_INVALID, "input", "a string"},
        {&ollama_embed, "{\"input\": [[1]]}", API_ERROR_INVALID, "input[0]", "a string"},
        {&ollama_embeddings, "{\"prompt\": 5}", API_ERROR_INVALID, "prompt", "a string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_request r;
        struct api_error err;
        if (run_parse(cases[i].op, &r, cases[i].text, &err))
            fail_msg("%s is accepted", cases[i].text);
        api_request_release(&r);
        if (err.kind != cases[i].kind || strcmp(err.param, cases[i].param) != 0 ||
            !strstr(err.message, cases[i].words))
            fail_msg("%s: kind %d, param '%s': %s", cases[i].text, (int)err.kind,
                     err.param, err.message);
    }
}

#define AT "\"model\":\"tiny\",\"created_at\":\"2023-11-14T22:13:20.123456Z\","
#define CHAT "{\"messages\": [{\"role\": \"user\", \"content\": \"u\"}]}"
#define WHOLE \
    "{\"stream\": false, \"messages\": [{\"role\": \"user\", \"content\": \"u\"}]}"
#define LINE(message) \
    "{" AT "\"message\":{\"role\":\"assistant\"," message "},\"done\":false}\n"
#define DURATIONS                                                                 \
    "\"total_duration\":6000000,\"load_duration\":1000000,\"prompt_eval_count\":" \
    "25,\"prompt_eval_duration\":2000000,\"eval_count\":15,\"eval_duration\":3000000}"
#define LAST(message, reason)                             \
    "{" AT "\"message\":{\"role\":\"assistant\"," message \
    "},\"done\":true,\"done_reason\":\"" reason "\"," DURATIONS

static void test_chat_stream(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(ollama_chat, CHAT, &out, PING, REASONING("Hm\n"), TEXT("Sky"),
                    TEXT(""), TEXT(" \"blue\""), END(ANSWER_STOP)));
    assert_string_equal(
        out.data, LINE("\"content\":\"\"") LINE("\"content\":\"\",\"thinking\":\"Hm\\n\"")
                      LINE("\"content\":\"Sky\"") LINE("\"content\":\" \\\"blue\\\"\"")
                          LAST("\"content\":\"\"", "stop") "\n");
    buf_release(&out);
}

#define SENT(id, i, name, args)                                         \
    "{\"id\":\"" id "\",\"function\":{\"index\":" i ",\"name\":\"" name \
    "\",\"arguments\":" args "}}"

static void test_calls_come_whole(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(ollama_chat, CHAT, &out, CALL("c1", "f"), ARGS("{\"z\":\n"), PING,
                    ARGS(" 1.0, \"a\": \"\\n\"}"), CALL_END, CALL("c2", "g"), CALL_END,
                    END(ANSWER_TOOL_CALLS)));
    assert_string_equal(
        out.data,
        LINE("\"content\":\"\"") LINE("\"content\":\"\",\"tool_calls\":[" SENT(
            "c1", "0", "f", "{\"z\":  1.0, \"a\": \"\\n\"}") "]")
            LINE("\"content\":\"\",\"tool_calls\":[" SENT("c2", "1", "g", "{}") "]")
                LAST("\"content\":\"\"", "stop") "\n");
    buf_release(&out);
    assert_true(RUN(ollama_chat, WHOLE, &out, PING, REASONING("t"), TEXT("a"), TEXT("b"),
                    CALL("c1", "f"), ARGS("{}"), CALL_END, CALL("c2", "g"), CALL_END,
                    END(ANSWER_TOOL_CALLS)));
    assert_string_equal(
        out.data, LAST("\"content\":\"ab\",\"thinking\":\"t\",\"tool_calls\":[" SENT(
                           "c1", "0", "f", "{}") "," SENT("c2", "1", "g", "{}") "]",
                       "stop"));
    buf_release(&out);
}

static void test_generate_answers(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(ollama_generate, "{\"prompt\": \"a\"}", &out, REASONING("t"),
                    TEXT("b"), END(ANSWER_LENGTH)));
    assert_string_equal(out.data,
                        "{" AT "\"response\":\"\",\"thinking\":\"t\",\"done\":false}\n"
                        "{" AT "\"response\":\"b\",\"done\":false}\n"
                        "{" AT "\"response\":\"\",\"done\":true,\"done_reason\":"
                        "\"length\"," DURATIONS "\n");
    buf_release(&out);
    assert_true(RUN(ollama_generate, "{\"prompt\": \"a\", \"stream\": false}", &out,
                    TEXT("b"), TEXT("c"), END(ANSWER_STOP_STRING)));
    assert_string_equal(out.data, "{" AT "\"response\":\"bc\",\"done\":true,"
                                  "\"done_reason\":\"stop\"," DURATIONS);
    buf_release(&out);
}

static void test_load_and_unload(void **state)
{
    (void)state;
    struct buf out;
    assert_true(RUN(ollama_generate, "{\"model\": \"m\"}", &out, END(ANSWER_STOP)));
    assert_string_equal(out.data, "{" AT "\"response\":\"\",\"done\":true,"
                                  "\"done_reason\":\"load\"}\n");
    buf_release(&out);
    assert_true(RUN(ollama_chat,
                    "{\"messages\": [], \"keep_alive\": \"0s\", "
                    "\"stream\": false}",
                    &out, END(ANSWER_STOP)));
    assert_string_equal(out.data,
                        "{" AT "\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
                        "\"done\":true,\"done_reason\":\"unload\"}");
    buf_release(&out);
    assert_true(RUN(ollama_generate, "{\"keep_alive\": \"5m\"}", &out, END(ANSWER_STOP)));
    assert_non_null(strstr(out.data, "\"done_reason\":\"load\""));
    buf_release(&out);
}

static void test_logprobs(void **state)
{
    (void)state;
    const struct answer_token top[] = {
        {.id = 1, .logprob = -0.5f, .text = "a", .n = 1},
        {.id = 2, .logprob = -INFINITY, .text = "\xe2\x82", .n = 2}};
    const struct answer_event lp = {
        .kind = ANSWER_LOGPROB, .token = top[0], .top = top, .n_top = 2};
    const struct answer_event plain = {.kind = ANSWER_LOGPROB, .token = top[1]};
    struct buf out;
#define TOKEN_A "{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97]"
#define TOKEN_B "{\"token\":\"\xef\xbf\xbd\",\"logprob\":-9999,\"bytes\":[226,130]"
#define TOP TOKEN_A ",\"top_logprobs\":[" TOKEN_A "}," TOKEN_B "}]}"
    assert_true(RUN(ollama_chat, CHAT, &out, lp, plain, TEXT("a"), lp, END(ANSWER_STOP)));
    assert_string_equal(out.data,
                        "{" AT "\"message\":{\"role\":\"assistant\",\"content\":\"a\"},"
                        "\"done\":false,\"logprobs\":[" TOP "," TOKEN_B "}]}\n"
                        "{" AT "\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
                        "\"done\":true,\"done_reason\":\"stop\",\"logprobs\":[" TOP
                        "]," DURATIONS "\n");
    buf_release(&out);
}

static void test_error_bodies(void **state)
{
    (void)state;
    static const struct {
        struct api_error e;
        int http;
        const char *body;
    } cases[] = {
        {{.kind = API_ERROR_NO_MODEL, .message = "model \"x\" not found"},
         404,
         "{\"error\":\"model \\\"x\\\" not found\"}"},
        {{.kind = API_ERROR_INVALID, .message = "m"}, 400, "{\"error\":\"m\"}"},
        {{.kind = API_ERROR_BUSY, .message = "m"},
         503,
         "{\"error\":\"server busy, please try again.  maximum pending requests "
         "exceeded\"}"},
        {{.kind = API_ERROR_TOO_LONG, .n_prompt = 9, .n_ctx = 8},
         400,
         "{\"error\":\"the input length exceeds the context length: 9 tokens > 8 "
         "maximum\"}"},
        {{.kind = API_ERROR_CANCELLED, .message = "m"}, 499, "{\"error\":\"m\"}"},
        {{.kind = API_ERROR_INTERNAL, .message = "m"}, 500, "{\"error\":\"m\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out;
        int http;
        buf_init(&out, 1000);
        dialect_ollama.print_error(&out, &http, &cases[i].e, "req_1");
        assert_string_equal(out.data, cases[i].body);
        assert_int_equal(http, cases[i].http);
        buf_release(&out);
        const struct answer_event e = {.kind = ANSWER_ERROR, .error = &cases[i].e};
        assert_true(RUN(ollama_chat, CHAT, &out, TEXT("a"), e));
        char expected[512];
        snprintf(expected, sizeof expected, LINE("\"content\":\"a\"") "%s\n",
                 cases[i].body);
        assert_string_equal(out.data, expected);
        buf_release(&out);
    }
}

static void test_keep_alive(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int64_t us; // -1: refused
    } cases[] = {
        {"0", 0},
        {"300", 300000000},
        {"0.5", 500000},
        {"-1", OLLAMA_KEEP_FOREVER},
        {"1e300", OLLAMA_KEEP_FOREVER},
        {"\"5m\"", 300000000},
        {"\"24h\"", 86400000000},
        {"\"1h30m\"", 5400000000},
        {"\"1.5s\"", 1500000},
        {"\".5s\"", 500000},
        {"\"5.s\"", 5000000},
        {"\"+20ms\"", 20000},
        {"\"7us\"", 7},
        {"\"7\xc2\xb5s\"", 7},
        {"\"7\xce\xbcs\"", 7},
        {"\"3000ns\"", 3},
        {"\"0\"", 0},
        {"\"-1s\"", OLLAMA_KEEP_FOREVER},
        {"\"-1\"", -1},
        {"\"300\"", -1},
        {"\"\"", -1},
        {"\"m\"", -1},
        {"\".s\"", -1},
        {"\"5 m\"", -1},
        {"\"5m \"", -1},
        {"\"5d\"", -1},
        {"\"--5m\"", -1},
        {"true", -1},
        {"[]", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t us = 12345;
        const bool ok = ollama_keep_alive_text(cases[i].json, &us);
        if (ok != (cases[i].us >= 0) || (ok && us != cases[i].us))
            fail_msg("%s: %d, %lld", cases[i].json, ok, (long long)us);
    }
}

static void test_lists_of_models(void **state)
{
    (void)state;
    static const char *const can[] = {"completion", "tools"};
    json_t *info = json_loads("{\"general.architecture\": \"qwen3\", "
                              "\"qwen3.context_length\": 40960}",
                              0, NULL);
    struct ollama_model m = {
        .name = "qwen3:0.6b",
        .digest = "7df6",
        .size = 522653767,
        .modified_us = 1700000000123456,
        .format = "gguf",
        .family = "qwen3",
        .parameter_size = "751.63M",
        .quantization = "Q4_K_M",
        .context_length = 40960,
        .embedding_length = 1024,
        .capabilities = can,
        .n_capability = 2,
        .template = "{{ x }}",
        .model_info = info,
    };
    struct buf out, parameters;
    buf_init(&out, 4000);
    buf_init(&parameters, 1000);
#define DETAILS                                                                       \
    "\"details\":{\"parent_model\":\"\",\"format\":\"gguf\",\"family\":\"qwen3\","    \
    "\"families\":[\"qwen3\"],\"parameter_size\":\"751.63M\",\"quantization_level\":" \
    "\"Q4_K_M\",\"context_length\":40960,\"embedding_length\":1024}"
#define CAN "\"capabilities\":[\"completion\",\"tools\"]"
    ollama_print_tags(&out, &m, 1);
    assert_string_equal(out.data,
                        "{\"models\":[{\"name\":\"qwen3:0.6b\",\"model\":\"qwen3:0.6b\","
                        "\"size\":522653767,\"digest\":\"7df6\"," DETAILS
                        ",\"modified_at\":\"2023-11-14T22:13:20.123456Z\"," CAN "}]}");
    buf_clear(&out);
    m.modified_us = -1;
    ollama_print_tags(&out, &m, 1);
    assert_non_null(strstr(out.data, "\"1969-12-31T23:59:59.999999Z\""));
    m.modified_us = 1700000000123456;
    buf_clear(&out);
    ollama_print_tags(&out, NULL, 0);
    assert_string_equal(out.data, "{\"models\":[]}");

    buf_clear(&out);
    const struct ollama_running run = {.model = &m,
                                       .size = 700,
                                       .size_vram = 0,
                                       .expires_us = INT64_MAX,
                                       .n_ctx = 8192,
                                       .kv = {"turbo4", "turbo3", 10, 20, 30, 4, 50}};
    ollama_print_ps(&out, &run, 1);
    assert_string_equal(out.data,
                        "{\"models\":[{\"name\":\"qwen3:0.6b\",\"model\":\"qwen3:0.6b\","
                        "\"size\":700,\"digest\":\"7df6\"," DETAILS
                        ",\"expires_at\":\"9999-12-31T23:59:59Z\",\"size_vram\":0,"
                        "\"context_length\":8192,\"kv\":{\"type_k\":\"turbo4\","
                        "\"type_v\":\"turbo3\",\"bytes\":10,\"bytes_reserved\":20,"
                        "\"bytes_f16\":30,\"tokens_used\":4,\"tokens_max\":50}}]}");

    ollama_print_parameter(&parameters, "num_ctx", "4096");
    ollama_print_parameter(&parameters, "stop", "\"<|im_end|>\"");
    m.parameters = parameters.data;
    buf_clear(&out);
    ollama_print_show(&out, &m);
    assert_string_equal(
        out.data, "{\"modified_at\":\"2023-11-14T22:13:20.123456Z\",\"parameters\":\""
                  "num_ctx                        4096\\n"
                  "stop                           \\\"<|im_end|>\\\"\",\"template\":\"{{ "
                  "x }}\"," DETAILS ",\"model_info\":{\"general.architecture\":\"qwen3\","
                  "\"qwen3.context_length\":40960}," CAN "}");
    m.model_info = NULL;
    buf_clear(&out);
    ollama_print_show(&out, &m);
    assert_non_null(strstr(out.data, "\"model_info\":{},"));
    buf_clear(&out);
    ollama_print_version(&out, "0.33.0", "0.1.0");
    assert_string_equal(out.data, "{\"version\":\"0.33.0\",\"turbine\":\"0.1.0\"}");
    buf_release(&out);
    buf_release(&parameters);
    json_decref(info);
}

static void test_short_of_memory(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        const char *request;
    } cases[] = {
        {&ollama_chat,
         "{\"messages\": [" CALLED
         ", " RESULT("x", "") ", {\"role\": "
                              "\"assistant\", \"thinking\": \"t\"}], \"tools\": "
                              "[{\"function\": {\"name\": \"f\"}}], \"format\": {}, "
                              "\"keep_alive\": \"5m\"}"},
        {&ollama_generate, "{\"prompt\": \"a\", \"suffix\": \"b\"}"},
        {&ollama_embed, "{\"input\": [\"a\", \"b\"]}"},
        {&ollama_embeddings, "{\"prompt\": \"a\"}"},
    };
    for (size_t i = 0; i < 2 * (sizeof cases / sizeof *cases); i++) {
        const char *wrong =
            run_short_of_memory(cases[i / 2].op, cases[i / 2].request, i % 2);
        if (wrong)
            fail_msg("%s: %s", cases[i / 2].request, wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_results_find_their_calls),
        cmocka_unit_test(test_chat_fields),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_generate),
        cmocka_unit_test(test_embed),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_chat_stream),
        cmocka_unit_test(test_calls_come_whole),
        cmocka_unit_test(test_generate_answers),
        cmocka_unit_test(test_load_and_unload),
        cmocka_unit_test(test_logprobs),
        cmocka_unit_test(test_error_bodies),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_lists_of_models),
        cmocka_unit_test(test_short_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
