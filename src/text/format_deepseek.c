/* format_deepseek.c - DeepSeek V3.1, and R1 (with the name behind the separator):
 *
 *   <|tool_calls_begin|><|tool_call_begin|>NAME<|tool_sep|>{...}<|tool_call_end|>...
 *   <|tool_call_begin|>function<|tool_sep|>NAME
 *   ```json
 *   {...}
 *   ```<|tool_call_end|>
 *
 * with U+FF5C for the bars and U+2581 for the underscores.
 * Source: the families' chat templates. */
#include "text/output_impl.h"

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define CALLS_BEGIN "<" BAR "tool" LOW "calls" LOW "begin" BAR ">"
#define CALLS_END "<" BAR "tool" LOW "calls" LOW "end" BAR ">"
#define CALL_BEGIN "<" BAR "tool" LOW "call" LOW "begin" BAR ">"
#define CALL_END "<" BAR "tool" LOW "call" LOW "end" BAR ">"
#define CALL_SEP "<" BAR "tool" LOW "sep" BAR ">"

static void deepseek_grammar(struct output_grammar *g, json_t *tools, const char *name,
                             bool parallel)
{
    static const struct output_gbnf_call call = {
        .head = "\"" CALLS_BEGIN "\"",
        .open = "\"" CALL_BEGIN "\"",
        .middle = "\"" CALL_SEP "\"",
        .close = "\"" CALL_END "\"",
        .join = "",
        .list = true,
        .list_open = "",
        .list_close = "\"" CALLS_END "\"",
    };
    output_gbnf_calls(g, &call, tools, name, parallel);
}

static const struct output_mark deepseek_marks[] = {
    {.text = CALLS_BEGIN},
    {.text = CALLS_END},
    {.text = CALL_BEGIN,
     .reader = &output_reader_named,
     .flags = OUTPUT_THINKING,
     .tail = CALL_END,
     .separator = CALL_SEP},
    OUTPUT_JSON_MARKS,
    {0},
};

const struct output_format output_format_deepseek = {
    .name = "deepseek",
    .needs = {CALL_BEGIN},
    .think = {"<think>", "</think>"},
    .marks = deepseek_marks,
    .triggers = {CALLS_BEGIN},
    .grammar = deepseek_grammar,
};
