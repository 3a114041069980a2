/* Transcripts of tests/data/route: a client's request, what its backend is asked, what
 * that answers (in the form of the real server), and what the client gets.  Each reply is
 * read cut at each place, and byte by byte, with the same answer; broken off at each
 * place, it is an error. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "route_run.h"

#include <cmocka.h>

#define FOLDER "tests/data/route"

struct transcript {
    char name[512];
    json_t *json;
    const struct api_operation *client;
    const struct upstream *upstream;
    struct upstream_ask ask;
    struct api_request request;
    struct buf reply, answer;
    bool document;
};

static const char *string_of(const struct transcript *t, const char *name)
{
    return json_string_value(json_object_get(t->json, name));
}

/* Strings of an array, one behind the other. */
static void join(struct buf *out, const json_t *list)
{
    buf_init(out, 1 << 24);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);
        buf_append(out, json_string_value(s), json_string_length(s));
    }
}

static void read_ask(struct upstream_ask *ask, const json_t *v)
{
    *ask = (struct upstream_ask){
        .model = json_string_value(json_object_get(v, "model")),
        .stream = json_is_true(json_object_get(v, "stream")),
        .max_tokens = (int)json_integer_value(json_object_get(v, "max_tokens")),
        .max_tokens_cap = (int)json_integer_value(json_object_get(v, "max_tokens_cap")),
        .n_ctx = (int)json_integer_value(json_object_get(v, "n_ctx")),
        .strict = json_is_true(json_object_get(v, "strict")),
        .late_system = json_is_true(json_object_get(v, "late_system")),
        .adaptive_thinking = json_is_true(json_object_get(v, "adaptive_thinking")),
        .no_thinking = json_is_true(json_object_get(v, "no_thinking")),
        .no_images = json_is_true(json_object_get(v, "no_images")),
    };
}

static void transcript_open(struct transcript *t, const char *path)
{
    struct api_error err = {0};
    json_error_t json_err;
    *t = (struct transcript){.json = json_load_file(path, 0, &json_err)};
    snprintf(t->name, sizeof t->name, "%s", path);
    if (!t->json)
        fail_msg("%s: %s", path, json_err.text);
    t->client = route_client(string_of(t, "client"));
    t->upstream = upstream_find(string_of(t, "upstream"));
    t->document = json_is_true(json_object_get(t->json, "document"));
    read_ask(&t->ask, json_object_get(t->json, "ask"));
    join(&t->reply, json_object_get(t->json, "reply"));
    join(&t->answer, json_object_get(t->json, "answer"));
    assert_non_null(t->client);
    assert_non_null(t->upstream);
    api_request_init(&t->request);
    t->request.keep_images = true;
    json_t *body = json_deep_copy(json_object_get(t->json, "request"));
    if (t->client->parse(&t->request, body, &err) != STATUS_OK)
        fail_msg("%s: %s", path, err.message);
}

static void transcript_close(struct transcript *t)
{
    api_request_release(&t->request);
    json_decref(t->json);
    buf_release(&t->reply);
    buf_release(&t->answer);
}

static struct upstream_reader_setup setup_of(const struct transcript *t,
                                             struct route_answer *a)
{
    return (struct upstream_reader_setup){.upstream = t->upstream,
                                          .request = &t->request,
                                          .stream = !t->document,
                                          .id = route_head.id,
                                          .sink = route_take,
                                          .ctx = a};
}

static void check_request(const struct transcript *t)
{
    struct buf body;
    struct upstream_call call;
    struct api_error err = {0};
    buf_init(&body, 1 << 24);
    if (upstream_print_request(t->upstream, &body, &call, &t->request, &t->ask, &err) !=
        STATUS_OK)
        fail_msg("%s: %s", t->name, err.message);
    assert_string_equal(call.method, "POST");
    assert_string_equal(call.path, string_of(t, "path"));
    assert_string_equal(call.dropped, string_of(t, "dropped"));
    json_t *sent = json_loadb(body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_equal(sent, json_object_get(t->json, "sent")))
        fail_msg("%s: sent %s", t->name, body.data);
    json_decref(sent);
    buf_release(&body);
}

static void equal_text(const struct transcript *t, const struct buf *b, const json_t *v)
{
    const char *expected = json_string_value(v);
    const char *got = b->data ? b->data : "";
    if (b->len != strlen(expected) || memcmp(got, expected, b->len) != 0)
        fail_msg("%s: '%s' and not '%s'", t->name, got, expected);
}

static int int_of(const json_t *v, const char *name)
{
    return (int)json_integer_value(json_object_get(v, name));
}

static void check_calls(const struct transcript *t, const struct route_answer *a,
                        const json_t *calls)
{
    assert_int_equal(a->n_call, json_array_size(calls));
    for (int i = 0; i < a->n_call; i++) {
        const json_t *call = json_array_get(calls, (size_t)i);
        const struct route_call *c = &a->calls[i];
        assert_string_equal(c->id, json_string_value(json_array_get(call, 0)));
        assert_string_equal(c->name, json_string_value(json_array_get(call, 1)));
        assert_true(c->ended);
        json_t *args = c->args.len > 0 ? json_loadb(c->args.data, c->args.len, 0, NULL)
                                       : json_object();
        if (!json_equal(args, json_array_get(call, 2)))
            fail_msg("%s: arguments %s", t->name, c->args.data);
        json_decref(args);
    }
}

static void check_answer(const struct transcript *t, const struct route_answer *a)
{
    static const char *const finishes[] = {
        [ANSWER_STOP] = "stop",
        [ANSWER_STOP_STRING] = "stop_string",
        [ANSWER_LENGTH] = "length",
        [ANSWER_TOOL_CALLS] = "tool_calls",
    };
    const json_t *final = json_object_get(t->json, "final");
    if (a->n_error > 0)
        fail_msg("%s: %s", t->name, a->error.message);
    assert_int_equal(a->n_end, 1);
    assert_false(a->disorder);
    equal_text(t, &a->text, json_object_get(final, "text"));
    equal_text(t, &a->reasoning, json_object_get(final, "reasoning"));
    check_calls(t, a, json_object_get(final, "calls"));
    assert_string_equal(finishes[a->finish],
                        json_string_value(json_object_get(final, "finish")));
    assert_int_equal(a->usage.n_prompt, int_of(final, "prompt"));
    assert_int_equal(a->usage.n_cached, int_of(final, "cached"));
    assert_int_equal(a->usage.n_decoded, int_of(final, "decoded"));
    assert_int_equal(a->usage.prefill_us, int_of(final, "prefill_us"));
    assert_int_equal(a->usage.decode_us, int_of(final, "decode_us"));
    const json_t *logs = json_object_get(final, "logprobs");
    assert_int_equal(a->n_log, json_array_size(logs));
    for (int i = 0; i < a->n_log; i++) {
        const json_t *entry = json_array_get(logs, (size_t)i);
        assert_string_equal(a->log_text[i], json_string_value(json_array_get(entry, 0)));
        assert_true((double)a->logs[i] == json_number_value(json_array_get(entry, 1)));
    }
}

/* The client's bytes, compared with those of the transcript. */
static void check_output(const struct transcript *t, const struct route_answer *a)
{
    assert_false(a->out.failed);
    if (a->out.len != t->answer.len ||
        memcmp(a->out.data, t->answer.data, a->out.len) != 0)
        fail_msg("%s: the client gets\n%s", t->name, a->out.data);
}

static void check_reply(const struct transcript *t)
{
    struct route_answer a;
    const struct upstream_reader_setup setup = setup_of(t, &a);
    for (size_t cut = 0; cut <= t->reply.len; cut++) {
        route_begin(&a, t->client, &t->request);
        /* The last is byte by byte. */
        route_feed(&setup, t->reply.data, t->reply.len, cut, cut == t->reply.len);
        check_answer(t, &a);
        check_output(t, &a);
        route_release(&a);
    }
    route_begin(&a, t->client, &t->request);
    route_feed(&setup, t->reply.data, t->reply.len, 0, 1);
    check_answer(t, &a);
    check_output(t, &a);
    route_release(&a);
}

/* A reply that broke off: no end, one error, whatever it is that came before. */
static void check_broken(const struct transcript *t)
{
    /* The mark of the end is whole without the line's end behind it. */
    size_t whole = t->reply.len;
    while (strchr("\r\n", t->reply.data[whole - 1]))
        whole--;
    for (size_t n = 0; n < t->reply.len; n++) {
        struct route_answer a;
        const struct upstream_reader_setup setup = setup_of(t, &a);
        route_begin(&a, t->client, &t->request);
        const enum upstream_state state = route_feed(&setup, t->reply.data, n, n, 0);
        if (n < whole && (state != UPSTREAM_FAILED || a.n_end > 0 || a.n_error != 1))
            fail_msg("%s: of %zu bytes there is no error", t->name, n);
        if (n >= whole)
            assert_int_equal(state, UPSTREAM_DONE);
        else
            assert_int_equal(a.error.kind, API_ERROR_BACKEND);
        assert_false(a.disorder);
        route_release(&a);
    }
}

static void for_each(void (*check)(const struct transcript *))
{
    struct dirent **files;
    const int n = scandir(FOLDER, &files, NULL, alphasort);
    int n_checked = 0;
    assert_true(n > 0);
    for (int i = 0; i < n; i++) {
        const size_t len = strlen(files[i]->d_name);
        if (len > 5 && strcmp(files[i]->d_name + len - 5, ".json") == 0) {
            char path[512];
            struct transcript t;
            snprintf(path, sizeof path, FOLDER "/%s", files[i]->d_name);
            transcript_open(&t, path);
            check(&t);
            transcript_close(&t);
            n_checked++;
        }
        free(files[i]);
    }
    free(files);
    assert_true(n_checked >= 12);
}

static void test_requests(void **state)
{
    (void)state;
    for_each(check_request);
}

static void test_replies(void **state)
{
    (void)state;
    for_each(check_reply);
}

static void test_broken(void **state)
{
    (void)state;
    for_each(check_broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_replies),
        cmocka_unit_test(test_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
