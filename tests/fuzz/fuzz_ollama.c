/* Any JSON as a request of each kind that Ollama has; every line of an answer is JSON. */
#include "dialect/ollama.h"
#include "dialect/ollama_keep_alive.h"
#include "dialect/ollama_store.h"
#include "dialect_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_lines(const struct api_request *r, const struct buf *out)
{
    const char *p = out->data, *const end = out->data + out->len;
    if (!r->stream) {
        fuzz_check_json(p, out->len);
        return;
    }
    while (p < end) {
        const char *next = memchr(p, '\n', (size_t)(end - p));
        REQUIRE(next);
        fuzz_check_json(p, (size_t)(next - p));
        p = next + 1;
    }
}

static void print_vectors(const struct api_operation *op, const struct api_request *r,
                          struct buf *out)
{
    const float x[6] = {0, 1, -1, 1e-30f, 0.1f, 3};
    const struct api_embeddings e = {
        .vectors = x, .n = ollama_loads_only(r) ? 0 : 2, .n_embd = 3};
    op->print_embeddings(out, r, &fuzz_head, &e);
    fuzz_check_json(out->data, out->len);
}

static void run(const struct api_operation *op, const json_t *body, const uint8_t *script,
                size_t n)
{
    struct api_request r;
    struct api_error err = {0};
    struct buf out;
    int64_t us;
    api_request_init(&r);
    json_t *own = json_deep_copy(body);
    if (op->parse(&r, own, &err) != STATUS_OK) {
        json_decref(own);
        REQUIRE(*err.message);
        return;
    }
    fuzz_check_request(&r);
    REQUIRE(!r.keep_alive || ollama_keep_alive_text(r.keep_alive, &us));
    buf_init(&out, 1 << 28);
    if (op->open_writer) {
        fuzz_answer(op, &r, script, n, &out);
        check_lines(&r, &out);
    } else {
        print_vectors(op, &r, &out);
    }
    buf_release(&out);
    api_request_release(&r);
}

/* Requests for the store: what is read has what it must have. */
static void read_store(const json_t *body)
{
    struct ollama_create create;
    struct ollama_copy copy;
    struct ollama_named named;
    struct api_error err = {0};
    if (ollama_read_create(&create, body, &err))
        REQUIRE(*err.message);
    else
        REQUIRE(*create.model && !create.from != !create.files);
    if (ollama_read_copy(&copy, body, &err))
        REQUIRE(*err.message);
    else
        REQUIRE(*copy.source && *copy.destination);
    if (!ollama_read_pull(&named, body, &err))
        REQUIRE(*named.model);
    if (!ollama_read_delete(&named, body, &err))
        REQUIRE(*named.model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct api_operation *const operations[] = {
        &ollama_chat, &ollama_generate, &ollama_embed, &ollama_embeddings};
    const uint8_t *script;
    size_t n_script;
    json_t *body = fuzz_split(data, n, &script, &n_script);
    if (body) {
        for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
            run(operations[i], body, script, n_script);
        read_store(body);
        json_decref(body);
    }
    return 0;
}
