"""Gemma 3 270M against llama.cpp (tests/data/gemma3_270m.json, ref/make_gemma3_vectors.py).

Skipped unless TURBINE_TEST_GEMMA3 names the file or `script/model gemma3-270m` has fetched
it.  It is a base model without a chat template, so the template's test puts Gemma's into a
copy: what is compared is the way from a chat to tokens, not the sense of the answer."""
import concurrent.futures
import json
import os
import pathlib
import re
import struct
import subprocess

import pytest

from tokenize_helper import TURBINE, token_ids

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
MODEL = pathlib.Path(os.environ.get('TURBINE_TEST_GEMMA3') or CACHE / 'turbine/models/gemma-3-270m-q4_k_m.gguf')
VECTORS = json.loads((ROOT / 'tests/data/gemma3_270m.json').read_text())
QUESTION = 'What is the capital of France?'
TEMPLATE = ("{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
            '{{ m.content | trim }}<end_of_turn>\n{% endfor %}'
            '{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}')
PROMPT = f'<start_of_turn>user\n{QUESTION}<end_of_turn>\n<start_of_turn>model\n'

pytestmark = pytest.mark.skipif(not MODEL.exists(), reason=f'{MODEL} is not there (script/model gemma3-270m)')


def turbine(*args, **kwargs):
    done = subprocess.run([TURBINE, *map(str, args)], capture_output=True, timeout=300, **kwargs)
    assert done.returncode == 0, done.stderr.decode()
    return done


def with_template(path):
    """A copy of the model with one more key.  Its bytes are a multiple of the alignment, so
    that everything behind it stays as it is."""
    key = b'tokenizer.chat_template'
    entry = lambda text: struct.pack('<Q', len(key)) + key + struct.pack('<IQ', 8, len(text)) + text
    text = TEMPLATE.encode()
    text = b'{#' + b' ' * ((-len(entry(text)) - 4) % 32) + b'#}' + text
    data = MODEL.read_bytes()
    magic, version, n_tensor, n_key = struct.unpack_from('<4sIQQ', data)
    with open(path, 'wb') as f:
        f.write(struct.pack('<4sIQQ', magic, version, n_tensor, n_key + 1) + entry(text))
        f.write(memoryview(data)[24:])
    return path


def test_inspect():
    info = json.loads(turbine('inspect', MODEL, '--json').stdout)
    types = {t['dtype'] for t in info['tensors']}
    assert types == {'F32', 'Q4_K', 'Q5_0', 'Q6_K', 'Q8_0'}


def test_tokens():
    texts = [case['text'] for case in json.loads((ROOT / 'tests/data/smollm2_tokens.json').read_text())]
    cases = list(zip(texts, VECTORS['tokens'], strict=True))[::8]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda case: token_ids(MODEL, case[0].encode()), cases))
    assert [ids for _, ids in cases] == got


@pytest.mark.parametrize('case', VECTORS['continuations'], ids=lambda case: repr(case['prompt'][:20]))
@pytest.mark.parametrize('kv', ['f16', 'turbo4'])
def test_greedy(case, kv):
    """Short prompts: with any type these tokens are still exact."""
    done = turbine('run', MODEL, case['prompt'], '--raw', '--temp', 0, '--max-tokens', case['n'], '--kv', kv)
    assert done.stdout.decode() == case['answer'] + '\n'


def test_template(tmp_path):
    expected = next(case for case in VECTORS['continuations'] if case['prompt'] == PROMPT)
    model = with_template(tmp_path / 'chat.gguf')
    done = turbine('run', model, QUESTION, '--temp', 0, '--max-tokens', expected['n'])
    assert done.stdout.decode() == expected['answer'] + '\n'
    # A control token that a user types is text, of more tokens than one.
    read = [int(re.search(rb'prefill (\d+) tokens', turbine('run', model, q, '--max-tokens', 1).stderr)[1])
            for q in ('Hi', 'Hi<end_of_turn>')]
    assert read[1] > read[0] + 1
    chat = turbine('run', model, '--temp', 0, '--max-tokens', 4, input='Hi\nÜber Ägypten? 🦙\n'.encode())
    reused = [int(n) for n in re.findall(rb'\((\d+) cached\)', chat.stderr)]
    assert len(reused) == 2 and reused[1] >= read[0] - 3  # all but the header of the answer


def test_no_template(tmp_path):
    done = subprocess.run([TURBINE, 'run', str(MODEL), QUESTION], capture_output=True, timeout=300,
                          env=os.environ | {'XDG_CACHE_HOME': str(tmp_path)})
    assert done.returncode == 1 and b'no chat template: use --raw' in done.stderr and not done.stdout
    assert not list(tmp_path.rglob('*.cal'))  # it did not read a text first


@pytest.mark.skipif('/san-' in TURBINE, reason='minutes with sanitizers')
def test_perplexity(tmp_path):
    """A passage of twice the window; all predictions are behind its first 512 tokens."""
    v = VECTORS['perplexity']
    text = tmp_path / 'passage.txt'
    text.write_text(v['text'])
    args = '--kv', 'turbo4', '--ctx', v['ctx'], '--windows', 1, '--json'
    out = json.loads(turbine('eval', MODEL, '--text', text, *args).stdout)
    assert out['scored'] == v['scored']
    assert abs(out['reference']['ppl'] / v['ppl'] - 1) <= 0.005
    assert out['caches'][0]['ppl_ratio'] <= 1.02
