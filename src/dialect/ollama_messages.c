#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "dialect/content.h"
#include "dialect/ollama_parts.h"

enum { CALLS_MAX = 512 }; // of one message

struct history {
    struct api_request *r;
    struct api_error *err;
    /* Calls of the newest message that has any: results need not say whose they are. */
    struct past_call {
        const char *id, *name;
        bool answered;
    } calls[CALLS_MAX];
    size_t n_open;   // of them
    unsigned n_call; // of all messages: ids that a client left out
};

/* *out <- a member that is a string, NULL if it is absent or empty. */
static enum status optional_string(const char **out, const json_t *object,
                                   const char *name, const char *path,
                                   struct api_error *err)
{
    const json_t *v = json_object_get(object, name);
    *out = NULL;
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_string(v))
        return content_wrong(v, content_at("%s.%s", path, name).text, "a string", err);
    if (json_string_length(v) > 0)
        *out = json_string_value(v);
    return STATUS_OK;
}

static enum status add_past_call(struct history *h, json_t *message, const json_t *call,
                                 const char *path)
{
    const struct content_path at = content_at("%s.function", path);
    const json_t *function = json_object_get(call, "function");
    if (!json_is_object(function))
        return content_wrong(function, at.text, "an object", h->err);
    const json_t *name = json_object_get(function, "name");
    if (!json_is_string(name))
        return content_wrong(name, content_at("%s.name", at.text).text, "a string",
                             h->err);
    json_t *arguments = json_object_get(function, "arguments");
    const bool none = !arguments || json_is_null(arguments);
    if (!none && !json_is_object(arguments))
        return content_wrong(arguments, content_at("%s.arguments", at.text).text,
                             "an object", h->err);
    const char *id;
    const enum status s = optional_string(&id, call, "id", path, h->err);
    if (s != STATUS_OK)
        return s;
    char made[24];
    snprintf(made, sizeof made, "call_%u", h->n_call++);
    return content_add_call(message, id ? id : made, json_string_value(name),
                            none ? json_object() : json_incref(arguments), h->err);
}

static void await_results(struct history *h, const json_t *calls)
{
    h->n_open = json_array_size(calls);
    for (size_t i = 0; i < h->n_open; i++) {
        const json_t *call = json_array_get(calls, i);
        const json_t *function = json_object_get(call, "function");
        h->calls[i] = (struct past_call){
            .id = json_string_value(json_object_get(call, "id")),
            .name = json_string_value(json_object_get(function, "name"))};
    }
}

static enum status add_past_calls(struct history *h, json_t *message, const json_t *calls,
                                  const char *path)
{
    if (!calls || json_is_null(calls))
        return STATUS_OK;
    if (!json_is_array(calls))
        return content_wrong(calls, path, "an array", h->err);
    if (json_array_size(calls) > CALLS_MAX)
        return api_fail(h->err, STATUS_LIMIT, API_ERROR_INVALID, path,
                        "%s has %zu calls, at most %d are allowed", path,
                        json_array_size(calls), CALLS_MAX);
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(calls) && s == STATUS_OK; i++)
        s = add_past_call(h, message, json_array_get(calls, i),
                          content_at("%s[%zu]", path, i).text);
    if (s == STATUS_OK && json_array_size(calls) > 0)
        await_results(h, json_object_get(message, "tool_calls"));
    return s;
}

/* The call that a result is of: by its id, else the first without a result whose name
 * this is, else (no name) the first without a result; NULL if there is none. */
static const struct past_call *answered_call(struct history *h, const char *id,
                                             const char *name)
{
    for (size_t i = 0; i < h->n_open; i++) {
        struct past_call *call = &h->calls[i];
        const bool same = id     ? strcmp(call->id, id) == 0
                          : name ? strcmp(call->name, name) == 0
                                 : true;
        if (same && (id || !call->answered)) {
            call->answered = true;
            return call;
        }
    }
    return NULL;
}

static enum status add_result_names(struct history *h, json_t *message, const json_t *m,
                                    const char *path)
{
    const char *id, *name;
    enum status s = optional_string(&id, m, "tool_call_id", path, h->err);
    if (s == STATUS_OK)
        s = optional_string(&name, m, "tool_name", path, h->err);
    if (s == STATUS_OK && !name) // its name before there was tool_name
        s = optional_string(&name, m, "name", path, h->err);
    if (s != STATUS_OK)
        return s;
    const struct past_call *call = answered_call(h, id, name);
    if (call && !id)
        id = call->id;
    if (call && !name)
        name = call->name;
    bool bad =
        json_object_set_new(message, "tool_call_id", json_string(id ? id : "")) != 0;
    bad |= json_object_set_new(message, "name", json_string(name ? name : "")) != 0;
    return bad ? api_no_memory(h->err) : STATUS_OK;
}

/* *role <- one of the four that there are, however it is capitalised. */
static enum status read_role(const char **role, const json_t *m, const char *path,
                             struct api_error *err)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const struct content_path at = content_at("%s.role", path);
    const json_t *v = json_object_get(m, "role");
    const char *sent = json_is_string(v) ? json_string_value(v) : "";
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        size_t n = 0;
        while (roles[i][n] && tolower((unsigned char)sent[n]) == roles[i][n])
            n++;
        if (!roles[i][n] && !sent[n]) {
            *role = roles[i];
            return STATUS_OK;
        }
    }
    return content_wrong(v, at.text, "system, user, assistant or tool", err);
}

static enum status add_thoughts(json_t *message, const json_t *m, const char *path,
                                struct api_error *err)
{
    const char *thinking;
    const enum status s = optional_string(&thinking, m, "thinking", path, err);
    if (s == STATUS_OK && thinking &&
        json_object_set(message, "reasoning_content", json_object_get(m, "thinking")))
        return api_no_memory(err);
    return s;
}

/* The type that the first bytes say, as base64; NULL for none that is known. */
static const char *media_type_of(const char *data)
{
    static const struct {
        const char *begin, *type;
    } types[] = {{"iVBORw0KGgo", "image/png"},
                 {"/9j/", "image/jpeg"},
                 {"R0lGOD", "image/gif"},
                 {"UklGR", "image/webp"}};
    for (size_t i = 0; data && i < sizeof types / sizeof *types; i++)
        if (strncmp(data, types[i].begin, strlen(types[i].begin)) == 0)
            return types[i].type;
    return NULL;
}

/* Images stand beside the text: they are in front of it. */
static enum status add_ollama_images(struct history *h, json_t *message,
                                     const json_t *list, const char *path)
{
    json_t *images = json_array();
    enum status s = images ? STATUS_OK : api_no_memory(h->err);
    if (list && !json_is_null(list) && !json_is_array(list))
        s = content_wrong(list, path, "an array", h->err);
    for (size_t i = 0; i < json_array_size(list) && s == STATUS_OK; i++) {
        const json_t *data = json_array_get(list, i);
        s = content_add_image(images, 0, media_type_of(json_string_value(data)), data,
                              content_at("%s[%zu]", path, i).text, h->err);
    }
    if (s == STATUS_OK)
        s = content_set_images(message, images, h->err);
    json_decref(images);
    return s;
}

static enum status add_history(struct history *h, const json_t *m, const char *path)
{
    const char *role = "";
    json_t *text, *message;
    if (!json_is_object(m))
        return content_wrong(m, path, "an object", h->err);
    enum status s = read_role(&role, m, path, h->err);
    const json_t *images = json_object_get(m, "images");
    const bool may_see = h->r->keep_images && strcmp(role, "user") == 0;
    const struct content_path images_path = content_at("%s.images", path);
    if (s == STATUS_OK && !may_see)
        s = content_no_images(images, images_path.text, h->err);
    if (s == STATUS_OK)
        s = content_string(&text, json_object_get(m, "content"),
                           content_at("%s.content", path).text, h->err);
    if (s == STATUS_OK)
        s = content_add_message(&message, h->r->messages, role, text, h->err);
    if (s == STATUS_OK && may_see)
        s = add_ollama_images(h, message, images, images_path.text);
    if (s != STATUS_OK)
        return s;
    if (strcmp(role, "tool") == 0)
        return add_result_names(h, message, m, path);
    if (strcmp(role, "assistant") != 0)
        return STATUS_OK;
    s = add_thoughts(message, m, path, h->err);
    return s == STATUS_OK ? add_past_calls(h, message, json_object_get(m, "tool_calls"),
                                           content_at("%s.tool_calls", path).text)
                          : s;
}

enum status ollama_read_messages(struct api_request *r, const json_t *body,
                                 struct api_error *err)
{
    struct history h = {.r = r, .err = err};
    const json_t *messages = json_object_get(body, "messages");
    if (messages && !json_is_null(messages) && !json_is_array(messages))
        return content_wrong(messages, "messages", "an array", err);
    if (!(r->messages = json_array()))
        return api_no_memory(err);
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(messages) && s == STATUS_OK; i++)
        s = add_history(&h, json_array_get(messages, i),
                        content_at("messages[%zu]", i).text);
    return s;
}

enum status ollama_read_tools(struct api_request *r, const json_t *body,
                              struct api_error *err)
{
    const json_t *tools = json_object_get(body, "tools");
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return content_wrong(tools, "tools", "an array", err);
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(tools) && s == STATUS_OK; i++) {
        const struct content_path at = content_at("tools[%zu].function", i);
        const json_t *f = json_object_get(json_array_get(tools, i), "function");
        if (!json_is_object(f))
            return content_wrong(f, at.text, "an object", err);
        s = content_add_tool(&r->tools, json_object_get(f, "name"),
                             json_object_get(f, "description"),
                             json_object_get(f, "parameters"), at.text, err);
    }
    return s;
}
