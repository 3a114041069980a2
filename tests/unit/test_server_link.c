/* test_server_link.c - where the server is, by what a person may say of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cli/server_link.h"

#include <cmocka.h>

static void test_urls(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"127.0.0.1", "http://127.0.0.1:11434"},
        {"box", "http://box:11434"},
        {"box:8000", "http://box:8000"},
        {":8000", "http://127.0.0.1:8000"},
        {"0.0.0.0", "http://127.0.0.1:11434"},
        {"0.0.0.0:9", "http://127.0.0.1:9"},
        {"10.0.0.0:9", "http://10.0.0.0:9"},
        {"[::]:9", "http://127.0.0.1:9"},
        {"::", "http://127.0.0.1:11434"},
        {"[::1]", "http://[::1]:11434"},
        {"[::1]:9", "http://[::1]:9"},
        {"::1", "http://[::1]:11434"},
        {"http://box", "http://box"},
        {"http://box/", "http://box"},
        {"http://0.0.0.0:9/", "http://127.0.0.1:9"},
        {"https://box:443/a/b//", "https://box:443/a/b"},
        {"box/a:b", "http://box:11434/a:b"},
        {"box:9/a", "http://box:9/a"},
    };
    char url[SERVER_LINK_URL_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(server_link_url(url, sizeof url, cases[i][0]));
        assert_string_equal(url, cases[i][1]);
    }
}

static void test_variables(void **state)
{
    (void)state;
    char url[SERVER_LINK_URL_BYTES];
    unsetenv("TURBINE_HOST");
    unsetenv("OLLAMA_HOST");
    assert_true(server_link_url(url, sizeof url, NULL));
    assert_string_equal(url, "http://127.0.0.1:11434");
    setenv("OLLAMA_HOST", "0.0.0.0:1", 1);
    assert_true(server_link_url(url, sizeof url, NULL));
    assert_string_equal(url, "http://127.0.0.1:1");
    setenv("TURBINE_HOST", "b:2", 1);
    assert_true(server_link_url(url, sizeof url, ""));
    assert_string_equal(url, "http://b:2");
    setenv("TURBINE_HOST", "", 1);
    assert_true(server_link_url(url, sizeof url, NULL));
    assert_string_equal(url, "http://127.0.0.1:1");
    assert_true(server_link_url(url, sizeof url, "c"));
    assert_string_equal(url, "http://c:11434");
}

static void test_too_long(void **state)
{
    (void)state;
    char url[16], name[40];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    assert_false(server_link_url(url, sizeof url, name));
    assert_int_equal(strlen(url), sizeof url - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
