"""Clients of one API through the router to backends of another one."""
import json

import anthropic
import ollama
import openai
import pytest
from fault_backend import TEXT, WORDS, Backend, Fault
from route_helper import Router, chat, wait

ANTHROPIC, OPENAI, OLLAMA = '/v1/messages', '/v1/chat/completions', '/api/chat'
TOOLS = [{'type': 'function', 'function': {'name': 'f', 'description': 'd', 'parameters': {
    'type': 'object', 'properties': {'x': {'type': 'integer'}}}}}]


class One:
    """A router in front of one backend that speaks one dialect."""

    def __init__(self, dialect, **more):
        self.backend = Backend(software='other', **more)
        self.router = Router(config=f'backend {self.backend.url}\n dialects {dialect}\n model m\n')
        self.router.get('/livez')

    def __enter__(self):
        return self.router, self.backend

    def __exit__(self, *_):
        self.router.stop()
        self.backend.stop()


def text_of(path, body, stream):
    """The text that a client reads, and that the answer has its end."""
    if not stream:
        v = json.loads(body)
        if path == ANTHROPIC:
            assert v['stop_reason'] == 'end_turn'
            return ''.join(b['text'] for b in v['content'])
        if path == OLLAMA:
            assert v['done'] is True
            return v['message']['content']
        assert v['choices'][0]['finish_reason'] == 'stop'
        return v['choices'][0]['message']['content']
    lines = body.decode().split('\n')
    if path == OLLAMA:
        events = [json.loads(x) for x in lines if x]
        assert events[-1]['done'] is True and events[-1]['eval_count'] == len(WORDS)
        return ''.join(e['message']['content'] for e in events)
    data = [x[6:] for x in lines if x.startswith('data: ')]
    if path == OPENAI:
        assert data.pop() == '[DONE]'
        return ''.join(c['delta'].get('content') or '' for x in data for c in json.loads(x)['choices'])
    events = [json.loads(x) for x in data]
    assert events[0]['type'] == 'message_start' and events[-1]['type'] == 'message_stop'
    assert events[-2]['usage']['output_tokens'] == len(WORDS)
    return ''.join(e['delta'].get('text', '') for e in events if e['type'] == 'content_block_delta')


def ask(r, path, stream, **more):
    return r.post(path, chat('hello', stream=stream, **({'max_tokens': 50} if path == ANTHROPIC else {}), **more))


PAIRS = [(p, d) for p, own in ((ANTHROPIC, 'anthropic'), (OPENAI, 'openai'), (OLLAMA, 'ollama'))
         for d in ('anthropic', 'openai', 'ollama') if d != own]


@pytest.mark.parametrize('path,dialect', PAIRS)
def test_pairs(path, dialect):
    with One(dialect) as (r, b):
        for stream in (True, False):
            reply = ask(r, path, stream)
            assert reply.status == 200, reply.body
            assert text_of(path, reply.body, stream) == TEXT
            asked, _, body = b.requests[-1]
            assert asked == {'anthropic': ANTHROPIC, 'openai': OPENAI, 'ollama': OLLAMA}[dialect]
            assert json.loads(body)['messages'][-1]['role'] == 'user' and json.loads(body)['model'] == 'm'
        assert r.status()['backends'][0]['finished'] == 2


@pytest.mark.parametrize('path,dialect', PAIRS)
def test_faults_of_pairs(path, dialect):
    """Cut anywhere: a beginning of the answer and an error of the client's dialect, or the error alone."""
    whole = {'anthropic': 1500, 'openai': 2000, 'ollama': 900}[dialect]
    with One(dialect) as (r, b):
        r.config.write_text(f'retry-percent 0\nbackend {b.url}\n dialects {dialect}\n model m\n')
        for kind in ('cut', 'garbage-body'):
            for at in range(0, whole, 97):
                b.faults = [Fault(kind, at=at)]
                reply = ask(r, path, True)
                b.faults = []
                if reply.status != 200:
                    assert 'error' in reply.json()
                    continue
                body = reply.body.decode()
                if '[DONE]' in body or 'message_stop' in body or '"done":true' in body:
                    assert text_of(path, reply.body, True) == TEXT  # a second try, or cut behind the end mark
                else:
                    assert body.count('"error"') >= 1 and 'backend' in body.split('error', 1)[1], body


def test_count_tokens():
    with One('openai') as (r, _):
        reply = r.post('/v1/messages/count_tokens', chat('one two three four ' * 100))
        assert reply.status == 200 and 350 < reply.json()['input_tokens'] < 700
    with One('anthropic') as (r, _):
        assert r.post('/v1/messages/count_tokens', chat('one')).json() == {'input_tokens': 11}


def test_what_has_no_translation_is_refused_by_name():
    with One('anthropic') as (r, _):
        reply = r.post(OPENAI, chat('hi', logprobs=True))
        assert reply.status == 400 and 'logprobs' in reply.json()['error']['message']
        assert r.post('/tokenize', {'content': 'x'}).status in (400, 404, 503)


def test_what_is_left_out_is_named():
    """In a header and in the log; another attempt, or a backend of the client's own dialect, leaves out nothing."""
    asked = chat(options={'num_ctx': 4096}, keep_alive='5m')
    with One('anthropic') as (r, b):
        for stream in (True, False):
            reply = r.post(OLLAMA, {**asked, 'stream': stream})
            assert reply.status == 200 and reply.headers['X-Turbine-Dropped'] == 'keep_alive, num_ctx'
            assert not {'keep_alive', 'num_ctx', 'options'} & set(json.loads(b.requests[-1][2]))
            assert r.events('request')[-1]['dropped'] == 'keep_alive, num_ctx'
        assert 'X-Turbine-Dropped' not in ask(r, OPENAI, False).headers
        assert 'dropped' not in r.events('request')[-1]
    with One('ollama') as (r, _):
        assert 'X-Turbine-Dropped' not in r.post(OLLAMA, {**asked, 'stream': False}).headers
    with Backend(software='other') as a, Backend(software='other') as b:
        with Router(config=f'backend {a.url}\n dialects openai\n class short\nbackend {b.url}\n dialects ollama\n'
                           ' class long\n') as r:
            r.wait_known(2)
            a.faults = [Fault('status', status=500)]
            reply = r.post(OLLAMA, {**asked, 'stream': False})
            assert (reply.headers['X-Turbine-Backend'], reply.headers['X-Turbine-Fallback']) == (b.url, 'retry-status')
            assert 'X-Turbine-Dropped' not in reply.headers


def test_results_of_no_call():
    """An id that is empty, and a result that has none."""
    call = {'id': '', 'type': 'function', 'function': {'name': 'f', 'arguments': '{}'}}
    messages = [{'role': 'user', 'content': 'x'}, {'role': 'assistant', 'tool_calls': [call]},
                {'role': 'function', 'name': 'f', 'content': 'y'}]
    with One('anthropic') as (r, b):
        reply = r.post(OPENAI, chat(messages=messages))
        assert reply.status == 400 and 'no call before it' in reply.json()['error']['message']
    with Backend() as short, Backend(software='other') as long:  # counts by Anthropic's API
        with Router(config=f'threshold 1000\nbackend {short.url}\n class short\n context 8192\nbackend {long.url}\n'
                           ' class long\n context 32768\n') as r:
            wait(lambda: len(r.events('backend')) == 2)
            words = [{'role': 'user', 'content': 'count-me-1100 ' + 'word ' * 930}]
            assert r.post(OPENAI, chat(messages=words + messages)).headers['X-Turbine-Backend'] == long.url


def test_calls_without_arguments_are_objects():
    block = {'type': 'tool_use', 'id': 't', 'name': 'now', 'input': {}}
    events = [{'type': 'message_start', 'message': {'id': 'x', 'type': 'message', 'role': 'assistant', 'model': 'm', 'content': [],
                                                    'stop_reason': None, 'usage': {'input_tokens': 1, 'output_tokens': 1}}},
              {'type': 'content_block_start', 'index': 0, 'content_block': block},
              {'type': 'content_block_delta', 'index': 0, 'delta': {'type': 'input_json_delta', 'partial_json': ''}},
              {'type': 'content_block_stop', 'index': 0},
              {'type': 'message_delta', 'delta': {'stop_reason': 'tool_use'}, 'usage': {'output_tokens': 5}}, {'type': 'message_stop'}]
    sse = [f'event: {e["type"]}\ndata: {json.dumps(e)}\n\n'.encode() for e in events]
    with One('anthropic') as (r, b):
        b.events = lambda p: sse
        b.document = {'id': 'x', 'type': 'message', 'role': 'assistant', 'model': 'm', 'content': [block], 'stop_reason': 'tool_use',
                      'usage': {'input_tokens': 1, 'output_tokens': 5}}
        tools = [{'type': 'function', 'function': {'name': 'now', 'parameters': {'type': 'object', 'properties': {}}}}]
        o = openai.OpenAI(base_url=r.url + '/v1', api_key='x', max_retries=0)
        ask = {'model': 'm', 'messages': [{'role': 'user', 'content': 'x'}], 'tools': tools}
        assert o.chat.completions.create(**ask).choices[0].message.tool_calls[0].function.arguments == '{}'
        parts = [c.choices[0].delta.tool_calls for c in o.chat.completions.create(**ask, stream=True) if c.choices]
        assert ''.join(x[0].function.arguments or '' for x in parts if x) == '{}'
        done = o.responses.create(model='m', input='x', tools=[{'type': 'function', **tools[0]['function'], 'strict': False}])
        assert [x.arguments for x in done.output if x.type == 'function_call'] == ['{}']


def test_refusals_are_no_failures_of_the_backend():
    """What a model will not answer is paid for once, and the backend stays in."""
    with Backend(software='other') as a, Backend(software='other') as b:
        with Router(config=''.join(f'backend {x.url}\n dialects anthropic\n class short\n model "*"\n' for x in (a, b))) as r:
            wait(lambda: len(r.events('backend')) == 2)
            a.document = b.document = {'id': 'x', 'type': 'message', 'role': 'assistant', 'model': 'm', 'content': [],
                                       'stop_reason': 'refusal', 'usage': {'input_tokens': 1, 'output_tokens': 0}}
            for _ in range(8):
                reply = r.post(OPENAI, chat('hi'))
                assert 400 <= reply.status < 502 and 'refused' in reply.json()['error']['message'], reply.body
            assert len(a.requests) + len(b.requests) == 8
            assert {x['health'] for x in r.status()['backends']} == {'up'}


def test_images_pass():
    pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=='
    with One('anthropic') as (r, b):
        parts = [{'type': 'text', 'text': 'What is this?'}, {'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{pixel}'}}]
        assert r.post(OPENAI, chat(messages=[{'role': 'user', 'content': parts}])).status == 200
        image = json.loads(b.requests[-1][2])['messages'][0]['content'][1]
        assert image == {'type': 'image', 'source': {'type': 'base64', 'media_type': 'image/png', 'data': pixel}}
    with One('openai') as (r, b):
        parts = [{'type': 'image', 'source': {'type': 'base64', 'media_type': 'image/png', 'data': pixel}}, {'type': 'text', 'text': 'And?'}]
        assert r.post(ANTHROPIC, chat(messages=[{'role': 'user', 'content': parts}], max_tokens=9)).status == 200
        image = json.loads(b.requests[-1][2])['messages'][0]['content'][0]
        assert image == {'type': 'image_url', 'image_url': {'url': f'data:image/png;base64,{pixel}'}}


@pytest.mark.parametrize('told,reason,sequence', [('END', 'stop_sequence', 'END'), (151645, 'end_turn', None),
                                                  (None, 'end_turn', None)])
def test_the_stop_sequence(told, reason, sequence):
    """vLLM tells it as stop_reason, or the id of the token that ended the answer."""
    choice = {'index': 0, 'finish_reason': 'stop', 'stop_reason': told}
    usage = {'prompt_tokens': 11, 'completion_tokens': 2, 'total_tokens': 13}
    events = [{'choices': [{**choice, 'delta': {'role': 'assistant', 'content': 'So'}, 'finish_reason': None}]},
              {'choices': [{**choice, 'delta': {}}]}, {'choices': [], 'usage': usage}]
    sse = [b'data: ' + json.dumps(e).encode() + b'\n\n' for e in events] + [b'data: [DONE]\n\n']
    with Backend(software='vllm', events=lambda p: sse) as b, Router('--short', b.url) as r:
        r.wait_known()
        a = anthropic.Anthropic(base_url=r.url, api_key='x', max_retries=0)
        ask = {'model': 'm', 'max_tokens': 9, 'stop_sequences': ['END'], 'messages': [{'role': 'user', 'content': 'hi'}]}
        with a.messages.stream(**ask) as s:
            got = s.get_final_message()
        assert (got.content[0].text, got.stop_reason, got.stop_sequence) == ('So', reason, sequence)
        assert json.loads(b.requests[-1][2])['stop'] == ['END']
        b.document = {'choices': [{**choice, 'message': {'role': 'assistant', 'content': 'So'}}], 'usage': usage}
        got = a.messages.create(**ask)
        assert (got.content[0].text, got.stop_reason, got.stop_sequence) == ('So', reason, sequence)
    with One('ollama') as (r, _):  # which does not say
        got = ask_messages(r, stop_sequences=['END'])
        assert (got['stop_reason'], got['stop_sequence']) == ('end_turn', None)


def ask_messages(r, **more):
    return r.post(ANTHROPIC, chat(max_tokens=9, **more)).json()


@pytest.mark.parametrize('status,headers,seconds,again', [
    (429, [('Retry-After', '7')], '7', 'true'), (429, [], '1', 'true'), (502, [], None, 'true'),
    (500, [], None, 'false')])
def test_what_says_when_to_try_again(status, headers, seconds, again):
    """As long as the backend says, else a second; what says nothing of later has no Retry-After."""
    with One('openai') as (r, b):
        b.faults = [Fault('status', status=status, headers=headers)] * 4
        reply = r.post(ANTHROPIC, chat(max_tokens=9))
        assert (reply.headers['Retry-After'], reply.headers['x-should-retry']) == (seconds, again), reply.body
        assert reply.json()['error']['type'] == ('rate_limit_error' if status == 429 else 'api_error')


@pytest.mark.parametrize('dialect', ['openai', 'anthropic', 'ollama'])
def test_official_clients(dialect):
    """The SDKs get a whole answer, streamed and not, whatever the backend speaks, and raise their own errors."""
    with One(dialect) as (r, b):
        o = openai.OpenAI(base_url=r.url + '/v1', api_key='x', max_retries=0)
        a = anthropic.Anthropic(base_url=r.url, api_key='x', max_retries=0)
        c = ollama.Client(host=r.url)
        m = [{'role': 'user', 'content': 'hi'}]
        assert o.chat.completions.create(model='m', messages=m).choices[0].message.content == TEXT
        assert ''.join(x.choices[0].delta.content or '' for x in o.chat.completions.create(
            model='m', messages=m, stream=True) if x.choices) == TEXT
        assert a.messages.create(model='m', messages=m, max_tokens=9).content[0].text == TEXT
        with a.messages.stream(model='m', messages=m, max_tokens=9) as s:
            assert ''.join(s.text_stream) == TEXT
        assert c.chat('m', m).message.content == TEXT
        assert ''.join(x.message.content for x in c.chat('m', m, stream=True)) == TEXT
        assert 'm' in [x.id for x in o.models.list()] and [x.model for x in c.list().models] == ['m']
        b.faults = [Fault('cut', at=600)]
        with pytest.raises(openai.APIError):
            list(o.chat.completions.create(model='m', messages=m, stream=True))
        b.faults = [Fault('cut', at=600)]
        with pytest.raises(anthropic.APIError):
            with a.messages.stream(model='m', messages=m, max_tokens=9) as s:
                list(s.text_stream)
        b.faults = [Fault('cut', at=600)]
        with pytest.raises(ollama.ResponseError):
            list(c.chat('m', m, stream=True))
