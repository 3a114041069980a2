"""Starts tests/server/scripted_server (see scripted.h there) with a tiny model that has
SmolLM2's vocabulary, and talks to it."""
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve().parent
SCRIPTED = pathlib.Path(os.environ.get('TURBINE_SCRIPTED') or BUILD / 'tests/server/scripted_server')
sys.path.insert(0, str(ROOT / 'ref'))
import gguf_meta  # noqa: E402
import gguf_write  # noqa: E402
import random_model  # noqa: E402

NAME = 'tiny'
_folder = tempfile.TemporaryDirectory(prefix='turbine-server.')
_counter = itertools.count()


def model(template=None, name=NAME, tokens=None):
    """Path of the model; template is the text of another chat template, tokens {text: text} are other names."""
    path = pathlib.Path(_folder.name) / f'{name}.gguf'
    if not path.exists():
        vocab = gguf_meta.read(ROOT / 'tests/data/smollm2_vocab.gguf')
        n_vocab = len(vocab['tokenizer.ggml.tokens'][1])
        meta, tensors = random_model.build(
            np.random.default_rng(1), 'llama', n_vocab=n_vocab, n_embd=64, n_layer=1, n_ff=64, n_head=1, n_head_kv=1,
            d=64, tied=True, n_ctx=65536)
        meta = {**meta, **vocab, 'general.name': b'Tiny Model'}
        if tokens:
            kind, texts = vocab['tokenizer.ggml.tokens']
            other = {a.encode(): b.encode() for a, b in tokens.items()}
            meta['tokenizer.ggml.tokens'] = kind, [other.get(t, t) for t in texts]
        if template:
            meta['tokenizer.chat_template'] = template.encode()
        meta.pop('llama.vocab_size', None)
        gguf_write.write(path, meta, tensors)
    return path


class Reply:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)


class Server:
    def __init__(self, script, *options, template=None, name=NAME, tokens=None, env=None):
        script = script if isinstance(script, dict) else {'rules': script}
        self.path = pathlib.Path(_folder.name) / f'{next(_counter)}'
        self.script = self.path.with_suffix('.json')
        self.script.write_text(json.dumps(script))
        self.process = subprocess.Popen(
            [SCRIPTED, model(template, name, tokens), self.script, '--port', '0', *map(str, options)],
            stdout=subprocess.PIPE, stderr=open(self.path, 'w'), text=True, env=env)
        line = self.process.stdout.readline()
        if not line.startswith('listening on '):
            self.process.wait(10)
            raise RuntimeError(self.log())
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return self.path.read_text()

    def stop(self, timeout=20):
        """The exit code, after SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def request(self, method, path, body=None, headers=None, timeout=20):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        with contextlib.closing(c):
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Reply(r, r.read())

    def get(self, path, headers=None):
        return self.request('GET', path, headers=headers)

    def post(self, path, body, headers=None, timeout=20):
        return self.request('POST', path, body, headers, timeout)

    def raw(self, data, timeout=10):
        """All that comes back for these bytes, until the server closes."""
        with self.connect(timeout) as s:
            s.sendall(data)
            out = b''
            with contextlib.suppress(ConnectionError, TimeoutError):
                while piece := s.recv(65536):
                    out += piece
            return out

    def connect(self, timeout=10):
        return socket.create_connection(('127.0.0.1', self.port), timeout)

    def send(self, path, body, headers=''):
        """A connection on which a request was sent, and nothing read."""
        data = json.dumps(body).encode()
        s = self.connect()
        s.sendall(f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n{headers}\r\n'
                  .encode() + data)
        return s

    def metric(self, name, headers=None):
        """The value of `name value` or `name{labels} value`."""
        text = self.get('/metrics', headers).text
        found = re.search(f'^{re.escape(name)} (.*)$', text, re.M)
        return float(found[1]) if found else 0.0

    def wait_metric(self, name, value, seconds=5):
        end = time.monotonic() + seconds
        while (now := self.metric(name)) != value and time.monotonic() < end:
            time.sleep(0.02)
        assert now == value, f'{name} is {now}, not {value}'

    def wait_busy(self, n, seconds=5):
        self.wait_metric('llamacpp:requests_processing', n, seconds)


def chat(text='hi', **more):
    return {'model': NAME, 'messages': [{'role': 'user', 'content': text}], **more}


def sse(text):
    """[(event or None, data)] of a stream."""
    out = []
    for block in text.split('\n\n'):
        event, data = None, []
        for line in block.split('\n'):
            if line.startswith('event: '):
                event = line[7:]
            elif line.startswith('data: '):
                data.append(line[6:])
        if data:
            out.append((event, '\n'.join(data)))
    return out
