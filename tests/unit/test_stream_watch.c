/* Replies that pass through: what the watcher knows of them, at each byte. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "route_run.h"

#include <cmocka.h>

/* Feed s in pieces of `step` bytes. */
static void watch(struct stream_watch *w, const struct api_operation *op, bool stream,
                  const char *s, size_t n, size_t step)
{
    stream_watch_init(w, op, stream);
    for (size_t at = 0; at < n; at += step)
        stream_watch_feed(w, s + at, step < n - at ? step : n - at);
}

/* What a client gets from a reader and a writer is a reply, too. */
static void check_transcript(const char *path)
{
    json_t *t = json_load_file(path, 0, NULL);
    const struct api_operation *op =
        route_client(json_string_value(json_object_get(t, "client")));
    const json_t *answer = json_object_get(t, "answer");
    const json_t *final = json_object_get(t, "final");
    const bool stream = !json_is_true(json_object_get(t, "document"));
    const bool ollama = op->dialect == &dialect_ollama;
    struct stream_watch w;
    struct buf s;
    buf_init(&s, 1 << 24);
    for (size_t i = 0; i < json_array_size(answer); i++)
        buf_puts(&s, json_string_value(json_array_get(answer, i)));
    for (size_t step = 1; step <= s.len; step = step < 7 ? step + 1 : step * 3) {
        watch(&w, op, stream, s.data, s.len, step);
        assert_true(w.ended);
        assert_false(w.failed);
        assert_true(w.at_boundary);
        assert_true(w.has_usage);
        assert_int_equal(w.n_bytes, s.len);
        assert_int_equal(w.usage.n_prompt,
                         json_integer_value(json_object_get(final, "prompt")));
        assert_int_equal(w.usage.n_decoded,
                         json_integer_value(json_object_get(final, "decoded")));
        if (!ollama) // which does not say
            assert_int_equal(w.usage.n_cached,
                             json_integer_value(json_object_get(final, "cached")));
    }
    size_t whole = s.len;
    while (s.data[whole - 1] == '\n')
        whole--;
    for (size_t n = 0; n < s.len; n++) {
        watch(&w, op, stream, s.data, n, n + 1);
        /* The end is the last bracket of the mark, or the last byte of [DONE]. */
        assert_int_equal(w.ended, n >= whole);
        const bool sse = stream && !ollama;
        const bool boundary =
            n == 0    ? true
            : !stream ? w.ended
            : sse     ? n > 1 && s.data[n - 1] == '\n' && s.data[n - 2] == '\n'
                      : s.data[n - 1] == '\n';
        assert_int_equal(w.at_boundary, boundary);
    }
    buf_release(&s);
    json_decref(t);
}

/* The backend's own reply, in the form of its server, as a client of its API gets it. */
static void check_reply(const char *path)
{
    static const struct api_operation *const clients[] = {
        &openai_chat, &anthropic_messages, &ollama_chat};
    json_t *t = json_load_file(path, 0, NULL);
    const char *name = json_string_value(json_object_get(t, "upstream"));
    const struct api_operation *op = clients[upstream_find(name)->kind];
    const json_t *reply = json_object_get(t, "reply");
    const json_t *final = json_object_get(t, "final");
    const bool stream = !json_is_true(json_object_get(t, "document"));
    struct stream_watch w;
    struct buf s;
    buf_init(&s, 1 << 24);
    for (size_t i = 0; i < json_array_size(reply); i++)
        buf_puts(&s, json_string_value(json_array_get(reply, i)));
    size_t whole = s.len;
    while (strchr("\r\n", s.data[whole - 1]))
        whole--;
    for (size_t n = 0; n <= s.len; n++) {
        watch(&w, op, stream, s.data, n, n % 5 + 1);
        assert_int_equal(w.ended, n >= whole);
        assert_false(w.failed);
    }
    assert_true(w.at_boundary && w.has_usage);
    assert_int_equal(w.usage.n_prompt,
                     json_integer_value(json_object_get(final, "prompt")));
    assert_int_equal(w.usage.n_cached,
                     json_integer_value(json_object_get(final, "cached")));
    assert_int_equal(w.usage.n_decoded,
                     json_integer_value(json_object_get(final, "decoded")));
    buf_release(&s);
    json_decref(t);
}

static void test_transcripts(void **state)
{
    (void)state;
    struct dirent **files;
    const int n = scandir("tests/data/route", &files, NULL, alphasort);
    int n_checked = 0;
    for (int i = 0; i < n; i++) {
        char path[512];
        snprintf(path, sizeof path, "tests/data/route/%s", files[i]->d_name);
        json_t *t = json_load_file(path, 0, NULL);
        if (t) {
            check_transcript(path);
            check_reply(path);
            n_checked++;
        }
        json_decref(t);
        free(files[i]);
    }
    free(files);
    assert_true(n_checked >= 12);
}

/* What a model says is neither usage nor an end. */
static void test_text_is_text(void **state)
{
    (void)state;
    static const char sse[] =
        "data: {\"choices\":[{\"delta\":{\"content\":\"[DONE] \\\"usage\\\":"
        "{\\\"prompt_tokens\\\":5} data: [DONE]\"}}],\"x\":{\"usage\":{\"prompt_tokens\":"
        "7}}}\n\n";
    static const char lines[] = "{\"message\":{\"content\":\"\\\"done\\\":true\","
                                "\"done\":true},\"done\":false}\n";
    static const char anthropic[] =
        "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"message_stop\","
        "\"text\":\"\\\"type\\\":\\\"message_stop\\\"\"}}\n\n";
    struct stream_watch w;
    watch(&w, &openai_chat, true, sse, sizeof sse - 1, 1);
    assert_false(w.ended || w.has_usage || w.failed);
    watch(&w, &ollama_chat, true, lines, sizeof lines - 1, 1);
    assert_false(w.ended || w.has_usage || w.failed);
    watch(&w, &anthropic_messages, true, anthropic, sizeof anthropic - 1, 1);
    assert_false(w.ended || w.has_usage || w.failed);
}

static void test_forms(void **state)
{
    (void)state;
    static const char crlf[] = "\xef\xbb\xbf"
                               "data:[DONE]\r\n\r\n";
    static const char native[] =
        "data: {\"content\":\"\",\"stop\":true,\"tokens_evaluated\":12,"
        "\"tokens_predicted\":3}\n\n";
    static const char responses[] =
        "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":"
        "{\"usage\":{\"input_tokens\":9,\"input_tokens_details\":{\"cached_tokens\":4},"
        "\"output_tokens\":2,\"output_tokens_details\":{\"reasoning_tokens\":1}}}}\n\n";
    struct stream_watch w;
    watch(&w, &openai_chat, true, crlf, sizeof crlf - 1, 1);
    assert_true(w.ended && w.at_boundary);
    watch(&w, &openai_infill, true, native, sizeof native - 1, 1);
    assert_true(w.ended && w.at_boundary);
    assert_int_equal(w.usage.n_prompt, 12);
    assert_int_equal(w.usage.n_decoded, 3);
    watch(&w, &openai_responses, true, responses, sizeof responses - 1, 1);
    assert_true(w.ended && w.at_boundary && w.has_usage);
    assert_int_equal(w.usage.n_prompt, 9);
    assert_int_equal(w.usage.n_cached, 4);
    assert_int_equal(w.usage.n_decoded, 2);
    assert_int_equal(w.usage.n_reasoning, 1);
}

static void test_errors_pass(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        const char *text;
        bool failed;
    } cases[] = {
        {&openai_chat, "data: {\"error\":{\"message\":\"x\"}}\n\n", true},
        {&openai_chat, "data: {\"choices\":[],\"error\":null}\n\n", false},
        {&openai_chat, "error: {\"code\":500}\n\n", true},
        {&anthropic_messages, "event: error\ndata: {}\n\n", true},
        {&anthropic_messages, "data: {\"type\":\"error\",\"x\":1}\n\n", true},
        {&ollama_chat, "{\"error\":\"x\"}\n", true},
        {&ollama_chat, "{\"message\":{\"error\":\"x\"},\"done\":false}\n", false},
        {&openai_responses, "data: {\"type\":\"response.failed\"}\n\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stream_watch w;
        watch(&w, cases[i].op, true, cases[i].text, strlen(cases[i].text), 1);
        assert_int_equal(w.failed, cases[i].failed);
        assert_false(w.ended);
    }
}

/* How many bytes may be sent so that none of an event that is cut is. */
static void test_whole_events(void **state)
{
    (void)state;
    struct stream_watch w;
    stream_watch_init(&w, &openai_chat, true);
    assert_int_equal(stream_watch_feed(&w, "data: 1\n\ndata: 2\n\nda", 20), 18);
    assert_false(w.at_boundary);
    assert_int_equal(stream_watch_feed(&w, "ta: 3\n", 6), 0);
    assert_int_equal(stream_watch_feed(&w, "\n", 1), 1);
    assert_true(w.at_boundary);
}

static void test_stream_errors(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        bool at_boundary;
        const char *text;
    } cases[] = {
        {&ollama_chat, true, "{\"error\":\"gone\"}\n"},
        {&ollama_chat, false, "\n{\"error\":\"gone\"}\n"},
        {&anthropic_messages, true,
         "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\","
         "\"message\":\"gone\"},\"request_id\":\"req_1\"}\n\n"},
        {&anthropic_messages, false,
         "\nevent: cut_off\n\nevent: error\ndata: "
         "{\"type\":\"error\",\"error\":{\"type\":"
         "\"api_error\",\"message\":\"gone\"},\"request_id\":\"req_1\"}\n\n"},
        {&openai_chat, false,
         "\n\ndata: {\"error\":{\"message\":\"gone\",\"type\":\"server_error\",\"param\":"
         "null,\"code\":\"bad_gateway\"}}\n\n"},
        {&openai_responses, true,
         "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":"
         "\"gone\",\"param\":null,\"sequence_number\":0}\n\n"},
    };
    const struct api_error e = {.kind = API_ERROR_BACKEND, .message = "gone"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out;
        buf_init(&out, 1 << 16);
        upstream_print_stream_error(&out, cases[i].op, &e, "req_1", cases[i].at_boundary);
        assert_string_equal(out.data, cases[i].text);
        buf_release(&out);
    }
}

/* What comes before the answer, and the first of it. */
static void test_first_text(void **state)
{
    (void)state;
    static const struct {
        const struct api_operation *op;
        const char *before, *first;
    } cases[] = {
        {&openai_chat,
         ": ping\n\ndata: "
         "{\"id\":\"content\",\"model\":\"text\",\"choices\":[{\"index\":0,"
         "\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}"
         "\n\n"
         "data: {\"choices\":[{\"delta\":{\"content\":null}}]}\n\n",
         "data: {\"choices\":[{\"delta\":{\"content\":\" \"}}]}\n\n"},
        {&openai_chat, "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n",
         "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"So\"}}]}\n\n"},
        {&openai_chat, "data: {\"choices\":[]}\n\n",
         "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\","
         "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}"
         "\n\n"},
        {&openai_completions, "data: {\"choices\":[{\"text\":\"\"}]}\n\n",
         "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"},
        {&openai_completion, "data: {\"content\":\"\",\"stop\":false}\n\n",
         "data: {\"content\":\"a\",\"stop\":false}\n\n"},
        {&openai_responses,
         "event: response.created\ndata: "
         "{\"type\":\"response.created\",\"response\":{\"id\":"
         "\"r\",\"output\":[],\"model\":\"m\"}}\n\n",
         "event: response.output_text.delta\ndata: "
         "{\"type\":\"response.output_text.delta\","
         "\"delta\":\"a\"}\n\n"},
        {&anthropic_messages,
         "event: message_start\ndata: "
         "{\"type\":\"message_start\",\"message\":{\"id\":\"m\","
         "\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":3}}}\n\n"
         "event: ping\ndata: {\"type\":\"ping\"}\n\nevent: content_block_start\ndata: "
         "{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"text\","
         "\"text\":"
         "\"\"}}\n\n",
         "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":"
         "{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"},
        {&ollama_chat,
         "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},"
         "\"done\":false}\n",
         "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"a\"}}\n"},
        {&ollama_generate, "{\"response\":\"\",\"done\":false}\n",
         "{\"response\":\"a\",\"done\":false}\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 50; step = 3 * step + 1) {
            struct stream_watch w;
            watch(&w, cases[i].op, true, cases[i].before, strlen(cases[i].before), step);
            assert_false(w.has_text);
            stream_watch_feed(&w, cases[i].first, strlen(cases[i].first));
            assert_true(w.has_text);
            assert_false(w.ended || w.failed);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transcripts),  cmocka_unit_test(test_text_is_text),
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_errors_pass),
        cmocka_unit_test(test_whole_events), cmocka_unit_test(test_stream_errors),
        cmocka_unit_test(test_first_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
