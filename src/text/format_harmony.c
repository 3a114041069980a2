/* format_harmony.c - gpt-oss: messages with a header that says where they go.
 *
 *   <|channel|>analysis<|message|>...<|end|>
 *   <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json
 *   <|message|>{...}<|call|>
 *   <|start|>assistant to=functions.NAME<|channel|>commentary
 * json<|message|>{...}<|call|>
 *   <|start|>assistant<|channel|>final<|message|>...<|return|>
 *
 * The prompt ends with <|start|>assistant, so that an answer begins inside of a header.
 * Source: the harmony response format of OpenAI and the family's chat template. */
#include <string.h>

#include "text/output_impl.h"

enum { HEADER_MAX = 512 };

static const char channel[] = "<|channel|>", message[] = "<|message|>";

/* Whether an answer without a mark in front may be a header. */
static bool may_be_header(const struct buf *raw)
{
    static const char *const starts[] = {channel, message, " to=", "<|start|>",
                                         "<|constrain|>"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        const size_t n = strlen(starts[i]);
        if (!memcmp(raw->data, starts[i], raw->len < n ? raw->len : n))
            return true;
    }
    return false;
}

/* The header is complete in held: its message is reasoning, a call or text. */
static void begin_message(struct output_parser *p)
{
    const char *s = p->held.data, *at = strstr(s, channel), *to = strstr(s, "to=");
    const bool analysis = at && !strncmp(at + sizeof channel - 1, "analysis", 8);
    if (!to || !p->o.tools) {
        output_set_mode(p, analysis ? OUTPUT_IN_REASONING : OUTPUT_IN_TEXT);
        return;
    }
    output_set_name(p, to + 3, strcspn(to + 3, " <"));
    p->from = OUTPUT_IN_TEXT;
    buf_clear(&p->held);
    output_direct_args(p);
}

static enum output_read header_byte(struct output_parser *p, char c)
{
    const size_t n = sizeof message - 1;
    buf_append(&p->raw, &c, 1);
    if (!p->mark->text[0] && !may_be_header(&p->raw))
        return output_not_a_call(p);
    if (p->held.len >= HEADER_MAX)
        return output_not_a_call(p);
    output_taken(p, c);
    if (p->raw.len >= n && !memcmp(p->raw.data + p->raw.len - n, message, n))
        begin_message(p);
    return OUTPUT_TAKEN;
}

static void header_finish(struct output_parser *p)
{
    output_not_a_call(p);
}

static const struct output_reader reader_header = {header_byte, header_finish};

static const struct output_mark harmony_first = {
    .text = "", .reader = &reader_header, .flags = OUTPUT_FRAME};

static const struct output_mark harmony_marks[] = {
    {.text = "<|start|>", .reader = &reader_header, .flags = OUTPUT_FRAME},
    {.text = "<|channel|>", .reader = &reader_header, .flags = OUTPUT_FRAME},
    {.text = "<|message|>", .flags = OUTPUT_FRAME},
    {.text = "<|constrain|>", .flags = OUTPUT_FRAME},
    {.text = "<|end|>", .flags = OUTPUT_FRAME},
    {.text = "<|call|>", .flags = OUTPUT_FRAME},
    {.text = "<|return|>", .flags = OUTPUT_FRAME},
    {0},
};

/* Reasoning, and one call: the token behind it ends the answer. */
static void harmony_grammar(struct output_grammar *g, json_t *tools, const char *name,
                            bool parallel)
{
    struct buf *b = &g->gbnf;
    size_t i = 0;
    int n = 0;
    (void)parallel;
    for (json_t *f; (f = output_gbnf_tool(tools, name, &i)); n++) {
        const int schema = output_gbnf_schema(g, json_object_get(f, "parameters"));
        buf_printf(b, "name-%d ::= ", n);
        output_gbnf_literal(b, json_string_value(json_object_get(f, "name")), false);
        buf_printf(b, "\nbody-%d ::= \"<|message|>\" schema-%d\n", n, schema);
        buf_printf(b, "lazy-%d ::= name-%d \"<|channel|>commentary\"? type? body-%d\n", n,
                   n, n);
    }
    buf_puts(b, "type ::= \" <|constrain|>json\" | \" json\"\nlazy ::= ");
    for (int k = 0; k < n; k++)
        buf_printf(b, k ? " | lazy-%d" : "lazy-%d", k);
    buf_puts(b, "\ncalls ::= analysis? (\"<|channel|>commentary\")? \" to=functions.\" "
                "lazy\nanalysis ::= \"<|channel|>analysis<|message|>\" thought "
                "\"<|start|>assistant\"\n");
    output_gbnf_until(b, "thought", "<|end|>");
}

const struct output_format output_format_harmony = {
    .name = "harmony",
    .needs = {"<|channel|>", "<|message|>"},
    .frame = {"<|start|>assistant", "<|call|>"},
    .marks = harmony_marks,
    .first = &harmony_first,
    .triggers = {" to=functions."},
    .said = "analysis? \"<|channel|>final<|message|>\"",
    .grammar = harmony_grammar,
};
