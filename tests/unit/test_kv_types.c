/* test_kv_types.c - names of KV types. */
#include <string.h>

#include "model/model.h"

/* Last: it defines a macro fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void test_names_come_back(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        enum tq_type k, v;
        bool plain, uniform;
    } cases[] = {
        {"turbo3:uniform", "turbo3:uniform", TQ_TURBO3, TQ_TURBO3, false, true},
        {"tiny:uniform:plain", "turbo3/turbo2:plain:uniform", TQ_TURBO3, TQ_TURBO2, true,
         true},
        {"turbo4", "turbo4", TQ_TURBO4, TQ_TURBO4, false, false},
        {"turbo4:plain", "turbo4:plain", TQ_TURBO4, TQ_TURBO4, true, false},
        {"turbo8/turbo4", "turbo8/turbo4", TQ_TURBO8, TQ_TURBO4, false, false},
        {"turbo8/turbo4:plain", "turbo8/turbo4:plain", TQ_TURBO8, TQ_TURBO4, true, false},
        {"f16/turbo3:plain", "f16/turbo3:plain", TQ_F16, TQ_TURBO3, true, false},
        {"tiny", "turbo3/turbo2", TQ_TURBO3, TQ_TURBO2, false, false},
        {"tiny:plain", "turbo3/turbo2:plain", TQ_TURBO3, TQ_TURBO2, true, false},
        {"mix3.5/mix2.5:plain", "mix3.5/mix2.5:plain", TQ_MIX3_5, TQ_MIX2_5, true, false},
        {"prod3", "prod3/mse3", TQ_PROD3, TQ_MSE3, false, false},
        {"f16", "f16", TQ_F16, TQ_F16, false, false},
        {"turbo3_tcq/tq2_0", "turbo3/turbo2", TQ_TURBO3, TQ_TURBO2, false, false},
        {"tbq3:tail=128", "turbo3", TQ_TURBO3, TQ_TURBO3, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kv_types t;
        struct error err;
        char name[KV_NAME_BYTES];
        assert_int_equal(kv_types_parse(&t, cases[i].text, &err), STATUS_OK);
        assert_true(t.k == cases[i].k && t.v == cases[i].v);
        assert_true(t.plain == cases[i].plain && t.tail == 128);
        assert_true(t.uniform == cases[i].uniform);
        assert_string_equal(kv_types_name(name, &t), cases[i].name);
    }
}

static void test_tail(void **state)
{
    (void)state;
    static const struct {
        const char *text, *name;
        int tail;
    } cases[] = {
        {"turbo4:tail=256", "turbo4:tail=256", 256},
        {"turbo4:tail=0", "turbo4:tail=0", 0},
        {"turbo4:tail=1", "turbo4:tail=64", 64},
        {"tiny:tail=129:plain", "turbo3/turbo2:plain:tail=192", 192},
        {"mix3.5/mix2.5:uniform:tail=1048576:plain",
         "mix3.5/mix2.5:plain:uniform:tail=1048576", 1048576},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kv_types t;
        struct error err;
        char name[KV_NAME_BYTES];
        assert_int_equal(kv_types_parse(&t, cases[i].text, &err), STATUS_OK);
        assert_int_equal(t.tail, cases[i].tail);
        assert_string_equal(kv_types_name(name, &t), cases[i].name);
    }
}

/* Bits of llama.cpp's blocks: of 32 values, with one or two f16 numbers. */
static void test_types_of_others(void **state)
{
    (void)state;
    static const struct {
        const char *text, *bits, *above, *below;
    } cases[] = {
        {"q5_1", "6 bits", "turbo8 (8.1)", "turbo4 (4.1)"},
        {"q5_0", "5.5 bits", "turbo8 (8.1)", "turbo4 (4.1)"},
        {"q4_1", "5 bits", "turbo8 (8.1)", "turbo4 (4.1)"},
        {"iq4_nl", "4.5 bits", "turbo8 (8.1)", "turbo4 (4.1)"},
        {"turbo4/iq4_nl", "4.5 bits", "turbo8 (8.1)", "turbo4 (4.1)"},
        {"q8_1", "9 bits", "f16 (16.0)", "turbo8 (8.1)"},
        {"bf16", "16 bits", "f16", "as many"},
        {"int4", "4 bits", "turbo4 (4.1)", "turbo3 (3.1)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kv_types t;
        struct error err;
        assert_int_equal(kv_types_parse(&t, cases[i].text, &err), STATUS_BAD_ARG);
        assert_non_null(strstr(err.text, cases[i].bits));
        assert_non_null(strstr(err.text, cases[i].above));
        assert_non_null(strstr(err.text, cases[i].below));
    }
}

static void test_wrong_names(void **state)
{
    (void)state;
    static const struct {
        const char *text, *word;
    } cases[] = {
        {"turbo5", "turbo5"},
        {"", "unknown"},
        {"turbo4:", "plain"},
        {"turbo4:plain:plain", "plain"},
        {"turbo4:plain:uniform:plain", "once"},
        {"turbo4:uniform:uniform", "once"},
        {"f16:uniform", "uniform"},
        {"turbo4:Plain", "plain"},
        {"turbo4:plain/turbo3", "plain"},
        {":plain", "unknown"},
        {"f16:plain", "compressed"},
        {"f32/f16:plain", "compressed"},
        {"turbo4/", "unknown"},
        {"turbo4:tail", "tail=N"},
        {"turbo4:tail=", "tail=N"},
        {"turbo4:tail=-1", "tail=N"},
        {"turbo4:tail=1x", "tail=N"},
        {"turbo4:tail=1048577", "1048576"},
        {"turbo4:tail=99999999999999999999", "1048576"},
        {"turbo4:tail=1:tail=1", "once"},
        {"f16:tail=64", "compressed"},
        {"/turbo4", "unknown"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct kv_types t = {.tail = 77};
        struct error err;
        assert_int_equal(kv_types_parse(&t, cases[i].text, &err), STATUS_BAD_ARG);
        assert_non_null(strstr(err.text, cases[i].word));
        assert_int_equal(t.tail, 77);
    }
    char text[1000];
    struct kv_types t;
    struct error err;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = 0;
    assert_int_equal(kv_types_parse(&t, text, &err), STATUS_BAD_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_come_back),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_types_of_others),
        cmocka_unit_test(test_wrong_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
