/* json_parse reads what jansson's json_loadb does, and refuses it with the same words.
 * That memory may be short is tested by tests/api/test_server_memory.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "json/parse.h"

#include <cmocka.h>

static void same(const char *s, size_t n, size_t flags)
{
    json_error_t a, b;
    json_t *want = json_loadb(s, n, flags, &a), *got = json_parse(s, n, flags, &b);
    if (!want != !got || (want && !json_equal(want, got)))
        fail_msg("%.*s", (int)n, s);
    if (!want) {
        assert_string_equal(a.text, b.text);
        assert_int_equal(json_error_code(&a), json_error_code(&b));
        assert_int_equal(a.line, b.line);
        assert_int_equal(a.position, b.position);
    }
    json_decref(want);
    json_decref(got);
}

static void test_same_as_jansson(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\": [1, -2.5e3, true, null, \"\\u00e9\\ud83d\\ude00\\n\"], \"b\": {\"c\": "
        "{}}}",
        "[\"a string that is longer than the first sixteen bytes of a buffer: "
        "\xc3\xa9\"]",
        "{\"a\": 1, \"a\": 2}",
        "\"alone\"",
        "[1] more",
        "[\"bad \xff bytes\"]",
        "[\"\\u0000\"]",
        "{\"a\": [[[[[[1e999]]]]]]}",
        "",
    };
    static const size_t flags[] = {0, JSON_DECODE_ANY, JSON_REJECT_DUPLICATES,
                                   JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK};
    json_use_memory();
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
        for (size_t f = 0; f < sizeof flags / sizeof *flags; f++)
            for (size_t n = 0; n <= strlen(texts[t]); n++)
                same(texts[t], n, flags[f]);
    same("[1]\0", 4, 0);
    assert_null(json_parse("[", 1, 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_as_jansson)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
