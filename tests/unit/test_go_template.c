/* test_go_template.c - templates of Go: forms that models are published with, the
 * language, what is refused.  What is expected follows from Go's documentation of
 * text/template; the same texts came from Go 1.19. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "text/go_template.h"
#include "text/template.h"

#include <cmocka.h>

static void assert_renders(const char *source, const char *vars, const char *expected)
{
    struct template *t;
    struct template_output out;
    struct error err = {0};
    json_t *v = json_loads(vars, 0, NULL);
    assert_non_null(v);
    if (template_compile_go(&t, source, strlen(source), &err))
        fail_msg("%s: %s", source, err.text);
    if (template_render(t, v, 0, NULL, &out, &err))
        fail_msg("%s: %s", source, err.text);
    assert_string_equal(out.text.data ? out.text.data : "", expected);
    template_output_release(&out);
    template_close(t);
    json_decref(v);
}

#define SYS "{\"role\":\"system\",\"content\":\"S\"}"
#define USER1 "{\"role\":\"user\",\"content\":\"Q1\"}"
#define ANSWER1 "{\"role\":\"assistant\",\"content\":\"A1\"}"
#define USER2 "{\"role\":\"user\",\"content\":\"Q2\"}"
#define CHAT(list) "{\"messages\":[" list "]}"

static const char chatml[] = "{{- if .System }}<|im_start|>system\n"
                             "{{ .System }}<|im_end|>\n"
                             "{{ end }}<|im_start|>user\n"
                             "{{ .Prompt }}<|im_end|>\n"
                             "<|im_start|>assistant\n"
                             "{{ .Response }}<|im_end|>\n";
static const char llama2[] = "[INST] {{ if .System }}<<SYS>>\n{{ .System }}\n<</SYS>>\n\n"
                             "{{ end }}{{ .Prompt }} [/INST] {{ .Response }}</s>";
static const char llama3[] =
    "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n"
    "{{ .System }}<|eot_id|>{{ end }}{{ if .Prompt }}"
    "<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>{{ end }}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}<|eot_id|>";
static const char alpaca[] = "{{- if .System }}\n{{ .System }}\n{{- end }}\n\n"
                             "### Instruction:\n{{ .Prompt }}\n\n### Response:\n";
static const char zephyr[] = "{{ if .System }}<|system|>\n{{ .System }}</s>\n{{ end }}"
                             "{{ if .Prompt }}<|user|>\n{{ .Prompt }}</s>\n{{ end }}"
                             "<|assistant|>\n{{ .Response }}</s>\n";

static void test_turns(void **state)
{
    (void)state;
    static const char chat[] = CHAT(SYS "," USER1 "," ANSWER1 "," USER2);
    assert_renders(chatml, chat,
                   "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ1<|im_end|>\n"
                   "<|im_start|>assistant\nA1<|im_end|>\n<|im_start|>user\nQ2<|im_end|>\n"
                   "<|im_start|>assistant\n");
    assert_renders(chatml, CHAT(USER1),
                   "<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\n");
    /* An answer that is to go on. */
    assert_renders(chatml, CHAT(USER1 "," ANSWER1),
                   "<|im_start|>user\nQ1<|im_end|>\n<|im_start|>assistant\nA1");
    assert_renders(llama2, chat,
                   "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ1 [/INST] A1</s>[INST] Q2 [/INST] ");
    assert_renders(llama3, chat,
                   "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|>"
                   "<|start_header_id|>user<|end_header_id|>\n\nQ1<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\nA1<|eot_id|>"
                   "<|start_header_id|>user<|end_header_id|>\n\nQ2<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\n");
    /* Without .Response it is put at the end. */
    assert_renders(alpaca, chat,
                   "\nS\n\n### Instruction:\nQ1\n\n### Response:\nA1"
                   "\n\n### Instruction:\nQ2\n\n### Response:\n");
    assert_renders(zephyr, chat,
                   "<|system|>\nS</s>\n<|user|>\nQ1</s>\n<|assistant|>\nA1</s>\n"
                   "<|user|>\nQ2</s>\n<|assistant|>\n");
    /* A system message in the middle begins a turn; neighbours of one role are one. */
    assert_renders(zephyr, CHAT(USER1 "," SYS "," USER2),
                   "<|user|>\nQ1</s>\n<|assistant|>\n</s>\n<|system|>\nS</s>\n"
                   "<|user|>\nQ2</s>\n<|assistant|>\n");
    assert_renders(zephyr, CHAT(USER1 "," USER2),
                   "<|user|>\nQ1\n\nQ2</s>\n<|assistant|>\n");
    assert_renders("{{ .Prompt }}", CHAT(USER1), "Q1");
    /* What the last turn ends with is a matter of the text, not of the values. */
    assert_renders("{{ .Prompt }}{{ if .Response }}: {{ .Response }}.{{ end }}|",
                   CHAT(USER1 "," ANSWER1 "," USER2), "Q1: A1.|Q2");
    assert_renders("", CHAT(USER1), "");
}

static const char mistral[] =
    "{{- range $index, $_ := .Messages }}\n"
    "{{- if eq .Role \"user\" }}\n"
    "{{- if and (le (len (slice $.Messages $index)) 2) $.Tools }}[AVAILABLE_TOOLS] "
    "{{ json $.Tools }}[/AVAILABLE_TOOLS]\n"
    "{{- end }}[INST] {{ if and (eq (len (slice $.Messages $index)) 1) $.System }}"
    "{{ $.System }}\n\n{{ end }}{{ .Content }}[/INST]\n"
    "{{- else if eq .Role \"assistant\" }}\n"
    "{{- if .Content }} {{ .Content }}</s>\n"
    "{{- else if .ToolCalls }}[TOOL_CALLS] [\n"
    "{{- range .ToolCalls }}{\"name\": \"{{ .Function.Name }}\", \"arguments\": "
    "{{ json .Function.Arguments }}}\n"
    "{{- end }}]</s>\n"
    "{{- end }}\n"
    "{{- else if eq .Role \"tool\" }}[TOOL_RESULTS] {\"content\": {{ .Content }}}"
    "[/TOOL_RESULTS]\n"
    "{{- end }}\n"
    "{{- end }}";
#define TOOLS                                                                       \
    "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"b\":1," \
    "\"a\":\"<x>\"}}}]"
#define CALL                                                                           \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\"," \
    "\"function\":{\"name\":\"f\",\"arguments\":{\"y\":2,\"x\":[true,null]}}}]}"
#define RESULT "{\"role\":\"tool\",\"content\":\"42\",\"name\":\"f\"}"

static void test_messages(void **state)
{
    (void)state;
    assert_renders(mistral, CHAT(SYS "," USER1 "," ANSWER1 "," USER2),
                   "[INST] Q1[/INST] A1</s>[INST] S\n\nQ2[/INST]");
    assert_renders(
        mistral, "{\"messages\":[" USER1 "],\"tools\":" TOOLS "}",
        "[AVAILABLE_TOOLS] [{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"parameters\":{\"b\":1,\"a\":\"\\u003cx\\u003e\"}}}]"
        "[/AVAILABLE_TOOLS][INST] Q1[/INST]");
    assert_renders(mistral, CHAT(USER1 "," CALL "," RESULT),
                   "[INST] Q1[/INST][TOOL_CALLS] [{\"name\": \"f\", \"arguments\": "
                   "{\"y\":2,\"x\":[true,null]}}]</s>[TOOL_RESULTS] {\"content\": 42}"
                   "[/TOOL_RESULTS]");
    /* The header of the answer behind the last message. */
    static const char last[] =
        "{{- range $i, $m := .Messages }}{{- $last := eq (len (slice $.Messages $i)) 1 }}"
        "<{{ .Role }}>{{ $m.Content }}\n"
        "{{- if not $last }}</>{{ end }}"
        "{{- if and $last (ne .Role \"assistant\") }}</><assistant>{{ end }}{{ end }}";
    assert_renders(last, CHAT(USER1 "," ANSWER1 "," USER2),
                   "<user>Q1</><assistant>A1</><user>Q2</><assistant>");
    assert_renders(last, CHAT(USER1 "," ANSWER1), "<user>Q1</><assistant>A1");
    assert_renders("{{ range .Messages }}{{ .Thinking }}|{{ .ToolName }};{{ end }}",
                   CHAT("{\"role\":\"assistant\",\"content\":\"a\","
                        "\"reasoning_content\":\"hm\"}," RESULT),
                   "hm|;|f;");
}

/* As gpt-oss's templates have it: the type of a parameter is a list in Ollama's
 * structures, and a think that is true has the level "medium". */
static void test_types_and_levels(void **state)
{
    (void)state;
    static const char types[] =
        "{{ range .Tools }}{{ range $name, $p := .Function.Parameters.Properties }}"
        "{{ $name }}:{{ if gt (len $p.Type) 1 }}{{ range $i, $t := $p.Type }}"
        "{{ if $i }} | {{ end }}{{ $t }}{{ end }}{{ else }}{{ index $p.Type 0 }}{{ end "
        "}},"
        "{{ end }}{{ end }}";
    static const char level[] =
        "{{ if and .IsThinkSet .Think (ne .ThinkLevel \"\") }}{{ .ThinkLevel }}"
        "{{ else if or (not .IsThinkSet) (and .IsThinkSet .Think) }}none{{ else }}off"
        "{{ end }}";
    static const struct {
        const char *vars, *expected;
    } cases[] = {
        {"", "none"},
        {",\"enable_thinking\":true", "medium"},
        {",\"enable_thinking\":false", "off"},
        {",\"enable_thinking\":true,\"reasoning_effort\":\"low\"", "low"},
        {",\"reasoning_effort\":\"high\"", "high"},
        {",\"enable_thinking\":false,\"reasoning_effort\":\"low\"", "off"},
    };
    assert_renders(types,
                   "{\"messages\":[" USER1
                   "],\"tools\":[{\"type\":\"function\",\"function\":"
                   "{\"name\":\"f\",\"parameters\":{\"type\":\"object\",\"properties\":{"
                   "\"a\":{\"type\":\"string\"},\"b\":{\"type\":[\"integer\",\"null\"]},"
                   "\"c\":{\"type\":[\"boolean\"]}}}}}]}",
                   "a:string,b:integer | null,c:boolean,");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char vars[300];
        snprintf(vars, sizeof vars, "{\"messages\":[" USER1 "]%s}", cases[i].vars);
        assert_renders(level, vars, cases[i].expected);
    }
}

static void test_language(void **state)
{
    (void)state;
    static const struct {
        const char *source, *expected;
    } cases[] = {
        {"{{ $n := -1 }}{{ range $i, $m := .Messages }}{{ if eq $m.Role \"user\" }}"
         "{{ $n = $i }}{{ end }}{{ end }}{{ $n }}",
         "2"},
        {"{{ $x := \"a\" }}{{ if .Messages }}{{ $x := \"b\" }}{{ $x }}{{ end }}{{ $x }}",
         "ba"},
        {"{{ range .Messages }}{{ break }}{{ end }}x", "x"},
        {"{{ range .Messages }}{{ continue }}{{ else }}none{{ end }}x", "x"},
        {"{{ range .Messages }}{{ json .Thinking }}{{ end }}", "\"\"\"\"\"\""},
        {"{{ range .Messages }}{{ if eq .Role \"assistant\" }}{{ continue }}{{ end }}"
         "{{ .Content }},{{ end }}",
         "Q1,Q2,"},
        {"{{ range .Tools }}t{{ else }}none{{ end }}{{ len .Messages }}", "none3"},
        {"{{ with .System }}s{{ . }}{{ else }}no{{ end }}{{ len .Messages }}", "no3"},
        {"{{ with index .Messages 1 }}{{ .Content }}{{ end }}", "A1"},
        {"{{ with $m := index .Messages 0 }}{{ $m.Role }}{{ .Content }}{{ end }}",
         "userQ1"},
        {"{{/* a comment */}}a {{- /* trims */ -}} b{{ len .Messages }}", "ab3"},
        {"  {{- \"x\" -}}  \n y {{ len .Messages }}", "xy 3"},
        {"{{ `a\\n` }}{{ \"b\\n\\\"\\\\\" }}{{ len .Messages }}", "a\\nb\n\"\\3"},
        {"{{ len .Messages | eq 3 }} {{ .Messages | len | print \"n\" }}", "true n3"},
        {"{{ or .System \"none\" }} {{ and .Messages 1 }} {{ not .Tools }}",
         "none 1 true"},
        {"{{ (index .Messages 0).Content }}{{ eq (index .Messages 1).Role \"x\" "
         "\"assistant\" }}",
         "Q1true"},
        {"{{ if lt 1 2 }}{{ if ge 1 2 }}a{{ else if gt 2 1 }}b{{ else }}c{{ end }}{{ end "
         "}}"
         "{{ len .Messages }}",
         "b3"},
        {"{{ slice \"abc\" 1 2 }}{{ len .Messages }}", "b3"},
        {"{ {% if %} {# x #} '\\n' {{ len .Messages }} }",
         "{ {% if %} {# x #} '\\n' 3 }"},
        {"{{ json (index .Messages 0).Content }}", "\"Q1\""},
        {"{{ .Missing }}{{ if .Missing }}a{{ else }}b{{ end }}{{ len .Messages }}", "b3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_renders(cases[i].source, CHAT(USER1 "," ANSWER1 "," USER2),
                       cases[i].expected);
    /* The names of an object come sorted. */
    assert_renders("{{ range .Messages }}{{ range .ToolCalls }}{{ range $k, $v := "
                   ".Function.Arguments }}{{ $k }}={{ $v }};{{ end }}{{ end }}{{ end }}",
                   CHAT(CALL), "x=[true,null];y=2;");
    assert_renders("{{ range .Messages }}{{ currentDate }}{{ end }}", CHAT(USER1),
                   "1970-01-01");
}

/* What a client says cannot become a special token; what the template says can. */
static void test_marks(void **state)
{
    (void)state;
    struct template *t;
    struct template_output out;
    json_t *v = json_loads(CHAT("{\"role\":\"user\",\"content\":\"<|x|>\"}"), 0, NULL);
    static const char *const sources[] = {
        "<|u|>{{ .Prompt }}<|a|>",
        "{{ range .Messages }}<|u|>{{ print .Content }}<|a|>{{ end }}"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(template_compile_go(&t, sources[i], strlen(sources[i]), NULL),
                         STATUS_OK);
        assert_int_equal(template_render(t, v, 0, NULL, &out, NULL), STATUS_OK);
        assert_string_equal(out.text.data, "<|u|><|x|><|a|>");
        assert_memory_equal(out.mark.data, "\0\0\0\0\0\1\1\1\1\1\0\0\0\0\0", 15);
        template_output_release(&out);
        template_close(t);
    }
    json_decref(v);
}

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *source, *word;
        enum status s;
    } cases[] = {
        {"a\n{{ if .X }}", "line 2: 'end' is missing", STATUS_BAD_INPUT},
        {"{{ end }}", "without a block", STATUS_BAD_INPUT},
        {"{{ else }}", "without a block", STATUS_BAD_INPUT},
        {"{{ if .X }}{{ else }}{{ else }}{{ end }}", "'end' is missing",
         STATUS_BAD_INPUT},
        {"{{ .X", "'}}' is missing", STATUS_BAD_INPUT},
        {"{{", "expression is missing", STATUS_BAD_INPUT},
        {"{{ }}", "expression is missing", STATUS_BAD_INPUT},
        {"{{ if }}{{ end }}", "expression is missing", STATUS_BAD_INPUT},
        {"{{ \"a }}", "does not end", STATUS_BAD_INPUT},
        {"{{/* a }}", "does not end", STATUS_BAD_INPUT},
        {"{{ $x }}", "not declared", STATUS_BAD_INPUT},
        {"{{ if .X }}{{ $x := 1 }}{{ end }}{{ $x }}", "not declared", STATUS_BAD_INPUT},
        {"{{ (eq 1 2 }}", "')' is missing", STATUS_BAD_INPUT},
        {"{{ eq 1 }}", "number of arguments", STATUS_UNSUPPORTED},
        {"{{ break }}", "outside of a range", STATUS_BAD_INPUT},
        {"{{ .X .Y }}", "no function", STATUS_UNSUPPORTED},
        {"{{ eq 1.2.3 1 }}", "a number", STATUS_UNSUPPORTED},
        {"{{ 1. }}", "a number", STATUS_UNSUPPORTED},
        {"{{ printf \"%d\" 1 }}", "function 'printf'", STATUS_UNSUPPORTED},
        {"{{ define \"x\" }}{{ end }}", "define", STATUS_UNSUPPORTED},
        {"{{ . }}", "whole template", STATUS_UNSUPPORTED},
        {"{{ $ }}", "whole template", STATUS_UNSUPPORTED},
        {"\xff", "UTF-8", STATUS_BAD_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct template *t;
        struct error err = {0};
        assert_int_equal(
            template_compile_go(&t, cases[i].source, strlen(cases[i].source), &err),
            cases[i].s);
        assert_null(t);
        if (!strstr(err.text, cases[i].word))
            fail_msg("%s: %s", cases[i].source, err.text);
    }
}

/* What Go's parser said of the same texts (1.19, with Ollama's functions). */
static void test_check(void **state)
{
    (void)state;
    static const struct {
        const char *source, *word; // NULL: it takes them
    } cases[] = {
        {"{{ if .X }", "'}}' is missing"},
        {"a\n{{ if .X }}\nb", "line 3: 'end' is missing"},
        {"{{ printf \"%s\" .X }}{{ if .X }}", "'end' is missing"},
        {"{{ printf \"}}\" .X }", "'}}' is missing"},
        {"{{ printf .X }}\n{{ end }}", "line 2: 'else' or 'end' without"},
        {"{{ printf (.X }}", "')' is missing"},
        {"{{ printf .X) }}", "a ')' without"},
        {"{{ printf \"a\n\" }}", "a string that does not end"},
        {"{{ define \"x\" }}{{ .Y }}", "'end' is missing"},
        {"{{ . }}{{/* }}", "a comment that does not end"},
        {"{{ html .X }}{{ else }}", "without a block"},
        {"{{ printf {{ .X }} }}", "an expression is missing"},
        {"{{ . }}{{ .X {{ .X }} }}", "'}}' is missing"},
        {"{{ . }}{{ .Y", "'}}' is missing"},
        {"{{ .X .Y }}", NULL},
        {"{{ eq 1 }}", NULL},
        {"{{ 1. }}", NULL},
        {"{{ printf \"%d}}\" 1 }}", NULL},
        {"{{ define \"x\" }}{{ if .A }}{{ end }}{{ end }}{{ template \"x\" . }}", NULL},
        {"{{ block \"x\" . }}{{ .A }}{{ end }}", NULL},
        {"{{ . }}{{ if (eq .A \"(\") }}{{ else if .B }}{{ else }}{{ end }}", NULL},
        {"{{ eq .A 'x' }}", NULL},
        {"{{ html `}}\"` }}{{- /* }} \" */ -}}", NULL},
        {"{{ $ }}", NULL},
        {"} }} { {", NULL},
        {"{{ range $i, $_ := .Messages }}{{ .Content }}{{ end }}", NULL},
        {"{{- with $x := .A }}{{ $x }}{{ else }}{{ $x }}{{ end }}", NULL},
        {"{{ .A | .B }}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = {0};
        const enum status s =
            go_template_check(cases[i].source, strlen(cases[i].source), &err);
        assert_int_equal(s, cases[i].word ? STATUS_BAD_INPUT : STATUS_OK);
        if (cases[i].word && !strstr(err.text, cases[i].word))
            fail_msg("%s: %s", cases[i].source, err.text);
    }
}

/* Depth, growth by repetition, and pieces put together at random. */
static void test_hostile(void **state)
{
    (void)state;
    static char text[300000];
    static const char *const repeated[] = {
        "{{ if .A }}",         "{{ ((((",      "{{ eq (",    "{{ range .A }}",
        "{{ if .A }}{{ else ", "{{ not (not ", "{{ .A.B.C.D"};
    struct template *t;
    struct error err;
    for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
        size_t n = 0;
        while (n + 40 < sizeof text)
            n += (size_t)snprintf(text + n, 40, "%s", repeated[i]);
        assert_int_not_equal(template_compile_go(&t, text, n, &err), STATUS_OK);
        (void)!go_template_check(text, n, NULL);
        (void)!go_template_check(text, n / 2, NULL);
        assert_int_not_equal(template_compile_go(&t, text, n / 2, &err), STATUS_OK);
    }
    /* (eq (eq ... 1 2) 1 2): each level says the last one twice. */
    size_t n = (size_t)snprintf(text, 100, "{{ ");
    for (int i = 0; i < 39; i++)
        n += (size_t)snprintf(text + n, 100, "eq (");
    n += (size_t)snprintf(text + n, 100, "eq 1 1 2");
    for (int i = 0; i < 39; i++)
        n += (size_t)snprintf(text + n, 100, ") 1 2");
    n += (size_t)snprintf(text + n, 100, " }}");
    assert_int_equal(template_compile_go(&t, text, n, &err), STATUS_LIMIT);
    static const char *const pieces[] = {"{{",
                                         "}}",
                                         "{{- ",
                                         " -}}",
                                         "if ",
                                         "else ",
                                         "end",
                                         "range ",
                                         "with ",
                                         ".A",
                                         "$x",
                                         ":=",
                                         "$i, ",
                                         ".",
                                         "(",
                                         ")",
                                         "|",
                                         "\"s\"",
                                         "`r`",
                                         " ",
                                         "\n",
                                         "1",
                                         "-",
                                         "eq ",
                                         "json",
                                         "/*",
                                         "*/",
                                         "text",
                                         "'",
                                         "\\",
                                         "{%",
                                         "%}",
                                         "$",
                                         "len ",
                                         "slice ",
                                         "index ",
                                         ".Messages ",
                                         ".Response ",
                                         "break",
                                         "{{ end }}",
                                         "{{ .Prompt }}"};
    uint32_t seed = 1;
    json_t *v = json_loads(CHAT(USER1 "," ANSWER1), 0, NULL);
    for (int round = 0; round < 20000; round++) {
        n = 0;
        for (int k = 0; k < 14; k++) {
            seed = seed * 1664525 + 1013904223;
            n +=
                (size_t)snprintf(text + n, 40, "%s",
                                 pieces[(seed >> 16) % (sizeof pieces / sizeof *pieces)]);
        }
        struct template_output out;
        if (template_compile_go(&t, text, n, &err))
            continue;
        if (!template_render(t, v, 0, NULL, &out, &err))
            template_output_release(&out);
        template_close(t);
    }
    json_decref(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_types_and_levels),
        cmocka_unit_test(test_language),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
