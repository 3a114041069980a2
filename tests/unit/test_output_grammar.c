/* The grammars of answers with calls, by a matcher of its own: GBNF as llama.cpp's
 * grammars/README.md describes it, as far as it is used here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/output.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

enum { TEXT_MAX = 1024 };

/* Which positions of the text a part of the grammar can end at. */
struct ends {
    bool at[TEXT_MAX];
};

struct match {
    const char *gbnf, *text;
    size_t n;
    json_t *schemas;
    int depth;
};

static const char *alternatives(struct match *m, const char *g, size_t from,
                                struct ends *out);

static const char *skip_blank(const char *g)
{
    return g + strspn(g, " ");
}

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

static const char *char_of(const char *g, unsigned char *c)
{
    if (*g != '\\') {
        *c = (unsigned char)*g;
        return g + 1;
    }
    if (g[1] == 'x') {
        char hex[3] = {g[2], g[3], 0};
        *c = (unsigned char)strtol(hex, NULL, 16);
        return g + 4;
    }
    *c = g[1] == 'n' ? '\n' : (unsigned char)g[1];
    return g + 2;
}

static const char *body_of(const struct match *m, const char *name, size_t n)
{
    for (const char *line = m->gbnf; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, n) && !strncmp(line + n, " ::= ", 5))
            return line + n + 5;
    }
    fail_msg("rule %.*s is missing in\n%s", (int)n, name, m->gbnf);
    return NULL;
}

static void schema(const struct match *m, const char *name, size_t from, struct ends *out)
{
    json_error_t end;
    const int i = atoi(name + 7);
    assert_true(i >= 0 && i < (int)json_array_size(m->schemas));
    json_t *v = json_loadb(m->text + from, m->n - from,
                           JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &end);
    const char *type =
        json_string_value(json_object_get(json_array_get(m->schemas, (size_t)i), "type"));
    if (v && (!type || strcmp(type, "object") != 0 || json_is_object(v)))
        out->at[from + (size_t)end.position] = true;
    json_decref(v);
}

/* Behind an item, without its repetition. */
static const char *skip_item(const char *g)
{
    unsigned char c;
    if (*g == '"' || *g == '[') {
        const char close = *g == '"' ? '"' : ']';
        for (g++; *g != close;)
            g = char_of(g, &c);
        return g + 1;
    }
    if (*g == '(') {
        for (g = skip_blank(g + 1); *g != ')'; g = skip_blank(g))
            g = strchr("|?*+", *g) ? g + 1 : skip_item(g);
        return g + 1;
    }
    while (is_name_char(*g))
        g++;
    return g;
}

/* One item without its repetition. */
static const char *item(struct match *m, const char *g, size_t from, struct ends *out)
{
    unsigned char c, to;
    assert_true(++m->depth < 2000);
    if (*g == '"') {
        bool ok = true;
        for (g++; *g != '"';) {
            g = char_of(g, &c);
            ok = ok && from < m->n && (unsigned char)m->text[from] == c;
            from += ok;
        }
        out->at[from] = out->at[from] || ok;
        g++;
    } else if (*g == '[') {
        bool in = false;
        const bool not = g[1] == '^';
        for (g += 1 + not ; *g != ']';) {
            g = char_of(g, &c);
            to = c;
            if (*g == '-' && g[1] != ']')
                g = char_of(g + 1, &to);
            in = in || (from < m->n && (unsigned char)m->text[from] >= c &&
                        (unsigned char)m->text[from] <= to);
        }
        if (from < m->n && in != not )
            out->at[from + 1] = true;
        g++;
    } else if (*g == '(') {
        g = alternatives(m, g + 1, from, out);
        assert_int_equal(*g, ')');
        g++;
    } else {
        const char *name = g;
        while (is_name_char(*g))
            g++;
        assert_true(g > name);
        if (!strncmp(name, "schema-", 7))
            schema(m, name, from, out);
        else
            alternatives(m, body_of(m, name, (size_t)(g - name)), from, out);
    }
    m->depth--;
    return g;
}

static const char *repeated(struct match *m, const char *g, const struct ends *from,
                            struct ends *out)
{
    const char *end = skip_item(g);
    struct ends first = {0};
    for (size_t i = 0; i <= m->n; i++)
        if (from->at[i])
            item(m, g, i, &first);
    *out = first;
    if (*end == '?' || *end == '*')
        for (size_t i = 0; i <= m->n; i++)
            out->at[i] = out->at[i] || from->at[i];
    if (*end == '*' || *end == '+')
        for (size_t i = 0; i <= m->n; i++) // rising: the new ones are behind
            if (out->at[i])
                item(m, g, i, out);
    return *end == '?' || *end == '*' || *end == '+' ? end + 1 : end;
}

static const char *alternatives(struct match *m, const char *g, size_t from,
                                struct ends *out)
{
    for (;; g++) {
        struct ends now = {0}, next;
        now.at[from] = true;
        for (g = skip_blank(g); *g && !strchr("|)\n", *g); g = skip_blank(g)) {
            g = repeated(m, g, &now, &next);
            now = next;
        }
        for (size_t i = 0; i <= m->n; i++)
            out->at[i] = out->at[i] || now.at[i];
        if (*g != '|')
            return g;
    }
}

static bool accepts(const struct output_grammar *g, const char *text)
{
    struct match m = {
        .gbnf = g->gbnf.data, .text = text, .n = strlen(text), .schemas = g->schemas};
    struct ends out = {0};
    assert_true(m.n < TEXT_MAX);
    alternatives(&m, body_of(&m, "root", 4), 0, &out);
    return out.at[m.n];
}

/* ---- */

static json_t *tools;

static int n_call;

static void count(void *ctx, const struct output_event *e)
{
    (void)ctx;
    n_call += e->kind == OUTPUT_TOOL_END;
}

/* Calls that the parser reads. */
static int calls_of(const struct output_format *f, const char *before, const char *text,
                    bool reasoning)
{
    struct output_parser *p;
    const struct output_options o = {.format = f,
                                     .tools = tools,
                                     .reasoning = reasoning,
                                     .max_bytes = 4096,
                                     .emit = count};
    n_call = 0;
    assert_int_equal(output_parser_open(&p, &o, NULL), STATUS_OK);
    output_parser_feed(p, before, strlen(before), false);
    output_parser_feed(p, text, strlen(text), false);
    output_parser_end(p);
    output_parser_close(p);
    return n_call;
}

#define BAR "\xef\xbd\x9c"
#define LOW "\xe2\x96\x81"
#define CALL_F "{\"name\": \"f\", \"arguments\": {\"s\": \"x\", \"a\": 1}}"
#define TAGGED "\n" CALL_F "\n</tool_call>"
#define XML_F                                                                      \
    "\n<function=f>\n<parameter=s>\nx\n</par\n\n</parameter>\n<parameter=a>\n12\n" \
    "</parameter>\n</function>\n</tool_call>"

static const struct {
    const char *source, *trigger;
    const char *call; // behind the trigger
    const char *join; // in front of another one; NULL: there is one an answer
    const char *bad;
} formats[] = {
    {"", "<tool_call>", TAGGED, "\n<tool_call>",
     "\n{\"name\": \"g\", \"arguments\": {}}"},
    {"tools <tool_call>", "<tool_call>", TAGGED, "\n<tool_call>", "\n" CALL_F},
    {"tools <function= <parameter=", "<tool_call>", XML_F, "\n<tool_call>",
     "\n<function=f>\n<parameter=a>\n12\n</parameter>\n</function>\n</tool_call>"},
    {"tools <|start_header_id|> \"parameters\": ", "<|python_tag|>",
     "{\"name\": \"f\", \"parameters\": {\"s\": \"x\", \"a\": 1}}", NULL, CALL_F},
    {"tools [TOOL_CALLS]", "[TOOL_CALLS]", "[" CALL_F "]", NULL, "[]"},
    {"tools [TOOL_CALLS] [ARGS]", "[TOOL_CALLS]", "f[ARGS]{\"s\": \"x\", \"a\": 1}",
     "[TOOL_CALLS]", "g[ARGS]{}"},
    {"tools <|tool_call_begin|>", "<|tool_calls_section_begin|>",
     "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"s\":\"x\"}<|tool_"
     "call_end|>"
     "<|tool_calls_section_end|>",
     NULL, "<|tool_calls_section_end|>"},
    {"tools <" BAR "tool" LOW "call" LOW "begin" BAR ">",
     "<" BAR "tool" LOW "calls" LOW "begin" BAR ">",
     "<" BAR "tool" LOW "call" LOW "begin" BAR ">f<" BAR "tool" LOW "sep" BAR
     ">{\"s\": \"x\"}<" BAR "tool" LOW "call" LOW "end" BAR "><" BAR "tool" LOW
     "calls" LOW "end" BAR ">",
     NULL, ""},
    {"tools <|channel|> <|message|>", " to=functions.",
     "f<|channel|>commentary <|constrain|>json<|message|>{\"s\": \"x\", \"a\": 1}", NULL,
     "f<|message|>[]"},
};
enum { N_FORMAT = sizeof formats / sizeof formats[0] };

static void make(struct output_grammar *g, int k, bool required, bool parallel,
                 bool reasoning)
{
    const struct output_format *f =
        output_format_find(formats[k].source, strlen(formats[k].source), NULL);
    struct error err;
    if (output_grammar(g, f, tools, "f", required, parallel, reasoning, NULL, &err))
        fail_msg("%s: %s", formats[k].source, err.text);
}

static void require(const struct output_grammar *g, const char *text, bool want)
{
    if (accepts(g, text) != want)
        fail_msg("'%s' is%s accepted by\n%s", text, want ? " not" : "", g->gbnf.data);
}

/* Behind a trigger. */
static void test_lazy(void **state)
{
    (void)state;
    for (int k = 0; k < N_FORMAT; k++) {
        struct output_grammar g;
        const struct output_format *f =
            output_format_find(formats[k].source, strlen(formats[k].source), NULL);
        make(&g, k, false, true, false);
        assert_int_equal(g.n_trigger, 1);
        assert_string_equal(g.triggers[0], formats[k].trigger);
        assert_true(
            output_format_knows(f, formats[k].trigger, strlen(formats[k].trigger)) ||
            formats[k].trigger[0] == ' ');
        require(&g, formats[k].call, true);
        require(&g, formats[k].bad, false);
        require(&g, "", false);
        require(&g, "hello", false);
        assert_int_equal(calls_of(f, formats[k].trigger, formats[k].call, false), 1);
        assert_false(g.once);
        output_grammar_release(&g);
    }
}

/* The answer is calls, behind reasoning. */
static void test_required(void **state)
{
    (void)state;
    for (int k = 0; k < N_FORMAT; k++) {
        struct output_grammar g;
        char one[600], two[1000];
        const struct output_format *f =
            output_format_find(formats[k].source, strlen(formats[k].source), NULL);
        const char *open, *close;
        const bool thinks = output_format_thinks(f, &open, &close);
        const bool llama = !strcmp(output_format_name(f), "llama");
        snprintf(one, sizeof one, "%s%s", llama ? "" : formats[k].trigger,
                 formats[k].call);
        make(&g, k, true, true, false);
        require(&g, one, true);
        require(&g, "hello", false);
        assert_int_equal(calls_of(f, "", one, false), 1);
        if (formats[k].join) {
            snprintf(two, sizeof two, "%s%s%s", one, formats[k].join, formats[k].call);
            require(&g, two, true);
            assert_int_equal(calls_of(f, "", two, false), 2);
        }
        if (thinks)
            snprintf(two, sizeof two, "%sa < b [c </ thin%s\n\n%s", open, close, one);
        else
            snprintf(two, sizeof two,
                     "<|channel|>analysis<|message|>so < <|en <|end|><|start|>assistant"
                     "<|channel|>commentary%s",
                     one);
        require(&g, two, true);
        assert_int_equal(calls_of(f, "", two, false), 1);
        output_grammar_release(&g);
        /* One call only. */
        make(&g, k, true, false, false);
        require(&g, one, true);
        if (formats[k].join) {
            snprintf(two, sizeof two, "%s%s%s", one, formats[k].join, formats[k].call);
            require(&g, two, false);
        }
        assert_true(g.once);
        output_grammar_release(&g);
        if (!thinks)
            continue;
        /* The prompt opened the reasoning. */
        make(&g, k, true, true, true);
        require(&g, one, false);
        snprintf(two, sizeof two, "hm%s%s", close, one);
        require(&g, two, true);
        assert_int_equal(calls_of(f, "", two, true), 1);
        output_grammar_release(&g);
    }
}

/* Calls or an answer, as the model likes. */
static void test_answer(void **state)
{
    (void)state;
    json_t *schema =
        json_pack("{s:s, s:{s:{s:s}}, s:[s], s:b}", "type", "object", "properties", "n",
                  "type", "integer", "required", "n", "additionalProperties", 0);
    for (int k = 0; k < N_FORMAT; k++) {
        struct output_grammar g;
        struct error err;
        const struct output_format *f =
            output_format_find(formats[k].source, strlen(formats[k].source), NULL);
        const bool harmony = strstr(formats[k].source, "<|channel|>") != NULL;
        assert_int_equal(
            output_grammar(&g, f, tools, "f", true, true, false, schema, &err),
            STATUS_OK);
        assert_int_equal(g.n_trigger, 0);
        require(&g, harmony ? "<|channel|>final<|message|>{\"n\": 5}" : "{\"n\": 5}",
                true);
        require(&g, harmony ? "{\"n\": 5}" : "hello", false);
        require(&g, "5}", false);
        require(&g, "{\"n\": 5}{\"n\": 5}", false);
        output_grammar_release(&g);
    }
    json_decref(schema);
}

static void test_names(void **state)
{
    (void)state;
    struct output_grammar g;
    struct error err;
    const struct output_format *f = output_format_find("", 0, NULL);
    assert_int_equal(output_grammar(&g, f, tools, NULL, true, true, false, NULL, &err),
                     STATUS_OK);
    assert_true(accepts(&g,
                        "<tool_call>\n{\"name\": \"g \\\"q\\\"\", \"arguments\": {}}\n"
                        "</tool_call>"));
    assert_int_equal(json_array_size(g.schemas), 2);
    output_grammar_release(&g);
    assert_int_equal(output_grammar(&g, f, tools, "h", true, true, false, NULL, &err),
                     STATUS_BAD_INPUT);
}

static int load_tools(void **state)
{
    (void)state;
    tools = json_loads(
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
        "\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"a\":{\"type\":"
        "\"integer\"},\"e\":{\"enum\":[\"x\",\"y\"]}},\"required\":[\"s\"]}}},{\"type\":"
        "\"function\",\"function\":{\"name\":\"g \\\"q\\\"\",\"parameters\":{\"type\":"
        "\"object\"}}}]",
        0, NULL);
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
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_required),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, load_tools, free_tools);
}
