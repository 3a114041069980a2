"""`turbine serve` with a tiny model and a store of its own, and plain HTTP to it."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

from store_helper import STORIES, TURBINE, Store, sha256


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


class StoreServer:
    def __init__(self, home, *options, **env):
        self.store = Store(home)
        env = {k: v for k, v in {**self.store.env, **env}.items()
               if not re.match('HF_|OLLAMA_|.*_proxy', k, re.I) or k in env}
        self.log_path = pathlib.Path(home) / 'serve.log'
        self.process = subprocess.Popen([TURBINE, 'serve', STORIES, '--port', '0', '--kv', 'f16', '--ctx', '256', *map(str, options)],
                                        stdout=subprocess.PIPE, stderr=open(self.log_path, 'a'), text=True, env=env)
        line = self.process.stdout.readline()
        self.started = line.startswith('listening on ')
        if not self.started:
            self.code = self.process.wait(20)
            raise RuntimeError(self.log())
        self.url = line.split()[-1]
        self.port = int(self.url.rsplit(':', 1)[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        code = self.stop()
        assert code in (0, -signal.SIGKILL), code

    def log(self):
        return self.log_path.read_text()

    def stop(self, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def connect(self, timeout=20):
        return socket.create_connection(('127.0.0.1', self.port), timeout)

    def request(self, method, path, body=None, headers=None, timeout=60):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        with contextlib.closing(c):
            if body is not None and not isinstance(body, bytes) and not hasattr(body, 'read') \
                    and not hasattr(body, '__next__'):
                body = json.dumps(body)
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return Reply(r, r.read())

    def post(self, path, body, **more):
        return self.request('POST', path, body, **more)

    def upload(self, data, name=None, **more):
        return self.post(f'/api/blobs/{name or "sha256:" + sha256(data)}', data, **more)

    def head(self, data):
        return self.request('HEAD', f'/api/blobs/sha256:{sha256(data)}').status

    def files(self):
        """Of the descriptors that the server has open: those below the store."""
        out = []
        for p in pathlib.Path(f'/proc/{self.process.pid}/fd').iterdir():
            with contextlib.suppress(OSError):
                to = os.readlink(p)
                if str(self.store.folder) in to:
                    out.append(to)
        return out

    def descriptors(self):
        return len(list(pathlib.Path(f'/proc/{self.process.pid}/fd').iterdir()))

    def leftovers(self):
        folder = self.store.folder / '.turbine'
        return sorted(p.name for p in folder.iterdir() if p.name != 'lock') if folder.exists() else []

    def wait(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what() and time.monotonic() < end:
            time.sleep(0.02)
        assert what()
