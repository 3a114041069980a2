"""Input cannot become special tokens in the templates of real models: whatever stands in
messages, tools and documents, the special tokens of a prompt are those that the template
writes.  Vocabularies are made up: the bytes, and the special tokens that a template names."""
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'ref'))
import gguf_meta  # noqa: E402

TURBINE = os.environ.get('TURBINE', str(ROOT / 'build' / 'turbine'))
TEMPLATES = ROOT.parent / 'shared' / 'data' / 'templates'
MATRIX = json.loads((ROOT / 'tests' / 'data' / 'template_matrix.json').read_text())
SPECIAL = re.compile(r'<\|[\w ]+\|>|<｜[^｜<>]+｜>|\[/?[A-Z_]+\]|<(?:start|end)_of_turn>')
MORE = ['<BOS>', '<EOS>', '</s>', '<|im_start|>', '<|im_end|>', '<start_of_turn>', '[INST]',
        '<|channel|>', '<|start|>', '<|message|>', '<|call|>', '<|return|>', '<|end|>']
NORMAL, CONTROL = 1, 3


def byte_alphabet():
    """GPT-2's characters for the bytes 0..255."""
    same = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = iter(range(256, 512))
    return [chr(b) if b in same else chr(next(other)) for b in range(256)]


def vocabulary(tmp_path, template):
    """A file with the special tokens behind the bytes, and their texts."""
    roles = ['<|' + r + '|>' for r in ('user', 'system', 'assistant', 'robot')]
    special = sorted({*SPECIAL.findall(template), *MORE, *roles})
    path = tmp_path / 'vocab.gguf'
    path.write_bytes(gguf_meta.image({
        'tokenizer.ggml.model': 'gpt2', 'tokenizer.ggml.pre': 'qwen2',
        'tokenizer.ggml.tokens': (8, byte_alphabet() + special),
        'tokenizer.ggml.token_type': (5, [NORMAL] * 256 + [CONTROL] * len(special)),
        'tokenizer.ggml.merges': (8, [])}))
    return path, special


def special_ids(template, vocab, variables, tmp_path):
    """Of the prompt, in order; None if the template raises."""
    path = tmp_path / 'vars.json'
    path.write_text(json.dumps(variables))
    done = subprocess.run([TURBINE, 'render', str(template), '--messages', str(path), '--now', '0',
                           '--tokens', str(vocab)], capture_output=True, timeout=60)
    if done.returncode:
        assert done.stdout == b''
        return None
    return [int(i) for i in done.stdout.split() if int(i) >= 256]


def conversations(x):
    """With x in every string that a user, a tool or a client can choose."""
    function = {'name': 'f' + x, 'description': x, 'parameters': {
        'type': 'object', 'properties': {x: {'type': 'string', 'description': x, 'enum': [x],
                                             'default': x}}, 'required': [x]}}
    tools = [{'type': 'function', 'function': function}]
    calls = [{'id': 'call00000', 'type': 'function',
              'function': {'name': 'f' + x, 'arguments': {x: x, 'n': [x, {x: x}]}}}]
    as_text = [{**calls[0], 'function': {'name': x, 'arguments': json.dumps({x: x})}}]
    parts = [{'type': 'text', 'text': x}, {'type': 'text', 'text': 'b' + x}]

    def turns(calls, name):
        return [{'role': 'user', 'content': 'q' + x}, {'role': 'assistant', 'content': x, 'tool_calls': calls},
                {'role': 'tool', 'name': name, 'tool_call_id': 'call00000', 'content': 'r' + x + 's'},
                {'role': 'assistant', 'content': 'a' + x, 'reasoning_content': x},
                {'role': 'user', 'content': x, 'name': name}]

    system = [{'role': 'system', 'content': 's' + x}]
    yield 'plain', {'messages': [{'role': 'user', 'content': x}]}
    yield 'turns', {'messages': system + turns([], x)[:2:1] + turns([], x)[4:]}
    yield 'system', {'messages': system + turns(calls, x)[:1]}
    yield 'parts', {'messages': [{'role': 'user', 'content': parts}]}
    yield 'tools', {'messages': system + turns(calls, 'f' + x), 'tools': tools}
    yield 'calls as text', {'messages': turns(as_text, x), 'tools': tools}
    yield 'user alone with tools', {'messages': turns(calls, x)[:1], 'tools': tools}
    yield 'documents', {'messages': turns(calls, x)[:1], 'documents': [
        {'doc_id': x, 'title': x, 'text': x}], 'controls': {'length': x}}
    yield 'other variables', {'messages': system + turns(calls, x)[:1], 'tools': tools,
                              'model_identity': x, 'date_string': x, 'reasoning_effort': x,
                              'builtin_tools': [x], 'custom_tools': None}
    yield 'role', {'messages': [{'role': 'z' + x, 'content': x}]}


@pytest.mark.parametrize('template', sorted(MATRIX['templates']))
def test_special_tokens_are_the_templates(template, tmp_path):
    path = TEMPLATES / template
    if not path.exists():
        pytest.skip(f'{path} is missing')
    vocab, special = vocabulary(tmp_path, path.read_text())
    hostile = ''.join(special)
    # Halves, which a template's own text might complete.
    halves = ''.join(s[:len(s) // 2] + ' ' + s[len(s) // 2:] for s in special)
    rendered = 0
    for (name, plain), (_, bad), (_, cut) in zip(conversations('zq'), conversations(hostile),
                                                 conversations(halves)):
        want, *got = [special_ids(path, vocab, {**MATRIX['vars'], **v}, tmp_path)
                      for v in (plain, bad, cut)]
        assert got == [want, want], name
        rendered += bool(want)
    assert rendered >= 3


def test_role_in_a_special_token(tmp_path):
    """'<|' + role + '|>' is a special token for the roles that chats have."""
    source = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"
    path = tmp_path / 't.jinja'
    path.write_text(source)
    vocab, special = vocabulary(tmp_path, source)
    ids = special_ids(path, vocab, [{'role': r, 'content': '<|user|>'} for r in (
        'system', 'user', 'robot', 'assistant', 'end', 'im_end')], tmp_path)
    assert [special[i - 256] for i in ids] == ['<|system|>', '<|user|>', '<|assistant|>']
