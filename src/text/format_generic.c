/* format_generic.c - models whose template knows no tools.  They are asked for the syntax
 * of format_hermes.c (engine/chat_tools.c), which small models keep best: a tag on either
 * side, and JSON of two members. */
#include "text/output_impl.h"

static const struct output_mark generic_marks[] = {OUTPUT_JSON_MARKS, {0}};

const struct output_format output_format_generic = {
    .name = "generic",
    .think = {"<think>", "</think>"},
    .marks = generic_marks,
    .triggers = {"<tool_call>"},
    .grammar = output_gbnf_tagged,
};
