/* openai_chat.c - POST /v1/chat/completions: requests. */
#include <string.h>

#include "dialect/content.h"
#include "dialect/openai.h"

struct chat_reader {
    struct api_request *r;
    json_t *names;        // {call id: name of its tool}
    const char *function; // id of the last call in the old form
    struct api_error *err;
};

/* Set a member of a message that is a string if the client sent one. */
static enum status copy_string(json_t *message, const char *name, const json_t *from,
                               const char *member, const char *path,
                               struct api_error *err)
{
    const json_t *v = json_object_get(from, member);
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_string(v))
        return content_wrong(v, content_at("%s.%s", path, member).text, "a string", err);
    return json_object_set(message, name, (json_t *)v) ? api_no_memory(err) : STATUS_OK;
}

/* Append a call; arguments come as JSON text or, from some clients, as an object. */
static enum status add_function(const struct chat_reader *c, json_t *message,
                                const json_t *id, const json_t *function,
                                const char *path)
{
    const json_t *name = json_object_get(function, "name");
    const json_t *arguments = json_object_get(function, "arguments");
    if (!json_is_string(name))
        return content_wrong(name, content_at("%s.name", path).text, "a string", c->err);
    if (arguments && !json_is_string(arguments) && !json_is_object(arguments) &&
        !json_is_null(arguments))
        return content_wrong(arguments, content_at("%s.arguments", path).text,
                             "a string of JSON", c->err);
    json_t *v = json_is_object(arguments)
                    ? json_incref((json_t *)arguments)
                    : content_arguments(
                          json_is_string(arguments) ? json_string_value(arguments) : "",
                          json_string_length(arguments));
    const enum status s = content_add_call(message, json_string_value(id),
                                           json_string_value(name), v, c->err);
    if (s == STATUS_OK &&
        json_object_set(c->names, json_string_value(id), (json_t *)name))
        return api_no_memory(c->err);
    return s;
}

static enum status add_calls(const struct chat_reader *c, json_t *message,
                             const json_t *calls, const char *path)
{
    if (!calls || json_is_null(calls))
        return STATUS_OK;
    if (!json_is_array(calls) || json_array_size(calls) > API_TOOLS_MAX)
        return content_wrong(calls, content_at("%s.tool_calls", path).text,
                             "an array of at most 512 calls", c->err);
    for (size_t i = 0; i < json_array_size(calls); i++) {
        const json_t *call = json_array_get(calls, i);
        const struct content_path at = content_at("%s.tool_calls[%zu]", path, i);
        const json_t *type = json_object_get(call, "type");
        const json_t *function = json_object_get(call, "function");
        const json_t *id = json_object_get(call, "id");
        if (json_is_string(type) && strcmp(json_string_value(type), "function") != 0)
            return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, at.text,
                            "%s: calls of type '%.60s' are not supported, only functions",
                            at.text, json_string_value(type));
        if (!json_is_string(id))
            return content_wrong(id, content_at("%s.id", at.text).text, "a string",
                                 c->err);
        if (!json_is_object(function))
            return content_wrong(function, content_at("%s.function", at.text).text,
                                 "an object", c->err);
        const enum status s = add_function(c, message, id, function,
                                           content_at("%s.function", at.text).text);
        if (s != STATUS_OK)
            return s;
    }
    return STATUS_OK;
}

/* A call in the old form has no id: it gets one that its place determines. */
static enum status add_old_call(struct chat_reader *c, json_t *message,
                                const json_t *function, const char *path)
{
    if (!function || json_is_null(function))
        return STATUS_OK;
    if (!json_is_object(function))
        return content_wrong(function, content_at("%s.function_call", path).text,
                             "an object", c->err);
    json_t *id = json_sprintf("call_%zu", json_array_size(c->r->messages));
    const enum status s = id ? add_function(c, message, id, function,
                                            content_at("%s.function_call", path).text)
                             : api_no_memory(c->err);
    json_decref(id);
    if (s == STATUS_OK) {
        const json_t *call = json_array_get(json_object_get(message, "tool_calls"), 0);
        c->function = json_string_value(json_object_get(call, "id"));
    }
    return s;
}

static enum status add_assistant(struct chat_reader *c, json_t *message, const json_t *m,
                                 const char *path)
{
    enum status s =
        copy_string(message, "reasoning_content", m, "reasoning", path, c->err);
    if (s == STATUS_OK)
        s = copy_string(message, "reasoning_content", m, "reasoning_content", path,
                        c->err);
    if (s == STATUS_OK)
        s = add_calls(c, message, json_object_get(m, "tool_calls"), path);
    if (s == STATUS_OK && !json_object_get(message, "tool_calls"))
        s = add_old_call(c, message, json_object_get(m, "function_call"), path);
    return s;
}

/* Whose result it is; the name of the tool from its call, if it was not sent. */
static enum status add_result(const struct chat_reader *c, json_t *message,
                              const json_t *m, bool old, const char *path)
{
    enum status s = copy_string(message, "tool_call_id", m, "tool_call_id", path, c->err);
    if (s == STATUS_OK)
        s = copy_string(message, "name", m, "name", path, c->err);
    if (s != STATUS_OK)
        return s;
    if (old && c->function &&
        json_object_set_new(message, "tool_call_id", json_string(c->function)))
        return api_no_memory(c->err);
    const json_t *id = json_object_get(message, "tool_call_id");
    if (!old && !id)
        return content_wrong(NULL, content_at("%s.tool_call_id", path).text, "a string",
                             c->err);
    json_t *name = id ? json_object_get(c->names, json_string_value(id)) : NULL;
    if (name && !json_object_get(message, "name") &&
        json_object_set(message, "name", name))
        return api_no_memory(c->err);
    return STATUS_OK;
}

static enum status read_chat_message(struct chat_reader *c, const json_t *m, size_t i)
{
    static const struct {
        const char *sent, *canonical;
    } roles[] = {{"system", "system"}, {"developer", "system"},
                 {"user", "user"},     {"assistant", "assistant"},
                 {"tool", "tool"},     {"function", "tool"}};
    const struct content_path path = content_at("messages[%zu]", i);
    if (!json_is_object(m))
        return content_wrong(m, path.text, "an object", c->err);
    const json_t *role = json_object_get(m, "role");
    size_t k = 0;
    while (k < 6 &&
           !(json_is_string(role) && strcmp(json_string_value(role), roles[k].sent) == 0))
        k++;
    if (k == 6)
        return content_wrong(role, content_at("%s.role", path.text).text,
                             "one of system, developer, user, assistant, tool, function",
                             c->err);
    const bool assistant = strcmp(roles[k].canonical, "assistant") == 0;
    const json_t *content = json_object_get(m, "content");
    const struct content_path content_path = content_at("%s.content", path.text);
    if (!assistant && (!content || json_is_null(content)))
        return content_wrong(content, content_path.text, "a string or an array of blocks",
                             c->err);
    const bool may_see = c->r->keep_images && strcmp(roles[k].canonical, "user") == 0;
    json_t *text, *message, *images = may_see ? json_array() : NULL;
    enum status s = may_see && !images ? api_no_memory(c->err)
                                       : content_string_images(&text, images, content,
                                                               content_path.text, c->err);
    if (s == STATUS_OK)
        s = content_add_message(&message, c->r->messages, roles[k].canonical, text,
                                c->err);
    if (s == STATUS_OK)
        s = content_set_images(message, images, c->err);
    json_decref(images);
    if (s != STATUS_OK)
        return s;
    if (assistant)
        return add_assistant(c, message, m, path.text);
    if (strcmp(roles[k].canonical, "tool") == 0)
        return add_result(c, message, m, k == 5, path.text);
    return STATUS_OK;
}

enum status openai_read_messages(struct api_request *r, const json_t *messages,
                                 struct api_error *err)
{
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return content_wrong(messages, "messages", "an array of at least one message",
                             err);
    struct chat_reader c = {r, json_object(), NULL, err};
    r->messages = json_array();
    enum status s = c.names && r->messages ? STATUS_OK : api_no_memory(err);
    for (size_t i = 0; i < json_array_size(messages) && s == STATUS_OK; i++)
        s = read_chat_message(&c, json_array_get(messages, i), i);
    json_decref(c.names);
    return s;
}

/* functions and function_call, as they were before there were tools. */
static enum status read_functions(struct api_request *r, const json_t *body,
                                  struct api_error *err)
{
    const json_t *functions = json_object_get(body, "functions");
    const json_t *call = json_object_get(body, "function_call");
    if (!functions || json_is_null(functions) || r->tools)
        return STATUS_OK;
    if (!json_is_array(functions))
        return content_wrong(functions, "functions", "an array", err);
    for (size_t i = 0; i < json_array_size(functions); i++) {
        const json_t *f = json_array_get(functions, i);
        const struct content_path path = content_at("functions[%zu]", i);
        if (!json_is_object(f))
            return content_wrong(f, path.text, "an object", err);
        const enum status s = content_add_tool(
            &r->tools, json_object_get(f, "name"), json_object_get(f, "description"),
            json_object_get(f, "parameters"), path.text, err);
        if (s != STATUS_OK)
            return s;
    }
    r->parallel_tool_calls = false; // the form of the answer has no place for two
    if (!call || json_is_null(call))
        return STATUS_OK;
    const char *word = json_string_value(call);
    const char *name = json_string_value(json_object_get(call, "name"));
    if (name && content_has_tool(r->tools, name)) {
        r->tool_choice = API_TOOLS_NAMED;
        r->tool_name = name;
    } else if (word && strcmp(word, "none") == 0) {
        r->tool_choice = API_TOOLS_NONE;
    } else if (!word || strcmp(word, "auto") != 0) {
        return content_wrong(call, "function_call",
                             "auto, none or the name of a function", err);
    }
    return STATUS_OK;
}

static enum status check_chat(struct openai_body *b, const json_t *body,
                              struct api_error *err)
{
    const json_t *modes = json_object_get(body, "modalities");
    for (size_t i = 0; i < json_array_size(modes); i++) {
        const char *mode = json_string_value(json_array_get(modes, i));
        if (!mode || strcmp(mode, "text") != 0)
            return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "modalities",
                            "modalities: answers are text alone");
    }
    if (b->top_logprobs > 0 && !b->logprobs)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "top_logprobs",
                        "top_logprobs needs logprobs to be true");
    if (b->logprobs)
        b->r.n_logprobs = b->top_logprobs > 0 ? b->top_logprobs : 0;
    return STATUS_OK;
}

static enum status parse_chat(struct api_request *out, json_t *body,
                              struct api_error *err)
{
    struct openai_body b;
    openai_body_init(&b, out);
    struct api_request *r = &b.r;
    r->task = API_CHAT;
    enum status s = fields_read(&openai_chat_fields, body, &b, "", err);
    if (s == STATUS_OK)
        s = openai_read_messages(r, json_object_get(body, "messages"), err);
    if (s == STATUS_OK)
        s = openai_read_tools(r, json_object_get(body, "tools"), false, err);
    if (s == STATUS_OK)
        s = openai_read_tool_choice(r, json_object_get(body, "tool_choice"), false, err);
    if (s == STATUS_OK)
        s = read_functions(r, body, err);
    if (s == STATUS_OK)
        s = openai_read_format(r, json_object_get(body, "response_format"),
                               "response_format", false, err);
    if (s == STATUS_OK)
        s = openai_read_common(&b, body, err);
    if (s == STATUS_OK)
        s = check_chat(&b, body, err);
    return openai_body_finish(out, &b, body, s);
}

const struct api_operation openai_chat = {
    .dialect = &dialect_openai,
    .task = API_CHAT,
    .parse = parse_chat,
    .open_writer = openai_open_chat,
};
