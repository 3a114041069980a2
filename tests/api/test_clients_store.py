"""Ollama's own clients at the store of a server: blobs, create, pull, copy, delete."""
import os
import re
import subprocess

import pytest

import pull_helper
from store_helper import STORIES, sha256
from store_server import StoreServer
from test_clients_js import CLIENTS, SCRIPTS, why_not

ollama = pytest.importorskip('ollama', reason='script/bootstrap test installs ollama')

WEIGHTS = STORIES.read_bytes()


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    with pull_helper.Server() as registry:
        registry.model(WEIGHTS)
        registry.model(pull_helper.noise(2_000_000), name='slow', chunk_delay=0.1)
        with StoreServer(tmp_path_factory.mktemp('clients'), TURBINE_REGISTRY=registry.url) as s:
            yield s


@pytest.fixture(scope='module')
def client(server):
    c = ollama.Client(host=server.url, timeout=60)
    yield c
    c.close()


@pytest.fixture(scope='module')
def model(client):
    digest = client.create_blob(STORIES)
    assert digest == 'sha256:' + sha256(WEIGHTS)
    r = client.create(model='py', files={'stories.gguf': digest}, system='Once.', parameters={'temperature': 0.5})
    assert r.status == 'success'
    return 'py'


def test_blobs(client, model, server):
    assert client.create_blob(STORIES) == 'sha256:' + sha256(WEIGHTS)  # it is there
    assert server.head(WEIGHTS) == 200


def test_a_large_blob(client, server, tmp_path):
    path = tmp_path / 'large'
    path.write_bytes(pull_helper.noise(40 << 20, 3))
    for _ in range(2):  # the second time its bytes are not wanted
        digest = client.create_blob(path)
    assert (server.store.folder / 'blobs' / digest.replace(':', '-')).stat().st_size == 40 << 20


def test_create(client, model, server):
    *parts, last = client.create(
        model='child', from_=model, template='{{ .Prompt }}', license=['a', 'b'], parameters={'stop': ['x'], 'num_ctx': 99},
        messages=[{'role': 'user', 'content': 'q'}, {'role': 'assistant', 'content': 'a'}], stream=True)
    assert last.status == 'success' and parts[-1].status == 'writing manifest'
    shown = server.store.ok('show', '--modelfile', 'child')
    for line in ('SYSTEM Once.', 'PARAMETER num_ctx 99', 'PARAMETER stop x', 'PARAMETER temperature 0.5', 'LICENSE b',
                 'MESSAGE assistant a'):
        assert line in shown


@pytest.mark.parametrize('more,status,says', [
    ({'from_': 'nobody'}, 404, "'nobody:latest' is not at"),
    ({}, 400, 'neither'),
    ({'from_': 'py', 'quantize': 'q4_0'}, 400, 'quantize'),
    ({'from_': 'py', 'parameters': {'num_ctx': 'x'}}, 400, 'must be of type integer'),
    ({'files': {'m.gguf': 'sha256:' + '0' * 64}}, 404, 'send it first'),
])
@pytest.mark.parametrize('stream', [True, False])
def test_create_errors(client, model, more, status, says, stream):
    with pytest.raises(ollama.ResponseError, match=says) as e:
        r = client.create(model='bad', stream=stream, **more)
        list(r)
    assert e.value.status_code == status


def test_list_and_show(client, model):
    listed = {m.model: m for m in client.list().models}
    assert listed['py:latest'].size > len(WEIGHTS)
    shown = client.show(model)
    assert 'temperature' in shown.parameters and 'SYSTEM Once.' in shown.modelfile
    assert client.generate(model, 'One day', raw=True, options={'num_predict': 2}).done
    client.delete(client.create(model='gone', from_=model) and 'gone')
    assert 'gone:latest' not in {m.model for m in client.list().models}


def test_copy_and_delete(client, model):
    assert client.copy(model, 'copy').status == 'success'
    assert client.delete('copy').status == 'success'
    for call in (lambda: client.delete('copy'), lambda: client.copy('copy', 'x')):
        with pytest.raises(ollama.ResponseError, match='not found') as e:
            call()
        assert e.value.status_code == 404


def test_pull(client, server):
    parts = list(client.pull('x', stream=True))
    assert [parts[0].status, parts[-1].status] == ['pulling manifest', 'success']
    assert 'x:latest' in server.store.names()
    assert client.pull('x').status == 'success'
    with pytest.raises(ollama.ResponseError, match='is not at') as e:
        client.pull('nobody')
    assert e.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match='not supported'):
        client.push('x')


def test_javascript(server, model):
    if reason := why_not():
        pytest.skip(reason)
    done = subprocess.run(['node', SCRIPTS / 'ollama_store.mjs', server.url, model],
                          env=os.environ | {'NODE_CLIENTS': str(CLIENTS)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = int(re.match(r'1\.\.(\d+)\n', done.stdout)[1])
    assert len(re.findall(r'^ok ', done.stdout, re.M)) == plan, done.stdout
