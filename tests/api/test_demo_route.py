"""script/demo-route, and that it finds what is wrong and ends its processes then too."""
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from route_helper import ROOT, TURBINE

MODEL = pathlib.Path(os.environ['TURBINE_TEST_MODEL'])
SCRIPT = ROOT / 'script/demo_route.py'
SECONDS = 500  # longer than the script's own limit

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason=f'no {MODEL}: script/model fetches it')


def processes(text):
    """{label: [ids]} of what the script says it started."""
    out = {}
    for label, pid in re.findall(r'^  (short|long|router) +http://127\.0\.0\.1:\d+  process (\d+)$', text, re.M):
        out.setdefault(label, []).append(int(pid))
    return out


def is_there(pid):
    """A zombie is there too: the script must have waited for it."""
    return pathlib.Path(f'/proc/{pid}').exists()


def assert_none_left(text):
    for label, pids in processes(text).items():
        for pid in pids:
            assert not is_there(pid), f'{label}, process {pid}, is left:\n{text}'


def start(program=(sys.executable, SCRIPT), model=MODEL, **env):
    # MAKEFLAGS of a make around this test are not for the script's own make.
    env = {**{k: v for k, v in os.environ.items() if k not in ('MAKEFLAGS', 'MFLAGS', 'TURBINE_API_KEY')}, **env}
    return subprocess.Popen([*program, model], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(p):
    try:
        return p.communicate(timeout=SECONDS)
    finally:
        if p.poll() is None:
            p.terminate()
            p.communicate(timeout=60)


@pytest.mark.skipif(TURBINE != ROOT / 'build/turbine', reason='the script builds and runs build/turbine')
def test_demo():
    p = start((ROOT / 'script/demo-route',))
    out, err = finish(p)
    assert p.returncode == 0, out + err
    found = processes(out)
    assert {k: len(v) for k, v in found.items()} == {'short': 1, 'long': 2, 'router': 1}
    assert_none_left(out)
    assert '--threshold 1000' in out
    # Who answered: the short one twice, the long one twice; it is killed; it is back, killed in mid-stream.
    assert re.findall(r'X-Turbine-(?:Backend: \S+  = |Fallback: )(\S+)', out) == [
        'short', 'short', 'long', 'long', 'short', 'down', 'long', 'short', 'down']
    tokens = [int(n) for n in re.findall(r'(\d+) tokens of prompt', out)]
    assert len(tokens) == 6 and tokens == sorted(tokens) and tokens[1] <= 1000 < tokens[2]
    assert '"type": "server_error"' in out and '1 streams broken' in out


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_all(number):
    p = start(TURBINE=str(TURBINE))
    out = ''
    try:
        while 'turn 1' not in out:
            line = p.stdout.readline()
            assert line, p.stderr.read()
            out += line
        pids = [pid for ids in processes(out).values() for pid in ids]
        assert len(pids) == 3 and all(map(is_there, pids))
        p.send_signal(number)
    finally:
        more, err = finish(p)
    assert p.returncode == 128 + number, out + more + err
    assert_none_left(out + more)


# A turbine whose `route` or `serve` differs from what the script asks for.
OTHERS = {
    'never-long': ('route', 'shift; exec "$REAL" route --threshold 100000 "${@:1:4}" "${@:7}"',
                   'turn 3: short answered, not long'),
    'no-router': ('route', 'echo "no such port" >&2; exit 3', 'router did not start'),
    'no-server': ('serve', 'exit 3', 'short did not start'),
}


@pytest.mark.parametrize('name', OTHERS)
def test_what_is_wrong_is_said(name, tmp_path):
    verb, instead, message = OTHERS[name]
    other = tmp_path / 'turbine'
    other.write_text(f'#!/bin/bash\nif [ "$1" = {verb} ] && [ "$2" != status ]; then {instead}; fi\n'
                     'exec "$REAL" "$@"\n')
    other.chmod(0o755)
    p = start(TURBINE=str(other), REAL=str(TURBINE))
    out, err = finish(p)
    assert p.returncode == 1 and f'script/demo-route: {message}' in err, out + err
    assert_none_left(out)
    if name == 'no-router':
        assert 'no such port' in err  # the end of its log


def test_no_model(tmp_path):
    p = start(model=tmp_path / 'none.gguf', TURBINE=str(TURBINE))
    out, err = finish(p)
    assert p.returncode == 1 and 'short did not start' in err and 'none.gguf' in err, out + err
