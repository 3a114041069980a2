"""The llama architecture in float64 numpy: the definition that golden files come from.

RMSNorm, grouped-query attention with RoPE on neighbouring pairs, SwiGLU, pre-norm
residuals.  Sources: transformers/models/llama/modeling_llama.py; YaRN: arXiv 2309.00071;
keys and tensor names: the GGUF specification."""
import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def frequencies(meta, divisor):
    """(angle per position of each pair, factor of cosines and sines)."""
    get = lambda key, default=None: meta.get('llama.' + key, default)
    n_rot, theta = get('rope.dimension_count'), get('rope.freq_base', 10000.0)
    f = theta ** (-np.arange(0, n_rot, 2) / n_rot)
    if divisor is not None:
        f = f / divisor
    kind, factor = get('rope.scaling.type', 'none'), get('rope.scaling.factor', 1.0)
    if kind == 'linear':
        return f / factor, 1.0
    if kind == 'yarn':
        n_orig = get('rope.scaling.original_context_length')
        # The pair that turns `beta` times within the original context.
        pair = lambda beta: n_rot * np.log(n_orig / (2 * np.pi * beta)) / (2 * np.log(theta))
        low, high = max(0, np.floor(pair(32))), min(n_rot - 1, np.ceil(pair(1)))
        keep = 1 - np.clip((np.arange(n_rot // 2) - low) / max(0.001, high - low), 0, 1)
        return f * keep + f / factor * (1 - keep), 0.1 * np.log(factor) + 1
    return f, 1.0


def rope(x, f, mscale):
    """x [T][n_head][d]; pairs (2i, 2i + 1) of the first 2 len(f) values turn."""
    angle = np.arange(len(x))[:, None, None] * f
    c, s = np.cos(angle) * mscale, np.sin(angle) * mscale
    even, odd = x[..., 0:2 * len(f):2], x[..., 1:2 * len(f):2]
    y = x.copy()
    y[..., 0:2 * len(f):2], y[..., 1:2 * len(f):2] = even * c - odd * s, even * s + odd * c
    return y


def attention(q, k, v):
    """q [T][n_head][d], k and v [T][n_head_kv][d] -> [T][n_head * d]."""
    n_tok, n_head, d = q.shape
    group = n_head // k.shape[1]
    future = np.triu(np.ones((n_tok, n_tok), bool), 1)
    heads = []
    for h in range(n_head):
        score = q[:, h] @ k[:, h // group].T / np.sqrt(d)
        score[future] = -np.inf
        heads.append(softmax(score) @ v[:, h // group])
    return np.concatenate(heads, axis=1)


def logits(meta, tensors, ids):
    """[len(ids)][n_vocab] from the values as they stand in the file."""
    w = {name: a.astype('f8') for name, a in tensors.items()}
    n_head, n_head_kv = meta['llama.attention.head_count'], meta['llama.attention.head_count_kv']
    eps = float(np.float32(meta['llama.attention.layer_norm_rms_epsilon']))  # f32 in the file
    f, mscale = frequencies(meta, w.get('rope_freqs.weight'))
    x = w['token_embd.weight'][ids]
    for i in range(meta['llama.block_count']):
        t = lambda name: w[f'blk.{i}.{name}.weight']
        bias = lambda name: w.get(f'blk.{i}.{name}.bias', 0.0)
        h = rms_norm(x, t('attn_norm'), eps)
        q, k, v = ((h @ t(n).T + bias(n)).reshape(len(ids), heads, -1)
                   for n, heads in (('attn_q', n_head), ('attn_k', n_head_kv), ('attn_v', n_head_kv)))
        mixed = attention(rope(q, f, mscale), rope(k, f, mscale), v)
        x = x + mixed @ t('attn_output').T + bias('attn_output')
        h = rms_norm(x, t('ffn_norm'), eps)
        x = x + (silu(h @ t('ffn_gate').T) * (h @ t('ffn_up').T)) @ t('ffn_down').T
    return rms_norm(x, w['output_norm.weight'], eps) @ w.get('output.weight', w['token_embd.weight']).T
