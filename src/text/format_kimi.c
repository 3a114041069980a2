/* format_kimi.c - Kimi K2 and Kimi Linear:
 *
 *   <|tool_calls_section_begin|><|tool_call_begin|>functions.NAME:0
 *   <|tool_call_argument_begin|>{...}<|tool_call_end|>...<|tool_calls_section_end|>
 *
 * Source: the families' chat templates. */
#include "text/output_impl.h"

static void kimi_grammar(struct output_grammar *g, json_t *tools, const char *name,
                         bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "\"<|tool_calls_section_begin|>\"",
        .open = "\"<|tool_call_begin|>functions.\"",
        .middle = "\":\" [0-9]+ \"<|tool_call_argument_begin|>\"",
        .close = "\"<|tool_call_end|>\"",
        .join = "",
        .list = true,
        .list_open = "",
        .list_close = "\"<|tool_calls_section_end|>\"",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

static const struct output_mark kimi_marks[] = {
    {.text = "<|tool_calls_section_begin|>"},
    {.text = "<|tool_calls_section_end|>"},
    {.text = "<|tool_call_begin|>",
     .reader = &output_reader_named,
     .flags = OUTPUT_THINKING,
     .tail = "<|tool_call_end|>",
     .separator = "<|tool_call_argument_begin|>"},
    OUTPUT_JSON_MARKS,
    {0},
};

const struct output_format output_format_kimi = {
    .name = "kimi",
    .needs = {"<|tool_call_begin|>"},
    .think = {"<think>", "</think>"},
    .marks = kimi_marks,
    .triggers = {"<|tool_calls_section_begin|>"},
    .grammar = kimi_grammar,
};
