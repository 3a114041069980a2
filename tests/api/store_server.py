"""`turbine serve` with a tiny model and a store of its own, and plain HTTP to it."""
import contextlib
import os
import pathlib
import re
import signal

from http_process import HttpProcess, wait
from store_helper import STORIES, TURBINE, Store, sha256


class StoreServer(HttpProcess):
    patience = 60

    def __init__(self, home, *options, **env):
        self.store = Store(home)
        env = {k: v for k, v in {**self.store.env, **env}.items()
               if not re.match('HF_|OLLAMA_|.*_proxy', k, re.I) or k in env}
        super().__init__([TURBINE, 'serve', STORIES, '--port', '0', '--kv', 'f16', '--ctx', '256', *options],
                         pathlib.Path(home) / 'serve.log', env)

    def __exit__(self, *_):
        code = self.stop()
        assert code in (0, -signal.SIGKILL), code

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
        wait(what, seconds, self.log)
