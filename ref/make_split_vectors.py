"""Where pre-tokenizers cut: the same expressions run by the `tokenizers` package (its
regular expressions are Oniguruma's, not PCRE2's).

    make_split_vectors.py smollm2_tokens.json > splits.json

The texts are those of smollm2_tokens.json, by index; each value lists the lengths of the
pieces in bytes."""
import json
import sys

from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

CONTR = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r'\s*[\r\n]+|\s+(?!\S)|\s+'
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
U, L = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
UH, LH = U[:-1] + r'&&[^\p{Han}]]', L[:-1] + r'&&[^\p{Han}]]'
CJK = '[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+'


def llama3(number):
    return CONTR + r'|[^\r\n\p{L}\p{N}]?\p{L}+|' + number + r'| ?[^\s\p{L}\p{N}]+[\r\n]*|' + TAIL


def cased(u, l, suffix):
    return rf'[^\r\n\p{{L}}\p{{N}}]?{u}*{l}+{suffix}|[^\r\n\p{{L}}\p{{N}}]?{u}+{l}*{suffix}'


BLOOM = ' ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+'
ROWS = {
    'llama-bpe': [llama3(r'\p{N}{1,3}')],
    'qwen2': [llama3(r'\p{N}')],
    'qwen35': [CONTR + r'|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|' + TAIL],
    'gpt-2': [GPT2],
    'smollm': [r'\p{N}', GPT2],
    'deepseek-coder': [r'[\r\n]', r'\s?\p{L}+', r'\s?\p{P}+', CJK, r'\p{N}'],
    'deepseek-v3': [r'\p{N}{1,3}', '[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+',
                    r'''[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+'''
                    r'| ?[\p{P}\p{S}]+[\r\n]*|' + TAIL],
    'tekken': [cased(U, L, '') + r'|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|' + TAIL],
    'gpt-4o': [cased(U, L, CONTR + '?') + r'|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|' + TAIL],
    'kimi-k2': [r'[\p{Han}]+|' + cased(UH, LH, CONTR + '?') + r'|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|' + TAIL],
    'falcon': [r'[\p{P}$+<=>^~|`]+', GPT2, '[0-9][0-9][0-9]'],
    'bloom': [BLOOM],
    'viking': [BLOOM, r'\p{N}'],
    'default': [r'[\p{P}$+<=>^~|]+', GPT2, r'\p{N}+', '[0-9][0-9][0-9]'],
}


def main():
    texts = [c['text'] for c in json.load(open(sys.argv[1]))]
    out = []
    for name, regexes in ROWS.items():
        pre = Sequence([Split(Regex(r), 'isolated') for r in regexes])
        cases = []
        for i, text in enumerate(texts):
            if len(text.encode()) > 160:
                continue
            cases.append([i, [len(p.encode()) for p, _ in pre.pre_tokenize_str(text)]])
        out.append(json.dumps(name) + ':' + json.dumps(cases, separators=(',', ':')))
    print('{\n' + ',\n'.join(out) + '\n}')


main()
