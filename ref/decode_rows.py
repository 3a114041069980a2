#!/usr/bin/env python3
"""Decode a page of mse, prod, mix, q8_0 or q4_0 to f32 rows, from docs/format.md alone.

usage: decode_rows.py TYPE D < page > rows.f32
"""
import functools
import math
import struct
import sys

from make_codebooks import sphere

BITS = {'mse4': 4, 'mse3': 3, 'mse2': 2, 'prod4': 3, 'prod3': 2, 'prod2': 1, 'mix3.5': 4, 'mix2.5': 3}
MASK = 2 ** 64 - 1


def f32(x):
    return struct.unpack('<f', struct.pack('<f', x))[0]


def half(data, at, signed=False):
    h = int.from_bytes(data[at:at + 2], 'little')
    finite = h & 0x7fff < 0x7c00 if signed else h < 0x7c00
    return struct.unpack('<e', data[at:at + 2])[0] if finite else 0.0


@functools.lru_cache(None)
def levels(n, b):
    up = [f32(round(c, 6)) for c in sphere(n, b)]
    return [-c for c in reversed(up)] + up


def lloyd(data, scale, n, b):
    word = int.from_bytes(data[:n * b // 8], 'little')
    return [f32(scale * levels(n, b)[word >> b * i & (1 << b) - 1]) for i in range(n)]


def log(x):
    m, e = math.frexp(x)
    if m < 0.70710678118654752:
        m, e = m * 2, e - 1
    s = (m - 1) / (m + 1)
    total = 0.0
    for k in range(15, 0, -2):
        total = total * (s * s) + 1.0 / k
    return e * 0.69314718055994531 + 2 * s * total


def horner(a, x):
    total = a[-1]
    for c in reversed(a[:-1]):
        total = total * x + c
    return total


def quantile(p):
    q = p - .5
    if abs(q) <= .425:
        r = .180625 - q * q
        return (q * horner([3.3871327179, 50.434271938, 159.29113202, 59.109374720], r)
                / horner([1.0, 17.895169469, 78.757757664, 67.187563600], r))
    r = math.sqrt(-log(p if q < 0 else 1 - p)) - 1.6
    x = (horner([1.4234372777, 2.7568153900, 1.3067284816, .17023821103], r)
         / horner([1.0, .73700164250, .12021132975], r))
    return -x if q < 0 else x


@functools.lru_cache(None)
def sign_matrix(seed, d):
    def entry(i, k):
        z = seed + 0x9e3779b97f4a7c15 * (max(d, 256) * i + k + 1) & MASK
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9 & MASK
        z = (z ^ z >> 27) * 0x94d049bb133111eb & MASK
        return f32(quantile(((z ^ z >> 31) >> 32) * 2.0 ** -32 + 2.0 ** -33))
    return [[entry(i, k) for k in range(d)] for i in range(d)]


def residual(signs, scale, d, seed):
    out, s = [], sign_matrix(seed, d)
    unit = f32(f32(math.sqrt(f32(f32(1.57079633) / d))) * scale)
    for k in range(d):
        total = 0.0
        for i in range(d):
            total = f32(total + (-s[i][k] if signs[i // 8] >> i % 8 & 1 else s[i][k]))
        out.append(f32(unit * total))
    return out


def block(data, kind):
    scale = half(data, 0, signed=True)
    if kind == 'q8_0':
        return [f32(scale * q) for q in struct.unpack('32b', data[2:34])]
    codes = [c & 15 for c in data[2:18]] + [c >> 4 for c in data[2:18]]
    return [f32(scale * (c - 8)) for c in codes]


def row_bytes(kind, d):
    if kind in ('q8_0', 'q4_0'):
        return d // 32 * (34 if kind == 'q8_0' else 18)
    if kind.startswith('mix'):
        return 4 + d * (2 * BITS[kind] - 1) // 16
    return 2 + d * BITS[kind] // 8 + (2 + d // 8 if kind.startswith('prod') else 0)


def decode_row(page, kind, d, j, seed=0):
    if d == 576:
        return (decode_row(page, kind, 512, j, seed)
                + decode_row(page[64 * row_bytes(kind, 512):], kind, 64, j, MASK - seed))
    if kind in ('q8_0', 'q4_0'):
        size = 34 if kind == 'q8_0' else 18
        at = j * d // 32 * size
        return [x for b in range(d // 32) for x in block(page[at + b * size:at + (b + 1) * size], kind)]
    b, first, second = BITS[kind], half(page, 2 * j), half(page, 128 + 2 * j)
    if kind.startswith('mix'):
        n, size = d // 2, d * (2 * b - 1) // 16
        row = page[256 + j * size:]
        return lloyd(row, first, n, b) + lloyd(row[n * b // 8:], second, n, b - 1)
    if kind.startswith('mse'):
        return lloyd(page[128 + j * d * b // 8:], first, d, b)
    row = page[256 + j * d * (b + 1) // 8:]
    estimate = residual(row[d * b // 8:], second, d, seed)
    return [f32(x + r) for x, r in zip(lloyd(row, first, d, b), estimate)]


if __name__ == '__main__':
    if len(sys.argv) != 3 or sys.argv[1] not in [*BITS, 'q8_0', 'q4_0']:
        sys.exit(__doc__)
    stored = sys.stdin.buffer.read()
    for slot in range(64):
        values = decode_row(stored, sys.argv[1], int(sys.argv[2]), slot)
        sys.stdout.buffer.write(struct.pack(f'<{len(values)}f', *values))
