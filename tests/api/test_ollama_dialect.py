"""The Ollama API as its official Python client speaks it: the client's own requests go
through our parser, scripted events through our writer, and the client reads what comes out."""
import json
import os
import pathlib
import subprocess

import pytest

ollama = pytest.importorskip('ollama')
httpx = pytest.importorskip('httpx')  # what this client is built on

TRANSCRIPT = pathlib.Path(os.environ.get('TURBINE', 'build/turbine')).parent / 'tests/api/dialect_transcript'
USAGE = {'n_prompt': 25, 'n_cached': 5, 'n_decoded': 15, 'prefill_us': 2000, 'decode_us': 3000, 'total_us': 6000, 'load_us': 1}
END = {'kind': 'end', 'finish': 'stop', 'usage': USAGE}
OPERATIONS = {'/api/chat': 'ollama_chat', '/api/generate': 'ollama_generate', '/api/embed': 'ollama_embed',
              '/api/embeddings': 'ollama_embeddings'}
ANSWER = [
    {'kind': 'ping'},
    {'kind': 'reasoning', 'text': 'I should '},
    {'kind': 'reasoning', 'text': 'look.'},
    {'kind': 'text', 'text': 'One '},
    {'kind': 'text', 'text': 'moment, "é"\n'},
    {'kind': 'tool_begin', 'id': 'call_a', 'name': 'weather'},
    {'kind': 'tool_args', 'text': '{"city":\n "Par'},
    {'kind': 'ping'},
    {'kind': 'tool_args', 'text': 'is", "days": [1, 2.5]}'},
    {'kind': 'tool_end'},
    {'kind': 'tool_begin', 'id': 'call_b', 'name': 'weather'},
    {'kind': 'tool_end'},
    {'kind': 'end', 'finish': 'tool_calls', 'usage': USAGE},
]


def client(events=None, vectors=None, seen=None):
    """A client whose server is the parser and the writer."""

    def answer(request):
        body = json.loads(request.content)
        if seen is not None:
            seen.append(body)
        script = {'operation': OPERATIONS[request.url.path], 'request': body, 'events': events, 'vectors': vectors}
        p = subprocess.run([TRANSCRIPT], input=json.dumps(script).encode(), capture_output=True, timeout=60)
        assert p.returncode in (0, 3), p.stderr
        return httpx.Response(400 if p.returncode else 200, content=p.stdout)

    return ollama.Client('http://127.0.0.1:1', transport=httpx.MockTransport(answer))


def weather(city: str) -> str:
    """Weather of a city.

    Args:
      city: its name
    """
    return city


def check_end(r, reason='stop'):
    assert r.done is True and r.done_reason == reason
    assert (r.prompt_eval_count, r.eval_count) == (25, 15)
    assert (r.total_duration, r.load_duration, r.prompt_eval_duration, r.eval_duration) == (6000000, 1000, 2000000, 3000000)
    assert r.model == 'tiny' and r.created_at.startswith('2023-11-14T22:13:20')


def check_calls(calls):
    assert [(c.function.name, c.function.arguments) for c in calls] == [
        ('weather', {'city': 'Paris', 'days': [1, 2.5]}), ('weather', {})]


def test_chat():
    r = client(ANSWER).chat('tiny', [{'role': 'user', 'content': 'hi'}], tools=[weather], think=True)
    check_end(r)
    assert r.message.role == 'assistant'
    assert (r.message.content, r.message.thinking) == ('One moment, "é"\n', 'I should look.')
    check_calls(r.message.tool_calls)


def test_chat_stream():
    parts = list(client(ANSWER).chat('tiny', [{'role': 'user', 'content': 'hi'}], tools=[weather], stream=True))
    assert ''.join(p.message.content for p in parts) == 'One moment, "é"\n'
    assert ''.join(p.message.thinking or '' for p in parts) == 'I should look.'
    assert [p.done for p in parts] == [False] * (len(parts) - 1) + [True]
    check_calls([c for p in parts for c in p.message.tool_calls or []])
    check_end(parts[-1])


def test_answer_goes_back():
    """What the client read is a request that is understood, its results behind it."""
    first = client(ANSWER).chat('tiny', [{'role': 'user', 'content': 'hi'}], tools=[weather])
    seen = []
    second = client([{'kind': 'text', 'text': 'Sunny.'}, END], seen=seen).chat('tiny', [
        {'role': 'user', 'content': 'hi'}, first.message, {'role': 'tool', 'content': 'sunny', 'tool_name': 'weather'},
        {'role': 'tool', 'content': 'rain', 'tool_name': 'weather'}], tools=[weather])
    assert second.message.content == 'Sunny.'
    assert len(seen[0]['messages'][1]['tool_calls']) == 2


def test_generate():
    events = [{'kind': 'reasoning', 'text': 'hm'}, {'kind': 'text', 'text': 'a'}, {'kind': 'text', 'text': 'b'},
              {'kind': 'end', 'finish': 'length', 'usage': USAGE}]
    r = client(events).generate('tiny', 'why?', system='be brief', options={'num_ctx': 4096, 'stop': ['x'], 'seed': 1}, keep_alive='5m')
    check_end(r, 'length')
    assert (r.response, r.thinking) == ('ab', 'hm')
    parts = list(client(events).generate('tiny', 'why?', stream=True, format={'type': 'object'}, keep_alive=-1))
    assert [p.response for p in parts] == ['', 'a', 'b', '']
    check_end(parts[-1], 'length')
    check_end(client([{'kind': 'text', 'text': 'c'}, END]).generate('tiny', 'a', suffix='b', raw=False))


def test_load_and_unload():
    r = client([{'kind': 'end', 'finish': 'stop'}]).generate('tiny')
    assert (r.response, r.done, r.done_reason, r.total_duration) == ('', True, 'load', None)
    r = client([{'kind': 'end', 'finish': 'stop'}]).chat('tiny', keep_alive=0)
    assert (r.message.content, r.done, r.done_reason) == ('', True, 'unload')


def test_logprobs():
    def token(text, p):
        return {'id': 1, 'logprob': p, 'bytes': list(text.encode())}

    events = [{'kind': 'logprob', 'token': token('é', -0.5), 'top': [token('é', -0.5), token('b', -2.25)]},
              {'kind': 'text', 'text': 'é'}, END]
    r = client(events).chat('tiny', [{'role': 'user', 'content': 'hi'}], logprobs=True, top_logprobs=2)
    parts = list(client(events).chat('tiny', [{'role': 'user', 'content': 'hi'}], logprobs=True, top_logprobs=2, stream=True))
    for p in (r.logprobs, parts[0].logprobs):
        assert [(t.token, t.logprob) for t in p] == [('é', -0.5)]
        assert [(t.token, t.logprob) for t in p[0].top_logprobs] == [('é', -0.5), ('b', -2.25)]


def test_embeddings():
    vectors = [[0.6, -0.8], [1.0, 0.0]]
    r = client(vectors=vectors).embed('tiny', ['a', 'b'], truncate=True)
    assert [[pytest.approx(x, abs=1e-7) for x in v] for v in vectors] == r.embeddings
    assert r.prompt_eval_count == 7
    assert client(vectors=[]).embed('tiny', '').embeddings == []
    assert client(vectors=vectors[1:]).embeddings('tiny', 'a').embedding == [1.0, 0.0]


def test_errors():
    with pytest.raises(ollama.ResponseError, match='option "num_ctx" must be of type integer') as e:
        client([]).chat('tiny', [], options={'num_ctx': 'many'})
    assert e.value.status_code == 400
    broken = [{'kind': 'text', 'text': 'a'}, {'kind': 'error', 'error': 'INTERNAL', 'message': 'a value is not finite'}]
    with pytest.raises(ollama.ResponseError, match='not finite'):
        list(client(broken).chat('tiny', [{'role': 'user', 'content': 'hi'}], stream=True))
