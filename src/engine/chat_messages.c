#include "engine/chat_messages.h"

#include <string.h>

#include "base/rng.h"

enum { TEXT_MAX = 64 << 20 }; // bytes of a message

struct builder {
    const struct chat_caps *caps;
    json_t *out;
    struct buf first; // text that goes in front of the first user's
    bool failed;
};

static const char *message_text(const json_t *m, const char *key)
{
    const char *s = json_string_value(json_object_get(m, key));
    return s ? s : "";
}

static bool is_role(const json_t *m, const char *role)
{
    return !strcmp(message_text(m, "role"), role);
}

static int append_piece(const char *s, size_t n, void *ctx)
{
    return buf_append(ctx, s, n) ? 0 : -1;
}

bool chat_json(struct buf *out, const json_t *v)
{
    return !json_dump_callback(v, append_piece, out,
                               JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
}

static json_t *last(const struct builder *b)
{
    return json_array_size(b->out) ? json_array_get(b->out, json_array_size(b->out) - 1)
                                   : NULL;
}

static void push(struct builder *b, json_t *message)
{
    b->failed = !message || json_array_append_new(b->out, message) || b->failed;
}

static json_t *message_of(const char *role, const char *s, size_t n)
{
    json_t *text = json_stringn(n ? s : "", n);
    return text ? json_pack("{s:s, s:o}", "role", role, "content", text) : NULL;
}

/* Put text behind that of a message that is already there. */
static void extend(struct builder *b, json_t *message, const char *gap, const char *s,
                   size_t n)
{
    struct buf text;
    json_t *content = json_object_get(message, "content");
    buf_init(&text, TEXT_MAX);
    buf_append(&text, json_string_value(content), json_string_length(content));
    if (text.len && n)
        buf_puts(&text, gap);
    buf_append(&text, s, n);
    json_t *joined = json_stringn(text.data ? text.data : "", text.len);
    b->failed = text.failed || !joined || b->failed;
    if (joined)
        json_object_set_new(message, "content", joined);
    buf_release(&text);
}

static void push_user(struct builder *b, const char *s, size_t n)
{
    json_t *before = last(b);
    if (b->first.len) {
        if (n)
            buf_puts(&b->first, "\n\n");
        buf_append(&b->first, s, n);
        push(b, message_of("user", b->first.data, b->first.len));
        buf_clear(&b->first);
    } else if (before && is_role(before, "user") && !b->caps->consecutive) {
        extend(b, before, "\n\n", s, n);
    } else {
        push(b, message_of("user", s, n));
    }
}

/* ---- system ---- */

/* For models whose template knows no tools: what they are and how to call them. */
static void describe_tools(struct buf *out, json_t *tools)
{
    size_t i;
    json_t *tool;
    buf_puts(out, "You can call these tools, which are given as JSON, one in a line:\n"
                  "<tools>\n");
    json_array_foreach(tools, i, tool)
    {
        chat_json(out, json_object_get(tool, "function"));
        buf_puts(out, "\n");
    }
    buf_puts(out,
             "</tools>\n\nTo call a tool, answer with its name and arguments in this "
             "form and write nothing behind it:\n<tool_call>\n{\"name\": \"NAME\", "
             "\"arguments\": {\"KEY\": VALUE}}\n</tool_call>\nFor several calls write "
             "several such blocks. You then get the results in <tool_response> tags. If "
             "no tool is needed, answer without a call.");
}

/* The system messages that come first, and the tools: one text.  Returns how many
 * messages those were. */
static size_t push_first(struct builder *b, json_t *messages, json_t *tools)
{
    struct buf text;
    size_t i = 0;
    buf_init(&text, TEXT_MAX);
    if (tools && !b->caps->native)
        describe_tools(&text, tools);
    for (; is_role(json_array_get(messages, i), "system"); i++) {
        json_t *content = json_object_get(json_array_get(messages, i), "content");
        if (text.len && json_string_length(content))
            buf_puts(&text, "\n\n");
        buf_append(&text, json_string_value(content), json_string_length(content));
    }
    b->failed = text.failed || b->failed;
    if ((i || text.len) && b->caps->system)
        push(b, message_of("system", text.data ? text.data : "", text.len));
    else
        buf_append(&b->first, text.data, text.len);
    buf_release(&text);
    return i;
}

/* A system message in the conversation.  Where the template would refuse or move it, it
 * is text in the same place, so that what was read before it stays what it was; behind a
 * tool's result it belongs to that, because a user's turn would end the running one. */
static void push_late_system(struct builder *b, json_t *message)
{
    json_t *content = json_object_get(message, "content"), *before = last(b);
    struct buf text;
    if (b->caps->late_system) {
        push(b, json_incref(message));
        return;
    }
    buf_init(&text, TEXT_MAX);
    buf_puts(&text, "<system-reminder>\n");
    buf_append(&text, json_string_value(content), json_string_length(content));
    buf_puts(&text, "\n</system-reminder>");
    b->failed = text.failed || b->failed;
    if (before && is_role(before, "tool"))
        extend(b, before, "\n\n", text.data, text.len);
    else
        push_user(b, text.data, text.len);
    buf_release(&text);
}

/* ---- calls and results ---- */

/* 9 letters and digits for any id, the same each time. */
static json_t *short_id(const char *id)
{
    static const char digits[] =
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint64_t h = 0;
    char s[10] = "";
    for (size_t i = 0; id[i]; i++)
        h = rng_mix(h * 31 + (unsigned char)id[i] + 1);
    for (int i = 0; i < 9; i++, h /= 62)
        s[i] = digits[h % 62];
    return json_string(s);
}

static json_t *id_of(const struct builder *b, const char *id)
{
    return b->caps->short_ids ? short_id(id) : json_string(id);
}

static json_t *call_of(const struct builder *b, json_t *call)
{
    json_t *f = json_object_get(call, "function"),
           *args = json_object_get(f, "arguments");
    if (b->caps->args_string) {
        struct buf text;
        buf_init(&text, TEXT_MAX);
        chat_json(&text, args);
        args = json_stringn(text.data ? text.data : "{}", text.data ? text.len : 2);
        buf_release(&text);
    } else {
        json_incref(args);
    }
    return json_pack("{s:o, s:s, s:{s:s, s:o}}", "id", id_of(b, message_text(call, "id")),
                     "type", "function", "function", "name", message_text(f, "name"),
                     "arguments", args);
}

static json_t *result_of(const struct builder *b, json_t *message)
{
    json_t *copy = json_copy(message);
    if (copy)
        json_object_set_new(copy, "tool_call_id",
                            id_of(b, message_text(message, "tool_call_id")));
    return copy;
}

/* The assistant's message with these of its calls. */
static void push_calls(struct builder *b, json_t *message, json_t *calls, bool first)
{
    const struct chat_caps *c = b->caps;
    json_t *content = json_object_get(message, "content"),
           *reasoning = json_object_get(message, "reasoning_content");
    const bool empty = !first || !json_string_length(content);
    json_t *m = json_pack("{s:s, s:o, s:o}", "role", "assistant", "content",
                          !empty            ? json_incref(content)
                          : c->null_content ? json_null()
                                            : json_string(""),
                          "tool_calls", calls);
    if (m && first && reasoning) {
        json_object_set(m, "reasoning_content", reasoning);
        if (c->thinking_field && empty) // a template takes one of the two
            json_object_set(m, "thinking", reasoning);
    }
    push(b, m);
}

/* The results [at, end) by the ids of their calls, the first of each: their numbers. */
static json_t *results_by_id(json_t *messages, size_t at, size_t end)
{
    json_t *map = json_object();
    for (size_t k = at; map && k < end; k++) {
        const char *id = message_text(json_array_get(messages, k), "tool_call_id");
        if (!json_object_get(map, id))
            json_object_set_new(map, id, json_integer((json_int_t)k));
    }
    return map;
}

/* A template that prints one call a message gets each with its result behind it, and the
 * results of no call at the end. */
static size_t push_one_by_one(struct builder *b, json_t *messages, size_t at)
{
    json_t *message = json_array_get(messages, at),
           *calls = json_object_get(message, "tool_calls"), *call;
    size_t i, end = at + 1;
    while (is_role(json_array_get(messages, end), "tool"))
        end++;
    json_t *map = results_by_id(messages, at + 1, end), *rest = json_array();
    b->failed = !map || !rest || b->failed;
    for (size_t k = at + 1; k < end; k++)
        json_array_append(rest, json_array_get(messages, k));
    json_array_foreach(calls, i, call)
    {
        const char *id = message_text(call, "id");
        const size_t k = (size_t)json_integer_value(json_object_get(map, id));
        push_calls(b, message, json_pack("[o]", call_of(b, call)), i == 0);
        if (!k)
            continue;
        push(b, result_of(b, json_array_get(messages, k)));
        json_array_set_new(rest, k - at - 1, json_null());
        json_object_del(map, id);
    }
    json_array_foreach(rest, i, call) if (json_is_object(call))
        push(b, result_of(b, call));
    json_decref(map);
    json_decref(rest);
    return end;
}

/* Calls as the text that a model of the generic format writes. */
static void push_as_text(struct builder *b, json_t *message, json_t *calls)
{
    json_t *content = json_object_get(message, "content"), *call,
           *copy = json_copy(message), *text;
    size_t i;
    struct buf out;
    buf_init(&out, TEXT_MAX);
    buf_append(&out, json_string_value(content), json_string_length(content));
    json_array_foreach(calls, i, call)
    {
        json_t *f = json_object_get(call, "function");
        buf_puts(&out, i || !out.len ? "" : "\n");
        buf_puts(&out,
                 out.len ? "\n<tool_call>\n{\"name\": " : "<tool_call>\n{\"name\": ");
        chat_json(&out, json_object_get(f, "name"));
        buf_puts(&out, ", \"arguments\": ");
        chat_json(&out, json_object_get(f, "arguments"));
        buf_puts(&out, "}\n</tool_call>");
    }
    text = json_stringn(out.data ? out.data : "", out.len);
    b->failed = out.failed || !copy || !text || b->failed;
    if (copy && text)
        json_object_set(copy, "content", text);
    json_object_del(copy, "tool_calls");
    json_decref(text);
    push(b, copy);
    buf_release(&out);
}

static size_t push_assistant(struct builder *b, json_t *messages, size_t at)
{
    json_t *m = json_array_get(messages, at), *before = last(b), *call;
    json_t *calls = json_object_get(m, "tool_calls"),
           *content = json_object_get(m, "content");
    size_t i;
    if (b->first.len) // a system text that nobody's turn took
        push_user(b, "", 0);
    if (!json_array_size(calls) && !b->caps->consecutive && before &&
        is_role(before, "assistant") && !json_object_get(before, "tool_calls")) {
        extend(b, before, "\n\n", json_string_value(content),
               json_string_length(content));
    } else if (!json_array_size(calls) || !b->caps->native) {
        push_as_text(b, m, calls);
    } else if (json_array_size(calls) > 1 && !b->caps->parallel) {
        return push_one_by_one(b, messages, at);
    } else {
        json_t *list = json_array();
        json_array_foreach(calls, i, call) b->failed =
            !list || json_array_append_new(list, call_of(b, call)) || b->failed;
        push_calls(b, m, list, true);
    }
    return at + 1;
}

/* Results that follow each other are one turn of a user. */
static void push_result_as_text(struct builder *b, json_t *message, bool again)
{
    json_t *content = json_object_get(message, "content"), *before = last(b);
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_puts(&text, "<tool_response>\n");
    buf_append(&text, json_string_value(content), json_string_length(content));
    buf_puts(&text, "\n</tool_response>");
    b->failed = text.failed || b->failed;
    if (again && before && is_role(before, "user"))
        extend(b, before, "\n", text.data, text.len);
    else
        push_user(b, text.data, text.len);
    buf_release(&text);
}

json_t *chat_messages(const struct chat_caps *c, json_t *messages, json_t *tools)
{
    struct builder b = {.caps = c, .out = json_array()};
    buf_init(&b.first, TEXT_MAX);
    b.failed = !b.out;
    for (size_t i = push_first(&b, messages, tools); i < json_array_size(messages);) {
        json_t *m = json_array_get(messages, i), *content = json_object_get(m, "content");
        if (is_role(m, "assistant")) {
            i = push_assistant(&b, messages, i);
            continue;
        }
        if (is_role(m, "system"))
            push_late_system(&b, m);
        else if (is_role(m, "tool") && c->native)
            push(&b, result_of(&b, m));
        else if (is_role(m, "tool"))
            push_result_as_text(&b, m,
                                i && is_role(json_array_get(messages, i - 1), "tool"));
        else
            push_user(&b, json_string_value(content), json_string_length(content));
        i++;
    }
    if (b.first.len)
        push_user(&b, "", 0);
    b.failed = b.first.failed || b.failed;
    buf_release(&b.first);
    if (!b.failed)
        return b.out;
    json_decref(b.out);
    return NULL;
}
