"""Metadata of a GGUF file, read and written in plain Python (no tensors)."""
import struct

SCALAR = {0: 'B', 1: 'b', 2: 'H', 3: 'h', 4: 'I', 5: 'i', 6: 'f', 7: '?', 10: 'Q', 11: 'q', 12: 'd'}
STR, ARR = 8, 9


def head(f):
    """(metadata, number of tensors) of an open file, which then stands at the tensors' infos.

    {key: value}; strings are bytes, arrays are (element type, list)."""
    def num(c):
        return struct.unpack('<' + c, f.read(struct.calcsize('<' + c)))[0]

    def value(t):
        if t == STR:
            return f.read(num('Q'))
        if t == ARR:
            e, n = num('I'), num('Q')
            if e in SCALAR:
                c = SCALAR[e]
                return e, list(struct.unpack(f'<{n}{c}', f.read(n * struct.calcsize('<' + c))))
            return e, [value(e) for _ in range(n)]
        return num(SCALAR[t])

    if f.read(4) != b'GGUF' or num('I') not in (2, 3):
        raise ValueError(f'{f.name} is not a GGUF v2 or v3 file')
    n_tensors = num('Q')
    meta = {}
    for _ in range(num('Q')):
        key = f.read(num('Q')).decode()
        meta[key] = value(num('I'))
    return meta, n_tensors


def read(path):
    """The metadata of a file, as head gives it."""
    with open(path, 'rb') as f:
        return head(f)[0]


def _string(b):
    b = b.encode() if isinstance(b, str) else b
    return struct.pack('<Q', len(b)) + b


def _value(v):
    """(type, bytes): bool, int (u32), float (f32), str or bytes, (element type, list)."""
    if isinstance(v, bool):
        return 7, struct.pack('<?', v)
    if isinstance(v, int):
        return 4, struct.pack('<I', v)
    if isinstance(v, float):
        return 6, struct.pack('<f', v)
    if isinstance(v, (str, bytes)):
        return STR, _string(v)
    e, items = v
    body = b''.join(map(_string, items)) if e == STR else struct.pack(f'<{len(items)}{SCALAR[e]}', *items)
    return ARR, struct.pack('<IQ', e, len(items)) + body


def image(meta):
    """Bytes of a GGUF v3 file with this metadata and no tensors."""
    out = [b'GGUF', struct.pack('<IQQ', 3, 0, len(meta))]
    for key, v in meta.items():
        t, body = _value(v)
        out += [_string(key), struct.pack('<I', t), body]
    whole = b''.join(out)
    return whole + b'\0' * (-len(whole) % 32)
