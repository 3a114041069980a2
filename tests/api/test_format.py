"""The C decoder against ref/decode_page.py and ref/decode_rows.py, on pages that the C
encoder wrote and on pages of random bytes."""
import ctypes
import importlib.util
import os
import pathlib
import random
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIBRARY = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve().parent / 'libturboquant.so'
SANITIZED = 'san-' in str(LIBRARY)  # needs a preloaded run-time

TYPES = {'f16': 1, 'turbo8': 2, 'turbo4': 3, 'turbo3': 4, 'turbo2': 5}
ROLES = {'key': 0, 'value': 1}
CASES = [(t, r, d) for t in list(TYPES)[1:] for r in ROLES for d in (64, 80, 128)]
CASES += [(t, r, d) for t in ('turbo4', 'turbo3') for r in ROLES for d in (96, 112, 192, 256)]
CASES += [(t, r, d) for t in list(TYPES)[1:] for r in ROLES for d in (512, 576)]


class Codec(ctypes.Structure):
    _fields_ = [('type', ctypes.c_int), ('role', ctypes.c_int), ('d', ctypes.c_int),
                ('kernels', ctypes.c_void_p), ('order', ctypes.c_void_p), ('seed', ctypes.c_uint64)]


@pytest.fixture(scope='module')
def lib():
    if not LIBRARY.exists() or SANITIZED:
        pytest.skip(f'no loadable {LIBRARY}')
    lib = ctypes.CDLL(str(LIBRARY))
    lib.tq_page_bytes.restype = lib.tq_encode_scratch_bytes.restype = ctypes.c_size_t
    lib.tq_codec_init.restype = ctypes.c_bool
    return lib


@pytest.fixture(scope='module')
def reference():
    spec = importlib.util.spec_from_file_location('decode_page', ROOT / 'ref/decode_page.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROW_TYPES = {'mse4': 6, 'mse3': 7, 'mse2': 8, 'prod4': 9, 'prod3': 10, 'prod2': 11,
             'mix3.5': 12, 'mix2.5': 13, 'q8_0': 14, 'q4_0': 15}
TYPES.update(ROW_TYPES)


def codec(lib, kind, role, d):
    c = Codec()
    assert lib.tq_codec_init(ctypes.byref(c), TYPES[kind], ROLES[role], d, 255)
    return c


def c_decode(lib, c, page, d):
    x = (ctypes.c_float * (64 * d))()
    lib.tq_decode(ctypes.byref(c), x, page)
    return x


def assert_equal(lib, reference, c, page, kind, role, d):
    got = c_decode(lib, c, page, d)
    want = reference.decode(bytes(page), kind, role, d)
    flat = [x for row in want for x in row]
    # The product of a half and an int8 has at most 18 bits: exact in f32.  With that of a
    # mean, a double holds the sum exactly, and there is one rounding.
    assert list(got) == flat


@pytest.mark.parametrize('kind,role,d', CASES)
def test_random_bytes(lib, reference, kind, role, d):
    c = codec(lib, kind, role, d)
    rng = random.Random(d)
    page = (ctypes.c_uint8 * lib.tq_page_bytes(TYPES[kind], d))()
    for i in range(len(page)):
        page[i] = rng.randrange(256)
    assert_equal(lib, reference, c, page, kind, role, d)


@pytest.mark.parametrize('kind,role,d', CASES)
def test_encoded_page(lib, reference, kind, role, d):
    rng = random.Random(d)
    exact = codec(lib, 'f16', role, d)
    rows = (ctypes.c_uint16 * (64 * d))()
    sent = []
    for j in range(64):
        row = (ctypes.c_float * d)(*(rng.gauss(0, 1) for _ in range(d)))
        lib.tq_put(ctypes.byref(exact), rows, j, row)
        sent.append(list(row))
    c = codec(lib, kind, role, d)
    page = (ctypes.c_uint8 * lib.tq_page_bytes(TYPES[kind], d))()
    scratch = (ctypes.c_uint8 * lib.tq_encode_scratch_bytes(d))()
    assert lib.tq_encode(ctypes.byref(c), page, rows, scratch) == 0
    assert_equal(lib, reference, c, page, kind, role, d)
    decoded = reference.decode(bytes(page), kind, role, d)
    error = sum((a - b) ** 2 for s, r in zip(sent, decoded) for a, b in zip(s, r))
    power = sum(a * a for s in sent for a in s)
    # A scalar Lloyd-Max code of the same rate has .1175, .0345 and .0095.
    most = {'turbo8': .0001, 'turbo4': .0070, 'turbo3': .0250, 'turbo2': .0920}[kind]
    if role == 'value':  # unbiased: 1 / c^2 - 1, where the norm of the row would give 2 - 2 c
        most = 1 / (1 - most / 2) ** 2 - 1
    assert error / power < most


@pytest.mark.parametrize('kind', ROW_TYPES)
@pytest.mark.parametrize('d', (64, 112, 512, 576))
def test_rows(lib, kind, d):
    if kind.startswith('q') and d % 32:
        pytest.skip('blocks of 32')
    sys.path.insert(0, str(ROOT / 'ref'))
    import decode_rows
    c = codec(lib, kind, 'key', d)
    page = (ctypes.c_uint8 * lib.tq_page_bytes(TYPES[kind], d))()
    rng = random.Random(d)
    for i in range(len(page)):
        page[i] = rng.randrange(256)
    got = c_decode(lib, c, page, d)
    for j in (0, 1, 37, 63) if kind.startswith('prod') else range(64):
        assert list(got[j * d:(j + 1) * d]) == decode_rows.decode_row(bytes(page), kind, d, j)


def test_page_bytes(lib):
    for kind, bits in (('turbo2', 2), ('turbo3', 3), ('turbo4', 4), ('turbo8', 8)):
        for d in (64, 80, 96, 112, 128, 192, 256, 512):
            assert lib.tq_page_bytes(TYPES[kind], d) == 64 * (2 + d * bits // 8)
        assert lib.tq_page_bytes(TYPES[kind], 576) == 64 * (4 + 576 * bits // 8)
