/* shapes.h - the numbers of published models, by bare names, as a converter writes them
 * into a GGUF: for plans and measurements without a download. */
#ifndef CLI_SHAPES_H
#define CLI_SHAPES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/status.h"
#include "cli/weight_types.h"
#include "model/weights.h"

struct gguf_writer;
struct shape;

/* What the models of a family have in common. */
struct shape_family {
    const char *arch;     // general.architecture
    const char *optional; // names of tensors, with spaces between: those that there are
    void (*put)(struct gguf_writer *w, const struct shape *s); // its own keys; or NULL
};

struct shape {
    const char *name;
    const struct shape_family *family;
    int n_layer, n_embd, n_head, n_head_kv, head_dim, n_ff, n_vocab, n_ctx;
    bool tied;          // the embedding is the output head, too
    int n_rot;          // 0: head_dim
    int window;         // of layers with one; 0: none have
    int n_expert;       // 0: none
    int n_used;         // of them
    int n_ff_expert;    // hidden values of one
    int n_ff_shared;    // of the shared one
    int n_value_head;   // of gated delta nets
    enum dtype experts; // the type they are published in; F32: no certain one
};

/* That of the first n bytes of name, any case; or NULL. */
const struct shape *shape_find(const char *name, size_t n);
/* All layers are attention over everything and a gated linear unit. */
bool shape_is_plain(const struct shape *s);
/* " NAME NAME ..." of all, or of the plain ones. */
void shape_names(struct buf *b, bool plain);

/* The metadata of a file without tensors, behind what is in b. */
enum status shape_metadata(struct buf *b, const struct shape *s, struct error *err);

/* The tensors of a file whose matrices have a type of weight_types_parse. */
struct shape_tensors {
    const struct shape *shape;
    struct weight_types types;
};
struct shape_tensors shape_tensors(const struct shape *s, int type);
/* t must outlive it. */
struct weights_shape shape_weights(const struct shape_tensors *t);

#endif
