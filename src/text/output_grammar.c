/* output_grammar.c - the grammar of an answer with calls, from the parts of a format. */
#include <string.h>

#include "text/output_impl.h"

void output_gbnf_literal(struct buf *g, const char *text, bool json)
{
    struct buf quoted;
    buf_init(&quoted, 8 * strlen(text) + 8);
    if (json) {
        buf_puts(&quoted, "\"");
        output_json_quote(&quoted, text, strlen(text));
        buf_puts(&quoted, "\"");
    } else {
        buf_puts(&quoted, text);
    }
    g->failed = g->failed || quoted.failed;
    buf_puts(g, "\"");
    for (size_t i = 0; i < quoted.len; i++) {
        const char c = quoted.data[i];
        if (c == '"' || c == '\\')
            buf_append(g, (char[]){'\\', c}, 2);
        else if (c == '\n')
            buf_puts(g, "\\n");
        else if ((unsigned char)c < ' ')
            buf_printf(g, "\\x%02X", (unsigned)c);
        else
            buf_append(g, &c, 1);
    }
    buf_puts(g, "\"");
    buf_release(&quoted);
}

/* A state of the automaton that finds `end`: k bytes of it were read. */
static void until_state(struct buf *g, const char *rule, const char *end, size_t k)
{
    const unsigned first = (unsigned char)end[0], c = (unsigned char)end[k];
    const bool last = !end[k + 1];
    buf_printf(g, "%s-%zu ::= [\\x%02X]", rule, k, c);
    if (!last)
        buf_printf(g, " %s-%zu", rule, k + 1);
    if (k)
        buf_printf(g, " | [\\x%02X] %s-1 | [^\\x%02X\\x%02X] %s-0\n", first, rule, first,
                   c, rule);
    else
        buf_printf(g, " | [^\\x%02X] %s-0\n", first, rule);
}

void output_gbnf_until(struct buf *g, const char *rule, const char *end)
{
    buf_printf(g, "%s ::= %s-0\n", rule, rule);
    for (size_t k = 0; end[k]; k++)
        until_state(g, rule, end, k);
}

json_t *output_gbnf_tool(json_t *tools, const char *name, size_t *i)
{
    while (*i < json_array_size(tools)) {
        json_t *f = json_object_get(json_array_get(tools, (*i)++), "function");
        const char *s = json_string_value(json_object_get(f, "name"));
        if (s && (!name || !strcmp(s, name)))
            return f;
    }
    return NULL;
}

int output_gbnf_schema(struct output_grammar *g, json_t *schema)
{
    json_t *any = schema ? NULL : json_pack("{s:s}", "type", "object");
    if ((!schema && !any) || json_array_append(g->schemas, schema ? schema : any))
        g->gbnf.failed = true;
    json_decref(any);
    return (int)json_array_size(g->schemas) - 1;
}

void output_gbnf_join(struct output_grammar *g, const struct output_gbnf_call *c, int n,
                      bool parallel)
{
    struct buf *b = &g->gbnf;
    buf_puts(b, "call ::= ");
    for (int i = 0; i < n; i++)
        buf_printf(b, i ? " | call-%d" : "call-%d", i);
    if (c->list)
        buf_printf(b, "\nlazy ::= %s call%s%s%s %s\ncalls ::= %s lazy\n", c->list_open,
                   parallel ? " (" : "", parallel ? c->join : "",
                   parallel ? " call)*" : "", c->list_close, c->head);
    else {
        if (parallel && c->join)
            buf_printf(b, "\nmore ::= %s %s call", c->join, c->head);
        buf_printf(b, "\nlazy ::= call\ncalls ::= %s call%s\n", c->head,
                   parallel && c->join ? " more*" : "");
    }
}

void output_gbnf_calls(struct output_grammar *g, const struct output_gbnf_call *c,
                       json_t *tools, const char *name, bool parallel)
{
    struct buf *b = &g->gbnf;
    size_t i = 0;
    int n = 0;
    for (json_t *f; (f = output_gbnf_tool(tools, name, &i)); n++) {
        const int schema = output_gbnf_schema(g, json_object_get(f, "parameters"));
        buf_printf(b, "call-%d ::= %s ", n, c->open);
        output_gbnf_literal(b, json_string_value(json_object_get(f, "name")),
                            c->json_name);
        buf_printf(b, " %s schema-%d %s\n", c->middle, schema, c->close);
    }
    output_gbnf_join(g, c, n, parallel);
}

void output_gbnf_tagged(struct output_grammar *g, json_t *tools, const char *name,
                        bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "\"<tool_call>\"",
        .open = "\"\\n{\\\"name\\\": \"",
        .json_name = true,
        .middle = "\", \\\"arguments\\\": \"",
        .close = "\"}\\n</tool_call>\"",
        .join = "\"\\n\"",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

/* Reasoning may be in front of calls, or of the answer. */
static void root_rule(struct buf *b, const struct output_format *f, bool reasoning,
                      bool answer)
{
    buf_printf(b, "body ::= calls%s\n", answer ? " | said" : "");
    if (!f->think[0]) {
        buf_puts(b, "root ::= body\n");
        return;
    }
    output_gbnf_until(b, "thought", f->think[1]);
    buf_puts(b, "gap ::= \"\\n\"? \"\\n\"?\nroot ::= ");
    if (!reasoning) {
        buf_puts(b, "( ");
        output_gbnf_literal(b, f->think[0], false);
    }
    buf_printf(b, " thought gap %s body\n", reasoning ? "" : ")?");
}

enum status output_grammar(struct output_grammar *out, const struct output_format *f,
                           json_t *tools, const char *name, bool required, bool parallel,
                           bool reasoning, json_t *answer, struct error *err)
{
    size_t first = 0;
    *out = (struct output_grammar){.once = !parallel};
    if (!f->grammar)
        return fail(err, STATUS_UNSUPPORTED,
                    "answers of the format %s cannot be held to calls of tools", f->name);
    if (!output_gbnf_tool(tools, name, &first))
        return fail(err, STATUS_BAD_INPUT, "there is no tool %.100s", name ? name : "");
    buf_init(&out->gbnf, (size_t)16 << 20);
    out->schemas = json_array();
    if (required)
        root_rule(&out->gbnf, f, reasoning, answer != NULL);
    else
        buf_puts(&out->gbnf, "root ::= lazy\n");
    f->grammar(out, tools, name, parallel);
    if (answer)
        buf_printf(&out->gbnf, "\nsaid ::= %s schema-%d\n", f->said ? f->said : "",
                   output_gbnf_schema(out, answer));
    for (; !required && out->n_trigger < 4 && f->triggers[out->n_trigger];)
        out->triggers[out->n_trigger] = f->triggers[out->n_trigger], out->n_trigger++;
    if (out->schemas && !out->gbnf.failed)
        return STATUS_OK;
    output_grammar_release(out);
    return fail(err, STATUS_NO_MEMORY, "no memory for the grammar of %zu tools",
                json_array_size(tools));
}

void output_grammar_release(struct output_grammar *g)
{
    buf_release(&g->gbnf);
    json_decref(g->schemas);
    *g = (struct output_grammar){0};
}
