"""The Messages API as the official Python SDK speaks it: the SDK's own requests go through
our parser, scripted events through our writer, and the SDK reads what comes out."""
import json
import os
import pathlib
import subprocess

import pytest

anthropic = pytest.importorskip('anthropic')
httpx = pytest.importorskip('httpx2')  # what this SDK is built on

TRANSCRIPT = pathlib.Path(os.environ.get('TURBINE', 'build/turbine')).parent / 'tests/api/dialect_transcript'
USAGE = {'n_prompt': 25, 'n_cached': 5, 'n_decoded': 15, 'n_reasoning': 4}
TOOLS = [{'name': 'weather', 'description': 'of a city',
          'input_schema': {'type': 'object', 'properties': {'city': {'type': 'string'}}}}]
ANSWER = [
    {'kind': 'ping'},
    {'kind': 'reasoning', 'text': 'I should '},
    {'kind': 'reasoning', 'text': 'look it up.'},
    {'kind': 'text', 'text': 'One '},
    {'kind': 'text', 'text': 'moment, "é"\n'},
    {'kind': 'tool_begin', 'id': 'toolu_1', 'name': 'weather'},
    {'kind': 'tool_args', 'text': '{"city": "Par'},
    {'kind': 'ping'},
    {'kind': 'tool_args', 'text': 'is", "days": [1, 2.5]}'},
    {'kind': 'tool_end'},
    {'kind': 'tool_begin', 'id': 'toolu_2', 'name': 'weather'},
    {'kind': 'tool_end'},
    {'kind': 'end', 'finish': 'tool_calls', 'usage': USAGE},
]


def client(events, seen=None):
    """An SDK whose server is the parser and the writer."""

    def answer(request):
        body = json.loads(request.content)
        if seen is not None:
            seen.append(body)
        script = {'operation': 'anthropic_messages', 'request': body, 'events': events}
        p = subprocess.run([TRANSCRIPT], input=json.dumps(script).encode(), capture_output=True, timeout=60)
        assert p.returncode in (0, 3), p.stderr
        kind = 'text/event-stream' if body.get('stream') and p.returncode == 0 else 'application/json'
        return httpx.Response(400 if p.returncode else 200, content=p.stdout, headers={'content-type': kind})

    return anthropic.Anthropic(api_key='x', base_url='http://127.0.0.1:1', max_retries=0,
                               http_client=httpx.Client(transport=httpx.MockTransport(answer)))


def ask(**more):
    return {'model': 'tiny', 'max_tokens': 100, 'messages': [{'role': 'user', 'content': 'hi'}], **more}


def check_answer(message):
    assert message.id == 'msg_abc' and message.model == 'tiny' and message.role == 'assistant'
    thinking, text, call, bare = message.content
    assert (thinking.type, thinking.thinking) == ('thinking', 'I should look it up.')
    assert thinking.signature
    assert (text.type, text.text) == ('text', 'One moment, "é"\n')
    assert (call.type, call.id, call.name) == ('tool_use', 'toolu_1', 'weather')
    assert call.input == {'city': 'Paris', 'days': [1, 2.5]}
    assert (bare.id, bare.input) == ('toolu_2', {})
    assert message.stop_reason == 'tool_use' and message.stop_sequence is None
    assert message.usage.input_tokens == 20
    assert message.usage.cache_read_input_tokens == 5
    assert message.usage.cache_creation_input_tokens == 0
    assert message.usage.output_tokens == 15
    assert message.usage.output_tokens_details.thinking_tokens == 4


def test_message():
    check_answer(client(ANSWER).messages.create(**ask(tools=TOOLS, thinking={'type': 'adaptive'})))


def test_stream():
    with client(ANSWER).messages.stream(**ask(tools=TOOLS, thinking={'type': 'adaptive'})) as stream:
        events = list(stream)
        message = stream.get_final_message()
    check_answer(message)
    assert [e.text for e in events if e.type == 'text'] == ['One ', 'moment, "é"\n']
    kinds = [e.type for e in events]
    assert kinds.count('content_block_start') == kinds.count('content_block_stop') == 4
    assert kinds[0] == 'message_start' and kinds[-1] == 'message_stop'


def test_raw_events_are_of_their_types():
    """Every event is what the SDK's types say, with no member too few."""
    for e in client(ANSWER).messages.create(**ask(stream=True, tools=TOOLS)):
        type(e).model_validate(e.model_dump(warnings='error'))


def test_answer_goes_back():
    """What the SDK read is a request that is understood, its results behind it."""
    first = client(ANSWER).messages.create(**ask(tools=TOOLS))
    results = [{'type': 'tool_result', 'tool_use_id': 'toolu_1', 'content': [{'type': 'text', 'text': 'sunny'}]},
               {'type': 'tool_result', 'tool_use_id': 'toolu_2', 'content': 'no', 'is_error': True},
               {'type': 'text', 'text': 'And?'}]
    end = [{'kind': 'text', 'text': 'Sunny.'}, {'kind': 'end', 'finish': 'stop', 'usage': USAGE}]
    seen = []
    second = client(end, seen).messages.create(**ask(tools=TOOLS, system=[{'type': 'text', 'text': 'Be brief.'}], messages=[
        {'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': first.content},
        {'role': 'user', 'content': results}]))
    assert second.content[0].text == 'Sunny.' and second.stop_reason == 'end_turn'
    assert seen[0]['messages'][1]['content'][0]['type'] == 'thinking'


@pytest.mark.parametrize('finish, reason', [('stop', 'end_turn'), ('length', 'max_tokens'), ('stop_string', 'stop_sequence')])
def test_stop_reasons(finish, reason):
    end = {'kind': 'end', 'finish': finish, 'stop_string': 'END', 'usage': USAGE}
    events = [{'kind': 'text', 'text': 'a'}, end]
    message = client(events).messages.create(**ask(stop_sequences=['END']))
    with client(events).messages.stream(**ask(stop_sequences=['END'])) as stream:
        streamed = stream.get_final_message()
    for m in (message, streamed):
        assert m.stop_reason == reason
        assert m.stop_sequence == ('END' if finish == 'stop_string' else None)


def test_thinking_that_is_not_shown():
    hide = {'type': 'adaptive', 'display': 'omitted'}
    message = client(ANSWER).messages.create(**ask(thinking=hide))
    with client(ANSWER).messages.stream(**ask(thinking=hide)) as stream:
        streamed = stream.get_final_message()
    for m in (message, streamed):
        assert m.content[0].type == 'thinking' and m.content[0].thinking == '' and m.content[0].signature
        assert m.content[1].text == 'One moment, "é"\n'


def test_structured_output():
    format = {'type': 'json_schema', 'schema': {'type': 'object', 'properties': {'n': {'type': 'integer'}}}}
    events = [{'kind': 'text', 'text': '{"n":5}'}, {'kind': 'end', 'finish': 'stop', 'usage': USAGE}]
    message = client(events).messages.create(**ask(output_config={'format': format, 'effort': 'low'}))
    assert json.loads(message.content[0].text) == {'n': 5}


def test_error_before_and_in_a_stream():
    with pytest.raises(anthropic.BadRequestError) as e:
        client([]).messages.create(**ask(stop_sequences=['x'] * 17))
    assert e.value.body['type'] == 'error'
    assert e.value.body['error']['type'] == 'invalid_request_error'
    assert 'stop_sequences' in e.value.body['error']['message']
    assert e.value.body['request_id'] == 'req_1'
    broken = [{'kind': 'text', 'text': 'a'}, {'kind': 'error', 'error': 'INTERNAL', 'message': 'a value is not finite'}]
    with pytest.raises(anthropic.APIStatusError, match='not finite'):
        with client(broken).messages.stream(**ask()) as stream:
            stream.get_final_message()
