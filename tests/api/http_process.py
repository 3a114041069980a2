"""A program that says `listening on URL` when it serves HTTP, and plain HTTP to it."""
import contextlib
import http.client
import json
import pathlib
import signal
import socket
import subprocess
import time


class Reply:
    def __init__(self, response, body):
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def text(self):
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def lines(self):
        return [json.loads(line) for line in self.body.splitlines()]


class HttpProcess:
    """Its errors go to the file log_path, behind what is there."""

    patience = 20  # seconds for an answer and for the end

    def __init__(self, command, log_path, env=None):
        self.log_path = pathlib.Path(log_path)
        with open(self.log_path, 'a') as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=log, text=True,
                                            env=env)
        line = self.process.stdout.readline()
        if not line.startswith('listening on '):
            self.process.wait(20)
            raise RuntimeError(self.log())
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self):
        return self.log_path.read_text()

    def stop(self, timeout=None):
        """The exit code, after SIGTERM."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout or self.patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def connect(self, timeout=10):
        return socket.create_connection(('127.0.0.1', self.port), timeout)

    def request(self, method, path, body=None, headers=None, timeout=None):
        """body: bytes, text, what yields them, or a value that goes as JSON."""
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout or self.patience)
        with contextlib.closing(c):
            if not (body is None or isinstance(body, (bytes, str)) or hasattr(body, 'read')
                    or hasattr(body, '__next__')):
                body = json.dumps(body)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Reply(r, r.read())

    def get(self, path, headers=None):
        return self.request('GET', path, headers=headers)

    def post(self, path, body, headers=None, timeout=None):
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

    def rss(self):
        text = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
        return int(text.split('VmRSS:')[1].split()[0]) * 1024


def wait(condition, seconds=5, why=lambda: ''):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, why()
        time.sleep(0.02)
    return True
