"""The server through Ollama's own Python client: what it parses, streams and raises."""
import asyncio
import json

import pytest
from clients_helper import (CLOCK, GREETING, LOREM, PERSON, RULES, SUNNY, WEATHER, Server,
                            assert_cancelled, serve)

ollama = pytest.importorskip('ollama', reason='script/bootstrap test installs ollama')

TOOLS = [{'type': 'function', 'function': t} for t in (WEATHER, CLOCK)]
HELLO = [{'role': 'user', 'content': 'Say hello.'}]
PARIS = [{'role': 'user', 'content': 'What is the weather in Paris?'}]
THINK = [{'role': 'user', 'content': 'Think about it.'}]


@pytest.fixture(scope='module')
def server():
    yield from serve(RULES)


@pytest.fixture(scope='module')
def client(server):
    c = ollama.Client(host=server.url, timeout=20)
    yield c
    c.close()


@pytest.fixture(scope='module')
def chat(client, server):
    return lambda messages=HELLO, **more: client.chat(model=server.model, messages=messages, **more)


@pytest.fixture(scope='module')
def generate(client, server):
    return lambda prompt='Say hello.', **more: client.generate(model=server.model, prompt=prompt, **more)


def assert_done(r, reason='stop'):
    assert r.done is True and r.done_reason == reason
    assert r.prompt_eval_count > 0 and r.eval_count > 0
    assert r.total_duration >= r.prompt_eval_duration + r.eval_duration > 0 and r.load_duration >= 0


# ---- chat ----

def test_chat(chat, server):
    r = chat()
    assert r.model == server.model and r.message.role == 'assistant' and r.message.content == GREETING
    assert r.created_at[4] == '-' and r.created_at.endswith('Z')
    assert_done(r)


def test_chat_stream(chat):
    *parts, last = chat(stream=True)
    assert ''.join(p.message.content for p in parts) + (last.message.content or '') == GREETING
    assert len(parts) > 3 and not any(p.done for p in parts)
    assert_done(last)


def test_async(server):
    async def run():
        c = ollama.AsyncClient(host=server.url)
        one = c.chat(model=server.model, messages=HELLO)
        text = [p.message.content async for p in await c.chat(model=server.model, messages=HELLO, stream=True)]
        return (await one).message.content, ''.join(text)

    assert asyncio.run(run()) == (GREETING, GREETING)


def test_options(chat):
    r = chat(options={'num_predict': 3, 'temperature': 0.1, 'top_k': 3, 'seed': 1, 'repeat_last_n': 8, 'num_gpu': 1})
    assert r.done_reason == 'length' and r.eval_count == 3 and GREETING.startswith(r.message.content)
    ten = [{'role': 'user', 'content': 'Count to ten.'}]
    assert chat(ten, options={'stop': [' five']}).message.content == LOREM[:LOREM.index(' five')]
    assert chat(options={'an_option_nobody_knows': 1}).message.content == GREETING


def test_keep_alive(chat):
    for keep in (0, 30, -1, '10m', 1.5):
        assert chat(keep_alive=keep).message.content == GREETING


def test_logprobs(chat):
    r = chat(logprobs=True, top_logprobs=3)
    assert ''.join(t.token for t in r.logprobs[:2]) and all(t.logprob <= 0 for t in r.logprobs)
    assert all(len(t.top_logprobs) == 3 for t in r.logprobs)
    streamed = [t.token for p in chat(logprobs=True, stream=True) for t in p.logprobs or []]
    assert streamed == [t.token for t in r.logprobs]


@pytest.mark.parametrize('think', [True, 'low', None])
def test_thinking(chat, think):
    r = chat(THINK, think=think)
    assert r.message.content == 'Four.' and r.message.thinking.strip() == 'Two and two.'
    parts = list(chat(THINK, think=think, stream=True))
    assert ''.join(p.message.content or '' for p in parts) == 'Four.'
    assert ''.join(p.message.thinking or '' for p in parts).strip() == 'Two and two.'


def test_format(chat, generate):
    ask = [{'role': 'user', 'content': 'Describe Ada.'}]
    schema = {'type': 'object', 'properties': {'name': {'type': 'string'}, 'age': {'type': 'integer'}},
              'required': ['name', 'age']}
    for form in ('json', schema):
        assert json.loads(chat(ask, format=form).message.content) == json.loads(PERSON)
        assert json.loads(generate('Describe Ada.', format=form).response) == json.loads(PERSON)


# ---- tools ----

def test_call(chat):
    call, = chat(PARIS, tools=TOOLS).message.tool_calls
    assert call.function.name == 'get_weather' and call.function.arguments == {'city': 'Paris', 'days': 2}
    streamed = [c for p in chat(PARIS, tools=TOOLS, stream=True) for c in p.message.tool_calls or []]
    assert [(c.function.name, c.function.arguments) for c in streamed] == [('get_weather', {'city': 'Paris', 'days': 2})]


def test_a_function_as_a_tool(chat):
    def get_weather(city: str, days: int) -> str:
        """The weather.

        Args:
            city: of which city
            days: for how long
        """

    call, = chat(PARIS, tools=[get_weather]).message.tool_calls
    assert call.function.arguments == {'city': 'Paris', 'days': 2}


def test_round_trip_of_parallel_calls(chat):
    ask = [{'role': 'user', 'content': 'The weather and time, please.'}]
    first = chat(ask, tools=TOOLS).message
    assert [c.function.name for c in first.tool_calls] == ['get_weather', 'get_time']
    r = chat([*ask, first, {'role': 'tool', 'tool_name': 'get_weather', 'content': 'sunny-22'},
              {'role': 'tool', 'tool_name': 'get_time', 'content': '12:00'}], tools=TOOLS)
    assert r.message.content == SUNNY and not r.message.tool_calls


# ---- generate ----

def test_generate(generate):
    r = generate()
    assert r.response == GREETING
    assert_done(r)
    *parts, last = generate(stream=True)
    assert ''.join(p.response for p in parts) + last.response == GREETING
    assert_done(last)


def test_generate_with_more(generate):
    assert generate(system='Be brief.').prompt_eval_count > generate().prompt_eval_count
    raw = generate(raw=True)
    assert raw.response == GREETING and raw.prompt_eval_count < generate().prompt_eval_count
    r = generate('Think about it.', think=True)
    assert r.response == 'Four.' and r.thinking.strip() == 'Two and two.'


def test_load_and_unload(client, server):
    r = client.generate(model=server.model)
    assert r.done and r.done_reason == 'load' and r.response == ''
    r = client.chat(model=server.model, messages=[])
    assert r.done and r.done_reason == 'load'


# ---- embeddings ----

def test_embed(client, server):
    r = client.embed(model=server.model, input=['Say hello', 'another text'])
    a, b = r.embeddings
    assert len(a) == len(b) > 4 and a != b and r.prompt_eval_count > 1 and r.total_duration > 0
    assert sum(x * x for x in a) == pytest.approx(1, abs=1e-5)
    assert client.embed(model=server.model, input='Say hello').embeddings[0] == a
    short = client.embed(model=server.model, input='Say hello', dimensions=4).embeddings[0]
    assert len(short) == 4 and sum(x * x for x in short) == pytest.approx(1, abs=1e-5)
    assert client.embed(model=server.model, input=[]).embeddings == []
    old = client.embeddings(model=server.model, prompt='Say hello').embedding
    assert len(old) == len(a)


def test_embed_of_too_much(client, server):
    long = 'word ' * 200_000
    with pytest.raises(ollama.ResponseError) as e:
        client.embed(model=server.model, input=long)
    assert e.value.status_code == 400 and 'context length' in e.value.error
    assert len(client.embed(model=server.model, input=long, truncate=True).embeddings) == 1


# ---- models ----

def test_list(client, server):
    m = next(m for m in client.list().models if server.model in m.model)
    assert m.size > 0 and len(m.digest) == 64 and m.modified_at.year > 2000
    assert m.details.format == 'gguf' and m.details.family


def test_show(client, server):
    r = client.show(server.model)
    assert r.modelinfo['general.architecture'] and r.template and r.details.format == 'gguf'
    assert {'completion', 'tools'} <= set(r.capabilities)
    assert 'tokenizer.chat_template' not in r.modelinfo


def test_ps(client, server):
    m = next(m for m in client.ps().models if server.model in m.model)
    assert m.size > 0 and m.context_length > 0 and m.expires_at is not None and m.name


# ---- errors ----

def test_unknown_model(client):
    for ask in (lambda: client.chat(model='nobody', messages=HELLO), lambda: client.show('nobody'),
                lambda: client.generate(model='nobody', prompt='x'), lambda: client.embed(model='nobody', input='x')):
        with pytest.raises(ollama.ResponseError) as e:
            ask()
        assert e.value.status_code == 404 and 'nobody' in e.value.error and 'not found' in e.value.error


def test_bad_options(chat):
    with pytest.raises(ollama.ResponseError) as e:
        chat(options={'num_predict': 'many'})
    assert e.value.status_code == 400 and 'num_predict' in e.value.error
    with pytest.raises(ollama.ResponseError) as e:
        chat([{'role': 'user', 'content': 'x'}], options={'temperature': -3})
    assert e.value.status_code == 400 and 'temperature' in e.value.error


def test_old_messages_are_dropped_for_those_who_ask(chat, client, server):
    """Its chat() has no truncate, so that such a request is made by hand."""
    old = [{'role': 'user', 'content': 'word ' * 150_000}, {'role': 'assistant', 'content': 'Yes.'}]
    with pytest.raises(ollama.ResponseError) as e:
        chat([*old, *HELLO])
    assert e.value.status_code == 400 and 'context length' in e.value.error
    body = {'model': server.model, 'messages': [*old, *HELLO], 'stream': False, 'truncate': True}
    r = client._client.post('/api/chat', json=body)
    assert r.json()['message']['content'] == GREETING and r.headers['X-Truncated-Messages'] == '2'


def test_a_stream_that_is_left(chat, server):
    for _ in range(3):
        stream = chat([{'role': 'user', 'content': 'Speak slowly.'}], stream=True)
        next(stream)
        stream.close()
    assert_cancelled(server)
    assert chat().message.content == GREETING


def test_a_full_queue():
    s = Server(RULES, slots=1, queue=0)
    with s:
        c = ollama.Client(host=s.url, timeout=20)
        stream = c.chat(model=s.model, messages=[{'role': 'user', 'content': 'Speak slowly.'}], stream=True)
        next(stream)
        with pytest.raises(ollama.ResponseError) as e:
            c.chat(model=s.model, messages=HELLO)
        assert e.value.status_code == 503 and 'server busy' in e.value.error
        stream.close()
        c.close()


def test_an_error_in_a_stream():
    s = Server([{'text': LOREM, 'fail': 'numbers went wrong', 'fail_after': 5}])
    with s:
        c = ollama.Client(host=s.url, timeout=20)
        with pytest.raises(ollama.ResponseError):
            list(c.chat(model=s.model, messages=HELLO, stream=True))
        c.close()
