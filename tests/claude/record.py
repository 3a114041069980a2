#!/usr/bin/env python3
"""Record what Claude Code sends, into tests/data/claude: each scenario is a file with its
requests and the answers they were given; what repeats is once in parts.json.
tests/api/test_clients_claude.py replays them.  Run again for a newer version of it."""
import hashlib
import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from claude_code import VERSION, Claude  # noqa: E402
from isolate import isolate  # noqa: E402
from messages_server import MessagesServer, Reply  # noqa: E402
from neutral import Neutral  # noqa: E402

OUT = pathlib.Path(__file__).resolve().parents[1] / 'data/claude'
ECHO = 'Run echo turbine-42 and tell me what it printed.'
COMMAND = {'command': 'echo turbine-42', 'description': 'Print a number'}
PRINTED = 'It printed turbine-42.'
SECOND = 'Which number comes after forty-one?'
HELLO = 'Say hello, this is the first question.'
ANSWER = 'Hello, this is an answer.'
NEXT = 'And this is the second question.'
TITLE = '{"title": "A greeting"}'
SUMMARY = 'The user said hello and was greeted.'
RUN = 'I will run it.'
THOUGHT = 'Two commands are to be run.'
FAIL = {'command': 'echo turbine-43; exit 3', 'description': 'Fail with a number'}
OWN = [THOUGHT, FAIL['command'], 'turbine-43', ECHO, RUN, PRINTED, SECOND, HELLO, ANSWER, NEXT, SUMMARY, 'turbine-42', 'echo turbine-42']


def texts(message):
    c = message['content']
    return c if isinstance(c, str) else '\n'.join(json.dumps(b) for b in c)


def users(body):
    return [texts(m) for m in body['messages'] if m['role'] == 'user']


def is_title(body):
    return 'format' in body.get('output_config', {})


class Scenario:
    """what it is about, whom it asks, and how it is answered: decide(n, body), where n counts
    the questions that are not for a title."""

    env = {}

    def __init__(self):
        self.n = 0
        self.replies = {}
        self.server = MessagesServer(self.answer)

    def answer(self, body):
        if is_title(body):
            reply = Reply(TITLE)
        else:
            self.n += 1
            reply = self.decide(self.n, body)
        self.replies[json.dumps(body)] = reply
        return reply

    def record(self):
        claude = Claude(self.server.url, n_ctx=65536, **self.env)
        try:
            self.play(claude)
        finally:
            claude.close()
            self.server.close()
        neutral, out = Neutral(OWN), []
        for r in self.server.requests:
            reply = self.replies.get(json.dumps(r['body']))
            kept = neutral.request(r)
            kept.pop('at')
            if reply:
                kept['reply'] = {k: v for k, v in vars(reply).items() if v not in (None, '', [], 200)}
                kept['reply'].pop('tokens')
            out.append(kept)
        return {'client': f'Claude Code {VERSION}', 'what': self.__doc__, 'requests': out}


class RoundTrip(Scenario):
    """-p with one call of a tool; then another session of the same user, without one."""

    def decide(self, n, body):
        if SECOND in users(body)[0]:
            return Reply(ANSWER)
        if n == 1:
            return Reply(RUN, [('Bash', COMMAND)])
        return Reply(PRINTED)

    def play(self, claude):
        assert PRINTED in claude.ask(ECHO, '--allowedTools', 'Bash').stdout
        assert ANSWER in claude.ask(SECOND, '--allowedTools', 'Bash').stdout


class Context(Scenario):
    """On a terminal: a greeting with the request for a title beside it, then /context, which
    counts tokens in many requests at once."""

    env = {'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': ''}

    def decide(self, n, body):
        return Reply(ANSWER)

    def play(self, claude):
        t = claude.terminal()
        assert t.until(lambda: '❯' in t.text, 20), t.text
        t.read(2)
        t.type(HELLO)
        t.read(0.5)
        t.type('\r')
        assert t.until(lambda: self.n == 1, 20)
        t.read(3)
        t.type('/context')
        t.read(1)
        t.type('\r')
        count = lambda: sum('count_tokens' in r['path'] for r in self.server.requests)
        assert t.until(lambda: count() > 20, 20)
        t.read(3)
        t.close()


class Overflow(Scenario):
    """The second turn is refused as too long; the client compacts and asks again."""

    def decide(self, n, body):
        if n == 2:
            return Reply('prompt is too long: 70000 tokens > 65536 maximum', status=400)
        if n == 3:
            return Reply(f'<analysis>Short.</analysis>\n<summary>{SUMMARY}</summary>')
        return Reply(ANSWER)

    def play(self, claude):
        assert ANSWER in claude.ask(HELLO).stdout
        assert ANSWER in claude.ask(NEXT, '--continue').stdout
        assert self.n == 4


class Cut(Scenario):
    """The stream of the first answer ends in the middle of a text; then the server is
    overloaded once; the client asks again each time."""

    def decide(self, n, body):
        if n == 1:
            return Reply(ANSWER, cut=5)
        if n == 2:
            return Reply('Overloaded', status=529, kind='overloaded_error')
        return Reply(ANSWER)

    def play(self, claude):
        assert ANSWER in claude.ask(HELLO).stdout
        assert self.n == 3


class Thinking(Scenario):
    """An answer that thinks and calls two tools at once, one of which fails; then a reminder of
    the user's, and /compact."""

    def decide(self, n, body):
        if n == 1:
            return Reply('', [('Bash', COMMAND), ('Bash', FAIL)], thinking=THOUGHT)
        if n == 3:
            return Reply(f'<analysis>Short.</analysis>\n<summary>{SUMMARY}</summary>')
        return Reply(PRINTED)

    def play(self, claude):
        assert PRINTED in claude.ask(ECHO, '--allowedTools', 'Bash').stdout
        claude.ask('/compact', '--continue')
        assert self.n == 3
        assert PRINTED in claude.ask(NEXT, '--continue').stdout


class AllTools(Scenario):
    """All tools are sent with their schemas, none is deferred."""

    env = {'CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS': '1'}

    def decide(self, n, body):
        return Reply(ANSWER)

    def play(self, claude):
        assert ANSWER in claude.ask(HELLO).stdout


class Parts:
    """Strings and tools that are long are kept once."""

    def __init__(self):
        self.parts = {}

    def keep(self, v):
        name = hashlib.sha256(json.dumps(v).encode()).hexdigest()[:12]
        self.parts[name] = v
        return {'$part': name}

    def fold(self, v, key=''):
        if isinstance(v, list):
            return [self.keep(x) if key == 'tools' else self.fold(x) for x in v]
        if isinstance(v, dict):
            return {k: self.fold(x, k) for k, x in v.items()}
        long = isinstance(v, str) and len(v) > 200 and key != 'anthropic-beta'
        return self.keep(v) if long else v


def write(name, value):
    OUT.mkdir(exist_ok=True)
    (OUT / f'{name}.json').write_text(json.dumps(value, indent=1, ensure_ascii=False) + '\n')


def main():
    isolate()
    parts = Parts()
    for name, scenario in (('round_trip', RoundTrip), ('context', Context), ('overflow', Overflow),
                           ('cut', Cut), ('thinking', Thinking), ('all_tools', AllTools)):
        start = time.monotonic()
        recorded = scenario().record()
        write(name, parts.fold(recorded))
        print(f'{name}: {len(recorded["requests"])} requests in {time.monotonic() - start:.1f} s')
    lines = (f'{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}' for k, v in parts.parts.items())
    (OUT / 'parts.json').write_text('{' + ',\n'.join(lines) + '}\n')


if __name__ == '__main__':
    main()
