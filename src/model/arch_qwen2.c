/* arch_qwen2.c - Qwen2 and Qwen2.5: biases on queries, keys and values.
 * Source: arXiv 2407.10671. */
#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .rope_pairing = ROPE_NEOX,
    .mixer = {[LAYER_FULL] = &mixer_attn},
    .ffn = &ffn_dense,
};
