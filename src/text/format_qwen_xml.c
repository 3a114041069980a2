/* format_qwen_xml.c - Qwen3-Coder, Qwen3.5 and later: output_xml.c reads them.
 *
 *   <tool_call>
 *   <function=NAME>
 *   <parameter=KEY>
 *   VALUE
 *   </parameter>
 *   </function>
 *   </tool_call>
 *
 * Source: the families' chat templates. */
#include <string.h>

#include "text/output_impl.h"

/* The property's schema with the definitions that it may refer to. */
static json_t *with_definitions(json_t *root, json_t *schema)
{
    static const char *const keys[] = {"$defs", "definitions"};
    json_t *copy = json_is_object(schema) ? json_copy(schema) : json_object();
    for (size_t i = 0; copy && i < 2; i++) {
        json_t *defs = json_object_get(root, keys[i]);
        if (defs && !json_object_get(copy, keys[i]))
            json_object_set(copy, keys[i], defs);
    }
    return copy;
}

static bool is_required(json_t *root, const char *key)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(root, "required"), i,
                       s) if (json_is_string(s) &&
                              !strcmp(json_string_value(s), key)) return true;
    return false;
}

/* The text of a parameter with its end, as a sequence of GBNF. */
static void value_rule(struct output_grammar *g, json_t *root, json_t *schema)
{
    struct buf *b = &g->gbnf;
    json_t *values = json_object_get(schema, "enum"), *v;
    size_t i;
    if (!output_value_is_string(root, schema)) {
        json_t *own = with_definitions(root, schema);
        buf_printf(b, "schema-%d \"\\n</parameter>\\n\"", output_gbnf_schema(g, own));
        json_decref(own);
        return;
    }
    if (!json_array_size(values)) {
        buf_puts(b, "value \"\\n\"");
        return;
    }
    buf_puts(b, "(");
    json_array_foreach(values, i, v)
    {
        buf_puts(b, i ? " | " : "");
        output_gbnf_literal(b, json_string_value(v) ? json_string_value(v) : "", false);
    }
    buf_puts(b, ") \"\\n</parameter>\\n\"");
}

/* The rule of one tool: its parameters in the order of its schema. */
static void tool_rule(struct output_grammar *g, int n, json_t *function)
{
    struct buf *b = &g->gbnf;
    json_t *root = json_object_get(function, "parameters"), *schema;
    json_t *properties = json_object_get(root, "properties");
    const char *key;
    buf_printf(b, "call-%d ::= \"\\n<function=\" ", n);
    output_gbnf_literal(b, json_string_value(json_object_get(function, "name")), false);
    buf_puts(b, " \">\\n\"");
    json_object_foreach(properties, key, schema)
    {
        const bool required = is_required(root, key);
        buf_puts(b, required ? " " : " (");
        buf_puts(b, "\"<parameter=\" ");
        output_gbnf_literal(b, key, false);
        buf_puts(b, " \">\\n\" ");
        value_rule(g, root, schema);
        buf_puts(b, required ? "" : ")?");
    }
    if (!json_object_size(properties))
        buf_puts(b, " (\"<parameter=\" [A-Za-z0-9_.-]+ \">\\n\" value \"\\n\")*");
    buf_puts(b, " \"</function>\\n</tool_call>\"\n");
}

static void qwen_xml_grammar(struct output_grammar *g, json_t *tools, const char *name,
                             bool parallel)
{
    static const struct output_gbnf_call call = {.head = "\"<tool_call>\"",
                                                 .join = "\"\\n\""};
    size_t i = 0;
    int n = 0;
    for (json_t *f; (f = output_gbnf_tool(tools, name, &i)); n++)
        tool_rule(g, n, f);
    output_gbnf_until(&g->gbnf, "value", "\n</parameter>");
    output_gbnf_join(g, &call, n, parallel);
}

static const struct output_mark qwen_xml_marks[] = {
    {.text = "<function=",
     .reader = &output_reader_xml,
     .flags = OUTPUT_NAMED | OUTPUT_THINKING,
     .tail = "</tool_call>"},
    OUTPUT_JSON_MARKS,
    {0},
};

const struct output_format output_format_qwen_xml = {
    .name = "qwen-xml",
    .needs = {"<function=", "<parameter="},
    .think = {"<think>", "</think>"},
    .marks = qwen_xml_marks,
    .triggers = {"<tool_call>"},
    .grammar = qwen_xml_grammar,
};
