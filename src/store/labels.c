/* labels.c - what other programs show beside a model's name. */
#include "store/labels.h"

#include <stdio.h>

void label_arch(char out[64], const struct gguf *g)
{
    struct gguf_str s;
    if (gguf_str(g, "general.architecture", &s, NULL) || s.n == 0 || s.n >= 64)
        s = (struct gguf_str){"unknown", 7};
    snprintf(out, 64, "%.*s", (int)s.n, s.s);
}

/* general.file_type, as llama.cpp numbers it. */
static const char *file_type_name(int64_t type)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",     [2] = "Q4_0",    [3] = "Q4_1",
        [7] = "Q8_0",     [8] = "Q5_0",    [9] = "Q5_1",    [10] = "Q2_K",
        [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L", [14] = "Q4_K_S",
        [15] = "Q4_K_M",  [16] = "Q5_K_S", [17] = "Q5_K_M", [18] = "Q6_K",
        [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL", [26] = "IQ3_S",
        [27] = "IQ3_M",   [28] = "IQ2_S",  [29] = "IQ2_M",  [30] = "IQ4_XS",
        [31] = "IQ1_M",   [32] = "BF16",   [36] = "TQ1_0",  [37] = "TQ2_0",
        [38] = "MXFP4",
    };
    const size_t n = sizeof names / sizeof *names;
    return type >= 0 && (size_t)type < n && names[type] ? names[type] : "unknown";
}

/* The type that most bytes of the tensors have, for a file that does not say. */
static const char *most_bytes(const struct gguf *g)
{
    size_t sum[64] = {0}, best = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        if ((unsigned)t->dtype < 64)
            sum[t->dtype] += t->bytes;
    }
    for (size_t i = 1; i < 64; i++)
        if (sum[i] > sum[best])
            best = i;
    const struct dtype_traits *d = dtype_find((uint32_t)best);
    return d && sum[best] ? d->name : "unknown";
}

const char *label_type(const struct gguf *g)
{
    int64_t type;
    if (gguf_int_or(g, "general.file_type", 0, 1 << 20, -1, &type, NULL) || type < 0)
        return most_bytes(g);
    return file_type_name(type);
}

uint64_t label_params(const struct gguf *g)
{
    uint64_t n = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        n += (uint64_t)t->ne[0] * (uint64_t)t->ne[1] * (uint64_t)t->ne[2] *
             (uint64_t)t->ne[3];
    }
    return n;
}

void label_count(char out[24], uint64_t count)
{
    const double n = (double)count;
    if (n >= 1e12)
        snprintf(out, 24, "%.1fT", n / 1e12);
    else if (n >= 1e9)
        snprintf(out, 24, "%.1fB", n / 1e9);
    else if (n >= 1e6)
        snprintf(out, 24, "%.2fM", n / 1e6);
    else if (n >= 1e3)
        snprintf(out, 24, "%.2fK", n / 1e3);
    else
        snprintf(out, 24, "%.0f", n);
}
