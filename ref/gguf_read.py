"""Reads a GGUF file with tensors of f32, f16 or bf16 into numpy."""
import struct

import numpy as np

import gguf_meta

ALIGN = 32
F32, F16, BF16 = 0, 1, 30


def read(path):
    """(metadata, tensors): strings are str, arrays lists; tensors are f64, shapes in C order."""
    with open(path, 'rb') as f:
        meta, n_tensors = gguf_meta.head(f)
        infos = [_info(f) for _ in range(n_tensors)]
        start = -(-f.tell() // ALIGN) * ALIGN
        tensors = {name: _values(f, start + offset, shape, t) for name, shape, t, offset in infos}
    return {key: _plain(v) for key, v in meta.items()}, tensors


def _plain(v):
    if isinstance(v, tuple):
        return [_plain(item) for item in v[1]]
    return v.decode() if isinstance(v, bytes) else v


def _info(f):
    take = lambda form: struct.unpack('<' + form, f.read(struct.calcsize('<' + form)))
    name = f.read(take('Q')[0]).decode()
    shape = take(f'{take("I")[0]}Q')[::-1]
    t, offset = take('IQ')
    return name, shape, t, offset


def _values(f, at, shape, t):
    f.seek(at)
    stored = {F32: '<f4', F16: '<f2', BF16: '<u2'}[t]
    a = np.frombuffer(f.read(int(np.prod(shape)) * np.dtype(stored).itemsize), stored)
    if t == BF16:
        a = (a.astype('<u4') << 16).view('<f4')
    return a.reshape(shape).astype('f8')
