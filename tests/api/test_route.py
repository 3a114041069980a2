"""turbine route against backends that behave, and that do not."""
import json
import random
import socket
import subprocess
import threading
import time

import pytest
from fault_backend import (TEXT, WORDS, Backend, Fault, anthropic_events, document, ollama_events, openai_events)
from route_helper import TURBINE, Router, chat, wait

SANITIZED = '/san-' in str(TURBINE)

PATHS = ['/v1/chat/completions', '/v1/messages', '/api/chat']
EVENTS = {'/v1/chat/completions': openai_events, '/v1/messages': anthropic_events, '/api/chat': ollama_events}


def body(path, text='hi', **more):
    return chat(text, **({'max_tokens': 100} if path == '/v1/messages' else {}), **more)


def is_error(path, value):
    """Whether this is an error as the dialect writes it."""
    e = value.get('error')
    if path == '/api/chat':
        return isinstance(e, str) and e
    if path == '/v1/messages':
        return value.get('type') == 'error' and isinstance(e, dict) and e.get('type') and e.get('message')
    return isinstance(e, dict) and isinstance(e.get('message'), str) and e.get('type')


def outcome(path, reply, stream, model='m'):
    """'right', or 'error' before the first byte, or 'broken' in a stream; anything else fails the test."""
    if not stream:
        value = json.loads(reply.body)
        if reply.status == 200:
            assert value == document(path, model)
            return 'right'
        assert is_error(path, value), value
        return 'error'
    if reply.status != 200:
        assert is_error(path, json.loads(reply.body)), reply.body
        return 'error'
    events = EVENTS[path](model)
    whole = b''.join(events)
    if reply.body == whole:
        return 'right'
    # What came is a beginning of whole events, then one error, then nothing.
    n = 0
    while n < len(events) and reply.body.startswith(b''.join(events[:n + 1])):
        n += 1
    assert n < len(events), 'the end mark, and more behind it'
    rest = reply.body[len(b''.join(events[:n])):].decode()
    assert n, rest
    if path == '/api/chat':
        assert rest.endswith('\n') and is_error(path, json.loads(rest)), rest
    else:
        lines = rest.strip('\n').split('\n')
        assert rest.endswith('\n\n') and '' not in lines, rest
        data = [x[6:] for x in lines if x.startswith('data: ')]
        assert len(data) == 1 and is_error(path, json.loads(data[0])), rest
    return 'broken'


# ---- bytes ----

@pytest.mark.parametrize('path', PATHS)
def test_streams_pass_byte_for_byte(path):
    odd = EVENTS[path]('m')
    if path != '/api/chat':  # comments, CR LF, long events, and pieces that are no events
        odd = [b': a comment\n\n', *odd[:2], b'data:{"choices":[]}\r\n\r\n' if 'chat' in path else b': x\r\n\r\n',
               b': ' + b'y' * 100000 + b'\n\n', *odd[2:]]
    with Backend(events=lambda p: odd) as b, Router('--short', b.url) as r:
        r.wait_known()
        reply = r.post(path, body(path, stream=True))
        assert (reply.status, reply.body) == (200, b''.join(odd))
        assert reply.headers['X-Turbine-Backend'] == b.url and 'X-Turbine-Fallback' not in reply.headers
        assert r.post(path, body(path, stream=False)).json() == document(path)


def test_bodies_and_headers_pass():
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        raw = b'{ "messages" : [{"role":"user","content":"\\u00e9  \xc3\xa9"}],\n "x":1.50, "model":"m" }'
        r.post('/v1/chat/completions', raw, {
            'Authorization': 'Bearer of-the-client', 'x-api-key': 'likewise', 'User-Agent': 'me/1', 'Cookie': 'a=b',
            'Connection': 'keep-alive, X-Hop', 'X-Hop': '1', 'anthropic-version': '2023-06-01'})
        _, headers, got = b.requests[-1]
        assert got == raw
        assert headers['user-agent'] == 'me/1' and headers['x-request-id'].startswith('req_')
        assert not {'authorization', 'x-api-key', 'cookie', 'x-hop', 'anthropic-version', 'expect'} & set(headers)
        r.post('/v1/messages?beta=true', body('/v1/messages'), {'anthropic-beta': 'a,b'})
        assert b.requests[-1][1]['anthropic-beta'] == 'a,b' and b.requests[-1][1]['anthropic-version']


def test_model_names_are_mapped():
    with Backend(models=['big', 'small']) as b:
        config = f'backend {b.url}\n model nice big\n model "*" small\n'
        with Router(config=config) as r:
            r.wait_known()
            raw = '{"messages":[{"role":"user","content":"\\"model\\":\\"nice\\""}],"model": "nice@short" , "z":[1]}'
            assert r.post('/v1/chat/completions', raw).status == 200
            assert b.requests[-1][2].decode() == raw.replace('"nice@short"', '"big"')
            r.post('/v1/chat/completions', raw.replace('nice@short', 'other').replace('"model": ', '"mod\\u0065l": '))
            assert json.loads(b.requests[-1][2])['model'] == 'small'
            assert [m['id'] for m in r.get('/v1/models').json()['data']] == ['nice']
        with Router('--short', b.url) as r:
            r.wait_known()
            reply = r.post('/v1/chat/completions', {**chat(), 'model': 'nope'})
            assert reply.status == 404 and reply.json()['error']['code'] == 'model_not_found'
            assert r.post('/v1/chat/completions', {**chat(), 'model': 'big'}).status == 200


# ---- lanes ----

def test_short_and_long():
    with Backend() as short, Backend(n_ctx=200000, hybrid=True) as long:
        with Router('--short', short.url, '--long', long.url) as r:
            r.wait_known(2)
            ask = lambda text, headers=None, **more: r.post(  # noqa: E731
                '/v1/chat/completions', chat(text, **more), headers).headers['X-Turbine-Backend']
            assert ask('hi') == short.url
            assert ask('one two three ' * 10000) == long.url
            assert ask('hi', model='m@long') == long.url
            assert ask('hi', {'X-Turbine-Route': 'long'}) == long.url
            assert ask('hi', options={'route': 'long'}) == long.url
            tools = [{'type': 'function', 'function': {'name': f'f{i}', 'description': 'word ' * 100}}
                     for i in range(200)]
            assert ask('hi', tools=tools) == long.url
            # A conversation stays where it is, until it is much shorter.
            session = {'X-OpenWebUI-Chat-Id': 'a'}
            assert ask('word ' * 20000, session) == long.url
            assert ask('word ' * 12000, session) == long.url
            reply = r.post('/v1/chat/completions', chat('word ' * 400000))
            assert reply.status == 400 and reply.json()['error']['code'] == 'context_length_exceeded'
            assert r.post('/v1/messages', body('/v1/messages', 'word ' * 400000)).json()['error']['message'].startswith(
                'prompt is too long: ')


def test_near_the_threshold_it_is_counted():
    """By the backend: an estimate says 16,000 or so, the count decides."""
    with Backend(n_ctx=50000) as short, Backend(n_ctx=200000, hybrid=True) as long:
        with Router('--short', short.url, '--long', long.url) as r:
            r.wait_known(2)
            counts = lambda: sum(p.endswith('count_tokens') for b in (short, long) for p, _, _ in b.requests)  # noqa: E731
            # What a backend speaks is known a little after what models it has.
            wait(lambda: r.post(PATHS[0], chat('count-me-15000 ' + 'word ' * 15400)).status == 200 and counts() == 1, 10)
            for n, url in ((15000, short.url), (17000, long.url), (15999, short.url), (16001, long.url)):
                reply = r.post(PATHS[0], chat(f'count-me-{n} ' + 'word ' * 15400))
                assert (reply.status, reply.headers['X-Turbine-Backend']) == (200, url), n
            assert counts() == 5
            n = len(short.requests + long.requests)
            assert r.post(PATHS[0], chat('far from it')).status == 200
            assert len(short.requests + long.requests) == n + 1  # nothing to count


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('dialects', ['openai', 'openai anthropic ollama'])
def test_the_first_of_an_answer_is_text(path, dialects):
    """A role, a ping or an empty block that comes at once says nothing of how fast a backend reads prompts."""
    role = [b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}\n\n']
    start = [b': ping\n\n'] if path == '/v1/messages' else [b'\n'] if path == '/api/chat' else []

    def events(asked):
        return (role if asked == PATHS[0] else start) + EVENTS[asked]()
    with Backend(events=events, pace=0.3) as b, Router(config=f'backend {b.url}\n dialects {dialects}\n') as r:
        r.wait_known()
        s = r.send(path, body(path, stream=True))
        wait(lambda: r.backend(b.url)['first_byte_ms'] > 0)
        # Anthropic's first text is behind the ping, the message's start and the block's.
        ms = 890 if (path, 'anthropic' in dialects) == ('/v1/messages', True) else 290
        assert ms < r.backend(b.url)['first_byte_ms'] < ms + 290
        s.close()
        wait(lambda: any(e['path'] == path for e in r.events('request')))
        assert ms < [e for e in r.events('request') if e['path'] == path][0]['first_ms'] < ms + 290


def test_fallback_is_seen_by_the_operator_alone():
    with Backend(n_ctx=100000) as short, Backend(n_ctx=200000) as long:
        with Router('--short', short.url, '--long', long.url) as r:
            r.wait_known(2)
            long.kill()
            text = 'word ' * 30000
            reply = r.post('/v1/chat/completions', chat(text, stream=True))
            assert reply.body == b''.join(openai_events())
            assert reply.headers['X-Turbine-Backend'] == short.url
            assert reply.headers['X-Turbine-Fallback'].startswith(('retry-', 'down'))
            # Too long for who is left: never cut, never sent there.
            n = len(short.requests)
            reply = r.post('/v1/chat/completions', chat('word ' * 150000))
            assert reply.status in (400, 503) and len(short.requests) == n, reply.body
            assert 'fallback' in r.events('request')[-2]
            metrics = r.get('/metrics').body.decode()
            assert 'turbine_route:backend_failed_total{backend="%s",reason="connect"}' % long.url in metrics
            assert r.backend(long.url)['health'] == 'down'
            long.revive()
            wait(lambda: r.backend(long.url)['health'] != 'down', 15)
            assert r.post('/v1/chat/completions', chat(text)).headers['X-Turbine-Backend'] == long.url


# ---- errors ----

ERRORS = [
    (Fault('reset'), None), (Fault('close'), None), (Fault('header'), 502), (Fault('garbage'), 502),
    (Fault('status', status=500), 500), (Fault('status', status=503, headers=[('Retry-After', '7')]), 503),
    (Fault('status', status=429, headers=[('Retry-After', '7')]), 429), (Fault('redirect'), 502),
    (Fault('html'), 502), (Fault('status', status=401), 502), (Fault('status', status=502, body=b'<html>'), 502),
    (Fault('cut', at=30), 502), (Fault('short'), 502), (Fault('long'), 502), (Fault('garbage-body'), 502),
    (Fault('gzip'), 502), (Fault('events'), 502),
    (Fault('status', status=200, body={'error': {'message': 'no', 'type': 'server_error'}}), 502),
    (Fault('status', status=200, body={}), 502),
    (Fault('status', status=200, body={'choices': [], 'content': None, 'usage': {}}), 502),
]


@pytest.mark.parametrize('path', PATHS)
@pytest.mark.parametrize('fault,status', ERRORS, ids=str)
def test_one_backend_fails(path, fault, status):
    """With nobody else to ask each fault is a typed error, or the answer of a second try on a fresh connection."""
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        b.faults = [fault] * 3
        reply = r.post(path, body(path, stream=False))
        assert outcome(path, reply, False) == 'error'
        assert status is None or reply.status in (status, 529 if status == 503 else status, 503 if status == 429 else
                                                  status, 502 if status == 500 else status), reply.body
        if fault.headers:
            assert reply.headers['Retry-After'] == '7'


@pytest.mark.parametrize('path', PATHS)
def test_the_words_of_an_error_at_the_start_of_a_stream(path):
    """If nobody else answers, the client hears what the backend said."""
    words = {'error': {'message': 'the {model} is on fire', 'type': 'server_error'}}
    event = {'/v1/chat/completions': b'data: %s\n\n', '/v1/messages': b'event: error\ndata: %s\n\n',
             '/api/chat': b'%s\n'}[path]
    if path == '/v1/messages':
        words['type'] = 'error'
    if path == '/api/chat':
        words = {'error': words['error']['message']}
    with Backend(events=lambda p: [event % json.dumps(words).encode()]) as b, Router('--short', b.url) as r:
        r.wait_known()
        reply = r.post(path, body(path, stream=True))
        assert reply.status >= 500 and is_error(path, reply.json()) and 'the {model} is on fire' in reply.text
    with Backend(events=lambda p: [event % json.dumps(words).encode()]) as b, Backend() as other, \
            Router('--short', f'{b.url},{other.url}') as r:
        r.wait_known(2)
        replies = [r.post(path, body(path, f'{i} is another', stream=True)) for i in range(12)]
        assert all(x.status == 200 and 'fire' not in x.text for x in replies)
        assert sum(x.headers.get('X-Turbine-Fallback') == 'retry-status' for x in replies) == \
            sum(p == path for p, _, _ in b.requests)


@pytest.mark.parametrize('kind', ['close', 'reset'])
@pytest.mark.parametrize('path', PATHS)
def test_nothing_is_sent_twice_unseen(path, kind):
    """A connection that was kept closes without an answer: that the request is asked again is the router's to
    decide, to count and to say."""
    with Backend() as b, Backend() as other, Router('--short', b.url) as alone, \
            Router('--short', f'{b.url},{other.url}') as both:
        alone.wait_known()
        both.wait_known(2)

        def asked():
            return sum(p == path for x in (b, other) for p, _, _ in x.requests)
        assert alone.post(path, body(path)).status == 200
        b.faults = [Fault(kind)]
        n = asked()
        reply = alone.post(path, body(path))
        assert reply.status == 502 and is_error(path, reply.json()) and asked() == n + 1
        wait(lambda: both.backend(b.url)['health'] == 'up')
        fallback = None
        for _ in range(8):  # most go where the one before went
            last = both.post(path, body(path)).headers['X-Turbine-Backend']
            (b if last == b.url else other).faults = [Fault(kind)]
            n = asked()
            reply = both.post(path, body(path))
            assert reply.status == 200
            fallback = reply.headers.get('X-Turbine-Fallback')
            assert asked() == n + (2 if fallback else 1)
            b.faults, other.faults = [], []
            if fallback:
                break
        assert fallback == 'retry-cut'


@pytest.mark.parametrize('path', PATHS)
def test_the_last_attempt_is_what_is_told(path):
    """One backend lacks the model, the other has it and breaks: the client may try again."""
    words = {'error': 'no such model'} if path == '/api/chat' else {
        'type': 'error', 'error': {'message': 'no such model', 'type': 'not_found_error'}}
    with Backend() as b, Backend() as other, Router(
            config=f'health-interval 1\nbackend {b.url}\n class short\nbackend {other.url}\n class short\n') as r:
        r.wait_known(2)
        missing, cut = Fault('status', status=404, body=words), Fault('reset')
        seen = set()
        for n in range(12):
            b.faults, other.faults = [missing], [cut]
            wait(lambda: {r.backend(x.url)['health'] for x in (b, other)} == {'up'}, 30)
            before = len(b.requests), len(other.requests)
            reply = r.post(path, body(path, f'{n} hello'))
            order = (len(b.requests) - before[0], len(other.requests) - before[1])
            seen.add((order, reply.status))
            if order == (1, 1):
                assert reply.status in (404, 502), reply.body
                if reply.status == 502:
                    break
        assert ((1, 1), 502) in seen, seen


@pytest.mark.parametrize('path', PATHS)
def test_errors_of_the_client_pass(path):
    words = {'error': {'message': 'temperature is odd', 'type': 'invalid_request_error', 'param': 'temperature'}}
    if path == '/v1/messages':
        words['type'] = 'error'
    if path == '/api/chat':
        words = {'error': 'temperature is odd'}
    with Backend() as b, Backend() as other, Router('--short', f'{b.url},{other.url}') as r:
        r.wait_known(2)
        b.faults = other.faults = [Fault('status', status=400, body=words)]
        reply = r.post(path, body(path))
        assert (reply.status, reply.json()) == (400, words)
        assert len(b.requests) + len(other.requests) == 1  # not tried elsewhere


@pytest.mark.parametrize('path', PATHS)
def test_cut_at_every_byte(path):
    """Of a recorded stream: whole events, then one error of the dialect, never the end mark."""
    events = EVENTS[path](words=WORDS[:3])
    whole = b''.join(events)
    results = {'right': 0, 'broken': 0, 'error': 0}
    with Backend(events=lambda p: events) as b:
        # One backend, so that nothing hides a cut; it is never ejected, being the last.
        with Router(config=f'retry-percent 0\nbackend {b.url}\n model m\n') as r:
            r.wait_known()
            for kind in ('cut', 'cut-close'):
                for at in range(0, len(whole), 1 if kind == 'cut' else 7):
                    b.faults = [Fault(kind, at=at)]
                    reply = r.post(path, body(path, stream=True))
                    while reply.status == 503:  # it is down for a moment
                        time.sleep(0.05)
                        b.faults = [Fault(kind, at=at)]
                        reply = r.post(path, body(path, stream=True))
                    if reply.status != 200:
                        assert is_error(path, reply.json())
                        results['error'] += 1
                        continue
                    if reply.body == whole:  # only the end of its last line was missing
                        assert at >= len(whole) - 2
                        continue
                    n = sum(1 for i in range(len(events)) if len(b''.join(events[:i + 1])) <= at)
                    assert reply.body.startswith(b''.join(events[:n])), (at, reply.body)
                    rest = reply.body[len(b''.join(events[:n])):]
                    assert rest and b'DONE' not in rest and b'message_stop' not in rest and b'"done": true' not in rest
                    results['broken'] += 1
    assert results['broken'] > len(whole) / 2, results


def make_faults(n, seed):
    rng = random.Random(seed)
    kinds = (['reset', 'close', 'header', 'garbage', 'redirect', 'html', 'status', 'slow'] +
             ['cut', 'cut', 'cut-close', 'garbage-body', 'no-end', 'short', 'long'] * 2)
    out = [Fault(rng.choice(kinds), at=rng.randrange(1 << 20), seconds=0.05, status=rng.choice([500, 502, 503, 504, 429]))
           for _ in range(n - 24)]
    out += [Fault(k, at=rng.randrange(1 << 20), seconds=3) for k in ['stall', 'stall-body'] * 12]
    rng.shuffle(out)
    return out


def test_500_faults():
    """Of two backends, in three dialects, streams and documents: each request ends in the right answer or in an
    error of its dialect."""
    faults = [f for fault in make_faults(500, 1) for f in (fault, None)]
    results = {'right': 0, 'broken': 0, 'error': 0}
    lock = threading.Lock()
    with Backend() as a, Backend() as b, Router(config='first-timeout 1\nidle-timeout 1\nretry-percent 100\n' + ''.join(
            f'backend {x.url}\n model m\n' for x in (a, b))) as r:
        r.wait_known(2)
        a.faults = b.faults = faults  # of whoever is asked

        def ask(seed):
            rng = random.Random(seed)
            while a.faults or b.faults:
                path, stream = rng.choice(PATHS), rng.random() < 0.7
                reply = r.post(path, body(path, f'{rng.random()}', stream=stream))
                got = outcome(path, reply, stream)
                with lock:
                    results[got] += 1
                if reply.status == 503:
                    time.sleep(0.1)
        failures = []

        def work(seed):
            try:
                ask(seed)
            except BaseException as e:
                failures.append(e)
                raise
        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for t in threads:
            t.start()
        end = time.monotonic() + 240
        for t in threads:
            t.join(max(0, end - time.monotonic()))
        assert not any(t.is_alive() for t in threads) and not failures, failures
        assert not a.faults
        assert results['right'] > 300 and results['broken'] > 50, results
        wait(lambda: r.status()['active'] == 1)
        assert all(x['in_flight'] == 0 for x in r.status()['backends'])
        print(results)


def test_tls_errors(tmp_path):
    key, cert = tmp_path / 'k.pem', tmp_path / 'c.pem'
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, '-days', '2',
                    '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1'], check=True, capture_output=True)
    with Backend(tls=(cert, key)) as b:
        with Router('--short', b.url) as r:  # nobody vouches for it
            for path in PATHS:
                reply = r.post(path, body(path, stream=True))
                assert reply.status in (502, 503, 529) and is_error(path, reply.json()), reply.body
            assert b.requests == []
        with Router(config=f'backend {b.url}\n model m\n ca {cert}\n') as r:
            assert r.post(PATHS[0], body(PATHS[0])).json() == document(PATHS[0])
    with Backend() as plain:  # speaks no TLS
        with Router('--short', plain.url.replace('http', 'https')) as r:
            assert r.post(PATHS[0], chat()).status in (502, 503)


# ---- streams ----

def test_cancellation():
    """A client that leaves takes its request at the backend with it, at once."""
    events = openai_events(words=WORDS * 100)
    with Backend(events=lambda p: events, pace=0.05) as b, Router('--short', b.url) as r:
        r.wait_known()
        sockets = [r.send(PATHS[0], chat(f'{i}', stream=True)) for i in range(8)]
        for s in sockets:
            assert b'alpha' in s.recv(4096) + s.recv(4096)
        assert r.backend(b.url)['in_flight'] == 8
        start = time.monotonic()
        for s in sockets:
            s.close()
        wait(lambda: b.cancelled == 8)
        assert time.monotonic() - start < 5  # of 40 s
        wait(lambda: r.backend(b.url)['in_flight'] == 0)
        assert r.backend(b.url)['failed'] == {'client': 8} and r.backend(b.url)['health'] == 'up'


def test_client_leaves_before_the_answer():
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        b.faults = [Fault('stall', seconds=5)]
        s = r.send(PATHS[0], chat())
        wait(lambda: r.backend(b.url)['in_flight'] == 1)
        s.close()
        wait(lambda: r.backend(b.url)['in_flight'] == 0, 2)


@pytest.mark.parametrize('path,mark', [(PATHS[0], b'data: [DONE]\n\n'), (PATHS[1], b'"message_stop"}\n\n'),
                                       (PATHS[2], b'"done": true')])
def test_client_leaves_behind_the_end_mark(path, mark):
    """As OpenAI's own does, before the backend closes the stream: it has its answer."""
    with Backend(events=lambda p: EVENTS[path](words=WORDS[:1]), pace=0.4) as b, Router('--short', b.url) as r:
        r.wait_known()
        s, got = r.send(path, body(path, stream=True)), b''
        while mark not in got:
            piece = s.recv(65536)
            assert piece, got
            got += piece
        s.close()
        wait(lambda: r.backend(b.url)['in_flight'] == 0)
        wait(lambda: any(e['path'] == path for e in r.events('request')))
        assert [e['status'] for e in r.events('request') if e['path'] == path] == [200]
        assert r.backend(b.url)['finished'] == 1 and not r.backend(b.url)['failed'] and not r.status()['clients_gone']


def test_backpressure():
    """A client that does not read stops the backend, and memory stays bounded."""
    big = [b'data: {"x":"' + b'y' * 60000 + b'"}\n\n'] * 1000 + [b'data: [DONE]\n\n']
    with Backend(events=lambda p: big) as b, Router('--short', b.url) as r:
        r.wait_known()
        r.post(PATHS[0], chat(stream=True))  # what a stream needs is there
        before = r.rss()
        sockets = [r.send(PATHS[0], chat(f'{i}', stream=True), receive_buffer=65536) for i in range(8)]
        time.sleep(1.5)
        sent = len(b.sent)
        time.sleep(0.5)
        assert len(b.sent) == sent  # it waits
        assert SANITIZED or r.rss() - before < 8 << 20  # they keep what was freed
        n, last = 0, b''
        while not last.endswith(b'0\r\n\r\n'):
            piece = sockets[0].recv(1 << 20)
            n, last = n + len(piece), (last + piece)[-100:]
        assert n > sum(map(len, big)) and b'[DONE]' in last
        for s in sockets:
            s.close()


def test_a_thousand_streams():
    """Open at once: all of them go on, in under 200 MB."""
    events = openai_events(words=WORDS[:4])
    with Backend(events=lambda p: events, pace=1.2) as b, Router('--short', b.url, '--quiet') as r:
        r.wait_known()
        sockets = [r.send(PATHS[0], chat(f'{i}', stream=True)) for i in range(1000)]
        wait(lambda: r.backend(b.url)['in_flight'] == 1000, 20)
        wait(lambda: len(b.sent) >= 1000, 20)
        time.sleep(0.5)
        rss = r.rss()
        print('resident:', rss >> 20, 'MiB')
        assert rss < 200_000_000
        for s in sockets[:50]:
            got = b''
            while not got.endswith(b'0\r\n\r\n'):
                piece = s.recv(65536)
                assert piece, got
                got += piece
            assert b'[DONE]' in got
        for s in sockets:
            s.close()
        wait(lambda: r.backend(b.url)['in_flight'] == 0, 10)


def test_connections_are_used_again():
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        for i in range(30):
            assert r.post(PATHS[0], chat(f'{i}')).status == 200
        assert len(b.writers) <= 3


def test_drain():
    events = openai_events(words=WORDS)
    with Backend(events=lambda p: events, pace=0.1) as b, Router('--short', b.url) as r:
        r.wait_known()
        s = r.send(PATHS[0], chat(stream=True))
        wait(lambda: r.backend(b.url)['in_flight'] == 1)
        r.process.terminate()
        got = b''
        while piece := s.recv(65536):
            got += piece
        assert b'[DONE]' in got
        assert r.process.wait(5) == 0
    with Backend(events=lambda p: openai_events(words=WORDS * 100), pace=0.1) as b:
        with Router('--short', b.url, '--drain', '1') as r:
            r.wait_known()
            s = r.send(PATHS[0], chat(stream=True))
            wait(lambda: r.backend(b.url)['in_flight'] == 1)
            r.process.terminate()
            got = b''
            while piece := s.recv(65536):
                got += piece
            assert b'server_shutting_down' in got and b'[DONE]' not in got
            assert r.process.wait(5) == 0


# ---- who may ----

def test_access(tmp_path):
    key = tmp_path / 'alice'
    key.write_text('secret-of-alice\n')
    key.chmod(0o600)
    with Backend(key='backend-key') as b:
        own = tmp_path / 'own'
        own.write_text('backend-key')
        own.chmod(0o600)
        config = f'client-key alice file:{key}\nclient-key bob env:BOB_KEY\nbackend {b.url}\n key file:{own}\n model m\n'
        with Router(config=config, env={'BOB_KEY': 'secret-of-bob'}) as r:
            for path in ('/v1/models', '/metrics', '/route/status', '/health'):
                assert r.get(path).status == 401
            assert r.get('/livez').status == 200
            assert r.post(PATHS[0], chat()).status == 401
            assert r.post(PATHS[0], chat(), {'Authorization': 'Bearer wrong'}).status == 401
            assert r.post(PATHS[0], chat(), {'Authorization': 'Bearer secret-of-alice'}).status == 200
            assert b.requests[-1][1]['authorization'] == 'Bearer backend-key'
            reply = r.post(PATHS[1], body(PATHS[1]), {'x-api-key': 'secret-of-bob'})
            assert reply.status == 200 and b.requests[-1][1]['x-api-key'] == 'backend-key'
            assert [e.get('client') for e in r.events('request')][-2:] == ['alice', 'bob']
            assert r.request('GET', '/v1/models', headers={'Host': 'evil.example',
                                                           'Authorization': 'Bearer secret-of-bob'}).status == 403
            log = r.log()
            for secret in ('secret-of', 'backend-key'):
                assert secret not in log and secret not in r.get(
                    '/route/status', {'Authorization': 'Bearer secret-of-bob'}).body.decode()
        with Router('--short', b.url) as r:
            assert r.request('GET', '/livez', headers={'Host': 'evil.example'}).status == 403
            assert r.request('GET', '/livez', headers={'Origin': 'https://evil.example'}).status == 403
    done = subprocess.run([TURBINE, 'route', '--host', '0.0.0.0', '--port', '0', '--short', 'http://127.0.0.1:1'],
                          capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and 'API key' in done.stderr


def test_limits():
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        for raw, status in ((b'', 400), (b'{', 400), (b'[]', 400), (b'{"a":1,"a":2}', 400),
                            (b'{"m":' + b'[' * 100 + b']' * 100 + b'}', 400), (b'{"model":3}', 400),
                            (json.dumps({'model': 'x' * 600}).encode(), 400)):
            reply = r.post(PATHS[0], raw)
            assert reply.status == status and is_error(PATHS[0], reply.json())
        assert r.get('/v1/chat/completions').status == 405
        assert r.post('/nothing', {}).status == 404
        with r.send(PATHS[0], {}, headers='') as s, socket.socket():
            s.recv(100)
        assert b.requests == [] or all(p == PATHS[0] for p, _, _ in b.requests)


def test_environment_proxies_do_not_apply():
    with Backend() as b:
        env = {'http_proxy': 'http://127.0.0.1:9', 'HTTP_PROXY': 'http://127.0.0.1:9', 'ALL_PROXY': 'http://127.0.0.1:9'}
        with Router('--short', b.url, env=env) as r:
            r.wait_known()
            assert r.post(PATHS[0], chat()).json()['choices'][0]['message']['content'] == TEXT
