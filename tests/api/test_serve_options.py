"""turbine serve: its options, keys, and a model without a chat template."""
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
STORIES = ROOT / 'tests/data/stories260K.gguf'


def serve(*args, env=None):
    """The exit code and message of a server that does not start."""
    env = {k: v for k, v in os.environ.items() if k != 'TURBINE_API_KEY'} | (env or {})
    done = subprocess.run([TURBINE, 'serve', STORIES, '--port', '0', '--kv', 'f16', *map(str, args)], capture_output=True, text=True,
                          timeout=60, env=env)
    return done.returncode, done.stderr


@contextlib.contextmanager
def served(*args, env=None):
    """request(method, path, body, headers) of a running server."""
    process = subprocess.Popen([TURBINE, 'serve', STORIES, '--port', '0', '--kv', 'f16', *map(str, args)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True, env=dict(os.environ) | (env or {}))
    port = int(re.match(r'listening on http://[^ ]*:(\d+)$', process.stdout.readline())[1])

    def request(method, path, body=None, headers=None):
        c = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        with contextlib.closing(c):
            c.request(method, path, json.dumps(body) if body is not None else None, headers or {})
            r = c.getresponse()
            return r.status, json.loads(r.read())
    request.process = process
    yield request
    process.send_signal(signal.SIGTERM)
    request.log = process.communicate(timeout=60)[1]
    assert process.returncode == 0


def key_file(tmp_path, text, mode):
    path = tmp_path / 'key'
    path.write_text(text)
    path.chmod(mode)
    return path


def test_key_file(tmp_path):
    with served('--api-key-file', key_file(tmp_path, 'from-file\nnothing\n', 0o600)) as request:
        assert request('GET', '/v1/models')[0] == 401
        assert request('GET', '/v1/models', headers={'x-api-key': 'from-file'})[0] == 200
        assert request('GET', '/v1/models', headers={'Authorization': 'Bearer from-file'})[0] == 200
    assert 'from-file' not in request.log


def test_key_of_the_environment():
    with served(env={'TURBINE_API_KEY': 'from-env'}) as request:
        assert request('GET', '/v1/models')[0] == 401
        assert request('GET', '/v1/models', headers={'x-api-key': 'from-env'})[0] == 200


@pytest.mark.parametrize('text, mode, says', [('k\n', 0o644, 'chmod 600'), ('\n', 0o600, 'no key'),
                                              ('x' * 1000, 0o600, 'at most')],
                         ids=['mode', 'empty', 'long'])
def test_bad_key_files(tmp_path, text, mode, says):
    rc, err = serve('--api-key-file', key_file(tmp_path, text, mode))
    assert rc == 1 and says in err and 'xxx' not in err


def test_what_does_not_start(tmp_path):
    for args, code, says in [
            (['--host', '0.0.0.0'], 1, '--insecure-no-auth'), (['--host', 'no such host'], 1, 'no such host'),
            (['--api-key-file', tmp_path / 'none'], 1, 'No such file'), (['--kv', 'nonsense'], 1, 'nonsense'),
            (['--port', '70000'], 2, '65535'), (['--parallel', '0'], 2, '--parallel'), (['--nonsense'], 2, 'unknown')]:
        rc, err = serve(*args)
        assert rc == code and says in err, (args, err)
        assert err.count('\n') == 1


def test_model_without_a_template():
    with served('--parallel', 2, '--ctx', 256, '--alias', 'stories') as request:
        status, r = request('POST', '/v1/completions', {'model': 'stories', 'prompt': 'Once upon a time',
                                                        'max_tokens': 20, 'temperature': 0})
        assert status == 200 and r['choices'][0]['text'].startswith(', there was a little girl named')
        again = request('POST', '/v1/completions', {'model': 'stories', 'prompt': 'Once upon a time', 'n': 4,
                                                    'max_tokens': 20, 'temperature': 0})[1]
        assert {c['text'] for c in again['choices']} == {r['choices'][0]['text']}
        status, r = request('POST', '/v1/chat/completions', {'model': 'stories', 'messages': [
            {'role': 'user', 'content': 'hi'}]})
        assert status == 400 and 'chat template' in r['error']['message']
        assert request('GET', '/api/ps')[1]['models'][0]['context_length'] == 256
    lines = [json.loads(line) for line in request.log.splitlines() if line.startswith('{')]
    assert [x['path'] for x in lines if x['event'] == 'request'].count('/v1/completions') == 2


def test_quiet():
    with served('--quiet') as request:
        assert request('GET', '/v1/models')[0] == 200
    assert '{' not in request.log
