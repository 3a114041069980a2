"""`turbine doctor`: what it finds on this machine and in folders that are made for it.  What it makes of conditions
that cannot be had here is tested by tests/unit/test_doctor.c."""
import http.server
import json
import os
import pathlib
import resource
import socket
import subprocess
import threading
import time

import pytest

import server_helper
from clients_helper import TEMPLATE, Server
from store_helper import TURBINE, write_model
from measure_helper import SANITIZED
from test_launch import Ollama, free_port

LEVELS = {'ok', 'note', 'warning', 'problem'}


class User:
    def __init__(self, home):
        self.home, self.bin = home, home / 'bin'
        self.bin.mkdir()
        self.port = free_port()
        self.env = {'PATH': f'{self.bin}:/usr/bin:/bin', 'HOME': str(home), 'TURBINE_HOST': f'127.0.0.1:{self.port}',
                    'XDG_CACHE_HOME': str(home / 'cache'), 'TURBINE_MODELS': str(home / 'models')}

    def run(self, *args, before=None, **env):
        return subprocess.run([TURBINE, 'doctor', *args], capture_output=True, text=True, timeout=60,
                              env={**self.env, **env}, cwd=self.home, preexec_fn=before)

    def findings(self, code=0, **more):
        done = self.run('--json', **more)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        for f in found:
            assert set(f) == {'level', 'name', 'text', 'fix'} and f['level'] in LEVELS
            assert (f['fix'] is None) == (f['level'] == 'ok') and '\n' not in f['text'] + (f['fix'] or '')
        assert code == any(f['level'] == 'problem' for f in found)
        return found

    def one(self, name, code=0, **more):
        """The level, text and fix of the only finding of this name."""
        f, = (f for f in self.findings(code, **more) if f['name'] == name)
        return f['level'], f['text'], f['fix']

    def program(self, name, script):
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)
        return path


@pytest.fixture
def user(tmp_path):
    return User(tmp_path)


def test_lines(user):
    """A finding a line, in an order that does not change; as JSON they are the same."""
    done, again = user.run(), user.run()
    assert done.returncode == 0 and done.stderr == ''
    lines = done.stdout.splitlines()
    names = [line.split()[1] for line in lines]
    assert names == [line.split()[1] for line in again.stdout.splitlines()]
    for line, f in zip(lines, user.findings(), strict=True):
        assert line.split()[:2] == [f['level'], f['name']]
        assert (f['fix'] is None) == ('; fix: ' not in line)
        if f['fix']:
            assert line.endswith(f'; fix: {f["fix"]}')
    assert user.run('x').returncode == 2 and user.run('--help').returncode == 0


def test_machine(user):
    """As the system says it itself."""
    total = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    _, text, _ = user.one('memory')
    assert abs(float(text.split()[0]) - total) < 0.02 and text.split()[1] == 'GiB,'
    assert f'{os.cpu_count()} CPUs' in user.one('cores')[1]
    huge = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
    if huge.exists():
        word = huge.read_text().split('[')[1].split(']')[0]
        assert user.one('huge-pages')[0] == ('note' if word == 'never' else 'ok')


def test_limits(user):
    def limit(what, value):
        return lambda: resource.setrlimit(what, (value, value))
    level, text, fix = user.one('open-files', before=limit(resource.RLIMIT_NOFILE, 1000))
    assert level == 'warning' and 'at most 1000' in text and fix.startswith('sudo prlimit --pid $$ --nofile=')
    if SANITIZED:  # shadow memory takes more
        return
    level, text, fix = user.one('address-space', before=limit(resource.RLIMIT_AS, 8 << 30))
    assert level == 'warning' and '8.00 GiB' in text and fix.endswith('--as=unlimited')


# ---- the store ----

def create(user, name, text):
    subprocess.run([TURBINE, 'create', name, '-f', '-'], input=text, env=user.env, check=True, capture_output=True,
                   text=True, timeout=60)


def test_models(user):
    models = user.home / 'models'
    assert user.one('store') == ('ok', f'{models}, made by the first pull', None)
    assert user.one('models')[::2] == ('note', 'turbine pull smollm2:135m')
    model = server_helper.model(TEMPLATE, 'agent')
    create(user, 'b', f'FROM {model}\nPARAMETER num_ctx 8192\n')
    create(user, 'a', f'FROM {model}\n')
    found = user.findings()
    assert [f['text'] for f in found if f['name'] == 'fits'] == [
        'a:latest: 65536 tokens of context, as it was trained for',
        'b:latest: 65536 tokens of context; its Modelfile asks for 8192']
    assert user.one('models') == ('ok', '2', None)
    (models / 'manifests/registry.ollama.ai/library/b/latest').write_text('{')
    level, text, fix = user.one('models', code=1)
    assert (level, fix) == ('problem', 'turbine verify') and text.startswith('1; of 1 more')
    assert user.run().returncode == 1


def test_models_of_ollama(user):
    folder = user.home / '.ollama/models'
    write_model(folder, 'registry.ollama.ai/library/x/latest', [('model', b'no GGUF')])
    assert user.one('ollama-store') == ('ok', f'{folder}: 1 models, read in place', None)
    level, text, fix = user.one('fits')
    assert level == 'warning' and text.startswith('x:latest: ') and fix == 'turbine show x:latest'


def test_no_folder(user):
    (user.home / 'models').write_text('')
    level, text, fix = user.one('store', code=1)
    assert level == 'problem' and 'is no folder' in text and fix.startswith('export TURBINE_MODELS=')
    if os.getuid():
        (user.home / 'closed').mkdir(mode=0o555)
        assert 'cannot be made' in user.one('store', code=1, TURBINE_MODELS=str(user.home / 'closed/models'))[1]
    level, text, fix = user.one('store', code=1, TURBINE_MODELS=str(user.home / 'models/below/it'))
    assert level == 'problem' and text.endswith(f"{user.home / 'models'} is no folder") and fix.startswith('export ')
    # Where not even root can make one: a fix of rights would not help.
    level, text, fix = user.one('store', code=1, TURBINE_MODELS='/proc/turbine/models')
    assert level == 'problem' and 'cannot be made: No such file' in text and fix.startswith('export TURBINE_MODELS=')
    # What is in a name does not reach a terminal.
    done = user.run(TURBINE_MODELS=f'{user.home}/\033[31m\nx')
    assert '\033' not in done.stdout and done.stdout.count('\n') == user.run().stdout.count('\n')


@pytest.mark.skipif(not os.getuid(), reason='root may write everywhere')
@pytest.mark.parametrize('part', ['.', 'blobs', 'manifests', '.turbine'])
def test_a_store_of_somebody_else(user, part):
    create(user, 'a', f"FROM {server_helper.model(TEMPLATE, 'agent')}\n")
    folder = user.home / 'models' / part
    folder.chmod(0o555)
    level, text, fix = user.one('store', code=1)
    folder.chmod(0o755)
    assert level == 'problem' and text == f'{folder} cannot be written: Permission denied' and 'chown -R' in fix
    assert user.one('store')[0] == 'ok' and not list(folder.glob('.doctor*'))


def test_a_store_in_memory(user):
    shm = pathlib.Path('/dev/shm')
    kind = subprocess.run(['stat', '-f', '-c', '%T', shm], capture_output=True, text=True).stdout.strip()
    if kind != 'tmpfs':
        pytest.skip('/dev/shm is no tmpfs')
    assert user.one('store-disk', TURBINE_MODELS=str(shm / 'turbine-none/models'))[0] == 'warning'


# ---- the server ----

def test_server(user):
    assert user.one('server') == ('ok', f'http://127.0.0.1:{user.port}: none runs, the port is free', None)
    with Server([{'text': 'x'}], ctx=4096, name='m') as s:
        level, text, _ = user.one('server', TURBINE_HOST=f'127.0.0.1:{s.port}')
        assert level == 'ok' and 'Turbine' in text and f'process {s.process.pid} (' in text
    with http.server.ThreadingHTTPServer(('127.0.0.1', user.port), Ollama) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        level, text, fix = user.one('server')
        other.shutdown()
        assert level == 'warning' and 'Ollama 0.33.0' in text and f'process {os.getpid()} (' in text
        assert fix == 'export TURBINE_HOST=127.0.0.1:11435'
    with socket.create_server(('127.0.0.1', user.port), backlog=8):
        level, text, _ = user.one('server', code=1)
        assert level == 'problem' and f'process {os.getpid()} (' in text
    assert user.one('server', TURBINE_HOST='http://[::1]:1')[0] == 'ok'


def test_a_key(user):
    secret = 'sk-secret'
    with server_helper.Server([], '--api-key', secret) as s:
        at = {'TURBINE_HOST': f'127.0.0.1:{s.port}'}
        level, _, fix = user.one('server', **at)
        assert level == 'warning' and 'TURBINE_API_KEY' in fix
        done = user.run(**at, TURBINE_API_KEY=secret, ANTHROPIC_API_KEY='sk-other')
        assert done.returncode == 0 and secret not in done.stdout and 'sk-other' not in done.stdout
        assert 'ANTHROPIC_API_KEY is set' in done.stdout and user.one('server', **at, TURBINE_API_KEY=secret)[0] == 'ok'


# ---- clients ----

def test_versions(user):
    level, _, fix = user.one('claude')
    assert (level, fix) == ('note', 'npm install -g @anthropic-ai/claude-code')
    (user.home / 'claude').write_text('#!/bin/sh\necho 6.6.6; touch ran\n')
    (user.home / 'claude').chmod(0o755)
    for path in (':/usr/bin', '.:/usr/bin'):
        assert user.one('claude', PATH=path)[0] == 'note' and not (user.home / 'ran').exists()
    path = user.program('claude', '#!/bin/sh\necho; echo "2.1.330 (Claude Code)"; echo 9\n')
    assert user.one('claude') == ('ok', f'{path}: 2.1.330 (Claude Code)', None)
    user.program('claude', '#!/bin/sh\nprintf "Warning: no server\\nversion \\033[31m0.33\\r\\n"\n')
    assert user.one('claude') == ('ok', f'{path}: version ?[31m0.33', None)
    path = user.program('ollama', '#!/bin/sh\nread x && echo 1\n[ "$1" = --version ] && echo client version is 0.33.0\n')
    assert user.one('ollama') == ('ok', f'{path}: client version is 0.33.0', None)


@pytest.mark.parametrize('script,seconds', [
    ('sleep 60; echo 1', 5), ('while :; do echo spam; done', 0), ('(sleep 60; echo 2) & exit', 5), ('exit 3', 0),
    ('kill -9 $$', 0)])
def test_versions_that_do_not_come(user, script, seconds):
    user.program('claude', f'#!/bin/sh\necho $$ >pid\n{script}\n')
    start = time.monotonic()
    level, text, _ = user.one('claude')
    assert level == 'note' and 'does not say its version' in text
    assert seconds <= time.monotonic() - start < seconds + 4
    group = (user.home / 'pid').read_text().strip()
    left = [p for p in pathlib.Path('/proc').glob('[0-9]*/stat')
            if (fields := read(p).rpartition(')')[2].split()) and fields[2] == group and fields[0] != 'Z']
    assert not left


def read(path):
    try:
        return path.read_text()
    except OSError:
        return ''


# ---- settings ----

def test_settings(user):
    assert user.one('environment') == ('ok', 'nothing in the way', None)
    level, text, fix = user.one('environment', ANTHROPIC_API_ENDPOINT='http://127.0.0.1:1/v1')
    assert level == 'warning' and 'does nothing' in text
    assert fix == f'unset ANTHROPIC_API_ENDPOINT; export ANTHROPIC_BASE_URL=http://127.0.0.1:{user.port}'
    assert user.one('environment', ANTHROPIC_BASE_URL=f'http://127.0.0.1:{user.port}/v1')[0] == 'ok'
    assert user.one('environment', ANTHROPIC_BASE_URL='https://user:pass@x.example')[0] == 'note'
    assert 'pass' not in user.run(ANTHROPIC_BASE_URL='https://user:pass@x.example').stdout
    assert user.one('environment', OLLAMA_DEBUG='1', OLLAMA_HOST='x')[::2] == ('note', 'unset OLLAMA_DEBUG')
    level, text, fix = user.one('environment', code=1, OLLAMA_NUM_PARALLEL='many')
    assert (level, fix) == ('problem', 'unset OLLAMA_NUM_PARALLEL') and 'many' in text
    (user.home / '.claude').mkdir()
    file = user.home / '.claude/settings.json'
    file.write_text(json.dumps({'env': {'CLAUDE_CODE_USE_BEDROCK': '1'}}))
    level, text, fix = user.one('claude-settings', code=1)
    assert level == 'problem' and 'CLAUDE_CODE_USE_BEDROCK' in text and fix == '${EDITOR:-vi} ' + str(file)


def test_fixes_are_commands(user):
    """A shell can parse all of them."""
    fixes = [f['fix'] for f in user.findings(1, OLLAMA_DEBUG='1', ANTHROPIC_API_ENDPOINT='x', OLLAMA_NUM_PARALLEL='x',
                                             TURBINE_MODELS='/dev/null') if f['fix']]
    assert len(fixes) > 4
    for fix in fixes:
        subprocess.run(['/bin/sh', '-n', '-c', fix], check=True, timeout=10)
