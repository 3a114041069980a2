/* arch_qwen35moe.c - Qwen3.5 and Qwen3.6 with experts (35B-A3B).
 * Source: transformers/models/qwen3_5_moe. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status qwen35moe_hparams(struct hparams *hp, const struct gguf *g,
                                     struct error *err)
{
    enum status s;
    hp->moe.normalize = true;
    if ((s = hparams_drop_nextn(hp, g, "qwen35moe", err)) ||
        (s = hparams_moe(hp, g, "qwen35moe", err)))
        return s;
    return hparams_delta(hp, g, "qwen35moe", err);
}

const struct arch arch_qwen35moe = {
    .name = "qwen35moe",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM | ATTN_GATE,
    .ffn_norm = "post_attention_norm.weight",
    .delta_heads_tiled = true,
    .hparams = qwen35moe_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_RECURRENT] = &mixer_delta},
    .ffn = &ffn_dense,
};
