/* What backends say when they fail, and lists of models and vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "route_run.h"

#include <cmocka.h>

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        int http;
        const char *body;
        enum api_error_kind kind;
        const char *message;
    } cases[] = {
        /* OpenAI */
        {400,
         "{\"error\":{\"message\":\"bad\",\"type\":\"invalid_request_error\",\"param\":"
         "\"n\",\"code\":null}}",
         API_ERROR_INVALID, "bad"},
        {401,
         "{\"error\":{\"message\":\"no key\",\"type\":\"invalid_request_error\",\"code\":"
         "\"invalid_api_key\"}}",
         API_ERROR_UNAUTHORIZED, "no key"},
        {429,
         "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"code\":"
         "\"rate_limit_exceeded\"}}",
         API_ERROR_RATE_LIMIT, "slow"},
        {404,
         "{\"error\":{\"message\":\"The model `x` does not exist\",\"type\":"
         "\"invalid_request_error\",\"code\":\"model_not_found\"}}",
         API_ERROR_NO_MODEL, "The model `x` does not exist"},
        /* llama.cpp */
        {503,
         "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":"
         "\"unavailable_error\"}}",
         API_ERROR_BUSY, "Loading model"},
        {501,
         "{\"error\":{\"code\":501,\"message\":\"off\",\"type\":\"not_supported_error\"}"
         "}",
         API_ERROR_UNSUPPORTED, "off"},
        /* vLLM, old and new; FastAPI */
        {400,
         "{\"object\":\"error\",\"message\":\"no\",\"type\":\"BadRequestError\","
         "\"param\":"
         "null,\"code\":400}",
         API_ERROR_INVALID, "no"},
        {404,
         "{\"error\":{\"message\":\"The model `q` does not exist.\",\"type\":"
         "\"NotFoundError\",\"param\":\"model\",\"code\":404}}",
         API_ERROR_NO_MODEL, "The model `q` does not exist."},
        {404, "{\"detail\":\"Not Found\"}", API_ERROR_NO_ROUTE, "Not Found"},
        {422, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":\"field required\"}]}",
         API_ERROR_INVALID, "field required"},
        /* Anthropic */
        {529,
         "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
         "\"Overloaded\"},\"request_id\":\"r\"}",
         API_ERROR_BUSY, "Overloaded"},
        {403,
         "{\"type\":\"error\",\"error\":{\"type\":\"permission_error\",\"message\":"
         "\"no\"}}",
         API_ERROR_FORBIDDEN, "no"},
        {500,
         "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"oops\"}}",
         API_ERROR_INTERNAL, "oops"},
        /* Ollama */
        {404, "{\"error\":\"model 'x' not found\"}", API_ERROR_NO_MODEL,
         "model 'x' not found"},
        {503,
         "{\"error\":\"server busy, please try again.  maximum pending requests "
         "exceeded\"}",
         API_ERROR_BUSY,
         "server busy, please try again.  maximum pending requests exceeded"},
        {400, "{\"error\":\"\\\"x\\\" does not support thinking\"}", API_ERROR_INVALID,
         "\"x\" does not support thinking"},
        /* What is none of them */
        {502,
         "<html>\n<head><TITLE>502 Bad\nGateway</TITLE></head><body>nginx</body></html>",
         API_ERROR_BACKEND,
         "the backend answered with HTTP 502 and a page that is no error of its API: "
         "'502 Bad Gateway'"},
        {500, "", API_ERROR_BACKEND,
         "the backend answered with HTTP 500 and nothing else"},
        {500, "Internal Server Error", API_ERROR_INTERNAL, "Internal Server Error"},
        {504, "[]", API_ERROR_BACKEND, "[]"},
        {400, "{}", API_ERROR_INVALID,
         "the backend answered with HTTP 400 and no reason"},
        {418, "\xff\xfe\x01", API_ERROR_INVALID, "   "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_error e;
        upstream_read_error(&e, cases[i].http, NULL, cases[i].body,
                            strlen(cases[i].body));
        assert_string_equal(e.message, cases[i].message);
        assert_int_equal(e.kind, cases[i].kind);
    }
}

/* Overflows in the words of each server; numbers of 0: it says none. */
static void test_overflows(void **state)
{
    (void)state;
    static const struct {
        const char *message;
        int n_prompt, n_ctx;
    } cases[] = {
        {"request (70000 tokens) exceeds the available context size (65536 tokens), try "
         "increasing it",
         70000, 65536},
        {"the request exceeds the available context size. try increasing the context "
         "size or enable context shift",
         0, 0},
        {"This model's maximum context length is 8192 tokens. However, your messages "
         "resulted in 9001 tokens. Please reduce the length of the messages.",
         9001, 8192},
        {"This model's maximum context length is 4096 tokens. However, you requested "
         "5000 "
         "tokens (4900 in the messages, 100 in the completion).",
         5000, 4096},
        {"The decoder prompt (length 5000) is longer than the maximum model length of "
         "4096. Make sure that `max_model_len` is no smaller.",
         5000, 4096},
        {"Your input exceeds the context window of this model. Please adjust your input "
         "and try again.",
         0, 0},
        {"prompt is too long: 209,601 tokens > 200,000 maximum", 209601, 200000},
        {"messages.1: prompt is too long: 209601 tokens > 200000 maximum", 209601,
         200000},
        {"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, "
         "decrease input length or `max_tokens` and try again",
         210000, 200000},
        {"the input length exceeds the context length", 0, 0},
        {"the input length exceeds the context length: 9 tokens > 8 maximum", 9, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char body[600];
        struct api_error e;
        snprintf(body, sizeof body, "{\"error\":{\"message\":\"%s\",\"type\":\"x\"}}",
                 cases[i].message);
        upstream_read_error(&e, 400, NULL, body, strlen(body));
        assert_int_equal(e.kind, API_ERROR_TOO_LONG);
        assert_int_equal(e.n_prompt, cases[i].n_prompt);
        assert_int_equal(e.n_ctx, cases[i].n_ctx);
        assert_string_equal(e.message, cases[i].message);
    }
    /* The prompt fits, the answer that was asked for does not. */
    static const char fits[] =
        "{\"error\":{\"message\":\"'max_tokens' is too large: 5000. This model's maximum "
        "context length is 4096 tokens and your request has 9 input tokens\"}}";
    struct api_error e;
    upstream_read_error(&e, 400, NULL, fits, sizeof fits - 1);
    assert_int_equal(e.kind, API_ERROR_INVALID);
    static const char named[] = "{\"error\":{\"code\":400,\"message\":\"m\",\"type\":"
                                "\"exceed_context_size_error\","
                                "\"n_prompt_tokens\":12,\"n_ctx\":10}}";
    upstream_read_error(&e, 400, NULL, named, sizeof named - 1);
    assert_int_equal(e.kind, API_ERROR_TOO_LONG);
    assert_int_equal(e.n_prompt, 12);
}

/* An overflow without numbers is still one in each client's words. */
static void test_overflow_words(void **state)
{
    (void)state;
    const struct api_error e = {.kind = API_ERROR_TOO_LONG,
                                .message = "exceeds the context window"};
    static const char *const words[] = {"context_length_exceeded", "prompt is too long: ",
                                        "the input length exceeds the context length\""};
    for (int i = 0; i < UPSTREAM_KINDS; i++) {
        struct buf out;
        int status;
        buf_init(&out, 1 << 16);
        upstreams[i].dialect->print_error(&out, &status, &e, "req_1");
        assert_int_equal(status, 400);
        assert_non_null(strstr(out.data, words[i]));
        assert_null(strstr(out.data, "0 tokens"));
        buf_release(&out);
    }
}

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int seconds;
    } cases[] = {
        {"7", 7}, {NULL, 0}, {"99999", 3600}, {"Wed, 21 Oct 2026", 0}, {"-1", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct api_error e;
        upstream_read_error(&e, 429, cases[i].header, "{}", 2);
        assert_int_equal(e.kind, API_ERROR_RATE_LIMIT);
        assert_int_equal(e.retry_after_s, cases[i].seconds);
    }
}

/* How each dialect says the two kinds that only backends have. */
static void test_kinds_of_backends(void **state)
{
    (void)state;
    static const struct {
        enum api_error_kind kind;
        int status;
        const char *words[UPSTREAM_KINDS];
    } cases[] = {
        {API_ERROR_RATE_LIMIT,
         429,
         {"rate_limit_exceeded", "\"rate_limit_error\"", "{\"error\":\"m\"}"}},
        {API_ERROR_BACKEND, 502, {"bad_gateway", "\"api_error\"", "{\"error\":\"m\"}"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int k = 0; k < UPSTREAM_KINDS; k++) {
            const struct api_error e = {.kind = cases[i].kind, .message = "m"};
            struct buf out;
            int status;
            buf_init(&out, 1 << 16);
            upstreams[k].dialect->print_error(&out, &status, &e, "req_1");
            assert_int_equal(status, cases[i].status);
            assert_non_null(strstr(out.data, cases[i].words[k]));
            buf_release(&out);
        }
}

/* ---- lists ---- */

static void test_models(void **state)
{
    (void)state;
    static const struct {
        enum upstream_kind kind;
        const char *body;
        struct upstream_model model;
    } cases[] = {
        {UPSTREAM_OPENAI,
         "{\"object\":\"list\",\"data\":[{\"id\":\"Qwen/Qwen3-32B\",\"object\":\"model\","
         "\"created\":1700000000,\"owned_by\":\"vllm\",\"max_model_len\":40960}]}",
         {"Qwen/Qwen3-32B", "", "", 1700000000000000, 0, 40960, NULL}},
        {UPSTREAM_OPENAI,
         "{\"models\":[{\"name\":\"x\"}],\"object\":\"list\",\"data\":[{\"id\":\"m."
         "gguf\","
         "\"created\":1700000000,\"meta\":{\"n_ctx_train\":32768,\"size\":5000}}]}",
         {"m.gguf", "", "", 1700000000000000, 5000, 32768, NULL}},
        {UPSTREAM_ANTHROPIC,
         "{\"data\":[{\"type\":\"model\",\"id\":\"claude-x\",\"display_name\":\"Claude "
         "X\","
         "\"created_at\":\"2025-02-19T00:00:00Z\"}],\"has_more\":false}",
         {"claude-x", "Claude X", "", 1739923200000000, 0, 0, NULL}},
        {UPSTREAM_OLLAMA,
         "{\"models\":[{\"name\":\"q:latest\",\"model\":\"q:latest\",\"modified_at\":"
         "\"2024-02-29T12:30:00.25+02:00\",\"size\":5200,\"digest\":\"ab\",\"details\":{"
         "\"context_length\":4096}}]}",
         {"q:latest", "", "ab", 1709202600250000, 5200, 4096, NULL}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct upstream_model *expected = &cases[i].model;
        struct upstream_models m;
        struct api_error err = {0};
        assert_int_equal(upstream_read_models(&upstreams[cases[i].kind], &m,
                                              cases[i].body, strlen(cases[i].body), &err),
                         STATUS_OK);
        assert_int_equal(m.n, 1);
        assert_string_equal(m.models->id, expected->id);
        assert_string_equal(m.models->display_name, expected->display_name);
        assert_string_equal(m.models->digest, expected->digest);
        assert_true(m.models->created_us == expected->created_us);
        assert_int_equal(m.models->bytes, expected->bytes);
        assert_int_equal(m.models->n_ctx, expected->n_ctx);
        upstream_models_release(&m);
    }
}

static void test_models_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"data\":[{\"id\":7}]}",
                                      "{\"data\":{}}",
                                      "{\"data\":[7]}",
                                      "{\"error\":{\"message\":\"no\"}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct upstream_models m;
        struct api_error err = {0};
        assert_int_not_equal(
            upstream_read_models(&upstreams[0], &m, bad[i], strlen(bad[i]), &err),
            STATUS_OK);
        assert_true(*err.message);
        assert_null(m.models);
    }
}

static void test_embeddings(void **state)
{
    (void)state;
    static const char openai[] =
        "{\"object\":\"list\",\"data\":[{\"index\":1,\"embedding\":[3,4]},{\"index\":0,"
        "\"embedding\":[0.5,-1]}],\"usage\":{\"prompt_tokens\":6,\"total_tokens\":6}}";
    static const char ollama[] =
        "{\"embeddings\":[[0.5,-1],[3,4]],\"prompt_eval_count\":6}";
    const float expected[] = {0.5f, -1, 3, 4};
    struct api_embeddings e;
    struct api_error err = {0};
    for (int i = 0; i < 2; i++) {
        const char *body = i == 0 ? openai : ollama;
        const struct upstream *u = upstream_find(i == 0 ? "openai" : "ollama");
        assert_int_equal(upstream_read_embeddings(u, &e, 2, body, strlen(body), &err),
                         STATUS_OK);
        assert_int_equal(e.n, 2);
        assert_int_equal(e.n_embd, 2);
        assert_int_equal(e.n_prompt, 6);
        assert_memory_equal(e.vectors, expected, sizeof expected);
        upstream_embeddings_release(&e);
        assert_int_equal(upstream_read_embeddings(u, &e, 3, body, strlen(body), &err),
                         STATUS_BAD_INPUT);
    }
    static const char *const bad[] = {
        "{\"embeddings\":[[1],[1,2]]}", "{\"embeddings\":[[1,2],[1,\"x\"]]}",
        "{\"embeddings\":[[],[]]}", "{\"embeddings\":[1,2]}",
        "{\"embeddings\":[[1e99],[1]]}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(upstream_read_embeddings(&upstreams[UPSTREAM_OLLAMA], &e, 2,
                                                  bad[i], strlen(bad[i]), &err),
                         STATUS_BAD_INPUT);
        assert_null(e.vectors);
    }
    static const char twice[] = "{\"data\":[{\"index\":0,\"embedding\":[1]},{\"index\":0,"
                                "\"embedding\":[1]}]}";
    assert_int_equal(
        upstream_read_embeddings(&upstreams[0], &e, 2, twice, sizeof twice - 1, &err),
        STATUS_BAD_INPUT);
}

static void test_counts(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int n;
    } cases[] = {{"{\"input_tokens\":12}", 12},
                 {"{\"count\":7,\"max_model_len\":9,\"tokens\":[1]}", 7},
                 {"{\"input_tokens\":-1}", -1},
                 {"{\"input_tokens\":\"1\"}", -1},
                 {"{}", -1},
                 {"<html>", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(upstream_read_count(cases[i].body, strlen(cases[i].body)),
                         cases[i].n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_overflows),
        cmocka_unit_test(test_overflow_words),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_kinds_of_backends),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_models_refused),
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
