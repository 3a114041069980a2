/* arch_qwen3next.c - Qwen3-Next and Qwen3-Coder-Next: gated delta nets, every fourth
 * layer gated attention, experts with a shared one. Source:
 * transformers/models/qwen3_next; Gated Delta Networks, arXiv 2412.06464. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status qwen3next_hparams(struct hparams *hp, const struct gguf *g,
                                     struct error *err)
{
    enum status s;
    hp->moe.normalize = true;
    if ((s = hparams_drop_nextn(hp, g, "qwen3next", err)) ||
        (s = hparams_moe(hp, g, "qwen3next", err)))
        return s;
    return hparams_delta(hp, g, "qwen3next", err);
}

const struct arch arch_qwen3next = {
    .name = "qwen3next",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM | ATTN_GATE,
    .ffn_norm = "post_attention_norm.weight",
    .hparams = qwen3next_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_RECURRENT] = &mixer_delta},
    .ffn = &ffn_dense,
};
