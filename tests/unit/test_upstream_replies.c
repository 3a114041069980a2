/* Replies of backends that are odd, broken or too large: each is an answer or one error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "route_run.h"

#include <cmocka.h>

#define CHUNK(delta) "data: {\"choices\":[{\"index\":0,\"delta\":" delta "}]}\n\n"
#define FINISH(why)                                                                  \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}" \
    "\n\n"
#define DONE "data: [DONE]\n\n"
#define CALL(index, id, name, args)                                 \
    CHUNK("{\"tool_calls\":[{\"index\":" index ",\"id\":\"" id      \
          "\",\"type\":\"function\",\"function\":{\"name\":\"" name \
          "\",\"arguments\":\"" args "\"}}]}")
#define ARGS(index, args)                                                             \
    CHUNK("{\"tool_calls\":[{\"index\":" index ",\"function\":{\"arguments\":\"" args \
          "\"}}]}")

static struct api_request request = {
    .n = 1, .parallel_tool_calls = true, .n_logprobs = -1};

static struct route_answer answer;

static enum upstream_state read_as(enum upstream_kind kind, bool stream, const char *s,
                                   size_t n)
{
    const struct upstream_reader_setup setup = {.upstream = &upstreams[kind],
                                                .request = &request,
                                                .stream = stream,
                                                .id = "abc",
                                                .sink = route_take,
                                                .ctx = &answer};
    route_release(&answer);
    route_begin(&answer, NULL, &request);
    const enum upstream_state state = route_feed(&setup, s, n, n / 2, 0);
    assert_false(answer.disorder);
    assert_int_equal(answer.n_error, state == UPSTREAM_FAILED);
    if (state == UPSTREAM_FAILED) {
        assert_int_equal(answer.n_end, 0);
        assert_true(*answer.error.message);
    }
    return state;
}

static void succeeds(enum upstream_kind kind, const char *s)
{
    if (read_as(kind, true, s, strlen(s)) != UPSTREAM_DONE)
        fail_msg("%s: %s", s, answer.error.message);
}

static void fails_with(enum upstream_kind kind, const char *s, enum api_error_kind error,
                       const char *words)
{
    if (read_as(kind, true, s, strlen(s)) != UPSTREAM_FAILED)
        fail_msg("no error: %s", s);
    if (!strstr(answer.error.message, words))
        fail_msg("'%s' is not in '%s'", words, answer.error.message);
    assert_int_equal(answer.error.kind, error);
}

static const char *text_of(const struct buf *b)
{
    return b->data ? b->data : "";
}

static void test_interleaved_calls(void **state)
{
    (void)state;
    succeeds(UPSTREAM_OPENAI,
             CALL("0", "a", "f", "{\\\"x\\\":") CALL("1", "b", "g", "{") ARGS("0", "1}")
                 ARGS("1", "}") FINISH("tool_calls") DONE);
    assert_int_equal(answer.n_call, 2);
    assert_string_equal(answer.calls[0].id, "a");
    assert_string_equal(answer.calls[0].args.data, "{\"x\":1}");
    assert_string_equal(answer.calls[1].name, "g");
    assert_string_equal(answer.calls[1].args.data, "{}");
    assert_int_equal(answer.finish, ANSWER_TOOL_CALLS);
    succeeds(UPSTREAM_OPENAI, // announced first, filled later
             CALL("0", "a", "f", "") CALL("1", "b", "g", "") ARGS("0", "{\\\"x\\\":1}")
                 ARGS("1", "{}") FINISH("tool_calls") DONE);
    assert_string_equal(answer.calls[0].args.data, "{\"x\":1}");
    assert_string_equal(answer.calls[1].args.data, "{}");
    succeeds(UPSTREAM_OPENAI, CALL("0", "a", "f", "") CHUNK("{\"content\":\"x\"}")
                                  ARGS("0", "{}") FINISH("stop") DONE);
    assert_string_equal(text_of(&answer.text), "x");
    assert_string_equal(answer.calls[0].args.data, "{}");
}

/* Equal indices with other ids, no index at all, an id that is said again. */
static void test_call_names(void **state)
{
    (void)state;
    succeeds(UPSTREAM_OPENAI,
             CALL("0", "a", "f", "{}") CALL("0", "b", "f", "{}") FINISH("stop") DONE);
    assert_int_equal(answer.n_call, 2);
    assert_int_equal(answer.finish, ANSWER_TOOL_CALLS);
    succeeds(UPSTREAM_OPENAI,
             CHUNK("{\"tool_calls\":[{\"id\":\"a\",\"function\":{\"name\":\"f\","
                   "\"arguments\":\"{}\"}},{\"id\":\"b\",\"function\":{\"name\":\"g\","
                   "\"arguments\":{\"y\":2}}}]}") FINISH("tool_calls") DONE);
    assert_int_equal(answer.n_call, 2);
    assert_string_equal(answer.calls[1].args.data, "{\"y\":2}");
    succeeds(UPSTREAM_OPENAI, CALL("0", "a", "f", "{\\\"x\\\":") CALL("0", "a", "f", "1}")
                                  FINISH("tool_calls") DONE);
    assert_int_equal(answer.n_call, 1);
    assert_string_equal(answer.calls[0].args.data, "{\"x\":1}");
}

/* An id that another call has, here or in the request, is replaced. */
static void test_unique_ids(void **state)
{
    (void)state;
    request.messages =
        json_loads("[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":"
                   "\"old\",\"function\":{}}]}]",
                   0, NULL);
    succeeds(UPSTREAM_OPENAI, CALL("0", "old", "f", "{}") CALL("1", "new", "f", "{}")
                                  CALL("2", "new", "f", "{}") FINISH("tool_calls") DONE);
    json_decref(request.messages);
    request.messages = NULL;
    assert_int_equal(answer.n_call, 3);
    assert_string_equal(answer.calls[0].id, "call_abc_0");
    assert_string_equal(answer.calls[1].id, "new");
    assert_string_not_equal(answer.calls[2].id, "new");
    assert_string_not_equal(answer.calls[2].id, answer.calls[0].id);
}

static void test_one_call_only(void **state)
{
    (void)state;
    request.parallel_tool_calls = false;
    succeeds(
        UPSTREAM_OLLAMA,
        "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
        "\"arguments\":{}}},{\"function\":{\"name\":\"g\",\"arguments\":{}}}]},"
        "\"done\":false}\n{\"done\":true}\n");
    request.parallel_tool_calls = true;
    assert_int_equal(answer.n_call, 1);
    assert_string_equal(answer.calls[0].name, "f");
}

static void test_arguments(void **state)
{
    (void)state;
    static const char *const bad[] = {"{",   "[1]",  "\\\"x\\\"", "{\\\"a\\\":}",
                                      "{}}", "{} x", "nul",       "7"};
    char stream[1024];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(stream, sizeof stream,
                 CALL("0", "a", "f", "%s") FINISH("tool_calls") DONE, bad[i]);
        fails_with(UPSTREAM_OPENAI, stream, API_ERROR_BACKEND, "arguments");
    }
    /* The limit of the answer came within them. */
    fails_with(UPSTREAM_OPENAI, CALL("0", "a", "f", "{\\\"x\\\":") FINISH("length") DONE,
               API_ERROR_BACKEND, "call of 'f'");
    succeeds(UPSTREAM_OPENAI, CALL("0", "a", "f", "null") FINISH("tool_calls") DONE);
    assert_string_equal(answer.calls[0].args.data, "{}"); // clients read them as JSON
    succeeds(UPSTREAM_OPENAI, CALL("0", "a", "f", "") FINISH("tool_calls") DONE);
    assert_string_equal(answer.calls[0].args.data, "{}");
    assert_true(answer.calls[0].ended);
}

static void test_text_between_calls(void **state)
{
    (void)state;
    succeeds(UPSTREAM_OPENAI,
             CALL("0", "a", "f", "{}") CHUNK("{\"content\":\"x\"}") FINISH("stop") DONE);
    assert_string_equal(text_of(&answer.text), "x");
    succeeds(UPSTREAM_OPENAI, CALL("0", "a", "f", "{") CHUNK("{\"content\":\"x\"}")
                                  ARGS("0", "}") FINISH("stop") DONE);
    assert_string_equal(text_of(&answer.text), "x");
    assert_string_equal(answer.calls[0].args.data, "{}");
    succeeds(UPSTREAM_OPENAI,
             CALL("0", "a", "f", "{") CHUNK("{\"content\":\"x\"}") ARGS("0", "}")
                 CHUNK("{\"content\":\"y\"}") FINISH("stop") DONE);
    assert_string_equal(text_of(&answer.text), "xy");
}

static void test_several_choices(void **state)
{
    (void)state;
    request.n = 2;
    succeeds(UPSTREAM_OPENAI,
             "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"},"
             "\"finish_reason\":\"stop\"},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}"
             "\n\n" FINISH("length") DONE);
    assert_int_equal(answer.n_end, 2);
    fails_with(UPSTREAM_OPENAI, FINISH("stop") DONE, API_ERROR_BACKEND, "finish reason");
    fails_with(UPSTREAM_OPENAI,
               "data: {\"choices\":[{\"index\":2,\"delta\":{\"content\":"
               "\"b\"}}]}\n\n",
               API_ERROR_BACKEND, "choice");
    request.n = 1;
}

/* Errors in the middle, in the forms of each server. */
static void test_errors_in_streams(void **state)
{
    (void)state;
    fails_with(UPSTREAM_OPENAI,
               CHUNK("{\"content\":\"x\"}") "data: {\"error\":{\"message\":\"EngineCore "
                                            "died\",\"type\":\"InternalServerError\","
                                            "\"code\":500}}\n\n" DONE,
               API_ERROR_INTERNAL, "EngineCore died");
    fails_with(
        UPSTREAM_OPENAI,
        "error: {\"code\":400,\"message\":\"the request exceeds the available "
        "context size\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":"
        "70000,\"n_ctx\":65536}\n\n",
        API_ERROR_TOO_LONG, "exceeds");
    assert_int_equal(answer.error.n_prompt, 70000);
    assert_int_equal(answer.error.n_ctx, 65536);
    fails_with(UPSTREAM_ANTHROPIC,
               "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
               "\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
               API_ERROR_BUSY, "Overloaded");
    fails_with(UPSTREAM_OLLAMA, "{\"error\":\"an error was encountered\"}\n",
               API_ERROR_BACKEND, "an error was encountered");
    fails_with(UPSTREAM_OPENAI, FINISH("content_filter") DONE, API_ERROR_UNSUPPORTED,
               "filter");
    fails_with(UPSTREAM_OPENAI, FINISH("tired") DONE, API_ERROR_BACKEND, "'tired'");
}

static void test_garbage(void **state)
{
    (void)state;
    fails_with(UPSTREAM_OPENAI, "data: {\"choices\":[}\n\n" DONE, API_ERROR_BACKEND,
               "event 1");
    fails_with(UPSTREAM_OPENAI, "data: 7\n\n" DONE, API_ERROR_BACKEND, "another value");
    fails_with(UPSTREAM_OPENAI, "<html><body>Bad gateway</body></html>\n",
               API_ERROR_BACKEND, "<html>");
    fails_with(UPSTREAM_OPENAI, "{\"error\":\"x\"}\n", API_ERROR_BACKEND, "no event");
    fails_with(UPSTREAM_OLLAMA, "{\"message\":\n", API_ERROR_BACKEND, "event 1");
    fails_with(UPSTREAM_OLLAMA, "{\"x\":1}\n", API_ERROR_BACKEND, "one of an answer");
    fails_with(UPSTREAM_OLLAMA, "{\"message\":{\"content\":7},\"done\":false}\n",
               API_ERROR_BACKEND, "content");
    fails_with(UPSTREAM_OPENAI, CHUNK("{\"content\":[1]}"), API_ERROR_BACKEND, "content");
    fails_with(UPSTREAM_OPENAI, FINISH("stop") CHUNK("{\"content\":\"x\"}") DONE,
               API_ERROR_BACKEND, "finish reason");
    fails_with(UPSTREAM_OPENAI, "", API_ERROR_BACKEND, "ended before");
    fails_with(UPSTREAM_OPENAI, DONE, API_ERROR_BACKEND, "finish reason");
    fails_with(UPSTREAM_ANTHROPIC,
               "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":"
               "\"text_delta\",\"text\":\"x\"}}\n\n",
               API_ERROR_BACKEND, "block that is open");
    fails_with(UPSTREAM_ANTHROPIC, "data: {\"type\":\"message_stop\"}\n\n",
               API_ERROR_BACKEND, "finish reason");
    assert_int_equal(read_as(UPSTREAM_OPENAI, false, "", 0), UPSTREAM_FAILED);
    assert_int_equal(read_as(UPSTREAM_OPENAI, false, "{\"id\":1}", 8), UPSTREAM_FAILED);
    assert_int_equal(read_as(UPSTREAM_ANTHROPIC, false, "{\"id\":1}", 8),
                     UPSTREAM_FAILED);
}

/* What is behind the end mark is not looked at. */
static void test_behind_the_end(void **state)
{
    (void)state;
    succeeds(UPSTREAM_OPENAI, FINISH("stop") DONE "garbage\n\n" DONE);
    assert_int_equal(answer.n_end, 1);
    succeeds(UPSTREAM_OLLAMA, "{\"done\":true}\n{\"error\":\"late\"}\n");
}

static void test_limits(void **state)
{
    (void)state;
    struct buf s;
    buf_init(&s, (size_t)64 << 20);
    buf_puts(&s, "data: {\"x\":");
    for (int i = 0; i < 100; i++)
        buf_puts(&s, "[");
    for (int i = 0; i < 100; i++)
        buf_puts(&s, "]");
    buf_puts(&s, "}\n\n");
    fails_with(UPSTREAM_OPENAI, s.data, API_ERROR_BACKEND, "nested deeper than 64");
    buf_clear(&s);
    for (int i = 0; i < 129; i++)
        buf_printf(&s, CALL("%d", "i%d", "f", "{}"), i, i);
    fails_with(UPSTREAM_OPENAI, s.data, API_ERROR_BACKEND, "more than 128 calls");
    buf_clear(&s);
    buf_puts(&s, "data: {");
    while (s.len < UPSTREAM_EVENT_MAX + 100)
        buf_puts(&s, "                                                                ");
    fails_with(UPSTREAM_OPENAI, s.data, API_ERROR_BACKEND, "longer than");
    fails_with(UPSTREAM_OLLAMA, s.data, API_ERROR_BACKEND, "longer than");
    buf_release(&s);
}

/* Whatever broke it off is said. */
static void test_reason_of_the_end(void **state)
{
    (void)state;
    const struct upstream_reader_setup setup = {.upstream = &upstreams[UPSTREAM_OPENAI],
                                                .request = &request,
                                                .stream = false,
                                                .id = "abc",
                                                .sink = route_take,
                                                .ctx = &answer};
    route_release(&answer);
    route_begin(&answer, NULL, &request);
    struct upstream_reader *r = upstream_reader_open(&setup);
    upstream_reader_feed(r, "{\"choices\":[]}", 14);
    assert_int_equal(upstream_reader_finish(r, "the connection was reset"),
                     UPSTREAM_FAILED);
    assert_non_null(strstr(answer.error.message, "the connection was reset"));
    upstream_reader_close(r);
}

static void test_content_types(void **state)
{
    (void)state;
    assert_true(upstream_is_stream("text/event-stream; charset=utf-8"));
    assert_true(upstream_is_stream("Application/X-NDJSON"));
    assert_false(upstream_is_stream("application/json"));
    assert_false(upstream_is_stream("text/event-streams"));
    assert_false(upstream_is_stream(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interleaved_calls),
        cmocka_unit_test(test_call_names),
        cmocka_unit_test(test_unique_ids),
        cmocka_unit_test(test_one_call_only),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_text_between_calls),
        cmocka_unit_test(test_several_choices),
        cmocka_unit_test(test_errors_in_streams),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_behind_the_end),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_reason_of_the_end),
        cmocka_unit_test(test_content_types),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    route_release(&answer);
    return failed;
}
