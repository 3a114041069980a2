"""Calibration as a person meets it: once for a model, kept in the cache folder, never
trusted blindly."""
import json
import pathlib

import numpy as np
import pytest

from measure_helper import turbine
from test_crafted_models import BYTE0, model

IDS = ' '.join(str(BYTE0 + 32 + i * 7 % 90) for i in range(300))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A model whose keys and values have a bias (rotated by position in one pair of channels
    only), ids for it, and an empty cache folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    bias = np.random.default_rng(2).standard_normal((2, 64)).astype('f4') * 8
    path = model(tmp_path / 'bias.gguf', meta={'llama.rope.dimension_count': 2},
                 tensors={'blk.0.attn_k.bias': bias[0], 'blk.0.attn_v.bias': bias[1]})
    (tmp_path / 'ids').write_text(IDS)
    return path, tmp_path / 'ids', tmp_path / 'cache/turbine/calibration'


def kept(folder):
    return sorted(folder.glob('*')) if folder.exists() else []


def raw(place, kv, *options):
    r = turbine('logits', place[0], '--tokens', place[1], '--kv', kv, *options)
    return r.stdout, r.stderr.decode()


def test_kept_once_and_used(place):
    cold = raw(place, 'turbo3')
    assert cold[1] == ''
    file, = kept(place[2])
    assert file.suffix == '.cal' and file.stat().st_mode & 0o077 == 0
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    assert raw(place, 'turbo3') == cold
    assert raw(place, 'turbo3', '--threads', 1) == cold
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert raw(place, 'turbo3:plain')[0] != cold[0]
    assert kept(place[2]) == [file]


def test_only_made_where_it_is_used(place):
    for kv in ('f16', 'turbo4:plain'):
        assert raw(place, kv)[1] == ''
    assert kept(place[2]) == []


@pytest.mark.parametrize('damage', [lambda b: b[:-1], lambda b: b'', lambda b: b + b'x',
                                    lambda b: b[:80] + bytes([b[80] ^ 1]) + b[81:]])
def test_damaged_file_is_made_again(place, damage):
    good = raw(place, 'turbo3')
    file, = kept(place[2])
    content = file.read_bytes()
    file.write_bytes(damage(content))
    out, err = raw(place, 'turbo3')
    assert out == good[0]
    assert err.count('\n') == 1 and file.name in err and 'calibrating again' in err
    assert file.read_bytes() == content
    assert raw(place, 'turbo3') == good


def test_other_model_other_file(place, tmp_path):
    raw(place, 'turbo3')
    other = model(tmp_path / 'other.gguf')
    raw((other, place[1]), 'turbo3')
    assert len(kept(place[2])) == 2


@pytest.mark.parametrize('folder', ['/proc/nothing', '/dev/null'])
def test_no_place_to_keep_it(place, monkeypatch, folder):
    good = raw(place, 'turbo3')
    monkeypatch.setenv('XDG_CACHE_HOME', folder)
    out, err = raw(place, 'turbo3')
    assert out == good[0]
    assert err.count('\n') == 1 and err.startswith('turbine logits: ') and 'not kept' in err


def test_no_folder_named(place, monkeypatch):
    good = raw(place, 'turbo3')
    monkeypatch.setenv('XDG_CACHE_HOME', 'relative/is/ignored')
    monkeypatch.delenv('HOME')
    assert raw(place, 'turbo3') == good
    assert not pathlib.Path('relative').exists()
    monkeypatch.setenv('HOME', str(place[2].parent.parent.parent / 'home'))
    assert raw(place, 'turbo3') == good
    assert len(kept(place[2].parents[2] / 'home/.cache/turbine/calibration')) == 1


def test_eval_shows_what_means_cost(place):
    """The bias is 8 times the spread: without mean removal the rows are lost in it."""
    kinds = ['turbo3/f32:plain', 'turbo3/f32', 'f32/turbo3:plain', 'f32/turbo3', 'turbo3:plain', 'turbo3']
    r = json.loads(turbine('eval', place[0], '--tokens', place[1], '--ctx', 300, '--kv',
                           ','.join(kinds), '--json').stdout)
    assert [c['kv'] for c in r['caches']] == kinds
    kl = [c['kl_mean'] for c in r['caches']]
    print(kl)
    for plain, centred in zip(kl[::2], kl[1::2]):
        assert plain > 4 * centred


def test_run_calibrates_quietly(place):
    r = turbine('run', place[0], 'hello', '--max-tokens', 3, '--seed', 1)
    assert 'calibrat' not in r.stderr.decode()
    assert len(kept(place[2])) == 1
