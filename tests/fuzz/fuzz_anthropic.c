/* Any JSON as a request of the Messages API; equal conversations have equal forms; each
 * event of a stream is JSON, and so is a document. */
#include "dialect_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Strings of content become lists of one block. */
static void wrap(json_t *object, const char *name)
{
    json_t *text = json_object_get(object, name);
    if (json_is_string(text))
        json_object_set_new(object, name,
                            json_pack("[{s:s, s:O, s:{}}]", "type", "text", "text", text,
                                      "cache_control"));
}

static void check_equal_forms(const struct api_request *r)
{
    struct api_request other;
    struct api_error err;
    json_t *body = json_deep_copy(r->body);
    json_t *messages = json_object_get(body, "messages");
    wrap(body, "system");
    for (size_t i = 0; i < json_array_size(messages); i++)
        wrap(json_array_get(messages, i), "content");
    api_request_init(&other);
    const struct api_operation *op =
        r->task == API_COUNT ? &anthropic_count : &anthropic_messages;
    REQUIRE(op->parse(&other, body, &err) == STATUS_OK);
    REQUIRE(json_equal(other.messages, r->messages));
    api_request_release(&other);
}

static void check_stream(const struct buf *out)
{
    const char *p = out->data, *const end = out->data + out->len;
    while (p < end) {
        REQUIRE(strncmp(p, "event: ", 7) == 0);
        p = strchr(p, '\n') + 1;
        REQUIRE(strncmp(p, "data: ", 6) == 0);
        const char *line = p + 6;
        p = strchr(line, '\n');
        fuzz_check_json(line, (size_t)(p - line));
        REQUIRE(p[1] == '\n');
        p += 2;
    }
}

static void run(const struct api_operation *op, const json_t *body, const uint8_t *script,
                size_t n)
{
    struct api_request r;
    struct api_error err = {0};
    struct buf out;
    api_request_init(&r);
    json_t *own = json_deep_copy(body);
    if (op->parse(&r, own, &err) != STATUS_OK) {
        json_decref(own);
        REQUIRE(*err.message);
        return;
    }
    fuzz_check_request(&r);
    check_equal_forms(&r);
    if (op->open_writer) {
        buf_init(&out, 1 << 28);
        fuzz_answer(op, &r, script, n, &out);
        if (r.stream)
            check_stream(&out);
        else
            fuzz_check_json(out.data, out.len);
        buf_release(&out);
    }
    api_request_release(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const uint8_t *script;
    size_t n_script;
    json_t *body = fuzz_split(data, n, &script, &n_script);
    if (body) {
        run(&anthropic_messages, body, script, n_script);
        run(&anthropic_count, body, script, n_script);
        json_decref(body);
    }
    return 0;
}
