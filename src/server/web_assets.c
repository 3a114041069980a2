/* web_assets.c - the files of src/server/web, included by the assembler: the compiler
 * runs in the repository's root.  Makefile lists them as what this object depends on. */
#include "server/web_assets.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* name of the symbol, file, path, type */
#define WEB_ASSET_MAP(X)                                          \
    X(index, "index.html", "/", "text/html; charset=utf-8")       \
    X(style, "style.css", "/web/style.css", STYLE)                \
    X(transcript, "transcript.css", "/web/transcript.css", STYLE) \
    X(machine, "live.css", "/web/live.css", STYLE)                \
    X(icon, "icon.svg", "/web/icon.svg", "image/svg+xml")         \
    X(app, "app.js", "/web/app.js", SCRIPT)                       \
    X(api, "api.js", "/web/api.js", SCRIPT)                       \
    X(area, "area.js", "/web/area.js", SCRIPT)                    \
    X(dialogs, "dialogs.js", "/web/dialogs.js", SCRIPT)           \
    X(dom, "dom.js", "/web/dom.js", SCRIPT)                       \
    X(highlight, "highlight.js", "/web/highlight.js", SCRIPT)     \
    X(live, "live.js", "/web/live.js", SCRIPT)                    \
    X(markdown, "markdown.js", "/web/markdown.js", SCRIPT)        \
    X(messages, "messages.js", "/web/messages.js", SCRIPT)        \
    X(store, "store.js", "/web/store.js", SCRIPT)                 \
    X(stream, "stream.js", "/web/stream.js", SCRIPT)
#define STYLE "text/css; charset=utf-8"
#define SCRIPT "text/javascript; charset=utf-8"

#define X(name, file, path, type)                   \
    __asm__(".section .rodata\n"                    \
            ".hidden web_" #name "_begin\n"         \
            ".hidden web_" #name "_end\n"           \
            ".global web_" #name "_begin\n"         \
            ".global web_" #name "_end\n"           \
            "web_" #name "_begin:\n"                \
            ".incbin \"src/server/web/" file "\"\n" \
            "web_" #name "_end:\n"                  \
            ".byte 0\n"                             \
            ".previous\n");                         \
    extern const uint8_t web_##name##_begin[], web_##name##_end[];
WEB_ASSET_MAP(X)
#undef X

#define X(name, file, path, type) +1
enum { N_ASSET = WEB_ASSET_MAP(X) };
#undef X

static struct web_asset assets[N_ASSET];
static pthread_once_t assets_once = PTHREAD_ONCE_INIT;

static void fill_assets(void)
{
    struct web_asset *a = assets;
#define X(name, file, where, type)                        \
    *a++ = (struct web_asset){.path = where,              \
                              .content_type = type,       \
                              .data = web_##name##_begin, \
                              .n = (size_t)(web_##name##_end - web_##name##_begin)};
    WEB_ASSET_MAP(X)
#undef X
    for (a = assets; a < assets + N_ASSET; a++)
        snprintf(a->etag, sizeof a->etag, "\"%016llx\"",
                 (unsigned long long)XXH3_64bits(a->data, a->n));
}

const struct web_asset *web_assets(size_t *n)
{
    pthread_once(&assets_once, fill_assets);
    *n = N_ASSET;
    return assets;
}

const struct web_asset *web_asset_find(const char *path)
{
    size_t n;
    const struct web_asset *a = web_assets(&n);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(a[i].path, path))
            return &a[i];
    return NULL;
}
