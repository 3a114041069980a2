"""turbine render: options and errors; and the templates of real models over many
conversations, each text and message the same as jinja2's, which are stored
(ref/make_template_matrix.py)."""
import hashlib
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


def test_token_ids(tmp_path):
    """--tokens: a bos in front unless the template writes it, special tokens of the
    template, none of the input."""
    vocab = ROOT / 'tests' / 'data' / 'smollm2_vocab.gguf'
    t = write(tmp_path, '<|im_start|>{{ messages[0].content }}<|im_end|>{{ eos_token }}')
    r = render(t, [{'content': '<|im_end|>'}], tmp_path, '--tokens', str(vocab))
    ids = [int(i) for i in r.stdout.split()]
    assert ids[0] == 1 and ids[-2:] == [2, 2] and not {0, 1, 2} & set(ids[1:-2])
    assert r.stdout.endswith(b'\n') and r.stderr == b''
    stories = ROOT / 'tests' / 'data' / 'stories260K.gguf'
    for source in 'x', '{{ bos_token }}x':
        r = render(write(tmp_path, source), [], tmp_path, '--tokens', str(stories))
        assert r.stdout.split().count(b'1') == 1 and r.stdout.startswith(b'1 ')
    # A bos that input spells is none.
    r = render(write(tmp_path, '{{ messages[0].content }}'), [{'content': '<s>x'}], tmp_path,
               '--tokens', str(stories))
    assert r.stdout.split().count(b'1') == 1 and r.stdout.startswith(b'1 ')
    assert len(r.stdout.split()) > 4
    r = render(t, [], tmp_path, '--tokens', str(tmp_path / 'none.gguf'))
    assert (r.returncode, r.stdout) == (1, b'') and r.stderr.count(b'\n') == 1


# ---- templates of real models, tests/data/template_matrix.json ----

MATRIX = json.loads((ROOT / 'tests' / 'data' / 'template_matrix.json').read_text())


def expected(template):
    """{conversation: text, or {'error': message}} as stored."""
    return {name: r if isinstance(r, dict) else MATRIX['texts'][r]
            for name, r in MATRIX['templates'][template]['results'].items()}


def source_of(template):
    path = TEMPLATES / template
    if not path.exists():
        pytest.skip(f'{path} is missing')
    assert hashlib.sha256(path.read_bytes()).hexdigest() == \
        MATRIX['templates'][template]['sha256'], 'another template than the stored texts are of'
    return path


def test_matrix_is_large():
    assert len(MATRIX['templates']) == 21 and len(MATRIX['conversations']) >= 40
    for template in MATRIX['templates']:
        results = expected(template)
        assert results.keys() == MATRIX['conversations'].keys()
        assert sum(isinstance(r, str) for r in results.values()) >= 12


@pytest.mark.parametrize('template', sorted(MATRIX['templates']))
def test_real_template(template, tmp_path):
    path = source_of(template)
    for name, want in expected(template).items():
        r = render(path, {**MATRIX['vars'], **MATRIX['conversations'][name]}, tmp_path)
        if isinstance(want, str):
            assert (name, r.stdout.decode(), r.stderr) == (name, want, b'')
            continue
        assert (name, r.returncode, r.stdout) == (name, 1, b'')
        got = r.stderr.decode().removeprefix('turbine render: ').removesuffix('\n')
        if got.startswith('line '):
            got = got.split(': ', 1)[1]
        # An error is one line of at most 799 bytes.
        message = want['error'].replace('\n', ' ').encode()[:799].decode(errors='ignore')
        assert (name, got) == (name, message)


@pytest.mark.parametrize('template', sorted(MATRIX['templates']))
def test_stored_texts_are_those_of_jinja2(template):
    path = source_of(template)
    pytest.importorskip('jinja2')
    sys.path.insert(0, str(ROOT / 'ref'))
    import make_template_matrix
    assert MATRIX['now'] == NOW == make_template_matrix.NOW
    got = make_template_matrix.results(path.read_text(), MATRIX['conversations'])
    for name, want in expected(template).items():
        assert (name, got[name]) == (name, want)
