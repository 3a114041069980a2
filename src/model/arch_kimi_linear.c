/* arch_kimi_linear.c - Kimi-Linear: delta attention with a decay for each channel, every
 * fourth layer latent attention without positions, experts chosen by sigmoids.
 * Source: Kimi Linear, arXiv 2510.26692. */
#include <math.h>

#include "model/arch.h"
#include "model/ffn.h"
#include "model/mixer.h"

static enum status load_latent(struct hparams *hp, const struct gguf *g,
                               struct error *err)
{
    enum { MAX_DIM = 1024 };
    struct mla_params *l = &hp->mla;
    enum status s;
    if ((s = hparams_int(&l->rank, g, "kimi-linear", "attention.kv_lora_rank", 1,
                         hp->head_dim - 1, -1, err)) ||
        (s = hparams_int(&l->d_k, g, "kimi-linear", "attention.key_length_mla", 1,
                         MAX_DIM, -1, err)) ||
        (s = hparams_int(&l->d_v, g, "kimi-linear", "attention.value_length_mla", 1,
                         MAX_DIM, -1, err)))
        return s;
    l->d_rope = hp->head_dim - l->rank;
    if (hp->n_head_kv != 1 || hp->head_dim_v != l->rank || l->d_rope >= l->d_k)
        return fail(err, STATUS_BAD_FILE,
                    "kimi-linear.attention: %d kv heads, keys of %d and values of %d do "
                    "not go with a latent of %d and heads of %d",
                    hp->n_head_kv, hp->head_dim, hp->head_dim_v, l->rank, l->d_k);
    return hparams_attn_scale(hp, g, "kimi-linear", 1.0 / sqrt((double)l->d_k), err);
}

static enum status kimi_hparams(struct hparams *hp, const struct gguf *g,
                                struct error *err)
{
    enum { MAX_TAP = 16, MAX_DIM = 1024 };
    struct linear_params *l = &hp->linear;
    enum status s;
    hp->moe.normalize = true;
    hp->moe.gating = GATING_SIGMOID;
    if ((s = hparams_moe(hp, g, "kimi-linear", err)) || (s = load_latent(hp, g, err)) ||
        (s = hparams_int(&l->n_tap, g, "kimi-linear", "ssm.conv_kernel", 2, MAX_TAP, -1,
                         err)) ||
        (s = hparams_int(&l->d_k, g, "kimi-linear", "kda.head_dim", 1, MAX_DIM, -1, err)))
        return s;
    l->d_v = l->d_k;
    l->n_key_head = l->n_value_head = hp->n_head;
    return STATUS_OK;
}

const struct arch arch_kimi_linear = {
    .name = "kimi-linear",
    .rope_pairing = ROPE_NEOX,
    .hparams = kimi_hparams,
    .mixer = {[LAYER_FULL] = &mixer_mla, [LAYER_RECURRENT] = &mixer_kda},
    .ffn = &ffn_dense,
};
