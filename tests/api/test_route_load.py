"""The load that backends report decides between them; what they report wrongly decides nothing."""
import json

import pytest
from fault_backend import Backend
from route_helper import Router, chat, wait

PATH = '/v1/chat/completions'


def vllm(running, waiting):
    return (f'# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{engine="0",model_name="m"}} {running}\n'
            f'vllm:num_requests_waiting{{engine="0",model_name="m"}} {waiting}\n').encode()


SLOTS = [{'id': i, 'is_processing': i < 7} for i in range(9)]

REPORTS = [
    ('turbine', {'/metrics': b'llamacpp:requests_processing 4\nllamacpp:requests_deferred 3\n'}, '/metrics'),
    ('vllm', {'/metrics': vllm('5.0', '2.0')}, '/metrics'),
    ('llama-server', {'/slots': SLOTS}, '/slots'),
    # Where /metrics is another's, slots are asked.
    ('llama-server', {'/metrics': b'up 1\n', '/slots': SLOTS}, '/slots'),
]


@pytest.mark.parametrize('software,info,path', REPORTS)
def test_requests_of_others_count(software, info, path):
    with Backend(software=software, info=info) as busy, Backend(software=software) as calm:
        with Router('--short', f'{busy.url},{calm.url}') as r:
            r.wait_known(2)
            wait(lambda: r.backend(busy.url)['others'] == 7)
            b = r.backend(busy.url)
            assert (b['load'], b['in_flight'], b['load_from'], b['health']) == (7, 0, path, 'up')
            assert r.backend(calm.url)['load_from'] is None and r.backend(calm.url)['others'] == 0
            for i in range(12):  # as many prefixes: some of them would go to either
                reply = r.post(PATH, {**chat(f'{i}'), 'tools': [{'type': 'function', 'function': {'name': f'f{i}'}}]})
                assert reply.headers['X-Turbine-Backend'] == calm.url
            text = r.get('/metrics').body.decode()
            assert f'turbine_route:backend_others_load{{backend="{busy.url}"}} 7' in text
            assert f'turbine_route:backend_load{{backend="{busy.url}"}} 7' in text


@pytest.mark.parametrize('info,words', [
    ({'/metrics': b'llamacpp:requests_processing -1\n'}, 'a number of requests that cannot be'),
    ({'/metrics': b'llamacpp:requests_processing 1e99\n'}, 'a number of requests that cannot be'),
    ({'/metrics': b'#' * (5 << 20)}, 'too many bytes'),
    ({'/slots': {'x': [[[1]]]}}, 'no list of slots'),
    ({'/slots': b'[' * 100000}, 'no list of slots'),
    ({'/slots': [{}]}, 'a slot that does not say'),
], ids=['negative', 'huge', 'endless', 'object', 'deep', 'empty'])
def test_wrong_reports_are_noted_and_nothing_else(info, words):
    with Backend(info=info) as b, Router('--short', b.url) as r:
        r.wait_known()
        wait(lambda: words in json.dumps(r.events('load')), 5, r.log)
        assert len(r.events('load')) == 1
        x = r.backend(b.url)
        assert (x['health'], x['load'], x['load_from']) == ('up', 0, None)
        assert r.post(PATH, chat()).status == 200


def test_who_drips():
    """A list of models, or a report, that has no end: the one is a failed probe, the other is none."""
    with Backend(info={'/metrics': 'x' * 1000}, slow={'/metrics': 0.5}) as b, \
         Backend(info={'/v1/models': 'x' * 1000}, slow={'/v1/models': 0.5}) as c:
        with Router('--short', b.url, '--long', c.url) as r:
            wait(lambda: 'its /metrics has no end' in json.dumps(r.events('load')), 20)
            assert r.backend(b.url)['health'] == 'up'
            wait(lambda: r.backend(c.url)['health'] == 'down', 20)


def test_who_reports_nothing_is_left_in_peace():
    """Ollama and servers of which nothing is known are never asked, others until they have said that they do not."""
    with Backend(software='ollama') as a, Backend(software='other') as b, Backend() as c:
        with Router('--short', f'{a.url},{b.url},{c.url}') as r:
            r.wait_known(3)
            wait(lambda: '/slots' in c.asked)
            for _ in range(6):
                r.post(PATH, chat())
            assert not {'/metrics', '/slots'} & {*a.asked, *b.asked}
            assert (c.asked.count('/metrics'), c.asked.count('/slots')) == (1, 1)
