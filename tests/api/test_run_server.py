"""`turbine run` and `turbine stop` with a server: ours, one that follows a script, a stranger,
and one that records what it is asked."""
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import pull_helper
import server_helper
from server_helper import NAME, Server
from store_helper import Store
from terminal_helper import TURBINE, Terminal

WORDS = 'one two three four five six seven eight nine ten'
QUESTION = 'What is the capital of France?'


def environment(home, host, **more):
    env = {k: v for k, v in os.environ.items() if k not in ('OLLAMA_HOST', 'OLLAMA_MODELS', 'TURBINE_API_KEY')}
    return {**env, 'HOME': str(home), 'TURBINE_MODELS': str(home / 'models'), 'TURBINE_HOST': host, **more}


def run(env, *args, stdin=subprocess.DEVNULL, command='run', **options):
    return subprocess.run([TURBINE, command, *map(str, args)], env=env, stdin=stdin, capture_output=True, text=True,
                          timeout=120, **options)


def answer(env, *args, **options):
    done = run(env, *args, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope='module')
def home(tmp_path_factory):
    """A store with a model of random weights and SmolLM2's words."""
    store = Store(tmp_path_factory.mktemp('run'), 'models')
    store.create('tiny', f'FROM {server_helper.model()}\nSYSTEM You are terse.\nPARAMETER top_k 20\n'
                         'PARAMETER stop "never said"\nMESSAGE user Who?\nMESSAGE assistant Me.\n', check=0)
    return store.home


@pytest.fixture(scope='module')
def real(home):
    """The address of a real server with that model."""
    env = environment(home, '127.0.0.1:1')
    with subprocess.Popen([TURBINE, 'serve', 'tiny', '--port', '0', '--ctx', '2048'], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        try:
            line = p.stdout.readline()
            assert line.startswith('listening on '), line
            yield line.split()[-1]
        finally:
            p.terminate()
            p.wait(60)


# ---- the same answers here and there ----

@pytest.mark.parametrize('args', [
    ('--temp', 0), ('--seed', 7), ('--seed', 8, '--temp', 1.5, '--top-k', 5, '--top-p', 0.8, '--min-p', 0.01),
    ('--seed', 9, '--repeat-penalty', 1.3), ('--temp', 0, '--system', 'You are a pirate.'), ('--seed', 1, '--raw'),
    ('--seed', 3, '--format', 'json'),
    ('--seed', 4, '--format', '{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}'),
])
def test_same_answer(home, real, args):
    args = 'tiny', QUESTION, '--max-tokens', 40, *args
    here, how = answer(environment(home, '127.0.0.1:1'), *args)
    there, where = answer(environment(home, real), *args)
    assert there == here and len(here) > 10
    assert 'kv turbo4' in how and f'server {real}' in where
    assert int(re.search(r'prompt of (\d+) tokens', where)[1]) == int(re.search(r'prefill (\d+) tokens', how)[1])


def test_many_words_are_one_prompt(home, real):
    """As Ollama has it, wherever the options stand."""
    options = '--temp', 0, '--max-tokens', 20
    joined = answer(environment(home, real), 'tiny', QUESTION, *options)[0]
    first, *others = QUESTION.split()
    assert answer(environment(home, real), 'tiny', first, *options, *others)[0] == joined
    assert answer(environment(home, '127.0.0.1:1'), 'tiny', first, *options, *others)[0] == joined


def test_empty_prompt_loads(home, real):
    """ollama run MODEL "" is how its documentation loads a model."""
    def loaded(host):
        return subprocess.run([TURBINE, 'ps'], env=environment(home, host), capture_output=True, text=True, timeout=60).stdout
    store = Store(home, 'models')
    store.create('second', 'FROM tiny', check=0)
    for args in (('second', ''), ('second',)):
        subprocess.run([TURBINE, 'stop', 'second'], env=environment(home, real), check=True, timeout=60)
        assert 'second' not in loaded(real)
        assert answer(environment(home, real), *args) == ('', '')
        assert 'second:latest' in loaded(real)
    done = run(environment(home, '127.0.0.1:1'), 'tiny', '')
    assert done.returncode == 1 and 'the prompt is empty, and no server' in done.stderr


def test_same_prompt_from_a_pipe(home, real, tmp_path):
    (tmp_path / 'text').write_text('Some text.\nMore of it.\n')
    out = []
    for host in ('127.0.0.1:1', real):
        with open(tmp_path / 'text') as f:
            out.append(answer(environment(home, host), 'tiny', 'Summarise it.', '--temp', 0, '--max-tokens', 9, stdin=f)[0])
    assert out[0] == out[1]


def conversation(home, host):
    """The answers, without what is echoed, which may come twice: by the terminal and by the editor."""
    out = []
    with Terminal('run', 'tiny', '--temp', '0', '--max-tokens', '12', '--quiet', env=environment(home, host)) as t:
        t.wait('>>> ')
        t.say('/set parameter seed 5', 'Set parameter .seed. to .5.')
        t.say('/set parameter temperature 0.9', 'Set parameter')
        for question, command, says in (('First question.', '/set system "Answer in French."', 'Set system message'),
                                        ('Second question.', '/clear', 'Cleared session context'),
                                        ('Third question.', '/set noformat', 'Disabled format')):
            begin = t.seen
            t.say(question, r'question\.\r\n(?s:.)')
            said = t.output[begin:t.seen].split(question + '\r\n')[-1]
            out.append(re.sub(r'reading \d+ of \d+ tokens \(\d+ %\)|\r\x1b\[K', '', said))
            t.say(command, says)
        assert t.leave() == 0
    return out


def test_same_chat(home, real):
    here = conversation(home, '127.0.0.1:1')
    assert len(here) == 3 and len(set(here)) == 3 and conversation(home, real) == here


# ---- who answers ----

def test_what_needs_this_process(home, real):
    env = environment(home, real)
    assert 'server' in answer(env, 'tiny', 'x', '--max-tokens', 2)[1]
    for args in (('--local',), ('--threads', 1), ('--ctx', 512), ('--kv', 'f16'), ('--cpu', 'c')):
        assert 'MiB exact for' in answer(env, 'tiny', 'x', '--max-tokens', 2, *args)[1]
    # A file is never asked for by its path.
    assert 'MiB exact for' in answer(env, server_helper.model(), 'x', '--max-tokens', 2)[1]
    out = answer(env, 'tiny', 'x', '--max-tokens', 2, '--verbose')[1]
    assert f'tiny:latest runs at the server {real}' in out.replace('run: tiny runs', 'run: tiny:latest runs')
    assert 'eval rate:' in out and 'total duration:' in out
    assert 'runs in this process' in answer(env, 'tiny', 'x', '--max-tokens', 2, '--verbose', '--local')[1]


def test_model_that_the_server_lacks(home):
    Store(home, 'models').run('cp', 'tiny', 'other', check=0)
    with Server([{'text': WORDS}]) as s:
        out = answer(environment(home, s.url), 'other', 'x', '--max-tokens', 2, '--verbose')[1]
        assert "model 'other' not found" in out and 'runs in this process' in out
        # Nobody has it, and that server has no store to pull it to.
        with pull_helper.Server() as registry:
            done = run(environment(home, s.url, TURBINE_REGISTRY=registry.url), 'nowhere', 'x')
            assert registry.paths() == ['/v2/library/nowhere/manifests/latest']
        assert done.returncode == 1 and done.stdout == '' and 'keeps no models' in done.stderr
        assert re.search("'nowhere' is no file and no model of the store, and cannot be pulled: model 'nowhere:latest' is not at",
                         done.stderr.splitlines()[-1]), done.stderr


# ---- models that nobody has: pulled, as Ollama does ----

@pytest.fixture
def registry():
    with pull_helper.Server() as r:
        r.model((server_helper.ROOT / 'tests/data/stories260K.gguf').read_bytes(), name='stories', params=b'{"num_predict":6,"kv_cache_type":"f16"}')
        yield r


ASK = ['--raw', '--temp', 0, 'Once upon a time']


def test_pull_into_our_own_store(tmp_path, registry):
    env = environment(tmp_path, '127.0.0.1:1', TURBINE_REGISTRY=registry.url)
    text, err = answer(env, 'stories', *ASK)
    lines = err.splitlines()
    assert lines[0] == 'turbine run: pulling stories, which is not here'
    pulling = [line for line in lines if re.fullmatch('pulling [0-9a-f]{12}: .*', line)]
    assert '100%, 1.2 MB of 1.2 MB' in pulling[-1] and lines[1:1 + len(pulling)] == pulling, err
    assert lines[-1].startswith('prefill') and ', stopped by num_predict; ' in lines[-1] and text.strip()
    n = len(registry.log)
    again, err = answer(env, 'stories', *ASK)
    assert again == text and len(registry.log) == n and 'pulling' not in err
    # With options of this process, too; quietly for scripts that look at stdout alone.
    registry.model((server_helper.ROOT / 'tests/data/stories260K.gguf').read_bytes(), name='more')
    assert answer(env, 'more', *ASK, '--kv', 'f16', '--max-tokens', 2)[0]


def test_what_ended_an_answer_here(home):
    env = environment(home, '127.0.0.1:1')
    with Terminal('run', 'tiny', '--local', '--ctx', '512', '--max-tokens', '3', env=env) as t:
        t.wait('>>> ')
        t.say('x', 'decode 3 tokens .*, stopped by --max-tokens; kv')
        t.say('/set parameter num_predict 2', "Set parameter .num_predict.")
        t.say('x', 'decode 2 tokens .*, stopped by num_predict; kv')


def test_pull_through_the_server(tmp_path, registry):
    env = environment(tmp_path, '127.0.0.1:1', TURBINE_REGISTRY=registry.url)
    here = tmp_path / 'here'
    with subprocess.Popen([TURBINE, 'serve', '--port', '0'], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        try:
            url = p.stdout.readline().split()[-1]
            mine = {**environment(tmp_path, url), 'TURBINE_MODELS': str(here)}
            text, err = answer(mine, 'stories', *ASK)
            assert f'turbine run: pulling stories, which is not here, to {url}' in err and f'; server {url}' in err and text.strip()
            assert not here.exists() and Store(tmp_path, 'models').names() == ['stories:latest']
            done = run(mine, 'nowhere', 'x')
            assert done.returncode == 1 and 'cannot be pulled: ' in done.stderr.splitlines()[-1] and "'nowhere:latest' is not at" in done.stderr
            # In a terminal there is a bar.
            registry.model(pull_helper.noise(3 << 20), name='large', chunk_delay=0.05)
            with Terminal('run', 'large', 'x', env=mine) as t:
                t.wait(r'pulling [0-9a-f]{12} +\d+ ?%')
        finally:
            p.terminate()
            p.wait(60)


def test_a_pull_that_is_interrupted(tmp_path, registry):
    registry.model(pull_helper.noise(3 << 20), name='large', chunk_delay=0.1)
    env = environment(tmp_path, '127.0.0.1:1', TURBINE_REGISTRY=registry.url)
    with subprocess.Popen([TURBINE, 'run', 'large', 'x'], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as p:
        end = time.monotonic() + 20
        while not any('/blobs/' in path for path in registry.paths()):
            assert time.monotonic() < end
            time.sleep(0.02)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=30)
    assert p.returncode == 130 and err.splitlines()[-1] == 'turbine run: stopped; the same command goes on from here' and not out


def test_create_pulls(tmp_path, registry):
    env = environment(tmp_path, '127.0.0.1:1', TURBINE_REGISTRY=registry.url)
    (tmp_path / 'Modelfile').write_text('FROM stories\nSYSTEM Be brief.\n')
    done = run(env, 'child', command='create', cwd=tmp_path)
    assert done.returncode == 0 and 'turbine create: pulling stories, which is not here' in done.stderr, done.stderr
    assert Store(tmp_path, 'models').names() == ['child:latest', 'stories:latest']
    (tmp_path / 'Modelfile').write_text('\nFROM nowhere\n')
    done = run(env, 'other', command='create', cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.splitlines()[-1].startswith(
        "turbine create: Modelfile: (line 2): FROM nowhere is not in the store, and cannot be pulled: model 'nowhere:latest' is not at")
    # It may be where this user may not read.
    closed = tmp_path / '.ollama/models/manifests'
    closed.mkdir(parents=True)
    closed.chmod(0)
    if os.geteuid():
        done = run(env, 'other', command='create', cwd=tmp_path)
        assert f'turbine create: note: this user may not read {closed.parent}, where it may be' in done.stderr
    closed.chmod(0o700)


def test_key(home):
    with Server([{'text': WORDS}], '--api-key', 'secret') as s:
        env = environment(home, s.url)
        assert answer({**env, 'TURBINE_API_KEY': 'secret'}, NAME, 'x')[0] == WORDS + '\n'
        for key in ({}, {'TURBINE_API_KEY': 'wrong'}):
            out = answer({**env, **key}, 'tiny', 'x', '--max-tokens', 2, '--verbose')[1]
            assert 'TURBINE_API_KEY' in out and 'runs in this process' in out


class Recorder:
    """A server that says it is Turbine (or not), and remembers requests."""

    def __init__(self, version='{"version":"0.33.0","turbine":"0.1.0"}', lines=None, shown=None):
        self.requests = requests = []
        self.lines = lines or [{'message': {'role': 'assistant', 'content': 'Yes.'}, 'done': False},
                               {'message': {'role': 'assistant', 'content': ''}, 'done': True, 'done_reason': 'stop',
                                'prompt_eval_count': 7, 'eval_count': 3, 'eval_duration': 1000000000}]
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self, status, body):
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                self.reply(200, version.encode())

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                requests.append((self.path, body))
                if body['model'].startswith('missing'):
                    self.reply(404, b'{"error":"model \'missing\' not found"}')
                elif self.path in ('/api/chat', '/api/generate') and body.get('stream'):
                    self.reply(200, b''.join(json.dumps(x).encode() + b'\n' for x in recorder.lines))
                else:
                    self.reply(200, json.dumps(shown or {}).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def sent(self, path):
        return [body for where, body in self.requests if where == path]


@pytest.mark.parametrize('version', ['{"version":"0.33.0"}', '<html>hello</html>', '[]', '{"turbine": 7}'])
def test_stranger(home, version):
    with Recorder(version) as s:
        env = environment(home, s.url)
        assert 'MiB exact for' in answer(env, 'tiny', 'x', '--max-tokens', 2)[1]
        assert s.requests == []
    with Recorder(version) as s:
        with Terminal('run', 'tiny', 'x', '--max-tokens', '2', env=environment(home, s.url)) as t:
            t.wait('in this process, not at the server: ' + re.escape(s.url))
            t.wait('exact for')
        assert s.requests == []


def test_proxies_are_not_asked(home):
    """A server on this machine is asked directly, whatever the environment says."""
    with Recorder() as s, Recorder('{}') as proxy:
        env = environment(home, s.url, http_proxy=proxy.url, HTTP_PROXY=proxy.url, all_proxy=proxy.url)
        assert answer(env, 'm', 'x')[0] == 'Yes.\n'
        assert proxy.requests == []


# ---- what is sent ----

def test_request(home):
    with Recorder() as s:
        env = environment(home, s.url)
        answer(env, 'm', 'hi', '--temp', 0.5, '--seed', 3, '--top-k', 9, '--max-tokens', 4, '--format', 'json',
               '--think=high', '--keepalive', '10m', '--system', 'Be brief.')
        body = s.sent('/api/chat')[0]
        assert body == {'model': 'm', 'stream': True, 'format': 'json', 'keep_alive': '10m', 'think': 'high',
                        'options': {'temperature': 0.5, 'seed': 3, 'top_k': 9, 'num_predict': 4},
                        'messages': [{'role': 'system', 'content': 'Be brief.'}, {'role': 'user', 'content': 'hi'}]}
        # It was loaded for as long, before.
        assert s.sent('/api/generate') == [{'model': 'm', 'stream': False, 'keep_alive': '10m'}]
        answer(env, 'm', 'hi', '--raw', '--keepalive', '-1', '--think')
        assert s.sent('/api/generate')[-1] == {'model': 'm', 'stream': True, 'options': {}, 'keep_alive': -1,
                                               'prompt': 'hi', 'raw': True, 'think': True}
        for args in (('--think=maybe',), ('--format', 'xml'), ('--format', '[]'), ('--keepalive', 'soon')):
            done = run(env, 'm', 'hi', *args)
            assert done.returncode == 1 and done.stderr.count('\n') == 1 and args[-1].split('=')[-1] in done.stderr


THOUGHT = [{'message': {'role': 'assistant', 'content': '', 'thinking': 'Let me '}, 'done': False},
           {'message': {'role': 'assistant', 'content': '', 'thinking': 'see.'}, 'done': False},
           {'message': {'role': 'assistant', 'content': 'It is '}, 'done': False},
           {'message': {'role': 'assistant', 'content': '42\x1b[2J.'}, 'done': True, 'done_reason': 'stop'}]


def test_reasoning(home):
    """Apart on a terminal, left out of a pipe, and sent back as what it was."""
    with Recorder(lines=THOUGHT) as s:
        env = environment(home, s.url)
        assert answer(env, 'm', 'x')[0] == 'It is 42\x1b[2J.\n'
        with Terminal('run', 'm', '--hidethinking', env=env) as t:
            t.wait('>>> ')
            t.say('a', r'a\r\nIt is 42')
        with Terminal('run', 'm', env=env) as t:
            t.wait('>>> ')
            t.say('a', 'a\r\n\x1b\\[2mThinking...\r\nLet me see.\r\n...done thinking.\x1b\\[0m\r\n\r\nIt is 42\\?\\[2J\\.\r\n')
            t.say('/set nothink', 'Set .nothink. mode')
            t.say('b', 'It is 42')
        body = s.sent('/api/chat')[-1]
        assert body['think'] is False
        assert body['messages'] == [
            {'role': 'user', 'content': 'a'},
            {'role': 'assistant', 'content': 'It is 42\x1b[2J.', 'thinking': 'Let me see.'},
            {'role': 'user', 'content': 'b'}]


def test_save_and_load(home):
    shown = {'messages': [{'role': 'user', 'content': 'Who?'}, {'role': 'assistant', 'content': 'Me.'}],
             'parameters': 'top_k 7', 'system': 'Be.', 'template': 'T', 'license': 'L', 'modelfile': 'FROM x',
             'details': {'family': 'llama', 'parameter_size': '1B', 'quantization_level': 'Q8_0'},
             'model_info': {'llama.context_length': 4096}, 'capabilities': ['completion', 'tools']}
    with Recorder(shown=shown) as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.say('/set parameter num_ctx 4096', 'Set parameter .num_ctx. to .4096.')
        t.say('/set parameter stop A B', "Set parameter .stop. to .A, B.")
        t.send('/set system """Be brief.\r')
        t.wait(r'\.\.\. ')
        t.say('And "kind"."""', 'Set system message')
        t.say('hello', 'Yes')
        t.say('/save mine', 'Created new model .mine.')
        assert s.sent('/api/create') == [{
            'model': 'mine', 'from': 'm', 'stream': False, 'system': 'Be brief.\nAnd "kind".',
            'parameters': {'num_ctx': 4096, 'stop': ['A', 'B']},
            'messages': shown['messages'] + [{'role': 'user', 'content': 'hello'}, {'role': 'assistant', 'content': 'Yes.'}]}]
        t.say('/show info', r'llama(?s:.)*1B(?s:.)*4096(?s:.)*Q8_0(?s:.)*tools(?s:.)*' + re.escape('at the server ' + s.url))
        t.say('/show parameters', r'num_ctx +4096(?s:.)*stop +"B"(?s:.)*top_k 7')
        t.say('/show system', 'And "kind"')
        t.say('/show template', r'template\r\nT')
        t.say('/show license', r'license\r\nL')
        t.say('/show modelfile', r'modelfile\r\nFROM x')
        t.say('/load missing', "Loading model .missing.\r\nCouldn't find model .missing.")
        t.say('again', 'Yes')
        body = s.sent('/api/chat')[-1]
        assert body['model'] == 'm' and len(body['messages']) == 4
        t.say('/load n', 'Loading model .n.')
        t.say('new', 'Yes')
        body = s.sent('/api/chat')[-1]
        assert body['model'] == 'n' and [m['content'] for m in body['messages']] == ['Be brief.\nAnd "kind".', 'new']
        assert body['options'] == {'num_ctx': 4096, 'stop': ['A', 'B']}
        assert t.leave() == 0


# ---- the commands of a chat ----

def test_commands_say_what_is_wrong(home):
    with Recorder() as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.say('hello', 'Yes')
        for text, says in (
                ('/sing', "Unknown command '/sing'. Type /\\? for help"), ('/set x', "Unknown command '/set x'"),
                ('/show x', "Unknown command '/show x'"), ('/set parameter', r'/set parameter num_ctx <int>(?s:.)*/set parameter stop <string'), ('/set parameter top_k', 'Usage: /set parameter NAME VALUE'),
                ('/set parameter temperature hot', "'hot' is not a number"),
                ('/set parameter top_p 2', '2 is not between 0 and 1'),
                ('/set parameter colour red', "unknown parameter 'colour'"),
                ('/set parameter kv_cache_type f16', 'fixed when the server loads'),
                ('/set parameter seed 1 2', 'one value'), ('/set format xml', 'json or a JSON schema'),
                ('/set think maybe', "not 'maybe'"), ('/set system', 'Usage: /set system'), ('/load', 'Usage:'),
                ('/save', 'Usage:'), ('/?', '/load NAME'), ('/help', '/save NAME'), ('/? set', '/set parameter NAME'),
                ('/? shortcuts', 'Ctrl-A'), ('/?  shortcuts', 'Ctrl-A'), ('/show', '/show modelfile'),
                ('/set', '/set noformat'), ('/set format json', "Set format to 'json' mode"),
                ('/set noformat', 'Disabled format'), ('/set nohistory', "Set 'nohistory' mode"),
                ('/set history', "Set 'history' mode"), ('/set nowordwrap', "Set 'nowordwrap' mode"),
                ('/set wordwrap', "Set 'wordwrap' mode"), ('/set verbose', "Set 'verbose' mode")):
            t.say(text, says)
        t.say('again', 'eval rate: +3.00 tokens/s')
        # Nothing of it was a message, and nothing was lost.
        body = s.sent('/api/chat')[-1]
        assert [m['content'] for m in body['messages']] == ['hello', 'Yes.', 'again']
        assert body['options'] == {} and 'format' not in body
        t.say('/set quiet', "Set 'quiet' mode")
        before = len(t.output)
        t.say('third', 'Yes')
        assert 'token' not in t.output[before:]
        t.send('/bye\r')
        assert t.leave() == 0


def test_several_lines(home):
    with Recorder() as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.send('"""one\r')
        t.wait(r'\.\.\. ')
        t.send('/bye\r')
        t.wait(r'\.\.\. ')
        t.say('three"""', 'Yes')
        t.say('"""in one line"""', 'Yes')
        assert [m['content'] for m in s.sent('/api/chat')[-1]['messages'][::2]] == ['one\n/bye\nthree', 'in one line']


def test_words_are_wrapped(home):
    words = ('alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu ' + 'x' * 45 + ' end').split()
    said = [{'message': {'content': w + ' '}, 'done': False} for w in words] + [{'message': {'content': ''}, 'done': True}]
    with Recorder(lines=said) as s:
        for args, wraps in (((), True), (('--nowordwrap',), False)):
            with Terminal('run', 'm', 'go', *args, '--quiet', env=environment(home, s.url), columns=20) as t:
                assert t.wait('end')
                shown = t.output.replace('\r\n', '\n')
            assert ''.join(shown.split()) == ''.join(words)
            lines = shown.split('\n')
            assert all(len(x) <= 20 for x in lines) == wraps
            # Words are whole: but for the one that no line can hold.
            assert all(w in words for x in lines for w in x.split() if 'xx' not in w)


# ---- things go wrong ----

def test_server_dies(home):
    """kill -9 in the middle of an answer: an error, and the chat goes on with the next server there."""
    with Server([{'text': WORDS, 'delay_ms': 100, 'repeat': 50}]) as s:
        with Terminal('run', NAME, env=environment(home, s.url)) as t:
            t.wait('>>> ')
            t.send('count\r')
            t.wait('three')
            s.process.send_signal(signal.SIGKILL)
            s.process.wait(10)
            t.wait('turbine run: the answer broke off')
            t.wait('>>> ')
            t.say('count', 'turbine run: .*' + str(s.port))
            with Server([{'text': 'Here I am.'}], '--port', s.port) as again:
                assert again.port == s.port
                t.say('count', 'Here I am')
            assert t.leave() == 0


def test_server_dies_of_one_answer(home):
    with Server([{'text': WORDS, 'delay_ms': 50, 'repeat': 50}]) as s:
        p = subprocess.Popen([TURBINE, 'run', NAME, 'count'], env=environment(home, s.url), stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        with p:
            assert p.stdout.read(9) == 'one two t'
            s.process.send_signal(signal.SIGKILL)
            out, err = p.communicate(timeout=20)
        assert p.returncode == 1 and err.startswith('turbine run: the answer broke off: ') and err.count('\n') == 1


def test_broken_lines(home):
    for lines, says in (([{'message': {'content': 'x'}, 'done': False}], 'ended before the answer was complete'),
                        ([{'message': {'content': 'x'}}, {'error': 'a fuse blew'}], 'a fuse blew'),
                        ([3], 'no JSON'), ([{'error': {'message': 'y'}}], 'error')):
        with Recorder(lines=lines) as s:
            done = run(environment(home, s.url), 'm', 'x')
            assert done.returncode == 1 and says in done.stderr and done.stderr.count('\n') == 1
    with Server([{'text': WORDS, 'fail': 'the engine is ill', 'fail_after': 3}]) as s:
        done = run(environment(home, s.url), NAME, 'x')
        assert done.returncode == 1 and 'the engine is ill' in done.stderr
    with Server({'rules': [{'text': WORDS}], 'ctx': 64}) as s:
        done = run(environment(home, s.url), NAME, 'x ' * 500)
        assert done.returncode == 1 and 'tokens' in done.stderr and done.stdout == ''


def test_interrupt_stops_the_server(home):
    with Server([{'text': WORDS, 'delay_ms': 50, 'repeat': 500}]) as s:
        with Terminal('run', NAME, env=environment(home, s.url)) as t:
            t.wait('>>> ')
            t.send('count\r')
            t.wait('three')
            s.wait_busy(1)
            t.send('\x03')
            t.wait('interrupted', 10)
            s.wait_busy(0)
            t.wait('>>> ')
            t.send('count\r')
            t.wait('three')
            t.send('\x03')
            t.wait('interrupted', 10)
            t.wait('>>> ')
            assert t.leave() == 0


def test_interrupt_behind_typed_text(home):
    """Ctrl-C takes what was typed out of the terminal's queue while the editor is about to read it."""
    with Recorder() as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        for i in range(60):
            t.send(f'abc{i}\x03')
            t.wait('leaves', 10)
            t.wait('>>> ', 10)
        t.say('hello', 'Yes')
        assert [m['content'] for m in s.sent('/api/chat')[0]['messages']] == ['hello']
        assert t.leave() == 0


def test_interrupt_of_one_answer(home):
    with Server([{'text': WORDS, 'delay_ms': 50, 'repeat': 500}]) as s:
        with subprocess.Popen([TURBINE, 'run', NAME, 'count'], env=environment(home, s.url), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
            assert p.stdout.read(9) == 'one two t'
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=20)
        assert p.returncode == -signal.SIGINT
        s.wait_busy(0)


def test_slow_prompt_is_interrupted(home):
    """Before the first byte of an answer, too."""
    with Server([{'text': WORDS, 'prefill_ms': 20000}]) as s:
        with Terminal('run', NAME, env=environment(home, s.url)) as t:
            t.wait('>>> ')
            t.send('count\r')
            s.wait_busy(1)
            begin = time.monotonic()
            t.send('\x03')
            t.wait('interrupted', 10)
            t.wait('>>> ')
            assert time.monotonic() - begin < 5
            s.wait_busy(0, 30)


# ---- /save in this process ----

def test_save_here(home):
    store = Store(home, 'models')
    with Terminal('run', 'tiny', '--max-tokens', '3', '--seed', '1', env=environment(home, '127.0.0.1:1')) as t:
        t.wait('>>> ')
        t.say('/set parameter temperature 0.25', 'Set parameter')
        t.say('/set system Be kind. Be brief.', 'Set system message')
        t.say('hello', 'exact for')
        t.say('/save mine', 'Created new model .mine.')
        t.say('/save Not/A/Good/Name/At/All', 'name')
        t.say('/set parameter num_ctx 512', 'Set parameter')
        t.say('hello', 'exact for 512 tokens')
        t.say('/set parameter num_thread 1', 'threads is fixed')
        t.say('/show info', 'Runs\r\n +in this process')
        t.say('/load mine', 'Loading model')
        t.say('/show parameters', r'num_ctx +512(?s:.)*Model defined(?s:.)*top_k +20')
        t.say('hello', 'exact for 512 tokens')
        t.say('/load nowhere', "Couldn't find model .nowhere.")
        t.say('/kv', 'context +[1-9][0-9]* of 512 tokens')
        assert t.leave() == 0
    text = store.ok('show', '--modelfile', 'mine')
    assert 'SYSTEM Be kind. Be brief.\n' in text and 'PARAMETER temperature 0.25\n' in text
    assert 'PARAMETER num_predict 3\n' in text and 'PARAMETER top_k 20\n' in text and 'PARAMETER seed 1\n' in text
    messages = re.findall('^MESSAGE (.*)', text, re.M)
    assert messages[:3] == ['user Who?', 'assistant Me.', 'user hello'] and messages[3].startswith('assistant ')
    assert len(messages) == 4


# ---- turbine stop ----

def test_stop(home):
    def stop(url, *args):
        return subprocess.run([TURBINE, 'stop', *args], env=environment(home, url), capture_output=True, text=True,
                              timeout=30)
    with Recorder() as s:
        assert stop(s.url, 'm').returncode == 0
        assert s.requests == [('/api/generate', {'model': 'm', 'keep_alive': 0, 'stream': False})]
        done = stop(s.url, 'missing')
        assert done.returncode == 1 and done.stderr == 'turbine stop: couldn\'t find model "missing" to stop\n'
        assert stop('127.0.0.1:1', 'm', '--host', s.url).returncode == 0
    done = stop('127.0.0.1:1', 'm')
    assert done.returncode == 1 and 'http://127.0.0.1:1' in done.stderr and 'turbine serve' in done.stderr
    assert stop('127.0.0.1:1').returncode == 2


def test_context_beyond_training_and_thinking_of_a_server(home):
    """What its /api/show says decides."""
    shown = {'details': {'family': 'llama'}, 'model_info': {'llama.context_length': 4096}, 'capabilities': ['completion', 'tools']}
    with Recorder(shown=shown) as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.say('/set parameter num_ctx 4096', "to '4096'")
        assert 'trained' not in t.output
        t.say('/set parameter num_ctx 100000', 'note: the model was trained for 4096 tokens')
        t.say('/set think', '"m" does not support thinking: it stays off')
        t.say('hello', 'Yes')
        assert 'think' not in s.sent('/api/chat')[-1]
        t.say('/set nothink', "Set 'nothink' mode")
        shown['capabilities'].append('thinking')
        t.say('/set think', "Set 'think' mode")
        t.say('hello', 'Yes')
        assert s.sent('/api/chat')[-1]['think'] is True


def test_blocks_and_pastes_are_messages(home):
    """What begins with a slash is no command in quotes, and none of several lines that were pasted."""
    with Recorder() as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        def asked():
            return s.sent('/api/chat')[-1]['messages'][-1]['content']
        t.wait('>>> ')
        for typed, message in (('"""/etc/hosts has\r127.0.0.1 a"""', '/etc/hosts has\n127.0.0.1 a'), ('"""/bye"""', '/bye'),
                               ('\x1b[200~one\r/bye\rthree\x1b[201~', 'one\n/bye\nthree'),
                               ('Why?\x1b[200~\rone\r\x1b[201~', 'Why?\none'),
                               ('\x1b[200~one word\x1b[201~ more', 'one word more')):
            n = len(s.sent('/api/chat'))
            t.send(typed + '\r')
            end = time.monotonic() + 30
            while len(s.sent('/api/chat')) == n and time.monotonic() < end:
                time.sleep(0.05)
            assert asked() == message
            t.wait('>>> ')
        assert t.marks[:2] == ['\x1b[?2004h', '\x1b[?2004l'] and '\x1b[200~' not in t.output
        t.send('ab\x1b[Dx\r')  # other keys are the line editor's
        end = time.monotonic() + 30
        while asked() != 'axb' and time.monotonic() < end:
            time.sleep(0.05)
        assert asked() == 'axb'
        t.wait('>>> ')
        t.say('/set nohistory', 'Set .nohistory. mode')
        assert t.leave() == 0


def test_an_answer_moves_no_cursor(home):
    lines = [{'message': {'role': 'assistant', 'content': 'a\u009b2J\x1b[2Jé\u00a0\x7f\u0085b'}, 'done': False},
             {'message': {'role': 'assistant', 'content': ''}, 'done': True, 'done_reason': 'stop'}]
    with Recorder(lines=lines) as s, Terminal('run', 'm', env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.say('x', r'a\?2J\?\[2Jé\u00a0\?\?b')


def test_list_in_a_chat(home):
    with Server([{'text': WORDS}]) as s, Terminal('run', NAME, env=environment(home, s.url)) as t:
        t.wait('>>> ')
        t.say('/list', rf'NAME +ID +SIZE +MODIFIED\r\n{NAME}')
    env = environment(home, '127.0.0.1:1')
    with Terminal('run', 'tiny', '--local', '--max-tokens', '3', env=env) as t:
        t.wait('>>> ')
        rows = subprocess.run([TURBINE, 'list'], env=env, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
        t.say('/list', r'\r\n'.join(re.escape(row.rsplit('    ', 1)[0]) + '.*' for row in rows))
        t.say('/set think', 'does not support thinking: it stays off')
        t.say('/set parameter num_ctx 100000', r'note: the model was trained for \d+ tokens')
