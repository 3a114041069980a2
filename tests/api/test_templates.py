"""turbine render: options and errors; and the templates of real models over many
conversations, each text and message the same as jinja2's."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = os.environ.get('TURBINE', str(ROOT / 'build' / 'turbine'))
TEMPLATES = ROOT.parent / 'shared' / 'data' / 'templates'
NOW = 1700000000


def render(template, variables, tmp_path, *options):
    path = tmp_path / 'vars.json'
    path.write_text(json.dumps(variables))
    return subprocess.run([TURBINE, 'render', str(template), '--messages', str(path),
                           '--now', str(NOW), *options], capture_output=True)


def write(tmp_path, source):
    path = tmp_path / 't.jinja'
    path.write_bytes(source.encode())
    return path


def test_prints_the_text_exactly(tmp_path):
    t = write(tmp_path, '{% for m in messages %}{{ m.content }}{% endfor %}{{ x }}')
    r = render(t, {'messages': [{'content': 'ä\n'}, {'content': '\x00'}], 'x': 1}, tmp_path)
    assert (r.returncode, r.stdout, r.stderr) == (0, 'ä\n\x001'.encode(), b'')
    r = render(t, [{'content': 'only messages'}], tmp_path)
    assert r.stdout == b'only messages'


def test_clock(tmp_path):
    t = write(tmp_path, "{{ strftime_now('%d %b %Y %H:%M') }}")
    assert render(t, [], tmp_path).stdout == b'14 Nov 2023 22:13'


@pytest.mark.parametrize('source, text', [
    ("{{ raise_exception('no\\nway') }}", 'turbine render: no way\n'),
    ('\n{{ a.b }}', "turbine render: line 2: 'a' is undefined\n"),
    ("{% include 'x' %}", "turbine render: line 1: statement 'include' is not supported "
                          'in chat templates\n'),
])
def test_errors_are_one_line(tmp_path, source, text):
    r = render(write(tmp_path, source), [], tmp_path)
    assert (r.returncode, r.stdout, r.stderr.decode()) == (1, b'', text)


def test_wrong_files(tmp_path):
    t = write(tmp_path, 'x')
    r = subprocess.run([TURBINE, 'render', str(t)], capture_output=True)
    assert r.returncode == 2 and b'--messages' in r.stderr
    bad = tmp_path / 'bad.json'
    for text in ('{', '"text"', '5', ''):
        bad.write_text(text)
        r = subprocess.run([TURBINE, 'render', str(t), '--messages', str(bad)],
                           capture_output=True)
        assert r.returncode == 1 and r.stderr.count(b'\n') == 1, text
    assert render(tmp_path / 'none.jinja', [], tmp_path).returncode == 1
    assert render(tmp_path / 'none.gguf', [], tmp_path).returncode == 1


def test_template_of_a_model(tmp_path):
    gguf = ROOT / 'tests' / 'data' / 'stories260K.gguf'
    r = render(gguf, [], tmp_path)
    assert r.returncode == 1 and b'chat_template' in r.stderr
    phi = ROOT.parent / 'shared' / 'data' / 'tokenizers' / 'ggml-vocab-phi-3.gguf'
    if not phi.exists():
        pytest.skip(f'{phi} is missing')
    r = render(phi, [{'role': 'user', 'content': 'hi'}], tmp_path)
    assert r.stdout == b'<s><|user|>\nhi<|end|>\n<|assistant|>\n'
    r = render(phi, {'bos_token': '[B]', 'messages': [{'role': 'user', 'content': 'hi'}]},
               tmp_path)
    assert r.stdout == b'[B]<|user|>\nhi<|end|>\n<|assistant|>\n'


# ---- conversations ----

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
    'system': {'messages': [system('Be brief.\n'), user('  Hi  ')]},
    'turns': {'messages': [system('S'), user('a'), assistant('b'), user('c'), assistant('d'),
                           user('e')]},
    'ends with assistant': {'messages': [user('a'), assistant('b')],
                            'add_generation_prompt': False},
    'unicode': {'messages': [system('Über 世界'), user('Grüße 👋🏽 \u2028 \u00a0x\u00a0'),
                             assistant('Ça va? \t'), user('\n\nñ\n\n')]},
    'empty': {'messages': [system(''), user(''), assistant(''), user('')]},
    'special': {'messages': [user('<|im_end|>\n<|im_start|>system\nx{{ 1 }}{% if %}</s>')]},
    'thinking': {'messages': [user('a'), assistant('<think>\nhm\n</think>\n\nb'), user('c'),
                              assistant('', reasoning_content='deep', thinking='deep')]},
    'thinking kept': {'messages': [user('a'), assistant('b', reasoning_content='why\n')],
                      'add_generation_prompt': False, 'preserve_thinking': True},
    'no thinking': {'messages': [user('a /no_think')], 'enable_thinking': False},
    'thinking on': {'messages': [user('a')], 'enable_thinking': True, 'thinking': True,
                    'reasoning_effort': 'high'},
    'tools': {'messages': [user('Weather?')], 'tools': [WEATHER, SEARCH, NO_ARGS]},
    'tools, system': {'messages': [system('S'), user('W?')], 'tools': [WEATHER],
                      'builtin_tools': ['browser', 'python'],
                      'model_identity': 'You are X.'},
    'tool result': {'messages': WITH_TOOL, 'tools': [WEATHER]},
    'tool result, no tools': {'messages': WITH_TOOL},
    'content null': {'messages': [user('W?'), assistant(None, tool_calls=[
        call('get_weather', PARIS)]), tool('x'), assistant('Sunny.'), user('Thanks')],
        'tools': [WEATHER]},
    'content missing': {'messages': [user('W?'), {'role': 'assistant', 'tool_calls': [
        call('search', {'q': 'x'})]}, tool('y', name='search')], 'tools': [SEARCH]},
    'two calls': {'messages': [user('W?'), assistant('Let me look.', tool_calls=[
        call('get_weather', {'city': 'A'}, 1), call('search', {'q': 'b'}, 2)]),
        tool('r1', 1), tool('r2', 2, 'search'), assistant('Done'), user('more'),
        assistant('', tool_calls=[call('now', {}, 3)]), tool('12:00', 3, 'now')],
        'tools': [WEATHER, SEARCH, NO_ARGS]},
    'arguments as text': {'messages': [user('W?'), assistant('', tool_calls=[
        call('get_weather', '{"city": "Bern"}')]), tool('x')], 'tools': [WEATHER]},
    'tool result is json': {'messages': [user('W?'), assistant('', tool_calls=[
        call('f', {})]), {'role': 'tool', 'name': 'f', 'tool_call_id': 'call00000',
                          'content': {'a': [1, 'é']}}], 'tools': [WEATHER]},
    'parts': {'messages': [system('S'), {'role': 'user', 'content': [
        {'type': 'text', 'text': 'one'}, {'type': 'text', 'text': ' two'}]}]},
    'image': {'messages': [{'role': 'user', 'content': [
        {'type': 'image', 'image': 'x'}, {'type': 'text', 'text': 'what?'}]}]},
    'documents': {'messages': [user('q')], 'documents': [
        {'doc_id': 1, 'title': 't', 'text': 'körper'}, {'doc_id': 2, 'text': 'b'}],
        'controls': {'citations': True, 'length': 'short'}},
    'developer': {'messages': [{'role': 'developer', 'content': 'D'}, user('q')]},
    'unknown role': {'messages': [{'role': 'robot', 'content': 'D'}, user('q')]},
    'not alternating': {'messages': [user('a'), user('b'), assistant('c'), assistant('d')]},
    'system late': {'messages': [user('a'), system('b'), user('c')]},
    'no user': {'messages': [assistant('a')]},
    'nothing': {'messages': []},
    'numbers': {'messages': [user('a'), assistant('', tool_calls=[call('f', {
        'i': 2 ** 53, 'f': 1e-7, 'g': 1e22, 'h': 0.1, 'n': None, 'b': False, 'e': {}, 'l': []})
    ]), tool('x')], 'tools': [WEATHER], 'date_string': '26 Jul 2024',
        'tools_in_user_message': False},
}


def compile_jinja2(make_environment, source):
    """The immutable sandbox, which transformers uses, refuses list.append and pop; a
    template with them is rendered in the other one."""
    return make_environment('.append(' not in source and '.pop(' not in source,
                            NOW).from_string(source)


def check(reference, path, name, tmp_path):
    variables = {'add_generation_prompt': True, 'bos_token': '<BOS>', 'eos_token': '<EOS>',
                 **CONVERSATIONS[name]}
    r = render(path, variables, tmp_path)
    try:
        text = reference.render(**variables)
    except Exception as e:  # whatever a template can raise
        assert (r.returncode, r.stdout) == (1, b'')
        got = r.stderr.decode().removeprefix('turbine render: ').removesuffix('\n')
        if got.startswith('line '):
            got = got.split(': ', 1)[1]
        # An error is one line of at most 239 bytes.
        assert got == str(e).replace('\n', ' ').encode()[:239].decode(errors='ignore')
    else:
        assert r.stderr == b''
        assert r.stdout.decode() == text


def template_names():
    return sorted(p.name for p in TEMPLATES.glob('*.jinja')) or ['none']


@pytest.mark.parametrize('template', template_names())
def test_real_template(template, tmp_path):
    if not TEMPLATES.exists():
        pytest.skip(f'{TEMPLATES} is missing')
    pytest.importorskip('jinja2')
    sys.path.insert(0, str(ROOT / 'ref'))
    import make_template_cases
    reference = compile_jinja2(make_template_cases.environment,
                               (TEMPLATES / template).read_text())
    for name in CONVERSATIONS:
        try:
            check(reference, TEMPLATES / template, name, tmp_path)
        except AssertionError as e:
            raise AssertionError(f'conversation "{name}": {e}') from e
