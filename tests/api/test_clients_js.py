"""The server through the official JavaScript clients: scripts of clients_js, whose results
are TAP.  script/bootstrap installs the clients where there is a node that is new enough."""
import os
import re
import shutil
import subprocess

import pytest
from clients_helper import ROOT, RULES, serve

SCRIPTS = ROOT / 'tests/api/clients_js'
CLIENTS = ROOT / 'build/node-clients'


@pytest.fixture(scope='module')
def server():
    yield from serve(RULES)


def why_not():
    node = shutil.which('node')
    if not node:
        return 'no node'
    version = subprocess.run([node, '--version'], capture_output=True, text=True).stdout
    if not (found := re.match(r'v(\d+)', version)) or int(found[1]) < 20:
        return f'node {version.strip()} is older than 20'
    if not (CLIENTS / 'installed').exists():
        return 'build/node-clients is not there: script/bootstrap test installs it'
    return None


@pytest.mark.parametrize('name', ['openai', 'anthropic', 'ollama'])
def test_javascript(name, server):
    if reason := why_not():
        pytest.skip(reason)
    done = subprocess.run(['node', SCRIPTS / f'{name}.mjs', server.url, server.model],
                          env=os.environ | {'NODE_CLIENTS': str(CLIENTS)},
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = int(re.match(r'1\.\.(\d+)\n', done.stdout)[1])
    assert len(re.findall(r'^ok ', done.stdout, re.M)) == plan, done.stdout
