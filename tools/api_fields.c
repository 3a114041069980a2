/* api_fields - the tables of request fields of all dialects, as docs/api.md has them. */
#include <stdio.h>

#include "dialect/dialect.h"

static const struct dialect *const dialects[] = {&dialect_openai, &dialect_anthropic,
                                                 &dialect_ollama};

int main(void)
{
    struct buf out;
    buf_init(&out, (size_t)1 << 24);
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        for (int k = 0; k < dialects[i]->n_table; k++)
            fields_print(&out, dialects[i]->tables[k]);
    fwrite(out.data, 1, out.len, stdout);
    const int rc = out.failed;
    buf_release(&out);
    return rc;
}
