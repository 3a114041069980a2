/* log.c - JSON lines on stderr, never with text of prompts or answers. */
#include "access/log_line.h"
#include "json/print.h"
#include "server/internal.h"

void log_event(const struct server *s, const char *event, const char *text)
{
    struct buf b;
    if (!s->o.log)
        return;
    log_line_begin(&b, event);
    buf_puts(&b, ",\"text\":");
    json_print_string(&b, text);
    log_line_end(&b);
}

void log_call(const struct call *c, uint64_t us)
{
    struct buf b;
    if (!c->server->o.log)
        return;
    log_line_begin(&b, "request");
    buf_printf(&b, ",\"id\":\"%s\",\"peer\":", c->request_id);
    json_print_string(&b, http_peer(c->x));
    log_line_text(&b, "method", http_method(c->x), LOG_METHOD_BYTES);
    log_line_text(&b, "path", c->path, LOG_PATH_BYTES);
    buf_printf(&b, ",\"dialect\":\"%s\",\"status\":%d,\"ms\":%.1f", c->dialect->name,
               c->status, (double)us / 1e3);
    if (c->req.model && *c->req.model)
        log_line_text(&b, "model", c->req.model, LOG_PATH_BYTES);
    if (c->load_us > 1000)
        buf_printf(&b, ",\"load_ms\":%.1f", (double)c->load_us / 1e3);
    if (c->usage.n_prompt)
        buf_printf(&b, ",\"prompt_tokens\":%d,\"cached_tokens\":%d,\"tokens\":%d",
                   c->usage.n_prompt, c->usage.n_cached, c->usage.n_decoded);
    if (c->first_us)
        buf_printf(&b, ",\"first_ms\":%.1f",
                   (double)(c->first_us - http_start_us(c->x)) / 1e3);
    if (c->n_dropped)
        buf_printf(&b, ",\"dropped_messages\":%d", c->n_dropped);
    if (c->finish)
        buf_printf(&b, ",\"finish\":\"%s\"", c->finish);
    log_line_end(&b);
}
