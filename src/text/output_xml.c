/* output_xml.c - calls whose arguments are text between marks:
 *
 *   <tool_call> <function=NAME> <parameter=KEY> VALUE </parameter> ... </function>
 *   </tool_call>
 *
 * A value ends at </parameter> where something that may follow does follow, so that a
 * text about this syntax can be a value; and, because models forget it, at the marks that
 * cannot be meant otherwise. */
#include <string.h>

#include "text/output_impl.h"

enum xml_state {
    XML_OPEN, // behind <tool_call>
    XML_NAME,
    XML_BODY, // a mark must follow
    XML_KEY,
    XML_VALUE_FIRST, // a line end here does not belong to the value
    XML_VALUE,
    XML_CLOSED, // behind </parameter>: held back, it may belong to the value
};

enum { XML_SPACE_MAX = 64 }; // bytes between marks

static const char function_open[] = "<function=", function_close[] = "</function>",
                  parameter_open[] = "<parameter=", call_close[] = "</tool_call>";
enum { PARAMETER_CLOSE_BYTES = sizeof "</parameter>" - 1 };

/* What ends a value; the first two are its own mark. */
static const char *const value_ends[] = {
    "\n</parameter>",
    "</parameter>",
    "\n<parameter=",
    "\n</function>\n</tool_call>",
    "</function>\n</tool_call>",
    "</function></tool_call>",
};
enum { N_VALUE_END = sizeof value_ends / sizeof value_ends[0] };

/* ---- arguments ---- */

static void begin_param(struct output_parser *p)
{
    buf_puts(&p->json, p->n_param++ ? ",\"" : "\"");
    output_json_quote(&p->json, p->name.data, p->name.len);
    buf_puts(&p->json, "\":");
}

static void value_byte(struct output_parser *p, char c)
{
    if (!p->is_string && p->raw.len >= p->o.max_bytes) {
        /* Too long to wait for its end: it is text. */
        begin_param(p);
        buf_puts(&p->json, "\"");
        output_json_quote(&p->json, p->raw.data, p->raw.len);
        p->is_string = true;
    }
    if (p->is_string) {
        output_json_quote(&p->json, &c, 1);
        output_send_args(p);
    } else {
        buf_append(&p->raw, &c, 1);
    }
}

static void value_begin(struct output_parser *p)
{
    p->param = output_value_property(p->schema, p->name.data, p->name.len);
    p->is_string = output_value_is_string(p->schema, p->param);
    buf_clear(&p->raw);
    if (p->is_string) {
        begin_param(p);
        buf_puts(&p->json, "\"");
    }
    p->state = XML_VALUE_FIRST;
}

static void param_end(struct output_parser *p)
{
    if (p->is_string) {
        buf_puts(&p->json, "\"");
    } else {
        begin_param(p);
        output_value(&p->json, p->schema, p->param, p->raw.data, p->raw.len);
    }
    output_send_args(p);
    buf_clear(&p->raw);
    p->state = XML_BODY;
}

static void call_end(struct output_parser *p, const char *tail)
{
    buf_puts(&p->json, "}");
    output_call_end(p);
    p->tail = tail;
}

/* The call is certain; its name is not needed any more. */
static bool announce(struct output_parser *p)
{
    if (p->announced)
        return true;
    if (!output_name_ok(p))
        return false;
    output_announce(p);
    buf_puts(&p->json, "{");
    output_send_args(p);
    buf_clear(&p->held);
    return true;
}

/* ---- marks ---- */

/* Behind <tool_call>. */
static enum output_read open_byte(struct output_parser *p, char c)
{
    if (!p->raw.len && (c == '{' || c == '[')) {
        p->reader = &output_reader_json;
        return p->reader->byte(p, c);
    }
    if (!p->raw.len && output_is_space(c))
        return p->held.len < XML_SPACE_MAX ? output_taken(p, c) : output_not_a_call(p);
    buf_append(&p->raw, &c, 1);
    const enum output_match m = output_match(p->raw.data, p->raw.len, function_open);
    if (m == OUTPUT_NO)
        return output_not_a_call(p);
    if (m == OUTPUT_WHOLE) {
        buf_clear(&p->raw);
        p->state = XML_NAME;
    }
    return output_taken(p, c);
}

/* NAME or KEY, up to the bracket. */
static enum output_match label_byte(struct output_parser *p, char c)
{
    if (c == '>')
        return p->name.len ? OUTPUT_WHOLE : OUTPUT_NO;
    if (c == '\n' || c == '<' || p->name.len >= OUTPUT_NAME_MAX)
        return OUTPUT_NO;
    buf_append(&p->name, &c, 1);
    return OUTPUT_PART;
}

static enum output_read name_byte(struct output_parser *p, char c)
{
    const enum output_match m = label_byte(p, c);
    if (m == OUTPUT_NO)
        return output_not_a_call(p);
    if (m == OUTPUT_WHOLE)
        p->state = XML_BODY;
    return output_taken(p, c);
}

/* No mark: the call is over, if it was one. */
static enum output_read stop(struct output_parser *p)
{
    if (!p->announced)
        return output_not_a_call(p);
    call_end(p, call_close);
    output_plain(p, p->raw.data, p->raw.len);
    return OUTPUT_AGAIN;
}

static enum output_read body_byte(struct output_parser *p, char c)
{
    if (!p->raw.len && output_is_space(c)) {
        if (!p->announced && p->held.len >= OUTPUT_NAME_MAX + 2 * XML_SPACE_MAX)
            return output_not_a_call(p);
        return output_taken(p, c);
    }
    if (!p->raw.len && !p->announced && c == '{') {
        output_direct_args(p);
        return p->reader->byte(p, c);
    }
    char text[OUTPUT_MARK_MAX];
    const size_t n = p->raw.len;
    memcpy(text, p->raw.data ? p->raw.data : "", n);
    text[n] = c;
    if (output_match(text, n + 1, parameter_open) == OUTPUT_WHOLE) {
        if (!announce(p))
            return output_not_a_call(p);
        buf_clear(&p->name);
        buf_clear(&p->raw);
        p->state = XML_KEY;
        return OUTPUT_TAKEN;
    }
    if (output_match(text, n + 1, function_close) == OUTPUT_WHOLE) {
        if (!announce(p))
            return output_not_a_call(p);
        call_end(p, call_close);
        return OUTPUT_TAKEN;
    }
    if (p->announced && output_match(text, n + 1, call_close) == OUTPUT_WHOLE) {
        call_end(p, NULL);
        return OUTPUT_TAKEN;
    }
    if (output_match(text, n + 1, parameter_open) == OUTPUT_NO &&
        output_match(text, n + 1, function_close) == OUTPUT_NO &&
        (!p->announced || output_match(text, n + 1, call_close) == OUTPUT_NO))
        return stop(p);
    buf_append(&p->raw, &c, 1);
    return output_taken(p, c);
}

static enum output_read key_byte(struct output_parser *p, char c)
{
    const enum output_match m = label_byte(p, c);
    if (m == OUTPUT_NO) {
        buf_clear(&p->raw);
        buf_puts(&p->raw, parameter_open);
        buf_append(&p->raw, p->name.data, p->name.len);
        return stop(p);
    }
    if (m == OUTPUT_WHOLE)
        value_begin(p);
    return OUTPUT_TAKEN;
}

/* ---- values ---- */

/* match [n_match] may be the start of an end. */
static enum output_read in_value_byte(struct output_parser *p, char c)
{
    if (p->state == XML_VALUE_FIRST) {
        p->state = XML_VALUE;
        if (c == '\n')
            return OUTPUT_TAKEN;
    }
    p->match[p->n_match++] = c;
    while (p->n_match) {
        bool part = false;
        for (int i = 0; i < N_VALUE_END; i++) {
            const enum output_match m = output_match(p->match, p->n_match, value_ends[i]);
            part = part || m == OUTPUT_PART;
            if (m != OUTPUT_WHOLE)
                continue;
            if (i < 2) {
                buf_clear(&p->held);
                buf_append(&p->held, p->match, p->n_match);
                p->n_match = 0;
                p->state = XML_CLOSED;
                return OUTPUT_TAKEN;
            }
            p->n_match = 0;
            param_end(p);
            if (i == 2) {
                buf_clear(&p->name);
                p->state = XML_KEY;
            } else {
                call_end(p, NULL);
            }
            return OUTPUT_TAKEN;
        }
        if (part)
            return OUTPUT_TAKEN;
        value_byte(p, p->match[0]);
        memmove(p->match, p->match + 1, --p->n_match);
    }
    return OUTPUT_TAKEN;
}

/* Behind the mark and white space in held: where is the next mark? */
static size_t next_mark(const struct output_parser *p)
{
    size_t at = PARAMETER_CLOSE_BYTES + (p->held.data[0] == '\n');
    while (at < p->held.len && output_is_space(p->held.data[at]))
        at++;
    return at;
}

/* What was held back belongs to the value, and may begin another end of it. */
static enum output_read reopen(struct output_parser *p)
{
    char text[2 * OUTPUT_MARK_MAX];
    const size_t n = p->held.len,
                 mark = PARAMETER_CLOSE_BYTES + (p->held.data[0] == '\n');
    memcpy(text, p->held.data, n);
    buf_clear(&p->held);
    p->state = XML_VALUE;
    for (size_t i = 0; i < mark; i++)
        value_byte(p, text[i]);
    for (size_t i = mark; i < n; i++)
        output_put(p, text[i]);
    return OUTPUT_AGAIN;
}

static enum output_read closed_byte(struct output_parser *p, char c)
{
    buf_append(&p->held, &c, 1);
    const size_t at = next_mark(p), n = p->held.len - at;
    const char *s = p->held.data + at;
    enum output_match m = OUTPUT_PART;
    if (n) {
        const enum output_match k[] = {output_match(s, n, parameter_open),
                                       output_match(s, n, function_close),
                                       output_match(s, n, call_close)};
        m = k[0] > k[1] ? k[0] : k[1];
        m = k[2] > m ? k[2] : m;
    }
    if (m == OUTPUT_PART && p->held.len < OUTPUT_MARK_MAX + XML_SPACE_MAX - 2)
        return OUTPUT_TAKEN;
    if (m != OUTPUT_WHOLE) {
        p->held.len--;
        return reopen(p);
    }
    param_end(p);
    char mark[OUTPUT_MARK_MAX];
    memcpy(mark, s, n);
    buf_clear(&p->held);
    for (size_t i = 0; i < n; i++)
        output_put(p, mark[i]);
    return OUTPUT_TAKEN;
}

static enum output_read xml_byte(struct output_parser *p, char c)
{
    if (p->state == XML_OPEN && p->mark->flags & OUTPUT_NAMED)
        p->state = XML_NAME;
    if (!p->announced && p->held.len >= p->o.max_bytes)
        return output_not_a_call(p);
    switch ((enum xml_state)p->state) {
    case XML_OPEN:
        return open_byte(p, c);
    case XML_NAME:
        return name_byte(p, c);
    case XML_BODY:
        return body_byte(p, c);
    case XML_KEY:
        return key_byte(p, c);
    case XML_VALUE_FIRST:
    case XML_VALUE:
        return in_value_byte(p, c);
    case XML_CLOSED:
        return closed_byte(p, c);
    }
    return OUTPUT_TAKEN;
}

static void xml_finish(struct output_parser *p)
{
    if (!p->announced) {
        output_not_a_call(p);
        return;
    }
    if (p->state == XML_CLOSED)
        param_end(p);
    if ((p->state == XML_VALUE || p->state == XML_VALUE_FIRST) && p->is_string)
        buf_puts(&p->json, "\"");
    p->n_match = 0;
    call_end(p, NULL);
}

const struct output_reader output_reader_xml = {xml_byte, xml_finish};
