#include "dialect/content.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "json/parse.h"

enum { TOOL_NAME_MAX = 128 };

struct content_path content_at(const char *fmt, ...)
{
    struct content_path p;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p.text, sizeof p.text, fmt, ap);
    va_end(ap);
    return p;
}

enum status content_wrong(const json_t *v, const char *path, const char *expected,
                          struct api_error *err)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",
        [JSON_STRING] = "a string",  [JSON_INTEGER] = "an integer",
        [JSON_REAL] = "a number",    [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };
    if (!v)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s is missing: it must be %s", path, expected);
    if (json_is_string(v) && json_string_length(v) <= 60)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s must be %s, not '%s'", path, expected, json_string_value(v));
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                    "%s must be %s, not %s", path, expected, names[json_typeof(v)]);
}

/* What a block is, if it is none of text. */
static const char *medium_of(const char *type)
{
    static const struct {
        const char *part, *name;
    } media[] = {{"image", "images"},
                 {"audio", "audio"},
                 {"video", "videos"},
                 {"file", "files"},
                 {"document", "documents"}};
    for (size_t i = 0; i < sizeof media / sizeof *media; i++)
        if (strstr(type, media[i].part))
            return media[i].name;
    return NULL;
}

/* *text <- the string (borrowed) of one block. */
static enum status block_text(const json_t **text, const json_t *block, const char *path,
                              struct api_error *err)
{
    *text = block;
    if (json_is_string(block))
        return STATUS_OK;
    if (!json_is_object(block))
        return content_wrong(block, path, "a string or a block of text", err);
    const json_t *type_value = json_object_get(block, "type");
    const char *type = json_string_value(type_value);
    if (type_value && !json_is_null(type_value) && !type)
        return content_wrong(type_value, path, "a block whose type is a string", err);
    if (type && strcmp(type, "refusal") == 0) {
        *text = json_object_get(block, "refusal");
        if (!json_is_string(*text))
            return content_wrong(*text, content_at("%s.refusal", path).text, "a string",
                                 err);
        return STATUS_OK;
    }
    if (!type || strcmp(type, "text") == 0 || strcmp(type, "input_text") == 0 ||
        strcmp(type, "output_text") == 0) {
        *text = json_object_get(block, "text");
        if (!json_is_string(*text))
            return content_wrong(*text, content_at("%s.text", path).text, "a string",
                                 err);
        return STATUS_OK;
    }
    const char *medium = medium_of(type);
    if (medium)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path,
                        "%s are not supported by this model (%s)", medium, path);
    return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                    "%s has type '%.40s', which is not known here: it must be text", path,
                    type);
}

/* images: NULL if there may be none. */
static enum status join_blocks(struct buf *text, json_t *images, const json_t *blocks,
                               const char *path, struct api_error *err)
{
    bool any = false;
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        const json_t *s, *block = json_array_get(blocks, i);
        const struct content_path at = content_at("%s[%zu]", path, i);
        const char *type = json_string_value(json_object_get(block, "type"));
        enum status status;
        if (images && type && strcmp(type, "image_url") == 0) {
            const json_t *image = json_object_get(block, "image_url");
            status = content_add_image_url(
                images, text->len,
                json_is_string(image) ? image : json_object_get(image, "url"), at.text,
                err);
            if (status != STATUS_OK)
                return status;
            continue;
        }
        status = block_text(&s, block, at.text, err);
        if (status != STATUS_OK)
            return status;
        if (any)
            buf_puts(text, "\n");
        any = true;
        buf_append(text, json_string_value(s), json_string_length(s));
    }
    return STATUS_OK;
}

/* Bytes of all strings of an array of blocks, with one more for each. */
static size_t blocks_bytes(const json_t *blocks)
{
    size_t n = 1;
    for (size_t i = 0; i < json_array_size(blocks); i++) {
        const json_t *block = json_array_get(blocks, i);
        n += 1 + json_string_length(block) +
             json_string_length(json_object_get(block, "text")) +
             json_string_length(json_object_get(block, "refusal"));
    }
    return n;
}

enum status content_string(json_t **out, const json_t *content, const char *path,
                           struct api_error *err)
{
    return content_string_images(out, NULL, content, path, err);
}

enum status content_string_images(json_t **out, json_t *images, const json_t *content,
                                  const char *path, struct api_error *err)
{
    *out = NULL;
    if (!content || json_is_null(content)) {
        *out = json_string("");
    } else if (json_is_string(content)) {
        *out =
            json_stringn_nocheck(json_string_value(content), json_string_length(content));
    } else if (json_is_array(content)) {
        struct buf text;
        buf_init(&text, blocks_bytes(content));
        const enum status s = join_blocks(&text, images, content, path, err);
        if (s == STATUS_OK && !text.failed)
            *out = json_stringn_nocheck(text.data ? text.data : "", text.len);
        buf_release(&text);
        if (s != STATUS_OK)
            return s;
    } else {
        return content_wrong(content, path, "a string or an array of blocks", err);
    }
    return *out ? STATUS_OK : api_no_memory(err);
}

enum status content_no_images(const json_t *v, const char *path, struct api_error *err)
{
    if (!v || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0))
        return STATUS_OK;
    return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path,
                    "images are not supported by this model (%s)", path);
}

enum status content_add_message(json_t **out, json_t *messages, const char *role,
                                json_t *text, struct api_error *err)
{
    *out = NULL;
    if (json_array_size(messages) >= API_MESSAGES_MAX) {
        json_decref(text);
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "messages",
                        "a request has at most %d messages", API_MESSAGES_MAX);
    }
    /* Setters take a value over even if they fail; they fail for one that is NULL. */
    json_t *m = json_object();
    bool bad = json_object_set_new(m, "role", json_string(role)) != 0;
    bad |= json_object_set_new(m, "content", text) != 0;
    bad |= json_array_append_new(messages, m) != 0;
    if (bad)
        return api_no_memory(err);
    *out = m;
    return STATUS_OK;
}

enum status content_add_call(json_t *message, const char *id, const char *name,
                             json_t *arguments, struct api_error *err)
{
    json_t *calls = json_object_get(message, "tool_calls");
    if (!calls) {
        calls = json_array();
        if (json_object_set_new(message, "tool_calls", calls)) {
            json_decref(arguments);
            return api_no_memory(err);
        }
    }
    json_t *function = json_object();
    json_t *call = json_object();
    bool bad = json_object_set_new(function, "name", json_string(name)) != 0;
    bad |= json_object_set_new(function, "arguments", arguments) != 0;
    bad |= json_object_set_new(call, "id", json_string(id)) != 0;
    bad |= json_object_set_new(call, "type", json_string("function")) != 0;
    bad |= json_object_set_new(call, "function", function) != 0;
    bad |= json_array_append_new(calls, call) != 0;
    return bad ? api_no_memory(err) : STATUS_OK;
}

json_t *content_arguments(const char *text, size_t n)
{
    size_t blank = 0;
    while (blank < n && strchr(" \t\r\n", text[blank]) && text[blank])
        blank++;
    if (blank == n)
        return json_object();
    json_error_t error;
    json_t *v = json_parse(text, n, 0, &error);
    if (json_is_object(v) || (!v && json_error_code(&error) == json_error_out_of_memory))
        return v;
    json_decref(v);
    v = json_object();
    if (json_object_set_new(v, "_raw", json_stringn_nocheck(text, n))) {
        json_decref(v);
        v = NULL;
    }
    return v;
}

static bool name_is_valid(const char *name, size_t n)
{
    static const char known[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789_-.:";
    return n >= 1 && n <= TOOL_NAME_MAX && strspn(name, known) == n;
}

bool content_has_tool(const json_t *tools, const char *name)
{
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const json_t *f = json_object_get(json_array_get(tools, i), "function");
        if (strcmp(json_string_value(json_object_get(f, "name")), name) == 0)
            return true;
    }
    return false;
}

static enum status check_tool(const json_t *tools, const json_t *name,
                              const json_t *description, const json_t *parameters,
                              const char *path, struct api_error *err)
{
    const struct content_path name_path = content_at("%s.name", path);
    if (json_array_size(tools) >= API_TOOLS_MAX)
        return api_fail(err, STATUS_LIMIT, API_ERROR_INVALID, "tools",
                        "a request has at most %d tools", API_TOOLS_MAX);
    if (!json_is_string(name) ||
        !name_is_valid(json_string_value(name), json_string_length(name)))
        return content_wrong(name, name_path.text,
                             "a string of 1 to 128 letters, digits, _ - . and :", err);
    if (content_has_tool(tools, json_string_value(name)))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, name_path.text,
                        "%s: there is another tool named '%s'", name_path.text,
                        json_string_value(name));
    if (description && !json_is_null(description) && !json_is_string(description))
        return content_wrong(description, content_at("%s.description", path).text,
                             "a string", err);
    if (parameters && !json_is_null(parameters) && !json_is_object(parameters))
        return content_wrong(parameters, content_at("%s.parameters", path).text,
                             "a JSON schema (an object)", err);
    return STATUS_OK;
}

enum status content_add_tool(json_t **tools, const json_t *name,
                             const json_t *description, const json_t *parameters,
                             const char *path, struct api_error *err)
{
    const enum status s = check_tool(*tools, name, description, parameters, path, err);
    if (s != STATUS_OK)
        return s;
    if (!*tools && !(*tools = json_array()))
        return api_no_memory(err);
    json_t *schema = json_is_object(parameters)
                         ? json_incref((json_t *)parameters)
                         : json_pack("{s:s, s:{}}", "type", "object", "properties");
    const char *words = json_string_value(description);
    json_t *function = json_object();
    json_t *tool = json_object();
    const char *name_text = json_string_value(name);
    bool bad = json_object_set_new(function, "name", json_string(name_text)) != 0;
    bad |= json_object_set_new(function, "description",
                               json_string(words ? words : "")) != 0;
    bad |= json_object_set_new(function, "parameters", schema) != 0;
    bad |= json_object_set_new(tool, "type", json_string("function")) != 0;
    bad |= json_object_set_new(tool, "function", function) != 0;
    bad |= json_array_append_new(*tools, tool) != 0;
    return bad ? api_no_memory(err) : STATUS_OK;
}
