/* openai_completion.c - POST /v1/completions, /completion, /infill and /v1/embeddings:
 * requests. */
#include "dialect/content.h"
#include "dialect/openai.h"

static enum status check_completion(const struct openai_body *b, struct api_error *err)
{
    const size_t n = json_array_size(b->r.prompts) * (size_t)b->r.n;
    if (n > API_N_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "n",
                        "prompts times n is %zu, at most %d", n, API_N_MAX);
    if (b->best_of > b->r.n)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "best_of",
                        "best_of is not supported: it must not be more than n (%d)",
                        b->r.n);
    return STATUS_OK;
}

static enum status parse_completion(struct api_request *out, json_t *body,
                                    struct api_error *err)
{
    struct openai_body b;
    openai_body_init(&b, out);
    b.r.task = API_COMPLETION;
    b.r.raw = true;
    enum status s = fields_read(&openai_completion_fields, body, &b, "", err);
    if (s == STATUS_OK)
        s = openai_read_prompts(&b.r, json_object_get(body, "prompt"), "prompt",
                                API_N_MAX, true, err);
    if (s == STATUS_OK)
        s = openai_read_format(&b.r, json_object_get(body, "response_format"),
                               "response_format", false, err);
    if (s == STATUS_OK)
        s = openai_read_common(&b, body, err);
    if (s == STATUS_OK)
        s = check_completion(&b, err);
    return openai_body_finish(out, &b, body, s);
}

/* The reply of llama.cpp's own path has a place for one answer. */
static enum status parse_one_completion(struct api_request *out, json_t *body,
                                        struct api_error *err)
{
    const enum status s = parse_completion(out, body, err);
    if (s != STATUS_OK || openai_choices(out) == 1)
        return s;
    out->body = NULL; // it stays the caller's
    api_request_release(out);
    return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "prompt",
                    "more than one answer is for /v1/completions");
}

/* Name and text of each file of input_extra, behind the other prompts. */
static enum status read_extra(struct api_request *r, const json_t *extra,
                              struct api_error *err)
{
    if (!extra || json_is_null(extra))
        return STATUS_OK;
    if (!json_is_array(extra) || json_array_size(extra) > API_PROMPTS_MAX / 2 - 1)
        return content_wrong(extra, "input_extra", "an array of at most 1023 files", err);
    for (size_t i = 0; i < json_array_size(extra); i++) {
        const json_t *file = json_array_get(extra, i);
        const json_t *name = json_object_get(file, "filename");
        json_t *text = json_object_get(file, "text");
        const struct content_path path = content_at("input_extra[%zu]", i);
        if (!json_is_string(text))
            return content_wrong(text, content_at("%s.text", path.text).text, "a string",
                                 err);
        if (name && !json_is_null(name) && !json_is_string(name))
            return content_wrong(name, content_at("%s.filename", path.text).text,
                                 "a string", err);
        if (json_array_append_new(r->prompts, json_is_string(name)
                                                  ? json_incref((json_t *)name)
                                                  : json_string("")) ||
            json_array_append(r->prompts, text))
            return api_no_memory(err);
    }
    return STATUS_OK;
}

static enum status parse_infill(struct api_request *out, json_t *body,
                                struct api_error *err)
{
    struct openai_body b;
    openai_body_init(&b, out);
    b.r.task = API_INFILL;
    b.r.raw = true;
    b.r.suffix = b.prefix = b.middle = "";
    enum status s = fields_read(&openai_infill_fields, body, &b, "", err);
    if (s == STATUS_OK)
        b.r.prompts = json_pack("[s, s]", b.prefix, b.middle);
    if (s == STATUS_OK && !b.r.prompts)
        s = api_no_memory(err);
    if (s == STATUS_OK)
        s = read_extra(&b.r, json_object_get(body, "input_extra"), err);
    if (s == STATUS_OK)
        s = openai_read_common(&b, body, err);
    return openai_body_finish(out, &b, body, s);
}

static enum status parse_embeddings(struct api_request *out, json_t *body,
                                    struct api_error *err)
{
    struct openai_body b;
    openai_body_init(&b, out);
    b.r.task = API_EMBED;
    enum status s = fields_read(&openai_embedding_fields, body, &b, "", err);
    if (s == STATUS_OK)
        s = openai_read_prompts(&b.r, json_object_get(body, "input"), "input",
                                API_PROMPTS_MAX, false, err);
    b.r.base64 = b.encoding == 1;
    return openai_body_finish(out, &b, body, s);
}

const struct api_operation openai_completions = {
    .dialect = &dialect_openai,
    .task = API_COMPLETION,
    .parse = parse_completion,
    .open_writer = openai_open_text,
};

const struct api_operation openai_completion = {
    .dialect = &dialect_openai,
    .task = API_COMPLETION,
    .parse = parse_one_completion,
    .open_writer = openai_open_infill,
};

const struct api_operation openai_infill = {
    .dialect = &dialect_openai,
    .task = API_INFILL,
    .parse = parse_infill,
    .open_writer = openai_open_infill,
};

const struct api_operation openai_embeddings = {
    .dialect = &dialect_openai,
    .task = API_EMBED,
    .parse = parse_embeddings,
    .print_embeddings = openai_print_embeddings,
};
