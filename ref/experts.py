"""Mixtures of experts: who is chosen, and their sum.

A near tie between the last expert that is chosen and the first that is not would let the
rounding of f32 decide, so the least distance is kept in the model for make_golden.py."""
import numpy as np

import ffn
import ops

SOFTMAX, SIGMOID = 1, 2
WEIGHT_SUM_MIN = 6.103515625e-5  # the least normal f16: what a sum of weights is divided by


def best(layer, score):
    """[T][n_used]: the experts with the largest scores."""
    n_used = layer.key('expert_used_count')
    order = np.argsort(-score, axis=-1, kind='stable')
    ranked = np.take_along_axis(score, order, axis=-1)
    if n_used < ranked.shape[-1]:
        layer.model.margin = min(layer.model.margin, np.min(ranked[:, n_used - 1] - ranked[:, n_used]))
    return order[:, :n_used]


def swiglu(gate, up):
    return ops.silu(gate) * up


def total(layer, h, chosen, weight, act=swiglu):
    """The weighted sum of the chosen experts; chosen and weight are [T][n_used]."""
    down = layer['ffn_down_exps.weight']
    both = layer['ffn_gate_up_exps.weight']
    gate, up = (layer['ffn_gate_exps.weight'], layer['ffn_up_exps.weight']) if both is None else np.split(both, 2, 1)
    bias = lambda name, e: 0 if layer[f'ffn_{name}_exps.bias'] is None else layer[f'ffn_{name}_exps.bias'][e]
    y = np.zeros_like(h)
    for e in range(len(down)):
        token, place = np.nonzero(chosen == e)
        x = h[token]
        inner = act(x @ gate[e].T + bias('gate', e), x @ up[e].T + bias('up', e))
        y[token] += weight[token, place][:, None] * (inner @ down[e].T + bias('down', e))
    return y


def mixture(layer, h):
    """Weights are the chosen experts' probabilities, normalised; a bias moves only the choice."""
    score = layer.linear('ffn_gate_inp', h)
    p = ops.sigmoid(score) if layer.key('expert_gating_func', SOFTMAX) == SIGMOID else ops.softmax(score)
    bias = layer['exp_probs_b.bias']
    chosen = best(layer, p if bias is None else p + bias)
    weight = np.take_along_axis(p, chosen, axis=-1)
    weight = weight / np.maximum(weight.sum(axis=-1, keepdims=True), WEIGHT_SUM_MIN)
    return total(layer, h, chosen, weight * layer.key('expert_weights_scale', 1.0))


def with_shared(layer, h):
    """Besides, an expert that every token has, behind a gate of one number if there is one."""
    shared = ffn.gated(layer, h, suffix='_shexp')
    gate = layer['ffn_gate_inp_shexp.weight']
    return mixture(layer, h) + (shared if gate is None else shared * ops.sigmoid(h @ gate)[:, None])


def clamped(layer, h):
    """gpt-oss: softmax over the chosen experts, and its own activation."""
    def act(gate, up):
        gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
        return gate * ops.sigmoid(1.702 * gate) * (up + 1)

    score = layer.linear('ffn_gate_inp', h)
    chosen = best(layer, score)
    return total(layer, h, chosen, ops.softmax(np.take_along_axis(score, chosen, axis=-1)), act)
