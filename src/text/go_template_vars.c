/* go_template_vars.c - a chat as Ollama's templates see it. */
#include <string.h>

#include "json/parse.h"
#include "text/go_template.h"

enum { SYSTEM_BYTES = 64 << 20 };

/* The text of a message, also where it is a list of parts. */
static json_t *text_of_content(const json_t *content)
{
    struct buf b;
    size_t i;
    json_t *part;
    if (json_is_string(content))
        return json_stringn(json_string_value(content), json_string_length(content));
    buf_init(&b, SYSTEM_BYTES);
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (json_is_string(text))
            buf_append(&b, json_string_value(text), json_string_length(text));
    }
    json_t *v = json_stringn(b.data ? b.data : "", b.len);
    buf_release(&b);
    return v;
}

static const char *go_role(const json_t *m)
{
    const char *role = json_string_value(json_object_get(m, "role"));
    return role ? role : "";
}

/* a <- a, an empty line, b */
static int append_paragraph(json_t *a, const json_t *b)
{
    struct buf t;
    buf_init(&t, SYSTEM_BYTES);
    buf_append(&t, json_string_value(a), json_string_length(a));
    if (t.len)
        buf_puts(&t, "\n\n");
    buf_append(&t, json_string_value(b), json_string_length(b));
    const int rc = t.failed || json_string_setn(a, t.data ? t.data : "", t.len) ? -1 : 0;
    buf_release(&t);
    return rc;
}

/* Calls with their arguments as objects, whichever way a client wrote them. */
static json_t *calls_of(const json_t *calls)
{
    json_t *list = json_deep_copy(calls), *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        json_t *f = json_object_get(one, "function");
        const json_t *a = json_object_get(f, "arguments");
        json_t *parsed = json_is_string(a)
                             ? json_parse(json_string_value(a), json_string_length(a),
                                          JSON_DECODE_ANY, NULL)
                             : NULL;
        if (parsed)
            json_object_set_new(f, "arguments", parsed);
    }
    return list;
}

static json_t *go_message(const json_t *m)
{
    static const struct {
        const char *from, *to;
    } names[] = {{"reasoning_content", "thinking"},
                 {"thinking", "thinking"},
                 {"name", "tool_name"},
                 {"tool_name", "tool_name"},
                 {"tool_call_id", "tool_call_id"}};
    json_t *out = json_pack("{s:s, s:o, s:s, s:s, s:s}", "role", go_role(m), "content",
                            text_of_content(json_object_get(m, "content")), "thinking",
                            "", "tool_name", "", "tool_call_id", "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        json_t *v = json_object_get(m, names[i].from);
        if (json_is_string(v))
            json_object_set(out, names[i].to, v);
    }
    const json_t *calls = json_object_get(m, "tool_calls");
    if (json_array_size(calls))
        json_object_set_new(out, "tool_calls", calls_of(calls));
    return out;
}

/* Neighbours of one role are one message, but for results and calls of tools. */
static bool joins(const json_t *last, const json_t *m)
{
    return last && !strcmp(go_role(last), go_role(m)) && strcmp(go_role(m), "tool") &&
           !json_object_get(last, "tool_calls") && !json_object_get(m, "tool_calls");
}

static int collate(json_t *list, json_t *system, const json_t *messages)
{
    size_t i;
    json_t *m;
    json_array_foreach(messages, i, m)
    {
        json_t *own = go_message(m);
        json_t *last = json_array_get(list, json_array_size(list) - 1);
        const json_t *text = json_object_get(own, "content");
        int rc = own && text ? 0 : -1;
        if (!rc && !strcmp(go_role(own), "system"))
            rc = append_paragraph(system, text);
        if (!rc && json_array_size(list) && joins(last, own)) {
            rc = append_paragraph(json_object_get(last, "content"), text);
            json_decref(own);
        } else if (json_array_append_new(list, own)) {
            rc = -1;
        }
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- turns ---- */

static json_t *empty_turn(void)
{
    return json_pack("{s:s, s:s, s:s}", "System", "", "Prompt", "", "Response", "");
}

static bool has_text(const json_t *turn, const char *name)
{
    return json_string_length(json_object_get(turn, name)) > 0;
}

/* turn <- the member of a message; a turn that is complete goes to the list. */
static int take_turn(json_t *turns, json_t **turn, const json_t *m)
{
    const char *role = go_role(m);
    const bool user = !strcmp(role, "user"), system = !strcmp(role, "system");
    const bool full =
        (system && (has_text(*turn, "Prompt") || has_text(*turn, "Response"))) ||
        (user && (has_text(*turn, "Prompt") || has_text(*turn, "Response")));
    if (full) {
        if (json_array_append_new(turns, *turn)) {
            *turn = NULL;
            return -1;
        }
        *turn = empty_turn();
    }
    const char *name = system                       ? "System"
                       : user                       ? "Prompt"
                       : !strcmp(role, "assistant") ? "Response"
                                                    : NULL;
    return *turn &&
                   (!name || !json_object_set(*turn, name, json_object_get(m, "content")))
               ? 0
               : -1;
}

static int add_turns(json_t *out, const json_t *messages)
{
    json_t *turns = json_array(), *turn = empty_turn(), *m;
    size_t i;
    int rc = turns && turn ? 0 : -1;
    json_array_foreach(messages, i, m) if (!rc) rc = take_turn(turns, &turn, m);
    if (json_object_set_new(out, "go_turns", turns) ||
        json_object_set_new(out, "go_last", turn))
        rc = -1;
    return rc;
}

/* As Ollama has it: a level is a think that is set, and a think without one is medium. */
static int add_think(json_t *out, const json_t *vars)
{
    const json_t *think = json_object_get(vars, "enable_thinking");
    const char *level = json_string_value(json_object_get(vars, "reasoning_effort"));
    const bool set = json_is_boolean(think) || level;
    const bool on = json_is_boolean(think) ? json_is_true(think) : set;
    if (!level)
        level = on ? "medium" : "";
    if (json_object_set_new(out, "ThinkLevel", json_string(level)))
        return -1;
    return set && (json_object_set_new(out, "Think", json_boolean(on)) ||
                   json_object_set_new(out, "IsThinkSet", json_true()))
               ? -1
               : 0;
}

json_t *go_template_vars(const json_t *vars)
{
    json_t *list = json_array(), *system = json_string("");
    json_t *tools = json_object_get(vars, "tools");
    json_t *out = json_object();
    int rc = list && system && out ? 0 : -1;
    rc = rc ? rc : collate(list, system, json_object_get(vars, "messages"));
    rc = rc ? rc : add_turns(out, list);
    if (json_object_set_new(out, "Messages", list) ||
        json_object_set_new(out, "System", system) ||
        json_object_set_new(out, "Response", json_string("")))
        rc = -1;
    if (!rc && json_array_size(tools))
        rc = json_object_set(out, "Tools", tools);
    rc = rc ? rc : add_think(out, vars);
    if (!rc)
        return out;
    json_decref(out);
    return NULL;
}
