"""The APIs of turbine serve with a real model: what a scripted engine cannot tell, such as
probabilities, biases, samplers, schemas, reused prefixes and progress."""
import base64
import json
import math
import os
import re
import struct

import pytest

from test_serve import MODEL, STORY, Server

pytestmark = pytest.mark.skipif(not os.path.exists(MODEL), reason=f'{MODEL} is not there (script/model)')

COLOURS = [{'role': 'user', 'content': 'Name three colours.'}]
PARAMETERS = {'type': 'object', 'properties': {'city': {'type': 'string', 'maxLength': 8}}, 'required': ['city'],
              'additionalProperties': False}
TOOLS = [{'type': 'function', 'function': {'name': 'get_weather', 'description': 'Weather', 'parameters': PARAMETERS}}]
SCHEMA = {'type': 'object', 'properties': {'n': {'type': 'integer', 'minimum': 0, 'maximum': 99}}, 'required': ['n'],
          'additionalProperties': False}


@pytest.fixture(scope='module')
def server():
    s = Server('--ctx', '4096')
    yield s
    s.close()


def ok(server, path, **body):
    status, answer = server.request('POST', path, {'model': server.model, **body})
    assert status == 200, answer
    return answer


def choice(server, **more):
    return server.chat(COLOURS, **more)['choices'][0]


def text(server, **more):
    return choice(server, **more)['message']['content']


def token(server, s):
    ids = server.request('POST', '/tokenize', {'content': s})[1]['tokens']
    assert len(ids) == 1
    return ids[0]


def stream(server, path, **body):
    """Of OpenAI's: the chunks."""
    c = server.connection()
    c.request('POST', path, json.dumps({'model': server.model, 'stream': True, **body}))
    r = c.getresponse()
    lines = [x[6:] for x in r.read().decode().split('\n') if x.startswith('data: ')]
    c.close()
    assert r.status == 200 and lines[-1] == '[DONE]'
    return [json.loads(x) for x in lines[:-1]]


# ---- samplers ----

def test_what_is_not_set(server):
    """Ollama's clients get its defaults, others those of llama.cpp's server."""
    def ollama(**options):
        options = {'num_predict': 24, 'seed': 7, **options}
        return [ok(server, '/api/generate', prompt=p, raw=True, stream=False, options=options)['response']
                for p in ('The sky is', 'A lighthouse', 'Once')]

    def openai(**more):
        return [ok(server, '/v1/completions', prompt=p, max_tokens=24, seed=7, **more)['choices'][0]['text']
                for p in ('The sky is', 'A lighthouse', 'Once')]
    theirs = {'temperature': 0.8, 'top_k': 40, 'top_p': 0.9, 'min_p': 0, 'repeat_penalty': 1}
    assert ollama() == ollama(**theirs) == openai(**theirs)
    others = {'temperature': 0.8, 'top_k': 40, 'top_p': 0.95, 'min_p': 0.05}
    assert openai() == openai(**others) == ollama(**others)
    assert openai() != ollama()


def test_seed_and_bias(server):
    hot = {'temperature': 1.5, 'top_k': 0, 'top_p': 1, 'min_p': 0}
    assert text(server, seed=5, **hot) == text(server, seed=5, **hot) != text(server, seed=6, **hot)
    blue = token(server, ' blue')
    assert text(server, logit_bias={str(blue): 100}, max_tokens=5, **hot) == ' blue' * 5
    first = choice(server, logprobs=True, max_tokens=1)['logprobs']['content'][0]['token']
    for seed in range(10):
        other = choice(server, logprobs=True, max_tokens=1, seed=seed, temperature=0.8,
                       logit_bias={str(token(server, first)): -100})['logprobs']['content'][0]
        assert other['token'] != first


def test_logprobs(server):
    c = choice(server, logprobs=True, top_logprobs=20, temperature=1, seed=3)
    entries = c['logprobs']['content']
    for e in entries:
        assert len(e['top_logprobs']) == 20
        assert 0.5 < sum(math.exp(t['logprob']) for t in e['top_logprobs']) < 1 + 1e-5
        assert e['top_logprobs'] == sorted(e['top_logprobs'], key=lambda t: -t['logprob'])
    assert bytes(b for e in entries for b in e['bytes']).decode() == c['message']['content']
    assert choice(server, logprobs=True)['logprobs']['content'][0]['top_logprobs'] == []


def test_eight_answers(server):
    r = server.chat(COLOURS, n=8, temperature=1.5, max_tokens=6, seed=1)
    assert [c['index'] for c in r['choices']] == list(range(8))
    assert len({c['message']['content'] for c in r['choices']}) > 4
    assert r['usage']['completion_tokens'] <= 48


def test_stop(server):
    whole = text(server, max_tokens=40)
    cut = choice(server, max_tokens=40, stop=whole[5:9])
    assert cut['message']['content'] == whole[:whole.index(whole[5:9])] and cut['finish_reason'] == 'stop'
    r = ok(server, '/v1/messages', messages=COLOURS, max_tokens=40, temperature=0, stop_sequences=['@@', whole[5:9]])
    assert r['stop_reason'] == 'stop_sequence' and r['stop_sequence'] == whole[5:9]


# ---- formats and tools ----

@pytest.mark.parametrize('seed', range(3))
def test_tools_and_schema(server, seed):
    """Which of the two comes is the model's choice; that it is one of them is not."""
    form = {'type': 'json_schema', 'json_schema': {'name': 'n', 'schema': SCHEMA}}
    more = {'tools': TOOLS, 'response_format': form, 'max_tokens': 150, 'temperature': 1.5, 'seed': seed,
            'parallel_tool_calls': False}
    c = choice(server, **more)
    if c['finish_reason'] == 'tool_calls':
        call = c['message']['tool_calls'][0]['function']
        assert call['name'] == 'get_weather' and list(json.loads(call['arguments'])) == ['city']
        assert not c['message']['content']
    else:
        assert 0 <= json.loads(c['message']['content'])['n'] < 100
    # No call can begin where its first byte cannot come.
    c = choice(server, **more, logit_bias=[[token(server, '<'), -100]] +
               [[i, -100] for i in angle_tokens(server)])
    assert 0 <= json.loads(c['message']['content'])['n'] < 100
    c = choice(server, **more, tool_choice='required')
    assert c['finish_reason'] == 'tool_calls'
    assert 0 <= json.loads(choice(server, **more, tool_choice='none')['message']['content'])['n'] < 100


def angle_tokens(server):
    """Tokens that begin a tag."""
    return [i for i in {server.request('POST', '/tokenize', {'content': s})[1]['tokens'][0]
                        for s in ('<tool_call>', '</', '<t', '<to', '<tool', '<!', '<?')} if i != token(server, '<')]


def test_json_object(server):
    c = choice(server, response_format={'type': 'json_object'}, max_tokens=200)
    assert c['finish_reason'] == 'length' or isinstance(json.loads(c['message']['content']), dict)


# ---- prefixes ----

def test_round_trip_without_ids(server):
    """Ollama's clients drop the ids of calls: the answer is put back all the same."""
    messages = [{'role': 'user', 'content': STORY * 4 + 'What is the weather in Paris?'}]
    body = {'tools': TOOLS, 'stream': False, 'options': {'seed': 1, 'num_predict': 120}}
    first = ok(server, '/v1/chat/completions', messages=messages, tools=TOOLS, tool_choice='required', seed=1,
               max_tokens=120, parallel_tool_calls=False)
    call = first['choices'][0]['message']['tool_calls'][0]['function']
    n = first['usage']['total_tokens']
    messages += [{'role': 'assistant', 'content': '', 'tool_calls': [
        {'function': {'name': call['name'], 'arguments': json.loads(call['arguments'])}}]},
        {'role': 'tool', 'tool_name': call['name'], 'content': '22 degrees'}]
    before = replayed(server)
    r = ok(server, '/api/chat', messages=messages, **body)
    assert r['done'] and r['prompt_eval_count'] > n and replayed(server) == before + 1
    # The same conversation again, asked in OpenAI's words: nothing but the last page is read.
    messages[1]['tool_calls'] = first['choices'][0]['message']['tool_calls']
    messages[2] = {'role': 'tool', 'tool_call_id': messages[1]['tool_calls'][0]['id'], 'content': '22 degrees'}
    r = ok(server, '/v1/chat/completions', messages=messages, tools=TOOLS, max_tokens=4)
    assert r['usage']['prompt_tokens_details']['cached_tokens'] >= n - 1


def replayed(server):
    return metrics(server).get('turbine:replayed_messages_total', 0)


def metrics(server):
    c = server.connection()
    c.request('GET', '/metrics')
    r = c.getresponse()
    lines = r.read().decode().split('\n')
    c.close()
    assert r.getheader('content-type').startswith('text/plain')
    return {m[1]: float(m[2]) for m in (re.match(r'([a-z_:]+) ([0-9.e+-]+)$', x) for x in lines) if m}


# ---- progress ----

def test_progress(server):
    messages = [{'role': 'user', 'content': 'Progress. ' + STORY * 30}]
    body = {'messages': messages, 'max_tokens': 2, 'return_progress': True}
    chunks = stream(server, '/v1/chat/completions', **body)
    told = [c['prompt_progress'] for c in chunks if 'prompt_progress' in c]
    assert len(told) > 1 and all(c['choices'][0]['delta'] == {} for c in chunks if 'prompt_progress' in c)
    n = [p['processed'] for p in told]
    assert n == sorted(set(n)) and all(p['total'] == told[0]['total'] for p in told) and n[-1] < told[0]['total']
    assert [p['time_ms'] for p in told] == sorted(p['time_ms'] for p in told) and told[-1]['time_ms'] > 0
    del body['return_progress']
    assert not any('prompt_progress' in c for c in stream(server, '/v1/chat/completions', **body))
    # Half of it is there.
    messages[0]['content'] += STORY * 20
    told = [c['prompt_progress'] for c in stream(server, '/v1/chat/completions', **body, return_progress=True)
            if 'prompt_progress' in c]
    assert told[0]['cache'] > 500 and all(p['processed'] > p['cache'] for p in told)


# ---- limits ----

def test_num_ctx(server):
    long = [{'role': 'user', 'content': 'Hi.'}, {'role': 'assistant', 'content': STORY * 10}] + COLOURS
    body = {'messages': long, 'stream': False, 'options': {'num_ctx': 128, 'num_predict': 500}}
    status, e = server.request('POST', '/api/chat', {'model': server.model, **body})
    assert status == 400 and '> 128' in e['error']
    r = ok(server, '/api/chat', **body, truncate=True)
    assert r['prompt_eval_count'] + r['eval_count'] <= 128
    r = ok(server, '/api/chat', messages=COLOURS, stream=False,
           options={'num_ctx': 64, 'num_predict': 500, 'temperature': 2, 'top_p': 1, 'top_k': 0, 'seed': 3})
    assert r['done_reason'] == 'length' and r['prompt_eval_count'] + r['eval_count'] == 64


def test_counted_exactly(server):
    body = {'system': [{'type': 'text', 'text': 'Be brief.'}], 'messages': COLOURS}
    n = ok(server, '/v1/messages/count_tokens', **body)['input_tokens']
    u = ok(server, '/v1/messages', **body, max_tokens=2)['usage']
    assert n == u['input_tokens'] + u['cache_read_input_tokens']


def test_vectors(server):
    a = ok(server, '/v1/embeddings', input=['hello', 'world'])['data']
    b = ok(server, '/v1/embeddings', input=['hello', 'world'], encoding_format='base64')['data']
    ours = ok(server, '/api/embed', input=['hello', 'world'])['embeddings']
    for x, y, z in zip(a, b, ours):
        v = struct.unpack(f'<{len(z)}f', base64.b64decode(y['embedding']))
        assert v == pytest.approx(x['embedding'], abs=1e-7) and v == pytest.approx(z, abs=1e-7)
        assert sum(k * k for k in v) == pytest.approx(1, abs=1e-5)


# ---- llama.cpp's own ----

def test_llama_cpp(server):
    r = ok(server, '/completion', prompt='The sky is', n_predict=4, temperature=0)
    whole = ok(server, '/v1/completions', prompt='The sky is', max_tokens=4, temperature=0)['choices'][0]['text']
    assert r['content'] == whole and r['stop'] is True and r['stop_type'] == 'limit' and r['tokens_predicted'] == 4
    status, e = server.request('POST', '/completion', {'prompt': ['a', 'b']})
    assert status == 400 and e['error']['param'] == 'prompt'
    p = server.get('/props')
    assert p['eos_token'] == '<|im_end|>' and p['modalities'] == {'vision': False, 'audio': False}
    assert p['model_path'] == os.path.basename(MODEL) and p['default_generation_settings']['n_ctx'] == 4096
    m = metrics(server)
    assert 1 <= m['llamacpp:n_busy_slots_per_decode'] <= 4 and 8 < m['llamacpp:n_tokens_max'] <= 4097
    assert {f'llamacpp:{n}' for n in ('prompt_tokens_total', 'prompt_seconds_total', 'tokens_predicted_total',
                                      'tokens_predicted_seconds_total', 'prompt_tokens_seconds', 'n_decode_total',
                                      'predicted_tokens_seconds', 'requests_processing', 'requests_deferred')} <= set(m)


def test_too_many_dimensions(server):
    status, e = server.request('POST', '/v1/embeddings', {'model': server.model, 'input': 'a', 'dimensions': 577})
    assert status == 400 and '576' in e['error']['message']
