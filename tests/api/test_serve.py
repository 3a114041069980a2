"""turbine serve with a model: what clients rely on, whoever else is served."""
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = ROOT / os.environ.get('TURBINE', 'build/turbine')
MODEL = os.environ.get('TURBINE_TEST_MODEL', '')

pytestmark = pytest.mark.skipif(not os.path.exists(MODEL), reason=f'{MODEL} is not there (script/model)')

STORY = ('The lighthouse keeper wrote down the weather every morning. On Monday it rained, on Tuesday the wind came '
         'from the north, and on Wednesday a ship passed that nobody knew. ')


class Server:
    def __init__(self, *options):
        self.process = subprocess.Popen([TURBINE, 'serve', MODEL, '--port', '0', '--quiet', *options],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.port = int(re.match(r'listening on http://127\.0\.0\.1:(\d+)', self.process.stdout.readline())[1])
        self.model = self.get('/v1/models')['data'][0]['id']

    def connection(self):
        return http.client.HTTPConnection('127.0.0.1', self.port, timeout=120)

    def request(self, method, path, body=None):
        c = self.connection()
        c.request(method, path, json.dumps(body) if body is not None else None)
        r = c.getresponse()
        data = r.read()
        c.close()
        return r.status, json.loads(data)

    def get(self, path):
        return self.request('GET', path)[1]

    def chat(self, messages, **more):
        body = {'model': self.model, 'messages': messages, 'max_tokens': 24, 'temperature': 0, **more}
        status, answer = self.request('POST', '/v1/chat/completions', body)
        assert status == 200, answer
        return answer

    def idle(self):
        return not any(s['is_processing'] for s in self.get('/slots'))

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0


@pytest.fixture(scope='module')
def server():
    s = Server('--ctx', '4096')
    yield s
    s.close()


def text_of(answer):
    return answer['choices'][0]['message']['content']


def conversation(server, n_turn):
    """Turns of a chat; messages and answers."""
    messages = [{'role': 'system', 'content': STORY * 6}]
    answers = []
    for i in range(n_turn):
        messages.append({'role': 'user', 'content': f'{STORY} What happened on day {i}?'})
        answers.append(server.chat(messages))
        messages.append({'role': 'assistant', 'content': text_of(answers[-1])})
    return messages, answers


@pytest.mark.parametrize('kv', ['turbo4', 'f16', 'turbo8/turbo3'])
def test_turns_are_read_once_and_warm_equals_cold(kv):
    warm, cold = Server('--ctx', '4096', '--kv', kv), Server('--ctx', '4096', '--kv', kv)
    try:
        messages, answers = conversation(warm, 4)
        seen = again = 0
        for before, now in zip(answers, answers[1:]):
            had = before['usage']['total_tokens']
            seen += had
            again += max(0, had - now['usage']['prompt_tokens_details']['cached_tokens'])
        assert again <= 0.02 * seen, (again, seen)
        assert now['timings']['cache_n'] == now['usage']['prompt_tokens_details']['cached_tokens']
        last = cold.chat(messages[:-1])
        assert last['usage']['prompt_tokens_details']['cached_tokens'] == 0
        assert text_of(last) == text_of(answers[-1])
    finally:
        warm.close()
        cold.close()


def test_the_next_turn_finds_the_answer_as_it_comes_back(server):
    """Sampled tokens need not be those that their text becomes: what the next prompt begins with is read ahead."""
    for seed in range(6):
        messages = [{'role': 'user', 'content': f'Write about the citizens of town {seed}.'}]
        first = server.chat(messages, temperature=1.5, seed=seed, max_tokens=120)
        messages += [{'role': 'assistant', 'content': text_of(first)}, {'role': 'user', 'content': 'Go on.'}]
        time.sleep(1.5)
        second = server.chat(messages, max_tokens=1)
        usage = second['usage']
        assert usage['prompt_tokens'] - usage['prompt_tokens_details']['cached_tokens'] < 64, seed


def test_answers_do_not_depend_on_others(server):
    def ask(i):
        return text_of(server.chat([{'role': 'user', 'content': f'Tell me about the number {i}.'}],
                                   temperature=1, seed=i, max_tokens=30))

    alone = [ask(i) for i in range(6)]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == alone


def test_choices_share_the_prompt(server):
    answer = server.chat([{'role': 'user', 'content': STORY * 3}], n=4, temperature=1, seed=5)
    texts = [c['message']['content'] for c in answer['choices']]
    assert len(set(texts)) > 1
    one = server.chat([{'role': 'user', 'content': STORY * 3}], temperature=1, seed=5)
    assert text_of(one) == texts[0]


def test_a_client_that_goes_frees_its_place(server):
    for moment in (0.0, 0.05, 0.3):
        c = http.client.HTTPConnection('127.0.0.1', server.port, timeout=60)
        c.request('POST', '/v1/chat/completions', json.dumps({
            'model': server.model, 'stream': True, 'max_tokens': 3000, 'ignore_eos': True,
            'messages': [{'role': 'user', 'content': STORY * 30}]}))
        time.sleep(moment)
        c.close()
        end = time.time() + 10
        while not server.idle():
            assert time.time() < end
            time.sleep(0.02)


def test_a_prompt_that_does_not_fit(server):
    status, answer = server.request('POST', '/v1/chat/completions', {
        'model': server.model, 'messages': [{'role': 'user', 'content': STORY * 200}]})
    assert status == 400 and answer['error']['code'] == 'context_length_exceeded'
    assert "maximum context length is 4096 tokens" in answer['error']['message']
    status, answer = server.request('POST', '/v1/messages', {
        'model': server.model, 'max_tokens': 10, 'messages': [{'role': 'user', 'content': STORY * 200}]})
    assert status == 400 and re.fullmatch(r'prompt is too long: \d+ tokens > 4096 maximum', answer['error']['message'])


def test_max_tokens_is_clamped_to_the_context(server):
    answer = server.chat([{'role': 'user', 'content': 'Say yes.'}], max_tokens=1000000)
    assert answer['choices'][0]['finish_reason'] in ('stop', 'length')


def test_count_tokens_is_exact(server):
    body = {'model': server.model, 'system': STORY, 'messages': [{'role': 'user', 'content': STORY}]}
    count = server.request('POST', '/v1/messages/count_tokens', body)[1]['input_tokens']
    usage = server.request('POST', '/v1/messages', {**body, 'max_tokens': 1})[1]['usage']
    assert count == usage['input_tokens'] + usage['cache_read_input_tokens']


def test_embeddings_have_length_one(server):
    status, answer = server.request('POST', '/v1/embeddings', {'model': server.model, 'input': ['a cat', 'a dog', STORY]})
    assert status == 200
    vectors = [d['embedding'] for d in answer['data']]
    assert all(abs(sum(x * x for x in v) - 1) < 1e-4 for v in vectors)
    dot = [sum(x * y for x, y in zip(vectors[0], v)) for v in vectors]
    assert dot[1] > dot[2]  # a dog is nearer to a cat than the weather is


def test_ps_tells_the_memory_of_the_cache(server):
    conversation(server, 2)
    env = {**os.environ, 'TURBINE_HOST': f'127.0.0.1:{server.port}'}
    out = subprocess.run([TURBINE, 'ps'], env=env, capture_output=True, text=True, timeout=30)
    assert out.returncode == 0, out.stderr
    head, row = out.stdout.splitlines()
    assert head.split('  ')[0] == 'NAME' and row.startswith(server.model[:32]) and 'turbo4' in row
    model = server.get('/api/ps')['models'][0]
    kv = model['kv']
    assert 0 < kv['bytes'] < kv['bytes_f16'] / 3 and kv['bytes'] < kv['bytes_reserved']
    with open(f'/proc/{server.process.pid}/smaps_rollup') as f:
        resident = int(re.search(r'Rss:\s+(\d+) kB', f.read())[1]) * 1024
    assert model['size'] < resident < model['size'] + 120e6


def test_ps_without_a_server():
    out = subprocess.run([TURBINE, 'ps', '--host', '127.0.0.1:1'], capture_output=True, text=True, timeout=30)
    assert out.returncode == 1 and out.stderr.startswith('turbine ps: http://127.0.0.1:1/api/ps: ')
