/* arch_gemma2.c - Gemma 2: every other layer has a window, scores and logits are capped,
 * norms before and behind both parts.  Source: arXiv 2408.00118. */
#include <math.h>

#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status gemma2_hparams(struct hparams *hp, const struct gguf *g,
                                  struct error *err)
{
    enum { LAYERS_27B = 46 };
    double scores, logits;
    enum status s;
    hp->embd_scale = sqrtf((float)hp->n_embd);
    /* The 27B model scales by the width over the heads, not by the head size. */
    if (hp->n_layer == LAYERS_27B &&
        (s = hparams_attn_scale(hp, g, "gemma2",
                                sqrt((double)hp->n_head / (double)hp->n_embd), err)))
        return s;
    if ((s = hparams_double(&scores, g, "gemma2", "attn_logit_softcapping", 0, 1e6, 50,
                            err)) ||
        (s = hparams_double(&logits, g, "gemma2", "final_logit_softcapping", 0, 1e6, 30,
                            err)))
        return s;
    hp->attn_softcap = (float)scores;
    hp->logit_softcap = (float)logits;
    return hparams_window(hp, g, "gemma2", 2, hp->rope.theta, err);
}

const struct arch arch_gemma2 = {
    .name = "gemma2",
    .rope_pairing = ROPE_NEOX,
    .post_norms = true,
    .activation = ACTIVATION_GELU,
    .hparams = gemma2_hparams,
    .mixer = {[LAYER_FULL] = &mixer_attn, [LAYER_WINDOW] = &mixer_attn},
    .ffn = &ffn_dense,
};
