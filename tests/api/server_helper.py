"""Starts tests/server/scripted_server (see scripted.h there) with a tiny model that has
SmolLM2's vocabulary, and talks to it."""
import contextlib
import itertools
import json
import os
import pathlib
import re
import sys
import tempfile
import time

import numpy as np

from http_process import HttpProcess

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


class Server(HttpProcess):
    def __init__(self, script, *options, template=None, name=NAME, tokens=None, env=None):
        script = script if isinstance(script, dict) else {'rules': script}
        path = pathlib.Path(_folder.name) / f'{next(_counter)}'
        self.script = path.with_suffix('.json')
        self.script.write_text(json.dumps(script))
        super().__init__([SCRIPTED, model(template, name, tokens), self.script, '--port', '0', *options], path, env)

    def raw(self, data, timeout=10):
        """All that comes back for these bytes, until the server closes."""
        with self.connect(timeout) as s:
            s.sendall(data)
            out = b''
            with contextlib.suppress(ConnectionError, TimeoutError):
                while piece := s.recv(65536):
                    out += piece
            return out

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
