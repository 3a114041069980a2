"""A server whose allocations fail now and then (tests/fault/no_memory.c): each answer is
the right one, or an error that says so; none is short, and nothing stays behind."""
import contextlib
import http.client
import json
import os
import struct

import pytest

from server_helper import BUILD, NAME, SCRIPTED, Server, chat, sse

SHIM = BUILD / 'tests/fault/no_memory.so'
TEXT = 'The quick brown fox jumps over the lazy dog. ' * 40
RULES = [{'match': 'tool', 'text': '<tool_call>\n{"name": "look", "arguments": {"what": "%s"}}\n</tool_call>' % TEXT},
         {'text': TEXT}]
TIMES = int(os.environ.get('NO_MEMORY_TIMES', 40))  # of each kind of request at each rate
RATES = (1500, 400, 100, 30)  # one allocation of so many fails

pytestmark = pytest.mark.skipif(not SHIM.exists() or not SCRIPTED.exists(), reason=f'{SHIM} is not built')


# What a reply is: its text and whether its end is there, or None for a stated error.

def openai(text, stream):
    if not stream:
        return json.loads(text)['choices'][0]['message']['content'], True
    data = [d for _, d in sse(text)]
    chunks = [json.loads(d) for d in data if d != '[DONE]']
    if any('error' in c for c in chunks):
        return None
    return ''.join(c['choices'][0]['delta'].get('content') or '' for c in chunks if c['choices']), data[-1:] == ['[DONE]']


def anthropic(text, stream):
    if not stream:
        return json.loads(text)['content'][0]['text'], True
    events = [(e, json.loads(d)) for e, d in sse(text)]
    if any(e == 'error' for e, _ in events):
        return None
    return (''.join(d['delta'].get('text', '') for e, d in events if e == 'content_block_delta'),
            events[-1:] != [] and events[-1][0] == 'message_stop')


def responses(text, stream):
    if not stream:
        return json.loads(text)['output'][0]['content'][0]['text'], True
    events = [(e, json.loads(d)) for e, d in sse(text)]
    if any(e in ('error', 'response.failed') for e, _ in events):
        return None
    return (''.join(d['delta'] for e, d in events if e == 'response.output_text.delta'),
            events[-1:] != [] and events[-1][0] == 'response.completed')


def ollama(text, stream):
    lines = [json.loads(line) for line in text.splitlines()]
    if any('error' in line for line in lines):
        return None
    return ''.join(line['message']['content'] for line in lines), lines[-1]['done']


KINDS = [('/v1/chat/completions', chat, openai),
         ('/v1/messages', lambda s, **more: chat(s, max_tokens=5000, **more), anthropic),
         ('/v1/responses', lambda s, **more: {'model': NAME, 'input': s, **more}, responses),
         ('/api/chat', chat, ollama)]


class Memory:
    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(8))

    @contextlib.contextmanager
    def short(self, rate):
        with open(self.path, 'r+b') as f:
            f.write(struct.pack('I', rate))
            f.flush()
            try:
                yield
            finally:
                f.seek(0)
                f.write(struct.pack('I', 0))


@pytest.fixture(scope='module')
def memory(tmp_path_factory):
    return Memory(tmp_path_factory.mktemp('memory') / 'rate')


@pytest.fixture(scope='module')
def server(memory):
    env = {**os.environ, 'LD_PRELOAD': str(SHIM), 'NO_MEMORY': str(memory.path)}
    with Server({'rules': RULES, 'slots': 4, 'queue': 8, 'ctx': 65536}, env=env) as s:
        yield s
        assert s.stop() == 0


def ask(server, path, body):
    """(status, body), or None: the connection broke."""
    try:
        r = server.post(path, body)
        return r.status, r.text
    except (ConnectionError, http.client.HTTPException):
        return None


def quiet(server):
    server.wait_busy(0)
    server.wait_metric('turbine:exchanges', 1)


@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize('kind', KINDS, ids=lambda k: k[0])
def test_answers(server, memory, kind, stream):
    path, make, read = kind
    body = make('hello', stream=stream)
    status, text = ask(server, path, body)
    right = read(text, stream)
    assert status == 200 and right == (TEXT, True)
    quiet(server)
    fds = len(os.listdir(f'/proc/{server.process.pid}/fd'))
    seen = {'right': 0, 'error': 0}
    for rate in RATES:
        for _ in range(TIMES):
            with memory.short(rate):
                reply = ask(server, path, body)
            if reply is None or reply[0] != 200:
                seen['error'] += 1
                assert reply is None or reply[0] >= 500, reply  # a good request is never blamed
                continue
            got = read(reply[1], stream)
            assert got is None or got == right, f'one of {rate}: {reply[1][-300:]}'
            seen['right' if got else 'error'] += 1
    assert server.process.poll() is None
    quiet(server)
    assert ask(server, path, body)[0] == 200 and seen['error']
    assert len(os.listdir(f'/proc/{server.process.pid}/fd')) <= fds + 1


TOOL = {'type': 'function', 'function': {'name': 'look', 'parameters': {
    'type': 'object', 'properties': {'what': {'type': 'string'}}, 'required': ['what']}}}


@pytest.mark.parametrize('stream', [False, True])
def test_calls(server, memory, stream):
    """Arguments of a call are whole or the answer is an error."""
    body = chat('tool', tools=[TOOL], stream=stream)
    for rate in RATES:
        for _ in range(TIMES):
            with memory.short(rate):
                reply = ask(server, '/v1/chat/completions', body)
            if reply is None or reply[0] != 200:
                assert reply is None or reply[0] >= 500, reply
                continue
            if stream:
                data = [d for _, d in sse(reply[1])]
                chunks = [json.loads(d) for d in data if d != '[DONE]']
                if any('error' in c for c in chunks):
                    continue
                assert data[-1] == '[DONE]'
                args = ''.join(t['function'].get('arguments', '') for c in chunks for choice in c['choices']
                               for t in choice['delta'].get('tool_calls', []))
            else:
                args = json.loads(reply[1])['choices'][0]['message']['tool_calls'][0]['function']['arguments']
            assert json.loads(args) == {'what': TEXT}, reply[1][-300:]
    assert server.process.poll() is None
    quiet(server)
