#!/usr/bin/env python3
"""Makes tests/golden: tiny random models with token ids and the float64 reference's logits.

  ref/make_golden.py [FOLDER]     <name>.gguf, <name>.tokens, <name>.logits.f32 [T][n_vocab]

Needs numpy.  The seed is fixed, so the files come out the same."""
import pathlib
import sys

import numpy as np

import gguf_write
import llama

N_TOK = 96
# name: (head_dim, n_head, n_head_kv, n_layer, n_embd, n_ff, n_vocab, stored type, what else)
MODELS = {
    # tied output, an odd number of kv heads, three queries for each, f16 weights
    'llama': dict(d=64, n_head=9, n_head_kv=3, n_layer=2, n_embd=32, n_ff=64, n_vocab=72, store='f2', tied=True),
    # head size 80 as 4 x 20, biases, llama3 frequency factors
    'llama-hd80': dict(d=80, n_head=4, n_head_kv=2, n_layer=1, n_embd=48, n_ff=96, n_vocab=80, store='f4',
                       bias=True, factors=True),
    # YaRN
    'llama-yarn': dict(d=96, n_head=2, n_head_kv=1, n_layer=2, n_embd=32, n_ff=32, n_vocab=64, store='f4',
                       yarn=(8.0, 32)),
    # positions scaled down, one kv head for all queries
    'llama-linear': dict(d=64, n_head=4, n_head_kv=1, n_layer=1, n_embd=32, n_ff=32, n_vocab=64, store='f4',
                         linear=2.5),
}


def build(rng, d, n_head, n_head_kv, n_layer, n_embd, n_ff, n_vocab, store, tied=False, bias=False,
          factors=False, yarn=None, linear=None):
    """(metadata, tensors) of a random model; gains that keep every part visible in the logits."""
    matrix = lambda n_out, n_in, gain=1.0: (gain * rng.standard_normal((n_out, n_in)) / np.sqrt(n_in)).astype(store)
    norm = lambda n: (1 + 0.25 * rng.standard_normal(n)).astype('f4')
    meta = {
        'general.architecture': 'llama', 'tokenizer.ggml.model': 'no_vocab',
        'llama.vocab_size': n_vocab, 'llama.context_length': 1024, 'llama.embedding_length': n_embd,
        'llama.block_count': n_layer, 'llama.feed_forward_length': n_ff, 'llama.attention.head_count': n_head,
        'llama.attention.head_count_kv': n_head_kv, 'llama.attention.key_length': d,
        'llama.attention.value_length': d, 'llama.rope.dimension_count': d,
        'llama.rope.freq_base': 10000.0, 'llama.attention.layer_norm_rms_epsilon': 1e-5,
    }
    w = {'token_embd.weight': matrix(n_vocab, n_embd, np.sqrt(n_embd)), 'output_norm.weight': norm(n_embd)}
    if not tied:
        w['output.weight'] = matrix(n_vocab, n_embd)
    if factors:
        w['rope_freqs.weight'] = np.exp(rng.uniform(0, 2, d // 2)).astype('f4')
    if yarn:
        meta |= {'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.factor': yarn[0],
                 'llama.rope.scaling.original_context_length': yarn[1]}
    if linear:
        meta |= {'llama.rope.scaling.type': 'linear', 'llama.rope.scaling.factor': linear}
    for i in range(n_layer):
        b = f'blk.{i}.'
        for name, n_out, n_in, gain in (
                ('attn_q', n_head * d, n_embd, 1.5), ('attn_k', n_head_kv * d, n_embd, 1.5),
                ('attn_v', n_head_kv * d, n_embd, 1.0), ('attn_output', n_embd, n_head * d, 2.0),
                ('ffn_gate', n_ff, n_embd, 1.0), ('ffn_up', n_ff, n_embd, 1.0), ('ffn_down', n_embd, n_ff, 1.0)):
            w[f'{b}{name}.weight'] = matrix(n_out, n_in, gain)
            if bias and name in ('attn_q', 'attn_k', 'attn_v', 'attn_output'):
                w[f'{b}{name}.bias'] = (0.3 * rng.standard_normal(n_out)).astype('f4')
        w[b + 'attn_norm.weight'], w[b + 'ffn_norm.weight'] = norm(n_embd), norm(n_embd)
    return meta, w


def main():
    here = pathlib.Path(__file__).resolve().parent.parent
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else here / 'tests' / 'golden'
    out.mkdir(parents=True, exist_ok=True)
    for n, (name, shape) in enumerate(MODELS.items()):
        rng = np.random.default_rng(1000 + n)
        meta, tensors = build(rng, **shape)
        ids = rng.integers(0, shape['n_vocab'], N_TOK)
        gguf_write.write(out / f'{name}.gguf', meta, tensors)
        (out / f'{name}.tokens').write_text(' '.join(map(str, ids)) + '\n')
        llama.logits(meta, tensors, ids).astype('<f4').tofile(out / f'{name}.logits.f32')


if __name__ == '__main__':
    main()
