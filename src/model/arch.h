/* arch.h - what a model family must say about itself.
 *
 * An architecture is data plus small functions; the transformer loop (forward.c) is
 * written once.  To add one: write arch_<name>.c, add ARCH(<name>) to archs.def. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "base/status.h"
#include "gguf/gguf.h"
#include "model/hparams.h"

struct mixer;
struct ffn;

struct arch {
    const char *name; // general.architecture in the GGUF
    enum rope_pairing rope_pairing;
    /* What the shared keys do not say; may refuse a variant.  NULL: nothing. */
    enum status (*hparams)(struct hparams *hp, const struct gguf *g, struct error *err);
    const struct mixer *(*mixer)(const struct hparams *hp, int layer);
    const struct ffn *(*ffn)(const struct hparams *hp, int layer);
};

/* The architecture of a file; an unknown one is STATUS_UNSUPPORTED with its name. */
enum status arch_of(const struct arch **out, const struct gguf *g, struct error *err);

#endif
