"""A store whose processes are killed, whose disk forgets and fails.

STORE_KILLS says how many processes are killed at random moments, and how many moments of
each command are tried (`make check-store-kill`: 200, and all of them)."""
import os
import pathlib
import random
import re
import shutil
import time

import pytest

from store_helper import FORGET, STORIES, TURBINE, Store

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


# ---- kill -9 at random moments ----

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
        time.sleep(rng.random() * span)
        job.kill()
        job.communicate(timeout=60)
        killed += job.returncode == -9
        is_whole(store)
        assert 'first:latest' in store.names()
        if killed == KILLS:
            break
    assert killed == KILLS
    age(store)
    store.ok('verify', '--prune')
    assert leftovers(store) == []
    for name in store.names():
        store.ok('rm', name)
    assert store.blobs() == []


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
        done = store.run(*args, **{'LD_PRELOAD': str(FORGET), 'FORGET_SHADOW': str(shadow), **env})
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
}


def moments():
    n = 0
    while True:
        n += 1 if ALL else random.Random(n).randint(1, 12)
        yield n


def models(store):
    return {n.removesuffix(':latest') for n in store.names()}


@pytest.mark.parametrize('command', COMMANDS)
def test_kill_at_each_change(tmp_path, command):
    prepare, args, after = COMMANDS[command]
    disk = Disk(tmp_path, prepare)
    before = models(Store(disk.base))
    for n in moments():
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
        assert store.run(*args).returncode == 0 or args[0] == 'rm'
        assert models(store) == after
        age(store)
        store.ok('verify', '--prune')
        assert leftovers(store) == []
        disk.drop()


@pytest.mark.parametrize('command', COMMANDS)
def test_fail_at_each_change(tmp_path, command):
    prepare, args, after = COMMANDS[command]
    disk = Disk(tmp_path, prepare)
    before = models(Store(disk.base))
    for n in moments():
        done, store, others = disk.run(args, FORGET_FAIL_AT=str(n))
        assert done.returncode in (0, 1), done.stderr
        for s in [store, *others]:
            is_whole(s)
            assert before & after <= models(s) <= before | after
        if done.returncode:
            assert re.search('Input/output error|No space left', done.stderr), done.stderr
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
