/* Any bytes as a backend's reply of each API, cut in two ways: the events are in order
 * and the same, the client's bytes too; and as an error, a list, and what passes through.
 */
#include "../unit/route_run.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define REQUIRE(x)   \
    do {             \
        if (!(x))    \
            abort(); \
    } while (0)

static bool same_bytes(const struct buf *a, const struct buf *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* Arguments of calls that ended are an object. */
static void check_call_args(const struct route_answer *a)
{
    for (int i = 0; i < a->n_call; i++) {
        const struct route_call *c = &a->calls[i];
        if (!c->ended || c->args.len == 0)
            continue;
        json_t *v = json_loadb(c->args.data, c->args.len, JSON_ALLOW_NUL, NULL);
        REQUIRE(json_is_object(v));
        json_decref(v);
    }
}

static void read_reply(enum upstream_kind kind, const struct api_operation *op,
                       const struct api_request *r, bool stream, uint8_t step,
                       const char *s, size_t n)
{
    static struct route_answer a[2];
    enum upstream_state state[2];
    for (int i = 0; i < 2; i++) {
        const struct upstream_reader_setup setup = {.upstream = &upstreams[kind],
                                                    .request = r,
                                                    .stream = stream,
                                                    .id = "abc",
                                                    .sink = route_take,
                                                    .ctx = &a[i],
                                                    .max_bytes = 1 << 20};
        route_begin(&a[i], op, r);
        state[i] = route_feed(&setup, s, n, i == 0 ? n : step, step);
        REQUIRE(state[i] != UPSTREAM_OPEN && !a[i].disorder);
        REQUIRE(a[i].n_error == (state[i] == UPSTREAM_FAILED));
        REQUIRE(a[i].n_error == 0 || (a[i].n_end == 0 && *a[i].error.message));
        REQUIRE(a[i].n_error > 0 || a[i].n_end == r->n);
        REQUIRE(!a[i].out.failed);
        check_call_args(&a[i]);
    }
    REQUIRE(state[0] == state[1] && a[0].n_call == a[1].n_call);
    REQUIRE(same_bytes(&a[0].text, &a[1].text));
    REQUIRE(same_bytes(&a[0].out, &a[1].out));
    route_release(&a[0]);
    route_release(&a[1]);
}

static void watch_reply(const struct api_operation *op, bool stream, uint8_t step,
                        const char *s, size_t n)
{
    struct stream_watch w[2];
    size_t sent = 0;
    stream_watch_init(&w[0], op, stream);
    stream_watch_init(&w[1], op, stream);
    REQUIRE(stream_watch_feed(&w[0], s, n) <= n);
    for (size_t at = 0; at < n;) {
        const size_t len = step > 0 && step < n - at ? step : n - at;
        const size_t whole = stream_watch_feed(&w[1], s + at, len);
        REQUIRE(whole <= len);
        sent = whole > 0 ? at + whole : sent;
        REQUIRE(!w[1].at_boundary || sent <= at + len);
        at += len;
    }
    REQUIRE(w[0].ended == w[1].ended && w[0].failed == w[1].failed);
    REQUIRE(w[0].at_boundary == w[1].at_boundary);
    REQUIRE(w[0].has_usage == w[1].has_usage && w[0].n_event == w[1].n_event);
    REQUIRE(w[0].usage.n_prompt == w[1].usage.n_prompt);
}

static void read_lists(const char *s, size_t n)
{
    struct upstream_models models;
    struct api_embeddings e;
    struct api_error err;
    for (int i = 0; i < UPSTREAM_KINDS; i++) {
        err = (struct api_error){0};
        const bool ok =
            upstream_read_models(&upstreams[i], &models, s, n, &err) == STATUS_OK;
        REQUIRE(ok || *err.message);
        if (ok)
            upstream_models_release(&models);
        if (upstream_read_embeddings(&upstreams[i], &e, 1, s, n, &err) == STATUS_OK)
            upstream_embeddings_release(&e);
    }
    for (int http = 400; http <= 529; http += 43) {
        upstream_read_error(&err, http, "1", s, n);
        REQUIRE(*err.message && (err.n_ctx == 0 || err.n_prompt >= 0));
    }
    REQUIRE(upstream_read_count(s, n) >= -1);
}

static void check_sent(enum status status, const struct buf *body,
                       const struct api_error *err)
{
    if (status != STATUS_OK) {
        REQUIRE(*err->message);
        return;
    }
    json_t *v =
        json_loadb(body->data, body->len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    REQUIRE(json_is_object(v));
    json_decref(v);
}

static void print_requests(const struct api_operation *op, const json_t *sent,
                           uint8_t flags)
{
    const struct upstream_ask ask = {.model = "q",
                                     .stream = flags & 1,
                                     .strict = flags & 2,
                                     .late_system = flags & 4,
                                     .adaptive_thinking = flags & 8,
                                     .no_thinking = flags & 16,
                                     .max_tokens_cap = flags & 32};
    struct api_request r;
    struct api_error err = {0};
    struct upstream_call call;
    struct buf body;
    json_t *own = json_deep_copy(sent);
    api_request_init(&r);
    r.keep_images = true;
    if (op->parse(&r, own, &err) != STATUS_OK) {
        json_decref(own);
        return;
    }
    for (int i = 0; i < UPSTREAM_KINDS; i++) {
        buf_init(&body, 1 << 28);
        check_sent(upstream_print_request(&upstreams[i], &body, &call, &r, &ask, &err),
                   &body, &err);
        buf_release(&body);
    }
    for (int i = UPSTREAM_COUNT_ANTHROPIC; r.messages && i <= UPSTREAM_COUNT_VLLM; i++) {
        buf_init(&body, 1 << 28);
        check_sent(
            upstream_print_count((enum upstream_counter)i, &body, &call, &r, &ask, &err),
            &body, &err);
        buf_release(&body);
    }
    api_request_release(&r);
}

static void translate(const char *s, size_t n, uint8_t flags)
{
    static const char *const clients[] = {
        "openai_chat",       "openai_responses",   "openai_completions",
        "openai_embeddings", "anthropic_messages", "anthropic_count",
        "ollama_chat",       "ollama_generate",    "ollama_embed"};
    json_t *v = json_loadb(s, n, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
    for (size_t i = 0; json_is_object(v) && i < sizeof clients / sizeof *clients; i++)
        print_requests(route_client(clients[i]), v, flags);
    json_decref(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct api_operation *const clients[] = {
        &openai_chat, &anthropic_messages, &ollama_chat, &openai_responses};
    if (n < 3)
        return 0;
    const enum upstream_kind kind = (enum upstream_kind)(data[0] % UPSTREAM_KINDS);
    const struct api_operation *op = clients[data[1] % 4];
    const bool stream = data[0] & 64;
    struct api_request r;
    char *s = malloc(n - 2); // ends where it is read to
    REQUIRE(s);
    memcpy(s, data + 3, n - 3);
    api_request_init(&r);
    r.task = API_CHAT;
    r.stream = data[1] & 64;
    r.n = op == &openai_chat && data[0] & 32 ? 2 : 1;
    r.n_logprobs = data[0] & 16 ? 1 : -1;
    r.parallel_tool_calls = !(data[1] & 32);
    r.messages = json_loads("[{\"role\":\"user\",\"content\":\"a\"}]", 0, NULL);
    read_reply(kind, op, &r, stream, data[2], s, n - 3);
    watch_reply(op, stream, data[2], s, n - 3);
    read_lists(s, n - 3);
    translate(s, n - 3, data[2]);
    api_request_release(&r);
    free(s);
    return 0;
}
