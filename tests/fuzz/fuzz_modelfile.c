/* fuzz_modelfile.c - Modelfiles: what is accepted has a FROM and whole values, and each
 * command that can be printed comes back the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "store/modelfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool same(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* FROM first, so that it is a Modelfile. */
static void print_and_read(const struct modelfile_command *c)
{
    struct buf b;
    struct modelfile f;
    buf_init(&b, MODELFILE_BYTES * 2);
    buf_puts(&b, "FROM x\n");
    if (modelfile_print(&b, c->keyword, c->name, c->value)) {
        buf_puts(&b, "# the end\n");
        if (modelfile_parse(&f, b.data, b.len, NULL) || f.n != 2 ||
            f.commands[1].keyword != c->keyword || !same(f.commands[1].name, c->name) ||
            !same(f.commands[1].value, c->value))
            abort();
        modelfile_release(&f);
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct modelfile f;
    struct error err = {0};
    const enum status s = modelfile_parse(&f, (const char *)data, n, &err);
    if (s && !*err.text)
        abort();
    if (!s) {
        json_t *params;
        struct buf notes;
        if (!modelfile_last(&f, MODELFILE_FROM))
            abort();
        for (int i = 0; i < f.n; i++) {
            const struct modelfile_command *c = &f.commands[i];
            if (c->line < 1 || (i && c->line < f.commands[i - 1].line))
                abort();
            print_and_read(c);
        }
        buf_init(&notes, 1 << 16);
        if (!modelfile_params(&params, &f, &notes, &err) != json_is_object(params))
            abort();
        json_decref(params);
        buf_release(&notes);
    }
    modelfile_release(&f);
    return 0;
}
