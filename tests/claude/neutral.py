"""Recorded requests without what is not ours to publish or nobody's business: texts become
filler of the same length and structure (words, lines, punctuation), equal texts equal
filler, so that prefixes stay what they were; ids, dates, hosts and folders become neutral.
Names of fields, blocks, tools and the shapes of schemas stay."""
import json
import re
import zlib

WORDS = '''a i of to in on it is as at and the for but not with this that from have when then
each what time line part word other which there their about would these could where after under
before should little through another between because without picture sentence together something
important different following beginning everything understand paragraphs particular information
comfortable temperature development communities explanation considering independent
approximately particularly grandparents'''.split()
BY_LENGTH = {n: [w for w in WORDS if len(w) == n] for n in range(1, 13)}

# What the server, or a test of it, looks at.
MARKS = ('<system-reminder>', '</system-reminder>')
BILLING = re.compile(r'x-anthropic-billing-header:[^\n]*')
# Fields whose strings are names, not texts.
NAMES = {'type', 'role', 'name', 'id', 'tool_use_id', 'tool_name', 'model', 'effort', 'display', 'keep',
         'ttl', 'scope', '$schema', '$ref', 'format', 'pattern', 'enum', 'const', 'default', 'required',
         'stop_reason'}
DROP_HEADERS = {'host', 'connection', 'content-length', 'authorization', 'x-api-key'}


def filler_word(match):
    word, out = match[0], ''
    seed = zlib.crc32(word.lower().encode())
    while len(out) < len(word):
        choice = BY_LENGTH[min(12, len(word) - len(out))]
        out += choice[seed % len(choice)]
    return ''.join(o.upper() if c.isupper() else o for c, o in zip(word, out))


class Neutral:
    """own: texts of the recording itself, which stay as they are."""

    def __init__(self, own):
        words = sorted([*own, *MARKS], key=len, reverse=True)
        self.own = re.compile('(' + '|'.join(map(re.escape, words)) + '|' + BILLING.pattern + ')')
        self.ids = {}

    def text(self, s):
        pieces = self.own.split(s)
        for i in range(0, len(pieces), 2):
            pieces[i] = re.sub(r'\d', '0', re.sub(r'[A-Za-z]+', filler_word, pieces[i]))
        return ''.join(pieces)

    def session(self, uuid):
        n = self.ids.setdefault(uuid, len(self.ids) + 1)
        return f'00000000-0000-4000-8000-{n:012}'

    def user(self, s):
        value = json.loads(s)
        for key, v in value.items():
            if key == 'session_id':
                value[key] = self.session(v)
            elif isinstance(v, str):
                value[key] = '0' * len(v)
        return json.dumps(value, separators=(',', ':'))

    def value(self, v, key=''):
        if isinstance(v, dict):
            # Below `input` of a call are values of the recording itself.
            return {k: x if k == 'input' else self.value(x, k) for k, x in v.items()}
        if isinstance(v, list):
            return [self.value(x, key) for x in v]
        if not isinstance(v, str) or key in NAMES:
            return v
        return self.user(v) if key == 'user_id' else self.text(v)

    def request(self, r):
        headers = {}
        for name, v in r['headers'].items():
            if name.lower() in DROP_HEADERS:
                continue
            headers[name] = self.session(v) if name.lower() == 'x-claude-code-session-id' else v
        return dict(r, headers=headers, body=self.value(r['body']))
