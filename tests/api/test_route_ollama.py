"""Ollama's clients at the router: what is there, what is in memory, what a model is."""
import time

import ollama
import pytest
from clients_helper import RULES, SCRIPTED, Server
from fault_backend import Backend
from route_helper import Router, wait


def loaded(name, size):
    return {'name': name, 'model': name, 'size': size, 'size_vram': size, 'digest': 'd' * 64, 'context_length': 4096,
            'expires_at': '2030-01-01T00:00:00Z', 'details': {'family': 'x'}}


def ps(*entries):
    return {'/api/ps': {'models': list(entries)}}


def names(r):
    return [(m['name'], m['model'], m['size'], m['backend']) for m in r.get('/api/ps').json()['models']]


def test_ps_is_what_all_say():
    with Backend(software='ollama', info=ps(loaded('m:latest', 5), loaded('other:1b', 6))) as a, \
         Backend(software='turbine', info=ps(loaded('big', 7), loaded('secret', 8))) as b, \
         Backend(software='vllm', info=ps(loaded('m', 9))) as c:
        with Router(config=f'backend {a.url}\nbackend {b.url}\n model nice big\nbackend {c.url}\n') as r:
            wait(lambda: len(r.events('backend')) == 3)
            assert names(r) == [('m:latest', 'm:latest', 5, a.url), ('other:1b', 'other:1b', 6, a.url),
                                ('nice', 'nice', 7, b.url)]
            assert '/api/ps' not in c.asked
            got = ollama.Client(host=r.url).ps().models
            assert [(m.name, m.context_length) for m in got] == [('m:latest', 4096), ('other:1b', 4096), ('nice', 4096)]
            a.kill()
            assert [x[0] for x in names(r)] == ['nice']
            assert r.request('HEAD', '/api/ps').status == 200


@pytest.mark.parametrize('answer', [b'', b'[1', b'[' * 5000, {'models': 5}, {'models': [1, None, {'name': 3}, {}]},
                                    b'{"models":[' + b' ' * (2 << 20) + b']}'],
                         ids=['nothing', 'cut', 'deep', 'number', 'entries', 'large'])
def test_ps_of_who_says_nonsense(answer):
    with Backend(software='ollama', info={'/api/ps': answer}) as a, Backend(info=ps(loaded('m', 7))) as b:
        with Router('--short', f'{a.url},{b.url}') as r:
            wait(lambda: len(r.events('backend')) == 2)
            assert [x[3] for x in names(r)] == [b.url]


def test_ps_does_not_wait_for_ever():
    with Backend(software='ollama', info=ps(loaded('m', 1)), slow={'/api/ps': 0.2}) as a, \
         Backend(info=ps(loaded('m', 7))) as b:
        with Router('--short', f'{a.url},{b.url}') as r:
            wait(lambda: len(r.events('backend')) == 2)
            start = time.monotonic()
            assert [x[3] for x in names(r)] == [b.url]
            assert 1.5 < time.monotonic() - start < 20


SHOW = {'license': 'x', 'model_info': {'x.block_count': 1}, 'details': {'family': 'llama'}, 'capabilities': ['completion']}


@pytest.mark.parametrize('lane', ['short', 'long'])
def test_show_goes_to_who_knows(lane):
    """Whatever lane the backend that speaks Ollama's API is in."""
    other = 'long' if lane == 'short' else 'short'
    with Backend(software='vllm', models=['m', 'v']) as v, \
         Backend(software='ollama', models=['m', 'big'], info={'/api/show': SHOW}) as o:
        with Router(config=f'backend {v.url}\n class {other}\nbackend {o.url}\n class {lane}\n model m\n'
                           ' model nice big\n') as r:
            wait(lambda: len(r.events('backend')) == 2)
            for name in ('m', 'nice', 'm@short'):
                for member in ('model', 'name'):
                    reply = r.post('/api/show', {member: name})
                    assert (reply.status, reply.json()) == (200, SHOW), reply.body
                    assert reply.headers['X-Turbine-Backend'] == o.url
            assert ollama.Client(host=r.url).show('nice').details.family == 'llama'
            reply = r.post('/api/show', {'model': 'v'})
            assert reply.status == 400 and reply.json()['error'] == (
                "/api/show is for backends that speak ollama's API, and none that is well has the model 'v'")
            reply = r.post('/api/show', {'model': 'nope'})
            assert reply.status == 404 and "no backend has the model 'nope'" in reply.json()['error']


def test_a_client_at_a_server_of_ours():
    if not SCRIPTED.exists():
        pytest.skip(f'{SCRIPTED} is not built')
    with Server(RULES) as s, Router('--short', s.url) as r:
        r.wait_known()
        mine, its = ollama.Client(host=r.url), ollama.Client(host=s.url)
        assert [m.model for m in mine.ps().models] == [m.model for m in its.ps().models] != []
        name = mine.list().models[0].model
        assert mine.show(name) == its.show(name)
        assert r.get('/api/version').json()['version'] == s.get('/api/version').json()['version']
