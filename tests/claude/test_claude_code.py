"""Claude Code itself against the server, whose model is a script: `make check-claude`."""
import json
import os
import re
import select
import socket
import subprocess
import threading
import urllib.parse

import pytest
from claude_code import Claude
from clients_helper import Server, call, serve
from store_helper import TURBINE

ECHO = 'Run echo turbine-42 and tell me what it printed.'
PRINTED = 'It printed turbine-42.'
HELLO = 'Say hello, this is the first question.'
ANSWER = 'Hello, this is an answer.'
NEXT = 'And this is the second question.'
RULES = [
    {'match': '<tool_response>\nturbine-42', 'text': PRINTED},
    {'match': ECHO, 'text': 'I will run it.\n' + call('Bash', command='echo turbine-42', description='Print')},
    {'match': 'CRITICAL: Respond with TEXT ONLY', 'text': '<analysis>Short.</analysis>\n'
        '<summary>The user said hello and was greeted.</summary>'},
    {'text': ANSWER},
]


@pytest.fixture
def server():
    yield from serve(RULES, ctx=65536, name='mymodel')


@pytest.fixture
def claude(server):
    c = Claude(server.url, n_ctx=65536)
    yield c
    c.close()


def ask(claude, prompt, *args):
    """(text, [tokens of the prompts, how many of them had been read before]) of one turn."""
    done = claude.ask(prompt, '--output-format', 'json', *args)
    assert done.returncode == 0, done.stdout + done.stderr
    r = json.loads(done.stdout)
    u = r['usage']
    assert not r['is_error'], done.stdout
    return r['result'], u['input_tokens'] + u['cache_read_input_tokens'] + u['cache_creation_input_tokens'], \
        u['cache_read_input_tokens']


@pytest.mark.parametrize('suffix', ['', '/v1'])
def test_round_trip_and_another_session(server, suffix):
    claude = Claude(server.url + suffix, n_ctx=65536)
    try:
        text, n_prompt, n_cached = ask(claude, ECHO, '--allowedTools', 'Bash')
        assert text == PRINTED
        # Two prompts, the first is a prefix of the second.
        assert n_cached >= 0.45 * n_prompt
        text, n_prompt, n_cached = ask(claude, HELLO, '--allowedTools', 'Bash')
        # Tools, which come first, are 0.67 of it; with the system text, 0.81.
        assert text == ANSWER and n_cached >= 0.75 * n_prompt
    finally:
        claude.close()


@pytest.mark.parametrize('n_ctx', [32768, 65536])
def test_launch(n_ctx):
    """`turbine launch` sets all that is needed, also that a short context is not compacted before
    each answer."""
    server = Server(RULES, ctx=n_ctx, name='mymodel')
    user = Claude(server.url)
    env = {'PATH': f'{user.program.parent}:{os.environ["PATH"]}', 'HOME': str(user.home), 'TERM': 'xterm-256color',
           'TURBINE_HOST': server.url}
    try:
        for more, turns in (['--allowedTools', 'Bash'], 2), (['--continue'], 1):
            done = subprocess.run([TURBINE, 'launch', 'claude', '--', '-p', ECHO if turns == 2 else NEXT, *more,
                                   '--output-format', 'json'], env=env, cwd=user.work, stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stdout + done.stderr
            r = json.loads(done.stdout)
            assert r['result'] == PRINTED and r['num_turns'] == turns and 'compact"' not in done.stderr
            # By this model alone, in its context.
            assert set(r['modelUsage']) == {'mymodel'} and r['modelUsage']['mymodel']['contextWindow'] == n_ctx
            assert r['usage']['cache_read_input_tokens'] > 5000
    finally:
        user.close()
        assert server.stop() == 0


def test_overflow_and_compaction(claude):
    """The history outgrows the context: the client is refused, compacts, and goes on."""
    _, n_prompt, _ = ask(claude, HELLO)
    small = Server(RULES, ctx=n_prompt + 3000, name='mymodel')
    other = Claude(small.url, n_ctx=200_000)
    try:
        assert ask(other, HELLO + ' word' * 2200)[0] == ANSWER
        text, n_next, _ = ask(other, NEXT + ' word' * 1000, '--continue')
        assert text == ANSWER
    finally:
        other.close()
        assert small.stop() == 0


class Cutting:
    """Between a client and the server: the first connection that has carried so many bytes of
    an answer is cut."""

    def __init__(self, url, n_bytes):
        where = urllib.parse.urlsplit(url)
        self.target, self.n_bytes, self.n_cut = (where.hostname, where.port), n_bytes, 0
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'http://127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        n = 0
        with client, socket.create_connection(self.target) as server:
            while True:
                for s in select.select([client, server], [], [])[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    (server if s is client else client).sendall(data)
                    n += len(data) if s is server else 0
                if n > self.n_bytes and not self.n_cut:
                    self.n_cut += 1
                    return


def test_a_stream_that_breaks(server):
    # Behind the head and message_start, in front of the end.
    proxy = Cutting(server.url, 300)
    claude = Claude(proxy.url, n_ctx=65536)
    try:
        assert ask(claude, HELLO)[0] == ANSWER and proxy.n_cut == 1
    finally:
        claude.close()
        proxy.listener.close()


def test_context_on_a_terminal(claude):
    t = claude.terminal()
    try:
        assert t.until(lambda: '❯' in t.text, 30), t.text
        t.read(2)
        t.type(HELLO)
        t.read(0.5)
        t.type('\r')
        assert t.until(lambda: ANSWER.split()[-1] in t.text, 30), t.text
        t.read(2)
        t.type('/context')
        t.read(1)
        t.type('\r')
        shown = lambda: re.sub(r'\x1b\[[0-9;?<>=]*[a-zA-Z]|\s', '', t.text)
        assert t.until(lambda: re.search(r'k/65\.5ktokens\(', shown()), 30), shown()[-3000:]
        assert 'Error' not in shown().split('Contextusage')[-1]
    finally:
        t.close()


@pytest.mark.parametrize('ping_ms, n_given_up', [(1000, 0), (60_000, 1)])
def test_long_prompts(ping_ms, n_given_up):
    """While a prompt is read, pings keep a client that would give up 10 s of silence (the least
    that it takes); without them it does, the server stops, and all is asked again."""
    rules = [*RULES, {'match': HELLO, 'text': ANSWER, 'prefill_ms': 14_000}]
    s = Server(rules, '--ping-ms', ping_ms, ctx=65536, name='mymodel')
    claude = Claude(s.url, n_ctx=65536, CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS='10000', CLAUDE_ENABLE_BYTE_WATCHDOG='1')
    try:
        done = claude.ask(HELLO)
        assert n_given_up or (done.returncode == 0 and ANSWER in done.stdout), done.stdout + done.stderr
        outcome = lambda name: s.metric(f'turbine:generations_total{{outcome="{name}"}}')
        assert outcome('cancelled') >= n_given_up and outcome('accepted') > n_given_up
        assert n_given_up or (outcome('cancelled'), outcome('accepted')) == (0, 1)
    finally:
        claude.close()
        assert s.stop() == 0


def test_a_user_who_interrupts():
    """Escape: the server stops, and goes on with the next question."""
    slow = {'match': 'Speak slowly', 'text': ANSWER + '\n', 'repeat': 500, 'delay_ms': 50}
    s = Server([*RULES, slow, {'match': NEXT, 'text': ANSWER}], ctx=65536, name='mymodel')
    claude = Claude(s.url, n_ctx=65536)
    t = claude.terminal()
    try:
        assert t.until(lambda: '❯' in t.text, 30), t.text
        t.read(2)
        t.type('Speak slowly.')
        t.read(0.5)
        t.type('\r')
        s.wait_busy(1, 20)
        t.read(2)
        t.type('\x1b')
        t.until(lambda: s.metric('llamacpp:requests_processing') == 0, 10)
        assert s.metric('turbine:generations_total{outcome="cancelled"}') == 1
        t.type(NEXT)
        t.read(0.5)
        t.type('\r')
        end = lambda: s.metric('turbine:generations_total{outcome="accepted"}') == 2 and \
            s.metric('llamacpp:requests_processing') == 0
        assert t.until(end, 20), t.text[-2000:]
    finally:
        t.close()
        claude.close()
        assert s.stop() == 0
