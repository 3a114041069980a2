#include <limits.h>
#include <string.h>

#include "dialect/anthropic_parts.h"
#include "dialect/content.h"

#define AT(member) offsetof(struct api_request, member)
#define ROWS(rows) .fields = rows, .n = sizeof(rows) / sizeof *(rows)

static const struct field request_rows[] = {
    {.name = "model",
     .type = FIELD_STRING,
     .offset = AT(model),
     .max = 256,
     .standard = "the model of the server",
     .help = "name of the model"},
    {.name = "max_tokens",
     .type = FIELD_INT,
     .offset = AT(max_tokens),
     .min = 1,
     .max = INT_MAX,
     .standard = "as many as fit",
     .help =
         "most tokens of the answer, thinking included; more than fit are not an error"},
    {.name = "messages",
     .type = FIELD_JSON,
     .standard = "required",
     .help =
         "turns with role `user`, `assistant` or, at any place, `system`; content is a "
         "string or blocks: `text`, `tool_use`, `tool_result`, `thinking`, "
         "`redacted_thinking`, `search_result`, `document` of text"},
    {.name = "system",
     .type = FIELD_JSON,
     .standard = "none",
     .help = "a string or blocks of text"},
    {.name = "stream",
     .type = FIELD_BOOL,
     .offset = AT(stream),
     .standard = "false",
     .help = "the answer as server-sent events"},
    {.name = "stop_sequences",
     .type = FIELD_STRINGS,
     .offset = AT(stop),
     .max = 256,
     .standard = "none",
     .help = "strings that end the answer"},
    {.name = "temperature",
     .type = FIELD_FLOAT,
     .offset = AT(sampling.temperature),
     .min = 0,
     .max = 2,
     .standard = "0.8",
     .help = "0 takes the most likely token"},
    {.name = "top_p",
     .type = FIELD_FLOAT,
     .offset = AT(sampling.top_p),
     .min = 0,
     .max = 1,
     .standard = "0.95",
     .help = "only the most likely tokens of this total probability"},
    {.name = "top_k",
     .type = FIELD_INT,
     .offset = AT(sampling.top_k),
     .min = 0,
     .max = INT_MAX,
     .standard = "40",
     .help = "only so many of the most likely tokens; 0 is all"},
    {.name = "tools",
     .type = FIELD_JSON,
     .standard = "none",
     .help = "tools with `name`, `description` and `input_schema`; those with "
             "`defer_loading` come into the prompt when a `tool_reference` names them; "
             "tools that Anthropic defines or runs (`web_search_...`, `bash_...`) are "
             "refused if they come without a schema"},
    {.name = "tool_choice",
     .type = FIELD_JSON,
     .standard = "`auto`",
     .help = "see below"},
    {.name = "thinking",
     .type = FIELD_JSON,
     .standard = "`disabled`",
     .help = "see below"},
    {.name = "output_config",
     .type = FIELD_JSON,
     .standard = "none",
     .help = "see below"},
    {.name = "output_format",
     .type = FIELD_JSON,
     .standard = "none",
     .help = "as `output_config.format`"},
    {.name = "metadata", .type = FIELD_JSON, .standard = "none", .help = "see below"},
    {.name = "cache_control",
     .type = FIELD_IGNORED,
     .help = "prefixes of prompts are reused without it"},
    {.name = "context_management",
     .type = FIELD_IGNORED,
     .help = "nothing is taken out of the messages"},
    {.name = "service_tier", .type = FIELD_IGNORED, .help = "there is one"},
    {.name = "betas", .type = FIELD_IGNORED},
    {.name = "safeguards", .type = FIELD_IGNORED},
    {.name = "container",
     .type = FIELD_REFUSED,
     .help = "this server runs no containers"},
    {.name = "mcp_servers",
     .type = FIELD_REFUSED,
     .help = "this server calls no other servers; let the client call them"},
    {.name = "thread",
     .type = FIELD_REFUSED,
     .help = "this server keeps no conversations; send all messages"},
};
const struct field_table anthropic_fields = {.title = "POST /v1/messages",
                                             ROWS(request_rows)};

enum { THINKING_DISABLED, THINKING_ENABLED, THINKING_ADAPTIVE, THINKING_BETWEEN_TOOLS };

struct thinking {
    int type;
    const char *display;
};

static const struct field thinking_rows[] = {
    {.name = "type",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct thinking, type),
     .choices = "disabled|enabled|adaptive|between_tools",
     .standard = "required",
     .help = "all but `disabled` let the model think"},
    {.name = "display",
     .type = FIELD_STRING,
     .offset = offsetof(struct thinking, display),
     .max = 32,
     .standard = "shown",
     .help = "`omitted`: what it thinks is not sent"},
    {.name = "budget_tokens",
     .type = FIELD_IGNORED,
     .help = "`max_tokens` is the only limit"},
};
const struct field_table anthropic_thinking_fields = {
    .title = "thinking of POST /v1/messages", ROWS(thinking_rows)};

static const char *const efforts[] = {"low", "medium", "high", "xhigh", "max"};

static const struct field output_rows[] = {
    {.name = "effort",
     .type = FIELD_CHOICE,
     .choices = "low|medium|high|xhigh|max",
     .standard = "the model's",
     .help = "how much the model thinks, if its template knows it"},
    {.name = "format",
     .type = FIELD_JSON,
     .standard = "text",
     .help = "`{\"type\": \"json_schema\", \"schema\": {...}}`: the answer is JSON of "
             "this schema"},
};
const struct field_table anthropic_output_fields = {
    .title = "output_config of POST /v1/messages", ROWS(output_rows)};

struct tool_choice {
    int type;
    const char *name;
    bool no_parallel;
};

static const struct field tool_choice_rows[] = {
    {.name = "type",
     .type = FIELD_CHOICE,
     .offset = offsetof(struct tool_choice, type),
     .choices = "auto|none|any|tool", // in the order of enum api_tool_choice
     .standard = "required",
     .help = "`any`: at least one call; `tool`: a call of `name`"},
    {.name = "name",
     .type = FIELD_STRING,
     .offset = offsetof(struct tool_choice, name),
     .max = 128,
     .standard = "none",
     .help = "of a tool, for `tool`"},
    {.name = "disable_parallel_tool_use",
     .type = FIELD_BOOL,
     .offset = offsetof(struct tool_choice, no_parallel),
     .standard = "false",
     .help = "at most one call"},
};
const struct field_table anthropic_tool_choice_fields = {
    .title = "tool_choice of POST /v1/messages", ROWS(tool_choice_rows)};

static const struct field metadata_rows[] = {
    {.name = "user_id",
     .type = FIELD_STRING,
     .offset = AT(session),
     .max = 4096,
     .standard = "none",
     .help = "requests with the same one are likely to continue a conversation"},
};
const struct field_table anthropic_metadata_fields = {
    .title = "metadata of POST /v1/messages", ROWS(metadata_rows)};

/* *out <- the object that is the member of that name, NULL if it is absent. */
static enum status member_object(const json_t **out, const json_t *parent,
                                 const char *name, const char *path,
                                 struct api_error *err)
{
    *out = json_object_get(parent, name);
    if (!*out || json_is_null(*out)) {
        *out = NULL;
        return STATUS_OK;
    }
    return json_is_object(*out) ? STATUS_OK : content_wrong(*out, path, "an object", err);
}

/* The same, and its fields. */
static enum status read_member(const json_t **out, const struct field_table *t,
                               const struct api_request *r, const char *name, void *base,
                               struct api_error *err)
{
    const enum status s = member_object(out, r->body, name, name, err);
    if (s != STATUS_OK || !*out)
        return s;
    return fields_read(t, *out, base, content_at("%s.", name).text, err);
}

static enum status read_thinking(struct api_request *r, struct api_error *err)
{
    struct thinking t = {.type = -1, .display = ""};
    const json_t *v;
    const enum status s =
        read_member(&v, &anthropic_thinking_fields, r, "thinking", &t, err);
    if (s != STATUS_OK)
        return s;
    if (v && t.type < 0)
        return content_wrong(NULL, "thinking.type",
                             "disabled, enabled, adaptive or between_tools", err);
    r->think = v && t.type != THINKING_DISABLED ? API_THINK_ON : API_THINK_OFF;
    r->hide_thinking = strcmp(t.display, "omitted") == 0;
    return STATUS_OK;
}

static enum status read_format(struct api_request *r, const json_t *parent,
                               const char *name, const char *path, struct api_error *err)
{
    const json_t *v;
    const enum status s = member_object(&v, parent, name, path, err);
    if (s != STATUS_OK || !v)
        return s;
    const json_t *type = json_object_get(v, "type");
    if (!json_is_string(type) || strcmp(json_string_value(type), "json_schema") != 0)
        return content_wrong(type, content_at("%s.type", path).text, "json_schema", err);
    json_t *schema = json_object_get(v, "schema");
    if (!json_is_object(schema))
        return content_wrong(schema, content_at("%s.schema", path).text,
                             "a JSON schema (an object)", err);
    json_decref(r->schema);
    r->schema = json_incref(schema);
    r->format = API_FORMAT_SCHEMA;
    return STATUS_OK;
}

static enum status read_output(struct api_request *r, struct api_error *err)
{
    int effort = -1;
    const json_t *v;
    enum status s =
        read_member(&v, &anthropic_output_fields, r, "output_config", &effort, err);
    if (s == STATUS_OK && effort >= 0)
        r->think_effort = efforts[effort];
    if (s == STATUS_OK && v)
        s = read_format(r, v, "format", "output_config.format", err);
    if (s == STATUS_OK)
        s = read_format(r, r->body, "output_format", "output_format", err);
    return s;
}

static enum status read_tool_choice(struct api_request *r, struct api_error *err)
{
    struct tool_choice c = {.type = -1};
    const json_t *v;
    const enum status s =
        read_member(&v, &anthropic_tool_choice_fields, r, "tool_choice", &c, err);
    if (s != STATUS_OK || !v)
        return s;
    if (c.type < 0)
        return content_wrong(NULL, "tool_choice.type", "auto, any, tool or none", err);
    r->tool_choice = (enum api_tool_choice)c.type;
    r->parallel_tool_calls = !c.no_parallel;
    if (!r->tools &&
        (r->tool_choice == API_TOOLS_REQUIRED || r->tool_choice == API_TOOLS_NAMED))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "tool_choice",
                        "tool_choice asks for a call, but there are no tools");
    if (r->tool_choice != API_TOOLS_NAMED)
        return STATUS_OK;
    if (!c.name || !content_has_tool(r->tools, c.name))
        return api_fail(err, STATUS_BAD_INPUT, API_ERROR_INVALID, "tool_choice.name",
                        "tool_choice.name '%.128s' is no tool of this request",
                        c.name ? c.name : "");
    r->tool_name = c.name;
    return STATUS_OK;
}

/* A turn of the assistant at the end would be continued by the answer, which a template
 * that closes every turn cannot express; newer models of Anthropic refuse it with these
 * words. */
static enum status refuse_prefill(const struct api_request *r, struct api_error *err)
{
    const size_t n = json_array_size(r->messages);
    const json_t *role = json_object_get(json_array_get(r->messages, n - 1), "role");
    if (r->task == API_COUNT || n == 0 ||
        strcmp(json_string_value(role), "assistant") != 0)
        return STATUS_OK;
    return api_fail(err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "messages",
                    "This model does not support assistant message prefill. The "
                    "conversation must end with a user message.");
}

enum status anthropic_read_request(struct api_request *r, struct api_error *err)
{
    json_t *loaded = NULL;
    const json_t *metadata;
    enum status s = fields_read(&anthropic_fields, r->body, r, "", err);
    if (s == STATUS_OK)
        s = read_thinking(r, err);
    if (s == STATUS_OK)
        s = read_output(r, err);
    if (s == STATUS_OK)
        s = read_member(&metadata, &anthropic_metadata_fields, r, "metadata", r, err);
    if (s == STATUS_OK)
        s = anthropic_read_messages(r, &loaded, err);
    if (s == STATUS_OK)
        s = refuse_prefill(r, err);
    if (s == STATUS_OK)
        s = anthropic_read_tools(r, loaded, err);
    if (s == STATUS_OK)
        s = read_tool_choice(r, err);
    json_decref(loaded);
    return s;
}
