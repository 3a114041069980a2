"""Modelfiles by the commands: what create says, and that show --modelfile gives the same model again, whatever is in it."""
import hashlib
import random

import pytest

from store_helper import STORIES, Store

PARAMETERS = {
    'num_ctx': lambda r: r.randrange(0, 1 << 20), 'temperature': lambda r: r.uniform(0, 2), 'top_k': lambda r: r.randrange(0, 1000),
    'top_p': lambda r: r.random(), 'min_p': lambda r: round(r.random(), 3), 'repeat_penalty': lambda r: r.uniform(0.5, 2),
    'repeat_last_n': lambda r: r.randrange(-1, 512), 'seed': lambda r: r.randrange(-2**53, 2**53), 'num_predict': lambda r: r.randrange(-2, 9999),
    'num_thread': lambda r: r.randrange(0, 64), 'num_batch': lambda r: r.randrange(1, 4096), 'num_keep': lambda r: r.randrange(-1, 64),
    'typical_p': lambda r: r.random(), 'presence_penalty': lambda r: r.uniform(-2, 2), 'frequency_penalty': lambda r: r.uniform(-2, 2),
    'num_gpu': lambda r: r.randrange(-1, 99), 'use_mmap': lambda r: r.choice(['true', 'false', '1', '0']),
    'kv_cache_type': lambda r: r.choice(['turbo3', 'balanced', 'turbo8/turbo4:tail=256', 'f16', 'q8_0']), 'kv_tail': lambda r: r.randrange(0, 9999),
}
PIECES = ['a', ' ', '  ', '\n', '\n\n', '"', '""', '{{ .Prompt }}', '# no comment', 'FROM x', '\t', 'é', '日本', '😀', "'", '\\', '\\n', '<|end|>',
          'PARAMETER', '`', '{% if x %}', '\u2028', '0']


def text(r, most=8):
    return ''.join(r.choice(PIECES) for _ in range(r.randrange(0, most)))


def quoted(r, value):
    """A spelling of value that the grammar takes, or None; quotes end where a line does."""
    if '"""' in value or value.endswith('"') or '"\n' in value or '" ' in value or '"\t' in value or '"\u2028' in value:
        return None
    if value and value == value.strip() and '\n' not in value and not value.startswith('"') and r.random() < 0.3:
        return value
    return f'"""{value}"""'


def modelfile(r):
    lines = []

    def add(command, value):
        spelled = quoted(r, value)
        if spelled is not None:
            lines.append(f'{r.choice([command, command.lower()])}{r.choice([" ", "   "])}{spelled}')
    for name in r.sample(sorted(PARAMETERS), r.randrange(0, 9)):
        lines.append(f'PARAMETER {name} {PARAMETERS[name](r)}')
    for _ in range(r.randrange(0, 4)):
        add('PARAMETER stop', text(r, 4) or 'x')
    for command in ['SYSTEM', 'TEMPLATE'] + ['LICENSE'] * r.randrange(0, 3):
        if r.random() < 0.7:
            add(command, text(r).replace('{% if x %}', '{# x #}' if command == 'TEMPLATE' else '{% if x %}'))  # Jinja must compile
    for _ in range(r.randrange(0, 4)):
        add(f'MESSAGE {r.choice(["user", "assistant", "system"])}', text(r))
    if r.random() < 0.3:
        lines.append(f'REQUIRES {r.choice(["", "v"])}0.{r.randrange(0, 30)}.{r.randrange(0, 9)}')
    if r.random() < 0.3:
        lines.append('# a comment')
    r.shuffle(lines)
    lines.insert(r.randrange(0, len(lines) + 1), f'FROM {STORIES}')
    return r.choice(['\n', '\n\n', '\r\n']).join(lines) + r.choice(['', '\n'])


@pytest.fixture(scope='module')
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp('home'))


@pytest.mark.parametrize('seed', range(40))
def test_show_gives_the_model_again(store, seed):
    source = modelfile(random.Random(seed))
    encoding = ['utf-8', 'utf-8-sig', 'utf-16'][seed % 3]
    path = store.home / 'Modelfile'
    path.write_bytes(source.encode(encoding))
    done = store.run('create', 'a', '-f', path)
    assert done.returncode == 0, f'{source!r}: {done.stderr}'
    shown = store.run('show', 'a', '--modelfile')
    if shown.returncode:  # three quotes inside a text that needs quotes: none can hold it
        assert 'three quotes' in shown.stderr and '"' in source
        return
    store.create('b', shown.stdout, check=0)
    assert store.manifest('a/latest') == store.manifest('b/latest'), source
    assert store.ok('show', 'b', '--modelfile').replace('b:latest', 'a:latest') == shown.stdout


def test_parameters_without_effect_are_said(store):
    done = store.create('m', f'FROM {STORIES}\nPARAMETER mirostat 1\nPARAMETER f16_kv true\nPARAMETER num_keep 4\nPARAMETER seed 1\n', check=0)
    for name in ('mirostat', 'f16_kv', 'num_keep'):
        assert f'parameter {name} has no effect' in done.stderr
    assert 'parameter seed' not in done.stderr


def test_what_is_kept_and_not_used_is_said(store):
    done = store.create('m', f'FROM {STORIES}\nRENDERER qwen3-coder\nPARSER qwen3\n', check=0)
    assert 'note: RENDERER qwen3-coder is kept, but not used: prompts are made by the chat template' in done.stderr
    assert 'note: PARSER qwen3 is kept, but not used: answers are read in the format that the chat template has' in done.stderr
    assert 'chat template: none: prompts are completed as they are' in done.stderr  # which one that is
    shown = store.ok('show', 'm', '--modelfile')
    assert 'RENDERER qwen3-coder\n' in shown and 'PARSER qwen3\n' in shown
    assert 'is kept' not in store.create('m', f'FROM {STORIES}\n', check=0).stderr


@pytest.mark.parametrize('line, says', [
    ('PARAMETER kv_cache_type q5_1', "(line 2): parameter kv_cache_type: KV type 'q5_1' is 6 bits a value and not here; nearest are turbo8 (8.1)"),
    ('PARAMETER kv_cache_type huge', 'unknown KV type'),
    ('PARAMETER kv_tail -1', 'kv_tail'),
    ('PARAMETER num_ctx 4k', 'whole number'),
    ('PARAMETER temprature 1', "unknown parameter 'temprature'"),
    ('ADAPTER ./lora.gguf', 'ADAPTER is not supported'),
    ('REQUIRES soon', 'semver'),
    ('TEMPLATE {% for m in messages %}', '(line 2): TEMPLATE: line 1: Unexpected end of template'),
    ('PARAMETER stop x\n' * 17, '(line 18): more than 16 stops'),
])
def test_refused(store, line, says):
    assert says in store.create('m2', f'FROM {STORIES}\n{line}\n', check=1).stderr


@pytest.mark.parametrize('text, line, says', [
    ('# first\n\nFROM ./none.gguf\n', 3, 'FROM ./none.gguf: No such file'), ('\nFROM nosuch\n', 2, 'FROM nosuch is not in the store, and cannot be pulled: '),
    ('FROM cut.gguf\n', 1, 'cut.gguf: '), ('SYSTEM x\nFROM text.gguf\n', 2, 'not a GGUF file'), ('FROM empty\n', 1, 'a folder with 0 .gguf files'),
    ('FROM ~nobodyhere/x\n', 1, 'no such home folder'), ('SYSTEM a\nFROM bad name!\n', 2, 'invalid model name'),
    ('FROM m\nFROM m\n', 2, 'a second FROM'), ('FROM m\nPARAMETER seed\n', 2, 'a parameter has a name'), ('FROM m\nSYSTEM """x\n\n', 2, 'unexpected EOF'),
    ('FROM m\nMESSAGE robot hi\n', 2, 'message role'), ('FROM m\n\nDRAFT x\n', 3, 'DRAFT is not supported'), ('FROM m\nREQUIRES x\n', 2, 'semver'),
    ('FROM\n', 1, 'command must be one of'), ('FROM m\nPARAMETER stop ""\n', 2, 'the value is missing'), ('FROM m\n\xff\n', 2, 'no valid UTF-8')])
@pytest.mark.parametrize('folder', ['', 'below/'])
def test_errors_name_the_file_and_the_line(store, folder, text, line, says):
    at = store.home / folder
    (at / 'empty').mkdir(parents=True, exist_ok=True)
    (at / 'cut.gguf').write_bytes(STORIES.read_bytes()[:3000])
    (at / 'text.gguf').write_text('no gguf')
    (at / 'Broken').write_bytes(text.encode('latin-1'))
    err = store.run('create', 'x', '-f', f'{folder}Broken', check=1).stderr.splitlines()[-1]
    assert err.startswith(f'turbine create: {folder}Broken: (line {line}): ') and says.replace('./none', f'{folder}./none') in err
    assert not any(n.startswith('x:') for n in store.names())


@pytest.mark.parametrize('version, newer', [('0.33.0', False), ('v0.33.0', False), ('0.9.9', False), ('0.33.1', True), ('0.100.0', True),
                                            ('1.0.0', True), ('0.32.9', False), ('0.33.0-rc1', False)])
def test_requires(store, version, newer):
    said = 'follows the API of 0.33.0'
    assert (said in store.create('r', f'FROM {STORIES}\nREQUIRES {version}\n', check=0).stderr) == newer
    assert version.lstrip('v') in store.ok('show', 'r')


GO = '{{ if .Tools }}{{ range .Tools }}{{ . }}{{ end }}{{ end }}{{ range .Messages }}{{ .Thinking }}{{ .Content }}{{ end }}'
JINJA = '{% if tools %}{{ tools }}{% endif %}{% for m in messages %}{{ m.reasoning_content }}{{ m.content }}{% endfor %}'


@pytest.mark.parametrize('template,able', [
    (GO, ['completion', 'embedding', 'tools', 'thinking']), (JINJA, ['completion', 'embedding', 'tools', 'thinking']),
    ('{{ .Prompt }} with tools to think', ['completion', 'embedding']), (GO + '{{ template "tools" }}', ['completion', 'embedding'])],
    ids=['go', 'jinja', 'words', 'unsupported'])
def test_capabilities_are_those_of_the_template_in_use(store, template, able):
    store.create('able', f'FROM {STORIES}\nTEMPLATE """{template}"""\n', check=0)
    shown = store.ok('show', 'able')
    assert shown.split('Capabilities\n', 1)[1].split('\n\n')[0].split() == able


@pytest.mark.parametrize('template, line', [  # as Go's text/template has it
    ('{{ if .X }', 1), ('a\n{{ if .X }}\nb', 3), ('{{ printf "%s" .X }}\n\n{{ if .X }}', 3), ('{{ if (eq .X "a" }}{{ end }}', 1), ('{{ .X }}{{ end }}', 1)])
def test_a_template_that_is_none_is_refused(store, template, line):
    said = store.create('wrong', f'FROM {STORIES}\nTEMPLATE """{template}"""\n', check=1).stderr
    assert f'(line 2): TEMPLATE: template error: line {line}: ' in said and 'wrong:latest' not in store.names()


@pytest.mark.parametrize('template', ['{{ printf "%s}}" .X }}', '{{ define "x" }}{{ if .A }}{{ end }}{{ end }}{{ template "x" . }}', '{{ .X .Y }}'])
def test_a_template_that_is_more_than_supported_is_kept(store, template):
    said = store.create('more', f'FROM {STORIES}\nTEMPLATE """{template}"""\n', check=0).stderr
    assert "TEMPLATE is Go's and more than is supported: line 1: " in said and store.ok('show', 'more', '--template') == template + '\n'


def test_steps_are_those_of_ollama(store):
    lines = store.create('steps', f'FROM {STORIES}\nSYSTEM Steps.\n', check=0).stderr.splitlines()
    assert lines[0] == 'gathering model components' and lines[-2:] == ['writing manifest', 'success']
    digest = hashlib.sha256(b'Steps.').hexdigest()
    assert f'creating new layer sha256:{digest}' in lines
    lines = store.create('again', f'FROM {STORIES}\nSYSTEM Steps.\n', check=0).stderr.splitlines()
    weights = hashlib.sha256(STORIES.read_bytes()).hexdigest()
    assert f'using existing layer sha256:{weights}' in lines and f'using existing layer sha256:{digest}' in lines
    assert not any(line.startswith('turbine') or 'creating' in line for line in lines)


def test_what_may_surprise_is_said(store):
    """The file has no chat template, and says a context of 512."""
    plain, more = 'note: no chat template: prompts are completed as they are', 'the model was trained for 512 tokens'
    said = store.create('surprise', f'FROM {STORIES}\nPARAMETER num_ctx 513\n', check=0).stderr
    assert plain in said and f'note: num_ctx 513: {more}' in said
    assert f'note: num_ctx 513: {more}' in store.create('child', 'FROM surprise\n', check=0).stderr
    said = store.create('surprise', f'FROM {STORIES}\nPARAMETER num_ctx 512\nTEMPLATE "{{{{ .Prompt }}}}"\n', check=0).stderr
    assert plain not in said and more not in said
