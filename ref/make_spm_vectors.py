"""Token ids of stories260K's SentencePiece vocabulary by plain greedy merging.

    make_spm_vectors.py stories260K.gguf > stories260K_tokens.json

Each step looks at all neighbours and joins the pair whose text has the highest score (the
leftmost of equals), until none is a token; what is left over is spelled in byte tokens."""
import json
import sys

import gguf_meta

TEXTS = [
    'Once upon a time, there was a little girl named Lily.', 'hello', ' hello', '  two  spaces  ', '\n', 'a\nb\n\nc',
    'She loved to play outside in the park. One day, she saw a big, red ball.', '"Can I play?" asked Tim.',
    'don\'t', '12345', 'UPPER lower MiXeD', 'é ü ñ', '日本語', '😀', 'tab\tand\r\nreturn', '\u2581already\u2581marked',
    'zzzzzzzzzzzzzzzz', 'the the the the', '....,,,,!!!!', 'thethethethe', ' ', '   ', '<unk> <s> </s> <0x41>',
    'x' * 50 + ' ' + 'e' * 51, 'Ben\u00a0said',
]


def encode(text, score, ids, byte_ids):
    symbols = list((' ' + text).replace(' ', '\u2581')) if text else []
    while True:
        best, at = None, -1
        for i in range(len(symbols) - 1):
            s = score.get(symbols[i] + symbols[i + 1])
            if s is not None and (best is None or s > best):
                best, at = s, i
        if at < 0:
            break
        symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
    out = []
    for s in symbols:
        out += [ids[s]] if s in ids else [byte_ids[b] for b in s.encode()]
    return out


def main():
    meta = gguf_meta.read(sys.argv[1])
    tokens = [t.decode() for t in meta['tokenizer.ggml.tokens'][1]]
    types = meta['tokenizer.ggml.token_type'][1]
    scores = meta['tokenizer.ggml.scores'][1]
    normal = [i for i, k in enumerate(types) if k == 1]
    ids = {tokens[i]: i for i in reversed(normal)}
    score = {t: scores[i] for t, i in ids.items()}
    byte_ids = {int(tokens[i][3:5], 16): i for i, k in enumerate(types) if k == 6}
    cases = [{'text': t, 'ids': encode(t, score, ids, byte_ids)} for t in TEXTS]
    print('[\n' + ',\n'.join(json.dumps(c, separators=(',', ':')) for c in cases) + '\n]')


main()
