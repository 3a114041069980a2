"""A store whose processes are killed, whose disk forgets and fails.

STORE_KILLS says how many processes are killed at random moments, and how many moments of
each command are tried (`make check-store-kill`: 200, and all of them)."""
import contextlib
import http.client
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading
import time

import pytest

import pull_helper
from store_helper import FORGET, STORIES, TURBINE, Store, sha256
from store_server import StoreServer

KILLS = int(os.environ.get('STORE_KILLS', 10))
ALL = KILLS >= 200
pytestmark = pytest.mark.skipif('/san-' in TURBINE or not FORGET.exists(),
                                reason=f'{FORGET} is not there, or not for sanitizers')


def is_whole(store):
    """Everything that is listed is there, and unchanged."""
    done = store.run('verify')
    assert done.returncode == 0, done.stdout + done.stderr
    for name in store.names():
        store.ok('show', name)


def leftovers(store):
    return [p.name for p in (store.folder / '.turbine').iterdir() if p.name != 'lock']


def age(store):
    """Blobs look old enough to be removed."""
    for p in (store.folder / 'blobs').iterdir():
        os.utime(p, (1e9, 1e9))


# ---- pulls, and a server's requests, as commands ----

GGUF = STORIES.read_bytes()
REGISTRY = pull_helper.Server()


@pytest.fixture(scope='module', autouse=True)
def registry():
    with REGISTRY:
        for name in 'xy':
            REGISTRY.model(GGUF, name=name)
        yield


def pull(store, **env):
    return store.run('pull', 'x', '--streams', 1, '--retries', 0, TURBINE_REGISTRY=REGISTRY.url, **env)


UPLOAD = ('POST', '/api/blobs/sha256:' + sha256(GGUF), GGUF)
CREATE = ('POST', '/api/create', {'model': 'n', 'files': {'m.gguf': 'sha256:' + sha256(GGUF)}, 'system': 'hello',
                                  'license': 'shared', 'parameters': {'num_ctx': 64}})
COPY = ('POST', '/api/copy', {'source': 'm', 'destination': 'n'})
DELETE = ('DELETE', '/api/delete', {'model': 'm'})
PULL = ('POST', '/api/pull', {'model': 'x'})


def ask(server, request):
    """The text of an error, '' for none; None: the server is gone."""
    try:
        r = server.request(*request)
    except (OSError, http.client.HTTPException):
        return None
    return r.text if r.status >= 400 or '{"error"' in r.text else ''


def served(*requests):
    """A command: a server that answers these.  Its exit code is 1 where one of them fails."""
    def run(store, **env):
        try:
            server = StoreServer(store.home, TURBINE_REGISTRY=REGISTRY.url, **env)
        except RuntimeError as e:
            return subprocess.CompletedProcess('serve', 1 if 'turbine serve:' in str(e) else -9, '', str(e))
        errors = []
        for r in requests:
            errors.append(ask(server, r))
            if errors[-1] is None:
                break
        code = server.stop()
        text = ''.join(filter(None, errors))
        if code == 0 and text and 'not found' not in text:
            code = 1
        return subprocess.CompletedProcess('serve', code, '', text + server.log())
    return run


# ---- kill -9 at random moments ----

def kill_within(job, seconds):
    with contextlib.suppress(subprocess.TimeoutExpired):
        job.wait(seconds)
    job.kill()
    job.communicate(timeout=60)


def test_random_kills(tmp_path):
    store = Store(tmp_path)
    for i in range(3):
        store.modelfile(f'FROM {STORIES}\nSYSTEM number {i}\nLICENSE shared\n', f'Modelfile{i}')
    span = 60
    for _ in range(5):  # the quickest, so that most are killed while they work
        start = time.monotonic()
        store.ok('create', 'first', '-f', 'Modelfile0')
        span = min(span, time.monotonic() - start)
    rng = random.Random(5)
    killed = 0
    for _ in range(KILLS * 20):
        name = f'm{rng.randrange(4)}'
        job = (store.start('rm', name) if rng.random() < 0.4 else
               store.start('create', name, '-f', f'Modelfile{rng.randrange(3)}'))
        kill_within(job, rng.random() * span)
        killed += job.returncode == -9
        is_whole(store)
        assert 'first:latest' in store.names()
        if killed == KILLS:
            break
    assert killed == KILLS
    end_well(store)


def end_well(store):
    age(store)
    for p in (store.folder / '.turbine').glob('*.part*'):  # of pulls that nobody took up again
        os.utime(p, (1e9, 1e9))
    store.ok('verify', '--prune')
    assert leftovers(store) == []
    for name in store.names():
        store.ok('rm', name)
    assert store.blobs() == []


def test_random_kills_of_pulls(tmp_path):
    store = Store(tmp_path)
    span = 60
    for _ in range(3):
        start = time.monotonic()
        assert pull(store).returncode == 0
        span = min(span, time.monotonic() - start)
        store.ok('rm', 'x')
    rng = random.Random(7)
    killed = 0
    for _ in range(KILLS * 20):
        name = rng.choice('xy')
        job = store.start('pull', name, TURBINE_REGISTRY=REGISTRY.url)
        kill_within(job, rng.random() * span)
        killed += job.returncode == -9
        is_whole(store)
        if rng.random() < 0.3:  # else the next one goes on from there
            for n in store.names():
                store.ok('rm', n)
        if killed == KILLS:
            break
    assert killed == KILLS
    assert pull(store).returncode == 0
    assert 'x:latest' in store.names()
    end_well(store)


def test_random_kills_of_a_server(tmp_path):
    store = Store(tmp_path)
    rng = random.Random(8)
    killed = 0
    while killed < KILLS:
        server = StoreServer(tmp_path, TURBINE_REGISTRY=REGISTRY.url)
        going = threading.Event()

        def work(n):
            own = random.Random(killed * 10 + n)
            going.wait()
            while True:
                request = own.choice([UPLOAD, CREATE, COPY, DELETE, PULL, (
                    'POST', '/api/create', {'model': 'm', 'files': CREATE[2]['files'], 'system': f'{own.random()}'})])
                if ask(server, request) is None:
                    return

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for t in threads:
            t.start()
        going.set()
        time.sleep(rng.random() * 0.3)
        server.process.kill()
        assert server.stop() == -9
        for t in threads:
            t.join(60)
        killed += 1
        is_whole(store)
    with StoreServer(tmp_path) as server:
        for request in (UPLOAD, CREATE):
            assert ask(server, request) == ''
    is_whole(store)
    end_well(store)


# ---- a disk that forgets ----

def keep(folder, shadow):
    """All that is there now is on the disk: the first state of forget.c's shadow."""
    shutil.rmtree(shadow, ignore_errors=True)
    shadow.mkdir()
    for base, dirs, files in os.walk(folder.parent):
        base = pathlib.Path(base)
        if shadow in (base, *base.parents):
            dirs.clear()
            continue
        lines = [f'd {(base / d).stat().st_ino} {d}\n' for d in dirs if base / d != shadow]
        for f in files:
            ino = (base / f).stat().st_ino
            lines.append(f'f {ino} {f}\n')
            shutil.copyfile(base / f, shadow / f'file-{ino}')
            os.link(base / f, shadow / f'pin-{ino}')
        (shadow / f'dir-{base.stat().st_ino}').write_text(''.join(lines))


def content(shadow, ino, size):
    kept = shadow / f'file-{ino}'
    if kept.exists():
        return kept.read_bytes()
    pin = shadow / f'pin-{ino}'
    return bytes(pin.stat().st_size if pin.exists() else size)  # blocks that were never written


def forget(shadow, ino, out):
    """What a disk has that kept neither bytes nor names that were not synced."""
    out.mkdir()
    listing = shadow / f'dir-{ino}'
    for line in listing.read_text().splitlines() if listing.exists() else []:
        kind, child, name = line.split(' ', 2)
        if kind == 'd':
            forget(shadow, int(child), out / name)
        else:
            (out / name).write_bytes(content(shadow, int(child), 0))


def forget_bytes(folder, shadow, out):
    """What a disk has that kept all names, and only the bytes that were synced."""
    out.mkdir()
    for p in folder.iterdir():
        if p == shadow:
            continue
        if p.is_dir():
            forget_bytes(p, shadow, out / p.name)
        else:
            (out / p.name).write_bytes(content(shadow, p.stat().st_ino, p.stat().st_size))


def run(store, args, **env):
    return args(store, **env) if callable(args) else store.run(*args, **env)


class Disk:
    """Copies of one store, on which a command runs until its Nth change of the disk."""

    def __init__(self, tmp_path, prepare):
        self.tmp, self.n = tmp_path, 0
        self.base = tmp_path / 'base'
        store = Store(self.base)
        for i in range(2):
            store.modelfile(f'FROM {STORIES}\nSYSTEM number {i}\nLICENSE shared\n', f'Modelfile{i}')
        prepare(store)

    def run(self, args, **env):
        """-> exit code, the store as it is, and the two as a disk could have it."""
        self.n += 1
        home = self.tmp / f'run{self.n}'
        shutil.copytree(self.base, home)
        store, shadow = Store(home), home / 'shadow'
        keep(store.folder, shadow)
        done = run(store, args, **{'LD_PRELOAD': str(FORGET), 'FORGET_SHADOW': str(shadow), **env})
        others = []
        for i, recover in enumerate([lambda out: forget(shadow, home.stat().st_ino, out),
                                     lambda out: forget_bytes(home, shadow, out)]):
            out = self.tmp / f'run{self.n}-{i}'
            recover(out)
            others.append(Store(out))
        return done, store, others

    def drop(self):
        for p in self.tmp.glob(f'run{self.n}*'):
            shutil.rmtree(p)


def nothing(store):
    pass


def one(store):
    store.ok('create', 'm', '-f', 'Modelfile0')


def two(store):
    one(store)
    store.ok('create', 'other', '-f', 'Modelfile1')


COMMANDS = {  # what was there before, the command, the models that are there afterwards
    'create the first': (nothing, ('create', 'm', '-f', 'Modelfile0'), {'m'}),
    'create another': (one, ('create', 'n', '-f', 'Modelfile1'), {'m', 'n'}),
    'replace': (one, ('create', 'm', '-f', 'Modelfile1'), {'m'}),
    'copy': (one, ('cp', 'm', 'n'), {'m', 'n'}),
    'remove the last': (one, ('rm', 'm'), set()),
    'remove one of two': (two, ('rm', 'm'), {'other'}),
    'pull': (nothing, pull, {'x'}),
    'pull what is there': (one, pull, {'m', 'x'}),
    'upload and create': (nothing, served(UPLOAD, CREATE), {'n'}),
    'copy and delete': (two, served(COPY, DELETE), {'other', 'n'}),
    'pull by a server': (two, served(PULL), {'m', 'other', 'x'}),
}


def moments(args):
    n = 0
    while True:
        n += 1 if ALL else random.Random(n).randint(1, 60 if callable(args) else 12)
        yield n


def models(store):
    return {n.removesuffix(':latest') for n in store.names()}


@pytest.mark.parametrize('command', COMMANDS)
def test_kill_at_each_change(tmp_path, command):
    prepare, args, after = COMMANDS[command]
    disk = Disk(tmp_path, prepare)
    before = models(Store(disk.base))
    for n in moments(args):
        done, store, others = disk.run(args, FORGET_KILL_AT=str(n))
        for s in [store, *others]:
            is_whole(s)
            assert before & after <= models(s) <= before | after
            if done.returncode == 0:
                assert models(s) == after
        if done.returncode == 0:
            break
        assert done.returncode == -9
        # What was left does not hinder the next one, and prune clears it away.
        for s in [store, *others] if callable(args) else [store]:
            assert run(s, args).returncode == 0 or args[0] == 'rm'
            assert models(s) == after
            is_whole(s)
            age(s)
            s.ok('verify', '--prune')
            assert leftovers(s) == []
        disk.drop()


@pytest.mark.parametrize('command', COMMANDS)
def test_fail_at_each_change(tmp_path, command):
    prepare, args, after = COMMANDS[command]
    disk = Disk(tmp_path, prepare)
    before = models(Store(disk.base))
    for n in moments(args):
        done, store, others = disk.run(args, FORGET_FAIL_AT=str(n))
        assert done.returncode in (0, 1), done.stderr
        for s in [store, *others]:
            is_whole(s)
            assert before & after <= models(s) <= before | after
        if done.returncode:
            assert re.search('Input/output error|[Nn]o space left', done.stderr), done.stderr
        if done.returncode == 0:
            assert models(store) == after
            if n > count_changes(disk, args):
                break
        disk.drop()


def count_changes(disk, args):
    """How many changes the command makes: the first N at which it is not killed."""
    if not hasattr(disk, 'changes'):
        low, high = 0, 1
        while disk.run(args, FORGET_KILL_AT=str(high))[0].returncode == -9:
            low, high = high, high * 2
        while high - low > 1:
            mid = (low + high) // 2
            if disk.run(args, FORGET_KILL_AT=str(mid))[0].returncode == -9:
                low = mid
            else:
                high = mid
        disk.changes = low
    return disk.changes


def test_the_disk_does_forget(tmp_path):
    """The shim is not blind: without a sync, names and bytes are gone."""
    disk = Disk(tmp_path, one)
    done, store, (names, data) = disk.run(('create', 'n', '-f', 'Modelfile1'), FORGET_SHADOW='')
    assert done.returncode == 0 and models(store) == {'m', 'n'}
    assert models(names) == {'m'}
    assert data.run('verify').returncode == 1
