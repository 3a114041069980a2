"""Embeddings through the router: the APIs of OpenAI and Ollama in front of each other's backends, by the official
clients."""
import base64
import json
import struct

import ollama
import openai
import pytest
from fault_backend import Backend, Fault
from route_helper import Router

OPENAI, OLLAMA = '/v1/embeddings', '/api/embed'
TEXTS = ['a', 'Grüße 世界', 'three words here']
VECTORS = [[len(t), -0.5, 0.0625] for t in TEXTS]
TOKENS = sum(map(len, TEXTS))


class One:
    def __init__(self, dialect):
        self.backend = Backend(software='other')
        self.router = Router(config=f'backend {self.backend.url}\n dialects {dialect}\n model m\n model nice big\n')

    def __enter__(self):
        return self.router, self.backend

    def __exit__(self, *_):
        self.router.stop()
        self.backend.stop()


@pytest.mark.parametrize('dialect', ['openai', 'ollama'])
def test_clients(dialect):
    with One(dialect) as (r, b):
        o = openai.OpenAI(base_url=r.url + '/v1', api_key='x', max_retries=0)
        c = ollama.Client(host=r.url)
        got = o.embeddings.create(model='m', input=TEXTS, encoding_format='float')
        assert [(d.index, d.embedding) for d in sorted(got.data, key=lambda d: d.index)] == list(enumerate(VECTORS))
        assert (got.model, got.usage.prompt_tokens, got.usage.total_tokens) == ('m', TOKENS, TOKENS)
        assert o.embeddings.create(model='m', input='one', encoding_format='float').data[0].embedding == [3, -0.5, 0.0625]
        if dialect == 'ollama':  # by itself the client asks for base64, which a backend of its own API makes
            assert [d.embedding for d in o.embeddings.create(model='m', input=TEXTS).data] == VECTORS
        got = c.embed('m', TEXTS)
        assert (got.embeddings, got.model, got.prompt_eval_count) == (VECTORS, 'm', TOKENS)
        assert got.total_duration > 0
        assert c.embed('m', 'one').embeddings == [[3, -0.5, 0.0625]]
        assert c.embed('nice', 'one').model in ('nice', 'big') and json.loads(b.requests[-1][2])['model'] == 'big'
        # What was asked, in the backend's own words.
        for path, _, body in b.requests:
            assert path == {'openai': OPENAI, 'ollama': OLLAMA}[dialect]
            assert json.loads(body)['input'] in (TEXTS, 'one', ['one'])
        tokens = r.status()['backends'][0]['prompt_tokens']
        assert tokens >= 2 * TOKENS
        assert [e for e in r.events('request') if e['path'] == OLLAMA][0]['prompt_tokens'] == TOKENS


def test_openai_in_front_of_ollama():
    with One('ollama') as (r, b):
        reply = r.post(OPENAI, {'model': 'm', 'input': TEXTS, 'encoding_format': 'base64', 'user': 'u'}).json()
        assert [list(struct.unpack('<3f', base64.b64decode(d['embedding']))) for d in reply['data']] == VECTORS
        # Fewer dimensions: asked for, and cut to a length of 1 where the backend does not.
        reply = r.post(OPENAI, {'model': 'm', 'input': ['four'], 'dimensions': 2}).json()
        assert json.loads(b.requests[-1][2])['dimensions'] == 2
        x = reply['data'][0]['embedding']
        assert len(x) == 2 and abs(x[0] ** 2 + x[1] ** 2 - 1) < 1e-6 and abs(x[0] / x[1] + 8) < 1e-5
        reply = r.post(OPENAI, {'model': 'm', 'input': [[1, 2], [3]]})
        assert reply.status == 400 and reply.json()['error']['param'] == 'input', reply.body
        assert 'token ids' in reply.json()['error']['message']
        reply = r.post(OPENAI, {'model': 'm'})
        assert reply.status == 400 and 'input' in reply.json()['error']['message']


def test_ollama_in_front_of_openai():
    with One('openai') as (r, b):
        reply = r.post('/api/embeddings', {'model': 'm', 'prompt': 'one'})
        assert reply.json() == {'embedding': [3, -0.5, 0.0625]}
        reply = r.post(OLLAMA, {'model': 'm', 'input': 'one', 'truncate': True, 'keep_alive': '5m'})
        assert reply.status == 200 and reply.headers['X-Turbine-Dropped'] == 'keep_alive, truncate'
        assert set(json.loads(b.requests[-1][2])) == {'model', 'input', 'encoding_format'}
    with One('anthropic') as (r, b):
        reply = r.post(OLLAMA, {'model': 'm', 'input': 'one'})
        assert reply.status == 400 and 'embeddings' in reply.json()['error'] and not b.requests


@pytest.mark.parametrize('path,dialect', [(OPENAI, 'ollama'), (OLLAMA, 'openai')])
def test_errors(path, dialect):
    """Of the client's dialect, whatever became of the reply: never a vector too few, or a part of one."""
    own = (lambda v: v['error']['message']) if path == OPENAI else (lambda v: v['error'])
    whole = (lambda v: len(v['data']) == 3) if path == OPENAI else (lambda v: v['embeddings'] == VECTORS)
    ask = {'model': 'm', 'input': TEXTS}
    with One(dialect) as (r, b):
        refusal = {'error': {'message': 'no such size', 'type': 'invalid_request_error'}} if dialect == 'openai' else {
            'error': 'no such size'}
        b.faults = [Fault('status', status=400, body=refusal)]
        reply = r.post(path, ask)
        assert reply.status == 400 and 'no such size' in own(reply.json())
        for kind in ('cut', 'short', 'long', 'garbage-body', 'reset', 'html', 'garbage'):
            for at in (1, 30, 60, 90):
                b.faults = [Fault(kind, at=at)]
                reply = r.post(path, ask)
                b.faults = []
                if reply.status == 200:  # a connection that was kept and is reset is tried again
                    assert kind == 'reset' and whole(reply.json()), (kind, at)
                    continue
                assert own(reply.json()) and reply.status in (502, 503), (kind, at, reply.body)
        short = {**b.embeddings(OPENAI if dialect == 'openai' else OLLAMA, {'model': 'm', 'input': TEXTS[:2]})}
        b.embeddings = lambda *_: short
        reply = r.post(path, ask)
        assert reply.status == 502 and 'number is another' in own(reply.json())
