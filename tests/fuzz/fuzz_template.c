/* Any template over any variables, within small limits.  The input is a template, and
 * behind a byte 0 the JSON of its variables.  Without them, U+E000 stands in every string
 * of the variables: a template that does not write it can only show it as input. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char *const plain =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"a <b> \\u00e9\\ue000\\n\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\":"
    "{\"name\": \"f\\ue000\", \"arguments\": {\"x\": [1, 2.5, true], \"\\ue000\": "
    "\"y\\ue000\"}}}]}],"
    "\"tools\": [{\"name\": \"\\ue000f\"}], \"x\": 3, \"s\": \"abc\\ue000\", \"l\": [3, "
    "1, 2]}";

/* Bytes of U+E000 that have no mark. */
static bool unmarked_input(const struct template_output *out)
{
    for (size_t i = 0; i < out->text.len; i++)
        if ((uint8_t)out->text.data[i] == 0xee && !out->mark.data[i])
            return true;
    return false;
}

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
            if (!zero && !memchr(data, 0xee, len) && !memchr(data, '\\', len) &&
                unmarked_input(&out))
                abort();
            template_output_release(&out);
        }
        template_close(t);
    }
    json_decref(vars);
    return 0;
}
