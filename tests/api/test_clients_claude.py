"""Requests that Claude Code was recorded with (tests/claude/record.py), replayed: what it
must get back.  `make check-claude` runs the program itself."""
import concurrent.futures
import copy
import json
import socket
import urllib.error
import urllib.parse
import urllib.request

import pytest
from clients_helper import ROOT, Server, call, serve

DATA = ROOT / 'tests/data/claude'
PARTS = json.loads((DATA / 'parts.json').read_text())
ANSWER = 'Hello, this is an answer.'
PRINTED = 'It printed turbine-42.'
COMMAND = {'command': 'echo turbine-42', 'description': 'Print a number'}
TITLE = '{"title": "A greeting"}'
RULES = [
    {'match': '<tool_response>\nturbine-42', 'text': PRINTED},
    {'match': 'Run echo turbine-42', 'text': 'I will run it.\n' + call('Bash', **COMMAND)},
    {'match': '<between>\nSay hello', 'text': TITLE},  # the request for a title has no tools
    {'text': ANSWER},
]


def unfold(v):
    if isinstance(v, list):
        return [unfold(x) for x in v]
    if isinstance(v, dict):
        return PARTS[v['$part']] if '$part' in v else {k: unfold(x) for k, x in v.items()}
    return v


def recorded(name, path='/v1/messages?beta=true'):
    requests = unfold(json.loads((DATA / f'{name}.json').read_text()))['requests']
    return [r for r in requests if r['path'] == path]


@pytest.fixture(scope='module')
def server():
    yield from serve(RULES, ctx=65536, name='mymodel')


def post(url, r):
    """(status, headers, bytes)"""
    headers = {k: v for k, v in r['headers'].items() if k != 'Accept-Encoding'} | {'Authorization': 'Bearer local'}
    body = None if r['body'] is None else json.dumps(r['body']).encode()
    ask = urllib.request.Request(url + r['path'], body, headers, method=r['method'])
    try:
        with urllib.request.urlopen(ask, timeout=30) as got:
            return got.status, got.headers, got.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def events(data):
    """Server-sent events of a Messages stream, whose names are those of their data."""
    out = []
    for block in data.decode().split('\n\n'):
        lines = [line for line in block.split('\n') if line and not line.startswith(':')]
        if lines:
            assert [line.split(': ')[0] for line in lines] == ['event', 'data'], block
            out.append(json.loads(lines[1][6:]))
            assert out[-1]['type'] == lines[0][7:]
    return [e for e in out if e['type'] != 'ping']


def message(data):
    """The message that a stream adds up to, as clients build it."""
    start, *rest = events(data)
    m, open_block = copy.deepcopy(start['message']), None
    assert start['type'] == 'message_start' and m['content'] == [] and rest[-1]['type'] == 'message_stop'
    for e in rest[:-1]:
        if e['type'] == 'content_block_start':
            assert open_block is None and e['index'] == len(m['content'])
            open_block = dict(e['content_block'], pieces=[])
            m['content'].append(open_block)
        elif e['type'] == 'content_block_delta':
            assert e['index'] == len(m['content']) - 1 and open_block is not None
            open_block['pieces'].append(e['delta'])
        elif e['type'] == 'content_block_stop':
            pieces = open_block.pop('pieces')
            if open_block['type'] == 'text':
                open_block['text'] += ''.join(p['text'] for p in pieces)
            elif open_block['type'] == 'tool_use':
                open_block['input'] = json.loads(''.join(p['partial_json'] for p in pieces) or '{}')
            open_block = None
        else:
            assert e['type'] == 'message_delta'
            m |= e['delta']
            m['usage'] |= e['usage']
    return m


def ask(server, r):
    status, headers, data = post(server.url, r)
    assert status == 200, data
    assert headers['content-type'].startswith('text/event-stream')
    return message(data)


def read(m):
    """Tokens of the prompt of a message, and how many of them had been read before."""
    u = m['usage']
    cached = u.get('cache_read_input_tokens') or 0
    return u['input_tokens'] + cached + (u.get('cache_creation_input_tokens') or 0), cached


def count(server, r):
    status, _, data = post(server.url, dict(r, path='/v1/messages/count_tokens?beta=true'))
    assert status == 200, data
    return json.loads(data)['input_tokens']


def with_ids(r, ids):
    """The request, with the ids of calls that this server gave."""
    text = json.dumps(r['body'])
    for old, new in ids.items():
        text = text.replace(old, new)
    return dict(r, body=json.loads(text))


def test_round_trip_and_another_session(server):
    first, second, other = recorded('round_trip')
    m = ask(server, first)
    text, use = m['content']
    assert m['stop_reason'] == 'tool_use' and m['model'] == 'mymodel'
    assert text['type'] == 'text' and text['text'].strip() == first['reply']['text']
    assert (use['name'], use['input']) == ('Bash', COMMAND) and use['id'].startswith('toolu_')
    n_first, _ = read(m)

    was = next(b['id'] for b in second['body']['messages'][2]['content'] if b['type'] == 'tool_use')
    n = ask(server, with_ids(second, {was: use['id']}))
    assert n['stop_reason'] == 'end_turn' and [b['text'] for b in n['content']] == [PRINTED]
    assert n['id'] != m['id']
    n_second, cached = read(n)
    # All of the first prompt is a prefix of the second: what it adds has to be read.
    assert n_second > n_first and cached >= 0.95 * n_first

    o = ask(server, other)
    n_other, cached = read(o)
    assert o['content'][0]['text'] == ANSWER
    # Tools and system text are the same; the line that differs by session is not read.
    shared = {k: other['body'][k] for k in ('model', 'system', 'tools', 'thinking')}
    n_shared = count(server, dict(other, body=shared | {'messages': [{'role': 'user', 'content': 'x'}]}))
    assert n_other > cached > n_shared - 20 > 0.7 * n_other


def test_title(server):
    """A request for structured output comes beside the first question."""
    title, question = recorded('context')
    with concurrent.futures.ThreadPoolExecutor() as pool:
        t, q = pool.map(lambda r: ask(server, r), (title, question))
    assert json.loads(t['content'][0]['text']) == json.loads(TITLE)
    assert q['content'][0]['text'] == ANSWER


def test_counts(server):
    """/context counts its parts in many requests at once."""
    counts = recorded('context', '/v1/messages/count_tokens?beta=true')
    assert len(counts) > 20
    with concurrent.futures.ThreadPoolExecutor(len(counts)) as pool:
        answers = list(pool.map(lambda r: post(server.url, r), counts))
    assert {a[0] for a in answers} == {200}
    numbers = [json.loads(a[2])['input_tokens'] for a in answers]
    sizes = [len(json.dumps(r['body'])) for r in counts]
    assert min(numbers) > 0 and max(numbers) == numbers[sizes.index(max(sizes))]
    # Alone they are the same.
    assert [count(server, r) for r in counts[:5]] == numbers[:5]
    question = recorded('context')[1]
    whole = {k: v for k, v in question['body'].items() if k not in ('max_tokens', 'stream', 'metadata')}
    assert count(server, dict(question, body=whole)) == read(ask(server, question))[0]


def test_a_head_at_the_start(server):
    hello, = recorded('context', '/api/hello')
    assert hello['method'] == 'HEAD' and post(server.url, hello)[0] == 200


def test_overflow_and_compaction(server):
    """A prompt that is too long is refused in words that make the client compact; then it asks
    for a summary and goes on from it."""
    _, refused, compact, again = recorded('overflow')
    small = Server(RULES, ctx=4096, name='mymodel')
    try:
        status, headers, data = post(small.url, refused)
    finally:
        small.stop()
    error = json.loads(data)
    assert status == 400 and error['type'] == 'error' and error['error']['type'] == 'invalid_request_error'
    n = count(server, refused)
    assert error['error']['message'].startswith(f'prompt is too long: {n} tokens > ')
    for r in (compact, again):
        assert ask(server, r)['content'][0]['text'] == ANSWER


def test_a_stream_that_breaks(server):
    """The client is gone after the first bytes, and asks again."""
    first, *_ = recorded('cut')
    body = json.dumps(first['body']).encode()
    where = urllib.parse.urlsplit(server.url)
    with socket.create_connection((where.hostname, where.port), timeout=20) as s:
        s.sendall(f'POST {first["path"]} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n'
                  f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
        assert s.recv(64).startswith(b'HTTP/1.1 200')
    a, b = ask(server, first), ask(server, first)
    assert a['content'][0]['text'] == ANSWER and a['id'] != b['id']


def test_thinking_parallel_calls_and_a_command_of_the_user(server):
    """Thinking without a signature, two results of which one is an error, /compact and what
    follows it are all prompts."""
    _, results, compact, again = recorded('thinking')
    assert [b['type'] for b in results['body']['messages'][2]['content']] == ['thinking', 'tool_use', 'tool_use']
    for r, want in ((results, PRINTED), (compact, PRINTED), (again, ANSWER)):
        m = ask(server, r)
        assert m['content'][-1]['text'] == want and m['stop_reason'] == 'end_turn'


@pytest.mark.parametrize('choice', [None, {'type': 'any'}, {'type': 'tool', 'name': 'Bash'}])
def test_all_tools(server, choice):
    """Their schemas are understood, also where an answer has to follow one of them."""
    first, = recorded('all_tools')
    n_tools = len(first['body']['tools'])
    assert n_tools > 20
    if choice:
        r = recorded('round_trip')[0]
        m = ask(server, dict(r, body=r['body'] | {'tools': first['body']['tools'], 'tool_choice': choice}))
        assert [(b['name'], b['input']) for b in m['content'] if b['type'] == 'tool_use'] == [('Bash', COMMAND)]
    else:
        assert ask(server, first)['content'][0]['text'] == ANSWER
