#!/usr/bin/env python3
"""Writes the seed files of fuzz_gguf: tests/fuzz/corpus/gguf/*.gguf."""
import pathlib
import struct

U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARR, U64, I64, F64 = range(13)
FORMAT = {U8: 'B', I8: 'b', U16: 'H', I16: 'h', U32: 'I', I32: 'i', F32: 'f',
          BOOL: '?', U64: 'Q', I64: 'q', F64: 'd'}


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack('<Q', len(s)) + s


def value(t, v):
    return text(v) if t == STR else struct.pack('<' + FORMAT[t], v)


def kv(key, t, v):
    if isinstance(v, list):
        body = struct.pack('<IIQ', ARR, t, len(v)) + b''.join(value(t, x) for x in v)
    else:
        body = struct.pack('<I', t) + value(t, v)
    return text(key) + body


def tensor(name, shape, t, offset):
    return (text(name) + struct.pack('<I', len(shape)) +
            b''.join(struct.pack('<Q', n) for n in shape) + struct.pack('<IQ', t, offset))


def gguf(kvs, tensors=(), data=b'', version=3, align=32):
    head = b'GGUF' + struct.pack('<IQQ', version, len(tensors), len(kvs))
    head += b''.join(kvs) + b''.join(tensors)
    return head + bytes(-len(head) % align) + data


SCALARS = [kv('u8', U8, 200), kv('i8', I8, -5), kv('u16', U16, 60000), kv('i16', I16, -300),
           kv('u32', U32, 4000000000), kv('i32', I32, -70000), kv('f32', F32, 0.5),
           kv('bool', BOOL, True), kv('str', STR, 'hello'), kv('u64', U64, 2**64 - 1),
           kv('i64', I64, -2**40), kv('f64', F64, float('nan'))]
ARRAYS = [kv('a.u8', U8, [1, 2]), kv('a.bool', BOOL, [True, False]), kv('a.none', F64, []),
          kv('a.str', STR, ['', 'ab', b'\xff\xfe']), kv('a.f32', F32, [0.0, -1.5]),
          kv('a.i64', I64, [-1])]
SEEDS = {
    'empty': gguf([]),
    'v2': gguf([kv('k', U32, 1)], version=2),
    'scalars': gguf(SCALARS),
    'arrays': gguf(ARRAYS),
    'tensors': gguf([], [tensor('f32', [4], 0, 0), tensor('q8_0', [32, 2], 8, 32),
                         tensor('q4_k', [256, 1, 1, 1], 12, 128)], bytes(range(256)) + bytes(16)),
    'aligned': gguf([kv('general.alignment', U32, 64)], [tensor('a', [3], 24, 0)],
                    b'abc' + bytes(61), align=64),
    'split': gguf([kv('split.no', U16, 0), kv('split.count', U16, 2),
                   kv('split.tensors.count', I32, 0)]),
    'all': gguf(SCALARS + ARRAYS, [tensor('t', [2, 2], 1, 0)], bytes(8)),
    'unknown-type': gguf([], [tensor('t', [32], 97, 0)], bytes(64)),
    'cut': gguf(SCALARS)[:-9],
}

out = pathlib.Path(__file__).parent / 'corpus' / 'gguf'
out.mkdir(parents=True, exist_ok=True)
for name, data in SEEDS.items():
    (out / f'{name}.gguf').write_bytes(data)
