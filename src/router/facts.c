/* facts.c - what the policy is told of a request: model, lane, conversation, length. */
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "access/body.h"
#include "base/mem.h"
#include "json/print.h"
#include "router/internal.h"

enum { SIDE_TOKENS = 4000, HASH_DEPTH = 64 };

/* ---- hashes of a conversation ---- */

static const char billing[] = "x-anthropic-billing-header:";

/* Equal for what means the same: a string is as a list of one text block, marks for
 * caches and the line that names a client's build do not count. */
static uint64_t hash_content(uint64_t h, const json_t *v, int depth)
{
    const char *name;
    json_t *m;
    size_t i;
    if (depth > HASH_DEPTH)
        return h;
    switch (json_typeof(v)) {
    case JSON_STRING:
        if (!strncmp(json_string_value(v), billing, sizeof billing - 1))
            return h;
        return XXH3_64bits_withSeed(json_string_value(v), json_string_length(v), h);
    case JSON_OBJECT:
        m = json_object_get(v, "text");
        if (json_is_string(m) && json_object_get(v, "type"))
            return hash_content(h, m, depth + 1);
        json_object_foreach((json_t *)v, name, m)
        {
            if (!strcmp(name, "cache_control"))
                continue;
            h = XXH3_64bits_withSeed(name, strlen(name), h);
            h = hash_content(h, m, depth + 1);
        }
        return h;
    case JSON_ARRAY:
        json_array_foreach(v, i, m)
        {
            h = hash_content(h, m, depth + 1);
        }
        return h;
    case JSON_INTEGER: {
        const json_int_t k = json_integer_value(v);
        return XXH3_64bits_withSeed(&k, sizeof k, h);
    }
    default:
        return h * 31 + (uint64_t)json_typeof(v);
    }
}

static uint64_t not_zero(uint64_t h)
{
    return h ? h : 1;
}

/* The first covers what conversations share, the last the whole prompt, in between the
 * newest messages. */
static void hash_prefixes(struct relay *c, const json_t *body)
{
    struct policy_request *ask = &c->ask;
    uint64_t h = XXH3_64bits(c->model, strlen(c->model));
    h = XXH3_64bits_withSeed(c->client, strlen(c->client), h);
    const json_t *shared[] = {json_object_get(body, "tools"),
                              json_object_get(body, "system"),
                              json_object_get(body, "instructions")};
    for (int i = 0; i < 3; i++)
        h = shared[i] ? hash_content(h, shared[i], 0) : h;
    const json_t *list = json_object_get(body, "messages");
    if (!json_is_array(list))
        list = json_object_get(body, "input");
    const size_t n = json_is_array(list) ? json_array_size(list) : 0;
    size_t i = 0;
    // A system message that comes first is shared too.
    const json_t *first = json_array_get(list, 0);
    const char *role = json_string_value(json_object_get(first, "role"));
    if (role && (!strcmp(role, "system") || !strcmp(role, "developer")))
        h = hash_content(h, json_array_get(list, i++), 0);
    ask->prefix[ask->n_prefix++] = not_zero(h);
    for (; i < n; i++) {
        h = hash_content(h, json_array_get(list, i), 0);
        if (n - i <= POLICY_PREFIX_MAX - 1)
            ask->prefix[ask->n_prefix++] = not_zero(h);
    }
    const json_t *prompt = json_object_get(body, "prompt");
    if (!prompt && !json_is_array(list))
        prompt = list;
    if (prompt)
        ask->prefix[ask->n_prefix++] = not_zero(hash_content(h, prompt, 0));
}

/* The client's name for its conversation. */
static uint64_t hash_session(const struct relay *c, const json_t *body)
{
    const char *s = http_header(c->x, "x-claude-code-session-id");
    if (!s)
        s = http_header(c->x, "x-openwebui-chat-id");
    if (!s)
        s = http_header(c->x, "x-turbine-session");
    if (!s)
        s = json_string_value(json_object_get(body, "prompt_cache_key"));
    if (!s || !*s)
        return 0;
    const uint64_t h = XXH3_64bits(s, strlen(s));
    return not_zero(XXH3_64bits_withSeed(c->client, strlen(c->client), h));
}

/* ---- the rest ---- */

static int most_tokens(const json_t *body)
{
    static const char *const names[] = {"max_completion_tokens", "max_output_tokens",
                                        "max_tokens", "n_predict"};
    const json_t *v = NULL;
    for (int i = 0; i < 4 && !json_is_integer(v); i++)
        v = json_object_get(body, names[i]);
    if (!json_is_integer(v))
        v = json_object_get(json_object_get(body, "options"), "num_predict");
    const json_int_t n = json_is_integer(v) ? json_integer_value(v) : -1;
    return n < 0 ? -1 : n > 1 << 30 ? 1 << 30 : (int)n;
}

/* Titles and the like: Claude Code asks for them in its own session, without tools; Open
 * WebUI by a task in one message. */
static bool is_side(const struct relay *c, const json_t *body)
{
    const json_t *list = json_object_get(body, "messages");
    const char *text = json_string_value(
        json_object_get(json_array_get(list, json_array_size(list) - 1), "content"));
    if (c->n_estimate > SIDE_TOKENS)
        return false;
    if (http_header(c->x, "x-claude-code-session-id"))
        return !json_array_size(json_object_get(body, "tools"));
    return json_array_size(list) <= 2 && text && !strncmp(text, "### Task:", 9);
}

static bool read_lane(struct relay *c, const json_t *body)
{
    enum policy_lane *lane = &c->ask.lane;
    const char *asked = http_header(c->x, "x-turbine-route");
    if (!asked)
        asked =
            json_string_value(json_object_get(json_object_get(body, "options"), "route"));
    if (!policy_parse_model(c->model, lane, c->asked_model)) {
        relay_fail(c, API_ERROR_INVALID, "the name of the model is too long");
        return false;
    }
    if (!asked || *lane != POLICY_AUTO)
        return true;
    if (!strcmp(asked, "short"))
        *lane = POLICY_SHORT;
    else if (!strcmp(asked, "long"))
        *lane = POLICY_LONG;
    else if (strcmp(asked, "auto")) {
        relay_fail(c, API_ERROR_INVALID, "the route is short, long or auto");
        return false;
    }
    return true;
}

static bool read_asked_model(struct relay *c, const json_t *body)
{
    const json_t *v = json_object_get(body, "model");
    if (!v && c->route->dialect == DIALECT_OLLAMA)
        v = json_object_get(body, "name");
    const char *name = json_string_value(v);
    if (v && !name) {
        relay_fail(c, API_ERROR_INVALID, "model must be a string");
        return false;
    }
    const int n = snprintf(c->asked_model, sizeof c->asked_model, "%s", name ? name : "");
    if (n >= (int)sizeof c->asked_model) {
        relay_fail(c, API_ERROR_INVALID, "the name of the model is too long");
        return false;
    }
    return true;
}

static void read_facts(struct relay *c, const json_t *body)
{
    struct router *r = c->router;
    const json_t *stream = json_object_get(body, "stream");
    c->stream = c->route->kind == ROUTE_GENERATE &&
                (stream ? json_is_true(stream) : c->route->streams);
    if (c->route->kind != ROUTE_PLAIN)
        estimate_body(&c->text, body);
    pthread_mutex_lock(&r->lock);
    c->n_estimate = token_estimate_tokens(&r->estimate, &c->text);
    pthread_mutex_unlock(&r->lock);
    c->ask.n_prompt = c->n_estimate;
    c->ask.max_tokens = most_tokens(body);
    c->ask.side = c->route->kind == ROUTE_GENERATE && is_side(c, body);
    c->ask.session = hash_session(c, body);
    hash_prefixes(c, body);
    // What cannot be translated goes to who speaks it.
    c->ask.dialects = c->route->kind == ROUTE_PLAIN ? c->route->dialect : 0;
    c->ask.model = c->model;
    if (http_query(c->x, "beta"))
        c->query = mem_strdup("?beta=true");
}

bool relay_read(struct relay *c)
{
    struct api_error e;
    size_t n;
    char *text = http_body(c->x, &n);
    json_t *body = body_parse(text, n, &e);
    if (!body) {
        relay_error(c, &e);
        return false;
    }
    c->has_body = true;
    const bool ok = read_asked_model(c, body) && read_lane(c, body);
    if (ok)
        read_facts(c, body);
    json_decref(body);
    return ok;
}
