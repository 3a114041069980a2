"""Linear attention by the recurrence, token by token: gated delta net and KDA.

Gated delta net: arXiv 2412.06464; Kimi delta attention: arXiv 2510.26692."""
import numpy as np

import ops


def causal_conv(u, weight):
    """u [T][C], weight [C][K]: its last tap is the token itself; zeros before the start."""
    n_tap = weight.shape[1]
    padded = np.concatenate([np.zeros((n_tap - 1, u.shape[1])), u])
    return sum(padded[j:j + len(u)] * weight[:, j] for j in range(n_tap))


def delta_rule(q, k, v, decay, beta):
    """q, k [T][n_head][d_k], v [T][n_head][d_v], decay [T][n_head][d_k or 1], beta [T][n_head]
    -> [T][n_head][d_v].  The state first decays, then learns v for k, then answers q."""
    state = np.zeros((*k.shape[1:], v.shape[-1]))
    out = np.empty_like(v)
    for t in range(len(v)):
        state *= decay[t][..., None]
        delta = beta[t][:, None] * (v[t] - np.einsum('hkv,hk->hv', state, k[t]))
        state += k[t][..., None] * delta[:, None]
        out[t] = np.einsum('hkv,hk->hv', state, q[t])
    return out


def unit_pair(layer, q, k):
    """Queries and keys of length 1, queries with the scale of the scores."""
    return ops.l2_norm(q, layer.eps) / np.sqrt(q.shape[-1]), ops.l2_norm(k, layer.eps)


def gated_delta_net(layer, qkv, z, beta, alpha, key_head):
    """qkv [T][2 n_k d_k + n_v d_v] before the convolution, z [T][n_v d_v], beta and alpha
    [T][n_v]; key_head [n_v]: which key and query a value head has."""
    n_tok, n_k, d_k = len(qkv), layer.key('ssm.group_count'), layer.key('ssm.state_size')
    n_v, size = layer.key('ssm.time_step_rank'), layer.key('ssm.inner_size')
    u = ops.silu(causal_conv(qkv, layer['ssm_conv1d.weight']))
    q, k, v = np.split(u, [n_k * d_k, 2 * n_k * d_k], axis=-1)
    q, k = unit_pair(layer, *(x.reshape(n_tok, n_k, d_k)[:, key_head] for x in (q, k)))
    decay = np.exp(layer['ssm_a'] * ops.softplus(alpha + layer['ssm_dt.bias']))
    out = delta_rule(q, k, v.reshape(n_tok, n_v, size // n_v), decay[..., None], ops.sigmoid(beta))
    out = ops.rms_norm(out, layer['ssm_norm.weight'], layer.eps).reshape(n_tok, size)
    return layer.linear('ssm_out', out * ops.silu(z))


def grouped(layer, h):
    """qwen3next: neighbouring value heads share a key head, and so are their rows."""
    n_tok, n_k, n_v = len(h), layer.key('ssm.group_count'), layer.key('ssm.time_step_rank')
    share = n_v // n_k
    beta, alpha = np.split(layer.linear('ssm_ba', h).reshape(n_tok, n_k, 2 * share), 2, axis=-1)
    if layer['ssm_in.weight'] is None:
        qkv, z = layer.linear('attn_qkv', h), layer.linear('attn_gate', h)
    else:  # older files: for each key head [q | k | v of its value heads | z of them]
        d_k, d_v = layer.key('ssm.state_size'), layer.key('ssm.inner_size') // n_v
        rows = layer.linear('ssm_in', h).reshape(n_tok, n_k, -1)
        parts = np.split(rows, np.cumsum([d_k, d_k, share * d_v]), axis=-1)
        q, k, v, z = (part.reshape(n_tok, -1) for part in parts)
        qkv = np.concatenate([q, k, v], axis=-1)
    return gated_delta_net(layer, qkv, z, beta.reshape(n_tok, n_v), alpha.reshape(n_tok, n_v),
                           np.arange(n_v) // share)


def tiled(layer, h):
    """qwen35, qwen35moe: value heads are stored so that key heads repeat in turn."""
    key_head = np.arange(layer.key('ssm.time_step_rank')) % layer.key('ssm.group_count')
    return gated_delta_net(layer, *(layer.linear(name, h) for name in
                                    ('attn_qkv', 'attn_gate', 'ssm_beta', 'ssm_alpha')), key_head)


def kda(layer, h):
    """Kimi delta attention: a decay for each channel of a key, a convolution for each of q, k, v."""
    n_tok, n_head = len(h), layer.key('attention.head_count')
    heads = lambda x: x.reshape(n_tok, n_head, -1)
    conv = lambda c: layer[f'ssm_conv1d_{c}.weight'].reshape(-1, layer.key('ssm.conv_kernel'))
    q, k, v = (heads(ops.silu(causal_conv(layer.linear(f'attn_{c}', h), conv(c)))) for c in 'qkv')
    q, k = unit_pair(layer, q, k)
    rate = heads(layer.linear('ssm_f_b', layer.linear('ssm_f_a', h)) + layer['ssm_dt.bias'])
    decay = np.exp(layer['ssm_a'].reshape(n_head, 1) * ops.softplus(rate))
    out = delta_rule(q, k, v, decay, ops.sigmoid(layer.linear('ssm_beta', h)))
    gate = heads(layer.linear('ssm_g_b', layer.linear('ssm_g_a', h)))
    out = ops.rms_norm(out, layer['ssm_norm.weight'], layer.eps) * ops.sigmoid(gate)
    return layer.linear('attn_output', out.reshape(n_tok, -1))
