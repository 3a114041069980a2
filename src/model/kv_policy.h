/* kv_policy.h - which types each layer keeps keys and values in.
 *
 * Decided once, from what the mixers say of their layers:
 *
 *   paged    the types that were asked for.  With keys of 3 bits or fewer or values of 2
 *            the outermost layers get turbo8: two at each end, one if there are at most
 *            16 such layers, none if there are fewer than 4.  Layers count by their place
 *            among the paged ones, so that the layers of a hybrid that have no cache, or
 *            an uncompressed one, do not use the protection up.
 *   ring     f16, or f32 if that was asked for
 *   latent   turbo8, whatever compressed type was asked for: a latent is read as keys and
 *            as values by all heads
 *   state    f32; no types */
#ifndef MODEL_KV_POLICY_H
#define MODEL_KV_POLICY_H

#include <stddef.h>

#include "base/status.h"
#include "model/model.h"

/* out [n_layer] */
void kv_policy(struct kv_types *out, const struct model *m, const struct kv_types *asked);

/* One layer as a context of n_ctx tokens would keep it. */
struct kv_layer {
    enum kv_store store;
    struct kv_types types;         // not of KV_STATE
    size_t token_bytes, seq_bytes; // for each token, and for each sequence
    const char *mixer;             // its name
};
enum status kv_policy_layer(struct kv_layer *out, const struct model *m, int layer,
                            const struct kv_types *asked, int n_ctx, struct error *err);

#endif
