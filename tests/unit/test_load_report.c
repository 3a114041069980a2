/* What servers say of their load.  The texts are in the form of llama.cpp's
 * tools/server/README.md and of vLLM's docs/design/metrics.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "router/load_report.h"

#include <cmocka.h>

static enum load_found metrics(const char *text, struct load_report *r)
{
    const char *why;
    return load_report_metrics(r, text, strlen(text), &why);
}

static void test_metrics(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int running, waiting;
    } good[] = {
        {"# HELP llamacpp:requests_processing Number of requests processing.\n"
         "# TYPE llamacpp:requests_processing gauge\n"
         "llamacpp:requests_processing 3\n"
         "llamacpp:requests_deferred 2\n",
         3, 2},
        {"vllm:num_requests_running{engine=\"0\",model_name=\"a b}\\\"{\"} 8.0\n"
         "vllm:num_requests_running{engine=\"1\",model_name=\"m\"} 4.0 1395066363000\n"
         "vllm:num_requests_waiting{engine=\"0\",model_name=\"m\"} 1e1\r\n"
         "vllm:num_requests_waiting_by_reason{reason=\"capacity\"} 77\n"
         "vllm:num_requests_swapped{engine=\"0\"} nonsense\n",
         12, 10},
        {"llamacpp:requests_processing 0", 0, 0},
        {"x 1\nllamacpp:requests_deferred\t1000000", 0, 1000000},
    };
    struct load_report r;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(metrics(good[i].text, &r), LOAD_FOUND);
        assert_int_equal(r.n_running, good[i].running);
        assert_int_equal(r.n_waiting, good[i].waiting);
    }
    static const char *const absent[] = {"",
                                         "\n\n",
                                         "up 1\n",
                                         "# llamacpp:requests_processing 3\n",
                                         "llamacpp:requests_processing_total 3\n",
                                         " llamacpp:requests_processing 3\n",
                                         "<html>llamacpp:requests_processing 3</html>",
                                         "vllm:num_requests_running"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(metrics(absent[i], &r), LOAD_ABSENT);
}

static void test_wrong_metrics(void **state)
{
    (void)state;
    static const char *const values[] = {
        "",
        " ",
        " -1",
        " NaN",
        " +Inf",
        " 1000001",
        " 1e300",
        " 3x",
        " x3",
        "{a=\"b\"}",
        "{a=\"b",
        "{} -3",
        "{a=\"}\" 3",
        " 00000000000000000000000000000000000000000000000000000000000000000000000003"};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char text[200];
        struct load_report r;
        snprintf(text, sizeof text, "up 1\nvllm:num_requests_running%s\nup 2\n",
                 values[i]);
        const enum load_found found = metrics(text, &r);
        if (*values[i])
            assert_int_equal(found, LOAD_WRONG);
        else
            assert_int_equal(found, LOAD_ABSENT);
    }
    /* Each may be, their sum may not. */
    struct load_report r;
    assert_int_equal(metrics("vllm:num_requests_waiting{a=\"1\"} 600000\n"
                             "vllm:num_requests_waiting{a=\"2\"} 600000\n",
                             &r),
                     LOAD_WRONG);
}

static void test_slots(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum load_found found;
        int n;
    } cases[] = {
        {"[{\"id\":0,\"is_processing\":true},{\"id\":1,\"is_processing\":false},"
         "{\"id\":2,\"is_processing\":true}]",
         LOAD_FOUND, 2},
        {"[]", LOAD_FOUND, 0},
        {"", LOAD_WRONG, 0},
        {"{}", LOAD_WRONG, 0},
        {"[1]", LOAD_WRONG, 0},
        {"[{\"is_processing\":1}]", LOAD_WRONG, 0},
        {"{\"error\":{\"code\":501}}", LOAD_WRONG, 0},
        {"[{\"is_processing\":true}", LOAD_WRONG, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct load_report r;
        const char *why;
        assert_int_equal(
            load_report_slots(&r, cases[i].text, strlen(cases[i].text), &why),
            cases[i].found);
        if (cases[i].found == LOAD_FOUND)
            assert_int_equal(r.n_running, cases[i].n);
        else
            assert_true(*why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_wrong_metrics),
        cmocka_unit_test(test_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
