"""Token ids where special tokens swallow the white space behind them ("rstrip": true in
the tokenizer.json of Phi-3), by the `tokenizers` package.

    make_phi3_vectors.py > phi3_tokens.json

The vocabulary is that of tests/unit/test_known_tokens.c: <unk> <s> </s>, the bytes, then
the tokens below."""
import json

from tokenizers import AddedToken, Tokenizer, models, normalizers

STRIP = ['<|assistant|>', '<|placeholder1|>', '<|end|>', '<|user|>']
REST = ['<|endoftext|>', *STRIP, '▁', '▁a', 'a']
TEXTS = [
    '<|user|>\na<|end|>\n<|assistant|>\n', '<|user|> \t\r\n\v\f\xa0\u2003\u3000a', '</s>\na', '<s>\na',
    '<|endoftext|>\na', '<|user|>a', '<|user|>\u200ba', '<|user|>\x1ca', '<|user|>\x85a',
    '<|user|>\u2028\u2029\u202f\u205f\u1680\u2000\u200aa', '<|user|>\u180ea', '<|user|>\ufeffa', '<|user|>\x84a',
    '<|user|>\u3001a', '<|user|>\u200b\na', '<|end|>\n\n<|user|>  <|end|> ', 'a <|user|>a', '<|end|>\n<s>\n</s>\n',
]


def tokenizer():
    names = ['<unk>', '<s>', '</s>', *(f'<0x{b:02X}>' for b in range(256)), *REST]
    vocab = {t: i for i, t in enumerate(names)}
    t = Tokenizer(models.BPE(vocab, [('▁', 'a')], byte_fallback=True, fuse_unk=True, unk_token='<unk>'))
    t.normalizer = normalizers.Sequence([normalizers.Prepend('▁'), normalizers.Replace(' ', '▁')])
    t.add_special_tokens([AddedToken(s, normalized=False) for s in ('<unk>', '<s>', '<|endoftext|>')])
    t.add_special_tokens([AddedToken(s, rstrip=True, normalized=False) for s in STRIP])
    t.add_tokens([AddedToken('</s>', rstrip=True, normalized=False)])
    return t


def main():
    t = tokenizer()
    cases = [{'text': s, 'ids': t.encode(s, add_special_tokens=False).ids} for s in TEXTS]
    print('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]')


main()
