"""The router's file: errors by line, reload, backends that it starts."""
import concurrent.futures
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest
from fault_backend import Backend, Fault, openai_events
from route_helper import TURBINE, Router, chat, wait

PATH = '/v1/chat/completions'


def check(tmp_path, text):
    path = tmp_path / 'r.conf'
    path.write_text(text)
    done = subprocess.run([TURBINE, 'route', '--check', path], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout + done.stderr.replace(str(tmp_path), '')


GOOD = '''# a fleet
threshold 16000
threshold qwen3:8b 6000   # per model
queue 100
backend http://127.0.0.1:11434
  class short
  dialects openai ollama
  model qwen3:8b "qwen3 8b"
  concurrency 4
backend https://api.example.com/v1
  weight 1
'''


def test_check(tmp_path):
    assert check(tmp_path, GOOD) == (0, f'{tmp_path}/r.conf: 2 backends, 0 client keys\n')


@pytest.mark.parametrize('text,line,words', [
    ('', 0, 'no backend'),
    ('nonsense 1\n', 1, "'nonsense' is no statement"),
    ('\n\nclass short\n', 3, 'belongs to a backend'),
    ('backend http://a\nclass middle\n', 2, "not 'middle'"),
    ('backend ftp://a\n', 1, 'http'),
    ('backend http://a\n\nbackend http://a/\n', 3, 'in line 1'),
    ('backend http://a\nweight 101\n', 2, '1 to 100'),
    ('backend http://a\nweight\n', 2, 'weight 1..100'),
    ('backend http://a\ncontext many\n', 2, "'many'"),
    ('backend http://a\ndialects openai gopher\n', 2, 'gopher'),
    ('backend http://a\nidle-stop 9\n', 1, 'without start'),
    ('backend http://a\nkey abc\n', 2, 'file:PATH'),
    ('backend http://a\nkey env:NOT_THERE\n', 2, 'NOT_THERE'),
    ('backend http://a\nkey file:/nonexistent/x\n', 2, 'No such file'),
    ('backend http://a\nstart "turbine\n', 2, 'quote'),
    ('backend http://a\nmodel a\nmodel a\n', 3, 'twice'),
    ('client-key a env:PATH\nclient-key a env:PATH\n', 2, 'two keys'),
    ('threshold x 0\n', 1, 'from 1'),
    ('threshold x 9\nthreshold x 8\n', 2, 'two thresholds'),
    ('queue 9\nqueue 8\n', 2, 'there already'),
    ('backend http://a\nclass short\nclass long\n', 3, 'for the same backend'),
    ('backend http://a\nca /nonexistent/x\n', 2, 'No such file'),
    ('backend http://a\nproxy gopher://x\n', 2, 'one of socks'),
])
def test_errors_name_the_line(tmp_path, text, line, words):
    code, out = check(tmp_path, text)
    assert code == 1 and f'/r.conf:{line}: ' in out if line else '/r.conf: ' in out, out
    assert words is None or words in out, out


def test_a_key_that_others_can_read(tmp_path):
    key = tmp_path / 'key'
    key.write_text('secret')
    key.chmod(0o644)
    code, out = check(tmp_path, f'backend http://a\n key file:{key}\n')
    assert code == 1 and 'chmod 600' in out and 'secret' not in out


def test_a_key_that_is_no_file(tmp_path):
    """A pipe that nobody writes into does not stop the router, least of all when it reads its file again."""
    os.mkfifo(tmp_path / 'pipe', 0o600)
    for name in ('pipe', '.'):
        code, out = check(tmp_path, f'backend http://a\n key file:{tmp_path}/{name}\n')
        assert code == 1 and '/r.conf:2: ' in out and 'no file' in out, out
    r = subprocess.run([TURBINE, 'route', '--check', tmp_path / 'pipe'], capture_output=True, text=True, timeout=20)
    assert r.returncode == 1 and 'no file' in r.stderr, r.stderr


def test_a_mark_of_the_byte_order(tmp_path):
    assert check(tmp_path, '\ufeff' + GOOD)[0] == 0


def test_reload_drops_no_stream():
    events = openai_events()
    with Backend(events=lambda p: events, pace=0.15) as a, Backend(models=['m', 'n']) as b:
        with Router(config=f'backend {a.url}\n') as r:
            r.wait_known()
            s = r.send(PATH, chat(stream=True))
            wait(lambda: r.backend(a.url)['in_flight'] == 1)
            r.config.write_text(f'backend {b.url}\n')
            r.process.send_signal(signal.SIGHUP)
            wait(lambda: r.status()['reloads'] == 1)
            wait(lambda: r.post(PATH, {**chat(), 'model': 'n'}).headers['X-Turbine-Backend'] == b.url)
            assert [x['url'] for x in r.status()['backends']] == [b.url]
            got = b''
            while not got.endswith(b'0\r\n\r\n'):
                piece = s.recv(65536)
                assert piece
                got += piece
            assert b'[DONE]' in got and b'error' not in got
            # A wrong file changes nothing.
            r.config.write_text('backend\n')
            r.process.send_signal(signal.SIGHUP)
            wait(lambda: r.status()['failed_reloads'] == 1)
            assert r.post(PATH, {**chat(), 'model': 'n'}).status == 200
            assert f'{r.config}:1: ' in r.events('reload')[-1]['text']
            for _ in range(20):  # the same one again: nothing is lost
                r.config.write_text(f'backend {b.url}\n weight 5\n')
                r.process.send_signal(signal.SIGHUP)
            wait(lambda: r.status()['backends'][0]['weight'] == 5)
            assert r.post(PATH, chat()).status == 200


def test_reload_of_the_queue():
    """What waits keeps its place and its deadline; what comes has those of the new file."""
    def config(n, seconds):
        return f'queue {n}\nqueue-timeout {seconds}\nbackend {b.url}\n concurrency 1\n'

    def ask(n_queue):
        s.append(r.send(PATH, chat(stream=True)))
        wait(lambda: r.status()['queue'] == n_queue)

    with Backend(pace=0.4) as b, Router(config=config(1, 60)) as r:
        r.wait_known()
        s = [r.send(PATH, chat(stream=True))]
        wait(lambda: r.backend(b.url)['in_flight'] == 1)
        ask(1)
        reply = r.post(PATH, chat())
        assert reply.status == 503 and 'queue is full' in reply.body.decode() and reply.headers['Retry-After']
        r.config.write_text(config(3, 1))
        r.process.send_signal(signal.SIGHUP)
        wait(lambda: r.status()['reloads'] == 1)
        ask(2)
        start = time.monotonic()
        reply = r.post(PATH, chat())
        assert reply.status == 503 and 'waited too long' in reply.body.decode() and 0.9 < time.monotonic() - start < 20
        wait(lambda: r.status()['queue'] == 1)  # the first has 60 s
        for x in s:
            x.close()
        # A wrong file changes none of it.
        r.config.write_text('queue 9\nqueue-timeout 9\nbackend\n')
        r.process.send_signal(signal.SIGHUP)
        wait(lambda: r.status()['failed_reloads'] == 1 and r.status()['queue'] == 0)


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def test_start_and_idle_stop(tmp_path):
    """A long backend is started by the first long request, which waits for it, and ended when it is idle, with what it
    started itself."""
    port, marks = free_port(), tmp_path / 'marks'
    program = tmp_path / 'serve.py'
    program.write_text(f'''
import os, subprocess, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
child = subprocess.Popen(['sleep', '600'])
open({str(marks)!r}, 'a').write(f'{{os.getpid()}} {{child.pid}}\\n')
from fault_backend import Backend
time.sleep(0.3)
b = Backend(n_ctx=100000, port={port})
time.sleep(600)
''')
    with Backend() as short:
        config = (f'backend {short.url}\n class short\nbackend http://127.0.0.1:{port}\n class long\n'
                  f' start {sys.executable} "{program}"\n idle-stop 2\n model m\n')
        with Router(config=config) as r:
            r.wait_known()
            long = f'http://127.0.0.1:{port}'
            assert r.backend(long)['health'] == 'stopped' and not marks.exists()
            assert r.post(PATH, chat()).headers['X-Turbine-Backend'] == short.url
            reply = r.post(PATH, chat('word ' * 20000))
            assert (reply.status, reply.headers['X-Turbine-Backend']) == (200, long), reply.body
            pids = [int(x) for x in marks.read_text().split()]
            wait(lambda: r.backend(long)['health'] == 'stopped', 10)
            wait(lambda: not any(map(alive, pids)), 5)
            assert r.post(PATH, chat('word ' * 20000)).headers['X-Turbine-Backend'] == long  # and again
            pids = [int(x) for x in marks.read_text().split()[2:]]
            assert r.stop() == 0
            wait(lambda: not any(map(alive, pids)), 5)  # a signal was sent: its end may take a moment


def test_requests_while_it_starts_start_it_once(tmp_path):
    """Idle it stays ended; and it has no connection of others, which would stay open when we close it."""
    port, marks, program = free_port(), tmp_path / 'marks', tmp_path / 'serve.py'
    program.write_text(f'''
import os, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
def kind(fd):
    try:
        return os.readlink(f'/proc/self/fd/{{fd}}')
    except OSError:
        return ''
n = sum(kind(fd).startswith('socket:') for fd in os.listdir('/proc/self/fd') if int(fd) > 2)
open({str(marks)!r}, 'a').write(f'{{n}}\\n')
from fault_backend import Backend
time.sleep(1.5)
b = Backend(n_ctx=100000, port={port})
time.sleep(600)
''')
    long = f'http://127.0.0.1:{port}'
    with Backend() as short, Router(config=f'backend {short.url}\n class short\nbackend {long}\n class long\n'
                                           f' start {sys.executable} "{program}"\n idle-stop 1\n model m\n') as r:
        r.wait_known()
        short.faults = [Fault('slow', seconds=5)]
        with r.send(PATH, chat('x')):  # its connection to the backend is open when the program starts
            wait(lambda: short.requests)
            with concurrent.futures.ThreadPoolExecutor(3) as pool:
                replies = [pool.submit(r.post, PATH, chat(f'{i} ' + 'word ' * 20000)) for i in range(3)]
                assert [x.result().headers['X-Turbine-Backend'] for x in replies] == [long] * 3
        wait(lambda: r.backend(long)['health'] == 'stopped', 10)
        time.sleep(3)
        assert marks.read_text() == '0\n' and r.backend(long)['health'] == 'stopped'


def test_a_start_that_fails_is_not_tried_at_once(tmp_path):
    marks, program = tmp_path / 'marks', tmp_path / 'serve.py'
    program.write_text(f'import time\nopen({str(marks)!r}, "a").write("x")\ntime.sleep(0.5)\n')
    with Backend(n_ctx=100000) as short:
        with Router(config=f'backend {short.url}\n class short\nbackend http://127.0.0.1:{free_port()}\n class long\n'
                           f' start {sys.executable} "{program}"\n model m\n') as r:
            r.wait_known()
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                first = pool.submit(r.post, PATH, chat('a ' + 'word ' * 20000))
                wait(marks.exists)
                second = pool.submit(r.post, PATH, chat('b ' + 'word ' * 20000))  # while it starts
                assert {x.result().headers['X-Turbine-Backend'] for x in (first, second)} == {short.url}
            time.sleep(3)
            assert len(marks.read_text()) <= 2


def test_a_backend_that_others_start_now():
    """A reload without its start: it is asked whether it is there."""
    with Backend() as short, Backend(n_ctx=100000) as long:
        text = f'backend {short.url}\n class short\nbackend {long.url}\n class long\n model m\n'
        with Router(config=text + ' start /nonexistent/program\n idle-stop 9\n') as r:
            r.wait_known()
            assert r.backend(long.url)['health'] == 'stopped'
            r.config.write_text(text)
            r.process.send_signal(signal.SIGHUP)
            wait(lambda: r.backend(long.url)['health'] == 'up')
            assert r.post(PATH, chat('word ' * 20000)).headers['X-Turbine-Backend'] == long.url


def test_start_fails(tmp_path):
    with Backend(n_ctx=100000) as short:
        with Router(config=f'backend {short.url}\n class short\nbackend http://127.0.0.1:{free_port()}\n class long\n'
                           f' start /nonexistent/program\n model m\n') as r:
            r.wait_known()
            start = time.monotonic()
            reply = r.post(PATH, chat('word ' * 20000), timeout=30)
            assert reply.status == 200 and reply.headers['X-Turbine-Backend'] == short.url
            assert reply.headers['X-Turbine-Fallback'] and time.monotonic() - start < 10


def test_a_start_that_failed_is_tried_again(tmp_path):
    """And one that was ended while it was being asked whether it is well is started again too."""
    port, program = free_port(), tmp_path / 'serve.py'
    program.write_text(f'''
import pathlib, sys, time
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
first = pathlib.Path({str(tmp_path)!r}) / 'first'
if not first.exists():
    first.touch()
    sys.exit(1)
from fault_backend import Backend
b = Backend(n_ctx=100000, port={port})
time.sleep(1)
b.slow = {{'/v1/models': 0.05}}  # bytes of it: probes take longer than the rest of its life
b.info = {{'/v1/models': {{'data': [{{'id': 'm'}}]}}}}
time.sleep(600)
''')
    long = f'http://127.0.0.1:{port}'
    with Backend(n_ctx=100000) as short:
        with Router(config=f'health-interval 1\nbackend {short.url}\n class short\nbackend {long}\n class long\n'
                           f' start {sys.executable} "{program}"\n idle-stop 2\n model m\n') as r:
            r.wait_known()
            assert r.post(PATH, chat('word ' * 20000)).headers['X-Turbine-Backend'] == short.url
            for n in range(2):
                wait(lambda: r.backend(long)['health'] == 'stopped', 10)
                # Another conversation: this one stays where it is.
                reply = r.post(PATH, chat(f'{n} ' + 'word ' * 20000))
                assert reply.headers['X-Turbine-Backend'] == long, r.log()
            text = r.config.read_text()
            for n, config in enumerate([f'backend {short.url}\n', text]):  # dropped while it runs, and back
                r.config.write_text(config)
                r.process.send_signal(signal.SIGHUP)
                wait(lambda: r.status()['reloads'] == n + 1)
            reply = r.post(PATH, chat('back ' + 'word ' * 20000))
            assert reply.headers['X-Turbine-Backend'] == long, r.log()


def test_a_reload_opens_nothing(tmp_path):
    """Other machines are served with a key: a file without one does not come into force."""
    key = tmp_path / 'key'
    key.write_text('secret')
    key.chmod(0o600)
    with Backend() as b, Router('--host', '0.0.0.0', config=f'client-key a file:{key}\nbackend {b.url}\n') as r:
        r.config.write_text(f'backend {b.url}\n')
        r.process.send_signal(signal.SIGHUP)
        wait(lambda: r.events('reload'))
        assert 'other machines' in r.events('reload')[0]['text']
        assert r.get('/v1/models').status == 401
        assert r.get('/v1/models', {'Authorization': 'Bearer secret'}).status == 200


def test_dropped_while_it_was_asked():
    """What a probe would have found out of a backend that comes back is asked again."""
    models = {'/v1/models': {'data': [{'id': 'slow-model'}]}}
    with Backend() as a, Backend(slow={'/v1/models': 0.02}, info=models) as b:
        both = f'backend {a.url}\nbackend {b.url}\n'
        with Router(config=both) as r:
            wait(lambda: b.asked)
            for n, config in enumerate([f'backend {a.url}\n', both]):
                r.config.write_text(config)
                r.process.send_signal(signal.SIGHUP)
                wait(lambda: r.status()['reloads'] == n + 1)
            wait(lambda: r.backend(b.url)['models'] == ['slow-model'], 10, r.log)


def test_a_backend_without_memory_is_off(tmp_path):
    """What `turbine plan` computes for it decides: a stand-in of that name says that nothing fits, then that it does."""
    program = tmp_path / 'turbine'
    answer = tmp_path / 'answer'
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/args\ncat {answer}\n')
    program.chmod(0o755)
    answer.write_text('{"memory_bytes": 1073741824, "results": [{"contexts": [{"ctx": 65536, "total_bytes": 34359738368,'
                      ' "fits": false}]}]}')
    with Backend(n_ctx=100000) as short:
        with Router(config=f'backend {short.url}\n class short\nbackend http://127.0.0.1:{free_port()}\n class long\n'
                           f' start {program} serve big.gguf --ctx 65536 --kv=turbo3\n model m\n') as r:
            r.wait_known()
            wait(lambda: any('off' in b for b in r.status()['backends']))
            assert (tmp_path / 'args').read_text() == 'plan big.gguf --json --kv turbo3 --ctx 65536\n'
            table = subprocess.run([TURBINE, 'route', 'status', '--port', str(r.port)], capture_output=True, text=True)
            assert ' long   off ' in table.stdout, table
            assert 'it needs 32.0 GiB for a context of 65536 tokens, and 1.0 GiB' in r.events('memory')[0]['text']
            reply = r.post(PATH, chat('word ' * 20000))
            assert reply.status == 200 and reply.headers['X-Turbine-Backend'] == short.url


def test_a_local_server_without_memory_is_off():
    """What `turbine plan` computes for the model that it would load decides, as long as it has not loaded it."""
    name = 'qwen3-8b'  # a shape that it knows, and a context that no machine holds
    with Backend(models=[name], n_ctx=8192, software='turbine') as short, \
         Backend(models=[name], n_ctx=1 << 24, software='turbine', info={'/api/ps': {'models': []}}) as long, \
         Backend(models=[name], n_ctx=1 << 24, software='turbine', info={'/api/ps': {'models': [{'name': name}]}}) as has:
        base = f'backend {short.url}\n class short\n context 100000\nbackend {long.url}\n class long\n'
        with Router(config=base) as r:
            wait(lambda: any('off' in b for b in r.status()['backends']), 20, r.log)
            b = r.backend(long.url)
            assert b['health'] == 'off' and 'GiB for a context of 16777216 tokens' in b['off']
            assert f'{long.url} is off: it needs ' in r.events('memory')[0]['text']
            reply = r.post(PATH, {**chat('word ' * 20000), 'model': name})
            assert (reply.status, reply.headers['X-Turbine-Backend']) == (200, short.url), reply.body
            # On again where nobody asks for the check any more, and never off where the model is loaded.
            r.config.write_text(base + f' check-memory no\nbackend {has.url}\n class long\n')
            r.process.send_signal(signal.SIGHUP)
            wait(lambda: len(r.status()['backends']) == 3 and '/api/ps' in has.asked)
            wait(lambda: all('off' not in b for b in r.status()['backends']))
            assert r.events('memory')[-1]['text'].startswith(f'{long.url} is on')
            assert r.post(PATH, {**chat('word ' * 20000), 'model': name}).headers['X-Turbine-Backend'] != short.url
            assert not any(has.url in e['text'] for e in r.events('memory'))


def alive(pid):
    try:
        os.kill(pid, 0)
        return pathlib.Path(f'/proc/{pid}/stat').read_text().split(')')[-1].split()[0] != 'Z'
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_status_is_a_table():
    with Backend() as b, Router('--short', b.url) as r:
        r.wait_known()
        r.post(PATH, chat())
        done = subprocess.run([TURBINE, 'route', 'status', '--port', str(r.port)], capture_output=True, text=True,
                              timeout=20)
        head, line, foot = done.stdout.splitlines()
        assert head.split()[:4] == ['BACKEND', 'CLASS', 'HEALTH', 'CONTEXT']
        assert line.split()[:4] == [b.url, 'short', 'up', '8192'] and foot.startswith('1 requests')
