"""Models with sizes at their limits, made here, against the float64 reference; factors of
matrices; and keys that real files leave out."""
import sys

import numpy as np
import pytest

from measure_helper import ROOT, assert_fails, logits, turbine

sys.path.insert(0, str(ROOT / 'ref'))
import archs  # noqa: E402
import gguf_meta  # noqa: E402
import gguf_read  # noqa: E402
import gguf_write  # noqa: E402
import random_model  # noqa: E402
from make_golden import MARGIN, MODELS  # noqa: E402
from model import Model  # noqa: E402

FLAGS, I32 = random_model.BOOL, random_model.I32


def keys(values):
    return {'keys': values}


# A golden model, and what is different.
ODD = {
    'window-1': ('gemma3', keys({'attention.sliding_window': 1})),
    'window-63': ('gemma3', keys({'attention.sliding_window': 63})),
    'window-65': ('gpt-oss', keys({'attention.sliding_window': 65})),
    'window-large': ('gemma3', keys({'attention.sliding_window': 1 << 24})),
    'window-everywhere': ('gemma3', keys({'attention.sliding_window': 40,
                                          'attention.sliding_window_pattern': (FLAGS, [True] * 6)})),
    'window-nowhere': ('gemma3', keys({'attention.sliding_window': 3, 'attention.sliding_window_pattern': 1})),
    'window-of-gpt-oss-everywhere': ('gpt-oss', keys({'attention.sliding_window': 17,
                                                      'attention.sliding_window_pattern': 99})),
    'attention-everywhere': ('qwen35', {'recurrent': (), 'keys': {'full_attention_interval': 1}}),
    'attention-nowhere': ('qwen35', {'recurrent': range(4), 'keys': {'full_attention_interval': 1024}}),
    'experts-without-attention': ('qwen35moe', {'recurrent': range(4), 'keys': {'full_attention_interval': 99}}),
    'latent-everywhere': ('kimi-linear', {'recurrent': ()}),
    'two-taps': ('qwen35', {'n_tap': 2}),
    'sixteen-taps': ('qwen3next', {'n_tap': 16}),
    'odd-states': ('qwen35', {'d_state': 11, 'n_k': 1, 'n_v': 5}),
    'states-of-one': ('qwen35', {'d_state': 1, 'n_k': 3, 'n_v': 9}),
    'odd-kda': ('kimi-linear', {'d_state': 13, 'n_head': 5, 'n_tap': 7}),
    'wide-states': ('qwen35moe', {'d_state': 136, 'n_k': 3, 'n_v': 6}),
    'one-expert': ('qwen3moe', {'n_expert': 1, 'n_used': 1}),
    'all-experts': ('gpt-oss', {'n_expert': 7, 'n_used': 7}),
    'many-experts': ('qwen3next', {'n_expert': 300, 'n_used': 11, 'n_embd': 9, 'n_ff_expert': 3, 'n_ff_shared': 5}),
    'odd-experts': ('qwen3moe-fused', {'n_ff_expert': 37, 'n_embd': 33}),
    'experts-of-one': ('kimi-linear', {'n_ff_expert': 1, 'n_ff_shared': 3, 'n_embd': 1, 'n_ff': 1}),
    'no-layer-with-experts': ('kimi-linear', {'n_dense': 4}),
    'biased-ffn': ('llama', {'biased': ('ffn_gate', 'ffn_up', 'ffn_down')}),
    'biased-fused-ffn': ('phi3', {'biased': ('ffn_up', 'ffn_down')}),
    'biased-shared-experts': ('qwen35moe', {'biased': ('ffn_gate_shexp', 'ffn_up_shexp', 'ffn_down_shexp')}),
    'odd-widths': ('gemma3-hd128', {'n_embd': 37, 'n_ff': 41}),
    'one-head-each': ('qwen3', {'n_head': 1, 'n_layer': 1}),
    'many-heads': ('llama', {'n_head': 64, 'n_head_kv': 1, 'n_layer': 1}),
    'one-channel-turns': ('qwen35', {'n_rot': 2}),
}


def build(tmp_path, name, change, n_tok):
    """(file, ids, logits), where no expert was chosen by a hair."""
    shape = MODELS[name] | {k: v for k, v in change.items() if k != 'keys'}
    shape['keys'] = {k: v for k, v in shape.get('keys', {}).items()} | change.get('keys', {})
    shape.pop('n_tok', None)
    path, rng = tmp_path / 'm.gguf', np.random.default_rng(5)
    gguf_write.write(path, *random_model.build(rng, **shape))
    for _ in range(20):
        model = Model(*gguf_read.read(path))
        ids = rng.integers(0, shape['n_vocab'], n_tok)
        want = archs.logits(model, ids)
        if model.margin >= MARGIN:
            return path, ids, want
    pytest.fail('experts are too close')


@pytest.mark.parametrize('odd', ODD)
def test_logits_of_odd_sizes(odd, tmp_path):
    name, change = ODD[odd]
    n_tok = 8 if 'many-experts' in odd else 90
    path, ids, want = build(tmp_path, name, change, n_tok)
    for level, cuts in (('amx', [(512, 2), (7, 3)]), ('c', [(64, 1)])):
        got = [logits(path, ids, '--kv', 'f32', '--cpu', level, '--batch', batch, '--threads', threads)
               for batch, threads in cuts]
        assert np.abs(got[0] - want).max() <= 2e-5 * np.abs(want).max(), (level, np.abs(got[0] - want).max())
        assert all(g.tobytes() == got[0].tobytes() for g in got)


# ---- golden models with changes ----

def rewrite(tmp_path, name, *, meta=None, tensors=None, drop=(), file='m.gguf'):
    path = ROOT / f'tests/golden/{name}.gguf'
    values = {k: v.astype('f4') for k, v in gguf_read.read(path)[1].items()} | (tensors or {})
    said = gguf_meta.read(path) | {f'{arch_of(name)}.{k}': v for k, v in (meta or {}).items()}
    gguf_write.write(tmp_path / file, {k: v for k, v in said.items() if k.split('.', 1)[1] not in drop},
                     {k: v for k, v in values.items() if k not in drop})
    return tmp_path / file


def arch_of(name):
    return gguf_meta.read(ROOT / f'tests/golden/{name}.gguf')['general.architecture'].decode()


def some_logits(path, *options):
    return logits(path, range(40), '--kv', 'f32', *options)


def test_factors_of_matrices(tmp_path):
    """Factors of 2 and 0 multiply exactly."""
    name, n = 'qwen3moe', 6
    weights = gguf_read.read(ROOT / f'tests/golden/{name}.gguf')[1]
    factors = {f'blk.0.{m}': np.array([f], 'f4') for m, f in
               {'attn_q': 0.5, 'attn_k': 4, 'attn_v': 2, 'attn_output': -0.25}.items()}
    factors |= {'output': np.array([2], 'f4'), 'token_embd': np.array([8], 'f4'),
                'blk.0.ffn_gate_exps': 2.0 ** np.arange(n), 'blk.0.ffn_up_exps': np.array([1, 0, 1, 0, 1, 0.5]),
                'blk.1.ffn_down_exps': np.array([0.5])}
    multiplied = {m + '.weight': weights[m + '.weight'] * f.reshape(-1, *(1,) * (weights[m + '.weight'].ndim - 1))
                  for m, f in factors.items()}
    stated = rewrite(tmp_path, name, tensors={m + '.scale': f.astype('f4') for m, f in factors.items()} |
                     {'blk.0.attn_q.input_scale': np.array([3], 'f4')})
    want = rewrite(tmp_path, name, tensors={m: w.astype('f4') for m, w in multiplied.items()}, file='want.gguf')
    for options in ((), ('--batch', 1), ('--cpu', 'c')):
        assert some_logits(stated, *options).tobytes() == some_logits(want, *options).tobytes()


@pytest.mark.parametrize('values', [[1, 2], [1] * 7, [float('nan')], []])
def test_factors_of_other_lengths(tmp_path, values):
    path = rewrite(tmp_path, 'qwen3moe', tensors={'blk.0.ffn_up_exps.scale': np.array(values, 'f4')})
    assert_fails(['blk.0.ffn_up_exps.scale' if values else ''], 'logits', path, '--tokens', ROOT / 'README.md')


def test_a_width_that_no_layer_has_may_be_missing(tmp_path):
    """Files of Qwen3.5 with experts do not have it."""
    path = rewrite(tmp_path, 'qwen35moe', drop=['feed_forward_length'])
    assert some_logits(path).tobytes() == some_logits(ROOT / 'tests/golden/qwen35moe.gguf').tobytes()


REFUSED = {
    'no-width': ('kimi-linear', {'drop': ['feed_forward_length']}, ['kimi-linear.feed_forward_length is missing']),
    'no-width-of-experts': ('qwen35moe', {'drop': ['feed_forward_length', 'expert_feed_forward_length']},
                            ['qwen35moe.expert_feed_forward_length is missing']),
    'shared': ('kimi-linear', {'meta': {'expert_shared_count': 4096, 'expert_feed_forward_length': 1 << 20}},
               ['kimi-linear.expert_shared_count']),
    'groups': ('kimi-linear', {'meta': {'expert_group_count': 4, 'expert_group_used_count': 2}},
               ['kimi-linear.expert_group_used_count', '2 of 4']),
    'marks-short': ('qwen35-marks', {'meta': {'attention.recurrent_layers': (FLAGS, [True, False])}},
                    ['qwen35.attention.recurrent_layers', '2 elements']),
    'marks-long': ('gemma3', {'meta': {'attention.sliding_window_pattern': (FLAGS, [True] * 7)}},
                   ['gemma3.attention.sliding_window_pattern', '7 elements']),
    'marks-of-text': ('gemma3', {'meta': {'attention.sliding_window_pattern': (8, ['x'] * 6)}},
                      ['gemma3.attention.sliding_window_pattern', 'element 0']),
    'no-width-in-a-layer': ('qwen3', {'meta': {'feed_forward_length': (I32, [24, 0, 24, 24])}},
                            ['qwen3.feed_forward_length', 'element 1']),
    'no-gate': ('qwen3', {'drop': ['blk.2.ffn_gate.weight']}, ['tensor blk.2.ffn_gate.weight is missing']),
    'no-kv-heads': ('kimi-linear', {'meta': {'attention.head_count_kv': (I32, [0] * 4)}},
                    ['kimi-linear.attention.head_count_kv', '0 in all layers']),
}


@pytest.mark.parametrize('what', REFUSED)
def test_refused(tmp_path, what):
    name, change, says = REFUSED[what]
    assert_fails(says, 'logits', rewrite(tmp_path, name, **change), '--tokens', ROOT / 'README.md')


def test_a_latent_that_codes_cannot_be_cut_from(tmp_path):
    """64 of 128 channels: the rotation of 128 mixes what would be the values with the rest."""
    shape = MODELS['kimi-linear'] | {'latent': (64, 16, 64, 24)}
    path = tmp_path / 'm.gguf'
    gguf_write.write(path, *random_model.build(np.random.default_rng(1), **shape))
    ids = tmp_path / 'ids'
    ids.write_text('1 2 3')
    assert_fails(['latent of 64', 'turbo8', '--kv f16'], 'logits', path, '--tokens', ids, '--kv', 'turbo4')
    turbine('logits', path, '--tokens', ids, '--kv', 'f16')


def test_a_factor_of_positions_without_a_type_is_linear(tmp_path):
    path = rewrite(tmp_path, 'llama-linear', drop=['rope.scaling.type'])
    assert some_logits(path).tobytes() == some_logits(ROOT / 'tests/golden/llama-linear.gguf').tobytes()


def test_names_of_another_converter(tmp_path):
    """Ollama's has other names for the bases of Gemma 3's positions."""
    drop = ['rope.freq_base', 'rope.freq_base_swa']
    theirs = {'rope.global.freq_base': 5e5, 'rope.local.freq_base': 2e4}
    ours = {'rope.freq_base': 5e5, 'rope.freq_base_swa': 2e4}
    want = some_logits(rewrite(tmp_path, 'gemma3', meta=ours)).tobytes()
    assert some_logits(rewrite(tmp_path, 'gemma3', meta=theirs, drop=drop)).tobytes() == want
    assert some_logits(rewrite(tmp_path, 'gemma3', meta={'rope.global.freq_base': 5e5, 'rope.local.freq_base': 3e4},
                               drop=drop)).tobytes() != want
    standard = some_logits(rewrite(tmp_path, 'gemma3', meta={'rope.freq_base': 1e6, 'rope.freq_base_swa': 1e4})).tobytes()
    assert some_logits(rewrite(tmp_path, 'gemma3', drop=drop)).tobytes() == standard


def test_a_router_that_is_not_finite(tmp_path):
    """An expert that nothing is larger than is not passed over."""
    router = gguf_read.read(ROOT / 'tests/golden/kimi-linear.gguf')[1]['blk.1.ffn_gate_inp.weight'].astype('f4')
    router[5, 0] = np.nan
    path = rewrite(tmp_path, 'kimi-linear', tensors={'blk.1.ffn_gate_inp.weight': router})
    ids = tmp_path / 'ids'
    ids.write_text('1 2 3')
    assert_fails(['not finite'], 'logits', path, '--tokens', ids)


def test_a_stated_scale_of_latent_attention(tmp_path):
    """That of heads of 24 changes nothing; another one does."""
    want = some_logits(ROOT / 'tests/golden/kimi-linear.gguf')
    same, other = (some_logits(rewrite(tmp_path, 'kimi-linear', meta={'attention.scale': scale}))
                   for scale in (24 ** -0.5, 0.5))
    assert same.tobytes() == want.tobytes() and np.abs(other - want).max() > 1e-3
