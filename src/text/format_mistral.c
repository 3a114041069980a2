/* format_mistral.c - Mistral, in both of its forms:
 *
 *   [TOOL_CALLS][{"name": NAME, "arguments": {...}}, ...]
 *   [TOOL_CALLS]NAME[ARGS]{...}[TOOL_CALLS]...         with or without [CALL_ID]...
 *
 * Both are read; which one is asked for is what the template prints.
 * Source: the families' chat templates. */
#include "text/output_impl.h"

static void mistral_grammar(struct output_grammar *g, json_t *tools, const char *name,
                            bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "\"[TOOL_CALLS]\"",
        .open = "\"{\\\"name\\\": \"",
        .json_name = true,
        .middle = "\", \\\"arguments\\\": \"",
        .close = "\"}\"",
        .join = "\", \"",
        .list = true,
        .list_open = "\"[\"",
        .list_close = "\"]\"",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

static void mistral_args_grammar(struct output_grammar *g, json_t *tools,
                                 const char *name, bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "\"[TOOL_CALLS]\"",
        .open = "",
        .middle = "\"[ARGS]\"",
        .close = "",
        .join = "",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

static const struct output_mark mistral_marks[] = {
    {.text = "[TOOL_CALLS]",
     .reader = &output_reader_named,
     .flags = OUTPUT_THINKING,
     .tail = "</tool_call>",
     .separator = "[ARGS]"},
    OUTPUT_JSON_MARKS,
    {0},
};

const struct output_format output_format_mistral = {
    .name = "mistral",
    .needs = {"[TOOL_CALLS]"},
    .think = {"[THINK]", "[/THINK]"},
    .marks = mistral_marks,
    .triggers = {"[TOOL_CALLS]"},
    .grammar = mistral_grammar,
};

const struct output_format output_format_mistral_args = {
    .name = "mistral-args",
    .needs = {"[TOOL_CALLS]", "[ARGS]"},
    .think = {"[THINK]", "[/THINK]"},
    .marks = mistral_marks,
    .triggers = {"[TOOL_CALLS]"},
    .grammar = mistral_args_grammar,
};
