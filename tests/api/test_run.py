"""`turbine run`: answers, statistics, errors, memory, and the chat on a terminal.

stories260K is a small trained model (llama2.c); the start of its greedy text is known from
other implementations.  What needs a chat template runs with the default model of
script/model and is skipped without it."""
import os
import pathlib
import re
import subprocess
import sys
import time

import pytest

from terminal_helper import Terminal

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
STORIES = ROOT / 'tests/data/stories260K.gguf'
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
SMOLLM2 = pathlib.Path(os.environ.get('TURBINE_TEST_MODEL') or
                       CACHE / 'turbine/models/smollm2-135m-instruct-q4_1.gguf')
LILY = ('Once upon a time, there was a little girl named Lily. She loved to play outside '
        'in the park. One day, she saw a big, red ball.')
STATS = re.compile(
    r'prefill (?P<read>\d+) tokens \((?P<cached>\d+) cached\) in [\d.]+ s, [\d.]+ tokens/s; '
    r'decode (?P<decoded>\d+) tokens in [\d.]+ s, [\d.]+ tokens/s(?P<end>[^;]*); '
    r'kv (?P<kv>\S+) (?P<pages>[\d.]+) MiB \+ (?P<exact>[\d.]+) MiB exact for (?P<ctx>\d+) tokens')
SANITIZED = '/san-' in TURBINE

needs_smollm2 = pytest.mark.skipif(
    not SMOLLM2.exists(), reason=f'{SMOLLM2} is not there: script/model fetches it')


def run(*args, stdin=b'', **options):
    return subprocess.run([TURBINE, 'run', *map(str, args)], input=stdin,
                          capture_output=True, timeout=120, **options)


def story(*args, prompt='Once upon a time', **options):
    done = run(STORIES, prompt, '--raw', '--kv', 'f16', *args, **options)
    assert done.returncode == 0, done.stderr.decode()
    stats = STATS.search(done.stderr.decode())
    assert stats, done.stderr.decode()
    return done.stdout.decode(), stats.groupdict()


# ---- one answer ----

def test_greedy_text():
    text, stats = story('--temp', 0, '--max-tokens', 50)
    assert ('Once upon a time' + text).startswith(LILY)
    assert stats['decoded'] == '50' and stats['end'] == ', stopped by --max-tokens'
    # A bos and "Once upon a time" make 6 or 5 tokens; 512 is the context of the file.
    assert stats['read'] in ('5', '6') and stats['cached'] == '0' and stats['ctx'] == '512'
    assert stats['kv'] == 'f16'


def test_cache_bytes():
    # 5 layers, 4 kv heads, keys and values of 8: 640 bytes a token as f16.
    assert story('--max-tokens', 1, '--ctx', 512)[1]['pages'] == f'{512 * 640 / 2**20:.1f}'


def test_prompt_on_stdin():
    text, _ = story('--temp', 0, '--max-tokens', 20, prompt='-', stdin=b'Once upon a time')
    assert text == story('--temp', 0, '--max-tokens', 20)[0]


def test_seed():
    args = ('--temp', 1, '--max-tokens', 60)
    text = story(*args, '--seed', 7)[0]
    assert text == story(*args, '--seed', 7)[0]
    assert text == story(*args, '--seed', 7, '--threads', 1)[0]
    assert len({story(*args, '--seed', s)[0] for s in range(5)}) > 1


def test_context_is_full():
    _, stats = story('--ctx', 16)
    assert stats['end'] == ', stopped because the context is full'
    # The last token is answered, not read.
    assert int(stats['read']) + int(stats['decoded']) in (16, 17)


def test_streams(tmp_path):
    """The first words come long before the last."""
    with subprocess.Popen(
            [TURBINE, 'run', STORIES, 'Once', '--raw', '--kv', 'f16', '--threads', '1'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0) as p:
        chunks = list(iter(lambda: p.stdout.read(65536), b''))
    assert p.returncode == 0 and len(chunks) > 3


def test_leaves_nothing(tmp_path):
    places = {name: tmp_path / name for name in ('HOME', 'TMPDIR', 'XDG_CACHE_HOME', 'cwd')}
    for place in places.values():
        place.mkdir()
    env = os.environ | {name: str(path) for name, path in places.items()}
    story('--max-tokens', 5, env=env, cwd=places['cwd'])
    assert run('missing.gguf', 'x', env=env, cwd=places['cwd']).returncode == 1
    assert [p for p in tmp_path.rglob('*') if p not in places.values()] == []


# ---- errors ----

@pytest.mark.parametrize('args', [
    (), ('--raw',), (STORIES, '--raw'), (STORIES, 'x', '--nonsense'),
    (STORIES, 'x', '--ctx', '0'), (STORIES, 'x', '--ctx', '1.5'), (STORIES, 'x', '--ctx'),
    (STORIES, 'x', '--temp', 'warm'), (STORIES, 'x', '--temp', '-1'),
    (STORIES, 'x', '--top-p', '2'), (STORIES, 'x', '--raw=1'), (STORIES, 'x', '--cpu', 'z80'),
])
def test_bad_usage(args):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == b'' and done.stderr.startswith(b'turbine run: ')
    assert done.stderr.count(b'\n') == 1


def fails(*args, says, **options):
    done = run(*args, **options)
    lines = [s for s in done.stderr.decode().splitlines() if ': note: ' not in s]
    assert done.returncode == 1, done
    assert len(lines) == 1 and lines[0].startswith('turbine run: ')
    for words in says:
        assert words in lines[0]


def test_missing_file(tmp_path):
    fails(tmp_path / 'no.gguf', 'x', says=['no.gguf', 'No such file'])


def test_not_a_gguf(tmp_path):
    for n, content in enumerate([b'', b'GG', b'This is not a model at all.', b'GGUF']):
        path = tmp_path / f'{n}.gguf'
        path.write_bytes(content)
        fails(path, 'x', says=[f'{n}.gguf'])
    fails(tmp_path, 'x', says=[str(tmp_path)])


def test_truncated_model(tmp_path):
    path = tmp_path / 'cut.gguf'
    path.write_bytes(STORIES.read_bytes()[:-5000])
    fails(path, 'x', '--raw', says=['cut.gguf'])


def test_unknown_kv_type():
    fails(STORIES, 'x', '--kv', 'turbo5', says=["'turbo5'", 'f16', 'turbo8', 'turbo4', 'balanced'])
    fails(STORIES, 'x', '--kv', 'f16/q9', says=["'q9'", 'turbo3'])


def test_head_size_of_kv_type():
    fails(STORIES, 'x', '--raw', '--kv', 'turbo4', says=['head size 8', '--kv f16'])


def test_no_template():
    fails(STORIES, 'x', '--kv', 'f16', says=['no chat template', '--raw'])
    fails(STORIES, '--kv', 'f16', says=['no chat template'])
    # It is looked for first: this context would not fit, and turbo4 needs larger heads.
    fails(STORIES, 'x', '--ctx', 1 << 24, says=['no chat template'])


def test_prompt_does_not_fit():
    fails(STORIES, 'Once upon a time there was a cat', '--raw', '--kv', 'f16', '--ctx', '4',
          says=['--ctx'])
    fails(STORIES, '', '--raw', '--kv', 'f16', says=['empty'])


# ---- the default model ----

@needs_smollm2
def test_context_larger_than_memory():
    fails(SMOLLM2, 'x', '--kv', 'f32', '--ctx', 16777216, says=['MiB', '--ctx'])


@needs_smollm2
@pytest.mark.skipif(SANITIZED, reason='sanitizers use more memory')
def test_resident_memory():
    # A process begins as a copy of the one that starts it, and its peak counts that: a small one does.
    start = ('import resource, subprocess, sys\n'
             'code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode\n'
             'print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\nsys.exit(code)')
    done = subprocess.run([sys.executable, '-c', start, TURBINE, 'run', SMOLLM2, 'Hi', '--ctx', '8192', '--max-tokens', '4'],
                          capture_output=True, text=True, timeout=300)
    text = done.stderr
    assert done.returncode == 0, text
    stats = STATS.search(text)
    cache = (float(stats['pages']) + float(stats['exact'])) * 2**20
    # 30 layers, 3 kv heads, keys and values of 64 as turbo4: 34 bytes a row.
    assert stats['pages'] == f'{8192 * 30 * 3 * 2 * 34 / 2**20:.1f}'
    assert int(done.stdout) * 1024 <= SMOLLM2.stat().st_size + cache + 150e6


@needs_smollm2
def test_ctrl_d_during_an_answer():
    """It comes to the line editor as NUL, which must not turn the next Ctrl-D into text."""
    with Terminal('run', SMOLLM2, '--temp', '0', '--ctx', '512', '--max-tokens', '40') as t:
        t.wait('>>> ')
        t.send('Write a story about a dragon.\r')
        t.wait(r'dragon\.\r?\n(?s:.){20}')
        t.send('\x04')
        t.wait('prefill .* exact for 512 tokens')
        t.wait('>>> ')
        assert t.leave(20) == 0


@needs_smollm2
def test_chat_on_a_terminal():
    with Terminal('run', SMOLLM2, '--temp', '0', '--ctx', '2048', '--kv', 'turbo4') as t:
        t.wait('/\\? lists the commands')
        t.wait('>>> ')
        t.send('/help\r')
        t.wait('/clear')
        t.wait('>>> ')
        t.send('What is the capital of France? Answer with its name.\r')
        assert STATS.search(t.wait('prefill .* exact for 2048 tokens').group())['cached'] == '0'
        t.wait('>>> ')
        t.send('/kv\r')
        t.wait(r'kv type +turbo4')
        t.wait(r'context +\d+ of 2048')
        t.wait('>>> ')
        # The second turn starts from what the cache holds.
        t.send('And the capital of Italy?\r')
        stats = STATS.search(t.wait('prefill .* exact for 2048 tokens').group())
        assert int(stats['cached']) > 0
        t.wait('>>> ')
        # Ctrl-C stops an answer, and at the prompt only the line.
        t.send('Write a very long story about a dragon.\r')
        t.wait(r'dragon\.\r?\n(?s:.){60}')
        t.send('\x03')
        t.wait('interrupted')
        t.wait('>>> ')
        t.send('half a line')
        t.wait('half a line')
        time.sleep(0.3)  # until it reads again
        t.send('\x03')
        t.wait('/bye leaves')
        t.wait('>>> ')
        t.send('/nonsense\r')
        t.wait("Unknown command '/nonsense'")
        t.wait('>>> ')
        t.send('/clear\r')
        t.wait('>>> ')
        t.send('Say hello.\r')
        assert STATS.search(t.wait('prefill .* exact for 2048 tokens').group())
        t.wait('>>> ')
        assert t.leave() == 0


@needs_smollm2
def test_prompt_from_a_pipe():
    """All of it is one prompt, and what stands in front of PROMPT, as Ollama has it."""
    args = '--temp', 0, '--max-tokens', 8, '--ctx', 1024
    def answer(*prompt, stdin=b''):
        done = run(SMOLLM2, *prompt, *args, stdin=stdin)
        assert done.returncode == 0, done.stderr.decode()
        assert len(STATS.findall(done.stderr.decode())) == 1
        return done.stdout, STATS.search(done.stderr.decode())['read']
    text = b'Name a colour.\nAnd /bye another.\n'
    assert answer(stdin=text) == answer(text.decode()) == answer('-', stdin=text)
    assert answer('Briefly.', stdin=text) == answer(text.decode() + ' Briefly.')
    fails(SMOLLM2, stdin=b'', says=['the prompt is empty'])


@needs_smollm2
def test_system_message():
    """It is in the prompt: a longer one makes more tokens."""
    def tokens(system):
        done = run(SMOLLM2, 'Hi', '--system', system, '--max-tokens', 1, '--ctx', 512)
        assert done.returncode == 0, done.stderr.decode()
        return int(STATS.search(done.stderr.decode())['read'])
    # " one", " two" ... are single tokens of the vocabulary.
    assert tokens('zero one two three four five six seven eight nine ten') - tokens('zero') == 10
