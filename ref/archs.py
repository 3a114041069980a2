"""Twelve architectures in float64 numpy: the definition that golden files come from.

The loop is written once; an architecture says which mixer and which feed-forward network a
layer has.  Sources: transformers/models/{llama,mixtral,qwen2,qwen3,qwen3_moe,phi3,gemma2,gemma3,
gpt_oss,qwen3_next,qwen3_5,qwen3_5_moe}/modeling_*.py, arXiv 2510.26692 for kimi-linear; keys
and names of tensors: the GGUF specification."""
import dataclasses
import functools
from collections.abc import Callable

import numpy as np

import experts
import ffn
import linear
import mixers
import ops
from model import Layer


@dataclasses.dataclass(frozen=True)
class Arch:
    """mixer and ffn: (layer, [T][n_embd] after the norm) -> [T][n_embd]."""
    mixer: Callable = mixers.plain
    ffn: Callable = ffn.gated
    ffn_norm: str = 'ffn_norm'  # name of the norm before the feed-forward network
    post_norms: tuple = (None, None)  # names of norms after the mixer and after the other
    scaled_embedding: bool = False  # by the root of n_embd


def with_delta_net(delta_net):
    """Recurrent layers, and every full_attention_interval-th with attention."""
    def mixer(layer, h):
        full = (layer.index + 1) % layer.key('full_attention_interval', 4) == 0
        return (delta_net if layer.key('attention.recurrent_layers', not full) else mixers.gated)(layer, h)
    return mixer


def kimi_mixer(layer, h):
    return (mixers.latent if layer.key('attention.head_count_kv') else linear.kda)(layer, h)


def kimi_ffn(layer, h):
    dense = layer.index < layer.key('leading_dense_block_count')
    return (ffn.gated if dense else experts.with_shared)(layer, h)


def llama_ffn(layer, h):
    return (experts.mixture if layer.key('expert_count', 0) else ffn.gated)(layer, h)


hybrid = functools.partial(Arch, ffn_norm='post_attention_norm')
ARCHS = {
    'llama': Arch(mixers.neighbours, llama_ffn),
    'qwen2': Arch(),
    'qwen3': Arch(),
    'qwen3moe': Arch(ffn=experts.mixture),
    'phi3': Arch(ffn=ffn.gated_fused),
    'gemma2': Arch(mixers.alternating, functools.partial(ffn.gated, act=ops.gelu), scaled_embedding=True,
                   post_norms=('post_attention_norm', 'post_ffw_norm')),
    'gemma3': Arch(mixers.gemma, functools.partial(ffn.gated, act=ops.gelu), scaled_embedding=True,
                   post_norms=('post_attention_norm', 'post_ffw_norm')),
    'gpt-oss': Arch(mixers.alternating, experts.clamped, ffn_norm='post_attention_norm'),
    'qwen3next': hybrid(with_delta_net(linear.grouped), experts.with_shared),
    'qwen35': hybrid(with_delta_net(linear.tiled)),
    'qwen35moe': hybrid(with_delta_net(linear.tiled), experts.with_shared),
    'kimi-linear': Arch(kimi_mixer, kimi_ffn),
}


def logits(model, ids):
    """[len(ids)][n_vocab]"""
    arch, w = ARCHS[model.arch], model.tensors
    x = w['token_embd.weight'][ids]
    if arch.scaled_embedding:
        x = x * np.sqrt(x.shape[-1])
    # Blocks behind the trunk predict further tokens; the logits do not depend on them.
    for i in range(model.key('block_count') - model.key('nextn_predict_layers', 0)):
        layer = Layer(model, i)
        for part, norm, post in zip((arch.mixer, arch.ffn), ('attn_norm', arch.ffn_norm), arch.post_norms):
            y = part(layer, ops.rms_norm(x, layer[norm + '.weight'], model.eps))
            x = x + (ops.rms_norm(y, layer[post + '.weight'], model.eps) if post else y)
    y = ops.rms_norm(x, w['output_norm.weight'], model.eps) @ w.get('output.weight', w['token_embd.weight']).T
    cap = model.key('final_logit_softcapping')
    return cap * np.tanh(y / cap) if cap else y
