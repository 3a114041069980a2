"""Rotary position embedding: frequencies with their scalings, and the rotation.

YaRN: arXiv 2309.00071.  Longrope: arXiv 2402.13753; here the factors are in the file.
Positions of text are the same in all sections of a multi-section RoPE, so that it is the
plain one."""
import numpy as np


def frequencies(layer, n_rot, base, scaled=True):
    """(angle per position of each pair, factor of cosines and sines)."""
    f = base ** (-np.arange(0, n_rot, 2) / n_rot)
    divisor = _divisor(layer.model)
    if divisor is not None:
        f = f / divisor
    kind, factor = layer.key('rope.scaling.type', 'none'), layer.key('rope.scaling.factor', 1.0)
    mscale = layer.key('rope.scaling.attn_factor', 1.0)
    if not scaled:
        return f, 1.0
    if kind == 'linear':
        return f / factor, mscale
    if kind == 'yarn':
        n_orig = layer.key('rope.scaling.original_context_length')
        # The pair that turns `beta` times within the original context.
        pair = lambda beta: n_rot * np.log(n_orig / (2 * np.pi * beta)) / (2 * np.log(base))
        low = max(0, np.floor(pair(layer.key('rope.scaling.yarn_beta_fast', 32))))
        high = min(n_rot - 1, np.ceil(pair(layer.key('rope.scaling.yarn_beta_slow', 1))))
        keep = 1 - np.clip((np.arange(n_rot // 2) - low) / max(0.001, high - low), 0, 1)
        return f * keep + f / factor * (1 - keep), (0.1 * np.log(factor) + 1) * mscale
    return f, mscale


def _divisor(model):
    """Frequency factors, or None.  Those of longrope are chosen once, by the size of the
    context and not by position: here a context is as long as the model allows."""
    size = 'long' if model.key('context_length') > model.key('rope.scaling.original_context_length', 0) else 'short'
    return model.tensors.get(f'rope_factors_{size}.weight', model.tensors.get('rope_freqs.weight'))


def rotate(x, f, mscale, neighbours):
    """x [T][n_head][d]; the first 2 len(f) values of a head turn, in pairs of neighbours
    (2i, 2i + 1) or of halves (i, i + len(f)); the others stay."""
    n = 2 * len(f)
    first, second = (slice(0, n, 2), slice(1, n, 2)) if neighbours else (slice(0, n // 2), slice(n // 2, n))
    angle = np.arange(len(x))[:, None, None] * f
    c, s = np.cos(angle) * mscale, np.sin(angle) * mscale
    a, b = x[..., first], x[..., second]
    y = x.copy()
    y[..., first], y[..., second] = a * c - b * s, a * s + b * c
    return y
