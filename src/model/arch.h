/* arch.h - what a model family must say about itself.
 *
 * An architecture is data and, where its keys need it, a function; the transformer loop
 * (forward.c) is written once.  To add one made of parts that exist: write
 * arch_<name>.c, add ARCH(<name>) to archs.def. */
#ifndef MODEL_ARCH_H
#define MODEL_ARCH_H

#include "base/status.h"
#include "gguf/gguf.h"
#include "model/hparams.h"

struct mixer;
struct ffn;

enum activation {
    ACTIVATION_SILU,
    ACTIVATION_GELU,         // its tanh form
    ACTIVATION_SILU_CLAMPED, // of gpt-oss
};

/* What attention does besides, for all layers that have it. */
enum attn_trait {
    ATTN_QK_NORM = 1, // queries and keys are normed by head before RoPE
    ATTN_GATE = 2,    // query rows hold a gate behind each head; sigmoid(gate) on outputs
    ATTN_SINK_LOGITS = 4, // a logit for each head that takes weight and has no value
};

struct arch {
    const char *name; // general.architecture in the GGUF
    enum rope_pairing rope_pairing;
    unsigned attn; // enum attn_trait
    /* Tensor of the norm in front of the feed-forward part; NULL: ffn_norm.weight. */
    const char *ffn_norm;
    /* The outputs of both parts are normed before they are added: by
     * post_attention_norm.weight and post_ffw_norm.weight. */
    bool post_norms;
    enum activation activation;
    bool delta_heads_tiled; // value head h of a delta net goes with key head h %
                            // n_key_head
    /* What the shared keys do not say; may refuse a variant.  NULL: nothing. */
    enum status (*hparams)(struct hparams *hp, const struct gguf *g, struct error *err);
    const struct mixer *mixer[3]; // by enum layer_kind; NULL: it has no such layers
    const struct ffn *ffn;        // of dense layers; those with experts are ffn_moe
};

/* The architecture of a file; an unknown one is STATUS_UNSUPPORTED with its name. */
enum status arch_of(const struct arch **out, const struct gguf *g, struct error *err);

#endif
