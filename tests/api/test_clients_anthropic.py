"""The server through Anthropic's own Python client: what it parses, streams and raises."""
import asyncio
import json
import re

import pytest
from clients_helper import (CLOCK, GREETING, LOREM, PERSON, RULES, SUNNY, WEATHER, Server,
                            assert_cancelled, serve)

anthropic = pytest.importorskip('anthropic', reason='script/bootstrap test installs anthropic')
pydantic = pytest.importorskip('pydantic')

TOOLS = [{'name': t['name'], 'description': t['description'], 'input_schema': t['parameters']} for t in (WEATHER, CLOCK)]
HELLO = [{'role': 'user', 'content': 'Say hello.'}]
PARIS = [{'role': 'user', 'content': 'What is the weather in Paris?'}]


@pytest.fixture(scope='module')
def server():
    yield from serve(RULES)


@pytest.fixture(scope='module')
def client(server):
    with anthropic.Anthropic(base_url=server.url, api_key='none', max_retries=0, timeout=20) as c:
        yield c


@pytest.fixture(scope='module')
def ask(client, server):
    return lambda messages=HELLO, **more: client.messages.create(
        **{'model': server.model, 'messages': messages, 'max_tokens': 200} | more)


@pytest.fixture(scope='module')
def count(client, server):
    return lambda messages=HELLO, **more: client.messages.count_tokens(
        model=server.model, messages=messages, **more).input_tokens


# ---- messages ----

def test_an_answer(ask, server):
    a, b = ask(), ask()
    assert a.type == 'message' and a.role == 'assistant' and a.model == server.model
    assert a.id.startswith('msg_') and a.id != b.id
    assert [(c.type, c.text) for c in a.content] == [('text', GREETING)]
    assert a.stop_reason == 'end_turn' and a.stop_sequence is None
    u = a.usage
    assert u.output_tokens > 0 and u.input_tokens + u.cache_read_input_tokens + u.cache_creation_input_tokens > 0


def test_a_stream(ask):
    events = list(ask(stream=True))
    kinds = [e.type for e in events if e.type != 'ping']
    assert kinds[:2] == ['message_start', 'content_block_start']
    assert kinds[-3:] == ['content_block_stop', 'message_delta', 'message_stop']
    assert set(kinds[2:-3]) == {'content_block_delta'} and len(kinds) > 8
    start, delta = events[0].message, next(e for e in events if e.type == 'message_delta')
    assert start.content == [] and start.stop_reason is None and start.id.startswith('msg_')
    assert delta.delta.stop_reason == 'end_turn' and delta.usage.output_tokens == ask().usage.output_tokens
    assert start.usage.input_tokens + (start.usage.cache_read_input_tokens or 0) > 0


def test_stream_helper(client, server):
    with client.messages.stream(model=server.model, messages=HELLO, max_tokens=100) as stream:
        assert ''.join(stream.text_stream) == GREETING
        final = stream.get_final_message()
    assert final.content[0].text == GREETING and final.stop_reason == 'end_turn' and final.usage.output_tokens > 0


def test_async(server):
    async def run():
        async with anthropic.AsyncAnthropic(base_url=server.url, auth_token='none', max_retries=0) as c:
            ask = {'model': server.model, 'messages': HELLO, 'max_tokens': 100}
            one = c.messages.create(**ask)
            async with c.messages.stream(**ask) as stream:
                text = await stream.get_final_text()
            return (await one).content[0].text, text

    assert asyncio.run(run()) == (GREETING, GREETING)


def test_length(ask):
    a = ask(max_tokens=3)
    assert a.stop_reason == 'max_tokens' and a.usage.output_tokens == 3
    assert GREETING.startswith(a.content[0].text)


def test_more_tokens_than_fit_are_asked_for(ask):
    assert ask(max_tokens=30_000_000, stream=False, timeout=20).content[0].text == GREETING


@pytest.mark.parametrize('stop', [['five'], ['never', ' five', 'ten']])
def test_stop(ask, client, server, stop):
    ten = [{'role': 'user', 'content': 'Count to ten.'}]
    first = stop[0] if len(stop) == 1 else ' five'
    a = ask(ten, stop_sequences=stop)
    assert a.stop_reason == 'stop_sequence' and a.stop_sequence == first
    assert a.content[0].text == LOREM[:LOREM.index(first)]
    with client.messages.stream(model=server.model, messages=ten, max_tokens=100, stop_sequences=stop) as stream:
        b = stream.get_final_message()
    assert (b.content[0].text, b.stop_reason, b.stop_sequence) == (a.content[0].text, a.stop_reason, first)


def test_system_blocks_are_the_same_prompt(count):
    text = 'You are brief.'
    block = {'type': 'text', 'text': text, 'cache_control': {'type': 'ephemeral'}}
    assert count() < count(system=text) == count(system=[block])
    parts = [{'role': 'user', 'content': [{'type': 'text', 'text': 'Say hello.', 'cache_control': {'type': 'ephemeral'}}]}]
    assert count(parts) == count()
    billing = {'type': 'text', 'text': 'x-anthropic-billing-header: cc_version=2.1.330.c39; cc_entrypoint=cli;'}
    assert count(system=[billing, block]) == count(system=text)


def test_system_messages_between_others(ask):
    later = [*HELLO, {'role': 'system', 'content': 'Be brief.'}]
    assert ask(later).content[0].text == GREETING


def test_prefilled_answer(ask):
    """As newer models of Anthropic have it."""
    with pytest.raises(anthropic.BadRequestError) as e:
        ask([*HELLO, {'role': 'assistant', 'content': 'Well:'}])
    assert 'prefill' in e.value.api_message


def test_fields_without_effect_are_accepted(ask):
    a = ask(metadata={'user_id': 'me'}, service_tier='auto', output_config={'effort': 'low'},
            cache_control={'type': 'ephemeral'}, extra_headers={'anthropic-beta': 'a-2025-01-01,b-2026-01-01'},
            extra_body={'temperature': 0.5, 'top_p': 0.9, 'top_k': 10, 'context_management': {'edits': []}})
    assert a.content[0].text == GREETING


# ---- thinking ----

THINK = [{'role': 'user', 'content': 'Think about it.'}]


@pytest.mark.parametrize('thinking', [{'type': 'enabled', 'budget_tokens': 1024}, {'type': 'adaptive'}])
def test_thinking(ask, client, server, thinking):
    more = {'max_tokens': 2000, 'thinking': thinking}
    a = ask(THINK, **more)
    assert [c.type for c in a.content] == ['thinking', 'text']
    assert a.content[0].thinking.strip() == 'Two and two.' and a.content[1].text == 'Four.'
    assert isinstance(a.content[0].signature, str)
    with client.messages.stream(model=server.model, messages=THINK, **more) as stream:
        thought = ''.join(e.thinking for e in stream if e.type == 'thinking')
        final = stream.get_final_message()
    assert thought.strip() == 'Two and two.' and final.content[1].text == 'Four.'
    # It comes back with the next turn, as the client got it.
    again = ask([*THINK, {'role': 'assistant', 'content': a.content}, *HELLO], **more)
    assert again.content[-1].type == 'text'


def test_thinking_that_is_not_shown(ask):
    a = ask(THINK, max_tokens=2000, thinking={'type': 'adaptive', 'display': 'omitted'})
    assert a.content[-1].text == 'Four.'
    assert all('Two' not in c.thinking for c in a.content if c.type == 'thinking')


# ---- tools ----

def test_call(ask, client, server):
    a = ask(PARIS, tools=TOOLS)
    use, = a.content
    assert a.stop_reason == 'tool_use' and use.type == 'tool_use' and use.id.startswith('toolu_')
    assert (use.name, use.input) == ('get_weather', {'city': 'Paris', 'days': 2})
    with client.messages.stream(model=server.model, messages=PARIS, tools=TOOLS, max_tokens=200) as stream:
        pieces = [e.partial_json for e in stream if e.type == 'input_json']
        b = stream.get_final_message()
    assert json.loads(''.join(pieces)) == use.input and b.content[0].input == use.input
    assert b.content[0].id != use.id and b.stop_reason == 'tool_use'


def test_text_and_call(ask):
    a = ask([{'role': 'user', 'content': 'Please explain and call.'}], tools=TOOLS)
    assert [c.type for c in a.content] == ['text', 'tool_use'] and a.content[0].text.strip() == 'I will look.'


def test_call_without_input(ask, client, server):
    tools = [{'name': 'now', 'input_schema': {'type': 'object', 'properties': {}}}]
    messages = [{'role': 'user', 'content': 'There is nothing to pass.'}]
    assert [(c.name, c.input) for c in ask(messages, tools=tools).content] == [('now', {})]
    with client.messages.stream(model=server.model, messages=messages, tools=tools, max_tokens=100) as stream:
        assert stream.get_final_message().content[0].input == {}


def test_round_trip_of_parallel_calls(ask):
    first = ask([{'role': 'user', 'content': 'The weather and time, please.'}], tools=TOOLS)
    uses = [c for c in first.content if c.type == 'tool_use']
    assert [u.name for u in uses] == ['get_weather', 'get_time'] and uses[0].id != uses[1].id
    results = [{'type': 'tool_result', 'tool_use_id': uses[0].id, 'content': 'sunny-22'},
               {'type': 'tool_result', 'tool_use_id': uses[1].id, 'is_error': True,
                'content': [{'type': 'text', 'text': 'no clock'}]}]
    a = ask([{'role': 'user', 'content': 'The weather and time, please.'},
             {'role': 'assistant', 'content': first.content},
             {'role': 'user', 'content': [*results, {'type': 'text', 'text': 'Go on.'}]}], tools=TOOLS)
    assert a.content[0].text == SUNNY and a.stop_reason == 'end_turn'


@pytest.mark.parametrize('choice', [{'type': 'auto'}, {'type': 'any'}, {'type': 'tool', 'name': 'get_weather'},
                                    {'type': 'any', 'disable_parallel_tool_use': True}])
def test_tool_choice(ask, choice):
    a = ask(PARIS, tools=TOOLS, tool_choice=choice)
    assert [c.name for c in a.content if c.type == 'tool_use'] == ['get_weather']


def test_no_tools_are_called_where_none_may_be(ask):
    a = ask(PARIS, tools=TOOLS, tool_choice={'type': 'none'})
    assert a.stop_reason == 'end_turn' and [c.type for c in a.content] == ['text']


def test_a_tool_that_is_not_there(ask):
    with pytest.raises(anthropic.BadRequestError) as e:
        ask(PARIS, tools=TOOLS, tool_choice={'type': 'tool', 'name': 'fly'})
    assert 'fly' in e.value.api_message


# ---- structured answers ----

def test_parse(client, server, ask):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    messages = [{'role': 'user', 'content': 'Describe Ada.'}]
    a = client.messages.parse(model=server.model, messages=messages, max_tokens=100, output_format=Person)
    assert a.parsed_output == Person(name='Ada', age=36)
    raw = ask(messages, output_config={'format': {'type': 'json_schema', 'schema': Person.model_json_schema() | {
        'additionalProperties': False}}})
    assert json.loads(raw.content[0].text) == json.loads(PERSON)


# ---- counting ----

def test_count_is_what_an_answer_reads(ask, count):
    for messages, more in ((HELLO, {}), (PARIS, {'tools': TOOLS}), (HELLO, {'system': 'You are brief.'})):
        u = ask(messages, **more).usage
        assert count(messages, **more) == u.input_tokens + u.cache_read_input_tokens + u.cache_creation_input_tokens
    assert count(PARIS, tools=TOOLS) > count(PARIS)


# ---- models ----

def test_models(client, server):
    ids = [m.id for m in client.models.list()]
    assert server.model in ids
    assert client.models.retrieve(server.model).type == 'model'


# ---- errors ----

@pytest.mark.parametrize('word, more', [
    ('max_tokens', {'max_tokens': -1}), ('temperature', {'extra_body': {'temperature': 9}}),
    ('stop_sequences', {'stop_sequences': ['x'] * 99}), ('messages', {'messages': []}),
    ('role', {'messages': [{'role': 'nobody', 'content': 'x'}]}), ('tools', {'tools': [{'input_schema': {}}]})])
def test_bad_fields(ask, word, more):
    with pytest.raises(anthropic.BadRequestError) as e:
        ask(**more)
    assert e.value.type == 'invalid_request_error' and word in e.value.api_message
    assert e.value.body['type'] == 'error' and e.value.request_id == e.value.body['request_id']


@pytest.mark.parametrize('stream', [False, True])
@pytest.mark.parametrize('n_word', [20_000, 200_000])
def test_prompt_too_long(ask, count, stream, n_word):
    """In these words: clients compact their history when they read them, and how much of it
    they take from the numbers.  Far beyond the context the first is the least that it can be."""
    messages = [{'role': 'user', 'content': 'word ' * n_word}]
    with pytest.raises(anthropic.BadRequestError) as e:
        ask(messages, stream=stream)
    assert e.value.type == 'invalid_request_error'
    found = re.match(r'prompt is too long: (\d+) tokens > (\d+) maximum', e.value.api_message)
    n, n_max = map(int, found.groups())
    assert n_max < n <= count(messages) and n_max == 8192
    assert n_word > 20_000 or n == count(messages)


def test_unknown_model(client):
    with pytest.raises(anthropic.NotFoundError) as e:
        client.messages.create(model='nobody', messages=HELLO, max_tokens=10)
    assert e.value.type == 'not_found_error' and 'nobody' in e.value.api_message


def test_keys():
    s = Server(RULES, '--api-key', 'sesame')
    ask = {'model': s.model, 'messages': HELLO, 'max_tokens': 100}
    try:
        with pytest.raises(anthropic.AuthenticationError) as e:
            anthropic.Anthropic(base_url=s.url, api_key='wrong', max_retries=0).messages.create(**ask)
        assert e.value.type == 'authentication_error'
        for key in ({'api_key': 'sesame'}, {'auth_token': 'sesame'}):
            c = anthropic.Anthropic(base_url=s.url, max_retries=0, **key)
            assert c.messages.create(**ask).content[0].text == GREETING
    finally:
        s.stop()


def test_a_base_with_v1(server):
    c = anthropic.Anthropic(base_url=server.url + '/v1', api_key='none', max_retries=0)
    assert c.messages.create(model=server.model, messages=HELLO, max_tokens=100).content[0].text == GREETING


def test_a_stream_that_is_left(client, ask, server):
    slow = [{'role': 'user', 'content': 'Speak slowly.'}]
    for _ in range(3):
        with client.messages.stream(model=server.model, messages=slow, max_tokens=5000) as stream:
            next(stream.text_stream)
    assert_cancelled(server)
    assert ask().content[0].text == GREETING


def test_a_full_queue():
    """One is served, the second is refused and told when to come again."""
    s = Server(RULES, slots=1, queue=0)
    with s, anthropic.Anthropic(base_url=s.url, api_key='none', max_retries=0, timeout=20) as c:
        slow = [{'role': 'user', 'content': 'Speak slowly.'}]
        with c.messages.stream(model=s.model, messages=slow, max_tokens=5000) as stream:
            next(stream.text_stream)
            with pytest.raises(anthropic.OverloadedError) as e:
                c.messages.create(model=s.model, messages=HELLO, max_tokens=10)
            assert e.value.status_code == 529 and e.value.type == 'overloaded_error'
            assert int(e.value.response.headers['retry-after']) > 0


def test_an_error_in_a_stream():
    """What fails behind the first bytes is an event, and an exception of the client's."""
    s = Server([{'text': LOREM, 'fail': 'numbers went wrong', 'fail_after': 5}])
    with s, anthropic.Anthropic(base_url=s.url, api_key='none', max_retries=0, timeout=20) as c:
        with pytest.raises(anthropic.APIStatusError) as e:
            with c.messages.stream(model=s.model, messages=HELLO, max_tokens=100) as stream:
                stream.get_final_message()
        assert e.value.type == 'api_error'
