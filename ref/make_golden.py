#!/usr/bin/env python3
"""Makes tests/golden: tiny random models with token ids and the float64 reference's logits.

  ref/make_golden.py [FOLDER]     <name>.gguf, <name>.tokens, <name>.logits.f32 [T][n_vocab]

Needs numpy.  The seeds are fixed, so the files come out the same; a model's seed is its
place in MODELS, so new ones go to the end.  What a model covers stands above it; sizes that
are not said are in random_model.DEFAULTS."""
import pathlib
import sys

import numpy as np

import archs
import gguf_read
import gguf_write
import random_model
from model import Model

N_TOK = 96
# Experts are chosen by a distance that no rounding of f32 bridges.
MARGIN = 1e-3

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
