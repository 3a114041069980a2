"""Token ids of varied texts with SmolLM2's vocabulary, by the `tokenizers` package.

    make_smollm2_vectors.py smollm2.gguf OUT_DIR

Writes OUT_DIR/smollm2_tokens.json (texts and ids) and OUT_DIR/smollm2_vocab.gguf (the
vocabulary without weights).  The reference is a BPE model with the vocabulary and merges
of the file behind the pre-tokenizer of the original tokenizer.json: single digits, then
the byte-level expression of GPT-2."""
import json
import pathlib
import random
import sys
import unicodedata

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

import gguf_meta

FIXED = [
    '', ' ', '\n', '\t', '\r\n', 'a', '  ', '\n\n\n', 'Hello world', ' Hello  world ',
    'The quick brown fox jumps over the lazy dog.', "I've told you: it's what they're, we'd, I'll, I'm not.",
    "I'VE TOLD YOU IT'S", "'s't're've'm'll'd", "don\u2019t", "''''s", '3.14159 + 2,718 = 5.85987',
    '0123456789' * 5, '1', '12', '123', '1234', ' 1 2 3', 'v1.2.3-rc4', '2024-11-22T05:10:00Z', '0xDEADBEEF 0b1010 1e-9',
    '½ ² ³ Ⅷ ① ٣ ४ 五 𝟘', 'naïve café résumé Ångström', 'Der Fluß fließt über die Straße.',
    'Съешь ещё этих мягких французских булок', 'Ξεσκεπάζω την ψυχοφθόρα βδελυγμία', 'نص حكيم له سر قاطع وذو شأن عظيم',
    'דג סקרן שט בים מאוכזב', 'ऋषियों को सताने वाले दुष्ट राक्षसों के राजा', '我能吞下玻璃而不伤身体。', 'いろはにほへと ちりぬるを カタカナ',
    '키스의 고유조건은 입술끼리 만나야 하고', 'เป็นมนุษย์สุดประเสริฐเลิศคุณค่า', 'Chúng tôi có thể ăn thủy tinh', 'ሰማይ አይታረስ ንጉሥ አይከሰስ',
    'កាន់តែពិសេសអាចខលចេញ', '😀 😃😄 👨‍👩‍👧‍👦 🇩🇪🇯🇵 👍🏽 ✈️ ☺︎', '🦙' * 20, 'e\u0301 vs \u00e9; o\u0308\u0304; Z\u0351\u036b\u0343\u036a\u0302a\u0348',
    'int main(void)\n{\n    printf("hello, world\\n");\n    return 0;\n}\n',
    'def f(x):\n\tif x > 0:\n\t\treturn [i**2 for i in range(x)]\n\n\n\treturn None\n',
    '#!/bin/sh\nset -euo pipefail\nfor f in *.c; do cc -O2 "$f" || exit 1; done\n',
    '<html>\n  <body class="x">&amp; &lt;p&gt;</body>\n</html>', '{"a": [1, 2, {"b": null}], "c": "\\u00e9"}',
    'SELECT * FROM t WHERE a >= 10 AND b <> \'x\' ORDER BY c DESC;', 'https://example.org/a/b?c=d&e=f#g user@example.org',
    '| a | b |\n|---|---|\n| 1 | 2 |\n', '# Title\n\n- item\n  * nested\n\n```py\nx\n```\n', '\\frac{a}{b} \\sum_{i=0}^{\\infty} x_i',
    '    four\n        eight\n  \n \n\t \t mixed', 'trailing space ', 'a\u00a0b\u2003c\u3000d\u2028e\u2029f\u0085g', '\u180e\u200b\u200c\u200d\ufeff\u2060',
    'line\r\nline\rline\n\r', '\x00', 'a\x00b', ''.join(map(chr, range(32))), '\x7f\x80\x9f', ''.join(map(chr, range(32, 127))),
    ''.join(map(chr, range(160, 256))), '!!!???...---===___***', '(((([[[[{{{{<<<<', '$€£¥₿', '←↑→↓⇒∀∃∈∞≈≠', '─│┌┐└┘█▓▒░',
    'a' * 300, 'ab' * 200, ' ' * 100, '\n' * 50, '\t' * 33, ' \n' * 20, '\u3000' * 9, '-' * 80, '=' * 127, 'Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft',
    'supercalifragilisticexpialidocious' * 4, 'camelCaseIdentifier snake_case_identifier SCREAMING_CASE kebab-case',
    '\U0010ffff\U000e0001\ue000', '𠜎𠜱𠝹𠱓', '𐍈𐌰𐌿𐌳', 'ﬁ ﬂ ﷺ', 'ſ K Å', '\u202eRTL\u202c', '<|im_start', '|im_end|>', '< |im_end|>',
]
ALPHABETS = [
    'abcdefghijklmnopqrstuvwxyz     ', 'abcXYZ012 .,;\n', ' \t\n\r\u00a0\u2003x', "'stremvld ST", '0123456789 .,-+ab',
    'аеиостмнкрв  ', 'αβγδέήίόύώ ', '的一是不了人我在有他 。，', 'あいうアイウ漢字ー、', 'ﷺابتثجح ', '가나다라마바 ', '😀😃👍🏽\u200d❤️ ',
    '{}[]();=+-*/<>!&|^%"\'`~#@$_\\ \n', 'áàâäãåāăą\u0301\u0302 ', '\x00\x01\x02\x1b\x7f\x80 a',
]


def assigned(code):
    """Characters of Unicode 3.2: younger ones have another class in older libraries."""
    return unicodedata.ucd_3_2_0.category(chr(code)) not in ('Cn', 'Cs')


def texts(vocab):
    rng = random.Random(20240229)
    out = list(FIXED)
    for alphabet in ALPHABETS:
        out += [''.join(rng.choices(alphabet, k=rng.randint(1, 120))) for _ in range(4)]
    low = [c for c in range(0x3000) if assigned(c)]
    all_planes = [c for c in range(0x3000, 0x110000) if assigned(c) and not 0xe000 <= c < 0xf900 and c < 0xf0000]
    for _ in range(20):
        out.append(''.join(chr(rng.choice([rng.randrange(0x80), rng.choice(low), rng.choice(all_planes)]))
                           for _ in range(rng.randint(1, 60))))
    words = sorted(vocab)
    while len(out) < 200:
        glued = ''.join(rng.choices(words, k=rng.randint(2, 40))).replace('Ġ', ' ').replace('Ċ', '\n')
        out.append(glued)
    return out[:200]


def main():
    source, out = sys.argv[1], pathlib.Path(sys.argv[2])
    meta = gguf_meta.read(source)
    tokens = [t.decode() for t in meta['tokenizer.ggml.tokens'][1]]
    types = meta['tokenizer.ggml.token_type'][1]
    vocab = {t: i for i, t in enumerate(tokens)}
    normal = {t for t, k in zip(tokens, types) if k == 1}
    merges = [tuple(m.decode().split(' ', 1)) for m in meta['tokenizer.ggml.merges'][1]]
    tokenizer = Tokenizer(BPE(vocab=vocab, merges=merges))
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True),
                                        ByteLevel(add_prefix_space=False, use_regex=True)])
    cases = [{'text': t, 'ids': tokenizer.encode(t, add_special_tokens=False).ids} for t in texts(normal)]
    with open(out / 'smollm2_tokens.json', 'w') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c, ensure_ascii=True, separators=(',', ':')) for c in cases) + '\n]\n')
    keep = {k: v for k, v in meta.items() if k.startswith(('tokenizer.', 'general.architecture'))}
    (out / 'smollm2_vocab.gguf').write_bytes(gguf_meta.image(keep))


main()
