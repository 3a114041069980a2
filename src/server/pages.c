/* pages.c - the web page and its files, which need no key and hold no secret. */
#include <string.h>

#include "server/internal.h"
#include "server/web_assets.h"

static void reply_asset(struct call *c, const struct web_asset *a)
{
    const char *have = http_header(c->x, "if-none-match");
    const bool same = have && strstr(have, a->etag);
    http_add_header(c->x, "Content-Security-Policy", WEB_CSP);
    http_add_header(c->x, "Cache-Control", WEB_CACHE_CONTROL);
    http_add_header(c->x, "Referrer-Policy", "no-referrer");
    http_add_header(c->x, "ETag", a->etag);
    call_add_headers(c);
    call_account(c, same ? 304 : 200);
    http_reply_static(c->x, same ? 304 : 200, a->content_type, a->data, same ? 0 : a->n);
}

/* Programs look here for "Ollama is running"; browsers want a page. */
void handle_root(struct call *c)
{
    const char *accept = http_header(c->x, "accept");
    const struct web_asset *page = web_asset_find("/");
    if (page && accept && strstr(accept, "text/html"))
        reply_asset(c, page);
    else
        call_reply_text(c, 200, "Ollama is running");
}

void handle_asset(struct call *c)
{
    const struct web_asset *a = web_asset_find(c->path);
    if (a)
        reply_asset(c, a);
    else
        call_fail(c, API_ERROR_NO_ROUTE, "nothing is served at %.200s", c->path);
}
