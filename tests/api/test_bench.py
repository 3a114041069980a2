"""`turbine bench`: formats, limits computed anew from `turbine inspect`, the picture."""
import json
import math
import os
import re
import stat
import subprocess
import xml.etree.ElementTree as xml

import numpy as np
import pytest

from measure_helper import GOLDEN, TURBINE, assert_fails, raw_logits, turbine

LLAMA = GOLDEN / 'llama.gguf'  # 2 layers, 3 kv heads of 64, 72 ids, tied
UNTIED = GOLDEN / 'llama-hd80.gguf'  # a matrix of its own for the output
SVG = '{http://www.w3.org/2000/svg}'


def bench_json(*args):
    return json.loads(turbine('bench', *args, '--json').stdout)


# ---- speed ----

def test_bench_json():
    r = json.loads(turbine('bench', LLAMA, '--kv', 'f16,turbo4/turbo3', '--depth', '200,0', '--prefill', 16,
                           '--decode', 4, '--repeat', 2, '--threads', 2, '--json').stdout)
    assert (r['threads'], r['n_prefill'], r['n_decode'], r['repeat'], r['arch']) == (2, 16, 4, 2, 'llama')
    assert [(x['kv'], x['depth']) for x in r['results']] == [
        ('f16', 0), ('f16', 200), ('turbo4/turbo3', 0), ('turbo4/turbo3', 200)]
    for x in r['results']:
        for what in ('prefill', 'decode'):
            assert 0 < x[what]['median'] <= x[what]['best'] and x[what]['spread_percent'] >= 0
    assert r['results'][0]['cache_bytes'] == 256 * 2 * 3 * 2 * 64 * 2  # 216 tokens, in pages of 64


def test_synthetic_model(tmp_path):
    """Types of the Q4_K_M mixture: rows of 576 do not divide by 256 and fall back."""
    path = tmp_path / 'model.gguf'
    turbine('bench', '--synthetic', 'smollm2-135m:Q4_K_M', '--write', path, '--repeat', 0)
    tensors = {t['name']: t for t in json.loads(turbine('inspect', path, '--json').stdout)['tensors']}
    assert len(tensors) == 2 + 30 * 9
    assert tensors['token_embd.weight']['dtype'] == 'Q8_0' and tensors['output_norm.weight']['dtype'] == 'F32'
    more = [i for i in range(30) if i < 3 or i >= 26 or (i - 3) % 3 == 2]
    for i in range(30):
        assert tensors[f'blk.{i}.attn_q.weight']['dtype'] == 'Q5_0'
        assert tensors[f'blk.{i}.attn_v.weight']['dtype'] == ('Q8_0' if i in more else 'Q5_0')
        assert tensors[f'blk.{i}.ffn_down.weight']['dtype'] == ('Q6_K' if i in more else 'Q4_K')
        assert tensors[f'blk.{i}.ffn_down.weight']['shape'] == [1536, 576]
    ids = tmp_path / 'ids'
    ids.write_text('1 2 3')
    x = np.frombuffer(raw_logits(path, ids), '<f4').reshape(3, 49152)
    assert np.isfinite(x).all() and 0.3 < x.std() < 3
    # Enough tokens for products with tiles, where the machine has any: not a bit differs without.
    ids.write_text(' '.join(map(str, range(1, 69))))
    many = raw_logits(path, ids, '--batch', 512)
    assert many[:x.nbytes] == x.tobytes()
    assert many == raw_logits(path, ids, '--batch', 7, '--threads', 1)
    assert many == raw_logits(path, ids, '--cpu', 'avx512vnni')


@pytest.mark.parametrize('dtype, short', [('IQ4_XS', 'IQ4_NL'), ('MXFP4', 'MXFP4'), ('TQ2_0', 'Q4_0')])
def test_synthetic_types(tmp_path, dtype, short):
    """Rows of 576 take the type with short blocks, those of 1536 the other."""
    path = tmp_path / 'model.gguf'
    turbine('bench', '--synthetic', f'smollm2-135m:{dtype}', '--write', path, '--repeat', 0)
    tensors = {t['name']: t for t in json.loads(turbine('inspect', path, '--json').stdout)['tensors']}
    assert tensors['blk.0.attn_q.weight']['dtype'] == short
    assert tensors['blk.0.ffn_down.weight']['dtype'] == dtype
    ids = tmp_path / 'ids'
    ids.write_text('1 2 3')
    x = np.frombuffer(raw_logits(path, ids), '<f4').reshape(3, 49152)
    assert np.isfinite(x).all() and 0.3 < x.std() < 3


def test_synthetic_file_is_removed(tmp_path, monkeypatch):
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    r = json.loads(turbine('bench', '--synthetic', 'smollm2-135m:Q4_0', '--prefill', 8, '--decode', 2,
                           '--repeat', 1, '--kv', 'f16', '--json').stdout)
    assert r['model'] == 'smollm2-135m:Q4_0' and r['results'][0]['decode']['best'] > 0
    assert not list(tmp_path.iterdir())


# ---- limits ----

class Work:
    """What tokens cost, from the tensors of the file and the widths of the cache's rows."""

    def __init__(self, model):
        info = json.loads(turbine('inspect', model, '--json').stdout)
        get = lambda key: info['metadata'][f'llama.{key}']
        self.layers, self.heads = get('block_count'), get('attention.head_count')
        self.kv_heads, self.dim = get('attention.head_count_kv'), get('attention.key_length')
        matrices = {t['name']: t for t in info['tensors'] if len(t['shape']) == 2}
        embedding = matrices.pop('token_embd.weight')
        head = matrices.pop('output.weight', embedding)  # tied: the embedding is the head
        padded = lambda t: t['bytes'] // t['shape'][1] * (-(-t['shape'][1] // 16) * 16)
        self.bytes, self.head_bytes = sum(map(padded, matrices.values())), padded(head)
        self.macs = sum(math.prod(t['shape']) for t in matrices.values())
        self.head_macs = math.prod(head['shape'])

    def cache(self, pos, row_bytes):
        """Bytes that the query at pos reads; row_bytes(exact) is of a key and a value."""
        first = max(0, pos // 64 - 2) * 64
        exact = sum(j < 4 or j >= first for j in range(pos + 1))
        return self.layers * self.kv_heads * (exact * row_bytes(True) + (pos + 1 - exact) * row_bytes(False))

    def attention(self, pos):
        return self.layers * self.heads * 2 * self.dim * (pos + 1)


F16 = lambda exact: 2 * 2 * 64
TURBO4_F16 = lambda exact: 2 * 64 + (2 * 64 if exact else 2 + 64 // 2)  # keys f16, values turbo4
TURBO3 = lambda exact: 2 * 2 * 64 if exact else 2 * (2 + 64 * 3 // 8)


def check_limit(r, row, what, work_bytes, macs, n):
    memory, int8 = r['read_gb_s'] * 1e9 * n / work_bytes, r['int8_gmac_s'] * 1e9 * n / macs
    got = r['results'][row][what]
    assert got['limit'] == pytest.approx(min(memory, int8), rel=1e-9)
    assert got['bound'] == ('int8' if int8 < memory else 'memory')
    assert got['share_percent'] == pytest.approx(100 * got['best'] / got['limit'], rel=1e-9)
    return got['bound']


@pytest.mark.parametrize('kv, row', [('f16', F16), ('f16/turbo4', TURBO4_F16), ('turbo3', TURBO3)])
def test_limits(kv, row):
    w, n_decode, n_prefill = Work(LLAMA), 3, 70
    assert (w.bytes, w.head_bytes) == (2 * (2 * 36864 + 2 * 12288 + 3 * 4096), 80 * 32 * 2)  # 72 rows in tiles of 16
    assert (w.macs, w.head_macs) == (w.bytes // 2, 72 * 32)
    r = bench_json(LLAMA, '--kv', kv, '--depth', '0,300', '--prefill', n_prefill, '--decode', n_decode, '--repeat', 1)
    for i, depth in enumerate((0, 300)):
        tokens = range(depth, depth + n_decode)
        check_limit(r, i, 'decode', sum(w.bytes + w.head_bytes + w.cache(p, row) for p in tokens),
                    sum(w.macs + w.head_macs + w.attention(p) for p in tokens), n_decode)
        tokens = range(depth, depth + n_prefill)  # one step
        check_limit(r, i, 'prefill', w.bytes + w.head_bytes + w.cache(tokens[-1], row),
                    w.head_macs + sum(w.macs + w.attention(p) for p in tokens), n_prefill)


def test_limits_of_several_steps_without_a_fast_instruction():
    """An output matrix of its own, 600 tokens as 512 and 88, portable C."""
    w, n = Work(UNTIED), 600
    row = lambda exact: 2 * 2 * w.dim
    r = bench_json(UNTIED, '--kv', 'f16', '--prefill', n, '--decode', 0, '--repeat', 1, '--cpu', 'c')
    work_bytes = 2 * w.bytes + w.head_bytes + w.cache(511, row) + w.cache(599, row)
    macs = w.head_macs + sum(w.macs + w.attention(i) for i in range(n))
    assert check_limit(r, 0, 'prefill', work_bytes, macs, n) == 'int8'


def test_bench_leaves_out_what_is_zero():
    r = bench_json(LLAMA, '--kv', 'f16', '--prefill', 0, '--decode', 2)
    assert r['results'][0]['prefill'] is None and r['results'][0]['decode']['best'] > 0
    assert 0.1 < r['read_gb_s_median'] <= r['read_gb_s'] < 10000
    assert 0.1 < r['int8_gmac_s_median'] <= r['int8_gmac_s'] < 1e6
    assert (r['tile_gmac_s'] is not None) == (r['isa'] == 'amx')
    assert r['isa'] != 'amx' or r['tile_gmac_s'] > r['int8_gmac_s']
    assert 0 < r['load_seconds'] < 60
    # Not what the machine was measured with.
    assert r['peak_bytes'] is None or r['weight_bytes'] < r['peak_bytes'] < 256 << 20


def test_table():
    lines = turbine('bench', LLAMA, '--kv', 'f16,turbo4', '--prefill', 2, '--decode', 0, '--repeat', 1,
                    '--threads', 2).stdout.decode().splitlines()
    assert 'ready in ' in lines[0] and '2 threads' in lines[1]
    assert lines[2].startswith('machine: reads ') and ' GB/s' in lines[2] and ' int8/s' in lines[2]
    assert re.fullmatch(r'memory: (\d+\.\d MiB at most|the system does not say)', lines[3])
    assert lines[5].split().count('limit') == lines[5].split().count('share') == 2
    assert [l.split()[0] for l in lines[6:]] == ['f16', 'turbo4']
    assert lines[6].split()[-5:] == ['-'] * 5  # no decode


def test_bench_sequences():
    args = ['bench', LLAMA, '--kv', 'f16,turbo4', '--depth', '0,70', '--prefill', 0, '--decode', 3, '--repeat', 2]
    r = json.loads(turbine(*args, '--sequences', '1,4', '--json').stdout)
    assert len(r['results']) == 4
    for x in r['results']:
        assert [s['n'] for s in x['sequences']] == [1, 4]
        assert all(0 < s['decode']['median'] <= s['decode']['best'] for s in x['sequences'])
    head, *rows = turbine(*args, '--sequences', '1,4').stdout.decode().splitlines()[5:]
    assert head.split()[-6:] == ['1', 'seq', 'spread', '4', 'seq', 'spread']
    plain_head, *plain_rows = turbine(*args).stdout.decode().splitlines()[5:]
    assert head.startswith(plain_head) and len(rows) == len(plain_rows) == 4
    assert all(len(row) == len(head) for row in rows)
    assert all('sequences' not in x for x in json.loads(turbine(*args, '--json').stdout)['results'])


# ---- the picture ----

def run_raw(*args):
    """Arguments that are no text."""
    return subprocess.run([TURBINE, *args], capture_output=True, timeout=120)


def plot(path, *args):
    turbine('bench', LLAMA, '--repeat', 1, '--plot', path, *args)
    return xml.parse(path).getroot()


def test_plot(tmp_path):
    path = tmp_path / 'speed.svg'
    path.write_text('old')
    svg = plot(path, '--kv', 'f16,turbo4,turbo4:plain', '--depth', '0,64,128', '--prefill', 8, '--decode', 2)
    assert os.listdir(tmp_path) == ['speed.svg']
    text = [t.text for t in svg.iter(SVG + 'text')]
    for kv in ('f16', 'turbo4', 'turbo4:plain'):
        assert sum(t.split()[0] == kv for t in text) == 2  # a label in each panel
    lines = [p for p in svg.iter(SVG + 'path') if p.get('fill') == 'none']
    dashed = [p for p in lines if p.get('stroke-dasharray')]
    assert len(lines) == 2 * 3 * 2 and len(dashed) == len(lines) // 2
    assert len(list(svg.iter(SVG + 'circle'))) == 2 * 3 * 3
    height = float(svg.get('height'))
    for p in lines:
        at = np.array([list(map(float, xy.split())) for xy in p.get('d').lstrip('M').split('L')])
        assert (np.diff(at[:, 0]) > 0).all()  # to the right with depth
        assert (at[:, 1] > 0).all() and (at[:, 1] < height).all()
    for p in dashed:  # a deeper cache never allows more: not higher in the picture
        y = [float(xy.split()[1]) for xy in p.get('d').lstrip('M').split('L')]
        assert y == sorted(y)
    labels = sorted(float(t.get('y')) for t in svg.iter(SVG + 'text') if t.get('class') == 'name')
    assert min(np.diff(labels)) >= 17  # legible


def test_plot_of_one_panel_and_one_depth(tmp_path):
    svg = plot(tmp_path / 'a.svg', '--kv', 'f16', '--prefill', 0, '--decode', 2)
    assert len(list(svg.iter(SVG + 'circle'))) == 1
    assert not any('Prefill' in t.text for t in svg.iter(SVG + 'text'))


def test_plot_escapes_the_name(tmp_path):
    model = os.fsencode(tmp_path) + b"/<&'\xff\x01.gguf"
    os.symlink(os.fsencode(LLAMA), model)
    r = run_raw('bench', model, '--kv', 'f16', '--prefill', '0', '--decode', '1', '--repeat', '1',
                      '--plot', tmp_path / 'a.svg')
    assert r.returncode == 0
    title = next(xml.parse(tmp_path / 'a.svg').getroot().iter(SVG + 'text')).text
    assert title.endswith("/<&'??.gguf: speed against depth")


def test_plot_that_cannot_be_written(tmp_path):
    run = ('bench', LLAMA, '--kv', 'f16', '--prefill', 0, '--decode', 1, '--repeat', 1, '--plot')
    assert_fails(['cannot write', 'missing/x.svg'], *run, tmp_path / 'missing/x.svg')
    r = turbine(*run, '/dev/full', check=False)
    assert r.returncode == 1 and b'cannot write /dev/full: No space' in r.stderr
    assert stat.S_ISCHR(os.stat('/dev/full').st_mode)  # not replaced by a file
    assert_fails(['--plot', '--repeat'], 'bench', LLAMA, '--repeat', 0, '--plot', tmp_path / 'x.svg', code=2)
    assert not list(tmp_path.iterdir())
