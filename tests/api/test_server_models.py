"""turbine serve with the models of a store: loaded when they are asked for, unloaded when they are not."""
import concurrent.futures
import contextlib
import datetime
import http.client
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from store_helper import ROOT, STORIES, TURBINE, Store

sys.path.insert(0, str(ROOT / 'ref'))
import gguf_meta  # noqa: E402
import gguf_write  # noqa: E402
import random_model  # noqa: E402

SANITIZED = '/san-' in os.environ.get('TURBINE', '')

PROMPT = 'Once upon a time'


class Serve:
    def __init__(self, store, *args, **env):
        self.ended = False
        self.log_path = store.home / f'serve-{time.monotonic_ns()}.log'
        with open(self.log_path, 'w') as log:
            self.process = subprocess.Popen([TURBINE, 'serve', *map(str, args), '--port', '0'], stdout=subprocess.PIPE,
                                            stderr=log, text=True, env={**store.env, **env}, cwd=store.home)
        line = self.process.stdout.readline()
        if not line.startswith('listening on '):
            self.process.wait(20)
            raise RuntimeError(self.log())
        self.port = int(line.strip().rsplit(':', 1)[1])

    def log(self):
        return self.log_path.read_text()

    def __enter__(self):
        return self

    def end(self):
        if not self.ended:  # a second signal ends it at once
            self.process.send_signal(signal.SIGTERM)
        self.ended = True

    def __exit__(self, *_):
        self.end()
        self.process.wait(40)
        self.process.stdout.close()
        assert self.process.returncode == 0, self.log()[-2000:]

    def request(self, method, path, body=None, timeout=60):
        c = http.client.HTTPConnection('127.0.0.1', self.port, timeout=timeout)
        with contextlib.closing(c):
            c.request(method, path, json.dumps(body) if body is not None else None)
            r = c.getresponse()
            return r.status, r.read().decode()

    def get(self, path):
        status, text = self.request('GET', path)
        assert status == 200, text
        return json.loads(text)

    def post(self, path, body, status=200):
        got, text = self.request('POST', path, body)
        assert got == status, text
        return json.loads(text)

    def text(self, model, n=8, **more):
        """What the model goes on with, greedily."""
        body = {'model': model, 'prompt': PROMPT, 'temperature': 0, 'max_tokens': n, **more}
        return self.post('/v1/completions', body)['choices'][0]['text']

    def generate(self, model, **more):
        body = {'model': model, 'prompt': PROMPT, 'raw': True, 'stream': False,
                'options': {'temperature': 0, 'num_predict': 8}, **more}
        return self.post('/api/generate', body)

    def ps(self):
        return [m['name'] for m in self.get('/api/ps')['models']]

    def metric(self, name):
        found = re.search(f'^{re.escape(name)} (.*)$', self.request('GET', '/metrics')[1], re.M)
        return float(found[1]) if found else 0.0

    def until(self, what, seconds=10):
        end = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < end, self.log()[-1500:]
            time.sleep(0.02)


def random_gguf(path, seed, n_embd=64, n_ctx=512, n_vocab=None):
    """A model of noise with the vocabulary of stories260K, or with the larger one of SmolLM2."""
    source = ROOT / 'tests/data/smollm2_vocab.gguf' if n_vocab else STORIES
    vocab = {k: v for k, v in gguf_meta.read(source).items() if k.startswith('tokenizer.')}
    meta, tensors = random_model.build(
        np.random.default_rng(seed), 'llama', n_vocab=len(vocab['tokenizer.ggml.tokens'][1]), n_embd=n_embd, n_layer=1,
        n_ff=64, n_head=1, n_head_kv=1, d=64, tied=True, n_ctx=n_ctx)
    meta = {**meta, **vocab, 'general.name': f'Noise {seed}'.encode()}
    meta.pop('llama.vocab_size', None)
    gguf_write.write(path, meta, tensors)
    return path


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """Three small models of different weights, one with a long context, and a slow one."""
    home = tmp_path_factory.mktemp('models')
    s = Store(home)
    small = 'PARAMETER num_ctx 256\nPARAMETER kv_cache_type f16\nPARAMETER seed 5\n'
    s.create('a', f'FROM {STORIES}\n{small}', check=0)
    s.create('b', f'FROM {random_gguf(home / "b.gguf", 2)}\n{small}', check=0)
    s.create('c', f'FROM {random_gguf(home / "c.gguf", 3)}\n{small}', check=0)
    s.create('long', f'FROM {random_gguf(home / "long.gguf", 4, n_ctx=65536)}\nPARAMETER kv_cache_type f16\n', check=0)
    s.create('slow', f'FROM {random_gguf(home / "slow.gguf", 5, n_embd=256, n_vocab=True)}\n{small}', check=0)
    return s


@pytest.fixture(scope='module')
def texts(made):
    """Answers of each model when it is the only one."""
    out = {}
    for name in ('a', 'b', 'c'):
        with Serve(made, name) as s:
            out[name] = s.text(name)
    assert len(set(out.values())) == 3
    return out


# ---- names and lists ----

def test_nothing_is_loaded_before_it_is_asked_for(made):
    with Serve(made) as s:
        assert s.ps() == [] and s.request('GET', '/readyz')[0] == 200
        tags = {m['name']: m for m in s.get('/api/tags')['models']}
        assert sorted(tags) == ['a:latest', 'b:latest', 'c:latest', 'long:latest', 'slow:latest']
        rows = [line.split() for line in made.ok('list').splitlines()[1:]]
        assert {r[0]: r[1] for r in rows} == {n: m['digest'][:12] for n, m in tags.items()}
        assert tags['a:latest']['details']['parameter_size'] == '292.80K'
        assert tags['long:latest']['details']['context_length'] == 65536
        ids = [m['id'] for m in s.get('/v1/models')['data']]
        assert ids[:5] == [m['name'] for m in s.get('/api/tags')['models']]
        assert ids[5:] == [f'claude-turbine-{name}' for name in ids[:5]]
        assert s.get('/v1/models/A')['id'] == 'A' and s.get('/v1/models/b:latest')['max_model_len'] == 256
        assert s.request('GET', '/v1/models/nobody')[0] == 404
        assert s.get('/slots') == [] and s.get('/props?model=a')['is_sleeping'] is True
        assert s.ps() == [] and s.metric('turbine:model_loads_total') == 0


@pytest.mark.parametrize('name', ['a', 'a:latest', 'A:LATEST', 'library/a', 'claude-turbine-a', 'claude-turbine-a:latest'])
def test_names(made, texts, name):
    with Serve(made) as s:
        assert s.text(name) == texts['a']
        assert s.ps() == ['a:latest']


def test_unknown_names(made):
    with Serve(made) as s:
        for path, body in [('/v1/completions', {'prompt': 'x'}), ('/api/generate', {'prompt': 'x'}),
                           ('/v1/messages', {'max_tokens': 1, 'messages': [{'role': 'user', 'content': 'x'}]})]:
            for name in ('nobody', '../a', '/etc/passwd', 'a:b:c'):
                assert s.request('POST', path, {'model': name, **body})[0] == 404
        status, text = s.request('POST', '/v1/completions', {'prompt': 'x'})
        assert status == 400 and 'model is required' in text
        s.text('b')
        assert s.post('/v1/completions', {'prompt': 'x', 'max_tokens': 1})['model'] == 'b:latest'  # used last


def test_model_of_the_command_line_stays(made, texts):
    with Serve(made, 'b', '--keep-alive', '1', '--alias', 'mine', '--any-model') as s:
        assert s.ps() == ['b:latest']
        assert s.text('mine') == s.text('nobody') == s.text('') == texts['b'] and s.text('a') == texts['a']
        assert [m['id'] for m in s.get('/v1/models')['data']][:2] == ['b:latest', 'mine']
        s.until(lambda: s.ps() == ['b:latest'])
        assert s.get('/api/ps')['models'][0]['expires_at'].startswith('9999')
        assert s.get('/props')['model_alias'] == 'b:latest'


def test_options_that_need_a_model(made):
    for option in (['--any-model'], ['--alias', 'x']):
        done = made.run('serve', *option, check=2)
        assert 'needs a MODEL' in done.stderr
    assert 'neither' not in made.run('serve', 'nobody', check=1).stderr
    for bad in (['--ctx', 'much'], ['--ctx', '10'], ['--keep-alive', 'x'], ['--memory', '5'], ['--max-loaded', '-1']):
        assert made.run('serve', *bad, '--port', '0').returncode != 0


def test_show_of_a_model_that_is_not_loaded(tmp_path):
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER num_ctx 128\nPARAMETER stop a\nPARAMETER stop b\nSYSTEM be brief\n'
                      'TEMPLATE {{ .Prompt }}\nLICENSE mine\nMESSAGE user hi\nMESSAGE assistant hello\n', check=0)
    with Serve(store) as s:
        show = s.post('/api/show', {'model': 'm'})
        assert show['system'] == 'be brief' and show['license'] == 'mine' and show['template'] == '{{ .Prompt }}'
        assert show['messages'] == [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'hello'}]
        lines = [line.split(None, 1) for line in show['parameters'].splitlines()]
        assert ['num_ctx', '128'] in lines and ['stop', '"a"'] in lines and ['stop', '"b"'] in lines
        assert [v for k, v in lines if k == 'num_ctx'] == ['128']
        assert show['model_info']['llama.block_count'] == 5 and 'completion' in show['capabilities']
        again = show['modelfile']
        assert 'FROM m:latest' in again and str(tmp_path) not in again
        store.create('again', again, check=0)
        assert s.post('/api/show', {'model': 'again'})['parameters'] == show['parameters']
        assert s.ps() == []


def test_listing_many_is_quick(tmp_path):
    store = Store(tmp_path)
    store.create('m0', f'FROM {STORIES}\n', check=0)
    for i in range(1, 50):
        folder = store.folder / f'manifests/registry.ollama.ai/library/m{i}'
        folder.mkdir()
        text = json.dumps(json.loads((folder.parent / 'm0/latest').read_text()) | {'i': i})
        (folder / 'latest').write_text(text)
    with Serve(store) as s:
        assert len(s.get('/api/tags')['models']) == 50
        start = time.monotonic()
        assert len(s.get('/api/tags')['models']) == 50
        assert time.monotonic() - start < 0.5


# ---- loading ----

def test_many_requests_load_once(made, texts):
    with Serve(made) as s, concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: s.text('a'), range(8))) == {texts['a']}
        assert s.metric('turbine:model_loads_total') == 1


def test_workers_do_not_wait_for_a_load(made):
    """With one worker, others are served while requests of several dialects wait for a slow model."""
    with Serve(made, '--http-threads', '1') as s, concurrent.futures.ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(s.text, 'slow') for _ in range(3)]
        waiting.append(pool.submit(s.generate, 'slow'))
        worst = 0
        while not all(w.done() for w in waiting):
            start = time.monotonic()
            assert s.request('GET', '/health')[0] == 200
            worst = max(worst, time.monotonic() - start)
        assert worst < 1
        assert len({w.result() for w in waiting[:3]}) == 1
        assert s.metric('turbine:model_loads_total') == 1


def test_load_duration_is_the_time_of_the_load(made):
    with Serve(made) as s:
        first, second = s.generate('slow'), s.generate('slow')
        assert first['load_duration'] > 20e6 > second['load_duration']
        assert first['total_duration'] >= first['load_duration']


def test_client_that_goes_while_its_model_loads(made, texts):
    with Serve(made) as s:
        for _ in range(3):
            c = http.client.HTTPConnection('127.0.0.1', s.port, timeout=10)
            c.request('POST', '/v1/completions', json.dumps({'model': 'slow', 'prompt': 'x', 'max_tokens': 1}))
            time.sleep(0.02)
            c.close()
        assert s.text('a') == texts['a'] and s.text('slow', 1) is not None
        s.until(lambda: s.metric('turbine:exchanges') == 1)


def test_end_while_a_model_loads(made):
    with Serve(made) as s:
        c = http.client.HTTPConnection('127.0.0.1', s.port, timeout=30)
        c.request('POST', '/v1/completions', json.dumps({'model': 'slow', 'prompt': 'x', 'max_tokens': 1}))
        time.sleep(0.05)
        s.end()
        assert c.getresponse().status == 200
        c.close()


def test_other_routes_load_too(made):
    with Serve(made) as s:
        ids = s.post('/tokenize', {'model': 'a', 'content': PROMPT})['tokens']
        assert s.ps() == ['a:latest'] and s.post('/detokenize', {'model': 'a', 'tokens': ids})['content'].strip() == PROMPT
        assert s.request('POST', '/tokenize', {'model': 'nobody', 'content': 'x'})[0] == 404
        assert len(s.post('/api/embed', {'model': 'b', 'input': 'x'})['embeddings'][0]) == 64
        assert sorted(s.ps()) == ['a:latest', 'b:latest']


# ---- unloading ----

def test_least_recently_used_goes_first(made):
    with Serve(made, '--max-loaded', '2') as s:
        s.text('a')
        s.text('b')
        s.text('a')
        s.text('c')
        assert sorted(s.ps()) == ['a:latest', 'c:latest']
        s.text('b')
        assert sorted(s.ps()) == ['b:latest', 'c:latest']


def test_the_model_of_the_command_line_goes_last(made):
    with Serve(made, 'a', '--max-loaded', '2') as s:
        for name in 'bcb':
            s.text(name)
            assert sorted(s.ps()) == ['a:latest', f'{name}:latest']
    with Serve(made, 'a', '--max-loaded', '1') as s:
        s.text('b')
        assert s.ps() == ['b:latest'] and s.text('a') and s.ps() == ['a:latest']


def test_three_by_default(made):
    with Serve(made) as s:
        for name in ('a', 'b', 'c', 'slow'):
            s.text(name, 1)
        assert sorted(s.ps()) == ['b:latest', 'c:latest', 'slow:latest']


def test_models_go_when_memory_is_needed(made):
    with Serve(made) as s:
        s.text('a')
        s.text('b')
        size = {m['name']: m['size'] for m in s.get('/api/ps')['models']}
    room = (size['a:latest'] + size['b:latest']) / 2**20
    with Serve(made, '--memory', f'{room + 0.5:.2f}M', '--max-loaded', '0') as s:
        s.text('a')
        s.text('b')
        assert sorted(s.ps()) == ['a:latest', 'b:latest']
        s.text('c')
        assert sorted(s.ps()) == ['b:latest', 'c:latest']


def test_model_that_never_fits(made, texts):
    with Serve(made, '--memory', '20M') as s:
        for path, where in [('/v1/completions', lambda r: r['error']['message']), ('/api/generate', lambda r: r['error'])]:
            message = where(s.post(path, {'model': 'slow', 'prompt': 'x'}, 503))
            needed, there = re.search(r'([\d.]+) MiB of memory are needed .*, and ([\d.]+) MiB are to be had', message).groups()
            assert float(needed) > 24 and float(there) == 20
        assert s.text('a') == texts['a']
    done = made.run('serve', 'slow', '--memory', '20M', '--port', '0', check=1)
    assert 'MiB of memory are needed' in done.stderr


def test_context_shrinks_to_the_memory(made):
    with Serve(made, '--ctx', 'auto') as s:
        s.text('long')
        assert s.get('/api/ps')['models'][0]['context_length'] == 65536
    with Serve(made, '--memory', '14M') as s:
        s.text('long')
        m = s.get('/api/ps')['models'][0]
        assert 2048 <= m['context_length'] < 65536 and m['size'] <= 14 * 2**20
        assert 'as memory allows' in s.log() and f'{m["context_length"]} tokens of context' in s.log()
    with Serve(made, '--ctx', '60000', '--memory', '14M') as s:  # what was asked for does not shrink
        assert '60000 tokens' in s.post('/v1/completions', {'model': 'long', 'prompt': 'x'}, 503)['error']['message']


def test_a_running_answer_is_not_cut_off(made, texts):
    """Another model waits until it is out."""
    with Serve(made, '--max-loaded', '1') as s, concurrent.futures.ThreadPoolExecutor(2) as pool:
        alone = s.text('slow', 200)
        running = pool.submit(s.text, 'slow', 200)
        s.until(lambda: s.metric('llamacpp:requests_processing') == 1)
        assert s.text('a') == texts['a']
        assert running.result() == alone
        s.until(lambda: s.ps() == ['a:latest'])


@pytest.mark.parametrize('most', [1, 2])
def test_storm(made, texts, most):
    """Random requests over three models while they come and go: each answer is right, and nothing is left behind."""
    rng = random.Random(most)
    names = [rng.choice('abc') for _ in range(200)]

    def ask(name):
        if rng.random() < 0.1:
            s.generate(name, keep_alive=0)
        return s.text(name) == texts[name]

    def state():
        s.until(lambda: s.metric('turbine:exchanges') == 1)
        resident = int(re.search(r'Rss:\s+(\d+)', pathlib.Path(f'/proc/{s.process.pid}/smaps_rollup').read_text())[1])
        return len(os.listdir(f'/proc/{s.process.pid}/fd')), resident * 1024

    with Serve(made, '--max-loaded', most, '--keep-alive', '0.05') as s, concurrent.futures.ThreadPoolExecutor(4) as pool:
        watcher = pool.submit(lambda: [s.get(path) for path in ('/api/ps', '/slots', '/props?model=a', '/v1/models') * 20])
        assert all(pool.map(ask, names[:100]))
        watcher.result()
        s.until(lambda: s.ps() == [])
        fds, before = state()
        assert all(pool.map(ask, names[100:]))
        s.until(lambda: s.ps() == [])
        now_fds, now = state()
        assert now_fds <= fds + 4, (fds, now_fds)
        if not SANITIZED:  # they keep what was freed
            assert now < before + 8e6, (before, now)
        assert s.metric('turbine:model_loads_total') == s.metric('turbine:model_unloads_total') > 3
        assert s.metric('turbine:generations_total{outcome="accepted"}') >= 200  # counters outlive models


# ---- keep_alive ----

def left(model):
    return (datetime.datetime.fromisoformat(model['expires_at'].replace('Z', '+00:00')) -
            datetime.datetime.now(datetime.timezone.utc)).total_seconds()


@pytest.mark.parametrize('value, seconds', [(20, 20), ('90s', 90), ('1h30m', 5400), (1.5, 1.5)])
def test_keep_alive(made, value, seconds):
    with Serve(made) as s:
        s.generate('a', keep_alive=value)
        assert seconds - 2 < left(s.get('/api/ps')['models'][0]) <= seconds
        if seconds > 10:
            time.sleep(2)
            s.text('a')  # counts from its end, for as long as the one before said
            assert seconds - 2 < left(s.get('/api/ps')['models'][0]) <= seconds
        s.generate('a', keep_alive='5m')
        s.post('/v1/completions', {'model': 'a', 'prompt': 'x', 'max_tokens': 1})
        assert 298 < left(s.get('/api/ps')['models'][0]) <= 300


@pytest.mark.parametrize('value', [-1, '-1s', '-5m'])
def test_for_ever(made, value):
    with Serve(made, '--keep-alive', '1') as s:
        s.generate('a', keep_alive=value)
        assert s.get('/api/ps')['models'][0]['expires_at'].startswith('9999')
        time.sleep(1.5)
        assert s.ps() == ['a:latest']


def test_expiry_is_exact(made):
    with Serve(made, '--keep-alive', '2s') as s:
        s.generate('a')
        start = time.monotonic()
        s.until(lambda: s.ps() == [])
        assert 1.5 < time.monotonic() - start < 3


def test_latest_expiry_comes_first(made):
    with Serve(made) as s:
        s.generate('a', keep_alive=100)
        s.generate('b', keep_alive=-1)
        s.generate('c', keep_alive=50)
        assert s.ps() == ['b:latest', 'a:latest', 'c:latest']


def test_load_and_unload(made):
    with Serve(made) as s:
        assert s.post('/api/generate', {'model': 'a', 'keep_alive': 0, 'stream': False})['done_reason'] == 'unload'
        assert s.metric('turbine:model_loads_total') == 0  # nothing was loaded to be unloaded
        assert s.post('/api/chat', {'model': 'a', 'messages': [], 'stream': False})['done_reason'] == 'load'
        assert s.ps() == ['a:latest']
        assert s.post('/api/chat', {'model': 'a', 'messages': [], 'keep_alive': 0, 'stream': False})['done_reason'] == 'unload'
        s.until(lambda: s.ps() == [], 2)
        assert s.generate('a', keep_alive=0)['done_reason'] == 'length'
        s.until(lambda: s.ps() == [], 2)
        assert s.request('POST', '/api/generate', {'model': 'nobody', 'keep_alive': 0})[0] == 404


def test_the_model_of_the_command_line_can_be_unloaded(made, texts):
    with Serve(made, 'b') as s:
        s.generate('b', keep_alive=0)
        s.until(lambda: s.ps() == [], 2)
        assert s.text('b') == texts['b'] and s.get('/api/ps')['models'][0]['expires_at'].startswith('9999')
    path = made.home / 'c.gguf'
    with Serve(made, path, '--kv', 'f16', '--ctx', '256') as s:
        assert s.generate('c', keep_alive=0) and not s.until(lambda: s.ps() == [], 2)
        assert s.text('') == texts['c'] and 'c' in s.ps()


# ---- changes of the store ----

def test_replaced_and_deleted(tmp_path, made):
    store = Store(tmp_path)
    b = made.home / 'b.gguf'
    store.create('m', f'FROM {STORIES}\nPARAMETER num_predict 3\nPARAMETER kv_cache_type f16\n', check=0)
    with Serve(store) as s:
        body = {'model': 'm', 'prompt': PROMPT, 'raw': True, 'stream': False, 'options': {'temperature': 0}}
        first = s.post('/api/generate', body)
        assert first['eval_count'] == 3  # the model's own num_predict
        store.create('m', f'FROM {STORIES}\nPARAMETER num_predict 5\nPARAMETER kv_cache_type f16\n', check=0)
        second = s.post('/api/generate', body)
        assert second['eval_count'] == 5 and second['response'].startswith(first['response'])
        s.until(lambda: len(s.ps()) == 1, 3)  # the old one has gone
        store.create('m', f'FROM {b}\nPARAMETER num_predict 5\nPARAMETER kv_cache_type f16\n', check=0)
        assert s.post('/api/generate', body)['response'] != second['response']
        store.ok('rm', 'm')
        s.post('/api/generate', body, 404)
        store.create('m', f'FROM {STORIES}\nPARAMETER num_predict 5\nPARAMETER kv_cache_type f16\n', check=0)
        assert s.post('/api/generate', body)['response'] == second['response']


def tags(s):
    return sorted((m['name'], m['digest'][:12]) for m in s.get('/api/tags')['models'])


def listed(store):
    return sorted(tuple(line.split()[:2]) for line in store.ok('list').splitlines()[1:])


def test_what_the_command_line_changes_is_unloaded(tmp_path, made):
    """Without a request that would tell: nobody has to ask for a model that is gone."""
    store = Store(tmp_path)
    text = f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_predict 3\n'
    store.create('m', text, check=0)
    store.create('n', f'FROM {made.home / "b.gguf"}\nPARAMETER kv_cache_type f16\n', check=0)
    with Serve(store, TURBINE_KEEP_ALIVE='-1') as s:
        unloads = lambda: s.metric('turbine:model_unloads_total')  # noqa: E731
        first, other = s.text('m'), s.text('n')
        assert sorted(s.ps()) == ['m:latest', 'n:latest'] and tags(s) == listed(store) and unloads() == 0
        store.ok('rm', 'm')
        s.until(lambda: unloads() == 1, 10)  # by itself
        assert s.ps() == ['n:latest'] and tags(s) == listed(store)
        s.post('/api/generate', {'model': 'm', 'prompt': 'x', 'stream': False}, 404)
        # A new name of loaded bytes, a replaced one, and one that came back.
        store.ok('cp', 'n', 'm')
        assert s.text('m') == other and s.ps() == ['n:latest'] and tags(s) == listed(store)
        store.create('n', text, check=0)
        assert s.ps() == []  # at once, where somebody looks
        assert s.text('m') == other and s.text('n') == first
        assert sorted(s.ps()) == ['m:latest', 'n:latest'] and tags(s) == listed(store)
        store.ok('rm', 'm', 'n')
        s.until(lambda: unloads() == 4, 10)
        assert s.ps() == [] and tags(s) == listed(store) == []
    store.create('m', text, check=0)
    with Serve(store, 'm') as s:  # the model of the command line goes, too
        assert s.ps() == ['m:latest'] and s.text('') == first
        store.ok('rm', 'm')
        assert s.ps() == []
        s.post('/v1/completions', {'prompt': 'x'}, 404)
        store.create('m', text, check=0)
        assert s.text('') == first and s.ps() == ['m:latest']


def test_a_request_ends_before_its_model_goes(tmp_path, made):
    store = Store(tmp_path)
    store.create('m', f'FROM {made.home / "slow.gguf"}\nPARAMETER kv_cache_type f16\nPARAMETER num_ctx 512\n', check=0)
    with Serve(store) as s, concurrent.futures.ThreadPoolExecutor(1) as pool:
        whole = s.text('m', 400)
        answer = pool.submit(s.text, 'm', 400)
        s.until(lambda: s.metric('llamacpp:requests_processing') or answer.done())
        store.ok('rm', 'm')
        assert answer.result(60) == whole
        s.until(lambda: s.metric('turbine:model_unloads_total') == 1, 10)
        assert s.ps() == []


def test_same_model_by_two_names_is_loaded_once(tmp_path):
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n', check=0)
    store.ok('cp', 'm', 'n')
    with Serve(store) as s:
        assert s.text('m') == s.text('n') and len(s.ps()) == 1


def test_load_that_fails(tmp_path, made):
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n', check=0)
    store.create('also', f'FROM {STORIES}\nPARAMETER num_ctx 64\n', check=0)
    blob = max((store.folder / 'blobs').iterdir(), key=lambda p: p.stat().st_size)
    whole = blob.read_bytes()
    with Serve(store) as s:
        blob.chmod(0o644)
        blob.write_bytes(b'GGUF' + whole[4:5000] + bytes(len(whole) - 5000))
        for path in ('/v1/completions', '/api/generate'):
            assert s.request('POST', path, {'model': 'm', 'prompt': 'x'})[0] == 500
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: s.request('POST', '/v1/completions', {'model': 'm', 'prompt': 'x'}), range(4)))
        assert {a[0] for a in answers} == {500} and all(json.loads(a[1])['error']['message'] for a in answers)
        assert len(s.get('/api/tags')['models']) == 2
        blob.write_bytes(whole)
        assert s.text('m')  # tried again
        assert s.metric('turbine:model_load_failures_total') >= 3


def test_bad_parameters_are_errors_of_the_load(tmp_path):
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n', check=0)
    manifest = store.folder / 'manifests/registry.ollama.ai/library/m/latest'
    j = json.loads(manifest.read_text())
    params = next(x for x in j['layers'] if x['mediaType'].endswith('.params'))
    from store_helper import sha256, write_blob
    data = json.dumps({'kv_cache_type': 'nonsense'}).encode()
    write_blob(store.folder, data)
    params.update(digest=f'sha256:{sha256(data)}', size=len(data))
    manifest.write_text(json.dumps(j))
    with Serve(store) as s:
        assert 'nonsense' in s.post('/v1/completions', {'model': 'm', 'prompt': 'x'}, 500)['error']['message']
    with Serve(store, '--kv', 'f16') as s:  # the command line wins
        assert s.text('m')


# ---- per model ----

def test_parameters_of_each_model(tmp_path, made):
    store = Store(tmp_path)
    store.create('m', f'FROM {made.home / "b.gguf"}\nPARAMETER num_ctx 128\nPARAMETER kv_cache_type turbo8/turbo4\n'
                      'PARAMETER stop girl\nPARAMETER temperature 1\nPARAMETER seed 3\n', check=0)
    store.create('n', f'FROM {STORIES}\nPARAMETER num_ctx 192\nPARAMETER kv_cache_type f16\n', check=0)
    with Serve(store) as s:
        ask = {'prompt': PROMPT, 'raw': True, 'stream': False}
        one, two = (s.post('/api/generate', {'model': 'm', **ask})['response'] for _ in range(2))
        assert one == two and 'girl' not in one  # its seed
        other = {s.post('/api/generate', {'model': 'n', **ask, 'options': {'num_predict': 20, 'temperature': 3}})['response']
                 for _ in range(4)}
        assert len(other) > 1
        loaded = {m['name']: m for m in s.get('/api/ps')['models']}
        assert loaded['m:latest']['context_length'] == 128 and loaded['n:latest']['context_length'] == 192
        assert (loaded['m:latest']['kv']['type_k'], loaded['n:latest']['kv']['type_k']) == ('turbo8', 'f16')
        assert {x['model'] for x in s.get('/slots')} == {'m:latest', 'n:latest'}
        metrics = s.request('GET', '/metrics')[1]
        assert re.search(r'^turbine_model_weight_bytes\{model="m:latest"\} \d+$', metrics, re.M)
        assert len(re.findall(r'^turbine:kv_bytes', metrics, re.M)) == 4
        loads = s.metric('turbine:model_loads_total')
        s.post('/api/generate', {'model': 'n', **ask, 'options': {'num_ctx': 64, 'num_predict': 5}})
        assert s.metric('turbine:model_loads_total') == loads  # a request's num_ctx caps it, and reloads nothing
    with Serve(store, '--ctx', '64', '--kv', 'f16') as s:  # the command line wins
        s.text('m')
        assert s.get('/api/ps')['models'][0]['context_length'] == 64


def test_a_stop_of_the_model(tmp_path):
    """The client knows of none: the answer has ended, by no stop of its own."""
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER stop girl\nPARAMETER temperature 0\n', check=0)
    with Serve(store) as s:
        for path in ('/completion', '/completions'):
            for stream in (False, True):
                status, text = s.request('POST', path, {'model': 'm', 'prompt': PROMPT, 'n_predict': 100, 'stream': stream})
                assert status == 200 and 'girl' not in text and 'stop_type":"eos' in text, text
        r = s.post('/v1/messages', {'model': 'm', 'max_tokens': 100, 'messages': [{'role': 'user', 'content': PROMPT}]})
        assert r['stop_reason'] in ('end_turn', 'max_tokens') and r['stop_sequence'] is None
        r = s.post('/v1/completions', {'model': 'm', 'prompt': PROMPT, 'max_tokens': 100})
        assert r['choices'][0]['finish_reason'] == 'stop' and 'girl' not in r['choices'][0]['text']


def test_a_seed_of_the_model_gives_way(tmp_path):
    """-1 of a request is any seed."""
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER seed 42\nPARAMETER temperature 2\n', check=0)
    with Serve(store) as s:
        ask = {'model': 'm', 'prompt': PROMPT, 'max_tokens': 30}

        def answers(**more):
            return {s.post('/v1/completions', {**ask, **more})['choices'][0]['text'] for _ in range(4)}
        assert len(answers()) == 1
        assert len(answers(seed=-1)) > 1 and len(answers(seed=-1.0)) > 1
        assert len(answers(seed=7)) == 1 and answers(seed=7) != answers()


def test_system_of_the_model(tmp_path):
    """Ollama's clients send an empty one where they have none; /apply-template shows what a chat gets."""
    store = Store(tmp_path)
    store.create('plain', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n', check=0)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nSYSTEM Speak of lighthouses.\nMESSAGE user Hello\nMESSAGE assistant Yes?\n', check=0)
    with Serve(store) as s:
        ask = {'prompt': 'x', 'stream': False, 'options': {'num_predict': 1}}
        n = {system: s.post('/api/generate', {'model': 'm', **ask, **({} if system is None else {'system': system})})['prompt_eval_count']
             for system in (None, '', 'y')}
        assert n[''] == n[None] > n['y']
        chat = {'messages': [{'role': 'user', 'content': 'x'}]}
        text = s.post('/apply-template', {'model': 'm', **chat})['prompt']
        assert 'Speak of lighthouses.' in text and 'Hello' in text and 'Yes?' in text
        shown = len(s.post('/tokenize', {'model': 'm', 'content': text, 'add_special': True, 'parse_special': True})['tokens'])
        assert shown == s.post('/v1/chat/completions', {'model': 'm', **chat, 'max_tokens': 1})['usage']['prompt_tokens']
        tools = [{'type': 'function', 'function': {'name': 'weather_of', 'parameters': {'type': 'object', 'properties': {}}}}]
        assert 'weather_of' in s.post('/apply-template', {'model': 'plain', **chat, 'tools': tools})['prompt']
        assert 'weather_of' not in s.post('/apply-template', {'model': 'plain', **chat, 'tools': tools, 'tool_choice': 'none'})['prompt']


def test_ps(made):
    with Serve(made) as s:
        s.generate('a', keep_alive=-1)
        s.generate('b', keep_alive='4m30s')
        out = made.run('ps', TURBINE_HOST=f'127.0.0.1:{s.port}', check=0).stdout
        head, *rows = (re.split(r' {2,}', line) for line in out.splitlines())
        assert head[:7] == ['NAME', 'ID', 'SIZE', 'PROCESSOR', 'CONTEXT', 'UNTIL', 'KV']
        assert [r[0] for r in rows] == ['a:latest', 'b:latest'] and [r[4] for r in rows] == ['256', '256']
        assert [r[5] for r in rows] == ['Forever', '4 minutes from now'] and rows[0][3] == '100% CPU'
        assert [r[1] for r in rows] == [m['digest'][:12] for m in s.get('/api/ps')['models']]


def test_ollama_store_is_served(tmp_path):
    store = Store(tmp_path)
    theirs = tmp_path / 'theirs'
    made = Store(tmp_path / 'x', models=None)
    made.env['TURBINE_MODELS'] = str(theirs)
    made.create('their', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n', check=0)
    with Serve(store, OLLAMA_MODELS=str(theirs)) as s:
        assert [m['name'] for m in s.get('/api/tags')['models']] == ['their:latest']
        assert s.text('their') and s.ps() == ['their:latest']


def test_version(made):
    with Serve(made) as s:
        assert re.fullmatch(r'\d+\.\d+\.\d+', s.get('/api/version')['turbine'])


def test_environment(made):
    with Serve(made, OLLAMA_KEEP_ALIVE='90', OLLAMA_MAX_LOADED_MODELS='1', OLLAMA_NUM_PARALLEL='2') as s:
        s.text('b')
        s.text('a')
        assert s.ps() == ['a:latest'] and 88 < left(s.get('/api/ps')['models'][0]) <= 90
        assert len(s.get('/slots')) == 2
    with Serve(made, '--keep-alive', '2m', '--max-loaded', '2', TURBINE_KEEP_ALIVE='90', TURBINE_MAX_LOADED_MODELS='1') as s:
        s.text('b')
        s.text('a')
        assert len(s.ps()) == 2 and 118 < left(s.get('/api/ps')['models'][0]) <= 120  # options win
    with Serve(made, TURBINE_KEEP_ALIVE='-1') as s:
        s.text('b')
        assert s.get('/api/ps')['models'][0]['expires_at'].startswith('9999')


def test_a_model_without_a_template_completes_prompts(tmp_path):
    """Every API makes of a single message what /api/generate makes of it with raw."""
    store = Store(tmp_path)
    base = f'FROM {STORIES}\nPARAMETER kv_cache_type f16\n'
    store.create('m', base, check=0)
    store.create('s', base + 'SYSTEM Once upon\n', check=0)
    with Serve(store) as s:
        want = s.generate('m')['response']
        assert want and s.generate('m', raw=False)['response'] == want
        chat = {'messages': [{'role': 'user', 'content': PROMPT}], 'stream': False, 'temperature': 0, 'max_tokens': 8}
        options = {'options': {'temperature': 0, 'num_predict': 8}}
        assert s.post('/api/chat', {'model': 'm', **chat, **options})['message']['content'] == want
        assert s.post('/v1/chat/completions', {'model': 'm', **chat})['choices'][0]['message']['content'] == want
        assert s.post('/v1/messages', {'model': 'm', **chat})['content'][0]['text'] == want
        turns = [{'role': 'user', 'content': 'Once '}, {'role': 'assistant', 'content': 'upon a '}, {'role': 'user', 'content': 'time'}]
        assert s.post('/api/chat', {'model': 'm', 'messages': turns, 'stream': False, **options})['message']['content'] == want
        system = s.generate('s', raw=False, prompt=' a time')
        raw = s.generate('m', prompt='Once upon\n\n a time')
        assert system['response'] == raw['response'] and system['prompt_eval_count'] == raw['prompt_eval_count']
        shown = s.post('/api/show', {'model': 'm'})
        assert shown['template'] == '{{ .Prompt }}' and 'TEMPLATE' not in shown['modelfile']
        log = s.log()
        assert 'm:latest has no chat template: prompts are completed as they are' in log
    with Serve(store, 's') as s:
        assert 'turbine serve: note: s:latest has no chat template' in s.log()


def test_a_context_beyond_training_is_said(tmp_path):
    """What is asked for holds, whoever asks: the file was trained for 512."""
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_ctx 700\n', check=0)
    store.create('n', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_ctx 512\n', check=0)
    said = 'context of %d tokens: the model was trained for 512 tokens'
    with Serve(store) as s:
        s.generate('n')
        assert 'was trained for' not in s.log()
        s.generate('m')
        s.until(lambda: said % 700 in s.log())
        assert {m['name']: m['context_length'] for m in s.get('/api/ps')['models']} == {'m:latest': 700, 'n:latest': 512}
    for args, env, n in [(['m'], {}, 700), (['n', '--ctx', '600'], {}, 600), ([STORIES, '--kv', 'f16'], {'OLLAMA_CONTEXT_LENGTH': '800'}, 800)]:
        with Serve(store, *args, **env) as s:
            assert f'turbine serve: note: ' in s.log() and said % n in s.log()
    assert said % 700 in store.run('run', 'm', 'x', '--max-tokens', 1, check=0).stderr


def test_a_cache_type_that_the_model_cannot_have(tmp_path):
    """Heads of 8 values are kept by no compressed type: the request is wrong, not the server."""
    store = Store(tmp_path)
    store.create('m', f'FROM {STORIES}\n', check=0)
    with Serve(store) as s:
        for path in ('/api/generate', '/v1/completions'):
            e = s.post(path, {'model': 'm', 'prompt': 'x'}, 400)['error']
            text = e if isinstance(e, str) else e['message']
            assert 'head size 8' in text and 'PARAMETER kv_cache_type f16' in text
