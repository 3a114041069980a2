/* Any template of Go over one chat, within small limits.  What it becomes is always a
 * template of Jinja that compiles.  U+E000 stands in every string of the chat: a template
 * that does not write it can only show it as input. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/go_template.h"
#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static const char chat[] =
    "{\"messages\": [{\"role\": \"system\", \"content\": \"s\\ue000\"},"
    "{\"role\": \"user\", \"content\": \"a <b> \\u00e9\\ue000\\n\"},"
    "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\":"
    "{\"name\": \"f\\ue000\", \"arguments\": {\"x\": [1, 2.5, true], \"\\ue000\": "
    "\"y\\ue000\"}}}]}, {\"role\": \"tool\", \"content\": \"r\\ue000\"}],"
    "\"tools\": [{\"function\": {\"name\": \"\\ue000f\"}}]}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    const struct template_limits limits = {
        .steps = 20000, .output_bytes = 1 << 16, .memory_bytes = 1 << 20, .depth = 16};
    struct template *t;
    struct template_output out;
    struct error err = {0};
    struct buf jinja;
    const char *s = (const char *)data;
    buf_init(&jinja, 1 << 20);
    const enum status made = go_template_translate(&jinja, s, n, &err);
    const enum status s_compiled = template_compile_go(&t, s, n, &err);
    /* What can be translated is right. */
    if (!made && go_template_check(s, n, NULL))
        abort();
    /* Beyond the translation only the bytes and the bounds of Jinja can be wrong. */
    if (!made && s_compiled && s_compiled != STATUS_LIMIT && !strstr(err.text, "UTF-8"))
        abort();
    buf_release(&jinja);
    if (s_compiled)
        return 0;
    json_t *vars = json_loads(chat, 0, NULL);
    if (template_render(t, vars, 1700000000, &limits, &out, &err) == STATUS_OK) {
        for (size_t i = 0; !memchr(data, 0xee, n) && i < out.text.len; i++)
            if ((uint8_t)out.text.data[i] == 0xee && !out.mark.data[i])
                abort();
        template_output_release(&out);
    }
    json_decref(vars);
    template_close(t);
    return 0;
}
