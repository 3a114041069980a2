"""The router in front of the real server, whose model is a script, with the official clients."""
import re

import anthropic
import clients_helper
import ollama
import openai
import pytest
from clients_helper import CLOCK, GREETING, RULES, SCRIPTED, WEATHER
from route_helper import Router

NAME = 'tiny-chat'


@pytest.fixture(scope='module')
def fleet():
    if not SCRIPTED.exists():
        pytest.skip(f'{SCRIPTED} is not built')
    with clients_helper.Server(RULES) as short, clients_helper.Server(RULES, ctx=32768) as long:
        with Router('--short', short.url, '--long', long.url, '--threshold', '2000') as r:
            r.wait_known(2)
            yield r, short, long
            assert r.stop() == 0


def test_backends_are_known(fleet):
    r, short, long = fleet
    for s, n_ctx in ((short, 8192), (long, 32768)):
        b = r.backend(s.url)
        assert (b['software'], b['n_ctx']) == ('turbine', n_ctx) and NAME in b['models']
        assert b['dialects'] == ['openai', 'anthropic', 'ollama'] and b['attention'] == 'softmax'


def test_lanes(fleet):
    r, short, long = fleet
    ask = lambda n: r.post('/v1/chat/completions', {'model': NAME, 'max_tokens': 4, 'messages': [  # noqa: E731
        {'role': 'user', 'content': 'Say hello ' + 'one two three ' * n}]}).headers['X-Turbine-Backend']
    assert ask(1) == short.url and ask(1500) == long.url
    # Near the threshold the server counts, with its own tokenizer.
    before = r.backend(short.url)['sent'] + r.backend(long.url)['sent']
    assert ask(640) in (short.url, long.url)
    assert r.backend(short.url)['sent'] + r.backend(long.url)['sent'] == before + 1


def test_clients(fleet):
    r, _, _ = fleet
    m = [{'role': 'user', 'content': 'Say hello'}]
    o = openai.OpenAI(base_url=r.url + '/v1', api_key='x', max_retries=0)
    a = anthropic.Anthropic(base_url=r.url, api_key='x', max_retries=0)
    c = ollama.Client(host=r.url)
    assert o.chat.completions.create(model=NAME, messages=m).choices[0].message.content == GREETING
    assert ''.join(x.choices[0].delta.content or '' for x in o.chat.completions.create(
        model=NAME, messages=m, stream=True) if x.choices) == GREETING
    with a.messages.stream(model=NAME, messages=m, max_tokens=99) as s:
        assert ''.join(s.text_stream) == GREETING
    assert ''.join(x.message.content for x in c.chat(NAME, m, stream=True)) == GREETING
    assert a.messages.count_tokens(model=NAME, messages=m).input_tokens > 3
    call = o.chat.completions.create(model=NAME, messages=[{'role': 'user', 'content': 'weather in Paris'}],
                                     tools=[{'type': 'function', 'function': WEATHER}]).choices[0].message.tool_calls
    assert call[0].function.name == 'get_weather'
    assert len(o.embeddings.create(model=NAME, input=['a', 'b']).data) == 2
    with pytest.raises(openai.NotFoundError):
        o.chat.completions.create(model='nope', messages=m)
    with pytest.raises(anthropic.BadRequestError, match='prompt is too long: '):
        a.messages.create(model=NAME, max_tokens=9, messages=[{'role': 'user', 'content': 'one two ' * 40000}])


def ask_words(r, n):
    return r.post('/v1/chat/completions', {'model': NAME, 'max_tokens': 4, 'messages': [
        {'role': 'user', 'content': 'one two ' * n}]})


def test_no_estimate_alone_refuses_what_fits():
    """Small prompts that are mostly template and tools teach the estimate much that is no part of long ones."""
    tools = [{'type': 'function', 'function': t} for t in (WEATHER, CLOCK)]
    with clients_helper.Server(RULES) as s, Router('--short', s.url) as r:
        r.wait_known()
        for _ in range(20):
            assert r.post('/v1/chat/completions', {'model': NAME, 'max_tokens': 4, 'tools': tools, 'messages': [
                {'role': 'user', 'content': 'weather in Paris'}]}).status == 200
        for n in (2500, 3500, 4000):
            assert ask_words(r, n).status == 200
        # What it refuses the server has counted, as a prompt without thinking, which has an empty block of it.
        for n in (4100, 8000):
            mine, its = ask_words(r, n), ask_words(s, n)
            assert (mine.status, its.status) == (400, 400)
            counted, known = (int(re.search(r'in (\d+) tokens', x.json()['error']['message'])[1]) for x in (mine, its))
            assert known <= counted <= known + 12


def test_an_anthropic_client_of_an_openai_backend():
    """The prompt has the same tokens: whether to think, reasoning and tools arrive as if the server were asked."""
    m = [{'role': 'user', 'content': 'weather in Paris'}]
    history = [*m, {'role': 'assistant', 'content': [
        {'type': 'thinking', 'thinking': 'Look it up.', 'signature': ''},
        {'type': 'tool_use', 'id': 'toolu_1', 'name': 'get_weather', 'input': {'city': 'Paris'}}]},
        {'role': 'user', 'content': [{'type': 'tool_result', 'tool_use_id': 'toolu_1', 'content': 'sunny-22'}]}]
    tools = [{'name': t['name'], 'description': t['description'], 'input_schema': t['parameters']}
             for t in (WEATHER, CLOCK)]
    thinking = {'type': 'enabled', 'budget_tokens': 1024}
    with clients_helper.Server(RULES) as s, Router(config=f'backend {s.url}\n dialects openai\n') as r:
        r.wait_known()
        a, direct = (anthropic.Anthropic(base_url=x.url, api_key='x', max_retries=0) for x in (r, s))
        for more in ({}, {'tools': tools}, {'thinking': thinking, 'tools': tools},
                     {'tools': tools, 'messages': history}, {'thinking': thinking, 'tools': tools, 'messages': history}):
            ask = {'model': NAME, 'max_tokens': 2000, 'messages': m, **more}
            got = []
            for c in (a, direct):
                with c.messages.stream(**ask) as stream:
                    streamed = stream.get_final_message()
                for x in (c.messages.create(**ask), streamed):
                    got.append(([b.model_dump(exclude={'id'}) for b in x.content], x.stop_reason,
                                x.usage.input_tokens + (x.usage.cache_read_input_tokens or 0)))
            assert all(x == got[-1] for x in got), got


def test_a_server_is_killed_in_a_stream(fleet):
    """A typed error, and the next request is answered by the other one."""
    r, _, _ = fleet
    with clients_helper.Server(RULES) as a, clients_helper.Server(RULES) as b:
        with Router('--short', f'{a.url},{b.url}') as r:
            r.wait_known(2)
            o = openai.OpenAI(base_url=r.url + '/v1', api_key='x', max_retries=0)
            m = [{'role': 'user', 'content': 'Speak slowly'}]
            raw = o.chat.completions.with_raw_response.create(model=NAME, messages=m, stream=True)
            first = next(s for s in (a, b) if s.url == raw.headers['X-Turbine-Backend'])
            with pytest.raises(openai.APIError):
                for i, _ in enumerate(raw.parse()):
                    if i == 3:
                        first.process.kill()
            m = [{'role': 'user', 'content': 'Say hello'}]
            for _ in range(5):
                assert o.chat.completions.create(model=NAME, messages=m).choices[0].message.content == GREETING
            first.process.wait(5)
