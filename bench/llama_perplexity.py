#!/usr/bin/env python3
"""Perplexity of a model by llama.cpp and by Turbine: the same ids, the same positions, both
with an f16 cache.

  bench/llama_perplexity.py MODEL.gguf TEXT [--ctx 2048] [--windows 8] [--threads N]
                            [--kv f16|f32] [--flash auto|off]

llama.cpp's flash attention, its default, and its plain attention give different figures: for
Gemma 3 270M the first is 0.7 % above ours, the second 0.2 %.  --flash off compares the models and not the roundings:

  bench/llama_perplexity.py "$(script/model gemma3-270m)" wikitext2-test.txt --windows 4 --flash off

Needs npm (llama.cpp is the prebuilt package node-llama-cpp, put into build/node) and numpy.
TURBINE names the binary (default build/turbine)."""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np

import llamacpp


def nll_of_rows(llama, rows, targets):
    """-ln P of each target under the logits of the last eval."""
    total = 0.0
    for i, t in zip(rows, targets):
        x = llama.row(i).astype('f8')
        top = x.max()
        total += top + math.log(np.exp(x - top).sum()) - x[t]
    return total


def cut_windows(llama, ids, n_ctx, n_window):
    """As llama.cpp's perplexity tool does: a model that wants a bos gets it as first id."""
    windows = [ids[w * n_ctx:(w + 1) * n_ctx] for w in range(min(n_window, len(ids) // n_ctx))]
    if llama.bos() is not None:
        windows = [[llama.bos()] + w[1:] for w in windows]
    return windows


def llama_perplexity(llama, windows):
    nll, n, n_ctx = 0.0, 0, len(windows[0])
    for w, window in enumerate(windows):
        llama.rewind()
        for at in range(0, n_ctx, llama.n_batch):
            chunk = window[at:at + llama.n_batch]
            # Row i predicts token i + 1; scored: rows n_ctx / 2 .. n_ctx - 2.
            rows = [i for i in range(at, at + len(chunk)) if n_ctx // 2 <= i < n_ctx - 1]
            llama.eval(chunk, at + len(chunk) - rows[0] if rows else 0)
            nll += nll_of_rows(llama, [i - at for i in rows], [window[i + 1] for i in rows])
            n += len(rows)
            if sys.stderr.isatty():
                print(f'\rllama.cpp: window {w + 1} of {len(windows)}, {math.exp(nll / max(n, 1)):.4f} ',
                      end='', file=sys.stderr)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    return math.exp(nll / n), n


def turbine_perplexity(turbine, o, windows):
    """The f16 cache is always evaluated, as the reference; another type is one of its list."""
    with tempfile.NamedTemporaryFile('w', suffix='.tokens') as f:
        f.write(' '.join(str(t) for w in windows for t in w))
        f.flush()
        out = subprocess.run([turbine, 'eval', o.model, '--tokens', f.name, '--kv', o.kv, '--ctx', str(o.ctx),
                              '--windows', str(len(windows)), '--threads', str(o.threads), '--json'],
                             check=True, stdout=subprocess.PIPE).stdout
    return json.loads(out)['caches'][0]['ppl']


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('model')
    p.add_argument('text')
    p.add_argument('--ctx', type=int, default=2048)
    p.add_argument('--windows', type=int, default=8)
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--kv', choices=('f16', 'f32'), default='f16', help='type of both caches')
    p.add_argument('--flash', choices=('auto', 'off'), default='auto', help="llama.cpp's flash attention")
    o = p.parse_args()
    turbine = os.environ.get('TURBINE', str(llamacpp.ROOT / 'build' / 'turbine'))

    flash = llamacpp.FLASH_OFF if o.flash == 'off' else llamacpp.FLASH_AUTO
    llama = llamacpp.Llama(o.model, o.ctx, o.threads, flash=flash, kv=(o.kv, o.kv))
    text = open(o.text, 'rb').read()
    ids = llama.tokenize(text, add_special=True)
    windows = cut_windows(llama, ids, o.ctx, o.windows)
    if not windows:
        raise SystemExit(f'{o.text} is shorter than a window of {o.ctx} tokens')
    theirs, n = llama_perplexity(llama, windows)
    print(f'llama.cpp  {theirs:.5f}  ({n} predictions, {o.kv} cache, flash attention {o.flash})')

    ours = turbine_perplexity(turbine, o, windows)
    mine = subprocess.run([turbine, 'tokenize', o.model], input=text, stdout=subprocess.PIPE, check=True)
    same = list(map(int, mine.stdout.split())) == llama.tokenize(text)
    print(f'turbine    {ours:.5f}')
    print(f'difference {100 * (ours / theirs - 1):+.3f} %, '
          f'token ids of the text are {"the same" if same else "NOT the same"}')
    return 0 if same and abs(ours / theirs - 1) <= 0.005 else 1


if __name__ == '__main__':
    sys.exit(main())
