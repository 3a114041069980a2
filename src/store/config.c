/* config.c - what a model's config says: family, size, types. */
#include "store/create.h"
#include "store/labels.h"

enum status create_config(json_t **out, const struct gguf *g, struct error *err)
{
    char arch[64], size[24];
    label_arch(arch, g);
    label_count(size, label_params(g));
    *out = json_pack("{s:s, s:s, s:[s], s:s, s:s}", "model_format", "gguf",
                     "model_family", arch, "model_families", arch, "model_type", size,
                     "file_type", label_type(g));
    return *out ? STATUS_OK : fail(err, STATUS_BAD_FILE, "the GGUF's names are no text");
}
