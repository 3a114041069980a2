"""Token ids of the vectors that come with the vocabularies of well-known models: .inp has
texts separated by a line, .out one line of ids for each, without added specials.  Here a
sample goes through the command; tests/unit/test_tokenizer_vectors.c runs all."""
import pathlib
import sys

import pytest

from tokenize_helper import token_ids

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / 'ref'))
import gguf_meta  # noqa: E402

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


def test_phi3_template_leaves_no_line_ends():
    """The special tokens of Phi-3 take the line ends behind them, which its template writes."""
    model = VECTORS / 'ggml-vocab-phi-3.gguf'
    if not model.exists():
        pytest.skip(f'{model} is not there')
    vocab = [t.decode(errors='replace')
             for t in gguf_meta.read(model)['tokenizer.ggml.tokens'][1]]
    ids = token_ids(model, b'<|user|>\nhi<|end|>\n<|assistant|>\n', '--special')
    assert [vocab[i] for i in ids] == ['<s>', '<|user|>', '\u2581hi', '<|end|>', '<|assistant|>']
    assert '<0x0A>' in [vocab[i] for i in token_ids(model, b'<|user|>\nhi')]
