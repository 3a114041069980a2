#include <stdio.h>
#include <string.h>

#include "dialect/anthropic_parts.h"
#include "dialect/content.h"

enum { TEXT_MAX = 1 << 28 }; // bytes of a turn; the server's limit of a body is lower

static const char billing[] = "x-anthropic-billing-header:";

enum turn { TURN_NONE, TURN_USER, TURN_ASSISTANT };

struct conversation {
    struct api_request *r;
    struct api_error *err;
    json_t *loaded;      // names of deferred tools that were found
    json_t *calls;       // names of called tools by the call's id
    enum turn turn;      // whose text is collected
    json_t *message;     // TURN_ASSISTANT: borrowed, its text is set at its end
    struct buf text;     // of the turn
    bool has_text;       // it may be empty
    struct buf thinking; // TURN_ASSISTANT
    json_t *images;      // TURN_USER: owned, NULL for none
};

static void add_text(struct conversation *c, const char *s, size_t n)
{
    if (c->has_text)
        buf_puts(&c->text, "\n");
    buf_append(&c->text, s, n);
    c->has_text = true;
}

static void add_json_text(struct conversation *c, const json_t *s)
{
    add_text(c, json_string_value(s), json_string_length(s));
}

/* What was collected, as a new string; NULL without memory. */
static json_t *take_buf(struct buf *b)
{
    json_t *s = b->failed ? NULL : json_stringn_nocheck(b->data ? b->data : "", b->len);
    buf_clear(b);
    return s;
}

static json_t *take_text(struct conversation *c)
{
    c->has_text = false;
    return take_buf(&c->text);
}

static enum status end_assistant(struct conversation *c)
{
    json_t *m = c->message;
    bool bad = json_object_set_new(m, "content", take_text(c)) != 0;
    if (c->thinking.len > 0 || c->thinking.failed)
        bad |= json_object_set_new(m, "reasoning_content", take_buf(&c->thinking)) != 0;
    c->message = NULL;
    return bad ? api_no_memory(c->err) : STATUS_OK;
}

/* Text that was collected becomes a message. */
static enum status end_turn(struct conversation *c)
{
    const enum turn turn = c->turn;
    json_t *m;
    c->turn = TURN_NONE;
    if (turn == TURN_ASSISTANT)
        return end_assistant(c);
    if (turn != TURN_USER || (!c->has_text && !c->images))
        return STATUS_OK;
    enum status s = content_add_message(&m, c->r->messages, "user", take_text(c), c->err);
    if (s == STATUS_OK)
        s = content_set_images(m, c->images, c->err);
    json_decref(c->images);
    c->images = NULL;
    return s;
}

static enum status begin_turn(struct conversation *c, enum turn turn)
{
    if (c->turn == turn)
        return STATUS_OK;
    enum status s = end_turn(c);
    if (s == STATUS_OK && turn == TURN_ASSISTANT)
        s = content_add_message(&c->message, c->r->messages, "assistant", json_string(""),
                                c->err);
    if (s == STATUS_OK)
        c->turn = turn;
    return s;
}

static enum status unknown_block(const struct conversation *c, const char *type,
                                 const char *path)
{
    if (strcmp(type, "image") == 0)
        return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, path,
                        "images are not supported by this model (%s)", path);
    return api_fail(c->err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                    "%s has type '%.40s', which is not known here or in this place", path,
                    type);
}

/* *out <- a member that is a string. */
static enum status need_string(const struct conversation *c, const json_t **out,
                               const json_t *object, const char *name, const char *path)
{
    *out = json_object_get(object, name);
    if (json_is_string(*out))
        return STATUS_OK;
    return content_wrong(*out, content_at("%s.%s", path, name).text, "a string", c->err);
}

static void add_if_string(struct conversation *c, const json_t *object, const char *name)
{
    const json_t *s = json_object_get(object, name);
    if (json_string_length(s) > 0)
        add_json_text(c, s);
}

/* A string or blocks of text. */
static enum status add_texts(struct conversation *c, const json_t *content,
                             const char *path)
{
    json_t *text;
    const enum status s = content_string(&text, content, path, c->err);
    if (s == STATUS_OK)
        add_json_text(c, text);
    json_decref(text);
    return s;
}

static enum status add_document(struct conversation *c, const json_t *block,
                                const char *path)
{
    const struct content_path at = content_at("%s.source", path);
    const json_t *source = json_object_get(block, "source"), *type, *data;
    if (!json_is_object(source))
        return content_wrong(source, at.text, "an object", c->err);
    enum status s = need_string(c, &type, source, "type", at.text);
    if (s != STATUS_OK)
        return s;
    const bool is_text = strcmp(json_string_value(type), "text") == 0;
    if (!is_text && strcmp(json_string_value(type), "content") != 0)
        return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, at.text,
                        "documents are supported as plain text only (%s)", at.text);
    add_if_string(c, block, "title");
    add_if_string(c, block, "context");
    if (!is_text)
        return add_texts(c, json_object_get(source, "content"),
                         content_at("%s.content", at.text).text);
    s = need_string(c, &data, source, "data", at.text);
    if (s == STATUS_OK)
        add_json_text(c, data);
    return s;
}

static enum status add_search_result(struct conversation *c, const json_t *block,
                                     const char *path)
{
    add_if_string(c, block, "title");
    add_if_string(c, block, "source");
    return add_texts(c, json_object_get(block, "content"),
                     content_at("%s.content", path).text);
}

/* The tool itself is put with the others, where its calls can be read and checked. */
static enum status add_tool_reference(struct conversation *c, const json_t *block,
                                      const char *path)
{
    const json_t *name;
    const enum status s = need_string(c, &name, block, "tool_name", path);
    if (s != STATUS_OK)
        return s;
    if (json_object_set_new(c->loaded, json_string_value(name), json_true()))
        return api_no_memory(c->err);
    char text[192];
    snprintf(text, sizeof text, "Tool %.128s can be called now.",
             json_string_value(name));
    add_text(c, text, strlen(text));
    return STATUS_OK;
}

/* A block of a user's turn or of a result that becomes text. */
static enum status add_text_block(struct conversation *c, const json_t *block,
                                  const char *type, const char *path)
{
    const json_t *text;
    if (strcmp(type, "text") == 0) {
        const enum status s = need_string(c, &text, block, "text", path);
        if (s == STATUS_OK)
            add_json_text(c, text);
        return s;
    }
    if (strcmp(type, "document") == 0)
        return add_document(c, block, path);
    if (strcmp(type, "search_result") == 0)
        return add_search_result(c, block, path);
    return unknown_block(c, type, path);
}

/* *type <- what kind of block it is. */
static enum status block_type(const struct conversation *c, const char **type,
                              const json_t *block, const char *path)
{
    const json_t *v;
    if (!json_is_object(block))
        return content_wrong(block, path, "a block (an object)", c->err);
    const enum status s = need_string(c, &v, block, "type", path);
    *type = json_string_value(v);
    return s;
}

static enum status add_image(struct conversation *c, const json_t *block,
                             const char *path)
{
    const struct content_path at = content_at("%s.source", path);
    const json_t *source = json_object_get(block, "source"), *type;
    if (!json_is_object(source))
        return content_wrong(source, at.text, "an object", c->err);
    const enum status s = need_string(c, &type, source, "type", at.text);
    if (s != STATUS_OK)
        return s;
    if (!c->images && !(c->images = json_array()))
        return api_no_memory(c->err);
    if (strcmp(json_string_value(type), "url") == 0)
        return content_add_image_url(c->images, c->text.len,
                                     json_object_get(source, "url"), at.text, c->err);
    if (strcmp(json_string_value(type), "base64") == 0)
        return content_add_image(c->images, c->text.len,
                                 json_string_value(json_object_get(source, "media_type")),
                                 json_object_get(source, "data"), at.text, c->err);
    return api_fail(c->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, at.text,
                    "%s: images are supported as base64 and as addresses, not as '%.40s'",
                    at.text, json_string_value(type));
}

static enum status add_result_block(struct conversation *c, const json_t *block,
                                    const char *type, const char *path)
{
    /* Nobody chose to send it, and a refusal would end the conversation for good, as it
     * stays in the history: the model is told instead. */
    static const char unseen[] = "[An image, which this model cannot see.]";
    if (c->r->keep_images && strcmp(type, "image") == 0)
        return add_image(c, block, path);
    if (strcmp(type, "image") == 0) {
        add_text(c, unseen, sizeof unseen - 1);
        return STATUS_OK;
    }
    if (strcmp(type, "tool_reference") == 0)
        return add_tool_reference(c, block, path);
    return add_text_block(c, block, type, path);
}

static enum status add_result_blocks(struct conversation *c, const json_t *content,
                                     const char *path)
{
    enum status s = STATUS_OK;
    for (size_t i = 0; i < json_array_size(content) && s == STATUS_OK; i++) {
        const json_t *block = json_array_get(content, i);
        const struct content_path at = content_at("%s[%zu]", path, i);
        const char *type;
        s = block_type(c, &type, block, at.text);
        if (s == STATUS_OK)
            s = add_result_block(c, block, type, at.text);
    }
    return s;
}

/* The text of a result; one of an error begins with the word. */
static enum status add_result_text(struct conversation *c, const json_t *block,
                                   const char *path)
{
    const struct content_path at = content_at("%s.content", path);
    const json_t *content = json_object_get(block, "content");
    const bool is_error = json_is_true(json_object_get(block, "is_error"));
    if (is_error)
        buf_puts(&c->text, "Error: ");
    if (!content || json_is_null(content))
        return STATUS_OK;
    if (json_is_array(content))
        return add_result_blocks(c, content, at.text);
    if (!json_is_string(content))
        return content_wrong(content, at.text, "a string or an array of blocks", c->err);
    add_json_text(c, content);
    return STATUS_OK;
}

static enum status add_tool_result(struct conversation *c, const json_t *block,
                                   const char *path)
{
    const json_t *id;
    json_t *m;
    enum status s = need_string(c, &id, block, "tool_use_id", path);
    if (s == STATUS_OK)
        s = end_turn(c); // what was said before it stays before it
    c->turn = TURN_USER;
    if (s == STATUS_OK)
        s = add_result_text(c, block, path);
    if (s != STATUS_OK)
        return s;
    json_t *name = json_object_get(c->calls, json_string_value(id));
    if (!name && c->r->task != API_COUNT)
        return api_fail(c->err, STATUS_BAD_INPUT, API_ERROR_INVALID, path,
                        "%s: unexpected `tool_use_id` found in `tool_result` blocks: "
                        "%.100s. Each `tool_result` block must have a corresponding "
                        "`tool_use` block before it.",
                        path, json_string_value(id));
    s = content_add_message(&m, c->r->messages, "tool", take_text(c), c->err);
    if (s == STATUS_OK)
        s = content_set_images(m, c->images, c->err);
    json_decref(c->images);
    c->images = NULL;
    if (s != STATUS_OK)
        return s;
    bool bad =
        json_object_set_new(m, "tool_call_id", json_string(json_string_value(id))) != 0;
    bad |= json_object_set_new(m, "name",
                               json_string(name ? json_string_value(name) : "")) != 0;
    return bad ? api_no_memory(c->err) : STATUS_OK;
}

static enum status add_tool_use(struct conversation *c, const json_t *block,
                                const char *path)
{
    const json_t *id, *name, *input = json_object_get(block, "input");
    enum status s = need_string(c, &id, block, "id", path);
    if (s == STATUS_OK)
        s = need_string(c, &name, block, "name", path);
    if (s != STATUS_OK)
        return s;
    if (!json_is_object(input))
        return content_wrong(input, content_at("%s.input", path).text, "an object",
                             c->err);
    if (json_object_set_new(c->calls, json_string_value(id),
                            json_string(json_string_value(name))))
        return api_no_memory(c->err);
    return content_add_call(c->message, json_string_value(id), json_string_value(name),
                            json_incref((json_t *)input), c->err);
}

static enum status add_thinking(struct conversation *c, const json_t *block,
                                const char *path)
{
    const json_t *text;
    const enum status s = need_string(c, &text, block, "thinking", path);
    if (s == STATUS_OK && json_string_length(text) > 0) {
        if (c->thinking.len > 0)
            buf_puts(&c->thinking, "\n");
        buf_append(&c->thinking, json_string_value(text), json_string_length(text));
    }
    return s;
}

static enum status add_user_block(struct conversation *c, const json_t *block,
                                  const char *type, const char *path)
{
    if (c->r->keep_images && strcmp(type, "image") == 0)
        return add_image(c, block, path);
    if (strcmp(type, "tool_result") == 0)
        return add_tool_result(c, block, path);
    return add_text_block(c, block, type, path);
}

static enum status add_assistant_block(struct conversation *c, const json_t *block,
                                       const char *type, const char *path)
{
    if (strcmp(type, "tool_use") == 0)
        return add_tool_use(c, block, path);
    if (strcmp(type, "thinking") == 0)
        return add_thinking(c, block, path);
    if (strcmp(type, "redacted_thinking") == 0)
        return STATUS_OK; // nothing of it can be read
    if (strcmp(type, "text") == 0)
        return add_text_block(c, block, type, path);
    return unknown_block(c, type, path);
}

static enum status add_turn(struct conversation *c, enum turn turn, const json_t *content,
                            const char *path)
{
    enum status s = begin_turn(c, turn);
    if (s != STATUS_OK)
        return s;
    if (json_is_string(content)) {
        add_json_text(c, content);
        return STATUS_OK;
    }
    if (!json_is_array(content))
        return content_wrong(content, path, "a string or an array of blocks", c->err);
    if (json_array_size(content) == 0)
        add_text(c, "", 0);
    for (size_t i = 0; i < json_array_size(content) && s == STATUS_OK; i++) {
        const json_t *block = json_array_get(content, i);
        const struct content_path at = content_at("%s[%zu]", path, i);
        const char *type;
        s = block_type(c, &type, block, at.text);
        if (s == STATUS_OK)
            s = turn == TURN_USER ? add_user_block(c, block, type, at.text)
                                  : add_assistant_block(c, block, type, at.text);
    }
    return s;
}

/* Text of a system message without the billing line in front of it. */
static void add_system_text(struct conversation *c, const json_t *text)
{
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    if (n >= sizeof billing - 1 && memcmp(s, billing, sizeof billing - 1) == 0) {
        const char *end = memchr(s, '\n', n);
        if (!end)
            return;
        n -= (size_t)(end - s);
        s = end;
        while (n > 0 && *s == '\n')
            s++, n--;
    }
    if (n > 0)
        add_text(c, s, n);
}

static enum status add_system(struct conversation *c, const json_t *content,
                              const char *path)
{
    json_t *m;
    enum status s = end_turn(c);
    if (json_is_string(content)) {
        add_system_text(c, content);
    } else if (!json_is_array(content)) {
        return content_wrong(content, path, "a string or an array of blocks", c->err);
    }
    for (size_t i = 0; i < json_array_size(content) && s == STATUS_OK; i++) {
        const json_t *block = json_array_get(content, i), *text = NULL;
        const struct content_path at = content_at("%s[%zu]", path, i);
        const char *type;
        s = block_type(c, &type, block, at.text);
        if (s == STATUS_OK)
            s = strcmp(type, "text") == 0 ? need_string(c, &text, block, "text", at.text)
                                          : unknown_block(c, type, at.text);
        if (s == STATUS_OK)
            add_system_text(c, text);
    }
    if (s != STATUS_OK || !c->has_text)
        return s;
    return content_add_message(&m, c->r->messages, "system", take_text(c), c->err);
}

static enum status add_sent_message(struct conversation *c, const json_t *m,
                                    const char *path)
{
    const struct content_path at = content_at("%s.content", path);
    if (!json_is_object(m))
        return content_wrong(m, path, "an object", c->err);
    const json_t *role_value = json_object_get(m, "role");
    const json_t *content = json_object_get(m, "content");
    const char *role = json_is_string(role_value) ? json_string_value(role_value) : "";
    if (strcmp(role, "user") == 0)
        return add_turn(c, TURN_USER, content, at.text);
    if (strcmp(role, "assistant") == 0)
        return add_turn(c, TURN_ASSISTANT, content, at.text);
    if (strcmp(role, "system") == 0)
        return add_system(c, content, at.text);
    return content_wrong(role_value, content_at("%s.role", path).text,
                         "user, assistant or system", c->err);
}

static enum status read_all(struct conversation *c)
{
    const json_t *system = json_object_get(c->r->body, "system");
    const json_t *messages = json_object_get(c->r->body, "messages");
    if (!c->r->messages || !c->calls || !c->loaded)
        return api_no_memory(c->err);
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return content_wrong(messages, "messages", "an array of at least one message",
                             c->err);
    enum status s = STATUS_OK;
    if (system && !json_is_null(system))
        s = add_system(c, system, "system");
    for (size_t i = 0; i < json_array_size(messages) && s == STATUS_OK; i++)
        s = add_sent_message(c, json_array_get(messages, i),
                             content_at("messages[%zu]", i).text);
    return s == STATUS_OK ? end_turn(c) : s;
}

enum status anthropic_read_messages(struct api_request *r, json_t **loaded,
                                    struct api_error *err)
{
    struct conversation c = {
        .r = r, .err = err, .loaded = json_object(), .calls = json_object()};
    buf_init(&c.text, TEXT_MAX);
    buf_init(&c.thinking, TEXT_MAX);
    r->messages = json_array();
    const enum status s = read_all(&c);
    buf_release(&c.text);
    buf_release(&c.thinking);
    json_decref(c.calls);
    json_decref(c.images);
    *loaded = c.loaded;
    return s;
}
