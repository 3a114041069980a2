"""What several architectures share, in float64: activations, norms, softmax attention."""
import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gelu(x):
    """The tanh form: Gemma's."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x ** 3)))


def softplus(x):
    return np.logaddexp(0, x)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def l2_norm(x, eps):
    return x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + eps)


def attention(q, k, v, scale, window=None, sinks=None, cap=None):
    """q [T][n_head][d], k [T][n_head_kv][d], v [T][n_head_kv][d_v] -> [T][n_head][d_v].

    window: how many tokens a query sees, its own included.  sinks [n_head]: one more logit
    for each head, which takes its share of the weight and has no value.  cap: of scores, which
    become cap tanh(score / cap)."""
    n_tok, n_head, _ = q.shape
    group = n_head // k.shape[1]
    age = np.arange(n_tok)[:, None] - np.arange(n_tok)
    hidden = (age < 0) | (age >= (window or n_tok))
    heads = []
    for h in range(n_head):
        score = np.where(hidden, -np.inf, q[:, h] @ k[:, h // group].T * scale)
        if cap:
            score = np.where(hidden, -np.inf, cap * np.tanh(q[:, h] @ k[:, h // group].T * scale / cap))
        if sinks is not None:
            score = np.column_stack([score, np.full(n_tok, sinks[h])])
        heads.append(softmax(score)[:, :n_tok] @ v[:, h // group])
    return np.stack(heads, axis=1)
