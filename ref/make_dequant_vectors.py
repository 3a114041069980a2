#!/usr/bin/env python3
"""Random blocks of every type that Turbine computes with, and their values, for
tests/unit/test_tensor.c:  ref/make_dequant_vectors.py > tests/data/dequant.h

The formulas are those of the GGUF block formats, in exact rational arithmetic with one
rounding to f32 at the end; written element by element, independently of src/tensor."""
import random
import struct
from fractions import Fraction
from math import frexp, isqrt

rng = random.Random(20261)


def f16(b, at):
    return Fraction(struct.unpack_from('<e', b, at)[0])


def nib(qs, i):
    """Block of 32: byte i holds elements i (low) and i + 16 (high)."""
    return qs[i % 16] >> (4 if i >= 16 else 0) & 15


def q4_0(b):
    return [f16(b, 0) * (nib(b[2:], i) - 8) for i in range(32)]


def q4_1(b):
    return [f16(b, 0) * nib(b[4:], i) + f16(b, 2) for i in range(32)]


def q5_0(b):
    high = int.from_bytes(b[2:6], 'little')
    return [f16(b, 0) * (nib(b[6:], i) + 16 * (high >> i & 1) - 16) for i in range(32)]


def q5_1(b):
    high = int.from_bytes(b[4:8], 'little')
    return [f16(b, 0) * (nib(b[8:], i) + 16 * (high >> i & 1)) + f16(b, 2)
            for i in range(32)]


def q8_0(b):
    return [f16(b, 0) * q for q in struct.unpack_from('<32b', b, 2)]


def six_bits(s):
    """(scale, min) of the eight sub-blocks in 12 bytes."""
    low = [(s[j] & 63, s[j + 4] & 63) for j in range(4)]
    high = [(s[8 + j] % 16 + (s[j] // 64) * 16, s[8 + j] // 16 + (s[4 + j] // 64) * 16)
            for j in range(4)]
    return low + high


def q2_k(b):
    out = []
    for half in range(2):
        for pair in range(4):
            for s in range(2):
                least, scale = divmod(b[8 * half + 2 * pair + s], 16)
                for byte in b[16 + 32 * half + 16 * s:][:16]:
                    q = byte // 4 ** pair % 4
                    out.append(f16(b, 80) * scale * q - f16(b, 82) * least)
    return out


def q3_k(b):
    mask, scales = b[:32], b[96:108]
    low = [x % 16 for x in scales[:8]] + [x // 16 for x in scales[:8]]
    high = [scales[8 + k % 4] // 4 ** (k // 4) % 4 for k in range(16)]
    out = []
    for half in range(2):
        for pair in range(4):
            for l in range(32):
                k = 8 * half + 2 * pair + l // 16
                q = b[32 + 32 * half + l] // 4 ** pair % 4
                q -= 0 if mask[l] >> 4 * half + pair & 1 else 4
                out.append(f16(b, 108) * (low[k] + 16 * high[k] - 32) * q)
    return out


def q4_k(b):
    out = []
    for j, (scale, least) in enumerate(six_bits(b[4:16])):
        part = b[16 + 32 * (j // 2):][:32]
        for byte in part:
            q = byte % 16 if j % 2 == 0 else byte // 16
            out.append(f16(b, 0) * scale * q - f16(b, 2) * least)
    return out


def q5_k(b):
    out = []
    for j, (scale, least) in enumerate(six_bits(b[4:16])):
        part = b[48 + 32 * (j // 2):][:32]
        for l, byte in enumerate(part):
            q = byte % 16 if j % 2 == 0 else byte // 16
            q += 16 * (b[16 + l] >> j & 1)
            out.append(f16(b, 0) * scale * q - f16(b, 2) * least)
    return out


def q6_k(b):
    out = [None] * 256
    scales = struct.unpack_from('<16b', b, 192)
    for half in range(2):
        ql, qh = b[64 * half:][:64], b[128 + 32 * half:][:32]
        for l in range(32):
            h = qh[l]
            four = (ql[l] % 16 + 16 * (h & 3), ql[l + 32] % 16 + 16 * (h >> 2 & 3),
                    ql[l] // 16 + 16 * (h >> 4 & 3), ql[l + 32] // 16 + 16 * (h >> 6))
            for k, q in enumerate(four):
                scale = scales[8 * half + 2 * k + l // 16]
                out[128 * half + 32 * k + l] = f16(b, 208) * scale * (q - 32)
    return out


IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]


def iq4_nl(b):
    return [f16(b, 0) * IQ4[nib(b[2:], i)] for i in range(32)]


def iq4_xs(b):
    high = int.from_bytes(b[2:4], 'little')
    out = []
    for j in range(8):
        low = b[4 + j // 2] // 16 if j % 2 else b[4 + j // 2] % 16
        scale = low + 16 * (high // 4 ** j % 4) - 32
        out += [f16(b, 0) * scale * IQ4[nib(b[8 + 16 * j:], i)] for i in range(32)]
    return out


def e2m1(code):
    """One bit of sign, two of exponent with bias 1, one of mantissa."""
    exponent, mantissa = code >> 1 & 3, Fraction(code & 1, 2)
    v = 2 ** (exponent - 1) * (1 + mantissa) if exponent else mantissa
    return -v if code & 8 else v


def mxfp4(b):
    return [Fraction(2) ** (b[0] - 127) * e2m1(nib(b[1:], i)) for i in range(32)]


def ue4m3(x):
    """Four bits of exponent with bias 7, three of mantissa; 0x7f is no number."""
    exponent, mantissa = x >> 3 & 15, Fraction(x & 7, 8)
    if x == 0x7f:
        return Fraction(0)
    return (1 + mantissa) * Fraction(2) ** (exponent - 7) if exponent else mantissa / 64


def nvfp4(b):
    out = []
    for s in range(4):
        part = b[4 + 8 * s:][:8]
        codes = [x % 16 for x in part] + [x // 16 for x in part]
        out += [ue4m3(b[s]) * e2m1(q) for q in codes]
    return out


def digits(part, n):
    """n digits of base 3 of each byte, equal digits of all bytes together."""
    return [part[i] * 3 ** k % 256 * 3 // 256 for k in range(n) for i in range(len(part))]


def tq1_0(b):
    codes = digits(b[:32], 5) + digits(b[32:48], 5) + digits(b[48:52], 4)
    return [f16(b, 52) * (q - 1) for q in codes]


def tq2_0(b):
    return [f16(b, 64) * (byte // 4 ** pair % 4 - 1)
            for half in (b[:32], b[32:64]) for pair in range(4) for byte in half]


def q1_0(b):
    bits = int.from_bytes(b[2:], 'little')
    return [f16(b, 0) * (1 if bits >> i & 1 else -1) for i in range(128)]


def q2_0(b):
    bits = int.from_bytes(b[2:], 'little')
    return [f16(b, 0) * ((bits >> 2 * i & 3) - 1) for i in range(64)]


def single(text):
    return Fraction(struct.unpack('<f', struct.pack('<f', float(text)))[0])


LEVELS3 = [single(x) for x in '-1.996684 -1.291398 -0.740341 -0.247508 0.230106 '
           '0.725222 1.277503 1.988943'.split()]
HALF4 = [single(x) for x in '0.128395 0.388048 0.656759 0.942340 1.256231 1.618046 '
         '2.069017 2.732590'.split()]
LEVELS4 = [-x for x in reversed(HALF4)] + HALF4
SIGNS = '+-+-++-+--+-++-+--+-+--+-++-+--+'
# 1 / sqrt(32) to 40 digits
ROOT = Fraction(isqrt(10 ** 80 // 32), 10 ** 40)


def rotated(b, codes, levels):
    c = [f16(b, 0 if j < 16 else 2) * levels[q] for j, q in enumerate(codes)]
    out = []
    for i in range(32):  # row i of the Hadamard matrix
        y = sum(x if (i & j).bit_count() % 2 == 0 else -x for j, x in enumerate(c)) * ROOT
        out.append(y if SIGNS[i] == '+' else -y)
    return out


def tq3_1s(b):
    bits = int.from_bytes(b[4:], 'little')
    return rotated(b, [bits >> 3 * j & 7 for j in range(32)], LEVELS3)


def tq4_1s(b):
    bits = int.from_bytes(b[4:], 'little')
    return rotated(b, [bits >> 4 * j & 15 for j in range(32)], LEVELS4)


def f32(b):
    return [Fraction(v) for v in struct.unpack(f'<{len(b) // 4}f', b)]


def half(b):
    return [Fraction(v) for v in struct.unpack(f'<{len(b) // 2}e', b)]


def bf16(b):
    return [Fraction(struct.unpack('<f', b'\0\0' + b[i:i + 2])[0])
            for i in range(0, len(b), 2)]


def to_f32(x):
    """Nearest f32, ties to even, of a rational whose f64 form is exact, or else not so
    near the middle of two f32 that rounding it twice could differ."""
    double = Fraction(float(x))
    if double != x:
        ulp = Fraction(2) ** (frexp(float(x))[1] - 24)
        assert abs(abs(x) / ulp % 1 - Fraction(1, 2)) > Fraction(1, 10 ** 6)
    if abs(x) >= 2 ** 128:
        return 0xff800000 if x < 0 else 0x7f800000
    return struct.unpack('<I', struct.pack('<f', float(x)))[0]


# name: function, bytes of a block, blocks, offsets of f16 scales in the block
TYPES = {
    'F32': (f32, 4, 16, None), 'F16': (half, 2, 16, [0]), 'BF16': (bf16, 2, 16, None),
    'Q4_0': (q4_0, 18, 3, [0]), 'Q4_1': (q4_1, 20, 3, [0, 2]),
    'Q5_0': (q5_0, 22, 3, [0]), 'Q5_1': (q5_1, 24, 3, [0, 2]),
    'Q8_0': (q8_0, 34, 3, [0]), 'Q2_K': (q2_k, 84, 2, [80, 82]),
    'Q3_K': (q3_k, 110, 2, [108]), 'Q4_K': (q4_k, 144, 2, [0, 2]),
    'Q5_K': (q5_k, 176, 2, [0, 2]), 'Q6_K': (q6_k, 210, 2, [208]),
    'IQ4_NL': (iq4_nl, 18, 3, [0]), 'IQ4_XS': (iq4_xs, 136, 2, [0]),
    'MXFP4': (mxfp4, 17, 7, []), 'NVFP4': (nvfp4, 36, 4, []),
    'TQ1_0': (tq1_0, 54, 2, [52]), 'TQ2_0': (tq2_0, 66, 2, [64]),
    'Q1_0': (q1_0, 18, 3, [0]), 'Q2_0': (q2_0, 18, 3, [0]),
    'TQ3_1S': (tq3_1s, 16, 3, [0, 2]), 'TQ4_1S': (tq4_1s, 20, 3, [0, 2]),
}


def random_blocks(name, size, count, scales):
    if name == 'F32':
        return b''.join(struct.pack('<f', rng.gauss(0, 1)) for _ in range(count))
    if name == 'BF16':
        return b''.join(struct.pack('<f', rng.gauss(0, 1))[2:] for _ in range(count))
    blocks = b''
    for i in range(count):
        b = bytearray(rng.randbytes(size))
        for at in scales:
            # the second block has subnormal scales
            sigma = 1e-6 if i == 1 else 0.1
            b[at:at + 2] = struct.pack('<e', rng.gauss(0, sigma))
        if name == 'MXFP4':  # both ends and the usual middle of the exponents
            b[0] = (120, 0, 1, 2, 127, 254, 255)[i]
        if name == 'NVFP4' and i == 1:  # 0, no number, a subnormal, the unused bit
            b[:4] = bytes((0, 0x7f, 0x05, 0xff))
        blocks += bytes(b)
    return blocks


def array(kind, name, values, form, per_line):
    print(f'static const {kind} {name}[] = {{')
    for i in range(0, len(values), per_line):
        print('    ' + ' '.join(form % v + ',' for v in values[i:i + per_line]))
    print('};')


print('/* dequant.h - generated by ref/make_dequant_vectors.py: blocks of each type and')
print(' * the bits of their values. */')
print('// clang-format off')
for name, (fn, size, count, scales) in TYPES.items():
    blocks = random_blocks(name, size, count, scales)
    values = []
    for i in range(0, len(blocks), size):
        values += [to_f32(v) for v in fn(blocks[i:i + size])]
    array('uint8_t', f'dequant_in_{name}', blocks, '%3d', 16)
    array('uint32_t', f'dequant_out_{name}', values, '0x%08x', 7)
print('#define DEQUANT_VECTORS(X) \\')
print('    ' + ' '.join(f'X({name})' for name in TYPES))
