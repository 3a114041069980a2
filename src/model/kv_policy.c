#include "model/kv_policy.h"

#include "model/model_impl.h"

/* Bits of a code, rounded up; those of exact types are many. */
static int code_bits(enum tq_type t)
{
    switch (t) {
    case TQ_TURBO2:
    case TQ_MSE2:
    case TQ_PROD2:
        return 2;
    case TQ_TURBO3:
    case TQ_MSE3:
    case TQ_PROD3:
    case TQ_MIX2_5:
        return 3;
    default:
        return 4;
    }
}

static int count_protected(int n_paged, const struct kv_types *asked)
{
    enum { MANY_LAYERS = 16, FEW_LAYERS = 4 };
    const bool coarse = code_bits(asked->k) <= 3 || code_bits(asked->v) <= 2;
    if (!coarse || asked->uniform || n_paged < FEW_LAYERS)
        return 0;
    return n_paged > MANY_LAYERS ? 2 : 1;
}

static enum tq_type ring_type(enum tq_type t)
{
    return t == TQ_F32 ? TQ_F32 : TQ_F16;
}

void kv_policy(struct kv_types *out, const struct model *m, const struct kv_types *asked)
{
    int n_paged = 0, ordinal = 0;
    for (int i = 0; i < m->hp.n_layer; i++)
        n_paged += m->layers[i].mixer->store(m, i) == KV_PAGED;
    const int n_protected = count_protected(n_paged, asked);
    for (int i = 0; i < m->hp.n_layer; i++) {
        out[i] = *asked;
        switch (m->layers[i].mixer->store(m, i)) {
        case KV_PAGED:
            if (ordinal < n_protected || ordinal >= n_paged - n_protected)
                out[i].k = out[i].v = TQ_TURBO8;
            ordinal++;
            break;
        case KV_RING:
            out[i].k = ring_type(asked->k);
            out[i].v = ring_type(asked->v);
            break;
        case KV_LATENT:
            if (tq_type_compressed(asked->k))
                out[i].k = TQ_TURBO8;
            out[i].v = out[i].k;
            break;
        case KV_STATE:
            break;
        }
    }
}

enum status kv_policy_layer(struct kv_layer *out, const struct model *m, int layer,
                            const struct kv_types *asked, int n_ctx, struct error *err)
{
    struct kv_types types[HPARAMS_LAYER_MAX];
    struct state_need need;
    const struct mixer *mixer = m->layers[layer].mixer;
    kv_policy(types, m, asked);
    const enum status s = mixer->need(&need, m, layer, &types[layer], n_ctx, err);
    *out = (struct kv_layer){
        .store = mixer->store(m, layer),
        .types = types[layer],
        .token_bytes = need.token_bytes,
        .seq_bytes = need.seq_bytes,
        .mixer = mixer->name,
    };
    return s;
}
