/* Where texts are cut, against the same expressions in another regular expression engine
 * (ref/make_split_vectors.py); and that every name in the table opens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/buf.h"
#include "text/pretokenizer.h"

#include <cmocka.h> // its macro fail() hides base/status.h's fail

static enum status append_length(void *ctx, const char *s, size_t n)
{
    (void)s;
    buf_printf(ctx, "%zu ", n);
    return STATUS_OK;
}

static void check_row(const char *name, json_t *cases, json_t *texts)
{
    struct pretokenizer *p;
    struct pretokenizer_scratch *w = pretokenizer_scratch_open();
    struct buf got, want;
    buf_init(&got, 1 << 20);
    buf_init(&want, 1 << 20);
    assert_int_equal(pretokenizer_open(&p, name, strlen(name), NULL), STATUS_OK);
    size_t i, j;
    json_t *item, *len;
    json_array_foreach(cases, i, item)
    {
        const size_t at = (size_t)json_integer_value(json_array_get(item, 0));
        json_t *text = json_object_get(json_array_get(texts, at), "text");
        buf_clear(&got);
        buf_clear(&want);
        buf_puts(&got, "");
        buf_puts(&want, "");
        json_array_foreach(json_array_get(item, 1), j, len)
            buf_printf(&want, "%d ", (int)json_integer_value(len));
        assert_int_equal(pretokenizer_split(p, w, json_string_value(text),
                                            json_string_length(text), append_length, &got,
                                            NULL),
                         STATUS_OK);
        if (strcmp(got.data, want.data))
            fail_msg("%s, text %zu '%s': %s, expected %s", name, at,
                     json_string_value(text), got.data, want.data);
    }
    buf_release(&got);
    buf_release(&want);
    pretokenizer_scratch_close(w);
    pretokenizer_close(p);
}

static void test_splits(void **state)
{
    (void)state;
    json_t *texts =
        json_load_file("tests/data/smollm2_tokens.json", JSON_ALLOW_NUL, NULL);
    json_t *rows = json_load_file("tests/data/pretokenizer_splits.json", 0, NULL), *cases;
    const char *name;
    assert_non_null(texts);
    assert_int_equal(json_object_size(rows), 14);
    json_object_foreach(rows, name, cases) check_row(name, cases, texts);
    json_decref(texts);
    json_decref(rows);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {
#define PRETOKENIZER(names, flags, ...) names,
#include "text/pretokenizers.def"
#undef PRETOKENIZER
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        for (const char *s = names[i]; *s; s += strcspn(s, " "), s += *s == ' ') {
            struct pretokenizer *p;
            struct error err = {0};
            if (pretokenizer_open(&p, s, strcspn(s, " "), &err))
                fail_msg("%s", err.text);
            pretokenizer_close(p);
        }
}

static void test_unknown(void **state)
{
    (void)state;
    struct pretokenizer *p = NULL;
    struct error err = {0};
    assert_int_equal(pretokenizer_open(&p, "qwen", 4, &err), STATUS_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'qwen'"));
    assert_int_equal(pretokenizer_open(&p, "", 0, &err), STATUS_UNSUPPORTED);
    assert_int_equal(pretokenizer_open(&p, "gpt-2 phi-2", 11, &err), STATUS_UNSUPPORTED);
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_splits),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
