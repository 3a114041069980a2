"""Logits of tiny models against a float64 reference, and against themselves however the
tokens are cut into steps and threads.

tests/golden is made by ref/make_golden.py.  ../shared/golden, where it is, has other
models and their logits by another implementation."""
import numpy as np
import pytest

from measure_helper import GOLDEN, ROOT, logits, machine_levels, once, raw_logits

SHARED = ROOT.parent / 'shared/golden'
SHARED_NAMES = ['gemma3', 'gpt-oss', 'kimi-linear', 'llama', 'phi3', 'qwen2', 'qwen3', 'qwen35', 'qwen35moe',
                'qwen3moe', 'qwen3next']
MODELS = sorted(GOLDEN.glob('*.gguf')) + [SHARED / f'{name}.gguf' for name in SHARED_NAMES]
# Limits: a machine without one runs what it has.
LEVELS = machine_levels(['c', 'avx2', 'avx512', 'avx512vnni', 'amx'])
TYPES = ['f32', 'f16', 'turbo8', 'turbo4', 'turbo3', 'turbo2', 'turbo8/turbo4']

# Mean squared error of a stored vector over its mean square, from the design of the types
# (int8 by absolute maximum; 8-state trellis codes of a Gaussian source).
DISTORTION = {'turbo8': 3.5e-5, 'turbo4': 6.35e-3, 'turbo3': 2.31e-2, 'turbo2': 8.58e-2}


def n_vocab(model):
    return np.fromfile(model.with_suffix('.logits.f32'), '<f4').size // len(
        model.with_suffix('.tokens').read_text().split())


def many_ids(model, n):
    return np.random.default_rng(3).integers(0, n_vocab(model), n)


@pytest.mark.parametrize('level', LEVELS)
@pytest.mark.parametrize('model', MODELS, ids=lambda m: f'{m.parts[-3]}/{m.stem}')
def test_logits_agree_with_the_reference(model, level):
    if not model.exists():
        pytest.skip(f'{model} is not there')
    ids = model.with_suffix('.tokens').read_text().split()
    want = np.fromfile(model.with_suffix('.logits.f32'), '<f4').reshape(len(ids), -1)
    for batch in (512, 7, 1):
        got = logits(model, ids, '--kv', 'f32', '--cpu', level, '--batch', batch)
        assert got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize('kv', TYPES)
@pytest.mark.parametrize('name', ['llama', 'llama-hd80'])
def test_steps_and_threads_do_not_change_a_bit(name, kv, tmp_path):
    model = GOLDEN / f'{name}.gguf'
    ids = tmp_path / 'ids'
    ids.write_text(' '.join(map(str, many_ids(model, 301))))
    for level, cuts in (('amx', once([(512, 1), (64, 3), (7, 2), (1, 1), (1, 3)], (64, 3), (1, 3))),
                        ('avx2', once([(512, 2), (64, 1), (7, 3), (1, 1)], (7, 3), (1, 1))),
                        ('c', once([(512, 3), (64, 2), (7, 1), (1, 1)], (7, 1), (1, 1)))):
        seen = {}
        for batch, threads in cuts:
            out = raw_logits(model, ids, '--kv', kv, '--cpu', level, '--batch', batch, '--threads', threads)
            assert len(out) == 301 * n_vocab(model) * 4
            seen.setdefault(out, []).append((batch, threads))
        assert len(seen) == 1, (level, list(seen.values()))


# Each level has all cuts at the edges of pages and of groups of tokens.
CUTS = once([(512, 1), (1, 2), (2, 3), (7, 4), (63, 1), (64, 2), (65, 3), (512, 4)], (1, 2), (7, 4), (65, 3))


@pytest.mark.parametrize('level', ['amx', 'c'])
@pytest.mark.parametrize('name, kv', [('qwen35', 'turbo4'), ('gemma3-hd128', 'turbo3'), ('gpt-oss-hd96', 'f16'),
                                      ('kimi-linear-576', 'turbo8'), ('qwen3moe', 'turbo8/turbo4')])
def test_steps_and_threads_of_other_models(name, kv, level, tmp_path):
    model = GOLDEN / f'{name}.gguf'
    ids = tmp_path / 'ids'
    ids.write_text(' '.join(map(str, many_ids(model, 201))))
    seen = {}
    for batch, threads in CUTS:
        out = raw_logits(model, ids, '--kv', kv, '--cpu', level, '--batch', batch, '--threads', threads)
        assert len(out) == 201 * n_vocab(model) * 4
        seen.setdefault(out, []).append((batch, threads))
    assert len(seen) == 1, list(seen.values())


@pytest.mark.parametrize('name', ['llama', 'llama-hd80', 'llama-yarn'])
def test_compressed_types_cost_what_they_should(name):
    """Behind the exact tail the error of the logits grows as the root of the distortion."""
    model = GOLDEN / f'{name}.gguf'
    ids = many_ids(model, 384)
    exact = logits(model, ids, '--kv', 'f32')[256:]
    gain = {}
    for kv, distortion in DISTORTION.items():
        error = logits(model, ids, '--kv', kv)[256:] - exact
        gain[kv] = np.sqrt((error ** 2).mean() / (exact ** 2).mean() / distortion)
    assert 0.25 < min(gain.values()) and max(gain.values()) < 2.5, gain  # the model's own gain
    assert max(gain.values()) < 1.5 * min(gain.values()), gain


def test_sinks_and_tail_are_exact():
    """Until the first page leaves the tail of 128 tokens nothing is read compressed."""
    model = GOLDEN / 'llama.gguf'
    ids = many_ids(model, 260)
    f16, turbo = (logits(model, ids, '--kv', kv) for kv in ('f16', 'turbo2'))
    assert np.abs(f16[:192] - turbo[:192]).max() < 2e-3 * np.abs(f16).max()
    assert np.abs(f16[192:] - turbo[192:]).max() > 1e-2 * np.abs(f16).max()
