/* routes.c - one line a route: method, path, who may, and what answers. */
#include <stdio.h>
#include <string.h>

#include "server/internal.h"

#define OPERATION(path, operation)                                        \
    {                                                                     \
        "POST", path, ROUTE_EXACT, ROUTE_PRIVATE, &operation, NULL, false \
    }
#define HANDLER(method, path, access, handler)                          \
    {                                                                   \
        method, path, ROUTE_EXACT, ROUTE_##access, NULL, handler, false \
    }
#define BELOW(method, path, access, handler)                            \
    {                                                                   \
        method, path, ROUTE_BELOW, ROUTE_##access, NULL, handler, false \
    }
#define WATCHER(method, path, access, handler)                         \
    {                                                                  \
        method, path, ROUTE_EXACT, ROUTE_##access, NULL, handler, true \
    }

static const struct route routes[] = {
    HANDLER("GET", "/", PUBLIC, handle_root),
    BELOW("GET", "/web/", PUBLIC, handle_asset),
    WATCHER("GET", "/livez", PUBLIC, handle_livez),
    WATCHER("GET", "/readyz", PRIVATE, handle_readyz),
    WATCHER("GET", "/metrics", PRIVATE, handle_metrics),
    WATCHER("GET", "/health", PRIVATE, handle_health),
    WATCHER("GET", "/v1/health", PRIVATE, handle_health),
    WATCHER("GET", "/slots", PRIVATE, handle_slots),
    WATCHER("GET", "/props", PRIVATE, handle_props),

    OPERATION("/v1/chat/completions", openai_chat),
    OPERATION("/chat/completions", openai_chat),
    OPERATION("/v1/completions", openai_completions),
    OPERATION("/completion", openai_completion), // llama.cpp's own reply
    OPERATION("/completions", openai_completion),
    OPERATION("/v1/responses", openai_responses),
    OPERATION("/v1/embeddings", openai_embeddings),
    OPERATION("/embeddings", openai_embeddings),
    OPERATION("/infill", openai_infill),
    HANDLER("GET", "/v1/models", PRIVATE, handle_models),
    HANDLER("GET", "/models", PRIVATE, handle_models),
    BELOW("GET", "/v1/models/", PRIVATE, handle_model),
    HANDLER("POST", "/tokenize", PRIVATE, handle_tokenize),
    HANDLER("POST", "/detokenize", PRIVATE, handle_detokenize),
    HANDLER("POST", "/apply-template", PRIVATE, handle_apply_template),

    OPERATION("/v1/messages", anthropic_messages),
    OPERATION("/v1/messages/count_tokens", anthropic_count),
    HANDLER("GET", "/api/hello", PRIVATE, handle_hello), // Claude Code asks by HEAD

    OPERATION("/api/chat", ollama_chat),
    OPERATION("/api/generate", ollama_generate),
    OPERATION("/api/embed", ollama_embed),
    OPERATION("/api/embeddings", ollama_embeddings),
    HANDLER("GET", "/api/version", PRIVATE, handle_version),
    HANDLER("GET", "/api/tags", PRIVATE, handle_tags),
    HANDLER("GET", "/api/ps", PRIVATE, handle_ps),
    HANDLER("POST", "/api/show", PRIVATE, handle_show),
    HANDLER("GET", "/api/status", PRIVATE, handle_cloud_status),
    HANDLER("POST", "/api/create", PRIVATE, handle_create),
    HANDLER("POST", "/api/copy", PRIVATE, handle_copy),
    HANDLER("POST", "/api/pull", PRIVATE, handle_pull),
    HANDLER("POST", "/api/push", PRIVATE, handle_push),
    HANDLER("DELETE", "/api/delete", PRIVATE, handle_delete),
    BELOW("POST", "/api/blobs/", PRIVATE, handle_blob),
    BELOW("GET", "/api/blobs/", PRIVATE, handle_blob_head),
    HANDLER("POST", "/api/me", PRIVATE, handle_account),
    HANDLER("POST", "/api/signout", PRIVATE, handle_account),
    BELOW("DELETE", "/api/user/keys/", PRIVATE, handle_account),
};

const struct route *route_table(int *n)
{
    *n = (int)(sizeof routes / sizeof *routes);
    return routes;
}

static bool path_is(const struct route *r, const char *path)
{
    const size_t n = strlen(r->path);
    return r->match == ROUTE_EXACT ? !strcmp(path, r->path)
                                   : !strncmp(path, r->path, n) && path[n];
}

const struct route *route_find(const char *method, const char *path, char allow[64])
{
    const char *as = !strcmp(method, "HEAD") ? "GET" : method;
    *allow = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *r = &routes[i];
        if (!path_is(r, path))
            continue;
        if (!strcmp(as, r->method))
            return r;
        const size_t n = strlen(allow);
        snprintf(allow + n, 64 - n, "%s%s%s", n ? ", " : "", r->method,
                 !strcmp(r->method, "GET") ? ", HEAD" : "");
    }
    return NULL;
}

const char *route_path(const char *path)
{
    return !strncmp(path, "/v1/v1/", 7) ? path + 3 : path;
}

const struct dialect *route_dialect(const char *path, bool anthropic_version)
{
    if (!strncmp(path, "/api/", 5))
        return &dialect_ollama;
    if (!strncmp(path, "/v1/messages", 12) || anthropic_version)
        return &dialect_anthropic;
    return &dialect_openai;
}
