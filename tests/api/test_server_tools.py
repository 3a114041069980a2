"""Tools, reasoning, formats and gaps through the whole server, over a template that writes
calls as Hermes does."""
import json

import pytest

from server_helper import SCRIPTED, Server, sse

pytestmark = pytest.mark.skipif(not SCRIPTED.exists(), reason=f'{SCRIPTED} is not built')

NAME = 'tools'
TEMPLATE = '''{%- if tools %}<|im_start|>system
These tools can be called:
<tools>{% for t in tools %}
{{ t | tojson }}{% endfor %}
</tools>
A call is <tool_call>{"name": NAME, "arguments": OBJECT}</tool_call><|im_end|>
{% endif %}{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}{% if m.tool_calls %}{% for c in m.tool_calls %}
<tool_call>
{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor %}{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and enable_thinking is false %}<think>

</think>

{% endif %}{% endif %}'''
PARIS = '<tool_call>\n{"name": "weather",  "arguments": {"city": "Paris"}}\n</tool_call>'
RULES = [{'text': 'Hello'},
         {'match': 'in Paris?', 'text': 'I look.\n' + PARIS},
         {'match': 'Paris and Rome?', 'text': PARIS + '\n' + PARIS.replace('Paris', 'Rome')},
         {'match': '22 degrees', 'text': 'It is 22 degrees.'},
         {'match': 'consider', 'text': '<think>\nLet me see.\n</think>\n\nIt is so.'},
         {'match': 'cut', 'text': PARIS[:-30]}]
SCHEMA = {'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}
OPENAI_TOOLS = [{'type': 'function', 'function': {'name': 'weather', 'description': 'Of a city', 'parameters': SCHEMA}}]
ANTHROPIC_TOOLS = [{'name': 'weather', 'description': 'Of a city', 'input_schema': SCHEMA}]


@pytest.fixture(scope='module')
def server():
    with Server(RULES, template=TEMPLATE, name=NAME) as s:
        yield s


def ask(text, **more):
    return {'model': NAME, 'messages': [{'role': 'user', 'content': text}], **more}


def test_openai_round_trip(server):
    body = ask('How is it in Paris?', tools=OPENAI_TOOLS)
    choice = server.post('/v1/chat/completions', body).json()['choices'][0]
    call = choice['message']['tool_calls'][0]
    assert choice['finish_reason'] == 'tool_calls' and choice['message']['content'].strip() == 'I look.'
    assert call['id'].startswith('call_') and len(call['id']) > 24
    assert call['function']['name'] == 'weather' and json.loads(call['function']['arguments']) == {'city': 'Paris'}
    replayed = server.metric('turbine:replayed_messages_total')
    body['messages'] += [choice['message'], {'role': 'tool', 'tool_call_id': call['id'], 'content': '22 degrees'}]
    prompt = server.post('/apply-template', body).json()['prompt']
    assert PARIS in prompt  # with both of its spaces: the bytes that the model wrote
    r = server.post('/v1/chat/completions', body).json()
    assert r['choices'][0]['message']['content'] == 'It is 22 degrees.'
    assert server.metric('turbine:replayed_messages_total') == replayed + 1
    # Another id is another conversation: the template prints the call.
    body['messages'][1]['tool_calls'][0]['id'] = body['messages'][2]['tool_call_id'] = 'call_other'
    assert PARIS not in server.post('/apply-template', body).json()['prompt']


def test_anthropic_round_trip(server):
    body = ask('How is it in Paris?', tools=ANTHROPIC_TOOLS, max_tokens=100)
    r = server.post('/v1/messages', body).json()
    assert r['stop_reason'] == 'tool_use'
    text, use = r['content']
    assert text['text'].strip() == 'I look.'
    assert use['id'].startswith('toolu_') and use['name'] == 'weather' and use['input'] == {'city': 'Paris'}
    body['messages'] += [{'role': 'assistant', 'content': r['content']},
                         {'role': 'user', 'content': [{'type': 'tool_result', 'tool_use_id': use['id'],
                                                       'content': '22 degrees'}]}]
    r = server.post('/v1/messages', body).json()
    assert r['content'][0]['text'] == 'It is 22 degrees.' and r['stop_reason'] == 'end_turn'


def test_ollama_call(server):
    r = server.post('/api/chat', ask('How is it in Paris?', tools=OPENAI_TOOLS, stream=False)).json()
    assert r['message']['tool_calls'][0]['function']['arguments'] == {'city': 'Paris'}


def test_streamed_calls(server):
    body = ask('How is it in Paris and Rome?', tools=OPENAI_TOOLS, stream=True)
    calls = {}
    for _, data in sse(server.post('/v1/chat/completions', body).text):
        if data == '[DONE]':
            break
        for piece in json.loads(data)['choices'][0]['delta'].get('tool_calls') or []:
            call = calls.setdefault(piece['index'], {'arguments': ''})
            call |= {k: piece[k] for k in ('id',) if piece.get(k)}
            call['arguments'] += piece['function'].get('arguments') or ''
    assert [json.loads(calls[i]['arguments']) for i in (0, 1)] == [{'city': 'Paris'}, {'city': 'Rome'}]
    assert calls[0]['id'] != calls[1]['id']


def test_no_calls_when_there_are_no_tools(server):
    for more in ({}, {'tools': OPENAI_TOOLS, 'tool_choice': 'none'}):
        choice = server.post('/v1/chat/completions', ask('How is it in Paris?', **more)).json()['choices'][0]
        assert choice['finish_reason'] == 'stop' and 'tool_calls' not in choice['message']


def test_call_that_is_cut_off(server):
    choice = server.post('/v1/chat/completions', ask('cut', tools=OPENAI_TOOLS)).json()['choices'][0]
    for call in choice['message'].get('tool_calls') or []:
        json.loads(call['function']['arguments'])


def test_reasoning(server):
    r = server.post('/v1/chat/completions', ask('consider')).json()
    message = r['choices'][0]['message']
    assert message['reasoning_content'].strip() == 'Let me see.' and message['content'] == 'It is so.'
    assert 3 <= r['usage']['completion_tokens_details']['reasoning_tokens'] < r['usage']['completion_tokens']
    r = server.post('/api/chat', ask('consider', stream=False, think=True)).json()['message']
    assert r['thinking'].strip() == 'Let me see.' and r['content'] == 'It is so.'
    assert 'thinking' in server.get('/api/tags').json()['models'][0]['capabilities']


def test_thinking_of_a_model_that_does_not():
    with Server(RULES) as s:
        r = s.post('/api/chat', {'model': 'tiny', 'messages': [{'role': 'user', 'content': 'x'}], 'think': True})
        assert r.status == 400 and 'does not support thinking' in r.json()['error']


@pytest.mark.parametrize('schema', [
    {'type': 'string', 'pattern': '^+[a-z]$'}, {'type': 'string', 'pattern': '(' * 10000}, {'type': 'nonsense'},
    {'$ref': '#/$defs/none'}, {'type': 'array', 'items': {'type': 'string'}, 'uniqueItems': True}])
def test_schema_that_cannot_be(server, schema):
    """Refused: never an answer without the constraint."""
    body = ask('x', response_format={'type': 'json_schema', 'json_schema': {'name': 's', 'schema': schema}})
    r = server.post('/v1/chat/completions', body)
    assert r.status == 400 and r.json()['error']['message']
    assert server.post('/v1/chat/completions', ask('x')).status == 200


def test_grammar_that_cannot_be(server):
    for grammar in ('root ::= missing', 'root ::= ' + '(' * 60000, 'x'):
        assert server.post('/v1/chat/completions', ask('x', grammar=grammar)).status == 400
    assert server.post('/v1/chat/completions', ask('x', grammar='root ::= "Hello"')).status == 200


def test_format_with_tools(server):
    """A schema and tools: both are possible.  A grammar of the client's own leaves no place for calls."""
    for path, body in (('/v1/chat/completions', {'response_format': {'type': 'json_object'}, 'tools': OPENAI_TOOLS}),
                       ('/v1/messages', {'output_config': {'format': {'type': 'json_schema', 'schema': SCHEMA}},
                                         'tools': ANTHROPIC_TOOLS, 'max_tokens': 20}),
                       ('/api/chat', {'format': SCHEMA, 'tools': OPENAI_TOOLS, 'stream': False})):
        assert server.post(path, ask('How is it in Paris?', **body)).status == 200, path
    r = server.post('/v1/chat/completions', ask('x', tools=OPENAI_TOOLS, grammar='root ::= "Hello"'))
    assert r.status == 400 and 'together with tools' in r.json()['error']['message']


def test_infill():
    names = {'<issue_start>': '<|fim_prefix|>', '<issue_comment>': '<|fim_suffix|>',
             '<issue_closed>': '<|fim_middle|>'}
    rules = [{'text': 'no'}, {'match': '<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>', 'text': 'a, b'},
             {'match': '<file_sep>x.py\nX = 1\n<file_sep><|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>m', 'text': 'files'}]
    with Server(rules, name='infill', tokens=names) as s:
        assert s.post('/infill', {'input_prefix': 'def f(', 'input_suffix': '): pass'}).json()['content'] == 'a, b'
        r = s.post('/infill', {'input_prefix': 'p', 'input_suffix': 's', 'prompt': 'm',
                               'input_extra': [{'filename': 'x.py', 'text': 'X = 1'}]})
        assert r.json()['content'] == 'files'
        assert s.post('/api/generate', {'model': 'infill', 'prompt': 'def f(', 'suffix': '): pass', 'stream': False}
                      ).json()['response'] == 'a, b'
        assert 'insert' in s.post('/api/show', {'model': 'infill'}).json()['capabilities']
        # A client's text is not a control token.
        assert s.post('/infill', {'input_prefix': '<|fim_prefix|>def f(<|fim_suffix|>): pass<|fim_middle|>',
                                  'input_suffix': ''}).status == 200
