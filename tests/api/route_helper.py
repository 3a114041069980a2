"""Starts `turbine route` and talks to it."""
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve()
_folder = tempfile.TemporaryDirectory(prefix='turbine-route.')
_counter = itertools.count()


class Reply:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    def json(self):
        return json.loads(self.body)


class Router:
    def __init__(self, *options, config=None, env=None):
        self.path = pathlib.Path(_folder.name) / f'{next(_counter)}'
        options = list(map(str, options))
        if config is not None:
            self.config = self.path.with_suffix('.conf')
            self.config.write_text(config)
            options += ['--config', str(self.config)]
        self.process = subprocess.Popen([TURBINE, 'route', '--port', '0', *options], stdout=subprocess.PIPE,
                                        stderr=open(self.path, 'w'), text=True, env=env)
        line = self.process.stdout.readline()
        if not line.startswith('listening on '):
            self.process.wait(10)
            raise RuntimeError(self.log())
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return self.path.read_text()

    def events(self, name):
        return [e for e in map(json.loads, self.log().splitlines()) if e['event'] == name]

    def stop(self, timeout=20):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def request(self, method, path, body=None, headers=None, timeout=20):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        with contextlib.closing(c):
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Reply(r, r.read())

    def get(self, path, headers=None):
        return self.request('GET', path, headers=headers)

    def post(self, path, body, headers=None, timeout=20):
        return self.request('POST', path, body, headers, timeout)

    def send(self, path, body, headers='', receive_buffer=0):
        """A connection on which a request was sent, and nothing read."""
        data = json.dumps(body).encode()
        s = socket.socket()
        if receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        s.settimeout(20)
        s.connect(('127.0.0.1', self.port))
        s.sendall(f'POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n{headers}\r\n'
                  .encode() + data)
        return s

    def status(self):
        return self.get('/route/status').json()

    def backend(self, url):
        return next(b for b in self.status()['backends'] if b['url'] == url)

    def wait_known(self, n=1, seconds=10):
        """Until n backends have said what they are."""
        return wait(lambda: sum(bool(b['models']) and b['health'] == 'up' for b in self.status()['backends']) >= n,
                    seconds, self.log)

    def rss(self):
        text = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
        return int(text.split('VmRSS:')[1].split()[0]) * 1024


def wait(condition, seconds=5, why=lambda: ''):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)
    return True


def chat(text='hi', **more):
    return {'model': 'm', 'messages': [{'role': 'user', 'content': text}], **more}
