/* openai_error.c - errors as OpenAI's API has them, and the dialect itself. */
#include "json/print.h"
#include "dialect/openai.h"

struct error_shape {
    const char *type, *code; // code NULL: null
};

static const struct error_shape shapes[] = {
    [API_ERROR_INVALID] = {"invalid_request_error", NULL},
    [API_ERROR_TOO_LONG] = {"invalid_request_error", "context_length_exceeded"},
    [API_ERROR_UNAUTHORIZED] = {"invalid_request_error", "invalid_api_key"},
    [API_ERROR_FORBIDDEN] = {"invalid_request_error", "forbidden"},
    [API_ERROR_NO_MODEL] = {"invalid_request_error", "model_not_found"},
    [API_ERROR_NO_ROUTE] = {"invalid_request_error", "unknown_url"},
    [API_ERROR_METHOD] = {"invalid_request_error", "method_not_supported"},
    [API_ERROR_TOO_LARGE] = {"invalid_request_error", "request_too_large"},
    [API_ERROR_UNSUPPORTED] = {"invalid_request_error", "unsupported_value"},
    [API_ERROR_RATE_LIMIT] = {"rate_limit_error", "rate_limit_exceeded"},
    [API_ERROR_BUSY] = {"server_error", "server_overloaded"},
    [API_ERROR_DRAINING] = {"server_error", "server_shutting_down"},
    [API_ERROR_CANCELLED] = {"invalid_request_error", "request_cancelled"},
    [API_ERROR_NO_ROOM] = {"server_error", "model_does_not_fit"},
    [API_ERROR_BACKEND] = {"server_error", "bad_gateway"},
    [API_ERROR_INTERNAL] = {"server_error", NULL},
};

/* {"error": {...}} without what surrounds it.  Clients know an overflow by its sentence,
 * which is OpenAI's own. */
static void print_error_object(struct buf *out, const struct api_error *e)
{
    const struct error_shape *shape = &shapes[e->kind];
    const bool too_long = e->kind == API_ERROR_TOO_LONG;
    buf_puts(out, "{\"error\":{\"message\":");
    if (too_long && e->n_ctx > 0)
        buf_printf(out,
                   "\"This model's maximum context length is %d tokens. However, your "
                   "messages resulted in %d tokens. Please reduce the length of the "
                   "messages.\"",
                   e->n_ctx, e->n_prompt);
    else
        json_print_string(out, e->message);
    buf_printf(out, ",\"type\":\"%s\",\"param\":", shape->type);
    if (e->param[0])
        json_print_string(out, e->param);
    else
        buf_puts(out, too_long                        ? "\"messages\""
                      : e->kind == API_ERROR_NO_MODEL ? "\"model\""
                                                      : "null");
    if (shape->code)
        buf_printf(out, ",\"code\":\"%s\"", shape->code);
    else
        buf_puts(out, ",\"code\":null");
    if (too_long && e->n_ctx > 0)
        buf_printf(out, ",\"n_prompt_tokens\":%d,\"n_ctx\":%d", e->n_prompt, e->n_ctx);
    buf_puts(out, "}}");
}

void openai_print_error(struct buf *out, int *http_status, const struct api_error *e,
                        const char *request_id)
{
    (void)request_id; // OpenAI's is a header
    *http_status = api_error_http(e->kind);
    print_error_object(out, e);
}

void openai_print_stream_error(struct buf *out, const struct api_error *e)
{
    buf_puts(out, "data: ");
    print_error_object(out, e);
    buf_puts(out, "\n\n");
}

static const struct field_table *const tables[] = {
    &openai_chat_fields,      &openai_completion_fields, &openai_responses_fields,
    &openai_reasoning_fields, &openai_embedding_fields,  &openai_infill_fields,
    &openai_stream_fields,    &openai_option_fields,
};

const struct dialect dialect_openai = {
    .name = "openai",
    .print_error = openai_print_error,
    .tables = tables,
    .n_table = (int)(sizeof tables / sizeof *tables),
};
