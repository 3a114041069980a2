#include "model/arch.h"

#include <string.h>

#include "base/buf.h"

#define ARCH(name) extern const struct arch arch_##name;
#include "model/archs.def"
#undef ARCH

static const struct arch *const arch_list[] = {
#define ARCH(name) &arch_##name,
#include "model/archs.def"
#undef ARCH
};

enum status arch_of(const struct arch **out, const struct gguf *g, struct error *err)
{
    struct gguf_str name;
    const enum status s = gguf_str(g, "general.architecture", &name, err);
    if (s == STATUS_NOT_FOUND)
        return fail(err, STATUS_BAD_FILE,
                    "general.architecture is missing: not a model file");
    if (s)
        return s;
    struct buf known;
    buf_init(&known, 1024);
    for (size_t i = 0; i < sizeof arch_list / sizeof *arch_list; i++) {
        const char *a = arch_list[i]->name;
        if (strlen(a) == name.n && !memcmp(a, name.s, name.n)) {
            *out = arch_list[i];
            buf_release(&known);
            return STATUS_OK;
        }
        buf_printf(&known, "%s%s", i ? ", " : "", a);
    }
    const enum status bad =
        fail(err, STATUS_UNSUPPORTED,
             "architecture '%.*s' is not supported; this build knows %s",
             (int)(name.n < 40 ? name.n : 40), name.s, known.data ? known.data : "");
    buf_release(&known);
    return bad;
}
