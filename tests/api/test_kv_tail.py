"""How many tokens stay exact: the longer the tail, the nearer the logits are to those of an exact cache."""
import os
import pathlib
import random
import subprocess

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
SMOLLM2 = pathlib.Path(os.environ['TURBINE_TEST_MODEL'])


@pytest.mark.skipif(not SMOLLM2.exists(), reason=f'{SMOLLM2} is not there')
def test_tail(tmp_path):
    r = random.Random(1)
    tokens = tmp_path / 'tokens'
    tokens.write_text(' '.join(str(r.randrange(300, 40000)) for _ in range(320)))

    def logits(kv):
        done = subprocess.run([TURBINE, 'logits', SMOLLM2, '--tokens', tokens, '--kv', kv], capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return np.frombuffer(done.stdout, '<f4')
    exact = logits('f16')

    def distance(kv):
        return float(np.sqrt(((logits(kv) - exact) ** 2).mean()))
    # What two exact caches differ by: the model's own arithmetic turns small differences into this.
    noise = distance('f32')
    none, page, all_of_it = (distance(f'turbo2:uniform:tail={n}') for n in (0, 64, 1 << 20))
    assert none > page > all_of_it
    assert all_of_it < 1.2 * noise < page
