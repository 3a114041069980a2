/* routes.c - one line a route: method, path, what kind of request it is. */
#include <stdio.h>
#include <string.h>

#include "router/internal.h"

#define OWN(path, handler)                                                  \
    {                                                                       \
        .method = "GET", path, ROUTE_OWN, .handle = handler, .drains = true \
    }
#define POST(path, kind, dialect, operation, member)                                     \
    {                                                                                    \
        "POST", path, ROUTE_##kind, DIALECT_##dialect, .op = operation, .answer = member \
    }

static const struct router_route router_routes[] = {
    {.method = "GET", .path = "/", .public = true, .handle = own_root},
    {.method = "GET",
     .path = "/livez",
     .public = true,
     .drains = true,
     .handle = own_livez},
    OWN("/readyz", own_readyz),
    OWN("/metrics", own_metrics),
    OWN("/health", own_health),
    OWN("/v1/health", own_health),
    OWN("/route/status", own_status),
    OWN("/v1/models", own_models),
    OWN("/models", own_models),
    {.method = "GET", .path = "/v1/models/", .below = true, .handle = own_model},
    OWN("/api/tags", own_tags),
    OWN("/api/ps", own_ps),
    OWN("/api/version", own_version),
    OWN("/api/hello", own_hello), // Claude Code asks by HEAD

    POST("/v1/chat/completions", GENERATE, OPENAI, &openai_chat, "choices"),
    POST("/chat/completions", GENERATE, OPENAI, &openai_chat, "choices"),
    POST("/v1/completions", GENERATE, OPENAI, &openai_completions, "choices"),
    POST("/completion", GENERATE, OPENAI, &openai_completion, "content"),
    POST("/completions", GENERATE, OPENAI, &openai_completion, "content"),
    POST("/v1/responses", GENERATE, OPENAI, &openai_responses, "output"),
    POST("/infill", GENERATE, OPENAI, &openai_infill, "content"),
    POST("/v1/embeddings", EMBED, OPENAI, &openai_embeddings, NULL),
    POST("/embeddings", EMBED, OPENAI, &openai_embeddings, NULL),
    POST("/tokenize", PLAIN, OPENAI, NULL, NULL),
    POST("/detokenize", PLAIN, OPENAI, NULL, NULL),
    POST("/apply-template", PLAIN, OPENAI, NULL, NULL),

    POST("/v1/messages", GENERATE, ANTHROPIC, &anthropic_messages, "content"),
    POST("/v1/messages/count_tokens", COUNT, ANTHROPIC, &anthropic_count, "input_tokens"),

    {"POST", "/api/chat", ROUTE_GENERATE, DIALECT_OLLAMA, .op = &ollama_chat,
     .answer = "message", .streams = true},
    {"POST", "/api/generate", ROUTE_GENERATE, DIALECT_OLLAMA, .op = &ollama_generate,
     .answer = "response", .streams = true},
    POST("/api/embed", EMBED, OLLAMA, &ollama_embed, NULL),
    POST("/api/embeddings", EMBED, OLLAMA, &ollama_embeddings, NULL),
    POST("/api/show", PLAIN, OLLAMA, NULL, NULL),
};

static bool at_path(const struct router_route *r, const char *path)
{
    const size_t n = strlen(r->path);
    return r->below ? !strncmp(path, r->path, n) && path[n] : !strcmp(path, r->path);
}

const struct router_route *router_route_find(const char *method, const char *path,
                                             char allow[64])
{
    const char *as = !strcmp(method, "HEAD") ? "GET" : method;
    *allow = 0;
    for (size_t i = 0; i < sizeof router_routes / sizeof *router_routes; i++) {
        const struct router_route *r = &router_routes[i];
        if (!at_path(r, path))
            continue;
        if (!strcmp(as, r->method))
            return r;
        snprintf(allow, 64, "%s%s", r->method, !strcmp(r->method, "GET") ? ", HEAD" : "");
    }
    return NULL;
}

const struct dialect *router_route_dialect(const char *path, bool anthropic_version)
{
    if (!strncmp(path, "/api/", 5))
        return &dialect_ollama;
    if (!strncmp(path, "/v1/messages", 12) || anthropic_version)
        return &dialect_anthropic;
    return &dialect_openai;
}
