"""What clients get from a backend of another API (tests/data/route), read by the official
clients' own parsers, without a server."""
import json
import pathlib

import pytest

httpx = pytest.importorskip('httpx')

FOLDER = pathlib.Path(__file__).parents[1] / 'data' / 'route'
TRANSCRIPTS = {p.stem: json.loads(p.read_text()) for p in sorted(FOLDER.glob('*.json'))}
FINISH = {'stop': 'stop', 'stop_string': 'stop', 'length': 'length', 'tool_calls': 'tool_calls'}
STOP_REASON = {'stop': 'end_turn', 'stop_string': 'stop_sequence', 'length': 'max_tokens',
               'tool_calls': 'tool_use'}


def named(client):
    return [name for name, t in TRANSCRIPTS.items() if t['client'] == client]


def transport(t, httpx=httpx):
    body = ''.join(t['answer']).encode()
    kind = {True: 'application/json', False: 'text/event-stream'}[t['document']]
    if t['client'].startswith('ollama') and not t['document']:
        kind = 'application/x-ndjson'
    return httpx.MockTransport(
        lambda request: httpx.Response(200, content=body, headers={'content-type': kind}))


def same_calls(got, t):
    assert [[i, name, json.loads(a) if isinstance(a, str) else dict(a)]
            for i, name, a in got] == t['final']['calls']


@pytest.mark.parametrize('name', named('openai_chat'))
def test_openai(name):
    openai = pytest.importorskip('openai')
    t = TRANSCRIPTS[name]
    client = openai.OpenAI(base_url='http://backend/v1', api_key='none', max_retries=0,
                           http_client=httpx.Client(transport=transport(t)))
    messages = [{'role': 'user', 'content': 'x'}]
    if t['document']:
        done = client.chat.completions.create(model='m', messages=messages)
        message = done.choices[0].message
        reasoning = getattr(message, 'reasoning_content', None) or ''
    else:
        chunks = list(client.chat.completions.create(model='m', messages=messages, stream=True))
        reasoning = ''.join(getattr(c.choices[0].delta, 'reasoning_content', None) or ''
                            for c in chunks if c.choices)
        assert chunks[-1].choices == [] and chunks[-1].usage.prompt_tokens == t['final']['prompt']
        with client.chat.completions.stream(model='m', messages=messages) as stream:
            try:
                done = stream.get_final_completion()
            except openai.LengthFinishReasonError as error:
                done = error.completion
        message = done.choices[0].message
    assert (message.content or '') == t['final']['text']
    assert reasoning == t['final']['reasoning']
    same_calls([(c.id, c.function.name, c.function.arguments)
                for c in message.tool_calls or []], t)
    assert done.choices[0].finish_reason == FINISH[t['final']['finish']]
    assert done.usage.completion_tokens == t['final']['decoded']
    assert done.usage.prompt_tokens_details.cached_tokens == t['final']['cached']


@pytest.mark.parametrize('name', named('anthropic_messages'))
def test_anthropic(name):
    anthropic = pytest.importorskip('anthropic')
    t = TRANSCRIPTS[name]
    # Newer versions of the client have a package of their own for HTTP.
    http = __import__(anthropic.DefaultHttpxClient.__mro__[1].__module__.partition('.')[0])
    client = anthropic.Anthropic(base_url='http://backend', api_key='none', max_retries=0,
                                 http_client=http.Client(transport=transport(t, http)))
    ask = {'model': 'm', 'max_tokens': 10, 'messages': [{'role': 'user', 'content': 'x'}]}
    if t['document']:
        done = client.messages.create(**ask)
    else:
        with client.messages.stream(**ask) as stream:
            done = stream.get_final_message()
    blocks = done.content
    assert ''.join(b.text for b in blocks if b.type == 'text') == t['final']['text']
    assert ''.join(b.thinking for b in blocks if b.type == 'thinking') == t['final']['reasoning']
    same_calls([(b.id, b.name, b.input) for b in blocks if b.type == 'tool_use'], t)
    assert done.stop_reason == STOP_REASON[t['final']['finish']]
    assert done.usage.output_tokens == t['final']['decoded']
    assert done.usage.cache_read_input_tokens == t['final']['cached']
    assert done.usage.input_tokens == t['final']['prompt'] - t['final']['cached']


@pytest.mark.parametrize('name', named('ollama_chat') + named('ollama_generate'))
def test_ollama(name):
    ollama = pytest.importorskip('ollama')
    t = TRANSCRIPTS[name]
    client = ollama.Client(host='http://backend', transport=transport(t))
    chat = t['client'] == 'ollama_chat'
    ask = client.chat if chat else client.generate
    got = ask(model='m', stream=not t['document'])
    parts = [got] if t['document'] else list(got)
    said = [p.message for p in parts] if chat else parts
    assert ''.join((m.content if chat else m.response) or '' for m in said) == t['final']['text']
    assert ''.join(m.thinking or '' for m in said) == t['final']['reasoning']
    if chat:
        calls = [c for m in said for c in m.tool_calls or []]
        assert [[c.function.name, dict(c.function.arguments)] for c in calls] == [
            c[1:] for c in t['final']['calls']]
    assert parts[-1].done and parts[-1].prompt_eval_count == t['final']['prompt']
    assert parts[-1].eval_count == t['final']['decoded']


@pytest.mark.parametrize('name', named('openai_responses'))
def test_responses(name):
    openai = pytest.importorskip('openai')
    t = TRANSCRIPTS[name]
    client = openai.OpenAI(base_url='http://backend/v1', api_key='none', max_retries=0,
                           http_client=httpx.Client(transport=transport(t)))
    with client.responses.stream(model='m', input='x') as stream:
        done = stream.get_final_response()
    assert done.output_text == t['final']['text']
    assert done.status == 'completed'
    assert done.usage.input_tokens == t['final']['prompt']
