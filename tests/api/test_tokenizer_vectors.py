"""Token ids of the vectors that come with the vocabularies of well-known models: .inp has
texts separated by a line, .out one line of ids for each, without added specials."""
import pathlib
import subprocess

import pytest

from tokenize_helper import token_ids

ROOT = pathlib.Path(__file__).resolve().parents[2]
VECTORS = ROOT.parent / 'shared' / 'data' / 'tokenizers'
NAMES = ['deepseek-llm', 'gpt-2', 'llama-bpe', 'llama-spm', 'phi-3', 'qwen2', 'starcoder']


@pytest.mark.parametrize('name', NAMES)
def test_vectors(name):
    model = VECTORS / f'ggml-vocab-{name}.gguf'
    if not model.exists():
        pytest.skip(f'{model} is not there')
    texts = pathlib.Path(f'{model}.inp').read_bytes().split(b'\n__ggml_vocab_test__\n')
    lines = pathlib.Path(f'{model}.out').read_text().split('\n')
    assert len(texts) == 47
    want = [[int(i) for i in line.split()] for line in lines[:len(texts)]]
    got = [token_ids(model, text) for text in texts]
    wrong = [(t, w, g) for t, w, g in zip(texts, want, got) if w != g]
    assert not wrong, f'{len(wrong)} of {len(texts)} differ, first: {wrong[0]}'
