"""`turbine logits` for tests: token ids in, a float32 array out."""
import os
import pathlib
import re
import subprocess
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
GOLDEN = ROOT / 'tests/golden'
SANITIZED = '/san-' in TURBINE


def once(values, *sanitized):
    """The values, or with sanitizers those that take all paths once."""
    assert set(sanitized) <= set(values)
    return list(sanitized if SANITIZED else values)


def machine_levels(levels):
    """Limits of the instruction set; with sanitizers without those that change nothing on this machine."""
    if not SANITIZED or not os.path.exists('/proc/cpuinfo'):
        return levels
    flags = set(re.findall(r'[a-z0-9_]+', pathlib.Path('/proc/cpuinfo').read_text()))
    needs = {'avx512': 'avx512f', 'avx512vnni': 'avx512_vnni', 'amx': 'amx_int8'}
    return [level for level in levels if level not in needs or needs[level] in flags]


def turbine(*args, check=True, stdin=b''):
    r = subprocess.run([TURBINE, *map(str, args)], input=stdin, capture_output=True, timeout=600 if SANITIZED else 120)
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
