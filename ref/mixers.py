"""Attention layers: [T][n_embd] after the norm -> [T][n_embd] before the residual."""
import numpy as np

import ops
import rope


def projections(layer, h):
    """q [T][n_head][d], k [T][n_head_kv][d], v [T][n_head_kv][d_v], from three matrices or one
    with the rows of all."""
    n_head = layer.key('attention.head_count')
    n_head_kv = layer.key('attention.head_count_kv', n_head)
    if layer['attn_qkv.weight'] is None:
        q, k, v = (layer.linear(name, h) for name in ('attn_q', 'attn_k', 'attn_v'))
    else:
        d = layer.key('attention.key_length', layer.model.key('embedding_length') // n_head)
        q, k, v = np.split(layer.linear('attn_qkv', h), [n_head * d, (n_head + n_head_kv) * d], axis=-1)
    q, k, v = (x.reshape(len(h), heads, -1) for x, heads in ((q, n_head), (k, n_head_kv), (v, n_head_kv)))
    return q, k, v


def attend(layer, q, k, v, window=None, base=None, neighbours=False):
    """Norms of queries and keys where the layer has them, RoPE, softmax attention:
    [T][n_head * d_v].  base: this layer's own, unscaled frequencies."""
    d = k.shape[-1]
    if layer['attn_q_norm.weight'] is not None:
        q = ops.rms_norm(q, layer['attn_q_norm.weight'], layer.eps)
        k = ops.rms_norm(k, layer['attn_k_norm.weight'], layer.eps)
    n_rot = layer.key('rope.dimension_count', d)
    f, mscale = rope.frequencies(layer, n_rot, base or layer.key('rope.freq_base', 10000.0), scaled=base is None)
    q, k = (rope.rotate(x, f, mscale, neighbours) for x in (q, k))
    scale = layer.key('attention.scale', 1 / np.sqrt(d))
    cap = layer.key('attn_logit_softcapping')
    return ops.attention(q, k, v, scale, window, layer['attn_sinks.weight'], cap).reshape(len(q), -1)


def plain(layer, h, **how):
    return layer.linear('attn_output', attend(layer, *projections(layer, h), **how))


def neighbours(layer, h):
    """llama: its rows of queries and keys are stored so that pairs are neighbours."""
    return plain(layer, h, neighbours=True)


def is_local(layer, period):
    """Whether a layer sees a window only: all but the last of each period, or those that the
    file marks."""
    pattern = layer.model.key('attention.sliding_window_pattern', period)
    return bool(pattern[layer.index]) if isinstance(pattern, list) else layer.index % pattern < pattern - 1


def alternating(layer, h):
    """gpt-oss and gemma2: every other layer sees a window."""
    return plain(layer, h, window=layer.key('attention.sliding_window') if is_local(layer, 2) else None)


def gemma(layer, h):
    """Five layers of six see a window, and turn faster, without scaling."""
    if not is_local(layer, 6):
        return plain(layer, h)
    return plain(layer, h, window=layer.key('attention.sliding_window'),
                 base=layer.key('rope.freq_base_swa', 10000.0))


def gated(layer, h):
    """Rows of attn_q: for each head its query, then the gate of its output."""
    q, k, v = projections(layer, h)
    q, gate = np.split(q, 2, axis=-1)
    return layer.linear('attn_output', attend(layer, q, k, v) * ops.sigmoid(gate.reshape(len(h), -1)))


def latent(layer, h):
    """Multi-head latent attention without positions (kimi-linear): all heads share one key
    [latent | rest], whose latent part is the value as well."""
    n_head, rank = layer.key('attention.head_count'), layer.key('attention.kv_lora_rank')
    d = layer.key('attention.key_length_mla')
    k = layer.linear('attn_kv_a_mqa', h)[:, None]
    k[..., :rank] = ops.rms_norm(k[..., :rank], layer['attn_kv_a_norm.weight'], layer.eps)
    own, rest = np.split(layer.linear('attn_q', h).reshape(len(h), n_head, d), [d - k.shape[-1] + rank], axis=-1)
    q = np.concatenate([np.einsum('hln,thn->thl', layer['attn_k_b.weight'], own), rest], axis=-1)
    mixed = ops.attention(q, k, k[..., :rank], 1 / np.sqrt(d))
    out = np.einsum('hvl,thl->thv', layer['attn_v_b.weight'], mixed)
    return layer.linear('attn_output', out.reshape(len(h), -1))
