/* arch_gpt_oss.c - gpt-oss: every other layer has a window, attention has sinks, experts
 * have biases and a clamped activation.  Source: arXiv 2508.10925. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status gpt_oss_hparams(struct hparams *hp, const struct gguf *g,
                                   struct error *err)
{
    hp->moe.gating = GATING_SOFTMAX_USED;
    const enum status s = hparams_moe(hp, g, "gpt-oss", err);
    return s ? s : hparams_window(hp, g, "gpt-oss", 2, hp->rope.theta, err);
}

const struct arch arch_gpt_oss = {
    .name = "gpt-oss",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_SINK_LOGITS,
    .ffn_norm = "post_attention_norm.weight",
    .activation = ACTIVATION_SILU_CLAMPED,
    .hparams = gpt_oss_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_WINDOW] = &mixer_attn},
    .ffn = &ffn_dense,
};
