/* own_routes.c - what the router answers itself: models of all backends, health. */
#include <string.h>

#include "dialect/ollama_models.h"
#include "router/internal.h"

/* The version of Ollama's API that is followed, as the server says it. */
#define ROUTER_OLLAMA_API "0.33.0"

void own_root(struct relay *c)
{
    relay_reply_text(c, 200, "Turbine route is running\n");
}

void own_livez(struct relay *c)
{
    relay_reply_text(c, 200, "ok\n");
}

/* With the lock. */
static bool backend_is_well(const struct router *r, const struct backend *b)
{
    return b && fleet_is_well(r, b, false);
}

static bool any_is_well(struct router *r)
{
    bool well = false;
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_backend && !well; i++)
        well = backend_is_well(r, r->backends[i]);
    pthread_mutex_unlock(&r->lock);
    return well;
}

/* Ready: it would take a request, and somebody is there to answer it. */
void own_readyz(struct relay *c)
{
    if (atomic_load(&c->router->draining))
        relay_reply_text(c, 503, "draining\n");
    else if (!any_is_well(c->router))
        relay_reply_text(c, 503, "no backend is healthy\n");
    else
        relay_reply_text(c, 200, "ok\n");
}

void own_health(struct relay *c)
{
    const bool well = !atomic_load(&c->router->draining) && any_is_well(c->router);
    relay_reply_json(c, well ? 200 : 503,
                     well ? json_pack("{s:s}", "status", "ok")
                          : json_pack("{s:{s:i,s:s,s:s}}", "error", "code", 503,
                                      "message", "no backend is healthy, or it ends",
                                      "type", "unavailable_error"));
}

void own_hello(struct relay *c)
{
    relay_reply_json(c, 200, json_pack("{s:s}", "message", "hello"));
}

void own_version(struct relay *c)
{
    relay_reply_json(
        c, 200, json_pack("{s:s,s:s}", "version", ROUTER_OLLAMA_API, "turbine", "route"));
}

/* ---- models ---- */

/* {name: largest context}, in the order of the backends; with the lock. */
static void add_names(json_t *names, const struct backend *b)
{
    const struct policy_model *m = b->c->n_model ? b->c->models : b->listed;
    const int n = b->c->n_model ? b->c->n_model : b->n_listed;
    const int n_ctx = b->c->n_ctx ? b->c->n_ctx : b->n_ctx;
    for (int i = 0; i < n; i++) {
        const json_t *known = json_object_get(names, m[i].name);
        if (strcmp(m[i].name, "*") && (!known || json_integer_value(known) < n_ctx))
            json_object_set_new(names, m[i].name, json_integer(n_ctx));
    }
}

static json_t *names_of_all(struct router *r)
{
    json_t *names = json_object();
    pthread_mutex_lock(&r->lock);
    for (int i = 0; i < r->n_backend; i++)
        if (backend_is_well(r, r->backends[i]))
            add_names(names, r->backends[i]);
    pthread_mutex_unlock(&r->lock);
    return names;
}

static json_t *describe_model(const struct relay *c, const char *name, json_int_t n_ctx)
{
    json_t *v =
        c->dialect == &dialect_anthropic
            ? json_pack("{s:s,s:s,s:s,s:s}", "type", "model", "id", name, "display_name",
                        name, "created_at", "1970-01-01T00:00:00Z")
            : json_pack("{s:s,s:s,s:i,s:s}", "id", name, "object", "model", "created", 0,
                        "owned_by", "turbine-route");
    if (n_ctx)
        json_object_set_new(
            v, c->dialect == &dialect_anthropic ? "max_input_tokens" : "max_model_len",
            json_integer(n_ctx));
    return v;
}

void own_models(struct relay *c)
{
    json_t *names = names_of_all(c->router), *data = json_array(), *v;
    const char *name;
    json_object_foreach(names, name, v)
    {
        json_array_append_new(data, describe_model(c, name, json_integer_value(v)));
    }
    json_t *first = json_object_get(json_array_get(data, 0), "id");
    json_t *last = json_object_get(json_array_get(data, json_array_size(data) - 1), "id");
    if (c->dialect == &dialect_anthropic)
        v = json_pack("{s:o,s:b,s:O?,s:O?}", "data", data, "has_more", 0, "first_id",
                      first, "last_id", last);
    else
        v = json_pack("{s:s,s:o}", "object", "list", "data", data);
    relay_reply_json(c, 200, v);
    json_decref(names);
}

void own_model(struct relay *c)
{
    const char *name = c->path + strlen("/v1/models/");
    json_t *names = names_of_all(c->router);
    const json_t *n_ctx = json_object_get(names, name);
    if (n_ctx)
        relay_reply_json(c, 200, describe_model(c, name, json_integer_value(n_ctx)));
    else
        relay_fail(c, API_ERROR_NO_MODEL, "model '%.200s' not found", name);
    json_decref(names);
}

void own_tags(struct relay *c)
{
    json_t *names = names_of_all(c->router), *models = json_array(), *v;
    const char *name;
    json_object_foreach(names, name, v)
    {
        json_array_append_new(
            models,
            json_pack("{s:s,s:s,s:s,s:i,s:s,s:{s:s,s:s,s:s,s:n,s:s,s:s,s:O}}", "name",
                      name, "model", name, "modified_at", "1970-01-01T00:00:00Z", "size",
                      0, "digest", "", "details", "parent_model", "", "format", "gguf",
                      "family", "", "families", "parameter_size", "",
                      "quantization_level", "", "context_length", v));
    }
    relay_reply_json(c, 200, json_pack("{s:o}", "models", models));
    json_decref(names);
}
