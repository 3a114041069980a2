/* fuzz_load_report.c - what servers say of their load: numbers within the bounds, or a
 * reason why not. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "router/load_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check_report(enum load_found found, const struct load_report *r,
                         const char *why)
{
    if (found == LOAD_FOUND && (r->n_running < 0 || r->n_running > LOAD_MOST ||
                                r->n_waiting < 0 || r->n_waiting > LOAD_MOST))
        abort();
    if (!why || (found == LOAD_WRONG) != (*why != 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct load_report r;
    const char *why;
    char *text = mem_array(n + 1, 1); // of that size, so that a byte too far is seen
    if (!text)
        return 0;
    if (n)
        memcpy(text, data, n);
    enum load_found found = load_report_metrics(&r, text, n, &why);
    check_report(found, &r, why);
    found = load_report_slots(&r, text, n, &why);
    check_report(found, &r, why);
    mem_free(text);
    return 0;
}
