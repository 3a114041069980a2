/* Any template over any variables, within small limits.  The input is a template, and
 * behind a byte 0 the JSON of its variables. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const plain =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a <b> \\u00e9\\n\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\":"
    "{\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, true]}}}]}],"
    "\"tools\": [{\"name\": \"f\"}], \"x\": 3, \"s\": \"abc\", \"l\": [3, 1, 2]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct template_limits limits = {
        .steps = 20000, .output_bytes = 1 << 16, .memory_bytes = 1 << 20, .depth = 16};
    const uint8_t *zero = n ? memchr(data, 0, n) : NULL;
    const size_t len = zero ? (size_t)(zero - data) : n;
    struct template *t;
    struct template_output out;
    struct error err = {0};
    json_t *vars = zero ? json_loadb((const char *)zero + 1, n - len - 1, 0, NULL)
                        : json_loads(plain, 0, NULL);
    if (template_compile(&t, (const char *)data, len, &err) == STATUS_OK) {
        if (template_render(t, vars, 1700000000, &limits, &out, &err) == STATUS_OK) {
            if (out.text.len != out.mark.len || out.text.len > limits.output_bytes)
                abort();
            template_output_release(&out);
        }
        template_close(t);
    }
    json_decref(vars);
    return 0;
}
