"""The float64 reference in ref/: it agrees with logits that another program made of other
models (../shared/golden, where it is), and tests/golden is what it says."""
import sys

import numpy as np
import pytest

from measure_helper import GOLDEN, ROOT

sys.path.insert(0, str(ROOT / 'ref'))
import archs  # noqa: E402
import gguf_read  # noqa: E402
from model import Model  # noqa: E402

SHARED = ROOT.parent / 'shared/golden'
F32_ROUNDING = 2.0 ** -24  # of the files' logits


def relative_error(path, other_form=None):
    """Of the largest logit of the file; other_form(metadata, tensors) rewrites it first."""
    ids = np.array(path.with_suffix('.tokens').read_text().split(), int)
    want = np.fromfile(path.with_suffix('.logits.f32'), '<f4').reshape(len(ids), -1)
    meta, tensors = gguf_read.read(path)
    if other_form:
        other_form(meta, tensors)
    return np.abs(archs.logits(Model(meta, tensors), ids) - want).max() / np.abs(want).max()


@pytest.mark.parametrize('arch', archs.ARCHS)
def test_agrees_with_another_implementation(arch):
    if not (SHARED / f'{arch}.gguf').exists():
        pytest.skip(f'{SHARED / arch}.gguf is not there')
    assert relative_error(SHARED / f'{arch}.gguf') <= 1e-6


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('*.gguf')), ids=lambda p: p.stem)
def test_golden_files_are_its_logits(path):
    assert relative_error(path) <= 2 * F32_ROUNDING


def layers_with(tensors, name):
    """Prefixes of the layers that have the tensor."""
    return [key.removesuffix(name) for key in list(tensors) if key.startswith('blk.') and key.endswith('.' + name)]


def one_matrix_for_qkv(_, tensors):
    for p in layers_with(tensors, 'attn_q.weight'):
        for kind in ('weight', 'bias'):
            tensors[f'{p}attn_qkv.{kind}'] = np.concatenate([tensors.pop(f'{p}attn_{c}.{kind}') for c in 'qkv'])


def one_tensor_for_gate_and_up(_, tensors):
    for p in layers_with(tensors, 'ffn_gate_exps.weight'):
        parts = [tensors.pop(f'{p}ffn_{name}_exps.weight') for name in ('gate', 'up')]
        tensors[p + 'ffn_gate_up_exps.weight'] = np.concatenate(parts, axis=1)


def one_matrix_for_delta_net(meta, tensors):
    n_k, n_v, d = (meta['qwen3next.ssm.' + name] for name in ('group_count', 'time_step_rank', 'state_size'))
    share = n_v // n_k
    for p in layers_with(tensors, 'ssm_a'):
        heads = np.split(tensors.pop(p + 'attn_qkv.weight'), 2 * n_k + n_v)
        q, k, v, z = heads[:n_k], heads[n_k:2 * n_k], heads[2 * n_k:], np.split(tensors.pop(p + 'attn_gate.weight'), n_v)
        rows = [[q[g], k[g], *v[g * share:(g + 1) * share], *z[g * share:(g + 1) * share]] for g in range(n_k)]
        tensors[p + 'ssm_in.weight'] = np.concatenate(sum(rows, []))
        assert len(tensors[p + 'ssm_in.weight']) == (2 * n_k + 2 * n_v) * d


def marks_for_interval(meta, _):
    every = meta.pop('qwen35.full_attention_interval')
    meta['qwen35.attention.recurrent_layers'] = [bool((i + 1) % every) for i in range(meta['qwen35.block_count'])]


def marks_for_period(meta, _):
    period = meta.pop('gemma3.attention.sliding_window_pattern', 6)
    meta['gemma3.attention.sliding_window_pattern'] = [i % period != period - 1
                                                       for i in range(meta['gemma3.block_count'])]


@pytest.mark.parametrize('name, form', [
    ('qwen2', one_matrix_for_qkv), ('qwen3moe', one_tensor_for_gate_and_up), ('qwen3next', one_matrix_for_delta_net),
    ('qwen35', marks_for_interval), ('gemma3', marks_for_period)])
@pytest.mark.parametrize('folder', [GOLDEN, SHARED], ids=['tests', 'shared'])
def test_other_forms_of_a_file_mean_the_same(folder, name, form):
    if not folder.exists():
        pytest.skip(f'{folder} is not there')
    assert relative_error(folder / f'{name}.gguf', form) <= 1e-6
