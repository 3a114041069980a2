"""Starts `turbine route` and talks to it."""
import itertools
import json
import os
import pathlib
import tempfile

from http_process import HttpProcess, wait

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve()
_folder = tempfile.TemporaryDirectory(prefix='turbine-route.')
_counter = itertools.count()


class Router(HttpProcess):
    def __init__(self, *options, config=None, env=None):
        path = pathlib.Path(_folder.name) / f'{next(_counter)}'
        if config is not None:
            self.config = path.with_suffix('.conf')
            self.config.write_text(config)
            options += ('--config', self.config)
        super().__init__([TURBINE, 'route', '--port', '0', *options], path, env)

    def events(self, name):
        return [e for e in map(json.loads, self.log().splitlines()) if e['event'] == name]

    def status(self):
        return self.get('/route/status').json()

    def backend(self, url):
        return next(b for b in self.status()['backends'] if b['url'] == url)

    def wait_known(self, n=1, seconds=10):
        """Until n backends have said what they are."""
        return wait(lambda: sum(b['known'] and bool(b['models']) and b['health'] == 'up' for b in self.status()['backends']) >= n,
                    seconds, self.log)


def chat(text='hi', **more):
    return {'model': 'm', 'messages': [{'role': 'user', 'content': text}], **more}
