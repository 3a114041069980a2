#include "store/param_lines.h"

#include <stdint.h>

static int append_dump(const char *p, size_t n, void *out)
{
    return buf_append(out, p, n) ? 0 : -1;
}

void store_print_params(struct buf *b, const json_t *params, int width,
                        const char *indent)
{
    const char *name;
    const json_t *v, *one;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)params, name, v)
    {
        const size_t n = json_is_array(v) ? json_array_size(v) : 1;
        for (i = 0; i < n; i++) {
            one = json_is_array(v) ? json_array_get(v, i) : v;
            buf_printf(b, "%s%-*s ", indent, width, name);
            json_dump_callback(one, append_dump, b,
                               JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
            buf_puts(b, "\n");
        }
    }
}
