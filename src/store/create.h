/* create.h - a model from a Modelfile. */
#ifndef STORE_CREATE_H
#define STORE_CREATE_H

#include <stdbool.h>

#include "gguf/gguf.h"
#include "store/modelfile.h"
#include "store/store.h"

struct create_options {
    const char
        *folder;      // of the Modelfile: FROM is relative to it; NULL: the current one.
                      // "" for FROM as a name only, where no file may be read
    const char *home; // for "~"; NULL: unknown
    const struct digest *blob; // a GGUF of the store in place of FROM, or NULL
    /* What is done, as Ollama says it ("creating new layer sha256:..."); may be NULL. */
    void (*say)(void *ctx, const char *text);
    /* Bring the model that FROM names and nobody has into the store; NULL: it is missed.
     */
    enum status (*fetch)(void *ctx, const char *model, struct error *err);
    void *ctx;
};

/* What FROM names, where that is no file, no model of the store, but could be one of a
 * registry; else NULL. */
const char *create_missing(struct store *s, const struct modelfile *f,
                           const struct create_options *o);

/* FROM a GGUF file, which becomes a blob, or a model of the store, whose layers are used
 * again: TEMPLATE, SYSTEM, MESSAGEs and LICENSEs replace its own, PARAMETERs are laid
 * over them.  ADAPTER, DRAFT and a second FROM are STATUS_UNSUPPORTED. */
enum status store_create(struct store *s, const struct model_name *name,
                         const struct modelfile *f, const struct create_options *o,
                         struct error *err);

/* The properties of a GGUF as the config of a model, without its layers. */
enum status create_config(json_t **out, const struct gguf *g, struct error *err);

/* Is version a ("0.14.0", with or without v) newer than b?  Both are what REQUIRES takes.
 */
bool create_version_newer(const char *a, const char *b);

/* The Modelfile of a stored model that create takes back: FROM is a path or a name. */
struct stored_model;
enum status create_print_modelfile(struct buf *out, const struct stored_model *m,
                                   const char *from, struct error *err);

#endif
