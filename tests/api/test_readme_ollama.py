"""The README: lines that it tells people to type, run as they stand there, each by sh; its table of commands."""
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

import pytest

import pull_helper
import server_helper
from store_helper import TURBINE, write_model

ROOT = pathlib.Path(__file__).resolve().parents[2]
README = (ROOT / 'README.md').read_text()
SHORT = b'{"num_predict": 8}'  # as the tiny model would not stop by itself
CLAUDE = '#!/bin/sh\necho "claude $ANTHROPIC_BASE_URL $ANTHROPIC_MODEL $CLAUDE_CODE_MAX_CONTEXT_TOKENS"\n'


def block(name):
    return re.search(rf'<!-- test: {name} -->\n```\w*\n(.*?)```', README, re.DOTALL)[1].splitlines()


def commands(name):
    """[(line, [output that the README shows of it])]"""
    out = []
    for line in block(name):
        if line.startswith('# '):
            out[-1][1].append(line[2:])
        elif line:
            out.append((line, []))
    return out


def is_shown(shown, said):
    """... stands for any text; how many blanks there are does not matter."""
    pattern = r'\s+'.join('.*?'.join(re.escape(part) for part in word.split('...')) for word in shown.split())
    return re.fullmatch(rf'\s*{pattern}\s*', said) is not None


class Shell:
    """sh in a home of its own, with a registry, an Ollama store that has been used, and a free port."""

    def __init__(self, home, registry):
        self.home, self.started = home, []
        with socket.socket() as s:
            s.bind(('127.0.0.1', 0))
            self.port = s.getsockname()[1]
        (home / 'bin').mkdir()
        (home / 'bin/claude').write_text(CLAUDE)
        (home / 'bin/claude').chmod(0o755)
        self.url = f'http://127.0.0.1:{self.port}'
        path = f'{home / "bin"}:{pathlib.Path(TURBINE).parent}:{os.environ["PATH"]}'
        self.env = {k: v for k, v in os.environ.items()
                    if not re.match('TURBINE_|OLLAMA_|HF_|ANTHROPIC_|CLAUDE|XDG_|.*_proxy', k, re.I)}
        self.env |= {'HOME': str(home), 'PATH': path, 'TURBINE_MODELS': str(home / 'models'),
                     'TURBINE_HOST': f'127.0.0.1:{self.port}', 'TURBINE_REGISTRY': registry}

    def listens(self):
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
            return True
        return False

    def run(self, line):
        """(status, standard output, all that was said)"""
        (self.home / 'work').mkdir(exist_ok=True)
        out, err = self.home / 'out', self.home / 'err'
        with open(out, 'w') as o, open(err, 'w') as e:
            # In a group of its own, so that what goes on behind the line can be ended.
            p = subprocess.Popen(['sh', '-c', line], env=self.env, cwd=self.home / 'work', stdin=subprocess.DEVNULL,
                                 stdout=o, stderr=e, start_new_session=True)
            self.started.append(p)
            code = p.wait(120)
        if re.search(r'&\s*(#.*)?$', line):
            for _ in range(600):
                if self.listens():
                    break
                time.sleep(0.05)
            assert self.listens(), err.read_text()
        return code, out.read_text(), out.read_text() + err.read_text()

    def ask(self, path, **body):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=60)
        with contextlib.closing(c):
            c.request('POST', path, json.dumps({'model': 'qwen3:0.6b', 'stream': False, **body}))
            reply = c.getresponse()
            return reply.status, json.loads(reply.read())

    def end(self):
        for p in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGTERM)
        if self.listens():  # one that launch has started, in a group of its own, or one that is about to end
            found = re.search(rf'^ok +server +{re.escape(self.url)}: .*it is process (\d+) \(turbine\)',
                              self.run('turbine doctor')[1], re.M)
            if found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(found[1]), signal.SIGTERM)
        for _ in range(600):
            if not self.listens():
                return
            time.sleep(0.05)
        raise AssertionError('the server does not end')


@pytest.fixture
def shell(tmp_path):
    weights = server_helper.model().read_bytes()
    for name in ('qwen3/0.6b', 'qwen3-coder/30b'):
        write_model(tmp_path / '.ollama/models', f'registry.ollama.ai/library/{name}',
                    [('model', weights), ('params', SHORT)])
    with pull_helper.Server() as registry:
        registry.model(weights, name='llama3.2', params=SHORT)
        s = Shell(tmp_path, registry.url)
        try:
            yield s
        finally:
            s.end()


def test_every_line_of_coming_from_ollama(shell):
    ran = commands('ollama')
    assert len(ran) >= 12 and sum(len(shown) for _, shown in ran) >= 10
    before = sorted((p, p.stat().st_mtime) for p in (shell.home / '.ollama').rglob('*'))
    said = {}
    for line, shown in ran:
        code, out, everything = shell.run(line)
        assert code == 0, f'{line}\n{everything}'
        lines = out.splitlines()
        for want in shown:
            # In their order, with others between them.
            rest = list(itertools.dropwhile(lambda text, want=want: not is_shown(want, text), lines))
            assert rest, f'{line}\nshould say: {want}\nsays:\n{everything}'
            lines = rest[1:]
        said[line.split('#')[0].strip()] = everything
        assert (' run ' not in line) or f'; server {shell.url}' in everything, everything
    verbs = {'serve', 'pull', 'list', 'run', 'create', 'show', 'ps', 'stop', 'cp', 'rm'}
    assert {re.search(r'turbine (\w+)', line)[1] for line in said if 'turbine' in line} == verbs
    # The environment of the first line holds: 30 minutes, less what the lines took.
    assert set(re.findall(r'(\d+) minutes from now', said['turbine ps'])) <= {'28', '29', '30'}
    assert 'success' in said['turbine pull llama3.2']
    assert sorted((p, p.stat().st_mtime) for p in (shell.home / '.ollama').rglob('*')) == before
    assert 'long' not in shell.run('turbine list')[1]


def test_every_line_of_claude_code(shell):
    """With a program of that name in place of Claude Code."""
    said = {}
    for line, _ in commands('claude'):
        code, out, everything = shell.run(line)
        # 1 of doctor is what it finds on this machine.
        assert code == 0 or code == 1 and 'doctor' in line, f'{line}\n{everything}'
        said[line.split('#')[0].strip()] = out
    assert re.search(r'^ok +store ', said['turbine doctor'], re.M)
    # launch has started a server, which stays; the model has the context that it was trained for.
    assert said['turbine launch claude qwen3-coder:30b'].split() == ['claude', shell.url, 'qwen3-coder:30b', '65536']
    assert f'export ANTHROPIC_BASE_URL={shell.url}\n' in said['turbine launch --print claude qwen3-coder:30b']


def test_the_router_s_file(shell):
    (shell.home / 'fleet.conf').write_text('\n'.join(block('route')) + '\n')
    code, _, said = shell.run('turbine route --check ../fleet.conf')
    assert code == 0, said


def test_what_differs(shell):
    """What the README says of prompts that do not fit, and of num_ctx."""
    assert shell.run('turbine serve &')[0] == 0
    assert shell.ask('/api/generate', prompt='hi', options={'num_ctx': 1 << 20})[1]['done']
    loaded = shell.run('turbine ps')[1]
    status, said = shell.ask('/api/generate', prompt='a b ' * 99, options={'num_ctx': 64})
    assert status == 400 and re.search(r' \d+ tokens > 64 maximum', said['error'])
    assert shell.run('turbine ps')[1].split()[:19] == loaded.split()[:19]  # neither gone nor loaded anew
    assert shell.ask('/api/push')[0] == 400


def test_every_variable_is_there():
    twins = set(re.findall(r'"OLLAMA_(\w+)"', (ROOT / 'src/cli/environment.def').read_text()))
    section = README[README.index('for X = '):README.index('A value that means nothing')]
    assert set(re.findall(r'`([A-Z_]+)`', section)) == twins


def test_every_command_is_in_the_table():
    there = re.findall(r'^COMMAND\((\w+),', (ROOT / 'src/cli/commands.def').read_text(), re.M)
    table = README[README.index('| command | does |'):README.index('Flags of `run`')]
    first = ''.join(row.split(' | ')[0] for row in table.splitlines() if row.startswith('| '))
    missing = [name for name in there if not re.search(rf'`{name}[ `]', first)]
    assert len(there) >= 25 and not missing, missing
