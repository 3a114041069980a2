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

/* What tensors say of a file, for people: nothing is built on it. */
static const struct {
    const char *what;
    const char *parts[3]; // behind "blk.<i>.", how one of its names begins
} signs[] = {
    {"latent attention", {"attn_kv_a"}},
    {"attention", {"attn_q.", "attn_qkv."}},
    {"sink logits", {"attn_sinks"}},
    {"recurrent layers", {"ssm_", "time_mix_", "shortconv"}},
    {"experts", {"ffn_gate_exps", "ffn_gate_up_exps", "ffn_up_exps"}},
    {"a shared expert", {"ffn_gate_shexp", "ffn_up_shexp"}},
    {"dense layers", {"ffn_up."}},
    {"cross attention", {"cross_attn"}},
};

static bool has_sign(const struct gguf *g, const char *part)
{
    for (int i = 0; i < gguf_n_tensors(g); i++) {
        const char *name = gguf_tensor_at(g, i)->name;
        if (strncmp(name, "blk.", 4))
            continue;
        name += 4 + strspn(name + 4, "0123456789");
        if (*name == '.' && !strncmp(name + 1, part, strlen(part)))
            return true;
    }
    return false;
}

static void describe(struct buf *to, const struct gguf *g)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        for (int k = 0; k < 3 && signs[i].parts[k]; k++)
            if (has_sign(g, signs[i].parts[k])) {
                buf_printf(to, "%s%s", to->len ? ", " : "", signs[i].what);
                break;
            }
}

static const char *text_of(const struct buf *b)
{
    return b->len && !b->failed ? b->data : "nothing";
}

enum status arch_of(const struct arch **out, const struct gguf *g, struct error *err)
{
    struct gguf_str name;
    const enum status s = gguf_str(g, "general.architecture", &name, err);
    if (s == STATUS_NOT_FOUND)
        return fail(err, STATUS_BAD_FILE,
                    "general.architecture is missing: not a model file");
    if (s)
        return s;
    struct buf known, found;
    buf_init(&known, 1024);
    buf_init(&found, 1024);
    for (size_t i = 0; i < sizeof arch_list / sizeof *arch_list; i++) {
        const char *a = arch_list[i]->name;
        if (strlen(a) == name.n && !memcmp(a, name.s, name.n)) {
            *out = arch_list[i];
            buf_release(&known);
            buf_release(&found);
            return STATUS_OK;
        }
        buf_printf(&known, "%s%s", i ? ", " : "", a);
    }
    describe(&found, g);
    const enum status bad =
        fail(err, STATUS_UNSUPPORTED,
             "architecture '%.*s' is not supported: it has %s, but how they go together "
             "is not known; known are %s",
             (int)(name.n < 40 ? name.n : 40), name.s, text_of(&found), text_of(&known));
    buf_release(&known);
    buf_release(&found);
    return bad;
}
