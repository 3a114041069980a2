"""Which endpoint counts the tokens of a prompt near the threshold, for each kind of backend, and what a count decides."""
import json
import time

import pytest
from fault_backend import Backend, Fault
from route_helper import Router, chat, wait

CHAT = '/v1/chat/completions'
ANTHROPIC, LLAMA, VLLM = '/v1/messages/count_tokens', CHAT + '/input_tokens', '/tokenize'

KINDS = [
    ('turbine', (), [ANTHROPIC]),
    ('llama-server', (), [LLAMA]),
    ('llama-server', (LLAMA,), [LLAMA, ANTHROPIC]),
    ('llama-server', (LLAMA, ANTHROPIC), [LLAMA, ANTHROPIC]),
    ('vllm', (), [VLLM]),
    ('vllm', (VLLM,), [VLLM]),
    ('ollama', (), []),
    ('other', (), []),
]


def counts_of(b):
    return [p for p, _, _ in b.requests if p in (ANTHROPIC, LLAMA, VLLM)]


@pytest.mark.parametrize('base', ['', '/v1'])
@pytest.mark.parametrize('software,without,paths', KINDS)
def test_near_the_threshold(software, without, paths, base):
    """About 950 tokens: the backend counts 900 or 1100, and who cannot count leaves it to the estimate."""
    counts = bool(paths) and paths[-1] not in without
    with Backend(software=software, without=without) as short, Backend(software='other') as long:
        with Router(config=f'threshold 1000\nbackend {short.url}{base}\n class short\n context 8192\nbackend {long.url}\n'
                           ' class long\n context 32768\n') as r:
            wait(lambda: len(r.events('backend')) == 2)  # all is known of them
            for n, url in ((900, short.url), (1100, long.url)):
                reply = r.post(CHAT, chat(f'count-me-{n} ' + 'word ' * 930, tools=[
                    {'type': 'function', 'function': {'name': 'f', 'parameters': {'type': 'object'}}}]))
                assert reply.status == 200, reply.body
                if counts:
                    assert reply.headers['X-Turbine-Backend'] == url, n
            # What is not there is asked for once.
            assert counts_of(short) == (paths + paths[-1:] if counts else paths) and not counts_of(long)
            for path, _, body in short.requests:
                if path in paths:
                    body = json.loads(body)
                    assert body['model'] == 'm' and body['messages'] and len(body['tools']) == 1
                    assert 'max_tokens' not in body and 'stream' not in body


def test_a_hosted_api_counts():
    with Backend(software='other') as b, Backend(software='other') as long:
        with Router(config=f'threshold 1000\nbackend {b.url}\n class short\n dialects anthropic\n model "*"\n'
                           f'backend {long.url}\n class long\n model "*"\n') as r:
            wait(lambda: len(r.events('backend')) == 2)
            reply = r.post(CHAT, chat('count-me-1100 ' + 'word ' * 930))
            assert reply.headers['X-Turbine-Backend'] == long.url
            assert counts_of(b) == [ANTHROPIC] and json.loads(b.requests[0][2])['model'] == 'm'


def test_a_model_that_is_not_there_ends_no_counting():
    """A client that asks for nonsense does not switch off the counts of others."""
    with Backend(software='other') as b, Backend(software='other') as long:
        with Router(config=f'threshold 1000\nbackend {b.url}\n class short\n dialects anthropic\n model "*"\n'
                           f'backend {long.url}\n class long\n model "*"\n') as r:
            wait(lambda: len(r.events('backend')) == 2)
            ask = chat('count-me-1100 ' + 'word ' * 930)
            missing = {'type': 'error', 'error': {'type': 'not_found_error', 'message': 'model: nonsense'}}
            b.faults = [Fault('status', status=404, body=missing)]
            r.post(CHAT, {**ask, 'model': 'nonsense'})
            assert r.post(CHAT, ask).headers['X-Turbine-Backend'] == long.url
            assert counts_of(b) == [ANTHROPIC] * 2


@pytest.mark.parametrize('software', ['ollama', 'llama-server', 'vllm', 'turbine'])
def test_the_count_route(software):
    """Claude Code's count is the backend's own, and an estimate where there is none."""
    info = {'/api/version': {'version': '0.14.2'}} if software == 'ollama' else {}
    without = {ANTHROPIC} if software == 'ollama' else {}
    with Backend(software=software, info=info, without=without) as b, Router('--short', b.url) as r:
        wait(lambda: r.events('backend'))  # all is known of it
        reply = r.post(ANTHROPIC, chat('count-me-4321 ' + 'one two ' * 50))
        assert reply.status == 200, reply.body
        if software == 'ollama':
            assert 80 < reply.json()['input_tokens'] < 200 and not counts_of(b)
        else:
            assert reply.json() == {'input_tokens': 4321}


def test_a_count_that_drips():
    """Five seconds, then the estimate decides."""
    with Backend(slow={ANTHROPIC: 0.8}) as short, Backend(software='other') as long:
        with Router(config=f'threshold 1000\nbackend {short.url}\n class short\nbackend {long.url}\n class long\n') as r:
            wait(lambda: len(r.events('backend')) == 2)  # all is known of them
            start = time.monotonic()
            reply = r.post(CHAT, chat('count-me-1000000 ' + 'word ' * 930))
            assert reply.status == 200 and 4 < time.monotonic() - start < 20
