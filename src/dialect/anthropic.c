#include <string.h>

#include "dialect/anthropic_parts.h"
#include "json/print.h"

enum { HTTP_OVERLOADED = 529 };

static const char *error_type(enum api_error_kind kind)
{
    switch (kind) {
    case API_ERROR_INVALID:
    case API_ERROR_TOO_LONG:
    case API_ERROR_UNSUPPORTED:
    case API_ERROR_METHOD:
        return "invalid_request_error";
    case API_ERROR_UNAUTHORIZED:
        return "authentication_error";
    case API_ERROR_FORBIDDEN:
        return "permission_error";
    case API_ERROR_NO_MODEL:
    case API_ERROR_NO_ROUTE:
        return "not_found_error";
    case API_ERROR_TOO_LARGE:
        return "request_too_large";
    case API_ERROR_RATE_LIMIT:
        return "rate_limit_error";
    case API_ERROR_BUSY:
    case API_ERROR_DRAINING:
        return "overloaded_error";
    case API_ERROR_CANCELLED:
    case API_ERROR_NO_ROOM:
    case API_ERROR_BACKEND:
    case API_ERROR_INTERNAL:
        break;
    }
    return "api_error";
}

void anthropic_print_error_body(struct buf *out, const struct api_error *e,
                                const char *request_id)
{
    buf_puts(out, "{\"type\":\"error\",\"error\":{\"type\":");
    json_print_string(out, error_type(e->kind));
    buf_puts(out, ",\"message\":");
    /* Word for word: clients compact the conversation when they read it. */
    const bool too_long = e->kind == API_ERROR_TOO_LONG;
    if (too_long && e->n_ctx > 0) {
        buf_printf(out, "\"prompt is too long: %d tokens > %d maximum\"", e->n_prompt,
                   e->n_ctx);
    } else {
        buf_puts(out, too_long ? "\"prompt is too long: " : "\"");
        json_print_escaped(out, e->message, strlen(e->message));
        buf_puts(out, "\"");
    }
    buf_puts(out, "},\"request_id\":");
    json_print_string(out, request_id);
    buf_puts(out, "}");
}

static void print_anthropic_error(struct buf *out, int *http_status,
                                  const struct api_error *e, const char *request_id)
{
    *http_status = e->kind == API_ERROR_BUSY ? HTTP_OVERLOADED : api_error_http(e->kind);
    anthropic_print_error_body(out, e, request_id);
}

static enum status parse_as(struct api_request *r, enum api_task task, json_t *body,
                            struct api_error *err)
{
    r->task = task;
    r->body = body;
    const enum status s = anthropic_read_request(r, err);
    if (s != STATUS_OK) {
        r->body = NULL; // it stays the caller's
        api_request_release(r);
    }
    return s;
}

static enum status parse_messages(struct api_request *r, json_t *body,
                                  struct api_error *err)
{
    return parse_as(r, API_CHAT, body, err);
}

static enum status parse_count(struct api_request *r, json_t *body, struct api_error *err)
{
    return parse_as(r, API_COUNT, body, err);
}

static void print_input_tokens(struct buf *out, int n_prompt)
{
    buf_printf(out, "{\"input_tokens\":%d}", n_prompt);
}

static const struct field_table *const tables[] = {
    &anthropic_fields, &anthropic_thinking_fields, &anthropic_output_fields,
    &anthropic_tool_choice_fields, &anthropic_metadata_fields};

const struct dialect dialect_anthropic = {
    .name = "anthropic",
    .print_error = print_anthropic_error,
    .tables = tables,
    .n_table = (int)(sizeof tables / sizeof *tables),
};

const struct api_operation anthropic_messages = {
    .dialect = &dialect_anthropic,
    .task = API_CHAT,
    .parse = parse_messages,
    .open_writer = anthropic_open_writer,
};

const struct api_operation anthropic_count = {
    .dialect = &dialect_anthropic,
    .task = API_COUNT,
    .parse = parse_count,
    .print_count = print_input_tokens,
};
