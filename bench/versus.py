#!/usr/bin/env python3
"""Speed against llama.cpp: the same GGUF, the same threads, an empty context.

  bench/versus.py MODEL.gguf|SHAPE:TYPE [--prefill 512] [--decode 64] [--repeat 5] [--threads N]

Both engines take turns, each figure is the best of the repeated runs.  SHAPE:TYPE is a
synthetic model of `turbine bench`.  llama.cpp comes by npm into build/node; TURBINE names
the binary (default build/turbine)."""
import argparse
import json
import os
import subprocess
import tempfile
import time

import llamacpp


def llama_seconds(llama, ids, n_prefill, n_decode):
    """(prefill, decode) of one run behind an empty cache."""
    llama.rewind()
    start = time.perf_counter()
    for at in range(0, n_prefill, llama.n_batch):
        llama.eval(ids[at:min(at + llama.n_batch, n_prefill)], 1)
    prefill = time.perf_counter() - start
    llama.rewind()
    start = time.perf_counter()
    for i in range(n_decode):
        llama.eval(ids[i:i + 1], 1)
    return prefill, time.perf_counter() - start


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('model')
    p.add_argument('--prefill', type=int, default=512)
    p.add_argument('--decode', type=int, default=64)
    p.add_argument('--repeat', type=int, default=5)
    p.add_argument('--threads', type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument('--kv', default='f16', help='of Turbine; llama.cpp has f16')
    o = p.parse_args()
    turbine = os.environ.get('TURBINE', str(llamacpp.ROOT / 'build' / 'turbine'))
    with tempfile.TemporaryDirectory() as folder:
        path = o.model
        if not os.path.exists(path):
            path = f'{folder}/model.gguf'
            subprocess.run([turbine, 'bench', '--synthetic', o.model, '--write', path, '--repeat', '0'], check=True)
        n_ctx = max(o.prefill, o.decode)
        # Flash attention is llama.cpp's default, but without it the CPU may be faster: take the best.
        rivals = [llamacpp.Llama(path, n_ctx, o.threads, flash=f) for f in (llamacpp.FLASH_OFF, llamacpp.FLASH_ON)]
        ids = [(i * 7919 + 13) % rivals[0].n_vocab for i in range(n_ctx)]
        best = {'llama.cpp': [1e9, 1e9], 'turbine': [1e9, 1e9]}
        for _ in range(o.repeat):
            for llama in rivals:
                best['llama.cpp'] = list(map(min, best['llama.cpp'], llama_seconds(llama, ids, o.prefill, o.decode)))
            out = subprocess.run(
                [turbine, 'bench', path, '--kv', o.kv, '--prefill', str(o.prefill), '--decode', str(o.decode),
                 '--repeat', '2', '--threads', str(o.threads), '--json'], check=True, stdout=subprocess.PIPE).stdout
            r = json.loads(out)['results'][0]
            best['turbine'] = list(map(min, best['turbine'], [o.prefill / r['prefill']['best'], o.decode / r['decode']['best']]))
    print(f'{o.model}, {o.threads} threads, cache {o.kv}, tokens/s')
    for what, n, i in (('prefill', o.prefill, 0), ('decode', o.decode, 1)):
        ours, theirs = n / best['turbine'][i], n / best['llama.cpp'][i]
        print(f'{what:8s} {n:5d}  turbine {ours:8.2f}  llama.cpp {theirs:8.2f}  ratio {ours / theirs:.2f}')


if __name__ == '__main__':
    main()
