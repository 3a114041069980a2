"""`turbine eval` and `logits`: figures against numpy, formats; errors of these and `bench`."""
import json

import numpy as np
import pytest

from measure_helper import GOLDEN, ROOT, assert_fails, logits, turbine

LLAMA = GOLDEN / 'llama.gguf'  # 2 layers, 3 kv heads of 64, 72 ids
STORIES = ROOT / 'tests/data/stories260K.gguf'
N_VOCAB = 72


@pytest.fixture
def ids_file(tmp_path):
    def write(n, name='ids'):
        path = tmp_path / name
        path.write_text(' '.join(map(str, np.random.default_rng(4).integers(0, N_VOCAB, n))))
        return path
    return write


def tokenize(model, text):
    out = turbine('tokenize', model, stdin=text.read_bytes()).stdout
    ids = list(map(int, out.split()))
    return np.array(ids if ids[0] == 1 else [1] + ids)  # 1: the bos of stories260K


def log_softmax(x):
    x = x.astype('f8')
    top = x.max(axis=1, keepdims=True)
    return x - top - np.log(np.exp(x - top).sum(axis=1, keepdims=True))


def window_scores(model, windows, kv):
    """(log-probabilities of scored rows, the ids they predict)"""
    rows, targets = [], []
    for w in windows:
        n = len(w)
        rows.append(log_softmax(logits(model, w, '--kv', kv))[n // 2:n - 1])
        targets.append(w[n // 2 + 1:])
    return np.concatenate(rows), np.concatenate(targets)


def perplexity(rows, targets):
    return np.exp(-rows[np.arange(len(targets)), targets].mean())


def eval_json(*args):
    return json.loads(turbine('eval', *args, '--json').stdout)


# ---- eval ----

def test_eval_agrees_with_numpy(ids_file):
    path, ctx = ids_file(777), 300  # two windows and a rest
    ids = np.array(path.read_text().split(), int)
    windows = [ids[:300], ids[300:600]]
    r = eval_json(LLAMA, '--tokens', path, '--ctx', ctx, '--windows', 5, '--kv', 'f16,turbo3,turbo8/turbo2')
    assert (r['windows'], r['scored']) == (2, 2 * 149)
    ref, targets = window_scores(LLAMA, windows, 'f16')
    assert r['reference']['ppl'] == pytest.approx(perplexity(ref, targets), rel=1e-9)
    assert [c['kv'] for c in r['caches']] == ['f16', 'turbo3', 'turbo8/turbo2']
    for cache in r['caches'][1:]:
        rows, _ = window_scores(LLAMA, windows, cache['kv'])
        kl = (np.exp(ref) * (ref - rows)).sum(axis=1)
        assert kl.mean() > 1e-4  # something is compressed
        want = {'ppl': perplexity(rows, targets), 'kl_mean': kl.mean(), 'kl_median': np.median(kl),
                'kl_99': np.quantile(kl, 0.99), 'kl_999': np.quantile(kl, 0.999),
                'same_top': (ref.argmax(1) == rows.argmax(1)).mean(),
                'ppl_ratio': perplexity(rows, targets) / perplexity(ref, targets)}
        for key, value in want.items():
            assert cache[key] == pytest.approx(value, rel=1e-7, abs=1e-12), key


def test_f16_against_itself_is_zero(ids_file):
    control = eval_json(LLAMA, '--tokens', ids_file(300), '--ctx', 300, '--kv', 'f16')['caches'][0]
    assert [control[k] for k in ('kl_mean', 'kl_median', 'kl_99', 'kl_999')] == [0, 0, 0, 0]
    assert control['same_top'] == 1 and control['ppl_ratio'] == 1


def test_bits_and_cache_bytes(ids_file):
    r = eval_json(LLAMA, '--tokens', ids_file(256), '--ctx', 256, '--kv', 'f16,turbo4,turbo8/turbo2')
    f16, turbo4, pair = r['caches']
    assert f16['bits'] == 16
    assert turbo4['bits'] == (2 + 64 * 4 / 8) * 8 / 64
    assert pair['bits'] == ((2 + 64) + (2 + 64 * 2 / 8)) * 8 / 128
    assert f16['cache_bytes'] == 256 * 2 * 3 * 2 * 64 * 2  # tokens, layers, heads, k and v, values, bytes


def test_text_windows_start_with_bos(tmp_path):
    """The text is one row of ids; the bos that the model asks for opens every window."""
    text = tmp_path / 'text'
    text.write_text('Once upon a time, there was a little girl named Lily. ' * 12)
    ids = tokenize(STORIES, text)
    assert len(ids) > 2 * 64
    windows = [ids[:64].copy(), ids[64:128].copy()]
    for w in windows:
        w[0] = 1
    r = eval_json(STORIES, '--text', text, '--ctx', 64, '--windows', 2, '--kv', 'f32')
    assert r['reference']['ppl'] == pytest.approx(perplexity(*window_scores(STORIES, windows, 'f16')), rel=1e-9)
    assert r['reference']['ppl'] < 3  # it knows this sentence


def test_eval_table(ids_file):
    lines = turbine('eval', LLAMA, '--tokens', ids_file(256), '--ctx', 256, '--kv', 'turbo4').stdout.decode().splitlines()
    assert lines[0] == '127 predictions: 1 windows of 256 tokens, from position 128'
    assert [l.split()[0] for l in lines[1:]] == ['kv', 'f16', 'turbo4']


# ---- errors ----

def test_wrong_input_is_one_line(tmp_path, ids_file):
    good = ids_file(8)
    def file(text):
        path = tmp_path / 'bad'
        path.write_text(text)
        return path
    assert_fails(["'turbo5'", 'turbo4', 'balanced'], 'logits', LLAMA, '--tokens', good, '--kv', 'turbo5')
    assert_fails(["'nope'"], 'eval', LLAMA, '--tokens', good, '--ctx', 8, '--kv', 'f16,nope')
    assert_fails(["''"], 'eval', LLAMA, '--tokens', good, '--ctx', 8, '--kv', 'f16,')
    assert_fails(['token 2', '72'], 'logits', LLAMA, '--tokens', file('1 2 72'))
    assert_fails(['token 1', '72'], 'logits', LLAMA, '--tokens', file('1 -2'))
    assert_fails(['token 0'], 'logits', LLAMA, '--tokens', file('99999999999999999999999'))
    assert_fails(['token 1'], 'logits', LLAMA, '--tokens', file('5 7x'))
    assert_fails(['no token ids'], 'logits', LLAMA, '--tokens', file(' \n'))
    assert_fails(['absent', 'No such file'], 'logits', LLAMA, '--tokens', tmp_path / 'absent')
    assert_fails(['absent.gguf'], 'bench', tmp_path / 'absent.gguf')
    assert_fails(['8 tokens', 'window of 9'], 'eval', LLAMA, '--tokens', good, '--ctx', 9)
    assert_fails(['16777728 tokens', 'MiB'], 'bench', LLAMA, '--kv', 'f32', '--depth', 1 << 24)
    assert_fails(['head'], 'logits', STORIES, '--tokens', good, '--kv', 'turbo4')
    assert_fails(['--depth'], 'bench', LLAMA, '--depth', '1,x')
    assert_fails(['--sequences', "'4,0'"], 'bench', LLAMA, '--sequences', '4,0')
    assert_fails(['--sequences', '256'], 'bench', LLAMA, '--sequences', '257')
    assert_fails(["'gpt-5:Q4_0'", 'qwen3-0.6b'], 'bench', '--synthetic', 'gpt-5:Q4_0')
    assert_fails(["'Q9_9'"], 'bench', '--synthetic', 'llama-3.2-1b:Q9_9')


def test_wrong_usage(ids_file):
    assert_fails(['--tokens'], 'logits', LLAMA, code=2)
    assert_fails(['--text'], 'eval', LLAMA, code=2)
    assert_fails(['--synthetic'], 'bench', code=2)
    assert_fails(['--write'], 'bench', LLAMA, '--write', 'x', code=2)
    assert_fails(['--batch'], 'logits', LLAMA, '--tokens', ids_file(2), '--batch', 0, code=2)
