/* log.c - lines of the router's log, never with text of prompts or answers. */
#include <stdarg.h>
#include <stdio.h>

#include "access/log_line.h"
#include "json/print.h"
#include "router/internal.h"

void router_log(const struct router *r, const char *event, const char *fmt, ...)
{
    struct buf b;
    char text[1024];
    va_list ap;
    if (!r->o.log)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_line_begin(&b, event);
    buf_puts(&b, ",\"text\":");
    json_print_string(&b, text);
    log_line_end(&b);
}

static void add_string(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, ",\"%s\":", name);
    json_print_string(b, value);
}

void router_log_call(const struct relay *c, uint64_t us)
{
    struct buf b;
    if (!c->router->o.log)
        return;
    log_line_begin(&b, "request");
    add_string(&b, "id", c->request_id);
    add_string(&b, "peer", http_peer(c->x));
    if (*c->client)
        add_string(&b, "client", c->client);
    log_line_text(&b, "method", http_method(c->x), LOG_METHOD_BYTES);
    log_line_text(&b, "path", c->path, LOG_PATH_BYTES);
    buf_printf(&b, ",\"dialect\":\"%s\",\"status\":%d,\"ms\":%.1f", c->dialect->name,
               c->status, (double)us / 1e3);
    if (*c->model)
        add_string(&b, "model", c->model);
    if (c->backend)
        add_string(&b, "backend", c->backend->shown);
    if (*c->fallback)
        add_string(&b, "fallback", c->fallback);
    if (*c->dropped)
        add_string(&b, "dropped", c->dropped);
    if (c->n_attempt > 1)
        buf_printf(&b, ",\"attempts\":%d,\"failure\":\"%s\"", c->n_attempt,
                   policy_failure_name(c->last_failure));
    if (c->has_error && c->status >= 400)
        add_string(&b, "error", c->last_error.message);
    if (c->first_us)
        buf_printf(&b, ",\"first_ms\":%.1f",
                   (double)(c->first_us - http_start_us(c->x)) / 1e3);
    if (c->has_usage)
        buf_printf(&b, ",\"prompt_tokens\":%d,\"cached_tokens\":%d,\"tokens\":%d",
                   c->usage.n_prompt, c->usage.n_cached, c->usage.n_decoded);
    log_line_end(&b);
}
