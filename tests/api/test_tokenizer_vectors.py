"""Token ids of the vectors that come with the vocabularies of well-known models: .inp has
texts separated by a line, .out one line of ids for each, without added specials.  Here a
sample goes through the command; tests/unit/test_tokenizer_vectors.c runs all."""
import pathlib

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
    sample = [20, 32, 46]
    got = [token_ids(model, texts[i]) for i in sample]
    assert got == [want[i] for i in sample]
