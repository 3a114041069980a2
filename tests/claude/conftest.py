"""Tests of `make check-claude` have loopback and no other network."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path += [str(ROOT / 'tests/claude'), str(ROOT / 'tests/api')]
from claude_code import binary  # noqa: E402
from isolate import isolate  # noqa: E402


@pytest.fixture(scope='session', autouse=True)
def alone():
    try:
        binary()  # by npm where it is missing, before the network is gone
        isolate()
    except OSError as e:
        pytest.skip(str(e))
