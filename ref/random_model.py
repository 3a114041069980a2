"""Tiny random models in which every term shows in the logits.

Weights are N(0, 1 / n_in) with a gain where a part would drown, norms 1 +- 0.25, and the
decays of recurrent layers reach from one token to hundreds.  Matrices have the stored type
of the model; what files of real models keep in f32 (vectors, convolutions, routers) is f32."""
import types

import numpy as np

HYBRID = ('qwen3next', 'qwen35', 'qwen35moe')
QK_NORM = ('qwen3', 'qwen3moe', 'gemma3', *HYBRID)
BIASED = {'qwen2': ('attn_qkv', 'attn_q', 'attn_k', 'attn_v'),
          'gpt-oss': ('attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_gate_inp', 'ffn_gate_exps', 'ffn_up_exps',
                      'ffn_down_exps')}
NORMS = {**dict.fromkeys(('gemma2', 'gemma3'), ('attn_norm', 'post_attention_norm', 'ffn_norm', 'post_ffw_norm')),
         **dict.fromkeys(('gpt-oss', *HYBRID), ('attn_norm', 'post_attention_norm'))}
BOOL, I32 = 7, 5  # types of arrays in metadata

DEFAULTS = dict(
    store='f2', tied=False, n_rot=None, freq_base=10000.0, eps=1e-6, n_ctx=1024,
    keys={},          # metadata as it is, without the architecture's prefix
    biased=None,      # names of matrices with a bias, other than the architecture's own
    factors=(),       # names of tensors with a divisor for each frequency
    fused_qkv=False,  # attn_qkv instead of attn_q, attn_k, attn_v
    n_expert=0, n_used=0, n_ff_expert=0, n_ff_shared=0,
    fused_experts=False,  # ffn_gate_up_exps instead of two
    n_dense=0,        # leading layers without experts
    recurrent=(),     # layers without softmax attention
    n_k=0, n_v=0, d_state=0, n_tap=4,
    conv_gain=1.0,    # small: the epsilons of norms behind the convolution show
    fused_delta=False,  # ssm_in instead of attn_qkv and attn_gate
    flat=False,       # convolutions and decays of KDA without leading dimensions of 1
    n_mtp=0,          # blocks behind the trunk
    latent=None,      # (rank, d of keys without positions, d of the others, d of values)
)


class Builder:
    def __init__(self, rng, arch, shape):
        self.rng, self.arch, self.c = rng, arch, types.SimpleNamespace(**DEFAULTS | shape)
        self.biased = self.c.biased or BIASED.get(arch, ())
        self.meta = {'general.architecture': arch, 'tokenizer.ggml.model': 'no_vocab'}
        self.tensors = {}

    def keys(self, values):
        self.meta |= {f'{self.arch}.{key}': v for key, v in values.items()}

    def matrix(self, name, *shape, gain=1.0, store=None):
        """`name`.weight, and `name`.bias where the architecture has one."""
        w = gain * self.rng.standard_normal(shape) / np.sqrt(shape[-1])
        self.tensors[name + '.weight'] = w.astype(store or self.c.store)
        if name.split('.')[-1] in self.biased:
            self.vector(name + '.bias', 0.3 * self.rng.standard_normal(shape[:-1]))

    def vector(self, name, values):
        self.tensors[name] = values.astype('f4')

    def norm(self, name, n):
        self.vector(name + '.weight', 1 + 0.25 * self.rng.standard_normal(n))


def attention(b, p):
    c, gate = b.c, 2 if b.arch in HYBRID else 1
    rows = {'attn_q': gate * c.n_head * c.d, 'attn_k': c.n_head_kv * c.d, 'attn_v': c.n_head_kv * c.d}
    if c.fused_qkv:
        rows = {'attn_qkv': sum(rows.values())}
    for name, n_out in rows.items():
        b.matrix(p + name, n_out, c.n_embd, gain=1.0 if name == 'attn_v' else 1.5)
    b.matrix(p + 'attn_output', c.n_embd, c.n_head * c.d, gain=2.0)
    if b.arch in QK_NORM:
        b.norm(p + 'attn_q_norm', c.d)
        b.norm(p + 'attn_k_norm', c.d)
    if b.arch == 'gpt-oss':
        b.vector(p + 'attn_sinks.weight', 1 + b.rng.standard_normal(c.n_head))


def dense(b, p, n_ff, suffix=''):
    c = b.c
    if b.arch == 'phi3':
        b.matrix(p + 'ffn_up', 2 * n_ff, c.n_embd)
    else:
        b.matrix(f'{p}ffn_gate{suffix}', n_ff, c.n_embd)
        b.matrix(f'{p}ffn_up{suffix}', n_ff, c.n_embd)
    b.matrix(f'{p}ffn_down{suffix}', c.n_embd, n_ff)


def experts(b, p):
    c = b.c
    # gpt-oss cuts gate and up at 7: some have to reach it.
    inner, outer = (3.0, 0.3) if b.arch == 'gpt-oss' else (1.0, 1.5)
    b.matrix(p + 'ffn_gate_inp', c.n_expert, c.n_embd, gain=2.0, store='f4')
    if c.fused_experts:
        b.matrix(p + 'ffn_gate_up_exps', c.n_expert, 2 * c.n_ff_expert, c.n_embd, gain=inner)
    else:
        b.matrix(p + 'ffn_gate_exps', c.n_expert, c.n_ff_expert, c.n_embd, gain=inner)
        b.matrix(p + 'ffn_up_exps', c.n_expert, c.n_ff_expert, c.n_embd, gain=inner)
    b.matrix(p + 'ffn_down_exps', c.n_expert, c.n_embd, c.n_ff_expert, gain=outer)
    if b.arch == 'kimi-linear':
        b.vector(p + 'exp_probs_b.bias', 0.2 * b.rng.standard_normal(c.n_expert))
    if c.n_ff_shared:
        dense(b, p, c.n_ff_shared, '_shexp')
        if b.arch in HYBRID:
            b.vector(p + 'ffn_gate_inp_shexp.weight', b.rng.standard_normal(c.n_embd) / np.sqrt(c.n_embd))


def decays(b, p, n_rate, n_head, shape):
    b.vector(p + 'ssm_dt.bias', b.rng.uniform(-3, 1, n_rate))
    b.vector(p + 'ssm_a', -np.exp(b.rng.uniform(-2, 1, n_head)).reshape(shape))


def delta_net(b, p):
    c = b.c
    size = c.n_v * c.d_state
    channels = 2 * c.n_k * c.d_state + size
    if c.fused_delta:
        b.matrix(p + 'ssm_in', channels + size, c.n_embd)
    else:
        b.matrix(p + 'attn_qkv', channels, c.n_embd)
        b.matrix(p + 'attn_gate', size, c.n_embd)
    b.matrix(p + 'ssm_conv1d', channels, c.n_tap, gain=c.conv_gain, store='f4')
    decays(b, p, c.n_v, c.n_v, (-1,))
    rows = {'ssm_ba': 2 * c.n_v} if b.arch == 'qwen3next' else {'ssm_beta': c.n_v, 'ssm_alpha': c.n_v}
    for name, n_out in rows.items():
        b.matrix(p + name, n_out, c.n_embd)
    b.norm(p + 'ssm_norm', c.d_state)
    b.matrix(p + 'ssm_out', c.n_embd, size, gain=2.0)


def kda(b, p):
    c = b.c
    size = c.n_head * c.d_state
    for part in 'qkv':
        b.matrix(p + 'attn_' + part, size, c.n_embd)
        b.matrix(f'{p}ssm_conv1d_{part}', *(() if c.flat else (1,)), size, 1, c.n_tap, gain=c.conv_gain, store='f4')
    b.matrix(p + 'ssm_f_a', c.d_state, c.n_embd)
    b.matrix(p + 'ssm_f_b', size, c.d_state)
    decays(b, p, size, c.n_head, (-1, 1) if c.flat else (1, 1, -1, 1))
    b.matrix(p + 'ssm_beta', c.n_head, c.n_embd)
    b.matrix(p + 'ssm_g_a', c.d_state, c.n_embd)
    b.matrix(p + 'ssm_g_b', size, c.d_state)
    b.norm(p + 'ssm_norm', c.d_state)
    b.matrix(p + 'attn_output', c.n_embd, size, gain=2.0)


def latent(b, p):
    c = b.c
    rank, own, rest, d_v = c.latent
    b.matrix(p + 'attn_q', c.n_head * (own + rest), c.n_embd, gain=1.5)
    b.matrix(p + 'attn_kv_a_mqa', rank + rest, c.n_embd, gain=1.5)
    b.norm(p + 'attn_kv_a_norm', rank)
    # Keys of a head are the latent's products with the columns.
    b.matrix(p + 'attn_k_b', c.n_head, rank, own, gain=1.5 * np.sqrt(own / rank))
    b.matrix(p + 'attn_v_b', c.n_head, d_v, rank)
    b.matrix(p + 'attn_output', c.n_embd, c.n_head * d_v, gain=2.0)


def block(b, i, is_recurrent):
    c, p = b.c, f'blk.{i}.'
    if b.arch == 'kimi-linear':
        (kda if is_recurrent else latent)(b, p)
    else:
        (delta_net if is_recurrent else attention)(b, p)
    if c.n_expert and i >= c.n_dense:
        experts(b, p)
    else:
        dense(b, p, c.n_ff)
    for name in NORMS.get(b.arch, ('attn_norm', 'ffn_norm')):
        b.norm(p + name, c.n_embd)


def mtp_block(b, i):
    """Predicts the token after the next: the logits do not depend on it."""
    block(b, i, is_recurrent=False)
    b.matrix(f'blk.{i}.nextn.eh_proj', b.c.n_embd, 2 * b.c.n_embd)
    for name in ('enorm', 'hnorm', 'shared_head_norm'):
        b.norm(f'blk.{i}.nextn.{name}', b.c.n_embd)


def expert_keys(b):
    c = b.c
    b.keys({'expert_count': c.n_expert, 'expert_used_count': c.n_used, 'expert_feed_forward_length': c.n_ff_expert})
    if c.n_ff_shared and b.arch in HYBRID:
        b.keys({'expert_shared_feed_forward_length': c.n_ff_shared})


def delta_keys(b):
    c = b.c
    b.keys({'ssm.conv_kernel': c.n_tap, 'ssm.state_size': c.d_state, 'ssm.group_count': c.n_k,
            'ssm.time_step_rank': c.n_v, 'ssm.inner_size': c.n_v * c.d_state})


def kimi_keys(b):
    c = b.c
    rank, own, rest, d_v = c.latent
    b.keys({'attention.head_count_kv': (I32, [int(i not in c.recurrent) for i in range(c.n_layer)]),
            'attention.key_length': rank + rest, 'attention.value_length': rank,
            'attention.key_length_mla': own + rest, 'attention.value_length_mla': d_v,
            'attention.kv_lora_rank': rank, 'rope.dimension_count': rest,
            'ssm.conv_kernel': c.n_tap, 'kda.head_dim': c.d_state,
            'expert_shared_count': c.n_ff_shared // c.n_ff_expert, 'leading_dense_block_count': c.n_dense,
            'expert_weights_scale': 2.446, 'expert_gating_func': 2})


def build(rng, arch, **shape):
    """(metadata, tensors); shape is a row of make_golden.MODELS."""
    b = Builder(rng, arch, shape)
    c = b.c
    b.keys({'vocab_size': c.n_vocab, 'context_length': c.n_ctx, 'embedding_length': c.n_embd,
            'block_count': c.n_layer + c.n_mtp, 'feed_forward_length': c.n_ff, 'attention.head_count': c.n_head,
            'attention.head_count_kv': c.n_head_kv, 'attention.key_length': c.d, 'attention.value_length': c.d,
            'rope.dimension_count': c.n_rot or c.d, 'rope.freq_base': c.freq_base,
            'attention.layer_norm_rms_epsilon': c.eps})
    if c.n_expert:
        expert_keys(b)
    if arch in HYBRID:
        delta_keys(b)
    if arch == 'kimi-linear':
        kimi_keys(b)
    if c.n_mtp:
        b.keys({'nextn_predict_layers': c.n_mtp})
    b.keys(c.keys)
    # Gemma scales its embedding by the root of n_embd itself.
    b.matrix('token_embd', c.n_vocab, c.n_embd, gain=1.0 if arch in ('gemma2', 'gemma3') else np.sqrt(c.n_embd))
    b.norm('output_norm', c.n_embd)
    if not c.tied:
        b.matrix('output', c.n_vocab, c.n_embd)
    for name in c.factors:
        b.vector(name + '.weight', np.exp(rng.uniform(0, 2, (c.n_rot or c.d) // 2)))
    for i in range(c.n_layer):
        block(b, i, i in c.recurrent)
    for i in range(c.n_layer, c.n_layer + c.n_mtp):
        mtp_block(b, i)
    return b.meta, b.tensors
