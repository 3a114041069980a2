/* web_assets.h - the files of the web page (src/server/web), as they are in the binary.
 *
 * They hold nothing secret and are served without an API key: the page asks for the key
 * itself when an API call answers 401.  It is written for WEB_CSP below: no inline script
 * or style, nothing from elsewhere, no HTML made from strings. */
#ifndef SERVER_WEB_ASSETS_H
#define SERVER_WEB_ASSETS_H

#include <stddef.h>
#include <stdint.h>

/* Headers of every asset: Content-Security-Policy: WEB_CSP, Cache-Control:
 * WEB_CACHE_CONTROL, ETag: etag, X-Content-Type-Options: nosniff. */
#define WEB_CSP                                                                         \
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " \
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
/* Asked for again each time, and answered by 304 as long as If-None-Match is etag. */
#define WEB_CACHE_CONTROL "no-cache"

struct web_asset {
    const char *path; // as requested: "/", "/web/app.js"
    const char *content_type;
    const uint8_t *data; // [n]
    size_t n;
    char etag[20]; // with its quotes: 16 hexadecimal digits of XXH3
};

/* All assets, *n of them; any thread. */
const struct web_asset *web_assets(size_t *n);

/* The asset at path, without its query; NULL if there is none; any thread. */
const struct web_asset *web_asset_find(const char *path);

#endif
