/* format_llama.c - Llama 3.1, 3.2 and 3.3:
 *
 *   {"name": NAME, "parameters": {...}}                  as the whole answer
 *   <|python_tag|>{"name": NAME, "parameters": {...}}
 *   <|python_tag|>NAME.call(KEY="VALUE", ...)            built-in tools
 *   <function=NAME>{...}</function>
 *
 * Source: the families' chat templates and prompt format. */
#include <string.h>

#include "text/output_impl.h"

static void llama_grammar(struct output_grammar *g, json_t *tools, const char *name,
                          bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "",
        .open = "\"{\\\"name\\\": \"",
        .json_name = true,
        .middle = "\", \\\"parameters\\\": \"",
        .close = "\"}\"",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

/* ---- NAME.call(KEY=VALUE, ...) ---- */

static size_t word(const char *s)
{
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

/* Append a value as JSON; returns its end, NULL if it is none. */
static const char *keyword_value(struct buf *out, const char *s)
{
    struct output_json j;
    output_json_init(&j, out, OUTPUT_NAME_MAX);
    bool ok = true;
    if (*s == '\'') { // as the same string with the other quotation mark
        ok = output_json_byte(&j, '"');
        for (s++; ok && *s && *s != '\''; s++) {
            if (*s == '\\' && s[1])
                ok = output_json_byte(&j, *s++);
            else if (*s == '"')
                ok = output_json_byte(&j, '\\');
            ok = ok && output_json_byte(&j, *s);
        }
        ok = ok && *s++ && output_json_byte(&j, '"');
    } else {
        while (ok && *s && j.state != OUTPUT_JSON_DONE && *s != ',' && *s != ')')
            do
                ok = output_json_byte(&j, *s++);
            while (ok && *s && (j.depth || j.state == OUTPUT_JSON_STRING));
        ok = ok && (j.state == OUTPUT_JSON_DONE || output_json_byte(&j, ' '));
    }
    ok = ok && j.state == OUTPUT_JSON_DONE;
    output_json_release(&j);
    return ok ? s : NULL;
}

/* p->json <- the arguments of the whole call in s, p->name <- its name. */
static bool keyword_call(struct output_parser *p, const char *s)
{
    const size_t n = word(s);
    buf_clear(&p->name);
    buf_append(&p->name, s, n);
    s += n;
    if (!strncmp(s, ".call", 5))
        s += 5;
    if (!n || *s++ != '(')
        return false;
    buf_clear(&p->json);
    buf_puts(&p->json, "{");
    while (s && *s != ')') {
        s += strspn(s, ", \n\t");
        const size_t key = word(s);
        if (!key || s[key] != '=')
            return false;
        buf_puts(&p->json, p->json.len > 1 ? ",\"" : "\"");
        output_json_quote(&p->json, s, key);
        buf_puts(&p->json, "\":");
        s = keyword_value(&p->json, s + key + 1);
    }
    buf_puts(&p->json, "}");
    return s && !s[1] && !p->json.failed;
}

enum { PYTHON_NAME, PYTHON_ARGS }; // state; n_param: the quotation mark that is open

/* Follow strings and brackets.  true: c closes the call. */
static bool python_close(struct output_parser *p, char c)
{
    const size_t n = p->raw.len;
    if (p->n_param) {
        size_t slashes = 0;
        while (slashes < n && p->raw.data[n - 1 - slashes] == '\\')
            slashes++;
        if (c == p->n_param && slashes % 2 == 0)
            p->n_param = 0;
    } else if (c == '"' || c == '\'') {
        p->n_param = c;
    } else {
        p->member += (c == '(') - (c == ')'); // depth
    }
    return p->member == 0;
}

static enum output_read python_byte(struct output_parser *p, char c)
{
    if (!p->raw.len && (c == '{' || c == '[')) {
        p->reader = &output_reader_json;
        return p->reader->byte(p, c);
    }
    if (p->held.len >= p->o.max_bytes || !c)
        return output_not_a_call(p);
    if (!p->raw.len && output_is_space(c))
        return output_taken(p, c);
    /* A call begins with its name and a bracket. */
    if (p->state == PYTHON_NAME && c == '(')
        p->state = PYTHON_ARGS;
    if (p->state == PYTHON_NAME && c != '.' && !word((char[]){c, 0}))
        return output_not_a_call(p);
    const bool closed = p->state == PYTHON_ARGS && python_close(p, c);
    buf_append(&p->raw, &c, 1);
    if (!closed)
        return output_taken(p, c);
    if (!keyword_call(p, p->raw.data) || !output_name_ok(p)) {
        output_taken(p, c);
        output_not_a_call(p);
        return OUTPUT_TAKEN;
    }
    output_announce(p);
    output_call_end(p);
    return OUTPUT_TAKEN;
}

static void python_finish(struct output_parser *p)
{
    output_not_a_call(p);
}

static const struct output_reader reader_python = {python_byte, python_finish};

static const struct output_mark llama_marks[] = {
    {.text = "<|python_tag|>", .reader = &reader_python, .tail = ";"},
    {.text = "<function=",
     .reader = &output_reader_xml,
     .flags = OUTPUT_NAMED,
     .tail = "</tool_call>"},
    OUTPUT_JSON_MARKS,
    {0},
};

const struct output_format output_format_llama = {
    .name = "llama",
    .needs = {"<|start_header_id|>", "\"parameters\": "},
    .think = {"<think>", "</think>"},
    .marks = llama_marks,
    .triggers = {"<|python_tag|>"},
    .grammar = llama_grammar,
};
