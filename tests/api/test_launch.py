"""`turbine launch`: a program that tells what it was started with takes the place of Claude Code, and tiny models
that of large ones."""
import contextlib
import http.server
import json
import os
import pathlib
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

import server_helper
from clients_helper import TEMPLATE, Server
from store_helper import TURBINE

FAKE = f'''#!{sys.executable}
import json, os, sys
json.dump({{'args': sys.argv, 'env': dict(os.environ), 'cwd': os.getcwd()}}, open(os.environ['FAKE_OUT'], 'w'))
sys.exit(int(os.environ.get('FAKE_EXIT', '0')))
'''
WANTED, GOOD = 32768, 65536


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


class User:
    """A home, a folder of programs in which `claude` is ours, and an address for a server."""

    def __init__(self, home):
        self.home, self.out, self.port = home, home / 'out.json', free_port()
        self.bin, self.pids = home / 'bin', []
        self.bin.mkdir()
        self.install(self.bin / 'claude')
        self.url = f'http://127.0.0.1:{self.port}'
        self.env = {'PATH': f'{self.bin}:/usr/bin:/bin', 'HOME': str(home), 'LANG': 'C.UTF-8',
                    'XDG_CACHE_HOME': str(home / 'cache'), 'TURBINE_HOST': f'127.0.0.1:{self.port}',
                    'FAKE_OUT': str(self.out)}

    @staticmethod
    def install(path):
        path.write_text(FAKE)
        path.chmod(0o755)

    def start(self, *args, **env):
        return subprocess.Popen([TURBINE, 'launch', *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env={**self.env, **env}, cwd=self.home)

    def end(self, process, check=None):
        out, err = process.communicate(timeout=120)
        self.pids += map(int, re.findall(r'process (\d+), log', err))
        if check is not None:
            assert process.returncode == check, out + err
        return process.returncode, out, err

    def run(self, *args, check=None, **env):
        return self.end(self.start(*args, **env), check)

    def told(self):
        """What the program was started with; once."""
        told = json.loads(self.out.read_text())
        self.out.unlink()
        return told

    def stop(self):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        end = time.monotonic() + 20
        while any(is_running(pid) for pid in self.pids) and time.monotonic() < end:
            time.sleep(0.05)

    def settings(self, value, path='.claude/settings.json'):
        (self.home / path).parent.mkdir(exist_ok=True, parents=True)
        (self.home / path).write_text(json.dumps(value))


def is_running(pid):
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except (FileNotFoundError, ProcessLookupError):  # it ends before it is opened, or before it is read
        return False


def has_ended(pid):
    """Soon: a process that ends closes its files, which the launcher sees, a moment before it is gone."""
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(pid)


@pytest.fixture
def user(tmp_path):
    u = User(tmp_path)
    yield u
    u.stop()


@pytest.fixture(scope='module')
def model():
    """65,536 tokens of context, and a template with tools."""
    return server_helper.model(TEMPLATE, 'agent')


@pytest.fixture(scope='module')
def scripted():
    s = Server([{'text': 'Hello.'}], '--alias', 'little', ctx=65536, name='mymodel')
    yield s
    s.stop()


def at(server, **env):
    return {'TURBINE_HOST': f'127.0.0.1:{server.port}', **env}


# ---- the environment ----

def expected(url, model, small, n_ctx):
    """What apis of Claude Code document, and tests/claude tries with the program itself."""
    hour = '3600000'
    return {
        'ANTHROPIC_BASE_URL': url, 'ANTHROPIC_AUTH_TOKEN': 'local', 'ANTHROPIC_API_KEY': '', 'ANTHROPIC_MODEL': model,
        'ANTHROPIC_DEFAULT_OPUS_MODEL': model, 'ANTHROPIC_DEFAULT_SONNET_MODEL': model,
        'ANTHROPIC_DEFAULT_HAIKU_MODEL': small, 'CLAUDE_CODE_SUBAGENT_MODEL': model,
        'CLAUDE_CODE_MAX_CONTEXT_TOKENS': str(n_ctx), 'CLAUDE_CODE_ATTRIBUTION_HEADER': '0',
        'CLAUDE_CODE_TOTAL_TOKENS_REMINDER': 'off', 'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': '1',
        'DISABLE_ERROR_REPORTING': '1', 'API_TIMEOUT_MS': hour, 'CLAUDE_STREAM_IDLE_TIMEOUT_MS': hour,
        'CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS': hour, 'CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK': '1'}


def assert_environment(env, *what):
    want = expected(*what)
    assert {k: env.get(k) for k in want} == want


def test_a_server_that_runs(user, scripted):
    args = ['-p', 'two words', '--x=a"b\'c$HOME', '', '--', '--print', 'ü\n']
    code, out, err = user.run('claude', '--', *args, check=42, **at(scripted, FAKE_EXIT='42'))
    told = user.told()
    assert told['args'][1:] == args and told['cwd'] == str(user.home)
    assert_environment(told['env'], scripted.url, 'mymodel', 'mymodel', 65536)
    # What was there is still there.
    assert told['env']['FAKE_EXIT'] == '42' and told['env']['PATH'] == user.env['PATH']
    assert (out, err) == ('', '') and not user.pids


@pytest.mark.parametrize('args', [['mymodel'], ['--model', 'mymodel'], ['mymodel:latest'], ['--model=mymodel', 'mymodel']])
def test_a_model_by_name(user, scripted, args):
    user.run('claude', *args, '--small', 'little', check=0, **at(scripted))
    name = args[-1].removeprefix('--model=')
    assert_environment(user.told()['env'], scripted.url, name, 'little', 65536)


def test_models_that_the_server_lacks(user, scripted):
    for args in (['other'], ['mymodel', '--small', 'other']):
        _, out, err = user.run('claude', *args, check=1, **at(scripted))
        assert "has no model 'other'; it has mymodel, little" in err and not user.out.exists()
    assert user.run('claude', 'a', '--model', 'b')[0] == 2


def evaluated(user, script, **env):
    """The environment of a program that sh starts behind the commands."""
    done = subprocess.run(['/bin/sh', '-c', script + '\nexec env -0'], capture_output=True, text=True, timeout=30,
                          env={**user.env, **env}, cwd=user.home)
    assert done.returncode == 0, done.stderr
    return dict(x.split('=', 1) for x in done.stdout.split('\0') if x)


MAKES_NO_DIFFERENCE = {'PWD', '_', 'SHLVL', 'OLDPWD', 'LC_CTYPE'}


def assert_same(a, b):
    a, b = ({k: v for k, v in x.items() if k not in MAKES_NO_DIFFERENCE} for x in (a, b))
    assert a == b


@pytest.mark.parametrize('env', [{}, {'CLAUDE_CODE_USE_BEDROCK': '1', 'ANTHROPIC_API_KEY': 'sk-mine', 'API_TIMEOUT_MS': '5'}])
def test_print(user, scripted, env):
    env = at(scripted, **env)
    _, script, err = user.run('claude', '--print', check=0, **env)
    assert not user.out.exists() and 'sk-mine' not in script + err
    user.run('claude', check=0, **env)
    told = user.told()['env']
    assert_same(evaluated(user, script, **env), told)
    assert 'CLAUDE_CODE_USE_BEDROCK' not in told
    assert user.run('--print', check=0, **env)[1] == script
    listed = json.loads(user.run('claude', '--print', '--json', check=0, **env)[1])
    for v in listed:
        assert told.get(v['name']) == v['value']
    assert len(listed) == len(script.splitlines())


def test_print_quotes(user):
    """A name that a shell would take apart; nothing runs, and nothing is started."""
    name = "it's $(touch x); `touch y` \"z\" ü"
    _, script, err = user.run('claude', name, '--small', "'", '--print', check=0)
    env = evaluated(user, script)
    assert_environment(env, user.url, name, "'", WANTED)
    assert 'no server runs' in err and not user.pids
    assert sorted(p.name for p in user.home.iterdir()) == ['bin']


def test_a_key_is_not_shown(user):
    secret = 'sk-secret-$x'
    env = {'TURBINE_API_KEY': secret}
    with server_helper.Server({'ctx': 65536, 'rules': []}, '--api-key', secret, template=TEMPLATE, name='mymodel') as s:
        for more in ([], ['--json']):
            _, out, err = user.run('claude', '--print', *more, check=0, **at(s, **env))
            assert secret not in out + err and 'TURBINE_API_KEY' in out
        _, script, _ = user.run('claude', '--print', check=0, **at(s, **env))
        assert evaluated(user, script, **at(s, **env))['ANTHROPIC_AUTH_TOKEN'] == secret
        _, out, err = user.run('claude', check=0, **at(s, **env))
        assert user.told()['env']['ANTHROPIC_AUTH_TOKEN'] == secret and secret not in out + err
        _, _, err = user.run('claude', check=1, **at(s))
        assert 'TURBINE_API_KEY' in err


# ---- what is in the way ----

def test_variables_that_are_set(user, scripted):
    _, _, err = user.run('claude', check=0, **at(scripted, ANTHROPIC_API_ENDPOINT='http://x/v1', CLAUDE_CODE_USE_VERTEX='1',
                                                 ANTHROPIC_BASE_URL='https://elsewhere.example', DISABLE_ERROR_REPORTING='1'))
    told = user.told()['env']
    assert told['ANTHROPIC_BASE_URL'] == scripted.url and 'CLAUDE_CODE_USE_VERTEX' not in told
    notes = err.splitlines()
    assert any('ANTHROPIC_API_ENDPOINT' in n and 'does nothing' in n for n in notes)
    assert any('ANTHROPIC_BASE_URL, CLAUDE_CODE_USE_VERTEX' in n for n in notes)
    assert 'DISABLE_ERROR_REPORTING' not in err and 'elsewhere' not in err


@pytest.mark.parametrize('path', ['.claude/settings.json', '.claude/settings.local.json'])
@pytest.mark.parametrize('name,value,code', [
    ('ANTHROPIC_BASE_URL', 'https://elsewhere.example', 1), ('CLAUDE_CODE_USE_BEDROCK', '1', 1),
    ('CLAUDE_CODE_USE_BEDROCK', '0', 0), ('ANTHROPIC_MODEL', 'other', 0), ('MINE', 'x', 0)])
def test_settings_of_the_user(user, scripted, path, name, value, code):
    user.settings({'env': {name: value}, 'model': 'x'}, path)
    _, _, err = user.run('claude', check=code, **at(scripted))
    assert user.out.exists() == (code == 0)
    said = f'{path} sets {name}'
    assert (said in err) == (code == 1 or name == 'ANTHROPIC_MODEL')
    assert 'elsewhere' not in err


def test_settings_that_agree_or_are_broken(user, scripted):
    user.settings({'env': {'ANTHROPIC_BASE_URL': scripted.url + '/v1/', 'CLAUDE_CODE_ATTRIBUTION_HEADER': '0'}})
    assert user.run('claude', check=0, **at(scripted))[2] == ''
    (user.home / '.claude/settings.json').write_text('{')
    user.run('claude', check=0, **at(scripted))
    other = user.home / 'elsewhere'
    user.settings({'env': {'CLAUDE_CODE_USE_FOUNDRY': 'yes'}, 'apiKeyHelper': '/x'}, 'elsewhere/settings.json')
    _, _, err = user.run('claude', check=1, **at(scripted, CLAUDE_CONFIG_DIR=str(other)))
    assert f'{other}/settings.json sets CLAUDE_CODE_USE_FOUNDRY' in err


def test_no_program(user, scripted):
    """One in the current folder is none, however PATH leads there."""
    (user.bin / 'claude').unlink()
    user.install(user.home / 'claude')
    (user.bin / 'claude').mkdir()  # no program
    for path in ('/usr/bin', '.:/usr/bin', ':/usr/bin:', f'./:bin:{user.bin}'):
        _, _, err = user.run('claude', check=1, **at(scripted, PATH=path))
        assert 'npm install -g @anthropic-ai/claude-code' in err and not user.out.exists()
    (user.bin / 'claude').rmdir()
    (user.home / 'claude').rename(user.bin / 'claude')
    (user.bin / 'claude').chmod(0o644)
    if os.getuid():
        user.run('claude', check=1, **at(scripted))
    # What starts nothing needs no program.
    user.run('claude', '--print', check=0, **at(scripted))


def test_other_programs(user):
    assert user.run(check=0)[1].split()[0] == 'claude'
    _, _, err = user.run('vim', check=1)
    assert "'vim' cannot be launched" in err
    assert user.run('claude', '--json')[0] == 2
    assert user.run('claude', '--unknown')[0] == 2


class Ollama(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = b'{"version":"0.33.0"}'
        self.send_response(200)
        self.send_header('content-length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def test_another_server_at_the_address(user, model):
    with http.server.ThreadingHTTPServer(('127.0.0.1', user.port), Ollama) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        _, _, err = user.run('claude', model, check=1)
        s.shutdown()
    assert 'Ollama 0.33.0' in err and '--host' in err and not user.pids


def test_a_server_elsewhere_is_not_started(user, model):
    for host in ('http://192.0.2.1:1', 'https://127.0.0.1:1', f'http://127.0.0.1:{user.port}/below'):
        _, _, err = user.run('claude', model, '--host', host, check=1)
        assert 'only on this machine' in err and not user.pids


# ---- context ----

def test_a_server_with_too_little_context(user):
    with Server([{'text': 'x'}], ctx=8192, name='short') as s:
        _, _, err = user.run('claude', check=1, **at(s))
        command = f'kill {s.process.pid}; turbine serve short --ctx {WANTED}'
        assert 'short has 8192 tokens of context' in err and err.rstrip().endswith(command)
        # A name of the server is no command here.
        assert not user.out.exists()
    with Server([{'text': 'x'}], ctx=WANTED, name='enough') as s:
        _, _, err = user.run('claude', check=0, **at(s, CLAUDE_CODE_MAX_OUTPUT_TOKENS='64000'))
        env = user.told()['env']
        assert env['CLAUDE_CODE_MAX_CONTEXT_TOKENS'] == str(WANTED) and 'compacted often' in err
        # Else the client compacts before each answer.
        assert env['CLAUDE_CODE_MAX_OUTPUT_TOKENS'] == '4096' and 'CLAUDE_CODE_MAX_OUTPUT_TOKENS of your' in err
    with Server([{'text': 'x'}], ctx=65536, name='easy') as s:
        assert user.run('claude', check=0, **at(s, CLAUDE_CODE_MAX_OUTPUT_TOKENS='64000'))[2] == ''
        assert user.told()['env']['CLAUDE_CODE_MAX_OUTPUT_TOKENS'] == '64000'


def create(user, name, text):
    path = user.home / f'{name}.Modelfile'
    path.write_text(text)
    subprocess.run([TURBINE, 'create', name, '-f', path], env=user.env, check=True, capture_output=True, timeout=60)


def test_models_that_would_have_too_little(user, model):
    create(user, 'small', f'FROM {model}\nPARAMETER num_ctx 8192\n')
    _, _, err = user.run('claude', 'small', check=1)
    assert err.rstrip().endswith(f'small has 8192 tokens of context, and Claude Code needs {WANTED}: '
                                 f'turbine serve small --ctx {GOOD}')
    create(user, 'plain', f'FROM {model}\n')
    _, _, err = user.run('claude', 'plain', check=1, OLLAMA_CONTEXT_LENGTH='4096')
    assert 'plain has 4096 tokens of context' in err
    _, _, err = user.run('claude', server_helper.ROOT / 'tests/data/stories260K.gguf', check=1, TURBINE_KV_CACHE_TYPE='f16')
    assert 'was trained for' in err and 'another model' in err
    assert not user.pids and not user.out.exists()


def test_printing_refuses_too_little_too(user, model):
    """Without a server by what would be loaded, at one by what it says; nothing is loaded for it."""
    create(user, 'small', f'FROM {model}\nPARAMETER num_ctx 8192\n')
    create(user, 'large', f'FROM {model}\n')
    fix = f'turbine serve small --ctx {GOOD}'  # it fits
    for more in ([], ['--json']):
        _, out, err = user.run('claude', 'small', '--print', *more, check=1)
        assert err.rstrip().endswith(fix) and 'small has 8192 tokens of context' in err and not out
    _, _, err = user.run('claude', 'large', '--print', check=1, TURBINE_CONTEXT_LENGTH='4096')
    assert 'large has 4096 tokens of context' in err
    assert user.run('claude', 'large', '--print', check=0)[1]
    _, out, err = user.run('claude', 'none', '--print', check=0)
    assert 'the context of none is not known: ' in err and out
    server = subprocess.Popen([TURBINE, 'serve', '--port', str(user.port)], env=user.env, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout.readline().startswith('listening on')
        _, out, err = user.run('claude', 'small', '--print', check=1)
        assert err.rstrip().endswith(fix) and not out
        assert user.run('claude', 'large', '--print', check=0)[1]
        with urllib.request.urlopen(f'{user.url}/api/ps', timeout=10) as r:
            assert json.load(r) == {'models': []}
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


# ---- a server that is started ----

def test_start(user, model):
    _, out, err = user.run('claude', model, '--', 'x', check=3, FAKE_EXIT='3')
    told = user.told()
    assert_environment(told['env'], user.url, 'agent', 'agent', 65536)
    assert out == '' and told['args'][1:] == ['x']
    pid, = user.pids
    log = user.home / f'cache/turbine/log/serve-{user.port}.log'
    assert f'process {pid}, log {log}' in err and f"'kill {pid}' ends it" in err
    assert stat.S_IMODE(log.stat().st_mode) == 0o600 and 'listening on' in log.read_text()
    # It stays, alone in its session, and serves the next one.
    assert is_running(pid) and os.getsid(pid) != os.getsid(0)
    assert os.readlink(f'/proc/{pid}/fd/0') == '/dev/null'
    _, _, err = user.run('claude', check=0)
    assert err == '' and user.pids == [pid]
    assert_environment(user.told()['env'], user.url, 'agent', 'agent', 65536)
    with urllib.request.urlopen(f'{user.url}/readyz', timeout=10) as r:
        assert r.status == 200
    subprocess.run(shlex.split(f'kill {pid}'), check=True)
    user.stop()
    assert not is_running(pid)


def test_two_at_once_start_one(user, model):
    many = [user.start('claude', model, FAKE_OUT=str(user.home / f'{i}.json')) for i in range(3)]
    errors = [user.end(p, 0)[2] for p in many]
    assert len(user.pids) == 1 and sum('starting' in e for e in errors) == 1
    for i in range(3):
        env = json.loads((user.home / f'{i}.json').read_text())['env']
        assert_environment(env, user.url, 'agent', 'agent', 65536)


def test_the_model_of_the_store(user, model):
    assert 'turbine pull' in user.run('claude', check=1)[2]
    create(user, 'one', f'FROM {model}\n')
    user.run('claude', check=0)
    assert_environment(user.told()['env'], user.url, 'one:latest', 'one:latest', 65536)
    user.stop()
    create(user, 'two', f'FROM {model}\n')
    _, _, err = user.run('claude', check=1)
    assert 'name a model: ' in err and 'one:latest' in err and 'two:latest' in err


def test_models_of_a_server_that_has_none_loaded(user, model):
    """They are those of its store; the one that is asked for is loaded, and printing loads none."""
    for name in ('one', 'two'):
        create(user, name, f'FROM {model}\n')
    server = subprocess.Popen([TURBINE, 'serve', '--port', str(user.port)], env=user.env, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True)
    try:
        assert server.stdout.readline().startswith('listening on')
        _, _, err = user.run('claude', check=1)
        assert 'name a model: ' in err and 'one:latest' in err and 'two:latest' in err
        _, out, err = user.run('claude', 'one', '--print', check=0)
        assert 'one is not loaded' in err and f'CLAUDE_CODE_MAX_CONTEXT_TOKENS={WANTED}\n' in out
        user.run('claude', 'one', '--small', 'two', check=0)
        assert_environment(user.told()['env'], user.url, 'one', 'two', 65536)
        user.run('claude', check=0)  # the one that is loaded
        assert_environment(user.told()['env'], user.url, 'one:latest', 'one:latest', 65536)
        assert not user.pids
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


def test_a_server_that_cannot_start(user, model):
    """Somebody listens there and says nothing: what the server wrote is shown."""
    with socket.create_server(('127.0.0.1', user.port), backlog=64):
        _, _, err = user.run('claude', model, check=1)
    pid, = user.pids
    assert has_ended(pid) and 'the server has ended' in err
    assert re.search(r'the end of .*\.log:\n(.*\n)*turbine serve: .*127\.0\.0\.1', err)
    assert not user.out.exists()


@pytest.mark.parametrize('wait,code', [('1', 1), ('120', 0)])
def test_a_server_that_is_slow(user, model, wait, code):
    """It is stopped while it starts, for longer than one of both waits."""
    for _ in range(5):  # it may be ready before it is stopped
        process = user.start('claude', model, '--wait', wait)
        pid = int(re.search(r'process (\d+), log', process.stderr.readline())[1])
        user.pids.append(pid)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2)
        if process.poll() is None or process.returncode:
            break
        process.communicate()
        os.kill(pid, signal.SIGCONT)
        user.stop()
        user.out.unlink()
    else:
        pytest.skip('it is always faster')
    if code == 0:
        os.kill(pid, signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert is_running(pid) if code == 0 else has_ended(pid)
    assert user.out.exists() == (code == 0)
    assert ('is not ready after 1 s' in err) == (code == 1)


def test_ipv6(user, model):
    if not socket.has_ipv6 or not pathlib.Path('/proc/net/if_inet6').exists():
        pytest.skip('no IPv6 here')
    user.run('claude', model, '--host', f'[::1]:{user.port}', check=0)
    assert len(user.pids) == 1 and user.told()['env']['ANTHROPIC_BASE_URL'] == f'http://[::1]:{user.port}'


def test_no_folder_for_the_log(user, model):
    (user.home / 'cache').write_text('')
    _, _, err = user.run('claude', model, check=1)
    assert f'turbine serve {model}' in err and not user.pids
