"""Tests keep their calibrations in a folder of their own, and still find the default model
where script/model put it."""
import os
import pathlib
import shutil
import tempfile

_cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
os.environ.setdefault('TURBINE_TEST_MODEL', str(_cache / 'turbine/models/smollm2-135m-instruct-q4_1.gguf'))
_folder = tempfile.mkdtemp(prefix='turbine-test-cache.')
os.environ['XDG_CACHE_HOME'] = _folder
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')  # for numpy: what tests multiply is too small to share


def pytest_unconfigure():
    shutil.rmtree(_folder, ignore_errors=True)
