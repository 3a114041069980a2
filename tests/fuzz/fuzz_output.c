/* Any answer of any format.  The first byte chooses the format, the second how much is
 * held back and whether the prompt opened reasoning; of the rest, bytes from 0x80 on
 * stand for the marks of the formats.  In whatever pieces an answer comes the events are
 * the same, well formed, and the arguments of a call that ended are a JSON object. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "text/output.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define DEEPSEEK(s) "<" BAR "tool" LOW s BAR ">"

static const char *const sources[] = {
    "",
    "tools <tool_call>",
    "tools <function= <parameter=",
    "tools <|start_header_id|> \"parameters\": ",
    "tools <|channel|> <|message|>",
    "tools [TOOL_CALLS]",
    "tools <|tool_call_begin|>",
    "tools " DEEPSEEK("call" LOW "begin"),
};

static const char *const words[] = {
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "{\"name\": \"f\", ",
    "\"arguments\": {",
    "\"parameters\": {",
    "\"function\": {",
    "{\"",
    "\": ",
    "\"a\": ",
    "}}",
    "\"}",
    "\\\"",
    "\\u",
    "d83d",
    "\\ude00",
    "```json\n",
    "```",
    "<function=",
    "<function=f>",
    "</function>",
    "<parameter=",
    "<parameter=a>",
    "<parameter=n>",
    "</parameter>",
    "\n</parameter>\n",
    "<|python_tag|>",
    "f.call(a=\"",
    "\")",
    "<|channel|>",
    "analysis",
    "final",
    "commentary to=functions.f ",
    "<|constrain|>json",
    "<|message|>",
    "<|end|>",
    "<|start|>assistant",
    "<|call|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[CALL_ID]",
    "[THINK]",
    "[/THINK]",
    "<|tool_calls_section_begin|>",
    "<|tool_call_begin|>",
    "functions.f:0",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    DEEPSEEK("call" LOW "begin"),
    DEEPSEEK("sep"),
    DEEPSEEK("call" LOW "end"),
    "\xc3\xa9",
    "\xf0\x9f\x98\x80",
    "true",
    "None",
    "-1.5e3",
    "[[[[[[[[",
    "        ",
    "\"\"",
    "{}",
    "f",
    ": ",
    "\"name\": ",
};
enum {
    N_SOURCE = sizeof sources / sizeof sources[0],
    N_WORD = sizeof words / sizeof words[0]
};

struct log {
    struct buf text, args;
    int last;
    bool open;
};

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void record(void *ctx, const struct output_event *e)
{
    struct log *l = ctx;
    const char kind = (char)('0' + e->kind);
    require((e->kind == OUTPUT_TOOL_ARGS || e->kind == OUTPUT_TOOL_END) == l->open);
    require((e->n > 0) == (e->kind != OUTPUT_TOOL_END));
    if (l->last != (int)e->kind)
        buf_append(&l->text, (char[]){'\n', kind}, 2);
    l->last = (int)e->kind;
    buf_append(&l->text, e->text, e->n);
    require(e->n == 0 || (e->text[0] & 0xc0) != 0x80); // whole characters
    if (e->kind == OUTPUT_TOOL_BEGIN) {
        l->open = true;
        buf_clear(&l->args);
    } else if (e->kind == OUTPUT_TOOL_ARGS) {
        buf_append(&l->args, e->text, e->n);
    } else if (e->kind == OUTPUT_TOOL_END) {
        json_t *j = json_loadb(l->args.data ? l->args.data : "", l->args.len,
                               JSON_DECODE_INT_AS_REAL, NULL);
        require(json_is_object(j));
        json_decref(j);
        l->open = false;
    }
}

/* Cut behind every step-th character; 0: not at all. */
static void parse(struct log *l, const struct output_options *like,
                  const struct buf *text, size_t step)
{
    struct output_options o = *like;
    struct output_parser *p;
    *l = (struct log){.last = -1};
    buf_init(&l->text, 1 << 24);
    buf_init(&l->args, 1 << 24);
    o.emit = record;
    o.ctx = l;
    if (output_parser_open(&p, &o, NULL))
        abort();
    for (size_t i = 0, from = 0, k = 0; i < text->len; i++) {
        const bool whole = (text->data[i + 1] & 0xc0) != 0x80;
        k += whole;
        if (i + 1 == text->len || (whole && step && k % step == 0)) {
            output_parser_feed(p, text->data + from, i + 1 - from, false);
            from = i + 1;
        }
    }
    output_parser_end(p);
    require(!l->open && output_parser_answer_start(p) <= text->len);
    output_parser_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char tools[] =
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
        "\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"n\":{\"type\":"
        "\"integer\"}}}}}]";
    struct buf text;
    struct log whole, cut;
    if (n < 2 || n > 4096)
        return 0;
    const char *source = sources[data[0] % N_SOURCE];
    json_t *list = data[0] & 0x80 ? NULL : json_loads(tools, 0, NULL);
    const struct output_options o = {
        .format = output_format_find(source, strlen(source), NULL),
        .tools = list,
        .reasoning = data[1] & 1,
        .max_bytes = (size_t)1 << (data[1] >> 1 & 15),
    };
    buf_init(&text, 1 << 20);
    buf_puts(&text, "");
    for (size_t i = 2; i < n; i++) {
        if (data[i] & 0x80)
            buf_puts(&text, words[(data[i] & 0x7f) % N_WORD]);
        else
            buf_append(&text, data + i, 1);
    }
    parse(&whole, &o, &text, 0);
    for (size_t step = 1; step < 8; step += 3) {
        parse(&cut, &o, &text, step);
        require(cut.text.len == whole.text.len &&
                (!cut.text.len || !memcmp(cut.text.data, whole.text.data, cut.text.len)));
        buf_release(&cut.text);
        buf_release(&cut.args);
    }
    buf_release(&whole.text);
    buf_release(&whole.args);
    buf_release(&text);
    json_decref(list);
    return 0;
}
