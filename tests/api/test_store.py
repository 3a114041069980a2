"""The model store and its commands, against a store that is written here by the rules of
Ollama's layout."""
import hashlib
import json
import os
import pathlib
import re
import time
import urllib.request

import pytest

from store_helper import MANIFEST_MEDIA, MEDIA, STORIES, Store, layer, sha256, write_blob, write_model

GGUF = STORIES.read_bytes()
SMOLLM2 = pathlib.Path(os.environ['TURBINE_TEST_MODEL'])
LIBRARY = 'registry.ollama.ai/library'


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


# ---- what create writes ----

def test_layout(store):
    text = f'''FROM {STORIES}
TEMPLATE """{{{{ .Prompt }}}}"""
SYSTEM """You are "brief"
and kind."""
PARAMETER temperature 0.5
PARAMETER num_ctx 256
PARAMETER stop a
PARAMETER stop " b"
MESSAGE user hi
MESSAGE assistant """two
lines"""
LICENSE MIT
LICENSE second
RENDERER qwen3
PARSER qwen3
REQUIRES v0.14.0
'''
    store.create('m', text, check=0)
    m = store.manifest()
    assert list(m) == ['schemaVersion', 'mediaType', 'config', 'layers']
    assert m['schemaVersion'] == 2 and m['mediaType'] == MANIFEST_MEDIA
    parts = {}
    for l in [m['config'], *m['layers']]:
        assert list(l) == ['mediaType', 'digest', 'size'] and l['digest'].startswith('sha256:')
        path = store.folder / 'blobs' / l['digest'].replace(':', '-')
        data = path.read_bytes()
        assert sha256(data) == l['digest'][7:] and len(data) == l['size']
        assert path.stat().st_mode & 0o777 == 0o644
        parts.setdefault(l['mediaType'].removeprefix(MEDIA), []).append(data)
    assert parts['model'] == [GGUF]
    assert parts['template'] == [b'{{ .Prompt }}']
    assert parts['system'] == [b'You are "brief"\nand kind.']
    assert parts['license'] == [b'MIT', b'second']
    assert json.loads(parts['params'][0]) == {'temperature': 0.5, 'num_ctx': 256, 'stop': ['a', ' b']}
    assert json.loads(parts['messages'][0]) == [{'role': 'user', 'content': 'hi'},
                                                {'role': 'assistant', 'content': 'two\nlines'}]
    config = json.loads((store.folder / 'blobs' / m['config']['digest'].replace(':', '-')).read_text())
    assert m['config']['mediaType'] == 'application/vnd.docker.container.image.v1+json'
    assert config['model_format'] == 'gguf' and config['model_family'] == 'llama'
    assert config['model_families'] == ['llama'] and config['requires'] == '0.14.0'
    assert config['renderer'] == 'qwen3' and config['parser'] == 'qwen3'
    assert config['rootfs'] == {'type': 'layers', 'diff_ids': [l['digest'] for l in m['layers']]}
    assert store.blobs() == sorted({l['digest'].replace(':', '-') for l in [m['config'], *m['layers']]})
    assert store.ok('verify').endswith(': ok\n')


def test_default_folder(tmp_path):
    store = Store(tmp_path, models=None)
    store.create('m', f'FROM {STORIES}', check=0)
    assert (tmp_path / '.local/share/turbine/models/manifests' / LIBRARY / 'm/latest').is_file()
    xdg = {'XDG_DATA_HOME': str(tmp_path / 'data')}
    assert store.names() == ['m:latest'] and 'm:latest' not in store.ok('list', **xdg)
    store.create('x', f'FROM {STORIES}', check=0, **xdg)
    assert (tmp_path / 'data/turbine/models/manifests' / LIBRARY / 'x/latest').is_file()


def test_folder_of_ollama_models(tmp_path):
    store = Store(tmp_path, models=None)
    env = {'OLLAMA_MODELS': f' "{tmp_path}/theirs" '}
    store.create('m', f'FROM {STORIES}', check=0, **env)
    assert (tmp_path / 'theirs/manifests' / LIBRARY / 'm/latest').is_file()
    # With a twin of its own it is only read.
    twin = {**env, 'TURBINE_MODELS': str(tmp_path / 'own')}
    assert 'm:latest' in store.ok('list', **twin)
    done = store.run('rm', 'm', check=1, **twin)
    assert 'only read' in done.stderr
    store.ok('rm', 'm', **env)


# ---- a store that Ollama wrote ----

@pytest.fixture
def ollama(tmp_path):
    store = Store(tmp_path)
    folder = tmp_path / '.ollama/models'
    params = json.dumps({'num_ctx': 200, 'temperature': 0, 'seed': 3, 'stop': ['Timmy', '.']}).encode()
    layers = [('model', GGUF), ('template', b'{{ .System }}{{ .Prompt }}'), ('license', b'MIT\n'),
              ('params', params)]
    store.text = write_model(folder, f'{LIBRARY}/stories/260k', layers)
    write_model(folder, 'hf.co/karpathy/tinyllamas/Q4_K_M', [('model', GGUF)])
    store.theirs = folder
    store.size = sum(len(d) for _, d in layers)
    return store


def tree(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else None) for p in folder.rglob('*')}


def test_a_damaged_blob_of_our_own_gives_way(ollama):
    """What Ollama has whole takes the place of ours, where ours was cut."""
    ollama.create('child', 'FROM stories:260k\n', check=0)
    ours = ollama.folder / f'blobs/sha256-{sha256(GGUF)}'
    ours.unlink()  # it may be the same file as theirs
    ours.write_bytes(GGUF[:1000])
    before = tree(ollama.theirs)
    ollama.create('other', 'FROM stories:260k\n', check=0)
    assert ours.read_bytes() == GGUF and tree(ollama.theirs) == before


def test_read_in_place(ollama):
    before = tree(ollama.theirs)
    old = time.time() - 3 * 3600
    os.utime(ollama.theirs / 'manifests' / LIBRARY / 'stories/260k', (old, old))
    before = tree(ollama.theirs)
    rows = ollama.ok('list').splitlines()
    assert rows[0].split() == ['NAME', 'ID', 'SIZE', 'MODIFIED'] and len(rows) == 3
    hub, stories = rows[1], rows[2]
    assert hub.startswith('hf.co/karpathy/tinyllamas:Q4_K_M    ') and hub.endswith(' ago')
    config = json.loads(ollama.text)['config']['size']
    assert stories.split('    ')[0] == 'stories:260k'
    assert f'    {sha256(ollama.text)[:12]}    {(ollama.size + config) / 1e6:.1f} MB    3 hours ago' in stories
    # Columns are as wide as their widest cell and four blanks.
    assert rows[0].index('ID') == len('hf.co/karpathy/tinyllamas:Q4_K_M') + 4
    assert ollama.ok('show', 'stories:260k', '--license') == 'MIT\n'
    assert ollama.ok('show', 'stories:260k', '--template') == '{{ .System }}{{ .Prompt }}\n'
    assert 'num_ctx                        200\n' in ollama.ok('show', 'stories:260k', '--parameters')
    assert 'stop                           "Timmy"\n' in ollama.ok('show', 'stories:260k', '--parameters')
    shown = ollama.ok('show', 'stories:260k')
    assert '    architecture        llama\n' in shown and "the model's TEMPLATE (Go)" in shown
    assert ollama.ok('verify').startswith('2 models, ')
    assert tree(ollama.theirs) == before
    assert not ollama.folder.exists()  # and nothing of our own was made


def test_run_by_name(ollama):
    done = ollama.run('run', 'stories:260k', 'Once upon a time', '--raw', '--kv', 'f16', check=0)
    assert done.stdout == ', there was a little girl named Lily\n'  # stop "."
    assert 'for 200 tokens' in done.stderr
    done = ollama.run('run', 'Stories:260K', 'Once upon a time', '--raw', '--kv', 'f16', '--ctx', '100',
                      '--max-tokens', '5', check=0)
    assert 'decode 5 tokens' in done.stderr and 'for 100 tokens' in done.stderr


@pytest.mark.parametrize('command', [
    ('inspect', 'stories:260k'), ('plan', 'stories:260k'), ('inspect', 'stories:260k', '--kv', 'f16'),
    ('bench', 'hf.co/karpathy/tinyllamas:Q4_K_M', '--repeat', '1', '--prefill', '8', '--decode', '2', '--kv', 'f16'),
    ('tokenize', 'stories:260k')])
def test_commands_take_names(ollama, command):
    assert ollama.ok(*command, stdin='Once')


def test_copy_and_change(ollama):
    before = tree(ollama.theirs)
    assert ollama.ok('cp', 'stories:260k', 'mine') == "copied 'stories:260k' to 'mine'\n"
    assert (ollama.folder / 'manifests' / LIBRARY / 'mine/latest').read_bytes() == ollama.text
    assert ollama.names() == ['hf.co/karpathy/tinyllamas:Q4_K_M', 'mine:latest', 'stories:260k']
    done = ollama.run('rm', 'stories:260k', check=1)
    assert f'only read' in done.stderr and str(ollama.theirs) in done.stderr
    # FROM a name keeps its layers; parameters are laid over them.
    ollama.create('next', 'FROM mine\nPARAMETER num_ctx 300\nPARAMETER kv_cache_type f16\nSYSTEM x\n', check=0)
    parameters = ollama.ok('show', 'next', '--parameters')
    assert 'num_ctx                        300' in parameters and '"Timmy"' in parameters
    assert 'kv_cache_type                  "f16"' in parameters
    done = ollama.run('run', 'next', 'Once upon a time', '--raw', check=0)
    assert 'kv f16' in done.stderr and 'for 300 tokens' in done.stderr
    assert {l['mediaType'] for l in ollama.manifest('next/latest')['layers']} == {
        MEDIA + k for k in ('model', 'template', 'license', 'params', 'system')}
    ollama.ok('rm', 'mine', 'next')
    assert ollama.blobs() == [] and not any((ollama.folder / 'manifests').rglob('*'))
    assert tree(ollama.theirs) == before


def test_round_trip(ollama):
    ollama.create('a', '''FROM stories:260k
SYSTEM """ "quoted"
 and blank at the end """
LICENSE """one
"""
LICENSE two
PARAMETER stop "  "
PARAMETER temperature 0.25
MESSAGE user """a
b"""
''', check=0)
    text = ollama.ok('show', 'a', '--modelfile')
    ollama.create('b', text, check=0)
    assert ollama.manifest('a/latest') == ollama.manifest('b/latest')
    assert ollama.ok('show', 'b', '--modelfile').replace('b:latest', 'a:latest') == text


def write_config(folder):
    data = b'{"model_format":"gguf"}'
    write_blob(folder, data)
    return layer('config', data)


def put_manifest(store, name, size, age_s=0):
    path = store.folder / 'manifests' / LIBRARY / name / 'latest'
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({'schemaVersion': 2, 'layers': [
        {'mediaType': MEDIA + 'model', 'digest': 'sha256:' + 'a' * 64, 'size': size}]}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_words(store):
    """Sizes and ages as Ollama's format package says them."""
    hour, day = 3600, 86400
    ages = {'a': (90, 'About a minute ago'), 'b': (10 * 60 + 30, '10 minutes ago'),
            'c': (1.2 * hour, 'About an hour ago'), 'd': (26 * hour, '26 hours ago'),
            'e': (47.6 * hour, '2 days ago'), 'f': (13 * day, '13 days ago'), 'g': (20 * day, '2 weeks ago'),
            'h': (70 * day, '2 months ago'), 'i': (800 * day, '2 years ago'), 'j': (-3 * hour, '3 hours from now')}
    for name, (age, _) in ages.items():
        put_manifest(store, name, 5, age)
    sizes = {'s': (999, '999 B'), 't': (1000, '1 KB'), 'u': (1001, '1.0 KB'), 'v': (397821319, '397 MB'),
             'w': (4683087332, '4.7 GB'), 'x': (19851349856, '19 GB')}
    for name, (size, _) in sizes.items():
        put_manifest(store, name, size, 5 * day)
    rows = [[cell.strip() for cell in line.split('    ') if cell.strip()] for line in store.ok('list').splitlines()[1:]]
    assert {r[0][0]: r[3] for r in rows if r[0][0] in ages} == {n: w for n, (_, w) in ages.items()}
    assert {r[0][0]: r[2] for r in rows if r[0][0] in sizes} == {n: w for n, (_, w) in sizes.items()}
    assert rows[0][0] == 'j:latest' and rows[-1][0] == 'i:latest'  # newest first
    assert [line.split()[0] for line in store.ok('ls', 'W').splitlines()[1:]] == ['w:latest']


@pytest.mark.skipif(not os.getuid(), reason='root may read everything')
@pytest.mark.parametrize('closed', ['.ollama', '.ollama/models/manifests'])
def test_store_of_ollama_that_is_closed(tmp_path, closed):
    """Its models are not left out without a word."""
    store = Store(tmp_path)
    (store.home / '.ollama/models/manifests').mkdir(parents=True)
    (store.home / closed).chmod(0)
    try:
        done = store.run('list', check=0)
        assert done.stdout.split() == ['NAME', 'ID', 'SIZE', 'MODIFIED']
        assert f'may not read {store.home / ".ollama/models"};' in done.stderr
    finally:
        (store.home / closed).chmod(0o700)


# ---- what is refused ----

@pytest.mark.parametrize('name', ['../x', 'a/../b', 'a/b/../../c', '/etc/passwd', '.hidden', 'a:..', 'a b',
                                  'a/b/c/d', 'a\nb', 'x' * 81, '', 'a:b:c', 'ä'])
def test_names_that_would_escape(store, name):
    for command in (('create', name, '-f', '-'), ('cp', name, 'x'), ('cp', 'x', name), ('rm', name)):
        done = store.run(*command, stdin=f'FROM {STORIES}', check=1)
        assert 'invalid model name' in done.stderr
    assert not store.folder.exists()


@pytest.mark.parametrize('text, expected', [
    ('SYSTEM x', 'standard input: no FROM line'),
    ('FROM m\nBLAH x', 'standard input: (line 2): command must be one of "from"'),
    ('FROM nothere', '(line 1): FROM nothere is not in the store, and cannot be pulled: https://registry.invalid/v2/library/nothere/'),
    ('FROM ./nothere.gguf', 'FROM ./nothere.gguf'),
    (f'FROM {STORIES}\nADAPTER ./lora.gguf', '(line 2): ADAPTER is not supported'),
    (f'FROM {STORIES}\nDRAFT small', '(line 2): DRAFT is not supported'),
    (f'FROM {STORIES}\nFROM {STORIES}', '(line 2): a second FROM'),
    (f'FROM {STORIES}\nPARAMETER top_p 2', '(line 2): parameter top_p: 2 is not between 0 and 1'),
    (f'FROM {STORIES}\nPARAMETER nonsense 2', "(line 2): unknown parameter 'nonsense'"),
    (f'FROM {STORIES}\nREQUIRES soon', '(line 2): requires must be a valid semver'),
    (f'FROM {__file__}', 'no GGUF file'),
])
def test_refused_modelfiles(store, text, expected):
    done = store.create('m', text, check=1)
    assert expected in done.stderr or 'GGUF' in expected and 'GGUF' in done.stderr, done.stderr
    assert store.names() == []
    assert not store.folder.exists() or store.blobs() == []  # and no large file was copied for nothing


def test_modelfile_next_to_its_model(store):
    folder = store.home / 'sub'
    folder.mkdir()
    (folder / 'w.gguf').write_bytes(GGUF)
    (folder / 'Modelfile').write_text('FROM ./w.gguf\n')
    store.ok('create', 'a', '-f', 'sub/Modelfile')
    (folder / 'Modelfile').write_text('FROM .\n')  # the only one in the folder
    store.ok('create', 'b', '--file', 'sub/Modelfile')
    (store.home / 'w.gguf').write_bytes(GGUF)
    (folder / 'Modelfile').write_text('FROM ~/w.gguf\n')
    store.ok('create', 'c', '-f', 'sub/Modelfile')
    assert store.names() == ['a:latest', 'b:latest', 'c:latest'] and store.manifest('a/latest') == store.manifest('c/latest')
    # The blob is a file of its own: who changes the original changes nothing.
    (folder / 'w.gguf').write_bytes(b'x')
    assert store.ok('verify').endswith(': ok\n')


def test_damage_is_found(store):
    store.create('a', f'FROM {STORIES}\nSYSTEM a', check=0)
    store.create('b', f'FROM {STORIES}\nSYSTEM b', check=0)
    [system] = [l for l in store.manifest('a/latest')['layers'] if l['mediaType'] == MEDIA + 'system']
    blob = store.folder / 'blobs' / system['digest'].replace(':', '-')
    blob.write_bytes(b'z')  # of the same size
    done = store.run('verify', check=1)
    assert f'{blob.name}: damaged: its 1 bytes have sha256:{sha256(b"z")}' in done.stdout
    assert '1 problems' in done.stdout
    assert store.run('verify', 'b').returncode == 0 and store.run('verify', 'a').returncode == 1
    done = store.run('show', 'a', check=1)
    assert 'its bytes have another digest' in done.stderr
    blob.unlink()
    done = store.run('verify', check=1)
    assert f'{LIBRARY}/a:latest: blob {system["digest"]} is missing' in done.stdout
    store.create('a', f'FROM {STORIES}\nSYSTEM a', check=0)  # heals it
    assert store.ok('verify').endswith(': ok\n')
    manifest = store.folder / 'manifests' / LIBRARY / 'a/latest'
    manifest.write_text('{"schemaVersion":2}')
    assert 'layers is no array' in store.run('verify', check=1).stdout
    assert 'damaged' in store.ok('list')
    done = store.run('run', 'a', 'x', check=1)
    assert 'a:latest: manifest: layers is no array' in done.stderr
    store.ok('rm', 'a')
    assert store.names() == ['b:latest']


def test_hostile_manifest(store):
    """A manifest of somebody else's: digests that are paths, sizes that lie."""
    path = store.folder / 'manifests' / LIBRARY / 'm/latest'
    path.parent.mkdir(parents=True)
    for digest, size, expected in [
            ('sha256:../../../../etc/passwd', 3, 'layers[0].digest'),
            ('sha256:' + 'A' * 64, 3, 'layers[0].digest'),
            ('sha256:' + 'a' * 64, -1, 'layers[0].size'),
            ('sha256:' + 'a' * 64, 1 << 60, 'layers[0].size'),
            ('sha256:' + 'a' * 64, 3, 'is missing')]:
        path.write_text(json.dumps({'schemaVersion': 2, 'layers': [
            {'mediaType': MEDIA + 'model', 'digest': digest, 'size': size}]}))
        done = store.run('run', 'm', 'x', check=1)
        assert expected in done.stderr, done.stderr
    write_blob(store.folder, b'abc')
    path.write_text(json.dumps({'schemaVersion': 2, 'layers': [{**layer('model', b'abc'), 'size': 4}]}))
    assert 'has another size than the 4 bytes' in store.run('run', 'm', 'x', check=1).stderr
    path.write_text('[' * 100000)
    assert store.run('run', 'm', 'x', check=1).returncode == 1


# ---- several at once ----

def test_processes_at_once(store):
    texts = [f'FROM {STORIES}\nSYSTEM {i % 3}\nLICENSE shared\n' for i in range(6)]
    for i, t in enumerate(texts):
        store.modelfile(t, f'Modelfile{i}')
    for _ in range(3):
        jobs = [store.start('create', f'm{i % 4}', '-f', f'Modelfile{i}') for i in range(6)]
        jobs += [store.start('rm', f'm{i}') for i in range(4)]
        jobs += [store.start('cp', 'm0', 'copy'), store.start('list')]
        for j in jobs:
            out, _ = j.communicate(timeout=120)
            assert j.returncode == 0 or 'not found' in out or 'is missing' in out, out
        assert store.ok('verify').splitlines()[0].endswith(': ok')
    for name in store.names():
        store.ok('rm', name)
    assert store.blobs() == [] and [p.name for p in (store.folder / '.turbine').iterdir()] == ['lock']


# ---- serve ----

class Served:
    """`turbine serve NAME` of a store."""

    def __init__(self, store, name):
        self.process = store.start('serve', name, '--port', '0', '--quiet', '--parallel', '1')
        for line in self.process.stdout:
            if line.startswith('listening on '):
                self.url = line.split()[-1]
                break

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)

    def call(self, path, body=None):
        data = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=60) as r:
            return json.loads(r.read())

    def count(self, *messages, **more):
        return self.call('/v1/messages/count_tokens', {
            'model': '', 'messages': [{'role': 'user' if i % 2 == 0 else 'assistant', 'content': m}
                                      for i, m in enumerate(messages)], **more})['input_tokens']


def test_serve_by_name(ollama):
    ollama.create('s', 'FROM stories:260k\nPARAMETER num_ctx 128\nPARAMETER kv_cache_type f16\n'
                       'PARAMETER stop girl\n', check=0)
    with Served(ollama, 's') as s:
        assert s.call('/api/tags')['models'][0]['name'] == 's:latest'  # then the others of the store
        assert s.call('/api/ps')['models'][0]['context_length'] == 128
        assert 'temperature                    0\n' in s.call('/api/show', {'model': 's'})['parameters']
        body = {'model': 's', 'prompt': 'Once upon a time', 'raw': True, 'stream': False}
        answer = s.call('/api/generate', body)
        assert answer['response'] == ', there was a little ' and answer['done_reason'] == 'stop'
        answer = s.call('/api/generate', {**body, 'model': 's:latest', 'options': {'stop': ['Lily']}})
        assert answer['response'] == ', there was a little girl named '


@pytest.mark.skipif(not SMOLLM2.exists(), reason=f'{SMOLLM2} is not there: script/model fetches it')
def test_serve_first_messages(store):
    """SYSTEM and MESSAGEs are tokens of a chat as if the client had sent them."""
    base = f'FROM {SMOLLM2}\nPARAMETER kv_cache_type f16\nPARAMETER num_ctx 512\n'
    store.create('a', base + 'SYSTEM You are brief.\n', check=0)
    store.create('b', 'FROM a\nMESSAGE user hello\nMESSAGE assistant yes?\n', check=0)
    with Served(store, 'a') as s:
        one, three = s.count('What is it?'), s.count('hello', 'yes?', 'What is it?')
        assert one == s.count('What is it?', system='You are brief.')
        assert one != s.count('What is it?', system='You are a helpful pirate who talks a lot.')
    with Served(store, 'b') as s:
        assert s.count('What is it?') == three > one
        assert s.count('What is it?', system='You are brief.') == three


@pytest.mark.skipif(not SMOLLM2.exists(), reason=f'{SMOLLM2} is not there: script/model fetches it')
def test_template_of_a_model(store):
    """A TEMPLATE is used in place of the GGUF's, Jinja or Go's; what came with a model, or is no part of the subset, is not: it is said."""
    base = f'FROM {SMOLLM2}\nPARAMETER kv_cache_type f16\nPARAMETER num_ctx 512\nPARAMETER num_predict 1\n'
    jinja = 'A{% for m in messages %} {{ m.content }}{% endfor %}'
    store.create('j', base + f'TEMPLATE """{jinja}"""\n', check=0)
    said = store.create('g', base + 'TEMPLATE A {{ .Prompt }}\n', check=0).stderr
    assert "chat template: the model's TEMPLATE (Go)" in said and "TEMPLATE (Go)" in store.ok('show', 'g')
    said = store.create('p', base + 'TEMPLATE A {{ printf "%s" .Prompt }}\n', check=0).stderr
    assert "chat template: the GGUF's; TEMPLATE is Go's and more than is supported: line 1: function 'printf'" in said
    said = store.create('w', base + 'TEMPLATE {% for %}\n', check=1).stderr
    assert 'TEMPLATE: line 1: expected a name' in said
    tokens = len(store.ok('tokenize', 'j', '--special', stdin='A hi there').split())
    done = store.run('run', 'j', 'hi there', check=0)
    assert f'prefill {tokens} tokens' in done.stderr and 'note' not in done.stderr
    done = store.run('run', 'g', 'hi there', check=0)
    assert "the TEMPLATE of g:latest, which is Go's, is used" in done.stderr and f'prefill {tokens} tokens' in done.stderr
    done = store.run('run', 'p', 'hi there', check=0)
    assert 'the chat template of the GGUF of p:latest is used' in done.stderr and f'prefill {tokens} tokens' not in done.stderr
    # What another program stored is no wish of the user's; a text without a template inherits the wish.
    pulled = store.folder / 'manifests/registry.ollama.ai/library/pulled/latest'
    pulled.parent.mkdir()
    manifest = store.manifest('g/latest')
    manifest.pop('config')
    pulled.write_text(json.dumps({**manifest, 'config': write_config(store.folder)}))
    done = store.run('run', 'pulled', 'hi there', check=0)
    assert 'its GGUF has a chat template of its own' in done.stderr
    store.create('g2', 'FROM g\nSYSTEM x\n', check=0)
    assert "which is Go's, is used" in store.run('run', 'g2', 'hi there', check=0).stderr
    with Served(store, 'g') as server, Served(store, 'pulled') as other:
        assert server.count('hi there') == tokens != other.count('hi there')
    # Without a chat template in the GGUF it is all there is.
    store.create('s', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_predict 1\nTEMPLATE {{{{ .Prompt }}}}:\n', check=0)
    assert "which is Go's, is used" in store.run('run', 's', 'hi there', check=0).stderr
    store.create('n', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER num_predict 1\nTEMPLATE {{{{ printf "%s" .Prompt }}}}:\n', check=0)
    assert "function 'printf'" in store.run('run', 'n', 'hi there', check=1).stderr
    # One that another program stored and that does not compile is an error when it is used.
    bad = b'{% for %}'
    digest = hashlib.sha256(bad).hexdigest()
    (store.folder / f'blobs/sha256-{digest}').write_bytes(bad)
    manifest = store.manifest('j/latest')
    for layer in manifest['layers']:
        if layer['mediaType'].endswith('.template'):
            layer.update(digest=f'sha256:{digest}', size=len(bad))
    (pulled.parent.parent / 'w').mkdir()
    (pulled.parent.parent / 'w/latest').write_text(json.dumps(manifest))
    assert 'TEMPLATE of w:latest: ' in store.run('run', 'w', 'hi', check=1).stderr


def test_show_verbose(tmp_path):
    s = Store(tmp_path)
    s.create('m', f'FROM {STORIES}\n', check=0)
    summary, shown = s.ok('show', 'm'), s.ok('show', 'm', '--verbose')
    inspected = s.ok('inspect', STORIES)
    assert shown == summary + inspected[inspected.index('\nmetadata ('):] and shown == s.ok('show', '-v', 'm')
    assert 'llama.context_length' in shown and 'blk.4.ffn_up.weight' in shown


@pytest.mark.parametrize('command', [['list'], ['serve', '--port', '0'], ['create', 'm', '-f', '-'], ['show', 'm'], ['rm', 'm'], ['verify'], ['pull', 'x']])
@pytest.mark.parametrize('path, why', [('/dev/null', 'it is no folder'), ('/dev/null/models', 'Not a directory')])
def test_a_store_that_is_no_folder(tmp_path, command, path, why):
    s = Store(tmp_path, models=None)
    done = s.run(*command, stdin=f'FROM {STORIES}\n', check=1, OLLAMA_MODELS=path)
    assert f'OLLAMA_MODELS={path}: {why}' in done.stderr.splitlines()[-1] and not done.stdout


@pytest.mark.skipif(not os.getuid(), reason='root may read everything')
def test_a_store_that_is_closed(tmp_path):
    s = Store(tmp_path)
    s.create('m', f'FROM {STORIES}\n', check=0)
    s.folder.chmod(0)
    assert 'Permission denied' in s.run('list', check=1).stderr
    s.folder.chmod(0o755)


def test_prompts_without_a_template(tmp_path):
    """The prompt is completed, as by --raw; the text is known from other implementations."""
    s = Store(tmp_path)
    s.create('m', f'FROM {STORIES}\nPARAMETER kv_cache_type f16\nPARAMETER temperature 0\nPARAMETER num_predict 20\n', check=0)
    done = s.run('run', 'm', 'Once upon a time', check=0)
    assert done.stdout.startswith(', there was a little girl named Lily.') or done.stdout.startswith(' there was a little girl named Lily.')
    assert 'note: m:latest has no chat template: prompts are completed as they are' in done.stderr
    assert done.stdout == s.ok('run', 'm', 'Once upon a time', '--raw')
    assert s.ok('run', 'm', stdin='Once upon a time') == done.stdout
    system = s.run('run', 'm', ' a time', '--system', 'Once upon', check=0)  # stands in front of the first
    raw = s.run('run', 'm', 'Once upon\n\n a time', '--raw', check=0)
    assert system.stdout == raw.stdout and re.search(r'prefill \d+ tokens', system.stderr)[0] in raw.stderr
    assert 'none: prompts are completed as they are' in s.ok('show', 'm') and s.ok('show', 'm', '--template') == '{{ .Prompt }}\n'
    assert 'TEMPLATE' not in s.ok('show', 'm', '--modelfile')
