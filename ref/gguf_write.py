"""Writes a GGUF v3 file with tensors: numpy f32 and f16 arrays, shapes in C order."""
import struct

import numpy as np

from gguf_meta import _string, _value

TYPE = {np.dtype('f4'): 0, np.dtype('f2'): 1}
ALIGN = 32


def write(path, meta, tensors):
    """meta as in gguf_meta.image; tensors {name: array}."""
    head = [b'GGUF', struct.pack('<IQQ', 3, len(tensors), len(meta))]
    for key, v in meta.items():
        t, body = _value(v)
        head += [_string(key), struct.pack('<I', t), body]
    data, offset = [], 0
    for name, a in tensors.items():
        a = np.ascontiguousarray(a)
        head += [_string(name), struct.pack('<I', a.ndim),
                 struct.pack(f'<{a.ndim}Q', *a.shape[::-1]), struct.pack('<IQ', TYPE[a.dtype], offset)]
        body = a.tobytes()
        body += b'\0' * (-len(body) % ALIGN)
        data.append(body)
        offset += len(body)
    head = b''.join(head)
    with open(path, 'wb') as f:
        f.write(head + b'\0' * (-len(head) % ALIGN) + b''.join(data))
