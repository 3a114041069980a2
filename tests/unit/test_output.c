/* Answers of the model families as events, whatever pieces they come in.  The texts are
 * those of the families' model cards and chat templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "base/rng.h"
#include "text/output.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

/* What a template says that makes its format known. */
#define HERMES "tools <tool_call>"
#define XML "tools <tool_call> <function= <parameter="
#define LLAMA "tools <|start_header_id|> \"parameters\": "
#define HARMONY "tools <|channel|> <|message|>"
#define MISTRAL "tools [TOOL_CALLS]"
#define MISTRAL_ARGS "tools [TOOL_CALLS] [ARGS]"
#define KIMI "tools <|tool_call_begin|>"
#define DEEPSEEK                          \
    "tools <\xef\xbd\x9ctool\xe2\x96\x81" \
    "call\xe2\x96\x81"                    \
    "begin\xef\xbd\x9c>"
#define GENERIC ""

/* As in DeepSeek's marks: @ for the bar, _ for the low line. */
#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"

static const char tools_text[] =
    "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"\","
    "\"parameters\":{\"type\":\"object\",\"$defs\":{\"unit\":{\"enum\":[\"c\",\"f\"]}},"
    "\"properties\":{\"city\":{\"type\":\"string\"},\"days\":{\"type\":\"integer\"},"
    "\"exact\":{\"type\":\"boolean\"},\"where\":{\"type\":\"array\"},\"opt\":{\"type\":"
    "[\"string\",\"null\"]},\"unit\":{\"$ref\":\"#/$defs/unit\"},\"any\":{},\"pos\":{"
    "\"type\":\"object\"},\"num\":{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"null\"}]}"
    "},"
    "\"required\":[\"city\"]}}},"
    "{\"type\":\"function\",\"function\":{\"name\":\"now\",\"description\":\"\","
    "\"parameters\":{\"type\":\"object\",\"properties\":{}}}}]";

/* ---- transcripts: [kind text] for each run of events of a kind ---- */

struct transcript {
    struct buf text;
    struct buf args; // of the call that is open
    enum output_kind last;
    bool any, open;
};

static void record(void *ctx, const struct output_event *e)
{
    static const char *const names[] = {"think", "text", "call", "args", "end"};
    struct transcript *t = ctx;
    if (!t->any || t->last != e->kind || e->kind == OUTPUT_TOOL_BEGIN)
        buf_printf(&t->text, "|%s:", names[e->kind]);
    t->any = true;
    t->last = e->kind;
    if (e->n)
        buf_append(&t->text, e->text, e->n);
    bool ok =
        e->kind == OUTPUT_TOOL_ARGS || e->kind == OUTPUT_TOOL_END ? t->open : !t->open;
    ok = ok && (e->n > 0) == (e->kind != OUTPUT_TOOL_END);
    if (e->kind == OUTPUT_TOOL_BEGIN) {
        t->open = true;
        buf_clear(&t->args);
    } else if (e->kind == OUTPUT_TOOL_ARGS) {
        buf_append(&t->args, e->text, e->n);
    } else if (e->kind == OUTPUT_TOOL_END) {
        json_t *args = json_loadb(t->args.data ? t->args.data : "", t->args.len,
                                  JSON_DECODE_INT_AS_REAL, NULL);
        ok = ok && json_is_object(args);
        t->open = false;
        json_decref(args);
    }
    if (!ok)
        fail_msg("event %s at '%s'", names[e->kind], t->text.data);
}

struct run_options {
    const char *source;
    bool no_tools, reasoning;
    size_t max_bytes; // 0: 4096
};

static json_t *tools;

/* The answer cut behind each byte whose bit is set by the function. */
static char *run(const struct run_options *o, const char *answer,
                 bool (*cut)(void *ctx, size_t at), void *ctx)
{
    struct transcript t = {0};
    struct output_parser *p;
    const size_t n = strlen(answer);
    const struct output_options options = {
        .format = output_format_find(o->source, strlen(o->source), NULL),
        .tools = o->no_tools ? NULL : tools,
        .reasoning = o->reasoning,
        .max_bytes = o->max_bytes ? o->max_bytes : 4096,
        .emit = record,
        .ctx = &t,
    };
    buf_init(&t.text, 1 << 22);
    buf_init(&t.args, 1 << 22);
    assert_int_equal(output_parser_open(&p, &options, NULL), STATUS_OK);
    for (size_t i = 0, from = 0; i < n; i++) {
        const bool whole = (answer[i + 1] & 0xc0) != 0x80; // a character
        if (i + 1 == n || (whole && cut(ctx, i))) {
            output_parser_feed(p, answer + from, i + 1 - from, false);
            from = i + 1;
        }
    }
    output_parser_end(p);
    output_parser_close(p);
    assert_false(t.open);
    assert_false(t.text.failed);
    buf_release(&t.args);
    if (!t.text.data)
        buf_puts(&t.text, "");
    return t.text.data;
}

static bool never(void *ctx, size_t at)
{
    (void)ctx;
    (void)at;
    return false;
}

static bool always(void *ctx, size_t at)
{
    (void)ctx;
    (void)at;
    return true;
}

static bool once_at(void *ctx, size_t at)
{
    return *(const size_t *)ctx == at;
}

static bool at_random(void *ctx, size_t at)
{
    return rng_at(*(const uint64_t *)ctx, at) % 5 == 0;
}

/* Every way to cut it gives what is expected. */
static void check(const struct run_options *o, const char *answer, const char *expected)
{
    char *whole = run(o, answer, never, NULL);
    if (strcmp(whole, expected) != 0)
        fail_msg("'%s':\n%s\nexpected\n%s", answer, whole, expected);
    for (size_t i = 0; i < strlen(answer) + 12; i++) {
        uint64_t seed = i;
        char *cut = i < strlen(answer)    ? run(o, answer, once_at, &i)
                    : i == strlen(answer) ? run(o, answer, always, NULL)
                                          : run(o, answer, at_random, &seed);
        if (strcmp(cut, whole) != 0)
            fail_msg("'%s' cut (%zu):\n%s\nin one piece\n%s", answer, i, cut, whole);
        free(cut);
    }
    free(whole);
}

struct answer_case {
    const char *source, *answer, *expected;
};

static void check_cases(const struct answer_case *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check(&(struct run_options){.source = c[i].source}, c[i].answer, c[i].expected);
}
#define CHECK_CASES(cases) check_cases(cases, sizeof cases / sizeof cases[0])

static void test_formats_are_found(void **state)
{
    (void)state;
    static const struct {
        const char *source, *name;
    } cases[] = {{HERMES, "hermes"},   {XML, "qwen-xml"},
                 {LLAMA, "llama"},     {HARMONY, "harmony"},
                 {MISTRAL, "mistral"}, {MISTRAL_ARGS, "mistral-args"},
                 {KIMI, "kimi"},       {DEEPSEEK, "deepseek"},
                 {GENERIC, "generic"}, {"<tool_call>", "generic"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(output_format_name(output_format_find(
                                cases[i].source, strlen(cases[i].source), NULL)),
                            cases[i].name);
    assert_string_equal(output_format_name(output_format_find(NULL, 0, NULL)), "generic");
}

static void test_text_and_reasoning(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {HERMES, "Hello, world.\n", "|text:Hello, world.\n"},
        {HERMES, "", ""},
        {HERMES, " \n", "|text: \n"},
        {HERMES, "  a < b </think> <tool", "|text:  a < b </think> <tool"},
        {HERMES, "<think>\nhm <b> \n</think>\n\nDone. ", "|think:hm <b>|text:Done. "},
        {HERMES, "\n<think></think>x", "|text:x"},
        {HERMES, "<think>\nnever ends </thin", "|think:never ends </thin"},
        {HERMES, "a <think>b</think>", "|text:a <think>b</think>"},
        {MISTRAL, "[THINK]why[/THINK]so", "|think:why|text:so"},
        {HARMONY,
         "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>"
         "final<|message|>2 < 3<|return|>",
         "|think:Hm.|text:2 < 3"},
        {HARMONY, "just text <|", "|text:just text <|"},
        {GENERIC, "{\"name\": \"Alice\", \"age\": 3}",
         "|text:{\"name\": \"Alice\", \"age\": 3}"},
        {GENERIC, "```json\n{\"a\": 1}\n```", "|text:```json\n{\"a\": 1}\n```"},
    };
    CHECK_CASES(cases);
    /* The prompt opened the reasoning; a model may do it again. */
    const struct run_options inside = {.source = HERMES, .reasoning = true};
    check(&inside, "hm\n</think>\n\nyes", "|think:hm|text:yes");
    check(&inside, "<think>\nhm</think>yes", "|think:hm|text:yes");
    check(&inside, "hm, no end\n", "|think:hm, no end");
    check(&inside, "</think>\n\nyes", "|text:yes");
}

static void test_hermes(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {HERMES,
         "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": "
         "\"Z\xc3\xbcrich\", \"n\": [1, -2.5e3, true, null]}}\n</tool_call>",
         "|call:get_weather|args:{\"city\":\"Z\xc3\xbcrich\",\"n\":[1,-2.5e3,true,null]}"
         "|end:"},
        /* Text around, two calls, one of a tool that there is not. */
        {HERMES,
         "I look.\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n"
         "</tool_call>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": {\"b\":"
         " \"}\"}}}\n</tool_call>\n bye ",
         "|text:I "
         "look.|call:now|args:{}|end:|call:f|args:{\"a\":{\"b\":\"}\"}}|end:|text:"
         "bye "},
        {HERMES,
         "<think>\nx\n</think>\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": "
         "{}}\n</tool_call>",
         "|think:x|call:now|args:{}|end:"},
        /* Members in another order, arguments as a string, a call inside of `function`.
         */
        {HERMES, "<tool_call>{\"arguments\": {\"a\": 1.50}, \"name\": \"f\"}</tool_call>",
         "|call:f|args:{\"a\":1.50}|end:"},
        {HERMES,
         "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}"
         "</tool_call>",
         "|call:f|args:{\"a\":1}|end:"},
        {HERMES,
         "<tool_call>{\"type\": \"function\", \"function\": {\"name\": \"f\", "
         "\"parameters\": {\"x\": \"\\u00e9\"}}}</tool_call>",
         "|call:f|args:{\"x\":\"\\u00e9\"}|end:"},
        {HERMES, "<tool_call>{\"name\": \"now\"}</tool_call>", "|call:now|args:{}|end:"},
        /* Ends that are missing or too many. */
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}\n</tool_call>x",
         "|call:f|args:{\"a\":1}|end:|text:x"},
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}}\n</tool_call>",
         "|call:f|args:{\"a\":1}|end:"},
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}}",
         "|call:f|args:{\"a\":1}|end:"},
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, {\"b\": \"cut",
         "|call:f|args:{\"a\":[1,{\"b\":\"cut\"}]}|end:"},
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": 12",
         "|call:f|args:{\"a\":1}|end:"},
        /* What is mended: line ends in strings, escapes, Python's words, commas. */
        {HERMES,
         "<tool_call>{\"name\": \"f\", \"arguments\": {\"re\": \"\\d+\n\t\\'\", "
         "\"b\": True, \"c\": [None,],}}</tool_call>",
         "|call:f|args:{\"re\":\"\\\\d+\\n\\t'\",\"b\":true,\"c\":[null]}|end:"},
        {HERMES,
         "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"\\ud83d\\ude00 "
         "\\ud83d \\ud83d\\n \\ude00 \\u0000 \\u12\"}}</tool_call>",
         "|call:f|args:{\"a\":\"\\ud83d\\ude00 \xef\xbf\xbd \xef\xbf\xbd\\n \xef\xbf\xbd "
         "\xef\xbf\xbd \\\\u12\"}|end:"},
        /* What is no call. */
        {HERMES, "Use <tool_call> for calls, <tool_call>{\"x\": 1}</tool_call>",
         "|text:Use <tool_call> for calls, <tool_call>{\"x\": 1}</tool_call>"},
        {HERMES, "<tool_call>\n{\"name\": \"f\", \"arguments\": 5}\n</tool_call>",
         "|text:<tool_call>\n{\"name\": \"f\", \"arguments\": 5}\n</tool_call>"},
        {HERMES, "<tool_call>\n{\"name\": \"f\", \"argu",
         "|text:<tool_call>\n{\"name\": \"f\", \"argu"},
        {HERMES, "<tool_call>{'name': 'f'}", "|text:<tool_call>{'name': 'f'}"},
        /* A call that breaks behind its beginning ends; the rest is text. */
        {HERMES, "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1, \"b\": oops}}",
         "|call:f|args:{\"a\":1}|end:|text:,\"b\":oops}}"},
        /* Without a tag, of tools that there are. */
        {HERMES, "```json\n{\"name\": \"now\", \"arguments\": {}}\n```",
         "|call:now|args:{}|end:"},
        {HERMES, "{\"name\": \"now\", \"arguments\": {}}", "|call:now|args:{}|end:"},
        {HERMES, "{\"name\": \"f\", \"arguments\": {}}",
         "|text:{\"name\": \"f\", \"arguments\": {}}"},
        {HERMES, "so {\"name\": \"now\", \"arguments\": {}}",
         "|text:so {\"name\": \"now\", \"arguments\": {}}"},
    };
    CHECK_CASES(cases);
    const struct run_options inside = {.source = HERMES, .reasoning = true};
    check(&inside,
          "go\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>"
          "\n</think>\nok",
          "|think:go|call:now|args:{}|end:|text:ok");
    check(&inside,
          "I write <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
          "|think:I write <tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>");
    check(&(struct run_options){.source = HERMES, .no_tools = true},
          "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
          "|text:<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>");
}

#define P(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"

static void test_qwen_xml(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {XML,
         "Let me see.\n\n<tool_call>\n<function=get_weather>\n" P("city", "Bern")
             P("days", "3") P("exact", "True") P("where", "[1, {\"a\": \"b\"}]")
                 P("opt", "null") P("unit", "c") P("any", "1") P("new", "7")
                     P("pos", "{\"x\": 1}") P("num", "1.5") "</function>\n</tool_call>",
         "|text:Let me "
         "see.|call:get_weather|args:{\"city\":\"Bern\",\"days\":3,\"exact\":"
         "true,\"where\":[1,{\"a\":\"b\"}],\"opt\":null,\"unit\":\"c\",\"any\":1,\"new\":"
         "\"7\",\"pos\":{\"x\":1},\"num\":1.5}|end:"},
        /* Lines, quotation marks, and values that are not what the schema says. */
        {XML,
         "<tool_call>\n<function=get_weather>\n" P("city", "\n\"a\"\n\n  b\\n\n") P(
             "days", "soon") P("where", "[1,") P("opt", "12")
             P("num",
               "") "</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n"
                   "</tool_call>",
         "|call:get_weather|args:{\"city\":\"\\n\\\"a\\\"\\n\\n  b\\\\n\\n\",\"days\":"
         "\"soon\",\"where\":\"[1,\",\"opt\":\"12\",\"num\":\"\"}|end:|call:now|args:{}"
         "|end:"},
        /* Marks inside of a value. */
        {XML,
         "<tool_call>\n<function=get_weather>\n" P(
             "city",
             "</parameter> <b> </parameter\n</function>") "</function>\n</tool_call>",
         "|call:get_weather|args:{\"city\":\"</parameter> <b> "
         "</parameter\\n</function>\"}"
         "|end:"},
        /* Marks that are missing. */
        {XML, "<function=get_weather>\n" P("city", "Bern") "</function>\nok",
         "|call:get_weather|args:{\"city\":\"Bern\"}|end:|text:ok"},
        {XML,
         "<function=get_weather>\n<parameter=city>\nBern\n<parameter=days>\n3\n"
         "</function>\n</tool_call>",
         "|call:get_weather|args:{\"city\":\"Bern\",\"days\":3}|end:"},
        {XML, "<function=get_weather>\n" P("city", "Bern") "</tool_call>",
         "|call:get_weather|args:{\"city\":\"Bern\"}|end:"},
        {XML, "<function=get_weather>\n" P("days", "4") "<parameter=city>\nBe",
         "|call:get_weather|args:{\"days\":4,\"city\":\"Be\"}|end:"},
        {XML, "<function=get_weather>\n" P("city", "B") "<parameter=days>\n12",
         "|call:get_weather|args:{\"city\":\"B\"}|end:"},
        {XML, "<tool_call><function=f><parameter=a>x</parameter></function></tool_call>",
         "|call:f|args:{\"a\":\"x\"}|end:"},
        /* The other syntaxes. */
        {XML, "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
         "|call:f|args:{\"a\":1}|end:"},
        {XML, "<function=f>{\"a\": 1}</function>x", "|call:f|args:{\"a\":1}|end:|text:x"},
        /* What is no call. */
        {XML, "<function=f>\nhello", "|text:<function=f>\nhello"},
        {XML, "<tool_call>\n<fun", "|text:<tool_call>\n<fun"},
    };
    CHECK_CASES(cases);
}

static void test_llama(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {LLAMA, "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Rome\"}}",
         "|call:get_weather|args:{\"city\":\"Rome\"}|end:"},
        {LLAMA,
         "<|python_tag|>{\"type\": \"function\", \"name\": \"now\", \"parameters\": "
         "{}}",
         "|call:now|args:{}|end:"},
        {LLAMA,
         "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"get_weather\", "
         "\"parameters\": {\"city\": \"A\"}}",
         "|call:now|args:{}|end:|call:get_weather|args:{\"city\":\"A\"}|end:"},
        {LLAMA, "<|python_tag|>brave_search.call(query=\"a, (b) \\\"c\\\"\", n=3, k='d')",
         "|call:brave_search|args:{\"query\":\"a, (b) \\\"c\\\"\",\"n\":3,\"k\":\"d\"}"
         "|end:"},
        {LLAMA, "<function=get_weather>{\"city\": \"Rome\"}</function>",
         "|call:get_weather|args:{\"city\":\"Rome\"}|end:"},
        {LLAMA, "<|python_tag|>import os\nprint(1)",
         "|text:<|python_tag|>import os\nprint(1)"},
        {LLAMA, "{\"name\": \"Bob\", \"parameters\": {}}",
         "|text:{\"name\": \"Bob\", \"parameters\": {}}"},
    };
    CHECK_CASES(cases);
}

static void test_harmony(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {HARMONY,
         "<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>"
         "commentary to=functions.get_weather <|constrain|>json<|message|>{\"city\""
         ": \"SF\"}<|call|>",
         "|think:Look.|call:get_weather|args:{\"city\":\"SF\"}|end:"},
        {HARMONY, " to=functions.now<|channel|>commentary json<|message|>{}<|call|>",
         "|call:now|args:{}|end:"},
        {HARMONY,
         "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to="
         "functions.f<|channel|>commentary<|message|>{\"a\":1,",
         "|text:I look.|call:f|args:{\"a\":1}|end:"},
        {HARMONY, "<|channel|>commentary to=python<|message|>print(1)<|call|>",
         "|text:print(1)"},
        {HARMONY,
         "<|channel|>analysis<|message|>no end <|start|>assistant<|channel|>final"
         "<|message|>x",
         "|think:no end|text:x"},
    };
    CHECK_CASES(cases);
    check(&(struct run_options){.source = HARMONY, .no_tools = true},
          " to=functions.f<|channel|>commentary<|message|>{}", "|text:{}");
}

static void test_other_families(void **state)
{
    (void)state;
    static const struct answer_case cases[] = {
        {MISTRAL,
         "[TOOL_CALLS][{\"name\": \"now\", \"arguments\": {}, \"id\": "
         "\"abcdefghi\"}, {\"name\": \"f\", \"arguments\": {\"a\": 1}}]",
         "|call:now|args:{}|end:|call:f|args:{\"a\":1}|end:"},
        {MISTRAL,
         "See: [TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {\"a\": \"]\"}}] ok",
         "|text:See:|call:f|args:{\"a\":\"]\"}|end:|text:ok"},
        {MISTRAL, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, oops",
         "|call:f|args:{}|end:|text:oops"},
        {MISTRAL_ARGS,
         "[TOOL_CALLS]now[ARGS]{}[TOOL_CALLS]f[CALL_ID]123456789[ARGS]"
         "{\"a\": 1}",
         "|call:now|args:{}|end:|call:f|args:{\"a\":1}|end:"},
        {MISTRAL_ARGS, "[TOOL_CALLS]f{\"a\": 1}", "|call:f|args:{\"a\":1}|end:"},
        {MISTRAL, "[TOOL_CALLS] nothing", "|text:[TOOL_CALLS] nothing"},
        {KIMI,
         "Hm.<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
         "<|tool_call_argument_begin|>{\"city\": \"A\"}<|tool_call_end|>"
         "<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}"
         "<|tool_call_end|><|tool_calls_section_end|>",
         "|text:Hm.|call:get_weather|args:{\"city\":\"A\"}|end:|call:now|args:{}|end:"},
        {DEEPSEEK,
         "<" BAR "tool" LOW "calls" LOW "begin" BAR "><" BAR "tool" LOW "call" LOW
         "begin" BAR ">f<" BAR "tool" LOW "sep" BAR ">{\"a\": 1}<" BAR "tool" LOW
         "call" LOW "end" BAR "><" BAR "tool" LOW "calls" LOW "end" BAR ">",
         "|call:f|args:{\"a\":1}|end:"},
        {DEEPSEEK,
         "<" BAR "tool" LOW "call" LOW "begin" BAR ">function<" BAR "tool" LOW "sep" BAR
         ">f\n```json\n{\"a\": 1}\n```<" BAR "tool" LOW "call" LOW "end" BAR ">x",
         "|call:f|args:{\"a\":1}|end:|text:x"},
        {GENERIC,
         "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
         "|call:f|args:{\"a\":1}|end:"},
        {GENERIC, "<tool_call>[{\"name\": \"f\", \"arguments\": {}}]</tool_call>.",
         "|call:f|args:{}|end:|text:."},
    };
    CHECK_CASES(cases);
}

/* Control tokens that the format does not know say nothing. */
static void test_special_tokens(void **state)
{
    (void)state;
    struct transcript t = {0};
    struct output_parser *p;
    const char *source = MISTRAL;
    const struct output_options o = {
        .format = output_format_find(source, strlen(source), NULL),
        .tools = tools,
        .max_bytes = 4096,
        .emit = record,
        .ctx = &t,
    };
    buf_init(&t.text, 1 << 16);
    buf_init(&t.args, 1 << 16);
    assert_int_equal(output_parser_open(&p, &o, NULL), STATUS_OK);
    output_parser_feed(p, "[THINK]", 7, true);
    output_parser_feed(p, "a", 1, false);
    output_parser_feed(p, "<unk>", 5, true);
    output_parser_feed(p, "[/THINK]", 8, true);
    output_parser_feed(p, "\nb", 2, false);
    assert_int_equal(output_parser_answer_start(p), 7 + 1 + 5 + 8 + 1);
    output_parser_feed(p, "[TOOL_CALLS]", 12, true);
    output_parser_feed(p, "now", 3, false);
    output_parser_feed(p, "[ARGS]", 6, true);
    output_parser_feed(p, "{}", 2, false);
    output_parser_feed(p, "</s>", 4, true);
    output_parser_end(p);
    output_parser_close(p);
    assert_string_equal(t.text.data, "|think:a|text:b|call:now|args:{}|end:");
    buf_release(&t.text);
    buf_release(&t.args);
}

/* What is held back is bounded, and comes out. */
static void test_limits(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char answer[N + 100], expected[N + 200];
    const struct run_options o = {.source = HERMES, .max_bytes = 1000};
    memset(answer, ' ', N);
    memcpy(answer, "<tool_call>", 11);
    strcpy(answer + N, "x");
    snprintf(expected, sizeof expected, "|text:%s", answer);
    char *got = run(&o, answer, at_random, &(uint64_t){0});
    assert_string_equal(got, expected);
    free(got);
    /* A long argument is not held back. */
    memset(answer, 'a', N);
    memcpy(answer, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":\"", 41);
    strcpy(answer + N, "\"}}</tool_call>");
    got = run(&o, answer, never, NULL);
    assert_int_equal(strlen(got), strlen("|call:f|args:{\"a\":\"\"}|end:") + N - 41);
    free(got);
    /* Nesting that JSON readers refuse is not a call's. */
    char *at =
        answer + sprintf(answer, "<tool_call>{\"name\":\"f\",\"arguments\":{\"a\":");
    memset(at, '[', 300);
    at[300] = 0;
    got = run(&o, answer, never, NULL);
    assert_non_null(strstr(got, "]]]}|end:|text:[[["));
    free(got);
}

static int load_tools(void **state)
{
    (void)state;
    tools = json_loads(tools_text, 0, NULL);
    return !tools;
}

static int free_tools(void **state)
{
    (void)state;
    json_decref(tools);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_are_found),
        cmocka_unit_test(test_text_and_reasoning),
        cmocka_unit_test(test_hermes),
        cmocka_unit_test(test_qwen_xml),
        cmocka_unit_test(test_llama),
        cmocka_unit_test(test_harmony),
        cmocka_unit_test(test_other_families),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, load_tools, free_tools);
}
