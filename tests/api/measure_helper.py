"""`turbine logits` for tests: token ids in, a float32 array out."""
import os
import pathlib
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
GOLDEN = ROOT / 'tests/golden'


def turbine(*args, check=True, stdin=b''):
    r = subprocess.run([TURBINE, *map(str, args)], input=stdin, capture_output=True, timeout=120)
    assert not check or r.returncode == 0, r.stderr.decode()
    return r


def raw_logits(model, tokens_file, *options):
    """Bytes of standard output: for comparisons of every bit."""
    return turbine('logits', model, '--tokens', tokens_file, *options).stdout


def logits(model, ids, *options):
    """[len(ids)][n_vocab]"""
    with tempfile.NamedTemporaryFile('w', suffix='.tokens') as f:
        f.write(' '.join(map(str, ids)))
        f.flush()
        return np.frombuffer(raw_logits(model, f.name, *options), '<f4').reshape(len(ids), -1)


def assert_fails(words, *args, code=1):
    """One line on stderr with these words, and the exit code."""
    r = turbine(*args, check=False)
    text = r.stderr.decode()
    assert r.returncode == code, text
    assert text.count('\n') == 1 and text.endswith('\n'), text
    assert text.startswith(f'turbine {args[0]}: '), text
    for word in words:
        assert word in text, text
