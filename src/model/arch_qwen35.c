/* arch_qwen35.c - Qwen3.5 and Qwen3.6, dense: as Qwen3-Next, with the heads of delta nets
 * in another order.  Positions in sections are those of text: all the same.
 * Source: transformers/models/qwen3_5. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status qwen35_hparams(struct hparams *hp, const struct gguf *g,
                                  struct error *err)
{
    const enum status s = hparams_drop_nextn(hp, g, "qwen35", err);
    return s ? s : hparams_delta(hp, g, "qwen35", err);
}

const struct arch arch_qwen35 = {
    .name = "qwen35",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM | ATTN_GATE,
    .ffn_norm = "post_attention_norm.weight",
    .delta_heads_tiled = true,
    .hparams = qwen35_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_RECURRENT] = &mixer_delta},
    .ffn = &ffn_dense,
};
