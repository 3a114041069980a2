/* output_call.c - calls whose arguments are JSON. */
#include <string.h>

#include "json/parse.h"
#include "text/output_impl.h"

enum { MEMBER_OTHER, MEMBER_NAME, MEMBER_ARGS };
enum { CALL_START, CALL_OBJECT, CALL_NEXT };
enum { NAMED_NAME, NAMED_ARGS, NAMED_SECOND };

/* ---- what all calls share ---- */

static void clear_call(struct output_parser *p)
{
    buf_clear(&p->held);
    buf_clear(&p->name);
    buf_clear(&p->raw);
    buf_clear(&p->json);
    p->state = p->member = p->n_param = 0;
    p->announced = p->in_args = p->ended = false;
    p->args_at = 0;
}

void output_call_start(struct output_parser *p, const struct output_mark *mark)
{
    size_t n = strlen(mark->text);
    clear_call(p);
    p->mark_at = p->n_fed - n;
    p->from = p->mode;
    p->mode = OUTPUT_IN_CALL;
    p->mark = mark;
    p->reader = mark->reader;
    p->in_list = false;
    p->tail = NULL;
    n -= (mark->flags & OUTPUT_BRACE) != 0;
    buf_append(&p->held, mark->text, n);
    if (mark->flags & OUTPUT_BRACE)
        output_put(p, mark->text[n]);
}

enum output_read output_not_a_call(struct output_parser *p)
{
    p->mode = p->from;
    output_plain(p, p->held.data, p->held.len);
    buf_clear(&p->held);
    return OUTPUT_AGAIN;
}

enum output_read output_taken(struct output_parser *p, char c)
{
    if (!p->announced && !p->ended)
        buf_append(&p->held, &c, 1);
    return OUTPUT_TAKEN;
}

static bool too_much(const struct output_parser *p)
{
    return !p->announced && !p->ended && p->held.len >= p->o.max_bytes + OUTPUT_MARK_MAX;
}

static bool find_tool(struct output_parser *p, const char *name, size_t n)
{
    size_t i;
    json_t *tool;
    json_array_foreach(p->o.tools, i, tool)
    {
        json_t *f = json_object_get(tool, "function"), *s = json_object_get(f, "name");
        if (json_string_length(s) == n && !memcmp(json_string_value(s), name, n)) {
            p->schema = json_object_get(f, "parameters");
            return true;
        }
    }
    p->schema = NULL;
    return false;
}

bool output_name_ok(struct output_parser *p)
{
    const bool known = find_tool(p, p->name.data, p->name.len);
    for (size_t i = 0; i < p->name.len; i++)
        if ((unsigned char)p->name.data[i] <= ' ')
            return known;
    return known || (p->name.len && p->o.tools && !(p->mark->flags & OUTPUT_KNOWN) &&
                     p->from == OUTPUT_IN_TEXT);
}

void output_announce(struct output_parser *p)
{
    buf_clear(&p->space);
    if (p->from == OUTPUT_IN_REASONING) {
        p->stray_close = true;
        p->answer_start = p->mark_at;
    }
    p->from = OUTPUT_IN_TEXT;
    p->said = p->announced = true;
    output_emit(p, OUTPUT_TOOL_BEGIN, p->name.data, p->name.len);
}

void output_send_args(struct output_parser *p)
{
    for (size_t i = p->args_at; i < p->json.len; i++)
        output_add(p, OUTPUT_TOOL_ARGS, p->json.data[i]);
    buf_clear(&p->json);
    p->args_at = 0;
}

/* The arguments are complete. */
static void args_end(struct output_parser *p)
{
    output_send_args(p);
    output_emit(p, OUTPUT_TOOL_END, NULL, 0);
    p->announced = p->in_args = false;
    p->ended = true;
}

static enum output_read text_again(struct output_parser *p)
{
    output_set_mode(p, OUTPUT_IN_TEXT);
    p->tail = p->mark->tail;
    return OUTPUT_AGAIN;
}

void output_call_end(struct output_parser *p)
{
    args_end(p);
    text_again(p);
}

/* The announced arguments cannot go on: they end, and what was kept back of them is text
 * like the rest. */
static enum output_read broken_args(struct output_parser *p, int depth)
{
    struct buf rest = p->scan.wait;
    buf_init(&p->scan.wait, rest.max);
    output_json_close(&p->scan, depth);
    output_call_end(p);
    output_plain(p, rest.data, rest.len);
    buf_release(&rest);
    return OUTPUT_AGAIN;
}

/* ---- arguments alone ---- */

void output_direct_args(struct output_parser *p)
{
    buf_clear(&p->json);
    output_json_release(&p->scan);
    output_json_init(&p->scan, &p->json, p->o.max_bytes);
    p->args_at = 0;
    p->reader = &output_reader_args;
}

static enum output_read args_byte(struct output_parser *p, char c)
{
    struct output_json *j = &p->scan;
    if (too_much(p) || (!j->depth && c != '{' && !output_is_space(c)))
        return output_not_a_call(p);
    if (!output_json_byte(j, c)) {
        return p->announced ? broken_args(p, 0) : output_not_a_call(p);
    }
    const bool done = j->state == OUTPUT_JSON_DONE;
    if (!p->announced && (done || p->json.len > 1)) {
        if (!output_name_ok(p))
            return output_not_a_call(p);
        output_announce(p);
    }
    if (p->announced)
        output_send_args(p);
    if (done)
        output_call_end(p);
    return output_taken(p, c);
}

static void args_finish(struct output_parser *p)
{
    if (p->announced) {
        output_json_close(&p->scan, 0);
        output_call_end(p);
    } else {
        output_not_a_call(p);
    }
}

const struct output_reader output_reader_args = {args_byte, args_finish};

/* ---- an object with name and arguments ---- */

/* Behind the value or name that begins at i in valid JSON [n] without white space. */
static size_t skip_value(const char *s, size_t n, size_t i)
{
    bool string = false;
    for (int depth = 0; i < n; i++) {
        const char c = s[i];
        if (string && c == '\\')
            i++;
        else if (c == '"')
            string = !string;
        if (string)
            continue;
        if (depth == 0 && (c == ',' || c == ':' || c == '}' || c == ']'))
            return i;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    }
    return n;
}

struct span {
    const char *s;
    size_t n;
};

/* The value of a member of the object o; s NULL: it has none. */
static struct span member_value(struct span o, const char *name)
{
    const size_t len = strlen(name);
    for (size_t i = 1; i + 1 < o.n;) {
        const size_t colon = skip_value(o.s, o.n, i),
                     end = skip_value(o.s, o.n, colon + 1);
        if (colon - i == len + 2 && !memcmp(o.s + i + 1, name, len))
            return (struct span){o.s + colon + 1, end - colon - 1};
        i = end + 1;
    }
    return (struct span){0};
}

/* Append the text that a JSON string stands for; false: it is none. */
static bool unquote(struct buf *out, struct span v)
{
    json_t *j = v.n && v.s[0] == '"' ? json_parse(v.s, v.n, JSON_DECODE_ANY, NULL) : NULL;
    const bool ok =
        json_is_string(j) && buf_append(out, json_string_value(j), json_string_length(j));
    json_decref(j);
    return ok;
}

/* p->raw <- the object that v is or, as a string, holds. */
static bool find_args(struct output_parser *p, struct span v)
{
    struct buf text;
    struct output_json j;
    buf_init(&text, p->json.max);
    buf_clear(&p->raw);
    output_json_init(&j, &p->raw, p->o.max_bytes);
    bool ok = v.n && v.s[0] == '{' ? buf_append(&text, v.s, v.n) : unquote(&text, v);
    for (size_t i = 0; ok && i < text.len; i++)
        ok = output_json_byte(&j, text.data[i]);
    ok = ok && j.state == OUTPUT_JSON_DONE && p->raw.len && p->raw.data[0] == '{' &&
         !p->raw.failed;
    output_json_release(&j);
    buf_release(&text);
    return ok;
}

/* p->json is the whole object: its members may come in any order, the arguments as a
 * string, and all of it in a member `function`. */
static bool whole_object(struct output_parser *p)
{
    struct span call = {p->json.data, p->json.len},
                inner = member_value(call, "function");
    if (inner.n && inner.s[0] == '{')
        call = inner;
    struct span args = member_value(call, "arguments");
    if (!args.s)
        args = member_value(call, "parameters");
    if (args.n == 4 && args.s[0] == 'n') // null
        args.s = NULL;
    buf_clear(&p->name);
    if (!unquote(&p->name, member_value(call, "name")) || !output_name_ok(p))
        return false;
    /* Without arguments a name is only a call if there is such a tool. */
    if (args.s ? !find_args(p, args) : !find_tool(p, p->name.data, p->name.len))
        return false;
    buf_clear(&p->json);
    buf_append(&p->json, args.s ? p->raw.data : "{}", args.s ? p->raw.len : 2);
    p->args_at = 0;
    output_announce(p);
    args_end(p);
    return true;
}

static int member_of(const struct output_json *j)
{
    if (output_json_is_name(j, "name"))
        return MEMBER_NAME;
    if (output_json_is_name(j, "arguments") || output_json_is_name(j, "parameters"))
        return MEMBER_ARGS;
    return MEMBER_OTHER;
}

/* A member's value of the call's object is complete: was it the name? */
static void read_name(struct output_parser *p)
{
    json_t *v = json_parse(p->json.data + p->scan.value_at,
                           p->json.len - p->scan.value_at, JSON_DECODE_ANY, NULL);
    buf_clear(&p->name);
    if (json_is_string(v))
        buf_append(&p->name, json_string_value(v), json_string_length(v));
    json_decref(v);
}

/* false: an object whose text has another meaning. */
static bool object_step(struct output_parser *p, enum output_json_state before, int depth,
                        char c)
{
    struct output_json *j = &p->scan;
    const bool known = p->mark->flags & OUTPUT_KNOWN;
    if (j->depth == 1 && before == OUTPUT_JSON_COLON && j->state == OUTPUT_JSON_VALUE) {
        p->member = member_of(j);
        if (known && p->member == MEMBER_OTHER && !output_json_is_name(j, "type") &&
            !output_json_is_name(j, "function") && !output_json_is_name(j, "id"))
            return p->name.len; // more members behind the name do not matter
    }
    if (p->ended)
        return true;
    if (j->depth == 1 && depth == 2 && p->in_args) {
        if (!p->announced)
            output_announce(p);
        args_end(p);
        return true;
    }
    if (j->depth == 1 && j->state == OUTPUT_JSON_AFTER && before == OUTPUT_JSON_STRING &&
        p->member == MEMBER_NAME) {
        read_name(p);
        return !known || output_name_ok(p);
    }
    if (j->depth == 2 && depth == 1 && p->member == MEMBER_ARGS && c == '{' &&
        p->name.len && output_name_ok(p)) {
        p->in_args = true;
        p->args_at = j->value_at;
    }
    if (p->in_args && !p->announced && p->json.len > p->args_at + 1)
        output_announce(p);
    if (p->announced)
        output_send_args(p);
    return true;
}

/* Behind the object: the next call of the list, or text. */
static void object_end(struct output_parser *p)
{
    if (p->in_list) {
        clear_call(p);
        p->state = CALL_NEXT;
        p->said = true;
    } else {
        text_again(p);
    }
}

static enum output_read object_byte(struct output_parser *p, char c)
{
    struct output_json *j = &p->scan;
    const enum output_json_state before = j->state;
    const int depth = j->depth;
    if (too_much(p))
        return output_not_a_call(p);
    if (!output_json_byte(j, c)) {
        if (p->announced)
            return broken_args(p, 1);
        return p->ended ? text_again(p) : output_not_a_call(p);
    }
    if (!object_step(p, before, depth, c))
        return output_not_a_call(p);
    if (p->ended)
        buf_clear(&p->json); // what follows the arguments says nothing
    if (j->state != OUTPUT_JSON_DONE)
        return output_taken(p, c);
    if (!p->ended && !whole_object(p)) {
        output_taken(p, c);
        output_not_a_call(p);
        return OUTPUT_TAKEN;
    }
    object_end(p);
    return OUTPUT_TAKEN;
}

static enum output_read json_start(struct output_parser *p, char c)
{
    if (c == '[' && p->state == CALL_START && !p->in_list)
        p->in_list = true;
    else if (c == '{') {
        output_json_release(&p->scan);
        output_json_init(&p->scan, &p->json, p->o.max_bytes);
        p->state = CALL_OBJECT;
        output_json_byte(&p->scan, c);
    } else if (p->state == CALL_NEXT && c == ']') {
        text_again(p);
        return OUTPUT_TAKEN;
    } else if (!output_is_space(c) && (p->state != CALL_NEXT || c != ',')) {
        return p->state == CALL_NEXT ? text_again(p) : output_not_a_call(p);
    }
    if (too_much(p))
        return output_not_a_call(p);
    return p->state == CALL_NEXT ? OUTPUT_TAKEN : output_taken(p, c);
}

static enum output_read json_call_byte(struct output_parser *p, char c)
{
    return p->state == CALL_OBJECT ? object_byte(p, c) : json_start(p, c);
}

static void json_call_finish(struct output_parser *p)
{
    if (p->announced) {
        output_json_close(&p->scan, 1);
        output_call_end(p);
    } else if (p->ended || p->state == CALL_NEXT) {
        text_again(p);
    } else {
        output_not_a_call(p);
    }
}

const struct output_reader output_reader_json = {json_call_byte, json_call_finish};

/* ---- a name, a separator, arguments ---- */

void output_set_name(struct output_parser *p, const char *s, size_t n)
{
    static const char prefix[] = "functions.", id[] = "[CALL_ID]";
    while (n && output_is_space(*s))
        s++, n--;
    while (n && output_is_space(s[n - 1]))
        n--;
    for (size_t i = 0; i + sizeof id - 1 <= n; i++)
        if (!memcmp(s + i, id, sizeof id - 1))
            n = i;
    if (!find_tool(p, s, n)) { // functions.NAME:0
        if (n > sizeof prefix - 1 && !memcmp(s, prefix, sizeof prefix - 1)) {
            s += sizeof prefix - 1;
            n -= sizeof prefix - 1;
        }
        size_t k = n;
        while (k && s[k - 1] >= '0' && s[k - 1] <= '9')
            k--;
        if (k > 1 && k < n && s[k - 1] == ':')
            n = k - 1;
    }
    buf_clear(&p->name);
    buf_append(&p->name, s, n);
}

static bool ends_with(const struct buf *b, const char *s)
{
    const size_t n = strlen(s);
    return b->len >= n && !memcmp(b->data + b->len - n, s, n);
}

static bool is_blank(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (!output_is_space(b->data[i]))
            return false;
    return true;
}

/* The bracket that opens the arguments. */
static enum output_read named_args(struct output_parser *p, char c)
{
    output_direct_args(p);
    return p->reader->byte(p, c);
}

static enum output_read named_byte(struct output_parser *p, char c)
{
    const char *sep = p->mark->separator;
    if (p->state == NAMED_NAME && (c == '[' || c == '{') && is_blank(&p->raw)) {
        p->reader = &output_reader_json;
        return p->reader->byte(p, c);
    }
    if (p->state == NAMED_NAME && c == '{') {
        output_set_name(p, p->raw.data, p->raw.len);
        return named_args(p, c);
    }
    if (p->state == NAMED_ARGS && c == '{')
        return named_args(p, c);
    if (p->state == NAMED_SECOND && c == '{') {
        output_set_name(p, p->raw.data, strcspn(p->raw.data, " \r\n"));
        return named_args(p, c);
    }
    if (p->raw.len >= OUTPUT_NAME_MAX || too_much(p))
        return output_not_a_call(p);
    if (p->state == NAMED_ARGS) {
        if (output_is_space(c))
            return output_taken(p, c);
        /* `function`, and the name behind the separator. */
        if (p->name.len != 8 || memcmp(p->name.data, "function", 8) != 0)
            return output_not_a_call(p);
        p->state = NAMED_SECOND;
    }
    buf_append(&p->raw, &c, 1);
    if (p->state == NAMED_NAME && sep && ends_with(&p->raw, sep)) {
        output_set_name(p, p->raw.data, p->raw.len - strlen(sep));
        buf_clear(&p->raw);
        p->state = NAMED_ARGS;
    }
    return output_taken(p, c);
}

static void named_finish(struct output_parser *p)
{
    output_not_a_call(p);
}

const struct output_reader output_reader_named = {named_byte, named_finish};
