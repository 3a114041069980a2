#include "model/hparams.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Bounds are generous: the largest published models stay below a tenth of them. */
enum {
    MAX_EMBD = 1 << 17,
    MAX_FF = 1 << 20,
    MAX_HEAD = 1024,
    MAX_HEAD_DIM = 1024,
    MAX_CTX = 1 << 24,
    MAX_VOCAB = 1 << 22,
};

struct hparams_key hparams_key(const char *arch, const char *suffix)
{
    struct hparams_key k;
    snprintf(k.text, sizeof k.text, "%s.%s", arch, suffix);
    return k;
}

enum status hparams_int(int *out, const struct gguf *g, const char *arch,
                        const char *suffix, int min, int max, int def, struct error *err)
{
    const struct hparams_key k = hparams_key(arch, suffix);
    int64_t v = 0;
    const enum status s = def < 0 ? gguf_int(g, k.text, min, max, &v, err)
                                  : gguf_int_or(g, k.text, min, max, def, &v, err);
    if (s == STATUS_NOT_FOUND)
        return fail(err, STATUS_BAD_FILE, "%s is missing", k.text);
    *out = (int)v;
    return s;
}

enum status hparams_double(double *out, const struct gguf *g, const char *arch,
                           const char *suffix, double min, double max, double def,
                           struct error *err)
{
    return gguf_f64_or(g, hparams_key(arch, suffix).text, min, max, def, out, err);
}

enum status hparams_attn_scale(struct hparams *hp, const struct gguf *g, const char *arch,
                               double def, struct error *err)
{
    double scale;
    const enum status s =
        hparams_double(&scale, g, arch, "attention.scale", 0, 1e6, 0, err);
    hp->attn_scale = (float)(!s && scale > 0 ? scale : def);
    return s;
}

/* Factors of YaRN that no published file has other than as they change nothing (a
 * negative one leaves the choice to the program): others are refused. */
static enum status check_yarn(const struct gguf *g, const char *arch, struct error *err)
{
    static const char *const suffixes[] = {"rope.scaling.yarn_ext_factor",
                                           "rope.scaling.yarn_attn_factor"};
    for (int i = 0; i < 2; i++) {
        double factor;
        const enum status s =
            hparams_double(&factor, g, arch, suffixes[i], -1e6, 1e6, 1, err);
        if (s)
            return s;
        if (factor >= 0 && fabs(factor - 1) > 1e-6)
            return fail(err, STATUS_UNSUPPORTED, "%s: %g is not supported, only 1",
                        hparams_key(arch, suffixes[i]).text, factor);
    }
    return STATUS_OK;
}

static enum status load_scaling(struct rope_params *r, const struct gguf *g,
                                const char *arch, struct error *err)
{
    const struct hparams_key type = hparams_key(arch, "rope.scaling.type");
    const bool factor_stated =
        gguf_find(g, hparams_key(arch, "rope.scaling.factor").text) >= 0;
    enum status s;
    r->scaling = ROPE_SCALING_NONE;
    if (gguf_find(g, type.text) >= 0) {
        struct gguf_str name;
        if ((s = gguf_str(g, type.text, &name, err)))
            return s;
        if (name.n == 6 && !memcmp(name.s, "linear", 6))
            r->scaling = ROPE_SCALING_LINEAR;
        else if (name.n == 4 && !memcmp(name.s, "yarn", 4))
            r->scaling = ROPE_SCALING_YARN;
        else if (!(name.n == 4 && !memcmp(name.s, "none", 4)) &&
                 !(name.n == 8 && !memcmp(name.s, "longrope", 8))) // factors are tensors
            return fail(err, STATUS_UNSUPPORTED, "%s: '%.*s' is not supported", type.text,
                        (int)(name.n < 40 ? name.n : 40), name.s);
    } else if (factor_stated ||
               gguf_find(g, hparams_key(arch, "rope.scale_linear").text) >= 0) {
        r->scaling = ROPE_SCALING_LINEAR; // the first there was
    }
    const char *factor = factor_stated ? "rope.scaling.factor" : "rope.scale_linear";
    if ((s = hparams_double(&r->factor, g, arch, factor, 1e-3, 1e4, 1.0, err)) ||
        (s = hparams_double(&r->attn_factor, g, arch, "rope.scaling.attn_factor", 1e-3,
                            1e3, 1.0, err)) ||
        (s = hparams_double(&r->beta_fast, g, arch, "rope.scaling.yarn_beta_fast", 1e-3,
                            1e6, 32.0, err)) ||
        (s = hparams_double(&r->beta_slow, g, arch, "rope.scaling.yarn_beta_slow", 1e-3,
                            1e6, 1.0, err)) ||
        (s = hparams_double(&r->log_multiplier, g, arch,
                            "rope.scaling.yarn_log_multiplier", 0, 1e3, 0, err)))
        return s;
    return r->scaling == ROPE_SCALING_YARN ? check_yarn(g, arch, err) : STATUS_OK;
}

static enum status load_rope(struct hparams *hp, const struct gguf *g, const char *arch,
                             struct error *err)
{
    struct rope_params *r = &hp->rope;
    enum status s;
    if ((s = hparams_int(&r->n_rot, g, arch, "rope.dimension_count", 2, MAX_HEAD_DIM,
                         hp->head_dim, err)) ||
        (s = hparams_double(&r->theta, g, arch, "rope.freq_base", 1.001, 1e12, 10000.0,
                            err)) ||
        (s = load_scaling(r, g, arch, err)) ||
        (s = hparams_int(&r->n_ctx_orig, g, arch, "rope.scaling.original_context_length",
                         1, MAX_CTX, hp->n_ctx_train, err)))
        return s;
    if (r->n_rot > hp->head_dim || r->n_rot % 2)
        return fail(err, STATUS_BAD_FILE,
                    "%s.rope.dimension_count: %d is odd or more than the head size %d",
                    arch, r->n_rot, hp->head_dim);
    return STATUS_OK;
}

/* A number that is the same in all layers that have it: a scalar, or an array with an
 * element for each block.  Where it is 0, which `min` must allow, the layer keeps no keys
 * and values. */
static enum status load_uniform(int *out, struct hparams *hp, const struct gguf *g,
                                const char *arch, const char *suffix, int min, int max,
                                int def, struct error *err)
{
    const struct hparams_key k = hparams_key(arch, suffix);
    const int at = gguf_find(g, k.text);
    if (at < 0 || gguf_kv_type(g, at) != GGUF_ARR)
        return hparams_int(out, g, arch, suffix, 1, max, def, err);
    if (gguf_kv_count(g, at) != (uint64_t)hp->n_layer)
        return fail(err, STATUS_BAD_FILE, "%s: %llu elements for %d blocks", k.text,
                    (unsigned long long)gguf_kv_count(g, at), hp->n_layer);
    *out = 0;
    for (int i = 0; i < hp->n_layer; i++) {
        int64_t v;
        if (!gguf_kv_elem_int(g, at, (uint64_t)i, &v) || v < min || v > max)
            return fail(err, STATUS_BAD_FILE, "%s: element %d is not in %d to %d", k.text,
                        i, min, max);
        if (v == 0)
            hp->layer[i] = LAYER_RECURRENT;
        else if (*out && v != *out)
            return fail(err, STATUS_UNSUPPORTED,
                        "%s: %d in one layer and %d in layer %d: layers of different "
                        "shapes are not supported by this build",
                        k.text, *out, (int)v, i);
        else
            *out = (int)v;
    }
    if (!*out)
        return fail(err, STATUS_BAD_FILE, "%s: 0 in all layers", k.text);
    return STATUS_OK;
}

static enum status load_heads(struct hparams *hp, const struct gguf *g, const char *arch,
                              struct error *err)
{
    enum status s;
    if ((s = load_uniform(&hp->n_head, hp, g, arch, "attention.head_count", 0, MAX_HEAD,
                          -1, err)) ||
        (s = load_uniform(&hp->n_head_kv, hp, g, arch, "attention.head_count_kv", 0,
                          MAX_HEAD, hp->n_head, err)))
        return s;
    if (hp->n_head % hp->n_head_kv)
        return fail(err, STATUS_BAD_FILE,
                    "%s.attention.head_count: %d is not a multiple of head_count_kv %d",
                    arch, hp->n_head, hp->n_head_kv);
    const int share = hp->n_embd / hp->n_head;
    const bool explicit_dim =
        gguf_find(g, hparams_key(arch, "attention.key_length").text) >= 0;
    if (!explicit_dim && hp->n_embd % hp->n_head)
        return fail(err, STATUS_BAD_FILE,
                    "%s.embedding_length: %d is not a multiple of head_count %d", arch,
                    hp->n_embd, hp->n_head);
    if ((s = hparams_int(&hp->head_dim, g, arch, "attention.key_length", 2, MAX_HEAD_DIM,
                         share, err)) ||
        (s = hparams_int(&hp->head_dim_v, g, arch, "attention.value_length", 1,
                         MAX_HEAD_DIM, share, err)))
        return s;
    if (hp->head_dim_v < 1)
        return fail(err, STATUS_BAD_FILE,
                    "%s.attention.value_length is missing: %d values are fewer than %d "
                    "heads",
                    arch, hp->n_embd, hp->n_head);
    return hparams_attn_scale(hp, g, arch, 1.0 / sqrt((double)hp->head_dim), err);
}

/* The vocabulary is as large as the embedding matrix says; the key and the tokenizer may
 * only be absent or agree.  Metadata without tensors have the key. */
static enum status load_vocab(struct hparams *hp, const struct gguf *g, const char *arch,
                              struct error *err)
{
    const struct gguf_tensor *t = gguf_tensor_find(g, "token_embd.weight");
    if (gguf_n_tensors(g) == 0 && gguf_find(g, hparams_key(arch, "vocab_size").text) >= 0)
        return hparams_int(&hp->n_vocab, g, arch, "vocab_size", 1, MAX_VOCAB, -1, err);
    if (!t)
        return fail(err, STATUS_BAD_FILE, "tensor token_embd.weight is missing");
    if (t->ne[1] > MAX_VOCAB || t->ne[2] != 1 || t->ne[3] != 1)
        return fail(err, STATUS_BAD_FILE,
                    "token_embd.weight: %lld rows are not a vocabulary",
                    (long long)t->ne[1]);
    hp->n_vocab = (int)t->ne[1];
    int stated;
    const enum status s =
        hparams_int(&stated, g, arch, "vocab_size", 1, MAX_VOCAB, hp->n_vocab, err);
    if (s)
        return s;
    if (stated != hp->n_vocab)
        return fail(err, STATUS_BAD_FILE,
                    "%s.vocab_size: %d, but token_embd.weight has %d rows", arch, stated,
                    hp->n_vocab);
    const int tokens = gguf_find(g, "tokenizer.ggml.tokens");
    if (tokens >= 0 && gguf_kv_count(g, tokens) > (uint64_t)hp->n_vocab)
        return fail(
            err, STATUS_BAD_FILE,
            "tokenizer.ggml.tokens: %llu entries, but token_embd.weight has %d rows",
            (unsigned long long)gguf_kv_count(g, tokens), hp->n_vocab);
    return STATUS_OK;
}

enum status hparams_load(struct hparams *hp, const struct gguf *g, const char *arch,
                         struct error *err)
{
    double eps;
    int pooling;
    enum status s;
    *hp = (struct hparams){.embd_scale = 1.0f};
    if ((s = hparams_int(&hp->n_layer, g, arch, "block_count", 1, HPARAMS_LAYER_MAX, -1,
                         err)) ||
        (s = hparams_int(&hp->n_embd, g, arch, "embedding_length", 1, MAX_EMBD, -1,
                         err)) ||
        (s = load_uniform(&hp->n_ff, hp, g, arch, "feed_forward_length", 1, MAX_FF, 0,
                          err)) ||
        (s = hparams_int(&hp->n_ctx_train, g, arch, "context_length", 1, MAX_CTX, -1,
                         err)) ||
        (s = hparams_int(&pooling, g, arch, "pooling_type", POOLING_NONE, POOLING_RANK,
                         POOLING_NONE, err)) ||
        (s = hparams_double(&eps, g, arch, "attention.layer_norm_rms_epsilon", 0, 1, -1,
                            err)) ||
        (s = load_heads(hp, g, arch, err)) || (s = load_rope(hp, g, arch, err)))
        return s;
    if (eps < 0)
        return fail(err, STATUS_BAD_FILE,
                    "%s.attention.layer_norm_rms_epsilon is missing", arch);
    hp->rms_eps = (float)eps;
    hp->pooling = (enum pooling)pooling;
    return load_vocab(hp, g, arch, err);
}
