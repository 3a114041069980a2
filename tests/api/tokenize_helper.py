"""Runs `turbine tokenize`."""
import os
import subprocess

TURBINE = os.environ.get('TURBINE', 'build/turbine')


def run(model, text, *options):
    return subprocess.run([TURBINE, 'tokenize', str(model), *options], input=text,
                          capture_output=True, timeout=60)


def token_ids(model, text, *options):
    done = run(model, text, *options)
    assert done.returncode == 0, done.stderr.decode()
    return [int(i) for i in done.stdout.split()]
