"""A model that thinks, by its own template (Qwen3's): reasoning is told apart and counted, and
loops of tools keep their prefix."""
import json

import pytest

from server_helper import ROOT, SCRIPTED, Server, sse

TEMPLATES = ROOT / '../shared/data/templates'
NAME = 'thinks'
CALL = '<tool_call>\n{"name": "weather",  "arguments": {"city": "Paris"}}\n</tool_call>'
RULES = [{'text': '<think>\nLet me see.\n</think>\n\nHello.'},
         {'match': 'in Paris?', 'text': '<think>\nI must look.\n</think>\n\n' + CALL},
         {'match': '22 degrees', 'text': '<think>\nI know.\n</think>\n\nIt is 22 degrees.'},
         {'match': 'no thoughts', 'text': 'At once.'}]
TOOLS = [{'type': 'function', 'function': {'name': 'weather', 'description': 'Of a city', 'parameters': {
    'type': 'object', 'properties': {'city': {'type': 'string'}}, 'required': ['city']}}}]


@pytest.fixture(scope='module', params=['Qwen-Qwen3-0.6B'])
def server(request):
    template = TEMPLATES / f'{request.param}.jinja'
    if not SCRIPTED.exists() or not template.exists():
        pytest.skip(f'{SCRIPTED} is not built, or {template} is not there')
    with Server(RULES, template=template.read_text(), name=NAME) as s:
        yield s


def ask(text, **more):
    return {'model': NAME, 'messages': [{'role': 'user', 'content': text}], **more}


def n_tokens(server, text):
    return len(server.post('/tokenize', {'content': text}).json()['tokens'])


def test_openai(server):
    r = server.post('/v1/chat/completions', ask('hi')).json()
    m = r['choices'][0]['message']
    assert m['content'] == 'Hello.' and m['reasoning_content'] == m['reasoning'] == 'Let me see.'
    n = r['usage']['completion_tokens_details']['reasoning_tokens']
    assert n_tokens(server, 'Let me see.') <= n < r['usage']['completion_tokens']
    chunks = [json.loads(d) for _, d in sse(server.post('/v1/chat/completions', ask('hi', stream=True)).text) if d != '[DONE]']
    deltas = [c['choices'][0]['delta'] for c in chunks if c['choices']]
    assert ''.join(d.get('reasoning_content', '') for d in deltas) == 'Let me see.'
    assert ''.join(d.get('content') or '' for d in deltas) == 'Hello.'


def test_others(server):
    r = server.post('/v1/messages', ask('hi', max_tokens=100, thinking={'type': 'enabled', 'budget_tokens': 1024})).json()
    assert [b['type'] for b in r['content']] == ['thinking', 'text'] and r['content'][0]['thinking'] == 'Let me see.'
    assert r['usage']['output_tokens_details']['thinking_tokens'] > 0
    r = server.post('/api/chat', ask('hi', stream=False, think=True)).json()['message']
    assert r['thinking'] == 'Let me see.' and r['content'] == 'Hello.'
    r = server.post('/v1/responses', {'model': NAME, 'input': 'hi'}).json()
    assert [i['type'] for i in r['output']] == ['reasoning', 'message']
    assert r['usage']['output_tokens_details']['reasoning_tokens'] > 0
    assert 'thinking' in server.post('/api/show', {'model': NAME}).json()['capabilities']


def test_off(server):
    """The prompt closes the thoughts; what follows is the answer."""
    for path, more in (('/v1/chat/completions', {'reasoning_effort': 'none'}),
                       ('/v1/chat/completions', {'chat_template_kwargs': {'enable_thinking': False}}),
                       ('/api/chat', {'think': False, 'stream': False}), ('/v1/messages', {'max_tokens': 99})):
        r = server.post(path, ask('no thoughts', **more)).json()
        assert 'At once.' in json.dumps(r) and 'reasoning_content' not in json.dumps(r), r


def prompt_of(server, messages):
    return server.post('/apply-template', {'model': NAME, 'messages': messages, 'tools': TOOLS}).json()['prompt']


def round_trip(server, client, user):
    """Both requests of a loop as the client sends them: the call's id, "call_0" if it has none, and the last answer."""
    if client == 'anthropic':
        tools = [{'name': 'weather', 'description': 'Of a city', 'input_schema': TOOLS[0]['function']['parameters']}]
        body = {'model': NAME, 'messages': [user], 'tools': tools, 'max_tokens': 500,
                'thinking': {'type': 'enabled', 'budget_tokens': 1024}}
        content = server.post('/v1/messages', body).json()['content']
        assert [b['type'] for b in content] == ['thinking', 'tool_use']
        body['messages'] += [{'role': 'assistant', 'content': content}, {'role': 'user', 'content': [
            {'type': 'tool_result', 'tool_use_id': content[1]['id'], 'content': '22 degrees'}]}]
        return content[1]['id'], server.post('/v1/messages', body).json()['content'][-1]['text']
    body = {'model': NAME, 'messages': [user], 'tools': TOOLS, 'stream': False}
    if client == 'openai':
        m = server.post('/v1/chat/completions', body).json()['choices'][0]['message']
        call = m['tool_calls'][0]['id']
        body['messages'] += [m, {'role': 'tool', 'tool_call_id': call, 'content': '22 degrees'}]
        return call, server.post('/v1/chat/completions', body).json()['choices'][0]['message']['content']
    m = server.post('/api/chat', body).json()['message']
    call = {'function': {k: m['tool_calls'][0]['function'][k] for k in ('name', 'arguments')}}
    body['messages'] += [{'role': 'assistant', 'content': m['content'], 'thinking': m['thinking'], 'tool_calls': [call]},
                         {'role': 'tool', 'tool_name': 'weather', 'content': '22 degrees'}]
    return 'call_0', server.post('/api/chat', body).json()['message']['content']


@pytest.mark.parametrize('client', ['openai', 'ollama', 'anthropic'])
def test_loop_of_tools_keeps_its_prefix(server, client):
    """The next prompt goes on where the answer ended, thoughts included, as the model wrote it (with two spaces)."""
    user = {'role': 'user', 'content': f'I am {client}. How is it in Paris?'}
    before = server.metric('turbine:replayed_messages_total')
    call, answer = round_trip(server, client, user)
    assert answer == 'It is 22 degrees.' and server.metric('turbine:replayed_messages_total') == before + 1
    messages = [user, {'role': 'assistant', 'content': '', 'reasoning_content': 'I must look.', 'tool_calls': [
        {'id': call, 'type': 'function', 'function': {'name': 'weather', 'arguments': '{"city":"Paris"}'}}]},
        {'role': 'tool', 'tool_call_id': call, 'content': '22 degrees'}]
    assert prompt_of(server, messages).startswith(prompt_of(server, [user]) + '<think>\nI must look.\n</think>\n\n' + CALL)
