/* arch_qwen3moe.c - Qwen3 with experts (30B-A3B, Qwen3-Coder).
 * Source: arXiv 2505.09388. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status qwen3moe_hparams(struct hparams *hp, const struct gguf *g,
                                    struct error *err)
{
    hp->moe.normalize = true;
    return hparams_moe(hp, g, "qwen3moe", err);
}

const struct arch arch_qwen3moe = {
    .name = "qwen3moe",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM,
    .hparams = qwen3moe_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn},
    .ffn = &ffn_dense,
};
