/* test_modelfile.c - Modelfiles: the grammar, its errors, quoting, encodings, types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "store/modelfile.h"

#include <cmocka.h>

static struct modelfile parse(const char *text)
{
    struct modelfile f;
    struct error err = {0};
    const enum status s = modelfile_parse(&f, text, strlen(text), &err);
    if (s)
        fail_msg("%s", err.text);
    return f;
}

static void assert_command(const struct modelfile *f, int i, enum modelfile_keyword k,
                           const char *name, const char *value, int line)
{
    assert_in_range(i, 0, f->n - 1);
    assert_int_equal(f->commands[i].keyword, k);
    if (name)
        assert_string_equal(f->commands[i].name, name);
    else
        assert_null(f->commands[i].name);
    assert_string_equal(f->commands[i].value, value);
    assert_int_equal(f->commands[i].line, line);
}

static void assert_fails(const char *text, const char *expected)
{
    struct modelfile f;
    struct error err = {0};
    assert_int_equal(modelfile_parse(&f, text, strlen(text), &err), STATUS_BAD_INPUT);
    if (!strstr(err.text, expected))
        fail_msg("'%s' does not say '%s'", err.text, expected);
    modelfile_release(&f);
}

static void test_commands(void **state)
{
    (void)state;
    struct modelfile f = parse("# a comment\n"
                               "from  qwen3:0.6b  \n"
                               "  # another\n"
                               "PARAMETER temperature 0.7\n"
                               "parameter stop \"<|end|>\"\n"
                               "TEMPLATE \"\"\"{{ .Prompt }}\n"
                               "\n"
                               "# no comment\n"
                               "\"\"\"\n"
                               "SYSTEM You are # Mario \"here\".\n"
                               "MESSAGE user \"\"\"two\nlines\"\"\"\r\n"
                               "Message assistant yes: so\n"
                               "LICENSE \"one\ntwo\"\n"
                               "REQUIRES v0.14.0\n"
                               "RENDERER qwen3\nPARSER qwen3-coder");
    assert_int_equal(f.n, 11);
    assert_command(&f, 0, MODELFILE_FROM, NULL, "qwen3:0.6b", 2);
    assert_command(&f, 1, MODELFILE_PARAMETER, "temperature", "0.7", 4);
    assert_command(&f, 2, MODELFILE_PARAMETER, "stop", "<|end|>", 5);
    assert_command(&f, 3, MODELFILE_TEMPLATE, NULL, "{{ .Prompt }}\n\n# no comment\n", 6);
    assert_command(&f, 4, MODELFILE_SYSTEM, NULL, "You are # Mario \"here\".", 10);
    assert_command(&f, 5, MODELFILE_MESSAGE, "user", "two\nlines", 11);
    assert_command(&f, 6, MODELFILE_MESSAGE, "assistant", "yes: so", 13);
    assert_command(&f, 7, MODELFILE_LICENSE, NULL, "one\ntwo", 14);
    assert_command(&f, 8, MODELFILE_REQUIRES, NULL, "v0.14.0", 16);
    assert_command(&f, 9, MODELFILE_RENDERER, NULL, "qwen3", 17);
    assert_command(&f, 10, MODELFILE_PARSER, NULL, "qwen3-coder", 18);
    modelfile_release(&f);
}

/* Quotes end at a line end only; other quotes inside are text. */
static void test_quotes(void **state)
{
    (void)state;
    struct modelfile f = parse("FROM a\n"
                               "SYSTEM \"she said \"no\" and\nleft\"  \t\n"
                               "SYSTEM \"\"\"a \"\"\" b\"\"\"\n"
                               "SYSTEM \"\"\n"
                               "SYSTEM \"\"\"\"\"\"\n"
                               "SYSTEM 'single'\n"
                               "SYSTEM it's \"half\n"
                               "SYSTEM \\\"n\\n\n"
                               "SYSTEM \n");
    assert_int_equal(f.n, 9);
    assert_string_equal(f.commands[1].value, "she said \"no\" and\nleft");
    assert_string_equal(f.commands[2].value, "a \"\"\" b");
    assert_string_equal(f.commands[3].value, "");
    assert_string_equal(f.commands[4].value, "");
    assert_string_equal(f.commands[5].value, "'single'");
    assert_string_equal(f.commands[6].value, "it's \"half");
    assert_string_equal(f.commands[7].value, "\\\"n\\n");
    assert_string_equal(f.commands[8].value, "");
    modelfile_release(&f);
}

static void test_errors(void **state)
{
    (void)state;
    assert_fails("", "no FROM line");
    assert_fails("SYSTEM a\n", "no FROM line");
    assert_fails("FROM a\n\nBLAH x\n", "(line 3): command must be one of \"from\"");
    assert_fails("FROM a\nFR0M b\n", "(line 2): command must be one of");
    assert_fails("FROM\n", "(line 1): command must be one of");
    assert_fails("FROM a\r\n\r\nMESSAGE tool x\n",
                 "(line 3): message role must be one of \"system\", \"user\", or "
                 "\"assistant\"");
    assert_fails("FROM a\nMESSAGE User x\n", "(line 2): message role");
    assert_fails("FROM a\nPARAMETER temperature\n", "(line 2): a parameter has a name");
    assert_fails("FROM a\nPARAMETER a-b 1\n", "(line 2): a parameter has a name");
    assert_fails("FROM a\nSYSTEM \"\"\"never\nends\n", "(line 2): unexpected EOF");
    assert_fails("FROM a\nSYSTEM \"never\n", "(line 2): unexpected EOF");
    assert_fails("FROM a\nSYSTEM \"\"\"\n", "(line 2): unexpected EOF");
    assert_fails("FROM a\nPARAMETER seed  \n", "(line 2): the value is missing");
    assert_fails("FROM a\nSYSTEM \xff\n", "(line 2): no valid UTF-8");
    struct modelfile f;
    struct error err = {0};
    assert_int_equal(modelfile_parse(&f, "FROM a\0b", 8, &err), STATUS_BAD_INPUT);
    modelfile_release(&f);
}

static void test_encodings(void **state)
{
    (void)state;
    struct modelfile f;
    struct error err = {0};
    static const char bom[] = "\xef\xbb\xbf"
                              "FROM \xc3\xa4\n";
    assert_int_equal(modelfile_parse(&f, bom, sizeof bom - 1, &err), STATUS_OK);
    assert_string_equal(f.commands[0].value, "\xc3\xa4");
    modelfile_release(&f);
    /* "FROM " a-umlaut, and U+1F600 as a pair of surrogates. */
    static const unsigned char little[] = {
        0xff, 0xfe, 'F', 0, 'R', 0, 'O', 0, 'M', 0, ' ', 0, 0xe4, 0, 0x3d, 0xd8, 0, 0xde};
    static const unsigned char big[] = {0xfe, 0xff, 0,   'F', 0,    'R',  0,    'O',  0,
                                        'M',  0,    ' ', 0,   0xe4, 0xd8, 0x3d, 0xde, 0};
    const unsigned char *both[] = {little, big};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(modelfile_parse(&f, (const char *)both[i], sizeof little, &err),
                         STATUS_OK);
        assert_string_equal(f.commands[0].value, "\xc3\xa4\xf0\x9f\x98\x80");
        modelfile_release(&f);
    }
    assert_int_equal(modelfile_parse(&f, (const char *)big, sizeof big - 2, &err),
                     STATUS_BAD_INPUT); // half a pair
    modelfile_release(&f);
    assert_int_equal(modelfile_parse(&f, (const char *)big, sizeof big - 1, &err),
                     STATUS_BAD_INPUT);
    modelfile_release(&f);
}

static void assert_prints(enum modelfile_keyword k, const char *name, const char *value,
                          const char *expected)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_true(modelfile_print(&b, k, name, value));
    assert_string_equal(b.data, expected);
    buf_release(&b);
}

static void test_printing(void **state)
{
    (void)state;
    assert_prints(MODELFILE_FROM, NULL, "qwen3", "FROM qwen3\n");
    assert_prints(MODELFILE_PARAMETER, "stop", " a", "PARAMETER stop \" a\"\n");
    assert_prints(MODELFILE_MESSAGE, "user", "x", "MESSAGE user x\n");
    assert_prints(MODELFILE_SYSTEM, NULL, "a\nb", "SYSTEM \"a\nb\"\n");
    assert_prints(MODELFILE_SYSTEM, NULL, "a\n\"b\"", "SYSTEM \"\"\"a\n\"b\"\"\"\"\n");
    assert_prints(MODELFILE_SYSTEM, NULL, "say \"b\"", "SYSTEM say \"b\"\n");
    assert_prints(MODELFILE_SYSTEM, NULL, "\"b\" says",
                  "SYSTEM \"\"\"\"b\" says\"\"\"\n");
    assert_prints(MODELFILE_SYSTEM, NULL, "", "SYSTEM \"\"\n");
    struct buf b;
    buf_init(&b, 1 << 16);
    assert_false(modelfile_print(&b, MODELFILE_SYSTEM, NULL, "a\"\"\"\nb"));
    buf_release(&b);
}

/* What prints comes back, whatever it is made of. */
static void test_round_trip(void **state)
{
    (void)state;
    static const char *const pieces[] = {"\"", "\"\"\"", "\n",     " ",        "\t", "a",
                                         "#",  "\r",     "FROM x", "\xc2\xa0", "\\"};
    uint64_t seed = 1;
    int printed = 0;
    for (int i = 0; i < 20000; i++) {
        char value[128] = "";
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const int n = (int)(seed >> 60) % 8;
        for (int j = 0; j < n; j++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            strcat(value, pieces[(seed >> 33) % (sizeof pieces / sizeof *pieces)]);
        }
        struct buf b;
        buf_init(&b, 1 << 16);
        buf_puts(&b, "FROM a\n");
        if (modelfile_print(&b, MODELFILE_SYSTEM, NULL, value)) {
            buf_puts(&b, "PARAMETER seed 1\n");
            struct modelfile f = parse(b.data);
            assert_int_equal(f.n, 3);
            assert_string_equal(f.commands[1].value, value);
            assert_string_equal(f.commands[2].value, "1");
            modelfile_release(&f);
            printed++;
        }
        buf_release(&b);
    }
    assert_in_range(printed, 12000, 20000);
}

/* A quote that never ends is found in one pass, not in one for each line. */
static void test_long_value(void **state)
{
    (void)state;
    struct buf b;
    struct modelfile f;
    struct error err;
    buf_init(&b, MODELFILE_BYTES);
    buf_puts(&b, "FROM a\nSYSTEM \"");
    while (b.len + 2 < MODELFILE_BYTES)
        buf_puts(&b, "\n ");
    assert_int_equal(modelfile_parse(&f, b.data, b.len, &err), STATUS_BAD_INPUT);
    modelfile_release(&f);
    buf_release(&b);
}

static void test_parameters(void **state)
{
    (void)state;
    struct modelfile f =
        parse("FROM a\nPARAMETER num_ctx 4096\nPARAMETER temperature 0.5\n"
              "PARAMETER stop a\nPARAMETER num_ctx 8192\nPARAMETER stop b\n"
              "PARAMETER kv_cache_type turbo8/turbo4\n"
              "PARAMETER kv_tail 256\nPARAMETER use_mmap false\n"
              "PARAMETER mirostat 2\n");
    json_t *o,
        *expected = json_pack("{s:i,s:f,s:[ss],s:s,s:i,s:b}", "num_ctx", 8192,
                              "temperature", 0.5, "stop", "a", "b", "kv_cache_type",
                              "turbo8/turbo4", "kv_tail", 256, "use_mmap", 0);
    struct buf notes;
    struct error err;
    buf_init(&notes, 4096);
    assert_int_equal(modelfile_params(&o, &f, &notes, &err), STATUS_OK);
    assert_true(json_equal(o, expected));
    assert_non_null(strstr(notes.data, "mirostat"));
    json_decref(o);
    json_decref(expected);
    buf_release(&notes);
    modelfile_release(&f);
    static const char *const wrong[][2] = {
        {"PARAMETER num_ctx x", "(line 2): parameter num_ctx: 'x' is not a whole number"},
        {"PARAMETER num_ctx 1.5", "is not a whole number"},
        {"PARAMETER num_ctx -1", "is not between 0 and"},
        {"PARAMETER temperature nan", "is not a number"},
        {"PARAMETER temperature 0x1p3", "is not a number"},
        {"PARAMETER use_mmap maybe", "is not true or false"},
        {"PARAMETER nonsense 1", "(line 2): unknown parameter 'nonsense'"},
        {"PARAMETER Temperature 1", "unknown parameter 'Temperature'"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[128] = "FROM a\n";
        strcat(text, wrong[i][0]);
        f = parse(text);
        assert_int_equal(modelfile_params(&o, &f, NULL, &err), STATUS_BAD_INPUT);
        if (!strstr(err.text, wrong[i][1]))
            fail_msg("'%s' does not say '%s'", err.text, wrong[i][1]);
        assert_null(o);
        modelfile_release(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commands),   cmocka_unit_test(test_quotes),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_encodings),
        cmocka_unit_test(test_printing),   cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_long_value), cmocka_unit_test(test_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
