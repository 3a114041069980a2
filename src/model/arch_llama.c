/* arch_llama.c - Llama 1 to 3, Mistral 7B, SmolLM2, TinyLlama; Mixtral has experts.  Q
 * and K rows are stored so that RoPE pairs are neighbours. Source:
 * transformers/models/llama/modeling_llama.py; Mixtral, arXiv 2401.04088. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status llama_hparams(struct hparams *hp, const struct gguf *g,
                                 struct error *err)
{
    hp->moe.normalize = true;
    return hparams_moe(hp, g, "llama", err);
}

const struct arch arch_llama = {
    .name = "llama",
    .rope_pairing = ROPE_NORM,
    .hparams = llama_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn},
    .ffn = &ffn_dense,
};
