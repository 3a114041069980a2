"""CPU time of other processes.  On a shared machine a figure is worth little without it:
llama.cpp's threads spin while they wait for each other, and one that has lost its CPU to
another process holds up all."""
import os
import time

LIMIT = 0.1   # of one core; a run beside more is disturbed


def _others_seconds():
    with open('/proc/stat') as f:
        user, nice, system, _, _, irq, softirq, steal = map(int, f.readline().split()[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf('SC_CLK_TCK')
    return busy - sum(os.times()[:4])  # children count once they have ended


class Watch:
    def __init__(self):
        self.start, self.before = time.perf_counter(), _others_seconds()

    def stop(self):
        """[seconds, cores that others used meanwhile]; the system counts in steps of 10 ms,
        so the two of them at the ends are not held against a run."""
        seconds = time.perf_counter() - self.start
        return [seconds, round(max(0.0, (_others_seconds() - self.before - 0.02) / seconds), 3)]


class Patience:
    """Waits for others to be quiet, all waits together no longer than a given time."""

    def __init__(self, seconds):
        self.left = seconds

    def wait(self, sample=0.25):
        while self.left > 0:
            watch = Watch()
            time.sleep(sample)
            self.left -= sample
            if watch.stop()[1] <= LIMIT:
                return
