"""`turbine` on a pseudo-terminal."""
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import tempfile
import termios
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
# Calibrating the default model takes two minutes with sanitizers, more beside other tests.
PATIENCE = 600 if '/san-' in TURBINE else 60
_state = tempfile.TemporaryDirectory(prefix='turbine-state.')


MARKS = re.compile('\x1b\\[\\?2004[hl]')  # bracketed paste on, off
PART_OF_MARK = re.compile('\x1b(\\[(\\?(2(0(04?)?)?)?)?)?$')


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, *args, env=None, columns=0):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack('HHHH', 24 if columns else 0, columns, 0, 0))
            env = {'XDG_STATE_HOME': _state.name, **(env or os.environ)}  # what is typed is not the user's
            os.execve(TURBINE, [TURBINE, *map(str, args)], {**env, 'TERM': 'vt100'})
        self.output, self.part, self.marks = '', '', []  # what was shown, the marks of pastes apart
        self.seen = 0  # of output, by earlier waits

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)

    def send(self, text):
        os.write(self.fd, text.encode())

    def say(self, text, pattern, seconds=PATIENCE):
        """A line at the prompt, what it is answered, and the next prompt."""
        self.send(text + '\r')
        found = self.wait(pattern, seconds)
        self.wait('>>> ', seconds)
        return found

    def wait(self, pattern, seconds=PATIENCE):
        """The match of pattern in what came since the last wait."""
        end = time.monotonic() + seconds
        while True:
            found = re.compile(pattern).search(self.output, self.seen)
            if found:
                self.seen = found.end()
                return found
            ready = select.select([self.fd], [], [], end - time.monotonic())[0] \
                if time.monotonic() < end else []
            assert ready, f'no {pattern!r} in {self.output[self.seen:]!r}'
            try:
                more = os.read(self.fd, 65536)
            except OSError:  # the other side is closed
                more = b''
            assert more, f'ended without {pattern!r}: {self.output[self.seen:]!r}'
            self.take(more)

    def take(self, data):
        text = self.part + data.decode(errors='replace')
        part = PART_OF_MARK.search(text)
        self.part = part[0] if part else ''
        text = text[:len(text) - len(self.part)]
        self.marks += MARKS.findall(text)
        self.output += MARKS.sub('', text)

    def leave(self, seconds=120):
        """The exit code after Ctrl-D.  The line editor shows its prompt just before it takes
        over the terminal, which drops a Ctrl-D that comes between: so press it until it is
        heard.  With sanitizers, on a busy machine, leaving takes a while too."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                self.send('\x04')
                if select.select([self.fd], [], [], 0.5)[0]:
                    self.take(os.read(self.fd, 65536))
            except OSError:  # the other side is closed
                pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.pid = 0
                return os.waitstatus_to_exitcode(status)
        raise AssertionError(f'the program does not end: {self.output[-2000:]!r}')
