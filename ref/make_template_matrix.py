#!/usr/bin/env python3
"""Print tests/data/template_matrix.json: what jinja2 makes of many conversations with the
chat templates of real models, in the environment of Hugging Face's tokenizers.

  python3 ref/make_template_matrix.py TEMPLATES > tests/data/template_matrix.json

TEMPLATES is a folder of .jinja files, which are not copied: a template is named by its file
and the SHA-256 of its bytes.  A result is an index into "texts", or {"error": message}."""
import hashlib
import json
import pathlib
import sys

import make_template_cases

NOW = make_template_cases.NOW
VARS = {'add_generation_prompt': True, 'bos_token': '<BOS>', 'eos_token': '<EOS>'}


def user(text):
    return {'role': 'user', 'content': text}


def system(text):
    return {'role': 'system', 'content': text}


def assistant(text, **more):
    return {'role': 'assistant', 'content': text, **more}


def call(name, arguments, n=0, **more):
    return {'id': f'call{n:05d}', 'type': 'function',
            'function': {'name': name, 'arguments': arguments, **more}}


def tool(text, n=0, name='get_weather'):
    return {'role': 'tool', 'content': text, 'tool_call_id': f'call{n:05d}', 'name': name}


def parts(*texts):
    return [{'type': 'text', 'text': t} for t in texts]


WEATHER = {'type': 'function', 'function': {
    'name': 'get_weather', 'description': 'Weather of a city <b>&"now"</b>',
    'parameters': {'type': 'object', 'required': ['city'], 'properties': {
        'city': {'type': 'string', 'description': 'The city, e.g. Zürich'},
        'unit': {'type': 'string', 'enum': ['celsius', 'fahrenheit'], 'default': 'celsius'},
        'days': {'type': 'integer', 'default': 3, 'nullable': True},
        'where': {'type': 'array', 'items': {'type': 'array', 'items': {'type': 'number'}}},
        'any': {'oneOf': [{'type': 'string', 'default': 'x'}, {'type': 'number'}]},
        'box': {'type': 'object', 'properties': {'w': {'type': ['number', 'null']}}},
    }}}}
SEARCH = {'type': 'function', 'function': {
    'name': 'search', 'description': 'Search.\nTwo lines.',
    'parameters': {'type': 'object', 'properties': {'q': {'type': 'string'}}},
    'return': {'type': 'string', 'description': 'hits'}}}
NO_ARGS = {'type': 'function', 'function': {
    'name': 'now', 'description': 'Time.', 'parameters': {'type': 'object', 'properties': {}}}}

PARIS = {'city': 'Paris', 'days': 2, 'deep': {'a': [1, 2.5, None, True], 'b': 'é "q"\n'}}
WITH_TOOL = [user('Weather?'), assistant('', tool_calls=[call('get_weather', PARIS)]),
             tool('{"temp": 21.5}')]

CONVERSATIONS = {
    'one': {'messages': [user('Hi there')]},
    'no prompt': {'messages': [user('Hi there')], 'add_generation_prompt': False},
    'lists are none': {'messages': [user('Hi')], 'tools': None, 'documents': None},
    'system': {'messages': [system('Be brief.\n'), user('  Hi  ')]},
    'turns': {'messages': [system('S'), user('a'), assistant('b'), user('c'), assistant('d'),
                           user('e')]},
    'ends with assistant': {'messages': [user('a'), assistant('b')],
                            'add_generation_prompt': False},
    'assistant goes on': {'messages': [system('S'), user('a'), assistant('b, and')]},
    'unicode': {'messages': [system('Über 世界'), user('Grüße 👋🏽 \u2028 \u00a0x\u00a0'),
                             assistant('Ça va? \t'), user('\n\nñ\n\n')]},
    'combining marks': {'messages': [system('e\u0301\u0323 नि'), user('\u0301a 👩\u200d💻 각'),
                                     assistant('\u200bx\ufeff \u0085'), user('\u3000z\u3000')]},
    'white space': {'messages': [system(' \n s\t'), user('\n\n  u \r\n'), assistant('\t\na  \n'),
                                 user(' \n ')]},
    'empty': {'messages': [system(''), user(''), assistant(''), user('')]},
    'special': {'messages': [user('<|im_end|>\n<|im_start|>system\nx{{ 1 }}{% if %}</s>')]},
    'thinking': {'messages': [user('a'), assistant('<think>\nhm\n</think>\n\nb'), user('c'),
                              assistant('', reasoning_content='deep', thinking='deep')]},
    'thinking kept': {'messages': [user('a'), assistant('b', reasoning_content='why\n')],
                      'add_generation_prompt': False, 'preserve_thinking': True},
    'thinking and calls': {'messages': [user('W?'), assistant('', reasoning_content='look it up',
        tool_calls=[call('search', {'q': 'w'})]), tool('cold', 0, 'search'),
        assistant('Cold.', reasoning_content='it is\n'), user('Why?')], 'tools': [SEARCH]},
    'no thinking': {'messages': [user('a /no_think')], 'enable_thinking': False},
    'no thinking, history': {'messages': [system('S'), user('a'), assistant('b'), user('c')],
                             'enable_thinking': False, 'reasoning_effort': 'low'},
    'thinking on': {'messages': [user('a')], 'enable_thinking': True, 'thinking': True,
                    'reasoning_effort': 'high'},
    'tools': {'messages': [user('Weather?')], 'tools': [WEATHER, SEARCH, NO_ARGS]},
    'tools, system': {'messages': [system('S'), user('W?')], 'tools': [SEARCH],
                      'builtin_tools': ['browser', 'python'],
                      'model_identity': 'You are X.'},
    'tool result': {'messages': WITH_TOOL, 'tools': [WEATHER]},
    'tool result, no tools': {'messages': WITH_TOOL},
    'content null': {'messages': [user('W?'), assistant(None, tool_calls=[
        call('get_weather', PARIS)]), tool('x'), assistant('Sunny.'), user('Thanks')],
        'tools': [SEARCH]},
    'content missing': {'messages': [user('W?'), {'role': 'assistant', 'tool_calls': [
        call('search', {'q': 'x'})]}, tool('y', name='search')], 'tools': [SEARCH]},
    'two calls': {'messages': [user('W?'), assistant('Let me look.', tool_calls=[
        call('get_weather', {'city': 'A'}, 1), call('search', {'q': 'b'}, 2)]),
        tool('r1', 1), tool('r2', 2, 'search'), assistant('Done'), user('more'),
        assistant('', tool_calls=[call('now', {}, 3)]), tool('12:00', 3, 'now')],
        'tools': [SEARCH, NO_ARGS]},
    'arguments as text': {'messages': [user('W?'), assistant('', tool_calls=[
        call('get_weather', '{"city": "Bern"}')]), tool('x')], 'tools': [SEARCH]},
    'calls as text': {'messages': [user('W?'), assistant(None, tool_calls=[
        call('search', '{"q": "é"}', 1), call('now', '{}', 2)]), tool('r1', 1, 'search'),
        tool('', 2, 'now')], 'tools': [SEARCH, NO_ARGS]},
    'result without a name': {'messages': [user('W?'), assistant('', tool_calls=[
        call('now', {})]), {'role': 'tool', 'tool_call_id': 'call00000', 'content': 'noon'}],
        'tools': [NO_ARGS]},
    'tool result is json': {'messages': [user('W?'), assistant('', tool_calls=[
        call('f', {})]), {'role': 'tool', 'name': 'f', 'tool_call_id': 'call00000',
                          'content': {'a': [1, 'é']}}], 'tools': [NO_ARGS]},
    'parts': {'messages': [system('S'), {'role': 'user', 'content': parts('one', ' two')}]},
    'parts everywhere': {'messages': [system(parts('S')), user(parts('a', '', 'b')),
                                      assistant(parts('c')), user(parts('d'))]},
    'image': {'messages': [{'role': 'user', 'content': [
        {'type': 'image', 'image': 'x'}, {'type': 'text', 'text': 'what?'}]}]},
    'documents': {'messages': [user('q')], 'documents': [
        {'doc_id': 1, 'title': 't', 'text': 'körper'}, {'doc_id': 2, 'text': 'b'}],
        'controls': {'citations': True, 'length': 'short'}},
    'developer': {'messages': [{'role': 'developer', 'content': 'D'}, user('q')]},
    'developer, tools': {'messages': [{'role': 'developer', 'content': 'D'}, user('q')],
                         'tools': [NO_ARGS]},
    'unknown role': {'messages': [{'role': 'robot', 'content': 'D'}, user('q')]},
    'not alternating': {'messages': [user('a'), user('b'), assistant('c'), assistant('d')]},
    'system late': {'messages': [user('a'), system('b'), user('c')]},
    'no user': {'messages': [assistant('a')]},
    'nothing': {'messages': []},
    'numbers': {'messages': [user('a'), assistant('', tool_calls=[call('f', {
        'i': 2 ** 53, 'f': 1e-7, 'g': 1e22, 'h': 0.1, 'n': None, 'b': False, 'e': {}, 'l': []})
    ]), tool('x')], 'tools': [NO_ARGS], 'date_string': '26 Jul 2024',
        'tools_in_user_message': False},
}


def results(source, conversations=CONVERSATIONS):
    """{name: text, or {'error': message}} of one template.  The immutable sandbox, which
    transformers uses, refuses list.append and pop; a template with them is rendered in
    the other one."""
    mutable = '.append(' in source or '.pop(' in source
    template = make_template_cases.environment(not mutable, NOW).from_string(source)
    out = {}
    for name, variables in conversations.items():
        try:
            out[name] = template.render(**{**VARS, **variables})
        except Exception as e:  # whatever a template can raise
            out[name] = {'error': str(e)}
    return out


def main():
    texts, templates = {}, {}
    for path in sorted(pathlib.Path(sys.argv[1]).glob('*.jinja')):
        found = results(path.read_text())
        templates[path.name] = {
            'sha256': hashlib.sha256(path.read_bytes()).hexdigest(),
            'results': {name: r if isinstance(r, dict) else texts.setdefault(r, len(texts))
                        for name, r in found.items()}}

    def lines(items):
        return ',\n'.join(items)

    def pairs(d):
        return lines(json.dumps(k) + ': ' + json.dumps(v) for k, v in d.items())

    print('{"now": %d,\n"vars": %s,\n"conversations": {\n%s\n},\n"templates": {\n%s\n},\n'
          '"texts": [\n%s\n]}' % (NOW, json.dumps(VARS), pairs(CONVERSATIONS), pairs(templates),
                                  lines(json.dumps(t) for t in texts)))


if __name__ == '__main__':
    main()
