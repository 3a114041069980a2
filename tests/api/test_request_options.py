"""Options of a request that a model has fixed, or has of its own: what wins, and what is an error."""
import pytest

from store_helper import STORIES, Store
from test_server_models import PROMPT, Serve, random_gguf


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    s = Store(tmp_path_factory.mktemp('options'))
    s.create('f16', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_predict 3\n', check=0)
    s.create('turbo', f'FROM {random_gguf(s.home / "b.gguf", 2)}\nPARAMETER kv_cache_type turbo8/turbo4\nPARAMETER kv_tail 192\nPARAMETER num_ctx 256\n', check=0)
    return s


@pytest.fixture(scope='module')
def server(store):
    with Serve(store) as s:
        yield s


def ask(server, model, status=200, path='/api/generate', **options):
    body = {'model': model, 'stream': False, 'options': {'temperature': 0, **options}}
    if path == '/api/generate':
        body.update(prompt=PROMPT, raw=True)
    elif path == '/api/chat':
        body['messages'] = []  # loads it: these models have no chat template
    else:
        body['input'] = PROMPT
    return server.post(path, body, status)


PATHS = ['/api/generate', '/api/chat', '/api/embed']


@pytest.mark.parametrize('path', PATHS)
def test_the_type_that_the_model_has(server, path):
    short = {'num_predict': 2}
    for kind in ('f16', 'f16/f16'):
        ask(server, 'f16', path=path, kv_cache_type=kind, **short)
    for kind in ('turbo8/turbo4', 'near-lossless', 'turbo8/turbo4:tail=192', 'turbo8/turbo4:tail=129'):
        ask(server, 'turbo', path=path, kv_cache_type=kind, **short)
    ask(server, 'turbo', path=path, kv_tail=192, **short)
    ask(server, 'turbo', path=path, kv_tail=130, kv_cache_type='turbo8/turbo4:tail=5', **short)  # whole pages; a tail wins
    ask(server, 'f16', path=path, kv_tail=7, **short)  # all are exact
    ask(server, 'f16', path=path, kv_tail=None, kv_cache_type=None, **short)


@pytest.mark.parametrize('path', PATHS)
def test_another_type_says_how(server, path):
    e = ask(server, 'f16', 400, path, kv_cache_type='turbo4')['error']
    assert e.startswith("options.kv_cache_type is turbo4, but the cache of model 'f16:latest' is f16")
    assert "'PARAMETER kv_cache_type turbo4' in its Modelfile" in e and '--kv turbo4 or TURBINE_KV_CACHE_TYPE=turbo4' in e
    for other in ('turbo8', 'turbo4/turbo8', 'turbo8/turbo4:plain', 'turbo8/turbo4:tail=64'):
        assert 'is turbo8/turbo4:tail=192 with 192 exact tokens' in ask(server, 'turbo', 400, path, kv_cache_type=other)['error']
    e = ask(server, 'turbo', 400, path, kv_tail=128)['error']
    assert 'options.kv_tail is 128' in e and "'PARAMETER kv_tail 128'" in e and 'with --tail 128' in e


def test_no_type_at_all(server):
    loads = server.metric('turbine:model_loads_total')
    assert 'nearest are turbo8 (8.1) and turbo4 (4.1)' in ask(server, 'f16', 400, kv_cache_type='iq4_nl')['error']
    assert 'unknown KV type' in ask(server, 'f16', 400, kv_cache_type='no')['error']
    assert 'option "kv_cache_type" must be of type string' in ask(server, 'f16', 400, kv_cache_type=4)['error']
    assert 'option "kv_tail" must be of type integer' in ask(server, 'f16', 400, kv_tail='4')['error']
    assert 'options.kv_tail must be an integer from 0' in ask(server, 'f16', 400, kv_tail=-1)['error']
    assert server.metric('turbine:model_loads_total') == loads  # said before a model is loaded for it


def test_the_command_line_of_the_server(store):
    with Serve(store, '--kv', 'turbo3') as s:
        ask(s, 'turbo', kv_cache_type='turbo3', num_predict=1)
        assert "is turbo3:tail=192 with 192 exact tokens" in ask(s, 'turbo', 400, kv_cache_type='f16')['error']


def test_num_predict_of_the_model_is_a_default(server):
    """-1 and -2 are values, and win: as many as fit (Ollama's docs/modelfile.md)."""
    assert ask(server, 'f16')['eval_count'] == 3
    assert ask(server, 'f16', num_predict=5)['eval_count'] == 5
    for n in (-1, -2, 0):
        r = ask(server, 'f16', num_predict=n, num_ctx=64)
        assert r['eval_count'] == 64 - r['prompt_eval_count'] and r['done_reason'] == 'length'
    assert ask(server, 'f16', num_predict=None)['eval_count'] == 3
