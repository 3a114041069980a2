"""turbine inspect: text, JSON, errors, exit codes."""
import json
import os
import pathlib
import struct
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = os.environ.get('TURBINE', str(ROOT / 'build' / 'turbine'))
U8, U32, F32, BOOL, STR, U64 = 0, 4, 6, 7, 8, 10
FORMAT = {U8: 'B', U32: 'I', F32: 'f', BOOL: '?', U64: 'Q'}


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack('<Q', len(s)) + s


def value(t, v):
    return text(v) if t == STR else struct.pack('<' + FORMAT[t], v)


def kv(key, t, v):
    if isinstance(v, list):
        return text(key) + struct.pack('<IIQ', 9, t, len(v)) + b''.join(value(t, x) for x in v)
    return text(key) + struct.pack('<I', t) + value(t, v)


def tensor(name, shape, t, offset):
    return (text(name) + struct.pack('<I', len(shape)) +
            b''.join(struct.pack('<Q', n) for n in shape) + struct.pack('<IQ', t, offset))


def gguf(kvs, tensors=(), data=b''):
    head = b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(kvs))
    head += b''.join(kvs) + b''.join(tensors)
    return head + bytes(-len(head) % 32) + data


SAMPLE = gguf(
    [kv('general.name', STR, 'a "model"\n\x1b[31m'), kv('n', U32, 7), kv('on', BOOL, True),
     kv('eps', F32, 0.5), kv('short', U8, list(range(64))), kv('long', U8, list(range(65))),
     kv('words', STR, ['', 'é', b'a\xffb']), kv('prose', STR, 'x' * 100),
     kv('nan', F32, float('nan')), kv('big', U64, 2**63 - 1)],
    [tensor('blk.0.w', [32, 3], 8, 0), tensor('b', [5], 0, 128)], bytes(128 + 20))


def inspect(*args):
    return subprocess.run([TURBINE, 'inspect', *map(str, args)], capture_output=True, timeout=20)


@pytest.fixture
def sample(tmp_path):
    path = tmp_path / 'sample.gguf'
    path.write_bytes(SAMPLE)
    return path


def fails(path, code=1):
    r = inspect(path)
    err = r.stderr.decode()
    assert r.returncode == code and r.stdout == b''
    assert err.count('\n') == 1 and err.startswith('turbine inspect: ') and err.endswith('\n')
    return err


def test_text(sample):
    r = inspect(sample)
    assert r.returncode == 0 and r.stderr == b''
    lines = r.stdout.decode().split('\n')
    assert lines[0] == f'{sample}: GGUF v3, 1 file, {len(SAMPLE)} bytes'
    rows = {words[0]: words for words in (line.split() for line in lines) if words}
    assert rows['n'] == ['n', 'u32', '7']
    assert rows['on'] == ['on', 'bool', 'true']
    assert rows['eps'] == ['eps', 'f32', '0.5']
    assert rows['big'] == ['big', 'u64', str(2**63 - 1)]
    assert rows['long'] == ['long', 'arr', 'u8[65]', '0,', '1,', '2,', '3,', '4,', '5,', '...']
    assert rows['words'] == ['words', 'arr', 'str[3]', '"",', '"é",', r'"a\xffb"']
    assert rows['prose'] == ['prose', 'str', '"' + 'x' * 60 + '..."']
    assert r'str   "a \"model\"\n\x1b[31m"' in r.stdout.decode()
    assert rows['blk.0.w'] == ['blk.0.w', '32', 'x', '3', 'Q8_0', '102']
    assert rows['b'] == ['b', '5', 'F32', '20']
    # (102 + 20) bytes * 8 / (96 + 5) values
    assert '101 parameters, 9.663 bits per weight' in lines
    assert not set(r.stdout) & (set(range(32)) - {10})


def test_json(sample):
    r = inspect('--json', sample)
    assert r.returncode == 0 and r.stderr == b''
    got = json.loads(r.stdout)
    assert got == {
        'version': 3, 'files': 1, 'bytes': len(SAMPLE), 'n_params': 101,
        'metadata': {
            'general.name': 'a "model"\n\x1b[31m', 'n': 7, 'on': True, 'eps': 0.5,
            'short': list(range(64)),
            'long': {'type': 'u8', 'count': 65, 'first': list(range(8))},
            'words': ['', 'é', 'a\ufffdb'], 'prose': 'x' * 100, 'nan': None,
            'big': 2**63 - 1},
        'tensors': [{'name': 'blk.0.w', 'dtype': 'Q8_0', 'shape': [32, 3], 'bytes': 102},
                    {'name': 'b', 'dtype': 'F32', 'shape': [5], 'bytes': 20}]}
    assert list(got['metadata'])[:3] == ['general.name', 'n', 'on']


def test_split(tmp_path):
    def part(no):
        return gguf([kv('split.no', U8, no), kv('split.count', U8, 2),
                     kv('split.tensors.count', U8, 2)], [tensor(f't{no}', [4], 0, 0)], bytes(16))
    for no in range(2):
        (tmp_path / f'm-0000{no + 1}-of-00002.gguf').write_bytes(part(no))
    got = json.loads(inspect('--json', tmp_path / 'm-00001-of-00002.gguf').stdout)
    assert got['files'] == 2 and got['bytes'] == 2 * len(part(0))
    assert [t['name'] for t in got['tensors']] == ['t0', 't1']
    assert 'open the first part' in fails(tmp_path / 'm-00002-of-00002.gguf')


def test_errors_name_what_is_wrong(tmp_path):
    def bad(data):
        path = tmp_path / 'bad.gguf'
        path.write_bytes(data)
        err = fails(path)
        assert str(path) in err
        return err
    assert 'No such file' in fails(tmp_path / 'none.gguf')
    assert 'not a regular file' in fails(tmp_path)
    assert 'not a GGUF file' in bad(b'#!/bin/sh\n')
    assert 'truncated' in bad(SAMPLE[:200])
    assert "tensor 'b' needs 20 bytes" in bad(SAMPLE[:-1])
    assert "key 'k' occurs twice" in bad(gguf([kv('k', U8, 1), kv('k', U8, 2)]))
    assert "tensor 't': type id 97 (no known name) is private" in bad(
        gguf([], [tensor('t', [32], 97, 0)], bytes(64)))
    assert "key 'a?b': unknown value type" in bad(
        gguf([text('a\nb') + struct.pack('<IQ', 99, 0)]))


def test_usage(sample):
    for args in ([], ['--nonsense', sample], [sample, sample], ['--json=1', sample]):
        r = inspect(*args)
        assert r.returncode == 2 and r.stdout == b'' and r.stderr.count(b'\n') == 1
    r = inspect('--help')
    assert r.returncode == 0 and b'--json' in r.stdout


def test_full_output_device(sample):
    if not os.path.exists('/dev/full'):
        pytest.skip('no /dev/full here')
    for args in ([], ['--json']):
        with open('/dev/full', 'wb') as full:
            r = subprocess.run([TURBINE, 'inspect', *args, str(sample)], stdout=full,
                               stderr=subprocess.PIPE, timeout=20)
        assert r.returncode == 1 and r.stderr.count(b'\n') == 1
