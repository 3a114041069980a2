"""The server through OpenAI's own Python client: what it parses, streams and raises."""
import asyncio
import base64
import concurrent.futures
import json
import struct

import pytest
from clients_helper import (CLOCK, GREETING, LOREM, PERSON, RULES, SUNNY, WEATHER, Server,
                            assert_cancelled, serve)

openai = pytest.importorskip('openai', reason='script/bootstrap test installs openai')
pydantic = pytest.importorskip('pydantic')

TOOLS = [{'type': 'function', 'function': t} for t in (WEATHER, CLOCK)]
FLAT = [{'type': 'function', 'strict': False, **t} for t in (WEATHER, CLOCK)]
HELLO = [{'role': 'user', 'content': 'Say hello.'}]
PARIS = [{'role': 'user', 'content': 'What is the weather in Paris?'}]


class Person(pydantic.BaseModel):
    name: str
    age: int


@pytest.fixture(scope='module')
def server():
    yield from serve(RULES)


@pytest.fixture(scope='module')
def client(server):
    with openai.OpenAI(base_url=server.url + '/v1', api_key='none', max_retries=0, timeout=20) as c:
        yield c


@pytest.fixture(scope='module')
def chat(client, server):
    return lambda messages=HELLO, **more: client.chat.completions.create(
        model=server.model, messages=messages, **more)


# ---- chat completions ----

def test_an_answer(chat, server):
    a, b = chat(), chat()
    assert a.object == 'chat.completion' and a.model == server.model
    assert a.id.startswith('chatcmpl-') and a.id != b.id and a.created > 1_700_000_000
    choice, = a.choices
    assert choice.index == 0 and choice.finish_reason == 'stop' and choice.logprobs is None
    assert choice.message.role == 'assistant' and choice.message.content == GREETING
    assert choice.message.tool_calls is None and choice.message.refusal is None
    assert a.usage.prompt_tokens > 0 and a.usage.completion_tokens > 0
    assert a.usage.total_tokens == a.usage.prompt_tokens + a.usage.completion_tokens
    assert a.system_fingerprint and a.system_fingerprint == b.system_fingerprint


def test_a_stream(chat):
    chunks = list(chat(stream=True))
    assert len({c.id for c in chunks}) == 1 and {c.object for c in chunks} == {'chat.completion.chunk'}
    assert chunks[0].choices[0].delta.role == 'assistant'
    assert ''.join(c.choices[0].delta.content or '' for c in chunks) == GREETING
    assert len([c for c in chunks if c.choices[0].delta.content]) > 3
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ['stop']
    assert all(c.usage is None for c in chunks)


def test_usage_of_a_stream(chat):
    *chunks, last = chat(stream=True, stream_options={'include_usage': True})
    assert last.choices == [] and all(c.usage is None for c in chunks)
    whole = chat().usage
    assert last.usage.completion_tokens == whole.completion_tokens
    assert last.usage.prompt_tokens == whole.prompt_tokens


def test_content_as_parts_is_the_same_prompt(chat):
    parts = chat([{'role': 'user', 'content': [{'type': 'text', 'text': 'Say hello.'}]}])
    assert parts.usage.prompt_tokens == chat().usage.prompt_tokens


def test_async(server):
    async def run():
        async with openai.AsyncOpenAI(base_url=server.url + '/v1', api_key='none', max_retries=0) as c:
            one, stream = await asyncio.gather(
                c.chat.completions.create(model=server.model, messages=HELLO),
                c.chat.completions.create(model=server.model, messages=HELLO, stream=True))
            text = [x.choices[0].delta.content or '' async for x in stream]
            return one.choices[0].message.content, ''.join(text)

    assert asyncio.run(run()) == (GREETING, GREETING)


def test_stream_helper(client, server):
    with client.chat.completions.stream(model=server.model, messages=HELLO) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert ''.join(e.delta for e in events if e.type == 'content.delta') == GREETING
    assert [e.content for e in events if e.type == 'content.done'] == [GREETING]
    assert final.choices[0].message.content == GREETING and final.choices[0].finish_reason == 'stop'


@pytest.mark.parametrize('name', ['max_tokens', 'max_completion_tokens'])
def test_length(chat, name):
    a = chat(**{name: 3})
    assert a.choices[0].finish_reason == 'length' and a.usage.completion_tokens == 3
    text = a.choices[0].message.content
    assert text and GREETING.startswith(text) and text != GREETING
    last = list(chat(stream=True, **{name: 3}))[-1]
    assert last.choices[0].finish_reason == 'length'


@pytest.mark.parametrize('stop', ['five', ['never', ' five', 'ten'], 'our five'])
def test_stop(chat, stop):
    ask = [{'role': 'user', 'content': 'Count to ten.'}]
    first = stop if isinstance(stop, str) else ' five'
    want = LOREM[:LOREM.index(first)]
    a = chat(ask, stop=stop).choices[0]
    assert a.message.content == want and a.finish_reason == 'stop'
    chunks = list(chat(ask, stop=stop, stream=True))
    assert ''.join(c.choices[0].delta.content or '' for c in chunks) == want


def test_n(chat):
    a = chat(n=3)
    assert [c.index for c in a.choices] == [0, 1, 2]
    assert {c.message.content for c in a.choices} == {GREETING}
    assert a.usage.completion_tokens == 3 * chat().usage.completion_tokens
    texts = ['', '', '']
    for chunk in chat(n=3, stream=True):
        for c in chunk.choices:
            texts[c.index] += c.delta.content or ''
    assert texts == [GREETING] * 3


def test_logprobs(chat):
    a = chat(logprobs=True, top_logprobs=4)
    tokens = a.choices[0].logprobs.content
    assert len(tokens) == a.usage.completion_tokens or len(tokens) == a.usage.completion_tokens - 1
    assert b''.join(bytes(t.bytes) for t in tokens).decode() == GREETING
    for t in tokens:
        assert t.logprob <= 0 and len(t.top_logprobs) == 4
        best = [x.logprob for x in t.top_logprobs]
        assert best == sorted(best, reverse=True)
    streamed = [t for c in chat(logprobs=True, top_logprobs=4, stream=True) if c.choices and c.choices[0].logprobs
                for t in c.choices[0].logprobs.content or []]
    assert [t.token for t in streamed] == [t.token for t in tokens]
    assert all(not t.top_logprobs for t in chat(logprobs=True).choices[0].logprobs.content)


def test_sampling_is_accepted(chat):
    a = chat(temperature=0.3, top_p=0.5, seed=11, presence_penalty=0.5, frequency_penalty=-0.5,
             logit_bias={'5': -100, '7': 3}, user='me', reasoning_effort='low', service_tier='auto', store=False,
             metadata={'a': 'b'}, extra_body={'top_k': 5, 'min_p': 0.1, 'repeat_penalty': 1.1})
    assert a.choices[0].message.content == GREETING


def test_reasoning(chat):
    ask = [{'role': 'user', 'content': 'Think about it.'}]
    m = chat(ask).choices[0].message
    assert m.content == 'Four.' and m.reasoning_content.strip() == 'Two and two.'
    deltas = [c.choices[0].delta for c in chat(ask, stream=True)]
    assert ''.join(d.content or '' for d in deltas) == 'Four.'
    assert ''.join(getattr(d, 'reasoning_content', None) or '' for d in deltas).strip() == 'Two and two.'
    assert chat(ask).usage.completion_tokens_details.reasoning_tokens > 0


# ---- tools ----

def test_call(chat):
    a = chat(PARIS, tools=TOOLS)
    choice = a.choices[0]
    tool, = choice.message.tool_calls
    assert choice.finish_reason == 'tool_calls' and not choice.message.content
    assert tool.type == 'function' and tool.id.startswith('call_') and tool.function.name == 'get_weather'
    assert json.loads(tool.function.arguments) == {'city': 'Paris', 'days': 2}
    assert chat(PARIS, tools=TOOLS).choices[0].message.tool_calls[0].id != tool.id


def test_streamed_call(client, server, chat):
    arguments, names, ids = '', [], []
    for c in chat(PARIS, tools=TOOLS, stream=True):
        for t in c.choices[0].delta.tool_calls or []:
            assert t.index == 0
            ids += [t.id] if t.id else []
            names += [t.function.name] if t.function.name else []
            arguments += t.function.arguments or ''
        last = c
    assert names == ['get_weather'] and len(ids) == 1 and json.loads(arguments) == {'city': 'Paris', 'days': 2}
    assert last.choices[0].finish_reason == 'tool_calls'
    with client.chat.completions.stream(model=server.model, messages=PARIS, tools=TOOLS) as stream:
        done = [e for e in stream if e.type == 'tool_calls.function.arguments.done']
    assert [(e.name, json.loads(e.arguments)) for e in done] == [('get_weather', {'city': 'Paris', 'days': 2})]


def test_text_and_call(chat):
    m = chat([{'role': 'user', 'content': 'Please explain and call.'}], tools=TOOLS).choices[0].message
    assert m.content.strip() == 'I will look.' and m.tool_calls[0].function.name == 'get_weather'


def test_call_without_arguments(chat):
    tools = [{'type': 'function', 'function': {'name': 'now'}}]
    m = chat([{'role': 'user', 'content': 'There is nothing to pass.'}], tools=tools).choices[0].message
    assert [(t.function.name, t.function.arguments) for t in m.tool_calls] == [('now', '{}')]


def test_parallel_calls(chat):
    ask = [{'role': 'user', 'content': 'The weather and time, please.'}]
    calls = chat(ask, tools=TOOLS).choices[0].message.tool_calls
    assert [t.function.name for t in calls] == ['get_weather', 'get_time']
    assert calls[0].id != calls[1].id
    streamed = {}
    for c in chat(ask, tools=TOOLS, stream=True):
        for t in c.choices[0].delta.tool_calls or []:
            streamed[t.index] = streamed.get(t.index, '') + (t.function.arguments or '')
    assert {i: json.loads(s) for i, s in streamed.items()} == {0: {'city': 'Paris', 'days': 2}, 1: {'zone': 'CET'}}


def test_round_trip(chat):
    first = chat(PARIS, tools=TOOLS).choices[0].message
    result = {'role': 'tool', 'tool_call_id': first.tool_calls[0].id, 'content': '{"state": "sunny-22"}'}
    a = chat([*PARIS, first, result], tools=TOOLS)
    assert a.choices[0].message.content == SUNNY and a.choices[0].finish_reason == 'stop'


@pytest.mark.parametrize('choice', ['auto', 'required', {'type': 'function', 'function': {'name': 'get_weather'}}])
def test_tool_choice(chat, choice):
    m = chat(PARIS, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False).choices[0].message
    assert [t.function.name for t in m.tool_calls] == ['get_weather']


def test_no_tools_are_called_where_none_may_be(chat):
    m = chat(PARIS, tools=TOOLS, tool_choice='none').choices[0].message
    assert not m.tool_calls


def test_a_tool_that_is_not_there(chat):
    with pytest.raises(openai.BadRequestError) as e:
        chat(PARIS, tools=TOOLS, tool_choice={'type': 'function', 'function': {'name': 'fly'}})
    assert 'fly' in e.value.message


# ---- structured answers ----

def test_parse(client, server):
    ask = [{'role': 'user', 'content': 'Describe Ada.'}]
    a = client.chat.completions.parse(model=server.model, messages=ask, response_format=Person)
    assert a.choices[0].message.parsed == Person(name='Ada', age=36)
    with client.chat.completions.stream(model=server.model, messages=ask, response_format=Person) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == Person(name='Ada', age=36)


def test_parse_of_calls(client, server):
    class get_weather(pydantic.BaseModel):
        city: str
        days: int

    a = client.chat.completions.parse(model=server.model, messages=PARIS,
                                      tools=[openai.pydantic_function_tool(get_weather)])
    assert a.choices[0].message.tool_calls[0].function.parsed_arguments == get_weather(city='Paris', days=2)


def test_json_object(chat):
    a = chat([{'role': 'user', 'content': 'Describe Ada.'}], response_format={'type': 'json_object'})
    assert json.loads(a.choices[0].message.content) == json.loads(PERSON)


def test_a_schema_that_is_not_understood(chat):
    schema = {'type': 'object', 'properties': {'a': {'not': {'type': 'string'}}}}
    with pytest.raises(openai.BadRequestError) as e:
        chat(response_format={'type': 'json_schema', 'json_schema': {'name': 'x', 'schema': schema}})
    assert 'not' in e.value.message


# ---- completions ----

def test_completions(client, server):
    ask = lambda **more: client.completions.create(model=server.model, **{'prompt': 'Say hello', 'max_tokens': 100} | more)  # noqa: E731
    a = ask()
    assert a.object == 'text_completion' and a.id.startswith('cmpl-')
    assert a.choices[0].text == GREETING and a.choices[0].finish_reason == 'stop'
    assert ''.join(c.choices[0].text for c in ask(stream=True)) == GREETING
    assert [(c.index, c.text) for c in ask(prompt=['Say hello', 'Count to ten']).choices] == [(0, GREETING), (1, LOREM)]
    with pytest.raises(openai.BadRequestError) as e:
        ask(echo=True)
    assert 'echo' in e.value.message
    assert ask(max_tokens=2).choices[0].finish_reason == 'length'
    with_logprobs = ask(logprobs=2).choices[0].logprobs
    assert ''.join(with_logprobs.tokens).startswith('Hello') and len(with_logprobs.token_logprobs) == len(with_logprobs.tokens)


# ---- embeddings ----

def test_embeddings(client, server):
    ask = lambda **more: client.embeddings.create(model=server.model, **more)  # noqa: E731
    floats = ask(input=['Say hello', 'another text'], encoding_format='float')
    assert [d.index for d in floats.data] == [0, 1] and floats.usage.prompt_tokens > 1
    assert floats.usage.total_tokens == floats.usage.prompt_tokens
    # Without a format the client asks for base64, and decodes it itself.
    decoded = ask(input=['Say hello', 'another text'])
    coded = ask(input=['Say hello', 'another text'], encoding_format='base64')
    for f, d, c in zip(floats.data, decoded.data, coded.data):
        raw = base64.b64decode(c.embedding)
        want = struct.unpack(f'<{len(raw) // 4}f', raw)
        assert list(want) == d.embedding and len(want) == len(f.embedding)
        assert f.embedding == pytest.approx(want, abs=1e-6)
        assert sum(x * x for x in want) == pytest.approx(1, abs=1e-5)
    assert ask(input='Say hello').data[0].embedding == decoded.data[0].embedding
    short = ask(input='Say hello', dimensions=4).data[0].embedding
    assert len(short) == 4 and sum(x * x for x in short) == pytest.approx(1, abs=1e-5)
    assert ask(input=[[1, 2, 3], [4]]).usage.prompt_tokens == 4


# ---- models ----

def test_models(client, server):
    ids = [m.id for m in client.models.list()]
    assert server.model in ids
    assert client.models.retrieve(server.model).object == 'model'
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve('nobody')


# ---- responses ----

@pytest.fixture(scope='module')
def respond(client, server):
    return lambda ask='Say hello.', **more: client.responses.create(model=server.model, input=ask, **more)


def test_response(respond):
    r = respond(instructions='Be brief.')
    assert r.object == 'response' and r.id.startswith('resp_') and r.status == 'completed'
    assert r.output_text == GREETING and r.error is None and r.incomplete_details is None
    assert [o.type for o in r.output] == ['message'] and r.output[0].id.startswith('msg_')
    assert r.usage.input_tokens > 0 and r.usage.total_tokens == r.usage.input_tokens + r.usage.output_tokens
    typed = respond([{'role': 'user', 'content': [{'type': 'input_text', 'text': 'Say hello.'}]}])
    assert typed.output_text == GREETING


def test_response_stream(respond, client, server):
    events = list(respond(stream=True))
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type for e in events]
    assert kinds[:2] == ['response.created', 'response.in_progress'] and kinds[-1] == 'response.completed'
    order = ['response.output_item.added', 'response.content_part.added', 'response.output_text.delta',
             'response.output_text.done', 'response.content_part.done', 'response.output_item.done']
    assert [k for k in dict.fromkeys(kinds) if k in order] == order
    assert ''.join(e.delta for e in events if e.type == 'response.output_text.delta') == GREETING
    assert events[-1].response.output_text == GREETING and events[-1].response.usage.output_tokens > 0
    with client.responses.stream(model=server.model, input='Say hello.') as stream:
        assert [e.text for e in stream if e.type == 'response.output_text.done'] == [GREETING]
        assert stream.get_final_response().output_text == GREETING


def test_response_length(respond):
    r = respond(max_output_tokens=3)
    assert r.status == 'incomplete' and r.incomplete_details.reason == 'max_output_tokens'
    assert list(respond(max_output_tokens=3, stream=True))[-1].type == 'response.incomplete'


def test_response_calls(respond):
    r = respond('What is the weather in Paris?', tools=FLAT)
    item, = [o for o in r.output if o.type == 'function_call']
    assert item.name == 'get_weather' and json.loads(item.arguments) == {'city': 'Paris', 'days': 2}
    assert item.call_id.startswith('call_') and item.status == 'completed'
    again = respond([{'role': 'user', 'content': 'What is the weather in Paris?'}, *r.output,
                     {'type': 'function_call_output', 'call_id': item.call_id, 'output': 'sunny-22'}], tools=FLAT)
    assert again.output_text == SUNNY
    events = list(respond('What is the weather in Paris?', tools=FLAT, stream=True))
    assert [json.loads(e.arguments) for e in events if e.type == 'response.function_call_arguments.done'] == [
        {'city': 'Paris', 'days': 2}]
    deltas = ''.join(e.delta for e in events if e.type == 'response.function_call_arguments.delta')
    assert json.loads(deltas) == {'city': 'Paris', 'days': 2}


def test_response_reasoning(respond):
    r = respond('Think about it.')
    assert [o.type for o in r.output] == ['reasoning', 'message'] and r.output_text == 'Four.'
    assert r.usage.output_tokens_details.reasoning_tokens > 0
    assert list(respond('Think about it.', stream=True))[-1].response.output_text == 'Four.'


def test_response_parse(client, server):
    r = client.responses.parse(model=server.model, input='Describe Ada.', text_format=Person)
    assert r.output_parsed == Person(name='Ada', age=36)


def test_response_of_a_response_that_is_not_kept(respond):
    with pytest.raises(openai.BadRequestError) as e:
        respond(previous_response_id='resp_1')
    assert e.value.param == 'previous_response_id'


# ---- errors ----

@pytest.mark.parametrize('param, more', [
    ('temperature', {'temperature': 9}), ('n', {'n': 1000}), ('top_logprobs', {'logprobs': True, 'top_logprobs': 99}),
    ('stop', {'stop': ['a'] * 99}), ('max_tokens', {'max_tokens': -5}), ('stream', {'extra_body': {'stream': 'yes'}})])
def test_bad_fields(chat, param, more):
    with pytest.raises(openai.BadRequestError) as e:
        chat(**more)
    assert e.value.param == param and e.value.type == 'invalid_request_error' and e.value.request_id


@pytest.mark.parametrize('messages', [[], [{'role': 'nobody', 'content': 'x'}], [{'role': 'user'}], [{'role': 'user', 'content': 7}]])
def test_bad_messages(chat, messages):
    with pytest.raises(openai.BadRequestError) as e:
        chat(messages)
    assert e.value.param.startswith('messages')


def test_prompt_too_long(client, server, chat, respond):
    long = 'word ' * 200_000
    for ask, param in ((lambda: chat([{'role': 'user', 'content': long}]), 'messages'),
                       (lambda: client.completions.create(model=server.model, prompt=long), 'prompt'),
                       (lambda: respond(long), 'input')):
        with pytest.raises(openai.BadRequestError) as e:
            ask()
        assert e.value.code == 'context_length_exceeded' and e.value.param == param
        assert 'maximum context length is' in e.value.message
    with pytest.raises(openai.BadRequestError):
        chat([{'role': 'user', 'content': long}], stream=True)


def test_unknown_model(client):
    with pytest.raises(openai.NotFoundError) as e:
        client.chat.completions.create(model='nobody', messages=HELLO)
    assert e.value.code == 'model_not_found' and 'nobody' in e.value.message


def test_keys():
    s = Server(RULES, '--api-key', 'sesame')
    try:
        for key in ('wrong', 'sesame2'):
            with pytest.raises(openai.AuthenticationError) as e:
                openai.OpenAI(base_url=s.url + '/v1', api_key=key, max_retries=0).models.list()
            assert e.value.code == 'invalid_api_key' and key not in str(e.value)
        right = openai.OpenAI(base_url=s.url + '/v1', api_key='sesame', max_retries=0)
        assert right.chat.completions.create(model=s.model, messages=HELLO).choices[0].message.content == GREETING
    finally:
        s.stop()


def test_a_stream_that_is_left(chat, server):
    for _ in range(3):
        stream = chat([{'role': 'user', 'content': 'Speak slowly.'}], stream=True)
        next(iter(stream))
        stream.close()
    assert_cancelled(server)
    assert chat().choices[0].message.content == GREETING


def test_a_client_that_does_not_wait(client, server):
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=0.5).chat.completions.create(
            model=server.model, messages=[{'role': 'user', 'content': 'Speak slowly.'}])
    assert_cancelled(server)


def test_a_full_queue():
    """One is served, one waits, the third is refused and told when to come again."""
    s = Server(RULES, slots=1, queue=1)
    with s, openai.OpenAI(base_url=s.url + '/v1', api_key='none', max_retries=0, timeout=20) as c:
        slow = {'model': s.model, 'messages': [{'role': 'user', 'content': 'Speak slowly.'}], 'stream': True}
        first = c.chat.completions.create(**slow)
        next(iter(first))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            second = pool.submit(c.chat.completions.create, **slow)
            s.wait_metric('llamacpp:requests_deferred', 1)
            with pytest.raises(openai.InternalServerError) as e:
                c.chat.completions.create(model=s.model, messages=HELLO)
            assert e.value.status_code == 503 and int(e.value.response.headers['retry-after']) > 0
            first.close()
            second.result().close()


def test_an_error_in_a_stream():
    """What fails behind the first bytes is an event, and an exception of the client's."""
    s = Server([{'text': LOREM, 'fail': 'numbers went wrong', 'fail_after': 5}])
    with s, openai.OpenAI(base_url=s.url + '/v1', api_key='none', max_retries=0, timeout=20) as c:
        with pytest.raises(openai.APIError):
            list(c.chat.completions.create(model=s.model, messages=HELLO, stream=True))
        with pytest.raises(openai.InternalServerError):
            c.chat.completions.create(model=s.model, messages=HELLO)
        failed = list(c.responses.create(model=s.model, input='Say hello.', stream=True))[-1]
        assert failed.type == 'response.failed' and failed.response.error.message
