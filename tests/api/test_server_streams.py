"""Answers over time: clients that go, wait, read slowly or come in crowds; failures, pings,
full queues, the end of the server.  What a stream must hold is what the script says."""
import concurrent.futures
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import selectors
import signal
import socket
import time

import pytest

from server_helper import NAME, SCRIPTED, Server, chat, sse

pytestmark = pytest.mark.skipif(not SCRIPTED.exists(), reason=f'{SCRIPTED} is not built')

LONG = 'The quick brown fox jumps over the lazy dog. '
RULES = [{'text': 'Hello, world!'},
         {'match': 'wait', 'text': 'x', 'prefill_ms': 60000},
         {'match': 'second', 'text': 'y', 'prefill_ms': 1000},
         {'match': 'stream', 'text': LONG, 'repeat': 1000, 'delay_ms': 20},
         {'match': 'flood', 'text': LONG, 'repeat': 3000},
         {'match': 'short', 'text': LONG, 'repeat': 3, 'delay_ms': 5}]
PATHS = ('/v1/chat/completions', '/v1/messages', '/api/chat', '/v1/responses', '/api/generate', '/v1/completions')


def body_for(path, text, **more):
    if path in ('/api/generate', '/v1/completions'):
        return {'model': NAME, 'prompt': text, **more}
    if path == '/v1/responses':
        return {'model': NAME, 'input': text, **more}
    return chat(text, **({'max_tokens': 100000} if path == '/v1/messages' else {}), **more)


@pytest.fixture(scope='module')
def server():
    with Server({'rules': RULES, 'slots': 2, 'queue': 3, 'ctx': 65536}) as s:
        yield s


# ---- clients that go ----

def is_quiet(server):
    server.wait_busy(0, 3)
    server.wait_metric('llamacpp:requests_deferred', 0, 3)
    server.wait_metric('turbine:exchanges', 1, 3)  # the request for the metrics themselves


@pytest.mark.parametrize('how', ['close', 'reset'])
@pytest.mark.parametrize('path', PATHS)
def test_gone_in_each_state(server, path, how):
    """While its prompt is read, while it streams, while it waits for all of the answer, and
    while it waits for its turn."""
    is_quiet(server)
    cancelled = server.metric('turbine:generations_total{outcome="cancelled"}')
    some = [server.send(path, body_for(path, 'wait', stream=True)),
            server.send(path, body_for(path, 'stream', stream=False))]
    server.wait_busy(2)
    some.append(server.send(path, body_for(path, 'stream', stream=True)))
    server.wait_metric('llamacpp:requests_deferred', 1)
    for s in some:
        if how == 'reset':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        s.close()
    is_quiet(server)
    with server.send(path, body_for(path, 'stream', stream=True)) as s:
        assert len(s.recv(100)) > 0
    is_quiet(server)
    assert server.metric('turbine:generations_total{outcome="cancelled"}') == cancelled + 4


def test_cancelled_at_once(server):
    with server.send('/v1/chat/completions', chat('wait')):
        server.wait_busy(1)
        start = time.monotonic()
    server.wait_busy(0)
    assert time.monotonic() - start < 5  # of 60 s


def test_gone_in_the_body(server):
    for _ in range(20):
        with server.connect() as s:
            s.sendall(b'POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"mod')
    is_quiet(server)


def test_others_do_not_notice(server):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        answer = pool.submit(server.post, '/v1/chat/completions', chat('short', stream=True))
        for _ in range(20):
            with contextlib.suppress(OSError), server.send('/v1/chat/completions', chat('stream', stream=True)) as s:
                s.recv(1)
        text = ''.join(json.loads(d)['choices'][0]['delta'].get('content') or ''
                       for _, d in sse(answer.result().text) if d != '[DONE]')
    assert text == LONG * 3
    is_quiet(server)


# ---- slow clients ----

def test_slow_reader_waits_for_itself(server):
    """Its answer stops in a bounded buffer; others go on."""
    with server.send('/v1/chat/completions', chat('flood', stream=True)) as s:
        server.wait_busy(1)
        before = None
        for _ in range(40):  # until the buffers on the way are full
            if (now := server.metric('llamacpp:tokens_predicted_total')) == before:
                break
            before = now
            time.sleep(0.3)
        assert now == before and server.metric('llamacpp:requests_processing') == 1
        assert server.post('/v1/chat/completions', chat()).status == 200
        got = bytearray()
        while b'[DONE]' not in got[-100:]:
            got += s.recv(1 << 20)
    words = re.findall(rb'"delta":\{"content":"([^"]*)"', bytes(got))
    assert b''.join(words).decode() == LONG * 3000
    is_quiet(server)


def test_who_takes_nothing_is_dropped():
    with Server({'rules': RULES}, '--write-ms', 800) as s:
        with s.send('/v1/chat/completions', chat('flood', stream=True)):
            s.wait_metric('turbine:generations_total{outcome="accepted"}', 1)
            s.wait_busy(0, 6)
            s.wait_metric('turbine:exchanges', 1)
        with s.send('/v1/chat/completions', chat('wait', stream=True)):
            time.sleep(2)  # there is nothing to take
            assert s.metric('llamacpp:requests_processing') == 1


# ---- pings ----

def test_pings():
    """While prompts are read for a second."""
    with Server({'rules': RULES, 'slots': len(PATHS)}, '--ping-ms', 300, '--workers', 8) as s:
        with concurrent.futures.ThreadPoolExecutor(len(PATHS)) as pool:
            replies = dict(zip(PATHS, pool.map(lambda p: s.post(p, body_for(p, 'second', stream=True)), PATHS)))
    for path, r in replies.items():
        assert r.status == 200, path
        if path == '/v1/messages':
            assert 1 <= r.text.count('event: ping') <= 5
            assert r.text.startswith('event: message_start')
        elif path.startswith('/v1/'):
            assert 1 <= len(re.findall('^:', r.text, re.M)) + r.text.count('event: ping') <= 5, path
        else:
            for line in r.text.strip().split('\n'):
                json.loads(line)


def test_no_pings_in_a_queue():
    """Who waits can still be told so by a status: nothing is sent before the answer runs."""
    rules = [*RULES, {'match': 'long', 'text': 'z', 'prefill_ms': 4000}]
    with Server({'rules': rules, 'slots': 1}, '--ping-ms', 300) as s:
        with s.send('/v1/chat/completions', chat('long')):
            s.wait_busy(1)
            r = s.post('/v1/messages', body_for('/v1/messages', 'second', stream=True))
    assert r.status == 200 and 1 <= r.text.count('event: ping') <= 5


# ---- queues ----

def test_full_queue(server):
    is_quiet(server)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(server.send('/v1/chat/completions', chat('wait', stream=True)))
        server.wait_metric('llamacpp:requests_deferred', 3)
        assert server.get('/readyz').status == 503 and server.get('/livez').status == 200
        r = server.post('/v1/chat/completions', chat(stream=True))
        assert r.status == 503 and int(r.headers['Retry-After']) > 0 and 'error' in r.json()
        assert r.headers['x-should-retry'] == 'true'
        r = server.post('/v1/messages', body_for('/v1/messages', 'hi', stream=True))
        assert r.status == 529 and r.json()['error']['type'] == 'overloaded_error' and r.headers['Retry-After']
        r = server.post('/api/chat', chat())
        assert r.status == 503
        assert r.json() == {'error': 'server busy, please try again.  maximum pending requests exceeded'}
        r = server.post('/v1/embeddings', {'model': NAME, 'input': ['a', 'b']})
        assert r.status == 503
        assert server.post('/v1/messages/count_tokens', chat()).status == 200  # not the engine's work
    is_quiet(server)
    assert server.get('/readyz').status == 200
    assert server.metric('turbine:rejected_total{reason="BUSY"}') >= 4


def test_choices_are_all_or_none(server):
    is_quiet(server)
    with server.send('/v1/chat/completions', chat('wait')):
        server.wait_busy(1)
        assert server.post('/v1/chat/completions', chat('wait', n=5)).status == 503
        server.wait_busy(1)
        server.wait_metric('llamacpp:requests_deferred', 0)
    is_quiet(server)


def test_queue_has_a_deadline():
    with Server({'rules': RULES, 'slots': 1, 'queue_ms': 300}) as s:
        with s.send('/v1/chat/completions', chat('wait')):
            s.wait_busy(1)
            r = s.post('/v1/chat/completions', chat(stream=True))
            assert r.status == 503 and r.headers['Retry-After']
            assert s.post('/v1/messages', body_for('/v1/messages', 'hi')).status == 529


# ---- the end ----

def test_drain_lets_answers_end():
    with Server(RULES, '--drain-ms', 8000) as s:
        with s.send('/v1/chat/completions', chat('short', stream=True), 'Connection: keep-alive\r\n') as c, \
                s.connect() as idle:
            idle.sendall(b'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n')
            got = c.recv(100)
            idle.recv(65536)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.1)
            with pytest.raises(OSError):
                s.connect()
            idle.sendall(b'POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}')
            refused = b''
            with contextlib.suppress(OSError):
                while piece := idle.recv(65536):
                    refused += piece
            assert b' 503 ' in refused and b'Retry-After' in refused
            while piece := c.recv(65536):
                got += piece
        assert b'[DONE]' in got
        assert s.process.wait(5) == 0


@pytest.mark.parametrize('path', PATHS)
def test_drain_ends_in_words(path):
    with Server(RULES, '--drain-ms', 300) as s:
        with s.send(path, body_for(path, 'stream', stream=True)) as c, s.send(path, body_for(path, 'wait',
                                                                                             stream=False)) as w:
            got = c.recv(100)
            s.wait_busy(2)
            start = time.monotonic()
            s.process.send_signal(signal.SIGTERM)
            while piece := c.recv(65536):
                got += piece
            whole = b''
            while piece := w.recv(65536):
                whole += piece
        assert b' 503 ' in whole[:20] or b' 529 ' in whole[:20]
        assert b'about to end' in got and b'about to end' in whole and b'[DONE]' not in got
        assert s.process.wait(5) == 0 and time.monotonic() - start < 4


def test_second_signal_ends_at_once():
    with Server(RULES) as s:
        with s.send('/v1/chat/completions', chat('wait')):
            s.wait_busy(1)
            s.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            assert s.process.poll() is None
            s.process.send_signal(signal.SIGTERM)
            assert s.process.wait(3) != 0


# ---- crowds ----

N_IDLE, N_STREAM, N_GONE = 1000, 50, 500


def read_streams(socks):
    """What each socket sends until it ends or [DONE]."""
    selector = selectors.DefaultSelector()
    out = {s: bytearray() for s in socks}
    for s in socks:
        selector.register(s, selectors.EVENT_READ)
    while selector.get_map():
        for key, _ in selector.select(20):
            piece = key.fileobj.recv(1 << 16)
            out[key.fileobj] += piece
            if not piece or b'[DONE]' in out[key.fileobj][-40:]:
                selector.unregister(key.fileobj)
    return list(out.values())


def without_ids(stream):
    """Without what differs from answer to answer: ids and times."""
    return re.sub(rb'"(id|created|timings)":("[^"]*"|\d+|\{[^}]*\})', b'', stream.split(b'\r\n\r\n', 1)[1])


def test_crowd():
    """Idle connections, equal streams, and clients that go whenever they like: the streams
    are byte for byte the same, and nothing is left."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    rules = [{'text': 'x'}, {'match': 'crowd', 'text': LONG, 'repeat': 6, 'delay_ms': 4}]
    rng = random.Random(1)
    with Server({'rules': rules, 'slots': N_STREAM * 2, 'queue': 1000, 'ctx': 1024}) as s:
        alone = s.post('/v1/chat/completions', chat('crowd', stream=True, stream_options={'include_usage': False}))
        files = len(os.listdir(f'/proc/{s.process.pid}/fd'))
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(s.connect()) for _ in range(N_IDLE)]
            streams = [stack.enter_context(s.send('/v1/chat/completions', chat(
                'crowd', stream=True, stream_options={'include_usage': False}))) for _ in range(N_STREAM)]
            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                answers = pool.submit(read_streams, streams)
                for _ in range(N_GONE):
                    body = chat('crowd', stream=rng.random() < 0.7, n=rng.choice((1, 1, 2)))
                    data = json.dumps(body).encode()
                    head = f'POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n'
                    data = head.encode() + data
                    with s.connect() as c:
                        c.sendall(data[:rng.randrange(len(data))] if rng.random() < 0.2 else data)
                        if rng.random() < 0.5:
                            time.sleep(rng.random() * 0.01)
                        if rng.random() < 0.3:
                            c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                answers = answers.result()
            assert s.metric('turbine:connections') >= N_IDLE
            # Sizes of chunks are those of moments: the events are what is compared.
            texts = {hashlib.sha256(without_ids(unchunk(a))).hexdigest() for a in answers}
            expected = without_ids(b'\r\n\r\n' + alone.body)
            assert texts == {hashlib.sha256(expected).hexdigest()}
            del idle
        is_quiet(s)
        s.wait_metric('turbine:connections', 1)
        assert len(os.listdir(f'/proc/{s.process.pid}/fd')) <= files + 1
        assert s.stop() == 0


def unchunk(stream):
    """The body of a chunked reply behind its head, up to [DONE]."""
    head, rest = bytes(stream).split(b'\r\n\r\n', 1)
    out = b''
    while rest:
        size, rest = rest.split(b'\r\n', 1)
        n = int(size, 16)
        out += rest[:n]
        rest = rest[n + 2:]
        if not n:
            break
    return b'\r\n\r\n' + out
