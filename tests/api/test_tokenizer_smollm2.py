"""SmolLM2's vocabulary against ids computed by the `tokenizers` package
(ref/make_smollm2_vectors.py).  tests/unit/test_tokenizer_vectors.c runs all of them; here
a sample goes through the command."""
import concurrent.futures
import json
import os
import pathlib

import pytest

from tokenize_helper import run, token_ids

ROOT = pathlib.Path(__file__).resolve().parents[2]
VOCAB = ROOT / 'tests/data/smollm2_vocab.gguf'
CASES = json.loads((ROOT / 'tests/data/smollm2_tokens.json').read_text())


def check(model, cases):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        got = list(pool.map(lambda c: token_ids(model, c['text'].encode()), cases))
    wrong = [(c['text'], c['ids'], ids) for c, ids in zip(cases, got) if c['ids'] != ids]
    assert not wrong, f'{len(wrong)} of {len(cases)} differ, first: {wrong[0]}'


def test_vocabulary():
    assert len(CASES) == 200
    check(VOCAB, CASES[::10])


def test_whole_model():
    cache = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache')
    model = pathlib.Path(os.environ.get('TURBINE_TEST_MODEL') or
                         cache / 'turbine/models/smollm2-135m-instruct-q4_1.gguf')
    if not model.exists():
        pytest.skip(f'{model} is not there (TURBINE_TEST_MODEL names another place)')
    check(model, CASES[40:50])


def test_special():
    text = b'<|im_start|>user\nHi<|im_end|>'
    assert token_ids(VOCAB, text, '--special') == [1, 4093, 198, 26843, 2]
    assert 1 not in token_ids(VOCAB, text)


def test_invalid_utf8():
    """No byte token stands for 0xff in this vocabulary: it is read as U+FFFD."""
    assert token_ids(VOCAB, b'a\xffb') == token_ids(VOCAB, 'a\ufffdb'.encode())


def test_errors():
    done = run('/nonexistent.gguf', b'x')
    assert done.returncode == 1 and done.stderr.startswith(b'turbine tokenize: ')
