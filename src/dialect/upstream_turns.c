/* upstream_turns.c - the messages of a request in the order that a backend can take them.
 *
 * Many templates have the system's message first or not at all.  One that comes later
 * becomes a reminder in the user's turn, where it stands: moved to the front, it would
 * change the beginning of the prompt, and nothing that was computed could be used
 * again. */
#include <stdio.h>
#include <string.h>

#include "dialect/content.h"
#include "json/print.h"
#include "dialect/upstream_parts.h"

static const char reminder_begin[] = "<system-reminder>\n",
                  reminder_end[] = "\n</system-reminder>";

/* A new string of three others, with `between` after the first if it has anything. */
static json_t *joined(const json_t *first, const char *between, const char *before,
                      const json_t *last, const char *after)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 30);
    buf_append(&b, json_string_value(first), json_string_length(first));
    if (b.len > 0)
        buf_puts(&b, between);
    buf_puts(&b, before);
    buf_append(&b, json_string_value(last), json_string_length(last));
    buf_puts(&b, after);
    json_t *s = b.failed ? NULL : json_stringn_nocheck(b.data ? b.data : "", b.len);
    buf_release(&b);
    return s;
}

static const json_t *text_of_turn(const json_t *m)
{
    return json_object_get(m, "content");
}

static bool turn_has_role(const json_t *m, const char *role)
{
    const char *is = json_string_value(json_object_get(m, "role"));
    return is && strcmp(is, role) == 0;
}

/* Images of m, whose places in the text move by `shift` bytes, behind those of turn. */
static bool add_images(json_t *turn, const json_t *m, size_t shift)
{
    const json_t *images = json_object_get(m, "images");
    if (json_array_size(images) == 0)
        return true;
    json_t *list = json_object_get(turn, "images");
    if (!list && (json_object_set_new(turn, "images", json_array()) ||
                  !(list = json_object_get(turn, "images"))))
        return false;
    for (size_t i = 0; i < json_array_size(images); i++) {
        json_t *image = json_copy(json_array_get(images, i));
        const json_int_t at = json_integer_value(json_object_get(image, "at"));
        bool bad =
            json_object_set_new(image, "at", json_integer(at + (json_int_t)shift)) != 0;
        bad |= json_array_append_new(list, image) != 0;
        if (bad)
            return false;
    }
    return true;
}

/* turn, which is ours alone, goes on with the text of m. */
static bool extend_turn(json_t *turn, const json_t *m, const char *between,
                        const char *before, const char *after)
{
    const json_t *old = text_of_turn(turn);
    const size_t n = json_string_length(old);
    const size_t shift = n > 0 ? n + strlen(between) : 0;
    json_t *text = joined(old, between, before, text_of_turn(m), after);
    if (!text || !add_images(turn, m, shift + strlen(before))) {
        json_decref(text);
        return false;
    }
    return json_object_set_new(turn, "content", text) == 0;
}

void upstream_piece(const json_t *message, size_t i, const char **s, size_t *n)
{
    const json_t *images = json_object_get(message, "images");
    const json_t *text = text_of_turn(message);
    const char *all = json_string_value(text);
    const size_t n_image = json_array_size(images), len = json_string_length(text);
    size_t from = 0, to = len;
    if (i > 0)
        from = (size_t)json_integer_value(
            json_object_get(json_array_get(images, i - 1), "at"));
    if (i < n_image)
        to = (size_t)json_integer_value(json_object_get(json_array_get(images, i), "at"));
    if (i > 0 && from > 0 && from < to && all[from] == '\n')
        from++; // it joins what the image divides
    *s = all + from;
    *n = to - from;
}

void upstream_print_content(struct buf *out, const json_t *message,
                            void (*print_image)(struct buf *out, const json_t *image))
{
    const json_t *images = json_object_get(message, "images");
    const size_t n_image = json_array_size(images);
    const char *comma = "";
    if (n_image == 0) {
        json_print_value(out, json_object_get(message, "content"));
        return;
    }
    buf_puts(out, "[");
    for (size_t i = 0; i <= n_image; i++) {
        const char *s;
        size_t n;
        upstream_piece(message, i, &s, &n);
        if (n > 0) {
            buf_printf(out, "%s{\"type\":\"text\",\"text\":", comma);
            json_print_text(out, s, n);
            buf_puts(out, "}");
            comma = ",";
        }
        if (i == n_image)
            break;
        buf_puts(out, comma);
        print_image(out, json_array_get(images, i));
        comma = ",";
    }
    buf_puts(out, "]");
}

struct turns {
    json_t *list;
    bool apart;       // results are text alone: their images come behind them
    json_t *held;     // owned: those of the results that were last, NULL for none
    json_t *reminder; // borrowed: the last one, if it is a user's that ends with a
                      // reminder: what the user says next goes on there
};

/* What system says, in the turn of the user before it or as one of its own. */
static bool add_reminder(struct turns *t, const json_t *m)
{
    const size_t n = json_array_size(t->list);
    const json_t *last = n > 0 ? json_array_get(t->list, n - 1) : NULL;
    json_t *turn;
    if (last && turn_has_role(last, "user")) {
        turn = json_deep_copy(last);
        if (!turn || json_array_set(t->list, n - 1, turn)) {
            json_decref(turn);
            return false;
        }
    } else {
        turn = json_pack("{s:s, s:s}", "role", "user", "content", "");
        if (!turn || json_array_append(t->list, turn)) {
            json_decref(turn);
            return false;
        }
    }
    t->reminder = turn;
    json_decref(turn);
    return extend_turn(turn, m, "\n", reminder_begin, reminder_end);
}

static const char of_results[] = "[Images of the results above:]";

/* A result without its images, which wait for the end of all results. */
static bool add_result_text_alone(struct turns *t, const json_t *m)
{
    const json_t *images = json_object_get(m, "images");
    json_t *own = json_copy((json_t *)m);
    bool bad = !own || json_object_del(own, "images") != 0;
    if (!t->held)
        t->held = json_array();
    for (size_t i = 0; i < json_array_size(images); i++) {
        json_t *image = json_copy(json_array_get(images, i));
        bad |= json_object_set_new(image, "at", json_integer(sizeof of_results - 1)) != 0;
        bad |= json_array_append_new(t->held, image) != 0;
    }
    return json_array_append_new(t->list, own) == 0 && !bad;
}

/* They are a turn of the user, with whom what is said next goes on. */
static bool send_held_images(struct turns *t)
{
    if (!t->held)
        return true;
    json_t *turn = json_pack("{s:s, s:s, s:O}", "role", "user", "content", of_results,
                             "images", t->held);
    json_decref(t->held);
    t->held = NULL;
    t->reminder = turn;
    return turn && !json_array_append_new(t->list, turn);
}

static bool add_message_turn(struct turns *t, json_t *m, bool late_system)
{
    if (t->apart && turn_has_role(m, "tool") && json_object_get(m, "images"))
        return add_result_text_alone(t, m);
    if (!turn_has_role(m, "tool") && !send_held_images(t))
        return false;
    const size_t n = json_array_size(t->list);
    if (turn_has_role(m, "system")) {
        json_t *first = n == 1 ? json_array_get(t->list, 0) : NULL;
        if (n == 0) {
            json_t *own = json_copy(m);
            return own && !json_array_append_new(t->list, own);
        }
        if (first && turn_has_role(first, "system"))
            return extend_turn(first, m, "\n\n", "", "");
        if (!late_system)
            return add_reminder(t, m);
    }
    if (t->reminder && turn_has_role(m, "user")) {
        json_t *turn = t->reminder;
        t->reminder = NULL;
        return extend_turn(turn, m, "\n", "", "");
    }
    t->reminder = NULL;
    return json_array_append(t->list, m) == 0;
}

/* A completion with a template: what it says as messages. */
static enum status turns_of_prompt(struct upstream_print *p)
{
    const json_t *prompt = json_array_get(p->r->prompts, 0);
    if (json_array_size(p->r->prompts) != 1 || !json_is_string(prompt))
        return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "prompt",
                        "prompt must be one text for the backend of this model");
    const bool system = p->r->system && *p->r->system;
    bool bad = false;
    if (system)
        bad |= json_array_append_new(p->turns, json_pack("{s:s, s:s}", "role", "system",
                                                         "content", p->r->system)) != 0;
    bad |= json_array_append_new(
               p->turns, json_pack("{s:s, s:O}", "role", "user", "content", prompt)) != 0;
    return bad ? api_no_memory(p->err) : STATUS_OK;
}

/* Every result is of a call, for APIs that match them by id. */
static enum status check_results(struct upstream_print *p)
{
    json_t *ids = json_object();
    enum status s = ids ? STATUS_OK : api_no_memory(p->err);
    for (size_t i = 0; i < json_array_size(p->turns) && s == STATUS_OK; i++) {
        const json_t *m = json_array_get(p->turns, i);
        const json_t *calls = json_object_get(m, "tool_calls");
        const char *of = json_string_value(json_object_get(m, "tool_call_id"));
        for (size_t k = 0; k < json_array_size(calls); k++) {
            const char *id =
                json_string_value(json_object_get(json_array_get(calls, k), "id"));
            if (json_object_set_new(ids, id ? id : "", json_true()))
                s = api_no_memory(p->err);
        }
        if (s == STATUS_OK && turn_has_role(m, "tool") &&
            (!of || !json_object_get(ids, of)))
            s = api_fail(p->err, STATUS_BAD_INPUT, API_ERROR_INVALID, "messages",
                         "the result of a tool has the id '%.100s', which no call before "
                         "it has",
                         of ? of : "");
    }
    json_decref(ids);
    return s;
}

enum status upstream_turns(struct upstream_print *p)
{
    if (!(p->turns = json_array()))
        return api_no_memory(p->err);
    if (p->r->task == API_COMPLETION)
        return turns_of_prompt(p);
    struct turns t = {.list = p->turns, .apart = p->upstream->kind != UPSTREAM_ANTHROPIC};
    bool ok = true;
    for (size_t i = 0; i < json_array_size(p->r->messages) && ok; i++) {
        json_t *m = json_array_get(p->r->messages, i);
        if (p->ask->no_images && json_object_get(m, "images")) {
            json_decref(t.held);
            return api_fail(p->err, STATUS_UNSUPPORTED, API_ERROR_UNSUPPORTED, "messages",
                            "images are not supported by this model");
        }
        ok = add_message_turn(&t, m, p->ask->late_system);
    }
    ok = ok && send_held_images(&t);
    json_decref(t.held);
    if (!ok)
        return api_no_memory(p->err);
    return p->upstream->kind == UPSTREAM_OLLAMA || p->r->task == API_COUNT
               ? STATUS_OK
               : check_results(p);
}
