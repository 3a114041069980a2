"""A small vocabulary of Gemma's kind and token ids, both by the `sentencepiece` package.

    make_gemma_vectors.py TEXT tests/data/gemma_vocab.gguf > tests/data/gemma_tokens.json

As in Gemma: no space in front, bytes for what is not in the vocabulary, digits apart, runs
of line ends and of spaces and some tags as user-defined tokens; the file spells the spaces
of those as spaces, as converters do.  TEXT is what the vocabulary is trained on."""
import io
import json
import pathlib
import random
import sys

import sentencepiece

import gguf_meta

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
SPACE = '\u2581'
RUNS = ['\n' * n for n in range(1, 8)] + [SPACE * n for n in range(2, 10)]
TAGS = ['<table>', '</table>', '<td>', '<h1>', '[multimodal]']
TURNS = ['<start_of_turn>', '<end_of_turn>']
TEXTS = [
    '', 'a', ' a', '  a', '   a', 'a ', 'a  ', ' ', '  ', ' ' * 9, ' ' * 10, ' ' * 23, '\n', '\n\n', '\n' * 7, '\n' * 8,
    '\n' * 17, 'a\nb\n\nc\n\n\nd', ' \n \n\n  \n', '\t', '\t\t\ta', 'a\r\nb\r\n\r\nc', 'Prince Andrew went to war.',
    'the  the   the    the', '<table>\n  <td>12</td>\n</table>', '<h1>War</h1>', '<h1', '<table><table>', '[multimodal]x',
    '<start_of_turn>user\nhi<end_of_turn>\n', '<bos><eos><unk><pad>', '<0x41>', '1812', 'x1y22z333 4', 'é', 'ünïcödé',
    '日本語', '😀👨\u200d👩\u200d👧', 'e\u0301', '\u00a0x\u3000y', 'don\'t', '"Well, Prince,"  he said.\n\n"So?"',
    'if x:\n    return [\n        1,  2\n    ]\n', '   three\n    four\n     five', 'zzzzzzzzzzzzzzzz', '....,,,,!!!!',
    '\x00\x01\x7f', 'Genoa and Lucca are now just family estates of the Buonapartes.', '<td> <td>  <td>', '\n  \n   \n',
]


def train(text):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text.split('\n')), model_writer=model, model_type='bpe', vocab_size=900,
        byte_fallback=True, add_dummy_prefix=False, remove_extra_whitespaces=False, normalization_rule_name='identity',
        split_digits=True, allow_whitespace_only_pieces=True, user_defined_symbols=RUNS + TAGS, control_symbols=TURNS,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, num_threads=1, minloglevel=2)
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def kind(sp, i):
    if sp.is_unknown(i):
        return UNKNOWN
    if sp.is_control(i):
        return CONTROL
    if sp.is_byte(i):
        return BYTE
    if sp.is_unused(i):
        return UNUSED
    return USER if sp.id_to_piece(i) in RUNS + TAGS else NORMAL


def image(sp):
    types = [kind(sp, i) for i in range(len(sp))]
    tokens = [sp.id_to_piece(i).replace(SPACE, ' ') if types[i] == USER else sp.id_to_piece(i) for i in range(len(sp))]
    return gguf_meta.image({
        'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.tokens': (8, tokens),
        'tokenizer.ggml.scores': (6, [sp.get_score(i) for i in range(len(sp))]),
        'tokenizer.ggml.token_type': (5, types), 'tokenizer.ggml.bos_token_id': 2, 'tokenizer.ggml.eos_token_id': 1,
        'tokenizer.ggml.unknown_token_id': 3, 'tokenizer.ggml.padding_token_id': 0,
        'tokenizer.ggml.add_space_prefix': False})


def random_texts(n):
    r = random.Random(1)
    parts = ['a', 'the', ' ', '  ', '\n', '\n\n', '   ', 'é', '日', '<td>', '<', '7', 'Prince', '.', '\t', '😀', '</table>']
    return [''.join(r.choices(parts, k=r.randint(1, 24))) for _ in range(n)]


def main():
    sp = train(pathlib.Path(sys.argv[1]).read_text()[:400000])
    pathlib.Path(sys.argv[2]).write_bytes(image(sp))
    cases = [{'text': t, 'ids': sp.encode(t)} for t in TEXTS + random_texts(100)]
    print('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]')


main()
