/* arch_llama.c - Llama 1 to 3, Mistral 7B, SmolLM2, TinyLlama: attention and a SwiGLU in
 * every layer.  Q and K rows are stored so that RoPE pairs are neighbours.
 * Source: transformers/models/llama/modeling_llama.py. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status llama_hparams(struct hparams *hp, const struct gguf *g,
                                 struct error *err)
{
    (void)hp;
    int64_t n_expert;
    const enum status s =
        gguf_int_or(g, "llama.expert_count", 0, 1 << 20, 0, &n_expert, err);
    if (s)
        return s;
    if (n_expert)
        return fail(
            err, STATUS_UNSUPPORTED,
            "llama.expert_count: mixtures of experts are not supported by this build");
    return STATUS_OK;
}

static const struct mixer *llama_mixer(const struct hparams *hp, int layer)
{
    (void)hp, (void)layer;
    return &mixer_attn;
}

static const struct ffn *llama_ffn(const struct hparams *hp, int layer)
{
    (void)hp, (void)layer;
    return &ffn_swiglu;
}

const struct arch arch_llama = {
    .name = "llama",
    .rope_pairing = ROPE_NORM,
    .hparams = llama_hparams,
    .mixer = llama_mixer,
    .ffn = llama_ffn,
};
