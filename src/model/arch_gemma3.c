/* arch_gemma3.c - Gemma 3: five layers with a window for each one without, norms before
 * and behind both parts, scaled embeddings.  Source: arXiv 2503.19786. */
#include <math.h>

#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status gemma3_hparams(struct hparams *hp, const struct gguf *g,
                                  struct error *err)
{
    enum { LAYERS_27B = 62 };
    double cap, local, global;
    enum status s;
    hp->embd_scale = sqrtf((float)hp->n_embd);
    /* The 27B model scales by the width over the heads, not by the head size. */
    if (hp->n_layer == LAYERS_27B &&
        (s = hparams_attn_scale(hp, g, "gemma3",
                                sqrt((double)hp->n_head / (double)hp->n_embd), err)))
        return s;
    if ((s = hparams_double(&cap, g, "gemma3", "final_logit_softcapping", 0, 1e6, 0,
                            err)) ||
        /* The names of Ollama's converter, where the others are missing. */
        (s = hparams_double(&global, g, "gemma3", "rope.global.freq_base", 1.001, 1e12,
                            1e6, err)) ||
        (s = hparams_double(&local, g, "gemma3", "rope.local.freq_base", 1.001, 1e12, 1e4,
                            err)) ||
        (s = hparams_double(&hp->rope.theta, g, "gemma3", "rope.freq_base", 1.001, 1e12,
                            global, err)) ||
        (s = hparams_window(hp, g, "gemma3", 6, local, err)))
        return s;
    hp->logit_softcap = (float)cap;
    hp->rope_window.scaling = ROPE_SCALING_NONE;
    return STATUS_OK;
}

const struct arch arch_gemma3 = {
    .name = "gemma3",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM,
    .post_norms = true,
    .activation = ACTIVATION_GELU,
    .hparams = gemma3_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_WINDOW] = &mixer_attn},
    .ffn = &ffn_dense,
};
