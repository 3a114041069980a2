"""OpenAI's dialect against OpenAI's own client: requests are those that the client sends,
answers are read by its types and put together by its helpers."""
import base64
import json
import os
import pathlib
import struct
import subprocess

import pytest

openai = pytest.importorskip('openai')
import httpx2 as httpx  # noqa: E402  comes with openai
from openai.types.responses import ResponseStreamEvent  # noqa: E402
from pydantic import BaseModel, TypeAdapter  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve().parent
PROGRAM = BUILD / 'tests/api/dialect_transcript'
OPERATIONS = {'/v1/chat/completions': 'openai_chat', '/v1/completions': 'openai_completions',
              '/v1/responses': 'openai_responses', '/v1/embeddings': 'openai_embeddings'}
USAGE = {'n_prompt': 10, 'n_cached': 4, 'n_decoded': 5, 'n_reasoning': 2, 'prefill_us': 6000, 'decode_us': 50000}
# llama.cpp's timings, reasoning under both of its names; OpenAI's reference has `store` and
# `bytes`, its types do not.
ADDED = {'timings', 'reasoning', 'reasoning_content', 'store', 'bytes'}
HI = [{'role': 'user', 'content': 'hi'}]
TOOL = {'name': 'weather', 'description': 'of a city',
        'parameters': {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city'],
                       'additionalProperties': False}, 'strict': True}
TEXT = [{'kind': 'ping'}, {'kind': 'text', 'text': 'Grüße'}, {'kind': 'text', 'text': ' "all"\n'},
        {'kind': 'end', 'finish': 'stop', 'usage': USAGE}]
CALLS = [{'kind': 'reasoning', 'text': 'Let me'}, {'kind': 'reasoning', 'text': ' see.'}, {'kind': 'text', 'text': 'One moment.'},
         {'kind': 'tool_begin', 'id': 'call_a', 'name': 'weather'}, {'kind': 'tool_args', 'text': '{"ci'},
         {'kind': 'tool_args', 'text': 'ty":"Paris"}'}, {'kind': 'tool_end'},
         {'kind': 'tool_begin', 'id': 'call_b', 'name': 'weather'}, {'kind': 'tool_args', 'text': '{"city":"Rome"}'},
         {'kind': 'tool_end'}, {'kind': 'end', 'finish': 'tool_calls', 'usage': USAGE}]


def transcript(operation, request, **more):
    """(exit status, body) of a request and what answers it."""
    script = {'operation': operation, 'request': request, **more}
    r = subprocess.run([PROGRAM], input=json.dumps(script).encode(), capture_output=True, timeout=60)
    assert r.returncode in (0, 3), r.stderr
    return r.returncode, r.stdout


def client(**answer):
    """OpenAI's client; each request is answered by the dialect and these events."""
    def handle(request):
        status, body = transcript(OPERATIONS[request.url.path], json.loads(request.content), **answer)
        if status == 3:
            return httpx.Response(400, content=body, headers={'content-type': 'application/json'})
        stream = json.loads(request.content).get('stream')
        return httpx.Response(200, content=body, headers={
            'content-type': 'text/event-stream' if stream else 'application/json'})
    http = httpx.Client(transport=httpx.MockTransport(handle))
    return openai.OpenAI(api_key='none', base_url='http://test/v1', http_client=http, max_retries=0)


def extras(value):
    """Names of the members of a model, at any depth, that the API does not have."""
    if isinstance(value, list):
        return set().union(*map(extras, value))
    if not isinstance(value, BaseModel):
        return set()
    fields = [getattr(value, name) for name in type(value).model_fields]
    return set(value.model_extra or {}).union(*map(extras, fields))


def strict(model):
    """The model, read again from its own JSON with every type checked: the client builds
    models without checking them.  What the API does not have is what we meant to add."""
    again = type(model).model_validate(model.model_dump(mode='json', by_alias=True))
    assert extras(again) <= ADDED
    return model


def events_of(body):
    return [json.loads(line[6:]) for line in body.decode().split('\n')
            if line.startswith('data: ') and line != 'data: [DONE]']


def test_chat():
    r = strict(client(events=TEXT).chat.completions.create(model='m', messages=HI))
    assert r.object == 'chat.completion' and r.id == 'chatcmpl-abc'
    assert r.choices[0].message.content == 'Grüße "all"\n' and r.choices[0].finish_reason == 'stop'
    assert (r.usage.prompt_tokens, r.usage.completion_tokens, r.usage.total_tokens) == (10, 5, 15)
    assert r.usage.prompt_tokens_details.cached_tokens == 4
    assert r.usage.completion_tokens_details.reasoning_tokens == 2


def test_chat_tools():
    r = strict(client(events=CALLS).chat.completions.create(
        model='m', messages=HI, tools=[{'type': 'function', 'function': TOOL}]))
    message = r.choices[0].message
    assert message.reasoning_content == message.reasoning == 'Let me see.'
    assert [(c.id, c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls] == [
        ('call_a', 'weather', {'city': 'Paris'}), ('call_b', 'weather', {'city': 'Rome'})]
    assert r.choices[0].finish_reason == 'tool_calls'


def test_chat_stream():
    chunks = list(client(events=CALLS).chat.completions.create(
        model='m', messages=HI, stream=True, stream_options={'include_usage': True}))
    for chunk in chunks:
        strict(chunk)
    assert chunks[0].choices[0].delta.role == 'assistant'
    assert [len(c.choices) for c in chunks] == [1] * (len(chunks) - 1) + [0]
    assert chunks[-1].usage.total_tokens == 15 and chunks[-2].choices[0].finish_reason == 'tool_calls'


def test_chat_accumulated():
    """The client's own helper puts the pieces together and parses them."""
    with client(events=CALLS).chat.completions.stream(
            model='m', messages=HI, tools=[{'type': 'function', 'function': TOOL}],
            stream_options={'include_usage': True}) as stream:
        kinds = {e.type for e in stream}
        final = stream.get_final_completion()
    assert {'chunk', 'content.delta', 'content.done', 'tool_calls.function.arguments.delta',
            'tool_calls.function.arguments.done'} <= kinds
    message = final.choices[0].message
    assert message.content == 'One moment.' and message.role == 'assistant'
    assert [c.function.parsed_arguments for c in message.tool_calls] == [{'city': 'Paris'}, {'city': 'Rome'}]


class Answer(BaseModel):
    n: int


def test_chat_parsed():
    """A schema made by the client reaches the request; the answer becomes its object."""
    answer = [{'kind': 'text', 'text': '{"n": 3}'}, {'kind': 'end', 'finish': 'stop', 'usage': USAGE}]
    r = client(events=answer).chat.completions.parse(model='m', messages=HI, response_format=Answer)
    assert r.choices[0].message.parsed == Answer(n=3)


def test_chat_logprobs():
    token = {'id': 5, 'logprob': -0.25, 'bytes': list('ß'.encode())}
    half = {'id': 6, 'logprob': -3.5, 'bytes': [0xc3]}
    answer = [{'kind': 'logprob', 'token': token, 'top': [token, half]}, {'kind': 'text', 'text': 'ß'},
              {'kind': 'logprob', 'token': half}, {'kind': 'end', 'finish': 'length', 'usage': USAGE}]
    r = strict(client(events=answer).chat.completions.create(model='m', messages=HI, logprobs=True, top_logprobs=2))
    first, second = r.choices[0].logprobs.content
    assert (first.token, first.logprob, first.bytes) == ('ß', -.25, [0xc3, 0x9f])
    assert [(t.token, t.bytes) for t in first.top_logprobs] == [('ß', [0xc3, 0x9f]), ('�', [0xc3])]
    assert second.logprob == -3.5 and r.choices[0].finish_reason == 'length'
    chunks = list(client(events=answer).chat.completions.create(
        model='m', messages=HI, logprobs=True, top_logprobs=2, stream=True))
    got = [t for c in chunks for t in (strict(c).choices[0].logprobs.content if c.choices[0].logprobs else [])]
    assert [t.bytes for t in got] == [[0xc3, 0x9f], [0xc3]]
    r = strict(client(events=answer).completions.create(model='m', prompt='x', logprobs=2))
    assert r.choices[0].logprobs.tokens == ['ß', 'bytes:\\xc3'] and r.choices[0].logprobs.text_offset == [0, 1]


def test_completions():
    assert strict(client(events=TEXT).completions.create(model='m', prompt='x')).choices[0].text == 'Grüße "all"\n'
    chunks = list(client(events=TEXT).completions.create(model='m', prompt=[1, 2], stream=True))
    assert ''.join(c.choices[0].text for c in chunks) == 'Grüße "all"\n'
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, 'stop']
    for c in chunks:  # the client's type does not know of pieces, whose reason is null
        c.choices[0].finish_reason = 'stop'
        strict(c)


def test_responses():
    r = strict(client(events=CALLS).responses.create(
        model='m', input='hi', instructions='Be kind', tools=[{'type': 'function', **TOOL}], metadata={'a': 'b'},
        reasoning={'effort': 'low'}, temperature=.5, max_output_tokens=99, tool_choice='auto'))
    reasoning, message, first, second = r.output
    assert reasoning.content[0].text == 'Let me see.' and message.content[0].text == 'One moment.'
    assert (first.call_id, first.name, json.loads(first.arguments)) == ('call_a', 'weather', {'city': 'Paris'})
    assert second.call_id == 'call_b' and len({i.id for i in r.output}) == 4
    assert r.status == 'completed' and r.usage.output_tokens_details.reasoning_tokens == 2
    assert (r.temperature, r.max_output_tokens, r.instructions, r.metadata) == (.5, 99, 'Be kind', {'a': 'b'})
    assert r.store is False and r.reasoning.effort == 'low' and r.tools[0].name == 'weather'


def test_responses_stream():
    with client(events=CALLS).responses.stream(model='m', input='hi') as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [e.sequence_number for e in events] == list(range(len(events)))
    kinds = [e.type for e in events]
    assert kinds[:2] == ['response.created', 'response.in_progress'] and kinds[-1] == 'response.completed'
    assert final.output_text == 'One moment.'
    assert [o.type for o in final.output] == ['reasoning', 'message', 'function_call', 'function_call']
    done = [e.item for e in events if e.type == 'response.output_item.done']
    assert [o.id for o in done] == [o.id for o in final.output]


@pytest.mark.parametrize('finish', ['stop', 'length'])
def test_responses_events(finish):
    token = {'id': 5, 'logprob': -0.25, 'bytes': [97]}
    answer = [{'kind': 'reasoning', 'text': 'hm'}, {'kind': 'logprob', 'token': token, 'top': [token]},
              {'kind': 'text', 'text': 'a'}, {'kind': 'end', 'finish': finish, 'usage': USAGE}]
    status, body = transcript('openai_responses', {
        'input': 'hi', 'stream': True, 'include': ['message.output_text.logprobs'], 'top_logprobs': 1}, events=answer)
    assert status == 0
    adapter = TypeAdapter(ResponseStreamEvent)
    events = [adapter.validate_python(e) for e in events_of(body)]
    assert extras(events) <= ADDED
    last = events[-1].response
    if finish == 'length':
        assert events[-1].type == 'response.incomplete' and last.incomplete_details.reason == 'max_output_tokens'
    assert last.output[1].content[0].logprobs[0].bytes == [97]
    assert all(('event: ' + e.type).encode() in body for e in events)


def test_responses_failed():
    answer = [{'kind': 'text', 'text': 'a'}, {'kind': 'error', 'error': 'INTERNAL', 'message': 'broken'}]
    _, body = transcript('openai_responses', {'input': 'hi', 'stream': True}, events=answer)
    last = TypeAdapter(ResponseStreamEvent).validate_python(events_of(body)[-1])
    assert last.type == 'response.failed' and last.response.error.message == 'broken'
    assert last.response.output[0].status == 'incomplete'


def test_conversation_goes_round():
    """What a response had in it, sent back as the client's types, is a valid request."""
    c = client(events=CALLS)
    first = c.responses.create(model='m', input='hi')
    items = [{'role': 'user', 'content': 'hi'}, *[i.model_dump(exclude_none=True) for i in first.output],
             {'type': 'function_call_output', 'call_id': 'call_a', 'output': 'sun'},
             {'type': 'function_call_output', 'call_id': 'call_b', 'output': 'rain'}]
    assert c.responses.create(model='m', input=items).status == 'completed'
    message = c.chat.completions.create(model='m', messages=HI).choices[0].message
    more = [*HI, message, {'role': 'tool', 'tool_call_id': 'call_a', 'content': 'sun'}]
    assert c.chat.completions.create(model='m', messages=more).choices[0].finish_reason == 'tool_calls'


def test_mid_stream_error():
    answer = [{'kind': 'text', 'text': 'a'}, {'kind': 'error', 'error': 'INTERNAL', 'message': 'broken'}]
    with pytest.raises(openai.APIError, match='broken'):
        list(client(events=answer).chat.completions.create(model='m', messages=HI, stream=True))


def test_refused():
    with pytest.raises(openai.BadRequestError) as e:
        client(events=[]).chat.completions.create(model='m', messages=HI, temperature=3)
    assert e.value.param == 'temperature' and e.value.type == 'invalid_request_error'
    with pytest.raises(openai.BadRequestError) as e:
        client(events=[]).responses.create(model='m', input='x', previous_response_id='resp_1')
    assert e.value.param == 'previous_response_id' and 'not stored' in e.value.message


def test_embeddings():
    vectors = [[.1, -.25, 1e-7, 3], [0, 1, 0, 0]]
    c = client(vectors=vectors)
    want = [list(struct.unpack('<4f', struct.pack('<4f', *v))) for v in vectors]
    # The client asks for base64 and decodes it.
    r = strict(c.embeddings.create(model='m', input=['a', 'b']))
    assert [d.embedding for d in r.data] == [pytest.approx(v, rel=1e-7) for v in want]
    assert [d.index for d in r.data] == [0, 1] and r.usage.total_tokens == 7
    r = c.embeddings.create(model='m', input=['a', 'b'], encoding_format='float')
    assert [[struct.unpack('<f', struct.pack('<f', x))[0] for x in d.embedding] for d in r.data] == want
    # Cut to three, of unit length again.
    for encoding in 'float', 'base64':
        _, body = transcript('openai_embeddings', {
            'input': 'a', 'dimensions': 3, 'encoding_format': encoding}, vectors=[[3, 0, 4, 9]])
        v = json.loads(body)['data'][0]['embedding']
        if encoding == 'base64':
            v = struct.unpack('<3f', base64.b64decode(v, validate=True))
        assert list(v) == pytest.approx([.6, 0, .8], rel=1e-6)
    for n in range(1, 7):  # each remainder of the bytes by three
        x = [1.5 * k - 2 for k in range(n)]
        _, body = transcript('openai_embeddings', {'input': 'a', 'encoding_format': 'base64'}, vectors=[x])
        assert json.loads(body)['data'][0]['embedding'] == base64.b64encode(struct.pack(f'<{n}f', *x)).decode()
