/* hparams_parts.c - what only some architectures have: experts, windows, linear
 * attention.  Keys: the GGUF specification and the converters of each family. */
#include "model/hparams.h"

enum {
    MAX_HIDDEN = 1 << 20,
    MAX_WINDOW = 1 << 24,
    MAX_TAP = 16,
    MAX_LINEAR_HEAD = 1024,
    MAX_LINEAR_DIM = 1024,
};

/* Experts in groups, of which the best few take part in the choice. */
static enum status check_groups(const struct gguf *g, const char *arch, struct error *err)
{
    int n_group, n_used;
    enum status s;
    if ((s = hparams_int(&n_group, g, arch, "expert_group_count", 0, MOE_EXPERT_MAX, 0,
                         err)) ||
        (s = hparams_int(&n_used, g, arch, "expert_group_used_count", 0, MOE_EXPERT_MAX,
                         n_group, err)))
        return s;
    if (n_used < n_group)
        return fail(err, STATUS_UNSUPPORTED,
                    "%s.expert_group_used_count: %d of %d groups: experts in groups are "
                    "not supported by this build",
                    arch, n_used, n_group);
    return STATUS_OK;
}

enum status hparams_moe(struct hparams *hp, const struct gguf *g, const char *arch,
                        struct error *err)
{
    struct moe_params *m = &hp->moe;
    int gating, n_shared;
    double scale;
    bool normalize;
    enum status s;
    if ((s = hparams_int(&m->n_expert, g, arch, "expert_count", 0, MOE_EXPERT_MAX, 0,
                         err)) ||
        m->n_expert == 0)
        return s;
    if ((s = hparams_int(&m->n_used, g, arch, "expert_used_count", 1, m->n_expert, -1,
                         err)) ||
        (s = hparams_int(&m->n_ff, g, arch, "expert_feed_forward_length", 1, MAX_HIDDEN,
                         hp->n_ff ? hp->n_ff : -1, err)) ||
        (s = hparams_int(&n_shared, g, arch, "expert_shared_count", 0, MOE_EXPERT_MAX, 0,
                         err)) ||
        (s = hparams_int(&m->n_ff_shared, g, arch, "expert_shared_feed_forward_length", 0,
                         MAX_HIDDEN, 0, err)) ||
        (s = hparams_int(&m->n_dense, g, arch, "leading_dense_block_count", 0,
                         hp->n_layer, 0, err)) ||
        (s = hparams_int(&gating, g, arch, "expert_gating_func", 1, 3, (int)m->gating + 1,
                         err)) ||
        (s = hparams_double(&scale, g, arch, "expert_weights_scale", 0, 1e6, 0, err)) ||
        (s = gguf_bool_or(g, hparams_key(arch, "expert_weights_norm").text, m->normalize,
                          &normalize, err)))
        return s;
    m->gating = (enum expert_gating)(gating - 1);
    m->normalize = normalize;
    m->scale = scale > 0 ? (float)scale : 1.0f;
    if (n_shared > MAX_HIDDEN / m->n_ff)
        return fail(err, STATUS_BAD_FILE, "%s.expert_shared_count: %d experts of %d",
                    arch, n_shared, m->n_ff);
    if (!m->n_ff_shared)
        m->n_ff_shared = n_shared * m->n_ff;
    return check_groups(g, arch, err);
}

/* flag[i] <- element i of a key that is an array of bools, one for each block; those of
 * blocks that are not layers may be missing. */
static enum status load_flags(bool *flag, const struct hparams *hp, const struct gguf *g,
                              const char *key, struct error *err)
{
    const int at = gguf_find(g, key);
    const uint64_t n = gguf_kv_count(g, at);
    if (n != (uint64_t)hp->n_layer && n != (uint64_t)(hp->n_layer + hp->n_nextn))
        return fail(err, STATUS_BAD_FILE, "%s: %llu elements for %d blocks", key,
                    (unsigned long long)n, hp->n_layer);
    for (int i = 0; i < hp->n_layer; i++) {
        int64_t v;
        if (!gguf_kv_elem_int(g, at, (uint64_t)i, &v) || v < 0 || v > 1)
            return fail(err, STATUS_BAD_FILE, "%s: element %d is not 0 or 1", key, i);
        flag[i] = v;
    }
    return STATUS_OK;
}

static bool is_array(const struct gguf *g, const char *key)
{
    const int at = gguf_find(g, key);
    return at >= 0 && gguf_kv_type(g, at) == GGUF_ARR;
}

enum status hparams_window(struct hparams *hp, const struct gguf *g, const char *arch,
                           int period, double theta, struct error *err)
{
    const struct hparams_key pattern =
        hparams_key(arch, "attention.sliding_window_pattern");
    bool window[HPARAMS_LAYER_MAX];
    enum status s;
    if ((s = hparams_int(&hp->window, g, arch, "attention.sliding_window", 1, MAX_WINDOW,
                         -1, err)))
        return s;
    if (is_array(g, pattern.text)) {
        if ((s = load_flags(window, hp, g, pattern.text, err)))
            return s;
    } else {
        if ((s = hparams_int(&period, g, arch, "attention.sliding_window_pattern", 1,
                             HPARAMS_LAYER_MAX, period, err)))
            return s;
        for (int i = 0; i < hp->n_layer; i++)
            window[i] = i % period < period - 1;
    }
    for (int i = 0; i < hp->n_layer; i++)
        hp->layer[i] = window[i] ? LAYER_WINDOW : LAYER_FULL;
    hp->rope_window = hp->rope;
    return hparams_double(&hp->rope_window.theta, g, arch, "rope.freq_base_swa", 1.001,
                          1e12, theta, err);
}

static enum status load_recurrent_layers(struct hparams *hp, const struct gguf *g,
                                         const char *arch, struct error *err)
{
    const struct hparams_key flags = hparams_key(arch, "attention.recurrent_layers");
    bool recurrent[HPARAMS_LAYER_MAX];
    enum status s;
    if (is_array(g, flags.text)) {
        if ((s = load_flags(recurrent, hp, g, flags.text, err)))
            return s;
    } else {
        int interval;
        if ((s = hparams_int(&interval, g, arch, "full_attention_interval", 1,
                             HPARAMS_LAYER_MAX, 4, err)))
            return s;
        for (int i = 0; i < hp->n_layer; i++)
            recurrent[i] = (i + 1) % interval != 0;
    }
    for (int i = 0; i < hp->n_layer; i++)
        hp->layer[i] = recurrent[i] ? LAYER_RECURRENT : LAYER_FULL;
    return STATUS_OK;
}

enum status hparams_delta(struct hparams *hp, const struct gguf *g, const char *arch,
                          struct error *err)
{
    struct linear_params *l = &hp->linear;
    int inner;
    enum status s;
    if ((s = hparams_int(&l->n_tap, g, arch, "ssm.conv_kernel", 2, MAX_TAP, -1, err)) ||
        (s = hparams_int(&l->d_k, g, arch, "ssm.state_size", 1, MAX_LINEAR_DIM, -1,
                         err)) ||
        (s = hparams_int(&l->n_key_head, g, arch, "ssm.group_count", 1, MAX_LINEAR_HEAD,
                         -1, err)) ||
        (s = hparams_int(&l->n_value_head, g, arch, "ssm.time_step_rank", 1,
                         MAX_LINEAR_HEAD, -1, err)) ||
        (s = hparams_int(&inner, g, arch, "ssm.inner_size", 1, 1 << 20, -1, err)))
        return s;
    if (inner % l->n_value_head || l->n_value_head % l->n_key_head)
        return fail(err, STATUS_BAD_FILE,
                    "%s.ssm.time_step_rank: %d value heads do not go with an inner size "
                    "of %d and %d key heads",
                    arch, l->n_value_head, inner, l->n_key_head);
    l->d_v = inner / l->n_value_head;
    if (l->d_v > MAX_LINEAR_DIM)
        return fail(err, STATUS_BAD_FILE, "%s.ssm.inner_size: %d values a head", arch,
                    l->d_v);
    return load_recurrent_layers(hp, g, arch, err);
}

enum status hparams_drop_nextn(struct hparams *hp, const struct gguf *g, const char *arch,
                               struct error *err)
{
    const enum status s = hparams_int(&hp->n_nextn, g, arch, "nextn_predict_layers", 0,
                                      hp->n_layer - 1, 0, err);
    if (!s)
        hp->n_layer -= hp->n_nextn;
    return s;
}
