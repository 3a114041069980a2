#include <string.h>

#include "dialect/anthropic_parts.h"
#include "dialect/content.h"

static bool has_type(const json_t *tool, const char *prefix)
{
    const json_t *type = json_object_get(tool, "type");
    return json_is_string(type) &&
           strncmp(json_string_value(type), prefix, strlen(prefix)) == 0;
}

/* Anthropic's own search among deferred tools, which this server has not: with it, they
 * are all given. */
static bool is_search(const json_t *tool)
{
    return has_type(tool, "tool_search_tool_");
}

/* A tool without a schema is one whose schema, or even whose work, is Anthropic's. */
static enum status refuse_defined(const json_t *tool, const char *path,
                                  struct api_error *err)
{
    const json_t *type = json_object_get(tool, "type");
    if (!json_is_string(type) || has_type(tool, "custom"))
        return content_wrong(json_object_get(tool, "input_schema"),
                             content_at("%s.input_schema", path).text,
                             "a JSON schema (an object)", err);
    return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path,
                    "%s: '%.60s' is a tool that Anthropic defines or runs; this server "
                    "needs tools with an input_schema, which the client runs",
                    path, json_string_value(type));
}

static enum status read_custom_tool(struct api_request *r, const json_t *tool,
                                    const char *path, struct api_error *err)
{
    const json_t *schema = json_object_get(tool, "input_schema");
    if (!json_is_object(schema))
        return refuse_defined(tool, path, err);
    return content_add_tool(&r->tools, json_object_get(tool, "name"),
                            json_object_get(tool, "description"), schema, path, err);
}

/* Tools that are in the prompt from the first turn on; the others go to deferred, whose
 * members are places in the array by name. */
static enum status read_present(struct api_request *r, const json_t *tools,
                                json_t *deferred, struct api_error *err)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(tools) && s == STATUS_OK; i++) {
        const json_t *tool = json_array_get(tools, i);
        const struct content_path at = content_at("tools[%zu]", i);
        if (!json_is_object(tool))
            return content_wrong(tool, at.text, "an object", err);
        const json_t *name = json_object_get(tool, "name");
        if (is_search(tool))
            continue;
        if (!json_is_true(json_object_get(tool, "defer_loading")))
            s = read_custom_tool(r, tool, at.text, err);
        else if (json_is_string(name) &&
                 json_object_set_new(deferred, json_string_value(name),
                                     json_integer((json_int_t)i)))
            s = api_no_memory(err);
    }
    return s;
}

/* Deferred tools in the order of names, so that those of a turn before keep their
 * places. */
static enum status read_deferred(struct api_request *r, const json_t *tools,
                                 json_t *deferred, json_t *names, struct api_error *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(names, name, value)
    {
        const json_t *at = json_object_get(deferred, name);
        if (!at)
            continue;
        const size_t i = (size_t)json_integer_value(at);
        const enum status s = read_custom_tool(r, json_array_get(tools, i),
                                               content_at("tools[%zu]", i).text, err);
        if (s != STATUS_OK)
            return s;
    }
    return STATUS_OK;
}

static bool any_search(const json_t *tools)
{
    for (size_t i = 0; i < json_array_size(tools); i++)
        if (is_search(json_array_get(tools, i)))
            return true;
    return false;
}

enum status anthropic_read_tools(struct api_request *r, json_t *loaded,
                                 struct api_error *err)
{
    const json_t *tools = json_object_get(r->body, "tools");
    if (!tools || json_is_null(tools))
        return STATUS_OK;
    if (!json_is_array(tools))
        return content_wrong(tools, "tools", "an array", err);
    json_t *deferred = json_object();
    enum status s = deferred ? read_present(r, tools, deferred, err) : api_no_memory(err);
    if (s == STATUS_OK)
        s = read_deferred(r, tools, deferred, any_search(tools) ? deferred : loaded, err);
    json_decref(deferred);
    return s;
}
