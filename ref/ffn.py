"""Feed-forward networks of one expert."""
import numpy as np

import ops


def gated(layer, h, act=ops.silu, suffix=''):
    """h [T][n_embd]; suffix: '_shexp' for a shared expert."""
    gate, up = (layer.linear(name + suffix, h) for name in ('ffn_gate', 'ffn_up'))
    return layer.linear('ffn_down' + suffix, act(gate) * up)


def gated_fused(layer, h):
    """Rows of ffn_up: the gate's, then the others."""
    gate, up = np.split(layer.linear('ffn_up', h), 2, axis=-1)
    return layer.linear('ffn_down', ops.silu(gate) * up)
