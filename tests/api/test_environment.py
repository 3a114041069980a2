"""Variables of the environment: twins, values that are wrong, precedence."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
SMOLLM2 = pathlib.Path(os.environ['TURBINE_TEST_MODEL'])
CLEAN = {k: v for k, v in os.environ.items() if not re.match('TURBINE_|OLLAMA_|HF_', k)}


@pytest.fixture(scope='module')
def model():
    if not SMOLLM2.exists():
        pytest.skip(f'{SMOLLM2} is not there')
    return SMOLLM2


def refused(*args, **env):
    done = subprocess.run([TURBINE, *map(str, args)], capture_output=True, text=True, timeout=60, env={**CLEAN, **env})
    assert done.returncode == 1 and not done.stdout
    assert len(done.stderr.splitlines()) == 1
    return done.stderr


@contextlib.contextmanager
def serve(*args, **env):
    """(GET of a path, the first lines of the log, the process) of a server."""
    p = subprocess.Popen([TURBINE, 'serve', *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**CLEAN, **env})
    try:
        line = p.stdout.readline()
        assert line, p.stderr.read()
        url = re.match(r'listening on http://(.*):(\d+)$', line)
        start = []
        while not start or 'tokens of context' not in start[-1]:
            start.append(p.stderr.readline())
            assert start[-1]

        def get(path, headers=None):
            c = http.client.HTTPConnection(url[1].strip('[]').replace('0.0.0.0', '127.0.0.1'), int(url[2]), timeout=60)
            with contextlib.closing(c):
                c.request('GET', path, headers=headers or {})
                r = c.getresponse()
                return r.status, r.read()
        get.port, get.start, get.host = int(url[2]), ''.join(start), url[1]
        yield get
    finally:
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=60)


def started(get, ctx, answers, kv):
    return re.search(rf'{ctx} tokens of context( \(.*\))?, {answers} answers at a time; cache {re.escape(kv)}[:,]', get.start)


@pytest.mark.parametrize('name, value, says', [
    ('OLLAMA_KV_CACHE_TYPE', 'q5_1', 'turbo8 (8.1) and turbo4 (4.1)'),
    ('OLLAMA_KV_CACHE_TYPE', 'iq4_nl', 'turbo8 (8.1) and turbo4 (4.1)'),
    ('TURBINE_KV_CACHE_TYPE', 'bf16', 'f16'),
    ('OLLAMA_KV_CACHE_TYPE', 'nonsense', 'near-lossless'),
    ('OLLAMA_NUM_PARALLEL', 'two', 'between 0 and 1024'),
    ('OLLAMA_NUM_PARALLEL', '-1', 'between 0 and 1024'),
    ('OLLAMA_NUM_PARALLEL', '1.5', 'whole number'),
    ('OLLAMA_CONTEXT_LENGTH', '4k', 'whole number'),
    ('OLLAMA_CONTEXT_LENGTH', '99999999999999999999', 'whole number'),
    ('OLLAMA_MAX_QUEUE', '0', 'between 1 and'),
    ('OLLAMA_MAX_LOADED_MODELS', 'all', 'whole number'),
    ('OLLAMA_KEEP_ALIVE', '5 minutes', 'duration'),
    ('TURBINE_KEEP_ALIVE', 'never', 'duration'),
    ('OLLAMA_FLASH_ATTENTION', 'on', '1, 0, true or false'),
    ('OLLAMA_NOPRUNE', 'x', '1, 0, true or false'),
    ('OLLAMA_HOST', '127.0.0.1:99999', 'port'),
    ('OLLAMA_HOST', '127.0.0.1:x', 'port'),
    ('OLLAMA_HOST', '8080', ':PORT'),
    ('OLLAMA_HOST', 'ftp://x', 'HOST'),
    ('OLLAMA_HOST', 'a b', 'HOST'),
    ('OLLAMA_HOST', '[::1', 'HOST'),
    ('TURBINE_HOST', 'https://127.0.0.1', 'serve speaks http'),
    ('OLLAMA_HOST', 'http://127.0.0.1:1/ollama', 'paths begin'),
])
def test_wrong_values(name, value, says):
    err = refused('serve', 'no-such-model.gguf', **{name: value})
    assert name in err and value in err and says in err, err


def test_wrong_values_of_run():
    assert 'OLLAMA_KV_CACHE_TYPE' in refused('run', ROOT / 'tests/data/stories260K.gguf', 'hi', OLLAMA_KV_CACHE_TYPE='q5_0')


def test_the_one_that_counts_is_checked(model):
    with serve(model, '--quiet', TURBINE_HOST='127.0.0.1:0', OLLAMA_HOST='::bad::', TURBINE_NUM_PARALLEL=' "1" ', OLLAMA_NUM_PARALLEL='x',
               OLLAMA_CONTEXT_LENGTH="'512'", TURBINE_MAX_QUEUE='', OLLAMA_MAX_QUEUE='7', OLLAMA_KV_CACHE_TYPE='tq3_0',
               OLLAMA_FLASH_ATTENTION='1') as get:
        assert started(get, 512, 1, 'turbo3')
        assert 'warning' not in get.start


def test_options_win(model):
    with serve(model, '--quiet', '--host', '127.0.0.1', '--port', 0, '--ctx', 256, '--kv', 'balanced', '--parallel', 2, '--tail', 64,
               OLLAMA_HOST='0.0.0.0:1', OLLAMA_CONTEXT_LENGTH='512', OLLAMA_NUM_PARALLEL='1', OLLAMA_KV_CACHE_TYPE='tiny') as get:
        assert get.host == '127.0.0.1' and get.port != 1
        assert started(get, 256, 2, 'turbo4:tail=64')


def test_model_wins_over_environment(model, tmp_path):
    env = {'TURBINE_MODELS': str(tmp_path / 'store'), 'OLLAMA_CONTEXT_LENGTH': '512', 'OLLAMA_KV_CACHE_TYPE': 'tiny', 'OLLAMA_HOST': ':0'}
    text = f'FROM {model}\nPARAMETER num_ctx 320\nPARAMETER kv_cache_type small\nPARAMETER kv_tail 200\n'
    (tmp_path / 'Modelfile').write_text(text)
    subprocess.run([TURBINE, 'create', 'm', '-f', tmp_path / 'Modelfile'], env={**CLEAN, **env}, check=True, timeout=120)
    with serve('m', '--quiet', '--insecure-no-auth', **env) as get:
        assert get.host == '0.0.0.0'
        assert started(get, 320, 4, 'turbo4/turbo3:tail=256')
    with serve('m', '--quiet', '--ctx', 128, '--kv', 'f16', '--port', 0, '--host', '127.0.0.1', **env) as get:
        assert started(get, 128, 4, 'f16')


def test_every_address_needs_a_key(model):
    assert 'TURBINE_API_KEY' in refused('serve', model, OLLAMA_HOST=':0')
    assert 'key' in refused('serve', model, OLLAMA_HOST='0.0.0.0:0')


def test_origins(model):
    with serve(model, '--quiet', OLLAMA_HOST='localhost:0', OLLAMA_ORIGINS='https://a.example,chrome-extension://*', OLLAMA_DEBUG='1',
               OLLAMA_SCHED_SPREAD='1') as get:
        for origin, status in [('https://a.example', 200), ('chrome-extension://xyz', 200), ('http://localhost:3000', 200),
                               ('https://b.example', 403), ('null', 403)]:
            assert get('/api/tags', {'Origin': origin})[0] == status
        warnings = [line for line in get.start.splitlines() if 'warning' in line]
        assert len(warnings) == 1 and 'OLLAMA_DEBUG' in warnings[0] and 'OLLAMA_SCHED_SPREAD' in warnings[0]
        assert 'OLLAMA_HOST' not in warnings[0] and 'OLLAMA_ORIGINS' not in warnings[0]


def test_port_of_another_server(model):
    with serve(model, '--quiet', OLLAMA_HOST='localhost:0') as get:
        port = int(get.port)
        said = refused('serve', '--port', port, TURBINE_HOST='127.0.0.1')
        assert 'already in use: Turbine' in said and f'--port {port + 1}' in said


def test_two_stars():
    assert 'one *' in refused('serve', ROOT / 'tests/data/stories260K.gguf', '--port', 0, '--kv', 'f16', OLLAMA_ORIGINS='http://*.*')


@pytest.mark.parametrize('origin', ['a.example', 'https://a.example/', 'https://a.example/chat', '://x', 'https://'])
def test_no_origin_of_a_browser(origin):
    said = refused('serve', '--port', 0, OLLAMA_ORIGINS=f'https://b.example,{origin}')
    assert repr(origin) in said and 'SCHEME://HOST' in said


def test_help_lists_the_table():
    text = subprocess.run([TURBINE, 'serve', '--help'], capture_output=True, text=True, timeout=60, env={**CLEAN, 'OLLAMA_HOST': '::bad::'}).stdout
    for name in ['HOST', 'MODELS', 'KEEP_ALIVE', 'CONTEXT_LENGTH', 'NUM_PARALLEL', 'MAX_LOADED_MODELS', 'MAX_QUEUE', 'FLASH_ATTENTION',
                 'KV_CACHE_TYPE', 'ORIGINS']:
        assert f'TURBINE_{name}, OLLAMA_{name}\n' in text
    assert 'TURBINE_API_KEY' in text and 'TURBINE_HUB_TOKEN, HF_TOKEN' in text


def test_key_is_never_shown(model):
    with serve(model, '--quiet', OLLAMA_HOST='127.0.0.1:0', TURBINE_API_KEY='"sesame"') as get:
        assert get('/v1/models')[0] == 401
        status, body = get('/v1/models', {'x-api-key': 'sesame'})
        assert status == 200 and json.loads(body) and 'sesame' not in get.start


def test_a_misspelt_variable(model):
    with serve(model, '--quiet', OLLAMA_HOST='localhost:0', TURBINE_MODLES='/x', OLLAMA_DEBUG='1', TURBINE_API_KEY='', TURBINE_HUB='') as get:
        warnings = [line for line in get.start.splitlines() if 'warning' in line]
        assert len(warnings) == 1 and set(warnings[0].rsplit(': ', 1)[1].split(', ')) == {'TURBINE_MODLES', 'OLLAMA_DEBUG'}
