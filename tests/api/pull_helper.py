"""Servers that behave like a registry and like a hub, and the command that pulls from them."""
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import re
import subprocess
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = os.environ.get('TURBINE', str(ROOT / 'build/turbine'))
MEDIA = 'application/vnd.docker.distribution.manifest.v2+json'
CHUNK = 256 << 10  # what files of this size are cut into


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


def digest(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


class File:
    """ranges: False answers everything with 200; chunk_delay: seconds between pieces of 64 KiB."""

    def __init__(self, data, etag='"one"', ranges=True, headers=(), chunk_delay=0):
        self.data, self.etag, self.ranges, self.chunk_delay = data, etag, ranges, chunk_delay
        self.headers = dict(headers)


class Request:
    def __init__(self, handler):
        self.path, self.headers = handler.path, handler.headers
        self.range, self.authorization = handler.headers.get('Range'), handler.headers.get('Authorization')
        self.sent = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def log_message(self, *_):
        pass

    def answer(self, status, body=b'', headers=(), length=None):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body) if length is None else length))
        self.end_headers()
        self.write(body)

    def write(self, data, delay=0, stop_after=None):
        """stop_after: bytes after which the connection is closed."""
        for at in range(0, len(data), 65536):
            piece = data[at:at + 65536]
            if stop_after is not None and at + len(piece) > stop_after:
                piece = piece[:max(0, stop_after - at)]
            self.wfile.write(piece)
            self.request_log.sent += len(piece)
            if stop_after is not None and at + len(piece) >= stop_after:
                self.wfile.flush()
                self.close_connection = True
                return
            if delay:
                self.server.owner.stop.wait(delay)

    def serve(self, file, stop_after=None):
        headers = {**file.headers, **({'ETag': file.etag} if file.etag else {})}
        wanted = re.fullmatch(r'bytes=(\d+)-(\d+)', self.headers.get('Range') or '')
        condition = self.headers.get('If-Range')
        if not wanted or not file.ranges or (condition and condition != file.etag):
            status, body = 200, file.data
        else:
            first, last = int(wanted[1]), min(int(wanted[2]), len(file.data) - 1)
            if first >= len(file.data):
                return self.answer(416, headers={**headers, 'Content-Range': f'bytes */{len(file.data)}'})
            status, body = 206, file.data[first:last + 1]
            headers['Content-Range'] = f'bytes {first}-{last}/{len(file.data)}'
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.write(body, file.chunk_delay, stop_after)

    def do_GET(self):
        owner = self.server.owner
        if self.path.startswith('http://'):  # we are a proxy
            self.path = '/' + self.path.split('/', 3)[3]
        self.request_log = Request(self)
        with owner.lock:
            owner.log.append(self.request_log)
        with contextlib.suppress(ConnectionError, TimeoutError):
            if owner.fault and owner.fault(self):
                return
            if owner.token and self.request_log.path.startswith('/v2/') and \
                    self.request_log.authorization != f'Bearer {owner.token}':
                return self.answer(401, b'{"errors":[{"message":"who are you?"}]}',
                                   {'WWW-Authenticate': owner.challenge})
            if self.path in owner.redirects:
                status, to, headers = owner.redirects[self.path]
                # Longer than a small layer, as Go's servers have it.
                words = f'<a href="{to}?signature={"0" * 400}">Temporary Redirect</a>.\n\n'.encode()
                return self.answer(status, words, {'Location': to, **headers})
            if self.path in owner.files:
                return self.serve(owner.files[self.path])
            self.answer(404, b'{"errors":[{"message":"no such thing"}]}')


class Server:
    def __init__(self):
        self.files, self.redirects, self.log, self.lock = {}, {}, [], threading.Lock()
        self.token, self.challenge, self.fault = None, '', None
        self.stop = threading.Event()

    def __enter__(self):
        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.http.daemon_threads = True
        self.http.owner = self
        self.port = self.http.server_address[1]
        self.url = f'http://127.0.0.1:{self.port}'
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.http.shutdown()
        self.http.server_close()

    def paths(self):
        return [r.path for r in self.log]

    def sent(self, path):
        return sum(r.sent for r in self.log if r.path == path)

    def model(self, weights, space='library', name='x', tag='latest', params=b'{"stop":["x"]}', **file):
        """Puts a model there; returns (manifest, path of the weights)."""
        layers = []
        for kind, data in (('model', weights), ('template', b'{{ .Prompt }}'), ('params', params)):
            layers.append({'mediaType': f'application/vnd.ollama.image.{kind}', 'digest': digest(data),
                           'size': len(data)})
            self.files[f'/v2/{space}/{name}/blobs/{digest(data)}'] = File(data, **(file if kind == 'model' else {}))
        config = b'{"model_format":"gguf"}'
        self.files[f'/v2/{space}/{name}/blobs/{digest(config)}'] = File(config)
        manifest = json.dumps({
            'schemaVersion': 2, 'mediaType': MEDIA, 'layers': layers,
            'config': {'mediaType': 'application/vnd.docker.container.image.v1+json', 'digest': digest(config),
                       'size': len(config)}}).encode()
        self.files[f'/v2/{space}/{name}/manifests/{tag}'] = File(
            manifest, ranges=False, headers={'Docker-Content-Digest': digest(manifest)})
        return manifest, f'/v2/{space}/{name}/blobs/{digest(weights)}'

    def repository(self, files, user='user', repo='repo', cdn=None, listed=True):
        """Plain files of a hub, whose bytes lie on the server cdn."""
        siblings = [{'rfilename': 'README.md', 'size': 3}]
        for name, data in files.items():
            siblings.append({'rfilename': name, 'size': len(data)})
            if listed:
                siblings[-1]['lfs'] = {'sha256': hashlib.sha256(data).hexdigest(), 'size': len(data)}
            cdn.files[f'/cdn/{name}'] = File(data)
            self.redirects[f'/{user}/{repo}/resolve/main/{name}'] = (302, f'{cdn.url}/cdn/{name}', {
                'X-Linked-ETag': f'"{hashlib.sha256(data).hexdigest()}"', 'X-Linked-Size': str(len(data))})
        self.files[f'/api/models/{user}/{repo}?blobs=true'] = File(json.dumps({'siblings': siblings}).encode())


class Store:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.env = {**{k: v for k, v in os.environ.items() if not re.match('HF_|TURBINE_|OLLAMA_|.*_proxy', k, re.I)},
                    'TURBINE_MODELS': str(self.path), 'HOME': str(self.path.parent)}

    def start(self, name, *options, env=None, **more):
        return subprocess.Popen([TURBINE, 'pull', name, *map(str, options)], env={**self.env, **(env or {})},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def pull(self, name, *options, env=None, timeout=90):
        p = self.start(name, *options, env=env)
        try:
            _, err = p.communicate(timeout=timeout)
        finally:
            p.kill()
            p.wait()
        return p.returncode, err

    def manifest(self, name='registry.ollama.ai/library/x/latest'):
        path = self.path / 'manifests' / name
        return path.read_bytes() if path.exists() else None

    def blob(self, data):
        path = self.path / 'blobs' / digest(data).replace(':', '-')
        return path.exists() and path.read_bytes() == data

    def leftovers(self):
        """Files on their way."""
        return sorted(p.name for p in self.path.glob('.turbine/*.part*'))

    def part(self, data, end=''):
        return self.path / '.turbine' / (hashlib.sha256(data).hexdigest() + '.part' + end)

    def recorded(self, data):
        """Numbers of the chunks that are recorded as written (src/store/pull_part.h)."""
        path = self.part(data, '.map')
        text = path.read_bytes()[288:] if path.exists() else b''
        return [int.from_bytes(text[at:at + 8], 'little') for at in range(0, len(text) - 47, 48)]
