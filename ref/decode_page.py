#!/usr/bin/env python3
"""Decode a page of a compressed cache to f32 rows, from docs/format.md alone.

usage: decode_page.py turbo8|turbo4|turbo3|turbo2 key|value D < page > rows.f32
"""
import struct
import sys

POSITIVE = {
    2: [.2055, .5914, 1.0756, 1.8738],
    3: [.1119, .3212, .5522, .7895, 1.0671, 1.3877, 1.8368, 2.5490],
    4: [.0613, .1841, .3116, .4359, .5681, .7016, .8412, .9832,
        1.1369, 1.2946, 1.4723, 1.6708, 1.9121, 2.2114, 2.6146, 3.2431],
}
BITS = {'turbo8': 8, 'turbo4': 4, 'turbo3': 3, 'turbo2': 2}


def levels(bits):
    up = [int(x * 127 / POSITIVE[bits][-1] + .5) for x in POSITIVE[bits]]
    return [-x for x in reversed(up)] + up


def key_field(array, d, b, j, t):
    word = 16 if b == 1 and d % 32 else 32
    rows = d * b // word
    at = (t % rows * 16 + j) * word // 8
    return int.from_bytes(array[at:at + word // 8], 'little') >> (t // rows * b) & (1 << b) - 1


def value_field(array, d, b, j, t):
    block, k = divmod(j, 32 // b)
    rows = d // 16
    byte = array[(block * rows + t % rows) * 64 + t // rows * 4 + k % 4]
    return byte >> (k // 4 * b) & (1 << b) - 1


def parts(codes, role, bits, d, j):
    """Lists of w and of v over time of token j."""
    group = 16 if role == 'key' else 32
    field = key_field if role == 'key' else value_field
    part = codes[j // group * group * d * bits // 8:][:group * d * bits // 8]
    j %= group
    if bits == 3:
        w = [field(part, d, 2, j, t) for t in range(d)]
        return w, [field(part[group * d * 2 // 8:], d, 1, j, t) for t in range(d)]
    both = [field(part, d, bits, j, t) for t in range(d)]
    return [f >> 1 for f in both], [f & 1 for f in both]


def dimension(role, bits, d, t):
    if role == 'value':
        return 16 * (t % (d // 16)) + t // (d // 16)
    fields = 2 if bits == 4 else 4
    p, n = divmod(t, d // (4 * fields))
    return 4 * (fields * n + p % fields) + p // fields


def row_levels(codes, role, bits, d, j):
    if bits == 8:
        at = [j // 16 * 16 * d + i // 4 * 64 + j % 16 * 4 + i % 4 if role == 'key'
              else (j // 4 * d + i) * 4 + j % 4 for i in range(d)]
        return [codes[a] - 256 * (codes[a] > 127) for a in at]
    table = levels(bits)
    w, v = parts(codes, role, bits, d, j)
    out = [0] * d
    for t in range(d):
        z1 = v[(t + 2) % d] ^ v[(t + 1) % d] ^ v[t - 1]
        out[dimension(role, bits, d, t)] = table[4 * w[t] + 2 * z1 + v[t]]
    return out


def spare_bits(raw, d):
    """The mean of a page of keys, and the scales without its bits."""
    bits = 2 if d <= 128 else 1
    unit = sum((raw[j] >> 15) << j for j in range(16))
    unit = struct.unpack('<e', struct.pack('<H', unit))[0] if unit < 0x7c00 else 0.0
    codes = [raw[i % 64] >> i // 64 * bits & (1 << bits) - 1 for i in range(d)]
    return [unit * (2 * c - (1 << bits) + 1) for c in codes], [r & 0x7ff0 for r in raw]


def f32(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def decode(page, kind, role, d):
    """64 lists of d floats."""
    if d == 576:
        first = 64 * (2 + 512 * BITS[kind] // 8)
        return [a + b for a, b in zip(decode(page[:first], kind, role, 512),
                                      decode(page[first:], kind, role, 64))]
    raw, mean = struct.unpack('<64H', page[:128]), [0.0] * d
    if role == 'key' and kind != 'turbo8' and d <= 256:
        mean, raw = spare_bits(raw, d)
    scales = [struct.unpack('<e', struct.pack('<H', r))[0] if r < 0x7c00 else 0.0 for r in raw]
    return [[f32(s * x + m) if s else 0.0
             for x, m in zip(row_levels(page[128:], role, BITS[kind], d, j), mean)]
            for j, s in enumerate(scales)]


if __name__ == '__main__':
    if len(sys.argv) != 4 or sys.argv[1] not in BITS or sys.argv[2] not in ('key', 'value'):
        sys.exit(__doc__)
    for row in decode(sys.stdin.buffer.read(), sys.argv[1], sys.argv[2], int(sys.argv[3])):
        sys.stdout.buffer.write(struct.pack(f'<{len(row)}f', *row))
