/* Chat templates against jinja2 (tests/data/templates.json, made by
 * ref/make_template_cases.py), limits, and marks of input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "base/buf.h"
#include "text/template.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

struct result {
    enum status compiled, status;
    struct template_output out;
    struct error err;
};

static struct result run(const char *source, size_t n, json_t *vars, time_t now,
                         const struct template_limits *limits)
{
    struct template *t = NULL;
    struct result r = {0};
    r.compiled = r.status = template_compile(&t, source, n, &r.err);
    if (r.status == STATUS_OK)
        r.status = template_render(t, vars, now, limits, &r.out, &r.err);
    template_close(t);
    return r;
}

static struct result run_text(const char *source, json_t *vars)
{
    return run(source, strlen(source), vars, 0, NULL);
}

static const char *text_of(const struct result *r)
{
    return r->out.text.data ? r->out.text.data : "";
}

/* Behind "line N: ", which raise_exception does not have. */
static const char *message_of(const struct result *r)
{
    int n = 0;
    return sscanf(r->err.text, "line %*d: %n", &n), r->err.text + n;
}

static void check_case(json_t *c, json_t *vars, time_t now)
{
    json_t *source = json_object_get(c, "template"), *text = json_object_get(c, "text");
    json_t *error = json_object_get(c, "error");
    const char *s = json_string_value(source);
    struct result r = run(s, json_string_length(source), vars, now, NULL);
    if (json_object_get(c, "compile")) {
        if (r.compiled == STATUS_OK)
            fail_msg("'%s' compiles", s);
    } else if (text) {
        const size_t n = json_string_length(text);
        if (r.status != STATUS_OK)
            fail_msg("'%s': %s", s, r.err.text);
        if (r.out.text.len != n || memcmp(text_of(&r), json_string_value(text), n) != 0)
            fail_msg("'%s':\n%s\nexpected\n%s", s, text_of(&r), json_string_value(text));
        assert_int_equal(r.out.mark.len, n);
    } else {
        assert_int_equal(r.compiled, STATUS_OK);
        if (r.status != STATUS_BAD_INPUT)
            fail_msg("'%s' ends with status %d", s, r.status);
        if (json_is_string(error) &&
            strcmp(message_of(&r), json_string_value(error)) != 0)
            fail_msg("'%s': %s, expected %s", s, message_of(&r),
                     json_string_value(error));
    }
    template_output_release(&r.out);
}

static void test_jinja2(void **state)
{
    (void)state;
    json_t *all = json_load_file("tests/data/templates.json", 0, NULL), *c;
    const time_t now = (time_t)json_integer_value(json_object_get(all, "now"));
    size_t i;
    assert_true(json_array_size(json_object_get(all, "cases")) > 300);
    json_array_foreach(json_object_get(all, "cases"), i, c)
        check_case(c, json_object_get(all, "vars"), now);
    json_decref(all);
}

static void test_errors_name_the_line(void **state)
{
    (void)state;
    struct result r = run_text("a\n\n{{ x.y }}\n", NULL);
    assert_int_equal(r.status, STATUS_BAD_INPUT);
    assert_string_equal(r.err.text, "line 3: 'x' is undefined");
    r = run_text("a\n{# \n #}\n{{ 1 }}{% if x %}", NULL);
    assert_int_equal(r.compiled, STATUS_BAD_INPUT);
    assert_true(!strncmp(r.err.text, "line 4: ", 8));
    r = run_text("\n{{ raise_exception('as it is') }}", NULL);
    assert_string_equal(r.err.text, "as it is");
    r = run_text("{{ 9223372036854775807 + 1 }}", NULL);
    assert_string_equal(r.err.text, "line 1: an integer needs more than 64 bits");
    r = run("\xff", 1, NULL, 0, NULL);
    assert_int_equal(r.compiled, STATUS_BAD_INPUT);
}

/* A text of the error is cut between characters. */
static void test_long_message(void **state)
{
    (void)state;
    struct result r = run_text("{{ raise_exception('x' ~ '\xc3\xa9' * 500) }}", NULL);
    assert_int_equal(r.status, STATUS_BAD_INPUT);
    const size_t most = sizeof r.err.text - 1; // odd
    assert_int_equal(strlen(r.err.text), most);
    assert_memory_equal(r.err.text + most - 2, "\xc3\xa9", 2);
    r = run_text("{{ raise_exception('\xc3\xa9' * 500) }}", NULL);
    assert_int_equal(strlen(r.err.text), most - 1);
}

/* ---- limits ---- */

static void expect_limit(const char *source, const char *which)
{
    const clock_t start = clock();
    struct result r = run_text(source, NULL);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (r.compiled != STATUS_OK || r.status != STATUS_LIMIT || !strstr(r.err.text, which))
        fail_msg("'%.100s': status %d, %s", source, r.status, r.err.text);
    if (seconds > 20) // under sanitizers; some 0.3 otherwise
        fail_msg("'%.100s' took %g s", source, seconds);
    assert_null(r.out.text.data);
}

static void test_limits(void **state)
{
    (void)state;
    expect_limit("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}"
                 "{% endfor %}",
                 "steps");
    expect_limit("{% set l = [1] %}{% for i in l %}{% set _ = l.append(i) %}{% endfor %}",
                 "limit of");
    expect_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "limit of 64");
    expect_limit("{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}"
                 "{% endmacro %}{{ a() }}",
                 "limit of 64");
    expect_limit("{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}", "limit of");
    expect_limit("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
                 "{% endmacro %}{{ m(60) }}",
                 "limit of");
    expect_limit("{% set n = namespace(s='x') %}{% for i in range(99) %}"
                 "{% set n.s = n.s + n.s %}{% endfor %}",
                 "bytes of memory");
    expect_limit("{% set n = namespace(s='x') %}{% for i in range(99) %}"
                 "{% set n.s = n.s ~ n.s %}{% endfor %}",
                 "bytes of memory");
    expect_limit("{% set n = namespace(s=[1]) %}{% for i in range(99) %}"
                 "{% set n.s = n.s + n.s %}{% endfor %}",
                 "bytes of memory");
    expect_limit("{{ 'x' * 9000000000000 }}", "bytes of memory");
    expect_limit("{{ [1] * 9000000000000 }}", "limit of");
    expect_limit("{{ ('x' * 100000).replace('', 'y' * 100000) }}", "bytes of memory");
    expect_limit("{{ ('a' * 1000000 ~ 'b') in ('a' * 3000000) }}", "steps");
    expect_limit("{% set s = 'x' * 10000 %}{% for i in range(100000) %}{{ s }}"
                 "{% endfor %}",
                 "the output is longer than the limit of 16777216 bytes");
    expect_limit("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "nests deeper");
    expect_limit("{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}"
                 "{% set _ = m.append(m) %}{{ l == m }}",
                 "nests deeper");
    expect_limit("{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}",
                 "nests deeper");
    expect_limit("{% set n = namespace(l=[1]) %}{% for i in range(90) %}"
                 "{% set n.l = [n.l, n.l] %}{% endfor %}{{ n.l }}",
                 "limit of");
    expect_limit("{% set n = namespace(l=[1], m=[1]) %}{% for i in range(90) %}"
                 "{% set n.l = [n.l, n.l] %}{% set n.m = [n.m, n.m] %}{% endfor %}"
                 "{{ n.l == n.m }}",
                 "steps");
}

static void test_small_limits(void **state)
{
    (void)state;
    struct template_limits limits = template_limits_default;
    const char *s =
        "{% macro m(n) %}{{ n }}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}"
        "{{ m(5) }}";
    limits.depth = 6;
    struct result r = run(s, strlen(s), NULL, 0, &limits);
    assert_int_equal(r.status, STATUS_OK);
    assert_string_equal(text_of(&r), "543210");
    template_output_release(&r.out);
    limits.depth = 5;
    r = run(s, strlen(s), NULL, 0, &limits);
    assert_int_equal(r.status, STATUS_LIMIT);
    limits = template_limits_default;
    limits.output_bytes = 5;
    r = run("12345", 5, NULL, 0, &limits);
    assert_int_equal(r.status, STATUS_OK);
    template_output_release(&r.out);
    r = run("123456", 6, NULL, 0, &limits);
    assert_int_equal(r.status, STATUS_LIMIT);
    limits = template_limits_default;
    limits.memory_bytes = 128;
    s = "{{ [1, 2, 3, 4, 5, 6, 7] }}";
    r = run(s, strlen(s), NULL, 0, &limits);
    assert_int_equal(r.status, STATUS_LIMIT);
}

/* head, unit n times, middle, close n times, tail */
static struct result run_nested(const char *head, const char *unit, const char *middle,
                                const char *close, const char *tail, int n)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_puts(&b, head);
    for (int i = 0; i < n; i++)
        buf_puts(&b, unit);
    buf_puts(&b, middle);
    for (int i = 0; i < n; i++)
        buf_puts(&b, close);
    buf_puts(&b, tail);
    assert_false(b.failed);
    struct result r = run_text(b.data, NULL);
    buf_release(&b);
    return r;
}

static void test_depth(void **state)
{
    (void)state;
    static const struct {
        const char *head, *unit, *middle, *close, *tail;
        int fits, too_many;
    } rows[] = {
        {"{{ ", "(", "1", ")", " }}", 90, 1000},
        {"{{ ", "[", "1", "]", " }}", 90, 1000},
        {"{{ ", "{1:", "1", "}", " }}", 90, 1000},
        {"{{ ", "-", "1", "", " }}", 90, 1000},
        {"{{ ", "not ", "1", "", " }}", 90, 1000},
        {"{{ ", "1 if 0 else ", "1", "", " }}", 90, 1000},
        {"{{ ", "1 + ", "1", "", " }}", 300, 4000},
        {"{{ ", "'a' if ", "1", "", " }}", 50, 4000},
        {"{{ ", "1 ** ", "1", "", " }}", 300, 4000},
        {"{{ ", "1 and ", "1", "", " }}", 300, 4000},
        {"{{ 'x'", "|upper", "", "", " }}", 300, 4000},
        {"{{ 'x'", "[0]", "", "", " }}", 300, 4000},
        {"{{ 'x'", ".strip()", "", "", " }}", 150, 4000},
        {"{{ range", "(1)", "", "", " }}", -1, 4000},
        {"{{ x", "[x", "", "]", " }}", -1, 1000},
        {"", "{% if 1 %}", "x", "{% endif %}", "", 90, 1000},
        {"", "{% for i in [1] %}", "x", "{% endfor %}", "", 90, 1000},
        {"", "{% macro m() %}", "x", "{% endmacro %}", "", 90, 1000},
        {"", "{% set x %}", "x", "{% endset %}", "", 90, 1000},
        {"", "{% filter upper %}", "x", "{% endfilter %}", "", 90, 1000},
        {"{% for ", "(", "x", ",)", " in [] %}{% endfor %}", 90, 1000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct result r =
            run_nested(rows[i].head, rows[i].unit, rows[i].middle, rows[i].close,
                       rows[i].tail, rows[i].fits > 0 ? rows[i].fits : 1);
        if (rows[i].fits > 0 && r.status != STATUS_OK)
            fail_msg("%d of '%s': %s", rows[i].fits, rows[i].unit, r.err.text);
        template_output_release(&r.out);
        r = run_nested(rows[i].head, rows[i].unit, rows[i].middle, rows[i].close,
                       rows[i].tail, rows[i].too_many);
        if (r.compiled != STATUS_BAD_INPUT)
            fail_msg("%d of '%s' compile", rows[i].too_many, rows[i].unit);
    }
    /* Many branches and items are no depth. */
    struct result r =
        run_nested("{% if 0 %}", "{% elif 0 %}a", "{% else %}b", "", "{% endif %}", 5000);
    assert_string_equal(text_of(&r), "b");
    template_output_release(&r.out);
    r = run_nested("{{ [", "1,", "", "", "] | length }}", 20000);
    assert_string_equal(text_of(&r), "20000");
    template_output_release(&r.out);
    r = run_nested("{{ ('a'", " ~ 'a'", "", "", ") | length }}", 20000);
    assert_string_equal(text_of(&r), "20001");
    template_output_release(&r.out);
}

/* The tallest tree in every call of the deepest recursion ends with a limit. */
static void test_depth_of_calls(void **state)
{
    (void)state;
    struct result r = run_nested("{% macro m() %}{{ ", "0 + ", "(m() | length)", "",
                                 " }}{% endmacro %}{{ m() }}", 300);
    assert_int_equal(r.status, STATUS_LIMIT);
    r = run_nested("{% macro m() %}", "{% if 1 %}", "{{ m() }}", "{% endif %}",
                   "{% endmacro %}{{ m() }}", 90);
    assert_int_equal(r.status, STATUS_LIMIT);
    r = run_nested("{% macro m() %}", "{% set x %}", "{{ m() }}", "{% endset %}",
                   "{% endmacro %}{{ m() }}", 90);
    assert_int_equal(r.status, STATUS_LIMIT);
}

static void test_deep_json(void **state)
{
    (void)state;
    json_t *j = json_integer(1);
    for (int i = 0; i < 1000; i++)
        j = json_pack("[o]", j);
    json_t *vars = json_pack("{so}", "messages", j);
    struct result r = run_text("{{ messages }}", vars);
    assert_int_equal(r.status, STATUS_LIMIT);
    r = run_text("unused", vars);
    assert_int_equal(r.status, STATUS_OK);
    template_output_release(&r.out);
    json_decref(vars);
}

/* ---- marks ---- */

static json_t *mark_vars(void)
{
    return json_pack("{s[{ssss}{s[ssss]}]s[{sss{ss}}]s[s]ss}", "messages", "R", "QROLE",
                     "C", "  QZ\nZQ \"Q\" <|QEND|>  ", "P", "ZB", "QA", "QA",
                     "Q\xc3\xa9Z", "tools", "N", "QNAME", "S", "QK", "ZV", "documents",
                     "QDOC", "other", "template");
}

/* Upper case letters come from input and nothing else does: the templates have none. */
static void check_marks(const char *source)
{
    json_t *vars = mark_vars();
    struct result r = run_text(source, vars);
    size_t input = 0;
    if (r.status != STATUS_OK)
        fail_msg("'%s': %s", source, r.err.text);
    assert_int_equal(r.out.text.len, r.out.mark.len);
    for (size_t i = 0; i < r.out.text.len; i++) {
        const char c = r.out.text.data[i];
        const bool escaped = i && r.out.text.data[i - 1] == '\\'; // "\n" of input
        const bool upper = c >= 'A' && c <= 'Z', lower = c >= 'a' && c <= 'z' && !escaped;
        if ((upper && !r.out.mark.data[i]) || (lower && r.out.mark.data[i]))
            fail_msg("'%s': wrong mark of byte %zu of '%s'", source, i, r.out.text.data);
        input += upper;
    }
    if (!input)
        fail_msg("'%s': no input in '%s'", source, text_of(&r));
    template_output_release(&r.out);
    json_decref(vars);
}

static void test_marks(void **state)
{
    (void)state;
    static const char *const with_c[] = {
        "c",
        "c ~ 'x'",
        "'x' + c + 'y'",
        "c + c",
        "c | trim",
        "c.strip()",
        "c.lstrip()",
        "c[::-1]",
        "c[3:8]",
        "c[2]",
        "c[-12:]",
        "c[::2]",
        "c.split('z') | join('x')",
        "c.split()",
        "c.rsplit(none, 1)[0]",
        "c.split('\\n')[1] ~ 'k'",
        "c.replace('\"', 'quote')",
        "c.replace(' ', '')",
        "'abc'.replace('b', c)",
        "'a' | replace('', c)",
        "c | upper",
        "('x' ~ c) | string",
        "c | tojson",
        "[c, 'x', {'k': c}] | tojson",
        "[c, 'x'] | string",
        "{'a': c} | tojson(indent=2)",
        "c | indent(3, true)",
        "'x\\ny' | indent(c)",
        "c ~ m.R ~ 'x'",
        "m",
        "m | tojson",
        "messages",
        "tools | tojson(indent=4)",
        "documents[0]",
        "messages[1].P | join('-')",
        "messages[1].P | sort | first",
        "messages[1].P | unique | list",
        "messages[1].P | map('trim') | list",
        "messages[1].P[3][::-1]",
        "tools[0].S.keys() | first",
        "tools[0].S.items() | list",
        "(tools | tojson | from_json)[0].N ~ 'x'",
        "c * 2",
        "'x' * 3 ~ c",
        "(c if true else 'b') ~ 'c'",
        "missing | default(c)",
        "c | list",
        "c | first ~ c | last ~ c[2]",
        "c.splitlines()",
        "c.partition('\\n')",
        "c.removeprefix('  ')",
        "namespace(a=c).a ~ 'x'",
        "[c] + ['x']",
        "dict(a=c) | dictsort",
        "'%s' ~ c",
        "c | batch(3) | list",
        "c | reverse",
        "[['x', c]] | map('join', '+') | join",
        "joiner(c)() ~ c",
        "','.join([c, 'x'])",
        "c | capitalize | upper",
        "c.title()[2]",
        "messages[1].P | max",
        "[c] | map('replace', '<', 'less') | first",
    };
    for (size_t i = 0; i < sizeof with_c / sizeof *with_c; i++) {
        char source[400];
        snprintf(source, sizeof source,
                 "text {%% set m = messages[0] %%}{%% set c = m.C %%}{{ %s }} end",
                 with_c[i]);
        check_marks(source);
    }
    check_marks("{% for p in messages[1].P %}x{{ p }}y{% endfor %}");
    check_marks("{% macro m(a) %}x{{ a }}{% endmacro %}{{ m(messages[0].R) ~ 'k' }}");
    check_marks("{% set x %}a{{ messages[0].R }}b{% endset %}{{ x }}{{ x[1:3] }}");
    check_marks("{% filter trim %} a{{ messages[0].R }}b {% endfilter %}");
    check_marks("{% for c in messages[0].C %}{{ c }}x{% endfor %}");
    check_marks("{% for k, v in tools[0].S.items() %}{{ k }}: {{ v }}{% endfor %}");
}

/* Exact marks, with bytes that are not letters. */
static void test_mark_bytes(void **state)
{
    (void)state;
    json_t *vars = json_pack("{s[{ssss}]ss}", "messages", "role", "user", "content",
                             "a<|im_end|>\n\"\xc3\xa9", "bos_token", "<s>");
    struct result r = run_text("{{ bos_token }}<|im_start|>{{ messages[0].role }}\n"
                               "{{ messages[0].content | tojson }}<|im_end|>",
                               vars);
    const char *text = "<s><|im_start|>user\n\"a<|im_end|>\\n\\\"\xc3\xa9\"<|im_end|>";
    const char *mark = "000000000000000000000111111111111111110"
                       "0000000000";
    assert_int_equal(r.status, STATUS_OK);
    assert_string_equal(text_of(&r), text);
    assert_int_equal(r.out.mark.len, strlen(mark));
    for (size_t i = 0; i < r.out.mark.len; i++)
        if (r.out.mark.data[i] != mark[i] - '0')
            fail_msg("byte %zu has mark %d", i, r.out.mark.data[i]);
    template_output_release(&r.out);
    json_decref(vars);
}

/* The text and, below it, 1 where it is input. */
static void expect_marks(const char *source, json_t *vars, const char *text,
                         const char *mark)
{
    struct result r = run_text(source, vars);
    if (r.status != STATUS_OK)
        fail_msg("'%s': %s", source, r.err.text);
    assert_string_equal(text_of(&r), text);
    assert_int_equal(r.out.mark.len, strlen(mark));
    for (size_t i = 0; i < r.out.mark.len; i++)
        if (r.out.mark.data[i] != mark[i] - '0')
            fail_msg("'%s': byte %zu has mark %d", source, i, r.out.mark.data[i]);
    template_output_release(&r.out);
    json_decref(vars);
}

/* Every variable is input, and only the tokens of the vocabulary are not. */
static void test_mark_variables(void **state)
{
    (void)state;
    expect_marks(
        "{{ bos_token }}{{ custom_tools[0] }}{{ model_identity }}{{ date_string }}"
        "{{ controls.k }}{% for k in controls %}{{ k }}{% endfor %}{{ eos_token }}",
        json_pack("{ss s[s] ss ss s{ss} ss}", "bos_token", "b", "custom_tools", "c",
                  "model_identity", "m", "date_string", "d", "controls", "k", "v",
                  "eos_token", "e"),
        "bcmdvke", "0111110");
    expect_marks("{{ strftime_now(f) }}{{ strftime_now('%y') }}",
                 json_pack("{ss}", "f", "<%y"), "<7070", "11100");
}

/* '<|' + role + '|>' is a special token for the roles there are. */
static void test_mark_roles(void **state)
{
    (void)state;
    const char *source = "{% for m in messages %}{{ '<' + m.role + '>' }}{% endfor %}";
    expect_marks(source,
                 json_pack("{s[{ss}{ss}{ss}]}", "messages", "role", "user", "role",
                           "userx", "role", "tool"),
                 "<user><userx><tool>", "0000000111110000000");
    expect_marks("{{ messages[0].role }}{{ messages[0].x.role }}{{ other[0].role }}",
                 json_pack("{s[{sss{ss}}]s[{ss}]}", "messages", "role", "user", "x",
                           "role", "user", "other", "role", "user"),
                 "useruseruser", "000011111111");
    expect_marks("{{ messages[0].role }}{{ messages[1] }}",
                 json_pack("{s[{si}s]}", "messages", "role", 7, "user"), "7user",
                 "01111");
    expect_marks("{{ messages.role }}", json_pack("{s{ss}}", "messages", "role", "user"),
                 "user", "1111");
}

static void test_not_an_object(void **state)
{
    (void)state;
    json_t *vars = json_array();
    struct result r = run_text("x", vars);
    assert_int_equal(r.status, STATUS_BAD_ARG);
    json_decref(vars);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jinja2),
        cmocka_unit_test(test_errors_name_the_line),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_small_limits),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_depth_of_calls),
        cmocka_unit_test(test_deep_json),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_mark_bytes),
        cmocka_unit_test(test_mark_variables),
        cmocka_unit_test(test_mark_roles),
        cmocka_unit_test(test_not_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
