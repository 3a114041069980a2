"""`turbine run` on small models made here: damaged numbers, hostile names and sizes, and
models that say exactly what they are told to say."""
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / 'ref'))
import gguf_write  # noqa: E402
from terminal_helper import Terminal  # noqa: E402

TURBINE = str(pathlib.Path(os.environ.get('TURBINE', ROOT / 'build/turbine')).resolve())
I32, F32, STR = 5, 6, 8
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
BYTE0 = 3  # id of <0x00>
VOCAB = [('<unk>', UNKNOWN), ('<s>', CONTROL), ('</s>', CONTROL)] + \
    [(f'<0x{b:02X}>', BYTE) for b in range(256)] + [('\u2581', NORMAL)]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def model(path, *, n_embd=32, n_head=2, n_kv=1, d=64, dv=64, n_ctx=512, meta=None, tensors=None, drop=()):
    rng = np.random.default_rng(1)

    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols)) / np.sqrt(cols)).astype('f4')

    kv = {
        'general.architecture': 'llama', 'llama.block_count': 1, 'llama.embedding_length': n_embd,
        'llama.feed_forward_length': 32, 'llama.context_length': n_ctx,
        'llama.attention.head_count': n_head, 'llama.attention.head_count_kv': n_kv,
        'llama.attention.key_length': d, 'llama.attention.value_length': dv,
        'llama.attention.layer_norm_rms_epsilon': 1e-5, 'tokenizer.ggml.model': 'llama',
        'tokenizer.ggml.tokens': (STR, [t for t, _ in VOCAB]),
        'tokenizer.ggml.scores': (F32, [0.0] * len(VOCAB)),
        'tokenizer.ggml.token_type': (I32, [k for _, k in VOCAB]),
        'tokenizer.ggml.bos_token_id': 1, 'tokenizer.ggml.eos_token_id': 2,
        'tokenizer.ggml.add_space_prefix': False, 'tokenizer.chat_template': TEMPLATE,
    } | (meta or {})
    weights = {
        'token_embd.weight': matrix(len(VOCAB), n_embd), 'output.weight': matrix(len(VOCAB), n_embd),
        'output_norm.weight': np.ones(n_embd, 'f4'), 'blk.0.attn_norm.weight': np.ones(n_embd, 'f4'),
        'blk.0.ffn_norm.weight': np.ones(n_embd, 'f4'), 'blk.0.attn_q.weight': matrix(n_head * d, n_embd),
        'blk.0.attn_k.weight': matrix(n_kv * d, n_embd), 'blk.0.attn_v.weight': matrix(n_kv * dv, n_embd),
        'blk.0.attn_output.weight': matrix(n_embd, n_head * dv), 'blk.0.ffn_gate.weight': matrix(32, n_embd),
        'blk.0.ffn_up.weight': matrix(32, n_embd), 'blk.0.ffn_down.weight': matrix(n_embd, 32),
    } | (tensors or {})
    gguf_write.write(path, {k: v for k, v in kv.items() if k not in drop},
                     {k: v for k, v in weights.items() if k not in drop})
    return path


def speaker(path, text, **options):
    """A model that answers "A" with these bytes, all different, and then ends."""
    n = len(VOCAB)
    after = [ord('A') + BYTE0, *(b + BYTE0 for b in text), 2]
    output = np.zeros((n, n), 'f4')
    for token, following in zip(after, after[1:]):
        output[following, token] = 10
    zero = {f'blk.0.{name}.weight': np.zeros(shape, 'f4') for name, shape in
            {'attn_output': (n, 128), 'ffn_down': (n, 32)}.items()}
    return model(path, n_embd=n, tensors={'token_embd.weight': np.eye(n, dtype='f4'), 'output.weight': output} | zero,
                 **options)


def run(path, *args, **options):
    return subprocess.run([TURBINE, 'run', str(path), *map(str, args)], capture_output=True, timeout=60, **options)


def one_line_error(done, *says):
    text = done.stderr.decode()
    assert done.returncode == 1 and text.startswith('turbine run: '), done
    assert len(text.splitlines()) == 1 and all(' ' <= c for c in text[:-1]), text
    for words in says:
        assert words in text


# ---- numbers ----

@pytest.mark.parametrize('kv', ['f32', 'f16', 'turbo4', 'turbo8/f16'])
@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('tensor', ['token_embd', 'blk.0.attn_k', 'blk.0.attn_v', 'blk.0.ffn_down', 'output'])
def test_not_finite(tmp_path, tensor, value, kv):
    shape = {'token_embd': (260, 32), 'output': (260, 32), 'blk.0.ffn_down': (32, 32)}.get(tensor, (64, 32))
    bad = np.ones(shape, 'f4')
    bad[:, 0] = value
    path = model(tmp_path / 'm.gguf', tensors={tensor + '.weight': bad})
    done = run(path, 'abc', '--raw', '--kv', kv)
    assert done.stdout == b''
    one_line_error(done, 'not finite')


def test_not_finite_before_the_last_step(tmp_path):
    """The first token is damaged, and the step that has it says so."""
    embd = np.random.default_rng(2).standard_normal((len(VOCAB), 32)).astype('f4')
    embd[ord('Z') + BYTE0] = np.nan
    path = model(tmp_path / 'm.gguf', n_ctx=2048, tensors={'token_embd.weight': embd})
    done = run(path, 'Z' + 'ab' * 500, '--raw')
    one_line_error(done, 'not finite', '0 to 511')
    assert run(path, 'ab', '--raw', '--max-tokens', 1).returncode == 0


# ---- block types ----

def retype(path, name, dtype):
    """Give a matrix another type id; its bytes stay, and are more than it needs."""
    image = bytearray(path.read_bytes())
    at = image.index(name.encode()) + len(name) + 4 + 2 * 8
    image[at:at + 4] = dtype.to_bytes(4, 'little')
    path.write_bytes(image)


@pytest.mark.parametrize('dtype, says', [
    (16, 'blk.0.attn_q.weight: block type IQ2_XXS is not supported by this build'),
    (29, 'block type IQ1_M'), (18, 'block type IQ3_XXS'), (24, 'block type I8'),
    (44, "tensor 'blk.0.attn_q.weight': type id 44 (TURBO4_0) is a cache type"),
    (141, 'type id 141 (IQ6_K) is private to the ik_llama.cpp fork')])
def test_refused_block_types(tmp_path, dtype, says):
    path = model(tmp_path / 'm.gguf', n_embd=256)
    retype(path, 'blk.0.attn_q.weight', dtype)
    one_line_error(run(path, 'abc', '--raw'), says)


def test_largest_mxfp4_scale(tmp_path):
    """Exponent 255 is no number in the standard and here 2^128: an error, no token."""
    path = model(tmp_path / 'm.gguf', n_embd=256, tensors={
        'blk.0.attn_q.weight': np.frombuffer(b'\xff' * (128 * 256 * 4), 'f4').reshape(128, 256)})
    retype(path, 'blk.0.attn_q.weight', 39)
    one_line_error(run(path, 'abc', '--raw'), 'not finite')


# ---- names and sizes ----

@pytest.mark.parametrize('change, says', [
    ({'meta': {'general.architecture': 'gp\nt\x1b[31m'}}, ["architecture 'gp t?[31m'", 'llama']),
    ({'meta': {'general.architecture': 'nova'}, 'tensors': {'blk.0.ssm_a': np.ones(4, 'f4')}},
     ["'nova'", 'attention, recurrent layers, dense layers', 'gemma3', 'qwen3next']),
    ({'tensors': {'blk.0.e\nvil\x1b[2J': np.ones(4, 'f4')}}, ['blk.0.e vil?[2J']),
    ({'tensors': {'blk.0.attn_q.bias.x': np.ones(4, 'f4')}}, ['blk.0.attn_q.bias.x']),
    ({'drop': ['blk.0.ffn_up.weight']}, ['blk.0.ffn_up.weight is missing']),
    ({'tensors': {'blk.0.ffn_up.weight': np.ones((32, 31), 'f4')}}, ['blk.0.ffn_up.weight', '[32][32]', '[32][31]']),
    ({'tensors': {'output_norm.weight': np.full(32, np.nan, 'f4')}}, ['output_norm.weight', 'not finite']),
    ({'n_embd': 2, 'n_head': 4, 'drop': ['llama.attention.value_length']}, ['value_length', 'missing']),
    ({'d': 640, 'dv': 640, 'meta': {}}, ['head size 640', 'at most 576']),
    ({'n_head': 3, 'n_kv': 2}, ['head_count']),
    ({'meta': {'llama.rope.scaling.type': 'yarn', 'llama.rope.scaling.yarn_ext_factor': 0.5}},
     ['llama.rope.scaling.yarn_ext_factor', '0.5']),
    ({'meta': {'llama.rope.dimension_count': 3}}, ['llama.rope.dimension_count']),
    ({'meta': {'llama.block_count': 1 << 30}}, ['llama.block_count']),
    ({'meta': {'tokenizer.chat_template': '{% for i in range(10**9) %}{% endfor %}'}}, []),
    ({'meta': {'tokenizer.chat_template': '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}'}}, []),
])
def test_refused(tmp_path, change, says):
    one_line_error(run(model(tmp_path / 'm.gguf', **change), 'abc', '--max-tokens', 2), *says)


@pytest.mark.parametrize('shape', [
    {'n_head': 1024, 'n_kv': 1, 'n_embd': 8}, {'n_head': 256, 'n_kv': 256, 'n_embd': 8},
    {'n_head': 3, 'n_kv': 3, 'd': 80, 'dv': 112, 'n_embd': 17}, {'n_ctx': 65},
])
def test_odd_shapes_are_repeatable(tmp_path, shape):
    """Also that a model stays what it is whatever the threads."""
    path = model(tmp_path / 'm.gguf', tensors={
        'blk.0.ffn_gate.weight': np.ones((32, shape.get('n_embd', 32)), 'f4')}, **shape)
    done = [run(path, 'ab' * 30, '--raw', '--temp', 0, '--max-tokens', 20, '--kv', 'turbo4/turbo3', '--threads', n)
            for n in (1, 2, 3)]
    assert {d.returncode for d in done} == {0}, done[0].stderr
    assert len({d.stdout for d in done}) == 1


@pytest.mark.skipif('san' in TURBINE, reason='sanitizers reserve the address space')
def test_no_memory(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))

    path = model(tmp_path / 'm.gguf')
    one_line_error(run(path, 'x', '--ctx', 1 << 24, '--kv', 'f32', preexec_fn=limit), 'MiB', '--ctx')


# ---- text ----

@pytest.mark.parametrize('said', [
    'plain', '\u00e9\u65e5\U0001f40b', b'\xf0\x9fx', b'\xe2\x82', b'\xc3(', b'\xed\xa0\x80', b'\x80y\xff', b'\xf4\x90z',
])
def test_answer_is_utf8(tmp_path, said):
    """Source of the right text: Python's decoder, which follows the same rule of Unicode."""
    said = said.encode() if isinstance(said, str) else said
    assert len(set(said)) == len(said)
    done = run(speaker(tmp_path / 'm.gguf', said), 'A', '--temp', 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == said.decode(errors='replace') + '\n'


def test_cut_character_stays_in_the_chat(tmp_path):
    """A part of a character at the end of an answer does not spoil the conversation."""
    path = speaker(tmp_path / 'm.gguf', '\U0001f40b'.encode())
    with Terminal('run', path, '--temp', 0, '--max-tokens', 2) as t:
        t.wait('>>> ')
        first, second = (t.say('A', r'(\S+)\s+prefill (\d+) tokens \((\d+) cached\)') for _ in range(2))
    assert first[1].endswith('\ufffd') and second[1].endswith('\ufffd')
    # A bos, "A", the three bytes of U+FFFD, "A".
    assert (second[2], second[3]) in [('4', '2'), ('5', '1')]


def test_one_bos(tmp_path):
    def n_prompt(template, prompt):
        path = speaker(tmp_path / 'm.gguf', b'x', meta={'tokenizer.chat_template': template})
        return int(re.search(rb'prefill (\d+) ', run(path, prompt, '--max-tokens', 1).stderr)[1])
    assert n_prompt(TEMPLATE, 'A') == 2
    assert n_prompt('{{ bos_token }}' + TEMPLATE, 'A') == 2
    # What a user types is not a bos.
    assert n_prompt(TEMPLATE, '<s>A') == 5


def test_rates_count_what_was_computed(tmp_path):
    """The first token of an answer costs no pass."""
    done = run(speaker(tmp_path / 'm.gguf', b'xyz'), 'A', '--max-tokens', 1)
    assert re.search(rb'decode 1 tokens in [0-9.]+ s, 0\.0 tokens/s', done.stderr), done.stderr


# ---- streams ----

def test_stdout_that_takes_nothing(tmp_path):
    path = speaker(tmp_path / 'm.gguf', b'xyz')
    with open('/dev/full', 'wb') as full:
        for args, text in ((('A',), b''), ((), b'A\nA\n')):
            done = subprocess.run([TURBINE, 'run', path, *args], input=text, stdout=full, stderr=subprocess.PIPE,
                                  timeout=60)
            one_line_error(done, 'cannot write')
        done = subprocess.run([TURBINE, '--help'], stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 1 and done.stderr


def test_endless_prompt(tmp_path):
    with open('/dev/zero', 'rb') as zero:
        one_line_error(run(speaker(tmp_path / 'm.gguf', b'x'), '-', stdin=zero), '64 MiB')


def test_prompt_that_cannot_be_read(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    one_line_error(run(speaker(tmp_path / 'm.gguf', b'x'), '-', stdin=here), 'standard input')
    os.close(here)


def test_prompt_of_bytes(tmp_path):
    """Standard input that is no terminal is one prompt."""
    path = speaker(tmp_path / 'm.gguf', b'x')
    done = run(path, '--temp', 0, input=b'\xff\nA\n')
    assert done.returncode == 1 and done.stdout == b'' and b'UTF-8' in done.stderr
    # A zero byte is text like any other: a bos, "B", zero, "A".
    done = run(path, '--temp', 0, input=b'B\0A')
    assert done.stdout == b'x\n' and b'prefill 4 tokens' in done.stderr
    done = run(path, '--temp', 0, input=b'y' * (17 << 20) + b'\nA\n')
    assert done.returncode == 1 and done.stdout == b'' and b'16777216 bytes' in done.stderr


@pytest.mark.parametrize('locale', ['C', 'C.UTF-8'])
def test_typed_characters(tmp_path, locale):
    with Terminal('run', speaker(tmp_path / 'm.gguf', b'x'), env={**os.environ, 'LC_ALL': locale}) as t:
        t.wait('>>> ')
        t.send('/\u00e9\u65e5\r')
        t.wait("Unknown command '/\u00e9\u65e5'")
        # Ctrl-C gives up a message of several lines, and comes through at once.
        t.wait('>>> ')
        t.send('"""one\r')
        t.wait(r'\.\.\. ')
        t.send('two\x03')
        t.wait('leave')
        t.wait('>>> ')
        assert t.leave() == 0


def test_interrupted_answer(tmp_path):
    """Ctrl-C while the prompt is read: the numbers are of what was read, and the program
    ends as one that was interrupted."""
    path = model(tmp_path / 'm.gguf', n_ctx=1 << 19, n_head=64, n_kv=64)
    with subprocess.Popen([TURBINE, 'run', path, '-', '--raw', '--ctx', '200000', '--kv', 'turbo2'],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as p:
        p.stdin.write(b'ab' * 80000)
        p.stdin.close()
        p.stdin = None
        time.sleep(1)
        p.send_signal(signal.SIGINT)
        _, text = p.communicate(timeout=60)
    assert p.returncode == -signal.SIGINT
    if text:  # else it was still loading
        assert int(re.search(rb'prefill (\d+) ', text)[1]) < 160000 and b'interrupted' in text
