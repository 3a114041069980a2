/* test_dialect.c - what all dialects share: JSON text, tables of fields, content. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/content.h"
#include "dialect/fields.h"
#include "json/print.h"
#include "dialect/request.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <cmocka.h>

static struct api_error err;

static void assert_text(const char *s, size_t n, const char *want)
{
    struct buf out;
    buf_init(&out, 1000);
    json_print_text(&out, s, n);
    assert_false(out.failed);
    assert_string_equal(out.data, want);
    buf_release(&out);
}

#define TEXT(s, want) assert_text(s, sizeof s - 1, want)
#define R "\xef\xbf\xbd"

static void test_json_text(void **state)
{
    (void)state;
    TEXT("", "\"\"");
    TEXT("a\"b\\c/", "\"a\\\"b\\\\c/\"");
    TEXT("\n\r\t\b\f\0\x1f\x7f", "\"\\n\\r\\t\\u0008\\u000c\\u0000\\u001f\x7f\"");
    TEXT("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
    /* Unicode 15.0, 3.9, tables 3-8, 3-9, 3-10 and 3-11. */
    TEXT("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", "\"" R R R R R R R R "A\"");
    TEXT("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", "\"" R R R R R R R R "A\"");
    TEXT("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", "\"" R R R R R "A" R R "B\"");
    TEXT("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "\"" R R R R "A\"");
    TEXT("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64",
         "\"a" R R R "b" R "c" R R "d\"");
}

static void test_json_number(void **state)
{
    (void)state;
    static const struct {
        double v;
        const char *want;
    } cases[] = {{0, "0"},           {-1.5, "-1.5"},  {1e300, "1e+300"},
                 {NAN, "null"},      {3, "3"},        {0.1f, "0.1"},
                 {INFINITY, "null"}, {1e-7, "1e-07"}, {123456, "123456"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buf out;
        buf_init(&out, 100);
        json_print_number(&out, cases[i].v, 7);
        assert_string_equal(out.data, cases[i].want);
        /* It is JSON. */
        json_t *v = json_loads(out.data, JSON_DECODE_ANY, NULL);
        assert_non_null(v);
        json_decref(v);
        buf_release(&out);
    }
}

struct values {
    bool flag;
    int n, choice;
    float x;
    const char *s;
    const char *list[API_STOP_MAX];
    int n_list;
    struct api_sampling sampling;
};

static const struct field rows[] = {
    {"flag", FIELD_BOOL, offsetof(struct values, flag), 0, 0, NULL, "false", "A flag"},
    {"n", FIELD_INT, offsetof(struct values, n), -3, 10, NULL, "1", "A number"},
    {"big", FIELD_INT, offsetof(struct values, n), 0, INT_MAX, NULL, "1", "Another"},
    {"choice", FIELD_CHOICE, offsetof(struct values, choice), 0, 0, "a|bc|d", "a", "One"},
    {"x", FIELD_FLOAT, offsetof(struct values, x), 0, 0.5, NULL, "0", "A share"},
    {"s", FIELD_STRING, offsetof(struct values, s), 0, 4, NULL, "none", "Text"},
    {"list", FIELD_STRINGS, offsetof(struct values, list), 0, 3, NULL, "none", "Texts"},
    {"seed", FIELD_SEED, offsetof(struct values, sampling), 0, 0, NULL, "random", "Seed"},
    {"json", FIELD_JSON, 0, 0, 0, NULL, "none", "Anything"},
    {"old", FIELD_IGNORED, 0, 0, 0, NULL, NULL, ""},
    {"no", FIELD_REFUSED, 0, 0, 0, NULL, NULL, "for a reason"},
};
static const struct field_table table = {"POST /x", rows, sizeof rows / sizeof *rows};

static enum status read_values(struct values *v, const char *json)
{
    static json_t *object; // strings of v are its own
    json_decref(object);
    object = json_loads(json, JSON_ALLOW_NUL, NULL);
    assert_non_null(object);
    *v = (struct values){.n = 77, .choice = -1, .x = NAN};
    return fields_read(&table, object, v, "o.", &err);
}

static void test_fields(void **state)
{
    (void)state;
    struct values v;
    assert_int_equal(read_values(&v, "{\"n\":null,\"y\":{}}"), STATUS_OK);
    assert_true(v.n == 77 && v.choice == -1 && isnan(v.x) && !v.s && !v.flag);
    assert_int_equal(
        read_values(&v,
                    "{\"flag\":true,\"n\":-3,\"choice\":\"bc\",\"x\":0.5,\"s\":\"abcd\","
                    "\"list\":[\"a\",\"bcd\"],\"seed\":-9223372036854775808,\"json\":7,"
                    "\"old\":7,\"no\":false}"),
        STATUS_OK);
    assert_true(v.flag && v.n == -3 && v.choice == 1 && v.x == 0.5f);
    assert_string_equal(v.s, "abcd");
    assert_int_equal(v.n_list, 2);
    assert_string_equal(v.list[1], "bcd");
    assert_true(v.sampling.has_seed && v.sampling.seed == (uint64_t)1 << 63);
    assert_int_equal(read_values(&v, "{\"n\":10.0,\"big\":2147483647,\"no\":\"\"}"),
                     STATUS_OK);
    assert_int_equal(v.n, INT_MAX);
    assert_int_equal(read_values(&v, "{\"no\":[],\"list\":[]}"), STATUS_OK);
    assert_int_equal(v.n_list, 0);

    static const struct {
        const char *json, *param, *message;
    } bad[] = {
        {"{\"flag\":0}", "o.flag", "o.flag must be true or false, not 0"},
        {"{\"n\":11}", "o.n", "o.n must be an integer from -3 to 10, not 11"},
        {"{\"n\":-4}", "o.n", "o.n must be an integer from -3 to 10, not -4"},
        {"{\"n\":1.5}", "o.n", "o.n must be an integer from -3 to 10, not 1.5"},
        {"{\"n\":[]}", "o.n", "o.n must be an integer from -3 to 10, not an array"},
        {"{\"n\":9007199254740993}", "o.n",
         "o.n must be an integer from -3 to 10, not 9007199254740993"},
        {"{\"big\":-1}", "o.big", "o.big must be an integer at least 0, not -1"},
        {"{\"big\":2147483648}", "o.big",
         "o.big must be an integer at least 0, not 2147483648"},
        {"{\"choice\":\"b\"}", "o.choice", "o.choice must be one of a|bc|d, not 'b'"},
        {"{\"choice\":\"\"}", "o.choice",
         "o.choice must be one of a|bc|d, not a string of 0 bytes"},
        {"{\"choice\":\"bc|d\"}", "o.choice",
         "o.choice must be one of a|bc|d, not 'bc|d'"},
        {"{\"x\":0.51}", "o.x", "o.x must be a number from 0 to 0.5, not 0.51"},
        {"{\"x\":false}", "o.x", "o.x must be a number from 0 to 0.5, not false"},
        {"{\"s\":\"abcde\"}", "o.s",
         "o.s must be a string of at most 4 bytes, not 'abcde'"},
        {"{\"s\":{}}", "o.s", "o.s must be a string, not an object"},
        {"{\"s\":\"a\\u0000\"}", "o.s",
         "o.s must be a string of at most 4 bytes, not 'a'"},
        {"{\"list\":\"abcd\"}", "o.list",
         "o.list must be a string or an array of at most 16 strings, each of 1 to 3 "
         "bytes, "
         "not 'abcd'"},
        {"{\"list\":[\"a\",\"\"]}", "o.list",
         "o.list must be a string or an array of at most 16 strings, each of 1 to 3 "
         "bytes, "
         "not an array"},
        {"{\"seed\":0.5}", "o.seed",
         "o.seed must be an integer of at most 64 bits, not 0.5"},
        {"{\"no\":0}", "o.no", "o.no is not supported: for a reason"},
        {"{\"no\":{\"a\":1}}", "o.no", "o.no is not supported: for a reason"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_not_equal(read_values(&v, bad[i].json), STATUS_OK);
        assert_string_equal(err.message, bad[i].message);
        assert_string_equal(err.param, bad[i].param);
    }
}

static void test_field_docs(void **state)
{
    (void)state;
    struct buf out;
    buf_init(&out, 10000);
    fields_print(&out, &table);
    assert_string_equal(out.data, "### POST /x\n\n| Field | Type | Range | Default | "
                                  "Meaning |\n|---|---|---|---|---|\n"
                                  "| `flag` | boolean |  | false | A flag |\n"
                                  "| `n` | integer | from -3 to 10 | 1 | A number |\n"
                                  "| `big` | integer | at least 0 | 1 | Another |\n"
                                  "| `choice` | one of | a, bc, d | a | One |\n"
                                  "| `x` | number | from 0 to 0.5 | 0 | A share |\n"
                                  "| `s` | string | at most 4 bytes | none | Text |\n"
                                  "| `list` | string or array of strings | at most 16, "
                                  "each at most 3 bytes | none | "
                                  "Texts |\n"
                                  "| `seed` | integer |  | random | Seed |\n"
                                  "| `json` | JSON |  | none | Anything |\n"
                                  "| `old` | ignored |  |  |  |\n"
                                  "| `no` | refused |  |  | for a reason |\n\n");
    buf_release(&out);
}

static void test_errors(void **state)
{
    (void)state;
    char param[200];
    memset(param, 'x', sizeof param - 1);
    param[sizeof param - 1] = 0;
    assert_int_equal(api_fail(&err, STATUS_LIMIT, API_ERROR_BUSY, param, "%s", param),
                     STATUS_LIMIT);
    assert_int_equal(strlen(err.param), sizeof err.param - 1);
    assert_int_equal(err.kind, API_ERROR_BUSY);
    assert_int_equal(err.n_ctx, 0);
    assert_int_equal(api_error_http(API_ERROR_INVALID), 400);
    assert_int_equal(api_error_http(API_ERROR_UNAUTHORIZED), 401);
    assert_int_equal(api_error_http(API_ERROR_TOO_LARGE), 413);
    assert_int_equal(api_error_http(API_ERROR_BUSY), 503);
    assert_int_equal(api_error_http(API_ERROR_INTERNAL), 500);
}

static void test_content(void **state)
{
    (void)state;
    static const struct {
        const char *json, *want;
    } cases[] = {
        {"\"a\\nb\"", "a\nb"},
        {"\"\"", ""},
        {"null", ""},
        {"[]", ""},
        {"[{\"type\":\"text\",\"text\":\"a\"}]", "a"},
        {"[{\"text\":\"a\"},\"b\",{\"type\":\"input_text\",\"text\":\"\"},"
         "{\"type\":\"output_text\",\"text\":\"c\",\"annotations\":[]}]",
         "a\nb\n\nc"},
        {"[{\"type\":\"refusal\",\"refusal\":\"no\"}]", "no"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = json_loads(cases[i].json, JSON_DECODE_ANY, NULL), *text;
        assert_int_equal(content_string(&text, v, "c", &err), STATUS_OK);
        assert_string_equal(json_string_value(text), cases[i].want);
        json_decref(text);
        json_decref(v);
    }
    static const struct {
        const char *json, *message;
    } bad[] = {
        {"5", "c must be a string or an array of blocks, not an integer"},
        {"[5]", "c[0] must be a string or a block of text, not an integer"},
        {"[\"a\",{\"type\":\"text\"}]", "c[1].text is missing: it must be a string"},
        {"[{\"type\":\"image_url\"}]", "images are not supported by this model (c[0])"},
        {"[{\"type\":\"input_file\"}]", "files are not supported by this model (c[0])"},
        {"[{\"type\":\"document\"}]", "documents are not supported by this model (c[0])"},
        {"[{\"type\":\"x\"}]",
         "c[0] has type 'x', which is not known here: it must be text"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *v = json_loads(bad[i].json, JSON_DECODE_ANY, NULL), *text;
        assert_int_not_equal(content_string(&text, v, "c", &err), STATUS_OK);
        assert_string_equal(err.message, bad[i].message);
        assert_null(text);
        json_decref(v);
    }
    json_t *images = json_pack("[s]", "aGk=");
    assert_int_equal(content_no_images(NULL, "m", &err), STATUS_OK);
    assert_int_not_equal(content_no_images(images, "m.images", &err), STATUS_OK);
    assert_string_equal(err.param, "m.images");
    json_decref(images);
}

static void test_arguments(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"{\"z\":1,\"a\":{\"b\":[]}}", "{\"z\":1,\"a\":{\"b\":[]}}"},
        {"", "{}"},
        {" \n\t", "{}"},
        {"{\"x\":", "{\"_raw\":\"{\\\"x\\\":\"}"},
        {"null", "{\"_raw\":\"null\"}"},
        {"{} {}", "{\"_raw\":\"{} {}\"}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *v = content_arguments(cases[i].text, strlen(cases[i].text));
        char *got = json_dumps(v, JSON_COMPACT);
        assert_string_equal(got, cases[i].want);
        free(got);
        json_decref(v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_text), cmocka_unit_test(test_json_number),
        cmocka_unit_test(test_fields),    cmocka_unit_test(test_field_docs),
        cmocka_unit_test(test_errors),    cmocka_unit_test(test_content),
        cmocka_unit_test(test_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
