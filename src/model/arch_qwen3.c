/* arch_qwen3.c - Qwen3, dense: queries and keys are normed by head.
 * Source: arXiv 2505.09388. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

const struct arch arch_qwen3 = {
    .name = "qwen3",
    .rope_pairing = ROPE_NEOX,
    .attn = ATTN_QK_NORM,
    .mixer = {[LAYER_FULL] = &mixer_attn},
    .ffn = &ffn_dense,
};
