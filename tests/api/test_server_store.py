"""Ollama's endpoints that change the store, over plain HTTP: what happens to the files."""
import contextlib
import http.client
import json
import os
import random
import threading
import time

import pytest

import pull_helper
from store_helper import STORIES, sha256, write_model
from store_server import StoreServer

GGUF = STORIES.read_bytes()
MIB = 1 << 20


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with StoreServer(tmp_path_factory.mktemp('serve')) as s:
        yield s


@pytest.fixture
def own(tmp_path):
    """Starts servers on the folder of one test."""
    with contextlib.ExitStack() as stack:
        yield lambda *options, **env: stack.enter_context(StoreServer(tmp_path, *options, **env))


def name_of(data):
    return 'sha256:' + sha256(data)


def clean(server):
    return server.leftovers() == [] and server.files() == []


# ---- blobs ----

def test_a_blob(server):
    data = random.Random(1).randbytes(3 * MIB + 17)
    assert server.head(data) == 404
    r = server.upload(data)
    assert (r.status, r.body) == (201, b'')
    assert server.head(data) == 200
    path = server.store.folder / 'blobs' / name_of(data).replace(':', '-')
    assert path.read_bytes() == data and path.stat().st_mode & 0o777 == 0o644
    os.utime(path, (1e9, 1e9))
    r = server.upload(data)
    assert (r.status, r.body) == (200, b'')
    assert path.stat().st_mtime > 1.5e9  # it is wanted: prune waits again
    assert clean(server)


@pytest.mark.parametrize('data', [b'', b'x', bytes(MIB), bytes(MIB + 1), random.Random(2).randbytes(40 * MIB)],
                         ids=len)
def test_sizes(server, data):
    """More than the limit of other bodies, too."""
    assert server.upload(data).status == 201
    assert (server.store.folder / 'blobs' / name_of(data).replace(':', '-')).read_bytes() == data


def test_without_a_length(server):
    pieces = [random.Random(i).randbytes(n) for i, n in enumerate((1, 700_000, 2 * MIB, 3))]
    r = server.upload(iter(pieces), name_of(b''.join(pieces)))
    assert r.status == 201, r.text
    assert clean(server)


def test_memory_does_not_grow_with_a_blob(server):
    def peak():
        with open(f'/proc/{server.process.pid}/status') as f:
            return next(int(line.split()[1]) for line in f if line.startswith('VmHWM'))

    before, block = peak(), random.Random(3).randbytes(MIB)
    r = server.upload(iter([block] * 256), 'sha256:' + '0' * 64)
    assert r.status == 400
    assert peak() - before < 24 << 10  # KiB
    assert clean(server)


@pytest.mark.parametrize('n', [10, 3 * MIB])
def test_another_digest(server, n):
    data = random.Random(4).randbytes(n)
    r = server.upload(data, name_of(data + b'x'))
    assert r.status == 400
    assert 'digest mismatch' in r.json()['error']
    assert name_of(data) in r.json()['error'] and name_of(data + b'x') in r.json()['error']
    assert server.head(data) == 404 and server.head(data + b'x') == 404 and clean(server)


@pytest.mark.parametrize('name', [
    'sha256', 'sha256:', 'sha256:' + 'a' * 63, 'sha256:' + 'a' * 65, 'sha256:' + 'A' * 64, 'sha512:' + 'a' * 64,
    'sha256:' + 'a' * 62 + '..', 'sha256:../../../etc/passwd', '..%2f..%2fetc%2fpasswd', 'a' * 64])
def test_wrong_names(server, name):
    for method in ('POST', 'HEAD'):
        r = server.request(method, f'/api/blobs/{name}', b'x' if method == 'POST' else None)
        assert r.status == 400
    assert 'invalid digest' in server.upload(b'x', name).json()['error']
    assert server.request('GET', f'/api/blobs/{name}').status == 405
    assert clean(server)


def answer_to(server, head, body=b''):
    """What comes for the head alone, then for the body."""
    with server.connect(5) as s:
        s.sendall(head.encode())
        first = s.recv(65536)
        if not body:
            while piece := s.recv(65536):
                first += piece
            return first, b''
        s.sendall(body)
        return first, s.recv(65536)


def post(name, length, *headers):
    lines = [f'POST /api/blobs/{name} HTTP/1.1', 'Host: localhost', f'Content-Length: {length}', *headers]
    return '\r\n'.join(lines) + '\r\n\r\n'


def test_who_waits_for_100_sends_nothing_in_vain(server):
    data = b'said before: ' + random.Random(5).randbytes(5000)
    first, last = answer_to(server, post(name_of(data), len(data), 'Expect: 100-continue'), data)
    assert first.startswith(b'HTTP/1.1 100') and last.startswith(b'HTTP/1.1 201')
    for name, status in ((name_of(data), b'200'), ('sha256:x', b'400'), (name_of(b'?'), b'500')):
        length = 1 << 50 if status == b'500' else len(data)
        first, _ = answer_to(server, post(name, length, 'Expect: 100-continue'))
        assert first.startswith(b'HTTP/1.1 ' + status), first
    assert clean(server)


def test_more_than_the_disk_has(server):
    first, _ = answer_to(server, post('sha256:' + '1' * 64, 1 << 50))
    assert first.startswith(b'HTTP/1.1 500') and b'no room on the disk of the store' in first
    assert str(server.store.folder).encode() not in first
    assert clean(server)


def test_cut_uploads(server):
    """Of 20 at the same time every second one ends early: nothing of it stays."""
    rng = random.Random(6)
    blobs = [rng.randbytes(rng.randrange(200_000, 4 * MIB)) for _ in range(20)]
    before = server.descriptors()
    results = {}

    def send(i):
        data, cut = blobs[i], i % 2
        with server.connect() as s:
            s.sendall(post(name_of(data), len(data)).encode())
            s.sendall(data[:rng.randrange(len(data))] if cut else data)
            if not cut:
                results[i] = s.recv(4096).split()[1]
            elif i % 4 == 1:
                s.setsockopt(1, 13, b'\x01\0\0\0\0\0\0\0')  # SO_LINGER: a reset, no end
            else:
                time.sleep(0.3)

    for half in (range(0, 10), range(10, 20)):  # there are 16 places
        threads = [threading.Thread(target=send, args=(i,)) for i in half]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
    assert results == {i: b'201' for i in range(0, 20, 2)}
    server.wait(lambda: clean(server))
    server.wait(lambda: server.descriptors() == before)
    for i, data in enumerate(blobs):
        assert server.head(data) == (404 if i % 2 else 200)


def test_a_bad_chunk(server):
    """libmicrohttpd ends the connection itself."""
    for _ in range(5):
        with server.connect() as s:
            s.sendall(b'POST /api/blobs/sha256:' + b'2' * 64 +
                      b' HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
            time.sleep(0.05)
            s.sendall(b'zzzz' * 1000)
            assert b' 400 ' in s.recv(4096)
    server.wait(lambda: clean(server))


def test_too_many_uploads(server):
    with contextlib.ExitStack() as stack:
        for i in range(16):
            s = stack.enter_context(server.connect())
            s.sendall(post('sha256:' + f'{i:064x}', 1000).encode() + b'x')
        server.wait(lambda: len(server.leftovers()) == 32)  # a file and a claim each
        r = server.upload(b'one more')
        assert r.status == 503 and r.headers['Retry-After']
        assert 'server busy' in r.json()['error']
        assert server.request('GET', '/api/version').status == 200  # no thread of others waits
    server.wait(lambda: clean(server))
    assert server.upload(b'one more').status == 201


def test_end_of_the_server_cuts_uploads(own):
    s = own('--drain', 1)
    with s.connect() as c:
        c.sendall(post('sha256:' + '3' * 64, 1000).encode() + b'x')
        s.wait(lambda: s.leftovers() != [])
        start = time.monotonic()
        assert s.stop() == 0
        assert time.monotonic() - start < 6
    assert s.leftovers() == []


def test_keys_and_pages(own):
    s = own(TURBINE_API_KEY='secret')
    data = b'private'
    for method, path, body in (('HEAD', f'/api/blobs/{name_of(data)}', None), ('POST', f'/api/blobs/{name_of(data)}', data),
                               ('POST', '/api/create', {}), ('POST', '/api/pull', {}), ('POST', '/api/copy', {}),
                               ('DELETE', '/api/delete', {})):
        assert s.request(method, path, body).status == 401
        assert s.request(method, path, body, {'Authorization': 'Bearer wrong'}).status == 401
        key = {'Authorization': 'Bearer secret'}
        assert s.request(method, path, body, {**key, 'Origin': 'https://evil.example'}).status == 403
        assert s.request(method, path, body, {**key, 'Host': 'evil.example'}).status == 403
    assert s.leftovers() == []
    assert s.upload(data, headers={'Authorization': 'Bearer secret'}).status == 201


# ---- create ----

def create(server, name, **more):
    return server.post('/api/create', {'model': name, **more})


@pytest.fixture(scope='module')
def base(server):
    assert server.upload(GGUF).status in (200, 201)
    r = create(server, 'base', files={'m.gguf': name_of(GGUF)}, system='Be brief.', stream=False)
    assert (r.status, r.json()) == (200, {'status': 'success'})
    return 'base'


def test_create_from_files(server, base):
    r = create(server, 'all', files={'sub/m.gguf': name_of(GGUF)}, template='{{ .Prompt }}', system='S', license=['a', 'b'],
               parameters={'num_ctx': 512, 'temperature': 0.25, 'stop': ['x', 'y z'], 'kv_cache_type': 'turbo8/turbo4',
                           'kv_tail': 64, 'seed': -7, 'use_mmap': True},
               messages=[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}],
               renderer='r', parser='p', requires='v0.14.0')
    assert r.status == 200 and r.headers['Content-Type'] == 'application/x-ndjson'
    status = [line['status'] for line in r.lines()]
    assert f'using existing layer {name_of(GGUF)}' in status
    assert status[-2:] == ['writing manifest', 'success']
    m = server.store.manifest('all/latest')
    layers = {}
    for x in m['layers']:
        path = server.store.folder / 'blobs' / x['digest'].replace(':', '-')
        assert path.stat().st_size == x['size']
        layers.setdefault(x['mediaType'].rsplit('.', 1)[1], []).append(path.read_bytes())
    assert layers['model'] == [GGUF] and layers['template'] == [b'{{ .Prompt }}'] and layers['system'] == [b'S']
    assert sorted(layers['license']) == [b'a', b'b']
    assert json.loads(layers['params'][0]) == {
        'num_ctx': 512, 'temperature': 0.25, 'stop': ['x', 'y z'], 'kv_cache_type': 'turbo8/turbo4', 'kv_tail': 64,
        'seed': -7, 'use_mmap': True}
    assert json.loads(layers['messages'][0]) == [{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}]
    config = json.loads((server.store.folder / 'blobs' / m['config']['digest'].replace(':', '-')).read_text())
    assert (config['renderer'], config['parser'], config['requires']) == ('r', 'p', '0.14.0')
    assert server.store.run('verify', 'all').returncode == 0


def test_create_from_a_model(server, base):
    r = create(server, 'child', **{'from': base}, parameters={'top_k': 5}, license='one')
    assert r.status == 200 and r.lines()[-1] == {'status': 'success'}
    shown = server.store.ok('show', '--modelfile', 'child')
    assert 'SYSTEM Be brief.' in shown and 'PARAMETER top_k 5' in shown and 'LICENSE one' in shown
    old = server.post('/api/create', {'name': 'old', 'from': base, 'stream': False})
    assert old.json() == {'status': 'success'}
    many = create(server, 'many', **{'from': base}, parameters={'stop': 'one'}, stream=False)
    assert many.status == 200 and 'PARAMETER stop one' in server.store.ok('show', '--modelfile', 'many')


BAD = [
    ({}, 400, "neither 'from' or 'files' was specified"),
    ({'from': ''}, 400, "neither 'from' or 'files' was specified"),
    ({'from': 'base', 'files': {'a': name_of(GGUF)}}, 400, 'both'),
    ({'from': 'nobody'}, 500, 'FROM nobody is not in the store, and cannot be pulled: https://registry.invalid/'),
    ({'from': '/etc/passwd'}, 400, 'invalid model name'),
    ({'from': '../../etc/passwd'}, 400, 'invalid model name'),
    ({'from': '~root/x.gguf'}, 400, 'invalid model name'),
    ({'from': './m.gguf'}, 400, 'invalid model name'),
    ({'from': 5}, 400, 'from must be a string'),
    ({'files': []}, 400, 'files must be an object'),
    ({'files': {'/m.gguf': name_of(GGUF)}}, 400, 'file paths must be relative'),
    ({'files': {'../m.gguf': name_of(GGUF)}}, 400, 'file paths must be relative'),
    ({'files': {'a/../m.gguf': name_of(GGUF)}}, 400, 'file paths must be relative'),
    ({'files': {'m.gguf': 'sha256:../../etc/passwd'}}, 400, 'digest of m.gguf must be'),
    ({'files': {'m.gguf': 5}}, 400, 'files.m.gguf must be a string'),
    ({'files': {'m.gguf': 'sha256:' + '4' * 64}}, 404, 'is not in the store: send it first'),
    ({'files': {'a.gguf': name_of(GGUF), 'b.gguf': name_of(GGUF)}}, 400, 'one GGUF'),
    ({'from': 'base', 'parameters': []}, 400, 'parameters must be an object'),
    ({'from': 'base', 'parameters': {'num_ctx': '512'}}, 400, 'option "num_ctx" must be of type integer'),
    ({'from': 'base', 'parameters': {'temperature': 'hot'}}, 400, 'option "temperature" must be of type'),
    ({'from': 'base', 'parameters': {'stop': 5}}, 400, 'option "stop" must be of type array'),
    ({'from': 'base', 'parameters': {'top_p': 1.5}}, 400, 'top_p: 1.5 is not between 0 and 1'),
    ({'from': 'base', 'parameters': {'nonsense': 1}}, 400, "unknown parameter 'nonsense'"),
    ({'from': 'base', 'parameters': {'num_batch': [1]}}, 400, 'parameters.num_batch must be one value'),
    ({'from': 'base', 'parameters': {'num_batch': {}}}, 400, 'parameters.num_batch must be a number'),
    ({'from': 'base', 'parameters': {'kv_tail': 'x'}}, 400, 'option "kv_tail" must be of type integer'),
    ({'from': 'base', 'parameters': {'kv_cache_type': 'iq4_nl'}}, 400, 'nearest are turbo8 (8.1) and turbo4 (4.1)'),
    ({'from': 'base', 'parameters': {'stop': ['x'] * 17}}, 400, 'more than 16 stops'),
    ({'from': 'base', 'template': '{% for m in messages %}'}, 400, 'TEMPLATE: line 1: Unexpected end of template'),
    ({'from': 'base', 'parameters': {'kv_cache_type': 4}}, 400, 'option "kv_cache_type" must be of type string'),
    ({'from': 'base', 'license': 5}, 400, 'license must be'),
    ({'from': 'base', 'license': [5]}, 400, 'license[0] must be a string'),
    ({'from': 'base', 'messages': [{'role': 'tool', 'content': 'x'}]}, 400, 'messages[0].role must be'),
    ({'from': 'base', 'messages': [{'role': 'user'}]}, 400, 'messages[0].content'),
    ({'from': 'base', 'requires': 'soon'}, 400, 'semver'),
    ({'from': 'base', 'quantize': 'q4_K_M'}, 400, 'quantize is not supported'),
    ({'from': 'base', 'adapters': {'a': name_of(GGUF)}}, 400, 'adapters is not supported'),
    ({'modelfile': 'FROM base'}, 400, 'modelfile is not supported'),
    ({'path': '/etc/passwd'}, 400, 'path is not supported'),
]


@pytest.mark.parametrize('body,status,says', BAD)
def test_create_refuses(server, base, body, status, says):
    for stream in (True, False):
        r = create(server, 'bad', **body, stream=stream)
        assert (r.status, list(r.json())) == (status, ['error']), r.text
        assert says in r.json()['error'] and str(server.store.folder) not in r.text
    assert 'bad:latest' not in server.store.names() and clean(server)


def test_a_blob_that_is_no_gguf(server):
    data = b'GGUF?' * 100
    server.upload(data)
    r = create(server, 'bad', files={'m.gguf': name_of(data)})
    assert r.status == 400 and str(server.store.folder) not in r.text


def test_wrong_names_of_models(server, base):
    for name in ('', 'a b', '../x', '/etc/x', 'a:b:c/d', 'x' * 200, 5, None):
        assert create(server, name, **{'from': base}).status == 400, name
    for path in ('/api/create', '/api/copy', '/api/pull'):
        assert server.post(path, {}).status == 400
        assert server.post(path, [1]).status == 400
        assert server.post(path, b'{').status == 400


# ---- copy, delete ----

def test_copy_and_delete(server, base):
    r = server.post('/api/copy', {'source': base, 'destination': 'me/second:v1'})
    assert (r.status, r.body) == (200, b'')
    assert 'me/second:v1' in server.store.names()
    r = server.post('/api/copy', {'source': 'nobody', 'destination': 'x'})
    assert r.status == 404 and r.json() == {'error': "model 'nobody:latest' not found"}
    assert server.post('/api/copy', {'source': base, 'destination': '../x'}).status == 400
    assert server.post('/api/copy', {'source': base}).status == 400
    for body, status in (({'model': 'me/second:v1'}, 200), ({'name': 'me/second:v1'}, 404), ({}, 400)):
        assert server.request('DELETE', '/api/delete', body).status == status
    assert 'me/second:v1' not in server.store.names() and base + ':latest' in server.store.names()


def test_what_is_deleted_leaves_memory(server, base):
    server.post('/api/copy', {'source': base, 'destination': 'gone'})
    create(server, 'gone', **{'from': base}, system='Be gone.', stream=False)
    assert server.post('/api/generate', {'model': 'gone', 'keep_alive': -1}).status == 200

    def loaded():
        return [m['name'] for m in server.request('GET', '/api/ps').json()['models']]
    assert 'gone:latest' in loaded()
    assert server.request('DELETE', '/api/delete', {'model': 'gone'}).status == 200
    end = time.monotonic() + 20
    while 'gone:latest' in loaded():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_ollamas_own_models_stay(tmp_path, own):
    theirs = tmp_path / '.ollama/models'
    write_model(theirs, 'registry.ollama.ai/library/theirs/latest', [('model', GGUF)])
    s = own(HOME=str(tmp_path))
    assert s.head(GGUF) == 200  # no second upload
    r = s.request('DELETE', '/api/delete', {'model': 'theirs'})
    assert r.status == 403 and r.json()['error'] == "model 'theirs:latest' is in ..., which is only read; remove it there"
    assert (theirs / 'manifests/registry.ollama.ai/library/theirs/latest').exists()
    assert create(s, 'mine', **{'from': 'theirs'}, stream=False).status == 200
    assert s.post('/api/copy', {'source': 'theirs', 'destination': 'copy'}).status == 200
    assert s.request('DELETE', '/api/delete', {'model': 'mine'}).status == 200


def test_what_there_is_not(server, base):
    r = server.post('/api/push', {'model': base})
    assert r.status == 400 and 'not supported' in r.json()['error']
    for path in ('/api/me', '/api/signout'):
        r = server.post(path, {})
        assert r.status == 404 and 'no accounts' in r.json()['error']


# ---- prune ----

def test_prune_at_start(tmp_path, own):
    s = own()
    s.upload(b'forgotten')
    s.upload(b'just sent')
    s.upload(GGUF)
    create(s, 'm', files={'m.gguf': name_of(GGUF)}, stream=False)
    s.stop()
    blobs = s.store.folder / 'blobs'
    for p in blobs.iterdir():
        if p.name != 'sha256-' + sha256(b'just sent'):
            os.utime(p, (1e9, 1e9))
    (s.store.folder / '.turbine/tmp-1-1-1').write_bytes(b'cut')
    s = own(OLLAMA_NOPRUNE='1')
    assert (blobs / ('sha256-' + sha256(b'forgotten'))).exists()
    s.stop()
    s = own()
    assert s.head(b'forgotten') == 404 and s.head(b'just sent') == 200 and s.head(GGUF) == 200
    assert s.leftovers() == [] and '"event":"prune"' in s.log()
    assert '1 blobs and 1 unfinished files removed' in s.log()


# ---- pull ----

WEIGHTS = pull_helper.noise(3_000_000)


@pytest.fixture
def registry():
    with pull_helper.Server() as s:
        yield s


@pytest.fixture
def puller(own, registry):
    return own(TURBINE_REGISTRY=registry.url)


def pull(server, name='x', **more):
    return server.post('/api/pull', {'model': name, **more})


def pulled(server, manifest):
    path = server.store.folder / 'manifests/registry.ollama.ai/library/x/latest'
    return path.exists() and path.read_bytes() == manifest and server.head(WEIGHTS) == 200


def test_pull(puller, registry):
    manifest, _ = registry.model(WEIGHTS)
    r = pull(puller)
    assert r.status == 200 and r.headers['Content-Type'] == 'application/x-ndjson'
    lines = r.lines()
    assert lines[0] == {'status': 'pulling manifest'} and lines[-1] == {'status': 'success'}
    status = [x['status'] for x in lines]
    assert 'verifying sha256 digest' in status and status[-2] == 'writing manifest'
    mine = [x for x in lines if x['status'] == 'pulling ' + sha256(WEIGHTS)[:12]]
    assert {x['digest'] for x in mine} == {name_of(WEIGHTS)} and {x['total'] for x in mine} == {len(WEIGHTS)}
    done = [x.get('completed', 0) for x in mine]
    assert done == sorted(done) and done[-1] == len(WEIGHTS)
    assert pulled(puller, manifest) and clean(puller)
    r = pull(puller, stream=False)
    assert (r.status, r.json()) == (200, {'status': 'success'})
    assert puller.post('/api/pull', {'name': 'x', 'stream': False}).json() == {'status': 'success'}


def test_pull_errors_have_a_status_before_the_first_byte(puller, registry):
    for stream in (True, False):
        r = pull(puller, 'nobody', stream=stream)
        assert r.status == 404 and "'nobody:latest' is not at" in r.json()['error']
        assert pull(puller, '../x', stream=stream).status == 400
    assert clean(puller)


def test_pull_errors_later_are_a_line(puller, registry):
    _, blob = registry.model(WEIGHTS, chunk_delay=0.02)
    registry.files[blob].data = pull_helper.noise(len(WEIGHTS), 2)
    r = pull(puller)
    assert r.status == 200 and list(r.lines()[-1]) == ['error']
    assert 'does not have the digest' in r.lines()[-1]['error']
    r = pull(puller, stream=False)
    assert r.status == 400 and 'does not have the digest' in r.json()['error']
    assert puller.head(WEIGHTS) == 404


def test_create_pulls_what_it_is_from(puller, registry):
    registry.model(GGUF)
    lines = create(puller, 'child', **{'from': 'x'}, system='Be brief.').lines()
    status = [x['status'] for x in lines]
    assert status[0] == 'pulling manifest' and f'pulling {sha256(GGUF)[:12]}' in status
    assert status[-1] == 'success' and status.count('success') == 1
    assert puller.store.names() == ['child:latest', 'x:latest'] and clean(puller)
    n = len(registry.log)
    assert create(puller, 'other', **{'from': 'x'}, stream=False).json() == {'status': 'success'}
    assert len(registry.log) == n, 'a model that is there was asked for'
    for stream in (True, False):
        r = create(puller, 'bad', **{'from': 'nobody'}, stream=stream)
        assert r.status == 404 and "FROM nobody is not in the store, and cannot be pulled: model 'nobody:latest' is not at" in r.json()['error']


def test_create_stops_its_pull_with_its_client(puller, registry):
    registry.model(WEIGHTS, chunk_delay=0.05)
    c = http.client.HTTPConnection('127.0.0.1', puller.port, timeout=30)
    c.request('POST', '/api/create', json.dumps({'model': 'child', 'from': 'x'}))
    r = c.getresponse()
    assert json.loads(r.readline()) == {'status': 'pulling manifest'}
    c.close()
    r.close()
    sent = []

    def is_still():
        sent.append(sum(r.sent for r in registry.log if '/blobs/' in r.path))
        time.sleep(0.3)
        return sent[-2:-1] == sent[-1:]
    puller.wait(is_still)
    assert sent[-1] < len(WEIGHTS)
    assert puller.store.names() == []


def parts(server):
    return [p for p in server.leftovers() if '.part' in p]


def begin(server, name='x', seconds=10):
    """A pull under way, of which the first progress was read."""
    c = http.client.HTTPConnection('127.0.0.1', server.port, timeout=30)
    c.request('POST', '/api/pull', json.dumps({'model': name}))
    r = c.getresponse()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        line = json.loads(r.readline())
        if line.get('completed', 0) > 0 and line.get('total', 0) > 1000:
            return c, r
    raise AssertionError('no progress')


def test_a_client_that_goes_ends_its_pull(puller, registry):
    manifest, blob = registry.model(WEIGHTS, chunk_delay=0.3)
    c, r = begin(puller)
    time.sleep(1.2)
    r.close()
    c.close()
    puller.wait(lambda: not puller.files())
    assert len(parts(puller)) == 2
    time.sleep(0.7)  # for pieces that were on their way
    before = registry.sent(blob)
    time.sleep(0.7)
    assert registry.sent(blob) == before
    registry.files[blob].chunk_delay = 0
    assert pull(puller, stream=False).json() == {'status': 'success'}
    assert pulled(puller, manifest) and clean(puller)
    assert registry.sent(blob) - before < len(WEIGHTS)  # it went on from there


def test_two_pulls_of_a_model_are_one(puller, registry):
    manifest, blob = registry.model(WEIGHTS, chunk_delay=0.03)
    c, r = begin(puller)
    replies = []
    more = [threading.Thread(target=lambda s: replies.append(pull(puller, stream=s)), args=(s,)) for s in (True, False)]
    for t in more:
        t.start()
    time.sleep(0.3)
    r.close()  # the others go on
    c.close()
    for t in more:
        t.join(60)
    assert [x.status for x in replies] == [200, 200]
    assert all(x.lines()[-1] == {'status': 'success'} for x in replies)
    assert pulled(puller, manifest)
    assert registry.sent(blob) <= len(WEIGHTS) + 1
    assert registry.paths().count('/v2/library/x/manifests/latest') == 1


def test_too_many_pulls(puller, registry):
    hold = threading.Event()
    registry.fault = lambda handler: hold.wait(20) and False
    with contextlib.ExitStack() as stack:
        stack.callback(hold.set)
        for i in range(36):
            s = stack.enter_context(puller.connect())
            body = json.dumps({'model': f'm{i}'})
            s.sendall(f'POST /api/pull HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())
        puller.wait(lambda: len(registry.log) >= 4)
        time.sleep(1)  # the others wait
        r = pull(puller, 'one-more')
        assert r.status == 503 and 'server busy' in r.json()['error']
        assert puller.upload(b'uploads have places of their own').status == 201
    registry.fault = None
    hold.set()
    manifest, _ = registry.model(WEIGHTS)
    puller.wait(lambda: pull(puller, stream=False).status == 200, 20)


def test_sigterm_stops_pulls_and_keeps_parts(puller, registry):
    registry.model(WEIGHTS, chunk_delay=0.2)
    c, r = begin(puller)
    start = time.monotonic()
    assert puller.stop() == 0
    assert time.monotonic() - start < 10
    last = json.loads(r.read().splitlines()[-1])
    assert 'about to end' in last['error']
    c.close()
    assert len(parts(puller)) == 2


def test_hosts_in_names(own, registry):
    """Who is not on this machine cannot send the server about in its own network."""
    manifest, _ = registry.model(WEIGHTS, space='me')
    s = own()
    assert pull(s, f'http://127.0.0.1:{registry.port}/me/x', stream=False).status == 200
    s.stop()
    registry.log.clear()
    s = own('--host', '0.0.0.0', TURBINE_API_KEY='k', TURBINE_REGISTRY=registry.url)
    key = {'Authorization': 'Bearer k'}
    for host in (f'127.0.0.1:{registry.port}', f'localhost:{registry.port}', '10.0.0.1', '169.254.169.254',
                 'x.localhost', '192.168.1.1'):
        for scheme in ('http://', ''):
            r = s.post('/api/pull', {'model': f'{scheme}{host}/me/x', 'insecure': True}, headers=key)
            assert r.status == 400 and 'not in the public network' in r.json()['error'], (host, r.text)
    r = s.post('/api/pull', {'model': f'{os.uname().nodename}:{registry.port}/me/x'}, headers=key)
    assert r.status in (400, 500)  # a name that leads here, or to nobody
    assert registry.log == []
    registry.model(WEIGHTS)  # the registry of the server's own settings may be anywhere
    assert s.post('/api/pull', {'model': 'x', 'stream': False}, headers=key).status == 200


def test_a_registry_cannot_lead_home(own, registry):
    with pull_helper.Server() as other:
        s = own(TURBINE_REGISTRY=registry.url)
        registry.model(WEIGHTS)
        for to in ('file:///etc/passwd', 'ftp://127.0.0.1/', f'http://x@127.0.0.1:{other.port}/'):
            registry.redirects['/v2/library/x/manifests/latest'] = (302, to, {})
            r = pull(s, stream=False)
            assert r.status in (400, 500) and 'root:' not in r.text
        assert other.log == []
