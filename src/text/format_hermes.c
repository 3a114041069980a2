/* format_hermes.c - Hermes 2 and 3, Qwen2.5, QwQ, Qwen3:
 *
 *   <tool_call>
 *   {"name": NAME, "arguments": {...}}
 *   </tool_call>
 *
 * Source: the families' chat templates. */
#include "text/output_impl.h"

static const struct output_mark hermes_marks[] = {OUTPUT_JSON_MARKS, {0}};

const struct output_format output_format_hermes = {
    .name = "hermes",
    .needs = {"<tool_call>"},
    .think = {"<think>", "</think>"},
    .marks = hermes_marks,
    .triggers = {"<tool_call>"},
    .grammar = output_gbnf_tagged,
};
