/* Lines of a router's file as words, and one member of a JSON text replaced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "router/config_words.h"
#include "router/internal.h"

#include <cmocka.h>

static void expect_words(const char *line, int n, const char *const *words)
{
    struct config_words w;
    char text[512];
    snprintf(text, sizeof text, "%s", line);
    assert_null(config_words_split(&w, text));
    assert_int_equal(w.n, n);
    for (int i = 0; i < n; i++)
        assert_string_equal(w.word[i], words[i]);
}

static void test_words(void **state)
{
    (void)state;
    expect_words("", 0, NULL);
    expect_words("  # all of it", 0, NULL);
    expect_words("a\tb  c\r", 3, (const char *const[]){"a", "b", "c"});
    expect_words("a#b # c", 1, (const char *const[]){"a#b"});
    expect_words("start \"a b\" \"\" \"\\\"\\\\x\\n\"", 4,
                 (const char *const[]){"start", "a b", "", "\"\\x\\n"});
}

static void test_wrong_words(void **state)
{
    static const char *const wrong[] = {"a \"b", "\"a\"b", "\"\\\""};
    struct config_words w;
    char text[512];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(text, sizeof text, "%s", wrong[i]);
        assert_non_null(config_words_split(&w, text));
    }
    memset(text, 0, sizeof text);
    for (int i = 0; i < CONFIG_WORDS_MAX + 1; i++)
        strcat(text, "a ");
    assert_non_null(config_words_split(&w, text));
}

static void expect_edit(const char *text, const char *value, const char *expected)
{
    struct buf b;
    buf_init(&b, 4096);
    assert_int_equal(edit_member(&b, text, strlen(text), "model", value),
                     expected != NULL);
    if (expected)
        assert_string_equal(b.data, expected);
    buf_release(&b);
}

static void test_edit(void **state)
{
    (void)state;
    expect_edit("{\"model\":\"a\"}", "b", "{\"model\":\"b\"}");
    expect_edit("{ \"x\":{\"model\":\"n\"}, \"model\" :\n\"a\\\"\" ,\"y\":[1.50]}", "q\"",
                "{ \"x\":{\"model\":\"n\"}, \"model\" :\n\"q\\\"\" ,\"y\":[1.50]}");
    expect_edit("{\"x\":\"model\",\"model\":\"a\"}", "b",
                "{\"x\":\"model\",\"model\":\"b\"}");
    expect_edit("{\"x\":[\"model\",\":\"],\"model\":\"\"}", "b",
                "{\"x\":[\"model\",\":\"],\"model\":\"b\"}");
    expect_edit("{\"x\":\"\\\\\",\"model\":\"a\"}", "b",
                "{\"x\":\"\\\\\",\"model\":\"b\"}");
    expect_edit("{\"model\":3}", "b", NULL);
    expect_edit("{\"m\\u006fdel\":\"a\"}", "b", NULL);
    expect_edit("{}", "b", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_edit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
