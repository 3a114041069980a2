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


def relative_error(path):
    """Of the largest logit of the file."""
    ids = np.array(path.with_suffix('.tokens').read_text().split(), int)
    want = np.fromfile(path.with_suffix('.logits.f32'), '<f4').reshape(len(ids), -1)
    return np.abs(archs.logits(Model(*gguf_read.read(path)), ids) - want).max() / np.abs(want).max()


@pytest.mark.parametrize('arch', archs.ARCHS)
def test_agrees_with_another_implementation(arch):
    if not SHARED.exists():
        pytest.skip(f'{SHARED} is not there')
    assert relative_error(SHARED / f'{arch}.gguf') <= 1e-6


@pytest.mark.parametrize('path', sorted(GOLDEN.glob('*.gguf')), ids=lambda p: p.stem)
def test_golden_files_are_its_logits(path):
    assert relative_error(path) <= 2 * F32_ROUNDING
