#include <time.h>

#include "json/print.h"
#include "dialect/ollama_parts.h"
#include "dialect/ollama_store.h"

void ollama_print_time(struct buf *out, int64_t us)
{
    int64_t s = us / 1000000, part = us % 1000000;
    if (part < 0)
        s--, part += 1000000;
    const time_t t = (time_t)s;
    struct tm tm;
    char date[40];
    if (!gmtime_r(&t, &tm) || tm.tm_year + 1900 > 9999 ||
        !strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm)) {
        buf_puts(out, "\"9999-12-31T23:59:59Z\""); // as late as the format can say
        return;
    }
    buf_printf(out, "\"%s.%06dZ\"", date, (int)part);
}

void ollama_print_error_body(struct buf *out, const struct api_error *e)
{
    buf_puts(out, "{\"error\":");
    if (e->kind == API_ERROR_TOO_LONG && e->n_ctx == 0)
        buf_puts(out, "\"the input length exceeds the context length\"");
    else if (e->kind == API_ERROR_TOO_LONG)
        buf_printf(out,
                   "\"the input length exceeds the context length: %d tokens > %d "
                   "maximum\"",
                   e->n_prompt, e->n_ctx);
    else if (e->kind == API_ERROR_BUSY)
        buf_puts(out,
                 "\"server busy, please try again.  maximum pending requests exceeded\"");
    else
        json_print_string(out, e->message);
    buf_puts(out, "}");
}

static void print_ollama_error(struct buf *out, int *http_status,
                               const struct api_error *e, const char *request_id)
{
    (void)request_id;
    *http_status = api_error_http(e->kind);
    ollama_print_error_body(out, e);
}

static const struct field_table *const tables[] = {
    &ollama_chat_fields,       &ollama_generate_fields, &ollama_embed_fields,
    &ollama_embeddings_fields, &ollama_option_fields,   &ollama_create_fields,
    &ollama_parameter_fields,  &ollama_copy_fields,     &ollama_pull_fields,
    &ollama_delete_fields};

/* Source: Ollama, docs/modelfile.mdx, PARAMETER. */
static const struct api_sampling ollama_sampling = {
    .temperature = 0.8f,
    .top_p = 0.9f,
    .min_p = 0,
    .typical_p = 1,
    .repeat_penalty = 1,
    .presence_penalty = 0,
    .frequency_penalty = 0,
    .top_k = 40,
    .repeat_last_n = 64,
};

const struct dialect dialect_ollama = {
    .name = "ollama",
    .print_error = print_ollama_error,
    .tables = tables,
    .n_table = (int)(sizeof tables / sizeof *tables),
    .sampling = &ollama_sampling,
};
