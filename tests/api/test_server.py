"""The server's own work: who may call, limits, JSON, routes, errors of each dialect.
Expected values are those of the APIs' documentation and of RFC 9110 and 9112."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import time

import pytest

from server_helper import NAME, ROOT, SCRIPTED, Server, chat, model, sse

pytestmark = pytest.mark.skipif(not SCRIPTED.exists(), reason=f'{SCRIPTED} is not built')

RULES = [{'text': 'Hello, world! How are you?'},
         {'match': 'mended', 'text': 'plain'},
         {'match': 'mended \ufffd\ufffd', 'text': 'replaced'},
         {'match': 'breaks', 'text': 'a b c d e f g', 'fail': 'numbers went wrong', 'fail_after': 3},
         {'match': 'slowly', 'text': 'one two three ', 'repeat': 10, 'delay_ms': 5}]
DIALECTS = {'/v1/chat/completions': 'openai', '/v1/messages': 'anthropic', '/api/chat': 'ollama'}
KEY = {'Authorization': 'Bearer secret-key'}


@pytest.fixture(scope='module')
def server():
    with Server({'rules': RULES, 'ctx': 256}, '--alias', 'other,claude-x', '--log') as s:
        yield s


@pytest.fixture(scope='module')
def locked():
    with Server(RULES, '--api-key', 'secret-key', '--origins', 'https://app.example,http://192.168.7.*,chrome-extension://*', '--allow-host',
                'turbine.example') as s:
        yield s


def routes():
    """(method, path, public) of every line of the route table."""
    text = (ROOT / 'src/server/routes.c').read_text().split('routes[] = {')[1].split('};')[0]
    found = re.findall(r'OPERATION\("([^"]+)"', text)
    out = [('POST', path, False) for path in found]
    for kind, method, path, access in re.findall(
            r'(HANDLER|BELOW|WATCHER)\(\s*"(\w+)",\s*"([^"]+)",\s*(\w+)', text):
        out.append((method, path + ('x' if kind == 'BELOW' else ''), access == 'PUBLIC'))
    return out


def body_for(path, text='hi', **more):
    return chat(text, **({'max_tokens': 100} if path == '/v1/messages' else {}), **more)


# ---- keys ----

def test_every_route_needs_the_key(locked):
    table = routes()
    assert len(table) > 35
    for method, path, public in table:
        for form in (path, path.replace('/v1/', '/v1/v1/', 1)):
            for headers in ({}, {'Authorization': 'Bearer secret-kez'}, {'x-api-key': ''},
                            {'Authorization': 'Basic secret-key'}, {'Authorization': 'Bearer'}):
                status = locked.request(method, form, '{}' if method == 'POST' else None, headers).status
                assert status != 401 if public else status == 401, (method, form, headers)


@pytest.mark.parametrize('headers', [KEY, {'x-api-key': 'secret-key'}, {'authorization': 'bearer secret-key'}])
def test_key_opens_every_route(locked, headers):
    for method, path, _ in routes():
        assert locked.request(method, path, '{}' if method == 'POST' else None, headers).status != 401, path


def test_unknown_paths_need_the_key(locked):
    assert locked.get('/nothing').status == 401
    assert locked.request('PUT', '/v1/models').status == 401
    r = locked.get('/v1/models')
    assert r.headers['WWW-Authenticate'] == 'Bearer'
    assert r.json()['error']['code'] == 'invalid_api_key'
    assert locked.post('/v1/messages', {}).json()['error']['type'] == 'authentication_error'


def test_public_routes_are_three():
    assert sorted(path for _, path, public in routes() if public) == ['/', '/livez', '/web/x']


def test_other_binds_need_a_key():
    script = ROOT / 'tests/data/template_matrix.json'  # has no rules, which is looked at first
    with pytest.raises(RuntimeError, match='--insecure-no-auth'):
        Server(RULES, '--host', '0.0.0.0')
    for more in (['--insecure-no-auth'], ['--api-key', 'k']):
        with Server(RULES, '--host', '0.0.0.0', *more) as s:
            assert s.get('/livez').status == 200
    assert subprocess.run([SCRIPTED, model(), script], capture_output=True).returncode == 1


# ---- Host and Origin ----

@pytest.mark.parametrize('host, status', [
    ('localhost', 200), ('localhost:1', 200), ('127.0.0.1', 200), ('[::1]:80', 200), ('turbine.example:8080', 200),
    ('LOCALHOST', 200), ('evil.example', 403), ('localhost.evil.example', 403), ('127.0.0.1.evil.example', 403),
    ('localhost:80:80', 403), ('localhost@evil.example', 403), ('', 403), ('127.0.0.2', 403), ('[::1', 403)])
def test_host(locked, host, status):
    got = locked.raw(f'GET /livez HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n'.encode())
    assert int(got.split()[1]) == status
    assert int(locked.raw(f'GET /v1/models HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer secret-key\r\n'
                          'Connection: close\r\n\r\n'.encode()).split()[1]) == status


def test_no_host(locked):
    assert int(locked.raw(b'GET /livez HTTP/1.0\r\n\r\n').split()[1]) == 403
    assert int(locked.raw(b'GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n').split()[1]) == 400


@pytest.mark.parametrize('origin, status', [
    (None, 200), ('https://app.example', 200), ('http://localhost:5', 200), ('https://127.0.0.1', 200), ('http://[::1]:80', 200),
    ('http://localhost.evil.example', 403), ('http://localhost:5.evil.example', 403), ('http://localhost:', 403), ('ftp://localhost', 403),
    ('tauri://localhost', 200), ('app://obsidian.md', 200), ('vscode-webview://0a1b', 200), ('file://', 200), ('http://app://', 403),
    ('http://192.168.7.9:3000', 200), ('http://192.168.70.9', 403), ('chrome-extension://abc', 200), ('http://app.example', 403),
    ('https://app.example.evil', 403), ('null', 403), ('https://evil.example', 403)])
def test_origin(locked, origin, status):
    headers = KEY | ({'Origin': origin} if origin else {})
    r = locked.get('/v1/models', headers)
    assert r.status == status
    assert r.headers['Access-Control-Allow-Origin'] == (origin if status == 200 else None)
    assert r.headers['Access-Control-Allow-Credentials'] is None


def test_own_page_may_call(locked):
    host = f'127.0.0.1:{locked.port}'
    assert locked.get('/v1/models', KEY | {'Host': host, 'Origin': f'http://{host}'}).status == 200
    assert locked.get('/v1/models', KEY | {'Host': host, 'Origin': 'http://127.0.0.2:1'}).status == 403


def test_preflight(locked):
    asks = {'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization'}
    r = locked.request('OPTIONS', '/v1/chat/completions', headers={'Origin': 'https://app.example', **asks})
    assert r.status == 204 and r.headers['Access-Control-Allow-Origin'] == 'https://app.example'
    assert 'POST' in r.headers['Access-Control-Allow-Methods']
    assert r.headers['Access-Control-Allow-Headers'] == 'authorization'
    r = locked.request('OPTIONS', '/v1/chat/completions', headers={'Origin': 'https://evil.example', **asks})
    assert r.status == 403 and r.headers['Access-Control-Allow-Origin'] is None
    assert locked.request('OPTIONS', '/v1/chat/completions').status == 401


# ---- routes and errors ----

def test_unknown_path_in_each_dialect(server):
    assert server.get('/v1/nothing').json()['error']['type'] == 'invalid_request_error'
    assert server.get('/api/nothing').json().keys() == {'error'}
    r = server.get('/v1/messages/nothing')
    assert r.status == 404 and r.json()['type'] == 'error' and r.json()['error']['type'] == 'not_found_error'
    assert r.json()['request_id'] == r.headers['request-id'] == r.headers['x-request-id']


@pytest.mark.parametrize('path', DIALECTS)
def test_wrong_method(server, path):
    r = server.get(path)
    assert r.status == 405 and r.headers['Allow'] == 'POST' and 'error' in r.json()


def test_head(server):
    for path in ('/', '/api/version', '/api/tags', '/v1/models', '/api/hello', '/livez'):
        r = server.request('HEAD', path)
        assert r.status == 200 and r.body == b'', path
        assert int(r.headers['Content-Length']) == len(server.get(path).body)


def test_base_url_that_ends_in_v1(server):
    r = server.post('/v1/v1/messages', body_for('/v1/messages'))
    assert r.status == 200 and r.json()['type'] == 'message'


@pytest.mark.parametrize('path', DIALECTS)
def test_unknown_model(server, path):
    r = server.post(path, body_for(path) | {'model': 'gpt-9'})
    assert r.status == 404
    e = r.json()['error']
    if path == '/api/chat':
        assert 'gpt-9' in e and 'not found' in e
    elif path == '/v1/messages':
        assert e['type'] == 'not_found_error'
    else:
        assert e['code'] == 'model_not_found'


@pytest.mark.parametrize('name', [NAME, NAME.upper(), f'{NAME}:latest', 'Tiny Model', 'other', 'claude-x',
                                  f'claude-turbine-{NAME}'])
def test_names_of_the_model(server, name):
    r = server.post('/v1/chat/completions', chat() | {'model': name})
    assert r.status == 200 and r.json()['model'] == name


def test_any_model():
    with Server(RULES, '--any-model') as s:
        assert s.post('/v1/chat/completions', chat() | {'model': 'claude-sonnet-4'}).status == 200


def test_store_is_not_there(server):
    for method, path in (('POST', '/api/pull'), ('POST', '/api/create'), ('DELETE', '/api/delete')):
        r = server.request(method, path, '{}')
        assert r.status == 501 and isinstance(r.json()['error'], str)


# ---- transport ----

def status_of(data):
    return int(data.split()[1]) if data else None


def post_head(*lines, path='/v1/chat/completions'):
    return '\r\n'.join([f'POST {path} HTTP/1.1', 'Host: localhost', *lines, '', '']).encode()


def test_large_body_is_refused_before_it_is_sent(server):
    for path, kind in DIALECTS.items():
        got = server.raw(post_head(f'Content-Length: {(32 << 20) + 1}', path=path))
        assert status_of(got) == 413, got
        e = json.loads(got.split(b'\r\n\r\n', 1)[1])
        assert kind != 'anthropic' or e['error']['type'] == 'request_too_large'
    got = server.raw(post_head('Content-Length: 40000000', 'Expect: 100-continue'))
    assert status_of(got) == 413


def test_large_body_in_chunks():
    with Server(RULES, '--body-bytes', 100000) as s:
        piece = b'%x\r\n' % 50000 + b'x' * 50000 + b'\r\n'
        got = s.raw(post_head('Transfer-Encoding: chunked') + piece * 3 + b'0\r\n\r\n')
        assert status_of(got) == 413
        s.wait_metric('turbine:exchanges', 1)


@pytest.mark.parametrize('path', DIALECTS)
def test_bodies_are_bounded_together(path):
    """What others have sent so far counts, until they are answered or gone."""
    with Server(RULES, '--all-bodies', 300000) as s:
        ok = s.post(path, chat()).status
        others = [s.connect() for _ in range(2)]
        for other in others:
            other.sendall(post_head('Content-Length: 140000', path=path) + b' ' * 130000)
        time.sleep(0.3)
        body = json.dumps(chat()).encode()
        stated = s.raw(post_head(f'Content-Length: {50000 + len(body)}', path=path) + b' ' * 50000 + body)
        chunked = s.raw(post_head('Transfer-Encoding: chunked', path=path) +
                        b'%x\r\n' % 50000 + b' ' * 50000 + b'\r\n0\r\n\r\n')
        assert status_of(stated) == status_of(chunked) in (503, 529)
        assert b'\r\nRetry-After: ' in stated and b'\r\nRetry-After: ' in chunked
        assert s.post(path, chat()).status == ok
        for other in others:
            other.close()
        end = time.monotonic() + 5
        while (r := s.post(path, b' ' * 250000 + body)).status in (503, 529) and time.monotonic() < end:
            time.sleep(0.05)
        assert r.status == ok


def test_expect_continue(server):
    body = json.dumps(chat()).encode()
    with server.connect() as s:
        s.sendall(post_head(f'Content-Length: {len(body)}', 'Expect: 100-continue', 'Connection: close'))
        assert status_of(s.recv(100)) == 100
        s.sendall(body)
        got = b''
        while piece := s.recv(65536):
            got += piece
    assert status_of(got) == 200


@pytest.mark.parametrize('lines', [
    ['Content-Length: 2', 'Content-Length: 2'], ['Content-Length: 2', 'Content-Length: 3'],
    ['Content-Length: 2', 'Transfer-Encoding: chunked'], ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Content-Length: 2', 'Host: localhost'], ['Content-Length: -2'], ['Content-Length: 2x']])
def test_smuggling(server, lines):
    got = server.raw(post_head(*lines) + b'{}')  # until the server closes
    assert set(re.findall(rb'HTTP/1.1 (\d+)', got)) == {b'400'}


@pytest.mark.parametrize('target, status', [
    ('/livez?' + 'x' * 9000, 414), ('/livez%00', 400), ('/a%0d%0ab', 400), ('/' + 'x' * 100000, None)])
def test_urls(server, target, status):
    got = status_of(server.raw(f'GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'.encode()))
    assert got == status if status else got in (414, 431)


def test_headers(server):
    many = [f'X-{i}: 1' for i in range(101)]
    assert status_of(server.raw(post_head(*many))) == 431
    assert status_of(server.raw(post_head('X: ' + 'y' * 33000))) == 431
    assert status_of(server.raw(post_head('X: ' + 'y' * 1000000))) in (431, None)
    assert status_of(server.raw(post_head(*[f'X-{i}: 1' for i in range(100000)]))) in (431, None)
    assert status_of(server.raw(b'nonsense\r\n\r\n')) in (400, None)


def until(s, end):
    got = b''
    while not got.endswith(end):
        piece = s.recv(65536)
        assert piece, got
        got += piece
    return got


def closes_after(s):
    start = time.monotonic()
    while s.recv(65536):
        pass
    return time.monotonic() - start


def test_slow_requests_are_closed():
    with Server(RULES, '--header-ms', 600, '--body-ms', 600, '--keep-alive-ms', 1200) as s:
        with s.connect() as nothing, s.connect() as header, s.connect() as body, s.connect() as idle:
            header.sendall(b'GET /livez HTTP/1.1\r\nHost: loc')
            body.sendall(post_head('Content-Length: 100') + b'{')
            idle.sendall(b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
            assert until(idle, b'ok\n')
            for one in (nothing, header, body):
                assert closes_after(one) < 3
            idle.sendall(b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')  # still there
            assert until(idle, b'ok\n')
            assert 0.5 < closes_after(idle) < 4
        s.wait_metric('turbine:connections', 1)


def test_trickle_is_too_slow():
    """A byte now and then is not a body: at least 1 KiB a second."""
    with Server(RULES, '--body-ms', 700) as s, s.connect() as c:
        c.sendall(post_head('Content-Length: 1000'))
        start = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - start < 5:
                c.sendall(b' ')
                time.sleep(0.1)
        assert time.monotonic() - start < 3


def test_many_connections_are_not_kept():
    with Server(RULES, '--keep', 2) as s:
        with s.connect() as one, s.connect():
            for _ in range(2):
                one.sendall(b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
                assert b'Connection: close' not in until(one, b'ok\n')
            assert b'Connection: close' in s.raw(b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')


def test_pipelining(server):
    get = b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n'
    got = server.raw(get * 3 + get[:-2] + b'Connection: close\r\n\r\n')
    assert got.count(b'HTTP/1.1 200') == 4


def test_split_at_every_byte(server):
    data = post_head('Content-Length: 2', 'Connection: close') + b'{}'
    for i in range(1, len(data), 7):
        with server.connect() as s:
            s.sendall(data[:i])
            time.sleep(0.001)
            s.sendall(data[i:])
            assert status_of(s.recv(4096)) == 400


# ---- JSON ----

@pytest.mark.parametrize('body', [
    b'', b'[]', b'nonsense', b'{"a":', b'[' * 1000000, b'{"a":' * 1000000, b'{"messages":"' + b'[' * 1000 + b'"',
    b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":1e400}', b'{"a":1,"a":2}', b'{"a":' + b'9' * 400 + b'}',
    b'{} x', b'\x00', b'{"a":' + b'[' * 65 + b']' * 65 + b'}', b'[' + b'1,' * 1000001 + b'1]'])
@pytest.mark.parametrize('path', DIALECTS)
def test_bad_json(server, path, body):
    r = server.post(path, body)
    assert r.status == 400 and 'error' in r.json()
    if path == '/v1/messages':
        assert r.json()['error']['type'] == 'invalid_request_error'


def test_brackets_in_strings_are_text(server):
    assert server.post('/v1/chat/completions', chat('[' * 100 + '\\"' + '{' * 100, max_tokens=1)).status == 200


def test_characters_that_do_not_exist(server):
    """JSON can spell them, UTF-8 cannot: U+FFFD stands for them."""
    body = json.dumps(chat('mended ??')).replace('??', '\\ud800\\u0000')
    r = server.post('/v1/chat/completions', body).json()
    assert r['choices'][0]['message']['content'] == 'replaced'
    body = json.dumps(chat('mended ??')).replace('??', '\\ud83d\\ude00')
    assert server.post('/v1/chat/completions', body).json()['choices'][0]['message']['content'] == 'plain'


# ---- answers ----

def test_overflow(server):
    long = 'word ' * 400
    e = server.post('/v1/chat/completions', chat(long)).json()['error']
    assert e['code'] == 'context_length_exceeded' and 'maximum context length' in e['message']
    r = server.post('/v1/messages', body_for('/v1/messages', long))
    assert r.status == 400 and re.search(r'prompt is too long: \d+ tokens > \d+ maximum', r.json()['error']['message'])
    for more in {}, {'truncate': False}:
        r = server.post('/api/chat', chat(long, stream=False, **more))
        assert r.status == 400 and 'exceeds the context length' in r.json()['error']


@pytest.mark.parametrize('text', ['word ' * 2000000, 'a' * 10000000, '\n' * 5000000, '[' * 10000000],
                         ids=['words', 'letters', 'lines', 'brackets'])
def test_overflow_that_is_hopeless(server, text):
    """Seen before the template and the tokenizer, in the words that clients know."""
    r = server.post('/v1/messages', body_for('/v1/messages', text))
    assert r.status == 400 and re.search(r'prompt is too long: \d+ tokens > 256 maximum', r.json()['error']['message'])
    r = server.post('/v1/completions', {'model': NAME, 'prompt': text})
    assert r.status == 400 and r.json()['error']['code'] == 'context_length_exceeded'


def test_ollama_truncates_many_messages(server):
    messages = [{'role': 'user', 'content': 'x'}] * 20000 + [{'role': 'user', 'content': 'last'}]
    start = time.monotonic()
    r = server.post('/api/chat', {'model': NAME, 'messages': messages, 'stream': False, 'truncate': True})
    assert r.status == 200 and int(r.headers['X-Truncated-Messages']) < 20000
    assert 200 < r.json()['prompt_eval_count'] < 256
    assert time.monotonic() - start < 10


def test_ollama_truncates_and_says_so(server):
    messages = [{'role': 'system', 'content': 'Be brief.'}]
    for i in range(20):
        messages += [{'role': 'user', 'content': 'word ' * 20}, {'role': 'assistant', 'content': 'yes ' * 10}]
    messages.append({'role': 'user', 'content': 'last'})
    before = server.metric('turbine:truncated_messages_total')
    body = {'model': NAME, 'messages': messages, 'stream': False}
    assert server.post('/api/chat', body).status == 400
    r = server.post('/api/chat', {**body, 'truncate': True})
    assert r.status == 200
    dropped = int(r.headers['X-Truncated-Messages'])
    assert 20 < dropped < 40 and r.json()['prompt_eval_count'] < 256
    assert server.post('/v1/chat/completions', {'model': NAME, 'messages': messages}).status == 400
    assert server.metric('turbine:truncated_messages_total') - before == dropped


LATE_WRITE = r'''
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
ssize_t write(int fd, const void *p, size_t n)
{
    ssize_t (*next)(int, const void *, size_t) = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    const struct timespec late = {0, n == 8 ? 400000000 : 0};
    nanosleep(&late, 0);
    return next(fd, p, n);
}
'''


@pytest.mark.skipif(not shutil.which('cc') or 'san-' in str(SCRIPTED), reason='needs cc, and no sanitizer')
def test_a_late_wake_up_keeps_nobody_awake(tmp_path):
    """A worker's write to the event that wakes the I/O thread comes after that looked already."""
    (tmp_path / 'late.c').write_text(LATE_WRITE)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', tmp_path / 'late.so', tmp_path / 'late.c', '-ldl'], check=True)
    with Server(RULES, env={**os.environ, 'LD_PRELOAD': str(tmp_path / 'late.so')}) as s:
        def ticks():
            stat = pathlib.Path(f'/proc/{s.process.pid}/stat').read_text().rsplit(')', 1)[1].split()
            return int(stat[11]) + int(stat[12])
        assert s.get('/health').status == 200
        time.sleep(1)
        before = ticks()
        time.sleep(1)
        assert ticks() - before < os.sysconf('SC_CLK_TCK') // 5


def test_truncation_reads_a_long_chat_a_few_times(server):
    """Not once for each message that goes; of the newest messages as many are left as fit."""
    def body(first, **more):
        return {'model': NAME, 'stream': False, 'messages': [{'role': 'system', 'content': 'Be brief.'}, *(
            {'role': ('user', 'assistant')[i % 2], 'content': f'message {i} ' + 'word ' * (i % 7)}
            for i in range(first, 3001))], **more}
    start = time.monotonic()
    r = server.post('/api/chat', body(0, truncate=True), timeout=60)
    assert r.status == 200 and time.monotonic() - start < 10
    dropped = int(r.headers['X-Truncated-Messages'])
    assert dropped % 2 == 0  # an answer goes with its question
    assert server.post('/api/chat', body(dropped)).status == 200
    assert server.post('/api/chat', body(dropped - 2)).status == 400


def test_truncation_leaves_a_chat_that_its_template_takes():
    """Some templates refuse that the assistant begins."""
    template = ("{% if messages[0]['role'] != 'user' %}{{ raise_exception('the user begins') }}{% endif %}"
                "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}assistant:")
    messages = [{'role': ('user', 'assistant')[i % 2], 'content': f'message {i} ' + 'word ' * (i % 7)}
                for i in range(301)]
    with Server({'rules': RULES, 'ctx': 256}, template=template, name='begins') as s:
        r = s.post('/api/chat', {'model': 'begins', 'messages': messages, 'stream': False, 'truncate': True})
        assert r.status == 200, r.text
        dropped = int(r.headers['X-Truncated-Messages'])
        assert dropped % 2 == 0 and dropped < 300
        assert r.json()['prompt_eval_count'] > 128


def test_max_tokens_is_clamped(server):
    r = server.post('/v1/messages', chat(max_tokens=32000)).json()
    assert r['stop_reason'] == 'end_turn' and r['content'][0]['text'] == 'Hello, world! How are you?'


def test_count_is_exact(server):
    body = body_for('/v1/messages')
    n = server.post('/v1/messages/count_tokens', body).json()['input_tokens']
    usage = server.post('/v1/messages', body).json()['usage']
    assert n == usage['input_tokens'] + usage['cache_read_input_tokens'] + usage['cache_creation_input_tokens']
    ids = server.post('/tokenize', {'content': server.post('/apply-template', chat()).json()['prompt']}).json()
    assert n == len(ids['tokens'])


def test_choices_stop_and_logprobs(server):
    r = server.post('/v1/chat/completions', chat(n=3, stop=['world'], logprobs=True, top_logprobs=2)).json()
    assert [c['message']['content'] for c in r['choices']] == ['Hello, '] * 3
    assert [c['finish_reason'] for c in r['choices']] == ['stop'] * 3
    assert r['usage']['completion_tokens'] == 9  # three of: Hello | , | world
    first = r['choices'][0]['logprobs']['content'][0]
    assert first['token'] == 'Hello' and first['logprob'] == -0.5 and len(first['top_logprobs']) == 2


def test_completion(server):
    r = server.post('/v1/completions', {'model': NAME, 'prompt': ['a', [1, 2, 3]], 'n': 2, 'max_tokens': 2}).json()
    assert [(c['index'], c['text'], c['finish_reason']) for c in r['choices']] == [
        (i, 'Hello,', 'length') for i in range(4)]
    assert server.post('/v1/completions', {'model': NAME, 'prompt': [1, 10**6]}).status == 400
    assert server.post('/v1/completions', {'model': NAME, 'prompt': [-1]}).status == 400


def test_embeddings(server):
    r = server.post('/v1/embeddings', {'model': NAME, 'input': [f'text {i}' for i in range(50)]}).json()
    assert [d['index'] for d in r['data']] == list(range(50))
    assert all(abs(sum(x * x for x in d['embedding']) - 1) < 1e-5 for d in r['data'])
    alone = server.post('/v1/embeddings', {'model': NAME, 'input': 'text 7'}).json()['data'][0]['embedding']
    assert alone == r['data'][7]['embedding']


def test_infill_needs_tokens(server):
    r = server.post('/infill', {'input_prefix': 'a', 'input_suffix': 'b'})
    assert r.status == 400 and 'vocabulary' in r.json()['error']['message']


@pytest.mark.parametrize('path', DIALECTS)
def test_failure_in_a_stream(server, path):
    r = server.post(path, body_for(path, 'it breaks', stream=True))
    assert r.status == 200 and 'numbers went wrong' in r.text
    if path == '/api/chat':
        assert json.loads(r.text.strip().split('\n')[-1]) == {'error': 'numbers went wrong'}
    elif path == '/v1/messages':
        event, data = sse(r.text)[-1]
        assert event == 'error' and json.loads(data)['error']['type'] == 'api_error'
    else:
        assert '[DONE]' not in r.text and 'error' in json.loads(sse(r.text)[-1][1])


@pytest.mark.parametrize('path', DIALECTS)
def test_failure_without_a_stream(server, path):
    r = server.post(path, body_for(path, 'it breaks', stream=False))
    assert r.status == 500 and 'numbers went wrong' in json.dumps(r.json())


def test_ids_are_unique(server):
    answers = [server.post('/v1/messages', body_for('/v1/messages')) for _ in range(20)]
    assert len({r.json()['id'] for r in answers}) == len({r.headers['request-id'] for r in answers}) == 20


def test_stream_is_not_buffered(server):
    with server.send('/v1/chat/completions', chat('slowly', stream=True)) as s:
        times, got = [], b''
        while b'[DONE]' not in got:
            got += s.recv(65536)
            times.append(time.monotonic())
    assert len(times) > 10 and times[-1] - times[0] > 0.1


# ---- what is told ----

def test_page(server):
    assert server.get('/').text == 'Ollama is running'
    assert server.get('/', {'Accept': '*/*'}).text == 'Ollama is running'
    r = server.get('/', {'Accept': 'text/html,*/*'})
    assert r.headers['Content-Type'].startswith('text/html') and '<html' in r.text
    assert "default-src 'self'" in r.headers['Content-Security-Policy']
    assert server.get('/', {'Accept': 'text/html', 'If-None-Match': r.headers['ETag']}).status == 304
    for path in re.findall(r'(?:src|href)="(/web/[^"]+)"', r.text):
        assert server.get(path).status == 200, path
    assert server.get('/web/../secret').status == 404


def test_models(server):
    ids = [m['id'] for m in server.get('/v1/models').json()['data']]
    assert ids == [NAME, 'other', 'claude-x', f'claude-turbine-{NAME}']
    assert server.get('/v1/models/other').json()['id'] == 'other'
    assert server.get('/models/nothing').status == 404
    r = server.get('/v1/models?limit=1000', {'anthropic-version': '2023-06-01'}).json()
    assert r['has_more'] is False and r['data'][0]['type'] == 'model'


def test_ollama_lists(server):
    assert [m['name'] for m in server.get('/api/tags').json()['models']] == [NAME, 'other', 'claude-x']
    running = server.get('/api/ps').json()['models'][0]
    assert running['context_length'] == 256 and running['kv']['type_k'] == 'turbo4'
    for body in ({'model': NAME}, {'name': NAME}):
        show = server.post('/api/show', body).json()
        assert show['model_info']['llama.block_count'] == 1
        assert not {'general.name', 'tokenizer.chat_template'} & show['model_info'].keys()
        assert 'completion' in show['capabilities'] and '256' in show['parameters']
    assert server.post('/api/show', {'model': 'x'}).status == 404
    assert re.fullmatch(r'\d+\.\d+\.\d+', server.get('/api/version').json()['version'])


def test_load_only(server):
    r = server.post('/api/generate', {'model': NAME, 'stream': False}).json()
    assert r['done'] is True and r['done_reason'] == 'load' and r['response'] == ''


def test_tokens_and_back(server):
    text = 'Grüße, 世界 🙂'
    ids = server.post('/tokenize', {'content': text}).json()['tokens']
    assert server.post('/detokenize', {'tokens': ids}).json()['content'] == text
    pieces = server.post('/tokenize', {'content': text, 'with_pieces': True}).json()['tokens']
    assert [p['id'] for p in pieces] == ids
    assert server.post('/detokenize', {'tokens': [10**9]}).status == 400
    assert server.post('/detokenize', {}).status == 400


def test_props_and_slots(server):
    props = server.get('/props').json()
    assert props['default_generation_settings']['n_ctx'] == 256 and 'im_start' in props['chat_template']
    assert len(server.get('/slots').json()) == props['total_slots'] == 4
    assert server.get('/health').json() == {'status': 'ok'}
    assert server.get('/readyz').status == 200


def test_metrics(server):
    server.post('/v1/chat/completions', chat())
    text = server.get('/metrics').text
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \S+ .+|[a-zA-Z_:]+(\{[^}]*\})? [0-9.e+-]+', line), line
    for name in ('llamacpp:prompt_tokens_total', 'llamacpp:tokens_predicted_total', 'llamacpp:requests_processing',
                 'llamacpp:requests_deferred', 'turbine:kv_bytes', 'turbine:cached_tokens_total',
                 'turbine:time_to_first_token_seconds_bucket', 'turbine:inter_token_seconds_count'):
        assert re.search(f'^{name}', text, re.M), name
    assert 'turbine:requests_total{dialect="openai",status="200"}' in text


def test_a_type_that_is_null_is_absent(server):
    assert server.post('/v1/responses', {'input': [{'type': None, 'role': 'user', 'content': 'hi'}]}).status == 200
    assert server.post('/v1/chat/completions', chat(messages=[{'role': 'user', 'content': [{'type': None, 'text': 'hi'}]}])).status == 200


def test_long_paths_are_logged(server):
    before = server.log().count('"status":404')
    assert server.get('/' + '%01' * 2700).status == 404
    end = time.monotonic() + 10
    while server.log().count('"status":404') == before and time.monotonic() < end:
        time.sleep(0.05)
    assert server.log().count('"status":404') == before + 1


def test_log_has_no_words(server):
    server.post('/v1/chat/completions', chat('a very secret word'))
    lines = [json.loads(line) for line in server.log().splitlines()]
    requests = [x for x in lines if x['event'] == 'request']
    assert requests[-1]['path'] == '/v1/chat/completions' and requests[-1]['status'] == 200
    assert requests[-1]['tokens'] > 0 and requests[-1]['id'].startswith('req_')
    assert 'secret word' not in server.log() and 'Hello' not in server.log()
