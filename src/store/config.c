/* config.c - what a model's config says: family, size, types. */
#include <stdio.h>
#include <string.h>

#include "store/arch_label.h"
#include "store/create.h"

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

/* As Ollama writes numbers: "7.6B", "134.52M". */
static void print_count(char out[24], double n)
{
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

static double count_params(const struct gguf *g)
{
    double n = 0;
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        n += (double)t->ne[0] * (double)t->ne[1] * (double)t->ne[2] * (double)t->ne[3];
    }
    return n;
}

enum status create_config(json_t **out, const struct gguf *g, struct error *err)
{
    char arch[64], size[24];
    int64_t type;
    if (gguf_int_or(g, "general.file_type", 0, 1 << 20, -1, &type, NULL))
        type = -1;
    store_arch_label(arch, g);
    print_count(size, count_params(g));
    *out = json_pack("{s:s, s:s, s:[s], s:s, s:s}", "model_format", "gguf",
                     "model_family", arch, "model_families", arch, "model_type", size,
                     "file_type", type < 0 ? most_bytes(g) : file_type_name(type));
    return *out ? STATUS_OK : fail(err, STATUS_BAD_FILE, "the GGUF's names are no text");
}
