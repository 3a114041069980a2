#include "cli/shapes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gguf/writer.h"
#include "model/hparams.h"

/* ---- families ---- */

static void put_number(struct gguf_writer *w, const struct shape *s, const char *key,
                       int value)
{
    gguf_put_u32(w, hparams_key(s->family->arch, key).text, (uint32_t)value);
}

/* Gated delta nets: all of them have 16 key heads of 128 and a convolution of 4. */
static void put_delta(struct gguf_writer *w, const struct shape *s)
{
    enum { D = 128, KEY_HEADS = 16 };
    put_number(w, s, "ssm.conv_kernel", 4);
    put_number(w, s, "ssm.state_size", D);
    put_number(w, s, "ssm.group_count", KEY_HEADS);
    put_number(w, s, "ssm.time_step_rank", s->n_value_head);
    put_number(w, s, "ssm.inner_size", s->n_value_head * D);
    put_number(w, s, "full_attention_interval", 4);
}

/* Layers 4, 8, ... and the last have latent attention, the others delta attention. */
static void put_kimi(struct gguf_writer *w, const struct shape *s)
{
    int32_t n_head_kv[HPARAMS_LAYER_MAX];
    for (int i = 0; i < s->n_layer; i++)
        n_head_kv[i] = (i + 1) % 4 == 0 || i + 1 == s->n_layer;
    gguf_put_i32_array(w, hparams_key(s->family->arch, "attention.head_count_kv").text,
                       n_head_kv, (size_t)s->n_layer);
    put_number(w, s, "attention.value_length", 512);
    put_number(w, s, "attention.kv_lora_rank", 512);
    put_number(w, s, "attention.key_length_mla", 192);
    put_number(w, s, "attention.value_length_mla", 128);
    put_number(w, s, "ssm.conv_kernel", 4);
    put_number(w, s, "kda.head_dim", 128);
    put_number(w, s, "leading_dense_block_count", 1);
}

static void put_phi(struct gguf_writer *w, const struct shape *s)
{
    put_number(w, s, "rope.scaling.original_context_length", 4096);
}

static const struct shape_family
    llama = {"llama", "ffn_gate.weight", NULL},
    llama3 = {"llama", "ffn_gate.weight rope_freqs.weight", NULL},
    qwen2 = {"qwen2", "ffn_gate.weight attn_q.bias attn_k.bias attn_v.bias", NULL},
    qwen3 = {"qwen3", "ffn_gate.weight", NULL}, qwen3moe = {"qwen3moe", "", NULL},
    qwen3next = {"qwen3next",
                 "ssm_ba.weight ffn_gate_inp_shexp.weight ffn_gate_shexp.weight",
                 put_delta},
    qwen35 = {"qwen35", "ffn_gate.weight", put_delta},
    qwen35moe = {"qwen35moe", "ffn_gate_inp_shexp.weight ffn_gate_shexp.weight",
                 put_delta},
    phi3 = {"phi3", "attn_qkv.weight rope_factors_long.weight rope_factors_short.weight",
            put_phi},
    gemma3 = {"gemma3", "ffn_gate.weight", NULL},
    gpt_oss = {"gpt-oss",
               "attn_q.bias attn_k.bias attn_v.bias attn_output.bias ffn_gate_inp.bias "
               "ffn_gate_exps.bias ffn_up_exps.bias ffn_down_exps.bias",
               NULL},
    kimi = {"kimi-linear", "ffn_gate.weight ffn_gate_shexp.weight exp_probs_b.bias",
            put_kimi};

/* ---- models ---- */

/* Sources: the config.json of each model; the context is that of the published GGUF.
 * Layers, width, heads, kv heads, head size, hidden values, vocabulary, context. */
static const struct shape shapes[] = {
    {"llama-2-7b", &llama, 32, 4096, 32, 32, 128, 11008, 32000, 4096, .tied = false},
    {"llama-3.1-8b", &llama3, 32, 4096, 32, 8, 128, 14336, 128256, 131072, .tied = false},
    {"llama-3.2-1b", &llama3, 16, 2048, 32, 8, 64, 8192, 128256, 131072, .tied = true},
    {"llama-3.2-3b", &llama3, 28, 3072, 24, 8, 128, 8192, 128256, 131072, .tied = true},
    {"llama-3.3-70b", &llama3, 80, 8192, 64, 8, 128, 28672, 128256, 131072,
     .tied = false},
    {"mistral-7b", &llama, 32, 4096, 32, 8, 128, 14336, 32768, 32768,
     .tied = false}, // 0.3
    {"mixtral-8x7b", &llama, 32, 4096, 32, 8, 128, 14336, 32000, 32768, .n_expert = 8,
     .n_used = 2, .n_ff_expert = 14336},
    {"qwen2.5-0.5b", &qwen2, 24, 896, 14, 2, 64, 4864, 151936, 32768, .tied = true},
    {"qwen2.5-7b", &qwen2, 28, 3584, 28, 4, 128, 18944, 152064, 32768, .tied = false},
    {"qwen2.5-14b", &qwen2, 48, 5120, 40, 8, 128, 13824, 152064, 32768, .tied = false},
    {"qwen2.5-32b", &qwen2, 64, 5120, 40, 8, 128, 27648, 152064, 32768, .tied = false},
    {"qwen2.5-72b", &qwen2, 80, 8192, 64, 8, 128, 29568, 152064, 32768, .tied = false},
    {"qwen3-0.6b", &qwen3, 28, 1024, 16, 8, 128, 3072, 151936, 40960, .tied = true},
    {"qwen3-4b", &qwen3, 36, 2560, 32, 8, 128, 9728, 151936, 40960, .tied = true},
    {"qwen3-8b", &qwen3, 36, 4096, 32, 8, 128, 12288, 151936, 40960, .tied = false},
    {"qwen3-14b", &qwen3, 40, 5120, 40, 8, 128, 17408, 151936, 40960, .tied = false},
    {"qwen3-32b", &qwen3, 64, 5120, 64, 8, 128, 25600, 151936, 40960, .tied = false},
    {"qwen3-30b-a3b", &qwen3moe, 48, 2048, 32, 4, 128, 6144, 151936, 40960,
     .n_expert = 128, .n_used = 8, .n_ff_expert = 768},
    {"qwen3-coder-30b-a3b", &qwen3moe, 48, 2048, 32, 4, 128, 6144, 151936, 262144,
     .n_expert = 128, .n_used = 8, .n_ff_expert = 768},
    {"qwen3-235b-a22b", &qwen3moe, 94, 4096, 64, 4, 128, 12288, 151936, 40960,
     .n_expert = 128, .n_used = 8, .n_ff_expert = 1536},
    {"qwen3-next-80b-a3b", &qwen3next, 48, 2048, 16, 2, 256, 5120, 151936, 262144,
     .n_rot = 64, .n_expert = 512, .n_used = 10, .n_ff_expert = 512, .n_ff_shared = 512,
     .n_value_head = 32},
    {"qwen3-coder-next", &qwen3next, 48, 2048, 16, 2, 256, 5120, 151936, 262144,
     .n_rot = 64, .n_expert = 512, .n_used = 10, .n_ff_expert = 512, .n_ff_shared = 512,
     .n_value_head = 32},
    {"qwen3.5-4b", &qwen35, 32, 2560, 16, 4, 256, 9216, 248320, 262144, .tied = true,
     .n_rot = 64, .n_value_head = 32},
    {"qwen3.5-9b", &qwen35, 32, 4096, 16, 4, 256, 12288, 248320, 262144, .n_rot = 64,
     .n_value_head = 32},
    {"qwen3.5-27b", &qwen35, 64, 5120, 24, 4, 256, 17408, 248320, 262144, .n_rot = 64,
     .n_value_head = 48},
    {"qwen3.5-35b-a3b", &qwen35moe, 40, 2048, 16, 2, 256, 512, 248320, 262144,
     .n_rot = 64, .n_expert = 256, .n_used = 8, .n_ff_expert = 512, .n_ff_shared = 512,
     .n_value_head = 32},
    {"phi-3.5-mini", &phi3, 32, 3072, 32, 32, 96, 8192, 32064, 131072, .tied = false},
    {"gemma-3-270m", &gemma3, 18, 640, 4, 1, 256, 2048, 262144, 32768, .tied = true,
     .window = 512},
    {"gemma-3-1b", &gemma3, 26, 1152, 4, 1, 256, 6912, 262144, 32768, .tied = true,
     .window = 512},
    {"gemma-3-4b", &gemma3, 34, 2560, 8, 4, 256, 10240, 262144, 131072, .tied = true,
     .window = 1024},
    {"gemma-3-12b", &gemma3, 48, 3840, 16, 8, 256, 15360, 262144, 131072, .tied = true,
     .window = 1024},
    {"gemma-3-27b", &gemma3, 62, 5376, 32, 16, 128, 21504, 262144, 131072, .tied = true,
     .window = 1024},
    {"gpt-oss-20b", &gpt_oss, 24, 2880, 64, 8, 64, 2880, 201088, 131072, .window = 128,
     .n_expert = 32, .n_used = 4, .n_ff_expert = 2880, .experts = DTYPE_MXFP4},
    {"gpt-oss-120b", &gpt_oss, 36, 2880, 64, 8, 64, 2880, 201088, 131072, .window = 128,
     .n_expert = 128, .n_used = 4, .n_ff_expert = 2880, .experts = DTYPE_MXFP4},
    {"kimi-linear-48b", &kimi, 27, 2304, 32, 1, 576, 9216, 163840, 1048576, .n_rot = 64,
     .n_expert = 256, .n_used = 8, .n_ff_expert = 1024, .n_ff_shared = 1024},
    {"smollm2-135m", &llama, 30, 576, 9, 3, 64, 1536, 49152, 8192, .tied = true},
    {"smollm2-360m", &llama, 32, 960, 15, 5, 64, 2560, 49152, 8192, .tied = true},
    {"smollm2-1.7b", &llama, 24, 2048, 32, 32, 64, 8192, 49152, 8192, .tied = true},
};
enum { N_SHAPE = sizeof shapes / sizeof *shapes };

const struct shape *shape_find(const char *name, size_t n)
{
    for (int i = 0; i < N_SHAPE; i++)
        if (strlen(shapes[i].name) == n && !strncasecmp(shapes[i].name, name, n))
            return &shapes[i];
    return NULL;
}

bool shape_is_plain(const struct shape *s)
{
    return !s->n_expert && !s->window && !s->n_value_head;
}

void shape_names(struct buf *b, bool plain)
{
    for (int i = 0; i < N_SHAPE; i++)
        if (!plain || shape_is_plain(&shapes[i]))
            buf_printf(b, " %s", shapes[i].name);
}

/* ---- metadata ---- */

static void put_experts(struct gguf_writer *w, const struct shape *s)
{
    put_number(w, s, "expert_count", s->n_expert);
    put_number(w, s, "expert_used_count", s->n_used);
    put_number(w, s, "expert_feed_forward_length", s->n_ff_expert);
    if (s->n_ff_shared)
        put_number(w, s, "expert_shared_feed_forward_length", s->n_ff_shared);
}

enum status shape_metadata(struct buf *b, const struct shape *s, struct error *err)
{
    const struct {
        const char *key;
        int value; // 0: not there
    } numbers[] = {
        {"block_count", s->n_layer},
        {"context_length", s->n_ctx},
        {"embedding_length", s->n_embd},
        {"feed_forward_length", s->n_ff},
        {"vocab_size", s->n_vocab},
        {"attention.head_count", s->n_head},
        {"attention.key_length", s->head_dim},
        {"attention.sliding_window", s->window},
        {"rope.dimension_count", s->n_rot ? s->n_rot : s->head_dim},
    };
    const char *arch = s->family->arch;
    struct gguf_writer *w;
    const enum status st = gguf_writer_open_memory(&w, err);
    if (st)
        return st;
    gguf_put_str(w, "general.architecture", arch);
    gguf_put_str(w, "general.name", s->name);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value)
            put_number(w, s, numbers[i].key, numbers[i].value);
    gguf_put_f32(w, hparams_key(arch, "attention.layer_norm_rms_epsilon").text, 1e-6f);
    if (s->family != &kimi) { // its layers differ
        put_number(w, s, "attention.head_count_kv", s->n_head_kv);
        put_number(w, s, "attention.value_length", s->head_dim);
    }
    if (s->n_expert)
        put_experts(w, s);
    if (s->family->put)
        s->family->put(w, s);
    return gguf_writer_close_memory(w, b, err);
}

/* ---- tensors ---- */

static bool is_listed(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static bool has_tensor(const void *ctx, const char *name)
{
    const struct shape_tensors *t = ctx;
    int layer, n = 0;
    if (!strcmp(name, "output.weight"))
        return !t->shape->tied;
    return is_listed(t->shape->family->optional,
                     sscanf(name, "blk.%d.%n", &layer, &n) == 1 && n ? name + n : name);
}

static enum dtype tensor_type(const void *ctx, const char *name, int n_in)
{
    const struct shape_tensors *t = ctx;
    return weight_type_of(&t->types, name, n_in);
}

struct shape_tensors shape_tensors(const struct shape *s, int type)
{
    return (struct shape_tensors){.shape = s,
                                  .types = {.type = type,
                                            .experts = s->experts,
                                            .n_layer = s->n_layer,
                                            .n_expert = s->n_expert,
                                            .tied = s->tied}};
}

struct weights_shape shape_weights(const struct shape_tensors *t)
{
    return (struct weights_shape){.ctx = t, .has = has_tensor, .type = tensor_type};
}
