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


# Under sanitizers each command, input, error and architecture is tested once, not what runs
# no sanitized code: Python alone, and objects that are compiled anew without them.
WITHOUT_SANITIZED_CODE = ('test_reference.py', 'test_versus.py', 'test_web.py', 'test_library.py::test_single_command',
                          'test_templates.py::test_stored_texts_are_those_of_jinja2',
                          'test_server_memory.py')
# Answers of the default model take minutes there: the scheduler is tested by tests/unit/test_scheduler.c, the server
# by those of the scripted one.
LONG_ANSWERS = ('test_demo_route.py', 'test_serve.py', 'test_serve_apis.py', 'test_web_serve.py', 'test_kv_tail.py')


def pytest_collection_modifyitems(config, items):
    if '/san-' not in os.environ.get('TURBINE', ''):
        return
    out = [i for i in items if i.nodeid.split('[')[0].removeprefix('tests/api/').startswith(
        WITHOUT_SANITIZED_CODE + LONG_ANSWERS)]
    config.hook.pytest_deselected(items=out)
    items[:] = [i for i in items if i not in out]


def pytest_unconfigure():
    shutil.rmtree(_folder, ignore_errors=True)
