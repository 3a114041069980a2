#!/usr/bin/env python3
"""What llama.cpp makes of Gemma 3 270M: token ids, greedy continuations, a perplexity.

    ref/make_gemma3_vectors.py MODEL.gguf TEXT tests/data/gemma3_270m.json

MODEL is what `script/model gemma3-270m` fetches; of TEXT the first CTX tokens count.  Needs
npm and numpy (bench/llamacpp.py).  Flash attention is off: with it llama.cpp's own figures
move by more than the programs differ.  Only continuations are kept whose every token is ahead
of the second by MARGIN: closer ones (up to 0.2 was seen) may change with the order of sums."""
import json
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / 'bench'))
import llamacpp
import llama_perplexity

CTX = 1024  # twice the window
MARGIN = 0.4
N_NEW = 16
TURN = '<start_of_turn>{}\n{}<end_of_turn>\n'
SHOTS = ''.join(TURN.format('user', f'What is the capital of {land}?') + TURN.format('model', f'{city}.')
                for land, city in (('Spain', 'Madrid'), ('Japan', 'Tokyo'), ('Italy', 'Rome')))
PROMPTS = [
    '1, 2, 3, 4, 5,', 'def fibonacci(n):\n', 'one, two, three, four,', 'January, February, March,', '2, 4, 6, 8, 10,',
    'To be, or not to be,', '一、二、三、四、',
    SHOTS + '<start_of_turn>user\nWhat is the capital of France?<end_of_turn>\n<start_of_turn>model\n',
    '<start_of_turn>user\nWhat is the capital of France?<end_of_turn>\n<start_of_turn>model\n',
    '<start_of_turn>user\nCount to ten.<end_of_turn>\n<start_of_turn>model\n',
]


def continuation(llama, prompt, ends):
    """(tokens, least margin): until one of `ends`, which is the last token then, or a close call."""
    ids, new, least = llama.tokenize(prompt, add_special=True, parse_special=True), [], np.inf
    llama.rewind()
    llama.eval(ids, 1)
    row = llama.row(len(ids) - 1)
    while True:
        second, first = np.sort(row)[-2:]
        least = min(least, first - second)
        new.append(int(row.argmax()))
        if len(new) == N_NEW or new[-1] in ends or least < MARGIN:
            return new, float(least)
        llama.eval(new[-1:], 1)
        row = llama.row(0)


def main():
    model, text, out = sys.argv[1:]
    llama = llamacpp.Llama(model, CTX, 1, flash=llamacpp.FLASH_OFF)
    texts = [case['text'] for case in json.loads((ROOT / 'tests/data/smollm2_tokens.json').read_text())]
    tokens = [llama.tokenize(t) for t in texts]

    ends = [llama.tokenize(t, parse_special=True)[0] for t in ('<eos>', '<end_of_turn>')]
    kept = []
    for prompt in PROMPTS:
        new, least = continuation(llama, prompt, ends)
        ended = new[-1] in ends
        answer = llama.detokenize(new[:-1] if ended else new)
        print(f'{"kept   " if least >= MARGIN else "dropped"} {least:.3f} {answer!r}', file=sys.stderr)
        if least >= MARGIN:
            kept.append({'prompt': prompt, 'answer': answer, 'n': len(new) - ended, 'ended': ended})

    ids = llama.tokenize(pathlib.Path(text).read_text(), add_special=True)[:CTX]
    passage = llama.detokenize(ids[1:])
    assert llama.tokenize(passage, add_special=True) == ids
    ppl, n = llama_perplexity.llama_perplexity(llama, [ids])
    with open(out, 'w') as f:
        json.dump({'tokens': tokens, 'continuations': kept,
                   'perplexity': {'text': passage, 'ctx': CTX, 'scored': n, 'ppl': ppl}}, f, ensure_ascii=False,
                  separators=(',', ':'))
        f.write('\n')


if __name__ == '__main__':
    main()
