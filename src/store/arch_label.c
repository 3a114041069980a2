#include "store/arch_label.h"

#include <stdio.h>

void store_arch_label(char out[64], const struct gguf *g)
{
    struct gguf_str s;
    if (gguf_str(g, "general.architecture", &s, NULL) || s.n == 0 || s.n >= 64)
        s = (struct gguf_str){"unknown", 7};
    snprintf(out, 64, "%.*s", (int)s.n, s.s);
}
