/* openai_tools.c - tools and which of them the model has to call. */
#include <string.h>

#include "dialect/content.h"
#include "dialect/openai.h"

static enum status read_tool(struct api_request *r, const json_t *tool, bool flat,
                             size_t i, struct api_error *err)
{
    const struct content_path path = content_at("tools[%zu]", i);
    if (!json_is_object(tool))
        return content_wrong(tool, path.text, "an object", err);
    const json_t *type = json_object_get(tool, "type");
    if (!json_is_string(type))
        return content_wrong(type, content_at("%s.type", path.text).text, "\"function\"",
                             err);
    if (strcmp(json_string_value(type), "function") != 0)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED,
                        content_at("%s.type", path.text).text,
                        "%s: tools of type '%.60s' are not supported, only functions",
                        path.text, json_string_value(type));
    const json_t *f = flat ? tool : json_object_get(tool, "function");
    const struct content_path at = content_at("%s%s", path.text, flat ? "" : ".function");
    if (!json_is_object(f))
        return content_wrong(f, at.text, "an object", err);
    return content_add_tool(&r->tools, json_object_get(f, "name"),
                            json_object_get(f, "description"),
                            json_object_get(f, "parameters"), at.text, err);
}

enum status openai_read_tools(struct api_request *r, const json_t *tools, bool flat,
                              struct api_error *err)
{
    if (!tools || json_is_null(tools))
        return STATUS_OK;
    if (!json_is_array(tools))
        return content_wrong(tools, "tools", "an array", err);
    for (size_t i = 0; i < json_array_size(tools); i++) {
        const enum status s = read_tool(r, json_array_get(tools, i), flat, i, err);
        if (s != STATUS_OK)
            return s;
    }
    return STATUS_OK;
}

/* *mode <- the index of the word in auto, none, required. */
static enum status read_mode(enum api_tool_choice *mode, const json_t *v,
                             const char *path, struct api_error *err)
{
    static const char *const words[] = {"auto", "none", "required"};
    for (int i = 0; i < 3; i++)
        if (json_is_string(v) && strcmp(json_string_value(v), words[i]) == 0) {
            *mode = (enum api_tool_choice)i;
            return STATUS_OK;
        }
    if (json_is_string(v))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s must be auto, none or required, not '%.60s'", path,
                        json_string_value(v));
    return content_wrong(v, path, "auto, none or required", err);
}

/* *out <- the name in {"type": "function", "function": {"name": ...}} or, flat, {"type":
 * "function", "name": ...}: of a tool of the request. */
static enum status named_tool(const char **out, const struct api_request *r,
                              const json_t *v, bool flat, const char *path,
                              struct api_error *err)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    if (!type || strcmp(type, "function") != 0)
        return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path,
                        "%s: type must be function%s, not '%.60s'", path,
                        strcmp(path, "tool_choice") == 0 ? " or allowed_tools" : "",
                        type ? type : "");
    const json_t *name =
        json_object_get(flat ? v : json_object_get(v, "function"), "name");
    const struct content_path at = content_at("%s%s.name", path, flat ? "" : ".function");
    if (!json_is_string(name))
        return content_wrong(name, at.text, "a string", err);
    *out = json_string_value(name);
    if (!content_has_tool(r->tools, *out))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, at.text,
                        "%s: there is no tool named '%.128s'", at.text, *out);
    return STATUS_OK;
}

/* Keep the tools with this name: append the entry of r->tools to kept. */
static bool keep_tool(json_t *kept, const struct api_request *r, const char *name)
{
    for (size_t i = 0; i < json_array_size(r->tools); i++) {
        json_t *tool = json_array_get(r->tools, i);
        const json_t *f = json_object_get(tool, "function");
        if (strcmp(json_string_value(json_object_get(f, "name")), name) == 0)
            return content_has_tool(kept, name) || !json_array_append(kept, tool);
    }
    return true;
}

/* {"mode": "auto" | "required", "tools": [...]}: the others are not there. */
static enum status read_allowed(struct api_request *r, const json_t *v, bool flat,
                                const char *path, struct api_error *err)
{
    enum status s = read_mode(&r->tool_choice, json_object_get(v, "mode"),
                              content_at("%s.mode", path).text, err);
    if (s != STATUS_OK)
        return s;
    const json_t *list = json_object_get(v, "tools");
    const size_t n = json_array_size(list);
    if (n == 0 || n > API_TOOLS_MAX)
        return content_wrong(list, content_at("%s.tools", path).text,
                             "an array of 1 to 512 tools", err);
    json_t *kept = json_array();
    for (size_t i = 0; i < n && s == STATUS_OK; i++) {
        const char *name;
        s = named_tool(&name, r, json_array_get(list, i), flat,
                       content_at("%s.tools[%zu]", path, i).text, err);
        if (s == STATUS_OK && (!kept || !keep_tool(kept, r, name)))
            s = api_no_memory(err);
    }
    if (s != STATUS_OK) {
        json_decref(kept);
        return s;
    }
    json_decref(r->tools);
    r->tools = kept;
    return STATUS_OK;
}

static enum status read_choice_object(struct api_request *r, const json_t *choice,
                                      bool flat, struct api_error *err)
{
    const char *type = json_string_value(json_object_get(choice, "type"));
    if (type && strcmp(type, "allowed_tools") == 0) {
        const json_t *inner = flat ? choice : json_object_get(choice, "allowed_tools");
        const char *path = flat ? "tool_choice" : "tool_choice.allowed_tools";
        if (!json_is_object(inner))
            return content_wrong(inner, path, "an object", err);
        return read_allowed(r, inner, flat, path, err);
    }
    r->tool_choice = API_TOOLS_NAMED;
    return named_tool(&r->tool_name, r, choice, flat, "tool_choice", err);
}

enum status openai_read_tool_choice(struct api_request *r, const json_t *choice,
                                    bool flat, struct api_error *err)
{
    if (!choice || json_is_null(choice))
        return STATUS_OK;
    const enum status s = json_is_object(choice)
                              ? read_choice_object(r, choice, flat, err)
                              : read_mode(&r->tool_choice, choice, "tool_choice", err);
    if (s == STATUS_OK && r->tool_choice == API_TOOLS_REQUIRED && !r->tools)
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "tool_choice",
                        "tool_choice is required, but there are no tools");
    return s;
}
