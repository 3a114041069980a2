/* arch_phi3.c - Phi-3, Phi-3.5 and Phi-4: fused projections, factors for long contexts.
 * Its sliding window is as long as the original context and is not applied.
 * Source: arXiv 2404.14219; LongRoPE, arXiv 2402.13753. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

const struct arch arch_phi3 = {
    .name = "phi3",
    .rope_pairing = ROPE_NEOX,
    .mixer = {[LAYER_FULL] = &mixer_attn},
    .ffn = &ffn_dense,
};
