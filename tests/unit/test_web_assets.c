/* The files in the binary are those of the source, found by path, with tags that differ.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "server/web_assets.h"

static void test_bytes(void **state)
{
    (void)state;
    size_t n;
    const struct web_asset *a = web_assets(&n);
    for (size_t i = 0; i < n; i++) {
        const char *name =
            !strcmp(a[i].path, "/") ? "index.html" : strrchr(a[i].path, '/') + 1;
        char path[300];
        snprintf(path, sizeof path, "src/server/web/%s", name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        uint8_t bytes[1 << 16];
        const size_t got = fread(bytes, 1, sizeof bytes, f);
        fclose(f);
        assert_int_equal(got, a[i].n);
        assert_memory_equal(bytes, a[i].data, got);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(a[i].etag, a[j].etag);
        assert_int_equal(strlen(a[i].etag), 18);
    }
}

static void test_every_file_is_there(void **state)
{
    (void)state;
    DIR *dir = opendir("src/server/web");
    assert_non_null(dir);
    size_t found = 0, n;
    for (struct dirent *e; (e = readdir(dir));)
        found += e->d_name[0] != '.';
    closedir(dir);
    web_assets(&n);
    assert_int_equal(n, found);
}

static void test_find(void **state)
{
    (void)state;
    const struct web_asset *a = web_asset_find("/");
    assert_non_null(a);
    assert_string_equal(a->content_type, "text/html; charset=utf-8");
    assert_memory_equal(a->data, "<!doctype html>", 15);
    a = web_asset_find("/web/app.js");
    assert_non_null(a);
    assert_string_equal(a->content_type, "text/javascript; charset=utf-8");
    assert_null(web_asset_find(""));
    assert_null(web_asset_find("/web/"));
    assert_null(web_asset_find("/web/../web_assets.c"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_every_file_is_there),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
