"""What script/demo-route shows.  Needs no more than Python's own library.

Usage: demo_route.py MODEL, with TURBINE for another binary than build/turbine.  Exits with 1
and the reason if a step does not do what it should.  All processes that it starts are ended,
by their own ids, however it ends."""
import http.client
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
TURBINE = os.environ.get('TURBINE', ROOT / 'build/turbine')
DOCUMENT = ROOT / 'data/war-and-peace-excerpt.txt'
NAME = 'smollm2'
THRESHOLD, CONTEXT = 1000, 4096
ANSWER, STORY = 40, 300  # tokens at most
START_S, READ_S, STOP_S, TOTAL_S = 60, 90, 20, 400


class Wrong(Exception):
    """A step that did not do what it should."""


def check(holds, what):
    if not holds:
        raise Wrong(what)


def say(*lines):
    print(*lines, sep='\n', flush=True)


class Process:
    """A turbine that listens on a free port of loopback, or on `port`."""
    started = []

    def __init__(self, label, folder, *arguments, port=0):
        self.label, self.log = label, folder / f'{label}-{len(self.started)}.log'
        with open(self.log, 'w') as log:
            self.process = subprocess.Popen([TURBINE, *map(str, arguments), '--port', str(port)],
                                            stdout=subprocess.PIPE, stderr=log, text=True)
        self.started.append(self)
        self.killed = False
        ready, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if ready else ''
        check(line.startswith('listening on '), f'{label} did not start within {START_S} s')
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(':', 1)[1])
        say(f'  {label:6} {self.url}  process {self.process.pid}')

    def kill(self):
        """As a crash: without a chance to end anything."""
        self.killed = True
        self.process.kill()
        self.process.wait(STOP_S)
        say('', f'-- killed {self.label}, process {self.process.pid} --')

    def stop(self):
        """The exit code; None if it had to be killed."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = None
        self.process.stdout.close()
        return code


def get(port, path):
    c = http.client.HTTPConnection('127.0.0.1', port, timeout=READ_S)
    try:
        c.request('GET', path)
        return json.loads(c.getresponse().read())
    finally:
        c.close()


def wait_for_health(router, url, *states):
    """Until the router says that the backend is in one of the states, and what its models are."""
    end = time.monotonic() + START_S
    while True:
        b = next(b for b in get(router.port, '/route/status')['backends'] if b['url'] == url)
        if b['health'] in states and b['models']:
            return b['health']
        check(time.monotonic() < end, f'{url} is {b["health"]} after {START_S} s, not {" or ".join(states)}')
        time.sleep(0.1)


class Conversation:
    """Turns by OpenAI's API; the router is not told that they belong together."""

    def __init__(self, router, names):
        self.router, self.names, self.messages, self.n = router, names, [], 0

    def open(self, max_tokens, stream):
        c = http.client.HTTPConnection('127.0.0.1', self.router.port, timeout=READ_S)
        c.request('POST', '/v1/chat/completions', json.dumps({
            'model': NAME, 'messages': self.messages, 'temperature': 0, 'frequency_penalty': 0.5,
            'max_tokens': max_tokens, 'stream': stream}), {'Content-Type': 'application/json'})
        return c, c.getresponse()

    def add_question(self, text, document=''):
        self.n += 1
        self.messages.append({'role': 'user', 'content': f'{document}\n\n{text}'.strip()})
        say('', f'turn {self.n}: ' + (f'({len(document.split())} words more of the book) ' if document else '') + text)

    def headers(self, response):
        backend, fallback = (response.getheader('X-Turbine-' + h) for h in ('Backend', 'Fallback'))
        say(f'  X-Turbine-Backend: {backend}  = {self.names.get(backend, "?")}')
        if fallback:
            say(f'  X-Turbine-Fallback: {fallback}')
        return self.names.get(backend), fallback

    def answer(self, lane, fallback=False):
        """Asks for the answer as a document, and checks who gave it and why."""
        begin = time.monotonic()
        c, r = self.open(ANSWER, False)
        try:
            body = json.loads(r.read())
        finally:
            c.close()
        check(r.status == 200, f'turn {self.n}: status {r.status}: {body}')
        got, why = self.headers(r)
        text, usage = body['choices'][0]['message']['content'], body['usage']
        n, cached = usage['prompt_tokens'], usage['prompt_tokens_details']['cached_tokens']
        say(f'  {n} tokens of prompt, {cached} of them from the cache; {time.monotonic() - begin:.1f} s')
        say(textwrap.fill(' '.join(text.split()), 90, initial_indent='  "', subsequent_indent='   ') + '"')
        check(text.strip(), f'turn {self.n}: the answer is empty')
        check((n > THRESHOLD) == (lane == 'long' or fallback),
              f'turn {self.n}: {n} tokens are on the wrong side of {THRESHOLD} for this demo')
        check(n + ANSWER <= CONTEXT, f'turn {self.n}: {n} tokens do not fit in a context of {CONTEXT}')
        check(got == lane, f'turn {self.n}: {got} answered, not {lane}')
        check(bool(why) == fallback, f'turn {self.n}: X-Turbine-Fallback is {why}')
        self.messages.append({'role': 'assistant', 'content': text})
        return cached

    def broken_answer(self, backend, n_before):
        """Streams an answer and kills the backend behind n_before pieces: how often words came, and the error."""
        c, r = self.open(STORY, True)
        try:
            if r.status != 200:
                raise Wrong(f'turn {self.n}: status {r.status}: {r.read()[:500]}')
            got, why = self.headers(r)
            check(got == backend.label and not why, f'turn {self.n}: {got} answers ({why}), not {backend.label}')
            pieces, error = [], None
            for line in r:  # ends with the stream; each read has its timeout
                if not line.startswith(b'data: '):
                    continue
                data = line[6:].strip()
                check(data != b'[DONE]', f'turn {self.n}: the answer says it is whole, behind {len(pieces)} pieces')
                check(error is None, f'turn {self.n}: something follows the error: {data[:200]}')
                event = json.loads(data)
                if 'error' in event:
                    error = event['error']
                    continue
                pieces += [p for x in event['choices'] if (p := x['delta'].get('content'))]
                if len(pieces) >= n_before and not backend.killed:
                    say('  "' + ' '.join(''.join(pieces).split()) + ' ...')
                    backend.kill()
        finally:
            c.close()
        check(backend.killed, f'turn {self.n}: the answer ended behind {len(pieces)} pieces')
        check(error is not None, f'turn {self.n}: the stream was cut without an error')
        say('  the stream ends with an error as this API has it, and without [DONE]:', '  ' + json.dumps(error))
        check(isinstance(error, dict) and error.get('type') and error.get('message'),
              f'turn {self.n}: that is not an error of OpenAI\'s API')


def parts(*n_words):
    """The beginning of the document, cut in parts of so many words."""
    words, out = DOCUMENT.read_text().split(), []
    for n in n_words:
        out.append(' '.join(words[:n]))
        del words[:n]
    return out


def demo(model, folder):
    def serve(label, kv, port=0):
        return Process(label, folder, 'serve', model, '--alias', NAME, '--kv', kv, '--ctx', CONTEXT,
                       '--parallel', 1, port=port)

    say('', f'Two servers with contexts of {CONTEXT} tokens; short has an f16 cache, long a turbo4 cache:')
    short, long = serve('short', 'f16'), serve('long', 'turbo4')
    say(f'The router, with --threshold {THRESHOLD}: longer prompts go to long.')
    router = Process('router', folder, 'route', '--short', short.url, '--long', long.url,
                     '--threshold', THRESHOLD)
    for b in short, long:
        wait_for_health(router, b.url, 'up')
    talk = Conversation(router, {short.url: 'short', long.url: 'long'})
    first, second, third = parts(200, 200, 450)

    say('', '1. A conversation grows past the threshold, and moves.',
        '   (The model is a very small one: mind who answers rather than what.)')
    talk.add_question('Who speaks here? Answer in one sentence.', first)
    talk.answer('short')
    talk.add_question('What is said about Anna Pavlovna? Answer in one sentence.', second)
    check(talk.answer('short') > 0, 'the second turn read the first one again')
    talk.add_question('Where are these people? Answer in one sentence.', third)
    talk.answer('long')
    talk.add_question('Name one of them.')
    check(talk.answer('long') > 0, 'long read the conversation again')

    say('', '2. The long backend is killed between two turns: the next answer is there nevertheless.')
    long.kill()
    talk.add_question('And who is a prince?')
    talk.answer('short', fallback=True)

    say('', '3. It is back: so is the conversation. Then it is killed in mid-stream.')
    again = serve('long', 'turbo4', long.port)
    say(f'  the router\'s probe finds it; it is {wait_for_health(router, again.url, "up", "slow-start", "trial")}')
    talk.add_question('Tell the whole story again, in your own words and at length.')
    talk.broken_answer(again, 12)
    say('', 'the same again:')
    talk.answer('short', fallback=True)

    say('', 'What the router\'s operator sees, turbine route status:')
    table = subprocess.run([TURBINE, 'route', 'status', '--port', str(router.port)], stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, timeout=STOP_S)
    check(table.returncode == 0, f'turbine route status: {table.stderr}')
    say(table.stdout.rstrip())
    for p in router, short:
        check(p.stop() == 0, f'{p.label} did not end well')


def interrupt(number, _):
    # Whoever ends this process ends all of its own; a second signal must not stop that.
    for s in SIGNALS:
        signal.signal(s, signal.SIG_IGN)
    if number == signal.SIGALRM:
        raise Wrong(f'it took longer than {TOTAL_S} s')
    sys.exit(128 + number)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


def main():
    if len(sys.argv) != 2:
        sys.exit('usage: demo_route.py MODEL')
    for s in SIGNALS:
        signal.signal(s, interrupt)
    signal.alarm(TOTAL_S)
    begin, wrong = time.monotonic(), None
    with tempfile.TemporaryDirectory(prefix='turbine-demo.') as folder:
        try:
            demo(sys.argv[1], pathlib.Path(folder))
        except (Wrong, OSError, ValueError, LookupError, http.client.HTTPException,
                subprocess.SubprocessError) as e:
            wrong = str(e) if isinstance(e, Wrong) else f'{type(e).__name__}: {e}'
        finally:
            for s in SIGNALS:
                signal.signal(s, signal.SIG_IGN)
            for p in reversed(Process.started):
                p.stop()
            if wrong:
                for p in Process.started:
                    lines = p.log.read_text(errors='replace').splitlines()[-5:]
                    print(f'the end of the log of {p.label}:', *lines, sep='\n  ', file=sys.stderr)
    if wrong:
        sys.exit(f'script/demo-route: {wrong}')
    say('', f'All of it went as it should, in {time.monotonic() - begin:.0f} s; no process is left.')


if __name__ == '__main__':
    main()
