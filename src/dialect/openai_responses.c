/* openai_responses.c - POST /v1/responses: requests.
 *
 * Reasoning, a message and calls that follow each other are one message of the
 * assistant, as an answer to a chat would have been. */
#include <string.h>

#include "dialect/content.h"
#include "dialect/openai.h"

struct item_reader {
    struct api_request *r;
    json_t *turn;  // the assistant's message that items are added to, NULL if none
    json_t *names; // {call id: name of its tool}
    struct api_error *err;
};

static enum status open_turn(struct item_reader *c)
{
    if (c->turn)
        return STATUS_OK;
    return content_add_message(&c->turn, c->r->messages, "assistant", json_string(""),
                               c->err);
}

static enum status add_message(struct item_reader *c, const json_t *item,
                               const char *path)
{
    static const char *const roles[] = {"user", "system", "developer", "assistant"};
    const json_t *role = json_object_get(item, "role");
    size_t k = 0;
    while (k < 4 &&
           !(json_is_string(role) && strcmp(json_string_value(role), roles[k]) == 0))
        k++;
    if (k == 4)
        return content_wrong(role, content_at("%s.role", path).text,
                             "one of user, system, developer, assistant", c->err);
    const json_t *content = json_object_get(item, "content");
    const struct content_path at = content_at("%s.content", path);
    if (!content || json_is_null(content))
        return content_wrong(content, at.text, "a string or an array of blocks", c->err);
    json_t *text;
    enum status s = content_string(&text, content, at.text, c->err);
    if (s != STATUS_OK)
        return s;
    if (k == 3 && c->turn && !json_object_get(c->turn, "tool_calls") &&
        json_string_length(json_object_get(c->turn, "content")) == 0)
        return json_object_set_new(c->turn, "content", text) ? api_no_memory(c->err)
                                                             : STATUS_OK;
    json_t *message;
    s = content_add_message(&message, c->r->messages, k == 2 ? "system" : roles[k], text,
                            c->err);
    c->turn = k == 3 ? message : NULL;
    return s;
}

static enum status add_call_item(struct item_reader *c, const json_t *item,
                                 const char *path)
{
    const json_t *id = json_object_get(item, "call_id");
    const json_t *name = json_object_get(item, "name");
    const json_t *arguments = json_object_get(item, "arguments");
    if (!json_is_string(id))
        return content_wrong(id, content_at("%s.call_id", path).text, "a string", c->err);
    if (!json_is_string(name))
        return content_wrong(name, content_at("%s.name", path).text, "a string", c->err);
    if (!json_is_string(arguments))
        return content_wrong(arguments, content_at("%s.arguments", path).text,
                             "a string of JSON", c->err);
    const enum status s = open_turn(c);
    if (s != STATUS_OK)
        return s;
    if (json_array_size(json_object_get(c->turn, "tool_calls")) >= API_TOOLS_MAX)
        return api_fail(c->err, STATUS_LIMIT, API_ERROR_INVALID, path,
                        "%s: a message has at most %d calls", path, API_TOOLS_MAX);
    if (json_object_set(c->names, json_string_value(id), (json_t *)name))
        return api_no_memory(c->err);
    return content_add_call(
        c->turn, json_string_value(id), json_string_value(name),
        content_arguments(json_string_value(arguments), json_string_length(arguments)),
        c->err);
}

static enum status add_output_item(struct item_reader *c, const json_t *item,
                                   const char *path)
{
    json_t *id = json_object_get(item, "call_id");
    const json_t *output = json_object_get(item, "output");
    const struct content_path at = content_at("%s.output", path);
    if (!json_is_string(id))
        return content_wrong(id, content_at("%s.call_id", path).text, "a string", c->err);
    if (!output || json_is_null(output))
        return content_wrong(output, at.text, "a string or an array of blocks", c->err);
    json_t *text, *message;
    enum status s = content_string(&text, output, at.text, c->err);
    if (s == STATUS_OK)
        s = content_add_message(&message, c->r->messages, "tool", text, c->err);
    if (s != STATUS_OK)
        return s;
    c->turn = NULL;
    json_t *name = json_object_get(c->names, json_string_value(id));
    if (json_object_set(message, "tool_call_id", id) ||
        (name && json_object_set(message, "name", name)))
        return api_no_memory(c->err);
    return STATUS_OK;
}

/* The text of an item of reasoning: its content, else its summary; what is encrypted is
 * not ours.  A list of {"type": "reasoning_text" | "summary_text", "text": STRING}. */
static enum status add_reasoning(struct item_reader *c, const json_t *item,
                                 const char *path)
{
    const json_t *parts = json_object_get(item, "content");
    if (json_array_size(parts) == 0)
        parts = json_object_get(item, "summary");
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *text = json_object_get(json_array_get(parts, i), "text");
        if (!json_is_string(text))
            return content_wrong(text, content_at("%s.content[%zu].text", path, i).text,
                                 "a string", c->err);
        n += json_string_length(text) + 1;
    }
    if (n == 0)
        return STATUS_OK;
    struct buf b;
    buf_init(&b, n);
    for (size_t i = 0; i < json_array_size(parts); i++) {
        const json_t *text = json_object_get(json_array_get(parts, i), "text");
        if (i > 0)
            buf_puts(&b, "\n");
        buf_append(&b, json_string_value(text), json_string_length(text));
    }
    c->turn = NULL;
    enum status s = open_turn(c);
    if (s == STATUS_OK &&
        (b.failed ||
         json_object_set_new(c->turn, "reasoning_content",
                             json_stringn_nocheck(b.data ? b.data : "", b.len))))
        s = api_no_memory(c->err);
    buf_release(&b);
    return s;
}

static enum status read_input_item(struct item_reader *c, const json_t *item, size_t i)
{
    const struct content_path path = content_at("input[%zu]", i);
    if (!json_is_object(item))
        return content_wrong(item, path.text, "an object", c->err);
    const json_t *type_value = json_object_get(item, "type");
    const char *type = json_string_value(type_value);
    if (type_value && !json_is_null(type_value) && !type)
        return content_wrong(type_value, content_at("%s.type", path.text).text,
                             "a string", c->err);
    if (!type || strcmp(type, "message") == 0)
        return add_message(c, item, path.text);
    if (strcmp(type, "function_call") == 0)
        return add_call_item(c, item, path.text);
    if (strcmp(type, "function_call_output") == 0)
        return add_output_item(c, item, path.text);
    if (strcmp(type, "reasoning") == 0)
        return add_reasoning(c, item, path.text);
    if (strcmp(type, "item_reference") == 0)
        return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path.text,
                        "%s: item_reference is not supported: responses are not stored; "
                        "send the item itself",
                        path.text);
    return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path.text,
                    "%s: items of type '%.60s' are not supported", path.text, type);
}

enum status openai_read_items(struct api_request *r, const json_t *input,
                              const char *instructions, struct api_error *err)
{
    if (!json_is_string(input) && (!json_is_array(input) || json_array_size(input) == 0))
        return content_wrong(input, "input", "a string or an array of at least one item",
                             err);
    struct item_reader c = {r, NULL, json_object(), err};
    r->messages = json_array();
    enum status s = c.names && r->messages ? STATUS_OK : api_no_memory(err);
    json_t *message;
    if (s == STATUS_OK && instructions)
        s = content_add_message(&message, r->messages, "system",
                                json_string(instructions), err);
    if (s == STATUS_OK && json_is_string(input))
        s = content_add_message(&message, r->messages, "user",
                                json_incref((json_t *)input), err);
    for (size_t i = 0; i < json_array_size(input) && s == STATUS_OK; i++)
        s = read_input_item(&c, json_array_get(input, i), i);
    json_decref(c.names);
    return s;
}

static enum status read_reasoning(struct openai_body *b, const json_t *body,
                                  struct api_error *err)
{
    const json_t *v = json_object_get(body, "reasoning");
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_object(v))
        return content_wrong(v, "reasoning", "an object", err);
    return fields_read(&openai_reasoning_fields, v, b, "reasoning.", err);
}

static enum status read_text(struct api_request *r, const json_t *body,
                             struct api_error *err)
{
    const json_t *v = json_object_get(body, "text");
    if (!v || json_is_null(v))
        return STATUS_OK;
    if (!json_is_object(v))
        return content_wrong(v, "text", "an object", err);
    return openai_read_format(r, json_object_get(v, "format"), "text.format", true, err);
}

/* Log-probabilities are asked for by name, or by a number of alternatives. */
static bool wants_logprobs(const json_t *body)
{
    const json_t *include = json_object_get(body, "include");
    for (size_t i = 0; i < json_array_size(include); i++) {
        const char *name = json_string_value(json_array_get(include, i));
        if (name && strcmp(name, "message.output_text.logprobs") == 0)
            return true;
    }
    return false;
}

static enum status parse_responses(struct api_request *out, json_t *body,
                                   struct api_error *err)
{
    struct openai_body b;
    openai_body_init(&b, out);
    struct api_request *r = &b.r;
    r->task = API_CHAT;
    enum status s = fields_read(&openai_responses_fields, body, &b, "", err);
    if (s == STATUS_OK)
        s = openai_read_items(r, json_object_get(body, "input"), b.instructions, err);
    if (s == STATUS_OK)
        s = openai_read_tools(r, json_object_get(body, "tools"), true, err);
    if (s == STATUS_OK)
        s = openai_read_tool_choice(r, json_object_get(body, "tool_choice"), true, err);
    if (s == STATUS_OK)
        s = read_text(r, body, err);
    if (s == STATUS_OK)
        s = read_reasoning(&b, body, err);
    if (s == STATUS_OK)
        s = openai_read_common(&b, body, err);
    r->truncate = b.truncation == 1;
    if (b.top_logprobs >= 0 || wants_logprobs(body))
        r->n_logprobs = b.top_logprobs > 0 ? b.top_logprobs : 0;
    return openai_body_finish(out, &b, body, s);
}

const struct api_operation openai_responses = {
    .dialect = &dialect_openai,
    .task = API_CHAT,
    .parse = parse_responses,
    .open_writer = openai_open_responses,
};
