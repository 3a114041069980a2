#!/usr/bin/env python3
"""Makes tests/golden: tiny random models with token ids and the float64 reference's logits.

  ref/make_golden.py [FOLDER]     <name>.gguf, <name>.tokens, <name>.logits.f32 [T][n_vocab]

Needs numpy.  The seeds are fixed, so the files come out the same; a model's seed is its
place in MODELS, so new ones go to the end.  What a model covers stands above it; sizes that
are not said are in random_model.DEFAULTS."""
import os
import pathlib
import sys

os.environ['OPENBLAS_NUM_THREADS'] = '1'  # sums in one order; and matrices are too small to share
import numpy as np

import archs
import gguf_read
import gguf_write
import random_model
from model import Model

N_TOK = 96
# Least distance, in probability or logits, of the last chosen expert from the next: a hundred
# times what the rounding of f32 does to it.
MARGIN = 2e-4

MODELS = {
    # tied output, an odd number of kv heads, three queries for each, f16 weights
    'llama': dict(arch='llama', d=64, n_head=9, n_head_kv=3, n_layer=2, n_embd=32, n_ff=64, n_vocab=72, eps=1e-5,
                  tied=True),
    # head size 80 as 4 x 20, biases, llama3 frequency factors
    'llama-hd80': dict(arch='llama', d=80, n_head=4, n_head_kv=2, n_layer=1, n_embd=48, n_ff=96, n_vocab=80, eps=1e-5,
                       store='f4', biased=('attn_q', 'attn_k', 'attn_v', 'attn_output'), factors=('rope_freqs',)),
    # YaRN
    'llama-yarn': dict(arch='llama', d=96, n_head=2, n_head_kv=1, n_layer=2, n_embd=32, n_ff=32, n_vocab=64, eps=1e-5,
                       store='f4', keys={'rope.scaling.type': 'yarn', 'rope.scaling.factor': 8.0,
                                         'rope.scaling.original_context_length': 32}),
    # positions scaled down, one kv head for all queries
    'llama-linear': dict(arch='llama', d=64, n_head=4, n_head_kv=1, n_layer=1, n_embd=32, n_ff=32, n_vocab=64,
                         eps=1e-5, store='f4', keys={'rope.scaling.type': 'linear', 'rope.scaling.factor': 2.5}),
    # biases of q, k and v, tied, an odd number of query heads
    'qwen2': dict(arch='qwen2', d=64, n_head=3, n_head_kv=1, n_layer=3, n_embd=32, n_ff=48, n_vocab=64,
                  freq_base=1e6, tied=True),
    # q, k and v in one matrix with one bias; head size 80, a key head for each query head
    'qwen2-fused': dict(arch='qwen2', d=80, n_head=3, n_head_kv=3, n_layer=2, n_embd=32, n_ff=32, n_vocab=80,
                        fused_qkv=True),
    # norms of queries and keys, tied; head size 128 with four layers, for states of prefixes
    'qwen3': dict(arch='qwen3', d=128, n_head=2, n_head_kv=1, n_layer=4, n_embd=20, n_ff=24, n_vocab=64,
                  freq_base=1e6, tied=True),
    # head size 64 with four layers; five query heads on one, own output
    'qwen3-hd64': dict(arch='qwen3', d=64, n_head=5, n_head_kv=1, n_layer=4, n_embd=20, n_ff=24, n_vocab=72,
                       freq_base=1e6),
    # YaRN on pairs of halves with all of its keys; head size 80
    'qwen3-yarn': dict(arch='qwen3', d=80, n_head=4, n_head_kv=2, n_layer=2, n_embd=32, n_ff=32, n_vocab=64,
                       keys={'rope.scaling.type': 'yarn', 'rope.scaling.factor': 4.0,
                             'rope.scaling.original_context_length': 64, 'rope.scaling.attn_factor': 0.875,
                             'rope.scaling.yarn_beta_fast': 4.0, 'rope.scaling.yarn_beta_slow': 0.5}),
    # Mixtral: two experts of six in each layer
    'llama-moe': dict(arch='llama', d=64, n_head=3, n_head_kv=1, n_layer=2, n_embd=32, n_ff=32, n_vocab=64, eps=1e-5,
                      n_expert=6, n_used=2, n_ff_expert=32),
    # norms of queries and keys before experts; head size 96
    'qwen3moe': dict(arch='qwen3moe', d=96, n_head=2, n_head_kv=1, n_layer=2, n_embd=32, n_ff=32, n_vocab=64,
                     n_expert=6, n_used=2, n_ff_expert=24),
    # the experts' gate and up in one tensor; three of five, tied
    'qwen3moe-fused': dict(arch='qwen3moe', d=64, n_head=3, n_head_kv=1, n_layer=2, n_embd=32, n_ff=32, n_vocab=64,
                           n_expert=5, n_used=3, n_ff_expert=24, fused_experts=True, tied=True),
    # longrope: the context may be longer than the original one; head size 96, every head its own keys; the
    # window in the file is not applied
    'phi3': dict(arch='phi3', d=96, n_head=3, n_head_kv=3, n_layer=2, n_embd=24, n_ff=32, n_vocab=64, eps=1e-5,
                 fused_qkv=True, factors=('rope_factors_long', 'rope_factors_short'),
                 keys={'rope.scaling.original_context_length': 64, 'rope.scaling.attn_factor': 1.1875,
                       'attention.sliding_window': 32}),
    # longrope's short factors: the context is the original one; 48 of 64 dimensions turn, grouped, tied
    'phi3-short': dict(arch='phi3', d=64, n_rot=48, n_head=3, n_head_kv=1, n_layer=3, n_embd=32, n_ff=48, n_vocab=64,
                       n_ctx=256, eps=1e-5, tied=True, fused_qkv=True,
                       factors=('rope_factors_long', 'rope_factors_short'),
                       keys={'rope.scaling.type': 'longrope', 'rope.scaling.original_context_length': 256,
                             'rope.scaling.attn_factor': 1.1875}),
    # five layers of six with a window of 24, the default pattern and bases; head size 64
    'gemma3': dict(arch='gemma3', d=64, n_head=2, n_head_kv=1, n_layer=6, n_embd=24, n_ff=32, n_vocab=64, n_tok=160,
                   freq_base=1e6, tied=True, keys={'attention.sliding_window': 24}),
    # head size 128 with four layers; a window of 70 in every other one, the global ones scaled linearly;
    # logits capped
    'gemma3-hd128': dict(arch='gemma3', d=128, n_head=2, n_head_kv=1, n_layer=4, n_embd=20, n_ff=24, n_vocab=64,
                         n_tok=288, freq_base=1e6, tied=True,
                         keys={'attention.sliding_window': 70, 'attention.sliding_window_pattern': 2,
                               'rope.scaling.type': 'linear', 'rope.scaling.factor': 8.0,
                               'final_logit_softcapping': 2.0}),
    # head size 256; the pattern as marks, the global layer first; its own scale of scores and local base
    'gemma3-hd256': dict(arch='gemma3', d=256, n_head=3, n_head_kv=1, n_layer=2, n_embd=16, n_ff=32, n_vocab=64,
                         n_tok=160, freq_base=1e6, tied=True,
                         keys={'attention.sliding_window': 64, 'rope.freq_base_swa': 20000.0,
                               'attention.sliding_window_pattern': (random_model.BOOL, [False, True]),
                               'attention.scale': 0.078125}),
    # sinks, biases everywhere, YaRN, a window of 24 in layers 0 and 2
    'gpt-oss': dict(arch='gpt-oss', d=64, n_head=3, n_head_kv=1, n_layer=3, n_embd=24, n_ff=24, n_vocab=64, n_tok=160,
                    freq_base=150000.0, eps=1e-5, n_expert=4, n_used=2, n_ff_expert=24,
                    keys={'attention.sliding_window': 24, 'rope.scaling.type': 'yarn', 'rope.scaling.factor': 32.0,
                          'rope.scaling.original_context_length': 64}),
    # a window of 70, head size 96, four experts of five
    'gpt-oss-hd96': dict(arch='gpt-oss', d=96, n_head=2, n_head_kv=2, n_layer=2, n_embd=24, n_ff=24, n_vocab=64,
                         n_tok=288, n_expert=5, n_used=4, n_ff_expert=24, keys={'attention.sliding_window': 70}),
    # three recurrent layers and one with gated attention; two key heads for four value heads; head size 64
    'qwen35': dict(arch='qwen35', d=64, n_rot=16, n_head=3, n_head_kv=1, n_layer=4, n_embd=32, n_ff=48, n_vocab=64,
                   recurrent=(0, 1, 2), n_k=2, n_v=4, d_state=16,
                   keys={'full_attention_interval': 4, 'rope.dimension_sections': (random_model.I32, [3, 3, 2, 0])}),
    # attention in every third layer, head size 128, three key heads for six, tied; a block for
    # prediction behind the four layers, which must be ignored
    'qwen35-mtp': dict(arch='qwen35', d=128, n_rot=32, n_head=2, n_head_kv=1, n_layer=4, n_embd=16, n_ff=24,
                       n_vocab=64, tied=True, recurrent=(0, 1, 3), n_k=3, n_v=6, d_state=16, n_mtp=1,
                       keys={'full_attention_interval': 3,
                             'rope.dimension_sections': (random_model.I32, [6, 5, 5, 0])}),
    # marks of recurrent layers instead of an interval; as many key heads as value heads, of size 128, a
    # convolution over three tokens, so small that epsilons show; head size 80
    'qwen35-marks': dict(arch='qwen35', d=80, n_rot=20, n_head=2, n_head_kv=2, n_layer=3, n_embd=16, n_ff=32,
                         n_vocab=64, recurrent=(1, 2), n_k=1, n_v=1, d_state=128, n_tap=3, conv_gain=0.01,
                         keys={'attention.recurrent_layers': (random_model.BOOL, [False, True, True]),
                               'rope.dimension_sections': (random_model.I32, [4, 3, 3, 0])}),
    # neighbouring value heads on one key head, three on each; experts and a gated shared one
    'qwen3next': dict(arch='qwen3next', d=64, n_rot=16, n_head=3, n_head_kv=1, n_layer=4, n_embd=20, n_ff=32,
                      n_vocab=64, recurrent=(0, 1, 3), n_k=2, n_v=6, d_state=16,
                      n_expert=4, n_used=2, n_ff_expert=16, n_ff_shared=24, keys={'full_attention_interval': 3}),
    # older files: all inputs of a recurrent layer in one matrix; head size 256, of which 64 turn
    'qwen3next-ssm-in': dict(arch='qwen3next', d=256, n_rot=64, n_head=2, n_head_kv=1, n_layer=2, n_embd=16, n_ff=32,
                             n_vocab=64, recurrent=(0,), n_k=2, n_v=4, d_state=32, fused_delta=True,
                             n_expert=5, n_used=3, n_ff_expert=16, n_ff_shared=16,
                             keys={'full_attention_interval': 2}),
    # no interval in the file: four; four value heads on each key head, experts with gate and up in one tensor
    'qwen35moe': dict(arch='qwen35moe', d=96, n_rot=24, n_head=3, n_head_kv=1, n_layer=4, n_embd=16, n_ff=32,
                      n_vocab=64, recurrent=(0, 1, 2), n_k=2, n_v=8, d_state=16,
                      n_expert=4, n_used=2, n_ff_expert=16, n_ff_shared=24, fused_experts=True,
                      keys={'rope.dimension_sections': (random_model.I32, [4, 4, 4, 0])}),
    # three heads; a layer without experts first; the choice of experts has a bias; latent attention in layer 2
    'kimi-linear': dict(arch='kimi-linear', d=16, n_head=3, n_head_kv=1, n_layer=4, n_embd=24, n_ff=48, n_vocab=64,
                        eps=1e-5, recurrent=(0, 1, 3), d_state=16, n_expert=6, n_used=2, n_ff_expert=16,
                        n_ff_shared=16, n_dense=1, latent=(48, 16, 8, 24)),
    # a latent of 512 and 64, as in the real model; two shared experts' width; tensors without dimensions
    # of 1; convolutions so small that epsilons show
    'kimi-linear-576': dict(arch='kimi-linear', d=32, n_head=2, n_head_kv=1, n_layer=3, n_embd=20, n_ff=32,
                            n_vocab=64, eps=1e-5, tied=True, recurrent=(0, 1), d_state=32, n_expert=4, n_used=3,
                            n_ff_expert=16, n_ff_shared=32, n_dense=2, latent=(512, 8, 64, 8), flat=True,
                            conv_gain=0.03),
    # scores capped at 3, logits too; a window of 70 in every other layer; head size 128
    'gemma2': dict(arch='gemma2', d=128, n_head=3, n_head_kv=1, n_layer=4, n_embd=20, n_ff=24, n_vocab=64, n_tok=288,
                   tied=True, keys={'attention.sliding_window': 70, 'attn_logit_softcapping': 3.0,
                                    'final_logit_softcapping': 2.0}),
}


def write(folder, name, rng, n_tok=N_TOK, **shape):
    path = folder / f'{name}.gguf'
    gguf_write.write(path, *random_model.build(rng, **shape))
    margin = 0
    while margin < MARGIN:
        model = Model(*gguf_read.read(path))
        ids = rng.integers(0, shape['n_vocab'], n_tok)
        logits = archs.logits(model, ids)
        margin = model.margin
    (folder / f'{name}.tokens').write_text(' '.join(map(str, ids)) + '\n')
    logits.astype('<f4').tofile(folder / f'{name}.logits.f32')


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / 'tests' / 'golden'
    out.mkdir(parents=True, exist_ok=True)
    for n, (name, shape) in enumerate(MODELS.items()):
        write(out, name, np.random.default_rng(1000 + n), **shape)


if __name__ == '__main__':
    main()
